"""Each example runs as `python examples/NAME.py`, and does what its head says."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import random
import socket
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp
import pytest

import hybridws
from tests.live.drivers import run_node

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
START: Final = 20.0
"""Seconds that a program may take to listen, on a busy machine."""
PATIENCE: Final = 20.0
TRANSPORTS: Final = ("websocket", "stream", "poll")


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def begin(name: str, folder: Path, port: int, *arguments: str) -> asyncio.subprocess.Process:
    """Start an example as it stands, but for its port: that of the example may be taken here."""
    text = (EXAMPLES / name).read_text()
    assert "8080" in text
    program = folder / name
    program.write_text(text.replace("8080", str(port)))
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(program),
        *arguments,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "PYTHONWARNINGS": "error"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def running(name: str, folder: Path, *arguments: str) -> AsyncGenerator[str]:
    """Run an example for the time of a `with`; give its address. It must end in order when it is asked to."""
    port = free_port()
    server = await begin(name, folder, port, *arguments)
    try:
        async with asyncio.timeout(START):
            while server.returncode is None:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield f"http://127.0.0.1:{port}"
    finally:
        if server.returncode is None:
            server.terminate()
        _, err = await server.communicate()
        assert server.returncode == 0, err.decode()
        assert "Traceback" not in err.decode()


async def test_echo_and_python_client(tmp_path: Path) -> None:
    """The client sends a hundred messages of three sorts to the echo, and each comes back."""
    async with running("echo.py", tmp_path) as url:
        client = await begin("python_client.py", tmp_path, 1, f"{url}/echo")
        async with asyncio.timeout(PATIENCE):
            out, err = await client.communicate()
    assert (client.returncode, err) == (0, b"")
    first, last, carried = out.decode().splitlines()
    assert first.startswith("open, over ")
    assert last.startswith("the last of 100: 'text 99', over ")
    assert set(carried.removeprefix("carried by ").split(", then ")) <= set(TRANSPORTS)


def test_echo_is_short() -> None:
    """Beyond its first line and blank ones, the echo takes 12 lines."""
    lines = [line for line in (EXAMPLES / "echo.py").read_text().splitlines()[1:] if line.strip()]
    assert len(lines) <= 12


async def test_python_client_without_a_server(tmp_path: Path) -> None:
    """Where nobody listens the client says so in a sentence, with what to do."""
    client = await begin("python_client.py", tmp_path, free_port())
    async with asyncio.timeout(2 * PATIENCE):
        _, err = await client.communicate()
    assert client.returncode == 1
    assert b"Start the server first: python examples/echo.py" in err
    assert b"Traceback" not in err


@pytest.mark.live
async def test_stomp(tmp_path: Path) -> None:
    """@stomp/stompjs connects, subscribes, publishes what needs care, and disconnects with a receipt."""
    body = "News: ünï😀\n\\n\\c\u2028 <b>"
    async with running("stomp.py", tmp_path) as url:
        address = f"{url.replace('http', 'ws')}/stomp/websocket"
        story = await run_node("node_stomp.mjs", {"url": address, "transport": None, "body": body})
    assert story["errors"] == []
    assert (story["server"], story["version"], story["protocol"]) == ("hybridws-example", "1.2", "v12.stomp")
    assert story["messages"] == [["/topic/news", body], ["/topic/news", "last"]]
    assert story["receipt"] == "RECEIPT"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_stomp_between_two(tmp_path: Path, transport: str) -> None:
    """Over each transport, what one publishes reaches who has subscribed; what is no STOMP is answered with ERROR."""
    async with running("stomp.py", tmp_path) as url, asyncio.timeout(PATIENCE):
        connect = functools.partial(hybridws.connect, f"{url}/stomp", transports=[transport])
        async with (
            connect() as one,
            connect() as two,
        ):
            news, answers = aiter(one), aiter(two)
            await one.send("CONNECT\naccept-version:1.2\n\n\0")
            await one.send("SUBSCRIBE\nid:7\ndestination:/a\\cb\nreceipt:r1\n\n\0")
            assert (await anext(news)).startswith("CONNECTED\nversion:1.2\n")
            assert await anext(news) == "RECEIPT\nreceipt-id:r1\n\n\0"
            await two.send("\n")
            await two.send("SEND\ndestination:/a\\cb\n\nhello\0")
            assert await anext(news) == "MESSAGE\ndestination:/a\\cb\nsubscription:7\nmessage-id:1\n\nhello\0"
            await two.send("SEND\n\n\0")
            assert await anext(answers) == "ERROR\nmessage:the header 'destination' is missing\n\n\0"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_upload(tmp_path: Path, transport: str) -> None:
    """A file of 6 MiB arrives as it is over each transport; `send` waits while more than a buffer is on its way."""
    folder = tmp_path / "files"
    folder.mkdir()
    data = random.Random(6).randbytes(6 * 2**20)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(running("upload.py", tmp_path, str(folder)))
        await stack.enter_async_context(asyncio.timeout(PATIENCE))
        session = await stack.enter_async_context(hybridws.connect(f"{url}/upload", transports=[transport]))
        answers = aiter(session)
        await session.send({"name": "../some file.bin", "size": len(data)})
        most = 0
        for at in range(0, len(data), 100_000):
            await session.send(data[at : at + 100_000])
            most = max(most, sum(len(part) for part in session.unacked if isinstance(part, bytes)))
        assert await anext(answers) == {
            "name": "_some_file.bin",
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
    assert (folder / "_some_file.bin").read_bytes() == data
    assert most <= 2 * 2**20


@pytest.mark.parametrize("header", ["text", {"name": "x", "size": -1}, {"name": "x", "size": 2**40}])
async def test_upload_refuses(tmp_path: Path, header: object) -> None:
    """What is no file's head is answered with what one looks like, and with the end."""
    async with running("upload.py", tmp_path, str(tmp_path)) as url, asyncio.timeout(PATIENCE):
        connection = hybridws.connect(f"{url}/upload")
        async with connection as session:
            await session.send(header)
            answers = [answer async for answer in session]
    assert answers == [{"error": "first comes an object with name and size, of at most 1,073,741,824 bytes"}]
    assert connection.closed
    assert connection.closed[:2] == (4400, "not a file")


