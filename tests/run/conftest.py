"""What the tests of the runner share: servers as processes, which end with the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.run import stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path


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
