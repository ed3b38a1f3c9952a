"""What the tests of hybridws.testing share: a plain origin on a real socket, and a client of aiohttp's."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import aiohttp
import pytest

from tests.testing.origin import Origin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


class Place(NamedTuple):
    """Where an origin listens."""

    url: str
    origin: Origin


@pytest.fixture
async def place(serve: Callable[..., Awaitable[str]]) -> AsyncIterator[Place]:
    """Start an origin; whatever still waits there is let go at the end."""
    origin = Origin()
    yield Place(await serve(origin.app), origin)
    origin.go.set()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Give a client that waits for nothing longer than a minute."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session
