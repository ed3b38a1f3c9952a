"""What a hostile network does: the modes of `HostileProxy`, and the words that name them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

Upgrades = Literal["pass", "refuse", "hang", "silence"]
Old = Literal["keep", "cut", "freeze"]

DEFAULT_DELAY: Final = 0.1
"""Seconds that `reorders` holds requests back: longer than a few loopback round trips, short for a test."""


@dataclass(frozen=True, slots=True)
class Mode:
    """What the network does to what passes; times in seconds, sizes in bytes. Most are made by `parse`.

    What is decided when a request begins holds for that request: upgrades, `life`, `holds`, `http10`, `bad_every`,
    `replays`, `reorders`. What acts on bytes acts at once, on old connections too: `idle`, `cut_down`, `cut_up`, `rate`
    and `round_trip`.
    """

    text: str = "ok"
    """The words that it was parsed from."""
    upgrades: Upgrades = "pass"
    """What a request for a WebSocket meets: `silence` passes the 101 and nothing after it."""
    status: int = 403
    """What `refuse` answers with."""
    life: float | None = None
    """Each WebSocket is reset so long after it opened."""
    holds: float = 0
    """The first so many bytes of a response's body are held until there are more, or it is complete; may be `inf`."""
    idle: float | None = None
    """A connection that was silent for so long, both ways, is reset."""
    cut_down: int | None = None
    """A connection is reset after so many bytes to the client ..."""
    cut_up: int | None = None
    """... or to the origin, heads included, as the proxy sends them on."""
    http10: bool = False
    """HTTP/1.0 both ways: no chunks, no second request on a connection, no upgrade."""
    bad_every: int = 0
    """Every so many requests, one is answered with 502 and goes no further."""
    replays: float | None = None
    """POSTs are sent twice. 0: the first is given up, the second answered. Else the second follows so much later."""
    reorders: float = 0.0
    """Every other request is held back so long, the first one first; it goes on even if its client has left."""
    rate: float = 0.0
    """Bytes per second each way, for all connections together; 0 is no limit."""
    round_trip: float = 0.0
    """Half of it is added to every byte each way; a new connection costs nothing."""
    then: Flip | None = None
    """What the network turns into, and when."""

    def __str__(self) -> str:
        """Say it in the words that `parse` reads."""
        return self.text


@dataclass(frozen=True, slots=True)
class Flip:
    """A change of the network while it is in use."""

    after: float
    """Seconds since the mode before it began."""
    old: Old
    """What becomes of the connections of that time."""
    mode: Mode


class Word(NamedTuple):
    """One mode in words: how it is written, and which fields of Mode it sets."""

    usage: str
    summary: str
    needs: int
    """How many of its numbers must be given."""
    reads: tuple[Callable[[str], Any], ...]
    fields: Callable[..., dict[str, Any]]
    """From the numbers that were given."""


_SCALES: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "k": 1024.0, "m": 1024.0**2}
_NUMBER: Final = re.compile(r"(\d+(?:\.\d+)?)([a-z]*)")


def _scaled(text: str, units: str, plain: float, what: str) -> float:
    """Read a number with one of the units, or none, which means `plain`."""
    found = _NUMBER.fullmatch(text)
    if found is None or found[2] not in ("", *units.split()):
        raise ValueError(f"{text!r} is not {what}")
    return float(found[1]) * (_SCALES[found[2]] if found[2] else plain)


def _milliseconds(text: str) -> float:
    return _scaled(text, "ms s", 0.001, "a time in milliseconds, such as 500 (or 500ms, 2s)")


def _seconds(text: str) -> float:
    return _scaled(text, "ms s", 1.0, "a time in seconds, such as 5 (or 5s, 500ms)")


def _bytes(text: str) -> int:
    return int(_scaled(text, "k m", 1.0, "a number of bytes, such as 2048 (or 2k)"))


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ValueError(f"{text!r} is not a count of 1 or more")
    return int(text)


def _status(text: str) -> int:
    if not re.fullmatch("[45][0-9][0-9]", text):
        raise ValueError(f"{text!r} is not an HTTP status from 400 to 599")
    return int(text)


def _side(text: str) -> str:
    if text not in ("down", "up"):
        raise ValueError(f'{text!r} is neither "down" (to the client) nor "up" (to the origin)')
    return text


def _old(text: str) -> str:
    if text not in ("keep", "cut", "freeze"):
        raise ValueError(f'{text!r} is none of "keep", "cut" and "freeze"')
    return text


