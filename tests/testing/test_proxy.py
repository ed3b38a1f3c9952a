"""The hostile proxy: each mode does to a plain client, a stream and a WebSocket what its table says."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidHandshake, InvalidStatus

import hybridws.testing
from hybridws.testing import HostileProxy, Mode
from hybridws.testing.ends import End, Road
from tests.testing.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.testing.conftest import Place

WAIT = 20.0
"""Seconds within which what must happen happens."""
QUIET = 0.15
"""Seconds of silence that stand for "never"."""


async def soon(thing: Awaitable[Any]) -> Any:  # noqa: ANN401 - whatever it gives
    """Wait for what must happen."""
    async with asyncio.timeout(WAIT):
        return await thing


async def until(fact: Callable[[], object]) -> None:
    """Wait until something is so that nobody tells."""
    async with asyncio.timeout(WAIT):
        while not fact():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.002)


async def never(thing: Awaitable[Any]) -> None:
    """See that something does not happen in `QUIET` seconds, and cancel it."""
    task = asyncio.ensure_future(thing)
    done, _ = await asyncio.wait({task}, timeout=QUIET)
    task.cancel()
    await asyncio.wait({task})
    assert not done


async def raw(url: str, words: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Say bytes on a connection of one's own."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(words)
    return reader, writer


async def read_all(url: str, words: bytes) -> bytes:
    """Say bytes, and return all that comes until the end of the connection, however that is."""
    reader, writer = await raw(url, words)
    heard = b""
    try:
        while data := await soon(reader.read(65536)):
            heard += data
    except ConnectionError:
        pass
    writer.close()
    return heard


def get(path: str, *headers: str, version: str = "1.1") -> bytes:
    """Write a request without a body."""
    return "\r\n".join([f"GET {path} HTTP/{version}", "Host: x", *headers, "", ""]).encode()


def post(path: str, body: bytes, *headers: str) -> bytes:
    """Write a request with a body."""
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


def ws(proxy: HostileProxy) -> connect:
    """Open a WebSocket through the proxy, with another library than the server's."""
    return connect(proxy.url.replace("http", "ws") + "/ws", compression=None, close_timeout=WAIT)


# ── ok ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_ok_passes_requests_and_answers(place: Place, http: aiohttp.ClientSession) -> None:
    """Methods, bodies, headers and statuses pass unchanged, one after another on one connection."""
    async with HostileProxy(place.url) as proxy:
        async with http.get(f"{proxy.url}/hello") as answer:
            assert (answer.status, await answer.text(), answer.headers["X-Own"]) == (200, "hello", "yes")
        for body in (b"", b"small", b"x" * 300_000):
            async with http.post(f"{proxy.url}/echo", data=body) as answer:
                assert await answer.read() == body
        async with http.get(f"{proxy.url}/nowhere") as answer:
            assert answer.status == 404
        async with http.head(f"{proxy.url}/hello") as answer:
            assert (answer.status, answer.headers["Content-Length"], await answer.read()) == (200, "5", b"")
        assert proxy.counters.connections == 1
        assert proxy.counters.requests == 6
        assert proxy.counters.bytes_up > 300_000
        assert proxy.counters.bytes_down > 300_000
        assert place.origin.requests[0].headers["Host"] == urlsplit(proxy.url).netloc


async def test_ok_passes_chunked_bodies_both_ways(place: Place, http: aiohttp.ClientSession) -> None:
    """A body without a length arrives whole, whichever way it goes."""

    async def pieces() -> Any:  # noqa: ANN401 - an async generator
        for piece in (b"one", b"two", b"x" * 100_000):
            yield piece

    place.origin.go.set()
    async with HostileProxy(place.url) as proxy:
        async with http.post(f"{proxy.url}/echo", data=pieces()) as answer:
            assert await answer.read() == b"onetwo" + b"x" * 100_000
        async with http.get(f"{proxy.url}/stream") as answer:
            assert answer.headers["Transfer-Encoding"] == "chunked"
            assert await answer.read() == b"111two"


async def test_ok_passes_a_stream_as_it_comes(place: Place, http: aiohttp.ClientSession) -> None:
    """The first piece of a stream is there before the second is written."""
    async with HostileProxy(place.url) as proxy, http.get(f"{proxy.url}/stream") as answer:
        assert await soon(answer.content.readany()) == b"111"
        place.origin.go.set()
        assert await soon(answer.content.read()) == b"two"


