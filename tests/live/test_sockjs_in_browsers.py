"""sockjs-client 1.6.1 in Chromium and Firefox, over each transport that it has there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest
from aiohttp import web

from hybridws.aiohttp import mount
from tests.live.drivers import HERE
from tests.live.words import ALL, BYE, FAREWELL, echo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hybridws import Closed, Session
    from tests.live.drivers import Browser

    Serve = Callable[[web.Application], Awaitable[str]]

pytestmark = pytest.mark.live

CROSS_ORIGIN: Final = (
    "websocket",
    "xhr-streaming",
    "eventsource",
    "iframe-eventsource",
    "iframe-htmlfile",
    "xhr-polling",
    "iframe-xhr-polling",
    "jsonp-polling",
)
SAME_ORIGIN: Final = (*CROSS_ORIGIN[:4], "htmlfile", *CROSS_ORIGIN[4:])
WITHOUT_ORIGIN: Final = ("iframe-eventsource", "iframe-htmlfile", "iframe-xhr-polling", "jsonp-polling")

PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>live test</title><link rel="icon" href="data:,">
<body>
<script src="/echo/sockjs.min.js"></script>
<script type="module">
  import * as live from "/sockjs.mjs";
  window.enabled = (...args) => live.enabled(SockJS, ...args);
  window.converse = (...args) => live.converse(SockJS, ...args);
</script>
</body></html>
"""


def application() -> web.Application:
    """Make the application with the page and its scripts; nothing is mounted."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def script(_: web.Request) -> web.FileResponse:
        return web.FileResponse(HERE / "sockjs.mjs", headers={"Content-Type": "text/javascript"})

    app = web.Application()
    app.add_routes([web.get("/", page), web.get("/sockjs.mjs", script)])
    return app


async def two_servers(serve: Serve, *, cross_site: bool = False) -> tuple[str, str]:
    """Start a server for the page and one of another origin, which lets that page in; return their addresses.

    Another port is another origin of the same site; another host is another site, and browsers are stricter there.
    """
    app, other = application(), web.Application()
    mount(app, "/echo", echo)  # for its sockjs.min.js
    page = await serve(app)
    if cross_site:
        page = page.replace("127.0.0.1", "localhost")
    mount(other, "/echo", echo, legacy=True, origins=[page])
    return page, await serve(other)


async def test_known_transports(serve: Serve, browser: Browser) -> None:
    """On its own origin, sockjs-client finds just the transports that the tests below force it to."""
    app = application()
    mount(app, "/echo", echo, legacy=True)
    url = await serve(app)
    async with browser.tab("one", url) as tab:
        assert await tab.call("enabled", f"{url}/echo") == list(SAME_ORIGIN)


async def test_known_transports_cross_origin(serve: Serve, browser: Browser) -> None:
    """On another origin it finds all of them but htmlfile, which needs to share a document with its frame."""
    page, other = await two_servers(serve)
    async with browser.tab("one", page) as tab:
        assert await tab.call("enabled", f"{other}/echo") == list(CROSS_ORIGIN)


@pytest.mark.parametrize("transport", SAME_ORIGIN)
async def test_echo(serve: Serve, browser: Browser, transport: str) -> None:
    """What the page sends comes back whole and in order, and then so do the server's close code and reason."""
    app = application()
    server = mount(app, "/echo", echo, legacy=True)
    url = await serve(app)
    async with browser.tab("one", url) as tab:
        story = await tab.call("converse", f"{url}/echo", {"transport": transport, "messages": [*ALL, BYE]})
    assert story["transport"] == transport
    assert story["replies"] == ALL
    assert story["closed"] == [*FAREWELL, True]
    assert not server.sessions


@pytest.mark.parametrize("transport", CROSS_ORIGIN)
async def test_echo_cross_origin(serve: Serve, browser: Browser, transport: str) -> None:
    """The same for a page of another origin that `origins` names."""
    page, other = await two_servers(serve)
    async with browser.tab("one", page) as tab:
        story = await tab.call("converse", f"{other}/echo", {"transport": transport, "messages": [*ALL, BYE]})
    assert story["transport"] == transport
    assert story["replies"] == ALL
    assert story["closed"] == [*FAREWELL, True]


@pytest.mark.parametrize("transport", WITHOUT_ORIGIN)
async def test_echo_cross_site(serve: Serve, browser: Browser, transport: str) -> None:
    """The same for a page of another site, over the transports whose requests do not name the page as their Origin."""
    page, other = await two_servers(serve, cross_site=True)
    async with browser.tab("one", page) as tab:
        story = await tab.call("converse", f"{other}/echo", {"transport": transport, "messages": ["hello", BYE]})
    assert story["transport"] == transport
    assert story["replies"] == ["hello"]
    assert story["closed"] == [*FAREWELL, True]


@pytest.mark.parametrize("transport", SAME_ORIGIN)
async def test_client_closes(serve: Serve, browser: Browser, transport: str) -> None:
    """When the page closes, the handler's loop ends soon, and it knows that it was not the server's doing."""
    ended: asyncio.Future[tuple[str | None, Closed | None]] = asyncio.get_running_loop().create_future()

    async def note(session: Session) -> None:
        await echo(session)
        ended.set_result((session.transport, session.closed))

    app = application()
    # A script tag that is waited for no more loads on all the same: only a heartbeat ends its poll.
    mount(app, "/echo", note, legacy=True, disconnect_delay=2, heartbeat_delay=1)
    url = await serve(app)
    plan = {"transport": transport, "messages": ["one"], "replies": 1, "close": [3210, "bye"]}
    async with browser.tab("one", url) as tab:
        story = await tab.call("converse", f"{url}/echo", plan)
        assert story["replies"] == ["one"]
        assert story["closed"] == [3210, "bye", True]
        async with asyncio.timeout(10):
            seen, closed = await ended
    assert seen == transport.removeprefix("iframe-")
    assert closed is not None
    assert closed.by == ("remote" if transport == "websocket" else "network")  # SockJS has no word for it
