"""The two native codecs: what goes in comes out, and what was never put in is refused with the reason."""

from __future__ import annotations

import base64
import json
import struct
from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridws.core.codec import BINARY, JSON, MSGPACK, TEXT, Codec, Frame, from_array, shared, to_array
from hybridws.core.packets import (
    NUMBERED,
    Ack,
    Attach,
    Auth,
    Close,
    Error,
    Gone,
    Heartbeat,
    Hello,
    Message,
    Open,
    Packet,
    Position,
    Refuse,
    Reply,
    Request,
    Skipped,
)
from hybridws.core.values import LONG
from hybridws.errors import Malformed, MessageTooLarge, TooLarge, Unsendable
from hybridws.options import Options

if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONS = Options()
CODECS = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)


def pack(value: object) -> bytes:
    """Write any value as msgpack, ours or not."""
    words = msgpack.packb(value)
    assert isinstance(words, bytes)
    return words


# ── every packet there is ─────────────────────────────────────────────────────────────────────────────────────────

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1 - 2**53, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
MAPS = st.dictionaries(TEXTS, VALUES, max_size=3)
COUNTS = st.integers(0, 2**53 - 1)
NUMBERS = st.integers(1, 2**53 - 1)
CODES = st.integers(1000, 4999)
PACKETS: st.SearchStrategy[Packet] = st.one_of(
    st.builds(Hello, MAPS),
    st.builds(Open, MAPS),
    st.builds(Attach, TEXTS, TEXTS, COUNTS, COUNTS, MAPS),
    st.builds(Position, NUMBERS),
    st.builds(Message, VALUES | st.binary(max_size=20)),
    st.builds(Request, COUNTS, VALUES),
    st.builds(Reply, COUNTS, VALUES),
    st.builds(Error, COUNTS, CODES, TEXTS),
    st.builds(Auth, VALUES),
    st.builds(Skipped, NUMBERS),
    st.builds(Ack, COUNTS),
    st.just(Heartbeat()),
    st.builds(Close, CODES, TEXTS),
    st.just(Gone()),
    st.builds(Refuse, CODES, TEXTS, MAPS),
)


def carried(codec: Codec, *packets: Packet) -> str | bytes:
    """Encode packets to one body."""
    frames = codec.frames([codec.dumps(packet, OPTIONS) for packet in packets])
    assert len(frames) == 1
    return frames[0].payload


@CODECS
@settings(max_examples=50)
@given(packets=st.lists(PACKETS, min_size=1, max_size=4))
def test_packets_come_out_as_they_went_in(codec: Codec, packets: list[Packet]) -> None:
    """Any batch of any packets survives: kinds, values, order; and each is counted for its own bytes."""
    words = [codec.dumps(packet, OPTIONS) for packet in packets]
    (frame,) = codec.frames(words)
    assert frame.packets == len(packets)
    batch = codec.loads(frame.payload, OPTIONS)
    assert [packet for packet, _ in batch] == packets
    assert [type(packet) for packet, _ in batch] == [type(packet) for packet in packets]
    assert [size for _, size in batch] == [len(word) for word in words]
    assert [codec.read(word) for word in words] == packets


@CODECS
def test_each_kind_of_bytes_arrives_as_bytes(codec: Codec) -> None:
    """A bytearray or a memoryview is sent as what it holds."""
    for value in (b"\x00\xff", bytearray(b"\x00\xff"), memoryview(b"\x00\xff"), b""):
        ((packet, _),) = codec.loads(carried(codec, Message(value)), OPTIONS)
        assert packet == Message(bytes(value))


@CODECS
def test_text_keeps_every_character(codec: Codec) -> None:
    """Newlines, NUL, U+2028 and what is outside the basic plane are data, not framing."""
    text = 'a\nb\r\n\x00\u2028\u2029"\\😀\ufeff\uffff'
    batch = codec.loads(carried(codec, Message(text), Message({text: [text]})), OPTIONS)
    assert [packet for packet, _ in batch] == [Message(text), Message({text: [text]})]


