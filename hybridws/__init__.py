"""hybridws: two-way sessions between Python and any client, through any network."""

from hybridws.client import CannotConnect, Connection, connect
from hybridws.client.news import Event
from hybridws.errors import (
    BufferFull,
    Forbidden,
    HybridError,
    MessageTooLarge,
    Refused,
    RequestFailed,
    SessionClosed,
    Stalled,
    Unsendable,
)
from hybridws.hub import Room
from hybridws.options import ANY_ORIGIN, ANY_ORIGIN_WITH_CREDENTIALS, Admission, Options
from hybridws.run import CannotServe, run
from hybridws.server import Server
from hybridws.session import Closed, Session
from hybridws.version import __version__

__all__ = [
    "ANY_ORIGIN",
    "ANY_ORIGIN_WITH_CREDENTIALS",
    "Admission",
    "BufferFull",
    "CannotConnect",
    "CannotServe",
    "Closed",
    "Connection",
    "Event",
    "Forbidden",
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
