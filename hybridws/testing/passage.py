"""What a mode of the hostile proxy makes of one request and its answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from hybridws.testing.ends import Ended
from hybridws.testing.http1 import (
    UPGRADED,
    Body,
    Broken,
    Framing,
    Head,
    chunk,
    read_request,
    read_response,
    write_request,
    write_response,
)

if TYPE_CHECKING:
    from hybridws.testing.ends import End
    from hybridws.testing.modes import Mode
    from hybridws.testing.relay import Connection, Network

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
        network.requests += 1
        network.upgrades += head.upgrade
        mode, turn = network.mode, network.requests - network.begun_at
        body = Body(client, head)
        if mode.bad_every and turn % mode.bad_every == 0:
            await body.read_all()
            return await _answer(client, mode, head, 502)
        if head.upgrade and mode.upgrades == "refuse":
            return await _answer(client, mode, head, mode.status)
        if head.upgrade and mode.upgrades == "hang":
            connection.leave_with_client()
            await asyncio.Event().wait()
        if mode.reorders and turn % 2 and not head.upgrade:
            await asyncio.sleep(mode.reorders)
        return await _pass(connection, mode, head, body)
    except Broken:
        return await _answer(client, network.mode, None, 400)
    finally:
        connection.outlive_client()


async def _answer(client: End, mode: Mode, head: Head | None, status: int) -> bool:
    """Answer in the network's own name: with a page for people, and then the end of the connection."""
    phrase = PHRASES.get(status, "Refused")
    page = PAGE.format(status, phrase).encode()
    headers = [("Content-Type", "text/html"), ("Content-Length", str(len(page))), ("Connection", "close")]
    words = write_response(status, phrase, 0 if mode.http10 else 1, headers)
    await client.send(words if head and head.method == "HEAD" else words + page)
    return False


# ── the request ───────────────────────────────────────────────────────────────────────────────────────────────────


async def _pass(connection: Connection, mode: Mode, head: Head, body: Body) -> bool:
    """Pass a request on, and its answer back."""
    client, network = connection.client, connection.network
    if "100-continue" in head.tokens("expect"):
        await client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    twice = mode.replays is not None and head.method == "POST"
    whole = await body.read_all() if mode.http10 or twice else None
    words = _request(head, mode, network.host_header, whole) + (whole or b"")
    try:
        if twice:
            await _replay(network, mode, words)
        origin = await connection.reach_origin()
    except OSError:
        return await _answer(client, mode, head, 502)
    chunked = whole is None and head.framing is Framing.CHUNKED
    sender = network.start(_send(connection, origin, words, body, chunked=chunked))
    try:
        try:
            answer = await read_response(origin, head.method)
        except (Ended, Broken):
            return await _answer(client, mode, head, 502)
        if answer.status == UPGRADED:
            sender.cancel()
            await _tunnel(connection, origin, mode, answer)
            return False
        keep = await _pass_back(client, origin, mode, head, answer)
        connection.drop_origin()
        return keep and sender.done()
    finally:
        sender.cancel()


def _request(head: Head, mode: Mode, host: str | None, whole: bytes | None) -> bytes:
    """Write the head of a request as it goes on."""
    resized = whole is not None and head.framing is not Framing.NONE
    drop = ["expect"] + ["host"] * bool(host) + ["content-length"] * resized
    headers = head.end_to_end(*drop)
    if host:
        headers.insert(0, ("Host", host))
    if resized:
        headers.append(("Content-Length", str(len(whole or b""))))
    elif head.framing is Framing.CHUNKED:
        headers.append(("Transfer-Encoding", "chunked"))
    if head.upgrade and not mode.http10:
        headers += [("Upgrade", "websocket"), ("Connection", "Upgrade")]
    else:
        headers.append(("Connection", "close"))
    return write_request(head, 0 if mode.http10 else 1, headers)


async def _send(connection: Connection, origin: End, words: bytes, body: Body, *, chunked: bool) -> None:
    """Send a request on; after it nothing more is done for a client that leaves."""
    try:
        await origin.send(words)
        while piece := await body.read():
            await origin.send(chunk(piece) if chunked else piece)
        if chunked:
            await origin.send(chunk(b""))
        await origin.drain()
    except Broken:
        connection.cut()
    except Ended:
        if connection.client.ended:
            origin.abort()  # half a request
    else:
        connection.leave_with_client()


async def _replay(network: Network, mode: Mode, words: bytes) -> None:
    """Send a whole request besides the one that is answered. Raises OSError."""
    if mode.replays:
        network.start(_late_copy(network, mode.replays, words))
        return
    first = await network.connect()
    try:
        async with asyncio.timeout(REPLAY_AFTER):
            await first.send(words)
            await first.drain()
            await first.read()
    except (Ended, TimeoutError):
        pass
    finally:
        first.close()  # in order, so that what was sent arrives


async def _late_copy(network: Network, after: float, words: bytes) -> None:
    await asyncio.sleep(after)
    with suppress(OSError, Ended):
        copy = await network.connect()
        try:
            await copy.send(words)
            while await copy.read():
                pass
        finally:
            copy.abort()


# ── the answer ────────────────────────────────────────────────────────────────────────────────────────────────────


async def _pass_back(client: End, origin: End, mode: Mode, head: Head, answer: Head) -> bool:
    """Pass an answer back; tell whether its end was clear without the end of the connection. Raises Ended."""
    body = Body(origin, answer)
    held = bytearray()
    complete = answer.framing is Framing.NONE
    try:
        while not complete and len(held) < mode.holds:
            piece = await body.read()
            held += piece
            complete = not piece
    except (Ended, Broken):
        return await _answer(client, mode, head, 502)
    sized = complete or answer.framing is Framing.LENGTH
    chunked = not sized and head.minor > 0 and not mode.http10
    keep = head.keep_alive and not mode.http10 and (sized or chunked)
    headers = answer.end_to_end()
    if complete and answer.framing in (Framing.CHUNKED, Framing.CLOSE):
        headers.append(("Content-Length", str(len(held))))
    if chunked:
        headers.append(("Transfer-Encoding", "chunked"))
    headers.append(("Connection", "keep-alive" if keep else "close"))
    words = write_response(answer.status, answer.phrase, 0 if mode.http10 else 1, headers)
    await client.send(words + (chunk(bytes(held)) if chunked and held else held))
    if complete:
        return keep
    try:
        while piece := await body.read():
            await client.send(chunk(piece) if chunked else piece)
    except Broken:
        raise Ended from None
    if chunked:
        await client.send(chunk(b""))
    return keep


async def _tunnel(connection: Connection, origin: End, mode: Mode, answer: Head) -> None:
    """Carry a WebSocket until either side ends. Raises Ended where it breaks."""
    client, network = connection.client, connection.network
    connection.outlive_client()  # what it said last is carried to its end
    headers = [*answer.end_to_end(), ("Upgrade", "websocket"), ("Connection", "Upgrade")]
    await client.send(write_response(UPGRADED, answer.phrase, 1, headers))
    if mode.life is not None:
        connection.live_for(mode.life)
    if mode.upgrades == "silence":
        origin.deaf = True
        while await client.read():
            pass
        return
    ways = [network.start(_carry(client, origin)), network.start(_carry(origin, client))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
    if client.broken or origin.broken:
        origin.abort()
        raise Ended
    await origin.drain()


async def _carry(source: End, target: End) -> None:
    with suppress(Ended):
        while data := await source.read():
            await target.send(data)
        await target.drain()
