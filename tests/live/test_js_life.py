"""A page's life in real browsers: left and come back to, duplicated, hidden, frozen, without network for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hybridws.testing import HostileProxy
from tests.conformance.wire import until
from tests.live.counting import Counter, application, counting, told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from tests.live.drivers import Browser

    Serve = Callable[[web.Application], Awaitable[str]]

pytestmark = pytest.mark.live

TRANSPORTS = ("websocket", "stream", "poll")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_back_again(serve: Serve, browser: Browser, transport: str) -> None:
    """A page that is left and come back to goes on in its session, whether the browser kept it or loads it again."""
    async with counting(serve, browser, f"resumeOnReload=1&transports={transport}") as (tab, counter):
        for number in range(2):
            await tab.call("eval", f"say('leaving {number}'), setTimeout(() => location.href = '/elsewhere'), 0")
            await tab.until("document.title == 'elsewhere'")
            await tab.call("eval", "setTimeout(() => history.back()), 0")
            await tab.until("document.title == 'page' && window.got")
            await told(tab)
    assert len(counter.sessions) == 1
    assert counter.said == ["leaving 0", "leaving 1"]


async def test_duplicated_tab(serve: Serve, browser: Browser) -> None:
    """A tab that is duplicated begins a session of its own; each goes on with its own when it is loaded again."""
    async with counting(serve, browser, "resumeOnReload=1") as (tab, counter):
        await tab.call("eval", "window.old = true, again()")  # what is saved for its next page is there for a moment
        await tab.until("!window.old && window.got && got.length && ws.readyState == 1")
        async with tab.double("two") as double:
            await double.until("window.got && window.ws && ws.readyState == 1")
            await told(tab)
            assert len(counter.sessions) == 2
            for one, word in ((double, "two"), (tab, "one")):
                await one.call("eval", "window.old = true, again()")
                await one.until("!window.old && window.ws && ws.readyState == 1")
                await one.call("say", word)
                await until(lambda word=word: word in counter.said)  # type: ignore[misc]
            await told(tab)
    assert len(counter.sessions) == 2
    assert counter.said == ["two", "one"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_frozen(serve: Serve, browser: Browser, transport: str) -> None:
    """A tab that the browser freezes gives its connections back, and misses nothing once it goes on."""
    async with counting(serve, browser, f"transports={transport}") as (tab, counter):
        [session] = counter.sessions
        for number in range(2):
            await tab.freeze(on=True)
            await until(lambda: session.seat is None)
            await tab.freeze(on=False)
            await told(tab)
            await tab.call("say", f"awake {number}")
        await until(lambda: len(counter.said) == 2)
    assert counter.said == ["awake 0", "awake 1"]
    assert len(counter.sessions) == 1


HIDE = """
(() => {
    const [pace, now, later] = [20, performance.now.bind(performance), setTimeout];
    const begun = now();
    performance.now = () => begun + (now() - begun) * pace;
    window.setTimeout = (work, ms, ...more) => later(work, ms / pace, ...more);
    Object.defineProperty(document, "hidden", { configurable: true, value: true });
    document.dispatchEvent(new Event("visibilitychange"));
    window.show = () => {
        performance.now = () => begun + (now() - begun) * pace;
        window.setTimeout = later;
        delete document.hidden;
        document.dispatchEvent(new Event("visibilitychange"));
    };
})()
"""
"""For the page its tab is hidden, and time passes 20 times as fast: half a minute in a second and a half."""


@pytest.mark.parametrize("transport", ["stream", "poll"])
async def test_hidden(serve: Serve, browser: Browser, transport: str) -> None:
    """A hidden tab gives its HTTP connection back; what it says meanwhile arrives, and all that was said to it too."""
    async with counting(serve, browser, f"transports={transport},poll") as (tab, counter):
        await tab.call("eval", HIDE)
        for number in range(2):
            await tab.until("ws.info.why.startsWith('interrupted')")
            await tab.call("say", f"hidden {number}")
            await until(lambda number=number: len(counter.said) == number + 1)  # type: ignore[misc]
        await tab.call("show")
        await tab.until(f"ws.transport == '{transport}'")
        await told(tab, 20)
    assert counter.said == ["hidden 0", "hidden 1"]
    assert len(counter.sessions) == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_offline(serve: Serve, browser: Browser, transport: str) -> None:
    """Where the network goes away for a while nothing is lost, and the session goes on when it is back."""
    counter = Counter()
    async with (
        HostileProxy(await serve(application(counter))) as proxy,
        browser.tab("one", f"{proxy.url}/?transports={transport}") as tab,
    ):
        await tab.until("window.got && got.length > 10")
        await tab.offline(on=True)
        proxy.cut()
        await tab.until("states.at(-1) == 'interrupted' && ws.info.attempts.slice(-3).every(({ failure }) => failure)")
        await tab.call("say", "while offline")
        await tab.offline(on=False)
        await told(tab)
        await until(lambda: counter.said)
    assert counter.said == ["while offline"]
    assert len(counter.sessions) == 1
