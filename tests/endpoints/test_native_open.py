"""Opening a session (docs/protocol.md §4): hello and what rides along, nonces, versions, codecs."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.conformance.wire import Witness, echo, handshake, until
from tests.endpoints.native_wire import CODECS, encode, said

if TYPE_CHECKING:
    from hybridws import Session
    from tests.conformance.peers import Mounting
    from tests.endpoints.native_wire import Dial

each_codec = pytest.mark.parametrize("codec", CODECS)


async def greet(session: Session) -> None:
    """Say a word at once, then send every message back."""
    await session.send("welcome")
    await echo(session)


@each_codec
async def test_answer(place: Mounting, dial: Dial, codec: str) -> None:
    """The answer is `o` as JSON in the first line, then `a` and `#` in the session's codec; it tells all limits."""
    talk = dial(await place(echo, heartbeat=7, poll_timeout=8, resume=9), codec)
    answer = await talk.hello()
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store, no-transform"
    kind = "text/plain; charset=utf-8" if codec == "json" else "application/octet-stream"
    assert answer.headers["Content-Type"] == kind
    line, _, rest = answer.body.partition(b"\n")
    opened = json.loads(line)
    assert rest == encode(codec, [["a", 0], ["#", 1]]).replace(b", ", b",")
    assert opened[0] == "o"
    told = opened[1]
    assert re.fullmatch(r"[A-Za-z0-9_.-]{24,64}", told.pop("sid"))
    assert re.fullmatch(r"[A-Za-z0-9_-]{22,}", told.pop("key"))  # 128 bits in base64
    assert told == {
        "v": 1,
        "heartbeat": 7,
        "poll_timeout": 8,
        "resume": 9,
        "buffer": 2**20,
        "max_message": 2**18,
        "max_batch": 2**20 + 2**12,
        "max_packets": 10_000,
        "max_elements": 10_000,
        "max_depth": 32,
        "transports": ["websocket", "stream", "poll"],
        "features": [],
    }


async def test_subprotocols(place: Mounting, dial: Dial) -> None:
    """The mount's first subprotocol that is asked for is told as `protocol`, also to a hello that is repeated."""
    spoken: list[str | None] = []

    async def tell(session: Session) -> None:
        spoken.append(session.subprotocol)
        await echo(session)

    talk = dial(await place(tell, subprotocols=["chat.v2", "chat.v1"]))
    for _ in range(2):
        answer = await talk.hello(protocols=["chat.v1", "chat.v2"], nonce="n" * 32)
        assert json.loads(answer.body.partition(b"\n")[0])[1]["protocol"] == "chat.v2"
    answer = await talk.hello()
    assert "protocol" not in json.loads(answer.body.partition(b"\n")[0])[1]
    assert spoken == ["chat.v2", None]
    for wrong in (["chat.v3"], "chat.v1", [1]):
        assert (await talk.hello(protocols=wrong)).status == 400


async def test_a_mount_without_subprotocols_refuses_none(place: Mounting, dial: Dial) -> None:
    """Where the application names no subprotocols, whoever asks for some is let in and told of none."""
    answer = await dial(await place(echo)).hello(protocols=["graphql-transport-ws"])
    assert answer.status == 200
    assert "protocol" not in json.loads(answer.body.partition(b"\n")[0])[1]


async def test_transports_offered(place: Mounting, dial: Dial) -> None:
    """`transports` is the ladder that is left when the mount forbids some, and a forbidden one is not there (404)."""
    talk = dial(await place(echo, transports=["poll", "stream"]))
    await talk.open()
    assert talk.told["transports"] == ["stream", "poll"]
    wire = await talk.wire()
    await wire.request("GET", talk.place.at("/v1/websocket"), {**talk.headers, **handshake()})
    assert (await wire.head()).status == 404


async def test_names_and_keys_differ(place: Mounting, dial: Dial) -> None:
    """No two sessions share a name or a key, and the key is not part of the name."""
    talks = [dial(await place(echo)) for _ in range(3)]
    for talk in talks:
        await talk.open()
    assert len({talk.sid for talk in talks} | {talk.key for talk in talks}) == 6
    assert not any(talk.key in talk.sid for talk in talks)


@each_codec
async def test_first_message_rides_along(place: Mounting, dial: Dial, codec: str) -> None:
    """What the client has to say goes in the hello's body, and an answer said within 20 ms comes back with `o`."""
    talk = dial(await place(echo, open_linger=10), codec)
    async with asyncio.timeout(5):
        batch = await talk.open(["#", 1], ["m", "one"])
    assert batch == [["a", 1], ["#", 1], ["m", "one"]]


async def test_all_that_came_is_acked(place: Mounting, dial: Dial) -> None:
    """Several messages in the hello's body are all taken, in order."""
    witness = Witness()
    talk = dial(await place(witness))
    assert await talk.open(["#", 1], ["m", 1], ["m", 2], ["m", 3]) == [["a", 3], ["#", 1]]
    assert [await witness.message() for _ in range(3)] == [1, 2, 3]


async def test_silent_application(place: Mounting, dial: Dial, witness: Witness) -> None:
    """An application with nothing to say holds the answer for no longer than 20 ms."""
    talk = dial(await place(witness))
    async with asyncio.timeout(2):
        assert await talk.open() == [["a", 0], ["#", 1]]


async def test_application_speaks_first(place: Mounting, dial: Dial) -> None:
    """What the application says by itself within the linger comes with the answer."""
    talk = dial(await place(greet))
    assert said(await talk.open()) == ["welcome"]


