"""The examination: the way there, each transport, and a real session beside them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Any, Final

from yarl import URL

from hybridws import client
from hybridws.cli import reach
from hybridws.cli.connect.talk import LOOK_EVERY, serving
from hybridws.cli.doctor import probes
from hybridws.cli.doctor.faults import (
    MISSING,
    Fault,
    Finding,
)
from hybridws.cli.doctor.report import Report, Trial
from hybridws.cli.doctor.road import Pass, Road, is_sockjs, open_session
from hybridws.cli.doctor.route import explore, is_local
from hybridws.cli.ink import span
from hybridws.client.connection import ORDER
from hybridws.errors import SessionClosed

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncGenerator, Generator, Mapping

    from hybridws.client import Event

SETTLE: Final = 3.0
"""Seconds that a session which is just now between two transports has to find the next."""
PROBES: Final = {"websocket": probes.try_websocket, "stream": probes.try_stream, "poll": probes.try_poll}


async def examine(args: argparse.Namespace) -> Report:
    """Look at the way there, try each transport, and hold a session. Raises ValueError for an address that is none."""
    settings = reach.options(args)
    async with _network(args.url, args.via) as url:
        if args.via:
            settings["trust_env"] = False
        base = URL(url)
        base = base.with_scheme({"ws": "http", "wss": "https"}.get(base.scheme, base.scheme))
        with _progress(args.watch, quiet=args.json):
            async with Road(url, settings, args.patience) as road:
                exploring = asyncio.get_running_loop().create_task(explore(base, args.proxy, direct=bool(args.via)))
                stumbles: list[str] = []
                try:
                    ticket, fault = await open_session(road, stumbles), None
                except Fault as trouble:
                    ticket, fault = None, trouble
                report = Report(args.url, args.via, args.watch, await exploring, ticket, fault, stumbles)
                if ticket is None:
                    report.sockjs = fault is not None and fault.status == MISSING and await is_sockjs(road)
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
        ticket = ticket or await open_session(road, stumbles)
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
