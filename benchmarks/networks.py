"""Measures what clients reach on hostile networks, and prints it as Markdown; `--help` says more."""

# ruff: noqa: S101 - a script that prints, whose numbers are the promises themselves

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiohttp import web

import hybridws
from hybridws.aiohttp import mount
from hybridws.testing import HostileProxy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from hybridws import Server, Session
    from hybridws.client import Connection

HERE: Final = Path(__file__).parent
MARK: Final = "<!-- measured: what stands below is written by benchmarks/networks.py -->"
MODES: Final = (
    "ok",
    "ws_refused",
    "ws_hangs",
    "ws_silent",
    "ws_dies:300",
    "buffers",
    "buffers_first:4k",
    "hangs_and_buffers",
    "http10",
    "bad_gateway:3",
    "replays",
    "reorders",
)
QUICK_MODES: Final = ("ok", "ws_hangs", "hangs_and_buffers")
TURNS: Final = ("ok", "ws_hangs", "hangs_and_buffers")
PEERS: Final = {
    "socketio": "Socket.IO 4.8.4",
    "socketio-ws": "Socket.IO, WebSocket first, tryAllTransports",
    "sockjs": "sockjs-client 1.6.1 (to hybridws)",
}
GIVE_UP: Final = 12.0
"""Seconds after which a client counts as never there."""
TRIP: Final = 0.1
FAR: Final = 0.4
"""Seconds of a longer round trip, to tell the network's share of a time from our own."""
TRIES: Final = 5


class Ground(NamedTuple):
    """Where the servers are."""

    url: str
    server: Server
    peer: str | None
    """Socket.IO's server; None without Node."""


class Row(NamedTuple):
    """One line of the table of our own figures."""

    what: str
    promise: str
    measured: str
    kept: bool


# ── the servers ───────────────────────────────────────────────────────────────────────────────────────────────────


async def greet(session: Session) -> None:
    """Push a word 100 ms after the opening, and echo."""

    async def push() -> None:
        await asyncio.sleep(0.1)
        await session.send("pushed")

    pushing = asyncio.create_task(push())
    async for message in session:
        await session.send(message)
    pushing.cancel()


@asynccontextmanager
async def serve(handler: Callable[[Session], Any], **options: object) -> AsyncGenerator[tuple[str, Server], None]:
    """Run a server with one mount."""
    app = web.Application()
    server = mount(app, "/s", handler, **options)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/s", server
    finally:
        await runner.cleanup()


def node_ready() -> bool:
    """Install the other clients, if there is Node; say so if there is not."""
    if not (shutil.which("node") and shutil.which("npm")):
        print("There is no Node here: only hybridws is measured.", file=sys.stderr)
        return False
    lock, stamp = HERE / "package-lock.json", HERE / "node_modules" / ".ready"
    if not stamp.exists() or stamp.read_text() != lock.read_text():
        print("Installing npm packages into benchmarks/node_modules", file=sys.stderr)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"]
        if subprocess.run(command, cwd=HERE, stdout=sys.stderr, check=False).returncode:
            print("npm ci failed: only hybridws is measured.", file=sys.stderr)
            return False
        stamp.write_text(lock.read_text())
    return True


@asynccontextmanager
async def ground(*, peers: bool) -> AsyncGenerator[Ground, None]:
    """Run our server, and Socket.IO's beside it."""
    async with serve(greet) as (url, server):
        if not peers:
            yield Ground(url, server, None)
            return
        node = await _node("server")
        try:
            assert node.stdout
            port = int(await node.stdout.readline())
            yield Ground(url, server, f"http://127.0.0.1:{port}")
        finally:
            node.kill()
            await node.wait()