async def test_ok_passes_websockets(place: Place) -> None:
    """Frames of both kinds pass, however large, with the subprotocol and the close, both ways in order."""
    async with HostileProxy(place.url) as proxy:
        url = proxy.url.replace("http", "ws") + "/ws"
        async with connect(url, subprotocols=["tea"], max_size=None) as socket:  # type: ignore[list-item]
            assert socket.subprotocol == "tea"
            for message in ("text", b"bytes", b"x" * 1_000_000):
                await socket.send(message)
                assert await soon(socket.recv()) == message
        assert socket.close_code == 1000
        await soon(place.origin.left.wait())
        assert proxy.counters.upgrades == 1
        assert proxy.counters.cuts == 0


async def test_a_client_that_leaves_is_noticed_at_the_origin(place: Place, http: aiohttp.ClientSession) -> None:
    """When a client gives up a stream, its connection to the origin ends too."""
    async with HostileProxy(place.url) as proxy:
        async with http.get(f"{proxy.url}/stream") as answer:
            await soon(answer.content.readany())
            answer.close()
        await until(lambda: place.origin.requests[0].transport is None)  # aiohttp tells it in no other way


async def test_a_request_goes_on_after_its_client_has_left(place: Place) -> None:
    """A client that says a whole request and leaves at once has said it."""
    async with HostileProxy(place.url) as proxy:
        _, writer = await raw(proxy.url, post("/echo", b"last words"))
        writer.close()
        await soon(place.origin.arrived.wait())
        assert place.origin.bodies == [b"last words"]


async def test_an_origin_that_is_not_there_is_a_bad_gateway(http: aiohttp.ClientSession) -> None:
    """Without an origin the answer is 502."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with HostileProxy(f"http://127.0.0.1:{port}") as proxy, http.get(proxy.url) as answer:
        assert answer.status == 502


async def test_an_early_answer_passes(serve: Callable[..., Awaitable[str]]) -> None:
    """An origin may refuse a body before it has come."""
    url = await serve(Origin().app, lingering_time=0)  # else aiohttp waits for the rest, even of who has left
    async with HostileProxy(url) as proxy:
        head = b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
        reader, writer = await raw(proxy.url, head + b"x" * 1000)
        assert (await soon(reader.readline())).split()[1] == b"413"
        writer.close()


@pytest.mark.parametrize(
    "words",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nbad name : x\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET /" + b"x" * 70_000,
    ],
)
async def test_what_is_no_http_is_refused(place: Place, words: bytes) -> None:
    """A broken head is answered with 400 and the end, and nothing of it reaches the origin."""
    async with HostileProxy(place.url) as proxy:
        assert (await read_all(proxy.url, words)).startswith(b"HTTP/1.1 400 ")
        assert not place.origin.requests


async def test_pipelined_requests_are_answered_in_order(place: Place) -> None:
    """Two requests that come at once are served one after the other."""
    async with HostileProxy(place.url) as proxy:
        heard = await read_all(proxy.url, get("/hello") + post("/echo", b"two", "Connection: close"))
        assert heard.count(b"HTTP/1.1 200 OK") == 2
        assert heard.index(b"hello") < heard.index(b"two")


async def test_a_client_of_http_1_0_gets_a_stream_without_chunks(place: Place) -> None:
    """An old client's stream ends with its connection."""
    place.origin.go.set()
    async with HostileProxy(place.url) as proxy:
        head, _, body = (await read_all(proxy.url, get("/stream", version="1.0"))).partition(b"\r\n\r\n")
        assert body == b"111two"
        assert b"chunked" not in head


async def test_a_client_that_expects_to_continue_may(place: Place) -> None:
    """`Expect: 100-continue` is answered, and the body passes."""
    async with HostileProxy(place.url) as proxy:
        reader, writer = await raw(proxy.url, post("/echo", b"", "Expect: 100-continue").replace(b": 0", b": 4"))
        assert await soon(reader.readline()) == b"HTTP/1.1 100 Continue\r\n"
        writer.write(b"body")
        await soon(place.origin.arrived.wait())
        assert place.origin.bodies == [b"body"]
        writer.close()


