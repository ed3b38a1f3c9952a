"""A clock that waits for nothing: an event loop whose time moves only when nothing is ready to run.

    with asyncio.Runner(loop_factory=scripted_loop) as runner:
        runner.run(main())                     # an `asyncio.sleep(3600)` in it takes no time at all

Timers ring in the same order and at the same times as on a real loop, so a heartbeat of 20 s is seen in milliseconds.

What it cannot do: wait for the world outside. A socket, a pipe, a subprocess or a thread is slower than this clock:
what is ready is served first, but time leaps over what is not, and a timeout around it strikes at once. It is for what
happens in memory (`talk`, sessions, links); for sockets use real time. Only the loop's own time is scripted:
`time.time()` and `time.monotonic()` go on as ever.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

START: Final = 1000.0
"""What the clock shows at first; not 0, which would hide a time that was forgotten."""
PATIENCE: Final = 5.0
"""Real seconds that a loop without a timer waits for a thread or a socket before it is given up."""


class Stuck(RuntimeError):
    """Nothing is ready, no timer is set, and nothing came from outside: what still waits would wait for ever."""


class Clock:
    """The time of one scripted loop, or of several, one after the other."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        """Start at START."""
        self.now = START
        """Seconds; set it forward to let a leap happen, such as a laptop's sleep."""

    def __repr__(self) -> str:
        """Tell the time."""
        return f"<Clock {self.now - START:g} s after its start>"

    def loop(self) -> asyncio.AbstractEventLoop:
        """Make a loop that goes by this clock."""
        return ScriptedLoop(self)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on a loop of its own, and return its result. Raises Stuck, and what the coroutine raises."""
        with asyncio.Runner(loop_factory=self.loop) as runner:
            return runner.run(work)


def scripted_loop() -> asyncio.AbstractEventLoop:
    """Make a loop with a clock of its own: for `asyncio.Runner(loop_factory=scripted_loop)`."""
    return Clock().loop()


class ScriptedLoop(asyncio.SelectorEventLoop):
    """A loop that asks a Clock for the time, and moves it on instead of waiting."""

    def __init__(self, clock: Clock) -> None:
        """Go by `clock`."""
        self._clock = clock
        super().__init__(LeapingSelector(clock))

    def time(self) -> float:
        """Tell the scripted time."""
        return self._clock.now


class LeapingSelector(selectors.DefaultSelector):
    """A selector that looks what is ready, and where it should wait, lets the clock leap."""

    def __init__(self, clock: Clock) -> None:
        """Move `clock`."""
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; with a timeout and nothing ready, let it pass. Raises Stuck."""
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is not None:
            self._clock.now += timeout
            return ready
        ready = super().select(PATIENCE)
        if not ready:
            raise Stuck(f"nothing is ready and no timer is set at {self._clock!r}: {_waiting()}")
        return ready


def _waiting() -> str:
    """Tell which tasks there are."""
    names = [f"{task.get_name()} ({task.get_coro()!r})" for task in asyncio.all_tasks()]
    return "these tasks wait for what will not come: " + ", ".join(sorted(names))
