"""Counts numbered messages as they come: which were lost, which came twice, which out of order. Knows nothing else."""

from __future__ import annotations

from typing import Final

MAX_MISSING: Final = 10_000
"""Numbers that are remembered as missing: more of them cannot be told apart any more, and need not be."""


class Tally:
    """What has come of messages that are numbered from 1."""

    __slots__ = ("_missing", "came", "highest", "late", "lost", "twice")

    def __init__(self) -> None:
        """Begin before the first message."""
        self.highest = 0
        """The highest number so far."""
        self.came = 0
        """Messages that came, each counted once."""
        self.twice = 0
        """Messages that had come before."""
        self.late = 0
        """Messages that came after a higher number."""
        self.lost = 0
        """Messages that were skipped and have not come since."""
        self._missing: set[int] = set()

    def take(self, number: int) -> None:
        """Count a message."""
        if number > self.highest:
            self._skip(number)
            self.highest = number
            self.came += 1
        elif number in self._missing:
            self._missing.remove(number)
            self.lost -= 1
            self.late += 1
            self.came += 1
        else:
            self.twice += 1

    def _skip(self, number: int) -> None:
        """Note as lost what should have come before this number."""
        gap = range(self.highest + 1, number)
        self.lost += len(gap)
        self._missing.update(gap[: max(MAX_MISSING - len(self._missing), 0)])

    def __repr__(self) -> str:
        """Tell it in a line."""
        return f"<Tally {self.came} came, {self.lost} lost, {self.twice} twice, {self.late} out of order>"
