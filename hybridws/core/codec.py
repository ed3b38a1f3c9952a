"""Packets to bytes and back: what a codec is, and the two of the native protocol, JSON and msgpack.

*Words* are one packet encoded: what an outbox keeps and a broadcast shares. A *frame* is what one WebSocket frame
or one event of a stream carries: the words of one or more packets, joined. A *batch* is what one body or frame
brought: packets, each with the bytes that it counts for.

Nothing is trusted on the way in: a batch is decoded whole or refused whole, with the reason (`Malformed`, `TooLarge`).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple, cast, final

import msgpack

from hybridws.core import codes
from hybridws.core.packets import (
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
from hybridws.core.values import (
    LONG,
    check_arrived,
    check_size,
    fault,
    is_plain,
    is_safe,
    json_text,
    json_value,
    quoted,
    utf8,
)
from hybridws.errors import Malformed, Unsendable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

if TYPE_CHECKING:
    from hybridws.options import Options

TEXT: Final = 0x1  # RFC 6455 §5.2
BINARY: Final = 0x2
CLOSE: Final = 0x8

Batch = list[tuple[Packet, int]]


@final
class Frame:
    """One WebSocket frame or one event: its opcode, its bytes, and what it says."""

    __slots__ = ("ack", "opcode", "packets", "payload")

    def __init__(self, opcode: int, payload: bytes, packets: int, ack: int = -1) -> None:
        """Make a frame; it is shared by all who are sent it, and never changed."""
        self.opcode: Final = opcode
        self.payload: Final = payload
        self.packets: Final = packets
        """How many numbered packets it carries."""
        self.ack: Final = ack
        """The count that it acks; -1 if it says none."""

    def __eq__(self, other: object) -> bool:
        """Tell whether both are the same."""
        return isinstance(other, Frame) and self._all() == other._all()

    __hash__ = None  # type: ignore[assignment] # nobody looks one up

    def __repr__(self) -> str:
        """Tell all of it."""
        return f"Frame{self._all()!r}"

    def _all(self) -> tuple[int, bytes, int, int]:
        return self.opcode, self.payload, self.packets, self.ack


class Codec(NamedTuple):
    """The words of one dialect, as functions; two sessions with the same codec can share encoded bytes."""

    name: str
    dumps: Callable[[Packet, Options], bytes]
    """Encode one packet. Raises Unsendable or MessageTooLarge."""
    frames: Callable[[Sequence[bytes]], list[Frame]]
    """Join words to frames."""
    loads: Callable[[str | bytes, Options], Batch]
    """Decode a body or frame. Raises Malformed or TooLarge."""
    first: Callable[[bytes], bytes]
    """Return the first packet's bytes of a body that cannot be decoded whole."""
    read: Callable[[bytes], Packet | None]
    """Read back words that this codec made itself."""
    numbered: bool
    """Whether it has numbers and acks, so that a session outlives its transports."""


def shared(join: Callable[[Sequence[bytes]], list[Frame]]) -> Callable[[Sequence[bytes]], list[Frame]]:
    """Let a codec's `frames` remember what it joined last: what a broadcast says to thousands is joined once."""
    newest: tuple[Sequence[bytes], list[Frame]] = ((), [])

    def frames(words: Sequence[bytes]) -> list[Frame]:
        nonlocal newest
        if words != newest[0]:
            newest = (words, join(words))
        return newest[1]

    return frames


# ── packets as arrays (protocol §1) ───────────────────────────────────────────────────────────────────────────────

_LETTERS: Final[dict[type, str]] = {
    Hello: "i",
    Open: "o",
    Attach: "@",
    Position: "#",
    Request: "q",
    Reply: "r",
    Error: "e",
    Auth: "u",
    Skipped: "k",
    Heartbeat: "h",
    Close: "c",
    Gone: "d",
    Refuse: "x",
}


def _is_count(item: object) -> bool:
    return type(item) is int and is_safe(item) and item >= 0


def _is_number(item: object) -> bool:
    return type(item) is int and is_safe(item) and item > 0


def _is_code(item: object) -> bool:
    return type(item) is int and codes.LOWEST <= item <= codes.HIGHEST


def _is_text(item: object) -> bool:
    return type(item) is str


def _is_map(item: object) -> bool:
    return type(item) is dict


def _is_any(_item: object) -> bool:
    return True


