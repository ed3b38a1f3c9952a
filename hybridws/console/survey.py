"""What the console shows of all sessions: looked at once a second, and only while somebody watches."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from hybridws.events import Attached, Ended, Opened, TurnedAway
from hybridws.observe.words import direction, height, why_ended, why_left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hybridws.events import Event
    from hybridws.server import Server
    from hybridws.session import Session

EVERY: Final = 1.0
"""Seconds between two looks."""
SLICE: Final = 500
"""Sessions that are looked at before others get a turn: about 3 ms of them."""
POINTS: Final = 120
"""Looks that are remembered: two minutes, for whoever opens the page."""
ROOMS: Final = 12
"""Rooms that are shown, the fullest first."""
SHOWN: Final = 80
"""Characters of a user's name that are shown."""


class Row:
    """One session as the list shows it."""

    __slots__ = ("_bytes", "_in", "_out", "address", "bytes", "mount", "name", "per_in", "per_out", "session", "words")

    def __init__(self, server: Server, session: Session) -> None:
        """Look at a session for the first time."""
        self.session = session
        self.mount = server.name
        self.name = label(session.user)
        self.address = server.gate.address(session.http_request)
        self.words = f"{session.id} {self.name} {self.address} {self.mount}".lower()
        """What a filter looks into, besides the transport."""
        self.per_in = self.per_out = self.bytes = 0.0
        """Packets each way and bytes both ways, per second."""
        self._in, self._out, self._bytes = session.link.received, session.link.outbox.last, _bytes(session)

    def look(self, passed: float) -> None:
        """Look again after so many seconds."""
        link = self.session.link
        came, said, size = link.received, link.outbox.last, _bytes(self.session)
        self.per_in, self.per_out = (came - self._in) / passed, (said - self._out) / passed
        self.bytes = (size - self._bytes) / passed
        self._in, self._out, self._bytes = came, said, size

    @property
    def state(self) -> str:
        """Say in a word how its client is."""
        session = self.session
        if session.closed:
            return "ended"
        if session.slow:
            return "slow"
        if not session.dock.attaches:
            return "new"
        return "away" if session.away else "online"

    def matches(self, needle: str) -> bool:
        """Tell whether a filter, in lower case, finds this."""
        return needle in self.words or needle in (self.session.transport or "none") or needle == self.state


@dataclass(slots=True)
class Look:
    """What one look at all sessions has seen."""

    rows: dict[str, Row] = field(default_factory=dict)
    """The sessions, by id."""
    transports: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    """Bytes that wait for acks."""
    per_in: float = 0.0
    per_out: float = 0.0
    bytes: float = 0.0

    def add(self, row: Row) -> None:
        """Count one session."""
        session = row.session
        self.rows[session.id] = row
        self.transports[session.transport or "none"] += 1
        self.states[row.state] += 1
        self.waiting += session.link.outbox.size
        self.per_in += row.per_in
        self.per_out += row.per_out
        self.bytes += row.bytes

    def families(self) -> list[int]:
        """Count sessions by kind of transport: none yet, polls, streams, sockets."""
        counts = [0, 0, 0, 0]
        for name, many in self.transports.items():
            counts[0 if name == "none" else height(name)] += many
        return counts