async def test_notifications(tmp_path: Path) -> None:
    """What is POSTed reaches the user that it is for, or everybody; the answer tells how many."""
    async with running("notifications.py", tmp_path) as url, asyncio.timeout(PATIENCE), aiohttp.ClientSession() as http:
        live = f"{url}/live"
        async with hybridws.connect(live, auth="ada") as ada, hybridws.connect(live, auth="grace") as grace:
            for form, reached in (({"user": "ada", "text": "one"}, "1\n"), ({"text": "two"}, "2\n")):
                async with http.post(f"{url}/notify", data=form) as answer:
                    assert await answer.text() == reached
            assert [await anext(aiter(ada)), await anext(aiter(ada))] == [{"text": "one"}, {"text": "two"}]
            assert await anext(aiter(grace)) == {"text": "two"}
        async with http.post(f"{url}/notify", data={"user": "ada"}) as answer:
            assert answer.status == 400


async def test_auth_by_token(tmp_path: Path) -> None:
    """A token that lives for a second carries a session for three: it is renewed in time. Others are refused."""
    async with running("auth.py", tmp_path, "1") as url, asyncio.timeout(PATIENCE), aiohttp.ClientSession() as http:
        fetched = 0

        async def fetch() -> str:
            nonlocal fetched
            fetched += 1
            async with http.post(f"{url}/token", data={"name": "ada", "password": "lovelace"}) as answer:
                assert answer.status == 200
                return await answer.text()

        async with hybridws.connect(f"{url}/live", auth=fetch) as session:
            answers = aiter(session)
            sid = session.id
            for _ in range(6):
                await session.send("who am I?")
                assert await anext(answers) == "you are ada"
                await asyncio.sleep(0.5)
            assert session.id == sid
        assert fetched >= 3
        forged = (await fetch())[::-1].swapcase()[::-1]
        for wrong in ("", "AAAA", "!", forged):
            with pytest.raises(hybridws.CannotConnect) as refused:
                async with hybridws.connect(f"{url}/live", auth=wrong):
                    pass
            assert refused.value.code == 4401
        async with http.post(f"{url}/token", data={"name": "ada", "password": "byron"}) as answer:
            assert answer.status == 403


async def test_auth_by_cookie(tmp_path: Path) -> None:
    """Who has logged in needs no token; a cookie from a page of another origin opens nothing."""
    async with running("auth.py", tmp_path) as url, asyncio.timeout(PATIENCE):
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            login = {"name": "grace", "password": "hopper"}
            async with http.post(f"{url}/login", data=login, allow_redirects=False) as answer:
                assert answer.status == 303
                cookie = answer.cookies["session"]
                assert (cookie["httponly"], cookie["samesite"]) == (True, "Strict")
        headers = {"Cookie": f"session={cookie.value}"}
        async with hybridws.connect(f"{url}/live", headers=headers) as session:
            await session.send("who am I?")
            assert await anext(aiter(session)) == "you are grace"
        async with aiohttp.ClientSession(headers={**headers, "Origin": "http://evil.example"}) as http:
            hello = '["i",{"v":1,"codec":"json","nonce":"0123456789abcdef0123456789abcdef"}]'
            async with http.post(f"{url}/live/v1/open", data=hello) as answer:
                assert answer.status == 403
