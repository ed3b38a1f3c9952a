"""The pytest plugin: each fixture gives what it says, and is there only for those who ask for it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

import hybridws
from hybridws.aiohttp import SERVERS, mount

if TYPE_CHECKING:
    from hybridws import Session
    from hybridws.testing import Clock
    from hybridws.testing.plugin import MakeClient, MakeProxy, Talk
    from tests.testing.conftest import Place

pytest_plugins = ["hybridws.testing.plugin"]

ENV = {**os.environ, "PYTHONPATH": str(Path(hybridws.__file__).parents[1])}
"""So that a pytest of its own finds the package, installed or not."""


async def echo(session: Session) -> None:
    """Say everything back."""
    async for message in session:
        await session.send(message)


def application() -> web.Application:
    """Make an application as a user would."""
    app = web.Application()
    mount(app, "/echo", echo)
    return app


async def test_hybridws_talk(hybridws_talk: Talk) -> None:
    """A handler runs in memory, several at once, and ends with the test."""
    first, second = await hybridws_talk(echo), await hybridws_talk(echo, codec="msgpack")
    await first.send("one")
    await second.send(b"two")
    assert (await first.receive(), await second.receive()) == ("one", b"two")


@pytest.mark.parametrize("via", [None, "ok", "ws_refused+buffers"])
async def test_hybridws_client(hybridws_client: MakeClient, via: str | None) -> None:
    """A real client is connected over a real socket, through a hostile network if one is named."""
    app = application()
    client = await hybridws_client(app, "/echo", via=via)
    await client.send("hello")
    async with asyncio.timeout(30):
        async for message in client:
            assert message == "hello"
            break
    other = await hybridws_client(app, "/echo", transports=["poll"])
    assert len(app[SERVERS]["/echo"].sessions) == 2
    await other.close()


async def test_hostile_proxy(hostile_proxy: MakeProxy, place: Place) -> None:
    """Proxies are started at once and end with the test."""
    proxy = await hostile_proxy(place.url, "ws_refused", rewrite_host=True)
    other = await hostile_proxy(proxy.url)
    assert proxy.url != other.url
    await other.flip("buffers")
    assert str(proxy.mode) == "ws_refused"


def test_scripted_clock(scripted_clock: Clock) -> None:
    """A test that is not async runs a coroutine by it."""
    begun = scripted_clock.now
    scripted_clock.run(asyncio.sleep(25))
    assert scripted_clock.now == begun + 25


STRICT = """
import pytest
from hybridws.testing import HostileProxy

pytest_plugins = ["hybridws.testing.plugin"]

async def echo(session):
    async for message in session:
        await session.send(message)

@pytest.mark.asyncio
async def test_it(hybridws_talk):
    client = await hybridws_talk(echo)
    await client.send("hi")
    assert await client.receive() == "hi"
"""


def test_it_works_in_strict_mode_and_only_if_asked(tmp_path: Path) -> None:
    """The fixtures need no setting of pytest-asyncio; who does not ask for the plugin does not have it."""
    (tmp_path / "test_strict.py").write_text(STRICT)
    (tmp_path / "test_without.py").write_text("def test_it(scripted_clock):\n    pass\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")

    def run(name: str) -> str:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", name]
        return subprocess.run(command, cwd=tmp_path, env=ENV, capture_output=True, text=True, check=False).stdout

    assert "1 passed" in run("test_strict.py")
    assert "fixture 'scripted_clock' not found" in run("test_without.py")


def test_testing_needs_no_pytest() -> None:
    """What is not a fixture may be used without pytest, and without loading it."""
    code = "import sys, hybridws.testing; sys.exit('pytest' in sys.modules or 'hypothesis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=ENV, check=False).returncode == 0
