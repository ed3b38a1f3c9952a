"""A talk between a page, or a script in Node, and the server: both count, and the server says again what it hears."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from hybridws.aiohttp import mount
from tests.live.drivers import HERE

if TYPE_CHECKING:
    from hybridws import Session

COUNT: Final = 200
EVERY: Final = 0.01
"""Seconds between two messages of the server's."""
NUMBERS: Final = list(range(1, COUNT + 1))

PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>live test</title><link rel="icon" href="data:,">
<body>
<script type="module">
  import { HybridWS } from "PREFIX/hybridws.mjs";
  import * as live from "/js_client.mjs";
  window.converse = (...args) => live.converse(HybridWS, ...args);
  document.documentElement.dataset.ready = "1";
</script>
</body></html>
"""


async def talk(session: Session) -> None:
    """Say numbered messages, and echo what comes, at the same time."""

    async def say() -> None:
        for number in NUMBERS:
            await session.send(f"d{number}")
            await asyncio.sleep(EVERY)

    saying = asyncio.create_task(say())
    try:
        async for message in session:
            await session.send(message)
    finally:
        saying.cancel()
        await asyncio.gather(saying, return_exceptions=True)


def add_page(app: web.Application, prefix: str = "/talk") -> None:
    """Add the page, and the script with which it talks to the mount at `prefix`."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE.replace("PREFIX", prefix), content_type="text/html")

    async def script(_: web.Request) -> web.FileResponse:
        return web.FileResponse(HERE / "js_client.mjs", headers={"Content-Type": "text/javascript"})

    app.add_routes([web.get("/", page), web.get("/js_client.mjs", script)])


def application() -> web.Application:
    """Make the application with the page, its script and the mount."""
    app = web.Application()
    mount(app, "/talk", talk)
    add_page(app)
    return app


def check(story: dict[str, Any]) -> None:
    """Check that nothing was lost, repeated or out of order, and that the close was known to both."""
    note = {key: story[key] for key in ("error", "closed", "states", "transports", "info")}
    assert story["error"] is None, note
    assert story["down"] == NUMBERS, note
    assert story["back"] == NUMBERS, note
    assert story["closed"] == [3333, "bye", True], note
