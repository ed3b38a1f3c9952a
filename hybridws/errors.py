"""Every error that hybridws raises, and who is to blame for it.

    HybridError
    ├── SessionClosed        the session has ended; nothing more can be sent on it
    ├── BufferFull           the far side takes messages more slowly than they are sent
    ├── Stalled              it took none at all for `send_timeout` seconds
    ├── Unsendable           the application's message cannot travel to this client
    │   └── MessageTooLarge  ... because it is longer than `max_message`
    ├── RequestFailed        the other side answered a request with an error
    └── Refused              the far side did something it may not do
        ├── Malformed        4400 · 400   its bytes are not what the protocol says
        ├── NotAuthenticated 4401 · 401   nobody knows who it is
        ├── Forbidden        4403 · 403   it is known, and may not
        ├── NoSession        4404 · 410   the session it speaks of is not, or no longer, here
        ├── TooSlow          4408 · 408   its request did not arrive in time
        ├── Superseded       4409 · 409   a newer transport has taken over
        ├── TooLarge         4413 · 413   its message or batch is over the limit
        ├── TooMany          4429 · 429   it asks for more than its share
        └── Draining         1012 · 503   the server is about to stop

`Refused` carries one close code (RFC 6455 §7.4; 4xxx are ours) and one HTTP status (RFC 9110 §15), so that the
same fault is answered in the same words over every transport.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class HybridError(Exception):
    """Anything that goes wrong in hybridws."""


class SessionClosed(HybridError):
    """The session has ended.

    `unacked` holds the messages that were sent and whose arrival the other side never confirmed, oldest first.
    """

    def __init__(self, code: int, reason: str = "", unacked: Sequence[object] = ()) -> None:
        """Say why the session ended (`code`, `reason`) and what may be lost (`unacked`)."""
        self.code = code
        self.reason = reason
        self.unacked = tuple(unacked)
        lost = f"; {len(self.unacked)} message(s) unconfirmed" if self.unacked else ""
        super().__init__(f"session closed with {code}{f' ({reason})' if reason else ''}{lost}")


class BufferFull(HybridError):
    """`send_nowait` found the buffer full; nothing was sent. Wait with `await session.send(message)` instead."""


class Stalled(HybridError):
    """`send` waited `send_timeout` seconds and the far side took nothing; nothing was sent."""


class Unsendable(HybridError, ValueError):
    """The message cannot be said in the words this client understands; nothing was sent."""


class MessageTooLarge(Unsendable):
    """The message is longer than `max_message` once it is encoded; nothing was sent."""


_CODES: Final = range(1000, 5000)
"""Close codes (RFC 6455 §7.4.2); the other side understands no other in an answer."""


class RequestFailed(HybridError):
    """A request was answered with an error. An answerer raises it to answer so.

    `code` is a close code (1000-4999) or the application's own of that range; `text` is for people.
    """

    def __init__(self, code: int, text: str = "") -> None:
        """Fail with a code and a text. Raises ValueError for those that the other side would not understand."""
        if type(code) is not int or code not in _CODES:
            raise ValueError(f"the code of a failed request is a whole number from 1000 to 4999, not {code!r}")
        if type(text) is not str:
            raise ValueError(f"the text of a failed request must be text, not {text!r}")
        self.code = code
        self.text = text
        super().__init__(f"the request failed with {code}{f' ({text})' if text else ''}")


class Refused(HybridError):
    """The far side did something that it may not do."""

    code: ClassVar[int] = 4400
    status: ClassVar[int] = 400
    headers: ClassVar[Mapping[str, str]] = {}
    cause: str = "malformed"
    """One of few words by which refusals are counted."""

    def __init__(
        self, reason: str, details: Mapping[str, object] | None = None, *, cause: str = "", hint: str = ""
    ) -> None:
        """Refuse for `reason`, in words for the far side; `details` may tell it what to do (`retry`, `n` ...).

        `cause` counts it apart from others of its kind. `hint` tells the operator which option would change it; it
        stands in the log only.
        """
        super().__init__(reason)
        self.reason = reason
        self.details = dict(details or {})
        self.hint = hint
        if cause:
            self.cause = cause


class Malformed(Refused):
    """The bytes are not what the protocol says they should be."""


class NotAuthenticated(Refused):
    """Nobody knows who this client is."""

    code = 4401
    status = 401
    cause = "not_authenticated"


class Forbidden(Refused):
    """The client may not do this."""

    code = 4403
    status = 403
    cause = "forbidden"


class NoSession(Refused):
    """The session is not here, or no longer."""

    code = 4404
    status = 410
    cause = "no_session"


class TooSlow(Refused):
    """The request, or the first frame, did not arrive in time."""

    code = 4408
    status = 408
    cause = "too_slow"


class Superseded(Refused):
    """A newer transport of the session has taken over."""

    code = 4409
    status = 409
    cause = "superseded"


class TooLarge(Refused):
    """A message or a batch is over its limit."""

    code = 4413
    status = 413
    cause = "too_large"


class TooMany(Refused):
    """The client asks for more than its share."""

    code = 4429
    status = 429
    cause = "too_many"


class Draining(Refused):
    """The server is about to stop and takes nobody new."""

    code = 1012
    status = 503
    cause = "draining"
