"""The console's own wire: what an operator is shown and may do, and at what cost."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as some

import hybridws
from hybridws.console.desk import SORTS, Sorry, View, read_view
from hybridws.core.codec import JSON
from hybridws.options import Admission
from tests.client.ground import listen, take, until
from tests.client.scissors import Scissors
from tests.memory import asked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hybridws import Session
    from tests.console.conftest import Stage

    Staging = Callable[..., Awaitable[Stage]]

PULSE = 4096
"""Bytes that a second of a quiet console may take: what has not changed is not sent."""


async def by_query(request: Any, _auth: object) -> str:  # noqa: ANN401 - a request
    """Believe everybody."""
    return str(request.query.get("u", "somebody"))


async def test_the_operator_sees_who_is_here(stage: Staging, operate: Any) -> None:  # noqa: ANN401 - a context
    """Sums and rows: user, mount, transport, state; and what went on a moment ago as rates."""
    here = await stage(s_authenticate=by_query)
    async with operate(here) as operator, hybridws.connect(f"{here.url}/s?u=ada", transports=["websocket"]) as client:
        await operator.view()
        await operator.until(lambda: operator.pulse.get("sessions") == 1 and operator.ids)
        (sid,) = operator.ids
        assert sid == client.id
        assert operator.rows[sid][1:5] == ["/s", "websocket", "online", "127.0.0.1"]
        assert operator.pulse["transports"] == {"websocket": 1}
        assert operator.pulse["mounts"] == [["/s", 1, False]], "the console's own sessions are not among them"
        for number in range(100):
            await client.send(number)
        await take(client, 100)
        await operator.until(lambda: operator.rows[sid][6] > 10)
        assert operator.pulse["memory"] > 10_000_000
    assert operator.heard[0]["process"]["pid"] > 0


async def test_a_quiet_second_costs_little(stage: Staging, operate: Any) -> None:  # noqa: ANN401
    """What has not changed is not sent again: neither rows nor sums."""
    here = await stage()
    async with operate(here) as operator, hybridws.connect(f"{here.url}/s", transports=["websocket"]):
        await operator.view()
        await operator.until(lambda: operator.pulse.get("sessions") == 1 and operator.ids)
        operator.heard.clear()
        await operator.until(lambda: sum(message["is"] == "pulse" for message in operator.heard) == 3)
        assert [message["is"] for message in operator.heard if message["is"] == "rows"] in ([], ["rows"])
        for message in operator.heard[1:]:
            assert "sessions" not in message
            assert "transports" not in message
            assert len(json.dumps(message)) < PULSE


async def test_only_what_is_in_view_is_sent(stage: Staging, operate: Any) -> None:  # noqa: ANN401
    """Of 60 sessions the ten in view are sent, by whatever order; a filter finds by user, state and transport."""
    here = await stage(s_authenticate=by_query)
    async with AsyncExitStack() as clients:
        for number in range(60):
            url = f"{here.url}/s/websocket?u=user{number:02}"
            http = await clients.enter_async_context(aiohttp.ClientSession())
            await clients.enter_async_context(http.ws_connect(url))
        async with operate(here) as operator:
            await operator.until(lambda: operator.pulse.get("sessions") == 60)
            await operator.view(sort="name", down=False, first=20, count=10)
            await operator.until(lambda: len(operator.ids) == 10)
            assert operator.total == 60
            assert len(operator.rows) == 10
            await operator.view(filter="USER5", sort="opened", down=False)
            await operator.until(lambda: operator.total == 10)
            names = [operator.rows[sid][0] for sid in operator.ids]
            assert names == [f"user5{digit}" for digit in range(10)]
            for word, many in (("websocket-raw", 60), ("online", 60), ("away", 0), ("nothing like it", 0)):
                await operator.view(filter=word)
                assert operator.total == many
            for sort in SORTS:
                await operator.view(sort=sort)
                assert operator.total == 60


async def test_ten_thousand_sessions(stage: Staging, operate: Any) -> None:  # noqa: ANN401
    """Of ten thousand the forty in view travel, and then what has changed: a second costs as little as with few."""
    here = await stage()
    for number in range(10_000):
        session = here.server.open(
            JSON, asked(remote=f"10.0.{number // 250}.{number % 250}"), Admission(f"user{number:04}")
        )
        session.attach("websocket", lambda: None)
    async with operate(here) as operator:
        await operator.until(lambda: operator.pulse.get("sessions") == 10_000)
        await operator.view(sort="name", down=False, first=5_000)
        await operator.until(lambda: operator.ids and operator.rows[operator.ids[0]][0] == "user5000")
        assert operator.total == 10_000
        assert [operator.rows[sid][0] for sid in operator.ids] == [f"user{number}" for number in range(5_000, 5_040)]
        await operator.view(sort="name", down=False, first=0, filter="user999")
        await operator.until(lambda: operator.total == 10)
        operator.heard.clear()
        await operator.until(lambda: sum(message["is"] == "pulse" for message in operator.heard) == 3)
        assert len(json.dumps(operator.heard)) < 4 * PULSE


async def test_one_session_is_told_in_full(stage: Staging, operate: Any) -> None:  # noqa: ANN401
    """Its transports with times and reasons while it lives; after its end, how it ended and why."""
    here = await stage()
    async with operate(here) as operator, Scissors(f"{here.url}/s") as scissors:
        async with hybridws.connect(scissors.url, transports=["websocket"]) as client:
            await client.send(1)
            assert await take(client, 1) == [1]
            scissors.cut()
            await client.send(2)
            assert await take(client, 1) == [2]
            await operator.connection.send({"do": "inspect", "id": client.id})
            await operator.until(lambda: len(operator.story.get("timeline", ())) == 2)
            broken, present = operator.story["timeline"]
            assert broken[0] == present[0] == "websocket"
            assert broken[3] == "the connection broke"
            assert broken[1] <= broken[2] <= present[1]
            assert present[2] is None
            assert operator.story["traffic"]["packets_in"] == 2
            await client.close(4000, "bye")
            sid = client.id
        await operator.until(lambda: "ended" in operator.story)
        assert (operator.story["code"], operator.story["reason"], operator.story["by"]) == (4000, "bye", "remote")
        await operator.view(ended=True, filter="bye")
        assert operator.ids == [sid]
        await operator.until(lambda: operator.pulse.get("ends") == {"client": 1})
        await operator.connection.send({"do": "inspect", "id": "nobody"})
        await operator.until(lambda: operator.story.get("forgotten"))


async def test_send_and_close(stage: Staging, operate: Any, caplog: pytest.LogCaptureFixture) -> None:  # noqa: ANN401
    """An operator may send text or JSON to a session, and close it; both are in the log, without what was said."""
    caplog.set_level(logging.INFO, "hybridws")
    here = await stage(s_handler=listen)
    async with operate(here) as operator, hybridws.connect(f"{here.url}/s") as client:
        await operator.until(lambda: operator.pulse.get("sessions") == 1)
        about = {"id": client.id}
        assert await operator.answer(do="send", text="hello", json=False, **about) == {"is": "done", "text": "Sent."}
        assert (await operator.answer(do="send", text='{"a": 1}', json=True, **about))["is"] == "done"
        assert await take(client, 2) == ["hello", {"a": 1}]
        wrong = await operator.answer(do="send", text="{", json=True, **about)
        assert wrong["is"] == "sorry"
        assert "no JSON" in wrong["text"]
        wrong = await operator.answer(do="close", code=1006, reason="", **about)
        assert "1006" in wrong["text"]
        assert (await operator.answer(do="close", code=4001, reason="maintenance", **about))["is"] == "done"
        with pytest.raises(hybridws.SessionClosed) as ended:
            await client.request("anything", timeout=5)
        assert (ended.value.code, ended.value.reason) == (4001, "maintenance")
        gone = await operator.answer(do="close", code=4001, reason="", **about)
        assert gone == {"is": "sorry", "text": "That session has ended."}
    acts = [getattr(record, "event", "") for record in caplog.records]
    assert [act for act in acts if act.startswith("console")] == ["console send", "console send", "console close"]
    assert "hello" not in caplog.text


async def test_read_only(stage: Staging, operate: Any) -> None:  # noqa: ANN401
    """Then nothing can be done to a session, whatever the page asks."""
    here = await stage(read_only=True)
    async with operate(here) as operator, hybridws.connect(f"{here.url}/s") as client:
        await operator.until(lambda: operator.pulse.get("sessions") == 1)
        for act in ({"do": "send", "text": "x", "json": False}, {"do": "close", "code": 1000, "reason": ""}):
            answer = await operator.answer(id=client.id, **act)
            assert "only shows" in answer["text"]
        assert here.server.sessions


async def test_nobody_watching_costs_nothing(stage: Staging, operate: Any) -> None:  # noqa: ANN401
    """No task runs before the first page and after the last; ends are counted all the same."""
    here = await stage()

    def looking() -> bool:
        return any(task.get_name() == "hybridws console" for task in asyncio.all_tasks())

    async with hybridws.connect(f"{here.url}/s"):
        assert not looking()
    await until(lambda: not here.server.sessions)
    async with operate(here) as operator, operate(here) as other:
        await operator.until(lambda: operator.pulse.get("ends"))
        await other.until(lambda: other.pulse.get("ends"))
        assert looking()
        assert operator.pulse["ends"] == {"normal": 1}
    await until(lambda: not looking())


async def test_rooms_and_refusals(stage: Staging, operate: Any) -> None:  # noqa: ANN401
    """Rooms with their members, and what was refused by cause."""

    async def join(session: Session) -> None:
        here.server.room("lobby").join(session)
        await listen(session)

    here = await stage(s_handler=join)
    async with operate(here) as operator, hybridws.connect(f"{here.url}/s"), aiohttp.ClientSession() as http:
        await http.post(f"{here.url}/s/v1/open", headers={"Origin": "https://evil.example"})
        await operator.until(lambda: operator.pulse.get("rooms") == [["/s", "lobby", 1]])
        await operator.until(lambda: operator.pulse.get("refused") == {"Forbidden": 1})


SOME = some.sampled_from(
    [None, True, False, 0, -1, 40, 1e9, 10**20, "", "name", "opened", "x" * 101, [], {}, [1], {"a": 1}]
)
PARTS = {"ended": some.booleans(), "filter": SOME, "sort": some.sampled_from(list(SORTS)), "down": some.booleans()}


@given(
    some.fixed_dictionaries({name: part | SOME for name, part in PARTS.items()}),
    some.fixed_dictionaries({}, optional={"first": some.integers() | SOME, "count": some.integers() | SOME}),
)
def test_any_view_is_read_or_refused(asked: dict[str, Any], where: dict[str, Any]) -> None:
    """Whatever a page asks, it is a view within bounds, or an answer that says to load the page again."""
    try:
        view: View | None = read_view(asked | where)
    except Sorry:
        view = None
    if view:
        assert view.first >= 0
        assert 0 < view.rows <= 200
        assert view.sort in SORTS
        assert len(view.needle) <= 100


async def test_nonsense_hurts_nobody(stage: Staging, operate: Any) -> None:  # noqa: ANN401
    """What no page asks is answered, and the console goes on."""
    here = await stage()
    async with operate(here) as operator:
        everything: tuple[Any, ...] = (None, [], "view", {"do": "fly"}, {"do": "close", "id": 7}, {"do": "send"})
        for nonsense in everything:
            await operator.connection.send(nonsense)
            while (answer := await operator.hear())["is"] != "sorry":
                pass
            assert "load the page again" in answer["text"]
        await operator.until(lambda: "sessions" in operator.pulse)
