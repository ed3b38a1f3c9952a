"""Who listens to what: rooms, and one message to many sessions."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from hybridws.core import codes
from hybridws.core.packets import Message
from hybridws.errors import SessionClosed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hybridws.session import Session


def publish(sessions: Iterable[Session], value: object) -> int:
    """Send one message to many sessions, and return to how many. It waits for nobody.

    The message is encoded once per codec, and all outboxes share the bytes. A client that has held its buffer full for
    `slow_grace`, or whose buffer is full twice over, is closed with 4008: everybody else's messages do not wait for it.
    Raises Unsendable or MessageTooLarge if one of the clients could not be sent this message; then nobody was.
    """
    members = [session for session in sessions if session.closed is None]
    encoded: dict[tuple[str, int], bytes] = {}
    for session in members:
        link = session.link
        key = (link.codec.name, id(link.options))
        if key not in encoded:
            encoded[key] = link.codec.dumps(Message(value), link.options)
    reached = 0
    for session in members:
        link = session.link
        if link.full and (session.slow or link.outbox.size >= 2 * link.options.buffer):
            session.abort(codes.TOO_SLOW, f"too slow: {link.outbox.size} bytes were waiting")
            continue
        session.post(encoded[link.codec.name, id(link.options)])
        reached += 1
    return reached


class Room:
    """A named set of sessions. A session leaves by itself when it ends."""

    __slots__ = ("__weakref__", "_members", "name")

    def __init__(self, name: str) -> None:
        """Make an empty room."""
        self.name: Final = name
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

    def publish(self, value: object, except_: Collection[Session] | Session = ()) -> int:
        """Send one message to all members but `except_`, and return to how many. Raises what `hub.publish` raises."""
        left_out = except_ if isinstance(except_, Collection) else (except_,)
        return publish([session for session in self._members if session not in left_out], value)


class Hub:
    """The rooms of one server. A room with members, or one that somebody holds on to, is kept; others are forgotten."""

    __slots__ = ("_rooms",)

    def __init__(self) -> None:
        """Start without rooms."""
        # A member's session holds the room (by its `leave`), so the members themselves keep a room alive.
        self._rooms: WeakValueDictionary[str, Room] = WeakValueDictionary()

    def room(self, name: str) -> Room:
        """Return the room of this name; all who ask for the name while it lives get the same one."""
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(name)
        return room
