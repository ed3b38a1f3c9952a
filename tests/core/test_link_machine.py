"""A client's link and a server's, joined by a network that loses, repeats, delays, reorders and cuts: random lives.

HYBRIDWS_EXAMPLES says how many lives are tried (500 unless it does; `make simulate` 10,000), HYBRIDWS_TEST_SEED which.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hybridws.core.codec import JSON, MSGPACK
from hybridws.core.link import Link, State
from hybridws.core.outbox import OVERHEAD
from hybridws.core.packets import Ack, Attach, Close, Heartbeat, Message, Packet, Position, Skipped
from hybridws.core.streams import EventReader, PackReader
from hybridws.errors import Malformed
from hybridws.options import Options
from hybridws.transports.downlinks import STREAMS

if TYPE_CHECKING:
    from hybridws.core.codec import Batch, Codec
    from hybridws.core.link import Lane

EXAMPLES = int(os.environ.get("HYBRIDWS_EXAMPLES") or 500)
SEED = int(os.environ["HYBRIDWS_TEST_SEED"])
PHASES = (Phase.generate,) if os.environ.get("HYBRIDWS_MUTANT") else tuple(Phase)
"""A mutant need only be found, not understood."""
BUFFER = 1000
"""Small, so that lives of 50 steps fill it: a packet counts about 75 bytes, a large one about 300."""
OPTIONS = Options(buffer=BUFFER, max_batch=2000, max_message=400, chunk=400)
LARGE = "x" * 230
MAX_POSTS = 4
ROUNDS = 60
"""Exchanges on a fair network within which everything must have arrived."""

PICK = st.integers(0, 7)


class Side:
    """One end: its link, what it has said by number, and what its application has been given."""

    def __init__(self, codec: Codec) -> None:
        """Start a conversation in which nothing was said."""
        self.link = Link(codec, OPTIONS)
        self.said: list[object] = []
        self.dropped: set[int] = set()
        self.heard: list[object] = []
        """By number; None where packets were skipped."""
        self.inbox: deque[tuple[int, int]] = deque()
        """What the application has not taken: number and size."""

    def say(self, value: object, *, loose: bool = False) -> None:
        """Say a message."""
        words = self.link.codec.dumps(Message(value), OPTIONS)
        number = self.link.outbox.append(words, loose=loose)
        self.said.append(value)
        assert number == len(self.said)

    def drop(self, room: int) -> None:
        """Drop loose messages, and note which."""
        outbox = self.link.outbox
        outbox.relieve(room)
        kept = outbox.since(outbox.confirmed, outbox.size)
        self.dropped |= {outbox.confirmed + 1 + place for place, words in enumerate(kept) if words is None}

    def close(self) -> None:
        """Say that it ends here."""
        self.link.close(1000, "")
        self.said.append(self.link.said)

    def hear(self, lane: Lane, batch: Batch) -> list[Packet]:
        """Take what a transport brought; return what of it is neither message nor close. Raises Malformed."""
        other: list[Packet] = []
        for packet, size in self.link.receive(lane, batch):
            match packet:
                case Message(value):
                    self.heard.append(value)
                    self.inbox.append((len(self.heard), size))
                case Skipped(many):
                    self.heard += [None] * many
                case Close():
                    self.heard.append(packet)
                case _:
                    other.append(packet)
        return other

    def take(self) -> None:
        """Let the application take its oldest message."""
        self.link.taken(self.inbox.popleft()[1])


class Wire:
    """One transport: what is under way in it, each way, and what each end believes of it."""

    def __init__(self, kind: str, n: int, client: Side) -> None:
        """Begin a transport; nothing of it has reached the server."""
        self.kind = kind
        self.n = n
        self.up: deque[bytes] = deque()
        self.down: deque[bytes] = deque()
        self.lane = client.link.lane()
        """The client's."""
        self.far: Lane | None = None
        """The server's, once the attach has reached it."""
        self.reader = (EventReader if client.link.codec is JSON else PackReader)(10_000)
        self.near_open = self.far_open = True
        """What each end believes."""
        self.dead = False
        """The network carries nothing any more; the ends find out later."""
        self.got = 0
        """Frames that have come down."""

    def end(self, frames: deque[bytes], payload: bytes) -> None:
        """Put a frame on its way, unless there is none."""
        if not self.dead:
            frames.append(payload)


