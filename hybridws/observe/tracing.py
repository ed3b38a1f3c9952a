"""OpenTelemetry traces of sessions: `trace_sessions`. Needs `pip install 'hybridws[tracing]'`.

A session is one span. Below it stands a span for each stay on a transport (`attach`), for each trial of a better one
(`upgrade`), and for each time without a transport (`resume`). The session's span belongs to the trace of the request
that opened it, if that says one (`traceparent`), so a page's trace goes on in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from hybridws.core import codes
from hybridws.events import Attached, Ended, Failed, Left, Opened, Tried, TurnedAway
from hybridws.observe.watching import watch

try:
    from opentelemetry import propagate, trace
except ImportError as missing:
    raise ImportError("hybridws.observe.tracing needs opentelemetry-api: pip install 'hybridws[tracing]'") from missing

if TYPE_CHECKING:
    from aiohttp import web
    from opentelemetry.trace import Span, Tracer, TracerProvider

    from hybridws.dock import Stay
    from hybridws.events import Event
    from hybridws.server import Server
    from hybridws.session import Closed, Session

NANO: Final = 1_000_000_000


def trace_sessions(
    app: web.Application, *, of: web.Application | None = None, tracer_provider: TracerProvider | None = None
) -> None:
    """Make spans, while `app` runs, of the sessions that are mounted on `of` (default: `app`).

    They go to `tracer_provider`, or else to the one that the program has set for all of OpenTelemetry.
    """
    tracer = trace.get_tracer("hybridws", tracer_provider=tracer_provider)
    traces: WeakKeyDictionary[Session, Trace] = WeakKeyDictionary()

    def observe(server: Server, event: Event) -> None:
        if isinstance(event, Opened):
            traces[event.session] = Trace(tracer, server, event.session)
        elif not isinstance(event, TurnedAway) and (known := traces.get(event.session)):
            known.note(event)

    watch(app, app if of is None else of, observe)


class Trace:
    """The spans of one session."""

    __slots__ = ("_below", "_open", "_root", "_stay", "_tracer")

    def __init__(self, tracer: Tracer, server: Server, session: Session) -> None:
        """Begin the session's own span."""
        self._tracer = tracer
        self._root = tracer.start_span(
            "hybridws session",
            context=propagate.extract(session.http_request.headers),
            kind=trace.SpanKind.SERVER,
            attributes={
                "hybridws.mount": server.name,
                "hybridws.session": session.id,
                "hybridws.codec": session.link.codec.name,
            },
        )
        self._below = trace.set_span_in_context(self._root)
        self._open: dict[str, Span] = {}  # by what they are about: one of each at a time
        self._stay: Stay | None = None

    def note(self, event: Event) -> None:
        """Begin or end spans as an event says."""
        match event:
            case Tried(_, transport):
                self._begin("upgrade", transport)
            case Failed(_, _, reason):
                self._end("upgrade", reason, failed=True)
            case Attached(_, stay, _):
                self._end("upgrade", "took over")
                self._end("resume", f"over {stay.name}")
                self._leave()
                self._begin("attach", stay.name)
                self._stay = stay
            case Left(session, stay):
                broke = stay.reason != "superseded"
                self._leave(failed=broke)
                if broke and session.closed is None:
                    self._begin("resume", stay.name)
            case Ended(session):
                self._finish(session, session.closed)
            case _:
                pass

    def _begin(self, what: str, transport: str) -> None:
        attributes = {"hybridws.transport": transport}
        self._open[what] = self._tracer.start_span(f"hybridws {what}", context=self._below, attributes=attributes)

    def _end(self, what: str, reason: str, *, failed: bool = False, at: float | None = None) -> None:
        if span := self._open.pop(what, None):
            _close(span, reason, failed=failed, at=at)

    def _leave(self, *, failed: bool = False) -> None:
        """End the span of the present stay, at the time at which that ended."""
        if self._stay:
            self._end("attach", self._stay.reason, failed=failed, at=self._stay.until)
            self._stay = None

    def _finish(self, session: Session, closed: Closed | None) -> None:
        self._leave()
        self._end("upgrade", "the session ended")
        self._end("resume", "the session ended", failed=True)
        facts = {f"hybridws.{name}": value for name, value in session.traffic._asdict().items()}
        code, reason, by = closed or (0, "", "")
        self._root.set_attributes({**facts, "hybridws.close.code": code, "hybridws.close.by": by})
        _close(self._root, reason, failed=by == "network" or code == codes.HANDLER_FAILED)


def _close(span: Span, reason: str, *, failed: bool = False, at: float | None = None) -> None:
    """End a span now, or at a time (seconds since the epoch)."""
    span.set_attribute("hybridws.reason", reason)
    if failed:
        span.set_status(trace.StatusCode.ERROR, reason)
    span.end(None if at is None else int(at * NANO))
