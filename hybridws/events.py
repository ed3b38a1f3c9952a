"""What happens in a server, for whoever listens: metrics, traces, logs, the console, or the application.

An observer is one plain function. It is called at once, in the middle of what happens, so it takes note and returns:

    def observe(event):
        match event:
            case Ended(session):
                print(session.id, "ended with", session.closed)

    server.events.observers.append(observe)

Nothing here is told once a message: messages and bytes are counted by each session's link, and whoever wants to know
reads them there (`Session.traffic`). While nobody listens, no event is made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from hybridws.dock import Stay
    from hybridws.errors import Refused
    from hybridws.exchange import Request
    from hybridws.session import Session

log = logging.getLogger("hybridws")


class Opened(NamedTuple):
    """A session was opened; nothing has attached to it yet."""

    session: Session


class Attached(NamedTuple):
    """A transport took the seat and a new stay began; the next poll of a row of polls is none."""

    session: Session
    stay: Stay
    before: Stay | None
    """The stay before this one, with the reason why it ended."""


class Left(NamedTuple):
    """A stay ended: its transport broke, the client closed it, or another took over."""

    session: Session
    stay: Stay


class Resumed(NamedTuple):
    """A transport came after the one before had broken; it follows on `Attached`."""

    session: Session
    away: float
    """Seconds without a transport."""


class Tried(NamedTuple):
    """A transport is on trial, while an older one goes on delivering; `Attached` or `Failed` follows."""

    session: Session
    transport: str


class Failed(NamedTuple):
    """A transport on trial did not take the seat."""

    session: Session
    transport: str
    reason: str


class RoundTrip(NamedTuple):
    """A client answered what it must answer at once."""

    session: Session
    seconds: float


class Slowed(NamedTuple):
    """A client has held its buffer full for `slow_grace` seconds: a slow consumer."""

    session: Session


class Ended(NamedTuple):
    """A session ended (`session.closed`); its transport may still be about to tell the client."""

    session: Session


class TurnedAway(NamedTuple):
    """A request, or what a WebSocket wanted, was refused."""

    fault: Refused
    request: Request


Event = Opened | Attached | Left | Resumed | Tried | Failed | RoundTrip | Slowed | Ended | TurnedAway
Observer = Callable[[Event], object]


class Events:
    """Those who listen to one server."""

    __slots__ = ("observers",)

    def __init__(self) -> None:
        """Start with nobody."""
        self.observers: Final[list[Observer]] = []
        """To listen, append a function; ask whether there is one before an event is made."""

    def tell(self, event: Event) -> None:
        """Tell everybody; whatever one of them does hurts neither the others nor the session."""
        for observer in tuple(self.observers):
            try:
                observer(event)
            except Exception:
                log.exception("an observer failed at %s", type(event).__name__)
