"""Where a session's transports come and go: who has the seat, who is on trial, who had it before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hybridws.core import codes
from hybridws.errors import Superseded
from hybridws.events import Attached, Events, Failed, Left, Resumed, Tried
from hybridws.seat import Seat

if TYPE_CHECKING:
    from collections.abc import Callable

    from hybridws.session import Session

MAX_HISTORY: Final = 32
"""Changes of transport that a session remembers: enough for a day of a laptop, little for a client that flaps."""


@dataclass(slots=True)
class Stay:
    """One stretch of a session's life over one transport; times are in seconds since the epoch."""

    name: str
    since: float
    until: float | None = None
    reason: str = ""
    """Why it ended; empty while it goes on."""
    attaches: int = 1
    """Requests or connections that it was made of."""
    broken: bool = False
    """It did not end in order, so that what comes next begins a new stay, also one of the same kind."""


class Dock:
    """The transports of one session: at most one has the seat, and at most one is on trial for it."""

    __slots__ = ("_clock", "_events", "attaches", "n", "seat", "stays", "trial")

    def __init__(self, clock: Callable[[], float], events: Events) -> None:
        """Start with nobody attached; `clock` tells the wall-clock time, `events` is told who comes and goes."""
        self._clock = clock
        self._events = events
        self.attaches = 0
        """How often a transport has taken the seat."""
        self.n = 0
        """The newest attach counter that the client has named (protocol §5)."""
        self.seat: Seat | None = None
        self.trial: Seat | None = None
        self.stays: list[Stay] = []
        """The transports so far, the newest last; attaches of one kind, one after the other in order, are one stay."""

    def number(self, n: int) -> None:
        """Note the attach counter of a newcomer. Raises Superseded for one older than the attached transport.

        The same number again is the same request repeated by a browser or a proxy: it takes the first's place.
        """
        if n < self.n:
            raise Superseded(f"attach {n} is older than the one that moves this session", {"n": self.n})
        self.n = n

    def attach(self, session: Session, name: str, wake: Callable[[], None], *, trial: bool = False) -> Seat:
        """Give a newcomer the seat; or, while another has it and the newcomer asks for a `trial`, let it wait."""
        seat = Seat(session, name, session.link.lane(), wake)
        if trial and self.seat:
            self._end_trial("a newer WebSocket is on trial")
            seat.lane.on_trial = True
            seat.ask()  # it is told our ack, and takes the seat when it has answered
            self.trial = seat
            if self._events.observers:
                self._events.tell(Tried(session, name))
        else:
            self._take(session, seat)
        return seat

    def promote(self, seat: Seat) -> None:
        """Let the one on trial take the seat: it has shown that it hears and is heard."""
        if self.trial is seat and seat.session:
            self.trial = None
            seat.lane.on_trial = False
            self._take(seat.session, seat)
            seat.wake()

    def _take(self, session: Session, seat: Seat) -> None:
        # Of two polls at once the second is a repeat, or the client's next; of two connections the first was lost.
        again = self.seat is not None and self.seat.name == seat.name == "poll"
        self.vacate("superseded", codes.SUPERSEDED, broken=not again)
        self.seat = seat
        self.attaches += 1
        before = self.stays[-1] if self.stays else None
        if before and before.name == seat.name and not before.broken:
            before.until, before.reason = None, ""
            before.attaches += 1
            return
        stay = Stay(seat.name, self._clock())
        self.stays.append(stay)
        del self.stays[:-MAX_HISTORY]
        if self._events.observers:
            self._events.tell(Attached(session, stay, before))
            if before and before.broken and before.until is not None and before.reason != "superseded":
                self._events.tell(Resumed(session, max(stay.since - before.until, 0.0)))

    def leave(self, seat: Seat, reason: str, *, broken: bool = True) -> bool:
        """Let a transport go, in order or since it is `broken`; tell whether it had the seat."""
        if self.trial is seat:
            self._end_trial(reason)
        if self.seat is not seat:
            return False
        self.vacate(reason, broken=broken)
        return True

    def vacate(self, reason: str, code: int = codes.ABNORMAL, *, broken: bool = True) -> None:
        """Take the seat from whoever has it; `code` is what a WebSocket is closed with (1006: it is cut)."""
        seat, self.seat = self.seat, None
        if seat:
            stay = self.stays[-1]
            stay.until, stay.reason, stay.broken = self._clock(), reason, broken
            if broken and self._events.observers and seat.session:
                self._events.tell(Left(seat.session, stay))
            seat.release(code, reason)

    def _end_trial(self, reason: str) -> None:
        seat, self.trial = self.trial, None
        if seat:
            if self._events.observers and seat.session:
                self._events.tell(Failed(seat.session, seat.name, reason))
            seat.release(codes.SUPERSEDED, reason)

    def clear(self, reason: str, code: int = codes.ABNORMAL) -> None:
        """Let everybody go."""
        self._end_trial(reason)
        self.vacate(reason, code)
