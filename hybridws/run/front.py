"""The front of our runner: it answers requests to mounts itself, and hands every other connection to aiohttp.

A request whose head is not of the usual shape (`core/heads.py`), one to an address that is no mount's, and whatever
comes after it on that connection, are aiohttp's. An application with middlewares or `on_response_prepare` gets all of
its requests from aiohttp, since it expects to see them.
"""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from multidict import CIMultiDict, CIMultiDictProxy

from hybridws.agenda import become_task, begin
from hybridws.core.heads import END, Head, cookies_of, query_of, read
from hybridws.endpoints import Lost, Missing, find, serve
from hybridws.errors import TooLarge, TooSlow
from hybridws.exchange import Gone, Request
from hybridws.framed import WRITE_AHEAD, Framed, handshake
from hybridws.seat import Bell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hybridws.endpoints.routes import Found
    from hybridws.exchange import Answer, Watcher
    from hybridws.server import Server

SWEEP: Final = 5.0
"""Seconds between two looks for connections that have been idle for too long."""
LINGER: Final = 10.0
"""Seconds for which the rest of a body is read that nobody wants: who is cut while sending may not read the answer."""
HEADS: Final = 2
"""Heads that a connection remembers: a client's requests hardly differ (SockJS: one sends, one receives)."""


class Known(NamedTuple):
    """What a head says: the same for each request with the same head."""

    head: Head
    request: Request
    server: Server
    found: Found | Lost


