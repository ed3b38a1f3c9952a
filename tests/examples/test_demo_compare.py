"""What `hybridws demo --compare` installs, and what it says where it cannot."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from hybridws import assets
from hybridws.cli import demo, main
from tests.live.drivers import MODULES, program

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE: Final[Any] = demo.load(assets.find(demo.DEMO))
WANTED: Final[dict[str, str]] = json.loads(assets.find("examples/chat/compare/package.json").read_text())[
    "dependencies"
]


@pytest.mark.live
def test_installs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The packages are put into the folder, with a line that says so; the second time there is nothing to do."""
    program("npm")
    monkeypatch.setenv("npm_config_prefer_offline", "true")  # the tests' own packages are the same ones
    folder = tmp_path / "new" / "folder"
    assert EXAMPLE.install(folder) == folder
    assert capsys.readouterr().err.startswith("Installing socket.io ")
    for name, version in WANTED.items():
        assert json.loads((folder / "node_modules" / name / "package.json").read_text())["version"] == version
    monkeypatch.setenv("npm_config_offline", "true")
    assert EXAMPLE.install(folder) == folder
    assert capsys.readouterr().err == ""


@pytest.mark.live
def test_says_what_npm_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network the error says what npm said, and what to do; the next try begins anew."""
    program("npm")
    monkeypatch.setenv("npm_config_offline", "true")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    for _ in range(2):
        with pytest.raises(EXAMPLE.CannotCompare, match=r"npm .* said: .*ENOTCACHED.* needs a network the first time"):
            EXAMPLE.install(tmp_path / "folder")


def test_without_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no Node the command says in a line how to get it, serves nothing, and returns 1."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["demo", "--port", "0", "--compare"]) == 1
    told = capsys.readouterr()
    assert told.err == (
        "hybridws demo: Socket.IO and SockJS need Node 18 or newer, with npm: install it from https://nodejs.org\n"
    )
    assert told.out == ""


@pytest.mark.live
def test_leaves_other_packages_alone(tmp_path: Path) -> None:
    """A folder with another project's packages is refused, since npm would take them away."""
    program("npm")
    (tmp_path / "package.json").write_text("{}")
    with pytest.raises(EXAMPLE.CannotCompare, match=r"has a package.json of its own.*name another folder"):
        EXAMPLE.install(tmp_path)
    assert (tmp_path / "package.json").read_text() == "{}"


@pytest.mark.parametrize("place", ["tests/package.json", "benchmarks/package.json"])
def test_one_version_everywhere(place: str) -> None:
    """The tests and the benchmarks take the same versions as the comparison."""
    found = json.loads((MODULES.parents[1] / place).read_text())["dependencies"]
    assert {name: found[name] for name in WANTED} == WANTED
