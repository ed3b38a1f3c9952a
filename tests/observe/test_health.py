"""Health: what a balancer is told while a process runs, and while it is about to stop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

import hybridws
from hybridws.aiohttp import mount
from hybridws.observe import mount_health
from hybridws.run import serve
from tests.client.ground import PATIENCE, echo, until

if TYPE_CHECKING:
    from hybridws import Session


async def ask(url: str) -> tuple[int, str]:
    """Ask on a new connection, as a balancer does."""
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        return answer.status, await answer.text()


async def test_ready_until_it_drains() -> None:
    """Our own runner goes on listening while it stops: then the process is alive, but not ready for newcomers."""
    app = web.Application()
    leaving = asyncio.Event()

    async def slow_to_leave(session: Session) -> None:
        async for _ in session:
            pass
        await leaving.wait()

    server = mount(app, "/s", slow_to_leave)
    mount_health(app)
    stop = asyncio.Event()
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(
        serve(app, stop=stop, started=lambda urls: started.set_result(urls[0]), port=0, shutdown_timeout=9)
    )
    url = (await started).rstrip("/")
    try:
        assert await ask(f"{url}/healthz") == (200, "alive\n")
        assert await ask(f"{url}/readyz") == (200, "ready\n")
        async with hybridws.connect(f"{url}/s"):
            stop.set()
            await until(lambda: server.draining)
            assert await ask(f"{url}/healthz") == (200, "alive\n")
            assert await ask(f"{url}/readyz") == (503, "draining\n")
    finally:
        stop.set()
        leaving.set()
        await asyncio.wait_for(running, PATIENCE)


async def test_other_names_and_another_port() -> None:
    """Addresses can be chosen, and asked of an application of their own."""
    app, admin = web.Application(), web.Application()
    server = mount(app, "/s", echo)
    mount_health(admin, live="/live", ready="/ready", of=app)
    runner = web.AppRunner(admin)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = "http://{}:{}".format(*runner.addresses[0])
    try:
        assert await ask(f"{url}/live") == (200, "alive\n")
        assert await ask(f"{url}/ready") == (200, "ready\n")
        await server.drain()
        assert await ask(f"{url}/ready") == (503, "draining\n")
    finally:
        await runner.cleanup()
        await server.close()
