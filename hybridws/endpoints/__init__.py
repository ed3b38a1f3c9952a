"""The addresses below a mount's prefix: what each takes and answers, in no framework's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hybridws.endpoints import assets, native, routes, sockjs
from hybridws.endpoints.faults import Missing
from hybridws.endpoints.routes import Lost, serve

__all__ = ("ROUTES", "Lost", "Missing", "find", "serve")

if TYPE_CHECKING:
    from hybridws.endpoints.routes import Found, Route
    from hybridws.exchange import Request
    from hybridws.server import Server

ROUTES: Final[tuple[Route, ...]] = native.ROUTES + assets.ROUTES + sockjs.ROUTES


def find(server: Server, request: Request) -> Found:
    """Find where a request to an address below the mount's prefix belongs. Raises Lost."""
    return routes.find(ROUTES, server, request)
