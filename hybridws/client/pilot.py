"""Keeps one session moving: opens it, chooses its transports, and replaces the ones that break (protocol §6)."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hybridws.client import carriers
from hybridws.client.courier import Courier, NetworkFault, Turned, believe, hello
from hybridws.client.news import Attempt, Event, Info
from hybridws.core import codes
from hybridws.core.backoff import Backoff
from hybridws.core.codec import JSON, MSGPACK
from hybridws.core.ladder import PROOF, Ladder
from hybridws.core.link import Lane, Link, State
from hybridws.core.packets import Auth, Message, Open, Position
from hybridws.errors import Malformed, TooLarge
from hybridws.exchange import Request
from hybridws.options import Options
from hybridws.seat import Bell
from hybridws.session import Session

if TYPE_CHECKING:
    from hybridws.seat import Seat

log = logging.getLogger("hybridws")

CODECS: Final = {"json": JSON, "msgpack": MSGPACK}
CARRIERS: Final = {"poll": carriers.poll, "stream": carriers.stream}
EXPLAINED: Final = (codes.GOING_AWAY, codes.RESTARTING)
"""Close codes with which a server, not the network, ends a WebSocket."""
LOST: Final = (codes.ABNORMAL, codes.NOBODY_CAME)
"""Codes of a session that nobody has ended: its client could not be heard for too long."""
LOOK_EVERY: Final = 0.2
"""Seconds between two looks at whether the session still moves."""
LEAST_PATIENCE: Final = 1.0
"""Seconds that an ack may take before the client asks for it."""
LEAST_FIRST_BYTES: Final = 0.2
MOST_FIRST_BYTES: Final = 5.0
"""A stream shows its first bytes within 4 round trips, but at least and at most so many seconds, or is buffered."""
MEMORY: Final = 1800.0
"""Seconds for which the transport that worked for an origin is tried first."""
SILENCE: Final = "silence"
"""How the reason begins when a WebSocket is dropped for saying nothing."""
LEAST_LOOKS: Final = 1.0
"""Seconds between two looks at a session that is well."""
RENEW_AT: Final = 0.8
"""The part of its life after which a client renews its credentials."""
LEAST_RENEWAL: Final = 0.1
"""Where fresh credentials cannot be had, they are asked for again in half of the time that is left, down to this."""

_winners: dict[str, tuple[str, float]] = {}  # what has worked for an origin, and until when that is believed


class Lost(Exception):
    """The session is gone, and a new one would have to be opened."""

    def __init__(self, reason: str, code: int = codes.NO_SESSION) -> None:
        """Say why; `code` is that of its end, where the server remembers it."""
        super().__init__(reason)
        self.code = code


class Bid(NamedTuple):
    """What kind of session is asked for."""

    order: tuple[str, ...]
    """The transports that may be used, the best first."""
    codec: str
    auth: object
    """Credentials, or a function, plain or async, that returns fresh ones."""


class Pilot:
    """One session of a client, from its opening to its end."""

    def __init__(self, courier: Courier, bid: Bid, info: Info, tell: Callable[[Event], None]) -> None:
        """Prepare to open a session; `tell` hears of every turn in its life."""
        self.courier: Final = courier
        courier.choose_route()
        self.info: Final = info
        self.ladder: Final = Ladder(bid.order)
        self.sid = ""
        self.key = ""
        self.heartbeat = 0.0
        self.poll_timeout = 0.0
        self.session: Session
        self._codec = bid.codec
        self._auth = bid.auth
        self._tell = tell
        self._n = 0
        self._bell = Bell()
        self._backoff = Backoff()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._attempts: dict[str, Attempt] = {}
        self._proved_at: dict[str, float] = {}
        self._retry_at = 0.0
        self._http_at = 0.0  # before then HTTP waits, for a WebSocket that is sure to come
        self._interrupted = False
        self._why = ""  # what ended the transport that broke last
        self._unacked_since: tuple[int, float] | None = None
        self._asked_at: float | None = None
        self._heard_at = 0.0
        self._renew_by = 0.0
        self._renewal: asyncio.TimerHandle | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._ack_timer: asyncio.TimerHandle | None = None
        self._stuck: tuple[int, float] | None = None  # confirmed while senders wait, and since when no more than that

    # ── what carriers ask and tell ────────────────────────────────────────────────────────────────────────────────

    def next_n(self) -> int:
        """Count one more attach."""
        self._n += 1
        return self._n

    def wishes(self) -> dict[str, Any]:
        """Return what every attach asks for."""
        return {}

    def network_changed(self) -> None:
        """Try everything again, at once: this may be another network."""
        self.ladder.network_changed(self._now())
        self._backoff.succeeded()
        self._retry_at = self._http_at = 0.0
        self._bell.ring()

    def first_bytes(self) -> float:
        """Return the seconds within which a stream that is not buffered shows its first bytes.

        Where nothing is below it, it may take its time: some proxies (HAProxy) send each part 200 ms late.
        """
        if self.ladder.order[-1] == "stream":
            return MOST_FIRST_BYTES
        return min(MOST_FIRST_BYTES, max(LEAST_FIRST_BYTES, 4 * self.info.round_trip))

    def alive(self) -> None:
        """Note that something of the server's has come."""
        self._backoff.succeeded()
        self._asked_at = None

    def carried(self, name: str) -> None:
        """Note that a transport now carries the session."""
        now = self._now()
        attempt = self._attempts.get(name)
        if attempt and attempt.took is None:
            attempt.took = time.time() - attempt.at
        self._proved_at[name] = self._heard_at = now
        self.ladder.rungs[name].proved()
        self._backoff.succeeded()
        _winners[self.courier.origin] = (name, now + MEMORY)
        if self._interrupted:
            self._interrupted = False
            self._tell(Event("resumed", name, "a transport carries the session again"))
        self._bell.ring()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    # ── opening ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self, first: list[object], patience: float) -> Session:
        """Open the session, with the messages that are there already; try again until `patience` seconds are over.

        Raises Turned if the server refuses, TimeoutError when nobody answers in time.
        """
        codec, defaults = CODECS[self._codec], Options()
        words = [codec.dumps(Message(value), defaults) for value in first]
        nonce = secrets.token_urlsafe(16)
        places = [codec.dumps(Position(1), defaults)] if words else []
        rest = b"".join(frame.payload for frame in codec.frames(places + words)) if words else b""
        async with asyncio.timeout(patience):
            while True:
                body = hello(self._codec, nonce, await self._fresh_auth()) + b"\n" + rest
                begun = time.time()
                attempt = Attempt("open", begun)
                self.info.attempts.append(attempt)
                try:
                    status, answer = await self.courier.post("open", body, patience)
                    session = self._begin(status, answer, words)
                except NetworkFault as fault:
                    attempt.failure = str(fault)
                    attempt.took = time.time() - begun
                    await asyncio.sleep(self._backoff.failed(random()))  # noqa: S311 - jitter
                except Turned as turned:
                    attempt.failure = str(turned)
                    retry = turned.details.get("retry")
                    if not isinstance(retry, int | float):
                        raise
                    await asyncio.sleep(float(retry))
                else:
                    attempt.took = time.time() - begun
                    self.info.measured(max(attempt.took - defaults.open_linger, 0.001))
                    return session

    def _begin(self, status: int, answer: bytes, words: list[bytes]) -> Session:
        """Make our end of the session that the server has made. Raises NetworkFault, Turned."""
        codec, defaults = CODECS[self._codec], Options()
        line, _, tail = answer.partition(b"\n")
        packet = believe(status, line, JSON, defaults)[0][0]
        if not isinstance(packet, Open):
            raise NetworkFault("the answer to an open was something else")
        said = packet.session
        try:
            rest = codec.loads(tail, defaults)
            self.sid, self.key = str(said["sid"]), str(said["key"])
            self.heartbeat, self.poll_timeout = float(said["heartbeat"]), float(said["poll_timeout"])
            options = replace(
                defaults,
                buffer=int(said["buffer"]),
                max_message=int(said["max_message"]),
                max_batch=int(said["max_batch"]),
                resume=float(said["resume"]),
                send_timeout=float(said["resume"]),
            )
        except (Malformed, TooLarge, KeyError, TypeError, ValueError) as fault:
            raise NetworkFault(f"the answer to an open makes no sense: {fault!r}") from None
        request = Request("POST", self.courier.origin, "", {}, {}, {}, "", self.courier.origin.partition(":")[0])
        session = self.session = Session(self.sid, Link(codec, options), request, time.time, self._attend)
        session.on_auth = self._hear_auth
        session.at_end(lambda _session: self._bell.ring())
        for item in words:
            session.post(item)
        session.feed(Lane(), rest)
        return session

    # ── credentials ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _fresh_auth(self) -> object:
        auth = self._auth() if callable(self._auth) else self._auth
        return await auth if isinstance(auth, Awaitable) else auth

    def _hear_auth(self, _session: Session, value: object) -> None:
        """Renew the credentials in time: the server says how long they last."""
        expires = value.get("expires") if isinstance(value, dict) else None
        if not callable(self._auth) or not isinstance(expires, int | float):
            return
        self._renew_by = self._now() + expires
        self._plan_renewal(expires * RENEW_AT)

    def _plan_renewal(self, after: float) -> None:
        if self._renewal:
            self._renewal.cancel()
        self._renewal = asyncio.get_running_loop().call_later(max(after, 0.0), self._renew)

    def _renew(self) -> None:
        async def renew() -> None:
            try:
                fresh = await self._fresh_auth()
                if self.session.closed is None:
                    self.session.say(Auth(fresh))
            except Exception:
                log.exception("no fresh credentials for %s", self.courier.origin)
                if (left := self._renew_by - self._now()) > LEAST_RENEWAL:
                    self._plan_renewal(left / 2)

        self._renewing = asyncio.get_running_loop().create_task(renew())

    # ── acks ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _attend(self, session: Session) -> None:
        """Ack soon what has come, unless something of ours takes it along before (protocol §5); polls always do."""
        delays = {"websocket": session.link.options.ack_delay, "stream": session.link.options.stream_ack_delay}
        if self._ack_timer is None and session.seat and (delay := delays.get(session.seat.name)):
            self._ack_timer = asyncio.get_running_loop().call_later(delay, self._ack, session.seat)

    def _ack(self, seat: Seat) -> None:
        self._ack_timer = None
        now_seated = self.session.seat
        if now_seated is None or now_seated.lane.acked == self.session.link.ackable:
            return
        if now_seated is seat:
            self.session.owe_ack()
        else:
            self._attend(self.session)

    # ── moving ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def move(self) -> None:
        """Carry the session until it is over. Raises Lost when the server no longer knows it."""
        link = self.session.link
        since_end: float | None = None
        self._remember(self._now())
        try:
            while True:
                now = self._now()
                self._reap(now)
                if self.session.closed:
                    since_end = since_end or now
                    if self._settled() or now - since_end > link.options.close_timeout:
                        return
                self._launch(now)
                self._check(now)
                await self._wait(now)
        finally:
            for timer in (self._renewal, self._ack_timer):
                if timer:
                    timer.cancel()
            tasks = [*self._tasks.values(), *([self._renewing] if self._renewing else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _remember(self, now: float) -> None:
        """Begin with what worked for this origin the last time; whatever is better is tried all the same."""
        winner, until = _winners.get(self.courier.origin, ("", 0.0))
        if now >= until or winner not in self.ladder.order:
            return
        if winner == "websocket":
            self._http_at = now + self.first_bytes()
        elif winner == "poll" and "stream" in self.ladder.order:
            self.ladder.rungs["stream"].failed(now, random())  # noqa: S311 - jitter

    def _settled(self) -> bool:
        """Tell whether both sides know of the end, and nothing is left that has carried the session and closes now."""
        carried = (name for name in self._tasks if self._attempts[name].took is not None)
        return self.session.link.state is State.CLOSED and not any(carried)

    def _launch(self, now: float) -> None:
        """Start what should be running and is not."""
        if self.session.link.state is State.CLOSED:
            return
        due = self.ladder.due(now)
        ready = self.ladder.order[-1] != "websocket" or now >= self._retry_at
        if ready and "websocket" in due and "websocket" not in self._tasks and not self._is_better(due):
            self._start("websocket")
        over_http = [name for name in due if name in CARRIERS]
        running = [name for name in self._tasks if name in CARRIERS]
        if self._over_websocket or (now < self._http_at and "websocket" in self._tasks):
            return
        if over_http and not running and now >= self._retry_at:
            self._start(over_http[0])
        elif running == ["poll"] and over_http[:1] == ["stream"]:
            self._start("stream")

    def _is_better(self, due: list[str]) -> bool:
        """Tell whether a transport that the application likes better than a WebSocket is in use, or may be tried."""
        better = self.ladder.order[: self.ladder.order.index("websocket")]
        return self._over_websocket or any(name in due or name in self._tasks for name in better)

    @property
    def _over_websocket(self) -> bool:
        seat = self.session.seat
        return seat is not None and seat.name == "websocket"

    def _start(self, name: str) -> None:
        attempt = self._attempts[name] = Attempt(name, time.time())
        self.info.attempts.append(attempt)
        self._tasks[name] = asyncio.get_running_loop().create_task(self._carry(name, attempt))

    async def _carry(self, name: str, attempt: Attempt) -> None:
        """Run one transport, and note how it ended."""
        try:
            if name == "websocket":
                code, reason = await carriers.websocket(self, PROOF)
                self._ended_websocket(code, reason, attempt)
            else:
                await CARRIERS[name](self)
                attempt.failure = attempt.failure or "another transport took over, or the session ended"
        except (NetworkFault, Malformed, TooLarge) as fault:
            self._failed(name, attempt, str(fault))
        except Turned as turned:
            attempt.failure = self._why = str(turned)
            if name == "websocket" and turned.code != codes.SUPERSEDED:
                self.ladder.rungs[name].failed(self._now(), random())  # noqa: S311 - jitter
            raise
        finally:
            self._bell.ring()

    def _ended_websocket(self, code: int, reason: str, attempt: Attempt) -> None:
        now = self._now()
        lived = now - self._proved_at.get("websocket", now)
        attempt.failure = f"closed with {code}{f' ({reason})' if reason else ''} after {lived:.1f} s"
        if self.session.closed or code == codes.SUPERSEDED:
            return
        self._why = attempt.failure
        explained = code in EXPLAINED or reason.startswith(SILENCE)
        self.ladder.rungs["websocket"].died(now, lived, explained=explained, chance=random())  # noqa: S311 - jitter

    def _failed(self, name: str, attempt: Attempt, why: str) -> None:
        now = self._now()
        if attempt.took is None:
            attempt.took = time.time() - attempt.at
            self.ladder.rungs[name].failed(now, random())  # noqa: S311 - jitter
        attempt.failure = self._why = why
        if name == self.ladder.order[-1] or name == "stream":
            self._retry_at = now + self._backoff.failed(random())  # noqa: S311 - jitter

    def _reap(self, now: float) -> None:
        """Look at the transports that have ended, and tell the application when none is left. Raises Lost."""
        for name, task in list(self._tasks.items()):
            if not task.done():
                continue
            del self._tasks[name]
            try:
                task.result()
            except Turned as turned:
                self._turned(turned, now)
        if self._interrupted or self.session.closed or not self._proved_at:
            return
        if self.session.seat is None and self.session.transport not in self._tasks:
            self._interrupted = True
            self._tell(Event("interrupted", self.session.transport, self._why))

    def _turned(self, turned: Turned, now: float) -> None:
        """Do what the server's refusal asks for. Raises Lost."""
        match turned.code:
            case codes.SUPERSEDED:
                current = turned.details.get("n")
                self._n = max(self._n, current if isinstance(current, int) else 0)
            case codes.NO_SESSION:
                code, reason = turned.details.get("code"), turned.details.get("reason")
                if not isinstance(code, int):
                    raise Lost(turned.reason)
                if code in LOST:
                    raise Lost(str(reason or ""), code)
                self.session.lose(code, str(reason or ""))
            case codes.NOT_AUTHENTICATED | codes.FORBIDDEN | codes.TOO_SLOW | codes.TOO_LARGE:
                self.session.lose(turned.code, turned.reason)
            case _:
                retry = turned.details.get("retry")
                wait = float(retry) if isinstance(retry, int | float) else self._backoff.failed(random())  # noqa: S311
                self._retry_at = now + wait

    def _check(self, now: float) -> None:
        """Ask for an ack that is late; drop the WebSocket that then stays silent (protocol §6.4)."""
        link, seat = self.session.link, self.session.seat
        self._check_senders(now)
        if seat is None or seat.name != "websocket":
            self._unacked_since = None
            return
        if seat.heard or self.session.crowded:  # while the application is behind, nothing is read: that is no silence
            seat.heard = False
            self._heard_at = now
            self._asked_at = None
        confirmed = link.outbox.confirmed
        if not link.outbox:
            self._unacked_since = None
        elif self._unacked_since is None or self._unacked_since[0] != confirmed:
            self._unacked_since = (confirmed, now)
        patience = max(LEAST_PATIENCE, 4 * self.info.round_trip)
        silent = now - self._heard_at
        if self._asked_at is not None and now - self._asked_at >= patience:
            seat.cut(f"{SILENCE} for {patience:.1f} s after a heartbeat")
        elif silent >= self.heartbeat + carriers.GRACE:
            seat.cut(f"{SILENCE} for {silent:.0f} s")
        elif self._asked_at is None and self._unacked_since and now - self._unacked_since[1] >= patience:
            # What a look came too late is not waited for once more.
            late = now - self._unacked_since[1] - patience
            self._asked_at = now - late if late < LOOK_EVERY else now
            seat.beat = True
            seat.wake()

    def _check_senders(self, now: float) -> None:
        """Send those away who have waited for room for `send_timeout` without any progress."""
        confirmed = self.session.link.outbox.confirmed
        if not self.session.senders:
            self._stuck = None
        elif self._stuck is None or self._stuck[0] != confirmed:
            self._stuck = (confirmed, now)
        elif now - self._stuck[1] >= self.session.link.options.send_timeout:
            self._stuck = None
            self.session.stall()

    async def _wait(self, now: float) -> None:
        """Wait for news, or for the next thing that is due."""
        seat = self.session.seat
        often = seat is None or self.session.closed or seat.name == "websocket"
        times = [now + (LOOK_EVERY if often else LEAST_LOOKS)]
        if self._asked_at is not None:
            times.append(max(self._asked_at + max(LEAST_PATIENCE, 4 * self.info.round_trip), now))
        times += [due for due in (self._retry_at, self._http_at) if due > now]
        if seat and (due := self.ladder.next_due(seat.name, now)):
            times.append(max(due, now + LOOK_EVERY))
        try:
            async with asyncio.timeout_at(min(times)):
                await self._bell.wait()
        except TimeoutError:
            pass
