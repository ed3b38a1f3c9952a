"""Keeps one session moving: chooses its transports, and replaces the ones that break (protocol §6)."""

from __future__ import annotations

import asyncio
import time
from random import random
from typing import TYPE_CHECKING, Any, Final

from hybridws.client.acks import Acks
from hybridws.client.carriers import poll, stream
from hybridws.client.courier import Courier, Late, NetworkFault, NotUnderstood, Turned
from hybridws.client.news import Attempt, Event, Info
from hybridws.client.opening import CODECS, Bid, NothingShared, ask, first_words
from hybridws.client.renewal import Renewal
from hybridws.client.watch import LOOK_EVERY, SILENCE, Watch
from hybridws.client.websocket import websocket
from hybridws.core import codes
from hybridws.core.backoff import Backoff
from hybridws.core.ladder import PROOF, Ladder
from hybridws.core.link import OVERFULL, Lane, Link, State
from hybridws.errors import Malformed, TooLarge
from hybridws.exchange import Request
from hybridws.seat import Bell
from hybridws.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

CARRIERS: Final = {"poll": poll, "stream": stream}
EXPLAINED: Final = (codes.GOING_AWAY, codes.RESTARTING)
"""Close codes with which a server, not the network, ends a WebSocket."""
SHUT_OUT: Final = (codes.NOT_AUTHENTICATED, codes.FORBIDDEN, codes.TOO_SLOW, codes.TOO_LARGE)
"""Codes with which a server ends a session at once: there is nothing to come back to."""
LOST: Final = (codes.ABNORMAL, codes.NOBODY_CAME)
"""Codes of a session that nobody has ended: its client could not be heard for too long."""
LEAST_FIRST_BYTES: Final = 0.2
MOST_FIRST_BYTES: Final = 5.0
"""A stream shows its first bytes within 4 round trips, but at least and at most so many seconds, or is buffered."""
MEMORY: Final = 1800.0
"""Seconds for which the transport that worked for an origin is tried first."""
MOST_REFUSALS: Final = 6
"""Times in a row that one side may not understand the other, while nothing gets through: then nothing ever will."""
FIRST_REFUSAL: Final = 0.1
"""Seconds before the first of them is said again, and twice as many before each next."""
LEAST_LOOKS: Final = 1.0
"""Seconds between two looks at a session that is well."""

_winners: dict[str, tuple[str, float]] = {}  # what has worked for an origin, and until when that is believed


class Lost(Exception):
    """The session is gone, and a new one would have to be opened."""

    def __init__(self, reason: str, code: int = codes.NO_SESSION) -> None:
        """Say why; `code` is that of its end, where the server remembers it."""
        super().__init__(reason)
        self.code = code


