"""A plain origin server for the hostile proxy's tests: it echoes, streams on command, and notes what reached it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import ClientError, WSMsgType, web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@web.middleware
async def forgive(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Take it as it is that a client leaves in the middle; aiohttp would log an error."""
    try:
        return await handler(request)
    except (ConnectionError, ClientError, web.RequestPayloadError):
        return web.Response()


class Origin:
    """The application, and what it has seen."""

    def __init__(self) -> None:
        """Prepare the application."""
        self.app = web.Application(middlewares=[forgive])
        self.app.add_routes(
            [
                web.get("/hello", self._hello),
                web.post("/echo", self._echo),
                web.post("/refuse", self._refuse),
                web.get("/stream", self._stream),
                web.get("/sized", self._sized),
                web.get("/ws", self._websocket),
            ]
        )
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.arrived = asyncio.Event()
        """A request has come."""
        self.go = asyncio.Event()
        """Streams and slow answers end."""
        self.left = asyncio.Event()
        """A WebSocket has ended."""

    async def _hello(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.Response(text="hello", headers={"X-Own": "yes"})

    async def _echo(self, request: web.Request) -> web.Response:
        body = await request.read()
        self._note(request)
        self.bodies.append(body)
        if "slow" in request.query:
            await self.go.wait()
        return web.Response(body=body)

    async def _refuse(self, request: web.Request) -> web.Response:
        """Answer before the body has come."""
        self._note(request)
        return web.Response(status=413, text="no")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Write `one`, and `two` once `go` is set; with `size`, write so much of `one`."""
        self._note(request)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"1" * int(request.query.get("size", 3)))
        await self.go.wait()
        await response.write(b"two")
        await response.write_eof()
        return response

    async def _sized(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.Response(body=b"x" * int(request.query["size"]))

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        self._note(request)
        socket = web.WebSocketResponse(protocols=["tea"])
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        self.left.set()
        return socket

    def _note(self, request: web.Request) -> None:
        self.requests.append(request)
        self.arrived.set()
