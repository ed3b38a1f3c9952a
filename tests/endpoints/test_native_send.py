"""Sending beside what is attached (docs/protocol.md §3 and §5): acks, positions, overtaking, repeats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.wire import Witness, echo
from tests.endpoints.native_wire import BLINK, CODECS, encode

if TYPE_CHECKING:
    from tests.conformance.peers import Mounting
    from tests.endpoints.native_wire import Batch, Dial

each_codec = pytest.mark.parametrize("codec", CODECS)


@each_codec
async def test_answer(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """A send is answered at once with the count that arrived and the number that the downward stream should be at."""
    talk = dial(await place(witness), codec)
    await talk.open()
    answer = await talk.send(["#", 1], ["m", "one"], ["m", "two"])
    assert answer.status == 200
    assert answer.batch == [["a", 2], ["#", 1]]
    assert answer.headers["Cache-Control"] == "no-store, no-transform"
    assert [await witness.message() for _ in range(2)] == ["one", "two"]


@each_codec
async def test_attaches_nothing(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """A send leaves what is attached in its place, and its ack counts."""
    talk = dial(await place(witness), codec)
    await talk.open()
    stream = await talk.stream()
    await talk.session.send("one")
    await talk.session.send("two")
    await stream.messages(2)
    assert (await talk.send(ack=1)).batch == [["a", 0], ["#", 3]]
    assert talk.session.unacked == ["two"]
    await talk.session.send("three")
    assert await stream.messages(1) == ["three"]


async def test_where_the_stream_should_be(place: Mounting, dial: Dial, witness: Witness) -> None:
    """The position names what was written, so that a client finds out that its stream is being buffered."""
    talk = dial(await place(witness))
    await talk.open()
    await talk.session.send("before")
    assert (await talk.send()).batch == [["a", 0], ["#", 2]], "nothing is attached, and there is something to be had"
    stream = await talk.stream()
    await talk.session.send("now")
    await stream.messages(2)
    assert (await talk.send()).batch == [["a", 0], ["#", 3]]


async def test_number_must_be_zero(place: Mounting, dial: Dial) -> None:
    """A send with any other `n` than 0 is malformed, and attaches nothing."""
    talk = dial(await place(echo))
    await talk.open()
    for n in (1, 2):
        assert (await talk.post("send", encode("json", [talk.attach(n)]))).status == 400
    assert talk.session.dock.n == 0


@each_codec
async def test_overtaking(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """A batch that overtook another is answered with the count before the gap, and handed over once that is filled."""
    talk = dial(await place(witness), codec)
    await talk.open()
    assert (await talk.send(["#", 4], ["m", 4], ["m", 5])).batch[0] == ["a", 0]
    assert (await talk.send(["#", 2], ["m", 2])).batch[0] == ["a", 0]
    assert witness.messages.empty()
    assert (await talk.send(["#", 1], ["m", 1])).batch[0] == ["a", 2]
    assert (await talk.send(["#", 3], ["m", 3])).batch[0] == ["a", 5]
    assert [await witness.message() for _ in range(5)] == [1, 2, 3, 4, 5]


async def test_overtaking_over_any_post(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A poll and a stream may bring what fills the gap, or what comes too early."""
    talk = dial(await place(witness, linger=0.05))
    await talk.open()
    assert (await talk.poll(["#", 3], ["m", 3])).batch[0] == ["a", 0]
    stream = await talk.stream(["#", 2], ["m", 2])
    assert await stream.batch() == [["a", 0]]
    assert (await talk.send(["#", 1], ["m", 1])).batch[0] == ["a", 3]
    assert [await witness.message() for _ in range(3)] == [1, 2, 3]


async def test_repeated(place: Mounting, dial: Dial, witness: Witness) -> None:
    """What a proxy sends twice, whole or in part, early or late, is handed over once."""
    talk = dial(await place(witness))
    await talk.open()
    for _ in range(3):
        await talk.send(["#", 2], ["m", 2], ["m", 3])
    for _ in range(3):
        assert (await talk.send(["#", 1], ["m", 1], ["m", 2])).batch[0] == ["a", 3]
    assert (await talk.send(["#", 2], ["m", 2], ["m", 3], ["m", 4])).batch[0] == ["a", 4]
    assert [await witness.message() for _ in range(4)] == [1, 2, 3, 4]
    assert witness.messages.empty()


