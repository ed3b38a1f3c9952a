"""What the tests of the demo share: its application, and what they wait for on its page."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from hybridws import assets
from hybridws.cli import demo

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from aiohttp import web

    from tests.live.drivers import Tab

    Serve = Callable[[web.Application], Awaitable[str]]

PAGE: Final = "document.documentElement.dataset"
PATIENCE: Final = 60.0
LOOK: Final = 0.05
FAREWELL: Final = 2.0
"""Seconds for the pages that were closed to say so."""


@asynccontextmanager
async def running(serve: Serve) -> AsyncGenerator[Demo]:
    """Serve the demo for the time of a `with`, and until the pages that were closed in it have said farewell.

    A farewell that met a server which is about to end would find nobody to close its connection. Firefox sends none
    from a few tabs that are closed together: nobody waits longer than farewells take that are sent.
    """
    module = demo.load(assets.find(demo.DEMO))
    app = module.application()
    one = Demo(await serve(app), app[module.TABS])
    yield one
    with suppress(TimeoutError):
        async with asyncio.timeout(FAREWELL):
            while one.tabs:  # noqa: ASYNC110 - as in `until`
                await asyncio.sleep(LOOK)


class Demo(NamedTuple):
    """A demo that runs."""

    url: str
    tabs: Any
    """The server's own tabs; the demo's types are known to the demo alone."""

    async def side(self, tab: Tab) -> Any:  # noqa: ANN401 - as above
        """Return the server's own tab that belongs to a tab of the browser."""
        return self.tabs.get(await tab.call("eval", f"{PAGE}.tab"))


async def until(holds: Callable[[], object], note: Callable[[], str], look: float = LOOK) -> None:
    """Wait until something is so, `look` seconds between two looks; fail with a note if it is not so in time."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not holds():  # noqa: ASYNC110 - numbers are looked at, they tell nobody
                await asyncio.sleep(look)
    except TimeoutError:
        pytest.fail(note())


async def joined(tab: Tab, transport: str) -> None:
    """Wait until a tab is in a room over this transport, and server and page agree on that."""
    await tab.until(f"{PAGE}.room && {PAGE}.transport === '{transport}' && {PAGE}.server === '{transport}'")


async def here(tab: Tab, *names: str) -> None:
    """Wait until the list of people holds just these, in any order."""
    await tab.until(f"""
        (() => {{
            const people = [...document.querySelectorAll("#people li")].map((row) => row.textContent);
            const names = {json.dumps(names)};
            return people.length === names.length && names.every((name) => people.some((row) => row.includes(name)));
        }})()
    """)


async def said(tab: Tab, *texts: str) -> None:
    """Wait until just this stands in the room, in this order, and the server has what is the tab's own."""
    await tab.until(f"""
        (() => {{
            const rows = [...document.querySelectorAll("#log li:not(.turn)")];
            const texts = {json.dumps(texts)};
            return rows.length === texts.length
                && texts.every((text, index) => rows[index].textContent.includes(text))
                && rows.every(({{ dataset }}) => !dataset.tick || dataset.tick === "acked");
        }})()
    """)
