"""Mounts hybridws on an aiohttp application: `mount`, and aiohttp's side of an exchange."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from aiohttp import ClientError, HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_exceptions import HTTPException

from hybridws.core.heads import NOTHING
from hybridws.endpoints import Lost, find, serve
from hybridws.errors import Malformed, TooLarge, TooSlow
from hybridws.exchange import Answer, Gone, Request
from hybridws.framed import Framed, handshake
from hybridws.options import Options
from hybridws.responses import whole
from hybridws.seat import Bell
from hybridws.server import Handler, Server
from hybridws.sockets import WebSocket

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hybridws.exchange import Socket, Watcher

log = logging.getLogger("hybridws")

SERVERS: Final = web.AppKey("hybridws", dict[str, Server])
"""The servers that are mounted on an application, by prefix: `app[SERVERS]["/chat"].broadcast(...)`."""

ONLY_LOCAL: Final = web.AppKey("hybridws only local", str)
"""Why an application may be served to its own machine alone: our runner refuses to listen anywhere else."""

WRITER_LIMIT: Final = 64 * 1024
"""Bytes that a WebSocket may have waiting in this process before its writer waits (aiohttp)."""

_PATIENCE: Final = web.AppKey("hybridws patience", list[float])
"""How long the runner of this application waits for a request's head, once a request has shown it."""
MAX_PATIENCE: Final = 120.0
"""Seconds for the head of a request from which on there is a warning."""

_PLAIN_PATH: Final = re.compile(r"(?:/|[A-Za-z0-9._~!$&'()*+,;=:@-])*")
"""RFC 3986 §3.3 without percent escapes: aiohttp compares other prefixes in two different forms, and finds nothing."""


def mount(
    app: web.Application,
    prefix: str,
    handler: Handler,
    **options: Any,  # noqa: ANN401 - checked by Options
) -> Server:
    """Serve sessions below `prefix`, each with a run of `handler(session)`, and return the server.

    A plain function of two arguments, `handler(session, message)`, is called for each message instead: without a task
    a session takes half the memory and a message less time. It answers with `session.send_nowait`; while the client's
    buffer is full it is not called, and the client's messages wait.

    The options are the fields of `hybridws.Options`. Several mounts may stand side by side, on an application or on a
    sub-application. Raises ValueError for a prefix or an option that cannot work.
    """
    prefix = _read_prefix(prefix)
    if SERVERS not in app:
        app[SERVERS] = {}
        app[_PATIENCE] = []
    if prefix in app[SERVERS]:
        raise ValueError(f"something is mounted at {prefix!r} already")
    server = Server(handler, Options.read(options), prefix)

    async def respond(request: web.Request) -> web.StreamResponse:
        _warn_of_patience(app, request.protocol.keepalive_timeout)
        exchange = HttpExchange(request, server.options)
        try:
            await serve(find(server, exchange.request), exchange)
        except Lost as lost:
            lost.answer(exchange)
        return await exchange.finish()

    async def stop(_app: web.Application) -> None:
        await server.close()

    app[SERVERS][prefix] = server
    # Two routes, since aiohttp looks for the longest fixed path first: so "/" does not take what belongs to "/chat".
    if prefix:
        app.router.add_route("*", prefix, respond)
    app.router.add_route("*", f"{prefix}/{{tail:.*}}", respond)
    app.on_shutdown.append(stop)
    return server


def _read_prefix(prefix: str) -> str:
    """Take the slash off a prefix's end. Raises ValueError for one that cannot work."""
    if prefix.strip("/") and not prefix.startswith("/"):
        raise ValueError(f"the prefix {prefix!r} must begin with a slash, as in '/chat'")
    if "{" in prefix or "}" in prefix:
        raise ValueError(f"the prefix {prefix!r} must be a plain path, without patterns")
    if not _PLAIN_PATH.fullmatch(prefix):
        raise ValueError(f"the prefix {prefix!r} must be of characters that need no escape in an address")
    return prefix.rstrip("/")


def _warn_of_patience(app: web.Application, keepalive_timeout: float) -> None:
    """Say once what only the runner can set: aiohttp waits as long for a request's head as for another request."""
    if app[_PATIENCE]:
        return
    app[_PATIENCE].append(keepalive_timeout)
    if keepalive_timeout > MAX_PATIENCE:
        log.warning(
            "this server waits %.0f s for the head of a request, so a few slow clients can hold all its connections: "
            "pass keepalive_timeout=75 to web.AppRunner, as hybridws.run and web.run_app do",
            keepalive_timeout,
        )


def servers(app: web.Application) -> Iterator[Server]:
    """Go through the servers that are mounted on an application and on those below it."""
    for one in applications(app):
        yield from one.get(SERVERS, {}).values()


