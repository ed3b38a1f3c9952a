"""Acks soon what has come, unless something of ours takes it along before (protocol §6)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hybridws.seat import Seat
    from hybridws.session import Session


class Acks:
    """The one timer for the acks of a session; polls need none, since every poll acks."""

    def __init__(self) -> None:
        """Start with nothing to ack."""
        self._timer: asyncio.TimerHandle | None = None

    def attend(self, session: Session) -> None:
        """Be `Session.attend`: something has come, and is to be acked soon."""
        options = session.link.options
        delays = {"websocket": options.ack_delay, "stream": options.stream_ack_delay}
        if self._timer is None and session.seat and (delay := delays.get(session.seat.name)):
            self._timer = asyncio.get_running_loop().call_later(delay, self._ack, session, session.seat)

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
