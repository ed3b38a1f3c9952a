"""The way to one server: every request that the doctor makes, and who has answered it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import aiohttp
from yarl import URL

from hybridws.cli.doctor.faults import (
    DEFAULTS,
    FOR_A_WHILE,
    MISSING,
    OK,
    UPGRADE_REQUIRED,
    Answer,
    Fault,
    describe,
    explain,
    marks,
    refused,
)
from hybridws.cli.ink import span
from hybridws.client.courier import STREAM, NetworkFault, Turned, believe, hello
from hybridws.core import codes
from hybridws.core.codec import JSON
from hybridws.core.packets import Attach, Close, Open, Packet, Position
from hybridws.errors import Malformed, TooLarge
from hybridws.gate import origin_of

if TYPE_CHECKING:
    from collections.abc import Mapping

TRIES: Final = 3
"""So often a transport is tried where the network errs by chance, as gateways do."""
PAUSE: Final = 0.1
"""Seconds between two tries."""
KEEP: Final = 0.5
"""Seconds for which an idle connection is used again: short, so that what is cut is always a transport under test."""


class Pass(NamedTuple):
    """What one needs to carry a session: what `o` said."""

    said: dict[str, Any]
    took: float
    version: str
    via: str | None

    @property
    def sid(self) -> str:
        """The session's id."""
        return str(self.said["sid"])


