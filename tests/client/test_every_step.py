"""The transport is killed at every single step of an attach: nothing is lost, repeated or out of order, or stalls."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import product
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp
import pytest

import hybridws
from tests.client.ground import CODECS, TRANSPORTS, Place, until, within
from tests.client.scissors import Scissors, Step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from hybridws import Session
    from hybridws.client import Connection
    from tests.client.ground import Mounting

COUNT: Final = 80
"""Messages each way at least: both sides talk on until the cut, which falls in their midst however slow they are."""
PAUSE: Final = 0.004
STALL: Final = 5 * 1.0
"""Seconds that nothing may come; it is 1 s on a machine that does nothing else."""

EARLY: Final = (
    Step("before the request", up=0),
    Step("in the head of the request", up=40),
    Step("in the body of the request", said=10),
    Step("after the request", down=0),
    Step("in the head of the answer", down=100),
    Step("after the head of the answer", body=0),
)
STEPS: Final = {
    "websocket": (
        *EARLY,
        Step("in the head of the first frame", body=1),
        Step("in the first frame", body=5),
        Step("after the first frame", body=9),
        Step("in the frames that follow", body=25),
        Step("later", body=120),
        Step("before the ack", unheard=True),
    ),
    "stream": (
        *EARLY,
        Step("in the padding", body=1000),
        Step("after the padding", body=2062),
        Step("in the first batch", body=2072),
        Step("after the first batch", body=2090),
        Step("in the batches that follow", body=2140),
        Step("before the ack", unheard=True),
    ),
    "poll": (*EARLY, Step("in the answer", body=3), Step("before the ack", unheard=True)),
}
CELLS: Final = [
    pytest.param(old, new, codec, step, id=f"{old}-{new}-{codec}-{step.name.replace(' ', '_')}")
    for old, new in product(TRANSPORTS, repeat=2)
    for codec in CODECS
    for step in STEPS[new]
]


class Tally:
    """Counts what comes at one end, and how long nothing did."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.got: list[Any] = []
        self.gap = 0.0
        self._last = time.perf_counter()

    async def listen(self, session: Session | Connection) -> None:
        """Receive until the session ends."""
        self._last = time.perf_counter()
        async for message in session:
            now = time.perf_counter()
            self.gap, self._last = max(self.gap, now - self._last), now
            self.got.append(message)

    def check(self, said: int) -> None:
        """Nothing was lost, repeated, or out of order, and nothing stalled."""
        assert self.got == list(range(said))
        assert self.gap < STALL


async def talk(session: Session | Connection, is_cut: Callable[[], object]) -> int:
    """Send numbers until there were enough and the cut has happened; return how many."""
    said = 0
    while said < COUNT or not is_cut():
        await session.send(said)
        said += 1
        await asyncio.sleep(PAUSE)
    return said


@pytest.mark.matrix(one_in=8)
@pytest.mark.parametrize(("old", "new", "codec", "step"), CELLS)
async def test_a_cut_at_a_step_of_an_attach(
    place: Mounting,
    old: str,
    new: str,
    codec: Any,  # noqa: ANN401 - a Literal
    step: Step,
) -> None:
    """While both sides talk, `new` takes over from `old`, and its connection is cut at this step: 0 / 0 / 0.

    A better transport takes over from one that still lives; a worse one after the other was cut and barred; one of the
    same kind after a cut.
    """
    up, down = Tally(), Tally()
    told: list[int] = []

    def is_cut() -> int:
        return scissors.cuts

    async def handler(session: Session) -> None:
        hearing = asyncio.create_task(up.listen(session))
        told.append(await talk(session, is_cut))
        await hearing

    here = await place(handler)
    order = tuple(name for name in TRANSPORTS if name in (old, new))
    async with Scissors(here.url) as scissors:
        scissors.blocked = {new} - {old}
        async with hybridws.connect(scissors.url, transports=order, codec=codec) as session:
            hearing = asyncio.create_task(down.listen(session))
            talking = asyncio.create_task(talk(session, is_cut))
            await until(lambda: len(down.got) > 3 and session.transport == old)
            scissors.plan = (new, step)
            scissors.blocked = set()
            if old == new:
                scissors.cut(old)
            elif order[0] == new:
                session.network_changed()
            else:
                scissors.blocked = {old}
                scissors.cut(old)
            said = await within(talking)
            await until(lambda: told and len(down.got) >= told[0] and len(up.got) >= said)
    await within(hearing)
    down.check(told[0])
    up.check(said)


# ── event streams, which the library's own client does not use ────────────────────────────────────────────────────


