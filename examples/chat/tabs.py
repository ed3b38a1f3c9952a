"""The tabs of the demo: each has a network of its own, and a session beside it by which the page commands that."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from hybridws import RequestFailed, __version__

from .compare import OURS, versions
from .network import Network, choices
from .probe import MAX_RATE, Probe, now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hybridws import Session

    from .compare import Peers

MAX_TABS: Final = 60
"""Tabs with a network of their own: each holds a port and a few connections."""

WELCOME: Final = 30.0
"""Seconds after which a tab that never opened its control is forgotten."""

EVERY: Final = 0.25
"""Seconds between two reports of numbers to a page."""

RATE: Final = 20.0
"""Messages of the probe a second, each way, until the page asks for another number."""

GONE: Final = 1001
"""Close code of a session whose page has gone."""

WRONG: Final = 4400
"""Code of an answer to a command that cannot be obeyed."""


class Tab:
    """One tab of a browser: its network, its probe, and what its page has counted."""

    def __init__(self, network: Network | None) -> None:
        """Begin with nothing counted. Without a network the tab speaks to the server directly."""
        self.id: Final = secrets.token_hex(8)
        self.network: Final = network
        self.url = ""
        self.probe: Probe | None = None
        self.rate = RATE
        self.told: dict[str, int] = {"came": 0, "lost": 0, "twice": 0, "late": 0}
        """The page's own count of what has come down."""
        self.controls = 0
        """Control sessions that are open."""

    def meet(self, session: Session) -> Probe:
        """Make the probe of the tab's newest session."""
        self.probe = Probe(session, self.rate)
        self.told = dict.fromkeys(self.told, 0)
        return self.probe

    def numbers(self) -> dict[str, object]:
        """Return all that is known here, for the page."""
        return {
            "is": "numbers",
            **(self.probe.numbers() if self.probe else {}),
            "net": self.network.numbers() if self.network else None,
        }


class Tabs:
    """All tabs, by their names."""

    def __init__(self, prefix: str, peers: Peers | None = None) -> None:
        """Begin without any; `prefix` is where the sessions of their pages are mounted, `peers` are compared with."""
        self._prefix: Final = prefix
        self._peers: Final = peers
        self._tabs: Final[dict[str, Tab]] = {}

    def get(self, name: str | None) -> Tab | None:
        """Return the tab of this name, if it is here."""
        return self._tabs.get(name or "")

    def __len__(self) -> int:
        """Count them."""
        return len(self._tabs)

    def __iter__(self) -> Iterator[Tab]:
        """Go through them."""
        return iter(list(self._tabs.values()))

    # ── coming and going ──────────────────────────────────────────────────────────────────────────────────────────

    async def open(self, request: web.Request) -> web.Response:
        """Answer `POST /tabs`: make a tab, and tell its page where its sessions go and what may be broken."""
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise web.HTTPForbidden(text="Only the demo's own page opens a tab.")
        if len(self._tabs) >= MAX_TABS:
            raise web.HTTPServiceUnavailable(text=f"{MAX_TABS} tabs are open already; close one.")
        tab = Tab(_network(request))
        if tab.network:
            tab.url = await tab.network.lead()
        self._tabs[tab.id] = tab
        asyncio.get_running_loop().call_later(WELCOME, self._forget_stranger, tab)
        told = {"tab": tab.id, "url": tab.url + self._prefix, "now": now(), "rate": tab.rate, **choices()}
        return web.json_response({**told, "compare": await self._compare(tab.network)})

    async def _compare(self, network: Network | None) -> dict[str, object] | None:
        """Lead a tab's network to all that are compared; return where, and which versions, for the page."""
        if network is None or self._peers is None:
            return None
        ours = await network.lead() + OURS
        others = {name: await network.lead(origin) for name, origin in self._peers.origins.items()}
        return {"urls": {"hybridws": ours, **others}, "versions": {**versions(), "hybridws": __version__}}

    def _forget_stranger(self, tab: Tab) -> None:
        if not tab.controls and tab.id in self._tabs:
            self._closing = asyncio.ensure_future(self._close(tab))

    async def _close(self, tab: Tab) -> None:
        if self._tabs.pop(tab.id, None) is None:
            return
        if tab.probe:  # its own farewell may stand in the network that ends here
            await tab.probe.session.close(GONE, "the page has gone")
        if tab.network:
            await tab.network.stop()

    async def close(self, _app: web.Application) -> None:
        """End all of them, with the application."""
        for tab in list(self._tabs.values()):
            await self._close(tab)

    # ── the control ───────────────────────────────────────────────────────────────────────────────────────────────

    async def control(self, session: Session) -> None:
        """Serve a page's control until it ends; with the last one its tab ends."""
        tab = self.get(session.http_request.query.get("tab"))
        if tab is None:
            await session.close(4404, "This tab is not known here: the server was started again.")
            return
        tab.controls += 1

        @session.on_request
        async def obey(command: Any) -> object:  # noqa: ANN401 - any JSON value may come
            try:
                await _obey(tab, command)
            except ValueError as error:
                raise RequestFailed(WRONG, str(error)) from None
            return tab.numbers()

        telling = asyncio.create_task(_tell(tab, session))
        try:
            async for message in session:
                match message:
                    case {"came": int(), "lost": int(), "twice": int(), "late": int()}:
                        tab.told = {key: message[key] for key in tab.told}
                    case _:
                        pass
        finally:
            telling.cancel()
            tab.controls -= 1
            if not tab.controls:
                await self._close(tab)


async def _tell(tab: Tab, session: Session) -> None:
    """Tell a page the numbers, now and then; while it is away nothing is said, for only the newest matter."""
    while session.closed is None:
        if session.online and not session.unacked:
            session.send_nowait(tab.numbers())
        await asyncio.sleep(EVERY)


async def _obey(tab: Tab, command: object) -> None:
    """Do what a page asks for. Raises ValueError."""
    match command, tab.network:
        case {"do": "rate", "rate": int() | float() as rate}, _ if 0 <= rate <= MAX_RATE:
            tab.rate = float(rate)
            if tab.probe:
                tab.probe.turn(tab.rate)
        case {"do": "faults" | "preset" | "offline" | "cut" | "freeze"}, None:
            raise ValueError("this tab speaks to the server directly: there is nothing to break")
        case {"do": "faults", "keys": [*keys]}, Network() as network:
            await network.be([str(key) for key in keys])
        case {"do": "preset", "key": str(key)}, Network() as network:
            await network.preset(key)
        case {"do": "offline", "on": bool(on)}, Network() as network:
            await network.offline(on=on)
        case {"do": "cut"}, Network() as network:
            network.cut()
        case {"do": "freeze"}, Network() as network:
            network.freeze()
        case _:
            raise ValueError(f"nobody here knows how to do {command!r}")


def _network(request: web.Request) -> Network | None:
    """Make a tab's network if its browser is on this machine, and so can reach it."""
    host = request.headers.get("Host", "")
    transport = request.transport
    if transport is None or not _is_loopback(request.url.host or ""):
        return None
    address, port = transport.get_extra_info("sockname")[:2]
    if not _is_loopback(address):
        return None
    return Network(f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}", host)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
