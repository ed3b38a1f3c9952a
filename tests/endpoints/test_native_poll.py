"""Polls (docs/protocol.md §3 and §5): held, answered, superseded, repeated."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.conformance.wire import Witness, echo, until
from tests.endpoints.native_wire import BLINK, CODECS, said

if TYPE_CHECKING:
    from tests.conformance.peers import Mounting
    from tests.endpoints.native_wire import Dial

each_codec = pytest.mark.parametrize("codec", CODECS)


@each_codec
async def test_held(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """A poll is held until there is something to deliver; then it says the count, the position and the message."""
    talk = dial(await place(witness), codec)
    await talk.open()
    call = await talk.ask()
    assert await call.held()
    await talk.session.send({"a": [1, None, "ä"]})
    answer = await call.answer()
    assert answer.batch == [["a", 0], ["#", 1], ["m", {"a": [1, None, "ä"]}]]
    assert answer.headers["Cache-Control"] == "no-store, no-transform"
    kind = "text/plain; charset=utf-8" if codec == "json" else "application/octet-stream"
    assert answer.headers["Content-Type"] == kind


@each_codec
async def test_bytes(place: Mounting, dial: Dial, codec: str) -> None:
    """Bytes are `b` in base64 in JSON, and bytes in msgpack, both ways."""
    talk = dial(await place(echo, linger=10), codec)
    await talk.open()
    packet = ["b", "AP8="] if codec == "json" else ["m", b"\x00\xff"]
    answer = await talk.poll(["#", 1], packet)
    assert answer.batch == [["a", 1], ["#", 1], packet]


async def test_repeated_until_acked(place: Mounting, dial: Dial, witness: Witness) -> None:
    """What a poll brought is said again by the next, until the client has acked it."""
    talk = dial(await place(witness))
    await talk.open()
    for word in ("one", "two", "three"):
        await talk.session.send(word)
    assert (await talk.poll()).batch == [["a", 0], ["#", 1], ["m", "one"], ["m", "two"], ["m", "three"]]
    assert (await talk.poll(ack=1)).batch == [["a", 0], ["#", 2], ["m", "two"], ["m", "three"]]
    assert (await talk.poll(ack=0)).batch == [["a", 0], ["#", 2], ["m", "two"], ["m", "three"]]  # acks only grow
    assert (await talk.poll(ack=3, hold=0)).batch == [["a", 0], ["#", 4]]


async def test_idle(place: Mounting, dial: Dial, witness: Witness) -> None:
    """An idle poll is answered with a batch that holds no message after `poll_timeout`."""
    talk = dial(await place(witness, poll_timeout=0.1))
    await talk.open()
    answer = await talk.poll()
    assert answer.status == 200
    assert answer.batch[0] == ["a", 0]
    assert not said(answer.batch)


async def test_hold_wish(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A client may wish for a shorter hold, down to none at all; a longer one than ours is not granted."""
    talk = dial(await place(witness, poll_timeout=0.3))
    await talk.open()
    for wish in (0, 0.05, 1000):
        async with asyncio.timeout(4):
            assert not said((await talk.poll(hold=wish)).batch)


@pytest.mark.parametrize("wish", [-1, "soon", None, True, [], {}])
async def test_odd_wishes(place: Mounting, dial: Dial, witness: Witness, wish: object) -> None:
    """A wish that is no number of seconds is as none: the poll is held for `poll_timeout`."""
    talk = dial(await place(witness, poll_timeout=BLINK))
    await talk.open()
    call = await talk.ask(hold=wish, heartbeat=wish)
    assert await call.held(BLINK / 3)
    assert (await call.answer()).status == 200