@pytest.mark.parametrize("name", [None, "example.org:8080"])
async def test_the_host_can_be_rewritten(place: Place, http: aiohttp.ClientSession, name: str | None) -> None:
    """With `rewrite_host` the origin sees its own name, as behind nginx's defaults, or another that is given."""
    async with HostileProxy(place.url, rewrite_host=name or True) as proxy, http.get(f"{proxy.url}/hello"):
        assert place.origin.requests[0].headers.getall("Host") == [name or urlsplit(place.url).netloc]


# ── WebSockets that do not work ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("mode", "status"), [("ws_refused", 403), ("ws_refused:400", 400), ("ws_refused:502", 502)])
async def test_ws_refused(place: Place, http: aiohttp.ClientSession, mode: str, status: int) -> None:
    """An upgrade gets the status and does not reach the origin; plain requests pass."""
    async with HostileProxy(place.url, mode) as proxy:
        with pytest.raises(InvalidStatus) as caught:
            await soon(ws(proxy))
        assert caught.value.response.status_code == status
        assert not place.origin.requests
        async with http.get(f"{proxy.url}/hello") as answer:
            assert answer.status == 200


async def test_ws_hangs(place: Place, http: aiohttp.ClientSession) -> None:
    """An upgrade is never answered and never reaches the origin; plain requests pass."""
    async with HostileProxy(place.url, "ws_hangs") as proxy:
        await never(ws(proxy).__aenter__())
        assert not place.origin.requests
        async with http.get(f"{proxy.url}/hello") as answer:
            assert answer.status == 200
        assert proxy.counters.upgrades == 1


async def test_ws_silent(place: Place) -> None:
    """The handshake succeeds, then nothing passes either way, not even the origin's close."""
    async with HostileProxy(place.url, "ws_silent") as proxy:
        socket = await soon(ws(proxy).__aenter__())
        down = proxy.counters.bytes_down
        await socket.send("anybody there?")
        await never(socket.recv())
        assert proxy.counters.bytes_down == down
        socket.transport.abort()
        await soon(socket.wait_closed())
        await soon(place.origin.left.wait())


async def test_ws_dies(place: Place) -> None:
    """A WebSocket works for its time, and is then reset without a close."""
    async with HostileProxy(place.url, "ws_dies:600") as proxy:
        begun = time.monotonic()
        async with ws(proxy) as socket:
            await socket.send("quick")
            assert await soon(socket.recv()) == "quick"
            with pytest.raises(ConnectionClosedError) as caught:
                await soon(socket.recv())
        assert caught.value.rcvd is None
        assert time.monotonic() - begun >= 0.6
        assert proxy.counters.cuts == 1


# ── buffers ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["buffers", "hangs_and_buffers", "ws_refused+buffers"])
async def test_buffers(place: Place, http: aiohttp.ClientSession, mode: str) -> None:
    """Nothing of a stream arrives, not even its head, before it has ended; then all of it does, with its length."""
    async with HostileProxy(place.url, mode) as proxy:
        task = asyncio.ensure_future(http.get(f"{proxy.url}/stream?size=100000").__aenter__())
        await soon(place.origin.arrived.wait())
        done, _ = await asyncio.wait({task}, timeout=QUIET)
        assert not done
        assert proxy.counters.bytes_down == 0
        place.origin.go.set()
        async with await soon(task) as answer:
            assert answer.headers["Content-Length"] == "100003"
            assert await answer.read() == b"1" * 100_000 + b"two"


async def test_hangs_and_buffers_hangs(place: Place) -> None:
    """It takes an upgrade and never answers."""
    async with HostileProxy(place.url, "hangs_and_buffers") as proxy:
        await never(ws(proxy).__aenter__())


async def test_buffers_lets_websockets_pass(place: Place) -> None:
    """What it buffers are responses."""
    async with HostileProxy(place.url, "buffers") as proxy, ws(proxy) as socket:
        await socket.send("hi")
        assert await soon(socket.recv()) == "hi"


