"""A subprotocol: a small broker for STOMP 1.2 (https://stomp.github.io), over whatever gets through.

    python examples/stomp.py

Any STOMP client connects: @stomp/stompjs with `brokerURL: "ws://127.0.0.1:8080/stomp/websocket"`, or, where WebSockets
do not pass, with `webSocketFactory: () => new HybridWS("http://127.0.0.1:8080/stomp", ["v12.stomp"])`.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

from aiohttp import web

import hybridws
from hybridws.aiohttp import mount

ESCAPES = {"\\": "\\\\", "\r": "\\r", "\n": "\\n", ":": "\\c"}
MEANT = {"\\r": "\r", "\\n": "\n", "\\c": ":", "\\\\": "\\"}


class Frame(NamedTuple):
    """One frame of STOMP."""

    command: str
    headers: dict[str, str]
    body: str = ""

    def __str__(self) -> str:
        """Write it. CONNECTED alone escapes nothing, for the sake of old clients."""
        plain = self.command == "CONNECTED"
        rows = [f"{key}:{value if plain else escape(value)}\n" for key, value in self.headers.items()]
        return f"{self.command}\n{''.join(rows)}\n{self.body}\0"


def escape(text: str) -> str:
    """Write what may not stand in a header as it is."""
    return "".join(ESCAPES.get(character, character) for character in text)


def unescape(text: str) -> str:
    """Read it. Raises ValueError for an escape that there is not."""
    read = []
    rest = iter(text)
    for character in rest:
        pair = character + next(rest, "") if character == "\\" else ""
        if pair and pair not in MEANT:
            raise ValueError(f"{pair!r} is no escape")
        read.append(MEANT[pair] if pair else character)
    return "".join(read)


def parse(text: str) -> Frame | None:
    """Read a frame; None for a heartbeat, which is nothing but ends of lines. Raises ValueError."""
    text = text.lstrip("\r\n")
    if not text:
        return None
    head, blank, rest = text.replace("\r\n", "\n").partition("\n\n")
    body, end, _ = rest.partition("\0")
    if not blank or not end:
        raise ValueError("a frame is a command, headers, an empty line, a body and a NUL")
    command, *rows = head.split("\n")
    headers: dict[str, str] = {}
    for row in rows:
        key, colon, value = row.partition(":")
        if not colon:
            raise ValueError(f"{row!r} is no header")
        headers.setdefault(unescape(key), unescape(value))  # of repeated headers the first one counts
    return Frame(command, headers, body)


class Broker:
    """Who has subscribed to what."""

    def __init__(self) -> None:
        """Begin without anybody."""
        self._subscribers: dict[str, dict[tuple[hybridws.Session, str], None]] = {}
        self._numbers = itertools.count(1)

    async def serve(self, session: hybridws.Session) -> None:
        """Serve one client until it disconnects, or says what is not STOMP."""
        session.at_end(self._forget)
        async for text in session:
            try:
                frame = parse(text) if isinstance(text, str) else parse(text.decode())
                if frame:
                    self._obey(session, frame)
                    receipt = frame.headers.get("receipt")
                    if receipt is not None and frame.command != "CONNECT":
                        await session.send(str(Frame("RECEIPT", {"receipt-id": receipt})))
            except (ValueError, KeyError) as error:
                what = f"the header {error} is missing" if isinstance(error, KeyError) else str(error)
                await session.send(str(Frame("ERROR", {"message": what})))
                await session.close()

    def _obey(self, session: hybridws.Session, frame: Frame) -> None:
        headers = frame.headers
        match frame.command:
            case "CONNECT" | "STOMP":
                versions = headers["accept-version"].split(",")
                if "1.2" not in versions:
                    raise ValueError("this broker speaks version 1.2 alone")
                hello = {"version": "1.2", "heart-beat": "0,0", "server": "hybridws-example"}
                session.send_nowait(str(Frame("CONNECTED", hello)))
            case "SUBSCRIBE":
                self._subscribers.setdefault(headers["destination"], {})[session, headers["id"]] = None
            case "UNSUBSCRIBE":
                self._forget(session, headers["id"])
            case "SEND":
                self._publish(headers, frame.body)
            case "DISCONNECT" | "ACK" | "NACK":
                pass  # the session acknowledges by itself, and keeps what has not arrived
            case command:
                raise ValueError(f"there is no {command!r} here")

    def _publish(self, headers: dict[str, str], body: str) -> None:
        """Send to each subscriber; who has not taken a whole buffer of earlier ones is closed."""
        where = headers["destination"]
        for session, name in list(self._subscribers.get(where, {})):
            about = {**headers, "subscription": name, "message-id": str(next(self._numbers))}
            about.pop("receipt", None)
            try:
                session.send_nowait(str(Frame("MESSAGE", about, body)))
            except hybridws.BufferFull:
                session.close_now(4008, "too slow")

    def _forget(self, session: hybridws.Session, name: str | None = None) -> None:
        for where, subscribers in list(self._subscribers.items()):
            for one in [one for one in subscribers if one[0] is session and name in (None, one[1])]:
                del subscribers[one]
            if not subscribers:
                del self._subscribers[where]


if __name__ == "__main__":
    app = web.Application()
    mount(app, "/stomp", Broker().serve, subprotocols=["v12.stomp"])
    hybridws.run(app, port=8080)
