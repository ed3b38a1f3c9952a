"""Request heads: whatever our reader takes, a whole HTTP parser reads in the same way; all else it leaves alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from aiohttp._cookie_helpers import parse_cookie_header
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from hypothesis import assume, event, example, given
from hypothesis import strategies as st
from yarl import URL

from hybridws.core import heads as room
from hybridws.core.heads import END, LONGEST, MOST_HEADERS, SHARED, cookies_of, query_of, read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hybridws.core.heads import Head

LOOP: Final = asyncio.new_event_loop()
"""What aiohttp's parser refers to; it never runs."""
BEHIND: Final = b"GET /behind HTTP/1.1\r\nHost: behind\r\n\r\n"


class Seen(NamedTuple):
    """What aiohttp's parser, the one in C, makes of a connection's bytes."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    keeps: bool
    upgrades: bool
    rest: list[str]
    """The targets of the requests behind the first."""
    tail: bytes
    """What it leaves to another protocol."""


@pytest.fixture(scope="module", autouse=True)
def loop() -> Iterator[None]:
    """Close the loop in the end."""
    yield
    LOOP.close()


def parse(data: bytes) -> Seen:
    """Let aiohttp read what comes on a connection. Raises what it raises."""
    parser: Any = HttpRequestParser(BaseProtocol(LOOP), LOOP, 2**16)  # with the limits of its server
    messages, upgraded, tail = parser.feed_data(data)
    message, payload = messages[0]
    body = payload.read_nowait()
    return Seen(
        message.method,
        message.path,
        [(name.lower(), value) for name, value in message.headers.items()],
        body,
        not message.should_close,
        bool(upgraded),
        [behind.path for behind, _ in messages[1:]],
        tail,
    )


def ours(data: bytes) -> Head | None:
    """Read the first head of some bytes, as the front does."""
    end = data.find(END)
    return None if end < 0 else read(data[: end + 2])


def agree(head: Head, data: bytes) -> None:
    """Check that aiohttp reads the same request, ends it where we do, and goes on with what stands behind it."""
    body = bytes(index % 251 for index in range(head.length))
    behind = BEHIND if head.keeps else b""  # aiohttp refuses all if something stands behind what says it is the last
    seen = parse(data + body + behind)
    assert seen.method == head.method
    assert seen.target == head.path + (f"?{head.query}" if "?" in seen.target else "")
    assert seen.headers == list(head.headers.items())
    assert seen.keeps == head.keeps
    assert seen.body == body
    assert seen.upgrades == head.upgrades
    if head.upgrades:
        assert seen.rest == []
        assert seen.tail == BEHIND
    elif head.keeps:
        assert seen.rest == ["/behind"]


def written(line: str, *headers: str) -> bytes:
    """Write a head."""
    return "".join(f"{part}\r\n" for part in (line, *headers, "")).encode("latin-1")


# ── what is usual ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_get() -> None:
    """All that is in it."""
    head = ours(written("GET /echo/info?t=1.5&x HTTP/1.1", "Host: example.org:8080", "Accept:  */* ", "Cookie: a=b"))
    assert head
    assert head.method == "GET"
    assert (head.path, head.query) == ("/echo/info", "t=1.5&x")
    assert dict(head.headers) == {"host": "example.org:8080", "accept": "*/*", "cookie": "a=b"}
    assert (head.length, head.keeps, head.upgrades) == (0, True, False)


def test_a_post() -> None:
    """The length of its body; whether the connection stays."""
    line = "POST /echo/v1/open HTTP/1.1"
    for text, length in (("0", 0), ("7", 7), ("1048576", 1048576), ("9999999999", 9999999999)):
        head = ours(written(line, "Host: a", f"Content-Length: {text}"))
        assert head
        assert head.length == length
    for word, keeps in (("close", False), ("Close", False), ("keep-alive", True), ("Keep-Alive", True), ("", True)):
        head = ours(written(line, "Host: a", "Content-Length: 1", f"Connection: {word}"))
        assert head
        assert head.keeps == keeps


@pytest.mark.parametrize("host", ["a", "example.org", "example.org:1", "127.0.0.1:65535", "[::1]", "[::1]:80", "a_b"])
def test_hosts(host: str) -> None:
    """Names and addresses, with a port or without."""
    data = written("GET / HTTP/1.1", f"Host: {host}")
    head = ours(data)
    assert head
    agree(head, data)


@pytest.mark.parametrize("value", ["XXX", " XX X ", "\t X\tX \t", "", " \t"])
def test_a_value_loses_the_blanks_around_it(value: str) -> None:
    """Blanks and tabs, on both sides, and nothing else."""
    data = written("GET / HTTP/1.1", "Host: a", f"Origin:{value}")
    head = ours(data)
    assert head
    assert head.headers["Origin"] == value.strip("\t ")
    agree(head, data)


def test_a_header_that_is_too_long_to_be_remembered() -> None:
    """Up to `SHARED` bytes are; a longer one is read anew, in the same way."""
    remembered = vars(room)["_shared"].cache_info
    for value in (f"X:{'y' * SHARED}:X", f"{'X' * SHARED}"):
        head = ours(written("GET / HTTP/1.1", "Host: a", f"Long:\t {value} \t"))
        assert head
        assert head.headers["long"] == value
    vars(room)["_shared"].cache_clear()
    line = f"Just: {'x' * (SHARED - 6)}"
    assert ours(written("GET / HTTP/1.1", "Host: a", line))
    assert remembered().currsize == 2  # the Host is the other one
    assert ours(written("GET / HTTP/1.1", "Host: a", f"{line}x"))
    assert remembered().currsize == 2


def test_secrets_are_not_remembered() -> None:
    """What others say alike is shared between requests; a cookie or a password is nobody else's, and not kept."""
    remembered = vars(room)["_shared"].cache_info
    vars(room)["_shared"].cache_clear()
    line = "GET / HTTP/1.1"
    for name in ("Cookie", "COOKIE", "Authorization", "proxy-authorization", "Sec-WebSocket-Key", "X" * SHARED):
        assert ours(written(line, "Host: a", f"{name}: secret=1"))
    assert remembered().currsize == 1  # the Host
    one, other = (ours(written(line, "Host: a", "User-Agent: a browser")) for _ in range(2))
    assert one
    assert other
    assert one.headers["User-Agent"] is other.headers["User-Agent"]


