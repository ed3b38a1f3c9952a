"""WebSocket frames: every must and must not of RFC 6455 §5, any cut of a stream, and what other readers make of it."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Final, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, SERVER, Protocol

from hybridws.core.codec import BINARY, CLOSE, TEXT
from hybridws.core.frames import MORE, PING, PONG, FrameReader, Writer, close_frame, frame, read_close, xor

Found = list[tuple[int, str | bytes]]

LIMIT: Final = 1000
KEY: Final = b"\x37\xfa\x21\x3d"  # the one of the examples in §5.7
BROKEN: Final = 1002
NO_TEXT: Final = 1007
TOO_BIG: Final = 1009


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True, key: bytes = KEY, form: int = 0) -> bytes:
    """Write a client's frame; `form` 126 or 127 forces a longer way to write the length."""
    size = len(payload)
    form = form or (size if size < 126 else 126 if size < 2**16 else 127)
    length = {126: struct.pack("!H", size & 0xFFFF), 127: struct.pack("!Q", size)}.get(form, b"")
    data = bytearray(payload)
    xor(key, data)
    return bytes([opcode | (0x80 if fin else 0), 0x80 | form]) + length + key + bytes(data)


def read(data: bytes, limit: int = LIMIT) -> tuple[Found, int | None]:
    """Return what a reader finds in bytes that come at once, and the close code if it gives up."""
    reader = FrameReader(limit)
    found = reader.feed(data)
    return found, reader.broken[0] if reader.broken else None


def read_cut(data: bytes, places: list[int], limit: int = LIMIT) -> tuple[Found, int | None]:
    """Do the same with bytes that come cut at these places."""
    reader = FrameReader(limit)
    cuts = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    found = [one for begin, end in pairwise(cuts) for one in reader.feed(data[begin:end])]
    return found, reader.broken[0] if reader.broken else None


# ── §5.2: the head ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_examples_of_the_rfc() -> None:
    """§5.7, those that a client may send."""
    hello = bytes.fromhex("81 85 37 fa 21 3d 7f 9f 4d 51 58")
    assert read(hello) == ([(TEXT, "Hello")], None)
    ping = bytes.fromhex("89 85 37 fa 21 3d 7f 9f 4d 51 58")
    assert read(ping) == ([(PING, b"Hello")], None)
    pong = bytes.fromhex("8a 85 37 fa 21 3d 7f 9f 4d 51 58")
    assert read(pong) == ([(PONG, b"Hello")], None)


def test_the_examples_of_the_rfc_for_a_server() -> None:
    """§5.7, those that a server sends: whole, unmasked, with the shortest length that will do."""
    assert frame(TEXT, b"Hello") == bytes.fromhex("81 05 48 65 6c 6c 6f")
    assert frame(PING, b"Hello") == bytes.fromhex("89 05 48 65 6c 6c 6f")
    assert frame(BINARY, bytes(256)) == bytes.fromhex("82 7e 01 00") + bytes(256)
    assert frame(BINARY, bytes(65536)) == bytes.fromhex("82 7f 00 00 00 00 00 01 00 00") + bytes(65536)


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_every_length_is_written(size: int) -> None:
    """As a client writes it, without the mask."""
    head = masked(BINARY, bytes(size), key=bytes(4))[: -size or None][:-4]
    assert frame(BINARY, bytes(size)) == bytes([head[0], head[1] & 0x7F]) + head[2:] + bytes(size)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70_000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_every_length_is_read(opcode: int, size: int) -> None:
    """At each of the borders between the three ways to write a length (§5.2)."""
    payload = b"x" * size
    expected = payload.decode() if opcode == TEXT else payload
    assert read(masked(opcode, payload), 70_000) == ([(opcode, expected)], None)


@pytest.mark.parametrize(
    ("size", "form"), [(0, 126), (124, 126), (125, 126), (0, 127), (125, 127), (126, 127), (65535, 127)]
)
def test_a_length_takes_as_few_bytes_as_it_can(size: int, form: int) -> None:
    """§5.2: the minimal number of bytes must be used."""
    for opcode in (TEXT, BINARY):
        assert read(masked(opcode, bytes(size), form=form), 70_000) == ([], BROKEN)


