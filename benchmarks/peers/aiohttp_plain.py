"""aiohttp's own WebSocket, with nothing around it."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import WSMsgType, web

members: set[web.WebSocketResponse] = set()


async def talk(request: web.Request) -> web.WebSocketResponse:
    """Echo; send to everybody what begins with a B."""
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    members.add(socket)
    try:
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            if message.data[0] == "B":
                for member in members:
                    await member.send_str(message.data)
            else:
                await socket.send_str(message.data)
    finally:
        members.discard(socket)
    return socket


async def main(port: int) -> None:
    """Serve until the process is ended."""
    app = web.Application()
    app.router.add_get("/", talk)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1])))
