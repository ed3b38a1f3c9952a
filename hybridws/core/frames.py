"""WebSocket frames (RFC 6455 §5): what a client sends, read strictly, and what a server sends, written.

Rule 1: a frame is refused at its head: an unmasked one, one with reserved bits or an unknown kind, a control frame in
        pieces, one that is too long; so nobody waits for, or keeps, what would be refused anyway.
Rule 2: what stands before a fault is handed on.
Rule 3: fragments are kept as one run of bytes, so a million small ones cost what one large one costs; a text that is
        no UTF-8 is refused with the fragment that shows it.
Rule 4: so many frames are read at once and no more; a million small ones take time, and others want their turn.
"""

from __future__ import annotations

import struct
from codecs import utf_8_decode
from typing import TYPE_CHECKING, Final

from hybridws.core.codec import BINARY, CLOSE, TEXT
from hybridws.core.codes import INVALID_TEXT, NO_STATUS, PROTOCOL_ERROR, TOO_BIG

if TYPE_CHECKING:
    from collections.abc import Callable

MORE: Final = 0x0
PING: Final = 0x9
PONG: Final = 0xA

AT_ONCE: Final = 500
"""Frames that one `feed` reads: some milliseconds' worth."""

_FIN: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_CONTROL: Final = 0x8
_SHORTEST: Final = 2
_SHORT: Final = 126
"""Payloads below this have their length in the head's second byte; this value there means that two bytes follow ..."""
_LONG: Final = 127
"""... and this one that eight do."""
_MIDDLE: Final = 0x10000
_LONGEST_CHAR: Final = 4
"""Bytes of UTF-8."""
_NO_TEXT: Final = (INVALID_TEXT, "a text is not UTF-8")
_CODE: Final = struct.Struct("!H")
_CLOSE_CODES: Final = frozenset((*range(1000, 1004), *range(1007, 1015)))
"""Those below 3000 that may stand in a frame (RFC 6455 §7.4, and the registry that it founded)."""


