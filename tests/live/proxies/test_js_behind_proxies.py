"""The JavaScript client in browsers behind real proxies: where it settles, and that nothing is lost in a cut."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pytest

from tests.live.proxies.conftest import PREFIX
from tests.live.proxies.proxies import CASES, Case
from tests.live.talk import add_page, check, talk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.live.drivers import Browser
    from tests.live.proxies.conftest import Site

    StandBehind = Callable[..., Awaitable[Site]]

pytestmark = pytest.mark.live

AMID: Final = 0.8
"""Seconds after which connections are cut: amid the talk, which takes two and more."""

each_case = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])


async def in_page(stand_behind: StandBehind, case: Case, browser: Browser, transports: list[str], *, cut: bool) -> None:
    """Let a page talk behind a proxy, and check what came of it."""
    site = await stand_behind(case, talk, partial(add_page, prefix=PREFIX), origins="*")  # some of them rewrite Host
    async with browser.tab("one", site.origin, proxy=urlsplit(site.way.get("proxy", "")).netloc) as tab:
        await tab.until("document.documentElement.dataset.ready")
        talking = asyncio.create_task(tab.call("converse", site.url, {"options": {"transports": transports}}))
        if cut:
            await asyncio.sleep(AMID)
            await site.cut()
        story = await talking
    check(story)
    assert story["info"]["resets"] == 0
    assert story["last"] == next(name for name in passes(case) if name in transports), story["info"]


def passes(case: Case) -> list[str]:
    """Return what passes for a browser: it asks a forward proxy for a tunnel to WebSockets, which is for https only."""
    return [name for name in case.passes if not (case.forward and name == "websocket")]


@each_case
@pytest.mark.matrix(one_in=2)
async def test_settles(stand_behind: StandBehind, case: Case, browser: Browser) -> None:
    """A page's messages and the server's pass, and the client settles on the best transport that passes."""
    await in_page(stand_behind, case, browser, ["websocket", "stream", "poll"], cut=False)


@each_case
@pytest.mark.matrix(one_in=2)
async def test_a_cut_loses_nothing(stand_behind: StandBehind, case: Case, browser: Browser) -> None:
    """Over each transport that passes, connections that the server cuts cost no message."""
    for transport in passes(case):
        await in_page(stand_behind, case, browser, [transport], cut=True)


async def test_haproxy_delays_streams(stand_behind: StandBehind, browser: Browser) -> None:
    """HAProxy without http-no-delay shows each part of a stream 200 ms late; who may use nothing else bears it."""
    case = CASES["haproxy, default"]
    await in_page(stand_behind, case._replace(passes=("stream",)), browser, ["stream"], cut=False)
