"""The kinds of servers: which client one takes, over what, and at which addresses it can be hurt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hybridws.cli.torture.others import SocketIOPeer, SockJSPeer
from hybridws.cli.torture.peers import HybridPeer
from hybridws.testing.hostile import RUBBISH, SOCKJS_BODIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hybridws.cli.torture.peers import Peer


class Dialect(NamedTuple):
    """One kind of server."""

    peer: Callable[[str, str | None, Mapping[str, Any]], Peer]
    transports: tuple[str, ...]
    resumes: bool
    """Whether a session outlives its connection, so that nothing may be lost."""
    socket: str
    """Where its WebSocket is, below the address ..."""
    posts: tuple[str, ...]
    """... and where it takes bodies."""
    opens: str
    """The POST that makes `{sid}` a session ..."""
    hello: bytes
    """... with this body."""
    bodies: tuple[bytes, ...] = RUBBISH
    says_500: bool = False
    """Whether the protocol itself answers what is malformed with 500."""


DIALECTS: Final = {
    "hybridws": Dialect(
        HybridPeer,
        ("websocket", "stream", "poll"),
        resumes=True,
        socket="/v1/websocket",
        posts=("/v1/open", "/v1/{sid}/poll", "/v1/{sid}/stream", "/v1/{sid}/send"),
        opens="/v1/open",
        hello=b'["i",{"v":1}]',
    ),
    "sockjs": Dialect(
        SockJSPeer,
        ("websocket", "poll"),
        resumes=False,
        socket="/000/{sid}/websocket",
        posts=("/000/{sid}/xhr_send", "/000/{sid}/xhr_streaming", "/000/{sid}/jsonp_send"),
        opens="/000/{sid}/xhr",
        hello=b"",
        bodies=(*(body.encode("utf-8", "surrogatepass") for body in SOCKJS_BODIES), *RUBBISH),
        says_500=True,
    ),
    "socketio": Dialect(
        SocketIOPeer,
        ("websocket", "poll"),
        resumes=False,
        socket="/?EIO=4&transport=websocket",
        posts=("/?EIO=4&transport=polling", "/?EIO=4&transport=polling&sid={sid}"),
        opens="/?EIO=4&transport=polling",
        hello=b"40",
        bodies=(*RUBBISH, b"4", b"9", b"42", b'42["', b"450-", b'451-["x"]', b"b!!!", b"6\x1e" * 9999),
    ),
}
