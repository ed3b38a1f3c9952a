"""The server: it starts a handler for each session, minds what comes of it, and ends all of them in order."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from hybridws import Options, Server
from hybridws.core.codec import JSON
from hybridws.core.sockjs import RAW, SOCKJS
from hybridws.errors import SessionClosed
from hybridws.events import Ended
from hybridws.server import SLICE
from hybridws.session import Closed, Session
from tests.memory import Wire, asked, idle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from hybridws.events import Event

    Handler = Callable[[Session], Coroutine[Any, Any, object]]

PATIENCE = 5.0
"""Seconds in which anything that these tests wait for must have happened."""


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Server]]:
    """Make servers that are closed with the test."""
    servers: list[Server] = []

    def make(handler: Handler, **options: Any) -> Server:  # noqa: ANN401 - checked by Options
        servers.append(Server(handler, Options(**options)))
        return servers[-1]

    yield make
    async with asyncio.timeout(PATIENCE):
        for server in servers:
            await server.close()


def connect(server: Server, name: str = "websocket") -> tuple[Session, Wire]:
    """Open a session with a transport that is there."""
    session = server.open(SOCKJS, asked())
    return session, Wire(session, name)


async def echo(session: Session) -> None:
    """Say what was said."""
    async for message in session:
        await session.send(message)


async def ended(session: Session) -> None:
    """Wait until the session's handler is through."""
    assert session.handler is not None
    await asyncio.wait([session.handler], timeout=PATIENCE)
    assert session.handler.done()


