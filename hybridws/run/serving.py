"""One application served, from its start to its orderly end; nothing here is about the process."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from hybridws.aiohttp import ONLY_LOCAL, applications, servers
from hybridws.run.calm import calm_logger
from hybridws.run.front import Site
from hybridws.run.listen import listen, protocol_factory
from hybridws.run.settings import CannotServe, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hybridws.run.listen import Listener

log = logging.getLogger("hybridws")

App = web.Application | Callable[[], web.Application | Awaitable[web.Application]]
"""An application, or a function that makes it, which may be a coroutine."""

SHARE_OF_SESSIONS: Final = 7 / 9
"""Of the time for a stop: until all sessions have ended. What is left belongs to other requests."""
CLEANUP: Final = 0.5
"""Seconds of the time for a stop that are kept for the application's own `on_cleanup`."""
FLUSH: Final = 0.02
"""Seconds between two looks whether all that was written has left; no event tells."""


async def serve(
    app: App,
    *,
    stop: asyncio.Event | None = None,
    started: Callable[[list[str]], object] | None = None,
    **settings: Any,  # noqa: ANN401 - checked by Settings
) -> None:
    """Serve an application until `stop` is set or this is cancelled, then end it in order.

    For a program that has a loop of its own; signals, logs and limits are left to it. The settings are the fields of
    `hybridws.run.Settings`. `started(urls)` is called once it listens. Raises CannotServe, ValueError for a setting,
    and what the application raises while it starts.
    """
    checked = Settings(**settings)
    runner = web.AppRunner(
        await make(app),
        keepalive_timeout=checked.keepalive_timeout,
        logger=calm_logger(),
        access_log=logging.getLogger("aiohttp.access") if checked.access_log else None,
    )
    listener: Listener | None = None
    factory: Callable[[], asyncio.Protocol] | None = None
    try:
        await runner.setup()
        _check_reach(runner.app, checked)
        factory = protocol_factory(runner, checked)
        listener = await listen(factory, checked)
        if started:
            started(listener.urls)
        await (stop or asyncio.Event()).wait()
    finally:
        await _end(runner, listener, factory, checked.shutdown_timeout)


def _check_reach(app: web.Application, settings: Settings) -> None:
    """Refuse to listen beyond this machine if a part of the application must not be seen there. Raises CannotServe."""
    reason = next((one[ONLY_LOCAL] for one in applications(app) if ONLY_LOCAL in one), None)
    if reason and not settings.local:
        raise CannotServe(f"cannot listen on {settings.path or settings.host or 'all addresses'}: {reason}")


async def make(app: App) -> web.Application:
    """Return the application, made if need be. Raises CannotServe for anything else."""
    if isinstance(app, web.Application):
        return app
    made: Any = app
    if callable(made):
        try:
            inspect.signature(made).bind()
        except TypeError as error:
            raise CannotServe(f"{_name(app)} does not make an application by itself: {error}") from None
        made = made()
    if inspect.isawaitable(made):
        made = await made
    if not isinstance(made, web.Application):
        by = f", and {_name(app)} made it" if made is not app else ""
        raise CannotServe(f"{made!r:.80} is no aiohttp.web.Application{by}")
    return made


def _name(app: object) -> str:
    return str(getattr(app, "__qualname__", app))


async def _end(
    runner: web.AppRunner,
    listener: Listener | None,
    factory: Callable[[], asyncio.Protocol] | None,
    patience: float,
) -> None:
    """End within `patience` seconds: first the sessions, whose clients may still come; then requests; then the app.

    These are the steps of `runner.cleanup`, but with one time for all of them.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    if listener:
        mounted = list(servers(runner.app))
        if count := sum(len(server.sessions) for server in mounted):
            log.info("stopping within %g s: %d sessions are told first", patience, count)
        await asyncio.gather(*(server.drain(patience * SHARE_OF_SESSIONS) for server in mounted))
        listener.close()
    if runner.server is None:  # it never started
        await runner.cleanup()
        return
    if isinstance(factory, Site):
        await factory.close(max(until - loop.time() - CLEANUP, CLEANUP) / 2)
    await asyncio.sleep(0)  # requests that have come are begun before idle connections are closed
    runner.server.pre_shutdown()
    transports = [connection.transport for connection in runner.server.connections if connection.transport]
    await runner.shutdown()
    # aiohttp grants the time twice: to end, and to bear being cancelled.
    await runner.server.shutdown(max(until - loop.time() - CLEANUP, CLEANUP) / 2)
    await _flush(transports, until - CLEANUP)
    await runner.app.cleanup()


async def _flush(transports: Iterable[asyncio.Transport], until: float) -> None:
    """Wait until the network has taken all that was written, so that nothing ends in the middle."""
    loop = asyncio.get_running_loop()
    while any(transport.get_write_buffer_size() for transport in transports) and loop.time() < until:  # noqa: ASYNC110
        await asyncio.sleep(FLUSH)
