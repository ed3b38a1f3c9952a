"""What was said and not yet confirmed: numbered, kept, and ready to be said again.

Rule 1: a packet gets its number here and nowhere else, when it is appended.
Rule 2: only `confirm` forgets; reading changes nothing.
Rule 3: the bytes are kept as they were given, so a broadcast shares one object with every outbox.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final

OVERHEAD: Final = 64
"""Bytes that each packet is counted for besides its own: about what Python and the deque add."""


class Outbox:
    """The numbered packets from `confirmed` + 1 to `last`, oldest first."""

    __slots__ = ("_items", "confirmed", "last", "size")

    def __init__(self) -> None:
        """Start empty: the first packet gets number 1."""
        self.confirmed = 0
        """Packets that are known to have arrived, in order and without a gap."""
        self.last = 0
        """The number of the newest packet."""
        self.size = 0
        """Bytes that are kept, each packet counted with its overhead."""
        self._items: deque[bytes] = deque()

    def __len__(self) -> int:
        """Count the packets that are not confirmed."""
        return self.last - self.confirmed

    def __repr__(self) -> str:
        """Tell what is kept."""
        return f"<Outbox {self.confirmed + 1}..{self.last}, {self.size} bytes>"

    def append(self, words: bytes) -> int:
        """Give one encoded packet its number, keep it, and return the number."""
        self._items.append(words)
        self.size += len(words) + OVERHEAD
        self.last += 1
        return self.last

    def since(self, cursor: int, limit: int) -> list[bytes]:
        """Return the packets after number `cursor`: as many as fit in `limit` bytes, but one at least."""
        start = max(cursor - self.confirmed, 0)
        if start == 0 and self.size <= limit:
            return list(self._items)
        chosen: list[bytes] = []
        for words in islice(self._items, start, None):
            limit -= len(words) + 1  # one for what joins it to the next
            if limit < 0 and chosen:
                break
            chosen.append(words)
        return chosen

    def confirm(self, count: int) -> bool:
        """Forget the packets up to number `count`; a smaller count than before changes nothing.

        Returns whether anything was forgotten. `count` must not exceed `last`.
        """
        if count <= self.confirmed:
            return False
        for _ in range(count - self.confirmed):
            self.size -= len(self._items.popleft()) + OVERHEAD
        self.confirmed = count
        return True