def test_a_length_of_64_bits() -> None:
    """§5.2: its highest bit must be 0; refused, like any other that is too long, before a byte of it has come."""
    for length in (2**63, 2**64 - 1, 2**62, LIMIT + 1):
        head = b"\x82\xff" + struct.pack("!Q", max(length, 2**16)) + KEY
        assert read(head) == ([], TOO_BIG)


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
def test_a_client_must_mask(opcode: int) -> None:
    """§5.1: refused at the head, before the payload has come; so is one without a payload."""
    assert read(frame(opcode, b"Hello")) == ([], BROKEN)
    assert read(frame(opcode, b"")) == ([], BROKEN)
    assert read(frame(opcode, b"Hello")[:2]) == ([], BROKEN)
    assert read(frame(opcode, b"") * 3) == ([], BROKEN)


@pytest.mark.parametrize("bits", [0x10, 0x20, 0x40, 0x50, 0x70])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
def test_reserved_bits_must_be_zero(opcode: int, bits: int) -> None:
    """§5.2: no extension that gives them a meaning has been agreed on."""
    assert read(masked(opcode | bits)) == ([], BROKEN)
    assert read(masked(TEXT, b"begun", fin=False) + masked(MORE | bits)) == ([], BROKEN)


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF])
@pytest.mark.parametrize("fin", [True, False])
def test_unknown_opcodes_are_refused(opcode: int, fin: bool) -> None:  # noqa: FBT001 - a parameter
    """§5.2: those that are reserved; between the fragments of a message too."""
    assert read(masked(opcode, fin=fin)) == ([], BROKEN)
    assert read(masked(TEXT, b"begun", fin=False) + masked(opcode, fin=fin)) == ([], BROKEN)


# ── §5.3: the mask ────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.binary(min_size=4, max_size=4), st.binary(max_size=300))
def test_masks_are_taken_off(key: bytes, payload: bytes) -> None:
    """Each byte by the byte of the key that is its place modulo 4; twice is not at all."""
    data = bytearray(payload)
    xor(key, data)
    assert bytes(data) == bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    xor(key, data)
    assert data == payload
    assert read(masked(BINARY, payload, key=key)) == ([(BINARY, payload)], None)


# ── §5.4: fragments ───────────────────────────────────────────────────────────────────────────────────────────────


def test_fragments_make_one_message() -> None:
    """Of the kind that the first one says; they may be empty, also the last."""
    parts = masked(TEXT, b"Hel", fin=False) + masked(MORE, fin=False) + masked(MORE, b"lo", fin=False) + masked(MORE)
    assert read(parts) == ([(TEXT, "Hello")], None)
    parts = masked(BINARY, fin=False) + masked(MORE, b"\xff")
    assert read(parts + masked(TEXT, b"next")) == ([(BINARY, b"\xff"), (TEXT, "next")], None)


def test_control_frames_may_come_between_fragments() -> None:
    """They are given at once; the message goes on (§5.4)."""
    parts = masked(TEXT, b"Hel", fin=False) + masked(PING, b"1") + masked(MORE, b"l", fin=False) + masked(PONG)
    assert read(parts + masked(MORE, b"o")) == ([(PING, b"1"), (PONG, b""), (TEXT, "Hello")], None)
    assert read(parts + masked(CLOSE)) == ([(PING, b"1"), (PONG, b""), (CLOSE, b"")], None)


@pytest.mark.parametrize("fin", [True, False])
def test_nothing_goes_on_that_has_not_begun(fin: bool) -> None:  # noqa: FBT001 - a parameter
    """§5.4: a continuation follows a fragment; after a whole message there is nothing to continue."""
    assert read(masked(MORE, b"?", fin=fin)) == ([], BROKEN)
    assert read(masked(TEXT, b"whole") + masked(MORE, b"?", fin=fin)) == ([(TEXT, "whole")], BROKEN)
    ended = masked(TEXT, b"a", fin=False) + masked(MORE, b"b")
    assert read(ended + masked(MORE, b"?", fin=fin)) == ([(TEXT, "ab")], BROKEN)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("begun", [b"begun", b""])
def test_fragments_of_two_messages_are_not_mixed(opcode: int, fin: bool, begun: bytes) -> None:  # noqa: FBT001 - as above
    """§5.4: a message has ended before the next begins, though nothing was in it."""
    first, second = masked(TEXT, begun, fin=False), masked(opcode, b"?", fin=fin)
    assert read(first + second) == ([], BROKEN)
    assert read_cut(first + second, [len(first)]) == ([], BROKEN)


