"""A session's life (docs/protocol.md §5 and §7): resuming, its limits of time, requests and replies, broadcasts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from hybridws import RequestFailed, SessionClosed
from tests.conformance.wire import Witness, until
from tests.endpoints.native_wire import BLINK, CODECS, said

if TYPE_CHECKING:
    from hybridws import Session
    from tests.conformance.peers import Mounting
    from tests.endpoints.native_wire import Dial

each_codec = pytest.mark.parametrize("codec", CODECS)


# ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_never_attached(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A session that nothing attaches to ends after `attach_timeout`, with 4408."""
    talk = dial(await place(witness, attach_timeout=0.25))
    await talk.open()
    session = await witness.end()
    assert session.closed
    assert (session.closed.code, session.closed.by) == (4408, "network")
    assert (await talk.poll()).refusal[1]["code"] == 4408


async def test_resume_window(place: Mounting, dial: Dial, witness: Witness) -> None:
    """Without a transport a session lives for `resume`, and each attach gives it all of that again."""
    talk = dial(await place(witness, resume=0.75))
    await talk.open()
    loop = asyncio.get_running_loop()
    for _ in range(6):
        await asyncio.sleep(0.25)  # six times this is twice `resume`
        assert (await talk.poll(hold=0)).status == 200
    detached = loop.time()
    session = await witness.end()
    assert loop.time() - detached > 0.4
    assert session.closed
    assert session.closed.by == "network"
    assert (await talk.poll()).status == 410


