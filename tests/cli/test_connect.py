"""`hybridws connect`: lines in, messages out, and an exit code that says how it ended."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiohttp import web

from hybridws.aiohttp import mount
from hybridws.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from hybridws import Session
    from tests.cli.command import Serve, Start

MANY = 3000


@pytest.mark.parametrize("transport", ["websocket", "stream", "poll"])
async def test_lines_of_a_pipe_are_sent_and_their_answers_shown(start: Start, echo: str, transport: str) -> None:
    """Over each transport: lines become messages, in order, answers become lines; the last line may lack its end."""
    command = await start("connect", "--transport", transport, echo)
    done = await command.done("one\n\nthree ü\r\nfour")
    assert (done.code, done.out) == (0, "one\n\nthree ü\nfour\n")
    assert f"* open over {transport} in" in done.err
    assert done.err.endswith("* closed\n")


async def test_all_of_a_long_input_is_acknowledged_before_the_session_closes(start: Start, serve: Serve) -> None:
    """A handler that never answers, and takes its time, has had every line when the command ends with 0."""
    heard: list[object] = []
    ended = asyncio.Event()

    async def handler(session: Session) -> None:
        async for message in session:
            heard.append(message)  # noqa: PERF401 - a comprehension would show nothing before the end
        ended.set()

    app = web.Application()
    mount(app, "/sink", handler)
    command = await start("connect", "--wait", "0", f"{await serve(app)}/sink")
    done = await command.done("".join(f"{n}\n" for n in range(MANY)))
    await asyncio.wait_for(ended.wait(), 5)
    assert (done.code, heard) == (0, [str(n) for n in range(MANY)])


async def test_answers_are_shown_as_they_come(start: Start, echo: str) -> None:
    """Each line is sent when it is typed, not when the input ends."""
    command = await start("connect", echo)
    await command.told("open over")
    for text in ("first", "second"):
        await command.type(f"{text}\n")
        assert await command.line() == text
    assert (await command.done()).code == 0


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_with_json_lines_are_values_both_ways(start: Start, echo: str, codec: str) -> None:
    """Values, and bytes as base64, go there and come back; every line on stderr is a JSON object."""
    lines = ['"text"', '{"a":[1,2.5,null,true]}', '{"$bytes":"AAH/"}', '"ü"']
    command = await start("connect", "--json", "--codec", codec, echo)
    done = await command.done("\n".join([*lines, "", ""]))
    assert (done.code, done.out.splitlines()) == (0, lines)
    events = [json.loads(line) for line in done.err.splitlines()]
    assert [event["event"] for event in events if event["event"] != "moved"] == ["connecting", "open", "closed"]
    assert events[-1] == {"event": "closed", "code": 1000, "reason": "", "by": "local", "unacked": []}


async def test_a_line_that_cannot_be_sent_is_told_and_the_rest_goes_on(start: Start, echo: str) -> None:
    """No JSON, a number that JavaScript cannot hold, a message over the limit: each is told by its line; code 2."""
    command = await start("connect", "--json", echo)
    done = await command.done(f'"a"\nnope\n{2**60}\n{{"$bytes":"?"}}\n"{"x" * 300_000}"\n"b"\n')
    assert (done.code, done.out.splitlines()) == (2, ['"a"', '"b"'])
    unsent = [json.loads(line) for line in done.err.splitlines() if '"unsent"' in line]
    assert [event["line"] for event in unsent] == [2, 3, 4, 5]


async def test_bytes_and_values_are_shown_to_people(start: Start, serve: Serve) -> None:
    """Without --json bytes are shown in hexadecimal, and values as JSON."""

    async def handler(session: Session) -> None:
        await session.send(b"\x00\xff")
        await session.send({"a": "ü"})
        await session.close()

    app = web.Application()
    mount(app, "/say", handler)
    command = await start("connect", f"{await serve(app)}/say")
    assert [await command.line(), await command.line()] == ["<2 bytes: 00 ff>", '{"a":"ü"}']
    assert (await command.process.wait()) == 0


async def test_the_server_may_close(start: Start, echo: str) -> None:
    """A close of the application's ends the command at once, though the input is still open: exit code 0, and told."""
    command = await start("connect", "--transport", "websocket", echo)
    await command.type("leave\n")
    assert await command.told("closed") == "* closed by the server with 4001: as you wish"
    assert await command.process.wait() == 0


async def test_an_error_of_the_server_is_no_good_end(start: Start, echo: str) -> None:
    """A handler that fails (1011) ends the command with 3."""
    command = await start("connect", "--transport", "websocket", echo)
    await command.type("fail\n")
    assert await command.told("closed") == "* closed by the server with 1011: on purpose"
    assert await command.process.wait() == 3