# ── §5.5: control frames ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_control_frames_are_whole_and_short(opcode: int) -> None:
    """§5.5: not fragmented, 125 bytes at most; refused at the head."""
    assert read(masked(opcode, fin=False)) == ([], BROKEN)
    assert read(masked(opcode, bytes(126))[:2]) == ([], BROKEN)
    assert read(masked(opcode, b"", form=126)[:2]) == ([], BROKEN)
    assert read(masked(opcode, b"", form=127)[:2]) == ([], BROKEN)


@pytest.mark.parametrize("opcode", [PING, PONG])
def test_pings_and_pongs_carry_any_bytes(opcode: int) -> None:
    """0 to 125 of them, UTF-8 or not."""
    for payload in (b"", b"\xff" * 125):
        assert read(masked(opcode, payload)) == ([(opcode, payload)], None)


def test_control_frames_are_not_counted_as_the_message() -> None:
    """A message that has nearly reached the limit may be interrupted by a ping, and a limit may be below a ping."""
    parts = masked(BINARY, bytes(LIMIT), fin=False) + masked(PING, bytes(125)) + masked(MORE)
    assert read(parts) == ([(PING, bytes(125)), (BINARY, bytes(LIMIT))], None)
    for opcode, payload in ((PING, bytes(125)), (CLOSE, struct.pack("!H", 1000) + bytes(123))):
        assert read(masked(opcode, payload), 10) == ([(opcode, payload)], None)


# ── §5.5.1, §7.4: the close ───────────────────────────────────────────────────────────────────────────────────────

ALLOWED: Final = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
FORBIDDEN: Final = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.mark.parametrize("code", ALLOWED)
def test_close_codes(code: int) -> None:
    """Those that are defined, registered or private may come, with a reason or without."""
    for reason in ("", "ciao", "ß" * 61):
        payload = struct.pack("!H", code) + reason.encode()
        found, broken = read(masked(CLOSE, payload))
        assert (found, broken) == ([(CLOSE, payload)], None)
        assert read_close(payload) == (code, reason)
        assert close_frame(code, reason) == frame(CLOSE, payload)


@pytest.mark.parametrize("code", FORBIDDEN)
def test_close_codes_that_must_not_come(code: int) -> None:
    """§7.4: reserved ones, those that stand for the lack of a frame, and those of nobody."""
    assert read(masked(CLOSE, struct.pack("!H", code))) == ([], BROKEN)


def test_a_close_without_a_code() -> None:
    """It may have none, which reads as 1005; half a code is none."""
    assert read(masked(CLOSE)) == ([(CLOSE, b"")], None)
    assert read_close(b"") == (1005, "")
    assert read(masked(CLOSE, b"\x03")) == ([], BROKEN)


@pytest.mark.parametrize("reason", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"ok\xc0\x80"])
def test_a_closes_reason_is_utf8(reason: bytes) -> None:
    """§5.5.1: what is not is told with 1007."""
    assert read(masked(CLOSE, struct.pack("!H", 1000) + reason)) == ([], NO_TEXT)


# ── §8.1: texts are UTF-8 ─────────────────────────────────────────────────────────────────────────────────────────

VALID: Final = ["", "κόσμε", "\0\x7f\x80߿ࠀ\ufeff￿\U00010000\U0010ffff", "�", "﷐ is no character \U0001fffe"]
INVALID: Final = [
    b"\x80",  # goes on with what has not begun
    b"\xbf",
    b"\xc3",  # ends in the middle
    b"\xe2\x82",
    b"\xf0\x90\x80",
    b"\xc0\xaf",  # longer than it must be
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xed\xa0\x80",  # halves of a pair
    b"\xed\xbf\xbf",
    b"\xf4\x90\x80\x80",  # above the highest
    b"\xf8\x88\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80edited",
]


@pytest.mark.parametrize("text", VALID)
def test_texts_survive_any_fragment(text: str) -> None:
    """Characters may be cut by fragments, at any byte."""
    data = text.encode()
    for at in range(len(data) + 1):
        for after in range(at, len(data) + 1):
            parts = masked(TEXT, data[:at], fin=False) + masked(MORE, data[at:after], fin=False)
            assert read(parts + masked(MORE, data[after:])) == ([(TEXT, text)], None)


