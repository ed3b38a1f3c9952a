"""python-socketio on aiohttp."""

# The peer has an environment of its own.
# pyright: reportMissingImports=false, reportUntypedFunctionDecorator=false

from __future__ import annotations

import asyncio
import sys

import socketio
from aiohttp import web

io = socketio.AsyncServer(async_mode="aiohttp", cors_allowed_origins="*", http_compression=False)


@io.on("m")
async def talk(sid: str, message: str) -> None:
    """Answer one message."""
    await io.emit("m", message, to=None if message[0] == "B" else sid)


async def main(port: int) -> None:
    """Serve until the process is ended."""
    app = web.Application()
    io.attach(app)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1])))
