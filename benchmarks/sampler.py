"""Runs a server of peers/ and notes a thousand times a second in which file it is, from SIGUSR1 to SIGUSR2.

`python -m benchmarks.sampler RESULT MODULE PORT`. A sample is the innermost Python frame, and what it calls that is
written in C, the kernel's calls among it, counts as its own. No function is wrapped and none is made slower: all that
is added is one short signal handler a millisecond.
"""

from __future__ import annotations

import json
import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

EVERY: Final = 0.001
"""Seconds between two samples."""

counts: Final[Counter[tuple[str, str]]] = Counter()


def note(_number: int, frame: FrameType | None) -> None:
    """Count where the server is."""
    if frame:
        counts[frame.f_code.co_filename, frame.f_code.co_name] += 1


def begin(_number: int, _frame: FrameType | None) -> None:
    """Start the clock."""
    signal.setitimer(signal.ITIMER_REAL, EVERY, EVERY)


def end(result: Path) -> None:
    """Stop the clock and write down what was counted."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    scratch = result.with_suffix(".part")
    scratch.write_text(json.dumps([[file, name, count] for (file, name), count in counts.items()]))
    scratch.rename(result)  # whoever waits for the file finds it whole


def main() -> None:
    """Install the handlers and become the server."""
    _, result, module, port = sys.argv
    signal.signal(signal.SIGALRM, note)
    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, lambda _number, _frame: end(Path(result)))
    sys.argv = [module, port]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
