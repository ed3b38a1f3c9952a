"""One request that the front answers: its body as it comes, and the answer straight into the connection."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from hybridws.errors import TooLarge, TooSlow
from hybridws.exchange import Gone
from hybridws.framed import WRITE_AHEAD, Framed, handshake
from hybridws.seat import Bell
from hybridws.tasks import become_task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hybridws.endpoints import Lost
    from hybridws.endpoints.routes import Found
    from hybridws.exchange import Answer, Request, Watcher
    from hybridws.run.front import Front
    from hybridws.server import Server


class Known(NamedTuple):
    """What a head says: the same for each request with the same head."""

    data: bytes
    """The head itself."""
    request: Request
    length: int
    """Bytes of the body."""
    keeps: bool
    """Whether the connection stays for another request."""
    server: Server
    found: Found | Lost


class FrontExchange:
    """One request that the front answers."""

    silent: ClassVar = False
    __slots__ = ("_begun", "_bell", "_body", "_complete", "_front", "_head", "_keeps", "_known", "lack", "watcher")

    def __init__(self, front: Front, known: Known, body: bytes) -> None:
        """Begin with as much of the body as is there."""
        self._front: Front | None = front
        self._known = known
        self._body: bytes | bytearray = body
        self.lack = known.length - len(body)
        """Bytes of the body that have not come yet."""
        self._bell: Bell | None = None
        self._head = b""  # of a stream, until its first chunk
        self._begun = False
        self._complete = False
        self._keeps = known.keeps
        self.watcher: Watcher | None = None

    # ── for the endpoints ─────────────────────────────────────────────────────────────────────────────────────────

    @property
    def request(self) -> Request:
        """The request."""
        return self._known.request

    @property
    def gone(self) -> bool:
        """Whether the client has left."""
        return self._front is None or self._front.transport.is_closing()

    @property
    def full(self) -> bool:
        """Whether the network takes no more for now."""
        return self._front is not None and self._front.full

    async def read(self, limit: int) -> bytes:
        """Return the body. Raises TooLarge over `limit` bytes, TooSlow, Gone."""
        length = self._known.length
        if length > limit:
            raise TooLarge(f"a body of {length} bytes, and {limit} are allowed (max_batch)")
        if self.lack:
            await self._wait_for()
        body, self._body = bytes(self._body), b""  # a poll that is parked keeps nothing of what it brought
        return body

    async def _wait_for(self) -> None:
        """Wait for the rest of a body, as long as it comes fast enough."""
        await become_task()
        options = self._known.server.options
        bell = self._bell = Bell()
        if self._front:
            self._front.transport.resume_reading()  # more may have come than was kept for nobody
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout(options.body_grace) as patience:
                while self.lack:
                    if self._front is None:
                        raise Gone
                    await bell.wait()
                    patience.reschedule(begun + options.body_grace + len(self._body) / options.body_rate)
        except TimeoutError:
            self._keeps = False
            raise TooSlow(
                f"{len(self._body)} bytes of the body came in {loop.time() - begun:.0f} s: after "
                f"{options.body_grace:g} s it must come with {options.body_rate} bytes per second (body_rate)"
            ) from None
        finally:
            self._bell = None

    def answer(self, answer: Answer) -> None:
        """Send a whole response."""
        front = self._front
        if front is None or self._complete:
            return
        head = _head(answer.status, tuple(answer.headers.items()), self._keeps and not front.last)
        length = b"" if answer.status in (204, 304) else b"Content-Length: %d\r\n" % len(answer.body)
        front.transport.write(b"%b%bDate: %b\r\n\r\n%b" % (head, length, _date(), answer.body))
        self._finish()

    def start(self, headers: Mapping[str, str]) -> None:
        """Begin a response of status 200 whose length is not known."""
        self._begun = True
        keeps = self._keeps and not (self._front and self._front.last)
        head = _head(200, (*headers.items(), ("Transfer-Encoding", "chunked")), keeps)
        self._head = b"%bDate: %b\r\n\r\n" % (head, _date())

    def write(self, data: bytes) -> None:
        """Write one chunk of it."""
        if self._front and data:
            head, self._head = self._head, b""
            self._front.transport.write(b"%b%x\r\n%b\r\n" % (head, len(data), data))

    def end(self) -> None:
        """End the response that `start` began."""
        if self._front and not self._complete:
            self._front.transport.write(self._head + b"0\r\n\r\n")
            self._finish()

    def fail(self, answer: Answer) -> None:
        """Send this response, or cut the connection if another has begun."""
        if self._begun:
            self.abort()
        else:
            self.answer(answer)

    def abort(self) -> None:
        """Cut the connection at once."""
        if self._front:
            self._front.transport.abort()

    async def upgrade(self) -> Framed:
        """Make this request a WebSocket that nobody listens to yet. Raises Malformed, Gone."""
        options = self._known.server.options
        headers, chosen = handshake(self.request, options.subprotocols)
        if self._front is None or self._front.transport.is_closing():
            raise Gone
        (transport, early), self._front = self._front.give(), None
        transport.write(b"%bDate: %b\r\n\r\n" % (_head(101, tuple(headers.items()), keeps=True), _date()))
        return Framed(transport, options.max_batch, chosen, early)

    # ── for the front ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_unasked(self) -> bool:
        """Whether much of a body has come for which nobody has asked."""
        return self._bell is None and len(self._body) > WRITE_AHEAD

    def more(self, data: bytes) -> bytes:
        """Take more of the body, and return what stands behind it."""
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)  # a body in a million pieces costs what one in a few costs
        taken = data[: self.lack]
        self._body += taken
        self.lack -= len(taken)
        if self._bell:
            self._bell.ring()
        return data[len(taken) :]

    def room(self) -> None:
        """Note that the network takes more again."""
        if self.watcher:
            self.watcher.room()
        if self._complete:
            self._finish()

    def lose(self) -> None:
        """Note that the connection is gone."""
        self._front = None
        if self._bell:
            self._bell.ring()
        if self.watcher:
            self.watcher.gone()

    def _finish(self) -> None:
        """Let the connection go on once the network has taken the answer."""
        self._complete = True
        front = self._front
        if front is not None and not front.full:
            self._front = None
            front.finish(keeps=self._keeps, missing=self.lack)


@lru_cache(maxsize=256)
def _head(status: int, headers: tuple[tuple[str, str], ...], keeps: bool) -> bytes:  # noqa: FBT001 - cached
    """Write the head of a response, up to what differs between two of its kind."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {_one_line(value)}" for name, value in headers]
    if not keeps:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n").encode("utf-8", "surrogateescape")


def _one_line(value: str) -> str:
    if "\r" in value or "\n" in value or "\0" in value:
        raise ValueError(f"a header's value must be one line: {value!r}")
    return value


def _date() -> bytes:
    """Return the time as a header has it (RFC 9110 §5.6.7), written anew once a second."""
    return _written(int(time.time()))


@lru_cache(maxsize=1)
def _written(now: int) -> bytes:
    return formatdate(now, usegmt=True).encode()
