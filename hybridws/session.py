"""The application's end of a conversation: the uniform message API.

A session is fed by transports and emptied by the application; it never knows what a transport is made of. All it does
on behalf of a transport is synchronous: bytes in, bells rung. Nothing here reads a clock: the server calls `tick`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self

from hybridws.core import codes
from hybridws.core.link import WAITING, State
from hybridws.core.packets import Message
from hybridws.errors import BufferFull, SessionClosed, Stalled
from hybridws.seat import Bell, Line, Seat, Stay
from hybridws.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable

    from hybridws.core.codec import Batch
    from hybridws.core.link import Lane, Link
    from hybridws.core.packets import Packet
    from hybridws.exchange import Request

log = logging.getLogger("hybridws")

MAX_HISTORY: Final = 32
"""Changes of transport that a session remembers: enough for a day of a laptop, little for a client that flaps."""

By = Literal["local", "remote", "network"]


class Closed(NamedTuple):
    """How a session ended: `by` the application here (local), the client (remote), or neither of them (network).

    Neither: the connection broke, nobody came back in time, or a limit was passed.
    """

    code: int
    reason: str
    by: By


class Session:
    """A two-way stream of messages with one client, over whatever transports get through.

    Iterate over it to receive; `send` to send. Both directions keep their order across transports.
    """

    __slots__ = (
        "__weakref__",
        "_at_end",
        "_bell",
        "_clock",
        "_done",
        "_inbox",
        "_line",
        "_reader",
        "_room_bells",
        "_upkeep",
        "attaches",
        "closed",
        "handler",
        "id",
        "link",
        "opened_at",
        "request",
        "seat",
        "slow",
        "state",
        "subprotocol",
        "transports",
    )

    def __init__(self, sid: str, link: Link, request: Request, clock: Callable[[], float]) -> None:
        """Begin a session; `clock` tells the wall-clock time, for the record only."""
        self.id: Final = sid
        """A name for logs; it gives no access to the session."""
        self.link: Final = link
        self.request: Final = request
        """The request that opened the session."""
        self.subprotocol: str | None = None
        """The WebSocket subprotocol that was agreed on, if any."""
        self.state: Final[dict[Any, Any]] = {}
        """The application's own."""
        self.opened_at: Final = clock()
        """Seconds since the epoch."""
        self.closed: Closed | None = None
        """How the session ended; None while it goes on."""
        self.transports: Final[list[Stay]] = []
        """The transports so far, the newest last, each with its times and why it ended (the last 32)."""
        self.seat: Seat | None = None
        self.handler: asyncio.Task[None] | None = None
        self.attaches = 0
        """How often a transport has attached."""
        self.slow = False
        """The buffer has been full for `slow_grace` seconds: a broadcast will not wait for this client."""
        self._upkeep = Upkeep()
        self._clock = clock
        self._inbox: deque[tuple[Packet, int]] = deque()
        self._bell = Bell()
        self._reader: asyncio.Task[Any] | None = None
        self._line = Line()
        self._room_bells: list[Bell] = []
        self._at_end: dict[Callable[[Session], None], None] = {}
        self._done: asyncio.Event | None = None

    def __repr__(self) -> str:
        """Tell the session's story so far."""
        how = f"closed {self.closed.code} by {self.closed.by}" if self.closed else f"over {self.transport}"
        return f"<Session {self.id} {how}, {len(self.link.outbox)} unconfirmed>"

    # ── the application's end ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def transport(self) -> str | None:
        """The transport in use, or the last one between two; a plain word such as `websocket` or `xhr-polling`."""
        return self.transports[-1].name if self.transports else None

    @property
    def unacked(self) -> list[object]:
        """The messages whose arrival is not confirmed, oldest first, as the client would have read them."""
        return self.link.unconfirmed()

    def __aiter__(self) -> Self:
        """Receive messages until the session ends. One task at a time may do so; another gets RuntimeError."""
        self._claim()
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401 - a message is str, bytes or any JSON value
        """Wait for the next message. Cancelling is safe: nothing is lost."""
        self._claim()
        while not self._inbox or (self.closed and self.closed.by == "local"):
            if self.closed:
                self._reader = None
                raise StopAsyncIteration
            await self._bell.wait()
        packet, size = self._inbox.popleft()
        self.link.taken(size)
        self._make_room()
        return packet.value  # type: ignore[union-attr]  # the inbox holds messages only

    def _claim(self) -> None:
        task = asyncio.current_task()
        if self._reader is not None and self._reader is not task and not self._reader.done():
            raise RuntimeError(f"{self!r} is read by another task already; one `async for` gets all messages in order")
        self._reader = task

    async def send(self, message: object) -> None:
        """Send text, bytes or a JSON value, after waiting for room if the buffer is full.

        Calls from several tasks keep their order. Cancelling is safe: the message is sent whole or not at all.
        Raises SessionClosed, Stalled, Unsendable or MessageTooLarge; then nothing was sent.
        """
        if self.closed:
            raise self._closed_error()
        words = self.link.codec.dumps(Message(message), self.link.options)
        if self.link.full or self._line:
            await self._line.wait(self._has_room)
        self.post(words)

    def send_nowait(self, message: object) -> None:
        """Send without waiting. Raises BufferFull besides what `send` raises; then nothing was sent."""
        if self.closed:
            raise self._closed_error()
        words = self.link.codec.dumps(Message(message), self.link.options)
        if self.link.full or self._line:
            raise BufferFull(
                f"{self.link.outbox.size} bytes wait for the client, and the buffer is {self.link.options.buffer}"
            )
        self.post(words)

    async def close(self, code: int = codes.NORMAL, reason: str = "") -> None:
        """End the session after all that was sent so far; on an ended session this does nothing.

        It is over for the application at once; `wait_closed` waits until the client has been told. Raises ValueError
        for a code other than 1000, 1001, 1011, 1012 and 3000-4999, or a reason of more than 123 bytes.
        """
        codes.check_close(code, reason)
        self.end(Closed(code, reason, "local"))

    async def wait_closed(self) -> None:
        """Wait until the session has ended and its client was told, or cannot be told."""
        if self.link.state is State.CLOSED:
            return
        if self._done is None:
            self._done = asyncio.Event()
        await self._done.wait()

    def at_end(self, callback: Callable[[Session], None]) -> None:
        """Call `callback(session)` once when the session ends; at once if it has."""
        if self.closed:
            callback(self)
        else:
            self._at_end[callback] = None

    def not_at_end(self, callback: Callable[[Session], None]) -> None:
        """Take back what was asked with `at_end`."""
        self._at_end.pop(callback, None)

    # ── waiting for room, either way ──────────────────────────────────────────────────────────────────────────────

    def _has_room(self) -> bool:
        return not self.link.full

    def stall(self) -> None:
        """Send everybody away who waits to send: the client has taken nothing for too long."""
        self._line.dismiss(Stalled(f"the client took nothing for {self.link.options.send_timeout:g} s (send_timeout)"))

    @property
    def senders(self) -> int:
        """How many calls of `send` wait for room."""
        return len(self._line)

    def _closed_error(self) -> SessionClosed:
        code, reason, _ = self.closed or Closed(codes.NORMAL, "", "local")
        return SessionClosed(code, reason, self.unacked)

    def post(self, words: bytes) -> None:
        """Put encoded words into the outbox, whether there is room or not. Raises SessionClosed."""
        if self.closed:
            raise self._closed_error()
        self.link.outbox.append(words)
        if self.seat:
            self.seat.wake()

    @property
    def crowded(self) -> bool:
        """Whether the application is behind, so that transports should stop reading."""
        return self.link.inbox_size >= self.link.options.buffer and self.closed is None

    @property
    def waiting(self) -> int:
        """How many transports wait for the application to take something."""
        return len(self._room_bells)

    async def wait_for_inbox(self) -> None:
        """Wait until the application has taken so much that transports may read on, or the session has ended."""
        bell = Bell()
        self._room_bells.append(bell)
        try:
            while self.crowded:
                await bell.wait()
        finally:
            self._room_bells.remove(bell)

    def _make_room(self) -> None:
        if self._room_bells and not self.crowded:
            for bell in self._room_bells:
                bell.ring()

    # ── the transports' end ───────────────────────────────────────────────────────────────────────────────────────

    def attach(self, name: str, wake: Callable[[], None]) -> Seat:
        """Give a transport its place; `wake` is called whenever it should look at its seat."""
        seat = Seat(self, name, self.link.lane(), wake)
        self._vacate("superseded")
        self.seat = seat
        self.attaches += 1
        if self.transports and self.transports[-1].name == name:
            self.transports[-1].until, self.transports[-1].reason = None, ""
        else:
            self.transports.append(Stay(name, self._clock()))
            del self.transports[:-MAX_HISTORY]
        return seat

    def feed(self, lane: Lane, batch: Batch) -> None:
        """Take what a transport brought. Raises Malformed; then nothing more of the batch is taken."""
        for packet, size in self.link.receive(lane, batch):
            if isinstance(packet, WAITING) and self.closed is None:
                self._inbox.append((packet, size))
        self._bell.ring()

    def delivered(self, seat: Seat) -> None:
        """Note that the network took what a transport wrote: where nobody acks, that is all one will ever know."""
        self.link.presume(seat.lane)
        self._line.call(self._has_room)
        if self.closed and seat.finished and not self.link.codec.numbered:
            self._finish()

    def detach(self, seat: Seat, reason: str) -> None:
        """Note that a transport ended in order."""
        if self.seat is seat:
            self._vacate(reason)

    def cut(self, seat: Seat, reason: str) -> None:
        """Note that a transport broke; without acks nobody knows what arrived, so then the session ends with it."""
        if self.seat is seat:
            self._vacate(reason)
            if not self.link.codec.numbered:
                self.lose(codes.INTERRUPTED, "Connection interrupted")

    def left(self, code: int, reason: str) -> None:
        """End the session because its client closed it."""
        self.end(Closed(code, reason, "remote"), tell=False)

    def lose(self, code: int, reason: str) -> None:
        """End the session because its client cannot be reached."""
        self.end(Closed(code, reason, "network"), tell=False)

    def _vacate(self, reason: str) -> None:
        seat, self.seat = self.seat, None
        if seat:
            self.transports[-1].until, self.transports[-1].reason = self._clock(), reason
            seat.release()

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────

    def end(self, closed: Closed, *, tell: bool = True) -> None:
        """End the session for the application; the client is told, after all that was sent, unless not to `tell`."""
        if self.closed is None:
            self.closed = closed
            if tell:
                self.link.close(closed.code, closed.reason)
            self._line.dismiss(self._closed_error())
            callbacks, self._at_end = self._at_end, {}
            for callback in callbacks:
                callback(self)
            self._bell.ring()
            for bell in self._room_bells:
                bell.ring()
            if self.seat:
                self.seat.wake()
        if not tell:
            self.give_up(closed.reason or f"closed with {closed.code}")

    def abort(self, code: int, reason: str) -> None:
        """End the session now, for what its client did: what was not confirmed is dropped, and it is told at once."""
        if self.closed is None:
            self.link.abandon()
            self.end(Closed(code, reason, "network"))

    def give_up(self, reason: str) -> None:
        """Stop waiting for the client to learn of the end."""
        self._finish()
        self._vacate(reason)

    def _finish(self) -> None:
        """Note that the client knows of the end, or never will."""
        self.link.end()
        if self._done:
            self._done.set()

    def tick(self, now: float) -> None:
        """Do what is due at `now` (monotonic seconds); the server calls this for every session, now and then."""
        self._upkeep.tick(self, now)

    def forgettable(self, now: float) -> bool:
        """Tell whether nothing is left to do here and late comers have had their time."""
        return self._upkeep.forgettable(self, now)
