"""What this process is and uses, as far as the operating system tells."""

from __future__ import annotations

import asyncio
import os
import platform
import resource
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final

from hybridws.version import __version__

STATM: Final = Path("/proc/self/statm")
DESCRIPTORS: Final = Path("/proc/self/fd")


class Process:
    """This process, watched from when this was made."""

    def __init__(self) -> None:
        """Begin to watch."""
        self._began = time.time()
        self._cpu = (time.monotonic(), time.process_time())

    def card(self) -> dict[str, Any]:
        """Return what does not change."""
        return {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "began": round(self._began * 1000),
            "version": __version__,
            "python": platform.python_version(),
            "loop": type(asyncio.get_running_loop()).__module__.partition(".")[0],
            "system": platform.platform(terse=True),
        }

    def now(self) -> dict[str, Any]:
        """Return what it uses: CPU since the last call as a share of one core, memory in bytes, open descriptors."""
        then, spent = self._cpu
        self._cpu = clock, cpu = time.monotonic(), time.process_time()
        share = (cpu - spent) / (clock - then) if clock > then else 0.0
        return {"cpu": round(share, 3), "memory": _memory(), "descriptors": _descriptors()}


def _memory() -> int:
    """Return the resident memory in bytes; where only its peak is told, that."""
    try:
        return int(STATM.read_text().split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _descriptors() -> int | None:
    try:
        return len(list(DESCRIPTORS.iterdir()))
    except OSError:
        return None
