"""The gate while sessions live: revoked users, shares of one user, a rate of messages, refusals that are counted."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from hybridws.events import TurnedAway
from tests.conformance.wire import Witness, ask, echo, until, within
from tests.endpoints.native_wire import encode
from tests.ways import DIRECT

if TYPE_CHECKING:
    from hybridws import Session
    from hybridws.events import Event
    from tests.conformance.peers import Mounting
    from tests.conformance.wire import Place
    from tests.endpoints.native_wire import Dial


async def by_token(_request: object, auth: object) -> object:
    """Take a token's first part for the user's name."""
    return auth.partition(":")[0] if isinstance(auth, str) else None


# ── revoked ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("way", ["poll", "stream", "websocket", "detached"])
async def test_revoked(place: Mounting, dial: Dial, witness: Witness, way: str) -> None:
    """All sessions of a user end with 4401, over whatever transport; another user's go on."""
    served = await place(witness, authenticate=by_token)
    talk, other = dial(served), dial(served)
    await talk.open(auth="ada:1")
    await other.open(auth="bob:1")
    session = await witness.session()
    if way == "poll":
        call = await talk.ask()
        assert served.server.revoke("ada") == 1
        assert (await call.answer()).refusal[1]["code"] == 4401
    elif way == "stream":
        stream = await talk.stream()
        assert served.server.revoke("ada", "dismissed") == 1
        assert (await stream.rest())[-1][:3] == ["x", 4401, "dismissed"]
    elif way == "websocket":
        frames = await talk.climb()
        assert served.server.revoke("ada") == 1
        code, batch = await frames.closed()
        assert (code, batch[-1][:2]) == (4401, ["x", 4401])
    else:
        assert served.server.revoke("ada") == 1
    assert await witness.end() is session
    assert session.closed
    assert (session.closed.code, session.closed.by) == (4401, "network")
    assert (await talk.poll()).refusal[1]["code"] == 4401
    assert other.session.closed is None
    assert served.server.revoke("ada") == 0


async def test_revoked_while_it_comes_in(place: Mounting, dial: Dial, witness: Witness) -> None:
    """Credentials that are revoked while `authenticate` thinks about them open nothing, and prolong nothing."""
    thinking, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(_request: object, auth: object) -> object:
        if auth != "bob":
            thinking.set()
            await go_on.wait()
        return auth

    served = await place(witness, authenticate=slowly)
    talk = dial(served)
    opening = asyncio.create_task(talk.hello(auth="ada"))
    await within(thinking.wait())
    served.server.revoke("ada")
    go_on.set()
    assert (await opening).refusal == [4401]
    assert not served.server.sessions
    assert (await dial(served).hello(auth="ada")).status == 200, "who comes later is the affair of authenticate"


async def test_a_reason_that_cannot_be_said(place: Mounting) -> None:
    """A reason that no close frame holds is an error of the application, and nobody is sent away."""
    served = await place(echo)
    with pytest.raises(ValueError, match="123 bytes"):
        served.server.revoke("ada", "x" * 124)


# ── shares ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_sessions_of_one_user(place: Mounting, dial: Dial) -> None:
    """Over `max_sessions_per_user` an open gets 429 by HTTP and 4429 on a WebSocket; an end makes room."""
    served = await place(echo, authenticate=by_token, max_sessions_per_user=2)
    first = dial(served)
    await first.open(auth="ada:1")
    await dial(served).open(auth="ada:2")
    await dial(served).open(auth="bob:1")
    answer = await dial(served).hello(auth="ada:3")
    assert answer.status == 429
    assert answer.headers["Retry-After"] == "5"
    frames = await dial(served).websocket()
    await frames.say(["i", {"v": 1, "auth": "ada:4"}])
    assert (await frames.closed())[0] == 4429
    await first.session.close()
    await dial(served).open(auth="ada:5")
    assert served.server.refusals.counts == {"too_many_sessions": 2}


async def test_opens_of_one_user_at_once(place: Mounting, dial: Dial) -> None:
    """Twenty opens that are all being asked who they are at the same time do not pass together."""
    go_on = asyncio.Event()

    async def slowly(_request: object, auth: object) -> object:
        await go_on.wait()
        return auth

    served = await place(echo, authenticate=slowly, max_sessions_per_user=3)
    opening = [asyncio.create_task(dial(served).hello(auth="ada")) for _ in range(20)]
    await until(lambda: len(vars(served.server)["_asking"]) == 20)
    go_on.set()
    statuses = [answer.status for answer in await asyncio.gather(*opening)]
    assert sorted(statuses) == [200] * 3 + [429] * 17


