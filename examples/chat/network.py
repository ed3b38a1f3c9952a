"""A tab's own network: hostile proxies that behave alike, what can be wrong with them, and the words to command it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hybridws.testing import HostileProxy, parse

if TYPE_CHECKING:
    from collections.abc import Collection

LOOPBACK: Final = "127.0.0.1"
"""Where the proxies listen: nobody but this machine may break its network here."""

OFFLINE: Final = "cut:1:up"
"""Every connection is reset at its first byte: nothing gets through."""


class Fault(NamedTuple):
    """One thing that can be wrong with a network."""

    key: str
    kind: str
    """Of one kind there is at most one at a time."""
    label: str
    hint: str
    word: str
    """A mode of `HostileProxy`."""


FAULTS: Final = (
    Fault("ws_refused", "WebSocket", "refused", "An upgrade is answered with 403", "ws_refused"),
    Fault("ws_hangs", "WebSocket", "hangs", "An upgrade is taken and never answered", "ws_hangs"),
    Fault("ws_silent", "WebSocket", "silent", "It opens, and then nothing passes", "ws_silent"),
    Fault("ws_dies", "WebSocket", "dies", "It is cut 0.7 s after it opened", "ws_dies:700"),
    Fault("buffers", "Answers", "buffered", "Each answer is held until it is complete", "buffers"),
    Fault("buffers_first", "Answers", "first 4 KB held", "The first bytes of each answer are held", "buffers_first:4k"),
    Fault("idle_kill", "Connections", "cut when idle", "What is silent for 2 s is cut", "idle_kill:2"),
    Fault("cut", "Connections", "cut at 100 KB", "Each is reset after 100 KB, in the middle of things", "cut:100k"),
    Fault("http10", "Connections", "HTTP/1.0", "No chunks, no second request, no upgrade", "http10"),
    Fault("bad_gateway", "Requests", "every 5th fails", "It is answered with 502", "bad_gateway:5"),
    Fault("replays", "Requests", "sent twice", "A POST is given up and sent again", "replays"),
    Fault("reorders", "Requests", "overtake", "Every other one is held for 100 ms", "reorders"),
    Fault("slow", "Line", "60 KB/s", "Both ways, for all connections together", "slow:60k"),
    Fault("far", "Line", "100 ms away", "A round trip takes a tenth of a second", "slow:0:100"),
)
"""Every mode of `HostileProxy` but `hangs_and_buffers`, which is two of these."""


class Step(NamedTuple):
    """A stretch of a preset."""

    mode: str
    seconds: float = 0.0
    """How long it lasts; 0 is for ever."""
    old: str = "cut"
    """What becomes of the connections that were open: cut, frozen or kept."""


class Preset(NamedTuple):
    """A network as it is met in the wild; its steps are gone through again and again."""

    key: str
    label: str
    hint: str
    steps: tuple[Step, ...]


PRESETS: Final = (
    Preset("corporate", "Corporate proxy", "No upgrades, HTTP/1.0 only", (Step("ws_refused+http10"),)),
    Preset(
        "antivirus",
        "Antivirus",
        "WebSockets open and stay silent; answers are held until complete",
        (Step("ws_silent+buffers"),),
    ),
    Preset(
        "tunnel",
        "Train tunnel",
        "5 s of a slow line, 3 s of nothing, again and again",
        (Step("slow:60k:80", 5.0), Step(OFFLINE, 3.0, "freeze")),
    ),
    Preset(
        "hotel",
        "Hotel Wi-Fi",
        "Far, slow, and every connection is cut at 100 KB",
        (Step("slow:100k:150+cut:100k"),),
    ),
)


def words(keys: Collection[str]) -> str:
    """Join faults to a mode in words. Raises ValueError for one that there is not, or two of a kind."""
    known = {fault.key: fault for fault in FAULTS}
    if strange := set(keys) - known.keys():
        raise ValueError(f"there is no fault {', '.join(sorted(strange))}; there are {', '.join(known)}")
    chosen = [known[key].word for key in known if key in keys]
    speed = {"slow:60k", "slow:0:100"}
    if speed <= set(chosen):  # both are one mode of the proxy
        chosen = [word for word in chosen if word not in speed] + ["slow:60k:100"]
    text = "+".join(chosen) or "ok"
    parse(text)
    return text


class Network:
    """What is between one tab and the server, and other servers that it is compared with."""

    def __init__(self, origin: str, host_header: str) -> None:
        """Stand before `origin`; the server sees requests as if they came to `host_header` itself."""
        self._origin: Final = origin
        self._host_header: Final = host_header
        self._roads: Final[list[HostileProxy]] = []
        """All that leads through this network. What is counted is counted on the first of them."""
        self._words = "ok"
        self._preset: Preset | None = None
        self._offline = False
        self._cycle: asyncio.TimerHandle | None = None

    async def lead(self, origin: str = "") -> str:
        """Lead to the server, or to another origin, through a port of its own; return the address. Raises OSError."""
        if origin:
            road = HostileProxy(origin, host=LOOPBACK)
        else:
            road = HostileProxy(self._origin, host=LOOPBACK, rewrite_host=self._host_header)
        await road.start()
        self._roads.append(road)
        return road.url

    async def stop(self) -> None:
        """Reset what is open, and stop."""
        self._stop_cycle()
        await asyncio.gather(*(road.stop() for road in self._roads))

    def numbers(self) -> dict[str, object]:
        """Return what has passed, and how the network behaves, for the page."""
        first = self._roads[0]
        counters = first.counters
        return {
            "mode": str(first.mode),
            "offline": self._offline,
            "requests": counters.requests,
            "upgrades": counters.upgrades,
            "cuts": counters.cuts,
            "open": counters.open,
            "up": counters.bytes_up,
            "down": counters.bytes_down,
        }

    # ── how it behaves ────────────────────────────────────────────────────────────────────────────────────────────

    async def be(self, faults: Collection[str]) -> None:
        """Have these faults. A new one cuts what is open, as when one walks into another network; a cure does not.

        Raises ValueError; then nothing was changed.
        """
        text = words(faults)
        worse = text != "ok" and (self._preset is not None or not set(text.split("+")) <= set(self._words.split("+")))
        gentle = text.startswith("slow:") and "+" not in text  # acts on what is open too
        self._words, self._preset = text, None
        self._stop_cycle()
        if not self._offline:
            await self._flip(text, cut=worse and not gentle)

    async def preset(self, key: str) -> None:
        """Behave as a network of the wild; an empty key ends that. Raises ValueError."""
        found = next((preset for preset in PRESETS if preset.key == key), None)
        if key and found is None:
            raise ValueError(f"there is no preset {key}; there are {', '.join(preset.key for preset in PRESETS)}")
        self._stop_cycle()
        self._preset, self._words = found, "ok"
        if self._offline:
            return
        if found is None:
            await self._flip("ok")
        else:
            self._step(found, 0)

    async def offline(self, *, on: bool) -> None:
        """Let nothing pass, or go on as before."""
        self._offline = on
        self._stop_cycle()
        if on:
            await self._flip(OFFLINE, cut=True)
        elif self._preset:
            self._step(self._preset, 0)
        else:
            await self._flip(self._words)

    def cut(self) -> None:
        """Reset every open connection now."""
        for road in self._roads:
            road.cut()

    def freeze(self) -> None:
        """Let nothing more pass on what is open, and tell nobody."""
        for road in self._roads:
            road.freeze()

    async def _flip(self, mode: str, *, cut: bool = False) -> None:
        await asyncio.gather(*(road.flip(mode, cut=cut) for road in self._roads))

    def _step(self, preset: Preset, number: int) -> None:
        step = preset.steps[number]
        for road in self._roads:
            road.mode = parse(step.mode)
        if step.old == "cut":
            self.cut()
        elif step.old == "freeze":
            self.freeze()
        if step.seconds:
            following = (number + 1) % len(preset.steps)
            self._cycle = asyncio.get_running_loop().call_later(step.seconds, self._step, preset, following)

    def _stop_cycle(self) -> None:
        if self._cycle:
            self._cycle.cancel()
            self._cycle = None


def choices() -> dict[str, Any]:
    """Return what a page may offer."""
    return {
        "faults": [fault._asdict() for fault in FAULTS],
        "presets": [{"key": preset.key, "label": preset.label, "hint": preset.hint} for preset in PRESETS],
    }
