"""The demo's comparison in both browsers: three libraries under one fault, from the command to its end."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest

from tests.live.demo import joined
from tests.live.drivers import MODULES, program
from tests.live.test_demo_page import clean

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.live.drivers import Browser, Tab

pytestmark = pytest.mark.live

COLUMNS: Final = ("hybridws", "socketio", "sockjs")
PATIENCE: Final = 30.0
"""Seconds for the command to start, and to end."""


@asynccontextmanager
async def comparing() -> AsyncGenerator[str]:
    """Run `hybridws demo --compare` for the time of a `with`; give its address. Ctrl-C ends all that it started."""
    program("node")
    command = ("-m", "hybridws", "demo", "--port", "0", "--compare", str(MODULES.parent))
    demo = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert demo.stdout
        async with asyncio.timeout(PATIENCE):
            line = (await demo.stdout.readline()).decode()
        found = re.search(r"http://\S+", line)
        assert found, line
        yield found[0]
    finally:
        if demo.returncode is None:
            demo.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE):
            _, err = await demo.communicate()  # its Node has the same end of the pipe: this waits for both to end
        assert (demo.returncode, err.decode()) == (0, "")


async def moves(tab: Tab, *holds: str) -> None:
    """Wait until, in every column, what its cells say fulfils these; `cell("sent")` is a number."""
    for column in COLUMNS:
        cell = f"(what) => Number(document.getElementById('{column}-' + what).textContent.replaceAll(',', ''))"
        await tab.until(f"((cell) => {' && '.join(holds)})({cell})")


@pytest.mark.matrix(one_in=2)
async def test_three_under_one_cut(browser: Browser) -> None:
    """All three count both ways; one cut meets each of them, all come back and go on, and of ours nothing is lost.

    Whether the others lose something is theirs to say: the test looks that their numbers move.
    """
    async with comparing() as url, browser.tab("one", url) as tab:
        await joined(tab, "websocket")
        await tab.click("#compare-tab")
        await moves(tab, "cell('arrived') > 20", "cell('sent') >= cell('arrived')")
        for column in COLUMNS:
            await tab.until(f"document.getElementById('{column}-over').textContent === 'websocket'")
        came = max([await number(tab, f"{column}-arrived") for column in COLUMNS])
        await tab.click("#cut")
        await moves(tab, "cell('reconnects') >= 1", f"cell('arrived') > {came + 20}")
        for what in ("up-lost", "down-lost", "twice", "late"):
            assert await number(tab, f"hybridws-{what}") == 0, what
        await clean(tab)
        await tab.click("#compare-again")
        await moves(tab, "cell('arrived') > 0", "cell('reconnects') === 0")


async def number(tab: Tab, cell: str) -> int:
    """Return what a cell of the comparison says."""
    return int((await tab.call("eval", f"document.getElementById('{cell}').textContent")).replace(",", ""))
