"""What has ended is let go of at once: it leaves no circle of references, which only the collector would find.

A server that runs for long is told by its memory: what waits for the collector is memory that nobody uses, and
going through it holds up everybody.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Final

import pytest

from tests.conformance.wire import CLOSE, TEXT, Socket, Wire, echo, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tests.conformance.peers import Mounting
    from tests.conformance.wire import Place
    from tests.endpoints.native_wire import Dial

TIMES: Final = 3
"""Lives one after the other: what is left of the last one may still be in use."""


async def polls(place: Place, dial: Dial) -> None:
    """Have polls that are answered, one that another takes the place of, and one that is cut."""
    talk = dial(place)
    await talk.open()
    assert (await talk.poll(["#", 1], ["m", "one"])).status == 200
    first = await talk.ask(n=2, ack=1)
    second = await talk.ask(n=3, ack=1)
    await first.answer()
    await second.wire.close()
    await until(lambda: talk.session.seat is None)
    await talk.send(["#", 2], ["c", 1000, ""], ack=1)


async def a_stream_that_is_cut(place: Place, dial: Dial) -> None:
    """Have a stream, cut in the middle."""
    talk = dial(place)
    await talk.open()
    stream = await talk.stream()
    await talk.send(["#", 1], ["m", "one"])
    assert await stream.messages(1) == ["one"]
    await stream.wire.close()
    await until(lambda: talk.session.seat is None)
    talk.session.abort(1000, "enough")


async def a_stream_that_ends(place: Place, dial: Dial) -> None:
    """Have a stream whose session ends."""
    talk = dial(place, "msgpack")
    await talk.open()
    stream = await talk.stream()
    await talk.send(["#", 1], ["c", 1000, ""])
    await stream.rest()


async def a_websocket_that_is_cut(place: Place, dial: Dial) -> None:
    """Have a WebSocket, on trial beside a stream, then cut."""
    talk = dial(place)
    await talk.open()
    await talk.stream()
    frames = await talk.climb()
    await frames.say(["#", 1], ["m", "one"])
    assert await frames.messages(1) == ["one"]
    await frames.socket.wire.close()
    await until(lambda: talk.session.seat is None)
    talk.session.abort(1000, "enough")


async def a_websocket_that_ends(place: Place, dial: Dial) -> None:
    """Have a WebSocket that opens the session, and closes it."""
    talk = dial(place)
    frames = await talk.websocket()
    await frames.say(["i", {"v": 1}])
    talk.take((await frames.batch())[0])
    await frames.say(["#", 1], ["c", 1000, ""])
    await frames.closed()


async def a_stranger(place: Place, dial: Dial) -> None:
    """Have a WebSocket that is turned away, and a request that is."""
    talk = dial(place)
    frames = await talk.websocket()
    await frames.say(["?"])
    await frames.closed()
    assert (await talk.post("/v1/open", b"?")).status == 400


async def sockjs_polls(place: Place, _dial: Dial) -> None:
    """Have the polls of a SockJS client, the last of them cut."""
    wire, other = await Wire.to(place.origin), await Wire.to(place.origin)
    await wire.request("POST", place.at("/0/a/xhr"))
    await wire.reply()
    await other.request("POST", place.at("/0/a/xhr_send"), {"Content-Type": "text/plain"}, b'["one"]')
    await other.reply()
    await wire.request("POST", place.at("/0/a/xhr"))
    assert (await wire.reply()).body == b'a["one"]\n'
    await wire.request("POST", place.at("/0/a/xhr"))
    await until(lambda: any(session.seat for session in place.server.sessions))
    await wire.close()
    await other.close()


async def a_sockjs_websocket(place: Place, _dial: Dial) -> None:
    """Have a WebSocket of SockJS that the client closes."""
    socket = await Socket.to(place, "/0/b/websocket")
    assert await socket.message() == "o"
    await socket.send(TEXT, b'["one"]')
    assert await socket.message() == 'a["one"]'
    await socket.send(CLOSE, b"\x03\xe8")
    await socket.frame()
    await socket.wire.close()


LIVES: Final = [
    polls,
    a_stream_that_is_cut,
    a_stream_that_ends,
    a_websocket_that_is_cut,
    a_websocket_that_ends,
    a_stranger,
    sockjs_polls,
    a_sockjs_websocket,
]


@pytest.fixture
def garbage() -> Iterator[Callable[[], list[object]]]:
    """Tell which objects of the server's only the collector has found since the test began."""

    def collect() -> list[object]:
        gc.collect()
        ours = [thing for thing in gc.garbage if type(thing).__module__.startswith("hybridws.")]
        gc.garbage.clear()
        return ours

    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield collect
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


@pytest.mark.parametrize("life", LIVES)
async def test_no_circle_is_left(
    place: Mounting,
    dial: Dial,
    garbage: Callable[[], list[object]],
    life: Callable[[Place, Dial], Awaitable[None]],
) -> None:
    """However a session goes and ends, nothing of it waits for the collector."""
    here = await place(echo, disconnect_delay=0.1, first_frame=5)
    for _ in range(TIMES):
        await life(here, dial)
        await until(lambda: not here.server.sessions and not vars(here.server)["_kept"])
    assert garbage() == []
