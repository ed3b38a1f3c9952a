"""Each button that breaks the network, in both browsers: nothing lost, repeated or out of order, and no long pause.

All of it by the server's own numbers; the pauses are those that docs/networks.md promises, with five times the slack.
The buttons of a round are pressed side by side, each in a window of its own: a fault belongs to a tab.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.live.demo import PAGE, joined, running, until

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.live.demo import Serve
    from tests.live.drivers import Browser, Tab

pytestmark = pytest.mark.live

ACKED: Final = 500
"""Messages each way that must be acknowledged under a fault."""
RATE: Final = 200
"""Of the probe, a second, while it is counted ..."""
QUIET: Final = 20
"""... and before, so that what is looked at does not wait for what is not."""
SLACK: Final = 5
RECOVERY: Final = 2.0
"""Seconds within which a talk goes on when its network turns hostile (docs/networks.md)."""
CUT_RECOVERY: Final = 1.0
"""Seconds within which it goes on after a plain cut. A busy browser looks late now and then: the quickest counts."""
CUTS: Final = 7
EXACT: Final = 0.002
"""Seconds between two looks where times are measured."""

ROUNDS: Final = (
    ("ws_refused", "ws_hangs", "ws_silent", "ws_dies"),
    ("corporate", "antivirus", "tunnel", "hotel"),
    ("buffers", "buffers_first", "bad_gateway", "replays"),
    ("idle_kill", "cut", "http10"),
    ("slow", "far", "reorders"),
)
"""The buttons, by their `data-key`. A new window costs a browser more than what is said in it: four go through all."""


class Watch:
    """Watches a tab by the server's numbers: how far the talk is, and the longest time in which it stood still."""

    def __init__(self, name: str, tab: Any) -> None:  # noqa: ANN401 - the demo's Tab; the demo is no package of ours
        """Begin now; `tab` is the server's side of a tab."""
        self.name = name
        self.tab = tab
        self.up, self.down = self._came()
        self.gap = [0.0, 0.0]
        self._last = [asyncio.get_running_loop().time()] * 2
        self._seen = [self.up, self.down]

    def _came(self) -> tuple[int, int]:
        return self.tab.probe.up.came, self.tab.probe.acked

    def look(self) -> bool:
        """Look how far it is; tell whether enough has passed each way."""
        now = asyncio.get_running_loop().time()
        for way, number in enumerate(self._came()):
            if number > self._seen[way]:
                self._seen[way], self._last[way] = number, now
            self.gap[way] = max(self.gap[way], now - self._last[way])
        return self._seen[0] - self.up >= ACKED and self._seen[1] - self.down >= ACKED

    def note(self) -> str:
        """Say for a failed test how it stands."""
        probe = self.tab.probe
        down = f"{probe.acked} of {probe.sent} acked down, {self.tab.told}"
        return f"{self.name}: up {probe.up}, {down}, gaps {self.gap}, {probe.session}"


def look(watches: Collection[Watch]) -> bool:
    """Let each of them look, and tell whether all have seen enough."""
    return len([watch for watch in watches if watch.look()]) == len(watches)


async def turn(tab: Tab, watch: Watch, rate: int) -> None:
    """Have the probe say so many messages a second, both ways."""
    await tab.call("eval", f"document.getElementById('rate').value = '{rate}'; 0")
    await tab.call("eval", "document.getElementById('rate').dispatchEvent(new Event('change')); 0")
    await until(lambda: watch.tab.rate == rate, watch.note)


async def settle(tab: Tab, watch: Watch) -> None:
    """Check that all that the probe has said, which is silent now, has arrived, once and in order, both ways."""
    side = watch.tab
    sent = await tab.call("eval", "Number(document.getElementById('up-sent').textContent.replaceAll(',', ''))")
    probe = side.probe
    await until(
        lambda: probe.up.came >= sent and probe.sent == side.told["came"],  # the last ack may rest, beside a stream
        lambda: f"{watch.note()}; the page has sent {sent}",
    )
    assert (probe.up.lost, probe.up.twice, probe.up.late) == (0, 0, 0), watch.note()
    assert (side.told["lost"], side.told["twice"], side.told["late"]) == (0, 0, 0), watch.note()
    assert probe.up.came - watch.up >= ACKED
    assert probe.acked - watch.down >= ACKED


