"""Every change of network, under a client that goes on talking: the path is replaced soon, and nothing goes wrong."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import pytest

import hybridws
from hybridws.cli.torture.tally import Tally
from hybridws.cli.torture.trials import NETWORKS
from hybridws.testing import HostileProxy
from tests.client.ground import echo, until

if TYPE_CHECKING:
    from tests.client.ground import Mounting

WAYS: Final[tuple[dict[str, Any], ...]] = ({"cut": True}, {"freeze": True}, {})
"""What becomes of the connections of before: they end, they hang, or they go on as they were."""
PAUSE: Final = 0.25
"""Seconds between two words: often enough that each hides for how long nothing has come."""
SETTLED: Final = 4.0
"""Seconds after which a client has found its way in the network of before."""
WATCHED: Final = 14.0
"""Seconds in which it is looked at after the change."""
SILENCE: Final = 5 * 2.2
"""Seconds without a word, at most: five times what the worst of all changes took on an idle machine."""


@pytest.mark.matrix(one_in=5)
@pytest.mark.parametrize("before", NETWORKS)
async def test_a_change_of_network(place: Mounting, before: str) -> None:
    """From one network to each, the connections of before cut, frozen or left as they are."""
    here = await place(echo, max_fresh=1000, opens_per_second=1000)

    async def live(after: str, way: dict[str, Any]) -> tuple[float, str, dict[str, Any]]:
        tally = Tally()
        async with HostileProxy(here.url, mode=before) as proxy, hybridws.connect(proxy.url) as session:

            async def hear() -> None:
                async for text in session:
                    tally.hear(text)

            async def talk() -> None:
                while True:
                    await session.send(tally.next())
                    await asyncio.sleep(PAUSE)

            hearing, talking = asyncio.create_task(hear()), asyncio.create_task(talk())
            await asyncio.sleep(SETTLED)
            await proxy.flip(after, **way)
            tally.longest = 0.0
            await asyncio.sleep(WATCHED)
            talking.cancel()
            with suppress(asyncio.CancelledError):
                await talking
            await until(lambda: not tally.owed)
        await hearing
        assert (tally.twice, tally.disordered) == (0, 0)
        return tally.longest, after, way

    changes = [(after, way) for after in NETWORKS for way in WAYS if after != before or way]
    longest = max(await asyncio.gather(*(live(*change) for change in changes)), key=lambda one: one[0])
    assert longest[0] <= SILENCE, longest
