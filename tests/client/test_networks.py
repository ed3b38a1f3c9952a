"""What the client reaches on hostile networks: each row of docs/networks.md, with five times the time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

import hybridws
from hybridws.client.watch import LEAST_PATIENCE
from hybridws.core import ladder
from hybridws.core.ladder import Ladder
from hybridws.testing import HostileProxy
from tests.client.ground import CODECS, TRANSPORTS, Diary, echo, listen, take, until, within

if TYPE_CHECKING:
    from collections.abc import Callable

    from hybridws import Session
    from hybridws.client import Connection
    from tests.client.ground import Mounting

SLACK: Final = 5
"""The figures are those of a machine with nothing else to do; a busy one is this much slower at most."""
WORDS: Final = 60
TRIP: Final = 0.1
"""Seconds of a slow network's round trip."""
MODES: Final = (
    "ok",
    "ws_refused",
    "ws_refused:400",
    "ws_refused:502",
    "ws_hangs",
    "ws_silent",
    "ws_dies:300",
    "buffers",
    "buffers_first:4k",
    "hangs_and_buffers",
    "ws_silent+buffers",
    "idle_kill:1",
    "http10",
    "http10+buffers",
    "bad_gateway:3",
    "replays",
    "reorders",
)


async def greet(session: Session) -> None:
    """Push a word 100 ms after the opening, and echo."""

    async def push() -> None:
        await asyncio.sleep(0.1)
        await session.send("pushed")

    pushing = asyncio.create_task(push())
    await echo(session)
    pushing.cancel()


# ── first messages ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", MODES)
async def test_first_messages(place: Mounting, mode: str) -> None:
    """An echo that is sent with the opening is back within 250 ms, and a word pushed after 100 ms within 600."""
    here = await place(greet)
    async with HostileProxy(here.url, mode=mode) as proxy:
        begun = time.perf_counter()
        async with hybridws.connect(proxy.url, first=["hello"]) as session:
            assert await take(session, 1) == ["hello"]
            assert time.perf_counter() - begun <= 0.25 * SLACK
            assert await take(session, 1) == ["pushed"]
            assert time.perf_counter() - begun <= 0.6 * SLACK


@pytest.mark.parametrize("mode", ["ok", "ws_hangs", "hangs_and_buffers"])
async def test_first_message_in_one_round_trip(place: Mounting, mode: str) -> None:
    """At 100 ms of round trip the first echo needs 1.2 of them, on any network that passes plain HTTP."""
    here = await place(echo)
    async with HostileProxy(here.url, mode=f"{mode}+slow:0:{TRIP * 1000:.0f}") as proxy:
        begun = time.perf_counter()
        async with hybridws.connect(proxy.url, first=["hello"]) as session:
            assert await take(session, 1) == ["hello"]
            assert time.perf_counter() - begun <= 1.2 * TRIP * SLACK


async def test_a_websocket_in_two_round_trips(place: Mounting) -> None:
    """On an open network the WebSocket is in use two round trips after the opening."""
    here = await place(echo)
    async with (
        HostileProxy(here.url, mode=f"slow:0:{TRIP * 1000:.0f}") as proxy,
        hybridws.connect(proxy.url) as session,
    ):
        assert await until(lambda: session.transport == "websocket") <= 2 * TRIP * SLACK


# ── changes in mid-session ────────────────────────────────────────────────────────────────────────────────────────

TURNS: Final = ("ws_hangs", "ws_silent", "ws_refused", "hangs_and_buffers", "http10+buffers", "ok")


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("mode", TURNS)
@pytest.mark.parametrize("how", ["cut", "freeze"])
@pytest.mark.matrix(one_in=3)
async def test_a_network_that_turns_hostile(place: Mounting, how: str, mode: str, codec: Any) -> None:  # noqa: ANN401 - a Literal
    """In mid-session another network takes over: with something to send the client talks again within 2 s."""
    here = await place(echo)
    async with HostileProxy(here.url) as proxy, hybridws.connect(proxy.url, codec=codec) as session:
        await until(lambda: here.session.transport == "websocket" and session.online)
        await proxy.flip(mode, cut=how == "cut", freeze=how == "freeze")
        begun = time.perf_counter()
        await session.send("still there?")
        assert await take(session, 1, 2 * SLACK) == ["still there?"]
        assert time.perf_counter() - begun <= 2 * SLACK