@CODECS
@pytest.mark.parametrize("size", [LONG - 10, LONG, 2 * LONG])
def test_a_long_text_keeps_every_character_too(codec: Codec, size: int) -> None:
    """It is read in another way than short ones, and with what stands beside it."""
    for fragile in ("", "\\", "\\u0041", '"', '"]', "\n", "\x00", "\x1f", "\x7f", "é", "😀"):
        text = "x" * size + fragile
        batch = codec.loads(carried(codec, Ack(1), Message(text), Message("y")), OPTIONS)
        assert [packet for packet, _ in batch] == [Ack(1), Message(text), Message("y")]


@pytest.mark.parametrize("size", [0, LONG - 10, LONG, 2 * LONG])
@pytest.mark.parametrize("broken", ["\x00", "\x1f", "\t", '"', "\\", "\\ud800", "\\u12", '",'])
def test_a_text_is_read_as_strictly_whatever_its_length(size: int, broken: str) -> None:
    """What JSON does not allow inside a text is refused in a long one as well."""
    with pytest.raises(Malformed):
        JSON.loads(f'["m","{"x" * size}{broken}{"x" * size}"]', OPTIONS)


@given(st.lists(st.lists(st.sampled_from([b"1", b"2", b"33"]), min_size=1, max_size=3), max_size=12))
def test_what_is_joined_again_is_joined_once(said: list[list[bytes]]) -> None:
    """And nothing else is ever given for it, whatever was joined before."""
    joined: list[list[bytes]] = []

    def join(words: Sequence[bytes]) -> list[Frame]:
        joined.append(list(words))
        return [Frame(TEXT, b"\n".join(words), len(words))]

    frames = shared(join)
    assert [frames(list(words)) for words in said] == [[Frame(TEXT, b"\n".join(words), len(words))] for words in said]
    assert joined == [words for words, _ in groupby(said)]


def test_json_is_lines_of_text_and_msgpack_is_bytes() -> None:
    """The words are joined as docs/protocol.md says: by a newline, or by nothing."""
    assert JSON.frames([b"1", b"2"]) == [Frame(TEXT, b"1\n2", 2)]
    assert MSGPACK.frames([b"1", b"2"]) == [Frame(BINARY, b"12", 2)]
    assert JSON.dumps(Message("é"), OPTIONS) == '["m","é"]'.encode()
    assert JSON.dumps(Message(b"hi"), OPTIONS) == b'["b","aGk="]'
    assert JSON.dumps(Heartbeat(), OPTIONS) == b'["h"]'
    assert MSGPACK.dumps(Message("hi"), OPTIONS) == b"\x92\xa1m\xa2hi"


def test_text_from_a_websocket_is_read_as_bytes_are() -> None:
    """JSON may come as a text frame or as a body; blank lines between packets mean nothing."""
    assert JSON.loads('["m",1]\n\n["h"]\n', OPTIONS) == JSON.loads(b'["m",1]\n["h"]', OPTIONS)
    assert JSON.loads("", OPTIONS) == []
    assert MSGPACK.loads(b"", OPTIONS) == []


def test_a_trailing_map_that_is_empty_does_not_travel() -> None:
    """`Attach` and `Refuse` leave it out, and either form is read."""
    for packet in (Attach("s", "k", 1, 2, {}), Refuse(4400, "no", {})):
        array = to_array(packet)
        assert len(array) == len(packet)
        assert from_array(array) == packet
        assert from_array([*array, {}]) == packet
    assert to_array(Refuse(4400, "no", {"retry": 1})) == ["x", 4400, "no", {"retry": 1}]


def test_a_close_and_all_before_it_are_numbered_and_steering_is_not() -> None:
    """What carries the application's stream takes a number each; what steers a transport takes none."""
    steering = {Hello, Open, Attach, Position, Ack, Heartbeat, Gone, Refuse}
    assert not steering & NUMBERED
    assert len(steering | NUMBERED) == 15


def test_padding_between_msgpack_packets_means_nothing() -> None:
    """A nil is padding (docs/protocol.md), and what it takes is nobody's size."""
    words = MSGPACK.dumps(Message("hi"), OPTIONS)
    assert MSGPACK.loads(b"\xc0" + words + b"\xc0\xc0" + words + b"\xc0", OPTIONS) == [(Message("hi"), len(words))] * 2


