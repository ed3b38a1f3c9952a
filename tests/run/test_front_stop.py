"""The end of our runner, whatever its connections are about: each is ended in order, and in time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import pytest

from tests.conformance.wire import CLOSE, Place, Socket, Wire, within
from tests.run.test_front import GREET, OPEN, UPLOAD, application, post

if TYPE_CHECKING:
    from tests.run.test_front import InFront

pytestmark = pytest.mark.both_loops

PATIENCE: Final = 2.0
"""Seconds that a stop may take."""

STATES: Final = {
    "nothing said": (b"", 0),
    "half a head": (GREET.request[:20], 0),
    "half a head behind a request": (GREET.request + GREET.request[:20], 1),
    "a request behind it": (GREET.request, 1),
    "half a body": (post("/echo/v1/open", b'["i",{"v":1}]\n')[:-3], 0),
    "half a body that nobody wants": (post("/echo/v1/open", bytes(3_000_000))[:-3], 1),
    "half a body of the application's": (UPLOAD.request[:-3], 0),
}


@pytest.mark.parametrize("state", [pytest.param(state, id=name) for name, state in STATES.items()])
async def test_a_connection_in_any_state(in_front: InFront, state: tuple[bytes, int]) -> None:
    """It is closed within the time for a stop; what was answered before has arrived whole."""
    said, answers = state
    app, _ = application()
    served = await in_front(app, shutdown_timeout=PATIENCE)
    async with await Wire.to(served.url) as wire:
        await wire.send(said)
        for _ in range(answers):
            assert (await wire.reply()).status in (200, 413)
        await asyncio.sleep(0.05)
        begun = time.monotonic()
        served.stop()
        await within(served.end())
        assert time.monotonic() - begun < PATIENCE + 5 * 0.5
        assert b"HTTP/1.1 200" not in await within(rest(wire))


async def rest(wire: Wire) -> bytes:
    """Read up to the end, be it orderly or not."""
    try:
        return await wire.reader.read()
    except ConnectionError:
        return b""


async def test_polls_streams_and_websockets_are_told(in_front: InFront) -> None:
    """A parked poll, a stream and a WebSocket get their close, whole, and the answer says that it is the last."""
    app, server = application()
    served = await in_front(app, shutdown_timeout=PATIENCE)
    place = Place(served.url, "/echo", server)
    async with await Wire.to(served.url) as poll, await Wire.to(served.url) as stream:
        await poll.send(OPEN.request + OPEN.request)
        assert (await poll.reply()).body == b"o\n"
        await stream.send(post("/echo/0/b/xhr_streaming"))
        assert (await stream.head()).status == 200
        assert (await stream.chunk()).startswith(b"h")
        assert await stream.chunk() == b"o\n"
        socket = await Socket.to(place, "/websocket")
        served.stop()
        reply = await poll.reply()
        assert reply.body == b'c[1012,"the server is restarting"]\n'
        assert await stream.rest() == b'c[1012,"the server is restarting"]\n'
        assert await socket.frame() == (CLOSE, b"\x03\xf4the server is restarting")
        for wire in (poll, stream, socket.wire):
            assert await wire.at_end()
        await within(served.end())
        await socket.wire.close()