class Survey:
    """All that is mounted, once a second; and what has happened there since the start."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.servers: list[Server] = []
        self.look = Look()
        """The last look."""
        self.points: Final[deque[dict[str, Any]]] = deque(maxlen=POINTS)
        """What each look saw in numbers, the newest last."""
        self.lag = 0.0
        """The longest that the loop was late since the last look, in seconds."""
        self._opens = 0
        self._ends: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._changes: Counter[str] = Counter()
        self._watchers: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._last = 0.0
        self._seen = (0, 0)

    # ── what happens ──────────────────────────────────────────────────────────────────────────────────────────────

    def observe(self, server: Server, event: Event) -> None:
        """Count what happens, also while nobody watches."""
        match event:
            case Opened():
                self._opens += 1
            case Ended():
                self._ends[why_ended(server.past[-1].closed)] += 1
            case TurnedAway(fault, _):
                self._refused[type(fault).__name__] += 1
            case Attached(_, stay, before) if before and before.name != stay.name:
                self._changes[f"{direction(before.name, stay.name)}: {why_left(before.reason)}"] += 1
            case _:
                pass

    def note_lag(self, seconds: float) -> None:
        """Note how late the loop was."""
        self.lag = max(self.lag, seconds)

    # ── watching ──────────────────────────────────────────────────────────────────────────────────────────────────

    def watch(self, look: Callable[[], None]) -> None:
        """Call `look` after each look at the sessions."""
        self._watchers.append(look)
        if self._task is None:
            self._last, self._seen = 0.0, (self._opens, self._ends.total())
            self._task = asyncio.get_running_loop().create_task(self._run(), name="hybridws console")

    def unwatch(self, look: Callable[[], None]) -> None:
        """Call it no more; when nobody watches, nothing is looked at."""
        self._watchers.remove(look)
        if not self._watchers and self._task:
            self._task.cancel()
            self._task = None
            self.look = Look()
            self.points.clear()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + EVERY
            await self._look()
            for look in tuple(self._watchers):
                look()
                await asyncio.sleep(0)
            await asyncio.sleep(max(due - loop.time(), 0.0))

    async def _look(self) -> None:
        now = time.monotonic()
        passed = now - self._last if self._last else EVERY
        self._last = now
        look = Look()
        for number, (server, session) in enumerate(_all(self.servers), 1):
            if number % SLICE == 0:
                await asyncio.sleep(0)
            row = self.look.rows.get(session.id)
            if row is None:
                row = Row(server, session)
            else:
                row.look(passed)
            look.add(row)
        self.look = look
        opens, ends = self._opens, self._ends.total()
        self.points.append(
            {
                "at": round(time.time() * 1000),
                "in": round(look.per_in, 1),
                "out": round(look.per_out, 1),
                "bytes": round(look.bytes),
                "opens": round((opens - self._seen[0]) / passed, 1),
                "ends": round((ends - self._seen[1]) / passed, 1),
                "lag": round(self.lag * 1000, 1),
                "families": look.families(),
            }
        )
        self._seen = (opens, ends)
        self.lag = 0.0

    def overview(self) -> dict[str, Any]:
        """Return the sums of the last look, and the counts since the start."""
        rooms = sorted(
            ((len(room), server.name, room.name[:SHOWN]) for server in self.servers for room in server.rooms),
            reverse=True,
        )
        return {
            "sessions": len(self.look.rows),
            "transports": dict(self.look.transports),
            "states": dict(self.look.states),
            "waiting": self.look.waiting,
            "opens": self._opens,
            "ends": dict(self._ends),
            "refused": dict(self._refused),
            "changes": dict(self._changes),
            "rooms": [[mount, name, members] for members, mount, name in rooms[:ROOMS]],
            "roomCount": len(rooms),
            "mounts": [[server.name, len(server.sessions), server.draining] for server in self.servers],
        }

    def find(self, sid: str) -> tuple[Server, Session] | None:
        """Return a living session, and where it is mounted."""
        row = self.look.rows.get(sid)
        if row is None or row.session.closed:
            return None
        return next(((server, row.session) for server in self.servers if row.session in server.sessions), None)


def label(user: object) -> str:
    """Say who a user is, in at most 80 characters."""
    return "" if user is None else str(user)[:SHOWN]


def _bytes(session: Session) -> int:
    return session.link.came + session.link.outbox.said


def _all(servers: Iterable[Server]) -> Iterable[tuple[Server, Session]]:
    for server in servers:
        for session in server.sessions:
            if session.closed is None:  # it may have ended since this walk began
                yield server, session
