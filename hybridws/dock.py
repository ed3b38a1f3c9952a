"""Where a session's transports come and go: who has the seat, who is on trial, who had it before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hybridws.core import codes
from hybridws.errors import Superseded
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


class Dock:
    """The transports of one session: at most one has the seat, and at most one is on trial for it."""

    __slots__ = ("_clock", "attaches", "n", "seat", "stays", "trial")

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start with nobody attached; `clock` tells the wall-clock time."""
        self._clock = clock
        self.attaches = 0
        """How often a transport has taken the seat."""
        self.n = 0
        """The newest attach counter that the client has named (protocol §5)."""
        self.seat: Seat | None = None
        self.trial: Seat | None = None
        self.stays: list[Stay] = []
        """The transports so far, the newest last; several attaches of one kind in a row are one stay."""

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
            self.trial = seat
        else:
            self._take(seat)
        return seat

    def promote(self, seat: Seat) -> None:
        """Let the one on trial take the seat: it has shown that it hears and is heard."""
        if self.trial is seat:
            self.trial = None
            seat.lane.on_trial = False
            self._take(seat)
            seat.wake()

    def _take(self, seat: Seat) -> None:
        self.vacate("superseded", codes.SUPERSEDED)
        self.seat = seat
        self.attaches += 1
        if self.stays and self.stays[-1].name == seat.name:
            self.stays[-1].until, self.stays[-1].reason = None, ""
        else:
            self.stays.append(Stay(seat.name, self._clock()))
            del self.stays[:-MAX_HISTORY]

    def leave(self, seat: Seat, reason: str) -> bool:
        """Let a transport go; tell whether it had the seat."""
        if self.trial is seat:
            self._end_trial(reason)
        if self.seat is not seat:
            return False
        self.vacate(reason)
        return True

    def vacate(self, reason: str, code: int = codes.ABNORMAL) -> None:
        """Take the seat from whoever has it; `code` is what a WebSocket is closed with (1006: it is cut)."""
        seat, self.seat = self.seat, None
        if seat:
            self.stays[-1].until, self.stays[-1].reason = self._clock(), reason
            seat.release(code, reason)

    def _end_trial(self, reason: str) -> None:
        seat, self.trial = self.trial, None
        if seat:
            seat.release(codes.SUPERSEDED, reason)

    def clear(self, reason: str, code: int = codes.ABNORMAL) -> None:
        """Let everybody go."""
        self._end_trial(reason)
        self.vacate(reason, code)
