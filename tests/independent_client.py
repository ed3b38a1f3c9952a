"""This client was written from docs/protocol.md alone, by somebody who had seen none of the project's code.

So it is the test of that page: the JSON codec, every transport, each chosen by name. It leaves out what the page leaves
to a client: falling back by itself, requests, fresh credentials, the beacon.
"""

import asyncio
import base64
import json
import random
import secrets
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp

KINDS = ("websocket", "stream", "poll", "events")
# What §3 calls a transport that failed; the last three are answers that are none of the protocol's.
FAILURES = (aiohttp.ClientError, OSError, TimeoutError, ValueError, TypeError, LookupError)


class SessionClosed(Exception):
    """The session is over: its code, the reason, and the packets that were never acknowledged."""


class Session:
    """One session: an outbox of what was not acked, a count of what has come, and one downward transport at a time."""

    def __init__(self, http: aiohttp.ClientSession, prefix: str, kind: str) -> None:
        """Start with nothing; `open` does the rest."""
        self.http, self.base, self.kind, self.options = http, f"{prefix}/v1", kind, dict[str, Any]()
        self.n = self.received = self.numbered = 0
        self.told = self.written = 0  # of `received` to the server; of `numbered` to this WebSocket
        self.outbox: deque[tuple[int, str, int]] = deque()  # (number, packet, bytes)
        self.inbox: deque[tuple[object, int]] = deque()  # (message, bytes)
        self.urgent, self.pause = False, 0.0
        self.ended: SessionClosed | None = None
        self.ws: aiohttp.ClientWebSocketResponse | None = None  # once it is promoted
        self.news = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []  # the one that speaks, then the listeners; the last one is current
        self.old: asyncio.Task[None] | None = None  # the listener that goes on until the next one is answered

    async def open(self) -> None:
        """Open the session, and attach its first transport."""
        hello = json.dumps(["i", {"v": 1, "codec": "json", "nonce": secrets.token_hex(16)}])
        for attempt in range(5):
            await asyncio.sleep(random.uniform(0, attempt))
            with suppress(*FAILURES):
                first, *rest = await self._post("open", hello, 30)
                kind, *said = json.loads(first)
                if kind != "o":
                    raise SessionClosed(*said)
                self.options, self.base = said[0], f"{self.base}/{said[0]['sid']}"
                listening = self._listen(self.kind, rest)
                self.tasks = [asyncio.create_task(self._speak()), asyncio.create_task(listening)]
                return
        raise ConnectionError(f"nobody speaks the protocol at {self.base}")

    async def send(self, message: object) -> None:
        """Say one message: bytes, text or a JSON value. Waits while the outbox holds a whole buffer."""
        packet = ["b", base64.b64encode(message).decode()] if isinstance(message, bytes) else ["m", message]
        line = json.dumps(packet, ensure_ascii=False, allow_nan=False)
        if len(line.encode()) > self.options["max_message"]:
            raise ValueError("the message is longer than max_message")
        await self._until(lambda: self.ended or sum(size for *_, size in self.outbox) < self.options["buffer"])
        self._say(line)

    async def receive(self) -> object:
        """Wait for the next message. SessionClosed comes after the last one."""
        await self._until(lambda: self.inbox or self.ended)
        if self.ended and not self.inbox:
            raise self.ended
        self._tell()
        return self.inbox.popleft()[0]

    async def reconnect(self, kind: str, *, keep: bool = False) -> None:
        """Drop the transport, or keep it until the next one is answered, and attach another."""
        if keep:
            self.old = self.tasks[-1]
        else:
            self.tasks[-1].cancel()
            self.ws = None
        self.tasks.append(asyncio.create_task(self._listen(kind)))
        await self._until(lambda: self.ended or not self.old)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """End the session, and wait until the server has everything that was said before."""
        with suppress(SessionClosed):
            self._say(json.dumps(["c", code, reason]))
            await self._until(lambda: self.ended or not self.outbox)
            self._end(code, reason)
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def _say(self, line: str) -> None:
        if self.ended:
            raise self.ended
        self.numbered += 1
        self.outbox.append((self.numbered, line, len(line.encode()) + 64))
        self._tell()

    def _tell(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    async def _until(self, ready: Callable[[], object], seconds: float | None = None) -> None:
        async with asyncio.timeout(seconds):
            while not ready():
                await self.news.wait()

    def _end(self, code: int, reason: str) -> None:
        self.ended = self.ended or SessionClosed(code, reason, [line for _, line, _ in self.outbox])
        self._tell()
        raise self.ended

    # Down: what comes, and the transports that bring it.

    async def _take_all(self, lines: list[str], position: int = -1) -> int:
        """Take packets. The position is -1 before an answer can be believed, and 0 before the first `#`."""
        for line in filter(None, lines):
            kind, *said = json.loads(line)
            if position < 0 and kind not in {"a", "x"}:
                raise ValueError("this was not said by a hybridws server")
            if kind == "a":
                position = max(position, 0)
                self._acked(said[0])
            elif kind == "#":
                position = said[0]
            elif kind == "x":
                self._refused(*said)
            elif kind == "h":
                self.urgent = True
            elif kind in {"m", "b", "q", "r", "e", "u", "k", "c"}:
                position = await self._take(kind, said, len(line), position)
            self._tell()
        if position < 0:
            raise ValueError("nothing was said")
        return position

    async def _take(self, kind: str, said: list[Any], size: int, position: int) -> int:
        after, room = position + (said[0] if kind == "k" else 1), self.options["buffer"] // 2 - size
        await self._until(lambda: not self.inbox or sum(size for _, size in self.inbox) <= room)
        if not 1 <= position <= self.received + 1:
            raise ValueError("a gap")
        if after > self.received + 1:
            self.received = after - 1
            if kind in {"m", "b"}:
                self.inbox.append((said[0] if kind == "m" else base64.b64decode(said[0]), size))
            elif kind == "q":
                self._say(json.dumps(["e", said[0], 4404, "nobody answers requests"]))
            elif kind == "c":
                with suppress(*FAILURES):
                    await self._post("send", self._attach(0), 30)
                self._end(*said)
        return after

    def _acked(self, count: int) -> None:
        while self.outbox and self.outbox[0][0] <= count:
            self.outbox.popleft()
        if self.old and asyncio.current_task() is self.tasks[-1]:
            self.old.cancel()
            self.old = None

    def _refused(self, code: int, reason: str, details: dict[str, Any] | None = None) -> None:
        details = details or {}
        self.n, self.pause = max(self.n, details.get("n", 0)), details.get("retry", 0.0)
        if code == 4404:
            self._end(details.get("code", code), details.get("reason", reason))
        if code in {4008, 4400, 4401, 4403, 4413}:
            self._end(code, reason)
        raise ValueError(reason)

    def _attach(self, n: int) -> str:
        self.told = self.received  # an attach is an ack too
        return json.dumps(["@", self.options["sid"], self.options["key"], n, self.received])

    async def _listen(self, kind: str, said: list[str] | None = None) -> None:
        transports = {"websocket": self._websocket, "stream": self._stream, "poll": self._poll, "events": self._events}
        failures = 0
        while not self.ended:
            began = time.monotonic()
            try:
                if said:  # with the answer to the hello
                    now, said = said, None
                    await self._take_all(now)
                self.n += 1
                await transports[kind]()
                failures = 0
            except SessionClosed:
                return
            except FAILURES:
                failures = failures + 1 if time.monotonic() - began < 5 else 1
                backoff = random.uniform(0, min(20, 2.0 ** (failures - 3))) if failures > 1 else 0
                await asyncio.sleep(self.pause or backoff)
                self.pause = 0.0

    async def _websocket(self) -> None:
        url, position = f"{self.base.rpartition('/')[0]}/websocket", -1
        closing = aiohttp.ClientWSTimeout(ws_close=1)  # pyright: ignore[reportCallIssue]
        async with self.http.ws_connect(url, timeout=closing, max_msg_size=0) as ws:
            await ws.send_str(self._attach(self.n))
            try:
                while True:
                    text = await ws.receive_str(timeout=self.options["heartbeat"] + 10)
                    first, position = position < 0, await self._take_all(text.split("\n"), position)
                    if first:  # the answer that promotes it
                        batch, self.written = self._batch(f'["a",{self.received}]', self.numbered - len(self.outbox))
                        await ws.send_str(batch)
                        self.ws = ws
            finally:
                self.ws = None if self.ws is ws else self.ws

    async def _poll(self) -> None:
        await self._take_all(await self._post("poll", self._attach(self.n), self.options["poll_timeout"] + 30))

    async def _stream(self) -> None:
        await self._events("POST", "stream", self._attach(self.n), {"Accept": "text/event-stream"})

    async def _events(
        self, method: str = "GET", path: str = "", body: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        path = path or f"events?key={self.options['key']}"
        headers = headers or {"Last-Event-ID": str(self.received)}
        silence = aiohttp.ClientTimeout(total=None, sock_read=self.options["heartbeat"] + 10)
        async with self.http.request(
            method, f"{self.base}/{path}", data=body, headers=headers, timeout=silence, read_bufsize=2**20
        ) as answer:
            if answer.status != 200:
                await self._take_all((await answer.text()).split("\n"))
            position = -1
            async for line in answer.content:
                if line.startswith(b"data:") and line.endswith(b"\n"):
                    position = await self._take_all([line[5:].decode().strip()], position)
            if position < 0:
                raise ValueError("it ended before it said anything")

    # Up: one batch at a time, in the WebSocket or by `send`.

    async def _post(self, path: str, body: str, seconds: float) -> list[str]:
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with self.http.post(f"{self.base}/{path}", data=body, timeout=timeout) as answer:
            return (await answer.text()).split("\n")

    def _batch(self, head: str, after: int) -> tuple[str, int]:
        """Return a batch of what lies beyond a number, and the number that it reaches."""
        lines = [head, f'["#",{after + 1}]']
        room = self.options["max_batch"] - len(head) - 30
        for number, line, size in self.outbox:
            room -= size if number > after else 0
            if room < 0 or len(lines) == 10_000:
                break
            if number > after:
                lines.append(line)
                after = number
        return "\n".join(lines), after

    async def _speak(self) -> None:
        def waiting() -> bool:
            unsaid = self.numbered > self.written if self.ws else bool(self.outbox)
            return unsaid or self.urgent or self.received - self.told >= 32

        while not self.ended:
            await self._until(lambda: waiting() or self.received > self.told)
            with suppress(TimeoutError):
                await self._until(waiting, 0.25 if self.ws else 10)
            acked, ws, self.urgent, failed = self.numbered - len(self.outbox), self.ws, False, False
            try:
                if ws:
                    self.told = self.received
                    batch, self.written = self._batch(f'["a",{self.received}]', self.written)
                    await ws.send_str(batch)
                else:
                    await self._take_all(await self._post("send", self._batch(self._attach(0), acked)[0], 30))
            except SessionClosed:
                return
            except FAILURES:
                self.told, self.ws, failed = -1, None if self.ws is ws else self.ws, True
            if failed or (not ws and self.outbox and acked == self.numbered - len(self.outbox)):
                await asyncio.sleep(0.2)  # it failed, or nothing was taken
