"""The transports of SockJS, each in its own form (docs/sockjs.md §7)."""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import quote

import pytest

from tests.conformance.peers import JAVASCRIPT, ROWS, STREAMING, Dial, HttpPeer, Mounting
from tests.conformance.wire import Place, Wire, Witness, ask, echo

PLAIN: Final = "text/plain; charset=UTF-8"
FORM: Final = "application/x-www-form-urlencoded"


async def opened(place: Place) -> None:
    """Open the session `/a/b` with a poll."""
    assert (await ask(place, "POST", "/a/b/xhr")).body == b"o\n"


# ── xhr, xhr_send ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.rule("S7.1", "S7.2")
async def test_xhr(place: Mounting) -> None:
    """A poll gets one frame and a line feed; a send gets nothing, with a type."""
    where = await place(echo)
    reply = await ask(where, "POST", "/a/b/xhr")
    assert (reply.status, reply.body) == (200, b"o\n")
    assert reply.headers["Content-Type"] == JAVASCRIPT
    sent = await ask(where, "POST", "/a/b/xhr_send", body=b'["x"]')
    assert (sent.status, sent.body) == (204, b"")
    assert sent.headers["Content-Type"] == PLAIN
    reply = await ask(where, "POST", "/a/b/xhr")
    assert (reply.status, reply.body) == (200, b'a["x"]\n')


@pytest.mark.rule("S7.3", "S7.4", "S9.6")
async def test_xhr_send_of_what_is_no_array_of_texts(place: Mounting) -> None:
    """What is no array of texts gets 500 and its reason; nothing is delivered, and the session goes on."""
    witness = Witness()
    where = await place(witness)
    await opened(where)
    bodies = {
        b"": "Payload expected.",
        b'["x': "Broken JSON encoding.",
        b"x": "Broken JSON encoding.",
        b"[1,]": "Broken JSON encoding.",
        b'"abc"': "Payload expected.",
        b'{"a":"b"}': "Payload expected.",
        b"null": "Payload expected.",
        b"1": "Payload expected.",
        b"[1]": "Payload expected.",
        b'["a",1]': "Payload expected.",
        b'["a",["b"]]': "Payload expected.",
        b"[" * 100_000: "Broken JSON encoding.",
    }
    for body, reason in bodies.items():
        reply = await ask(where, "POST", "/a/b/xhr_send", body=body)
        assert (reply.status, reply.text) == (500, reason), body[:20]
        assert reply.headers["Content-Type"] == PLAIN
    assert (await ask(where, "POST", "/a/b/xhr_send", body=b'["fine"]')).status == 204
    assert await witness.message() == "fine"
    assert witness.messages.empty()


@pytest.mark.rule("S7.5")
async def test_xhr_send_takes_any_type(place: Mounting) -> None:
    """Browsers and their workarounds send all kinds of types."""
    witness = Witness()
    where = await place(witness)
    await opened(where)
    types = (
        "text/plain",
        "T",
        "application/json",
        "application/xml",
        "",
        "application/json; charset=utf-8",
        "text/xml",
    )
    for kind in (*types, "text/xml; charset=utf-8", "application/octet-stream"):
        reply = await ask(where, "POST", "/a/b/xhr_send", {"Content-Type": kind}, json.dumps([kind]).encode())
        assert reply.status == 204, kind
        assert await witness.message() == kind


# ── streams ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.rule("S7.6", "S7.8", "S7.10", "S5.1")
@pytest.mark.parametrize(
    ("path", "head", "frames"),
    [
        ("xhr_streaming", b"h" * 2048 + b"\n", [b"o\n", b'a["x"]\n', b'c[3000,"bye"]\n']),
        ("eventsource", b"\r\n", [b"data: o\r\n\r\n", b'data: a["x"]\r\n\r\n', b'data: c[3000,"bye"]\r\n\r\n']),
        (
            "htmlfile?c=a.b-c_1",
            b"<!doctype html>",
            [
                b'<script>\np("o");\n</script>\r\n',
                b'<script>\np("a[\\"x\\"]");\n</script>\r\n',
                b'<script>\np("c[3000,\\"bye\\"]");\n</script>\r\n',
            ],
        ),
    ],
)
async def test_streams(path: str, head: bytes, frames: list[bytes], place: Mounting) -> None:
    """A stream is its prelude and its frames, to the byte, and ends after the close."""
    witness = Witness()
    where = await place(witness)
    method = "POST" if path == "xhr_streaming" else "GET"
    async with await Wire.to(where.origin) as wire:
        await wire.request(method, where.at(f"/a/b/{path}"), {"Origin": where.origin})
        answer = await wire.head()
        assert answer.status == 200
        assert answer.headers["Content-Type"] == next(row.content_type for row in ROWS.values() if path[:4] in row.path)
        prelude = await wire.chunk()
        if path.startswith("htmlfile"):
            assert prelude.lower().startswith(head)
            assert prelude.endswith(b"\r\n\r\n")
            assert len(prelude) > 1024
            assert b"var c = parent.a.b-c_1;" in prelude
        else:
            assert prelude == head
        assert await wire.chunk() == frames[0]
        session = await witness.session()
        await session.send("x")
        assert await wire.chunk() == frames[1]
        await session.close(3000, "bye")
        assert await wire.chunk() == frames[2]
        assert await wire.chunk() == b""


