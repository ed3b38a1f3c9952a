"""What broken and hostile clients send to every address of SockJS (docs/sockjs.md §8)."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import zlib
from typing import Final

import pytest

from tests.conformance.peers import ROWS, Dial, HttpPeer, Mounting, SocketPeer
from tests.conformance.wire import BINARY, CLOSE, TEXT, Place, Socket, Wire, Witness, ask, echo, handshake, until

SENDS: Final = ("xhr_send", "jsonp_send")
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


async def opened(witness: Witness, place: Place) -> None:
    """Open the session `/a/b` with a poll."""
    assert (await ask(place, "POST", "/a/b/xhr")).body == b"o\n"
    await witness.session()


async def unharmed(witness: Witness, place: Place) -> None:
    """Check that the session `/a/b` is the only one, has heard nothing of the fault, and goes on."""
    assert (await ask(place, "POST", "/a/b/xhr_send", body=b'["fine"]')).status == 204
    assert await witness.message() == "fine"
    assert witness.messages.empty()
    assert witness.opened.empty()
    assert len(place.server.sessions) == 1


PACKED: Final = {"gzip": gzip.compress(b'["x"]'), "deflate": zlib.compress(b'["x"]'), "identity": b'["x"]', "x": b"?"}


@pytest.mark.rule("S8.2", "S8.6")
@pytest.mark.parametrize("path", SENDS)
@pytest.mark.parametrize("coding", PACKED)
async def test_content_encoding(path: str, coding: str, place: Mounting) -> None:
    """A body that is packed is refused, and said to be."""
    witness = Witness()
    where = await place(witness)
    await opened(witness, where)
    reply = await ask(where, "POST", f"/a/b/{path}", {"Content-Encoding": coding}, PACKED[coding])
    assert reply.status == 415
    assert f"Content-Encoding '{coding}'" in reply.text
    assert reply.headers["Content-Type"] == "text/plain; charset=UTF-8"
    await unharmed(witness, where)


@pytest.mark.rule("S8.2", "S8.6")
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_broken_content_encoding(coding: str, place: Mounting) -> None:
    """A body that is not even packed as it says is refused like one that is, and nothing is logged as an error."""
    witness = Witness()
    where = await place(witness)
    await opened(witness, where)
    reply = await ask(where, "POST", "/a/b/xhr_send", {"Content-Encoding": coding}, b"\x1f\x8b\x08\x00rubbish" * 9)
    assert reply.status == 415
    await unharmed(witness, where)


@pytest.mark.rule("S8.4")
@pytest.mark.parametrize("path", SENDS)
@pytest.mark.parametrize(
    "body", [b'["\xff"]', b'["\xc3"]', b'["\xed\xa0\x80"]', b'["\xc0\x80"]', b"\xff\xfe[\x00]\x00"]
)
async def test_bad_utf_8(path: str, body: bytes, place: Mounting) -> None:
    """A body that is not UTF-8 is refused, and said to be."""
    witness = Witness()
    where = await place(witness)
    await opened(witness, where)
    reply = await ask(where, "POST", f"/a/b/{path}", body=body)
    assert reply.status == 500
    assert "UTF-8" in reply.text
    await unharmed(witness, where)


@pytest.mark.rule("S8.4")
async def test_bad_utf_8_in_a_form(place: Mounting) -> None:
    """A form whose escapes make no UTF-8 is refused."""
    witness = Witness()
    where = await place(witness)
    await opened(witness, where)
    for body in (b"d=%5B%22%FF%22%5D", b'd=["\xff"]', b"d=%5B%22%ED%A0%80%22%5D"):
        reply = await ask(where, "POST", "/a/b/jsonp_send", FORM, body)
        assert (reply.status, reply.text) == (500, "Payload expected."), body
    await unharmed(witness, where)


@pytest.mark.rule("S8.4")
@pytest.mark.parametrize("transport", ["websocket", "websocket-raw"])
async def test_bad_utf_8_by_websocket(transport: str, place: Mounting, dial: Dial) -> None:
    """Text that is not UTF-8 closes a WebSocket with 1007 (RFC 6455 §8.1)."""
    witness = Witness()
    where = await place(witness)
    peer = dial(where, transport)
    await peer.open()
    assert isinstance(peer, SocketPeer)
    assert peer.socket
    await peer.socket.send(TEXT, b'["\xff"]')
    while (await peer.socket.frame())[0] != CLOSE:
        pass
    assert peer.socket.closed
    assert peer.socket.closed[0] == 1007
    await witness.end()
    assert witness.messages.empty()


@pytest.mark.rule("S8.6")
async def test_bytes_over_sockjs(place: Mounting, dial: Dial) -> None:
    """Bytes over a SockJS WebSocket are read as the text that they should be."""
    witness = Witness()
    where = await place(witness)
    peer = dial(where, "websocket")
    await peer.open()
    assert isinstance(peer, SocketPeer)
    assert peer.socket
    await peer.socket.send(BINARY, b"\xff\x00")
    while (await peer.socket.frame())[0] != CLOSE:
        pass
    assert peer.socket.closed
    assert peer.socket.closed[0] == 3000
    assert (await witness.end()).closed
    assert witness.messages.empty()


@pytest.mark.rule("S8.6")
@pytest.mark.parametrize(
    "frame",
    [
        b"\xc1\x80\x00\x00\x00\x00",  # a reserved bit
        b"\x83\x80\x00\x00\x00\x00",  # a reserved opcode
        b"\x80\x80\x00\x00\x00\x00",  # goes on with nothing
        b"\x89\xfe\x00\x7e\x00\x00\x00\x00" + b"x" * 126,  # a long ping
        b"\x88\x81\x00\x00\x00\x00x",  # a close of one byte
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",  # no end of bytes
    ],
)
async def test_broken_websocket_frames(frame: bytes, place: Mounting) -> None:
    """What is no WebSocket frame ends the connection and the session, and nothing is delivered."""
    witness = Witness()
    where = await place(witness)
    client = await Socket.to(where, "/websocket")
    try:
        await client.wire.send(frame)
        session = await witness.end()
    finally:
        await client.wire.close()
    assert session.closed
    assert not where.server.sessions
    assert witness.messages.empty()


@pytest.mark.rule("S8.5")
@pytest.mark.parametrize("cancellation", [False, True])
@pytest.mark.parametrize("path", SENDS)
@pytest.mark.parametrize("chunked", [False, True])
async def test_half_a_body(path: str, *, cancellation: bool, chunked: bool, place: Mounting) -> None:
    """Who leaves in the middle of a body has sent nothing, and leaves nothing behind."""
    witness = Witness()
    where = await place(witness, runner={"handler_cancellation": cancellation})
    await opened(witness, where)
    for cut in (Wire.abort, lambda wire: wire.writer.close()):
        wire = await Wire.to(where.origin)
        headers = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": "100"}
        await wire.request("POST", where.at(f"/a/b/{path}"), headers)
        await wire.send(b'7\r\n["x"]  \r\n' if chunked else b'["x"]')
        await asyncio.sleep(0.01)  # the server may begin to read, or not: both must do
        cut(wire)
        await wire.close()
    await unharmed(witness, where)


@pytest.mark.rule("S8.3", "S8.6")
@pytest.mark.parametrize("path", SENDS)
@pytest.mark.parametrize("trickle", [False, True])
async def test_slow_body(path: str, *, trickle: bool, place: Mounting) -> None:
    """A body that stops, or comes in drops, is 408 after its time, in words, and its connection ends."""
    witness = Witness()
    where = await place(witness, body_grace=0.3, body_rate=1000, runner={"lingering_time": 0.1})
    await opened(witness, where)
    loop = asyncio.get_running_loop()
    async with await Wire.to(where.origin) as wire:
        begun = loop.time()
        await wire.request("POST", where.at(f"/a/b/{path}"), {"Content-Length": "100000"})
        await wire.send(b"[")

        async def drip() -> None:
            while trickle:
                await wire.send(b" ")
                await asyncio.sleep(0.02)  # the slowness

        dripping = asyncio.ensure_future(drip())
        reply = await wire.reply()
        assert 0.2 < loop.time() - begun < 0.3 * 5 + 1
        assert reply.status == 408
        assert "body_rate" in reply.text
        assert reply.headers["Connection"] == "close"
        dripping.cancel()
        await asyncio.wait([dripping])
    await unharmed(witness, where)


@pytest.mark.rule("S8.3")
async def test_steady_body(place: Mounting) -> None:
    """A body that comes at the rate that is asked for may take longer than the grace."""
    witness = Witness()
    where = await place(witness, body_grace=0.5, body_rate=1000)
    await opened(witness, where)
    body = json.dumps(["x" * 20_000]).encode()
    async with await Wire.to(where.origin) as wire:
        await wire.request("POST", where.at("/a/b/xhr_send"), {"Content-Length": str(len(body))})
        for start in range(0, len(body), 2000):
            await wire.send(body[start : start + 2000])
            await asyncio.sleep(0.1)  # a slow link, twenty times faster than asked for
        assert (await wire.reply()).status == 204
    assert await witness.message() == "x" * 20_000


@pytest.mark.rule("S8.5")
@pytest.mark.parametrize("path", [row.path for row in ROWS.values()])
async def test_body_of_a_receiver(path: str, place: Mounting) -> None:
    """A receiving request may have a body that nobody reads; it changes nothing."""
    witness = Witness()
    where = await place(witness, response_limit=1)
    row = next(row for row in ROWS.values() if row.path == path)
    reply = await ask(where, row.method, f"/a/b/{path}", {"Origin": where.origin}, b'["not for you"]')
    assert reply.status == 200
    await witness.session()
    await unharmed(witness, where)


@pytest.mark.rule("S8.6")
@pytest.mark.parametrize("head", [{}, {"Connection": "close"}, handshake()])
async def test_upgrade_at_every_address(head: dict[str, str], place: Mounting) -> None:
    """A request for a WebSocket where there is none, or for none where there is one, is answered and forgotten."""
    where = await place(echo, response_limit=1)
    headers = {"Origin": where.origin, **head}
    paths = ("", "/info", "/iframe.html", "/a/b/xhr_send", "/a/b/jsonp_send", "/nothing", "/a/b/websocket/x")
    for path in paths:
        for method in ("GET", "POST"):
            async with await Wire.to(where.origin) as wire:
                await wire.request(method, where.at(path), headers)
                assert (await wire.head()).status in (200, 404, 405)
    assert not where.server.sessions


@pytest.mark.rule("S8.6")
async def test_client_that_says_nothing(place: Mounting) -> None:
    """A connection that sends half a head, or rubbish, and leaves is nothing to anybody."""
    witness = Witness()
    where = await place(witness)
    await opened(witness, where)
    for data in (b"", b"POST /echo/a/b/xhr HTTP/1.1\r\nHost:", b"\0\1\2\3\r\n\r\n"):
        async with await Wire.to(where.origin) as wire:
            if data:
                await wire.send(data)
    await unharmed(witness, where)


@pytest.mark.rule("S8.5")
@pytest.mark.parametrize("path", [row.path for row in ROWS.values()])
async def test_client_that_leaves_before_the_answer(path: str, place: Mounting) -> None:
    """Who asks and leaves at once may have opened a session; that ends like any other."""
    witness = Witness()
    where = await place(witness, disconnect_delay=0.3)
    row = next(row for row in ROWS.values() if row.path == path)
    for number in range(5):
        wire = await Wire.to(where.origin)
        await wire.request(row.method, where.at(f"/a/{number}/{path}"), {"Origin": where.origin})
        sock = wire.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        wire.abort()
        await wire.close()
    await until(lambda: witness.opened.qsize() == witness.ended.qsize() and not where.server.sessions)
    assert witness.opened.qsize() <= 5


@pytest.mark.rule("S8.6", "S6.2")
async def test_many_names(place: Mounting, dial: Dial) -> None:
    """Long and odd names of sessions are names like others."""
    where = await place(echo)
    for name in ("x" * 2000, "%00", "%0A", "%25", "'%22%3Cscript%3E", "..%2f..", "%2e%2e"):
        peer = dial(where, "xhr-polling", f"/000/{name}")
        assert isinstance(peer, HttpPeer)
        async with await Wire.to(where.origin) as wire:
            await wire.request("POST", where.at(f"{peer.address}/xhr"))
            reply = await wire.reply()
        assert reply.status in (200, 404), name
        if reply.status == 200:
            await peer.send("x")
            assert await peer.receive() == "x"
