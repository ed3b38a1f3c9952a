"""A client without a socket: it takes a seat in a session, brings what a test says, and writes when a test says."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from multidict import CIMultiDict

from hybridws.core.link import Link
from hybridws.core.packets import Message
from hybridws.core.sockjs import SOCKJS
from hybridws.exchange import Request
from hybridws.options import Options
from hybridws.referable import Referable

if TYPE_CHECKING:
    from hybridws.core.codec import Codec
    from hybridws.session import Session

EPOCH = 1_000_000_000.0
"""What the scripted wall clock shows at first."""


class Clock:
    """A wall clock that moves when it is told to."""

    def __init__(self) -> None:
        """Start at EPOCH."""
        self.now = EPOCH

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def asked(
    method: str = "GET",
    headers: dict[str, str] | None = None,
    *,
    remote: str = "127.0.0.1",
    scheme: str = "http",
    path: str = "/chat/000/abc/websocket",
) -> Request:
    """Make a request as a framework would hand it over."""
    return Request(
        method=method,
        path=path,
        tail=path.removeprefix("/chat"),
        query={"room": "tea"},
        headers=CIMultiDict(headers or {}),
        cookies={"user": "ada"},
        remote=remote,
        scheme=scheme,
    )


def begin(
    codec: Codec = SOCKJS,
    *,
    sid: str = "s1",
    clock: Clock | None = None,
    shared: Options | None = None,
    **options: Any,  # noqa: ANN401 - checked by Options
) -> Session:
    """Open a session that has no server; the options are `shared` or made of keywords."""
    return Referable(sid, Link(codec, shared or Options(**options)), asked(), clock or Clock())


def alive(session: Session) -> bool:
    """Tell whether a session has not ended."""
    return session.closed is None


async def idle() -> None:
    """Let every task run until all wait for something."""
    for _ in range(20):
        await asyncio.sleep(0)


class Wire:
    """A transport in memory: nothing moves on it but by `say`, `bring` and `write`."""

    def __init__(self, session: Session, name: str = "websocket") -> None:
        """Take the session's seat."""
        self.session = session
        self.rings = 0
        self.seat = session.attach(name, self._wake)

    def _wake(self) -> None:
        self.rings += 1

    def bring(self, data: str | bytes) -> None:
        """Feed the session what came in one frame or body."""
        link = self.session.link
        self.seat.heard = True
        self.session.feed(self.seat.lane, link.codec.loads(data, link.options))

    def say(self, *texts: str) -> None:
        """Bring texts, as a SockJS client does."""
        self.bring(json.dumps(texts))

    def write(self, most: int | None = None) -> list[bytes]:
        """Write what is pending, `most` frames at most; the network takes all of it. Return the frames' bytes."""
        written: list[bytes] = []
        while (most is None or len(written) < most) and (frames := self.seat.pending()):
            for frame in frames[: None if most is None else most - len(written)]:
                self.seat.wrote(frame)
                written.append(frame.payload)
                self.seat.delivered()
        return written

    def heard(self) -> list[Any]:
        """Write what is pending, and return the messages in it, as the client reads them."""
        link = self.session.link
        if link.codec is SOCKJS:
            return [text for frame in self.write() if frame.startswith(b"a") for text in json.loads(frame[1:])]
        batches = [link.codec.loads(frame, link.options) for frame in self.write()]
        return [packet.value for batch in batches for packet, _ in batch if isinstance(packet, Message)]
