"""The front of our runner: requests as they come on real connections, whole, cut, in a row, and left alone."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientError, web

from hybridws.aiohttp import mount
from hybridws.framed import WRITE_AHEAD
from hybridws.run import front
from tests.conformance.wire import PATIENCE, Reply, Wire, Witness, echo, until, within
from tests.core.test_heads import ODD
from tests.run.stage import certificate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from hybridws import Server, Session
    from tests.run.stage import Served

    InFront = Callable[..., Awaitable[Served]]
    Serve = Callable[..., Awaitable[str]]

pytestmark = pytest.mark.both_loops

MIB: Final = 2**20


async def page(_request: web.Request) -> web.Response:
    """Be a page of the application."""
    return web.Response(text="page")


async def measure(request: web.Request) -> web.Response:
    """Tell what came."""
    try:
        return web.Response(text=(await request.read()).decode())
    except (ClientError, ConnectionError):
        return web.Response(status=400)  # nobody reads it


def application(handler: Callable[[Session], Any] = echo, **options: Any) -> tuple[web.Application, Server]:  # noqa: ANN401
    """Make an application with a mount at /echo and two pages."""
    app = web.Application()
    server = mount(app, "/echo", handler, **options)
    app.add_routes([web.get("/page", page), web.post("/page", measure)])
    return app, server


def get(path: str, *headers: str) -> bytes:
    """Write a request without a body."""
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: here", *headers, "", "")).encode()


def post(path: str, body: bytes = b"", *headers: str) -> bytes:
    """Write a request with a body."""
    head = (f"POST {path} HTTP/1.1", "Host: here", f"Content-Length: {len(body)}", *headers, "", "")
    return "\r\n".join(head).encode() + body


class Step(NamedTuple):
    """One request, and what must be answered."""

    request: bytes
    status: int
    body: bytes


OPEN: Final = Step(post("/echo/0/a/xhr"), 200, b"o\n")
SEND: Final = Step(post("/echo/0/a/xhr_send", b'["hello"]', "Content-Type: text/plain"), 204, b"")
POLL: Final = Step(post("/echo/0/a/xhr"), 200, b'a["hello"]\n')
GREET: Final = Step(get("/echo"), 200, b"Welcome to SockJS!\n")
NOBODY: Final = Step(post("/echo/0/nobody/xhr_send", b'["hello"]'), 404, b"no such session\n")
PAGE: Final = Step(get("/page"), 200, b"page")
UPLOAD: Final = Step(
    post("/page", b"GET /echo HTTP/1.1\r\nHost: here\r\n\r\n"), 200, b"GET /echo HTTP/1.1\r\nHost: here\r\n\r\n"
)
NOTHING: Final = Step(get("/echo/no/such/address/here"), 404, b"there is nothing at this address\n")
ROWS: Final = {
    "ours": [OPEN, SEND, POLL, GREET, NOBODY, SEND, POLL],
    "the application's": [PAGE, UPLOAD, PAGE],
    "ours, then the application's": [OPEN, SEND, UPLOAD, POLL],
    "the application's, then ours": [UPLOAD, OPEN, SEND, POLL, PAGE],
    "in turn": [GREET, PAGE, OPEN, UPLOAD, SEND, PAGE, POLL, NOTHING, GREET, NOBODY],
}

each_row = pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in ROWS.items()])


async def check(wire: Wire, row: list[Step]) -> None:
    """Read the answers to a row of requests."""
    for step in row:
        reply = await wire.reply()
        assert (reply.status, reply.body) == (step.status, step.body), step


# ── in a row, and cut ─────────────────────────────────────────────────────────────────────────────────────────────


@each_row
async def test_requests_in_a_row(in_front: InFront, row: list[Step]) -> None:
    """All in one piece, one behind the other, and each by itself: answered in their order, on one connection."""
    app, _ = application()
    served = await in_front(app)
    data = b"".join(step.request for step in row)
    async with await Wire.to(served.url) as wire:
        await wire.send(data)
        await check(wire, row)
        for step in row[1 if row[0] is OPEN else 0 :]:  # a session that is open says `o` no more
            if step is not OPEN:
                await wire.send(step.request)
                await check(wire, [step])


@pytest.mark.parametrize("names", ["ours", "in turn"])
async def test_requests_cut_anywhere(in_front: InFront, names: str) -> None:
    """In two pieces with a turn of the loop between them, at every byte; and byte by byte."""
    app, _ = application(opens_per_second=1e6, opens_burst=10**6, max_fresh=10**6)
    served = await in_front(app)
    row = ROWS[names]
    data = b"".join(step.request for step in row)
    for cut in range(1, len(data)):
        async with await Wire.to(served.url) as wire:
            name = b"/0/%d/" % (10_000 + cut)  # a session of its own, and as long as another's
            whole = b"".join(step.request for step in row).replace(b"/0/a/", name)
            await wire.send(whole[:cut])
            await asyncio.sleep(0.001)
            await wire.send(whole[cut:])
            await check(wire, row)
    async with await Wire.to(served.url) as wire:
        for at in range(len(data)):
            await wire.send(data[at : at + 1])
            await asyncio.sleep(0)
        await check(wire, row)


async def test_bodies_cut_at_every_byte(in_front: InFront) -> None:
    """Each message arrives once, in order, wherever its body is cut; the connection goes on."""
    witness = Witness()
    app, _ = application(witness)
    served = await in_front(app)
    body = json.dumps(["hällo"], ensure_ascii=False).encode()
    request = post("/echo/0/a/xhr_send", body)
    async with await Wire.to(served.url) as wire:
        await wire.send(OPEN.request)
        await check(wire, [OPEN])
        for cut in range(len(request) - len(body), len(request)):
            await wire.send(request[:cut])
            await asyncio.sleep(0.002)
            await wire.send(request[cut:])
            assert (await wire.reply()).status == 204
            assert await witness.message() == "hällo"
    assert witness.messages.empty()


async def test_what_comes_while_the_next_waits_its_turn(in_front: InFront) -> None:
    """A poll is answered in the very turn in which more of the request behind it arrives: nothing is overtaken."""
    sessions: list[Session] = []

    async def handler(session: Session) -> None:
        sessions.append(session)
        async for _ in session:
            pass

    app, _ = application(handler)
    served = await in_front(app)
    parts = urlsplit(served.url)
    loop = asyncio.get_running_loop()
    ahead = post("/echo/0/a/xhr_send", b'["one"]')
    for cut in range(1, len(ahead), 7):
        address = f"/echo/0/{10_000 + cut}"
        behind = post(f"{address}/xhr_send", b'["one"]')
        with socket.create_connection((parts.hostname, parts.port)) as client:
            client.settimeout(0)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_sendall(client, post(f"{address}/xhr"))
            assert (await loop.sock_recv(client, 4096)).endswith(b"o\n")
            await loop.sock_sendall(client, post(f"{address}/xhr") + behind[:cut])
            session = sessions[-1]
            await until(lambda session=session: session.seat)  # type: ignore[misc]
            session.send_nowait("word")  # leaves when this turn ends ...
            client.sendall(behind[cut:])  # ... and then this is there already
            time.sleep(0.005)  # noqa: ASYNC251 - as a turn of the loop that takes long
            got = b""
            while got.count(b"HTTP/1.1") < 2 or not got.endswith(b"\r\n\r\n"):
                data = await within(loop.sock_recv(client, 4096))
                assert data, got
                got += data
            assert got.index(b'a["word"]\n') < got.index(b"HTTP/1.1 204")


@pytest.mark.parametrize("row", [ROWS["in turn"]], ids=["in turn"])
async def test_tls(in_front: InFront, tmp_path: Path, row: list[Step]) -> None:
    """Over TLS as without, and the handler is told."""
    cert, key = certificate(tmp_path)
    app, _ = application()
    served = await in_front(app, certfile=cert, keyfile=key)
    port = urlsplit(served.url).port
    context = ssl.create_default_context(cafile=str(cert))
    wire = Wire(*await within(asyncio.open_connection("127.0.0.1", port, ssl=context)))
    async with wire:
        data = b"".join(step.request for step in row)
        await wire.send(data[:100])
        await asyncio.sleep(0.01)
        await wire.send(data[100:])
        await check(wire, row)


# ── the same as aiohttp's ─────────────────────────────────────────────────────────────────────────────────────────

USUAL: Final = {
    "greeting": get("/echo/"),
    "info": get("/echo/info"),
    "info for a page": get("/echo/info", "Origin: http://here"),
    "info for another's page": get("/echo/info", "Origin: http://elsewhere"),
    "open": post("/echo/v1/open", b'["i",{"v":1}'),
    "a foreign open": post("/echo/v1/open", b'["i",{"v":1}]\n', "Origin: http://elsewhere"),
    "no session": post("/echo/v1/nosuch/send", b'["@","nosuch","key",0,0]'),
    "a wrong method": get("/echo/v1/open"),
    "another wrong method": post("/echo/info"),
    "nothing there": get("/echo/nothing"),
    "beside the mount": get("/echos/info"),
    "above it": get("/"),
    "the script": get("/echo/sockjs.min.js"),
    "no handshake": get("/echo/websocket"),
    "half a handshake": get("/echo/websocket", "Connection: Upgrade", "Upgrade: websocket"),
    "the last request": get("/echo/", "Connection: close"),
    "no callback": get("/echo/0/a/jsonp"),
    "no payload": post("/echo/0/a/xhr_send"),
    "too large": post("/echo/v1/open", b"x" * 3000),
    "HEAD": b"HEAD /echo/ HTTP/1.1\r\nHost: here\r\n\r\n",
    "OPTIONS": b"OPTIONS /echo/info HTTP/1.1\r\nHost: here\r\nOrigin: http://here\r\n\r\n",
    "OPTIONS *": b"OPTIONS * HTTP/1.1\r\nHost: here\r\n\r\n",
    "DELETE": b"DELETE /echo/info HTTP/1.1\r\nHost: here\r\n\r\n",
}
BODIES: Final = {b"Content-Length: 2\r\n": b"[]", b"Content-Length: 02\r\n": b"[]", b"hunked": b"2\r\n[]\r\n0\r\n\r\n"}
"""What an odd head promises: by what stands in it."""
ASKED: Final = USUAL | {
    name: head + next((body for word, body in BODIES.items() if word in head), b"")
    for name, head in ODD.items()
    if name != "a length of 11 digits"  # aiohttp waits for it in a task
}
CHANGING: Final = ("Date", "Server", "ETag", "Last-Modified")


def compared(reply: Reply) -> tuple[int, dict[str, str], bytes]:
    """Return what must be the same: not the clock, nor who wrote it, nor what is random on purpose."""
    headers = {name.lower(): value for name, value in reply.headers.items() if name not in CHANGING}
    body = reply.body
    if b'"entropy"' in body:
        body = json.dumps({**json.loads(body), "entropy": 0}).encode()
        headers.pop("content-length")
    return reply.status, headers, body


async def answer_to(origin: str, request: bytes) -> object:
    """Return what a server says to some bytes; None if it says nothing, and just closes."""
    async with await Wire.to(origin) as wire:
        await wire.send(request)
        if request.startswith(b"HEAD"):
            return (await wire.head()).status
        try:
            if b"Expect" in request:
                assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            return compared(await wire.reply())
        except (EOFError, ConnectionError):
            return None


@pytest.mark.logs_errors  # aiohttp does, for what it cannot read
@pytest.mark.parametrize("request_", [pytest.param(data, id=name) for name, data in ASKED.items()])
async def test_it_answers_as_aiohttp_does(in_front: InFront, serve: Serve, request_: bytes) -> None:
    """The same application says the same, whoever serves it: for usual requests, and for each of the odd ones.

    In a mounted application short answers go straight into the connection, unless somebody else may add to them.
    """
    here, straight, written = [application(max_message=1000, max_batch=2000)[0] for _ in range(3)]
    written.on_response_prepare.append(nothing_to_add)
    mine = await in_front(here, keepalive_timeout=1)
    theirs = [await serve(app, keepalive_timeout=1) for app in (straight, written)]  # aiohttp's runner, by its option
    answers = [await answer_to(origin, request_) for origin in (mine.url, *theirs)]
    assert answers == [answers[0]] * 3


async def nothing_to_add(_request: web.Request, _response: web.StreamResponse) -> None:
    """Listen to `on_response_prepare`."""


UPGRADE = get(
    "/echo/000/abc/websocket",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@pytest.mark.parametrize(
    ("early", "last"),
    [
        pytest.param(b"", b"\x81\x01o", id="nothing"),
        pytest.param(b"\x81\x80\0\0\0\0", b"\x81\x01o", id="an empty text"),
        pytest.param(b"\x81\x01x", b"\x88\x1f\x03\xeaa client must mask its frames", id="a frame that is broken"),
        pytest.param(b"\x88\x82\0\0\0\0\x03\xe8", b"\x88\x02\x03\xe8", id="a close"),
    ],
)
async def test_a_handshake_leaves_with_what_is_said_first(in_front: InFront, early: bytes, last: bytes) -> None:
    """One write for both; whatever has come with the request, the answer to the handshake stands first."""
    app, _ = application()
    served = await in_front(app)
    async with await Wire.to(served.url) as wire:
        await wire.send(UPGRADE + early)
        data = await within(wire.reader.read(4096))
    head, _, frames = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert frames == last


@pytest.mark.logs_errors
async def test_what_the_application_raises_is_answered(
    in_front: InFront, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """An `authenticate` that fails is logged, and its client gets a 500, whoever serves it; others are served on."""

    async def breaks(_request: object, auth: object) -> object:
        if auth == "break":
            raise LookupError("the vault is shut")
        return "ann"

    answers: list[object] = []
    for start in (in_front, serve):
        app, _ = application(authenticate=breaks)
        served = await start(app)
        origin = served if isinstance(served, str) else served.url
        async with await Wire.to(origin) as wire:
            await wire.send(post("/echo/v1/open", b'["i",{"v":1,"auth":"break"}]\n'))
            answers.append(compared(await wire.reply()))
            await wire.send(post("/echo/v1/open", b'["i",{"v":1}]\n'))
            assert (await wire.reply()).status == 200
    failures = [record for record in caplog.records if "a request to" in record.getMessage()]
    assert len(failures) == 2
    assert "the vault is shut" in str(failures[0].exc_text or failures[0].exc_info)
    assert answers[0] == answers[1]
    assert answers[0][0] == 500  # type: ignore[index]


# ── bodies that are too much, or too slow ─────────────────────────────────────────────────────────────────────────


async def test_a_body_above_the_limit(in_front: InFront) -> None:
    """413 at once; what is sent all the same is thrown away, and the connection goes on with what stands behind it."""
    app, _ = application(max_message=1000, max_batch=2000)
    served = await in_front(app)
    async with await Wire.to(served.url) as wire:
        for size in (2001, 100_000, 3 * MIB):
            await wire.send(post("/echo/v1/open", bytes(size)) + GREET.request)
            assert (await wire.reply()).status == 413
            await check(wire, [GREET])


async def test_a_body_that_nobody_wants_must_come(in_front: InFront, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who announces a body that is refused, and does not send it, is cut; who sends it in time is not, ever."""
    monkeypatch.setattr(front, "LINGER", 0.5)
    app, _ = application(max_message=1000, max_batch=2000)
    served = await in_front(app)
    request = post("/echo/v1/open", bytes(3000))
    async with await Wire.to(served.url) as good, await Wire.to(served.url) as bad:
        for wire in (good, bad):
            await wire.send(request[:-1])
            assert (await wire.reply()).status == 413
        await good.send(request[-1:])
        assert await bad.at_end()
        await good.send(request[:-1])  # the patience for the first body is over by now, and this is another's
        assert (await good.reply()).status == 413
        await asyncio.sleep(0.3)
        await good.send(request[-1:] + GREET.request)
        await check(good, [GREET])


