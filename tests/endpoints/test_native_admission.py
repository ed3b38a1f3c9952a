"""Who a client is (docs/protocol.md §5): keys, users, resuming as somebody else, fresh credentials, expiry."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from hybridws.errors import Forbidden
from hybridws.options import Admission
from tests.conformance.wire import Witness, echo, until
from tests.endpoints.native_wire import CODECS, encode, said

if TYPE_CHECKING:
    from hybridws.exchange import Request
    from tests.conformance.peers import Mounting
    from tests.endpoints.native_wire import Dial

each_codec = pytest.mark.parametrize("codec", CODECS)


class Desk:
    """Authenticates by a token in `auth`, else by the cookie `user`, and notes whom it was asked about."""

    def __init__(self, expires: float | None = None) -> None:
        """Start without having been asked; `expires` is how long a token lasts."""
        self.asked: list[Any] = []
        self.expires = expires

    async def __call__(self, request: Request, auth: Any) -> object:  # noqa: ANN401 - any JSON value
        """Tell who this is; None if nobody knows."""
        self.asked.append(auth)
        user = auth.partition(":")[0] if isinstance(auth, str) else request.cookies.get("user")
        return Admission(user, self.expires) if user and self.expires else user or None


async def test_unknown(place: Mounting, dial: Dial, witness: Witness) -> None:
    """Whom `authenticate` does not know is answered with 401, by HTTP and on a WebSocket; nothing is opened."""
    served = await place(witness, authenticate=Desk())
    talk = dial(served)
    answer = await talk.hello()
    assert answer.status == 401
    assert answer.refusal == [4401]
    frames = await talk.websocket()
    await frames.say(["i", {"v": 1}])
    assert (await frames.closed())[0] == 4401
    assert not served.server.sessions
    assert witness.opened.empty()


@pytest.mark.parametrize("answer", [Admission(None), Admission(user=False), Admission(None, 60), False])
async def test_nobody_in_particular(place: Mounting, dial: Dial, witness: Witness, answer: object) -> None:
    """Who is nobody is refused, in whatever way `authenticate` says so: a look-up that found nothing lets nobody in."""
    served = await place(witness, authenticate=lambda _request, _auth: answer)
    assert (await dial(served).hello()).refusal == [4401]
    assert not served.server.sessions


@pytest.mark.logs_errors
@pytest.mark.parametrize("answer", [Forbidden("not here"), Forbidden, Admission(ValueError("no"))])
async def test_a_refusal_that_is_returned(
    place: Mounting, dial: Dial, witness: Witness, caplog: pytest.LogCaptureFixture, answer: object
) -> None:
    """`return` where `raise` was meant lets nobody in either, and the log says what to do."""
    served = await place(witness, authenticate=lambda _request, _auth: answer)
    call = await dial(served).begin("/v1/open", b'["i",{"v":1}]')
    assert (await call.wire.reply()).status == 500
    assert not served.server.sessions
    assert "`raise` it" in caplog.text


@pytest.mark.parametrize("expires", [0, -1, "600", True, float("nan")])
def test_an_admission_without_end(expires: Any) -> None:  # noqa: ANN401 - what is no number of seconds
    """The end of an admission is a number of seconds, and still to come."""
    with pytest.raises(ValueError, match="expires must be a number of seconds above 0"):
        Admission("ada", expires)


async def test_user(place: Mounting, dial: Dial, witness: Witness) -> None:
    """The application sees who it is before the first message; sessions of one user are found and told together."""
    served = await place(witness, authenticate=Desk())
    first, second, other = (dial(served) for _ in range(3))
    await first.open(auth="ada:phone")
    await second.open(auth="ada:desktop")
    await other.open(auth="bob:phone")
    assert [(await witness.session()).user for _ in range(3)] == ["ada", "ada", "bob"]
    assert served.server.sessions_of("ada") == [first.session, second.session]
    assert served.server.sessions_of("eve") == []
    assert served.server.send_to("ada", "for ada") == 2
    assert served.server.send_to("eve", "for eve") == 0
    assert said((await first.poll()).batch) == said((await second.poll()).batch) == ["for ada"]
    assert not said((await other.poll(hold=0)).batch)


@each_codec
@pytest.mark.parametrize("where", ["poll", "stream", "send"])
@pytest.mark.parametrize("key", ["", "wrong", "ä", "\ud800"])
async def test_wrong_key(place: Mounting, dial: Dial, where: str, codec: str, key: str) -> None:
    """A wrong key is answered with 403, and the session is as it was, its transport too."""
    talk = dial(await place(echo), codec)
    await talk.open()
    call = await talk.ask()
    if key == "\ud800":
        body = f'["@","{talk.sid}","\\ud800",9,0]\n["#",1]\n["c",1000,""]'.encode()
    else:
        body = encode(codec, [["@", talk.sid, key, 9, 0], ["#", 1], ["c", 1000, ""]])
    answer = await talk.post(where, body)
    assert answer.status == (400 if key == "\ud800" else 403)
    assert talk.session.dock.n == 1
    await talk.session.send("here")
    assert said((await call.answer()).batch) == ["here"]


async def test_key_of_another_session(place: Mounting, dial: Dial) -> None:
    """The key of one session opens no other, and a body names the session of its address."""
    served = await place(echo)
    mine, theirs = dial(served), dial(served)
    await mine.open()
    await theirs.open()
    body = encode("json", [["@", theirs.sid, mine.key, 1, 0]])
    assert (await mine.post(f"/v1/{theirs.sid}/poll", body)).status == 403
    assert (await mine.post(f"/v1/{mine.sid}/poll", body)).status == 400
    assert theirs.session.dock.n == mine.session.dock.n == 0


@pytest.mark.parametrize("where", ["poll", "stream", "send", "websocket"])
async def test_resume_as_another(place: Mounting, dial: Dial, witness: Witness, where: str) -> None:
    """Whoever has the key but shows another user's cookie or token gets 403; the session is unharmed."""
    served = await place(witness, authenticate=Desk())
    talk = dial(served, headers={"Cookie": "user=ada"})
    await talk.open()
    call = await talk.ask()
    eve = dial(served, headers={"Cookie": "user=eve"})
    eve.sid, eve.key = talk.sid, talk.key
    for wishes in ({}, {"auth": "eve:1"}):
        attach = eve.attach(0 if where == "send" else 9, **wishes)
        if where == "websocket":
            frames = await eve.websocket()
            await frames.say(attach)
            assert (await frames.closed())[0] == 4403
        else:
            assert (await eve.post(where, encode("json", [attach]))).status == 403
    await talk.session.send("here")
    assert said((await call.answer()).batch) == ["here"]
    assert talk.session.user == "ada"


