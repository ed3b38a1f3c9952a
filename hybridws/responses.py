"""HTTP responses in bytes, for whoever writes them into a connection without a web framework's help."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hybridws.exchange import Answer

_BODILESS: Final = (204, 304)
"""Statuses of which a response has no length, since it has no body (RFC 9110 §8.6)."""


def whole(answer: Answer, *, keeps: bool) -> bytes:
    """Write a whole response; `keeps` tells whether the connection stays for another request."""
    head = _remembered(answer.status, tuple(answer.headers.items()), keeps)
    length = b"" if answer.status in _BODILESS else b"Content-Length: %d\r\n" % len(answer.body)
    return b"%b%bDate: %b\r\n\r\n%b" % (head, length, _date(), answer.body)


def begun(headers: Mapping[str, str], *, keeps: bool) -> bytes:
    """Write the head of a response of status 200 that is sent in chunks."""
    head = _remembered(200, (*headers.items(), ("Transfer-Encoding", "chunked")), keeps)
    return b"%bDate: %b\r\n\r\n" % (head, _date())


def switched(headers: Mapping[str, str]) -> bytes:
    """Write the answer to a handshake: 101, and no two of these are alike."""
    return b"%bDate: %b\r\n\r\n" % (_head(101, tuple(headers.items()), keeps=True), _date())


def _head(status: int, headers: tuple[tuple[str, str], ...], keeps: bool) -> bytes:  # noqa: FBT001 - cached
    """Write the head of a response, up to what differs between two of its kind."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {_one_line(value)}" for name, value in headers]
    if not keeps:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n").encode("utf-8", "surrogateescape")


_remembered: Final = lru_cache(maxsize=256)(_head)
"""The same, remembered: most responses of one kind have the same head."""


def _one_line(value: str) -> str:
    if "\r" in value or "\n" in value or "\0" in value:
        raise ValueError(f"a header's value must be one line: {value!r}")
    return value


def _date() -> bytes:
    """Return the time as a header has it (RFC 9110 §5.6.7), written anew once a second."""
    return _written(int(time.time()))


@lru_cache(maxsize=1)
def _written(now: int) -> bytes:
    return formatdate(now, usegmt=True).encode()
