"""SockJS with slow and dead links, and with sessions that were left alone (docs/sockjs.md §9)."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING

import pytest

from tests.conformance.peers import STREAMING, Dial, Mounting, SocketPeer
from tests.conformance.wire import BINARY, PING, PONG, TEXT, Wire, Witness, until

if TYPE_CHECKING:
    from hybridws import Session

MAX = 256 * 1024
"""The default of max_message."""
MIB = 2**20


# ── what is left over ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.rule("S9.1")
async def test_abandoned_sessions_are_free(place: Mounting) -> None:
    """Hundreds of sessions that were opened by a poll and left alone are gone soon: handler, session, memory."""
    living: weakref.WeakSet[Session] = weakref.WeakSet()
    ends: list[str] = []

    async def handler(session: Session) -> None:
        living.add(session)
        session.send_nowait("x" * 1000)
        async for _ in session:
            pass
        ends.append(session.id)

    delay = 0.5
    where = await place(handler, disconnect_delay=delay)
    async with await Wire.to(where.origin) as wire:
        for number in range(500):
            await wire.request("POST", where.at(f"/a/{number}/xhr"))
            assert (await wire.reply()).body == b"o\n"

    def freed() -> bool:
        gc.collect()
        return not living

    await until(lambda: len(ends) == 500)
    assert len(set(ends)) == 500
    assert not where.server.sessions
    await until(freed, delay + 5)


# ── WebSockets that are slow ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.rule("S9.11")
@pytest.mark.parametrize("transport", ["websocket", "websocket-raw"])
async def test_no_sign_of_life(transport: str, place: Mounting, dial: Dial) -> None:
    """A client that shows no sign of life for pong_timeout is dropped, and not before."""
    witness = Witness()
    heartbeat, patience = 0.2, 0.4
    peer = dial(await place(witness, heartbeat_delay=heartbeat, pong_timeout=patience), transport)
    await peer.open()
    assert isinstance(peer, SocketPeer)
    assert peer.socket
    peer.socket.pongs = False
    loop = asyncio.get_running_loop()
    begun = loop.time()
    session = await witness.end()
    assert patience < loop.time() - begun < 5 * (heartbeat + patience) + 1
    assert session.closed
    assert session.closed.by == "network"


@pytest.mark.rule("S9.11")
async def test_any_sign_of_life(place: Mounting, dial: Dial) -> None:
    """Whatever comes is a sign of life, without any pong."""
    witness = Witness()
    heartbeat, patience = 0.1, 1.0
    where = await place(witness, heartbeat_delay=heartbeat, pong_timeout=patience)
    loop = asyncio.get_running_loop()

    async def live(sign: int) -> None:
        peer = dial(where, "websocket-raw")
        await peer.open()
        assert isinstance(peer, SocketPeer)
        assert peer.socket
        peer.socket.pongs = False
        begun = loop.time()
        while loop.time() - begun < 1.5 * (heartbeat + patience):
            await peer.socket.send(sign, b"here")
            await peer.socket.frame()

    signs = (PONG, PING, TEXT, BINARY)
    await asyncio.gather(*map(live, signs))
    assert [session.closed for session in where.server.sessions] == [None] * len(signs)


@pytest.mark.rule("S9.11")
async def test_slow_link(place: Mounting, dial: Dial) -> None:
    """While a link slowly carries what was sent before, its client is not asked to be quick."""
    witness = Witness()
    heartbeat, patience = 0.2, 0.8
    where = await place(witness, heartbeat_delay=heartbeat, pong_timeout=patience, buffer=32 * MIB)
    peer = dial(where, "websocket-raw")
    await peer.open()
    session = await witness.session()
    pieces = 100
    for _ in range(pieces):
        session.send_nowait("x" * MAX)
    assert isinstance(peer, SocketPeer)
    assert peer.socket
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while loop.time() - begun < 1.5 * (heartbeat + patience):
        assert len(await peer.receive()) == MAX
        pieces -= 1
        await asyncio.sleep(0.05)  # the slowness
    for _ in range(pieces):
        assert len(await peer.receive()) == MAX
    assert session.closed is None


@pytest.mark.rule("S9.11")
@pytest.mark.parametrize("transport", ["websocket", "websocket-raw", *STREAMING])
async def test_dead_link(transport: str, place: Mounting, dial: Dial) -> None:
    """A connection that takes nothing at all for the time of a heartbeat and a pong is dropped."""
    witness = Witness()
    heartbeat, patience = 0.2, 0.4
    where = await place(
        witness, heartbeat_delay=heartbeat, pong_timeout=patience, buffer=64 * MIB, response_limit=64 * MIB
    )
    peer = dial(where, transport)
    await peer.open()
    session = await witness.session()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for _ in range(200):
        session.send_nowait("x" * MAX)
    assert await witness.end() is session
    assert patience < loop.time() - begun < 5 * (heartbeat + patience) + 1
    assert session.closed
    assert session.closed.by == "network"
    assert session.unacked
