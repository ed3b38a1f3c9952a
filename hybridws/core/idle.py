"""How much silence a network bears: learned from connections that died of it. Pure: it is told the time.

Balancers and firewalls forget a connection on which nothing was said for some time. Nobody tells how long that is, so a
client takes the second death after the same silence for a limit, and asks to be spoken to before it from then on.
"""

from __future__ import annotations

from typing import Final

LEAST: Final = 2.0
"""Seconds of silence that can be asked for at least (`min_heartbeat`), and that a death must follow to be for it."""
PART: Final = 0.6
"""The part of the limit after which something is asked for: room for a clock that is coarse, and a slow link."""
ALIKE: Final = 0.75
"""Two silences are the same limit if the shorter is this part of the longer: a limit that is looked at now and then."""
SPAN: Final = 300.0
"""Seconds within which the second death must follow; chance, such as a train in a tunnel, is rarer or less regular."""


class Idle:
    """What one client knows of the silence that kills its connections."""

    __slots__ = ("_at", "_silent", "wish")

    def __init__(self) -> None:
        """Know nothing."""
        self.wish: float | None = None
        """Seconds of silence after which something should be said; None as long as nothing is known."""
        self._at = 0.0
        self._silent: float | None = None

    def died(self, now: float, silent: float) -> None:
        """Note that a connection died on which nothing had been said, either way, for `silent` seconds."""
        if silent < LEAST:
            return
        before, self._silent = self._silent, silent
        expired, self._at = now - self._at > SPAN, now
        if before is None or expired or min(before, silent) < ALIKE * max(before, silent):
            return
        self._silent = None  # a smaller limit has to show itself twice as well
        wish = max(PART * min(before, silent), LEAST)
        self.wish = wish if self.wish is None else min(wish, self.wish)

    def network_changed(self) -> None:
        """Forget what was learned: this may be another network."""
        self.wish = self._silent = None
