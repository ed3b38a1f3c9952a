"""The command `hybridws`: one room for each of its commands, with `add` (its arguments) and `run` (what it does)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hybridws.cli import bench, connect, demo, doctor, serve, torture
from hybridws.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COMMANDS = (serve, demo, connect, doctor, bench, torture)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` names (default: what the shell gave) and return its exit code."""
    parser = argparse.ArgumentParser(prog="hybridws", description="Message sessions that get through any network.")
    parser.add_argument("--version", action="version", version=f"hybridws {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(subparsers.add_parser)
    args = parser.parse_args(argv)
    run: Callable[[argparse.Namespace], int] = args.run
    return run(args)