async def test_buffers_first(place: Place, http: aiohttp.ClientSession) -> None:
    """A stream shows nothing before it has so many bytes, and then passes as it comes."""
    async with HostileProxy(place.url, "buffers_first:2048") as proxy:
        await never(http.get(f"{proxy.url}/stream?size=2047").__aenter__())
        async with http.get(f"{proxy.url}/stream?size=2048") as answer:
            assert await soon(answer.content.readexactly(2048)) == b"1" * 2048
            place.origin.go.set()
            assert await soon(answer.content.read()) == b"two"
        async with http.get(f"{proxy.url}/sized?size=10") as answer:
            assert await answer.read() == b"x" * 10


# ── cuts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_idle_kill(place: Place) -> None:
    """What is silent is reset after that time, and what is not stays."""
    begun = time.monotonic()
    async with HostileProxy(place.url) as proxy, ws(proxy) as busy, ws(proxy) as idle:
        proxy.mode = "idle_kill:1"
        waiting = asyncio.ensure_future(idle.wait_closed())
        while not waiting.done():
            await busy.send("alive")
            await soon(busy.recv())
            await asyncio.wait({waiting}, timeout=0.02)
        assert time.monotonic() - begun >= 1
        assert idle.close_code == 1006
        await busy.send("still alive")
        assert await soon(busy.recv()) == "still alive"


async def test_idle_kill_acts_on_open_connections(place: Place) -> None:
    """A mode that is set later cuts what has been silent until then."""
    async with HostileProxy(place.url) as proxy, ws(proxy) as socket:
        await never(socket.wait_closed())
        proxy.mode = f"idle_kill:{QUIET / 2}"
        await soon(socket.wait_closed())
        assert socket.close_code == 1006


@pytest.mark.parametrize("at", [0, 1, 40, 200, 5000])
async def test_cut_resets_after_so_many_bytes(place: Place, at: int) -> None:
    """Exactly so many bytes of an answer arrive, wherever that is, and then a reset."""
    async with HostileProxy(place.url, f"cut:{at}") as proxy:
        reader, writer = await raw(proxy.url, get("/sized?size=9999"))
        with pytest.raises(ConnectionResetError):
            await soon(reader.readexactly(at + 1))
        assert proxy.counters.bytes_down == at
        assert proxy.counters.cuts == 1
        writer.close()


async def test_cut_is_in_mid_frame(place: Place) -> None:
    """A WebSocket is reset inside a frame."""
    async with HostileProxy(place.url, "cut:3000") as proxy, ws(proxy) as socket:
        await socket.send("x" * 1000)
        assert await soon(socket.recv()) == "x" * 1000
        await socket.send("x" * 3000)
        with pytest.raises(ConnectionClosedError):
            await soon(socket.recv())
        assert proxy.counters.bytes_down == 3000


async def test_cut_up_stops_a_body_half_way(place: Place) -> None:
    """A POST that is cut on its way up never counts as whole at the origin."""
    async with HostileProxy(place.url, "cut:5000:up") as proxy:
        assert await read_all(proxy.url, post("/echo", b"x" * 9999)) == b""
        assert proxy.counters.bytes_up == 5000
        assert not place.origin.bodies


async def test_cut_now_resets_all_that_is_open(place: Place, http: aiohttp.ClientSession) -> None:
    """`cut` breaks a stream in mid-body and a WebSocket, and the next requests pass."""
    async with HostileProxy(place.url) as proxy:
        async with ws(proxy) as socket, http.get(f"{proxy.url}/stream") as answer:
            await soon(answer.content.readany())
            assert proxy.counters.open == 2
            proxy.cut()
            assert proxy.counters.open == 0
            with pytest.raises(aiohttp.ClientError):
                await soon(answer.content.readany())
            await soon(socket.wait_closed())
        await soon(place.origin.left.wait())
        async with http.get(f"{proxy.url}/hello") as again:
            assert again.status == 200
        assert proxy.counters.cuts == 2


async def test_freeze_stops_all_without_a_word(place: Place) -> None:
    """After `freeze` neither side hears anything more, not even of the end; new connections work."""
    async with HostileProxy(place.url) as proxy, ws(proxy) as frozen:
        proxy.freeze()
        await frozen.send("lost")
        await never(frozen.recv())
        async with ws(proxy) as fresh:
            await fresh.send("hi")
            assert await soon(fresh.recv()) == "hi"
        proxy.cut()
        await soon(frozen.wait_closed())


