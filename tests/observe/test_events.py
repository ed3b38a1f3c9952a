"""What observers are told of a real server, and what a session knows of itself."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

import hybridws
from hybridws.core.link import Link
from hybridws.core.packets import Message
from hybridws.events import (
    Attached,
    Ended,
    Event,
    Failed,
    Opened,
    Resumed,
    RoundTrip,
    Slowed,
    Tried,
    TurnedAway,
)
from hybridws.options import Options
from tests.client.ground import Place, echo, listen, take, until
from tests.client.scissors import Scissors
from tests.memory import Wire, begin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hybridws import Session


def watched(here: Place) -> list[Event]:
    """Write down what a server tells."""
    told: list[Event] = []
    here.server.events.observers.append(told.append)
    return told


def kinds(told: list[Event]) -> list[str]:
    """Name the events."""
    return [type(event).__name__ for event in told]


async def test_a_life_is_told_from_open_to_end(place: Callable[..., Awaitable[Place]]) -> None:
    """A client on one transport: opened, attached, ended; and nothing for each message."""
    here = await place(echo)
    told = watched(here)
    async with hybridws.connect(here.url, transports=["poll"]) as client:
        for number in range(20):
            await client.send(number)
            assert await take(client, 1) == [number]
        (session,) = here.server.sessions
        assert session.traffic.packets_in == session.traffic.packets_out == 20
        assert session.traffic.bytes_in == sum(len(f'["m",{number}]') for number in range(20))
        assert session.traffic.bytes_out >= session.traffic.bytes_in
    await until(lambda: any(isinstance(event, Ended) for event in told))
    assert kinds(told) == ["Opened", "Attached", "Ended"], "twenty messages and their polls are no events"
    assert session.transports[0].attaches > 1
    (past,) = here.server.past
    assert (past.id, past.codec, past.closed.by, past.closed.code) == (session.id, "json", "remote", 1000)
    assert [stay.name for stay in past.transports] == ["poll"]
    assert past.traffic.packets_in == 21, "the client's close is a packet too"
    assert past.ended_at >= past.opened_at


async def test_an_upgrade_is_a_trial_and_a_change(place: Callable[..., Awaitable[Place]]) -> None:
    """The WebSocket that takes over from a stream is tried first, and its answer gives the first round trip."""
    here = await place(echo)
    told = watched(here)
    async with hybridws.connect(here.url) as client:
        await until(lambda: client.transport == "websocket" and here.session.transport == "websocket")
        tried = [event for event in told if isinstance(event, Tried)]
        if tried:  # a fast machine opens the WebSocket before a stream has the seat
            assert tried[0].transport == "websocket"
            await until(lambda: here.session.round_trip is not None)
            assert 0 < (here.session.round_trip or 0) < 5
            assert any(isinstance(event, RoundTrip) for event in told)
        last = [event for event in told if isinstance(event, Attached)][-1]
        assert last.stay.name == "websocket"


async def test_a_cut_is_a_leaving_and_a_resume(place: Callable[..., Awaitable[Place]]) -> None:
    """Who comes back is resumed, with the seconds without a transport; the break keeps its place in the timeline."""
    here = await place(echo)
    told = watched(here)
    async with Scissors(here.url) as scissors, hybridws.connect(scissors.url, transports=["websocket"]) as client:
        await client.send("one")
        assert await take(client, 1) == ["one"]
        session = here.session
        scissors.cut()
        await until(lambda: any(isinstance(event, Resumed) for event in told))
        await client.send("two")
        assert await take(client, 1) == ["two"]
        assert [stay.reason for stay in session.transports] == ["the connection broke", ""]
    assert [kind for kind in kinds(told) if kind != "RoundTrip"][:5] == [
        "Opened",
        "Attached",
        "Left",
        "Attached",
        "Resumed",
    ]
    (resumed,) = (event for event in told if isinstance(event, Resumed))
    assert 0 <= resumed.away < 10


async def test_a_heartbeat_times_the_round_trip(place: Callable[..., Awaitable[Place]]) -> None:
    """An idle WebSocket is asked now and then, and how long the answer took is known. A stream answers by POST."""
    here = await place(listen, heartbeat=0.2)
    for transport in ("websocket", "stream"):
        async with hybridws.connect(here.url, transports=[transport]):
            session = list(here.server.sessions)[-1]
            await until(lambda session=session: session.round_trip is not None)  # type: ignore[misc]
            assert 0 < (session.round_trip or 0) < 5


async def test_a_pong_of_a_raw_client_times_it_too(place: Callable[..., Awaitable[Place]]) -> None:
    """A client without a library answers pings, as every WebSocket does."""
    here = await place(listen, heartbeat_delay=0.2)
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{here.url}/websocket") as socket:
        reading = asyncio.create_task(socket.receive())
        await until(lambda: here.session.round_trip is not None)
        await here.session.close()
        await reading


async def test_a_trial_that_fails_says_why(place: Callable[..., Awaitable[Place]]) -> None:
    """A WebSocket that opens and then brings no answer does not take the stream's seat, and the trial has failed."""
    here = await place(listen, trial_timeout=0.3)
    told = watched(here)
    async with aiohttp.ClientSession() as http, http.post(f"{here.url}/v1/open", data=b'["i",{"v":1}]') as opened:
        sid, key = here.session.id, here.session.key
        assert opened.status == 200
        first = json.dumps(["@", sid, key, 1, 0])
        async with (
            http.post(f"{here.url}/v1/{sid}/stream", data=first),
            http.ws_connect(f"{here.url}/v1/websocket") as ws,
        ):
            await ws.send_str(json.dumps(["@", sid, key, 2, 0]))
            await until(lambda: any(isinstance(event, Failed) for event in told))
    assert [event for event in told if isinstance(event, Tried | Failed)] == [
        Tried(told[0].session, "websocket"),  # type: ignore[union-attr]
        Failed(told[0].session, "websocket", "it was on trial and did not answer"),  # type: ignore[union-attr]
    ]


