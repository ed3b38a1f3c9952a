"""What an address is: a row of a table; and the one way in which a request finds its row and gets its answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hybridws.errors import Malformed, Refused
from hybridws.exchange import Answer, Gone
from hybridws.gate import Risk

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from hybridws.exchange import Exchange, Request
    from hybridws.server import Server

VARYING: Final = {"Vary": "Origin"}
"""On every answer, since each depends on who asked: no cache may give one page's to another."""
PLAIN: Final = {"Content-Type": "text/plain; charset=UTF-8"}
NO_SNIFFING: Final = {"X-Content-Type-Options": "nosniff"}


class Missing(Refused):
    """There is nothing at this address."""

    status = 404


class WrongMethod(Exception):
    """The address takes other methods."""

    def __init__(self, allowed: Collection[str]) -> None:
        """Keep the methods that it does take."""
        super().__init__()
        self.allowed = allowed


class Visit(NamedTuple):
    """One request to one of our addresses."""

    server: Server
    exchange: Exchange
    names: dict[str, str]
    """The parts of the path that have names."""
    cors: dict[str, str]
    """The headers that tell the browser who may read the answer."""

    @property
    def request(self) -> Request:
        """The request."""
        return self.exchange.request

    async def answer(self, status: int, body: bytes = b"", *headers: dict[str, str]) -> None:
        """Answer with a whole response. Raises Gone."""
        whole = {**NO_SNIFFING, **self.cors}
        for some in headers:
            whole.update(some)
        await self.exchange.answer(Answer(status, body, whole))


Endpoint = Callable[[Visit], Coroutine[Any, Any, None]]
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
    refuse: Refusal = refuse_in_text
    """Writes the body and the headers of a refusal."""


def at(path: str) -> re.Pattern[str]:
    """Make the pattern of an address; a slash at the end changes nothing."""
    return re.compile(path + r"/?")


async def serve(routes: Iterable[Route], server: Server, exchange: Exchange) -> None:
    """Answer one request to an address below the mount's prefix."""
    cors = VARYING
    refuse: Refusal = refuse_in_text
    try:
        route, names = _find(routes, server, exchange.request)
        refuse = route.refuse
        endpoint = route.methods.get(exchange.request.method)
        admitted = server.gate.admit(exchange.request, route.risk if endpoint else Risk.READS)
        if route.cors:
            cors = admitted
        if endpoint is None:
            raise WrongMethod(route.methods)  # noqa: TRY301 - it needs what was found so far
        await endpoint(Visit(server, exchange, names, cors))
    except Refused as fault:
        body, headers = refuse(fault)
        headers = {**headers, **fault.headers, **NO_SNIFFING, **cors, "Cache-Control": "no-store, no-transform"}
        if retry := fault.details.get("retry"):
            headers["Retry-After"] = str(retry)
        await _try_to_answer(exchange, Answer(fault.status, body, headers))
    except WrongMethod as wrong:
        allowed = ", ".join(wrong.allowed)
        body, headers = (b"", {}) if refuse is refuse_in_text else refuse(Malformed(f"this address takes {allowed}"))
        headers = {**headers, "Allow": allowed, **NO_SNIFFING, **cors, "Cache-Control": "no-store, no-transform"}
        await _try_to_answer(exchange, Answer(405, body, headers))
    except Gone:
        pass  # nobody is left to be answered


async def _try_to_answer(exchange: Exchange, answer: Answer) -> None:
    with suppress(Gone):
        await exchange.answer(answer)


def _find(routes: Iterable[Route], server: Server, request: Request) -> tuple[Route, dict[str, str]]:
    """Find the address in the table. Raises Missing or WrongMethod."""
    options = server.options
    for route in routes:
        if found := route.path.fullmatch(request.tail):
            if (route.legacy and not options.legacy) or (route.transport and not options.offers(route.transport)):
                break
            return route, found.groupdict()
    raise Missing("there is nothing at this address")
