"""Close codes: why a session ended (RFC 6455 §7.4.1; 3000-4999 are the application's but for those named here)."""

from __future__ import annotations

from typing import Final

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
INTERRUPTED: Final = 1002  # SockJS: the connection broke and what was on it may be lost
NO_STATUS: Final = 1005
ABNORMAL: Final = 1006
INVALID_TEXT: Final = 1007
TOO_BIG: Final = 1009
HANDLER_FAILED: Final = 1011
RESTARTING: Final = 1012
ANOTHER_CONNECTION: Final = 2010  # SockJS: a second receiver while the first is still open
BROKEN_FRAMING: Final = 3000  # SockJS: what came over a WebSocket was no JSON
GO_AWAY: Final = 3000
TOO_SLOW: Final = 4008
MALFORMED: Final = 4400
NOT_AUTHENTICATED: Final = 4401
FORBIDDEN: Final = 4403
NO_SESSION: Final = 4404
NOBODY_CAME: Final = 4408
SUPERSEDED: Final = 4409
TOO_LARGE: Final = 4413
TOO_MANY: Final = 4429
NO_ANSWERER: Final = 4404

ABRUPT: Final = frozenset((TOO_SLOW, MALFORMED, NOT_AUTHENTICATED, FORBIDDEN, TOO_LARGE, TOO_MANY))
"""Ends that drop what was not confirmed, so that no numbered close can come after it."""

LOWEST: Final = 1000
OWN: Final = 3000  # from here on they are the application's (RFC 6455 §7.4.2)
HIGHEST: Final = 4999

MAX_REASON: Final = 123  # bytes of UTF-8 that fit in a WebSocket close frame (RFC 6455 §5.5)

_PLAIN: Final = (NORMAL, GOING_AWAY, HANDLER_FAILED, RESTARTING)


def check_close(code: object, reason: str) -> None:
    """Raise ValueError unless an application may close a session with this code and reason.

    Allowed are 1000, 1001, 1011, 1012 and 3000-4999; the reason takes at most 123 bytes of UTF-8 and no lone
    surrogates.
    """
    if type(code) is not int or not (code in _PLAIN or OWN <= code <= HIGHEST):
        raise ValueError(f"a session cannot be closed with code {code!r}: use 1000, 1001, 1011, 1012 or 3000-4999")
    try:
        length = len(reason.encode())
    except UnicodeEncodeError:
        raise ValueError("a close reason must not hold lone surrogates") from None
    if length > MAX_REASON:
        raise ValueError(f"a close reason may take {MAX_REASON} bytes of UTF-8, this one takes {length}")


def shorten(reason: str) -> str:
    """Cut a reason to the 123 bytes of UTF-8 that a close frame holds."""
    return reason.encode("utf-8", "replace")[:MAX_REASON].decode("utf-8", "ignore")
