"""The words of SockJS 0.3 and of a raw WebSocket, byte for byte."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridws.core.codec import BINARY, CLOSE, TEXT, Batch, Frame
from hybridws.core.packets import Ack, Close, Heartbeat, Message, Open
from hybridws.core.sockjs import BROKEN_JSON, PAYLOAD_EXPECTED, RAW, SOCKJS, close_of, message_of, quote, text_size
from hybridws.core.values import LONG
from hybridws.errors import Malformed, MessageTooLarge, TooLarge, Unsendable
from hybridws.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable

OPTIONS = Options()
PARSED = Options(payload="json")
FRAGILE = [
    *range(0x20),
    *range(0x200C, 0x2010),
    *range(0x2028, 0x2030),
    *range(0x2060, 0x2070),
    *range(0xD800, 0xE000),
    *range(0xFFF0, 0x10000),
]
"""The characters that the public suite wants escaped (sockjs-protocol, JSONEncoding)."""

ANY_TEXT = st.text(
    st.characters() | st.sampled_from([chr(code) for code in FRAGILE]) | st.sampled_from(['"', "\\", "/", "\x7f", "é"]),
    max_size=20,
)


def received(data: str | bytes, options: Options = OPTIONS) -> list[Any]:
    """Decode what a SockJS client sent to the values that the application gets."""
    return values(SOCKJS.loads(data, options))


def values(batch: Batch) -> list[Any]:
    """Return the messages' values."""
    assert all(isinstance(packet, Message) for packet, _ in batch)
    return [packet.value for packet, _ in batch if isinstance(packet, Message)]


# ── SockJS, downwards ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (Open({}), b"o"),
        (Heartbeat(), b"h"),
        (Message("hi"), b'"hi"'),
        (Message(""), b'""'),
        (Message("é😀"), '"é😀"'.encode()),
        (Message('"\\/\n'), b'"\\"\\\\/\\n"'),
        (Message("\u2028\ud800\ufffe"), b'"\\u2028\\ud800\\ufffe"'),
        (Message(None), b'"null"'),
        (Message([True]), b'"[true]"'),
        (Message(1.5), b'"1.5"'),
        (Message([1, {"a": "b"}]), b'"[1,{\\"a\\":\\"b\\"}]"'),
        (Message({"é": "\u2029"}), '"{\\"é\\":\\"\\u2029\\"}"'.encode()),
        (Close(3000, "Go away!"), b'c[3000,"Go away!"]'),
        (Close(1000, 'a"b\u2028'), b'c[1000,"a\\"b\\u2028"]'),
    ],
    ids=repr,
)
def test_each_packet_has_its_sockjs_word(packet: Any, words: bytes) -> None:  # noqa: ANN401 - one of many packets
    """Open, heartbeat, message and close are said as sockjs-client reads them; a JSON value is JSON text."""
    assert SOCKJS.dumps(packet, OPTIONS) == words


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_cannot_be_sent_to_a_sockjs_client(kind: Callable[[bytes], object]) -> None:
    """The sender is told so, and what to do."""
    for value in (b"bytes", b""):
        with pytest.raises(Unsendable, match="a SockJS client takes only text: send str or a JSON value") as error:
            SOCKJS.dumps(Message(kind(value)), OPTIONS)
        assert error.type is Unsendable


@pytest.mark.parametrize("codec", [SOCKJS, RAW], ids=lambda codec: codec.name)
@pytest.mark.parametrize("value", [float("nan"), 2**53, {1: 1}, [b"x"], object], ids=repr)
def test_what_has_no_form_in_json_cannot_be_sent(codec: Any, value: object) -> None:  # noqa: ANN401
    """The same values are refused as in the native codecs, in the same words."""
    with pytest.raises(Unsendable, match=r"^this message cannot be sent: ") as error:
        codec.dumps(Message(value), OPTIONS)
    assert error.type is Unsendable


def test_words_that_neither_has_are_refused() -> None:
    """SockJS has no ack, a raw WebSocket has not even a heartbeat."""
    with pytest.raises(Unsendable, match="SockJS has no word for Ack") as error:
        SOCKJS.dumps(Ack(1), OPTIONS)
    assert error.type is Unsendable
    with pytest.raises(Unsendable, match="a raw WebSocket has no word for Heartbeat") as error:
        RAW.dumps(Heartbeat(), OPTIONS)
    assert error.type is Unsendable


def test_messages_in_a_row_share_a_frame() -> None:
    """`o`, `h` and `c` stand alone; messages between them are one array, and each word counts."""
    words = [b"o", b'"1"', b'"2"', b"h", b'"3"', b'c[1000,""]']
    assert SOCKJS.frames(words) == [
        Frame(TEXT, b"o", 1),
        Frame(TEXT, b'a["1","2"]', 2),
        Frame(TEXT, b"h", 1),
        Frame(TEXT, b'a["3"]', 1),
        Frame(TEXT, b'c[1000,""]', 1),
    ]
    assert SOCKJS.frames([b'"1"']) == [Frame(TEXT, b'a["1"]', 1)]


