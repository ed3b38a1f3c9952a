"""What the tests of the runner share: servers as processes, which end with the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.run import stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from aiohttp import web


@pytest.fixture
async def in_front() -> AsyncIterator[Callable[..., Awaitable[stage.Served]]]:
    """Serve applications with our own runner in this process; they end with the test."""
    served: list[stage.Served] = []

    async def begin(app: web.Application, **settings: object) -> stage.Served:
        served.append(await stage.Served.begin(app, **settings))
        return served[-1]

    yield begin
    for one in served:
        await one.end()


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[stage.Process]]]:
    """Start Python with some arguments, and variables of the environment by name."""
    processes: list[stage.Process] = []

    async def begin(*arguments: str, **variables: str) -> stage.Process:
        processes.append(await stage.start(tmp_path, *arguments, **variables))
        return processes[-1]

    yield begin
    for one in processes:
        if one.process.returncode is None:
            one.process.kill()
        await one.process.communicate()
