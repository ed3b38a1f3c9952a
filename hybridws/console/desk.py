"""One operator at the console: what is in view is sent once a second, of that only what has changed."""

from __future__ import annotations

import contextlib
import json
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hybridws.console.survey import SHOWN, label
from hybridws.errors import HybridError, SessionClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hybridws.console.process import Process
    from hybridws.console.survey import Row, Survey
    from hybridws.dock import Stay
    from hybridws.past import Past
    from hybridws.session import Session

log = logging.getLogger("hybridws")

MAX_ROWS: Final = 200
"""Rows that may be in view at once: more than the tallest screen has."""
MAX_FILTER: Final = 100
"""Characters of a filter."""
LONG: Final = 300
"""Characters of a header or a reason that are shown."""


class View(NamedTuple):
    """Which part of which list is in view."""

    ended: bool = False
    """The sessions that ended last, instead of those that live."""
    needle: str = ""
    sort: str = "opened"
    down: bool = True
    first: int = 0
    rows: int = 40


SORTS: Final[dict[str, Callable[[Row], Any]]] = {
    "opened": lambda row: row.session.opened_at,
    "name": lambda row: row.name or row.session.id,
    "mount": lambda row: row.mount,
    "transport": lambda row: row.session.transport or "",
    "state": lambda row: row.state,
    "address": lambda row: row.address,
    "in": lambda row: row.per_in,
    "out": lambda row: row.per_out,
    "trip": lambda row: row.session.round_trip or -1.0,
    "waiting": lambda row: row.session.link.outbox.size,
}
"""How the list of the living may be sorted."""


class Sorry(Exception):
    """What the operator asked for cannot be done; the text says why."""


