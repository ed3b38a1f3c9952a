"""The comparison: Socket.IO and SockJS under the same faults as hybridws, in `hybridws demo --compare`."""

from .install import CannotCompare, install, versions
from .ours import OURS, Pages, visit
from .peers import Peers, peers

__all__ = ["OURS", "CannotCompare", "Pages", "Peers", "install", "peers", "versions", "visit"]
