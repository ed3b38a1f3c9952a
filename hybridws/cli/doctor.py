"""`hybridws doctor`: which transports work from here, how fast, and what stands in the way of the others."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import sys
import textwrap
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from yarl import URL

from hybridws import client
from hybridws.cli import probes, reach
from hybridws.cli.connect import LOOK_EVERY, serving, to_seconds
from hybridws.cli.ink import harmless, ink, span
from hybridws.cli.probes import Fault, Finding, Pass, Road
from hybridws.cli.route import Route, explore, is_local
from hybridws.client.connection import ORDER
from hybridws.errors import SessionClosed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping
    from typing import TextIO

    from hybridws.client import Event

ALL_WORK: Final = 0
SOME_FALL_BACK: Final = 1
NOTHING_WORKS: Final = 2
BY_SIGNAL: Final = 130
EXITS: Final = "exit codes: 0 every transport works · 1 some do not, sessions fall back · 2 nothing works"

WATCH: Final = 4.0
"""Seconds for which each transport is left alone: long enough for most faults, short enough to wait for."""
SETTLE: Final = 3.0
"""Seconds that a session which is just now between two transports has to find the next."""
LONGEST_WATCH: Final = 570.0
"""A stream is ended by the server itself after ten minutes."""
WIDTH: Final = 100
"""Columns of running text at most: longer lines are hard to read."""
PROBES: Final = {"websocket": probes.try_websocket, "stream": probes.try_stream, "poll": probes.try_poll}
NAMES: Final = {"websocket": ("WebSocket", "WebSocket"), "stream": ("a stream", "streams"), "poll": ("a poll", "polls")}
"""What each is called in a sentence: one, and many."""


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
    parser.add_argument("--json", action="store_true", help="say it as one JSON object")
    parser.add_argument(
        "--via",
        metavar="MODE",
        help="put a hostile network in front, to see what it does: ws_refused, ws_dies:500 ... (--via help lists all)",
    )
    reach.add_reach(parser)
    parser.set_defaults(run=run)


def to_watch(text: str) -> float:
    """Read the time to watch, in argparse's manner."""
    seconds = to_seconds(text)
    if seconds > LONGEST_WATCH:
        raise argparse.ArgumentTypeError(f"{text} is too long: {LONGEST_WATCH:g} s at most")
    return seconds


def run(args: argparse.Namespace) -> int:
    """Examine, report, and return the exit code."""
    if args.via == "help":
        from hybridws.testing import usage  # noqa: PLC0415 - for those who ask only

        print(usage())
        return ALL_WORK
    if args.via and args.proxy:
        print("hybridws doctor: --via is a network of its own, without a --proxy", file=sys.stderr)
        return NOTHING_WORKS
    try:
        report = asyncio.run(_examine(args))
    except ValueError as error:
        print(f"hybridws doctor: {error}", file=sys.stderr)
        return NOTHING_WORKS
    except KeyboardInterrupt:
        print("hybridws doctor: stopped before the end", file=sys.stderr)
        return BY_SIGNAL
    print(json.dumps(report.as_json(), indent=2) if args.json else "\n".join(_lines(report, sys.stdout)))
    return report.exit_code


# ── the examination ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Trial:
    """What became of a real session, left to choose its transports."""

    transport: str | None = None
    """What carried it in the end."""
    opened: float | None = None
    """Seconds until a transport carried it."""
    interruptions: int = 0
    fault: str | None = None


@dataclass(slots=True)
class Report:
    """All that was found out."""

    url: str
    via: str | None
    watched: float
    route: Route
    ticket: Pass | None = None
    fault: Fault | None = None
    """Why there is no session at all."""
    stumbles: list[str] = field(default_factory=list)
    sockjs: bool = False
    """Whether the server speaks SockJS at least, where it does not speak our protocol."""
    findings: list[Finding] = field(default_factory=list)
    trial: Trial = field(default_factory=Trial)

    @property
    def offered(self) -> list[Finding]:
        """The transports that the server has."""
        return [finding for finding in self.findings if finding.state != "not offered"]

    @property
    def exit_code(self) -> int:
        """What a script wants to know."""
        if self.trial.transport is None:
            return NOTHING_WORKS
        return ALL_WORK if all(finding.good for finding in self.findings) else SOME_FALL_BACK

    def as_json(self) -> dict[str, Any]:
        """Return all of it for programs; times are in seconds."""
        said = self.ticket.said if self.ticket else {}
        server = {
            "ours": self.ticket is not None or (self.fault is not None and self.fault.by == "server"),
            "sockjs": self.sockjs,
            "fault": self.fault.words if self.fault else None,
            "opened": self.ticket.took if self.ticket else None,
            "http": self.ticket.version if self.ticket else None,
            "via": self.ticket.via if self.ticket else None,
            **{name: said.get(name) for name in ("heartbeat", "poll_timeout", "resume", "transports")},
            "stumbles": self.stumbles,
        }
        facts = {
            "url": self.url,
            "network": self.via,
            "watched": self.watched,
            "route": asdict(self.route),
            "server": server,
            "transports": {finding.transport: _without(asdict(finding), "transport") for finding in self.findings},
            "session": asdict(self.trial),
            "verdict": verdict(self),
            "advice": advice(self),
            "exit_code": self.exit_code,
        }
        return {key: _rounded(value) for key, value in facts.items()}


