"""POSTs that a browser sends again by itself, since the kept connection on which it sent them was closed unanswered."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pytest

from hybridws.testing.proxy import stop_accepting
from tests.live.talk import application, check

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from aiohttp import web

    from tests.live.drivers import Browser

    Serve = Callable[[web.Application], Awaitable[str]]

pytestmark = pytest.mark.live

EVERY: Final = 4
"""Of so many POSTs on connections that were used before, one is passed on and never answered."""


class Forgetful:
    """A proxy that keeps connections, and closes some of them once it has passed a POST on: nobody hears the answer."""

    def __init__(self, upstream: str) -> None:
        """Stand before the server at this address."""
        self._upstream: Final = urlsplit(upstream)
        self._posts = 0
        self._unanswered: set[tuple[bytes, bytes]] = set()
        self._open: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}
        self.repeats = 0
        """POSTs that came again, byte for byte."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of a browser."""
        self._open[asyncio.current_task()] = writer
        try:
            used = False
            while await self._pass_on(reader, writer, used=used):
                used = True
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the browser has closed it
        finally:
            del self._open[asyncio.current_task()]
            writer.transport.abort()

    async def end(self) -> None:
        """End all connections, which ends those that serve them."""
        while self._open:
            for writer in self._open.values():
                writer.transport.abort()
            await asyncio.wait([task for task in self._open if task])

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, used: bool) -> bool:
        """Pass a request on, and its answer back; tell whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(int(_field(head, b"content-length") or 0))
        request = (head.split(b"\r\n")[0], body)
        forget = False
        if head.startswith(b"POST"):
            self.repeats += request in self._unanswered
            self._posts += used
            forget = used and self._posts % EVERY == 0
            if forget:
                self._unanswered.add(request)
        answer, far = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        try:
            far.write(_without_keeping(head) + body)
            lines = _without_keeping(await answer.readuntil(b"\r\n\r\n"), ask=False)
            if forget:
                return False
            writer.write(lines)
            while some := await answer.read(65_536):
                writer.write(some)
        finally:
            far.transport.abort()
        return True


def _field(head: bytes, name: bytes) -> bytes | None:
    lines = (line.partition(b":") for line in head.split(b"\r\n"))
    return next((value.strip() for field, _, value in lines if field.lower() == name), None)


def _without_keeping(head: bytes, *, ask: bool = True) -> bytes:
    """Return a head whose connection is closed after it, if we `ask` for that, or not, if it is answered."""
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith((b"connection:", b"keep-alive:"))]
    return b"\r\n".join([lines[0], *([b"Connection: close"] if ask else []), *lines[1:]])


@asynccontextmanager
async def forgetful(upstream: str) -> AsyncGenerator[tuple[Forgetful, str]]:
    """Run such a proxy for the time of a `with`; gives it and its address."""
    proxy = Forgetful(upstream)
    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
        try:
            yield proxy, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            await stop_accepting(server.sockets)
            await proxy.end()


@pytest.mark.parametrize("transport", ["stream", "poll"])
async def test_repeated_posts(serve: Serve, browser: Browser, transport: str) -> None:
    """The browser repeats POSTs that have arrived, and nothing comes twice, is lost or out of order."""
    async with forgetful(await serve(application())) as (proxy, url), browser.tab("one", url) as tab:
        await tab.until("document.documentElement.dataset.ready")
        story = await tab.call("converse", f"{url}/talk", {"options": {"transports": [transport]}})
        check(story)
        assert set(story["transports"]) == {transport}
        assert proxy.repeats
