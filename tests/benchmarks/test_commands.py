"""`make bench` and `make profile` in small: real servers of ours, the real generator, and a page that is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import profile

ROOT = Path(__file__).parent.parent.parent
PAGE = """# A page
before
<!-- measured by `make bench`: from here … -->
old
<!-- … to here -->
after
"""


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run one of the commands to its end."""
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=200, check=False
    )


@pytest.mark.skipif(not {0, 1} <= os.sched_getaffinity(0), reason="needs a core for the server and one for the load")
@pytest.mark.xdist_group("benchmarks")
class TestCommands:
    """One at a time: the servers have one core."""

    def test_bench(self, tmp_path: Path) -> None:
        """Either runner answers on these wires, the page is written between its marks, and every measure is kept."""
        page, measures = tmp_path / "page.md", tmp_path / "measures.json"
        page.write_text(PAGE)
        wanted = ["--only", "ws-echo-1,poll-echo", "--peers", "run,ours-sockjs", "--rounds", "1", "--seconds", "1"]
        done = run("benchmarks", *wanted, "--write", page, "--json", measures)
        assert done.returncode == 0, done.stderr
        found = json.loads(measures.read_text())
        assert len(found) == 2 * 2
        assert all(one["cpu"] > 0 and one["rate"] > 0 for (one,) in found.values())
        text = page.read_text()
        assert text.count("### ") == 2
        assert text.startswith("# A page\nbefore\n")
        assert text.endswith("<!-- … to here -->\nafter\n")

    def test_profile(self) -> None:
        """The rooms of the house are found in what a message costs."""
        rooms = profile.sample("run", profile.HOT[0], 1.0)
        assert rooms["`core/`"] > 0
        assert "`core/`" in profile.write({"WebSocket echo": rooms})

    def test_what_there_is_not(self) -> None:
        """A workload that there is not is named, with those that there are."""
        done = run("benchmarks", "--only", "ws-echo-2")
        assert done.returncode == 2
        assert "there is no ws-echo-2; there are ws-echo-1, ws-echo-16" in done.stderr
