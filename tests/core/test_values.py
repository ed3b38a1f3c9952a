"""What a message may hold: the same values for every codec, and one clear sentence for all others."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridws.core.values import (
    LONG,
    SAFE_INTEGER,
    check_arrived,
    check_size,
    fault,
    is_safe,
    json_text,
    json_value,
    quoted,
    utf8,
)
from hybridws.errors import Malformed, MessageTooLarge, TooLarge, Unsendable
from hybridws.options import Options

OPTIONS = Options()


def nested(depth: int, inside: object = 1) -> object:
    """Put a value into so many lists."""
    for _ in range(depth):
        inside = [inside]
    return inside


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1.5,
        "text",
        "",
        [],
        {},
        [1, [2, {"a": None}]],
        ("a", "tuple"),
        SAFE_INTEGER - 1,
        1 - SAFE_INTEGER,
        1e300,
        nested(32),
        {"": {"": {}}},
        list(range(10_000)),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_json_can_hold_has_no_fault(value: object) -> None:
    """Every JSON value within the limits may be sent."""
    assert fault(value, OPTIONS) is None
    assert json_value(json_text(value, OPTIONS), OPTIONS) == json.loads(json.dumps(value))


FAULTS: list[tuple[Any, str]] = [
    (math.nan, "nan has no form in JSON"),
    (math.inf, "inf has no form in JSON"),
    ([1, -math.inf], "-inf has no form in JSON"),
    (SAFE_INTEGER, "2^53"),
    (-SAFE_INTEGER, "2^53"),
    ({"n": 10**30}, "2^53"),
    ({1: "a"}, "keys"),
    ([{"a": {None: 1}}], "keys"),
    (b"raw", "bytes must stand alone"),
    ({"a": bytearray(b"raw")}, "bytes must stand alone"),
    ([memoryview(b"raw")], "bytes must stand alone"),
    ({1, 2}, "set has no form in JSON"),
    (datetime.now(tz=UTC), "datetime has no form in JSON"),
    ([Decimal(1)], "Decimal has no form in JSON"),
    (object, "type has no form in JSON"),
    (nested(33), "nested more than 32 levels deep (max_depth)"),
    (nested(1_000), "nested more than 32 levels deep (max_depth)"),
    (nested(100_000), "nested more than 32 levels deep (max_depth)"),
    (list(range(10_001)), "more than 10000 elements (max_elements)"),
    ([[0] * 5_000, [0] * 5_000], "more than 10000 elements (max_elements)"),
    ({str(n): n for n in range(10_001)}, "more than 10000 elements (max_elements)"),
]


@pytest.mark.parametrize(("value", "why"), FAULTS, ids=[why for _, why in FAULTS])
def test_what_a_client_could_not_read_is_unsendable(value: object, why: str) -> None:
    """The sender is told in one sentence what is wrong with its value."""
    said = fault(value, OPTIONS)
    assert said is not None
    assert why in said
    with pytest.raises(Unsendable, match="this message cannot be sent: ") as error:
        json_text(value, OPTIONS)
    assert error.type is Unsendable
    assert str(error.value).endswith(said)


def test_a_value_that_holds_itself_is_refused() -> None:
    """A loop is nesting without end, wide or narrow; it is refused at once, not walked for ever."""
    narrow: list[object] = []
    narrow.append(narrow)
    wide: list[object] = []
    wide.extend([wide] * 10)
    assert "max_depth" in (fault(narrow, OPTIONS) or "")
    assert "max_elements" in (fault(wide, OPTIONS) or "")


def test_depth_and_elements_are_options() -> None:
    """Both limits can be raised and lowered."""
    small = Options(max_depth=2, max_elements=3)
    assert fault(nested(2), small) is None
    assert fault(nested(3), small) is not None
    assert fault([1, 2, 3], small) is None
    assert fault([1, [2], 3], small) is not None
    assert fault(nested(40), Options(max_depth=40)) is None


def test_nesting_counts_the_same_with_and_without_something_inside() -> None:
    """So many levels are so many levels: an empty list at the bottom is one too."""
    small = Options(max_depth=2)
    assert fault([[]], small) is None
    assert fault([[[]]], small) is not None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "broken JSON"),
        ("{", "broken JSON"),
        ("[1,]", "broken JSON"),
        ("1 2", "broken JSON"),
        ("'a'", "broken JSON"),
        ("nul", "broken JSON"),
        ("\ufeff1", "broken JSON"),
        ('"\n"', "broken JSON"),
        ("[" * 100_000 + "]" * 100_000, "max_depth"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "max_depth"),
        ("9" * 5_000, "broken JSON"),
        ("[" * 100 + "]" * 100, "max_depth"),
        ("[" * 1_000 + "]" * 1_000, "max_depth"),
        ("NaN", "nan has no form"),
        ("[Infinity]", "inf has no form"),
        ("-Infinity", "inf has no form"),
        ("1e999", "inf has no form"),
        ("9007199254740992", "2^53"),
        ('{"a":-9007199254740992}', "2^53"),
        ("[" + ",".join(["[]"] * 10_001) + "]", "max_elements"),
    ],
    ids=lambda text: text[:20],
)
def test_json_from_outside_is_trusted_in_nothing(text: str, why: str) -> None:
    """Broken, bottomless or unportable JSON is refused with the reason; nothing else is ever raised."""
    with pytest.raises(Malformed) as error:
        json_value(text, OPTIONS)
    assert why in error.value.reason


def test_a_key_that_comes_twice_counts_once() -> None:
    """As in JavaScript, the last one wins."""
    assert json_value('{"a":1,"a":2}', OPTIONS) == {"a": 2}


def test_is_safe_ends_where_javascript_ends() -> None:
    """2^53 - 1 is Number.MAX_SAFE_INTEGER."""
    assert is_safe(2**53 - 1)
    assert is_safe(1 - 2**53)
    assert not is_safe(2**53)
    assert not is_safe(-(2**53))


def test_utf8_is_strict() -> None:
    """Bytes must be UTF-8, without guessing; text is as it is."""
    assert utf8("é") == "é"
    assert utf8("é€😀".encode()) == "é€😀"
    for broken in (b"\xff", b"ok\xc3", b"\xed\xa0\x80", b"\xc0\x80", "é".encode("utf-16")):
        with pytest.raises(Malformed, match="not UTF-8"):
            utf8(broken)


def test_sizes_have_one_limit_and_two_blames() -> None:
    """What we would send too large is our fault, what has come too large is theirs."""
    options = Options(max_message=10)
    check_size(10, options)
    check_arrived(10, options)
    with pytest.raises(MessageTooLarge, match=r"11 bytes, and 10 are allowed \(max_message\)"):
        check_size(11, options)
    with pytest.raises(TooLarge, match=r"11 bytes has come, and 10 are allowed \(max_message\)"):
        check_arrived(11, options)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.sampled_from([object(), {1}, Decimal(1)]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2) | st.integers(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60)
@given(ANYTHING)
def test_any_value_is_either_unsendable_or_comes_back_the_same(value: object) -> None:
    """There is no value that is sent and arrives as another one."""
    if fault(value, OPTIONS) is None:
        assert json_value(json_text(value, OPTIONS), OPTIONS) == value
    else:
        with pytest.raises(Unsendable):
            json_text(value, OPTIONS)


@settings(max_examples=100)
@given(st.text(alphabet='[]{}",:0123456789.eE+-truefalsnN \\u\n\x00é', max_size=30))
def test_any_text_is_either_malformed_or_a_value(text: str) -> None:
    """No text from outside raises anything but Malformed."""
    try:
        value = json_value(text, OPTIONS)
    except Malformed as refusal:
        assert refusal.reason  # noqa: PT017 - most examples are refused, and that is one of the two promises
    else:
        assert fault(value, OPTIONS) is None


ONE_OF_EACH = [chr(code) for code in range(0x80)] + ["é", "\u2028", "\ud800", "😀", "\uffff"]


@pytest.mark.parametrize("size", [0, 1, LONG - 1, LONG, LONG + 1, 2 * LONG])
def test_a_text_is_quoted_alike_whatever_its_length(size: int) -> None:
    """A long one takes another way, and none may come out as another text, whatever it holds and wherever."""
    for filler in "xé":
        for character in ONE_OF_EACH:
            for text in (filler * size, character + filler * size, filler * size + character):
                assert quoted(text) == json.dumps(text, ensure_ascii=False)
