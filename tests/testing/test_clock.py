"""The scripted clock: hours pass in no time, in their order, and what waits for ever is found."""

from __future__ import annotations

import asyncio
import time

import pytest

from hybridws.testing import Clock, Stuck, scripted_loop
from hybridws.testing.clock import START


def test_time_passes_only_when_nothing_is_ready() -> None:
    """A sleep of an hour takes no time, and the loop's clock shows an hour more."""

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        times = [loop.time()]
        await asyncio.sleep(0)
        times.append(loop.time())
        await asyncio.sleep(3600)
        times.append(loop.time())
        return times

    begun = time.monotonic()
    assert Clock().run(main()) == [START, START, START + 3600]
    assert time.monotonic() - begun < 60


def test_timers_ring_in_their_order_and_at_their_time() -> None:
    """Whatever is planned, in whatever order, happens when it should."""

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        rung: list[float] = []

        async def wait(delay: float) -> None:
            await asyncio.sleep(delay)
            rung.append(round(loop.time() - START, 6))

        await asyncio.gather(*map(wait, (20, 0.25, 100_000, 20.5, 1)))
        return rung

    assert Clock().run(main()) == [0.25, 1, 20, 20.5, 100_000]


def test_a_timeout_strikes_in_scripted_time() -> None:
    """`asyncio.timeout` and `wait_for` go by the same clock."""

    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(25):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert Clock().run(main()) == START + 25


def test_the_clock_can_be_set_forward() -> None:
    """A leap, as when a laptop sleeps, makes all timers due that lie in it."""
    clock = Clock()

    async def main() -> None:
        sleeper = asyncio.create_task(asyncio.sleep(500))
        await asyncio.sleep(0)
        clock.now += 1000
        await sleeper
        assert clock.now == START + 1000

    clock.run(main())
    assert repr(clock) == "<Clock 1000 s after its start>"


def test_it_goes_on_where_it_was() -> None:
    """Two runs by one clock follow each other."""
    clock = Clock()
    clock.run(asyncio.sleep(5))
    clock.run(asyncio.sleep(5))
    assert clock.now == START + 10


def test_it_is_a_loop_factory() -> None:
    """`scripted_loop` is what asyncio.Runner takes."""
    with asyncio.Runner(loop_factory=scripted_loop) as runner:
        runner.run(asyncio.sleep(86400))
        assert runner.get_loop().time() == START + 86400


def test_a_thread_is_waited_for_where_no_timer_is_set() -> None:
    """A thread's answer still comes, though the clock does not know of it."""

    async def main() -> str:
        return await asyncio.to_thread(str, 5)

    assert Clock().run(main()) == "5"


def test_what_waits_for_ever_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadlock ends in an error that names the tasks that wait, instead of a test that hangs."""
    monkeypatch.setattr("hybridws.testing.clock.PATIENCE", 0.05)

    async def forgotten() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.create_task(forgotten(), name="the forgotten one")

    with pytest.raises(Stuck, match=r"wait for what will not come: .*the forgotten one"):
        Clock().run(main())
