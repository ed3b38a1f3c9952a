"""How much SockJS carries, how fast, and what it refuses (docs/sockjs.md §8 and §9)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from hybridws import MessageTooLarge, Unsendable
from tests.conformance.peers import EVERY, HTTP, Dial, HttpPeer, Mounting, SocketPeer
from tests.conformance.wire import CLOSE, TEXT, Reply, Wire, Witness, ask, echo, until

if TYPE_CHECKING:
    from hybridws import Session

MAX = 256 * 1024
"""The default of max_message."""
MIB = 2**20
SIZES = (1, 2, 127, 128, 65_535, 65_536, MAX)
"""Around every change of form: the lengths of WebSocket frames (RFC 6455 §5.2), and the largest message."""


async def gone(peer: SocketPeer) -> tuple[int, str]:
    """Read until the server has closed, and return the WebSocket's own code and reason."""
    assert peer.socket
    while (await peer.socket.frame())[0] != CLOSE:
        pass
    assert peer.socket.closed
    return peer.socket.closed


# ── messages ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.rule("S8.1")
@pytest.mark.parametrize("transport", EVERY)
async def test_sizes(transport: str, place: Mounting, dial: Dial) -> None:
    """A message of any allowed size is carried both ways."""
    peer = dial(await place(echo), transport)
    await peer.open()
    for size in SIZES:
        message = "x" * size
        await peer.send(message)
        assert await peer.receive() == message
    message = "ü" * (MAX // 2)
    if transport != "jsonp-polling":  # whose form takes six bytes for each of these two
        await peer.send(message)
        assert await peer.receive() == message


@pytest.mark.rule("S8.1", "S8.6")
@pytest.mark.parametrize("transport", HTTP)
async def test_one_byte_more_by_http(transport: str, place: Mounting, dial: Dial) -> None:
    """One byte more is 413, in words with both numbers; nothing is delivered, and the session goes on."""
    witness = Witness()
    peer = dial(await place(witness), transport)
    await peer.open()
    assert isinstance(peer, HttpPeer)
    for message in ("x" * (MAX + 1), "ü" * (MAX // 2) + "x"):
        reply = await peer.post(json.dumps(["before", message], ensure_ascii=False).encode())
        assert reply.status == 413
        assert f"{MAX + 1} bytes" in reply.text
        assert f"{MAX} are allowed (max_message)" in reply.text
    await peer.send("after")
    assert await witness.message() == "after"
    assert witness.messages.empty()


@pytest.mark.rule("S8.1")
@pytest.mark.parametrize("transport", ["websocket", "websocket-raw"])
async def test_one_byte_more_by_websocket(transport: str, place: Mounting, dial: Dial) -> None:
    """One byte more closes a WebSocket, with both numbers as the reason; nothing is delivered."""
    witness = Witness()
    peer = dial(await place(witness), transport)
    await peer.open()
    await peer.send("x" * (MAX + 1))
    assert isinstance(peer, SocketPeer)
    code, reason = await gone(peer)
    assert code == 4413
    assert f"{MAX + 1} bytes" in reason
    assert f"{MAX} are allowed (max_message)" in reason
    session = await witness.end()
    assert session.closed
    assert (session.closed.code, session.closed.by) == (4413, "network")
    assert witness.messages.empty()


@pytest.mark.rule("S8.1")
@pytest.mark.parametrize("transport", EVERY)
async def test_one_byte_more_to_the_client(transport: str, place: Mounting, dial: Dial) -> None:
    """What is too large, or cannot be said to this client, is an error for the sender, and the session goes on."""
    witness = Witness()
    peer = dial(await place(witness), transport)
    await peer.open()
    session = await witness.session()
    with pytest.raises(MessageTooLarge, match=f"{MAX + 1} bytes"):
        await session.send("x" * (MAX + 1))
    with pytest.raises(MessageTooLarge):
        session.send_nowait("ü" * (MAX // 2) + "x")
    for message in (float("nan"), {1: 2}, {"a": b""}, object(), 2**53):
        with pytest.raises(Unsendable):
            await session.send(message)
    if transport != "websocket-raw":
        with pytest.raises(Unsendable, match="only text"):
            await session.send(b"bytes")
    await session.send("fine")
    assert await peer.receive() == "fine"


@pytest.mark.rule("S8.1")
@pytest.mark.parametrize("transport", EVERY)
async def test_one_mebibyte(transport: str, place: Mounting, dial: Dial) -> None:
    """With the limits raised, a message of 1 MiB is carried both ways."""
    peer = dial(await place(echo, max_message=MIB, max_batch=2 * MIB, buffer=2 * MIB), transport)
    await peer.open()
    message = "0123456789abcdef" * (MIB // 16)
    await peer.send(message)
    assert await peer.receive() == message


@pytest.mark.rule("S5.2")
@pytest.mark.parametrize("transport", EVERY)
async def test_a_thousand_messages(transport: str, place: Mounting, dial: Dial) -> None:
    """A thousand messages each way arrive once and in order, over as many responses as it takes."""
    peer = dial(await place(echo, response_limit=4096), transport)
    await peer.open()
    expected = [f"message {number}" for number in range(1000)]

    async def send() -> None:
        for start in range(0, 1000, 20):
            await peer.send(*expected[start : start + 20])

    sending = asyncio.ensure_future(send())
    assert [await peer.receive() for _ in expected] == expected
    await sending


@pytest.mark.parametrize("transport", EVERY)
async def test_slow_reader(transport: str, place: Mounting, dial: Dial) -> None:
    """Who reads late gets everything: `send` waits for it, and holds no more than the buffer meanwhile."""
    sent: list[int] = []

    async def handler(session: Session) -> None:
        for number in range(300):
            await session.send(f"{number} " + "x" * 50_000)
            sent.append(number)

    where = await place(handler, max_message=60_000, max_batch=60_000, buffer=60_000, response_limit=MIB)
    peer = dial(where, transport)
    await peer.open()
    await until(lambda: sent)
    for number in range(300):
        assert (await peer.receive()).startswith(f"{number} ")
    assert (await peer.closed())[0] == 1000


# ── bodies and frames ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.rule("S9.7", "S8.6")
@pytest.mark.parametrize("path", ["xhr_send", "jsonp_send"])
async def test_body_over_the_limit(path: str, place: Mounting) -> None:
    """A body over max_batch is 413, whether its length was announced or it came in chunks."""
    witness = Witness()
    where = await place(witness, max_message=1000, max_batch=2000, runner={"lingering_time": 0.1})
    assert (await ask(where, "POST", "/a/b/xhr")).body == b"o\n"
    body = json.dumps(["x" * 660] * 3).encode()
    assert len(body) == 1992
    assert (await ask(where, "POST", f"/a/b/{path}", body=body)).status in (200, 204)
    assert [await witness.message() for _ in range(3)] == ["x" * 660] * 3
    announced = await ask(where, "POST", f"/a/b/{path}", body=body + b" " * 9)
    assert announced.status == 413
    assert "2001 bytes" in announced.text
    assert "2000 are allowed (max_batch)" in announced.text
    async with await Wire.to(where.origin) as wire:
        await wire.request("POST", where.at(f"/a/b/{path}"), {"Transfer-Encoding": "chunked"})
        for _ in range(3):
            await wire.send(b"3e8\r\n" + b" " * 1000 + b"\r\n")
        reply = await wire.reply()
        assert reply.status == 413
        assert "2000 bytes that are allowed (max_batch)" in reply.text
    assert witness.messages.empty()
    assert len(where.server.sessions) == 1


@pytest.mark.rule("S9.7")
async def test_huge_body_is_not_read(place: Mounting) -> None:
    """A body that is announced as huge is refused before it comes."""
    where = await place(echo, runner={"lingering_time": 0.1})
    assert (await ask(where, "POST", "/a/b/xhr")).body == b"o\n"
    reply = await ask(where, "POST", "/a/b/xhr_send", {"Content-Length": str(10**12)}, b"[")
    assert reply.status == 413


@pytest.mark.rule("S9.7")
@pytest.mark.parametrize("transport", ["websocket", "websocket-raw"])
async def test_frame_over_the_limit(transport: str, place: Mounting, dial: Dial) -> None:
    """A WebSocket frame over max_batch, whole or in parts, closes with 1009; nothing is delivered."""
    witness = Witness()
    where = await place(witness, max_message=1000, max_batch=2000)
    for parts in (1, 3):
        peer = dial(where, transport)
        await peer.open()
        assert isinstance(peer, SocketPeer)
        assert peer.socket
        for part in range(parts):
            await peer.socket.send(0 if part else TEXT, b" " * (2100 // parts), fin=part == parts - 1)
        assert (await gone(peer))[0] == 1009
        session = await witness.end()
        assert session.closed
        assert session.closed.by == "network"
    assert witness.messages.empty()


@pytest.mark.rule("S9.7")
async def test_too_many_messages_in_one_body(place: Mounting) -> None:
    """A body of more messages than max_packets is refused: each of them costs, even an empty one."""
    witness = Witness()
    where = await place(witness, max_packets=100)
    assert (await ask(where, "POST", "/a/b/xhr")).body == b"o\n"
    reply = await ask(where, "POST", "/a/b/xhr_send", body=json.dumps([""] * 101).encode())
    assert reply.status in (413, 500)
    assert "max_packets" in reply.text
    assert witness.messages.empty()


@pytest.mark.rule("S8.7")
async def test_handler_is_behind(place: Mounting, dial: Dial) -> None:
    """While the handler takes nothing, sends wait for it, a few at most; then everything arrives in order."""
    go = asyncio.Event()
    heard: list[str] = []

    async def handler(session: Session) -> None:
        await go.wait()
        async for message in session:
            heard.append(message)  # noqa: PERF401 - the test looks at it as it grows

    where = await place(handler, max_message=1000, max_batch=2000, buffer=1000, max_sends=2)
    peer = dial(where, "xhr-polling")
    await peer.open()
    await peer.send("0" * 1000)
    waiting = [dial(where, "xhr-polling", peer.address) for _ in range(2)]
    sends = []
    for number, sender in enumerate(waiting, 1):
        sends.append(asyncio.ensure_future(sender.send(str(number) * 1000)))
    excess = dial(where, "xhr-polling", peer.address)
    assert isinstance(excess, HttpPeer)
    reply = await refused(excess)
    assert "max_sends" in reply.text
    assert not any(send.done() for send in sends)
    go.set()
    await asyncio.gather(*sends)
    await excess.send("9")
    await until(lambda: len(heard) >= 4)
    assert sorted(message[0] for message in heard) == ["0", "1", "2", "9"]
    assert (heard[0][0], heard[3][0]) == ("0", "9")


async def refused(peer: HttpPeer) -> Reply:
    """Send nothing until that is refused: the sends before it may still be on their way."""
    while True:
        sending = asyncio.ensure_future(peer.post(b"[]"))
        done, _ = await asyncio.wait([sending], timeout=0.2)
        if done:
            reply = await sending
            assert reply.status == 429
            return reply
        sending.cancel()
        await asyncio.wait([sending])
        await peer.vanish()
