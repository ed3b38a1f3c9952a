"""The words of the session protocol (docs/protocol.md §1): what two links say to each other.

A packet is *numbered* if it carries the application's stream, and then takes exactly one number (`Skipped` takes
`many`). All others steer the transport that carries them and are forgotten when it ends.

Nearly all packets are messages and acks. They are no tuples as the others are: where this is compiled, a tuple with
names takes several times as long to make as an object of a class.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, NamedTuple, final


class Hello(NamedTuple):
    """A client asks for a new session."""

    options: dict[str, Any]


class Open(NamedTuple):
    """The session was made: its id, key and limits."""

    session: dict[str, Any]


class Attach(NamedTuple):
    """This transport now moves session `sid`; `n` counts the client's attaches, `ack` what it has received."""

    sid: str
    key: str
    n: int
    ack: int
    wishes: dict[str, Any]


class Position(NamedTuple):
    """The next numbered packet on this transport has number `number`."""

    number: int


@final
class Message:
    """One message of the application: text, bytes or a JSON value."""

    __slots__ = ("value",)
    __match_args__: ClassVar = ("value",)

    def __init__(self, value: Any) -> None:  # noqa: ANN401 - a message is what it is
        """Say this."""
        self.value: Final = value

    def __eq__(self, other: object) -> bool:
        """Tell whether both say the same."""
        return isinstance(other, Message) and bool(self.value == other.value)

    __hash__ = None  # type: ignore[assignment] # what is said may change, as a list may

    def __repr__(self) -> str:
        """Tell what is said."""
        return f"Message({self.value!r})"


class Request(NamedTuple):
    """A message that wants one answer."""

    id: int
    value: Any


class Reply(NamedTuple):
    """The answer to the request with the same id."""

    id: int
    value: Any


class Error(NamedTuple):
    """The answer to the request with the same id: it failed."""

    id: int
    code: int
    text: str


class Auth(NamedTuple):
    """Fresh credentials (from a client) or their remaining life (from a server)."""

    value: Any


class Skipped(NamedTuple):
    """`many` numbered packets were dropped here by a slow-consumer policy."""

    many: int


@final
class Ack:
    """`total` numbered packets have arrived, in order and without a gap."""

    __slots__ = ("total",)
    __match_args__: ClassVar = ("total",)

    def __init__(self, total: int) -> None:
        """Say so."""
        self.total: Final = total

    def __eq__(self, other: object) -> bool:
        """Tell whether both say the same."""
        return isinstance(other, Ack) and self.total == other.total

    def __hash__(self) -> int:
        """Go by what is said."""
        return hash(self.total)

    def __repr__(self) -> str:
        """Tell what is said."""
        return f"Ack({self.total})"


class Heartbeat(NamedTuple):
    """Are you there? The other end answers with an ack at once."""


class Close(NamedTuple):
    """The session ends here, after every packet before this one."""

    code: int
    reason: str


class Gone(NamedTuple):
    """The page is going and could not say all; the session ends at once."""


class Refuse(NamedTuple):
    """This request or transport was refused; the session is as it was unless the code says otherwise."""

    code: int
    reason: str
    details: dict[str, Any]


Packet = (
    Hello
    | Open
    | Attach
    | Position
    | Message
    | Request
    | Reply
    | Error
    | Auth
    | Skipped
    | Ack
    | Heartbeat
    | Close
    | Gone
    | Refuse
)

Numbered = Message | Request | Reply | Error | Auth | Skipped | Close
NUMBERED: Final = frozenset((Message, Request, Reply, Error, Auth, Skipped, Close))