def applications(app: web.Application) -> Iterator[web.Application]:
    """Go through an application and those below it."""
    yield app
    for resource in app.router.resources():
        below = resource.get_info().get("app")
        if below is not None:
            yield from applications(below)


class HttpExchange:
    """One request that aiohttp handles: what is said is kept until the handler's coroutine has written it."""

    silent: ClassVar = True
    __slots__ = (
        "_answer",
        "_closes",
        "_ended",
        "_lost",
        "_news",
        "_options",
        "_out",
        "_socket",
        "_web",
        "request",
        "response",
        "watcher",
    )

    def __init__(self, request: web.Request, options: Options) -> None:
        """Wrap a request; its body is not read yet."""
        tail = request.match_info.get("tail")
        self._web: Final = request
        self._options: Final = options
        self._news: Final = Bell()
        self._answer: Answer | None = None
        self._out: Final[list[bytes]] = []
        self._ended = False
        self._closes = False  # the connection ends with the answer
        self._lost = False
        self._socket: WebSocket | None = None
        self.watcher: Watcher | None = None
        self.response: web.StreamResponse | None = None
        self.request: Final = Request(
            method=request.method,
            path=request.path,
            tail="" if tail is None else f"/{tail}",
            query=request.query if request.query_string else NOTHING,
            headers=request.headers,
            cookies=request.cookies if "Cookie" in request.headers else NOTHING,
            remote=request.remote or "",
            scheme=request.scheme,
        )

    @property
    def gone(self) -> bool:
        """Whether the client has left; aiohttp tells nobody, but takes the transport away."""
        transport = self._web.transport
        return self._lost or transport is None or transport.is_closing()

    @property
    def full(self) -> bool:
        """Whether something that was said is not written yet."""
        return self._answer is not None or bool(self._out)

    async def read(self, limit: int) -> bytes:
        """Read the body. Raises TooLarge over `limit` bytes, TooSlow, Malformed for a coded body, Gone."""
        request = self._web
        if coding := request.headers.get("Content-Encoding"):
            raise Coded(f"send the body as it is, not with Content-Encoding {coding[:40]!r}")
        if (request.content_length or 0) > limit:
            raise TooLarge(f"a body of {request.content_length} bytes, and {limit} are allowed (max_batch)")
        content = request.content
        try:
            # Most bodies have come with their heads, and then there is nothing to wait for.
            body = content.read_nowait() if content.is_eof() else await self._read_slowly(limit)
        except (ClientError, HttpProcessingError, ConnectionError):
            raise Gone from None
        if len(body) > limit:
            raise TooLarge(f"a body of more than the {limit} bytes that are allowed (max_batch)")
        return body

    async def _read_slowly(self, limit: int) -> bytes:
        """Read a body as it comes, as long as it comes fast enough, up to a little more than `limit`."""
        options = self._options
        body = bytearray()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout(options.body_grace) as patience:
                while len(body) <= limit and (chunk := await self._web.content.readany()):
                    body += chunk
                    patience.reschedule(begun + options.body_grace + len(body) / options.body_rate)
        except TimeoutError:
            self._closes = True
            raise TooSlow(
                f"{len(body)} bytes of the body came in {loop.time() - begun:.0f} s: after {options.body_grace:g} s it "
                f"must come with {options.body_rate} bytes per second (body_rate)"
            ) from None
        return bytes(body)

    def answer(self, answer: Answer) -> None:
        """Send a whole response."""
        self._answer = answer
        self._news.ring()

    def start(self, headers: Mapping[str, str]) -> None:
        """Begin a response of status 200 whose length is not known."""
        self.response = web.StreamResponse(headers=headers)
        if self._web.version < HttpVersion11:
            self.response.force_close()  # without chunks only the connection's end tells where the body ends

    def write(self, data: bytes) -> None:
        """Write one chunk of it."""
        self._out.append(data)
        self._news.ring()

    def end(self) -> None:
        """End the response that `start` began."""
        self._ended = True
        self._news.ring()

    async def finish(self) -> web.StreamResponse:
        """Write what is said until the response is complete, and return it."""
        try:
            socket, self._socket = self._socket, None  # no circle is left for the collector
            if socket:
                await socket.run()
            elif not isinstance(self.response, Upgraded):
                await self._write()
                if self._web.headers.get("Content-Encoding"):
                    # aiohttp reads on, unpacks what nobody wants, and logs a traceback if that does not unpack.
                    self._web.protocol.force_close()
        except (ConnectionError, ClientError, asyncio.CancelledError) as error:
            self._lost = True
            if self.watcher:
                self.watcher.gone()
            if isinstance(error, asyncio.CancelledError):
                raise
        return web.Response() if self.response is None else self.response

    async def _write(self) -> None:
        while self._answer is None and self.response is None and not self._lost:
            await self._news.wait()
        if self._lost:
            return
        if self._answer:
            await self._write_whole(self._answer)
        elif self.response is not None:
            await self._write_stream(self.response)

    async def _write_stream(self, response: web.StreamResponse) -> None:
        await response.prepare(self._web)
        while self._out or not self._ended:
            if self._lost:
                return
            while self._out:
                await response.write(self._out[0])
                del self._out[0]
            if self.watcher:
                self.watcher.room()
            if not (self._out or self._ended):
                await self._news.wait()
        if not self._lost:
            await response.write_eof()

    async def _write_whole(self, answer: Answer) -> None:
        transport = self._web.transport
        if transport is not None and self._takes(transport):
            self.response = Written(answer)
            transport.write(whole(answer, keeps=True))
        else:
            self.response = response = web.Response(
                status=answer.status, body=answer.body or None, headers=answer.headers
            )
            if self._closes:
                response.force_close()
            await response.prepare(self._web)
            await response.write_eof()
        self._answer = None
        if self.watcher:
            self.watcher.room()

    def _takes(self, transport: asyncio.Transport) -> bool:
        """Tell whether a whole response may go straight into the connection: nobody adds to it, nothing waits there."""
        request = self._web
        return (
            request.version == HttpVersion11
            and request.keep_alive
            and request.method != "HEAD"
            and not self._closes
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
            and not any(app.on_response_prepare for app in request.match_info.apps)
        )

    def fail(self, answer: Answer) -> None:
        """Send this response, or cut the connection if another has begun."""
        if self._answer or self.response is not None:
            self.abort()
        else:
            self.answer(answer)

    def abort(self) -> None:
        """Cut the connection at once; nothing more is written."""
        self._lost = True
        self._news.ring()
        if self._web.transport:
            self._web.transport.abort()

    def _cut(self, *, rest: bool) -> None:
        """Close the connection: after the `rest` of what is to be written, or at once."""
        if self._web.transport:
            (self._web.transport.close if rest else self._web.transport.abort)()

    async def upgrade(self) -> Socket:
        """Make this request a WebSocket. Raises Malformed when it does not ask for one in the right way."""
        options = self._options
        headers, chosen = handshake(self.request, options.subprotocols)
        if options.compress or not options.direct:
            response = web.WebSocketResponse(
                protocols=[chosen] if chosen else [],
                autoping=False,
                autoclose=False,
                compress=options.compress,
                max_msg_size=options.max_batch,
                writer_limit=WRITER_LIMIT,
            )
            await self._prepare(response)
            self._socket = WebSocket(response, self._cut, chosen)
            return self._socket
        await self._prepare(Upgraded(status=101, headers=headers))
        transport, early = _take_over(self._web)
        return Framed(transport, options.max_batch, chosen, early)

    async def _prepare(self, response: web.StreamResponse) -> None:
        try:
            await response.prepare(self._web)
        except HTTPException:
            raise Malformed("Not a valid websocket request") from None
        except (ConnectionError, ClientError):
            raise Gone from None
        self.response = response


