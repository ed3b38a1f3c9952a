"""What `hybridws doctor` tries: each transport by itself, on a session of its own, without a word to the application.

The only packets are those that every session answers: attaches, and heartbeats, whose acks are the echoes. Each answer
is believed only if it is the server's own (protocol §3); what anything else says is told as it stands.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Final

from hybridws.cli.doctor.ears import SOON, Cut, Ear, SocketEar, StreamEar, blame, hear, leave_alone
from hybridws.cli.doctor.faults import Fault, Finding
from hybridws.cli.doctor.road import PAUSE, TRIES, Pass, Road, attach
from hybridws.cli.ink import span
from hybridws.client.pilot import LEAST_FIRST_BYTES, MOST_FIRST_BYTES
from hybridws.core.packets import Ack, Heartbeat, Position

RELEASE: Final = 1.0
"""Seconds in which a response that was held until its end arrives after its end."""

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def again(finding: Finding, work: Callable[[], Awaitable[None]]) -> None:
    """Do `work()` until it works, `TRIES` times at most where the network errs by chance; note what went wrong."""
    for n in range(1, TRIES + 1):
        try:
            await work()
        except Fault as fault:
            if fault.brief and n < TRIES:
                if fault.state != "late":  # a busy machine is late at times; what comes in time at last is no trouble
                    finding.stumbles.append(fault.words)
                await asyncio.sleep(PAUSE)
                continue
            finding.fail(fault)
            return
        break
    finding.waver()


# ── WebSocket ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def try_websocket(road: Road, ticket: Pass, watch: float) -> Finding:
    """Find out what becomes of a WebSocket."""
    finding, numbers = Finding("websocket"), itertools.count(1)

    async def work() -> None:
        begun = time.monotonic()
        ws = await road.websocket()
        try:
            ear = SocketEar(ws, road.patience)
            await ear.say(attach(ticket, next(numbers)))
            await hear(ear, "opens, but nothing passes after that")
            finding.attach = time.monotonic() - begun
            await ear.say(Ack(0), Position(1))
            begun = time.monotonic()
            await ear.say(Heartbeat())
            await hear(ear, "opens and is answered, but nothing passes after that")
            finding.echo = time.monotonic() - begun
            await leave_alone(finding, ear, watch)
        except Cut as cut:
            await blame(finding, cut, lambda: _socket_again(road, ticket, next(numbers)))
        finally:
            await ws.close()

    await again(finding, work)
    return finding


async def _socket_again(road: Road, ticket: Pass, n: int) -> Ear:
    ear = SocketEar(await road.websocket(), road.patience)
    await ear.say(attach(ticket, n))
    await ear.next(ear.patience)
    await ear.say(Ack(0), Position(1))
    return ear


async def try_stream(road: Road, ticket: Pass, watch: float) -> Finding:
    """Find out what becomes of a stream: whether its bytes come as they are written, and how long it may be silent."""
    finding, numbers = Finding("stream"), itertools.count(1)
    limit = min(MOST_FIRST_BYTES, max(LEAST_FIRST_BYTES, 4 * ticket.took))

    async def work() -> None:
        begun = time.monotonic()
        starting = asyncio.get_running_loop().create_task(_stream(road, ticket, next(numbers)))
        ear: StreamEar | None = None
        try:
            await asyncio.wait([starting], timeout=road.patience)
            ear = starting.result() if starting.done() else None
            try:
                if ear:
                    await ear.some(max(road.patience - (time.monotonic() - begun), SOON))
            except TimeoutError:
                ear = None
            if ear is None:
                raise await _held(road, ticket, next(numbers), starting)
            first = time.monotonic() - begun
            try:
                await ear.next(ear.patience)
            except TimeoutError:
                raise Fault("buffered", "begins, but its first event is held back") from None
            finding.attach = time.monotonic() - begun
            await _second_event(finding, ear)
            if first > limit:
                words = f"is held up: its first bytes take {span(first)}, where {span(limit)} are expected"
                raise Fault("late", words, brief=True)
            await leave_alone(finding, ear, watch)
        except Cut as cut:
            await blame(finding, cut, lambda: _stream_again(road, ticket, next(numbers)))
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            if ear:
                await ear.close()

    await again(finding, work)
    return finding


async def _stream(road: Road, ticket: Pass, n: int) -> StreamEar:
    return StreamEar(road, ticket, await road.stream(f"v1/{ticket.sid}/stream", [attach(ticket, n)]))


async def _stream_again(road: Road, ticket: Pass, n: int) -> Ear:
    ear = await _stream(road, ticket, n)
    await ear.next(ear.patience)
    return ear


async def _held(road: Road, ticket: Pass, n: int, starting: asyncio.Task[StreamEar]) -> Fault:
    """Find out what holds a stream back: end it, by a poll that takes over, and see whether it comes then."""
    shown = f"shows nothing within {span(road.patience)}"
    try:
        await road.post(f"v1/{ticket.sid}/poll", [attach(ticket, n, hold=0.0)])
    except Fault:
        return Fault("buffered", shown)
    await asyncio.wait([starting], timeout=RELEASE)
    try:
        await starting.result().some(RELEASE)
    except (asyncio.InvalidStateError, TimeoutError, Cut):
        return Fault("buffered", f"{shown}, and nothing when it has ended: what it brings is lost")
    return Fault("buffered", "is buffered: all of it is held back until it has ended")


async def _second_event(finding: Finding, ear: StreamEar) -> None:
    """See whether an event comes by itself, or only when there is one behind it."""
    begun = time.monotonic()
    await ear.beat()
    answered = time.monotonic() - begun
    try:
        await ear.next(max(LEAST_FIRST_BYTES, 4 * answered))
    except TimeoutError:
        await ear.beat()
        try:
            await ear.next(ear.patience)
        except TimeoutError:
            raise Fault("buffered", "begins, but its second event is held back") from None
        words = (
            f"is held up: its second event took {span(time.monotonic() - begun)}, and came when a third was behind it"
        )
        raise Fault("late", words, brief=True) from None
    finding.echo = time.monotonic() - begun


# ── polls ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def try_poll(road: Road, ticket: Pass, watch: float) -> Finding:
    """Find out what becomes of polls: one that is answered at once, and those that are held."""
    finding, numbers = Finding("poll"), itertools.count(1)
    path = f"v1/{ticket.sid}/poll"

    async def work() -> None:
        begun = time.monotonic()
        await road.post(path, [attach(ticket, next(numbers)), Heartbeat()])
        finding.attach = time.monotonic() - begun
        begun = time.monotonic()
        await road.post(path, [attach(ticket, next(numbers)), Heartbeat()])
        finding.echo = time.monotonic() - begun

    await again(finding, work)
    if finding.echo is None:
        return finding
    end = time.monotonic() + watch
    most = float(ticket.said["poll_timeout"])
    while (left := end - time.monotonic()) > SOON:
        hold, begun = min(left, most), time.monotonic()
        try:
            await road.post(path, [attach(ticket, next(numbers), hold=hold)], hold + road.patience)
        except Fault as fault:
            lived = time.monotonic() - begun
            if lived < min(hold, SOON) and fault.brief and len(finding.stumbles) < TRIES:
                finding.stumbles.append(fault.words)
                continue
            if fault.state == "silent":
                finding.fail(Fault("dead", f"is never answered once it has waited (we gave it {span(lived)})"))
                return finding
            finding.cut = lived
            how = f": it {fault.words}" if fault.status else ""
            finding.fail(Fault("cut", f"is cut while it waits, after {span(lived)}{how}", fault.by))
            return finding
        finding.idle = (finding.idle or 0.0) + time.monotonic() - begun
    finding.waver()
    return finding
