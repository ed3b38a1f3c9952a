"""`mount`: on any application, at any prefix, several side by side, and away without a trace at its end."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Self

import pytest
from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError, web
from aiohttp.abc import AbstractAccessLogger
from yarl import URL

from hybridws import ANY_ORIGIN_WITH_CREDENTIALS, Server
from hybridws.aiohttp import SERVERS, mount
from hybridws.session import Closed
from tests.memory import idle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from aiohttp import ClientWebSocketResponse

    from hybridws import Session

    Handler = Callable[[Session], Coroutine[Any, Any, object]]
    Serve = Callable[..., Awaitable[str]]

PATIENCE = 5.0
"""Seconds in which anything that these tests wait for must have happened."""


async def echo(session: Session) -> None:
    """Say what was said."""
    async for message in session:
        await session.send(message)


def shouts(word: str) -> Handler:
    """Make a handler that greets with a word, so that one can tell which one it is."""

    async def handle(session: Session) -> None:
        await session.send(word)
        async for _ in session:
            pass

    return handle


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    """Make an HTTP client that ends with the test."""
    async with ClientSession() as client:
        yield client


async def greeting(client: ClientSession, address: str) -> str:
    """Return the first thing that is said on a raw WebSocket at this mount."""
    async with client.ws_connect(f"{address}/websocket") as socket:
        return await socket.receive_str()


async def closing(socket: ClientWebSocketResponse) -> tuple[list[str], int, str]:
    """Return what still comes, and the code and reason of the close frame."""
    texts: list[str] = []
    while True:
        message = await socket.receive()
        if message.type is WSMsgType.TEXT:
            texts.append(message.data)
        elif message.type is WSMsgType.CLOSE:
            return texts, message.data, message.extra or ""
        else:
            raise AssertionError(message)


# ── prefixes ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("prefix", ["/echo", "/echo/", "/a/b.c/d-e_f~1", "/(a*)", "/echo+1"])
async def test_a_mount_answers_below_its_prefix(serve: Serve, client: ClientSession, prefix: str) -> None:
    """With and without a slash behind it; beside it, nothing is ours."""
    app = web.Application()
    mount(app, prefix, shouts("here"))
    address = await serve(app)
    base = address + prefix.rstrip("/")
    for tail in ("", "/"):
        async with client.get(base + tail) as answer:
            assert (answer.status, await answer.text()) == (200, "Welcome to SockJS!\n")
    async with client.get(f"{base}/info") as answer:
        assert answer.status == 200
        assert (await answer.json())["websocket"] is True
    assert await greeting(client, base) == "here"
    for beside in (base + "x", base + "x/info", address + "/", address + "/info"):
        async with client.get(beside) as answer:
            assert answer.status == 404
            assert await answer.text() == "404: Not Found", "aiohttp's own answer"


async def page(_request: web.Request) -> web.Response:
    """Answer as the application's own pages do."""
    return web.Response(text="page")


@pytest.mark.parametrize("prefix", ["/", ""])
async def test_a_mount_at_the_root(serve: Serve, client: ClientSession, prefix: str) -> None:
    """It takes every address that no route before it has taken."""
    app = web.Application()
    app.router.add_get("/page", page)
    server = mount(app, prefix, shouts("root"))
    address = await serve(app)
    async with client.get(f"{address}/") as answer:
        assert await answer.text() == "Welcome to SockJS!\n"
    async with client.get(f"{address}/info") as answer:
        assert answer.status == 200
    async with client.get(f"{address}/page") as answer:
        assert await answer.text() == "page"
    async with client.get(f"{address}/other") as answer:
        assert answer.status == 404
        assert await answer.text() == "there is nothing at this address\n"
    assert await greeting(client, address) == "root"
    assert app[SERVERS] == {"": server}


@pytest.mark.parametrize("prefix", ["chat", "chat/", "a/b", "http://example.org/chat", "*"])
def test_a_prefix_begins_with_a_slash(prefix: str) -> None:
    """The error says how it is written."""
    with pytest.raises(ValueError, match="must begin with a slash, as in '/chat'"):
        mount(web.Application(), prefix, echo)


@pytest.mark.parametrize("prefix", ["/{room}", "/chat/{id:\\d+}", "/a}"])
def test_a_prefix_is_no_pattern(prefix: str) -> None:
    """A session would not know which of the addresses it is at."""
    with pytest.raises(ValueError, match="must be a plain path, without patterns"):
        mount(web.Application(), prefix, echo)


