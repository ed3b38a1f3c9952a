"""How many may come in from one address: opens per second, and sessions that nobody has attached to yet."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final

from hybridws.errors import TooMany

if TYPE_CHECKING:
    from hybridws.options import Options

MAX_ADDRESSES: Final = 10_000
"""Addresses that are remembered at once, the least recently seen forgotten first: about 2 MB."""


class Turnstile:
    """Counts by address; a whole company may share one, so nothing else is counted by it."""

    __slots__ = ("_buckets", "_fresh", "_options")

    def __init__(self, options: Options) -> None:
        """Start with nobody counted."""
        self._options = options
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens left, and at which time
        self._fresh: Counter[str] = Counter()

    def enter(self, address: str, now: float) -> None:
        """Count one open from an address at `now` (monotonic seconds). Raises TooMany, with the seconds to wait."""
        options = self._options
        if self._fresh[address] >= options.max_fresh:
            raise TooMany(
                f"{options.max_fresh} sessions of this address wait for a transport (max_fresh)",
                {"retry": 1},
            )
        tokens, then = self._buckets.pop(address, (float(options.opens_burst), now))
        tokens = min(options.opens_burst, tokens + (now - then) * options.opens_per_second)
        self._buckets[address] = (max(tokens - 1, 0.0), now)
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        if tokens < 1:
            raise TooMany(f"more than {options.opens_per_second:g} opens a second (opens_per_second)", {"retry": 1})

    def count(self, address: str) -> None:
        """Count a session that nobody has attached to."""
        self._fresh[address] += 1

    def discount(self, address: str) -> None:
        """Count it no longer: something has attached to it, or it has ended."""
        self._fresh[address] -= 1
        if self._fresh[address] <= 0:
            del self._fresh[address]
