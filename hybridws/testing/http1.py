"""As much of HTTP/1.1 as a proxy must understand: heads, how long a body is, and the body itself (RFC 9112)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from hybridws.testing.ends import HIGH_WATER, Ended

if TYPE_CHECKING:
    from collections.abc import Collection

    from hybridws.testing.ends import End

MAX_HEAD: Final = 64 * 1024
"""Bytes of a head: what no browser and no server exceeds."""
MAX_CHUNK_LINE: Final = 1024
MAX_BODY: Final = 64 * 1024 * 1024
"""Bytes of a body that is kept whole, to be sent twice or with its length: enough for any test."""
UPGRADED: Final = 101

HOP_BY_HOP: Final = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
"""Headers that concern one connection, not the message (RFC 9110 §7.6.1)."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_REQUEST: Final = re.compile(r"([A-Za-z]+) (\S+) HTTP/1\.([01])")
_RESPONSE: Final = re.compile(r"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: (.*))?")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")

Headers = list[tuple[str, str]]


class Broken(Exception):
    """What came is not HTTP."""


class Framing(Enum):
    """How the end of a body is known."""

    NONE = "there is no body"
    LENGTH = "by its length"
    CHUNKED = "by its last chunk"
    CLOSE = "by the end of the connection"


@dataclass(slots=True)
class Head:
    """The head of a request or a response."""

    minor: int
    """HTTP/1.`minor`."""
    headers: Headers
    framing: Framing = Framing.NONE
    length: int = 0
    method: str = ""
    target: str = ""
    status: int = 0
    phrase: str = ""

    def get(self, name: str) -> str:
        """Return a header's values, joined by commas; empty if there is none."""
        return ", ".join(value for key, value in self.headers if key.lower() == name)

    def tokens(self, name: str) -> set[str]:
        """Return the words of a list header, in lower case."""
        return {word.strip().lower() for word in self.get(name).split(",") if word.strip()}

    @property
    def upgrade(self) -> bool:
        """Whether it asks for a WebSocket, or grants one."""
        return "upgrade" in self.tokens("connection") and "websocket" in self.tokens("upgrade")

    @property
    def keep_alive(self) -> bool:
        """Whether another message may follow on this connection."""
        return "close" not in self.tokens("connection") and (
            self.minor > 0 or "keep-alive" in self.tokens("connection")
        )

    def end_to_end(self, *without: str) -> Headers:
        """Return the headers that a proxy passes on, but for those named."""
        drop = HOP_BY_HOP | self.tokens("connection") | set(without)
        return [(key, value) for key, value in self.headers if key.lower() not in drop]


async def read_request(end: End) -> Head | None:
    """Read the head of a request; None where the connection ends before one. Raises Broken, Ended."""
    try:
        line, headers = await _read_head(end)
    except Ended:
        return None
    found = _REQUEST.fullmatch(line)
    if found is None:
        raise Broken(f"not a request: {line[:80]!r}")
    head = Head(int(found[3]), headers, method=found[1], target=found[2])
    head.framing, head.length = _framing(head, otherwise=Framing.NONE)
    return head


async def read_response(end: End, method: str) -> Head:
    """Read the head of the response to a request, after all interim ones but 101. Raises Broken, Ended."""
    while True:
        line, headers = await _read_head(end)
        found = _RESPONSE.fullmatch(line)
        if found is None:
            raise Broken(f"not a response: {line[:80]!r}")
        head = Head(int(found[1]), headers, status=int(found[2]), phrase=found[3] or "")
        if head.status >= 200 or head.status == UPGRADED:  # noqa: PLR2004 - 1xx are interim (RFC 9110 §15.2)
            break
    if not (method == "HEAD" or head.status in (UPGRADED, 204, 304)):
        head.framing, head.length = _framing(head, otherwise=Framing.CLOSE)
    return head