@pytest.mark.parametrize("prefix", ["/a b", "/été", "/%41", "/a?b", "/a#b", "/chat\n"])
def test_a_prefix_is_what_stands_in_an_address(prefix: str) -> None:
    """What would have to be escaped there is refused: aiohttp would never match it."""
    with pytest.raises(ValueError, match="prefix"):
        mount(web.Application(), prefix, echo)


@pytest.mark.parametrize(("first", "second"), [("/chat", "/chat"), ("/chat", "/chat/"), ("", "/")])
def test_a_prefix_is_taken_once(first: str, second: str) -> None:
    """The second mount would never be reached: it is an error, and the first stands."""
    app = web.Application()
    server = mount(app, first, echo)
    with pytest.raises(ValueError, match=r"something is mounted at .* already"):
        mount(app, second, echo)
    assert list(app[SERVERS].values()) == [server]


async def test_mounts_stand_side_by_side(serve: Serve, client: ClientSession) -> None:
    """Each has its own sessions, rooms and options, also where one prefix begins with another, in any order."""
    app = web.Application()
    prefixes = ["/chat", "/chat/room", "/chat2", "/deep/a", "/deep"]
    servers = {prefix: mount(app, prefix, shouts(prefix)) for prefix in prefixes}
    assert app[SERVERS] == servers
    address = await serve(app)
    for prefix in prefixes:
        async with client.ws_connect(f"{address}{prefix}/websocket") as socket:
            assert await socket.receive_str() == prefix
            assert {other for other, server in servers.items() if len(server.sessions)} == {prefix}
            assert servers[prefix].broadcast("to all") == 1
            assert await socket.receive_str() == "to all"


@pytest.mark.parametrize("order", [["/", "/chat"], ["/chat", "/"]], ids=str)
async def test_a_root_mount_leaves_room_for_others(serve: Serve, client: ClientSession, order: list[str]) -> None:
    """Whichever was mounted first, the longer prefix counts."""
    app = web.Application()
    for prefix in order:
        mount(app, prefix, shouts(prefix))
    address = await serve(app)
    assert await greeting(client, f"{address}/chat") == "/chat"
    assert await greeting(client, address) == "/"


async def test_a_mount_on_a_sub_application(serve: Serve, client: ClientSession) -> None:
    """Its prefix is below the sub-application's, its server in the sub-application, and it ends with the whole."""
    app, api = web.Application(), web.Application()
    server = mount(api, "/chat", shouts("nested"))
    other = mount(app, "/chat", shouts("top"))
    app.add_subapp("/api/v2", api)
    assert api[SERVERS] == {"/chat": server}
    assert app[SERVERS] == {"/chat": other}
    address = await serve(app)
    assert await greeting(client, f"{address}/api/v2/chat") == "nested"
    assert await greeting(client, f"{address}/chat") == "top"
    async with client.get(f"{address}/api/chat") as answer:
        assert answer.status == 404
    async with client.ws_connect(f"{address}/api/v2/chat/websocket"):
        (session,) = server.sessions
        assert session.http_request.path == "/api/v2/chat/websocket"
        assert session.http_request.tail == "/websocket"


async def test_the_iframe_page_knows_where_it_is(serve: Serve, client: ClientSession) -> None:
    """Its script's address is below the same prefix, in a sub-application too, and it is there."""
    app, api = web.Application(), web.Application()
    mount(api, "/chat", echo, legacy=True)
    app.add_subapp("/api", api)
    address = await serve(app)
    async with client.get(f"{address}/api/chat/iframe.html") as answer:
        assert '<script src="/api/chat/sockjs.min.js"></script>' in await answer.text()
    async with client.get(f"{address}/api/chat/sockjs.min.js") as answer:
        assert answer.status == 200
        assert "sockjs-client" in await answer.text()


# ── options and the way to the server ─────────────────────────────────────────────────────────────────────────────


def test_a_slip_in_an_option_is_an_error_that_names_it() -> None:
    """Nothing is mounted then."""
    app = web.Application()
    with pytest.raises(ValueError, match="heartbeat_dely"):
        mount(app, "/chat", echo, heartbeat_dely=5)
    with pytest.raises(ValueError, match="disconnect_delay must be a number above 0"):
        mount(app, "/chat", echo, disconnect_delay=0)
    with pytest.raises(ValueError, match="is no origin"):
        mount(app, "/chat", echo, origins=["example.org"])
    assert app.get(SERVERS, {}) == {}
    mount(app, "/chat", echo)


