"""The command as a process of its own: what is typed goes in, what is shown comes out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

# Seconds for a command to say something, or to end.
PATIENCE = 60.0


class Done(NamedTuple):
    """What a command has done."""

    code: int | None
    out: str
    err: str


class Command:
    """`hybridws ...` as a process: what is typed goes in, what is shown comes out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Take over a process that has started."""
        self.process = process
        self.err = ""

    async def type(self, text: str) -> None:
        """Type some text."""
        assert self.process.stdin
        self.process.stdin.write(text.encode())
        await self.process.stdin.drain()

    async def line(self) -> str:
        """Return the next line of stdout."""
        assert self.process.stdout
        async with asyncio.timeout(PATIENCE):
            return (await self.process.stdout.readline()).decode().removesuffix("\n")

    async def told(self, words: str) -> str:
        """Wait until a line with these words stands on stderr, and return it."""
        assert self.process.stderr
        async with asyncio.timeout(PATIENCE):
            while line := (await self.process.stderr.readline()).decode():
                self.err += line
                if words in line:
                    return line.removesuffix("\n")
        raise AssertionError(f"{words!r} was never said, but {self.err!r}")

    async def done(self, text: str = "") -> Done:
        """Type the rest, end the input, and wait for the end."""
        async with asyncio.timeout(PATIENCE):
            out, err = await self.process.communicate(text.encode())
        return Done(self.process.returncode, out.decode(), self.err + err.decode())


Start = Callable[..., Awaitable[Command]]
Serve = Callable[..., Awaitable[str]]
