"""The raw WebSocket, with the two usual Python clients: `websockets` and aiohttp's own."""

from __future__ import annotations

import asyncio
import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
import websockets
from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError, web
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.frames import Close

from hybridws import Closed, Session
from hybridws.aiohttp import mount
from tests.live.words import BYE, FAREWELL, echo

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from aiohttp import ClientWebSocketResponse
    from websockets.asyncio.client import ClientConnection

    Serve = Callable[[web.Application], Awaitable[str]]

pytestmark = pytest.mark.live

PATIENCE: Final = 10.0
"""Seconds for anything that should come at once."""

MESSAGES: Final[list[str | bytes]] = [
    "text",
    "",
    "grüß dich 😀\u2028\x00",
    b"bytes",
    b"",
    bytes(range(256)),
    "x" * 65_536,
    b"\xff" * 65_536,
]


class Witness:
    """A handler that echoes, and afterwards tells with what code and reason the session has ended."""

    def __init__(self) -> None:
        """See nothing yet."""
        self.session: Session | None = None
        self._ended: asyncio.Future[Closed | None] = asyncio.get_running_loop().create_future()

    async def __call__(self, session: Session) -> None:
        """Echo until the end."""
        self.session = session
        await echo(session)
        self._ended.set_result(session.closed)

    async def closed(self) -> Closed | None:
        """Wait for the end."""
        async with asyncio.timeout(PATIENCE):
            return await self._ended


async def start(serve: Serve, handler: Callable[[Session], Any] = echo, **options: object) -> str:
    """Mount a handler, and return the address of its raw WebSocket."""
    app = web.Application()
    mount(app, "/raw", handler, **options)
    url = await serve(app)
    return f"{url}/raw/websocket".replace("http", "ws", 1)


@asynccontextmanager
async def aiohttp_client(url: str, **options: Any) -> AsyncGenerator[ClientWebSocketResponse]:  # noqa: ANN401
    """Connect with aiohttp."""
    async with ClientSession() as client, client.ws_connect(url, **options) as socket:
        yield socket


async def closing(socket: ClientConnection) -> Close | None:
    """Wait until the server closes; return what its close frame says, None if there was none."""
    with pytest.raises((ConnectionClosedOK, ConnectionClosedError)) as closed:
        async with asyncio.timeout(PATIENCE):
            await socket.recv()
    return closed.value.rcvd


# ── messages ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_messages_with_websockets(serve: Serve) -> None:
    """Text comes back as text and bytes as bytes, whole and in order, empty ones too; the transport has its word."""
    witness = Witness()
    async with websockets.connect(await start(serve, witness)) as socket:
        for message in MESSAGES:
            await socket.send(message)
        assert [await socket.recv() for _ in MESSAGES] == MESSAGES
        assert witness.session
        assert witness.session.transport == "websocket-raw"


async def test_messages_with_aiohttp(serve: Serve) -> None:
    """The same with aiohttp's client."""
    async with aiohttp_client(await start(serve)) as socket:
        for message in MESSAGES:
            await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))
        assert [(await socket.receive(PATIENCE)).data for _ in MESSAGES] == MESSAGES


async def test_json_values(serve: Serve) -> None:
    """A client that can carry only text is given a JSON value as JSON text; payload="json" parses what it sends."""

    async def wrap(session: Session) -> None:
        async for message in session:
            await session.send({"got": message})

    async with aiohttp_client(await start(serve, wrap, payload="json")) as socket:
        await socket.send_json(["é", 1, None])
        assert await socket.receive_json(timeout=PATIENCE) == {"got": ["é", 1, None]}


async def test_fragments(serve: Serve) -> None:
    """A message in fragments arrives as one, with a ping amid them that is answered first (RFC 6455 §5.4)."""
    async with websockets.connect(await start(serve)) as socket:
        pongs = []

        async def fragments() -> AsyncIterator[str]:
            yield "one "
            pongs.append(await socket.ping())
            await pongs[0]
            yield "twö "
            yield ""
            yield "three"

        await socket.send(fragments())
        assert await socket.recv() == "one twö three"
        await socket.send([b"\x00\xff", b"\xfe"])
        assert await socket.recv() == b"\x00\xff\xfe"
        assert len(pongs) == 1


# ── pings ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_ping_is_answered(serve: Serve) -> None:
    """A ping of the client comes back as a pong with the same bytes, and the handler is not bothered."""
    async with aiohttp_client(await start(serve), autoping=False) as socket:
        await socket.ping(b"are you there?")
        answer = await socket.receive(PATIENCE)
        assert (answer.type, answer.data) == (WSMsgType.PONG, b"are you there?")
        await socket.send_str("still here")
        assert (await socket.receive(PATIENCE)).data == "still here"


