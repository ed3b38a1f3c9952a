"""What was said and not yet confirmed: numbered, kept, and ready to be said again.

Rule 1: a packet gets its number here and nowhere else, when it is appended.
Rule 2: only `confirm` forgets; reading changes nothing.
Rule 3: the bytes are kept as they were given, so a broadcast shares one object with every outbox.
Rule 4: a broadcast that its slow-consumer policy drops leaves its number behind, so that no other number moves.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final

OVERHEAD: Final = 64
"""Bytes that each packet is counted for besides its own: about what Python and the deque add."""
GAP: Final = 7
"""Bytes that a dropped packet may take in a frame: those of `["k",1]`; a run of them takes less."""


class Outbox:
    """The numbered packets from `confirmed` + 1 to `last`, oldest first."""

    __slots__ = ("_items", "_keys", "_loose", "confirmed", "last", "size")

    def __init__(self) -> None:
        """Start empty: the first packet gets number 1."""
        self.confirmed = 0
        """Packets that are known to have arrived, in order and without a gap."""
        self.last = 0
        """The number of the newest packet."""
        self.size = 0
        """Bytes that are kept, each packet counted with its overhead."""
        self._items: deque[bytes | None] = deque()  # None: this number was dropped
        self._loose: deque[int] = deque()  # the numbers that may be dropped, oldest first
        self._keys: dict[str, int] = {}

    def __len__(self) -> int:
        """Count the packets that are not confirmed."""
        return self.last - self.confirmed

    def __repr__(self) -> str:
        """Tell what is kept."""
        return f"<Outbox {self.confirmed + 1}..{self.last}, {self.size} bytes>"

    def append(self, words: bytes, *, loose: bool = False, key: str | None = None) -> int:
        """Give one encoded packet its number, keep it, and return the number.

        A loose one may be dropped by `drop_oldest`. One with a key takes the place of the last one with that key.
        """
        self._items.append(words)
        self.size += len(words) + OVERHEAD
        self.last += 1
        if loose:
            self._loose.append(self.last)
        if key is not None:
            self._drop(self._keys.get(key, 0))
            self._keys[key] = self.last
        return self.last

    def drop_oldest(self, room: int) -> int:
        """Drop loose packets, the oldest first, until at most `room` bytes are kept; return how many were dropped."""
        dropped = 0
        while self._loose and self.size > room:
            dropped += self._drop(self._loose.popleft())
        return dropped

    def _drop(self, number: int) -> bool:
        index = number - self.confirmed - 1
        words = self._items[index] if index >= 0 else None
        if words is None:
            return False
        self._items[index] = None
        self.size -= len(words)  # the number itself stays, with what it costs
        return True

    def since(self, cursor: int, limit: int) -> list[bytes | None]:
        """Return the packets after number `cursor`: as many as fit in `limit` bytes, but one at least.

        None stands for a packet that was dropped.
        """
        start = max(cursor - self.confirmed, 0)
        if start == 0 and self.size <= limit:
            return list(self._items)
        chosen: list[bytes | None] = []
        for words in islice(self._items, start, None):
            limit -= (GAP if words is None else len(words)) + 1  # one for what joins it to the next
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
            self.size -= len(self._items.popleft() or b"") + OVERHEAD
        self.confirmed = count
        while self._loose and self._loose[0] <= count:
            self._loose.popleft()
        if len(self._keys) > 2 * len(self._items):  # so that going through them costs nothing on average
            self._keys = {key: number for key, number in self._keys.items() if number > count}
        return True