@CODECS
def test_a_kind_that_is_not_known_yet_is_passed_over(codec: Codec) -> None:
    """A newer peer may say more; what is around it counts."""
    later = b'["z",1,2]' if codec is JSON else pack(["z", 1, 2])
    words = codec.dumps(Message("hi"), OPTIONS)
    body = codec.frames([words, later, words])[0].payload
    assert codec.loads(body, OPTIONS) == [(Message("hi"), len(words))] * 2


# ── what cannot be sent ───────────────────────────────────────────────────────────────────────────────────────────


@CODECS
@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        [float("inf")],
        2**53,
        {1: 2},
        [b"inside"],
        {"a": {1, 2}},
        object,
        "\ud800",
        ["\udfff"],
        {"\ud83d": 1},
    ],
    ids=ascii,
)
def test_what_cannot_travel_is_refused_to_the_sender(codec: Codec, value: object) -> None:
    """NaN, 2^53, odd keys, bytes inside a value and lone surrogates are Unsendable, in one sentence."""
    with pytest.raises(Unsendable, match=r"^this message cannot be sent: ") as error:
        codec.dumps(Message(value), OPTIONS)
    assert error.type is Unsendable, "not MessageTooLarge, which is one"


@CODECS
def test_a_message_over_max_message_is_refused_to_the_sender(codec: Codec) -> None:
    """The limit holds for the bytes as encoded: one more and nothing is sent."""
    size = len(codec.dumps(Message("x" * 100), OPTIONS))
    codec.dumps(Message("x" * 100), Options(max_message=size))
    with pytest.raises(MessageTooLarge, match="max_message"):
        codec.dumps(Message("x" * 100), Options(max_message=size - 1))
    with pytest.raises(MessageTooLarge):
        codec.dumps(Message(b"x" * 300), Options(max_message=200))


def deep(levels: int) -> object:
    """Put a number into so many lists."""
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


@CODECS
@pytest.mark.parametrize(
    "value",
    [deep(32), list(range(10_000)), {"a": list(range(9_999))}],
    ids=["max_depth", "max_elements", "max_elements in a map"],
)
def test_what_the_sender_may_send_the_receiver_takes(codec: Codec, value: object) -> None:
    """Limits are those of the value, at both ends and in both codecs: the packet around it counts for nothing."""
    words = codec.dumps(Message(value), OPTIONS)
    assert codec.loads(words, OPTIONS) == [(Message(value), len(words))]
    request = codec.dumps(Request(1, value), OPTIONS)
    assert codec.loads(request, OPTIONS) == [(Request(1, value), len(request))]


@CODECS
@pytest.mark.parametrize("value", [deep(33), list(range(10_001))], ids=["max_depth", "max_elements"])
def test_what_is_over_the_limits_is_refused_at_both_ends(codec: Codec, value: object) -> None:
    """One level or one element more is Unsendable here and Malformed there, in the same words."""
    for packet in (Message(value), Request(1, value)):
        with pytest.raises(Unsendable, match=r"max_depth|max_elements"):
            codec.dumps(packet, OPTIONS)
        words = json.dumps(list(to_array(packet))).encode() if codec is JSON else pack(to_array(packet))
        with pytest.raises(Malformed, match=r"max_depth|max_elements|max_array_len"):
            codec.loads(words, OPTIONS)


# ── what must not come ────────────────────────────────────────────────────────────────────────────────────────────

