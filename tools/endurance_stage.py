"""The server of tools/endurance.py: an echo, a ticker that publishes when told to, and what all that takes.

`/state` tells the process's memory, descriptors and tasks, and how late its loop was since it was asked last.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from hybridws.aiohttp import mount
from hybridws.observe import log_sessions
from hybridws.observe.lag import LoopLag

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hybridws import Session

LIMITS: Final[dict[str, Any]] = {"opens_per_second": 10_000, "opens_burst": 100_000, "max_fresh": 100_000}
"""All clients of a trial have one address."""
TIMES: Final = 4
"""Messages that the ticker publishes a second."""


async def echo(session: Session) -> None:
    """Say everything back."""
    async for message in session:
        await session.send(message)


def take(_session: Session, _message: object) -> None:
    """Take what subscribers say, and answer nothing."""


def resident() -> int:
    """Return the bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class State:
    """What `/state` tells."""

    def __init__(self) -> None:
        """Begin to listen to the loop."""
        self._late = 0.0
        self._lag = LoopLag(self._note)

    def _note(self, seconds: float) -> None:
        self._late = max(self._late, seconds)

    async def live(self, _app: web.Application) -> AsyncIterator[None]:
        """Look at the loop as long as the application runs."""
        self._lag.start()
        yield
        self._lag.stop()

    async def tell(self, _request: web.Request) -> web.Response:
        """Answer, after the garbage was collected: what is left is held by somebody."""
        gc.collect()
        late, self._late = self._late, 0.0
        return web.json_response(
            {
                "memory": resident(),
                "descriptors": descriptors(),
                "tasks": len(asyncio.all_tasks()),
                "sessions": len(here.sessions) + len(ticker.sessions),
                "late": late,
            }
        )


async def publish(request: web.Request) -> web.Response:
    """Publish `bytes` a second to all subscribers for `seconds`, in some messages, whatever becomes of the slow."""
    size, seconds = int(request.query["bytes"]) // TIMES, float(request.query["seconds"])
    filler = "x" * max(size - 30, 0)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for number in range(round(seconds * TIMES)):
        await asyncio.sleep(begun + number / TIMES - loop.time())
        ticker.broadcast(f"{time.monotonic():.6f} {filler}", slow="drop_oldest")
    return web.Response()


app = web.Application()
here = mount(app, "/echo", echo, **LIMITS)
ticker = mount(app, "/ticker", take, **LIMITS)
state = State()
app.cleanup_ctx.append(state.live)
log_sessions(app)
app.router.add_get("/state", state.tell)
app.router.add_post("/publish", publish)
