"""Who listens to what: rooms, and one message to many sessions.

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

from collections.abc import Collection
from typing import TYPE_CHECKING, Final, Literal, get_args
from weakref import WeakValueDictionary

from hybridws.core import codes
from hybridws.core.outbox import OVERHEAD
from hybridws.core.packets import Message
from hybridws.errors import SessionClosed

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

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
    members = [session for session in sessions if session.closed is None]
    encoded: dict[tuple[str, int], bytes] = {}
    for session in members:
        link = session.link
        dialect = (link.codec.name, id(link.options))
        if dialect not in encoded:
            encoded[dialect] = link.codec.dumps(Message(value), link.options)
    reached = 0
    for session in members:
        link = session.link
        words = encoded[link.codec.name, id(link.options)]
        if link.full and (session.slow or link.outbox.size >= 2 * link.options.buffer):
            if slow != "close":
                session.relieve(len(words) + OVERHEAD, key)
            if slow == "close" or link.outbox.size >= 2 * link.options.buffer:
                session.abort(codes.TOO_SLOW, f"too slow: {link.outbox.size} bytes were waiting")
                continue
        session.post(words, loose=loose, key=key)
        reached += 1
    return reached


class Room:
    """A named set of sessions. A session leaves by itself when it ends."""

    __slots__ = ("__weakref__", "_members", "name", "slow")

    def __init__(self, name: str, slow: Slow = "close") -> None:
        """Make an empty room."""
        self.name: Final = name
        self.slow: Slow = slow
        """The slow-consumer policy of what is published without one of its own."""
        self._members: dict[Session, None] = {}  # a dict keeps the order of joining

    def __repr__(self) -> str:
        """Tell the room's name and size."""
        return f"<Room {self.name!r}, {len(self._members)} members>"

    def __len__(self) -> int:
        """Count the members."""
        return len(self._members)

    def __iter__(self) -> Iterator[Session]:
        """Go through the members in the order in which they joined."""
        return iter(self.members)

    def __contains__(self, session: object) -> bool:
        """Tell whether a session is a member."""
        return session in self._members

    @property
    def members(self) -> tuple[Session, ...]:
        """The members now, in the order in which they joined."""
        return tuple(self._members)

    def join(self, session: Session) -> None:
        """Let a session in; a second time changes nothing. Raises SessionClosed."""
        if session.closed:
            raise SessionClosed(session.closed.code, session.closed.reason)
        if session not in self._members:
            self._members[session] = None
            session.at_end(self.leave)

    def leave(self, session: Session) -> None:
        """Let a session out; one that is not here changes nothing."""
        if session in self._members:
            del self._members[session]
            session.not_at_end(self.leave)

    def publish(
        self,
        value: object,
        except_: Collection[Session] | Session = (),
        *,
        slow: Slow | None = None,
        key: Hashable | None = None,
    ) -> int:
        """Send one message to all members but `except_`, and return to how many.

        `slow` is what becomes of members that take too little: `close`, `drop_oldest` or `latest`; None is the room's
        own policy. `key` goes with `latest` and is compared within this room. Raises what `hub.publish` raises.
        """
        left_out = except_ if isinstance(except_, Collection) else (except_,)
        members = [session for session in self._members if session not in left_out]
        return publish(members, value, slow=self.slow if slow is None else slow, key=key, channel=self.name)


class Hub:
    """The rooms of one server. A room with members, or one that somebody holds on to, is kept; others are forgotten."""

    __slots__ = ("_rooms",)

    def __init__(self) -> None:
        """Start without rooms."""
        # A member's session holds the room (by its `leave`), so the members themselves keep a room alive.
        self._rooms: WeakValueDictionary[str, Room] = WeakValueDictionary()

    @property
    def rooms(self) -> list[Room]:
        """All rooms there are now."""
        return list(self._rooms.values())

    def room(self, name: str, slow: Slow | None = None) -> Room:
        """Return the room of this name; all who ask for the name while it lives get the same one.

        `slow` becomes its slow-consumer policy; None leaves it as it is (at first `close`).
        """
        if slow is not None:
            check_slow(slow)
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(name)
        if slow is not None:
            room.slow = slow
        return room
