"""The client's API: what `connect` may be told, what it tells, and how it ends."""

from __future__ import annotations

import asyncio
import base64
import gc
import os
import ssl
import subprocess
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiohttp import web

import hybridws
from hybridws.aiohttp import mount
from hybridws.client import CannotConnect, pilot
from hybridws.core import backoff
from hybridws.errors import Forbidden
from hybridws.options import Admission
from hybridws.testing import HostileProxy
from tests.client.ground import CODECS, PATIENCE, TRANSPORTS, Diary, echo, listen, take, until, within

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from hybridws import Session
    from hybridws.client import Event
    from tests.client.ground import Mounting

VALUES = ["text", "", "\u2603 \U0001f600", 0, -1.5, None, True, [], {"a": [1, {"b": None}]}, b"", b"\x00\xff" * 50]

# ── what it may be told ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"transports": ()}, "transports must be some of websocket, stream, poll"),
        ({"transports": ("carrier-pigeon",)}, "carrier-pigeon"),
        ({"transports": "poll"}, "transports must be a list, not the text 'poll'"),
        ({"transports": ("poll", "poll")}, "transports must be"),
        ({"codec": "xml"}, "the codec is one of json, msgpack"),
        ({"onlost": "cry"}, '"close" or "reopen"'),
        ({"open_timeout": -3}, "open_timeout must be a number of seconds above 0, not -3"),
        ({"close_timeout": "3"}, "close_timeout must be a number of seconds above 0, not '3'"),
        ({"first": "abc"}, "first must be a list of messages"),
        ({"on_event": 3}, "on_event must be a function"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], says: str) -> None:
    """A wrong option is a ValueError at once, with the name of what is wrong, before anything is connected."""
    with pytest.raises(ValueError, match=r".") as caught:
        hybridws.connect("http://127.0.0.1:9/s", **options)
    assert says in str(caught.value)


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1/s", "127.0.0.1:80/s", "http:///s"])
def test_an_address_is_checked(url: str) -> None:
    """What is no address of a server is a ValueError that says how one looks."""
    with pytest.raises(ValueError, match="http://host/prefix"):
        hybridws.connect(url)


async def test_a_query_is_shown_to_the_server(place: Mounting) -> None:
    """By whatever transport; a fragment stays at home, as in a browser."""
    for transport in TRANSPORTS:
        here = await place(echo)
        async with hybridws.connect(f"{here.url}?room=tea&room=%26#top", transports=(transport,)) as session:
            await session.send("hi")
            assert await within(anext(session)) == "hi"
            query = here.session.http_request.query
            assert query["room"] == "tea"
            assert "#" not in str(query)


async def test_a_connection_opens_once(place: Mounting) -> None:
    """A second `async with` is refused, and harms nothing."""
    here = await place(echo)
    connection = hybridws.connect(here.url)
    async with connection:
        with pytest.raises(RuntimeError, match="opened before"):
            await connection.__aenter__()
        await connection.send("still here")
        assert await within(anext(connection)) == "still here"
    assert len(here.server.sessions) <= 1


async def test_no_mount_there(place: Mounting) -> None:
    """A wrong address is named as what it most likely is."""
    here = await place(echo)
    with pytest.raises(CannotConnect, match=r"there is no mount of hybridws at this address \(404\)"):
        async with hybridws.connect(f"{here.url}/nobody/here", open_timeout=0.3):
            pass


async def test_credentials_that_cannot_be_sent(place: Mounting) -> None:
    """They are named as what cannot be sent."""
    here = await place(echo)
    with pytest.raises(hybridws.Unsendable, match="`auth` cannot be sent"):
        async with hybridws.connect(here.url, auth=object()):
            pass


@pytest.mark.parametrize("scheme", ["ws", "http"])
async def test_both_kinds_of_address_serve(place: Mounting, scheme: str) -> None:
    """`ws://` means what `http://` does, as users of other libraries write it."""
    here = await place(echo)
    async with hybridws.connect(here.url.replace("http", scheme), first=[1]) as session:
        assert await take(session, 1) == [1]


def test_nothing_works_before_it_is_open() -> None:
    """A connection that was not entered says how it is used."""
    connection = hybridws.connect("http://127.0.0.1:9/s")
    with pytest.raises(RuntimeError, match="async with"):
        _ = connection.id
    assert connection.transport is None
    assert not connection.online
    assert "not open" in repr(connection)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_every_value_over_every_transport(place: Mounting, transport: str, codec: Any) -> None:  # noqa: ANN401 - a Literal
    """A fixed transport carries every kind of message both ways, in both codecs, and no other is tried."""
    here = await place(echo)
    async with hybridws.connect(here.url, transports=(transport,), codec=codec) as session:
        for value in VALUES:
            await session.send(value)
        assert await take(session, len(VALUES)) == VALUES
        assert session.transport == transport
        assert {attempt.transport for attempt in session.info.attempts} == {"open", transport}
        assert session.info.round_trip > 0


@pytest.mark.parametrize(
    ("order", "ends"),
    [
        (("poll", "stream"), "poll"),
        (("stream", "poll"), "stream"),
        (("poll", "websocket"), "poll"),
        (("stream", "websocket"), "stream"),
        (("websocket", "poll"), "websocket"),
        (("poll", "stream", "websocket"), "poll"),
    ],
)
async def test_the_order_is_the_applications(place: Mounting, order: tuple[str, ...], ends: str) -> None:
    """The first transport of the order carries where the network lets it, also if the library likes another better."""
    here = await place(echo)
    async with hybridws.connect(here.url, transports=order) as session:
        await until(lambda: any(attempt.transport == ends and attempt.took for attempt in session.info.attempts))
        for number in range(5):
            await session.send(number)
            assert await take(session, 1) == [number]
        assert session.transport == ends


async def test_a_socket_as_the_last_resort(place: Mounting) -> None:
    """Where nothing better gets through, what stands behind it in the order is used, a WebSocket too."""
    here = await place(echo)
    async with (
        HostileProxy(here.url, mode="buffers") as proxy,
        hybridws.connect(proxy.url, transports=("stream", "websocket"), first=[1]) as session,
    ):
        await until(lambda: session.transport == "websocket")
        await session.send(2)
        assert await take(session, 2) == [1, 2]


