"""Clients that are not ours, on SockJS and on the raw WebSocket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from tests.conformance.wire import Witness, echo

if TYPE_CHECKING:
    from tests.conformance.peers import Dial, Mounting


MAX = 256 * 1024
"""The default of max_message."""


async def test_aiohttp_client(place: Mounting, dial: Dial) -> None:
    """The client of aiohttp gets on with plain addresses and with both WebSockets."""
    where = await place(echo)
    peer = dial(where, "xhr-polling")
    await peer.open()
    async with ClientSession(where.origin, headers={"Origin": where.origin}) as client:
        async with client.get("/echo/info") as reply:
            assert (await reply.json())["websocket"] is True
        async with client.post(f"/echo{peer.address}/xhr_send", data='["x"]') as reply:
            assert reply.status == 204
        assert await peer.receive() == "x"
        async with client.ws_connect("/echo/a/b/websocket") as sockjs:
            assert await sockjs.receive_str() == "o"
            await sockjs.send_str('["x"]')
            assert await sockjs.receive_str() == 'a["x"]'
        async with client.ws_connect("/echo/websocket") as raw:
            await raw.send_bytes(b"x")
            assert await raw.receive_bytes() == b"x"


@pytest.mark.parametrize("packed", [False, True])
async def test_websockets_client(packed: bool, place: Mounting) -> None:  # noqa: FBT001 - a parameter of the table
    """The client of the `websockets` package gets on with both WebSockets, packed only where we offer that."""
    where = await place(echo, compress=packed)
    url = where.origin.replace("http", "ws") + where.prefix
    async with connect(f"{url}/websocket", origin=Origin(where.origin)) as raw:
        assert raw.response
        assert ("permessage-deflate" in raw.response.headers.get("Sec-WebSocket-Extensions", "")) is packed
        for message in ("x", b"y", "z" * MAX):
            await raw.send(message)
            assert await raw.recv() == message
        await raw.send(["in ", "parts"])
        assert await raw.recv() == "in parts"
        await (await raw.ping())
        await raw.close(3333, "bye")
    async with connect(f"{url}/a/b/websocket", origin=Origin(where.origin)) as sockjs:
        assert await sockjs.recv() == "o"
        await sockjs.send('["x"]')
        assert await sockjs.recv() == 'a["x"]'


@pytest.mark.rule("S9.7")
async def test_packed_bomb(place: Mounting) -> None:
    """What unpacks to more than max_batch is refused like what was never packed."""
    witness = Witness()
    where = await place(witness, compress=True, max_message=1000, max_batch=2000)
    url = where.origin.replace("http", "ws") + where.prefix
    async with connect(f"{url}/websocket", origin=Origin(where.origin)) as raw:
        await raw.send("x" * 10_000_000)
        with pytest.raises(ConnectionClosed):
            await raw.recv()
        assert raw.close_code == 1009
    await witness.end()
    assert witness.messages.empty()
