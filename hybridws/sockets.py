"""A WebSocket that aiohttp reads and writes, at either end, as a transport sees it: nothing there waits, tasks do."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from aiohttp import ClientError, ClientWebSocketResponse, WSMsgType, web

from hybridws.core import codes
from hybridws.exchange import Nobody

if TYPE_CHECKING:
    from hybridws.exchange import Listener

    class Cut(Protocol):
        """Closes the connection: after the `rest` of what is to be written, or at once."""

        def __call__(self, *, rest: bool) -> None:
            """Close it."""
            ...


_CLOSE_CODE: Final = struct.Struct("!H")  # RFC 6455 §5.5.1


class WebSocket:
    """One WebSocket of aiohttp; `cut` closes the connection under it. It hears nothing before `resume`."""

    __slots__ = (
        "_closing",
        "_cut",
        "_hearing",
        "_left",
        "_news",
        "_out",
        "_tasks",
        "_timer",
        "_ws",
        "listener",
        "subprotocol",
    )

    def __init__(self, ws: web.WebSocketResponse | ClientWebSocketResponse, cut: Cut, subprotocol: str | None) -> None:
        """Wrap a WebSocket after its handshake; it must neither answer pings nor close by itself."""
        self.listener: Listener = Nobody()
        self.subprotocol = subprotocol
        self._ws = ws
        self._cut = cut
        self._out: deque[tuple[int, bytes]] = deque()
        self._news = asyncio.Event()
        self._hearing = asyncio.Event()
        self._left = False
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None
        loop = asyncio.get_running_loop()
        self._tasks = (loop.create_task(self._read()), loop.create_task(self._write()))

    async def run(self) -> None:
        """Wait until the connection has ended. Cancelling cuts it."""
        try:
            await asyncio.wait(self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            self._end(codes.ABNORMAL, "")

    @property
    def full(self) -> bool:
        """Whether the network has not taken yet what was sent."""
        return bool(self._out)

    def send(self, opcode: int, payload: bytes) -> None:
        """Send one frame."""
        if not self._left:
            self._out.append((opcode, payload))
            self._news.set()

    def flush(self) -> None:
        """Do nothing: aiohttp writes frame by frame."""

    def close(self, code: int, reason: str, patience: float) -> None:
        """Do the closing handshake; cut the connection after `patience` seconds without an answer."""
        if self._closing or self._left:
            return
        self.send(WSMsgType.CLOSE, _CLOSE_CODE.pack(code) + reason.encode())
        self._closing = True
        self._hearing.set()  # the answer is among what comes
        self._timer = asyncio.get_running_loop().call_later(patience, self.abort)

    def abort(self) -> None:
        """Cut the connection at once."""
        self._hearing.set()  # the end is among what comes
        self._cut(rest=False)

    def pause(self) -> None:
        """Hear nothing until `resume`."""
        if not self._closing:
            self._hearing.clear()

    def resume(self) -> None:
        """Hear again."""
        self._hearing.set()

    async def _read(self) -> None:
        while not self._left:
            message = await self._ws.receive()
            await self._hearing.wait()
            await self._hear(message.type, message.data, message.extra)

    async def _hear(self, kind: WSMsgType, data: Any, extra: str | None) -> None:  # noqa: ANN401 - as aiohttp gives it
        match kind:
            case WSMsgType.TEXT | WSMsgType.BINARY:
                self.listener.hear(data)
            case WSMsgType.PING:
                self.send(WSMsgType.PONG, data)
                self.listener.hear(None)
            case WSMsgType.PONG:
                self.listener.hear(None)
            case WSMsgType.CLOSE:
                if self._closing:
                    self._cut(rest=True)
                else:
                    await self._answer_close(data or codes.NORMAL)
                self._end(data or codes.NO_STATUS, extra or "")
            case _:
                self._end(codes.ABNORMAL, "")

    async def _write(self) -> None:
        try:
            while not self._left:
                await self._news.wait()
                self._news.clear()
                while self._out:
                    opcode, payload = self._out[0]
                    await self._ws.send_frame(payload, WSMsgType(opcode))
                    if self._out:  # it may have ended meanwhile
                        self._out.popleft()
                if not self._left:
                    self.listener.room()
        except (ConnectionError, ClientError):
            self._end(codes.ABNORMAL, "")

    def _end(self, code: int, reason: str) -> None:
        if self._left:
            return
        self._left = True
        if self._timer:
            self._timer.cancel()
        self._out.clear()
        self._news.set()  # the writer has nothing more to wait for
        listener, self.listener = self.listener, Nobody()  # no circle is left for the collector
        listener.left(code, reason)

    async def _answer_close(self, code: int) -> None:
        """Send the close frame back and end the connection (RFC 6455 §5.5.1)."""
        if isinstance(self._ws, web.WebSocketResponse):
            await self._ws.close(code=code, drain=False)
        else:
            await self._ws.close(code=code)