async def _node(*words: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec("node", "peers.mjs", *words, cwd=HERE, stdin=pipe, stdout=pipe)


# ── side by side ──────────────────────────────────────────────────────────────────────────────────────────────────


class First(NamedTuple):
    """How a client fared: seconds, None is never."""

    echo: float | None
    push: float | None
    turned: float | None
    transport: str | None

    def __str__(self) -> str:
        """Write a cell of the table of first messages."""
        if self.echo is None:
            return "never"
        return f"{_ms(self.echo)} / {_ms(self.push)} · {self.transport or 'none'}"


def _ms(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds * 1000:,.0f}"


async def ours(url: str, mode: str, turn: str | None) -> First:
    """Measure hybridws on one network, which may turn into another."""
    async with HostileProxy(url, mode=mode) as proxy:
        begun = time.perf_counter()
        times: dict[str, float] = {}
        turned, transport = None, None
        try:
            async with (
                asyncio.timeout(2 * GIVE_UP),
                hybridws.connect(proxy.url, first=["hello"], close_timeout=0.5) as session,
            ):
                async with asyncio.timeout(GIVE_UP):
                    async for message in session:
                        times[message] = time.perf_counter() - begun
                        if len(times) == 2:
                            break
                await asyncio.sleep(0.5)
                if turn:
                    await proxy.flip(turn, cut=True)
                    begun = time.perf_counter()
                    await session.send("turned")
                    async for _ in session:
                        turned = time.perf_counter() - begun
                        break
                transport = session.transport
        except (TimeoutError, hybridws.CannotConnect):
            pass
    return First(times.get("hello"), times.get("pushed"), turned, transport)


async def theirs(what: str, url: str, mode: str, turn: str | None) -> First:
    """Measure another client on one network, which may turn into another."""
    async with HostileProxy(url, mode=mode) as proxy:
        wait = [str(int(GIVE_UP * 1000)), str(int(GIVE_UP * 1000)) if turn else "0"]
        node = await _node(what, proxy.url, *wait)
        assert node.stdout
        assert node.stdin
        try:
            line = await asyncio.wait_for(node.stdout.readline(), 3 * GIVE_UP)
            if turn and line.strip() == b"ready":
                await proxy.flip(turn, cut=True)
                node.stdin.write(b"\n")
                line = await asyncio.wait_for(node.stdout.readline(), 3 * GIVE_UP)
            told = json.loads(line)
        finally:
            if node.returncode is None:
                node.kill()
            await node.wait()
    echo, push, turned = (told[name] and told[name] / 1000 for name in ("echo", "push", "turned"))
    return First(echo, push, turned, told["transport"])


async def side_by_side(here: Ground, modes: tuple[str, ...], turns: tuple[str, ...]) -> list[str]:
    """Measure all clients on all networks, one after another, and write the tables."""
    peers = dict(PEERS) if here.peer else {}
    lines = [
        "### First messages",
        "",
        "Milliseconds from the start of the client until an echo that it sends as soon as it can, and until a word",
        "that the application pushes 100 ms after open; then the transport at that moment (ours half a second later).",
        f"Never: not within {GIVE_UP:.0f} s.",
        "",
        _head("network", "hybridws (Python)", *peers.values()),
    ]
    for mode in modes:
        cells = [await ours(here.url, mode, None)]
        cells += [await theirs(name, _where(here, name), mode, None) for name in peers]
        lines.append(_line(f"`{mode}`", *cells))
        print(lines[-1], file=sys.stderr)
    lines += [
        "",
        "### A network that changes in mid-session",
        "",
        "Every connection is cut and the network is another from then on: milliseconds until the next echo.",
        "",
        _head("from `ok` to", "hybridws (Python)", *peers.values()),
    ]
    for turn in turns:
        after = [await ours(here.url, "ok", turn)]
        after += [await theirs(name, _where(here, name), "ok", turn) for name in peers]
        lines.append(_line(f"`{turn}`", *(_ms(cell.turned) for cell in after)))
        print(lines[-1], file=sys.stderr)
    return lines


def _where(here: Ground, name: str) -> str:
    return here.url if name == "sockjs" else str(here.peer)


def _head(*names: str) -> str:
    return _line(*names) + "\n|" + "---|" * len(names)


def _line(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


# ── our own promises ──────────────────────────────────────────────────────────────────────────────────────────────


async def _until(fact: Callable[[], object], patience: float = 30.0) -> float:
    begun = time.perf_counter()
    async with asyncio.timeout(patience):
        while not fact():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.001)
    return time.perf_counter() - begun


async def _echo(session: Connection, word: object) -> float:
    begun = time.perf_counter()
    await session.send(word)
    async for message in session:
        if message == word:
            break
    return time.perf_counter() - begun


async def far_away(here: Ground) -> list[Row]:
    """Measure a network with a round trip of 100 ms."""

    async def first_echo(mode: str) -> float:
        took = []
        for _ in range(TRIES):
            async with HostileProxy(here.url, mode=f"{mode}+slow:0:{TRIP * 1000:.0f}") as proxy:
                begun = time.perf_counter()
                async with hybridws.connect(proxy.url, first=["hello"], close_timeout=0.5) as session:
                    async for _ in session:
                        break
                    took.append((time.perf_counter() - begun) / TRIP)
        return sorted(took)[TRIES // 2]

    times = [await first_echo(mode) for mode in ("ok", "ws_hangs", "hangs_and_buffers")]
    return [
        Row(
            f"first echo at 100 ms round trip, on `ok`, `ws_hangs`, `hangs_and_buffers` (median of {TRIES})",
            "≤ 1.2 round trips",
            ", ".join(f"{trips:.2f}" for trips in times),
            max(times) <= 1.2,
        ),
        await climbing(here),
    ]


async def climbing(here: Ground) -> Row:
    """Count the round trips from `open` to a WebSocket in use: what grows with the distance is the network's.

    What does not grow is our own work, the server's and the proxy's, all three on this machine.
    """

    async def climb(trip: float) -> float:
        took = []
        for _ in range(TRIES):
            async with (
                HostileProxy(here.url, mode=f"slow:0:{trip * 1000:.0f}") as proxy,
                hybridws.connect(proxy.url) as session,
            ):
                took.append(await _until(lambda: session.transport == "websocket"))
        return sorted(took)[TRIES // 2]

    near, far = await climb(TRIP), await climb(FAR)
    trips = (far - near) / (FAR - TRIP)
    own = (near - trips * TRIP) * 1000
    return Row(
        "WebSocket in use on an open network, after `open`",
        "≤ 2 round trips",
        f"{trips:.2f} round trips and {own:.0f} ms of work",
        round(trips, 2) <= 2,
    )


async def frozen(here: Ground) -> list[Row]:
    """Measure a network on which nothing passes any more, with something to send."""
    cells, worst = [], 0.0
    for transport in ("websocket", "stream", "poll"):
        async with (
            HostileProxy(here.url) as proxy,
            hybridws.connect(proxy.url, transports=(transport,), close_timeout=0.5) as session,
        ):
            await _echo(session, 0)
            await asyncio.sleep(0.3)
            proxy.freeze()
            took = await _echo(session, 1)
        worst = max(worst, took)
        cells.append(f"{transport} {took:.2f} s")
    return [Row("connections frozen without a word, the client sends", "≤ 2 s", ", ".join(cells), worst <= 2)]


async def first_words(here: Ground) -> list[Row]:
    """Measure the first words on every network, on loopback."""
    found = [await ours(here.url, mode, None) for mode in MODES]
    echo = max(GIVE_UP if one.echo is None else one.echo for one in found)
    push = max(GIVE_UP if one.push is None else one.push for one in found)
    return [
        Row(
            f"an echo sent with `open`, on {len(MODES)} networks: the slowest",
            "≤ 250 ms",
            f"{_ms(echo)} ms",
            echo <= 0.25,
        ),
        Row(
            "a word that the application pushes 100 ms after open: the slowest",
            "≤ 600 ms",
            f"{_ms(push)} ms",
            push <= 0.6,
        ),
    ]


async def turned(here: Ground) -> list[Row]:
    """Measure how long the next echo takes after the network has turned hostile, cut or frozen."""
    rows = []
    for how in ("cut", "frozen"):
        cells, worst = [], 0.0
        for mode in ("ws_hangs", "ws_silent", "hangs_and_buffers", "http10+buffers"):
            async with HostileProxy(here.url) as proxy, hybridws.connect(proxy.url, close_timeout=0.5) as session:
                await _until(lambda: session.transport == "websocket" and session.online)
                await proxy.flip(mode, cut=how == "cut", freeze=how == "frozen")
                took = await _echo(session, 0)
            worst = max(worst, took)
            cells.append(f"`{mode}` {took:.2f} s")
        rows.append(
            Row(
                f"a WebSocket, its network turns hostile and all is {how}, the client sends",
                "≤ 2 s",
                ", ".join(cells),
                worst <= 2,
            )
        )
    return rows


async def silent(_here: Ground) -> list[Row]:
    """Measure the same with both sides silent, and a heartbeat of 1 s."""

    async def one(url: str, transport: str) -> float:
        states: list[str] = []
        async with (
            HostileProxy(url) as proxy,
            hybridws.connect(
                proxy.url, transports=(transport,), on_event=lambda event: states.append(event.state), close_timeout=0.5
            ) as session,
        ):
            await _echo(session, 0)
            await asyncio.sleep(0.3)
            proxy.freeze()
            return await _until(lambda: "resumed" in states, 40)

    async with serve(greet, heartbeat=1.0) as (url, _):
        names = ("websocket", "stream", "poll")
        took = await asyncio.gather(*(one(url, name) for name in names))
    cells = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in zip(names, took, strict=True))
    return [Row("the same, both sides silent, heartbeat 1 s", "≤ heartbeat + 10 s", cells, max(took) <= 11.2)]


async def plain_cut(here: Ground) -> list[Row]:
    """Measure how long the next echo takes after a cut."""
    cells, worst = [], 0.0
    for transport in ("websocket", "stream", "poll"):
        took = []
        async with (
            HostileProxy(here.url) as proxy,
            hybridws.connect(proxy.url, transports=(transport,), close_timeout=0.5) as session,
        ):
            await _echo(session, -1)
            for number in range(9):
                await asyncio.sleep(0.2)
                proxy.cut()
                took.append(await _echo(session, number))
        median = sorted(took)[4] * 1000
        worst = max(worst, median)
        cells.append(f"{transport} {median:.0f} ms")
    return [Row("after a plain cut, to the next echo (median of 9)", "≤ 50 ms", ", ".join(cells), worst <= 50)]


async def lifted(here: Ground) -> list[Row]:
    """Measure how long a WebSocket takes to come back."""
    async with (
        HostileProxy(here.url, mode="ws_refused") as proxy,
        hybridws.connect(proxy.url, close_timeout=0.5) as session,
    ):
        await _until(lambda: proxy.counters.upgrades)
        await asyncio.sleep(0.3)
        proxy.mode = "ok"
        back = await _until(lambda: session.transport == "websocket")
    async with (
        HostileProxy(here.url, mode="ws_refused") as proxy,
        hybridws.connect(proxy.url, close_timeout=0.5) as session,
    ):
        await _until(lambda: proxy.counters.upgrades)
        await asyncio.sleep(0.3)
        proxy.mode = "ok"
        session.network_changed()
        told = await _until(lambda: session.transport == "websocket")
    return [
        Row("back on WebSocket after the proxy is lifted", "≤ 15 s", f"{back:.1f} s", back <= 15),
        Row("the same, with `network_changed()`", "at once", f"{told * 1000:.0f} ms", told < 1),
    ]


async def out_of_quarantine(_here: Ground) -> list[Row]:
    """Measure how long a WebSocket that was in a first quarantine takes to come back."""
    async with (
        serve(greet) as (url, _),
        HostileProxy(url, mode="ws_dies:300") as proxy,
        hybridws.connect(proxy.url, close_timeout=0.5) as session,
    ):
        await _until(
            lambda: (
                [one.transport for one in session.info.attempts if "1006" in (one.failure or "")] == 2 * ["websocket"]
            )
        )
        proxy.mode = "ok"
        back = await _until(lambda: session.transport == "websocket", 90)
    return [Row("the same, out of a first quarantine", "≤ 75 s", f"{back:.1f} s", back <= 75)]


async def taught(_here: Ground) -> list[Row]:
    """Count what a box cuts that bears 3 s of silence, in 20 s of it."""
    limit = 3.0

    async def one(url: str, transport: str) -> int:
        states: list[str] = []
        async with (
            HostileProxy(url, mode=f"idle_kill:{limit}") as proxy,
            hybridws.connect(
                proxy.url, transports=(transport,), on_event=lambda event: states.append(event.state), close_timeout=0.5
            ) as session,
        ):
            await _echo(session, 0)
            await asyncio.sleep(20)
        return states.count("interrupted")

    async with serve(greet, trial_timeout=1.0) as (url, _):
        names = ("websocket", "stream", "poll")
        cuts = await asyncio.gather(*(one(url, name) for name in names))
    cells = ", ".join(f"{name} {count}" for name, count in zip(names, cuts, strict=True))
    return [
        Row(
            "both sides silent for 20 s, a box cuts after 3 s of silence: cuts",
            "2, and no third",
            cells,
            max(cuts) <= 2,
        )
    ]


async def dying(_here: Ground) -> list[Row]:
    """Measure the gap that a WebSocket leaves that is cut after 300 ms, again and again."""

    async def push(session: Session) -> None:
        number = 0
        while session.closed is None:
            await session.send(number)
            number += 1
            await asyncio.sleep(0.02)

    async with (
        serve(push) as (url, _),
        HostileProxy(url, mode="ws_dies:300") as proxy,
        hybridws.connect(proxy.url, close_timeout=0.5) as session,
    ):
        begun = last = time.perf_counter()
        gap = 0.0
        async for _message in session:
            now = time.perf_counter()
            gap, last = max(gap, now - last), now
            if now - begun > 3:
                break
        tries, transport = proxy.counters.upgrades, session.transport
    return [
        Row(
            "a WebSocket that is cut after 300 ms, a message every 20 ms",
            "on HTTP after 2 deaths, no gap",
            f"{tries} WebSockets, then {transport}; longest gap {gap * 1000:.0f} ms",
            tries == 2 and gap < 0.2,
        )
    ]


async def cuts(quick: bool) -> list[Row]:  # noqa: FBT001 - one caller
    """Count what eight cuts lose, with 200 messages a second each way."""
    count = 400 if quick else 2400
    orders = [("websocket",), ("stream",), ("poll",), ("websocket", "stream", "poll")]
    heard: dict[str, list[Any]] = {}

    async def talk(session: Session | Connection) -> None:
        begun = time.perf_counter()
        for number in range(count):
            await session.send(number)
            await asyncio.sleep(max(0.0, begun + number * 0.005 - time.perf_counter()))

    async def handler(session: Session) -> None:
        mine = heard[session.id] = []
        talking = asyncio.create_task(talk(session))
        async for message in session:
            mine.append(message)  # noqa: PERF401 - the measurement looks at it while it grows
        await talking

    async def one(url: str, order: tuple[str, ...], codec: Any) -> Row:  # noqa: ANN401 - a Literal
        got: list[Any] = []
        gap, last = 0.0, time.perf_counter()
        async with (
            HostileProxy(url, mode="slow:0:20") as proxy,
            hybridws.connect(proxy.url, transports=order, codec=codec) as session,
        ):

            async def cut() -> None:
                for _ in range(8):
                    await asyncio.sleep(count * 0.005 / 9)
                    proxy.cut()

            tasks = [asyncio.create_task(talk(session)), asyncio.create_task(cut())]
            last = time.perf_counter()
            async for message in session:
                now = time.perf_counter()
                gap, last = max(gap, now - last), now
                got.append(message)
                if len(got) >= count:
                    break
            await asyncio.gather(*tasks)
            await _until(lambda: len(heard[session.id]) >= count)
            up = heard[session.id]
        fine = got == up == list(range(count))
        cell = f"down {_faults(got, count)}, up {_faults(up, count)}; longest gap {gap * 1000:.0f} ms"
        return Row(f"8 cuts in {count * 0.005:.0f} s: {' + '.join(order)}, {codec}", "0 / 0 / 0", cell, fine)

    async with serve(handler) as (url, _):
        return [await one(url, order, codec) for order in orders for codec in ("json", "msgpack")]


def _faults(got: list[int], count: int) -> str:
    lost, twice = count - len(set(got)), len(got) - len(set(got))
    disordered = sum(one > other for one, other in pairwise(got))
    return f"{lost} / {twice} / {disordered}"


async def throughput(_here: Ground) -> list[Row]:
    """Measure messages of 100 bytes over polls at 100 ms round trip."""
    count, words = 5000, "x" * 100
    heard = 0

    async def handler(session: Session) -> None:
        nonlocal heard

        async def push() -> None:
            for _ in range(count):
                await session.send(words)

        pushing = None
        async for _ in session:
            pushing = pushing or asyncio.create_task(push())  # both ways begin with the first word that comes
            heard += 1
        if pushing:
            await pushing

    async with (
        serve(handler) as (url, _),
        HostileProxy(url, mode=f"slow:0:{TRIP * 1000:.0f}") as proxy,
        hybridws.connect(proxy.url, transports=("poll",)) as session,
    ):
        begun, got = time.perf_counter(), 0

        async def push() -> None:
            for _ in range(count):
                await session.send(words)

        pushing = asyncio.create_task(push())
        async for _ in session:
            got += 1
            if got == count:
                break
        down = count / (time.perf_counter() - begun)
        await pushing
        await _until(lambda: heard == count)
        up = count / (time.perf_counter() - begun)
    return [
        Row(
            "messages of 100 bytes over poll at 100 ms round trip, both ways at once",
            "≥ 1,000 a second",
            f"down {down:,.0f} a second, up {up:,.0f} a second",
            min(down, up) >= 1000,
        )
    ]


async def unread(_here: Ground) -> list[Row]:
    """Send 20,000 messages of 10 KB to a client that has stopped reading."""
    cells, fine = [], True
    most = sent = 0

    async def handler(session: Session) -> None:
        nonlocal most, sent
        async for _ in session:
            most = sent = 0
            for _ in range(20_000):
                await session.send("x" * 10_000)
                sent += 1
                most = max(most, session.link.outbox.size)

    async with serve(handler) as (url, server):
        for transport in ("websocket", "stream", "poll"):
            async with hybridws.connect(url, transports=(transport,), first=["go"], close_timeout=0.5):
                await _until(lambda: any(theirs.senders for theirs in server.sessions))
                await asyncio.sleep(0.5)
                (theirs,) = server.sessions
                limit = 2 * theirs.link.options.buffer + theirs.link.options.max_batch
                waits = theirs.senders == 1
                fine = fine and most <= limit and waits
                cells.append(f"{transport} {most / 2**20:.2f} MiB")
                theirs.lose(1006, "measured")
    return [
        Row(
            "20,000 messages of 10 KB to a client that has stopped reading: most in the outbox",
            "≤ two `buffer` (1 MiB) + one batch, the sender waits",
            ", ".join(cells),
            fine,
        )
    ]


async def promises(here: Ground, *, quick: bool) -> list[str]:
    """Measure each promise of ours, and write the table."""
    parts: list[Callable[[Ground], Awaitable[list[Row]]]] = [
        far_away,
        frozen,
        plain_cut,
        turned,
        dying,
        throughput,
        unread,
    ]
    if not quick:
        parts += [first_words, silent, lifted, out_of_quarantine, taught]
    rows: list[Row] = []
    for part in parts:
        rows += await part(here)
        print(rows[-1], file=sys.stderr)
    rows += await cuts(quick)
    lines = ["### What hybridws promises", "", _head("what", "promise", "measured", "kept")]
    return lines + [_line(row.what, row.promise, row.measured, "yes" if row.kept else "**no**") for row in rows]


# ── the program ───────────────────────────────────────────────────────────────────────────────────────────────────


async def measure(*, quick: bool) -> list[str]:
    """Measure everything, and write it."""
    async with ground(peers=node_ready()) as here:
        own = await promises(here, quick=quick)
        others = await side_by_side(here, QUICK_MODES if quick else MODES, TURNS[1:2] if quick else TURNS)
    when = datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    python = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    command = shlex.join(["python", "benchmarks/networks.py", *sys.argv[1:]])
    return [
        f"Measured on {when} with `{command}`: one run, {python}, {os.cpu_count()} cores, load {load:.1f} at the end.",
        "",
        *own,
        "",
        *others,
    ]


def main() -> None:
    """Read the command line, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute instead of five: fewer networks, no long waits")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also put the tables into FILE, below its mark")
    given = parser.parse_args()
    text = "\n".join(asyncio.run(measure(quick=given.quick))) + "\n"
    print(text)
    if given.write:
        before, mark, _ = given.write.read_text().partition(MARK)
        if not mark:
            parser.error(f"{given.write} has no line {MARK!r}")
        given.write.write_text(f"{before}{MARK}\n\n{text}")


if __name__ == "__main__":
    main()
