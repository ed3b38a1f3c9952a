"""What `hybridws doctor` tries: each transport by itself, on a session of its own, without a word to the application.

The only packets are those that every session answers: attaches, and heartbeats, whose acks are the echoes. Each answer
is believed only if it is the server's own (protocol §3); what anything else says is told as it stands.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import itertools
import json
import re
import secrets
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import aiohttp
from yarl import URL

from hybridws.cli.ink import harmless, span
from hybridws.cli.route import plain
from hybridws.client.courier import STREAM, NetworkFault, Turned, believe, hello
from hybridws.client.pilot import LEAST_FIRST_BYTES, MOST_FIRST_BYTES
from hybridws.core import codes
from hybridws.core.codec import JSON
from hybridws.core.ladder import PROOF
from hybridws.core.packets import Ack, Attach, Close, Heartbeat, Open, Packet, Position, Refuse
from hybridws.core.streams import EventReader
from hybridws.errors import Malformed, TooLarge
from hybridws.gate import origin_of
from hybridws.options import Options

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

DEFAULTS: Final = Options()
TRIES: Final = 3
"""So often a transport is tried where the network errs by chance, as gateways do."""
PAUSE: Final = 0.1
"""Seconds between two tries."""
FOR_A_WHILE: Final = (500, 502, 503, 504)
"""Statuses that may be another the next time (RFC 9110 §15.6)."""
KEEP: Final = 0.5
"""Seconds for which an idle connection is used again: short, so that what is cut is always a transport under test."""
OUTLIVES: Final = 1.7
"""What lives so many times longer with a word now and then was cut for its silence, else for its age."""
WORDS: Final = 3
"""Heartbeats in the time that silence was borne."""
SOON: Final = 0.1
"""Seconds: between two heartbeats at least, and that a poll may be answered before its time."""
RELEASE: Final = 1.0
"""Seconds in which a response that was held until its end arrives after its end."""
READ_SIZE: Final = 64 * 1024
MAX_PAGE: Final = 64 * 1024
MAX_TITLE: Final = 60
OK: Final = 200
MISSING: Final = 404
UPGRADE_REQUIRED: Final = 426
WANTS_CREDENTIALS: Final = 407


class Fault(Exception):
    """Something did not work: `words` complete a sentence about a transport ("is refused ...")."""

    def __init__(self, state: str, words: str, by: str = "network", *, brief: bool = False, status: int = 0) -> None:
        """Say what it was, and who it was `by`: the network, or the server; `brief` faults are worth another try."""
        super().__init__(words)
        self.state = state
        self.words = words
        self.by = by
        self.brief = brief
        self.status = status


class Answer(NamedTuple):
    """A whole answer to one request."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    version: str


@dataclass(slots=True)
class Finding:
    """What was found out about one transport."""

    transport: str
    state: str = "works"
    """works, flaky, late, buffered, refused, silent, cut, dead, fails, or not offered."""
    words: str = "works"
    """Completes a sentence that begins with the transport."""
    by: str | None = None
    """Who is to blame, where it does not work: network or server."""
    attach: float | None = None
    """Seconds until the server had answered the attach."""
    echo: float | None = None
    """Seconds from a heartbeat to its ack."""
    idle: float | None = None
    """Seconds for which it was left alone, and lived."""
    cut: float | None = None
    """Seconds after which it was cut."""
    cause: str | None = None
    """Why it was cut: silence or age; None where that is not known."""
    stumbles: list[str] = field(default_factory=list)
    """What failed and then worked when it was tried again."""

    @property
    def good(self) -> bool:
        """Whether nothing at all is wrong with it."""
        return self.state in ("works", "not offered")

    def fail(self, fault: Fault) -> None:
        """Take over what went wrong."""
        self.state, self.words, self.by = fault.state, fault.words, fault.by

    def waver(self) -> None:
        """Note that it works, but not always at once."""
        if self.stumbles and self.state == "works":
            self.fail(Fault("flaky", f"works, but not always at once (it {self.stumbles[0]})"))


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


# ── what the network says ─────────────────────────────────────────────────────────────────────────────────────────


