"""docs/protocol.md is enough to write a client from: one that was written so keeps what the page promises."""

import ast
import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import hybridws
from hybridws.aiohttp import mount
from tests.independent_client import TRANSPORTS, Client

SOURCE = Path(__file__).with_name("independent_client.py")
PATIENCE = 90  # seconds; a test takes one on an idle machine
COUNT = 200

Serve = Callable[[web.Application], Awaitable[str]]

# Every transport comes after every other one, in one of the two, and after itself.
ORDERS = {
    "poll": ("poll",),
    "stream": ("stream",),
    "websocket": ("websocket",),
    "forwards": TRANSPORTS,
    "backwards": TRANSPORTS[::-1],
}


async def echo(session: hybridws.Session) -> None:
    """Say everything again; "bye" ends the session with a code of the application's own."""
    async for message in session:
        await session.send(message)
        if message == "bye":
            await session.close(3456, "as you wish")


@pytest.fixture
async def url(serve: Serve) -> str:
    """Mount an echo, and return where."""
    app = web.Application()
    mount(app, "/echo", echo)
    return f"{await serve(app)}/echo"


def message_of(number: int) -> object:
    """Return the message with a number: text, JSON or bytes, in turn."""
    return (f"text {number} ü\n\u2028", {"number": number, "list": [None, True, 0.5]}, number.to_bytes(2, "big"))[
        number % 3
    ]


def test_that_it_knows_nothing_of_the_project() -> None:
    """It imports aiohttp and the standard library, and says where it comes from."""
    tree = ast.parse(SOURCE.read_text("utf-8"))
    names = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    assert {name.partition(".")[0] for name in names} - sys.stdlib_module_names == {"aiohttp"}
    assert "was written from docs/protocol.md alone" in (ast.get_docstring(tree) or "").partition("\n")[0]


@pytest.mark.parametrize("order", ORDERS)
async def test_an_echo_with_forced_reconnects(url: str, order: str) -> None:
    """Twenty cuts at any moment, each followed by the next transport, lose, repeat and reorder nothing."""
    dice, before = random.Random(order), 0
    heard: list[Any] = []
    async with asyncio.timeout(PATIENCE):
        client = Client(url, ORDERS[order][0], heard.append)
        for number in range(COUNT):
            await client.send(message_of(number))
            if number % 10 == 9:
                while client.n == before:  # noqa: ASYNC110 - it does not say when it attaches
                    await asyncio.sleep(0.001)
                before = client.n
                await asyncio.sleep(dice.choice((0, 0.001, 0.01, 0.1)))
                client.cut(ORDERS[order][(number // 10 + 1) % len(ORDERS[order])])
        while len(heard) < COUNT and not client.ended:  # noqa: ASYNC110 - it takes messages by a callback
            await asyncio.sleep(0.01)
        await client.close()
    assert heard == [message_of(number) for number in range(COUNT)]
    assert client.ended == (1000, "done")
    assert client.n > COUNT // 10, "it was cut, and came back"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_close_is_heard(url: str, transport: str) -> None:
    """What was said before the server's close comes first; then its code and reason."""
    heard: list[Any] = []
    async with asyncio.timeout(PATIENCE):
        client = Client(url, transport, heard.append)
        await client.send("bye")
        await client.carrier
    assert heard == ["bye"]
    assert client.ended == (3456, "as you wish")
    assert not client.outbox
