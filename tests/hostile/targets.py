"""Every decoder of what a stranger sends, as a function of bytes that fails in the way that is said, or not at all.

Hypothesis tries them in `test_decoders.py`, atheris in `fuzz.py`.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

import pytest
from multidict import CIMultiDict

from hybridws.core import heads
from hybridws.core.codec import BINARY, CLOSE, JSON, MSGPACK, TEXT, Codec
from hybridws.core.frames import AT_ONCE, PING, PONG, FrameReader, read_close
from hybridws.core.sockjs import RAW, SOCKJS
from hybridws.core.streams import EventReader, PackReader
from hybridws.errors import Forbidden, Malformed, Refused, TooLarge
from hybridws.exchange import Request
from hybridws.gate import Gate, Risk, origin_of, route_of
from hybridws.limits import counted_as
from hybridws.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable

OPTIONS: Final = Options(max_message=2000, max_batch=20_000, buffer=10_000, max_packets=200, max_elements=200)
LIMIT: Final = 1000
PIECES: Final = 5000
"""In how many pieces a stream comes at most: a long input in single bytes takes its time, and shows nothing more."""
GATE: Final = Gate(Options(trusted_proxies=["10.0.0.0/8", "::1"], origins=["https://good.example"]))


def _is_clear(fault: Refused) -> None:
    """See that a refusal says why, and does not repeat all that came."""
    assert 0 < len(fault.reason) < 1000


def _decode(codec: Codec, data: bytes | str) -> None:
    """Read a batch whole, or refuse it; what was read can be said again, and is read as the same."""
    try:
        batch = codec.loads(data, OPTIONS)
    except (Malformed, TooLarge) as fault:
        _is_clear(fault)
        return
    assert len(batch) <= OPTIONS.max_packets
    if codec.numbered:
        for packet, _ in batch:
            words = codec.frames([codec.dumps(packet, OPTIONS)])[0].payload
            assert [again for again, _ in codec.loads(words, OPTIONS)] == [packet]


def json_batch(data: bytes) -> None:
    """Read the native protocol in JSON."""
    _decode(JSON, data)


def msgpack_batch(data: bytes) -> None:
    """Read the native protocol in msgpack."""
    _decode(MSGPACK, data)


def sockjs_batch(data: bytes) -> None:
    """Read SockJS, by POST and by WebSocket, and the raw WebSocket."""
    _decode(SOCKJS, data)
    text = data.decode("utf-8", "replace")
    _decode(SOCKJS, text)
    _decode(RAW, text)
    _decode(RAW, data)


def first_packet(data: bytes) -> None:
    """Read the first packet alone, of a body that is too large."""
    for codec in (JSON, MSGPACK):
        try:
            codec.loads(codec.first(data), OPTIONS)
        except Refused as fault:
            _is_clear(fault)


def websocket_frames(data: bytes) -> None:
    """Read WebSocket frames: cut anywhere they are the same; no message is over the limit, none comes after a fault."""
    whole, pieces = FrameReader(LIMIT), FrameReader(LIMIT)
    found = _all(whole, data)
    size = max(data[0] % 7 + 1, len(data) // PIECES) if data else 1
    parts: list[tuple[int, str | bytes]] = []
    for at in range(0, len(data), size):
        parts += _all(pieces, data[at : at + size])
    assert parts == found
    assert pieces.broken == whole.broken
    for opcode, payload in found:
        assert opcode in (TEXT, BINARY, CLOSE, PING, PONG)
        assert isinstance(payload, str) == (opcode == TEXT)
        assert len(payload.encode() if isinstance(payload, str) else payload) <= LIMIT
        if opcode == CLOSE and isinstance(payload, bytes):
            read_close(payload)
    if whole.broken:
        assert _all(whole, b"\x81\x80\0\0\0\0") == []


def _all(reader: FrameReader, data: bytes) -> list[tuple[int, str | bytes]]:
    found = reader.feed(data)
    while reader.more:
        more = reader.feed(b"")
        assert len(more) <= AT_ONCE
        found += more
    return found


def request_head(data: bytes) -> None:
    """Read request heads: what is taken is of the one shape; queries and cookies are read whatever they are."""
    text = data.decode("latin-1")
    head = heads.read(data)
    if head is not None:
        assert data.endswith(b"\r\n")
        assert head.path.startswith("/")
        assert len(head.headers) == data.count(b"\r\n") - 1
        assert head.length >= 0
        heads.query_of(head.query)
    heads.query_of(text)
    heads.cookies_of(text)


def streams(data: bytes) -> None:
    """Read what a server, or somebody between, sends to our client: streams of events and of msgpack, cut anywhere."""
    size = max(data[0] % 7 + 1, len(data) // PIECES) if data else 1
    for make in (EventReader, PackReader):
        one, other = make(LIMIT), make(LIMIT)
        found: list[bytes] = []
        try:
            whole = one.feed(data)
            for at in range(0, len(data), size):
                found += other.feed(data[at : at + size])
        except Malformed as fault:
            _is_clear(fault)
            continue
        assert b"".join(found) == b"".join(whole)


def gate(data: bytes) -> None:
    """Read headers by which the gate decides: no text passes for an origin that is not listed, or for an address."""
    text = data.decode("latin-1")
    origin_of(text)
    counted_as(text)
    names = ("Origin", "Referer", "Host", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto")
    for name in names:
        headers = CIMultiDict({"Host": "example.org", name: text})
        request = Request("POST", "/x", "/x", {"route": text}, headers, {}, "10.0.0.1", "http")
        address = GATE.address(request)
        assert counted_as(address) != address or address.count(".") == 3, address
        GATE.own_origin(request)
        for risk in Risk:
            try:
                headers_out = GATE.admit(request, risk)
            except Forbidden as fault:
                _is_clear(fault)
                continue
            allowed = headers_out.get("Access-Control-Allow-Origin")
            assert allowed in (None, "https://good.example", GATE.own_origin(request))
    good = text.isascii() and text.isalnum() and len(text) <= 16
    with nullcontext() if good else pytest.raises(Malformed):
        route_of(Request("POST", "/x", "/x", {"route": text}, CIMultiDict[str](), {}, "", "http"))


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (
        json_batch,
        msgpack_batch,
        sockjs_batch,
        first_packet,
        websocket_frames,
        request_head,
        streams,
        gate,
    )
}
