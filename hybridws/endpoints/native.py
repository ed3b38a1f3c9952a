"""The addresses of the native session protocol, version 1 (docs/protocol.md §3)."""

from __future__ import annotations

import hmac
import json
import logging
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hybridws.core import codes
from hybridws.core.codec import JSON, MSGPACK, TEXT, Batch, Codec
from hybridws.core.link import State
from hybridws.core.packets import Ack, Attach, Auth, Heartbeat, Hello, Open, Position, Refuse
from hybridws.endpoints.faults import Missing, UpgradeRequired, WrongCodec, WrongVersion
from hybridws.endpoints.routes import NO_SNIFFING, Route, Visit, at
from hybridws.errors import Draining, Forbidden, Malformed, NoSession, Refused, TooLarge, TooSlow
from hybridws.gate import Risk, is_foreign, route_of
from hybridws.options import Options
from hybridws.tasks import become_task, begin
from hybridws.transports.downlinks import EVENTS, STREAMS, Downlink, Manner, Pump, Response
from hybridws.transports.websocket import KINDS, Carrier

if TYPE_CHECKING:
    from hybridws.exchange import Socket
    from hybridws.server import Server
    from hybridws.session import Session

log = logging.getLogger("hybridws")

VERSION: Final = 1
USUAL: Final = Options()
"""What a client may rely on before it has been told otherwise."""
CODECS: Final = {"json": JSON, "msgpack": MSGPACK}
FEATURES: Final[list[str]] = []
"""Kinds of packets beyond version 1 that both sides may agree on; none yet."""
MAX_DIGITS: Final = 16
"""Digits of a count below 2^53."""
NO_STORE: Final = {"Cache-Control": "no-store, no-transform"}
TYPES: Final = {
    "json": {"Content-Type": "text/plain; charset=utf-8"},
    "msgpack": {"Content-Type": "application/octet-stream"},
}


def refuse_in_packet(fault: Refused) -> tuple[bytes, dict[str, str]]:
    """Say what was wrong as one `x` in JSON."""
    words = json.dumps(["x", fault.code, fault.reason, *([fault.details] if fault.details else [])])
    return words.encode(), TYPES["json"]


# ── opening ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Greeting(NamedTuple):
    """What a hello asks for."""

    codec: Codec
    nonce: str
    auth: Any
    protocols: list[str]


def _greeting(hello: Hello) -> Greeting:
    """Read a hello. Raises WrongVersion, WrongCodec, Malformed."""
    options = hello.options
    if type(options.get("v")) is not int or options["v"] != VERSION:
        raise WrongVersion("this server speaks version 1 of the protocol", {"versions": [VERSION]})
    codec = CODECS.get(str(options.get("codec", "json")))
    if codec is None:
        raise WrongCodec(f"the codec is one of {', '.join(CODECS)}", {"codecs": list(CODECS)})
    nonce = options.get("nonce", "")
    if not isinstance(nonce, str):
        raise Malformed("the nonce is a text")
    protocols = options.get("protocols", [])
    if not (isinstance(protocols, list) and all(isinstance(name, str) for name in protocols)):
        raise Malformed("the protocols are a list of texts")
    return Greeting(codec, nonce, options.get("auth"), protocols)


def _choose(options: Options, asked: list[str]) -> str | None:
    """Return a session's subprotocol, as for a WebSocket; a mount that names none refuses nobody. Raises Malformed."""
    chosen = next((name for name in options.subprotocols if name in asked), None)
    if chosen is None and asked and options.subprotocols:
        raise Malformed(f"none of the subprotocols asked for is spoken here, but {', '.join(options.subprotocols)}")
    return chosen


async def _make(visit: Visit, greeting: Greeting) -> tuple[Session, bool]:
    """Open a session, and tell whether it is new: the same nonce from the same page and user gives the one before."""
    server, request = visit.server, visit.request
    route = route_of(request)
    known = server.repeated(greeting.nonce) if greeting.nonce else None
    if known:
        if known.http_request.headers.get("Origin") != request.headers.get("Origin"):
            raise Forbidden("this nonce is another page's")
        admission = await server.identify(request, greeting.auth)
        if admission.user != known.user:
            raise Forbidden("this nonce is another user's")
        return known, False
    subprotocol = _choose(visit.server.options, greeting.protocols)
    admission = await server.admit(request, greeting.auth)
    session = server.open(greeting.codec, request, admission, route=route, auth=greeting.auth)
    session.subprotocol = subprotocol
    if greeting.nonce:
        server.remember_nonce(greeting.nonce, session)
    if admission.expires is not None:
        session.say(Auth({"expires": admission.expires}))
    if session.handler:
        await become_task()  # it runs to its first wait: what came with the hello finds it ready
    return session, True


