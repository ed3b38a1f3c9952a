"""sockjs-client 1.6.1 in Node, over each transport that it has there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest
from aiohttp import web

from hybridws.aiohttp import mount
from tests.live.drivers import run_node
from tests.live.words import BYE, FAREWELL, SPEECHES, echo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hybridws import Closed, Session

    Serve = Callable[[web.Application], Awaitable[str]]

pytestmark = pytest.mark.live

TRANSPORTS: Final = ("websocket", "xhr-streaming", "eventsource", "xhr-polling")

each_transport = pytest.mark.parametrize("transport", TRANSPORTS)


async def test_known_transports(serve: Serve) -> None:
    """In Node, sockjs-client finds just the transports that the tests below force it to."""
    app = web.Application()
    mount(app, "/echo", echo, legacy=True)
    url = await serve(app)
    assert await run_node("node_sockjs.mjs", {"do": "enabled", "url": f"{url}/echo"}) == list(TRANSPORTS)


@each_transport
@pytest.mark.parametrize("speech", SPEECHES)
async def test_echo(serve: Serve, transport: str, speech: str) -> None:
    """What the client sends comes back whole and in order, and then so do the server's close code and reason."""
    app = web.Application()
    server = mount(app, "/echo", echo)
    url = await serve(app)
    messages = SPEECHES[speech]
    plan = {"transport": transport, "messages": [*messages, BYE]}
    story = await run_node("node_sockjs.mjs", {"do": "converse", "url": f"{url}/echo", "plan": plan})
    assert story["transport"] == transport
    assert story["replies"] == messages
    assert story["closed"] == [*FAREWELL, True]
    assert not server.sessions


@each_transport
async def test_client_closes(serve: Serve, transport: str) -> None:
    """When the client closes, the handler's loop ends soon, and it knows that it was not the server's doing."""
    ended: asyncio.Future[tuple[str | None, Closed | None]] = asyncio.get_running_loop().create_future()

    async def note(session: Session) -> None:
        await echo(session)
        ended.set_result((session.transport, session.closed))

    app = web.Application()
    mount(app, "/echo", note, disconnect_delay=2)
    url = await serve(app)
    plan = {"transport": transport, "messages": ["one"], "replies": 1, "close": [3210, "bye"]}
    story = await run_node("node_sockjs.mjs", {"do": "converse", "url": f"{url}/echo", "plan": plan})
    assert story["replies"] == ["one"]
    assert story["closed"] == [3210, "bye", True]
    async with asyncio.timeout(10):
        seen, closed = await ended
    assert seen == transport
    assert closed is not None
    assert closed.by == ("remote" if transport == "websocket" else "network")  # SockJS has no word for it