async def test_heartbeat_is_a_ping(serve: Serve) -> None:
    """An idle connection is sent pings, and lives as long as they are answered."""
    async with aiohttp_client(await start(serve, heartbeat_delay=0.1, pong_timeout=1), autoping=False) as socket:
        for _ in range(3):
            assert (await socket.receive(PATIENCE)).type is WSMsgType.PING
            await socket.pong()
        await socket.send_str("alive")
        while (message := await socket.receive(PATIENCE)).type is WSMsgType.PING:
            await socket.pong()
        assert message.data == "alive"


async def test_silent_client_is_dropped(serve: Serve) -> None:
    """A client that answers no ping is gone: its session ends, and so does its connection."""
    witness = Witness()
    url = await start(serve, witness, heartbeat_delay=0.1, pong_timeout=0.2)
    async with aiohttp_client(url, autoping=False) as socket:
        closed = await witness.closed()
        assert closed is not None
        assert closed.by == "network"
        while (message := await socket.receive(PATIENCE)).type is WSMsgType.PING:
            pass
        assert message.type is WSMsgType.CLOSED


# ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1000, ""),
        (1001, "going away"),
        (1011, "oh"),
        (1012, "soon back"),
        (3000, "Go away!"),
        FAREWELL,
        (4999, "é" * 61),
    ],
)
async def test_server_closes(serve: Serve, code: int, reason: str) -> None:
    """What was sent before still arrives; then the client reads the handler's code and reason."""

    async def leave(session: Session) -> None:
        await session.send("last words")
        await session.close(code, reason)

    async with websockets.connect(await start(serve, leave)) as socket:
        assert await socket.recv() == "last words"
        assert await closing(socket) == Close(code, reason)


async def test_server_closes_aiohttp(serve: Serve) -> None:
    """The same with aiohttp's client."""
    async with aiohttp_client(await start(serve)) as socket:
        await socket.send_str(BYE)
        message = await socket.receive(PATIENCE)
        assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, *FAREWELL)


async def test_handler_returns(serve: Serve) -> None:
    """When the handler returns, the session closes with 1000."""

    async def say(session: Session) -> None:
        await session.send("that is all")

    async with websockets.connect(await start(serve, say)) as socket:
        assert await socket.recv() == "that is all"
        assert await closing(socket) == Close(1000, "Normal closure")


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "tab closed"), (3210, "tschüß"), (4999, "x" * 123)])
async def test_client_closes(serve: Serve, code: int, reason: str) -> None:
    """The handler reads the client's code and reason, and the client its own code as the answer (RFC 6455 §5.5.1)."""
    witness = Witness()
    async with websockets.connect(await start(serve, witness)) as socket:
        await socket.close(code, reason)
        assert await witness.closed() == Closed(code, reason, "remote")
        assert socket.close_code == code


async def test_client_closes_aiohttp(serve: Serve) -> None:
    """The same with aiohttp's client."""
    witness = Witness()
    async with aiohttp_client(await start(serve, witness)) as socket:
        await socket.close(code=4321, message="tschüß".encode())
        assert await witness.closed() == Closed(4321, "tschüß", "remote")
        assert socket.close_code == 4321


async def test_client_closes_without_a_code(serve: Serve) -> None:
    """A close frame may be empty: the handler reads 1005, which means just that (RFC 6455 §7.4.1)."""
    witness = Witness()
    async with websockets.connect(await start(serve, witness)) as socket:
        await socket.close(code=None)  # type: ignore[arg-type]  # it does what it says
        assert await witness.closed() == Closed(1005, "", "remote")


async def test_client_vanishes(serve: Serve) -> None:
    """A connection that breaks without a close frame ends the session, and the handler can tell."""
    witness = Witness()
    async with websockets.connect(await start(serve, witness)) as socket:
        await socket.send("hello")
        await socket.recv()
        socket.transport.abort()
        closed = await witness.closed()
        assert closed is not None
        assert closed.by == "network"


