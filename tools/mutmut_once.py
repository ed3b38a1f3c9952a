"""Runs mutmut with the tests collected once: `tools/mutmut_once.py run` is `mutmut run`.

mutmut lets a child process run pytest from its start for each change, which takes a second where the tests take
milliseconds. Here the parent collects the tests, and each child runs those it needs of them at once.
"""

from __future__ import annotations

from contextlib import chdir
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

import pytest
from _pytest.config import _prepareconfig  # pyright: ignore[reportPrivateUsage]
from _pytest.runner import runtestprotocol

if TYPE_CHECKING:
    from collections.abc import Iterable

mutmut = import_module("mutmut.__main__")  # by name: the checkers run where it is not installed, too


@cache
def collected() -> dict[str, pytest.Item]:
    """Collect the tests, by name; the session stays open, since it sets up and tears down what they share."""
    options = mutmut.config()
    prepared = _prepareconfig(
        ["--rootdir=.", "--capture=no", *options.pytest_add_cli_args_test_selection, *options.pytest_add_cli_args]
    )
    # What pytest.main does; there is no public way to do it without coming to an end.
    prepared._do_configure()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    session = pytest.Session.from_config(prepared)
    prepared.hook.pytest_sessionstart(session=session)
    prepared.hook.pytest_collection(session=session)
    return {item.nodeid: item for item in session.items}


def run_tests(_runner: object, *, mutant_name: str | None, tests: Iterable[str]) -> int:  # noqa: ARG001 - as mutmut calls it
    """Run these tests, or all, until one fails; return what pytest would exit with."""
    with chdir("mutants"):
        items = collected()
        for name in list(tests) or list(items):  # the quickest first, as mutmut has sorted them
            if any(report.failed for report in runtestprotocol(items[name], log=False, nextitem=None)):
                return 1
    return 0


if __name__ == "__main__":
    mutmut.PytestRunner.run_tests = run_tests
    mutmut.cli()
