"""`hybridws connect`: type lines, see messages, over whatever transport gets through."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING, Final

from hybridws.cli import reach
from hybridws.cli.connect.talk import BY_SIGNAL, MISUSED, WAIT, Talk
from hybridws.cli.connect.values import BYTES
from hybridws.cli.reach import to_seconds
from hybridws.client.connection import ORDER

if TYPE_CHECKING:
    from collections.abc import Callable

EXITS: Final = """\
exit codes: 0 closed normally · 1 cannot connect · 2 not understood: an argument, or a line that cannot be sent ·
3 the session was lost, or closed with an error; what was not acknowledged is listed
"""
TIMEOUT: Final = 10.0
"""Seconds for which it is tried to connect; whoever waits at a terminal wants to know."""


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


def run(args: argparse.Namespace) -> int:
    """Talk until either side ends it; return the exit code."""
    if len(set(args.transport or ())) < len(args.transport or ()):
        print("hybridws connect: each --transport can be named once", file=sys.stderr)
        return MISUSED
    try:
        return asyncio.run(Talk(args).run())
    except KeyboardInterrupt:  # where the loop takes no signals (Windows)
        return BY_SIGNAL
