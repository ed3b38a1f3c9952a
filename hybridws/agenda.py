"""Turns of the event loop: what is written when one ends, what is due some time later, and coroutines without a task.

Everything that a turn produces for a connection leaves in one write: whoever has something to write says so here, and
is called when the turn is over.
"""

from __future__ import annotations

import asyncio
import logging
from types import coroutine
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterable

log = logging.getLogger("hybridws")

SLOT: Final = 0.002
"""Seconds: what is due within the same slot shares one timer, and is done at most so much late."""


class Agenda:
    """What is to be done at the end of this turn of the loop, and what some time later."""

    __slots__ = ("_slots", "_soon")

    def __init__(self) -> None:
        """Start with nothing to do."""
        self._soon: list[Callable[[], None]] = []
        self._slots: dict[int, dict[Callable[[], None], None]] = {}

    def now(self) -> float:
        """Tell the loop's time, in monotonic seconds."""
        return asyncio.get_running_loop().time()

    def soon(self, call: Callable[[], None]) -> None:
        """Have this called once the turn is over."""
        if not self._soon:
            asyncio.get_running_loop().call_soon(self._end)
        self._soon.append(call)

    def _end(self) -> None:
        calls, self._soon = self._soon, []
        _call_all(calls)

    def later(self, delay: float, call: Callable[[], None]) -> int:
        """Have this called `delay` seconds from now, if nobody takes it back; return what `drop` needs.

        All that is due within the same slot shares a timer.
        """
        loop = asyncio.get_running_loop()
        slot = int((loop.time() + delay) / SLOT) + 1
        calls = self._slots.get(slot)
        if calls is None:
            calls = self._slots[slot] = {}
            loop.call_at(slot * SLOT, self._due, slot)
        calls[call] = None
        return slot

    def drop(self, slot: int, call: Callable[[], None]) -> None:
        """Take back what `later` was asked; nothing happens if it was done already."""
        calls = self._slots.get(slot)
        if calls is not None:
            calls.pop(call, None)

    def _due(self, slot: int) -> None:
        _call_all(self._slots.pop(slot))


def _call_all(calls: Iterable[Callable[[], None]]) -> None:
    """Call each, whatever another does: they belong to different sessions."""
    for call in calls:
        try:
            call()
        except Exception:
            log.exception("%r failed", call)


def begin(coro: Coroutine[Any, Any, None], keep: set[asyncio.Task[None]]) -> None:
    """Run a coroutine at once, and make it a task only where it has to wait; `keep` then holds the task.

    Most requests are dealt with without a wait, and a task would cost more than all the rest of them. Python 3.12 has
    eager tasks for this, but 3.11 does not. Until its first wait the coroutine runs in no task: what asks for the
    current one (`asyncio.timeout`) must come after a wait, and `become_task` is one.
    """
    try:
        waited = coro.send(None)
    except StopIteration:
        return
    task = asyncio.get_running_loop().create_task(_go_on(coro, waited))
    keep.add(task)
    task.add_done_callback(keep.discard)


async def _go_on(coro: Coroutine[Any, Any, None], waited: object) -> None:
    await _resume(coro, waited)


@coroutine
def _resume(coro: Coroutine[Any, Any, None], waited: object) -> Generator[Any, Any, None]:
    """Go on with a coroutine that waits for `waited`."""
    while True:
        sent, caught = None, None
        try:
            sent = yield waited
        except BaseException as error:  # noqa: BLE001 - whatever is thrown at the task is the coroutine's to deal with
            caught = error
        try:
            waited = coro.send(sent) if caught is None else coro.throw(caught)
        except StopIteration:
            return


async def become_task() -> None:
    """Let go once, so that what comes next runs in a task (see `begin`)."""
    await asyncio.sleep(0)
