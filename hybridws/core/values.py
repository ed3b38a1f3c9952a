"""What a message may hold: the one set of values that JSON, msgpack and every client can carry unchanged."""

from __future__ import annotations

import json
import math
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, Final

from hybridws.errors import Malformed, MessageTooLarge, TooLarge, Unsendable

if TYPE_CHECKING:
    from hybridws.options import Options

SAFE_INTEGER: Final = 2**53
"""Integers from here on are not the same number in JavaScript."""
_PLAIN: Final = frozenset((str, bool, type(None)))
"""Of these nothing can be wrong, and most items are one."""
LONG: Final = 512
"""Characters from which on it is quicker to ask first what a text holds."""
_ESCAPED: Final = bytes(range(0x20)) + b'"\\'
"""What does not stand in a JSON text as it is (RFC 8259 §7)."""
_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def is_safe(number: int) -> bool:
    """Tell whether JavaScript can hold this integer."""
    return -SAFE_INTEGER < number < SAFE_INTEGER


def fault(value: object, options: Options, *, packet: bool = False) -> str | None:
    """Tell why `value` is no JSON value that every client can hold, or None if it is one.

    Refused are NaN and infinities, integers of 2^53 and more, keys that are not text, bytes inside a value, more than
    `max_depth` levels or `max_elements` items, and whatever JSON does not know. It goes level by level, not item by
    item, so that no depth can overflow the stack. With `packet`, the outermost list is ours and counts for nothing: so
    what may be sent as a message may also come as one.
    """
    level: list[object] = [value]
    elements = -len(value) if packet and isinstance(value, list) else 0
    room = options.max_depth + packet
    while level:
        deeper: list[object] = []
        for item in level:
            if type(item) in _PLAIN or (type(item) is int and is_safe(item)):
                continue
            if flaw := _flaw(item):
                return flaw
            if isinstance(item, dict | list | tuple):
                if not room:
                    return _too_deep(options)
                deeper.extend(item.values() if isinstance(item, dict) else item)
                if elements + len(deeper) > options.max_elements:
                    return f"it has more than {options.max_elements} elements (max_elements)"
        elements += len(deeper)
        level = deeper
        room -= 1
    return None


def _too_deep(options: Options) -> str:
    return f"it is nested more than {options.max_depth} levels deep (max_depth)"


def _flaw(item: object) -> str | None:
    """Tell what is wrong with one item, whatever is inside it."""
    if item is None or isinstance(item, str | bool | list | tuple):
        return None
    if isinstance(item, int):
        return None if is_safe(item) else "an integer of 2^53 or more is not the same in JavaScript: send it as text"
    if isinstance(item, float):
        return None if math.isfinite(item) else f"{item} has no form in JSON"
    if isinstance(item, dict):
        return None if all(isinstance(key, str) for key in item) else "the keys of an object must be text"
    if isinstance(item, bytes | bytearray | memoryview):
        return "bytes must stand alone as a message, not inside a value"
    return f"{type(item).__name__} has no form in JSON"


def is_plain(text: str) -> bool:
    """Tell by a quick look whether a text stands in JSON as it is; of some that do it says that they do not."""
    return text.isprintable() and '"' not in text and "\\" not in text


def quoted(text: str) -> str:
    """Write a text as JSON; one that is long and needs no escapes four times as quickly as the encoder."""
    if len(text) > LONG and '"' not in text and "\\" not in text:
        words = text.encode("utf-8", "surrogatepass")
        if len(words.translate(None, _ESCAPED)) == len(words):
            return f'"{text}"'
    return encode_basestring(text)


def json_text(value: object, options: Options, *, packet: bool = False) -> str:
    """Encode a value as compact JSON; `packet` as for `fault`. Raises Unsendable."""
    if why := fault(value, options, packet=packet):
        raise Unsendable(f"this message cannot be sent: {why}")
    return _encode(value)


def json_value(text: str, options: Options, *, packet: bool = False) -> Any:  # noqa: ANN401 - a JSON value is what it is
    """Decode JSON that came from outside; `packet` as for `fault`. Raises Malformed."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise Malformed(f"broken JSON: {error}") from None
    except RecursionError:
        raise Malformed(f"a value was refused: {_too_deep(options)}") from None
    if why := fault(value, options, packet=packet):
        raise Malformed(f"a value was refused: {why}")
    return value


def utf8(data: str | bytes) -> str:
    """Decode UTF-8 strictly. Raises Malformed."""
    if isinstance(data, str):
        return data
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"this is not UTF-8: {error.reason} at byte {error.start}") from None


def check_size(size: int, options: Options) -> None:
    """Raise MessageTooLarge if a message that is to be sent takes more than `max_message` bytes."""
    if size > options.max_message:
        raise MessageTooLarge(f"the message takes {size} bytes, and {options.max_message} are allowed (max_message)")


def check_arrived(size: int, options: Options) -> None:
    """Raise TooLarge if a message that has come takes more than `max_message` bytes."""
    if size > options.max_message:
        raise TooLarge(f"a message of {size} bytes has come, and {options.max_message} are allowed (max_message)")
