"""One run of `hybridws connect`: lines one way, messages the other, and what is told of the connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from hybridws import client
from hybridws.cli import reach
from hybridws.cli.connect.pipes import lines_of, raw_input, write
from hybridws.cli.connect.values import to_json, to_line, to_value
from hybridws.cli.ink import harmless, ink, span
from hybridws.client.connection import ORDER
from hybridws.core import codes
from hybridws.errors import SessionClosed, Stalled, Unsendable

if TYPE_CHECKING:
    import argparse

    from hybridws.client import Attempt, Connection, Event
    from hybridws.session import Closed

CLOSED: Final = 0
CANNOT_CONNECT: Final = 1
MISUSED: Final = 2
LOST: Final = 3
WAIT: Final = 0.5
"""Seconds of silence after which no answer is expected any more, when a file or a pipe has ended."""
LOOK_EVERY: Final = 0.02
"""Seconds between two looks at what carries the session, and at what is acknowledged."""
MANY: Final = 10
"""Messages that were not acknowledged are shown up to this number; with --json all are."""
BY_SIGNAL: Final = 130
"""What a shell expects of a program that Ctrl-C has ended at once."""


class Told(NamedTuple):
    """One line on stderr."""

    words: str
    style: str
    facts: dict[str, object]
    """The same with --json."""


class Talk:
    """One run of the command."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Prepare; nothing is connected yet."""
        self.args: Final = args
        self.typed: Final = sys.stdin.isatty()
        self.shown: Final = sys.stdout.isatty()
        self.stop: Final = asyncio.Event()
        """Somebody wants the session closed now."""
        self.paint: Final = ink(sys.stderr)
        self.begun = time.time()
        self.carried_by: str | None = None
        """The transport that was told of last."""
        self.heard = 0
        """Messages that have come."""
        self.misread = False
        """Whether a line of the input could not be sent."""
        self.connection: Connection = client.connect(
            args.url,
            transports=tuple(args.transport or ORDER),
            codec=args.codec,
            on_event=self.hear,
            open_timeout=args.timeout,
            **reach.options(args),
        )

    async def run(self) -> int:
        """Connect, talk, close; return the exit code."""
        here = asyncio.current_task()
        loop = asyncio.get_running_loop()
        opened = False

        def interrupt() -> None:
            if not opened and here:
                here.cancel()
            elif self.stop.is_set():
                os._exit(BY_SIGNAL)  # asked twice: whoever asks does not want to wait for a network
            self.stop.set()

        with contextlib.suppress(NotImplementedError):
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, interrupt)
        self.begun = time.time()
        try:
            async with self.connection:
                opened = True
                await self.talk()
        except client.CannotConnect as error:
            self.tell(Told(f"cannot connect: {error}", "red", {"event": "failed", "reason": str(error)}))
            return CANNOT_CONNECT
        except asyncio.CancelledError:
            if opened:
                raise
            self.tell(Told("given up before it was open", "red", {"event": "failed", "reason": "given up"}))
            return CANNOT_CONNECT
        self.look()
        return self.end()

    async def talk(self) -> None:
        """Carry lines one way and messages the other, until the input or the session ends, or somebody stops it."""
        loop = asyncio.get_running_loop()
        wait = self.args.wait if self.args.wait is not None else 0.0 if self.typed else WAIT
        hearing = loop.create_task(self.listen())
        saying = loop.create_task(self.speak())
        looking = loop.create_task(self.keep_looking())
        stopping = loop.create_task(self.stop.wait())
        try:
            await asyncio.wait([hearing, saying, stopping], return_when=asyncio.FIRST_COMPLETED)
            if saying.done() and not (hearing.done() or stopping.done()):
                saying.result()
                heard = -1
                while heard != self.heard and not (hearing.done() or stopping.done()):
                    heard = self.heard
                    timeout = None if wait == float("inf") else wait
                    await asyncio.wait([hearing, stopping], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if hearing.done():
                hearing.result()
        except BrokenPipeError:
            pass  # nobody reads any more, as after `| head`
        finally:
            tasks = (hearing, saying, looking, stopping)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def listen(self) -> None:
        """Write what comes to stdout. Raises BrokenPipeError when nobody reads it."""
        form = to_json if self.args.json else to_line
        mark = ink(sys.stdout)("<", "cyan") + " " if self.shown and not self.args.json else ""
        async for message in self.connection:
            self.heard += 1
            text = form(message)
            if self.shown:
                text = mark + "\n  ".join(map(harmless, text.split("\n")))
            await write(text)

    async def speak(self) -> None:
        """Send what stands in the input, and wait until all of it is acknowledged."""
        number = 0
        with contextlib.suppress(SessionClosed), contextlib.closing(raw_input()) as source:
            async for line in lines_of(source):
                number += 1
                if self.args.json and not line.strip():
                    continue
                try:
                    await self.connection.send(to_value(line, as_json=self.args.json))
                except (Unsendable, Stalled, ValueError) as error:
                    self.misread = True
                    facts: dict[str, object] = {"event": "unsent", "line": number, "reason": str(error)}
                    self.tell(Told(f"line {number} was not sent: {error}", "red", facts))
            while self.connection.closed is None and self.connection.unacked:  # noqa: ASYNC110 - acks ring no bell
                await asyncio.sleep(LOOK_EVERY)

    # ── what is told on stderr ────────────────────────────────────────────────────────────────────────────────────

    async def keep_looking(self) -> None:
        """Tell which transport carries the session, whenever that changes."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_EVERY)

    def look(self) -> None:
        """Tell which transport carries the session, if that has changed."""
        attempt = serving(self.connection)
        if attempt is None or attempt.transport == self.carried_by:
            return
        name = attempt.transport
        took = attempt.at + (attempt.took or 0.0) - self.begun
        facts: dict[str, object] = {"transport": name, "ms": round(took * 1000, 1)}
        if self.carried_by is None:
            self.tell(Told(f"open over {name} in {span(took)}", "green", {"event": "open", **facts}))
        else:
            self.tell(Told(f"now over {name}, after {span(took)}", "green", {"event": "moved", **facts}))
        self.carried_by = name

    def hear(self, event: Event) -> None:
        """Tell of a turn in the connection's life; `open` waits until something carries it, `closed` for the end."""
        facts: dict[str, object] = {"event": event.state, "transport": event.transport, "reason": event.reason}
        match event.state:
            case "connecting":
                self.tell(Told(f"connecting to {event.reason}", "dim", {"event": "connecting", "url": event.reason}))
            case "interrupted":
                self.tell(Told(f"interrupted: {event.reason or 'the network is gone'}", "yellow", facts))
            case "resumed":
                self.look()
                self.carried_by = event.transport
                self.tell(Told(f"resumed over {event.transport}", "green", facts))
            case "reset":
                self.tell(Told(f"the session is lost: {event.reason}", "red", facts))
            case _:
                pass

    def end(self) -> int:
        """Tell how it ended, and return the exit code."""
        closed, unacked = self.connection.closed, self.connection.unacked
        code = closed.code if closed else codes.NORMAL
        told = [to_json(message) if self.args.json else to_line(message) for message in unacked]
        good = not unacked and (closed is None or _in_order(closed))
        words = _farewell(closed)
        if unacked:
            words += f"; {len(unacked)} message{'s were' if len(unacked) > 1 else ' was'} not acknowledged:"
        facts: dict[str, object] = {
            "event": "closed",
            "code": code,
            "reason": closed.reason if closed else "",
            "by": closed.by if closed else "local",
            "unacked": [json.loads(line) for line in told] if self.args.json else [],
        }
        self.tell(Told(words, "dim" if good else "red", facts))
        if not self.args.json:
            for line in told[:MANY]:
                print(f"    {harmless(line)}", file=sys.stderr)
            if len(told) > MANY:
                print(f"    ... and {len(told) - MANY} more", file=sys.stderr)
        if not good:
            return LOST
        return MISUSED if self.misread else CLOSED

    def tell(self, told: Told) -> None:
        """Write a line to stderr."""
        line = json.dumps(told.facts) if self.args.json else self.paint(f"* {harmless(told.words)}", told.style)
        print(line, file=sys.stderr, flush=True)


def serving(connection: Connection) -> Attempt | None:
    """Return the attempt that carries the session now, if any does.

    The first poll may be held for long before it is answered; that it is held is taken for good.
    """
    name = connection.transport if connection.online else None
    return next(
        (
            attempt
            for attempt in reversed(connection.info.attempts)
            if attempt.transport == name
            and attempt.failure is None
            and (attempt.took is not None or attempt.transport == "poll")
        ),
        None,
    )


def _in_order(closed: Closed) -> bool:
    """Tell whether a session ended as one should: by either side's wish, and not for a fault."""
    return closed.by != "network" and closed.code not in (codes.HANDLER_FAILED, codes.RESTARTING)


def _farewell(closed: Closed | None) -> str:
    if closed is None:
        return "closed; the server has not confirmed it"
    reason = f": {closed.reason}" if closed.reason else ""
    if closed.by == "network":
        return f"lost ({closed.code}){reason}"
    by = " by the server" if closed.by == "remote" else ""
    return f"closed{by}{f' with {closed.code}' if closed.code != codes.NORMAL else ''}{reason}"
