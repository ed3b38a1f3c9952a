"""A server of our own runner as a process of its own, and what tests send it."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from hybridws.run import serve

if TYPE_CHECKING:
    from aiohttp import web

ROOT: Final = Path(__file__).resolve().parents[2]
PATIENCE: Final = 30.0
"""Seconds for a process to say something, on a busy machine."""

PROGRAM: Final = """
import asyncio, json, os, sys
from aiohttp import web
import hybridws
from hybridws.aiohttp import mount

async def echo(session):
    async for message in session:
        await session.send(message)

async def stubborn(session):
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue

async def slow(request):
    print("slow begun", file=sys.stderr, flush=True)
    await asyncio.sleep(float(request.query.get("seconds", 1)))
    return web.Response(text="whole")

async def block(request):
    import time
    print("blocking", file=sys.stderr, flush=True)
    while True:
        time.sleep(0.1)

async def large(request):
    return web.Response(body=b"x" * 20_000_000)

async def hello(request):
    return web.Response(text=f"hello over {request.scheme}, {type(asyncio.get_running_loop()).__module__}")

async def cleaned(app):
    print("cleaned up", file=sys.stderr, flush=True)

def make(**options):
    app = web.Application()
    below = web.Application()
    mount(app, "/echo", echo, opens_per_second=1e6, opens_burst=10**6, max_fresh=10**6, **options)
    mount(app, "/stubborn", stubborn)
    mount(below, "/echo", echo)
    app.add_subapp("/below", below)
    app.add_routes([web.get("/", hello), web.get("/slow", slow), web.get("/block", block), web.get("/large", large)])
    app.on_cleanup.append(cleaned)
    return app

async def make_later():
    await asyncio.sleep(0)
    return make()
"""
"""A module with an application, and with all that can go wrong while it ends."""


class Process:
    """A server's process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Take over what has started."""
        self.process = process
        self.log = ""
        """What it has said so far."""
        self.url = ""

    async def said(self, pattern: str) -> re.Match[str]:
        """Wait until it has logged a line with this in it."""
        assert self.process.stderr
        if found := re.search(pattern, self.log):
            return found
        async with asyncio.timeout(PATIENCE):
            while line := (await self.process.stderr.readline()).decode():
                self.log += line
                if found := re.search(pattern, line):
                    return found
        raise AssertionError(f"{pattern!r} was never said, but:\n{self.log}")

    async def listening(self) -> str:
        """Wait until it listens, and return its address."""
        self.url = (await self.said(r"serving on (\S+)"))[1]
        return self.url

    def forget_peak(self) -> int:
        """Begin to look for the most memory that it takes; return the bytes that it takes now (Linux)."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self._memory("VmRSS")

    def peak(self) -> int:
        """Return the most bytes of memory that it has taken since."""
        return self._memory("VmHWM")

    def _memory(self, what: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(status.split(f"{what}:", 1)[1].split()[0])

    def stop(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def ended(self, patience: float = PATIENCE) -> int:
        """Wait for its end, and return the exit code."""
        assert self.process.stderr
        async with asyncio.timeout(patience):
            self.log += (await self.process.stderr.read()).decode()
            return await self.process.wait()


class Served:
    """One application that our runner serves in this process."""

    def __init__(self, stop: asyncio.Event, task: asyncio.Task[None], url: str) -> None:
        """Keep what was begun; `begin` does it."""
        self.url: Final = url
        self._stop = stop
        self._task = task

    @classmethod
    async def begin(cls, app: web.Application, **settings: object) -> Self:
        """Serve on any free port, and wait until it listens."""
        stop = asyncio.Event()
        listening: asyncio.Queue[list[str]] = asyncio.Queue()
        options: dict[str, Any] = {"port": 0, "shutdown_timeout": 2.0, **settings}
        task = asyncio.create_task(serve(app, stop=stop, started=listening.put_nowait, **options))
        urls = asyncio.ensure_future(listening.get())
        await asyncio.wait((urls, task), timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if not urls.done():
            urls.cancel()
            await task
        return cls(stop, task, urls.result()[0])

    def stop(self) -> None:
        """Begin to end it in order."""
        self._stop.set()

    async def end(self) -> None:
        """End it in order, and wait for that."""
        self.stop()
        async with asyncio.timeout(PATIENCE):
            await self._task


async def start(folder: Path, *arguments: str, **variables: str) -> Process:
    """Start Python with these arguments in a folder that holds PROGRAM as stage_app.py."""
    (folder / "stage_app.py").write_text(PROGRAM)
    env = {name: value for name, value in os.environ.items() if not name.startswith("HYBRIDWS_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=folder,
        env=env | {"PYTHONPATH": str(ROOT)} | variables,
        stderr=asyncio.subprocess.PIPE,
    )
    return Process(process)


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for localhost that has signed itself, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", str(cert), "-keyout", str(key)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    return cert, key
