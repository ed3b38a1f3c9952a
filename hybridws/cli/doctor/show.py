"""A report as people read it, and as programs do."""

from __future__ import annotations

import shutil
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, TextIO

from hybridws.cli.doctor.verdict import advice, verdict
from hybridws.cli.ink import harmless, ink, span

if TYPE_CHECKING:
    from collections.abc import Callable

    from hybridws.cli.doctor.report import Report

WIDTH: Final = 100
"""Columns of running text at most: longer lines are hard to read."""
COLOURS: Final = {"works": "green", "not offered": "dim", "flaky": "yellow", "late": "yellow", "cut": "yellow"}
"""Of states; all others are red."""
GAP: Final = "  "


def lines(report: Report, stream: TextIO) -> list[str]:
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


# ── for programs ──────────────────────────────────────────────────────────────────────────────────────────────────


def as_json(report: Report) -> dict[str, Any]:
    """Return all of it for programs; times are in seconds."""
    said = report.ticket.said if report.ticket else {}
    server = {
        "ours": report.ticket is not None or (report.fault is not None and report.fault.by == "server"),
        "sockjs": report.sockjs,
        "fault": report.fault.words if report.fault else None,
        "opened": report.ticket.took if report.ticket else None,
        "http": report.ticket.version if report.ticket else None,
        "via": report.ticket.via if report.ticket else None,
        **{name: said.get(name) for name in ("heartbeat", "poll_timeout", "resume", "transports")},
        "stumbles": report.stumbles,
    }
    facts = {
        "url": report.url,
        "network": report.via,
        "watched": report.watched,
        "route": asdict(report.route),
        "server": server,
        "transports": {finding.transport: _without(asdict(finding), "transport") for finding in report.findings},
        "session": asdict(report.trial),
        "verdict": verdict(report),
        "advice": advice(report),
        "exit_code": report.exit_code,
    }
    return {key: _rounded(value) for key, value in facts.items()}


def _rounded(value: object) -> object:
    """Leave no more digits of a time than were measured."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def _without(facts: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key != name}
