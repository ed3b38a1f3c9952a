"""One mount's sessions: it opens them, runs their handlers, looks after them once a tick, and ends them."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast

from hybridws import hub
from hybridws.agenda import Agenda
from hybridws.broadcast import publish
from hybridws.core import codes
from hybridws.core.link import Link, State
from hybridws.core.packets import Auth
from hybridws.errors import Draining, Forbidden, NotAuthenticated, Refused, SessionClosed, TooMany
from hybridws.events import Ended, Events, Opened, TurnedAway
from hybridws.gate import Gate, credentials_of, new_id, new_key, said_behind
from hybridws.limits import ProxyWatch, Turnstile
from hybridws.past import Past, remember
from hybridws.referable import Referable
from hybridws.refusals import Refusals
from hybridws.session import Session

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from hybridws.broadcast import Slow
    from hybridws.core.codec import Codec
    from hybridws.exchange import Request
    from hybridws.options import Admission, Options
    from hybridws.session import Closed
    from hybridws.transports.websocket import Carrier

log = logging.getLogger("hybridws")

Coroutines = Callable[[Session], Coroutine[Any, Any, object]]
Functions = Callable[[Session, Any], object]
Handler = Coroutines | Functions
"""What an application brings: a coroutine function that is run for each session, or a plain one called with each
message."""

MAX_TICK: Final = 1.0
"""Seconds between two looks at all sessions: what is due is done at most so much late."""
SLICE: Final = 100
"""Sessions that are looked at in one turn of the loop, in about half a millisecond; then others have theirs."""
LAST_GRACE: Final = 1.0
"""Seconds that a cancelled handler may take when the server stops; at most a quarter of all the time for that."""
LOOK: Final = 0.02
"""Seconds between two looks, when the server stops, whether all clients know."""
TICKED: Final = (
    "attach_timeout",
    "close_timeout",
    "disconnect_delay",
    "handler_grace",
    "heartbeat",
    "heartbeat_delay",
    "pong_timeout",
    "resume",
    "trial_timeout",
)
"""The delays that the tick looks after."""
RETRY: Final = 2
"""Seconds after which a client that was turned away should try again ..."""
RETRY_SPREAD: Final = 8
"""... and so many more at most, one after the other: the next process shall not meet all of them at once."""
TICKS_PER_DELAY: Final = 5
"""A delay that is set to less than a few seconds is looked at this often within it."""


class Stop(NamedTuple):
    """The end of a server: its times, in monotonic seconds."""

    begun: float
    until: float
    """When all must be over."""
    grace: float
    """Seconds at its end that are kept for handlers that are cancelled."""


def _read_handler(handler: Any) -> tuple[Coroutines | None, Functions | None]:  # noqa: ANN401 - whatever was given
    """Tell whether this is run for a session or called for a message. Raises ValueError for what is neither."""
    if not callable(cast("object", handler)):
        raise ValueError(f"a handler is a function, `async def handler(session)`, not {handler!r}")  # noqa: TRY004 - as for all
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise ValueError(f"{handler!r} has a `yield`, so calling it would run nothing: a handler sends what it says")
    try:
        signature = inspect.signature(handler)
    except ValueError:  # a built-in that does not tell its arguments
        return handler, None
    if not _may_take(signature, 2):
        if not _may_take(signature, 1):
            raise ValueError(f"{handler!r} can be called neither with a session nor with a session and a message")
        return handler, None
    if inspect.iscoroutinefunction(handler):
        raise ValueError(
            f"{handler!r} takes a session and a message, and is a coroutine function: make it a plain one, which is "
            "called for each message, or let it take the session alone and iterate over it"
        )
    return None, handler


def _may_take(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


class Newcomer(Protocol):
    """A connection that is nobody's yet."""

    def turn_away(self) -> None:
        """End it: the server is about to stop."""


class Sessions(Collection[Session]):
    """A live view of sessions that may change while one goes through it: each walk takes those of its beginning."""

    __slots__ = ("_sessions",)

    def __init__(self, sessions: dict[str, Session]) -> None:
        """Look at these sessions."""
        self._sessions = sessions

    def __len__(self) -> int:
        """Count them."""
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        """Go through them in the order in which they opened."""
        return iter(list(self._sessions.values()))

    def __contains__(self, session: object) -> bool:
        """Tell whether a session is among them."""
        return isinstance(session, Session) and self._sessions.get(session.id) is session