async def test_application_closes_at_once(place: Mounting, dial: Dial) -> None:
    """An application that closes at once is told of in the answer: its words, and then `c`."""

    async def refuse(session: Session) -> None:
        await session.send("no")
        await session.close(3001, "not today")

    talk = dial(await place(refuse))
    assert await talk.open() == [["a", 0], ["#", 1], ["m", "no"], ["c", 3001, "not today"]]


async def test_nonce_repeated(place: Mounting, dial: Dial) -> None:
    """A repeated POST gets the same session, with all said since; its messages are not handed over twice."""
    opened: list[Session] = []

    async def note(session: Session) -> None:
        opened.append(session)
        await greet(session)

    served = await place(note, open_linger=0.5)
    first, again = dial(served), dial(served)
    await first.open(["#", 1], ["m", "one"], nonce="n" * 22)
    await until(lambda: opened[0].link.outbox.last == 2)
    await opened[0].send("more")
    batch = await again.open(["#", 1], ["m", "one"], nonce="n" * 22)
    assert (again.sid, again.key) == (first.sid, first.key)
    assert batch == [["a", 1], ["#", 1], ["m", "welcome"], ["m", "one"], ["m", "more"]]
    assert len(opened) == 1


async def test_nonces_of_two(place: Mounting, dial: Dial) -> None:
    """Two nonces are two sessions, and so are two hellos without any."""
    served = await place(echo)
    talks = [dial(served) for _ in range(4)]
    for talk, nonce in zip(talks, ("a", "b", None, None), strict=True):
        await talk.open(**({"nonce": nonce} if nonce else {}))
    assert len({talk.sid for talk in talks}) == 4


async def test_nonce_after_the_end(place: Mounting, dial: Dial) -> None:
    """A nonce finds its session only while that lives."""
    served = await place(echo)
    first, again = dial(served), dial(served)
    await first.open(nonce="once")
    await first.session.close(1000)
    await again.open(nonce="once")
    assert again.sid != first.sid


async def test_nonce_of_another_origin(place: Mounting, dial: Dial) -> None:
    """A nonce shown by a page of another origin is refused, and the session goes on as before."""
    served = await place(echo, origins=["https://a.example", "https://b.example"])
    first = dial(served, headers={"Origin": "https://a.example"})
    other = dial(served, headers={"Origin": "https://b.example"})
    again = dial(served, headers={"Origin": "https://a.example"})
    await first.open(nonce="stolen")
    answer = await other.hello(nonce="stolen")
    assert answer.status == 403
    assert answer.refusal[0] == 4403
    await again.open(nonce="stolen")
    assert again.sid == first.sid
    assert len(served.server.sessions) == 1


async def test_nonce_of_another_user(place: Mounting, dial: Dial) -> None:
    """A nonce shown by another user is refused."""

    async def authenticate(_request: object, auth: object) -> object:
        return auth

    served = await place(echo, authenticate=authenticate)
    first, other, again = (dial(served) for _ in range(3))
    await first.open(nonce="stolen", auth="ada")
    assert (await other.hello(nonce="stolen", auth="eve")).status == 403
    await again.open(nonce="stolen", auth="ada")
    assert again.sid == first.sid
    assert len(served.server.sessions) == 1


@pytest.mark.parametrize("version", [0, 2, "1", None, True, [1]])
async def test_unknown_version(place: Mounting, dial: Dial, version: object) -> None:
    """A version that is not spoken here is answered with 426 and those that are; nothing is opened."""
    served = await place(echo)
    answer = await dial(served).hello(v=version)
    assert answer.status == 426
    assert answer.refusal[1] == {"versions": [1]}
    assert not served.server.sessions


@pytest.mark.parametrize("codec", ["xml", "JSON", "", 1, None, ["json"]])
async def test_unknown_codec(place: Mounting, dial: Dial, codec: object) -> None:
    """A codec that is not spoken here is answered with 406; nothing is opened."""
    served = await place(echo)
    answer = await dial(served).post("/v1/open", encode("json", [["i", {"v": 1, "codec": codec}]]))
    assert answer.status == 406
    assert not served.server.sessions


async def test_json_unless_asked(place: Mounting, dial: Dial) -> None:
    """A hello without a codec gets JSON, and options that nobody knows are ignored."""
    talk = dial(await place(echo))
    body = encode("json", [["i", {"v": 1, "features": ["s"], "colour": "green"}], ["#", 1], ["m", "one"]])
    answer = await (await talk.begin("/v1/open", body, opens=True)).answer()
    assert answer.status == 200
    assert said(answer.batch) == ["one"]
    assert answer.batch[0][1]["features"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b'["m", "one"]',
        b'["i"]',
        b'["i", []]',
        b'["i", {"v": 1, "nonce": 5}]',
        b'["i", {"v": 1}] ["i", {"v": 1}]',
        b'["i", {"v": 1}]\n["m", "no position"]',
        b'["i", {"v": 1}]\nrubbish',
        b'["i", {"v": 1, "codec": "msgpack"}]\n["#", 1]',
        b'["i", {"v": 1}]\n["#", 1]\n["a", 99]',
        b'["i", {"v": 1}]\n["#", 1]\n["m"]',
    ],
)
async def test_malformed(place: Mounting, dial: Dial, body: bytes) -> None:
    """What is not a hello and a batch is answered with 400, and no session is left that nobody knows of."""
    served = await place(echo)
    answer = await dial(served).post("/v1/open", body)
    assert answer.status == 400
    assert answer.refusal[0] == 4400
    assert not served.server.sessions


async def test_malformed_with_a_nonce(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A malformed repetition is refused, and the session that the nonce names lives on."""
    served = await place(witness)
    first, again = dial(served), dial(served)
    await first.open(nonce="mine")
    assert (await again.hello(["m", "no position"], nonce="mine")).status == 400
    await again.open(nonce="mine")
    assert again.sid == first.sid
