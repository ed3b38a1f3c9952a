"""Two processes without a broker behind nginx: sessions stick by their routes, else clients hear why they do not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

import hybridws
from hybridws.testing import HostileProxy
from tests.conformance.wire import Place, Socket, Wire, handshake, within
from tests.endpoints.native_wire import CODECS, Frames, Talk, encode, said
from tests.live.drivers import run_node

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncGenerator

    from hybridws import Server
    from hybridws.client import Event

pytestmark = pytest.mark.live

NGINX: Final = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")
EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "behind_nginx" / "nginx.conf"
CLIENTS: Final = 8
"""Clients, each with an address of its own: that all of them have one process is a chance of 1 in 128."""

PROGRAM: Final = """
import os, sys
from aiohttp import web
from hybridws.aiohttp import mount

async def tell(session):
    await session.send(os.getpid())
    async for message in session:
        await session.send([os.getpid(), message])

app = web.Application()
mount(app, "/echo", tell, trusted_proxies=["127.0.0.1"], linger=5)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""


def free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


async def listening(port: int) -> None:
    """Wait until somebody listens on a port."""
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            return


class Pair:
    """Two processes and the nginx before them."""

    def __init__(self, port: int, processes: list[Process]) -> None:
        """Take what runs; `nginx` listens on `port`."""
        self.origin = f"http://127.0.0.1:{port}"
        self.processes = processes

    async def complaints(self) -> str:
        """End both processes, and return what they logged."""
        for process in self.processes:
            process.terminate()
        return "".join([(await within(process.communicate(), 20))[1].decode() for process in self.processes])