@pytest.mark.parametrize("connection", ["Upgrade", "upgrade", "keep-alive, Upgrade", "Keep-Alive, upgrade"])
def test_an_upgrade(connection: str) -> None:
    """As browsers ask for a WebSocket; what stands behind it is another protocol's."""
    data = written(
        *("GET /echo/websocket HTTP/1.1", "Host: a", f"Connection: {connection}", "Upgrade: websocket"),
        *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Origin: http://a"),
    )
    head = ours(data)
    assert head
    assert head.upgrades
    agree(head, data)
    assert parse(data + BEHIND).upgrades


def test_the_limits_are_within_those_of_the_other() -> None:
    """The longest head and the most headers that are read here are read there too; one more byte is not read here."""
    line = "GET / HTTP/1.1"
    room = LONGEST - len(written(line, "Host: a", "X: ")) + len(b"\r\n")
    data = written(line, "Host: a", f"X: {'x' * room}")
    head = ours(data)
    assert head
    agree(head, data)
    assert ours(written(line, "Host: a", f"X: {'x' * (room + 1)}")) is None
    data = written(line, "Host: a", *(f"X-{number}: 1" for number in range(MOST_HEADERS - 1)))
    head = ours(data)
    assert head
    agree(head, data)
    assert ours(written(line, "Host: a", *(f"X-{number}: 1" for number in range(MOST_HEADERS)))) is None


# ── what is not ───────────────────────────────────────────────────────────────────────────────────────────────────