TERMS: Final = (
    "heartbeat",
    "poll_timeout",
    "resume",
    "buffer",
    "max_message",
    "max_batch",
    "max_packets",
    "max_elements",
    "max_depth",
)
"""The options that a client is told when its session opens."""


def _opening(session: Session, options: Options) -> bytes:
    """Write the packet that opens a session, in JSON; but for two words it is the same for all of a mount."""
    terms = tuple([getattr(options, name) for name in TERMS])
    transports = tuple([name for name in ("websocket", "stream", "poll") if options.offers(name)])
    return b'["o",{"v":%d,"sid":"%b","key":"%b",%b' % (
        VERSION,
        session.id.encode(),
        session.key.encode(),
        _terms(terms, transports, session.subprotocol),
    )


@lru_cache(maxsize=64)
def _terms(terms: tuple[float, ...], transports: tuple[str, ...], protocol: str | None) -> bytes:
    words: dict[str, object] = dict(zip(TERMS, terms, strict=True))
    words |= {"transports": transports, "features": FEATURES}
    if protocol:
        words["protocol"] = protocol
    return JSON.dumps(Open(words), USUAL).removeprefix(b'["o",{')


async def _open(visit: Visit) -> None:
    """Answer `POST /v1/open`: at once, with what the application says within `open_linger`."""
    options = visit.server.options
    body = await visit.exchange.read(options.max_batch)
    line, _, rest = body.partition(b"\n")
    batch = JSON.loads(line, options)
    if len(batch) != 1 or not isinstance(batch[0][0], Hello):
        raise Malformed('the first line is ["i", {...}]')
    greeting = _greeting(batch[0][0])
    if options.max_packets < USUAL.max_packets:  # which the client is told only now
        options = replace(options, max_packets=USUAL.max_packets)
    brought = greeting.codec.loads(rest, options)
    session, new = await _make(visit, greeting)
    link = session.link
    try:
        session.feed(link.lane(overtakes=True), brought)
    except Malformed as fault:
        if new:  # nobody would ever learn of it
            session.abort(fault.code, fault.reason)
        raise
    Welcome(visit, session).begin(options.open_linger)


class Welcome:
    """The answer to an open: given as soon as the application says something, its time is over, or the session."""

    __slots__ = ("_due", "_lane", "_session", "_slot", "_visit")

    def __init__(self, visit: Visit, session: Session) -> None:
        """Prepare the answer."""
        self._visit = visit
        self._session = session
        self._lane = session.link.lane()
        self._due = False
        self._slot = 0.0

    def begin(self, patience: float) -> None:
        """Answer within `patience` seconds."""
        self._slot = self._session.agenda.later(patience, self._answer)
        self._session.bells.append(self._wake)
        self._wake()

    def _wake(self) -> None:
        if not self._due:
            self._due = True
            self._session.agenda.soon(self._look)

    def _look(self) -> None:
        self._due = False
        if self._slot and (self._session.link.has_more(self._lane) or self._session.closed):
            self._session.agenda.drop(self._slot, self._answer)
            self._answer()

    def _answer(self) -> None:
        self._slot = 0.0
        self._session.bells.remove(self._wake)
        link = self._session.link
        frame = link.pending(self._lane, link.options.max_batch)[0]
        head = _opening(self._session, link.options)
        self._visit.answer(200, head + b"\n" + frame.payload, NO_STORE, TYPES[link.codec.name])


# ── attaching ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _find(server: Server, sid: str) -> Session:
    """Return the living session of this id. Raises NoSession, with the true end of one that has ended."""
    session = server.find(sid)
    if session is not None and session.link.codec.numbered:
        if session.closed and session.link.state is State.CLOSED:
            raise _ended(session.closed.code, session.closed.reason)
        return session
    if grave := server.epitaph(sid):
        raise _ended(grave.code, grave.reason)
    if is_foreign(sid):
        server.warn_foreign()
        raise NoSession("another process made this session")
    raise NoSession("there is no such session here, or no longer")


def _ended(code: int, reason: str) -> NoSession:
    # Counted apart: a page that closes may say so twice, and nothing is wrong with that.
    return NoSession("the session has ended", {"code": code, "reason": reason}, cause="ended")


