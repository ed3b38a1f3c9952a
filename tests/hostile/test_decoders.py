"""Every decoder, tried with the corpus and with what Hypothesis makes of it; `make fuzz` goes on for longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridws.testing import hostile
from tests.hostile.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDS: Final = [
    *hostile.json_packets(),
    *hostile.msgpack_packets(),
    *hostile.RUBBISH,
    *(body.encode("utf-8", "surrogatepass") for body in hostile.SOCKJS_BODIES),
    *hostile.frames(),
    *hostile.requests("example.org", "/echo/v1/open"),
]
SHORT: Final = [seed for seed in SEEDS if len(seed) <= 300]
each_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Take inputs of the corpus, join them, and change some bytes."""
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(SHORT), min_size=1, max_size=4))))
    for _ in range(draw(st.integers(0, 4))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        kind = draw(st.sampled_from(("set", "cut", "insert", "repeat")))
        if kind == "set":
            data[at] = draw(st.integers(0, 255))
        elif kind == "cut":
            del data[at : at + draw(st.integers(1, 8))]
        elif kind == "insert":
            data[at:at] = draw(st.binary(max_size=8))
        else:
            data[at:at] = data[at : at + 8] * draw(st.integers(1, 20))
    return bytes(data)


@each_target
def test_the_corpus(target: Callable[[bytes], None]) -> None:
    """Whole, and cut in the middle."""
    for seed in SEEDS:
        target(seed)
        target(seed[: len(seed) // 2])


@each_target
@given(data=st.binary(max_size=200) | damaged())
def test_anything(target: Callable[[bytes], None], data: bytes) -> None:
    """Whatever the bytes are, a decoder reads them or refuses them in its own words."""
    target(data)
