"""Reads streams: bytes in, cut anywhere; whole batches out, still encoded."""

from __future__ import annotations

import msgpack

from hybridws.errors import Malformed


class PackReader:
    """What has come of a stream of msgpack packets and is not a whole packet yet."""

    __slots__ = ("_limit", "_rest")

    def __init__(self, limit: int) -> None:
        """Start before the first byte; a packet of more than `limit` bytes is refused."""
        self._limit = limit
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take some bytes, and return the packets that are whole with them, in one piece. Raises Malformed."""
        data = self._rest + chunk
        unpacker = msgpack.Unpacker(max_buffer_size=max(self._limit, len(data)))
        unpacker.feed(data)
        end = 0
        try:
            while True:
                unpacker.skip()
                end = unpacker.tell()
        except msgpack.OutOfData:
            pass
        except (ValueError, msgpack.UnpackException) as error:
            raise Malformed(f"broken msgpack: {type(error).__name__} {error}") from None
        self._rest = data[end:]
        if len(self._rest) > self._limit:
            raise Malformed(f"a packet of more than {self._limit} bytes")
        return [data[:end]] if end else []


class EventReader:
    """What has come of a stream of server-sent events (HTML standard §9.2.6) and is not a whole event yet."""

    __slots__ = ("_data", "_limit", "_rest", "_size")

    def __init__(self, limit: int) -> None:
        """Start before the first byte; an event of more than `limit` bytes is refused."""
        self._limit = limit
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0  # bytes of the event so far

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take some bytes, and return the data of the events that are complete with them. Raises Malformed.

        Lines end with LF or CRLF. Comments and all fields but `data` are passed over; several data lines are joined by
        LF. Bytes are only cut at line breaks, so a character that is split over two chunks survives.
        """
        events: list[bytes] = []
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for raw in lines:
            line = raw.removesuffix(b"\r")
            if not line:
                if self._data:
                    events.append(b"\n".join(self._data))
                    self._data = []
                    self._size = 0
            elif line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
                self._size += len(line)
                self._check(self._size)
        self._check(self._size + len(self._rest))
        return events

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise Malformed(f"an event of more than {self._limit} bytes")
