"""Renews a client's credentials before they expire (protocol §1, `u`)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from hybridws.core.packets import Auth

if TYPE_CHECKING:
    from hybridws.client.opening import Bid
    from hybridws.session import Session

log = logging.getLogger("hybridws")

RENEW_AT: Final = 0.8
"""The part of its life after which a client renews its credentials."""
LEAST_RENEWAL: Final = 0.1
"""Where fresh credentials cannot be had, they are asked for again in half of the time that is left, down to this."""


class Renewal:
    """Knows when the credentials of one session expire; it does nothing where they are not a function."""

    def __init__(self, bid: Bid, origin: str) -> None:
        """Wait until the server says how long the credentials last."""
        self._bid: Final = bid
        self._origin: Final = origin
        self._by = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def hear(self, session: Session, value: object) -> None:
        """Be `Session.on_auth`: take what the server says of our credentials, `{"expires": seconds}`."""
        expires = value.get("expires") if isinstance(value, dict) else None
        if not callable(self._bid.auth) or not isinstance(expires, int | float):
            return
        self._by = asyncio.get_running_loop().time() + expires
        self._plan(session, expires * RENEW_AT)

    def _plan(self, session: Session, after: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(max(after, 0.0), self._begin, session)

    def _begin(self, session: Session) -> None:
        self._task = asyncio.get_running_loop().create_task(self._renew(session))

    async def _renew(self, session: Session) -> None:
        try:
            fresh = await self._bid.credentials()
            if session.closed is None:
                session.say(Auth(fresh))
        except Exception:
            log.exception("no fresh credentials for %s", self._origin)
            if (left := self._by - asyncio.get_running_loop().time()) > LEAST_RENEWAL:
                self._plan(session, left / 2)

    async def stop(self) -> None:
        """Renew nothing any more."""
        if self._timer:
            self._timer.cancel()
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
