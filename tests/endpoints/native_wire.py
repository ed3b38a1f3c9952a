"""A client of the native protocol by hand: it says what a test tells it to, and keeps no rule by itself."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast

import msgpack

from tests.conformance.wire import BINARY, TEXT, Place, Socket, Wire, until, within

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from multidict import CIMultiDict

    from hybridws import Session
    from tests.conformance.wire import Head

CODECS: Final = ("json", "msgpack")
SSE_PADDING: Final = b":" + b" " * 2048 + b"\n\n"
NIL_PADDING: Final = b"\xc0" * 2048
BLINK: Final = 0.15
"""Seconds after which what has not come is taken for held back; no test fails for being slower than this."""

Packet = list[Any]
Batch = list[Packet]


def pack(value: object) -> bytes:
    """Write one value in msgpack."""
    return cast("bytes", msgpack.packb(value))


def encode(codec: str, packets: Iterable[Sequence[Any]]) -> bytes:
    """Write a batch."""
    if codec == "json":
        return "\n".join(json.dumps(packet, ensure_ascii=False) for packet in packets).encode()
    return b"".join(map(pack, packets))


def decode(codec: str, data: bytes) -> Batch:
    """Read a batch; the padding of a msgpack stream is skipped."""
    if codec == "json":
        return [json.loads(line) for line in data.decode().split("\n") if line]
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    return [packet for packet in unpacker if packet is not None]


def said(batch: Batch) -> list[Any]:
    """Pick the messages out of a batch."""
    return [packet[1] for packet in batch if packet[0] in ("m", "b")]


class Answer(NamedTuple):
    """A whole response, read as the protocol says: one `x` in JSON unless the status is 200."""

    status: int
    headers: CIMultiDict[str]
    body: bytes
    batch: Batch

    @property
    def refusal(self) -> Packet:
        """The one `x` that a refusal is made of."""
        assert self.status != 200, self.batch
        ((kind, code, reason, *details),) = self.batch
        assert kind == "x", self.batch
        assert isinstance(reason, str)
        assert reason
        return [code, *details]


class Call:
    """One request whose answer may be waited for, or not."""

    def __init__(self, wire: Wire, codec: str, *, opens: bool = False) -> None:
        """Take a connection on which a request has been sent."""
        self.wire = wire
        self._codec = codec
        self._opens = opens
        self._task: asyncio.Task[Answer] | None = None

    async def answer(self) -> Answer:
        """Wait for the response and its end."""
        return await within(self._start())

    async def held(self, seconds: float = BLINK) -> bool:
        """Tell whether no answer has come after so long."""
        done, _ = await asyncio.wait({self._start()}, timeout=seconds)
        return not done

    def _start(self) -> asyncio.Task[Answer]:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._read())
            self._task.add_done_callback(lambda task: task.cancelled() or task.exception())  # a test may not want it
        return self._task

    async def _read(self) -> Answer:
        head = await self.wire.head()
        body = await self.wire.rest()
        await self.wire.close()
        if head.status != 200:
            return Answer(head.status, head.headers, body, decode("json", body))
        if self._opens:
            line, _, rest = body.partition(b"\n")
            return Answer(200, head.headers, body, [json.loads(line), *decode(self._codec, rest)])
        return Answer(200, head.headers, body, decode(self._codec, body))


class Stream:
    """A response that goes on: a stream or an event stream. Every write of the server is one chunk."""

    def __init__(self, wire: Wire, head: Head, codec: str) -> None:
        """Take a connection whose response has begun with padding."""
        self.wire = wire
        self.head = head
        self._codec = codec

    async def batch(self) -> Batch:
        """Wait for the next batch; raises EOFError at the end."""
        chunk = await self.wire.chunk()
        if not chunk:
            raise EOFError
        if self._codec != "json":
            return decode(self._codec, chunk)
        assert chunk.endswith(b"\n\n")
        lines = [line for line in chunk[:-2].decode().split("\n") if not line.startswith("id: ")]
        assert all(line.startswith("data: ") for line in lines), lines
        return [json.loads(line[6:]) for line in lines]

    async def until(self, kind: str) -> Batch:
        """Gather what comes, up to the first batch with a packet of this kind."""
        gathered: Batch = []
        while not any(packet[0] == kind for packet in gathered):
            gathered += await self.batch()
        return gathered

    async def rest(self) -> Batch:
        """Gather what comes up to the end."""
        gathered: Batch = []
        try:
            while True:
                gathered += await self.batch()
        except EOFError:
            return gathered

    async def messages(self, count: int) -> list[Any]:
        """Wait for so many messages."""
        gathered: list[Any] = []
        while len(gathered) < count:
            gathered += said(await self.batch())
        return gathered


class Frames:
    """A WebSocket that carries batches."""

    def __init__(self, socket: Socket, codec: str) -> None:
        """Take a WebSocket after its handshake."""
        self.socket = socket
        self._codec = codec

    async def say(self, *packets: Sequence[Any], codec: str | None = None) -> None:
        """Send a batch as one frame."""
        codec = codec or self._codec
        await self.socket.send(TEXT if codec == "json" else BINARY, encode(codec, packets))

    async def batch(self) -> Batch:
        """Wait for the next batch; raises EOFError once the server has closed."""
        data = await self.socket.message()
        return decode("json", data.encode()) if isinstance(data, str) else decode("msgpack", data)

    async def until(self, kind: str) -> Batch:
        """Gather what comes, up to the first batch with a packet of this kind."""
        gathered: Batch = []
        while not any(packet[0] == kind for packet in gathered):
            gathered += await self.batch()
        return gathered

    async def messages(self, count: int) -> list[Any]:
        """Wait for so many messages."""
        gathered: list[Any] = []
        while len(gathered) < count:
            gathered += said(await self.batch())
        return gathered

    async def closed(self) -> tuple[int, Batch]:
        """Wait for the server's close, and return its code and what was said before it."""
        gathered: Batch = []
        try:
            while True:
                gathered += await self.batch()
        except EOFError:
            assert self.socket.closed
            return self.socket.closed[0], gathered


