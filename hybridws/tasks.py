"""Coroutines that are run at once, and made tasks only where they have to wait."""

from __future__ import annotations

import asyncio
from types import coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator


def begin(coro: Coroutine[Any, Any, None], keep: set[asyncio.Task[None]]) -> None:
    """Run a coroutine at once, and make it a task only where it has to wait; `keep` then holds the task.

    Most requests are dealt with without a wait, and a task would cost more than all the rest of them. Python 3.12 has
    eager tasks for this, but 3.11 does not. Until its first wait the coroutine runs in no task: what asks for the
    current one (`asyncio.timeout`) must come after a wait, and `become_task` is one.
    """
    try:
        waited = coro.send(None)
    except StopIteration:
        return
    task = asyncio.get_running_loop().create_task(_go_on(coro, waited))
    keep.add(task)
    task.add_done_callback(keep.discard)


async def _go_on(coro: Coroutine[Any, Any, None], waited: object) -> None:
    await _resume(coro, waited)


@coroutine
def _resume(coro: Coroutine[Any, Any, None], waited: object) -> Generator[Any, Any, None]:
    """Go on with a coroutine that waits for `waited`."""
    while True:
        sent, caught = None, None
        try:
            sent = yield waited
        except BaseException as error:  # noqa: BLE001 - whatever is thrown at the task is the coroutine's to deal with
            caught = error
        try:
            waited = coro.send(sent) if caught is None else coro.throw(caught)
        except StopIteration:
            return


async def become_task() -> None:
    """Let go once, so that what comes next runs in a task (see `begin`)."""
    await asyncio.sleep(0)
