"""Runs the servers of Socket.IO and SockJS in a Node of our own for as long as the demo runs."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from .install import CannotCompare

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

SCRIPT: Final = Path(__file__).with_name("peers.mjs")

START: Final = 30.0
"""Seconds for Node to load both libraries: a busy machine with a cold disk."""

FAREWELL: Final = 3.0
"""Seconds for Node to end by itself, once its input has ended."""


class Peers(NamedTuple):
    """The servers that are compared with ours, while they run."""

    modules: Path
    """Where npm has put the packages: the page's clients come from there."""
    origins: dict[str, str]
    """Where each listens, by the name of its column."""
    pid: int
    """Node's."""


@asynccontextmanager
async def peers(folder: Path) -> AsyncGenerator[Peers]:
    """Run the servers for the time of a `with`; `folder` comes from `install`. Raises CannotCompare.

    Node ends when its input ends: by us, or with us, whatever becomes of this process.
    """
    node = await asyncio.create_subprocess_exec(
        shutil.which("node") or "node",
        str(SCRIPT),
        str(folder),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Peers(folder / "node_modules", await _listening(node), node.pid)
    finally:
        await _end(node)


async def _listening(node: asyncio.subprocess.Process) -> dict[str, str]:
    """Wait until the servers listen, and return where. Raises CannotCompare."""
    assert node.stdout  # noqa: S101 - for the types: it is a pipe
    try:
        async with asyncio.timeout(START):
            line = await node.stdout.readline()
    except TimeoutError:
        raise CannotCompare(f"Node did not start the servers of Socket.IO and SockJS within {START:.0f} s") from None
    if not line:
        raise CannotCompare(f"Node ended with {await node.wait()} instead of serving; what it said stands above")
    ports: dict[str, int] = json.loads(line)
    return {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}


async def _end(node: asyncio.subprocess.Process) -> None:
    """Ask Node to end, and see to it."""
    try:
        async with asyncio.timeout(FAREWELL):
            await node.communicate(b"")  # closes its input
    except TimeoutError:
        node.kill()
        await node.communicate()
    if node.returncode:
        print(f"The servers of Socket.IO and SockJS ended with {node.returncode}", file=sys.stderr)
