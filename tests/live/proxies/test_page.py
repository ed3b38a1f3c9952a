"""What docs/proxies.md says of each proxy is what the tests expect of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tests.live.proxies.proxies import CASES, Case

PAGE: Final = Path(__file__).parent.parent.parent.parent / "docs/proxies.md"
ROW: Final = re.compile(r"^\| ([^|]+) \| (\S+) \| (\S+) \| (\S+) \| \[[^]]+\]\(([^)]+)\)", re.MULTILINE)
TRANSPORTS: Final = ("websocket", "stream", "poll")


def row(case: Case) -> tuple[list[str], Path]:
    """Return what should stand in the table of one case: what passes, in bold the best, and the configuration."""
    words = ["yes" if name in case.passes else "no" for name in TRANSPORTS]
    words[TRANSPORTS.index(case.passes[0])] = "**yes**"
    return words, case.configuration.resolve()


def test_table() -> None:
    """Each proxy has its row, with what passes and the file that the tests run; `late` is for those who must."""
    rows = {
        name: ([word.replace("late", "no") for word in words], (PAGE.parent / file).resolve())
        for name, *words, file in ROW.findall(PAGE.read_text())
    }
    assert rows == {name: row(case) for name, case in CASES.items()}


def test_links() -> None:
    """Every file that the page names is there."""
    links = re.findall(r"\]\((?!http)([^)#]+)\)", PAGE.read_text())
    assert links
    assert not [link for link in links if not (PAGE.parent / link).is_file()]
