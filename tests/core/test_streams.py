"""Streams that are cut anywhere are read as if they had not been cut."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, cast

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridws.core.streams import EventReader, PackReader
from hybridws.errors import Malformed

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 10_000


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut bytes at these places."""
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in pairwise(places)]


def read(reader: Callable[[bytes], list[bytes]], data: bytes, cuts: list[int]) -> list[bytes]:
    """Feed bytes cut at these places."""
    return [whole for piece in pieces(data, cuts) for whole in reader(piece)]


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=9)), st.lists(st.integers(0)))
def test_events_survive_any_cut(lines: list[str], cuts: list[int]) -> None:
    """Characters split over two chunks, comments and other fields change nothing."""
    data = b":" + b" " * 20 + b"\n\nretry: 1000\n\n"
    data += b"".join(b"id: 7\ndata: " + line.encode() + b"\ndata: end\n\n" for line in lines)
    assert read(EventReader(LIMIT).feed, data, cuts) == [line.encode() + b"\nend" for line in lines]


def test_both_line_ends_are_read() -> None:
    """CRLF ends a line as LF does, also when it is cut in two; data without a blank after the colon is data."""
    assert read(EventReader(LIMIT).feed, b"data:one\r\n\r\ndata: two\n\n", [9]) == [b"one", b"two"]


def test_an_endless_event_is_refused() -> None:
    """What never ends is no event of the server's, and must not fill the memory."""
    reader = EventReader(100)
    with pytest.raises(Malformed):
        reader.feed(b"data: " + b"x" * 200)


def test_an_event_may_take_the_limit() -> None:
    """All lines of data of one event count, whether they have ended or not, and those of the next count anew."""
    for size, lines in ((94, 1), (44, 2)):
        event = (b"data: " + b"x" * size + b"\n") * lines
        reader = EventReader(100)
        for _ in range(3):
            assert reader.feed(event + b"\n") == [b"\n".join([b"x" * size] * lines)]
        assert EventReader(100).feed(event[:-1]) == []
        with pytest.raises(Malformed, match="more than 100 bytes"):
            EventReader(100).feed(event[:-1] + b"x")
        with pytest.raises(Malformed):
            EventReader(100).feed(event[:-1] + b"x\n\n")


def test_an_event_is_its_data() -> None:
    """One blank after the colon is not data, a second is; an event may be empty, and what holds no data is none."""
    stream = b"event: x\n\n\n" + b"data:  two\n\n" + b"data:\n\n" + b"datas: x\n\n" + b"data: \r\n\n"
    assert EventReader(100).feed(stream) == [b" two", b"", b""]


@given(st.lists(st.lists(st.one_of(st.text(max_size=5), st.binary(max_size=5)))), st.lists(st.integers(0)))
def test_packets_survive_any_cut(packets: list[list[object]], cuts: list[int]) -> None:
    """Each comes out whole, in order, with the padding around it."""
    data = b"\xc0" * 9 + b"".join(cast("bytes", msgpack.packb(packet)) for packet in packets)
    whole = b"".join(read(PackReader(LIMIT).feed, data, cuts))
    assert whole == data


def test_broken_and_endless_packets_are_refused() -> None:
    """A byte that msgpack never uses, and a packet that never ends."""
    with pytest.raises(Malformed):
        PackReader(100).feed(b"\xc1")
    with pytest.raises(Malformed):
        PackReader(100).feed(b"\xc6\x00\xff\xff\xff" + b"x" * 200)


def test_a_packet_may_take_the_limit() -> None:
    """What is not whole yet may be so large, wherever it stands; whole ones are their reader's to refuse."""
    packet = cast("bytes", msgpack.packb(b"x" * 150))
    for before in (b"", packet):
        reader = PackReader(100)
        assert reader.feed(before + packet[:100]) == [before][: len(before)]
        assert reader.feed(packet[100:]) == [packet]
        with pytest.raises(Malformed, match="more than 100 bytes"):
            PackReader(100).feed(before + packet[:101])
