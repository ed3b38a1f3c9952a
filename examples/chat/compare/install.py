"""Brings Socket.IO and SockJS from npm, once, into a folder of the user's: nothing of theirs travels with hybridws."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
LISTS: Final = ("package.json", "package-lock.json")
"""What npm is told: which packages, and the exact contents of each and of all that they need."""

PATIENCE: Final = 300.0
"""Seconds for npm: a slow line takes a minute for 6 MB, and without one it tries for more than that."""


class CannotCompare(Exception):
    """Nothing can be compared here; the text says why, and what to do."""


def versions() -> dict[str, str]:
    """Return which packages are compared, and which version of each."""
    wanted: dict[str, str] = json.loads((HERE / LISTS[0]).read_text())["dependencies"]
    return wanted


def install(folder: Path | str | None = None) -> Path:
    """Return a folder whose node_modules holds the packages; where they are missing, have npm bring them.

    Without a name it is one in the user's cache. Raises CannotCompare.
    """
    folder = (Path(folder) if folder else _cache()).expanduser().resolve()
    npm = shutil.which("npm")
    if shutil.which("node") is None or npm is None:
        raise CannotCompare("Socket.IO and SockJS need Node 18 or newer, with npm: install it from https://nodejs.org")
    if _holds(folder):
        return folder
    if (folder / LISTS[0]).exists() and not (folder / ".hybridws").exists():
        raise CannotCompare(f"{folder} has a package.json of its own, and not what is compared: name another folder")
    names = ", ".join(f"{name} {version}" for name, version in versions().items())
    print(f"Installing {names} from npm into {folder} (once; it takes some seconds)", file=sys.stderr, flush=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".hybridws").touch()
        for name in LISTS:
            shutil.copyfile(HERE / name, folder / name)
    except OSError as error:
        raise CannotCompare(f"{folder} cannot be written ({error.strerror}): name another folder") from None
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        # Its words are kept for the case that it fails.
        done = subprocess.run(  # noqa: S603 - npm itself, and nothing that anybody typed
            command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise CannotCompare(f"npm did not end within {PATIENCE:.0f} s; is there a network?") from None
    if done.returncode or not _holds(folder):
        said = " ".join(line.removeprefix("npm error ") for line in done.stderr.splitlines()[:3]) or "nothing"
        raise CannotCompare(
            f"npm could not bring them, and said: {said}. It needs a network the first time; try `npm ping`"
        )
    return folder


def _holds(folder: Path) -> bool:
    """Tell whether all packages are there, each in the version that is compared."""
    for name, version in versions().items():
        try:
            found = json.loads((folder / "node_modules" / name / "package.json").read_text())["version"]
        except (OSError, ValueError, KeyError):
            return False
        if found != version:
            return False
    return True


def _cache() -> Path:
    """Return where this system keeps what can be fetched again."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "hybridws" / "compare"
