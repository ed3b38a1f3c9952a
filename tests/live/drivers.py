"""The programs that live tests drive: a Node script for one question, and a browser for many."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from contextlib import AbstractAsyncContextManager

HERE: Final = Path(__file__).parent
MODULES: Final = HERE.parent / "node_modules"

NODE_PATIENCE: Final = 45.0
"""Seconds for a Node script: far more than any needs on a busy machine, less than pytest-timeout gives a test."""

FAREWELL: Final = 20.0
"""Seconds for a browser to end before it is made to."""


def program(name: str) -> str:
    """Return the path of a program of this machine, with npm's modules in place if it is to run them.

    Without it the test is skipped; in CI, where nothing may be missing, it fails.
    """
    path = shutil.which(name)
    if path is None:
        lack(f"{name} is not installed: make test does so, tools/programs.txt names the package")
    if not MODULES.is_dir():
        lack(f"{MODULES} is missing: run npm ci in {MODULES.parent}")
    return str(path)


def lack(reason: str) -> None:
    """Skip the test, or fail it in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def runtime(name: str) -> list[str]:
    """Return the command that runs a script in Node, or in one of the runtimes that npm brings."""
    node = program("node")
    if name == "node":
        return [node]
    path = MODULES / ".bin" / name
    if not path.exists():
        lack(f"{path} is missing: run npm ci in {MODULES.parent}")
    return [str(path), "run", *({"deno": ["--allow-all"]}.get(name, ()))]


async def run_node(script: str, question: dict[str, object], *, within: str = "node") -> Any:  # noqa: ANN401 - any JSON value
    """Run a script of this folder with `question` on its standard input; return what it printed."""
    node = await asyncio.create_subprocess_exec(
        *runtime(within),
        str(HERE / script),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(NODE_PATIENCE):
            out, err = await node.communicate(json.dumps(question).encode())
    finally:
        if node.returncode is None:
            node.kill()
            await node.communicate()
    assert node.returncode == 0, f"{script} ended in {within} with {node.returncode}: {err.decode()}"
    return json.loads(out)


class Browser:
    """A browser that runs; `drive` has it do one thing, and waits until that is done."""

    def __init__(self, name: str, version: str, drive: Callable[[str, dict[str, object]], Any]) -> None:
        """Take a browser that has started."""
        self.name: Final = name
        self.version: Final = version
        self._drive: Final = drive

    async def ask(self, what: str, **details: object) -> Any:  # noqa: ANN401 - any JSON value
        """Have the browser do something (the head of browser.mjs lists what) and return what came of it."""
        return await asyncio.to_thread(self._drive, what, details)

    @asynccontextmanager
    async def tab(self, name: str, url: str, kind: str = "tab", proxy: str = "") -> AsyncGenerator[Tab]:
        """Open a tab for the time of a `with`; with a forward proxy (HOST:PORT) that is asked for all it loads."""
        try:
            await self.ask("open", tab=name, url=url, kind=kind, proxy=proxy)
            yield Tab(self, name)
        finally:
            await self.ask("shut", tab=name)

    def window(self, name: str, url: str) -> AbstractAsyncContextManager[Tab]:
        """Open a tab in a window of its own.

        Of several tabs in one window all but one are hidden, and a client gives its connection back when its page was
        hidden for half a minute; that may be before the end of a test with several people.
        """
        return self.tab(name, url, kind="window")


class Puppeteer:
    """Drives Chromium or Firefox by the Node script browser.mjs."""

    def __init__(self, name: str, driver: subprocess.Popen[bytes], complaints: IO[bytes]) -> None:
        """Wait until the browser has started; `complaints` is where the script writes what goes wrong."""
        self._name = name
        self._number = 0
        self._driver = driver
        self._complaints = complaints
        self.version = str(self._answer(0))

    def __call__(self, what: str, details: dict[str, object]) -> Any:  # noqa: ANN401 - any JSON value
        """Give a command, and wait for its answer."""
        self._number += 1
        assert self._driver.stdin
        self._driver.stdin.write(json.dumps({"id": self._number, "do": what, **details}).encode() + b"\n")
        self._driver.stdin.flush()
        return self._answer(self._number)

    def _answer(self, number: int) -> Any:  # noqa: ANN401
        """Read the answer to one command; older ones belong to tests that have given up."""
        assert self._driver.stdout
        while line := self._driver.stdout.readline():
            answer = json.loads(line)
            if answer["id"] == number:
                assert "error" not in answer, f"{self._name}: {answer['error']}"
                return answer["value"]
        self._driver.wait(FAREWELL)
        self._complaints.seek(0)
        raise AssertionError(f"the driver of {self._name} has ended: {self._complaints.read().decode()}")


@contextmanager
def running(name: str, path: str) -> Generator[Browser]:
    """Run a browser for the time of a `with`; `name` is chromium or firefox."""
    command = [program("node"), str(HERE / "browser.mjs"), name, path]
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints) as driver,
    ):
        try:
            puppeteer = Puppeteer(name, driver, complaints)
            yield Browser(name, puppeteer.version, puppeteer)
        finally:
            end(driver)


