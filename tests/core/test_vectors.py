"""Runs the shared vectors of tests/vectors (their format: the README there) against the Python core."""

from __future__ import annotations

import base64
import json
from collections import deque
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from hybridws.core.codec import JSON, MSGPACK, Codec, from_array, to_array
from hybridws.core.link import Lane, Link
from hybridws.core.outbox import Outbox
from hybridws.core.packets import NUMBERED, Message, Packet, Skipped
from hybridws.core.streams import EventReader
from hybridws.errors import Malformed, MessageTooLarge, TooLarge, Unsendable
from hybridws.options import Options
from hybridws.transports.downlinks import EVENTS, STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hybridws.core.codec import Batch

VECTORS = Path(__file__).parents[1] / "vectors"
OPTIONS = Options()
CODECS = {"json": JSON, "msgpack": MSGPACK}
FAULTS = {"malformed": Malformed, "unsendable": Unsendable, "too large": MessageTooLarge}

PACKETS = json.loads((VECTORS / "packets.json").read_text("utf-8"))
BATCHES = json.loads((VECTORS / "batches.json").read_text("utf-8"))
SSE = json.loads((VECTORS / "sse.json").read_text("utf-8"))
OUTBOXES = json.loads((VECTORS / "outbox.json").read_text("utf-8"))
LINKS = json.loads((VECTORS / "links.json").read_text("utf-8"))


def cases(rows: Iterable[Any]) -> list[Any]:
    """Give each case the id by which it is found in its file."""
    return [pytest.param(row, id=ascii(row.get("name", row) if isinstance(row, dict) else row)[:80]) for row in rows]


# ── packets and batches ───────────────────────────────────────────────────────────────────────────────────────────


def packed(value: object) -> str:
    """Write any value in msgpack, as hex."""
    return bytes(msgpack.Packer().pack(value)).hex()


def packet_of(array: list[Any]) -> Packet:
    """Read a packet as the vectors write it: bytes as ["b", base64], whatever the codec."""
    if array[0] == "b":
        return Message(base64.b64decode(array[1]))
    packet = from_array(array)
    assert packet is not None
    return packet


def array_of(packet: Packet) -> list[Any]:
    """Write a packet as the vectors do."""
    if isinstance(packet, Message) and isinstance(packet.value, bytes):
        return ["b", base64.b64encode(packet.value).decode()]
    return to_array(packet)


def data_of(codec: str, words: str) -> bytes:
    """Read the words of a case: JSON as it is, msgpack in hex."""
    return words.encode() if codec == "json" else bytes.fromhex(words)


def read(codec: str, words: str, options: Options = OPTIONS) -> list[list[Any]]:
    """Decode a batch to arrays."""
    return [array_of(packet) for packet, _ in CODECS[codec].loads(data_of(codec, words), options)]


def options_of(row: dict[str, Any]) -> Options:
    """Make the options of a case."""
    return Options(**row.get("options", {}))


@pytest.mark.parametrize("row", cases(PACKETS["good"]))
def test_packets_and_their_bytes(row: dict[str, Any]) -> None:
    """A packet has one meaning and, in each codec, one encoding, byte for byte; it takes as many numbers as it says."""
    packet = packet_of(row["packet"])
    kind = "bytes" if row["packet"][0] == "b" else type(packet).__name__.lower()
    assert kind == row["kind"]
    if kind == "bytes":
        assert row["fields"] == {"base64": row["packet"][1]}
    else:
        assert {name: getattr(packet, name) for name in packet.__match_args__} == row["fields"]
    assert row["numbers"] == (packet.many if isinstance(packet, Skipped) else int(type(packet) in NUMBERED))
    for name, codec in CODECS.items():
        words = data_of(name, row[name])
        assert codec.dumps(packet, OPTIONS) == words
        assert codec.loads(words, OPTIONS) == [(packet, len(words))]
        assert codec.read(words) == packet


@pytest.mark.parametrize("row", cases(PACKETS["also"]))
def test_other_ways_to_write_a_packet_are_understood(row: dict[str, Any]) -> None:
    """White space, escapes and lengths that we would not write are fine."""
    assert read(row["codec"], row["words"]) == [row["packet"]]


@pytest.mark.parametrize("array", cases(PACKETS["unknown"]))
def test_unknown_kinds_are_passed_over(array: list[Any]) -> None:
    """A kind that comes with a later version changes nothing."""
    assert read("json", json.dumps(array)) == []
    assert read("msgpack", packed(array)) == []


@pytest.mark.parametrize("row", cases(PACKETS["malformed"]))
def test_malformed_packets_are_refused(row: dict[str, Any]) -> None:
    """What is no packet ends its transport, whatever is wrong with it."""
    if "packet" in row:
        row_by_codec = {"json": json.dumps(row["packet"]), "msgpack": packed(row["packet"])}
    else:
        row_by_codec = {row["codec"]: row["words"]}
    for codec, words in row_by_codec.items():
        with pytest.raises(Malformed):
            read(codec, words)


