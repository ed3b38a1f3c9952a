"""What tests behind proxies share: the application that stands behind, and the proxy before it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

import pytest
from aiohttp import web

from hybridws.aiohttp import mount
from tests.live.proxies.proxies import Case, Proxy, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from hybridws import Server, Session

PREFIX: Final = "/chat"


class Site:
    """An application that is served, and the proxy through which clients reach it."""

    def __init__(self, runner: web.AppRunner, server: Server, proxy: Proxy, application: str, case: Case) -> None:
        """Keep what a test needs."""
        self.server: Final = server
        self.proxy: Final = proxy
        self.origin: Final = application if case.forward else proxy.url
        """Where clients believe that the application is."""
        self.url: Final = self.origin + PREFIX
        self.way: Final[dict[str, Any]] = {"proxy": proxy.url} if case.forward else {}
        """What `connect` and aiohttp's client are to be told besides."""
        self._runner: Final = runner

    async def cut(self) -> None:
        """Break all connections from the proxy to the application."""
        assert self._runner.server
        for connection in self._runner.server.connections:
            if connection.transport is not None:
                connection.transport.abort()


@pytest.fixture
async def stand_behind() -> AsyncIterator[Callable[..., Awaitable[Site]]]:
    """Give a function that serves a handler behind a proxy, with options for `mount`; all ends with the test."""
    async with AsyncExitStack() as stack:

        async def start(
            case: Case,
            handler: Callable[[Session], Any],
            prepare: Callable[[web.Application], None] = lambda _app: None,
            **options: object,
        ) -> Site:
            port = free_port()
            proxy = Proxy(case.program, case.configuration, port)
            app = web.Application()
            prepare(app)
            server = mount(app, PREFIX, handler, **options)
            runner = web.AppRunner(app)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", port).start()
            await stack.enter_async_context(proxy)
            return Site(runner, server, proxy, f"http://127.0.0.1:{port}", case)

        yield start
