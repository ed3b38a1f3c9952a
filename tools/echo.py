"""An echo with everything on offer, for tools/torture and tools/autobahn; the limits of one address are lifted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from hybridws.aiohttp import mount

if TYPE_CHECKING:
    from hybridws import Session


async def echo(session: Session) -> None:
    """Say everything back."""
    async for message in session:
        await session.send(message)


LARGE = 20 * 2**20
"""Bytes of a message: the largest of the Autobahn suite takes 16 MiB."""

app = web.Application()
mount(app, "/echo", echo, legacy=True, opens_per_second=10_000, opens_burst=100_000, max_fresh=100_000)
mount(app, "/large", echo, max_message=LARGE, max_batch=LARGE, buffer=LARGE, send_timeout=600)
