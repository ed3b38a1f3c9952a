"""Stages a console and a crowd, for tools/console_screenshots.mjs.

Usage: python tools/console_stage.py [SESSIONS]

The crowd is a process of its own, so that the console shows what the server alone costs. Prints the server's address
once it listens, and "full" once the crowd is there; ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import sys
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

import hybridws
from hybridws.aiohttp import mount
from hybridws.console import mount_console

if TYPE_CHECKING:
    from hybridws import Session
    from hybridws.exchange import Request

NAMES = "ada ben carla dev emma finn gita hugo ines jon kira liam mona nils olga paul rosa sven tara uwe vera wim zoe"
ROOMS = ("lobby", "garden", "workshop", "standup", "support")
KINDS = (["websocket"],) * 11 + (["stream"],) * 4 + (["poll"],) * 2 + (None,) * 3
"""The transports of each twentieth of the crowd; None is a raw WebSocket."""
LIMITS = {"opens_burst": 20_000, "max_fresh": 20_000, "opens_per_second": 20_000, "heartbeat": 15.0, "resume": 30.0}
STAY = 400.0
"""Seconds that a guest stays, on average."""


async def who(request: Request, auth: object) -> object:
    """Believe everybody."""
    return auth or request.query.get("u", "guest")


async def serve() -> None:
    """Serve a chat, a ticker and the console until the standard input ends."""
    app = web.Application()

    async def chat(session: Session) -> None:
        server.room(random.choice(ROOMS)).join(session)  # noqa: S311 - a crowd
        async for message in session:
            await session.send(message)

    def watch(_session: Session, _message: object) -> None:
        """Say nothing: prices are broadcast."""

    server = mount(app, "/chat", chat, authenticate=who, **LIMITS)
    ticker = mount(app, "/ticker", watch, authenticate=who, **LIMITS)
    mount_console(app)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = "http://{}:{}".format(*runner.addresses[0])
    print(url, flush=True)
    size = sys.argv[1] if len(sys.argv) > 1 else "1000"
    crowd = await asyncio.create_subprocess_exec(sys.executable, __file__, size, url)
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    while not ended.done():
        ticker.broadcast({"EURUSD": 1.08})
        server.room("lobby").publish("hello")
        await asyncio.wait([ended], timeout=5)
    crowd.kill()
    await crowd.wait()
    await runner.cleanup()


async def crowd(size: int, url: str) -> None:
    """Be so many guests, who come, talk, lose their network now and then, and leave."""
    dice = random.Random(7)  # noqa: S311 - the same crowd each time
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http, asyncio.TaskGroup() as guests:
        for number in range(size):
            guests.create_task(guest(http, url, number, dice))
            await asyncio.sleep(0.03)
        print("full", flush=True)
        while True:
            for _ in range(dice.randrange(4)):
                await http.post(f"{url}/chat/v1/open", headers={"Origin": "https://elsewhere.example"})
            await asyncio.sleep(3)


async def guest(http: aiohttp.ClientSession, url: str, number: int, dice: random.Random) -> None:
    """Come again and again."""
    name = f"{dice.choice(NAMES.split())}.{number}"
    transports = KINDS[number % len(KINDS)]
    where = "ticker" if number % 3 == 0 and transports else "chat"
    while True:
        with contextlib.suppress(hybridws.HybridError, aiohttp.ClientError, OSError):
            if transports is None:
                await talk_raw(http, f"{url}/chat/websocket?u={name}", dice)
            else:
                many = [*transports, "poll"] if number % 7 == 0 and transports != ["poll"] else transports
                await talk(f"{url}/{where}", name, many, dice)
        await asyncio.sleep(dice.uniform(0.1, 3))


async def talk(url: str, name: str, transports: list[str], dice: random.Random) -> None:
    """Say something now and then, over these transports."""
    until = asyncio.get_running_loop().time() + dice.expovariate(1 / STAY)
    async with hybridws.connect(url, auth=name, transports=transports) as session:
        while asyncio.get_running_loop().time() < until:
            await session.send("x" * dice.randrange(10, 400))
            await asyncio.sleep(dice.uniform(5, 40))


async def talk_raw(http: aiohttp.ClientSession, url: str, dice: random.Random) -> None:
    """Do the same without a library; some vanish instead of closing."""
    async with http.ws_connect(url) as socket:
        for _ in range(dice.randrange(3, 60)):
            await socket.send_str("x" * dice.randrange(10, 400))
            await socket.receive(timeout=STAY)
            await asyncio.sleep(dice.uniform(4, 20))
        if dice.random() < 1 / 3:
            await socket.close(code=4000, message=b"enough")


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(crowd(int(sys.argv[1]), sys.argv[2]) if len(sys.argv) > 2 else serve())  # noqa: PLR2004 - a crowd has an address