async def test_first_messages_ride_with_the_opening(place: Mounting) -> None:
    """What is given as `first` is with the application before any transport is attached, in order, once."""
    heard: list[tuple[object, bool]] = []

    async def handler(session: Session) -> None:
        async for message in session:
            heard.append((message, session.transport is None))  # noqa: PERF401 - the test looks at it while it grows

    here = await place(handler)
    async with hybridws.connect(here.url, first=["a", {"b": 1}]) as session:
        await session.send("c")
        await until(lambda: len(heard) == 3)
    assert heard[:2] == [("a", True), ({"b": 1}, True)]
    assert heard[2][0] == "c"


async def test_first_messages_that_cannot_be_sent(place: Mounting) -> None:
    """A first message without words is the caller's error, and nothing is left open."""
    here = await place(echo)
    with pytest.raises(hybridws.Unsendable):
        await hybridws.connect(here.url, first=[float("nan")]).__aenter__()
    assert len(here.server.sessions) == 0


async def test_headers_cookies_and_origin(place: Mounting) -> None:
    """Headers and cookies go with every request; with a cookie goes our origin, since the server asks who sends it."""
    here = await place(echo)
    async with hybridws.connect(here.url, headers={"X-Own": "yes"}, cookies={"who": "me"}, first=[1]) as session:
        await take(session, 1)
        await until(lambda: session.transport == "websocket")
        request = here.session.http_request
        assert request.headers["X-Own"] == "yes"
        assert request.cookies["who"] == "me"
        assert request.headers["Origin"] == here.url.removesuffix("/s")
    async with hybridws.connect(here.url) as session:
        assert "Origin" not in here.session.http_request.headers


