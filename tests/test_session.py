"""The uniform message API: what an application is promised, whatever carries its session."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hybridws.core.codec import JSON, Codec
from hybridws.core.outbox import OVERHEAD
from hybridws.core.sockjs import RAW, SOCKJS
from hybridws.errors import BufferFull, Malformed, MessageTooLarge, SessionClosed, Stalled, Unsendable
from hybridws.session import Closed, Session
from tests.memory import EPOCH, Clock, Wire, alive, asked, begin, idle

SMALL: dict[str, Any] = {"buffer": 1_000, "max_message": 1_000, "max_batch": 2_000}
"""Options under which a few messages fill the buffer."""
BLOCK = "x" * 400
"""Three of these fill such a buffer, two do not."""


async def read_all(session: Session) -> list[Any]:
    """Read until the session ends."""
    return [message async for message in session]


def fill(session: Session) -> None:
    """Send until the buffer is full."""
    while True:
        try:
            session.send_nowait(BLOCK)
        except BufferFull:
            return


# ── receiving ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_messages_arrive_in_order_across_batches_and_transports() -> None:
    """`async for` gives what the client sent, in its order; that the transport changed is not seen."""
    session = begin()
    reader = asyncio.create_task(read_all(session))
    Wire(session, "xhr-polling").say("1", "2")
    await idle()
    wire = Wire(session, "websocket")
    wire.say("3")
    wire.say()
    wire.say("4", "5")
    wire.seat.close(1000, "")
    assert await reader == ["1", "2", "3", "4", "5"]


async def test_a_second_reader_is_an_error_and_the_first_is_unharmed() -> None:
    """Two tasks that read would each get half: the second `async for` raises and takes nothing."""
    session = begin()
    wire = Wire(session)
    first = asyncio.create_task(read_all(session))
    await idle()
    with pytest.raises(RuntimeError, match="read by another task already"):
        await read_all(session)
    wire.say("1")
    with pytest.raises(RuntimeError, match="another task"):
        await anext(session)
    wire.seat.close(1000, "")
    assert await first == ["1"]


async def test_one_task_may_read_in_pieces_and_another_after_it() -> None:
    """One task may leave its loop and begin again; when it has ended, another may read on where it stopped."""
    session = begin()
    Wire(session).say("1", "2", "3", "4")

    async def take_two() -> list[str]:
        async for message in session:
            return [message, await anext(session)]
        return []

    assert await asyncio.create_task(take_two()) == ["1", "2"]
    assert await asyncio.create_task(take_two()) == ["3", "4"]


async def test_a_cancelled_reader_loses_nothing() -> None:
    """A wait for a message can be given up at any time, as with `asyncio.timeout`."""
    session = begin()
    wire = Wire(session)
    waiting = asyncio.create_task(session.__anext__())
    await idle()
    wire.say("1")
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert await anext(session) == "1"


@pytest.mark.parametrize("by", ["remote", "network"])
async def test_what_had_come_before_the_end_is_still_delivered(by: str) -> None:
    """A client that says something and leaves has said it; then `async for` stops."""
    session = begin()
    wire = Wire(session)
    wire.say("1", "2")
    if by == "remote":
        wire.seat.close(1000, "")
    else:
        wire.seat.cut("the connection broke")
    assert session.closed is not None
    assert await read_all(session) == ["1", "2"]
    assert await read_all(session) == [], "and it stays at its end"


async def test_after_a_local_close_async_for_stops_at_once() -> None:
    """Who closes wants no more: neither what had come nor what still comes."""
    session = begin()
    wire = Wire(session)
    wire.say("1", "2")
    assert await anext(session) == "1"
    await session.close()
    wire.say("3")
    assert await read_all(session) == []


@pytest.mark.parametrize("by", ["local", "remote", "network"])
async def test_a_waiting_reader_is_woken_by_the_end(by: str) -> None:
    """`async for` stops when the session ends, from whichever side."""
    session = begin()
    wire = Wire(session)
    reader = asyncio.create_task(read_all(session))
    await idle()
    assert not reader.done()
    if by == "local":
        await session.close()
    elif by == "remote":
        wire.seat.close(1000, "")
    else:
        wire.seat.cut("the connection broke")
    assert await reader == []


async def test_payload_json_gives_values() -> None:
    """With `payload="json"` text is parsed on the way in, and what is no JSON is refused."""
    session = begin(payload="json")
    wire = Wire(session)
    wire.say('{"a":[1,null]}', '"text"')
    assert await anext(session) == {"a": [1, None]}
    assert await anext(session) == "text"
    with pytest.raises(Malformed, match="broken JSON"):
        wire.say("no json")
    assert alive(session)


async def test_bytes_arrive_as_bytes() -> None:
    """A client that can send bytes does."""
    session = begin(RAW)
    wire = Wire(session, "websocket-raw")
    wire.bring(b"\x00\xff")
    wire.bring("é")
    assert [await anext(session), await anext(session)] == [b"\x00\xff", "é"]


async def test_a_slow_application_stops_its_transports_and_no_byte_is_lost() -> None:
    """From a full buffer on, transports wait until the application has taken something."""
    session = begin(**SMALL)
    wire = Wire(session)
    await asyncio.wait_for(session.wait_for_inbox(), 1)
    wire.say(BLOCK, BLOCK)
    before = session.crowded
    wire.say(BLOCK)
    assert (before, session.crowded) == (False, True)
    transports = [asyncio.create_task(session.wait_for_inbox()) for _ in range(2)]
    await idle()
    assert session.waiting == 2
    assert not any(task.done() for task in transports)
    assert await anext(session) == BLOCK
    await asyncio.wait_for(asyncio.gather(*transports), 1)
    assert session.waiting == 0
    assert [await anext(session), await anext(session)] == [BLOCK, BLOCK]


async def test_the_end_frees_transports_that_wait_for_the_application() -> None:
    """Nobody waits for an application that will take nothing more."""
    session = begin(**SMALL)
    wire = Wire(session)
    wire.say(BLOCK, BLOCK, BLOCK)
    waiting = asyncio.create_task(session.wait_for_inbox())
    await idle()
    await session.close()
    await asyncio.wait_for(waiting, 1)


# ── sending ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_send_does_not_wait_while_there_is_room() -> None:
    """What is sent is written in the order of the calls, by whichever transport comes."""
    session = begin()
    for text in "abc":
        await session.send(text)
    session.send_nowait("d")
    assert Wire(session).heard() == ["a", "b", "c", "d"]


async def test_send_wakes_the_transport() -> None:
    """Each message rings at the seat, so that it leaves at once."""
    session = begin()
    wire = Wire(session)
    before = wire.rings
    await session.send("a")
    assert wire.rings == before + 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text", "text"),
        ({"a": [1, 2.5, None, True]}, '{"a":[1,2.5,null,true]}'),
        ([], "[]"),
        (None, "null"),
        (7, "7"),
        ({"é": "\u2028"}, '{"é":"\u2028"}'),
    ],
    ids=repr,
)
@pytest.mark.parametrize("codec", [SOCKJS, RAW], ids=lambda codec: codec.name)
async def test_a_text_client_is_given_a_json_value_as_text(codec: Codec, value: object, text: str) -> None:
    """A client that can carry only text gets text as it is, and any other value as JSON text."""
    session = begin(codec)
    await session.send(value)
    wire = Wire(session)
    assert (wire.heard() if codec is SOCKJS else [frame.decode() for frame in wire.write()]) == [text]


@pytest.mark.parametrize(
    ("value", "error", "why"),
    [
        (b"bytes", Unsendable, "takes only text"),
        (float("nan"), Unsendable, "nan has no form in JSON"),
        ({"n": 2**53}, Unsendable, "2^53"),
        ({1, 2}, Unsendable, "set has no form"),
        ("x" * 1_001, MessageTooLarge, "1001 bytes, and 1000 are allowed"),
    ],
    ids=lambda value: repr(value)[:20],
)
async def test_what_cannot_be_sent_is_an_error_to_the_sender_alone(
    value: object, error: type[Exception], why: str
) -> None:
    """Bytes to a SockJS client, NaN, too long: the call raises, nothing was sent, and the session goes on."""
    session = begin(**SMALL)
    with pytest.raises(error) as raised:
        await session.send(value)
    assert why in str(raised.value)
    with pytest.raises(error):
        session.send_nowait(value)
    assert isinstance(error("x"), ValueError), "it is the caller's value that is wrong"
    assert alive(session)
    await session.send("next")
    assert Wire(session).heard() == ["next"]


async def test_a_full_buffer_makes_send_wait_and_send_nowait_raise() -> None:
    """`send` goes on when the client has taken something; `send_nowait` says BufferFull and sends nothing."""
    session = begin(**SMALL)
    fill(session)
    with pytest.raises(BufferFull, match=r"bytes wait for the client, and the buffer is 1000"):
        session.send_nowait("lost")
    waiting = asyncio.create_task(session.send("late"))
    await idle()
    assert not waiting.done()
    wire = Wire(session)
    assert wire.heard() == [BLOCK] * 3
    await asyncio.wait_for(waiting, 1)
    assert wire.heard() == ["late"]


async def test_what_was_written_but_not_taken_makes_no_room() -> None:
    """Room comes when the network has taken a message over, not when it was handed out."""
    session = begin(**SMALL)
    fill(session)
    wire = Wire(session)
    waiting = asyncio.create_task(session.send("late"))
    (frame,) = wire.seat.pending()
    wire.seat.wrote(frame)
    await idle()
    assert not waiting.done()
    wire.seat.delivered()
    await asyncio.wait_for(waiting, 1)


async def test_sends_of_several_tasks_keep_the_order_of_the_calls() -> None:
    """Who called first is sent first, however often the buffer fills up between; none goes while it is full."""
    session = begin(**SMALL)
    texts = [f"{n:02}{BLOCK}" for n in range(40)]
    tasks = [asyncio.create_task(session.send(text)) for text in texts]
    wire = Wire(session)
    heard: list[str] = []
    most = 0
    while len(heard) < len(texts):
        await idle()
        most = max(most, session.link.outbox.size)
        new = wire.heard()
        assert new
        heard += new
    await asyncio.gather(*tasks)
    assert heard == texts
    assert most < SMALL["buffer"] + len(f'"{texts[0]}"') + OVERHEAD, "the last one was sent when there was room yet"


async def test_nobody_overtakes_a_sender_that_waits() -> None:
    """While one waits, `send_nowait` has no room either, even at the moment when room has just come."""
    session = begin(**SMALL)
    fill(session)
    waiting = asyncio.create_task(session.send("first"))
    await idle()
    wire = Wire(session)
    wire.write()
    with pytest.raises(BufferFull):
        session.send_nowait("second")
    second = asyncio.create_task(session.send("second"))
    await asyncio.gather(waiting, second)
    assert wire.heard() == ["first", "second"]


@pytest.mark.parametrize("called", [False, True], ids=["while it waits", "when its turn has just come"])
async def test_a_cancelled_send_leaves_nothing(called: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """A message is sent whole or not at all, and those behind it go on."""
    session = begin(**SMALL)
    fill(session)
    tasks = [asyncio.create_task(session.send(text)) for text in ("one", "two", "three")]
    await idle()
    wire = Wire(session)
    if called:
        assert wire.heard() == [BLOCK] * 3
    tasks[0].cancel()
    await asyncio.wait(tasks[:1])
    assert tasks[0].cancelled()
    if not called:
        assert wire.heard() == [BLOCK] * 3
    await asyncio.wait_for(asyncio.gather(*tasks[1:]), 1)
    assert wire.heard() == ["two", "three"]


async def test_cancelling_a_sender_in_the_middle_of_the_queue_changes_nothing_else() -> None:
    """The others keep their places."""
    session = begin(**SMALL)
    fill(session)
    tasks = [asyncio.create_task(session.send(text)) for text in ("one", "two", "three")]
    await idle()
    tasks[1].cancel()
    await idle()
    wire = Wire(session)
    wire.write()
    await asyncio.wait_for(asyncio.gather(tasks[0], tasks[2]), 1)
    assert wire.heard() == ["one", "three"]


# ── the end, as a sender sees it ──────────────────────────────────────────────────────────────────────────────────


async def test_send_on_an_ended_session_says_how_it_ended_and_what_is_lost() -> None:
    """SessionClosed carries code, reason and the messages whose arrival nobody confirmed, as the client reads them."""
    session = begin()
    wire = Wire(session)
    await session.send("arrived")
    wire.write()
    await session.send("lost")
    await session.send({"lost": 2})
    wire.seat.close(3001, "bye")
    with pytest.raises(SessionClosed, match=r"closed with 3001 \(bye\); 2 message\(s\) unconfirmed") as waiting:
        await session.send("x")
    with pytest.raises(SessionClosed) as at_once:
        session.send_nowait("x")
    for error in (waiting.value, at_once.value):
        assert (error.code, error.reason) == (3001, "bye")
        assert error.unacked == ("lost", '{"lost":2}')
    assert session.unacked == ["lost", '{"lost":2}']


async def test_with_acks_unacked_is_exact() -> None:
    """Where the client confirms, what was written counts as lost until it has; values are as they were sent."""
    session = begin(JSON)
    wire = Wire(session, "stream")
    for value in ("one", b"two", {"three": 3}):
        await session.send(value)
    wire.write()
    assert session.unacked == ["one", b"two", {"three": 3}]
    wire.bring('["a",1]')
    assert session.unacked == [b"two", {"three": 3}]


async def test_senders_that_wait_are_told_of_the_end() -> None:
    """All of them get SessionClosed; none of their messages is among the unconfirmed ones."""
    session = begin(**SMALL)
    wire = Wire(session)
    fill(session)
    tasks = [asyncio.create_task(session.send(text)) for text in ("one", "two")]
    await idle()
    wire.seat.close(1001, "page left")
    for task in tasks:
        with pytest.raises(SessionClosed, match="1001") as error:
            await task
        assert error.value.unacked == (BLOCK,) * 3


async def test_a_sender_whose_turn_comes_with_the_end_is_told_too() -> None:
    """Room and end in one moment: the message is not sent into a session that is over."""
    session = begin(**SMALL)
    wire = Wire(session)
    fill(session)
    waiting = asyncio.create_task(session.send("late"))
    await idle()
    wire.write()
    wire.seat.close(1000, "")
    with pytest.raises(SessionClosed):
        await waiting


async def test_send_raises_stalled_when_nobody_takes_anything() -> None:
    """After `send_timeout` seconds in which the client took nothing, the senders are told, and the session goes on."""
    session = begin(**SMALL, send_timeout=30)
    fill(session)
    tasks = [asyncio.create_task(session.send(text)) for text in ("one", "two")]
    await idle()
    Wire(session)
    for now in (100, 110, 129):
        session.tick(now)
        await idle()
        assert not any(task.done() for task in tasks)
    session.tick(130)
    for task in tasks:
        with pytest.raises(Stalled, match=r"took nothing for 30 s \(send_timeout\)"):
            await task
    assert alive(session)
    assert len(session.link.outbox) == 3


async def test_a_client_that_takes_a_little_does_not_stall_its_senders() -> None:
    """The time counts from the last message that was taken: slow is not dead."""
    session = begin(**SMALL, chunk=1, send_timeout=30)
    wire = Wire(session)
    fill(session)
    tasks = [asyncio.create_task(session.send(BLOCK)) for _ in range(5)]
    await idle()
    for now in (0, 30, 60, 90):
        session.tick(now)
        session.tick(now + 29)
        assert len(wire.write(1)) == 1
        await idle()
    assert [task.done() for task in tasks] == [True] * 4 + [False]
    session.tick(120)
    session.tick(150)
    with pytest.raises(Stalled):
        await tasks[-1]


async def test_each_stalled_send_has_had_its_own_time() -> None:
    """Who tries again after Stalled waits `send_timeout` again: it is the time of a call, not of a session."""
    session = begin(**SMALL, send_timeout=30)
    Wire(session)
    fill(session)
    first = asyncio.create_task(session.send("first"))
    await idle()
    session.tick(0)
    session.tick(30)
    again = asyncio.create_task(session.send("again"))
    await asyncio.wait([first])
    assert isinstance(first.exception(), Stalled)
    await idle()
    session.tick(31)
    session.tick(59)
    await idle()
    assert not again.done()
    session.tick(62)
    with pytest.raises(Stalled):
        await again


# ── closing ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_close_tells_the_client_after_all_that_was_sent() -> None:
    """The application is through at once; the client hears everything, then code and reason."""
    session = begin()
    await session.send("last words")
    await session.close(3005, 'a "reason"')
    assert session.closed == Closed(3005, 'a "reason"', "local")
    wire = Wire(session)
    assert wire.write() == [b'a["last words"]', b'c[3005,"a \\"reason\\""]']
    assert wire.seat.finished


async def test_a_second_close_changes_nothing() -> None:
    """The first one counts, whoever said it."""
    session = begin()
    wire = Wire(session)
    await session.close(3001, "first")
    await session.close(3002, "second")
    assert session.closed == Closed(3001, "first", "local")
    assert wire.write() == [b'c[3001,"first"]']
    wire.seat.close(1000, "the client's")
    assert session.closed == Closed(3001, "first", "local")


async def test_closed_says_who() -> None:
    """`local` is the application here, `remote` the client, `network` neither of them."""
    by_client, broken, abandoned = begin(), begin(), begin()
    assert alive(by_client)
    Wire(by_client).seat.close(1001, "left")
    assert by_client.closed == Closed(1001, "left", "remote")
    Wire(broken).seat.cut("the connection broke")
    assert broken.closed == Closed(1002, "Connection interrupted", "network")
    abandoned.tick(10)
    abandoned.tick(14.9)
    assert alive(abandoned)
    abandoned.tick(15)
    assert abandoned.closed == Closed(1006, "no receiver for 5 s", "network")


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 3000, 4999])
async def test_these_codes_may_be_said(code: int) -> None:
    """1000, 1001, 1011, 1012 and 3000-4999 are the application's to use."""
    session = begin()
    await session.close(code, "é" * 61 + "x")
    assert session.closed == Closed(code, "é" * 61 + "x", "local")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (0, ""),
        (999, ""),
        (1002, ""),
        (1005, ""),
        (1006, ""),
        (1015, ""),
        (2999, ""),
        (5000, ""),
        (-1, ""),
        (True, ""),
        (1000.0, ""),
        ("1000", ""),
        (None, ""),
        (1000, "é" * 62),
        (1000, "\ud800"),
    ],
    ids=ascii,
)
async def test_other_codes_and_long_reasons_are_refused(code: Any, reason: str) -> None:  # noqa: ANN401
    """ValueError says what is allowed, and the session goes on."""
    session = begin()
    with pytest.raises((ValueError, TypeError), match=r"close|int object expected"):  # the latter where it is compiled
        await session.close(code, reason)
    assert alive(session)