@pytest.mark.parametrize("row", cases(PACKETS["malformed_unless_1.0_is_1"]))
def test_floats_are_no_counts(row: dict[str, Any]) -> None:
    """Where 1.0 and 1 are two things, a count is the latter."""
    for codec in CODECS:
        with pytest.raises(Malformed):
            read(codec, row[codec])


@pytest.mark.parametrize("row", cases(PACKETS["unsendable"]))
def test_what_cannot_be_said_is_the_senders_error(row: dict[str, Any]) -> None:
    """A value that the other side could not hold is refused before it gets a number."""
    for codec in CODECS.values():
        with pytest.raises(Unsendable):
            codec.dumps(Message(row["packet"][1]), OPTIONS)


@pytest.mark.parametrize("row", cases(BATCHES["good"]))
def test_batches_and_their_bytes(row: dict[str, Any]) -> None:
    """A batch has one encoding in each codec, byte for byte."""
    for name, codec in CODECS.items():
        words = data_of(name, row[name])
        assert b"".join(frame.payload for frame in codec.frames(encoded(codec, row["packets"]))) == words
        assert read(name, row[name]) == row["packets"]


def encoded(codec: Codec, arrays: list[list[Any]]) -> list[bytes]:
    """Encode packets."""
    return [codec.dumps(packet_of(array), OPTIONS) for array in arrays]


@pytest.mark.parametrize("row", cases(BATCHES["also"]))
def test_other_ways_to_write_a_batch_are_understood(row: dict[str, Any]) -> None:
    """Empty lines, padding and unknown kinds are passed over."""
    assert read(row["codec"], row["words"]) == row["packets"], row["why"]


@pytest.mark.parametrize("row", cases(BATCHES["malformed"]))
def test_malformed_batches_are_refused_whole(row: dict[str, Any]) -> None:
    """One fault, and nothing of the batch is taken."""
    with pytest.raises(Malformed):
        read(row["codec"], row["words"], options_of(row))


@pytest.mark.parametrize("row", cases(BATCHES["too_large"]))
def test_too_large_messages_are_told_from_malformed_ones(row: dict[str, Any]) -> None:
    """A message over the limit has a fault of its own; one that just fits has none."""
    with pytest.raises(TooLarge):
        read(row["codec"], row["words"], options_of(row))
    fits = {name: value + 1 for name, value in row["options"].items()}
    assert len(read(row["codec"], row["words"], Options(**fits))) == 1


# ── server-sent events ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("row", cases(SSE["write"]))
def test_batches_as_events(row: dict[str, Any]) -> None:
    """A batch is one event, a line a packet; the address for EventSource puts the count before it."""
    payload = JSON.frames(encoded(JSON, row["packets"]))[0].payload
    assert STREAMS["json"].wrap(payload, "").decode() == row["event"]
    assert EVENTS.wrap(payload, "12").decode() == row["with_id"]
    for event in (row["event"], row["with_id"]):
        assert EventReader(1000).feed(event.encode()) == [payload]


@pytest.mark.parametrize("row", cases(SSE["read"]))
def test_events_are_read_however_they_are_cut(row: dict[str, Any]) -> None:
    """Whole, cut in two at any byte, or byte by byte: the same events come out."""
    stream = row["stream"].encode()
    cuts = [[stream[:at], stream[at:]] for at in range(len(stream) + 1)]
    for chunks in [*cuts, [stream[at : at + 1] for at in range(len(stream))]]:
        reader = EventReader(1000)
        assert [event.decode() for chunk in chunks for event in reader.feed(chunk)] == row["events"]


# ── scripts ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("row", cases(OUTBOXES))
def test_outbox_scripts(row: dict[str, Any]) -> None:
    """An outbox does, step by step, what the script says."""
    outbox = Outbox()
    for place, step in enumerate(row["steps"]):
        match step:
            case {"append": words, "is": number}:
                got: object = outbox.append(words.encode(), loose=step.get("loose", False), key=step.get("key"))
                expected: object = number
            case {"since": cursor, "limit": limit, "is": words}:
                got = [word and word.decode() for word in outbox.since(cursor, limit)]
                expected = words
            case {"confirm": count, "is": changed}:
                got, expected = outbox.confirm(count), changed
            case {"relieve": room, "is": dropped}:
                got, expected = outbox.relieve(room, step.get("key")), dropped
            case {"state": state}:
                got, expected = {name: getattr(outbox, name) for name in state}, state
            case _:
                pytest.fail(f"step {place} {step} is none that there is")
        assert got == expected, f"step {place}: {step}"