async def test_send_keeps_no_session_alive(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A send attaches nothing, so it does not prolong the time without a transport."""
    talk = dial(await place(witness, resume=0.5))
    await talk.open()
    await talk.poll(hold=0)
    async with asyncio.timeout(8):
        while (await talk.send()).status == 200:
            pass
    assert (await witness.end()).closed


async def test_full_while_detached(place: Mounting, dial: Dial, witness: Witness) -> None:
    """Without a transport a session ends as soon as its buffer is full, and the application knows what was lost."""
    talk = dial(await place(witness, buffer=4096, max_message=2048, max_batch=4096, heartbeat=0.25))
    await talk.open()
    session = await witness.session()
    await talk.poll(hold=0)
    sent = 0
    while not session.link.full:
        session.send_nowait("x" * 1000)
        sent += 1
    assert await witness.end() is session
    assert session.closed
    assert session.closed.by == "network"
    assert len(session.unacked) == sent


async def test_online_and_resumed(place: Mounting, dial: Dial, witness: Witness) -> None:
    """`online` bears the pause between two polls, and `resumed` waits for the next transport."""
    talk = dial(await place(witness, away_after=0.3, heartbeat=0.25))
    await talk.open()
    session = await witness.session()
    await talk.poll(hold=0)
    assert session.online
    waiting = asyncio.ensure_future(session.resumed)
    await until(lambda: not session.online)
    assert not waiting.done()
    call = await talk.ask()
    await asyncio.wait_for(waiting, 5)
    assert session.online
    await asyncio.wait_for(session.resumed, 5)  # at once, while one is attached
    await session.close()
    await call.answer()
    assert not session.online


async def test_resumed_of_the_dead(place: Mounting, dial: Dial, witness: Witness) -> None:
    """Whoever waits for a client that never comes back is told of the end."""
    talk = dial(await place(witness, resume=0.3))
    await talk.open()
    session = await witness.session()
    await talk.poll(hold=0)
    with pytest.raises(SessionClosed):
        await asyncio.wait_for(session.resumed, 5)


async def test_story(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A session knows over what it came, one after the other, and why each ended."""
    talk = dial(await place(witness, heartbeat=0.25))
    await talk.open()
    await talk.poll(hold=0)
    stream = await talk.stream()
    await talk.climb()
    await stream.rest()
    stays = talk.session.transports
    assert [stay.name for stay in stays] == ["poll", "stream", "websocket"]
    assert [stay.reason for stay in stays] == ["answered", "superseded", ""]


# ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────────


@each_codec
async def test_client_asks(place: Mounting, dial: Dial, codec: str) -> None:
    """A request gets its one answer, an error as the application says, and any other fault as 1011."""

    async def handler(session: Session) -> None:
        @session.on_request
        async def answer(value: Any) -> object:  # noqa: ANN401 - any JSON value
            if value == "refuse":
                raise RequestFailed(4001, "no")
            return {"you said": value}

        async for _ in session:
            pass

    talk = dial(await place(handler), codec)
    await talk.open()
    frames = await talk.climb()
    await frames.say(["#", 1], ["q", 7, [1, 2]], ["q", 8, "refuse"])
    got = [packet for packet in await frames.until("e") if packet[0] in "re"]
    assert got == [["r", 7, {"you said": [1, 2]}], ["e", 8, 4001, "no"]]


@pytest.mark.logs_errors
async def test_answerer_breaks(place: Mounting, dial: Dial) -> None:
    """An answerer that breaks, or answers what has no words, is answered with 1011; nothing of the fault is told."""

    async def handler(session: Session) -> None:
        @session.on_request
        async def answer(value: Any) -> object:  # noqa: ANN401 - any JSON value
            if value == "break":
                raise RuntimeError("secret")
            return {1, 2}

        async for _ in session:
            pass

    talk = dial(await place(handler))
    await talk.open()
    frames = await talk.climb()
    for number, value in ((1, "break"), (2, "wordless")):
        await frames.say(["#", number], ["q", number, value])
        packet = (await frames.until("e"))[-1]
        assert packet[:3] == ["e", number, 1011]
        assert "secret" not in packet[3]
    assert talk.session.closed is None


async def test_nobody_answers(place: Mounting, dial: Dial, witness: Witness) -> None:
    """Where the application answers no requests, each gets an error."""
    talk = dial(await place(witness))
    await talk.open()
    await talk.send(["#", 1], ["q", 1, "anybody?"])
    (packet,) = (await talk.poll()).batch[2:]
    assert packet[:3] == ["e", 1, 4404]


@each_codec
async def test_server_asks(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """The application's request is answered by a reply or an error; a second answer, or one to nothing, is ignored."""
    talk = dial(await place(witness), codec)
    await talk.open()
    session = await witness.session()
    frames = await talk.climb()
    good = asyncio.create_task(session.request("how are you", timeout=10))
    bad = asyncio.create_task(session.request("and why", timeout=10))
    asked = [packet for packet in await frames.until("q") if packet[0] == "q"]
    while len(asked) < 2:
        asked += await frames.until("q")
    assert [packet[2] for packet in asked] == ["how are you", "and why"]
    first, second = (packet[1] for packet in asked)
    await frames.say(
        ["#", 1], ["e", second, 4002, "just so"], ["r", first, "fine"], ["r", first, "twice"], ["r", 99, 0]
    )
    assert await good == "fine"
    with pytest.raises(RequestFailed) as caught:
        await bad
    assert (caught.value.code, caught.value.text) == (4002, "just so")
    await frames.say(["m", "still here"])
    assert await witness.message() == "still here"


async def test_answer_too_late(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A request that is not answered in time raises TimeoutError, and its late answer is ignored."""
    talk = dial(await place(witness))
    await talk.open()
    session = await witness.session()
    with pytest.raises(TimeoutError):
        await session.request("hello?", timeout=0.05)
    await talk.send(["#", 1], ["r", 1, "late"], ["m", "fine"])
    assert await witness.message() == "fine"


async def test_request_at_the_end(place: Mounting, dial: Dial, witness: Witness) -> None:
    """Whoever waits for an answer when the session ends is told so."""
    talk = dial(await place(witness))
    await talk.open()
    session = await witness.session()
    asking = asyncio.create_task(session.request("hello?"))
    assert (await talk.poll()).batch[-1] == ["q", 1, "hello?"]
    await talk.send(["#", 1], ["c", 1000, ""])
    with pytest.raises(SessionClosed):
        await asking


async def test_requests_survive_a_cut(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A request whose transport broke is asked again on the next one, and answered once."""
    talk = dial(await place(witness, heartbeat=0.25))
    await talk.open()
    session = await witness.session()
    frames = await talk.climb()
    asking = asyncio.create_task(session.request("once"))
    assert (await frames.until("q"))[-1] == ["q", 1, "once"]
    frames.socket.wire.abort()
    await until(lambda: session.seat is None)
    assert (await talk.poll()).batch[-1] == ["q", 1, "once"]
    await talk.send(["#", 1], ["r", 1, "answer"])
    assert await asking == "answer"


async def test_too_many_requests(place: Mounting, dial: Dial) -> None:
    """A client may have 64 requests answered at once; one more gets 4429 and not another task."""
    gate = asyncio.Event()

    async def handler(session: Session) -> None:
        @session.on_request
        async def answer(value: Any) -> object:  # noqa: ANN401 - any JSON value
            await gate.wait()
            return value

        async for _ in session:
            pass

    talk = dial(await place(handler))
    await talk.open()
    await talk.send(["#", 1], *(["q", number, number] for number in range(70)))
    refused = (await talk.poll(hold=0)).batch[2:]
    assert [packet[:3] for packet in refused] == [["e", number, 4429] for number in range(64, 70)]
    gate.set()
    await until(lambda: talk.session.link.outbox.last == 70)


# ── many at once ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_broadcast_is_encoded_once(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A broadcast is the very same bytes in the outbox of every session of a codec, whatever number it has there."""
    served = await place(witness)
    talks = [dial(served, codec) for codec in ("json", "json", "msgpack", "msgpack")]
    for talk in talks:
        await talk.open()
    await talks[1].session.send("so that the numbers differ")
    assert served.server.broadcast({"to": "all"}) == 4
    kept = [talk.session.link.outbox.since(talk.session.link.outbox.last - 1, 2**20)[-1] for talk in talks]
    assert kept[0] is kept[1]
    assert kept[2] is kept[3]
    assert kept[0] == b'["m",{"to":"all"}]'
    for talk in talks:
        assert said((await talk.poll()).batch)[-1] == {"to": "all"}


async def test_rooms(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A room reaches its members over any transport, and a session leaves when it ends."""
    served = await place(witness)
    talks = [dial(served) for _ in range(3)]
    for talk in talks:
        await talk.open()
        served.server.room("tea").join(talk.session)
    stream, frames = await talks[0].stream(), await talks[1].climb()
    call = await talks[2].ask()
    served.server.room("tea").publish("earl grey")
    assert await stream.messages(1) == await frames.messages(1) == said((await call.answer()).batch) == ["earl grey"]
    await talks[2].send(["#", 1], ["c", 1000, ""], ack=1)
    assert len(served.server.room("tea")) == 2


@each_codec
async def test_concurrent_sends(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """Four sends under way at once, in any order, are handed over in the order of their numbers."""
    talk = dial(await place(witness), codec)
    await talk.open()
    answers = await asyncio.gather(*(talk.send(["#", number], ["m", number]) for number in (4, 2, 3, 1)))
    assert max(answer.batch[0][1] for answer in answers) == 4
    assert [await witness.message() for _ in range(4)] == [1, 2, 3, 4]


async def test_two_polls_at_once(place: Mounting, dial: Dial, witness: Witness) -> None:
    """Whichever of two polls comes last has the session; nothing is lost between them."""
    talk = dial(await place(witness, poll_timeout=BLINK))
    await talk.open()
    await talk.session.send("one")
    answers = await asyncio.gather(talk.poll(n=1), talk.poll(n=2))
    assert {answer.status for answer in answers} <= {200, 409}
    assert said((await talk.poll(n=3)).batch) == ["one"]