_SHAPES: Final[dict[str, tuple[type, tuple[Callable[[object], bool], ...]]]] = {
    "i": (Hello, (_is_map,)),
    "o": (Open, (_is_map,)),
    "@": (Attach, (_is_text, _is_text, _is_count, _is_count, _is_map)),
    "#": (Position, (_is_number,)),
    "m": (Message, (_is_any,)),
    "q": (Request, (_is_count, _is_any)),
    "r": (Reply, (_is_count, _is_any)),
    "e": (Error, (_is_count, _is_code, _is_text)),
    "u": (Auth, (_is_any,)),
    "k": (Skipped, (_is_number,)),
    "a": (Ack, (_is_count,)),
    "h": (Heartbeat, ()),
    "c": (Close, (_is_code, _is_text)),
    "d": (Gone, ()),
    "x": (Refuse, (_is_code, _is_text, _is_map)),
}
_MAY_LACK_LAST: Final = frozenset("@x")  # whose last item, a map, may be left out


def to_array(packet: Packet) -> list[object]:
    """Write a packet as the array that travels."""
    if type(packet) is Message:
        return ["m", packet.value]
    if type(packet) is Ack:
        return ["a", packet.total]
    items = list(packet)
    letter = _LETTERS[type(packet)]
    if letter in _MAY_LACK_LAST and not items[-1]:
        items.pop()
    return [letter, *items]


def from_array(array: object) -> Packet | None:
    """Read a packet from an array; None for a kind that this version does not know. Raises Malformed."""
    if type(array) is not list or not array or type(array[0]) is not str:
        raise Malformed("a packet is an array that begins with its kind")
    letter, *items = array
    shape = _SHAPES.get(letter)
    if shape is None:
        if len(letter) == 1 and "a" <= letter <= "z":
            return None  # a newer kind, which both sides would have to name before it counts
        raise Malformed("a packet's kind is one letter")
    kind, checks = shape
    if letter in _MAY_LACK_LAST and len(items) == len(checks) - 1:
        items.append({})
    if len(items) != len(checks) or not all(check(item) for check, item in zip(checks, items, strict=True)):
        raise Malformed(f"a packet of kind {letter!r} has the wrong shape")
    return cast("Packet", kind(*items))


# ── JSON ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _json_dumps(packet: Packet, options: Options) -> bytes:
    if type(packet) is Message:
        value = packet.value
        if type(value) is str:
            text = f'["m",{quoted(value)}]'
        elif isinstance(value, bytes | bytearray | memoryview):
            text = f'["b","{base64.b64encode(value).decode()}"]'
        else:
            text = f'["m",{json_text(value, options)}]'
    elif type(packet) is Ack:
        return b'["a",%d]' % packet.total
    elif type(packet) is Position:
        return b'["#",%d]' % packet.number
    else:
        text = json_text(to_array(packet), options, packet=True)
    try:
        words = text.encode()
    except UnicodeEncodeError:
        raise Unsendable("this message cannot be sent: its text holds a lone surrogate") from None
    check_size(len(words), options)
    return words


def _json_frames(words: Sequence[bytes]) -> list[Frame]:
    return [Frame(TEXT, b"\n".join(words), len(words))]


_COUNT: Final = "(0|[1-9][0-9]{0,14})"
_PLAIN: Final = re.compile(
    rf'\["(?:a",{_COUNT}|#",([1-9][0-9]{{0,14}})'
    rf'|@","([A-Za-z0-9_.-]{{1,64}})","([A-Za-z0-9_-]{{1,64}})",{_COUNT},{_COUNT})\]'
)
_TEXT_BEGINS: Final = '["m","'
_TEXT_ENDS: Final = '"]'


def _plain(line: str) -> Packet | None:
    """Read a line that is as nearly all are: a short text without escapes, an ack, a position, an attach.

    There is nothing in them to be checked but their size, so they need no JSON parser. None for any other.
    """
    if len(line) >= LONG:
        return None
    text = line[len(_TEXT_BEGINS) : -len(_TEXT_ENDS)]
    if line == f"{_TEXT_BEGINS}{text}{_TEXT_ENDS}" and is_plain(text):
        return Message(text)
    found = _PLAIN.fullmatch(line)
    if found is None:
        return None
    match found.lastindex:
        case 1:
            return Ack(int(found[1]))
        case 2:
            return Position(int(found[2]))
        case _:
            return Attach(found[3], found[4], int(found[5]), int(found[6]), {})


