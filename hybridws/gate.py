"""Who may come in: which pages, seen through which proxies, under which session names.

A browser sends cookies to any server that a page names, so a server that asks nobody lets every page on the web speak
in its users' names (cross-site WebSocket hijacking). What is asked depends on what a page can do with the answer:

POST and WebSocket   `Origin` must be allowed. Without one, a cookie is refused: a browser would have sent an Origin.
GET by script        `Origin` must be allowed if there is one (browsers send none with a GET to the same origin).
GET by a script tag  jsonp and htmlfile: anybody's page may embed the answer, so the page must be known: by `Origin`,
or an iframe         `Sec-Fetch-Site: same-origin`, or a `Referer` of an allowed origin.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import secrets
from collections.abc import Awaitable
from enum import Enum, auto
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from hybridws.errors import Forbidden, Malformed, NotAuthenticated
from hybridws.options import ANY_ORIGIN, ANY_ORIGIN_WITH_CREDENTIALS, Admission, Options
from hybridws.tasks import become_task

if TYPE_CHECKING:
    from hybridws.exchange import Request
    from hybridws.options import Authenticate

log = logging.getLogger("hybridws")

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_MAX_LOGGED: Final = 200
"""Characters of a header that a log line repeats."""
_MAX_HOPS: Final = 32
"""Proxies in a row whose word on the client's address is read, from the nearest."""


VARYING: Final = {"Vary": "Origin"}
"""On every answer, since each depends on who asked: no cache may give one page's to another."""
_FOR_ALL: Final = {"Access-Control-Allow-Origin": "*", **VARYING}

_ORIGIN: Final = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]+)?/?")
"""What a browser can send, in lower case: no path, no pattern, and a name of other letters only as xn--."""


_ROUTE: Final = re.compile("[A-Za-z0-9]{1,16}")
"""What a client may call its route: nothing that means something in a path, a log or a balancer's configuration."""


class Risk(Enum):
    """How a request could be made by a page that is not allowed to (see the file's head)."""

    WRITES = auto()
    READS = auto()
    EMBEDS = auto()


_process: list[str] = [secrets.token_hex(4)]  # the name of this process: a fork is another one
os.register_at_fork(after_in_child=lambda: _process.__setitem__(0, secrets.token_hex(4)))


def new_id(route: str = "") -> str:
    """Make the name of a session: its client's route, if it has one, the process it lives in, and 128 random bits."""
    return f"{route}{route and '-'}{_process[0]}.{secrets.token_urlsafe(16)}"


def is_foreign(sid: str) -> bool:
    """Tell whether a session's name was made by another process than this one."""
    return sid.partition(".")[0].rpartition("-")[2] != _process[0]


def new_route() -> str:
    """Make a route up, as a client: enough to spread clients over processes, and two that have the same do no harm."""
    return secrets.token_hex(4)


def route_of(request: Request) -> str:
    """Return the word by which a balancer may keep a client at one process (docs/protocol.md §3), empty without one.

    Raises Malformed for what is no route: it becomes part of the session's name.
    """
    route = request.query.get("route")
    if route is not None and not _ROUTE.fullmatch(route):
        raise Malformed("a route is 1 to 16 letters and digits, of ASCII")
    return route or ""


def credentials_of(request: Request, auth: object = None) -> tuple[bytes | None, ...]:
    """Return a digest of each thing by which a request says who it is; None for one that it does not bring."""
    said = (request.headers.get("Cookie"), request.headers.get("Authorization"), auth)
    return tuple(None if one is None else _digest(one) for one in said)


def _digest(credential: object) -> bytes:
    return hashlib.sha256(json.dumps(credential, sort_keys=True, default=str).encode()).digest()


def new_key() -> str:
    """Make the secret by which the transports of a session prove that they belong to it: 128 random bits."""
    return secrets.token_urlsafe(16)