async def test_wait_closed_waits_until_the_client_was_told() -> None:
    """All who wait are woken when the close has left; later ones do not wait at all."""
    session = begin()
    wire = Wire(session)
    waiting = [asyncio.create_task(session.wait_closed()) for _ in range(2)]
    await session.close()
    await idle()
    assert not any(task.done() for task in waiting)
    wire.write()
    await asyncio.wait_for(asyncio.gather(*waiting), 1)
    await asyncio.wait_for(session.wait_closed(), 1)


async def test_a_client_between_two_polls_is_told_when_it_is_back() -> None:
    """The close waits for the next transport, as every message does."""
    session = begin()
    Wire(session, "xhr-polling").seat.leave("the response was full")
    await session.close(3000, "bye")
    waiting = asyncio.create_task(session.wait_closed())
    session.tick(0)
    session.tick(4)
    await idle()
    assert not waiting.done()
    assert Wire(session, "xhr-polling").write() == [b'c[3000,"bye"]']
    await asyncio.wait_for(waiting, 1)


async def test_a_client_that_never_hears_of_the_close_is_not_waited_for() -> None:
    """After `close_timeout` seconds it counts as told, and its transport loses its seat."""
    session = begin(close_timeout=3)
    wire = Wire(session)
    await session.close()
    waiting = asyncio.create_task(session.wait_closed())
    session.tick(50)
    session.tick(52)
    await idle()
    assert not waiting.done()
    before = wire.seat.over
    session.tick(53)
    await asyncio.wait_for(waiting, 1)
    assert (before, wire.seat.over) == (False, True)
    assert session.transports[-1].reason == "the client did not answer the close for 3 s"


