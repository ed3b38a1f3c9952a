"""How a SockJS session ends, from either side, and what remains of it (docs/sockjs.md §6 and §9)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from hybridws import Closed, SessionClosed
from tests.conformance.peers import EVERY, HTTP, Dial, Mounting, SocketPeer
from tests.conformance.wire import CLOSE, Wire, Witness, ask, attached, until, within

if TYPE_CHECKING:
    from hybridws import Session

# ── the server closes ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.rule("S6.12", "S5.4", "S7.21")
@pytest.mark.parametrize("transport", EVERY)
async def test_server_closes(transport: str, place: Mounting, dial: Dial) -> None:
    """What was sent comes first, then code and reason; for the handler it is over at once, and once."""
    witness = Witness()
    peer = dial(await place(witness), transport)
    await peer.open()
    session = await witness.session()
    await session.send("last words")
    await session.close(3456, "so be it: ü")
    await session.close(3999, "too late")
    assert (await witness.end()).closed == Closed(3456, "so be it: ü", "local")
    with pytest.raises(SessionClosed):
        await session.send("x")
    assert await peer.receive() == "last words"
    assert await peer.closed() == (3456, "so be it: ü")
    await within(session.wait_closed())
    assert witness.ended.empty()


@pytest.mark.rule("S6.12")
@pytest.mark.parametrize("transport", EVERY)
async def test_handler_returns(transport: str, place: Mounting, dial: Dial) -> None:
    """A handler that returns has closed its session."""

    async def handler(session: Session) -> None:
        await session.send("hello")

    peer = dial(await place(handler), transport)
    await peer.open()
    assert await peer.receive() == "hello"
    assert await peer.closed() == (1000, "Normal closure")


@pytest.mark.rule("S6.12")
@pytest.mark.logs_errors
@pytest.mark.parametrize("transport", EVERY)
async def test_handler_fails(transport: str, place: Mounting, dial: Dial, caplog: pytest.LogCaptureFixture) -> None:
    """A handler that fails closes its session with 1011, is logged once, and tells the client nothing of why."""

    async def handler(session: Session) -> None:
        async for message in session:
            raise ZeroDivisionError(message)

    where = await place(handler)
    peer, neighbour = dial(where, transport), dial(where, "websocket")
    await peer.open()
    await neighbour.open()
    await peer.send("secret")
    code, reason = await peer.closed()
    assert code == 1011
    assert "secret" not in reason
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [record.name for record in errors] == ["hybridws"]
    assert len(where.server.sessions) == 1


@pytest.mark.rule("S6.4", "S6.5", "S6.6")
@pytest.mark.parametrize("transport", HTTP)
async def test_close_is_repeated(transport: str, place: Mounting, dial: Dial) -> None:
    """Whoever asks after the close is told of it again, over any transport."""
    witness = Witness()
    where = await place(witness)
    peer = dial(where, transport)
    await peer.open()
    await (await witness.session()).close(3000, "Go away!")
    for _ in range(2):
        assert await peer.closed() == (3000, "Go away!")
    for other in HTTP:
        assert await dial(where, other, peer.address).closed() == (3000, "Go away!")


@pytest.mark.rule("S6.4")
async def test_close_is_forgotten(place: Mounting, dial: Dial) -> None:
    """After its time a closed session's name opens a new one."""
    witness = Witness()
    peer = dial(await place(witness, disconnect_delay=0.3), "xhr-polling")
    await peer.open()
    session = await witness.session()
    await session.close(3000, "Go away!")
    assert await peer.closed() == (3000, "Go away!")
    async with asyncio.timeout(10):
        while (frame := await peer.frame()) != "o":
            assert frame == 'c[3000,"Go away!"]'
            await asyncio.sleep(0.05)  # a client that asks again and again
    assert await witness.session() is not session


@pytest.mark.rule("S6.5")
async def test_close_before_anybody_reads_it(place: Mounting, dial: Dial) -> None:
    """A close waits for a receiver, with all that was said before it."""
    witness = Witness()
    where = await place(witness)
    peer = dial(where, "xhr-polling")
    await peer.open()
    session = await witness.session()
    for word in ("one", "two"):
        await session.send(word)
    await session.close(3001, "done")
    assert [await peer.frame(), await peer.frame()] == ['a["one","two"]', 'c[3001,"done"]']