@lru_cache(maxsize=256)
def origin_of(url: str) -> str | None:
    """Return the origin of a URL (RFC 6454 §4) in its one normal form, or None if it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}")


async def ask(authenticate: Authenticate, request: Request, auth: object) -> object:
    """Ask the application's function, plain or async, who this is."""
    answer = authenticate(request, auth)
    return await answer if isinstance(answer, Awaitable) else answer


class Gate:
    """Decides by origin, and says what the browser may be told (CORS)."""

    __slots__ = ("_allowed", "_any", "_authenticate", "_credentials", "_proxies", "_public")

    def __init__(self, options: Options) -> None:
        """Read the options once. Raises ValueError for what is no origin or no network; warns of what is unsafe."""
        self._authenticate = options.authenticate
        self._any = isinstance(options.origins, str)
        self._credentials = options.origins != ANY_ORIGIN
        self._allowed: Final[set[str]] = set()
        if options.origins is not None and not isinstance(options.origins, str):
            for text in options.origins:
                origin = origin_of(text)
                if origin is None or not _ORIGIN.fullmatch(text.lower()):
                    raise ValueError(
                        f"{text!r} is no origin: write scheme://host or scheme://host:port, without a path or a "
                        "pattern, and a name of other letters as xn--..."
                        + ("; to let pages of any origin in, origins=hybridws.ANY_ORIGIN" if text == "*" else "")
                    )
                self._allowed.add(origin)
        self._public = origin_of(options.public_url) if options.public_url else None
        if options.public_url and not self._public:
            raise ValueError(f"public_url {options.public_url!r} has no scheme and host")
        self._proxies = [ip_network(text) for text in options.trusted_proxies]
        if options.origins == ANY_ORIGIN_WITH_CREDENTIALS:
            log.warning("hybridws lets pages of ANY origin act with their visitors' cookies: for test servers only")

    def admit(self, request: Request, risk: Risk) -> dict[str, str]:
        """Let a request in, and return the CORS headers of its answer. Raises Forbidden."""
        origin = request.headers.get("Origin")
        if self._any:
            return self._cors(origin)
        own = self.own_origin(request)
        if origin is not None:
            if not self._allows(origin, own):
                self._refuse("Origin", origin, own)
            return self._cors(origin)
        if risk is Risk.WRITES:
            if request.headers.get("Cookie"):
                self._refuse("Origin", "", own)
        elif request.headers.get("Sec-Fetch-Site") == "cross-site":
            # A page that `origins` names may be of another site. Our own is not: a site between has sent it round.
            if origin_of(request.headers.get("Referer", "")) not in self._allowed:
                self._refuse("Sec-Fetch-Site", "cross-site", own)
        elif risk is Risk.EMBEDS and request.headers.get("Sec-Fetch-Site") != "same-origin":
            referer = request.headers.get("Referer", "")
            if not self._allows(origin_of(referer) or "", own):
                self._refuse("Referer", referer, own)
        return VARYING

    async def identify(self, request: Request, auth: object) -> Admission:
        """Ask the application who this is; without `authenticate` it is nobody in particular.

        Raises NotAuthenticated, or whatever Refused the application raises.
        """
        if self._authenticate is None:
            return Admission(None)
        await become_task()  # it may ask for the current task, which a request that need not wait has none of
        answer = await ask(self._authenticate, request, auth)
        admission = answer if isinstance(answer, Admission) else Admission(answer)
        user = admission.user
        if user is None or user is False:
            raise NotAuthenticated("this client is not known here")
        if isinstance(user, BaseException) or (isinstance(user, type) and issubclass(user, BaseException)):
            raise TypeError(f"authenticate returned {user!r}: `raise` it, and the client is refused")
        return admission

    def address(self, request: Request) -> str:
        """Return the client's address: the nearest one that is not a trusted proxy's."""
        remote = request.remote
        if not self._trusts(remote):
            return remote
        for hop in reversed(_hops(request)):
            if not self._trusts(remote):
                break
            remote = hop
        return remote

    @property
    def knows_proxies(self) -> bool:
        """Whether there are proxies that are believed."""
        return bool(self._proxies)

    def ancestors(self) -> str | None:
        """Return the pages that may frame ours, as a value of `frame-ancestors` (CSP); None is any."""
        if self._any and self._credentials:
            return None
        return " ".join(["'self'", *sorted(self._allowed)])

    def own_origin(self, request: Request) -> str:
        """Return the origin that the browser believes to speak to; empty if the request does not tell."""
        if self._public:
            return self._public
        scheme, host = request.scheme, request.headers.get("Host", "")
        if self._trusts(request.remote):
            said = _forwarded(request)
            scheme, host = said.get("proto", scheme), said.get("host", host)
        return origin_of(f"{scheme}://{host}") or ""

    def _trusts(self, remote: str) -> bool:
        if not self._proxies or not remote:
            return False
        try:
            address = ip_address(remote)
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped  # a socket that takes both shows IPv4 so
        return any(address in network for network in self._proxies)

    def _allows(self, origin: str, own: str) -> bool:
        """Compare exactly: an Origin header has one normal form, and whatever is written otherwise is refused."""
        return bool(origin) and (origin == own or origin in self._allowed)

    def _cors(self, origin: str | None) -> dict[str, str]:
        if not self._credentials or (self._any and origin is None):
            return _FOR_ALL
        return VARYING if origin is None else _for_page(origin)

    def _refuse(self, header: str, value: str, own: str) -> None:
        raise Forbidden(
            f"{header} {value[:_MAX_LOGGED]!r} may not connect here" if value else f"a cookie without {header}",
            cause="origin",
            hint=f"{header} {value[:_MAX_LOGGED]!r} is not this server's own origin {own!r}; allow it with "
            "origins=[...], or, behind a proxy that rewrites Host, set public_url or trusted_proxies",
        )


