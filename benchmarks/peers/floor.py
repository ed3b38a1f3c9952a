"""Nothing but sockets, on uvloop: what is left for a server in Python when it does next to nothing with a message.

It keeps no rule of RFC 6455 but the handshake and the mask, knows frames of up to 125 bytes that come whole, and has no
sessions, no numbers, no limits and no timeouts. It is no server to be used, but a mark: nobody who runs Python for each
message can be much faster.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys
from typing import Final, cast

import uvloop

MEMBERS: Final[set[Floor]] = set()
ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY: Final = b"Sec-WebSocket-Key: "
CLOSE: Final = 0x88
HEAD: Final = 6
"""Bytes before the payload of a small frame of a client: two, and the mask."""


class Floor(asyncio.Protocol):
    """One connection."""

    __slots__ = ("_open", "_transport")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the request."""
        self._transport = cast("asyncio.Transport", transport)
        self._open = False

    def data_received(self, data: bytes) -> None:
        """Answer the request; then echo each frame, and send to everybody what begins with a B."""
        if not self._open:
            self._shake_hands(data)
            return
        at, out = 0, b""
        while at < len(data):
            size = data[at + 1] & 0x7F
            begins = at + HEAD
            mask = int.from_bytes(data[at + 2 : begins] * (size // 4 + 1), "little") & ((1 << 8 * size) - 1)
            words = int.from_bytes(data[begins : begins + size], "little") ^ mask
            frame = bytes((data[at], size)) + words.to_bytes(size, "little")
            at = begins + size
            if frame[0] == CLOSE:
                self._transport.write(out + frame)
                self._transport.close()
                return
            if frame[2:3] == b"B":
                for member in MEMBERS:
                    member._transport.write(frame)  # noqa: SLF001 - one of this class
            else:
                out += frame
        if out:
            self._transport.write(out)

    def _shake_hands(self, data: bytes) -> None:
        begins = data.index(KEY) + len(KEY)
        key = data[begins : data.index(b"\r\n", begins)]
        accept = base64.b64encode(hashlib.sha1(key + ACCEPT, usedforsecurity=False).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
        self._open = True
        MEMBERS.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """Forget it."""
        MEMBERS.discard(self)


async def main(port: int) -> None:
    """Serve until the process is ended."""
    await asyncio.get_running_loop().create_server(Floor, "127.0.0.1", port, backlog=1024)
    await asyncio.Event().wait()


uvloop.run(main(int(sys.argv[1])))
