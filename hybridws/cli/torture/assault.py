"""The assault: hostile requests, bodies, packets and frames against every address, and a look at who was hurt."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import secrets
import ssl as tls
import time
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from yarl import URL

from hybridws.testing import hostile

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from hybridws.cli.torture.dialects import Dialect

AT_ONCE: Final = 8
"""Hostile clients at the same time."""
MOST: Final = 64 * 1024
"""Bytes of an answer that are read."""
SHOWN: Final = 3
"""Wrongs of one kind that the report shows."""
LATE: Final = 10.0
"""Seconds after which an answer is not waited for any more, and counts as none."""
PAUSE: Final = 0.5
"""Seconds before a session is asked for again, when there are too many."""
CLOSE: Final = 0x8  # RFC 6455 §5.2
PONG: Final = 0xA
SERVER_FAULT: Final = 500
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])")


class Assault(NamedTuple):
    """What one kind of hostile input did. Times are in seconds."""

    name: str
    inputs: int
    slowest: float
    wrongs: list[str]
    """Faults of the server (5xx), inputs that were never answered, or too late."""

    @property
    def passed(self) -> bool:
        """Whether the server took no harm."""
        return not self.wrongs


class Front:
    """The way to a server that takes whatever bytes one has for it."""

    def __init__(self, url: str, dialect: Dialect, most: float, context: tls.SSLContext | None) -> None:
        """Aim at a mount; what is answered after more than `most` seconds was too late."""
        self._url = URL(url)
        self._dialect = dialect
        self._most = most
        self._tls = (context or tls.create_default_context()) if self._url.scheme in ("https", "wss") else None
        self.host = self._url.raw_authority
        self._base = self._url.raw_path.rstrip("/")
        scheme = "https" if self._tls else "http"
        self._origin = f"{scheme}://{self._url.authority}"
        self._gate = asyncio.Semaphore(AT_ONCE)

    def at(self, path: str, sid: str = "") -> str:
        """Return the path of an address below the mount."""
        return self._base + path.replace("{sid}", sid)

    def post(self, path: str, body: bytes) -> bytes:
        """Write a POST as a client of this server would, but for its body."""
        head = f"POST {path} HTTP/1.1\r\nHost: {self.host}\r\nOrigin: {self._origin}\r\nConnection: close\r\n"
        return f"{head}Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    def handshake(self, path: str) -> bytes:
        """Write the request for a WebSocket."""
        key = base64.b64encode(os.urandom(16)).decode()
        return (
            f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\nOrigin: {self._origin}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        ).encode()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connect."""
        reader, writer = await asyncio.open_connection(
            self._url.host,
            self._url.port,
            ssl=self._tls,
            limit=MOST,
            server_hostname=self._url.host if self._tls else None,
        )
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def ask(self, request: bytes) -> bytes:
        """Send bytes; return what begins to come back, empty if that is only the connection's end."""
        async with self.connection() as (reader, writer):
            writer.write(request)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while part := await reader.read(MOST):
                    answer += part
                    if _is_whole(answer) or len(answer) >= MOST:
                        break
            return answer

    async def frame(self, path: str, first: bytes, data: bytes) -> bytes:
        """Send bytes on a WebSocket, and a ping; return once it was answered, or the connection has ended."""
        async with self.connection() as (reader, writer):
            writer.write(self.handshake(path))
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 101 " not in head.partition(b"\r\n")[0]:
                return head
            writer.write(first + data + hostile.frame(0x89, b"alive?"))
            heard = b""
            with contextlib.suppress(ConnectionError):
                while part := await reader.read(MOST):
                    heard += part
                    if _is_answered(heard):
                        break
            return b""

    async def each(self, name: str, inputs: Iterable[bytes], send: Callable[[bytes], Awaitable[bytes]]) -> Assault:
        """Send each input, some at a time, and gather what went wrong."""
        wrongs: list[str] = []
        slowest = 0.0

        async def one(data: bytes) -> None:
            nonlocal slowest
            async with self._gate:
                begun = time.monotonic()
                wrong = ""
                try:
                    async with asyncio.timeout(LATE):
                        wrong = self._judge(await send(data))
                except TimeoutError:
                    wrong = f"no answer within {LATE:g} s"
                except (OSError, EOFError) as error:
                    wrong = f"no connection: {str(error) or type(error).__name__}"
                took = time.monotonic() - begun
                slowest = max(slowest, took)
                if not wrong and took > self._most:
                    wrong = f"answered after {took:.1f} s"
                if wrong:
                    wrongs.append(f"{_short(data)}: {wrong}")

        every = list(inputs)
        await asyncio.gather(*map(one, every))
        return Assault(name, len(every), round(slowest, 3), wrongs)

    def _judge(self, answer: bytes) -> str:
        """Say what is wrong with an answer; empty if nothing is."""
        status = _STATUS.match(answer)
        if status is None or int(status[1]) < SERVER_FAULT:
            return ""
        body = answer.partition(b"\r\n\r\n")[2]
        if int(status[1]) == SERVER_FAULT and self._dialect.says_500 and b"Server Error" not in body:
            return ""
        if int(status[1]) in (501, 505):
            return ""  # it does not know the method, or the version, and says so
        return f"status {status[1].decode()}"

    async def session(self) -> tuple[str, str]:
        """Open a session by hand, for inputs that need one; return its name and its key."""
        name = secrets.token_hex(8)
        async with asyncio.timeout(LATE):
            answer = await self.ask(self.post(self.at(self._dialect.opens, name), self._dialect.hello))
        found = re.search(rb'"sid":\s?"([^"]+)"', answer)
        key = re.search(rb'"key":\s?"([^"]+)"', answer)
        return (found[1].decode() if found else name), (key[1].decode() if key else "")


