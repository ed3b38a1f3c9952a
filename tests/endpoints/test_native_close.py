"""Ends (docs/protocol.md §8): close as the last numbered packet, tombstones, abrupt ends, gone, draining."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from hybridws import SessionClosed
from tests.conformance.wire import Witness, echo, until
from tests.endpoints.native_wire import CODECS, encode, said

if TYPE_CHECKING:
    from hybridws import Session
    from tests.conformance.peers import Mounting
    from tests.endpoints.native_wire import Batch, Dial, Talk

each_codec = pytest.mark.parametrize("codec", CODECS)


async def grave(talk: Talk) -> list[Any]:
    """Ask for a session that has ended, in every way there is, and return what they all say."""
    poll, send, stream = await talk.poll(), await talk.send(), await talk.post("stream", encode(talk.codec, [["h"]]))
    assert (poll.status, send.status, stream.status) == (410, 410, 410)
    frames = await talk.websocket()
    await frames.say(talk.attach())
    code, ((kind, said_code, _, *details),) = await frames.closed()
    assert (kind, code, said_code) == ("x", 4404, 4404)
    assert poll.refusal == send.refusal == stream.refusal == [4404, *details]
    return details


@each_codec
async def test_server_closes_over_polls(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """`c` comes after all that was said before it, again and again until it is acked; then 410 tells its code."""
    talk = dial(await place(witness), codec)
    await talk.open()
    session = talk.session
    await session.send("last words")
    await session.close(3456, "grüße")
    for _ in range(2):
        assert (await talk.poll()).batch == [["a", 0], ["#", 1], ["m", "last words"], ["c", 3456, "grüße"]]
    assert (await talk.poll(ack=1)).batch == [["a", 0], ["#", 2], ["c", 3456, "grüße"]]
    assert (await talk.send(ack=2)).status == 200
    await asyncio.wait_for(session.wait_closed(), 5)
    assert await grave(talk) == [{"code": 3456, "reason": "grüße"}]


@each_codec
async def test_server_closes_a_stream(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """On a stream `c` is the last packet, and the stream ends in order when `send` has acked it."""
    talk = dial(await place(witness), codec)
    await talk.open()
    stream = await talk.stream()
    session = talk.session
    await session.send("last words")
    await session.close(1000, "bye")
    assert (await stream.until("c"))[-2:] == [["m", "last words"], ["c", 1000, "bye"]]
    assert (await talk.send(ack=2)).status == 200
    assert await stream.rest() == []
    await asyncio.wait_for(session.wait_closed(), 5)


@each_codec
async def test_server_closes_a_websocket(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """On a WebSocket too; once `c` is acked the connection closes with 1000."""
    talk = dial(await place(witness), codec)
    await talk.open()
    frames = await talk.climb()
    session = talk.session
    await session.send("last words")
    await session.close(4321, "bye")
    assert (await frames.until("c"))[-2:] == [["m", "last words"], ["c", 4321, "bye"]]
    await frames.say(["a", 2])
    assert await frames.closed() == (1000, [])
    await asyncio.wait_for(session.wait_closed(), 5)
    assert await grave(talk) == [{"code": 4321, "reason": "bye"}]


@each_codec
@pytest.mark.parametrize("way", ["send", "poll", "websocket"])
async def test_client_closes(place: Mounting, dial: Dial, witness: Witness, codec: str, way: str) -> None:
    """A client's `c` comes after its messages, ends the handler, and is acked; the application knows what was not."""
    talk = dial(await place(witness), codec)
    await talk.open()
    session = await witness.session()
    await session.send("never read")
    batch: Batch = [["#", 1], ["m", "one"], ["c", 3333, "enough"]]
    if way == "websocket":
        frames = await talk.climb()
        await frames.say(*batch)
        assert (await frames.until("a"))[-1] == ["a", 2]
        assert await frames.closed() == (1000, [])
    else:
        answer = await (talk.send if way == "send" else talk.poll)(*batch)
        assert answer.batch[0] == ["a", 2]
    assert await witness.message() == "one"
    assert await witness.end() is session
    assert session.closed == (3333, "enough", "remote")
    assert session.unacked == ["never read"]
    assert await grave(talk) == [{"code": 3333, "reason": "enough"}]


