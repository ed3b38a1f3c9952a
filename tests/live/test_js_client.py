"""The JavaScript client in Node, Deno, Bun, Chromium and Firefox, over each transport and through hostile networks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import pytest

from hybridws import assets
from hybridws.testing import HostileProxy
from tests.live.drivers import run_node
from tests.live.talk import EVERY, application, check

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from tests.live.drivers import Browser

    Serve = Callable[[web.Application], Awaitable[str]]

pytestmark = pytest.mark.live

TRANSPORTS: Final = ("websocket", "stream", "poll")
RUNTIMES: Final = ("node", "deno", "bun")
CUTS: Final = 5
PACE: Final = 0.4
"""Seconds between two cuts: so they fall within the talk."""
MODES: Final = {
    "ok": "websocket",
    "ws_refused": "stream",
    "ws_hangs": "stream",
    "ws_silent": "stream",
    "ws_dies:300": "stream",
    "buffers": None,  # a WebSocket is no response, and passes
    "buffers+ws_refused": "poll",
    "buffers_first:1024": None,
    "hangs_and_buffers": "poll",
    "idle_kill:1": None,
    "cut:3000": None,
    "http10": "stream",
    "bad_gateway:5": None,
    "replays": None,
    "reorders": None,
    "slow:100k:100": None,
    "ok,flips:0.7:cut,hangs_and_buffers": "poll",
    "ok,flips:0.7:freeze,ws_refused": None,
    "hangs_and_buffers,flips:0.7:cut,ok": None,
}
"""Each network, and the transport that carries in the end where there is but one answer."""
RECONNECTS: Final = 3
"""Interruptions at most, before a client has settled on a network where that is possible."""
SILENCE: Final = 5 * 1000
"""Milliseconds in which nothing may come after a cut; on a machine that does nothing else it is a second."""


async def in_node(url: str, plan: dict[str, Any], runtime: str = "node") -> dict[str, Any]:
    """Let Node talk, or another runtime."""
    client = assets.find("static/dist/hybridws.mjs").as_uri()
    question: dict[str, object] = {"client": client, "url": url, "plan": plan}
    story: dict[str, Any] = await run_node("node_client.mjs", question, within=runtime)
    return story


async def freeze_once(proxy: HostileProxy) -> None:
    """Let nothing pass any more on the connections that are there, when the talk has lasted a while."""
    while proxy.counters.requests < 1:  # noqa: ASYNC110 - the proxy counts, and has no event for it
        await asyncio.sleep(EVERY)
    await asyncio.sleep(PACE * CUTS)
    proxy.freeze()


async def cut_often(proxy: HostileProxy) -> None:
    """Reset all connections now and then, once the talk has begun."""
    begun = proxy.counters.requests
    while proxy.counters.requests == begun:  # noqa: ASYNC110 - the proxy counts, and has no event for it
        await asyncio.sleep(EVERY)
    for _ in range(CUTS):
        await asyncio.sleep(PACE)
        proxy.cut()


def check_cuts(story: dict[str, Any], transport: str) -> None:
    """Check what came of a talk over one transport that was cut again and again."""
    check(story)
    assert set(story["transports"]) == {transport}
    assert story["silence"] < SILENCE, story["info"]


def check_settled(story: dict[str, Any], mode: str) -> None:
    """Check what came of a talk through a hostile network: where there is one answer, it is found soon."""
    check(story)
    if MODES[mode]:
        assert story["last"] == MODES[mode], story["info"]
        assert story["states"].count("interrupted") <= RECONNECTS, story["states"]


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_node_settles(serve: Serve, runtime: str) -> None:
    """Left alone, the client is on a WebSocket soon, and stays there."""
    story = await in_node(f"{await serve(application())}/talk", {}, runtime)
    check(story)
    assert story["last"] == "websocket"
    assert "reset" not in story["states"], story["info"]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_node_with_cuts(serve: Serve, transport: str, runtime: str) -> None:
    """Over each transport, cut again and again, nothing is lost, repeated or out of order."""
    async with HostileProxy(f"{await serve(application())}/talk") as proxy:
        cuts = asyncio.create_task(cut_often(proxy))
        story = await in_node(proxy.url, {"options": {"transports": [transport]}}, runtime)
        await cuts
        check_cuts(story, transport)
        assert proxy.counters.cuts >= CUTS


@pytest.mark.parametrize("transport", ["stream", "poll"])
async def test_node_when_what_carries_freezes(serve: Serve, transport: str) -> None:
    """Whoever talks on over new connections is not kept waiting by the one on which nothing passes any more."""
    async with HostileProxy(f"{await serve(application())}/talk", "http10") as proxy:
        freezing = asyncio.create_task(freeze_once(proxy))
        story = await in_node(proxy.url, {"options": {"transports": [transport]}, "every": 40})
        await freezing
    check_cuts(story, transport)


@pytest.mark.parametrize("mode", MODES)
async def test_node_through(serve: Serve, mode: str) -> None:
    """Each hostile network lets both sides' messages through, over what it leaves."""
    async with HostileProxy(f"{await serve(application())}/talk", mode) as proxy:
        story = await in_node(proxy.url, {"settles": MODES[mode]})
    check_settled(story, mode)