@pytest.mark.rule("S6.11")
@pytest.mark.parametrize("transport", HTTP)
async def test_send_while_closing(transport: str, place: Mounting, dial: Dial) -> None:
    """Who sends before it has read the close is answered as ever, and heard by nobody."""
    witness = Witness()
    peer = dial(await place(witness), transport)
    await peer.open()
    await (await witness.session()).close(3000, "Go away!")
    await peer.send("too late")
    assert await peer.closed() == (3000, "Go away!")
    await witness.end()
    assert witness.messages.empty()


@pytest.mark.parametrize("transport", EVERY)
async def test_server_stops(transport: str, place: Mounting, dial: Dial) -> None:
    """A server that stops tells its clients so, with 1012, and takes nobody new."""
    witness = Witness()
    where = await place(witness)
    peer = dial(where, transport)
    await peer.open()
    await peer.listen()
    session = await witness.session()
    await attached(session)
    stopping = asyncio.ensure_future(where.server.close())
    code, _ = await peer.closed()
    assert code == 1012
    await within(stopping)
    assert (await witness.end()) is session
    assert (await ask(where, "POST", "/a/new/xhr")).status == 503
    assert not where.server.sessions


# ── the client leaves ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.rule("S7.24")
@pytest.mark.parametrize("transport", ["websocket", "websocket-raw"])
@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (3000, "bye"), (4999, "ü" * 61)])
async def test_client_closes(transport: str, code: int, reason: str, place: Mounting, dial: Dial) -> None:
    """The handler sees the code and reason of a client's close, and that it was the client's; it is answered."""
    witness = Witness()
    peer = dial(await place(witness), transport)
    await peer.open()
    await peer.send("last words")
    assert isinstance(peer, SocketPeer)
    assert peer.socket
    await peer.socket.send(CLOSE, code.to_bytes(2) + reason.encode())
    assert await witness.message() == "last words"
    session = await witness.end()
    assert session.closed == Closed(code, reason, "remote")
    while (await peer.socket.frame())[0] != CLOSE:
        pass
    assert peer.socket.closed
    assert peer.socket.closed[0] == code
    assert await peer.socket.wire.at_end()
    assert witness.ended.empty()


@pytest.mark.rule("S6.7")
@pytest.mark.parametrize("transport", EVERY)
async def test_connection_breaks(transport: str, place: Mounting, dial: Dial) -> None:
    """A receiver that breaks ends its session at once; the handler sees it once, and the name is free."""
    witness = Witness()
    where = await place(witness, disconnect_delay=60.0, heartbeat_delay=1.0)
    peer = dial(where, transport)
    await peer.open()
    session = await witness.session()
    await peer.listen()
    await attached(session)
    await peer.vanish()
    assert (await witness.end()) is session
    assert session.closed
    assert session.closed.by == "network"
    assert session.closed.code in (1002, 1006)
    assert not where.server.sessions
    again = dial(where, transport, peer.address)
    await again.open()
    assert await witness.session() is not session
    assert witness.ended.empty()


@pytest.mark.rule("S6.7")
@pytest.mark.parametrize("transport", HTTP)
async def test_next_receiver_notices_the_break(transport: str, place: Mounting, dial: Dial) -> None:
    """Who comes back right after a break is not told that its own dead connection is still open."""
    witness = Witness()
    where = await place(witness, disconnect_delay=60.0)
    peer = dial(where, transport)
    await peer.open()
    await peer.listen()
    await attached(await witness.session())
    await peer.vanish()
    frame = await dial(where, transport, peer.address).frame()
    while frame == 'c[2010,"Another connection still open"]':  # the break is still on its way
        frame = await dial(where, transport, peer.address).frame()
    assert frame in ("o", 'c[1002,"Connection interrupted"]')
    await witness.end()


@pytest.mark.rule("S9.3", "S6.7")
@pytest.mark.parametrize("cancellation", [False, True])
@pytest.mark.parametrize("transport", HTTP)
async def test_client_leaves_while_it_waits(transport: str, cancellation: bool, place: Mounting, dial: Dial) -> None:  # noqa: FBT001 - a parameter of the table
    """Whether aiohttp cancels the handlers of clients that have left or not: the session ends, once, and soon."""
    witness = Witness()
    where = await place(
        witness, disconnect_delay=60.0, heartbeat_delay=1.0, runner={"handler_cancellation": cancellation}
    )
    peer = dial(where, transport)
    await peer.open()
    session = await witness.session()
    await peer.listen()
    await attached(session)
    begun = asyncio.get_running_loop().time()
    await peer.vanish()
    assert await witness.end() is session
    assert asyncio.get_running_loop().time() - begun < 5
    assert session.closed
    assert session.closed.by == "network"
    assert not where.server.sessions
    assert witness.ended.empty()