@pytest.mark.parametrize("parked", [0.0, 0.3], ids=["at-once", "when-it-is-quiet"])
@pytest.mark.parametrize("transport", ["stream", "poll"])
async def test_http_that_freezes(place: Mounting, transport: str, parked: float) -> None:
    """Connections over which nothing passes any more are replaced within 2 s, if there is something to send.

    Also where new connections get through, so that the server hears us and answers on one that is dead.
    """
    here = await place(echo)
    async with HostileProxy(here.url) as proxy, hybridws.connect(proxy.url, transports=(transport,)) as session:
        await session.send(1)
        assert await take(session, 1) == [1]
        await asyncio.sleep(parked)
        proxy.freeze()
        await session.send(2)
        assert await take(session, 1, 2 * SLACK) == [2]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_who_talks_on_while_a_connection_freezes(place: Mounting, transport: str) -> None:
    """What is said over other connections must not hide for how long nothing has come over the one that is dead."""
    here = await place(echo)
    async with HostileProxy(here.url) as proxy, hybridws.connect(proxy.url, transports=(transport,)) as session:
        await session.send("before")
        assert await take(session, 1) == ["before"]
        await asyncio.sleep(0.1)  # a poll is held now
        proxy.freeze()

        async def talk() -> None:
            while True:
                await session.send("still there?")
                await asyncio.sleep(0.02)

        talking = asyncio.create_task(talk())
        assert await take(session, 1, 2 * SLACK) == ["still there?"]
        talking.cancel()


async def test_who_only_talks_over_polls_asks_once_a_word(place: Mounting) -> None:
    """Each word takes one request, on a connection that is kept: nothing is asked anew because no answer is owed."""
    here = await place(listen)
    async with HostileProxy(here.url) as proxy, hybridws.connect(proxy.url, transports=("poll",)) as session:
        await asyncio.sleep(0.3)  # a poll is held now
        before = proxy.counters
        for word in range(WORDS):
            await session.send(word)
            await asyncio.sleep(0.05)
        made = proxy.counters
        assert made.requests - before.requests <= WORDS + 5
        assert made.connections - before.connections <= 2


async def test_silence_on_both_sides(place: Mounting) -> None:
    """Where neither side has anything to send, a dead network is noticed within the heartbeat and 10 s."""
    here = await place(echo, heartbeat=1.0)

    async def live(transport: str) -> None:
        diary = Diary()
        async with (
            HostileProxy(here.url) as proxy,
            hybridws.connect(proxy.url, transports=(transport,), on_event=diary) as session,
        ):
            await session.send(1)
            assert await take(session, 1) == [1]
            await asyncio.sleep(0.1)  # a poll is held now
            proxy.freeze()
            assert await until(lambda: "resumed" in diary.states, (1 + 10) * 2) <= (1 + 10) * 2
            await session.send(2)
            assert await take(session, 1) == [2]

    async with asyncio.TaskGroup() as group:
        for transport in TRANSPORTS:
            group.create_task(live(transport))


