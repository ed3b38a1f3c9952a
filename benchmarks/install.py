"""Puts the peers where they are found: two virtual environments and node_modules, all inside benchmarks/."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from benchmarks.catalogue import Peer

HERE: Final = Path(__file__).parent
COMPILED: Final = HERE.parent / ".compiled"
VENVS: Final = {"venv": ("requirements.txt", ".venv"), "tornado": ("requirements-tornado.txt", ".venv-tornado")}


def command(peer: Peer) -> tuple[list[str | Path], str]:
    """Return how a peer is started, or else why it cannot be."""
    file = HERE / "peers" / peer.file
    if peer.runtime in ("own", "compiled"):
        words: list[str | Path] = [sys.executable, "-m", f"benchmarks.peers.{file.stem}"]
        fault = _lacks(peer.file)
        if peer.runtime == "compiled":
            return ["env", "--chdir", COMPILED, *words], fault or _compiled()
        return words, fault
    if peer.runtime == "node":
        return ["node", file], _node()
    requirements, folder = VENVS[peer.runtime]
    return [HERE / folder / "bin" / "python", file], _venv(requirements, HERE / folder)


def _lacks(file: str) -> str:
    """Tell what one of our own servers needs and is not here; empty if nothing is."""
    import hybridws  # noqa: PLC0415 - what is measured is the package as it is now

    if file != "ours.py" and not hasattr(hybridws, "run"):
        return "this version of hybridws has no run()"
    if file in ("ours_fast.py", "ours_plain.py", "floor.py") and importlib.util.find_spec("uvloop") is None:
        return "there is no uvloop here: pip install 'hybridws[fast]'"
    return ""


def _compiled() -> str:
    return "" if _run(HERE.parent / "tools" / "compiled") else "the core cannot be compiled here"


def _node() -> str:
    if not (shutil.which("node") and shutil.which("npm")):
        return "there is no Node here"
    lock, stamp = HERE / "package-lock.json", HERE / "node_modules" / ".ready"
    if stamp.exists() and stamp.read_text() == lock.read_text():
        return ""
    print("Installing npm packages into benchmarks/node_modules", file=sys.stderr)
    done = _run("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error")
    if not done:
        return "npm ci failed"
    stamp.write_text(lock.read_text())
    return ""


def _venv(requirements: str, folder: Path) -> str:
    """Install each line by itself, so that one that fails takes no other with it."""
    wanted, stamp = (HERE / requirements).read_text(), folder / ".ready"
    if stamp.exists() and stamp.read_text() == wanted:
        return ""
    print(f"Installing {requirements} into benchmarks/{folder.name}", file=sys.stderr)
    if not _run(sys.executable, "-m", "venv", "--clear", str(folder)):
        return "python -m venv failed"
    for line in wanted.splitlines():
        package = line.partition("#")[0].strip()
        if package and not _run(str(folder / "bin" / "pip"), "install", "-qq", package):
            print(f"{package} cannot be installed: what needs it is left out", file=sys.stderr)
    stamp.write_text(wanted)
    return ""


def _run(*words: str | Path) -> bool:
    return subprocess.run(words, cwd=HERE, stdout=sys.stderr, check=False).returncode == 0
