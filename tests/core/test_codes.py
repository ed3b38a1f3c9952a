"""Which close codes and reasons an application may say, and how long a reason may be."""

from __future__ import annotations

import pytest

from hybridws.core.codes import HIGHEST, MAX_REASON, check_close, shorten


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 3000, 4000, HIGHEST])
def test_codes_that_an_application_may_say(code: int) -> None:
    """Those of RFC 6455 that say something of an application's end, and its own."""
    check_close(code, "")


@pytest.mark.parametrize("code", [-1, 0, 999, 1002, 1005, 1006, 1010, 1013, 2999, 5000, 1000.0, True, "1000", None])
def test_codes_that_mean_something_else(code: object) -> None:
    """Those of protocols and connections, and what is no code at all; the error says which there are."""
    with pytest.raises(ValueError, match=r"with code .*: use 1000, 1001, 1011, 1012 or 3000-4999"):
        check_close(code, "")


def test_a_reason_has_its_length_in_bytes() -> None:
    """A close frame holds 123 bytes of UTF-8, whatever characters they are."""
    check_close(1000, "x" * 123)
    check_close(1000, "é" * 61)
    for reason in ("x" * 124, "é" * 62):
        with pytest.raises(ValueError, match="123 bytes of UTF-8, this one takes 124"):
            check_close(1000, reason)
    with pytest.raises(ValueError, match="lone surrogates"):
        check_close(1000, "\ud800")


@pytest.mark.parametrize(
    ("reason", "short"),
    [
        ("", ""),
        ("x" * 123, "x" * 123),
        ("x" * 124, "x" * 123),
        ("x" * 122 + "é", "x" * 122),
        ("é" * 80, "é" * 61),
        ("a\ud800b", "a?b"),
    ],
)
def test_a_reason_that_is_too_long_is_cut_between_characters(reason: str, short: str) -> None:
    """What is said for others (an exception's text) always fits, and is always text."""
    assert shorten(reason) == short
    assert len(short.encode()) <= MAX_REASON
