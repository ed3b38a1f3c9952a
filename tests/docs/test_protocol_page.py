"""Runs what docs/protocol.md shows: its curl transcripts against a real server, and its table of bytes."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from aiohttp import web

from hybridws.aiohttp import mount
from hybridws.core.codec import JSON, MSGPACK, from_array
from hybridws.core.packets import Message
from hybridws.options import Options
from hybridws.transports.downlinks import STREAMS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hybridws import Session

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"
PADDING = re.compile(" {2048}")
DIFFERS = re.compile(r"^(Date|Server): .*$", re.MULTILINE)


class Step(NamedTuple):
    """One command of a transcript and what it prints."""

    command: str
    answer: str


def transcripts(page: str) -> list[Step]:
    """Find the commands of the page, in order, each with its answer."""
    steps: list[Step] = []
    for block in re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.split("\n")
            count = next(count for count in range(1, len(lines)) if closed("\n".join(lines[:count])))
            steps.append(Step("\n".join(lines[:count]), "\n".join(lines[count:])))
    return steps


def closed(command: str) -> bool:
    """Tell whether a command is whole: its quotes are closed."""
    try:
        return bool(shlex.split(command))
    except ValueError:
        return False


class Places(NamedTuple):
    """What a transcript names, and differs each time."""

    prefix: str
    sid: str
    key: str

    def fill(self, command: str) -> list[str]:
        """Make a command of the page one that can be run."""
        command = command.replace("PREFIX", self.prefix)
        return shlex.split(command.replace("SID", self.sid).replace("KEY", self.key))

    def clear(self, answer: str) -> str:
        """Write an answer as the page does."""
        text = answer.replace("\r\n", "\n").replace(self.sid, "SID").replace(self.key, "KEY")
        return DIFFERS.sub(r"\1: …", PADDING.sub("<2048 spaces>", text))


async def run(command: list[str]) -> str:
    """Run a command, and return what it prints."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    answer, _ = await process.communicate()
    return answer.decode()


async def replay(prefix: str, steps: list[Step]) -> list[Step]:
    """Run all commands, and return them with what they print."""
    places = Places(prefix, "no sid yet", "no key yet")
    done: list[Step] = []
    for step in steps:
        answer = await run(places.fill(step.command))
        if places.sid == "no sid yet" and (found := re.search(r'^\["o",(.*)\]$', answer, re.MULTILINE)):
            session = json.loads(found[1])
            places = places._replace(sid=session["sid"], key=session["key"])
        # The length of an answer that names the session is that of the real one; the page shows it as it is.
        text = places.clear(answer)
        done.append(Step(step.command, text if text.endswith("\n") else f"{text}\n"))
    return done


async def echo(session: Session) -> None:
    """Say back what was said."""
    async for message in session:
        await session.send(message)


async def test_the_transcripts_are_what_a_server_says(serve: Callable[..., Awaitable[str]]) -> None:
    """Each command of the page, run in order against an echo, prints what the page shows, byte for byte.

    Left out are the session's name and key, the date, and the server's version; CR is not shown.
    """
    app = web.Application()
    # The page's server answers within 20 ms and 250 ms what comes within them; here it may take as long as it must.
    mount(app, "/echo", echo, events=True, open_linger=5.0, linger=5.0)
    steps = transcripts(PAGE.read_text("utf-8"))
    assert len(steps) >= 10
    for said, shown in zip(await replay(await serve(app) + "/echo", steps), steps, strict=True):
        assert said.answer == shown.answer, said.command


ROW = re.compile(r"^\| [a-z]+ \| `(\[.*\])` \| `([0-9a-f]+)` \|$", re.MULTILINE)


@pytest.mark.parametrize(("text", "packed"), ROW.findall(PAGE.read_text("utf-8")))
def test_the_bytes_are_what_the_codecs_write(text: str, packed: str) -> None:
    """The page's examples of packets in both codecs are exact."""
    array = json.loads(text)
    packet = Message(base64.b64decode(array[1])) if array[0] == "b" else from_array(array)
    assert packet is not None
    assert JSON.dumps(packet, Options()) == text.encode()
    assert MSGPACK.dumps(packet, Options()).hex() == packed


def test_the_event_is_what_a_stream_writes() -> None:
    """The page's example of an event is exact, its empty line included."""
    (event,) = re.findall(r"^```text\n(data: .*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    batch = re.sub("^data: ", "", event, flags=re.MULTILINE).strip().encode()
    assert STREAMS["json"].wrap(batch, "").decode() == event
