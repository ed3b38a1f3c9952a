"""What the comparison says over hybridws: the twin of peers.mjs, which says it over Socket.IO and SockJS.

A page sends `{"key", "n"}`: its name, and a number. The server counts, and says numbers of its own to the page's
newest connection, with what it has counted: `{"n", "up": {"came", "lost", "twice", "late"}}`. What one connection has
lost is found by the next one, since both sides go on counting.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from hybridws import BufferFull, SessionClosed

from ..tally import Tally  # noqa: TID252 - the demo goes by a name of its own (hybridws/cli/demo.py)

if TYPE_CHECKING:
    from hybridws import Session

OURS: Final = "/compare/live"
"""Where it is mounted."""

EVERY: Final = 0.05
"""Seconds between two numbers, either way."""

MAX_PAGES: Final = 200
"""Pages whose numbers are known; the oldest is forgotten for a new one."""


class Page:
    """One page of a browser, over all its connections."""

    def __init__(self) -> None:
        """Begin with nothing said."""
        self.up: Final = Tally()
        self.sent = 0
        self.newest: Session | None = None
        """The connection on which numbers are said."""


class Pages:
    """All pages, by their keys."""

    def __init__(self) -> None:
        """Begin without any."""
        self._pages: Final[dict[str, Page]] = {}

    def get(self, key: str) -> Page:
        """Return the page of this key; a new one if there is none."""
        page = self._pages.pop(key, None) or Page()
        self._pages[key] = page  # the newest stand last
        if len(self._pages) > MAX_PAGES:
            del self._pages[next(iter(self._pages))]
        return page


async def visit(session: Session, pages: Pages) -> None:
    """Serve one session: count what comes, and say numbers from the first message on."""
    page = saying = None
    try:
        async for message in session:
            match message:
                case {"key": str(key), "n": int(number)} if number > 0:
                    if page is None:
                        page = pages.get(key)
                        page.newest = session
                        saying = asyncio.create_task(say(page, session))
                    page.up.take(number)
                case _:
                    await session.close(4400, 'send {"key": "…", "n": 1}, and go on with 2')
    finally:
        if saying:
            saying.cancel()


async def say(page: Page, session: Session) -> None:
    """Say a number now and then, until the page has another session or this one ends."""
    with suppress(SessionClosed):
        while page.newest is session:
            up = {name: getattr(page.up, name) for name in ("came", "lost", "twice", "late")}
            with suppress(BufferFull):  # what was not said has no number, and is not lost
                session.send_nowait({"n": page.sent + 1, "up": up})
                page.sent += 1
            await asyncio.sleep(EVERY)
