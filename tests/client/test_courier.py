"""What carries a client's requests, on real sockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest

from hybridws.client.courier import Courier, Late, NetworkFault, Quiet
from tests.client.ground import listen, within

if TYPE_CHECKING:
    from tests.client.ground import Mounting


@pytest.mark.parametrize("reads", [True, False])
async def test_what_is_given_up_is_a_fault_of_the_network(place: Mounting, *, reads: bool) -> None:
    """A stream whose connection is given up at this end breaks as if the network had cut it, read just then or not."""
    here = await place(listen, close_timeout=0.1)
    async with aiohttp.ClientSession() as http:
        courier = Courier(http, here.url, {})
        _, answer = await courier.post("open", b'["i",{"v":1,"codec":"json"}]\n', 5.0)
        assert answer.startswith(b'["o"')
        session = here.session
        attach = f'["@","{session.id}","{session.key}",1,0]\n'.encode()
        stream = courier.stream(f"{session.id}/stream", attach, 5.0, Quiet(lambda since: since + 5.0))
        assert await anext(stream)
        reading = asyncio.ensure_future(anext(stream)) if reads else None
        await asyncio.sleep(0.05)
        courier.start_afresh()  # what is under way goes on ...
        assert reading is None or not reading.done()
        courier.start_afresh()  # ... until this happens once more
        await asyncio.sleep(0.05)
        with pytest.raises(NetworkFault):
            await within(reading or anext(stream))
        await courier.close()


async def test_a_silence_may_become_too_long_while_it_lasts() -> None:
    """News shortens the time for which a stream is waited for, from then on; without any it lasts as long as it may."""
    loop = asyncio.get_running_loop()
    news = 0.0
    quiet = Quiet(lambda since: news + 0.05 if news else since + 30)
    reading = asyncio.ensure_future(quiet.wait(asyncio.sleep(60, b"")))
    await asyncio.sleep(0.1)
    assert not reading.done()
    news = loop.time()
    quiet.changed()
    with pytest.raises(Late, match="showed nothing"):
        await within(reading)
    assert 0.05 <= loop.time() - news < 5
    quiet.changed()  # nobody waits: nothing happens
    news = 0.0
    assert await quiet.wait(asyncio.sleep(0, b"word")) == b"word"
