"""What hostile clients send: packets, bodies, WebSocket frames and HTTP requests that no good client would.

Each is complete, so that whoever gets it can answer at once. Some are only odd and may be taken; the others must be
refused. None of them may harm the server, or anybody else's session.
"""

from __future__ import annotations

import os
import struct
from typing import Final, cast

import msgpack

JSON_PACKETS: Final = (
    *("{}", "[]", '"m"', "7", "null", "[[]]", "[1]", "[null]", '[["m"]]', '[""]', '["mm",1]', '["M",1]', '["é",1]'),
    *('["1"]', '["m"]', '["m",1,2]', '["#"]', '["#",0]', '["#",-1]', '["#",1.5]', '["#",true]', '["#","1"]'),
    *('["#",9007199254740992]', '["a"]', '["a",true]', '["a",0.0]', '["a",99]', '["a",-1]', '["a",1e999]', '["q",1]'),
    *('["q","1",1]', '["q",-1,1]', '["q",true,1]', '["r",1]', '["r",null,1]', '["e",1,4000]', '["e",1,"4000",""]'),
    *('["e",1,1,""]', '["e",1,4000,7]', '["u"]', '["u",1,2]', '["k"]', '["k",0]', '["k",-5]', '["k",true]'),
    *('["k",1.0]', '["k",9007199254740991]', '["h",1]', '["d",1]', '["c"]', '["c",1000]', '["c",999,""]'),
    *('["c",5000,""]', '["c",true,""]', '["c",1000.0,""]', '["c",1000,null]', '["c",1005,""]', '["b"]', '["b",1]'),
    *('["b","%%%"]', '["b","QQ"]', '["b","QQ==",1]', '["i",1]', '["i",{"v":true}]', '["o"]', '["o",{}]', '["x",1]'),
    *('["x",4400,"",{}]', '["@"]', '["@","s","k",1]', '["@",1,2,3,4]', '["@","s","k",1,0,[]]', '["m",NaN]'),
    *('["m",-Infinity]', '["m",1e999]', '["m",9007199254740992]', '["m",[-9007199254740992]]', '["m","\\ud800"]'),
    *('["m",{"\\udfff":1}]', '["m",1', "rubbish", '["m",1]]', '["m",1]["m",2]', "\ufeff[]", "'m'", '["m",{"a":1,}]'),
    *('["m","\x00"]', '["m","\t"]', '["__proto__",{}]', '["m",{"__proto__":{"x":1}}]', '["m",{"constructor":1}]'),
    "[" * 100_000,
    '["m",' + "[" * 1000 + "]" * 1000 + "]",
    '["m",' + '{"a":' * 40 + "1" + "}" * 40 + "]",
    '["m",[' + "0," * 10_001 + "0]]",
    '["m",[' + "[]," * 10_001 + "[]]]",
    '["m",1' + "0" * 5000 + "]",
    '["m",0.' + "1" * 100_000 + "]",
    '["m","' + "x" * 300_000 + '"]',
    '["m","' + "\\u0041" * 60_000 + '"]',
    '["q",1,"' + "x" * 300_000 + '"]',
    "\n".join(['["h"]'] * 20_000),
    "\n".join(['["a",0]'] * 20_000),
    "\n".join(['["q",1,1]'] * 200),
    "\n" * 100_000,
)
"""Lines that are no packet of the native protocol, or one that means nothing here."""

RUBBISH: Final = (
    b"",
    b"\0",
    b"\n\n\n",
    b"\xff\xfe[\0]\0",
    b"\xef\xbb\xbf[]",
    b'["m","\xc3"]',
    b'["m","\xed\xa0\x80"]',
    b'["m","\xf4\x90\x80\x80"]',
    b"\xc0" * 3000,
    b"\xc1",
    b"<html></html>",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"a=b&c=d",
    b"PK\x03\x04",
    b"\x1f\x8b\x08\x00" + b"\0" * 100,
    bytes(range(256)),
    b'["@",' + b"9" * 5000 + b"]",
    b"[" * 300_000,
    b"\x91" * 300_000,
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xffx",
)
"""Bodies that are nothing at all."""