async def test_a_remote_close_needs_no_answer() -> None:
    """The client knows already: `wait_closed` returns at once."""
    session = begin()
    waiting = asyncio.create_task(session.wait_closed())
    await idle()
    Wire(session).seat.close(1000, "")
    await asyncio.wait_for(waiting, 1)


async def test_a_client_that_leaves_while_it_is_being_told_ends_the_wait() -> None:
    """Nobody is left to be told."""
    session = begin()
    wire = Wire(session)
    await session.close()
    waiting = asyncio.create_task(session.wait_closed())
    await idle()
    wire.seat.close(1000, "")
    await asyncio.wait_for(waiting, 1)
    assert session.closed == Closed(1000, "", "local")


async def test_at_end_is_called_once_at_the_end() -> None:
    """Also for one who asks too late, and not for one who took it back."""
    session = begin()
    wire = Wire(session)
    called: list[str] = []

    def first(_session: Session) -> None:
        called.append("first")

    def taken_back(_session: Session) -> None:
        called.append("taken back")

    session.at_end(first)
    session.at_end(first)
    session.at_end(taken_back)
    session.not_at_end(taken_back)
    session.not_at_end(taken_back)
    await session.close()
    wire.seat.close(1000, "")
    assert called == ["first"]
    session.at_end(lambda ended: called.append(ended.id))
    assert called == ["first", "s1"]


