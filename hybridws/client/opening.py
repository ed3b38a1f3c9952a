"""Opens a session: a hello, repeated with the same nonce until the server itself answers (protocol §4)."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable
from dataclasses import replace
from random import random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hybridws.client.courier import Courier, NetworkFault, Turned, believe, hello
from hybridws.client.news import Attempt, Info
from hybridws.core.backoff import Backoff
from hybridws.core.codec import JSON, MSGPACK, Batch
from hybridws.core.packets import Message, Open, Position
from hybridws.errors import HybridError, Malformed, TooLarge
from hybridws.options import Options

if TYPE_CHECKING:
    from collections.abc import Mapping

CODECS: Final = {"json": JSON, "msgpack": MSGPACK}
DEFAULTS: Final = Options()
LEAST_TRIP: Final = 0.001
"""Seconds of a round trip at least, where the server has waited for its application and we cannot tell how long."""


class NothingShared(HybridError):
    """None of the transports that may be used here is offered there."""

    def __init__(self, wanted: tuple[str, ...], offered: tuple[str, ...]) -> None:
        """Name both."""
        super().__init__(
            f"the server offers {', '.join(offered) or 'nothing'}, and we may use {', '.join(wanted)} only"
        )


class Bid(NamedTuple):
    """What kind of session is asked for."""

    order: tuple[str, ...]
    """The transports that may be used, the best first."""
    codec: str
    auth: object
    """Credentials, or a function, plain or async, that returns fresh ones."""

    async def credentials(self) -> object:
        """Return fresh credentials."""
        auth = self.auth() if callable(self.auth) else self.auth
        return await auth if isinstance(auth, Awaitable) else auth


class Opened(NamedTuple):
    """A session that the server has made."""

    sid: str
    key: str
    heartbeat: float
    poll_timeout: float
    transports: tuple[str, ...]
    """What the server offers."""
    options: Options
    """Our own, with the limits that the server named."""
    batch: Batch
    """What came with it: the ack of our first words, and the application's."""


def first_words(codec: str, first: list[object]) -> list[bytes]:
    """Encode the messages that ride with the opening. Raises Unsendable, MessageTooLarge."""
    return [CODECS[codec].dumps(Message(value), DEFAULTS) for value in first]


async def ask(courier: Courier, bid: Bid, words: list[bytes], info: Info, patience: float) -> Opened:
    """Ask for a session until there is one. Raises Turned if the server refuses, TimeoutError after `patience` s."""
    codec, nonce, backoff = CODECS[bid.codec], secrets.token_urlsafe(16), Backoff()
    places = [codec.dumps(Position(1), DEFAULTS)] if words else []
    rest = b"".join(frame.payload for frame in codec.frames(places + words)) if words else b""
    async with asyncio.timeout(patience):
        while True:
            body = hello(bid.codec, nonce, await bid.credentials()) + b"\n" + rest
            begun = time.time()
            attempt = Attempt("open", begun)
            info.attempts.append(attempt)
            try:
                opened = _read(*await courier.post("open", body, patience), bid.codec)
            except NetworkFault as fault:
                attempt.failure = str(fault)
                attempt.took = time.time() - begun
                await asyncio.sleep(backoff.failed(random()))  # noqa: S311 - jitter
            except Turned as turned:
                attempt.failure = str(turned)
                attempt.took = time.time() - begun
                retry = turned.details.get("retry")
                if not isinstance(retry, int | float):
                    raise
                await asyncio.sleep(float(retry))
            else:
                attempt.took = time.time() - begun
                info.measured(max(attempt.took - DEFAULTS.open_linger, LEAST_TRIP))
                return opened


def _read(status: int, answer: bytes, codec: str) -> Opened:
    """Read what the server has made. Raises NetworkFault, Turned."""
    line, _, tail = answer.partition(b"\n")
    packet = believe(status, line, JSON, DEFAULTS)[0][0]
    if not isinstance(packet, Open):
        raise NetworkFault("the answer to an open was something else")
    said = packet.session
    try:
        return Opened(
            sid=str(said["sid"]),
            key=str(said["key"]),
            heartbeat=float(said["heartbeat"]),
            poll_timeout=float(said["poll_timeout"]),
            transports=tuple(map(str, said["transports"])),
            options=_limits(said),
            batch=CODECS[codec].loads(tail, DEFAULTS),
        )
    except (Malformed, TooLarge, KeyError, TypeError, ValueError) as fault:
        raise NetworkFault(f"the answer to an open makes no sense: {fault!r}") from None


def _limits(said: Mapping[str, Any]) -> Options:
    limits: dict[str, Any] = {name: int(said[name]) for name in ("buffer", "max_message", "max_batch")}
    limits |= {name: int(said[name]) for name in ("max_packets", "max_elements", "max_depth") if name in said}
    limits |= {name: float(said["resume"]) for name in ("resume", "send_timeout")}
    return replace(DEFAULTS, **limits)
