"""@stomp/stompjs over SockJS and over the raw WebSocket: somebody else's protocol on top of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from aiohttp import web

from hybridws.aiohttp import mount
from tests.live.drivers import run_node

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hybridws import Session

    Serve = Callable[[web.Application], Awaitable[str]]

pytestmark = pytest.mark.live

BODY: Final = "News: ünï😀\n\\n\\c\u2028 <b>"


def frame(command: str, headers: dict[str, str], body: str = "") -> str:
    """Write a frame (STOMP 1.2, "STOMP Frames"); no header here needs an escape."""
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    return f"{command}\n{lines}\n{body}\0"


def read(text: str) -> tuple[str, dict[str, str], str]:
    """Read a frame: its command, its headers and its body."""
    head, _, body = text.partition("\n\n")
    command, *lines = head.split("\n")
    return command, dict(line.split(":", 1) for line in lines), body.removesuffix("\0")


async def broker(session: Session) -> None:
    """Speak enough STOMP 1.2 for one client: what it sends comes back if it has subscribed to the destination."""
    subscriptions: dict[str, str] = {}
    count = 0
    async for text in session:
        command, headers, body = read(text)
        match command:
            case "CONNECT":
                await session.send(frame("CONNECTED", {"version": "1.2", "heart-beat": "0,0", "server": "test/1"}))
            case "SUBSCRIBE":
                subscriptions[headers["destination"]] = headers["id"]
            case "SEND" if headers["destination"] in subscriptions:
                count += 1
                where = headers["destination"]
                about = {"destination": where, "subscription": subscriptions[where], "message-id": str(count)}
                await session.send(frame("MESSAGE", about, body))
            case "DISCONNECT":
                await session.send(frame("RECEIPT", {"receipt-id": headers["receipt"]}))
            case _:
                pass  # sent where nobody listens


async def talk(serve: Serve, transport: str | None, address: str, **options: object) -> dict[str, object]:
    """Have stompjs connect, subscribe, publish and disconnect, and return what it met."""
    app = web.Application()
    mount(app, "/stomp", broker, **options)
    url = await serve(app)
    question = {"url": address.format(url=url).replace("http", "http" if transport else "ws", 1)}
    story: dict[str, object] = await run_node("node_stomp.mjs", {**question, "transport": transport, "body": BODY})
    assert story["errors"] == []
    assert story["server"] == "test/1"
    assert story["version"] == "1.2"
    assert story["messages"] == [["/topic/news", BODY], ["/topic/news", "last"]]
    assert story["receipt"] == "RECEIPT"
    return story


@pytest.mark.parametrize("transport", ["websocket", "xhr-streaming", "xhr-polling"])
async def test_over_sockjs(serve: Serve, transport: str) -> None:
    """Over a transport of SockJS, stompjs connects, subscribes, publishes and disconnects in order."""
    story = await talk(serve, transport, "{url}/stomp")
    assert story["transport"] == transport


@pytest.mark.parametrize("compress", [False, True])
async def test_over_raw_websocket(serve: Serve, *, compress: bool) -> None:
    """The same without SockJS: of the versions that stompjs offers, newest first, the server's first is chosen."""
    spoken = ("v12.stomp", "v11.stomp")
    story = await talk(serve, None, "{url}/stomp/websocket", subprotocols=spoken, compress=compress)
    assert story["protocol"] == "v12.stomp"