@lru_cache(maxsize=256)
def _for_page(origin: str) -> dict[str, str]:
    """Let a page of this origin read the answer; one and the same for all of its requests."""
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true", **VARYING}


def _forwarded(request: Request) -> dict[str, str]:
    """Read what the nearest proxy says of scheme and host: Forwarded (RFC 7239) first, then X-Forwarded-*."""
    said: dict[str, str] = {}
    if forwarded := request.all_of("Forwarded"):
        for pair in forwarded.split(",")[-1].split(";"):
            name, _, value = pair.strip().partition("=")
            said[name.lower()] = value.strip('"')
        return said
    if proto := request.all_of("X-Forwarded-Proto"):
        said["proto"] = proto.split(",")[-1].strip()
    if host := request.all_of("X-Forwarded-Host"):
        said["host"] = host.split(",")[-1].strip()
    return said


def said_behind(request: Request) -> str:
    """Return what a request says of the client behind a proxy, true or not; empty if it says nothing."""
    return request.all_of("Forwarded") or request.all_of("X-Forwarded-For")


def _hops(request: Request) -> list[str]:
    """Return the addresses that proxies have noted, the nearest last; what is no address ends the walk back."""
    forwarded = request.all_of("Forwarded")
    noted = [_for(element) for element in forwarded.split(",")] if forwarded else []
    hops: list[str] = []
    for part in reversed((noted or request.all_of("X-Forwarded-For").split(","))[-_MAX_HOPS:]):
        hop = _without_port(part.strip())
        if hop is None:
            break
        hops.insert(0, hop)
    return hops


def _for(element: str) -> str:
    """Return who sent a request to the proxy that wrote this element (RFC 7239 §5.2)."""
    for pair in element.split(";"):
        name, _, value = pair.strip().partition("=")
        if name.lower() == "for":
            return value.strip('"')
    return ""


def _without_port(text: str) -> str | None:
    """Return an address in its one form, also out of `address:port` and `[address]:port`; None for what is none."""
    host = text[1:].partition("]")[0] if text.startswith("[") else text
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return str(ip_address(host))
    except ValueError:
        return None
