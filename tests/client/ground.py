"""The ground that the tests of the client stand on: handlers, and waiting for what must come."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hybridws import Server, Session
    from hybridws.client import Connection, Event

T = TypeVar("T")

PATIENCE: Final = 10.0
"""Seconds after which whatever must come is taken for lost."""
CODECS: Final = ("json", "msgpack")
TRANSPORTS: Final = ("websocket", "stream", "poll")


class Place(NamedTuple):
    """Where a mount is."""

    url: str
    server: Server

    @property
    def session(self) -> Session:
        """The one session that lives there."""
        (session,) = self.server.sessions
        return session


class Mounting(Protocol):
    """What the fixture `place` is."""

    async def __call__(self, handler: Callable[[Session], Any], **options: object) -> Place:
        """Mount a handler."""
        ...


async def echo(session: Session) -> None:
    """Send back what comes."""
    async for message in session:
        await session.send(message)


async def listen(session: Session) -> None:
    """Take what comes, and say nothing."""
    async for _ in session:
        pass


async def within(thing: Awaitable[T], patience: float = PATIENCE) -> T:
    """Wait for what must come. Raises TimeoutError."""
    async with asyncio.timeout(patience):
        return await thing


async def until(fact: Callable[[], object], patience: float = PATIENCE) -> float:
    """Wait until something is so that nobody tells; return the seconds that it took."""
    begun = time.perf_counter()
    async with asyncio.timeout(patience):
        while not fact():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.002)
    return time.perf_counter() - begun


async def take(session: Session | Connection, count: int, patience: float = PATIENCE) -> list[Any]:
    """Receive so many messages."""
    got: list[Any] = []
    async with asyncio.timeout(patience):
        async for message in session:
            got.append(message)
            if len(got) == count:
                break
    return got


class Diary:
    """Writes down what a connection tells."""

    def __init__(self) -> None:
        """Start empty."""
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        """Be `on_event`."""
        self.events.append(event)

    @property
    def states(self) -> list[str]:
        """The turns so far."""
        return [event.state for event in self.events]

    def of(self, state: str) -> Event:
        """Return the newest event of a kind."""
        return next(event for event in reversed(self.events) if event.state == state)