SOCKJS_BODIES: Final = (
    *("", "[", "{}", "null", "7", '"', '"x', "[1]", "[null]", '[["a"]]', '[{"a":1}]', '["a",1]', '["a"', '["a"]]'),
    *('["a"]["b"]', "x", "['a']", '["\\ud800"]', '["\\u0000"]', '["\x00"]', "\ufeff[]", '["a",]', "[NaN]", '{"0":"a"}'),
    "[" * 100_000,
    '["' + "x" * 300_000 + '"]',
    "[" + '"",' * 20_000 + '""]',
    '["' + "\\u0041" * 60_000 + '"]',
)
"""Bodies that no client of SockJS sends."""


def pack(value: object) -> bytes:
    """Write one value in msgpack."""
    return cast("bytes", msgpack.packb(value))


def json_packets() -> list[bytes]:
    """Return lines in JSON."""
    return [line.encode("utf-8", "surrogatepass") for line in JSON_PACKETS]


def msgpack_packets() -> list[bytes]:
    """Return the same kind of things in msgpack, and what only msgpack can say."""
    values: list[object] = [
        *({}, [], "m", 7, None, [[]], [1], [None], [["m"]], [""], ["mm", 1], ["m"], ["m", 1, 2], [b"m", 1], ["M", 1]),
        *(["#", 0], ["#", -1], ["#", 1.5], ["#", True], ["#", "1"], ["#", 2**53], ["#", 2**64 - 1], ["a", 99], ["a"]),
        *(["a", -(2**63)], ["a", float("nan")], ["q", -1, 1], ["q", "1", 1], ["r", None, 1], ["e", 1, 1, ""]),
        *(["k", 0], ["k", -5], ["k", 2**53 - 1], ["c", 999, ""], ["c", 1000, None], ["c", 1000], ["u"], ["h", 1]),
        *(["m", float("nan")], ["m", float("inf")], ["m", 2**53], ["m", 2**64 - 1], ["m", -(2**63)], ["m", [b"x"]]),
        *(["m", {1: 1}], ["m", {b"k": 1}], ["m", {None: 1}], ["q", 1, b"x"], ["m", msgpack.ExtType(5, b"x")]),
        *(["m", msgpack.Timestamp(1, 2)], ["b", "x"], ["b", 1], ["@"], ["@", 1, 2, 3, 4], ["i", 1], ["o"], ["x", 1]),
        *(["m", [0] * 10_001], ["m", [[]] * 10_001], ["m", "x" * 300_000], ["b", b"x" * 300_000]),
    ]
    packed = [pack(value) for value in values]
    nested = [b"\x92\xa1m" + b"\x91" * depth + b"\x01" for depth in (31, 33, 600, 5000, 100_000)]
    maps = [b"\x92\xa1m" + b"\x81\xa1k" * depth + b"\x01" for depth in (33, 5000)]
    cut = [b"\x92\xa1m", b"\x92\xa1m\xdd\xff\xff\xff\xff", b"\x92\xa1m\xc7\xff", b"\x92\xa1m\xa5ab", b"\x92\xa1m\xff"]
    text = [b"\x92\xa1m\xa1\xff", b"\x92\xa1m\xa3\xed\xa0\x80"]
    many = [b"\x91\xa1h" * 20_000, b"\xc0" * 100_000]
    return [*packed, *nested, *maps, *cut, *text, *many]


