"""What can be wrong with a request to an address; the refusals that all floors know are in `hybridws.errors`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from hybridws.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Collection


class Missing(Refused):
    """There is nothing at this address."""

    status = 404
    cause = "no_address"


class WrongMethod(Refused):
    """The address takes other methods."""

    status = 405
    cause = "wrong_method"

    def __init__(self, allowed: Collection[str]) -> None:
        """Keep the methods that it does take."""
        super().__init__(f"this address takes {', '.join(allowed)}")
        self.allowed = allowed


class WrongVersion(Refused):
    """The client speaks a version that this server does not."""

    status = 426
    cause = "wrong_version"


class UpgradeRequired(Refused):
    """This address is for WebSockets."""

    status = 426
    cause = "no_upgrade"
    headers: ClassVar = {"Upgrade": "websocket"}  # RFC 9110 §15.5.22


class WrongCodec(Refused):
    """The session cannot be carried in this way."""

    status = 406
    cause = "wrong_codec"


class BrokenRequest(Refused):
    """The request is broken; SockJS says so with status 500."""

    status = 500
