"""Logs: a record for each thing that happens to a session, its facts as fields, and nothing secret in any of them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import aiohttp

import hybridws
from hybridws.observe import log_sessions
from tests.client.ground import Place, echo, take, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import pytest

    Placing = Callable[..., Awaitable[Place]]

SECRET = "hunter2"


async def who(_request: object, auth: object) -> str | None:
    """Know one user."""
    return "ada" if auth == SECRET else None


async def test_a_session_in_records(place: Placing, caplog: pytest.LogCaptureFixture) -> None:
    """Opened, attached and ended, each with session, user and mount; the end with code, duration and traffic."""
    caplog.set_level(logging.DEBUG, "hybridws")
    here = await place(echo, log_sessions, authenticate=who)
    async with hybridws.connect(here.url, auth=SECRET, transports=["websocket"]) as client:
        session = here.session
        await client.send("the body of a message")
        assert await take(client, 1) == ["the body of a message"]
    await until(lambda: not here.server.sessions)
    records = [record for record in caplog.records if hasattr(record, "event")]
    facts = [vars(record) for record in records]
    words = [one["event"] for one in facts if one["event"] != "round trip"]
    assert words[:2] == ["opened", "attached"]
    assert "ended" in words
    for one in facts:
        assert (one["mount"], one["session"], one["user"]) == ("/s", session.id, "ada")
    ended = next(one for one in facts if one["event"] == "ended")
    assert (ended["code"], ended["by"], ended["packets_out"], ended["levelname"]) == (1000, "remote", 1, "INFO")
    assert 0 <= ended["seconds"] < 60
    for record in caplog.records:
        whole = f"{record.getMessage()} {vars(record)}"
        assert SECRET not in whole
        assert session.key not in whole
        assert "the body" not in whole


async def test_a_refusal_names_its_cause_and_who(place: Placing, caplog: pytest.LogCaptureFixture) -> None:
    """Wrong credentials are one record with cause, status and address, and not the credentials."""
    caplog.set_level(logging.INFO, "hybridws")
    here = await place(echo, log_sessions, authenticate=who)
    async with aiohttp.ClientSession() as http:
        await http.post(f"{here.url}/v1/open", data=b'["i",{"v":1,"auth":"wrong password"}]')
    (record,) = (record for record in caplog.records if getattr(record, "event", "") == "refused")
    facts = vars(record)
    assert (facts["cause"], facts["status"], facts["address"]) == ("NotAuthenticated", 401, "127.0.0.1")
    assert "wrong password" not in caplog.text


async def test_what_a_client_says_makes_no_line_of_its_own(place: Placing, caplog: pytest.LogCaptureFixture) -> None:
    """The reason of a close is the client's text: its line breaks are escaped."""
    caplog.set_level(logging.INFO, "hybridws")
    here = await place(echo, log_sessions)
    async with hybridws.connect(here.url, transports=["websocket"]) as client:
        await client.close(4000, "bye\nERROR all is lost")
    await until(lambda: not here.server.sessions)
    lines = [record.getMessage() for record in caplog.records if getattr(record, "event", "") == "ended"]
    assert len(lines) == 1
    assert "\n" not in lines[0]
    assert "all is lost" in lines[0]