def explain(error: BaseException) -> str:  # noqa: PLR0911 - a row each
    """Say in plain words why a request failed."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"the name {error.host} is not known here (DNS)"
        case aiohttp.ClientConnectorCertificateError():
            cause = error.certificate_error
            why = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else cause
            return f"the certificate of {error.host} is not trusted: {why}"
        case aiohttp.ClientConnectorSSLError():
            return f"there is no TLS at {error.host}:{error.port}, or none that we speak"
        case aiohttp.ClientProxyConnectionError():
            return f"the proxy at {error.host}:{error.port} cannot be reached"
        case aiohttp.ClientHttpProxyError():
            wants = ": it wants a user and a password" if error.status == WANTS_CREDENTIALS else ""
            return f"the proxy answered CONNECT with {error.status}{wants}"
        case aiohttp.ClientConnectorError():
            return f"nobody answers at {error.host}:{error.port}: {plain(error.os_error)}"
        case aiohttp.ServerDisconnectedError() | ConnectionResetError() | aiohttp.ClientPayloadError():
            return "the connection was cut before the answer was complete"
        case aiohttp.ClientOSError():
            return "the connection was cut"
        case _:
            return str(error) or type(error).__name__


def describe(answer: Answer) -> str:
    """Say what an answer is that is not the server's."""
    return f"{answer.status} by something that is not the server{_marks(answer)}"


def _marks(answer: Answer) -> str:
    """Say by what an answer may be known."""
    marks = [f"{name}: {answer.headers[name]}" for name in ("Server", "Via") if answer.headers.get(name)]
    if found := re.search(rb"<title[^>]*>([^<]*)", answer.body[:MAX_PAGE], re.IGNORECASE):
        title = html.unescape(" ".join(found[1].decode("utf-8", "replace").split()))[:MAX_TITLE]
        marks.append(f'a page "{title}"')
    return harmless(f" ({', '.join(marks)})") if marks else ""


def refused(answer: Answer, *, what: str = "is refused with") -> Fault:
    """Make a fault of an answer that is no batch: the server's own refusal, or somebody else's words."""
    try:
        believe(answer.status, answer.body, JSON, DEFAULTS)
    except Turned as turned:
        return Fault("refused", f"{what} {turned.code} by the server: {turned.reason}", "server", status=answer.status)
    except NetworkFault:
        pass
    return Fault("refused", f"{what} {describe(answer)}", brief=answer.status in FOR_A_WHILE, status=answer.status)


# ── the way to the server ─────────────────────────────────────────────────────────────────────────────────────────


class Road:
    """The way to one server: where it is, and what every request takes along."""

    def __init__(self, url: str, settings: Mapping[str, Any]) -> None:
        """Prepare; `settings` are keyword arguments of `hybridws.connect`. Use it with `async with`."""
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

    async def post(self, path: str, packets: list[Packet], patience: float = PROOF) -> list[Packet]:
        """POST a batch, and return the one that answers it. Raises Fault."""
        answer = await self.ask(path, dumps(packets), patience)
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
            async with asyncio.timeout(PROOF):
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
            again = await self.ask("v1/websocket", None, PROOF, {**upgrade, "Sec-WebSocket-Key": key})
        except Fault:
            return seen
        return again if again.status == seen.status else seen

    async def open(self) -> Pass:
        """Open a session. Raises Fault."""
        body = hello("json", secrets.token_urlsafe(16), self.auth) + b"\n"
        begun = time.monotonic()
        answer = await self.ask("v1/open", body, PROOF)
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
                    f"there is no mount of hybridws at this address: what answers with 404 is not one{_marks(answer)}"
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


async def again(finding: Finding, work: Callable[[], Awaitable[None]]) -> None:
    """Do `work()` until it works, `TRIES` times at most where the network errs by chance; note what went wrong."""
    for n in range(1, TRIES + 1):
        try:
            await work()
        except Fault as fault:
            if fault.brief and n < TRIES:
                if fault.state != "late":  # a busy machine is late at times; what comes in time at last is no trouble
                    finding.stumbles.append(fault.words)
                await asyncio.sleep(PAUSE)
                continue
            finding.fail(fault)
            return
        break
    finding.waver()


