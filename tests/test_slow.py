"""Slow-consumer policies: what becomes of a client that takes less than is broadcast to it, and of everybody else."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final

import pytest

from hybridws.broadcast import Slow, publish
from hybridws.core.codec import JSON, MSGPACK
from hybridws.core.packets import Message, Skipped
from hybridws.core.sockjs import RAW, SOCKJS
from hybridws.hub import Hub
from hybridws.options import Admission, Options
from hybridws.server import Server
from tests.memory import Wire, alive, asked, begin

if TYPE_CHECKING:
    from collections.abc import Callable

    from hybridws.core.codec import Codec
    from hybridws.session import Session

BUFFER: Final = 1_000
OPTIONS: Final = Options(buffer=BUFFER, max_message=1_000, max_batch=2_000, slow_grace=5)
CODECS: Final = (JSON, MSGPACK, SOCKJS, RAW)
DROPS: Final[tuple[Slow, ...]] = ("drop_oldest", "latest")
LARGE: Final = Options(buffer=20 * BUFFER, max_message=1_000, max_batch=2_000)
FILL: Final = "x" * 200
"""Four of these are a buffer, and eight are two."""

each_codec = pytest.mark.parametrize("codec", CODECS, ids=[codec.name for codec in CODECS])


def text(number: int) -> str:
    """Make one of many messages that have one size."""
    return f"{number}{FILL}"[:200]


def numbers(heard: list[Any]) -> list[int]:
    """Tell which of them were heard."""
    return [int(words.rstrip("x")) for words in heard]


def news(wire: Wire) -> tuple[list[int], int]:
    """Write what is pending; return the messages of `text` in it and how many the client is told to have missed."""
    link = wire.session.link
    if not link.codec.numbered:
        if link.codec is SOCKJS:
            return numbers(wire.heard()), 0
        return numbers([frame.decode() for frame in wire.write()]), 0
    heard: list[Any] = []
    missed = 0
    for frame in wire.write():
        for packet, _ in link.codec.loads(frame, link.options):
            if isinstance(packet, Message):
                heard.append(packet.value)
            elif isinstance(packet, Skipped):
                missed += packet.many
    return numbers(heard), missed


def at(session: Session, *times: float) -> None:
    """Let these times come."""
    for now in times:
        session.tick(now)


# ── words ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def nobody(_session: Session) -> None:
    """Handle a session that nobody opens."""


def entries(server: Server, hub: Hub) -> list[Callable[..., object]]:
    """Return all that takes a policy."""
    return [
        lambda **said: publish([], "x", **said),
        lambda **said: hub.room("tea").publish("x", **said),
        lambda **said: server.broadcast("x", **said),
        lambda **said: server.send_to("ada", "x", **said),
    ]


@pytest.mark.parametrize("word", ["wait", "drop", "Close", "", "drop_newest", "oldest"])
def test_a_policy_that_there_is_not_is_refused(word: str) -> None:
    """A slip of the pen is an error where it stands, even if there is nobody to send to; it says what there is."""
    server, hub = Server(nobody, OPTIONS), Hub()
    known = r"slow must be one of 'close', 'drop_oldest', 'latest', not "
    rooms = [lambda **said: hub.room("tea", **said), lambda **said: server.room("tea", **said)]
    for entry in entries(server, hub) + rooms:
        with pytest.raises(ValueError, match=f"{known}{word!r}"):
            entry(slow=word)


def test_who_wants_to_wait_is_told_how() -> None:
    """A broadcast waits for nobody; the error names what does."""
    with pytest.raises(ValueError, match=r"await session\.send"):
        publish([], "x", slow="wait")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - that is it


@pytest.mark.parametrize("slow", ["close", "drop_oldest"])
def test_a_key_without_a_use_is_refused(slow: str) -> None:
    """Who gives a key expects `latest`; dropped in silence it would be a slip that nobody finds."""
    for entry in entries(Server(nobody, OPTIONS), Hub()):
        with pytest.raises(ValueError, match="a key goes with slow='latest' only"):
            entry(slow=slow, key="price")


# ── who keeps up ──────────────────────────────────────────────────────────────────────────────────────────────────


@each_codec
@pytest.mark.parametrize("slow", DROPS)
async def test_who_keeps_up_misses_nothing(codec: Codec, slow: Slow) -> None:
    """A policy acts on the slow alone: two prices in one breath both reach a client with room for them."""
    session = begin(codec, shared=OPTIONS)
    wire = Wire(session)
    for number in range(4):
        publish([session], text(number), slow=slow)
    at(session, 0, 4.9)
    publish([session], text(4), slow=slow)
    assert news(wire) == ([0, 1, 2, 3, 4], 0)


async def test_all_share_the_bytes_whatever_the_policy() -> None:
    """A policy costs no second copy."""
    sessions = [begin(shared=OPTIONS) for _ in range(3)]
    publish(sessions, "x", slow="latest")
    (words,) = sessions[0].link.outbox.since(0, 100)
    assert all(session.link.outbox.since(0, 100)[0] is words for session in sessions)


# ── who does not ──────────────────────────────────────────────────────────────────────────────────────────────────


@each_codec
async def test_drop_oldest_after_the_grace(codec: Codec) -> None:
    """Over `buffer` for `slow_grace`: the oldest make room for the newest; native clients are told how many."""
    slow, quick = (begin(codec, sid=sid, shared=OPTIONS) for sid in ("slow", "quick"))
    slow_wire, wire = Wire(slow), Wire(quick)
    heard: list[int] = []
    for number in range(8):
        assert publish([slow, quick], text(number), slow="drop_oldest") == 2
        heard += news(wire)[0]
        if quick.link.codec.numbered:
            quick.link.confirm(number + 1)
        if number == 4:
            at(slow, 0, 4.9)
        if number == 5:
            assert slow.link.outbox.size > BUFFER, "for a while it may be over"
            at(slow, 5)
    assert heard == list(range(8))
    got, missed = news(slow_wire)
    assert got == [4, 5, 6, 7]
    assert missed == (4 if codec.numbered else 0)
    assert alive(slow)


@each_codec
async def test_drop_oldest_at_twice_the_buffer(codec: Codec) -> None:
    """No grace bounds memory by itself; nobody waits for a tick."""
    session = begin(codec, shared=OPTIONS)
    wire = Wire(session)
    for number in range(9):
        assert publish([session], text(number), slow="drop_oldest") == 1
    got, missed = news(wire)
    assert got == [6, 7, 8]
    assert missed == (6 if codec.numbered else 0)


@each_codec
async def test_latest(codec: Codec) -> None:
    """Of each key only the newest is left, at its own place; the rest of the stream is untouched."""
    session = begin(codec, shared=OPTIONS)
    wire = Wire(session)
    session.post(session.link.codec.dumps(Message(text(100)), OPTIONS))
    for number in range(7):
        publish([session], text(number), slow="latest", key=number % 2)
    at(session, 0, 5)
    publish([session], text(7), slow="latest", key=1)
    got, missed = news(wire)
    assert got == [100, 6, 7]
    assert missed == (6 if codec.numbered else 0)


async def test_keys_belong_to_their_room() -> None:
    """The same key in two rooms is two keys; without a key a room has one; sessions are not rooms."""
    session = begin(shared=OPTIONS)
    wire = Wire(session)
    hub = Hub()
    tea, coffee = hub.room("tea", "latest"), hub.room("coffee", "latest")
    for room in (tea, coffee):
        room.join(session)
        for number in range(2):
            room.publish(text(number + 10 * (room is tea)))
            room.publish(text(number + 100 + 10 * (room is tea)), key="price")
    publish([session], text(7), slow="latest")
    at(session, 0, 5)
    tea.publish(text(12))
    assert news(wire)[0] == [111, 1, 101, 7, 12]


async def test_a_room_has_a_policy_and_a_message_may_have_its_own() -> None:
    """What is published without a word follows the room; the last word about a room counts, None changes nothing."""
    hub = Hub()
    room = hub.room("tea", "drop_oldest")
    assert hub.room("tea") is room
    assert room.slow == "drop_oldest"
    session = begin(JSON, shared=OPTIONS)
    wire = Wire(session)
    room.join(session)
    for number in range(9):
        room.publish(text(number))
    assert news(wire) == ([6, 7, 8], 6)
    assert hub.room("tea", "close").slow == "close"
    session.relieve(BUFFER)
    for number in range(9):
        room.publish(text(number), slow="latest")
    assert alive(session)
    for number in range(9):
        room.publish(text(number))
    assert session.closed is not None
    assert session.closed.code == 4008


async def sit(session: Session) -> None:
    """Handle a session to its end."""
    async for _ in session:
        pass


async def test_all_entries_obey() -> None:
    """What goes to everybody, to a user's sessions, or to a room of the server has its policy alike."""
    server = Server(sit, OPTIONS)
    session = server.open(JSON, asked(), Admission("ada"))
    wire = Wire(session)
    room = server.room("tea", slow="drop_oldest")
    room.join(session)
    all_entries: list[Callable[[str], int]] = [
        lambda words: server.broadcast(words, slow="drop_oldest"),
        lambda words: server.send_to("ada", words, slow="drop_oldest"),
        lambda words: server.room("tea").publish(words),
    ]
    for entry in all_entries:
        for number in range(9):
            assert entry(text(number)) == 1
        assert news(wire) == ([6, 7, 8], 6)
        session.link.confirm(session.link.outbox.last)
    await session.close()
    session.link.confirm(session.link.outbox.last)
    await server.close()


