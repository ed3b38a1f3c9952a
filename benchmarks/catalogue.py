"""What is measured: a table of servers and a table of workloads."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Kind = Literal["ws", "poll", "stream", "mixed"]
Mode = Literal["echo", "fanout", "idle", "opens"]

SHARE: Final = 0.8
"""Of the sessions of a mixed workload these are WebSockets, and the others poll."""


class Peer(NamedTuple):
    """One server and the wires by which it is spoken to: for each kind of transport a dialect and a path."""

    name: str
    title: str
    runtime: Literal["own", "compiled", "venv", "tornado", "node"]
    file: str
    wires: dict[str, tuple[str, str]]
    only: tuple[str, ...] = ()
    """The workloads that it is measured with; empty for all. A run takes most of an hour as it is."""


_NATIVE: Final = {"ws": ("native-ws", "/echo"), "poll": ("native-poll", "/echo"), "stream": ("native-stream", "/echo")}
_SOCKJS: Final = {"ws": ("sockjs-ws", "/echo"), "poll": ("xhr", "/echo"), "stream": ("xhr-streaming", "/echo")}
_ENGINE: Final = {"ws": ("eio-ws", "/socket.io/"), "poll": ("eio-poll", "/socket.io/")}
_PLAIN: Final = {"ws": ("raw", "/")}

_BETWEEN: Final = ("ws-echo-1", "ws-echo-16", "fanout-1000")
"""Where it is shown what each of compiling and uvloop gives by itself."""

_ANSWERS: Final = ("ws-echo-1", "ws-echo-16", "poll-echo", "stream-echo", "opens")
"""Where it matters whether the application is a coroutine or a function."""

_SMALL: Final = ("ws-echo-1", "ws-echo-16", "fanout-1000", "fanout-5000", "opens")
"""What floor.py can do: small messages."""

PEERS: Final = (
    Peer("run", "**hybridws**, own runner", "own", "ours_run.py", _NATIVE),
    Peer("run-sockjs", "**hybridws**, own runner, SockJS dialect", "own", "ours_run.py", _SOCKJS),
    Peer("compiled", "**hybridws**, own runner, compiled", "compiled", "ours_run.py", _NATIVE, _BETWEEN),
    Peer("uvloop", "**hybridws**, own runner, uvloop", "own", "ours_fast.py", _NATIVE, _BETWEEN),
    Peer("fast", "**hybridws**, own runner, compiled, uvloop", "compiled", "ours_fast.py", _NATIVE),
    Peer(
        "fast-sockjs", "**hybridws**, own runner, compiled, uvloop, SockJS dialect", "compiled", "ours_fast.py", _SOCKJS
    ),
    Peer(
        "plain",
        "**hybridws**, own runner, compiled, uvloop, a plain function",
        "compiled",
        "ours_plain.py",
        _NATIVE,
        _ANSWERS,
    ),
    Peer(
        "plain-sockjs",
        "**hybridws**, own runner, compiled, uvloop, a plain function, SockJS dialect",
        "compiled",
        "ours_plain.py",
        _SOCKJS,
        _ANSWERS,
    ),
    Peer("ours", "**hybridws**, mounted", "own", "ours.py", _NATIVE),
    Peer("ours-sockjs", "**hybridws**, mounted, SockJS dialect", "own", "ours.py", _SOCKJS),
    Peer("floor", "nothing but sockets, uvloop", "own", "floor.py", _PLAIN, _SMALL),
    Peer("uwebsockets", "uWebSockets (socketify)", "venv", "uwebsockets.py", _PLAIN),
    Peer("ws", "ws (Node)", "node", "ws.mjs", _PLAIN),
    Peer("aiohttp", "aiohttp, plain", "venv", "aiohttp_plain.py", _PLAIN),
    Peer("websockets", "websockets", "venv", "websockets_plain.py", _PLAIN),
    Peer("sockjs-node", "sockjs-node", "node", "sockjs-node.mjs", _SOCKJS),
    Peer("socketio", "Socket.IO (Node)", "node", "socketio.mjs", _ENGINE),
    Peer("aiolibs-sockjs", "aio-libs/sockjs", "venv", "aiolibs_sockjs.py", _SOCKJS),
    Peer("sockjs-tornado", "sockjs-tornado", "tornado", "sockjs_tornado.py", _SOCKJS),
    Peer("python-socketio", "python-socketio", "venv", "python_socketio.py", _ENGINE),
)
"""In the order of the tables. The first that is measured is what the others are compared with."""


class Workload(NamedTuple):
    """One kind of load."""

    name: str
    title: str
    kind: Kind
    mode: Mode
    sessions: int
    outstanding: int = 1
    size: int = 64
    peers: tuple[str, ...] = ()
    """Who is measured; empty for all who have the transport. Thousands of sessions take their time to open."""


_OF_GROWTH: Final = ("run", "fast", "ws", "socketio")
_OF_MEMORY: Final = ("run", "ours", "uwebsockets", "ws", "aiohttp", "sockjs-node", "socketio", "python-socketio")

WORKLOADS: Final = (
    Workload("ws-echo-1", "WebSocket echo, 200 sessions, one message under way each", "ws", "echo", 200),
    Workload("ws-echo-16", "WebSocket echo, 200 sessions, 16 under way each", "ws", "echo", 200, 16),
    Workload("fanout-1000", "Fan-out to 1,000, one publish under way", "ws", "fanout", 1000, 1, 100),
    Workload("fanout-5000", "Fan-out to 5,000, four publishes under way", "ws", "fanout", 5000, 4, 100),
    Workload("poll-echo", "Long-poll echo, 200 sessions", "poll", "echo", 200),
    Workload("stream-echo", "Streaming echo, 200 sessions", "stream", "echo", 200),
    Workload("mixed", "Mixed echo, 160 WebSockets and 40 polling sessions", "mixed", "echo", 200),
    Workload("large", "WebSocket echo of 64 KiB, 20 sessions", "ws", "echo", 20, 1, 65536),
    Workload("opens", "WebSocket sessions opened and closed, 32 at a time", "ws", "opens", 32),
    Workload("grow-100", "WebSocket echo, 100 sessions", "ws", "echo", 100, peers=_OF_GROWTH),
    Workload("grow-1000", "WebSocket echo, 1,000 sessions", "ws", "echo", 1000, peers=_OF_GROWTH),
    Workload("grow-10000", "WebSocket echo, 10,000 sessions", "ws", "echo", 10_000, peers=_OF_GROWTH),
    Workload("idle-ws", "10,000 idle WebSockets", "ws", "idle", 10_000, peers=_OF_MEMORY),
    Workload("idle-poll", "10,000 parked polls", "poll", "idle", 10_000, peers=_OF_MEMORY),
)


class Target(NamedTuple):
    """What hybridws is to reach: for the same work a peer is to need at least `factor` times the server CPU."""

    workload: str
    ours: tuple[str, ...]
    peer: str
    factor: float


_OURS: Final = ("run", "run-sockjs", "fast", "fast-sockjs", "plain", "plain-sockjs")

TARGETS: Final = (
    Target("ws-echo-1", _OURS, "ws", 1.2),
    Target("ws-echo-1", _OURS, "sockjs-node", 2.5),
    Target("ws-echo-1", _OURS, "socketio", 2.5),
    Target("ws-echo-1", _OURS, "python-socketio", 10),
    Target("ws-echo-16", _OURS, "ws", 1.2),
    Target("ws-echo-16", _OURS, "sockjs-node", 3),
    Target("fanout-1000", _OURS, "ws", 1.1),
    Target("fanout-1000", _OURS, "socketio", 1.7),
    Target("fanout-5000", _OURS, "ws", 3),
    Target("fanout-5000", _OURS, "sockjs-node", 4),
    Target("fanout-5000", _OURS, "socketio", 4),
    Target("fanout-5000", _OURS, "python-socketio", 25),
    Target("poll-echo", _OURS, "sockjs-node", 2.5),
    Target("poll-echo", _OURS, "socketio", 2),
    Target("poll-echo", _OURS, "python-socketio", 6),
    Target("poll-echo", ("ours-sockjs",), "aiolibs-sockjs", 1.3),
    Target("poll-echo", ("ours",), "sockjs-node", 1),
    Target("stream-echo", _OURS, "sockjs-node", 2),
    Target("opens", _OURS, "ws", 2),
)


class Bound(NamedTuple):
    """What hybridws is to keep to, whatever others do."""

    title: str
    ours: tuple[str, ...]
    workload: str
    what: Literal["kilobytes", "lag", "cpu"]
    most: float
    unit: str
    against: str = ""
    """A workload: what counts is how many times its figure that is."""


BOUNDS: Final = (
    Bound("Memory of an idle WebSocket", ("run", "ours"), "idle-ws", "kilobytes", 8, "kB"),
    Bound("Memory of a parked poll", ("run", "ours"), "idle-poll", "kilobytes", 7, "kB"),
    Bound("Loop lag p99 in a fan-out to 5,000", _OURS, "fanout-5000", "lag", 50, "ms"),
    Bound(
        "CPU of an echo with 10,000 sessions, against 100",
        ("run", "fast"),
        "grow-10000",
        "cpu",
        1.3,
        "×",
        "grow-100",
    ),
)
