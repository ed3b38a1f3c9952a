"""The session that a server gives to an application: weak references to it can be held, also where it is compiled.

The objects of compiled classes take no weak references, but those of a subclass that Python itself makes do. It adds
nothing else and overrides nothing, so `Session` is final for all others, and the compiler calls its methods straight.
"""

from __future__ import annotations

from hybridws.session import Session


class Referable(Session):  # type: ignore[misc] # pyright: ignore[reportGeneralTypeIssues] # final, but for this
    """A session, and room for weak references."""

    __slots__ = ("__weakref__",)