async def test_a_slow_body_is_cut(in_front: InFront) -> None:
    """408 to who sends a byte now and then; one who keeps the rate may take longer than the grace."""
    app, _ = application(body_grace=0.5, body_rate=100)
    served = await in_front(app)
    async with await Wire.to(served.url) as slow, await Wire.to(served.url) as steady:
        head = b"POST /echo/v1/open HTTP/1.1\r\nHost: here\r\nContent-Length: 400\r\n\r\n"
        await slow.send(head)
        await steady.send(head)
        begun = time.monotonic()
        for number in range(10):
            await asyncio.sleep(0.1)
            await steady.send(b" " * 40)
            if number < 3:
                await slow.send(b"[")
        assert (await steady.reply()).status == 400, "blanks are no hello, but they came in time"
        reply = await slow.reply()
        assert reply.status == 408
        assert reply.headers["Connection"] == "close"
        assert "body_rate" in reply.text
        assert time.monotonic() - begun < 0.5 * 5
        await slow.send(bytes(397))
        assert await slow.at_end()


async def test_a_body_that_nobody_asks_for_waits_in_the_network(in_front: InFront) -> None:
    """A poll does not read the body it came with: a huge one is not kept, and is thrown away after the answer."""
    witness = Witness()
    app, _ = application(witness)
    served = await in_front(app)
    size = 64 * MIB
    async with await Wire.to(served.url) as wire:
        await wire.send(OPEN.request)
        await check(wire, [OPEN])
        session = await witness.session()
        wire.writer.write(b"POST /echo/0/a/xhr HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % size)
        wire.writer.write(bytes(size))
        sent = asyncio.ensure_future(wire.writer.drain())
        await asyncio.wait((sent,), timeout=1)
        assert not sent.done(), "64 MiB were taken that nobody had asked for"
        session.send_nowait("word")
        assert (await wire.reply()).body == b'a["word"]\n'
        await within(sent)
        await wire.send(GREET.request)
        await check(wire, [GREET])


async def test_a_body_in_a_hundred_thousand_pieces(in_front: InFront) -> None:
    """It costs what one in a few pieces costs, not its size for each piece."""
    app, _ = application()
    served = await in_front(app)
    async with await Wire.to(served.url) as wire:
        wire.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begun = time.process_time()
        await wire.send(b"POST /echo/v1/open HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % MIB)
        for _ in range(1000):
            for _ in range(10):
                wire.writer.write(b" " * 100)
                await asyncio.sleep(0)
        await wire.send(b" " * (MIB - 1_000_000))
        assert (await wire.reply()).status == 400
        assert time.process_time() - begun < 15


# ── who goes, stays silent, or does not read ──────────────────────────────────────────────────────────────────────


async def test_silence_is_cut(in_front: InFront, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says nothing at all, nothing more after a request, or never ends a head, is cut; a parked poll is not."""
    monkeypatch.setattr(front, "SWEEP", 0.1)
    app, _ = application()
    served = await in_front(app, keepalive_timeout=1)
    async with (
        await Wire.to(served.url) as silent,
        await Wire.to(served.url) as once,
        await Wire.to(served.url) as half,
        await Wire.to(served.url) as parked,
    ):
        await once.send(GREET.request)
        await check(once, [GREET])
        await half.send(GREET.request[:-1])
        await parked.send(OPEN.request + OPEN.request)
        await check(parked, [OPEN])
        begun = time.monotonic()
        for wire in (silent, once, half):
            await wire.reader.read()
            assert wire.reader.at_eof()
        assert 0.5 < time.monotonic() - begun < 5 * 1.2
        await once.close()
        async with await Wire.to(served.url) as other:
            await other.send(SEND.request)
            await check(other, [SEND])
        await check(parked, [POLL])


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(GREET.request[:20], id="half a head"),
        pytest.param(SEND.request[:-3], id="half a body"),
        pytest.param(OPEN.request * 2, id="a parked poll"),
        pytest.param(OPEN.request * 3, id="a poll behind a parked poll"),
        pytest.param(post("/echo/0/a/xhr_streaming"), id="a stream"),
        pytest.param(UPLOAD.request[:-3], id="half a body for the application"),
        pytest.param(post("/echo/v1/open", bytes(3 * MIB))[:-1], id="half a body that nobody wants"),
    ],
)
async def test_a_client_that_goes_in_the_middle(in_front: InFront, how: str, request_: bytes) -> None:
    """Nothing is left of it, nothing is logged, and others are served."""
    app, server = application(disconnect_delay=0.2)
    served = await in_front(app)
    async with await Wire.to(served.url) as wire:
        await wire.send(OPEN.request.replace(b"/a/", b"/b/") + SEND.request.replace(b"/a/", b"/b/") + request_)
        await check(wire, [OPEN, SEND])
        await asyncio.sleep(0.02)
        if how == "abort":
            wire.abort()
    async with await Wire.to(served.url) as other:
        await other.send(GREET.request)
        await check(other, [GREET])
    await until(lambda: not server.sessions)


async def test_a_stream_that_is_not_read(in_front: InFront) -> None:
    """What the network does not take waits in the session, within its buffer; once it is read, all of it comes."""
    witness = Witness()
    app, _ = application(witness, response_limit=100 * MIB, buffer=4 * MIB, max_batch=4 * MIB)
    served = await in_front(app)
    async with await Wire.to(served.url) as wire:
        await wire.send(post("/echo/0/a/xhr_streaming"))
        assert (await wire.head()).status == 200
        session = await witness.session()
        message = "x" * 60_000
        sent = 0
        async with asyncio.timeout(PATIENCE):
            for _ in range(1000):
                try:
                    async with asyncio.timeout(0.5):
                        await session.send(message)
                except TimeoutError:
                    break  # it waits for room
                sent += 1
        assert sent < 1000, "60 MB were taken that nobody reads"
        got = 0
        while got < sent:
            got += (await wire.chunk()).count(message.encode())
        assert got == sent


async def test_answers_that_are_not_read(in_front: InFront) -> None:
    """Requests in a row whose answers nobody reads wait in the network; all are answered once somebody does."""
    app, _ = application()
    served = await in_front(app)
    count = 20_000
    async with await Wire.to(served.url) as wire:
        wire.writer.write(GREET.request * count)
        sent = asyncio.ensure_future(wire.writer.drain())
        wire.reader._transport.pause_reading()  # type: ignore[attr-defined]  # noqa: SLF001 - not even into our memory
        await asyncio.wait((sent,), timeout=1)
        held = [one for one in front_transports(served) if one.get_write_buffer_size() > 2 * WRITE_AHEAD]
        assert not held
        wire.reader._transport.resume_reading()  # type: ignore[attr-defined]  # noqa: SLF001
        for _ in range(count):
            head = await wire.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            await wire.reader.readexactly(len(GREET.body))
        await within(sent)


def front_transports(_served: Served) -> list[asyncio.Transport]:
    """Return the transports of all connections that the front has."""
    import gc  # noqa: PLC0415 - for this alone

    return [one.transport for one in gc.get_objects() if isinstance(one, front.Front) and hasattr(one, "transport")]
