"""docs/testing.md: its programs run, and its tables name what there is."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from hybridws.testing import Mode, parse
from hybridws.testing.modes import FLIPS, WORDS

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def load(word: str) -> dict[str, Any]:
    """Run the first program of the page that has this word in it, after the one that defines `echo`."""
    names: dict[str, Any] = {}
    echo = next(program for program in PROGRAMS if "async def echo" in program)
    program = next(program for program in PROGRAMS if word in program)
    exec(compile(echo + program, "docs/testing.md", "exec"), names)  # noqa: S102 - our own page
    return names


async def test_the_handler_in_memory_runs() -> None:
    """The first program is a test that passes."""
    await load("async def test_echo():")["test_echo"]()


def test_the_clock_runs() -> None:
    """So is the one of the clock."""
    load("Clock().run")["test_a_client_that_vanishes_is_given_up"]()


def test_the_wire_runs() -> None:
    """The wire's program does what it says."""
    assert load("wire = Wire()")["wire"].client.got == ["lost on its way"]


async def test_the_proxy_runs() -> None:
    """The proxy's program does, with an origin that is not there."""
    program = next(program for program in PROGRAMS if "async with HostileProxy" in program)
    lines = "\n".join(f"    {line}" for line in program.splitlines())
    names: dict[str, Any] = {}
    exec(f"async def main():\n{lines}", names)  # noqa: S102 - our own page
    async with asyncio.timeout(5):
        await names["main"]()


def test_every_mode_is_in_the_table() -> None:
    """The page has each mode as `usage` writes it, and nothing that there is not."""
    rows = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
    usages = [word.usage for word in WORDS.values()] + [FLIPS.usage]
    names = [re.split(r"[:\[,]", usage)[0] for usage in usages]
    assert [row.replace("\\|", "|") for row in rows if re.split(r"[:\[,]", row)[0] in names] == usages


@pytest.mark.parametrize("text", re.findall(r"`((?:slow|ws_dies|idle_kill|buffers_first):[0-9][^`]*)`", PAGE))
def test_every_example_of_a_mode_is_one(text: str) -> None:
    """What the page shows as a mode is read as one."""
    assert parse(text) != Mode(text=text)
