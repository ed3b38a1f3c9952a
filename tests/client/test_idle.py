"""What silence kills, and how the client asks for less of it: with a scripted clock, and behind a box that cuts."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

import hybridws
from hybridws.client import Info
from hybridws.client.watch import GRACE, LEAST_PATIENCE, LOOK_EVERY, Watch
from hybridws.core.codec import JSON
from hybridws.core.link import Lane, Link
from hybridws.core.packets import Ack
from hybridws.exchange import Request
from hybridws.options import Options
from hybridws.session import Session
from hybridws.testing import HostileProxy
from tests.client.ground import TRANSPORTS, Diary, echo, take, until

if TYPE_CHECKING:
    from hybridws.seat import Seat
    from tests.client.ground import Mounting

HEARTBEAT = 20.0


class Life:
    """A session over a WebSocket that is a script: what is heard and said at which second, and what the watch does."""

    def __init__(self) -> None:
        """Begin at second 1000."""
        self.now = 1000.0
        self.session = Session("s", Link(JSON, Options()), Request("", "", "", {}, {}, {}, "", ""), time.time)
        self.watch = Watch(self.session, Info(round_trip=0.01), HEARTBEAT)
        self.seat: Seat
        self.attach()

    def attach(self) -> None:
        """Begin with another WebSocket."""
        self.seat = self.session.attach("websocket", lambda: None)
        self.watch.begun(self.now)

    def run(self, seconds: float, box: float = 1e9) -> float | None:
        """Let time pass, look as often as is asked for; return when it is cut (by a box, after `box` s)."""
        end, active = self.now + seconds, self.now
        while self.now < end:
            self.watch.look(self.now)
            if self.seat.over:
                return self.now
            self.now = min(self.watch.next_look(self.now), end)
            if self.now - active >= box:
                self.now = active + box
                self.watch.broke(self.now)
                return self.now
        return None

    def asks(self) -> bool:
        """Tell whether a sign of life is asked for."""
        return self.seat.beat

    def say(self, word: str) -> None:
        """Send a message."""
        self.session.send_nowait(word)
        self.watch.said(self.now)

    def hear(self, count: int | None = None) -> None:
        """Hear a heartbeat, or an ack."""
        self.seat.heard = True
        if count is not None:
            self.session.feed(Lane(), [(Ack(count), 0)])


def test_what_is_not_acked_is_asked_for_and_then_dropped() -> None:
    """0.8 s after a word without an ack the client asks; 0.8 s later it drops the WebSocket."""
    life = Life()
    life.run(3.0)
    life.say("hello")
    said = life.now
    life.run(LEAST_PATIENCE - 0.01)
    assert not life.asks()
    life.run(0.02)
    assert life.asks()
    dropped = life.run(5.0)
    assert dropped is not None
    assert dropped - said == pytest.approx(2 * LEAST_PATIENCE, abs=0.01)
    assert life.seat.verdict[1].startswith("silence")


def test_an_ack_in_time_is_enough() -> None:
    """What is acked is not asked for, and any word after the question lets the WebSocket live."""
    life = Life()
    life.say("hello")
    life.run(LEAST_PATIENCE - 0.1)
    life.hear(1)
    assert life.run(10.0) is None
    assert not life.asks()
    life.say("again")
    life.run(LEAST_PATIENCE + 0.1)
    assert life.asks()
    life.hear()
    life.seat.beat = False
    assert life.run(LEAST_PATIENCE - 0.2) is None


def test_a_slow_network_gets_more_time() -> None:
    """Where round trips are long, all patience is four of them."""
    life = Life()
    life.watch = Watch(life.session, Info(round_trip=1.0), HEARTBEAT)
    life.watch.begun(life.now)
    life.say("hello")
    said = life.now
    dropped = life.run(60.0)
    assert dropped is not None
    assert dropped - said == pytest.approx(8.0, abs=2 * LOOK_EVERY)


def test_no_patience_outlives_the_session() -> None:
    """However slow the network was, and however often nothing came: after a quarter of `resume` another is tried."""
    life = Life()
    life.watch = Watch(life.session, Info(round_trip=2.0), HEARTBEAT)
    assert life.watch.patience == 8.0
    life.watch.doubt()
    assert life.watch.patience == 16.0
    for _ in range(10):
        life.watch.doubt()
    assert life.watch.patience == Options().resume / 4


def test_a_network_that_was_slow_once() -> None:
    """Acks that come sooner shorten the patience that a bad moment has taught; those that come later change nothing."""
    life = Life()
    info = Info(round_trip=1.0)
    life.watch = Watch(life.session, info, HEARTBEAT)
    life.watch.begun(life.now)
    for number in range(1, 31):
        life.say("hello")
        life.run(0.1)
        life.hear(number)
        assert life.run(0.5) is None
    assert life.watch.patience == pytest.approx(LEAST_PATIENCE, abs=0.4)
    learned = info.round_trip
    for number in range(31, 40):
        life.say("hello")
        life.run(0.7)
        life.hear(number)
        assert life.run(0.5) is None
    assert info.round_trip == learned


def test_a_heartbeat_that_never_comes() -> None:
    """With nothing to say, silence is borne for the heartbeat and 10 s; twice in a row it is taken for a limit."""
    life = Life()
    begun = life.now
    dropped = life.run(100.0)
    assert dropped is not None
    assert dropped - begun == pytest.approx(HEARTBEAT + GRACE, abs=LOOK_EVERY)
    assert life.watch.idle.wish is None
    life.attach()
    life.run(100.0)
    assert life.watch.idle.wish == pytest.approx(0.6 * HEARTBEAT)
    assert life.watch.pause == pytest.approx(0.6 * HEARTBEAT)


@pytest.mark.parametrize("limit", [2.5, 6.0, 15.0])
def test_a_box_that_cuts_what_is_silent(limit: float) -> None:
    """Two WebSockets that a box has cut after the same silence teach its limit."""
    life = Life()
    life.run(limit + 1, limit)
    assert life.watch.idle.wish is None
    life.attach()
    life.run(limit + 1, limit)
    assert life.watch.idle.wish == pytest.approx(max(0.6 * limit, 2.0), abs=0.2)


def test_a_box_that_forgets_and_says_so_when_asked() -> None:
    """Some answer with a reset to the first word after the silence: the silence before that word is what counts."""
    life = Life()
    for _ in range(2):
        life.run(0.5)
        life.hear()
        life.run(0.3)
        life.watch.said(life.now)  # our ack of what came
        life.run(9.0)
        life.say("word")
        life.now += 0.01
        life.watch.broke(life.now)
        life.session.feed(Lane(), [(Ack(life.session.link.outbox.last), 0)])
        life.attach()
    assert life.watch.idle.wish == pytest.approx(0.6 * 9.0, abs=0.2)


def test_a_box_that_forgets_and_says_nothing() -> None:
    """Where the word after the silence is swallowed, the silence before it counts, not our patience after it."""
    life = Life()
    for _ in range(2):
        life.run(0.5)
        life.hear()
        life.run(9.0)
        life.say("word")
        assert life.run(10.0) is not None
        life.session.feed(Lane(), [(Ack(life.session.link.outbox.last), 0)])
        life.attach()
    assert life.watch.idle.wish == pytest.approx(0.6 * 9.0, abs=0.2)


def test_talk_is_no_silence() -> None:
    """WebSockets that break in the midst of talk teach nothing, whatever pauses there were before."""
    life = Life()
    for _ in range(4):
        life.run(8.0)
        life.hear()
        life.run(0.5)
        life.watch.broke(life.now)
        life.attach()
    assert life.watch.idle.wish is None


# ── behind a real box ─────────────────────────────────────────────────────────────────────────────────────────────

LIMIT = 2.6
"""Seconds of silence that the box bears: a little more than the least that can be wished for."""


async def test_two_deaths_and_no_third(place: Mounting) -> None:
    """Behind a box that cuts after less silence than a heartbeat takes, the third connection lives, and all arrives.

    On every transport: a WebSocket and a stream wish for heartbeats, a poll is held for less long.
    """

    async def live(transport: str) -> None:
        here = await place(echo, trial_timeout=1.0)
        diary = Diary()
        async with (
            HostileProxy(here.url, mode=f"idle_kill:{LIMIT}") as proxy,
            hybridws.connect(proxy.url, transports=(transport,), first=["hello"], on_event=diary) as session,
        ):
            assert await take(session, 1) == ["hello"]
            await until(lambda: diary.states.count("resumed") == 2, patience=10 * LIMIT)
            if transport != "poll":
                await until(lambda: here.session.seat and here.session.seat.wish == max(0.6 * LIMIT, 2.0))
            await asyncio.sleep(3 * LIMIT)
            assert diary.states.count("interrupted") == 2
            assert session.online
            await session.send("still here")
            assert await take(session, 1) == ["still here"]
        assert all(event.reason for event in diary.events)

    async with asyncio.TaskGroup() as group:
        for transport in TRANSPORTS:
            group.create_task(live(transport))
