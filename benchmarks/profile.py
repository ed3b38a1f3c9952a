"""`python -m benchmarks.profile`: in which room of the house the time of one message goes, on each hot path."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks import install, load, machine
from benchmarks.__main__ import ENVIRONMENT, ROOT, put
from benchmarks.catalogue import PEERS, Workload
from benchmarks.table import header

if TYPE_CHECKING:
    from collections.abc import Sequence

PATIENCE: Final = 10.0
"""Seconds in which a server must hand over its samples."""
OPENED: Final = 1.0
"""Seconds after which all sessions are open, and only messages are sampled."""


class Hot(NamedTuple):
    """A path that many messages walk."""

    title: str
    sockjs: bool
    workload: Workload


HOT: Final = (
    Hot("WebSocket echo", sockjs=False, workload=Workload("", "", "ws", "echo", 200)),
    Hot("the same, 16 under way", sockjs=False, workload=Workload("", "", "ws", "echo", 200, 16)),
    Hot("SockJS WebSocket echo", sockjs=True, workload=Workload("", "", "ws", "echo", 200)),
    Hot("poll echo", sockjs=False, workload=Workload("", "", "poll", "echo", 200)),
    Hot("xhr echo", sockjs=True, workload=Workload("", "", "poll", "echo", 200)),
    Hot("stream echo", sockjs=False, workload=Workload("", "", "stream", "echo", 200)),
    Hot("fan-out to 1,000", sockjs=False, workload=Workload("", "", "ws", "fanout", 1000, 1, 100)),
)

ROOMS: Final = (
    ("benchmarks/peers/", "", "the application"),
    ("hybridws/core/", "", "`core/`"),
    ("hybridws/endpoints/", "", "`endpoints/`"),
    ("hybridws/transports/", "", "`transports/`, `framed.py`, `sockets.py`"),
    ("hybridws/framed.py", "", "`transports/`, `framed.py`, `sockets.py`"),
    ("hybridws/sockets.py", "", "`transports/`, `framed.py`, `sockets.py`"),
    ("hybridws/run", "", "`run`"),
    ("hybridws/aiohttp", "", "`aiohttp.py`"),
    ("hybridws/server.py", "", "`server.py`, `gate.py`, `hub.py`"),
    ("hybridws/gate.py", "", "`server.py`, `gate.py`, `hub.py`"),
    ("hybridws/hub.py", "", "`server.py`, `gate.py`, `hub.py`"),
    ("hybridws/", "", "`session.py`, `seat.py`, `dock.py`, `agenda.py`"),
    ("/site-packages/aiohttp/", "", "aiohttp"),
    ("/selectors.py", "", "waiting for sockets (select)"),
    ("/asyncio/selector_events.py", "_read_ready__data_received", "receiving and sending (kernel)"),
    ("/asyncio/selector_events.py", "write", "receiving and sending (kernel)"),
    ("/asyncio/selector_events.py", "writelines", "receiving and sending (kernel)"),
    ("/asyncio/selector_events.py", "_write_send", "receiving and sending (kernel)"),
    ("/asyncio/selector_events.py", "_write_sendmsg", "receiving and sending (kernel)"),
    ("/asyncio/", "", "asyncio"),
    ("/json/", "", "json"),
    ("", "", "other libraries"),
)
"""Part of a file's path, a function or none for all, and the room; the first row that fits counts."""


def room(file: str, name: str) -> str:
    """Return the room of a function."""
    return next(title for part, function, title in ROOMS if part in file and function in ("", name))


def sample(peer_name: str, hot: Hot, seconds: float) -> dict[str, float]:
    """Return the microseconds of server CPU that a message spends in each room. Raises Failure."""
    peer = next(peer for peer in PEERS if peer.name == peer_name + ("-sockjs" if hot.sockjs else ""))
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "samples.json"
        module = f"benchmarks.peers.{Path(peer.file).stem}"
        command: list[str | Path] = [sys.executable, "-m", "benchmarks.sampler", result, module]
        with machine.serving(command, ROOT, ENVIRONMENT) as server:
            process = load.begin(server, peer, hot.workload, hot.workload.sessions, seconds, warm=OPENED)
            time.sleep(OPENED)
            os.kill(server.pids[0], signal.SIGUSR1)
            measured = load.result(process, hot.workload.sessions)
            os.kill(server.pids[0], signal.SIGUSR2)
            until = time.monotonic() + PATIENCE
            while not result.exists():
                if time.monotonic() > until:
                    raise machine.Failure("the server does not hand over its samples")
                time.sleep(0.05)
        found: list[list[Any]] = json.loads(result.read_text())
    total = sum(count for _, _, count in found)
    rooms: dict[str, float] = {}
    for file, name, count in found:
        title = room(file, name)
        rooms[title] = rooms.get(title, 0.0) + count / total * measured.cpu
    return rooms


def write(columns: dict[str, dict[str, float]]) -> str:
    """Write the table."""
    titles = list(dict.fromkeys(title for _, _, title in ROOMS))
    lines = [f"| µs of server CPU per message | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for title in titles:
        cells = [column.get(title, 0.0) for column in columns.values()]
        if any(cells):
            lines.append(f"| {title} | {' | '.join(f'{cell:.1f}' for cell in cells)} |")
    sums = " | ".join(f"**{sum(column.values()):.1f}**" for column in columns.values())
    return "\n".join([*lines, f"| **all** | {sums} |"]) + "\n"


def arguments() -> argparse.ArgumentParser:
    """Say which arguments the command takes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--peer", choices=("run", "ours"), help="own runner, or mounted (default: run if there is one)")
    parser.add_argument("--seconds", type=float, default=4.0, help="that one path is sampled (default: %(default)s)")
    parser.add_argument("--write", type=Path, help="put the table between the markers of this page")
    parser.add_argument("--label", default="now", help="which markers: before, after or now (default: %(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Sample all hot paths; return the exit code: 1 if any could not be sampled."""
    args = arguments().parse_args(argv)
    columns: dict[str, dict[str, float]] = {}
    failures = 0
    try:
        machine.two_cores()
        load.build()
    except machine.Failure as failure:
        print(f"profile: {failure}", file=sys.stderr)
        return 1
    machine.descriptors()
    run = next(peer for peer in PEERS if peer.name == "run")
    peer = args.peer or ("ours" if install.command(run)[1] else "run")
    for hot in HOT:
        try:
            columns[hot.title] = sample(peer, hot, args.seconds)
        except (machine.Failure, subprocess.SubprocessError, OSError) as failure:
            print(f"{hot.title}: {failure}", file=sys.stderr)
            failures += 1
    how = "its own runner" if peer == "run" else "mounted on an AppRunner"
    text = f"{header(f'Sampled for {args.seconds:g} s each, {how}.')}\n\n{write(columns)}"
    print(text)
    if args.write:
        begin, end = (f"<!-- profile, {args.label}: {edge} -->" for edge in ("begin", "end"))
        put(args.write, text, begin, end)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
