"""A WebSocket on a connection that is ours, taken from aiohttp or from the front: what its client sees."""

from __future__ import annotations

import asyncio
import gc
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from aiohttp import web

from hybridws.aiohttp import mount
from hybridws.framed import WRITE_AHEAD, Framed
from tests.conformance.wire import (
    BINARY,
    CLOSE,
    PATIENCE,
    PING,
    PONG,
    TEXT,
    Place,
    Socket,
    Wire,
    Witness,
    handshake,
    until,
    within,
)
from tests.conformance.wire import echo as echo_back
from tests.core.test_frames import masked
from tests.run.stage import Served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from hybridws import Session

    Serve = Callable[..., Awaitable[str]]
    Mount = Callable[..., Awaitable[Place]]

pytestmark = pytest.mark.both_loops

KIB: Final = 1024


@pytest.fixture(params=["mounted", "front"])
async def place(request: pytest.FixtureRequest, serve: Serve) -> AsyncIterator[Mount]:
    """Mount a handler at /echo, in aiohttp's runner or in ours."""
    served: list[Served] = []

    async def start(handler: Callable[[Session], Any], **options: Any) -> Place:  # noqa: ANN401 - checked by Options
        app = web.Application()
        server = mount(app, "/echo", handler, **options)
        if request.param == "mounted":
            return Place(await serve(app, handler_cancellation=False), "/echo", server)  # aiohttp's runner in any case
        served.append(await Served.begin(app))
        return Place(served[-1].url, "/echo", server)

    yield start
    for one in served:
        await one.end()


def framed() -> Framed:
    """Return the one that is open: so that a test knows that it is ours, and sees what waits in it."""
    (one,) = [one for one in gc.get_objects() if type(one) is Framed and not getattr(one, "_left")]  # noqa: B009 - as below
    return one


def waiting(one: Framed) -> int:
    """Return the bytes that wait in this process for the network."""
    transport: asyncio.Transport = getattr(one, "_transport")  # noqa: B009 - what is inside is looked at from outside
    return transport.get_write_buffer_size()


async def raw(place: Place, **options: Any) -> Socket:  # noqa: ANN401 - as the socket takes it
    """Open a WebSocket without a dialect, and check that it is ours."""
    socket = await Socket.to(place, "/websocket", **options)
    await asyncio.sleep(0.01)
    framed()
    return socket


# ── how it begins ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_frames_right_behind_the_handshake(place: Mount) -> None:
    """What comes in the same packet as the request, or is cut anywhere between the two, is heard."""
    here = await place(echo_back, opens_per_second=1e6, opens_burst=10**6)
    headers = "".join(f"{name}: {value}\r\n" for name, value in handshake().items())
    head = f"GET /echo/websocket HTTP/1.1\r\nHost: here\r\n{headers}\r\n".encode()
    frames = masked(TEXT, b"one") + masked(TEXT, b"t", fin=False) + masked(0, b"wo") + masked(PING, b"three")
    data = head + frames
    for cut in (1, 50, len(head) - 3, len(head) - 1, *range(len(head), len(data) + 1)):
        async with await Wire.to(here.origin) as wire:
            await wire.send(data[:cut])
            await asyncio.sleep(0.002)
            await wire.send(data[cut:])
            assert (await wire.head()).status == 101
            expected = [(TEXT, b"one"), (TEXT, b"two"), (PONG, b"three")]
            socket = Socket(wire, None, pongs=True)  # type: ignore[arg-type]
            got = [await socket.frame() for _ in expected]
            assert sorted(got) == sorted(expected)  # a pong need not wait for the application


async def test_much_behind_the_handshake(place: Mount) -> None:
    """More than is read ahead: nothing is lost, and nothing is out of order."""
    here = await place(echo_back)
    headers = "".join(f"{name}: {value}\r\n" for name, value in handshake().items())
    head = f"GET /echo/websocket HTTP/1.1\r\nHost: here\r\n{headers}\r\n".encode()
    async with await Wire.to(here.origin) as wire:
        sent = asyncio.create_task(
            wire.send(head + b"".join(masked(TEXT, b"%d %b" % (n, b"x" * KIB)) for n in range(1000)))
        )
        assert (await wire.head()).status == 101
        socket = Socket(wire, None, pongs=True)  # type: ignore[arg-type]
        for number in range(1000):
            assert (await socket.frame())[1].startswith(b"%d " % number)
        await sent


# ── how it ends ───────────────────────────────────────────────────────────────────────────────────────────────────


