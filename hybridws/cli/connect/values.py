"""Lines of text and the messages that they stand for."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Final

BYTES: Final = "$bytes"
"""The one key of the map that stands for bytes where only JSON can stand."""


def to_value(line: bytes, *, as_json: bool) -> object:
    """Read what a line of the input says. Raises ValueError."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    if not as_json:
        return text
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if isinstance(value, dict) and value.keys() == {BYTES}:
        try:
            return base64.b64decode(value[BYTES], validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise ValueError(f"{BYTES} is not base64") from None
    return value


def to_json(value: object) -> str:
    """Write a message as JSON in one line."""
    if isinstance(value, bytes):
        value = {BYTES: base64.b64encode(value).decode()}
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def to_line(value: object) -> str:
    """Write a message for people: text as it is, bytes in hexadecimal, anything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return f"<{len(value)} bytes: {value.hex(' ')}>"
    return to_json(value)
