"""What the tests of the client share: mounts that run, and a log of what a connection tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from hybridws.aiohttp import mount
from tests.client.ground import Place
from tests.ways import mounting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hybridws import Session
    from tests.client.ground import Mounting


@pytest.fixture
def place(serve: Callable[..., Awaitable[str]]) -> Mounting:
    """Mount handlers on servers of their own, at `/s`."""

    async def start(handler: Callable[[Session], Any], **options: object) -> Place:
        app = web.Application()
        server = mount(app, "/s", handler, **mounting(options))
        return Place(await serve(app) + "/s", server)

    return start
