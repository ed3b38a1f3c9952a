"""A wire that is cut at a chosen step of a chosen request: every byte is counted, and nothing depends on time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

HEAD_END = b"\r\n\r\n"


class Step(NamedTuple):
    """Where the connection of an attach is cut."""

    name: str
    up: int | None = None
    """After so many bytes of the request have passed."""
    said: int | None = None
    """The same, counted from the end of the request's head."""
    down: int | None = None
    """After so many bytes of the answer have passed; 0: as soon as there is one."""
    body: int | None = None
    """The same, counted from the end of the answer's head."""
    unheard: bool = False
    """When the client says its next word after the answer: all connections are cut, and the word is lost."""


class Scissors:
    """A TCP relay before one server. It can refuse requests of one kind, and cut one of a kind at a step."""

    def __init__(self, url: str) -> None:
        """Stand before `url`, http://host:port/path."""
        self._host, _, self._port = url.split("/")[2].partition(":")
        self._path = url.split(self._port, 1)[1]
        self._server: asyncio.Server | None = None
        self._wires: set[_Wire] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.blocked: set[str] = set()
        """Requests of these kinds meet a reset."""
        self.plan: tuple[str, Step] | None = None
        """Which kind of request is cut next, and where; None once it has happened."""
        self.cuts = 0
        self.waits_for_word = False

    @property
    def url(self) -> str:
        """Where clients find the server."""
        assert self._server
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}{self._path}"

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Reset what is open, and stop."""
        assert self._server
        self._server.close()
        self.cut()
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(self._host, int(self._port))
        except OSError:
            writer.transport.abort()
            return
        wire = _Wire(self, writer, far_writer)
        self._wires.add(wire)
        for way in (wire.run(reader, wire.take_up), wire.run(far_reader, wire.take_down)):
            task = asyncio.get_running_loop().create_task(way)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def forget(self, wire: _Wire) -> None:
        """Drop a wire that has ended."""
        self._wires.discard(wire)

    def cut(self, kind: str | None = None) -> None:
        """Reset every connection, or those whose newest request is of one kind."""
        for wire in list(self._wires):
            if kind is None or wire.kind == kind:
                wire.abort()

    def happened(self) -> None:
        """Note that the plan was carried out."""
        self.plan = None
        self.waits_for_word = False
        self.cuts += 1


class _Wire:
    """One connection through the scissors."""

    def __init__(self, scissors: Scissors, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._scissors = scissors
        self._near = near
        self._far = far
        self._step: Step | None = None
        self._request = b""
        self._answer = b""
        self.kind = ""

    async def run(self, reader: asyncio.StreamReader, take: Callable[[bytes], bool]) -> None:
        """Pass one direction on until either side ends."""
        try:
            while data := await reader.read(65536):
                if not take(data):
                    self.abort()
                    break
                await self._far.drain()
                await self._near.drain()
        except OSError:
            pass
        finally:
            for writer in (self._near, self._far):
                writer.close()
            self._scissors.forget(self)

    def abort(self) -> None:
        """Reset both ends."""
        for writer in (self._near, self._far):
            writer.transport.abort()

    def take_up(self, data: bytes) -> bool:
        """Pass on what the client says; tell whether the connection goes on."""
        scissors = self._scissors
        if scissors.waits_for_word:
            scissors.happened()
            scissors.cut()
            return False
        if data.startswith((b"POST ", b"GET ")):
            self._begin(data.split(b" ", 2)[1].decode().partition("?")[0].rpartition("/")[2])
        if self.kind in scissors.blocked:
            return False
        before = len(self._request)
        self._request += data
        end = self._up_to()
        if end is not None and len(self._request) > end:
            self._far.write(data[: max(end - before, 0)])
            scissors.happened()
            return False
        self._far.write(data)
        return True

    def _up_to(self) -> int | None:
        """Tell how much of the request may pass."""
        step = self._step
        if step is None or step.said is None:
            return step.up if step else None
        head = self._request.find(HEAD_END)
        return None if head < 0 else head + len(HEAD_END) + step.said

    def _begin(self, kind: str) -> None:
        self.kind, self._request, self._answer, self._step = kind, b"", b"", None
        if self._scissors.plan and self._scissors.plan[0] == kind:
            self._step = self._scissors.plan[1]

    def take_down(self, data: bytes) -> bool:
        """Pass on what the server says; tell whether the connection goes on."""
        step, scissors = self._step, self._scissors
        if step is None:
            self._near.write(data)
            return True
        before = len(self._answer)
        self._answer += data
        head = self._answer.find(HEAD_END)
        end = step.down
        if step.body is not None and head >= 0:
            end = head + len(HEAD_END) + step.body
        if end is not None and len(self._answer) > end:
            self._near.write(data[: end - before])
            scissors.happened()
            return False
        self._near.write(data)
        if step.unheard and head >= 0 and len(self._answer) > head + len(HEAD_END):
            self._step = None
            scissors.waits_for_word = True
        return True
