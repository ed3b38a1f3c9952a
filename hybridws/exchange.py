"""What a web framework must give us, and what we give back: the only things that a transport knows of HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

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


class Listener(Protocol):
    """Whoever a WebSocket tells what happens to it."""

    def hear(self, data: str | bytes | None) -> None:
        """Take what has come: a text or binary message, or None for a mere sign of life."""
        ...

    def left(self, code: int, reason: str) -> None:
        """Learn that the connection has ended: with a close frame, or without one (1006). Nothing comes after it."""
        ...

    def room(self) -> None:
        """Learn that the network takes more again."""
        ...


class Nobody:
    """Listens to a WebSocket until somebody else does."""

    def hear(self, data: str | bytes | None) -> None:
        """Hear nothing."""

    def left(self, code: int, reason: str) -> None:
        """Hear nothing."""

    def room(self) -> None:
        """Hear nothing."""


class Socket(Protocol):
    """One WebSocket after its handshake. Nothing here waits; pings are answered and closes are answered by itself."""

    subprotocol: str | None
    listener: Listener

    @property
    def full(self) -> bool:
        """Whether the network takes no more for now; what is sent all the same is kept."""
        ...

    def send(self, opcode: int, payload: bytes) -> None:
        """Send one frame; it may leave with `flush` only."""
        ...

    def flush(self) -> None:
        """Let what was sent leave, in one piece."""
        ...

    def close(self, code: int, reason: str, patience: float) -> None:
        """Begin the closing handshake; the connection is cut after `patience` seconds without an answer."""
        ...

    def abort(self) -> None:
        """Cut the connection at once."""
        ...

    def pause(self) -> None:
        """Hear nothing until `resume`."""
        ...

    def resume(self) -> None:
        """Hear again."""
        ...


class Watcher(Protocol):
    """Whoever writes into a response that goes on for a while."""

    def room(self) -> None:
        """Learn that the network takes more again."""
        ...

    def gone(self) -> None:
        """Learn that the client has left."""
        ...


class Exchange(Protocol):
    """One HTTP request under way. Writing never waits; what the network does not take at once is kept."""

    silent: ClassVar[bool]
    """Nobody tells the watcher that the client has left: whoever waits has to look."""
    watcher: Watcher | None

    @property
    def request(self) -> Request:
        """The request."""
        ...

    @property
    def gone(self) -> bool:
        """Whether the client has left."""
        ...

    @property
    def full(self) -> bool:
        """Whether the network takes no more for now."""
        ...

    async def read(self, limit: int) -> bytes:
        """Read the body. Raises TooLarge over `limit` bytes, TooSlow, Malformed for a coded body, Gone."""
        ...

    def answer(self, answer: Answer) -> None:
        """Send a whole response."""
        ...

    def start(self, headers: Mapping[str, str]) -> None:
        """Begin a response of status 200 whose length is not known."""
        ...

    def write(self, data: bytes) -> None:
        """Write one chunk of it."""
        ...

    def end(self) -> None:
        """End the response that `start` began."""
        ...

    def fail(self, answer: Answer) -> None:
        """Send this response, or cut the connection if another has begun."""
        ...

    def abort(self) -> None:
        """Cut the connection at once."""
        ...

    async def upgrade(self) -> Socket:
        """Make this request a WebSocket that nobody listens to yet; the answer may leave with its first `flush` only.

        Raises Malformed when it does not ask for one.
        """
        ...
