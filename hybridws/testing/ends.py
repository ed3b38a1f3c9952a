"""One end of a TCP connection, as the hostile proxy needs it: every byte counted, delayed, or cut off."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable

HIGH_WATER: Final = 64 * 1024
"""Bytes that may wait to be read before the sender is made to wait."""
AHEAD: Final = 0.1
"""Seconds of a slow road that one connection may book ahead, so that several share it."""
PIECES: Final = 20
"""A slow road carries so many pieces a second, so that it drips and does not gush."""
RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: on, for no time at all: what is not yet acknowledged is dropped, and the peer gets an RST."""


class Ended(Exception):
    """The far end has closed or broken its connection, or we have cut it, in the middle of something."""


class Road:
    """One direction through the proxy, for all connections together."""

    __slots__ = ("bytes", "delay", "ends", "free_at", "limit", "rate")

    def __init__(self) -> None:
        """Make a road that is as fast as it can be."""
        self.bytes = 0
        """All that has passed."""
        self.ends: set[End] = set()
        """The open connections that send over it."""
        self.rate = 0.0
        """Bytes per second; 0 is no limit."""
        self.delay = 0.0
        """Seconds that each byte takes."""
        self.limit: int | None = None
        """Bytes after which each connection is cut."""
        self.free_at = 0.0

    def book(self, size: int, now: float) -> float:
        """Take the road for so many bytes, and return when they will have arrived."""
        if not self.rate:
            return now + self.delay
        self.free_at = max(self.free_at, now) + size / self.rate
        return self.free_at + self.delay


class End(asyncio.Protocol):
    """One TCP connection: `read` what it brings, `send` what should leave on it over a road."""

    def __init__(self, road: Road, on_made: Callable[[End], None] | None = None) -> None:
        """Make the end of a connection that is yet to be made; what it sends goes over `road`."""
        self._road = road
        self._on_made = on_made
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._queue: deque[tuple[float, bytes]] = deque()
        self._arrived = asyncio.Event()  # nothing is on the road
        self._arrived.set()
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._frozen = False
        self.ended = False
        """The far end has closed, or broken, its connection; what it said before can still be read."""
        self.broken = False
        """It has broken it."""
        self.deaf = False
        """What comes is thrown away."""
        self.closing = False
        self.on_end: Callable[[], None] | None = None
        self.on_cut: Callable[[], None] = self.abort
        """What happens when as much has been sent as the road lets pass."""
        self.lost = asyncio.Event()
        """Set when the socket is gone."""
        self.touched = self._loop.time()
        """When the last byte came or went."""
        self.sent = 0
        """Bytes that were sent on this connection; may begin above 0 where it goes on from another."""

    # ── what asyncio calls ────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(0)  # so that what is drained is in the kernel's hands
        self._road.ends.add(self)
        if self._on_made:
            self._on_made(self)

    def data_received(self, data: bytes) -> None:
        """Keep what came."""
        self.touched = self._loop.time()
        if self.deaf:
            return
        self._buffer += data
        self._news.set()
        if len(self._buffer) > HIGH_WATER and not self._paused and self._transport:
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> None:
        """Take a half-closed connection for a closed one, as most proxies do."""
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end of the connection."""
        self.broken = exc is not None
        self._road.ends.discard(self)
        self.lost.set()
        self._writable.set()
        if self._timer:
            self._timer.cancel()
        self._queue.clear()
        self._arrived.set()
        self._end()

    def pause_writing(self) -> None:
        """Let senders wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let senders go on."""
        self._writable.set()

    def _end(self) -> None:
        self.ended = True
        self._news.set()
        if self.on_end:
            self.on_end()

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def read(self, most: int = HIGH_WATER) -> bytes:
        """Wait for bytes and return up to `most` of them; none at the end."""
        while not self._buffer and not self.ended:
            self._news.clear()
            await self._news.wait()
        return self._take(min(most, len(self._buffer)))

    async def read_until(self, mark: bytes, most: int) -> bytes:
        """Return what comes before `mark`, and take the mark too.

        Raises Ended when the connection ends before it, ValueError when it is not within `most` bytes.
        """
        while (found := self._buffer.find(mark)) < 0:
            if len(self._buffer) > most:
                raise ValueError(f"no {mark!r} within {most} bytes")
            if self.ended:
                raise Ended
            self._news.clear()
            await self._news.wait()
        return self._take(found + len(mark))[: -len(mark)]

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        if self._paused and len(self._buffer) <= HIGH_WATER // 2 and self._transport:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return taken

    # ── sending ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def send(self, data: bytes) -> None:
        """Send, and wait while the road or the far end takes no more. Raises Ended, also where the road cuts."""
        limit = self._road.limit
        cuts = limit is not None and self.sent + len(data) >= limit
        if limit is not None and cuts:
            data = data[: max(limit - self.sent, 0)]
        rate = self._road.rate
        piece = max(int(rate / PIECES), 1) if rate else max(len(data), 1)
        for start in range(0, len(data), piece):
            await self._send_piece(data[start : start + piece])
        if cuts:
            await self.drain()
            self.on_cut()
            raise Ended

    async def _send_piece(self, data: bytes) -> None:
        if self.lost.is_set():
            raise Ended
        now = self._loop.time()
        at = self._road.book(len(data), now)
        self.sent += len(data)
        if at <= now and not self._queue:
            self._write(data)
        else:
            self._queue.append((max(at, self._queue[-1][0]) if self._queue else at, data))
            self._arrived.clear()
            self._plan()
            if (wait := at - self._road.delay - now - AHEAD) > 0:
                await asyncio.sleep(wait)
        await self._writable.wait()

    def _write(self, data: bytes) -> None:
        # What is sent in the moment of a freeze must not pass: behind what was on the road then it would leave a hole.
        if self._transport and not self._transport.is_closing() and not self._frozen:
            self.touched = self._loop.time()
            self._road.bytes += len(data)
            self._transport.write(data)

    def _plan(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_at(self._queue[0][0], self._arrive)

    def _arrive(self) -> None:
        """Hand over what has reached the end of the road."""
        self._timer = None
        now = self._loop.time() + 1e-4  # a timer may ring a little early
        while self._queue and self._queue[0][0] <= now:
            self._write(self._queue.popleft()[1])
        if self._queue:
            self._plan()
        else:
            self._arrived.set()

    async def drain(self) -> None:
        """Wait until all that was sent is in the hands of the kernel, or lost."""
        await self._arrived.wait()
        await self._writable.wait()

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        """Close in order; call `drain` first."""
        self.closing = True
        if self._transport:
            self._transport.close()

    def abort(self) -> None:
        """Reset the connection: the far end gets an RST."""
        if self._transport is None:
            return
        raw = self._transport.get_extra_info("socket")
        if raw is not None:
            with suppress(OSError, ValueError):  # it is closed already (uvloop says it with a ValueError)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._transport.abort()

    def freeze(self) -> None:
        """Neither take nor give anything any more, not even the news of the end."""
        self.on_end = None
        self._frozen = True
        if self._timer:
            self._timer.cancel()
        self._queue.clear()
        if self._transport and not self._transport.is_closing():
            self._transport.pause_reading()
