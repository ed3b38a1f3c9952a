"""What the conformance tests share: mounts that run, and clients that are closed."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from hybridws.aiohttp import mount
from tests.conformance.peers import HTTP, Dial, HttpPeer, Mounting, Peer, SocketPeer
from tests.conformance.wire import Place
from tests.ways import mounting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from hybridws import Session


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
        server = mount(app, prefix, handler, **mounting({"legacy": True, **options}))
        return Place(await serve(app, **(runner or {})), prefix, server)

    return start


@pytest.fixture
async def dial(serve: object) -> AsyncIterator[Dial]:  # noqa: ARG001 - clients are closed before their server is
    """Make clients over any transport; they are closed after the test."""
    peers: list[Peer] = []

    def make(place: Place, transport: str, address: str | None = None) -> Peer:
        kind = HttpPeer if transport in HTTP else SocketPeer
        peer: Peer = kind(place, transport, address or f"/000/{secrets.token_hex(8)}")
        peers.append(peer)
        return peer

    yield make
    for peer in peers:
        await peer.close()
