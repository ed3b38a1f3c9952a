"""Streams and event streams (docs/protocol.md §2 and §3): padding, framing, limits, superseding."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import TYPE_CHECKING

import pytest

from hybridws.transports.downlinks import Pump
from tests.conformance.wire import Witness, echo, until
from tests.endpoints.native_wire import CODECS, encode, said

if TYPE_CHECKING:
    from tests.conformance.peers import Mounting
    from tests.endpoints.native_wire import Dial

each_codec = pytest.mark.parametrize("codec", CODECS)

BREAKS = ["\r", "\n", "\r\n", "\n\ndata: x\n\n", "id: 7\r\revent: y", "\0", "\u2028\u2029\x85", ":\ufeff"]
"""Texts that would end a line or an event if they stood in one as they are."""


@each_codec
async def test_head(place: Mounting, dial: Dial, codec: str) -> None:
    """A stream forbids caches, transformations and nginx's buffering, and is not compressed."""
    talk = dial(await place(echo), codec)
    await talk.open()
    stream = await talk.stream()
    headers = stream.head.headers
    assert headers["Cache-Control"] == "no-store, no-transform"
    assert headers["X-Accel-Buffering"] == "no"
    assert "Content-Encoding" not in headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    kind = "text/event-stream" if codec == "json" else "application/octet-stream"
    assert headers["Content-Type"] == kind