class Raw:
    """A client by hand that reads the downward stream over whatever it likes, and cuts it after so many bytes."""

    def __init__(self, place: Place, opened: dict[str, Any]) -> None:
        """Take a session."""
        self._place = place
        self._sid, self._key = opened["sid"], opened["key"]
        self._n = 0
        self.got: list[Any] = []

    def _next(self, batch: list[list[Any]], number: int | None) -> int | None:
        """Take a batch; give the number of what comes next. What skips ahead is a fault, what is here is dropped."""
        for kind, *rest in batch:
            if kind == "#":
                number = rest[0]
            elif kind == "m":
                assert number is not None
                assert number <= len(self.got) + 1, "something was skipped"
                if number == len(self.got) + 1:
                    self.got.append(rest[0])
                number += 1
        return number

    def _request(self, kind: str) -> bytes:
        """Write a request; HTTP/1.0 makes its answer end with the connection."""
        parts = urlsplit(self._place.url)
        where = f"{parts.path}/v1/{self._sid}/{kind}"
        headers = f"Host: {parts.netloc}\r\n"
        if kind == "events":
            headers += f"Last-Event-ID: {len(self.got)}\r\n" if self.got else ""
            return f"GET {where}?key={self._key} HTTP/1.0\r\n{headers}\r\n".encode()
        body = json.dumps(["@", self._sid, self._key, self._n, len(self.got)])
        return f"POST {where} HTTP/1.0\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    async def attach(self, kind: str, most: int | None = None) -> int:
        """Attach, read `most` bytes of the answer (or all that is to come), and cut; return how many came."""
        self._n += 1
        if kind == "websocket":
            return await self._attach_websocket(most)
        parts = urlsplit(self._place.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(self._request(kind))
        answer, number, seen = b"", None, 0
        while most is None or len(answer) < most:
            data = await within(reader.read(65536 if most is None else most - len(answer)))
            if not data:
                break
            answer += data
            if most is None and kind != "poll":
                seen, number = self._read(kind, answer, seen, number)
                if len(self.got) == COUNT:
                    break
        if most is not None or kind == "poll":
            self._read(kind, answer, 0, None)
        writer.transport.abort()
        return len(answer)

    def _read(self, kind: str, answer: bytes, seen: int, number: int | None) -> tuple[int, int | None]:
        """Take what is complete in an answer so far; return up to where that was."""
        head, _, body = answer.partition(b"\r\n\r\n")
        if not body:
            return seen, number
        assert b" 200 " in head.split(b"\r\n", 1)[0], answer
        if kind == "poll":
            length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
            if len(body) == length:
                self._next([json.loads(line) for line in body.split(b"\n") if line], None)
            return seen, number
        while (end := body.find(b"\n\n", seen)) >= 0:
            lines = body[seen:end].split(b"\n")
            batch = [json.loads(line[6:]) for line in lines if line.startswith(b"data: ")]
            seen, number = end + 2, self._next(batch, number)
        return seen, number

    async def _attach_websocket(self, most: int | None) -> int:
        """Do the same over a WebSocket, where `most` counts frames."""
        count, number = 0, None
        async with aiohttp.ClientSession() as http, http.ws_connect(f"{self._place.url}/v1/websocket") as socket:
            await socket.send_str(json.dumps(["@", self._sid, self._key, self._n, len(self.got)]))
            while len(self.got) < COUNT and (most is None or count < most):
                data = await within(socket.receive_str())
                batch = [json.loads(line) for line in data.split("\n")]
                if not count:
                    await socket.send_str(json.dumps(["a", len(self.got)]) + "\n" + json.dumps(["#", batch[0][1] + 1]))
                count += 1
                number = self._next(batch, number)
        return count

    async def catch_up(self, opened: int) -> None:
        """Follow the counter of the server, which counts the attaches of event streams itself."""
        self._n = max(self._n, opened)


@pytest.fixture
async def raw(place: Mounting) -> AsyncIterator[tuple[Raw, Place]]:
    """Open a session whose application says all at once."""
    ended = asyncio.Event()

    async def handler(session: Session) -> None:
        await asyncio.sleep(0.05)  # so that nothing rides on the answer to the open
        for number in range(COUNT):
            await session.send(number)
        await ended.wait()

    here = await place(handler, events=True)
    hello = json.dumps(["i", {"v": 1, "codec": "json"}])
    async with aiohttp.ClientSession() as http, http.post(f"{here.url}/v1/open", data=hello + "\n") as answer:
        opened = json.loads((await answer.read()).split(b"\n", 1)[0])[1]
    await until(lambda: here.session.link.outbox.last == COUNT)
    yield Raw(here, opened), here
    ended.set()


AFTER: Final = {
    "events": (0, 1, 100, 400, 1500, 2500, 2550, 2560, 2570, 2600, 2700, 2900),
    "stream": (0, 1, 100, 400, 1500, 2450, 2460, 2470, 2480, 2500, 2700),
    "poll": (0, 1, 100, 300, 400, 700),
    "websocket": (0, 1, 2),
}
"""Bytes of the answer (of a WebSocket, frames) after which it is cut: heads, padding, first and later batches."""
RAW_CELLS: Final = [
    pytest.param(old, new, most, id=f"{old}-{new}-{most}")
    for old in AFTER
    for new in AFTER
    if "events" in (old, new)
    for most in AFTER[old]
]


@pytest.mark.matrix(one_in=6)
@pytest.mark.parametrize(("old", "new", "most"), RAW_CELLS)
async def test_an_event_stream_that_is_cut(raw: tuple[Raw, Place], old: str, new: str, most: int) -> None:
    """Whatever came before a cut counts, and the next transport goes on from there, an EventSource too: 0 / 0 / 0."""
    client, here = raw
    await client.attach(old, most)
    await client.catch_up(here.session.dock.n)
    before = len(client.got)
    begun = time.perf_counter()
    while len(client.got) < COUNT:
        await client.attach(new)
        await client.catch_up(here.session.dock.n)
    assert time.perf_counter() - begun < STALL
    assert before <= COUNT
    assert client.got == list(range(COUNT))
