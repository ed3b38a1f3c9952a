"""Refusals (docs/protocol.md §3): each status with one `x`, CORS headers on errors too, and the same-origin gate."""

from __future__ import annotations

import gzip
import logging
import zlib
from typing import TYPE_CHECKING, Final

import pytest

from hybridws import ANY_ORIGIN
from tests.conformance.wire import echo, handshake
from tests.endpoints.native_wire import encode

if TYPE_CHECKING:
    from tests.conformance.peers import Mounting
    from tests.endpoints.native_wire import Dial, Talk

POSTS: Final = ("open", "poll", "stream", "send")
FRIEND: Final = "https://friend.example"
FOE: Final = "https://foe.example"


def address(talk: Talk, name: str) -> str:
    """Name one of the endpoints of a session."""
    if name in ("open", "websocket"):
        return f"/v1/{name}"
    return f"/v1/{talk.sid}/{name}" + (f"?key={talk.key}" if name == "events" else "")


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/open/x", "/v2/open", "/v1/a/b/c", "/v1/x/peek", "/v1/a%2Fb/poll"])
async def test_nothing_here(place: Mounting, dial: Dial, path: str) -> None:
    """An address that is none is answered with 404."""
    talk = dial(await place(echo))
    wire = await talk.wire()
    await wire.request("POST", talk.place.at(path), talk.headers, b"")
    assert (await wire.reply()).status == 404


