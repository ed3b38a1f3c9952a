"""`hybridws torture`: kills, switches, stalls and hostile input against a running server, with everything counted."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from hybridws.cli import reach
from hybridws.cli.ink import harmless, ink
from hybridws.cli.reach import to_seconds
from hybridws.cli.torture.assault import SHOWN, Assault, Front, assaults
from hybridws.cli.torture.dialects import DIALECTS
from hybridws.cli.torture.peers import FAULTS
from hybridws.cli.torture.trials import Load, Trial, Way, hold, kills, stalls, switches
from hybridws.gate import origin_of
from hybridws.testing import HostileProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

UNHARMED: Final = 0
HARMED: Final = 1
MISUSED: Final = 2
NOT_THERE: Final = 3
EXITS: Final = """\
The handler behind URL must say every text back (of Socket.IO: the event of --event). Do not aim it at a server that
others are using: hostile input is sent to it, and some of that is meant to bring it down.

  kills     all connections are reset, again and again, while messages pass
  stalls    the cable is pulled: what is open passes nothing more, and nobody is told
  switches  the network changes, so that the session moves from transport to transport (hybridws only)
  hostile   requests, bodies, packets and frames that no good client sends

SockJS and Socket.IO keep no session when its connection breaks, so there messages are lost: how many is the comparison.

exit codes: 0 unharmed · 1 something was lost, repeated, disordered, or the server took harm
            2 an argument is not understood · 3 no session could be opened at all
"""
TRIALS: Final = ("kills", "stalls", "switches", "hostile")
SECONDS: Final = 14.0
KILLS: Final = 5
STALLS: Final = 2
SWITCHES: Final = 20
RATE: Final = 200.0
ROUND_TRIP: Final = 20
PATIENCE: Final = 40.0
"""Seconds for all that is owed at the end: more than any client needs to notice a dead peer (30 s)."""
MOST: Final = 1.0


def add(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Say which arguments the command takes."""
    parser = add_parser(
        "torture",
        help="kill connections of a running server, send it hostile input, and count what was lost",
        description="Torture a running server and count what that does to it and to its clients.",
        epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", choices=TRIALS, action="append", help="hold this trial only; may be repeated (default: all)"
    )
    parser.add_argument("--protocol", choices=DIALECTS, default="hybridws", help="default: %(default)s")
    parser.add_argument("--transport", metavar="NAME", action="append", help="over this one only; may be repeated")
    parser.add_argument("--seconds", type=to_seconds, default=SECONDS, help="length of a trial (default: %(default)g)")
    parser.add_argument(
        "--rate", metavar="N", type=_count, default=RATE, help="messages a second (default: %(default)g)"
    )
    parser.add_argument("--kills", metavar="N", type=_count, default=KILLS, help="default: %(default)s")
    parser.add_argument("--stalls", metavar="N", type=_count, default=STALLS, help="default: %(default)s")
    parser.add_argument("--switches", metavar="N", type=_count, default=SWITCHES, help="default: %(default)s")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=to_seconds,
        default=MOST,
        help="for one hostile input (default: %(default)g)",
    )
    parser.add_argument(
        "--patience",
        metavar="SECONDS",
        type=to_seconds,
        default=PATIENCE,
        help="for what is owed (default: %(default)g)",
    )
    parser.add_argument("--event", default="message", help="of Socket.IO, that is said back (default: %(default)s)")
    parser.add_argument("--seed", type=_count, help="hold the same trial again")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    reach.add_reach(parser)
    parser.set_defaults(run=run)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 10**6):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to 1000000")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Hold the trials; return the exit code."""
    dialect = DIALECTS[args.protocol]
    if unknown := set(args.transport or ()) - set(dialect.transports):
        print(
            f"hybridws torture: no transport {', '.join(sorted(unknown))} of {args.protocol}, "
            f"but {', '.join(dialect.transports)}",
            file=sys.stderr,
        )
        return MISUSED
    try:
        return asyncio.run(_all(args))
    except KeyboardInterrupt:
        return MISUSED


