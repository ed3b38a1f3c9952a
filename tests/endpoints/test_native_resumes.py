"""Hostile acks and resumes on every transport: backwards, expired, foreign, doubled, dripping, and too many."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from hybridws.gate import new_id
from tests.conformance.wire import until, within
from tests.endpoints.native_wire import CODECS, encode, said

if TYPE_CHECKING:
    from tests.conformance.peers import Mounting
    from tests.conformance.wire import Witness
    from tests.endpoints.native_wire import Batch, Dial, Talk

WHERE: Final = ("poll", "stream", "websocket")
POSTS: Final = ("poll", "stream", "send")
DRIPS: Final = 100
"""Attaches that never become whole."""

each_codec = pytest.mark.parametrize("codec", CODECS)
everywhere = pytest.mark.parametrize("where", WHERE)


async def attach(talk: Talk, where: str, *packets: list[Any], n: int | None = None, ack: int = 0) -> Batch:
    """Attach a transport of a kind, and read up to its position."""
    if where == "poll":
        return (await talk.poll(*packets, n=n, ack=ack)).batch
    if where == "stream":
        return await (await talk.stream(*packets, n=n, ack=ack)).until("#")
    frames = await talk.websocket()
    await frames.say(talk.attach(n, ack), *packets)
    first = await frames.batch()
    if len(first) == 1:
        await frames.say(["a", ack], ["#", first[0][1] + 1])
        first += await frames.until("#")
    return first


async def refusal(talk: Talk, where: str, words: list[Any]) -> list[Any]:
    """Attach with these words; return the `x` that comes of it."""
    if where != "websocket":
        return (await talk.post(f"/v1/{words[1]}/{where}", encode(talk.codec, [words]))).batch[0]
    frames = await talk.websocket()
    await frames.say(words)
    code, told = await frames.closed()
    assert told[-1][:2] == ["x", code]
    return told[-1]


# ── acks ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@each_codec
@everywhere
async def test_acks_that_go_back(place: Mounting, dial: Dial, witness: Witness, where: str, codec: str) -> None:
    """An attach with a smaller ack than before is late: what was forgotten is not said again, the rest is."""
    talk = dial(await place(witness), codec)
    await talk.open()
    for word in ("one", "two", "three"):
        await talk.session.send(word)
    await talk.send(ack=2)
    batch = await attach(talk, where, ack=0)
    assert next(packet for packet in batch if packet[0] != "a") == ["#", 3]
    await until(lambda: talk.session.seat is None or talk.session.seat.lane.written == 3)
    assert talk.session.unacked == ["three"]


@pytest.mark.parametrize("count", [1, 2**31, 2**53 - 1, 2**53, 2**63, 2**64 - 1, -1, 0.0, 0.5, True, False, None])
async def test_false_acks_on_a_websocket_in_msgpack(
    place: Mounting, dial: Dial, witness: Witness, count: object
) -> None:
    """From the future, negative, past 64 bits' sign, of another type: each ends its WebSocket and forgets nothing."""
    talk = dial(await place(witness), "msgpack")
    await talk.open()
    frames = await talk.climb()
    await frames.say(["a", count])
    code, told = await frames.closed()
    assert (code, told[-1][:2]) == (4400, ["x", 4400])
    assert talk.session.closed is None
    await talk.session.send("kept")
    assert said((await talk.poll()).batch) == ["kept"]


# ── resumes ───────────────────────────────────────────────────────────────────────────────────────────────────────


@each_codec
@pytest.mark.parametrize("where", [*WHERE, "send"])
async def test_expired(place: Mounting, dial: Dial, witness: Witness, where: str, codec: str) -> None:
    """After `resume` the session is gone, however well its key is known; what is told is the end that it had."""
    talk = dial(await place(witness, resume=0.3), codec)
    await talk.open()
    await talk.poll(hold=0)
    assert (await witness.end()).closed
    told = await refusal(talk, where, talk.attach(0 if where == "send" else None))
    assert told[:2] == ["x", 4404]
    assert told[3]["code"] == 1006
    assert not talk.place.server.sessions


@each_codec
@pytest.mark.parametrize("where", [*WHERE, "send"])
async def test_foreign(place: Mounting, dial: Dial, witness: Witness, where: str, codec: str) -> None:
    """Names of other processes, of nobody, and of others with one's own key: refused, and nothing is made or moved."""
    served = await place(witness)
    one, other = dial(served, codec), dial(served, codec)
    await one.open()
    await other.open()
    n = 0 if where == "send" else 1
    for sid in ("0123abcd.AAAAAAAAAAAAAAAAAAAAAA", "r-0123abcd.AAAAAAAAAAAAAAAAAAAAAA", new_id(), one.sid[:-1], "x"):
        assert (await refusal(one, where, ["@", sid, one.key, n, 0]))[:2] == ["x", 4404]
    for key in (other.key, "", one.key[:-1], one.key + "x", one.key.swapcase()):
        assert (await refusal(one, where, ["@", one.sid, key, n, 0]))[:2] == ["x", 4403]
    assert len(served.server.sessions) == 2
    assert one.session.dock.n == other.session.dock.n == 0