async def test_close_is_what_a_message_of_that_policy_does() -> None:
    """Who may miss nothing of a room is closed when it says something, even if there is chatter that could go."""
    session = begin(shared=OPTIONS)
    for number in range(8):
        publish([session], text(number), slow="drop_oldest")
    assert publish([session], "important") == 0
    assert session.closed is not None
    assert session.closed.code == 4008


@pytest.mark.parametrize("slow", DROPS)
async def test_what_may_not_be_dropped_ends_the_session(slow: Slow) -> None:
    """Where dropping does not help, two buffers are the end: what `send` sent is never dropped."""
    session, other = (begin(JSON, sid=sid, shared=OPTIONS) for sid in ("a", "b"))
    for number in range(8):
        session.post(JSON.dumps(Message(text(number)), OPTIONS))
    assert publish([session, other], "x", slow=slow) == 1
    assert session.closed is not None
    assert session.closed.code == 4008
    assert numbers(list(session.unacked)) == list(range(8))


async def test_room_that_dropping_makes_is_room_for_senders() -> None:
    """A `send` that waits is woken by it, as by an ack."""
    session = begin(JSON, shared=OPTIONS)
    Wire(session)
    for number in range(8):
        publish([session], text(number), slow="drop_oldest")
    sender = asyncio.create_task(session.send("at last"))
    await asyncio.sleep(0)
    assert session.senders == 1
    publish([session], "short", slow="drop_oldest")
    async with asyncio.timeout(5):
        await sender


