"""The addresses of SockJS 0.3, and the raw WebSocket beside them: a table of paths, and a function for each.

The wire is fixed by the public protocol suite and by what sockjs-client 1.x does; docs/sockjs.md lists its rules.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from hybridws import assets
from hybridws.core import codes
from hybridws.core.packets import Close, Open
from hybridws.core.sockjs import PAYLOAD_EXPECTED, SOCKJS
from hybridws.endpoints.faults import BrokenRequest, Missing
from hybridws.endpoints.routes import NO_SNIFFING, PLAIN, Endpoint, Route, Visit, at
from hybridws.errors import Forbidden, Malformed, TooMany
from hybridws.gate import Risk
from hybridws.transports.downlinks import DOWNLINKS, SOCKJS_MANNER, Pump, Response, say_once
from hybridws.transports.websocket import KINDS, Carrier

if TYPE_CHECKING:
    from hybridws.exchange import Request
    from hybridws.session import Session

NOT_CACHED: Final = {"Cache-Control": "no-store, no-cache, no-transform, must-revalidate, max-age=0"}
YEAR: Final = 31_536_000
CACHED: Final = {"Cache-Control": f"public, max-age={YEAR}", "Expires": "Thu, 31 Dec 2099 23:59:59 GMT"}
ALLOWED_FOR: Final = {"Access-Control-Max-Age": str(YEAR)}
CLIENT: Final = "static/vendor/sockjs-client/sockjs.min.js"

_IFRAME: Final = """<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script src="{}"></script>
  <script>
    document.domain = document.domain;
    SockJS.bootstrap_iframe();
  </script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>
"""
_GUARDED: Final = {"jsonp-polling": {"Content-Disposition": "attachment; filename=f.txt"}}
"""A script tag does not look at it; a link to an answer that repeats the link's own words must not open as a file."""
_CALLBACK: Final = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_COOKIE: Final = re.compile(r"[A-Za-z0-9_.!~*'()-]{1,128}")


# ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _greet(visit: Visit) -> None:
    visit.answer(200, b"Welcome to SockJS!\n", PLAIN)


async def _info(visit: Visit) -> None:
    options = visit.server.options
    info = {
        "websocket": options.offers("websocket"),
        "origins": ["*:*"],
        "cookie_needed": bool(options.jsessionid),
        "entropy": secrets.randbits(32),
    }
    visit.answer(200, json.dumps(info).encode(), {"Content-Type": "application/json; charset=UTF-8"}, NOT_CACHED)


async def _iframe(visit: Visit) -> None:
    path = visit.request.path.removesuffix(visit.request.tail)
    page = _IFRAME.format(html.escape(visit.server.options.sockjs_url or f"{path}/sockjs.min.js")).encode()
    ancestors = visit.server.gate.ancestors()
    policy = {"Content-Security-Policy": f"frame-ancestors {ancestors}"} if ancestors else {}
    _cacheable(visit, page, "text/html; charset=UTF-8", policy)


async def _client(visit: Visit) -> None:
    _cacheable(visit, assets.find(CLIENT).read_bytes(), "application/javascript; charset=UTF-8", {})


def _cacheable(visit: Visit, body: bytes, content_type: str, extra: dict[str, str]) -> None:
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {**CACHED, "ETag": etag, **extra}
    if etag in visit.request.headers.get("If-None-Match", ""):
        visit.answer(304, b"", headers)
    else:
        visit.answer(200, body, headers, {"Content-Type": content_type})


def _preflight(method: str) -> Endpoint:
    """Make the answer to a CORS preflight (Fetch standard §3.2) for an address that takes this method."""

    async def preflight(visit: Visit) -> None:
        asked = visit.request.headers.get("Access-Control-Request-Headers")
        headers = {"Access-Control-Allow-Headers": asked} if asked else {}
        headers["Access-Control-Allow-Methods"] = f"OPTIONS, {method}"
        visit.answer(204, b"", CACHED, ALLOWED_FOR, headers)

    return preflight