async def test_a_refusal_is_not_late(place: Mounting) -> None:
    """Only an answer that does not come lengthens the patience with the next one: a gateway's 502 came at once."""
    here = await place(echo)
    async with HostileProxy(here.url) as proxy, hybridws.connect(proxy.url, transports=("poll",)) as session:
        await until(lambda: session.online)

        def failures(word: str) -> list[str]:
            return [why for attempt in session.info.attempts if (why := attempt.failure) and word in why]

        await proxy.flip("bad_gateway:1", cut=True)
        await until(lambda: len(failures("status 502")) >= 3, 3.5 * SLACK)
        usual = max(LEAST_PATIENCE, 4 * session.info.round_trip)
        proxy.mode = "slow:0:60s"
        await until(lambda: failures("no answer within"), 30)
        assert float(failures("no answer within")[0].split()[-2]) <= 4 * usual  # a POST may take twice as long
        await proxy.flip("ok", cut=True)  # or its goodbye would be waited for


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_plain_cut(place: Mounting, transport: str) -> None:
    """After a cut the next echo takes 50 ms on loopback."""
    here = await place(echo)
    async with HostileProxy(here.url) as proxy, hybridws.connect(proxy.url, transports=(transport,)) as session:
        await session.send(0)
        assert await take(session, 1) == [0]
        took: list[float] = []
        for number in range(5):
            await until(lambda: session.online and here.session.seat)
            await asyncio.sleep(0.05)
            proxy.cut()
            begun = time.perf_counter()
            await session.send(number)
            assert await take(session, 1) == [number]
            took.append(time.perf_counter() - begun)
        assert sorted(took)[2] <= 0.05 * SLACK


# ── back to WebSocket, and away from it ───────────────────────────────────────────────────────────────────────────


def script(ladder: Ladder, works: Callable[[float], bool], lives: float, chance: float, until: float) -> list[float]:
    """Live through `until` seconds in no time: each WebSocket that works dies after `lives` s. Return all tries."""
    rung = ladder.rungs["websocket"]
    now, tries = 0.0, []
    while now < until:
        if "websocket" not in ladder.due(now):
            now = ladder.next_due("stream", now) or now
            continue
        tries.append(now)
        if works(now):
            rung.proved()
            if now + lives >= until:
                break
            now += lives
            rung.died(now, lives, explained=False, chance=chance)
        else:
            now += ladder_proof()
            rung.failed(now, chance)
    return tries


def ladder_proof() -> float:
    """Return the seconds that a try takes which nobody answers."""
    return ladder.PROOF


@pytest.mark.parametrize("lifted", [7.0, 33.0, 64.9, 90.0, 119.0])
@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_back_when_the_proxy_is_lifted(lifted: float, chance: float) -> None:
    """Within 2 min of the fall a WebSocket is in use again 16 s after the proxy let it (10 s, jitter, one try)."""
    tries = script(Ladder(TRANSPORTS), lambda now: now >= lifted, 1e9, chance, 1000.0)
    assert tries[-1] - lifted <= 10 * 1.1 + ladder.PROOF


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_back_out_of_a_first_quarantine(chance: float) -> None:
    """After a first quarantine it takes 75 s at most."""
    rungs = Ladder(TRANSPORTS)
    tries = script(rungs, lambda _now: True, 1.0, chance, 100.0)
    assert tries[1] - tries[0] == pytest.approx(1.0)
    assert tries[2] - tries[1] <= 75


def test_at_once_when_the_network_changes() -> None:
    """A change of network ends a quarantine."""
    rungs = Ladder(TRANSPORTS)
    script(rungs, lambda _now: True, 1.0, 0.5, 10.0)
    assert rungs.due(11.0)[0] != "websocket"
    rungs.network_changed(11.0)
    assert rungs.due(11.0)[0] == "websocket"


async def test_back_in_real_time(place: Mounting) -> None:
    """The client itself goes back, without being told: 15 s after the proxy was lifted at the latest."""
    here = await place(echo)
    async with HostileProxy(here.url, mode="ws_refused") as proxy, hybridws.connect(proxy.url) as session:
        await until(lambda: proxy.counters.upgrades and session.transport == "stream")
        proxy.mode = "ok"
        assert await until(lambda: session.transport == "websocket", 2 * 15) <= 2 * 15
        await session.send(1)
        assert await take(session, 1) == [1]


