"""How long a client waits before it tries again."""

from __future__ import annotations

from hybridws.core.backoff import Backoff


def test_the_first_try_again_is_at_once() -> None:
    """One cut costs no time."""
    assert Backoff().failed(1.0) == 0.0


def test_waits_double_up_to_twenty_seconds() -> None:
    """Twice as long each time, but never longer than a person would wait."""
    backoff = Backoff()
    assert [backoff.failed(1.0) for _ in range(9)] == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]


def test_jitter_is_full() -> None:
    """A crowd that lost its server at one moment comes back spread over the whole span."""
    backoff = Backoff()
    backoff.failed(0.3)
    assert backoff.failed(0.0) == 0.0
    assert backoff.failed(0.25) == 0.25


def test_a_success_forgets() -> None:
    """After something got through, the next failure is the first."""
    backoff = Backoff()
    backoff.failed(1.0)
    backoff.failed(1.0)
    backoff.succeeded()
    assert backoff.failed(1.0) == 0.0