def _cookie(visit: Visit) -> dict[str, str]:
    """Set JSESSIONID, which balancers can stick by, to what it was, or to something."""
    choice = visit.server.options.jsessionid
    if not choice:
        return {}
    value = choice(visit.request) if callable(choice) else visit.request.cookies.get("JSESSIONID", "dummy")
    if not _COOKIE.fullmatch(value):
        value = "dummy"
    # A page of another site gets its cookies back only if they say so, and only over TLS (RFC 6265bis §5.6.7).
    cross_site = "; Secure; SameSite=None" if visit.server.gate.own_origin(visit.request).startswith("https") else ""
    return {"Set-Cookie": f"JSESSIONID={value}; path=/{cross_site}"}


# ── receiving ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def _receive(visit: Visit) -> None:
    """Carry a session's frames down, in the way of one row of the table of downlinks."""
    row = DOWNLINKS[visit.names["transport"]]
    callback = ""
    if row.name in ("htmlfile", "jsonp-polling"):
        query = visit.request.query
        callback = query.get("c") or query.get("callback") or ""
        if not callback:
            raise BrokenRequest('"callback" parameter required')
        if not _CALLBACK.fullmatch(callback):
            raise BrokenRequest('invalid "callback" parameter')
    headers = {**NOT_CACHED, **NO_SNIFFING, **visit.cors, **_cookie(visit), **_GUARDED.get(row.name, {})}
    response = Response(visit.exchange, row, headers, visit.server.options.response_limit, callback)
    session = await _session(visit)
    if session.seat and session.seat.probe and session.seat.probe():
        # Its connection is gone and nobody has noticed yet: what it was given may be lost (rule: interrupted).
        session.seat.cut("the client has gone")
        session = await _session(visit)
    if session.seat is None:
        visit.server.settle(session)
        Pump(visit.exchange, session, row.name, response, SOCKJS_MANNER).begin()
    else:
        word = session.link.said or Close(codes.ANOTHER_CONNECTION, "Another connection still open")
        say_once(response, SOCKJS.dumps(word, visit.server.options))


async def _session(visit: Visit) -> Session:
    """Return the session of this name, or open it; one that its client lost is not the same session any more."""
    server = visit.server
    session = _living(visit)
    admission = None
    if session is not None:
        await server.recognise(session, visit.request)
        session = _living(visit)
    if session is None:
        admission = await server.admit(visit.request)
        session = _living(visit)  # another receiver may have opened it while the application was asked
    if session is None:
        session = server.open(SOCKJS, visit.request, admission, name=visit.names["session"])
        session.link.send(Open({}))
    return session


def _check_owner(session: Session, request: Request) -> None:
    """Refuse a page of another origin than the one that opened the session: it has only guessed or read its name."""
    opened, now = session.http_request.headers.get("Origin"), request.headers.get("Origin")
    if opened and now and opened != now:
        raise Forbidden(f"this session belongs to pages of {opened}", cause="another_page")


# ── sending ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def _send(visit: Visit) -> None:
    session, body = await _body(visit)
    await _take(visit, session, body)
    visit.answer(204, b"", PLAIN, NOT_CACHED, _cookie(visit))


async def _send_form(visit: Visit) -> None:
    session, body = await _body(visit)
    kind = visit.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        try:
            fields = parse_qs(body.decode(), errors="strict", max_num_fields=16)
        except ValueError:
            raise BrokenRequest(PAYLOAD_EXPECTED) from None
        body = fields.get("d", [""])[0].encode()
    await _take(visit, session, body)
    visit.answer(200, b"ok", PLAIN, NOT_CACHED, _cookie(visit))


async def _body(visit: Visit) -> tuple[Session, bytes]:
    """Read a body, and say whom it is for: once it is complete, the name may be another session's."""
    session = _living(visit)
    if session is None:
        raise Missing("no such session", cause="no_session")
    await visit.server.recognise(session, visit.request)
    return session, await visit.exchange.read(visit.server.options.max_batch)