class Road:
    """The way to one server: where it is, and what every request takes along."""

    def __init__(self, url: str, settings: Mapping[str, Any], patience: float) -> None:
        """Prepare; `settings` are keyword arguments of `hybridws.connect`. Use it with `async with`.

        An answer is waited for up to `patience` seconds.
        """
        self.patience: Final = patience
        base = URL(url)
        self.base: Final = base.with_scheme({"ws": "http", "wss": "https"}.get(base.scheme, base.scheme))
        self.auth: Final = settings["auth"]
        self._settings: Final = settings
        self._proxy: Final[str | None] = settings["proxy"]
        self._http: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        """Start."""
        named = {key: self._settings[key] for key in ("headers", "cookies", "trust_env")}
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(keepalive_timeout=KEEP),
            timeout=aiohttp.ClientTimeout(total=None),
            **named,
        )
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Give everything back."""
        await self._http.close()

    def at(self, path: str) -> URL:
        """Return the address below the mount."""
        return self.base.joinpath(*path.split("/"))

    def _headers(self, url: URL, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Name our origin where we send a cookie, as the client does."""
        headers = dict(extra or {})
        if self._http.cookie_jar.filter_cookies(url) or "Cookie" in self._http.headers:
            headers["Origin"] = origin_of(str(self.base)) or ""
        return headers

    async def ask(
        self, path: str, body: bytes | None, patience: float, extra: Mapping[str, str] | None = None
    ) -> Answer:
        """POST a body, or GET; return the whole answer. Raises Fault."""
        url, method = self.at(path), "GET" if body is None else "POST"
        try:
            async with (
                asyncio.timeout(patience),
                self._http.request(
                    method, url, data=body, headers=self._headers(url, extra), allow_redirects=False, proxy=self._proxy
                ) as response,
            ):
                version = response.version
                number = f"{version.major}.{version.minor}" if version else ""
                return Answer(response.status, response.headers, await response.read(), number)
        except TimeoutError:
            raise Fault("silent", f"is not answered within {span(patience)}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Fault("fails", f"fails: {explain(error)}", brief=not _unreachable(error)) from None

    async def post(self, path: str, packets: list[Packet], patience: float | None = None) -> list[Packet]:
        """POST a batch, and return the one that answers it. Raises Fault."""
        answer = await self.ask(path, dumps(packets), patience or self.patience)
        try:
            return [packet for packet, _ in believe(answer.status, answer.body, JSON, DEFAULTS)]
        except (NetworkFault, Turned):
            raise refused(answer) from None

    async def stream(self, path: str, packets: list[Packet]) -> aiohttp.ClientResponse:
        """POST a batch, and return the answer as soon as it begins. Raises Fault."""
        url = self.at(path)
        try:
            response = await self._http.post(
                url, data=dumps(packets), headers=self._headers(url, STREAM), allow_redirects=False, proxy=self._proxy
            )
            if response.status == OK:
                return response
            answer = Answer(response.status, response.headers, await response.read(), "")
        except (aiohttp.ClientError, OSError) as error:
            raise Fault("fails", f"fails: {explain(error)}", brief=not _unreachable(error)) from None
        raise refused(answer)

    async def websocket(self) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket. Raises Fault."""
        url = self.at("v1/websocket")
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self.patience):
                ws: aiohttp.ClientWebSocketResponse = await self._http.ws_connect(
                    url, headers=self._headers(url), autoclose=False, proxy=self._proxy
                )
                return ws
        except TimeoutError:
            raise Fault("silent", f"is never answered (we waited {span(time.monotonic() - begun)})") from None
        except aiohttp.WSServerHandshakeError as error:
            seen = Answer(error.status, error.headers or {}, b"", "")
        except (aiohttp.ClientError, OSError) as error:
            raise Fault("fails", f"fails: {explain(error)}", brief=not _unreachable(error)) from None
        fault = refused(await self._whole(seen))
        if fault.by == "server" and fault.status == UPGRADE_REQUIRED:
            raise Fault("refused", "does not get through: something takes the upgrade out of the request", status=426)
        raise fault

    async def _whole(self, seen: Answer) -> Answer:
        """Ask for the same refusal again, this time with its body: only that tells who it is by."""
        key = secrets.token_urlsafe(12) + "=="
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        try:
            again = await self.ask("v1/websocket", None, self.patience, {**upgrade, "Sec-WebSocket-Key": key})
        except Fault:
            return seen
        return again if again.status == seen.status else seen

    async def open(self) -> Pass:
        """Open a session. Raises Fault."""
        body = hello("json", secrets.token_urlsafe(16), self.auth) + b"\n"
        begun = time.monotonic()
        answer = await self.ask("v1/open", body, self.patience)
        took = time.monotonic() - begun
        try:
            packet = believe(answer.status, answer.body.partition(b"\n")[0], JSON, DEFAULTS)[0][0]
        except Turned as turned:
            words = f"the server refuses with {turned.code}: {turned.reason}"
            raise Fault("refused", words, "server", status=answer.status) from None
        except NetworkFault:
            words = f"the answer is {describe(answer)}"
            if answer.status == MISSING:
                words = (
                    f"there is no mount of hybridws at this address: what answers with 404 is not one{marks(answer)}"
                )
            raise Fault("refused", words, brief=answer.status in FOR_A_WHILE, status=answer.status) from None
        if not isinstance(packet, Open):
            raise Fault("fails", "the answer to an open was something else", "server")
        return Pass(packet.session, took, answer.version, answer.headers.get("Via"))

    async def close(self, ticket: Pass) -> None:
        """End the session in order; where that cannot be said, it ends by itself."""
        words: list[Packet] = [attach(ticket, 0), Position(1), Close(codes.NORMAL, "the doctor has seen enough")]
        with contextlib.suppress(Fault):
            await self.post(f"v1/{ticket.sid}/send", words)


def _unreachable(error: BaseException) -> bool:
    """Tell whether there is nothing that a second try could change."""
    return isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientHttpProxyError)


def dumps(packets: list[Packet]) -> bytes:
    """Write a batch."""
    return b"\n".join(JSON.dumps(packet, DEFAULTS) for packet in packets)


def attach(ticket: Pass, n: int, **wishes: float) -> Attach:
    """Make the attach with which every transport begins."""
    return Attach(ticket.sid, str(ticket.said["key"]), n, 0, dict(wishes))


async def open_session(road: Road, stumbles: list[str]) -> Pass:
    """Open a session, at the second or third try where the network errs by chance. Raises Fault."""
    for n in range(1, TRIES + 1):
        try:
            return await road.open()
        except Fault as fault:
            if not fault.brief or n == TRIES:
                raise
            stumbles.append(f"got no session at the first try: {fault.words.removeprefix('fails: ')}")
            await asyncio.sleep(PAUSE)
    raise AssertionError("unreachable")


def loads(data: bytes) -> list[Packet]:
    """Read a batch. Raises Fault."""
    try:
        return [packet for packet, _ in JSON.loads(data, DEFAULTS)]
    except (Malformed, TooLarge) as fault:
        raise Fault("fails", f"brings what is not the server's: {fault.reason}") from None


async def is_sockjs(road: Road) -> bool:
    """Tell whether what is there speaks SockJS at least."""
    try:
        answer = await road.ask("info", None, road.patience)
        said = json.loads(answer.body)
    except (Fault, ValueError):
        return False
    return answer.status == OK and isinstance(said, dict) and "entropy" in said