@pytest.mark.parametrize("data", INVALID)
def test_texts_that_are_not_utf8(data: bytes) -> None:
    """1007, at any cut; binary messages may hold it."""
    for lead in (b"", b"ok ", "€".encode()):
        payload = lead + data
        assert read(masked(TEXT, payload)) == ([], NO_TEXT)
        assert read(masked(BINARY, payload)) == ([(BINARY, payload)], None)
        for at in range(len(payload) + 1):
            assert read(masked(TEXT, payload[:at], fin=False) + masked(MORE, payload[at:])) == ([], NO_TEXT)


@pytest.mark.parametrize(
    ("parts", "good"),
    [
        ([b"\xff"], 0),
        ([b"\x80"], 0),
        ([b"ok", b"\xff"], 1),
        ([b"\xe2", b"\x82", b"\xac", b"\xac"], 3),
        ([b"\xf4", b"\x90"], 1),
        ([b"\xe2", b"("], 1),
        ([b"", b"\xe2\x82", b"", b"\xe2"], 3),
    ],
)
def test_a_fragment_that_shows_it_is_the_last(parts: list[bytes], good: int) -> None:
    """Nobody waits for the rest of a text that can be none any more (Autobahn's 6.4)."""
    reader = FrameReader(LIMIT)
    for at, part in enumerate(parts):
        assert reader.broken is None
        reader.feed(masked(MORE if at else TEXT, part, fin=False))
        assert (reader.broken is None) == (at < good)


@given(st.binary(max_size=12) | st.text(max_size=6).map(str.encode), st.lists(st.integers(0, 12), max_size=5))
def test_fragments_and_whole_texts_are_judged_alike(payload: bytes, places: list[int]) -> None:
    """What is a text in one piece is the same text in many, and what is none is none."""
    cuts = [0, *sorted(min(place, len(payload)) for place in places), len(payload)]
    pieces = [payload[begin:end] for begin, end in pairwise(cuts)]
    last = len(pieces) - 1
    data = b"".join(masked(MORE if at else TEXT, piece, fin=at == last) for at, piece in enumerate(pieces))
    assert read(data) == read(masked(TEXT, payload))


# ── limits ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_may_take_the_limit(opcode: int) -> None:
    """And not a byte more: whole or in fragments, refused by its head."""
    whole = b"x" * LIMIT
    assert read(masked(opcode, whole))[1] is None
    assert read(masked(opcode, whole[1:], fin=False) + masked(MORE, b"x"))[1] is None
    assert read(masked(opcode, whole + b"x")[:8]) == ([], TOO_BIG)
    assert read(masked(opcode, whole, fin=False) + masked(MORE, b"x")[:2]) == ([], TOO_BIG)
    assert read(masked(opcode, whole, fin=False) + masked(MORE)) == read(masked(opcode, whole))


def test_each_message_has_the_whole_limit() -> None:
    """What has been given does not count any more."""
    assert len(read(masked(BINARY, bytes(LIMIT)) * 3)[0]) == 3
    parts = masked(BINARY, bytes(LIMIT), fin=False) + masked(MORE)
    assert len(read(parts * 3)[0]) == 3


def test_a_tiny_limit_holds_for_short_texts_too() -> None:
    """The short way for what is usual knows it as well."""
    assert read(masked(TEXT, b"12345"), 5)[1] is None
    assert read(masked(TEXT, b"123456"), 5) == ([], TOO_BIG)


@pytest.mark.parametrize("behind", [b"", masked(TEXT, b"after")], ids=["last", "not last"])
@pytest.mark.parametrize(
    ("fault", "code"),
    [(masked(TEXT | 0x40), BROKEN), (masked(TEXT, b"\xff"), NO_TEXT), (masked(CLOSE, b"\x03"), BROKEN)],
    ids=["in a head", "in a text", "in a close"],
)
def test_what_stands_before_a_fault_is_given(fault: bytes, code: int, behind: bytes) -> None:
    """And nothing after it, now or later."""
    reader = FrameReader(LIMIT)
    assert reader.feed(masked(TEXT, b"good") + fault + behind) == [(TEXT, "good")]
    assert reader.broken
    assert reader.broken[0] == code
    for data in (masked(TEXT, b"later"), b"", masked(CLOSE)):
        assert reader.feed(data) == []


