"""Whether this process lives, and whether it should be sent newcomers: `/healthz` and `/readyz`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

from hybridws.aiohttp import servers

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.typedefs import Handler

NO_STORE: Final = {"Cache-Control": "no-store"}


def mount_health(
    app: web.Application,
    *,
    live: str = "/healthz",
    ready: str = "/readyz",
    of: web.Application | None = None,
) -> None:
    """Answer a balancer's or orchestrator's two questions with 200 or 503, and a word.

    `live`: does the process answer at all? `ready`: should newcomers be sent here? Not while one of the servers that
    are mounted on `of` (default: `app`) is about to stop; sessions that are here can still be reached then.
    """
    source = app if of is None else of

    def stopping() -> bool:
        return any(server.draining for server in servers(source))

    app.router.add_get(live, _say(lambda: True, "alive", ""))
    app.router.add_get(ready, _say(lambda: not stopping(), "ready", "draining"))


def _say(fact: Callable[[], bool], yes: str, no: str) -> Handler:
    async def answer(_request: web.Request) -> web.StreamResponse:
        holds = fact()
        return web.Response(status=200 if holds else 503, text=f"{yes if holds else no}\n", headers=NO_STORE)

    return answer
