"""hybridws, mounted on an aiohttp application that a plain `AppRunner` runs."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from aiohttp import web

from hybridws.aiohttp import mount

if TYPE_CHECKING:
    from hybridws import Server, Session

LIFTED = {"max_fresh": 1_000_000, "opens_per_second": 1e9, "opens_burst": 1_000_000_000}
"""All load comes from one machine: what protects a server from one address is set aside."""


def application(*, plain: bool = False) -> web.Application:
    """Make an application with an echo, which sends to everybody what begins with a B.

    `plain`: as a function that is called with each message, which is how servers in Node have it; else as a coroutine.
    """
    app = web.Application()

    async def talk(session: Session) -> None:
        async for message in session:
            if message[0] == "B":
                server.broadcast(message)
            else:
                await session.send(message)

    def answer(session: Session, message: str) -> None:
        if message[0] == "B":
            server.broadcast(message)
        else:
            session.send_nowait(message)

    server: Server = mount(app, "/echo", answer if plain else talk, **LIFTED)
    return app


async def main(port: int) -> None:
    """Serve until the process is ended."""
    runner = web.AppRunner(application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
