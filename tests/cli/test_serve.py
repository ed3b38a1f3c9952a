"""`hybridws serve`: how it finds an application, what it takes from the environment, what it says when it cannot."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from aiohttp import ClientConnectionError, ClientSession

from hybridws.cli import main
from hybridws.cli.reload import folder_of, look
from tests.run import stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Serve = Callable[..., Awaitable[stage.Process]]

LIMIT: Final = 10.0
"""Seconds from the signal to the end."""


@pytest.fixture
async def command(tmp_path: Path) -> AsyncIterator[Serve]:
    """Start `hybridws serve` with some arguments, and variables of the environment by name."""
    processes: list[stage.Process] = []

    async def begin(*arguments: str, **variables: str) -> stage.Process:
        processes.append(await stage.start(tmp_path, "-m", "hybridws", "serve", *arguments, **variables))
        return processes[-1]

    yield begin
    for one in processes:
        if one.process.returncode is None:
            one.process.terminate()
        await one.process.communicate()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with an application in it, in this very process."""
    for name in [name for name in os.environ if name.startswith("HYBRIDWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def page(url: str) -> str:
    """Fetch a page."""
    async with ClientSession() as http, http.get(url) as answer:
        return await answer.text()


@pytest.mark.parametrize("app", ["stage_app:make", "stage_app:make_later"])
async def test_a_function_that_makes_the_application(command: Serve, app: str) -> None:
    """A function and a coroutine function are called in the loop; what they make is served, and ends with 0."""
    process = await command(app, "--port", "0", "--factory")
    assert (await page(await process.listening())).startswith("hello over http")
    process.stop(signal.SIGINT)
    assert await process.ended(LIMIT) == 0


async def test_everything_by_the_environment(command: Serve, tmp_path: Path) -> None:
    """Each option has its variable; an argument goes before it; what is in effect stands in the log."""
    cert, _ = stage.certificate(tmp_path)
    process = await command(
        "--port",
        "0",
        HYBRIDWS_APP="stage_app:make",
        HYBRIDWS_PORT="1",
        HYBRIDWS_HOST="localhost",
        HYBRIDWS_BACKLOG="7",
        HYBRIDWS_KEEPALIVE_TIMEOUT="20",
        HYBRIDWS_SHUTDOWN_TIMEOUT="3",
        HYBRIDWS_LOOP="asyncio",
        HYBRIDWS_REUSE_PORT="1",
        HYBRIDWS_ACCESS_LOG="1",
        HYBRIDWS_CERTFILE="cert.pem",
        HYBRIDWS_KEYFILE="key.pem",
    )
    url = await process.listening()
    assert url.startswith("https://")
    assert (
        "loop asyncio; backlog 7, keepalive 20 s, shutdown 3 s, TLS on, SO_REUSEPORT on, access log on" in process.log
    )
    async with ClientSession() as http, http.get(url, ssl=ssl.create_default_context(cafile=cert)) as answer:
        assert answer.status == 200
    await process.said("GET / HTTP/1.1")


async def test_a_unix_socket_and_a_quiet_log(command: Serve, tmp_path: Path) -> None:
    """`--unix` listens there; with `--log-level warning` nothing is said while nothing is wrong."""
    process = await command("stage_app:make", "--unix", "s.sock", "--log-level", "warning")
    async with asyncio.timeout(stage.PATIENCE):
        while not (tmp_path / "s.sock").exists():  # noqa: ASYNC110 - nothing is to be said
            await asyncio.sleep(0.02)
    process.stop(signal.SIGTERM)
    assert await process.ended(LIMIT) == 0
    assert process.log in ("", "cleaned up\n")


async def test_reload(command: Serve, tmp_path: Path) -> None:
    """A change is served after a moment; a fault is said, and waits for the next change; a signal ends both of them."""
    file = tmp_path / "changing.py"
    text = "from stage_app import *\nasync def word(_):\n    return web.Response(text='{}')\n"
    text += "app = web.Application()\napp.router.add_get('/', word)\n"
    file.write_text(text.format("one"))
    process = await command("changing:app", "--port", "0", "--reload")
    assert await page(await process.listening()) == "one"
    first = process.url
    process.log = ""
    file.write_text(text.format("number two"))
    assert await page(await process.listening()) == "number two"
    with pytest.raises(ClientConnectionError):
        await page(first)
    file.write_text("nonsense")
    await process.said("hybridws serve: changing cannot be imported: NameError")
    process.log = ""
    file.write_text(text.format("the third"))
    assert await page(await process.listening()) == "the third"
    process.stop(signal.SIGTERM)
    assert await process.ended(LIMIT) == 0
    with pytest.raises(ClientConnectionError):
        await page(process.url)


def test_what_reload_looks_at(folder: Path) -> None:
    """The Python files beside the module, or of the whole package, without what is hidden or installed."""
    for name in ("shop/__init__.py", "shop/web/app.py", "shop/.venv/x.py", "shop/node_modules/x.py", "shop/x.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    assert folder_of("shop.web.app:app") == folder / "shop"
    assert folder_of("not_there:app") == folder
    assert {Path(name).relative_to(folder).as_posix() for name in look(folder)} == {
        "shop/__init__.py",
        "shop/web/app.py",
    }


@pytest.mark.parametrize(
    ("app", "words"),
    [
        ("app", "'app' is not MODULE:APP, such as chat:app"),
        ("shop.py:app", "'shop.py:app' is not MODULE:APP"),
        ("not_there:app", "there is no module 'not_there' in"),
        ("shop.not_there:app", "there is no module 'shop.not_there' in"),
        ("shop:nothing", "shop has no 'nothing'; it has the application app"),
        ("shop:app.nothing", "shop has no 'app.nothing'"),
        ("shop:number", "shop:number is 42, not an aiohttp.web.Application"),
        ("shop:handler", "handler does not make an application by itself: missing a required argument: 'session'"),
        ("shop:makes_nothing", "None is no aiohttp.web.Application, and makes_nothing made it"),
        ("broken:app", "broken cannot be imported: SyntaxError"),
        ("needs:app", "needs cannot be imported: No module named 'what_is_not_installed'"),
    ],
)
def test_an_application_that_cannot_be_had(
    folder: Path, capsys: pytest.CaptureFixture[str], app: str, words: str
) -> None:
    """What is wrong is said in the last line, with what it was and what to do; exit code 1."""
    (folder / "shop.py").write_text(
        "from aiohttp import web\napp = web.Application()\nnumber = 42\nasync def handler(session): ...\n"
        "def makes_nothing(): ...\n"
    )
    (folder / "broken.py").write_text("def")
    (folder / "needs.py").write_text("import what_is_not_installed")
    done = subprocess.run(
        [sys.executable, "-m", "hybridws", "serve", app, "--port", "0", "--log-level", "error"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(stage.ROOT)},
        capture_output=True,
        text=True,
        timeout=stage.PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert capsys.readouterr().err == ""
    assert done.stderr.splitlines()[-1].startswith("hybridws serve: "), done.stderr
    assert words in done.stderr.splitlines()[-1]


async def test_a_taken_port_and_a_bad_certificate(command: Serve, tmp_path: Path) -> None:
    """What only shows when it listens is said in one line as well; exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        process = await command("stage_app:make", "--port", str(port), "--log-level", "error")
        assert await process.ended() == 1
        last = process.log.splitlines()[-1]
        assert last.startswith(f"hybridws serve: port {port} of 127.0.0.1 is in use: another process listens there")
    (tmp_path / "no.pem").write_text("nothing")
    for file, words in (("no.pem", "no TLS with no.pem"), ("not_there.pem", "cannot read not_there.pem: No such file")):
        process = await command("stage_app:make", "--port", "0", "--log-level", "error", "--certfile", file)
        assert await process.ended() == 1
        assert process.log.splitlines()[-1].startswith(f"hybridws serve: {words}")


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        ([], {}, "what shall be served? Write MODULE:APP"),
        (["a:b", "--port", "http"], {}, "argument --port: http is no port"),
        (["a:b"], {"HYBRIDWS_PORT": "70000"}, "HYBRIDWS_PORT: 70000 is no port"),
        (["a:b"], {"HYBRIDWS_RELOAD": "maybe"}, "HYBRIDWS_RELOAD: maybe is neither 1 nor 0"),
        (["a:b"], {"HYBRIDWS_BACKLOG": "0"}, "HYBRIDWS_BACKLOG: 0 is no whole number above 0"),
        (["a:b", "--loop", "trio"], {}, "trio is none of auto, asyncio, uvloop"),
        (["a:b", "--shutdown-timeout", "soon"], {}, "soon is no number of seconds above 0"),
        (["a:b", "--keyfile", "key.pem"], {}, "keyfile needs a certfile beside it"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_is_not_understood_is_said(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    variables: dict[str, str],
    words: str,
) -> None:
    """Arguments and variables that cannot work end with 2 and a sentence that names them."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    try:
        code: object = main(["serve", *arguments])
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert words in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_an_application_where_a_function_is_promised(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--factory` with an application says what to leave away."""
    (folder / "factory_shop.py").write_text("from aiohttp import web\napp = web.Application()\n")
    assert main(["serve", "factory_shop:app", "--factory"]) == 1
    assert "leave --factory away" in capsys.readouterr().err
    sys.modules.pop("factory_shop")


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` says of each option what it does, and how the environment gives it."""
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    out = capsys.readouterr().out
    for word in ("MODULE:APP", "--host", "--unix", "--certfile", "--reload", "--reuse-port", "HYBRIDWS_LOG_LEVEL"):
        assert word in out
