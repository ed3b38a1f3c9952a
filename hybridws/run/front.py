"""The front of our runner: it answers requests to mounts itself, and hands every other connection to aiohttp.

A request whose head is not of the usual shape (`core/heads.py`), one to an address that is no mount's, and whatever
comes after it on that connection, are aiohttp's. An application with middlewares or `on_response_prepare` gets all of
its requests from aiohttp, since it expects to see them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from hybridws.core.heads import END, cookies_of, query_of, read
from hybridws.endpoints import Lost, Missing, find, serve
from hybridws.exchange import Request
from hybridws.framed import WRITE_AHEAD
from hybridws.run.exchange import FrontExchange, Known
from hybridws.tasks import begin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hybridws.endpoints.routes import Found
    from hybridws.server import Server

SWEEP: Final = 5.0
"""Seconds between two looks for connections that have been idle for too long."""
LINGER: Final = 10.0
"""Seconds for which the rest of a body is read that nobody wants: who is cut while sending may not read the answer."""
HEADS: Final = 2
"""Heads that a connection remembers: a client's requests hardly differ (SockJS: one sends, one receives)."""


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

    def __call__(self) -> asyncio.Protocol:
        """Make the protocol of a new connection."""
        if self._timer is None:
            self._plan()
        return cast("asyncio.Protocol", Front(self))

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


class Front:
    """One connection, request by request; an asyncio.Protocol in all but its bases, as `Framed` is."""

    __slots__ = (
        "_ahead",
        "_at",
        "_exchange",
        "_known",
        "_leaving",
        "_quiet",
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
        self._known: list[Known] = []  # the newest last; so few that looking through them is quick
        self._ahead: bytes | bytearray = b""  # what has come behind the request that is under way ...
        self._at = 0  # ... from here on
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
        if self._exchange is None and not self._ahead:
            self._read(data, 0)
        else:
            self._keep(data)

    def eof_received(self) -> None:
        """Let the transport close: who does not listen any more gets no answer."""

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

    def _keep(self, data: bytes) -> None:
        """Keep what cannot be read yet: more of a body, and requests that wait for their turn."""
        exchange = self._exchange
        if exchange is not None and exchange.lack:
            data = exchange.more(data)
        if data:
            if isinstance(self._ahead, bytes):
                self._ahead = bytearray(self._ahead[self._at :])
                self._at = 0
            self._ahead += data
        if len(self._ahead) - self._at > WRITE_AHEAD or (exchange is not None and exchange.is_unasked):
            self.transport.pause_reading()  # the rest waits in the network

    def _read(self, data: bytes, at: int) -> None:
        """Read the request that begins at `at`."""
        if self._skip:
            at = self._pass_over(data)
        if at == len(data):
            return
        end = data.find(END, at)
        known = None if end < 0 else self._know(data[at : end + 2])
        if known is None:
            self._hand_on(data[at:])
            return
        begins = end + len(END)
        ends = begins + known.length
        if ends < len(data):
            self._ahead, self._at = data, ends
        self._exchange = FrontExchange(self, known, data[begins:ends])
        if isinstance(known.found, Lost):
            known.found.answer(self._exchange)
        else:
            begin(serve(known.found, self._exchange), known.server.tasks)

    def _pass_over(self, data: bytes) -> int:
        """Throw away more of a body that nobody wants; return where it ends."""
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        if not self._skip:
            self._stop_timer()
            if self._leaving:
                self.transport.close()
                return len(data)
        return skipped

    def _know(self, data: bytes) -> Known | None:
        """Learn what a head says, or remember it; None for one that is not ours."""
        for known in self._known:
            if known.data == data:
                return known
        head = read(data)
        mount = self._site.mount_of(head.path) if head else None
        if head is None or mount is None:
            return None
        prefix, server = mount
        options = server.options
        if not options.direct or (head.upgrades and options.compress):
            return None
        cookies = cookies_of(head.headers.get("Cookie", ""))
        if cookies is None:
            return None
        request = Request(
            method=head.method,
            path=head.path,
            tail=head.path[len(prefix) :],
            query=query_of(head.query),
            headers=head.headers,
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
        known = Known(data, head, request, server, found)
        if isinstance(found, Lost) or not found.route.once:
            self._known.append(known)
            del self._known[:-HEADS]
        return known

    def _hand_on(self, data: bytes) -> None:
        """Let aiohttp have the connection, with what has come of the request that is not ours."""
        self._site.fronts.discard(self)
        protocol = self._site.foreign()
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(data)

    def finish(self, *, keeps: bool, missing: int) -> None:
        """Go on after a request has been answered, once the `missing` bytes of its body have come."""
        self._exchange = None
        self._leaving = not keeps or self._site.closing
        if self._leaving and not missing:
            self.transport.close()
            return
        self._skip = missing
        if missing:
            self._timer = asyncio.get_running_loop().call_later(LINGER, self.transport.abort)
        if len(self._ahead) - self._at <= WRITE_AHEAD:
            self.transport.resume_reading()
        if self._ahead:
            asyncio.get_running_loop().call_soon(self._next)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _next(self) -> None:
        """Read the request whose turn it is."""
        data, at = bytes(self._ahead), self._at
        self._ahead, self._at = b"", 0
        if not self.transport.is_closing():
            self._read(data, at)

    @property
    def last(self) -> bool:
        """Whether the request that is under way is the last one here."""
        return self._site.closing

    def give(self) -> tuple[asyncio.Transport, bytes]:
        """Give the connection away, and what has come on it behind the request that is under way."""
        self._site.fronts.discard(self)
        self._exchange = None
        return self.transport, bytes(self._ahead[self._at :])

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