async def test_abort_drops_what_waits_and_tells_the_reason_at_once() -> None:
    """A client at fault is told why as the next thing; what it missed is in `unacked`."""
    session = begin()
    wire = Wire(session)
    await session.send("never read")
    session.abort(4008, "too slow")
    session.abort(4009, "again")
    assert session.closed == Closed(4008, "too slow", "network")
    assert wire.write() == [b'c[4008,"too slow"]']
    assert session.unacked == ["never read"]


# ── what is known of a session ────────────────────────────────────────────────────────────────────────────────────


async def test_the_opening_request_is_at_hand() -> None:
    """Headers (in any case), cookies, query, address, path and method of the request that opened the session."""
    session = begin()
    request = asked(headers={"User-Agent": "a browser"}, remote="192.0.2.7")
    other = Session("s2", session.link, request, Clock())
    assert other.http_request is request
    assert other.http_request.headers["user-agent"] == "a browser"
    assert other.http_request.cookies == {"user": "ada"}
    assert other.http_request.query == {"room": "tea"}
    assert (other.http_request.remote, other.http_request.method) == ("192.0.2.7", "GET")
    assert other.http_request.path == "/chat/000/abc/websocket"


async def test_a_session_remembers_its_opening_and_the_applications_state() -> None:
    """`opened_at` is wall-clock time, `state` the application's own dict, `subprotocol` None until agreed on."""
    session, other = begin(sid="a"), begin(sid="b")
    assert session.opened_at == EPOCH
    session.state["user"] = "ada"
    assert other.state == {}
    assert session.subprotocol is None
    assert (session.id, other.id) == ("a", "b")


