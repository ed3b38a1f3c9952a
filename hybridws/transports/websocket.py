"""The WebSocket transport, for SockJS and for raw clients: one task reads and one writes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from hybridws.core import codes
from hybridws.core.codec import CLOSE, TEXT, Codec
from hybridws.core.sockjs import HEARTBEAT, RAW, SOCKJS, close_of
from hybridws.errors import Malformed, Refused
from hybridws.exchange import Gone, Left, Socket
from hybridws.seat import Bell

if TYPE_CHECKING:
    from hybridws.seat import Seat
    from hybridws.session import Session


class Kind(NamedTuple):
    """What differs between the clients of a WebSocket."""

    name: str
    codec: Codec
    heartbeat: bytes | None
    """A frame of text that says that we are alive, besides the ping."""
    malformed: int
    """The close code for what is not in the client's own language."""


KINDS: Final = {
    "websocket": Kind("websocket", SOCKJS, HEARTBEAT, codes.BROKEN_FRAMING),
    "websocket-raw": Kind("websocket-raw", RAW, None, codes.MALFORMED),
}


class Carrier:
    """One WebSocket that carries a session both ways until either end closes."""

    __slots__ = ("_bell", "_farewell", "_kind", "_patience", "_seat", "_session", "_socket")

    def __init__(self, socket: Socket, session: Session, kind: Kind) -> None:
        """Attach a WebSocket to its session."""
        self._socket = socket
        self._session = session
        self._kind = kind
        self._patience = session.link.options.close_timeout
        self._bell = Bell()
        self._farewell: tuple[int, str] | None = None
        """What the close frame says, when it is we who end this connection for a fault."""
        self._seat: Seat = session.attach(kind.name, self._wake)

    async def run(self) -> None:
        """Carry until the end."""
        writer = asyncio.get_running_loop().create_task(self._write())
        try:
            await self._read()
            await writer
        except asyncio.CancelledError:
            self._seat.cut("the request was cancelled")
            raise
        finally:
            writer.cancel()

    def _wake(self) -> None:
        self._bell.ring()
        if self._seat.over and self._farewell is None:
            self._socket.abort()  # the session has ended without this socket: what is being written is of no use

    async def _read(self) -> None:
        """Feed what comes to the session, until the far side has left."""
        session, seat, link = self._session, self._seat, self._session.link
        while True:
            try:
                data = await self._socket.receive()
                seat.heard = True
                if data is not None and not seat.over:
                    session.feed(seat.lane, link.codec.loads(data, link.options))
            except Left as left:
                if left.code == codes.ABNORMAL:
                    seat.cut("the connection broke")
                else:
                    seat.close(left.code, left.reason)
                return
            except Malformed as fault:
                self._refuse(self._kind.malformed, fault.reason)
            except Refused as fault:
                self._refuse(fault.code, fault.reason)
            if session.crowded:
                await session.wait_for_inbox()

    def _refuse(self, code: int, reason: str) -> None:
        """End the session for what came; the writer says so in the close frame."""
        self._farewell = (code, codes.shorten(reason))
        self._session.lose(code, reason)

    async def _write(self) -> None:
        """Write what the session has to say, until it has ended."""
        seat = self._seat
        try:
            while not seat.over:
                if seat.beat:
                    await self._beat()
                for frame in seat.pending():
                    seat.wrote(frame)
                    if frame.opcode == CLOSE:
                        await self._socket.close(*close_of(frame.payload), self._patience)
                    else:
                        await self._socket.send(frame.opcode, frame.payload)
                    seat.delivered()
                if seat.finished:
                    self._farewell = self._farewell or (codes.NORMAL, "")
                    seat.leave("the session has ended")
                elif not seat.pending():
                    await self._bell.wait()
            if self._farewell:
                await self._socket.close(*self._farewell, self._patience)
        except Gone:
            seat.cut("the connection broke")

    async def _beat(self) -> None:
        """Send a heartbeat; from when it has left, the far side has `pong_timeout` to show a sign of life."""
        self._seat.beat = False
        self._seat.sent = True
        if self._kind.heartbeat is not None:
            await self._socket.send(TEXT, self._kind.heartbeat)
        await self._socket.ping()
        self._seat.asked = True
