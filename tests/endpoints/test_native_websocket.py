"""WebSockets (docs/protocol.md §3 and §5): attach, hello, trial and promotion, frames, ends."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from tests.conformance.wire import BINARY, TEXT, Witness, echo, handshake, until
from tests.endpoints.native_wire import CODECS, encode, said

if TYPE_CHECKING:
    from hybridws import Session
    from tests.conformance.peers import Mounting
    from tests.endpoints.native_wire import Batch, Dial

each_codec = pytest.mark.parametrize("codec", CODECS)


@each_codec
async def test_attach(place: Mounting, dial: Dial, codec: str) -> None:
    """Without an older transport a WebSocket has the session at once: count, position, and both directions."""
    talk = dial(await place(echo), codec)
    await talk.open()
    frames = await talk.websocket()
    await frames.say(talk.attach())
    assert await frames.batch() == [["a", 0], ["#", 1]]
    await frames.say(["#", 1], ["m", "one"], ["m", "two"])
    assert await frames.messages(2) == ["one", "two"]
    await frames.say(["a", 2], ["m", {"three": 3}])  # the position stands before the first packet only
    assert await frames.messages(1) == [{"three": 3}]


@each_codec
async def test_attach_brings_messages(place: Mounting, dial: Dial, codec: str) -> None:
    """The frame that attaches may bring packets too."""
    talk = dial(await place(echo), codec)
    await talk.open()
    frames = await talk.websocket()
    await frames.say(talk.attach(), ["#", 1], ["m", "one"])
    assert await frames.messages(1) == ["one"]


@each_codec
async def test_hello(place: Mounting, dial: Dial, codec: str) -> None:
    """A hello as the first frame opens a session and counts as attach 1; `o` is a text frame of its own."""
    talk = dial(await place(echo), codec)
    frames = await talk.websocket()
    await frames.say(["i", {"v": 1, "codec": codec}], codec="json")
    opcode, payload = await frames.socket.frame()
    assert opcode == TEXT
    talk.take(json.loads(payload))
    assert await frames.batch() == [["a", 0], ["#", 1]]
    await frames.say(["#", 1], ["m", "one"])
    assert await frames.messages(1) == ["one"]
    assert talk.session.dock.n == 1
    assert (await talk.poll(n=0)).status == 400
    assert (await talk.poll(n=2, hold=0)).status == 200


async def test_hello_brings_messages(place: Mounting, dial: Dial) -> None:
    """The frame with the hello may bring messages, in the session's codec if that is JSON."""
    talk = dial(await place(echo))
    frames = await talk.websocket()
    await frames.say(["i", {"v": 1}], ["#", 1], ["m", "one"])
    talk.take((await frames.batch())[0])
    assert await frames.messages(1) == ["one"]