async def test_freeze_leaves_no_hole() -> None:
    """What was on the road at a `freeze` is lost, and so is all that is sent after it, also where the road is fast."""
    near, far = socket.socketpair()
    road = Road()
    end = End(road)
    with near, far:
        far.settimeout(0)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: end, sock=near)
        await end.send(b"one")
        assert await soon(loop.sock_recv(far, 10)) == b"one"
        road.delay = 0.05
        await end.send(b"two")
        road.delay = 0
        end.freeze()
        await end.send(b"three")
        await never(loop.sock_recv(far, 10))
        end.abort()
        await soon(end.lost.wait())


# ── old and confused proxies ──────────────────────────────────────────────────────────────────────────────────────


async def test_http10(place: Place) -> None:
    """Answers are HTTP/1.0 without chunks and end with the connection; streams pass as they come."""
    async with HostileProxy(place.url, "http10") as proxy:
        reader, writer = await raw(proxy.url, get("/stream"))
        head = await soon(reader.readuntil(b"\r\n\r\n"))
        assert head.startswith(b"HTTP/1.0 200 OK\r\n")
        assert b"chunked" not in head
        assert b"Connection: close" in head
        assert await soon(reader.readexactly(3)) == b"111"
        place.origin.go.set()
        assert await soon(reader.read()) == b"two"
        writer.close()
        assert place.origin.requests[0].version == (1, 0)


async def test_http10_knows_no_upgrade_and_no_chunks(place: Place, http: aiohttp.ClientSession) -> None:
    """An upgrade arrives as a plain request; a chunked body arrives with its length."""

    async def pieces() -> Any:  # noqa: ANN401 - an async generator
        yield b"one"
        yield b"two"

    async with HostileProxy(place.url, "http10") as proxy:
        with pytest.raises(InvalidHandshake):
            await soon(ws(proxy))
        assert "Upgrade" not in place.origin.requests[0].headers
        async with http.post(f"{proxy.url}/echo", data=pieces()) as answer:
            assert await answer.read() == b"onetwo"
        assert place.origin.requests[-1].headers["Content-Length"] == "6"


async def test_bad_gateway(place: Place, http: aiohttp.ClientSession) -> None:
    """Every k-th request since the mode began is answered with 502 and goes no further."""
    async with HostileProxy(place.url) as proxy:
        statuses: list[int] = []
        for count in range(7):
            if count == 1:
                proxy.mode = "bad_gateway:3"
            async with http.post(f"{proxy.url}/echo", data=b"x") as answer:
                statuses.append(answer.status)
        assert statuses == [200, 200, 200, 502, 200, 200, 502]
        assert len(place.origin.requests) == 5


async def test_replays(place: Place, http: aiohttp.ClientSession) -> None:
    """A POST reaches the origin twice and is answered once; a GET passes once."""
    async with HostileProxy(place.url, "replays") as proxy:
        async with http.post(f"{proxy.url}/echo", data=b"again") as answer:
            assert await answer.read() == b"again"
        await until(lambda: len(place.origin.bodies) == 2)
        async with http.get(f"{proxy.url}/hello") as answer:
            assert answer.status == 200
        assert len(place.origin.requests) == 3


async def test_replays_what_hangs(place: Place, http: aiohttp.ClientSession) -> None:
    """A POST that the origin holds, as a poll, is said again while the first is still there."""
    async with HostileProxy(place.url, "replays") as proxy:
        task = asyncio.ensure_future(http.post(f"{proxy.url}/echo?slow", data=b"poll"))
        await until(lambda: len(place.origin.bodies) == 2)
        place.origin.go.set()
        async with await soon(task) as answer:
            assert await answer.read() == b"poll"


async def test_replays_late(place: Place, http: aiohttp.ClientSession) -> None:
    """With a time, the copy follows after the client has had its answer, and even after it has left."""
    async with HostileProxy(place.url, "replays:600") as proxy:
        async with http.post(f"{proxy.url}/echo", data=b"again") as answer:
            assert await answer.read() == b"again"
        assert place.origin.bodies == [b"again"]
        place.origin.arrived.clear()
        await soon(place.origin.arrived.wait())
        assert place.origin.bodies == [b"again", b"again"]


