"""`python -m benchmarks`: starts each server alone on one core, the load on another, and prints what it measured."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from benchmarks import install, load, machine, table
from benchmarks.catalogue import PEERS, WORKLOADS, Peer, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Row = TypeVar("Row", Peer, Workload)

BEGIN: Final = "<!-- measured by `make bench`: from here … -->"
END: Final = "<!-- … to here -->"
IDLE_ROUNDS: Final = 3
"""Memory does not vary as time does, and ten thousand sessions take their time."""
ENVIRONMENT: Final = {"PYTHONDONTWRITEBYTECODE": "1", "NODE_ENV": "production"}
ROOT: Final = Path(__file__).parent.parent


def arguments() -> argparse.ArgumentParser:
    """Say which arguments the command takes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = ", ".join(workload.name for workload in WORKLOADS)
    peers = ", ".join(peer.name for peer in PEERS)
    parser.add_argument("--only", type=_names(WORKLOADS), help=f"workloads, with commas between: {names}")
    parser.add_argument("--peers", type=_names(PEERS), help=f"servers, with commas between: {peers}")
    parser.add_argument("--rounds", type=int, default=7, help="rounds through all servers (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="that one run counts (default: %(default)s)")
    parser.add_argument("--write", type=Path, help="put the tables between the markers of this page")
    parser.add_argument("--json", type=Path, help="put every single measure into this file")
    return parser


def _names(rows: Sequence[Row]) -> Callable[[str], list[Row]]:
    known = {row.name: row for row in rows}

    def read(text: str) -> list[Row]:
        if unknown := set(text.split(",")) - known.keys():
            raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        return [row for name, row in known.items() if name in text.split(",")]

    return read


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what the arguments say; return the exit code: 1 if anything went wrong."""
    args = arguments().parse_args(argv)
    try:
        machine.two_cores()
        load.build()
    except machine.Failure as failure:
        print(f"benchmarks: {failure}", file=sys.stderr)
        return 1
    descriptors = machine.descriptors()
    commands, left_out = ready(args.peers or PEERS)
    results: table.Results = {}
    failures = 0
    for workload in args.only or WORKLOADS:
        rounds = min(args.rounds, IDLE_ROUNDS) if workload.mode == "idle" else args.rounds
        suited = [peer for peer in PEERS if peer.name in commands and load.suits(peer, workload)]
        for turn in range(rounds):
            for peer in suited:
                failures += not run(results, peer, commands[peer.name], workload, descriptors, args.seconds)
            print(f"{workload.name}: round {turn + 1} of {rounds}", file=sys.stderr)
    about = f"{args.rounds} rounds of {args.seconds:g} s, the servers in turn; in brackets the least and the most."
    text = table.write(results, left_out, about)
    print(text)
    if args.write:
        put(args.write, text)
    if args.json:
        args.json.write_text(json.dumps({f"{w}/{p}": [one._asdict() for one in m] for (w, p), m in results.items()}))
    return 1 if failures else 0


Commands = dict[str, list[str | Path]]


def ready(peers: Sequence[Peer]) -> tuple[Commands, dict[str, str]]:
    """Install what is wanted; return how each peer is started, and of the others why not."""
    commands: Commands = {}
    left_out: dict[str, str] = {}
    for peer in peers:
        command, fault = install.command(peer)
        if not fault:
            try:
                with machine.serving(command, ROOT, ENVIRONMENT):
                    commands[peer.name] = command
                    continue
            except machine.Failure as failure:
                fault = str(failure)
        left_out[peer.name] = fault
        print(f"left out: {peer.name}: {fault}", file=sys.stderr)
    return commands, left_out


def run(  # noqa: PLR0913, PLR0917 - one cell of the table
    results: table.Results,
    peer: Peer,
    command: list[str | Path],
    workload: Workload,
    descriptors: int,
    seconds: float,
) -> bool:
    """Measure a workload on a peer once, note it, and tell whether it went well."""
    try:
        with machine.serving(command, ROOT, ENVIRONMENT) as server:
            sessions = load.fitting(peer, workload, descriptors)
            measured = load.measure(server, peer, workload, sessions, seconds)
    except machine.Failure as failure:
        print(f"{workload.name}, {peer.name}: {failure}", file=sys.stderr)
        return False
    results.setdefault((workload.name, peer.name), []).append(measured)
    return True


def put(page: Path, text: str, begin: str = BEGIN, end: str = END) -> None:
    """Put a text between the markers of a page."""
    before, _, rest = page.read_text().partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}\n\n{text}\n{end}{after}")


if __name__ == "__main__":
    sys.exit(main())
