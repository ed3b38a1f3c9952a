"""A handler in memory, without a socket: the same server and sessions, joined by a transport that loses nothing.

async with talk(echo) as client:
    await client.send("hello")
    assert await client.receive() == "hello"
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Self

from hybridws.core import codes
from hybridws.core.codec import JSON, MSGPACK
from hybridws.core.heads import Fields
from hybridws.core.link import Link
from hybridws.core.packets import Heartbeat
from hybridws.errors import SessionClosed
from hybridws.exchange import Request
from hybridws.options import Options
from hybridws.server import Server
from hybridws.session import Closed, Session

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping

    from hybridws.seat import Seat

PATIENCE: Final = 5.0
"""Seconds that `receive` waits for a message unless it is told otherwise: far more than memory needs."""
CODECS: Final = {"json": JSON, "msgpack": MSGPACK}
NAME: Final = "memory"
"""What `session.transport` says of it."""


@asynccontextmanager
async def talk(
    handler: Callable[[Session], Coroutine[Any, Any, object]],
    *,
    codec: str = "json",
    auth: object = None,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    **options: Any,  # noqa: ANN401 - checked by Options
) -> AsyncGenerator[Client, None]:
    """Run `handler(session)` for one client in memory; `options` are those of `mount`.

    `auth`, `headers` and `query` are what the client shows when it opens its session. At the end the session is closed
    and the handler is waited for; what the handler raised, other than SessionClosed, is raised here. Raises Refused
    where the client may not come in.
    """
    failed: list[Exception] = []

    async def run(session: Session) -> None:
        try:
            await handler(session)
        except SessionClosed:
            raise
        except Exception as error:
            failed.append(error)
            raise

    server = Server(run, Options.read(options))
    fields = Fields({name.lower(): value for name, value in (headers or {}).items()})
    request = Request("POST", "/v1/open", "/v1/open", query or {}, fields, {}, "127.0.0.1", "http")
    session = server.open(CODECS[codec], request, await server.admit(request, auth))
    client = Client(server, session)
    try:
        yield client
        await client.close()
    finally:
        client.hang_up()
        await server.close()
    if failed:
        raise failed[0]


class Client:
    """The far end of one session in memory."""

    def __init__(self, server: Server, session: Session) -> None:
        """Attach to a session that was just opened."""
        self.server: Final = server
        """The server, for its rooms and broadcasts."""
        self.session: Final = session
        """The session as the handler sees it."""
        link = Link(session.link.codec, session.link.options)
        self._mine: Final = Session(session.id, link, session.http_request, time.time, Session.owe_ack)
        server.settle(session)
        self._shuttle: Final = Shuttle(session, self._mine)

    def __repr__(self) -> str:
        """Tell whose far end it is."""
        return f"<Client in memory of {self.session!r}>"

    async def send(self, message: object) -> None:
        """Send text, bytes or a JSON value, after waiting for room. Raises what `Session.send` raises."""
        await self._mine.send(message)

    async def receive(self, timeout: float = PATIENCE) -> Any:  # noqa: ANN401, ASYNC109 - a message; part of the API
        """Return the next message. Raises TimeoutError after `timeout` seconds, SessionClosed when there is no more."""
        try:
            async with asyncio.timeout(timeout):
                return await anext(self._mine)
        except TimeoutError:
            raise TimeoutError(f"no message came within {timeout:g} s from {self.session!r}") from None
        except StopAsyncIteration:
            code, reason, _ = self.closed or Closed(codes.NORMAL, "", "local")
            raise SessionClosed(code, reason, self._mine.unacked) from None

    def __aiter__(self) -> Self:
        """Receive messages until the session ends."""
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401 - a message is str, bytes or any JSON value
        """Wait for the next message, however long."""
        return await anext(self._mine)

    async def request(self, value: object, timeout: float | None = PATIENCE) -> Any:  # noqa: ANN401, ASYNC109 - as `receive`
        """Send a request and return its answer. Raises RequestFailed, TimeoutError, SessionClosed."""
        return await self._mine.request(value, timeout)

    def on_request(self, answerer: Callable[[Any], Awaitable[object]]) -> Callable[[Any], Awaitable[object]]:
        """Let `answerer(value)` answer the handler's requests; use it as a decorator."""
        return self._mine.on_request(answerer)

    async def close(self, code: int = codes.NORMAL, reason: str = "") -> None:
        """End the session after all that was sent, and wait until the handler's side knows."""
        await self._mine.close(code, reason)
        await self._mine.wait_closed()

    def hang_up(self) -> None:
        """Leave without a word, as when a machine loses its power: the session goes on without a transport."""
        self._shuttle.end()
        self._mine.lose(codes.ABNORMAL, "hung up")

    @property
    def closed(self) -> Closed | None:
        """How the session ended, as the client sees it: `local` is the client itself; None while it goes on."""
        return self._mine.closed


class Shuttle:
    """The transport: it carries what either session has to say to the other, one turn of the loop later."""

    __slots__ = ("_far", "_far_seat", "_near", "_near_seat", "_turn")

    def __init__(self, near: Session, far: Session) -> None:
        """Take a seat at both ends."""
        self._turn: asyncio.Handle | None = None
        self._near, self._far = near, far
        self._near_seat: Final = near.attach(NAME, self._wake)
        self._far_seat: Final = far.attach(NAME, self._wake)
        self._wake()

    def _wake(self) -> None:
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._carry)

    def _carry(self) -> None:
        self._turn = None
        _pass(self._near, self._near_seat, self._far, self._far_seat)
        _pass(self._far, self._far_seat, self._near, self._near_seat)

    def end(self) -> None:
        """Break off at both ends."""
        for seat in (self._near_seat, self._far_seat):
            seat.cut("the client has gone")
        if self._turn:
            self._turn.cancel()
            self._turn = None


def _pass(source: Session, here: Seat, target: Session, there: Seat) -> None:
    """Give to one session what the other has for it."""
    codec, options = source.link.codec, source.link.options
    if here.over:
        code, reason = here.verdict
        target.lose(code, reason)  # changes nothing where it knows of the end
        return
    if here.beat:
        here.beat = False
        here.sent = here.asked = True
        target.feed(there.lane, [(Heartbeat(), 0)])
    while frames := here.pending():
        for frame in frames:
            here.wrote(frame)
            there.heard = True
            target.feed(there.lane, codec.loads(frame.payload, options))
            here.delivered()
    if there.lane.acked != target.link.ackable:
        there.lane.owes = True
        there.wake()
    if here.finished:
        here.leave("the session has ended")