class Server:
    """The sessions of one mount and the handler that each of them runs."""

    def __init__(self, handler: Handler, options: Options, name: str = "") -> None:
        """Make a server that nobody has connected to; `handler(session)` is started for each session.

        Or `handler(session, message)`, a plain function, is called for each message. Raises ValueError for neither.
        """
        self._runs, self._takes = _read_handler(handler)
        self.name: Final = name
        """Where it is mounted, such as `/chat`: its name in metrics and logs."""
        self.options: Final = options
        self.events: Final = Events()
        """Append a function to `events.observers`, and it is told what happens here (`hybridws.events`)."""
        self.past: Final[deque[Past]] = deque(maxlen=options.keep_ended)
        """The sessions that ended last, the newest last, each with its transports and why it ended."""
        self.gate: Final = Gate(options)
        self.draining = False
        """About to stop: nobody new comes in."""
        self._hub: Final = hub.Hub()
        self._sessions: Final[dict[str, Session]] = {}
        self._named: Final[dict[str, Session]] = {}
        self._kept: Final[dict[Session, str]] = {}  # all that still need a tick, ended ones too, with their names
        self._handlers: Final[dict[asyncio.Task[Any], Session]] = {}
        self._carriers: Final[set[Carrier]] = set()
        self.agenda: Final = Agenda()
        self.tasks: Final[set[asyncio.Task[None]]] = set()
        """Requests that wait for something."""
        self.newcomers: Final[set[Newcomer]] = set()
        """WebSockets that have not said yet what they are for."""
        self.refusals: Final = Refusals()
        """What was refused, by cause."""
        self._turnstile: Final = Turnstile(options)
        self._proxy_watch: Final = None if self.gate.knows_proxies else ProxyWatch()
        self._asking: Final[dict[int, list[object]]] = {}  # for each client who is being asked who it is: the revoked
        self._fresh: Final[dict[str, str]] = {}  # sessions that nobody has attached to, with their addresses
        # How sessions have ended, and until when that is remembered; the oldest first.
        self._graves: Final[dict[str, tuple[Closed, float]]] = {}
        self._nonces: Final[dict[str, Session]] = {}
        self._warned_foreign = False
        self._turned_away = 0
        self._stop: Stop | None = None
        self._attend: Final[set[Session]] = set()
        # Bound once: each binding makes an object, which every session would keep.
        self._attend_to: Final = self._attend.add
        self._let_go: Final = self._carriers.discard
        self._on_auth: Final = self._reauthenticate
        self._on_end: Final = self._ended
        self._on_return: Final = self._returned
        self._timer: asyncio.Handle | None = None  # for the next tick, or what is left of this one
        self._attend_timer: asyncio.TimerHandle | None = None
        self._tick_every = min(
            MAX_TICK,
            min(getattr(options, name) for name in TICKED) / TICKS_PER_DELAY,
        )

    def __repr__(self) -> str:
        """Tell how many are here."""
        return f"<Server with {len(self._sessions)} sessions>"

    # ── for the application ───────────────────────────────────────────────────────────────────────────────────────

    @property
    def sessions(self) -> Collection[Session]:
        """The sessions that have not ended: a live view, in the order in which they opened."""
        return Sessions(self._sessions)

    @property
    def rooms(self) -> list[hub.Room]:
        """The rooms that somebody is in or holds on to, in no order."""
        return self._hub.rooms

    def room(self, name: str, *, slow: Slow | None = None) -> hub.Room:
        """Return the room of this name: join, leave and publish there.

        `slow` sets what becomes of members that take too little (`close`, `drop_oldest`, `latest`; see
        `broadcast.publish`) for all that is published there without a policy of its own. A room that is empty and that
        nobody holds on to is forgotten, its policy too. Raises ValueError for any other word.
        """
        return self._hub.room(name, slow)

    def broadcast(self, message: object, *, slow: Slow = "close", key: Hashable | None = None) -> int:
        """Send one message to every session, and return to how many; it waits for nobody (see `broadcast.publish`)."""
        return publish(list(self._sessions.values()), message, slow=slow, key=key)

    def sessions_of(self, user: object) -> list[Session]:
        """Return the sessions of a user, as `authenticate` named it; None is nobody (ValueError)."""
        if user is None:
            raise ValueError("None is no user, but what all those have whom nobody has asked who they are")
        return [session for session in self._sessions.values() if session.user == user]

    def send_to(self, user: object, message: object, *, slow: Slow = "close", key: Hashable | None = None) -> int:
        """Send one message to all sessions of a user, and return to how many (see `broadcast.publish`)."""
        return publish(self.sessions_of(user), message, slow=slow, key=key)

    def revoke(self, user: object, reason: str = "the credentials were revoked") -> int:
        """End all sessions of a user at once with 4401, and return how many.

        What was not confirmed is dropped. A client that is being asked who it is at this moment is not let in as this
        user either; whoever comes later is the affair of `authenticate`. Raises ValueError for a reason of more than
        123 bytes.
        """
        codes.check_close(codes.NOT_AUTHENTICATED, reason)
        for revoked in self._asking.values():
            revoked.append(user)
        ended = self.sessions_of(user)
        for session in ended:
            session.abort(codes.NOT_AUTHENTICATED, reason)
        log.info("%d sessions of %r end: %s", len(ended), user, reason)
        return len(ended)

    # ── for the endpoints ─────────────────────────────────────────────────────────────────────────────────────────

    def turn_away(self, fault: Refused, request: Request) -> None:
        """Count, log and tell what is refused."""
        self.refusals.note(fault, request, self.gate.address(request), asyncio.get_running_loop().time())
        if self.events.observers:
            self.events.tell(TurnedAway(fault, request))

    async def identify(self, request: Request, auth: object) -> Admission:
        """Ask the application who this is.

        Raises NotAuthenticated, also when the user is revoked meanwhile, or whatever Refused the application raises.
        """
        revoked: list[object] = []
        self._asking[id(revoked)] = revoked
        try:
            admission = await self.gate.identify(request, auth)
        finally:
            del self._asking[id(revoked)]
        if admission.user in revoked:
            raise NotAuthenticated("the credentials were revoked")
        return admission

    async def recognise(self, session: Session, request: Request, auth: object = None) -> None:
        """Let a transport at a session if it shows no other credentials than before, or the same user's.

        Raises Forbidden, and what `identify` raises; the session is unharmed.
        """
        if self.options.authenticate is None:
            return
        shown = credentials_of(request, auth)
        if any(new is not None and new != old for new, old in zip(shown, session.admitted, strict=True)):
            admission = await self.identify(request, auth)
            if admission.user != session.user:
                raise Forbidden("the session belongs to another user", cause="another_user")
            session.admitted = tuple(new or old for new, old in zip(shown, session.admitted, strict=True))

    async def admit(self, request: Request, auth: object = None) -> Admission:
        """Let a client open a session, before anything is allocated for it.

        Raises Draining, TooMany, NotAuthenticated, or what the application raises.
        """
        if self.draining:
            self._turned_away += 1
            retry = RETRY + self._turned_away % RETRY_SPREAD
            raise Draining("the server is about to stop; try again in a moment", {"retry": retry})
        if self._proxy_watch:
            self._proxy_watch.see(request.remote, said_behind(request))
        self._turnstile.enter(self.gate.address(request), asyncio.get_running_loop().time())
        admission = await self.identify(request, auth)
        self.check_share(admission)
        return admission

    def check_share(self, admission: Admission) -> None:
        """See that a user has room for one more session; to be asked again after each wait. Raises TooMany."""
        most = self.options.max_sessions_per_user
        if most and admission.user is not None and len(self.sessions_of(admission.user)) >= most:
            raise TooMany(
                f"this user has {most} sessions already (max_sessions_per_user)",
                {"retry": 5},
                cause="too_many_sessions",
            )

    def open(  # noqa: PLR0913 - who it is, and by what it is found
        self,
        codec: Codec,
        request: Request,
        admission: Admission | None = None,
        *,
        name: str | None = None,
        route: str = "",
        auth: object = None,
    ) -> Session:
        """Open a session and start its handler; `name` is what later requests will `find` it by (else its id).

        `route` is the client's word for balancers (`gate.route_of`); it becomes part of the id. `auth` is what the
        client has shown besides the request.
        """
        sid = new_id(route)
        link = Link(codec, self.options)
        session = Referable(sid, link, request, time.time, self._attend_to, self.agenda, self.events)
        if codec.numbered:
            session.key = new_key()
        if self.options.authenticate:
            session.admitted = credentials_of(request, auth)
        if admission:
            self.renew(session, admission)
        session.on_auth = self._on_auth
        self._sessions[sid] = session
        session.on_end = self._on_end
        self._kept[session] = name or sid
        self._named[name or sid] = session
        self._fresh[sid] = address = self.gate.address(request)
        self._turnstile.count(address)
        session.on_message = self._takes
        if self._runs:
            self._run(session, self._runs)
        if self._timer is None:
            self._plan_tick()
        if self.events.observers:
            self.events.tell(Opened(session))
        return session

    def settle(self, session: Session) -> None:
        """Note that a transport has attached: the session is somebody's."""
        if address := self._fresh.pop(session.id, None):
            self._turnstile.discount(address)

    def carry(self, carrier: Carrier) -> None:
        """Know of a WebSocket until it has ended, so that a stop can wait for its closing handshake."""
        self._carriers.add(carrier)
        carrier.at_end = self._let_go
        carrier.at_fault = self.turn_away

    def find(self, name: str) -> Session | None:
        """Return the session of this name, which may have ended, as long as it is remembered."""
        return self._named.get(name)

    def repeated(self, nonce: str) -> Session | None:
        """Return the living session that was opened with this nonce."""
        session = self._nonces.get(nonce)
        return session if session and session.closed is None else None

    def remember_nonce(self, nonce: str, session: Session) -> None:
        """Let a repeated open find its session, while it lives."""
        self._nonces[nonce] = session

        def forget(_session: Session) -> None:
            self._nonces.pop(nonce, None)

        session.at_end(forget)

    def warn_foreign(self) -> None:
        """Say once what to do when sessions of another process are asked for here."""
        if not self._warned_foreign:
            self._warned_foreign = True
            log.warning(
                "a client asks for a session of another process, and is told to open a new one: sessions live in one "
                "process. Run one process; or have the balancer stick by session, as examples/behind_nginx/nginx.conf "
                "does with nginx's hash; or share sessions through a broker"
            )

    def epitaph(self, name: str) -> Closed | None:
        """Tell how a session of the native protocol ended that is remembered no more than that."""
        grave = self._graves.get(name)
        return grave[0] if grave else None

    def renew(self, session: Session, admission: Admission) -> None:
        """Note who a client is, and for how long."""
        session.user = admission.user
        session.expires_at = None
        if admission.expires is not None:
            session.expires_at = asyncio.get_running_loop().time() + admission.expires

    def _reauthenticate(self, session: Session, auth: object) -> None:
        task = asyncio.get_running_loop().create_task(self._renew(session, auth))
        self._handlers[task] = session
        task.add_done_callback(self._handlers.pop)

    async def _renew(self, session: Session, auth: object) -> None:
        """Take fresh credentials: for the same user they prolong the session, all else ends it."""
        try:
            admission = await self.identify(session.http_request, auth)
        except Refused as fault:
            self.turn_away(fault, session.http_request)
            session.abort(fault.code, fault.reason)
            return
        if admission.user != session.user:
            session.abort(codes.FORBIDDEN, "the fresh credentials are another user's")
        elif session.closed is None:
            self.renew(session, admission)
            session.say(Auth({"expires": admission.expires}))

    def _run(self, session: Session, handler: Coroutines) -> None:
        """Run the application's coroutine; whatever it does hurts no other session.

        It is a task by itself: a coroutine of ours around it would be one more thing that each session keeps.
        """
        try:
            coro = handler(session)
            if not asyncio.iscoroutine(coro):
                raise TypeError(f"{handler!r} returned {coro!r}, and no coroutine: write `async def`")  # noqa: TRY301
            task = asyncio.get_running_loop().create_task(coro, name=session.id)
        except Exception as error:  # noqa: BLE001 - whatever it raises is its own fault, and is logged
            self._failed(session, error)
            return
        session.handler = task
        self._handlers[task] = session
        task.add_done_callback(self._on_return)

    def _returned(self, task: asyncio.Task[Any]) -> None:
        """Close the session of a handler that has returned."""
        session = self._handlers.pop(task)
        error = None if task.cancelled() else task.exception()
        if error and not (isinstance(error, SessionClosed) and session.closed):  # else it noticed the end by sending
            self._failed(session, error)
        session.close_now(codes.NORMAL, "Normal closure")

    def _failed(self, session: Session, error: BaseException) -> None:
        log.error("the handler of %r failed; its session closes with 1011", session, exc_info=error)
        session.close_now(codes.HANDLER_FAILED, "the handler failed")

    def _ended(self, session: Session) -> None:
        self._sessions.pop(session.id, None)
        self.settle(session)
        if session.closed:
            self.past.append(remember(session, session.closed, time.time()))
        if self.events.observers:
            self.events.tell(Ended(session))

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _plan_tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._tick_every, self._tick)
        if self._attend_timer is None:
            self._attend_timer = loop.call_later(self.options.ack_delay, self._ack_all)

    def _tick(self) -> None:
        """Look after every session: one timer for all of them, and none while there are none."""
        self._sweep(iter(list(self._kept)))

    def _sweep(self, left: Iterator[Session]) -> None:
        """Look after some of those that are left to be looked after; nobody but this forgets any."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        some = list(islice(left, SLICE))
        for session in some:
            session.tick(now)
            if session.forgettable(now):
                self._forget(session, now)
        over = list(takewhile(lambda name: self._graves[name][1] <= now, islice(self._graves, SLICE)))
        for name in over:
            del self._graves[name]
        if SLICE in (len(some), len(over)):
            self._timer = loop.call_soon(self._sweep, left)
            return
        self._timer = None
        if self._kept or self._graves:
            self._plan_tick()

    def _ack_all(self) -> None:
        """Ack for the sessions that have had no word of ours to carry an ack since the last time."""
        self._attend_timer = None
        waiting = list(self._attend)
        self._attend.clear()
        for session in waiting:
            session.ack_now()
        if self._kept:
            self._attend_timer = asyncio.get_running_loop().call_later(self.options.ack_delay, self._ack_all)

    def _forget(self, session: Session, now: float) -> None:
        name = self._kept.pop(session)
        if self._named.get(name) is session:
            del self._named[name]
        if session.link.codec.numbered and session.closed:
            self._graves[name] = (session.closed, now + self.options.resume)

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def drain(self, within: float | None = None) -> None:
        """End all sessions with 1012, and wait until their clients know of it and their handlers have ended.

        To be called before `close`, while the server still listens: who is between two polls comes once more and is
        told. From now on nobody new is let in. It takes `within` seconds at most (default: `stop_timeout`), `close`
        included; a second call changes nothing.
        """
        stop = self._announce(within)
        await asyncio.gather(self._wait_for_handlers(stop), self._wait_for_clients(stop.until - stop.grace, _near))

    async def close(self) -> None:
        """End all sessions with 1012; wait for handlers and for those who are attached, then let everybody go.

        The waits go on side by side, `handler_grace` and `close_timeout` long, and all is over within `stop_timeout`.
        """
        stop = self._announce(None)
        patience = min(stop.until, asyncio.get_running_loop().time() + self.options.close_timeout)
        await asyncio.gather(self._cancel_handlers(stop), self._wait_for_clients(patience, _attached))
        for session in self._kept:
            if session.link.codec.numbered:
                session.give_up("the server has stopped")
        for carrier in tuple(self._carriers):
            carrier.abort()
        for timer in (self._timer, self._attend_timer):
            if timer:
                timer.cancel()
        self._timer = self._attend_timer = None

    def _announce(self, within: float | None) -> Stop:
        """Tell all sessions of the end, and return its times: whoever comes first settles them."""
        self.draining = True
        if self._stop is None:
            now = asyncio.get_running_loop().time()
            patience = self.options.stop_timeout if within is None else within
            self._stop = Stop(now, now + patience, min(LAST_GRACE, patience / 4))
        for session in list(self._sessions.values()):
            session.close_now(codes.RESTARTING, "the server is restarting")
        return self._stop

    async def _wait_for_handlers(self, stop: Stop) -> set[asyncio.Task[None]]:
        """Wait for the handlers as long as they are granted, and return those that are late."""
        until = min(stop.begun + self.options.handler_grace, stop.until - stop.grace)
        if not self._handlers:
            return set()
        _, late = await asyncio.wait(self._handlers, timeout=max(until - asyncio.get_running_loop().time(), 0))
        return late

    async def _cancel_handlers(self, stop: Stop) -> None:
        """Wait for the handlers, then cancel them."""
        late = await self._wait_for_handlers(stop)
        for task in late:
            task.cancel()
        if late:
            _, stubborn = await asyncio.wait(late, timeout=stop.grace)
            for task in stubborn:
                log.warning("the handler of %s does not end though it was cancelled: left behind", task.get_name())

    async def _wait_for_clients(self, until: float, expected: Callable[[Session], object]) -> None:
        """Wait while there are clients who do not know of the end, and are expected to take it."""
        loop = asyncio.get_running_loop()
        while loop.time() < until and (self._carriers or any(map(expected, self._kept))):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(LOOK)


def _attached(session: Session) -> object:
    """Tell whether a client that can ack is here, and does not know of the end.

    Who reads a stream acks by another request, and for those it may be too late: it is told, and that must do.
    """
    seat = session.seat
    if seat is None or not session.link.codec.numbered or session.link.state is State.CLOSED:
        return False
    return seat.name == "websocket" or seat.has_more or seat.writing


def _near(session: Session) -> object:
    """Tell whether a client is here or between two polls, and does not know of the end."""
    return (session.seat or not session.away) and session.link.state is not State.CLOSED
