"""What a client tells of itself: events as they happen, and what was tried, when, and why it failed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

MAX_ATTEMPTS: Final = 100
"""Attempts that are remembered: a bad day's worth, and no more."""

State = Literal["connecting", "open", "interrupted", "resumed", "reset", "closed"]


class Event(NamedTuple):
    """A turn in a connection's life.

    connecting: it asks for a session · open: it has one · interrupted: no transport carries it · resumed: one does
    again · reset: the session is lost, with what was not confirmed · closed: it is over.
    """

    state: State
    transport: str | None
    reason: str
    unacked: tuple[object, ...] = ()
    """With `reset`: the messages that may not have arrived."""


@dataclass(slots=True)
class Attempt:
    """One try of one transport."""

    transport: str
    at: float
    """When it began, in seconds since the epoch."""
    took: float | None = None
    """Seconds until it carried the session, or failed."""
    failure: str | None = None
    """Why it failed or ended; None while it serves."""


@dataclass(slots=True)
class Info:
    """What a client has learned."""

    attempts: deque[Attempt] = field(default_factory=lambda: deque(maxlen=MAX_ATTEMPTS))
    """What was tried, the newest last."""
    round_trip: float = 0.0
    """Seconds from a request to its answer, smoothed; 0 before the first."""
    resets: int = 0
    """Sessions that were lost."""

    def measured(self, seconds: float) -> None:
        """Take a new measurement of the round trip into account (RFC 6298 §2: an eighth of the new).

        A slower one counts for half: who waits too little for a network that has turned slow never hears of it.
        """
        share = 2 if seconds > self.round_trip else 8
        self.round_trip = seconds if not self.round_trip else self.round_trip + (seconds - self.round_trip) / share
