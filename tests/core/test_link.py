"""The rules of a conversation seen from one side (docs/protocol.md §5, §6 and §8), one by one.

The same rules stand as data in tests/vectors/links.json; here are those that need more than data to say.
"""

from __future__ import annotations

import json

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridws.core.codec import JSON, MSGPACK, Codec, Frame
from hybridws.core.link import ACK_EVERY, Lane, Link, State
from hybridws.core.outbox import GAP, OVERHEAD, Outbox
from hybridws.core.packets import (
    Ack,
    Auth,
    Close,
    Error,
    Gone,
    Heartbeat,
    Message,
    Packet,
    Position,
    Reply,
    Request,
    Skipped,
)
from hybridws.core.sockjs import RAW, SOCKJS
from hybridws.errors import Malformed, MessageTooLarge, Unsendable
from hybridws.options import LEAST_PACKETS, Options

OPTIONS = Options()
SMALL = Options(buffer=1000, max_batch=2000, max_message=1900)
M200 = "x" * 128
"""A message that counts 200 bytes in JSON."""
CODECS = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)


def link(codec: Codec = JSON, options: Options = OPTIONS) -> Link:
    """Start a conversation."""
    return Link(codec, options)


def write(side: Link, lane: Lane, limit: int | None = None) -> list[Packet]:
    """Let a transport write what it has to, and read it as the other end would."""
    said: list[Packet] = []
    for frame in side.pending(lane, limit):
        side.wrote(lane, frame)
        said += [packet for packet, _ in side.codec.loads(frame.payload, side.options)]
    return said


def hear(side: Link, lane: Lane, *packets: Packet) -> list[Packet]:
    """Let a transport bring packets; return what is new."""
    words = [side.codec.dumps(packet, side.options) for packet in packets]
    batch = side.codec.loads(side.codec.frames(words)[0].payload, side.options)
    return [packet for packet, _ in side.receive(lane, batch)]


def size_of(side: Link, packet: Packet) -> int:
    """Return the bytes of a packet."""
    return len(side.codec.dumps(packet, side.options))


# ── what we say ───────────────────────────────────────────────────────────────────────────────────────────────────


@CODECS
def test_every_numbered_kind_takes_a_number_and_arrives(codec: Codec) -> None:
    """Messages, requests, answers, credentials and the close are one stream, in the order in which they were said."""
    here, there = link(codec), link(codec)
    said: list[Packet] = [
        Message("x"),
        Request(1, 2),
        Reply(3, None),
        Error(4, 4404, "no"),
        Auth({"expires": 9}),
        Close(1000, ""),
    ]
    assert [here.send(packet) for packet in said] == [1, 2, 3, 4, 5, 6]
    far = there.lane()
    assert hear(there, far, *write(here, here.lane())) == said
    assert there.received == 6


def test_nothing_is_numbered_that_cannot_be_said() -> None:
    """The caller gets the error, and the next packet gets the number."""
    side = link(options=SMALL)
    with pytest.raises(Unsendable):
        side.send(Message(float("nan")))
    with pytest.raises(MessageTooLarge):
        side.send(Message("x" * 1900))
    assert side.send(Message("fine")) == 1


def test_words_are_said_as_the_object_they_are() -> None:
    """What was encoded for one session is kept and written by another as the very same bytes."""
    words = JSON.dumps(Message("news"), OPTIONS)
    first, second = link(), link()
    for side in (first, second):
        side.outbox.append(words)
        assert side.outbox.since(0, 100)[0] is words


def test_a_full_buffer_is_seen() -> None:
    """A sender should wait from a whole `buffer` on, and may go on as soon as acks have made room."""
    side = link(options=SMALL)
    for _ in range(5):
        assert not side.full
        side.send(Message(M200))
    assert side.full
    side.confirm(1)
    assert not side.full


def test_relief_makes_room_for_what_comes() -> None:
    """A buffer is full at its last byte, so it is relieved to less, and by as much as the next message counts."""
    for cost, gone in ((0, 1), (191, 1), (192, 2), (5000, 5)):
        side = link(options=SMALL)
        words = JSON.dumps(Message(M200), SMALL)
        for _ in range(5):
            side.outbox.append(words, loose=True)
        full = [side.full]
        assert [side.relieve(cost) for _ in range(2)] == [gone, 0]
        full.append(side.full)
        assert full == [True, False]
    side = link(options=SMALL)
    for size in (136, 136, 136, 136, 135):
        side.outbox.append(b"x" * size, loose=True)
    assert side.outbox.size == 999
    assert side.relieve() == 0
    side = link()
    side.outbox.append(b"old", key="price")
    assert side.relieve(0, "name") == 0
    assert side.relieve(0, "price") == 1