@everywhere
async def test_doubled(place: Mounting, dial: Dial, witness: Witness, where: str) -> None:
    """Ten attaches of one kind with one number, at once, with one message: it comes once, and one has the seat."""
    talk = dial(await place(witness, poll_timeout=0.2))
    await talk.open()
    await talk.session.send("down")
    batches = await asyncio.gather(
        *(attach(talk, where, ["#", 1], ["m", "up"], n=1) for _ in range(10)), return_exceptions=True
    )
    assert await witness.message() == "up"
    assert talk.session.link.received == 1
    assert any(isinstance(batch, list) and ["#", 1] in batch for batch in batches)
    assert said((await talk.poll(n=2, hold=0)).batch) == ["down"]
    assert witness.messages.empty()


async def test_doubled_of_every_kind(place: Mounting, dial: Dial, witness: Witness) -> None:
    """Polls, streams and WebSockets that race for a session: whoever wins, nothing is lost, and all others end."""
    talk = dial(await place(witness, poll_timeout=0.2))
    await talk.open()
    await talk.session.send("kept")
    await asyncio.gather(
        *(attach(talk, where, n=n) for n in (1, 2, 2, 3) for where in WHERE),
        return_exceptions=True,
    )
    assert said((await talk.poll(n=4)).batch) == ["kept"]
    assert talk.session.seat is None
    assert talk.session.dock.trial is None


# ── drips ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("where", POSTS)
async def test_a_drip_moves_nothing(place: Mounting, dial: Dial, witness: Witness, where: str) -> None:
    """An attach that drips in takes nobody's place until its last byte is there; then it does what it says."""
    talk = dial(await place(witness))
    await talk.open()
    call = await talk.ask()
    body = encode("json", [talk.attach(0 if where == "send" else 7), ["#", 1], ["m", "at last"]])
    wire = await talk.wire()
    await wire.request(
        "POST", talk.place.at(f"/v1/{talk.sid}/{where}"), {**talk.headers, "Content-Length": str(len(body))}
    )
    for byte in body[:-1]:
        await wire.send(bytes([byte]))
    assert await call.held()
    assert (talk.session.dock.n, talk.session.link.received) == (1, 0)
    await wire.send(body[-1:])
    assert await witness.message() == "at last"
    if where != "send":
        assert (await call.answer()).status == 200
        assert talk.session.dock.n == 7


@pytest.mark.parametrize("where", POSTS)
async def test_many_drips_hold_nobody_up(place: Mounting, dial: Dial, witness: Witness, where: str) -> None:
    """A hundred attaches to one session that never become whole: it is served beside them, and they end with 408."""
    talk = dial(await place(witness, runner={"lingering_time": 0.1}, body_grace=1.0, body_rate=10**6))
    await talk.open()
    wires = [await talk.wire() for _ in range(DRIPS)]
    path = talk.place.at(f"/v1/{talk.sid}/{where}")
    for wire in wires:
        await wire.request("POST", path, {**talk.headers, "Content-Length": "1000"}, b'["@","')
    for number in range(1, 11):
        await talk.session.send(number)
        answer = await talk.poll(["#", number], ["m", number], ack=number - 1)
        assert said(answer.batch) == [number]
        assert await witness.message() == number
    for wire in wires:
        reply = await within(wire.reply())
        assert reply.status == 408
        assert json.loads(reply.body)[:2] == ["x", 4408]
    assert talk.session.closed is None


@each_codec
async def test_never_acked(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """Who resumes again and again and acks nothing holds one buffer, no more: the application's sender waits."""
    talk = dial(await place(witness, buffer=8192, max_message=1024, max_batch=16384), codec)
    await talk.open()
    sender = asyncio.create_task(talk.session.send("first"))
    await sender
    while not talk.session.link.full:
        talk.session.send_nowait("x" * 500)
    held = talk.session.link.outbox.size
    sender = asyncio.create_task(talk.session.send("last"))
    for _ in range(50):
        batch = (await talk.poll(ack=0, hold=0)).batch
        assert said(batch)[0] == "first"
    assert talk.session.link.outbox.size == held
    assert not sender.done()
    await talk.poll(ack=len(talk.session.unacked), hold=0)
    await within(sender)
