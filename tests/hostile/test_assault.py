"""The whole corpus of hostile input against a running server: it lives, answers each in time, and logs no fault."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from hybridws.cli.torture.assault import Front, assaults
from hybridws.cli.torture.dialects import DIALECTS
from hybridws.testing import hostile
from tests.run import stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")

FRONT: Final = "import hybridws\nfrom stage_app import *\nhybridws.run(make(legacy=True), port=0)"
PLAIN: Final = """
import asyncio
from stage_app import *
from hybridws.run.calm import calm_logger

async def main():
    runner = web.AppRunner(make(legacy=True), keepalive_timeout=75, logger=calm_logger())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print("serving on http://127.0.0.1:%d" % runner.addresses[0][1], file=sys.stderr, flush=True)
    await asyncio.Event().wait()

import logging
logging.basicConfig(level="INFO")
asyncio.run(main())
"""
SLACK: Final = 5.0
"""Seconds for an answer: what is promised is one."""
GROWTH: Final = 16 * 2**20
"""Bytes that a second assault may add to what the first has left: its sessions are still remembered."""


@pytest.fixture(params=[FRONT, PLAIN], ids=["front", "aiohttp"])
async def victim(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[stage.Process]:
    """Start a server as a process of its own: our runner, or aiohttp's."""
    process = await stage.start(tmp_path, "-c", request.param)
    await process.listening()
    yield process
    if process.process.returncode is None:
        process.process.terminate()
    await process.process.communicate()


def test_the_corpus_is_large() -> None:
    """At least 200 inputs of all kinds, no two alike."""
    inputs = [
        *hostile.json_packets(),
        *hostile.msgpack_packets(),
        *hostile.RUBBISH,
        *hostile.SOCKJS_BODIES,
        *hostile.frames(),
        *hostile.requests("127.0.0.1", "/echo"),
    ]
    assert len(inputs) >= 350
    assert len(set(inputs)) >= len(inputs) - 3


@pytest.mark.timeout(300)
async def test_nobody_is_hurt(victim: stage.Process) -> None:
    """0 deaths, 0 faults of the server, 0 unhandled log lines, each input answered in time, memory back.

    Every input goes to every address, with both codecs, before and after an attach, over POST and WebSocket, and to
    those of SockJS.
    """
    own = Path(f"/proc/{victim.process.pid}")
    assert victim.process.stderr
    log = asyncio.create_task(victim.process.stderr.read())  # a pipe that nobody reads would hold the server up

    def resident() -> int:
        return int((own / "statm").read_text().split()[1]) * 4096

    def descriptors() -> int:
        return len(list((own / "fd").iterdir()))

    before = descriptors()
    held: list[int] = []
    for name in ("hybridws", "sockjs"):
        dialect = DIALECTS[name]
        front = Front(f"{victim.url}/echo", dialect, SLACK, None)
        for one in await assaults(front, dialect, name):
            assert one.wrongs == [], one.name
            assert one.inputs >= 20
        held.append(resident())
    assert victim.process.returncode is None
    dialect = DIALECTS["hybridws"]
    for transport in dialect.transports:
        peer = dialect.peer(f"{victim.url}/echo", transport, {})
        await peer.open()
        await peer.send("alive?")
        assert await anext(aiter(peer)) == "alive?"
        await peer.close()
    assert held[1] < held[0] + GROWTH
    assert descriptors() <= before + 8
    victim.process.terminate()
    said = (await log).decode()
    assert await victim.process.wait() in (0, -signal.SIGTERM)
    assert "Traceback" not in said
    assert "ERROR" not in said
    assert "refused (bad_http)" in said
