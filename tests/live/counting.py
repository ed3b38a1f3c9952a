"""A page that counts with the server: what the server says in numbers, and what the page says back."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from aiohttp import web

from hybridws.aiohttp import mount

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from hybridws import Session
    from tests.live.drivers import Browser, Tab

    Serve = Callable[[web.Application], Awaitable[str]]

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
addEventListener("pageshow", ({ persisted }) => { if (persisted) states.push("kept"); });
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


@asynccontextmanager
async def counting(serve: Serve, browser: Browser, query: str) -> AsyncGenerator[tuple[Tab, Counter]]:
    """Open the page with this query in a tab, and wait until it has counted for a while."""
    counter = Counter()
    url = await serve(application(counter))
    async with browser.tab("one", f"{url}/?{query}") as tab:
        await tab.until("window.got && got.length > 10")
        yield tab, counter


async def told(tab: Tab, more: int = 10) -> None:
    """Wait until the page has got so many more numbers, and all without a gap or a repeat."""
    before = await tab.call("eval", "got.length")
    await tab.until(f"got.length > {before + more}")
    assert await tab.call("eval", "got.every((number, index) => number == index + 1)"), await tab.call("eval", "got")
