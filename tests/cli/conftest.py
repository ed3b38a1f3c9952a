"""What the tests of the commands share: the command as a process of its own, and a server that it talks to."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from hybridws.aiohttp import mount
from tests.cli.command import Command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hybridws import Session
    from tests.cli.command import Serve, Start

ROOT = Path(__file__).resolve().parent.parent.parent
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start `hybridws` with some arguments, and variables of the environment by name; it ends with the test."""
    processes: list[asyncio.subprocess.Process] = []

    async def run(*arguments: str, **variables: str) -> Command:
        env = {name: value for name, value in os.environ.items() if name.lower() not in PROXIES}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "hybridws",
            *arguments,
            cwd=ROOT,
            env=env | variables,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        processes.append(process)
        return Command(process)

    yield run
    for process in processes:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.fixture
async def echo(serve: Serve) -> str:
    """Serve a handler that says everything back; return its address."""

    async def handler(session: Session) -> None:
        async for message in session:
            if message == "leave":
                await session.close(4001, "as you wish")
                return
            if message == "fail":
                await session.close(1011, "on purpose")
                return
            await session.send(message)

    app = web.Application()
    mount(app, "/echo", handler)
    return f"{await serve(app)}/echo"
