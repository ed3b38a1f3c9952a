"""Sends every message back, at http://127.0.0.1:8080/echo."""

from aiohttp import web

import hybridws
from hybridws.aiohttp import mount


async def echo(session: hybridws.Session) -> None:
    """Serve one client: whatever carries its messages, they come once and in order."""
    async for message in session:
        await session.send(message)


if __name__ == "__main__":
    app = web.Application()
    mount(app, "/echo", echo)
    hybridws.run(app, port=8080)
