"""The ways in which HTTP carries a client's session: long polls, and a stream with POSTs beside it.

Each runs until it breaks (NetworkFault, Turned), another transport has the seat, or the session is over.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from hybridws.client.courier import NetworkFault, Quiet, Turned, believe
from hybridws.client.watch import GRACE, LEAST_PATIENCE
from hybridws.core.codec import JSON
from hybridws.core.link import Lane, State
from hybridws.core.packets import Attach, Position, Refuse
from hybridws.core.streams import EventReader, PackReader
from hybridws.errors import Malformed, TooLarge
from hybridws.seat import Bell

if TYPE_CHECKING:
    from hybridws.client.pilot import Pilot
    from hybridws.core.codec import Batch

SLOWEST: Final = 16 * 1024
"""Bytes per second that a link is expected to carry at least: a body gets so much more time."""
MOST_UP: Final = 512 * 1024
"""Bytes of a body that we POST, if its packets can be parted so: nginx takes 1 MiB unless told, `max_batch` is more."""
MOST_READ_AHEAD: Final = 2
"""Batches that one event may hold at most: anything larger is no event of the server's."""


class HttpCarrier:
    """What polls and streams share: the seat, and POSTs that bring up what the session has to say, one at a time."""

    def __init__(self, pilot: Pilot, name: str) -> None:
        """Take the session's seat."""
        self.pilot: Final = pilot
        self.session: Final = pilot.session
        self.link: Final = pilot.session.link
        self.bell: Final = Bell()
        self.busy: Final = asyncio.Lock()
        self.named, self.named_at = 0, 0.0
        """The number that the server says it will write next on our stream, and since when that is more than we see."""
        self.quiet: Final = Quiet(self.silent_until)
        self.shown = Lane()
        """What our stream has shown."""
        self.unsure: float | None = None
        """When the way down is looked at, by the loop's clock, if nothing comes before: something was said."""
        self.held: asyncio.Task[None] | None = None
        """The poll that the server holds."""
        self.up: Lane = self.link.lane()
        self.seat: Final = self.session.attach(name, self.bell.ring)
        self.seat.lane.owes = False

    @property
    def over(self) -> bool:
        """Whether there is nothing left to carry here."""
        return self.seat.over or (self.link.state is State.CLOSED and not self.seat.lane.owes)

    def attach(self, n: int, hold: float | None = None) -> bytes:
        """Write the attach with which every body begins; it carries the ack, and how long a poll may `hold`."""
        lane = self.seat.lane
        lane.acked, lane.acked_bytes, lane.owes = self.link.ackable, self.link.came, False
        wishes = self.pilot.wishes()
        if hold is not None:
            wishes["hold"] = hold
        packet = Attach(self.pilot.sid, self.pilot.key, n, self.link.ackable, wishes)
        return self.link.codec.dumps(packet, self.link.options)

    def load(self, n: int, hold: float | None = None) -> bytes:
        """Write a body: the attach, and what is to be said, if anything is."""
        words, lane = self.attach(n, hold), self.up
        if not self.link.has_more(lane):
            return words
        lane.owes, lane.acked, lane.placed = False, self.link.ackable, False  # the attach acks; each body has its place
        frame = self.link.pending(lane, min(self.link.options.max_batch, MOST_UP) - len(words) - 1, beside=1)[0]
        self.link.wrote(lane, frame)
        return words + (b"\n" if self.link.codec is JSON else b"") + frame.payload

    async def post(self, kind: str, n: int, hold: float | None = None) -> None:
        """POST what there is to say and take the answer. Raises NetworkFault, Turned; then all is said again.

        `hold`: seconds for which the server may keep a poll that brings it nothing.
        """
        body = self.load(n, hold)
        patience = self.pilot.watch.answers + len(body) / SLOWEST
        if kind == "poll":
            patience = hold + GRACE if hold else patience + self.link.options.linger
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            status, answer = await self.pilot.courier.post(f"{self.pilot.sid}/{kind}", body, patience)
            batch = believe(status, answer, self.link.codec, self.link.options)
        except BaseException:
            self.up = self.link.lane()
            raise
        if kind == "send" or hold == 0:
            self.pilot.watch.measured(loop.time() - begun)
        self.take(batch, Lane())

    def take(self, batch: Batch, lane: Lane) -> None:
        """Hand what has come to the session. Raises Turned for a refusal at the end of a stream."""
        self.pilot.alive()
        self.session.feed(lane, batch)
        for packet, _ in batch:
            if isinstance(packet, Refuse):
                raise Turned(packet)
            if isinstance(packet, Position) and packet.number > self.named:
                if not self.behind:
                    self.named_at = asyncio.get_running_loop().time()
                self.named = packet.number
                self.quiet.changed()

    async def keep_pace(self, patience: float | None = None) -> None:
        """Read no further while the application is behind, for so many seconds at most."""
        if self.session.crowded:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self.session.wait_for_inbox()

    @property
    def behind(self) -> bool:
        """Whether the server says that it has written more than our stream has shown."""
        return (self.shown.expects or 0) < self.named

    def silent_until(self, since: float) -> float:
        """Return until when a stream may be silent: not for long while it is behind, however much is said meanwhile."""
        if self.behind:
            return max(since, self.named_at) + self.pilot.first_bytes()
        return since + self.pilot.heartbeat + GRACE

    async def send_on(self) -> None:
        """Send whenever there is something to say, or an ack is due. Raises NetworkFault, Turned."""
        loop = asyncio.get_running_loop()
        while not self.over:
            if self.unsure is not None and loop.time() >= self.unsure:
                await self.look()
            elif not (self.link.has_more(self.up) or self.seat.lane.owes):
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(self.unsure):
                        await self.bell.wait()
            else:
                async with self.busy:
                    speaks = self.link.has_more(self.up)
                    if speaks or self.seat.lane.owes:
                        await self.post("send", 0)
                if speaks and (self.unsure is None or self.named <= self.link.received + 1):  # nothing waits for us yet
                    self.unsure = loop.time() + self.pilot.watch.patience

    async def look(self) -> None:
        """See whether the way down still passes: what we say and what comes may take different connections."""
        self.unsure = None
        if self.held:
            self.held.cancel()  # the next poll takes over, and shows it
            return
        async with self.busy:
            await self.post("send", 0)  # its answer names what the stream should have shown