def _is_whole(answer: bytes) -> bool:
    """Tell whether an answer with a length has come whole, or one without has begun."""
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
    return bool(end) and (length is None or len(body) >= int(length[1]))


def _is_answered(heard: bytes) -> bool:
    """Tell whether a server's frames hold the answer to a ping, or a close."""
    at = 0
    while len(heard) - at >= 2:  # noqa: PLR2004 - RFC 6455 §5.2
        kind, size = heard[at] & 0x0F, heard[at + 1] & 0x7F
        if kind in (CLOSE, PONG):
            return True
        wide = {126: 2, 127: 8}.get(size, 0)
        if wide:
            size = int.from_bytes(heard[at + 2 : at + 2 + wide], "big")
        at += 2 + wide + size
    return False


def _short(data: bytes) -> str:
    text = repr(data[:60])[2:-1]
    return f"{text}… ({len(data)} bytes)" if len(data) > 60 else text  # noqa: PLR2004 - what fits a line


async def assaults(front: Front, dialect: Dialect, name: str) -> list[Assault]:
    """Try all that is hostile on every address, and return what each kind did."""
    found: list[Assault] = []
    paths = dict.fromkeys(path.partition("?")[0] for path in ("", dialect.socket, *dialect.posts))
    for path in paths:
        sid, _ = await front.session()
        requests = hostile.requests(front.host, front.at(path, sid))
        found.append(await front.each(f"requests to {path or '/'}", requests, front.ask))
    for path in dialect.posts:
        sid, _ = await front.session()

        async def rubbish(body: bytes, where: str = front.at(path, sid)) -> bytes:
            return await front.ask(front.post(where, body))

        found.append(await front.each(f"bodies to {path}", dialect.bodies, rubbish))

    async def bare(data: bytes) -> bytes:
        sid, _ = await front.session()
        return await front.frame(front.at(dialect.socket, sid), b"", data)

    found.append(await front.each("frames on a new WebSocket", hostile.frames(), bare))
    if name == "hybridws":
        for codec in ("json", "msgpack"):
            found += await _packets(front, dialect, codec)
    return found


class Knocker:
    """Opens sessions of one codec, and sends packets with their keys, so that these come as far as they can."""

    def __init__(self, front: Front, dialect: Dialect, codec: str) -> None:
        """Open nothing yet."""
        self._front = front
        self._dialect = dialect
        self._codec = codec
        self._first = 0x81 if codec == "json" else 0x82

    def _attach(self, sid: str, key: str, n: int) -> bytes:
        words = ["@", sid, key, n, 0, {"hold": 0}]
        return json.dumps(words).encode() + b"\n" if self._codec == "json" else hostile.pack(words)

    async def _opened(self) -> tuple[str, str]:
        """Open a session and let a poll attach to it, so that it is somebody's and counts as no other."""
        front, hello = self._front, json.dumps(["i", {"v": 1, "codec": self._codec}]).encode()
        while True:
            answer = await front.ask(front.post(front.at(self._dialect.opens), hello))
            if b" 429 " not in answer.partition(b"\r\n")[0]:
                break
            await asyncio.sleep(PAUSE)
        head = json.loads(answer.partition(b"\r\n\r\n")[2].partition(b"\n")[0])
        if head[0] != "o":
            raise ConnectionRefusedError(f"no session could be opened: {head}")
        sid, key = str(head[1]["sid"]), str(head[1]["key"])
        await front.ask(front.post(front.at("/v1/{sid}/poll", sid), self._attach(sid, key, 1)))
        return sid, key

    async def post(self, path: str, packet: bytes) -> bytes:
        """Send a packet in a POST."""
        sid, key = await self._opened()
        body = self._attach(sid, key, 0 if path.endswith("/send") else 2) + packet
        return await self._front.ask(self._front.post(self._front.at(path, sid), body))

    async def frames(self, data: bytes) -> bytes:
        """Send bytes on a WebSocket that has attached to a session."""
        sid, key = await self._opened()
        first = hostile.frame(self._first, self._attach(sid, key, 2))
        return await self._front.frame(self._front.at(self._dialect.socket), first, data)

    async def frame(self, packet: bytes) -> bytes:
        """Send a packet on such a WebSocket."""
        return await self.frames(hostile.frame(self._first, packet))


async def _packets(front: Front, dialect: Dialect, codec: str) -> list[Assault]:
    """Try hostile packets with the key of a session."""
    knocker = Knocker(front, dialect, codec)
    packets = hostile.json_packets() if codec == "json" else hostile.msgpack_packets()
    found = [
        await front.each(f"{codec} packets to {path}", packets, partial(knocker.post, path))
        for path in dialect.posts
        if "{sid}" in path
    ]
    found.append(await front.each(f"frames on a WebSocket of a {codec} session", hostile.frames(), knocker.frames))
    found.append(await front.each(f"{codec} packets on a WebSocket", packets, knocker.frame))
    return found
