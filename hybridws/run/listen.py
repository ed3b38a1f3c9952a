"""Listening sockets: TCP or unix, plain or TLS, and what accepts their connections."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from hybridws.run.settings import CannotServe

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from hybridws.run.settings import Settings


def protocol_factory(runner: web.AppRunner) -> Callable[[], asyncio.Protocol]:
    """Return what makes the protocol of each new connection."""
    if runner.server is None:
        raise RuntimeError("the runner is set up first: await runner.setup()")
    return runner.server


class Listener:
    """What listens for an application, from `listen` until `close`."""

    def __init__(self, server: asyncio.Server, settings: Settings) -> None:
        """Take a server of asyncio's."""
        self._server = server
        self._path = Path(settings.path) if settings.path else None
        self._inode = self._path.stat().st_ino if self._path else 0
        scheme = "https" if settings.tls else "http"
        self.urls = [_url(scheme, one.getsockname()) for one in server.sockets]
        """Where it listens."""

    def close(self) -> None:
        """Listen no more; connections that are there stay."""
        self._server.close()
        if self._path:
            with contextlib.suppress(OSError):
                if self._path.stat().st_ino == self._inode:  # else a successor listens there already
                    self._path.unlink()


async def listen(runner: web.AppRunner, settings: Settings) -> Listener:
    """Listen for an application. Raises CannotServe."""
    loop = asyncio.get_running_loop()
    factory = protocol_factory(runner)
    context = settings.ssl_context or tls_context(settings)
    try:
        if settings.path:
            if await _answers(settings.path):
                raise OSError(errno.EADDRINUSE, "in use")  # noqa: TRY301 - as bind says it of a port
            server = await loop.create_unix_server(factory, settings.path, ssl=context, backlog=settings.backlog)
        else:
            server = await loop.create_server(
                factory,
                settings.host or None,
                settings.port,
                ssl=context,
                backlog=settings.backlog,
                reuse_port=settings.reuse_port or None,
            )
    except OSError as error:
        raise CannotServe(_blame(error, settings)) from error
    return Listener(server, settings)


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Read certificate and key. Raises CannotServe."""
    if not settings.certfile:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    for file in (settings.certfile, settings.keyfile or settings.certfile):
        try:
            Path(file).read_bytes()
        except OSError as error:
            raise CannotServe(f"cannot read {file}: {error.strerror}") from None
    try:
        # An empty password, or OpenSSL would ask a terminal for it that nobody may be looking at.
        context.load_cert_chain(settings.certfile, settings.keyfile, password="")
    except (ssl.SSLError, ValueError) as error:
        files = f"{settings.certfile}{f' and {settings.keyfile}' if settings.keyfile else ''}"
        reason = getattr(error, "reason", None) or error
        raise CannotServe(
            f"no TLS with {files}: {reason}; they must be a certificate and its own key, in PEM, without a password"
        ) from None
    return context


async def _answers(path: str | Path) -> bool:
    """Tell whether somebody listens on a unix socket: asyncio would take it away from them."""
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    return True


def _url(scheme: str, name: object) -> str:
    """Write a listening address as a browser on this machine would, where it can."""
    if not isinstance(name, tuple):
        return f"{scheme}+unix://{name}"
    host, port = str(name[0]), name[1]
    ip = ipaddress.ip_address(host.partition("%")[0])
    return f"{scheme}://[{host}]:{port}" if ip.version == 6 else f"{scheme}://{host}:{port}"  # noqa: PLR2004 - IPv6


def _blame(error: OSError, settings: Settings) -> str:
    """Say in a sentence why one cannot listen there, and what to do."""
    where = f"the unix socket {settings.path}" if settings.path else f"port {settings.port} of {settings.host or '*'}"
    if isinstance(error, socket.gaierror):
        return f"cannot listen on {settings.host}: {error.strerror}; host must be an address of this machine"
    if settings.path and error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"cannot listen on {where}: its folder does not exist"
    match error.errno:
        case errno.EADDRINUSE:
            return f"{where} is in use: another process listens there; end it, or choose another"
        case errno.EACCES | errno.EPERM:
            hint = "choose another" if settings.path else "ports below 1024 are the administrator's; choose another"
            return f"{where} may not be taken by this user: {hint}"
        case errno.EADDRNOTAVAIL:
            return f"cannot listen on {where}: no interface of this machine has that address"
        case _:
            return f"cannot listen on {where}: {error.strerror or error}"
