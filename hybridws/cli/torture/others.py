"""Clients of SockJS and Socket.IO, as small as a client can be.

They do what an application does with such a client: when the connection breaks they open another session, and what was
under way is not said again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aiohttp
from yarl import URL

from hybridws.cli.torture.peers import FAULTS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

OK: Final = 200
AGAIN: Final = 0.1
"""Seconds before another session is opened."""
NO_LIMIT: Final = aiohttp.ClientTimeout(total=None)


class Link(NamedTuple):
    """One connection of a client that cannot resume: what it takes, and what comes."""

    send: Callable[[str], Any]
    texts: AsyncIterator[str]


class Reopening(ABC):
    """A client that opens another session whenever its connection breaks; below it only the words differ."""

    def __init__(self, url: str, transport: str | None, options: Mapping[str, Any]) -> None:
        """Prepare to use one transport."""
        self.transport: str | None = transport or "websocket"
        self.resets = 0
        """Sessions that were lost."""
        self.url = URL(url)
        self.http: aiohttp.ClientSession | None = None
        self._options = options
        self._link: Link | None = None
        self._linked = asyncio.Event()

    def connect(self, http: aiohttp.ClientSession) -> contextlib.AbstractAsyncContextManager[Link]:
        """Open one session."""
        return self.by_socket(http) if self.transport == "websocket" else self.by_polls(http)

    @abstractmethod
    def by_socket(self, http: aiohttp.ClientSession) -> contextlib.AbstractAsyncContextManager[Link]:
        """Open one over a WebSocket."""

    @abstractmethod
    def by_polls(self, http: aiohttp.ClientSession) -> contextlib.AbstractAsyncContextManager[Link]:
        """Open one over long polling."""

    async def open(self) -> None:
        """Open the first session, to see that it can be done."""
        http = {name: self._options.get(name) for name in ("headers", "cookies", "trust_env")}
        self.http = aiohttp.ClientSession(timeout=NO_LIMIT, **{name: value for name, value in http.items() if value})
        async with asyncio.timeout(self._options.get("open_timeout", 10.0)), self.connect(self.http):
            pass

    async def __aiter__(self) -> AsyncIterator[object]:
        """Receive messages, over one session after another."""
        first = True
        while self.http and not self.http.closed:
            self.resets += not first
            first = False
            with contextlib.suppress(*FAULTS):
                async with self.connect(self.http) as self._link:
                    self._linked.set()
                    async for text in self._link.texts:
                        yield text
            self._linked.clear()
            await asyncio.sleep(AGAIN)

    async def send(self, text: str) -> None:
        """Send a message; whether it arrives nobody can tell."""
        await self._linked.wait()
        if self._link:
            with contextlib.suppress(*FAULTS):
                await self._link.send(text)

    async def close(self) -> None:
        """Leave."""
        if self.http:
            await self.http.close()

    def hurry(self) -> None:  # noqa: B027 - not every client has something to do here
        """Do nothing: a session cannot move."""


class SockJSPeer(Reopening):
    """A client of SockJS: `websocket`, or `poll` for xhr-polling."""

    def _base(self) -> URL:
        """Make up the address of a new session."""
        return self.url / "000" / secrets.token_hex(8)

    @contextlib.asynccontextmanager
    async def by_socket(self, http: aiohttp.ClientSession) -> AsyncGenerator[Link]:
        """Open a session over a WebSocket."""
        async with http.ws_connect(self._base() / "websocket") as socket:
            _expect((await socket.receive_str()).startswith("o"), "SockJS's first frame is o")

            async def texts() -> AsyncIterator[str]:
                async for message in socket:
                    for text in _sockjs_texts(message.data):
                        yield text

            yield Link(lambda text: socket.send_str(json.dumps([text])), texts())

    @contextlib.asynccontextmanager
    async def by_polls(self, http: aiohttp.ClientSession) -> AsyncGenerator[Link]:
        """Open a session over xhr-polling."""
        base = self._base()

        async def poll() -> str:
            async with http.post(base / "xhr", data=b"") as answer:
                _expect(answer.status == OK, f"the poll was answered with {answer.status}")
                return (await answer.text()).rstrip("\n")

        async def send(text: str) -> None:
            async with http.post(base / "xhr_send", data=json.dumps([text])) as answer:
                await answer.read()

        async def texts() -> AsyncIterator[str]:
            while not (frame := await poll()).startswith("c"):
                for text in _sockjs_texts(frame):
                    yield text

        _expect((await poll()).startswith("o"), "SockJS's first frame is o")
        yield Link(send, texts())


class SocketIOPeer(Reopening):
    """A client of Socket.IO 3 and newer (Engine.IO 4): `websocket` or `poll`; the server echoes one event."""

    def __init__(self, url: str, transport: str | None, options: Mapping[str, Any]) -> None:
        """Prepare to use one transport; `options["event"]` names the event."""
        super().__init__(url, transport, options)
        self._event = str(options.get("event", "message"))

    def _at(self, transport: str) -> URL:
        return (self.url / "").with_query(EIO="4", transport=transport)

    def _packet(self, text: str) -> str:
        return "42" + json.dumps([self._event, text])

    def _texts(self, packet: str) -> list[str]:
        if not packet.startswith("42"):
            return []
        name, *values = json.loads(packet[2:])
        return [value for value in values if name == self._event and isinstance(value, str)]

    @contextlib.asynccontextmanager
    async def by_socket(self, http: aiohttp.ClientSession) -> AsyncGenerator[Link]:
        """Open a session over a WebSocket, and join the default namespace."""
        async with http.ws_connect(self._at("websocket")) as socket:
            _expect((await socket.receive_str()).startswith("0"), "Engine.IO's first packet is 0")
            await socket.send_str("40")
            _expect((await socket.receive_str()).startswith("40"), "Socket.IO answers 40 with 40")

            async def texts() -> AsyncIterator[str]:
                async for message in socket:
                    if message.data == "2":
                        await socket.send_str("3")
                    for text in self._texts(message.data):
                        yield text

            yield Link(lambda text: socket.send_str(self._packet(text)), texts())

    @contextlib.asynccontextmanager
    async def by_polls(self, http: aiohttp.ClientSession) -> AsyncGenerator[Link]:
        """Open a session over long polling, and join the default namespace."""
        at = self._at("polling")

        async def poll() -> list[str]:
            async with http.get(at) as answer:
                _expect(answer.status == OK, f"the poll was answered with {answer.status}")
                return (await answer.text()).split("\x1e")

        async def send(packet: str) -> None:
            async with http.post(at, data=packet) as answer:
                await answer.read()

        async def texts() -> AsyncIterator[str]:
            while True:
                for packet in await poll():
                    if packet == "2":
                        await send("3")
                    for text in self._texts(packet):
                        yield text

        first = (await poll())[0]
        _expect(first.startswith("0"), "Engine.IO's first packet is 0")
        at = at.update_query(sid=json.loads(first[1:])["sid"])
        await send("40")
        await poll()
        yield Link(lambda text: send(self._packet(text)), texts())


def _expect(true: bool, what: str) -> None:  # noqa: FBT001 - it is the statement itself
    """Raise ConnectionError unless the server speaks as it should."""
    if not true:
        raise ConnectionError(what)


def _sockjs_texts(frame: str) -> list[str]:
    return list(json.loads(frame[1:])) if frame.startswith("a") else []
