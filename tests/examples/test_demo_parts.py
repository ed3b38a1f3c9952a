"""The parts of the demo that need no browser: what counts, what a network is in words, what a chat keeps."""

from __future__ import annotations

import importlib
import random
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridws import assets
from hybridws.cli import demo
from hybridws.testing import modes, parse
from tests.live.drivers import run_node

PACKAGE: Final = demo.load(assets.find(demo.DEMO)).__name__
TALLY: Final[Any] = importlib.import_module(f"{PACKAGE}.tally").Tally
NETWORK: Final[Any] = importlib.import_module(f"{PACKAGE}.network")
FAULTS: Final[list[str]] = [fault.key for fault in NETWORK.FAULTS]


def counted(numbers: list[int]) -> dict[str, int]:
    """Count with the server's Tally."""
    tally = TALLY()
    for number in numbers:
        tally.take(number)
    return {name: getattr(tally, name) for name in ("came", "lost", "twice", "late", "highest")}


@given(st.lists(st.integers(1, 40), max_size=80))
def test_tally(numbers: list[int]) -> None:
    """What came, was lost, came twice and came late is what the list of numbers says."""
    told = counted(numbers)
    seen: set[int] = set()
    late = 0
    for number in numbers:
        late += number not in seen and bool(seen) and number < max(seen)
        seen.add(number)
    highest = max(seen, default=0)
    assert told == {
        "came": len(seen),
        "lost": highest - len(seen),
        "twice": len(numbers) - len(seen),
        "late": late,
        "highest": highest,
    }


@pytest.mark.live
async def test_tally_of_the_page() -> None:
    """The page's Tally counts as the server's does."""
    dice = random.Random(7)
    rows = [[dice.randint(1, 30) for _ in range(dice.randrange(60))] for _ in range(200)]
    script = assets.find("examples/chat/page/tally.js").as_uri()
    assert await run_node("node_tally.mjs", {"tally": script, "rows": rows}) == [counted(row) for row in rows]


@given(st.sets(st.sampled_from(FAULTS)))
def test_faults_in_words(keys: set[str]) -> None:
    """Faults of which no two exclude each other make a mode; those that do are refused with a reason."""
    clash = {"ws_refused", "ws_hangs", "ws_silent"} & keys, {"buffers", "buffers_first"} & keys
    if any(len(some) > 1 for some in clash):
        with pytest.raises(ValueError, match="both decide"):
            NETWORK.words(keys)
    else:
        assert (str(parse(NETWORK.words(keys))) == "ok") == (not keys)


def test_no_such_fault() -> None:
    """A fault that there is not is named, with those that there are."""
    with pytest.raises(ValueError, match=r"there is no fault fire; there are ws_refused, "):
        NETWORK.words(["fire"])


def test_every_mode_has_a_button() -> None:
    """Each mode of the hostile proxy is one of the faults, or of two of them."""
    words = {fault.word.split(":")[0] for fault in NETWORK.FAULTS}
    assert modes.WORDS.keys() - words == {"ok", "hangs_and_buffers"}
    assert replace(parse("ws_hangs+buffers"), text="hangs_and_buffers") == parse("hangs_and_buffers")
