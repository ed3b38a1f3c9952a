"""What stands between us and a server before the first request: proxy, TCP, TLS."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import ipaddress
import os
import socket
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.request import getproxies, proxy_bypass

from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PATIENCE: Final = 5.0
"""Seconds for a connection to come about."""
REASONS: Final = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "the connection was reset",
    errno.EHOSTUNREACH: "there is no way to it",
    errno.ENETUNREACH: "there is no network that leads to it",
    errno.ETIMEDOUT: "no answer",
}
MAX_HEAD: Final = 64 * 1024
OK: Final = 200
WANTS_CREDENTIALS: Final = 407


@dataclass(slots=True)
class Route:
    """How requests get to a server."""

    host: str
    port: int
    tls: bool
    proxy: str | None = None
    """Where the proxy is, without its credentials."""
    source: str = ""
    """Who named the proxy: an argument, or a variable of the environment."""
    connected: float | None = None
    """Seconds until the TCP connection to the server, or to the proxy, was there."""
    shaken: float | None = None
    """Seconds for the TLS handshake."""
    version: str | None = None
    """Of TLS."""
    issuer: str | None = None
    """Who vouches for the certificate: on a network that looks into TLS, the network itself."""
    expires: str | None = None
    fault: str | None = None
    """Why it ends here."""


def choose_proxy(url: URL, given: str | None) -> tuple[URL | None, str]:
    """Return the proxy that requests to `url` take, and who says so; None for the direct way (as aiohttp chooses)."""
    if given:
        return URL(given), "--proxy"
    if proxy_bypass(url.host or ""):
        return None, "no_proxy"
    found = getproxies().get(url.scheme)
    return (URL(found), f"{url.scheme}_proxy") if found else (None, "")


def bare(url: URL) -> str:
    """Write the address of a proxy without the password in it."""
    return f"{url.scheme}://{url.host}:{url.port}"


def is_local(host: str) -> bool:
    """Tell whether this name is our own machine's."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


async def explore(url: URL, given: str | None, *, direct: bool = False) -> Route:
    """Go the way that requests go, as far as TLS; say what was met. `direct` knows of no proxy."""
    proxy, source = (None, "") if direct else choose_proxy(url, given)
    route = Route(url.host or "", url.port or 0, url.scheme == "https", bare(proxy) if proxy else None, source)
    try:
        async with asyncio.timeout(PATIENCE):
            await _go(route, proxy)
    except TimeoutError:
        route.fault = f"no answer within {PATIENCE:g} s"
    except ssl.SSLCertVerificationError as error:
        route.fault = f"the certificate is not trusted: {error.verify_message}"
    except ssl.SSLError as error:
        route.fault = f"TLS failed: {error.reason or error}"
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        route.fault = route.fault or plain(error)
    return route


def plain(error: BaseException) -> str:
    """Say why no connection came about, without numbers and names of functions."""
    if isinstance(error, socket.gaierror):
        return "the name is not known here (DNS)"
    found = error.errno if isinstance(error, OSError) and error.errno else 0
    return REASONS.get(found) or (os.strerror(found).lower() if found else str(error) or type(error).__name__)


async def _go(route: Route, proxy: URL | None) -> None:
    begun = time.monotonic()
    near = proxy or URL.build(scheme="http", host=route.host, port=route.port)
    context = ssl.create_default_context() if proxy and proxy.scheme == "https" else None
    reader, writer = await asyncio.open_connection(near.host, near.port, ssl=context, limit=MAX_HEAD)
    try:
        route.connected = time.monotonic() - begun
        if not route.tls:
            return
        if proxy:
            await _tunnel(route, proxy, reader, writer)
        begun = time.monotonic()
        await writer.start_tls(ssl.create_default_context(), server_hostname=route.host)
        route.shaken = time.monotonic() - begun
        route.version = writer.get_extra_info("ssl_object").version()
        certificate = writer.get_extra_info("peercert") or {}
        route.issuer = _name(certificate.get("issuer", ()))
        route.expires = certificate.get("notAfter")
    finally:
        writer.transport.abort()


async def _tunnel(route: Route, proxy: URL, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ask the proxy for a tunnel (RFC 9110 §9.3.6). Raises OSError."""
    host = f"[{route.host}]" if ":" in route.host else route.host
    lines = [f"CONNECT {host}:{route.port} HTTP/1.1", f"Host: {host}:{route.port}"]
    if proxy.user:
        word = base64.b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {word}")
    writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status = head.split(" ", 2)[1:2]
    if status != [str(OK)]:
        route.fault = (
            f"the proxy answered CONNECT with {head.splitlines()[0].partition(' ')[2] or 'nothing that is HTTP'}"
        )
        if status == [str(WANTS_CREDENTIALS)]:
            route.fault += ": it wants a user and a password"
        raise ConnectionError(route.fault)


def _name(parts: Iterable[Iterable[tuple[str, str]]]) -> str | None:
    """Return the name that people know an issuer by."""
    names: Mapping[str, str] = {key: value for part in parts for key, value in part}
    return names.get("organizationName") or names.get("commonName")
