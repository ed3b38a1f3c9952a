"""The WebSocket of SockJS, and the raw one (docs/sockjs.md §7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hybridws import ANY_ORIGIN_WITH_CREDENTIALS
from tests.conformance.peers import ROWS, Mounting
from tests.conformance.wire import BINARY, CLOSE, PING, PONG, TEXT, Socket, Wire, Witness, ask, echo, handshake

if TYPE_CHECKING:
    from hybridws import Session


async def go_away(session: Session) -> None:
    """Close at once."""
    await session.close(3000, "Go away!")


@pytest.mark.rule("S7.15", "S7.18")
async def test_websocket(place: Mounting) -> None:
    """Every frame is one message of text without a line feed; after the close the WebSocket is closed too."""
    witness = Witness()
    where = await place(witness)
    socket = await Socket.to(where, "/a/b/websocket")
    try:
        assert await socket.frame() == (TEXT, b"o")
        session = await witness.session()
        await session.send("x")
        assert await socket.frame() == (TEXT, b'a["x"]')
        await session.close(3000, "Go away!")
        assert await socket.frame() == (TEXT, b'c[3000,"Go away!"]')
        assert (await socket.frame())[0] == CLOSE
        assert await socket.wire.at_end()
    finally:
        await socket.wire.close()


@pytest.mark.rule("S7.16", "S1.6", "S8.6")
@pytest.mark.parametrize("path", ["/a/b/websocket", "/websocket"])
async def test_no_handshake(path: str, place: Mounting) -> None:
    """What does not ask for a WebSocket in the right way is told so, and opens nothing."""
    where = await place(echo)
    right = {**handshake(), "Origin": where.origin}
    wrong: list[dict[str, str]] = [
        {"Origin": where.origin},
        {**right, "Connection": "close"},
        {**right, "Connection": "keep-alive"},
        {**right, "Upgrade": "h2c"},
        {**right, "Sec-WebSocket-Version": "6"},
        {**right, "Sec-WebSocket-Key": "short"},
        {name: value for name, value in right.items() if name != "Sec-WebSocket-Key"},
        {name: value for name, value in right.items() if name != "Sec-WebSocket-Version"},
    ]
    for headers in wrong:
        reply = await ask(where, "GET", path, headers)
        assert (reply.status, reply.text) == (400, "Not a valid websocket request"), headers
    reply = await ask(where, "POST", path, right)
    assert (reply.status, reply.body) == (405, b"")
    assert not where.server.sessions


@pytest.mark.rule("S7.15")
async def test_unusual_but_right_handshakes(place: Mounting) -> None:
    """Firefox's Connection header is a list, and names know no case."""
    socket = await Socket.to(
        await place(echo), "/a/b/websocket", {"Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket"}
    )
    assert await socket.message() == "o"
    await socket.wire.close()