class Pilot:
    """One session of a client, from its opening to its end."""

    def __init__(self, courier: Courier, bid: Bid, info: Info, tell: Callable[[Event], None]) -> None:
        """Prepare to open a session; `tell` hears of every turn in its life."""
        self.courier: Final = courier
        courier.choose_route()
        self.info: Final = info
        self.ladder = Ladder(bid.order)
        self.sid = ""
        self.key = ""
        self.heartbeat = 0.0
        self.session: Session
        self.watch: Watch
        self._poll_timeout = 0.0
        self._bid: Final = bid
        self._tell: Final = tell
        self._n = 0
        self._bell: Final = Bell()
        self._backoff: Final = Backoff()
        self._renewal: Final = Renewal(bid, courier.origin)
        self._acks: Final = Acks()
        self._tasks: Final[dict[str, asyncio.Task[None]]] = {}
        self._attempts: Final[dict[str, Attempt]] = {}
        self._proved_at: Final[dict[str, float]] = {}
        self._retry_at = 0.0
        self._http_at = 0.0  # before then HTTP waits, for a WebSocket that is sure to come
        self._refusals = 0  # times in a row that one side has not understood the other ...
        self._passed = (0, 0)  # ... while no more than this got through, each way
        self._quiet_until = 0.0  # what was not understood is not said again before then
        self._carrier = ""  # the transport that carries the session; none once it has broken
        self._interrupted = False

    # ── what carriers ask and tell ────────────────────────────────────────────────────────────────────────────────

    def next_n(self) -> int:
        """Count one more attach."""
        self._n += 1
        return self._n

    def wishes(self) -> dict[str, Any]:
        """Return what every attach asks for: a word before the silence that has killed connections here."""
        return {} if self.watch.idle.wish is None else {"heartbeat": self.watch.idle.wish}

    @property
    def hold(self) -> float:
        """Seconds for which a poll is held: it shows life as often as a heartbeat would."""
        return min(self._poll_timeout, self.watch.pause)

    def said(self) -> None:
        """Note that something leaves on the WebSocket."""
        if self.watch.said(self._now()):
            self._bell.ring()

    def network_changed(self) -> None:
        """Try everything again, at once: this may be another network."""
        self.ladder.network_changed(self._now())
        self.watch.network_changed()
        self._backoff.succeeded()
        self._quiet_until = 0.0
        self._retry_at = self._http_at = 0.0
        self._bell.ring()

    def first_bytes(self) -> float:
        """Return the seconds within which a stream that is not buffered shows its first bytes.

        Where nothing is below it, it may take its time: some proxies (HAProxy) send each part 200 ms late.
        """
        if self.ladder.order[-1] == "stream":
            return MOST_FIRST_BYTES
        return min(MOST_FIRST_BYTES, self.watch.patient(max(LEAST_FIRST_BYTES, 4 * self.info.round_trip)))

    def alive(self) -> None:
        """Note that something of the server's has come."""
        self._backoff.succeeded()

    def carried(self, name: str) -> None:
        """Note that a transport now carries the session."""
        now = self._now()
        attempt = self._attempts.get(name)
        if attempt and attempt.took is None:
            attempt.took = time.time() - attempt.at
        self._proved_at[name] = now
        self._carrier = name
        self.watch.begun(now)
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

        Raises Turned if the server refuses, TimeoutError when nobody answers in time, NothingShared.
        """
        words = first_words(self._bid.codec, first)
        opened = await ask(self.courier, self._bid, words, self.info, patience)
        self.sid, self.key = opened.sid, opened.key
        self.heartbeat, self._poll_timeout = opened.heartbeat, opened.poll_timeout
        order = tuple(name for name in self._bid.order if name in opened.transports)
        if not order:
            raise NothingShared(self._bid.order, opened.transports)
        self.ladder = Ladder(order)
        request = Request("POST", self.courier.origin, "", {}, {}, {}, "", self.courier.origin.partition(":")[0])
        link = Link(CODECS[self._bid.codec], opened.options)
        session = self.session = Session(self.sid, link, request, time.time, self._acks.attend)
        self.watch = Watch(session, self.info, self.heartbeat)
        session.on_auth = self._renewal.hear
        session.at_end(lambda _session: self._bell.ring())
        for item in words:
            session.post(item)
        session.feed(Lane(), opened.batch)
        return session

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
                self.watch.look(now)
                await self._wait(now)
        finally:
            self._acks.stop()
            await self._renewal.stop()
            tasks = list(self._tasks.values())
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
        if self.session.link.state is State.CLOSED or now < self._quiet_until:
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
                code, reason = await websocket(self, PROOF)
                self._ended_websocket(code, reason, attempt)
            else:
                await CARRIERS[name](self)
                attempt.failure = attempt.failure or "another transport took over, or the session ended"
        except (NetworkFault, Malformed, TooLarge) as fault:
            if isinstance(fault, Late):
                self.watch.doubt()
            self._failed(name, attempt, str(fault))
            if isinstance(fault, NotUnderstood | Malformed | TooLarge):
                self._not_understood(str(fault))
        except Turned as turned:
            attempt.failure = str(turned)
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
        if code in SHUT_OUT:
            self._give_up(code, reason)
            return
        self._broke("websocket", attempt.failure)
        if code == codes.MALFORMED:
            self._not_understood(reason)
        silent = reason.startswith(SILENCE)
        if silent:
            self.courier.start_afresh()
        explained = code in EXPLAINED or silent
        self.ladder.rungs["websocket"].died(now, lived, explained=explained, chance=random())  # noqa: S311 - jitter

    def _failed(self, name: str, attempt: Attempt, why: str) -> None:
        now = self._now()
        if attempt.took is None:
            attempt.took = time.time() - attempt.at
            self.ladder.rungs[name].failed(now, random())  # noqa: S311 - jitter
        attempt.failure = why
        self._broke(name, why)
        if name == self.ladder.order[-1] or name == "stream":
            self._retry_at = now + self._backoff.failed(random())  # noqa: S311 - jitter

    def _broke(self, name: str, why: str) -> None:
        """Tell the application, if it was the transport that carries, and the session goes on without it."""
        if name == self._carrier and not self.session.closed:
            self._carrier = ""
            self._interrupted = True
            self._tell(Event("interrupted", name, why))

    def _reap(self, now: float) -> None:
        """Look at the transports that have ended. Raises Lost."""
        for name, task in list(self._tasks.items()):
            if not task.done():
                continue
            del self._tasks[name]
            try:
                task.result()
            except Turned as turned:
                self._turned(name, turned, now)

    def _turned(self, name: str, turned: Turned, now: float) -> None:
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
                self._give_up(code, str(reason or ""))
            case code if code in SHUT_OUT:
                self._give_up(code, turned.reason)
            case _:
                retry = turned.details.get("retry")
                wait = float(retry) if isinstance(retry, int | float) else self._backoff.failed(random())  # noqa: S311
                self._retry_at = now + wait
                self._broke(name, str(turned))
                if turned.code == codes.MALFORMED:
                    self._not_understood(turned.reason)

    def _not_understood(self, why: str) -> None:
        """Let some time pass before what one side has not understood is said again, and end the session in the end.

        The transport works, so nothing else would slow down who repeats it. What only found no room will find it, in
        our inbox or in the server's, whose reason it then is.
        """
        link = self.session.link
        passed = (link.received, link.outbox.confirmed)
        self._refusals = min(self._refusals + 1, MOST_REFUSALS) if passed == self._passed else 1
        self._passed = passed
        self._quiet_until = self._now() + FIRST_REFUSAL * 2**self._refusals
        if self._refusals == MOST_REFUSALS and why != OVERFULL:
            self._give_up(codes.MALFORMED, why)

    def _give_up(self, code: int, reason: str) -> None:
        """End the session, of which the server will hear nothing more: not even our own close, if that is under way."""
        self.session.lose(code, reason)
        self.session.give_up(reason)

    async def _wait(self, now: float) -> None:
        """Wait for news, or for the next thing that is due."""
        seat = self.session.seat
        times = [now + LEAST_LOOKS]
        if seat is None or self.session.closed or seat.name == "websocket":
            times.append(self.watch.next_look(now))
        times += [due for due in (self._retry_at, self._http_at, self._quiet_until) if due > now]
        if seat and (due := self.ladder.next_due(seat.name, now)):
            times.append(max(due, now + LOOK_EVERY))
        try:
            async with asyncio.timeout_at(min(times)):
                await self._bell.wait()
        except TimeoutError:
            pass
