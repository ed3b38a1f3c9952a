"""Our own runner: real processes, real signals."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import pytest
from aiohttp import ClientConnectionError, ClientSession, TCPConnector, UnixConnector, web

import hybridws
from hybridws.run import CannotServe, Settings, serve
from hybridws.run.process import find_loop
from tests.run import clients
from tests.run.stage import certificate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.run.stage import Process

    Start = Callable[..., Awaitable[Process]]

LOOPS: Final = ("asyncio", "uvloop")
SESSIONS: Final = 1000
LIMIT: Final = 10.0
"""Seconds from SIGTERM to the end of the process: what is promised."""


def program(settings: str = "", app: str = "make()") -> tuple[str, str]:
    """Return what makes Python run the application with these settings."""
    return "-c", f"import hybridws\nfrom stage_app import *\nhybridws.run({app}, port=0, {settings})"


async def text_of(url: str, **options: object) -> str:
    """Fetch a page that must be there."""
    async with ClientSession() as http, http.get(url, **options) as answer:  # type: ignore[arg-type]
        assert answer.status == 200
        return await answer.text()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_application_is_served_until_a_signal(start: Start, loop: str, number: signal.Signals) -> None:
    """`hybridws.run(app)` says where it listens and with what, serves on either loop, cleans up and ends with 0."""
    process = await start(*program(f"loop={loop!r}"))
    url = await process.listening()
    module = "uvloop" if loop == "uvloop" else "asyncio.unix_events"
    assert await text_of(url) == f"hello over http, {module}"
    process.stop(number)
    assert await process.ended(LIMIT) == 0
    assert f"loop {loop}" in process.log
    assert "backlog 1024, keepalive 75 s" in process.log
    assert "cleaned up" in process.log
    assert "GET /" not in process.log, "the access log is off unless asked for"


@pytest.mark.parametrize("loop", LOOPS)
async def test_sigterm_tells_a_thousand_sessions(start: Start, loop: str) -> None:
    """1,000 sessions over every transport are told 1012, nothing is half-written, and the process ends within 10 s."""
    process = await start(*program(f"loop={loop!r}"))
    url = await process.listening()
    ready = asyncio.Semaphore(0)
    async with ClientSession(connector=TCPConnector(limit=0)) as http:
        tasks: list[asyncio.Task[int]] = [
            asyncio.create_task(clients.KINDS[i % len(clients.KINDS)](http, f"{url}/echo", f"s{i}", ready.release))
            for i in range(SESSIONS)
        ]
        async with asyncio.timeout(60):
            for _ in range(SESSIONS):
                await ready.acquire()
            async with http.get(url) as answer:  # the server is idle again: the last polls have arrived
                assert answer.status == 200
        begun = time.monotonic()
        process.stop(signal.SIGTERM)
        ended = asyncio.create_task(process.ended())
        told = await asyncio.gather(*tasks, return_exceptions=True)
        code = await ended
        took = time.monotonic() - begun
    assert [one for one in told if one != 1012] == []
    assert code == 0, process.log
    assert took <= LIMIT


async def test_nobody_new_comes_in_while_it_stops(start: Start) -> None:
    """While others are told, an open is answered with 503 and a `Retry-After`, each newcomer's another."""
    process = await start(*program())
    url = await process.listening()
    async with ClientSession() as http:
        silent = await http.ws_connect(f"{url}/echo/websocket", autoclose=False)  # keeps the server waiting
        await silent.send_str("hi")
        assert await silent.receive_str() == "hi"
        process.stop(signal.SIGTERM)
        await process.said("stopping")
        answers: list[tuple[int, str]] = []
        for _ in range(3):
            async with http.post(f"{url}/echo/v1/open", data='["i",{"v":1}]\n') as answer:
                answers.append((answer.status, answer.headers["Retry-After"]))
        assert {status for status, _ in answers} == {503}
        assert len({retry for _, retry in answers}) == 3
        await silent.receive()
        await silent.close()
    assert await process.ended(LIMIT) == 0


