"""The demo: a chat that shows what carries it, and whose network you may break. `hybridws demo` starts it."""

from .server import TABS, application

__all__ = ["TABS", "application"]