def xor(key: bytes, payload: bytearray) -> None:
    """Mask or unmask a payload in place (§5.3)."""
    size = len(payload)
    mask = int.from_bytes((key * (size // 4 + 1))[:size], "little")
    payload[:] = (int.from_bytes(payload, "little") ^ mask).to_bytes(size, "little")


def frame(opcode: int, payload: bytes) -> bytes:
    """Write one frame of a server: whole, and not masked."""
    size = len(payload)
    if size < _SHORT:
        return (_FIN << 8 | opcode << 8 | size).to_bytes(2, "big") + payload
    if size < _MIDDLE:
        return struct.pack("!BBH", _FIN | opcode, _SHORT, size) + payload
    return struct.pack("!BBQ", _FIN | opcode, _LONG, size) + payload


class Writer:
    """Writes frames, and keeps the newest: what a broadcast says to thousands is put into a frame once."""

    __slots__ = ("_frame", "_opcode", "_payload")

    def __init__(self) -> None:
        """Start with nothing written."""
        self._opcode = TEXT
        self._payload = b""
        self._frame = frame(TEXT, b"")

    def frame(self, opcode: int, payload: bytes) -> bytes:
        """Do what the function `frame` does."""
        if payload is not self._payload or opcode != self._opcode:
            self._frame = frame(opcode, payload)
            self._opcode, self._payload = opcode, payload
        return self._frame


def close_frame(code: int, reason: str) -> bytes:
    """Write a close frame (§5.5.1); the reason takes at most 123 bytes."""
    return frame(CLOSE, _CODE.pack(code) + reason.encode())


def read_close(payload: bytes) -> tuple[int, str]:
    """Read a close frame that a FrameReader gave: its code (1005 if it has none) and reason."""
    if not payload:
        return NO_STATUS, ""
    return _CODE.unpack_from(payload)[0], payload[2:].decode()


class FrameReader:
    """Reads a client's frames from bytes cut anywhere."""

    __slots__ = ("_buffer", "_kind", "_limit", "_mask", "_message", "_put_back", "broken", "more")

    def __init__(self, limit: int, mask: Callable[[bytes, bytearray], None] = xor) -> None:
        """Read messages of at most `limit` bytes; `mask` unmasks a payload in place."""
        self.broken: tuple[int, str] | None = None
        """Why nothing more can be read: the close code and the reason."""
        self._limit = limit
        self._mask = mask
        self._buffer = bytearray()
        self._message: bytearray | None = None
        self._kind = TEXT
        self._put_back: list[tuple[int, str | bytes]] = []
        self.more = False
        """Whether there may be more to read in what has come: feed nothing to go on."""

    def put_back(self, frames: list[tuple[int, str | bytes]]) -> None:
        """Give frames back that were not wanted yet: the next `feed` returns them first."""
        self._put_back = frames

    def feed(self, data: bytes) -> list[tuple[int, str | bytes]]:
        """Return the messages and control frames that are complete now, each with its opcode; text as `str`."""
        found: list[tuple[int, str | bytes]] = []
        if not self._buffer and self._is_plain(data):
            payload = bytearray(data[6:])
            self._mask(data[2:6], payload)
            self._take(_FIN | TEXT, payload, found)
            return found
        found, self._put_back = self._put_back, found
        source: bytes | bytearray = data
        if self._buffer:
            self._buffer += data
            source = self._buffer
        at = 0
        for _ in range(AT_ONCE):
            end = self._next(source, at, found) if self.broken is None else at
            if end == at:
                self.more = False
                break
            at = end
        else:
            self.more = True
        if source is self._buffer:
            del self._buffer[:at]
        elif at < len(data):
            self._buffer += data[at:]
        return found

    def _is_plain(self, data: bytes) -> bool:
        """Tell whether this is one short text and nothing else, as most of what comes is."""
        size = len(data) - 6
        return (
            0 <= size < _SHORT
            and data[0] == _FIN | TEXT
            and data[1] == _MASKED | size
            and self._message is None
            and not self._put_back
            and size <= self._limit
            and self.broken is None
        )

    def _next(self, source: bytes | bytearray, at: int, found: list[tuple[int, str | bytes]]) -> int:  # noqa: PLR0911
        """Read the frame that begins at `at`; return where it ends, or `at` if it is not complete."""
        there = len(source) - at
        if there < _SHORTEST:
            return at
        first, second = source[at], source[at + 1]
        size = second & 0x7F
        head = 6
        if flaw := self._flaw(first, second, size):
            self.broken = (PROTOCOL_ERROR, flaw)
            return at
        if size >= _SHORT:
            head = 8 if size == _SHORT else 14
            if there < head:
                return at
            least = _SHORT if head == 8 else _MIDDLE  # noqa: PLR2004
            size = int.from_bytes(source[at + 2 : at + head - 4], "big")
            if size < least:
                self.broken = (PROTOCOL_ERROR, "a length is written in more bytes than it takes")
                return at
        if first & 0x0F < _CONTROL and size + len(self._message or b"") > self._limit:
            self.broken = (TOO_BIG, f"a message may take {self._limit} bytes (max_batch)")
            return at
        end = at + head + size
        if there < head + size:
            return at
        payload = bytearray(source[at + head : end])
        self._mask(bytes(source[at + head - 4 : at + head]), payload)
        self._take(first, payload, found)
        return end

    def _flaw(self, first: int, second: int, size: int) -> str:  # noqa: PLR0911 - one for each rule
        """Tell what is wrong with the first two bytes of a frame; empty if nothing is."""
        opcode = first & 0x0F
        if first & _RESERVED:
            return "a frame has reserved bits"
        if not second & _MASKED:
            return "a client must mask its frames"
        if opcode >= _CONTROL:
            if opcode > PONG:
                return f"there are no frames of kind {opcode}"
            if not first & _FIN or size >= _SHORT:
                return "a control frame is whole and takes at most 125 bytes"
        elif opcode > BINARY:
            return f"there are no frames of kind {opcode}"
        elif (opcode == MORE) == (self._message is None):
            return "a message begins before another has ended, or goes on without having begun"
        return ""

    def _take(self, first: int, payload: bytearray, found: list[tuple[int, str | bytes]]) -> None:
        opcode = first & 0x0F
        if opcode >= _CONTROL:
            if opcode == CLOSE and (fault := _close_fault(payload)):
                self.broken = fault
            else:
                found.append((opcode, bytes(payload)))
            return
        fresh = 0
        if self._message is not None:
            fresh = len(self._message)
            self._message += payload
            payload, opcode = self._message, self._kind
        if not first & _FIN:
            self._message, self._kind = payload, opcode
            if opcode == TEXT and not _begins_text(payload, fresh):
                self.broken = _NO_TEXT
            return
        self._message = None
        if opcode == BINARY:
            found.append((BINARY, bytes(payload)))
            return
        try:
            found.append((TEXT, payload.decode()))
        except UnicodeDecodeError:
            self.broken = _NO_TEXT


def _begins_text(message: bytearray, fresh: int) -> bool:
    """Tell whether a text may begin like this, if what stands before `fresh` may; its last character may be cut."""
    begin = fresh
    while begin and fresh - begin < _LONGEST_CHAR - 1 and message[begin - 1] & 0xC0 == 0x80:  # noqa: PLR2004 - §3 of RFC 3629
        begin -= 1
    if begin and message[begin - 1] >= 0xC0:  # noqa: PLR2004 - the first byte of a character that may go on in what is fresh
        begin -= 1
    else:
        begin = fresh
    try:
        utf_8_decode(memoryview(message)[begin:], "strict", False)  # noqa: FBT003 - `final`, which has no name in C
    except UnicodeDecodeError:
        return False
    return True


def _close_fault(payload: bytearray) -> tuple[int, str] | None:
    """Tell what is wrong with the payload of a close frame (§5.5.1, §7.4)."""
    if not payload:
        return None
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (code in _CLOSE_CODES or 3000 <= code <= 4999):  # noqa: PLR2004
        return PROTOCOL_ERROR, "a close frame has no valid code"
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        return INVALID_TEXT, "a close frame's reason is not UTF-8"
    return None
