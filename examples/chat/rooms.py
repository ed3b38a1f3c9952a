"""A chat in rooms: who says what to whom, over whatever transport each browser gets through."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hybridws import Server, Session

    from .probe import Probe

ROOMS: Final = ("lobby", "garden", "workshop")
"""Rooms that are always there, so that nobody arrives at an empty list."""

MAX_ROOMS: Final = 100
"""Rooms at once."""

MAX_GUESTS: Final = 200
"""Sessions in one room: a newcomer is sent the list of them all, and each of them is told of the newcomer."""

HISTORY: Final = 50
"""Messages of a room that a newcomer is shown: a few screens of them."""

HISTORY_BYTES: Final = 600_000
"""Bytes of pictures among them: three or four. With MAX_ROOMS this bounds what the chat keeps, to 60 MB."""

MAX_NAME: Final = 32
"""Characters in the name of a person or a room: more does not fit on a line of a phone."""

MAX_TEXT: Final = 2_000
"""Characters in one message: about a page."""

MAX_TAG: Final = 16
"""Characters in the tag by which a page knows its own message again."""

MARK: Final = 12
"""Bytes at the head of a picture that say which one it is: its tag on the way up, its id on the way down."""

MAX_PICTURE: Final = 180_000
"""Bytes of a picture: in JSON they travel as base64, a third more, and a message has at most 256 KiB."""

PICTURES: Final = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"RIFF")
"""How PNG, JPEG, GIF and WebP begin."""

TRANSPORT_NEWS: Final = 0.5
"""Seconds after which the others see that somebody is carried by another transport."""

NEWS_DELAY: Final = 0.5
"""Seconds that changes to the list of rooms are gathered, so that a crowd that comes in at once makes one message."""

UNSEEN: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What could garble the page of others: control characters, overrides of the writing direction, lone surrogates."""


class Sorry(Exception):
    """What a guest asked for cannot be done; the text is for the guest to read."""


class Guest:
    """One tab of a browser: its session, who it says it is, and the room it is in."""

    def __init__(self, session: Session) -> None:
        """Welcome a session that has not said anything yet."""
        self.session = session
        self.id = secrets.token_hex(6)
        self.name = "somebody"
        self.room: ChatRoom | None = None
        self.shows: dict[str, str] = {}
        """Pictures that were announced and have not come: their tags and what they are called."""

    def card(self) -> dict[str, object]:
        """Return what others may know of the guest."""
        return {"who": self.id, "name": self.name, "transport": self.session.transport}


