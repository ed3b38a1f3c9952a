"""A lossy wire between two links: whatever a network may do to packets, it does on command. Pure: no loop, no clock.

    wire = Wire()
    transport = wire.attach("websocket")       # the client's attach is on its way
    wire.client.send("hello")
    wire.run()                                 # all that is on its way arrives, and what it gives rise to, too
    wire.cut(transport, to_server=7)           # seven more bytes arrive, and no one hears anything again
    wire.settle()                              # an honest transport at last: now everything has arrived
    assert wire.server.got == ["hello"]

It does what the two ends of the protocol do (docs/protocol.md §5) on behalf of two real links: attaching, trial and
promotion, superseding, POSTs that attach nothing, and answers. Nothing moves by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from hybridws.core.codec import JSON
from hybridws.core.packets import Ack, Attach
from hybridws.errors import Malformed
from hybridws.options import Options
from hybridws.testing.peers import Host, Kind, Peer, Transport, join, whole_packets

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Collection

    from hybridws.core.codec import Codec
    from hybridws.core.link import Lane

Side = Literal["client", "server"]
SID: Final = "wire"
SIDES: Final[tuple[Side, Side]] = ("server", "client")
BODY: Final = 256 * 1024
"""Bytes that a POST takes along of what the client has to say."""
ROUNDS: Final = 200
"""Rounds after which `run` and `settle` give up: two links that never come to rest are broken."""


class Wire:
    """Two peers, the transports between them, and the POSTs that are under way."""

    def __init__(self, codec: Codec = JSON, options: Options | None = None) -> None:
        """Join two fresh links."""
        self.codec: Final = codec
        self.options: Final = options or Options()
        self.client: Final = Peer(codec, self.options)
        self.server: Final = Peer(codec, self.options)
        self.host: Final = Host(self.server)
        """Whose the server's seat is."""
        self.transports: Final[list[Transport]] = []
        """Those on which something may still move, oldest first."""
        self.posts: Final[list[bytes]] = []
        """Bodies of `send` on their way to the server; take one out and it is lost."""
        self.answers: Final[list[bytes]] = []
        """Their answers on the way back; take one out and its ack is lost."""
        self._count = 0  # the newest attach that the client has made
        self._posting = self.client.link.lane()

    def __repr__(self) -> str:
        """Tell how far it has come."""
        return f"<Wire {self.client.link!r} {self.server.link!r}, {len(self.transports)} transports>"

    # ── what the client begins ────────────────────────────────────────────────────────────────────────────────────

    def attach(self, kind: Kind) -> Transport:
        """Let the client attach another transport; its request is on its way, and by POST all that is not confirmed."""
        self._count += 1
        lane = self.client.link.lane()
        request = self._body(self._count, None if kind == "websocket" else lane)
        if kind != "websocket":
            self._posting = lane  # what follows by POST goes on after it
        return self._launch(Transport(kind, self._count, request, lane))

    def repeat(self, transport: Transport) -> Transport:
        """Let the request of an attach be on its way once more, as after a proxy's retry, however late.

        It is a transport of its own, and the client hears both: more than any proxy could do to it.
        """
        return self._launch(Transport(transport.kind, transport.n, transport.request, self.client.link.lane()))

    def _launch(self, transport: Transport) -> Transport:
        transport.up.append(transport.request)
        self.transports.append(transport)
        return transport

    def post(self, *, afresh: bool = False) -> None:
        """Let the client say by POST what it has not said yet by POST; `afresh`, all that is not confirmed."""
        if afresh:
            self._posting = self.client.link.lane()
        self.posts.append(self._body(0, self._posting))

    def _body(self, n: int, lane: Lane | None) -> bytes:
        """Write an attach, and after it what a lane has to say."""
        link = self.client.link
        words = b""
        if lane is not None:
            lane.owes, lane.acked = False, link.ackable  # the attach says it
            lane.placed = False  # every body begins with its position
            for frame in link.pending(lane, BODY):
                link.wrote(lane, frame)
                words = frame.payload
        return join(link, Attach(SID, "", n, link.ackable, {}), words=words)

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────

    def write(self, transport: Transport, side: Side, limit: int | None = None) -> int:
        """Let a side write on a transport what it has for it, about `limit` bytes; return the number of frames.

        A poll is answered by it with one frame, however empty, and has ended then.
        """
        lane = transport.server if side == "server" else transport.client
        if lane is None or not self.writes(transport, side):
            return 0
        link = self._peer(side).link
        frames = link.pending(lane, limit)
        payloads = [frame.payload for frame in frames]
        for frame in frames:
            link.wrote(lane, frame)
        if transport.kind == "poll" and not frames:
            payloads = [join(link, Ack(link.ackable))]
        if not transport.dead:
            self._way(transport, "client" if side == "server" else "server").extend(payloads)
        if transport.kind == "poll":
            self.host.end(transport)
        return len(payloads)

    def writes(self, transport: Transport, side: Side) -> bool:
        """Tell whether a side may write on a transport now."""
        if side == "server":
            return transport.at_server and transport in (self.host.seat, self.host.trial)
        return transport.kind == "websocket" and transport.at_client and transport.greeted

    def _peer(self, side: Side) -> Peer:
        return self.server if side == "server" else self.client

    @staticmethod
    def _way(transport: Transport, side: Side) -> deque[bytes | None]:
        """Return what is on its way to a side."""
        return transport.up if side == "server" else transport.down

    # ── arriving ──────────────────────────────────────────────────────────────────────────────────────────────────

    def deliver(self, transport: Transport, side: Side) -> None:
        """Let the oldest thing that is on its way to a side on this transport arrive. Raises IndexError for none."""
        data = self._way(transport, side).popleft()
        if side == "client":
            self._client_hears(transport, data)
        elif data is not None:
            self.host.hear(transport, data)
        self._tidy(transport)

    def _client_hears(self, transport: Transport, data: bytes | None) -> None:
        if data is None:
            transport.at_client = False
        if data is None or not transport.at_client:
            return
        try:
            asks = self.client.hear(transport.client, self.codec.loads(data, self.options))
        except Malformed as fault:
            self.client.faults.append(fault.reason)
            transport.at_client = False
            return
        transport.greeted = True
        if asks:
            transport.client.owes = True

    def deliver_post(self, place: int = 0, *, again: bool = False) -> None:
        """Let a POST arrive, whichever; `again` leaves a copy on its way. Its answer, if any, is on its way then."""
        answer = self.host.answer(self.posts[place] if again else self.posts.pop(place))
        if answer is not None:
            self.answers.append(answer)

    def deliver_answer(self, place: int = 0) -> None:
        """Let the answer to a POST arrive, whichever."""
        self.client.hear(self.client.link.lane(), self.codec.loads(self.answers.pop(place), self.options))

    # ── what a network does ───────────────────────────────────────────────────────────────────────────────────────

    def cut(
        self,
        transport: Transport,
        *,
        to_client: int = 0,
        to_server: int = 0,
        noticed: Collection[Side] = ("client", "server"),
    ) -> None:
        """Break a transport: so many bytes of what is on its way each way still arrive, and the rest is lost.

        Of a frame or body that is cut nothing arrives, of a stream the packets that came whole. Who has not `noticed`
        goes on writing, to nobody; cut it again for it to notice.
        """
        for side, room in zip(SIDES, (to_server, to_client), strict=True):
            way = self._way(transport, side)
            arriving = self._within(way, room, torn=transport.kind == "stream" and side == "client")
            way.clear()
            way.extend(arriving)
            for _ in arriving:
                self.deliver(transport, side)
            way.clear()
        transport.down.clear()
        transport.dead = True
        if "client" in noticed:
            transport.at_client = False
        if "server" in noticed:
            self.host.end(transport)
        self._tidy(transport)

    def _within(self, way: Collection[bytes | None], room: int, *, torn: bool) -> list[bytes | None]:
        """Return what of the items on their way lies within so many bytes; where they can be torn, a part too."""
        arriving: list[bytes | None] = []
        for item in way:
            size = len(item or b".")  # an end takes a byte
            if size > room:
                part = whole_packets(self.codec, (item or b"")[:room]) if torn else b""
                return [*arriving, part] if part else arriving
            room -= size
            arriving.append(item)
        return arriving

    def _tidy(self, transport: Transport) -> None:
        """Forget a transport on which nothing can move any more."""
        if not transport.moves and transport in self.transports:
            self.transports.remove(transport)

    # ── all at once ───────────────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Let everything arrive that is on its way, and what the peers write because of it, until nothing moves.

        A poll is answered once there is something to say. Nobody attaches or posts by itself.
        """
        for _ in range(ROUNDS):
            moved = len(self.posts) + len(self.answers)
            moved += sum(self._move(transport) for transport in list(self.transports))
            while self.posts:
                self.deliver_post()
            while self.answers:
                self.deliver_answer()
            if not moved:
                return
        raise AssertionError(f"the links do not come to rest: {self!r}")

    def _move(self, transport: Transport) -> int:
        moved = 0
        for side in SIDES:
            while self._way(transport, side):
                self.deliver(transport, side)
                moved += 1
        lane = transport.server
        if transport.kind != "poll" or (lane and self.server.link.has_more(lane)):
            moved += self.write(transport, "server")
        return moved + self.write(transport, "client")

    def settle(self, kind: Kind = "websocket") -> None:
        """Break every transport, then let an honest one of this kind carry on until nothing is left to say.

        What is under way by POST arrives first, late as it is; the applications take all that comes.
        """
        for transport in list(self.transports):
            self.cut(transport)
        for _ in range(ROUNDS):
            self.run()
            while self.client.take() or self.server.take():
                pass
            if self.client.settled and self.server.settled:
                return
            honest = [transport for transport in self.transports if transport.at_client and not transport.dead]
            transport = honest[-1] if honest else self.attach(kind)
            self.run()
            if transport.server:
                transport.server.owes = True
            if kind == "websocket":
                transport.client.owes = True
            else:
                self.post(afresh=True)
            if kind == "poll":
                self.run()
                self.write(transport, "server")
        raise AssertionError(f"what was said does not arrive: {self!r}")

    def check(self) -> None:
        """Raise AssertionError unless each side got what the other said, once, in order, as far as it has come."""
        for name, there, here in (("server", self.client, self.server), ("client", self.server, self.client)):
            got = here.got + [value for value, _ in here.inbox]
            if got != there.said[: len(got)]:
                pairs = enumerate(zip(got, [*there.said, *got], strict=False))
                wrong = next((place for place, (left, right) in pairs if left != right), len(there.said))
                raise AssertionError(f"message {wrong} at the {name} is {got[wrong]!r}, of {there.said[wrong:][:1]!r}")
