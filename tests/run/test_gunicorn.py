"""gunicorn's aiohttp worker: a real master, a real worker, and a SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, Final

import pytest
from aiohttp import ClientConnectionError, ClientSession

from tests.run import clients, stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LIMIT: Final = 10.0
"""Seconds from SIGTERM to the end of the process: what is promised."""
TOLD: Final = 1012
OPTIONS: Final = ("--worker-class", "aiohttp.GunicornWebWorker", "--workers", "1", "--no-control-socket")


@pytest.fixture
async def gunicorn(tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[tuple[stage.Process, str]]:
    """Start gunicorn with one worker that serves the application of the stage."""
    where = f"127.0.0.1:{unused_tcp_port}"
    (tmp_path / "served.py").write_text("from stage_app import make\napp = make()\n")
    process = await stage.start(tmp_path, "-m", "gunicorn", *OPTIONS, "--bind", where, "served:app")
    await process.said("Booting worker")
    url = f"http://{where}"
    async with asyncio.timeout(stage.PATIENCE), ClientSession() as http:
        while True:
            with contextlib.suppress(ClientConnectionError):
                async with http.get(url) as answer:
                    if answer.status == 200:
                        break
            await asyncio.sleep(0.05)
    yield process, url
    if process.process.returncode is None:
        process.process.terminate()
    await process.process.communicate()


async def test_sigterm_under_gunicorn(gunicorn: tuple[stage.Process, str]) -> None:
    """WebSockets, streams and parked polls are told 1012, and the process is gone within 10 s.

    gunicorn's worker lets nobody in from the signal on: who is between two polls, or has still to ack, finds the door
    shut, and tries again until the next process listens.
    """
    process, url = gunicorn
    kinds = [kind for kind in clients.KINDS if kind is not clients.pausing]
    ready = 0

    def count() -> None:
        nonlocal ready
        ready += 1

    async with ClientSession() as http:
        lives = [
            asyncio.create_task(kind(http, f"{url}/echo", f"n{number}", count)) for number, kind in enumerate(kinds)
        ]
        async with asyncio.timeout(stage.PATIENCE):
            while ready < len(kinds):  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        process.stop(signal.SIGTERM)
        assert await process.ended(LIMIT) == 0
        codes = dict(zip((kind.__name__ for kind in kinds), await asyncio.gather(*lives), strict=True))
    assert codes == dict.fromkeys(codes, TOLD)
    assert "Traceback" not in process.log
