"""Clients that take less than is broadcast to them, on real sockets: what they get, and that others notice nothing."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

import pytest

import hybridws
from tests.conformance.wire import Socket, echo, until
from tests.endpoints.native_wire import CODECS, decode

if TYPE_CHECKING:
    from hybridws import Server
    from hybridws.broadcast import Slow
    from tests.conformance.peers import Mounting
    from tests.conformance.wire import Witness
    from tests.endpoints.native_wire import Batch, Dial, Frames, Stream, Talk

SMALL: Final[dict[str, Any]] = {"buffer": 8192, "max_message": 2048, "max_batch": 16384, "chunk": 2048}
MANY: Final = 200
"""Messages of 400 bytes: ten buffers."""
FILL: Final = "x" * 400
BATCH: Final = 50
"""Messages after which others may run."""


async def publish(server: Server, slow: Slow) -> None:
    """Broadcast numbered messages; the outbox of nobody may pass two buffers and a batch."""
    for number in range(1, MANY + 1):
        server.broadcast([number, FILL], slow=slow)
        for session in server.sessions:
            assert session.link.outbox.size <= 2 * SMALL["buffer"] + SMALL["max_batch"]
        if number % BATCH == 0:
            await asyncio.sleep(0)


def told(batch: Batch, count: int) -> tuple[int, int]:
    """See that numbers go on as a client counts them; return the new count and how many of them were skipped."""
    skipped = 0
    for kind, *items in batch:
        if kind == "#":
            assert items[0] <= count + 1
            count = items[0] - 1
        elif kind == "k":
            count += items[0]
            skipped += items[0]
        elif kind == "m":
            count += 1
            assert items[0][0] == count
    return count, skipped


async def read(talk: Talk, transport: Stream | Frames | None, count: int = 0) -> tuple[int, int]:
    """Read up to the newest message; return what `told` returns."""
    skipped = 0
    while count < MANY:
        batch = await transport.batch() if transport else (await talk.poll(ack=count)).batch
        count, more = told(batch, count)
        skipped += more
    return count, skipped


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("how", ["websocket", "stream", "poll"])
async def test_dropped_broadcasts_are_counted(
    place: Mounting, dial: Dial, witness: Witness, how: str, codec: str
) -> None:
    """A client that acks nothing gets what had left, the number of those dropped, and the newest: no number is lost."""
    served = await place(witness, **SMALL)
    talk = dial(served, codec)
    await talk.open()
    transport: Stream | Frames | None = None
    if how == "websocket":
        transport = await talk.climb()
    elif how == "stream":
        transport = await talk.stream()
        await transport.batch()
    await publish(served.server, "drop_oldest")
    assert talk.session.closed is None
    count, skipped = await read(talk, transport)
    assert count == MANY
    assert skipped > 0
    # Whatever had been said before it was dropped is said again as dropped: a client that has it counts it once.
    again = await talk.poll(ack=0)
    if transport:  # polls have acked nearly all of it
        assert again.batch[1] == ["#", 1]
        assert again.batch[2][0] == "k"
    await talk.poll(ack=count, hold=0)
    assert talk.session.link.outbox.size == 0


@pytest.mark.parametrize("codec", CODECS)
async def test_latest_gives_the_newest(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """A client that comes back after ten buffers of prices gets the last one, and how many there were before."""
    served = await place(witness, **SMALL)
    talk = dial(served, codec)
    await talk.open()
    await publish(served.server, "latest")
    newest: Batch = []
    count = 0
    while count < MANY:
        batch = (await talk.poll(ack=count)).batch
        count, _ = told(batch, count)
        newest = [packet for packet in batch if packet[0] == "m"] or newest
    assert newest[-1] == ["m", [MANY, FILL]]
    assert len(newest) * 400 < 2 * SMALL["buffer"]


@pytest.mark.parametrize("slow", ["close", "drop_oldest", "latest"])
async def test_others_notice_nothing(place: Mounting, dial: Dial, witness: Witness, slow: Slow) -> None:
    """Beside a client that takes nothing, one that keeps up hears all of it, in order, whatever the policy."""
    served = await place(witness, **SMALL)
    stuck, quick = dial(served), dial(served)
    await stuck.open()
    await quick.open()
    await stuck.stream()
    frames = await quick.climb()
    heard: list[int] = []
    for number in range(1, MANY + 1):
        served.server.broadcast([number, FILL], slow=slow)
        while quick.session.link.outbox.last > len(heard):
            batch = await frames.batch()
            assert all(kind != "k" for kind, *_ in batch)
            heard += [value[0] for kind, value, *_ in batch if kind == "m"]
        await frames.say(["a", len(heard)])
        await until(lambda: quick.session.link.outbox.confirmed == len(heard))  # noqa: B023 - it is waited for here
    assert heard == list(range(1, MANY + 1))
    if slow == "close":
        end = served.server.find(stuck.sid)
        assert end is None or (end.closed is not None and end.closed.code == 4008)
    else:
        assert stuck.session.closed is None


@pytest.mark.parametrize("transport", ["websocket", "stream", "poll"])
async def test_the_python_client_tells_how_many(place: Mounting, transport: str) -> None:
    """What an application reads late and what it has `skipped` are together all that there was."""
    served = await place(echo, **SMALL, ack_delay=0.01)
    url = served.origin + served.prefix
    async with hybridws.connect(url, transports=[transport]) as client:
        (session,) = served.server.sessions
        await publish(served.server, "drop_oldest")
        heard: list[int] = []
        async for number, _ in client:
            heard.append(number)
            if number == MANY:
                break
        assert heard == sorted(heard)
        assert len(heard) + client.skipped == MANY
        assert client.skipped > 0
        assert session.closed is None


@pytest.mark.parametrize("path", ["/000/slow/websocket", "/websocket"])
async def test_who_does_not_count_misses_it_without_a_word(place: Mounting, witness: Witness, path: str) -> None:
    """SockJS and raw clients are not told of what was dropped; what they get is in order and ends with the newest."""
    served = await place(witness, **SMALL)
    socket = await Socket.to(served, path)
    session = await witness.session()
    await until(lambda: session.seat)
    heard: list[int] = []
    for number in range(1, MANY + 1):  # all in one go: nothing leaves before the last
        served.server.broadcast([number, FILL], slow="drop_oldest")
    while not heard or heard[-1] < MANY:
        message = await socket.message()
        assert isinstance(message, str)
        if path == "/websocket":
            heard.append(json.loads(message)[0])
        elif message[0] == "a":
            heard += [json.loads(value)[0] for value in json.loads(message[1:])]
    assert heard == sorted(heard)
    assert 0 < len(heard) * 400 <= 2 * SMALL["buffer"]
    assert heard[-1] == MANY
    assert session.closed is None
    await session.send("goes on")
    assert "goes on" in str(await socket.message())
    await socket.wire.close()


def test_decoding_is_that_of_the_page() -> None:
    """`told` reads what the protocol's page says of `k`."""
    assert told(decode("json", b'["#",3]\n["k",2]\n["m",[5,""]]'), 2) == (5, 2)
