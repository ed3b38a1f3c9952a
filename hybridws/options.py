"""Every number that can be set, with its unit and the reason for its default."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Final, Literal

ANY_ORIGIN: Final = "*"
"""Pages of any origin may connect, but never with cookies (no `Access-Control-Allow-Credentials`)."""

ANY_ORIGIN_WITH_CREDENTIALS: Final = "any origin, with credentials"
"""Pages of any origin may connect *as the user whose cookies the browser holds*. For public test servers only."""

Origins = Collection[str] | Literal["*", "any origin, with credentials"] | None

SOCKJS_TRANSPORTS: Final = ("websocket", "xhr-streaming", "eventsource", "xhr-polling")
LEGACY_TRANSPORTS: Final = ("htmlfile", "jsonp-polling")
RAW_TRANSPORTS: Final = ("websocket-raw",)

NATIVE_TRANSPORTS: Final = ("stream", "poll")
TRANSPORTS: Final = SOCKJS_TRANSPORTS + LEGACY_TRANSPORTS + RAW_TRANSPORTS + NATIVE_TRANSPORTS

KIB: Final = 1024
MIB: Final = 1024 * KIB
LEAST_PACKETS: Final = 4
"""A body may bring an attach, an ack and a position before its first message."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What `authenticate` may return when a user alone does not say it all.

    Raises ValueError for an end of the admission that is no number of seconds above 0.
    """

    user: object
    """Who it is. None and False are nobody, and refused, here as without this class."""
    expires: float | None = None
    """Seconds until the client must show fresh credentials; None is never."""

    def __post_init__(self) -> None:
        """Refuse an end that cannot be reckoned with."""
        left = self.expires
        if left is not None and (type(left) not in (int, float) or not left > 0):
            raise ValueError(f"expires must be a number of seconds above 0, or None for never, not {left!r}")


Authenticate = Callable[[Any, Any], object]
"""Of a request and of what the client says (`auth`); plain or async."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a mount may be told. Times are in seconds, sizes in bytes."""

    # Who may come in
    origins: Origins = None
    """Pages that may connect: None is the page's own origin, else exact origins (`https://example.org`)."""
    public_url: str | None = None
    """The scheme and host that browsers see, when a proxy in front rewrites `Host`."""
    trusted_proxies: Collection[str] = ()
    """Addresses or networks whose `Forwarded` and `X-Forwarded-*` headers are believed."""

    # What is offered
    transports: Collection[str] | None = None
    """The transports on offer, by SockJS's names; None is all of them (the legacy ones only with `legacy`)."""
    legacy: bool = False
    """Offer htmlfile, jsonp-polling and the iframe page: script tags and frames, for browsers of before 2012."""
    payload: Literal["text", "json"] = "text"
    """`json`: text from a client that can carry only text is parsed, so that the application sees values."""
    subprotocols: Collection[str] = ()
    """Subprotocols in order of preference (RFC 6455 §1.9); exactly one is chosen, on every transport of our clients."""
    compress: bool = False
    """permessage-deflate (RFC 7692): about 116 KiB a connection and 5 µs a message, so off unless wanted."""
    direct: bool = True
    """Read and write connections ourselves where that is safe; False leaves each to aiohttp, which takes far more time
    and memory. (A WebSocket with `compress` is always aiohttp's.)"""
    jsessionid: bool | Callable[[Any], str] = False
    """Set the cookie JSESSIONID, for balancers that stick by it; a function gives its value for a request."""
    sockjs_url: str | None = None
    """The script that the iframe page loads; None is the copy of sockjs-client 1.6.1 that the mount serves."""

    # Limits of one message and one batch
    max_message: int = 256 * KIB
    """One message as encoded: what a buffer of 1 MiB holds four of."""
    max_batch: int = MIB + 4 * KIB
    """One body or WebSocket frame: a full `buffer` and its framing."""
    max_packets: int = 10_000
    """Packets in one batch, 4 at least (attach, ack, position, message): keeps the loop's pause for one body in the
    tens of milliseconds."""
    max_depth: int = 32
    """Nesting of a JSON value: parsers recurse, and a stack that overflows ends the process."""
    max_elements: int = 10_000
    """Items in all the lists and maps of one value: 1 MiB of `[]` would otherwise become 64 MB of objects."""

    # Who the client is
    authenticate: Authenticate | None = None
    """`authenticate(request, auth)`, plain or async, returns the user, an `Admission`, or None for nobody (401); or it
    raises `hybridws.Forbidden` with a reason (403)."""
    max_fresh: int = 256
    """Sessions of one address that nobody has attached to yet; a company behind one address stays far below."""
    opens_per_second: float = 100
    """New sessions of one address per second, on average ..."""
    opens_burst: int = 500
    """... and at once: a whole office reconnects when its Wi-Fi comes back."""

    max_sessions_per_user: int | None = None
    """Sessions of one user, as `authenticate` names it; one more is answered with 429. None is any number."""
    messages_per_second: float | None = None
    """Messages of one session that the application is given per second, on average over two; None is any number. What
    is more waits, its ack too, and so the sender slows down; nothing is refused."""

    # What is kept
    buffer: int = MIB
    """Unconfirmed messages each way, each counted as its bytes + 64 (about what Python adds)."""
    chunk: int = 64 * KIB
    """Bytes given to the network in one go; a link that takes none of them for long is dead, a slow one takes some."""
    send_timeout: float = 120.0
    """`send` waits so long for room, then raises `Stalled`: two peers that only send would wait for ever."""
    slow_grace: float = 5.0
    """Broadcasts may hold a buffer full for so long; then, or at once if it is full twice over, their policy acts."""

    keep_ended: int = 100
    """Sessions that have ended of which `server.past` tells the story, for diagnosis: about 2 KB each."""

    # Times of a session
    heartbeat_delay: float = 25.0
    """An idle transport is sent a heartbeat: below the 30 s after which some balancers cut."""
    disconnect_delay: float = 5.0
    """A session without a receiver lives so long (SockJS's own default)."""
    pong_timeout: float = 10.0
    """A WebSocket that brings nothing at all for so long after a heartbeat has left is dropped."""
    close_timeout: float = 10.0
    """A close that the client does not answer is waited for so long."""
    handler_grace: float = 10.0
    """A handler may use so long for its `finally` after its session ended, then it is cancelled."""
    stop_timeout: float = 8.0
    """The end of the server takes no longer, whatever handlers and clients do: many kill a process after 10 s."""

    # Times of a native session (docs/protocol.md §7)
    heartbeat: float = 20.0
    """An idle stream or WebSocket is sent a heartbeat: below the 30 s of several balancers."""
    poll_timeout: float = 25.0
    """An idle poll is answered after so long: below the 30 s of several proxies."""
    linger: float = 0.25
    """A poll that brought messages waits so long for the application's answer: one request per round trip."""
    open_linger: float = 0.02
    """The answer to an open waits so long for the application's first words."""
    min_heartbeat: float = 2.0
    """A client may wish for heartbeats as often as this, behind a box that cuts what is silent."""
    resume: float = 120.0
    """Life without a transport: a tunnel, a lift, a laptop carried from one room to another."""
    attach_timeout: float = 30.0
    """A session that nothing attaches to at all ends sooner."""
    away_after: float = 5.0
    """Without a transport for so long, a client counts as not online."""
    trial_timeout: float = 5.0
    """A WebSocket that is to take over from another transport must show within this time that it hears."""
    first_frame: float = 10.0
    """A WebSocket must say what it wants within this time."""
    ack_delay: float = 0.25
    """An ack that nothing else carries goes alone after so long on a WebSocket ..."""
    stream_ack_delay: float = 10.0
    """... and on a stream."""
    renew_before: float = 30.0
    """A client is told so long before its credentials expire."""
    stream_limit: int = 4 * MIB
    """A stream ends after so many bytes, and the client attaches the next one, without a gap."""
    stream_age: float = 600.0
    """A stream ends after so long, for proxies that limit a response's age."""
    events: bool = False
    """Offer `GET /v1/{sid}/events` for EventSource and curl; its key stands in the query, and so in access logs."""

    # Times and sizes of a request
    response_limit: int = 128 * KIB
    """A stream ends after so many bytes: a browser keeps the whole response in memory (SockJS's default)."""
    body_grace: float = 10.0
    """A request's body may take so long at any speed ..."""
    body_rate: int = KIB
    """... and must come with so many bytes per second on average from then on, or is answered with 408."""
    max_sends: int = 4
    """POSTs of one session that may wait for room at once; one more is answered with 429."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, with the name and value of what is wrong (ValueError)."""
        self._check_numbers()
        self._check_others()
        if not self.max_message <= self.max_batch <= 2 * self.buffer:
            raise ValueError(
                "max_message <= max_batch <= 2 * buffer must hold, but they are "
                f"{self.max_message}, {self.max_batch} and 2 * {self.buffer}: raise what stands on the right too, or "
                "lower what stands on the left"
            )
        if self.max_packets < LEAST_PACKETS:
            raise ValueError(
                f"max_packets must be {LEAST_PACKETS} at least, not {self.max_packets}: a body may bring an attach, an "
                "ack and a position before its first message"
            )
        if self.transports is not None and not self.transports:
            raise ValueError("transports must name one at least; None is all of them")
        if unknown := set(self.transports or ()) - set(TRANSPORTS):
            raise ValueError(f"unknown transports {sorted(unknown)}; there are {', '.join(TRANSPORTS)}")
        if (asked := set(self.transports or ()) & set(LEGACY_TRANSPORTS)) and not self.legacy:
            raise ValueError(f"{sorted(asked)} are offered only with legacy=True")
        if self.payload not in ("text", "json"):
            raise ValueError(f'payload must be "text" or "json", not {self.payload!r}')
        if isinstance(self.origins, str) and self.origins not in (ANY_ORIGIN, ANY_ORIGIN_WITH_CREDENTIALS):
            raise ValueError(f"origins must be a list of origins, not the text {self.origins!r}")

        _check_authenticate(self.authenticate)

    @classmethod
    def read(cls, given: dict[str, Any]) -> Options:
        """Make the options that are given by name. Raises ValueError, for a name that there is not as well."""
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                near = get_close_matches(name, known, 1)
                raise ValueError(f"there is no option {name!r}{f'; did you mean {near[0]!r}?' if near else ''}")
        return cls(**given)

    def _check_numbers(self) -> None:
        for name in _POSITIVE:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ValueError(f"{name} must be a number above 0, not {value!r}")
            if name in _WHOLE and not isinstance(value, int):
                raise ValueError(f"{name} must be a whole number, not {value!r}")
        for name in _MAYBE:
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
                raise ValueError(f"{name} must be a number above 0, or None for no limit, not {value!r}")
            if name in _WHOLE and not isinstance(value, int | None):
                raise ValueError(f"{name} must be a whole number, or None for no limit, not {value!r}")

    def _check_others(self) -> None:
        for name in _LISTS:
            value = getattr(self, name)
            if type(value) is str:
                raise ValueError(f"{name} must be a list, not the text {value!r}")
        for name in _SWITCHES:
            value = getattr(self, name)
            if type(value) is not bool:
                raise ValueError(f"{name} must be True or False, not {value!r}")

    def offers(self, transport: str) -> bool:
        """Tell whether a transport of this name is on offer."""
        if self.transports is not None:
            return transport in self.transports
        return self.legacy or transport not in LEGACY_TRANSPORTS


def _check_authenticate(authenticate: object) -> None:
    """Raise ValueError for what cannot be called with a request and with what the client says."""
    if authenticate is None:
        return
    try:
        inspect.signature(authenticate).bind(None, None)  # type: ignore[arg-type]  # no function is a TypeError
    except TypeError:
        raise ValueError(
            f"authenticate must be a function of a request and of what the client says, not {authenticate!r}"
        ) from None
    except ValueError:  # a built-in that does not tell its arguments
        return


_LISTS: Final = ("subprotocols", "transports", "trusted_proxies")
_WHOLE: Final = frozenset(field.name for field in fields(Options) if field.type in ("int", "int | None"))
_MAYBE: Final = tuple(field.name for field in fields(Options) if field.type in ("int | None", "float | None"))
_SWITCHES: Final = tuple(field.name for field in fields(Options) if field.type == "bool")
_POSITIVE: Final = tuple(field.name for field in fields(Options) if field.type in ("int", "float"))
