"""Requests that two readers could cut in two places, through real proxies: none is ever answered as two."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import pytest
from aiohttp import web

from hybridws.aiohttp import mount
from tests.live.proxies.proxies import HAPROXY, HERE, NGINX, Proxy
from tests.live.words import echo
from tests.run.stage import Served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.live.proxies.proxies import Program

pytestmark = [pytest.mark.live, pytest.mark.logs_errors]  # aiohttp logs what it cannot read

QUIET: Final = 0.4
"""Seconds without a byte after which the answer is taken for complete: nobody closes a good connection."""

SMUGGLED: Final = b"GET /chat/smuggled HTTP/1.1\r\nHost: a\r\nX-Smuggled: yes\r\n\r\n"
SIZE: Final = len(SMUGGLED)
CHUNK: Final = b"%x\r\n%b\r\n0\r\n\r\n" % (SIZE, SMUGGLED)
POST: Final = b"POST /chat/v1/open HTTP/1.1\r\nHost: a\r\n"
GET: Final = b"GET /chat/info HTTP/1.1\r\nHost: a\r\n"


def post(*headers: str, body: bytes = SMUGGLED) -> bytes:
    """Write a POST with odd headers, in whose body another request stands."""
    return POST + "".join(f"{header}\r\n" for header in headers).encode("latin-1") + b"\r\n" + body


SIZED: Final = f"Content-Length: {SIZE}"
WHOLE: Final = f"Content-Length: {len(CHUNK)}"
ATTEMPTS: Final = {
    "a plain body": post(SIZED),
    "a chunked body": post("Transfer-Encoding: chunked", body=CHUNK),
    "CL.TE": post("Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED),
    "CL.TE, all counted": post(
        f"Content-Length: {SIZE + 5}", "Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED
    ),
    "TE.CL": post("Transfer-Encoding: chunked", "Content-Length: 4", body=CHUNK),
    "TE.CL, nothing counted": post("Transfer-Encoding: chunked", "Content-Length: 0", body=CHUNK),
    "CL.0 on GET": GET + SIZED.encode() + b"\r\n\r\n" + SMUGGLED,
    "CL.0 on a poll that does not read": b"POST /chat/0/a/xhr HTTP/1.1\r\nHost: a\r\n"
    + SIZED.encode()
    + b"\r\n\r\n"
    + SMUGGLED,
    "CL.0 on an address of nobody": b"POST /nobody HTTP/1.1\r\nHost: a\r\n" + SIZED.encode() + b"\r\n\r\n" + SMUGGLED,
    "two lengths": post("Content-Length: 0", SIZED),
    "two lengths, the other way": post(SIZED, "Content-Length: 0"),
    "two lengths in one": post(f"Content-Length: 0, {SIZE}"),
    "a signed length": post(f"Content-Length: +{SIZE}"),
    "a negative length": post("Content-Length: -1"),
    "a length in hex": post(f"Content-Length: 0x{SIZE:x}"),
    "a length with a blank before the colon": post(f"Content-Length : {SIZE}"),
    "a length that goes on": post(f"Content-Length:\r\n {SIZE}"),
    "a length with an underscore": post("Content-Length: 0", f"Content_Length: {SIZE}"),
    "chunk extensions": post("Transfer-Encoding: chunked", body=b'%x;a="\n%b\r\n0\r\n\r\n' % (SIZE, SMUGGLED)),
    "a chunk's size with LF alone": post("Transfer-Encoding: chunked", body=b"%x;\n%b\r\n0\r\n\r\n" % (SIZE, SMUGGLED)),
    "a chunk that is too long": post("Transfer-Encoding: chunked", body=b"3\r\nabcdef\r\n0\r\n\r\n" + SMUGGLED),
    "a trailer": post("Transfer-Encoding: chunked", body=b"0\r\nContent-Length: %d\r\n\r\n" % SIZE + SMUGGLED),
    "absolute form with another host": b"GET http://b/chat/info HTTP/1.1\r\nHost: a\r\n"
    + SIZED.encode()
    + b"\r\n\r\n"
    + SMUGGLED,
    "a bare LF in the head": POST + b"X: y\nContent-Length: %d\r\n\r\n" % SIZE + SMUGGLED,
    "a bare CR in the head": POST + b"X: y\rContent-Length: %d\r\n\r\n" % SIZE + SMUGGLED,
    "an upgrade with a body": GET
    + b"Connection: Upgrade\r\nUpgrade: websocket\r\n%b\r\n\r\n" % SIZED.encode()
    + SMUGGLED,
    "a failed upgrade": b"GET /chat/websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    + SIZED.encode()
    + b"\r\n\r\n"
    + SMUGGLED,
    "h2c": GET
    + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n%b\r\n\r\n" % SIZED.encode()
    + SMUGGLED,
    "Expect": post("Expect: 100-continue", SIZED),
}
for coding in (
    "xchunked",
    "chunked ",
    "chunked, identity",
    "identity, chunked",
    "\x0bchunked",
    "chunk\xe9d",
    '"chunked"',
    "Chunked",
    "gzip",
):
    ATTEMPTS[f"TE.TE {coding!r}"] = post(f"Transfer-Encoding: {coding}", WHOLE, body=CHUNK)
for name in (
    "Transfer_Encoding",
    "Transfer-Encoding ",
    " Transfer-Encoding",
    "X: y\r\n Transfer-Encoding",
    "Transfer-Encoding\t",
):
    ATTEMPTS[f"TE.TE {name!r}"] = post(f"{name}: chunked", WHOLE, body=CHUNK)

PROXIES: Final = {
    "nginx": (NGINX, "nginx_keeping.conf"),
    "haproxy": (HAPROXY, "haproxy_default.cfg"),
    "none": (None, ""),
}


@pytest.fixture
async def seen() -> list[str]:
    """Collect the addresses that the application's own pages were asked for."""
    return []