@pytest.mark.parametrize("plain", [False, True], ids=["coroutine", "function"])
async def test_messages_per_second(place: Mounting, dial: Dial, plain: bool) -> None:  # noqa: FBT001
    """What is over the rate is given later, all of it and in order; nothing is refused, the ack waits."""
    seen: list[object] = []
    times: list[float] = []

    def take(_session: Session, message: object) -> None:
        seen.append(message)
        times.append(asyncio.get_running_loop().time())

    async def read(session: Session) -> None:
        async for message in session:
            take(session, message)

    rate = 40
    # Ticks are as frequent as the shortest delay wants them.
    handler: Any = take if plain else read
    served = await place(handler, messages_per_second=rate, trial_timeout=0.5)
    talk = dial(served)
    await talk.open()
    many = 4 * rate
    answer = await talk.send(["#", 1], *(["m", number] for number in range(many)))
    assert answer.status == 200
    assert len(seen) <= 3 * rate
    await until(lambda: len(seen) == many)
    assert seen == list(range(many))
    assert times[-1] - times[0] >= 0.8, "two seconds' worth came at once, two more took their time"
    assert not served.server.refusals.counts


async def test_what_waited_is_given_at_the_end(place: Mounting, dial: Dial) -> None:
    """A client that says its close behind more than its share has all of it heard."""
    seen: list[object] = []

    async def read(session: Session) -> None:
        seen.extend([message async for message in session])
        seen.append("end")

    talk = dial(await place(read, messages_per_second=1))
    await talk.open()
    await talk.send(["#", 1], *(["m", number] for number in range(50)), ["c", 1000, ""])
    await until(lambda: "end" in seen)
    assert seen == [*range(50), "end"]


# ── refusals ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Tally:
    """Hears of refusals as a metric would."""

    def __init__(self, served: Place) -> None:
        """Listen to a server."""
        self._heard: list[str] = []
        served.server.events.observers.append(self._observe)

    def _observe(self, event: Event) -> None:
        if isinstance(event, TurnedAway):
            self._heard.append(event.fault.cause)

    async def now(self, cause: str) -> None:
        """Wait for the one refusal that there has been since the last time."""
        await until(lambda: self._heard)
        assert self._heard == [cause]
        self._heard.clear()


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines about refusals."""
    return [line for line in map(logging.LogRecord.getMessage, caplog.records) if line.startswith("refused")]


async def test_refused_requests_are_counted(place: Mounting, dial: Dial, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is refused by HTTP is counted by its cause, told once, and has a line in the log, without secrets."""
    caplog.set_level(logging.INFO, "hybridws")
    served = await place(echo, authenticate=by_token, opens_burst=3, opens_per_second=0.001)
    tally, talk = Tally(served), dial(served)
    await talk.open(auth="ada:1")
    for cause, body, headers in (
        ("malformed", b"rubbish", None),
        ("wrong_key", encode("json", [["@", talk.sid, "wrong", 0, 0]]), None),
        ("another_user", encode("json", [talk.attach(0, auth="eve:1")]), None),
        ("too_large", b"x" * 2_000_000, None),
        ("coded_body", b"x", {"Content-Encoding": "gzip"}),
        ("origin", b"", {"Origin": "https://evil.example"}),
    ):
        await talk.post("send", body, headers)
        await tally.now(cause)
    for cause, path in (("no_address", "/nowhere"), ("wrong_method", "/v1/open"), ("no_upgrade", "/v1/websocket")):
        await ask(served, "GET", path)
        await tally.now(cause)
    await talk.post("/v1/nobody/send", encode("json", [talk.attach(0)]))
    await tally.now("no_session")
    farewell = encode("json", [talk.attach(0), ["#", 1], ["c", 1001, ""]])
    await talk.post("send", farewell)
    await talk.post("send", farewell)  # a page that closes may say so twice
    await tally.now("ended")
    await talk.hello()
    await tally.now("not_authenticated")
    await dial(served).open(auth="bob:1")
    assert (await dial(served).hello(auth="bob:2")).status == 429
    await tally.now("too_many_opens")
    assert len(logged(caplog)) == served.server.refusals.counts.total() == 13
    assert talk.key not in caplog.text
    assert talk.sid not in "".join(logged(caplog))


async def test_refused_websockets_are_counted(place: Mounting, dial: Dial, caplog: pytest.LogCaptureFixture) -> None:
    """The same on WebSockets: before the first frame, in it, and later."""
    caplog.set_level(logging.INFO, "hybridws")
    served = await place(echo, first_frame=0.3)
    tally, talk = Tally(served), dial(served)
    await talk.open()
    await (await talk.websocket()).closed()
    await tally.now("too_slow")
    for cause, first in (("no_session", ["@", "x", "y", 1, 0]), ("malformed", ["m", 1])):
        frames = await talk.websocket()
        await frames.say(first)
        await frames.closed()
        await tally.now(cause)
    unmasked = (False, True) if DIRECT else ()  # aiohttp takes what is not masked
    for attached in unmasked:
        frames = await (talk.climb() if attached else talk.websocket())
        await frames.socket.wire.send(b"\x81\x01x")
        await frames.closed()
        await tally.now("bad_frame")
    frames = await talk.climb()
    await frames.say(["m", 1])
    await frames.closed()
    await tally.now("malformed")
    assert len(logged(caplog)) == served.server.refusals.counts.total() == 4 + len(unmasked)
    assert talk.session.closed is None
