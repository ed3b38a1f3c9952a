"""Starts `hybridws serve` again whenever a Python file beside the application changes: for development."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

LOOK_EVERY: Final = 0.3
"""Seconds between two looks at the files."""
ENDS: Final = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]
"""Signals that end both processes; the last is a terminal's that was closed."""
SKIPPED: Final = frozenset({"node_modules", "__pycache__", "site-packages"})


def watch(app: str, values: Mapping[str, Any]) -> int:
    """Serve in a process of its own, and in a new one after each change, until a signal; return the exit code."""
    folder = folder_of(app)
    variables = {f"HYBRIDWS_{name.upper()}": _text(value) for name, value in values.items() if value is not None}
    command = [sys.executable, "-m", "hybridws", "serve", app]
    env = os.environ | variables | {"HYBRIDWS_RELOAD": "0"}
    asked: list[int] = []

    def take(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    before = {number: signal.signal(number, take) for number in ENDS}
    try:
        while True:
            seen = look(folder)
            # A session of its own: Ctrl-C comes from here, once, and not from the terminal too.
            process = subprocess.Popen(command, env=env, start_new_session=True)  # noqa: S603 - this very program
            while not asked and look(folder) == seen:
                time.sleep(LOOK_EVERY)  # a signal that comes meanwhile is seen after it
            process.terminate()
            code = process.wait()
            if asked:
                return max(code, 0)
            print("hybridws serve: the files have changed; starting again", file=sys.stderr)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def folder_of(app: str) -> Path:
    """Return the folder of the top module of MODULE:APP, without importing it; the current one if there is none."""
    here = Path.cwd()
    top = app.partition(":")[0].partition(".")[0]
    if str(here) not in sys.path:
        sys.path.insert(0, str(here))
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return here
    return Path(spec.origin).parent if spec and spec.origin else here


def look(folder: Path) -> dict[str, int]:
    """Return the Python files below a folder, each with the time of its last change."""
    found: dict[str, int] = {}
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in SKIPPED]
        for name in files:
            if name.endswith(".py"):
                try:
                    found[f"{root}/{name}"] = (Path(root) / name).stat().st_mtime_ns
                except OSError:
                    continue  # an editor that saves by renaming
    return found


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