def _json_loads(data: str | bytes, options: Options) -> Batch:
    most = options.max_packets
    text = utf8(data)
    parts = text.split("\n", 2 * most) if "\n" in text else [text]  # no further: a megabyte of them would be a hundred
    lines = [line for line in parts if line]
    if len(lines) > most or len(parts) > 2 * most:
        raise Malformed(f"a batch may hold {most} packets (max_packets), and this one has more lines than that")
    batch: Batch = []
    for line in lines:
        size = len(line) if line.isascii() else len(line.encode("utf-8", "surrogatepass"))
        packet = _plain(line)
        if packet is not None:
            if size > options.max_message:
                check_arrived(size, options)
            batch.append((packet, size))
            continue
        array = json_value(line, options, packet=True)
        if "\\" in line and "\\u" in line:
            _refuse_surrogates(array)
        check_arrived(size, options)
        packet = Message(_from_base64(array)) if type(array) is list and array[:1] == ["b"] else from_array(array)
        if packet is not None:  # not its truth: a packet without items is an empty tuple
            batch.append((packet, size))
    return batch


def _refuse_surrogates(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Malformed("a text holds a lone surrogate") from None


def _from_base64(array: list[object]) -> bytes:
    match array:
        case [_, str(text)]:
            pass
        case _:
            raise Malformed("a packet of kind 'b' has the wrong shape")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("a packet of kind 'b' holds no base64") from None


# ── msgpack ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _msgpack_dumps(packet: Packet, options: Options) -> bytes:
    is_bytes = type(packet) is Message and isinstance(packet.value, bytes | bytearray | memoryview)
    array = to_array(packet)
    if not is_bytes and (why := fault(array, options, packet=True)):
        raise Unsendable(f"this message cannot be sent: {why}")
    try:
        words = cast("bytes", msgpack.packb(array))
    except UnicodeEncodeError:
        raise Unsendable("this message cannot be sent: its text holds a lone surrogate") from None
    check_size(len(words), options)
    return words


def _msgpack_frames(words: Sequence[bytes]) -> list[Frame]:
    return [Frame(BINARY, b"".join(words), len(words))]


def _msgpack_loads(data: str | bytes, options: Options) -> Batch:
    if isinstance(data, str):
        raise Malformed("a session that speaks msgpack got text")
    unpacker = msgpack.Unpacker(
        max_buffer_size=max(len(data), 1),
        max_array_len=options.max_elements,
        max_map_len=options.max_elements,
    )
    unpacker.feed(data)
    batch: Batch = []
    begin = 0
    try:
        for array in unpacker:
            end = unpacker.tell()
            size, begin = end - begin, end
            if array is None:  # padding
                continue
            check_arrived(size, options)
            is_bytes = type(array) is list and len(array) == 2 and array[0] == "m" and type(array[1]) is bytes  # noqa: PLR2004
            if not is_bytes and (why := fault(array, options, packet=True)):
                raise Malformed(f"a value was refused: {why}")
            packet = from_array(array)
            if packet is not None:
                batch.append((packet, size))
            if len(batch) > options.max_packets:
                raise Malformed(f"a batch may hold {options.max_packets} packets (max_packets)")
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise Malformed(f"broken msgpack: {type(error).__name__} {error}") from None
    if begin != len(data):
        raise Malformed("broken msgpack: the last packet is cut off")
    return batch


def _json_first(data: bytes) -> bytes:
    return data.partition(b"\n")[0]


def _msgpack_first(data: bytes) -> bytes:
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    try:
        unpacker.skip()
    except (ValueError, msgpack.UnpackException):
        return b""
    return data[: unpacker.tell()]


def _json_read(words: bytes) -> Packet | None:
    array = json.loads(words)
    return Message(_from_base64(array)) if array[0] == "b" else from_array(array)


def _msgpack_read(words: bytes) -> Packet | None:
    return from_array(msgpack.unpackb(words))


JSON: Final = Codec("json", _json_dumps, shared(_json_frames), _json_loads, _json_first, _json_read, numbered=True)
MSGPACK: Final = Codec(
    "msgpack", _msgpack_dumps, shared(_msgpack_frames), _msgpack_loads, _msgpack_first, _msgpack_read, numbered=True
)
