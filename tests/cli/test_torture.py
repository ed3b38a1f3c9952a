"""`hybridws torture`: it counts what a server loses, sees what it cannot bear, and ends with a code that says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import WSMsgType, web

from hybridws.aiohttp import mount
from hybridws.cli.torture.tally import Tally

if TYPE_CHECKING:
    from hybridws import Session
    from tests.cli.command import Serve, Start

FEW = ("--seconds", "2", "--rate", "50", "--kills", "2", "--stalls", "1", "--switches", "3", "--seed", "1")


async def torture(start: Start, *arguments: str) -> tuple[int | None, dict[str, Any]]:
    """Run it with --json; return its exit code and what it says."""
    done = await (await start("torture", "--json", *FEW, *arguments)).done()
    assert done.err == ""
    return done.code, json.loads(done.out)


def test_a_tally_counts_what_comes_back() -> None:
    """Lost, twice, out of order, and words that are not its own."""
    tally = Tally()
    one, two, three, four, five = (tally.next() for _ in range(5))
    for text in (one, three, "something else", 7, two, two, five):
        tally.hear(text)
    assert (tally.sent, tally.heard, tally.owed) == (5, 4, 1)
    assert (tally.twice, tally.disordered) == (1, 1)
    tally.hear(four)
    assert (tally.owed, tally.disordered) == (0, 2)


async def test_our_sessions_survive(start: Start, echo: str) -> None:
    """Kills, a stall and switches: everything is said once and in order, no session is lost; exit code 0."""
    code, told = await torture(start, "--only", "kills", "--only", "stalls", "--only", "switches", echo)
    assert [(one["name"], one["transport"]) for one in told["trials"]] == [
        *(("kills", transport) for transport in ("websocket", "stream", "poll")),
        *(("stalls", transport) for transport in ("websocket", "stream", "poll")),
        ("switches", "all"),
    ]
    for one in told["trials"]:
        assert one["sent"] >= 50, one
        assert (one["lost"], one["twice"], one["disordered"], one["resets"], one["fault"]) == (0, 0, 0, 0, ""), one
    assert [one["faults"] for one in told["trials"]] == [2, 2, 2, 1, 1, 1, 3]
    assert (code, told["passed"], told["alive"], told["seed"]) == (0, True, True, 1)


async def test_what_sockjs_loses_is_counted(start: Start, echo: str) -> None:
    """A session of SockJS ends with its connection: it is told as lost, and the exit code is 1."""
    code, told = await torture(start, "--protocol", "sockjs", "--only", "kills", "--patience", "2", echo)
    assert [one["transport"] for one in told["trials"]] == ["websocket", "poll"]
    assert all(one["resets"] for one in told["trials"]), told["trials"]
    assert code == 1
    assert told["alive"]


@pytest.mark.logs_errors  # the server below is cut in mid-handshake
async def test_a_client_of_socket_io(start: Start, serve: Serve) -> None:
    """Engine.IO 4 and Socket.IO 5, as the public protocol says: open, join, ping, and one event said back."""

    async def speak(request: web.Request) -> web.WebSocketResponse:
        assert request.query["EIO"] == "4"
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str('0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000}')
        assert await socket.receive_str() == "40"
        await socket.send_str('40{"sid":"y"}')
        await socket.send_str("2")
        ponged = False
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                ponged = ponged or message.data == "3"
                if message.data.startswith("42") and ponged:
                    await socket.send_str(message.data)
        return socket

    app = web.Application()
    app.router.add_get("/socket.io/", speak)
    url = f"{await serve(app)}/socket.io"
    arguments = ("--protocol", "socketio", "--transport", "websocket", "--only", "kills", "--patience", "2")
    code, told = await torture(start, *arguments, "--event", "talk", url)
    (one,) = told["trials"]
    assert one["resets"] == 2
    assert one["sent"] > one["lost"]
    assert one["fault"] == ""
    assert code == 1
    assert not told["alive"], "it does not speak over polls"


@pytest.mark.logs_errors  # aiohttp's, of requests that are no HTTP
async def test_a_server_that_takes_harm(start: Start, serve: Serve) -> None:
    """Faults of the server are shown, with what brought them about; exit code 1."""

    async def handler(session: Session) -> None:
        async for message in session:
            await session.send(message)

    @web.middleware
    async def broken(request: web.Request, handler: Any) -> web.StreamResponse:  # noqa: ANN401 - aiohttp's
        if request.headers.get("Content-Length") == "4":
            return web.Response(status=500, text="500 Internal Server Error")
        response: web.StreamResponse = await handler(request)
        return response

    app = web.Application(middlewares=[broken])
    mount(app, "/echo", handler, opens_per_second=10_000, opens_burst=100_000, max_fresh=100_000)
    code, told = await torture(start, "--only", "hostile", "--timeout", "5", f"{await serve(app)}/echo")
    assert code == 1
    assert told["alive"]
    wrongs = [wrong for one in told["hostile"] for wrong in one["wrongs"]]
    assert wrongs
    assert all("status 500" in wrong for wrong in wrongs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--protocol", "telnet"), "invalid choice"),
        (("--transport", "carrier-pigeon"), "but websocket, stream, poll"),
        (("--kills", "0"), "no whole number from 1"),
        (("--seconds", "soon"), "is no time in seconds"),
    ],
    ids=repr,
)
async def test_what_is_not_understood(start: Start, arguments: tuple[str, ...], words: str) -> None:
    """Exit code 2, and a sentence."""
    done = await (await start("torture", *arguments, "http://127.0.0.1:1/echo")).done()
    assert done.code == 2
    assert words in done.err


async def test_nobody_is_there(start: Start, unused_tcp_port: int) -> None:
    """Exit code 3, and why, where no session can be opened at all."""
    url = f"http://127.0.0.1:{unused_tcp_port}/echo"
    code, told = await torture(start, "--only", "kills", "--transport", "poll", "--patience", "1", url)
    assert code == 3
    assert not told["alive"]
    assert told["trials"][0]["fault"]
