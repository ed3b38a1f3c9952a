"""What a page's life does to the JavaScript client: reloads, closed tabs, many tabs, strict policies, workers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest
from aiohttp import web

from hybridws.aiohttp import mount

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hybridws import Session
    from tests.live.drivers import Browser

    Serve = Callable[[web.Application], Awaitable[str]]

pytestmark = pytest.mark.live

PATIENCE: Final = 15.0
TABS: Final = 8
CLOSINGS: Final = 4
POLICY: Final = "default-src 'none'; script-src 'self'; connect-src 'self'; worker-src 'self'; img-src data:"

PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>page</title><link rel="icon" href="data:,">
<body><script src="/count/hybridws.js"></script><script src="/page.js"></script></body></html>
"""
SCRIPT: Final = """
window.options = Object.fromEntries(new URLSearchParams(location.search));
if (options.transports) options.transports = options.transports.split(",");
if (options.mute) navigator.sendBeacon = () => true; // as a browser that loses them
const got = JSON.parse(sessionStorage.getItem("got") || "[]");
window.got = got;
window.ws = new HybridWS("/count", [], options);
ws.onmessage = ({ data }) => {
  got.push(Number(data));
  sessionStorage.setItem("got", JSON.stringify(got));
};
window.states = [];
ws.onstate = ({ state }) => states.push(state);
addEventListener("pageshow", ({ persisted }) => { if (persisted) states.push("back"); });
window.say = (text) => ws.send(text);
window.again = () => { setTimeout(() => location.reload()); };
window.hire = () => new Promise((resolve) => {
  const worker = new Worker("/worker.js");
  worker.onmessage = ({ data }) => resolve(data);
  worker.onerror = ({ message }) => resolve(message);
});
"""
WORKER: Final = """
importScripts("/count/hybridws.js");
const ws = new HybridWS("/count");
ws.onmessage = ({ data }) => { postMessage(data); ws.close(); };
"""


class Counter:
    """Counts for each session, and hears what pages say."""

    def __init__(self) -> None:
        """Start with nobody."""
        self.sessions: list[Session] = []
        self.said: list[object] = []
        self.ends: list[object] = []
        self._news = asyncio.Condition()

    async def __call__(self, session: Session) -> None:
        """Count aloud; the number goes on for as long as the session does."""
        self.sessions.append(session)

        async def count() -> None:
            number = 0
            while True:
                number += 1
                await session.send(str(number))
                await asyncio.sleep(0.02)

        counting = asyncio.create_task(count())
        try:
            async for message in session:
                self.said.append(message)
        finally:
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)
            self.ends.append(session.closed and session.closed.code)
            async with self._news:
                self._news.notify_all()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is true of the sessions that have ended."""
        async with self._news:
            await self._news.wait_for(true)


def application(counter: Counter) -> web.Application:
    """Make the application with the page, under a strict policy."""

    def give(text: str, kind: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(text=text, content_type=kind, headers={"Content-Security-Policy": POLICY})

        return answer

    app = web.Application()
    mount(app, "/count", counter)
    app.add_routes(
        [
            web.get("/", give(PAGE, "text/html")),
            web.get("/elsewhere", give("<!doctype html><title>elsewhere</title>", "text/html")),
            web.get("/page.js", give(SCRIPT, "text/javascript")),
            web.get("/worker.js", give(WORKER, "text/javascript")),
        ]
    )
    return app


@pytest.mark.parametrize("transports", ["websocket", "stream", "poll"])
async def test_reload_goes_on(serve: Serve, browser: Browser, transports: str) -> None:
    """With `resumeOnReload` a page that is loaded again goes on in the same session: nothing is lost or repeated."""
    counter = Counter()
    url = await serve(application(counter))
    async with browser.tab("one", f"{url}/?resumeOnReload=1&transports={transports}") as tab:
        await tab.until("window.got && got.length > 10")
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
