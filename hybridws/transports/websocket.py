"""The WebSocket transport, for SockJS and for raw clients: one task reads and one writes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from hybridws.core import codes
from hybridws.core.codec import BINARY, CLOSE, JSON, MSGPACK, TEXT, Codec
from hybridws.core.packets import Refuse
from hybridws.core.sockjs import HEARTBEAT, RAW, SOCKJS, close_of
from hybridws.errors import Malformed, Refused
from hybridws.exchange import Gone, Left, Socket
from hybridws.seat import Bell

if TYPE_CHECKING:
    from hybridws.core.codec import Batch
    from hybridws.seat import Seat
    from hybridws.session import Session


class Kind(NamedTuple):
    """What differs between the clients of a WebSocket."""

    name: str
    codec: Codec
    opcode: int
    heartbeat: bytes | None
    """A frame that says that we are alive; where the client does not answer it, a ping goes with it."""
    malformed: int
    """The close code for what is not in the client's own language."""


KINDS: Final = {
    "sockjs": Kind("websocket", SOCKJS, TEXT, HEARTBEAT, codes.BROKEN_FRAMING),
    "raw": Kind("websocket-raw", RAW, TEXT, None, codes.MALFORMED),
    "json": Kind("websocket", JSON, TEXT, b'["h"]', codes.MALFORMED),
    "msgpack": Kind("websocket", MSGPACK, BINARY, b"\x91\xa1h", codes.MALFORMED),
}
"""By codec."""


class Carrier:
    """One WebSocket that carries a session both ways until either end closes."""

    __slots__ = ("_bell", "_farewell", "_kind", "_patience", "_seat", "_session", "_socket", "ended")

    def __init__(self, socket: Socket, session: Session, kind: Kind, *, trial: bool) -> None:
        """Attach a WebSocket to its session; on `trial`, if another transport has the seat (see `Dock.attach`)."""
        self.ended: tuple[int, str] = (codes.ABNORMAL, "")
        """The close code and reason with which the connection ended."""
        self._socket = socket
        self._session = session
        self._kind = kind
        self._patience = session.link.options.close_timeout
        self._bell = Bell()
        self._farewell: tuple[int, str] | None = None
        """What the close frame says, when it is we who end this connection for a fault."""
        self._seat: Seat = session.attach(kind.name, self._wake, trial=trial)

    @property
    def seat(self) -> Seat:
        """The WebSocket's place in its session."""
        return self._seat

    async def run(self, batch: Batch | None = None) -> None:
        """Carry until the end; `batch` is what the frame that attached this WebSocket brought besides."""
        try:
            self._session.feed(self._seat.lane, batch or [])
        except Refused as fault:
            self._refuse(fault.code, fault.reason)
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
        if self._seat.over and self._seat.verdict[0] == codes.ABNORMAL and self._farewell is None:
            self._socket.abort()  # it is dead, or taken for dead: what is being written is of no use

    async def _read(self) -> None:
        """Feed what comes to the session, until the far side has left."""
        session, seat, link = self._session, self._seat, self._session.link
        while True:
            try:
                data = await self._socket.receive()
                seat.heard = True
                if data is not None and not seat.over:
                    if link.codec.numbered and isinstance(data, str) != (self._kind.opcode == TEXT):
                        raise Malformed(f"a session that speaks {link.codec.name} got the other kind of frame")  # noqa: TRY301
                    batch = link.codec.loads(data, link.options)
                    if seat.lane.on_trial:
                        session.dock.promote(seat)  # it has heard our ack, and we have heard it
                    session.feed(seat.lane, batch)
            except Left as left:
                self.ended = self._farewell or (left.code, left.reason)
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
        """End the connection for what came, and the session if it cannot go on without; the close frame says why."""
        self._farewell = (code, codes.shorten(reason))
        if self._kind.codec.numbered and code != codes.TOO_LARGE:
            self._seat.cut(reason)
        else:
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
                    self._farewell = (codes.NORMAL, "")
                    seat.leave("the session has ended")
                elif not seat.pending():
                    await self._bell.wait()
            code, reason = self._farewell or seat.verdict
            if code != codes.ABNORMAL:
                await self._say_goodbye(code, reason)
        except Gone:
            seat.cut("the connection broke")

    async def _say_goodbye(self, code: int, reason: str) -> None:
        """Close the connection; a native client is told by `x` too, since browsers hide close frames from some."""
        if self._kind.codec.numbered and code in codes.ABRUPT:
            words = self._kind.codec.dumps(Refuse(code, reason, {}), self._session.link.options)
            await self._socket.send(self._kind.opcode, words)
        await self._socket.close(code, codes.shorten(reason), self._patience)

    async def _beat(self) -> None:
        """Send a heartbeat; from when it has left, the far side has `pong_timeout` to show a sign of life."""
        self._seat.beat = False
        self._seat.sent = True
        if self._kind.heartbeat is not None:
            await self._socket.send(self._kind.opcode, self._kind.heartbeat)
        if not self._kind.codec.numbered:
            await self._socket.ping()
        self._seat.asked = True
