"""A plain function as handler: called for each message, without a task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

import hybridws
from hybridws.aiohttp import mount

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hybridws import Session

TRANSPORTS = ("websocket", "stream", "poll")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_it_is_called_for_each_message(serve: Callable[..., Awaitable[str]], transport: str) -> None:
    """Each message is handed over once and in order, and no task runs for the session."""

    def echo(session: Session, message: Any) -> None:  # noqa: ANN401 - a message
        session.send_nowait(message)

    app = web.Application()
    server = mount(app, "/echo", echo)
    url = await serve(app)
    async with hybridws.connect(f"{url}/echo", transports=[transport]) as client:
        for number in range(50):
            await client.send(number)
        messages = aiter(client)
        assert [await anext(messages) for _ in range(50)] == list(range(50))
        (session,) = server.sessions
        assert session.handler is None


async def test_a_client_that_does_not_read_is_not_read(serve: Callable[..., Awaitable[str]]) -> None:
    """While the client's buffer is full the function is not called; its messages wait, and nothing is lost."""
    options: dict[str, Any] = {"buffer": 20_000, "max_batch": 20_000, "max_message": 2_000}
    most = 0

    def echo(session: Session, message: Any) -> None:  # noqa: ANN401 - a message
        nonlocal most
        session.send_nowait(message)
        most = max(most, session.link.outbox.size)

    app = web.Application()
    mount(app, "/echo", echo, **options)
    url = await serve(app)
    words = "x" * 1000

    async with hybridws.connect(f"{url}/echo") as client:

        async def send() -> None:
            for number in range(300):
                await client.send(f"{number} {words}")

        sender = asyncio.create_task(send())
        messages = aiter(client)
        got = [int((await anext(messages)).split()[0]) for _ in range(300)]
        await sender
    assert got == list(range(300))
    assert most < 20_000 + 2_000 + 64


@pytest.mark.logs_errors
async def test_one_that_fails_closes_its_session(
    serve: Callable[..., Awaitable[str]], caplog: pytest.LogCaptureFixture
) -> None:
    """An exception closes the session with 1011, is logged, and hurts no other session."""

    def divide(session: Session, message: Any) -> None:  # noqa: ANN401 - a message
        session.send_nowait(1 / message)

    app = web.Application()
    mount(app, "/divide", divide)
    url = await serve(app)
    async with hybridws.connect(f"{url}/divide") as other, hybridws.connect(f"{url}/divide") as client:
        await client.send(0)
        assert [message async for message in client] == []
        await other.send(2)
        assert await anext(aiter(other)) == 0.5
    assert client.closed
    assert client.closed.code == 1011
    assert "ZeroDivisionError" in caplog.text


async def test_what_came_before_the_end_is_handed_over(serve: Callable[..., Awaitable[str]]) -> None:
    """Messages that came before the client's close are handed over before the end is told."""
    told: list[object] = []
    over = asyncio.Event()

    def end(session: Session) -> None:
        told.append(session.closed and session.closed.by)
        over.set()

    def note(session: Session, message: Any) -> None:  # noqa: ANN401 - a message
        session.at_end(end)
        told.append(message)

    app = web.Application()
    mount(app, "/note", note)
    url = await serve(app)
    async with hybridws.connect(f"{url}/note") as client:
        for number in range(10):
            await client.send(number)
    await asyncio.wait_for(over.wait(), 5)
    assert told == [*range(10), "remote"]


def test_a_coroutine_function_of_two_arguments_is_refused() -> None:
    """It can be neither run for a session nor called for a message, and the error says what to do."""

    async def both(session: Session, message: object) -> None:
        """Do nothing."""

    with pytest.raises(ValueError, match="make it a plain one"):
        mount(web.Application(), "/", both)


@pytest.mark.parametrize("what", [None, "chat:handler", object(), 5])
def test_what_cannot_be_called_is_no_handler(what: Any) -> None:  # noqa: ANN401 - what is no handler
    """It is refused where it is mounted, not by silence when the first client comes."""
    with pytest.raises(ValueError, match="a handler is a function"):
        mount(web.Application(), "/", what)


def test_a_handler_takes_a_session_and_perhaps_a_message() -> None:
    """A function that cannot be called with either is refused, and so is one that would run nothing when called."""

    async def none() -> None:
        """Do nothing."""

    def three(a: object, b: object, c: object) -> None:
        """Do nothing."""

    async def said(session: Session) -> Any:  # noqa: ANN401 - an iterator
        async for message in session:
            yield message

    def words(_session: Session, message: str) -> Any:  # noqa: ANN401 - an iterator
        yield message

    for wrong, why in ((none, "neither with a session"), (three, "neither with"), (said, "yield"), (words, "yield")):
        with pytest.raises(ValueError, match=why):
            mount(web.Application(), "/", wrong)  # type: ignore[arg-type]  # that is what it is about


@pytest.mark.logs_errors
async def test_a_forgotten_async_is_named(
    serve: Callable[..., Awaitable[str]], caplog: pytest.LogCaptureFixture
) -> None:
    """A function of a session that gives no coroutine ends each session with 1011, and the log says what to write."""

    def handler(_session: Session) -> None:
        """Do nothing."""

    app = web.Application()
    mount(app, "/note", handler)  # type: ignore[arg-type]  # that is what it is about
    async with hybridws.connect(f"{await serve(app)}/note") as client:
        assert [message async for message in client] == []
        assert client.closed is not None
        assert client.closed.code == 1011
    assert "write `async def`" in caplog.text