async def test_early_beyond_the_buffer(place: Mounting, dial: Dial, witness: Witness) -> None:
    """Early packets are held within `buffer`; what finds no room is not acked, and taken when it is sent again."""
    talk = dial(await place(witness, buffer=4000, max_message=1000, max_batch=8000))
    await talk.open()
    words = [f"{number}" * 800 for number in range(8)]
    late = [["m", word] for word in words]
    assert (await talk.send(["#", 2], *late[1:])).batch[0] == ["a", 0]
    count = (await talk.send(["#", 1], late[0])).batch[0][1]
    assert 1 < count < 8
    got = [await witness.message() for _ in range(count)]
    while len(got) < 8:
        count = (await talk.send(["#", len(got) + 1], *late[len(got) :])).batch[0][1]
        got += [await witness.message() for _ in range(count - len(got))]
    assert got == words


async def test_skipped(place: Mounting, dial: Dial, witness: Witness) -> None:
    """`k` counts as the packets that it stands for; the application is told their number, of a repeat only the rest."""
    talk = dial(await place(witness))
    await talk.open()
    assert (await talk.send(["#", 1], ["m", 1], ["k", 3], ["m", 5])).batch[0] == ["a", 5]
    assert talk.session.skipped == 3
    assert (await talk.send(["#", 4], ["k", 4], ["m", 8])).batch[0] == ["a", 8]
    assert talk.session.skipped == 5
    assert [await witness.message() for _ in range(3)] == [1, 5, 8]


async def test_unknown_kinds(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A lower-case kind that nobody knows is ignored and not counted."""
    talk = dial(await place(witness))
    await talk.open()
    batch: Batch = [["#", 1], ["s", {"x": 1}], ["m", 1], ["z"], ["n", 1, 2, 3], ["m", 2]]
    assert (await talk.send(*batch)).batch[0] == ["a", 2]
    assert [await witness.message() for _ in range(2)] == [1, 2]


async def test_what_came_before_a_fault(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A message in front of a malformed packet is handed over once in the end, whether it was acked or not."""
    talk = dial(await place(witness))
    await talk.open()
    assert (await talk.send(["#", 1], ["m", 1], ["a", 99])).status == 400
    count = (await talk.send()).batch[0][1]
    packets = [["m", number] for number in (1, 2)]
    assert (await talk.send(["#", count + 1], *packets[count:])).batch[0] == ["a", 2]
    assert [await witness.message() for _ in range(2)] == [1, 2]


async def test_while_nothing_is_attached(place: Mounting, dial: Dial) -> None:
    """A send works between two polls; its answers wait for the next one."""
    talk = dial(await place(echo))
    await talk.open()
    await talk.poll(hold=0)
    await talk.send(["#", 1], ["m", "one"])
    assert (await talk.poll()).batch == [["a", 1], ["#", 1], ["m", "one"]]


async def test_ack_on_a_stream(place: Mounting, dial: Dial, witness: Witness) -> None:
    """What `send` has acked rides on the stream's next batch too: the answer to a send may be lost."""
    talk = dial(await place(witness, stream_ack_delay=60))
    await talk.open()
    stream = await talk.stream(["#", 1], ["m", 0])
    assert await stream.batch() == [["a", 1]]
    assert await stream.batch() == [["#", 1]]
    for number in range(2, 5):
        assert (await talk.send(["#", number], ["m", number])).batch[0] == ["a", number]
    await talk.session.send("mark")
    assert await stream.batch() == [["a", 4], ["m", "mark"]]


async def test_empty(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A body that attaches nothing and brings nothing asks how far we are, and is told."""
    talk = dial(await place(witness))
    await talk.open(["#", 1], ["m", "one"])
    assert (await talk.send()).batch == [["a", 1], ["#", 1]]
    call = await talk.ask()
    assert (await talk.send()).batch == [["a", 1], ["#", 1]]
    assert await call.held(BLINK)
