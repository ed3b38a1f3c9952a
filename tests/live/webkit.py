"""Drives WebKit, in Debian's build of WebKitGTK: by Selenium, on a screen that nobody sees."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from selenium.webdriver import Remote
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.remote_connection import RemoteConnection
from selenium.webdriver.webkitgtk.options import Options
from selenium.webdriver.webkitgtk.service import Service

from tests.live.drivers import FAREWELL, Browser, lack, program

if TYPE_CHECKING:
    from collections.abc import Generator

PATIENCE: Final = 50.0
"""Seconds for one command."""
LOOK_EVERY: Final = 0.02

CALL: Final = """
const [name, args, done] = arguments;
const tell = (of) => done(JSON.stringify(of));
const fail = (fault) => tell({ error: String(fault) });
Promise.resolve(window[name](...JSON.parse(args))).then((value) => tell({ value }), fail);
"""


def browser_of_webkit() -> str:
    """Return the path of the small browser that comes with the library."""
    places = sorted(Path("/usr/lib").glob("*/webkit2gtk-*/MiniBrowser"))
    if not places:
        lack("MiniBrowser is not installed: make test does so, tools/programs.txt names the package")
    return str(places[-1])


@contextmanager
def screen() -> Generator[str]:
    """Run a display without a screen for the time of a `with`, and give its name."""
    command = [program("Xvfb"), "-displayfd", "1", "-screen", "0", "1280x800x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        try:
            assert server.stdout
            yield f":{server.stdout.readline().decode().strip()}"
        finally:
            server.terminate()
            server.wait(FAREWELL)


class Driver:
    """Does with WebKit what browser.mjs does with others, in its one window."""

    def __init__(self, webkit: Remote) -> None:
        """Drive a browser that has started."""
        self._webkit: Final = webkit
        webkit.set_script_timeout(PATIENCE)

    def __call__(self, what: str, details: dict[str, object]) -> Any:  # noqa: ANN401 - any JSON value
        """Do one thing."""
        return getattr(self, what)(**details)

    def open(self, tab: str, url: str, kind: str, proxy: str) -> None:  # noqa: ARG002 - there is one window
        """Load a page."""
        self._webkit.get(url)

    def call(self, tab: str, name: str, args: tuple[object, ...]) -> Any:  # noqa: ANN401, ARG002
        """Call a function of the page's window, and wait for its value."""
        answer = json.loads(self._webkit.execute_async_script(CALL, name, json.dumps(args)))
        assert "error" not in answer, f"webkit: {answer['error']}"
        return answer.get("value")

    def until(self, tab: str, script: str) -> None:  # noqa: ARG002
        """Wait until an expression of the page is true."""
        end = time.monotonic() + PATIENCE
        while not self._webkit.execute_script(f"return {script}"):
            assert time.monotonic() < end, f"webkit: never true: {script}"
            time.sleep(LOOK_EVERY)

    def shut(self, tab: str) -> None:  # noqa: ARG002
        """Leave the page."""
        self._webkit.get("about:blank")


@contextmanager
def webkit() -> Generator[Browser]:
    """Run WebKit for the time of a `with`."""
    options = Options()
    options.binary_location = browser_of_webkit()
    options.add_argument("--automation")
    with screen() as display:
        service = Service(program("WebKitWebDriver"), env={"DISPLAY": display})
        service.start()
        try:
            wire = RemoteConnection(client_config=ClientConfig(service.service_url))
            with Remote(wire, options=options) as driven:
                yield Browser("webkit", str(driven.capabilities["browserVersion"]), Driver(driven))
        finally:
            service.stop()
