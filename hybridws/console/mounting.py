"""Puts the console on an application: `mount_console`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from hybridws.aiohttp import ONLY_LOCAL, HttpExchange, mount, servers
from hybridws.console import door
from hybridws.console.desk import Desk
from hybridws.console.process import Process
from hybridws.console.survey import Survey
from hybridws.errors import NotAuthenticated, Refused
from hybridws.observe.lag import LoopLag
from hybridws.observe.watching import watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiohttp.typedefs import Handler

    from hybridws.options import Authenticate
    from hybridws.server import Server
    from hybridws.session import Session

PAGE: Final = Path(__file__).parent / "page"
FILES: Final = {
    "": ("index.html", "text/html; charset=utf-8"),
    "console.js": ("console.js", "text/javascript; charset=utf-8"),
    "charts.js": ("charts.js", "text/javascript; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
    "console.css": ("console.css", "text/css; charset=utf-8"),
}
HEADERS: Final = {
    # All from here, nothing inline, and nobody may frame a page that can close sessions.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
BUFFER: Final = 4 * 1024 * 1024
"""Bytes that may wait for a page: a view of 200 rows takes 40 KB."""


def mount_console(
    app: web.Application,
    path: str = "/console",
    *,
    authenticate: Authenticate | None = None,
    of: web.Application | None = None,
    read_only: bool = False,
) -> Server:
    """Serve the console at `path`, and return the server of its own sessions.

    It shows what is mounted on `of` (default: `app`). `await authenticate(request, auth)` says who an operator is, as
    for `mount`, for the page and for its session; `basic_auth(user, password)` makes one. Without it only browsers on
    this machine get in, and our own runner refuses to listen anywhere else. With `read_only` no session can be sent
    a message or closed. Raises ValueError for a path that cannot be mounted.
    """
    path = path.rstrip("/")
    survey, process, admit = Survey(), Process(), door.make(authenticate)

    async def serve(session: Session) -> None:
        await Desk(session, survey, process, read_only=read_only).serve()

    own = mount(app, f"{path}/live", serve, authenticate=admit, buffer=BUFFER, max_message=BUFFER // 4)
    source = app if of is None else of

    async def run(_app: web.Application) -> AsyncIterator[None]:
        survey.servers = [server for server in servers(source) if server is not own]
        lag = LoopLag(survey.note_lag)
        lag.start()
        yield
        lag.stop()

    async def to_folder(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(
            f"{request.rel_url.path.rpartition('/')[2]}/"
        )  # relative: a proxy may have changed the path

    app.cleanup_ctx.append(run)
    watch(app, source, lambda server, event: None if server is own else survey.observe(server, event))
    app.router.add_get(path or "/", _file("", own, admit) if not path else to_folder)
    for name in FILES:
        if path or name:
            app.router.add_get(f"{path}/{name}", _file(name, own, admit))
    if authenticate is None:
        app[ONLY_LOCAL] = door.NEEDED
    return own


def _file(name: str, own: Server, admit: Callable[[Any, Any], Awaitable[object]]) -> Handler:
    file, content_type = FILES[name]

    async def answer(request: web.Request) -> web.StreamResponse:
        exchange = HttpExchange(request, own.options)
        try:
            if not await admit(exchange.request, None):
                raise NotAuthenticated("the console does not know you")
        except Refused as fault:
            headers = {**HEADERS, **fault.headers}
            return web.Response(status=fault.status, text=f"{fault.reason}\n", headers=headers)
        return web.Response(body=(PAGE / file).read_bytes(), headers={**HEADERS, "Content-Type": content_type})

    return answer