async def test_client_hears_its_ack_on_a_stream(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A client that closes by `send` has its stream ended in order."""
    talk = dial(await place(witness))
    await talk.open()
    stream = await talk.stream()
    await stream.until("#")
    assert (await talk.send(["#", 1], ["c", 1000, ""])).batch[0] == ["a", 1]
    await stream.rest()
    assert not talk.place.server.sessions


async def test_nothing_counts_after_a_close(place: Mounting, dial: Dial, witness: Witness) -> None:
    """What stands behind a `c` is not handed over."""
    talk = dial(await place(witness))
    await talk.open()
    answer = await talk.send(["#", 1], ["m", 1], ["c", 1000, ""], ["m", 2])
    assert answer.batch[0] == ["a", 2]
    assert await witness.message() == 1
    await witness.end()
    assert witness.messages.empty()


async def test_close_waits_for_a_gap(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A `c` that overtook a message waits for it."""
    talk = dial(await place(witness))
    await talk.open()
    assert (await talk.send(["#", 2], ["c", 1000, "done"])).batch[0] == ["a", 0]
    assert talk.session.closed is None
    assert (await talk.send(["#", 1], ["m", "first"])).batch[0] == ["a", 2]
    assert await witness.message() == "first"
    assert (await witness.end()).closed == (1000, "done", "remote")


async def test_both_close(place: Mounting, dial: Dial, witness: Witness) -> None:
    """When both close at once each keeps its own code."""
    talk = dial(await place(witness))
    await talk.open()
    frames = await talk.climb()
    session = talk.session
    seat = session.seat
    assert seat
    await session.close(3001, "ours")
    await until(lambda: seat.lane.written == session.link.outbox.last)  # ours is on its way: the two cross
    await frames.say(["#", 1], ["c", 3002, "theirs"])
    told = await frames.until("c")
    assert told[-1] == ["c", 3001, "ours"]
    await frames.say(["a", 1])
    assert (await frames.closed())[0] == 1000
    assert session.closed == (3001, "ours", "local")
    await asyncio.wait_for(session.wait_closed(), 5)


async def test_handler_returns(place: Mounting, dial: Dial) -> None:
    """A handler that returns closes its session with 1000, after what it said."""

    async def brief(session: Session) -> None:
        await session.send("that is all")

    talk = dial(await place(brief))
    assert await talk.open() == [["a", 0], ["#", 1], ["m", "that is all"], ["c", 1000, "Normal closure"]]


@pytest.mark.logs_errors
async def test_handler_fails(place: Mounting, dial: Dial) -> None:
    """A handler that fails closes its session with 1011, and tells the client nothing of why."""

    async def broken(_session: Session) -> None:
        raise RuntimeError("secret")

    talk = dial(await place(broken))
    batch = await talk.open()
    assert batch[-1] == ["c", 1011, "the handler failed"]
    assert "secret" not in str(batch)


async def test_tombstone_is_forgotten(place: Mounting, dial: Dial, witness: Witness) -> None:
    """The true code is told for `resume` more; after that there is just no such session."""
    talk = dial(await place(witness, resume=0.5))
    await talk.open()
    await talk.poll(["#", 1], ["c", 3000, "bye"])
    assert (await talk.poll()).refusal == [4404, {"code": 3000, "reason": "bye"}]
    await until(lambda: talk.place.server.epitaph(talk.sid))
    assert (await talk.poll()).refusal == [4404, {"code": 3000, "reason": "bye"}]
    await until(lambda: not talk.place.server.epitaph(talk.sid))
    answer = await talk.poll()
    assert answer.status == 410
    assert answer.refusal == [4404]


async def test_close_unheard(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A `c` that nobody acks is kept for `resume`, then the session is given up; its code is told all the same."""
    talk = dial(await place(witness, resume=0.5))
    await talk.open()
    await talk.poll(hold=0)
    session = talk.session
    await session.send("unheard")
    await session.close(3000, "bye")
    await asyncio.wait_for(session.wait_closed(), 5)
    assert session.unacked == ["unheard"]
    assert (await talk.poll()).refusal == [4404, {"code": 3000, "reason": "bye"}]


async def test_close_unanswered(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A `c` that an attached client does not ack is waited for `close_timeout`."""
    talk = dial(await place(witness, close_timeout=0.25))
    await talk.open()
    frames = await talk.climb()
    session = talk.session
    await session.close(3000, "bye")
    assert (await frames.until("c"))[-1] == ["c", 3000, "bye"]
    await asyncio.wait_for(session.wait_closed(), 5)
    assert await frames.socket.wire.at_end()


@each_codec
@pytest.mark.parametrize("way", ["send", "websocket"])
async def test_gone(place: Mounting, dial: Dial, witness: Witness, codec: str, way: str) -> None:
    """`d` ends the session at once, as cut, after what the same beacon brought."""
    talk = dial(await place(witness), codec)
    await talk.open()
    batch: Batch = [["#", 1], ["m", "as much as fits"], ["d"]]
    if way == "websocket":
        frames = await talk.climb()
        await frames.say(*batch)
    else:
        await talk.send(*batch)
    session = await witness.end()
    assert await witness.message() == "as much as fits"
    assert session.closed
    assert session.closed.by == "network"
    assert (await talk.poll()).status == 410


async def test_beacon(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A page's last beacon, sent as a browser sends it, brings its last words and the close in one request."""
    talk = dial(await place(witness))
    await talk.open()
    stream = await talk.stream()
    await stream.until("#")
    stream.wire.abort()
    body = encode("json", [talk.attach(0), ["#", 1], ["m", "last"], ["c", 1001, ""]])
    answer = await talk.post("send", body, {"Content-Type": "text/plain;charset=UTF-8"})
    assert answer.batch[0] == ["a", 2]
    assert await witness.message() == "last"
    assert (await witness.end()).closed == (1001, "", "remote")


@each_codec
@pytest.mark.parametrize("way", ["poll", "stream", "websocket", "detached"])
async def test_abrupt(place: Mounting, dial: Dial, witness: Witness, codec: str, way: str) -> None:
    """A client that is too slow is told 4008 by `x`, or by 410 afterwards; the application knows what was dropped."""
    served = await place(witness, buffer=4096, max_message=2048, max_batch=4096, poll_timeout=30)
    talk = dial(served, codec)
    await talk.open()
    session = talk.session
    stream = await talk.stream() if way == "stream" else None
    frames = await talk.climb() if way == "websocket" else None
    if stream:
        await stream.until("#")
    sent = 0
    while session.closed is None:
        sent += served.server.broadcast("x" * 1000)
    assert session.closed == (4008, session.closed.reason, "network")
    assert 6 < sent < 12
    assert len(session.unacked) == sent
    if stream:
        told = await stream.rest()
        assert told[-1][:2] == ["x", 4008]
    elif frames:
        code, told = await frames.closed()
        assert (code, told[-1][:2]) == (4008, ["x", 4008])
    details = (await talk.poll()).refusal[1]
    assert details["code"] == 4008
    assert await witness.end() is session


async def test_abrupt_end_of_a_held_poll(place: Mounting, dial: Dial) -> None:
    """A poll that is held when its session ends abruptly is answered with 410 and the code."""

    async def authenticate(_request: object, auth: object) -> object:
        return auth

    talk = dial(await place(echo, authenticate=authenticate))
    await talk.open(auth="ada")
    call = await talk.ask()
    await talk.send(["#", 1], ["u", "eve"])
    answer = await call.answer()
    assert answer.status == 410
    assert answer.refusal[1]["code"] == 4403


async def test_too_large(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A message over `max_message` that arrives all the same ends the session with 4413, over HTTP too."""
    for way in ("send", "websocket"):
        talk = dial(await place(witness, max_message=1000))
        await talk.open()
        session = talk.session
        if way == "send":
            answer = await talk.send(["#", 1], ["m", "x" * 1001])
            assert answer.status == 413
            assert answer.refusal[0] == 4413
        else:
            frames = await talk.climb()
            await frames.say(["#", 1], ["m", "x" * 1001])
            code, told = await frames.closed()
            assert (code, told[-1][:2]) == (4413, ["x", 4413])
        assert (await talk.poll()).refusal[1]["code"] == 4413
        assert session.closed
        assert session.closed.code == 4413


async def test_send_after_the_end(place: Mounting, dial: Dial, witness: Witness) -> None:
    """Whoever sends on a session that has ended gets the code and what was never acked."""
    talk = dial(await place(witness))
    await talk.open()
    session = talk.session
    await session.send("never read")
    await talk.send(["#", 1], ["c", 3000, "bye"])
    with pytest.raises(SessionClosed) as caught:
        await session.send("too late")
    assert (caught.value.code, caught.value.reason, caught.value.unacked) == (3000, "bye", ("never read",))


@each_codec
async def test_restart(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """A server that stops says `c 1012` first on every transport, and is done when all who are here have acked it."""
    served = await place(witness)
    polling, streaming, socket = (dial(served, codec) for _ in range(3))
    for talk in (polling, streaming, socket):
        await talk.open()
    call, stream, frames = await polling.ask(), await streaming.stream(), await socket.climb()
    closing = asyncio.create_task(served.server.close())
    bye = ["c", 1012, "the server is restarting"]
    assert (await call.answer()).batch[-1] == bye
    assert (await stream.until("c"))[-1] == bye
    assert (await frames.until("c"))[-1] == bye
    await streaming.send(ack=1)
    await frames.say(["a", 1])
    assert await stream.rest() == []
    assert (await frames.closed())[0] == 1000
    async with asyncio.timeout(5):
        await closing


@each_codec
async def test_restart_with_a_stream(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """A stream is told 1012 and ended in order; its ack would be another request, so a stop does not wait for it."""
    talk = dial(await place(witness, stop_timeout=60, close_timeout=60), codec)
    await talk.open()
    stream = await talk.stream()
    await talk.session.send("last words")
    async with asyncio.timeout(10):
        await talk.place.server.close()
    batch = await stream.rest()
    assert said(batch) == ["last words"]
    assert batch[-1][:2] == ["c", 1012]


async def test_restart_with_the_deaf(place: Mounting, dial: Dial, witness: Witness) -> None:
    """Who does not ack the restart is let go after `close_timeout`: nobody holds up the end of a process."""
    served = await place(witness, close_timeout=0.25)
    streaming, socket, away = (dial(served) for _ in range(3))
    for talk in (streaming, socket, away):
        await talk.open()
    stream, frames = await streaming.stream(), await socket.climb()
    async with asyncio.timeout(5):
        await served.server.close()
    assert (await stream.rest())[-1][:2] == ["c", 1012]
    assert (await frames.until("c"))[-1][:2] == ["c", 1012]
    assert await frames.socket.wire.at_end()


async def test_opens_while_draining(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A server that stops answers opens with 503 and when to come back, and on a WebSocket with 1012."""
    served = await place(witness)
    await served.server.close()
    late = dial(served)
    answer = await late.hello()
    assert answer.status == 503
    assert answer.headers["Retry-After"] == str(answer.refusal[1]["retry"])
    assert answer.refusal[0] == 1012
    frames = await late.websocket()
    await frames.say(["i", {"v": 1}])
    code, ((kind, said_code, *_),) = await frames.closed()
    assert (kind, code, said_code) == ("x", 1012, 1012)


async def test_sessions_that_live_are_served_while_draining(place: Mounting, dial: Dial, witness: Witness) -> None:
    """Draining refuses the new; who is here already may poll on."""
    served = await place(witness)
    talk = dial(served)
    await talk.open()
    served.server.draining = True
    await talk.session.send("one")
    assert said((await talk.poll()).batch) == ["one"]
    assert (await dial(served).hello()).status == 503
