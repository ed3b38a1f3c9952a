"""The Python client behind real proxies: where it settles, and that nothing is lost while connections are cut."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final, Literal

import pytest
from aiohttp import web

import hybridws
from tests.live.proxies.proxies import ALL, CASES, Case
from tests.live.words import echo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.typedefs import Handler

    from hybridws import Connection, Server, Session
    from tests.live.proxies.conftest import Site

    Codec = Literal["json", "msgpack"]
    StandBehind = Callable[..., Awaitable[Site]]

pytestmark = pytest.mark.live

each_case = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
CODECS: Final[tuple[Codec, ...]] = ("json", "msgpack")

PATIENCE: Final = 30.0
"""Seconds for anything, on a machine that has much else to do."""
FIRST: Final = 2.0
"""Seconds for the first answer: a proxy that holds it for a timer of its own takes longer."""
PACE: Final = 0.003
"""Seconds between two messages of one sender, so that many batches make the way and a cut falls amid them."""
CHAPTER: Final = 50
"""Messages each way from one cut to the next."""
TOTAL: Final = 200
NEARLY: Final = 256 * 1024 - 24
"""Bytes of a message of which four with all around them are more than 1 MiB, and less than `max_batch`."""


async def settle(connection: Connection, case: Case) -> None:
    """Talk until the client uses the best transport that passes, and has given up what else it has tried."""
    best = case.passes[0]
    better = set(ALL[: ALL.index(best)])
    messages = aiter(connection)
    settled, number = False, 0
    async with asyncio.timeout(PATIENCE):
        while not settled:  # and once more, which then tells the server too
            settled = connection.transport == best and better & tried(connection) <= failed(connection)
            await connection.send(number)
            assert await anext(messages) == number
            number += 1


def tried(connection: Connection) -> set[str]:
    """Return the transports that were tried."""
    return {attempt.transport for attempt in connection.info.attempts}


def failed(connection: Connection) -> set[str]:
    """Return the transports that were tried in vain, or have broken."""
    return {attempt.transport for attempt in connection.info.attempts if attempt.failure}


async def all_ended(server: Server) -> None:
    """Wait until the server has no session left."""
    async with asyncio.timeout(PATIENCE):
        for session in list(server.sessions):
            await session.wait_closed()


@each_case
async def test_settles(stand_behind: StandBehind, case: Case) -> None:
    """The first message comes back at once, the client settles on the best that passes, and both sides see the end."""
    site = await stand_behind(case, echo)
    for codec in CODECS:
        begun = asyncio.get_running_loop().time()
        async with hybridws.connect(site.url, codec=codec, first=["first"], **site.way) as connection:
            async with asyncio.timeout(PATIENCE):
                assert await anext(aiter(connection)) == "first"
            assert asyncio.get_running_loop().time() - begun < FIRST
            await settle(connection, case)
            session = site.server.find(connection.id)
            assert session
            assert session.transport == case.passes[0]
        assert connection.closed == hybridws.Closed(1000, "", "local")
        await all_ended(site.server)
        assert session.closed == hybridws.Closed(1000, "", "remote")


# ── cuts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Talk:
    """What has arrived of one session, on both sides."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.up: list[object] = []
        self.down: list[object] = []


class Course:
    """Several sessions that count to TOTAL both ways at once, and go on only while cuts keep up with them."""

    def __init__(self) -> None:
        """Permit the first chapter."""
        self.talks: dict[str, Talk] = {}
        self.permitted = CHAPTER
        self._news = asyncio.Condition()

    async def reached(self, count: int) -> None:
        """Wait until everybody has got so many messages."""
        async with self._news:
            await self._news.wait_for(
                lambda: all(min(len(talk.up), len(talk.down)) >= count for talk in self.talks.values())
            )

    async def permit(self, count: int) -> None:
        """Let everybody go on."""
        async with self._news:
            self.permitted = count
            self._news.notify_all()

    async def count(self, send: Callable[[object], Awaitable[None]]) -> None:
        """Send the numbers, each when it is permitted."""
        for number in range(TOTAL):
            async with self._news:
                await self._news.wait_for(lambda number=number: number < self.permitted)  # type: ignore[misc]
            await send(number)
            await asyncio.sleep(PACE)

    async def hear(self, heard: list[object], message: object) -> None:
        """Note what has arrived."""
        async with self._news:
            heard.append(message)
            self._news.notify_all()

    async def answer(self, session: Session) -> None:
        """Be the handler: the first message names the talk."""
        counting: asyncio.Task[None] | None = None
        talk = Talk()
        try:
            async for message in session:
                if counting is None:
                    talk = self.talks[str(message)]
                    counting = asyncio.get_running_loop().create_task(self.count(session.send))
                else:
                    await self.hear(talk.up, message)
        finally:
            if counting:
                counting.cancel()
                await asyncio.gather(counting, return_exceptions=True)

    async def converse(self, site: Site, name: str, transports: tuple[str, ...], codec: Codec) -> Connection:
        """Be a client, until everything has arrived on both sides, and leave."""
        talk = self.talks[name]

        async def listen(connection: Connection) -> None:
            async for message in connection:
                await self.hear(talk.down, message)

        async with hybridws.connect(
            site.url, transports=transports, codec=codec, first=[name], **site.way
        ) as connection:
            listening = asyncio.get_running_loop().create_task(listen(connection))
            try:
                await self.count(connection.send)
                await self.reached(TOTAL)
                await connection.close()
                await listening
            finally:
                listening.cancel()
        return connection


