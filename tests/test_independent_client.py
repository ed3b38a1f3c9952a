"""docs/protocol.md is enough to write a client from: one that was written so keeps what the page promises."""

import ast
import asyncio
import random
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

import hybridws
from hybridws.aiohttp import mount
from tests.independent_client import KINDS, Session, SessionClosed

SOURCE = Path(__file__).with_name("independent_client.py")
PATIENCE = 90  # seconds; a test takes one on an idle machine

Serve = Callable[[web.Application], Awaitable[str]]

# Every kind comes after every other one, in one of the four.
ORDERS = {
    "forwards": KINDS,
    "backwards": KINDS[::-1],
    "websocket and poll": ("websocket", "poll"),
    "stream and events": ("stream", "events"),
}


async def echo(session: hybridws.Session) -> None:
    """Say everything again; "bye" ends the session with a code of the application's own."""
    async for message in session:
        await session.send(message)
        if message == "bye":
            await session.close(3456, "as you wish")


def message_of(number: int) -> object:
    """Return the message with a number: text, JSON or bytes, in turn."""
    return (f"text {number} ü\n\u2028", {"number": number, "list": [None, True, 0.5]}, number.to_bytes(2, "big"))[
        number % 3
    ]


@asynccontextmanager
async def opened(serve: Serve, kind: str) -> AsyncGenerator[Session, None]:
    """Give a session with an echo, over a kind of transport."""
    app = web.Application()
    mount(app, "/echo", echo, events=True)
    url = await serve(app)
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as http:
        session = Session(http, f"{url}/echo", kind)
        await session.open()
        try:
            yield session
        finally:
            await session.close(1000, "done")


async def converse(session: Session, kinds: tuple[str, ...], *, keep: bool = False) -> None:
    """Send 100 messages with a reconnect after every ten, while the echoes come, and expect just those, in order."""
    dice = random.Random(repr(kinds))

    async def say() -> None:
        for number in range(100):
            await session.send(message_of(number))
            if number % 10 == 9:
                await asyncio.sleep(dice.choice((0, 0.001, 0.01, 0.1)))  # at any moment of the transport's life
                await session.reconnect(kinds[(number // 10 + 1) % len(kinds)], keep=keep)

    async with asyncio.TaskGroup() as both:
        both.create_task(say())
        heard = [await session.receive() for _ in range(100)]
    assert heard == [message_of(number) for number in range(100)]
    await session.send("the last one")  # nothing comes between
    assert await session.receive() == "the last one"
    assert session.received == session.numbered == 101


def test_that_it_knows_nothing_of_the_project() -> None:
    """It imports aiohttp and the standard library, and says where it comes from."""
    tree = ast.parse(SOURCE.read_text("utf-8"))
    names = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    assert {name.partition(".")[0] for name in names} - sys.stdlib_module_names == {"aiohttp"}
    assert "was written from docs/protocol.md alone" in (ast.get_docstring(tree) or "").partition("\n")[0]


@pytest.mark.parametrize("kind", KINDS)
async def test_one_kind_of_transport(serve: Serve, kind: str) -> None:
    """Over each transport, ten forced reconnects lose, repeat and reorder nothing."""
    async with opened(serve, kind) as session:
        await converse(session, (kind,))


@pytest.mark.parametrize("order", ORDERS)
async def test_another_kind_every_time(serve: Serve, order: str) -> None:
    """The same with every reconnect on another kind of transport."""
    async with opened(serve, ORDERS[order][0]) as session:
        await converse(session, ORDERS[order])


@pytest.mark.parametrize("order", ORDERS)
async def test_the_next_one_before_the_last_one_goes(serve: Serve, order: str) -> None:
    """The same with the older transport alive until the new one is answered: a WebSocket is then on trial."""
    async with opened(serve, ORDERS[order][0]) as session:
        await converse(session, ORDERS[order], keep=True)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_close_is_heard(serve: Serve, kind: str) -> None:
    """What was said before the server's close comes first; then its code and reason."""
    async with opened(serve, kind) as session:
        await session.send("bye")
        assert await session.receive() == "bye"
        with pytest.raises(SessionClosed) as closed:
            await session.receive()
        assert closed.value.args == (3456, "as you wish", [])


async def test_the_close_is_said(serve: Serve) -> None:
    """After a close of the client's own, the server has taken everything, and knows the session no more."""
    async with opened(serve, "poll") as session:
        await session.send("hello")
        await session.close(1000, "done")
        assert not session.outbox
        async with session.http.post(f"{session.base}/poll", data='["@","","",1,0]') as answer:
            assert answer.status in {403, 410}
