"""`hybridws demo`: the chat of examples/chat, whose network you may break, for a look with a browser."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import functools
import importlib.util
import ipaddress
import signal
import sys
import webbrowser
from typing import TYPE_CHECKING

from aiohttp import web

from hybridws import assets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

DEMO = "examples/chat"
# Seconds. Longer than the minute after which most proxies drop an idle connection, so that it is they who hang up:
# a server that hangs up first can lose the request that is already on its way.
KEEPALIVE = 75.0
# Seconds that open requests have at the end. A waiting poll would fill any time it is given.
SHUTDOWN = 2.0
MAX_PORT = 65535


def add(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Say which arguments the command takes."""
    parser = add_parser("demo", help="start a chat whose network you may break", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=to_port, default=8080, help="0 for any free one (default: %(default)s)")
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    parser.add_argument(
        "--compare",
        nargs="?",
        const="",
        metavar="FOLDER",
        help="show Socket.IO and SockJS beside it: needs Node, and has npm put both into FOLDER (else into your cache)",
    )
    parser.set_defaults(run=run)


def to_port(text: str) -> int:
    """Read a TCP port, in argparse's manner."""
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_PORT):
        raise argparse.ArgumentTypeError(f"{text} is no port: a port is a number from 0 to {MAX_PORT}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Serve the demo until Ctrl-C; return the exit code."""
    try:
        example = load(assets.find(DEMO))
    except FileNotFoundError as error:
        print(f"hybridws demo: {error}", file=sys.stderr)
        return 1
    try:
        folder = None if args.compare is None else example.install(args.compare)
        return asyncio.run(show(example, folder, args))
    except example.CannotCompare as error:
        print(f"hybridws demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # while npm works, or where the loop takes no signals (Windows)
        return 0


def load(folder: Path) -> ModuleType:
    """Import the example from its folder: a package, under a name of our own."""
    place = [str(folder)]
    spec = importlib.util.spec_from_file_location(
        "hybridws_demo", folder / "__init__.py", submodule_search_locations=place
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} is no Python package", path=str(folder))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its modules look each other up there
    spec.loader.exec_module(module)
    return module


async def show(example: ModuleType, folder: Path | None, args: argparse.Namespace) -> int:
    """Serve the demo, and what it is compared with if there is a folder for that; return the exit code."""
    async with contextlib.AsyncExitStack() as stack:
        peers = await stack.enter_async_context(example.peers(folder)) if folder else None
        application = functools.partial(example.application, peers)
        return await serve(application, args.host, args.port, browser=args.open)


async def serve(application: Callable[[], web.Application], host: str, port: int, *, browser: bool) -> int:
    """Serve `application()` until a signal ends it; return the exit code: 1 if the address cannot be had."""
    runner = web.AppRunner(application(), keepalive_timeout=KEEPALIVE, shutdown_timeout=SHUTDOWN)
    stop = asyncio.Event()
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            print(f"hybridws demo: {blame(error, host, port)}", file=sys.stderr)
            return 1
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError):
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop.set)
        url = address(host, runner.addresses[0][1])
        print(f"The demo is at {url} (Ctrl-C ends it)", flush=True)
        if browser:
            await asyncio.to_thread(webbrowser.open, url)
        await stop.wait()
    finally:
        await runner.cleanup()
    return 0


def address(host: str, port: int) -> str:
    """Say where a browser on this machine finds the server."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host or 'localhost'}:{port}"
    if ip.is_unspecified:  # every address of the machine: none that a browser could be sent to
        return f"http://localhost:{port}"
    return f"http://[{host}]:{port}" if isinstance(ip, ipaddress.IPv6Address) else f"http://{host}:{port}"


def blame(error: OSError, host: str, port: int) -> str:
    """Say in a sentence why the server cannot listen there, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken; try another: hybridws demo --port {port % MAX_PORT + 1}"
    if error.errno == errno.EACCES:
        return f"port {port} is not for everybody; try another: hybridws demo --port 8080"
    return f"cannot listen on {host}, port {port}: {error.strerror or error}"