def end(driver: subprocess.Popen[bytes]) -> None:
    """End a driver, which takes its browser along."""
    assert driver.stdin
    driver.stdin.close()  # asks it to
    for insist in (driver.terminate, driver.kill):
        try:
            driver.wait(FAREWELL)
        except subprocess.TimeoutExpired:
            insist()


class Tab:
    """One tab of a browser."""

    def __init__(self, browser: Browser, name: str) -> None:
        """Name a tab that is open."""
        self._browser = browser
        self._name = name

    async def call(self, name: str, *args: object) -> Any:  # noqa: ANN401 - any JSON value
        """Call a function of the page's window and return what it comes to."""
        return await self._browser.ask("call", tab=self._name, name=name, args=args)

    async def until(self, script: str) -> None:
        """Wait until an expression of the page is true."""
        await self._browser.ask("until", tab=self._name, script=script)

    async def fill(self, selector: str, text: str) -> None:
        """Put a text into a field, instead of what is there, and press Enter."""
        await self._browser.ask("fill", tab=self._name, selector=selector, text=text)

    async def click(self, selector: str) -> None:
        """Click an element."""
        await self._browser.ask("click", tab=self._name, selector=selector)

    async def follow(self, selector: str) -> None:
        """Click what leads to another page, and wait until that is there."""
        await self._browser.ask("follow", tab=self._name, selector=selector)

    async def press(self, *keys: str) -> None:
        """Press keys, by puppeteer's names, one after the other."""
        await self._browser.ask("press", tab=self._name, keys=keys)

    async def audit(self) -> list[str]:
        """Have axe-core look at the page; return what it finds wrong, each with its impact at the head of a line."""
        found: list[str] = await self._browser.ask("audit", tab=self._name)
        return found

    async def offline(self, *, on: bool) -> None:
        """Take the network away from the tab, or give it back."""
        await self._browser.ask("offline", tab=self._name, on=on)

    async def freeze(self, *, on: bool) -> None:
        """Freeze the tab, as browsers do with one that is long hidden, or let it go on; Firefox's page is told so."""
        await self._browser.ask("freeze", tab=self._name, on=on)

    @asynccontextmanager
    async def double(self, name: str) -> AsyncGenerator[Tab]:
        """Open the tab's page once more, with what it has stored, for the time of a `with`."""
        try:
            await self._browser.ask("double", tab=self._name, **{"as": name})
            yield Tab(self._browser, name)
        finally:
            await self._browser.ask("shut", tab=name)

    async def go(self, url: str) -> None:
        """Go to another page, or load the same one anew: it costs a tenth of a new tab."""
        await self._browser.ask("open", tab=self._name, url=url, kind="tab")

    async def shut(self) -> None:
        """Close the tab."""
        await self._browser.ask("shut", tab=self._name)
