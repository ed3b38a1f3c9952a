"""What was said and not yet confirmed: numbered, kept, and ready to be said again.

Rule 1: a packet gets its number here and nowhere else, when it is appended.
Rule 2: only `confirm` forgets; reading changes nothing.
Rule 3: the bytes are kept as they were given, so a broadcast shares one object with every outbox.
Rule 4: a broadcast that its slow-consumer policy drops leaves its number behind, so that no other number moves.
        Only `relieve` drops: the policies act on who is slow, and nobody else misses anything.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

OVERHEAD: Final = 64
"""Bytes that each packet is counted for besides its own: about what Python and the list add."""
DROPPED: Final = 8
"""Bytes that a number without its packet is counted for: its slot in the list."""
GAP: Final = 7
"""Bytes that a dropped packet may take in a frame: those of `["k",1]`; a run of them takes less."""

ALL: Final = 2**53
"""More bytes than any outbox keeps."""


class Droppable:
    """Which numbers of an outbox a slow-consumer policy may drop; there is none where no broadcast has one."""

    __slots__ = ("dropped", "loose", "newest", "outdated")

    def __init__(self) -> None:
        """Start with nothing that may be dropped."""
        self.dropped = 0
        """How many have been."""
        self.loose: deque[int] = deque()
        """The numbers that may be dropped, oldest first."""
        self.newest: dict[Hashable, int] = {}
        """The newest number of each key."""
        self.outdated: deque[int] = deque()
        """The numbers of which a newer one has the same key."""

    def outdate(self, key: Hashable, confirmed: int) -> None:
        """Note that there is a newer one with this key, or will be."""
        number = self.newest.pop(key, 0)
        if number > confirmed:
            self.outdated.append(number)

    def forget(self, count: int, kept: int) -> None:
        """Forget the numbers up to `count`; so many packets are `kept` after it."""
        while self.loose and self.loose[0] <= count:
            self.loose.popleft()
        while self.outdated and self.outdated[0] <= count:  # one that blocks others has a newer one that is kept
            self.outdated.popleft()
        if len(self.newest) > 2 * kept:  # so that going through them costs nothing on average
            self.newest = {key: number for key, number in self.newest.items() if number > count}


class Outbox:
    """The numbered packets from `confirmed` + 1 to `last`, oldest first."""

    __slots__ = ("_droppable", "_forgotten", "_items", "confirmed", "last", "size")

    def __init__(self) -> None:
        """Start empty: the first packet gets number 1."""
        self.confirmed = 0
        """Packets that are known to have arrived, in order and without a gap."""
        self.last = 0
        """The number of the newest packet."""
        self.size = 0
        """Bytes that are kept, each packet counted with its overhead."""
        self._items: list[bytes | None] = []  # None: this number was dropped; a list, which weighs little while empty
        self._droppable: Droppable | None = None
        self._forgotten = 0  # bytes that are not kept any more, each packet counted as in `size`

    def __len__(self) -> int:
        """Count the packets that are not confirmed."""
        return self.last - self.confirmed

    def __repr__(self) -> str:
        """Tell what is kept."""
        return f"<Outbox {self.confirmed + 1}..{self.last}, {self.size} bytes>"

    @property
    def dropped(self) -> int:
        """Packets that were dropped."""
        return self._droppable.dropped if self._droppable else 0

    @property
    def said(self) -> int:
        """Bytes of all packets but the dropped ones, kept or forgotten, without any overhead."""
        dropped = self.dropped
        return self._forgotten + self.size - OVERHEAD * (self.last - dropped) - DROPPED * dropped

    def append(self, words: bytes, *, loose: bool = False, key: Hashable | None = None) -> int:
        """Give one encoded packet its number, keep it, and return the number.

        `relieve` may drop a loose one, and one with a key as soon as there is a newer one with that key.
        """
        self._items.append(words)
        self.size += len(words) + OVERHEAD
        self.last += 1
        if loose or key is not None:
            droppable = self._droppable = self._droppable or Droppable()
            if loose:
                droppable.loose.append(self.last)
            if key is not None:
                droppable.outdate(key, self.confirmed)
                droppable.newest[key] = self.last
        return self.last

    def relieve(self, room: int, key: Hashable | None = None) -> int:
        """Drop what may be dropped until at most `room` bytes are kept; return how many packets that were.

        First all of which there is a newer one with the same key, or will be, if it is `key`; then the oldest loose
        ones.
        """
        droppable = self._droppable
        if droppable is None:
            return 0
        before = droppable.dropped
        if key is not None:
            droppable.outdate(key, self.confirmed)
        while droppable.outdated:
            droppable.dropped += self._drop(droppable.outdated.popleft())
        while droppable.loose and self.size > room:
            droppable.dropped += self._drop(droppable.loose.popleft())
        return droppable.dropped - before

    def _drop(self, number: int) -> bool:
        index = number - self.confirmed - 1
        words = self._items[index] if index >= 0 else None
        if words is None:
            return False
        self._items[index] = None
        self.size -= len(words) + OVERHEAD - DROPPED
        return True

    def since(self, cursor: int, limit: int, *, cost: int = ALL, gap: int = GAP) -> list[bytes | None]:
        """Return the packets after number `cursor`: as many as fit in `limit` bytes, but one at least.

        With their overheads they take `cost` bytes at most. None stands for a packet that was dropped, which takes
        `gap` bytes of the limit.
        """
        start = max(cursor - self.confirmed, 0)
        if start == 0 and self.size <= min(limit, cost):
            return list(self._items)
        chosen: list[bytes | None] = []
        for words in self._items[start:]:
            limit -= (gap if words is None else len(words)) + 1  # one for what joins it to the next
            cost -= 0 if words is None else len(words) + OVERHEAD
            if (limit < 0 or cost < 0) and chosen:
                break
            chosen.append(words)
        return chosen

    def confirm(self, count: int) -> bool:
        """Forget the packets up to number `count`; a smaller count than before changes nothing.

        Returns whether anything was forgotten. `count` must not exceed `last`.
        """
        if count <= self.confirmed:
            return False
        before = self.size
        known = count - self.confirmed
        for words in self._items[:known]:
            self.size -= DROPPED if words is None else len(words) + OVERHEAD
        del self._items[:known]
        self._forgotten += before - self.size
        self.confirmed = count
        if self._droppable is not None:
            self._droppable.forget(count, len(self._items))
        return True