def test_what_was_put_back_comes_first() -> None:
    """Before what comes next, in its order, once."""
    reader = FrameReader(LIMIT)
    found = reader.feed(masked(TEXT, b"1") + masked(TEXT, b"2") + masked(TEXT, b"3"))
    reader.put_back(found[1:])
    assert reader.feed(masked(TEXT, b"4")) == [(TEXT, "2"), (TEXT, "3"), (TEXT, "4")]
    assert reader.feed(b"") == []
    reader.put_back([(TEXT, "5")])
    assert reader.feed(b"") == [(TEXT, "5")]


# ── any stream ────────────────────────────────────────────────────────────────────────────────────────────────────


class Part(NamedTuple):
    """A frame as it is drawn: mostly as it should be."""

    opcode: int
    fin: bool
    payload: bytes


PAYLOADS: Final = st.one_of(
    st.text(max_size=20).map(str.encode),
    st.binary(max_size=20),
    st.integers(0, 300).map(lambda size: b"x" * size),
    st.builds(
        lambda code, text: struct.pack("!H", code) + text.encode(), st.sampled_from(ALLOWED), st.text(max_size=9)
    ),
)
CONTROLS: Final = st.builds(
    Part, st.sampled_from([PING, PONG]), st.just(value=True), PAYLOADS.map(lambda payload: payload[:125])
)


@st.composite
def messages(draw: st.DrawFn) -> list[Part]:
    """Draw a message in fragments, with control frames between them."""
    text = draw(st.booleans())
    payload = draw(st.text(max_size=40).map(str.encode) if text else st.binary(max_size=200))
    cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
    bounds = [0, *cuts, len(payload)]
    parts: list[Part] = []
    for at, (begin, end) in enumerate(pairwise(bounds)):
        opcode = MORE if at else TEXT if text else BINARY
        parts.append(Part(opcode, at == len(cuts), payload[begin:end]))
        parts += draw(st.lists(CONTROLS, max_size=1))
    return parts


VALID_STREAMS: Final = st.lists(messages(), max_size=5).map(lambda some: [part for parts in some for part in parts])
ANY_STREAMS: Final = st.lists(
    st.builds(
        Part, st.sampled_from([MORE, TEXT, BINARY, PING, PONG, CLOSE, 3, 0xB, TEXT | 0x40]), st.booleans(), PAYLOADS
    )
    | CONTROLS,
    max_size=6,
)


def written(parts: list[Part]) -> bytes:
    """Write frames as a client does."""
    return b"".join(masked(part.opcode, part.payload, fin=part.fin) for part in parts)


def meant(parts: list[Part]) -> Found:
    """Tell what valid frames mean: the messages and control frames in the order in which they end."""
    found: Found = []
    kind, message = MORE, b""
    for opcode, fin, payload in parts:
        if opcode >= CLOSE:
            found.append((opcode, payload))
            continue
        kind, message = opcode or kind, message + payload
        if fin:
            found.append((kind, message.decode() if kind == TEXT else message))
            message = b""
    return found


@given(VALID_STREAMS, st.lists(st.integers(0)))
def test_valid_streams_survive_any_cut(parts: list[Part], places: list[int]) -> None:
    """What comes out is what was meant, wherever the network cuts."""
    assert read_cut(written(parts), places) == (meant(parts), None)


@given(VALID_STREAMS)
def test_valid_streams_survive_byte_by_byte(parts: list[Part]) -> None:
    """The smallest pieces there are."""
    data = written(parts)
    assert read_cut(data, list(range(len(data)))) == (meant(parts), None)


@pytest.mark.parametrize("key", [KEY, b"\x83\x81\x82\x80"], ids=["any key", "a key like a length"])
def test_short_texts_survive_any_cut(key: bytes) -> None:
    """The short way for what is usual takes a frame that is whole and alone, no less and no more."""
    data = masked(TEXT, b"Hello", key=key) + masked(TEXT, b"you", key=key)
    for place in range(len(data)):
        assert read_cut(data, [place]) == ([(TEXT, "Hello"), (TEXT, "you")], None)


def test_a_payload_may_look_like_a_frame() -> None:
    """Though it comes alone, it is what the head before it says."""
    inside = masked(TEXT, b"Hello")
    data = masked(BINARY, inside, key=bytes(4))
    assert read_cut(data, [len(data) - len(inside)]) == ([(BINARY, inside)], None)


