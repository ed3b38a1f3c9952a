"""The HTTP transports that carry frames down to a client: a table with a row for each, and the pump they share."""

from __future__ import annotations

from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote_from_bytes

from hybridws.core import codes
from hybridws.core.sockjs import HEARTBEAT
from hybridws.exchange import Answer, Exchange

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

    def begin(self) -> None:
        """Send the head of a stream."""
        if self._row.prelude:
            self._exchange.start({**self._headers, **UNBUFFERED})
            self._exchange.write(self._row.prelude(self._callback))

    def say(self, payload: bytes, count: int = 0) -> None:
        """Write one frame; `count` is how many packets the client then has had in all."""
        data = self._row.wrap(payload, self._callback or str(count))
        self.sent += len(data)
        if self._row.prelude:
            self._exchange.write(data)
        else:
            self._exchange.answer(Answer(200, data, self._headers))

    @property
    def full(self) -> bool:
        """Whether nothing more fits: a poll holds one frame, a stream `limit` bytes."""
        return self.sent >= (self._limit if self._row.prelude else 1)

    def end(self) -> None:
        """End the answer."""
        if self._row.prelude:
            self._exchange.end()
        elif not self.sent:
            self._exchange.answer(Answer(204, b"", self._headers))


def say_once(response: Response, payload: bytes) -> None:
    """Answer with one frame and nothing else."""
    response.begin()
    response.say(payload)
    response.end()


class Manner(NamedTuple):
    """What a dialect says on a stream besides its messages."""

    heartbeat: bytes
    answered: bool
    """Whether the client answers a heartbeat, so that silence after one means that it is gone."""
    refuse: Callable[[int, str], bytes] | None = None
    """Writes why a stream ends before its time; None where the dialect has no words for it."""


SOCKJS_MANNER: Final = Manner(HEARTBEAT, answered=False)


class Pump:
    """One HTTP transport at work: it has a seat, and writes into a response what the seat has for it.

    It writes until the response is full, the session has ended, the client has gone, or another has the seat.
    """

    __slots__ = ("_asked", "_ended", "_exchange", "_expires", "_manner", "_response", "_session", "seat")

    def __init__(self, exchange: Exchange, session: Session, name: str, response: Response, manner: Manner) -> None:
        """Take the seat for a transport of this name."""
        self._exchange = exchange
        self._session = session
        self._response = response
        self._manner = manner
        self._asked = -1  # the turn of the loop at whose end this is to be called
        self._ended = False
        self._expires = 0.0  # what its end by age is called in the agenda
        self.seat: Seat = session.attach(name, self._wake)
        if exchange.silent:
            self.seat.probe = self._is_gone
        exchange.watcher = self

    def begin(self, most: float = 0.0) -> None:
        """Start to write; end the response after `most` seconds, if that is not 0."""
        if most:
            self._expires = self._session.agenda.later(most, self._expire)
        self._response.begin()
        self._flush()

    def _is_gone(self) -> bool:
        return self._exchange.gone

    def _wake(self) -> None:
        agenda = self._session.agenda
        if self._asked != agenda.turn:
            self._asked = agenda.turn
            agenda.soon(self._flush)

    def room(self) -> None:
        """Note that the network has taken what was written, and go on."""
        self.seat.delivered()
        self._flush()

    def gone(self) -> None:
        """Give the seat up: the client has left."""
        self._stop()
        self._exchange.abort()
        self.seat.cut("the connection broke")

    def _expire(self) -> None:
        """End the response: it has lasted for as long as it may."""
        self._end("the response was old enough")

    def _stop(self) -> None:
        """Write nothing more, and let nobody hold this for the end that it would have had."""
        self._ended = True
        self._exchange.watcher = None
        self._session.agenda.drop(self._expires, self._expire)

    def _flush(self) -> None:
        """Write what the session has to say, as far as the network takes it; and end once there is no more to come."""
        seat, response, exchange = self.seat, self._response, self._exchange
        if self._ended:
            return
        if exchange.gone:
            self.gone()
            return
        while not (seat.over or response.full or exchange.full):
            wrote = self._write()
            if seat.finished or not wrote:  # an ack that another request brought may have ended it
                break
        if seat.over and exchange.full:
            self._stop()
            exchange.abort()  # nobody takes what is being written: it would never end
        elif not exchange.full and (seat.over or response.full or seat.finished):
            self._end("the response was full" if response.full else "the session has ended")

    def _end(self, reason: str) -> None:
        self._stop()
        code, why = self.seat.verdict
        if self._manner.refuse and code in codes.ABRUPT:
            self._response.say(self._manner.refuse(code, why))
        self._response.end()
        self.seat.leave(reason)

    def _write(self) -> bool:
        """Write what is there; tell whether there was anything."""
        seat, response = self.seat, self._response
        frames = seat.pending()
        if not frames and not seat.beat:
            return False
        if not frames:
            seat.sent = True
            if self._manner.answered:
                seat.ask()
            response.say(self._manner.heartbeat, seat.lane.written)
        seat.beat = False
        for frame in frames:
            seat.wrote(frame)
            response.say(frame.payload, seat.lane.written)
            if not self._exchange.full:
                seat.delivered()
            if response.full:
                break
        seat.lane.on_trial = False  # only the first batch is the ack alone
        return True