def test_the_loud_word_warns_at_start(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever lets any page act as its visitors reads so in the log."""
    mount(web.Application(), "/chat", echo, origins=ANY_ORIGIN_WITH_CREDENTIALS)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize(("patience", "lines"), [(None, 1), (121, 1), (120, 0), (75, 0)])
async def test_a_patient_runner_is_warned_of_once(
    serve: Serve, client: ClientSession, caplog: pytest.LogCaptureFixture, patience: float | None, lines: int
) -> None:
    """Only the runner can cut slow heads: one that waits for more than 120 s is named once, with what to pass it."""
    app = web.Application()
    mount(app, "/a", echo)
    mount(app, "/b", echo)
    address = await serve(app, **({} if patience is None else {"keepalive_timeout": patience}))
    for prefix in ("/a", "/b", "/a"):
        async with client.get(address + prefix) as answer:
            assert answer.status == 200
    warnings = [line for line in map(logging.LogRecord.getMessage, caplog.records) if "keepalive_timeout=75" in line]
    assert len(warnings) == lines


async def test_a_page_of_the_application_reaches_the_server(serve: Serve, client: ClientSession) -> None:
    """By a typed key, without a global: a plain POST is told to everybody."""
    app = web.Application()

    async def tell(request: web.Request) -> web.Response:
        server: Server = request.app[SERVERS]["/chat"]
        return web.json_response({"told": server.broadcast(await request.text()), "here": len(server.sessions)})

    server = mount(app, "/chat", echo)
    app.router.add_post("/tell", tell)
    assert isinstance(server, Server)
    address = await serve(app)
    async with client.ws_connect(f"{address}/chat/websocket") as socket:
        async with client.post(f"{address}/tell", data="lunch") as answer:
            assert await answer.json() == {"told": 1, "here": 1}
        assert await socket.receive_str() == "lunch"


async def test_the_opening_request_is_what_the_browser_sent(serve: Serve, client: ClientSession) -> None:
    """Headers, cookies, query, address, path, method and scheme; decoded, and read-only."""
    app = web.Application()
    server = mount(app, "/api/chat", echo, subprotocols=["v2", "v1"])
    address = await serve(app)
    async with client.ws_connect(
        f"{address}/api/chat/websocket?room=tea&x=%20",
        headers={"X-Custom": "yes", "Cookie": "a=1; b=2", "Origin": address},
        protocols=["v1", "v2"],
    ) as socket:
        (session,) = server.sessions
        request = session.http_request
        assert (request.method, request.path, request.tail) == ("GET", "/api/chat/websocket", "/websocket")
        assert dict(request.query) == {"room": "tea", "x": " "}
        assert request.headers["x-CUSTOM"] == "yes"
        assert dict(request.cookies) == {"a": "1", "b": "2"}
        assert (request.remote, request.scheme) == ("127.0.0.1", "http")
        assert session.subprotocol == socket.protocol == "v2"
        assert session.transport == "websocket-raw"
        with pytest.raises(AttributeError):
            request.path = "/other"  # type: ignore[misc]  # that is the point


async def test_middlewares_of_the_application_are_asked(serve: Serve, client: ClientSession) -> None:
    """They see each request before we do and may refuse it, and they see what it was answered with."""
    seen: list[tuple[str, int]] = []

    @web.middleware
    async def guard(request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        if request.headers.get("X-Guard") != "open":
            raise web.HTTPUnauthorized(text="who are you?")
        response = await handler(request)
        seen.append((request.path, response.status))
        return response

    app = web.Application(middlewares=[guard])
    server = mount(app, "/chat", echo)
    address = f"{await serve(app)}/chat"
    async with client.get(address) as answer:
        assert (answer.status, await answer.text()) == (401, "who are you?")
    with pytest.raises(WSServerHandshakeError, match="401"):
        await client.ws_connect(f"{address}/websocket")
    assert len(server.sessions) == 0
    pass_key = {"X-Guard": "open"}
    async with client.get(address, headers=pass_key) as answer:
        assert answer.status == 200
    async with client.get(f"{address}/none", headers=pass_key) as answer:
        assert answer.status == 404
    async with client.ws_connect(f"{address}/websocket", headers=pass_key) as socket:
        await socket.send_str("hi")
        assert await socket.receive_str() == "hi"
        session = next(iter(server.sessions))
    await session.wait_closed()
    assert seen[:2] == [("/chat", 200), ("/chat/none", 404)]


async def test_signals_of_the_application_may_add_headers(serve: Serve, client: ClientSession) -> None:
    """`on_response_prepare` reaches our answers too."""

    async def add(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers["X-Added"] = "yes"

    app = web.Application()
    app.on_response_prepare.append(add)
    mount(app, "/chat", echo)
    async with client.get(f"{await serve(app)}/chat/info") as answer:
        assert answer.headers["X-Added"] == "yes"


async def test_answers_are_in_the_access_log(serve: Serve, client: ClientSession) -> None:
    """Whoever writes an answer, aiohttp logs its status and size, and other middlewares see what it was."""
    seen: list[tuple[int, int, str, bool]] = []
    logged: list[str] = []

    class Log(AbstractAccessLogger):
        def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
            logged.append(f"{request.method} {response.status} {response.body_length} {time >= 0}")

    @web.middleware
    async def look(request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        response = await handler(request)
        told = response.headers.get("Content-Type", "")
        seen.append((response.status, response.body_length, told, response.prepared))
        return response

    app = web.Application(middlewares=[look])
    mount(app, "/chat", echo)
    address = f"{await serve(app, access_log_class=Log)}/chat"
    async with client.get(address) as answer:
        assert await answer.read() == b"Welcome to SockJS!\n"
    async with client.get(f"{address}/none") as answer:
        assert answer.status == 404
        size = len(await answer.read())
    assert seen == [
        (200, 19, "text/plain; charset=UTF-8", True),
        (404, size, "text/plain; charset=UTF-8", True),
    ]
    assert logged == ["GET 200 19 True", f"GET 404 {size} True"]


async def test_answers_that_nobody_reads_wait(serve: Serve) -> None:
    """Requests in a row whose answers are not read are not all answered into memory; once they are read, they are."""
    served: list[web.Request] = []

    @web.middleware
    async def count(request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        served.append(request)
        return await handler(request)

    app = web.Application(middlewares=[count])
    mount(app, "/chat", echo)
    address = URL(await serve(app))
    reader, writer = await asyncio.open_connection(address.host, address.port, limit=1024)
    many = 50_000
    writer.write(b"GET /chat HTTP/1.1\r\nHost: here\r\n\r\n" * many)
    while True:
        before = len(served)
        await asyncio.sleep(0.5)
        if len(served) == before:
            break
    assert 0 < before < many, "12 MB of answers were made for nobody"
    held = served[-1].transport
    assert held is not None
    assert held.get_write_buffer_size() < 256 * 1024
    async with asyncio.timeout(6 * PATIENCE):
        for _ in range(many):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            await reader.readexactly(19)
    writer.close()


async def test_the_applications_own_body_limit_is_not_ours(serve: Serve, client: ClientSession) -> None:
    """A small `client_max_size` for uploads does not make our batches smaller, nor a large one larger."""
    app = web.Application(client_max_size=10)
    mount(app, "/chat", echo, max_message=1_000, max_batch=2_000)
    address = f"{await serve(app)}/chat/000/abc"
    async with client.post(f"{address}/xhr") as answer:
        assert await answer.read() == b"o\n"
    async with client.post(f"{address}/xhr_send", data=b'["%b"]' % (b"x" * 900)) as answer:
        assert answer.status == 204
    async with client.post(f"{address}/xhr_send", data=b'["%b"]' % (b"x" * 2_000)) as answer:
        assert answer.status == 413
        assert "max_batch" in await answer.text()


# ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Stage:
    """An application that runs until a test stops it."""

    def __init__(self, app: web.Application, **options: Any) -> None:  # noqa: ANN401 - AppRunner's own
        """Prepare to run an application."""
        self.runner = web.AppRunner(app, **options)
        self.address = ""

    async def __aenter__(self) -> Self:
        """Start on a free port."""
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        host, port = self.runner.addresses[0][:2]
        self.address = f"http://{host}:{port}"
        return self

    async def stop(self) -> None:
        """Stop as SIGTERM does."""
        async with asyncio.timeout(2 * PATIENCE):
            await self.runner.cleanup()

    async def __aexit__(self, *error: object) -> None:
        """Stop if the test has not."""
        await self.runner.cleanup()


async def test_at_the_end_everybody_is_told(client: ClientSession) -> None:
    """WebSockets get their last messages and a close frame with 1012, waiting polls and streams theirs."""
    polled = asyncio.Event()

    @web.middleware
    async def watch(request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        if request.path.endswith("/xhr"):
            polled.set()
        return await handler(request)

    app = web.Application(middlewares=[watch])

    async def handle(session: Session) -> None:
        await echo(session)
        assert session.closed == Closed(1012, "the server is restarting", "local")

    server = mount(app, "/chat", handle)
    async with Stage(app) as stage:
        address = f"{stage.address}/chat"
        raw = await client.ws_connect(f"{address}/websocket")
        sockjs = await client.ws_connect(f"{address}/000/ws/websocket")
        assert await sockjs.receive_str() == "o"
        async with client.post(f"{address}/000/poll/xhr") as answer:
            assert await answer.read() == b"o\n"
        polled.clear()
        poll = asyncio.create_task(client.post(f"{address}/000/poll/xhr"))
        stream = await client.post(f"{address}/000/stream/xhr_streaming")
        assert await stream.content.readline() == b"h" * 2048 + b"\n"
        assert await stream.content.readline() == b"o\n"
        await polled.wait()
        await idle()
        await raw.send_str("hi")
        assert await raw.receive_str() == "hi"
        server.broadcast("last words")
        stopping = asyncio.create_task(stage.stop())
        assert await closing(raw) == (["last words"], 1012, "the server is restarting")
        texts, code, _ = await closing(sockjs)
        assert texts == ['a["last words"]', 'c[1012,"the server is restarting"]']
        assert code == 1000
        assert b'a["last words"]\n' in await (await poll).read()
        assert await stream.content.read() == b'a["last words"]\nc[1012,"the server is restarting"]\n'
        await stopping
    assert len(server.sessions) == 0


async def test_at_the_end_handlers_have_their_grace(client: ClientSession) -> None:
    """What a handler does in its `finally` is done before the process is through; who stays longer is cancelled."""
    steps: list[str] = []

    async def save(session: Session) -> None:
        try:
            await echo(session)
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            steps.append("saved")

    async def stay(session: Session) -> None:
        try:
            await echo(session)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            steps.append("cancelled")
            raise

    app = web.Application()
    mount(app, "/save", save)
    mount(app, "/stay", stay, handler_grace=0.1)
    async with Stage(app) as stage:
        sockets = [await client.ws_connect(f"{stage.address}{prefix}/websocket") for prefix in ("/save", "/stay")]
        for socket in sockets:
            await socket.send_str("hi")
            assert await socket.receive_str() == "hi"
        reading = [asyncio.create_task(closing(socket)) for socket in sockets]
        await stage.stop()
        assert {code for _, code, _ in await asyncio.gather(*reading)} == {1012}
    assert steps == ["saved", "cancelled"]


async def test_a_client_that_ignores_the_end_does_not_hold_it_up() -> None:
    """A WebSocket whose peer never answers the close frame is cut after `close_timeout`."""
    app = web.Application()
    server = mount(app, "/chat", echo, close_timeout=0.1)
    async with Stage(app) as stage:
        host, _, port = stage.address.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"GET /chat/websocket HTTP/1.1\r\nHost: %b:%b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            % (host.encode(), port.encode())
        )
        assert b" 101 " in await reader.readline()
        await reader.readuntil(b"\r\n\r\n")
        assert len(server.sessions) == 1
        await stage.stop()
        assert await reader.read() == b"\x88\x1a\x03\xf4the server is restarting"
        writer.close()


async def test_a_server_that_stops_takes_nobody_new(serve: Serve, client: ClientSession) -> None:
    """New sessions are answered with 503; pages that open none still are."""
    app = web.Application()
    server = mount(app, "/chat", echo)
    address = f"{await serve(app)}/chat"
    await server.close()
    async with client.post(f"{address}/000/abc/xhr") as answer:
        assert answer.status == 503
        assert "about to stop" in await answer.text()
    for path in ("/websocket", "/000/abc/websocket"):
        with pytest.raises(WSServerHandshakeError, match="503"):
            await client.ws_connect(address + path)
    async with client.get(f"{address}/info") as answer:
        assert answer.status == 200
    assert len(server.sessions) == 0