async def _arrive(visit: Visit) -> tuple[Session, Attach, Batch]:
    """Read the body of a POST to a session: whose it is, and what it brings."""
    options = visit.server.options
    session = _find(visit.server, visit.names["sid"])
    body = await visit.exchange.read(options.max_batch)
    try:
        batch = session.link.codec.loads(body, options)
    except TooLarge as fault:
        await _end_too_large(visit, session, body, fault)
        raise
    attach = batch[0][0] if batch else None
    if not isinstance(attach, Attach):
        raise Malformed('the first packet is ["@", sid, key, n, ack]')
    if attach.sid != session.id:
        raise Malformed("the attach names another session than the address")
    await _prove(visit, session, attach)
    return session, attach, batch[1:]


async def _end_too_large(visit: Visit, session: Session, body: bytes, fault: TooLarge) -> None:
    """End a session whose own client brought a message that it would send again for ever (§7)."""
    codec = session.link.codec
    try:
        batch = codec.loads(codec.first(body), visit.server.options)
    except Refused:
        return
    attach = batch[0][0] if batch else None
    if isinstance(attach, Attach):
        await _prove(visit, session, attach)
        session.abort(fault.code, fault.reason)


async def _prove(visit: Visit, session: Session, attach: Attach) -> None:
    """Let a transport at a session if it has its key, and, where it shows other credentials, is the same user."""
    if not hmac.compare_digest(session.key.encode(), attach.key.encode("utf-8", "replace")):
        raise Forbidden("this is not the session's key", cause="wrong_key")
    await visit.server.recognise(session, visit.request, attach.wishes.get("auth"))


def _wish(attach: Attach, name: str, lowest: float, otherwise: float) -> float:
    """Return the seconds that a client wishes for, as near as we grant them, or else what we do anyway."""
    wish = attach.wishes.get(name)
    if isinstance(wish, bool) or not isinstance(wish, int | float) or wish < 0:
        return otherwise
    return min(max(lowest, float(wish)), otherwise)


def _move_in(visit: Visit, session: Session, attach: Attach, batch: Batch) -> None:
    """Let an attach of a POST take over: its number, its ack, what it brings."""
    if attach.n == 0:
        raise Malformed("attaches count from 1")
    session.link.confirm(attach.ack)  # before anything moves: an impossible ack attaches nothing
    session.dock.number(attach.n)
    visit.server.settle(session)
    _take(session, attach, batch)


def _take(session: Session, attach: Attach, batch: Batch) -> None:
    session.link.confirm(attach.ack)
    session.feed(session.link.lane(overtakes=True), batch)
    if session.seat:
        session.seat.heard = True
        if session.seat.asked:
            session.seat.answered()


async def _poll(visit: Visit) -> None:
    """Hold the answer until there is something to say; what the body brought is answered within `linger`."""
    session, attach, batch = await _arrive(visit)
    options = visit.server.options
    patience = _wish(attach, "hold", 0.0, options.poll_timeout)
    news = [packet for packet, _ in batch if not isinstance(packet, Position | Ack)]
    if news:
        patience = min(patience, options.linger)
    if any(isinstance(packet, Heartbeat) for packet in news):
        patience = 0.0
    _move_in(visit, session, attach, batch)
    Poll(visit, session).begin(patience)


