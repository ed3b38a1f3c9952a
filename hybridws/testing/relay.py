"""One client's connection through the hostile proxy, and what befalls it: it is reset, frozen, or left alone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hybridws.testing.ends import End, Ended, Road
from hybridws.testing.modes import Mode
from hybridws.testing.passage import serve_one

if TYPE_CHECKING:
    import ssl
    from collections.abc import Coroutine


@dataclass(slots=True)
class Network:
    """What all connections of a proxy share."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    host_header: str | None = None
    """What `Host` is rewritten to, if it is."""
    mode: Mode = field(default_factory=Mode)
    begun_at: int = 0
    """How many requests there had been when this mode began."""
    up: Road = field(default_factory=Road)
    down: Road = field(default_factory=Road)
    connections: int = 0
    requests: int = 0
    upgrades: int = 0
    cuts: int = 0
    open: set[Connection] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    """All that the proxy has under way."""

    def turn(self, mode: Mode) -> None:
        """Become another network."""
        self.mode = mode
        self.begun_at = self.requests
        for road, limit in ((self.up, mode.cut_up), (self.down, mode.cut_down)):
            road.rate, road.delay, road.limit, road.free_at = mode.rate, mode.round_trip / 2, limit, 0.0
        for connection in list(self.open):
            connection.watch_idle()

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Start a task that ends with the proxy at the latest."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def connect(self) -> End:
        """Connect to the origin. Raises OSError."""
        end = End(self.up)
        try:
            await asyncio.get_running_loop().create_connection(lambda: end, self.host, self.port, ssl=self.tls)
        except asyncio.CancelledError:
            end.connection_lost(None)  # uvloop closes it then, and tells it nothing
            raise
        return end


class Connection:
    """One connection that a client has made, and the one at the origin that serves its request of the moment."""

    __slots__ = ("_idle_timer", "_life_timer", "_sent_up", "_task", "client", "frozen", "network", "origin")

    def __init__(self, network: Network, client: End) -> None:
        """Serve the requests that a client makes on its connection, until that ends."""
        self.network = network
        self.client = client
        self.origin: End | None = None
        self.frozen = False
        """Nothing passes any more, and nobody is told."""
        self._sent_up = 0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._life_timer: asyncio.TimerHandle | None = None
        client.on_cut = self.cut
        network.connections += 1
        network.open.add(self)
        self._task = network.start(self._serve())
        self.watch_idle()

    async def _serve(self) -> None:
        try:
            while await serve_one(self):
                pass
            await self.client.drain()
            self.client.close()
        except Ended:
            self.client.abort()
        except asyncio.CancelledError:
            if not self.frozen:
                self.client.abort()
            raise
        finally:
            if not self.frozen:
                self._stop_timers()
                self.drop_origin()
                self.network.open.discard(self)

    # ── for the exchange under way ────────────────────────────────────────────────────────────────────────────────

    async def reach_origin(self) -> End:
        """Connect to the origin for the next request. Raises OSError."""
        self.drop_origin()
        self.origin = origin = await self.network.connect()
        origin.sent = self._sent_up
        origin.on_cut = self.cut
        return origin

    def drop_origin(self) -> None:
        """Give up the connection to the origin, if there is one."""
        if self.origin:
            self._sent_up = self.origin.sent
            self.origin.close()
            self.origin = None

    def leave_with_client(self) -> None:
        """End as soon as the client does: its request has been sent on."""
        self.client.on_end = self._stop
        if self.client.ended:
            self._stop()

    def _stop(self) -> None:
        self._task.cancel()

    def outlive_client(self) -> None:
        """Let what the client has said be read to its end, even if it has left."""
        self.client.on_end = None

    def live_for(self, seconds: float) -> None:
        """Be cut after so long."""
        self._life_timer = asyncio.get_running_loop().call_later(seconds, self.cut)

    # ── what befalls it ───────────────────────────────────────────────────────────────────────────────────────────

    def watch_idle(self) -> None:
        """Cut the connection once it has been silent for as long as the mode allows."""
        if self._idle_timer:
            self._idle_timer.cancel()
            self._idle_timer = None
        idle = self.network.mode.idle
        if idle is None or self.frozen:
            return
        loop = asyncio.get_running_loop()
        due = self.client.touched + idle
        if due <= loop.time():
            self.cut()
        else:
            self._idle_timer = loop.call_at(due, self.watch_idle)

    def cut(self) -> None:
        """Reset both ends now."""
        self.network.cuts += not self.client.lost.is_set()
        self.network.open.discard(self)
        self.frozen = False
        self._stop_timers()
        for end in (self.client, self.origin):
            if end:
                end.abort()
        self._task.cancel()

    def freeze(self) -> None:
        """Let nothing pass any more, and tell nobody; the sockets stay open until `cut`."""
        self.frozen = True
        self._stop_timers()
        for end in (self.client, self.origin):
            if end:
                end.freeze()
        self._task.cancel()

    def _stop_timers(self) -> None:
        for timer in (self._idle_timer, self._life_timer):
            if timer:
                timer.cancel()
        self._idle_timer = self._life_timer = None