WRONG_SHAPES: list[list[Any]] = [
    ["i"],
    ["i", 1],
    ["i", {}, 1],
    ["i", []],
    ["o"],
    ["o", None],
    ["@"],
    ["@", "s"],
    ["@", "s", "k", 1],
    ["@", 1, "k", 1, 0],
    ["@", "s", None, 1, 0],
    ["@", "s", "k", -1, 0],
    ["@", "s", "k", 1, 0.0],
    ["@", "s", "k", True, 0],
    ["@", "s", "k", 1, 0, []],
    ["@", "s", "k", 1, 0, {}, {}],
    ["#"],
    ["#", 0],
    ["#", -1],
    ["#", "1"],
    ["#", 1.0],
    ["#", True],
    ["#", None],
    ["m"],
    ["m", 1, 2],
    ["q", 1],
    ["q", "1", 2],
    ["q", True, 2],
    ["q", -1, 2],
    ["q", 1, 2, 3],
    ["r"],
    ["r", None, 1],
    ["r", 1.5, 1],
    ["e", 1, 4000],
    ["e", 1, 999, "x"],
    ["e", 1, 5000, "x"],
    ["e", 1, True, "x"],
    ["e", 1, 4000, None],
    ["u"],
    ["u", 1, 2],
    ["k"],
    ["k", 0],
    ["k", False],
    ["k", 1, 1],
    ["a"],
    ["a", -1],
    ["a", "0"],
    ["a", True],
    ["a", 0.5],
    ["a", None],
    ["a", 0, 0],
    ["h", 1],
    ["h", None],
    ["c"],
    ["c", 1000],
    ["c", 999, ""],
    ["c", 5000, ""],
    ["c", "1000", ""],
    ["c", True, ""],
    ["c", 1000, 1],
    ["c", 1000, None],
    ["c", 1000, "", ""],
    ["d", 1],
    ["x"],
    ["x", 4400],
    ["x", 4400, "no", []],
    ["x", 4400, "no", {}, {}],
    ["x", 0, "no"],
    ["x", 4400, 1],
]


@CODECS
def test_each_kind_has_one_shape(codec: Codec) -> None:
    """A missing, surplus or ill-typed item is refused by its kind's name; a bool is no number, nor is 1.0."""
    assert {array[0] for array in WRONG_SHAPES} == set("io@#mqreukahcdx")
    for array in WRONG_SHAPES:
        body = json.dumps(array).encode() if codec is JSON else pack(array)
        with pytest.raises(Malformed) as error:
            codec.loads(body, OPTIONS)
        assert error.value.reason == f"a packet of kind '{array[0]}' has the wrong shape", array


NO_PACKETS: list[tuple[Any, str]] = [
    (1, "an array that begins with its kind"),
    ("m", "an array that begins with its kind"),
    ({}, "an array that begins with its kind"),
    (True, "an array that begins with its kind"),
    ([], "an array that begins with its kind"),
    ([1], "an array that begins with its kind"),
    ([None, 1], "an array that begins with its kind"),
    ([["m", 1]], "an array that begins with its kind"),
    (["", 1], "one letter"),
    (["mm", 1], "one letter"),
    (["M", 1], "one letter"),
    (["é", 1], "one letter"),
    (["1"], "one letter"),
    (["$"], "one letter"),
]


@CODECS
def test_what_is_no_packet_is_refused(codec: Codec) -> None:
    """A packet is an array that begins with one letter, and both codecs say so in the same words."""
    for value, why in NO_PACKETS:
        body = json.dumps(value).encode() if codec is JSON else pack(value)
        with pytest.raises(Malformed) as error:
            codec.loads(body, OPTIONS)
        assert why in error.value.reason, value


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\xff", "not UTF-8"),
        (b'["m","\xed\xa0\x80"]', "not UTF-8"),
        ('["m",1]'.encode("utf-16"), "not UTF-8"),
        (b'\xef\xbb\xbf["m",1]', "broken JSON"),
        (b"null", "an array"),
        (b'["m",1', "broken JSON"),
        (b'["m",1],', "broken JSON"),
        (b'["m",1]["m",2]', "broken JSON"),
        (b'["m",NaN]', "nan has no form in JSON"),
        (b'["m",1e999]', "inf has no form in JSON"),
        (b'["m",9007199254740992]', "2^53"),
        (b'["a",9007199254740992]', "2^53"),
        (b'["a",18446744073709551616]', "2^53"),
        (b'["m",' + b"9" * 5_000 + b"]", "broken JSON"),
        (b'["m","\\ud800"]', "lone surrogate"),
        (b'["m",{"\\udfff":1}]', "lone surrogate"),
        (b'["m","\\ude00\\ud83d"]', "lone surrogate"),
        (b'["c",1000,"\\ud800"]', "lone surrogate"),
        (b'["m",' + b"[" * 1_000 + b"]" * 1_000 + b"]", "max_depth"),
        (b'["m",' + b"[" * 100_000 + b"]" * 100_000 + b"]", "max_depth"),
        (b'["b"]', "wrong shape"),
        (b'["b",1]', "wrong shape"),
        (b'["b",null]', "wrong shape"),
        (b'["b","aGk=",1]', "wrong shape"),
        (b'["b","aGk"]', "no base64"),
        (b'["b","aGk=\\n"]', "no base64"),
        (b'["b","a-_="]', "no base64"),
        (b'["b","!!!!"]', "no base64"),
        ('["b","é"]'.encode(), "no base64"),
    ],
    ids=lambda body: repr(body)[:40],
)
def test_hostile_json_is_malformed(body: bytes, why: str) -> None:
    """Whatever comes is either packets or Malformed with the reason."""
    with pytest.raises(Malformed) as error:
        JSON.loads(body, OPTIONS)
    assert why in error.value.reason


