"""The words that name a hostile network's modes."""

from __future__ import annotations

import math

import pytest

from hybridws.testing import Mode, parse, usage
from hybridws.testing.modes import WORDS

READ = {
    "ok": Mode(text="ok"),
    "ws_refused": Mode(text="ws_refused", upgrades="refuse"),
    "ws_refused:502": Mode(text="ws_refused:502", upgrades="refuse", status=502),
    "ws_hangs": Mode(text="ws_hangs", upgrades="hang"),
    "ws_silent": Mode(text="ws_silent", upgrades="silence"),
    "ws_dies:500": Mode(text="ws_dies:500", life=0.5),
    "ws_dies:2s": Mode(text="ws_dies:2s", life=2.0),
    "buffers": Mode(text="buffers", holds=math.inf),
    "buffers_first:2k": Mode(text="buffers_first:2k", holds=2048),
    "hangs_and_buffers": Mode(text="hangs_and_buffers", upgrades="hang", holds=math.inf),
    "idle_kill:60": Mode(text="idle_kill:60", idle=60.0),
    "idle_kill:50ms": Mode(text="idle_kill:50ms", idle=0.05),
    "cut:0": Mode(text="cut:0", cut_down=0),
    "cut:10:up": Mode(text="cut:10:up", cut_up=10),
    "http10": Mode(text="http10", http10=True),
    "bad_gateway:3": Mode(text="bad_gateway:3", bad_every=3),
    "replays": Mode(text="replays", replays=0.0),
    "replays:30s": Mode(text="replays:30s", replays=30.0),
    "reorders": Mode(text="reorders", reorders=0.1),
    "reorders:20": Mode(text="reorders:20", reorders=0.02),
    "slow:1000:100": Mode(text="slow:1000:100", rate=1000, round_trip=0.1),
    "slow:0:2s": Mode(text="slow:0:2s", rate=0, round_trip=2.0),
    "ws_hangs + buffers": Mode(text="ws_hangs + buffers", upgrades="hang", holds=math.inf),
    "cut:5+cut:9:up": Mode(text="cut:5+cut:9:up", cut_down=5, cut_up=9),
}


@pytest.mark.parametrize("text", READ)
def test_a_mode_is_read(text: str) -> None:
    """Every mode of the table has words, with units where a number needs one, and tells them again."""
    assert parse(text) == READ[text]
    assert str(parse(text)) == text


def test_flips_are_read_in_their_order() -> None:
    """A comma parts what a network is from when and how it changes, and from what it is then."""
    mode = parse("ok,flips:2:cut,ws_hangs+buffers,flips:500ms,ok")
    assert mode.upgrades == "pass"
    assert mode.then is not None
    assert (mode.then.after, mode.then.old, mode.then.mode.upgrades) == (2.0, "cut", "hang")
    assert mode.then.mode.then is not None
    assert (mode.then.mode.then.after, mode.then.mode.then.old) == (0.5, "keep")
    assert mode.then.mode.then.mode == Mode(text="ok")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is no mode ''; there are ok, ws_refused[:STATUS]"),
        ("ws_dead", "there is no mode 'ws_dead'"),
        ("ws_dies", "should read ws_dies:MS"),
        ("ws_dies:", "ws_dies: '' is not a time in milliseconds"),
        ("ws_dies:soon", "'soon' is not a time"),
        ("ws_dies:-5", "'-5' is not a time"),
        ("ws_dies:5k", "'5k' is not a time"),
        ("ok:1", "'ok:1' should read ok"),
        ("slow:1:2:3", "should read slow:BYTES[:MS]"),
        ("slow:fast", "'fast' is not a number of bytes"),
        ("cut:5:left", "neither"),
        ("bad_gateway:0", "not a count of 1 or more"),
        ("ws_refused:200", "not an HTTP status from 400 to 599"),
        ("ws_hangs+ws_refused", "both decide upgrades"),
        ("ok,ws_hangs", "between two modes stands when the network changes"),
        ("ok,then:5,ok", "stands where a flip should"),
        ("ok,flips,ok", "should read MODE,flips:SECONDS"),
        ("ok,flips:5:bend,ok", "'bend' is none of"),
        ("ok,flips:5", "there is no mode 'flips'"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    """A text that is no mode gives a ValueError that says what is wrong and how it should read."""
    with pytest.raises(ValueError, match=r".") as caught:
        parse(text)
    assert says in str(caught.value)


def test_usage_names_every_mode() -> None:
    """The usage has a line for each mode, for a command line's help."""
    lines = usage().splitlines()
    assert [line.split()[0].split(":")[0].split("[")[0] for line in lines[: len(WORDS)]] == list(WORDS)
    assert all(word.usage.split(":")[0].split("[")[0] == name for name, word in WORDS.items())
