"""Listens to the servers of an application from its start to its end."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from hybridws.aiohttp import servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiohttp import web

    from hybridws.events import Event
    from hybridws.server import Server


def watch(app: web.Application, of: web.Application, observe: Callable[[Server, Event], object]) -> None:
    """Call `observe(server, event)` for whatever happens in the servers that are mounted on `of`, while `app` runs.

    They are looked for when `app` starts, so it does not matter which was mounted first.
    """

    async def listen(_app: web.Application) -> AsyncIterator[None]:
        told = [(server, partial(observe, server)) for server in servers(of)]
        for server, observer in told:
            server.events.observers.append(observer)
        yield
        for server, observer in told:
            server.events.observers.remove(observer)

    app.cleanup_ctx.append(listen)
