"""Hostile clients of the native protocol: whatever they do is refused in clear words, and hurts nobody else."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgpack
import pytest

from tests.conformance.wire import TEXT, Wire, Witness, echo, until, within
from tests.endpoints.native_wire import CODECS, encode, pack, said

if TYPE_CHECKING:
    from hybridws import Server, Session
    from tests.conformance.peers import Mounting
    from tests.conformance.wire import Place
    from tests.endpoints.native_wire import Answer, Dial, Talk

each_codec = pytest.mark.parametrize("codec", CODECS)

POSTS: Final = ("open", "poll", "stream", "send")
FALSE_COUNTS: Final = (
    "1",
    "99",
    "-1",
    str(2**31),
    str(2**53 - 1),
    str(2**53),
    str(2**63),
    str(2**64),
    "1" * 5000,
    "0.0",
    "0.5",
    "1e0",
    "1e999",
    "-0.0",
    "true",
    "false",
    "null",
    "NaN",
    "Infinity",
    '"0"',
    "[0]",
    "{}",
)
"""What a count of nothing received may not be, as JSON."""
FALSE_VALUES: Final = (
    1,
    99,
    -1,
    2**53,
    2**63,
    2**64 - 1,
    0.0,
    0.5,
    float("inf"),
    float("nan"),
    True,
    False,
    None,
    "0",
    b"0",
)
"""The same, for msgpack."""
SHAPES: Final = (
    "{}",
    "[]",
    '"m"',
    "7",
    "null",
    "[[]]",
    "[1]",
    "[null]",
    '[["m"]]',
    '[""]',
    '["mm",1]',
    '["M",1]',
    '["é",1]',
    '["1"]',
    '["m"]',
    '["m",1,2]',
    '["#"]',
    '["#",0]',
    '["#",-1]',
    '["#",1.5]',
    '["#",true]',
    '["#","1"]',
    '["#",9007199254740992]',
    '["a"]',
    '["a",true]',
    '["a",0.0]',
    '["q",1]',
    '["q","1",1]',
    '["q",-1,1]',
    '["q",true,1]',
    '["r",1]',
    '["r",null,1]',
    '["e",1,4000]',
    '["e",1,"4000",""]',
    '["e",1,1,""]',
    '["e",1,4000,7]',
    '["u"]',
    '["u",1,2]',
    '["k"]',
    '["k",0]',
    '["k",-5]',
    '["k",true]',
    '["k",1.0]',
    '["h",1]',
    '["d",1]',
    '["c"]',
    '["c",1000]',
    '["c",999,""]',
    '["c",5000,""]',
    '["c",true,""]',
    '["c",1000.0,""]',
    '["c",1000,null]',
    '["b"]',
    '["b",1]',
    '["b","%%%"]',
    '["b","QQ"]',
    '["b","QQ==",1]',
    '["i",1]',
    '["o"]',
    '["x",1]',
    '["@"]',
    '["@","s","k",1]',
    '["@",1,2,3,4]',
    '["m",NaN]',
    '["m",-Infinity]',
    '["m",1e999]',
    '["m",9007199254740992]',
    '["m",[-9007199254740992]]',
    '["m","\\ud800"]',
    '["m",{"\\udfff":1}]',
    '["m",1',
    "rubbish",
    '["m",1]]',
    '["m",1]["m",2]',
    "\ufeff[]",
    "'m'",
    "[" * 100_000,
    '["m",' + "[" * 1000 + "]" * 1000 + "]",
    '["m",' + '{"a":' * 40 + "1" + "}" * 40 + "]",
    '["m",[' + "0," * 10_001 + "0]]",
    '["m",1' + "0" * 5000 + "]",
)
"""Lines that are no packet of version 1."""


async def unharmed(talk: Talk, witness: Witness | None = None) -> None:
    """See that a session goes on as if nothing had happened, both ways."""
    session = talk.session
    assert session.closed is None
    await session.send("fine")
    answer = await talk.poll(n=session.dock.n + 1, ack=session.link.outbox.confirmed)
    assert said(answer.batch)[-1] == "fine"
    if witness:
        before = session.link.received
        assert (await talk.send(["#", before + 1], ["m", "also fine"])).batch[0] == ["a", before + 1]
        while await witness.message() != "also fine":
            pass


def clear(answer: Answer) -> None:
    """See that a refusal is 4xx and one `x` that a person understands."""
    assert 400 <= answer.status < 500, answer
    assert answer.refusal[0] > 4000
    assert len(answer.body) < 1000
    assert b"Traceback" not in answer.body


# ── acks and resumes ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("where", ["poll", "stream", "send", "websocket", "websocket later"])
async def test_false_acks(place: Mounting, dial: Dial, witness: Witness, where: str) -> None:
    """Acks from the future, negative, too large, or no integers at all are malformed and forget nothing."""
    talk = dial(await place(witness))
    await talk.open()
    for count in FALSE_COUNTS:
        n = 0 if where == "send" else talk.session.dock.n + 1
        body = f'["@","{talk.sid}","{talk.key}",{n},{count}]'.encode()
        if where in ("poll", "stream", "send"):
            answer = await talk.post(where, body)
            assert answer.status == 400, count
            clear(answer)
            continue
        frames = await talk.websocket()
        if where == "websocket later":
            await frames.say(talk.attach(n))
            await frames.batch()
            body = f'["a",{count}]'.encode()
        await frames.socket.send(TEXT, body)
        code, told = await frames.closed()
        assert (code, told[-1][:2]) == (4400, ["x", 4400]), count
    await unharmed(talk, witness)


async def test_false_acks_in_msgpack(place: Mounting, dial: Dial, witness: Witness) -> None:
    """The same in msgpack, where integers have 64 bits and there are types that JSON does not know."""
    talk = dial(await place(witness), "msgpack")
    await talk.open()
    for count in FALSE_VALUES:
        clear(await talk.post("send", encode("msgpack", [["@", talk.sid, talk.key, 0, count]])))
        clear(await talk.post("send", encode("msgpack", [talk.attach(0), ["a", count]])))
    for rubbish in (msgpack.ExtType(5, b"x"), msgpack.Timestamp(1, 2)):
        clear(await talk.post("send", encode("msgpack", [talk.attach(0), ["#", 1], ["m", rubbish]])))
    await unharmed(talk, witness)


async def test_acks_that_go_back(place: Mounting, dial: Dial, witness: Witness) -> None:
    """An ack smaller than one before it is ignored: what was forgotten is not said again, what was not is kept."""
    talk = dial(await place(witness))
    await talk.open()
    for word in ("one", "two", "three"):
        await talk.session.send(word)
    await talk.send(ack=2)
    for ack in (0, 1, 2):
        assert (await talk.send(["a", ack], ack=ack)).status == 200
    assert (await talk.poll(ack=0)).batch == [["a", 0], ["#", 3], ["m", "three"]]


@pytest.mark.parametrize("where", ["poll", "stream", "websocket"])
async def test_refused_attach_changes_nothing(place: Mounting, dial: Dial, witness: Witness, where: str) -> None:
    """An attach with an impossible ack neither counts nor takes the place of what is attached."""
    talk = dial(await place(witness))
    await talk.open()
    call = await talk.ask()
    attach = talk.attach(2**53 - 1, 7)
    if where == "websocket":
        frames = await talk.websocket()
        await frames.say(attach)
        assert (await frames.closed())[0] == 4400
    else:
        clear(await talk.post(where, encode("json", [attach])))
    assert talk.session.dock.n == 1
    await talk.session.send("here")
    assert said((await call.answer()).batch) == ["here"]


@pytest.mark.parametrize("n", FALSE_COUNTS[2:])
async def test_false_numbers(place: Mounting, dial: Dial, witness: Witness, n: str) -> None:
    """An `n` that is no count is malformed; whatever is one may be named by who has the key."""
    talk = dial(await place(witness))
    await talk.open()
    if n in (str(2**31), str(2**53 - 1)):
        n = "0"
    clear(await talk.post("poll", f'["@","{talk.sid}","{talk.key}",{n},0]'.encode()))
    assert talk.session.dock.n == 0
    await unharmed(talk)


async def test_expired_and_foreign(place: Mounting, dial: Dial, witness: Witness) -> None:
    """Attaches to a session that has ended, never was, or is somebody else's bring nothing and change nothing."""
    served = await place(witness, resume=0.4)
    dead, alive = dial(served), dial(served)
    await dead.open()
    await dead.send(["#", 1], ["c", 1000, ""])
    await until(lambda: served.server.find(dead.sid) is None)
    await alive.open()
    for sid in (dead.sid, alive.sid + "x", "x", "0" * 64, "....", alive.sid.lower()):
        for where in ("poll", "stream", "send"):
            body = encode("json", [["@", sid, alive.key, 1, 0], ["#", 1], ["m", "evil"]])
            answer = await alive.post(f"/v1/{sid}/{where}", body)
            assert answer.status == 410, sid
            clear(answer)
    await unharmed(alive, witness)


