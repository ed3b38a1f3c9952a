"""The demo's application: its pages, the chat's sessions, the tabs' control, the cursors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web

from hybridws import Session, assets
from hybridws.aiohttp import mount

from .compare import OURS, Pages, Peers
from .compare import visit as say_numbers
from .cursors import Field
from .rooms import Chat, visit
from .tabs import Tabs

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp.typedefs import Handler

TABS: Final = web.AppKey("tabs", Tabs)
"""The demo's tabs, for whoever wants to look at their numbers."""

PAGE: Final = "examples/chat/page"
KINDS: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}

HEADERS: Final = {
    # All from here and nothing inline; a tab's sessions go to a port of its own on this machine.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data: blob:; "
        "connect-src 'self' http://127.0.0.1:* ws://127.0.0.1:*; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "strict-origin",  # with less, a page's farewell to its own network has no Origin, and is refused
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # asked for again each time, and answered with 304 while nothing has changed
}


FRAMES: Final = "; frame-src http://127.0.0.1:*"
"""Added to the policy for the comparison: SockJS tries iframes among other things."""

CLIENTS: Final = {
    "/compare/socket.io.js": "socket.io-client/dist/socket.io.esm.min.js",
    "/compare/sockjs.js": "sockjs-client/dist/sockjs.min.js",
}
"""What the comparison's page loads, and where npm has put it."""


def give(path: Path, policy: str = "") -> Handler:
    """Make the handler that serves a file, with more in its policy for a page that needs it."""
    headers = {**HEADERS, "Content-Type": f"{KINDS[path.suffix]}; charset=utf-8"}
    headers["Content-Security-Policy"] += policy

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(path, headers=headers)

    return answer


def application(peers: Peers | None = None) -> web.Application:
    """Make the application: the chat at /, its sessions at /chat and /control; the cursors at /cursors.

    With `peers` that run, its pages compare.
    """
    tabs = Tabs("/chat", peers)
    field = Field()

    async def come_in(session: Session) -> None:
        tab = tabs.get(session.http_request.query.get("tab"))
        probe = tab.meet(session) if tab else None
        probing = asyncio.create_task(probe.run()) if probe else None
        try:
            await visit(session, chat, probe)
        finally:
            if probing:
                probing.cancel()

    app = web.Application()
    app[TABS] = tabs
    chat = Chat(mount(app, "/chat", come_in, payload="json"))
    mount(app, "/control", tabs.control)
    field.server = mount(app, "/cursors/live", field.visit)
    app.router.add_post("/tabs", tabs.open)
    app.on_cleanup.append(tabs.close)
    folder = assets.find(PAGE)
    app.router.add_get("/", give(folder / "index.html", FRAMES if peers else ""))
    app.router.add_get("/cursors", give(folder / "cursors.html"))
    for path in sorted(folder.iterdir()):
        if path.suffix in {".css", ".js"}:
            app.router.add_get(f"/page/{path.name}", give(path))
    if peers:
        add_comparison(app, peers)
    return app


def add_comparison(app: web.Application, peers: Peers) -> None:
    """Add what the comparison needs besides: our own side of it, and the clients of the others."""
    pages = Pages()

    async def come_in(session: Session) -> None:
        await say_numbers(session, pages)

    mount(app, OURS, come_in)
    for address, path in CLIENTS.items():
        app.router.add_get(address, give(peers.modules / path))
