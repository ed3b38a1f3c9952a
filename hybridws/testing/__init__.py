"""For tests, ours and yours: hostile networks, a lossy wire, a clock that waits for nothing, handlers in memory."""

from hybridws.testing.clock import Clock, Stuck, scripted_loop
from hybridws.testing.memory import Client, talk
from hybridws.testing.modes import Flip, Mode, parse, usage
from hybridws.testing.proxy import Counters, HostileProxy
from hybridws.testing.wire import Wire

__all__ = [
    "Client",
    "Clock",
    "Counters",
    "Flip",
    "HostileProxy",
    "Mode",
    "Stuck",
    "Wire",
    "parse",
    "scripted_loop",
    "talk",
    "usage",
]
