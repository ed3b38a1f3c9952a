"""Limits by address: buckets that are bounded, one customer's addresses counted as one, a proxy that nobody named."""

from __future__ import annotations

import logging
import sys

import pytest

from hybridws.errors import TooMany
from hybridws.limits import MAX_ADDRESSES, SUSPICIOUS, ProxyWatch, Turnstile, counted_as
from hybridws.options import Options


def refused(turnstile: Turnstile, address: str, now: float) -> str:
    """Open once, and return the cause for which that is refused; empty if it is not."""
    try:
        turnstile.enter(address, now)
    except TooMany as fault:
        return fault.cause
    return ""


def test_a_bucket_is_filled_again() -> None:
    """The burst at once, then the rate; another address has its own."""
    turnstile = Turnstile(Options(opens_per_second=2, opens_burst=3))
    assert [refused(turnstile, "192.0.2.1", 100) for _ in range(5)] == ["", "", "", "too_many_opens", "too_many_opens"]
    assert refused(turnstile, "192.0.2.2", 100) == ""
    assert [refused(turnstile, "192.0.2.1", 100.6) for _ in range(2)] == ["", "too_many_opens"]
    assert [refused(turnstile, "192.0.2.1", 1000) for _ in range(4)] == ["", "", "", "too_many_opens"]


def test_sessions_that_nobody_attached_to() -> None:
    """One more than `max_fresh` is refused until one of them is somebody's, or has ended."""
    turnstile = Turnstile(Options(max_fresh=2))
    for _ in range(2):
        assert refused(turnstile, "192.0.2.1", 0) == ""
        turnstile.count("192.0.2.1")
    assert refused(turnstile, "192.0.2.1", 0) == "too_many_fresh"
    turnstile.discount("192.0.2.1")
    assert refused(turnstile, "192.0.2.1", 0) == ""


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("no address", "no address"),
    ],
)
def test_what_an_address_is_counted_as(address: str, counted: str) -> None:
    """Whoever has one IPv6 address has 2^64 of them."""
    assert counted_as(address) == counted


def test_a_customer_with_many_addresses_is_one() -> None:
    """A million addresses of one /64 come no further than one."""
    turnstile = Turnstile(Options(opens_burst=5, opens_per_second=0.001))
    passed = sum(not refused(turnstile, f"2001:db8::{number:x}", 0) for number in range(1000))
    assert passed == 5


def test_memory_is_bounded() -> None:
    """Opens from a hundred thousand addresses are remembered of the last 10,000, in a few MB."""
    turnstile = Turnstile(Options())
    for number in range(100_000):
        turnstile.enter(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", number / 1000)
    buckets = getattr(turnstile, "_buckets")  # noqa: B009 - nothing public tells
    assert len(buckets) == MAX_ADDRESSES
    assert sum(map(sys.getsizeof, buckets)) + sys.getsizeof(buckets) < 3_000_000
    assert not getattr(turnstile, "_fresh")  # noqa: B009


# ── a proxy that nobody has named ─────────────────────────────────────────────────────────────────────────────────


def test_a_proxy_that_nobody_named_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    """Once, with its address and the option, when all come from one address that tells of several others."""
    watch = ProxyWatch()
    for number in range(10 * SUSPICIOUS):
        watch.see("10.0.0.1", f"192.0.2.{number % 7}")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "10.0.0.1" in record.getMessage()
    assert "trusted_proxies" in record.getMessage()


def test_others_are_not_suspected(caplog: pytest.LogCaptureFixture) -> None:
    """Clients without a proxy, one client behind its own, and those of several addresses are no reason to warn."""
    for seen in (
        [("10.0.0.1", "")],
        [("10.0.0.1", "192.0.2.1")],
        [("10.0.0.1", "192.0.2.1"), ("10.0.0.2", "192.0.2.2")],
        [("10.0.0.1", "192.0.2.1"), ("10.0.0.1", "")],
    ):
        watch = ProxyWatch()
        for number in range(10 * SUSPICIOUS):
            watch.see(*seen[number % len(seen)])
    assert not caplog.records