async def test_linger(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A poll that brought messages is answered within `linger`, though the application says nothing."""
    talk = dial(await place(witness, linger=0.1))
    await talk.open()
    async with asyncio.timeout(4):
        assert (await talk.poll(["#", 1], ["m", "one"])).batch[0] == ["a", 1]
    assert await witness.message() == "one"


async def test_round_trip(place: Mounting, dial: Dial) -> None:
    """The answer rides on the poll that brought the question: one request per round trip."""
    talk = dial(await place(echo, linger=10))
    await talk.open()
    for number in range(1, 6):
        answer = await talk.poll(["#", number], ["m", number], ack=number - 1)
        assert answer.batch == [["a", number], ["#", number], ["m", number]]


async def test_only_acks_do_not_linger(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A body that brings no more than a position or an ack is held as one that brings nothing."""
    talk = dial(await place(witness, linger=0.01))
    await talk.open()
    call = await talk.ask(["#", 1], ["a", 0])
    assert await call.held()
    await talk.session.send("now")
    assert said((await call.answer()).batch) == ["now"]


async def test_superseded(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A newer attach ends the poll before it with a batch that holds an ack and nothing else."""
    talk = dial(await place(witness))
    await talk.open()
    older = await talk.ask()
    newer = await talk.ask()
    answer = await older.answer()
    assert answer.status == 200
    assert answer.batch == [["a", 0]]
    await talk.session.send("for the newer")
    assert said((await newer.answer()).batch) == ["for the newer"]


async def test_same_number_again(place: Mounting, dial: Dial, witness: Witness) -> None:
    """The same request repeated by a browser or a proxy takes the first's place, and is handed over once."""
    talk = dial(await place(witness, linger=10))
    await talk.open()
    first = await talk.ask(["#", 1], ["m", "one"], n=1)
    again = await talk.ask(["#", 1], ["m", "one"], n=1)
    assert (await first.answer()).batch == [["a", 1]]
    await talk.session.send("answer")
    assert (await again.answer()).batch == [["a", 1], ["#", 1], ["m", "answer"]]
    assert await witness.message() == "one"
    assert witness.messages.empty()


async def test_older_number(place: Mounting, dial: Dial, witness: Witness) -> None:
    """An attach that a proxy held back is answered with 409 and the current `n`, and takes nothing away."""
    talk = dial(await place(witness))
    await talk.open()
    call = await talk.ask(n=5)
    late = await talk.poll(["#", 1], ["m", "late"], n=3)
    assert late.status == 409
    assert late.refusal == [4409, {"n": 5}]
    assert await call.held()
    await talk.session.send("here")
    assert said((await call.answer()).batch) == ["here"]
    assert (await talk.poll(n=6, ack=1, hold=0)).status == 200
    assert witness.messages.empty()


async def test_goes_on_after_409(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A client that gets 409 for its newest `n` goes on with the current one and 1: 409 never ends a session."""
    talk = dial(await place(witness))
    await talk.open()
    await talk.poll(n=7, hold=0)
    current = (await talk.poll(n=1)).refusal[1]["n"]
    assert (await talk.poll(n=current + 1, hold=0)).status == 200


async def test_number_zero(place: Mounting, dial: Dial) -> None:
    """Attaches count from 1: a poll or a stream with 0 is malformed."""
    talk = dial(await place(echo))
    await talk.open()
    for where in ("poll", "stream"):
        answer = await talk.post(where, f'["@","{talk.sid}","{talk.key}",0,0]'.encode())
        assert answer.status == 400


async def test_large_answers(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A poll's answer holds `max_batch` at most; the next goes on where it ended."""
    talk = dial(await place(witness, max_message=1000, max_batch=2000))
    await talk.open()
    for number in range(10):
        await talk.session.send(f"{number}" * 900)
    got: list[str] = []
    while len(got) < 10:
        answer = await talk.poll(ack=len(got))
        assert len(answer.body) <= 2000
        assert answer.batch[1] == ["#", len(got) + 1]
        got += said(answer.batch)
    assert got == [f"{number}" * 900 for number in range(10)]


async def test_client_leaves(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A poll whose client has left takes nothing along: what is said then comes with the next."""
    talk = dial(await place(witness, heartbeat=0.25))
    await talk.open()
    call = await talk.ask()
    call.wire.abort()
    await until(lambda: talk.session.seat is None)
    await talk.session.send("kept")
    assert said((await talk.poll()).batch) == ["kept"]


async def test_heartbeat(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A poll that brings `h` is answered at once with an ack."""
    talk = dial(await place(witness, linger=30))
    await talk.open()
    async with asyncio.timeout(4):
        assert (await talk.poll(["h"])).batch[0] == ["a", 0]
