"""What time does to a session: heartbeats, dead connections, and waits that were too long."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hybridws.core import codes
from hybridws.core.link import State
from hybridws.core.packets import Auth
from hybridws.events import Slowed

if TYPE_CHECKING:
    from hybridws.options import Options
    from hybridws.seat import Seat
    from hybridws.session import Session


def first_allowance(options: Options) -> float:
    """Return how many messages the application may be given before the first tick, and between any two at most."""
    rate = options.messages_per_second
    return math.inf if rate is None else max(2 * rate, 1.0)


class Upkeep:
    """Since when a session has been as it is. There are no timers: `tick` is told the time, and acts on what is due."""

    __slots__ = (
        "_asked_for",
        "_attaches",
        "_cancelled",
        "_detached_at",
        "_ended_at",
        "_full_since",
        "_refilled_at",
        "_stuck",
        "_trial",
    )

    def __init__(self) -> None:
        """Know nothing yet; every span begins at the tick that first sees it."""
        self._attaches = 0
        self._detached_at: float | None = None
        self._ended_at: float | None = None
        self._cancelled = False
        self._asked_for: float | None = None  # the expiry that the client has been told of
        self._trial: tuple[Seat, float] | None = None
        self._full_since: float | None = None
        self._refilled_at: float | None = None
        self._stuck: tuple[int, float] | None = None  # confirmed so far, and since when no more than that

    def tick(self, session: Session, now: float) -> None:
        """Do what is due at `now`, in monotonic seconds."""
        if session.seat:
            tick_seat(session, session.seat, now)
        self._tick_trial(session, now)
        self._tick_detached(session, now)
        self._tick_buffer(session, now)
        self._tick_credentials(session, now)
        self._tick_allowance(session, now)
        if session.closed:
            self._tick_end(session, now)

    def forgettable(self, session: Session, now: float) -> bool:
        """Tell whether the end is known, nobody is here, the handler has returned, and late comers had their time."""
        return (
            session.link.state is State.CLOSED
            and session.seat is None
            and (session.handler is None or session.handler.done())
            and self._ended_at is not None
            and (session.link.codec.numbered or now - self._ended_at >= session.link.options.disconnect_delay)
        )

    def _tick_trial(self, session: Session, now: float) -> None:
        """Close a WebSocket on trial that has not shown in time that it hears."""
        trial = session.dock.trial
        if trial is None:
            self._trial = None
        elif self._trial is None or self._trial[0] is not trial:
            self._trial = (trial, now)
        elif now - self._trial[1] >= session.link.options.trial_timeout:
            trial.cut("it was on trial and did not answer")

    def _tick_detached(self, session: Session, now: float) -> None:
        """End a session whose client stays away."""
        options, dock = session.link.options, session.dock
        if dock.seat or dock.attaches != self._attaches:
            self._attaches = dock.attaches
            self._detached_at = None
        if dock.seat:
            return
        if self._detached_at is None:
            self._detached_at = now
        gone_for = now - self._detached_at
        session.away = gone_for >= options.away_after
        if session.closed:
            return
        if not session.link.codec.numbered:
            if gone_for >= options.disconnect_delay:
                session.lose(codes.ABNORMAL, f"no receiver for {options.disconnect_delay:g} s")
        elif not dock.attaches and gone_for >= options.attach_timeout:
            session.lose(codes.NOBODY_CAME, f"nothing attached within {options.attach_timeout:g} s")
        elif gone_for >= options.resume:
            session.lose(codes.ABNORMAL, f"no transport for {options.resume:g} s (resume)")
        elif gone_for > 0 and _stuffed(session):
            session.lose(codes.ABNORMAL, "the buffer was full while no transport was there to empty it")

    def _tick_credentials(self, session: Session, now: float) -> None:
        """Ask for fresh credentials before the old ones expire, and end the session when they have."""
        if session.expires_at is None or session.closed:
            return
        left = session.expires_at - now
        if left <= 0:
            session.abort(codes.NOT_AUTHENTICATED, "the credentials have expired")
        elif left <= session.link.options.renew_before and self._asked_for != session.expires_at:
            self._asked_for = session.expires_at
            if session.link.codec.numbered:
                session.say(Auth({"expires": round(left, 3)}))

    def _tick_buffer(self, session: Session, now: float) -> None:
        """Note who takes too little, and end the wait of senders that have waited too long."""
        options = session.link.options
        if not session.link.full:
            self._full_since = self._stuck = None
            session.slow = False
            return
        if self._full_since is None:
            self._full_since = now
        was_slow, session.slow = session.slow, now - self._full_since >= options.slow_grace
        if session.slow and not was_slow and session.events.observers:
            session.events.tell(Slowed(session))
        confirmed = session.link.outbox.confirmed
        if not session.senders:
            self._stuck = None
        elif self._stuck is None or self._stuck[0] != confirmed:
            self._stuck = (confirmed, now)
        elif now - self._stuck[1] >= options.send_timeout:
            session.stall()
            self._stuck = None  # who tries again has the whole time again

    def _tick_allowance(self, session: Session, now: float) -> None:
        """Let the application be given more messages: what is over the rate has waited for this."""
        options = session.link.options
        rate = options.messages_per_second
        if rate is None:
            return
        if self._refilled_at is not None:
            more = session.allowance + rate * (now - self._refilled_at)
            session.allow(min(more, first_allowance(options)))
        self._refilled_at = now

    def _tick_end(self, session: Session, now: float) -> None:
        options = session.link.options
        if self._ended_at is None:
            self._ended_at = now
        if now - self._ended_at >= options.handler_grace and session.handler and not self._cancelled:
            self._cancelled = True
            session.handler.cancel(f"the session ended {options.handler_grace:g} s ago (handler_grace)")
        patience = options.resume if session.link.codec.numbered and not session.seat else options.close_timeout
        if now - self._ended_at >= patience and session.link.state is not State.CLOSED:
            session.give_up(f"the client did not answer the close for {patience:g} s")


def _stuffed(session: Session) -> bool:
    """Tell whether the buffer is full of what may not be dropped."""
    if session.link.full:
        session.relieve()
    return session.link.full


def tick_seat(session: Session, seat: Seat, now: float) -> None:
    """Look after one transport: drop it if it is dead, and have it send a heartbeat if it is idle."""
    options = session.link.options
    if seat.probe and seat.probe():
        seat.cut("the client has gone")
        return
    if seat.heard:
        seat.heard = seat.asked = False
        seat.asked_at = None
    elif seat.asked and seat.asked_at is None:
        seat.asked_at = now
    elif seat.asked_at is not None and not session.crowded and now - seat.asked_at >= options.pong_timeout:
        seat.cut(f"no sign of life for {options.pong_timeout:g} s after a heartbeat")
        return
    if seat.sent:
        seat.sent = False
        seat.quiet_since = now
        return
    quiet_for = now - seat.quiet_since
    numbered = session.link.codec.numbered
    every = seat.wish or (options.heartbeat if numbered else options.heartbeat_delay)
    if seat.writing:
        # A slow link takes one piece after another and is left alone; this one has taken nothing.
        if quiet_for >= every + options.pong_timeout:
            seat.cut("the network takes nothing any more")
    elif quiet_for >= every and seat.name != "poll":
        seat.quiet_since = now
        seat.beat = True
        seat.wake()
    elif numbered and quiet_for >= options.stream_ack_delay and seat.lane.acked != session.link.ackable:
        session.owe_ack()
