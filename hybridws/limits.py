"""How many may come in from one address: opens per second, and sessions that nobody has attached to yet."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from hybridws.errors import TooMany

if TYPE_CHECKING:
    from hybridws.options import Options

log = logging.getLogger("hybridws")

MAX_ADDRESSES: Final = 10_000
"""Addresses that are remembered at once, the least recently seen forgotten first: about 2 MB."""
ONE_CUSTOMER: Final = 64
"""Bits of an IPv6 address that a provider gives to one customer, who may make up all the others."""
SUSPICIOUS: Final = 20
"""Opens in a row through one address, for several clients, after which that is taken for a proxy's."""


@lru_cache(maxsize=1024)
def counted_as(address: str) -> str:
    """Return what an address is counted as: an IPv6 address as its /64, whatever is no address as it is."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if not isinstance(ip, IPv6Address):
        return address
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(ip_network((ip, ONE_CUSTOMER), strict=False))


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
        options, address = self._options, counted_as(address)
        if self._fresh[address] >= options.max_fresh:
            raise TooMany(
                f"{options.max_fresh} sessions of this address wait for a transport (max_fresh)",
                {"retry": 1},
                cause="too_many_fresh",
            )
        tokens, then = self._buckets.pop(address, (float(options.opens_burst), now))
        tokens = min(options.opens_burst, tokens + (now - then) * options.opens_per_second)
        self._buckets[address] = (max(tokens - 1, 0.0), now)
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        if tokens < 1:
            raise TooMany(
                f"more than {options.opens_per_second:g} opens a second (opens_per_second)",
                {"retry": 1},
                cause="too_many_opens",
            )

    def count(self, address: str) -> None:
        """Count a session that nobody has attached to."""
        self._fresh[counted_as(address)] += 1

    def discount(self, address: str) -> None:
        """Count it no longer: something has attached to it, or it has ended."""
        address = counted_as(address)
        self._fresh[address] -= 1
        if self._fresh[address] <= 0:
            del self._fresh[address]


class ProxyWatch:
    """Notices that all clients come through a proxy of which nobody has told us, and so are counted as one."""

    __slots__ = ("_address", "_first", "_others", "_row", "_warned")

    def __init__(self) -> None:
        """Suspect nobody."""
        self._address = ""
        self._first = ""
        self._row = 0
        self._others = False
        self._warned = False

    def see(self, address: str, said: str) -> None:
        """Note the address of an open, and what it said of the client behind it (X-Forwarded-For); warn once."""
        if self._warned:
            return
        if not said or address != self._address:
            self._address, self._first, self._row, self._others = address, said, 0, False
            return
        self._row += 1
        self._others = self._others or said != self._first
        if self._row >= SUSPICIOUS and self._others:
            self._warned = True
            log.warning(
                "all clients seem to come from %s, which tells of other addresses behind it: name that proxy in "
                "trusted_proxies=[...], or all of them share the limits of one address",
                address,
            )