def test_nothing_is_forgotten_because_it_was_written() -> None:
    """As long as no ack comes, each new transport says it all again, from its first number."""
    side = link()
    side.send(Message("one"))
    for _ in range(3):
        assert write(side, side.lane()) == [Ack(0), Position(1), Message("one")]
    side.confirm(1)
    assert write(side, side.lane()) == [Ack(0), Position(2)]


def test_what_is_pending_is_only_written_when_it_is_said_so() -> None:
    """To ask changes nothing; a frame that was never given to the network is given again."""
    side = link()
    side.send(Message("one"))
    lane = side.lane()
    assert side.pending(lane) == side.pending(lane)
    assert write(side, lane)
    assert side.pending(lane) == []
    assert not side.has_more(lane)


def test_a_frame_never_holds_more_packets_than_the_other_side_reads() -> None:
    """Of 10,000 tiny messages and a few, a poll takes as many as a batch may hold, ack and position included."""
    side = link(options=Options(max_packets=100))
    for number in range(150):
        side.send(Message(number))
    lane = side.lane()
    assert len(write(side, lane, 10**6)) == 100
    assert len(write(side, lane, 10**6)) == 52


def test_the_least_of_limits_lets_messages_through() -> None:
    """Where a batch may hold no more than an attach, an ack, a position and a packet, nothing must be stuck."""
    side = link(options=Options(max_packets=LEAST_PACKETS))
    for number in range(5):
        side.send(Message(number))
    lane = side.lane()
    assert [len(write(side, lane, 10**6)) for _ in range(2)] == [LEAST_PACKETS, 3]
    lane = side.lane()
    (frame,) = side.pending(lane, 10**6, beside=1)
    assert frame.packets == LEAST_PACKETS - 3


def test_a_lane_of_its_own_begins_with_the_first_number() -> None:
    """As a client makes it for what one request brings: nothing was written there, and nothing overtakes there."""
    side = link()
    side.send(Message("one"))
    assert write(side, Lane()) == [Ack(0), Position(1), Message("one")]
    with pytest.raises(Malformed, match="packet 2 came, and 1 is next"):
        hear(side, Lane(), Position(2), Message("x"))


@CODECS
def test_a_frame_says_what_is_in_it(codec: Codec) -> None:
    """Its kind, its packets, and the ack that rides along if there is one."""
    side = link(codec)
    side.send(Message("x"))
    side.send(Message("y"))
    lane = side.lane()
    opcode = codec.frames([])[0].opcode
    (frame,) = side.pending(lane, 1)
    assert (frame.opcode, frame.packets, frame.ack) == (opcode, 1, 0)
    side.wrote(lane, frame)
    (frame,) = side.pending(lane, 1)
    assert (frame.opcode, frame.packets, frame.ack) == (opcode, 1, -1)
    side.send(Message("z"))
    side.confirm(2)  # another lane has brought "y", so a position comes before "z"
    (frame,) = side.pending(lane, 1)
    words = [codec.dumps(packet, OPTIONS) for packet in (Position(3), Message("z"))]
    assert frame == Frame(opcode, codec.frames(words)[0].payload, 1, -1)
    lane.on_trial = lane.owes = True
    words = [codec.dumps(Ack(0), OPTIONS)]
    assert side.pending(lane) == [Frame(opcode, codec.frames(words)[0].payload, 0, 0)]


def test_a_frame_takes_its_limit_to_the_byte() -> None:
    """Ack, position, and two messages of 136 bytes, each with what joins it to the next."""
    side = link()
    for _ in range(3):
        side.send(Message(M200))
    for limit, count in ((289, 1), (290, 2)):
        (frame,) = side.pending(side.lane(), limit)
        assert frame.packets == count