# ── WebSocket ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def try_websocket(road: Road, ticket: Pass, watch: float) -> Finding:
    """Find out what becomes of a WebSocket."""
    finding, numbers = Finding("websocket"), itertools.count(1)

    async def work() -> None:
        begun = time.monotonic()
        ws = await road.websocket()
        try:
            ear = SocketEar(ws)
            await ear.say(attach(ticket, next(numbers)))
            await _hear(ear, "opens, but nothing passes after that")
            finding.attach = time.monotonic() - begun
            await ear.say(Ack(0), Position(1))
            begun = time.monotonic()
            await ear.say(Heartbeat())
            await _hear(ear, "opens and is answered, but nothing passes after that")
            finding.echo = time.monotonic() - begun
            await _leave_alone(finding, ear, watch)
        except Cut as cut:
            await _blame(finding, cut, lambda: _socket_again(road, ticket, next(numbers)))
        finally:
            await ws.close()

    await again(finding, work)
    return finding


async def _socket_again(road: Road, ticket: Pass, n: int) -> Ear:
    ear = SocketEar(await road.websocket())
    await ear.say(attach(ticket, n))
    await ear.next(PROOF)
    await ear.say(Ack(0), Position(1))
    return ear


class Cut(Exception):
    """A transport that worked was ended by somebody else, `after` seconds."""

    def __init__(self, ear: Ear, how: str = "") -> None:
        """Take from the ear when it was, how long nothing had been said, and how many bytes had come."""
        now = time.monotonic()
        self.after = now - ear.begun
        self.silent = now - ear.said
        self.size = ear.size
        self.how = how
        super().__init__(self.after)


