"""A handler in memory: the session that it sees is the real one, and its client is the same from the other side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from hybridws import MessageTooLarge, RequestFailed, SessionClosed
from hybridws.errors import NotAuthenticated
from hybridws.testing import Clock, talk

if TYPE_CHECKING:
    from hybridws import Session

MESSAGES: list[Any] = ["text", "", "tee ☕", b"\x00bytes", {"a": [1, 2.5, None, True]}, [], 7, None]


async def echo(session: Session) -> None:
    """Say everything back."""
    async for message in session:
        await session.send(message)


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_messages_of_every_kind_pass(codec: str) -> None:
    """Text, bytes and JSON values arrive as they were sent, in order."""
    async with talk(echo, codec=codec) as client:
        for message in MESSAGES:
            await client.send(message)
        assert [await client.receive() for _ in MESSAGES] == MESSAGES
        assert client.session.transport == "memory"
        assert client.session.online


async def test_the_handlers_end_ends_the_iteration() -> None:
    """What a handler said before it returned is received, then the iteration ends and tells why."""

    async def greet(session: Session) -> None:
        for word in ("one", "two"):
            await session.send(word)
        await session.close(3001, "enough")

    async with talk(greet) as client:
        assert [message async for message in client] == ["one", "two"]
        assert client.closed == (3001, "enough", "remote")
        with pytest.raises(SessionClosed, match="3001"):
            await client.receive()
        with pytest.raises(SessionClosed, match="3001"):
            await client.send("too late")


async def test_the_clients_close_ends_the_handler() -> None:
    """A close arrives after all that was sent, with its code and reason, and the handler's loop ends."""
    heard: list[Any] = []

    async def listen(session: Session) -> None:
        heard.extend([message async for message in session])
        heard.append(session.closed)

    async with talk(listen) as client:
        await client.send("last words")
        await client.close(3000, "bye")
        assert client.closed == (3000, "bye", "local")
    assert heard == ["last words", (3000, "bye", "remote")]


async def test_silence_is_a_timeout() -> None:
    """`receive` waits for so long and no longer, and cancelling it loses nothing."""
    async with talk(echo) as client:
        with pytest.raises(TimeoutError, match="no message came within"):
            await client.receive(timeout=0.02)
        await client.send("still there")
        assert await client.receive() == "still there"


async def test_requests_pass_both_ways() -> None:
    """Either side may ask and be answered, or be told that it failed."""

    async def handler(session: Session) -> None:
        @session.on_request
        async def answer(value: int) -> int:
            if value < 0:
                raise RequestFailed(3005, "negative")
            return value + 1

        await session.send(await session.request("name?"))
        await session.wait_closed()

    async with talk(handler) as client:

        @client.on_request
        async def name(question: str) -> str:
            return f"{question} ada"

        assert await client.receive() == "name? ada"
        assert await client.request(41) == 42
        with pytest.raises(RequestFailed, match="3005"):
            await client.request(-1)


@pytest.mark.logs_errors
async def test_what_a_handler_raises_is_raised_at_the_end() -> None:
    """The client sees 1011 as any client does; then the test sees the exception."""

    async def broken(_session: Session) -> None:
        raise ZeroDivisionError("by design")

    async def meet() -> None:
        async with talk(broken) as client:
            assert [message async for message in client] == []
            assert client.closed is not None
            assert client.closed.code == 1011

    with pytest.raises(ZeroDivisionError, match="by design"):
        await meet()


async def test_options_and_admission_are_those_of_a_mount() -> None:
    """Limits hold, `authenticate` is asked with what the client shows, and the user is the session's."""

    async def authenticate(request: Any, auth: object) -> object:  # noqa: ANN401 - as the options have it
        return auth if request.headers.get("X-Door") == "open" else None

    async with talk(echo, auth="ada", headers={"x-door": "open"}, authenticate=authenticate) as client:
        assert client.session.user == "ada"
    with pytest.raises(NotAuthenticated):
        async with talk(echo, auth="ada", authenticate=authenticate):
            pass
    async with talk(echo, max_message=1000) as client:
        with pytest.raises(MessageTooLarge):
            await client.send("x" * 1000)
    with pytest.raises(ValueError, match="no_such_option"):
        async with talk(echo, no_such_option=1):
            pass


async def test_a_handler_that_does_not_take_slows_the_client() -> None:
    """The buffer's limits hold in memory too."""
    go = asyncio.Event()

    async def slow(session: Session) -> None:
        await go.wait()
        await echo(session)

    async with talk(slow, buffer=4096, max_message=1024, max_batch=4096) as client:

        async def flood() -> None:
            for number in range(100):
                await client.send(f"{number} " + "x" * 200)

        sender = asyncio.create_task(flood())
        done, _ = await asyncio.wait({sender}, timeout=0.05)
        assert not done
        go.set()
        assert [int((await client.receive()).split()[0]) for _ in range(100)] == list(range(100))
        await sender


async def test_rooms_and_broadcasts_work() -> None:
    """The server is at hand, as an application has it."""
    async with talk(echo) as client:
        client.server.broadcast("to all")
        assert await client.receive() == "to all"
        room = client.server.room("tea")
        room.join(client.session)
        room.publish("to the room")
        assert await client.receive() == "to the room"


def test_silence_passes_in_no_time() -> None:
    """By a scripted clock heartbeats come and are answered, and the session lives on."""

    async def main() -> None:
        async with talk(echo) as client:
            await asyncio.sleep(200)
            assert client.session.online
            assert client.closed is None
            await client.send("hello")
            assert await client.receive() == "hello"

    Clock().run(main())


def test_a_client_that_vanishes_is_given_up_after_resume() -> None:
    """`hang_up` leaves the session without a transport, and the server ends it when its time is over."""
    clock = Clock()

    async def main() -> None:
        async with talk(echo) as client:
            client.hang_up()
            begun = clock.now
            await client.session.wait_closed()
            assert 120 <= clock.now - begun <= 122
            assert client.session.closed is not None
            assert client.session.closed.by == "network"

    clock.run(main())


async def test_an_aborted_session_is_told_to_the_client() -> None:
    """An end that drops what was not said reaches the client with its code."""
    async with talk(echo) as client:
        client.session.abort(4403, "not you")
        assert [message async for message in client] == []
        assert client.closed == (4403, "not you", "network")
