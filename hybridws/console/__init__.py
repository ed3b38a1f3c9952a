"""A page for operators: what goes on in the servers of an application, second by second (docs/operations.md)."""

from hybridws.console.door import basic_auth
from hybridws.console.mounting import mount_console

__all__ = ["basic_auth", "mount_console"]
