"""What the tests of the console share: a mount with a console beside it, and an operator without a browser."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from aiohttp import web

import hybridws
from hybridws.aiohttp import mount
from hybridws.console import mount_console
from tests.client.ground import PATIENCE, echo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hybridws import Connection, Server


class Stage(NamedTuple):
    """An application with a console."""

    url: str
    server: Server
    console: Server


class Operator:
    """Speaks to the console as its page does, and keeps what the page would know."""

    def __init__(self, connection: Connection) -> None:
        """Speak on this connection."""
        self.connection = connection
        self.pulse: dict[str, Any] = {}
        self.total = -1
        self.ids: list[str] = []
        self.rows: dict[str, list[Any]] = {}
        self.story: dict[str, Any] = {}
        self.heard: list[dict[str, Any]] = []

    async def hear(self) -> dict[str, Any]:
        """Take one message into account, and return it."""
        async with asyncio.timeout(PATIENCE):
            message: dict[str, Any] = await anext(aiter(self.connection))
        self.heard.append(message)
        match message["is"]:
            case "pulse":
                self.pulse |= message
            case "rows":
                self.total = message.get("total", self.total)
                if "ids" in message:
                    self.ids = message["ids"]
                    self.rows = {sid: cells for sid, cells in self.rows.items() if sid in self.ids}
                self.rows |= message.get("rows", {})
            case "session":
                self.story = message
            case _:
                pass
        return message

    async def until(self, fact: Callable[[], object]) -> None:
        """Hear until something is so."""
        async with asyncio.timeout(PATIENCE):
            while not fact():
                await self.hear()

    async def view(self, **asked: object) -> None:
        """Ask for a view, and take its rows."""
        usual = {"ended": False, "filter": "", "sort": "opened", "down": True, "first": 0, "count": 40}
        await self.connection.send({"do": "view", **usual, **asked})
        while (await self.hear())["is"] != "rows":
            pass

    async def answer(self, **asked: object) -> dict[str, Any]:
        """Ask for something, and return what is said to it."""
        await self.connection.send(asked)
        while (message := await self.hear())["is"] not in ("done", "sorry"):
            pass
        return message


@pytest.fixture
def stage(serve: Callable[..., Awaitable[str]]) -> Callable[..., Awaitable[Stage]]:
    """Mount an echo at `/s` and a console at `/console`; keywords with `s_` are options of the mount."""

    async def start(**options: Any) -> Stage:  # noqa: ANN401 - options
        mine = {name[2:]: options.pop(name) for name in list(options) if name.startswith("s_")}
        app = web.Application()
        server = mount(app, "/s", mine.pop("handler", echo), **mine)
        console = mount_console(app, **options)
        return Stage(await serve(app), server, console)

    return start


@pytest.fixture
def operate() -> Callable[[Stage], Any]:
    """Let a test be an operator, for the time of an `async with`."""

    def begin(here: Stage) -> _Operating:
        return _Operating(here)

    return begin


class _Operating:
    def __init__(self, here: Stage) -> None:
        self._connection = hybridws.connect(f"{here.url}/console/live")

    async def __aenter__(self) -> Operator:
        operator = Operator(await self._connection.__aenter__())
        await operator.hear()
        return operator

    async def __aexit__(self, *error: object) -> None:
        await self._connection.__aexit__(*error)
