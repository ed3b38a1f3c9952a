"""The demo's pages in both browsers: soon there, usable by everybody, under a strict policy, true in what they show."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp
import pytest

from tests.live.demo import PAGE, joined, running

if TYPE_CHECKING:
    from tests.live.demo import Serve
    from tests.live.drivers import Browser, Tab

pytestmark = pytest.mark.live

USABLE: Final = 1.0
"""Seconds from the address to a page that one can write in."""
SLACK: Final = 5
SERIOUS: Final = ("serious", "critical")


COPIES: Final = """
Object.defineProperty(navigator, "clipboard", { value: { writeText: async (text) => { window.copied = text; } } })
"""
"""Takes what the page copies: a browser without a window lets nobody at its clipboard."""


async def clean(tab: Tab) -> None:
    """Check that axe-core finds no serious fault in what the tab shows now."""
    found = [line for line in await tab.audit() if line.startswith(SERIOUS)]
    assert not found, "\n".join(found)


async def test_usable_at_once(serve: Serve, browser: Browser) -> None:
    """A second after its address was opened the page is in its room (with five times the slack); Enter says a line.

    Until somebody has said something, a hint says what to try.
    """
    async with running(serve) as demo, browser.tab("one", demo.url) as tab:
        await tab.until(f"{PAGE}.room === 'lobby' && {PAGE}.transport")
        assert await tab.call("eval", "performance.now()") < USABLE * SLACK * 1000
        await tab.until("document.getElementById('empty').textContent.startsWith('Nobody else is here yet.')")
        await tab.click('#transports [value="poll"]')
        await tab.until("document.querySelector('#log .turn') !== null")  # what the wire does is no message
        assert not await tab.call("eval", "document.getElementById('empty').hidden")
        await tab.fill("#text", "here")
        await tab.until("document.querySelector('#log .said')?.textContent === 'here'")
        assert await tab.call("eval", "document.getElementById('empty').hidden")


async def test_for_everybody(serve: Serve, browser: Browser) -> None:
    """axe-core finds no serious fault in any state of the chat's page, nor in the cursors'."""
    async with running(serve) as demo, browser.tab("one", demo.url) as tab:
        await joined(tab, "websocket")
        await tab.fill("#text", "one")
        await clean(tab)
        await tab.click(".single summary")
        await tab.click('[data-key="hotel"]')
        await tab.until("document.querySelector('#log .turn') && document.documentElement.hasAttribute('data-broken')")
        await clean(tab)
        await tab.click("#frames-tab")
        await tab.until("document.querySelectorAll('#frame-log li').length > 3")
        await tab.click("#frame-log summary")
        await clean(tab)
        await tab.click("#mend")
        await tab.until("!document.documentElement.hasAttribute('data-broken')")
        async with browser.tab("two", f"{demo.url}/cursors") as cursors:
            await cursors.until(f"Number({PAGE}.cursors) === 60")
            await clean(cursors)


async def test_by_keys(serve: Serve, browser: Browser) -> None:
    """Transport, faults and panels are reached and changed by keys alone; the pressed state is said."""
    async with running(serve) as demo, browser.tab("one", demo.url) as tab:
        await joined(tab, "websocket")
        await tab.call("eval", "document.querySelector('#transports :checked').focus(); 0")
        await tab.press("ArrowRight", "ArrowRight", "ArrowRight")
        await joined(tab, "poll")
        await tab.press("Tab")
        assert await tab.call("eval", "document.activeElement.dataset.key") == "corporate"
        await tab.press(" ")
        await tab.until("document.activeElement.ariaPressed === 'true'")
        await tab.call("eval", "document.getElementById('numbers-tab').focus(); 0")
        await tab.press("ArrowRight")
        await tab.until("document.activeElement.id === 'frames-tab' && !document.getElementById('frames-panel').hidden")


async def test_frames(serve: Serve, browser: Browser) -> None:
    """The log shows what passes, and filters it; what it copies for curl is answered by the server with an ack."""
    async with running(serve) as demo, browser.tab("one", f"{demo.url}/?transport=stream") as tab:
        await joined(tab, "stream")
        await tab.click("#frames-tab")
        await tab.fill("#text", "a needle in the log")
        await tab.call("eval", "document.getElementById('filter').value = 'send needle'; 0")
        await tab.call("eval", "document.getElementById('filter').dispatchEvent(new Event('input')); 0")
        await tab.until("document.querySelectorAll('#frame-log li').length === 1")
        assert await tab.call("eval", "document.querySelector('#frame-log .number').textContent.startsWith('#')")
        await tab.call("eval", f"{COPIES}; 0")
        await tab.click("#frame-log summary")
        await tab.until(
            "document.querySelector('#frame-log .whole') !== null"
        )  # a browser opens it when it comes round to it
        await tab.click("#frame-log .chip")
        await tab.until("document.querySelector('#frame-log .chip').textContent === 'Copied'")
        command = await tab.call("eval", "window.copied")
        curl = await asyncio.create_subprocess_exec("bash", "-c", command, stdout=asyncio.subprocess.PIPE)
        out, _ = await curl.communicate()
        assert out.decode().startswith('["a",'), (command, out)
        assert await tab.call("eval", "document.querySelectorAll('#log .said').length") == 1


async def test_policy(serve: Serve, browser: Browser) -> None:
    """Scripts and styles come from the server alone, nothing inline; and only this page may open a tab."""
    async with running(serve) as demo, browser.tab("one", demo.url) as tab:
        await joined(tab, "websocket")
        names = await tab.call("eval", "performance.getEntriesByType('resource').map(({ name }) => name)")
        assert all(name.startswith(("http://127.0.0.1:", "ws://127.0.0.1:")) for name in names), names
        script = "const inline = document.createElement('script'); inline.textContent = 'window.intruder = 1'; "
        await tab.call("eval", script + "document.body.append(inline); 0")
        assert await tab.call("eval", "window.intruder ?? null") is None
        async with aiohttp.ClientSession() as http:
            async with http.post(f"{demo.url}/tabs", headers={"Sec-Fetch-Site": "cross-site"}) as answer:
                assert answer.status == 403
            async with http.post(f"{demo.url}/tabs", headers={"Host": "demo.example.org"}) as answer:
                assert (await answer.json())["url"] == "/chat"  # that browser cannot reach a port of ours


async def test_cursors(serve: Serve, browser: Browser) -> None:
    """Two visitors' cursors and those that move by themselves are sixty, told often, over polls and nothing else."""
    async with running(serve) as demo, browser.tab("one", f"{demo.url}/cursors") as one:
        await one.until(f"Number({PAGE}.cursors) === 60 && Number({PAGE}.updates) >= 5")
        async with browser.tab("two", f"{demo.url}/cursors") as two:
            await two.until(f"Number({PAGE}.cursors) === 60 && {PAGE}.transport === 'poll'")
            move = "new PointerEvent('pointermove', {{ clientX: {0}, clientY: 300 }})"
            for x in range(100, 400, 20):
                await two.call("eval", f"document.getElementById('field').dispatchEvent({move.format(x)}); 0")
            await two.until("/\\d+ m?s/.test(document.getElementById('trip').textContent)")
        assert await one.call("eval", f"{PAGE}.transport") == "poll"
