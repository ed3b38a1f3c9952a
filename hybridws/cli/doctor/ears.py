"""Listens to what a transport brings, and finds out what it dies of: silence, age, or a dead network."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import aiohttp

from hybridws.cli.doctor.faults import (
    DEFAULTS,
    Fault,
    Finding,
)
from hybridws.cli.doctor.road import Pass, Road, attach, dumps, loads
from hybridws.cli.ink import span
from hybridws.core.packets import Ack, Heartbeat, Packet, Refuse
from hybridws.core.streams import EventReader
from hybridws.errors import Malformed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

OUTLIVES: Final = 1.7
"""What lives so many times longer with a word now and then was cut for its silence, else for its age."""
WORDS: Final = 3
"""Heartbeats in the time that silence was borne."""
SOON: Final = 0.1
"""Seconds: between two heartbeats at least, and that a poll may be answered before its time."""
READ_SIZE: Final = 64 * 1024


class Cut(Exception):
    """A transport that worked was ended by somebody else, `after` seconds."""

    def __init__(self, ear: Ear, how: str = "") -> None:
        """Take from the ear when it was, how long nothing had been said, and how many bytes had come."""
        now = time.monotonic()
        self.after = now - ear.begun
        self.silent = now - ear.said
        self.size = ear.size
        self.how = how
        super().__init__(self.after)


class SocketEar:
    """Listens to a WebSocket, and speaks on it."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse, patience: float) -> None:
        """Begin to count the time; an answer is waited for up to `patience` seconds."""
        self.patience = patience
        self.begun = self.said = time.monotonic()
        self.ws = ws
        self.size = 0

    async def say(self, *packets: Packet) -> None:
        """Send a batch. Raises Cut."""
        try:
            await self.ws.send_str(dumps(list(packets)).decode())
        except (aiohttp.ClientError, OSError):
            raise Cut(self) from None
        self.said = time.monotonic()

    async def next(self, patience: float) -> list[Packet]:
        """Return the next batch; heartbeats are answered. Raises TimeoutError, Cut, Fault."""
        async with asyncio.timeout(patience):
            message = await self.ws.receive()
        if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            code = message.data if message.type is aiohttp.WSMsgType.CLOSE else None
            raise Cut(self, f"with close code {code}" if code else "")
        data = message.data.encode() if isinstance(message.data, str) else message.data
        self.size += len(data)
        self.said = time.monotonic()
        batch = loads(data)
        if any(isinstance(packet, Heartbeat) for packet in batch):
            await self.say(Ack(0))
        return batch

    async def beat(self) -> None:
        """Ask for a sign of life."""
        await self.say(Heartbeat())

    async def close(self) -> None:
        """End it."""
        await self.ws.close()


class StreamEar:
    """Listens to a stream, and speaks by POSTs beside it."""

    def __init__(self, road: Road, ticket: Pass, response: aiohttp.ClientResponse) -> None:
        """Begin to count the time."""
        self.patience = road.patience
        self.begun = self.said = time.monotonic()
        self.size = 0
        self._road = road
        self._ticket = ticket
        self._response = response
        self._reader = EventReader(DEFAULTS.max_batch)
        self._events: list[bytes] = []

    async def some(self, patience: float) -> None:
        """Read whatever comes next. Raises TimeoutError, Cut, Fault."""
        try:
            async with asyncio.timeout(patience):
                chunk = await self._response.content.read(READ_SIZE)
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError):
            chunk = b""
        if not chunk:
            raise Cut(self)
        self.size += len(chunk)
        self.said = time.monotonic()
        try:
            self._events += self._reader.feed(chunk)
        except Malformed as fault:
            raise Fault("fails", f"brings what is not the server's: {fault.reason}") from None

    async def next(self, patience: float) -> list[Packet]:
        """Return the next batch. Raises TimeoutError, Cut, Fault."""
        async with asyncio.timeout(patience):
            while not self._events:
                await self.some(patience)
        batch = loads(self._events.pop(0))
        if any(isinstance(packet, Heartbeat) for packet in batch):
            await self._road.post(f"v1/{self._ticket.sid}/send", [attach(self._ticket, 0)])
        return batch

    async def beat(self) -> None:
        """Ask for a sign of life, which comes on the stream. Raises Fault."""
        await self._road.post(f"v1/{self._ticket.sid}/send", [attach(self._ticket, 0), Heartbeat()])

    async def close(self) -> None:
        """End it."""
        self._response.close()


Ear = SocketEar | StreamEar


async def hear(ear: Ear, otherwise: str) -> None:
    """Wait for the server's word. Raises Fault, Cut."""
    try:
        batch = await ear.next(ear.patience)
    except TimeoutError:
        raise Fault("silent", otherwise) from None
    if batch and isinstance(batch[0], Refuse):
        raise Fault("refused", f"is refused with {batch[0].code} by the server: {batch[0].reason}", "server")


async def leave_alone(finding: Finding, ear: Ear, watch: float) -> None:
    """Say nothing for some time, then see whether it still lives. Raises Fault, Cut."""
    begun = time.monotonic()
    while (left := watch - (time.monotonic() - begun)) > 0:
        try:
            await ear.next(left)
        except TimeoutError:
            break
    await ear.beat()
    silent = time.monotonic() - begun
    try:
        await ear.next(ear.patience)
    except TimeoutError:
        words = f"is dead after {span(silent)} without a word: nothing passes any more, and nobody has said so"
        raise Fault("dead", words) from None
    finding.idle = silent


async def blame(finding: Finding, cut: Cut, anew: Callable[[], Awaitable[Ear]]) -> None:
    """Note a cut, and find out with a second one that does not stay silent what it was cut for."""
    if finding.attach is None:
        size = f" and {cut.size} bytes" if cut.size else ""
        raise Fault("cut", f"is cut before it is of use, after {span(cut.after)}{size}", brief=True) from None
    finding.cut = cut.after
    finding.cause = await _cause(cut.after, anew)
    words = {
        "silence": f"is cut after {span(cut.silent)} of silence, but lives as long as something is said",
        "age": f"is cut after {span(cut.after)}, whether something is said or not",
        None: f"is cut after {span(cut.after)}",
    }[finding.cause]
    if finding.cause == "silence":
        finding.cut = cut.silent
    finding.fail(Fault("cut", words + (f" ({cut.how})" if cut.how else "")))


async def _cause(after: float, anew: Callable[[], Awaitable[Ear]]) -> str | None:
    """Tell whether what was cut for silence or age outlives that with a word now and then."""
    try:
        ear = await anew()
    except (Fault, Cut, TimeoutError):
        return None
    try:
        while time.monotonic() - ear.begun < after * OUTLIVES:
            await ear.beat()
            try:
                async with asyncio.timeout(max(after / WORDS, SOON)):
                    while True:
                        await ear.next(ear.patience)
            except TimeoutError:
                pass
    except Cut as cut:
        return "age" if cut.after < after * OUTLIVES else "silence"
    except Fault:
        return None
    finally:
        await ear.close()
    return "silence"