class Written(web.StreamResponse):
    """A response that has been written into the connection already; aiohttp is to see nothing else in it."""

    def __init__(self, answer: Answer) -> None:
        """Look like what was written."""
        super().__init__(status=answer.status, headers=answer.headers)
        self._size = len(answer.body)

    @property
    def prepared(self) -> bool:
        """It is too late to change anything."""
        return True

    @property
    def keep_alive(self) -> bool:
        """The connection stays."""
        return True

    @property
    def body_length(self) -> int:
        """Return the bytes of the body."""
        return self._size

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write nothing: it is written."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing: it is written."""


class Upgraded(web.StreamResponse):
    """The answer to a request whose connection is aiohttp's no more."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing: what follows on this connection is no HTTP."""


class _Early:
    """Stands in for a parser, to be given what has come behind a request that asked for an upgrade."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        pass


def _take_over(request: web.Request) -> tuple[asyncio.Transport, bytes]:
    """Take a connection from aiohttp, whose handler then ends as if the client had left; and what has come early.

    Raises Gone. All of it is public: where aiohttp keeps the transport, who gets what comes behind an upgrade, and how
    asyncio tells a protocol that it has lost its connection.
    """
    protocol, transport = request.protocol, request.transport
    if transport is None or transport.is_closing():
        raise Gone
    early = _Early()
    protocol.set_parser(cast("Any", early))
    protocol.transport = None
    protocol.connection_lost(None)
    return transport, early.data


class Coded(Malformed):
    """A body with a Content-Encoding: a few bytes of it could become any number (RFC 9110 §15.5.16)."""

    status = 415
    cause = "coded_body"
