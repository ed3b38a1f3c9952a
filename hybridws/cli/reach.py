"""How a command reaches a server: the arguments that `connect` and `doctor` share."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Callable

WEB = ("http", "https", "ws", "wss")


def add_reach(parser: argparse.ArgumentParser) -> None:
    """Add the address, and all that says how to get there and as whom."""
    parser.add_argument("url", metavar="URL", type=to_url, help="where the mount is, such as https://example.org/chat")
    group = parser.add_argument_group(
        "the way there", "Proxies are taken from http_proxy, https_proxy and no_proxy; certificates from SSL_CERT_FILE."
    )
    group.add_argument("--header", metavar="'NAME: VALUE'", type=to_header, action="append", default=[], help="send it")
    group.add_argument("--cookie", metavar="NAME=VALUE", type=to_cookie, action="append", default=[], help="send it")
    group.add_argument(
        "--auth",
        metavar="TEXT|JSON|@FILE",
        type=to_auth,
        help="what `authenticate` on the server is given; @FILE keeps it out of the list of processes",
    )
    group.add_argument("--proxy", metavar="URL", type=to_proxy, help="go through this one: http://user:word@host:port")


def options(args: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_reach` added, as keyword arguments of `hybridws.connect`."""
    return {
        "headers": dict(args.header),
        "cookies": dict(args.cookie),
        "auth": args.auth,
        "proxy": args.proxy,
        "trust_env": True,
    }


def to_url(text: str) -> str:
    """Read the address of a server, in argparse's manner."""
    try:
        url = URL(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no address: {error}") from None
    if url.scheme not in WEB or not url.host:
        raise argparse.ArgumentTypeError(f"{text!r} is no address of a server: write https://host/prefix")
    return text


def to_proxy(text: str) -> str:
    """Read the address of a proxy, in argparse's manner."""
    try:
        url = URL(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no proxy: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise argparse.ArgumentTypeError(f"{text!r} is no proxy that we can use: write http://host:port")
    return text


def _pair(what: str, mark: str) -> Callable[[str], tuple[str, str]]:
    def read(text: str) -> tuple[str, str]:
        name, found, value = text.partition(mark)
        if not (name.strip() and found) or not (text.isprintable() and name.isascii()):
            raise argparse.ArgumentTypeError(f"{text!r} is no {what}: write NAME{mark}VALUE")
        return name.strip(), value.strip()

    return read


to_header = _pair("header", ":")
to_cookie = _pair("cookie", "=")


def to_auth(text: str) -> object:
    """Read credentials: JSON if it looks like a list, a map or a quoted text, from a file after `@`, else a text."""
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise argparse.ArgumentTypeError(f"cannot read {text[1:]}: {error}") from None
    if not text.startswith(("{", "[", '"')):
        return text
    try:
        value: object = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"this begins as JSON and is none: {error}") from None
    return value


def to_seconds(text: str) -> float:
    """Read a time, in argparse's manner."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time in seconds")
    return seconds