def _living(visit: Visit) -> Session | None:
    session = visit.server.find(visit.names["session"])
    if session is None or (session.closed and session.link.said is None):
        return None
    _check_owner(session, visit.request)
    return session


async def _take(visit: Visit, session: Session, body: bytes) -> None:
    """Hand a body's messages to the session, once there is room for them."""
    options = visit.server.options
    try:
        batch = SOCKJS.loads(body, options)
    except Malformed as fault:
        raise BrokenRequest(fault.reason) from None
    if session.crowded:
        if session.waiting >= options.max_sends:
            raise TooMany(
                f"{session.waiting} sends wait for the application already (max_sends)", cause="too_many_sends"
            )
        await session.wait_for_inbox()
    if _living(visit) is not session:
        raise Missing("the session ended while this was on its way", cause="no_session")
    session.feed(session.link.lane(), batch)
    if session.seat:
        session.seat.heard = True


# ── WebSocket ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def _websocket(visit: Visit) -> None:
    admission = await visit.server.admit(visit.request)
    socket = await visit.exchange.upgrade()
    if visit.server.draining:  # it began while the handshake was under way
        socket.close(codes.RESTARTING, "the server is restarting", visit.server.options.close_timeout)
        return
    try:
        visit.server.check_share(admission)  # others of the same user may have come in meanwhile
    except TooMany as fault:
        visit.server.turn_away(fault, visit.request)
        socket.close(fault.code, codes.shorten(fault.reason), visit.server.options.close_timeout)
        return
    kind = KINDS["sockjs" if visit.names else "raw"]
    session = visit.server.open(kind.codec, visit.request, admission)
    session.subprotocol = socket.subprotocol
    if kind.codec is SOCKJS:
        session.link.send(Open({}))
    visit.server.settle(session)
    carrier = Carrier(socket, session, kind, trial=False)
    visit.server.carry(carrier)
    carrier.begin()


# ── the table ─────────────────────────────────────────────────────────────────────────────────────────────────────

_IN_SESSION: Final = r"/(?P<server>[^/.]+)/(?P<session>[^/.]+)"
"""The server part is for balancers, which may stick by it; a session is known by its own part alone."""


def _down(name: str, method: str, risk: Risk, *, legacy: bool = False) -> Route:
    path = at(rf"{_IN_SESSION}/(?P<transport>{name})")
    methods: dict[str, Endpoint] = {method: _receive}
    if method == "POST":
        methods["OPTIONS"] = _preflight(method)
    return Route(path, methods, risk, DOWNLINKS[name].name, legacy, cors=not legacy)


ROUTES: Final[tuple[Route, ...]] = (
    Route(at(r""), {"GET": _greet, "HEAD": _greet}),
    Route(at(r"/info"), {"GET": _info, "OPTIONS": _preflight("GET")}),
    Route(at(r"/iframe[0-9-.a-z_]*\.html"), {"GET": _iframe, "HEAD": _iframe}, legacy=True, cors=False),
    Route(at(r"/sockjs\.min\.js"), {"GET": _client, "HEAD": _client}, cors=False),
    Route(at(r"/websocket"), {"GET": _websocket}, Risk.WRITES, "websocket-raw"),
    Route(at(rf"{_IN_SESSION}/websocket"), {"GET": _websocket}, Risk.WRITES, "websocket"),
    _down("xhr", "POST", Risk.WRITES),
    _down("xhr_streaming", "POST", Risk.WRITES),
    _down("eventsource", "GET", Risk.READS),
    _down("htmlfile", "GET", Risk.EMBEDS, legacy=True),
    _down("jsonp", "GET", Risk.EMBEDS, legacy=True),
    Route(at(rf"{_IN_SESSION}/xhr_send"), {"POST": _send, "OPTIONS": _preflight("POST")}, Risk.WRITES),
    Route(
        at(rf"{_IN_SESSION}/jsonp_send"),
        {"POST": _send_form},
        Risk.WRITES,
        "jsonp-polling",
        legacy=True,
        cors=False,
    ),
)