GET: Final = "GET /echo/info HTTP/1.1"
POST: Final = "POST /echo/v1/open HTTP/1.1"
HOST: Final = "Host: a"
SIZE: Final = "Content-Length: 2"

ODD: Final = {
    "no host": written(GET),
    "others but no host": written(GET, "Accept: */*", "Origin: http://a"),
    "two hosts": written(GET, HOST, "Host: b"),
    "the same host twice": written(GET, HOST, HOST),
    "the second in capitals": written(GET, HOST, "HOST: b"),
    "an empty host": written(GET, "Host:"),
    "a host with a user": written(GET, "Host: me@a"),
    "a host with a path": written(GET, "Host: a/b"),
    "two hosts in one": written(GET, "Host: a, b"),
    "a host with a blank": written(GET, "Host: a b"),
    "a port of letters": written(GET, "Host: a:http"),
    "HTTP/1.0": written("GET /echo/info HTTP/1.0", HOST),
    "HTTP/0.9": b"GET /echo/info\r\n\r\n",
    "HTTP/2.0": written("GET /echo/info HTTP/2.0", HOST),
    "HTTP/1.10": written("GET /echo/info HTTP/1.10", HOST),
    "http/1.1": written("GET /echo/info http/1.1", HOST),
    "HTTP/1,1": written("GET /echo/info HTTP/1,1", HOST),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a proxy's word": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + written(GET, HOST),
    "absolute form": written("GET http://b/echo/info HTTP/1.1", HOST),
    "authority form": written("GET a:80 HTTP/1.1", HOST),
    "asterisk": written("GET * HTTP/1.1", HOST),
    "no slash": written("GET echo/info HTTP/1.1", HOST),
    "two slashes": written("GET //echo/info HTTP/1.1", HOST),
    "two slashes inside": written("GET /echo//info HTTP/1.1", HOST),
    "dots": written("GET /echo/../info HTTP/1.1", HOST),
    "a dot": written("GET /./echo/info HTTP/1.1", HOST),
    "a hidden file": written("GET /echo/.info HTTP/1.1", HOST),
    "an escape": written("GET /echo/%69nfo HTTP/1.1", HOST),
    "a broken escape": written("GET /echo/% HTTP/1.1", HOST),
    "an escape in the query": written("GET /echo/info?a=%41 HTTP/1.1", HOST),
    "a plus in the query": written("GET /echo/info?a=b+c HTTP/1.1", HOST),
    "a fragment": written("GET /echo/info#x HTTP/1.1", HOST),
    "a backslash": written("GET /echo\\info HTTP/1.1", HOST),
    "a semicolon": written("GET /echo/info;x HTTP/1.1", HOST),
    "no ASCII in the path": written("GET /\xe9cho HTTP/1.1", HOST),
    "a tab in the line": written("GET\t/echo/info HTTP/1.1", HOST),
    "two blanks in the line": written("GET  /echo/info HTTP/1.1", HOST),
    "a blank behind the line": written("GET /echo/info HTTP/1.1 ", HOST),
    "a blank before the line": written(" GET /echo/info HTTP/1.1", HOST),
    "an empty line before": b"\r\n" + written(GET, HOST),
    "lower case": written("get /echo/info HTTP/1.1", HOST),
    "HEAD": written("HEAD /echo/info HTTP/1.1", HOST),
    "OPTIONS": written("OPTIONS /echo/info HTTP/1.1", HOST),
    "PUT": written("PUT /echo/info HTTP/1.1", HOST, SIZE),
    "CONNECT": written("CONNECT /echo/info HTTP/1.1", HOST),
    "TRACE": written("TRACE /echo/info HTTP/1.1", HOST),
    "a method that begins alike": written("GETS /echo/info HTTP/1.1", HOST),
    "no length": written(POST, HOST),
    "two lengths": written(POST, HOST, SIZE, SIZE),
    "two different lengths": written(POST, HOST, SIZE, "Content-Length: 3"),
    "two lengths in one": written(POST, HOST, "Content-Length: 2, 2"),
    "the second in small letters": written(POST, HOST, SIZE, "content-length: 3"),
    "a length with a plus": written(POST, HOST, "Content-Length: +2"),
    "a length with a minus": written(POST, HOST, "Content-Length: -2"),
    "minus nothing": written(POST, HOST, "Content-Length: -0"),
    "a length with a zero before it": written(POST, HOST, "Content-Length: 02"),
    "a length in hex": written(POST, HOST, "Content-Length: 0x2"),
    "a length with a point": written(POST, HOST, "Content-Length: 2.0"),
    "a length with a line": written(POST, HOST, "Content-Length: 1_0"),
    "a length with an e": written(POST, HOST, "Content-Length: 1e1"),
    "a length with a blank": written(POST, HOST, "Content-Length: 1 0"),
    "a length of foreign digits": written(POST, HOST, "Content-Length: \xb2"),
    "a length in quotes": written(POST, HOST, 'Content-Length: "2"'),
    "an empty length": written(POST, HOST, "Content-Length:"),
    "a length of 11 digits": written(POST, HOST, "Content-Length: 10000000000"),
    "a length of 400 digits": written(POST, HOST, "Content-Length: " + "9" * 400),
    "a body for GET": written(GET, HOST, SIZE),
    "an empty body for GET": written(GET, HOST, "Content-Length: 0"),
    "a length with a vertical tab": written(POST, HOST, "Content-Length: \x0b2"),
    "Expect": written(POST, HOST, SIZE, "Expect: 100-continue"),
    "TE": written(POST, HOST, SIZE, "TE: trailers"),
    "Trailer": written(POST, HOST, SIZE, "Trailer: X"),
    "Keep-Alive": written(POST, HOST, SIZE, "Keep-Alive: timeout=5"),
    "a coded body": written(POST, HOST, SIZE, "Content-Encoding: gzip"),
    "h2c": written(GET, HOST, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
    "HTTP2-Settings": written(GET, HOST, "HTTP2-Settings: AAMAAABk"),
    "an upgrade to h2c": written(GET, HOST, "Connection: Upgrade", "Upgrade: h2c"),
    "an upgrade to one of two": written(GET, HOST, "Connection: Upgrade", "Upgrade: websocket, h2c"),
    "an upgrade to nothing": written(GET, HOST, "Connection: Upgrade", "Upgrade:"),
    "an upgrade with a body": written(POST, HOST, SIZE, "Connection: Upgrade", "Upgrade: websocket"),
    "Upgrade that Connection does not name": written(GET, HOST, "Upgrade: websocket"),
    "Connection that names no Upgrade there is": written(GET, HOST, "Connection: Upgrade"),
    "Connection with more": written(GET, HOST, "Connection: close, X-Y"),
    "Connection that hides Host": written(GET, HOST, "Connection: Host"),
    "Connection both ways": written(GET, HOST, "Connection: close, keep-alive"),
    "two Connections": written(GET, HOST, "Connection: close", "Connection: keep-alive"),
    "two headers of another name": written(GET, HOST, "X: 1", "x: 2"),
    "two Cookies": written(GET, HOST, "Cookie: a=1", "Cookie: a=2"),
    "a blank before the colon": written(GET, HOST, "X : 1"),
    "a tab before the colon": written(GET, HOST, "X\t: 1"),
    "a blank before a name": written(GET, HOST, "X: 1", " Y: 2"),
    "a header that goes on": written(GET, HOST, "X: 1", "\t2"),
    "the first header goes on": written(GET, " X: 1", HOST),
    "no colon": written(GET, HOST, "X"),
    "no name": written(GET, HOST, ": 1"),
    "a name with an underscore": written(GET, HOST, "Content_Length: 2"),
    "a name with a dot": written(GET, HOST, "X.Y: 2"),
    "a name that is no ASCII": written(GET, HOST, "Cont\xe9nt: 2"),
    "a name with a NUL": written(GET, HOST, "X\0: 2"),
    "a value with a NUL": written(GET, HOST, "X: \0"),
    "a value that is no ASCII": written(GET, HOST, "X: \xe9"),
    "a value with a control character": written(GET, HOST, "X: \x01"),
    "a value with DEL": written(GET, HOST, "X: \x7f"),
    "CR alone": written(GET, HOST, "X: 1\rY: 2"),
    "LF alone": written(GET, HOST, "X: 1\nY: 2"),
    "LF behind the line": b"GET /echo/info HTTP/1.1\nHost: a\r\n\r\n",
    "LF everywhere": b"GET /echo/info HTTP/1.1\nHost: a\n\n\r\n\r\n",
    "CR CR LF": written(GET, HOST + "\r"),
    "LF before the end": written(GET, HOST, "X: 1\n"),
    "nothing": b"\r\n\r\n",
    "no header": b"GET /echo/info HTTP/1.1\r\n\r\n",
}
for coding in (
    "chunked",
    "Chunked",
    " chunked ",
    "identity",
    "chunked, identity",
    "gzip, chunked",
    "xchunked",
    "",
    "chunked\x0b",
):
    ODD[f"Transfer-Encoding {coding!r}"] = written(POST, HOST, f"Transfer-Encoding: {coding}")
    ODD[f"Transfer-Encoding {coding!r} and a length"] = written(POST, HOST, SIZE, f"Transfer-Encoding: {coding}")
    ODD[f"a length and transfer-encoding {coding!r}"] = written(POST, HOST, f"transfer-encoding:{coding}", SIZE)
for name in (
    "Transfer-Encoding ",
    "Transfer_Encoding",
    "Transfer-Encoding\t",
    "X: 1\nTransfer-Encoding",
    "\x0bTransfer-Encoding",
):
    ODD[f"{name!r}: chunked"] = written(POST, HOST, SIZE, f"{name}: chunked")


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in ODD.items()])
def test_what_is_odd_is_left_alone(data: bytes) -> None:
    """None of it is read here: a whole parser is to say what it means."""
    assert ours(data) is None


