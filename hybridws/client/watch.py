"""Watches one client's session: whether what was said arrives, how long nothing came, and what silence kills."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hybridws.core.idle import Idle

if TYPE_CHECKING:
    from hybridws.client.news import Info
    from hybridws.seat import Seat
    from hybridws.session import Session

LEAST_PATIENCE: Final = 0.8
"""Seconds for which an answer is waited for at least, however fast the network was until now (protocol §6): a server
acks within 0.25 s, and twice this, with the time to connect anew, is less than the two seconds that people notice."""
MOST_DOUBTS: Final = 5
"""Answers in a row that did not come in time, for each of which the next one is waited for twice as long."""
SHARE_OF_RESUME: Final = 4
"""An answer is waited for no longer than this part of `resume`, so that there is time for others."""
LOOK_EVERY: Final = 0.2
"""Seconds between two looks at a WebSocket on which an answer is waited for."""
GRACE: Final = 10.0
"""Seconds after which a poll or heartbeat that is overdue means that the connection is dead (protocol §7)."""
SILENCE: Final = "silence"
"""How the reason begins when a WebSocket is dropped for saying nothing."""


class Watch:
    """What a client knows of the life of its connections; it reads no clock, but is told the time."""

    def __init__(self, session: Session, info: Info, heartbeat: float) -> None:
        """Watch a session whose server says something every `heartbeat` seconds."""
        self.idle: Final = Idle()
        self._session: Final = session
        self._info: Final = info
        self._heartbeat: Final = heartbeat
        self._unacked: tuple[int, float] | None = None  # confirmed so far, and since when no more than that
        self._timed: tuple[int, float] | None = None  # a message whose ack is timed, and when it was said
        self._asked_at: float | None = None
        self._heard_at = 0.0
        self._active_at = 0.0  # when something was said last, either way
        self._longest = 0.0  # the longest pause since something came
        self._stuck: tuple[int, float] | None = None  # confirmed while senders wait, and since when no more than that
        self._doubts = 0  # answers in a row that did not come in time: the network may have turned slow

    @property
    def patience(self) -> float:
        """Seconds that an ack may take before it is asked for, and the answer to that."""
        return self.patient(self._usual)

    @property
    def answers(self) -> float:
        """Seconds that the answer of a request may take: twice as many, since its connection may be a new one."""
        return self.patient(2 * self._usual)

    @property
    def _usual(self) -> float:
        return max(LEAST_PATIENCE, 4 * self._info.round_trip)

    def patient(self, seconds: float) -> float:
        """Return how long to wait for what usually takes less than so many seconds (RFC 6298 §5.5: back off).

        No longer than a share of the time for which the session is remembered: who waits through all of it on a
        connection that is dead has none left to come back by another.
        """
        most = max(LEAST_PATIENCE, self._session.link.options.resume / SHARE_OF_RESUME)
        return min(seconds * (1 << self._doubts), most)

    def doubt(self) -> None:
        """Note that an answer did not come in time: it may be lost, or the network may have turned slow."""
        self._doubts = min(MOST_DOUBTS, self._doubts + 1)

    def network_changed(self) -> None:
        """Forget what only the network before has shown."""
        self._doubts = 0
        self.idle.network_changed()

    def measured(self, seconds: float) -> None:
        """Note how long an answer took."""
        self._doubts = 0
        self._info.measured(seconds)

    @property
    def pause(self) -> float:
        """Seconds for which the server says nothing at most."""
        return min(self._heartbeat, self.idle.wish or self._heartbeat)

    def begun(self, now: float) -> None:
        """Note that a transport has begun to carry the session."""
        self._heard_at = self._active_at = now
        self._longest = 0.0
        self._unacked = self._asked_at = self._timed = None

    def said(self, now: float) -> bool:
        """Note that something leaves on the WebSocket; tell whether an ack is to be waited for from now on."""
        self._longest = max(self._longest, now - self._active_at)
        self._active_at = now
        if self._timed is None:
            self._timed = (self._session.link.outbox.last, now)
        if self._unacked is not None or not self._session.link.outbox:
            return False
        self._unacked = (self._session.link.outbox.confirmed, now)
        return True

    def look(self, now: float) -> None:
        """Ask for an ack that is late; drop the WebSocket that then stays silent (protocol §6)."""
        self._look_at_senders(now)
        seat = self._session.seat
        if seat is None or seat.name != "websocket":
            self._unacked = None
            return
        if seat.heard or self._session.crowded:  # while the application is behind, nothing is read: that is no silence
            seat.heard = False
            self._heard_at = self._active_at = now
            self._longest = 0.0
            self._asked_at = None
        outbox = self._session.link.outbox
        if self._timed and outbox.confirmed >= self._timed[0]:
            self._acked_within(now - self._timed[1])
            self._timed = None
        if not outbox:
            self._unacked = None
        elif self._unacked is None or self._unacked[0] != outbox.confirmed:
            self._unacked = (outbox.confirmed, now)
        silent = now - self._heard_at
        if self._asked_at is not None and now >= self._asked_at + self.patience:
            self._drop(seat, now, self._longest, f"{SILENCE} for {self.patience:.1f} s after a heartbeat")
        elif silent >= self._heartbeat + GRACE:
            self._drop(seat, now, max(self._longest, self.pause), f"{SILENCE} for {silent:.0f} s")
        elif self._asked_at is None and self._unacked and now >= self._unacked[1] + self.patience:
            # What a look came too late is not waited for once more.
            due = self._unacked[1] + self.patience
            self._asked_at = due if now - due < LOOK_EVERY else now
            seat.beat = True
            seat.wake()

    def _acked_within(self, seconds: float) -> None:
        """Note how long an ack took at most: who opened in a bad moment would else be too patient for ever."""
        if seconds < self._info.round_trip:
            self._info.measured(seconds)

    def _drop(self, seat: Seat, now: float, silent: float, reason: str) -> None:
        self.idle.died(now, silent)
        self._longest, self._active_at = 0.0, now
        seat.cut(reason)

    def broke(self, now: float) -> None:
        """Note that the WebSocket broke, and that nobody has said why."""
        self.idle.died(now, max(self._longest, now - self._active_at))

    def fell_silent(self, now: float, silent: float) -> None:
        """Note that a poll or a stream broke, or had to be given up, after so long without a byte."""
        self.idle.died(now, min(silent, self.pause))

    def _look_at_senders(self, now: float) -> None:
        """Send those away who have waited for room for `send_timeout` without any progress."""
        confirmed = self._session.link.outbox.confirmed
        if not self._session.senders:
            self._stuck = None
        elif self._stuck is None or self._stuck[0] != confirmed:
            self._stuck = (confirmed, now)
        elif now - self._stuck[1] >= self._session.link.options.send_timeout:
            self._stuck = None
            self._session.stall()

    def next_look(self, now: float) -> float:
        """Return when something is due here at the latest: soon only while an answer or room is waited for."""
        waited_for = self._asked_at if self._asked_at is not None else self._unacked and self._unacked[1]
        if waited_for is not None:
            return min(now + LOOK_EVERY, max(waited_for + self.patience, now))
        return now + LOOK_EVERY if self._session.senders else self._heard_at + self._heartbeat + GRACE
