"""A client that was written from docs/protocol.md alone, by someone who had seen nothing else of the project.

It speaks JSON and changes transports when it is told. It proves that the page is enough, and is no model of style.
"""

import asyncio
import base64
import json
import random
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

TRANSPORTS = ("poll", "stream", "websocket")


class Client:
    """Opens a session at once. `take(message)` is called with each message; `transport`: poll, stream or websocket."""

    def __init__(self, url: str, transport: str, take: Callable[[Any], None]) -> None:
        """Begin to open a session with the mount at `url`."""
        self.url, self.transport, self.take = url + "/v1/", transport, take
        self.http: aiohttp.ClientSession | None = None
        self.attempt: asyncio.Task[None] | None = None
        self.ended: tuple[int, str] | None = None
        self.n = self.received = self.told = self.acked = self.said = self.failures = self.retry = 0  # told: as an ack
        self.outbox: list[str] = []  # the first has the number acked + 1
        self.news = asyncio.Event()
        self.options: dict[str, Any] = {
            "poll_timeout": 25,
            "buffer": 2**20,
            "max_message": 2**18,
        }  # until the server tells its own
        self.hello = json.dumps(["i", {"v": 1, "codec": "json", "nonce": secrets.token_hex(16)}])
        self.carrier = asyncio.create_task(self._carry())

    async def send(self, message: object) -> None:
        """Send a value or bytes, once there is room."""
        room = self.options["buffer"] - self.options["max_message"]  # so that all of the outbox fits into one batch
        while self.outbox and sum(len(line.encode()) + 64 for line in self.outbox) > room and not self.ended:  # noqa: ASYNC110 - the shortest way
            await asyncio.sleep(0.05)
        self._number(*(["b", base64.b64encode(message).decode()] if isinstance(message, bytes) else ["m", message]))

    def cut(self, transport: str | None = None) -> None:
        """Break every connection now, and go on over `transport`."""
        self.transport = transport or self.transport
        if self.attempt:
            self.attempt.cancel()

    async def close(self, code: int = 1000, reason: str = "done") -> None:
        """End the session; `ended` then has the code and the reason, and what was never acked is in the outbox."""
        if not self.ended:
            self._number("c", code, reason)
        await self.carrier

    def _number(self, *packet: object) -> None:
        line = json.dumps(packet, ensure_ascii=False, allow_nan=False)
        if self.ended or len(line.encode()) > self.options["max_message"]:
            raise ValueError(f"the message is too large, or the session has ended: {self.ended}")
        self.outbox.append(line)
        self.news.set()

    def _attach(self, step: int) -> str:
        self.n, self.told = self.n + step, self.received
        return json.dumps(["@", self.options["sid"], self.options["key"], self.n * step, self.received])

    def _packets(self, text: str, position: int | None) -> int | None:  # noqa: C901 - one branch for each kind
        """Take packets; `position`: the number of the next one on this transport, None before its first `a`."""
        for line in filter(None, (line.removeprefix("data:").strip(": ") for line in text.split("\n"))):
            kind, *rest = json.loads(line)
            if kind == "x":
                code, reason, details = (*rest, {})[:3]
                self.retry = details.get("retry", 0)
                if code not in (1012, 4408, 4409, 4429):  # these are about the transport, all others end the session
                    self.ended = self.ended or (details.get("code", code), details.get("reason", reason))
                raise ConnectionError(reason)
            if kind == "o":
                self.options = {**self.options, **rest[0]}
            elif kind == "a":
                del self.outbox[: max(0, rest[0] - self.acked)]
                self.acked, self.failures, self.retry, position = max(self.acked, rest[0]), 0, 0, position or 0
            elif kind == "#":
                position = rest[0]
            elif kind == "h":
                self.told = -1  # an ack is due
            elif kind in "mbqreukc":
                if not position or position > self.received + 1:
                    raise ValueError("a packet skips ahead")
                position += int(rest[0]) if kind == "k" else 1
                if position > self.received + 1:
                    self.received = position - 1
                    if kind in "mb":
                        self.take(rest[0] if kind == "m" else base64.b64decode(rest[0]))
                    elif kind == "c":
                        self.ended = tuple(rest)  # once that is acked, the server ends the transport
        self.news.set()
        return position

    async def _post(self, path: str, body: str) -> None:
        """Ask, and take the answer: a batch, or a stream of events."""
        assert self.http
        position = None
        async with self.http.post(self.url + path, data=body) as response:
            async for line in response.content:
                position = self._packets(line.decode(), position)
        if position is None:
            raise ValueError("this does not speak the protocol")

    async def _send(self, batch: str) -> None:
        await self._post(self.options["sid"] + "/send", self._attach(0) + "\n" + batch)
        await asyncio.sleep(0.2 if self.acked < self.said else 0)  # it did not take all: the application is slow
        self.said = self.acked

    async def _up(self, write: Callable[[str], Awaitable[None]]) -> None:
        """Say what is in the outbox, and ack; the first batch promotes a WebSocket."""
        self.said = self.acked
        while True:
            self.said, self.told = max(self.said, self.acked), self.received
            lines = self.outbox[self.said - self.acked :][:9000]
            head, self.said = f'["a",{self.told}]\n["#",{self.said + 1}]', self.said + len(lines)
            await write("\n".join([head, *lines]))
            while self.said >= self.acked + len(self.outbox) and self.told >= self.received:
                self.news.clear()
                await self.news.wait()

    async def _down(self, up: asyncio.TaskGroup) -> None:
        assert self.http
        if "sid" not in self.options:
            await self._post("open", self.hello)
        if self.transport != "websocket":
            up.create_task(self._up(self._send))
            while True:
                await self._post(f"{self.options['sid']}/{self.transport}", self._attach(1))
        async with self.http.ws_connect(self.url + "websocket", max_msg_size=0) as socket:
            await socket.send_str(self._attach(1))
            position = self._packets(await socket.receive_str(timeout=5), None)
            up.create_task(self._up(socket.send_str))
            while True:
                position = self._packets(await socket.receive_str(timeout=self.options["heartbeat"] + 10), position)

    async def _carry(self) -> None:
        while not self.ended:
            self.attempt = asyncio.create_task(self._attempt())
            await asyncio.wait([self.attempt])
            if not self.attempt.cancelled():
                self.attempt.result()
            self.failures += 1  # the first time at once, then after up to 0.5, 1.5, 3.5 … 15.5 s
            await asyncio.sleep(self.retry or random.uniform(0, 2 ** min(self.failures, 6) / 4 - 0.5))

    async def _attempt(self) -> None:
        limits = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=self.options["poll_timeout"] + 10)
        try:
            async with aiohttp.ClientSession(timeout=limits) as self.http, asyncio.TaskGroup() as up:
                await self._down(up)
        except* (aiohttp.ClientError, OSError, ValueError, TypeError, LookupError, RuntimeError):
            pass  # another one is made