@each_codec
async def test_first_two_batches(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """After the padding come the first two batches as two writes, though there is all to say at once."""
    talk = dial(await place(witness), codec)
    await talk.open()
    await talk.session.send("waiting")
    stream = await talk.stream()
    assert await stream.batch() == [["a", 0]]
    assert await stream.batch() == [["#", 1], ["m", "waiting"]]
    await talk.session.send("later")
    assert await stream.batch() == [["m", "later"]]


@pytest.mark.parametrize("how", ["broken", "superseded"])
async def test_a_stream_that_has_ended_is_forgotten(place: Mounting, dial: Dial, witness: Witness, how: str) -> None:
    """Nothing holds what a stream was made of until it would have been too old, `stream_age` later."""
    talk = dial(await place(witness))
    await talk.open()
    for _ in range(3):
        stream = await talk.stream()
        assert await stream.batch() == [["a", 0]]
        if how == "broken":
            stream.wire.writer.transport.abort()
            await until(lambda: talk.session.seat is None)
    await until(lambda: gc.collect() >= 0 and living(Pump) <= (how == "superseded"))


def living(kind: type) -> int:
    """Count the objects of a class that somebody holds."""
    return sum(type(one) is kind for one in gc.get_objects())


@each_codec
async def test_idle_stream_shows_both(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """A stream with nothing to say has its two batches all the same, so that a client sees that it is not buffered."""
    talk = dial(await place(witness), codec)
    await talk.open()
    stream = await talk.stream()
    assert await stream.batch() == [["a", 0]]
    assert await stream.batch() == [["#", 1]]


async def test_framing(place: Mounting, dial: Dial, witness: Witness) -> None:
    """One event is one batch, with a `data:` line for each packet."""
    talk = dial(await place(witness))
    await talk.open()
    await talk.session.send("one")
    await talk.session.send("two")
    stream = await talk.stream()
    assert await stream.wire.chunk() == b'data: ["a",0]\n\n'
    assert await stream.wire.chunk() == b'data: ["#",1]\ndata: ["m","one"]\ndata: ["m","two"]\n\n'


@pytest.mark.parametrize("text", BREAKS)
async def test_line_breaks_in_text(place: Mounting, dial: Dial, witness: Witness, text: str) -> None:
    """A text with line breaks makes neither a new line nor a new event, and arrives as it is."""
    talk = dial(await place(witness))
    await talk.open()
    stream = await talk.stream()
    await stream.until("#")
    await talk.session.send(text)
    raw = await stream.wire.chunk()
    assert raw.startswith(b"data: ")
    assert raw.endswith(b"\n\n")
    assert b"\r" not in raw
    assert b"\n" not in raw[:-2]
    assert b"\0" not in raw
    assert json.loads(raw[6:]) == ["m", text]


@each_codec
async def test_brings_messages(place: Mounting, dial: Dial, codec: str) -> None:
    """A stream's body may bring messages, and their count stands in its first batch."""
    talk = dial(await place(echo), codec)
    await talk.open()
    stream = await talk.stream(["#", 1], ["m", "one"])
    assert await stream.batch() == [["a", 1]]
    assert await stream.messages(1) == ["one"]


@each_codec
async def test_limit(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """A stream ends after `stream_limit` bytes, and the next one goes on without a gap."""
    talk = dial(await place(witness, stream_limit=3000, chunk=500), codec)
    await talk.open()
    for number in range(50):
        await talk.session.send(f"{number:04}" * 50)
    got: list[str] = []
    for _ in range(3):
        batch = await (await talk.stream(ack=len(got))).rest()
        assert 2500 < len(encode(codec, batch)) < 4000
        assert batch[1] == ["#", len(got) + 1]
        got += said(batch)
    got += await (await talk.stream(ack=len(got))).messages(50 - len(got))
    assert got == [f"{number:04}" * 50 for number in range(50)]


@each_codec
async def test_age(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """A stream ends in order after `stream_age`, and the session lives on."""
    talk = dial(await place(witness, stream_age=0.2), codec)
    await talk.open()
    await talk.session.send("one")
    stream = await talk.stream()
    assert said(await stream.rest()) == ["one"]
    assert await (await talk.stream(ack=1)).until("#") == [["a", 0], ["#", 2]]


@each_codec
async def test_superseded(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """A newer attach ends a stream in order, and what is said from then on goes to the newer."""
    talk = dial(await place(witness), codec)
    await talk.open()
    older = await talk.stream()
    await older.until("#")
    newer = await talk.stream()
    assert await older.rest() == []
    await talk.session.send("one")
    assert await newer.messages(1) == ["one"]


async def test_unacked_goes_to_the_newer(place: Mounting, dial: Dial, witness: Witness) -> None:
    """What was written to a stream and never acked is said again on the next: written is not arrived."""
    talk = dial(await place(witness))
    await talk.open()
    older = await talk.stream()
    await talk.session.send("one")
    assert await older.messages(1) == ["one"]
    newer = await talk.stream()
    assert await newer.until("m") == [["a", 0], ["#", 1], ["m", "one"]]


async def test_http10(place: Mounting, dial: Dial, witness: Witness) -> None:
    """Over HTTP/1.0 a stream has no chunks and ends with its connection."""
    talk = dial(await place(witness, stream_age=0.2))
    await talk.open()
    wire = await talk.wire()
    body = encode("json", [talk.attach()])
    await wire.request("POST", talk.place.at(f"/v1/{talk.sid}/stream"), talk.headers, body, version="1.0")
    head = await wire.head()
    assert head.status == 200
    assert "Transfer-Encoding" not in head.headers
    assert (await wire.rest()).endswith(b'data: ["a",0]\n\ndata: ["#",1]\n\n')


@each_codec
async def test_heartbeats(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """An idle stream gets a heartbeat; a client that answers it by `send` keeps its stream."""
    talk = dial(await place(witness, heartbeat=0.25, pong_timeout=1), codec)
    await talk.open()
    stream = await talk.stream()
    for _ in range(8):
        assert (await stream.until("h"))[-1] == ["h"]
        assert (await talk.send()).status == 200
    assert talk.session.seat
    assert talk.session.dock.attaches == 1


async def test_silent_client(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A client that answers no heartbeat loses its stream, not its session."""
    talk = dial(await place(witness, heartbeat=0.25, pong_timeout=0.25))
    await talk.open()
    stream = await talk.stream()
    assert ["h"] in await stream.rest()
    assert talk.session.seat is None
    assert talk.session.closed is None
    assert (await talk.poll(hold=0)).status == 200


async def test_client_says_heartbeat(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A client's heartbeat is answered at once, by the answer of `send` and on the stream itself."""
    talk = dial(await place(witness))
    await talk.open()
    stream = await talk.stream()
    await stream.until("#")
    async with asyncio.timeout(4):
        assert (await talk.send(["h"])).batch[0] == ["a", 0]
        assert await stream.batch() == [["a", 0]]


async def test_client_leaves(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A stream whose client has left is noticed soon, and what was said then goes to the next."""
    talk = dial(await place(witness, heartbeat=0.25))
    await talk.open()
    stream = await talk.stream()
    await stream.until("#")
    stream.wire.abort()
    await until(lambda: talk.session.seat is None)
    await talk.session.send("kept")
    assert said((await talk.poll()).batch) == ["kept"]


# ── events ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_events_are_off(place: Mounting, dial: Dial) -> None:
    """Event streams are there only with `events=True`, since their key stands in the address."""
    talk = dial(await place(echo))
    await talk.open()
    answer = await (await talk.look(f"/v1/{talk.sid}/events?key={talk.key}")).answer()
    assert answer.status == 404
    assert talk.session.closed is None


async def test_events(place: Mounting, dial: Dial, witness: Witness) -> None:
    """An event stream says after how long to come back first, and in each event's id the count so far."""
    talk = dial(await place(witness, events=True))
    await talk.open()
    await talk.session.send("one")
    await talk.session.send("two")
    stream = await talk.events()
    assert stream.head.headers["Content-Type"] == "text/event-stream"
    assert stream.head.headers["X-Accel-Buffering"] == "no"
    assert stream.head.headers["Cache-Control"] == "no-store, no-transform"
    assert await stream.wire.chunk() == b'id: 0\ndata: ["a",0]\n\n'
    assert await stream.wire.chunk() == b'id: 2\ndata: ["#",1]\ndata: ["m","one"]\ndata: ["m","two"]\n\n'
    await talk.session.send("three")
    assert await stream.wire.chunk() == b'id: 3\ndata: ["m","three"]\n\n'


async def test_events_come_back(place: Mounting, dial: Dial, witness: Witness) -> None:
    """EventSource comes back with `Last-Event-ID`: that is its ack, and the rest is said again."""
    talk = dial(await place(witness, events=True))
    await talk.open()
    for word in ("one", "two", "three"):
        await talk.session.send(word)
    await talk.events()
    again = await talk.events({"Last-Event-ID": "2"})
    assert await again.messages(1) == ["three"]
    assert talk.session.unacked == ["three"]


async def test_events_take_the_next_number(place: Mounting, dial: Dial, witness: Witness) -> None:
    """The server counts for a client that cannot: an event stream takes over from a poll, and a poll goes on after."""
    talk = dial(await place(witness, events=True))
    await talk.open()
    call = await talk.ask(n=3)
    stream = await talk.events()
    assert (await call.answer()).batch == [["a", 0]]
    assert (await talk.poll(n=3)).refusal[1] == {"n": 4}
    assert (await talk.poll(n=5, hold=0)).status == 200
    assert [kind for kind, _ in await stream.rest()] == ["a", "#"]


async def test_events_of_msgpack(place: Mounting, dial: Dial) -> None:
    """An event stream carries JSON only: a session that speaks msgpack gets 406."""
    talk = dial(await place(echo, events=True), "msgpack")
    await talk.open()
    answer = await (await talk.look(f"/v1/{talk.sid}/events?key={talk.key}")).answer()
    assert answer.status == 406
    assert talk.session.closed is None


@pytest.mark.parametrize("query", ["", "?key=", "?key=wrong", "?key=%00", "?key=%F0%9F%92%A9", "?key=%ff"])
async def test_events_without_the_key(place: Mounting, dial: Dial, query: str) -> None:
    """Without the session's key there are no events."""
    talk = dial(await place(echo, events=True))
    await talk.open()
    answer = await (await talk.look(f"/v1/{talk.sid}/events{query}")).answer()
    assert answer.status == 403
    assert talk.session.dock.n == 0


@pytest.mark.parametrize(
    "ack", ["1", "-1", "x", "1.0", "²", pytest.param("9" * 5000, id="5000 digits"), str(2**63), "0x1", "1e0"]
)
async def test_events_with_a_false_ack(place: Mounting, dial: Dial, witness: Witness, ack: str) -> None:
    """A `Last-Event-ID` that was never given out is malformed, whatever it is, and harms nothing."""
    talk = dial(await place(witness, events=True))
    await talk.open()
    call = await talk.look(f"/v1/{talk.sid}/events?key={talk.key}", {"Last-Event-ID": ack})
    assert (await call.answer()).status == 400
    await talk.session.send("one")
    assert await (await talk.events()).messages(1) == ["one"]