@pytest.mark.rule("S7.9", "S9.5")
async def test_eventsource_escapes(place: Mounting) -> None:
    """What would break an event, or be decoded by its client, is percent-escaped; nothing else is."""
    witness = Witness()
    where = await place(witness)
    async with await Wire.to(where.origin) as wire:
        await wire.request("GET", where.at("/a/b/eventsource"))
        await wire.head()
        assert [await wire.chunk(), await wire.chunk()] == [b"\r\n", b"data: o\r\n\r\n"]
        session = await witness.session()
        await session.send("%20 100% \r\n\0 ü")
        assert await wire.chunk() == 'data: a["%2520 100%25 \\r\\n\\u0000 ü"]\r\n\r\n'.encode()
        await session.close(3000, "5%")
        assert await wire.chunk() == b'data: c[3000,"5%25"]\r\n\r\n'


@pytest.mark.rule("S7.7")
@pytest.mark.parametrize("transport", STREAMING)
async def test_response_limit(transport: str, place: Mounting, dial: Dial) -> None:
    """A stream ends with the frame that reaches the limit, and the next goes on where it ended."""
    witness = Witness()
    peer = dial(await place(witness, response_limit=4096), transport)
    assert isinstance(peer, HttpPeer)
    await peer.open()
    session = await witness.session()
    expected = [f"{number} {'x' * 400}" for number in range(40)]
    for message in expected:
        await session.send(message)
        assert await peer.receive() == message
    assert len(peer.sizes) == 4
    frame = 450  # more than one message takes, with all that is around it
    assert all(4096 <= size < 4096 + frame for size in peer.sizes[:-1])
    assert len(session.transports) == 1, "to come back for more is no change of transport"
    assert session.closed is None


@pytest.mark.rule("S7.7")
async def test_poll_has_no_limit(place: Mounting, dial: Dial) -> None:
    """A poll's one frame may be longer than a stream."""
    witness = Witness()
    peer = dial(await place(witness, response_limit=100), "xhr-polling")
    await peer.open()
    await (await witness.session()).send("x" * 5000)
    assert await peer.frame() == f'a["{"x" * 5000}"]'


@pytest.mark.rule("S9.4")
@pytest.mark.parametrize("path", ["htmlfile", "jsonp"])
async def test_scripts_in_messages(path: str, place: Mounting) -> None:
    """Nothing in a message, or in a reason, ends the script that carries it, or begins another."""
    evil = "</script><script>alert(1)</script><!--\u2028\u2029&'\"\\"
    witness = Witness()
    where = await place(witness)
    own = {"Origin": where.origin}
    await opened(where)
    session = await witness.session()
    session.send_nowait(evil)
    await session.close(3000, evil)
    bodies: list[bytes] = []
    async with await Wire.to(where.origin) as wire:
        while len(bodies) < 2:
            await wire.request("GET", where.at(f"/a/b/{path}?c=cb"), own)
            await wire.head()
            if path == "htmlfile":
                await wire.chunk()
            while chunk := await wire.chunk():
                bodies.append(chunk)
    row = next(row for row in ROWS.values() if row.path.startswith(path))
    assert json.loads(row.unwrap(bodies[0])[1:]) == [evil]
    assert json.loads(row.unwrap(bodies[1])[1:]) == [3000, evil]
    for body in bodies:
        script = body.removeprefix(b"<script>\n").removesuffix(b"\n</script>\r\n")
        assert b"\\u003c" in script
        assert not {*"<>&\u2028\u2029"} & {*script.decode()}