@each_case
async def test_nothing_is_lost(stand_behind: StandBehind, case: Case) -> None:
    """200 messages each way arrive once and in order, whatever carries them, while proxy and server cut connections."""
    course = Course()
    site = await stand_behind(case, course.answer)
    clients: dict[str, tuple[tuple[str, ...], Codec]] = {
        f"{name}, {codec}": (transports, codec)
        for name, transports in {"all": ALL, **{name: (name,) for name in case.passes}}.items()
        for codec in CODECS
    }
    course.talks = {name: Talk() for name in clients}

    async def disturb() -> None:
        for number, cut in enumerate((site.cut, site.proxy.restart, site.cut), start=1):
            end = number * CHAPTER
            await course.reached(end - 30)
            await course.permit(end + CHAPTER)
            await course.reached(end - 20)
            await cut()

    try:
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            tasks = {name: group.create_task(course.converse(site, name, *wish)) for name, wish in clients.items()}
            group.create_task(disturb())
    except BaseException as error:
        for name, talk in course.talks.items():
            error.add_note(f"{name}: up {len(talk.up)}, down {len(talk.down)}")
        raise
    numbers = list(range(TOTAL))
    for name, talk in course.talks.items():
        assert talk.up == numbers, name
        assert talk.down == numbers, name
        connection = tasks[name].result()
        assert connection.closed == hybridws.Closed(1000, "", "local"), name
        assert connection.info.resets == 0, name
    await all_ended(site.server)


# ── what single proxies do besides ────────────────────────────────────────────────────────────────────────────────


async def test_haproxy_sends_posts_twice(stand_behind: StandBehind) -> None:
    """HAProxy that sends a POST again, since its answer did not come, makes no message arrive twice."""
    seen: Counter[str] = Counter()
    posts = 0

    @web.middleware
    async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
        seen[request.headers["X-Request-Id"]] += 1
        return await handler(request)

    async def lose(request: web.Request, _response: web.StreamResponse) -> None:
        """Lose the answer to every third POST that was understood and obeyed."""
        nonlocal posts
        posts += request.method == "POST"
        if posts % 3 == 0 and request.transport:
            request.transport.abort()

    def prepare(app: web.Application) -> None:
        app.middlewares.append(note)
        app.on_response_prepare.append(lose)

    site = await stand_behind(CASES["haproxy, default"], echo, prepare)
    for transports in (["poll"], ["stream", "poll"]):
        seen.clear()
        async with hybridws.connect(site.url, transports=transports, first=["first"]) as connection:
            messages = aiter(connection)
            async with asyncio.timeout(PATIENCE):
                assert await anext(messages) == "first"
                for number in range(40):
                    await connection.send(number)
                    assert await anext(messages) == number
        assert max(seen.values()) > 1, "HAProxy has sent nothing twice"
    await all_ended(site.server)


@pytest.mark.parametrize("transport", ["stream", "poll"])
async def test_nginx_takes_no_more_than_a_mebibyte(stand_behind: StandBehind, transport: str) -> None:
    """Where nginx's own limit of a body is below ours, what is more goes in two, and arrives."""
    site = await stand_behind(CASES["nginx, default"], echo)
    async with hybridws.connect(site.url, transports=[transport]) as connection:
        large = [f"{number}".ljust(NEARLY) for number in range(12)]
        messages = aiter(connection)

        async def send() -> None:
            for message in large:
                await connection.send(message)

        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            group.create_task(send())
            assert [await anext(messages) for _ in large] == large


async def test_haproxy_delays_streams(stand_behind: StandBehind) -> None:
    """HAProxy without http-no-delay shows each part of a stream 200 ms late; who may use nothing else bears it."""
    site = await stand_behind(CASES["haproxy, default"], echo)
    async with hybridws.connect(site.url, transports=["stream"], first=["first"]) as connection:
        messages = aiter(connection)
        async with asyncio.timeout(PATIENCE):
            assert await anext(messages) == "first"
            for number in range(5):
                await connection.send(number)
                assert await anext(messages) == number
        assert "stream" not in failed(connection)
