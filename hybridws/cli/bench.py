"""`hybridws bench`: how many sessions and messages a running server takes, and how long each waits."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hybridws import client
from hybridws.cli import reach
from hybridws.cli.ink import harmless
from hybridws.cli.reach import to_seconds
from hybridws.client.connection import ORDER
from hybridws.errors import HybridError

if TYPE_CHECKING:
    from collections.abc import Callable

MEASURED: Final = 0
CANNOT_CONNECT: Final = 1
MISUSED: Final = 2
EXITS: Final = """\
The handler behind URL must say every text back, as examples/echo does; else only the opening is measured. All load
comes from this one process: what is printed is what the server and this client reach together, and it is said where
this client was the limit. Do not aim it at a server that others are using.

exit codes: 0 measured · 1 no session could be opened over one of the transports · 2 an argument is not understood
"""

SESSIONS: Final = 50
SECONDS: Final = 5.0
SIZE: Final = 64
TIMEOUT: Final = 10.0
"""Seconds in which a session must open, and its first answer come."""
TOGETHER: Final = 32
"""Sessions that are opening at the same time: below the backlog of 100 to 128 that servers listen with."""
BUSY: Final = 0.9
"""Share of the time for which this process computed; from here on it is itself the limit."""
MAX_SESSIONS: Final = 10_000
MAX_SIZE: Final = 1024 * 1024


def add(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Say which arguments the command takes."""
    parser = add_parser(
        "bench",
        help="measure a running server: sessions and messages per second, and their delay",
        description="Measure a running server over each transport.",
        epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--transport", choices=ORDER, action="append", help="measure this one only; may be repeated (default: all)"
    )
    parser.add_argument("--codec", choices=("json", "msgpack"), default="json", help="default: %(default)s")
    parser.add_argument(
        "--sessions", metavar="N", type=_whole(1, MAX_SESSIONS), default=SESSIONS, help="default: %(default)s"
    )
    parser.add_argument(
        "--seconds", type=to_seconds, default=SECONDS, help="echo for so long over each (default: %(default)g)"
    )
    parser.add_argument(
        "--size", metavar="BYTES", type=_whole(SIZE // 2, MAX_SIZE), default=SIZE, help="default: %(default)s"
    )
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=to_seconds, default=TIMEOUT, help="for one session (default: %(default)g)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    reach.add_reach(parser)
    parser.set_defaults(run=run)


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")
        return int(text)

    return read


def run(args: argparse.Namespace) -> int:
    """Measure each transport in turn; return the exit code."""
    try:
        measured = asyncio.run(_all(args))
    except KeyboardInterrupt:
        return MISUSED
    if args.json:
        print(json.dumps({"url": args.url, "transports": [one.facts() for one in measured]}))
    return CANNOT_CONNECT if any(one.fault for one in measured) else MEASURED


class Measured(NamedTuple):
    """What one transport showed. Times are in seconds."""

    transport: str
    sessions: int = 0
    opens: float = 0.0
    """Sessions that were opened per second."""
    messages: int = 0
    """Answers that came within the time."""
    rate: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    busy: float = 0.0
    """Share of the time for which this client computed."""
    note: str = ""
    fault: str = ""

    def facts(self) -> dict[str, Any]:
        """Return all as JSON, with names that say their units."""
        return {
            "transport": self.transport,
            "sessions": self.sessions,
            "opens_per_second": round(self.opens, 1),
            "messages": self.messages,
            "messages_per_second": round(self.rate, 1),
            "p50_ms": round(self.p50 * 1000, 3),
            "p99_ms": round(self.p99 * 1000, 3),
            "client_busy": round(self.busy, 3),
            "client_was_the_limit": self.busy >= BUSY,
            "note": self.note,
            "error": self.fault,
        }

    def line(self) -> str:
        """Write one row of the table."""
        if self.fault:
            return f"{self.transport:<11}cannot open: {harmless(self.fault)}"
        counts = f"{self.transport:<11}{self.sessions:>8}{self.opens:>10.0f}{self.rate:>12.0f}"
        delay = f"{self.p50 * 1000:>10.2f}{self.p99 * 1000:>10.2f}" if self.messages else f"{'-':>10}{'-':>10}"
        return f"{counts}{delay}{self.busy:>9.0%}"


HEAD: Final = f"{'':<11}{'sessions':>8}{'opens/s':>10}{'messages/s':>12}{'p50 ms':>10}{'p99 ms':>10}{'client':>9}"
LIMITED: Final = "  this client was the limit, not the server: run several, from several machines, and add them up"


async def _all(args: argparse.Namespace) -> list[Measured]:
    measured: list[Measured] = []
    if not args.json:
        print(HEAD, flush=True)
    for transport in args.transport or ORDER:
        one = await _measure(args, transport)
        measured.append(one)
        if not args.json:
            print(one.line(), flush=True)
            for words in (f"  {one.note}" if one.note else "", LIMITED if one.busy >= BUSY else ""):
                if words:
                    print(words, flush=True)
    return measured


async def _measure(args: argparse.Namespace, transport: str) -> Measured:
    """Open all sessions over one transport, let them echo for the time, and close them."""
    options: dict[str, Any] = {
        **reach.options(args),
        "codec": args.codec,
        "open_timeout": args.timeout,
        "transports": [transport],
    }
    gate = asyncio.Semaphore(TOGETHER)
    begun = time.perf_counter()
    async with AsyncExitStack() as stack:

        async def enter(connection: client.Connection) -> client.Connection:
            async with gate:
                return await stack.enter_async_context(connection)

        tasks = [asyncio.create_task(enter(client.connect(args.url, **options))) for _ in range(args.sessions)]
        found = await asyncio.gather(*tasks, return_exceptions=True)
        opened = [one for one in found if isinstance(one, client.Connection)]
        opens = len(opened) / (time.perf_counter() - begun)
        faults = [one for one in found if isinstance(one, BaseException)]
        for fault in faults:
            if not isinstance(fault, HybridError | OSError | TimeoutError):
                raise fault
        if not opened:
            return Measured(transport, fault=str(faults[0]) or type(faults[0]).__name__)
        note = f"{len(faults)} of {args.sessions} sessions could not be opened: {faults[0]}" if faults else ""
        clock, computed = time.perf_counter(), time.process_time()
        delays, silent = await _echo(opened, args)
        took = min(time.perf_counter() - clock, max(args.seconds, 0.001))
        busy = (time.process_time() - computed) / max(time.perf_counter() - clock, 0.001)
    if silent:
        note = f"{silent} of {len(opened)} sessions heard nothing back: is the handler an echo?"
    delays.sort()
    return Measured(
        transport,
        sessions=len(opened),
        opens=opens,
        messages=len(delays),
        rate=len(delays) / took,
        p50=delays[len(delays) // 2] if delays else 0.0,
        p99=delays[len(delays) * 99 // 100] if delays else 0.0,
        busy=min(busy, 1.0),
        note=harmless(note),
    )


async def _echo(connections: list[client.Connection], args: argparse.Namespace) -> tuple[list[float], int]:
    """Keep one message of each session under way; return how long each took, and how many sessions heard nothing."""
    delays: list[float] = []
    heard: set[int] = set()

    async def talk(number: int, connection: client.Connection) -> None:
        turn = 0
        text = _text(number, turn, args.size)
        begun = time.perf_counter()
        await connection.send(text)
        async for message in connection:
            if message != text:
                continue  # the server's own words
            now = time.perf_counter()
            delays.append(now - begun)
            heard.add(number)
            turn += 1
            text, begun = _text(number, turn, args.size), now
            await connection.send(text)

    talks = [asyncio.create_task(talk(number, one)) for number, one in enumerate(connections)]
    _, going_on = await asyncio.wait(talks, timeout=args.seconds)
    for task in going_on:
        task.cancel()
    for fault in await asyncio.gather(*talks, return_exceptions=True):
        if isinstance(fault, BaseException) and not isinstance(fault, asyncio.CancelledError | HybridError):
            raise fault
    return delays, len(connections) - len(heard)


def _text(number: int, turn: int, size: int) -> str:
    """Write a message of this size that no other session writes, and this one only once."""
    return f"bench {number} {turn} ".ljust(size, "x")
