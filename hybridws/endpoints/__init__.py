"""The addresses below a mount's prefix: what each takes and answers, in no framework's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hybridws.endpoints import assets, native, routes, sockjs

if TYPE_CHECKING:
    from hybridws.exchange import Exchange
    from hybridws.server import Server

ROUTES: Final = native.ROUTES + assets.ROUTES + sockjs.ROUTES


async def serve(server: Server, exchange: Exchange) -> None:
    """Answer one request to an address below the mount's prefix."""
    await routes.serve(ROUTES, server, exchange)