async def _read_head(end: End) -> tuple[str, Headers]:
    try:
        text = (await end.read_until(b"\r\n\r\n", MAX_HEAD)).decode("latin-1")
    except ValueError as error:
        raise Broken(f"no end of the head: {error}") from None
    line, *rest = text.lstrip("\r\n").split("\r\n")
    headers: Headers = []
    for row in rest:
        name, colon, value = row.partition(":")
        if not colon or not _TOKEN.fullmatch(name):
            raise Broken(f"not a header: {row[:80]!r}")
        headers.append((name, value.strip(" \t")))
    return line, headers


def _framing(head: Head, otherwise: Framing) -> tuple[Framing, int]:
    """Tell how the body's end is known (RFC 9112 §6.3). Raises Broken where it is said in two ways."""
    coding, length = head.get("transfer-encoding").lower(), head.get("content-length")
    if coding:
        if coding != "chunked" or length:
            raise Broken("a body with another coding than chunks, or with a length besides")
        return Framing.CHUNKED, 0
    if length:
        if not (length.isascii() and length.isdecimal()):
            raise Broken(f"not a length: {length[:80]!r}")
        return (Framing.LENGTH, int(length)) if int(length) else (Framing.NONE, 0)
    return otherwise, 0


class Body:
    """A body on its way: `read` it until there are no more bytes."""

    __slots__ = ("_end", "_framing", "_left")

    def __init__(self, end: End, head: Head) -> None:
        """Prepare to read the body that follows `head`."""
        self._end = end
        self._framing = head.framing
        self._left = head.length  # of the body, or of its chunk

    async def read(self) -> bytes:
        """Return the next bytes as they come; none when it is complete. Raises Ended where it is cut off, Broken."""
        if self._framing is Framing.NONE:
            return b""
        if self._framing is Framing.CLOSE:
            data = await self._end.read()
            if not data and self._end.broken:
                raise Ended
            return data
        if not self._left and self._framing is Framing.CHUNKED:
            await self._next_chunk()
        if not self._left:
            self._framing = Framing.NONE
            return b""
        data = await self._end.read(min(self._left, HIGH_WATER))
        if not data:
            raise Ended
        self._left -= len(data)
        if not self._left and self._framing is Framing.CHUNKED and await self._line(b"\r\n") != b"":
            raise Broken("a chunk is longer than it says")
        return data

    async def _next_chunk(self) -> None:
        line = await self._line(b"\r\n")
        found = _CHUNK.fullmatch(line)
        if found is None:
            raise Broken(f"not the size of a chunk: {line[:80]!r}")
        self._left = int(found[1], 16)
        if not self._left:
            while await self._line(b"\r\n"):
                pass  # trailers are dropped

    async def _line(self, mark: bytes) -> bytes:
        try:
            return await self._end.read_until(mark, MAX_CHUNK_LINE)
        except ValueError as error:
            raise Broken(f"a line of a chunked body is too long: {error}") from None

    async def read_all(self) -> bytes:
        """Return all that is left. Raises Ended, Broken."""
        whole = bytearray()
        while data := await self.read():
            whole += data
            if len(whole) > MAX_BODY:
                raise Broken(f"a body of more than {MAX_BODY} bytes")
        return bytes(whole)


def chunk(data: bytes) -> bytes:
    """Write one chunk; of no bytes, the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def write_request(head: Head, minor: int, headers: Headers) -> bytes:
    """Write the head of a request with other headers."""
    return _write(f"{head.method} {head.target} HTTP/1.{minor}", headers)


def write_response(status: int, phrase: str, minor: int, headers: Headers) -> bytes:
    """Write the head of a response."""
    return _write(f"HTTP/1.{minor} {status} {phrase}", headers)


def _write(line: str, headers: Collection[tuple[str, str]]) -> bytes:
    return "".join([line, "\r\n", *(f"{key}: {value}\r\n" for key, value in headers), "\r\n"]).encode("latin-1")
