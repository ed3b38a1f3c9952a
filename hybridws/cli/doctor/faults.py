"""What may be wrong with a transport, in words that people understand."""

from __future__ import annotations

import html
import re
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp

from hybridws.cli.doctor.route import plain
from hybridws.cli.ink import harmless
from hybridws.client.courier import NetworkFault, Turned, believe
from hybridws.core.codec import JSON
from hybridws.options import Options

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULTS: Final = Options()
FOR_A_WHILE: Final = (500, 502, 503, 504)
"""Statuses that may be another the next time (RFC 9110 §15.6)."""
MAX_PAGE: Final = 64 * 1024
MAX_TITLE: Final = 60
OK: Final = 200
MISSING: Final = 404
UPGRADE_REQUIRED: Final = 426
WANTS_CREDENTIALS: Final = 407


class Fault(Exception):
    """Something did not work: `words` complete a sentence about a transport ("is refused ...")."""

    def __init__(self, state: str, words: str, by: str = "network", *, brief: bool = False, status: int = 0) -> None:
        """Say what it was, and who it was `by`: the network, or the server; `brief` faults are worth another try."""
        super().__init__(words)
        self.state = state
        self.words = words
        self.by = by
        self.brief = brief
        self.status = status


class Answer(NamedTuple):
    """A whole answer to one request."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    version: str


@dataclass(slots=True)
class Finding:
    """What was found out about one transport."""

    transport: str
    state: str = "works"
    """works, flaky, late, buffered, refused, silent, cut, dead, fails, or not offered."""
    words: str = "works"
    """Completes a sentence that begins with the transport."""
    by: str | None = None
    """Who is to blame, where it does not work: network or server."""
    attach: float | None = None
    """Seconds until the server had answered the attach."""
    echo: float | None = None
    """Seconds from a heartbeat to its ack."""
    idle: float | None = None
    """Seconds for which it was left alone, and lived."""
    cut: float | None = None
    """Seconds after which it was cut."""
    cause: str | None = None
    """Why it was cut: silence or age; None where that is not known."""
    stumbles: list[str] = field(default_factory=list)
    """What failed and then worked when it was tried again."""

    @property
    def good(self) -> bool:
        """Whether nothing at all is wrong with it."""
        return self.state in ("works", "not offered")

    def fail(self, fault: Fault) -> None:
        """Take over what went wrong."""
        self.state, self.words, self.by = fault.state, fault.words, fault.by

    def waver(self) -> None:
        """Note that it works, but not always at once."""
        if self.stumbles and self.state == "works":
            self.fail(Fault("flaky", f"works, but not always at once (it {self.stumbles[0]})"))


def explain(error: BaseException) -> str:  # noqa: PLR0911 - a row each
    """Say in plain words why a request failed."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"the name {error.host} is not known here (DNS)"
        case aiohttp.ClientConnectorCertificateError():
            cause = error.certificate_error
            why = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else cause
            return f"the certificate of {error.host} is not trusted: {why}"
        case aiohttp.ClientConnectorSSLError():
            return f"there is no TLS at {error.host}:{error.port}, or none that we speak"
        case aiohttp.ClientProxyConnectionError():
            return f"the proxy at {error.host}:{error.port} cannot be reached"
        case aiohttp.ClientHttpProxyError():
            wants = ": it wants a user and a password" if error.status == WANTS_CREDENTIALS else ""
            return f"the proxy answered CONNECT with {error.status}{wants}"
        case aiohttp.ClientConnectorError():
            return f"nobody answers at {error.host}:{error.port}: {plain(error.os_error)}"
        case aiohttp.ServerDisconnectedError() | ConnectionResetError() | aiohttp.ClientPayloadError():
            return "the connection was cut before the answer was complete"
        case aiohttp.ClientOSError():
            return "the connection was cut"
        case _:
            return str(error) or type(error).__name__


def describe(answer: Answer) -> str:
    """Say what an answer is that is not the server's."""
    return f"{answer.status} by something that is not the server{marks(answer)}"


def marks(answer: Answer) -> str:
    """Say by what an answer may be known."""
    marks = [f"{name}: {answer.headers[name]}" for name in ("Server", "Via") if answer.headers.get(name)]
    if found := re.search(rb"<title[^>]*>([^<]*)", answer.body[:MAX_PAGE], re.IGNORECASE):
        title = html.unescape(" ".join(found[1].decode("utf-8", "replace").split()))[:MAX_TITLE]
        marks.append(f'a page "{title}"')
    return harmless(f" ({', '.join(marks)})") if marks else ""


def refused(answer: Answer, *, what: str = "is refused with") -> Fault:
    """Make a fault of an answer that is no batch: the server's own refusal, or somebody else's words."""
    try:
        believe(answer.status, answer.body, JSON, DEFAULTS)
    except Turned as turned:
        return Fault("refused", f"{what} {turned.code} by the server: {turned.reason}", "server", status=answer.status)
    except NetworkFault:
        pass
    return Fault("refused", f"{what} {describe(answer)}", brief=answer.status in FOR_A_WHILE, status=answer.status)