async def test_transports_is_the_history_with_times_and_reasons() -> None:
    """Each stretch says over what, from when to when, and why it ended; `transport` is the latest one's name."""
    clock = Clock()
    session = begin(JSON, clock=clock)
    words = [session.transport]
    clock.now += 1
    wire = Wire(session, "stream")
    words.append(session.transport)
    clock.now += 10
    wire.seat.cut("the connection broke")
    words.append(session.transport)
    assert words == [None, "stream", "stream"], "between two, it is the last one"
    clock.now += 1
    Wire(session, "websocket")
    clock.now += 5
    Wire(session, "poll")
    assert session.transport == "poll"
    assert [(stay.name, stay.since - EPOCH, stay.until, stay.reason) for stay in session.transports] == [
        ("stream", 1, EPOCH + 11, "the connection broke"),
        ("websocket", 12, EPOCH + 17, "superseded"),
        ("poll", 17, None, ""),
    ]


async def test_a_row_of_polls_is_one_stretch() -> None:
    """A client that polls has not changed its transport with each poll."""
    clock = Clock()
    session = begin(clock=clock)
    for _ in range(3):
        Wire(session, "xhr-polling").seat.leave("the response was full")
        clock.now += 1
    (stay,) = session.transports
    assert (stay.name, stay.since, stay.until) == ("xhr-polling", EPOCH, EPOCH + 2)
    Wire(session, "xhr-polling")
    assert (stay.until, stay.reason) == (None, "")


