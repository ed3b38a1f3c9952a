"""`hybridws bench`: it counts what comes back over each transport, and says when nothing does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from hybridws.aiohttp import mount
from hybridws.cli import main

if TYPE_CHECKING:
    from hybridws import Session
    from tests.cli.command import Serve, Start

FEW = ("--sessions", "3", "--seconds", "0.4")


async def bench(start: Start, *arguments: str) -> tuple[int | None, list[dict[str, Any]]]:
    """Run it with --json; return its exit code and what it says of each transport."""
    done = await (await start("bench", "--json", *FEW, *arguments)).done()
    assert done.err == ""
    return done.code, json.loads(done.out)["transports"]


async def test_each_transport_is_measured(start: Start, echo: str) -> None:
    """Every transport has sessions, messages and delays; the median is not above the 99th percentile; exit code 0."""
    code, found = await bench(start, echo)
    assert code == 0
    assert [one["transport"] for one in found] == ["websocket", "stream", "poll"]
    for one in found:
        assert (one["sessions"], one["error"], one["note"]) == (3, "", "")
        assert one["opens_per_second"] > 0
        assert one["messages"] > 0
        assert one["messages_per_second"] > 0
        assert 0 < one["p50_ms"] <= one["p99_ms"]
        assert one["client_was_the_limit"] == (one["client_busy"] >= 0.9)


async def test_only_the_named_transports_are_measured(start: Start, echo: str) -> None:
    """`--transport` chooses, in the order given; codec and size are the user's."""
    code, found = await bench(
        start, "--transport", "poll", "--transport", "websocket", "--codec", "msgpack", "--size", "2000", echo
    )
    assert (code, [one["transport"] for one in found]) == (0, ["poll", "websocket"])
    assert all(one["messages"] for one in found)


async def test_a_handler_that_is_no_echo_is_told(start: Start, serve: Serve) -> None:
    """Words of the server's own are no answers: the opening is measured, and it is said that nothing came back."""

    async def handler(session: Session) -> None:
        async for _ in session:
            await session.send("something else")

    app = web.Application()
    mount(app, "/deaf", handler)
    code, found = await bench(start, "--transport", "websocket", f"{await serve(app)}/deaf")
    assert code == 0
    assert (found[0]["sessions"], found[0]["messages"]) == (3, 0)
    assert found[0]["note"] == "3 of 3 sessions heard nothing back: is the handler an echo?"


async def test_where_no_session_opens_the_exit_code_says_so(start: Start, serve: Serve) -> None:
    """A server without a mount: the reason is in the report, and the exit code is 1."""
    url = await serve(web.Application())
    code, found = await bench(start, "--timeout", "1", "--transport", "poll", f"{url}/nothing")
    assert code == 1
    assert found[0]["error"]
    assert found[0]["sessions"] == 0


async def test_people_get_a_table(start: Start, echo: str) -> None:
    """Without --json: a heading, and a line for each transport."""
    done = await (await start("bench", *FEW, "--transport", "websocket", echo)).done()
    heading, row, *_ = done.out.splitlines()
    assert done.code == 0
    assert heading.split() == ["sessions", "opens/s", "messages/s", "p50", "ms", "p99", "ms", "client"]
    assert row.split()[:2] == ["websocket", "3"]


@pytest.mark.parametrize(
    "arguments",
    [["--sessions", "0"], ["--sessions", "x"], ["--size", "1"], ["--seconds", "-1"], ["--transport", "fax"]],
)
def test_what_cannot_be_meant_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An argument that makes no sense is named, and nothing is sent; exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main(["bench", *arguments, "http://127.0.0.1:1/none"])
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err
