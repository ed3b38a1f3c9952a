"""Mounts hybridws on an aiohttp application: `mount`, and aiohttp's side of an exchange."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

from aiohttp import ClientError, HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_exceptions import HTTPException

from hybridws.endpoints import serve
from hybridws.errors import Malformed, TooLarge, TooSlow
from hybridws.exchange import Answer, Gone, Request
from hybridws.options import Options
from hybridws.server import Server
from hybridws.sockets import WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping

    from hybridws.session import Session

SERVERS: Final = web.AppKey("hybridws", dict[str, Server])
"""The servers that are mounted on an application, by prefix: `app[SERVERS]["/chat"].broadcast(...)`."""

WRITER_LIMIT: Final = 64 * 1024
"""Bytes that a WebSocket may have waiting in this process before its writer waits (aiohttp)."""

_PLAIN_PATH: Final = re.compile(r"(?:/|[A-Za-z0-9._~!$&'()*+,;=:@-])*")
"""RFC 3986 §3.3 without percent escapes: aiohttp compares other prefixes in two different forms, and finds nothing."""


def mount(
    app: web.Application,
    prefix: str,
    handler: Callable[[Session], Coroutine[Any, Any, object]],
    **options: Any,  # noqa: ANN401 - checked by Options
) -> Server:
    """Serve sessions below `prefix`, each with a run of `handler(session)`, and return the server.

    The options are the fields of `hybridws.Options`. Several mounts may stand side by side, on an application or on a
    sub-application. Raises ValueError for a prefix or an option that cannot work.
    """
    if prefix.strip("/") and not prefix.startswith("/"):
        raise ValueError(f"the prefix {prefix!r} must begin with a slash, as in '/chat'")
    if "{" in prefix or "}" in prefix:
        raise ValueError(f"the prefix {prefix!r} must be a plain path, without patterns")
    if not _PLAIN_PATH.fullmatch(prefix):
        raise ValueError(f"the prefix {prefix!r} must be of characters that need no escape in an address")
    prefix = prefix.rstrip("/")
    if SERVERS not in app:
        app[SERVERS] = {}
    if prefix in app[SERVERS]:
        raise ValueError(f"something is mounted at {prefix!r} already")
    server = Server(handler, Options(**options))

    async def respond(request: web.Request) -> web.StreamResponse:
        exchange = HttpExchange(request, server.options)
        await serve(server, exchange)
        return exchange.response

    async def stop(_app: web.Application) -> None:
        await server.close()

    app[SERVERS][prefix] = server
    # Two routes, since aiohttp looks for the longest fixed path first: so "/" does not take what belongs to "/chat".
    if prefix:
        app.router.add_route("*", prefix, respond)
    app.router.add_route("*", f"{prefix}/{{tail:.*}}", respond)
    app.on_shutdown.append(stop)
    return server


def servers(app: web.Application) -> Iterator[Server]:
    """Go through the servers that are mounted on an application and on those below it."""
    yield from app.get(SERVERS, {}).values()
    for resource in app.router.resources():
        below = resource.get_info().get("app")
        if below is not None:
            yield from servers(below)


class HttpExchange:
    """One request that aiohttp handles."""

    __slots__ = ("_options", "_web", "request", "response")

    def __init__(self, request: web.Request, options: Options) -> None:
        """Wrap a request; its body is not read yet."""
        tail = request.match_info.get("tail")
        self._web: Final = request
        self._options: Final = options
        self.response: web.StreamResponse = web.Response()
        self.request: Final = Request(
            method=request.method,
            path=request.path,
            tail="" if tail is None else f"/{tail}",
            query=request.query,
            headers=request.headers,
            cookies=request.cookies,
            remote=request.remote or "",
            scheme=request.scheme,
        )

    @property
    def gone(self) -> bool:
        """Whether the client has left; aiohttp tells nobody, but takes the transport away."""
        transport = self._web.transport
        return transport is None or transport.is_closing()

    async def read(self, limit: int) -> bytes:
        """Read the body. Raises TooLarge over `limit` bytes, TooSlow, Malformed for a coded body, Gone."""
        request, options = self._web, self._options
        if coding := request.headers.get("Content-Encoding"):
            raise Coded(f"send the body as it is, not with Content-Encoding {coding[:40]!r}")
        if (request.content_length or 0) > limit:
            raise TooLarge(f"a body of {request.content_length} bytes, and {limit} are allowed (max_batch)")
        body = bytearray()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout(options.body_grace) as patience:
                while chunk := await request.content.readany():
                    body += chunk
                    if len(body) > limit:
                        raise TooLarge(f"a body of more than the {limit} bytes that are allowed (max_batch)")
                    patience.reschedule(begun + options.body_grace + len(body) / options.body_rate)
        except TimeoutError:
            self.response.force_close()
            raise TooSlow(
                f"{len(body)} bytes of the body came in {loop.time() - begun:.0f} s: after {options.body_grace:g} s it "
                f"must come with {options.body_rate} bytes per second (body_rate)"
            ) from None
        except (ClientError, HttpProcessingError, ConnectionError):
            raise Gone from None
        return bytes(body)

    async def answer(self, answer: Answer) -> None:
        """Send a whole response."""
        response = web.Response(status=answer.status, body=answer.body or None, headers=answer.headers)
        if self.response.keep_alive is False:
            response.force_close()
        self.response = response
        try:
            await response.prepare(self._web)
            await response.write_eof()
        except (ConnectionError, ClientError):
            raise Gone from None
        if self._web.headers.get("Content-Encoding"):
            # aiohttp reads on, unpacks what nobody wants, and logs a traceback if that does not unpack.
            self._web.protocol.force_close()

    def abort(self) -> None:
        """Cut the connection at once."""
        if self._web.transport:
            self._web.transport.abort()

    def _cut(self, *, rest: bool) -> None:
        """Close the connection: after the `rest` of what is to be written, or at once."""
        if self._web.transport:
            (self._web.transport.close if rest else self._web.transport.abort)()

    async def start(self, headers: Mapping[str, str]) -> None:
        """Begin a response of status 200 whose length is not known. Raises Gone."""
        self.response = web.StreamResponse(headers=headers)
        if self._web.version < HttpVersion11:
            self.response.force_close()  # without chunks only the connection's end tells where the body ends
        try:
            await self.response.prepare(self._web)
        except (ConnectionError, ClientError):
            raise Gone from None

    async def write(self, data: bytes) -> None:
        """Write one chunk, and wait while the network takes no more. Raises Gone."""
        try:
            await self.response.write(data)
        except (ConnectionError, ClientError):
            raise Gone from None

    async def end(self) -> None:
        """End the response that `start` began."""
        try:
            await self.response.write_eof()
        except (ConnectionError, ClientError):
            raise Gone from None

    async def upgrade(self) -> WebSocket:
        """Make this request a WebSocket. Raises Malformed when it does not ask for one in the right way."""
        options = self._options
        header = self._web.headers.get("Sec-WebSocket-Protocol", "")
        asked = [name for part in header.split(",") if (name := part.strip())]
        chosen = next((name for name in options.subprotocols if name in asked), None)
        if asked and chosen is None:
            raise Malformed(
                f"none of the subprotocols {', '.join(asked)[:200]} is spoken here, "
                f"but {', '.join(options.subprotocols) or 'none at all'}"
            )
        response = web.WebSocketResponse(
            protocols=[chosen] if chosen else [],
            autoping=False,
            autoclose=False,
            compress=options.compress,
            max_msg_size=options.max_batch,
            writer_limit=WRITER_LIMIT,
        )
        if not response.can_prepare(self._web).ok:
            raise Malformed("Not a valid websocket request")
        try:
            await response.prepare(self._web)
        except HTTPException:
            raise Malformed("Not a valid websocket request") from None
        except (ConnectionError, ClientError):
            raise Gone from None
        self.response = response
        return WebSocket(response, self._cut, chosen)


class Coded(Malformed):
    """A body with a Content-Encoding: a few bytes of it could become any number (RFC 9110 §15.5.16)."""

    status = 415