class ChatRoom:
    """The guests of one room, and what they said last."""

    def __init__(self, name: str, server: Server) -> None:
        """Open an empty room."""
        self.name = name
        self.guests: dict[Guest, None] = {}  # a dict keeps the order, so that of two sessions the newer one counts
        self.said: deque[tuple[dict[str, object], bytes]] = deque(maxlen=HISTORY)
        """Messages, and the bytes of those that are pictures."""
        self._live = server.room(name)

    def enter(self, guest: Guest) -> None:
        """Let a guest in, and tell the others."""
        guest.room = self
        self.guests[guest] = None
        self.tell({"is": "here", **guest.card()})
        self._live.join(guest.session)

    def leave(self, guest: Guest) -> None:
        """Let a guest out, and tell the others, unless the same guest is still here with another session."""
        guest.room = None
        self.guests.pop(guest, None)
        self._live.leave(guest.session)
        if guest.id not in self.people():
            self.tell({"is": "gone", "who": guest.id})

    def people(self) -> dict[str, Guest]:
        """Return who is here, by id. Two sessions with one id are one person, whose tab has just changed transports."""
        return {guest.id: guest for guest in self.guests}

    def tell(self, news: dict[str, object], *, but: tuple[Session, ...] = ()) -> None:
        """Tell everybody here, `but` these."""
        self._live.publish(news, except_=but)

    def say(self, guest: Guest, text: str, tag: str, picture: bytes = b"") -> None:
        """Pass on a message, to the guest as well: that is how a page knows that its message was said."""
        message: dict[str, object] = {
            "is": "message",
            "room": self.name,
            "who": guest.id,
            "name": guest.name,
            "text": text,
            "at": int(time.time() * 1000),
            "tag": UNSEEN.sub("", tag)[:MAX_TAG],
        }
        if picture:
            message["picture"] = secrets.token_hex(MARK // 2)
            picture = str(message["picture"]).encode() + picture
        self.said.append((message, picture))
        while sum(len(picture) for _, picture in self.said) > HISTORY_BYTES:
            self.said.popleft()
        self.tell(message)
        if picture:
            self._live.publish(picture)


class Chat:
    """All the rooms."""

    def __init__(self, server: Server) -> None:
        """Open the rooms that are always there."""
        self._server = server
        self._rooms = {name: ChatRoom(name, server) for name in ROOMS}
        self._news: asyncio.TimerHandle | None = None

    def rooms(self) -> list[dict[str, object]]:
        """Return the names of the rooms, and how many people are in each."""
        return [{"name": room.name, "people": len(room.people())} for room in self._rooms.values()]

    def room(self, name: str) -> ChatRoom:
        """Return the room of this name, which is made if there is none. Raises Sorry if it is full, or all are."""
        room = self._rooms.get(name) or self._make(name)
        if len(room.guests) >= MAX_GUESTS:
            raise Sorry(f"{name} is full: it holds {MAX_GUESTS}.")
        return room

    def enter(self, guest: Guest, room: ChatRoom) -> None:
        """Bring a guest into a room."""
        room.enter(guest)
        self._spread()

    def leave(self, guest: Guest) -> None:
        """Take a guest out of the room it is in, if any."""
        if guest.room:
            guest.room.leave(guest)
            self._spread()

    def _make(self, name: str) -> ChatRoom:
        if len(self._rooms) >= MAX_ROOMS:
            empty = (room.name for room in self._rooms.values() if not room.guests and room.name not in ROOMS)
            oldest = next(empty, None)
            if oldest is None:
                raise Sorry(f"There are {MAX_ROOMS} rooms already, and somebody is in each.")
            del self._rooms[oldest]
        self._rooms[name] = ChatRoom(name, self._server)
        return self._rooms[name]

    def _spread(self) -> None:
        """Tell everybody what rooms there are, soon."""
        if self._news is None:
            self._news = asyncio.get_running_loop().call_later(NEWS_DELAY, self._tell_all)

    def _tell_all(self) -> None:
        self._news = None
        self._server.broadcast({"is": "rooms", "rooms": self.rooms()})


async def visit(session: Session, chat: Chat, probe: Probe | None = None) -> None:
    """Serve one tab from its first message to its last; what its probe says is not for the chat."""
    guest = Guest(session)
    news = asyncio.create_task(tell_transport(guest))
    try:
        async for message in session:
            if probe and isinstance(message, dict) and message.get("do") == "probe":
                probe.hear(message)
                continue
            try:
                await obey(guest, message, chat)
            except Sorry as refusal:
                await session.send({"is": "error", "text": str(refusal)})
    finally:
        news.cancel()
        chat.leave(guest)


async def tell_transport(guest: Guest) -> None:
    """Tell the room when a guest is carried by another transport."""
    told = guest.session.transport
    while True:
        await asyncio.sleep(TRANSPORT_NEWS)
        if guest.room and guest.session.transport != told:
            told = guest.session.transport
            guest.room.tell({"is": "here", **guest.card()})


async def obey(guest: Guest, message: Any, chat: Chat) -> None:  # noqa: ANN401 - any JSON value may come
    """Do what one message asks for. Raises Sorry."""
    match message, guest.room:
        case {"do": "join", "room": str(name), "name": str(called)}, _:
            name, called = clean(name, MAX_NAME, "room's name").lower(), clean(called, MAX_NAME, "name")
            await join(guest, name, called, message.get("key"), chat)
        case ((bytes() | {"do": "say" | "show" | "typing" | "name"}), None):
            raise Sorry("Join a room first.")
        case {"do": "say", "text": str(text)}, ChatRoom() as room:
            room.say(guest, clean(text, MAX_TEXT, "message"), str(message.get("tag", "")))
        case {"do": "show", "text": str(text), "tag": str(tag)}, ChatRoom() if len(tag) == MARK:
            guest.shows = {tag: clean(text, MAX_TEXT, "picture's name")}
        case bytes(), ChatRoom() as room:
            show(guest, message, room)
        case {"do": "typing", "on": bool(on)}, ChatRoom() as room:
            room.tell({"is": "typing", "who": guest.id, "on": on}, but=(guest.session,))
        case {"do": "name", "name": str(called)}, ChatRoom() as room:
            guest.name = clean(called, MAX_NAME, "name")
            room.tell({"is": "here", **guest.card()})
        case {"do": "join" | "say" | "show" | "typing" | "name" as what}, _:
            raise Sorry(f'"{what}" came without all that it needs; examples/README.md lists it.')
        case _:
            raise Sorry('Nobody here knows what to do with that; send an object such as {"do": "say", "text": "hi"}.')


def show(guest: Guest, message: bytes, room: ChatRoom) -> None:
    """Pass on a picture that was announced before. Raises Sorry."""
    tag, picture = message[:MARK].decode("latin-1"), message[MARK:]
    text = guest.shows.pop(tag, None)
    if text is None:
        raise Sorry('Say {"do": "show", "text": …, "tag": …} first, and put the tag before the picture\'s bytes.')
    if len(picture) > MAX_PICTURE:
        raise Sorry(f"A picture has at most {MAX_PICTURE:,} bytes; this one has {len(picture):,}.")
    if not picture.startswith(PICTURES):
        raise Sorry("That is no picture: it must be PNG, JPEG, GIF or WebP.")
    room.say(guest, text, tag, picture)


async def join(guest: Guest, name: str, called: str, key: object, chat: Chat) -> None:
    """Bring a guest into a room and tell it what it finds there."""
    room = chat.room(name)
    chat.leave(guest)
    guest.name = called
    if isinstance(key, str):
        guest.id = public_id(key)
    chat.enter(guest, room)
    past = list(room.said)
    await guest.session.send(
        {
            "is": "joined",
            "room": room.name,
            "you": guest.id,
            "transport": guest.session.transport,
            "people": [person.card() for person in room.people().values()],
            "rooms": chat.rooms(),
            "past": len(past),
        }
    )
    for message, picture in past:  # one by one: all in one message could be larger than a message may be
        await guest.session.send(message)
        if picture:
            await guest.session.send(picture)


def clean(text: str, limit: int, what: str) -> str:
    """Return the text without what cannot be seen. Raises Sorry if that is empty or longer than `limit`."""
    cleaned = UNSEEN.sub("", text).strip()
    if what != "message":
        cleaned = " ".join(cleaned.split())
    if not cleaned:
        raise Sorry(f"A {what} needs at least one character.")
    if len(cleaned) > limit:
        raise Sorry(f"A {what} has at most {limit} characters; this one has {len(cleaned)}.")
    return cleaned


def public_id(key: str) -> str:
    """Make the id that others see from a tab's secret key: a tab that comes back is known, and none can be faked."""
    return hashlib.blake2s(key.encode(errors="surrogatepass"), digest_size=6).hexdigest()