@pytest.mark.rule("S9.3")
@pytest.mark.parametrize("cancellation", [False, True])
@pytest.mark.parametrize("transport", HTTP)
async def test_message_for_one_who_has_left(
    transport: str,
    cancellation: bool,  # noqa: FBT001 - a parameter of the table
    place: Mounting,
    dial: Dial,
) -> None:
    """A message for a client that has left is not taken for arrived, and ends the session that waits for it."""
    witness = Witness()
    where = await place(witness, disconnect_delay=60.0, runner={"handler_cancellation": cancellation})
    peer = dial(where, transport)
    await peer.open()
    session = await witness.session()
    await peer.listen()
    await attached(session)
    await peer.vanish()
    await peer.close()
    assert (await ask(where, "GET", "/")).status == 200  # by now the server's loop has seen the break
    sent = session.closed is None
    if sent:
        session.send_nowait("x")
    assert await witness.end() is session
    assert session.closed
    assert session.closed.by == "network"
    assert session.unacked == (["x"] if sent else [])


@pytest.mark.rule("S9.9")
@pytest.mark.parametrize("path", ["xhr_send", "jsonp_send"])
async def test_send_that_outlives_its_session(path: str, place: Mounting) -> None:
    """A body that is complete only when its session has ended is 404, also where the name is in use again."""
    witness = Witness()
    where = await place(witness, disconnect_delay=0.3)
    assert (await ask(where, "POST", "/a/b/xhr")).body == b"o\n"
    old = await witness.session()
    async with await Wire.to(where.origin) as wire:
        await wire.request("POST", where.at(f"/a/b/{path}"), {"Content-Length": "7"})
        await wire.send(b'["old')
        assert await witness.end() is old
        async with await Wire.to(where.origin) as receiver:
            await receiver.request("POST", where.at("/a/b/xhr_streaming"))
            await receiver.head()
            assert [len(await receiver.chunk()), await receiver.chunk()] == [2049, b"o\n"]
            new = await witness.session()
            await wire.send(b'"]')
            reply = await wire.reply()
            assert (reply.status, reply.text) == (404, "the session ended while this was on its way")
            assert witness.messages.empty()
            assert new.closed is None


@pytest.mark.rule("S8.7", "S6.2")
async def test_send_that_waits_for_a_handler_in_vain(place: Mounting) -> None:
    """A send that waits while its session is lost was not delivered, and is not said to be."""
    go = asyncio.Event()
    heard: list[object] = []

    async def handler(session: Session) -> None:
        await go.wait()
        async for message in session:
            heard.append(message)  # noqa: PERF401 - the test looks at it as it grows

    where = await place(handler, max_message=1000, max_batch=2000, buffer=1000, disconnect_delay=1.0)
    assert (await ask(where, "POST", "/a/b/xhr")).body == b"o\n"
    first = json.dumps(["x" * 1000]).encode()
    assert (await ask(where, "POST", "/a/b/xhr_send", body=first)).status == 204
    late = await ask(where, "POST", "/a/b/xhr_send", body=b'["late"]')
    go.set()
    assert not where.server.sessions
    assert late.status == 404
    await until(lambda: heard)
    assert heard == ["x" * 1000]


@pytest.mark.rule("S6.12")
async def test_impossible_closes(place: Mounting, dial: Dial) -> None:
    """A code or reason that no client could be told is an error at once, and the session goes on."""
    witness = Witness()
    peer = dial(await place(witness), "websocket")
    await peer.open()
    session = await witness.session()
    for code, reason in ((999, ""), (1005, ""), (1006, ""), (2010, ""), (5000, ""), (3000, "ü" * 62), (3000, "\ud800")):
        with pytest.raises(ValueError, match="close"):
            await session.close(code, reason)
    assert session.closed is None
    await session.close(4999, "ü" * 61)
    assert await peer.closed() == (4999, "ü" * 61)
