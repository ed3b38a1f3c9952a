"""The outbox keeps what was said until it is confirmed, and counts every byte of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridws.core.outbox import DROPPED, OVERHEAD, Droppable, Outbox

if TYPE_CHECKING:
    from collections.abc import Sized

EVERYTHING = 10**9


def filled(*words: bytes) -> Outbox:
    """Make an outbox that holds these packets."""
    outbox = Outbox()
    for word in words:
        outbox.append(word)
    return outbox


def test_numbers_start_at_one_and_have_no_gap() -> None:
    """A packet gets its number when it is appended, and nowhere else."""
    outbox = Outbox()
    assert [outbox.append(b"x") for _ in range(3)] == [1, 2, 3]
    assert (outbox.confirmed, outbox.last, len(outbox)) == (0, 3, 3)


def test_reading_forgets_nothing() -> None:
    """What was read can be read again, byte for byte, as often as a transport breaks."""
    outbox = filled(b"one", b"two")
    assert outbox.since(0, EVERYTHING) == outbox.since(0, EVERYTHING) == [b"one", b"two"]
    assert len(outbox) == 2


def test_the_bytes_are_the_very_object_that_was_given() -> None:
    """A broadcast to a thousand sessions keeps its bytes once."""
    words = b"shared"
    assert filled(words).since(0, EVERYTHING)[0] is words


def test_since_goes_on_after_the_cursor() -> None:
    """A transport that has written up to a number is given only what comes after it."""
    outbox = filled(b"one", b"two", b"three")
    assert outbox.since(1, EVERYTHING) == [b"two", b"three"]
    assert outbox.since(3, EVERYTHING) == []
    outbox.confirm(2)
    assert outbox.since(2, EVERYTHING) == [b"three"]
    assert outbox.since(0, EVERYTHING) == [b"three"], "what is confirmed is not there to be said again"


def test_since_gives_what_fits_but_one_packet_at_least() -> None:
    """A packet larger than the limit still gets through; otherwise the limit holds, a joining byte for each counted."""
    outbox = filled(b"12345", b"67890", b"x")
    assert outbox.since(0, 1) == [b"12345"]
    assert outbox.since(0, 11) == [b"12345"]
    assert outbox.since(0, 12) == [b"12345", b"67890"]
    assert outbox.since(0, 14) == [b"12345", b"67890", b"x"]


def test_confirm_forgets_up_to_a_number() -> None:
    """An ack frees the bytes of what it names, and an older one that comes late changes nothing."""
    outbox = filled(b"one", b"two", b"three")
    assert outbox.confirm(2) is True
    assert (outbox.confirmed, len(outbox), outbox.size) == (2, 1, len(b"three") + OVERHEAD)
    assert outbox.confirm(2) is False
    assert outbox.confirm(1) is False
    assert outbox.confirm(3) is True
    assert (len(outbox), outbox.size) == (0, 0)


def test_its_repr_tells_what_is_kept() -> None:
    """A log line shows which numbers are waiting, and how much."""
    outbox = filled(b"one", b"two")
    outbox.confirm(1)
    assert repr(outbox) == f"<Outbox 2..2, {3 + OVERHEAD} bytes>"


def test_a_loose_packet_may_be_dropped_and_leaves_its_number() -> None:
    """The oldest go first, only as many as make the room, and never one that is not loose."""
    outbox = Outbox()
    for words, loose in ((b"1", False), (b"22", True), (b"333", True), (b"4444", True)):
        outbox.append(words, loose=loose)
    full = outbox.size
    assert outbox.relieve(full) == 0
    assert outbox.relieve(full - 1) == 1
    assert outbox.since(0, EVERYTHING) == [b"1", None, b"333", b"4444"]
    assert (len(outbox), outbox.last, outbox.size) == (4, 4, full - 2 - OVERHEAD + DROPPED)
    assert outbox.relieve(0) == 2
    assert outbox.since(0, EVERYTHING) == [b"1", None, None, None]
    assert outbox.relieve(0) == 0


def test_what_was_confirmed_is_not_dropped_again() -> None:
    """An ack ends a packet's story, loose or not; what was dropped is acked like any other."""
    outbox = Outbox()
    for words in (b"1", b"2", b"3"):
        outbox.append(words, loose=True)
    outbox.relieve(outbox.size - 1)
    outbox.confirm(2)
    assert outbox.since(2, EVERYTHING) == [b"3"]
    assert outbox.size == 1 + OVERHEAD
    assert outbox.relieve(0) == 1
    outbox.confirm(3)
    assert outbox.size == 0