@pytest.mark.parametrize("life", [50, 400])
async def test_a_websocket_that_keeps_dying(place: Mounting, life: int) -> None:
    """After two early deaths the session is on HTTP, and a message every 20 ms shows no gap."""
    stop = asyncio.Event()

    async def handler(session: Session) -> None:
        number = 0
        while not stop.is_set():
            await session.send(number)
            number += 1
            await asyncio.sleep(0.02)

    here = await place(handler)
    async with HostileProxy(here.url, mode=f"ws_dies:{life}") as proxy, hybridws.connect(proxy.url) as session:
        gap, last, got = 0.0, time.perf_counter(), []
        async for message in session:
            now = time.perf_counter()
            gap, last = max(gap, now - last), now
            got.append(message)
            sockets = [attempt for attempt in session.info.attempts if attempt.transport == "websocket"]
            if len(sockets) == 2 and all(attempt.failure for attempt in sockets) and session.transport == "stream":
                break
        await asyncio.sleep(3 * life / 1000)
        assert proxy.counters.upgrades == 2
        assert session.transport == "stream"
        assert got == list(range(len(got)))
        assert gap < 0.2 * SLACK
        stop.set()


# ── nothing lost ──────────────────────────────────────────────────────────────────────────────────────────────────


async def talk_through(
    place: Mounting,
    mode: str,
    transports: tuple[str, ...],
    codec: Any,  # noqa: ANN401 - a Literal
    *,
    cuts: int,
    count: int,
) -> None:
    """Let both sides say `count` numbers at 200 a second, and check that each hears all of them, once and in order."""
    heard: list[Any] = []
    ended = asyncio.Event()

    async def talk(session: Session | Connection) -> None:
        for number in range(count):
            await session.send(number)
            await asyncio.sleep(0.005)

    async def handler(session: Session) -> None:
        talking = asyncio.create_task(talk(session))
        heard.extend(await take(session, count, 60))
        await talking
        await ended.wait()

    here = await place(handler)
    async with (
        HostileProxy(here.url, mode=mode) as proxy,
        hybridws.connect(proxy.url, transports=transports, codec=codec) as session,
    ):

        async def cut() -> None:
            for _ in range(cuts):
                await asyncio.sleep(count * 0.005 / (cuts + 1))
                proxy.cut()

        async with asyncio.TaskGroup() as group:
            group.create_task(talk(session))
            group.create_task(cut())
            got = await take(session, count, 60)
        await until(lambda: len(heard) == count, 20)
        theirs = here.session
        ended.set()
    await until(lambda: theirs.seat is None)
    assert got == list(range(count))
    assert heard == list(range(count))


ORDERS: Final = [(name,) for name in TRANSPORTS] + [TRANSPORTS, ("websocket", "poll"), ("stream", "poll")]


@pytest.mark.matrix(one_in=3)
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("transports", ORDERS, ids="+".join)
async def test_cuts_lose_nothing(place: Mounting, transports: tuple[str, ...], codec: str) -> None:
    """200 messages a second each way, and eight cuts: 0 lost, 0 repeated, 0 out of order."""
    await talk_through(place, "slow:0:20", transports, codec, cuts=8, count=400)


@pytest.mark.matrix(one_in=2)
@pytest.mark.parametrize("transports", ORDERS[:4], ids="+".join)
@pytest.mark.parametrize(
    "mode", ["replays", "replays:300", "reorders:20", "bad_gateway:3", "http10", "idle_kill:100ms"]
)
async def test_networks_that_meddle(place: Mounting, mode: str, transports: tuple[str, ...]) -> None:
    """POSTs sent twice, old polls delivered late, requests that overtake each other, stray 502s: 0 / 0 / 0."""
    if mode == "http10" and transports == ("websocket",):
        transports = ("websocket", "poll")  # no WebSocket passes there
    await talk_through(place, mode, transports, "json", cuts=1, count=150)