class Poll:
    """A poll that is held until there is something to say, its time is over, or another transport has the seat."""

    __slots__ = ("_due", "_seat", "_session", "_slot", "_visit")

    def __init__(self, visit: Visit, session: Session) -> None:
        """Take the seat."""
        self._visit = visit
        self._session = session
        self._due = False
        self._slot = 0.0
        self._seat = seat = session.attach("poll", self._wake)
        if visit.exchange.silent:
            seat.probe = self._is_gone
        # Every answer acks; one is due before its time only when much more has come than stands here.
        seat.lane.owes, seat.lane.acked, seat.lane.acked_bytes = False, session.link.ackable, session.link.came
        visit.exchange.watcher = self

    def begin(self, patience: float) -> None:
        """Answer within `patience` seconds."""
        self._slot = self._session.agenda.later(patience, self._answer)
        self._wake()

    def _is_gone(self) -> bool:
        return self._visit.exchange.gone

    def _wake(self) -> None:
        if self._slot and not self._due:
            self._due = True
            self._session.agenda.soon(self._look)

    def room(self) -> None:
        """Do nothing: a poll is answered in one piece."""

    def gone(self) -> None:
        """Give the seat up: the client has left."""
        self._forget()
        self._visit.exchange.abort()
        self._seat.cut("the client has gone")

    def _forget(self) -> None:
        self._session.agenda.drop(self._slot, self._answer)
        self._slot = 0.0
        self._visit.exchange.watcher = None

    def _look(self) -> None:
        """Answer if there is a reason to."""
        self._due = False
        seat = self._seat
        if self._slot and (seat.over or seat.has_more or seat.lane.owes or self._session.link.state is State.CLOSED):
            self._answer()

    def _answer(self) -> None:
        visit, seat, link = self._visit, self._seat, self._session.link
        if visit.exchange.gone:
            self.gone()
            return
        self._forget()
        if seat.over and seat.verdict[0] in codes.ABRUPT:
            visit.refuse(_ended(*seat.verdict))
            return
        seat.lane.owes = True
        frames = seat.pending(link.options.max_batch)
        for frame in frames:
            seat.wrote(frame)
        payload = frames[0].payload if frames else link.codec.dumps(Ack(link.ackable), link.options)
        visit.answer(200, payload, NO_STORE, TYPES[link.codec.name])
        seat.delivered()
        seat.leave("answered")


async def _stream(visit: Visit) -> None:
    session, attach, batch = await _arrive(visit)
    _move_in(visit, session, attach, batch)
    options = visit.server.options
    _flow(visit, session, STREAMS[session.link.codec.name]).seat.wish = _wish(
        attach, "heartbeat", options.min_heartbeat, options.heartbeat
    )


async def _events(visit: Visit) -> None:
    """Answer `GET /v1/{sid}/events?key=`: for EventSource and curl, which cannot count their attaches."""
    options = visit.server.options
    if not options.events:
        raise Missing("there is nothing at this address: it is offered with events=True")
    session = _find(visit.server, visit.names["sid"])
    if session.link.codec is not JSON:
        raise WrongCodec("an event stream carries JSON only")
    seen = visit.request.headers.get("Last-Event-ID") or "0"
    if not (seen.isascii() and seen.isdigit() and len(seen) <= MAX_DIGITS):
        raise Malformed("Last-Event-ID is the id of the last event, a number")
    attach = Attach(session.id, visit.request.query.get("key", ""), session.dock.n + 1, int(seen), {})
    await _prove(visit, session, attach)
    _move_in(visit, session, attach, [])
    _flow(visit, session, EVENTS)


def _flow(visit: Visit, session: Session, row: Downlink) -> Pump:
    """Begin a stream, for `stream_age` at most; its first two batches are written apart (§3)."""
    options, codec = session.link.options, session.link.codec
    response = Response(visit.exchange, row, {**NO_STORE, **NO_SNIFFING, **visit.cors}, options.stream_limit)

    def refuse(code: int, reason: str) -> bytes:
        return codec.dumps(Refuse(code, reason, {}), options)

    manner = Manner(codec.dumps(Heartbeat(), options), answered=True, refuse=refuse)
    pump = Pump(visit.exchange, session, row.name, response, manner)
    pump.seat.lane.on_trial = True  # so that the first batch is the ack alone
    pump.begin(options.stream_age)
    return pump


async def _send(visit: Visit) -> None:
    """Take packets from a client that receives elsewhere; say how many have come, and where its stream should be."""
    session, attach, batch = await _arrive(visit)
    if attach.n != 0:
        raise Malformed("a send attaches nothing: its n is 0")
    _take(session, attach, batch)
    link, options = session.link, visit.server.options
    # Where nothing is attached, that is all: a client that believes it has a poll here sees that this has never come.
    written = max(session.seat.lane.written, link.outbox.confirmed) if session.seat else link.outbox.last
    words = [link.codec.dumps(Ack(link.ackable), options), link.codec.dumps(Position(written + 1), options)]
    visit.answer(200, link.codec.frames(words)[0].payload, NO_STORE, TYPES[link.codec.name])


# ── WebSocket ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def _websocket(visit: Visit) -> None:
    route_of(visit.request)  # a wrong one is refused before the handshake
    try:
        socket = await visit.exchange.upgrade()
    except Malformed as fault:
        raise UpgradeRequired(fault.reason) from None
    Newcomer(visit, socket).begin()


