"""The trials of a connection: kills, stalls and switches under load, through a hostile proxy, all of it counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hybridws.cli.torture.peers import Peer
from hybridws.cli.torture.tally import Tally
from hybridws.testing import HostileProxy

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator

BURST: Final = 0.02
"""Seconds between two bursts of messages: one timer each would measure the timers."""
LOOK: Final = 0.005
"""Seconds between two looks at which transport carries a session."""
NETWORKS: Final = ("ok", "ws_refused", "ws_hangs", "hangs_and_buffers", "http10+buffers")
"""What the network turns into: on each of them another transport is the best, or the old way to it is shut."""
SWITCH: Final = 3.0
"""Seconds in which a client must have found its way in a network that has changed."""
LEAST_SWITCHING: Final = 30.0
"""Seconds for a few switches, however few: some changes of the network leave the transport what it was."""


class Trial(NamedTuple):
    """What one trial showed. Times are in seconds."""

    name: str
    transport: str
    faults: int
    """Kills, stalls or switches that the session went through."""
    sent: int
    lost: int
    twice: int
    disordered: int
    longest: float
    """For which nothing came though something was owed."""
    resets: int
    """Sessions that were lost; the client was told so."""
    fault: str = ""
    """Why the trial could not be held."""

    @property
    def passed(self) -> bool:
        """Whether nothing went wrong."""
        return not (self.fault or self.lost or self.twice or self.disordered or self.resets) and self.sent > 0


class Load(NamedTuple):
    """How much is said, and for how long everything that is owed is waited for at the end."""

    rate: float
    """Messages per second."""
    seconds: float
    patience: float
    rng: random.Random


Way = Callable[[HostileProxy, Peer, Load], Coroutine[Any, Any, int]]
"""What is done to the network while messages pass; it returns how often."""


async def hold(  # noqa: PLR0913, PLR0917 - what a trial consists of
    name: str, transport: str | None, proxy: HostileProxy, peer: Peer, load: Load, way: Way
) -> Trial:
    """Hold one trial: say numbered messages and hear their echo, while the network is treated in some way."""
    tally = Tally()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(peer.close)
        await peer.open()
        hearing = asyncio.create_task(_hear(peer, tally))
        stack.push_async_callback(_end, hearing)
        hurting = asyncio.create_task(way(proxy, peer, load))
        stack.push_async_callback(_end, hurting)
        saying = asyncio.create_task(_say(peer, tally, load, hurting))
        stack.push_async_callback(_end, saying)
        faults = await hurting
        await asyncio.wait([saying], timeout=load.seconds + load.patience)  # who cannot resume may hang there for ever
        proxy.mode = "ok"
        peer.hurry()
        loop = asyncio.get_running_loop()
        until = loop.time() + load.patience
        while tally.owed and loop.time() < until and not hearing.done():  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(LOOK)
        resets = peer.resets
    return Trial(
        name,
        transport or "all",
        faults,
        tally.sent,
        tally.owed,
        tally.twice,
        tally.disordered,
        round(tally.longest, 3),
        resets,
    )


async def _hear(peer: Peer, tally: Tally) -> None:
    async for text in peer:
        tally.hear(text)


async def _say(peer: Peer, tally: Tally, load: Load, hurting: asyncio.Task[Any]) -> None:
    """Say messages at the rate, for the time and while the network is being hurt."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while loop.time() - begun < load.seconds or not hurting.done():
        due = int((loop.time() - begun) * load.rate)
        while tally.sent < due:
            await peer.send(tally.next())
        await asyncio.sleep(BURST)


async def _end(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# ── ways ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def kills(count: int) -> Way:
    """Reset all connections `count` times, at random moments of the time, in mid-frame and mid-body."""

    async def kill(proxy: HostileProxy, _peer: Peer, load: Load) -> int:
        async for _ in _moments(count, load):
            proxy.cut()
        return count

    return kill


def stalls(count: int) -> Way:
    """Pull the cable `count` times: what is open passes nothing more, nobody is told, and new connections are good."""

    async def stall(proxy: HostileProxy, _peer: Peer, load: Load) -> int:
        async for _ in _moments(count, load):
            proxy.freeze()
        return count

    return stall


def switches(count: int) -> Way:
    """Change the network at random moments until the client has changed its transport `count` times."""

    async def switch(proxy: HostileProxy, peer: Peer, load: Load) -> int:
        loop = asyncio.get_running_loop()
        until = loop.time() + max(count * SWITCH, LEAST_SWITCHING)
        done = 0
        before = await _carried(peer, None, SWITCH)
        network = "ok"
        while done < count and loop.time() < until:
            network = load.rng.choice([other for other in NETWORKS if other != network])
            await proxy.flip(network, cut=load.rng.random() < 0.5)  # noqa: PLR2004 - as often as not
            peer.hurry()
            after = await _carried(peer, before, SWITCH / 3)
            done += after != before
            before = after
            await asyncio.sleep(load.rng.uniform(0, 0.2))
        return done

    return switch


async def _carried(peer: Peer, other_than: str | None, patience: float) -> str | None:
    """Wait until another transport carries the session; return the one that does when the time is over."""
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    while peer.transport in (None, other_than) and loop.time() < until:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(LOOK)
    return peer.transport or other_than


async def _moments(count: int, load: Load) -> AsyncIterator[float]:
    """Come back at `count` random moments, one in each part of the time, none at the very end of it."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    part = load.seconds / (count + 0.5)
    for number in range(count):
        moment = begun + part * (number + load.rng.uniform(0.3, 0.9))
        await asyncio.sleep(max(moment - loop.time(), 0))
        yield moment