@pytest.mark.parametrize("loop", LOOPS)
async def test_deaf_clients_do_not_hold_it_up(start: Start, loop: str) -> None:
    """Who does not answer a close, reads nothing or has gone is waited for, but no longer than there is time: 0."""
    process = await start(*program(f"loop={loop!r}, shutdown_timeout=3", "make(disconnect_delay=60)"))
    url = await process.listening()
    async with ClientSession() as http:
        deaf = [await http.ws_connect(f"{url}/echo/{path}", autoclose=False) for path in ("websocket", "0/a/websocket")]
        async with http.post(f"{url}/echo/0/b/xhr"), http.post(f"{url}/echo/v1/open", data='["i",{"v":1}]\n'):
            pass  # and never another poll
        stream = await http.post(f"{url}/echo/0/c/xhr_streaming")
        begun = time.monotonic()
        process.stop(signal.SIGTERM)
        assert await process.ended(LIMIT) == 0, process.log
        assert time.monotonic() - begun < 3 + 2
        stream.close()
        for one in deaf:
            await one.close()


async def test_a_start_that_fails_is_cleaned_up() -> None:
    """What the application raises while it starts comes out as it is, after what had begun was ended."""
    steps: list[str] = []

    async def fail(_: web.Application) -> None:
        raise LookupError("no database")

    async def pool(_: web.Application) -> AsyncIterator[None]:
        yield
        steps.append("cleaned")

    app = web.Application()
    app.cleanup_ctx.append(pool)
    app.on_startup.append(fail)
    with pytest.raises(LookupError, match="no database"):
        await serve(app, port=0)
    assert steps == ["cleaned"]


async def test_a_stubborn_handler_does_not_hold_it_up(start: Start) -> None:
    """A handler that swallows its cancellation is named in the log; the process ends in time all the same, with 1."""
    process = await start(*program("shutdown_timeout=3"))
    url = await process.listening()
    async with ClientSession() as http, http.ws_connect(f"{url}/stubborn/websocket") as ws:
        begun = time.monotonic()
        process.stop(signal.SIGTERM)
        assert (await ws.receive()).data == 1012
        assert await process.ended(LIMIT) == 1
    assert time.monotonic() - begun < 3 + 2
    assert "does not end though it was cancelled" in process.log


async def test_a_loop_that_hangs_does_not_hold_it_up(start: Start) -> None:
    """Where a handler blocks the loop, the process ends in time, and shows where it hung."""
    process = await start(*program("shutdown_timeout=1"))
    url = await process.listening()
    async with ClientSession() as http:
        asked = asyncio.create_task(http.get(f"{url}/block").__aenter__())
        await process.said("blocking")
        process.stop(signal.SIGTERM)
        assert await process.ended(LIMIT) == 1
        with pytest.raises(ClientConnectionError):
            await asked
    assert "in block" in process.log


@pytest.mark.parametrize("loop", LOOPS)
async def test_a_second_signal_ends_it_at_once(start: Start, loop: str) -> None:
    """Whoever does not want to wait sends the signal again; the exit code is the signal's."""
    process = await start(*program(f"loop={loop!r}"))
    url = await process.listening()
    async with ClientSession() as http:
        socket_ = await http.ws_connect(f"{url}/stubborn/websocket", autoclose=False)
        process.stop(signal.SIGTERM)
        await process.said("stopping")
        begun = time.monotonic()
        process.stop(signal.SIGTERM)
        assert await process.ended(LIMIT) == -signal.SIGTERM
        assert time.monotonic() - begun < 5
        await socket_.close()


async def test_requests_of_the_application_are_finished(start: Start) -> None:
    """A slow answer and a large one that have begun come whole, though the process has been told to stop."""
    process = await start(*program())
    url = await process.listening()
    async with ClientSession() as http:
        async with http.get(f"{url}/large") as large:  # it fills the socket, and waits for us
            slow = asyncio.create_task(text_of(f"{url}/slow"))
            await process.said("slow begun")
            process.stop(signal.SIGTERM)
            assert await slow == "whole"
            assert len(await large.read()) == 20_000_000
        assert await process.ended(LIMIT) == 0


@pytest.mark.parametrize("loop", LOOPS)
async def test_tls(start: Start, tmp_path: Path, loop: str) -> None:
    """With a certificate it speaks TLS, WebSockets and sessions included, and stops in order."""
    cert, key = certificate(tmp_path)
    process = await start(*program(f"certfile='cert.pem', keyfile='key.pem', loop={loop!r}"))
    url = await process.listening()
    assert url.startswith("https://127.0.0.1:")
    trust = ssl.create_default_context(cafile=cert)
    assert (await text_of(url, ssl=trust)).startswith("hello over https")
    async with hybridws.connect(f"{url}/echo", ssl=trust, transports=("websocket",)) as session:
        words = ["x" * 200_000, *map(str, range(200))]  # larger than a record of TLS, and smaller
        for word in words:
            await session.send(word)
        assert [await anext(session) for _ in words] == words
        assert session.transport == "websocket"
    async with hybridws.connect(f"{url}/echo", ssl=trust) as session:
        await session.send("hi")
        async for message in session:
            assert message == "hi"
            process.stop(signal.SIGTERM)
    assert session.closed
    assert session.closed.code == 1012
    assert await process.ended(LIMIT) == 0
    assert key.exists()