@pytest.mark.parametrize("name", [*POSTS, "websocket", "events"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
async def test_wrong_method(place: Mounting, dial: Dial, name: str, method: str) -> None:
    """A wrong method is answered with 405, the right one in `Allow`, and as every refusal with one `x` and CORS."""
    right = "GET" if name in ("websocket", "events") else "POST"
    if method == right:
        return
    talk = dial(await place(echo, events=True, origins=[FRIEND]), headers={"Origin": FRIEND})
    await talk.open()
    answer = await (await talk.look(address(talk, name), method=method)).answer()
    assert answer.status == 405
    assert answer.headers["Allow"] == right
    assert answer.refusal[0] == 4400
    assert answer.headers["Cache-Control"] == "no-store, no-transform"
    assert answer.headers["Access-Control-Allow-Origin"] == FRIEND
    assert answer.headers["Vary"] == "Origin"
    assert talk.session.closed is None


@pytest.mark.parametrize("name", POSTS[1:])
async def test_no_such_session(place: Mounting, dial: Dial, name: str) -> None:
    """A session that never was is answered with 410."""
    talk = dial(await place(echo))
    await talk.open()
    talk.sid = talk.sid[:-6] + "AAAAAA"
    answer = await talk.post(name, encode("json", [talk.attach()]))
    assert answer.status == 410
    assert answer.refusal == [4404]


@pytest.mark.parametrize("route", ["", "r0ute-"])
async def test_another_process(place: Mounting, dial: Dial, caplog: pytest.LogCaptureFixture, route: str) -> None:
    """A session of another process is answered with 410 that says so; one WARNING names three ways out, once."""
    talk = dial(await place(echo))
    talk.sid, talk.key = f"{route}0123abcd.AAAAAAAAAAAAAAAAAAAAAA", "key"
    for _ in range(3):
        for name in ("poll", "stream", "send"):
            answer = await talk.post(name, encode("json", [talk.attach()]))
            assert answer.status == 410
            assert answer.batch[0][:2] == ["x", 4404]
            assert "another process" in answer.batch[0][2]
    warnings = [record.getMessage() for record in caplog.records if "asks for a session" in record.getMessage()]
    assert len(warnings) == 1
    assert all(word in warnings[0] for word in ("one process", "examples/behind_nginx/nginx.conf", "broker"))


@pytest.mark.parametrize("name", POSTS)
async def test_content_encoding(place: Mounting, dial: Dial, name: str) -> None:
    """A body with a Content-Encoding is answered with 415, unread."""
    served = await place(echo)
    talk = dial(served)
    await talk.open()
    for coding, body in (
        ("gzip", gzip.compress(b"x")),
        ("deflate", zlib.compress(b"x")),
        ("identity", b"x"),
        ("x", b"x"),
    ):
        answer = await talk.post(address(talk, name), body, {"Content-Encoding": coding})
        assert answer.status == 415
        assert answer.refusal[0] == 4400
    assert len(served.server.sessions) == 1


@pytest.mark.parametrize("name", POSTS)
async def test_body_too_large(place: Mounting, dial: Dial, name: str) -> None:
    """A body over `max_batch` is answered with 413, its length announced or not; the session is unharmed."""
    served = await place(echo, max_message=1000, max_batch=2000)
    talk = dial(served)
    await talk.open()
    assert (await talk.post(address(talk, name), b" " * 2001)).refusal[0] == 4413
    wire = await talk.wire()
    headers = {**talk.headers, "Transfer-Encoding": "chunked"}
    await wire.request("POST", served.at(address(talk, name)), headers)
    await wire.send(b"400\r\n" + b" " * 1024 + b"\r\n" + b"400\r\n" + b" " * 1024 + b"\r\n0\r\n\r\n")
    assert (await wire.reply()).status == 413
    assert talk.session.closed is None


async def test_too_many_at_once(place: Mounting, dial: Dial) -> None:
    """Over `max_fresh` an open gets 429 and `Retry-After`; nothing is allocated, and an attach makes room."""
    served = await place(echo, max_fresh=2)
    talks = [dial(served) for _ in range(4)]
    await talks[0].open()
    await talks[1].open()
    answer = await talks[2].hello()
    assert answer.status == 429
    assert answer.refusal[0] == 4429
    assert answer.headers["Retry-After"] == str(answer.refusal[1]["retry"])
    assert len(served.server.sessions) == 2
    await talks[0].poll(hold=0)
    await talks[3].open()


async def test_too_fast(place: Mounting, dial: Dial) -> None:
    """Over `opens_per_second` an open is answered with 429, by HTTP and on a WebSocket, before anybody is asked."""
    asked = []

    async def authenticate(_request: object, _auth: object) -> object:
        asked.append(1)
        return "ada"

    served = await place(echo, opens_per_second=0.001, opens_burst=2, authenticate=authenticate)
    talk = dial(served)
    await talk.open()
    await dial(served).open()
    answer = await dial(served).hello()
    assert answer.status == 429
    assert int(answer.headers["Retry-After"]) >= 1
    frames = await dial(served).websocket()
    await frames.say(["i", {"v": 1}])
    assert (await frames.closed())[0] == 4429
    assert len(asked) == 2
    assert len(served.server.sessions) == 2


@pytest.mark.parametrize("name", [*POSTS, "websocket", "events"])
async def test_foreign_page(place: Mounting, dial: Dial, name: str) -> None:
    """A page of another origin is answered with 403 on every endpoint, and may not read even that."""
    served = await place(echo, events=True)
    talk = dial(served)
    await talk.open()
    foe = dial(served, headers={"Origin": FOE})
    foe.sid, foe.key = talk.sid, talk.key
    if name in ("websocket", "events"):
        headers = handshake() if name == "websocket" else {}
        answer = await (await foe.look(address(talk, name), headers)).answer()
    else:
        answer = await foe.post(address(talk, name), encode("json", [foe.attach()]))
    assert answer.status == 403
    assert answer.refusal[0] == 4403
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert answer.headers["Vary"] == "Origin"
    assert len(served.server.sessions) == 1
    assert talk.session.dock.n == 0


@pytest.mark.parametrize(
    "origin", ["null", "", "http://127.0.0.1", "HTTP://127.0.0.1", "https://127.0.0.1:{port}", "{own}/"]
)
async def test_almost_the_same_origin(place: Mounting, dial: Dial, origin: str) -> None:
    """Origins are compared exactly."""
    served = await place(echo)
    written = origin.format(port=served.origin.rpartition(":")[2], own=served.origin)
    assert (await dial(served, headers={"Origin": written}).hello()).status == 403
    assert not served.server.sessions


@pytest.mark.parametrize("name", [*POSTS, "websocket"])
async def test_cookie_without_origin(place: Mounting, dial: Dial, name: str) -> None:
    """A cookie that comes without an Origin is no page's of ours; without a cookie it may be a program."""
    served = await place(echo)
    talk = dial(served)
    await talk.open()
    wire = await talk.wire()
    headers = {"Cookie": "user=ada"}
    if name == "websocket":
        await wire.request("GET", served.at(address(talk, name)), {**headers, **handshake()})
    else:
        await wire.request("POST", served.at(address(talk, name)), headers, encode("json", [talk.attach()]))
    assert (await wire.reply()).status == 403
    del talk.headers["Origin"]
    assert (await talk.poll(n=9, hold=0)).status == 200


async def test_cross_site_get(place: Mounting, dial: Dial) -> None:
    """An event stream that a browser asks for across sites, without an Origin, is refused."""
    talk = dial(await place(echo, events=True))
    await talk.open()
    del talk.headers["Origin"]
    answer = await (await talk.look(address(talk, "events"), {"Sec-Fetch-Site": "cross-site"})).answer()
    assert answer.status == 403


async def test_cors(place: Mounting, dial: Dial) -> None:
    """A page of an allowed origin may read every answer, refusals too, with its cookies; caches keep origins apart."""
    talk = dial(await place(echo, origins=[FRIEND]), headers={"Origin": FRIEND})
    answers = [await talk.hello()]
    talk.take(answers[0].batch[0])
    answers += [
        await talk.poll(n=5, hold=0),
        await talk.send(),
        await talk.poll(n=1),  # 409
        await talk.post("poll", b"rubbish"),  # 400
        await talk.post("poll", encode("json", [["@", talk.sid, "wrong", 6, 0]])),  # 403
        await talk.post("/v1/none/poll", b""),  # 410
        await talk.post("poll", b"", {"Content-Encoding": "gzip"}),  # 415
        await talk.hello(v=2),  # 426
        await talk.hello(codec="x"),  # 406
    ]
    assert [answer.status for answer in answers] == [200, 200, 200, 409, 400, 403, 410, 415, 426, 406]
    stream = await talk.stream(n=9)
    for headers in [answer.headers for answer in answers] + [stream.head.headers]:
        assert headers["Access-Control-Allow-Origin"] == FRIEND
        assert headers["Access-Control-Allow-Credentials"] == "true"
        assert headers["Vary"] == "Origin"
        assert headers["Cache-Control"] == "no-store, no-transform"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert len(headers.getall("Access-Control-Allow-Origin")) == 1


async def test_any_origin_has_no_credentials(place: Mounting, dial: Dial) -> None:
    """With any origin allowed nobody's cookies are."""
    answer = await dial(await place(echo, origins=ANY_ORIGIN), headers={"Origin": FOE}).hello()
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_key_is_not_logged(place: Mounting, dial: Dial, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a key nor a nonce stands in a log line or in what a session prints of itself."""
    caplog.set_level(logging.DEBUG)
    served = await place(echo, events=True)
    talk = dial(served)
    await talk.open(nonce="a-secret-nonce")
    await talk.poll(hold=0)
    await talk.post("poll", b"rubbish")
    text = caplog.text + repr(talk.session) + repr(served.server) + repr(talk.session.link)
    assert talk.key not in text
    assert "a-secret-nonce" not in text
