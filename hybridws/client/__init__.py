"""The Python client: one session over whatever transports the network lets through."""

from hybridws.client.connection import CannotConnect, Connection, connect
from hybridws.client.news import Attempt, Event, Info

__all__ = ["Attempt", "CannotConnect", "Connection", "Event", "Info", "connect"]