async def test_resume_as_the_same(place: Mounting, dial: Dial) -> None:
    """The application is asked again only about what it has not seen; the same user in a new cookie may go on."""
    desk = Desk()
    talk = dial(await place(echo, authenticate=desk), headers={"Cookie": "user=ada; theme=dark"})
    await talk.open()
    assert (await talk.poll(hold=0)).status == 200
    assert (await talk.poll(hold=0)).status == 200
    assert len(desk.asked) == 1
    talk.headers["Cookie"] = "user=ada; theme=light"
    assert (await talk.poll(hold=0)).status == 200
    assert (await talk.poll(hold=0, auth="ada:token")).status == 200
    assert (await talk.poll(hold=0, auth="ada:token")).status == 200
    assert len(desk.asked) == 3
    del talk.headers["Cookie"]
    assert (await talk.poll(hold=0)).status == 200
    assert len(desk.asked) == 3


async def test_token_once_and_cookie_always(place: Mounting, dial: Dial) -> None:
    """A page whose browser holds any cookie and which showed its token in the hello attaches without the token."""

    async def by_token(_request: object, auth: object) -> object:
        return auth

    talk = dial(await place(echo, authenticate=by_token), headers={"Cookie": "theme=dark"})
    await talk.open(auth="ada")
    assert (await talk.poll(hold=0)).status == 200
    assert (await talk.send()).status == 200


@each_codec
async def test_expiry_is_told(place: Mounting, dial: Dial, codec: str) -> None:
    """After open the client is told how long its credentials last, as a numbered packet."""
    talk = dial(await place(echo, authenticate=Desk(600)), codec)
    assert await talk.open(auth="ada") == [["a", 0], ["#", 1], ["u", {"expires": 600}]]