class Talk:
    """The client of one session."""

    def __init__(self, place: Place, codec: str = "json", headers: Mapping[str, str] | None = None) -> None:
        """Prepare; nothing is sent yet. It is a page of the same origin unless the headers say otherwise."""
        self.place = place
        self.codec = codec
        self.headers = {"Origin": place.origin, **(headers or {})}
        self.told: dict[str, Any] = {}
        """What the server said of the session."""
        self.sid = self.key = ""
        self.n = 0
        self._wires: list[Wire] = []

    @property
    def session(self) -> Session:
        """The server's end."""
        session = self.place.server.find(self.sid)
        assert session
        return session

    async def wire(self) -> Wire:
        """Make a connection that is closed with the test."""
        wire = await Wire.to(self.place.origin)
        self._wires.append(wire)
        return wire

    async def close(self) -> None:
        """Close all connections."""
        for wire in self._wires:
            await wire.close()

    # ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def begin(
        self, where: str, body: bytes, headers: Mapping[str, str] | None = None, *, opens: bool = False
    ) -> Call:
        """Send a POST; `where` is poll, stream, send, or a path below the mount."""
        path = where if where.startswith("/") else f"/v1/{self.sid}/{where}"
        wire = await self.wire()
        await wire.request("POST", self.place.at(path), {**self.headers, **(headers or {})}, body)
        return Call(wire, self.codec, opens=opens)

    async def post(self, where: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a POST with these bytes and wait for the answer."""
        return await (await self.begin(where, body, headers)).answer()

    async def hello(
        self, *packets: Sequence[Any], headers: Mapping[str, str] | None = None, **options: object
    ) -> Answer:
        """Ask for a session."""
        hello = encode("json", [["i", {"v": 1, "codec": self.codec, **options}]])
        body = hello + b"\n" + encode(self.codec, packets)
        return await (await self.begin("/v1/open", body, headers, opens=True)).answer()

    async def open(self, *packets: Sequence[Any], **options: object) -> Batch:
        """Open the session, and return what came with `o`."""
        answer = await self.hello(*packets, headers=None, **options)
        assert answer.status == 200, answer
        self.take(answer.batch[0])
        return answer.batch[1:]

    def take(self, opened: Packet) -> None:
        """Take session id and key out of an `o`."""
        kind, self.told = opened
        assert kind == "o"
        self.sid, self.key = self.told["sid"], self.told["key"]

    def attach(self, n: int | None = None, ack: object = 0, **wishes: object) -> Packet:
        """Make an `@`; without `n` it is the next one."""
        if n is None:
            self.n += 1
        return ["@", self.sid, self.key, self.n if n is None else n, ack, *([wishes] if wishes else [])]

    async def ask(self, *packets: Sequence[Any], n: int | None = None, ack: int = 0, **wishes: object) -> Call:
        """Send a poll whose answer is not waited for yet, and wait until it is attached."""
        before = self.session.dock.attaches
        call = await self.begin("poll", encode(self.codec, [self.attach(n, ack, **wishes), *packets]))
        await until(lambda: self.session.dock.attaches > before)
        return call

    async def poll(self, *packets: Sequence[Any], n: int | None = None, ack: int = 0, **wishes: object) -> Answer:
        """Poll."""
        return await self.post("poll", encode(self.codec, [self.attach(n, ack, **wishes), *packets]))

    async def send(self, *packets: Sequence[Any], ack: int = 0, **wishes: object) -> Answer:
        """Send packets beside what is attached."""
        return await self.post("send", encode(self.codec, [self.attach(0, ack, **wishes), *packets]))

    async def stream(self, *packets: Sequence[Any], n: int | None = None, ack: int = 0, **wishes: object) -> Stream:
        """Attach a stream, and read up to the end of its padding."""
        call = await self.begin("stream", encode(self.codec, [self.attach(n, ack, **wishes), *packets]))
        head = await call.wire.head()
        assert head.status == 200, await call.wire.rest()
        assert await call.wire.chunk() == (SSE_PADDING if self.codec == "json" else NIL_PADDING)
        return Stream(call.wire, head, self.codec)

    async def look(self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Call:
        """Send a request without a body to an address below the mount."""
        wire = await self.wire()
        await wire.request(method, self.place.at(path), {**self.headers, **(headers or {})})
        return Call(wire, "json")

    async def events(self, headers: Mapping[str, str] | None = None) -> Stream:
        """Attach an event stream, and read up to the end of its padding."""
        call = await self.look(f"/v1/{self.sid}/events?key={self.key}", headers)
        head = await call.wire.head()
        assert head.status == 200, await call.wire.rest()
        assert await call.wire.chunk() == b"retry: 1000\n" + SSE_PADDING
        return Stream(call.wire, head, "json")

    async def websocket(self) -> Frames:
        """Connect a WebSocket that has said nothing yet."""
        socket = await Socket.to(self.place, "/v1/websocket", self.headers)
        self._wires.append(socket.wire)
        return Frames(socket, self.codec)

    async def climb(self, *packets: Sequence[Any], ack: int = 0, **wishes: object) -> Frames:
        """Attach a WebSocket, read what it is told first, and show that it hears."""
        frames = await self.websocket()
        await frames.say(self.attach(None, ack, **wishes), *packets)
        first = await frames.batch()
        assert first[0][0] == "a", first
        if len(first) == 1:
            await frames.say(["a", ack], ["#", first[0][1] + 1])
            assert (await frames.until("#"))[-1][0] in "#mbcqreu"
        return frames


class Dial(Protocol):
    """What the fixture `dial` is: it makes clients."""

    def __call__(self, place: Place, codec: str = "json", headers: Mapping[str, str] | None = None) -> Talk:
        """Make a client that has said nothing yet."""
        ...
