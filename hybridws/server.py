"""One mount's sessions: it opens them, runs their handlers, looks after them once a tick, and ends them."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from hybridws import hub
from hybridws.core import codes
from hybridws.core.link import Link
from hybridws.errors import SessionClosed
from hybridws.gate import Gate, new_id
from hybridws.session import Closed, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine

    from hybridws.core.codec import Codec
    from hybridws.exchange import Request
    from hybridws.options import Options

log = logging.getLogger("hybridws")

MAX_TICK: Final = 1.0
"""Seconds between two looks at all sessions: what is due is done at most so much late."""
TICKS_PER_DELAY: Final = 5
"""A delay that is set to less than a few seconds is looked at this often within it."""


class Server:
    """The sessions of one mount and the handler that each of them runs."""

    def __init__(self, handler: Callable[[Session], Coroutine[Any, Any, object]], options: Options) -> None:
        """Make a server that nobody has connected to; `handler(session)` is started for each session."""
        self.handler: Final = handler
        self.options: Final = options
        self.gate: Final = Gate(options)
        self.draining = False
        """About to stop: nobody new comes in."""
        self._hub: Final = hub.Hub()
        self._sessions: Final[dict[str, Session]] = {}
        self._named: Final[dict[str, Session]] = {}
        self._kept: Final[dict[Session, str]] = {}  # all that still need a tick, ended ones too, with their names
        self._handlers: Final[set[asyncio.Task[None]]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._tick_every = min(
            MAX_TICK,
            min(options.heartbeat_delay, options.disconnect_delay, options.pong_timeout, options.handler_grace)
            / TICKS_PER_DELAY,
        )

    def __repr__(self) -> str:
        """Tell how many are here."""
        return f"<Server with {len(self._sessions)} sessions>"

    # ── for the application ───────────────────────────────────────────────────────────────────────────────────────

    @property
    def sessions(self) -> Collection[Session]:
        """The sessions that have not ended: a live view, in the order in which they opened."""
        return self._sessions.values()

    def room(self, name: str) -> hub.Room:
        """Return the room of this name: join, leave and publish there."""
        return self._hub.room(name)

    def broadcast(self, message: object) -> int:
        """Send one message to every session, and return to how many; it waits for nobody (see `hub.publish`)."""
        return hub.publish(list(self._sessions.values()), message)

    # ── for the endpoints ─────────────────────────────────────────────────────────────────────────────────────────

    def open(self, codec: Codec, request: Request, *, name: str | None = None) -> Session:
        """Open a session and start its handler; `name` is what later requests will `find` it by."""
        session = Session(new_id(), Link(codec, self.options), request, time.time)
        self._sessions[session.id] = session
        session.at_end(self._ended)
        self._kept[session] = name or session.id
        self._named[name or session.id] = session
        task = asyncio.get_running_loop().create_task(self._run(session), name=f"hybridws handler {session.id}")
        session.handler = task
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)
        if self._timer is None:
            self._plan_tick()
        return session

    def find(self, name: str) -> Session | None:
        """Return the session of this name, which may have ended, as long as it is remembered."""
        return self._named.get(name)

    async def _run(self, session: Session) -> None:
        """Run the application's coroutine; whatever it does hurts no other session."""
        try:
            await self.handler(session)
        except SessionClosed:
            pass  # it noticed the end by sending: nothing went wrong
        except Exception:
            log.exception("the handler of %r failed; its session closes with 1011", session)
            session.end(Closed(codes.HANDLER_FAILED, "the handler failed", "local"))
        finally:
            session.end(Closed(codes.NORMAL, "Normal closure", "local"))

    def _ended(self, session: Session) -> None:
        self._sessions.pop(session.id, None)

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _plan_tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._tick_every, self._tick)

    def _tick(self) -> None:
        """Look after every session: one timer for all of them, and none while there are none."""
        now = asyncio.get_running_loop().time()
        for session, name in list(self._kept.items()):
            session.tick(now)
            if session.forgettable(now):
                del self._kept[session]
                if self._named.get(name) is session:
                    del self._named[name]
        self._timer = None
        if self._kept:
            self._plan_tick()

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def close(self) -> None:
        """End all sessions with 1012, wait up to `handler_grace` for their handlers, then cancel them."""
        self.draining = True
        for session in list(self._sessions.values()):
            session.end(Closed(codes.RESTARTING, "the server is restarting", "local"))
        if self._handlers:
            _, late = await asyncio.wait(self._handlers, timeout=self.options.handler_grace)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        if self._timer:
            self._timer.cancel()
            self._timer = None