def test_only_the_latest_of_a_key_is_kept_once_it_matters() -> None:
    """All of a key are kept until `relieve`; then only the latest, and that only until the next one is there."""
    outbox = Outbox()
    for words, key in ((b"a1", "a"), (b"b1", "b"), (b"a2", "a"), (b"x", None), (b"a3", "a")):
        outbox.append(words, key=key)
    assert outbox.since(0, EVERYTHING) == [b"a1", b"b1", b"a2", b"x", b"a3"]
    assert outbox.relieve(EVERYTHING) == 2
    assert outbox.since(0, EVERYTHING) == [None, b"b1", None, b"x", b"a3"]
    assert outbox.relieve(EVERYTHING, "b") == 1
    outbox.confirm(5)
    outbox.append(b"a4", key="a")
    outbox.append(b"b2", key="b")
    assert outbox.relieve(0) == 0
    assert outbox.since(5, EVERYTHING) == [b"a4", b"b2"]


def test_a_key_that_was_outdated_late_is_not_taken_for_another() -> None:
    """An ack may forget what was outdated after something newer; what is dropped then is never the wrong packet."""
    outbox = Outbox()
    for words, key in ((b"a1", "a"), (b"b1", "b"), (b"b2", "b"), (b"a2", "a")):
        outbox.append(words, key=key)
    outbox.confirm(1)
    assert outbox.relieve(EVERYTHING) == 1
    assert outbox.since(1, EVERYTHING) == [None, b"b2", b"a2"]


def test_keys_and_marks_do_not_outlive_their_packets() -> None:
    """Who takes all that comes leaves nothing behind, however many keys and loose packets there were."""
    outbox = Outbox()
    for number in range(10_000):
        outbox.append(b"x", loose=True, key=number % 5_000)
        outbox.append(b"y", key="one")
        outbox.confirm(outbox.last - 1)
    droppable: Droppable = getattr(outbox, "_droppable")  # noqa: B009 - mypy would not know it as ours
    for number in range(9):
        outbox.append(b"z", key=number)
    for left in reversed(range(9)):
        outbox.confirm(outbox.last - left)
        assert len(droppable.newest) <= 2 * left
    outbox.append(b"last", key="one")
    kept: list[Sized] = [getattr(outbox, "_items"), droppable.loose, droppable.newest, droppable.outdated]  # noqa: B009
    assert [len(one) for one in kept] == [1, 0, pytest.approx(1, abs=2), pytest.approx(0, abs=1)]


def test_it_knows_how_much_it_has_said() -> None:
    """Bytes without any overhead, of what is kept and of what was confirmed, and not of what was dropped."""
    outbox = filled(b"one", b"three")
    assert (outbox.said, outbox.dropped) == (8, 0)
    outbox.append(b"loose", loose=True)
    outbox.append(b"old", key="a")
    outbox.append(b"newer", key="a")
    assert (outbox.said, outbox.dropped) == (21, 0)
    for count in (0, 1, 3, 5):
        assert outbox.relieve(0) == (2 if count == 0 else 0)
        outbox.confirm(count)
        assert (outbox.said, outbox.dropped) == (13, 2)
    outbox.append(b"last")
    assert (outbox.said, outbox.dropped, outbox.size) == (17, 2, 4 + OVERHEAD)


STEPS = st.one_of(
    st.tuples(st.just("append"), st.binary(max_size=50), st.booleans(), st.none() | st.sampled_from("ab")),
    st.tuples(st.just("confirm"), st.integers(0, 40)),
    st.tuples(st.just("drop"), st.integers(0, 2_000)),
)


@settings(max_examples=100)
@given(st.lists(STEPS, max_size=40), st.integers(0, 60), st.integers(0, 500))
def test_it_is_a_list_that_is_cut_at_the_front(
    steps: list[tuple[Literal["append"], bytes, bool, str | None] | tuple[Literal["confirm", "drop"], int]],
    cursor: int,
    limit: int,
) -> None:
    """After any mix of appends, drops and acks it holds what was said and not confirmed, and its size is theirs."""
    outbox = Outbox()
    said: list[bytes | None] = []
    loose: list[bool] = []
    keys: list[str | None] = []
    confirmed = 0
    for step in steps:
        if step[0] == "append":
            _, words, may_go, key = step
            said.append(words)
            loose.append(may_go)
            keys.append(key)
            assert outbox.append(words, loose=may_go, key=key) == len(said)
        elif step[0] == "confirm":
            count = min(step[1], len(said))
            assert outbox.confirm(count) is (count > confirmed)
            confirmed = max(confirmed, count)
        else:
            dropped = outbox.relieve(step[1])
            for number in range(confirmed, len(said)):
                if said[number] is not None and keys[number] and keys[number] in keys[number + 1 :]:
                    said[number] = None
                    dropped -= 1
            for number in range(confirmed, len(said)):
                if dropped and loose[number] and said[number] is not None:
                    said[number] = None
                    dropped -= 1
            assert dropped == 0
            assert outbox.size <= step[1] or not any(
                may_go and words is not None for may_go, words in zip(loose[confirmed:], said[confirmed:], strict=True)
            )
    left = said[confirmed:]
    assert outbox.since(confirmed, EVERYTHING) == left
    assert outbox.size == sum(DROPPED if words is None else len(words) + OVERHEAD for words in left)
    some = outbox.since(cursor, limit)
    after = said[max(cursor, confirmed) :]
    assert some == after[: len(some)]
    assert len(some) >= min(1, len(after))
