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
from hybridws.seat import Bell, Seat, Stay

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
        "_full_since",
        "_inbox",
        "_reader",
        "_room_bells",
        "_senders",
        "_stuck",
        "closed",
        "detached_at",
        "ended_at",
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
        self.detached_at: float | None = None
        self.ended_at: float | None = None
        self.slow = False
        """The buffer has been full for `slow_grace` seconds: a broadcast will not wait for this client."""
        self._full_since: float | None = None
        self._stuck: tuple[int, float] | None = None  # confirmed so far, and since when no more than that
        self._clock = clock
        self._inbox: deque[tuple[Packet, int]] = deque()
        self._bell = Bell()
        self._reader: asyncio.Task[Any] | None = None
        self._senders: deque[asyncio.Future[None]] = deque()
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
        if self.link.full or self._senders:
            await self._wait_for_room()
        self.post(words)

    def send_nowait(self, message: object) -> None:
        """Send without waiting. Raises BufferFull besides what `send` raises; then nothing was sent."""
        if self.closed:
            raise self._closed_error()
        words = self.link.codec.dumps(Message(message), self.link.options)
        if self.link.full or self._senders:
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

    async def _wait_for_room(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._senders.append(turn)
        try:
            await turn
        finally:
            self._senders.remove(turn)
            self._call_sender()

    def _call_sender(self) -> None:
        """Let the first of the waiting senders go on; it posts before another is called, so order holds."""
        if self._senders and not self._senders[0].done() and not self.link.full:
            self._senders[0].set_result(None)

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
        self.detached_at = None
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
        if self._senders:
            self._call_sender()
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
            for turn in self._senders:
                if not turn.done():
                    turn.set_exception(self._closed_error())
            callbacks, self._at_end = self._at_end, {}
            for callback in callbacks:
                callback(self)
            self._bell.ring()
            for bell in self._room_bells:
                bell.ring()
            if self.seat:
                self.seat.wake()
        if not tell:
            self._finish()
            self._vacate(closed.reason or f"closed with {closed.code}")

    def abort(self, code: int, reason: str) -> None:
        """End the session now, for what its client did: what was not confirmed is dropped, and it is told at once."""
        if self.closed is None:
            self.link.abandon()
            self.end(Closed(code, reason, "network"))

    def _finish(self) -> None:
        """Note that the client knows of the end, or never will."""
        self.link.end()
        if self._done:
            self._done.set()

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: float) -> None:
        """Do what is due at `now` (monotonic seconds): heartbeats, dead connections, waits that were too long."""
        options = self.link.options
        if self.seat:
            self._tick_seat(self.seat, now)
        elif self.detached_at is None:
            self.detached_at = now
        elif self.closed is None and now - self.detached_at >= options.disconnect_delay:
            self.lose(codes.ABNORMAL, f"no receiver for {options.disconnect_delay:g} s")
        self._tick_buffer(now)
        if self.closed:
            if self.ended_at is None:
                self.ended_at = now
            if now - self.ended_at >= options.handler_grace and self.handler and not self.handler.done():
                self.handler.cancel(f"handler_grace of {options.handler_grace:g} s after the session's end is over")
            if now - self.ended_at >= options.close_timeout and self.link.state is not State.CLOSED:
                self._finish()
                self._vacate(f"the client did not answer the close for {options.close_timeout:g} s")

    def _tick_seat(self, seat: Seat, now: float) -> None:
        options = self.link.options
        if seat.probe and seat.probe():
            seat.cut("the client has gone")
            return
        if seat.heard:
            seat.heard = seat.asked = False
            seat.asked_at = None
        elif seat.asked and seat.asked_at is None:
            seat.asked_at = now
        elif seat.asked_at is not None and not self.crowded and now - seat.asked_at >= options.pong_timeout:
            seat.cut(f"no sign of life for {options.pong_timeout:g} s after a heartbeat")
            return
        if seat.sent:
            seat.sent = False
            seat.quiet_since = now
        elif seat.writing:
            # A slow link takes one piece after another and is left alone; this one has taken nothing.
            if now - seat.quiet_since >= options.heartbeat_delay + options.pong_timeout:
                seat.cut("the network takes nothing any more")
        elif now - seat.quiet_since >= options.heartbeat_delay:
            seat.quiet_since = now
            seat.beat = True
            seat.wake()

    def _tick_buffer(self, now: float) -> None:
        """Note who takes too little, and end the wait of senders that have waited too long."""
        options = self.link.options
        if not self.link.full:
            self._full_since = self._stuck = None
            self.slow = False
            return
        if self._full_since is None:
            self._full_since = now
        self.slow = now - self._full_since >= options.slow_grace
        confirmed = self.link.outbox.confirmed
        if not self._senders:
            self._stuck = None
        elif self._stuck is None or self._stuck[0] != confirmed:
            self._stuck = (confirmed, now)
        elif now - self._stuck[1] >= options.send_timeout:
            stalled = Stalled(f"the client took nothing for {options.send_timeout:g} s (send_timeout)")
            for turn in self._senders:
                if not turn.done():
                    turn.set_exception(stalled)

    def forgettable(self, now: float) -> bool:
        """Tell whether nothing is left to do: nobody is here, the handler has returned, late comers had their time."""
        return (
            self.link.state is State.CLOSED
            and self.seat is None
            and (self.handler is None or self.handler.done())
            and self.ended_at is not None
            and now - self.ended_at >= self.link.options.disconnect_delay
        )
