"""The frames of SockJS, and every character in them (docs/sockjs.md §5)."""

from __future__ import annotations

import json
from typing import Final

import pytest

from tests.conformance.peers import EVERY, HTTP, SOCKJS, Dial, HttpPeer, Mounting, SocketPeer
from tests.conformance.wire import TEXT, Witness, ask, echo

PLANE: Final = "".join(chr(point) for point in range(0x10000) if not 0xD800 <= point <= 0xDFFF)
"""Every character of the basic plane that UTF-8 knows."""
SHORT: Final = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
"""What JSON has short escapes for (RFC 8259 §7)."""
FRAGILE: Final = ((0x0, 0x1F), (0x200C, 0x200F), (0x2028, 0x202F), (0x2060, 0x206F), (0xFFF0, 0xFFFF))
"""The characters that browsers were seen to change or drop."""
SURROGATES: Final = "\ud800 \udbff\udbff \udc00\ud800 \udfff"
"""Surrogates that make no pair; JavaScript's strings may hold them."""
LINES: Final = "\u2028\u2029\u0085\r\n\0\x7f%25%0A \u200b\ufeff"
"""What was taken for the end of a line, a text or an escape somewhere."""


def as_sockjs_writes(text: str) -> str:
    """Write a text as JSON in the way that the rule says."""
    return f'"{"".join(_written(char) for char in text)}"'


def _written(char: str) -> str:
    fragile = any(low <= ord(char) <= high for low, high in FRAGILE) or 0xD800 <= ord(char) <= 0xDFFF
    return SHORT.get(char) or (f"\\u{ord(char):04x}" if fragile else char)


def all_escaped(text: str) -> str:
    """Write a text as JSON with every character escaped, in capitals, surrogates as they are."""
    return '"' + "".join(f"\\u{ord(char):04X}" for char in text) + '"'


@pytest.mark.rule("S5.1", "S5.2", "S5.4")
@pytest.mark.parametrize("transport", SOCKJS)
async def test_life_in_frames(transport: str, place: Mounting, dial: Dial) -> None:
    """A life is `o`, what waits together in one `a`, and `c`: to the character."""
    witness = Witness()
    peer = dial(await place(witness), transport)
    assert await _first(peer) == "o"
    session = await witness.session()
    session.send_nowait("one")
    session.send_nowait("two, \u00fc")
    session.send_nowait({"three": [3, None, True]})
    assert await peer.frame() == r'a["one","two, ü","{\"three\":[3,null,true]}"]'
    await session.send("four")
    assert await peer.frame() == 'a["four"]'
    await session.close(3999, 'so "long"\u2028')
    assert await peer.frame() == r'c[3999,"so \"long\"\u2028"]'


async def _first(peer: object) -> str:
    assert isinstance(peer, HttpPeer | SocketPeer)
    await peer.listen()
    return await peer.frame()


@pytest.mark.rule("S5.7", "S5.8")
async def test_escapes(place: Mounting) -> None:
    """What browsers change is escaped as prescribed, and what they do not is left as it is."""
    witness = Witness()
    where = await place(witness)
    await ask(where, "POST", "/a/b/xhr")
    session = await witness.session()
    for text in (PLANE, SURROGATES, "😀\U0010ffff", LINES):
        await session.send(text)
        reply = await ask(where, "POST", "/a/b/xhr")
        assert reply.body.decode() == f"a[{as_sockjs_writes(text)}]\n"


@pytest.mark.rule("S5.7", "S5.8", "S5.9", "S9.5")
@pytest.mark.parametrize("transport", SOCKJS)
async def test_every_character(transport: str, place: Mounting, dial: Dial) -> None:
    """Every character comes back as it went, over every transport, lone surrogates too."""
    peer = dial(await place(echo), transport)
    await peer.open()
    for text in (PLANE, SURROGATES, "😀\U0010ffff", LINES, "", " ", '"', "\\", "</script>", "%", "+&=;"):
        await peer.send(text)
        assert await peer.receive() == text


async def test_every_character_raw(place: Mounting, dial: Dial) -> None:
    """Every character that UTF-8 knows comes back as it went over a raw WebSocket."""
    peer = dial(await place(echo), "websocket-raw")
    await peer.open()
    for text in (PLANE, "😀\U0010ffff", LINES, "", "</script>"):
        await peer.send(text)
        assert await peer.receive() == text


@pytest.mark.rule("S5.9")
@pytest.mark.parametrize("transport", SOCKJS)
async def test_every_escape(transport: str, place: Mounting, dial: Dial) -> None:
    """A client may escape whatever it likes, or nothing that JSON lets it leave."""
    witness = Witness()
    peer = dial(await place(witness, max_batch=2**20), transport)
    await peer.open()
    for text in (PLANE, "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), SURROGATES):
        escaped = "".join(all_escaped(char)[1:-1] if ord(char) < 0x10000 else json.dumps(char)[1:-1] for char in text)
        await say(peer, f'["{escaped}"]'.encode())
        assert await witness.message() == text
    await say(peer, json.dumps([PLANE], ensure_ascii=False).encode())
    assert await witness.message() == PLANE
    await say(peer, rb' [ "\/\"" , "" ] ')
    assert [await witness.message(), await witness.message()] == ['/"', ""]


async def say(peer: object, body: bytes) -> None:
    """Send a body or a frame of text as it is."""
    if isinstance(peer, HttpPeer):
        assert (await peer.post(body)).status in (200, 204)
    else:
        assert isinstance(peer, SocketPeer)
        assert peer.socket
        await peer.socket.send(TEXT, body)


@pytest.mark.rule("S5.5")
async def test_one_text_over_websocket(place: Mounting, dial: Dial) -> None:
    """Over a WebSocket an array may be left out around one text."""
    witness = Witness()
    peer = dial(await place(witness), "websocket")
    await peer.open()
    await say(peer, b'"alone"')
    await say(peer, b'["in","array"]')
    assert [await witness.message() for _ in range(3)] == ["alone", "in", "array"]


@pytest.mark.rule("S5.6")
@pytest.mark.parametrize("transport", SOCKJS)
async def test_nothing_is_legal(transport: str, place: Mounting, dial: Dial) -> None:
    """An empty array brings nothing and hurts nobody, nor does an empty frame."""
    witness = Witness()
    peer = dial(await place(witness), transport)
    await peer.open()
    await say(peer, b"[]")
    if transport not in HTTP:
        await say(peer, b"")
    await say(peer, b'["after"]')
    assert await witness.message() == "after"
    assert witness.messages.empty()


@pytest.mark.parametrize("transport", EVERY)
async def test_values(transport: str, place: Mounting, dial: Dial) -> None:
    """With `payload="json"` the handler sees values, and a client gets JSON text."""
    witness = Witness()
    peer = dial(await place(witness, payload="json"), transport)
    await peer.open()
    values: tuple[object, ...] = ({"a": [1, 2.5, None, "ü"]}, [], "text", 0, False, None)
    for value in values:
        await peer.send(json.dumps(value))
        assert await witness.message() == value
    await (await witness.session()).send([1, {"b": None}])
    assert json.loads(await peer.receive()) == [1, {"b": None}]
