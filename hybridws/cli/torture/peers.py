"""A client as a trial sees it, and ours, the one that users have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import aiohttp

from hybridws import client
from hybridws.errors import HybridError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

FAULTS: Final = (aiohttp.ClientError, OSError, HybridError, TimeoutError, ValueError)
"""What a client raises where there is no session to be had."""


class Peer(Protocol):
    """One client, over one transport or several."""

    @property
    def resets(self) -> int:
        """Sessions that were lost."""
        ...

    @property
    def transport(self) -> str | None:
        """The transport in use; None while there is none."""
        ...

    async def open(self) -> None:
        """Open a session. Raises one of FAULTS."""
        ...

    async def send(self, text: str) -> None:
        """Send a message, once there is a connection to send it on."""
        ...

    def __aiter__(self) -> AsyncIterator[object]:
        """Receive messages, until the client is closed."""
        ...

    async def close(self) -> None:
        """End the session."""
        ...

    def hurry(self) -> None:
        """Note that the network is another one now."""
        ...


class HybridPeer:
    """A client of hybridws."""

    def __init__(self, url: str, transport: str | None, options: Mapping[str, Any]) -> None:
        """Prepare to use one transport, or all of them."""
        chosen: dict[str, Any] = {**options, **({"transports": [transport]} if transport else {})}
        self._connection = client.connect(url, onlost="reopen", **chosen)
        self._open = False

    @property
    def resets(self) -> int:
        """Sessions that were lost."""
        return self._connection.info.resets

    @property
    def transport(self) -> str | None:
        """The transport in use; None while there is none."""
        return self._connection.transport if self._connection.online else None

    async def open(self) -> None:
        """Open a session."""
        await self._connection.__aenter__()
        self._open = True

    async def send(self, text: str) -> None:
        """Send a message."""
        await self._connection.send(text)

    async def __aiter__(self) -> AsyncIterator[object]:
        """Receive messages."""
        async for message in self._connection:
            yield message

    async def close(self) -> None:
        """End the session."""
        if self._open:
            await self._connection.__aexit__(None, None, None)

    def hurry(self) -> None:
        """Try the best transport at once."""
        self._connection.network_changed()
