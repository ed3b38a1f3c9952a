"""Rooms and broadcasts: one message to many sessions, encoded once, waiting for nobody."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from hybridws.broadcast import publish
from hybridws.core.codec import JSON
from hybridws.core.sockjs import RAW, SOCKJS
from hybridws.errors import MessageTooLarge, SessionClosed, Unsendable
from hybridws.hub import Hub, Room
from hybridws.options import Options
from hybridws.session import Closed, Session
from tests.memory import Wire, alive, asked, begin, idle

OPTIONS = Options()
MANY = 1_000


def crowd(count: int) -> list[Session]:
    """Open sessions that share their options, as those of one server do."""
    return [begin(sid=f"s{number}", shared=OPTIONS) for number in range(count)]


def kept(session: Session) -> list[bytes | None]:
    """Return the very objects that wait for the client."""
    return list(session.link.outbox.since(0, 10**9))


# ── one message to many ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_broadcast_is_encoded_once_per_codec_and_shared() -> None:
    """A thousand outboxes hold one object; a client of another dialect has its own words, made once as well."""
    sockjs = [begin(shared=OPTIONS) for _ in range(3)]
    raw = [begin(RAW, shared=OPTIONS) for _ in range(2)]
    native = [begin(JSON, shared=OPTIONS) for _ in range(2)]
    assert publish([*sockjs, *raw, *native], {"a": "é"}) == 7
    for group in (sockjs, raw, native):
        (first,) = kept(group[0])
        for session in group[1:]:
            (words,) = kept(session)
            assert words is first
    assert Wire(sockjs[2]).heard() == ['{"a":"é"}']
    assert Wire(raw[1]).write() == ['{"a":"é"}'.encode()]
    assert Wire(native[1], "stream").heard() == [{"a": "é"}]


async def test_limits_are_those_of_each_session() -> None:
    """Two mounts with different limits share nothing, so that neither's limits are passed over."""
    small = begin(shared=Options(max_message=5))
    large = begin(shared=OPTIONS)
    with pytest.raises(MessageTooLarge):
        publish([large, small], "123456")
    assert kept(large) == kept(small) == [], "then nobody was sent it"
    assert publish([large, small], "12345") == 2


async def test_what_one_client_cannot_be_sent_is_sent_to_nobody() -> None:
    """The caller is told before anything is sent: half a broadcast would be worse than none."""
    session, raw = begin(SOCKJS, shared=OPTIONS), begin(RAW, shared=OPTIONS)
    with pytest.raises(Unsendable, match="takes only text"):
        publish([raw, session], b"bytes")
    assert kept(raw) == kept(session) == []
    assert publish([raw], b"bytes") == 1


async def test_a_broadcast_leaves_out_those_who_have_ended() -> None:
    """It returns to how many it was sent; nobody at all is fine."""
    here, ended = crowd(2)
    await ended.close()
    assert publish([here, ended], "x") == 1
    assert publish([], "x") == 0
    assert kept(ended)[:-1] == []


async def test_a_broadcast_waits_for_nobody_and_ends_the_slow() -> None:
    """Whose buffer was full for `slow_grace` seconds is closed with 4008; the others do not notice."""
    options = Options(buffer=1_000, max_message=1_000, max_batch=2_000, slow_grace=5)
    slow, quick = (begin(sid=sid, shared=options) for sid in ("slow", "quick"))
    slow_wire, wire = Wire(slow), Wire(quick)
    for _ in range(3):
        assert publish([slow, quick], "x" * 400) == 2
        wire.write()
    slow.tick(0)
    quick.tick(0)
    assert publish([slow, quick], "over") == 2, "for a while it may be over full"
    slow.tick(5)
    quick.tick(5)
    assert publish([slow, quick], "last") == 1, "to the one it was sent to"
    assert slow.closed is not None
    assert (slow.closed.code, slow.closed.by) == (4008, "network")
    assert slow.closed.reason.startswith("too slow: ")
    assert slow_wire.write() == [b'c[4008,"%b"]' % slow.closed.reason.encode()]
    assert slow.unacked == ["x" * 400] * 3 + ["over"]
    assert alive(quick)
    assert wire.heard() == ["over", "last"]


async def test_a_buffer_that_is_full_twice_over_ends_at_once() -> None:
    """No grace bounds memory by itself: at twice `buffer` the next broadcast closes the session."""
    options = Options(buffer=1_000, max_message=1_000, max_batch=2_000)
    session, other = (begin(sid=sid, shared=options) for sid in ("a", "b"))
    wire = Wire(other)
    for _ in range(5):
        publish([session, other], "x" * 400)
        wire.write()
    assert session.link.outbox.size >= 2_000
    assert alive(session)
    publish([session, other], "x")
    assert session.closed is not None
    assert session.closed.code == 4008
    assert wire.heard() == ["x"]


async def test_a_broadcast_does_not_overtake_what_was_sent_before() -> None:
    """It takes its place behind the messages of the session; senders that wait are not among them."""
    (session,) = crowd(1)
    await session.send("before")
    publish([session], "broadcast")
    await session.send("after")
    assert Wire(session).heard() == ["before", "broadcast", "after"]


async def read(session: Session) -> list[object]:
    """Read until the session ends."""
    return [message async for message in session]


