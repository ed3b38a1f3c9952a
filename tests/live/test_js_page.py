"""What a page's life does to the JavaScript client: reloads, closed tabs, many tabs, strict policies, workers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest

from tests.live.counting import Counter, application, counting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from tests.live.drivers import Browser

    Serve = Callable[[web.Application], Awaitable[str]]

pytestmark = pytest.mark.live

PATIENCE: Final = 15.0
TABS: Final = 8
CLOSINGS: Final = 4


@pytest.mark.parametrize("transports", ["websocket", "stream", "poll"])
async def test_reload_goes_on(serve: Serve, browser: Browser, transports: str) -> None:
    """With `resumeOnReload` a page that is loaded again goes on in the same session: nothing is lost or repeated."""
    async with counting(serve, browser, f"resumeOnReload=1&transports={transports}") as (tab, counter):
        for number in range(2):
            before = await tab.call("eval", "got.length")
            await tab.call("say", f"before reload {number}")
            await tab.call("again")
            await asyncio.sleep(0.5)
            await tab.until(f"window.got && got.length > {before} + 10")
        assert await tab.call("eval", "got.every((number, index) => number == index + 1)")
    assert len(counter.sessions) == 1
    assert counter.said == ["before reload 0", "before reload 1"]


async def test_many_tabs(serve: Serve, browser: Browser) -> None:
    """Eight tabs over polls, more than the six connections of HTTP/1.1 to one host, all get what they are sent."""
    counter = Counter()
    url = await serve(application(counter))
    names = [f"tab{number}" for number in range(TABS)]
    try:
        for name in names:
            await browser.ask("open", tab=name, url=f"{url}/?transports=poll")
        for name in names:
            await browser.ask("until", tab=name, script="window.got && got.length > 10")
    finally:
        for name in names:
            await browser.ask("shut", tab=name)
    assert len(counter.sessions) == TABS


async def test_in_a_worker(serve: Serve, browser: Browser) -> None:
    """It works in a web worker, under a policy without eval, blobs or inline scripts."""
    counter = Counter()
    url = await serve(application(counter))
    async with browser.tab("one", url) as tab:
        assert await tab.call("hire") == "1"


@pytest.mark.parametrize(
    "query", ["transports=websocket", "transports=stream", "transports=poll", "transports=websocket&mute=1"]
)
async def test_closed_tab_says_goodbye(serve: Serve, browser: Browser, query: str) -> None:
    """A tab that is closed says so, each time, and on a WebSocket also where the browser loses its beacon."""
    counter = Counter()
    url = await serve(application(counter))
    for number in range(1, CLOSINGS + 1):
        async with browser.tab("one", f"{url}/?{query}") as tab:
            await tab.until("window.got && got.length > 2 && ws.transport == options.transports[0]")
        async with asyncio.timeout(PATIENCE):
            await counter.until(lambda number=number: len(counter.ends) == number)  # type: ignore[misc]
    assert counter.ends == [1001] * CLOSINGS
