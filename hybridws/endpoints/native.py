"""The addresses of the native session protocol, version 1 (docs/protocol.md §3)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from hybridws.core import codes
from hybridws.core.codec import JSON, MSGPACK, Batch, Codec
from hybridws.core.link import State
from hybridws.core.packets import Ack, Attach, Auth, Heartbeat, Hello, Open, Position, Refuse
from hybridws.endpoints.routes import NO_SNIFFING, Missing, Route, Visit, at
from hybridws.errors import Forbidden, Malformed, NoSession, Refused, TooLarge, TooSlow
from hybridws.exchange import Gone, Left
from hybridws.gate import Risk, is_foreign, route_of
from hybridws.seat import Bell
from hybridws.transports.downlinks import EVENTS, STREAMS, Manner, Pump, Response
from hybridws.transports.websocket import KINDS, Carrier

if TYPE_CHECKING:
    from hybridws.core.link import Lane
    from hybridws.exchange import Request, Socket
    from hybridws.options import Options
    from hybridws.server import Server
    from hybridws.session import Session

log = logging.getLogger("hybridws")

VERSION: Final = 1
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


class WrongVersion(Refused):
    """The client speaks a version that this server does not."""

    status = 426


class UpgradeRequired(Refused):
    """This address is for WebSockets."""

    status = 426
    headers: ClassVar = {"Upgrade": "websocket"}  # RFC 9110 §15.5.22


class WrongCodec(Refused):
    """The session cannot be carried in this way."""

    status = 406


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
        if known.request.headers.get("Origin") != request.headers.get("Origin"):
            raise Forbidden("this nonce is another page's")
        admission = await server.gate.identify(request, greeting.auth)
        if admission.user != known.user:
            raise Forbidden("this nonce is another user's")
        return known, False
    subprotocol = _choose(visit.server.options, greeting.protocols)
    admission = await server.admit(request, greeting.auth)
    session = server.open(greeting.codec, request, admission, route=route)
    session.admitted = _credentials(request, greeting.auth)
    session.subprotocol = subprotocol
    if greeting.nonce:
        server.remember_nonce(greeting.nonce, session)
    if admission.expires is not None:
        session.say(Auth({"expires": admission.expires}))
    await asyncio.sleep(0)  # the handler runs to its first wait: what came with the hello finds it ready
    return session, True


def _open_packet(session: Session, options: Options) -> Open:
    return Open(
        {
            "v": VERSION,
            "sid": session.id,
            "key": session.key,
            "heartbeat": options.heartbeat,
            "poll_timeout": options.poll_timeout,
            "resume": options.resume,
            "buffer": options.buffer,
            "max_message": options.max_message,
            "max_batch": options.max_batch,
            "transports": [name for name in ("websocket", "stream", "poll") if options.offers(name)],
            "features": FEATURES,
            **({"protocol": session.subprotocol} if session.subprotocol else {}),
        }
    )


async def _open(visit: Visit) -> None:
    """Answer `POST /v1/open`: at once, with what the application says within `open_linger`."""
    options = visit.server.options
    body = await visit.exchange.read(options.max_batch)
    line, _, rest = body.partition(b"\n")
    batch = JSON.loads(line, options)
    if len(batch) != 1 or not isinstance(batch[0][0], Hello):
        raise Malformed('the first line is ["i", {...}]')
    greeting = _greeting(batch[0][0])
    brought = greeting.codec.loads(rest, options)
    session, new = await _make(visit, greeting)
    link = session.link
    try:
        session.feed(link.lane(overtakes=True), brought)
    except Malformed as fault:
        if new:  # nobody would ever learn of it
            session.abort(fault.code, fault.reason)
        raise
    bell = Bell()
    lane = link.lane()
    await _wait(bell, session, lane, options.open_linger)
    frame = link.pending(lane, options.max_batch)[0]
    head = JSON.dumps(_open_packet(session, options), options)
    await visit.answer(200, head + b"\n" + frame.payload, NO_STORE, TYPES[link.codec.name])


async def _wait(bell: Bell, session: Session, lane: Lane, patience: float) -> None:
    """Wait until there is something to say, or the time is over, or the session."""
    session.bells.append(bell)
    try:
        async with asyncio.timeout(patience):
            while not session.link.has_more(lane) and session.closed is None:
                await bell.wait()
    except TimeoutError:
        pass
    finally:
        session.bells.remove(bell)


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
    return NoSession("the session has ended", {"code": code, "reason": reason})


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
        raise Forbidden("this is not the session's key")
    shown = _credentials(visit.request, attach.wishes.get("auth"))
    if any(new is not None and new != old for new, old in zip(shown, session.admitted, strict=True)):
        admission = await visit.server.gate.identify(visit.request, attach.wishes.get("auth"))
        if admission.user != session.user:
            raise Forbidden("the session belongs to another user")
        session.admitted = tuple(new or old for new, old in zip(shown, session.admitted, strict=True))


def _credentials(request: Request, auth: object) -> tuple[bytes | None, ...]:
    """Return a digest of each thing by which a request says who it is; None for one that it does not bring."""
    said = (request.headers.get("Cookie"), request.headers.get("Authorization"), auth)
    return tuple(None if one is None else _digest(one) for one in said)


def _digest(credential: object) -> bytes:
    return hashlib.sha256(json.dumps(credential, sort_keys=True, default=str).encode()).digest()


def _wish(attach: Attach, name: str, lowest: float, otherwise: float) -> float:
    """Return a number of seconds that a client wishes for, or else what we do anyway."""
    wish = attach.wishes.get(name)
    if isinstance(wish, bool) or not isinstance(wish, int | float) or wish < lowest:
        return otherwise
    return min(float(wish), otherwise)


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
    pump = Pump(visit.exchange, session, "poll")
    seat, codec = pump.seat, session.link.codec
    # Every answer acks; one is due before its time only when much more has come than stands here.
    seat.lane.owes, seat.lane.acked, seat.lane.acked_bytes = False, session.link.ackable, session.link.came
    try:
        try:
            async with asyncio.timeout(patience):
                while not (seat.over or seat.has_more or seat.lane.owes or session.link.state is State.CLOSED):
                    await pump.bell.wait()
        except TimeoutError:
            pass
        if visit.exchange.gone:
            return
        if seat.over and seat.verdict[0] in codes.ABRUPT:
            raise _ended(*seat.verdict)
        seat.lane.owes = True
        frames = seat.pending(options.max_batch)
        for frame in frames:
            seat.wrote(frame)
        payload = frames[0].payload if frames else codec.dumps(Ack(session.link.ackable), options)
        await visit.answer(200, payload, NO_STORE, TYPES[codec.name])
        seat.delivered()
        seat.leave("answered")
    except Gone:
        seat.cut("the connection broke")
    finally:
        seat.cut("the client has gone")


async def _stream(visit: Visit) -> None:
    session, attach, batch = await _arrive(visit)
    _move_in(visit, session, attach, batch)
    pump = Pump(visit.exchange, session, "stream")
    options = visit.server.options
    pump.seat.wish = _wish(attach, "heartbeat", options.min_heartbeat, options.heartbeat)
    headers = {**NO_STORE, **NO_SNIFFING, **visit.cors}
    await _flow(
        pump, session, Response(visit.exchange, STREAMS[session.link.codec.name], headers, options.stream_limit)
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
    headers = {**NO_STORE, **NO_SNIFFING, **visit.cors}
    pump = Pump(visit.exchange, session, "events")
    await _flow(pump, session, Response(visit.exchange, EVENTS, headers, options.stream_limit))


async def _flow(pump: Pump, session: Session, response: Response) -> None:
    """Run a stream for `stream_age` at most; its first two batches are written apart (§3)."""
    options, codec = session.link.options, session.link.codec
    heartbeat = codec.dumps(Heartbeat(), options)

    def refuse(code: int, reason: str) -> bytes:
        return codec.dumps(Refuse(code, reason, {}), options)

    pump.seat.lane.on_trial = True  # so that the first batch is the ack alone
    try:
        async with asyncio.timeout(options.stream_age):
            await pump.run(response, Manner(heartbeat, answered=True, refuse=refuse))
    except TimeoutError:
        await response.end()


async def _send(visit: Visit) -> None:
    """Take packets from a client that receives elsewhere; say how many have come, and where its stream should be."""
    session, attach, batch = await _arrive(visit)
    if attach.n != 0:
        raise Malformed("a send attaches nothing: its n is 0")
    _take(session, attach, batch)
    link, options = session.link, visit.server.options
    seat = session.seat
    written = max(seat.lane.written if seat else link.outbox.confirmed, link.outbox.confirmed)
    words = [link.codec.dumps(Ack(link.ackable), options), link.codec.dumps(Position(written + 1), options)]
    await visit.answer(200, link.codec.frames(words)[0].payload, NO_STORE, TYPES[link.codec.name])


# ── WebSocket ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def _websocket(visit: Visit) -> None:
    route_of(visit.request)  # a wrong one is refused before the handshake
    try:
        socket = await visit.exchange.upgrade()
    except Malformed as fault:
        raise UpgradeRequired(fault.reason) from None
    options = visit.server.options
    try:
        session, attach, batch = await _first_frame(visit, socket)
    except Refused as fault:
        try:
            await socket.send(0x1, refuse_in_packet(fault)[0])
            closing = asyncio.get_running_loop().create_task(_drain(socket))
            await socket.close(fault.code, codes.shorten(fault.reason), options.close_timeout)
            await closing
        except (Gone, Left):
            socket.abort()
        return
    except (Left, Gone):
        return
    visit.server.settle(session)
    carrier = Carrier(socket, session, KINDS[session.link.codec.name], trial=True)
    carrier.seat.wish = _wish(attach, "heartbeat", options.min_heartbeat, options.heartbeat)
    await carrier.run(batch)


async def _drain(socket: Socket) -> None:
    """Read until the far side has closed too."""
    while True:
        try:
            await socket.receive()
        except (Left, Refused):
            return


async def _first_frame(visit: Visit, socket: Socket) -> tuple[Session, Attach, Batch]:
    """Read what a WebSocket is for: an attach, or a hello, which counts as attach 1."""
    options = visit.server.options
    try:
        async with asyncio.timeout(options.first_frame):
            data = await socket.receive()
            while data is None:
                data = await socket.receive()
    except TimeoutError:
        raise TooSlow(f"no first frame within {options.first_frame:g} s") from None
    batch = (JSON if isinstance(data, str) else MSGPACK).loads(data, options)
    first = batch[0][0] if batch else None
    if isinstance(first, Hello) and isinstance(data, str):
        session, _ = await _make(visit, _greeting(first))
        await socket.send(0x1, JSON.dumps(_open_packet(session, options), options))
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


# ── the table ─────────────────────────────────────────────────────────────────────────────────────────────────────

_SID: Final = r"/v1/(?P<sid>[A-Za-z0-9_.-]{1,64})"

ROUTES: Final = (
    Route(at(r"/v1/open"), {"POST": _open}, Risk.WRITES, refuse=refuse_in_packet),
    Route(at(r"/v1/websocket"), {"GET": _websocket}, Risk.WRITES, "websocket", refuse=refuse_in_packet),
    Route(at(rf"{_SID}/poll"), {"POST": _poll}, Risk.WRITES, "poll", refuse=refuse_in_packet),
    Route(at(rf"{_SID}/stream"), {"POST": _stream}, Risk.WRITES, "stream", refuse=refuse_in_packet),
    Route(at(rf"{_SID}/events"), {"GET": _events}, Risk.READS, refuse=refuse_in_packet),
    Route(at(rf"{_SID}/send"), {"POST": _send}, Risk.WRITES, refuse=refuse_in_packet),
)