def test_a_frame_keeps_to_its_limit_even_if_every_other_packet_was_dropped() -> None:
    """Words that stand for what was dropped take room too."""
    side = link()
    for number in range(200):
        side.outbox.append(JSON.dumps(Message(number), OPTIONS), loose=number % 2 == 0)
    side.outbox.relieve(0)
    lane = side.lane()
    while side.has_more(lane):
        (frame,) = side.pending(lane, 300)
        assert len(frame.payload) <= 300
        side.wrote(lane, frame)


# ── acks ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("total", [3, 4, 2**31, 2**53 - 1])
def test_acks_from_the_future_are_malformed(total: int) -> None:
    """An ack of what was never said ends its transport, by an attach or in a batch, and forgets nothing."""
    side = link()
    side.send(Message("one"))
    side.send(Message("two"))
    with pytest.raises(Malformed, match="beyond the 2 packets"):
        side.confirm(total)
    with pytest.raises(Malformed, match="beyond the 2 packets"):
        hear(side, side.lane(), Ack(total))
    assert len(side.outbox) == 2


@pytest.mark.parametrize(
    "count", ["-1", "9007199254740992", "1e300", "0.5", "1.0", "true", "null", '"1"', "[1]", "NaN"]
)
def test_acks_that_are_no_counts_are_refused_by_the_codec(count: str) -> None:
    """Negative, 2^53 and more, floats, booleans and all else never reach a link, in either codec."""
    with pytest.raises(Malformed):
        JSON.loads(f'["a",{count}]', OPTIONS)
    value = json.loads(count)
    with pytest.raises(Malformed):
        MSGPACK.loads(bytes(msgpack.Packer().pack(["a", value])), OPTIONS)


def test_an_ack_that_comes_late_changes_nothing() -> None:
    """Counts only grow."""
    side = link()
    for number in range(3):
        side.send(Message(number))
    for count, confirmed in ((2, 2), (1, 2), (0, 2), (3, 3), (2, 3)):
        side.confirm(count)
        assert side.outbox.confirmed == confirmed


def test_a_lost_ack_is_repeated_by_the_next_transport() -> None:
    """An ack is state, not an event: each new transport begins with it."""
    side = link()
    lane = side.lane()
    hear(side, lane, Position(1), Message("x"))
    side.taken(size_of(side, Message("x")))
    assert write(side, lane) == [Ack(1), Position(1)]
    assert write(side, side.lane()) == [Ack(1), Position(1)]


@pytest.mark.parametrize(("count", "due"), [(ACK_EVERY - 1, False), (ACK_EVERY, True)])
def test_an_ack_goes_alone_after_so_many_packets(count: int, *, due: bool) -> None:
    """A sender whose other side says nothing still learns what has arrived."""
    side = link()
    lane = side.lane()
    write(side, lane)
    hear(side, lane, Position(1), *[Request(number, None) for number in range(count)])
    assert side.ack_due(lane) is due


def test_an_ack_goes_alone_after_a_quarter_of_the_buffer() -> None:
    """Few large messages are acked as soon as many small ones; what may not be acked is not due."""
    side = link(options=SMALL)
    lane = side.lane()
    write(side, lane)
    hear(side, lane, Position(1), Message(M200))
    assert not side.ack_due(lane)
    hear(side, lane, Message(M200))
    assert side.ack_due(lane)
    assert not side.pending(lane), "due is the transport's to act on"
    lane.owes = True
    assert write(side, lane) == [Ack(2)]
    assert not side.ack_due(lane)


def test_an_ack_that_may_not_be_said_is_not_due() -> None:
    """However much has come: of what the application has not taken, no more than half a buffer is acked."""
    side = link(options=SMALL)
    lane = side.lane()
    write(side, lane)
    hear(side, lane, Position(1), Message(M200), Message(M200))
    lane.owes = True
    assert write(side, lane) == [Ack(2)]
    hear(side, lane, Message(M200), Message(M200))
    assert side.received == 4
    assert not side.ack_due(lane)
    side.taken(136)
    assert side.ackable == 3
    assert side.ack_due(lane)


def test_the_quarter_that_makes_an_ack_due_is_of_bytes_that_came_since_the_last() -> None:
    """To the byte, and of a buffer that cannot be quartered, less than the quarter."""
    for more, due in ((-1, False), (0, True)):
        side = link(options=Options(buffer=1002, max_batch=2000, max_message=1900))
        lane = side.lane()
        quarter = Request(1, "x" * (250 + more - size_of(side, Request(1, ""))))
        hear(side, lane, Position(1), quarter)
        assert side.ack_due(lane) is due
        write(side, lane)
        hear(side, lane, quarter)
        assert side.ack_due(lane) is due


