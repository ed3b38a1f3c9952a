"""One request that the front answers: its body as it comes, and the answer straight into the connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, Final

from hybridws.errors import TooLarge, TooSlow
from hybridws.exchange import Gone
from hybridws.framed import WRITE_AHEAD, Framed, handshake
from hybridws.responses import begun, switched, whole
from hybridws.seat import Bell
from hybridws.tasks import become_task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hybridws.core.heads import Head
    from hybridws.endpoints import Lost
    from hybridws.endpoints.routes import Found
    from hybridws.exchange import Answer, Request, Watcher
    from hybridws.run.front import Front
    from hybridws.server import Server


class Known:
    """What a head says: the same for each request with the same head."""

    __slots__ = ("data", "found", "keeps", "length", "request", "server")

    def __init__(self, data: bytes, head: Head, request: Request, server: Server, found: Found | Lost) -> None:
        """Remember what was read in the head `data`, and where it leads."""
        self.data: Final = data
        self.request: Final = request
        self.length: Final = head.length
        """Bytes of the body."""
        self.keeps: Final = head.keeps
        """Whether the connection stays for another request."""
        self.server: Final = server
        self.found: Final = found


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
        front.transport.write(whole(answer, keeps=self._keeps and not front.last))
        self._finish()

    def start(self, headers: Mapping[str, str]) -> None:
        """Begin a response of status 200 whose length is not known."""
        self._begun = True
        self._head = begun(headers, keeps=self._keeps and not (self._front and self._front.last))

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
        return Framed(transport, options.max_batch, chosen, early, switched(headers))

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