async def test_a_lost_session_is_told_with_what_was_not_acknowledged(start: Start, serve: Serve) -> None:
    """When the server forgets the session, exit code 3, and the messages that nobody has confirmed."""
    made: list[Session] = []
    here = asyncio.Event()

    async def handler(session: Session) -> None:
        made.append(session)
        here.set()
        await session.wait_closed()  # takes nothing, so that what is beyond half a buffer is not acknowledged

    app = web.Application()
    mount(app, "/deaf", handler, buffer=4096, max_message=4096, max_batch=8192)
    command = await start("connect", f"{await serve(app)}/deaf")
    await here.wait()
    await command.told("open over")
    await command.type("".join(f"{letter * 1000}\n" for letter in "abcdefgh"))
    async with asyncio.timeout(5):
        while made[0].link.inbox_size < 2048:  # noqa: ASYNC110 - nothing rings when a message arrives
            await asyncio.sleep(0.01)
    made[0].abort(4008, "too slow")
    line = await command.told("not acknowledged")
    assert line.startswith("* lost (4008): too slow; ")
    assert await command.process.wait() == 3
    listed = [row.strip() for row in (await command.done()).err.splitlines() if row.startswith("    ")]
    assert listed
    assert set(listed) < {letter * 1000 for letter in "abcdefgh"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "no address of a server"),
        (["http://localhost/x", "--header", "novalue"], "is no header"),
        (["http://localhost/x", "--cookie", "novalue"], "is no cookie"),
        (["http://localhost/x", "--proxy", "localhost:3128"], "is no proxy"),
        (["http://localhost/x", "--auth", "{"], "begins as JSON"),
        (["http://localhost/x", "--auth", "@/no/such/file"], "cannot read"),
        (["http://localhost/x", "--transport", "poll", "--transport", "poll"], "named once"),
        (["http://localhost/x", "--wait", "nan"], "no time in seconds"),
    ],
)
def test_what_is_not_understood_is_said(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    """Arguments that cannot work end with 2 and a sentence that names them."""
    try:
        code: object = main(["connect", *arguments])
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert words in capsys.readouterr().err


async def test_where_nobody_listens_it_says_so(start: Start, unused_tcp_port: int) -> None:
    """It tries for as long as it may, then ends with 1."""
    url = f"http://127.0.0.1:{unused_tcp_port}/x"
    done = await (await start("connect", "--timeout", "0.3", url)).done("lost\n")
    assert (done.code, done.out) == (1, "")
    assert "* cannot connect: " in done.err


async def test_the_server_is_told_who_we_are(start: Start, serve: Serve, tmp_path: Path) -> None:
    """Headers, cookies and credentials reach `authenticate`; whoever it does not know ends with 1."""

    async def authenticate(request: web.Request, auth: object) -> object:
        known = request.headers.get("X-Token") == "t: 1" and request.cookies.get("c") == "2"
        return "ann" if known and auth == {"word": "secret"} else None

    async def handler(session: Session) -> None:
        await session.send(session.user)
        await session.close()

    app = web.Application()
    mount(app, "/who", handler, authenticate=authenticate)
    url = f"{await serve(app)}/who"
    file = tmp_path / "auth"
    file.write_text('{"word": "secret"}\n')
    done = await (
        await start("connect", url, "--header", "X-Token: t: 1", "--cookie", "c=2", "--auth", f"@{file}")
    ).done()
    assert (done.code, done.out) == (0, "ann\n")
    done = await (await start("connect", url)).done()
    assert done.code == 1
    assert "4401" in done.err


async def test_the_proxy_of_the_environment_is_used(start: Start, echo: str, unused_tcp_port: int) -> None:
    """`http_proxy` is the way there: one that is not there is told; `no_proxy` names what goes without."""
    proxy = f"http://127.0.0.1:{unused_tcp_port}"
    done = await (await start("connect", "--timeout", "0.3", echo, http_proxy=proxy)).done("x\n")
    assert done.code == 1
    assert str(unused_tcp_port) in done.err
    done = await (await start("connect", echo, http_proxy=proxy, no_proxy="127.0.0.1")).done("x\n")
    assert (done.code, done.out) == (0, "x\n")


async def test_a_reader_that_stops_ends_it_quietly(start: Start, echo: str) -> None:
    """As in `hybridws connect URL | head -1`: no traceback, exit code 0."""
    command = await start("connect", "--transport", "websocket", echo)
    await command.told("open over")
    output = cast("Any", command.process)._transport.get_pipe_transport(1)  # noqa: SLF001 - asyncio has no other way
    output.close()
    await command.type("x\n")
    await command.told("closed")
    assert await command.process.wait() == 0


async def test_ctrl_c_closes_in_order(start: Start, serve: Serve) -> None:
    """SIGINT closes the session so that the server knows: exit code 0, though the input is still open."""
    ends: list[object] = []
    ended = asyncio.Event()

    async def handler(session: Session) -> None:
        async for _ in session:
            pass
        ends.append(session.closed)
        ended.set()

    app = web.Application()
    mount(app, "/x", handler)
    command = await start("connect", f"{await serve(app)}/x")
    await command.told("open over")
    command.process.send_signal(signal.SIGINT)
    await command.told("closed")
    assert await command.process.wait() == 0
    await asyncio.wait_for(ended.wait(), 5)
    assert ends == [(1000, "", "remote")]


async def test_ctrl_c_before_it_is_open_gives_up(start: Start, unused_tcp_port: int) -> None:
    """SIGINT while it still tries ends it with 1."""
    command = await start("connect", f"http://127.0.0.1:{unused_tcp_port}/x")
    await command.told("connecting")
    command.process.send_signal(signal.SIGINT)
    await command.told("given up")
    assert await command.process.wait() == 1


async def test_a_terminal_shows_no_tricks_and_ends_at_ctrl_d(echo: str) -> None:
    """In a terminal messages have a mark, control characters do nothing, colours obey NO_COLOR, Ctrl-D ends it."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "hybridws", "connect", echo),
        env={**os.environ, "NO_COLOR": "1", "no_proxy": "*"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""

    async def until(words: bytes) -> None:
        nonlocal seen
        while words not in seen:
            seen += await asyncio.to_thread(os.read, ours, 1024)

    async with asyncio.timeout(20):
        await until(b"open over")
        os.write(ours, b"a\x16\x1b[31mb\n")  # Ctrl-V lets the terminal take the escape as it is
        await until(b"< a\\x1b[31mb\r\n")
        os.write(ours, b"\x04")
        await until(b"* closed\r\n")
        assert await process.wait() == 0
    os.close(ours)
    assert b"\x1b" not in seen.replace(b"^[", b"")
