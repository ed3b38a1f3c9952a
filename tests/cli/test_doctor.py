"""`hybridws doctor`: what it says of networks that are known to be bad in one way each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from hybridws.aiohttp import mount
from hybridws.cli import main

if TYPE_CHECKING:
    from hybridws import Session
    from tests.cli.command import Serve, Start

# Seconds; long enough for what the tests cut, which is cut after less than half of it.
WATCH = "1.2"
# Seconds in which an answer must come; on this machine it takes milliseconds.
PATIENCE = "1.5"


Examine = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]


@pytest.fixture
def examine(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Examine:
    """Let a test run the doctor, in a thread beside the server's loop, and have its exit code and its report."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    async def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = await asyncio.to_thread(main, ["doctor", "--watch", WATCH, "--patience", PATIENCE, "--json", *arguments])
        shown = capsys.readouterr()
        assert shown.err == ""
        return code, json.loads(shown.out)

    return run


async def test_a_network_that_passes_all(examine: Examine, echo: str) -> None:
    """Everything works, with times for each; nothing is advised; exit code 0."""
    code, report = await examine(echo)
    assert (code, report["exit_code"], report["advice"]) == (0, 0, [])
    assert report["verdict"] == "Everything works here; your sessions run over websocket."
    assert report["server"]["ours"]
    for found in report["transports"].values():
        assert found["state"] == "works"
        assert 0 < found["attach"] < 5
        assert 0 < found["echo"] < 5
        assert found["idle"] >= 1.2


@pytest.mark.parametrize(
    ("mode", "states", "words"),
    [
        ("ws_refused", {"websocket": "refused"}, "WebSocket is refused with 403 by something that is not the server"),
        (
            "ws_refused:502",
            {"websocket": "refused"},
            "WebSocket is refused with 502 by something that is not the server",
        ),
        ("ws_silent", {"websocket": "silent"}, "WebSocket opens, but nothing passes after that"),
        ("ws_dies:500", {"websocket": "cut"}, "whether something is said or not"),
        ("hangs_and_buffers", {"websocket": "silent", "stream": "buffered"}, "WebSocket is never answered"),
        ("buffers_first:2100", {"stream": "buffered"}, "A stream is buffered"),
        ("http10", {"websocket": "refused"}, "WebSocket does not get through: something takes the upgrade out"),
        ("idle_kill:0.5", {"websocket": "cut", "stream": "cut", "poll": "cut"}, "of silence, but lives as long as"),
    ],
)
async def test_what_does_not_work_is_said_in_plain_words(
    examine: Examine, echo: str, mode: str, states: dict[str, str], words: str
) -> None:
    """Each fault of a network is named, with the transport that it hits; sessions fall back: exit code 1."""
    code, report = await examine(echo, "--via", mode)
    found = {name: found["state"] for name, found in report["transports"].items()}
    assert found == {"websocket": "works", "stream": "works", "poll": "works"} | states
    assert words in report["verdict"]
    assert code == 1
    assert report["advice"]
    expected = next((name for name in ("websocket", "stream", "poll") if name not in states), "")
    assert f"your sessions run over {expected}" in report["verdict"]