@pytest.mark.parametrize("transport", ["poll", "stream"])
async def test_node_through_cuts_of_what_is_large(serve: Serve, transport: str) -> None:
    """Each connection is cut after 20 kB, each way, and ten times as much is said: it gets through."""
    async with HostileProxy(f"{await serve(application())}/talk", "cut:20k+cut:20k:up") as proxy:
        story = await in_node(proxy.url, {"options": {"transports": [transport]}, "pad": 1000, "every": 1})
    check(story)
    assert set(story["transports"]) == {transport}


async def with_cuts(serve: Serve, browser: Browser, transport: str) -> None:
    """Let a page talk over one transport while connections are cut, and check what came of it."""
    async with HostileProxy(await serve(application())) as proxy, browser.tab("one", proxy.url) as tab:
        await tab.until("document.documentElement.dataset.ready")
        cuts = asyncio.create_task(cut_often(proxy))
        story = await tab.call("converse", f"{proxy.url}/talk", {"options": {"transports": [transport]}})
        await cuts
    check_cuts(story, transport)


async def through(serve: Serve, browser: Browser, mode: str) -> None:
    """Let a page talk through a hostile network, and check what came of it."""
    async with HostileProxy(await serve(application())) as proxy, browser.tab("one", proxy.url) as tab:
        await tab.until("document.documentElement.dataset.ready")
        proxy.mode = mode
        story = await tab.call("converse", f"{proxy.url}/talk", {"settles": MODES[mode]})
    check_settled(story, mode)


@pytest.mark.xdist_group("webkit")
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_webkit_with_cuts(serve: Serve, safari: Browser, transport: str) -> None:
    """In WebKit and over each transport, cut again and again, nothing is lost, repeated or out of order."""
    await with_cuts(serve, safari, transport)


@pytest.mark.xdist_group("webkit")
@pytest.mark.matrix(one_in=4)
@pytest.mark.parametrize("mode", MODES)
async def test_webkit_through(serve: Serve, safari: Browser, mode: str) -> None:
    """In WebKit, each hostile network lets both sides' messages through, over what it leaves."""
    await through(serve, safari, mode)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_browser_with_cuts(serve: Serve, browser: Browser, transport: str) -> None:
    """In each browser and over each transport, cut again and again, nothing is lost, repeated or out of order."""
    await with_cuts(serve, browser, transport)


@pytest.mark.matrix(one_in=3)
@pytest.mark.parametrize("mode", MODES)
async def test_browser_through(serve: Serve, browser: Browser, mode: str) -> None:
    """In each browser, each hostile network lets both sides' messages through, over what it leaves."""
    await through(serve, browser, mode)
