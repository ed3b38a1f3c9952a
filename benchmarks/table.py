"""Turns measures into Markdown."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.catalogue import BOUNDS, PEERS, TARGETS, WORKLOADS, Workload

if TYPE_CHECKING:
    from benchmarks.load import Measure

FULL: Final = 0.9
"""A core that is busier than this was the limit."""

Results = dict[tuple[str, str], list["Measure"]]
"""The rounds of each workload and peer, by their names."""


def spread(values: list[float], form: str = ".1f") -> str:
    """Write a median and between what the rounds lay."""
    if len(values) == 1:
        return format(values[0], form)
    return f"{median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def ratios(ours: list[Measure], theirs: list[Measure]) -> list[float]:
    """Return, round by round, how many times our server CPU a peer needs."""
    return [their.cpu / our.cpu for our, their in zip(ours, theirs, strict=False) if our.cpu]


def limit(rounds: list[Measure]) -> str:
    """Say what kept the rate from being higher, where it was not the server."""
    busy, own = median(one.busy for one in rounds), median(one.own_busy for one in rounds)
    if busy >= FULL:
        return ""
    if own >= FULL:
        return f"the generator was the limit (server {busy:.0%} busy)"
    return f"server {busy:.0%} busy, generator {own:.0%}"


def write(results: Results, left_out: dict[str, str], about: str) -> str:
    """Write all tables."""
    parts = [header(about)]
    if left_out:
        titles = {peer.name: peer.title for peer in PEERS}
        parts.append(
            "Left out: " + "; ".join(f"{titles.get(name, name)} ({why})" for name, why in left_out.items()) + "."
        )
    parts += [section for workload in WORKLOADS if (section := _section(workload, results))]
    parts += [section for section in (_growth(results), _targets(results), _bounds(results)) if section]
    return "\n\n".join(parts) + "\n"


def header(about: str) -> str:
    """Say when and on what this was measured."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} with Python {platform.python_version()}, "
        f"{platform.system()} {platform.release().split('-')[0]}, {os.cpu_count()} × {model}. {about}"
    )


def _section(workload: Workload, results: Results) -> str:
    rows = [(peer, results[workload.name, peer.name]) for peer in PEERS if results.get((workload.name, peer.name))]
    if not rows:
        return ""
    sessions = min(one.sessions for _, rounds in rows for one in rounds)
    lines = [f"### {workload.title}", ""]
    if sessions < workload.sessions and workload.mode != "opens":
        lines += [f"Only {sessions:,} sessions: the machine allows no more open files.", ""]
    if workload.mode == "idle":
        lines += ["| server | kB for each |", "|---|---|"]
        lines += [f"| {peer.title} | {spread([one.kilobytes for one in rounds])} |" for peer, rounds in rows]
        return "\n".join(lines)
    base, plain = rows[0][1], rows[0][0].title.replace("**", "")
    unit = {"opens": "session", "fanout": "delivery"}.get(workload.mode, "message")
    lines += [
        f"| server | server CPU, µs per {unit} | × that of {plain} | per second | lag p99, ms | |",
        "|---|---|---|---|---|---|",
    ]
    for peer, rounds in rows:
        cells = (
            peer.title,
            spread([one.cpu for one in rounds]),
            spread(ratios(base, rounds), ".2f"),
            f"{median(one.rate for one in rounds):,.0f}",
            f"{median(one.lag for one in rounds):.1f}",
            limit(rounds),
        )
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return "\n".join(lines)


def _growth(results: Results) -> str:
    lines = []
    for peer in PEERS:
        few, some, many = (results.get((name, peer.name)) for name in ("grow-100", "grow-1000", "grow-10000"))
        if few and some and many:
            cells = (peer.title, *(spread(ratios(few, other), ".2f") for other in (some, many)))
            lines.append(f"| {' | '.join(cells)} |")
    if not lines:
        return ""
    head = ["### Growth: server CPU for a message, against that with 100 sessions", "", "| server | 1,000 | 10,000 |"]
    return "\n".join([*head, "|---|---|---|", *lines])


def _targets(results: Results) -> str:
    titles = {peer.name: peer.title.replace("**", "") for peer in PEERS}
    names = {workload.name: workload.title for workload in WORKLOADS}
    lines = []
    for target in TARGETS:
        theirs = results.get((target.workload, target.peer))
        for ours in target.ours:
            mine = results.get((target.workload, ours))
            if not (mine and theirs):
                continue
            reached = ratios(mine, theirs)
            verdict = (
                "reached"
                if median(reached) >= target.factor
                else f"missed by {1 - median(reached) / target.factor:.0%}"
            )
            cells = (
                names[target.workload],
                titles[ours],
                titles[target.peer],
                f"{target.factor:g}",
                spread(reached, ".2f"),
            )
            lines.append(f"| {' | '.join(cells)} | {verdict} |")
    if not lines:
        return ""
    head = ["### Targets: how many times our server CPU another needs for the same", ""]
    return "\n".join(
        [*head, "| workload | ours | against | target | measured | |", "|---|---|---|---|---|---|", *lines]
    )


def _bounds(results: Results) -> str:
    titles = {peer.name: peer.title.replace("**", "") for peer in PEERS}
    lines = []
    for bound in BOUNDS:
        for ours in bound.ours:
            rounds, base = results.get((bound.workload, ours)), results.get((bound.against, ours))
            if not rounds or (bound.against and not base):
                continue
            values = ratios(base, rounds) if base else [getattr(one, bound.what) for one in rounds]
            verdict = "kept" if median(values) <= bound.most else f"over by {median(values) / bound.most - 1:.0%}"
            cells = (bound.title, titles[ours], f"{bound.most:g} {bound.unit}", spread(values), verdict)
            lines.append(f"| {' | '.join(cells)} |")
    if not lines:
        return ""
    return "\n".join(["### Bounds", "", "| | ours | at most | measured | |", "|---|---|---|---|---|", *lines])
