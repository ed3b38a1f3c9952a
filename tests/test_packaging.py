"""The package as users get it: what wheel and sdist hold, and what the installed command does."""

from __future__ import annotations

import contextlib
import gzip
import re
import socket
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.metadata import requires
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin
from urllib.request import urlopen

import brotli
import pytest

from hybridws import assets

if TYPE_CHECKING:
    from collections.abc import Generator

ROOT = Path(__file__).resolve().parent.parent
# Seconds for one step that may fetch from a package index.
PATIENCE = 300
# Building and installing is done once, by one of pytest-xdist's workers.
pytestmark = [pytest.mark.xdist_group("packaging"), pytest.mark.timeout(2 * PATIENCE)]


def must(*command: str | Path, cwd: Path) -> str:
    """Run a command that must succeed, and return what it printed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist of the checkout."""
    folder = tmp_path_factory.mktemp("sdist")
    must(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", folder, cwd=ROOT)
    return next(folder.glob("hybridws-*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as an installer would: from the unpacked sdist, with nothing else around."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    source = folder / sdist.name.removesuffix(".tar.gz")
    must(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, cwd=source)
    return next(folder.glob("hybridws-*.whl"))


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a clean virtual environment, and return the folder of its programs."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    must(scripts / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel, cwd=folder)
    return scripts


@contextlib.contextmanager
def running(*command: str | Path, cwd: Path) -> Generator[tuple[subprocess.Popen[str], str]]:
    """Start a command; give the process and its first line, by which it says that it is ready."""
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            yield process, line
        finally:
            process.kill()


def fetch(url: str) -> str:
    """Return what the server answers to GET, which must be 200."""
    with urlopen(url, timeout=10) as answer:  # noqa: S310 (the address is that of our own server)
        assert answer.status == 200, url
        return str(answer.read().decode())


def checked_in(*folders: str) -> set[str]:
    """Return the files of the checkout's folders that belong in a package."""
    left_out = {"node_modules", "__pycache__", "test"}
    return {
        file.relative_to(ROOT).as_posix()
        for folder in folders
        for file in (ROOT / folder).rglob("*")
        if file.is_file()
        and not any(part in left_out or part.startswith(".") for part in file.relative_to(ROOT).parts[:-1])
    }


def test_wheel_holds_the_package_and_its_data(wheel: Path) -> None:
    """The wheel holds every module, py.typed, the licence, and all of static/ and examples/ as data; nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    metadata = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    data = {f"hybridws/_data/{name}" for name in checked_in("static", "examples")}
    packed = {f"{name}.{ending}" for name in data if "/static/dist/" in name for ending in ("gz", "br")}
    assert len(packed) > 20
    assert names - metadata == checked_in("hybridws") | data | packed
    assert "hybridws/py.typed" in names
    assert "hybridws/_data/examples/chat/server.py" in names
    assert any(name.endswith("licenses/LICENSE") for name in metadata)


def test_wheel_holds_scripts_packed(wheel: Path) -> None:
    """Each script lies in the wheel as it is, as .gz and as .br, and all three are the same."""
    with zipfile.ZipFile(wheel) as archive:
        for name in ("hybridws.mjs", "sockjs.js", "msgpack.mjs.map"):
            path = f"hybridws/_data/static/dist/{name}"
            plain = archive.read(path)
            assert gzip.decompress(archive.read(f"{path}.gz")) == plain
            assert brotli.decompress(archive.read(f"{path}.br")) == plain


def test_sdist_holds_what_is_needed_to_build_and_test(sdist: Path) -> None:
    """The sdist holds the sources of all this, the tests and their tools; nothing that npm or Python left behind."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert checked_in("hybridws", "static", "examples") <= names
    assert {"pyproject.toml", "LICENSE", "README.md", "Makefile", "tools/wheel.py", "tests/package-lock.json"} <= names
    assert not [name for name in names if "node_modules" in name or "__pycache__" in name]


def test_dependencies_have_their_security_floors() -> None:
    """An aiohttp or msgpack with a known hole is not installed beside hybridws."""
    plain = {line for line in requires("hybridws") or () if "extra ==" not in line}
    assert plain == {"aiohttp>=3.14.4", "msgpack>=1.2.3"}


@pytest.mark.parametrize("start", [["hybridws"], ["python", "-m", "hybridws"]], ids=["hybridws", "python -m hybridws"])
def test_installed_demo_serves_the_chat(scripts: Path, tmp_path: Path, start: list[str]) -> None:
    """Installed from the wheel, the demo says where it is, serves page and scripts itself, and ends quietly."""
    command: list[str | Path] = [scripts / start[0], *start[1:], "demo", "--port", "0"]
    with running(*command, cwd=tmp_path) as (process, line):
        found = re.search(r"http://127\.0\.0\.1:[1-9]\d*", line)
        assert found, line
        page = fetch(found[0])
        assert "<title>" in page
        links = re.findall(r"<(?:script|link|img)\b[^>]*?\b(?:src|href)=\"([^\"]+)\"", page)
        assert links
        for link in links:
            if not link.startswith("data:"):
                assert "//" not in link, "the demo needs no other server"
                assert fetch(urljoin(found[0] + "/", link))
        process.terminate()
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out, err) == (0, "", "")


def test_demo_says_that_its_port_is_taken(scripts: Path, tmp_path: Path) -> None:
    """On a busy port the demo says so in one line, names another, and exits with 1."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        command: list[str | Path] = [scripts / "hybridws", "demo", "--port", str(port)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"hybridws demo: port {port} on 127.0.0.1 is taken; try another: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("port", ["-1", "65536", "http", "8O80", ""])
def test_demo_refuses_what_is_no_port(scripts: Path, tmp_path: Path, port: str) -> None:
    """A port that cannot be is a fault in the command: exit code 2 and a sentence."""
    command: list[str | Path] = [scripts / "hybridws", "demo", f"--port={port}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "is no port" in done.stderr


def test_installed_command_knows_its_version(scripts: Path, wheel: Path, tmp_path: Path) -> None:
    """`hybridws --version` names the version of the wheel that was installed."""
    assert must(scripts / "hybridws", "--version", cwd=tmp_path) == f"hybridws {wheel.name.split('-')[1]}\n"


def test_assets_are_found_in_the_checkout() -> None:
    """In a checkout the files are the checkout's own, not a copy."""
    assert assets.find("examples/chat/server.py") == ROOT / "examples/chat/server.py"


def test_missing_asset_is_named_with_what_to_do() -> None:
    """A file that is not there is named, with where it was looked for and how to get it back."""
    with pytest.raises(FileNotFoundError, match=r"static/nothing\.js is missing \(looked in .*\).*install it again"):
        assets.find("static/nothing.js")
