"""HTTP and WebSocket clients on bare sockets: they see every chunk, frame and break as it comes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeVar
from urllib.parse import urlsplit

from multidict import CIMultiDict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from hybridws import Server, Session

T = TypeVar("T")

PATIENCE: Final = 10.0
"""Seconds after which whatever must come is taken for lost."""
LINE_LIMIT: Final = 2**20
"""Bytes of a line of a head; those of a chunk do not count."""

TEXT: Final = 0x1  # RFC 6455 §5.2
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA


async def within(awaitable: Awaitable[T], patience: float = PATIENCE) -> T:
    """Wait for what must come. Raises TimeoutError."""
    async with asyncio.timeout(patience):
        return await awaitable


async def until(true: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait until something is true that no event tells of. Raises TimeoutError."""
    async with asyncio.timeout(patience):
        while not true():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.005)


# ── the server's side ─────────────────────────────────────────────────────────────────────────────────────────────


class Place(NamedTuple):
    """One mount on a server that runs."""

    origin: str
    """Scheme, host and port."""
    prefix: str
    server: Server

    def at(self, path: str) -> str:
        """Return the path of an address below the mount."""
        return self.prefix + path


class Witness:
    """A handler that notes what it sees, so that a test can wait for it and act in its place."""

    def __init__(self) -> None:
        """Start without having seen anything."""
        self.opened: asyncio.Queue[Session] = asyncio.Queue()
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        self.ended: asyncio.Queue[Session] = asyncio.Queue()

    async def __call__(self, session: Session) -> None:
        """Handle one session to its end."""
        self.opened.put_nowait(session)
        async for message in session:
            self.messages.put_nowait(message)
        self.ended.put_nowait(session)

    async def session(self) -> Session:
        """Wait for the next session to open."""
        return await within(self.opened.get())

    async def message(self) -> object:
        """Wait for the next message from any session."""
        return await within(self.messages.get())

    async def end(self) -> Session:
        """Wait for the next session to end."""
        return await within(self.ended.get())


async def echo(session: Session) -> None:
    """Send every message back."""
    async for message in session:
        await session.send(message)


async def attached(session: Session) -> None:
    """Wait until a receiver is attached to a session that has none or is changing."""
    await until(lambda: session.transports and session.transports[-1].until is None)


# ── HTTP by hand ──────────────────────────────────────────────────────────────────────────────────────────────────


class Head(NamedTuple):
    """The head of a response."""

    version: str
    status: int
    headers: CIMultiDict[str]