@each_codec
async def test_renewal(place: Mounting, dial: Dial, witness: Witness, codec: str) -> None:
    """The client is told before the end; fresh credentials of the same user prolong the session, in band."""
    desk = Desk(0.9)
    talk = dial(await place(witness, authenticate=desk, renew_before=0.5, heartbeat=0.25), codec)
    await talk.open(auth="ada:1")
    frames = await talk.climb()
    for number in range(1, 4):
        batch = await frames.until("u")
        while batch[-1][1]["expires"] > 0.5:
            batch = await frames.until("u")
        desk.expires = 600 if number == 3 else 0.9
        await frames.say(["#", number], ["u", f"ada:{number + 1}"])
    batch = await frames.until("u")
    while batch[-1][1]["expires"] != 600:
        batch = await frames.until("u")
    assert desk.asked == ["ada:1", "ada:2", "ada:3", "ada:4"]
    assert talk.session.closed is None


@pytest.mark.parametrize("way", ["poll", "stream", "websocket", "detached"])
async def test_expired(place: Mounting, dial: Dial, witness: Witness, way: str) -> None:
    """A session whose credentials have run out ends with 4401, said by `x` or by 410."""
    talk = dial(await place(witness, authenticate=Desk(0.4), heartbeat=0.25, renew_before=0.01))
    await talk.open(auth="ada")
    session = await witness.session()
    if way == "poll":
        call = await talk.ask(ack=1)
        answer = await call.answer()
        if answer.status == 200:  # it was told of the end before
            answer = await talk.poll(ack=2)
        assert answer.refusal[1]["code"] == 4401
    elif way == "stream":
        assert (await (await talk.stream()).rest())[-1][:2] == ["x", 4401]
    elif way == "websocket":
        code, batch = await (await talk.climb()).closed()
        assert (code, batch[-1][:2]) == (4401, ["x", 4401])
    assert await witness.end() is session
    assert session.closed
    assert session.closed.code == 4401
    assert (await talk.poll()).refusal[1]["code"] == 4401


@pytest.mark.parametrize(("token", "code"), [("eve", 4403), ("", 4401)])
async def test_false_renewal(place: Mounting, dial: Dial, witness: Witness, token: str, code: int) -> None:
    """Fresh credentials of somebody else, or of nobody, end the session at once."""
    talk = dial(await place(witness, authenticate=Desk()))
    await talk.open(auth="ada")
    frames = await talk.climb()
    await frames.say(["#", 1], ["u", token])
    closed, batch = await frames.closed()
    assert (closed, batch[-1][:2]) == (code, ["x", code])
    assert (await talk.poll()).refusal[1]["code"] == code


@pytest.mark.logs_errors
async def test_authenticate_fails(place: Mounting, dial: Dial, witness: Witness) -> None:
    """An `authenticate` that breaks during a renewal ends no session by its own fault, and leaves no task."""

    async def breaks(_request: object, auth: object) -> object:
        if auth == "break":
            raise RuntimeError("a fault of the application")
        return auth

    talk = dial(await place(witness, authenticate=breaks))
    await talk.open(auth="ada")
    await talk.send(["#", 1], ["u", "break"], ["m", "after"])
    assert await witness.message() == "after"
    assert talk.session.closed is None


async def test_logger(place: Mounting, dial: Dial, witness: Witness, caplog: pytest.LogCaptureFixture) -> None:
    """The session's logger says whose session it is and over what it comes."""
    caplog.set_level(logging.INFO, "hybridws")
    talk = dial(await place(witness, authenticate=Desk()))
    await talk.open(auth="ada")
    frames = await talk.climb()
    talk.session.logger.info("said by a handler")
    (record,) = [record for record in caplog.records if record.getMessage() == "said by a handler"]
    told = vars(record)
    assert (told["session"], told["user"], told["transport"]) == (talk.sid, "ada", "websocket")
    await frames.socket.wire.close()
    await until(lambda: talk.session.seat is None)
    await asyncio.sleep(0)
