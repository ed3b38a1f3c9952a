"""What time does to a session: heartbeats, dead connections, and waits that were too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridws.core import codes
from hybridws.core.link import State

if TYPE_CHECKING:
    from hybridws.seat import Seat
    from hybridws.session import Session


class Upkeep:
    """Since when a session has been as it is. There are no timers: `tick` is told the time, and acts on what is due."""

    __slots__ = ("_attaches", "_cancelled", "_detached_at", "_ended_at", "_full_since", "_stuck")

    def __init__(self) -> None:
        """Know nothing yet; every span begins at the tick that first sees it."""
        self._attaches = 0
        self._detached_at: float | None = None
        self._ended_at: float | None = None
        self._cancelled = False
        self._full_since: float | None = None
        self._stuck: tuple[int, float] | None = None  # confirmed so far, and since when no more than that

    def tick(self, session: Session, now: float) -> None:
        """Do what is due at `now`, in monotonic seconds."""
        if session.seat:
            tick_seat(session, session.seat, now)
        self._tick_detached(session, now)
        self._tick_buffer(session, now)
        if session.closed:
            self._tick_end(session, now)

    def forgettable(self, session: Session, now: float) -> bool:
        """Tell whether the end is known, nobody is here, the handler has returned, and late comers had their time."""
        return (
            session.link.state is State.CLOSED
            and session.seat is None
            and (session.handler is None or session.handler.done())
            and self._ended_at is not None
            and now - self._ended_at >= session.link.options.disconnect_delay
        )

    def _tick_detached(self, session: Session, now: float) -> None:
        delay = session.link.options.disconnect_delay
        if session.seat or session.attaches != self._attaches:
            self._attaches = session.attaches
            self._detached_at = None
        if session.seat:
            return
        if self._detached_at is None:
            self._detached_at = now
        elif session.closed is None and now - self._detached_at >= delay:
            session.lose(codes.ABNORMAL, f"no receiver for {delay:g} s")

    def _tick_buffer(self, session: Session, now: float) -> None:
        """Note who takes too little, and end the wait of senders that have waited too long."""
        options = session.link.options
        if not session.link.full:
            self._full_since = self._stuck = None
            session.slow = False
            return
        if self._full_since is None:
            self._full_since = now
        session.slow = now - self._full_since >= options.slow_grace
        confirmed = session.link.outbox.confirmed
        if not session.senders:
            self._stuck = None
        elif self._stuck is None or self._stuck[0] != confirmed:
            self._stuck = (confirmed, now)
        elif now - self._stuck[1] >= options.send_timeout:
            session.stall()

    def _tick_end(self, session: Session, now: float) -> None:
        options = session.link.options
        if self._ended_at is None:
            self._ended_at = now
        if now - self._ended_at >= options.handler_grace and session.handler and not self._cancelled:
            self._cancelled = True
            session.handler.cancel(f"the session ended {options.handler_grace:g} s ago (handler_grace)")
        if now - self._ended_at >= options.close_timeout and session.link.state is not State.CLOSED:
            session.give_up(f"the client did not answer the close for {options.close_timeout:g} s")


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
    elif seat.writing:
        # A slow link takes one piece after another and is left alone; this one has taken nothing.
        if now - seat.quiet_since >= options.heartbeat_delay + options.pong_timeout:
            seat.cut("the network takes nothing any more")
    elif now - seat.quiet_since >= options.heartbeat_delay:
        seat.quiet_since = now
        seat.beat = True
        seat.wake()