# ── callbacks ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.rule("S7.11", "S8.6")
@pytest.mark.parametrize("path", ["htmlfile", "jsonp"])
async def test_callbacks(path: str, place: Mounting) -> None:
    """A callback is a plain name; anything else could be a script of somebody else's, and opens no session."""
    where = await place(echo, response_limit=1)
    own = {"Origin": where.origin}
    for query in ("", "?c=", "?callback=", "?d=x"):
        reply = await ask(where, "GET", f"/a/b/{path}{query}", own)
        assert (reply.status, reply.text) == (500, '"callback" parameter required'), query
        assert reply.headers["Content-Type"] == PLAIN
    for name in ("a(", "*", "abc(", "abc%28", "<script>", "a b", "a\nb", "ü", "a" * 33, "a;b", "a\0"):
        reply = await ask(where, "GET", f"/a/b/{path}?c={quote(name)}", own)
        assert (reply.status, reply.text) == (500, 'invalid "callback" parameter'), name
        assert name.encode() not in reply.body
    assert not where.server.sessions
    for number, query in enumerate(("c=abc", "callback=a.b", "c=_jp.a0-Z", f"c={'a' * 32}")):
        assert (await ask(where, "GET", f"/a/{number}/{path}?{query}", own)).status == 200, query


# ── jsonp ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.rule("S7.12", "S7.13", "S7.23")
async def test_jsonp(place: Mounting) -> None:
    """A poll is a script that calls back, to the byte; a send gets `ok`."""
    where = await place(echo)
    own = {"Origin": where.origin}
    reply = await ask(where, "GET", "/a/b/jsonp?c=x.y", own)
    assert (reply.status, reply.body) == (200, b'/**/x.y("o");\r\n')
    assert reply.headers["Content-Type"] == JAVASCRIPT
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    sent = await ask(where, "POST", "/a/b/jsonp_send", {**own, "Content-Type": FORM}, b"d=%5B%22x%22%5D")
    assert (sent.status, sent.body) == (200, b"ok")
    assert sent.headers["Content-Type"] == PLAIN
    reply = await ask(where, "GET", "/a/b/jsonp?c=x.y", own)
    assert (reply.status, reply.body) == (200, b'/**/x.y("a[\\"x\\"]");\r\n')


@pytest.mark.rule("S7.13")
@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        (FORM, b"d=" + quote('["a&b=c;d+e f%20"]').encode(), "a&b=c;d+e f%20"),
        (FORM, b"d=%5b%22plus+is+space%22%5d", "plus is space"),
        (FORM, b"d=%5B%22x%22%5D&i=17", "x"),
        (FORM, b"i=17&d=%5B%22x%22%5D", "x"),
        (FORM + "; charset=UTF-8", b"d=%5B%22%C3%BC%22%5D", "ü"),
        ("text/plain", '["ü+"]'.encode(), "ü+"),
        ("text/plain;charset=UTF-8", b'["x"]', "x"),
    ],
)
async def test_jsonp_send(kind: str, body: bytes, message: str, place: Mounting) -> None:
    """A form or a plain body brings messages, whatever else is in the form."""
    witness = Witness()
    where = await place(witness)
    await opened(where)
    reply = await ask(where, "POST", "/a/b/jsonp_send", {"Content-Type": kind}, body)
    assert (reply.status, reply.body) == (200, b"ok")
    assert await witness.message() == message


@pytest.mark.rule("S7.14")
async def test_jsonp_send_of_nothing(place: Mounting) -> None:
    """A form without messages, or with broken ones, gets 500 and its reason; nothing is delivered."""
    witness = Witness()
    where = await place(witness)
    await opened(where)
    for kind, body, reason in (
        (FORM, b"", "Payload expected."),
        (FORM, b"d=", "Payload expected."),
        (FORM, b"p=p", "Payload expected."),
        (FORM, b"d=%22abc%22", "Payload expected."),
        (FORM, b"d=%5B1%5D", "Payload expected."),
        (FORM, b"d=%5B%22x", "Broken JSON encoding."),
        ("text/plain", b"", "Payload expected."),
        ("text/plain", b'["x', "Broken JSON encoding."),
        ("text/plain", b"d=%5B%22x%22%5D", "Broken JSON encoding."),
    ):
        reply = await ask(where, "POST", "/a/b/jsonp_send", {"Content-Type": kind}, body)
        assert (reply.status, reply.text) == (500, reason), body
    assert (await ask(where, "POST", "/a/b/jsonp_send", {"Content-Type": FORM}, b"d=[%22y%22]")).body == b"ok"
    assert await witness.message() == "y"
    assert witness.messages.empty()