class Newcomer:
    """A WebSocket that has not said yet what it is for: an attach, or a hello, which counts as attach 1."""

    __slots__ = ("_slot", "_socket", "_visit")

    def __init__(self, visit: Visit, socket: Socket) -> None:
        """Listen to it."""
        self._visit = visit
        self._socket = socket
        self._slot = 0.0
        socket.listener = self

    def begin(self) -> None:
        """Wait for the first frame, for `first_frame` seconds."""
        self._socket.flush()
        self._visit.server.newcomers.add(self)
        self._slot = self._visit.server.agenda.later(self._visit.server.options.first_frame, self._expire)
        self._socket.resume()

    def _expire(self) -> None:
        self._refuse(TooSlow(f"no first frame within {self._visit.server.options.first_frame:g} s"))

    def left(self, code: int, reason: str) -> None:
        """Forget it: it has left before it was anybody, or what it sent was no WebSocket's."""
        self._settle()
        if code == codes.ABNORMAL and reason:
            self._visit.server.turn_away(Malformed(reason, cause="bad_frame"), self._visit.request)

    def turn_away(self) -> None:
        """End it: the server is about to stop."""
        self._refuse(Draining("the server is about to stop; try again in a moment"))

    def _settle(self) -> None:
        self._visit.server.newcomers.discard(self)
        self._visit.server.agenda.drop(self._slot, self._expire)

    def room(self) -> None:
        """Do nothing: little is said here."""

    def hear(self, data: str | bytes | None) -> None:
        """Take the first frame, and let a carrier go on; what comes after it waits until then."""
        if data is not None and self in self._visit.server.newcomers:
            self._settle()
            self._socket.pause()
            begin(self._attach(data), self._visit.server.tasks)

    async def _attach(self, data: str | bytes) -> None:
        options = self._visit.server.options
        try:
            session, attach, batch = await self._read(data)
        except Refused as fault:
            self._refuse(fault)
            return
        self._visit.server.settle(session)
        carrier = Carrier(self._socket, session, KINDS[session.link.codec.name], trial=True)
        self._visit.server.carry(carrier)
        carrier.seat.wish = _wish(attach, "heartbeat", options.min_heartbeat, options.heartbeat)
        carrier.begin(batch)

    async def _read(self, data: str | bytes) -> tuple[Session, Attach, Batch]:
        """Read what the first frame says. Raises Refused."""
        visit, options = self._visit, self._visit.server.options
        batch = (JSON if isinstance(data, str) else MSGPACK).loads(data, options)
        first = batch[0][0] if batch else None
        if isinstance(first, Hello) and isinstance(data, str):
            session, _ = await _make(visit, _greeting(first))
            self._socket.send(TEXT, _opening(session, options))
            attach = Attach(session.id, session.key, 1, 0, {})
        elif isinstance(first, Attach):
            attach = first
            session = _find(visit.server, attach.sid)
            await _prove(visit, session, attach)
            if attach.n == 0:
                raise Malformed("attaches count from 1")
        else:
            raise Malformed('the first frame is ["@", ...] or ["i", ...]')
        session.link.confirm(attach.ack)
        session.dock.number(attach.n)
        return session, attach, batch[1:]

    def _refuse(self, fault: Refused) -> None:
        self._settle()
        self._visit.server.turn_away(fault, self._visit.request)
        self._socket.send(TEXT, refuse_in_packet(fault)[0])
        self._socket.close(fault.code, codes.shorten(fault.reason), self._visit.server.options.close_timeout)


# ── the table ─────────────────────────────────────────────────────────────────────────────────────────────────────

_SID: Final = r"/v1/(?P<sid>[A-Za-z0-9_.-]{1,64})"

ROUTES: Final[tuple[Route, ...]] = (
    Route(at(r"/v1/open"), {"POST": _open}, Risk.WRITES, once=True, refuse=refuse_in_packet),
    Route(at(r"/v1/websocket"), {"GET": _websocket}, Risk.WRITES, "websocket", refuse=refuse_in_packet),
    Route(at(rf"{_SID}/poll"), {"POST": _poll}, Risk.WRITES, "poll", refuse=refuse_in_packet),
    Route(at(rf"{_SID}/stream"), {"POST": _stream}, Risk.WRITES, "stream", refuse=refuse_in_packet),
    Route(at(rf"{_SID}/events"), {"GET": _events}, Risk.READS, refuse=refuse_in_packet),
    Route(at(rf"{_SID}/send"), {"POST": _send}, Risk.WRITES, refuse=refuse_in_packet),
)
