"""The application's end of a conversation: the uniform message API.

A session is fed by transports and emptied by the application; it never knows what a transport is made of. All it does
on behalf of a transport is synchronous: bytes in, bells rung. Nothing here reads a clock: the server calls `tick`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self, final

from hybridws.agenda import Agenda
from hybridws.calls import Calls
from hybridws.compiling import mypyc_attr
from hybridws.core import codes
from hybridws.core.link import State
from hybridws.core.packets import (
    Auth,
    Close,
    Error,
    Gone,
    Heartbeat,
    Message,
    Packet,
    Reply,
    Request,
    Skipped,
)
from hybridws.dock import Dock
from hybridws.errors import BufferFull, SessionClosed, Stalled
from hybridws.events import Events, RoundTrip
from hybridws.seat import Bell, Line
from hybridws.upkeep import Upkeep, first_allowance

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from hybridws import exchange
    from hybridws.core.codec import Batch
    from hybridws.core.link import Lane, Link
    from hybridws.dock import Stay
    from hybridws.seat import Seat

log = logging.getLogger("hybridws")

RETURNING: Final = ("xhr-polling", "xhr-streaming", "eventsource", "htmlfile", "jsonp-polling")
"""Transports whose client comes back with another request, and can then still be told of a close."""

By = Literal["local", "remote", "network"]


class Closed(NamedTuple):
    """How a session ended: `by` the application here (local), the client (remote), or neither of them (network).

    Neither: the connection broke, nobody came back in time, or a limit was passed.
    """

    code: int
    reason: str
    by: By


class Traffic(NamedTuple):
    """What has gone through a session: packets are messages, requests, replies, and the words of opening and closing.

    Bytes are those of the packets as they were encoded, without framing, headers or repeats.
    """

    packets_in: int
    packets_out: int
    bytes_in: int
    bytes_out: int
    dropped: int
    """Packets out that a slow-consumer policy dropped; they are not in `packets_out`."""


@final
@mypyc_attr(allow_interpreted_subclasses=True)  # of which there is one: see referable.py
class Session:
    """A two-way stream of messages with one client, over whatever transports get through.

    Iterate over it to receive; `send` to send. Both directions keep their order across transports.
    """

    __slots__ = (
        "_at_end",
        "_calls",
        "_done",
        "_inbox",
        "_line",
        "_reader",
        "_state",
        "_upkeep",
        "_waiter",
        "admitted",
        "agenda",
        "allowance",
        "attend",
        "away",
        "bells",
        "closed",
        "dock",
        "events",
        "expires_at",
        "handler",
        "http_request",
        "id",
        "key",
        "link",
        "on_auth",
        "on_end",
        "on_message",
        "opened_at",
        "round_trip",
        "skipped",
        "slow",
        "subprotocol",
        "user",
    )

    def __init__(  # noqa: PLR0913, PLR0915, PLR0917 - who it is, and what it shares with others
        self,
        sid: str,
        link: Link,
        request: exchange.Request,
        clock: Callable[[], float],
        attend: Callable[[Session], None] | None = None,
        agenda: Agenda | None = None,
        events: Events | None = None,
    ) -> None:
        """Begin a session; `clock` tells the wall-clock time, for the record only; `attend` asks for an ack soon.

        Sessions that share an agenda share their calls and timers; `events` is told what happens to them.
        """
        self.id: Final = sid
        """A name for logs; it gives no access to the session."""
        self.key = ""
        """The secret with which transports attach, in the native protocol; never log it."""
        self.link: Final = link
        self.http_request: Final = request
        """The request that opened the session."""
        self.admitted: tuple[bytes | None, ...] = (None, None, None)
        """Digests of the credentials that the client has shown: Cookie, Authorization, auth."""
        self.user: Any = None
        """Whoever `authenticate` said this is."""
        self.subprotocol: str | None = None
        """The WebSocket subprotocol that was agreed on, if any."""
        self._state: dict[Any, Any] | None = None  # made when the application asks for it
        self.opened_at: Final = clock()
        """Seconds since the epoch."""
        self.closed: Closed | None = None
        """How the session ended; None while it goes on."""
        self.round_trip: float | None = None
        """Seconds from our last heartbeat, or a WebSocket's trial, to the client's answer; None before the first."""
        self.skipped = 0
        """Messages to us that a slow-consumer policy of the other side dropped."""
        self.events: Final = events or Events()
        self.dock: Final = Dock(clock, self.events)
        self.handler: asyncio.Task[Any] | None = None
        self.attend = attend
        self.agenda: Final = agenda or Agenda()
        self.on_auth: Callable[[Session, Any], None] | None = None
        self.on_end: Callable[[Session], None] | None = None
        """The server's; the application's are those of `at_end`."""
        self.on_message: Callable[[Session, Any], object] | None = None
        """The application's plain function, if it has no coroutine for a session."""
        self.expires_at: float | None = None
        """When the client's credentials expire, in monotonic seconds."""
        self.away = False
        """No transport has been attached for longer than the pause between two polls."""
        self.slow = False
        """The buffer has been full for `slow_grace` seconds: a broadcast will not wait for this client."""
        self.allowance = first_allowance(link.options)
        """How many messages the application may be given until the next tick (`messages_per_second`)."""
        self._upkeep = Upkeep()
        self._inbox: list[tuple[Any, int]] = []  # a list: it is short or empty, and weighs little then
        self._reader: asyncio.Task[Any] | None = None  # the task that iterates
        self._waiter: asyncio.Future[None] | None = None  # somebody waits for a message right now
        self._line: Line | None = None  # those who wait to send; in most sessions nobody ever does
        self.bells: Final[list[Callable[[], None]]] = []
        """Called at all news that somebody may wait for: room, words of ours without a seat, an attach, the end."""
        self._at_end: tuple[Callable[[Session], None], ...] = ()
        self._done: asyncio.Event | None = None
        self._calls: Calls | None = None

    def __repr__(self) -> str:
        """Tell the session's story so far."""
        how = f"closed {self.closed.code} by {self.closed.by}" if self.closed else f"over {self.transport}"
        return f"<Session {self.id} {how}, {len(self.link.outbox)} unconfirmed>"

    # ── what the application asks ─────────────────────────────────────────────────────────────────────────────────

    @property
    def state(self) -> dict[Any, Any]:
        """The application's own."""
        if self._state is None:
            self._state = {}
        return self._state

    @property
    def transport(self) -> str | None:
        """The transport in use, or the last one between two; a plain word such as `websocket` or `xhr-polling`."""
        return self.dock.stays[-1].name if self.dock.stays else None

    @property
    def transports(self) -> list[Stay]:
        """The transports so far, the newest last, each with its times and why it ended (the last 32)."""
        return self.dock.stays

    @property
    def seat(self) -> Seat | None:
        """The transport that is attached."""
        return self.dock.seat

    @property
    def online(self) -> bool:
        """Whether the client is there: attached, or between two polls for less than 5 s."""
        return self.closed is None and not self.away

    @property
    def unacked(self) -> list[object]:
        """The messages whose arrival is not confirmed, oldest first, as the client would have read them."""
        return self.link.unconfirmed()

    @property
    def traffic(self) -> Traffic:
        """What has gone through the session so far."""
        outbox, dropped = self.link.outbox, self.link.outbox.dropped
        return Traffic(self.link.received, outbox.last - dropped, self.link.came, outbox.said, dropped)

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose records carry `session`, `user` and `transport`."""
        return logging.LoggerAdapter(log, {"session": self.id, "user": self.user, "transport": self.transport})

    # ── receiving ─────────────────────────────────────────────────────────────────────────────────────────────────

    def __aiter__(self) -> Self:
        """Receive messages until the session ends. One task at a time may do so; another gets RuntimeError."""
        task = asyncio.current_task()
        if self._reader is not None and self._reader is not task and not self._reader.done():
            raise self._read_already()
        self._reader = task
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401 - a message is str, bytes or any JSON value
        """Wait for the next message. Cancelling is safe: nothing is lost."""
        if self._waiter is not None:
            raise self._read_already()
        while not self._inbox or self.closed or self.allowance < 1:
            if self.closed:
                if self._inbox and self.closed.by != "local":
                    break
                self._reader = None
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        value, size = self._inbox.pop(0)
        self.allowance -= 1
        self.link.taken(size)
        self._ack_if_due()
        if self.bells and not self.crowded:
            self._ring_all()
        return value

    def _wake_reader(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _read_already(self) -> RuntimeError:
        return RuntimeError(f"{self!r} is read by another task already; one `async for` gets all messages in order")

    # ── sending ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def send(self, message: object) -> None:
        """Send text, bytes or a JSON value, after waiting for room if the buffer is full.

        Calls from several tasks keep their order. Cancelling is safe: the message is sent whole or not at all.
        Raises SessionClosed, Stalled, Unsendable or MessageTooLarge; then nothing was sent.
        """
        if self.closed:
            raise self._closed_error()
        words = self.link.codec.dumps(Message(message), self.link.options)
        if self.link.full or self.senders:
            if self._line is None:
                self._line = Line()
            await self._line.wait(self._has_room)
        self.post(words)
        if self._line is not None:
            self._line.call(self._has_room)

    def send_nowait(self, message: object) -> None:
        """Send without waiting. Raises BufferFull besides what `send` raises; then nothing was sent."""
        if self.closed:
            raise self._closed_error()
        words = self.link.codec.dumps(Message(message), self.link.options)
        if self.link.full or self.senders:
            raise BufferFull(
                f"{self.link.outbox.size} bytes wait for the client, and the buffer is {self.link.options.buffer}"
            )
        self.post(words)

    async def request(self, value: object, timeout: float | None = None) -> Any:  # noqa: ANN401, ASYNC109 - a value; the API
        """Send a request and wait for its one answer, at most `timeout` seconds (None: while the session lives).

        Raises RequestFailed when the answer is an error, TimeoutError, and what `send` raises. A client that speaks
        SockJS or a raw WebSocket has no word for requests: Unsendable.
        """
        return await self._requests().ask(value, timeout)

    def on_request(self, answerer: Callable[[Any], Awaitable[object]]) -> Callable[[Any], Awaitable[object]]:
        """Let `answerer(value)` answer the client's requests; use it as a decorator.

        What it returns is the answer; RequestFailed is answered as it says, any other exception with 1011. Each request
        runs in a task of its own, so answers may overtake each other.
        """
        self._requests().answerer = answerer
        return answerer

    def _requests(self) -> Calls:
        if self._calls is None:
            self._calls = Calls(self.say)
        return self._calls

    def say(self, packet: Packet) -> None:
        """Send a packet of ours, whether there is room or not. Raises SessionClosed, Unsendable, MessageTooLarge."""
        self.post(self.link.codec.dumps(packet, self.link.options))

    def post(self, words: bytes, *, loose: bool = False, key: Hashable | None = None) -> None:
        """Put encoded words into the outbox, whether there is room or not. Raises SessionClosed."""
        if self.closed:
            raise self._closed_error()
        self.link.outbox.append(words, loose=loose, key=key)
        if self.dock.seat:
            self.dock.seat.wake()
        elif self.bells:
            self._ring_all()

    def relieve(self, cost: int = 0, key: Hashable | None = None) -> None:
        """Drop broadcasts that may be dropped, until `cost` more bytes find room; senders that wait may get some."""
        if self.link.relieve(cost, key) and self._line is not None:
            self._line.call(self._has_room)

    def _has_room(self) -> bool:
        return not self.link.full

    @property
    def senders(self) -> int:
        """How many calls of `send` wait for room."""
        return 0 if self._line is None else len(self._line)

    def stall(self) -> None:
        """Send everybody away who waits to send: the client has taken nothing for too long."""
        if self._line is not None:
            patience = self.link.options.send_timeout
            self._line.dismiss(Stalled(f"the client took nothing for {patience:g} s (send_timeout)"))

    def _closed_error(self) -> SessionClosed:
        code, reason, _ = self.closed or Closed(codes.NORMAL, "", "local")
        return SessionClosed(code, reason, self.unacked)

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def close(self, code: int = codes.NORMAL, reason: str = "") -> None:
        """End the session after all that was sent so far; on an ended session this does nothing.

        It is over for the application at once; `wait_closed` waits until the client has been told. Raises ValueError
        for a code other than 1000, 1001, 1011, 1012 and 3000-4999, or a reason of more than 123 bytes.
        """
        codes.check_close(code, reason)
        self.close_now(code, reason)

    def close_now(self, code: int, reason: str) -> None:
        """Do what `close` does, without its checks."""
        if self._end(Closed(code, reason, "local")):
            self.link.close(code, reason)
            if self.dock.seat:
                self.dock.seat.wake()

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
        elif callback not in self._at_end:
            self._at_end += (callback,)

    def not_at_end(self, callback: Callable[[Session], None]) -> None:
        """Take back what was asked with `at_end`."""
        self._at_end = tuple(other for other in self._at_end if other != callback)

    def lose(self, code: int, reason: str) -> None:
        """End the session because its client cannot be reached, or has gone."""
        if self._end(Closed(code, reason, "network")):
            self.give_up(reason)

    def abort(self, code: int, reason: str) -> None:
        """End the session now, for what its client did: what was not confirmed is dropped, and it is told at once."""
        if not self._end(Closed(code, reason, "network")):
            return
        self.link.abandon()
        if self.link.codec.numbered:
            self._finish()
            self.dock.clear(reason, code)
        else:
            self.link.close(code, reason)
            if self.dock.seat:
                self.dock.seat.wake()

    def give_up(self, reason: str) -> None:
        """Stop waiting for the client to learn of the end."""
        self._finish()
        self.dock.clear(reason)

    def _end(self, closed: Closed) -> bool:
        """End the session for the application; tell whether it had not ended before."""
        if closed.by != "local" and self.on_message is not None:
            self._hand_on(all_of_it=True)  # what came before the end
        if self.closed is not None:
            return False
        self.closed = closed
        if self._line is not None:
            self._line.dismiss(self._closed_error())
        if self._calls:
            self._calls.end(self._closed_error())
        callbacks, self._at_end = self._at_end, ()
        for callback in (self.on_end, *callbacks) if self.on_end else callbacks:
            try:
                callback(self)
            except Exception:
                log.exception("a callback at the end of %r failed", self)
        self._wake_reader()
        self._ring_all()
        return True

    def _finish(self) -> None:
        """Note that the client knows of the end, or never will."""
        self.link.end()
        if self._done:
            self._done.set()

    # ── what transports do ────────────────────────────────────────────────────────────────────────────────────────

    def attach(self, name: str, wake: Callable[[], None], *, trial: bool = False) -> Seat:
        """Give a transport its place; `wake` is called whenever it should look at its seat (see `Dock.attach`)."""
        seat = self.dock.attach(self, name, wake, trial=trial)
        if self.away and not trial:
            self.away = False
        self._ring_all()
        return seat

    def feed(self, lane: Lane, batch: Batch) -> None:
        """Take what a transport brought. Raises Malformed; then nothing more of the batch is taken."""
        try:
            for packet, size in self.link.receive(lane, batch):
                self._hear(packet, size)
        finally:
            self._after_feed()  # what stood before a fault counts

    def _hear(self, packet: Packet, size: int) -> None:
        if isinstance(packet, Message):
            self._take_in(packet.value, size)
            return
        match packet:
            case Heartbeat():
                self.owe_ack()
            case Request() | Reply() | Error():
                self._requests().take(packet)
            case Skipped(many):
                self.skipped += many
            case Auth(value):
                if self.on_auth:
                    self.on_auth(self, value)
            case Close(code, reason):
                self._end(Closed(code, reason, "remote"))
                self._finish()
                self.owe_ack()
            case _:
                if isinstance(packet, Gone):
                    self.lose(codes.GOING_AWAY, "the page has gone")

    def _take_in(self, value: object, size: int) -> None:
        """Keep a message until the application takes it."""
        if self.closed is not None:
            self.link.taken(size)
            return
        self._inbox.append((value, size))
        if self.on_message is None:
            self._wake_reader()
        else:
            self._hand_on()

    def _hand_on(self, *, all_of_it: bool = False) -> None:
        """Give messages to a plain function as they come; those that it could not answer for lack of room wait."""
        give = self.on_message
        while give and self._inbox and not self.closed and (all_of_it or not (self.link.full or self.allowance < 1)):
            value, size = self._inbox.pop(0)
            self.allowance -= 1
            try:
                give(self, value)
            except Exception as error:
                if not (isinstance(error, SessionClosed) and self.closed):
                    log.exception("the handler of %r failed; its session closes with 1011", self)
                    self.close_now(codes.HANDLER_FAILED, "the handler failed")
            self.link.taken(size)

    def allow(self, many: float) -> None:
        """Let the application be given so many messages until it is told again."""
        self.allowance = many
        if self._inbox:
            self._wake_reader()
            self._call_waiters()
            if self.bells and not self.crowded:
                self._ring_all()

    def _call_waiters(self) -> None:
        """Let those go on who waited for room, if there is some."""
        if self._line is not None:
            self._line.call(self._has_room)
        if self._inbox and self.on_message is not None:
            self._hand_on()

    def _after_feed(self) -> None:
        """See what the news of a batch changes: room for senders, the end, an ack that is due."""
        self._call_waiters()
        if self.closed and self.link.state is State.CLOSED:
            self._finish()
            if self.dock.seat:
                self.dock.seat.wake()
        self._ack_if_due()

    def _ack_if_due(self) -> None:
        """Ack at once if much has come, else soon: most acks ride on what the application answers."""
        seat = self.dock.seat
        if seat is None or not self.link.codec.numbered or seat.lane.acked == self.link.ackable:
            return
        if self.link.ack_due(seat.lane):
            self.owe_ack()
        elif self.attend:
            self.attend(self)

    def owe_ack(self) -> None:
        """Have the attached transport ack now what has come."""
        for seat in (self.dock.seat, self.dock.trial):
            if seat:
                seat.lane.owes = True
                seat.wake()

    def ack_now(self) -> None:
        """Ack what has come and is not acked yet, on a WebSocket (`ack_delay` has passed; a stream waits longer)."""
        seat = self.dock.seat
        if seat and seat.name == "websocket" and seat.lane.acked != self.link.ackable:
            self.owe_ack()

    def delivered(self, seat: Seat) -> None:
        """Note that the network took what a transport wrote: where nobody acks, that is all one will ever know."""
        if self.link.codec.numbered:
            return
        self.link.presume(seat.lane)
        self._call_waiters()
        if self.closed and seat.finished:
            self._finish()

    def leave(self, seat: Seat, reason: str) -> None:
        """Note that a transport ended in order."""
        self.dock.leave(seat, reason, broken=False)

    def returned(self, seconds: float) -> None:
        """Note that a question to the client came back after so long."""
        self.round_trip = seconds
        if self.events.observers:
            self.events.tell(RoundTrip(self, seconds))

    def cut(self, seat: Seat, reason: str) -> None:
        """Note that a transport broke; without acks nobody knows what arrived, so then the session ends with it."""
        if self.dock.leave(seat, reason) and not self.link.codec.numbered:
            self.lose(codes.INTERRUPTED, "Connection interrupted")
            if seat.name not in RETURNING:
                self.give_up(reason)

    def hang_up(self, seat: Seat, code: int, reason: str) -> None:
        """Note that the client closed a connection; in the native protocol that ends a transport, never a session."""
        if self.dock.leave(seat, f"the client closed it with {code}") and not self.link.codec.numbered:
            self._end(Closed(code, reason, "remote"))
            self.give_up(reason)

    # ── waiting for the application ───────────────────────────────────────────────────────────────────────────────

    @property
    def crowded(self) -> bool:
        """Whether the application is behind, so that transports should stop reading."""
        return self.link.inbox_size >= self.link.options.buffer and self.closed is None

    @property
    def waiting(self) -> int:
        """How many transports wait for the application to take something."""
        return len(self.bells)

    async def wait_for_inbox(self) -> None:
        """Wait until the application has taken so much that transports may read on, or the session has ended."""
        bell = Bell()
        self.bells.append(bell.ring)
        try:
            while self.crowded:
                await bell.wait()
        finally:
            self.bells.remove(bell.ring)

    def _ring_all(self) -> None:
        for ring in tuple(self.bells):
            ring()

    @property
    def resumed(self) -> Awaitable[None]:
        """Await it to wait until a transport is attached (at once, if one is). Raises SessionClosed."""
        return self._wait_resumed()

    async def _wait_resumed(self) -> None:
        bell = Bell()
        self.bells.append(bell.ring)
        try:
            while self.dock.seat is None:
                if self.closed:
                    raise self._closed_error()
                await bell.wait()
        finally:
            self.bells.remove(bell.ring)

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: float) -> None:
        """Do what is due at `now` (monotonic seconds); the server calls this for every session, now and then."""
        self._upkeep.tick(self, now)

    def forgettable(self, now: float) -> bool:
        """Tell whether nothing is left to do here and late comers have had their time."""
        return self._upkeep.forgettable(self, now)
