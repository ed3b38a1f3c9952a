"""The WebSocket transport, for native, SockJS and raw clients: it feeds the session, and sends what that says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from hybridws.core import codes
from hybridws.core.codec import BINARY, CLOSE, JSON, MSGPACK, TEXT, Codec
from hybridws.core.packets import Refuse
from hybridws.core.sockjs import HEARTBEAT, RAW, SOCKJS, close_of
from hybridws.errors import Malformed, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from hybridws.core.codec import Batch
    from hybridws.exchange import Request, Socket
    from hybridws.seat import Seat
    from hybridws.session import Session

PING: Final = 0x9  # RFC 6455 §5.5.2


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


_CUT: Final = (codes.ABNORMAL, "")


class Carrier:
    """One WebSocket that carries a session both ways until either end closes."""

    __slots__ = (
        "_asked",
        "_farewell",
        "_kind",
        "_parting",
        "_paused",
        "_seat",
        "_session",
        "_socket",
        "at_end",
        "at_fault",
        "ended",
    )

    def __init__(self, socket: Socket, session: Session, kind: Kind, *, trial: bool) -> None:
        """Attach a WebSocket to its session; on `trial`, if another transport has the seat (see `Dock.attach`)."""
        self.ended = _CUT
        """The close code and reason with which the connection ended."""
        self.at_end: Callable[[Carrier], None] | None = None
        """Called with this once the connection has ended."""
        self.at_fault: Callable[[Refused, Request], None] | None = None
        """Called with what came and was refused, and the request that opened the session."""
        self._socket = socket
        self._session = session
        self._kind = kind
        self._asked = -1  # the turn of the loop at whose end this is to be called
        self._parting = False  # the closing handshake has begun at our end
        self._paused = False  # the application is behind, and what comes waits in the network
        self._farewell: tuple[int, str] | None = None  # what the close frame says, when we end this for a fault
        self._seat: Seat = session.attach(kind.name, self._wake, trial=trial)
        socket.listener = self

    @property
    def seat(self) -> Seat:
        """The WebSocket's place in its session."""
        return self._seat

    def begin(self, batch: Batch | None = None) -> None:
        """Start to carry; `batch` is what the frame that attached this WebSocket brought besides."""
        try:
            self._session.feed(self._seat.lane, batch or [])
        except Refused as fault:
            self._refuse(fault.code, fault)
        self._wake()
        self._socket.resume()
        self._wait_if_crowded()

    def abort(self) -> None:
        """Cut the connection at once."""
        self._socket.abort()

    # ── what the socket tells ─────────────────────────────────────────────────────────────────────────────────────

    def hear(self, data: str | bytes | None) -> None:
        """Feed what has come to the session."""
        seat, session = self._seat, self._session
        link = session.link
        seat.heard = True
        if seat.asked:
            seat.answered()
        if data is None or seat.over:
            return
        try:
            if link.codec.numbered and isinstance(data, str) != (self._kind.opcode == TEXT):
                raise Malformed(f"a session that speaks {link.codec.name} got the other kind of frame")  # noqa: TRY301 - answered as any other
            batch = link.codec.loads(data, link.options)
            if seat.lane.on_trial:
                session.dock.promote(seat)  # it has heard our ack, and we have heard it
            session.feed(seat.lane, batch)
        except Malformed as fault:
            self._refuse(self._kind.malformed, fault)
        except Refused as fault:
            self._refuse(fault.code, fault)
        self._wait_if_crowded()

    def left(self, code: int, reason: str) -> None:
        """Give the seat up: the far side has left."""
        self.ended = self._farewell or (code, reason)
        if code == codes.ABNORMAL and reason:
            self._blame(Malformed(reason, cause="bad_frame"))
        if code == codes.ABNORMAL:
            self._seat.cut("the connection broke")
        else:
            self._seat.close(code, reason)
        if self.at_end:
            self.at_end(self)

    def room(self) -> None:
        """Note that the network has taken what was written, and go on."""
        self._seat.delivered()
        self._flush()

    def _wait_if_crowded(self) -> None:
        """Read no further while the application is behind."""
        if self._session.crowded and not (self._paused or self._seat.over):
            self._paused = True
            self._socket.pause()
            self._session.bells.append(self._read_on)

    def _read_on(self) -> None:
        if self._paused and (self._seat.over or not self._session.crowded):
            self._paused = False
            self._session.bells.remove(self._read_on)
            self._socket.resume()

    def _refuse(self, code: int, fault: Refused) -> None:
        """End the connection for what came, and the session if it cannot go on without; the close frame says why."""
        self._blame(fault)
        self._farewell = (code, codes.shorten(fault.reason))
        if self._kind.codec.numbered and code != codes.TOO_LARGE:
            self._seat.cut(fault.reason)
        else:
            self._session.lose(code, fault.reason)

    def _blame(self, fault: Refused) -> None:
        if self.at_fault:
            self.at_fault(fault, self._session.http_request)

    # ── what the session has to say ───────────────────────────────────────────────────────────────────────────────

    def _wake(self) -> None:
        agenda = self._session.agenda
        if self._asked != agenda.turn:
            self._asked = agenda.turn
            agenda.soon(self._flush)

    def _flush(self) -> None:
        """Send what the session has to say, as far as the network takes it; and part once it has ended."""
        seat, socket = self._seat, self._socket
        while not (seat.over or socket.full):
            if seat.beat:
                self._beat()
            frames = seat.pending()
            for frame in frames:
                seat.wrote(frame)
                if frame.opcode == CLOSE:
                    self._part(*close_of(frame.payload))
                else:
                    socket.send(frame.opcode, frame.payload)
            ends = seat.finished
            if not (ends and self._kind.codec.numbered):  # a last ack leaves with the close frame
                socket.flush()
            if not socket.full:
                seat.delivered()
            if ends and not seat.writing:
                self._farewell = (codes.NORMAL, "")
                seat.leave("the session has ended")
            elif not (frames and (seat.has_more or seat.lane.owes)):
                return
        if seat.over:
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        """Close the connection; a native client is told by `x` too, since browsers hide close frames from some."""
        code, reason = self._farewell or self._seat.verdict
        if code == codes.ABNORMAL:
            self._read_on()
            self._socket.abort()  # it is dead, or taken for dead: what is being written is of no use
            return
        self._read_on()  # the answer to our close is among what comes
        if self._kind.codec.numbered and code in codes.ABRUPT and not self._parting:
            words = self._kind.codec.dumps(Refuse(code, reason, {}), self._session.link.options)
            self._socket.send(self._kind.opcode, words)
        self._part(code, codes.shorten(reason))

    def _part(self, code: int, reason: str) -> None:
        if not self._parting:
            self._parting = True
            self._socket.close(code, reason, self._session.link.options.close_timeout)

    def _beat(self) -> None:
        """Send a heartbeat; from when it has left, the far side has `pong_timeout` to show a sign of life."""
        self._seat.beat = False
        self._seat.sent = True
        if self._kind.heartbeat is not None:
            self._socket.send(self._kind.opcode, self._kind.heartbeat)
        if not self._kind.codec.numbered:
            self._socket.send(PING, b"")
        self._seat.ask()
