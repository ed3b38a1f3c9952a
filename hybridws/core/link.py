"""One conversation seen from one side: numbers, acks, repeats, gaps, and the end. Pure, and the same at both ends.

Rule 1: a numbered packet is handed on once, in order. One that is here already is dropped; one that skips ahead is
        held if POSTs may overtake each other, else it ends its transport.
Rule 2: what was sent is kept until an ack says that it arrived. Nothing is forgotten because it was written.
Rule 3: acks go no further than what the application has taken plus half a buffer: so a slow application slows the
        far sender, and an inbox holds at most one and a half buffers.
Rule 4: the close is the last numbered packet, so it arrives after everything said before it.

SockJS and a raw WebSocket have neither numbers nor acks. They keep to the same rules with two stand-ins: what comes in
takes the next number, and what a transport has handed to the network counts as arrived. The
second is the one place where a message may be lost, and it has a name: `Link.presume`.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, Final, cast

from hybridws.core.codec import Frame
from hybridws.core.early import Early
from hybridws.core.outbox import OVERHEAD, Outbox
from hybridws.core.packets import NUMBERED, Ack, Close, Message, Packet, Position, Skipped
from hybridws.core.values import SAFE_INTEGER, is_safe
from hybridws.errors import Malformed

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from hybridws.core.codec import Batch, Codec
    from hybridws.options import Options


ACK_EVERY: Final = 32
"""Packets after which an ack goes alone: often enough to keep a sender's buffer from filling (protocol §5)."""
NARROWEST: Final = 1024
"""Bytes of a frame that is never made smaller: what is cut within so few is not cut for its size."""
SHRINKS_TO: Final = 4
"""What a frame must be divided by if one that began with the same packet did not arrive."""
GROWS_AFTER: Final = 4
"""Acks that tell news, after which frames that were made smaller become twice as large."""

_LAST: Final = SAFE_INTEGER - 2
"""The last number but one: numbers end before 2^53."""


OVERFULL: Final = "more was sent than `buffer` allows before it is acked"
"""The one fault that passes: when the application has taken something, there is room again."""


class State(IntEnum):
    """How far a conversation has come; it only ever moves down this list."""

    OPEN = 0
    CLOSING = 1  # one side has said `close`, and it is not yet known to have arrived
    CLOSED = 2  # nothing more will be said or heard


class Lane:
    """What a link remembers of one transport: how far it has got, each way."""

    __slots__ = ("acked", "acked_bytes", "expects", "on_trial", "overtakes", "owes", "placed", "written")

    def __init__(self, written: int = 0, *, overtakes: bool = False) -> None:
        """Make the lane of a transport that goes on after number `written`."""
        self.written = written
        """The newest number that this transport was given to write."""
        self.placed = False
        """Whether it was told the position from which it goes on."""
        self.on_trial = False
        """Nothing but acks goes here until the far side has shown that it hears them."""
        self.acked = -1
        """The count that it was last told to have arrived."""
        self.acked_bytes = 0
        self.owes = True
        """An ack is due now, even if nothing else is."""
        self.expects: int | None = None
        """The number of the next packet that it brings; None before it has said so."""
        self.overtakes = overtakes
        """Whether what it brings may have overtaken what another brings."""


