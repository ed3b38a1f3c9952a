"""The two ends of a wire: what each has said and got, and what the server does with transports that attach."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import msgpack

from hybridws.core.codec import JSON
from hybridws.core.link import Lane, Link, State
from hybridws.core.packets import Ack, Attach, Close, Heartbeat, Message, Packet, Position
from hybridws.errors import Malformed, Superseded

if TYPE_CHECKING:
    from hybridws.core.codec import Batch, Codec
    from hybridws.options import Options

Kind = Literal["websocket", "stream", "poll"]


class Peer:
    """One end: its link, what its application has said and got, and what waits for the application."""

    def __init__(self, codec: Codec, options: Options) -> None:
        """Begin a conversation."""
        self.link: Final = Link(codec, options)
        self.said: Final[list[Any]] = []
        """The messages that were sent here, oldest first."""
        self.got: Final[list[Any]] = []
        """The messages that the application here has taken."""
        self.inbox: Final[deque[tuple[Any, int]]] = deque()
        self.others: Final[list[Packet]] = []
        """All else that came and is the application's: requests, answers, skips, the close."""
        self.faults: Final[list[str]] = []
        """Why transports were ended here for what they brought, oldest first."""

    def send(self, value: object) -> None:
        """Send a message, whether there is room or not. Raises Unsendable, MessageTooLarge."""
        self.link.send(Message(value))
        self.said.append(value)

    def take(self) -> bool:
        """Let the application take the oldest message; tell whether there was one."""
        if not self.inbox:
            return False
        value, size = self.inbox.popleft()
        self.link.taken(size)
        self.got.append(value)
        return True

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Say that the conversation ends."""
        self.link.close(code, reason)

    def hear(self, lane: Lane, batch: Batch) -> bool:
        """Take a batch; tell whether it asks for an ack at once. Raises Malformed."""
        asks = False
        for packet, size in self.link.receive(lane, batch):
            if isinstance(packet, Message):
                self.inbox.append((packet.value, size))
            elif isinstance(packet, Heartbeat):
                asks = True
            else:
                self.others.append(packet)
                asks = asks or isinstance(packet, Close)
        return asks

    @property
    def settled(self) -> bool:
        """Whether nothing is left to be said or confirmed here, or the conversation has ended."""
        return self.link.state is State.CLOSED or not self.link.outbox


@dataclass(eq=False, slots=True)
class Transport:
    """One attach: a WebSocket, a stream or a poll, and what is on its way on it."""

    kind: Kind
    n: int
    request: bytes
    """The attach: a POST's body, or a WebSocket's first frame."""
    client: Lane
    """The client's lane: what it has written here and hears from here."""
    server: Lane | None = None
    """The server's; None before the attach has arrived."""
    up: deque[bytes | None] = field(default_factory=deque)
    """What is on its way to the server, oldest first: a WebSocket's frames, or a POST's body."""
    down: deque[bytes | None] = field(default_factory=deque)
    """What is on its way to the client; None is the end of the transport."""
    at_client: bool = True
    """Whether it goes on, as far as the client knows ..."""
    at_server: bool = False
    """... and the server."""
    greeted: bool = False
    """Whether the client has heard the answer to its attach, and may write on a WebSocket."""
    dead: bool = False
    """What is written is lost."""

    @property
    def moves(self) -> bool:
        """Whether anything may still happen on it."""
        return bool(self.up or self.down or self.at_client or self.at_server)


class Host:
    """What the server does with transports (docs/protocol.md §5): who has the seat, and who is on trial for it."""

    def __init__(self, peer: Peer) -> None:
        """Attend to the transports of the server's end."""
        self._peer = peer
        self.seat: Transport | None = None
        """The transport that the server writes on."""
        self.trial: Transport | None = None
        """The WebSocket that has yet to show that it is heard."""
        self.n = 0
        """The newest attach that has come."""

    def hear(self, transport: Transport, data: bytes) -> None:
        """Take what a transport brings; one that brings what it may not ends, and `faults` says why."""
        link = self._peer.link
        batch = link.codec.loads(data, link.options)
        try:
            if batch and isinstance(batch[0][0], Attach):
                self._attach(transport, batch[0][0], batch[1:])
            elif transport.at_server and transport.server is not None:
                if transport is self.trial:
                    self.trial = None
                    self._promote(transport)
                if self._peer.hear(transport.server, batch):
                    transport.server.owes = True
        except (Malformed, Superseded) as fault:
            self._peer.faults.append(fault.reason)
            self.end(transport)

    def answer(self, body: bytes) -> bytes | None:
        """Take a POST that attaches nothing, and return the answer; None where it is refused, and `faults` says why."""
        link = self._peer.link
        batch = link.codec.loads(body, link.options)
        attach = batch[0][0]
        try:
            if isinstance(attach, Attach):
                link.confirm(attach.ack)
            asks = self._peer.hear(link.lane(overtakes=True), batch[1:])
        except Malformed as fault:
            self._peer.faults.append(fault.reason)
            return None
        lane = self.seat.server if self.seat else None
        if asks and lane:
            lane.owes = True
        position = Position(max(lane.written if lane else 0, link.outbox.confirmed) + 1)
        return join(link, Ack(link.ackable), position)

    def _attach(self, transport: Transport, attach: Attach, rest: Batch) -> None:
        """Do what an attach asks for. Raises Superseded, Malformed."""
        if attach.n < self.n:
            raise Superseded("a newer transport has taken over", {"n": self.n})
        self.n = attach.n
        link = self._peer.link
        link.confirm(attach.ack)
        transport.at_server = True
        on_trial = transport.kind == "websocket" and self.seat is not None
        if not on_trial:
            self._peer.hear(link.lane(overtakes=True), rest)
        transport.server = link.lane()
        if on_trial:
            if self.trial:
                self.end(self.trial)
            transport.server.on_trial = True
            self.trial = transport
        else:
            self._promote(transport)

    def _promote(self, transport: Transport) -> None:
        if self.seat and self.seat is not transport:
            self.end(self.seat)
        self.seat = transport
        if transport.server:
            transport.server.on_trial = False

    def end(self, transport: Transport) -> None:
        """End a transport; the client hears of it after all that was written before."""
        if not transport.dead and (transport.at_server or transport.server is None):
            transport.down.append(None)
        transport.at_server = False
        if self.seat is transport:
            self.seat = None
        if self.trial is transport:
            self.trial = None


def join(link: Link, *packets: Packet, words: bytes = b"") -> bytes:
    """Write packets of ours as a batch, before `words` that are one already."""
    heads = [link.codec.dumps(packet, link.options) for packet in packets]
    return link.codec.frames([*heads, words] if words else heads)[0].payload


def whole_packets(codec: Codec, data: bytes) -> bytes:
    """Return the packets that lie in these bytes whole."""
    if codec is JSON:
        return data.rpartition(b"\n")[0]
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    whole = 0
    for _ in unpacker:
        whole = unpacker.tell()
    return data[:whole]
