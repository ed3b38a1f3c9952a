"""Sixty cursors that move at once, over long polling alone: what people say cannot be done without WebSockets."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hybridws import Server, Session

CURSORS: Final = 60
"""On the page at once: visitors, and as many that move by themselves as are missing."""

RATE: Final = 20.0
"""Times a second that all of them are told: each poll brings what has moved since the last."""

WHOLE: Final = 1000
"""Width and height of the field, in the numbers that travel."""


class Field:
    """Where all cursors are. One timer tells everybody; nothing is told while nobody is here."""

    def __init__(self) -> None:
        """Begin without anybody."""
        self.server: Server | None = None
        self._here: dict[str, tuple[int, int]] = {}
        self._telling: asyncio.Task[None] | None = None

    async def visit(self, session: Session) -> None:
        """Serve one visitor: its cursor is where it says."""
        name = secrets.token_hex(3)
        self._here[name] = (WHOLE // 2, WHOLE // 2)
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell())
        try:
            await session.send({"is": "you", "name": name})
            async for message in session:
                match message:
                    case {"x": int() | float() as x, "y": int() | float() as y, "at": int() | float() as at}:
                        self._here[name] = (_within(x), _within(y))
                        await session.send({"is": "seen", "at": at})
                    case _:
                        await session.send({"is": "error", "text": 'send {"x": 0 to 1000, "y": 0 to 1000, "at": ms}'})
        finally:
            del self._here[name]
            if not self._here:
                telling, self._telling = self._telling, None
                telling.cancel()

    async def _tell(self) -> None:
        begun = time.monotonic()
        while self.server:
            now = time.monotonic() - begun
            others = [[f"bot {number}", *_wander(number, now)] for number in range(CURSORS - len(self._here))]
            all_of_them = [[name, x, y] for name, (x, y) in self._here.items()] + others
            # Only the newest places matter: of older ones that a slow client has not taken, none is kept.
            self.server.broadcast({"is": "cursors", "all": all_of_them[:CURSORS]}, slow="latest", key="cursors")
            await asyncio.sleep(1 / RATE)


def _within(number: float) -> int:
    return round(min(max(number, 0), WHOLE)) if math.isfinite(number) else 0


def _wander(number: int, seconds: float) -> tuple[int, int]:
    """Move along a figure of Lissajous's, each at its own pace."""
    turn = seconds * (0.25 + 0.05 * (number % 7)) + number * 2.4
    x = math.sin(turn) * (0.25 + 0.02 * (number % 11)) + 0.12 * math.sin(3.1 * turn + number)
    y = math.cos(turn * (1 + (number % 5) / 10)) * (0.25 + 0.02 * (number % 9)) + 0.1 * math.cos(2.3 * turn)
    return _within((0.5 + x) * WHOLE), _within((0.5 + y) * WHOLE)
