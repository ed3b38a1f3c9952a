"""`hybridws doctor`: which transports work from here, how fast, and what stands in the way of the others."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import TYPE_CHECKING, Final

from hybridws.cli import reach
from hybridws.cli.doctor.examine import examine
from hybridws.cli.doctor.report import ALL_WORK, NOTHING_WORKS
from hybridws.cli.doctor.show import as_json, lines
from hybridws.cli.reach import to_seconds
from hybridws.core.ladder import PROOF

if TYPE_CHECKING:
    from collections.abc import Callable

BY_SIGNAL: Final = 130
EXITS: Final = "exit codes: 0 every transport works · 1 some do not, sessions fall back · 2 nothing works"
WATCH: Final = 4.0
"""Seconds for which each transport is left alone: long enough for most faults, short enough to wait for."""
LONGEST_WATCH: Final = 570.0
"""A stream is ended by the server itself after ten minutes."""


def add(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Say which arguments the command takes."""
    parser = add_parser(
        "doctor",
        help="say which transports work from here, and why others do not",
        description="Try every transport on the way to a server, and say in plain words which work. The server's "
        "application sees a few sessions that open, say nothing, and close.",
        epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--watch",
        metavar="SECONDS",
        type=to_watch,
        default=WATCH,
        help="leave each transport alone for so long, to see whether it is cut (default: %(default)g); many proxies "
        "cut after 30, 60 or 100",
    )
    parser.add_argument(
        "--patience",
        metavar="SECONDS",
        type=to_patience,
        default=PROOF,
        help="wait so long for each answer, as sessions do (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="say it as one JSON object")
    parser.add_argument(
        "--via",
        metavar="MODE",
        type=to_network,
        help="put a hostile network in front, to see what it does: ws_refused, ws_dies:500 ... (--via help lists all)",
    )
    reach.add_reach(parser)
    parser.set_defaults(run=run)


def to_network(text: str) -> str:
    """Show all networks, if they are asked for; no address is needed for that."""
    if text == "help":
        from hybridws.testing import usage  # noqa: PLC0415 - for those who ask only

        print(usage())
        raise SystemExit(ALL_WORK)
    return text


def to_watch(text: str) -> float:
    """Read the time to watch, in argparse's manner."""
    seconds = to_seconds(text)
    if seconds > LONGEST_WATCH:
        raise argparse.ArgumentTypeError(f"{text} is too long: {LONGEST_WATCH:g} s at most")
    return seconds


def to_patience(text: str) -> float:
    """Read how long an answer is waited for, in argparse's manner."""
    seconds = to_seconds(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no time in which an answer could come")
    return seconds


def run(args: argparse.Namespace) -> int:
    """Examine, report, and return the exit code."""
    if args.via and args.proxy:
        print("hybridws doctor: --via is a network of its own, without a --proxy", file=sys.stderr)
        return NOTHING_WORKS
    try:
        report = asyncio.run(examine(args))
    except ValueError as error:
        print(f"hybridws doctor: {error}", file=sys.stderr)
        return NOTHING_WORKS
    except KeyboardInterrupt:
        print("hybridws doctor: stopped before the end", file=sys.stderr)
        return BY_SIGNAL
    print(json.dumps(as_json(report), indent=2) if args.json else "\n".join(lines(report, sys.stdout)))
    return report.exit_code
