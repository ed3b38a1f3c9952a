"""Which transport to try, and when: what a client has learned of its network. Pure: it is told the time.

A better transport than the one in use is tried again and again, and never trusted for having opened: some boxes let a
WebSocket open and then pass nothing, or cut it a moment later. What keeps dying is put in quarantine, longer each time,
until the network changes.
"""

from __future__ import annotations

from typing import Final

PROOF: Final = 5.0
"""Seconds within which an attach must be answered."""
TRUST: Final = 5.0
"""Seconds of life after which a transport is trusted."""
EARLY_DEATHS: Final = 2
"""Deaths before trust ..."""
EARLY_SPAN: Final = 60.0
"""... within so many seconds, or ..."""
LATE_DEATHS: Final = 3
"""... deaths at any age ..."""
LATE_SPAN: Final = 300.0
"""... within so many seconds, put a transport in quarantine."""
FIRST_QUARANTINE: Final = 60.0
LONGEST_QUARANTINE: Final = 1800.0
RETRIES: Final = ((120.0, 10.0), (720.0, 30.0))
"""Until so long after the fall a better transport is tried every so often ..."""
LAST_RETRY: Final = 300.0
"""... and every so often from then on."""


class Rung:
    """One transport above the last resort: how it has fared, and when it is tried next."""

    __slots__ = ("_deaths", "_early", "_fell_at", "_next_try", "_quarantine", "_until")

    def __init__(self) -> None:
        """Start with a transport that may be tried at once."""
        self._deaths: list[float] = []
        self._early: list[float] = []
        self._fell_at: float | None = None
        self._next_try = 0.0
        self._quarantine = FIRST_QUARANTINE
        self._until = 0.0

    def due_at(self) -> float:
        """Return when it should be tried next, in monotonic seconds; a time in the past is now."""
        return max(self._next_try, self._until)

    def quarantined(self, now: float) -> bool:
        """Tell whether it keeps dying and is left alone for a while."""
        return now < self._until

    def failed(self, now: float, chance: float) -> None:
        """Note that it could not be used; `chance` is a random number from 0 to 1."""
        if self._fell_at is None:
            self._fell_at = now
        fallen_for = now - self._fell_at
        every = next((every for span, every in RETRIES if fallen_for < span), LAST_RETRY)
        self._next_try = now + every * (0.9 + 0.2 * chance)

    def proved(self) -> None:
        """Note that it is in use."""
        self._fell_at = None

    def died(self, now: float, lived: float, *, explained: bool, chance: float) -> None:
        """Note that it was in use for `lived` seconds and broke.

        `explained`: silence, a server that goes away (1001) or restarts (1012) says nothing about the network.
        """
        if explained:
            self._next_try = now
            return
        if lived < TRUST:
            self._early = [then for then in self._early if now - then < EARLY_SPAN] + [now]
        self._deaths = [then for then in self._deaths if now - then < LATE_SPAN] + [now]
        if len(self._early) >= EARLY_DEATHS or len(self._deaths) >= LATE_DEATHS:
            self._early.clear()
            self._deaths.clear()
            self._until = now + self._quarantine
            self._quarantine = min(self._quarantine * 2, LONGEST_QUARANTINE)
            self._fell_at = now
            self._next_try = self._until + chance
        else:
            self._next_try = now

    def network_changed(self, now: float) -> None:
        """Forget what was learned: this may be another network."""
        self._deaths.clear()
        self._early.clear()
        self._until = now
        self._next_try = now
        self._quarantine = FIRST_QUARANTINE
        self._fell_at = None


class Ladder:
    """The transports that a client may use, the best first, and what it knows of each."""

    __slots__ = ("order", "rungs")

    def __init__(self, order: tuple[str, ...]) -> None:
        """Start on an unknown network; `order` is the names from best to last resort."""
        self.order: Final = order
        self.rungs: Final = {name: Rung() for name in order}

    def due(self, now: float) -> list[str]:
        """Return the transports that may be tried now, the best first; the last resort always may."""
        return [name for name in self.order if name == self.order[-1] or self.rungs[name].due_at() <= now]

    def next_due(self, above: str | None, now: float) -> float | None:
        """Return when the next transport that is better than `above` may be tried; None if there is none."""
        better = self.order[: self.order.index(above)] if above in self.order else self.order
        times = [self.rungs[name].due_at() for name in better]
        return max(min(times), now) if times else None

    def network_changed(self, now: float) -> None:
        """Try everything again."""
        for rung in self.rungs.values():
            rung.network_changed(now)