# ── proxies and TLS ───────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def forward_proxy(user: str, password: str) -> AsyncGenerator[tuple[str, list[str]], None]:
    """Run a forward proxy that asks for a password, and give its address and the requests that it let through."""
    passed: list[str] = []
    word = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    tasks: set[asyncio.Task[Any]] = set()

    async def pipe(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        target.close()

    async def serve_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, _, rest = head.partition("\r\n")
            method, target, version = line.split(" ")
            if f"Proxy-Authorization: {word}\r\n" not in rest:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            passed.append(f"{method} {target}")
            host = target if method == "CONNECT" else target.split("/")[2]
            name, _, port = host.partition(":")
            far_reader, far_writer = await asyncio.open_connection(name, int(port))
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                path = target.split(host, 1)[1]
                far_writer.write(f"{method} {path} {version}\r\n{rest}".encode())
            await asyncio.gather(pipe(reader, far_writer), pipe(far_reader, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # asyncio's server would report a cancelled task
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve_client, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}", passed
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_through_a_proxy_with_a_password(place: Mounting, transport: str) -> None:
    """Every transport goes through the HTTP proxy that was named, and gives it its password."""
    here = await place(echo)
    async with forward_proxy("ann", "s3cret") as (proxy, passed):
        named = proxy.replace("//", "//ann:s3cret@")
        async with hybridws.connect(here.url, proxy=named, transports=(transport,), first=[1]) as session:
            await session.send(2)
            assert await take(session, 2) == [1, 2]
            await until(lambda: session.transport == transport)
        assert any("/v1/open" in line for line in passed)


async def test_a_proxys_refusal_is_told(place: Mounting) -> None:
    """A proxy that wants another password is the network: the error says 407 and whom it asked."""
    here = await place(echo)
    async with forward_proxy("ann", "s3cret") as (proxy, _):
        named = proxy.replace("//", "//ann:wrong@")
        with pytest.raises(CannotConnect, match="407") as caught:
            await hybridws.connect(here.url, proxy=named, open_timeout=0.3).__aenter__()
        assert caught.value.code is None


async def test_the_environments_proxy(place: Mounting, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `trust_env` the proxy of the environment is used, without it it is not."""
    here = await place(echo)
    for name in list(os.environ):
        if name.lower() in ("no_proxy", "http_proxy", "all_proxy"):
            monkeypatch.delenv(name)
    async with forward_proxy("ann", "s3cret") as (proxy, passed):
        monkeypatch.setenv("http_proxy", proxy.replace("//", "//ann:s3cret@"))
        async with hybridws.connect(here.url, first=[1]) as session:
            assert await take(session, 1) == [1]
        assert not passed
        async with hybridws.connect(here.url, trust_env=True, first=[1]) as session:
            assert await take(session, 1) == [1]
        assert passed


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for 127.0.0.1 that nobody has signed but itself; the key stands beside it."""
    where = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(where / "key.pem")]
    subprocess.run([*command, "-out", str(where / "cert.pem")], check=True, capture_output=True)
    return where / "cert.pem"


@pytest.fixture
async def https(certificate: Path) -> AsyncIterator[str]:
    """Serve an echo over TLS, and give its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    app = web.Application()
    mount(app, "/s", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}/s"
    await runner.cleanup()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_tls_with_a_context_of_ones_own(https: str, certificate: Path, transport: str) -> None:
    """A TLS context is used for requests and WebSockets alike."""
    context = ssl.create_default_context(cafile=str(certificate))
    async with hybridws.connect(https, ssl=context, transports=(transport,), first=[1]) as session:
        await session.send(2)
        assert await take(session, 2) == [1, 2]
        await until(lambda: session.transport == transport)


async def test_a_certificate_is_checked(https: str) -> None:
    """A certificate that nobody known has signed is refused, and the error says so."""
    with pytest.raises(CannotConnect, match="certificate"):
        await hybridws.connect(https, open_timeout=0.3).__aenter__()


async def test_a_certificate_may_be_left_unchecked(https: str) -> None:
    """`ssl=False` checks nothing, as with aiohttp."""
    async with hybridws.connect(https, ssl=False, first=[1]) as session:
        assert await take(session, 1) == [1]


# ── what it tells ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_turns_of_a_quiet_life(place: Mounting) -> None:
    """A connection that nothing happens to tells three things, each with its reason."""
    here = await place(echo)
    diary = Diary()
    async with hybridws.connect(here.url, first=[1], on_event=diary) as session:
        await take(session, 1)
        await until(lambda: session.transport == "websocket")
    assert diary.states == ["connecting", "open", "closed"]
    assert diary.events[0].reason == here.url
    assert diary.events[-1].transport == "websocket"
    assert all(event.reason for event in diary.events)


async def test_a_cut_and_what_it_tells(place: Mounting) -> None:
    """A cut is told as `interrupted` with its cause, then `resumed` with the transport that carries again."""
    here = await place(echo)
    diary = Diary()
    async with HostileProxy(here.url) as proxy, hybridws.connect(proxy.url, on_event=diary) as session:
        await until(lambda: session.transport == "websocket" and session.online)
        await until(lambda: here.session.transport == "websocket")
        proxy.cut()
        await until(lambda: "resumed" in diary.states)
        assert "1006" in diary.of("interrupted").reason
        assert diary.of("resumed").transport in TRANSPORTS
        await session.send("again")
        assert await take(session, 1) == ["again"]
        died = [attempt for attempt in session.info.attempts if "1006" in (attempt.failure or "")]
        assert [attempt.transport for attempt in died] == ["websocket"]
    assert diary.states == ["connecting", "open", "interrupted", "resumed", "closed"]


async def test_attempts_say_why_they_failed(place: Mounting) -> None:
    """`info.attempts` has each try with its time and its failure; the one that serves has none."""
    here = await place(echo)
    async with (
        HostileProxy(here.url, mode="ws_refused:400+buffers") as proxy,
        hybridws.connect(proxy.url, first=[1]) as session,
    ):
        await until(lambda: session.transport == "poll" and session.info.attempts[-1].took is not None)
        failures = {attempt.transport: attempt.failure for attempt in session.info.attempts}
        assert failures["open"] is None
        assert "400" in (failures["websocket"] or "")
        assert "buffered" in (failures["stream"] or "")
        assert failures["poll"] is None
        assert all(attempt.took is not None and attempt.at > 0 for attempt in session.info.attempts)
        assert [stay.name for stay in session.transports][-1] == "poll"


@pytest.mark.logs_errors
async def test_an_on_event_that_fails_hurts_nobody(place: Mounting, caplog: pytest.LogCaptureFixture) -> None:
    """An exception in `on_event` is logged, and the connection goes on."""
    here = await place(echo)

    def fail(event: Event) -> None:
        raise LookupError(event.state)

    async with hybridws.connect(here.url, first=[1], on_event=fail) as session:
        assert await take(session, 1) == [1]
    assert session.closed
    assert [record.levelname for record in caplog.records].count("ERROR") == 3


# ── sessions that are lost ────────────────────────────────────────────────────────────────────────────────────────


async def lose(proxy: HostileProxy, session: Session) -> None:
    """Keep a client away until its session is forgotten."""
    await proxy.flip("bad_gateway:1", cut=True)
    await within(session.wait_closed())


async def test_a_lost_session_closes_the_connection(place: Mounting) -> None:
    """By default the loss ends iteration, `send` raises with what was not confirmed, and `closed` says 1006."""
    here = await place(listen, resume=0.3)
    diary = Diary()
    async with HostileProxy(here.url) as proxy, hybridws.connect(proxy.url, on_event=diary) as session:
        await until(lambda: session.online and here.session.transport == "websocket")
        theirs = here.session
        await proxy.flip("bad_gateway:1", cut=True)
        await session.send("unheard")
        assert session.unacked == ["unheard"]
        await within(theirs.wait_closed())
        await proxy.flip("ok")
        assert await take(session, 1) == []
        assert session.closed is not None
        assert session.closed.by == "network"
        assert session.closed.code in (1006, 4404)
        assert not session.online
        with pytest.raises(hybridws.SessionClosed) as caught:
            await session.send("more")
        assert caught.value.unacked == ("unheard",)
        assert diary.of("reset").unacked == ("unheard",)
        assert diary.states[-2:] == ["reset", "closed"]
        assert session.info.resets == 1


async def test_a_lost_session_is_replaced(place: Mounting) -> None:
    """With `reopen` a new session takes over, `reset` says what was not confirmed, and iteration goes on."""
    here = await place(echo, resume=0.3)
    diary = Diary()
    async with (
        HostileProxy(here.url) as proxy,
        hybridws.connect(proxy.url, onlost="reopen", on_event=diary) as session,
    ):
        got: list[object] = []

        async def read() -> None:
            async for message in session:
                got.append(message)  # noqa: PERF401 - the test looks at it while it grows

        reading = asyncio.create_task(read())
        await session.send("one")
        await until(lambda: got == ["one"])
        await until(lambda: session.transport == "websocket")
        old = session.id
        theirs = here.session
        await proxy.flip("bad_gateway:1", cut=True)
        await session.send("unheard")
        await within(theirs.wait_closed())
        await proxy.flip("ok")
        await until(lambda: session.id != old)
        await session.send("two")
        await until(lambda: got == ["one", "two"])
        assert diary.of("reset").unacked == ("unheard",)
        assert session.closed is None
        await session.close()
        await within(reading)
    assert diary.states.count("open") == 2


async def test_between_two_sessions_senders_wait(place: Mounting) -> None:
    """What is sent or asked while a lost session is replaced goes to the new one, in order; to close ends the wait."""
    heard: list[object] = []

    async def note(session: Session) -> None:
        session.on_request(double)
        heard.extend([message async for message in session])

    async def double(value: int) -> int:
        return 2 * value

    here = await place(note, resume=0.3)
    diary = Diary()
    async with (
        HostileProxy(here.url) as proxy,
        hybridws.connect(proxy.url, onlost="reopen", on_event=diary, close_timeout=0.5) as session,
    ):
        await until(lambda: session.transport == "websocket")
        await lose(proxy, here.session)
        here.server.draining = True  # nobody new is let in, for about three seconds
        await proxy.flip("ok")
        await until(lambda: "reset" in diary.states)
        with pytest.raises(hybridws.SessionClosed):
            session.send_nowait("at once")
        waiting = [asyncio.create_task(session.send(word)) for word in ("one", "two")]
        asking = asyncio.create_task(session.request(21))
        with pytest.raises(TimeoutError):
            await session.request(1, timeout=0.1)
        assert not any(task.done() for task in (*waiting, asking))
        here.server.draining = False
        await within(asyncio.gather(*waiting))
        assert await within(asking) == 42
        await lose(proxy, here.session)
        here.server.draining = True
        await proxy.flip("ok")
        await until(lambda: diary.states.count("reset") == 2)
        late = asyncio.create_task(session.send("never"))
        await asyncio.sleep(0.05)
        await session.close()
        with pytest.raises(hybridws.SessionClosed):
            await within(late)
    assert heard == ["one", "two"]


async def test_a_new_session_keeps_its_answerer(place: Mounting) -> None:
    """What answers requests is told once, and serves every session that replaces a lost one."""
    here = await place(listen, resume=0.3)
    async with HostileProxy(here.url) as proxy, hybridws.connect(proxy.url, onlost="reopen") as session:

        @session.on_request
        async def _answer(value: int) -> int:
            return value + 1

        await until(lambda: session.transport == "websocket")
        assert await within(here.session.request(1)) == 2
        old = session.id
        await lose(proxy, here.session)
        await proxy.flip("ok")
        await until(lambda: session.id != old)
        assert await within(here.session.request(2)) == 3


async def test_many_losses_make_it_wait(place: Mounting, caplog: pytest.LogCaptureFixture) -> None:
    """After a third loss within a minute the client waits instead of opening session after session, and says so.

    The event and the log say how long; a close in the meantime ends it at once.
    """
    here = await place(listen, resume=0.1)
    diary = Diary()
    async with (
        HostileProxy(here.url) as proxy,
        hybridws.connect(proxy.url, onlost="reopen", on_event=diary) as session,
    ):
        for count in range(1, 4):
            await until(lambda: session.online and len(here.server.sessions) == 1)
            await lose(proxy, here.session)
            await proxy.flip("ok")
            await until(lambda: session.info.resets == count)  # noqa: B023 - awaited within the loop
        assert "lost session 3 within a minute" in caplog.text
        assert "the next is opened in" in diary.of("reset").reason
        assert diary.states.count("reset") == 3
        assert "the next is opened" not in diary.events[diary.states.index("reset")].reason
        opens = here.server.sessions
        with pytest.raises(TimeoutError):
            await until(lambda: len(opens), patience=0.5)
        await session.close(4001, "enough")
        await within(session.wait_closed(), 2.0)
        assert session.closed == (4001, "enough", "local")


async def test_after_the_wait_it_goes_on(place: Mounting, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session that follows the wait is one like any other."""
    monkeypatch.setattr("hybridws.client.connection.RESETS_PAUSE", 0.2)
    here = await place(echo, resume=0.5)
    async with HostileProxy(here.url) as proxy, hybridws.connect(proxy.url, onlost="reopen") as session:
        for count in range(1, 4):
            await until(lambda: session.online and len(here.server.sessions) == 1)
            await lose(proxy, here.session)
            await proxy.flip("ok")
            await until(lambda: session.info.resets >= count)  # noqa: B023 - awaited within the loop
        await until(lambda: session.online and len(here.server.sessions) == 1)
        await session.send("still here")
        assert await take(session, 1) == ["still here"]


@pytest.mark.parametrize(
    ("offered", "used"), [(("stream", "poll"), "stream"), (("poll",), "poll"), (("websocket",), "websocket")]
)
async def test_only_what_the_server_offers_is_tried(place: Mounting, offered: tuple[str, ...], used: str) -> None:
    """The answer to the open names what there is: nothing else is tried."""
    here = await place(echo, transports=offered)
    async with hybridws.connect(here.url, first=[1]) as session:
        assert await take(session, 1) == [1]
        await until(lambda: session.transport == used and session.online)
        assert {attempt.transport for attempt in session.info.attempts} == {"open", used}


async def test_nothing_in_common(place: Mounting) -> None:
    """Where the server offers nothing that may be used, the error says what it does offer."""
    here = await place(echo, transports=("stream", "poll"))
    with pytest.raises(CannotConnect, match="offers stream, poll, and we may use websocket"):
        await within(hybridws.connect(here.url, transports=("websocket",)).__aenter__(), 2.0)


async def test_silence_is_told_as_the_cause(place: Mounting) -> None:
    """A WebSocket that a frozen network has killed says so in `info.attempts`, and is replaced each time."""
    here = await place(echo)
    async with HostileProxy(here.url) as proxy, hybridws.connect(proxy.url, transports=("websocket",)) as session:
        for number in range(3):
            await session.send(number)
            assert await take(session, 1) == [number]
            proxy.freeze()
            await session.send("into the void")
            assert await take(session, 1) == ["into the void"]
        silent = [attempt for attempt in session.info.attempts if "silence" in (attempt.failure or "")]
        assert [attempt.transport for attempt in silent] == ["websocket"] * 3


async def test_connections_that_were_kept_are_not_trusted_after_silence(place: Mounting) -> None:
    """After a freeze no connection from before is used again: the WebSocket is back at once, not after a lost try.

    Headers and cookies go along on the new ones.
    """
    here = await place(echo)
    async with (
        HostileProxy(here.url) as proxy,
        hybridws.connect(proxy.url, headers={"X-Own": "yes"}, cookies={"who": "me"}) as session,
    ):
        for number in range(3):
            await until(lambda: session.transport == "websocket" and session.online, 2.0)
            await session.send(number)
            assert await take(session, 1) == [number]
            proxy.freeze()
            await session.send("into the void")
            assert await take(session, 1) == ["into the void"]
        assert not [attempt for attempt in session.info.attempts if "not answered" in (attempt.failure or "")]


async def test_the_application_ends_it_while_the_client_is_away(place: Mounting) -> None:
    """A session that the application closed in the meantime ends with the application's own code."""
    here = await place(listen)
    diary = Diary()
    async with (
        HostileProxy(here.url) as proxy,
        hybridws.connect(proxy.url, onlost="reopen", on_event=diary) as session,
    ):
        await until(lambda: session.online and here.session.transport == "websocket")
        theirs = here.session
        await proxy.flip("bad_gateway:1", cut=True)
        await theirs.close(4242, "enough")
        await proxy.flip("ok")
        assert await take(session, 1) == []
        await within(session.wait_closed())
        assert session.closed == (4242, "enough", "remote")
        assert "reset" not in diary.states


# ── who it is ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _plain() -> object:
    return {"token": "ann"}


async def _slow() -> object:
    await asyncio.sleep(0)
    return {"token": "ann"}


@pytest.mark.parametrize("auth", [{"token": "ann"}, _plain, _slow], ids=["value", "function", "coroutine"])
async def test_auth_reaches_the_application(place: Mounting, auth: object) -> None:
    """`auth` may be a value, a function or a coroutine function; the server's `authenticate` gets what it gives."""

    async def authenticate(_request: object, auth: Any) -> str | None:  # noqa: ANN401 - whatever the client says
        return auth["token"] if auth else None

    here = await place(listen, authenticate=authenticate)
    async with hybridws.connect(here.url, auth=auth) as session:
        await until(lambda: session.online)
        assert here.session.user == "ann"
        assert here.server.sessions_of("ann") == [here.session]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_auth_is_renewed_before_it_expires(place: Mounting, transport: str) -> None:
    """A function is asked anew before the credentials expire, and the session outlives them several times."""
    asked: list[int] = []

    async def fresh() -> int:
        asked.append(len(asked))
        return asked[-1]

    async def authenticate(_request: object, _auth: object) -> Admission:
        return Admission("ann", expires=0.5)

    here = await place(echo, authenticate=authenticate, renew_before=0.2)
    async with hybridws.connect(here.url, auth=fresh, transports=(transport,)) as session:
        await until(lambda: len(asked) >= 4)
        await session.send("still here")
        assert await take(session, 1) == ["still here"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_who_is_shut_out_does_not_knock_again(place: Mounting, transport: str) -> None:
    """A session that the server ends at once is over, and nothing else is asked for it."""
    here = await place(listen, authenticate=lambda _request, auth: auth)
    diary = Diary()
    async with HostileProxy(here.url, rewrite_host=True) as proxy:
        origin = here.url.rpartition("/")[0]
        async with hybridws.connect(
            proxy.url, auth="ann", transports=(transport,), on_event=diary, headers={"Origin": origin}
        ) as session:
            await until(lambda: session.online and session.transport == transport)
            before = proxy.counters.requests
            assert here.server.revoke("ann") == 1
            await within(session.wait_closed())
            assert session.closed == (4401, "the credentials were revoked", "network")
        assert proxy.counters.requests - before <= (transport != "websocket")  # the one that told it may count late
    assert "interrupted" not in diary.states


async def test_auth_that_expires_ends_the_session(place: Mounting) -> None:
    """A plain value cannot be renewed: the server ends the session with 4401 when it expires."""

    async def authenticate(_request: object, _auth: object) -> Admission:
        return Admission("ann", expires=0.3)

    here = await place(echo, authenticate=authenticate, renew_before=0.1)
    async with hybridws.connect(here.url, auth="once") as session:
        assert await take(session, 1) == []
        await within(session.wait_closed())
        assert session.closed is not None
        assert session.closed.code == 4401


@pytest.mark.logs_errors
async def test_auth_that_fails_is_logged(place: Mounting, caplog: pytest.LogCaptureFixture) -> None:
    """A function that fails to give fresh credentials is logged and asked again; the session lives meanwhile."""
    asked: list[int] = []

    def fresh() -> str:
        asked.append(1)
        if len(asked) == 2:
            raise LookupError("the vault is shut")
        return "ann"

    async def authenticate(_request: object, auth: object) -> Admission:
        return Admission(auth, expires=0.6)

    here = await place(echo, authenticate=authenticate, renew_before=0.3)
    async with hybridws.connect(here.url, auth=fresh) as session:
        await until(lambda: len(asked) >= 4)
        await session.send("still here")
        assert await take(session, 1) == ["still here"]
    assert "the vault is shut" in caplog.text


# ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_requests_both_ways(place: Mounting, transport: str) -> None:
    """`ask` and `on_request` work from either side, over every transport, with answers, errors and time limits."""

    async def handler(session: Session) -> None:
        @session.on_request
        async def _answer(value: Any) -> object:  # noqa: ANN401 - whatever is asked
            if value == "fail":
                raise hybridws.RequestFailed(4005, "as asked")
            if value == "wait":
                await asyncio.Event().wait()
            return {"double": value * 2}

        async for message in session:
            await session.send(await session.request(message))

    here = await place(handler)
    async with hybridws.connect(here.url, transports=(transport,)) as session:

        @session.on_request
        async def _answer(value: str) -> str:
            return value[::-1]

        assert await within(session.request(21)) == {"double": 42}
        with pytest.raises(hybridws.RequestFailed) as caught:
            await within(session.request("fail"))
        assert (caught.value.code, caught.value.text) == (4005, "as asked")
        with pytest.raises(TimeoutError):
            await session.request("wait", timeout=0.05)
        await session.send("abc")
        assert await take(session, 1) == ["cba"]
        waiting = asyncio.create_task(session.request("wait"))
        await asyncio.sleep(0)
        await session.close()
        with pytest.raises(hybridws.SessionClosed):
            await within(waiting)


@pytest.mark.parametrize("code", [7, 404, 999, 5000, 4000.0, True, None, "4000"])
def test_a_failed_request_has_a_code_that_travels(code: Any) -> None:  # noqa: ANN401 - what is no code
    """The other side would not understand another, so it is refused where it is made."""
    with pytest.raises(ValueError, match="whole number from 1000 to 4999"):
        hybridws.RequestFailed(code, "why")
    with pytest.raises(ValueError, match="must be text"):
        hybridws.RequestFailed(4000, cast("str", 5))


@pytest.mark.parametrize("transport", [*TRANSPORTS, None])
@pytest.mark.parametrize("ours", [True, False])
async def test_what_is_never_understood_ends_the_session(
    place: Mounting, monkeypatch: pytest.MonkeyPatch, transport: str | None, *, ours: bool
) -> None:
    """It is said again only some times, each later than the last: every transport works, so nothing else slows down."""
    monkeypatch.setattr(pilot, "FIRST_REFUSAL", 0.002)
    monkeypatch.setattr(backoff, "HIGHEST", 0.01)
    here = await place(listen)
    diary = Diary()
    order = (transport,) if transport else TRANSPORTS
    async with hybridws.connect(here.url, transports=order, on_event=diary) as session:
        await until(lambda: session.online)
        side = session.session if ours else here.session
        side.post(b'["m",' + b"[" * 40 + b"]" * 40 + b"]")  # deeper than any side takes, which `send` would refuse
        await within(session.wait_closed())
        assert session.closed is not None
        assert session.closed.code == 4400
        assert "max_depth" in session.closed.reason
    assert diary.states.count("interrupted") <= pilot.MOST_REFUSALS


# ── acks ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_unacked_empties(place: Mounting) -> None:
    """What was sent is listed until the server has confirmed it, and soon after the server's list empties too."""
    here = await place(listen)
    async with hybridws.connect(here.url) as session:
        await until(lambda: session.transport == "websocket" and session.online)
        session.send_nowait("one")
        assert session.unacked == ["one"]
        await until(lambda: session.unacked == [])
        await here.session.send("two")
        assert await take(session, 1) == ["two"]
        await until(lambda: here.session.unacked == [], patience=2.0)


async def test_a_broadcast_is_not_acked_by_all_at_once(place: Mounting) -> None:
    """Each lets some time pass, by chance, though not long: thousands of acks in one moment would hold others up."""
    here = await place(listen)
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        clients = [hybridws.connect(here.url, transports=("websocket",)) for _ in range(12)]
        for client in clients:
            await stack.enter_async_context(client)
        await until(lambda: all(client.online for client in clients))
        here.server.broadcast("first")
        await until(lambda: not any(session.unacked for session in here.server.sessions), patience=5 * 1)
        begun = loop.time()
        assert here.server.broadcast("to all") == 12
        owed, acked = list(here.server.sessions), []
        while owed:
            acked += [loop.time() - begun for session in owed if not session.unacked]
            owed = [session for session in owed if session.unacked]
            await asyncio.sleep(0.005)
        assert acked[0] >= 0.4, "one soon after the other, an answer would take it along"
        assert acked[-1] - acked[0] >= 0.1
        assert acked[-1] <= 1 * 5


async def test_a_stream_acks_too(place: Mounting) -> None:
    """Over a stream what came is confirmed as well, after 10 s or with the next word."""
    here = await place(listen)
    async with hybridws.connect(here.url, transports=("stream",)) as session:
        await until(lambda: session.online)
        await here.session.send("two")
        assert await take(session, 1) == ["two"]
        await session.send("word")
        await until(lambda: here.session.unacked == [], patience=2.0)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_who_stops_to_read_is_sent_no_more_than_it_takes(place: Mounting, transport: str) -> None:
    """However small the buffer: what comes in one go, when the client has stopped, is within what it allows."""
    here = await place(listen, buffer=65536, max_batch=131072, max_message=65536)
    diary = Diary()
    async with hybridws.connect(here.url, transports=(transport,), on_event=diary) as session:
        await until(lambda: session.online)
        for number in range(2400):
            here.server.broadcast([number, "x" * 3000], slow="drop_oldest")
            if number % 20 == 19:
                await asyncio.sleep(0.002)
        await asyncio.sleep(0.3)  # nobody reads
        assert "interrupted" not in diary.states
        last = -1
        while last < 2399:
            ((last, _),) = cast("list[tuple[int, str]]", await take(session, 1))
        assert "interrupted" not in diary.states


@pytest.mark.parametrize(
    ("transport", "ours"),
    [(name, False) for name in TRANSPORTS] + [("websocket", True)],  # a POST is never refused so
)
async def test_who_stops_to_read_for_long_keeps_the_session(
    place: Mounting, monkeypatch: pytest.MonkeyPatch, transport: str, *, ours: bool
) -> None:
    """A message so large that it finds no room beside what waits comes when there is some; nothing ends before."""
    monkeypatch.setattr(pilot, "FIRST_REFUSAL", 0.002)
    monkeypatch.setattr(backoff, "HIGHEST", 0.01)
    go = asyncio.Event()
    heard: list[object] = []

    async def handler(session: Session) -> None:
        await go.wait()
        async for message in session:
            heard.append(message)  # noqa: PERF401 - the test looks at it while it grows

    here = await place(handler, buffer=65536, max_batch=131072, max_message=131000)
    words = ["x" * 60_000, "y" * 120_000]
    async with hybridws.connect(here.url, transports=(transport,)) as session:
        await until(lambda: session.online)
        for word in words:
            await (session if ours else here.session).send(word)
        await asyncio.sleep(1)  # more than all the tries that would end the session, were it not understood
        assert session.closed is None
        go.set()
        if ours:
            await until(lambda: len(heard) == len(words), patience=5 * 1.0)
            assert heard == words
        else:
            assert await take(session, len(words)) == words


async def test_a_sender_waits_for_room(place: Mounting) -> None:
    """`send` waits while the server takes nothing, `send_nowait` raises, and all goes on when it takes again."""
    go = asyncio.Event()
    heard: list[object] = []

    async def handler(session: Session) -> None:
        await go.wait()
        async for message in session:
            heard.append(message)  # noqa: PERF401 - the test looks at it while it grows

    here = await place(handler, buffer=8192, max_batch=8192, max_message=4096)
    async with hybridws.connect(here.url) as session:

        async def send() -> None:
            for number in range(60):
                await session.send([number, "x" * 1000])

        sending = asyncio.create_task(send())
        await until(lambda: session.session.senders == 1)
        with pytest.raises(hybridws.BufferFull):
            session.send_nowait("x")
        with pytest.raises(hybridws.MessageTooLarge):
            await session.send("x" * 5000)
        assert session.session.link.outbox.size <= 2 * 8192
        go.set()
        await within(sending)
        await until(lambda: len(heard) == 60)
    assert [cast("list[int]", item)[0] for item in heard] == list(range(60))


async def test_a_sender_does_not_wait_for_ever(place: Mounting) -> None:
    """After `send_timeout`, which is the server's `resume`, without any progress `send` raises Stalled."""
    go = asyncio.Event()

    async def handler(_session: Session) -> None:
        await go.wait()

    here = await place(handler, buffer=8192, max_batch=8192, max_message=4096, resume=1.0)
    async with hybridws.connect(here.url) as session:

        async def send() -> None:
            for _ in range(60):
                await session.send("x" * 1000)

        with pytest.raises(hybridws.Stalled):
            await within(send())
        go.set()


# ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_closed_from_here(place: Mounting, transport: str) -> None:
    """A close follows all that was sent before it; the server hears the code and the reason, and both sides end."""
    heard: list[object] = []
    ends: list[object] = []

    async def handler(session: Session) -> None:
        async for message in session:
            heard.append(message)  # noqa: PERF401 - the test looks at it while it grows
        ends.append(session.closed)

    here = await place(handler)
    async with hybridws.connect(here.url, transports=(transport,)) as session:
        for number in range(100):
            await session.send(number)
        await session.close(4001, "done")
        await within(session.wait_closed())
        assert session.closed == (4001, "done", "local")
        await until(lambda: ends)
        assert heard == list(range(100))
        assert ends == [(4001, "done", "remote")]
        with pytest.raises(hybridws.SessionClosed):
            await session.send("late")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_closed_from_there(place: Mounting, transport: str) -> None:
    """What the server said before its close arrives before iteration ends; the code and reason are the server's."""

    async def handler(session: Session) -> None:
        async for _ in session:
            for number in range(100):
                await session.send(number)
            await session.close(4002, "enough")

    here = await place(handler)
    async with hybridws.connect(here.url, transports=(transport,), first=["go"]) as session:
        assert await take(session, 101) == list(range(100))
        await within(session.wait_closed())
        assert session.closed == (4002, "enough", "remote")


@pytest.mark.logs_errors
async def test_a_handler_that_fails(place: Mounting) -> None:
    """The failure of the server's handler closes the connection with 1011."""

    async def handler(session: Session) -> None:
        async for message in session:
            raise LookupError(message)

    here = await place(handler)
    async with hybridws.connect(here.url, first=["go"]) as session:
        assert await take(session, 1) == []
        await within(session.wait_closed())
        assert session.closed is not None
        assert session.closed.code == 1011


async def test_a_close_that_nobody_hears(place: Mounting) -> None:
    """`async with` ends within `close_timeout` when the server cannot be reached any more."""
    here = await place(listen)
    async with HostileProxy(here.url) as proxy:
        async with hybridws.connect(proxy.url, close_timeout=0.3) as session:
            await until(lambda: session.transport == "websocket" and session.online)
            proxy.freeze()
            proxy.mode = "bad_gateway:1"
            begun = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - begun < 5 * 2.0


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_close_that_the_server_has_heard_already(place: Mounting, transport: str) -> None:
    """Its answer was lost, and asked again the server says that the session has ended: so it has; nobody asks on."""
    here = await place(listen)
    async with HostileProxy(here.url) as proxy:
        async with hybridws.connect(proxy.url, transports=(transport,), onlost="reopen") as session:
            await until(lambda: session.online and session.transport == transport)
            await proxy.flip("bad_gateway:1", cut=True)
            here.session.abort(4001, "done")
            await session.close(4001, "done")
            before = proxy.counters.requests
            await proxy.flip("ok")
            session.network_changed()
            begun = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - begun < 4
        assert proxy.counters.requests - before <= 3
        assert session.closed == (4001, "done", "local")
        assert session.info.resets == 0


@pytest.mark.parametrize("transport", [*TRANSPORTS, None])
async def test_nothing_is_left(place: Mounting, transport: str | None) -> None:
    """After `async with` there is no task, no open connection and no unclosed thing of the client's."""
    here = await place(echo)
    before = asyncio.all_tasks()
    order = (transport,) if transport else TRANSPORTS
    async with HostileProxy(here.url) as proxy:
        tasks = asyncio.all_tasks()
        async with hybridws.connect(proxy.url, transports=order, first=[1]) as session:
            assert await take(session, 1) == [1]
            await until(lambda: session.online)
        await until(lambda: not proxy.counters.open)
        assert not {task for task in asyncio.all_tasks() - tasks if "client" in repr(task.get_coro())}
    await until(lambda: not asyncio.all_tasks() - before - {session.handler for session in here.server.sessions})
    gc.collect()  # an unclosed session or socket would warn now, and a warning is an error


async def test_an_exception_passes_through(place: Mounting) -> None:
    """An exception in the body of `async with` closes the session and is not swallowed."""
    here = await place(listen)
    with pytest.raises(LookupError):
        async with hybridws.connect(here.url):
            raise LookupError
    await until(lambda: len(here.server.sessions) == 0)


async def test_cancelling_is_safe(place: Mounting) -> None:
    """A task that is cancelled inside `async with` leaves nothing behind, at whatever moment that is."""
    here = await place(echo)

    async def live() -> None:
        async with hybridws.connect(here.url, first=[1], close_timeout=0.5) as session:
            async for _ in session:
                pass

    for pause in (0, 0.001, 0.003, 0.01, 0.03, 0.1):
        task = asyncio.create_task(live())
        await asyncio.sleep(pause)
        task.cancel()
        await asyncio.wait([task], timeout=PATIENCE)
        assert task.cancelled()
    await until(lambda: all(session.seat is None for session in here.server.sessions))


# ── servers that refuse, and networks that answer for them ────────────────────────────────────────────────────────


async def test_a_client_that_is_not_known(place: Mounting) -> None:
    """401 is the server's own word: the error comes at once and has the code."""

    async def authenticate(_request: object, _auth: object) -> None:
        return None

    here = await place(echo, authenticate=authenticate)
    with pytest.raises(CannotConnect, match="4401") as caught:
        await within(hybridws.connect(here.url, auth="?").__aenter__(), 2.0)
    assert caught.value.code == 4401


async def test_a_client_that_may_not(place: Mounting) -> None:
    """403 too, with the application's reason."""

    async def authenticate(_request: object, _auth: object) -> None:
        raise Forbidden("members only")

    here = await place(echo, authenticate=authenticate)
    with pytest.raises(CannotConnect, match="members only") as caught:
        await within(hybridws.connect(here.url).__aenter__(), 2.0)
    assert caught.value.code == 4403


async def test_a_server_that_has_too_many(place: Mounting) -> None:
    """429 says when to come back, and the client does."""
    here = await place(echo, opens_burst=1, opens_per_second=2)
    async with hybridws.connect(here.url, first=[1]) as one:
        assert await take(one, 1) == [1]
        async with hybridws.connect(here.url, first=[2]) as two:
            assert await take(two, 1) == [2]
            assert "4429" in (two.info.attempts[0].failure or "")


async def test_a_server_that_is_about_to_stop(place: Mounting) -> None:
    """503 says when to come back, and the client comes back until it is let in, or its time is over."""
    here = await place(echo)
    here.server.draining = True
    with pytest.raises(CannotConnect, match="1012"):
        await hybridws.connect(here.url, open_timeout=0.3).__aenter__()
    opening = asyncio.create_task(hybridws.connect(here.url).__aenter__())
    await asyncio.sleep(0.1)
    here.server.draining = False
    session = await within(opening)
    await session.__aexit__(None, None, None)


async def test_nothing_listens() -> None:
    """Where nothing listens the error says so, after `open_timeout`."""
    with pytest.raises(CannotConnect, match=r"open_timeout.*refused|Connect"):
        await within(hybridws.connect("http://127.0.0.1:9/s", open_timeout=0.3).__aenter__(), 2.0)


async def test_a_mount_that_is_not_there(place: Mounting) -> None:
    """A 404 without a word of the protocol's is believed by nobody, and its status is in the error."""
    here = await place(echo)
    with pytest.raises(CannotConnect, match="404"):
        await within(hybridws.connect(here.url + "/not/here", open_timeout=0.3).__aenter__(), 2.0)


PORTAL = "<html><body>Welcome to the hotel. Please sign in.</body></html>"


@pytest.fixture
async def hotel(serve: Callable[..., Awaitable[str]]) -> tuple[str, dict[str, int]]:
    """Serve an echo behind a captive portal that answers everything with its page while it has a status to use."""
    portal: dict[str, int] = {}

    @web.middleware
    async def sign_in(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if portal:
            return web.Response(text=PORTAL, content_type="text/html", status=portal["status"])
        return await handler(request)

    app = web.Application(middlewares=[sign_in])
    mount(app, "/s", echo)
    return await serve(app) + "/s", portal


@pytest.mark.parametrize("status", [200, 302, 403, 410, 511])
async def test_a_captive_portal_is_not_believed(hotel: tuple[str, dict[str, int]], status: int) -> None:
    """A page in place of an answer is the network's, whatever its status: the client waits until the portal lets it."""
    url, portal = hotel
    portal["status"] = status
    opening = asyncio.create_task(hybridws.connect(url, first=[1]).__aenter__())
    await asyncio.sleep(0.05)
    portal.clear()
    session = await within(opening)
    assert await take(session, 1) == [1]
    await session.__aexit__(None, None, None)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("status", [200, 403, 410])
async def test_a_portal_in_the_middle(hotel: tuple[str, dict[str, int]], status: int, transport: str) -> None:
    """A portal that appears in mid-session neither ends it nor loses a message."""
    url, portal = hotel
    diary = Diary()
    async with (
        HostileProxy(url) as proxy,
        hybridws.connect(proxy.url, transports=(transport,), on_event=diary) as session,
    ):
        await session.send(1)
        assert await take(session, 1) == [1]
        portal["status"] = status
        proxy.cut()
        await session.send(2)
        await until(lambda: "interrupted" in diary.states)
        portal.clear()
        await session.send(3)
        assert await take(session, 2) == [2, 3]
        assert session.closed is None


async def test_the_network_is_tried_anew_when_told(place: Mounting) -> None:
    """`network_changed` makes the client try a WebSocket at once that it would leave alone for 10 s."""
    here = await place(echo)
    async with HostileProxy(here.url, mode="ws_refused") as proxy, hybridws.connect(proxy.url) as session:
        await until(lambda: session.transport == "stream" and session.online)
        await until(lambda: any("403" in (attempt.failure or "") for attempt in session.info.attempts))
        proxy.mode = "ok"
        session.network_changed()
        assert await until(lambda: session.transport == "websocket") < 5 * 0.2


async def test_messages_one_by_one(place: Mounting) -> None:
    """`anext` takes one, as on a server's session; it goes on after a cancelled one, and a second reader is refused."""
    here = await place(echo)
    async with hybridws.connect(here.url) as session:
        with pytest.raises(TimeoutError):
            await within(anext(session), 0.05)
        await session.send("one")
        assert await within(anext(session)) == "one"
        waiting = asyncio.create_task(anext(session))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="read by another task"):
            await anext(session)
        await session.close()
        with pytest.raises(StopAsyncIteration):
            await waiting


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_how_it_ended_is_known_when_iteration_ends(place: Mounting, transport: str) -> None:
    """Whoever asks right after the loop is told."""

    async def farewell(session: Session) -> None:
        await session.send("hi")
        await session.close(4001, "enough")

    here = await place(farewell)
    diary = Diary()
    async with hybridws.connect(here.url, transports=(transport,), on_event=diary) as session:
        assert [message async for message in session] == ["hi"]
        assert session.closed == (4001, "enough", "remote")
    assert diary.states == ["connecting", "open", "closed"]


async def test_it_goes_on_where_a_server_restarts(place: Mounting) -> None:
    """With `reopen` a session that ends with 1012 is followed by another, and iteration goes on there."""
    here = await place(echo)
    diary = Diary()
    async with hybridws.connect(here.url, onlost="reopen", on_event=diary) as session:
        await session.send("one")
        assert await within(anext(session)) == "one"
        waiting = asyncio.create_task(anext(session))
        await asyncio.sleep(0)
        here.session.close_now(1012, "the server is restarting")
        await until(lambda: diary.states.count("open") == 2)
        await session.send("two")
        assert await within(waiting) == "two"
        assert session.closed is None
    assert "the server is restarting" in diary.of("reset").reason
    assert session.closed == (1000, "", "local")


async def test_without_reopen_a_restart_is_the_end(place: Mounting) -> None:
    """It is told as it is."""
    here = await place(echo)
    async with hybridws.connect(here.url) as session:
        here.session.close_now(1012, "the server is restarting")
        assert [message async for message in session] == []
        assert session.closed == (1012, "the server is restarting", "remote")


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_server_that_takes_few_packets_at_once(place: Mounting, transport: str, codec: Any) -> None:  # noqa: ANN401 - a Literal
    """A client is told how many a batch may hold, and keeps to it, however many it has to say."""
    here = await place(echo, max_packets=10)
    async with (
        HostileProxy(here.url) as proxy,
        hybridws.connect(proxy.url, transports=(transport,), codec=codec) as session,
    ):
        await session.send("first")
        assert await take(session, 1) == ["first"]
        proxy.cut()
        for number in range(100):
            await session.send(number)
        assert await take(session, 100) == list(range(100))
