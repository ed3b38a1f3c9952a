"""`hybridws serve`: one application of yours, served as in production: limits, TLS, uvloop, an orderly end."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hybridws.cli import reload
from hybridws.cli.demo import to_port
from hybridws.cli.load import CannotLoad, load
from hybridws.run import CannotServe, Settings, run
from hybridws.run.settings import LOG_LEVELS, LOOPS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FAILED: Final = 1
"""Exit code: it could not be served."""
MISUSED: Final = 2
"""Exit code: the arguments, or the variables of the environment, cannot work (argparse's own)."""


def add(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Say which arguments the command takes."""
    parser = add_parser(
        "serve",
        help="serve an application of yours",
        description=__doc__,
        epilog="Each option can be given by the environment as well, as HYBRIDWS_PORT or HYBRIDWS_LOG_LEVEL; what is "
        "switched on by a word alone is 1 or 0 there. Exit codes: 0 after SIGTERM or Ctrl-C, 1 if it cannot be served "
        "or did not end in time, 2 if the arguments cannot work.",
    )
    parser.add_argument(
        "app",
        metavar="MODULE:APP",
        nargs="?",
        help="a web.Application, or a function that makes one, such as chat:app; modules are looked for here first",
    )
    for row in ROWS:
        default = "" if row.default in (None, False) else f" (default: {row.default})"
        if row.read is to_switch:
            parser.add_argument(row.flag, action="store_const", const=True, help=row.help)
        else:
            parser.add_argument(row.flag, metavar=row.metavar, type=row.read, help=row.help + default)
    parser.set_defaults(run=serve)


def serve(args: argparse.Namespace) -> int:
    """Serve until a signal comes; return the exit code."""
    try:
        values = read(args, os.environ)
        if values.pop("reload"):
            return reload.watch(args.app, values)
        factory = values.pop("factory")
        settings = {_FIELDS.get(name, name): value for name, value in values.items()}
        Settings(**settings)
    except ValueError as error:
        print(f"hybridws serve: {error}", file=sys.stderr)
        return MISUSED
    try:
        run(load(args.app, factory=factory), **settings)
    except (CannotLoad, CannotServe) as error:
        if error.__cause__ and not isinstance(error.__cause__, OSError):
            traceback.print_exception(error.__cause__)
        print(f"hybridws serve: {error}", file=sys.stderr)
        return FAILED
    return 0


def read(args: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what is wanted, by name: of the arguments, else of the environment. Raises ValueError."""
    args.app = args.app or environ.get("HYBRIDWS_APP")
    if not args.app:
        raise ValueError("what shall be served? Write MODULE:APP, such as chat:app")
    values: dict[str, Any] = {}
    for row in ROWS:
        value = getattr(args, row.name)
        text = environ.get(row.variable)
        if value is None and text is not None:
            try:
                value = row.read(text)
            except argparse.ArgumentTypeError as error:
                raise ValueError(f"{row.variable}: {error}") from None
        values[row.name] = row.default if value is None else value
    return values


# ── the options ───────────────────────────────────────────────────────────────────────────────────────────────────


def to_count(text: str) -> int:
    """Read a whole number above 0."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text} is no whole number above 0")
    return int(text)


def to_seconds(text: str) -> float:
    """Read a number of seconds above 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds above 0")
    return seconds


def to_switch(text: str) -> bool:
    """Read 1 or 0."""
    if text not in ("0", "1", ""):
        raise argparse.ArgumentTypeError(f"{text} is neither 1 nor 0")
    return text == "1"


def to_one_of(words: tuple[str, ...]) -> Callable[[str], str]:
    """Make a reader of one of these words."""

    def read_word(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(words)}")
        return text

    return read_word


class Row(NamedTuple):
    """One option of the command."""

    flag: str
    read: Callable[[str], Any]
    help: str
    metavar: str = ""
    default: Any = None

    @property
    def name(self) -> str:
        """Its name in Python."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return f"HYBRIDWS_{self.name.upper()}"


_DEFAULT: Final = Settings()
_FIELDS: Final = {"unix": "path"}
"""Settings that have another name than the option."""

ROWS: Final = (
    Row("--host", str, "address to listen on", "ADDRESS", _DEFAULT.host),
    Row("--port", to_port, "0 for any free one", "PORT", _DEFAULT.port),
    Row("--unix", str, "listen on a unix socket instead", "PATH"),
    Row("--certfile", str, "speak TLS with this certificate (PEM, with its chain)", "FILE"),
    Row("--keyfile", str, "its private key, if it does not stand beside it", "FILE"),
    Row("--factory", to_switch, "APP is a function that makes the application, and nothing else", default=False),
    Row("--reload", to_switch, "for development: start again when a .py file beside the module changes", default=False),
    Row("--log-level", to_one_of(LOG_LEVELS), ", ".join(LOG_LEVELS), "LEVEL", _DEFAULT.log_level),
    Row("--access-log", to_switch, "log each request", default=False),
    Row("--loop", to_one_of(LOOPS), "asyncio, uvloop, or auto: uvloop where it is", "NAME", _DEFAULT.loop),
    Row("--backlog", to_count, "connections that may wait to be accepted", "N", _DEFAULT.backlog),
    Row("--reuse-port", to_switch, "let several processes listen on one port (SO_REUSEPORT)", default=False),
    Row("--keepalive-timeout", to_seconds, "an idle connection is kept so long", "SECONDS", _DEFAULT.keepalive_timeout),
    Row("--shutdown-timeout", to_seconds, "from the signal to the end", "SECONDS", _DEFAULT.shutdown_timeout),
)
"""All options but MODULE:APP."""
