"""Turns of the event loop: what is written when one ends, and what is due some time later.

Everything that a turn produces for a connection leaves in one write: whoever has something to write says so here, and
is called when the turn is over. Where a broadcast gives thousands something to write, some are called at the end of
each turn, so that who reads, and what is due, need not wait for all of them.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

log = logging.getLogger("hybridws")

SLOT: Final = 0.002
"""Seconds: what is due within the same slot shares one timer, and is done at most so much late ..."""
SHARE: Final = 1000
"""... or so small a part of its delay: a timer stays when all that waited for it was taken back."""
AT_ONCE: Final = 200
"""Calls at the end of one turn, of those that it asked for, and again of those left over: some milliseconds' worth.
So one answer is not held up by a broadcast, nor a broadcast by many answers."""


class Agenda:
    """What is to be done at the end of this turn of the loop, and what some time later."""

    __slots__ = ("_behind", "_slots", "_soon", "turn")

    def __init__(self) -> None:
        """Start with nothing to do."""
        self.turn = 0
        """Counts the turns that asked for anything: who has asked in this one need not ask again."""
        self._soon: list[Callable[[], None]] = []
        self._behind: dict[Callable[[], None], None] = {}  # what turns before had no time for, oldest first
        self._slots: dict[float, dict[Callable[[], None], None]] = {}  # by the time at which each ends

    def now(self) -> float:
        """Tell the loop's time, in monotonic seconds."""
        return asyncio.get_running_loop().time()

    def soon(self, call: Callable[[], None]) -> None:
        """Have this called once the turn is over, or some turns later if too many ask for that."""
        if not (self._soon or self._behind):
            asyncio.get_running_loop().call_soon(self._end)
        self._soon.append(call)

    def _end(self) -> None:
        calls, self._soon = self._soon, []
        self.turn += 1
        if self._behind or len(calls) > AT_ONCE:
            calls = self._some_of(calls)
        _call_all(calls)

    def _some_of(self, calls: list[Callable[[], None]]) -> list[Callable[[], None]]:
        """Return what is called at the end of this turn; the next one ends with more of it."""
        older = list(islice(self._behind, AT_ONCE))
        for call in older:
            del self._behind[call]
        self._behind.update(dict.fromkeys(calls[AT_ONCE:]))
        if self._behind:
            asyncio.get_running_loop().call_soon(self._end)
        return calls[:AT_ONCE] + older

    def later(self, delay: float, call: Callable[[], None]) -> float:
        """Have this called `delay` seconds from now, if nobody takes it back; return what `drop` needs.

        All that is due within the same slot shares a timer.
        """
        loop = asyncio.get_running_loop()
        size = max(SLOT, delay / SHARE)
        slot = (int((loop.time() + delay) / size) + 1) * size
        calls = self._slots.get(slot)
        if calls is None:
            calls = self._slots[slot] = {}
            loop.call_at(slot, self._due, slot)
        calls[call] = None
        return slot

    def drop(self, slot: float, call: Callable[[], None]) -> None:
        """Take back what `later` was asked; nothing happens if it was done already."""
        calls = self._slots.get(slot)
        if calls is not None:
            calls.pop(call, None)

    def _due(self, slot: float) -> None:
        _call_all(self._slots.pop(slot))


def _call_all(calls: Iterable[Callable[[], None]]) -> None:
    """Call each, whatever another does: they belong to different sessions."""
    for call in calls:
        try:
            call()
        except Exception:
            log.exception("%r failed", call)