async def test_who_is_turned_away_is_told_of(place: Callable[..., Awaitable[Place]]) -> None:
    """Each refusal, by whatever way: a foreign page, an unknown session, a wrong method, a WebSocket's first frame."""
    here = await place(echo)
    told = watched(here)
    async with aiohttp.ClientSession() as http:
        await http.post(f"{here.url}/v1/open", headers={"Origin": "https://evil.example"})
        await http.post(f"{here.url}/v1/nobody.here/poll", data=b"")
        await http.delete(f"{here.url}/v1/open")
        await http.get(f"{here.url}/nowhere")
        async with http.ws_connect(f"{here.url}/v1/websocket") as socket:
            await socket.send_str("nonsense")
            await socket.receive()
    causes = [type(event.fault).__name__ for event in told if isinstance(event, TurnedAway)]
    assert causes == ["Forbidden", "NoSession", "WrongMethod", "Missing", "Malformed"]


async def test_a_slow_client_is_told_of_once(place: Callable[..., Awaitable[Place]]) -> None:
    """A client that holds its buffer full becomes a slow consumer: one event, until it has taken what waited."""
    here = await place(listen, buffer=20_000, max_batch=20_000, max_message=8_000, slow_grace=0.05)
    told = watched(here)
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{here.url}/v1/websocket") as socket:
        await socket.send_str('["i",{"v":1}]')
        await until(lambda: here.server.sessions)
        session = here.session
        for _ in range(3):
            session.send_nowait("x" * 7_000)  # read, perhaps, but never acked
        await until(lambda: any(isinstance(event, Slowed) for event in told))
        for _ in range(3):
            session.tick(asyncio.get_running_loop().time())
        assert session.slow
    assert kinds(told).count("Slowed") == 1


@pytest.mark.logs_errors
async def test_an_observer_that_fails_hurts_nobody(
    place: Callable[..., Awaitable[Place]], caplog: pytest.LogCaptureFixture
) -> None:
    """What one observer does wrong is logged; the session goes on, and the next observer is told."""
    here = await place(echo)

    def clumsy(event: Event) -> None:
        raise KeyError(event)

    here.server.events.observers.append(clumsy)
    told = watched(here)
    async with hybridws.connect(here.url, transports=["websocket"]) as client:
        await client.send(1)
        assert await take(client, 1) == [1]
    assert "Opened" in kinds(told)
    assert "an observer failed at Opened" in caplog.text


async def test_so_many_ended_sessions_are_remembered(place: Callable[..., Awaitable[Place]]) -> None:
    """The last `keep_ended`, the newest last; older ones are forgotten."""
    here = await place(echo, keep_ended=2)
    ids: list[str] = []
    for _ in range(3):
        async with hybridws.connect(here.url, transports=["websocket"]):
            ids.append(here.session.id)
        await until(lambda: not here.server.sessions)
    assert [past.id for past in here.server.past] == ids[1:]


def test_traffic_counts_what_was_said_and_not_dropped() -> None:
    """Bytes are exact while packets are kept, confirmed, and dropped by a slow-consumer policy."""
    link = Link(begin().link.codec, Options())
    words: list[Any] = [b"a" * 10, b"b" * 20, b"c" * 30]
    for one in words:
        link.outbox.append(one, loose=True)
    assert (link.outbox.said, link.outbox.dropped) == (60, 0)
    link.outbox.confirm(1)
    assert link.outbox.said == 60
    assert link.outbox.relieve(0) == 2
    assert (link.outbox.said, link.outbox.dropped) == (10, 2)
    link.outbox.confirm(3)
    assert (link.outbox.said, link.outbox.dropped, link.outbox.size) == (10, 2, 0)
    link.send(Message("x"))
    assert link.outbox.said == 10 + len(link.codec.dumps(Message("x"), link.options))


async def test_a_break_is_not_joined_with_what_follows() -> None:
    """A poll after a poll is one stay; after one that broke, or a WebSocket that took a dead one's place, it is new."""
    session: Session = begin()
    Wire(session, "xhr-polling").seat.leave("the response was full")
    Wire(session, "xhr-polling")
    (stay,) = session.transports
    assert (stay.attaches, stay.broken) == (2, False)
    session.dock.clear("gone")
    Wire(session, "xhr-polling")
    Wire(session, "websocket")
    Wire(session, "websocket")
    assert [one.name for one in session.transports] == ["xhr-polling", "xhr-polling", "websocket", "websocket"]
    assert [one.broken for one in session.transports] == [True, True, True, False]


def test_opened_is_an_event() -> None:
    """Events are tuples whose first field is the session they are about."""
    session = begin()
    match Opened(session):
        case Opened(who):
            assert who is session
