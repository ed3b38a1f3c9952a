"""Random lives of one session on real sockets: a client that attaches, sends, loses answers and cuts as dice fall.

The server is a mount under aiohttp's AppRunner with its defaults; the client is a bare Link with bare sockets. What the
network does meanwhile is its own affair, so a life that failed may pass the next time: then run it often.
HYBRIDWS_EXAMPLES says how many lives are tried (150 unless it does; `make simulate` more), HYBRIDWS_TEST_SEED which.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pytest
from aiohttp import web
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from hybridws.aiohttp import mount
from hybridws.core.codec import JSON, MSGPACK
from hybridws.core.link import Link
from hybridws.core.packets import Attach, Close, Message, Open, Packet
from hybridws.core.streams import EventReader, PackReader
from hybridws.options import Options
from tests.conformance.wire import BINARY, TEXT, Place, Socket, Wire, until, within

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from hybridws import Session
    from hybridws.core.codec import Codec
    from hybridws.core.link import Lane

EXAMPLES: Final = int(os.environ.get("HYBRIDWS_EXAMPLES") or 150)
SEED: Final = int(os.environ["HYBRIDWS_TEST_SEED"])
STEPS: Final = 40
MOMENT: Final = 0.001
"""Seconds that a step may take to have its effect, or not: nothing is asserted of that."""
ROUNDS: Final = 100
"""Polls on a fair network within which everything must have arrived."""
LIMITS: Final[dict[str, Any]] = {"buffer": 4096, "max_message": 1024, "max_batch": 8192, "chunk": 600}
"""Small, so that lives fill them."""
HTTP: Final = ("poll", "stream")
FATES: Final = ("heard", "heard", "lost", "half", "twice")
"""Of a POST: its answer comes; it is lost, though the server has done all; only a part of it leaves; it comes twice."""
PICK: Final = st.integers(0, 7)


async def listen(session: Session) -> None:
    """Keep what comes in the session's own state, for the test to see."""
    session.state["heard"] = []
    async for message in session:
        session.state["heard"].append(message)