class SocketEar:
    """Listens to a WebSocket, and speaks on it."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        """Begin to count the time."""
        self.begun = self.said = time.monotonic()
        self.ws = ws
        self.size = 0

    async def say(self, *packets: Packet) -> None:
        """Send a batch. Raises Cut."""
        try:
            await self.ws.send_str(dumps(list(packets)).decode())
        except (aiohttp.ClientError, OSError):
            raise Cut(self) from None
        self.said = time.monotonic()

    async def next(self, patience: float) -> list[Packet]:
        """Return the next batch; heartbeats are answered. Raises TimeoutError, Cut, Fault."""
        async with asyncio.timeout(patience):
            message = await self.ws.receive()
        if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            code = message.data if message.type is aiohttp.WSMsgType.CLOSE else None
            raise Cut(self, f"with close code {code}" if code else "")
        data = message.data.encode() if isinstance(message.data, str) else message.data
        self.size += len(data)
        self.said = time.monotonic()
        batch = loads(data)
        if any(isinstance(packet, Heartbeat) for packet in batch):
            await self.say(Ack(0))
        return batch

    async def beat(self) -> None:
        """Ask for a sign of life."""
        await self.say(Heartbeat())

    async def close(self) -> None:
        """End it."""
        await self.ws.close()


# ── streams ───────────────────────────────────────────────────────────────────────────────────────────────────────


class StreamEar:
    """Listens to a stream, and speaks by POSTs beside it."""

    def __init__(self, road: Road, ticket: Pass, response: aiohttp.ClientResponse) -> None:
        """Begin to count the time."""
        self.begun = self.said = time.monotonic()
        self.size = 0
        self._road = road
        self._ticket = ticket
        self._response = response
        self._reader = EventReader(DEFAULTS.max_batch)
        self._events: list[bytes] = []

    async def some(self, patience: float) -> None:
        """Read whatever comes next. Raises TimeoutError, Cut, Fault."""
        try:
            async with asyncio.timeout(patience):
                chunk = await self._response.content.read(READ_SIZE)
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError):
            chunk = b""
        if not chunk:
            raise Cut(self)
        self.size += len(chunk)
        self.said = time.monotonic()
        try:
            self._events += self._reader.feed(chunk)
        except Malformed as fault:
            raise Fault("fails", f"brings what is not the server's: {fault.reason}") from None

    async def next(self, patience: float) -> list[Packet]:
        """Return the next batch. Raises TimeoutError, Cut, Fault."""
        async with asyncio.timeout(patience):
            while not self._events:
                await self.some(patience)
        batch = loads(self._events.pop(0))
        if any(isinstance(packet, Heartbeat) for packet in batch):
            await self._road.post(f"v1/{self._ticket.sid}/send", [attach(self._ticket, 0)])
        return batch

    async def beat(self) -> None:
        """Ask for a sign of life, which comes on the stream. Raises Fault."""
        await self._road.post(f"v1/{self._ticket.sid}/send", [attach(self._ticket, 0), Heartbeat()])

    async def close(self) -> None:
        """End it."""
        self._response.close()


async def try_stream(road: Road, ticket: Pass, watch: float) -> Finding:
    """Find out what becomes of a stream: whether its bytes come as they are written, and how long it may be silent."""
    finding, numbers = Finding("stream"), itertools.count(1)
    limit = min(MOST_FIRST_BYTES, max(LEAST_FIRST_BYTES, 4 * ticket.took))

    async def work() -> None:
        begun = time.monotonic()
        starting = asyncio.get_running_loop().create_task(_stream(road, ticket, next(numbers)))
        ear: StreamEar | None = None
        try:
            await asyncio.wait([starting], timeout=MOST_FIRST_BYTES)
            ear = starting.result() if starting.done() else None
            try:
                if ear:
                    await ear.some(max(MOST_FIRST_BYTES - (time.monotonic() - begun), SOON))
            except TimeoutError:
                ear = None
            if ear is None:
                raise await _held(road, ticket, next(numbers), starting)
            first = time.monotonic() - begun
            try:
                await ear.next(PROOF)
            except TimeoutError:
                raise Fault("buffered", "begins, but its first event is held back") from None
            finding.attach = time.monotonic() - begun
            await _second_event(finding, ear)
            if first > limit:
                words = f"is held up: its first bytes take {span(first)}, where {span(limit)} are expected"
                raise Fault("late", words, brief=True)
            await _leave_alone(finding, ear, watch)
        except Cut as cut:
            await _blame(finding, cut, lambda: _stream_again(road, ticket, next(numbers)))
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            if ear:
                await ear.close()

    await again(finding, work)
    return finding


async def _stream(road: Road, ticket: Pass, n: int) -> StreamEar:
    return StreamEar(road, ticket, await road.stream(f"v1/{ticket.sid}/stream", [attach(ticket, n)]))


async def _stream_again(road: Road, ticket: Pass, n: int) -> Ear:
    ear = await _stream(road, ticket, n)
    await ear.next(PROOF)
    return ear


async def _held(road: Road, ticket: Pass, n: int, starting: asyncio.Task[StreamEar]) -> Fault:
    """Find out what holds a stream back: end it, by a poll that takes over, and see whether it comes then."""
    shown = f"shows nothing within {span(MOST_FIRST_BYTES)}"
    try:
        await road.post(f"v1/{ticket.sid}/poll", [attach(ticket, n, hold=0.0)])
    except Fault:
        return Fault("buffered", shown)
    await asyncio.wait([starting], timeout=RELEASE)
    try:
        await starting.result().some(RELEASE)
    except (asyncio.InvalidStateError, TimeoutError, Cut):
        return Fault("buffered", f"{shown}, and nothing when it has ended: what it brings is lost")
    return Fault("buffered", "is buffered: all of it is held back until it has ended")


async def _second_event(finding: Finding, ear: StreamEar) -> None:
    """See whether an event comes by itself, or only when there is one behind it."""
    begun = time.monotonic()
    await ear.beat()
    answered = time.monotonic() - begun
    try:
        await ear.next(max(LEAST_FIRST_BYTES, 4 * answered))
    except TimeoutError:
        await ear.beat()
        try:
            await ear.next(PROOF)
        except TimeoutError:
            raise Fault("buffered", "begins, but its second event is held back") from None
        words = (
            f"is held up: its second event took {span(time.monotonic() - begun)}, and came when a third was behind it"
        )
        raise Fault("late", words, brief=True) from None
    finding.echo = time.monotonic() - begun


# ── polls ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def try_poll(road: Road, ticket: Pass, watch: float) -> Finding:
    """Find out what becomes of polls: one that is answered at once, and those that are held."""
    finding, numbers = Finding("poll"), itertools.count(1)
    path = f"v1/{ticket.sid}/poll"

    async def work() -> None:
        begun = time.monotonic()
        await road.post(path, [attach(ticket, next(numbers)), Heartbeat()])
        finding.attach = time.monotonic() - begun
        begun = time.monotonic()
        await road.post(path, [attach(ticket, next(numbers)), Heartbeat()])
        finding.echo = time.monotonic() - begun

    await again(finding, work)
    if finding.echo is None:
        return finding
    end = time.monotonic() + watch
    most = float(ticket.said["poll_timeout"])
    while (left := end - time.monotonic()) > SOON:
        hold, begun = min(left, most), time.monotonic()
        try:
            await road.post(path, [attach(ticket, next(numbers), hold=hold)], hold + PROOF)
        except Fault as fault:
            lived = time.monotonic() - begun
            if lived < min(hold, SOON) and fault.brief and len(finding.stumbles) < TRIES:
                finding.stumbles.append(fault.words)
                continue
            if fault.state == "silent":
                finding.fail(Fault("dead", f"is never answered once it has waited (we gave it {span(lived)})"))
                return finding
            finding.cut = lived
            how = f": it {fault.words}" if fault.status else ""
            finding.fail(Fault("cut", f"is cut while it waits, after {span(lived)}{how}", fault.by))
            return finding
        finding.idle = (finding.idle or 0.0) + time.monotonic() - begun
    finding.waver()
    return finding


# ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────────

Ear = SocketEar | StreamEar


async def _hear(ear: Ear, otherwise: str) -> None:
    """Wait for the server's word. Raises Fault, Cut."""
    try:
        batch = await ear.next(PROOF)
    except TimeoutError:
        raise Fault("silent", otherwise) from None
    if batch and isinstance(batch[0], Refuse):
        raise Fault("refused", f"is refused with {batch[0].code} by the server: {batch[0].reason}", "server")