@pytest.mark.parametrize(
    ("costs", "before", "after"),
    [([300, 300, 200], 1, 3), ([300, 300, 201], 1, 2), ([600, 600], 1, 2), ([300, 200, 600, 100], 2, 2)],
)
def test_what_is_taken_lets_acks_go_on(costs: list[int], before: int, after: int) -> None:
    """Up to half a buffer, to the byte; what is larger is acked alone, once all before it is taken."""
    side = link(options=SMALL)
    hear(side, side.lane(), Position(1), *[Message("x" * (cost - OVERHEAD - 8)) for cost in costs])
    assert side.ackable == before
    side.taken(costs[0] - OVERHEAD)
    assert side.ackable == after


def test_an_ack_is_due_for_what_came_since_the_last() -> None:
    """However much came before it."""
    side = link()
    lane = side.lane()
    hear(side, lane, Position(1), *[Request(1, None)] * 40)
    write(side, lane)
    for _ in range(ACK_EVERY):
        assert not side.ack_due(lane)
        hear(side, lane, Request(1, None))
    assert side.ack_due(lane)


@settings(max_examples=100)
@given(st.lists(st.one_of(st.integers(0, 300), st.just("take")), max_size=40))
def test_acks_keep_to_half_a_buffer_beyond_what_was_taken(steps: list[int | str]) -> None:
    """Whatever comes and is taken: of what is acked, no more than half a buffer waits, or one message alone."""
    side = link(options=SMALL)
    lane = side.lane()
    hear(side, lane, Position(1))
    inbox: list[tuple[int, int]] = []
    for step in steps:
        if step == "take":
            if inbox:
                side.taken(inbox.pop(0)[1])
        elif isinstance(step, int):
            message = Message("x" * step)
            try:
                hear(side, lane, message)
            except Malformed:
                break
            inbox.append((side.received, size_of(side, message)))
        acked = [size + OVERHEAD for number, size in inbox if number <= side.ackable]
        assert sum(acked) <= 500 or len(acked) == 1
        assert side.inbox_size == sum(size + OVERHEAD for _, size in inbox)
        assert side.inbox_size <= 1500
        if len(acked) < len(inbox):
            assert sum(acked) + inbox[len(acked)][1] + OVERHEAD > 500, "an ack is held back without need"


# ── what comes ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_stands_before_a_fault_is_handed_on_and_counts() -> None:
    """A batch that skips ahead ends its transport; its first packets are neither lost nor said again."""
    side = link()
    new: list[Packet] = []
    packets: list[Packet] = [Position(1), Message("a"), Message("b"), Position(9), Message("late")]
    batch = [(packet, 9) for packet in packets]
    with pytest.raises(Malformed, match="packet 9 came, and 3 is next"):
        new.extend(packet for packet, _ in side.receive(side.lane(), batch))
    assert new == [Message("a"), Message("b")]
    assert side.received == side.ackable == 2


def test_a_numbered_packet_needs_a_position() -> None:
    """Each transport says where it begins."""
    side = link()
    with pytest.raises(Malformed, match="before its position"):
        hear(side, side.lane(), Message("x"))


def test_numbers_end_where_javascript_can_count_no_further() -> None:
    """A skip to the end of all numbers is taken, one beyond it is malformed: no ack could say it."""
    side = link(MSGPACK)
    lane = side.lane()
    hear(side, lane, Position(1), Skipped(2**53 - 1))
    assert write(side, lane) == [Ack(2**53 - 1), Position(1)]
    for packet in (Message("x"), Skipped(1), Skipped(2**53 - 1)):
        with pytest.raises(Malformed, match="2\\^53"):
            hear(side, lane, packet)


