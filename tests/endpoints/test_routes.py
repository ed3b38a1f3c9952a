"""The route that a client may choose, so that balancers keep its session at one process (docs/protocol.md §4)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from aiohttp import web

import hybridws
from hybridws.aiohttp import mount
from hybridws.gate import is_foreign, new_id
from tests.conformance.wire import Socket, Wire, echo, handshake, within
from tests.endpoints.native_wire import CODECS, Frames, encode, said

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from tests.conformance.peers import Mounting
    from tests.endpoints.native_wire import Dial

ROUTES = ("a", "0", "Ab12", "z" * 16)
NO_ROUTES = ("", "a" * 17, "a.b", "a-b", "a_b", "a/b", "é", "a b", "a\n", "\0", "a%", "٣", "a,b")


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("codec", CODECS)
async def test_route_heads_the_name(place: Mounting, dial: Dial, route: str, codec: str) -> None:
    """The session's name begins with the route, and each transport finds it by that name."""
    talk = dial(await place(echo), codec)
    hello = encode("json", [["i", {"v": 1, "codec": codec}]])
    answer = await (await talk.begin(f"/v1/open?route={route}", hello, opens=True)).answer()
    assert answer.status == 200
    talk.take(answer.batch[0])
    assert re.fullmatch(rf"{route}-[0-9a-f]{{8}}\.[A-Za-z0-9_-]{{22}}", talk.sid)
    assert not is_foreign(talk.sid)
    assert said((await talk.poll(["#", 1], ["m", "by poll"])).batch) == ["by poll"]
    frames = Frames(await Socket.to(talk.place, f"/v1/websocket?route={route}", talk.headers), codec)
    await frames.say(talk.attach(ack=1))
    assert (await frames.batch())[0] == ["a", 1]
    await frames.socket.wire.close()


async def test_route_of_a_hello_over_websocket(place: Mounting, dial: Dial) -> None:
    """A session that a WebSocket opens has its route too."""
    talk = dial(await place(echo))
    frames = Frames(await Socket.to(talk.place, "/v1/websocket?route=r1", talk.headers), "json")
    await frames.say(["i", {"v": 1}])
    ((kind, told),) = await frames.batch()
    assert kind == "o"
    assert told["sid"].startswith("r1-")
    await frames.socket.wire.close()


async def test_without_a_route(place: Mounting, dial: Dial) -> None:
    """It is optional: the name begins with the process then, and other words of the query mean nothing."""
    talk = dial(await place(echo))
    for path in ("/v1/open", "/v1/open?router=x", "/v1/open?x=route"):
        answer = await (await talk.begin(path, b'["i",{"v":1}]', opens=True)).answer()
        assert re.fullmatch(r"[0-9a-f]{8}\.[A-Za-z0-9_-]{22}", answer.batch[0][1]["sid"])


@pytest.mark.parametrize("route", NO_ROUTES)
async def test_no_route(place: Mounting, dial: Dial, route: str) -> None:
    """What is no route is refused in clear words, by POST and before the handshake, and nothing is opened."""
    served = await place(echo)
    talk = dial(served)
    answer = await talk.post(f"/v1/open?route={quote(route)}", b'["i",{"v":1}]')
    assert answer.status == 400
    assert answer.refusal == [4400]
    assert "a route is 1 to 16 letters and digits" in answer.batch[0][2]
    async with await Wire.to(served.origin) as wire:
        path = served.at(f"/v1/websocket?route={quote(route)}")
        await wire.request("GET", path, {**handshake(), "Origin": served.origin})
        assert (await wire.reply()).status == 400
    assert not served.server.sessions


def test_foreign_names() -> None:
    """The process stands before the dot, behind the route if there is one; nothing else makes a name ours."""
    own = new_id()
    process = own.partition(".")[0]
    for name in (own, new_id("r"), f"r-{process}.x", f"{process}.x", f"{process}.a-b"):
        assert not is_foreign(name)
    for name in (
        "0123abcd.x",
        "r-0123abcd.x",
        f"{process}-0123abcd.x",
        f"x{process}.x",
        "x",
        "",
        ".",
        "-.",
        f"r.{process}",
    ):
        assert is_foreign(name)


@pytest.mark.parametrize("transport", ["websocket", "stream", "poll"])
async def test_the_python_client_has_a_route(transport: str) -> None:
    """It chooses one for each session, and its WebSocket comes with the same: a balancer needs no more."""
    seen: list[tuple[str, str | None]] = []

    async def look(request: web.Request, handler: Handler) -> web.StreamResponse:
        seen.append((request.path.rpartition("/")[2], request.query.get("route")))
        return await handler(request)

    app = web.Application(middlewares=[web.middleware(look)])
    server = mount(app, "/echo", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/echo"
        routes: set[str] = set()
        for _ in range(2):
            seen.clear()
            async with hybridws.connect(url, transports=[transport]) as client:
                (session,) = server.sessions
                route, _, rest = session.id.partition("-")
                assert re.fullmatch(r"[A-Za-z0-9]{1,16}", route)
                assert rest
                await client.send("x")
                assert await within(anext(aiter(client))) == "x"
            assert ("open", route) in seen
            assert (("websocket", route) in seen) == (transport == "websocket")
            routes.add(route)
        assert len(routes) == 2
    finally:
        await runner.cleanup()
