"""How long to wait before trying again: twice as long each time, and anywhere up to that, so that crowds spread out."""

from __future__ import annotations

from typing import Final

LOWEST: Final = 0.5
"""Seconds that the first wait takes at most: long enough not to hammer a server that is just starting."""
HIGHEST: Final = 20.0
"""Seconds that any wait takes at most: what a person waits before reloading the page."""


class Backoff:
    """Waits with full jitter: the first try again is at once, then 0 to 0.5 s, 0 to 1 s ... 0 to 20 s."""

    __slots__ = ("_failures",)

    def __init__(self) -> None:
        """Start without a failure."""
        self._failures = 0

    def succeeded(self) -> None:
        """Forget all failures."""
        self._failures = 0

    def failed(self, chance: float) -> float:
        """Count a failure, and return the seconds to wait; `chance` is a random number from 0 to 1."""
        self._failures += 1
        if self._failures == 1:
            return 0.0
        return chance * min(HIGHEST, LOWEST * 2.0 ** (self._failures - 2))