async def test_reorders(place: Place, http: aiohttp.ClientSession) -> None:
    """Of two requests the first is held back, so that the second overtakes it."""
    async with HostileProxy(place.url, "reorders:600") as proxy:

        async def say(word: bytes) -> None:
            async with http.post(f"{proxy.url}/echo", data=word) as answer:
                assert await answer.read() == word

        first = asyncio.ensure_future(say(b"first"))
        await until(lambda: proxy.counters.requests)
        await say(b"second")
        await first
        assert place.origin.bodies == [b"second", b"first"]


async def test_reorders_delivers_after_the_client_has_left(place: Place) -> None:
    """A request that is held back arrives late, even if nobody waits for its answer any more."""
    async with HostileProxy(place.url, "reorders:100") as proxy:
        _, writer = await raw(proxy.url, post("/echo", b"late"))
        writer.close()
        await soon(place.origin.arrived.wait())
        assert place.origin.bodies == [b"late"]


# ── slow ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_slow_has_a_round_trip(place: Place) -> None:
    """Every exchange takes a round trip, and a stream of messages takes it once, not once each."""
    async with HostileProxy(place.url, "slow:0:200") as proxy, ws(proxy) as socket:
        begun = time.monotonic()
        for number in range(20):
            await socket.send(str(number))
        assert [await soon(socket.recv()) for _ in range(20)] == [str(number) for number in range(20)]
        assert 0.2 <= time.monotonic() - begun < 3.0


async def test_slow_has_a_rate(place: Place, http: aiohttp.ClientSession) -> None:
    """So many bytes a second arrive, bit by bit, for all connections together."""
    async with HostileProxy(place.url, "slow:100000") as proxy:
        begun = time.monotonic()

        async def load() -> int:
            times = 0
            async with http.get(f"{proxy.url}/sized?size=20000") as answer:
                async for _ in answer.content.iter_any():
                    times += 1
            return times

        pieces = await asyncio.gather(load(), load())
        assert time.monotonic() - begun >= 0.38
        assert min(pieces) >= 3