# ── rooms ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_room_of_a_thousand() -> None:
    """Join, publish, leave and close with 1,000 members: each hears all that is said while it is here, once."""
    hub = Hub()
    sessions = crowd(MANY)
    room = hub.room("tea")
    for session in sessions:
        room.join(session)
        room.join(session)
    assert len(room) == MANY
    assert room.members == tuple(sessions)
    assert list(room) == sessions
    assert sessions[500] in room
    assert room.publish("one") == MANY
    (words,) = kept(sessions[0])
    assert all(kept(session)[0] is words for session in sessions)

    assert room.publish("two", except_=sessions[:10]) == MANY - 10
    assert room.publish("three", except_=sessions[10]) == MANY - 1
    for session in sessions[100:200]:
        room.leave(session)
        room.leave(session)
    assert room.publish("four") == MANY - 100
    for session in sessions[200:300]:
        await session.close()
    for session in sessions[300:400]:
        Wire(session).seat.close(1000, "")
    for session in sessions[400:500]:
        Wire(session).seat.cut("the connection broke")
    assert len(room) == MANY - 400
    assert sessions[250] not in room
    assert room.publish("five") == MANY - 400

    assert Wire(sessions[0]).heard() == ["one", "three", "four", "five"]
    assert Wire(sessions[10]).heard() == ["one", "two", "four", "five"]
    assert Wire(sessions[150]).heard() == ["one", "two", "three"]
    assert Wire(sessions[250]).heard() == ["one", "two", "three", "four"]
    assert Wire(sessions[999]).heard() == ["one", "two", "three", "four", "five"]


async def test_rooms_are_known_by_name_and_each_is_its_own() -> None:
    """Who asks for a name gets the same room; a session may be in many, and one room hears nothing of another."""
    hub = Hub()
    first, second = crowd(2)
    tea, coffee = hub.room("tea"), hub.room("coffee")
    assert hub.room("tea") is tea
    assert tea is not coffee
    assert tea.name == "tea"
    tea.join(first)
    tea.join(second)
    coffee.join(second)
    coffee.publish("hot")
    assert Wire(first).heard() == []
    assert Wire(second).heard() == ["hot"]
    await second.close()
    assert (len(tea), len(coffee)) == (1, 0)


async def test_a_room_that_is_empty_is_forgotten() -> None:
    """Names that clients make up do not stay in memory: the last to leave, or to end, takes the room along."""
    hub = Hub()
    first, second = crowd(2)
    room = hub.room("tea")
    gone = weakref.ref(room)
    room.join(first)
    room.join(second)
    del room
    gc.collect()
    assert gone() is hub.room("tea"), "its members keep it"
    hub.room("tea").leave(first)
    await second.close()
    gc.collect()
    assert gone() is None
    assert len(hub.room("tea")) == 0


async def test_a_room_does_not_keep_an_ended_session() -> None:
    """Nor does a session keep a room that it has left."""
    room = Room("tea")
    session = begin()
    gone = weakref.ref(session)
    room.join(session)
    Wire(session).seat.close(1000, "")
    del session
    gc.collect()
    assert gone() is None


async def test_joining_after_the_end_raises() -> None:
    """Else the room would keep it for ever."""
    room = Room("tea")
    session = begin()
    await session.close(3001, "bye")
    with pytest.raises(SessionClosed, match=r"3001 \(bye\)"):
        room.join(session)
    assert len(room) == 0
    room.leave(session)


async def test_except_takes_any_collection() -> None:
    """One session, a tuple, a set, the keys of a dict, another room: whoever is in it hears nothing."""
    room, muted = Room("tea"), Room("muted")
    first, second = crowd(2)
    room.join(first)
    room.join(second)
    muted.join(first)
    for left_out in (first, (first,), [first], {first}, frozenset({first}), {first: 1}.keys(), {first: 1}, muted):
        assert room.publish("x", except_=left_out) == 1
    assert kept(first) == []
    assert room.publish("x", except_=()) == 2


async def test_a_slow_member_is_closed_and_leaves_while_a_room_is_published_to() -> None:
    """The room changes during its own broadcast, and everybody else still hears it."""
    options = Options(buffer=1_000, max_message=1_000, max_batch=2_000)
    room = Room("tea")
    sessions = [begin(sid=f"s{number}", shared=options) for number in range(5)]
    wires = [Wire(session) for session in sessions]
    for session in sessions:
        room.join(session)
    for _ in range(5):
        room.publish("x" * 400)
        for wire in wires[1:]:
            wire.write()
    room.publish("x")
    assert [session.closed is None for session in sessions] == [False, True, True, True, True]
    assert room.members == tuple(sessions[1:])
    assert [wire.heard() for wire in wires[1:]] == [["x"]] * 4


async def test_a_member_that_reads_is_woken_by_its_end_not_by_the_room() -> None:
    """A room does nothing to its members but send."""
    room = Room("tea")
    session = begin()
    room.join(session)
    reader = asyncio.create_task(read(session))
    room.publish("x")
    room.leave(session)
    await idle()
    assert not reader.done()
    await session.close()
    assert await reader == []


async def test_the_repr_tells_name_and_size() -> None:
    """For a look into a running server."""
    room = Room("tea")
    room.join(Session("s", begin().link, asked(), float))
    assert repr(room) == "<Room 'tea', 1 members>"
    assert Closed(1000, "", "local") == (1000, "", "local")