class Desk:
    """One operator's page."""

    def __init__(self, session: Session, survey: Survey, process: Process, *, read_only: bool) -> None:
        """Serve the page that speaks on this session."""
        self._session = session
        self._survey = survey
        self._process = process
        self._read_only = read_only
        self._view = View()
        self._inspected = ""
        self._pulse: dict[str, Any] = {}  # what the page knows
        self._ids: list[str] = []
        self._cells: dict[str, list[Any]] = {}
        self._list: tuple[Any, ...] = ()
        self._story: dict[str, Any] = {}

    async def serve(self) -> None:
        """Obey the page until it leaves."""
        self._say({"is": "hello", "process": self._process.card(), "readOnly": self._read_only})
        self._say({"is": "history", "points": list(self._survey.points)})
        self._survey.watch(self.look)
        try:
            async for message in self._session:
                try:
                    await self._obey(message)
                except Sorry as sorry:
                    self._say({"is": "sorry", "text": str(sorry)})
        finally:
            self._survey.unwatch(self.look)

    def look(self) -> None:
        """Send what has changed since the last look; a page that does not keep up gets it the next time."""
        if self._session.closed or self._session.link.full:
            return
        new = {**self._survey.overview(), **self._process.now()}
        changed = {name: value for name, value in new.items() if self._pulse.get(name) != value}
        self._pulse = new
        self._say({"is": "pulse", "point": self._survey.points[-1], **changed})
        self._show_list()
        self._show_story()

    def _say(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(SessionClosed):  # it has just left
            self._session.send_nowait(message)

    # ── what the page asks ────────────────────────────────────────────────────────────────────────────────────────

    async def _obey(self, message: Any) -> None:  # noqa: ANN401 - any JSON value may come
        """Do what one message asks for. Raises Sorry."""
        match message:
            case {"do": "view"}:
                self._view = read_view(message)
                self._list = ()
                self._show_list()
            case {"do": "inspect", "id": str(sid)}:
                self._inspected, self._story = sid, {}
                self._show_story()
            case {"do": "send", "id": str(sid), "text": str(text), "json": bool(as_json)}:
                self._send(sid, _value(text) if as_json else text)
            case {"do": "close", "id": str(sid), "code": int(code), "reason": str(reason)}:
                await self._close(sid, code, reason)
            case _:
                raise Sorry("The console does not know this request; load the page again.")

    def _send(self, sid: str, value: object) -> None:
        session = self._change(sid)
        try:
            session.send_nowait(value)
        except HybridError as error:
            raise Sorry(f"Not sent: {error}") from None
        log.info(
            "console: %s sent a message to %s", self._operator, sid, extra={"event": "console send", "session": sid}
        )
        self._say({"is": "done", "text": "Sent."})

    async def _close(self, sid: str, code: int, reason: str) -> None:
        session = self._change(sid)
        try:
            await session.close(code, reason)
        except ValueError as error:
            raise Sorry(f"Not closed: {error}") from None
        log.info(
            "console: %s closed %s with %d", self._operator, sid, code, extra={"event": "console close", "session": sid}
        )
        self._say({"is": "done", "text": "Closed."})

    @property
    def _operator(self) -> str:
        return label(self._session.user) or "somebody"

    def _change(self, sid: str) -> Session:
        """Return a session that the operator may change. Raises Sorry."""
        if self._read_only:
            raise Sorry("This console only shows; it was mounted with read_only=True.")
        found = self._survey.find(sid)
        if found is None:
            raise Sorry("That session has ended.")
        return found[1]

    # ── what the page is shown ────────────────────────────────────────────────────────────────────────────────────

    def _show_list(self) -> None:
        total, rows = self._ended() if self._view.ended else self._living()
        ids = [sid for sid, _ in rows]
        changed = {sid: cells for sid, cells in rows if self._cells.get(sid) != cells}
        here = (total, self._view.first, self._view.ended)
        news: dict[str, Any] = {}
        if here != self._list:
            news |= {"total": total, "first": self._view.first, "ended": self._view.ended}
        if ids != self._ids or here != self._list:
            news["ids"] = ids
        if changed:
            news["rows"] = changed
        self._ids, self._cells, self._list = ids, dict(rows), here
        if news:
            self._say({"is": "rows", **news})

    def _living(self) -> tuple[int, list[tuple[str, list[Any]]]]:
        view = self._view
        rows: Iterable[Row] = self._survey.look.rows.values()
        if view.needle:
            rows = [row for row in rows if row.matches(view.needle)]
        chosen = sorted(rows, key=SORTS[view.sort], reverse=view.down)
        return len(chosen), [(row.session.id, _cells(row)) for row in chosen[view.first : view.first + view.rows]]

    def _ended(self) -> tuple[int, list[tuple[str, list[Any]]]]:
        view = self._view
        past = [(server.name, one) for server in self._survey.servers for one in server.past]
        if view.needle:
            past = [(mount, one) for mount, one in past if view.needle in _words(mount, one)]
        past.sort(key=lambda both: both[1].ended_at, reverse=view.down)
        part = past[view.first : view.first + view.rows]
        return len(past), [(one.id, _ended_cells(mount, one)) for mount, one in part]

    def _show_story(self) -> None:
        """Send what there is to know of the inspected session, if it has changed."""
        if not self._inspected:
            return
        story = self._live_story() or self._past_story() or {"id": self._inspected, "forgotten": True}
        if story != self._story:
            self._story = story
            self._say({"is": "session", **story})

    def _live_story(self) -> dict[str, Any] | None:
        row = self._survey.look.rows.get(self._inspected)
        if row is None or row.session.closed:
            return None
        session = row.session
        headers = session.http_request.headers
        return {
            "id": session.id,
            "cells": _cells(row),
            "codec": session.link.codec.name,
            "subprotocol": session.subprotocol,
            "agent": headers.get("User-Agent", "")[:LONG],
            "origin": headers.get("Origin", "")[:LONG],
            "unconfirmed": len(session.link.outbox),
            "inbox": session.link.inbox_size,
            "traffic": session.traffic._asdict(),
            "bytes": round(row.bytes),
            "timeline": _timeline(session.transports),
        }

    def _past_story(self) -> dict[str, Any] | None:
        for server in self._survey.servers:
            for past in server.past:
                if past.id == self._inspected:
                    return {
                        "id": past.id,
                        "cells": _ended_cells(server.name, past),
                        "codec": past.codec,
                        "unconfirmed": past.unconfirmed,
                        "traffic": past.traffic._asdict(),
                        "timeline": _timeline(past.transports),
                        "ended": round(past.ended_at * 1000),
                        "code": past.closed.code,
                        "reason": past.closed.reason[:LONG],
                        "by": past.closed.by,
                    }
        return None


def read_view(asked: dict[str, Any]) -> View:
    """Read which rows a page wants to see. Raises Sorry for what no page of ours asks."""
    match asked:
        case {
            "ended": bool(ended),
            "filter": str(needle),
            "sort": str(sort),
            "down": bool(down),
            "first": int(first),
            "count": int(count),
        } if sort in SORTS and first >= 0 and 0 < count <= MAX_ROWS and len(needle) <= MAX_FILTER:
            return View(ended, needle.strip().lower(), sort, down, first, count)
        case _:
            raise Sorry("The console cannot show this view; load the page again.")


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Sorry(f"Not sent: this is no JSON ({error}).") from None


def _cells(row: Row) -> list[Any]:
    session = row.session
    trip = session.round_trip
    return [
        row.name,
        row.mount,
        session.transport or "none",
        row.state,
        row.address,
        round(session.opened_at * 1000),
        round(row.per_in, 1),
        round(row.per_out, 1),
        None if trip is None else round(trip * 1000, 1),
        session.link.outbox.size,
    ]


def _ended_cells(mount: str, past: Past) -> list[Any]:
    return [
        label(past.user),
        mount,
        past.transports[-1].name if past.transports else "none",
        past.closed.by,
        f"{past.closed.code} {past.closed.reason}"[:SHOWN],
        round(past.opened_at * 1000),
        past.traffic.packets_in,
        past.traffic.packets_out,
        None if past.round_trip is None else round(past.round_trip * 1000, 1),
        round(past.ended_at * 1000),
    ]


def _words(mount: str, past: Past) -> str:
    transport = past.transports[-1].name if past.transports else "none"
    return f"{past.id} {label(past.user)} {mount} {transport} {past.closed.code} {past.closed.reason}".lower()


def _timeline(stays: list[Stay]) -> list[list[Any]]:
    return [
        [
            stay.name,
            round(stay.since * 1000),
            None if stay.until is None else round(stay.until * 1000),
            stay.reason[:LONG],
            stay.attaches,
        ]
        for stay in stays
    ]
