"""One log record for each thing that happens to a session, with its facts as fields for machines to search."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from hybridws.events import Attached, Ended, Failed, Left, Opened, Resumed, RoundTrip, Slowed, Tried, TurnedAway
from hybridws.observe.watching import watch

if TYPE_CHECKING:
    from aiohttp import web

    from hybridws.events import Event
    from hybridws.server import Server
    from hybridws.session import Session

log = logging.getLogger("hybridws")


def log_sessions(app: web.Application, level: int = logging.INFO, *, of: web.Application | None = None) -> None:
    """Log, while `app` runs, what happens to the sessions that are mounted on `of` (default: `app`).

    The logger is `hybridws`. Opens, ends, slow consumers and refusals are logged at `level`, changes of transports and
    round trips at DEBUG. Each record has fields beside its text: `event`, `mount`, `session`, `user`, `transport`, and
    what the event tells, so that a JSON formatter writes lines that can be searched. No message, key or cookie stands
    in them.
    """

    def observe(server: Server, event: Event) -> None:
        _log(server, event, level)

    watch(app, app if of is None else of, observe)


def _log(server: Server, event: Event, level: int) -> None:  # noqa: C901 - a row for each event
    match event:
        case Opened(session):
            _say(level, "opened", server, session, codec=session.link.codec.name)
        case Ended(session):
            past = server.past[-1]
            code, reason, by = past.closed
            _say(
                level,
                "ended",
                server,
                session,
                code=code,
                reason=reason,
                by=by,
                seconds=round(max(past.ended_at - past.opened_at, 0.0), 3),
                unconfirmed=past.unconfirmed,
                **past.traffic._asdict(),
            )
        case Slowed(session):
            _say(level, "slow", server, session, waiting=session.link.outbox.size)
        case TurnedAway(fault, request):
            facts = {"cause": type(fault).__name__, "status": fault.status, "address": server.gate.address(request)}
            _write(level, "refused", server, facts)
        case Attached(session, stay, before):
            _say(logging.DEBUG, "attached", server, session, before=before.name if before else None, n=stay.attaches)
        case Left(session, stay):
            _say(logging.DEBUG, "left", server, session, reason=stay.reason)
        case Resumed(session, away):
            _say(logging.DEBUG, "resumed", server, session, away=round(away, 3))
        case Tried(session, transport):
            _say(logging.DEBUG, "tried", server, session, trial=transport)
        case Failed(session, transport, reason):
            _say(logging.DEBUG, "failed", server, session, trial=transport, reason=reason)
        case RoundTrip(session, seconds):
            _say(logging.DEBUG, "round trip", server, session, seconds=round(seconds, 6))


def _say(level: int, word: str, server: Server, session: Session, **facts: Any) -> None:  # noqa: ANN401 - JSON values
    who = {"session": session.id, "user": session.user, "transport": session.transport}
    _write(level, word, server, {**who, **facts})


def _write(level: int, word: str, server: Server, facts: dict[str, Any]) -> None:
    if log.isEnabledFor(level):
        story = " ".join(f"{name}={value!r}" for name, value in facts.items() if value is not None)
        log.log(level, "%s %s", word, story, extra={"event": word, "mount": server.name, **facts})
