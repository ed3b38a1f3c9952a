"""What time does to a SockJS session (docs/sockjs.md §6 and §9)."""

from __future__ import annotations

import asyncio

import pytest

from hybridws import SessionClosed
from tests.conformance.peers import HTTP, SOCKJS, Dial, Mounting, SocketPeer
from tests.conformance.wire import TEXT, Witness, ask


@pytest.mark.rule("S6.8", "S9.1")
@pytest.mark.parametrize("transport", HTTP)
async def test_abandoned_session(transport: str, place: Mounting, dial: Dial) -> None:
    """A session that nobody comes back to is ended in time, once, and its name is free again."""
    witness = Witness()
    delay = 0.3
    where = await place(witness, disconnect_delay=delay, response_limit=1)
    peer = dial(where, transport)
    await peer.open()
    session = await witness.session()
    begun = asyncio.get_running_loop().time()
    assert await witness.end() is session
    assert asyncio.get_running_loop().time() - begun < delay + 1
    assert session.closed
    assert (session.closed.code, session.closed.by) == (1006, "network")
    assert not where.server.sessions
    with pytest.raises(SessionClosed):
        await session.send("x")
    reply = await ask(where, "POST", f"{peer.address}/xhr_send", body=b'["late"]')
    assert reply.status == 404
    assert witness.ended.empty()
    assert witness.messages.empty()


@pytest.mark.rule("S6.8")
async def test_session_that_is_visited_lives(place: Mounting, dial: Dial) -> None:
    """As long as a receiver comes back in time, the session goes on."""
    witness = Witness()
    delay = 0.5
    peer = dial(await place(witness, disconnect_delay=delay), "xhr-polling")
    await peer.open()
    session = await witness.session()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while loop.time() - begun < 3 * delay:
        session.send_nowait("x")
        assert await peer.receive() == "x"
    assert session.closed is None


@pytest.mark.rule("S6.9", "S5.3", "S7.22")
@pytest.mark.parametrize("transport", SOCKJS)
async def test_heartbeat(transport: str, place: Mounting, dial: Dial) -> None:
    """An idle receiver gets an `h`, again and again, and messages between them."""
    witness = Witness()
    delay = 0.2
    peer = dial(await place(witness, heartbeat_delay=delay), transport)
    await peer.open()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    assert await peer.frame() == "h"
    assert delay / 2 <= loop.time() - begun < 5 * delay + 1
    assert await peer.frame() == "h"
    session = await witness.session()
    session.send_nowait("x")
    assert await peer.receive() == "x"
    assert await peer.frame() == "h"
    assert session.closed is None


@pytest.mark.rule("S7.22")
@pytest.mark.parametrize("transport", ["websocket", "websocket-raw"])
async def test_heartbeat_pings(transport: str, place: Mounting, dial: Dial) -> None:
    """Over a WebSocket a heartbeat is a ping too; a raw client gets nothing but that."""
    witness = Witness()
    peer = dial(await place(witness, heartbeat_delay=0.1), transport)
    await peer.open()
    session = await witness.session()
    assert isinstance(peer, SocketPeer)
    assert peer.socket
    while peer.socket.pings < 3:
        opcode, payload = await peer.socket.frame()
        if opcode == TEXT:
            assert (transport, payload) == ("websocket", b"h")
    assert session.closed is None


@pytest.mark.rule("S9.9")
async def test_poll_after_the_end(place: Mounting, dial: Dial) -> None:
    """A poll that comes too late gets a new session, and nothing of the old one."""
    witness = Witness()
    where = await place(witness, disconnect_delay=0.2)
    peer = dial(where, "xhr-polling")
    await peer.open()
    old = await witness.session()
    await old.send("for the old one")
    await witness.end()
    assert (await ask(where, "POST", f"{peer.address}/xhr_send", body=b'["old"]')).status == 404
    assert await peer.frame() == "o"
    new = await witness.session()
    assert new is not old
    assert new.id != old.id
    await peer.send("new")
    assert await witness.message() == "new"
    await new.send("for the new one")
    assert await peer.receive() == "for the new one"