def test_an_end_that_has_not_come() -> None:
    """A head without its last line is none yet; read as far as it is there, it is none either."""
    data = written(GET, HOST)
    for cut in range(len(data)):
        assert ours(data[:cut]) is None
    for cut in range(len(data) - 2):
        assert read(data[:cut]) is None


# ── any head ──────────────────────────────────────────────────────────────────────────────────────────────────────

LINES: Final = st.builds(
    "{} {} {}".format,
    st.sampled_from(["GET", "POST", "get", "HEAD", "GET ", "POST\t"]),
    st.sampled_from(
        ["/", "/echo/v1/open", "/a/b.c?d=e&f", "/a?", "/(a)'*,;=", "//a", "/a/../b", "/%41", "http://b/", "*", "/@:+"]
    )
    | st.from_regex(r"/[A-Za-z0-9._~!$&'()*+,;=:@/-]{0,9}(\?[A-Za-z0-9._~=&+%-]{0,9})?", fullmatch=True),
    st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]),
)
HEADERS: Final = st.one_of(
    st.sampled_from(
        [
            *(
                "Content-Length: 0",
                "Content-Length: 5",
                "content-length:17",
                "Content-Length: 05",
                "Content-Length: +5",
            ),
            *("Transfer-Encoding: chunked", "transfer-encoding:identity", "Expect: 100-continue", "TE: trailers"),
            *("Connection: close", "Connection: keep-alive", "connection: CLOSE", "Connection:", "Connection: x"),
            *("Connection: Upgrade", "Upgrade: websocket", "Connection: keep-alive, Upgrade", "Upgrade: h2c"),
            *("Cookie: a=b; c=d", "Origin: http://a", "Accept: text/html, */*;q=0.8", "X:", "X: \t 1\t "),
        ]
    ),
    st.from_regex(r"[A-Za-z0-9-]{1,8}:[ -~\t]{0,12}", fullmatch=True),
)
HOSTS: Final = st.sampled_from(["Host: a", "Host: a", "host: example.org:80", "Host: [::1]:8080", "Host:", "Host: a,b"])


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Draw a head of which most is usual."""
    headers = draw(st.lists(HEADERS, max_size=5))
    headers.insert(draw(st.integers(0, len(headers))), draw(HOSTS))
    return written(draw(LINES), *headers)


@given(heads())
@example(written("GET /? HTTP/1.1", HOST))
@example(written(POST, HOST, "Content-Length: 5", "Connection: Upgrade", "Upgrade: websocket"))
@example(written(POST, HOST, "Content-Length: 0", "Connection: Upgrade", "Upgrade: websocket"))
@example(written(GET, HOST, "Connection: Upgrade", "Upgrade: h2c"))
@example(written(GET, HOST, "Connection: Upgrade", "Upgrade:"))
@example(written(GET, HOST, "Connection: Upgrade", "Upgrade: websocket, h2c"))
@example(written(POST, HOST, "Content-Length: 5", "Connection: close"))
def test_what_is_read_is_read_alike(data: bytes) -> None:
    """A request that we take is, to aiohttp, the same in every part, and ends at the same byte."""
    head = ours(data)
    event(f"taken: {head is not None}")
    if head is not None:
        agree(head, data)


@given(heads(), st.integers(0), st.binary(max_size=3), st.integers(0, 3))
def test_what_is_damaged_is_read_alike_or_not(data: bytes, place: int, put: bytes, cut: int) -> None:
    """Bytes put in, taken out or replaced anywhere: left alone, or read alike."""
    place %= len(data)
    data = data[:place] + put + data[place + cut :]
    end = data.find(END)
    assume(end >= 0)
    head = ours(data)
    event(f"taken: {head is not None}")
    if head is not None:
        agree(head, data[: end + len(END)])


@given(st.binary(max_size=200))
def test_noise_raises_nothing(data: bytes) -> None:
    """Whatever comes is read or left alone."""
    for part in (data, b"GET / HTTP/1.1\r\n" + data + b"\r\n"):
        read(part)


# ── what stands in a head ─────────────────────────────────────────────────────────────────────────────────────────


@given(st.from_regex(r"[A-Za-z0-9._~=&-]{0,40}", fullmatch=True))
@example("transport=poll&n=2&n=3&&=4&x&s=a==b=")
def test_queries_are_read_alike(text: str) -> None:
    """Of a query without escapes, the first value of each name."""
    theirs = URL.build(path="/", query_string=text, encoded=True).query
    assert query_of(text) == {name: theirs[name] for name in theirs if name}


@given(st.lists(st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~=()/:<>?@,\[\]{} \"\\-]{0,12}", fullmatch=True), max_size=4))
@example(["a=1", "b=2", "a=3"])
@example(["a=b=c", "=", "a"])
@example(['a="b"'])
@example(['a="b;c'])
@example(["expires=Mon, 01 Jan 2024"])
def test_cookies_are_read_alike_or_not(pairs: list[str]) -> None:
    """Those of the usual shape mean what they mean to aiohttp; others are left to it."""
    text = "; ".join(pairs)
    found = cookies_of(text)
    event(f"taken: {found is not None}")
    if found is not None:
        assert found == {name: morsel.value for name, morsel in parse_cookie_header(text)}


def test_usual_cookies() -> None:
    """None, one, several; and what is not taken."""
    assert cookies_of("") == {}
    assert cookies_of("sid=31d4d96e407aad42") == {"sid": "31d4d96e407aad42"}
    assert cookies_of("a=; b=c=d/+~; a=2") == {"a": "2", "b": "c=d/+~"}
    for odd in ('a="b"', "a=b;c=d", "a=b ; c=d", "a", "a=b;", "=b", "a=b, c", "a=\\", "a=b; "):
        assert cookies_of(odd) is None
