"""The words of SockJS 0.3 and of a raw WebSocket: two codecs without numbers.

SockJS: `o` opens, `a["one","two"]` brings messages, `h` is a heartbeat, `c[code,"reason"]` closes; a client sends a
JSON array of texts. A raw WebSocket has no words of its own: a frame is a message.
"""

from __future__ import annotations

import json
import re
import struct
from typing import TYPE_CHECKING, Final

from hybridws.core.codec import BINARY, CLOSE, TEXT, Batch, Codec, Frame, shared
from hybridws.core.packets import Close, Heartbeat, Message, Open, Packet
from hybridws.core.values import LONG, check_arrived, check_size, is_plain, json_text, json_value, quoted, utf8
from hybridws.errors import Malformed, Unsendable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hybridws.options import Options

PAYLOAD_EXPECTED: Final = "Payload expected."
BROKEN_JSON: Final = "Broken JSON encoding."
HEARTBEAT: Final = b"h"

_ESCAPED: Final = re.compile(r"[\x00-\x1f\u200c-\u200f\u2028-\u202f\u2060-\u206f\ud800-\udfff\ufff0-\uffff]")
"""What browsers have changed or dropped in transit (sockjs-protocol, JSONEncoding): sent as \\uXXXX."""


def quote(text: str) -> str:
    """Write a text as JSON in which every character survives every browser."""
    words = quoted(text)
    return words if words.isascii() else _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", words)


def text_size(text: str) -> int:
    """Count the bytes of UTF-8; a lone surrogate counts for three."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def text_of(value: object, options: Options) -> str:
    """Write a message as text, for a client that can carry only text."""
    return value if isinstance(value, str) else json_text(value, options)


def message_of(text: str, options: Options) -> tuple[Packet, int]:
    """Read a message from a client that can carry only text. Raises Malformed or TooLarge."""
    size = text_size(text)
    check_arrived(size, options)
    return Message(json_value(text, options) if options.payload == "json" else text), size


# ── SockJS ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _sockjs_dumps(packet: Packet, options: Options) -> bytes:
    if type(packet) is Message:
        value = packet.value
        if type(value) is not str and isinstance(value, bytes | bytearray | memoryview):
            raise Unsendable("a SockJS client takes only text: send str or a JSON value, or encode the bytes yourself")
        text = text_of(value, options)
        check_size(text_size(text), options)
        return quote(text).encode()
    match packet:
        case Open():
            return b"o"
        case Heartbeat():
            return HEARTBEAT
        case Close(code, reason):
            return f"c[{code},{quote(reason)}]".encode()
        case _:
            raise Unsendable(f"SockJS has no word for {type(packet).__name__}")


def _sockjs_frames(words: Sequence[bytes]) -> list[Frame]:
    """Join messages that follow one another; `o`, `h` and `c` stand alone."""
    frames: list[Frame] = []
    run: list[bytes] = []
    for word in words:
        if word.startswith(b'"'):
            run.append(word)
            continue
        if run:
            frames.append(_messages(run))
            run = []
        frames.append(Frame(TEXT, word, 1))
    if run:
        frames.append(_messages(run))
    return frames


def _messages(run: list[bytes]) -> Frame:
    return Frame(TEXT, b"a[%b]" % b",".join(run), len(run))


def _sockjs_loads(data: str | bytes, options: Options) -> Batch:
    """Read a JSON array of texts; over a WebSocket (`str`) also one text alone, or nothing."""
    text = utf8(data)
    alone = text[2:-2]
    if len(text) < LONG and text == f'["{alone}"]' and is_plain(alone):  # as nearly all are
        return [message_of(alone, options)]
    if not text:
        if isinstance(data, str):
            return []
        raise Malformed(PAYLOAD_EXPECTED)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed(BROKEN_JSON) from None
    if isinstance(data, str) and isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Malformed(PAYLOAD_EXPECTED)
    if len(value) > options.max_packets:
        raise Malformed(f"A body may hold {options.max_packets} messages (max_packets), this one has {len(value)}.")
    return [message_of(item, options) for item in value]


def _sockjs_read(words: bytes) -> Packet | None:
    return Message(json.loads(words)) if words.startswith(b'"') else None


SOCKJS: Final = Codec(
    "sockjs", _sockjs_dumps, shared(_sockjs_frames), _sockjs_loads, bytes, _sockjs_read, numbered=False
)


# ── raw WebSocket ─────────────────────────────────────────────────────────────────────────────────────────────────
# The first byte of the words is the frame's opcode, the rest its payload.

_CODE: Final = struct.Struct("!H")  # RFC 6455 §5.5.1


def _raw_dumps(packet: Packet, options: Options) -> bytes:
    match packet:
        case Message(bytes() | bytearray() | memoryview() as data):
            check_size(len(data), options)
            return b"%c%b" % (BINARY, bytes(data))
        case Message(value):
            try:
                payload = text_of(value, options).encode()
            except UnicodeEncodeError:
                raise Unsendable("this message cannot be sent: its text holds a lone surrogate") from None
            check_size(len(payload), options)
            return b"%c%b" % (TEXT, payload)
        case Close(code, reason):
            return b"%c%b%b" % (CLOSE, _CODE.pack(code), reason.encode())
        case _:
            raise Unsendable(f"a raw WebSocket has no word for {type(packet).__name__}")


def _raw_frames(words: Sequence[bytes]) -> list[Frame]:
    return [Frame(word[0], word[1:], 1) for word in words]


def _raw_loads(data: str | bytes, options: Options) -> Batch:
    if isinstance(data, str):
        return [message_of(data, options)]
    check_arrived(len(data), options)
    return [(Message(data), len(data))]


def _raw_read(words: bytes) -> Packet | None:
    opcode, payload = words[0], words[1:]
    if opcode == TEXT:
        return Message(payload.decode())
    return Message(payload) if opcode == BINARY else None


RAW: Final = Codec("raw", _raw_dumps, shared(_raw_frames), _raw_loads, bytes, _raw_read, numbered=False)


def close_of(payload: bytes) -> Close:
    """Read the code and reason out of the payload of a close frame (RFC 6455 §5.5.1)."""
    return Close(_CODE.unpack_from(payload)[0], payload[_CODE.size :].decode())