class Link:
    """One conversation: what is yet to be confirmed, what has come, and whether it goes on."""

    __slots__ = (
        "_abandoned",
        "_beyond",
        "_early",
        "_held",
        "_news",
        "_passed",
        "_room",
        "_tried",
        "_tried_last",
        "_tried_size",
        "ackable",
        "came",
        "codec",
        "heard",
        "inbox_size",
        "options",
        "outbox",
        "received",
        "said",
        "state",
    )

    def __init__(self, codec: Codec, options: Options) -> None:
        """Start a conversation in which nothing was said."""
        self.codec: Final = codec
        self.options: Final = options
        self.outbox: Final = Outbox()
        self.state = State.OPEN
        self.said: Close | None = None
        self.heard: Close | None = None
        self.received = 0
        """Numbered packets that have come, in order and without a gap."""
        self.ackable = 0
        """How many of them may be acked (rule 3)."""
        self.came = 0
        """Bytes that have come in numbered packets."""
        self.inbox_size = 0
        """Bytes that have come and that the application has not taken."""
        self._abandoned: Sequence[bytes] = ()
        self._held = 0  # of these, the bytes that may be acked
        self._beyond: deque[tuple[int, int]] | None = None  # (bytes, count) of those that may not, oldest first
        self._early: Early | None = None  # made where anything overtakes something
        self._room = 0  # bytes that a frame may have on this network; 0: as many as it likes
        self._news = 0  # acks that told news since this has changed
        self._passed = 0  # bytes of the largest frame that has arrived; half as many for each that has not
        self._tried = -1  # what was confirmed when a frame last began with the oldest packet ...
        self._tried_last = 0  # ... the last number that is in it ...
        self._tried_size = 0  # ... and its bytes

    def __repr__(self) -> str:
        """Tell how far the conversation has come."""
        return (
            f"<Link {self.state.name} {self.codec.name}, {len(self.outbox)} unconfirmed of {self.outbox.last}, "
            f"{self.received} received>"
        )

    # ── what we say ───────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def full(self) -> bool:
        """Whether the outbox holds a whole `buffer`, so that a sender should wait."""
        return self.outbox.size >= self.options.buffer

    def relieve(self, cost: int = 0, key: Hashable | None = None) -> int:
        """Drop what may be dropped until `cost` more bytes find room; return how many (see `Outbox.relieve`)."""
        return self.outbox.relieve(max(self.options.buffer - 1 - cost, 0), key)

    def send(self, packet: Packet) -> int:
        """Give a packet its number, keep it, and return the number. Raises Unsendable; then nothing was numbered."""
        return self.outbox.append(self.codec.dumps(packet, self.options))

    def close(self, code: int, reason: str) -> None:
        """Say that the conversation ends here, after all that was said before; a second close changes nothing."""
        if self.said is None and self.state is State.OPEN:
            self.said = Close(code, reason)
            self.send(self.said)
            self.state = State.CLOSING

    def abandon(self) -> None:
        """Drop what is not confirmed, so that the close is the next thing said."""
        self._abandoned = [*self._abandoned, *self._kept()]
        self.outbox.confirm(self.outbox.last)

    def end(self) -> None:
        """Say and hear nothing more: both know of the end, or there is nobody left to tell."""
        self.state = State.CLOSED

    def unconfirmed(self) -> list[object]:
        """Return the messages that the other side has not confirmed, as it would have read them, oldest first."""
        read = self.codec.read
        kept = map(read, [*self._abandoned, *self._kept()])
        return [packet.value for packet in kept if isinstance(packet, Message)]

    def _kept(self) -> list[bytes]:
        return [words for words in self.outbox.since(self.outbox.confirmed, self.outbox.size) if words is not None]

    # ── what a transport may write ────────────────────────────────────────────────────────────────────────────────

    def lane(self, *, overtakes: bool = False) -> Lane:
        """Make the lane of a new transport: it goes on after what is known to have arrived."""
        return Lane(self.outbox.confirmed, overtakes=overtakes)

    def has_more(self, lane: Lane) -> bool:
        """Tell whether there are numbered packets that this transport was not given yet, and that may still be said."""
        if lane.on_trial or self.heard is not None:  # who hears a close says nothing numbered any more (protocol §8)
            return False
        return self.outbox.last > max(lane.written, self.outbox.confirmed)

    def pending(self, lane: Lane, limit: int | None = None, beside: int = 0) -> list[Frame]:
        """Return the next of what this transport was not given yet, as frames: about `limit` (`chunk`) bytes in all.

        `beside`: packets that the caller writes in the same batch. On a lane of a numbered codec an ack rides
        along, and the position stands before the first packet, and wherever packets are passed over; on trial there is
        nothing but the ack.
        """
        more = self.has_more(lane)
        if not self.codec.numbered:
            if not more:
                return []
            kept = self.outbox.since(lane.written, limit or self.options.chunk, gap=-1)  # a gap is not written at all
            frames = self.codec.frames([words for words in kept if words is not None])
            return _with_gaps(frames, kept) if None in kept else frames
        if not (more or lane.owes or not (lane.placed or lane.on_trial)):
            return []
        head: list[bytes] = []
        ack = -1
        if lane.owes or self.ackable != lane.acked:
            ack = self.ackable
            head.append(self.codec.dumps(Ack(ack), self.options))
        if lane.on_trial:
            frame = self.codec.frames(head)[0]
            return [Frame(frame.opcode, frame.payload, 0, ack)]
        if not lane.placed or lane.written < self.outbox.confirmed:  # another lane has brought what would be next here
            start = max(lane.written, self.outbox.confirmed) + 1
            head.append(self.codec.dumps(Position(start), self.options))
        kept = self._next(lane, limit or self.options.chunk, head, beside) if more else []
        if not head and None not in kept:
            return self.codec.frames(cast("list[bytes]", kept))  # nothing of this session alone: it may be shared
        if kept:
            head += self._filled(kept)
        frame = self.codec.frames(head)[0]
        return [Frame(frame.opcode, frame.payload, len(kept), ack)]

    def _next(self, lane: Lane, room: int, head: list[bytes], beside: int) -> list[bytes | None]:
        """Return the next packets, as many as find room behind the head of a frame and beside others; one at least."""
        if self._room or self.outbox.confirmed == self._tried:
            room = min(room, self._fits(lane) or room)
        for words in head:
            room -= len(words) + 1
        kept = self.outbox.since(lane.written, room, cost=self.options.buffer // 2)  # it finds room (rule 3)
        return kept[: self.options.max_packets - len(head) - beside]

    def _filled(self, kept: list[bytes | None]) -> list[bytes]:
        """Put a word for each run of packets that were dropped."""
        if None not in kept:
            return cast("list[bytes]", kept)
        words: list[bytes] = []
        run = 0
        for item in [*kept, b""]:
            if item is None:
                run += 1
                continue
            if run:
                words.append(self.codec.dumps(Skipped(run), self.options))
                run = 0
            words.append(item)
        return words[:-1]

    def finished(self, lane: Lane) -> bool:
        """Tell whether nothing is left to be written on this lane, ever: both ends know, or will from this lane."""
        if self.codec.numbered:
            return self.state is State.CLOSED and (self.heard is None or lane.acked >= self.received)
        return self.said is not None and lane.written >= self.outbox.last

    def wrote(self, lane: Lane, frame: Frame) -> None:
        """Note that the transport was given this frame. Nothing is forgotten by it."""
        confirmed = self.outbox.confirmed
        if frame.packets and self.codec.numbered and lane.written <= confirmed:
            if confirmed == self._tried:
                self._room, self._news, self._passed = self._fits(lane), 0, self._passed // 2
            self._tried, self._tried_last, self._tried_size = confirmed, confirmed + frame.packets, len(frame.payload)
        lane.written = max(lane.written, confirmed) + frame.packets
        if frame.ack >= 0:
            lane.acked = frame.ack
            lane.acked_bytes = self.came
            lane.owes = False
        if not lane.on_trial:
            lane.placed = True

    def _fits(self, lane: Lane) -> int:
        """Return the bytes that a frame may have on this network, 0 if that is not known.

        Fewer than before, if it begins with what was written already, and did not arrive: some networks cut each
        connection after so many bytes, and a larger frame never arrives, however often it is said. One of a size that
        has passed before is lost for another reason, or late; so it may be lost once, and twice where twice as much
        has passed.
        """
        confirmed = self.outbox.confirmed
        passes = max(self._passed, NARROWEST)
        if lane.written > confirmed or confirmed != self._tried or self._tried_size <= passes:
            return self._room
        return max(self._tried_size // SHRINKS_TO, passes)

    def ack_due(self, lane: Lane) -> bool:
        """Tell whether so much has come that it should be acked without waiting for something to ride on."""
        return self.ackable > lane.acked and (
            self.ackable - lane.acked >= ACK_EVERY or self.came - lane.acked_bytes >= self.options.buffer // 4
        )

    def confirm(self, count: int) -> None:
        """Forget what the other side has: `count` packets in all. Raises Malformed for more than was said."""
        if count > self.outbox.last:
            raise Malformed(f"an ack of {count} is beyond the {self.outbox.last} packets that were sent")
        if self.outbox.confirm(count):
            if self._tried_size > self._passed and count >= self._tried_last:
                self._passed = self._tried_size
            if self._room:
                self._grow()
        if self.said is not None and not self.outbox:
            self.end()

    def _grow(self) -> None:
        """Let frames become larger again after some acks that told news."""
        self._news += 1
        if self._news == GROWS_AFTER:
            larger = 2 * self._room
            self._room, self._news = larger if larger < self.options.max_batch else 0, 0

    def presume(self, lane: Lane) -> None:
        """Take what this transport gave to the network for arrived, since its client cannot say so.

        All but the close: that is said again to whoever asks, for as long as the session is remembered.
        """
        if not self.codec.numbered:
            self.outbox.confirm(min(lane.written, self.outbox.last - (self.said is not None)))

    # ── what a transport brings ───────────────────────────────────────────────────────────────────────────────────

    def receive(self, lane: Lane, batch: Batch) -> Iterator[tuple[Packet, int]]:
        """Take a batch that a transport brought, and give what of it is new, one by one and in order.

        Each packet counts as received when it is given, so the caller must go through all of them. Raises Malformed
        for a packet without a position, one that skips ahead (unless POSTs may overtake), more than `buffer` allows,
        or an impossible ack: what stands before it was given and counts; what stands behind it is sent again.
        """
        for packet, size in batch:
            if type(packet) in NUMBERED:
                if self._is_next(lane, packet, size):
                    lane.expects = self.received + 2
                    self._count_in(size, 1)
                    yield packet, size
                    continue
                yield from self._number(lane, packet, size)
            elif isinstance(packet, Position):
                lane.expects = packet.number
            elif isinstance(packet, Ack):
                self.confirm(packet.total)
            else:
                yield packet, size

    def _is_next(self, lane: Lane, packet: Packet, size: int) -> bool:
        """Tell whether this is a message as nearly all are: the next in order, with room for it, none held early."""
        return (
            lane.expects == self.received + 1
            and type(packet) is Message
            and (self._early is None or self._early.empty)
            and self.heard is None
            and self._has_room(size + OVERHEAD)
            and self.received < _LAST
        )

    def _number(self, lane: Lane, packet: Packet, size: int) -> Batch:
        """Find out a packet's number, and return what can be handed on because of it."""
        new: Batch = []
        if not self.codec.numbered:
            self._accept(packet, size, new)
            return new
        if self.heard is not None:
            return new  # nothing counts after a close
        number = lane.expects
        if number is None:
            raise Malformed("a numbered packet came before its position")
        lane.expects = number + _count(packet)
        if not is_safe(lane.expects - 1):
            raise Malformed("numbers end before 2^53")
        if number > self.received + 1:
            if not lane.overtakes:
                raise Malformed(f"packet {number} came, and {self.received + 1} is next")
            if self._early is None:
                self._early = Early()
            self._early.keep(number, packet, size, self.options.buffer)
            return new
        self._take(number, packet, size, new, may_wait=lane.overtakes)
        while self._early is not None and self._early.has(self.received + 1):
            number, packet, size = self._early.pop()
            self._take(number, packet, size, new, may_wait=True)
        return new

    def _take(self, number: int, packet: Packet, size: int, new: Batch, *, may_wait: bool) -> None:
        """Accept a packet before which there is no gap, or as much of it as is new.

        For one that finds no room: if it `may_wait`, it is dropped, and sent again since it is not acked. Where nothing
        overtakes, what follows it would be a gap: Malformed.
        """
        news = number + _count(packet) - 1 - self.received
        if news <= 0 or self.heard is not None:
            return  # a repeat, or said after the close
        if isinstance(packet, Message) and not self._has_room(size + OVERHEAD):
            if may_wait:
                return
            raise Malformed(OVERFULL)
        self._accept(Skipped(news) if isinstance(packet, Skipped) else packet, size, new)

    def _has_room(self, cost: int) -> bool:
        """Tell whether the inbox may take a message (rule 3); an empty one takes any."""
        return not self.inbox_size or self.inbox_size + cost <= self.options.buffer * 3 // 2

    def _accept(self, packet: Packet, size: int, new: Batch) -> None:
        if isinstance(packet, Message):
            self._count_in(size, 1)
        else:  # dealt with as it comes
            self._count_in(size, _count(packet), waits=False)
        if isinstance(packet, Close):
            self.heard = packet
            self.ackable = self.received  # nothing comes after it that an ack could hold back
            self._beyond = None
            self.end()
        new.append((packet, size))

    def _count_in(self, size: int, count: int, *, waits: bool = True) -> None:
        """Count what has come, and what of it may be acked; what `waits` for the application fills the inbox."""
        cost = size + OVERHEAD if waits else 0
        self.received += count
        self.came += size
        self.inbox_size += cost
        if not self._beyond and (self._held == 0 or self._held + cost <= self.options.buffer // 2):
            self._held += cost
            self.ackable += count
        else:
            self._beyond = self._beyond or deque()
            self._beyond.append((cost, count))

    # ── what the application takes ────────────────────────────────────────────────────────────────────────────────

    def taken(self, size: int) -> None:
        """Note that the application took the oldest packet of its inbox, which brought `size` bytes."""
        cost = size + OVERHEAD
        self.inbox_size -= cost
        self._held -= cost
        self._advance()

    def _advance(self) -> None:
        """Let acks go as far as rule 3 allows; one packet always fits, however large it is."""
        beyond = self._beyond
        half = self.options.buffer // 2
        while beyond and (self._held == 0 or self._held + beyond[0][0] <= half):
            cost, count = beyond.popleft()
            self._held += cost
            self.ackable += count


def _with_gaps(frames: list[Frame], kept: list[bytes | None]) -> list[Frame]:
    """Let each frame stand for the dropped packets before its own as well, and the last one for those after it."""
    counted: list[Frame] = []
    place = 0
    for frame in frames:
        first, own = place, 0
        while own < frame.packets:
            own += kept[place] is not None
            place += 1
        if frame is frames[-1]:
            place = len(kept)
        counted.append(Frame(frame.opcode, frame.payload, place - first))
    return counted


def _count(packet: Packet) -> int:
    """Tell how many numbers a numbered packet takes."""
    return packet.many if isinstance(packet, Skipped) else 1