class Site:
    """What the connections of one application share."""

    def __init__(
        self, mounts: Mapping[str, Server], foreign: Callable[[], asyncio.Protocol], keepalive_timeout: float
    ) -> None:
        """Serve these mounts, by prefix; `foreign` makes what takes a connection that is not for them."""
        self.foreign: Final = foreign
        self.fronts: Final[set[Front]] = set()
        self.closing = False
        """Each connection is closed after the request that it is about."""
        self._mounts = sorted(mounts.items(), key=lambda item: -len(item[0]))
        self._sweeps = keepalive_timeout / SWEEP
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self) -> Front:
        """Make the protocol of a new connection."""
        if self._timer is None:
            self._plan()
        return Front(self)

    def _plan(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SWEEP, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for too long: one timer for all connections, and none while there are none."""
        self._timer = None
        for front in list(self.fronts):
            front.sweep(self._sweeps)
        if self.fronts:
            self._plan()

    def mount_of(self, path: str) -> tuple[str, Server] | None:
        """Find the mount that a path lies below: the one with the longest prefix."""
        for prefix, server in self._mounts:
            if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/"):
                return prefix, server
        return None

    async def close(self, patience: float) -> None:
        """Close what is idle at once, and all the rest after its request, or after `patience` seconds."""
        self.closing = True
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        for front in list(self.fronts):
            front.close_if_idle()
        while self.fronts and loop.time() < until:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(SLEEP)
        for front in list(self.fronts):
            front.transport.abort()
        if self._timer:
            self._timer.cancel()
            self._timer = None


SLEEP: Final = 0.02
"""Seconds between two looks whether all connections have ended."""


class Front(asyncio.Protocol):
    """One connection, request by request."""

    __slots__ = (
        "_exchange",
        "_known",
        "_leaving",
        "_quiet",
        "_rest",
        "_scheme",
        "_site",
        "_skip",
        "_timer",
        "full",
        "peer",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, site: Site) -> None:
        """Wait for a connection."""
        self._site = site
        self._exchange: FrontExchange | None = None
        self._known: dict[bytes, Known] = {}
        self._rest = b""  # what has come behind the request that is under way
        self._skip = 0  # bytes of a body that nobody wants
        self._leaving = False  # the connection is closed once they have come ...
        self._timer: asyncio.TimerHandle | None = None  # ... and cut if that takes too long
        self._quiet = 0  # sweeps since something came
        self._scheme = "http"
        self.full = False
        """Whether the network takes no more for now."""
        self.peer = ""

    # ── what asyncio tells ────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        transport.set_write_buffer_limits(WRITE_AHEAD)
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if isinstance(peer, tuple) else ""
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        self._site.fronts.add(self)

    def data_received(self, data: bytes) -> None:
        """Read a request, or more of the one that is under way."""
        self._quiet = 0
        if self._exchange is not None:
            self._exchange.more(data)
        elif self._rest:
            self._rest += data  # its turn is the next
        else:
            self._read(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """Tell whoever writes here."""
        self._site.fronts.discard(self)
        self._stop_timer()
        exchange, self._exchange = self._exchange, None
        if exchange:
            exchange.lose()

    def pause_writing(self) -> None:
        """Note that the network takes no more."""
        self.full = True

    def resume_writing(self) -> None:
        """Go on with what waited for that."""
        self.full = False
        if self._exchange:
            self._exchange.room()

    # ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self, data: bytes) -> None:
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            if self._skip:
                return
            self._stop_timer()
            if self._leaving:
                self.transport.close()
                return
            data = data[skipped:]
            if not data:
                return
        end = data.find(END)
        known = None if end < 0 else self._know(data[: end + 2])
        if known is None:
            self._hand_on(data)
            return
        body = data[end + len(END) :]
        self._exchange = FrontExchange(self, known, body)
        if isinstance(known.found, Lost):
            known.found.answer(self._exchange)
        else:
            begin(serve(known.found, self._exchange), known.server.tasks)

    def _know(self, data: bytes) -> Known | None:
        """Learn what a head says, or remember it; None for one that is not ours."""
        known = self._known.get(data)
        if known is not None:
            return known
        head = read(data)
        mount = self._site.mount_of(head.path) if head else None
        if head is None or mount is None:
            return None
        prefix, server = mount
        options = server.options
        if not options.direct or (head.upgrades and options.compress):
            return None
        headers = CIMultiDictProxy(CIMultiDict(head.headers))
        cookies = cookies_of(headers.get("Cookie", ""))
        if cookies is None:
            return None
        request = Request(
            method=head.method,
            path=head.path,
            tail=head.path[len(prefix) :],
            query=query_of(head.query),
            headers=headers,
            cookies=cookies,
            remote=self.peer,
            scheme=self._scheme,
        )
        found: Found | Lost
        try:
            found = find(server, request)
        except Lost as lost:
            if isinstance(lost.fault, Missing):
                return None  # the application may have something there
            found = lost
        if len(self._known) >= HEADS:
            del self._known[next(iter(self._known))]
        known = self._known[data] = Known(head, request, server, found)
        return known

    def _hand_on(self, data: bytes) -> None:
        """Let aiohttp have the connection, with what has come of the request that is not ours."""
        self._site.fronts.discard(self)
        protocol = self._site.foreign()
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(data)

    def finish(self, *, keeps: bool, rest: bytes, missing: int) -> None:
        """Go on after a request has been answered: with `rest`, once the `missing` bytes of its body have come."""
        self._exchange = None
        self._leaving = not keeps or self._site.closing
        if self._leaving and not missing:
            self.transport.close()
            return
        self._rest, self._skip = rest, missing
        if missing:
            self._timer = asyncio.get_running_loop().call_later(LINGER, self.transport.abort)
        self.transport.resume_reading()
        if rest:
            asyncio.get_running_loop().call_soon(self._next)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _next(self) -> None:
        rest, self._rest = self._rest, b""
        if not self.transport.is_closing():
            self.data_received(rest)

    @property
    def last(self) -> bool:
        """Whether the request that is under way is the last one here."""
        return self._site.closing

    def give(self) -> asyncio.Transport:
        """Give the connection away."""
        self._site.fronts.discard(self)
        self._exchange = None
        return self.transport

    # ── the site's looks ──────────────────────────────────────────────────────────────────────────────────────────

    def sweep(self, most: float) -> None:
        """Close the connection if nothing has come in `most` sweeps, and nothing is under way."""
        self._quiet += 1
        if self._quiet > most:
            self.close_if_idle()

    def close_if_idle(self) -> None:
        """Close the connection unless a request is under way."""
        if self._exchange is None:
            self.transport.close()


class FrontExchange:
    """One request that the front answers."""

    __slots__ = ("_begun", "_bell", "_body", "_complete", "_front", "_head", "_keeps", "_known", "watcher")

    def __init__(self, front: Front, known: Known, body: bytes) -> None:
        """Begin with as much of the body, and of what comes behind it, as is there."""
        self._front: Front | None = front
        self._known = known
        self._body: bytes | bytearray = body
        self._bell: Bell | None = None
        self._head = b""  # of a stream, until its first chunk
        self._begun = False
        self._complete = False
        self._keeps = known.head.keeps
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
        length = self._known.head.length
        if length > limit:
            raise TooLarge(f"a body of {length} bytes, and {limit} are allowed (max_batch)")
        if len(self._body) < length:
            await self._wait_for(length)
        return bytes(self._body if len(self._body) == length else self._body[:length])

    async def _wait_for(self, length: int) -> None:
        """Wait for the rest of a body, as long as it comes fast enough."""
        await become_task()
        options = self._known.server.options
        bell = self._bell = Bell()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            self._resume()
            async with asyncio.timeout(options.body_grace) as patience:
                while len(self._body) < length:
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

    def _resume(self) -> None:
        """Read on: what was not wanted yet may have been more than is kept."""
        if self._front:
            self._front.transport.resume_reading()

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
        transport, self._front = self._front.give(), None
        transport.write(b"%bDate: %b\r\n\r\n" % (_head(101, tuple(headers.items()), keeps=True), _date()))
        return Framed(transport, options.max_batch, chosen, bytes(self._body))

    # ── for the front ─────────────────────────────────────────────────────────────────────────────────────────────

    def more(self, data: bytes) -> None:
        """Take what else has come: the rest of the body, and what stands behind it."""
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)  # a body in a million pieces costs what one in a few costs
        self._body += data
        if self._bell:
            self._bell.ring()
        elif self._front and len(self._body) > WRITE_AHEAD:
            self._front.transport.pause_reading()  # a body that is not asked for yet, and pipelined requests, wait

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
            length = self._known.head.length
            body = self._body
            front.finish(keeps=self._keeps, rest=bytes(body[length:]), missing=max(length - len(body), 0))


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
