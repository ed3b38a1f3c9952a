"""Who may see the console: whom `authenticate` knows; without it, programs of this machine alone."""

from __future__ import annotations

import base64
import hmac
import logging
from ipaddress import ip_address
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import urlsplit

from hybridws.errors import Forbidden, NotAuthenticated
from hybridws.gate import ask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hybridws.exchange import Request
    from hybridws.options import Authenticate

log = logging.getLogger("hybridws")

PASSED_ON: Final = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
"""Headers by which a proxy shows itself: behind one on this machine, everybody seems to be of this machine."""
NEEDED: Final = (
    "the console has no authenticate, so it is for browsers on this machine alone, without a proxy: "
    'mount_console(app, path, authenticate=basic_auth("user", "password")) lets others in'
)


class AskPassword(NotAuthenticated):
    """The browser should ask for a name and a password (RFC 7617)."""

    headers: ClassVar = {"WWW-Authenticate": 'Basic realm="hybridws console", charset="UTF-8"'}


def basic_auth(user: str, password: str) -> Callable[[Request, object], Awaitable[str]]:
    """Make an `authenticate` that knows one user by a password (HTTP Basic); use it over TLS only, or on this machine.

    Raises ValueError for an empty password.
    """
    if not password:
        raise ValueError("basic_auth needs a password that is not empty")
    known = f"{user}:{password}".encode()

    async def authenticate(request: Request, _auth: object) -> str:
        scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
        try:
            given = base64.b64decode(shown.strip(), validate=True) if scheme.lower() == "basic" else b""
        except ValueError:
            given = b""
        if not hmac.compare_digest(given, known):
            raise AskPassword("a name and a password are needed here")
        return user

    return authenticate


def only_this_machine(request: Request) -> None:
    """Let a request in that comes from this machine, to this machine, through nobody. Raises Forbidden.

    The Host is looked at too: a page of a foreign name that was made to point to 127.0.0.1 must not read here.
    """
    if not (_loopback(request.remote) and _names_this_machine(request.headers.get("Host", ""))) or any(
        name in request.headers for name in PASSED_ON
    ):
        log.error("refused %s: %s", request.remote or "a request", NEEDED)
        raise Forbidden(NEEDED)


def make(authenticate: Authenticate | None) -> Callable[[Request, object], Awaitable[object]]:
    """Make the console's own `authenticate`."""

    async def admit(request: Request, auth: object) -> object:
        if authenticate is not None:
            return await ask(authenticate, request, auth)
        only_this_machine(request)
        return "this machine"

    return admit


def _loopback(address: str) -> bool:
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    return ip.is_loopback or bool(getattr(ip, "ipv4_mapped", None) and ip.ipv4_mapped.is_loopback)  # type: ignore[union-attr]


def _names_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or name.endswith(".localhost") or _loopback(name)
