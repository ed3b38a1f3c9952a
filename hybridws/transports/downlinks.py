"""The HTTP transports that carry frames down to a client: a table with a row for each, and the pump they share."""

from __future__ import annotations

from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote_from_bytes

from hybridws.core import codes
from hybridws.core.sockjs import HEARTBEAT
from hybridws.exchange import Answer, Exchange, Gone
from hybridws.seat import Bell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hybridws.seat import Seat
    from hybridws.session import Session

UNBUFFERED: Final = {"X-Accel-Buffering": "no"}
"""Asks nginx, and the proxies that learned it from nginx, to pass a stream on as it comes."""

XHR_PADDING: Final = b"h" * 2048 + b"\n"
"""Some browsers, antivirus boxes and old proxies show nothing of a response before it has 2 KiB."""
SSE_PADDING: Final = b":%b\n\n" % (b" " * 2048)
NIL_PADDING: Final = b"\xc0" * 2048
HTML_PADDING: Final = 1024
"""Bytes before an old browser starts to run the scripts of a page that is still coming."""

_HTML_HEAD: Final = """<!doctype html>
<html><head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
</head><body><h2>Don't panic!</h2>
  <script>
    document.domain = document.domain;
    var c = parent.%s;
    c.start();
    function p(d) {c.message(d);};
    window.onload = function() {c.stop();};
  </script>
"""
_UNSAFE_IN_SCRIPT: Final = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})


def script_text(payload: bytes) -> str:
    """Write a frame as a JavaScript string that ends neither itself nor the script around it."""
    return encode_basestring(payload.decode()).translate(_UNSAFE_IN_SCRIPT)


def _line(payload: bytes, _callback: str) -> bytes:
    return payload + b"\n"


def _event(payload: bytes, _callback: str) -> bytes:
    """Write an event (HTML standard, Server-sent events): sockjs-client decodes percent escapes in its data."""
    for char in (b"%", b"\r", b"\n", b"\0"):
        payload = payload.replace(char, quote_from_bytes(char).encode())
    return b"data: %b\r\n\r\n" % payload


def _sse(payload: bytes, _mark: str) -> bytes:
    """Write a batch as one event, a line a packet; JSON in one line holds no line break."""
    return b"data: %b\n\n" % payload.replace(b"\n", b"\ndata: ")


def _sse_with_id(payload: bytes, mark: str) -> bytes:
    """Write a batch as one event whose id is the count so far: what EventSource sends back as Last-Event-ID."""
    return b"id: %b\n%b" % (mark.encode(), _sse(payload, mark))


def _bare(payload: bytes, _mark: str) -> bytes:
    return payload


def _html_prelude(callback: str) -> bytes:
    return (_HTML_HEAD % callback).ljust(HTML_PADDING).encode() + b"\r\n\r\n"


def _html_script(payload: bytes, _callback: str) -> bytes:
    return f"<script>\np({script_text(payload)});\n</script>\r\n".encode()


def _jsonp(payload: bytes, callback: str) -> bytes:
    # The comment keeps the answer from being taken for a Flash file (CVE-2014-4671).
    return f"/**/{callback}({script_text(payload)});\r\n".encode()


class Downlink(NamedTuple):
    """One HTTP transport: how its answer looks."""

    name: str
    content_type: str
    wrap: Callable[[bytes, str], bytes]
    """Write one frame; the second argument is the callback's name, or else the count of packets so far."""
    prelude: Callable[[str], bytes] | None = None
    """What a stream begins with; None for a poll, whose answer is one frame."""


DOWNLINKS: Final = {
    "xhr": Downlink("xhr-polling", "application/javascript; charset=UTF-8", _line),
    "xhr_streaming": Downlink(
        "xhr-streaming", "application/javascript; charset=UTF-8", _line, lambda _callback: XHR_PADDING
    ),
    "eventsource": Downlink("eventsource", "text/event-stream", _event, lambda _callback: b"\r\n"),
    "htmlfile": Downlink("htmlfile", "text/html; charset=UTF-8", _html_script, _html_prelude),
    "jsonp": Downlink("jsonp-polling", "application/javascript; charset=UTF-8", _jsonp),
}
"""The HTTP transports of SockJS, by the last part of their address."""

STREAMS: Final = {
    "json": Downlink("stream", "text/event-stream", _sse, lambda _mark: SSE_PADDING),
    "msgpack": Downlink("stream", "application/octet-stream", _bare, lambda _mark: NIL_PADDING),
}
"""The native stream, by codec."""

