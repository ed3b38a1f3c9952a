"""The server that `node --test` talks to; it prints its address, and ends when its input does."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

from aiohttp import web

from hybridws import RequestFailed
from hybridws.aiohttp import mount
from hybridws.errors import NotAuthenticated
from hybridws.options import Admission

if TYPE_CHECKING:
    from hybridws import Session


async def echo(session: Session) -> None:
    """Send back what comes; answer requests; do what `!` asks for."""

    @session.on_request
    async def answer(value: object) -> object:
        if value == "fail":
            raise RequestFailed(4321, "as you wished")
        return {"you said": value}

    async for message in session:
        if message == "!close":
            await session.close(3210, "bye")
        elif message == "!restart":
            await session.send("before")
            await session.close(1012, "the server is restarting")
        elif message == "!ask":
            await session.send(str(await session.request("what?")))
        else:
            await session.send(message)


async def welcome(_: object, auth: object) -> Admission:
    """Let in whoever has a ticket; it is good for a second."""
    if not str(auth).startswith("ticket"):
        raise NotAuthenticated("no ticket")
    return Admission(user="guest", expires=1)


async def graphql(session: Session) -> None:
    """Speak graphql-transport-ws: whatever is subscribed to counts to three."""
    async for text in session:
        message = json.loads(text)
        match message["type"]:
            case "connection_init":
                await session.send('{"type": "connection_ack"}')
            case "subscribe":
                for count in (1, 2, 3):
                    news = {"id": message["id"], "type": "next", "payload": {"data": {"count": count}}}
                    await session.send(json.dumps(news))
                await session.send(json.dumps({"id": message["id"], "type": "complete"}))
            case _:
                pass  # a ping


def stomp_frame(command: str, headers: dict[str, str], body: str = "") -> str:
    """Write a frame of STOMP 1.2."""
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    return f"{command}\n{lines}\n{body}\0"


async def stomp(session: Session) -> None:
    """Speak enough STOMP 1.2 for one client that publishes to itself."""
    subscription = ""
    async for text in session:
        head, _, body = text.partition("\n\n")
        command, *lines = head.split("\n")
        headers = dict(line.split(":", 1) for line in lines if line)
        match command:
            case "CONNECT":
                await session.send(stomp_frame("CONNECTED", {"version": "1.2", "heart-beat": "0,0"}))
            case "SUBSCRIBE":
                subscription = headers["id"]
            case "SEND":
                about = {"destination": headers["destination"], "subscription": subscription, "message-id": "1"}
                await session.send(stomp_frame("MESSAGE", about, body.removesuffix("\0")))
            case "DISCONNECT":
                await session.send(stomp_frame("RECEIPT", {"receipt-id": headers["receipt"]}))
            case _:
                pass


async def mqtt(session: Session) -> None:
    """Speak enough MQTT 3.1.1 for one client that publishes short messages to itself, a packet a message or more."""
    rest = b""
    async for data in session:
        rest += data
        while len(rest) > 1 and len(rest) >= 2 + rest[1]:  # lengths below 128 take one byte
            packet, rest = rest[: 2 + rest[1]], rest[2 + rest[1] :]
            match packet[0] >> 4:
                case 1:
                    await session.send(b"\x20\x02\x00\x00")
                case 8:
                    await session.send(b"\x90\x03" + packet[2:4] + b"\x00")
                case 3:
                    await session.send(bytes([packet[0] & 0xF0]) + packet[1:])
                case 12:
                    await session.send(b"\xd0\x00")
                case _:
                    pass


async def relay(session: Session) -> None:
    """Pass what one says to all others (which is all that y-websocket's clients need)."""
    room = ROOMS.setdefault(session.http_request.tail, set())
    room.add(session)
    try:
        async for message in session:
            for other in room - {session}:
                await other.send(message)
    finally:
        room.discard(session)


ROOMS: dict[str, set[Session]] = {}


async def main() -> None:
    """Serve until the input ends."""
    app = web.Application()
    for prefix, handler in (
        ("/echo", echo),
        ("/graphql", graphql),
        ("/stomp", stomp),
        ("/mqtt", mqtt),
        ("/yjs/doc", relay),
    ):
        mount(app, prefix, handler, origins="*")
    mount(app, "/spoken", echo, origins="*", subprotocols=["chat.v2", "chat.v1"])
    mount(app, "/narrow", echo, origins="*", max_packets=10, max_depth=3, max_elements=20)
    mount(app, "/guarded", echo, origins="*", authenticate=welcome)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}", flush=True)  # noqa: T201 - how the test learns it
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


asyncio.run(main())
