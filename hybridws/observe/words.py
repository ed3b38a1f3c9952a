"""Few words for what happens: a label must not take as many values as clients can invent (docs/operations.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from hybridws.core import codes

if TYPE_CHECKING:
    from hybridws.session import Closed

OTHER: Final = "other"
FEW: Final = 64
"""Values that a label may take before all new ones are `other`."""

LEAVINGS: Final = (
    ("answered", "done"),
    ("the response was", "done"),
    ("the session has ended", "done"),
    ("superseded", "superseded"),
    ("a newer WebSocket", "superseded"),
    ("the connection broke", "broke"),
    ("the client has gone", "gone"),
    ("the client closed it", "closed"),
    ("no sign of life", "silent"),
    ("the network takes nothing", "stuck"),
    ("it was on trial", "unanswered"),
    ("the server", "stopped"),
)
"""How the reasons begin for which a transport ends (`Stay.reason`), and a word for each; the rest is `fault`."""

ENDS: Final = (
    ("no transport for", "resume_expired"),
    ("no receiver for", "receiver_gone"),
    ("the buffer was full while", "full_while_away"),
    ("the page has gone", "page_gone"),
    ("the credentials have expired", "credentials_expired"),
)
"""How the reasons begin that a session gives to its own end, where the code says less than that."""

CODES: Final = {
    codes.NORMAL: "normal",
    codes.GOING_AWAY: "going_away",
    codes.INTERRUPTED: "interrupted",
    codes.ABNORMAL: "lost",
    codes.HANDLER_FAILED: "handler_failed",
    codes.RESTARTING: "restarting",
    codes.BROKEN_FRAMING: "broken_framing",
    codes.TOO_SLOW: "too_slow",
    codes.MALFORMED: "malformed",
    codes.NOT_AUTHENTICATED: "not_authenticated",
    codes.FORBIDDEN: "forbidden",
    codes.NOBODY_CAME: "nobody_came",
    codes.TOO_LARGE: "too_large",
    codes.TOO_MANY: "too_many",
}

SOCKETS: Final = frozenset(("websocket", "websocket-raw"))
POLLS: Final = frozenset(("poll", "xhr-polling", "jsonp-polling"))


class Few:
    """Lets the first values pass that come, and makes `other` of all later ones."""

    __slots__ = ("_limit", "_seen")

    def __init__(self, limit: int = FEW) -> None:
        """Let so many values pass."""
        self._limit = limit
        self._seen: set[str] = set()

    def __call__(self, value: str) -> str:
        """Return the value, or `other`."""
        if value not in self._seen:
            if len(self._seen) >= self._limit:
                return OTHER
            self._seen.add(value)
        return value


def why_left(reason: str) -> str:
    """Say in a word why a transport ended."""
    return next((word for start, word in LEAVINGS if reason.startswith(start)), "fault")


def why_ended(closed: Closed) -> str:
    """Say in a word why a session ended; what its client or the application made up is `client` or `application`."""
    if closed.by == "network":
        for start, word in ENDS:
            if closed.reason.startswith(start):
                return word
    return CODES.get(closed.code, "client" if closed.by == "remote" else "application")


def code_of(closed: Closed, few: Few) -> str:
    """Return a close code as a label: ours and the application's as they are, those that clients invent as `other`."""
    if closed.code in CODES:
        return str(closed.code)
    return OTHER if closed.by == "remote" else few(str(closed.code))


def height(transport: str) -> int:
    """Rank a transport: 3 is a WebSocket, 2 a stream, 1 polls."""
    return 3 if transport in SOCKETS else 1 if transport in POLLS else 2


def direction(before: str, after: str) -> Literal["upgrade", "fallback", "same"]:
    """Tell what a change of transports was."""
    step = height(after) - height(before)
    return "upgrade" if step > 0 else "fallback" if step < 0 else "same"
