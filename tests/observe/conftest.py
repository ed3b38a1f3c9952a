"""What the tests of observability share: a mount that runs, with whatever else its application is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from hybridws.aiohttp import mount
from tests.client.ground import Place

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hybridws import Session

    Place_ = Callable[..., Awaitable[Place]]


@pytest.fixture
def place(serve: Callable[..., Awaitable[str]]) -> Callable[..., Awaitable[Place]]:
    """Mount a handler at `/s`; `equip(app)` adds to the application before it starts."""

    async def start(
        handler: Callable[[Session], Any], equip: Callable[[web.Application], object] = id, **options: object
    ) -> Place:
        app = web.Application()
        server = mount(app, "/s", handler, **options)
        equip(app)
        return Place(await serve(app) + "/s", server)

    return start
