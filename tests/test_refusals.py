"""Refusals: counted one by one, logged in few lines that nobody can forge."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hybridws import errors
from hybridws.errors import Forbidden, Malformed, Refused, TooMany
from hybridws.refusals import LINES, MINUTE, Refusals
from tests.memory import asked

if TYPE_CHECKING:
    import pytest


def test_each_is_counted() -> None:
    """By cause."""
    refusals = Refusals()
    for fault in (Malformed("x"), Malformed("y"), Forbidden("z", cause="origin"), TooMany("t")):
        refusals.note(fault, asked(), "192.0.2.1", 0)
    assert refusals.counts == {"malformed": 2, "origin": 1, "too_many": 1}


def test_every_kind_has_its_cause() -> None:
    """One word each, of a form that a metric's label may have."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Refused)]
    causes = [kind.cause for kind in kinds if kind is not Refused]
    assert len(set(causes)) == len(causes) >= 9
    assert all(cause.replace("_", "").isalpha() and cause.islower() for cause in causes)


def test_a_line_each(caplog: pytest.LogCaptureFixture) -> None:
    """It says why, what was asked, and from where; a warning if an option would change it."""
    caplog.set_level(logging.INFO, "hybridws")
    refusals = Refusals()
    refusals.note(Malformed("no JSON"), asked("POST", path="/chat/v1/s3cret/send"), "192.0.2.1", 0)
    refusals.note(Forbidden("no", cause="origin", hint="set origins"), asked(), "", 0)
    first, second = caplog.records
    assert first.getMessage() == "refused (malformed): POST send from 192.0.2.1: no JSON"
    assert (first.levelno, second.levelno) == (logging.INFO, logging.WARNING)
    assert (vars(first)["cause"], vars(first)["address"]) == ("malformed", "192.0.2.1")
    assert "set origins" in second.getMessage()
    assert "s3cret" not in caplog.text
    assert "a unix socket" in second.getMessage()


def test_a_line_cannot_be_forged(caplog: pytest.LogCaptureFixture) -> None:
    """What comes from the client stands in one line of a bounded length."""
    caplog.set_level(logging.INFO, "hybridws")
    evil = "a\r\nCRITICAL forged\x1b[31m\u2028" + "x" * 10_000
    Refusals().note(Malformed(evil), asked(path="/chat/" + evil), "192.0.2.1", 0)
    (record,) = caplog.records
    assert len(record.getMessage()) < 800
    assert not any(char in record.getMessage() for char in "\r\n\x1b\u2028")


def test_a_flood_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Of one cause 20 lines a minute, then how many there would have been; other causes keep their own."""
    caplog.set_level(logging.INFO, "hybridws")
    refusals = Refusals()
    for number in range(10_000):
        refusals.note(Malformed("x"), asked(), "192.0.2.1", number / 1000)
    assert len(caplog.records) == LINES
    refusals.note(TooMany("y"), asked(), "192.0.2.1", 10)
    assert len(caplog.records) == LINES + 1
    refusals.note(Malformed("x"), asked(), "192.0.2.1", MINUTE)
    assert [record.getMessage() for record in caplog.records[LINES + 1 :]] == [
        f"refused (malformed): {10_000 - LINES} more in the last 60 s, without a line each",
        "refused (malformed): GET websocket from 192.0.2.1: x",
    ]
    assert refusals.counts["malformed"] == 10_001
