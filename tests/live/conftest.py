"""What live tests share: the browsers, each started once in a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live.drivers import program, running
from tests.live.webkit import webkit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.drivers import Browser

BROWSERS = {"chromium": "chromium", "firefox": "firefox-esr"}
"""Their names here, and the commands that start Debian's."""


@pytest.fixture(
    scope="session", params=[pytest.param(name, marks=pytest.mark.xdist_group(name), id=name) for name in BROWSERS]
)
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """Start each of the browsers once for all tests of a worker; xdist_group gives each to one worker."""
    with running(request.param, program(BROWSERS[request.param])) as started:
        yield started


@pytest.fixture(scope="session")
def safari() -> Iterator[Browser]:
    """Start WebKit, the engine of Safari, once for all tests of a worker."""
    with webkit() as started:
        yield started