WORDS: Final = {
    "ok": Word("ok", "passes all", 0, (), dict),
    "ws_refused": Word(
        "ws_refused[:STATUS]",
        "answers an upgrade with 403 (or 400, 502 ...)",
        0,
        (_status,),
        lambda status=403: {"upgrades": "refuse", "status": status},
    ),
    "ws_hangs": Word("ws_hangs", "takes an upgrade and never answers", 0, (), lambda: {"upgrades": "hang"}),
    "ws_silent": Word(
        "ws_silent", "answers an upgrade with 101, then passes nothing", 0, (), lambda: {"upgrades": "silence"}
    ),
    "ws_dies": Word(
        "ws_dies:MS", "resets every WebSocket so long after it opened", 1, (_milliseconds,), lambda life: {"life": life}
    ),
    "buffers": Word("buffers", "holds each response until it is complete", 0, (), lambda: {"holds": math.inf}),
    "buffers_first": Word(
        "buffers_first:BYTES", "holds the first bytes of each response", 1, (_bytes,), lambda holds: {"holds": holds}
    ),
    "hangs_and_buffers": Word(
        "hangs_and_buffers", "ws_hangs and buffers", 0, (), lambda: {"upgrades": "hang", "holds": math.inf}
    ),
    "idle_kill": Word(
        "idle_kill:SECONDS", "resets what was silent for so long", 1, (_seconds,), lambda idle: {"idle": idle}
    ),
    "cut": Word(
        "cut:BYTES[:up]",
        "resets each connection after so many bytes to the client (or to the origin)",
        1,
        (_bytes, _side),
        lambda after, side="down": {f"cut_{side}": after},
    ),
    "http10": Word("http10", "HTTP/1.0: no chunks, no keep-alive, no upgrade", 0, (), lambda: {"http10": True}),
    "bad_gateway": Word(
        "bad_gateway:K", "answers every k-th request with 502", 1, (_count,), lambda every: {"bad_every": every}
    ),
    "replays": Word(
        "replays[:MS]",
        "sends a POST twice: gives up the first and passes the answer to the second; with a time, the other way round",
        0,
        (_milliseconds,),
        lambda late=0.0: {"replays": late},
    ),
    "reorders": Word(
        "reorders[:MS]",
        "holds every other request back, 100 ms or so long",
        0,
        (_milliseconds,),
        lambda delay=DEFAULT_DELAY: {"reorders": delay},
    ),
    "slow": Word(
        "slow:BYTES[:MS]",
        "passes so many bytes per second (0: no limit), with a round trip of so long",
        1,
        (_bytes, _milliseconds),
        lambda rate, round_trip=0.0: {"rate": rate, "round_trip": round_trip},
    ),
}
"""Every mode by its name."""

FLIPS: Final = Word(
    "MODE,flips:SECONDS[:cut|:freeze],MODE",
    "turns into another mode after so long, and keeps, cuts or freezes what is open",
    1,
    (_seconds, _old),
    lambda after, old="keep": {"after": after, "old": old},
)


def usage() -> str:
    """Say all that `parse` understands, a line each."""
    rows = [(word.usage, word.summary) for word in WORDS.values()]
    rows += [("MODE+MODE", "both at once"), (FLIPS.usage, FLIPS.summary)]
    width = max(len(left) for left, _ in rows)
    return "\n".join(f"{left:<{width}}  {right}" for left, right in rows)


def parse(text: str) -> Mode:
    """Read a mode such as `ws_dies:500`, `ws_hangs+buffers` or `ok,flips:2:cut,hangs_and_buffers` (see `usage`).

    Raises ValueError, which says what is wrong and what there is.
    """
    steps = [step.strip() for step in text.split(",")]
    mode = _parse_one(steps.pop())
    while steps:
        if len(steps) == 1:
            raise ValueError(f"{text!r}: between two modes stands when the network changes, as in {FLIPS.usage}")
        flips = _fields("flips", FLIPS, steps[-1]) if steps[-1].split(":")[0] == "flips" else None
        if flips is None:
            raise ValueError(f"{steps[-1]!r} stands where a flip should: {FLIPS.usage}")
        mode = replace(_parse_one(steps[-2]), then=Flip(mode=mode, **flips))
        del steps[-2:]
    return replace(mode, text=text)


def _parse_one(text: str) -> Mode:
    """Read modes that act together, joined by a plus."""
    fields: dict[str, Any] = {}
    for part in text.split("+"):
        name = part.strip().split(":")[0]
        word = WORDS.get(name)
        if word is None:
            raise ValueError(f"there is no mode {name!r}; there are {', '.join(word.usage for word in WORDS.values())}")
        new = _fields(name, word, part.strip())
        if twice := fields.keys() & new.keys():
            raise ValueError(f"{text!r}: {name} and another of these modes both decide {', '.join(sorted(twice))}")
        fields |= new
    return Mode(text=text, **fields)


def _fields(name: str, word: Word, part: str) -> dict[str, Any]:
    given = part.split(":")[1:]
    if not word.needs <= len(given) <= len(word.reads):
        raise ValueError(f"{part!r} should read {word.usage}")
    try:
        return word.fields(*(read(item) for read, item in zip(word.reads, given, strict=False)))
    except ValueError as error:
        raise ValueError(f"{name}: {error}, as in {word.usage}") from None
