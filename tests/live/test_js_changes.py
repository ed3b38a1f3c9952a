"""Every change of network, under JavaScript clients that go on talking: each finds its way soon, and loses nothing."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

import pytest
from aiohttp import web

from hybridws import assets
from hybridws.aiohttp import mount
from hybridws.cli.torture.trials import NETWORKS
from hybridws.testing import HostileProxy
from tests.live.drivers import HERE, NODE_PATIENCE, runtime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hybridws import Session

pytestmark = pytest.mark.live

WAYS: Final[tuple[dict[str, Any], ...]] = ({"cut": True}, {"freeze": True}, {})
"""What becomes of the connections of before: they end, they hang, or they go on as they were."""
EVERY: Final = 250
"""Milliseconds between two words: often enough that each hides for how long nothing has come."""
SETTLED: Final = 4.0
"""Seconds after which a client has found its way in the network of before."""
WATCHED: Final = 18.0
"""Seconds in which it is looked at after the change."""
SILENCE: Final = 5 * 3200
"""Milliseconds without an answer, at most: five times what the worst of all changes took on a machine that was not
quiet: two connections that Node kept for polls have died, and one after the other is asked."""


def _end(node: asyncio.subprocess.Process) -> None:
    if node.returncode is None:
        node.kill()


@pytest.mark.matrix(one_in=5)
@pytest.mark.parametrize("before", NETWORKS)
async def test_a_change_of_network(serve: Callable[[web.Application], Awaitable[str]], before: str) -> None:
    """From one network to each, the connections of before cut, frozen or left as they are; in Node."""

    async def echo(session: Session) -> None:
        async for message in session:
            await session.send(message)

    app = web.Application()
    mount(app, "/echo", echo, max_fresh=1000, opens_per_second=1000, origins="*")
    url = f"{await serve(app)}/echo"
    changes = [(after, way) for after in NETWORKS for way in WAYS if after != before or way]
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(HostileProxy(url, mode=before)) for _ in changes]
        node = await asyncio.create_subprocess_exec(
            *runtime("node"),
            str(HERE / "node_changes.mjs"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        stack.callback(_end, node)
        assert node.stdin
        assert node.stdout
        client = assets.find("static/dist/hybridws.mjs").as_uri()
        question = {"client": client, "urls": [proxy.url for proxy in proxies], "every": EVERY}
        async with asyncio.timeout(NODE_PATIENCE):
            node.stdin.write(f"{json.dumps(question)}\n".encode())
            assert await node.stdout.readline() == b"open\n"
            await asyncio.sleep(SETTLED)
            flips = zip(proxies, changes, strict=True)
            await asyncio.gather(*(proxy.flip(after, **way) for proxy, (after, way) in flips))
            node.stdin.write(b"changed\n")
            await asyncio.sleep(WATCHED)
            node.stdin.write(b"enough\n")
            seen: list[dict[str, Any]] = json.loads(await node.stdout.readline())
            await node.wait()
    for one, change in zip(seen, changes, strict=True):
        assert (one["lost"], one["twice"], one["early"], one["resets"]) == (0, 0, 0, 0), (change, one)
        assert one["longest"] <= SILENCE, (change, one)
