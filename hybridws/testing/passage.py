"""What a mode of the hostile proxy makes of one request and its answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from hybridws.testing.ends import Ended
from hybridws.testing.http1 import (
    UPGRADED,
    Body,
    Broken,
    Framing,
    Head,
    read_request,
    read_response,
    write_response,
)

if TYPE_CHECKING:
    from hybridws.testing.ends import End
    from hybridws.testing.modes import Mode
    from hybridws.testing.relay import Connection

REPLAY_AFTER: Final = 0.05
"""Seconds that the first of two equal POSTs gets to be answered, before it is given up."""
PAGE: Final = "<html><head><title>{0} {1}</title></head><body><h1>{0} {1}</h1></body></html>\r\n"
PHRASES: Final = {400: "Bad Request", 403: "Forbidden", 407: "Proxy Authentication Required", 502: "Bad Gateway"}


async def serve_one(connection: Connection) -> bool:
    """Serve the next request of a connection; tell whether another may follow. Raises Ended."""
    client, network = connection.client, connection.network
    try:
        head = await read_request(client)
        if head is None:
            return False
        mode, counters = network.mode, network.counters
        counters.requests += 1
        counters.upgrades += head.upgrade
        turn = counters.requests - network.begun_at
        body = Body(client, head)
        if mode.bad_every and turn % mode.bad_every == 0:
            await body.read_all()
            return await _answer(client, mode, head, 502)
        if head.upgrade and mode.upgrades == "refuse":
            return await _answer(client, mode, head, mode.status)
        if head.upgrade and mode.upgrades == "hang":
            connection.leave_with_client()
            await asyncio.Event().wait()
        if mode.reorders and not head.upgrade and turn % 2:
            await asyncio.sleep(mode.reorders)
        return await _pass(connection, mode, head, body)
    except Broken:
        await _answer(client, network.mode, None, 400)
        return False
    finally:
        connection.stay()


async def _answer(client: End, mode: Mode, head: Head | None, status: int) -> bool:
    """Answer in the network's own name: with a page for people, and no header that a script could read it by."""
    page = PAGE.format(status, PHRASES.get(status, "Refused")).encode()
    headers = [("Content-Type", "text/html"), ("Content-Length", str(len(page))), ("Connection", "close")]
    words = write_response(status, PHRASES.get(status, "Refused"), 0 if mode.http10 else 1, headers)
    await client.send(words if head and head.method == "HEAD" else words + page)
    return False


async def _pass(connection: Connection, mode: Mode, head: Head, body: Body) -> bool:
    """Pass a request on, and its answer back."""
    client, network = connection.client, connection.network
    if "100-continue" in head.tokens("expect"):
        await client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    whole: bytes | None = None
    twice = mode.replays is not None and head.method == "POST"
    if mode.http10 or twice:
        whole = await body.read_all()
    words = _request(head, mode, network.host_header, whole)
    try:
        if twice and whole is not None:
            await _replay(network, mode, words + whole)
        origin = await connection.reach_origin()
    except OSError:
        return await _answer(client, mode, head, 502)
    sender = network.start(_send(connection, origin, words, whole, body if head.framing is Framing.CHUNKED else body))
    try:
        try:
            answer = await read_response(origin, head.method)
        except (Ended, Broken):
            return await _answer(client, mode, head, 502)
        if answer.status == UPGRADED:
            await _tunnel(connection, mode, answer)
            return False
        keep = await _pass_back(client, origin, mode, head, answer)
        return keep and sender.done()
    finally:
        sender.cancel()
