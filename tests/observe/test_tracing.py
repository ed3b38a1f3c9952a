"""OpenTelemetry traces of real sessions, taken by the SDK's own exporter."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import aiohttp
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import hybridws
from hybridws.observe.tracing import trace_sessions
from tests.client.ground import Place, echo, listen, take, until
from tests.client.scissors import Scissors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from opentelemetry.sdk.trace import ReadableSpan

    Placing = Callable[..., Awaitable[Place]]

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


class Spans:
    """What was traced."""

    def __init__(self) -> None:
        """Begin."""
        self._kept = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._kept))

    def all(self) -> list[ReadableSpan]:
        """Return the spans that have ended, in that order."""
        return list(self._kept.get_finished_spans())

    def names(self) -> list[str]:
        """Return their names."""
        return [span.name for span in self.all()]

    def one(self, name: str) -> ReadableSpan:
        """Return the first of a name."""
        return next(span for span in self.all() if span.name == name)


@pytest.fixture
def spans() -> Spans:
    """Trace into memory."""
    return Spans()


async def test_a_session_and_its_transports_are_spans_of_one_trace(place: Placing, spans: Spans) -> None:
    """The break and the return of a session stand below it, with reasons; the whole says what went through."""
    here = await place(echo, partial(trace_sessions, tracer_provider=spans.provider))
    async with Scissors(here.url) as scissors, hybridws.connect(scissors.url, transports=["websocket"]) as client:
        await client.send(1)
        assert await take(client, 1) == [1]
        scissors.cut()
        await client.send(2)
        assert await take(client, 1) == [2]
    await until(lambda: "hybridws session" in spans.names())
    names = spans.names()
    assert names[:2] == ["hybridws attach", "hybridws resume"]
    assert names.count("hybridws attach") == 2
    session = spans.one("hybridws session")
    assert session.kind is SpanKind.SERVER
    assert session.status.status_code is not StatusCode.ERROR
    facts = dict(session.attributes or {})
    assert facts["hybridws.mount"] == "/s"
    assert (facts["hybridws.close.code"], facts["hybridws.close.by"], facts["hybridws.packets_out"]) == (
        1000,
        "remote",
        2,
    )
    broken = spans.one("hybridws attach")
    assert broken.status.status_code is StatusCode.ERROR
    assert (broken.attributes or {})["hybridws.reason"] == "the connection broke"
    assert session.context
    for span in spans.all():
        if span is not session:
            assert span.parent
            assert span.parent.span_id == session.context.span_id


async def test_an_upgrade_is_a_span(place: Placing, spans: Spans) -> None:
    """The trial of a WebSocket beside a stream ends well, or with the reason why it did not."""
    here = await place(listen, partial(trace_sessions, tracer_provider=spans.provider), trial_timeout=0.2)
    async with aiohttp.ClientSession() as http, http.post(f"{here.url}/v1/open", data=b'["i",{"v":1}]'):
        sid, key = here.session.id, here.session.key
        async with http.post(f"{here.url}/v1/{sid}/stream", data=f'["@","{sid}","{key}",1,0]'):
            async with http.ws_connect(f"{here.url}/v1/websocket") as socket:
                await socket.send_str(f'["@","{sid}","{key}",2,0]')
                await until(lambda: "hybridws upgrade" in spans.names())
            failed = spans.one("hybridws upgrade")
            assert failed.status.status_code is StatusCode.ERROR
            async with http.ws_connect(f"{here.url}/v1/websocket") as socket:
                await socket.send_str(f'["@","{sid}","{key}",3,0]')
                await socket.receive()
                await socket.send_str('["h"]')
                await until(lambda: spans.names().count("hybridws upgrade") == 2)
    good = [span for span in spans.all() if span.name == "hybridws upgrade"][1]
    assert (good.attributes or {})["hybridws.reason"] == "took over"
    assert good.status.status_code is not StatusCode.ERROR


async def test_a_page_s_trace_goes_on(place: Placing, spans: Spans) -> None:
    """The request that opens a session may name a trace (W3C traceparent); the session's span is its child."""
    here = await place(listen, partial(trace_sessions, tracer_provider=spans.provider))
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    async with aiohttp.ClientSession() as http:
        await http.post(f"{here.url}/v1/open", data=b'["i",{"v":1}]\n["#",1]\n["x",1000,""]', headers=headers)
        await here.session.close() if here.server.sessions else None
    await until(lambda: "hybridws session" in spans.names())
    session = spans.one("hybridws session")
    assert session.context
    assert format(session.context.trace_id, "032x") == TRACE
    assert session.parent
    assert format(session.parent.span_id, "016x") == PARENT


async def test_a_lost_session_is_an_error(place: Placing, spans: Spans) -> None:
    """Who never comes back leaves a span with an error, and so does the resume that did not come about."""
    here = await place(listen, partial(trace_sessions, tracer_provider=spans.provider), resume=0.2, away_after=0.1)
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(f"{here.url}/v1/websocket") as socket:
            await socket.send_str('["i",{"v":1}]')
            await until(lambda: here.server.sessions and here.session.seat)
        await until(lambda: "hybridws session" in spans.names())
    assert spans.one("hybridws session").status.status_code is StatusCode.ERROR
    assert spans.one("hybridws resume").status.status_code is StatusCode.ERROR