def _rounded(value: object) -> object:
    """Leave no more digits of a time than were measured."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def _without(facts: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key != name}


async def _examine(args: argparse.Namespace) -> Report:
    settings = reach.options(args)
    async with _network(args.url, args.via) as url:
        if args.via:
            settings["trust_env"] = False
        base = URL(url)
        base = base.with_scheme({"ws": "http", "wss": "https"}.get(base.scheme, base.scheme))
        with _progress(args.watch, quiet=args.json):
            async with Road(url, settings) as road:
                exploring = asyncio.get_running_loop().create_task(explore(base, args.proxy, direct=bool(args.via)))
                stumbles: list[str] = []
                try:
                    ticket, fault = await probes.open_session(road, stumbles), None
                except Fault as trouble:
                    ticket, fault = None, trouble
                report = Report(args.url, args.via, args.watch, await exploring, ticket, fault, stumbles)
                if ticket is None:
                    report.sockjs = (
                        fault is not None and fault.status == probes.MISSING and await probes.is_sockjs(road)
                    )
                    return report
                await _try_all(report, road, ticket, url, settings)
        return report


@contextlib.asynccontextmanager
async def _network(url: str, mode: str | None) -> AsyncGenerator[str]:
    """Put a hostile proxy in front of the server, if one is asked for. Raises ValueError for a mode that is none."""
    if mode is None:
        yield url
        return
    from hybridws.testing import HostileProxy  # noqa: PLC0415 - for those who ask only

    base = URL(url)
    origin = str(base.with_scheme({"ws": "http", "wss": "https"}.get(base.scheme, base.scheme)))
    async with HostileProxy(origin, mode, rewrite_host=not is_local(base.host or "")) as proxy:
        yield proxy.url


@contextlib.contextmanager
def _progress(watch: float, *, quiet: bool) -> Generator[None]:
    """Tell whoever waits at a terminal what takes so long."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    print(f"looking, then leaving each transport alone for {span(watch)} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


async def _try_all(report: Report, road: Road, ticket: Pass, url: str, settings: Mapping[str, Any]) -> None:
    """Try each transport that the server offers, all at the same time, and a real session beside them."""
    offered = [name for name in PROBES if name in ticket.said["transports"]]
    loop = asyncio.get_running_loop()
    done: asyncio.Future[set[str]] = loop.create_future()
    trying = loop.create_task(_try_session(url, offered, settings, report.trial, done))
    cut: set[str] = set()
    try:
        found = await asyncio.gather(
            *(_try(name, road, report.watched, ticket if name == offered[0] else None) for name in offered)
        )
        cut = {finding.transport for finding in found if finding.state == "cut"}
    finally:
        done.set_result(cut if len(cut) < len(offered) else set())
        await trying
    by_name = {finding.transport: finding for finding in found}
    report.findings = [by_name.get(name) or Finding(name, "not offered", "is not offered here") for name in PROBES]


async def _try(name: str, road: Road, watch: float, ticket: Pass | None) -> Finding:
    stumbles: list[str] = []
    try:
        ticket = ticket or await probes.open_session(road, stumbles)
    except Fault as fault:
        finding = Finding(name, stumbles=stumbles)
        finding.fail(Fault(fault.state, f"gets no session: {fault.words}", fault.by))
        return finding
    finding = await PROBES[name](road, ticket, watch)
    finding.stumbles += stumbles
    finding.waver()
    await road.close(ticket)
    return finding


