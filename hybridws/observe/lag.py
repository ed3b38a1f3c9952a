"""How late the event loop is: one timer that looks when it was called."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY: Final = 0.25
"""Seconds between two looks: often enough that a longer stall is always seen, and four a second cost nothing."""


class LoopLag:
    """Tells four times a second by how many seconds the loop was late."""

    __slots__ = ("_due", "_tell", "_timer")

    def __init__(self, tell: Callable[[float], object]) -> None:
        """Have each look told; it begins with `start`."""
        self._tell = tell
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, in the running loop."""
        self._plan(asyncio.get_running_loop())

    def stop(self) -> None:
        """Look no more."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + EVERY
        self._timer = loop.call_at(self._due, self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._tell(max(loop.time() - self._due, 0.0))
        self._plan(loop)
