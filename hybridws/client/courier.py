"""Carries single requests to the server, and believes only answers that are the server's own (protocol §3)."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from yarl import URL

from hybridws.core.codec import JSON
from hybridws.core.packets import Ack, Open, Refuse
from hybridws.errors import HybridError, Malformed, TooLarge, Unsendable
from hybridws.gate import new_route, origin_of
from hybridws.options import Options
from hybridws.sockets import WebSocket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

    from hybridws.core.codec import Batch, Codec


OK: Final = 200
_DEFAULTS: Final = Options()
READ_SIZE: Final = 64 * 1024
WS_CLOSE: Final = 1.0
"""Seconds for which a WebSocket's answer to our close is waited for: by then another transport carries on."""
STRANGE: Final = {
    404: "there is no mount of hybridws at this address (404)",
    405: "there is something else than a mount of hybridws at this address (405)",
    500: "the server failed (500), and its log says why",
    407: "the proxy asks for credentials (407): proxy='http://user:password@host:port'",
}
"""What an answer that is not the server's most likely means, by its status. It may be a portal's, too."""
ROUTED: Final = ("open", "websocket")
"""Addresses that name no session: a balancer sees by the route where they belong."""
STREAM: Final = {"Accept": "text/event-stream"}
"""Several inspecting proxies pass a response unbuffered if the request says this."""


_BROKEN: Final = (aiohttp.ClientError, OSError, RuntimeError)
"""What aiohttp raises while an answer is read whose connection breaks, or was given up at this end (`start_afresh`)."""


class NetworkFault(HybridError):
    """The network, not the server, has answered, or nobody has."""


class Late(NetworkFault):
    """Nobody has answered in time, so the network may have turned slow; one that refuses or resets has not."""


class NotUnderstood(NetworkFault):
    """What came is the server's, but nothing that we take: it will be the same when it is said again."""


class Turned(HybridError):
    """The server itself has refused, with `x`."""

    def __init__(self, packet: Refuse) -> None:
        """Keep what it said."""
        super().__init__(f"the server refused with {packet.code}: {packet.reason}")
        self.code = packet.code
        self.reason = packet.reason
        self.details = packet.details


def believe(status: int, body: bytes, codec: Codec, options: Options) -> Batch:
    """Read an answer. Raises Turned for one `x`, NotUnderstood, NetworkFault for anything that is not the server's."""
    try:
        batch = (codec if status == OK else JSON).loads(body, options)
    except (Malformed, TooLarge) as fault:
        if status == OK and _begins_well(body, codec, options):
            raise NotUnderstood(fault.reason) from None
        raise NetworkFault(
            STRANGE.get(status) or f"status {status}, and no words of the server's: {fault.reason}"
        ) from None
    first = batch[0][0] if batch else None
    if isinstance(first, Refuse):
        raise Turned(first)
    if status != OK or not isinstance(first, Ack | Open):
        raise NetworkFault(STRANGE.get(status) or f"status {status}, and no words of the server's")
    return batch


def _begins_well(body: bytes, codec: Codec, options: Options) -> bool:
    """Tell whether a body that cannot be read whole begins as the server's do."""
    try:
        batch = codec.loads(codec.first(body), options)
    except (Malformed, TooLarge):
        return False
    return bool(batch) and isinstance(batch[0][0], Ack | Open)


def address_of(url: str) -> URL:
    """Read the address of a mount; its query is shown to the server. Raises ValueError."""
    base = URL(url)
    scheme = {"ws": "http", "wss": "https"}.get(base.scheme, base.scheme)
    if scheme not in ("http", "https") or not base.host:
        raise ValueError(f"{url!r} is no address of a server: write http://host/prefix or https://host/prefix")
    return base.with_scheme(scheme).with_fragment(None)


class Quiet:
    """How long a stream may say nothing, which may change while something is waited for."""

    __slots__ = ("_since", "_until", "_waiting")

    def __init__(self, until: Callable[[float], float]) -> None:
        """Ask `until(since)` when a silence that began then is over or too long, by the loop's clock."""
        self._until = until
        self._since = 0.0
        self._waiting: asyncio.Timeout | None = None

    async def wait(self, reading: Coroutine[Any, Any, bytes]) -> bytes:
        """Return what is read. Raises Late when that takes too long."""
        loop = asyncio.get_running_loop()
        self._since = loop.time()
        try:
            async with asyncio.timeout_at(self._until(self._since)) as self._waiting:
                return await reading
        except TimeoutError:
            silent = loop.time() - self._since
            raise Late(f"the stream showed nothing for {silent:.1f} s: it is buffered or dead") from None
        finally:
            self._waiting = None

    def changed(self) -> None:
        """Ask again, since there is news."""
        if self._waiting and not self._waiting.expired():
            self._waiting.reschedule(self._until(self._since))


