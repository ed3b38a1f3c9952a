"""Requests and replies: messages of a session that want one answer each (protocol §1, `q`, `r` and `e`)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from hybridws.core import codes
from hybridws.core.packets import Error, Reply, Request
from hybridws.errors import HybridError, RequestFailed, SessionClosed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hybridws.core.packets import Packet

log = logging.getLogger("hybridws")

MAX_ANSWERING: Final = 64
"""Requests of one client that may be answered at once; one more gets the error 4429 instead of a task."""


class Calls:
    """The requests of one session that are not answered yet, both ways."""

    __slots__ = ("_answering", "_asked", "_last", "_say", "answerer")

    def __init__(self, say: Callable[[Packet], None]) -> None:
        """Start with none; `say` sends a packet."""
        self._say = say
        self._last = 0
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self.answerer: Callable[[Any], Awaitable[object]] | None = None
        """What answers the other side's requests; None answers each with an error."""

    async def ask(self, value: object, timeout: float | None) -> Any:  # noqa: ANN401, ASYNC109 - a value; part of the API
        """Send a request and wait for its answer. Raises RequestFailed, TimeoutError, SessionClosed."""
        self._last += 1
        number = self._last
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._say(Request(number, value))
            async with asyncio.timeout(timeout):
                return await answer
        finally:
            del self._asked[number]

    def take(self, packet: Request | Reply | Error) -> None:
        """Start to answer a request, or give an answer to whoever waits for it, if anybody does."""
        if isinstance(packet, Request):
            self._answer(packet)
        else:
            self._hear(packet)

    def _hear(self, packet: Reply | Error) -> None:
        answer = self._asked.get(packet.id)
        if answer is None or answer.done():
            return
        if isinstance(packet, Reply):
            answer.set_result(packet.value)
        else:
            answer.set_exception(RequestFailed(packet.code, packet.text))

    def _answer(self, request: Request) -> None:
        if self.answerer is None:
            self._try_to_say(Error(request.id, codes.NO_ANSWERER, "nobody answers requests here"))
        elif len(self._answering) >= MAX_ANSWERING:
            self._try_to_say(Error(request.id, codes.TOO_MANY, f"more than {MAX_ANSWERING} requests at once"))
        else:
            task = asyncio.get_running_loop().create_task(self._run(request, self.answerer))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _run(self, request: Request, answerer: Callable[[Any], Awaitable[object]]) -> None:
        try:
            value = await answerer(request.value)
        except RequestFailed as failed:
            self._try_to_say(Error(request.id, failed.code, failed.text))
        except SessionClosed:
            pass
        except Exception:
            log.exception("answering a request failed; the other side gets the error 1011")
            self._try_to_say(Error(request.id, codes.HANDLER_FAILED, "the answerer failed"))
        else:
            self._try_to_say(Reply(request.id, value))

    def _try_to_say(self, packet: Reply | Error) -> None:
        """Answer, unless the session has ended or the answer has no words."""
        try:
            self._say(packet)
        except SessionClosed:
            pass
        except HybridError as error:
            log.error("an answer could not be sent: %s", error)  # noqa: TRY400 - the traceback is of our own code
            self._say(Error(packet.id, codes.HANDLER_FAILED, "the answer could not be sent"))

    def end(self, error: SessionClosed) -> None:
        """Fail whatever waits for an answer, and stop answering."""
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(error)
        for task in self._answering:
            task.cancel()
