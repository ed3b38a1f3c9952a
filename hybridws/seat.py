"""A transport's place in a session, the bell that wakes it, and the line of those who wait to send."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from hybridws.core import codes

if TYPE_CHECKING:
    from collections.abc import Callable

    from hybridws.core.codec import Frame
    from hybridws.core.link import Lane
    from hybridws.session import Session


_IN_ORDER: Final = (codes.NORMAL, "")


class Bell:
    """What a coroutine waits at: `ring` wakes it, and a ring that nobody waited for is not lost."""

    __slots__ = ("_rung", "_waiter")

    def __init__(self) -> None:
        """Make a bell that has not rung."""
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake the waiter, or let the next one pass at once."""
        self._rung = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Wait for a ring. Cancelling is safe."""
        if not self._rung:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._rung = False


class Line:
    """Callers that wait for room, first come, first served."""

    __slots__ = ("_turns",)

    def __init__(self) -> None:
        """Start with nobody waiting."""
        self._turns: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        """Count those who wait."""
        return len(self._turns)

    async def wait(self, has_room: Callable[[], bool]) -> None:
        """Wait for one's turn. Cancelling is safe: the turn passes to the next.

        The caller uses its turn before it awaits anything else, and then has the next one called (`call`).
        """
        turns = self._turns
        turn = asyncio.get_running_loop().create_future()
        turns.append(turn)
        try:
            await turn
        except BaseException:
            turns.remove(turn)
            self.call(has_room)
            raise
        turns.remove(turn)

    def call(self, has_room: Callable[[], bool]) -> None:
        """Let the first go on if there is room."""
        if self._turns and not self._turns[0].done() and has_room():
            self._turns[0].set_result(None)

    def dismiss(self, error: Exception) -> None:
        """Let everybody fail with this error."""
        for turn in self._turns:
            if not turn.done():
                turn.set_exception(error)


class Seat:
    """A transport's place in a session: from when it attaches until `leave`, `cut`, or another takes it."""

    __slots__ = (
        "asked",
        "asked_at",
        "asked_since",
        "beat",
        "heard",
        "lane",
        "name",
        "probe",
        "quiet_since",
        "sent",
        "session",
        "verdict",
        "wake",
        "wish",
        "writing",
    )

    def __init__(self, session: Session, name: str, lane: Lane, wake: Callable[[], None]) -> None:
        """Take the place of a transport called `name`; `wake` is called when it should look at its seat again."""
        self.session: Session | None = session
        """Whose place it is; None once it is over."""
        self.name = name
        self.lane = lane
        self.wake = wake
        self.probe: Callable[[], bool] | None = None
        """Asked at each tick whether the connection is gone, where nothing else would tell."""
        self.verdict = _IN_ORDER
        """Once it is over: the close code and the reason."""
        self.wish: float | None = None
        """Seconds of silence after which the client wants a heartbeat; None leaves it to the options."""
        self.beat = False
        """A heartbeat is due; the transport writes one and sets this to False."""
        self.sent = True
        """Something was written since the last tick."""
        self.heard = True
        """Something came since the last tick."""
        self.asked = False
        """A sign of life was asked for, the question has left, and no answer has come."""
        self.asked_at: float | None = None
        """When the tick first saw that, in its time."""
        self.asked_since = 0.0
        """When the question left."""
        self.writing = False
        """The network has not taken over yet what was written last."""
        self.quiet_since = 0.0

    def __repr__(self) -> str:
        """Tell whose seat it is."""
        return f"<Seat {self.name} of {self.session!r}>"

    def ask(self) -> None:
        """Note that a question leaves which the far side answers at once."""
        if self.session:
            self.asked = True
            self.asked_since = self.session.agenda.now()

    def answered(self) -> None:
        """Note that something has come after a question: a round trip has passed."""
        self.asked = False
        self.asked_at = None
        if self.session:
            self.session.returned(self.session.agenda.now() - self.asked_since)

    @property
    def over(self) -> bool:
        """Whether the transport has nothing to do here any more."""
        return self.session is None

    @property
    def has_more(self) -> bool:
        """Whether there are messages that this transport has not written."""
        return self.session is not None and self.session.link.has_more(self.lane)

    def pending(self, limit: int | None = None) -> list[Frame]:
        """Return the next frames that this transport has not written yet, about `limit` bytes (`chunk`) of them."""
        return self.session.link.pending(self.lane, limit) if self.session else []

    def wrote(self, frame: Frame) -> None:
        """Note that this frame is being written now."""
        self.sent = self.writing = True
        if self.session:
            self.session.link.wrote(self.lane, frame)

    def delivered(self) -> None:
        """Note that the network has taken over all that was written."""
        self.writing = False
        if self.session:
            self.session.delivered(self)

    @property
    def finished(self) -> bool:
        """Whether this transport has written all that will ever be said, the close included."""
        return self.session is None or self.session.link.finished(self.lane)

    def leave(self, reason: str) -> None:
        """End in order: the response is complete and the client will come back with the next one."""
        if self.session:
            self.session.leave(self, reason)

    def cut(self, reason: str) -> None:
        """End because the connection broke; what was on its way may not have arrived."""
        if self.session:
            self.session.cut(self, reason)

    def close(self, code: int, reason: str) -> None:
        """End because the client's connection was closed in order, for this reason."""
        if self.session:
            self.session.hang_up(self, code, reason)

    def release(self, code: int, reason: str) -> None:
        """Lose the place; the transport is woken, and finds itself `over` with this verdict."""
        self.session = None
        self.verdict = (code, reason)
        wake, self.wake, self.probe = self.wake, _let_sleep, None  # no circle is left for the collector
        wake()


def _let_sleep() -> None:
    """Wake nobody: the transport has learnt already that its seat is over."""