@pytest.fixture(params=PROXIES)
async def address(request: pytest.FixtureRequest, seen: list[str]) -> AsyncIterator[tuple[str, int]]:
    """Serve an application by our runner, behind a proxy that keeps its connections to it."""
    program: Program | None
    program, configuration = PROXIES[request.param]
    app = web.Application()
    mount(app, "/chat", echo)

    async def note(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(text="the application's")

    app.router.add_route("*", "/{tail:.*}", note)
    async with AsyncExitStack() as stack:
        served = await Served.begin(app, keepalive_timeout=5)
        stack.push_async_callback(served.end)
        port = int(served.url.rpartition(":")[2])
        if program:
            port = (await stack.enter_async_context(Proxy(program, HERE / configuration, port))).port
        yield "127.0.0.1", port


async def say(address: tuple[str, int], words: bytes) -> bytes:
    """Say something on a connection of its own, and return all that is said to it, until that ends or all is quiet."""
    reader, writer = await asyncio.open_connection(*address)
    said = b""
    try:
        writer.write(words)
        while True:
            async with asyncio.timeout(QUIET):
                if not (some := await reader.read(65536)):
                    break
            said += some
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return said


async def test_nothing_is_smuggled(address: tuple[str, int], seen: list[str], request: pytest.FixtureRequest) -> None:
    """At most one answer to each attempt, none to the request in its body, and the next client gets its own.

    Some attempts are two requests by the book, to the proxy as to us; without a proxy many are, and nobody is deceived.
    """
    behind = request.node.callspec.params["address"] != "none"
    for name, attempt in ATTEMPTS.items():
        answers = (await say(address, attempt)).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
        count = answers.count(b"HTTP/1.")
        if behind or name in ("a plain body", "a chunked body"):
            assert count <= 1 or in_the_open(name), (name, answers)
        other = await say(address, b"GET /chat/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert other.startswith(b"HTTP/1.1 200"), (name, other)
        assert other.endswith(b"Welcome to SockJS!\n"), (name, other)
    assert not [path for path in seen if path != "/nobody"], seen


def in_the_open(name: str) -> bool:
    """Tell whether an attempt is two whole requests to whoever reads HTTP/1.1 by the book."""
    return name.startswith(("a trailer", "CL.TE", "a length with an underscore"))