@pytest.mark.parametrize("loop", LOOPS)
async def test_unix_socket(start: Start, tmp_path: Path, loop: str) -> None:
    """On a unix socket it serves the same, refuses to take the place of another, and leaves no file behind."""
    path = tmp_path / "http.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))  # as one that was killed leaves it
    process = await start(*program(f"path='http.sock', loop={loop!r}"))
    assert await process.listening() == "http+unix://http.sock"
    async with ClientSession(connector=UnixConnector(str(path))) as http, http.get("http://localhost/") as answer:
        assert (await answer.text()).startswith("hello over http")
    other = await start(*program(f"path='http.sock', loop={loop!r}"))
    assert await other.ended() == 1
    assert "the unix socket http.sock is in use" in other.log
    process.stop(signal.SIGTERM)
    assert await process.ended(LIMIT) == 0
    assert not path.exists()


async def test_a_successor_beside_it(start: Start, unused_tcp_port: int) -> None:
    """With SO_REUSEPORT a second process listens on the same port, and goes on when the first has stopped."""
    call = f"hybridws.run(make, port={unused_tcp_port}, reuse_port=True)"
    first, second = [await start("-c", f"import hybridws\nfrom stage_app import *\n{call}") for _ in range(2)]
    await first.listening()
    await second.listening()
    first.stop(signal.SIGTERM)
    assert await first.ended(LIMIT) == 0
    assert (await text_of(second.url)).startswith("hello")


async def test_a_slow_head_is_cut(start: Start) -> None:
    """A request whose head does not come within `keepalive_timeout` ends its connection."""
    process = await start(*program("keepalive_timeout=0.5"))
    host, port = (await process.listening()).removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET / HTTP/1.1\r\nHost:")
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionError):
            await reader.read()
    writer.close()


async def test_what_is_set_in_the_process(start: Start) -> None:
    """The collector is frozen and slowed and descriptors are raised, by `run` and not by an import; few are told of."""
    code = """
import asyncio, gc, resource, sys
before = gc.get_threshold(), gc.get_freeze_count()
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1024))
import hybridws
from stage_app import *
assert (gc.get_threshold(), gc.get_freeze_count()) == before
async def look(request):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    return web.json_response([gc.get_threshold(), gc.get_freeze_count() > 0, limits])
app = web.Application()
app.router.add_get("/", look)
hybridws.run(app, port=0, access_log=True)
"""
    process = await start("-c", code)
    url = await process.listening()
    assert await text_of(url) == "[[100000, 20, 20], true, [1024, 1024]]"
    process.stop(signal.SIGTERM)
    assert await process.ended(LIMIT) == 0
    assert "this process may open 1024 descriptors" in process.log
    assert "GET / HTTP/1.1" in process.log


async def test_without_compiled_parts_it_warns(start: Start) -> None:
    """Where aiohttp reads requests in Python, strictness and speed are not what they should be: it is said."""
    process = await start(*program(), AIOHTTP_NO_EXTENSIONS="1")
    await process.listening()
    assert "aiohttp has no compiled parts here" in process.log