async def test_attach_race(place: Mounting, dial: Dial, witness: Witness) -> None:
    """Twenty attaches at once, of every kind and with doubled numbers: one has the session, and nothing is lost."""
    talk = dial(await place(witness, poll_timeout=0.3))
    await talk.open()
    await talk.session.send("kept")
    calls = [await talk.begin("poll", encode("json", [talk.attach(n)])) for n in (1, 2, 2, 3, 1, 4, 4, 4, 2, 5) * 2]
    answers = [await call.answer() for call in calls]
    assert {answer.status for answer in answers} <= {200, 409}
    assert said((await talk.poll(n=6)).batch) == ["kept"]


@each_codec
async def test_counts_that_run_out(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """Numbers end before 2^53: a `k` or a position that would lead there is malformed, and the session goes on."""
    talk = dial(await place(witness), codec)
    await talk.open()
    for batch in (
        [["#", 2], ["k", 2**53 - 1]],
        [["#", 1], ["m", 1], ["k", 2**53 - 1]],
        [["#", 2**53 - 1], ["m", 1], ["m", 2]],
    ):
        clear(await talk.send(*batch))
    await unharmed(talk, witness)


# ── bodies ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("over", ["send", "websocket"])
async def test_shapes(place: Mounting, dial: Dial, witness: Witness, over: str) -> None:
    """Each packet of a wrong shape is malformed, says why, and harms neither the session nor what came before it."""
    served = await place(witness)
    talk = dial(served)
    await talk.open()
    number = 0
    for shape in SHAPES if over == "send" else SHAPES[::4]:
        number += 1
        lines = f'["#",{number}]\n["m",{number}]\n'.encode() if over == "send" else b""
        if over == "send":
            clear(await talk.post("send", encode("json", [talk.attach(0)]) + b"\n" + lines + shape.encode()))
        else:
            frames = await talk.websocket()
            await frames.say(talk.attach(number))
            await frames.batch()
            await frames.socket.send(TEXT, shape.encode())
            code, told = await frames.closed()
            assert (code, told[-1][:2]) == (4400, ["x", 4400]), shape
        number = talk.session.link.received if over == "send" else number
    await unharmed(talk, witness)


@each_codec
async def test_bytes_inside_values(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """Bytes stand alone, keys are text, and a packet is cut off nowhere."""
    talk = dial(await place(witness), codec)
    await talk.open()
    whole = encode("msgpack", [talk.attach(0), ["#", 1], ["m", "one"]])
    head = encode("msgpack", [talk.attach(0), ["#", 1]])
    bodies = [
        whole[:-1],
        head + pack(["m", [b"x"]]),
        head + pack(["m", {b"k": 1}]),
        head + pack(["m", {1: 1}]),
        head + pack(["q", 1, b"x"]),
        head + b"\x92\xa1m" + b"\x91" * 5000 + b"\x01",
        head + b"\xdd\xff\xff\xff\xff",
        head + b"\xc1",
        head + pack(["m", "x"])[:-1] + b"\xff",
    ]
    for body in bodies:
        clear(await talk.post("send", body))
    await unharmed(talk)


@each_codec
async def test_tiny_packets(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """A body of 100,000 tiny packets is refused whole; one of 9,990 is taken, and neither blocks anybody for long."""
    talk = dial(await place(witness), codec)
    await talk.open()
    tiny = encode(codec, [["h"]]) + (b"\n" if codec == "json" else b"")
    begin = encode(codec, [talk.attach(0)]) + (b"\n" if codec == "json" else b"")
    async with asyncio.timeout(10):
        clear(await talk.post("send", begin + tiny * 100_000))
        assert (await talk.post("send", begin + tiny * 9_990)).status == 200
        packets = [["#", 1], *(["m", 0] for _ in range(9_000))]
        assert (await talk.send(*packets)).batch[0][1] > 0
    assert talk.session.closed is None


@pytest.mark.parametrize("name", POSTS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n\n",
        b"\0",
        os.urandom(2000),
        b"\xff\xfe[\0]\0",
        b'["m","\xc3"]',
        b'["m","\xed\xa0\x80"]',
        b"\xc0" * 3000,
        b"<html></html>",
        b"[" * 300_000,
        b'["@",' + b"9" * 5000 + b"]",
    ],
    ids=["empty", "lines", "nul", "random", "utf-16", "cut utf-8", "surrogate", "nil", "html", "deep", "digits"],
)
async def test_rubbish(place: Mounting, dial: Dial, witness: Witness, name: str, body: bytes) -> None:
    """Rubbish as a body is refused at every endpoint, whoever's session it names, and opens nothing."""
    served = await place(witness)
    for codec in CODECS:
        talk = dial(served, codec)
        await talk.open()
        answer = await talk.post("/v1/open" if name == "open" else name, body)
        clear(answer)
        assert talk.session.dock.n == 0
        await unharmed(talk)
    assert len(served.server.sessions) == 2


@pytest.mark.parametrize("name", POSTS)
async def test_coded_bombs(place: Mounting, dial: Dial, witness: Witness, name: str) -> None:
    """A body that says to be compressed is not unpacked, be it good, broken, or a bomb; no fault is logged."""
    talk = dial(await place(witness))
    await talk.open()
    path = "/v1/open" if name == "open" else name
    for body in (gzip.compress(b"x"), gzip.compress(bytes(10**7)), b"no gzip at all" * 100):
        answer = await talk.post(path, body, {"Content-Encoding": "gzip"})
        assert answer.status == 415
    await unharmed(talk)


@pytest.mark.parametrize("name", POSTS)
async def test_half_a_body(place: Mounting, dial: Dial, witness: Witness, name: str) -> None:
    """A client that leaves in the middle of a body takes nothing away and leaves nothing behind."""
    served = await place(witness)
    talk = dial(served)
    await talk.open()
    path = served.at("/v1/open" if name == "open" else f"/v1/{talk.sid}/{name}")
    body = encode("json", [talk.attach(0 if name == "send" else 7), ["#", 1], ["m", "half"]])
    for how in ("abort", "close"):
        wire = await talk.wire()
        await wire.request("POST", path, {**talk.headers, "Content-Length": "5000"}, body)
        if how == "abort":
            wire.abort()
        else:
            await wire.close()
    await unharmed(talk)
    assert talk.session.link.received == 0
    assert len(served.server.sessions) == 1


@pytest.mark.parametrize("name", POSTS)
async def test_slow_body(place: Mounting, dial: Dial, witness: Witness, name: str) -> None:
    """A body that drips byte by byte is answered with 408 when its time is over, and the connection ends."""
    runner = {"lingering_time": 0.2}  # aiohttp reads on for so long after an answer (its default is 10 s)
    served = await place(witness, runner=runner, body_grace=0.3, body_rate=1000)
    talk = dial(served)
    await talk.open()
    path = served.at("/v1/open" if name == "open" else f"/v1/{talk.sid}/{name}")
    wire = await talk.wire()
    await wire.request("POST", path, {**talk.headers, "Content-Length": "5000"})
    reading = asyncio.create_task(wire.reply())
    while not reading.done():
        try:
            await wire.send(b"[")
        except ConnectionError:
            break
        await asyncio.wait({reading}, timeout=0.02)
    answer = await reading
    assert answer.status == 408
    assert json.loads(answer.body)[:2] == ["x", 4408]
    assert answer.headers["Connection"] == "close"
    await unharmed(talk)


async def test_a_body_in_bytes(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A body that comes one byte at a time, but in time, is a body as any."""
    talk = dial(await place(witness))
    await talk.open()
    body = encode("json", [talk.attach(0), ["#", 1], ["m", "drip"]])
    wire = await talk.wire()
    headers = {**talk.headers, "Transfer-Encoding": "chunked"}
    await wire.request("POST", talk.place.at(f"/v1/{talk.sid}/send"), headers)
    for byte in body:
        await wire.send(b"1\r\n%c\r\n" % byte)
    await wire.send(b"0\r\n\r\n")
    assert (await wire.reply()).status == 200
    assert await witness.message() == "drip"


async def test_slow_first_frame(place: Mounting, dial: Dial, witness: Witness) -> None:
    """A first frame that drips in is not waited for longer than one that never comes."""
    talk = dial(await place(witness, first_frame=0.3, close_timeout=0.3))
    await talk.open()
    frames = await talk.websocket()
    payload = encode("json", [talk.attach(5)])
    await frames.socket.wire.send(bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]))
    for byte in payload[:5]:
        await frames.socket.wire.send(bytes([byte]))
    assert (await frames.batch())[0][:2] == ["x", 4408]
    await unharmed(talk)


async def test_flood_of_control(place: Mounting, dial: Dial, witness: Witness) -> None:
    """Pings, pongs, heartbeats and acks by the thousand start no tasks and fill no memory."""
    talk = dial(await place(witness))
    await talk.open()
    frames = await talk.climb()
    before = len(asyncio.all_tasks())
    for _ in range(20):
        for _ in range(100):
            await frames.socket.send(0xA, b"x")
        await frames.say(*(["h"], ["a", 0]) * 500)
    await frames.say(["#", 1], ["m", "through"])
    assert await witness.message() == "through"
    assert len(asyncio.all_tasks()) <= before + 1
    assert talk.session.closed is None


async def test_hostile_neighbours(place: Mounting, dial: Dial) -> None:
    """While others send rubbish without a pause, a session that behaves has its answers."""
    served = await place(echo, linger=10)
    good, bad = dial(served), dial(served)
    await good.open()
    await bad.open()
    stop = False

    async def bother() -> None:
        while not stop:
            await bad.post("send", b"[" * 50_000)
            await bad.post("poll", encode("json", [["@", bad.sid, "wrong", 1, 0]]))

    bothering = [asyncio.create_task(bother()) for _ in range(3)]
    try:
        for number in range(1, 31):
            async with asyncio.timeout(5):
                answer = await good.poll(["#", number], ["m", number], ack=number - 1)
            assert said(answer.batch) == [number]
    finally:
        stop = True
        await asyncio.gather(*bothering)


# ── many that are never used ──────────────────────────────────────────────────────────────────────────────────────

CROWD: Final = 100_000 if os.environ.get("HYBRIDWS_TEST_ALL") else 30_000
"""Sessions that are opened and never used: fewer in each run, all by make test-all."""
REHEARSAL: Final = CROWD // 5
"""Those that come before memory is looked at, so that what is kept for use again is there."""
TURNED_AWAY: Final = CROWD // 5
"""Requests, of which most meet the usual limits."""
LINES: Final = 10
"""Connections over which they are opened ..."""
AT_ONCE: Final = 20
"""... and requests that are sent on one before their answers are read."""


def resident() -> int:
    """Return the bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def crowd_in(place: Place, count: int) -> tuple[set[int], int]:
    """Open sessions that nothing attaches to, over a few connections; return the statuses, and the most at once."""
    body = encode("json", [["i", {"v": 1}]]) + b"\n" + encode("json", [["#", 1], ["m", "x" * 100]])
    first = f"POST {place.at('/v1/open')} HTTP/1.1\r\nHost: {urlsplit(place.origin).netloc}\r\n"
    headers = f"{first}Origin: {place.origin}\r\nContent-Length: {len(body)}\r\n\r\n"
    request = headers.encode() + body
    statuses: set[int] = set()
    most = 0

    async def come(share: int) -> None:
        nonlocal most
        async with await Wire.to(place.origin) as wire:
            for _ in range(share // AT_ONCE):
                wire.writer.write(request * AT_ONCE)
                for _ in range(AT_ONCE):
                    head = await within(wire.reader.readuntil(b"\r\n\r\n"))
                    statuses.add(int(head[9:12]))
                    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                    await wire.reader.readexactly(length)
                most = max(most, len(place.server.sessions))

    await asyncio.gather(*(come(count // LINES) for _ in range(LINES)))
    return statuses, most


async def sleep_in(session: Session) -> None:
    """Wait for a message that never comes."""
    async for message in session:
        session.state["last"] = message


async def gone(server: Server) -> None:
    """Wait until nothing is remembered of anybody; that takes no longer than 30 s."""
    await until(lambda: not any(vars(server)[name] for name in ("_sessions", "_kept", "_graves", "_fresh")), 30)
    gc.collect()


@pytest.mark.timeout(240)
async def test_never_used(place: Mounting) -> None:
    """Sessions that nobody ever attaches to are gone after `attach_timeout`, and so is their memory."""
    free: dict[str, Any] = {"max_fresh": 10**6, "opens_per_second": 10**6, "opens_burst": 10**6}
    served = await place(sleep_in, **free, attach_timeout=4, resume=0.5, open_linger=1e-6)
    assert (await crowd_in(served, REHEARSAL))[0] == {200}
    await gone(served.server)
    blocks, held = sys.getallocatedblocks(), resident()
    statuses, most = await crowd_in(served, CROWD)
    assert statuses == {200}
    assert most > CROWD // 100, "they were here by the thousand at once"
    await gone(served.server)
    assert sys.getallocatedblocks() < 1.1 * blocks
    assert resident() < 1.1 * held + 2**23  # what the C library keeps for the sockets besides


async def test_never_let_in(place: Mounting) -> None:
    """With the usual limits most of them get 429, and for those nothing is allocated."""
    served = await place(sleep_in, attach_timeout=600)  # on a slow machine they must not make room for others
    limit = served.server.options.max_fresh
    assert await crowd_in(served, 2 * limit // LINES // AT_ONCE * LINES * AT_ONCE) == ({200, 429}, limit)
    gc.collect()
    blocks = sys.getallocatedblocks()
    assert await crowd_in(served, TURNED_AWAY) == ({429}, limit)
    gc.collect()
    assert len(vars(served.server)["_kept"]) == limit
    handlers = [task for task in asyncio.all_tasks() if "sleep_in" in repr(task.get_coro())]
    assert len(handlers) == limit
    assert sys.getallocatedblocks() < 1.1 * blocks
