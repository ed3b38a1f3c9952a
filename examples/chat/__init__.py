"""The demo: a chat that shows what carries it, and whose network you may break. `hybridws demo` starts it."""

from .compare import CannotCompare, install, peers
from .server import TABS, application

__all__ = ["TABS", "CannotCompare", "application", "install", "peers"]
