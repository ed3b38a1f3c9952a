"""Clients of a session over every transport of SockJS, all with the same methods."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from urllib.parse import quote, unquote

from tests.conformance.wire import TEXT, Place, Reply, Socket, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hybridws import Session

STREAMING: Final = ("xhr-streaming", "eventsource", "htmlfile")
POLLING: Final = ("xhr-polling", "jsonp-polling")
HTTP: Final = STREAMING + POLLING
SOCKJS: Final = ("websocket", *HTTP)
EVERY: Final = (*SOCKJS, "websocket-raw")


class Mounting(Protocol):
    """What the fixture `place` is: it mounts a handler and starts a server."""

    async def __call__(
        self,
        handler: Callable[[Session], Any],
        *,
        prefix: str = "/echo",
        runner: Mapping[str, object] | None = None,
        **options: object,
    ) -> Place:
        """Mount with these options, on a runner with those; legacy transports are on."""
        ...


class Peer(Protocol):
    """A client of one session, over one transport."""

    transport: str
    address: str
    """Where its transports are, below the prefix: `/SERVER/SESSION`."""

    async def open(self) -> None:
        """Open the session."""
        ...

    async def listen(self) -> None:
        """Have a receiver attached, without waiting for what it brings."""
        ...

    async def frame(self) -> str:
        """Wait for the next frame of SockJS, or the next message of a raw WebSocket."""
        ...

    async def receive(self) -> str:
        """Wait for the next message."""
        ...

    async def send(self, *messages: str) -> None:
        """Send messages together, or one after the other on a raw WebSocket."""
        ...

    async def closed(self) -> tuple[int, str]:
        """Wait until the server closes the session, and return what it says."""
        ...

    async def vanish(self) -> None:
        """Cut all connections without a word."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class Row(NamedTuple):
    """How one HTTP transport looks."""

    path: str
    method: str
    content_type: str
    unwrap: Callable[[bytes], str]
    """Take a frame out of its chunk."""
    prelude: Callable[[bytes], bool] | None = None
    """Tell whether this is what a stream begins with; None for a poll."""


def _unline(chunk: bytes) -> str:
    assert chunk.endswith(b"\n")
    return chunk[:-1].decode()


def _unevent(chunk: bytes) -> str:
    assert chunk.startswith(b"data: ")
    assert chunk.endswith(b"\r\n\r\n")
    return unquote(chunk[6:-4].decode())


def _unscript(chunk: bytes) -> str:
    assert chunk.startswith(b"<script>\np(")
    assert chunk.endswith(b");\n</script>\r\n")
    return str(json.loads(chunk[11:-14]))


def _unjsonp(chunk: bytes) -> str:
    assert chunk.startswith(b"/**/cb(")
    assert chunk.endswith(b");\r\n")
    return str(json.loads(chunk[7:-4]))


NOT_CACHED: Final = "no-store, no-cache, no-transform, must-revalidate, max-age=0"
JAVASCRIPT: Final = "application/javascript; charset=UTF-8"

ROWS: Final = {
    "xhr-streaming": Row("xhr_streaming", "POST", JAVASCRIPT, _unline, lambda chunk: chunk == b"h" * 2048 + b"\n"),
    "eventsource": Row("eventsource", "GET", "text/event-stream", _unevent, lambda chunk: chunk == b"\r\n"),
    "htmlfile": Row(
        "htmlfile?c=cb",
        "GET",
        "text/html; charset=UTF-8",
        _unscript,
        lambda chunk: len(chunk) > 1024 and chunk.endswith(b"\r\n\r\n"),
    ),
    "xhr-polling": Row("xhr", "POST", JAVASCRIPT, _unline),
    "jsonp-polling": Row("jsonp?c=cb", "GET", JAVASCRIPT, _unjsonp),
}