async def _try_session(
    url: str, transports: list[str], settings: Mapping[str, Any], trial: Trial, done: asyncio.Future[set[str]]
) -> None:
    """Hold a session as any client would, until all else is `done`, and the transports that were cut are known.

    It is then given a moment to leave those: it may be on its last try of one.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()

    def hear(event: Event) -> None:
        if event.state == "interrupted":
            trial.interruptions += 1

    try:
        async with client.connect(
            url, transports=[name for name in ORDER if name in transports], on_event=hear, **settings
        ) as connection:
            await connection.resumed
            trial.opened = loop.time() - begun
            doubtful = await done
            late = loop.time() + SETTLE
            while connection.closed is None and loop.time() < late:
                attempt = serving(connection)
                if attempt and attempt.transport not in doubtful:
                    break
                await asyncio.sleep(LOOK_EVERY)
            if attempt := serving(connection):
                trial.transport = attempt.transport
            else:
                trial.fault = next((a.failure for a in reversed(connection.info.attempts) if a.failure), None)
    except client.CannotConnect as error:
        trial.fault = str(error)
    except SessionClosed as error:
        trial.fault = str(error)


# ── what it means ─────────────────────────────────────────────────────────────────────────────────────────────────


def verdict(report: Report) -> str:
    """Say in a sentence or two what was found out."""
    if report.fault:
        return f"Nothing works: {_no_session(report)}."
    working = [NAMES[finding.transport][1] for finding in report.findings if finding.state == "works"]
    clauses = _troubles(report)
    if working and clauses:
        clauses.append(f"{_and(working)} {'works' if working == ['WebSocket'] else 'work'}")
    where = "here" if report.via is None else f"behind {report.via}"
    if not clauses and working:
        missing = [NAMES[finding.transport][1] for finding in report.findings if finding.state == "not offered"]
        all_of = "Everything works" if not missing else f"All that the server offers works ({_and(working)})"
        clauses.append(f"{all_of} {where}")
    carried = report.trial.transport
    dead = any(finding.transport == carried and finding.state == "dead" for finding in report.findings)
    runs = f"your sessions run over {carried}{' until they notice' if dead else ''}"
    clauses.append(runs if carried else "no session stays alive")
    text = "; ".join(clauses)
    return f"{text[0].upper()}{text[1:]}."


def _troubles(report: Report) -> list[str]:
    """Say what is wrong with each transport; what is wrong with several is said once."""
    clauses: list[str] = []
    said: set[str] = set()
    for finding in report.offered:
        if finding.good:
            continue
        name = NAMES[finding.transport][0]
        again = f"so {'is' if finding.words.startswith('is ') else 'does'} {name}"
        clauses.append(again if finding.words in said else f"{name} {finding.words}")
        said.add(finding.words)
    return clauses


def _no_session(report: Report) -> str:
    if report.sockjs:
        return "this server speaks SockJS, but not the protocol of hybridws: an old version, or another server"
    return report.fault.words.removeprefix("fails: ") if report.fault else ""


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


ADVICE: Final = {
    ("websocket", "refused"): "Let upgrades pass: whoever runs the proxy has to send on the headers Upgrade and "
    "Connection. Until then nothing is lost but speed.",
    ("websocket", "silent"): "Something answers upgrades, or swallows them, and understands no WebSocket: a proxy, a "
    "virus scanner or a balancer. With https:// it cannot look inside, unless it breaks TLS.",
    ("websocket", "fails"): "Something cuts upgrades instead of answering them: look at the proxy or firewall.",
    ("stream", "buffered"): "Something keeps answers until they are complete: proxy_buffering off (nginx), or the same "
    "for your proxy or virus scanner. With https:// most leave answers alone.",
    ("stream", "late"): "Something holds the beginning of answers back, as compression does: switch it off for "
    "text/event-stream.",
}
"""What can be done, by transport and state."""
SILENCE_ADVICE: Final = (
    "Connections are cut for silence: mount(..., heartbeat={:.1g}) says something in time, or raise the idle timeout "
    "of the proxy (proxy_read_timeout in nginx, timeout tunnel in HAProxy)."
)
AGE_ADVICE: Final = (
    "Connections are cut at a fixed age: look for a limit on the length of a connection in the proxy or firewall."
)
CAUSE_ADVICE: Final = {"silence": SILENCE_ADVICE, "age": AGE_ADVICE}
POLL_ADVICE: Final = "Requests that wait are cut: mount(..., poll_timeout={:.1g}) answers in time."
DEAD_ADVICE: Final = (
    "Connections are forgotten and nobody is told, as firewalls do: a shorter mount(..., heartbeat=...) keeps them."
)
FLAKY_ADVICE: Final = "Some requests fail by chance, as behind a gateway whose servers restart; sessions survive that."
STATE_ADVICE: Final = {"dead": DEAD_ADVICE, "flaky": FLAKY_ADVICE}
HTTP_PROXY_ADVICE: Final = (
    "The address is http:// and the way leads through a proxy, which sees all and may change it: https:// goes through "
    "it in a tunnel."
)
REFUSED_ADVICE: Final = "The server wants to know who you are: --auth, --cookie or --header."
LESS: Final = 0.6
"""The part of the time after which silence is cut at which something should be said (protocol §7)."""
UNAUTHENTICATED: Final = (401, 403)


def advice(report: Report) -> list[str]:
    """Say what can be done about it."""
    found: list[str] = []
    if report.fault and report.fault.by == "server" and report.fault.status in UNAUTHENTICATED:
        found.append(REFUSED_ADVICE)
    for finding in report.offered:
        if finding.by != "server":
            found += _advice_on(finding)
    if found and report.route.proxy and not report.route.tls:
        found.append(HTTP_PROXY_ADVICE)
    return list(dict.fromkeys(found))


def _advice_on(finding: Finding) -> list[str]:
    found = [ADVICE.get((finding.transport, finding.state), ""), STATE_ADVICE.get(finding.state, "")]
    if finding.cut is not None and finding.transport == "poll":
        found.append(POLL_ADVICE.format(finding.cut * LESS))
    elif finding.cut is not None and finding.cause:
        found.append(CAUSE_ADVICE[finding.cause].format(finding.cut * LESS))
    return [text for text in found if text]


# ── what is shown ─────────────────────────────────────────────────────────────────────────────────────────────────

COLOURS: Final = {"works": "green", "not offered": "dim", "flaky": "yellow", "late": "yellow", "cut": "yellow"}
"""Of states; all others are red."""
GAP: Final = "  "


def _lines(report: Report, stream: TextIO) -> list[str]:
    """Lay a report out for people."""
    paint = ink(stream)
    width = min(shutil.get_terminal_size().columns, WIDTH) if stream.isatty() else WIDTH
    facts = [("to", report.url), *_facts(report)]
    lines: list[str] = []
    for name, text in facts:
        wrapped = textwrap.wrap(harmless(text), max(width - 12, 20), break_on_hyphens=False)
        lines += [f"{paint(f'{name:<10}', 'dim')}{GAP}{wrapped[0]}", *(f"{'':10}{GAP}{line}" for line in wrapped[1:])]
    if report.findings:
        lines += ["", *_table(report, paint)]
    colour = ("green", "yellow", "red")[report.exit_code]
    lines.append("")
    lines += [paint(line, colour) for line in textwrap.wrap(harmless(verdict(report)), width, break_on_hyphens=False)]
    for text in advice(report):
        lines += textwrap.wrap(text, width, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
    return lines


def _facts(report: Report) -> list[tuple[str, str]]:
    """Say what the way there is, and what stands at its end."""
    route, ticket = report.route, report.ticket
    facts: list[tuple[str, str]] = []
    if report.via:
        facts.append(("network", f"a hostile one in front: {report.via}"))
    way = f"through the proxy {route.proxy} (from {route.source})" if route.proxy else "direct, without a proxy"
    if route.source == "no_proxy":
        way += " (no_proxy)"
    if route.connected is not None:
        way += f", connected in {span(route.connected)}"
    if route.fault:
        way += f"; {route.fault}"
    facts.append(("way", way))
    if route.version:
        issuer = f", certificate by {route.issuer}" if route.issuer else ""
        until = f", valid until {route.expires}" if route.expires else ""
        facts.append(("TLS", f"{route.version} in {span(route.shaken or 0)}{issuer}{until}"))
    if ticket:
        by = f", through {ticket.via}" if ticket.via else ""
        opened = f"opened a session in {span(ticket.took)}"
        facts.append(("server", f"hybridws, protocol {ticket.said['v']}, {opened} (HTTP/{ticket.version}{by})"))
    else:
        facts.append(("server", "hybridws" if report.fault and report.fault.by == "server" else "none of ours found"))
    facts += [("stumbled", f"the open {words}") for words in report.stumbles[:1]]
    return facts


def _table(report: Report, paint: Callable[[str, str], str]) -> list[str]:
    rows = [
        (
            finding.transport,
            _time(finding.attach),
            _time(finding.echo),
            f"{span(finding.idle)} ok" if finding.idle else f"cut {span(finding.cut)}" if finding.cut else "-",
            finding.state,
            COLOURS.get(finding.state, "red"),
        )
        for finding in report.findings
    ]
    trial = report.trial
    breaks = f", {trial.interruptions} interruption{'s' if trial.interruptions != 1 else ''}"
    ended = f"runs over {trial.transport}{breaks if trial.interruptions else ''}" if trial.transport else "does not run"
    rows.append(("a session", _time(trial.opened), "", "", ended, "green" if trial.transport else "red"))
    head = ("", "attach", "echo", "left alone", "")
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(4)]
    widths[0] = 10
    lines = [paint(GAP.join(f"{head[i]:<{widths[i]}}" for i in range(4)), "dim")]
    for row in rows:
        cells = GAP.join(f"{row[i]:<{widths[i]}}" for i in range(4))
        lines.append(f"{cells}{GAP}{paint(row[4], row[5])}")
    return [line.rstrip() for line in lines]


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else span(seconds)