@settings(max_examples=200)
@given(st.data())
def test_posts_may_overtake_each_other(data: st.DataObject) -> None:
    """Bodies of one stream, cut anywhere, doubled and in any order, are handed on in order and once."""
    here, side = link(), link()
    count = data.draw(st.integers(1, 12))
    for number in range(1, count + 1):
        here.outbox.append(JSON.dumps(Message(number), OPTIONS), loose=data.draw(st.booleans()))
    here.outbox.relieve(data.draw(st.sampled_from([0, 10**6])))
    bodies: list[list[Packet]] = []
    for _ in range(data.draw(st.integers(1, 4))):
        lane = here.lane()
        while here.has_more(lane):
            lane.placed = False
            bodies.append(write(here, lane, data.draw(st.integers(1, 80))))
    new: list[Packet] = []
    for body in data.draw(st.permutations(bodies)):
        new += hear(side, side.lane(overtakes=True), *[packet for packet in body if not isinstance(packet, Ack)])
    seen = 0
    for packet in new:
        if isinstance(packet, Skipped):
            seen += packet.many
        else:
            seen += 1
            assert packet == Message(seen)
    assert seen == side.received == count


def test_what_comes_early_is_bounded() -> None:
    """A client that leaves a gap open cannot make the server hold more than a buffer."""
    side = link(options=SMALL)
    lane = side.lane(overtakes=True)
    for _ in range(3):
        assert hear(side, lane, Position(2), *[Message(M200)] * 9) == []
    assert len(hear(side, lane, Position(1), Message("x"))) == 6
    assert side.received == 6


def test_what_comes_early_has_a_buffer_to_the_byte() -> None:
    """One that does not fit is dropped, and a smaller one behind it is held, and dropped when the gap is seen."""
    for more in (0, 1):
        side = link(options=SMALL)
        lane = side.lane(overtakes=True)
        hear(side, lane, Position(2), *[Message(M200)] * 4, Message("x" * (128 + more)))
        assert len(hear(side, lane, Position(1), Message("x"))) == 6 - more


def test_what_came_early_makes_room_when_it_is_handed_on() -> None:
    """Of each gap a whole buffer is held, however many there were."""
    side = link(options=SMALL)
    lane = side.lane(overtakes=True)
    for start in (1, 7, 13):
        hear(side, lane, Position(start + 1), *[Message(M200)] * 6)
        assert len(hear(side, lane, Position(start), Message("x"))) == 6
        for packet in [Message("x"), *[Message(M200)] * 5]:
            side.taken(size_of(side, packet))
    assert side.inbox_size == 0


def test_an_inbox_holds_one_and_a_half_buffers_to_the_byte() -> None:
    """What just fits is taken, and what is larger by one byte ends its transport, or comes again."""
    for more in (0, 1):
        for overtakes in (False, True):
            side = link(options=SMALL)
            lane = side.lane(overtakes=overtakes)
            hear(side, lane, Position(1), *[Message(M200)] * 7)
            last = Message("x" * (28 + more))
            if more and not overtakes:
                with pytest.raises(Malformed, match="more was sent than `buffer` allows"):
                    hear(side, lane, last)
            else:
                assert hear(side, lane, last) == [last] * (1 - more)
            assert side.inbox_size == 1500 - 100 * more


def test_an_early_packet_without_room_in_the_inbox_comes_again() -> None:
    """It was held, but the application is behind when its gap is filled: it is not acked."""
    side = link(options=SMALL)
    lane = side.lane(overtakes=True)
    hear(side, lane, Position(6), *[Message(M200)] * 4)
    assert len(hear(side, lane, Position(1), *[Message(M200)] * 5)) == 7
    assert side.inbox_size == 1400
    for _ in range(7):
        side.taken(136)
    assert len(hear(side, lane, Position(8), Message(M200), Message(M200))) == 2


def test_a_message_larger_than_any_room_is_taken_alone() -> None:
    """An empty inbox takes every message, so that none can be stuck."""
    side = link(options=SMALL)
    assert hear(side, side.lane(), Position(1), Message("x" * 1800))
    assert side.ackable == 1


def test_what_is_not_numbered_is_handed_on_as_it_is() -> None:
    """A heartbeat and a farewell have no place in the stream, and need no position."""
    side = link()
    assert hear(side, side.lane(), Heartbeat(), Gone()) == [Heartbeat(), Gone()]
    assert side.received == 0


# ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_close_is_the_last_number() -> None:
    """It comes after everything said, is said again like everything, and ends the link when it is acked."""
    side = link()
    side.send(Message("last words"))
    side.close(4000, "enough")
    side.close(4001, "twice")
    assert side.state is State.CLOSING
    for _ in range(2):
        assert write(side, side.lane()) == [Ack(0), Position(1), Message("last words"), Close(4000, "enough")]
    states: list[State] = []
    for count in (1, 2):
        side.confirm(count)
        states.append(side.state)
    assert states == [State.CLOSING, State.CLOSED]


def test_who_hears_a_close_only_acks() -> None:
    """What it had to say is reported, not said; the transport is finished once the ack is written."""
    side = link()
    lane = side.lane()
    write(side, lane)
    side.send(Message("too late"))
    assert hear(side, lane, Position(1), Message("x"), Close(1000, ""), Message("after"), Message("the end")) == [
        Message("x"),
        Close(1000, ""),
    ]
    assert (side.state, side.received, side.ackable) == (State.CLOSED, 2, 2)
    assert not side.finished(lane)
    assert write(side, lane) == []
    lane.owes = True
    assert write(side, lane) == [Ack(2)]
    assert side.finished(lane)
    assert side.unconfirmed() == ["too late"]


def test_a_transport_that_has_not_acked_the_close_is_not_finished() -> None:
    """Also if the close is the first thing that was ever said, and the transport a new one."""
    side = link()
    hear(side, side.lane(), Position(1), Close(1000, ""))
    lane = side.lane()
    assert not side.finished(lane)
    assert write(side, lane) == [Ack(1), Position(1)]
    assert side.finished(lane)


def test_an_early_packet_behind_a_close_is_never_handed_on() -> None:
    """A client that goes on after its close is not heard, in whatever order it comes."""
    side = link()
    lane = side.lane(overtakes=True)
    hear(side, lane, Position(2), Message("after"))
    assert hear(side, lane, Position(1), Close(1000, "")) == [Close(1000, "")]
    assert side.received == 1


@CODECS
def test_both_may_close(codec: Codec) -> None:
    """Each keeps its own code, and both come to an end."""
    here, there = link(codec), link(codec)
    lanes = here.lane(), there.lane()
    here.close(4001, "here")
    there.close(4002, "there")
    ours, theirs = write(here, lanes[0]), write(there, lanes[1])
    hear(there, lanes[1], *ours)
    hear(here, lanes[0], *theirs)
    for side, said, heard in ((here, 4001, 4002), (there, 4002, 4001)):
        assert side.said is not None
        assert side.heard is not None
        assert (side.said.code, side.heard.code, side.state) == (said, heard, State.CLOSED)


@CODECS
def test_unconfirmed_are_messages_as_the_other_side_would_have_read_them(codec: Codec) -> None:
    """Text, bytes and values, oldest first; what is abandoned stays among them."""
    side = link(codec)
    for packet in (Message("text"), Message(b"bytes"), Request(1, "not a message"), Message({"a": [1]})):
        side.send(packet)
    assert side.unconfirmed() == ["text", b"bytes", {"a": [1]}]
    side.confirm(1)
    side.abandon()
    assert not side.outbox
    side.send(Message("later"))
    assert side.unconfirmed() == [b"bytes", {"a": [1]}, "later"]
    side.abandon()
    assert side.unconfirmed() == [b"bytes", {"a": [1]}, "later"]


def test_a_dropped_packet_is_not_unconfirmed() -> None:
    """A policy dropped it on purpose; the other side is told how many."""
    side = link()
    side.outbox.append(JSON.dumps(Message("loose"), OPTIONS), loose=True)
    side.send(Message("kept"))
    side.outbox.relieve(0)
    assert side.unconfirmed() == ["kept"]
    assert write(side, side.lane()) == [Ack(0), Position(1), Skipped(1), Message("kept")]


def test_its_repr_tells_the_story() -> None:
    """A log line shows state, codec and counts."""
    side = link()
    side.send(Message("x"))
    assert repr(side) == "<Link OPEN json, 1 unconfirmed of 1, 0 received>"


# ── clients without numbers ───────────────────────────────────────────────────────────────────────────────────────


def test_without_acks_what_the_network_took_is_presumed_to_have_arrived() -> None:
    """SockJS has no acks: all but the close is forgotten once it is written, and the close is said to whoever asks."""
    side = Link(SOCKJS, OPTIONS)
    lane = side.lane()
    assert side.pending(lane) == []
    side.send(Message("one"))
    side.close(3000, "done")
    assert not side.finished(lane)
    for frame in side.pending(lane):
        side.wrote(lane, frame)
    assert side.finished(lane)
    side.presume(lane)
    assert side.outbox.confirmed == 1
    (frame,) = side.pending(side.lane())
    assert frame.payload == b'c[3000,"done"]'


