"""The README's programs run as they stand there, and its links lead somewhere."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import socket
import sys
from pathlib import Path

import aiohttp
import pytest

import hybridws

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
START = 20.0
"""Seconds that a program may take to listen, on a busy machine."""


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def listening(port: int) -> None:
    """Wait until somebody listens on a port."""
    async with asyncio.timeout(START):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def test_a_program_stands_at_the_top() -> None:
    """Whoever opens the README sees a whole server before line 15."""
    lines = README.splitlines()[:15]
    assert "    web.run_app(app)"[4:] in lines
    assert "```python" in lines


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_is_python(program: str) -> None:
    """Nothing is left to the imagination."""
    ast.parse(program)


async def test_the_server_and_the_client_of_the_readme_meet(tmp_path: Path) -> None:
    """The first program serves what the second one prints."""
    port = free_port()
    server_file, client_file = tmp_path / "server.py", tmp_path / "client.py"
    server_file.write_text(PROGRAMS[0].replace("run_app(app)", f'run_app(app, host="127.0.0.1", port={port})'))
    client_file.write_text(next(text for text in PROGRAMS if "hybridws.connect" in text).replace("8080", str(port)))
    pipe = asyncio.subprocess.PIPE
    where = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = await asyncio.create_subprocess_exec(sys.executable, str(server_file), env=where, stdout=pipe)
    try:
        await listening(port)
        client = await asyncio.create_subprocess_exec(sys.executable, str(client_file), env=where, stdout=pipe)
        async with asyncio.timeout(START):
            out, _ = await client.communicate()
        assert re.fullmatch(r"hello over (websocket|stream|poll)\n", out.decode())
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/echo/sockjs.min.js") as script:
            assert script.status == 200
    finally:
        server.terminate()
        await server.communicate()


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_link_leads_somewhere(link: str) -> None:
    """What the README points at is there."""
    assert (ROOT / link).exists()


def test_the_public_names_are_there() -> None:
    """What the package offers can be had by its name."""
    assert all(hasattr(hybridws, name) for name in hybridws.__all__)