async def test_what_fails_by_chance_is_tried_again(examine: Examine, serve: Serve) -> None:
    """Where the first poll and the first stream of a session get a 502, both waver, and sessions run all the same."""
    seen: set[str] = set()

    @web.middleware
    async def gateway(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.path.endswith(("/poll", "/stream")) and request.path not in seen:
            seen.add(request.path)
            return web.Response(status=502, text="<title>Bad &amp; ill</title>", headers={"Via": "1.1 gate"})
        return await handler(request)

    async def handler(session: Session) -> None:
        await session.wait_closed()

    app = web.Application(middlewares=[gateway])
    mount(app, "/x", handler)
    code, report = await examine(f"{await serve(app)}/x")
    found = {name: found["state"] for name, found in report["transports"].items()}
    assert (code, found) == (1, {"websocket": "works", "stream": "flaky", "poll": "flaky"})
    assert "502 by something that is not the server" in report["verdict"]
    assert 'Via: 1.1 gate, a page "Bad & ill"' in report["verdict"]


async def test_connections_that_die_unseen_are_found(examine: Examine, echo: str) -> None:
    """A WebSocket over which nothing passes any more, though nobody has closed it, is called dead."""
    code, report = await examine(echo, "--via", "ok,flips:1:freeze,ok")
    assert code == 1
    assert report["transports"]["websocket"]["state"] == "dead"
    assert "nobody has said so" in report["verdict"]


async def test_where_nothing_works(examine: Examine, echo: str, unused_tcp_port: int) -> None:
    """No server, no such name, no mount there, no TLS there: exit code 2, and each in its own words."""
    for url, words in (
        (f"http://127.0.0.1:{unused_tcp_port}/x", "connection refused"),
        ("http://nowhere.invalid/x", "the name nowhere.invalid is not known here (DNS)"),
        (f"{echo}es", "there is no mount of hybridws at this address"),
        (echo.replace("http:", "https:"), "there is no TLS at 127.0.0.1"),
    ):
        code, report = await examine(url)
        assert (code, report["transports"]) == (2, {})
        assert words in report["verdict"]
        assert report["verdict"].startswith("Nothing works: ")


async def test_a_server_that_refuses_is_not_taken_for_a_network(examine: Examine, serve: Serve) -> None:
    """A mount that does not know the client is one of ours, and says what it wants; with credentials all is well."""

    async def authenticate(_request: web.Request, auth: object) -> object:
        return "ann" if auth == "secret" else None

    async def handler(session: Session) -> None:
        await session.wait_closed()

    app = web.Application()
    mount(app, "/who", handler, authenticate=authenticate)
    url = f"{await serve(app)}/who"
    code, report = await examine(url)
    assert (code, report["server"]["ours"]) == (2, True)
    assert "the server refuses with 4401" in report["verdict"]
    assert "--auth" in report["advice"][0]
    code, report = await examine(url, "--auth", "secret")
    assert code == 0


async def test_the_application_hears_nothing_and_its_sessions_end(examine: Examine, serve: Serve) -> None:
    """The sessions that the doctor opens bring no message, and are closed in order when it has done."""
    ends: list[object] = []
    heard: list[object] = []
    begun = asyncio.Event()

    async def handler(session: Session) -> None:
        begun.set()
        heard.extend([message async for message in session])
        ends.append(session.closed and session.closed[0])

    app = web.Application()
    server = mount(app, "/x", handler)
    code, _ = await examine(f"{await serve(app)}/x")
    async with asyncio.timeout(5):
        await begun.wait()
        for session in list(server.sessions):
            await session.wait_closed()
    assert (code, heard, ends) == (0, [], [1000] * 4)


async def test_what_the_server_does_not_offer_is_no_fault(examine: Examine, serve: Serve) -> None:
    """A mount without WebSocket works as far as it goes: exit code 0, and it is said."""

    async def handler(session: Session) -> None:
        await session.wait_closed()

    app = web.Application()
    mount(app, "/x", handler, transports=("stream", "poll"))
    code, report = await examine(f"{await serve(app)}/x")
    assert (code, report["transports"]["websocket"]["state"]) == (0, "not offered")
    assert "All that the server offers works (streams and polls) here" in report["verdict"]


async def test_the_proxy_on_the_way_is_told(
    examine: Examine, echo: str, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who named the proxy, and what it says: one that is not there, and one that makes no tunnels."""
    proxy = f"http://127.0.0.1:{unused_tcp_port}"
    monkeypatch.setenv("http_proxy", proxy)
    code, report = await examine(echo)
    monkeypatch.delenv("http_proxy")
    assert (code, report["route"]["proxy"], report["route"]["source"]) == (2, proxy, "http_proxy")
    assert f"the proxy at 127.0.0.1:{unused_tcp_port} cannot be reached" in report["verdict"]
    proxy = echo.removesuffix("/echo")
    code, report = await examine("https://example.org/x", "--proxy", proxy.replace("//", "//user:secret@"))
    assert (code, report["route"]["proxy"]) == (2, proxy)
    assert "the proxy answered CONNECT with 404" in report["verdict"]
    assert "secret" not in json.dumps(report)


async def test_what_is_shown_to_people(start: Start, echo: str) -> None:
    """A table of plain lines with aligned columns, then the verdict; no colours where there is no terminal."""
    done = await (await start("doctor", "--watch", "0.1", echo, "--via", "ws_refused")).done()
    assert (done.code, done.err) == (1, "")
    assert "\x1b" not in done.out
    lines = done.out.splitlines()
    head = next(line for line in lines if "attach" in line)
    rows = {line.split()[0]: line for line in lines if line.startswith(("websocket", "stream", "poll"))}
    assert rows["websocket"].endswith("refused")
    assert rows["stream"][head.index("attach")].isdigit()
    assert all(len(line) <= 100 for line in lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "no address of a server"),
        (["http://localhost/x", "--via", "nonsense"], "there is no mode 'nonsense'"),
        (["http://localhost/x", "--via", "ok", "--proxy", "http://localhost:1"], "without a --proxy"),
        (["http://localhost/x", "--watch", "100000"], "too long"),
        (["http://localhost/x", "--patience", "0"], "no time in which"),
    ],
)
def test_what_is_not_understood_is_said(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    """Arguments that cannot work end with 2 and a sentence that names them."""
    try:
        code: object = main(["doctor", *arguments])
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert words in capsys.readouterr().err
