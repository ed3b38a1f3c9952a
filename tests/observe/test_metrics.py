"""Prometheus metrics: fetched from a real server by HTTP, and read by Prometheus's own parser."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

import hybridws
from hybridws.aiohttp import mount
from hybridws.observe.metrics import mount_metrics
from hybridws.observe.words import Few, code_of, direction, why_ended, why_left
from hybridws.session import Closed
from tests.client.ground import Place, echo, listen, take, until
from tests.client.scissors import Scissors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Placing = Callable[..., Awaitable[Place]]

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def registry() -> CollectorRegistry:
    """Give each test a registry: the program's own is one for all."""
    return CollectorRegistry(auto_describe=True)


async def fetch(here: Place, path: str = "/metrics") -> Samples:
    """Fetch the metrics as Prometheus does."""
    async with aiohttp.ClientSession() as http, http.get(here.url.removesuffix("/s") + path) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain")
        families = list(text_string_to_metric_families(await answer.text()))
    return {
        (sample.name.removeprefix("hybridws_"), frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    """Add up what has these labels, and any others."""
    wanted = labels.items()
    return sum(number for (known, has), number in samples.items() if known == name and wanted <= dict(has).items())


async def test_one_client_shows_in_all_that_it_did(place: Placing, registry: CollectorRegistry) -> None:
    """Sessions, opens, packets and bytes each way while it is here; the same counts, its end and lifetime after it."""
    here = await place(echo, partial(mount_metrics, registry=registry))
    async with hybridws.connect(here.url, transports=["websocket"]) as client:
        for number in range(10):
            await client.send(number)
        assert await take(client, 10) == list(range(10))
        now = await fetch(here)
        assert value(now, "sessions", mount="/s", transport="websocket") == 1
        assert value(now, "opens_total", mount="/s", codec="json") == 1
        assert value(now, "packets_total", direction="in") == value(now, "packets_total", direction="out") == 10
        assert value(now, "bytes_total", direction="in") == 10 * len('["m",1]')
        assert value(now, "attaches_total", transport="websocket") == 1
        assert value(now, "closes_total") == value(now, "draining") == 0
    await until(lambda: not here.server.sessions)
    after = await fetch(here)
    assert value(after, "sessions") == 0
    assert value(after, "packets_total", direction="in") == 11, "counters never fall; the last one was the close"
    assert value(after, "attaches_total", transport="websocket") == 1
    assert value(after, "closes_total", code="1000", by="remote", reason="normal") == 1
    assert value(after, "session_seconds_count", mount="/s") == 1
    assert value(after, "session_seconds_bucket", le="60.0") == 1


async def test_polls_are_counted_one_by_one(place: Placing, registry: CollectorRegistry) -> None:
    """`attaches` grows with each poll, so that its rate is the polls per second, during the session and after it."""
    here = await place(echo, partial(mount_metrics, registry=registry))
    async with hybridws.connect(here.url, transports=["poll"]) as client:
        for number in range(10):
            await client.send(number)
            assert await take(client, 1) == [number]
        during = value(await fetch(here), "attaches_total", transport="poll")
        assert during >= 10
    await until(lambda: not here.server.sessions)
    assert value(await fetch(here), "attaches_total", transport="poll") >= during


async def test_breaks_resumes_and_changes_have_reasons(place: Placing, registry: CollectorRegistry) -> None:
    """A cut WebSocket is an interruption, its return a resume; going down to polls is a fallback that says why."""
    here = await place(echo, partial(mount_metrics, registry=registry))
    async with (
        Scissors(here.url) as scissors,
        hybridws.connect(scissors.url, transports=["websocket", "poll"], first=["hi"]) as client,
    ):
        assert await take(client, 1) == ["hi"]
        await until(lambda: here.session.transport == "websocket" and here.session.seat)
        scissors.blocked.add("websocket")
        scissors.cut()
        await until(lambda: here.session.transport == "poll" and len(here.session.transports) >= 2)
        now = await fetch(here)
        assert value(now, "interruptions_total", transport="websocket", reason="broke") >= 1
        assert value(now, "away_seconds_count", mount="/s") >= 1
        assert value(now, "switches_total", before="websocket", after="poll", direction="fallback", reason="broke") == 1
        assert value(now, "sessions", transport="poll") == 1


async def test_a_lost_session_says_how_and_what_was_not_confirmed(place: Placing, registry: CollectorRegistry) -> None:
    """A client that never comes back ends by the network, with the number of packets it never confirmed."""
    here = await place(listen, partial(mount_metrics, registry=registry), resume=0.2, away_after=0.1)
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(f"{here.url}/v1/websocket") as socket:
            await socket.send_str('["i",{"v":1}]')
            await until(lambda: here.server.sessions)
            here.session.send_nowait("never acked")
        await until(lambda: not here.server.sessions)
    now = await fetch(here)
    assert value(now, "closes_total", code="1006", reason="resume_expired", by="network") == 1
    assert value(now, "unconfirmed_total", by="network") == 1


async def test_what_is_refused_is_counted_by_cause(place: Placing, registry: CollectorRegistry) -> None:
    """By the error's name and HTTP status."""
    here = await place(listen, partial(mount_metrics, registry=registry))
    async with aiohttp.ClientSession() as http:
        for _ in range(2):
            await http.post(f"{here.url}/v1/open", headers={"Origin": "https://evil.example"})
        await http.post(f"{here.url}/v1/open", data=b"nonsense")
    now = await fetch(here)
    assert value(now, "refused_total", cause="Forbidden", status="403") == 2
    assert value(now, "refused_total", cause="Malformed", status="400") == 1


async def test_round_trips_outboxes_rooms_and_lag(place: Placing, registry: CollectorRegistry) -> None:
    """What is now: what waits in outboxes, rooms, and how late the loop was when something blocked it."""
    here = await place(listen, partial(mount_metrics, registry=registry), heartbeat=0.2)
    room = here.server.room("lobby")
    async with hybridws.connect(here.url, transports=["websocket"]):
        room.join(here.session)
        await until(lambda: here.session.round_trip)
        time.sleep(0.4)  # noqa: ASYNC251 - blocking the loop is what is measured
        now: Samples = {}

        async def late() -> bool:
            now.update(await fetch(here))
            return value(now, "loop_lag_seconds_count") > value(now, "loop_lag_seconds_bucket", le="0.1")

        while not await late():
            pass
        assert value(now, "round_trip_seconds_count", transport="websocket") >= 1
        assert value(now, "rooms", mount="/s") == 1
        assert value(now, "outbox_bytes") == value(now, "outbox_max_bytes") == 0
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{here.url}/v1/websocket") as socket:
        await until(lambda: not here.server.sessions)
        await socket.send_str('["i",{"v":1}]')
        await until(lambda: here.server.sessions)
        here.session.send_nowait("x" * 100)
        waiting = value(await fetch(here), "outbox_bytes")
        assert waiting == value(await fetch(here), "outbox_max_bytes") == here.session.link.outbox.size > 100


async def test_two_mounts_and_metrics_elsewhere(
    serve: Callable[..., Awaitable[str]], registry: CollectorRegistry
) -> None:
    """`of` shows one application's mounts on another's port; each mount has its label, a sub-application's too."""
    app, below, admin = web.Application(), web.Application(), web.Application()
    mount(app, "/a", echo)
    mount(below, "/b", echo)
    app.add_subapp("/below", below)
    mount_metrics(admin, "/internal/metrics", of=app, registry=registry)
    Gauge("tea_cups", "The program's own", registry=registry).set(3)
    url, admin_url = await serve(app), await serve(admin)
    async with hybridws.connect(f"{url}/a"), hybridws.connect(f"{url}/below/b"):
        now = await fetch(Place(f"{admin_url}/s", None), "/internal/metrics")  # type: ignore[arg-type]
        assert value(now, "opens_total", mount="/a") == value(now, "opens_total", mount="/b") == 1
        assert value(now, "tea_cups") == 3, "and what the program itself counts stands beside it"
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as answer:
        assert answer.status == 404


async def test_open_metrics_for_who_asks(place: Placing, registry: CollectorRegistry) -> None:
    """Prometheus asks for OpenMetrics by its Accept header, and every name and unit passes that stricter parser."""
    here = await place(echo, partial(mount_metrics, registry=registry))
    accept = {"Accept": "application/openmetrics-text; version=1.0.0; charset=utf-8"}
    async with (
        hybridws.connect(here.url),
        aiohttp.ClientSession() as http,
        http.get(here.url.removesuffix("/s") + "/metrics", headers=accept) as answer,
    ):
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        names = {family.name for family in open_metrics(await answer.text())}  # type: ignore[no-untyped-call]
    assert {"hybridws_sessions", "hybridws_opens", "hybridws_packets", "hybridws_loop_lag_seconds"} <= names


async def test_two_on_one_registry_are_refused(
    serve: Callable[..., Awaitable[str]], registry: CollectorRegistry
) -> None:
    """A second application on the same registry is a ValueError at its start; after the first ended, it may have it."""
    first, second = web.Application(), web.Application()
    for app in (first, second):
        mount(app, "/s", echo)
        mount_metrics(app, registry=registry)
    await serve(first)
    runner = web.AppRunner(second)
    with pytest.raises(ValueError, match="Duplicated"):
        await runner.setup()
    await runner.cleanup()


def test_clients_cannot_invent_labels() -> None:
    """Whatever codes and reasons clients send, the labels stay few; the application's own codes are kept."""
    few = Few(limit=3)
    remote: set[Any] = set()
    for code in range(1000, 5000):
        closed = Closed(code, f"reason {code}", "remote")
        remote.add((code_of(closed, few), why_ended(closed)))
    assert len(remote) <= 16
    local = [code_of(Closed(code, "bye", "local"), few) for code in (4000, 4001, 4002, 4003, 4000)]
    assert local == ["4000", "4001", "4002", "other", "4000"]
    assert {why_left(f"the client closed it with {code}") for code in range(1000, 5000)} == {"closed"}
    assert why_left("packet 7 came, and 3 is next") == "fault"


@pytest.mark.parametrize(
    ("before", "after", "way"),
    [
        ("stream", "websocket", "upgrade"),
        ("poll", "stream", "upgrade"),
        ("websocket", "xhr-streaming", "fallback"),
        ("eventsource", "jsonp-polling", "fallback"),
        ("stream", "events", "same"),
    ],
)
def test_directions(before: str, after: str, way: str) -> None:
    """Up is towards a WebSocket, down towards polls."""
    assert direction(before, after) == way
