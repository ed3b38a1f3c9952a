"""What a web framework must give us, and what we give back: the only things that a transport knows of HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as the application and the gate see it: typed, read only, without a body."""

    method: str
    path: str
    """The whole path, decoded."""
    tail: str
    """The part of the path below the mount's prefix, decoded."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """The headers; names are looked up without regard to case."""
    cookies: Mapping[str, str]
    remote: str
    """The address that the connection comes from: the nearest proxy's, if there is one; empty on a unix socket."""
    scheme: str
    """`http` or `https`, as this server received it."""

    def all_of(self, name: str) -> str:
        """Return all headers of this name, joined by commas (RFC 9110 §5.3); empty if there is none."""
        getall = getattr(self.headers, "getall", None)
        return ",".join(getall(name, ())) if getall else self.headers.get(name, "")


@dataclass(slots=True)
class Answer:
    """A whole HTTP response."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Gone(Exception):
    """The client of this request or connection has left."""


class Left(Exception):
    """The far side ended its WebSocket: with a close frame (`code`, `reason`), or without one (`code` 1006)."""

    def __init__(self, code: int, reason: str = "") -> None:
        """Keep what the close frame said."""
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Socket(Protocol):
    """One WebSocket after its handshake."""

    subprotocol: str | None

    async def receive(self) -> str | bytes | None:
        """Wait for the next frame: text, bytes, or None for a mere sign of life; pings are answered.

        Raises Left, or Malformed and TooLarge when the connection has been closed for what it brought.
        """
        ...

    async def send(self, opcode: int, payload: bytes) -> None:
        """Send one frame, and wait while the network takes no more. Raises Gone."""
        ...

    async def ping(self) -> None:
        """Ask for a sign of life (RFC 6455 §5.5.2). Raises Gone."""
        ...

    async def close(self, code: int, reason: str, patience: float) -> None:
        """Do the closing handshake; cut the connection after `patience` seconds without an answer."""
        ...

    def abort(self) -> None:
        """Cut the connection at once."""
        ...


class Exchange(Protocol):
    """One HTTP request under way."""

    @property
    def request(self) -> Request:
        """The request."""
        ...

    @property
    def gone(self) -> bool:
        """Whether the client has left."""
        ...

    async def read(self, limit: int) -> bytes:
        """Read the body. Raises TooLarge over `limit` bytes, TooSlow, Malformed for a coded body, Gone."""
        ...

    async def answer(self, answer: Answer) -> None:
        """Send a whole response."""
        ...

    def abort(self) -> None:
        """Cut the connection at once."""
        ...

    async def start(self, headers: Mapping[str, str]) -> None:
        """Begin a response of status 200 whose length is not known. Raises Gone."""
        ...

    async def write(self, data: bytes) -> None:
        """Write one chunk, and wait while the network takes no more. Raises Gone."""
        ...

    async def end(self) -> None:
        """End the response that `start` began."""
        ...

    async def upgrade(self) -> Socket:
        """Make this request a WebSocket. Raises Malformed when it does not ask for one in the right way."""
        ...