@pytest.mark.rule("S7.15")
async def test_answer_to_a_handshake(place: Mounting) -> None:
    """The key is answered as prescribed: this one is the example of RFC 6455 §1.3."""
    socket = await Socket.to(await place(echo), "/a/b/websocket", {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
    headers = socket.head.headers
    assert headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert (headers["Upgrade"].lower(), headers["Connection"].lower()) == ("websocket", "upgrade")
    assert not headers.get("Content-Length")
    await socket.wire.close()


@pytest.mark.rule("S7.17", "S5.5")
@pytest.mark.parametrize("text", ['["x', "x", '{"a":1}', "1", "[1]", "null"])
async def test_broken_frames(text: str, place: Mounting) -> None:
    """What is no SockJS closes the WebSocket with 3000 and a reason; nothing is delivered."""
    witness = Witness()
    where = await place(witness)
    socket = await Socket.to(where, "/a/b/websocket")
    try:
        assert await socket.message() == "o"
        await socket.send(TEXT, text.encode())
        while (await socket.frame())[0] != CLOSE:
            pass
        assert socket.closed in ((3000, "Broken JSON encoding."), (3000, "Payload expected."))
        assert await socket.wire.at_end()
    finally:
        await socket.wire.close()
    session = await witness.end()
    assert session.closed
    assert (session.closed.code, session.closed.by) == (3000, "network")
    assert witness.messages.empty()


@pytest.mark.rule("S7.19")
async def test_what_is_not_offered(place: Mounting) -> None:
    """Only the transports on the list are there."""
    where = await place(echo, transports=["eventsource"], origins=ANY_ORIGIN_WITH_CREDENTIALS)
    for transport, row in ROWS.items():
        async with await Wire.to(where.origin) as wire:
            await wire.request(row.method, where.at(f"/a/{transport}/{row.path}"))
            assert (await wire.head()).status == (200 if transport == "eventsource" else 404), transport
    for path in ("/a/b/websocket", "/websocket"):
        assert (await ask(where, "GET", path, handshake())).status == 404
    assert (await ask(where, "POST", "/a/b/jsonp_send", body=b"[]")).status == 404


@pytest.mark.rule("S7.20", "S7.21")
async def test_raw_websocket(place: Mounting) -> None:
    """A raw WebSocket carries text and bytes as they are, and the session's own close code and reason."""
    witness = Witness()
    where = await place(witness)
    socket = await Socket.to(where, "/websocket")
    try:
        session = await witness.session()
        await socket.send(TEXT, b'["not", an array')
        await socket.send(BINARY, bytes(range(256)))
        await socket.send(TEXT, b"frag", fin=False)
        await socket.send(PING, b"between")
        await socket.send(0, b"men", fin=False)
        await socket.send(0, b"ted")
        assert [await witness.message() for _ in range(3)] == ['["not", an array', bytes(range(256)), "fragmented"]
        assert await socket.frame() == (PONG, b"between")
        await session.send("x\n")
        await session.send(b"\0\xff")
        assert [await socket.frame(), await socket.frame()] == [(TEXT, b"x\n"), (BINARY, b"\0\xff")]
        await session.close(3000, "Go away! ü")
        assert (await socket.frame())[0] == CLOSE
        assert socket.closed == (3000, "Go away! ü")
        assert await socket.wire.at_end()
    finally:
        await socket.wire.close()


@pytest.mark.rule("S7.20", "S7.21")
async def test_raw_websocket_says_nothing_first(place: Mounting) -> None:
    """The first thing that a raw client gets is what the handler says: here, that it closes."""
    socket = await Socket.to(await place(go_away), "/websocket")
    try:
        assert (await socket.frame())[0] == CLOSE
        assert socket.closed == (3000, "Go away!")
    finally:
        await socket.wire.close()


async def test_subprotocols(place: Mounting) -> None:
    """The first of ours that the client knows is chosen; who knows none of them is refused."""
    witness = Witness()
    where = await place(witness, subprotocols=["v2.chat", "v1.chat"])
    socket = await Socket.to(where, "/websocket", {"Sec-WebSocket-Protocol": "v0.chat, v1.chat, v2.chat"})
    assert socket.head.headers["Sec-WebSocket-Protocol"] == "v2.chat"
    assert (await witness.session()).subprotocol == "v2.chat"
    await socket.wire.close()
    socket = await Socket.to(where, "/websocket")
    assert "Sec-WebSocket-Protocol" not in socket.head.headers
    assert (await witness.session()).subprotocol is None
    await socket.wire.close()
    headers = {**handshake(), "Origin": where.origin, "Sec-WebSocket-Protocol": "v3.chat"}
    reply = await ask(where, "GET", "/websocket", headers)
    assert reply.status == 400
    assert "v3.chat" in reply.text
    assert "v2.chat" in reply.text


@pytest.mark.rule("S7.23")
async def test_nosniff_on_refusals(place: Mounting) -> None:
    """What repeats a part of the request can be taken for nothing but text."""
    where = await place(echo)
    for method, path in (("GET", "/nothing"), ("GET", "/a/b/jsonp"), ("POST", "/a/b/xhr_send"), ("PUT", "/info")):
        reply = await ask(where, method, path, {"Origin": where.origin})
        assert reply.status >= 400
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