def test_surrogates_in_a_pair_are_one_character() -> None:
    """JSON may write an emoji as two escapes; that is no lone surrogate."""
    assert JSON.loads(b'["m","\\ud83d\\ude00"]', OPTIONS)[0][0] == Message("😀")
    assert JSON.loads(b'["m","\\u00e9\\n"]', OPTIONS)[0][0] == Message("é\n")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\x93\xa1m", "the last packet is cut off"),
        (b"\x92\xa1m", "the last packet is cut off"),
        (b"\x92\xa1m\xda\xff\xffhi", "the last packet is cut off"),
        (b"\x92\xa1m\x01\x92", "the last packet is cut off"),
        (b"\xdd\xff\xff\xff\xff", "broken msgpack"),
        (b"\xdf\xff\xff\xff\xff", "broken msgpack"),
        (b"\xc6\xff\xff\xff\xff", "broken msgpack"),
        (b"\xdb\xff\xff\xff\xff", "broken msgpack"),
        (b"\xc1", "broken msgpack"),
        (b"\x92\xa1m\xc1", "broken msgpack"),
        (b"\x92\xa1m\xa1\xff", "broken msgpack"),
        (b"\x92\xa1m\xa3\xed\xa0\x80", "broken msgpack"),
        (pack(["m", float("nan")]), "nan has no form"),
        (pack(["m", float("-inf")]), "-inf has no form"),
        (pack(["m", 2**53]), "2^53"),
        (pack(["m", 2**64 - 1]), "2^53"),
        (pack(["m", -(2**63)]), "2^53"),
        (pack(["a", 2**53]), "2^53"),
        (pack(["m", [b"inside"]]), "bytes must stand alone"),
        (pack(["q", 1, b"raw"]), "bytes must stand alone"),
        (pack(["c", 1000, b"raw"]), "bytes must stand alone"),
        (pack(["m", msgpack.ExtType(42, b"x")]), "a value was refused"),
        (pack(["m", msgpack.ExtType(42, b"")]), "a value was refused"),
        (pack(["m", msgpack.Timestamp(1)]), "has no form in JSON"),
        (pack(msgpack.ExtType(42, b"x")), ""),
        (pack(b"raw"), ""),
        (pack([b"m", 1]), ""),
        (pack(["m", {1: 1}]), "broken msgpack"),
        (pack(["m", {b"a": 1}]), "keys"),
        (b"\x92\xa1m\x81\x90\x01", "broken msgpack"),
        (b"\x92\xa1m" + b"\x91" * 100 + b"\x01", "max_depth"),
        (b"\x92\xa1m" + b"\x91" * 1_000 + b"\x01", ""),
        (b"\x92\xa1m" + b"\x91" * 100_000 + b"\x01", ""),
        (b"\x92\xa1m" + b"\x81\xa0" * 100_000 + b"\x01", ""),
    ],
    ids=lambda body: repr(body)[:40],
)
def test_hostile_msgpack_is_malformed(body: bytes, why: str) -> None:
    """Cut, bottomless, huge by declaration, extended or unportable: Malformed with the reason, at once."""
    with pytest.raises(Malformed) as error:
        MSGPACK.loads(body, OPTIONS)
    assert why in error.value.reason


def test_msgpack_never_comes_as_text() -> None:
    """A text frame in a session that speaks msgpack is a fault of the client."""
    with pytest.raises(Malformed, match="msgpack got text"):
        MSGPACK.loads("text", OPTIONS)