def test_presuming_is_not_for_those_who_ack() -> None:
    """In the native protocol nothing is forgotten but by an ack."""
    side = link()
    side.send(Message("x"))
    lane = side.lane()
    write(side, lane)
    side.presume(lane)
    assert len(side.outbox) == 1


def test_without_numbers_what_comes_takes_the_next() -> None:
    """Each message counts as it comes, and the inbox is not bounded here but by the transport that reads."""
    side = Link(RAW, SMALL)
    lane = side.lane()
    assert [packet for packet, _ in side.receive(lane, [(Message(M200), 128)] * 9)] == [Message(M200)] * 9
    assert side.received == 9


def test_without_words_for_it_a_dropped_packet_is_passed_over() -> None:
    """A SockJS client never learns of it, and the numbers go on."""
    side = Link(RAW, OPTIONS)
    for number in range(4):
        side.outbox.append(RAW.dumps(Message(str(number)), OPTIONS), loose=number % 2 == 1)
    side.outbox.relieve(0)
    lane = side.lane()
    said = [frame.payload for frame in side.pending(lane)]
    assert said == [b"0", b"2"]
    for frame in side.pending(lane):
        side.wrote(lane, frame)
    assert not side.has_more(lane)
    alone = Link(RAW, OPTIONS)
    alone.outbox.append(b"gone", loose=True)
    alone.outbox.relieve(0)
    assert alone.pending(alone.lane()) == []


def test_without_numbers_each_frame_stands_for_the_gaps_before_it() -> None:
    """A transport that takes one frame of several, as a poll does, goes on where it stopped, and repeats nothing."""
    side = Link(SOCKJS, OPTIONS)
    for text in ("gone", "kept", "gone too"):
        side.outbox.append(SOCKJS.dumps(Message(text), OPTIONS), loose=text != "kept")
    side.close(3000, "")
    side.outbox.relieve(0)
    lane = side.lane()
    frames = side.pending(lane)
    assert [(frame.payload, frame.packets) for frame in frames] == [(b'a["kept"]', 2), (b'c[3000,""]', 2)]
    side.wrote(lane, frames[0])
    side.presume(lane)
    assert [frame.payload for frame in side.pending(side.lane())] == [b'c[3000,""]']


def test_without_numbers_a_frame_of_several_messages_stands_for_the_gaps_between_them() -> None:
    """As many numbers as there are from its first gap to its last message."""
    side = Link(SOCKJS, OPTIONS)
    for text in ("gone", "1", "gone", "2", "gone"):
        side.outbox.append(SOCKJS.dumps(Message(text), OPTIONS), loose=text == "gone")
    side.close(3000, "")
    side.outbox.relieve(0)
    frames = side.pending(side.lane())
    assert [(frame.payload, frame.packets) for frame in frames] == [(b'a["1","2"]', 4), (b'c[3000,""]', 2)]


def test_without_numbers_a_long_gap_does_not_hide_what_follows() -> None:
    """However many were dropped, the next frame holds what is left: nothing waits behind a gap."""
    side = Link(RAW, OPTIONS)
    for _ in range(20_000):
        side.outbox.append(b"gone", loose=True)
    side.outbox.append(RAW.dumps(Message("here"), OPTIONS))
    side.outbox.relieve(0)
    assert [frame.payload for frame in side.pending(side.lane(), 100)] == [b"here"]


def test_without_numbers_a_gap_takes_no_room_and_gives_none() -> None:
    """A frame keeps to its limit, whatever was dropped before it."""
    side = Link(RAW, OPTIONS)
    for number in range(5):
        side.outbox.append(RAW.dumps(Message("12345"), OPTIONS), loose=number < 3)
    side.outbox.relieve(0)
    lane = side.lane()
    for limit, count in ((13, 1), (14, 2)):
        assert [frame.payload for frame in side.pending(lane, limit)] == [b"12345"] * count


# ── frames that did not arrive ────────────────────────────────────────────────────────────────────────────────────