class Transport:
    """One request or WebSocket of the client: its connection, and what has come on it and was not taken yet."""

    def __init__(self, kind: str, wire: Wire, lane: Lane) -> None:
        """Take a connection on which a request has been sent."""
        self.kind = kind
        self.wire = wire
        self.lane = lane
        self.came: asyncio.Queue[bytes] = asyncio.Queue()
        self.socket: Socket | None = None
        self.heard = 0
        """Batches that the client has taken."""
        self.reading: asyncio.Task[None] | None = None

    def read(self, codec: Codec) -> None:
        """Begin to read what comes."""
        self.reading = asyncio.get_running_loop().create_task(self._read(codec))

    async def _read(self, codec: Codec) -> None:
        with contextlib.suppress(EOFError, ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            if self.socket:
                while True:
                    data = await self.socket.message()
                    self.came.put_nowait(data.encode() if isinstance(data, str) else data)
            head = await self.wire.head()
            if head.status != 200:
                assert head.status in (409, 429), head
                return
            if self.kind != "stream":
                self.came.put_nowait(await self.wire.rest())
                return
            reader = (EventReader if codec is JSON else PackReader)(10_000)
            while chunk := await self.wire.chunk():
                for batch in reader.feed(chunk):
                    self.came.put_nowait(batch)

    async def cut(self) -> None:
        """Reset the connection, wherever it is."""
        self.wire.abort()
        if self.reading:
            self.reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.reading
        await self.wire.close()


class Lives(RuleBasedStateMachine):
    """One session, its client, and whatever happens between."""

    runner: ClassVar[asyncio.Runner]
    place: ClassVar[Place]

    def run(self, step: Coroutine[Any, Any, None]) -> None:
        """Let a step happen, and whatever comes of it within a moment."""

        async def happen() -> None:
            await step
            await asyncio.sleep(MOMENT)

        self.runner.run(happen())

    @initialize(codec=st.sampled_from([JSON, MSGPACK]))
    def begin(self, codec: Codec) -> None:
        """Open a session."""
        self.codec = codec
        self.link = Link(codec, Options(**LIMITS))
        self.said_up = self.said_down = self.n = 0
        self.heard: list[object] = []
        self.transports: list[Transport] = []
        self.last: tuple[str, bytes] | None = None
        self.courier = self.link.lane()
        self.run(self.open())

    async def open(self) -> None:
        """Say hello."""
        async with await Wire.to(self.place.origin) as wire:
            await wire.request(
                "POST", self.place.at("/v1/open"), {}, b'["i",{"v":1,"codec":"%b"}]' % self.codec.name.encode()
            )
            line = (await wire.reply()).body.partition(b"\n")[0]
        told = JSON.loads(line, Options())[0][0]
        assert isinstance(told, Open)
        self.sid, self.key = told.session["sid"], told.session["key"]
        session = self.place.server.find(self.sid)
        assert session
        self.session = session

    # ── the applications ──────────────────────────────────────────────────────────────────────────────────────────

    @rule(many=st.integers(1, 6), size=st.sampled_from([0, 0, 300]))
    def say_up(self, many: int, size: int) -> None:
        """Let the client's application say something."""
        for _ in range(many):
            if not self.link.full:
                self.said_up += 1
                self.link.send(Message([self.said_up, "x" * size]))

    @rule(many=st.integers(1, 6), size=st.sampled_from([0, 0, 300]))
    def say_down(self, many: int, size: int) -> None:
        """Let the server's application say something."""

        async def say() -> None:
            for _ in range(many):
                if not self.session.link.full:
                    self.said_down += 1
                    self.session.send_nowait([self.said_down, "x" * size])

        self.run(say())

    # ── what the client does ──────────────────────────────────────────────────────────────────────────────────────

    def attach_words(self, n: int, **wishes: object) -> bytes:
        """Say whose transport this is, and what has come."""
        return self.codec.dumps(Attach(self.sid, self.key, n, self.link.ackable, wishes), self.link.options)

    def body(self, n: int, **wishes: object) -> bytes:
        """Write a POST: the attach, and what no POST has carried."""
        lane = self.courier
        lane.placed, lane.owes = False, True
        (frame,) = self.link.pending(lane)
        self.link.wrote(lane, frame)
        return self.codec.frames([self.attach_words(n, **wishes), frame.payload])[0].payload

    async def post(self, kind: str, body: bytes, fate: str = "heard") -> None:
        """Send a POST, and let it have its fate."""
        self.last = (kind, body)
        for _ in range(2 if fate == "twice" else 1):
            wire = await Wire.to(self.place.origin)
            transport = Transport(kind, wire, self.link.lane())
            self.transports.append(transport)
            headers = {"Content-Length": str(len(body))}
            path = self.place.at(f"/v1/{self.sid}/{kind}")
            await wire.request("POST", path, headers, body[: len(body) // 2] if fate == "half" else body)
            if fate == "lost":
                await asyncio.sleep(MOMENT)
            if fate in ("lost", "half"):
                await transport.cut()
            else:
                transport.read(self.codec)

    @rule(kind=st.sampled_from(HTTP), fate=st.sampled_from(FATES), hold=st.sampled_from([0, 0.05]))
    def attach(self, kind: str, fate: str, hold: float) -> None:
        """Attach a poll or a stream."""
        self.n += 1
        self.run(self.post(kind, self.body(self.n, hold=hold), fate))

    @rule(fate=st.sampled_from(FATES))
    def send(self, fate: str) -> None:
        """Send beside what is attached."""
        self.run(self.post("send", self.body(0), fate))

    @rule()
    def repeat(self) -> None:
        """Let a proxy send the last POST once more, however old it is by now."""
        if self.last:
            self.run(self.post(*self.last))

    @rule(kind=st.sampled_from(HTTP), back=st.integers(1, 3))
    def stale(self, kind: str, back: int) -> None:
        """Let a request of long ago arrive at last."""
        if self.n > back:
            self.run(self.post(kind, self.attach_words(self.n - back)))

    @rule(speaks=st.booleans())
    def upgrade(self, *, speaks: bool) -> None:
        """Attach a WebSocket."""
        self.n += 1
        n = self.n

        async def climb() -> None:
            socket = await Socket.to(self.place, "/v1/websocket")
            transport = Transport("websocket", socket.wire, self.link.lane())
            transport.socket = socket
            self.transports.append(transport)
            transport.read(self.codec)
            await self.write(transport, self.attach_words(n))
            if speaks:
                await asyncio.sleep(MOMENT)
                self.take(transport, 9)
                await self.speak_on(transport)

        self.run(climb())

    async def write(self, transport: Transport, payload: bytes) -> None:
        """Write a frame."""
        assert transport.socket
        with contextlib.suppress(ConnectionError):
            await transport.socket.send(TEXT if self.codec is JSON else BINARY, payload)

    async def speak_on(self, transport: Transport) -> None:
        """Write what there is to say, once it has been answered."""
        if transport.heard:
            for frame in self.link.pending(transport.lane):
                self.link.wrote(transport.lane, frame)
                await self.write(transport, frame.payload)

    @rule(pick=PICK)
    def speak(self, pick: int) -> None:
        """Say on a WebSocket what it has not carried."""
        sockets = [one for one in self.transports if one.socket]
        if sockets:
            self.run(self.speak_on(sockets[-1 - pick % len(sockets)]))

    def take(self, transport: Transport, most: int) -> None:
        """Take some of what has come on a transport."""
        while most and not transport.came.empty():
            most -= 1
            transport.heard += 1
            batch = self.codec.loads(transport.came.get_nowait(), self.link.options)
            for packet, size in self.link.receive(transport.lane, batch):
                self.hear(packet, size)

    def hear(self, packet: Packet, size: int) -> None:
        """Hand a message on."""
        if isinstance(packet, Message):
            self.heard.append(packet.value[0])
            self.link.taken(size)

    @rule(pick=PICK, most=st.integers(1, 9))
    def arrive(self, pick: int, most: int) -> None:
        """Take what has come on one of the client's transports, the newest for 0."""
        if self.transports:
            self.take(self.transports[-1 - pick % len(self.transports)], most)

    @rule(pick=PICK)
    def cut(self, pick: int) -> None:
        """Break a connection, in the middle of whatever is on it."""
        if self.transports:
            transport = self.transports.pop(-1 - pick % len(self.transports))
            self.run(transport.cut())

    @rule()
    def doubt(self) -> None:
        """Take the POSTs for lost, rightly or not."""
        self.courier = self.link.lane()

    # ── the promise ───────────────────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def each_once_and_in_order(self) -> None:
        """Compare what was heard with what was said, from the first to the last of it."""
        if hasattr(self, "session"):
            up = [value[0] for value in self.session.state["heard"]]
            assert up == list(range(1, len(up) + 1))
            assert len(up) <= self.said_up
            assert self.heard == list(range(1, len(self.heard) + 1))
            assert len(self.heard) <= self.said_down
            assert self.session.closed is None

    def teardown(self) -> None:
        """On a network that is fair again all arrives, and each side knows that it has."""
        if hasattr(self, "session"):
            self.runner.run(self.settle())

    async def settle(self) -> None:
        """Poll until nothing is left, and part."""
        for transport in self.transports:
            await transport.cut()
        for _ in range(ROUNDS):
            if not (self.link.outbox or self.session.link.outbox):
                break
            self.n += 1
            self.courier = self.link.lane()
            self.transports.clear()
            await self.post("poll", self.body(self.n, hold=0))
            (transport,) = self.transports
            assert transport.reading
            await within(transport.reading)
            await transport.cut()
            assert not transport.came.empty(), "the poll was refused"
            self.take(transport, 1)
        assert self.heard == list(range(1, self.said_down + 1))
        await until(lambda: len(self.session.state["heard"]) == self.said_up)
        self.each_once_and_in_order()
        assert not self.link.outbox
        assert not self.session.link.outbox
        self.link.send(Close(1000, "done"))
        self.courier = self.link.lane()
        self.transports.clear()
        await self.post("send", self.body(0))
        assert self.transports[0].reading
        await within(self.transports[0].reading)
        assert self.session.closed == (1000, "done", "remote")
        await self.transports[0].cut()


@pytest.mark.simulation
@pytest.mark.timeout(3600)
def test_nothing_is_lost_repeated_or_out_of_order_on_real_sockets() -> None:
    """Each message is handed on once and in order, both ways, whatever becomes of requests, answers and connections."""
    app = web.Application()
    server = mount(app, "/s", listen, **LIMITS, linger=0.01, open_linger=0.001, poll_timeout=0.2, resume=60)
    with asyncio.Runner() as runner:
        served = web.AppRunner(app)
        runner.run(served.setup())
        runner.run(web.TCPSite(served, "127.0.0.1", 0).start())
        port = served.addresses[0][1]

        class RealLives(Lives):
            pass

        RealLives.runner = runner
        RealLives.place = Place(f"http://127.0.0.1:{port}", "/s", server)
        try:
            run_state_machine_as_test(
                seed(SEED)(RealLives),
                settings=settings(
                    max_examples=EXAMPLES,
                    stateful_step_count=STEPS,
                    phases=(Phase.generate,),
                    deadline=None,
                    print_blob=True,
                    suppress_health_check=[
                        HealthCheck.too_slow,
                        HealthCheck.data_too_large,
                        HealthCheck.filter_too_much,
                    ],
                ),
            )
        finally:
            runner.run(served.cleanup())