async def test_slow_acts_at_once_and_keeps_the_order(place: Place) -> None:
    """A road may become slow and fast again under an open connection, and nothing overtakes."""
    async with HostileProxy(place.url) as proxy, ws(proxy) as socket:
        for number in range(300):
            if number % 50 == 0:
                proxy.mode = ("slow:50000:50", "ok")[number // 50 % 2]
            await socket.send(str(number))
            if number % 7 == 0:
                await asyncio.sleep(0)
        assert [int(await soon(socket.recv())) for _ in range(300)] == list(range(300))


# ── changes ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_flip_keeps_what_is_open(place: Place) -> None:
    """A flip without a cut concerns only what comes after it."""
    async with HostileProxy(place.url) as proxy, ws(proxy) as socket:
        await proxy.flip("ws_refused")
        await socket.send("hi")
        assert await soon(socket.recv()) == "hi"
        with pytest.raises(InvalidStatus):
            await soon(ws(proxy))
        proxy.mode = "ok"
        async with ws(proxy) as other:
            await other.send("hi")
            assert await soon(other.recv()) == "hi"


async def test_flip_cuts_what_is_open(place: Place) -> None:
    """A flip with a cut resets the old connections, and when it returns they are closed."""
    async with HostileProxy(place.url) as proxy, ws(proxy) as socket:
        await proxy.flip("ws_hangs", cut=True)
        assert proxy.counters.open == 0
        await soon(socket.wait_closed())
        assert socket.close_code == 1006
        assert str(proxy.mode) == "ws_hangs"


async def test_flip_refuses_a_mode_that_is_none(place: Place) -> None:
    """A mistake in a mode's name changes nothing and cuts nothing."""
    async with HostileProxy(place.url, "ws_refused") as proxy:
        with pytest.raises(ValueError, match="no mode"):
            await proxy.flip("ws_hang", cut=True)
        with pytest.raises(ValueError, match="no mode"):
            proxy.mode = "ws_hang"
        assert str(proxy.mode) == "ws_refused"


@pytest.mark.parametrize("old", ["keep", "cut", "freeze"])
async def test_flips_by_itself(place: Place, old: str) -> None:
    """A mode may say when it turns into another, and what becomes of what is open."""
    async with HostileProxy(place.url, f"ok,flips:600ms:{old},ws_refused") as proxy, ws(proxy) as socket:
        await until(lambda: proxy.mode.upgrades == "refuse")
        if old == "cut":
            await soon(socket.wait_closed())
        else:
            await socket.send("hi")
            if old == "keep":
                assert await soon(socket.recv()) == "hi"
            else:
                await never(socket.recv())
                proxy.cut()
        with pytest.raises(InvalidStatus):
            await soon(ws(proxy))


async def test_modes_combine(place: Place, http: aiohttp.ClientSession) -> None:
    """Several modes act together, in words or as a Mode."""
    async with HostileProxy(place.url, "http10+buffers+slow:0:100+ws_refused:502") as proxy:
        begun = time.monotonic()
        async with http.get(f"{proxy.url}/hello") as answer:
            assert (answer.version, await answer.text()) == ((1, 0), "hello")
        assert time.monotonic() - begun >= 0.1
        proxy.mode = Mode(bad_every=1)
        async with http.get(f"{proxy.url}/hello") as answer:
            assert answer.status == 502


# ── the proxy itself ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_it_ends_at_once_and_leaves_nothing(place: Place, http: aiohttp.ClientSession) -> None:
    """However much is open, hanging, slow, frozen or to come, the end takes no time and leaves no task or socket."""
    proxy = HostileProxy(place.url, "ws_hangs+slow:10:1000+idle_kill:99+replays:99s")
    async with proxy:
        plain = [asyncio.ensure_future(http.post(f"{proxy.url}/echo?slow", data=b"x" * 99)) for _ in range(3)]
        hanging = asyncio.ensure_future(ws(proxy).__aenter__())
        await until(lambda: proxy.counters.requests == 4)
        proxy.freeze()
        proxy.mode = "ok,flips:99,ok"
        async with http.get(f"{proxy.url}/stream") as answer:
            await soon(answer.content.readany())
            begun = time.monotonic()
            await proxy.stop()
            assert time.monotonic() - begun < 2.5
    await asyncio.wait([*plain, hanging])
    assert all(task.exception() for task in [*plain, hanging])
    assert not [task for task in asyncio.all_tasks() if str(Path(hybridws.testing.__file__).parent) in repr(task)]
    with pytest.raises(RuntimeError, match="not running"):
        _ = proxy.url


async def test_it_says_what_it_is(place: Place) -> None:
    """Its repr tells where it listens, what is behind it, and how it behaves; its address keeps the origin's path."""
    proxy = HostileProxy(f"{place.url}/echo", "ws_dies:500")
    assert repr(proxy) == f"<HostileProxy before {urlsplit(place.url).netloc}, ws_dies:500>"
    async with proxy:
        assert proxy.url.startswith("http://127.0.0.1:")
        assert proxy.url.endswith("/echo")
        assert repr(proxy).startswith(f"<HostileProxy on {proxy.url} before ")


@pytest.mark.parametrize("origin", ["ws://127.0.0.1:1", "127.0.0.1:1", "http://", "/echo"])
def test_an_origin_is_an_http_address(origin: str) -> None:
    """What is no http or https address is refused at once."""
    with pytest.raises(ValueError, match="http or https address"):
        HostileProxy(origin)


@pytest.mark.both_loops
async def test_cut_while_the_origin_is_reached(place: Place) -> None:
    """Whatever turn of the loop it comes in, a cut is complete: also right behind a connection."""
    async with HostileProxy(place.url) as proxy:
        for turns in range(40):
            _, writer = await raw(proxy.url, get("/hello"))
            for _ in range(turns):
                await asyncio.sleep(0)
            await soon(proxy.flip("ok", cut=True))
            writer.close()


async def test_a_stop_among_newcomers(place: Place) -> None:
    """A proxy that stops while clients connect leaves no socket open: a warning would fail this test."""

    async def knock(port: int) -> None:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()

    for turns in range(60):
        proxy = HostileProxy(place.url)
        await proxy.start()
        port = urlsplit(proxy.url).port
        assert port
        knocks = [asyncio.create_task(knock(port)) for _ in range(5)]
        for _ in range(turns % 6):
            await asyncio.sleep(0)
        await proxy.stop()
        await asyncio.gather(*knocks)
    gc.collect()
