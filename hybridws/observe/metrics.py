"""Prometheus metrics of all that is mounted: `mount_metrics`. Needs `pip install 'hybridws[metrics]'`.

docs/operations.md lists them with their meaning, and has the questions that they answer. Every label takes few values,
whatever clients do (`words.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from hybridws.aiohttp import servers
from hybridws.events import Attached, Ended, Failed, Left, Opened, Resumed, RoundTrip, Slowed, TurnedAway
from hybridws.observe.census import Census, add_end, count
from hybridws.observe.lag import LoopLag
from hybridws.observe.watching import watch
from hybridws.observe.words import Few, code_of, direction, why_ended, why_left

try:
    from prometheus_client import REGISTRY, Counter, Histogram
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.exposition import choose_encoder
except ImportError as missing:
    raise ImportError("hybridws.observe.metrics needs prometheus_client: pip install 'hybridws[metrics]'") from missing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

    from hybridws.events import Event
    from hybridws.server import Server

LIFETIMES: Final = (1, 5, 15, 60, 300, 900, 3_600, 4 * 3_600, 86_400)
"""Seconds: from a page that is left at once to one that is open all day."""
ABSENCES: Final = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120)
"""Seconds: up to `resume`, after which a session is lost."""
ROUND_TRIPS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
"""Seconds: from the same room to a satellite behind a buffering proxy."""
LAGS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
"""Seconds."""

PREFIX: Final = "hybridws_"


def mount_metrics(
    app: web.Application,
    path: str = "/metrics",
    *,
    of: web.Application | None = None,
    registry: CollectorRegistry = REGISTRY,
) -> Metrics:
    """Serve metrics at `path` for Prometheus to fetch, in its text format or OpenMetrics, as it asks.

    What is mounted on `of` is counted (default: on `app` itself); with another `app`, on a port of its own, the
    metrics stay where the public cannot ask for them. They stand in `registry` beside the program's own, from the start
    of `app` to its end; two applications in one process need a registry each, or ValueError tells of duplicates.
    """
    source = app if of is None else of
    metrics = Metrics()

    async def answer(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
        return web.Response(body=encode(registry), headers=headers)

    async def run(_app: web.Application) -> AsyncIterator[None]:
        metrics.servers = list(servers(source))
        lag = LoopLag(metrics.lag.observe)
        registry.register(metrics)
        lag.start()
        yield
        lag.stop()
        registry.unregister(metrics)

    app.cleanup_ctx.append(run)
    watch(app, source, metrics.observe)
    app.router.add_get(path, answer)
    return metrics


class Metrics:
    """All metrics, as a collector of prometheus_client: what has happened is counted, what is now is looked at."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self.servers: list[Server] = []
        self._gone: dict[str, Census] = {}  # what the sessions that have ended have carried
        self._codes = Few()
        self.lag: Final = _histogram(
            "loop_lag_seconds", "How late the event loop was, looked at 4 times a second", LAGS
        )
        self._opens = _counter("opens", "Sessions opened", "codec")
        self._closes = _counter("closes", "Sessions ended", "code", "reason", "by")
        self._unconfirmed = _counter("unconfirmed", "Packets out not confirmed when their session ended", "by")
        self._refused = _counter("refused", "Requests refused", "cause", "status")
        self._switches = _counter("switches", "Changes of transport", "before", "after", "direction", "reason")
        self._failed = _counter("trials_failed", "Upgrades that did not come about", "transport", "reason")
        self._breaks = _counter("interruptions", "Transports that did not end in order", "transport", "reason")
        self._slowed = _counter("slow", "Times that a client became a slow consumer")
        self._lives = _histogram("session_seconds", "Lifetimes of sessions that ended", LIFETIMES, "mount")
        self._away = _histogram("away_seconds", "How long resumed sessions had no transport", ABSENCES, "mount")
        self._trips = _histogram("round_trip_seconds", "Round trips to clients", ROUND_TRIPS, "mount", "transport")

    # ── what happens ──────────────────────────────────────────────────────────────────────────────────────────────

    def observe(self, server: Server, event: Event) -> None:  # noqa: C901 - a row for each event
        """Count one event."""
        mount = server.name
        match event:
            case Opened(session):
                self._opens.labels(mount, session.link.codec.name).inc()
            case Attached(_, stay, before) if before:
                self._sum(mount).attaches[before.name] += before.attaches
                if before.name != stay.name:
                    way = direction(before.name, stay.name)
                    self._switches.labels(mount, before.name, stay.name, way, why_left(before.reason)).inc()
            case Left(_, stay):
                self._breaks.labels(mount, stay.name, why_left(stay.reason)).inc()
            case Resumed(_, away):
                self._away.labels(mount).observe(away)
            case Failed(_, transport, reason):
                self._failed.labels(mount, transport, why_left(reason)).inc()
            case RoundTrip(session, seconds):
                self._trips.labels(mount, session.transport or "none").observe(seconds)
            case Slowed():
                self._slowed.labels(mount).inc()
            case TurnedAway(fault, _):
                self._refused.labels(mount, type(fault).__name__, str(fault.status)).inc()
            case Ended():
                self._end(server, event)
            case _:
                pass

    def _end(self, server: Server, event: Ended) -> None:
        session, past = event.session, server.past[-1]
        mount, closed = server.name, past.closed
        self._closes.labels(mount, code_of(closed, self._codes), why_ended(closed), closed.by).inc()
        self._lives.labels(mount).observe(max(past.ended_at - past.opened_at, 0.0))
        if past.unconfirmed:
            self._unconfirmed.labels(mount, closed.by).inc(past.unconfirmed)
        add_end(self._sum(mount), session)

    def _sum(self, mount: str) -> Census:
        return self._gone.setdefault(mount, Census())

    # ── what Prometheus asks ──────────────────────────────────────────────────────────────────────────────────────

    def collect(self) -> Iterator[Metric]:
        """Return all metrics, as prometheus_client wants them."""
        for metric in vars(self).values():
            if isinstance(metric, Counter | Histogram):
                yield from metric.collect()
        yield from self._look()

    def _look(self) -> Iterator[Metric]:
        """Walk over the sessions, and say what there is and what has gone through them."""
        table: dict[str, Any] = {}

        def gauge(name: str, what: str, value: float, **labels: str) -> None:
            family = table.get(name) or table.setdefault(
                name, GaugeMetricFamily(PREFIX + name, what, labels=list(labels))
            )
            family.add_metric(list(labels.values()), value)

        def counter(name: str, what: str, value: float, **labels: str) -> None:
            family = table.get(name) or table.setdefault(
                name, CounterMetricFamily(PREFIX + name, what, labels=list(labels))
            )
            family.add_metric(list(labels.values()), value)

        for server in self.servers:
            mount, now, gone = server.name, count(server.sessions), self._sum(server.name)
            for transport, many in now.transports.items():
                gauge("sessions", "Sessions now, by the transport in use", many, mount=mount, transport=transport)
            gauge("sessions_away", "Sessions now whose client is not there", now.away, mount=mount)
            gauge("sessions_slow", "Sessions now whose client is a slow consumer", now.slow, mount=mount)
            gauge("outbox_bytes", "Bytes that wait for acks in all sessions", now.outbox, mount=mount)
            gauge("outbox_max_bytes", "Bytes that wait for acks in the fullest session", now.outbox_max, mount=mount)
            gauge("inbox_bytes", "Bytes that the application has not taken", now.inbox, mount=mount)
            gauge("rooms", "Rooms now", len(server.rooms), mount=mount)
            gauge("draining", "1 while the server is about to stop", server.draining, mount=mount)
            for way in ("in", "out"):
                for unit, what in (("packets", "Packets"), ("bytes", "Bytes of packets")):
                    name = f"{unit}_{way}"
                    value = getattr(now, name) + getattr(gone, name)
                    counter(unit, f"{what} that have gone through sessions", value, mount=mount, direction=way)
            counter("dropped", "Broadcasts that slow consumers missed", now.dropped + gone.dropped, mount=mount)
            for transport, many in (now.attaches + gone.attaches).items():
                counter("attaches", "Requests and connections attached", many, mount=mount, transport=transport)
        yield from table.values()


def _counter(name: str, what: str, *labels: str) -> Counter:
    return Counter(PREFIX + name, what, ("mount", *labels), registry=None)


def _histogram(name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(PREFIX + name, what, labels, buckets=buckets, registry=None)
