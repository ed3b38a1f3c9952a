"""`hybridws connect`: type lines, see messages, over whatever transport gets through."""

from __future__ import annotations

import argparse
import asyncio
import base64
import binascii
import contextlib
import io
import json
import os
import select
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hybridws import client
from hybridws.cli import reach
from hybridws.cli.ink import harmless, ink, span
from hybridws.client.connection import ORDER
from hybridws.core import codes
from hybridws.errors import SessionClosed, Stalled, Unsendable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from hybridws.client import Attempt, Connection, Event
    from hybridws.session import Closed

CLOSED: Final = 0
CANNOT_CONNECT: Final = 1
MISUSED: Final = 2
LOST: Final = 3
EXITS: Final = """\
exit codes: 0 closed normally · 1 cannot connect · 2 not understood: an argument, or a line that cannot be sent ·
3 the session was lost, or closed with an error; what was not acknowledged is listed
"""

TIMEOUT: Final = 10.0
"""Seconds for which it is tried to connect; whoever waits at a terminal wants to know."""
WAIT: Final = 0.5
"""Seconds of silence after which no answer is expected any more, when a file or a pipe has ended."""
READ_SIZE: Final = 64 * 1024
SURE: Final = 512
"""Bytes that a pipe which takes any takes at once (POSIX, PIPE_BUF)."""
LOOK_EVERY: Final = 0.02
"""Seconds between two looks at what carries the session, and at what is acknowledged."""
MANY: Final = 10
"""Messages that were not acknowledged are shown up to this number; with --json all are."""
BYTES: Final = "$bytes"
"""The one key of the map that stands for bytes where only JSON can stand."""
BY_SIGNAL: Final = 130
"""What a shell expects of a program that Ctrl-C has ended at once."""


def add(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Say which arguments the command takes."""
    parser = add_parser(
        "connect",
        help="type lines, see messages",
        description="Type lines, see messages. The end of the input (Ctrl-D) closes the session in order, after all "
        "that was typed is acknowledged; Ctrl-C closes it now.",
        epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--transport",
        choices=ORDER,
        action="append",
        help="use only this one; if repeated, these, the best first (default: websocket, stream, poll)",
    )
    parser.add_argument("--codec", choices=("json", "msgpack"), default="json", help="default: %(default)s")
    parser.add_argument(
        "--json",
        action="store_true",
        help=f'lines are JSON values both ways, bytes are {{"{BYTES}": "base64"}}; events are JSON on stderr',
    )
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=to_seconds,
        help="after the end of the input, go on until nothing has come for so long; inf: until the server closes "
        f"(default: {WAIT:g}; 0 in a terminal)",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=to_seconds,
        default=TIMEOUT,
        help="try so long to connect (default: %(default)g)",
    )
    reach.add_reach(parser)
    parser.set_defaults(run=run)


def to_seconds(text: str) -> float:
    """Read a time, in argparse's manner."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time in seconds")
    return seconds


def run(args: argparse.Namespace) -> int:
    """Talk until either side ends it; return the exit code."""
    if len(set(args.transport or ())) < len(args.transport or ()):
        print("hybridws connect: each --transport can be named once", file=sys.stderr)
        return MISUSED
    try:
        return asyncio.run(Talk(args).run())
    except KeyboardInterrupt:  # where the loop takes no signals (Windows)
        return BY_SIGNAL


# ── lines and values ──────────────────────────────────────────────────────────────────────────────────────────────


def to_value(line: bytes, *, as_json: bool) -> object:
    """Read what a line of the input says. Raises ValueError."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    if not as_json:
        return text
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if isinstance(value, dict) and value.keys() == {BYTES}:
        try:
            return base64.b64decode(value[BYTES], validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise ValueError(f"{BYTES} is not base64") from None
    return value


def to_json(value: object) -> str:
    """Write a message as JSON in one line."""
    if isinstance(value, bytes):
        value = {BYTES: base64.b64encode(value).decode()}
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def to_line(value: object) -> str:
    """Write a message for people: text as it is, bytes in hexadecimal, anything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return f"<{len(value)} bytes: {value.hex(' ')}>"
    return to_json(value)


# ── the three streams of a process ────────────────────────────────────────────────────────────────────────────────


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


class Told(NamedTuple):
    """One line on stderr."""

    words: str
    style: str
    facts: dict[str, object]
    """The same with --json."""


# ── the talk ──────────────────────────────────────────────────────────────────────────────────────────────────────


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
        with contextlib.suppress(SessionClosed), contextlib.closing(_raw_input()) as source:
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


def _raw_input() -> io.RawIOBase:
    return io.FileIO(sys.stdin.fileno(), closefd=False)


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