def test_every_fragile_character_is_escaped() -> None:
    """None of what browsers were seen to change or drop is sent as it is."""
    for code in FRAGILE:
        assert chr(code) not in quote(f"{'x' * LONG}{chr(code)}")
        assert quote(f"é{chr(code)}").isascii() is False, "the é is left as it is"
        assert chr(code) not in quote(f"é{chr(code)}")
    assert quote("\x7f\x80\u2010\u2027\u2030\u2070\ue000\uffef😀") == '"\x7f\x80\u2010\u2027\u2030\u2070\ue000\uffef😀"'


@settings(max_examples=100)
@given(ANY_TEXT)
def test_a_quoted_text_reads_back(text: str) -> None:
    """Whatever the text, a JSON parser gets it back, and it is valid UTF-8 on the wire."""
    words = SOCKJS.dumps(Message(text), OPTIONS)
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")  # as JavaScript sees it
    assert json.loads(words.decode()) == joined
    assert SOCKJS.read(words) == Message(joined)
    assert b"\n" not in words
    assert b"\r" not in words


@pytest.mark.parametrize("size", [0, LONG - 4, LONG, 2 * LONG])
def test_a_text_of_any_length_is_read_alike(size: int) -> None:
    """A long one is read in another way than short ones, and as strictly."""
    text = "x" * size
    assert received(f'["{text}"]') == [text]
    assert received(f'["{text}","\\u00e9"]') == [text, "é"]
    for broken in ("\x00", "\x1f", "\\", '"'):
        with pytest.raises(Malformed, match=BROKEN_JSON):
            SOCKJS.loads(f'["{text}{broken}"]', OPTIONS)


def test_only_messages_are_read_back() -> None:
    """`unacked` lists what the application sent, not what the transport said around it."""
    assert SOCKJS.read(b"o") is None
    assert SOCKJS.read(b'c[1000,""]') is None
    assert RAW.read(RAW.dumps(Close(1000, ""), OPTIONS)) is None


# ── SockJS, upwards ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        ('["a"]', ["a"]),
        (b'["a","b"]', ["a", "b"]),
        ("[]", []),
        (b"[]", []),
        ("", []),
        ('"alone"', ["alone"]),
        (' [ "a" , "\\u00e9" ] ', ["a", "é"]),
        (b'["\\ud800"]', ["\ud800"]),
        ('["\\ud83d\\ude00"]', ["😀"]),
        ('["{\\"a\\":1}"]', ['{"a":1}']),
    ],
    ids=repr,
)
def test_a_client_sends_an_array_of_texts(data: str | bytes, texts: list[str]) -> None:
    """A body is an array; over a WebSocket (text) one string alone or nothing at all is taken too."""
    assert received(data) == texts


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", PAYLOAD_EXPECTED),
        (b'"alone"', PAYLOAD_EXPECTED),
        (b"{}", PAYLOAD_EXPECTED),
        ("null", PAYLOAD_EXPECTED),
        ("1", PAYLOAD_EXPECTED),
        ('["a",1]', PAYLOAD_EXPECTED),
        ('["a",null]', PAYLOAD_EXPECTED),
        ("[true]", PAYLOAD_EXPECTED),
        ('[["a"]]', PAYLOAD_EXPECTED),
        ("[NaN]", PAYLOAD_EXPECTED),
        ("[", BROKEN_JSON),
        ('["a"', BROKEN_JSON),
        ('["a"]x', BROKEN_JSON),
        ('["a",]', BROKEN_JSON),
        ("x", BROKEN_JSON),
        (b'\xef\xbb\xbf["a"]', BROKEN_JSON),
        ("[" * 100_000, BROKEN_JSON),
        ("[" * 10 + "]" * 10, PAYLOAD_EXPECTED),
        ("9" * 5_000, BROKEN_JSON),
        (b'["\xff"]', "not UTF-8"),
    ],
    ids=lambda data: repr(data)[:30],
)
def test_anything_else_is_refused_in_the_public_words(data: str | bytes, why: str) -> None:
    """The two texts are those that the public suite expects."""
    with pytest.raises(Malformed) as error:
        received(data)
    assert why in error.value.reason


def test_a_body_has_its_limits() -> None:
    """So many messages a body (`max_packets`), so many bytes a message (`max_message`, in UTF-8)."""
    few = Options(max_packets=4, max_message=4)
    assert received('["a","b","c","d"]', few) == ["a", "b", "c", "d"]
    with pytest.raises(Malformed, match="max_packets"):
        received('["a","b","c","d","e"]', few)
    assert received('["éé"]', few) == ["éé"]
    for over in ('["éée"]', '["abcde"]', '["\\ud800\\ud800"]'):
        with pytest.raises(TooLarge, match="max_message"):
            received(over, few)


def test_a_message_counts_for_the_bytes_of_its_text() -> None:
    """Escapes and brackets are the dialect's, not the message's; a lone surrogate counts for three bytes."""
    assert [size for _, size in SOCKJS.loads('["abc","\\u00e9","\\ud800",""]', OPTIONS)] == [3, 2, 3, 0]
    assert [text_size(text) for text in ("abc", "é", "\ud800", "😀", "")] == [3, 2, 3, 4, 0]


