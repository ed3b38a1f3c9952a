"""aio-libs/sockjs on aiohttp."""

# The peer has an environment of its own.
# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
import sys
from typing import Any

import sockjs
from aiohttp import web


async def talk(manager: Any, session: Any, message: Any) -> None:  # noqa: ANN401 - the peer has no types
    """Answer one message."""
    if message.type is not sockjs.MsgType.MESSAGE:
        return
    if message.data[0] == "B":
        manager.broadcast(message.data)
    else:
        session.send(message.data)


async def main(port: int) -> None:
    """Serve until the process is ended."""
    app = web.Application()
    sockjs.add_endpoint(app, talk, name="echo", prefix="/echo")
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1])))
