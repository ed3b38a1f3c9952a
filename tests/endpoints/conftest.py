"""What the tests of the endpoints share: mounts that run, and clients that are closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from hybridws.aiohttp import mount
from tests.conformance.wire import Place, Witness
from tests.endpoints.native_wire import Talk
from tests.ways import mounting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from hybridws import Session
    from tests.conformance.peers import Mounting
    from tests.endpoints.native_wire import Dial


@pytest.fixture
def place(serve: Callable[..., Awaitable[str]]) -> Mounting:
    """Mount handlers on servers of their own."""

    async def start(
        handler: Callable[[Session], Any],
        *,
        prefix: str = "/echo",
        runner: Mapping[str, object] | None = None,
        **options: object,
    ) -> Place:
        app = web.Application()
        server = mount(app, prefix, handler, **mounting(options))
        return Place(await serve(app, **(runner or {})), prefix, server)

    return start


@pytest.fixture
def witness() -> Witness:
    """Make a handler that lets the test act in its place."""
    return Witness()


@pytest.fixture
async def dial(serve: object) -> AsyncIterator[Dial]:  # noqa: ARG001 - clients are closed before their server is
    """Make clients of the native protocol; their connections are closed after the test."""
    talks: list[Talk] = []

    def make(place: Place, codec: str = "json", headers: Mapping[str, str] | None = None) -> Talk:
        talks.append(Talk(place, codec, headers))
        return talks[-1]

    yield make
    for talk in talks:
        await talk.close()
