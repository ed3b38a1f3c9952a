"""The command `hybridws`: one room for each of its commands, with `add` (its arguments) and `run` (what it does)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

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

    def add(name: str, **more: Any) -> argparse.ArgumentParser:  # noqa: ANN401 - argparse's own
        command = subparsers.add_parser(name, **more)
        command.set_defaults(command=command)
        return command

    for command in COMMANDS:
        command.add(add)
    args, unknown = parser.parse_known_args(argv)
    if unknown:  # told by the command itself, whose usage shows what there is
        args.command.error(f"there is no {' '.join(unknown)}")
    run: Callable[[argparse.Namespace], int] = args.run
    return run(args)
