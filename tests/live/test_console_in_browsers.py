"""The console in Chromium and Firefox: watch, filter, look into a session, send to it, close it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

import hybridws
from hybridws.aiohttp import mount
from hybridws.console import basic_auth, mount_console
from tests.client.ground import listen, take

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hybridws import Server
    from hybridws.exchange import Request
    from tests.live.drivers import Browser, Tab

    Serve = Callable[[web.Application], Awaitable[str]]

pytestmark = pytest.mark.live

KEEP_WHAT_IT_SAYS = """
    window.said = [],
    new MutationObserver(() => window.said.push(document.querySelector("#link").textContent))
        .observe(document.querySelector("#link"), { childList: true, characterData: true, subtree: true })
"""
"""Has a page keep each state of its link: "ended" passes within a second, and who looks now and then may miss it."""


async def who(request: Request, auth: object) -> object:
    """Believe everybody."""
    return auth or request.query.get("u", "guest")


def staged(**options: object) -> tuple[web.Application, Server]:
    """Make an application with a mount and a console."""
    app = web.Application()
    server = mount(app, "/s", listen, authenticate=who)
    mount_console(app, **options)  # type: ignore[arg-type]
    return app, server


async def shows(tab: Tab, selector: str, text: str) -> None:
    """Wait until an element holds a text."""
    await tab.until(f"document.querySelector({selector!r})?.textContent.includes({text!r})")


async def test_an_operator_at_work(serve: Serve, browser: Browser) -> None:
    """Sums, list, filter, one session's timeline, a message, a close, and the session among those that ended."""
    app, _ = staged()
    url = await serve(app)
    async with browser.tab("ops", f"{url}/console") as tab, AsyncExitStack() as crowd:
        await shows(tab, "#empty", "No session is here")
        for number in range(30):
            http = await crowd.enter_async_context(aiohttp.ClientSession())
            await crowd.enter_async_context(http.ws_connect(f"{url}/s/websocket?u=guest.{number}"))
        async with hybridws.connect(f"{url}/s", auth="<b>ada</b>", transports=["stream"]) as client:
            await shows(tab, "#sessions", "31")
            await shows(tab, "#transports", "websocket-raw")
            await shows(tab, "#link", "live over")
            await tab.until("document.querySelectorAll('#chart-families .part').length === 4")
            await tab.fill("#filter", "ada")
            await shows(tab, "#total", "1 found")
            await shows(tab, "#rows button", "<b>ada</b>")
            await tab.until("!document.querySelector('#rows b, #story b b')")
            await tab.click("#rows button")
            await shows(tab, "#timeline", "stream")
            await shows(tab, "#facts", "json")
            await tab.fill("#send-text", "hello from the console")
            await tab.click("#send button")
            await shows(tab, "#notice", "Sent.")
            assert await take(client, 1) == ["hello from the console\n"]
            await tab.click("#close button")
            await shows(tab, "#close button", "Really?")
            await tab.click("#close button")
            await shows(tab, "#story-end", "Ended with 1000, by the application")
        await tab.click("#tab-ended")
        await shows(tab, "#total", "1 found")
        await shows(tab, "#rows", "application")
        await shows(tab, "#ends", "normal")


async def test_it_scrolls_through_thousands(serve: Serve, browser: Browser) -> None:
    """Rows come as they are scrolled to; the page holds no more than those in view, however many there are."""
    app, server = staged()
    url = await serve(app)
    async with browser.tab("ops", f"{url}/console") as tab, AsyncExitStack() as crowd:
        connector = aiohttp.TCPConnector(limit=0)
        http = await crowd.enter_async_context(aiohttp.ClientSession(connector=connector))
        for number in range(400):
            address = f"{url}/s/websocket?u=guest.{number:03}"
            await crowd.enter_async_context(http.ws_connect(address))
        assert len(server.sessions) == 400
        await shows(tab, "#sessions", "400")
        await tab.click("#head th:first-child button")
        await shows(tab, "#rows", "guest.000")
        await tab.until("document.querySelectorAll('#rows tr').length < 80")
        await tab.until("(document.querySelector('#scroll').scrollTop = 9e6, true)")
        await shows(tab, "#rows", "guest.399")
        await tab.until("document.querySelectorAll('#rows tr').length < 80")
        await tab.until("document.querySelector('#scroll').scrollHeight > 400 * 28")


async def test_it_comes_back_by_itself(serve: Serve, browser: Browser) -> None:
    """A console whose session has ended, since the server restarts, says that it is not live, and opens another."""
    app = web.Application()
    mount(app, "/s", listen)
    console = mount_console(app)
    url = await serve(app)
    async with browser.tab("ops", f"{url}/console") as tab:
        await shows(tab, "#sessions", "0")
        await tab.until(f"({KEEP_WHAT_IT_SAYS}, true)")
        (session,) = console.sessions
        session.close_now(1012, "the server is restarting")
        await tab.until("window.said.some((said) => said.endsWith('…'))")  # reset, connecting: not live
        await shows(tab, "#link", "live over")
        async with hybridws.connect(f"{url}/s"):
            await shows(tab, "#sessions", "1")
        assert session not in console.sessions


async def test_a_password_is_asked_for_once(serve: Serve, browser: Browser) -> None:
    """The browser shows the password that it was given to the page's session as well."""
    app, _ = staged(authenticate=basic_auth("ops", "s3cret"), read_only=True)
    url = await serve(app)
    with_password = url.replace("http://", "http://ops:s3cret@")
    async with browser.tab("ops", f"{with_password}/console/") as tab, hybridws.connect(f"{url}/s"):
        await shows(tab, "#sessions", "1")
        await tab.click("#rows button")
        await shows(tab, "#facts", "json")
        await tab.until("document.querySelector('#acts').hidden")