class Reply(NamedTuple):
    """A whole response."""

    status: int
    headers: CIMultiDict[str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text, without the line's end."""
        return self.body.decode().rstrip("\n")


class Wire:
    """One TCP connection that speaks HTTP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection; `Wire.to` makes one."""
        self.reader = reader
        self.writer = writer
        self._chunked = False
        self._left: int | None = 0
        """Bytes of the body that are to come; None until the connection ends."""

    @classmethod
    async def to(cls, origin: str) -> Self:
        """Connect."""
        parts = urlsplit(origin)
        return cls(*await within(asyncio.open_connection(parts.hostname, parts.port, limit=LINE_LIMIT)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def usable(self) -> bool:
        """Whether another request may be made."""
        return not (self.writer.is_closing() or self.reader.at_eof())

    async def send(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.writer.write(data)
        await within(self.writer.drain())

    async def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        version: str = "1.1",
    ) -> None:
        """Send a request; without a body there is no Content-Length either."""
        host, port = self.writer.get_extra_info("peername")[:2]
        lines = {"Host": f"{host}:{port}", **(headers or {})}
        if body is not None:
            lines.setdefault("Content-Length", str(len(body)))
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        await self.send(f"{method} {path} HTTP/{version}\r\n{head}\r\n".encode() + (body or b""))

    async def head(self) -> Head:
        """Read the head of a response (not one to HEAD)."""
        raw = await within(self.reader.readuntil(b"\r\n\r\n"))
        first, *lines = raw.decode("latin-1").split("\r\n")[:-2]
        version, status, _ = first.split(" ", 2)
        headers: CIMultiDict[str] = CIMultiDict()
        for line in lines:
            name, _, value = line.partition(":")
            headers.add(name, value.strip())
        self._chunked = headers.get("Transfer-Encoding") == "chunked"
        length = headers.get("Content-Length")
        self._left = int(length) if length else None
        if int(status) in (101, 204, 304):
            self._left = 0
        return Head(version.removeprefix("HTTP/"), int(status), headers)

    async def chunk(self) -> bytes:
        """Read one chunk of the body as the server sent it, or what there is of an unchunked one; empty at its end."""
        if self._chunked:
            size = int(await within(self.reader.readuntil(b"\r\n")), 16)
            data = await within(self.reader.readexactly(size + 2))
            assert data.endswith(b"\r\n")
            return data[:-2]
        if self._left is None:
            return await within(self.reader.read(LINE_LIMIT))
        data = await within(self.reader.readexactly(self._left))
        self._left = 0
        return data

    async def rest(self) -> bytes:
        """Read what is left of the body."""
        parts: list[bytes] = []
        while part := await self.chunk():
            parts.append(part)
        return b"".join(parts)

    async def reply(self) -> Reply:
        """Read a whole response."""
        head = await self.head()
        return Reply(head.status, head.headers, await self.rest())

    async def at_end(self) -> bool:
        """Wait for what comes next, and tell whether it is the connection's end."""
        try:
            return await within(self.reader.read(1)) == b""
        except ConnectionError:
            return True

    def abort(self) -> None:
        """Cut the connection at once."""
        self.writer.transport.abort()

    async def close(self) -> None:
        """Close the connection."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await within(self.writer.wait_closed())


async def ask(
    place: Place,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Reply:
    """Make one request on a connection of its own; the path is below the mount's prefix."""
    async with await Wire.to(place.origin) as wire:
        await wire.request(method, place.at(path), headers, body)
        return await wire.reply()


# ── WebSocket by hand ─────────────────────────────────────────────────────────────────────────────────────────────


class Socket:
    """One WebSocket (RFC 6455); it answers pings unless told not to."""

    def __init__(self, wire: Wire, head: Head, *, pongs: bool) -> None:
        """Take a connection after its handshake; `Socket.to` makes one."""
        self.wire = wire
        self.head = head
        self.pongs = pongs
        self.pings = 0
        self.closed: tuple[int, str] | None = None
        """What the server's close frame said."""

    @classmethod
    async def to(cls, place: Place, path: str, headers: Mapping[str, str] | None = None, *, pongs: bool = True) -> Self:
        """Connect and do the handshake, as a page of the same origin unless the headers say otherwise."""
        wire = await Wire.to(place.origin)
        await wire.request("GET", place.at(path), {**handshake(), "Origin": place.origin, **(headers or {})})
        head = await wire.head()
        if head.status != 101:
            text = (await wire.rest()).decode()
            await wire.close()
            raise AssertionError(f"no WebSocket, but {head.status} {text}")
        return cls(wire, head, pongs=pongs)

    async def send(self, opcode: int, payload: bytes, *, fin: bool = True) -> None:
        """Send one frame."""
        mask = os.urandom(4)
        size = len(payload)
        length = (
            struct.pack("!B", 0x80 | size)
            if size < 126
            else struct.pack("!BH", 0x80 | 126, size)
            if size < 2**16
            else struct.pack("!BQ", 0x80 | 127, size)
        )
        key = int.from_bytes((mask * (size // 4 + 1))[:size])
        masked = (int.from_bytes(payload) ^ key).to_bytes(size)
        await self.wire.send(bytes([opcode | (0x80 if fin else 0)]) + length + mask + masked)

    async def frame(self) -> tuple[int, bytes]:
        """Read one frame, whatever it is; pings have been answered, and a close frame too."""
        reader = self.wire.reader
        first, second = await within(reader.readexactly(2))
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await within(reader.readexactly(2)))
        elif size == 127:
            (size,) = struct.unpack("!Q", await within(reader.readexactly(8)))
        payload = await within(reader.readexactly(size))
        opcode = first & 0x0F
        if opcode == PING:
            self.pings += 1
            if self.pongs:
                await self.send(PONG, payload)
        if opcode == CLOSE:
            self.closed = (struct.unpack("!H", payload[:2])[0], payload[2:].decode())
            with contextlib.suppress(ConnectionError):
                await self.send(CLOSE, payload[:2])
        return opcode, payload

    async def message(self) -> str | bytes:
        """Read the next message. Raises EOFError once the server has closed."""
        while True:
            opcode, payload = await self.frame()
            if opcode == TEXT:
                return payload.decode()
            if opcode == BINARY:
                return payload
            if opcode == CLOSE:
                raise EOFError(self.closed)


def handshake() -> dict[str, str]:
    """Return the headers that ask for a WebSocket (RFC 6455 §4.1)."""
    return {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