async def test_the_history_is_bounded() -> None:
    """The last 32 stretches: a client that flaps for a day costs no more memory than that."""
    session = begin(JSON)
    for turn in range(40):
        Wire(session, ("stream", "websocket")[turn % 2])
    assert len(session.transports) == 32
    assert session.transport == "websocket"


async def test_the_repr_tells_the_story() -> None:
    """A log line shows id, transport, what waits, and how it ended."""
    session = begin()
    wire = Wire(session, "eventsource")
    await session.send("x")
    assert repr(session) == "<Session s1 over eventsource, 1 unconfirmed>"
    assert repr(wire.seat) == "<Seat eventsource of <Session s1 over eventsource, 1 unconfirmed>>"
    wire.seat.close(3000, "")
    assert repr(session) == "<Session s1 closed 3000 by remote, 1 unconfirmed>"


# ── seats ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_new_transport_takes_the_seat() -> None:
    """The old one is woken, finds that it is over, and whatever it still says changes nothing."""
    session = begin(JSON)
    old = Wire(session, "stream")
    rings = old.rings
    new = Wire(session, "websocket")
    assert old.seat.over
    assert old.rings == rings + 1
    await session.send("x")
    assert old.seat.pending() == []
    old.seat.cut("late")
    old.seat.leave("late")
    old.seat.close(1000, "late")
    old.seat.delivered()
    assert old.seat.finished
    assert alive(session)
    assert session.seat is new.seat
    assert new.heard() == ["x"]


