"""A WebSocket of aiohttp, at either end, as a transport sees it."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from aiohttp import ClientError, ClientWebSocketResponse, WSMsgType, web

from hybridws.core import codes
from hybridws.exchange import Gone, Left

if TYPE_CHECKING:

    class Cut(Protocol):
        """Closes the connection: after the `rest` of what is to be written, or at once."""

        def __call__(self, *, rest: bool) -> None:
            """Close it."""
            ...


_CLOSE_CODE: Final = struct.Struct("!H")  # RFC 6455 §5.5.1


class WebSocket:
    """One WebSocket that aiohttp reads and writes; `cut` closes the connection under it."""

    __slots__ = ("_closing", "_cut", "_left", "_ws", "subprotocol")

    def __init__(self, ws: web.WebSocketResponse | ClientWebSocketResponse, cut: Cut, subprotocol: str | None) -> None:
        """Wrap a WebSocket after its handshake; it must neither answer pings nor closes by itself."""
        self._ws = ws
        self._cut = cut
        self._left = asyncio.Event()
        self._closing = False
        self.subprotocol = subprotocol

    async def receive(self) -> str | bytes | None:
        """Wait for the next frame; None is a mere sign of life. Raises Left, Malformed, TooLarge."""
        message = await self._ws.receive()
        data: Any = message.data
        match message.type:
            case WSMsgType.TEXT | WSMsgType.BINARY:
                return cast("str | bytes", data)
            case WSMsgType.PING:
                try:
                    await self._ws.pong(message.data)
                except (ConnectionError, ClientError):
                    self._left.set()
                    raise Left(codes.ABNORMAL) from None
                return None
            case WSMsgType.PONG:
                return None
            case WSMsgType.CLOSE:
                self._left.set()
                if not self._closing:
                    await self._answer_close(message.data or codes.NORMAL)
                raise Left(message.data or codes.NO_STATUS, message.extra or "")
            case _:
                self._left.set()
                raise Left(codes.ABNORMAL)

    async def send(self, opcode: int, payload: bytes) -> None:
        """Send one frame, and wait while the network takes no more. Raises Gone."""
        try:
            await self._ws.send_frame(payload, WSMsgType(opcode))
        except (ConnectionError, ClientError):
            raise Gone from None

    async def ping(self) -> None:
        """Ask for a sign of life (RFC 6455 §5.5.2). Raises Gone."""
        await self.send(WSMsgType.PING, b"")

    async def close(self, code: int, reason: str, patience: float) -> None:
        """Do the closing handshake; cut the connection after `patience` seconds without an answer.

        Whoever receives must go on: it is there that the answer comes. A second call changes nothing.
        """
        if self._closing:
            return
        self._closing = True
        await self.send(WSMsgType.CLOSE, _CLOSE_CODE.pack(code) + reason.encode())
        try:
            async with asyncio.timeout(patience):
                await self._left.wait()
        except TimeoutError:
            self.abort()
        else:
            self._cut(rest=True)

    def abort(self) -> None:
        """Cut the connection at once."""
        self._cut(rest=False)

    async def _answer_close(self, code: int) -> None:
        """Send the close frame back and end the connection (RFC 6455 §5.5.1)."""
        if isinstance(self._ws, web.WebSocketResponse):
            await self._ws.close(code=code, drain=False)
        else:
            await self._ws.close(code=code)
