"""hybridws: two-way sessions between Python and any client, through any network."""

from hybridws.client import CannotConnect, Connection, connect
from hybridws.errors import (
    BufferFull,
    HybridError,
    MessageTooLarge,
    Refused,
    RequestFailed,
    SessionClosed,
    Stalled,
    Unsendable,
)
from hybridws.hub import Room
from hybridws.options import ANY_ORIGIN, ANY_ORIGIN_WITH_CREDENTIALS, Options
from hybridws.run import CannotServe, run
from hybridws.server import Server
from hybridws.session import Closed, Session
from hybridws.version import __version__

__all__ = [
    "ANY_ORIGIN",
    "ANY_ORIGIN_WITH_CREDENTIALS",
    "BufferFull",
    "CannotConnect",
    "CannotServe",
    "Closed",
    "Connection",
    "HybridError",
    "MessageTooLarge",
    "Options",
    "Refused",
    "RequestFailed",
    "Room",
    "Server",
    "Session",
    "SessionClosed",
    "Stalled",
    "Unsendable",
    "__version__",
    "connect",
    "run",
]
