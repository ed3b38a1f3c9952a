"""The error tree: who is to blame, with one close code and one status each, as its docstring draws it."""

from __future__ import annotations

import inspect
import re

import pytest

from hybridws import errors
from hybridws.errors import HybridError, MessageTooLarge, Refused, SessionClosed, Unsendable

CLASSES = [
    item for _, item in inspect.getmembers(errors, inspect.isclass) if issubclass(item, Exception) and item.__doc__
]


def test_everything_that_hybridws_raises_is_a_hybrid_error() -> None:
    """One `except` catches all, and the names of the drawing are the names of the classes."""
    assert all(issubclass(item, HybridError) for item in CLASSES)
    drawn = re.findall(r"[─] ([A-Z]\w+)", errors.__doc__ or "")
    assert sorted([*drawn, "HybridError"]) == sorted(item.__name__ for item in CLASSES)


@pytest.mark.parametrize("item", [item for item in CLASSES if issubclass(item, Refused) and item is not Refused])
def test_each_refusal_has_the_code_and_status_of_the_drawing(item: type[Refused]) -> None:
    """The same fault is answered in the same words over every transport."""
    assert re.search(rf"{item.__name__} +{item.code} · {item.status} ", errors.__doc__ or "")
    assert item.code == 1012 or 4400 <= item.code <= 4499
    assert 400 <= item.status <= 599


def test_codes_of_refusals_are_all_different() -> None:
    """A close code tells which it was."""
    codes = [item.code for item in CLASSES if issubclass(item, Refused) and item is not Refused]
    assert len(codes) == len(set(codes)) > 5


def test_a_refusal_carries_words_and_details_for_the_far_side() -> None:
    """`details` is a copy that may hold what to do, and is empty otherwise."""
    given = {"retry": 3}
    refusal = errors.Draining("the server is about to stop", given)
    given["retry"] = 4
    assert (refusal.reason, refusal.details, str(refusal)) == (
        "the server is about to stop",
        {"retry": 3},
        "the server is about to stop",
    )
    assert errors.Malformed("no").details == {}


def test_session_closed_tells_code_reason_and_loss() -> None:
    """Its text is what a log needs: how it ended, and how much may be lost."""
    assert str(SessionClosed(1000)) == "session closed with 1000"
    error = SessionClosed(3001, "bye", ["a", {"b": 1}])
    assert str(error) == "session closed with 3001 (bye); 2 message(s) unconfirmed"
    assert (error.code, error.reason, error.unacked) == (3001, "bye", ("a", {"b": 1}))
    assert SessionClosed(1000).unacked == ()


def test_what_cannot_be_sent_is_a_value_error_too() -> None:
    """It is the caller's value that is wrong, as Python says it."""
    assert issubclass(Unsendable, ValueError)
    assert issubclass(MessageTooLarge, Unsendable)
