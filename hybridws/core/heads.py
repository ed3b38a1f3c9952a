"""Request heads of the usual shape, read strictly; whatever is shaped otherwise is left to a whole HTTP parser.

A reader that forgives where another does not is how one request becomes two (request smuggling). So this one knows a
subset of HTTP/1.1 (RFC 9112) in which there is nothing to forgive: single spaces, CRLF alone, visible ASCII, no name
twice, a length in plain digits and no coding of the body. None is no verdict, only "not mine".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

END: Final = b"\r\n\r\n"
LONGEST: Final = 8190
"""Bytes of a head that is read here; aiohttp's own limit of a single line."""
MOST_HEADERS: Final = 64
SHARED: Final = 256
"""Bytes of a header that is remembered for others: a long one is somebody's own."""
_OWN: Final = ("authorization:", "cookie:", "proxy-authorization:", "sec-websocket-key:")
"""These are, too; and what is secret is kept no longer than its request."""

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_METHODS: Final = {b"GET": "GET", b"POST": "POST"}
_SHAPE: Final = re.compile(
    rb"(GET|POST) (/[A-Za-z0-9._~!$'()*+,:@/-]*)(?:\?([A-Za-z0-9._~=&-]*))? HTTP/1\.1\r\n"
    rb"((?:[A-Za-z0-9-]+:[\t\x20-\x7e]*\r\n)+)"
)
_FOREIGN: Final = frozenset(
    ("content-encoding", "expect", "http2-settings", "keep-alive", "te", "trailer", "transfer-encoding")
)
"""Headers that change how a body is read, or what must be said before it comes."""
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")
_LENGTH: Final = re.compile(r"0|[1-9][0-9]{0,9}")
_COOKIE: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+=[!#-+\x2d-:<-\[\]-~]*"
_COOKIES: Final = re.compile(rf"{_COOKIE}(?:; {_COOKIE})*")
_CONNECTION: Final = {"": True, "keep-alive": True, "close": False, "upgrade": True, "keep-alive, upgrade": True}


class Fields(Mapping[str, str]):
    """The headers of one request: asked for in any case, told in small letters."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, str]) -> None:
        """Know them by their names in small letters."""
        self._values = values

    def __getitem__(self, name: str) -> str:
        """Return the value of a header. Raises KeyError."""
        return self._values[name.lower()]

    def get(self, name: str, default: Any = None, /) -> Any:  # noqa: ANN401 - as Mapping has it, but without an error in between
        """Return the value of a header, or something else where there is none."""
        return self._values.get(name.lower(), default)

    def __iter__(self) -> Iterator[str]:
        """Tell the names, in the order of the request."""
        return iter(self._values)

    def __len__(self) -> int:
        """Count them."""
        return len(self._values)

    def __repr__(self) -> str:
        """Tell all of them."""
        return f"<Fields {self._values}>"


class Head(NamedTuple):
    """One request's head."""

    method: str
    path: str
    query: str
    headers: Fields
    length: int
    """Bytes of the body."""
    keeps: bool
    """Whether the connection stays for another request."""
    upgrades: bool
    """Whether it asks for a WebSocket on this connection; requests for other protocols are not read here."""


def read(data: bytes) -> Head | None:
    """Read a head, up to the CRLF of its last header; None for one that is not of the usual shape."""
    if len(data) > LONGEST:
        return None
    shape = _SHAPE.fullmatch(data)
    if shape is None:
        return None
    verb, path, query, block = shape.groups()
    method = _METHODS[verb]
    seen: dict[str, str] = {}
    for line in block.decode("ascii").split("\r\n")[:-1]:
        name, value = _field(line) if len(line) > SHARED or line.lower().startswith(_OWN) else _shared(line)
        if name in seen or name in _FOREIGN:
            return None
        seen[name] = value
    length = seen.get("content-length")
    connection = seen.get("connection", "").lower()
    keeps = _CONNECTION.get(connection)
    upgrades = method == "GET" and seen.get("upgrade", "").lower() == "websocket"
    if (
        len(seen) > MOST_HEADERS
        or keeps is None
        or not upgrades == ("upgrade" in seen) == ("upgrade" in connection)
        or not _HOST.fullmatch(seen.get("host", ""))
        or (length is None) != (method == "GET")
        or (length is not None and not _LENGTH.fullmatch(length))
        or b"//" in path
        or b"/." in path
    ):
        return None
    return Head(method, path.decode(), (query or b"").decode(), Fields(seen), int(length or 0), keeps, upgrades)


def _field(line: str) -> tuple[str, str]:
    """Read one header: its name in small letters, and its value."""
    name, _, value = line.partition(":")
    return name.lower(), value.strip("\t ")


_shared: Final = lru_cache(maxsize=1024)(_field)
"""The same, remembered: browsers of one kind say most headers alike, and a session keeps those that it began with."""


def query_of(text: str) -> Mapping[str, str]:
    """Read a query of the usual shape, which holds no escapes; the first of several values counts."""
    if not text:
        return NOTHING
    found: dict[str, str] = {}
    for pair in text.split("&"):
        name, _, value = pair.partition("=")
        if name:
            found.setdefault(name, value)
    return found


def cookies_of(text: str) -> Mapping[str, str] | None:
    """Read a Cookie header of the usual shape (RFC 6265 §4.2.1, no quotes); None for another.

    The last of several values counts, as it does in aiohttp: all of an application sees the same user.
    """
    if not text:
        return NOTHING
    if not _COOKIES.fullmatch(text):
        return None
    return dict(pair.split("=", 1) for pair in text.split("; "))