@contextlib.asynccontextmanager
async def run(folder: Path, *, sticky: bool) -> AsyncGenerator[Pair]:
    """Start the example with other ports, with its `hash` or without it."""
    assert NGINX, "nginx is not here: tools/setup test installs it"
    front, *backs = free_ports(3)
    text = EXAMPLE.read_text()
    for old, new in zip(("8000", "8081", "8082"), (front, *backs), strict=True):
        assert f"127.0.0.1:{old};" in text
        text = text.replace(f"127.0.0.1:{old};", f"127.0.0.1:{new};")
    if not sticky:
        text, count = re.subn(r"(?m)^ *hash .*;\n", "", text)
        assert count == 1
    # Where tests may run as root the workers would be somebody who may not write here.
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(text.replace("http {\n", f"http {{\n{paths}", 1))
    pipe = asyncio.subprocess.PIPE
    started: list[Process] = []
    try:
        for arguments in ((sys.executable, "-c", PROGRAM, str(port)) for port in backs):
            process = await asyncio.create_subprocess_exec(*arguments, stderr=pipe)
            started.append(process)
        nginx = (NGINX, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr")
        started.append(await asyncio.create_subprocess_exec(*nginx, stderr=pipe))
        for port in (*backs, front):
            await listening(port)
        yield Pair(front, started[:2])
    finally:
        for process in started:
            if process.returncode is None:
                process.terminate()
        for process in started:
            await within(process.wait(), 20)


class Far(Talk):
    """A client at a server in another process, from an address of its own."""

    def __init__(self, pair: Pair, codec: str, number: int) -> None:
        """Prepare; `number` is the last part of the address."""
        nobody: Any = None
        server: Server = nobody
        super().__init__(Place(pair.origin, "/echo", server), codec)
        self._address = f"127.0.1.{number}"

    async def wire(self) -> Wire:
        """Connect from the client's own address."""
        host, _, port = self.place.origin.removeprefix("http://").partition(":")
        wire = Wire(*await within(asyncio.open_connection(host, int(port), local_addr=(self._address, 0), limit=2**20)))
        self._wires.append(wire)
        return wire

    async def websocket(self) -> Frames:
        """Connect a WebSocket that has said nothing yet."""
        wire = await self.wire()
        await wire.request("GET", self.place.at("/v1/websocket"), {**handshake(), **self.headers})
        head = await wire.head()
        assert head.status == 101
        return Frames(Socket(wire, head, pongs=True), self.codec)


@pytest.mark.parametrize("codec", CODECS)
async def test_sticky_without_a_route(tmp_path: Path, codec: str) -> None:
    """A client that chooses no route stays with a process by its address."""
    seen: set[int] = set()
    async with run(tmp_path, sticky=True) as pair:
        for number in range(1, CLIENTS + 1):
            talk = Far(pair, codec, number)
            (process,) = said(await talk.open())
            seen.add(process)
            answer = await talk.poll(["#", 1], ["m", "by poll"], ack=1)
            assert said(answer.batch) == [[process, "by poll"]]
            down = await talk.begin("stream", encode(codec, [talk.attach(ack=2)]))
            assert (await down.wire.head()).status == 200
            assert (await talk.send(["#", 2], ["m", "by send"])).status == 200
            got = b""
            while b"by send" not in got:  # nginx cuts a stream where it likes
                got += await down.wire.chunk()
            assert str(process).encode() in got or codec == "msgpack"
            frames = await talk.websocket()
            await frames.say(talk.attach(ack=3))
            assert await frames.batch() == [["a", 2]]
            await frames.say(["a", 3], ["#", 3], ["m", "by websocket"])
            assert await frames.messages(1) == [[process, "by websocket"]]
            await down.wire.rest()
            await frames.say(["a", 4], ["c", 1000, ""])
            assert (await frames.closed())[0] == 1000
            await talk.close()
        assert seen == {process.pid for process in pair.processes}
        assert "another process" not in await pair.complaints()


TRANSPORTS: Final = ("websocket", "stream", "poll")
SESSIONS: Final = 8
"""Of each kind: that all of them have one process is a chance of 1 in 128."""
WORDS: Final = 40
CUTS: Final = 4


async def count_up(proxy: HostileProxy, transport: str, events: list[Event], steps: asyncio.Queue[None]) -> int:
    """Count at the server with one session over one transport, a step at a time; return its process."""
    async with hybridws.connect(proxy.url, transports=[transport], on_event=events.append) as client:
        heard = aiter(client)
        process = await within(anext(heard))
        for number in range(WORDS):
            await client.send(number)
            assert await within(anext(heard), 20) == [process, number]
            steps.put_nowait(None)
    assert isinstance(process, int)
    return process


async def test_sessions_stick_by_their_routes(tmp_path: Path) -> None:
    """From one address, over each transport, with all connections cut again and again: no session is lost."""
    events: list[Event] = []
    steps: asyncio.Queue[None] = asyncio.Queue()
    async with (
        run(tmp_path, sticky=True) as pair,
        HostileProxy(f"{pair.origin}/echo") as proxy,
        asyncio.TaskGroup() as group,
    ):
        many = SESSIONS * len(TRANSPORTS)
        counting = [group.create_task(count_up(proxy, transport, events, steps)) for transport in TRANSPORTS * SESSIONS]
        for _ in range(CUTS):
            for _ in range(many * WORDS // (CUTS + 1)):
                await within(steps.get(), 20)
            proxy.cut()
        assert {await one for one in counting} == {process.pid for process in pair.processes}
        states = [event.state for event in events]
        assert states.count("open") == many
        assert states.count("resumed") >= SESSIONS
        assert "reset" not in states
        assert proxy.counters.cuts >= many
        assert "another process" not in await pair.complaints()


async def test_sockjs_sticks_by_its_session(tmp_path: Path) -> None:
    """sockjs-client from one address, over each transport: every request of a session reaches its process."""
    messages = [f"word {number}" for number in range(5)]
    plan = {"messages": messages, "replies": 6, "close": [3000, "done"]}
    transports = ("websocket", "xhr-streaming", "eventsource", "xhr-polling")
    plans = [{"transport": transport, **plan} for transport in transports * (SESSIONS // 2)]
    async with run(tmp_path, sticky=True) as pair:
        stories = await run_node("node_sockjs.mjs", {"do": "crowd", "url": f"{pair.origin}/echo", "plan": plans})
        seen: set[int] = set()
        for story, asked in zip(stories, plans, strict=True):
            process, *replies = map(json.loads, story["replies"])
            assert story["transport"] == asked["transport"]
            assert replies == [[process, word] for word in messages]
            assert story["closed"][:2] == [3000, "done"]
            seen.add(process)
        assert seen == {process.pid for process in pair.processes}


async def test_not_sticky(tmp_path: Path) -> None:
    """Without it a client that reaches the other process gets 410 "another process"; that process warns once."""
    refused = 0
    async with run(tmp_path, sticky=False) as pair:
        for number in range(1, CLIENTS + 1):
            talk = Far(pair, "json", number)
            await talk.open()
            for _ in range(3):
                answer = await talk.poll(hold=0)
                if answer.status != 200:
                    refused += 1
                    assert answer.status == 410
                    assert answer.refusal == [4404]
                    assert "another process" in answer.batch[0][2]
            await talk.close()
        assert refused
        complaints = await pair.complaints()
        assert 1 <= complaints.count("a client asks for a session of another process") <= 2
        assert "nginx" in complaints