class End(NamedTuple):
    """What a client says last, what it is answered, and how the session has ended then."""

    said: bytes
    answered: int | None
    code: int


CODE: Final = struct.Struct("!H").pack
ENDS: Final = {
    "a code and a reason": End(masked(CLOSE, CODE(1000) + b"bye"), 1000, 1000),
    "a code of the application": End(masked(CLOSE, CODE(4321)), 4321, 4321),
    "no code": End(masked(CLOSE), None, 1005),
    "a message before it": End(masked(TEXT, b"last") + masked(CLOSE, CODE(1001)), 1001, 1001),
    "a message behind it": End(masked(CLOSE, CODE(1000)) + masked(TEXT, b"late"), 1000, 1000),
    "a fault behind it": End(masked(CLOSE, CODE(1000)) + b"\xff\xff", 1000, 1000),
    "in the middle of a message": End(masked(TEXT, b"half", fin=False) + masked(CLOSE, CODE(1000)), 1000, 1000),
    "an unmasked frame": End(b"\x81\x02hi", 1002, 1002),
    "a reserved bit": End(masked(TEXT | 0x40, b"hi"), 1002, 1002),
    "a forbidden code": End(masked(CLOSE, CODE(1006)), 1002, 1002),
    "no text": End(masked(TEXT, b"\xff"), 1007, 1007),
    "a fragment of no text": End(masked(TEXT, b"\xff", fin=False), 1007, 1007),
    "too long": End(masked(BINARY, bytes(3000))[:8], 1009, 1009),
}


@pytest.mark.parametrize("end", [pytest.param(end, id=name) for name, end in ENDS.items()])
async def test_the_client_ends_it(place: Mount, end: End) -> None:
    """Its close is answered with its code, a fault with the code for it; then the connection is closed, by us."""
    witness = Witness()
    here = await place(witness, max_message=1000, max_batch=2000)
    socket = await raw(here)
    async with socket.wire:
        session = await witness.session()
        await socket.wire.send(end.said)
        opcode, payload = await socket.frame() if end.answered else await no_code(socket)
        assert opcode == CLOSE
        assert payload[:2] == (CODE(end.answered) if end.answered else b"")
        assert await socket.wire.at_end()
        assert await witness.end() is session
        assert session.closed
        if end.code in (1000, 1001, 1005, 4321):
            assert session.closed.code == end.code
        heard = [witness.messages.get_nowait() for _ in range(witness.messages.qsize())]
        assert heard == (["last"] if end is ENDS["a message before it"] else [])


async def no_code(socket: Socket) -> tuple[int, bytes]:
    """Read a close frame without a code."""
    head = await within(socket.wire.reader.readexactly(2))
    assert head == b"\x88\x00"
    return CLOSE, b""


@pytest.mark.parametrize("answer", [CODE(4000), b"", CODE(1000) + b"as you like"])
async def test_we_end_it(place: Mount, answer: bytes) -> None:
    """What was sent before arrives, then the close; once it is answered, with whatever code, we close."""
    witness = Witness()
    here = await place(witness)
    async with await Wire.to(here.origin) as wire:
        await wire.request("GET", here.at("/websocket"), handshake())
        assert (await wire.head()).status == 101
        session = await witness.session()
        session.send_nowait("one")
        session.send_nowait("two")
        await session.close(4000, "enough")
        expected = b"\x81\x03one\x81\x03two\x88\x08\x0f\xa0enough"
        assert await within(wire.reader.readexactly(len(expected))) == expected
        await wire.send(masked(TEXT, b"on its way") + masked(PING) + masked(CLOSE, answer))
        assert await wire.at_end(), "a ping behind our close is not answered any more"


async def test_a_close_that_is_not_answered(place: Mount) -> None:
    """The connection is cut after close_timeout, whether the client reads or not."""
    witness = Witness()
    here = await place(witness, close_timeout=0.3)
    async with await Wire.to(here.origin) as wire:
        await wire.request("GET", here.at("/websocket"), handshake())
        await wire.head()
        await (await witness.session()).close(4000, "enough")
        assert await within(wire.reader.readexactly(10)) == b"\x88\x08\x0f\xa0enough"
        await wire.send(masked(TEXT, b"not yet"))
        assert await wire.at_end()