EVENTS: Final = Downlink("events", "text/event-stream", _sse_with_id, lambda _mark: b"retry: 1000\n" + SSE_PADDING)


class Response:
    """One answer of a downlink under way: a whole one for a poll, a stream that grows by a chunk a frame otherwise."""

    __slots__ = ("_callback", "_exchange", "_headers", "_limit", "_row", "sent")

    def __init__(
        self, exchange: Exchange, row: Downlink, headers: Mapping[str, str], limit: int, callback: str = ""
    ) -> None:
        """Prepare an answer with these headers that ends after `limit` bytes."""
        self._exchange = exchange
        self._row = row
        self._callback = callback
        self._headers = {"Content-Type": row.content_type, **headers}
        self._limit = limit
        self.sent = 0

    async def begin(self) -> None:
        """Send the head of a stream. Raises Gone."""
        if self._row.prelude:
            await self._exchange.start({**self._headers, **UNBUFFERED})
            await self._exchange.write(self._row.prelude(self._callback))

    async def say(self, payload: bytes, count: int = 0) -> None:
        """Write one frame; `count` is how many packets the client then has had in all. Raises Gone."""
        data = self._row.wrap(payload, self._callback or str(count))
        self.sent += len(data)
        if self._row.prelude:
            await self._exchange.write(data)
        else:
            await self._exchange.answer(Answer(200, data, self._headers))

    @property
    def full(self) -> bool:
        """Whether nothing more fits: a poll holds one frame, a stream `limit` bytes."""
        return self.sent >= (self._limit if self._row.prelude else 1)

    async def end(self) -> None:
        """End the answer. Raises Gone."""
        if self._row.prelude:
            await self._exchange.end()
        elif not self.sent:
            await self._exchange.answer(Answer(204, b"", self._headers))


async def say_once(response: Response, payload: bytes) -> None:
    """Answer with one frame and nothing else. Raises Gone."""
    await response.begin()
    await response.say(payload)
    await response.end()


class Manner(NamedTuple):
    """What a dialect says on a stream besides its messages."""

    heartbeat: bytes
    answered: bool
    """Whether the client answers a heartbeat, so that silence after one means that it is gone."""
    refuse: Callable[[int, str], bytes] | None = None
    """Writes why a stream ends before its time; None where the dialect has no words for it."""


SOCKJS_MANNER: Final = Manner(HEARTBEAT, answered=False)


class Pump:
    """One HTTP transport at work: it has a seat, and writes into a response what the seat has for it."""

    __slots__ = ("bell", "exchange", "seat")

    def __init__(self, exchange: Exchange, session: Session, name: str) -> None:
        """Take the seat for a transport of this name."""
        self.exchange = exchange
        self.bell = Bell()
        self.seat: Seat = session.attach(name, self._wake)
        self.seat.probe = lambda: exchange.gone

    def _wake(self) -> None:
        self.bell.ring()
        if self.seat.over and self.seat.writing:
            self.exchange.abort()  # nobody takes what is being written: it would never end

    async def run(self, response: Response, manner: Manner) -> None:
        """Write until the response is full, the session has ended, the client has gone, or another has the seat."""
        seat = self.seat
        try:
            await response.begin()
            while not (seat.over or response.full):
                wrote = await self._write(response, manner)
                if seat.finished:  # an ack that another request brought may have ended it
                    break
                if not wrote:
                    await self.bell.wait()
            code, reason = seat.verdict
            if manner.refuse and code in codes.ABRUPT:
                await response.say(manner.refuse(code, reason))
            await response.end()
            seat.leave("the response was full" if response.full else "the session has ended")
        except Gone:
            seat.cut("the connection broke")
        finally:
            seat.cut("the request was cancelled")  # changes nothing where the seat is over

    async def _write(self, response: Response, manner: Manner) -> bool:
        """Write what is there; tell whether there was anything. Raises Gone."""
        seat = self.seat
        frames = seat.pending()
        if not frames and not seat.beat:
            return False
        if self.exchange.gone:
            raise Gone
        if not frames:
            seat.sent = True
            seat.asked = manner.answered
            await response.say(manner.heartbeat, seat.lane.written)
        seat.beat = False
        for frame in frames:
            seat.wrote(frame)
            await response.say(frame.payload, seat.lane.written)
            seat.delivered()
            if response.full:
                break
        seat.lane.on_trial = False  # only the first batch is the ack alone
        return True
