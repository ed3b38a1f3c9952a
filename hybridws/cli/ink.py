"""What a command shows: colours where there is a terminal that wants them, times and texts that people can read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

STYLES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
"""SGR codes (ECMA-48 §8.3.117) that every terminal knows, on a light ground as on a dark one."""


def ink(stream: TextIO) -> Callable[[str, str], str]:
    """Return `paint(text, style)` for a stream: it colours on a terminal, unless NO_COLOR is set (no-color.org)."""
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return lambda text, _style: text
    return lambda text, style: f"\x1b[{STYLES[style]}m{text}\x1b[0m" if style else text


def span(seconds: float) -> str:
    """Write a time as people say it: `3 ms`, `1.2 s`, `25 s`."""
    if seconds < 1:
        return f"{max(round(seconds * 1000), 1)} ms"
    return f"{seconds:.1f} s" if seconds < 10 and round(seconds, 1) % 1 else f"{seconds:.0f} s"  # noqa: PLR2004 - digits


def harmless(text: str) -> str:
    """Replace what could steer a terminal, tab apart: what comes from a network may not move the cursor."""
    return "".join(char if char.isprintable() or char == "\t" else repr(char)[1:-1] for char in text)
