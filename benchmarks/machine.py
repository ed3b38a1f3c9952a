"""What the machine tells and gives: cores, processes, memory, descriptors, and a server alone on its core."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

SERVER_CORE: Final = 0
LOAD_CORE: Final = 1
START_PATIENCE: Final = 15.0
"""Seconds in which a server must listen."""
SPARE_DESCRIPTORS: Final = 300
"""Kept for what is no session: libraries, logs, the loop's own."""


class Failure(Exception):
    """Something cannot be measured; the text says what and why."""


class Running:
    """A server process and its children."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        """Look at a process that has been started."""
        self._process = process
        self.port = port

    @property
    def pids(self) -> list[int]:
        """The process and all its descendants."""
        found = [self._process.pid]
        for pid in found:  # grows while it is walked
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                found.extend(int(child) for child in task.read_text().split())
        return found

    def memory(self) -> int:
        """Return the resident kilobytes of all of them."""
        total = 0
        for pid in self.pids:
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1])
        return total


def two_cores() -> None:
    """Check that there is a core for the server and one for the load. Raises Failure."""
    if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise Failure("two cores are needed, 0 for the server and 1 for the load; here only others may be used")


def start(command: Sequence[str | Path], core: int, **more: object) -> subprocess.Popen[bytes]:
    """Start a program on one core."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})  # inherited by the child
    try:
        return subprocess.Popen(command, **more)  # type: ignore[call-overload, no-any-return]
    finally:
        os.sched_setaffinity(0, allowed)


def descriptors() -> int:
    """Raise the soft limit of open files to the hard one, and return how many sessions fit into it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard - SPARE_DESCRIPTORS


def free_port() -> int:
    """Return a port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(command: Sequence[str | Path], cwd: Path, env: dict[str, str]) -> Generator[Running, None, None]:
    """Run a server alone on its core, on a port that is its last argument. Raises Failure if it does not listen."""
    port = free_port()
    with tempfile.TemporaryFile() as log:
        process = start([*command, str(port)], SERVER_CORE, cwd=cwd, env={**os.environ, **env}, stdout=log, stderr=log)
        try:
            _wait(process, port, log)
            yield Running(process, port)
            if process.poll() is not None:
                raise Failure(f"the server ended by itself: {_last_words(log)}")
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: object) -> None:
    until = time.monotonic() + START_PATIENCE
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > until:
                raise Failure(f"it does not listen after {START_PATIENCE:g} s") from None
            time.sleep(0.05)
        else:
            return
    raise Failure(f"it does not start: {_last_words(log)}")


def _last_words(log: object) -> str:
    log.seek(0)  # type: ignore[attr-defined]
    lines = log.read().decode(errors="replace").strip().splitlines()  # type: ignore[attr-defined]
    return lines[-1] if lines else "it says nothing"