class HttpPeer:
    """A client over one of the HTTP transports: it asks again whenever a response has ended."""

    def __init__(self, place: Place, transport: str, address: str) -> None:
        """Prepare; nothing is sent yet."""
        self.transport = transport
        self.address = address
        self.sizes: list[int] = []
        """The bytes of frames that each response brought."""
        self._place = place
        self._row = ROWS[transport]
        self._headers = {"Origin": place.origin}
        self._down: Wire | None = None
        self._up: Wire | None = None
        self._listening = False
        self._headed = False
        self._inbox: deque[str] = deque()

    async def open(self) -> None:
        """Open the session."""
        assert await self.frame() == "o"

    async def listen(self) -> None:
        """Have a receiver attached, without waiting for what it brings."""
        if self._listening:
            return
        if self._down is None or not self._down.usable:
            self._down = await self._renew(self._down)
        await self._down.request(self._row.method, self._place.at(f"{self.address}/{self._row.path}"), self._headers)
        self._listening = True
        self._headed = False

    async def frame(self) -> str:
        """Wait for the next frame, over as many responses as it takes."""
        while True:
            await self.listen()
            assert self._down
            if not self._headed:
                await self._begin(self._down)
            chunk = await self._down.chunk()
            if not chunk:
                self._listening = False
                continue
            self.sizes[-1] += len(chunk)
            if not self._row.prelude:
                assert await self._down.chunk() == b""
                self._listening = False
            return self._row.unwrap(chunk)

    async def _begin(self, down: Wire) -> None:
        head = await down.head()
        if head.status != 200:
            raise AssertionError(f"no frames, but {head.status} {(await down.rest()).decode()}")
        assert head.headers["Content-Type"] == self._row.content_type
        self._headed = True
        self.sizes.append(0)
        if self._row.prelude:
            assert self._row.prelude(await down.chunk())

    async def receive(self) -> str:
        """Wait for the next message."""
        while not self._inbox:
            self._inbox.extend(messages(await self.frame()))
        return self._inbox.popleft()

    async def send(self, *messages: str) -> None:
        """Send messages in one request."""
        reply = await self.post(json.dumps(messages).encode())
        assert (reply.status, reply.body) == ((200, b"ok") if self._is_jsonp else (204, b"")), reply

    @property
    def _is_jsonp(self) -> bool:
        return self.transport == "jsonp-polling"

    async def post(self, body: bytes) -> Reply:
        """Send a body as it is, but for a form's encoding, and return the answer."""
        headers = {**self._headers, "Content-Type": "text/plain"}
        path = "xhr_send"
        if self._is_jsonp:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            path, body = "jsonp_send", b"d=" + quote(body).encode()
        if self._up is None or not self._up.usable:
            self._up = await self._renew(self._up)
        await self._up.request("POST", self._place.at(f"{self.address}/{path}"), headers, body)
        return await self._up.reply()

    async def closed(self) -> tuple[int, str]:
        """Wait until the server closes the session, and return what it says."""
        return closing(await self.frame())

    async def vanish(self) -> None:
        """Cut all connections without a word."""
        for wire in (self._down, self._up):
            if wire:
                wire.abort()
        self._listening = False

    async def close(self) -> None:
        """Close all connections."""
        for wire in (self._down, self._up):
            if wire:
                await wire.close()

    async def _renew(self, wire: Wire | None) -> Wire:
        if wire:
            await wire.close()
        return await Wire.to(self._place.origin)


class SocketPeer:
    """A client over a WebSocket, with SockJS's framing or raw."""

    def __init__(self, place: Place, transport: str, address: str) -> None:
        """Prepare; nothing is sent yet."""
        self.transport = transport
        self.address = address
        self.socket: Socket | None = None
        self._place = place
        self._raw = transport == "websocket-raw"
        self._inbox: deque[str] = deque()

    async def open(self) -> None:
        """Open the session."""
        await self.listen()
        if not self._raw:
            assert await self.frame() == "o"

    async def listen(self) -> None:
        """Have a connection."""
        if self.socket is None:
            path = "/websocket" if self._raw else f"{self.address}/websocket"
            self.socket = await Socket.to(self._place, path)

    async def frame(self) -> str:
        """Wait for the next message of the WebSocket."""
        assert self.socket
        message = await self.socket.message()
        assert isinstance(message, str)
        return message

    async def receive(self) -> str:
        """Wait for the next message."""
        while not self._inbox:
            frame = await self.frame()
            self._inbox.extend([frame] if self._raw else messages(frame))
        return self._inbox.popleft()

    async def send(self, *messages: str) -> None:
        """Send messages together, or one after the other if this is raw."""
        assert self.socket
        for payload in messages if self._raw else [json.dumps(messages)]:
            await self.socket.send(TEXT, payload.encode())

    async def closed(self) -> tuple[int, str]:
        """Wait until the server closes, and return what it says: in a frame of SockJS, or in the close frame."""
        assert self.socket
        said = None if self._raw else closing(await self.frame())
        try:
            raise AssertionError(f"this came after the end: {await self.socket.message()!r}")
        except EOFError:
            assert self.socket.closed
        assert await self.socket.wire.at_end()
        return said or self.socket.closed

    async def vanish(self) -> None:
        """Cut the connection without a word."""
        if self.socket:
            self.socket.wire.abort()

    async def close(self) -> None:
        """Close the connection."""
        if self.socket:
            await self.socket.wire.close()


def messages(frame: str) -> list[str]:
    """Take the messages out of a frame; a heartbeat has none. Anything else is a failure."""
    if frame == "h":
        return []
    assert frame.startswith("a["), frame[:200]
    found = json.loads(frame[1:])
    assert all(type(message) is str for message in found)
    return list(found)


def closing(frame: str) -> tuple[int, str]:
    """Take code and reason out of a close frame. Anything else is a failure."""
    assert frame.startswith("c["), frame[:200]
    code, reason = json.loads(frame[1:])
    return code, reason


class Dial(Protocol):
    """What the fixture `dial` is: it makes clients, and closes them after the test."""

    def __call__(self, place: Place, transport: str, address: str | None = None) -> Peer:
        """Make a client over a transport, of a session of its own unless one is named."""
        ...