class Lives(RuleBasedStateMachine):
    """Two ends, their transports, and a network that does its worst."""

    @initialize(codec=st.sampled_from([JSON, MSGPACK]))
    def begin(self, codec: Codec) -> None:
        """Open a session."""
        self.codec = codec
        self.client, self.server = Side(codec), Side(codec)
        self.wires: list[Wire] = []
        self.n = 0
        self.known_n = 0
        self.seat: Wire | None = None
        self.trial: Wire | None = None
        self.courier = self.client.link.lane()  # what the client's POSTs have carried, whatever became of them
        self.counted = 0
        self.brought: set[int] = set()  # numbers that POSTs have brought to the server before their turn ...
        self.arrived: set[int] = set()  # ... and those of them that it must hold, since there was room

    # ── the applications ──────────────────────────────────────────────────────────────────────────────────────────

    @rule(up=st.booleans(), large=st.booleans(), loose=st.booleans(), many=st.integers(1, 4))
    def say(self, *, up: bool, large: bool, loose: bool, many: int) -> None:
        """Say something; the server may say what a slow client can miss."""
        side = self.client if up else self.server
        for _ in range(many):
            if side.link.state is State.OPEN and not side.link.full:
                self.counted += 1
                side.say([self.counted, LARGE] if large else self.counted, loose=loose and not up)

    @rule(room=st.sampled_from([0, BUFFER // 4, BUFFER // 2]))
    def drop(self, room: int) -> None:
        """Let a slow-consumer policy of the server drop what may be dropped."""
        self.server.drop(room)

    @rule(up=st.booleans(), many=st.integers(1, 5))
    def take(self, *, up: bool, many: int) -> None:
        """Either application takes some of what has come."""
        side = self.server if up else self.client
        for _ in range(min(many, len(side.inbox))):
            side.take()

    @precondition(lambda self: self.counted > 8)
    @rule(up=st.booleans(), sure=st.integers(0, 3))
    def close(self, *, up: bool, sure: int) -> None:
        """Either application closes, now and then."""
        side = self.client if up else self.server
        if not sure and side.link.state is State.OPEN:
            side.close()

    @rule(up=st.booleans(), beyond=st.sampled_from([1, 2, 2**31, 2**53]))
    def lie(self, *, up: bool, beyond: int) -> None:
        """Ack what was never sent: it changes nothing."""
        side = self.client if up else self.server
        before = repr(side.link)
        with pytest.raises(Malformed):
            side.link.confirm(side.link.outbox.last + beyond)
        assert repr(side.link) == before

    # ── the client ────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(kind=st.sampled_from(["poll", "stream", "websocket"]))
    def attach(self, kind: str) -> None:
        """Attach a transport of any kind, whatever the others do."""
        self.n += 1
        wire = Wire(kind, self.n, self.client)
        self.wires.append(wire)
        if kind == "websocket":
            wire.up.append(self.encode(self.attach_packet(self.n)))
        else:
            wire.up.append(self.body(self.n))
            del self.wires[:-12]

    @precondition(lambda self: sum(wire.kind == "send" and bool(wire.up) for wire in self.wires) < MAX_POSTS)
    @rule()
    def post(self) -> None:
        """Send by POST what none has carried yet."""
        wire = Wire("send", 0, self.client)
        wire.up.append(self.body(0))
        self.wires.append(wire)

    def attach_packet(self, n: int) -> Packet:
        """Say whose transport this is, and what has come."""
        return Attach("sid", "key", n, self.client.link.ackable, {})

    def encode(self, *packets: Packet) -> bytes:
        """Join packets to one body."""
        return self.codec.frames([self.codec.dumps(packet, OPTIONS) for packet in packets])[0].payload

    def body(self, n: int) -> bytes:
        """Write a POST: the attach, and what no POST has carried."""
        lane, link = self.courier, self.client.link
        lane.placed, lane.owes = False, True
        (frame,) = link.pending(lane, 600)
        link.wrote(lane, frame)
        head = self.encode(self.attach_packet(n))
        return head + (b"\n" if self.codec is JSON else b"") + frame.payload

    @rule()
    def overtake(self) -> None:
        """Send two POSTs of which the second arrives first."""
        for _ in range(2):
            self.say(up=True, large=False, loose=False, many=1)
            self.post()
        self.rise(0)
        self.rise(0)

    @rule(kind=st.sampled_from(["poll", "stream", "websocket"]))
    def rush(self, kind: str) -> None:
        """Attach a transport that reaches the server at once."""
        self.attach(kind)
        self.rise(0)

    @rule(many=st.integers(1, 3))
    def drip(self, many: int) -> None:
        """Write packet by packet into the transport that has the seat; each arrives at once."""
        for _ in range(many):
            wire = self.seat
            self.answer(1, owes=False)
            if wire:
                self.deliver(wire)

    def deliver(self, wire: Wire) -> None:
        """Let all that is on its way down arrive."""
        while wire.down:
            payload = wire.down.popleft()
            for data in wire.reader.feed(payload) if wire.kind == "stream" else [payload]:
                if wire.near_open:
                    self.arrive(wire, data)

    @rule(many=st.integers(2, 4), further=st.integers(1, 3))
    def lag(self, many: int, further: int) -> None:
        """Let a newer stream begin again with what an older one brings meanwhile, and go on once that is acked."""
        self.rush("stream")
        old = self.seat
        self.say(up=False, large=False, loose=False, many=many)
        self.answer(400, owes=False)
        self.rush("stream")
        self.answer(1, owes=False)
        if old:
            self.deliver(old)
        self.post()
        self.rise(0)
        self.say(up=False, large=False, loose=False, many=further)
        self.answer(400, owes=False)

    @rule(kind=st.sampled_from(["poll", "stream"]), heard=st.integers(0, 2))
    def miss(self, kind: str, heard: int) -> None:
        """Drop what the client has in part, while an attach with an older ack is on its way to ask for it again."""
        if not self.seat:
            self.rush("stream")
        self.say(up=False, large=False, loose=True, many=3)
        self.attach(kind)
        self.drip(heard)
        self.drop(0)
        self.rise(0)
        self.drip(3)

    @rule(pick=PICK)
    def speak(self, pick: int) -> None:
        """Write into a WebSocket that was answered."""
        wire = self.one(pick, [wire for wire in self.wires if wire.kind == "websocket" and wire.near_open and wire.got])
        if wire:
            self.write(self.client.link, wire.lane, wire, wire.up)

    @rule(pick=PICK)
    def doubt(self, pick: int) -> None:
        """Take POSTs for lost, rightly or not, and send again; see that a transport has ended."""
        self.courier = self.client.link.lane()
        wire = self.one(pick, [wire for wire in self.wires if wire.dead or not wire.far_open])
        if wire:
            wire.near_open = False

    # ── the server ────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(limit=st.sampled_from([1, 100, 400]), owes=st.booleans())
    def answer(self, limit: int, *, owes: bool) -> None:
        """Write into the transport that has the seat, and into the one on trial."""
        for wire in (self.seat, self.trial):
            if wire and wire.far:
                wire.far.owes = wire.far.owes or owes
                self.write(self.server.link, wire.far, wire, wire.down, limit)
        if self.seat and self.seat.kind == "poll" and self.seat.far and self.seat.far.placed:
            self.seat.far_open = False
            self.seat = None

    def write(self, link: Link, lane: Lane, wire: Wire, frames: deque[bytes], limit: int | None = None) -> None:
        """Put what there is to say on its way."""
        for frame in link.pending(lane, limit):
            link.wrote(lane, frame)
            payload = frame.payload
            if wire.kind == "stream" and frames is wire.down:
                payload = STREAMS[self.codec.name].wrap(payload, "")
            wire.end(frames, payload)

    @rule()
    def expire(self) -> None:
        """Drop the transport that has the seat, or the trial: it was silent for too long."""
        if self.trial:
            self.trial.far_open = False
            self.trial = None
        else:
            self.vacate()

    def vacate(self) -> None:
        """Take the seat from whoever has it."""
        if self.seat:
            self.seat.far_open = False
        self.seat = None

    def reach(self, wire: Wire, payload: bytes) -> None:
        """Let a frame or a body come to the server."""
        batch = self.codec.loads(payload, OPTIONS)
        first = batch[0][0] if batch else None
        link = self.server.link
        if isinstance(first, Attach) and not (wire.kind == "websocket" and wire.far):
            if wire.kind != "send" and first.n < self.known_n:
                wire.far_open = False  # 409
                return
            link.confirm(first.ack)
            if wire.kind == "send":
                self.receive(wire, link.lane(overtakes=True), batch[1:])
                wire.end(wire.down, self.encode(Ack(link.ackable), Position(link.outbox.last + 1)))
                return
            self.known_n = first.n
            if wire.kind != "websocket":
                self.receive(wire, link.lane(overtakes=True), batch[1:])
            self.sit(wire)
        elif wire.far:
            if self.trial is wire:
                self.trial = None
                wire.far.on_trial = False
                self.vacate()
                self.seat = wire
            self.receive(wire, wire.far, batch)

    def sit(self, wire: Wire) -> None:
        """Give a newcomer the seat, or let it wait on trial."""
        wire.far = self.server.link.lane()
        wire.far_open = True
        if wire.kind == "websocket" and self.seat:
            if self.trial:
                self.trial.far_open = False
            wire.far.on_trial = True
            self.trial = wire
        else:
            self.vacate()
            self.seat = wire
            if self.trial is wire:
                self.trial = None

    def receive(self, wire: Wire, lane: Lane, batch: Batch) -> None:
        """Let the server's link take a batch; what ends the transport may only be a full inbox."""
        link = self.server.link
        size = sum(size + OVERHEAD for _, size in batch)
        roomy = link.inbox_size + len(self.brought) * 400 + size <= BUFFER
        try:
            self.server.hear(lane, batch)
        except Malformed as fault:
            assert "buffer" in fault.reason  # noqa: PT017 - it is not always raised
            wire.far_open = False
            if self.seat is wire:
                self.seat = None
        if lane.overtakes:
            first = next((packet.number for packet, _ in batch if isinstance(packet, Position)), 0)
            count = sum(isinstance(packet, Message | Close) for packet, _ in batch)
            self.brought |= set(range(first, first + count))
            self.arrived |= set(range(first, first + count))
        if not roomy:
            self.arrived.clear()  # some of it may have found no room
        if link.heard is None:
            assert link.received + 1 not in self.arrived, "what came early was not handed on when its gap was filled"
        self.brought = {number for number in self.brought if number > link.received}
        self.arrived &= self.brought

    # ── the network ───────────────────────────────────────────────────────────────────────────────────────────────

    def one(self, pick: int, wires: list[Wire]) -> Wire | None:
        """Choose a transport, the newest for 0."""
        return wires[-1 - pick % len(wires)] if wires else None

    @rule(pick=PICK)
    def rise(self, pick: int) -> None:
        """Something reaches the server: of one transport in order, of several in any order."""
        wire = self.one(pick, [wire for wire in self.wires if wire.up])
        if wire:
            payload = wire.up.popleft()
            if wire.far_open or wire.kind != "websocket":
                self.reach(wire, payload)

    @rule(pick=PICK, bytes_=st.sampled_from([1, 7, 60, 1000]))
    def fall(self, pick: int, bytes_: int) -> None:
        """Something reaches the client: a frame, an answer, or some bytes of a stream."""
        wire = self.one(pick, [wire for wire in self.wires if wire.down])
        if not wire:
            return
        payload = wire.down.popleft()
        wire.got += 1  # also if it is only a part: no other answer can take the place of this one any more
        if wire.kind == "stream":
            if len(payload) > bytes_:
                wire.down.appendleft(payload[bytes_:])
            batches = wire.reader.feed(payload[:bytes_])
        else:
            batches = [payload]
        for data in batches if wire.near_open else []:
            self.arrive(wire, data)

    def arrive(self, wire: Wire, data: bytes) -> None:
        """Let a batch come to the client."""
        wire.got += 1
        try:
            self.client.hear(wire.lane, self.codec.loads(data, OPTIONS))
        except Malformed as fault:
            assert "buffer" in fault.reason  # noqa: PT017 - it is not always raised
            wire.near_open, wire.dead = False, True
            wire.up.clear()
            wire.down.clear()

    @rule(pick=PICK)
    def replay(self, pick: int) -> None:
        """Let a proxy send a POST twice, and pass the second answer on."""
        wire = self.one(pick, [wire for wire in self.wires if wire.up and wire.kind != "websocket" and not wire.got])
        if wire:
            self.reach(wire, wire.up[0])
            wire.down.clear()

    @rule(pick=PICK)
    def cut(self, pick: int) -> None:
        """Break a connection, in the middle of a frame or between two; no end knows of it yet."""
        wire = self.one(pick, [wire for wire in self.wires if not wire.dead])
        if wire:
            wire.dead = True
            wire.up.clear()
            wire.down.clear()

    # ── the promise ───────────────────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def each_once_and_in_order(self) -> None:
        """Compare what was heard with what was said, number by number; only what was dropped may be missing."""
        for here, there in self.both():
            assert len(here.heard) == here.link.received <= len(there.said)
            for number, (heard, said) in enumerate(zip(here.heard, there.said, strict=False), 1):
                assert heard == said or (heard is None and number in there.dropped), number

    @invariant()
    def nothing_is_forgotten(self) -> None:
        """Look whether all is kept that the other side has not taken in, with room for its application."""
        for here, there in self.both():
            assert here.link.outbox.confirmed <= there.link.ackable <= there.link.received

    @invariant()
    def buffers_are_bounded(self) -> None:
        """Acks go no further than what was taken plus half a buffer, and an inbox holds one and a half."""
        for here, there in self.both():
            link = here.link
            costs = [size + OVERHEAD for number, size in here.inbox if number <= link.ackable]
            assert link.heard or sum(costs) <= BUFFER // 2 or len(costs) == 1
            assert link.inbox_size == sum(size + OVERHEAD for _, size in here.inbox) <= BUFFER * 3 // 2
            assert there.link.outbox.size <= BUFFER + OPTIONS.max_message + 2 * OVERHEAD

    def both(self) -> list[tuple[Side, Side]]:
        """Return each side with the other."""
        return [(self.client, self.server), (self.server, self.client)] if hasattr(self, "client") else []

    def teardown(self) -> None:
        """On a network that is fair again, everything arrives within a bounded number of exchanges."""
        if not self.both():
            return
        for _ in range(ROUNDS):
            if self.settled():
                break
            self.courier = self.client.link.lane()
            self.wires.clear()
            self.vacate()
            self.attach("poll")
            self.rise(0)
            for _ in range(5):
                self.take(up=True, many=5)
            self.answer(2000, owes=False)
            self.fall(0, 10_000)
            for _ in range(5):
                self.take(up=False, many=5)
            self.each_once_and_in_order()
            self.nothing_is_forgotten()
            self.buffers_are_bounded()
        assert self.settled(), (self.client.link, self.server.link)
        for here, there in self.both():
            lost = [
                value
                for number, value in enumerate(there.said, 1)
                if number > len(here.heard) and number not in there.dropped and not isinstance(value, Close)
            ]
            unconfirmed = there.link.unconfirmed()
            assert not lost or unconfirmed[-len(lost) :] == lost, "what did not arrive is not reported"

    def settled(self) -> bool:
        """Tell whether each side has heard all that the other could still say, and knows that it was heard."""
        links = (self.client.link, self.server.link)
        if any(link.said or link.heard for link in links):
            told = all(there.link.heard or there.link.said for _, there in self.both())
            return told and all(link.state is State.CLOSED for link in links)
        return not any(link.outbox for link in links)


@pytest.mark.simulation
@pytest.mark.timeout(3600)
def test_nothing_is_lost_repeated_or_out_of_order() -> None:
    """Each message is handed on once and in order, both ways, whatever the network does; in the end, all of them."""
    lives = seed(SEED)(Lives)
    run_state_machine_as_test(
        lives,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=50,
            phases=PHASES,
            deadline=None,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )


def test_a_heartbeat_is_a_packet_without_items() -> None:
    """The link hands it on, though it is an empty tuple: only None means that nothing came."""
    side = Side(JSON)
    assert side.hear(side.link.lane(), JSON.loads(b'["h"]', OPTIONS)) == [Heartbeat()]
