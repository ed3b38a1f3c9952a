"""The SockJS side behind real proxies, by raw requests: what passes, and that nothing is kept that should not be."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import pytest
from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError

from tests.live.proxies.proxies import CASES, Case
from tests.live.words import echo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import ClientWebSocketResponse

    from tests.live.proxies.conftest import Site

    StandBehind = Callable[..., Awaitable[Site]]
    Ask = Callable[..., Any]

pytestmark = pytest.mark.live

each_case = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])

PATIENCE: Final = 15.0
"""Seconds for anything that should come at once, on a busy machine."""
HELD: Final = 0.5
"""Seconds after which a stream of which nothing is seen is being held back."""

STREAMS: Final = {
    "xhr_streaming": ("POST", b"o\n", b'a["hi"]\n'),
    "eventsource": ("GET", b"data: o\r\n", b'data: a["hi"]\r\n'),
}
"""By address: how it is asked for, and how it says that the session is open, and a message."""

_numbers = count()


def session_path() -> str:
    """Make up the address of a session."""
    return f"/000/proxied{next(_numbers)}"


@each_case
async def test_sockjs(stand_behind: StandBehind, case: Case) -> None:
    """Polls always pass, streams and WebSockets where they should, and what does not pass is told at once."""
    site = await stand_behind(case, echo, response_limit=8192)
    async with asyncio.timeout(PATIENCE), ClientSession() as http:

        def ask(method: str, path: str, **more: Any) -> Any:  # noqa: ANN401 - aiohttp's own context
            return http.request(method, f"{site.url}{path}", **site.way, **more)

        await check_info(ask)
        await check_polls(ask)
        for name in STREAMS:
            await (check_stream(ask, name) if case.passes != ("poll",) else check_held_stream(ask, name))
        for path, raw in ((f"{session_path()}/websocket", False), ("/websocket", True)):
            connect = http.ws_connect(f"{site.url}{path}", **site.way)
            await (check_websocket(connect, raw=raw) if "websocket" in case.passes else check_no_websocket(connect))


async def check_info(ask: Ask) -> None:
    """Get the application's own `info` each time, and no proxy's copy: its entropy is another."""
    seen = set()
    for _ in range(3):
        async with ask("GET", "/info") as answer:
            assert answer.status == 200
            seen.add((await answer.json())["entropy"])
    assert len(seen) == 3


async def check_polls(ask: Ask) -> None:
    """Get an open frame, send a message up, get its echo."""
    path = session_path()
    async with ask("POST", f"{path}/xhr") as answer:
        assert await answer.text() == "o\n"
    async with ask("POST", f"{path}/xhr_send", data='["hi"]') as answer:
        assert answer.status == 204
    async with ask("POST", f"{path}/xhr") as answer:
        assert await answer.text() == 'a["hi"]\n'


async def check_stream(ask: Ask, name: str) -> None:
    """See a stream while it goes on."""
    method, opening, message = STREAMS[name]
    path = session_path()
    async with ask(method, f"{path}/{name}") as answer:
        await answer.content.readuntil(opening)
        async with ask("POST", f"{path}/xhr_send", data='["hi"]') as sent:
            assert sent.status == 204
        await answer.content.readuntil(message)


async def check_held_stream(ask: Ask, name: str) -> None:
    """See nothing of a stream that goes on."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(HELD), ask(STREAMS[name][0], f"{session_path()}/{name}") as answer:
            await answer.content.readany()


async def check_websocket(connect: Awaitable[ClientWebSocketResponse], *, raw: bool) -> None:
    """Have a message come back."""
    async with await connect as socket:
        if not raw:
            assert (await socket.receive()).data == "o"
        await socket.send_str("hi" if raw else '["hi"]')
        answer = await socket.receive()
        assert (answer.type, answer.data) == (WSMsgType.TEXT, "hi" if raw else 'a["hi"]')


async def check_no_websocket(connect: Awaitable[ClientWebSocketResponse]) -> None:
    """Be refused at once, so that a client need not wait for a WebSocket."""
    with pytest.raises(WSServerHandshakeError) as refused:
        await connect
    assert refused.value.status in {400, 426}
