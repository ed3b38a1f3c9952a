"""Counts what lives in a server now: one walk over its sessions, when somebody asks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hybridws.session import Session


@dataclass(slots=True)
class Census:
    """What the living sessions are and have carried so far."""

    transports: Counter[str] = field(default_factory=Counter)
    """Sessions by the transport in use, or the last one between two; `none` before the first."""
    away: int = 0
    """Sessions whose client is not there: without a transport for longer than the pause between two polls."""
    slow: int = 0
    """Sessions whose client has held the buffer full for `slow_grace` seconds."""
    outbox: int = 0
    """Bytes that wait for acks in all outboxes."""
    outbox_max: int = 0
    """The same in the fullest one."""
    inbox: int = 0
    """Bytes that the application has not taken."""
    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    dropped: int = 0
    attaches: Counter[str] = field(default_factory=Counter)
    """Requests and connections of each session's present stay, by transport."""


def count(sessions: Iterable[Session]) -> Census:
    """Walk over sessions: about 3 µs each."""
    census = Census()
    transports, attaches = census.transports, census.attaches
    for session in sessions:
        link = session.link
        outbox = link.outbox
        size = outbox.size
        census.outbox += size
        census.outbox_max = max(census.outbox_max, size)
        census.inbox += link.inbox_size
        census.away += session.away
        census.slow += session.slow
        census.packets_in += link.received
        census.packets_out += outbox.last
        census.bytes_in += link.came
        census.bytes_out += outbox.said
        if dropped := outbox.dropped:
            census.packets_out -= dropped
            census.dropped += dropped
        stays = session.dock.stays
        if stays:
            stay = stays[-1]
            transports[stay.name] += 1
            attaches[stay.name] += stay.attaches
        else:
            transports["none"] += 1
    return census


def add_end(census: Census, session: Session) -> None:
    """Add what a session has carried that has ended."""
    traffic, stays = session.traffic, session.dock.stays
    census.packets_in += traffic.packets_in
    census.packets_out += traffic.packets_out
    census.bytes_in += traffic.bytes_in
    census.bytes_out += traffic.bytes_out
    census.dropped += traffic.dropped
    if stays:
        census.attaches[stays[-1].name] += stays[-1].attaches