def frame(first: int, payload: bytes = b"", *, masked: bool = True, length: int | None = None, code: int = 0) -> bytes:
    """Write a WebSocket frame as a client, right or wrong: its first byte, and a length that may be a lie.

    `code` is 126 or 127 for a length in more bytes than it takes.
    """
    size = len(payload) if length is None else length
    code = code or (size if size < 126 else 126 if size < 2**16 else 127)  # noqa: PLR2004 - RFC 6455 §5.2
    head = bytes([first, code | (0x80 if masked else 0)])
    head += struct.pack("!H", size) if code == 126 else struct.pack("!Q", size) if code == 127 else b""  # noqa: PLR2004
    if not masked:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def frames() -> list[bytes]:
    """Return what breaks a WebSocket, or should: each is sent after a handshake."""
    closes = (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    return [
        *(frame(0x80 | kind, b"x") for kind in (0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF)),
        *(frame(0x81 | bits, b"x") for bits in (0x10, 0x20, 0x40, 0x70)),
        *(frame(0x88, struct.pack("!H", code)) for code in closes),
        frame(0x88, b"x"),
        frame(0x88, struct.pack("!H", 1000) + b"\xff"),
        frame(0x88, struct.pack("!H", 1000) + b"x" * 124),
        frame(0x81, b"x", masked=False),
        frame(0x82, b"x" * 200, masked=False),
        frame(0x80, b"x"),
        frame(0x00, b"x"),
        frame(0x01, b"x") + frame(0x81, b"y"),
        frame(0x01, b"x") + frame(0x02, b"y"),
        frame(0x09, b"x"),
        frame(0x89, b"x" * 126),
        frame(0x8A, b"x" * 65536),
        frame(0x81, b"\xff"),
        frame(0x81, b"\xed\xa0\x80"),
        frame(0x01, b"\xc3") + frame(0x80, b"\x28"),
        frame(0x81, b"x", length=1, code=126),
        frame(0x81, b"x", length=1, code=127),
        frame(0x81, length=2**62),
        frame(0x82, length=2**63 + 1),
        frame(0x81, length=2**32),
        frame(0x81, length=2**21),
        frame(0x81),
        frame(0x82),
        frame(0x82, b"x"),
        frame(0x01) * 3 + frame(0x80),
        frame(0x01, b"[") + frame(0x00, b"[") * 50_000 + frame(0x80, b"["),
        frame(0x01, b"") + frame(0x00, b"") * 50_000,
        frame(0x8A, b"") * 10_000 + frame(0x88, struct.pack("!H", 1000)),
        frame(0x89, b"") * 1000 + frame(0x88, struct.pack("!H", 1000)),
        frame(0x81, b"h") * 5_000,
        frame(0x81, b"[" * 100_000),
        frame(0x82, b"\x91" * 100_000),
        frame(0x82, b"\xc1" * 100_000),
        frame(0x81, bytes(100_000)),
        b"\0" * 1000,
        b"\xff" * 1000,
        b"GET / HTTP/1.1\r\n\r\n",
    ]


def requests(host: str, path: str) -> list[bytes]:
    """Return HTTP requests for an address, whole ones, whose answer or end comes at once."""
    address, name = path.encode(), host.encode()
    get = b"GET %b HTTP/1.1\r\nHost: %b\r\n" % (address, name)
    post = b"POST %b HTTP/1.1\r\nHost: %b\r\n" % (address, name)
    close = b"Connection: close\r\n"
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    version = b"Sec-WebSocket-Version: 13\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    chunked = post + b"Transfer-Encoding: chunked\r\n"
    heads = [
        get + upgrade,
        get + upgrade + version,
        get + upgrade + key,
        get + upgrade + key + b"Sec-WebSocket-Version: 99\r\n",
        get + upgrade + key + b"Sec-WebSocket-Version: x\r\n",
        get + upgrade + version + b"Sec-WebSocket-Key: short\r\n",
        get + upgrade + version + b"Sec-WebSocket-Key: " + b"A" * 7000 + b"\r\n",
        get + upgrade + version + key + b"Sec-WebSocket-Protocol: " + b"a," * 3500 + b"\r\n",
        get + upgrade + version + key + b"Sec-WebSocket-Extensions: " + b"a;b=" * 1700 + b"\r\n",
        get + upgrade + version + b"Sec-WebSocket-Protocol: " + b'",' * 3500 + b"\r\n",
        get + b"Upgrade: websocket\r\n" + close,
        get + b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
        post + upgrade + version + key + b"Content-Length: 0\r\n",
        post + b"Content-Length: -1\r\n" + close,
        post + b"Content-Length: +1\r\n" + close,
        post + b"Content-Length: 1_0\r\n" + close,
        post + b"Content-Length: 0x1\r\n" + close,
        post + b"Content-Length: 99999999999999999999\r\n" + close,
        post + b"Content-Length: 99999999\r\n" + close,
        post + b"Content-Length: 1\r\nContent-Length: 2\r\n" + close,
        post + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n" + close,
        post + b"Transfer-Encoding: gzip\r\n" + close,
        post + b"Transfer-Encoding: chunked, chunked\r\n" + close,
        post + b"Transfer-Encoding: xchunked\r\n" + close,
        post + b"Transfer-Encoding : chunked\r\n" + close,
        post + b"Expect: 999-never\r\nContent-Length: 0\r\n" + close,
        get + b"Host: other.example\r\n" + close,
        get + b"X: \x01\r\n" + close,
        get + b"X: a\0b\r\n" + close,
        get + b"X: \xff\xfe\r\n" + close,
        get + b"X\xc3\xa9: a\r\n" + close,
        get + b"X : a\r\n" + close,
        get + b" folded: a\r\n" + close,
        get + b": a\r\n" + close,
        get + b"no colon\r\n" + close,
        get + b"X: a\n" + close,
        get + b"".join(b"X-%d: a\r\n" % number for number in range(10_000)) + close,
        get + b"X: " + b"a" * 65_536 + b"\r\n" + close,
        get + b"Cookie: " + b"a=b; " * 1500 + b"\r\n" + close,
        get + b'Cookie: =;;;="\\; \x7f\r\n' + close,
        get + b"Range: bytes=0-" + b",1-" * 1000 + b"\r\n" + close,
        get + b"X-Forwarded-For: " + b"1.2.3.4," * 900 + b"\r\n" + close,
        get + b'Forwarded: for="' + b";" * 5000 + b"\r\n" + close,
        get + b"Origin: " + b"x" * 8000 + b"\r\n" + close,
        get + b"Referer: http://[\r\n" + close,
        get + b"Last-Event-ID: " + b"9" * 5000 + b"\r\n" + close,
        b"GET %b HTTP/1.1\r\n" % address + close,
        b"GET %b HTTP/1.0\r\n" % address,
        b"GET http://other.example%b HTTP/1.1\r\nHost: %b\r\n" % (address, name) + close,
        b"GET %b?%b HTTP/1.1\r\nHost: %b\r\n" % (address, b"a" * 60_000, name) + close,
        b"GET %b?c=%%00%%ff%%u1234&c=<script> HTTP/1.1\r\nHost: %b\r\n" % (address, name) + close,
        b"GET %b/../../../etc/passwd HTTP/1.1\r\nHost: %b\r\n" % (address, name) + close,
        b"GET %b/%%2e%%2e/%%00 HTTP/1.1\r\nHost: %b\r\n" % (address, name) + close,
        b"GET %b;/x.bat HTTP/1.1\r\nHost: %b\r\n" % (address, name) + close,
        b"GET %b\xff HTTP/1.1\r\nHost: %b\r\n" % (address, name) + close,
        b"GET %b#fragment HTTP/1.1\r\nHost: %b\r\n" % (address, name) + close,
        b"BREW %b HTTP/1.1\r\nHost: %b\r\n" % (address, name) + close,
        b"get %b HTTP/1.1\r\nHost: %b\r\n" % (address, name) + close,
        b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n" % (name, name) + close,
        b"TRACE %b HTTP/1.1\r\nHost: %b\r\n" % (address, name) + close,
        b"OPTIONS * HTTP/1.1\r\nHost: %b\r\n" % name + close,
        b"GET  %b HTTP/1.1\r\nHost: %b\r\n" % (address, name) + close,
        b"GET %b HTTP/9.9\r\nHost: %b\r\n" % (address, name) + close,
        b"GET %b HTTP/1.1 x\r\nHost: %b\r\n" % (address, name) + close,
        b"GET %b\r\nHost: %b\r\n" % (address, name) + close,
    ]
    bodies = [
        get + b"Content-Length: 4\r\n" + close + b"\r\nbody",
        chunked + close + b"\r\nZ\r\nx\r\n0\r\n\r\n",
        chunked + close + b"\r\n-1\r\nx\r\n0\r\n\r\n",
        chunked + close + b"\r\n1ffffffffffffffff\r\nx\r\n0\r\n\r\n",
        chunked + close + b"\r\n1" + b";a=b" * 10_000 + b"\r\nx\r\n0\r\n\r\n",
        chunked + close + b"\r\n1\r\nxy\r\n0\r\n\r\n",
        chunked + close + b"\r\n1\nx\n0\n\n",
        chunked + close + b"\r\n0\r\n" + b"X: a\r\n" * 10_000 + b"\r\n",
        chunked + close + b"\r\n" + b"1\r\n[\r\n" * 20_000 + b"0\r\n\r\n",
        chunked + b"Content-Encoding: gzip\r\n" + close + b"\r\n1\r\nx\r\n0\r\n\r\n",
        post + b"Content-Encoding: br\r\nContent-Length: 4\r\n" + close + b"\r\nxxxx",
        post + b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 5\r\n" + close + b"\r\n--x--",
        post + b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 6\r\n" + close + b"\r\n%ff%zz",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100 + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + get + close + b"\r\n",
        b"\r\n" * 1000 + get + close + b"\r\n",
        b"\0" * 1000 + b"\r\n\r\n",
    ]
    return [head + b"\r\n" for head in heads] + bodies