def test_uvloop_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` does without; who asks for it by name is told how to get it."""
    monkeypatch.setitem(sys.modules, "uvloop", None)  # as Python itself notes that there is none
    assert find_loop("auto") is None
    assert find_loop("asyncio") is None
    with pytest.raises(CannotServe, match=r"pip install 'hybridws\[fast\]'"):
        find_loop("uvloop")


async def test_run_belongs_to_the_main_thread() -> None:
    """Elsewhere no signal could end it: it says so, and what to use."""
    with pytest.raises(RuntimeError, match=r"elsewhere use serve\(\)"):
        await asyncio.to_thread(hybridws.run, web.Application())


# ── serve, in a loop of one's own ─────────────────────────────────────────────────────────────────────────────────


async def test_serve_ends_with_its_event() -> None:
    """`serve` listens in a running loop, tells where, and returns when `stop` is set; port and sessions are gone."""
    urls: asyncio.Queue[list[str]] = asyncio.Queue()
    stop = asyncio.Event()
    app = web.Application()

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app.router.add_get("/", hello)
    serving = asyncio.create_task(serve(app, port=0, stop=stop, started=urls.put_nowait))
    (url,) = await asyncio.wait_for(urls.get(), 5)
    assert await text_of(url) == "hello"
    stop.set()
    await asyncio.wait_for(serving, 5)
    with pytest.raises(ClientConnectionError):
        await text_of(url)


async def test_serve_ends_when_it_is_cancelled() -> None:
    """A task that is cancelled ends in the same order: the application's clean-up runs."""
    started = asyncio.Event()
    steps: list[str] = []

    async def clean(_: web.Application) -> None:
        steps.append("cleaned")

    async def make() -> web.Application:
        app = web.Application()
        app.on_cleanup.append(clean)
        return app

    serving = asyncio.create_task(serve(make, port=0, started=lambda _: started.set()))
    await asyncio.wait_for(started.wait(), 5)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert steps == ["cleaned"]


async def test_all_addresses_and_ipv6() -> None:
    """An empty host is all addresses; IPv6 addresses stand in brackets."""
    stop = asyncio.Event()
    stop.set()
    seen: list[str] = []
    await serve(web.Application(), host="::1", port=0, stop=stop, started=seen.extend)
    await serve(web.Application(), host="", port=0, stop=stop, started=seen.extend)
    assert seen[0].startswith("http://[::1]:")
    assert any(url.startswith("http://0.0.0.0:") for url in seen[1:])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "nowhere.invalid"}, "cannot listen on nowhere.invalid"),
        ({"host": "203.0.113.1"}, "no interface of this machine"),
        ({"path": "/nowhere/http.sock"}, "its folder does not exist"),
        ({"certfile": "/nowhere/cert.pem"}, "cannot read /nowhere/cert.pem: No such file"),
        ({"certfile": __file__}, "no TLS with"),
    ],
)
async def test_why_it_cannot_listen(settings: dict[str, Any], words: str) -> None:
    """What cannot be listened on is said in a sentence, with what it was."""
    with pytest.raises(CannotServe, match=words):
        await serve(web.Application(), port=0, **settings)


async def test_a_taken_port_is_named(unused_tcp_port_factory: Callable[[], int]) -> None:
    """The port and the address that are in use stand in the message."""
    port = unused_tcp_port_factory()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(CannotServe, match=f"port {port} of 127.0.0.1 is in"):
        await serve(web.Application(), port=port)


async def test_a_key_that_is_another_certificates(tmp_path: Path) -> None:
    """A certificate and a key that do not belong together are refused with the names of both files."""
    cert, _ = certificate(tmp_path)
    (tmp_path / "other").mkdir()
    _, key = certificate(tmp_path / "other")
    with pytest.raises(CannotServe, match=r"cert\.pem and .*other/key\.pem"):
        await serve(web.Application(), port=0, certfile=cert, keyfile=key)


async def test_what_is_no_application() -> None:
    """Neither an application nor what makes one: it is named."""
    with pytest.raises(CannotServe, match=r"42 is no aiohttp.web.Application"):
        await serve(42)  # type: ignore[arg-type]
    with pytest.raises(CannotServe, match=r"and .*<lambda> made it"):
        await serve(lambda: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(CannotServe, match=r"does not make an application by itself: missing"):
        await serve(lambda config: config)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    "settings",
    [
        {"port": -1},
        {"port": 65536},
        {"port": True},
        {"backlog": 0},
        {"keepalive_timeout": 0},
        {"shutdown_timeout": "9"},
        {"loop": "trio"},
        {"log_level": "loud"},
        {"keyfile": "key.pem"},
        {"certfile": "cert.pem", "ssl_context": ssl.create_default_context()},
    ],
)
def test_settings_that_cannot_work(settings: dict[str, object]) -> None:
    """Each is refused with its name before anything starts."""
    with pytest.raises(ValueError, match=next(iter(settings))):
        Settings(**settings)  # type: ignore[arg-type]


def test_the_name_is_a_function() -> None:
    """`hybridws.run` is what one calls, though a package of this name stands beside it, which can be imported from."""
    assert callable(hybridws.run)
    assert hybridws.run.__module__ == "hybridws.run.process"
    assert serve.__module__ == "hybridws.run.serving"
