"""websockets, the library."""

from __future__ import annotations

import asyncio
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve

members: set[ServerConnection] = set()


async def talk(socket: ServerConnection) -> None:
    """Echo."""
    members.add(socket)
    try:
        async for message in socket:
            if message[0] == "B":
                broadcast(members, message)
            else:
                await socket.send(message)
    finally:
        members.discard(socket)


async def main(port: int) -> None:
    """Serve until the process is ended."""
    async with serve(talk, "127.0.0.1", port, compression=None, backlog=1024):
        await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1])))