class Courier:
    """One way to one server: its address, and how requests get there."""

    __slots__ = ("_base", "_http", "_old", "_origin", "_query", "_request", "_route", "_sockets")

    def __init__(self, http: aiohttp.ClientSession, url: str, request: Mapping[str, Any]) -> None:
        """Send to `url`; `request` holds what every request takes (proxy, ssl ...). Raises ValueError for no URL."""
        base = address_of(url)
        self._base: Final = base.with_query(None)
        self._query: Final = base.query
        self._http = http
        self._old: aiohttp.ClientSession | None = None
        self._request: Final = dict(request)
        self._origin: Final = origin_of(str(self._base)) or ""
        self._route = ""
        self._sockets: Final[set[asyncio.Task[Any]]] = set()

    @property
    def origin(self) -> str:
        """The server's origin."""
        return self._origin

    def choose_route(self) -> None:
        """Make up the word by which balancers may keep the requests of the next session together (protocol §4)."""
        self._route = new_route()

    def _at(self, path: str) -> URL:
        url = self._base / "v1" / path if "/" not in path else self._base.joinpath("v1", *path.split("/"))
        if self._route and path in ROUTED:
            return url.with_query([*self._query.items(), ("route", self._route)])
        return url.with_query(self._query) if self._query else url

    def _headers(self, url: URL, extra: Mapping[str, str]) -> dict[str, str]:
        """Name our origin where we send a cookie: without it the server would take us for a page that hides its own."""
        headers = dict(extra)
        if self._http.cookie_jar.filter_cookies(url) or "Cookie" in self._http.headers:
            headers["Origin"] = self._origin
        return headers

    async def post(self, path: str, body: bytes, timeout: float) -> tuple[int, bytes]:  # noqa: ASYNC109 - a limit of its own
        """POST and read the whole answer, in at most `timeout` seconds. Raises NetworkFault."""
        url = self._at(path)
        try:
            async with (
                asyncio.timeout(timeout),
                self._http.post(url, data=body, headers=self._headers(url, {}), **self._request) as response,
            ):
                return response.status, await response.read()
        except TimeoutError:
            self.start_afresh()
            raise Late(f"no answer within {timeout:.1f} s") from None
        except _BROKEN as error:
            raise NetworkFault(str(error) or type(error).__name__) from None

    async def stream(self, path: str, body: bytes, first: float, quiet: Quiet) -> AsyncIterator[bytes]:
        """POST and yield the answer's bytes as they come: the first within `first` seconds, others as `quiet` allows.

        Raises NetworkFault, and Turned for a refusal instead of a stream.
        """
        url = self._at(path)
        try:
            async with asyncio.timeout(first):
                response = await self._http.post(url, data=body, headers=self._headers(url, STREAM), **self._request)
        except TimeoutError:
            raise Late(f"the stream showed nothing within {first:.1f} s: it is being buffered") from None
        except (aiohttp.ClientError, OSError) as error:
            raise NetworkFault(str(error) or type(error).__name__) from None
        try:
            if response.status != OK:
                believe(response.status, await response.read(), JSON, _DEFAULTS)
            wait = Quiet(lambda since: since + first).wait
            while chunk := await wait(response.content.read(READ_SIZE)):
                wait = quiet.wait
                yield chunk
        except _BROKEN as error:
            raise NetworkFault(str(error) or type(error).__name__) from None
        finally:
            response.close()

    async def websocket(self, max_size: int) -> WebSocket:
        """Open a WebSocket. Raises NetworkFault."""
        url = self._at("websocket")
        try:
            ws = await self._http.ws_connect(
                url,
                autoclose=False,
                autoping=False,
                max_msg_size=max_size,
                timeout=aiohttp.ClientWSTimeout(ws_close=WS_CLOSE),  # pyright: ignore[reportCallIssue]
                headers=self._headers(url, {}),
                **self._request,
            )
        except (aiohttp.ClientError, OSError) as error:
            raise NetworkFault(str(error) or type(error).__name__) from None

        def cut(*, rest: bool) -> None:
            # aiohttp's client knows one way to end a connection, and waits there for what nobody takes any more.
            if not rest and (raw := ws.get_extra_info("socket")):
                # By a descriptor of our own, since the socket that uvloop shows cannot be shut down.
                with suppress(OSError), socket.socket(fileno=os.dup(raw.fileno())) as own:  # or it is gone already
                    own.shutdown(socket.SHUT_RDWR)
            self._end(ws.close())

        return WebSocket(ws, cut, None)

    def start_afresh(self) -> None:
        """Make new connections from now on: those that wait to be used again may be as dead as one that fell silent.

        What is under way goes on, until this happens once more.
        """
        if self._old:
            self._end(self._old.close())
        self._old = self._http
        self._http = aiohttp.ClientSession(
            cookie_jar=self._old.cookie_jar,
            headers=self._old.headers,
            timeout=self._old.timeout,
            trust_env=self._old.trust_env,
        )

    def _end(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._sockets.add(task)
        task.add_done_callback(self._sockets.discard)

    async def close(self) -> None:
        """Wait for what is still closing, and give everything back."""
        if self._sockets:
            await asyncio.wait(self._sockets)
        for http in (self._old, self._http):
            if http:
                await http.close()


def hello(codec: str, nonce: str, auth: object) -> bytes:
    """Write the first line of an open."""
    options: dict[str, object] = {"v": 1, "codec": codec, "nonce": nonce}
    if auth is not None:
        options["auth"] = auth
    try:
        return json.dumps(["i", options]).encode()
    except (TypeError, ValueError) as error:
        raise Unsendable(f"`auth` cannot be sent: {error}") from None
