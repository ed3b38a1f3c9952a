"""What is remembered of a session that has ended, for whoever wants to know why."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hybridws.dock import Stay
    from hybridws.session import Closed, Session, Traffic


class Past(NamedTuple):
    """One session that has ended: who it was, over what it went, how it ended. Times are seconds since the epoch."""

    id: str
    user: object
    codec: str
    """The client's language: `json`, `msgpack`, `sockjs` or `raw`."""
    opened_at: float
    ended_at: float
    closed: Closed
    transports: list[Stay]
    """The last 32 stays, the newest last, each with why it ended."""
    traffic: Traffic
    unconfirmed: int
    """Packets whose arrival the client had not confirmed."""
    round_trip: float | None


def remember(session: Session, closed: Closed, now: float) -> Past:
    """Note what there is to know of a session that ends now, in seconds since the epoch."""
    return Past(
        session.id,
        session.user,
        session.link.codec.name,
        session.opened_at,
        now,
        closed,
        session.transports,
        session.traffic,
        len(session.link.outbox),
        session.round_trip,
    )