async def _first_of(*tasks: asyncio.Task[None]) -> None:
    """Wait until one has ended, and raise what it raised."""
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# ── polls ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def poll(pilot: Pilot) -> None:
    """Carry by long polls; what is to be said rides on the next one, or goes in a POST beside a parked one."""
    carrier = HttpCarrier(pilot, "poll")
    loop = asyncio.get_running_loop()
    poller = loop.create_task(_poll_on(carrier))
    sender = loop.create_task(carrier.send_on())
    try:
        await _first_of(poller, sender)
        if carrier.seat.over:  # what the last poll still brings is heard
            await asyncio.wait([poller], timeout=LEAST_PATIENCE)
    finally:
        await _end(poller, sender)
        carrier.seat.leave("the polls have ended")


async def _poll_on(carrier: HttpCarrier) -> None:
    pilot, link = carrier.pilot, carrier.link
    first = True  # it is not held, and shows at once that polls get through
    while not carrier.over:
        await carrier.keep_pace(link.options.resume / 2)  # the session must not be forgotten meanwhile
        async with carrier.busy:
            # Let the application answer what came last, so that its words ride on this poll: one request a round trip.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            brings = link.has_more(carrier.up)
            if brings:
                await carrier.post("poll", pilot.next_n())
        answered = brings or carrier.over or await _hold(carrier, 0 if first else pilot.hold)  # type: ignore[redundant-expr]  # posting may have ended it
        carrier.unsure = None
        if not answered:
            first = True  # the next one shows again at once that polls get through
            continue
        if first:
            first = False
            pilot.carried("poll")


async def _hold(carrier: HttpCarrier, seconds: float) -> bool:
    """Poll, and let the server hold it; tell whether it was answered, and not given up for the next one."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    poll = carrier.held = loop.create_task(carrier.post("poll", carrier.pilot.next_n(), seconds))
    try:
        await poll
    except NetworkFault:
        carrier.pilot.watch.fell_silent(loop.time(), min(loop.time() - begun, seconds))
        raise
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task and task.cancelling():
            raise
        return False
    finally:
        carrier.held = None
    return True


# ── streams ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def stream(pilot: Pilot) -> None:
    """Carry by a stream down and POSTs up."""
    carrier = HttpCarrier(pilot, "stream")
    loop = asyncio.get_running_loop()
    reader = loop.create_task(_read_on(carrier))
    sender = loop.create_task(carrier.send_on())
    try:
        await _first_of(reader, sender)
        if carrier.seat.over:  # another transport has taken over; what this one still brings is heard
            await asyncio.wait([reader], timeout=LEAST_PATIENCE)
    finally:
        await _end(reader, sender)
        carrier.seat.leave("the stream has ended")


async def _read_on(carrier: HttpCarrier) -> None:
    """Read stream after stream: the server ends each after some time or megabytes."""
    while not carrier.over:
        await _read(carrier)


async def _read(carrier: HttpCarrier) -> None:
    pilot, link = carrier.pilot, carrier.link
    body = carrier.attach(pilot.next_n())
    limit = MOST_READ_AHEAD * link.options.max_batch
    reader = EventReader(limit) if link.codec is JSON else PackReader(limit)
    lane = carrier.shown = Lane()
    loop = asyncio.get_running_loop()
    begun, asked_at = True, loop.time()
    heard_at = asked_at
    try:
        async for chunk in pilot.courier.stream(f"{pilot.sid}/stream", body, pilot.first_bytes(), carrier.quiet):
            heard_at = loop.time()
            for data in reader.feed(chunk):
                if batch := link.codec.loads(data, link.options):
                    carrier.take(batch, lane)
                    carrier.unsure = None
                    if begun:
                        begun = False
                        pilot.watch.measured(heard_at - asked_at)
                        pilot.carried("stream")
                    await carrier.keep_pace()
    except (Malformed, TooLarge) as fault:
        if not begun:
            raise
        raise NetworkFault(f"these are no words of the server's: {fault.reason}") from None
    except NetworkFault:
        if not begun:
            pilot.watch.fell_silent(loop.time(), loop.time() - heard_at)
        raise
    if begun:
        raise NetworkFault("the stream ended without a word")
