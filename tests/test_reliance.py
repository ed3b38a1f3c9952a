"""What we rely on in aiohttp beyond its documentation: a new version that changes it is noticed here, by name."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

import pytest
from aiohttp import web, web_protocol

from hybridws import framed
from hybridws.aiohttp import mount
from hybridws.core.frames import xor
from tests.conformance.wire import CLOSE, TEXT, Place, Socket, echo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Serve = Callable[..., Awaitable[str]]

HANDLER = web_protocol.RequestHandler


def test_its_mask_is_found() -> None:
    """`aiohttp._websocket.helpers.websocket_mask` is there, is not ours, and does what ours does, in place."""
    assert framed.mask is not xor, (
        "aiohttp has it elsewhere: look for it, or WebSockets take 60 times as long to unmask"
    )
    for size in (0, 1, 3, 4, 5, 8, 125, 126, 65_537):
        theirs, ours = bytearray(range(256)) * (size // 256 + 1), bytearray(range(256)) * (size // 256 + 1)
        del theirs[size:], ours[size:]
        framed.mask(b"\x01\x80\xff\x07", theirs)
        xor(b"\x01\x80\xff\x07", ours)
        assert theirs == ours


@pytest.mark.parametrize("name", ["set_parser", "connection_made", "connection_lost", "data_received", "force_close"])
def test_its_protocol_has(name: str) -> None:
    """What `_take_over` and the front call."""
    assert callable(getattr(HANDLER, name))


def test_its_parsers_are_set_with_one_argument() -> None:
    """More that had to be given would be an error for each WebSocket."""
    _, parser, *others = inspect.signature(HANDLER.set_parser).parameters.values()
    assert parser.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert all(other.default is not inspect.Parameter.empty for other in others)


async def test_a_connection_that_was_taken_is_forgotten(serve: Serve) -> None:
    """The handler of aiohttp has ended, nothing of the connection is left there, and a stop closes it in order."""
    app = web.Application()
    server = mount(app, "/echo", echo)
    protocols: list[HANDLER] = []

    async def remember(request: web.Request, _response: web.StreamResponse) -> None:
        protocols.append(request.protocol)

    app.on_response_prepare.append(remember)
    place = Place(await serve(app, handler_cancellation=True), "/echo", server)
    before = asyncio.all_tasks()
    socket = await Socket.to(place, "/websocket")
    async with socket.wire:
        await socket.send(TEXT, b"one")
        assert await socket.message() == "one"
        (protocol,) = protocols
        assert protocol.transport is None
        left = asyncio.all_tasks() - before - {session.handler for session in server.sessions}
        assert not left
        await server.close()
        assert await socket.frame() == (CLOSE, b"\x03\xf4the server is restarting")
        assert await socket.wire.at_end()
