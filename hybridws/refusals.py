"""What was refused: counted by cause, and logged, so many lines a minute and no more.

Whoever sends rubbish decides how much of it there is, and a log that fills a disk stops more than one server.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

from hybridws.errors import Superseded

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


class Quota:
    """So many lines a minute."""

    __slots__ = ("_begun", "_kept", "_lines")

    def __init__(self) -> None:
        """Start with none."""
        self._begun = 0.0
        self._lines = 0
        self._kept = 0

    def ask(self, now: float) -> tuple[bool, int]:
        """Tell whether there is a line left at `now` (monotonic seconds); and, once a minute, how many were kept."""
        kept = 0
        if not self._lines or now - self._begun >= MINUTE:
            kept, self._kept = self._kept, 0
            self._begun, self._lines = now, 0
        if self._lines >= LINES:
            self._kept += 1
            return False, 0
        self._lines += 1
        return True, kept


class Refusals:
    """The refusals of one server."""

    __slots__ = ("_quotas", "counts")

    def __init__(self) -> None:
        """Start with none."""
        self.counts: Final[Counter[str]] = Counter()
        """How many there were, by cause (`Refused.cause`): some twenty words, whatever clients send."""
        self._quotas: Final[dict[str, Quota]] = {}

    def note(self, fault: Refused, request: Request, address: str, now: float) -> None:
        """Count one refusal of a request from `address` at `now` (monotonic seconds)."""
        self.counts[fault.cause] += 1
        passes, kept = self._quotas.setdefault(fault.cause, Quota()).ask(now)
        if kept:
            log.warning("refused (%s): %d more in the last %.0f s, without a line each", fault.cause, kept, MINUTE)
        if passes:
            _write(fault, request, address)


def _write(fault: Refused, request: Request, address: str) -> None:
    """Write the line; of the address only the last word, since others may be a session's name.

    That an older attach comes after a newer one is nobody's fault: transports race, and so it is for debugging.
    """
    usual = logging.DEBUG if fault.cause == Superseded.cause else logging.INFO
    log.log(
        logging.WARNING if fault.hint else usual,
        "refused (%s): %s %s from %s: %s",
        fault.cause,
        request.method,
        one_line(request.tail.rstrip("/").rpartition("/")[2] or "/")[:40],
        address or "a unix socket",
        one_line(fault.hint or fault.reason)[:MAX_LOGGED],
        extra={"cause": fault.cause, "address": address},
    )


def one_line(text: str) -> str:
    """Replace what could begin a line of its own, or move a terminal's cursor."""
    return "".join(char if char.isprintable() else "?" for char in text)
