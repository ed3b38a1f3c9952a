"""The HTTP transports that carry frames down to a client: a table with a row for each, and the pump they share."""

from __future__ import annotations

from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote_from_bytes

from hybridws.core.sockjs import HEARTBEAT
from hybridws.exchange import Answer, Exchange, Gone
from hybridws.seat import Bell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hybridws.seat import Seat
    from hybridws.session import Session

NOT_CACHED: Final = {"Cache-Control": "no-store, no-cache, no-transform, must-revalidate, max-age=0"}
UNBUFFERED: Final = {"X-Accel-Buffering": "no"}
"""Asks nginx, and the proxies that learned it from nginx, to pass a stream on as it comes."""

XHR_PADDING: Final = b"h" * 2048 + b"\n"
"""Some browsers, antivirus boxes and old proxies show nothing of a response before it has 2 KiB."""
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
    """Write one frame; the second argument is the callback's name, where there is one."""
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


class Response:
    """One answer of a downlink under way: a whole one for a poll, a stream that grows by a chunk a frame otherwise."""

    __slots__ = ("_callback", "_exchange", "_headers", "_limit", "_row", "sent")

    def __init__(
        self, exchange: Exchange, row: Downlink, callback: str, headers: Mapping[str, str], limit: int
    ) -> None:
        """Prepare an answer with these headers that ends after `limit` bytes."""
        self._exchange = exchange
        self._row = row
        self._callback = callback
        self._headers = {"Content-Type": row.content_type, **NOT_CACHED, **headers}
        self._limit = limit
        self.sent = 0

    async def begin(self) -> None:
        """Send the head of a stream. Raises Gone."""
        if self._row.prelude:
            await self._exchange.start({**self._headers, **UNBUFFERED})
            await self._exchange.write(self._row.prelude(self._callback))

    async def say(self, payload: bytes) -> None:
        """Write one frame. Raises Gone."""
        data = self._row.wrap(payload, self._callback)
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


async def pump(exchange: Exchange, session: Session, row: Downlink, response: Response) -> None:
    """Carry a session's frames down until the response is full, the session has ended, or the client has gone."""
    bell = Bell()

    def wake() -> None:
        bell.ring()
        if seat.over and seat.writing:
            exchange.abort()

    seat = session.attach(row.name, wake)
    seat.probe = lambda: exchange.gone
    try:
        await response.begin()
        while not (seat.over or response.full):
            if not await _write_some(exchange, seat, response):
                await bell.wait()
            elif seat.finished:
                break
        await response.end()
        seat.leave("the response was full" if response.full else "the session has ended")
    except Gone:
        seat.cut("the connection broke")
    finally:
        seat.cut("the request was cancelled")  # changes nothing where the seat is over


async def _write_some(exchange: Exchange, seat: Seat, response: Response) -> bool:
    """Write what is there; tell whether there was anything. Raises Gone."""
    frames = seat.pending()
    if not frames and not seat.beat:
        return False
    if exchange.gone:
        raise Gone
    seat.beat = False
    if not frames:
        seat.sent = True
        await response.say(HEARTBEAT)
    for frame in frames:
        seat.wrote(frame)
        await response.say(frame.payload)
        seat.delivered()
        if response.full:
            break
    return True