@CODECS
def test_every_prefix_of_a_body_is_refused_or_shorter(codec: Codec) -> None:
    """A body that was cut anywhere brings the packets before the cut at most, never other ones."""
    packets: list[Packet] = [Message({"a": [1, "é", None]}), Ack(7), Message(b"\x00\xff")]
    body = carried(codec, *packets)
    assert isinstance(body, bytes)
    for cut in range(len(body)):
        try:
            batch = codec.loads(body[:cut], OPTIONS)
        except Malformed:
            continue
        assert [packet for packet, _ in batch] == packets[: len(batch)]
        assert len(batch) < len(packets)


def test_lines_are_bounded_too() -> None:
    """Empty lines are passed over, but of those too there may be as many as packets, and no more."""
    few = Options(max_packets=4)
    assert JSON.loads(b"\n\n\n" + b'["h"]\n' + b"\n\n\n", few) == [(Heartbeat(), 5)]
    with pytest.raises(Malformed, match="max_packets"):
        JSON.loads(b"\n" * 8, few)


@CODECS
def test_max_packets_bounds_a_batch(codec: Codec) -> None:
    """A batch of more is refused whole, with the name of the option."""
    words = [codec.dumps(Ack(n), OPTIONS) for n in range(5)]
    body = codec.frames(words)[0].payload
    assert len(codec.loads(body, Options(max_packets=5))) == 5
    with pytest.raises(Malformed, match="max_packets"):
        codec.loads(body, Options(max_packets=4))


@CODECS
def test_max_message_bounds_each_packet_that_comes(codec: Codec) -> None:
    """One byte over is TooLarge (4413), so that the client knows what to change."""
    words = codec.dumps(Message("é" * 50), OPTIONS)
    assert codec.loads(words, Options(max_message=len(words)))
    with pytest.raises(TooLarge, match="max_message"):
        codec.loads(words, Options(max_message=len(words) - 1))


def test_a_million_empty_lists_are_refused_before_they_are_made() -> None:
    """1 MiB of msgpack would become 64 MB of objects: the count in front of it is believed, and refused."""
    body = b"\x92\xa1m" + b"\xdd" + struct.pack("!I", 2**20) + b"\x90" * 2**20
    with pytest.raises(Malformed, match="broken msgpack"):
        MSGPACK.loads(body, OPTIONS)
    many = pack(["m", [[[]] * 9_000] * 2])
    with pytest.raises(Malformed, match="max_elements"):
        MSGPACK.loads(many, OPTIONS)


@CODECS
@settings(max_examples=50)
@given(st.data())
def test_no_bytes_raise_anything_else(codec: Codec, data: st.DataObject) -> None:
    """Noise, and packets with noise in them, are packets or a refusal; what was read can be sent on."""
    noise = data.draw(st.binary(max_size=60))
    body = carried(codec, *data.draw(st.lists(PACKETS, min_size=1, max_size=2)))
    assert isinstance(body, bytes)
    at = data.draw(st.integers(0, len(body)))
    for hostile in (noise, body[:at] + noise + body[at:], body[:at] + noise):
        try:
            batch = codec.loads(hostile, OPTIONS)
        except (Malformed, TooLarge):
            continue
        for packet, _ in batch:
            assert codec.read(codec.dumps(packet, OPTIONS)) == packet


def test_the_first_packet_of_a_body_is_found_whatever_stands_behind_it() -> None:
    """So a body that cannot be read still tells whose it is; of one that does not even begin with a packet, nothing."""
    assert JSON.first(b'["@",1]\n\xff\n["m"]') == b'["@",1]'
    assert JSON.first(b"alone") == b"alone"
    words = MSGPACK.dumps(Message("hi"), OPTIONS)
    assert MSGPACK.first(words + words + b"\xc1") == words
    for broken in (b"", words[:-1], b"\xc1" + words):
        assert MSGPACK.first(broken) == b""


def test_base64_is_the_standard_alphabet_with_padding() -> None:
    """What `btoa` makes is read; nothing looser is."""
    every = bytes(range(256))
    line = b'["b","%b"]' % base64.b64encode(every)
    assert JSON.loads(line, OPTIONS) == [(Message(every), len(line))]
