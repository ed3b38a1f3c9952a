"""A small hostile network: a reverse proxy on loopback that treats what passes as the worst networks do."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, Self
from urllib.parse import urlsplit

from hybridws.testing.ends import End
from hybridws.testing.modes import Flip, Mode, parse
from hybridws.testing.relay import Connection, Network

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable
    from types import TracebackType


ACCEPTING: Final = 3
"""Turns of the loop from a connection that asyncio accepts to one that it has made, and that can be closed."""


async def stop_accepting(listeners: Iterable[socket.socket]) -> None:
    """Take no more connections, and wait until all that were taken can be closed.

    asyncio forgets one that it is accepting when its server is closed (python/cpython#109564).
    """
    with suppress(NotImplementedError):
        for listener in listeners:
            asyncio.get_running_loop().remove_reader(listener.fileno())
    for _ in range(ACCEPTING):
        await asyncio.sleep(0)


class Counters(NamedTuple):
    """What has passed so far."""

    connections: int
    """Connections that clients have made."""
    open: int
    """Those that are open now."""
    requests: int
    """Requests, upgrades among them."""
    upgrades: int
    """Requests for a WebSocket."""
    cuts: int
    """Connections that the proxy has reset, for whatever reason."""
    bytes_up: int
    """Bytes that were sent on to the origin, heads included."""
    bytes_down: int
    """Bytes that were sent on to clients."""


class HostileProxy:
    """A reverse proxy in front of one origin server, on a port of its own.

        async with HostileProxy("http://127.0.0.1:8080/echo", mode="ws_hangs+buffers") as proxy:
            ...                                  # a client that connects to proxy.url
            await proxy.flip("ok", cut=True)

    The mode is in words (`hybridws.testing.modes.usage`) or a Mode. It may be set at any time.
    """

    def __init__(  # noqa: PLR0913 - all but the first are seldom given
        self,
        origin: str,
        mode: str | Mode = "ok",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        rewrite_host: bool | str = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Stand before `origin`, an http or https address whose path is only put behind `url`.

        Listen on `host` and `port` (0: any that is free). `rewrite_host` sends the origin its own name as `Host`, or
        another that is given as text; else it sees the proxy's. `tls` is for an https origin. Raises ValueError for an
        address or a mode that is none.
        """
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"the origin is an http or https address, not {origin!r}")
        https = parts.scheme == "https"
        self._path = parts.path
        self._network = Network(
            parts.hostname,
            parts.port or (443 if https else 80),
            (tls or ssl.create_default_context()) if https else None,
            parts.netloc if rewrite_host is True else rewrite_host or None,
        )
        self._network.turn(_mode(mode))
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._flip: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        """Tell where it listens, and how it behaves."""
        where = f"on {self.url} " if self._server else ""
        return f"<HostileProxy {where}before {self._network.host}:{self._network.port}, {self.mode}>"

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    async def start(self) -> None:
        """Listen. Raises OSError where that cannot be."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: End(self._network.down, self._made), self._host, self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        self._plan()

    async def stop(self) -> None:
        """Reset what is open, and stop listening; when it returns, no task or socket is left."""
        server, self._server = self._server, None
        if server is None:
            return
        if self._flip:
            self._flip.cancel()
        await stop_accepting(server.sockets)
        server.close()
        network = self._network
        self.cut()
        for task in list(network.tasks):
            task.cancel()
        while network.tasks:
            await asyncio.wait(network.tasks)
        await _close(network.up.ends | network.down.ends)
        await server.wait_closed()

    def _made(self, client: End) -> None:
        if self._server:
            Connection(self._network, client)
        else:
            client.abort()

    # ── what it tells ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def url(self) -> str:
        """Where clients find the origin: `http://127.0.0.1:port` and the origin's path. Raises RuntimeError."""
        if self._server is None:
            raise RuntimeError("the proxy is not running: use `async with HostileProxy(...) as proxy`")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}{self._path}"

    @property
    def counters(self) -> Counters:
        """What has passed so far; a copy."""
        network = self._network
        return Counters(
            network.connections,
            len(network.open),
            network.requests,
            network.upgrades,
            network.cuts,
            network.up.bytes,
            network.down.bytes,
        )

    # ── how it behaves ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def mode(self) -> Mode:
        """How the network behaves; set it in words or as a Mode. Open connections stay (see Mode)."""
        return self._network.mode

    @mode.setter
    def mode(self, mode: str | Mode) -> None:
        self._network.turn(_mode(mode))
        if self._server:
            self._plan()

    async def flip(self, mode: str | Mode, *, cut: bool = False, freeze: bool = False) -> None:
        """Become another network, and cut or freeze what is open; returns when what was cut is closed.

        Raises ValueError for a mode that is none; then nothing was changed.
        """
        ends = self._network.up.ends | self._network.down.ends
        self.mode = _mode(mode)
        if cut:
            self.cut()
            await _close(ends)
        elif freeze:
            self.freeze()

    def cut(self) -> None:
        """Reset every open connection now, in mid-frame and mid-body, frozen ones too."""
        for connection in list(self._network.open):
            connection.cut()

    def freeze(self) -> None:
        """Let nothing more pass on the connections that are open now, and tell nobody, as when a cable is pulled."""
        for connection in list(self._network.open):
            connection.freeze()

    def _plan(self) -> None:
        """Be ready to turn into what comes next."""
        if self._flip:
            self._flip.cancel()
            self._flip = None
        if then := self._network.mode.then:
            self._flip = asyncio.get_running_loop().call_later(then.after, self._turn, then)

    def _turn(self, flip: Flip) -> None:
        self.mode = flip.mode
        if flip.old == "cut":
            self.cut()
        elif flip.old == "freeze":
            self.freeze()


def _mode(mode: str | Mode) -> Mode:
    return parse(mode) if isinstance(mode, str) else mode


async def _close(ends: set[End]) -> None:
    """Reset connections, and wait until their sockets are closed."""
    for end in ends:
        end.abort()
    for end in ends:
        await end.lost.wait()