def many(side: Link, lane: Lane, limit: int | None = None) -> int:
    """Write one frame, and return how many of the messages of 200 bytes were in it; each takes 137 there."""
    return write(side, lane, limit).count(Message(M200))


def test_what_was_lost_is_said_in_a_quarter_until_it_arrives() -> None:
    """Each new transport that begins with the same packet is given a quarter of the frame before, a KiB at least."""
    side = link(options=Options(chunk=16_384))
    for _ in range(300):
        side.send(Message(M200))
    first = side.lane()
    assert [many(side, first) for _ in range(2)] == [119, 119], "what follows on one transport is no repetition"
    assert [many(side, side.lane()) for _ in range(4)] == [29, 7, 7, 7]


def test_a_frame_of_which_a_part_arrived_has_not_passed() -> None:
    """What another transport brought of it says nothing of its size; what is left of it is no repetition."""
    side = link(options=Options(chunk=16_384))
    for _ in range(200):
        side.send(Message(M200))
    assert [many(side, side.lane()) for _ in range(2)] == [119, 29]
    side.confirm(5)
    assert [many(side, side.lane()) for _ in range(3)] == [29, 7, 7]


def test_the_largest_frame_that_has_passed_is_remembered() -> None:
    """A small one that passes later does not make it less; each loss makes it half."""
    side = link(options=Options(chunk=16_384))
    for _ in range(500):
        side.send(Message(M200))
    lane = side.lane()
    for limit, count in ((None, 119), (200, 1)):
        assert many(side, lane, limit) == count
        side.confirm(lane.written)
    assert [many(side, side.lane(), 16_000) for _ in range(4)] == [116, 116, 59, 29]


def test_a_frame_as_large_as_one_that_has_passed_is_not_made_smaller() -> None:
    """It is lost for another reason, or late."""
    side = link()
    for _ in range(30):
        side.send(Message(M200))
    lane = side.lane()
    assert many(side, lane, 1200) == 8
    side.confirm(lane.written)
    assert [many(side, side.lane(), 1200) for _ in range(2)] == [8, 8]


@pytest.mark.parametrize(("max_batch", "last"), [(16_384, []), (16_385, [119] * 4)])
def test_smaller_frames_grow_again_with_what_arrives(max_batch: int, last: list[int]) -> None:
    """They are twice as large after every fourth ack that tells news, and as large as asked for from `max_batch` on."""
    side = link(options=Options(max_batch=max_batch, max_message=10_000, chunk=16_384))
    for _ in range(1300):
        side.send(Message(M200))
    assert [many(side, side.lane()) for _ in range(3)] == [119, 29, 7]
    lane = side.lane()
    counts: list[int] = []
    expected = [7] * 4 + [14] * 4 + [29] * 4 + [59] * 4 + last + [291]
    for _ in expected:
        counts.append(many(side, lane, 40_000))
        for _ in range(3):
            side.confirm(lane.written)
    assert counts == expected


# ── the outbox's newer parts ──────────────────────────────────────────────────────────────────────────────────────


def test_a_dropped_packet_counts_what_its_word_takes() -> None:
    """`["k",1]` and what joins it: so that a frame with gaps keeps to its limit too."""
    outbox = Outbox()
    for words in (b"a", b"b"):
        outbox.append(words, loose=words == b"a")
    outbox.relieve(0)
    assert outbox.since(0, GAP + 2) == [None]
    assert outbox.since(0, GAP + 3) == [None, b"b"]
    assert len(JSON.dumps(Skipped(1), OPTIONS)) == GAP


@pytest.mark.parametrize("size", [0, 1, 50, 400])
def test_one_frame_more_finds_room_with_who_has_stopped_to_read(size: int) -> None:
    """Whatever is said beyond a buffer, by a broadcast, and however small it is: overheads count as they do there."""
    options = Options(buffer=4096, max_message=4096, max_batch=8192)
    here, there = link(options=options), link(options=options)
    for _ in range(300):
        here.send(Message("x" * size))
    ours, theirs = here.lane(), Lane()
    while there.inbox_size < options.buffer:  # then its transport stops to read
        for frame in here.pending(ours):
            here.wrote(ours, frame)
            list(there.receive(theirs, JSON.loads(frame.payload, options)))
    assert there.inbox_size <= options.buffer * 3 // 2
