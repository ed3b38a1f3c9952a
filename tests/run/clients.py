"""Clients of every kind, few lines each, that wait for the end of their session and return how they were told."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, Final

from aiohttp import ClientConnectionError, WSMsgType

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiohttp import ClientSession

PAUSE: Final = 0.3
"""Seconds that the client takes between two polls which is never attached for long."""


async def _open(http: ClientSession, mount: str) -> tuple[str, str]:
    async with http.post(f"{mount}/v1/open", data='["i",{"v":1}]\n') as answer:
        assert answer.status == 200, await answer.text()
        _, told = json.loads((await answer.text()).partition("\n")[0])
        return told["sid"], told["key"]


async def _ack(http: ClientSession, mount: str, sid: str, key: str) -> None:
    """Say that the close has come; under a runner that lets nobody in any more that cannot be said."""
    with contextlib.suppress(ClientConnectionError):
        async with http.post(f"{mount}/v1/{sid}/send", data=json.dumps(["@", sid, key, 0, 1])):
            pass


def _lines(text: str) -> list[list[Any]]:
    return [json.loads(line) for line in text.splitlines() if line]


def _end(packets: list[list[Any]]) -> int | None:
    return next((packet[1] for packet in packets if packet[0] == "c"), None)


async def poll(http: ClientSession, mount: str, _name: str, ready: Callable[[], object], pause: float = 0.0) -> int:
    """Poll, natively; with a `pause` it is between two polls most of the time."""
    sid, key = await _open(http, mount)
    n = 0
    wishes = [{"hold": 0}] if pause else []
    while True:
        n += 1
        asked = asyncio.ensure_future(
            http.post(f"{mount}/v1/{sid}/poll", data=json.dumps(["@", sid, key, n, 0, *wishes]))
        )
        if n == 1:
            ready()
        async with await asked as answer:
            code = _end(_lines(await answer.text()))
        if code:
            await _ack(http, mount, sid, key)
            return code
        await asyncio.sleep(pause)


async def pausing(http: ClientSession, mount: str, name: str, ready: Callable[[], object]) -> int:
    """Poll with a pause after each."""
    return await poll(http, mount, name, ready, PAUSE)


async def stream(http: ClientSession, mount: str, _name: str, ready: Callable[[], object]) -> int:
    """Read a native stream, up to its orderly end."""
    sid, key = await _open(http, mount)
    code = 0
    async with http.post(f"{mount}/v1/{sid}/stream", data=json.dumps(["@", sid, key, 1, 0])) as answer:
        ready()
        async for line in answer.content:
            if line.startswith(b"data: ") and (found := _end(_lines(line[6:].decode()))):
                code = found
                await _ack(http, mount, sid, key)
    return code


async def websocket(http: ClientSession, mount: str, _name: str, ready: Callable[[], object]) -> int:
    """Attach a native WebSocket, ack the close, and see the connection closed in order."""
    sid, key = await _open(http, mount)
    code = 0
    async with http.ws_connect(f"{mount}/v1/websocket") as socket:
        await socket.send_str(json.dumps(["@", sid, key, 1, 0]))
        async for message in socket:
            ready()
            if found := _end(_lines(message.data)):
                code = found
                await socket.send_str('["a",1]')
        assert socket.close_code == 1000
    return code


async def raw(http: ClientSession, mount: str, _name: str, ready: Callable[[], object]) -> int:
    """Open a plain WebSocket."""
    async with http.ws_connect(f"{mount}/websocket") as socket:
        ready()
        message = await socket.receive()
        assert message.type is WSMsgType.CLOSE, message
        return int(message.data)


async def sockjs(http: ClientSession, mount: str, name: str, ready: Callable[[], object]) -> int:
    """Open a WebSocket of SockJS."""
    code = 0
    async with http.ws_connect(f"{mount}/000/{name}/websocket") as socket:
        async for message in socket:
            if message.data == "o":
                ready()
            elif message.data.startswith("c"):
                code = json.loads(message.data[1:])[0]
    return code


async def xhr(http: ClientSession, mount: str, name: str, ready: Callable[[], object]) -> int:
    """Poll as SockJS does."""
    async with http.post(f"{mount}/000/{name}/xhr") as answer:
        assert await answer.text() == "o\n"
    ready()
    while True:
        async with http.post(f"{mount}/000/{name}/xhr") as answer:
            frame = await answer.text()
        if frame.startswith("c"):
            return int(json.loads(frame[1:])[0])


async def xhr_streaming(http: ClientSession, mount: str, name: str, ready: Callable[[], object]) -> int:
    """Read a stream of SockJS, up to its orderly end."""
    code = 0
    async with http.post(f"{mount}/000/{name}/xhr_streaming") as answer:
        async for line in answer.content:
            if line == b"o\n":
                ready()
            elif line.startswith(b"c"):
                code = json.loads(line[1:])[0]
    return code


KINDS: Final[tuple[Callable[[ClientSession, str, str, Callable[[], object]], Coroutine[Any, Any, int]], ...]] = (
    poll,
    pausing,
    stream,
    websocket,
    raw,
    sockjs,
    xhr,
    xhr_streaming,
)