async def _leave_alone(finding: Finding, ear: Ear, watch: float) -> None:
    """Say nothing for some time, then see whether it still lives. Raises Fault, Cut."""
    begun = time.monotonic()
    while (left := watch - (time.monotonic() - begun)) > 0:
        try:
            await ear.next(left)
        except TimeoutError:
            break
    await ear.beat()
    silent = time.monotonic() - begun
    try:
        await ear.next(PROOF)
    except TimeoutError:
        words = f"is dead after {span(silent)} without a word: nothing passes any more, and nobody has said so"
        raise Fault("dead", words) from None
    finding.idle = silent


async def _blame(finding: Finding, cut: Cut, anew: Callable[[], Awaitable[Ear]]) -> None:
    """Note a cut, and find out with a second one that does not stay silent what it was cut for."""
    if finding.attach is None:
        size = f" and {cut.size} bytes" if cut.size else ""
        raise Fault("cut", f"is cut before it is of use, after {span(cut.after)}{size}", brief=True) from None
    finding.cut = cut.after
    finding.cause = await _cause(cut.after, anew)
    words = {
        "silence": f"is cut after {span(cut.silent)} of silence, but lives as long as something is said",
        "age": f"is cut after {span(cut.after)}, whether something is said or not",
        None: f"is cut after {span(cut.after)}",
    }[finding.cause]
    if finding.cause == "silence":
        finding.cut = cut.silent
    finding.fail(Fault("cut", words + (f" ({cut.how})" if cut.how else "")))


async def _cause(after: float, anew: Callable[[], Awaitable[Ear]]) -> str | None:
    """Tell whether what was cut for silence or age outlives that with a word now and then."""
    try:
        ear = await anew()
    except (Fault, Cut, TimeoutError):
        return None
    try:
        while time.monotonic() - ear.begun < after * OUTLIVES:
            await ear.beat()
            try:
                async with asyncio.timeout(max(after / WORDS, SOON)):
                    while True:
                        await ear.next(PROOF)
            except TimeoutError:
                pass
    except Cut as cut:
        return "age" if cut.after < after * OUTLIVES else "silence"
    except Fault:
        return None
    finally:
        await ear.close()
    return "silence"


def loads(data: bytes) -> list[Packet]:
    """Read a batch. Raises Fault."""
    try:
        return [packet for packet, _ in JSON.loads(data, DEFAULTS)]
    except (Malformed, TooLarge) as fault:
        raise Fault("fails", f"brings what is not the server's: {fault.reason}") from None


# ── the server ────────────────────────────────────────────────────────────────────────────────────────────────────


async def is_sockjs(road: Road) -> bool:
    """Tell whether what is there speaks SockJS at least."""
    try:
        answer = await road.ask("info", None, PROOF)
        said = json.loads(answer.body)
    except (Fault, ValueError):
        return False
    return answer.status == OK and isinstance(said, dict) and "entropy" in said