class Script:
    """One link under a script: its transports by name, and the messages that its application has not taken."""

    def __init__(self, codec: Codec, options: Options) -> None:
        """Start a conversation in which nothing was said."""
        self.codec = codec
        self.options = options
        self.link = Link(codec, options)
        self.lanes: dict[str, Lane] = {}
        self.inbox: deque[tuple[Packet, int]] = deque()

    def play(self, step: dict[str, Any]) -> tuple[object, object]:
        """Do one step; return what came of it and what should have."""
        verb = next(iter(step))
        expected = step[EXPECTED[verb]] if verb in EXPECTED else step.get("is")
        if "fault" not in step or verb == "receive":
            return VERBS[verb](self, step), expected
        with pytest.raises(FAULTS[step["fault"]]):
            VERBS[verb](self, step)
        return None, None

    def send(self, step: dict[str, Any]) -> int:
        """Say one packet."""
        packet = packet_of(step["send"])
        if "loose" in step or "key" in step:
            words = self.codec.dumps(packet, self.options)
            return self.link.outbox.append(words, loose=step.get("loose", False), key=step.get("key"))
        return self.link.send(packet)

    def attach(self, step: dict[str, Any]) -> None:
        """Make the lane of a new transport."""
        lane = self.link.lane(overtakes=step.get("overtakes", False))
        lane.on_trial = step.get("trial", False)
        self.lanes[step["lane"]] = lane

    def promote(self, step: dict[str, Any]) -> None:
        """End a transport's trial."""
        self.lanes[step["promote"]].on_trial = False

    def owe(self, step: dict[str, Any]) -> None:
        """Make an ack due."""
        self.lanes[step["owe"]].owes = True

    def take(self, _step: dict[str, Any]) -> object:
        """Let the application take its oldest message."""
        packet, size = self.inbox.popleft()
        self.link.taken(size)
        return array_of(packet)[1]

    @staticmethod
    def plain(value: object) -> object:
        """Write a value as the vectors do."""
        return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value

    def write(self, step: dict[str, Any]) -> list[list[Any]] | None:
        """Return what a transport says next, as arrays, None for nothing; a mere peek leaves it to be said."""
        limit = step.get("limit")
        lane = self.lanes[step.get("write") or step["peek"]]
        frames = self.link.pending(lane, limit)
        if not frames:
            return None
        (frame,) = frames
        batch = self.codec.loads(frame.payload, OPTIONS)
        numbered = [packet for packet, _ in batch if type(packet) in NUMBERED]
        assert frame.packets == sum(packet.many if isinstance(packet, Skipped) else 1 for packet in numbered)
        assert len(frame.payload) <= (limit or self.options.chunk) or len(numbered) <= 1
        if "write" in step:
            self.link.wrote(lane, frame)
        return [array_of(packet) for packet, _ in batch]

    def receive(self, step: dict[str, Any]) -> list[list[Any]]:
        """Let a transport bring a batch; return what of it is new, also if the batch ends in a fault."""
        frames = self.codec.frames([self.codec.dumps(packet_of(array), self.options) for array in step["batch"]])
        batch = self.codec.loads(frames[0].payload, self.options)
        new: Batch = []
        fault = pytest.raises(FAULTS[step["fault"]]) if "fault" in step else nullcontext()
        with fault:
            new.extend(self.link.receive(self.lanes[step["receive"]], batch))
        self.inbox += [item for item in new if isinstance(item[0], Message)]
        return [array_of(packet) for packet, _ in new]

    def known(self) -> dict[str, object]:
        """Tell all that a script may ask about the state."""
        link = self.link
        return {
            "state": link.state.name,
            "received": link.received,
            "ackable": link.ackable,
            "inbox": link.inbox_size,
            "confirmed": link.outbox.confirmed,
            "last": link.outbox.last,
            "full": link.full,
            "said": link.said and list(link.said),
            "heard": link.heard and list(link.heard),
        }


VERBS: dict[str, Callable[[Script, dict[str, Any]], object]] = {
    "send": Script.send,
    "lane": Script.attach,
    "promote": Script.promote,
    "owe": Script.owe,
    "write": Script.write,
    "peek": Script.write,
    "receive": Script.receive,
    "take": Script.take,
    "confirm": lambda script, step: script.link.confirm(step["confirm"]),
    "relieve": lambda script, step: script.link.outbox.relieve(step["relieve"]),
    "close": lambda script, step: script.link.close(*step["close"]),
    "abandon": lambda script, _step: script.link.abandon(),
    "end": lambda script, _step: script.link.end(),
    "unconfirmed": lambda script, _step: [script.plain(value) for value in script.link.unconfirmed()],
    "has_more": lambda script, step: script.link.has_more(script.lanes[step["has_more"]]),
    "finished": lambda script, step: script.link.finished(script.lanes[step["finished"]]),
    "ack_due": lambda script, step: script.link.ack_due(script.lanes[step["ack_due"]]),
    "state": lambda script, step: {name: script.known()[name] for name in step["state"]},
}
"""What a step may be: its first key, and what it does."""

EXPECTED = {"receive": "new", "take": "take", "unconfirmed": "unconfirmed", "state": "state"}
"""Where a step says what should come of it, if not under "is"."""


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("row", cases(LINKS))
def test_link_scripts(row: dict[str, Any], codec: str) -> None:
    """A link does, step by step, what the script says; a script that counts bytes names its codec."""
    script = Script(CODECS[row.get("codec", codec)], options_of(row))
    for place, step in enumerate(row["steps"]):
        got, expected = script.play(step)
        assert got == expected, f"step {place}: {step}"