async def test_with_acks_a_broken_transport_ends_nothing_and_the_next_says_it_again() -> None:
    """Written is not arrived: what was not confirmed is written by the next transport."""
    session = begin(JSON)
    wire = Wire(session, "stream")
    await session.send("once")
    assert wire.heard() == ["once"]
    wire.seat.cut("the connection broke")
    assert alive(session)
    assert Wire(session, "websocket").heard() == ["once"]


async def test_a_session_may_be_forgotten_only_when_nothing_is_left_to_do() -> None:
    """Not while it lives, is told, its handler runs, or late comers may still ask for the close."""
    session = begin(disconnect_delay=5)
    wire = Wire(session)
    assert not session.forgettable(0)
    release = asyncio.Event()

    async def handle() -> None:
        await release.wait()

    session.handler = asyncio.create_task(handle())
    await session.close()
    session.tick(10)
    assert not session.forgettable(100), "the client was not told yet"
    wire.write()
    assert not session.forgettable(100), "a transport is here"
    wire.seat.leave("the session has ended")
    assert not session.forgettable(100), "its handler runs"
    release.set()
    await session.handler
    assert not session.forgettable(14.9), "somebody may ask again"
    assert session.forgettable(15)


async def test_a_handler_that_outstays_its_grace_is_cancelled() -> None:
    """It has `handler_grace` seconds from the end of its session, and not one more."""
    session = begin(handler_grace=10)
    steps: list[str] = []

    async def handle() -> None:
        try:
            await read_all(session)
            steps.append("ended")
            await asyncio.Event().wait()
        finally:
            steps.append("finally")

    session.handler = asyncio.create_task(handle())
    await idle()
    Wire(session).seat.close(1000, "")
    await idle()
    session.tick(5)
    session.tick(14.9)
    await idle()
    assert steps == ["ended"]
    session.tick(15)
    await asyncio.wait([session.handler])
    assert session.handler.cancelled()
    assert steps == ["ended", "finally"]
    session.tick(16)


async def test_a_handler_is_cancelled_once() -> None:
    """What it does on being cancelled, such as a last write to a database, is not cut short by the next tick."""
    session = begin(handler_grace=10)
    saved = asyncio.Event()

    async def handle() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await saved.wait()

    session.handler = asyncio.create_task(handle())
    await idle()
    Wire(session).seat.close(1000, "")
    session.tick(0)
    for now in (10, 11, 12):
        session.tick(now)
        await idle()
    assert not session.handler.done()
    saved.set()
    await asyncio.wait([session.handler])
    assert session.handler.cancelled()


# ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_quiet_transport_is_asked_for_a_heartbeat() -> None:
    """After `heartbeat_delay` seconds in which nothing was written; what is written is a sign of life itself."""
    session = begin(heartbeat_delay=25)
    wire = Wire(session)

    def beats(now: float) -> bool:
        rings = wire.rings
        session.tick(now)
        beat, wire.seat.beat = wire.seat.beat, False
        assert wire.rings == rings + beat, "it is woken to send it"
        return beat

    assert [beats(now) for now in (0, 24.9, 25, 49.9, 50, 51)] == [False, False, True, False, True, False]
    await session.send("x")
    wire.write()
    assert [beats(now) for now in (60, 76, 84.9, 85)] == [False, False, False, True]


async def test_a_peer_that_does_not_answer_a_heartbeat_is_cut() -> None:
    """From when the question has left it has `pong_timeout` seconds to bring anything at all."""
    session = begin(heartbeat_delay=25, pong_timeout=10)
    wire = Wire(session)
    wire.seat.heard = False
    wire.seat.asked = True
    session.tick(100)
    session.tick(109)
    assert alive(session)
    wire.seat.heard = True
    session.tick(109.5)
    session.tick(130)
    assert alive(session), "it gave a sign of life"
    wire.seat.asked = True
    session.tick(140)
    session.tick(150)
    assert session.closed == Closed(1002, "Connection interrupted", "network")
    assert session.transports[-1].reason == "no sign of life for 10 s after a heartbeat"


async def test_a_peer_is_not_blamed_for_silence_while_we_do_not_read() -> None:
    """With a full inbox its answer may well wait in the kernel."""
    session = begin(**SMALL, pong_timeout=10)
    wire = Wire(session)
    wire.say(BLOCK, BLOCK, BLOCK)
    wire.seat.heard, wire.seat.asked = False, True
    session.tick(0)
    session.tick(100)
    assert alive(session)
    await anext(session)
    session.tick(101)
    assert session.closed is not None


async def test_a_network_that_takes_nothing_is_given_up() -> None:
    """A write that has not left for `heartbeat_delay` + `pong_timeout` seconds is on a dead connection."""
    session = begin(heartbeat_delay=25, pong_timeout=10)
    wire = Wire(session)
    await session.send("x")
    (frame,) = wire.seat.pending()
    wire.seat.wrote(frame)
    session.tick(0)
    session.tick(34.9)
    assert alive(session)
    session.tick(35)
    assert session.closed is not None
    assert session.transports[-1].reason == "the network takes nothing any more"


async def test_a_connection_that_is_found_gone_is_cut() -> None:
    """A transport that nothing else would tell is asked at each tick."""
    session = begin()
    wire = Wire(session, "xhr-polling")
    gone = False
    wire.seat.probe = lambda: gone
    session.tick(0)
    assert alive(session)
    gone = True
    session.tick(1)
    assert session.closed == Closed(1002, "Connection interrupted", "network")
    assert session.transports[-1].reason == "the client has gone"


async def test_a_receiver_that_is_back_in_time_keeps_its_session() -> None:
    """`disconnect_delay` counts anew from each time that nobody is there."""
    session = begin(disconnect_delay=5)
    for start in (0, 100, 200):
        session.tick(start)
        session.tick(start + 4)
        wire = Wire(session, "xhr-polling")
        session.tick(start + 50)
        wire.seat.leave("the response was full")
    assert alive(session)


async def test_a_buffer_that_stays_full_makes_a_client_slow() -> None:
    """After `slow_grace` seconds a broadcast will not wait for it; when there is room again, it is forgiven."""
    session = begin(**SMALL, slow_grace=5)
    wire = Wire(session)

    def slow(now: float) -> bool:
        session.tick(now)
        return session.slow

    fill(session)
    assert [slow(now) for now in (0, 4.9, 5)] == [False, False, True]
    wire.write()
    assert not slow(6)
    fill(session)
    assert [slow(now) for now in (7, 11.9, 12)] == [False, False, True]


async def test_a_message_is_what_travels_whole() -> None:
    """Each `send` is one message at the other end, however short or long."""
    session = begin(JSON)
    texts = ["x" * length for length in (0, 1, 125, 126, 65_535, 65_536, 200_000)]
    for text in texts:
        await session.send(text)
    assert Wire(session, "stream").heard() == texts
