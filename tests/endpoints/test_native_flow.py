"""Backpressure (docs/protocol.md §5): what holds back a far sender, what holds back ours, and who is too slow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import pytest

from hybridws import BufferFull, Stalled
from tests.conformance.wire import Witness, until
from tests.endpoints.native_wire import BLINK, CODECS, said

if TYPE_CHECKING:
    from hybridws import Session
    from tests.conformance.peers import Mounting
    from tests.endpoints.native_wire import Dial

each_codec = pytest.mark.parametrize("codec", CODECS)

SMALL: Final[dict[str, Any]] = {"buffer": 8192, "max_message": 2048, "max_batch": 16384}
COST: Final = 1000 + 64
"""What a message of 990-odd characters is counted as, about."""


class Slow:
    """A handler that takes a message only when it may."""

    def __init__(self) -> None:
        """Start without taking anything."""
        self.may = asyncio.Semaphore(0)
        self.taken: list[Any] = []
        self.sessions: list[Session] = []

    async def __call__(self, session: Session) -> None:
        """Take one message for each release."""
        self.sessions.append(session)
        await self.may.acquire()
        async for message in session:
            self.taken.append(message)
            await self.may.acquire()

    def take(self, count: int) -> None:
        """Let so many be taken."""
        for _ in range(count):
            self.may.release()


def fill(session: Session) -> None:
    """Send until the buffer is full."""
    while not session.link.full:
        session.send_nowait("x" * 990)


@each_codec
async def test_acks_wait_for_the_application(place: Mounting, dial: Dial, codec: str) -> None:
    """Acks go no further than what the application has taken plus half a buffer, though more has come."""
    slow = Slow()
    talk = dial(await place(slow, **SMALL), codec)
    await talk.open()
    words = [f"{number:02}" * 490 for number in range(8)]
    acked = (await talk.send(["#", 1], *(["m", word] for word in words))).batch[0][1]
    assert acked == 4096 // COST
    assert talk.session.link.received == 8
    slow.take(2)
    await until(lambda: len(slow.taken) == 2)
    assert (await talk.send()).batch[0] == ["a", acked + 2]
    slow.take(20)
    await until(lambda: len(slow.taken) == 8)
    assert (await talk.send()).batch[0] == ["a", 8]
    assert slow.taken == words


@each_codec
async def test_inbox_has_an_end(place: Mounting, dial: Dial, codec: str) -> None:
    """An inbox holds 1.5 buffers at most; what is beyond is dropped, not refused, and taken when it is sent again."""
    slow = Slow()
    talk = dial(await place(slow, **SMALL), codec)
    await talk.open()
    words = [f"{number:02}" * 490 for number in range(40)]
    position = 0
    for _ in range(5):
        batch = [["m", word] for word in words[position : position + 8]]
        answer = await talk.send(["#", position + 1], *batch)
        assert answer.status == 200
        assert talk.session.link.inbox_size <= 8192 * 3 // 2
        position += 8
    slow.take(100)
    async with asyncio.timeout(10):
        while len(slow.taken) < 40:
            acked = (await talk.send()).batch[0][1]
            await talk.send(["#", acked + 1], *(["m", word] for word in words[acked : acked + 8]))
    assert slow.taken == words


async def test_websocket_is_not_read(place: Mounting, dial: Dial) -> None:
    """A WebSocket whose application is behind is not read on, so that the network holds back the sender."""
    slow = Slow()
    talk = dial(await place(slow, **SMALL))
    await talk.open()
    frames = await talk.climb()
    words = [f"{number:02}" * 490 for number in range(24)]
    await frames.say(["#", 1], *(["m", word] for word in words[:8]))
    await until(lambda: talk.session.crowded)
    for word in words[8:10]:
        await frames.say(["m", word])
    assert talk.session.link.inbox_size <= 8192 * 3 // 2
    slow.take(100)
    for word in words[10:]:
        await frames.say(["m", word])
    await until(lambda: len(slow.taken) == 24)
    assert slow.taken == words


@each_codec
async def test_send_waits(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """`send` waits while the outbox is full, and goes on when the client acks; nothing is lost."""
    talk = dial(await place(witness, **SMALL, poll_timeout=1), codec)
    await talk.open()
    call = await talk.ask()  # a session without a transport would end when its buffer is full
    session = talk.session
    words = [f"{number:02}" * 490 for number in range(30)]

    async def speak() -> None:
        for word in words:
            await session.send(word)

    speaking = asyncio.create_task(speak())
    answer = await call.answer()
    got: list[str] = []
    while len(got) < 30:
        assert answer.batch[1] == ["#", len(got) + 1]
        got += said(answer.batch)
        assert session.link.outbox.size < 8192 + 2 * COST
        assert len(got) == 30 or not speaking.done() or session.link.outbox.last == 30
        answer = await talk.poll(ack=len(got), hold=1)
    await speaking
    assert got == words


async def test_full(place: Mounting, dial: Dial, witness: Witness) -> None:
    """`send_nowait` raises BufferFull instead of waiting, and sends nothing."""
    talk = dial(await place(witness, **SMALL))
    await talk.open()
    stream = await talk.stream()
    await stream.until("#")
    fill(talk.session)
    with pytest.raises(BufferFull):
        talk.session.send_nowait("no room")
    last = talk.session.link.outbox.last
    assert 7 <= last <= 9
    assert await stream.messages(last) == ["x" * 990] * last
    assert (await talk.send(ack=last)).status == 200
    talk.session.send_nowait("room again")
    assert await stream.messages(1) == ["room again"]


async def test_stalled(place: Mounting, dial: Dial, witness: Witness) -> None:
    """`send` raises Stalled when the client acks nothing for `send_timeout`; nothing was sent, the session lives."""
    talk = dial(await place(witness, **SMALL, send_timeout=0.3, heartbeat=0.25, pong_timeout=30))
    await talk.open()
    stream = await talk.stream()
    session = talk.session
    fill(session)
    sent = session.link.outbox.last
    with pytest.raises(Stalled):
        await asyncio.wait_for(session.send("no room"), 8)
    assert session.link.outbox.last == sent
    assert session.closed is None
    assert len(await stream.messages(sent)) == sent


async def test_control_has_room(place: Mounting, dial: Dial, witness: Witness) -> None:
    """Acks, positions, heartbeats and the close have room when nothing else has."""
    talk = dial(await place(witness, **SMALL, heartbeat=0.25, pong_timeout=30, close_timeout=0.5))
    await talk.open()
    stream = await talk.stream()
    fill(talk.session)
    with pytest.raises(BufferFull):
        talk.session.send_nowait("no room")
    await stream.until("h")
    assert (await talk.send(["#", 1], ["m", "one"])).batch[0] == ["a", 1]
    await talk.session.close(3000, "room for this")
    assert (await stream.until("c"))[-1] == ["c", 3000, "room for this"]


async def test_slow_consumer_has_a_grace(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A broadcast to a client over `buffer` is kept for `slow_grace`; after that this client alone ends with 4008."""
    served = await place(witness, **SMALL, slow_grace=0.3, heartbeat=0.25, pong_timeout=30)
    slow, quick = dial(served), dial(served)
    await slow.open()
    await quick.open()
    stream, frames = await slow.stream(), await quick.climb()
    session = slow.session
    sent = 0
    while not session.link.full:
        sent += 1
        assert served.server.broadcast("x" * 990) == 2
        await frames.messages(1)
        await frames.say(["a", sent])
    served.server.broadcast("a little more")
    assert len(served.server.sessions) == 2
    await until(lambda: session.slow)
    served.server.broadcast("too late")
    assert session.closed
    assert session.closed.code == 4008
    assert (await stream.rest())[-1][:2] == ["x", 4008]
    assert await frames.messages(2) == ["a little more", "too late"]
    assert quick.session.closed is None


async def test_slow_consumer_may_catch_up(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A client that acks within the grace is not too slow."""
    served = await place(witness, **SMALL, slow_grace=1, heartbeat=0.25, pong_timeout=30)
    talk = dial(served)
    await talk.open()
    stream = await talk.stream()
    while not talk.session.link.full:
        served.server.broadcast("x" * 990)
    last = talk.session.link.outbox.last
    await stream.messages(last)
    await talk.send(ack=last)
    await asyncio.sleep(BLINK)
    served.server.broadcast("fine")
    assert await stream.messages(1) == ["fine"]
    assert not talk.session.slow