# ── much at once ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("codec", CODECS)
async def test_throughput_over_polls(place: Mounting, codec: Any) -> None:  # noqa: ANN401 - a Literal
    """At 100 ms of round trip polls carry 1,000 messages of 100 bytes a second, each way at once."""
    count = 2000
    heard: list[Any] = []
    words = "x" * 100
    ended = asyncio.Event()

    async def handler(session: Session) -> None:
        async def push() -> None:
            for _ in range(count):
                await session.send(words)

        pushing = asyncio.create_task(push())
        heard.extend(await take(session, count, 60))
        await pushing
        await ended.wait()

    here = await place(handler)
    async with (
        HostileProxy(here.url, mode=f"slow:0:{TRIP * 1000:.0f}") as proxy,
        hybridws.connect(proxy.url, transports=("poll",), codec=codec) as session,
    ):
        begun = time.perf_counter()
        receiving = asyncio.create_task(take(session, count, 60))
        for _ in range(count):
            await session.send(words)
        await within(receiving, 60)
        await until(lambda: len(heard) == count)
        assert count / (time.perf_counter() - begun) >= 1000 / SLACK
        ended.set()


@pytest.mark.parametrize("frozen", [False, True], ids=["application", "network"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_client_that_has_stopped_reading(place: Mounting, transport: str, *, frozen: bool) -> None:
    """20,000 messages of 10 KB: the outbox stays within 2 buffers and a batch, and the sender waits."""
    most, sent = 0, 0
    begun = asyncio.Event()

    async def handler(session: Session) -> None:
        nonlocal most, sent
        await begun.wait()
        for _ in range(20_000):
            await session.send("x" * 10_000)
            sent += 1
            most = max(most, session.link.outbox.size)

    here = await place(handler)
    async with (
        HostileProxy(here.url) as proxy,
        hybridws.connect(proxy.url, transports=(transport,), close_timeout=0.2) as session,
    ):
        await until(lambda: here.session.transport == transport)
        theirs = here.session
        if frozen:
            await proxy.flip("bad_gateway:1", freeze=True)
        begun.set()
        await until(lambda: theirs.senders == 1)
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        options = theirs.link.options
        assert most <= 2 * options.buffer + options.max_batch
        assert sent < 20_000
        assert session.session.link.inbox_size <= 1.5 * options.buffer + options.max_batch
        theirs.lose(1006, "the test is over")


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "carried on"])
async def test_a_network_that_turns_slow(place: Mounting, *, cut: bool) -> None:
    """A session that began on a quick network lives on when the round trip becomes 2.5 s: nobody gives up too early."""
    here = await place(echo)
    async with HostileProxy(here.url) as proxy, hybridws.connect(proxy.url) as session:
        await session.send("quick")
        assert await take(session, 1) == ["quick"]
        await proxy.flip("slow:1000000:2500", cut=cut)
        for number in range(20):
            await session.send(number)
        assert await take(session, 20, 60) == list(range(20))
        assert session.info.resets == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("way", ["down", "up"])
async def test_a_network_that_cuts_what_is_large(place: Mounting, way: str, transport: str) -> None:
    """Each connection is cut after 20 kB, and five times as much waits: it gets through, in smaller pieces."""
    words = [f"{number} " + 1000 * "x" for number in range(100)]
    arrived: list[object] = []
    begun = asyncio.Event()

    async def handler(session: Session) -> None:
        await begun.wait()
        if way == "down":
            for word in words:
                await session.send(word)
        async for message in session:
            arrived.append(message)  # noqa: PERF401 - one by one, for whoever looks meanwhile

    here = await place(handler)
    async with HostileProxy(here.url) as proxy, hybridws.connect(proxy.url, transports=(transport,)) as session:
        await proxy.flip(f"cut:20k:{way}", cut=True)
        begun.set()
        if way == "down":
            assert await take(session, len(words), 60) == words
        else:
            for word in words:
                await session.send(word)
            await until(lambda: len(arrived) == len(words), 60)
            assert arrived == words
        assert session.info.resets == 0
