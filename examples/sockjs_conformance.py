"""The services that the public SockJS test suites expect, on 127.0.0.1 and a port of your choice.

    python examples/sockjs_conformance.py --port 8081

It lets pages of any origin in, with their cookies, because the suites ask for that: never do so in public.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from aiohttp import web

from hybridws import ANY_ORIGIN_WITH_CREDENTIALS
from hybridws.aiohttp import mount

if TYPE_CHECKING:
    from hybridws import Session

MAX_POWER = 19
"""The amplifier answers with less than 2^19 characters."""


async def echo(session: Session) -> None:
    """Send every message back."""
    async for message in session:
        await session.send(message)


async def close(session: Session) -> None:
    """Close at once."""
    await session.close(3000, "Go away!")


async def amplify(session: Session) -> None:
    """Answer a number n with 2^n times the letter x."""
    async for message in session:
        power = int(message) if message.isdigit() else 0
        await session.send("x" * 2 ** (power if 0 < power < MAX_POWER else 1))


def application() -> web.Application:
    """Make the application with all five services."""
    app = web.Application()
    common = {"legacy": True, "origins": ANY_ORIGIN_WITH_CREDENTIALS, "response_limit": 4096}
    large = {"max_message": 2**20, "max_batch": 2**21}
    mount(app, "/echo", echo, **common, **large)
    mount(app, "/close", close, **common)
    mount(app, "/disabled_websocket_echo", echo, **common, transports=NO_WEBSOCKET)
    mount(app, "/cookie_needed_echo", echo, **common, jsessionid=True)
    mount(app, "/amplify", amplify, **common, **large)
    return app


NO_WEBSOCKET = ("xhr-streaming", "eventsource", "htmlfile", "xhr-polling", "jsonp-polling")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=8081)
    web.run_app(application(), host="127.0.0.1", port=parser.parse_args().port)