@each_codec
async def test_trial_and_promotion(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """While an older transport is alive, a WebSocket hears the count alone until it has shown that it hears."""
    talk = dial(await place(witness), codec)
    await talk.open()
    stream = await talk.stream(["#", 1], ["m", "zero"])
    await stream.until("#")
    frames = await talk.websocket()
    await frames.say(talk.attach())
    assert await frames.batch() == [["a", 1]]
    await talk.session.send("by the older")
    assert await stream.messages(1) == ["by the older"]
    assert talk.session.transport == "stream"
    await frames.say(["a", 1], ["#", 2])
    assert await stream.rest() == []
    await talk.session.send("by the newer")
    assert await frames.until("m") == [["#", 2], ["m", "by the newer"]]
    assert talk.session.transport == "websocket"


async def test_promotion_repeats_what_is_unacked(place: Mounting, dial: Dial, witness: Witness) -> None:
    """On promotion all is said again that was never acked, in order, from the right number on."""
    talk = dial(await place(witness))
    await talk.open()
    stream = await talk.stream()
    for word in ("one", "two", "three"):
        await talk.session.send(word)
    await stream.messages(3)
    frames = await talk.websocket()
    await frames.say(talk.attach())
    assert await frames.batch() == [["a", 0]]
    await frames.say(["a", 1], ["#", 1])
    assert await frames.until("m") == [["#", 2], ["m", "two"], ["m", "three"]]


async def test_promotion_by_a_message(place: Mounting, dial: Dial, witness: Witness) -> None:
    """What the client says again on its WebSocket promotes it as well, and is not handed over twice."""
    talk = dial(await place(witness))
    await talk.open()
    stream = await talk.stream(["#", 1], ["m", "one"])
    await stream.until("#")
    frames = await talk.websocket()
    await frames.say(talk.attach())
    await frames.batch()
    await frames.say(["a", 0], ["#", 1], ["m", "one"], ["m", "two"])
    assert await stream.rest() == []
    assert [await witness.message() for _ in range(2)] == ["one", "two"]
    assert witness.messages.empty()


async def test_trial_over_a_poll(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A held poll goes on during a trial, and ends with an ack alone at the promotion."""
    talk = dial(await place(witness))
    await talk.open()
    call = await talk.ask()
    frames = await talk.websocket()
    await frames.say(talk.attach())
    assert await frames.batch() == [["a", 0]]
    assert await call.held()
    await frames.say(["a", 0], ["#", 1])
    assert (await call.answer()).batch == [["a", 0]]
    assert await frames.batch() == [["#", 1]]


async def test_trial_timeout(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A trial that hears nothing is closed, and the older transport has never noticed."""
    talk = dial(await place(witness, trial_timeout=0.25))
    await talk.open()
    stream = await talk.stream()
    await stream.until("#")
    frames = await talk.websocket()
    await frames.say(talk.attach())
    code, batch = await frames.closed()
    assert batch == [["a", 0]]
    assert code == 4409
    await talk.session.send("still here")
    assert await stream.messages(1) == ["still here"]


async def test_trial_ends_when_the_older_one_does(place: Mounting, dial: Dial, witness: Witness) -> None:
    """When the older transport dies during a trial, the WebSocket takes over once it is heard, and loses nothing."""
    talk = dial(await place(witness, heartbeat=0.25))
    await talk.open()
    stream = await talk.stream()
    await stream.until("#")
    frames = await talk.websocket()
    await frames.say(talk.attach())
    assert await frames.batch() == [["a", 0]]
    stream.wire.abort()
    await until(lambda: talk.session.seat is None)
    await talk.session.send("kept")
    await frames.say(["a", 0], ["#", 1])
    assert await frames.messages(1) == ["kept"]


async def test_two_trials(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A newer WebSocket takes the trial from an older one."""
    talk = dial(await place(witness))
    await talk.open()
    await (await talk.stream()).until("#")
    first, second = await talk.websocket(), await talk.websocket()
    await first.say(talk.attach())
    await first.batch()
    await second.say(talk.attach())
    assert await second.batch() == [["a", 0]]
    assert (await first.closed())[0] == 4409
    await second.say(["a", 0], ["#", 1])
    assert await second.batch() == [["#", 1]]


@each_codec
async def test_superseded(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """A WebSocket that a newer attach of any kind has superseded is closed with 4409, which ends no session."""
    talk = dial(await place(witness), codec)
    await talk.open()
    frames = await talk.climb()
    call = await talk.ask()
    assert (await frames.closed())[0] == 4409
    await talk.session.send("to the poll")
    assert said((await call.answer()).batch) == ["to the poll"]


async def test_older_number(place: Mounting, dial: Dial) -> None:
    """A WebSocket with an older `n` is told 4409 and the current `n`, by `x` in JSON, and closed."""
    talk = dial(await place(echo))
    await talk.open()
    await talk.poll(n=4, hold=0)
    frames = await talk.websocket()
    await frames.say(talk.attach(2))
    code, ((kind, said_code, _, details),) = await frames.closed()
    assert (kind, said_code, code) == ("x", 4409, 4409)
    assert details == {"n": 4}


async def test_same_number_again(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A WebSocket with the same `n` as the attached one takes its place, on trial as any."""
    talk = dial(await place(witness))
    await talk.open()
    first = await talk.climb()
    again = await talk.websocket()
    await again.say(talk.attach(talk.n))
    assert await again.batch() == [["a", 0]]
    await again.say(["a", 0], ["#", 1])
    assert (await first.closed())[0] == 4409
    await talk.session.send("one")
    assert await again.messages(1) == ["one"]


async def test_first_frame_timeout(place: Mounting, dial: Dial) -> None:
    """A WebSocket that says nothing is told 4408 and closed."""
    served = await place(echo, first_frame=0.2)
    frames = await dial(served).websocket()
    code, ((kind, said_code, *_),) = await frames.closed()
    assert (kind, said_code, code) == ("x", 4408, 4408)
    assert not served.server.sessions


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (b"", 4400),
        (b"rubbish", 4400),
        (b'["m", "one"]', 4400),
        (b'["@", "x"]', 4400),
        (b'["h"]', 4400),
        (b'["@", "0123abcd.nobody", "key", 1, 0]', 4404),
        (b'["i", {"v": 2}]', 4400),
        (b'["i", {"v": 1, "codec": "xml"}]', 4400),
    ],
)
async def test_refused_first_frame(place: Mounting, dial: Dial, first: bytes, code: int) -> None:
    """A first frame that attaches nothing is answered with one `x` in JSON, and the close frame says the same code."""
    served = await place(echo)
    frames = await dial(served).websocket()
    await frames.socket.send(TEXT, first)
    closed, ((kind, said_code, *_),) = await frames.closed()
    assert (kind, said_code, closed) == ("x", code, code)
    assert not served.server.sessions


async def test_wrong_key(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A WebSocket with a wrong key is told 4403, in JSON whatever the session speaks, and the session is unharmed."""
    talk = dial(await place(witness), "msgpack")
    await talk.open()
    frames = await talk.websocket()
    await frames.say(["@", talk.sid, "wrong", 1, 0])
    opcode, payload = await frames.socket.frame()
    assert opcode == TEXT
    assert payload.startswith(b'["x", 4403, ')
    assert talk.session.dock.n == 0
    await talk.climb()


async def test_attach_zero(place: Mounting, dial: Dial) -> None:
    """Attaches count from 1, on a WebSocket too."""
    talk = dial(await place(echo))
    await talk.open()
    frames = await talk.websocket()
    await frames.say(talk.attach(0))
    assert (await frames.closed())[0] == 4400


async def test_hello_in_binary(place: Mounting, dial: Dial) -> None:
    """Before an attach is accepted, all but `@` is JSON in text: a hello in msgpack is malformed."""
    served = await place(echo)
    frames = await dial(served, "msgpack").websocket()
    await frames.say(["i", {"v": 1, "codec": "msgpack"}])
    assert (await frames.closed())[0] == 4400
    assert not served.server.sessions


@pytest.mark.parametrize("codec", CODECS)
async def test_the_other_kind_of_frame(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """A session has one codec: JSON in text frames, or msgpack in binary ones; the other ends the transport."""
    talk = dial(await place(witness), codec)
    await talk.open()
    frames = await talk.climb()
    batch: Batch = [["#", 1], ["m", "one"]]
    await frames.socket.send(BINARY if codec == "json" else TEXT, encode("json", batch))
    code, told = await frames.closed()
    assert code == 4400
    assert told[-1][:2] == ["x", 4400]
    assert talk.session.closed is None
    assert witness.messages.empty()


@each_codec
@pytest.mark.parametrize(
    "batch",
    [
        [["m", "no position"]],
        [["#", 2], ["m", "skips ahead"]],
        [["a", 1]],
        [["#", 0]],
        [["a", -1]],
        [["c", 1]],
        [["M", "upper case"]],
        [["mm", "two letters"]],
        [[]],
        [["#", 1], ["m", "one", "more"]],
    ],
)
async def test_malformed(place: Mounting, dial: Dial, witness: Witness, codec: str, batch: list[list[object]]) -> None:
    """A malformed packet ends its transport with `x 4400`, and never the session: the client attaches again."""
    talk = dial(await place(witness), codec)
    await talk.open()
    frames = await talk.climb()
    await frames.say(*batch)
    code, told = await frames.closed()
    assert code == 4400
    assert told[-1][:2] == ["x", 4400]
    assert talk.session.closed is None
    again = await talk.climb()
    await again.say(["#", 1], ["m", "fine"])
    assert await witness.message() == "fine"


@each_codec
async def test_heartbeats(place: Mounting, dial: Dial, codec: str) -> None:
    """The server says `h` on an idle WebSocket, and answers the client's at once with an ack."""
    talk = dial(await place(echo, heartbeat=0.25, pong_timeout=1), codec)
    await talk.open()
    frames = await talk.climb()
    for _ in range(6):
        assert (await frames.until("h"))[-1] == ["h"]
        await frames.say(["a", 0])
    await frames.say(["h"])
    async with asyncio.timeout(4):
        while ["a", 0] not in await frames.batch():
            pass
    assert talk.session.dock.attaches == 1


async def test_heartbeat_wish(place: Mounting, dial: Dial) -> None:
    """A client may wish for more heartbeats, but not for fewer, nor for more than one in `min_heartbeat`."""
    talk = dial(await place(echo, min_heartbeat=0.2, heartbeat=60, pong_timeout=1))
    await talk.open()
    frames = await talk.climb(heartbeat=0.2)
    async with asyncio.timeout(8):
        assert await frames.batch() == [["h"]]
    for asked, granted in ((0.01, 0.2), (1000, 60), (-1, 60), ("soon", 60)):
        await talk.climb(heartbeat=asked)
        assert talk.session.seat
        assert talk.session.seat.wish == granted


async def test_silence(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A WebSocket that brings nothing after a heartbeat is dropped; the session is not."""
    talk = dial(await place(witness, heartbeat=0.25, pong_timeout=0.25))
    await talk.open()
    frames = await talk.climb()
    await until(lambda: talk.session.seat is None)
    assert await frames.batch() == [["h"]]
    assert await frames.socket.wire.at_end()
    assert talk.session.closed is None
    await talk.session.send("kept")
    assert said((await talk.poll()).batch) == ["kept"]


async def test_any_byte_is_life(place: Mounting, dial: Dial) -> None:
    """A ping counts as a sign of life as well as an ack."""
    talk = dial(await place(echo, heartbeat=0.25, pong_timeout=0.5))
    await talk.open()
    frames = await talk.climb()
    for _ in range(6):
        await frames.until("h")
        await frames.socket.send(0x9, b"")
        assert (await frames.socket.frame())[0] == 0xA
    assert talk.session.dock.attaches == 1


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4000, 4999, None])
async def test_close_frame_ends_no_session(place: Mounting, dial: Dial, witness: Witness, code: int | None) -> None:
    """A WebSocket's own close, of any code or none, ends a transport and never a session."""
    talk = dial(await place(witness))
    await talk.open()
    frames = await talk.climb()
    await frames.socket.send(0x8, code.to_bytes(2) if code else b"")
    await until(lambda: talk.session.seat is None)
    assert talk.session.closed is None
    await talk.session.send("kept")
    assert said((await talk.poll()).batch) == ["kept"]


async def test_cut(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A WebSocket that breaks takes nothing along that was not acked."""
    talk = dial(await place(witness))
    await talk.open()
    frames = await talk.climb()
    await talk.session.send("one")
    await talk.session.send("two")
    assert await frames.messages(2) == ["one", "two"]
    frames.socket.wire.abort()
    await until(lambda: talk.session.seat is None)
    again = await talk.climb(ack=1)
    assert talk.session.unacked == ["two"]
    await again.socket.wire.close()


async def test_ack_alone(place: Mounting, dial: Dial, witness: Witness) -> None:
    """An ack that nothing carries goes alone after a quarter of a second, and at once after 32 packets."""
    talk = dial(await place(witness, ack_delay=0.1))
    await talk.open()
    frames = await talk.climb()
    await frames.say(["#", 1], ["m", 1])
    assert await frames.batch() == [["a", 1]]
    late = dial(await place(witness, ack_delay=60))
    await late.open()
    frames = await late.climb()
    await frames.say(["#", 1], *(["m", number] for number in range(40)))
    assert await frames.batch() == [["a", 40]]


async def test_plain_get(place: Mounting, dial: Dial) -> None:
    """A plain GET on the WebSocket's address is answered with 426."""
    answer = await (await dial(await place(echo)).look("/v1/websocket")).answer()
    assert answer.status == 426
    assert answer.headers["Upgrade"] == "websocket"  # RFC 9110 §15.5.22
    assert answer.refusal[0] == 4400


async def test_wrong_websocket_version(place: Mounting, dial: Dial) -> None:
    """A handshake of another WebSocket version is refused with 4xx."""
    headers = {**handshake(), "Sec-WebSocket-Version": "12"}
    answer = await (await dial(await place(echo)).look("/v1/websocket", headers)).answer()
    assert answer.status == 426


async def test_what_comes_while_it_is_asked_who_that_is(place: Mounting, dial: Dial) -> None:
    """Frames that follow the first one at once, and even the connection's end, wait until the client is known."""

    async def ask(_request: object, _auth: object) -> str:
        await asyncio.sleep(0.2)
        return "somebody"

    heard: list[object] = []

    async def listen(session: Session) -> None:
        heard.extend([message async for message in session])

    here = await place(listen, authenticate=ask)
    talk = dial(here)
    await talk.open(auth=1)
    session = talk.session
    frames = await talk.websocket()
    await frames.say(talk.attach(auth=2))
    await frames.say(["#", 1], ["m", "one"])
    await frames.say(["m", "two"], ["c", 1000, "bye"])
    await frames.socket.wire.close()
    await until(lambda: heard)
    assert heard == ["one", "two"]
    assert session.closed == (1000, "bye", "remote")
    await until(lambda: session.seat is None and not vars(here.server)["_carriers"])


async def test_an_end_while_it_is_asked_who_that_is(place: Mounting, witness: Witness, dial: Dial) -> None:
    """A connection that breaks before its client is known has no seat afterwards."""

    async def ask(_request: object, _auth: object) -> str:
        await asyncio.sleep(0.2)
        return "somebody"

    here = await place(witness, authenticate=ask)
    talk = dial(here)
    await talk.open(auth=1)
    frames = await talk.websocket()
    await frames.say(talk.attach(auth=2))
    await frames.socket.wire.close()
    await until(lambda: talk.session.dock.attaches)
    await until(lambda: talk.session.seat is None and not vars(here.server)["_carriers"])
    assert talk.session.closed is None
