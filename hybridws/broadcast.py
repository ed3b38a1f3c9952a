"""One message to many sessions, and what becomes of those who take too little.

Nobody waits for the socket of another, so a broadcast needs a word for clients that take less than is said to them. Its
*slow-consumer policy* acts on a client whose outbox has held a whole `buffer` for `slow_grace` seconds, or holds two:

`close`        the session ends with 4008. The default: nobody misses a message without being told.
`drop_oldest`  the oldest broadcasts of this policy are dropped, until the new one finds room. Chats, logs, feeds.
`latest`       broadcasts of this policy are dropped of which a newer one has the same `key`. Prices, positions, states.

What is dropped keeps its number: a native client is told how many it has missed (`k`; `session.skipped` of the Python
client). Clients of SockJS and raw WebSockets do not count, so they are told nothing: to them a dropped broadcast was
never sent. What `session.send` sent is never dropped, and where dropping does not help, a session with two `buffer`
ends with 4008 all the same. Who wants to wait instead sends with `await session.send` to each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from hybridws.core import codes
from hybridws.core.outbox import OVERHEAD
from hybridws.core.packets import Message

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from hybridws.session import Session


Slow = Literal["close", "drop_oldest", "latest"]
"""A slow-consumer policy (see the file's head)."""


def check_slow(slow: str) -> None:
    """Raise ValueError for what is no slow-consumer policy."""
    if slow not in get_args(Slow):
        raise ValueError(
            f"slow must be one of {', '.join(map(repr, get_args(Slow)))}, not {slow!r}"
            + (": to wait for a slow client, `await session.send(...)` to each" if slow == "wait" else "")
        )


def publish(
    sessions: Iterable[Session],
    value: object,
    *,
    slow: Slow = "close",
    key: Hashable | None = None,
    channel: Hashable | None = None,
) -> int:
    """Send one message to many sessions, and return to how many. It waits for nobody.

    The message is encoded once per codec, and all outboxes share the bytes. `slow` says what becomes of clients that
    take too little (see the file's head): SockJS and raw clients are not told of what is dropped, native ones are.
    `key` goes with `latest` and is compared within `channel`; without one, all of a channel's have the same.

    Raises Unsendable or MessageTooLarge if one of the clients could not be sent this message, and ValueError for an
    unknown policy or a key that goes with none; then nobody was sent anything.
    """
    check_slow(slow)
    if slow == "latest":
        key = (channel, key)
    elif key is not None:
        raise ValueError(f"a key goes with slow='latest' only: with {slow!r} it would be of no use")
    loose = slow == "drop_oldest"
    encoded: dict[tuple[str, int], bytes] = {}
    deliveries: list[tuple[Session, bytes]] = []
    for session in sessions:
        if session.closed is None:
            link = session.link
            dialect = (link.codec.name, id(link.options))
            words = encoded.get(dialect)
            if words is None:
                words = encoded[dialect] = link.codec.dumps(Message(value), link.options)
            deliveries.append((session, words))
    reached = 0
    for session, words in deliveries:
        link = session.link
        if link.full and (session.slow or link.outbox.size >= 2 * link.options.buffer):
            if slow != "close":
                session.relieve(len(words) + OVERHEAD, key)
            if slow == "close" or link.outbox.size >= 2 * link.options.buffer:
                session.abort(codes.TOO_SLOW, f"too slow: {link.outbox.size} bytes were waiting")
                continue
        session.post(words, loose=loose, key=key)
        reached += 1
    return reached
