"""hybridws: two-way sessions between Python and any client, through any network."""

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
from hybridws.server import Server
from hybridws.session import Closed, Session

__version__ = "0.1.0"
__all__ = [
    "ANY_ORIGIN",
    "ANY_ORIGIN_WITH_CREDENTIALS",
    "BufferFull",
    "Closed",
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
]