@pytest.mark.matrix(one_in=2)
@pytest.mark.timeout(300)  # five rounds, each of which may take a busy machine half a minute
async def test_each_fault(serve: Serve, browser: Browser) -> None:
    """Under each fault 500 messages and more are acknowledged each way, none lost, twice or out of order."""
    async with AsyncExitStack() as stack:
        demo = await stack.enter_async_context(running(serve))
        url = f"{demo.url}/?rate={QUIET}"
        tabs = [
            await stack.enter_async_context(browser.window(f"window {n}", url)) for n in range(max(map(len, ROUNDS)))
        ]
        for faults in ROUNDS:
            pressed = dict(zip(faults, tabs, strict=False))
            for tab in pressed.values():
                await joined(tab, "websocket")
            watches = [Watch(key, await demo.side(tab)) for key, tab in pressed.items()]
            await all_under(pressed, watches)
            for tab in tabs:
                await tab.go(url)  # with a network and a session of its own again


async def all_under(pressed: dict[str, Tab], watches: Collection[Watch]) -> None:
    """Press each button in its tab, wait until enough has passed, and look how."""
    for key, tab in pressed.items():
        await tab.click(f'[data-key="{key}"]')
        await tab.until(f"document.querySelector('[data-key=\"{key}\"]').ariaPressed === 'true'")
        assert not await tab.call("eval", "document.getElementById('lab-error').textContent")
    for watch in watches:
        await turn(pressed[watch.name], watch, RATE)
    left = list(watches)
    while left:
        await until(lambda: [watch for watch in left if watch.look()], lambda: "\n".join(map(Watch.note, left)))
        for watch in [watch for watch in left if watch.look()]:
            left.remove(watch)
            await turn(pressed[watch.name], watch, 0)  # what is quick leaves the machine to what is slow
    for watch in watches:
        assert watch.tab.network.numbers()["mode"] != "ok", watch.name
        assert max(watch.gap) <= RECOVERY * SLACK, watch.note()
        await settle(pressed[watch.name], watch)


async def test_cut_now(serve: Serve, browser: Browser) -> None:
    """After a plain cut the talk goes on at once, over each transport; nothing is lost, twice or out of order."""
    async with running(serve) as demo, browser.window("one", f"{demo.url}/?rate={RATE}") as tab:
        await joined(tab, "websocket")
        side = await demo.side(tab)
        watch = Watch("cut", side)
        for transport in ("websocket", "stream", "poll"):
            await tab.click(f'#transports [value="{transport}"]')
            await joined(tab, transport)
            times = [await recovery(tab, side, watch) for _ in range(CUTS)]
            assert min(times) <= CUT_RECOVERY, (transport, times)
            assert max(times) <= RECOVERY * SLACK, (transport, times)
        await until(watch.look, watch.note)
        await turn(tab, watch, 0)
        await settle(tab, watch)


async def recovery(tab: Tab, side: Any, watch: Watch) -> float:  # noqa: ANN401 - as above
    """Cut, and return the seconds until the next message has come up."""
    loop = asyncio.get_running_loop()
    cuts = side.network.numbers()["cuts"]
    clicking = asyncio.create_task(tab.click("#cut"))
    while side.network.numbers()["cuts"] == cuts:
        if clicking.done():  # between two polls there was nothing to cut
            clicking = asyncio.create_task(tab.click("#cut"))
        await asyncio.sleep(EXACT)
    begun, came = loop.time(), side.probe.up.came
    await until(lambda: side.probe.up.came > came, watch.note, look=EXACT)
    took = loop.time() - begun
    await clicking
    return took


async def test_freeze_and_offline(serve: Serve, browser: Browser) -> None:
    """A frozen connection is given up within 2 s; offline nothing passes; both times the talk goes on by itself."""
    async with AsyncExitStack() as stack:
        demo = await stack.enter_async_context(running(serve))
        url = f"{demo.url}/?rate={RATE}"
        frozen = await stack.enter_async_context(browser.window("frozen", url))
        offline = await stack.enter_async_context(browser.window("offline", url))
        for tab in (frozen, offline):
            await joined(tab, "websocket")
        sides = [await demo.side(tab) for tab in (frozen, offline)]
        watches = [Watch("frozen", sides[0]), Watch("offline", sides[1])]
        await frozen.click("#freeze")
        await offline.click("#offline")
        await offline.until(f"{PAGE}.state === 'interrupted'")
        came = sides[1].probe.up.came
        await asyncio.sleep(1)
        assert sides[1].probe.up.came == came
        await offline.click("#offline")
        watches[1].look()  # what it stood still until here was asked for
        back = asyncio.get_running_loop().time()
        await until(lambda: sides[1].probe.up.came > came, watches[1].note)
        assert asyncio.get_running_loop().time() - back <= RECOVERY * SLACK
        await until(lambda: look(watches), lambda: "\n".join(map(Watch.note, watches)))
        assert max(watches[0].gap) <= RECOVERY * SLACK, watches[0].note()
        for tab, watch in zip((frozen, offline), watches, strict=True):
            await turn(tab, watch, 0)
            await settle(tab, watch)
