"""What was said and what came back: lost, twice, out of order, and how long nothing came at all."""

from __future__ import annotations

import secrets
import time


class Tally:
    """Numbers the messages of one client, and checks their echo."""

    def __init__(self) -> None:
        """Start with nothing said."""
        self._mark = secrets.token_hex(4)
        self._missing: set[int] = set()
        self._last = 0
        self._quiet_since = time.monotonic()
        self.sent = 0
        self.heard = 0
        """Messages of which at least one echo has come."""
        self.twice = 0
        self.disordered = 0
        self.longest = 0.0
        """Seconds for which nothing came though something was owed."""

    def next(self) -> str:
        """Return the next message to be said; it counts as sent."""
        if not self.owed:
            self._quiet_since = time.monotonic()
        self.sent += 1
        return f"torture {self._mark} {self.sent}"

    @property
    def owed(self) -> int:
        """Messages whose echo has not come."""
        return self.sent - self.heard

    def hear(self, text: object) -> None:
        """Take what came; words of the server's own are passed over."""
        if not isinstance(text, str) or not text.startswith(f"torture {self._mark} "):
            return
        number = int(text.rpartition(" ")[2])
        now = time.monotonic()
        self.longest = max(self.longest, now - self._quiet_since)
        self._quiet_since = now
        if number > self._last:
            self._missing.update(range(self._last + 1, number))
            self._last = number
            self.heard += 1
        elif number in self._missing:
            self._missing.discard(number)
            self.disordered += 1
            self.heard += 1
        else:
            self.twice += 1
