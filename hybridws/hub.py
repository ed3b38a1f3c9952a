"""Who listens to what: rooms, named sets of sessions."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from hybridws.broadcast import check_slow, publish
from hybridws.errors import SessionClosed

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from hybridws.broadcast import Slow
    from hybridws.session import Session


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
        own policy. `key` goes with `latest` and is compared within this room. Raises what `broadcast.publish` raises.
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