# ── sizes and compression ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("kind", [str, bytes])
async def test_largest_message(serve: Serve, kind: type[str | bytes], *, compress: bool) -> None:
    """A message of `max_message` bytes passes; one byte more closes with 4413, and the handler never sees it."""
    witness = Witness()
    url = await start(serve, witness, max_message=1000, compress=compress)
    fits = "é" * 500 if kind is str else b"\xff" * 1000
    async with websockets.connect(url) as socket:
        await socket.send(fits)
        assert await socket.recv() == fits
        await socket.send("é" * 500 + "x" if kind is str else b"\xff" * 1001)
        told = await closing(socket)
        assert told is not None
        assert told.code == 4413
        assert "max_message" in told.reason
    closed = await witness.closed()
    assert closed is not None
    assert closed.code == 4413


@pytest.mark.parametrize("fragmented", [False, True])
async def test_frame_that_is_far_too_large(serve: Serve, *, fragmented: bool) -> None:
    """What is over `max_batch` is not even read: the connection closes with 1009, also if it comes in fragments."""
    witness = Witness()
    async with websockets.connect(await start(serve, witness, max_message=1000, max_batch=2000)) as socket:
        await socket.send([b"x" * 1500] * 2 if fragmented else b"x" * 3000)
        told = await closing(socket)
        assert told is not None
        assert told.code == 1009
    closed = await witness.closed()
    assert closed is not None


async def test_bomb(serve: Serve) -> None:
    """A compressed frame that unpacks to more than `max_batch` is not unpacked: the connection closes with 1009."""
    witness = Witness()
    url = await start(serve, witness, compress=True)
    async with websockets.connect(url, max_size=None) as socket:
        packed = len(zlib.compress(b"\0" * 50_000_000))
        assert packed < 60_000
        await socket.send(b"\0" * 50_000_000)
        told = await closing(socket)
        assert told is not None
        assert told.code == 1009
    assert await witness.closed() is not None


async def test_compression(serve: Serve) -> None:
    """With compress=True, permessage-deflate is agreed on and messages pass both ways through both clients."""
    url = await start(serve, compress=True)
    async with websockets.connect(url) as socket:
        assert [extension.name for extension in socket.protocol.extensions] == ["permessage-deflate"]
        for message in MESSAGES:
            await socket.send(message)
        assert [await socket.recv() for _ in MESSAGES] == MESSAGES
    async with aiohttp_client(url, compress=15) as client:
        assert client.compress
        await client.send_str("x" * 65_536)
        assert (await client.receive(PATIENCE)).data == "x" * 65_536


async def test_no_compression(serve: Serve) -> None:
    """Compression costs memory and time, so without the option the offer of a client is not taken."""
    url = await start(serve)
    async with websockets.connect(url) as socket:
        assert socket.protocol.extensions == []
        await socket.send("x" * 1000)
        assert await socket.recv() == "x" * 1000
    async with aiohttp_client(url, compress=15) as client:
        assert not client.compress


# ── subprotocols ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (["v10.stomp", "v11.stomp", "v12.stomp"], "v12.stomp"),
        (["v12.stomp", "v11.stomp"], "v12.stomp"),
        (["unknown", "v11.stomp"], "v11.stomp"),
        (None, None),
    ],
)
async def test_subprotocol(serve: Serve, asked: list[str] | None, chosen: str | None) -> None:
    """Exactly one is chosen, by the server's order and not the client's; none if none was asked for."""
    seen: list[str | None] = []

    async def note(session: Session) -> None:
        seen.append(session.subprotocol)
        await session.send("noted")

    url = await start(serve, note, subprotocols=("v12.stomp", "v11.stomp"))
    async with websockets.connect(url, subprotocols=asked) as socket:  # type: ignore[arg-type]  # Subprotocol is str
        assert socket.subprotocol == chosen
        await socket.recv()
    async with aiohttp_client(url, protocols=asked or ()) as client:
        assert client.protocol == chosen
        await client.receive(PATIENCE)
    assert seen == [chosen, chosen]


@pytest.mark.parametrize("spoken", [(), ("v12.stomp",)])
async def test_unknown_subprotocols(serve: Serve, spoken: tuple[str, ...]) -> None:
    """A client that asked only for what is not spoken here is refused with 400, before any session is opened."""
    app = web.Application()
    server = mount(app, "/raw", echo, subprotocols=spoken)
    url = f"{await serve(app)}/raw/websocket".replace("http", "ws", 1)
    with pytest.raises(InvalidStatus) as refused:
        async with websockets.connect(url, subprotocols=["mqtt", "wamp"]):  # type: ignore[list-item]
            pass
    assert refused.value.response.status_code == 400
    assert b"mqtt" in (refused.value.response.body or b"")
    with pytest.raises(WSServerHandshakeError, match="400"):
        async with aiohttp_client(url, protocols=["mqtt"]):
            pass
    assert not server.sessions
