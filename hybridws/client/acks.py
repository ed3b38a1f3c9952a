"""Acks soon what has come, unless something of ours takes it along before (protocol §6)."""

from __future__ import annotations

import asyncio
from random import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hybridws.seat import Seat
    from hybridws.session import Session


DELAYS: Final = {"websocket": 1.0, "stream": 10.0}
"""Seconds after which an ack that nothing carries goes alone: between half of that and all, so that thousands who hear
the same do not all ack at once. So long the server keeps what it has said, but no more than a quarter of `buffer`."""


class Acks:
    """The one timer for the acks of a session; polls need none, since every poll acks."""

    def __init__(self) -> None:
        """Start with nothing to ack."""
        self._timer: asyncio.TimerHandle | None = None

    def attend(self, session: Session) -> None:
        """Be `Session.attend`: something has come, and is to be acked soon."""
        if self._timer is None and session.seat and (delay := DELAYS.get(session.seat.name)):
            wait = delay * (1 + random()) / 2  # noqa: S311 - jitter
            self._timer = asyncio.get_running_loop().call_later(wait, self._ack, session, session.seat)

    def _ack(self, session: Session, seat: Seat) -> None:
        self._timer = None
        now_seated = session.seat
        if now_seated is None or now_seated.lane.acked == session.link.ackable:
            return
        if now_seated is seat:
            session.owe_ack()
        else:
            self.attend(session)

    def stop(self) -> None:
        """Ack nothing any more."""
        if self._timer:
            self._timer.cancel()