@pytest.mark.parametrize("how", ["close", "abort", "half"])
@pytest.mark.parametrize("before", [b"", masked(TEXT, b"whole"), masked(TEXT, b"half a frame")[:-3]])
async def test_the_connection_breaks(place: Mount, how: str, before: bytes) -> None:
    """Without a close frame the session ends as broken off; half a connection is none."""
    witness = Witness()
    here = await place(witness, disconnect_delay=0.1)
    socket = await raw(here)
    session = await witness.session()
    await socket.wire.send(before)
    if how == "abort":
        await asyncio.sleep(0.02)
        socket.wire.abort()
    elif how == "half":
        socket.wire.writer.write_eof()
        assert await socket.wire.at_end()
    await socket.wire.close()
    assert await witness.end() is session
    assert session.closed
    assert session.closed.code in (1002, 1006)


# ── pings ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_pings_are_answered(place: Mount) -> None:
    """With the same bytes, in order, between the fragments of a message, whatever the application does."""

    async def sleep(_session: Session) -> None:
        await asyncio.sleep(PATIENCE)

    here = await place(sleep, handler_grace=0.1)
    socket = await raw(here)
    async with socket.wire:
        await socket.send(TEXT, b"half", fin=False)
        for payload in (b"", b"\xff" * 125, b"3"):
            await socket.send(PING, payload)
        await socket.send(PONG, b"that nobody asked for")
        await socket.send(0, b"whole")
        await socket.send(PING, b"4")
        assert [await socket.frame() for _ in range(4)] == [
            (PONG, b""),
            (PONG, b"\xff" * 125),
            (PONG, b"3"),
            (PONG, b"4"),
        ]


async def test_pings_of_one_who_does_not_read(place: Mount) -> None:
    """They fill no memory: what the network does not take is not answered, but for the newest, once it takes more."""
    here = await place(echo_back)
    socket = await raw(here)
    ours = framed()
    count = 200_000
    async with socket.wire as wire:
        wire.reader._transport.pause_reading()  # type: ignore[attr-defined]  # noqa: SLF001 - not even into our memory
        some = b"".join(masked(PING, b"%07d" % number + bytes(100)) for number in range(1000))
        for _ in range(count // 1000 - 1):
            await wire.send(some)
            assert waiting(ours) < 2 * WRITE_AHEAD
        await wire.send(masked(PING, b"newest"))
        await until(lambda: getattr(ours, "_owed") == b"newest")  # noqa: B009 - as above
        wire.reader._transport.resume_reading()  # type: ignore[attr-defined]  # noqa: SLF001
        got = 0
        while (await socket.frame())[1] != b"newest":
            got += 1
        assert 0 < got < count


# ── who is slow ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_client_that_does_not_read(place: Mount) -> None:
    """What it does not take waits in its session, within the buffer; it gets all of it, in order, once it reads."""
    witness = Witness()
    here = await place(witness, buffer=2 * KIB * KIB)
    socket = await raw(here)
    ours = framed()
    async with socket.wire as wire:
        wire.reader._transport.pause_reading()  # type: ignore[attr-defined]  # noqa: SLF001
        session = await witness.session()
        sent = 0
        try:
            while True:
                async with asyncio.timeout(0.5):
                    await session.send(f"{sent} {'x' * 10_000}")
                sent += 1
                assert waiting(ours) < 3 * WRITE_AHEAD
        except TimeoutError:
            pass  # it waits for room
        wire.reader._transport.resume_reading()  # type: ignore[attr-defined]  # noqa: SLF001
        for number in range(sent):
            message = await socket.message()
            assert isinstance(message, str)
            assert message.startswith(f"{number} ")


async def test_an_application_that_is_behind(place: Mount) -> None:
    """What it does not take waits in the network; once it does, it gets all of it, in order, and the close."""
    go = asyncio.Event()
    heard: list[str] = []
    closed: list[int] = []

    async def late(session: Session) -> None:
        await go.wait()
        heard.extend([str(message).partition(" ")[0] async for message in session])
        assert session.closed
        closed.append(session.closed.code)

    here = await place(late, buffer=100 * KIB, max_message=64 * KIB, max_batch=128 * KIB)
    socket = await raw(here)
    count = 3000

    async def send() -> None:
        for number in range(count):
            await socket.send(TEXT, b"%d %b" % (number, b"x" * 10_000))
        await socket.send(CLOSE, CODE(1000))

    async with socket.wire:
        sent = asyncio.create_task(send())
        await asyncio.wait((sent,), timeout=1)
        assert not sent.done(), "30 MB were taken that the application does not read"
        go.set()
        await within(sent, 30)
        await until(lambda: closed, 30)
    assert heard == [str(number) for number in range(count)]
    assert closed == [1000]
