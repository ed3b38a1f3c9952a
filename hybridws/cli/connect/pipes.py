"""The three streams of a process: read and written so that none of them can keep it from ending."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import select
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

READ_SIZE: Final = 64 * 1024
SURE: Final = 512
"""Bytes that a pipe which takes any takes at once (POSIX, PIPE_BUF)."""


async def aside(work: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401 - what `work` returns
    """Do in a thread what may block for ever, such as reading a terminal; the process can end all the same."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: object, error: BaseException | None) -> None:
        if future.done():
            return
        if error:
            future.set_exception(error)
        else:
            future.set_result(result)

    def do() -> None:
        result, error = None, None
        try:
            result = work(*args)
        except Exception as fault:  # noqa: BLE001 - it is raised where it is waited for
            error = fault
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=do, daemon=True).start()
    return await future


async def lines_of(source: io.RawIOBase) -> AsyncIterator[bytes]:
    """Read lines, whatever the source is: a file, a pipe, a terminal. The last one may lack its end."""
    rest = b""
    while chunk := await aside(source.read, READ_SIZE):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r")
    if rest:
        yield rest


async def write(text: str) -> None:
    """Write a line to stdout, past Python's buffer: a reader that has stopped must not keep the process from ending."""
    data = f"{text}\n".encode(sys.stdout.encoding or "utf-8", "backslashreplace")
    number = sys.stdout.fileno()
    if len(data) <= SURE and os.name == "posix" and select.select((), (number,), (), 0)[1]:
        os.write(number, data)
    else:
        await aside(_write_all, number, data)


def _write_all(number: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(number, rest) :]


def raw_input() -> io.RawIOBase:
    """Return stdin without a buffer: a line is there as soon as it is typed."""
    return io.FileIO(sys.stdin.fileno(), closefd=False)
