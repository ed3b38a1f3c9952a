"""What an address is: a row of a table; and the one way in which a request finds its row and gets its answer."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hybridws.endpoints.faults import Missing, WrongMethod
from hybridws.errors import Refused
from hybridws.exchange import Answer, Gone
from hybridws.gate import VARYING, Risk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hybridws.exchange import Exchange, Request
    from hybridws.server import Server

log = logging.getLogger("hybridws")

PLAIN: Final = {"Content-Type": "text/plain; charset=UTF-8"}
NO_SNIFFING: Final = {"X-Content-Type-Options": "nosniff"}

Endpoint = Callable[["Visit"], Coroutine[Any, Any, None]]
Refusal = Callable[[Refused], tuple[bytes, dict[str, str]]]


def refuse_in_text(fault: Refused) -> tuple[bytes, dict[str, str]]:
    """Say in a sentence what was wrong."""
    return f"{fault.reason}\n".encode(), PLAIN


class Route(NamedTuple):
    """One address: its path below the prefix, what it does for each method, and how pages could abuse it."""

    path: re.Pattern[str]
    methods: dict[str, Endpoint]
    risk: Risk = Risk.READS
    transport: str | None = None
    """The transport that must be on offer for the address to exist."""
    legacy: bool = False
    cors: bool = True
    once: bool = False
    """A client asks for it once: the head of such a request is not worth remembering."""
    refuse: Refusal = refuse_in_text
    """Writes the body and the headers of a refusal."""


def at(path: str) -> re.Pattern[str]:
    """Make the pattern of an address; a slash at the end changes nothing."""
    return re.compile(path + r"/?")


class Found:
    """Where a request belongs; the same for each request with the same head."""

    __slots__ = ("cors", "endpoint", "names", "route", "server")

    def __init__(
        self, server: Server, route: Route, endpoint: Endpoint, names: dict[str, str], cors: dict[str, str]
    ) -> None:
        """Note what was found."""
        self.server: Final = server
        self.route: Final = route
        self.endpoint: Final = endpoint
        self.names: Final = names
        """The parts of the path that have names."""
        self.cors: Final = cors
        """The headers that tell the browser who may read the answer."""


class Visit:
    """One request to one of our addresses."""

    __slots__ = ("_route", "cors", "exchange", "names", "server")

    def __init__(self, found: Found, exchange: Exchange) -> None:
        """Begin to deal with a request."""
        self.server: Final = found.server
        self.exchange: Final = exchange
        self.names: Final = found.names
        self.cors: Final = found.cors
        self._route = found.route

    @property
    def request(self) -> Request:
        """The request."""
        return self.exchange.request

    def answer(self, status: int, body: bytes = b"", *headers: dict[str, str]) -> None:
        """Answer with a whole response."""
        whole = {**NO_SNIFFING, **self.cors}
        for some in headers:
            whole.update(some)
        self.exchange.answer(Answer(status, body, whole))

    def refuse(self, fault: Refused) -> None:
        """Answer with what was wrong."""
        _refuse(self.server, self.exchange, self._route.refuse, fault, self.cors)


def find(routes: Iterable[Route], server: Server, request: Request) -> Found:
    """Find where a request to an address below the mount's prefix belongs.

    Raises Lost: Missing, WrongMethod or Forbidden, with what is known of how to say so.
    """
    cors = VARYING
    refuse: Refusal = refuse_in_text
    try:
        route, names = _row(routes, server, request)
        refuse = route.refuse
        endpoint = route.methods.get(request.method)
        admitted = server.gate.admit(request, route.risk if endpoint else Risk.READS)
        if route.cors:
            cors = admitted
        if endpoint is None:
            raise WrongMethod(route.methods)
    except Refused as fault:
        raise Lost(server, fault, refuse, cors) from None
    return Found(server, route, endpoint, names, cors)


class Lost(Exception):
    """A request belongs nowhere, or may not go there."""

    def __init__(self, server: Server, fault: Refused, refuse: Refusal, cors: dict[str, str]) -> None:
        """Keep why, and how to say it."""
        super().__init__(fault)
        self.fault = fault
        self._server = server
        self._refuse = refuse
        self._cors = cors

    def answer(self, exchange: Exchange) -> None:
        """Answer the request with it."""
        _refuse(self._server, exchange, self._refuse, self.fault, self._cors)


async def serve(found: Found, exchange: Exchange) -> None:
    """Deal with a request; what it leaves open (a parked poll, a stream) goes on by itself."""
    visit = Visit(found, exchange)
    try:
        await found.endpoint(visit)
    except Refused as fault:
        visit.refuse(fault)
    except Gone:
        exchange.abort()  # nobody is left to be answered
    except Exception:
        where = found.route.path.pattern.removesuffix("/?")
        log.exception("a request to %s below %s failed", where, found.server.name or "/")
        exchange.fail(Answer(500, b"the server failed\n", {**PLAIN, **NO_SNIFFING, **found.cors}))


def _refuse(server: Server, exchange: Exchange, refuse: Refusal, fault: Refused, cors: dict[str, str]) -> None:
    server.turn_away(fault, exchange.request)
    wordless = isinstance(fault, WrongMethod) and refuse is refuse_in_text
    body, headers = (b"", {}) if wordless else refuse(fault)
    headers = {**headers, **fault.headers, **NO_SNIFFING, **cors, "Cache-Control": "no-store, no-transform"}
    if isinstance(fault, WrongMethod):
        headers["Allow"] = ", ".join(fault.allowed)
    if retry := fault.details.get("retry"):
        headers["Retry-After"] = str(retry)
    exchange.answer(Answer(fault.status, body, headers))


def _row(routes: Iterable[Route], server: Server, request: Request) -> tuple[Route, dict[str, str]]:
    """Find the address in the table. Raises Missing."""
    options = server.options
    for route in routes:
        if found := route.path.fullmatch(request.tail):
            if (route.legacy and not options.legacy) or (route.transport and not options.offers(route.transport)):
                break
            return route, found.groupdict()
    raise Missing("there is nothing at this address")
