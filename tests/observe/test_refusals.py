"""Each refusal that there is: an answer, a metric and one line in the log."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

import hybridws
from hybridws.errors import Forbidden, NotAuthenticated
from hybridws.observe.metrics import mount_metrics
from tests.client.ground import Place, listen, until, within
from tests.conformance.wire import handshake
from tests.observe.test_metrics import fetch, value

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from hybridws import Session
    from hybridws.exchange import Request

    Placing = Callable[..., Awaitable[Place]]

FRIEND: Final = "https://friend.example"
OTHER: Final = "https://other.example"
HELLO: Final = b'["i",{"v":1}]'


class Stranger:
    """Does what is refused; each method returns the status or the close code with which that was answered."""

    def __init__(self, here: Place, http: aiohttp.ClientSession) -> None:
        """Come to a server."""
        self.here: Final = here
        self.http: Final = http

    async def ask(self, path: str, body: bytes | None = b"", **headers: str) -> int:
        """POST a body; GET without one."""
        method = "GET" if body is None else "POST"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.request(method, self.here.url + path, data=body, headers=named) as answer:
            await answer.read()
            return answer.status

    async def open(self, **hello: object) -> tuple[str, str]:
        """Open a session, and return its name and key."""
        body = json.dumps(["i", {"v": 1, **hello}]).encode()
        async with self.http.post(f"{self.here.url}/v1/open", data=body) as answer:
            assert answer.status == 200
            _, opened = json.loads((await answer.read()).partition(b"\n")[0])
        return opened["sid"], opened["key"]

    async def attach(self, kind: str, sid: str, key: str, n: int = 0, **options: object) -> int:
        """Say who we are at one of a session's addresses."""
        return await self.ask(f"/v1/{sid}/{kind}", json.dumps(["@", sid, key, n, 0, options]).encode())

    async def wrong_key(self) -> int:
        """Show a key that is none."""
        sid, _ = await self.open()
        return await self.attach("send", sid, "wrong")

    async def another_user(self) -> int:
        """Come to a session of somebody else."""
        return await self.attach("send", *await self.open(auth="ada"), auth="eve")

    async def another_page(self) -> int:
        """Come to a session that another page has opened."""
        assert await self.ask("/000/abcdefgh/xhr", Origin=FRIEND) == 200
        return await self.ask("/000/abcdefgh/xhr", Origin=OTHER)

    async def ended(self) -> int:
        """Come to a session that has ended."""
        sid, key = await self.open()
        (session,) = self.here.server.sessions
        session.abort(4000, "over")
        return await self.attach("send", sid, key)

    async def superseded(self) -> int:
        """Come with an attach that is older than another."""
        sid, key = await self.open()
        await self.attach("poll", sid, key, 2, hold=0)
        return await self.attach("poll", sid, key, 1, hold=0)

    async def wrong_codec(self) -> int:
        """Ask for events where there is msgpack."""
        sid, key = await self.open(codec="msgpack")
        return await self.ask(f"/v1/{sid}/events?key={key}", None)

    async def twice(self) -> int:
        """Open two sessions."""
        await self.open(auth="ada")
        return await self.ask("/v1/open", b'["i",{"v":1,"auth":"ada"}]')

    async def crowded(self) -> int:
        """Send to somebody who takes nothing, and again while that waits."""
        assert await self.ask("/000/abcdefgh/xhr") == 200
        body = json.dumps(["x" * 900]).encode()
        waiting: set[asyncio.Task[int]] = set()
        try:
            while True:
                waiting.add(asyncio.create_task(self.ask("/000/abcdefgh/xhr_send", body)))
                await asyncio.sleep(0.05)
                for task in [task for task in waiting if task.done()]:
                    waiting.discard(task)
                    if task.result() != 204:
                        return task.result()
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def drained(self) -> int:
        """Come when the server is about to stop."""
        await self.here.server.drain(0.01)
        return await self.ask("/v1/open", HELLO)

    async def silent(self) -> int:
        """Open a WebSocket, and say nothing."""
        async with self.http.ws_connect(f"{self.here.url}/v1/websocket") as ws:
            while not ws.closed:
                await ws.receive()
            return ws.close_code or 0

    async def unmasked(self) -> int:
        """Send a frame without a mask."""
        address = self.here.url.removeprefix("http://").partition("/")[0]
        host, _, port = address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = "".join(f"{name}: {value}\r\n" for name, value in {"Host": address, **handshake()}.items())
        writer.write(f"GET /s/websocket HTTP/1.1\r\n{head}\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        writer.write(b"\x81\x01x")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return int.from_bytes(answer[2:4], "big")


class Case(NamedTuple):
    """One cause: what is done, how it is answered, and on which kind of mount."""

    act: Callable[[Stranger], Awaitable[int]]
    answer: int
    options: Mapping[str, Any] = MappingProxyType({})


def to(path: str, body: bytes | None = b"", **headers: str) -> Callable[[Stranger], Awaitable[int]]:
    """Send one request."""
    return lambda stranger: stranger.ask(path, body, **headers)


async def anybody(_request: Request, auth: object) -> object:
    """Believe what is said."""
    return auth


async def nobody(_request: Request, _auth: object) -> object:
    """Know nobody."""
    raise NotAuthenticated("who are you?")


async def keep_out(_request: Request, _auth: object) -> object:
    """Let nobody in."""
    raise Forbidden("not you")


async def deaf(session: Session) -> None:
    """Take nothing."""
    await session.wait_closed()


SMALL: Final = {"max_message": 1000, "max_batch": 2000, "buffer": 1000}

CASES: Final = {
    "malformed": Case(to("/v1/open", b"rubbish"), 400),
    "not_authenticated": Case(to("/v1/open", HELLO), 401, {"authenticate": nobody}),
    "forbidden": Case(to("/v1/open", HELLO), 403, {"authenticate": keep_out}),
    "origin": Case(to("/v1/open", HELLO, Origin=OTHER), 403),
    "wrong_key": Case(Stranger.wrong_key, 403),
    "another_user": Case(Stranger.another_user, 403, {"authenticate": anybody}),
    "another_page": Case(Stranger.another_page, 403, {"origins": [FRIEND, OTHER]}),
    "no_session": Case(lambda stranger: stranger.attach("send", "nobody", "x"), 410),
    "ended": Case(Stranger.ended, 410),
    "no_address": Case(to("/nowhere"), 404),
    "wrong_method": Case(to("/v1/open", None), 405),
    "no_upgrade": Case(to("/v1/websocket", None), 426),
    "wrong_version": Case(to("/v1/open", b'["i",{"v":9}]'), 426),
    "wrong_codec": Case(Stranger.wrong_codec, 406, {"events": True}),
    "too_large": Case(to("/v1/open", b"x" * 3000), 413, SMALL),
    "coded_body": Case(to("/v1/open", b"x", Content_Encoding="gzip"), 415),
    "superseded": Case(Stranger.superseded, 409),
    "too_many_fresh": Case(Stranger.twice, 429, {"max_fresh": 1}),
    "too_many_opens": Case(Stranger.twice, 429, {"opens_burst": 1, "opens_per_second": 0.001}),
    "too_many_sessions": Case(Stranger.twice, 429, {"authenticate": anybody, "max_sessions_per_user": 1}),
    "too_many_sends": Case(Stranger.crowded, 429, {**SMALL, "max_sends": 1, "stop_timeout": 0.5}),
    "draining": Case(Stranger.drained, 503),
    "too_slow": Case(Stranger.silent, 4408, {"first_frame": 0.1}),
    "bad_frame": Case(Stranger.unmasked, 1002),
}


def test_each_cause_is_here() -> None:
    """Whatever the source refuses for is in the table; `too_many` is only what the four kinds of it share."""
    source = "".join(path.read_text() for path in Path(hybridws.__file__).parent.rglob("*.py"))
    assert {*re.findall(r'\bcause(?:: str)? ?= ?"([a-z_]+)"', source)} == {*CASES, "too_many"}


@pytest.mark.parametrize("cause", CASES)
async def test_a_refusal(place: Placing, caplog: pytest.LogCaptureFixture, cause: str) -> None:
    """It is answered, counted once, and logged in one line that names the cause."""
    caplog.set_level(logging.DEBUG, "hybridws")
    case = CASES[cause]
    handler = deaf if cause == "too_many_sends" else listen
    here = await place(handler, partial(mount_metrics, registry=CollectorRegistry()), **case.options)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(auto_decompress=False, cookie_jar=jar) as http:
        assert await within(case.act(Stranger(here, http))) == case.answer
    await until(lambda: here.server.refusals.counts)
    assert here.server.refusals.counts == {cause: 1}
    assert value(await fetch(here), "refused_total") == 1
    lines = [line for line in map(logging.LogRecord.getMessage, caplog.records) if line.startswith("refused")]
    assert len(lines) == 1
    assert lines[0].startswith(f"refused ({cause}): ")
