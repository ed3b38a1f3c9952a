"""The network of a trial of tools/endurance.py: a HostileProxy as a process of its own, which SIGUSR1 makes cut all.

Usage: python -m tools.endurance_proxy ORIGIN; its address is the first line that it prints
"""

from __future__ import annotations

import asyncio
import resource
import signal
import sys

from hybridws.testing import HostileProxy


async def main(origin: str) -> None:
    """Pass on what comes until SIGTERM."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    async with HostileProxy(origin, rewrite_host=True) as proxy:
        loop.add_signal_handler(signal.SIGUSR1, proxy.cut)
        loop.add_signal_handler(signal.SIGTERM, ended.set)
        print(proxy.url, flush=True)
        await ended.wait()


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(main(sys.argv[1]))
