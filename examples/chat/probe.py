"""The automatic probe: small numbered messages both ways, so that whatever gets lost, repeated or reordered is seen."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from hybridws import BufferFull, SessionClosed

from .tally import Tally

if TYPE_CHECKING:
    from hybridws import Session

MAX_RATE: Final = 200.0
"""Messages a second each way, besides the answers: what a browser's timers still keep to."""


LEAST: Final = 0.02
"""Seconds between two goes: what is said in one travels in one frame, so that many messages need not be many frames."""


class Probe:
    """The probe of one session: says numbers of its own, answers the page's, and keeps count of them."""

    def __init__(self, session: Session, rate: float) -> None:
        """Begin with a session; nothing is said until `run`. `rate` is in messages a second, 0 is none."""
        self.session: Final = session
        self.rate = rate
        self.up: Final = Tally()
        """What has come from the page."""
        self.sent = 0
        """The number of the last message to the page."""
        self._turned = asyncio.Event()

    def turn(self, rate: float) -> None:
        """Go on with another rate."""
        self.rate = rate
        self._turned.set()

    async def run(self) -> None:
        """Say a number now and then, until the session ends."""
        with suppress(SessionClosed):
            while True:
                self._turned.clear()
                pause = max(1 / self.rate, LEAST) if self.rate else None
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._turned.wait()
                if pause and not self._turned.is_set():
                    for _ in range(round(self.rate * pause)):
                        self._say()

    def hear(self, message: dict[str, Any]) -> None:
        """Count a number of the page's, and answer it at once, so that the page can measure the round trip."""
        number = message.get("n")
        if isinstance(number, int) and number > 0:
            self.up.take(number)
            self._say(re=number)

    def _say(self, **more: object) -> None:
        message = {"is": "probe", "n": self.sent + 1, "at": round(now(), 1), **more}
        with suppress(BufferFull):  # a client that is away for long: what was not said has no number, and is not lost
            self.session.send_nowait(message)
            self.sent += 1

    def numbers(self) -> dict[str, object]:
        """Return what this side knows, for the page."""
        return {
            "up": {"came": self.up.came, "lost": self.up.lost, "twice": self.up.twice, "late": self.up.late},
            "down": {"sent": self.sent, "acked": self.acked},
            "transport": self.session.transport,
        }

    @property
    def acked(self) -> int:
        """How many of our numbers the page's client has acknowledged."""
        waiting = [message for message in self.session.unacked if isinstance(message, dict)]
        return self.sent - len([message for message in waiting if message.get("is") == "probe"])


def now() -> float:
    """Return the time in milliseconds since 1970, as a page's clock does."""
    return time.time() * 1000