def failures(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return the errors that were logged."""
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


# ── a handler's life ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_handler_starts_at_open_and_ends_with_its_session(start: Callable[..., Server]) -> None:
    """It belongs to the session, never to a request: it runs before a transport is there, and while none is."""
    steps: list[str] = []

    async def handle(session: Session) -> None:
        await session.send("welcome")
        steps.append("started")
        async for message in session:
            steps.append(message)
            await session.send("thanks")
        steps.append("ended")

    server = start(handle)
    session = server.open(SOCKJS, asked())
    await idle()
    assert steps == ["started"]
    first = Wire(session, "xhr-polling")
    assert first.heard() == ["welcome"]
    first.say("one")
    first.seat.leave("the response was full")
    await idle()
    second = Wire(session, "xhr-polling")
    second.say("two")
    await idle()
    second.seat.close(1000, "")
    await ended(session)
    assert steps == ["started", "one", "two", "ended"]


async def test_a_handler_that_returns_first_closes_with_1000(start: Callable[..., Server]) -> None:
    """After everything that it has sent."""

    async def handle(session: Session) -> None:
        await session.send("goodbye")

    session, wire = connect(start(handle))
    await ended(session)
    assert session.closed == Closed(1000, "Normal closure", "local")
    assert wire.write() == [b'a["goodbye"]', b'c[1000,"Normal closure"]']


@pytest.mark.logs_errors
async def test_a_handler_that_fails_closes_its_session_with_1011(
    start: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once, with the traceback; the client learns no more than that it failed; nobody else notices."""

    async def handle(session: Session) -> None:
        async for message in session:
            if message == "fail":
                raise ZeroDivisionError("a secret of the application")
            await session.send(message)

    server = start(handle)
    session, wire = connect(server)
    other, other_wire = connect(server)
    wire.say("fail", "more")
    await ended(session)
    assert session.closed == Closed(1011, "the handler failed", "local")
    assert wire.write() == [b'c[1011,"the handler failed"]']
    (record,) = failures(caplog)
    assert record.name == "hybridws"
    assert session.id in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert "a secret" not in record.getMessage()

    assert list(server.sessions) == [other]
    other_wire.say("alive")
    await idle()
    assert other_wire.heard() == ["alive"]


@pytest.mark.logs_errors
async def test_a_handler_that_fails_after_the_end_is_logged_too(
    start: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    """How the session ended stays as it was."""

    async def handle(session: Session) -> None:
        await echo(session)
        raise ZeroDivisionError

    session, wire = connect(start(handle))
    await idle()
    wire.seat.close(1001, "left")
    await ended(session)
    assert session.closed == Closed(1001, "left", "remote")
    assert len(failures(caplog)) == 1


async def test_a_handler_that_learns_of_the_end_by_sending_did_nothing_wrong(start: Callable[..., Server]) -> None:
    """SessionClosed out of its own session is the ordinary end: nothing is logged."""

    async def handle(session: Session) -> None:
        while True:
            await session.send("x" * 1_000)

    session, wire = connect(start(handle, buffer=5_000, max_message=5_000, max_batch=5_000))
    await idle()
    wire.seat.close(1000, "enough")
    await ended(session)
    assert session.closed == Closed(1000, "enough", "remote")


@pytest.mark.logs_errors
async def test_another_sessions_end_is_a_failure_like_any_other(
    start: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    """SessionClosed out of somebody else's session leaves this one open and broken: 1011, and a line in the log."""
    others: list[Session] = []

    async def handle(session: Session) -> None:
        if others:
            await others[0].send("hello")
        others.append(session)
        await echo(session)

    server = start(handle)
    first, wire = connect(server)
    await idle()
    wire.seat.close(1000, "")
    await ended(first)
    second, _ = connect(server)
    await ended(second)
    assert second.closed == Closed(1011, "the handler failed", "local")
    assert len(failures(caplog)) == 1


async def test_a_session_closed_by_its_handler_stays_closed_so(start: Callable[..., Server]) -> None:
    """The code of the first close counts, not that of the return after it."""

    async def handle(session: Session) -> None:
        async for _ in session:
            await session.close(3005, "as you wish")

    session, wire = connect(start(handle))
    wire.say("close", "ignored")
    await ended(session)
    assert session.closed == Closed(3005, "as you wish", "local")
    assert wire.write() == [b'c[3005,"as you wish"]']


async def test_a_handler_has_time_for_its_finally(start: Callable[..., Server]) -> None:
    """At the end of the session it is not cancelled: `finally` may await, and sees how the session ended."""
    saved = asyncio.Event()
    seen: list[object] = []

    async def handle(session: Session) -> None:
        try:
            await echo(session)
        finally:
            await saved.wait()
            seen.append(session.closed)

    session, wire = connect(start(handle))
    await idle()
    wire.seat.close(1000, "")
    await idle()
    assert session.handler is not None
    assert not session.handler.done()
    saved.set()
    await ended(session)
    assert seen == [Closed(1000, "", "remote")]


async def test_a_handler_that_stays_is_cancelled_after_its_grace(start: Callable[..., Server]) -> None:
    """By the server's own clock, `handler_grace` seconds after the end."""
    steps: list[str] = []

    async def handle(session: Session) -> None:
        try:
            await echo(session)
            steps.append("ended")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            steps.append("cancelled")
            raise

    session, wire = connect(start(handle, handler_grace=0.05))
    await idle()
    wire.seat.close(1000, "")
    await idle()
    assert steps == ["ended"]
    await ended(session)
    assert steps == ["ended", "cancelled"]


async def test_what_a_cancelled_application_task_raises_is_its_own(start: Callable[..., Server]) -> None:
    """A handler that is cancelled by the application ends its session as if it had returned."""
    session, wire = connect(start(echo))
    await idle()
    assert session.handler is not None
    session.handler.cancel()
    await ended(session)
    assert session.closed == Closed(1000, "Normal closure", "local")
    assert wire.write() == [b'c[1000,"Normal closure"]']


# ── who is here ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_sessions_is_a_live_view(start: Callable[..., Server]) -> None:
    """It counts and lists those that have not ended, in the order in which they opened."""
    server = start(echo)
    sessions = server.sessions
    assert len(sessions) == 0
    first, wire = connect(server)
    second, _ = connect(server)
    assert list(sessions) == [first, second]
    assert repr(server) == "<Server with 2 sessions>"
    wire.seat.close(1000, "")
    assert list(sessions) == [second]
    assert second in sessions
    await second.close()
    assert len(sessions) == 0


async def test_broadcast_reaches_every_session(start: Callable[..., Server]) -> None:
    """Over whatever transport, in each one's own dialect; it returns to how many."""
    server = start(echo)
    _, wire = connect(server)
    raw = server.open(RAW, asked())
    gone, gone_wire = connect(server)
    gone_wire.seat.close(1000, "")
    assert server.broadcast({"a": 1}) == 2
    assert wire.heard() == ['{"a":1}']
    assert Wire(raw, "websocket-raw").write() == [b'{"a":1}']
    assert gone.unacked == []


async def test_rooms_belong_to_their_server(start: Callable[..., Server]) -> None:
    """The same name on two mounts is two rooms."""
    one, two = start(echo), start(echo)
    session, wire = connect(one)
    one.room("tea").join(session)
    assert one.room("tea") is one.room("tea")
    assert two.room("tea").publish("x") == 0
    assert one.room("tea").publish("y") == 1
    assert wire.heard() == ["y"]


async def test_a_handler_may_join_and_publish(start: Callable[..., Server]) -> None:
    """The chat in eight lines: join, say it to the others, leave by ending."""
    server: Server

    async def chat(session: Session) -> None:
        room = server.room("tea")
        room.join(session)
        async for message in session:
            room.publish(message, except_=session)

    server = start(chat)
    (_, ada), (_, bob) = connect(server), connect(server)
    await idle()
    ada.say("hello")
    await idle()
    assert (ada.heard(), bob.heard()) == ([], ["hello"])
    ada.seat.close(1000, "")
    assert len(server.room("tea")) == 1


async def test_ids_are_unguessable_and_differ(start: Callable[..., Server]) -> None:
    """Each session has its own, of 128 random bits at least, and no client has chosen it."""
    server = start(echo)
    ids = {server.open(SOCKJS, asked(), name="chosen").id for _ in range(100)}
    assert len(ids) == 100
    assert all(len(sid) >= 22 for sid in ids)
    assert "chosen" not in ids


async def test_a_session_is_found_by_the_name_of_its_address(start: Callable[..., Server]) -> None:
    """Later requests find it, also when it has ended, for they must hear of that; another name finds nothing."""
    server = start(echo)
    session = server.open(SOCKJS, asked(), name="abc")
    assert server.find("abc") is session
    assert server.find("other") is None
    await session.close()
    assert server.find("abc") is session
    again = server.open(SOCKJS, asked(), name="abc")
    assert server.find("abc") is again


async def test_an_ended_session_is_freed(start: Callable[..., Server]) -> None:
    """A `disconnect_delay` after its end, when its handler has returned, nothing holds it any more."""
    server = start(echo, disconnect_delay=0.05)
    session = server.open(SOCKJS, asked(), name="abc")
    session.attach("websocket", lambda: None).close(1000, "")
    await ended(session)
    freed = asyncio.Event()
    weakref.finalize(session, freed.set)
    del session
    async with asyncio.timeout(PATIENCE):
        await freed.wait()
    assert server.find("abc") is None


async def test_an_abandoned_session_ends_once_and_is_freed(start: Callable[..., Server]) -> None:
    """Nobody comes for `disconnect_delay` seconds: its handler sees one end, and it is gone."""
    seen: list[object] = []
    freed = asyncio.Event()

    async def handle(session: Session) -> None:
        session.at_end(lambda session: seen.append(session.closed))
        weakref.finalize(session, freed.set)
        await echo(session)

    server = start(handle, disconnect_delay=0.05)
    server.open(SOCKJS, asked())
    async with asyncio.timeout(PATIENCE):
        await freed.wait()
    assert seen == [Closed(1006, "no receiver for 0.05 s", "network")]
    assert len(server.sessions) == 0


async def test_a_quiet_transport_is_sent_heartbeats_by_the_servers_clock(start: Callable[..., Server]) -> None:
    """There is one timer for all sessions; a transport is woken when a heartbeat is due."""
    server = start(echo, heartbeat_delay=0.05)
    session = server.open(SOCKJS, asked())
    due = asyncio.Event()

    def wake() -> None:
        if seat.beat:
            due.set()

    seat = session.attach("websocket", wake)
    async with asyncio.timeout(PATIENCE):
        await due.wait()
    assert seat.beat


# ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_tick_takes_turns_with_others(start: Callable[..., Server]) -> None:
    """However many sessions there are, a turn of the loop looks at few; each is looked at, whoever comes or goes."""
    server = start(lambda _session, _message: None, attach_timeout=0.05)
    many = [server.open(JSON, asked()) for _ in range(5 * SLICE)]
    turn = 0
    ended: dict[Session, int] = {}
    late: list[Session] = []

    def observe(event: Event) -> None:
        if isinstance(event, Ended):
            ended[event.session] = turn
            if event.session is many[0]:  # the first to be looked at: the others' time is still to come
                many[-1].abort(4000, "left while others were looked at")
                late.extend(server.open(JSON, asked()) for _ in range(SLICE))

    server.events.observers.append(observe)
    async with asyncio.timeout(PATIENCE):
        while len(ended) < len(many) + SLICE:
            turn += 1
            await asyncio.sleep(0)
    assert ended.keys() == {*many, *late}
    looked_at = Counter(number for session, number in ended.items() if session is not many[-1])
    assert max(looked_at.values()) <= SLICE


async def test_close_tells_everybody_and_waits_for_the_handlers() -> None:
    """1012 to each session after what was sent before; handlers finish in their own time within the grace."""
    steps: list[str] = []
    saved = asyncio.Event()

    async def handle(session: Session) -> None:
        await session.send("before")
        await echo(session)
        await saved.wait()
        steps.append("saved")

    server = Server(handle, Options())
    (first, wire), (second, _) = connect(server), connect(server)
    await idle()
    closing = asyncio.create_task(server.close())
    await idle()
    assert first.closed == second.closed == Closed(1012, "the server is restarting", "local")
    assert wire.write() == [b'a["before"]', b'c[1012,"the server is restarting"]']
    assert server.draining
    assert not closing.done()
    saved.set()
    await asyncio.wait_for(closing, PATIENCE)
    assert steps == ["saved", "saved"]


async def test_close_cancels_whoever_is_late() -> None:
    """After `handler_grace` seconds; also one whose session had ended before."""
    cancelled: list[str] = []

    async def handle(session: Session) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(session.id)
            raise

    server = Server(handle, Options(handler_grace=0.05))
    (first, wire), (second, _) = connect(server), connect(server)
    await idle()
    wire.seat.close(1000, "")
    await asyncio.wait_for(server.close(), PATIENCE)
    assert sorted(cancelled) == sorted([first.id, second.id])


async def test_close_does_not_wait_for_ever_for_a_handler_that_will_not_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One that swallows its cancellation cannot hold up the process; the log names it."""
    release = asyncio.Event()

    async def handle(_session: Session) -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    server = Server(handle, Options(handler_grace=0.05))
    session, _ = connect(server)
    await idle()
    closing = asyncio.create_task(server.close())
    try:
        _, late = await asyncio.wait([closing], timeout=2)
        assert not late
    finally:
        release.set()
        await closing
        await ended(session)
    assert any(session.id in record.getMessage() for record in caplog.records)


async def test_the_end_takes_no_longer_than_stop_timeout(caplog: pytest.LogCaptureFixture) -> None:
    """A handler that will not end and a client that does not answer are waited for side by side, and no longer."""
    release = asyncio.Event()

    async def handle(_session: Session) -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    server = Server(handle, Options(stop_timeout=1.2, handler_grace=60, close_timeout=60))
    session, _ = connect(server)
    await idle()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    try:
        await server.drain()
        assert loop.time() - begun >= 0.2  # the second of `LAST_GRACE` is kept for those who are cancelled
        await server.close()
        assert loop.time() - begun < 1.2 + 4
    finally:
        release.set()
        await ended(session)
    assert any(session.id in record.getMessage() for record in caplog.records)


async def test_drain_waits_for_those_between_two_polls() -> None:
    """A client that is away for a moment comes again, is told, and only then the server has nothing more to do."""
    server = Server(echo, Options())
    session, wire = connect(server)
    wire.seat.leave("answered")
    await idle()
    draining = asyncio.create_task(server.drain())
    early, _ = await asyncio.wait([draining], timeout=0.1)
    assert not early
    assert server.draining
    assert session.closed == Closed(1012, "the server is restarting", "local")
    again = Wire(session)
    again.write()
    await asyncio.wait_for(draining, PATIENCE)
    await asyncio.wait_for(server.close(), PATIENCE)


async def test_drain_does_not_wait_for_those_who_are_away() -> None:
    """A client that has been gone for `away_after` seconds is not expected in time."""
    server = Server(echo, Options(away_after=0.05, disconnect_delay=5))
    _, wire = connect(server)
    wire.seat.leave("answered")
    await asyncio.wait_for(server.drain(), PATIENCE)
    await server.close()


async def test_close_on_an_idle_server_returns_at_once() -> None:
    """And a second time as well."""
    server = Server(echo, Options())
    await asyncio.wait_for(server.close(), PATIENCE)
    await asyncio.wait_for(server.close(), PATIENCE)


async def test_session_closed_tells_a_sender_of_the_restart() -> None:
    """The application sees the same code as its client."""
    server = Server(echo, Options())
    session, _ = connect(server)
    await asyncio.wait_for(server.close(), PATIENCE)
    with pytest.raises(SessionClosed, match=r"1012 \(the server is restarting\)"):
        await session.send("x")
