"""Fixtures for pytest, with pytest-asyncio: hostile networks, handlers in memory, real clients, a scripted clock.

Say `pytest_plugins = ["hybridws.testing.plugin"]` in your conftest.py. Nothing here is loaded by itself.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import pytest_asyncio
from aiohttp import web

from hybridws.client import connect
from hybridws.testing.clock import Clock
from hybridws.testing.memory import talk
from hybridws.testing.proxy import HostileProxy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from hybridws.client import Connection
    from hybridws.session import Session
    from hybridws.testing.memory import Client
    from hybridws.testing.modes import Mode


class MakeProxy(Protocol):
    """What `hostile_proxy` is."""

    async def __call__(self, origin: str, mode: str | Mode = "ok", **settings: Any) -> HostileProxy:  # noqa: ANN401
        """Start a HostileProxy before `origin`; it ends with the test."""
        ...


class Talk(Protocol):
    """What `hybridws_talk` is."""

    async def __call__(
        self,
        handler: Callable[[Session], Coroutine[Any, Any, object]],
        **options: Any,  # noqa: ANN401 - checked by Options
    ) -> Client:
        """Run a handler in memory (see `hybridws.testing.talk`); it ends with the test."""
        ...


class MakeClient(Protocol):
    """What `hybridws_client` is."""

    async def __call__(
        self,
        app: web.Application,
        path: str = "",
        *,
        via: str | Mode | None = None,
        **settings: Any,  # noqa: ANN401 - checked by connect
    ) -> Connection:
        """Serve an application on a real socket, and connect to what is mounted at `path`.

        Between the two stands a HostileProxy if `via` names its mode. The settings are those of `hybridws.connect`.
        An application that was served before, in the same test, is not started again.
        """
        ...


@pytest_asyncio.fixture
async def hostile_proxy() -> AsyncGenerator[MakeProxy]:
    """Start hostile proxies, which end with the test.

    Use it as `proxy = await hostile_proxy("http://127.0.0.1:8080", "ws_hangs+buffers")`.
    """
    async with AsyncExitStack() as stack:

        async def make(origin: str, mode: str | Mode = "ok", **settings: Any) -> HostileProxy:  # noqa: ANN401
            return await stack.enter_async_context(HostileProxy(origin, mode, **settings))

        yield make


@pytest_asyncio.fixture
async def hybridws_talk() -> AsyncGenerator[Talk]:
    """Run handlers in memory.

    Use it as `client = await hybridws_talk(handler, max_message=1000)`.
    """
    async with AsyncExitStack() as stack:

        async def make(
            handler: Callable[[Session], Coroutine[Any, Any, object]],
            **options: Any,  # noqa: ANN401 - checked by Options
        ) -> Client:
            return await stack.enter_async_context(talk(handler, **options))

        yield make


@pytest_asyncio.fixture
async def hybridws_client(hostile_proxy: MakeProxy) -> AsyncGenerator[MakeClient]:
    """Serve applications and connect to them.

    Use it as `client = await hybridws_client(app, "/echo", via="buffers")`. The server is aiohttp's
    `AppRunner` with its default settings, as in production, on a free port of 127.0.0.1.
    """
    urls: dict[web.Application, str] = {}
    async with AsyncExitStack() as stack:

        async def make(
            app: web.Application,
            path: str = "",
            *,
            via: str | Mode | None = None,
            **settings: Any,  # noqa: ANN401 - checked by connect
        ) -> Connection:
            if app not in urls:
                urls[app] = await _serve(app, stack)
            url = urls[app]
            if via is not None:
                url = (await hostile_proxy(url, via)).url
            return await stack.enter_async_context(connect(url + path, **settings))

        yield make


async def _serve(app: web.Application, stack: AsyncExitStack) -> str:
    runner = web.AppRunner(app)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"


@pytest.fixture
def scripted_clock() -> Clock:
    """Give a clock that waits for nothing.

    Use it as `scripted_clock.run(coroutine())`, in a test that is not async itself.
    """
    return Clock()