async def _all(args: argparse.Namespace) -> int:
    seed = args.seed or random.SystemRandom().randrange(1, 10**6)
    begun = time.monotonic()
    trials: list[Trial] = []
    found: list[Assault] = []
    paint = ink(sys.stdout)
    if not args.json:
        print(HEAD)
    async for trial in _trials(args, random.Random(seed)):  # noqa: S311 - so that a trial can be held again
        trials.append(trial)
        if not args.json:
            print(paint(_line(trial), "" if trial.passed else "red"), flush=True)
    if not args.only or "hostile" in args.only:
        found = await _assault(args)
        if not args.json:
            for one in found:
                print(paint(_assault_line(one), "" if one.passed else "red"))
    alive = await _is_alive(args)
    faults = [trial for trial in trials if trial.fault]
    passed = alive and all(trial.passed for trial in trials) and all(one.passed for one in found)
    if args.json:
        print(
            json.dumps(
                {
                    "url": args.url,
                    "protocol": args.protocol,
                    "seed": seed,
                    "passed": passed,
                    "alive": alive,
                    "seconds": round(time.monotonic() - begun, 1),
                    "trials": [{**trial._asdict(), "passed": trial.passed} for trial in trials],
                    "hostile": [{**one._asdict(), "passed": one.passed} for one in found],
                }
            )
        )
    else:
        print(
            f"{'unharmed' if passed else 'HARMED'}{'' if alive else '; the server answers no more'}"
            f" (the same again: --seed {seed})"
        )
    if not alive and len(faults) == len(trials) and all(one.wrongs for one in found):
        return NOT_THERE
    return UNHARMED if passed else HARMED


HEAD: Final = (
    f"{'':<10}{'transport':<11}{'faults':>7}{'sent':>8}{'lost':>7}{'twice':>7}{'order':>7}{'resets':>8}{'longest':>10}"
)


def _line(trial: Trial) -> str:
    head = f"{trial.name:<10}{trial.transport:<11}"
    if trial.fault:
        return f"{head}{harmless(trial.fault)}"
    return (
        f"{head}{trial.faults:>7}{trial.sent:>8}{trial.lost:>7}{trial.twice:>7}{trial.disordered:>7}{trial.resets:>8}"
        f"{trial.longest:>8.2f} s"
    )


def _assault_line(one: Assault) -> str:
    head = f"{'hostile':<10}{one.name:<44}{one.inputs:>5} inputs, slowest {one.slowest:.2f} s"
    shown = "".join(f"\n{'':<10}  {harmless(wrong)}" for wrong in one.wrongs[:SHOWN])
    return f"{head}, {len(one.wrongs)} wrong{shown}" if one.wrongs else head


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """Return what a client is told, whichever it is: pages of the server's own origin may connect."""
    options = reach.options(args)
    origin = origin_of(args.url.replace("ws", "http", 1) if args.url.startswith("ws") else args.url)
    return {**options, "headers": {"Origin": origin, **options["headers"]}, "proxy": None, "open_timeout": 10.0}


async def _trials(args: argparse.Namespace, rng: random.Random) -> AsyncIterator[Trial]:
    dialect = DIALECTS[args.protocol]
    load = Load(args.rate, args.seconds, args.patience, rng)
    options = _options(args)
    if args.protocol == "socketio":
        options["event"] = args.event
    ways: dict[str, Way] = {
        "kills": kills(args.kills),
        "stalls": stalls(args.stalls),
        "switches": switches(args.switches),
    }
    for name in args.only or TRIALS:
        if name == "hostile" or (name == "switches" and not dialect.resumes):
            continue
        for transport in [None] if name == "switches" else args.transport or dialect.transports:
            origin = args.url.replace("ws", "http", 1) if args.url.startswith("ws") else args.url
            async with HostileProxy(origin, mode=f"slow:0:{ROUND_TRIP}", rewrite_host=True) as proxy:
                peer = dialect.peer(proxy.url, transport, options)
                try:
                    yield await hold(name, transport, proxy, peer, load, ways[name])
                except FAULTS as error:
                    await peer.close()
                    yield Trial(name, transport or "all", 0, 0, 0, 0, 0, 0.0, 0, str(error) or type(error).__name__)


async def _assault(args: argparse.Namespace) -> list[Assault]:
    dialect = DIALECTS[args.protocol]
    front = Front(args.url, dialect, args.timeout, None)
    try:
        return await assaults(front, dialect, args.protocol)
    except (OSError, TimeoutError) as error:
        return [Assault("all", 0, 0.0, [f"the server cannot be reached: {str(error) or type(error).__name__}"])]


async def _is_alive(args: argparse.Namespace) -> bool:
    """Tell whether a good client is served at the end of it all."""
    dialect = DIALECTS[args.protocol]
    options = _options(args) | ({"event": args.event} if args.protocol == "socketio" else {})
    peer = dialect.peer(args.url, dialect.transports[-1], options)
    try:
        async with asyncio.timeout(PATIENCE):
            await peer.open()
            hearing = asyncio.ensure_future(anext(aiter(peer)))
            await peer.send("alive?")
            return await hearing == "alive?"
    except FAULTS:
        return False
    finally:
        await peer.close()
