"""What was refused: counted by cause, and logged, so many lines a minute and no more.

Whoever sends rubbish decides how much of it there is, and a log that fills a disk stops more than one server.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hybridws.errors import Refused
    from hybridws.exchange import Request

log = logging.getLogger("hybridws")

LINES: Final = 20
"""Lines that one cause may log ..."""
MINUTE: Final = 60.0
"""... in so many seconds; the first line after that says how many there would have been."""
MAX_LOGGED: Final = 600
"""Characters of a reason that a line repeats: some of it may be the client's own words."""


class Refusals:
    """The refusals of one server."""

    __slots__ = ("_lines", "counts")

    def __init__(self) -> None:
        """Start with none."""
        self.counts: Final[Counter[str]] = Counter()
        """How many there were, by cause (`Refused.cause`): some twenty words, whatever clients send."""
        self._lines: dict[str, tuple[float, int, int]] = {}  # begin of a minute, lines in it, and how many were kept

    def note(self, fault: Refused, request: Request, address: str, now: float) -> None:
        """Count one refusal of a request from `address` at `now` (monotonic seconds)."""
        self.counts[fault.cause] += 1
        begun, lines, kept = self._lines.get(fault.cause, (now, 0, 0))
        if now - begun >= MINUTE:
            if kept:
                log.warning(
                    "refused (%s): %d more in the last %.0f s, without a line each", fault.cause, kept, now - begun
                )
            begun, lines, kept = now, 0, 0
        if lines < LINES:
            self._lines[fault.cause] = (begun, lines + 1, kept)
            _write(fault, request, address)
        else:
            self._lines[fault.cause] = (begun, lines, kept + 1)


def _write(fault: Refused, request: Request, address: str) -> None:
    """Write the line; of the address only the last word, since others may be a session's name."""
    log.log(
        logging.WARNING if fault.hint else logging.INFO,
        "refused (%s): %s %s from %s: %s",
        fault.cause,
        request.method,
        _harmless(request.tail.rstrip("/").rpartition("/")[2] or "/")[:40],
        address or "a unix socket",
        _harmless(fault.hint or fault.reason)[:MAX_LOGGED],
        extra={"cause": fault.cause, "address": address},
    )


def _harmless(text: str) -> str:
    """Replace what could begin a line of its own, or move a terminal's cursor."""
    return "".join(char if char.isprintable() else "?" for char in text)
