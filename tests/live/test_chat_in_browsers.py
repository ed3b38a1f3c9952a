"""The chat demo in Chromium and Firefox: people in two tabs meet, over each transport."""

from __future__ import annotations

import json
import runpy
from typing import TYPE_CHECKING, Final

import pytest

from hybridws import assets

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from tests.live.drivers import Browser, Tab

    Serve = Callable[[web.Application], Awaitable[str]]

pytestmark = pytest.mark.live

TRANSPORTS: Final = (
    "websocket",
    "xhr-streaming",
    "eventsource",
    "iframe-eventsource",
    "htmlfile",
    "iframe-htmlfile",
    "xhr-polling",
    "iframe-xhr-polling",
    "jsonp-polling",
)


def chat() -> web.Application:
    """Make the application of the demo."""
    application: web.Application = runpy.run_path(str(assets.find("examples/chat/server.py")))["application"]()
    return application


async def joined(tab: Tab, transport: str) -> None:
    """Wait until a tab is in its room over this transport, and server and page agree on that."""
    page = "document.documentElement.dataset"
    known = transport.removeprefix("iframe-")  # the server does not see in which frame a client is
    await tab.until(f"{page}.state === 'open' && {page}.transport === '{transport}' && {page}.server === '{known}'")


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
    """Wait until just this stands in the room, in this order."""
    await tab.until(f"""
        (() => {{
            const rows = [...document.querySelectorAll("#log li")].map((row) => row.textContent);
            const texts = {json.dumps(texts)};
            return rows.length === texts.length && texts.every((text, index) => rows[index].includes(text));
        }})()
    """)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_two_tabs(serve: Serve, browser: Browser, transport: str) -> None:
    """Two tabs see each other and what they say; a third finds what was said; who leaves is seen to have left."""
    url = f"{await serve(chat())}/?transport={transport}#garden"
    async with browser.tab("anna", url) as anna, browser.tab("ben", url) as ben:
        await joined(anna, transport)
        await joined(ben, transport)
        await anna.fill("#name", "Anna")
        await ben.fill("#name", "Ben")
        await here(anna, "Anna", "Ben")
        await here(ben, "Anna", "Ben")
        await anna.fill("#text", "Hello Ben <b>")
        await said(ben, "Hello Ben <b>")
        await ben.fill("#text", "Hällo Anna 😀")
        await said(anna, "Hello Ben <b>", "Hällo Anna 😀")
        async with browser.tab("carla", url) as carla:
            await joined(carla, transport)
            await said(carla, "Hello Ben <b>", "Hällo Anna 😀")
            await ben.shut()
            await carla.fill("#name", "Carla")
            await here(carla, "Anna", "Carla")
            await here(anna, "Anna", "Carla")


async def test_picker(serve: Serve, browser: Browser) -> None:
    """The page begins with a WebSocket; its picker reconnects over any other transport, and nothing said is lost."""
    url = await serve(chat())
    async with browser.tab("anna", f"{url}/") as anna:
        await joined(anna, "websocket")
        await anna.fill("#name", "Anna")
        await anna.fill("#text", "one")
        for transport in TRANSPORTS[::-1]:
            choice = f'#picker input[value="{transport}"]'
            await anna.until(f"document.querySelector('{choice}')?.disabled === false")
            await anna.click(choice)
            await joined(anna, transport)
        await anna.fill("#text", "two")
        await said(anna, "one", "two")
        await here(anna, "Anna")