@pytest.mark.parametrize("slow", DROPS)
async def test_away_with_what_may_be_dropped(slow: Slow) -> None:
    """A client that is away is not lost for what may be dropped; it comes back to the newest and the count."""
    session = begin(JSON, shared=OPTIONS)
    for number in range(6):
        publish([session], text(number), slow=slow)
    assert session.link.full
    at(session, 0, 1)
    assert alive(session)
    wire = Wire(session)
    assert news(wire) == (([3, 4, 5], 3) if slow == "drop_oldest" else ([5], 5))


async def test_away_with_what_may_not() -> None:
    """A buffer full of what may not be dropped ends who is away, as ever."""
    session = begin(JSON, shared=OPTIONS)
    for number in range(6):
        publish([session], text(number))
    at(session, 0, 1)
    assert session.closed is not None


# ── memory ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(8))
@each_codec
async def test_an_outbox_is_bounded(codec: Codec, seed: int) -> None:
    """Two buffers and one batch, whatever is published, in whatever mix, to one that takes none, some, or ends."""
    dice = random.Random(seed)
    session = begin(codec, shared=LARGE)
    wire = Wire(session)
    most = 0
    now = 0.0
    for number in range(3_000):
        slow = dice.choice((DROPS[0], *DROPS))
        key = dice.randrange(5) if slow == "latest" else None
        publish([session], text(number)[: dice.randrange(8, 190)], slow=slow, key=key)
        most = max(most, session.link.outbox.size)
        now += 0.1
        session.tick(now)
        wire.seat.heard = True
        if seed % 2 and not dice.randrange(50):
            wire.write(1)
    assert alive(session)
    assert LARGE.buffer < most < 2 * LARGE.buffer + LARGE.max_batch
    wire.write()
    if codec.numbered:
        session.link.confirm(session.link.outbox.last)
    assert session.link.outbox.size == 0


async def test_a_stalled_client_costs_little() -> None:
    """Twenty-seven times its buffer, of which it takes nothing: what was dropped is a slot each, no packet."""
    session = begin(JSON, shared=LARGE)
    Wire(session)
    for number in range(2_000):
        publish([session], text(number), slow="drop_oldest")
        assert session.link.outbox.size <= 2 * LARGE.buffer + 272
    kept = [words for words in session.link.outbox.since(0, 10**6) if words]
    assert sum(map(len, kept)) < 2 * LARGE.buffer