@given(ANY_STREAMS, st.lists(st.integers(0)))
def test_broken_streams_are_judged_alike_at_any_cut(parts: list[Part], places: list[int]) -> None:
    """Neither what is given before the fault nor the fault hangs on where the network cuts."""
    data = written(parts)
    assert read_cut(data, places) == read(data)


@given(st.lists(st.binary(max_size=40), max_size=10), st.integers(1, LIMIT))
@example([b"\x81", b"\xfe\x00"], 100)
@example([b"\x88\x82\0\0\0\0\x03\xee"], 100)
def test_noise_raises_nothing(pieces: list[bytes], limit: int) -> None:
    """Random bytes give messages within the limit, or a close code with a reason that fits in a close frame."""
    reader = FrameReader(limit)
    for piece in pieces:
        for opcode, payload in reader.feed(piece):
            assert opcode in (TEXT, BINARY, CLOSE, PING, PONG)
            assert isinstance(payload, str) == (opcode == TEXT)
            assert len(payload) <= (limit if opcode < CLOSE else 125)
    if reader.broken:
        code, reason = reader.broken
        assert code in (BROKEN, NO_TEXT, TOO_BIG)
        assert 0 < len(reason.encode()) <= 123


# ── what another reader makes of it ───────────────────────────────────────────────────────────────────────────────


def read_elsewhere(data: bytes, limit: int) -> tuple[Found, int | None]:
    """Let the `websockets` library read the same: its frames put together, and the code with which it gives up."""
    other = Protocol(SERVER, state=OPEN, max_size=limit)
    other.receive_data(data)
    found: Found = []
    kind, message = Opcode.CONT, b""
    for event in other.events_received():
        assert isinstance(event, Frame)
        payload = bytes(event.data)
        if event.opcode in (Opcode.CLOSE, Opcode.PING, Opcode.PONG):
            found.append((int(event.opcode), payload))
            continue
        kind, message = event.opcode or kind, message + payload
        if event.fin:
            try:
                found.append((int(kind), message.decode() if kind == Opcode.TEXT else message))
            except UnicodeDecodeError:
                return found, NO_TEXT  # it leaves this to those who use it
            message = b""
    sent = other.close_sent
    failed = other.parser_exc is not None and sent is not None
    return found, int(sent.code) if failed and sent else None


@given(ANY_STREAMS)
def test_it_agrees_with_another_reader(parts: list[Part]) -> None:
    """The same messages, and the same code for what is wrong.

    Ours gives up sooner where a text's first fragments show already that it will be none, and of two faults in a close
    frame may name the other. It reads on behind a close frame, which the listener does not, and takes one in the middle
    of a message, as §5.4 has it and the other does not.
    """
    data = written(parts)
    ours, code = read(data)
    theirs, their_code = read_elsewhere(data, LIMIT)
    if any(opcode == CLOSE for opcode, _ in ours):
        end = [opcode for opcode, _ in ours].index(CLOSE) + 1
        assert ours[:end] == theirs[:end] or (ours[: end - 1], their_code) == (theirs, BROKEN)
    elif code == NO_TEXT:
        assert ours == theirs[: len(ours)]
    elif (code, their_code) == (BROKEN, NO_TEXT):
        assert ours == theirs
        assert CLOSE in (part.opcode for part in parts)
    else:
        assert (ours, code) == (theirs, their_code)


def test_a_flood_takes_turns() -> None:
    """One `feed` reads 1,000 frames at most, and says that there is more; nothing is lost by it."""
    reader = FrameReader(1000)
    assert [reader.more] == [False]
    found = reader.feed(masked(PONG, b"") * 4000 + masked(TEXT, b"last"))
    turns = [len(found)]
    while reader.more:
        more = reader.feed(b"")
        turns.append(len(more))
        found += more
    assert [reader.more] == [False]
    assert max(turns) <= 1000
    assert len(found) == 4001
    assert found[-1] == (TEXT, "last")


@given(st.lists(st.tuples(st.sampled_from([TEXT, BINARY, PING]), st.sampled_from([b"", b"same", b"other" * 100]))))
def test_a_writer_writes_what_is_said_now(said: list[tuple[int, bytes]]) -> None:
    """Whatever it has written before; the same bytes again are the same frame."""
    writer = Writer()
    assert [writer.frame(opcode, payload) for opcode, payload in said] == [frame(*one) for one in said]
    assert writer.frame(TEXT, KEY) is writer.frame(TEXT, KEY)
