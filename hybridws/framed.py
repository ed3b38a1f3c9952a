"""A WebSocket whose connection is ours: frames go straight from the transport to the session, and back in one write.

Once the handshake is done, the asyncio transport of the connection is told that this protocol reads it from now on
(`set_protocol`). No task reads and none writes, so an idle WebSocket costs little more than its session.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

from hybridws.core import codes
from hybridws.core.codec import CLOSE
from hybridws.core.frames import PING, PONG, FrameReader, Writer, close_frame, read_close, xor
from hybridws.errors import Malformed
from hybridws.exchange import Nobody

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from hybridws.exchange import Listener, Request

mask: Callable[[bytes, bytearray], None] = xor
with suppress(ImportError):  # a newer aiohttp may have it elsewhere
    from aiohttp._websocket.helpers import websocket_mask  # in C: 60 times as fast for 64 KiB as what the core has

    mask = websocket_mask

WRITE_AHEAD: Final = 64 * 1024
"""Bytes that may wait in this process before we stop writing: what the network takes in one go."""
_ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
_KEY_SIZE: Final = 16
_VERSIONS: Final = ("13", "8", "7")

_writer: Final = Writer()
"""One for all, since it is what goes to all that is written once."""


class Framed:
    """One WebSocket on a transport that is ours. It hears nothing before `resume`.

    It is an asyncio.Protocol in all but its bases: a class that is compiled keeps fast only by itself.
    """

    __slots__ = (
        "_busy",
        "_closing",
        "_cut",
        "_early",
        "_left",
        "_lost",
        "_out",
        "_owed",
        "_paused",
        "_reader",
        "_stopped",
        "_timer",
        "_transport",
        "full",
        "listener",
        "subprotocol",
    )

    def __init__(
        self, transport: asyncio.Transport, max_size: int, subprotocol: str | None, early: bytes, head: bytes = b""
    ) -> None:
        """Take over a transport after the handshake; `early` has come already. Messages have at most `max_size`.

        `head` is what of the handshake is not written yet: it leaves with the first `flush`.
        """
        self.listener: Listener = Nobody()
        self.subprotocol = subprotocol
        self.full = False
        self._transport = transport
        self._reader = FrameReader(max_size, mask)
        self._out: list[bytes] = [head] if head else []
        self._owed: bytes | None = None  # the newest ping, if the network was full when it came
        self._early = early
        self._paused = True
        self._stopped = True  # the transport reads no more, or somebody before us may have seen to that
        self._busy = False  # there is more to read than one turn of the loop is for
        self._closing = False
        self._left = False
        self._lost = False  # the connection has ended, and that is told when what came before it has been heard
        self._cut = False  # we have ended it, and want to hear nothing more
        self._timer: asyncio.TimerHandle | None = None
        transport.set_write_buffer_limits(WRITE_AHEAD)
        transport.set_protocol(cast("asyncio.Protocol", self))

    # ── what asyncio tells ────────────────────────────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        """Read frames, and hand them on."""
        if self._paused:  # the transport is stopped only now: most pauses are over before anything comes
            self._early += data
            self._stop()
            return
        frames = self._reader.feed(data)
        for at, (opcode, payload) in enumerate(frames):
            if at and self._is_deaf():
                self._reader.put_back(frames[at:])
                return
            if opcode < CLOSE:
                self.listener.hear(payload)
            else:
                self._control(opcode, payload)
        if self._reader.more and not (self._busy or self._left):
            self._busy = True
            self._stop()
            asyncio.get_running_loop().call_soon(self._go_on)
        if self._reader.broken and not self._left:
            self._break(*self._reader.broken)

    def _go_on(self) -> None:
        """Read what there was too much of for one turn of the loop."""
        self._busy = False
        if not self._is_deaf():
            self.data_received(b"")
            self._read_on()

    def _is_deaf(self) -> bool:
        return self._paused or self._left

    def _control(self, opcode: int, payload: str | bytes) -> None:
        words = payload if isinstance(payload, bytes) else payload.encode()
        if opcode == CLOSE:
            code, reason = read_close(words)
            if not self._closing:
                self.send(CLOSE, words[:2])
                self.flush()
            self._transport.close()
            self._end(code, reason)
            return
        if opcode == PING:
            self._answer_ping(words)
        self.listener.hear(None)

    def _answer_ping(self, words: bytes) -> None:
        """Send a pong, or owe it: who pings without reading fills no memory, and only the newest counts (§5.5.3)."""
        if self.full:
            self._owed = words
        else:
            self.send(PONG, words)
            self.flush()

    def _break(self, code: int, reason: str) -> None:
        """End the connection for what came: nothing more of it can be read."""
        if not self._closing:
            self._out.append(close_frame(code, codes.shorten(reason)))
            self.flush()
        self._transport.close()
        self._end(codes.ABNORMAL, reason)

    def eof_received(self) -> None:
        """Let the transport close: half a WebSocket is none."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """Tell the listener, once it has heard what came before."""
        self._lost = True
        if self._cut or not self._paused:
            self._end(codes.ABNORMAL, "")

    def pause_writing(self) -> None:
        """Note that the network takes no more."""
        self.full = True

    def resume_writing(self) -> None:
        """Tell the listener that the network takes more."""
        self.full = False
        owed, self._owed = self._owed, None
        if owed is not None:
            self._answer_ping(owed)
        if not self._left:
            self.listener.room()

    # ── what the listener asks ────────────────────────────────────────────────────────────────────────────────────

    def send(self, opcode: int, payload: bytes) -> None:
        """Send one frame; it leaves with `flush`."""
        if not (self._left or self._closing):
            self._out.append(_writer.frame(opcode, payload))

    def flush(self) -> None:
        """Let what was sent leave, in one write."""
        out = self._out
        if out and not self._transport.is_closing():
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))
            out.clear()

    def close(self, code: int, reason: str, patience: float) -> None:
        """Do the closing handshake; cut the connection after `patience` seconds without an answer."""
        if self._closing or self._left:
            return
        self._closing = True
        self._out.append(close_frame(code, reason))
        self.flush()
        self._timer = asyncio.get_running_loop().call_later(patience, self.abort)
        self.resume()  # the answer is among what comes

    def abort(self) -> None:
        """Cut the connection at once."""
        self._cut = True
        self._transport.abort()
        if self._lost:
            self._end(codes.ABNORMAL, "")

    def pause(self) -> None:
        """Hear nothing until `resume`."""
        if not (self._paused or self._closing or self._left):
            self._paused = True

    def resume(self) -> None:
        """Hear again, first what had come before."""
        if not self._paused or self._left:
            return
        self._paused = False
        early, self._early = self._early, b""
        self.data_received(early)
        if self._lost and not self._paused:
            self._end(codes.ABNORMAL, "")
        self._read_on()

    def _read_on(self) -> None:
        if self._stopped and not (self._paused or self._busy or self._left):  # what was early may have been too much
            self._stopped = False
            self._transport.resume_reading()

    def _stop(self) -> None:
        self._stopped = True
        self._transport.pause_reading()

    def _end(self, code: int, reason: str) -> None:
        if self._left:
            return
        self._left = True
        if self._timer:
            self._timer.cancel()
        listener, self.listener = self.listener, Nobody()  # no circle is left for the collector
        listener.left(code, reason)


def handshake(request: Request, subprotocols: Collection[str]) -> tuple[dict[str, str], str | None]:
    """Answer a request for a WebSocket (RFC 6455 §4.2): the headers of the 101, and the subprotocol that was chosen.

    Raises Malformed when it does not ask in the right way.
    """
    headers = request.headers
    connection = [part.strip().lower() for part in request.all_of("Connection").split(",")]
    key = headers.get("Sec-WebSocket-Key", "")
    if (
        request.method != "GET"
        or headers.get("Upgrade", "").strip().lower() != "websocket"
        or "upgrade" not in connection
        or headers.get("Sec-WebSocket-Version", "") not in _VERSIONS
        or not _is_key(key)
    ):
        raise Malformed("Not a valid websocket request")
    asked = [name for part in request.all_of("Sec-WebSocket-Protocol").split(",") if (name := part.strip())]
    chosen = next((name for name in subprotocols if name in asked), None)
    if asked and chosen is None:
        raise Malformed(
            f"none of the subprotocols {', '.join(asked)[:200]} is spoken here, "
            f"but {', '.join(subprotocols) or 'none at all'}"
        )
    accept = base64.b64encode(hashlib.sha1(key.encode() + _ACCEPT, usedforsecurity=False).digest()).decode()
    answer = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept}
    if chosen is not None:
        answer["Sec-WebSocket-Protocol"] = chosen
    return answer, chosen


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == _KEY_SIZE
    except (binascii.Error, ValueError):
        return False
