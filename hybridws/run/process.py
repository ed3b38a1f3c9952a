"""A process that serves one application: its loop, signals, descriptors, memory and log."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import importlib
import logging
import os
import platform
import signal
import threading
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp.http import HttpRequestParser

from hybridws.core import link
from hybridws.run.serving import serve
from hybridws.run.settings import CannotServe, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType

    from hybridws.run.serving import App

log = logging.getLogger("hybridws")

GC_THRESHOLD: Final = (100_000, 20, 20)
"""Objects before a collection, and generations (see `gc.set_threshold`): what a message makes dies by its count, so
looking for cycles every 700 objects finds nothing and costs a few percent."""
FEW_DESCRIPTORS: Final = 4096
"""Each connection takes one: below this a process of some thousand clients runs out."""
STDERR: Final = 2
"""The descriptor: `sys.stderr` may be anything, and need not have one."""
LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def run(app: App, **settings: Any) -> None:  # noqa: ANN401 - checked by Settings
    """Serve an application in this process until SIGTERM or SIGINT, and end it in order within `shutdown_timeout`.

    Sessions are told that the server restarts (1012), polls are answered, nobody new is let in. A second signal ends
    the process at once; so does the end of the time. `app` may be a function, also a coroutine function, that makes
    the application. The settings are the fields of `hybridws.run.Settings`. Raises CannotServe, ValueError for a
    setting, and what the application raises while it starts; RuntimeError outside the main thread.
    """
    checked = Settings(**settings)
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("run() takes signals, so it must be called in the main thread; elsewhere use serve()")
    logging.basicConfig(level=checked.log_level.upper(), format=LOG_FORMAT)  # nothing, if logging is set up
    loop_factory = find_loop(checked.loop)
    stop = asyncio.Event()

    def started(urls: list[str]) -> None:
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLD)
        log.info("serving on %s (process %d)", " and ".join(urls), os.getpid())

    with stopped_by_signals(stop, checked.shutdown_timeout), asyncio.Runner(loop_factory=loop_factory) as runner:
        _tell(checked, runner.get_loop(), raise_descriptors())
        runner.run(serve(app, stop=stop, started=started, **settings))


def find_loop(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the event loop; None is asyncio's own. Raises CannotServe where uvloop is not there."""
    if name == "asyncio":
        return None
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError as error:
        if name == "auto":
            return None
        raise CannotServe(
            f"uvloop cannot be had ({error}): pip install 'hybridws[fast]', or take the loop asyncio"
        ) from None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


@contextlib.contextmanager
def stopped_by_signals(stop: asyncio.Event, patience: float) -> Generator[None]:
    """Set `stop` at the first SIGTERM or SIGINT; a second, or `patience` seconds, end the process at once.

    Python's own handlers and not the loop's, since a loop that hangs would hear of no second signal. The clock is the
    one of faulthandler, which needs neither loop nor interpreter, and shows what it was that hung.
    """
    asked = False

    def take(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        asked = True
        faulthandler.dump_traceback_later(patience, exit=True, file=STDERR)
        try:
            asyncio.get_running_loop().call_soon_threadsafe(stop.set)
        except RuntimeError:  # the loop has not begun
            stop.set()

    before = {number: signal.signal(number, take) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_descriptors() -> int | None:
    """Raise the limit of open descriptors as far as we may, and return it; None where there is none."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS says "unlimited" and does not mean it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return None if soft == resource.RLIM_INFINITY else soft


def _tell(settings: Settings, loop: asyncio.AbstractEventLoop, descriptors: int | None) -> None:
    """Log what this process works with, and warn of what will hurt."""
    kind = type(loop).__module__.partition(".")[0]
    log.info(
        "hybridws %s%s, aiohttp %s, Python %s, loop %s; backlog %d, keepalive %g s, shutdown %g s, TLS %s, "
        "SO_REUSEPORT %s, access log %s, descriptors %s",
        version("hybridws"),
        "" if str(link.__file__).endswith(".py") else " (compiled)",
        aiohttp.__version__,
        platform.python_version(),
        f"uvloop {version('uvloop')}" if kind == "uvloop" else kind,
        settings.backlog,
        settings.keepalive_timeout,
        settings.shutdown_timeout,
        *("on" if on else "off" for on in (settings.tls, settings.reuse_port, settings.access_log)),
        descriptors or "without limit",
    )
    if descriptors and descriptors < FEW_DESCRIPTORS:
        log.warning(
            "this process may open %d descriptors, and each connection takes one: raise the hard limit "
            "(`ulimit -Hn`, LimitNOFILE= of a systemd unit, --ulimit nofile= of a container)",
            descriptors,
        )
    if HttpRequestParser.__module__ == "aiohttp.http_parser":
        log.warning(
            "aiohttp has no compiled parts here, so it reads requests slowly and less strictly: "
            "install a wheel of aiohttp for this platform, and unset AIOHTTP_NO_EXTENSIONS"
        )
