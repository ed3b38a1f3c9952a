"""What all tests share: a server on a real socket, the seed of the run, and a look for what was left behind."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import random
import socket
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from hypothesis import HealthCheck, Phase, settings

from hybridws.run.process import find_loop
from hybridws.testing.proxy import stop_accepting
from tests.run.stage import Served
from tests.ways import DIRECT, FRONT, LOOP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

SEED = int(os.environ.get("HYBRIDWS_TEST_SEED") or random.SystemRandom().randrange(10**6))
"""Chooses the sample of every large table; HYBRIDWS_TEST_SEED=n makes a run choose the same again."""

os.environ["HYBRIDWS_TEST_SEED"] = str(SEED)  # so that all of xdist's workers choose the same sample

# A busy machine takes its time, and that is no fault of what is tested: bounds in time are those of tests.
settings.register_profile("hybridws", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# A mutant need only be found, not understood, and most are found by the first examples.
settings.register_profile(
    "mutant", settings.get_profile("hybridws"), phases=(Phase.explicit, Phase.generate), max_examples=25
)
settings.load_profile("mutant" if os.environ.get("HYBRIDWS_MUTANT") else "hybridws")

SETTLE = 5.0
"""Seconds that tasks and sessions may take to end after a test."""


def pytest_report_header() -> str:
    """Print the seed, so that a failing sample can be run again, and the way in which servers are run."""
    ways = f"HYBRIDWS_LOOP={LOOP} HYBRIDWS_DIRECT={DIRECT:d} HYBRIDWS_FRONT={FRONT:d}"
    return f"sample seed: HYBRIDWS_TEST_SEED={SEED}, way: {ways}"


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Let pytest-asyncio make the loop that was asked for, or both for tests that are marked so."""
    loops = ("asyncio", "uvloop") if item.get_closest_marker("both_loops") else (LOOP,)
    return {loop: find_loop(loop) or asyncio.new_event_loop for loop in loops}


@pytest.hookimpl(trylast=True)  # so that what -k leaves out is not chosen
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give async tests their look for tasks; run a sample of those marked `matrix`, or all (HYBRIDWS_TEST_ALL=1)."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.fixturenames.insert(0, "nothing_left")
    if os.environ.get("HYBRIDWS_TEST_ALL"):
        return
    left_out = sampled_out(items)
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=list(left_out))


def sampled_out(items: list[pytest.Item]) -> set[pytest.Item]:
    """Choose what is left out of the large tables: of each at least one cell is left, and those that are asked for."""
    tables: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("matrix"):
            tables.setdefault(item.nodeid.partition("[")[0], []).append(item)
    left_out: set[pytest.Item] = set()
    for name, cells in tables.items():
        mark = cells[0].get_closest_marker("matrix")
        one_in = mark.kwargs.get("one_in", 4) if mark else 1
        kept = -(-len(cells) // one_in)
        left_out.update(random.Random(f"{SEED} {name}").sample(cells, len(cells) - kept))
    return left_out


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """Start applications as production does, and give their addresses, `http://127.0.0.1:port`.

    It is aiohttp's `AppRunner` on a real socket, with its default settings unless others are given; all end with the
    test. (aiohttp's TestServer cancels handlers whose client has left, which no default server does.) With
    HYBRIDWS_FRONT=1 it is our own runner, unless there are options for aiohttp's.
    """
    runners: list[web.AppRunner] = []
    listeners: list[socket.socket] = []
    ours: list[Served] = []

    async def start(app: web.Application, **runner_options: object) -> str:
        if FRONT and not runner_options:
            ours.append(await Served.begin(app, shutdown_timeout=0.5))
            return ours[-1].url
        runner = web.AppRunner(app, **runner_options)  # type: ignore[arg-type]
        await runner.setup()
        runners.append(runner)
        listeners.append(socket.create_server(("127.0.0.1", 0)))
        await web.SockSite(runner, listeners[-1]).start()
        host, port = runner.addresses[0][:2]
        return f"http://{host}:{port}"

    yield start
    for one in ours:
        await one.end()
    await stop_accepting(listeners)
    for runner in runners:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def no_errors(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test at which an error was logged, unless it says that it expects that."""
    yield
    if not request.node.get_closest_marker("logs_errors"):
        errors = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
        assert not errors, f"errors were logged: {[record.getMessage() for record in errors]}"


@pytest.fixture
async def nothing_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task behind; every async test is given this (`pytest_collection_modifyitems`)."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=SETTLE)
    assert not left, f"tasks were left behind: {left}"