def test_a_message_of_just_max_message_passes_both_ways() -> None:
    """The limit is on the text, however many bytes its escapes take on the wire."""
    options = Options(max_message=10)
    assert SOCKJS.dumps(Message("\u2028" * 3), options) == b'"' + b"\\u2028" * 3 + b'"'
    with pytest.raises(MessageTooLarge, match="max_message"):
        SOCKJS.dumps(Message("\u2028" * 4), options)
    with pytest.raises(MessageTooLarge):
        SOCKJS.dumps(Message("x" * 11), options)
    with pytest.raises(MessageTooLarge):
        RAW.dumps(Message("x" * 11), options)
    with pytest.raises(MessageTooLarge):
        RAW.dumps(Message(b"x" * 11), options)


def test_payload_json_parses_what_comes() -> None:
    """With `payload="json"` the application sees values, and what is no JSON is the client's fault."""
    assert received('["{\\"a\\":[1,null]}","\\"text\\"","1"]', PARSED) == [{"a": [1, None]}, "text", 1]
    assert message_of("[1]", PARSED) == (Message([1]), 3)
    assert values(RAW.loads('{"a":1}', PARSED)) == [{"a": 1}]
    for broken in ("text", "", "NaN", "[1", "9007199254740992"):
        with pytest.raises(Malformed):
            received(json.dumps([broken]), PARSED)
        with pytest.raises(Malformed):
            RAW.loads(broken, PARSED)


@settings(max_examples=60)
@given(st.text(max_size=30) | st.binary(max_size=30) | st.text(alphabet='["],\\u0123d8 ', max_size=20))
def test_no_input_raises_anything_else(data: str | bytes) -> None:
    """Noise is messages, Malformed or TooLarge; in both settings of `payload`."""
    for options in (OPTIONS, PARSED, Options(max_message=3)):
        for codec in (SOCKJS, RAW):
            try:
                batch = codec.loads(data, options)
            except (Malformed, TooLarge):
                continue
            assert all(isinstance(packet, Message) for packet, _ in batch)


@settings(max_examples=50)
@given(st.lists(ANY_TEXT, max_size=5))
def test_an_array_of_texts_comes_out_as_it_went_in(texts: list[str]) -> None:
    """Whatever JSON.stringify makes of texts is read back, as text or as bytes."""
    assert received(json.dumps(texts)) == json.loads(json.dumps(texts))
    assert received(json.dumps(texts).encode()) == json.loads(json.dumps(texts))


# ── raw WebSocket ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "frame"),
    [
        ("é", Frame(TEXT, "é".encode(), 1)),
        ("", Frame(TEXT, b"", 1)),
        (b"\x00\xff", Frame(BINARY, b"\x00\xff", 1)),
        (bytearray(b"ab"), Frame(BINARY, b"ab", 1)),
        (memoryview(b"ab"), Frame(BINARY, b"ab", 1)),
        ({"a": [None]}, Frame(TEXT, b'{"a":[null]}', 1)),
        (None, Frame(TEXT, b"null", 1)),
    ],
    ids=lambda value: repr(value).partition(" at ")[0],
)
def test_a_raw_message_is_a_frame(value: object, frame: Frame) -> None:
    """Text is a text frame, bytes a binary one, a JSON value its text."""
    assert RAW.frames([RAW.dumps(Message(value), OPTIONS)]) == [frame]


def test_a_raw_frame_is_a_message() -> None:
    """Text and bytes arrive as they are, and are read back as they were sent."""
    assert RAW.loads("é", OPTIONS) == [(Message("é"), 2)]
    assert RAW.loads(b"\xff", OPTIONS) == [(Message(b"\xff"), 1)]
    assert RAW.read(RAW.dumps(Message("é"), OPTIONS)) == Message("é")
    assert RAW.read(RAW.dumps(Message(b"\xff"), OPTIONS)) == Message(b"\xff")
    with pytest.raises(TooLarge):
        RAW.loads(b"12345", Options(max_message=4))
    with pytest.raises(TooLarge):
        RAW.loads("ééé", Options(max_message=5))


def test_a_raw_text_frame_is_utf8() -> None:
    """A lone surrogate has no UTF-8, so a raw client cannot be sent one (RFC 6455 §8.1)."""
    for value in ("\ud800", ["\ud800"]):
        with pytest.raises(Unsendable, match="lone surrogate") as error:
            RAW.dumps(Message(value), OPTIONS)
        assert error.type is Unsendable


def test_a_raw_close_is_the_close_frame() -> None:
    """Its payload is the code and the reason (RFC 6455 §5.5.1)."""
    (frame,) = RAW.frames([RAW.dumps(Close(3001, "bye é"), OPTIONS)])
    assert frame == Frame(CLOSE, struct.pack("!H", 3001) + "bye é".encode(), 1)
    assert close_of(frame.payload) == Close(3001, "bye é")


def test_neither_has_numbers() -> None:
    """So a session over them does not outlive what carries it in the dark."""
    assert not SOCKJS.numbered
    assert not RAW.numbered
