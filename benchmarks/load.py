"""Compiles the load generator and runs it against a server."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks.catalogue import SHARE
from benchmarks.machine import LOAD_CORE, Failure, start

if TYPE_CHECKING:
    from benchmarks.catalogue import Peer, Workload
    from benchmarks.machine import Running

SOURCE: Final = Path(__file__).parent / "generator.c"
COMPILED: Final = Path(__file__).parent / ".build" / "generator"
SETTLE: Final = 1.5
"""Seconds after the last session has opened, in which a server may finish what opening left to do."""
FIRST: Final = 200
"""Sessions that are opened and ended before memory is measured: code, caches and pools are not a session's."""
HEAT: Final = 0.5
"""Seconds under load before counting begins: for compilers, caches and pools."""


class Measure(NamedTuple):
    """What one run showed."""

    sessions: int
    cpu: float = 0.0
    """Microseconds of server CPU for one message, delivery or session."""
    rate: float = 0.0
    busy: float = 0.0
    """Share of the time in which the server's core worked for it."""
    own_busy: float = 0.0
    """The same for the generator."""
    lag: float = 0.0
    """Milliseconds: the 99th percentile of the probe's round trips."""
    kilobytes: float = 0.0
    """Of resident memory for a session."""


def build() -> Path:
    """Compile the generator unless that is done already, and return where it is. Raises Failure."""
    if COMPILED.exists() and COMPILED.stat().st_mtime > SOURCE.stat().st_mtime:
        return COMPILED
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise Failure("the load generator is a C program: install a compiler (Debian package gcc) that is found as cc")
    COMPILED.parent.mkdir(exist_ok=True)
    words = [compiler, "-O2", "-o", str(COMPILED), str(SOURCE)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"the load generator cannot be compiled: {done.stderr.strip()[-500:]}")
    return COMPILED


def fitting(peer: Peer, workload: Workload, descriptors: int) -> int:
    """Return how many sessions of a workload fit into the descriptors that a process may have."""
    connections = (
        1
        if workload.kind == "ws" or workload.mode == "idle" or peer.wires.get("poll", ("",))[0] == "native-poll"
        else 2
    )
    return min(workload.sessions, descriptors // connections)


def groups(peer: Peer, workload: Workload, sessions: int) -> list[str]:
    """Say to the generator which sessions there are."""
    shares = [(workload.kind, sessions)]
    if workload.kind == "mixed":
        sockets = round(sessions * SHARE)
        shares = [("ws", sockets), ("poll", sessions - sockets)]
    return [word for kind, count in shares for word in ("--group", ":".join((*peer.wires[kind], str(count))))]


def suits(peer: Peer, workload: Workload) -> bool:
    """Tell whether a peer is measured with a workload, and has its transports."""
    if (workload.peers and peer.name not in workload.peers) or (peer.only and workload.name not in peer.only):
        return False
    return set(("ws", "poll") if workload.kind == "mixed" else (workload.kind,)) <= peer.wires.keys()


def _words(server: Running, workload: Workload, seconds: float, warm: float) -> list[str | Path]:
    words: list[str | Path] = [build(), "--port", str(server.port), "--mode", workload.mode]
    words += ["--size", str(workload.size), "--outstanding", str(workload.outstanding)]
    words += ["--pids", ",".join(map(str, server.pids)), "--seconds", str(seconds), "--warm", str(warm)]
    return words


def begin(  # noqa: PLR0913 - one cell of the table
    server: Running, peer: Peer, workload: Workload, sessions: int, seconds: float, *, warm: float = HEAT
) -> subprocess.Popen[bytes]:
    """Start to put a workload on a server."""
    words = [*_words(server, workload, seconds, warm), *groups(peer, workload, sessions)]
    return start(words, LOAD_CORE, stdout=subprocess.PIPE)


def result(process: subprocess.Popen[bytes], sessions: int) -> Measure:
    """Wait for the end and return what was measured. Raises Failure for whatever was not as it should be."""
    with process:
        said = _read(process)
    count, took = said["messages"], said["seconds"]
    if not count:
        raise Failure("not one message came back")
    return Measure(
        sessions,
        cpu=said["server_cpu"] / count * 1e6,
        rate=count / took,
        busy=said["server_cpu"] / took,
        own_busy=said["own_cpu"] / took,
        lag=said["probe_p99"],
    )


def measure(server: Running, peer: Peer, workload: Workload, sessions: int, seconds: float) -> Measure:
    """Put a workload on a server. Raises Failure for whatever was not as it should be."""
    if workload.mode == "idle":
        words = _words(server, workload, seconds, HEAT)
        return _weigh(server, [*words, *groups(peer, workload, FIRST)], [*words, *groups(peer, workload, sessions)])
    return result(begin(server, peer, workload, sessions, seconds), sessions)


def _weigh(server: Running, few: list[str | Path], many: list[str | Path]) -> Measure:
    """Hold idle sessions, and return what each weighs in the server's memory."""
    before = 0
    sessions = 0
    grown = 0
    for words in (few, many):
        with start(words, LOAD_CORE, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            try:
                sessions = _read(process)["ready"]
                time.sleep(SETTLE)
                grown = server.memory() - before
            finally:
                process.kill()
        time.sleep(SETTLE)
        before = server.memory()
    return Measure(sessions, kilobytes=grown / sessions)


def _read(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout  # noqa: S101 - it was asked for
    line = process.stdout.readline()
    if not line:
        raise Failure(f"the generator ended without a word (code {process.wait()})")
    said: dict[str, Any] = json.loads(line)
    if "error" in said:
        raise Failure(said["error"])
    return said
