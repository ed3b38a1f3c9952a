"""The rules of a SockJS session: who may receive, how it ends, and what remains of it (docs/sockjs.md §6)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from hybridws.aiohttp import mount
from tests.conformance.peers import EVERY, HTTP, ROWS, STREAMING, Dial, Mounting
from tests.conformance.wire import Place, Socket, Wire, Witness, ask, attached, echo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


ANOTHER = (2010, "Another connection still open")


# ── opening and sending ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.rule("S6.1", "S5.1")
@pytest.mark.parametrize("transport", EVERY)
async def test_both_ways(transport: str, place: Mounting, dial: Dial) -> None:
    """A session opens, carries messages both ways, and knows its transport and the request that opened it."""
    witness = Witness()
    peer = dial(await place(witness), transport)
    await peer.open()
    session = await witness.session()
    assert session.transport == transport
    assert session.http_request.path.startswith("/echo")
    assert session.closed is None
    await peer.send("up", "and up")
    assert [await witness.message(), await witness.message()] == ["up", "and up"]
    await session.send("down")
    await session.send({"any": "value"})
    assert [await peer.receive(), json.loads(await peer.receive())] == ["down", {"any": "value"}]


@pytest.mark.rule("S6.2", "S8.6")
@pytest.mark.parametrize("path", ["xhr_send", "jsonp_send"])
async def test_send_to_unknown(path: str, place: Mounting) -> None:
    """Sending opens nothing."""
    where = await place(echo)
    for body in (b'["x"]', b"", b"[broken"):
        reply = await ask(where, "POST", f"/a/b/{path}", body=body)
        assert (reply.status, reply.text) == (404, "no such session")
    assert not where.server.sessions


@pytest.mark.rule("S6.10", "S6.2")
async def test_websockets_share_nothing(place: Mounting) -> None:
    """A WebSocket's name may be used by many at once, is not known to other transports, and is free again."""
    witness = Witness()
    where = await place(witness)
    sockets = [await Socket.to(where, "/a/same/websocket") for _ in range(3)]
    sessions = [await witness.session() for _ in sockets]
    assert len(set(sessions)) == 3
    for number, (socket, session) in enumerate(zip(sockets, sessions, strict=True)):
        assert await socket.message() == "o"
        await session.send(number)
        assert await socket.message() == f'a["{number}"]'
    assert (await ask(where, "POST", "/a/same/xhr_send", body=b'["x"]')).status == 404
    assert (await ask(where, "POST", "/a/same/xhr")).body == b"o\n"
    for socket in sockets:
        await socket.wire.close()
    again = await Socket.to(where, "/a/same/websocket")
    assert await again.message() == "o"
    await again.wire.close()


@pytest.mark.rule("S6.13", "S9.8")
async def test_mounts_are_apart(serve: Callable[..., Awaitable[str]]) -> None:
    """A client of one mount can neither send into a session of another's nor receive from it."""
    first, second = Witness(), Witness()
    app = web.Application()
    servers = {prefix: mount(app, prefix, witness) for prefix, witness in (("/one", first), ("/one/two", second))}
    origin = await serve(app)
    one, two = (Place(origin, prefix, server) for prefix, server in servers.items())
    assert (await ask(one, "POST", "/a/b/xhr")).body == b"o\n"
    assert (await ask(two, "POST", "/a/b/xhr_send", body=b'["x"]')).status == 404
    assert (await ask(two, "POST", "/a/b/xhr")).body == b"o\n"
    assert (await ask(two, "POST", "/a/b/xhr_send", body=b'["two"]')).status == 204
    assert await second.message() == "two"
    assert first.messages.empty()
    await (await first.session()).send("one")
    assert (await ask(one, "POST", "/a/b/xhr")).body == b'a["one"]\n'
    assert [len(server.sessions) for server in servers.values()] == [1, 1]


# ── two receivers ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.rule("S6.3", "S9.2")
@pytest.mark.parametrize("second", HTTP)
@pytest.mark.parametrize("first", HTTP)
async def test_two_receivers(first: str, second: str, place: Mounting, dial: Dial) -> None:
    """A second receiver is sent away; the first goes on and gets the next message."""
    witness = Witness()
    where = await place(witness)
    holder = dial(where, first)
    await holder.open()
    session = await witness.session()
    await holder.listen()
    await attached(session)
    intruder = dial(where, second, holder.address)
    for _ in range(2):
        assert await intruder.closed() == ANOTHER
    assert session.closed is None
    await session.send("still here")
    assert await holder.receive() == "still here"
    assert session.transport == first


@pytest.mark.rule("S6.3", "S6.6")
@pytest.mark.parametrize("transport", STREAMING)
async def test_refused_stream_ends(transport: str, place: Mounting) -> None:
    """A refused stream ends by itself after its one frame."""
    witness = Witness()
    where = await place(witness)
    row = ROWS[transport]
    async with await Wire.to(where.origin) as first, await Wire.to(where.origin) as second:
        await first.request("POST", where.at("/a/b/xhr_streaming"), {"Origin": where.origin})
        await first.head()
        assert [len(await first.chunk()), await first.chunk()] == [2049, b"o\n"]
        await second.request(row.method, where.at(f"/a/b/{row.path}"), {"Origin": where.origin})
        assert (await second.head()).status == 200
        assert row.prelude
        assert row.prelude(await second.chunk())
        assert row.unwrap(await second.chunk()).startswith("c[2010,")
        assert await second.chunk() == b""
