"""The tables of `make bench`: what stands in them, from measures that are known."""

from __future__ import annotations

from benchmarks import table
from benchmarks.load import Measure


def rounds(*cpu: float, **more: float) -> list[Measure]:
    """Make the rounds of one workload and peer."""
    return [Measure(200, cpu=one, **{"rate": 1000.0, "busy": 1.0, **more}) for one in cpu]


def row(text: str, *words: str) -> list[str]:
    """Return the cells of the one row in which all these words stand."""
    (line,) = [line for line in text.splitlines() if line.startswith("|") and all(word in line for word in words)]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_ratios_are_made_round_by_round() -> None:
    """A machine that is slow for a round is slow for all who run in it: it moves no ratio."""
    text = table.write({("ws-echo-1", "run"): rounds(10, 20, 40), ("ws-echo-1", "ws"): rounds(15, 30, 60)}, {}, "")
    assert row(text, "| ws (Node) |", "15.0")[1:4] == ["30.0 (15.0–60.0)", "1.50 (1.50–1.50)", "1,000"]  # noqa: RUF001 - as the table writes it


def test_targets_are_judged_by_the_median() -> None:
    """One is reached or missed, and by how much; where nothing was measured there is no row."""
    text = table.write({("ws-echo-1", "run"): rounds(10, 10, 10), ("ws-echo-1", "ws"): rounds(6, 15, 13)}, {}, "")
    assert row(text, "own runner | ws (Node)")[3:] == ["1.2", "1.30 (0.60–1.50)", "reached"]  # noqa: RUF001 - as the table writes it
    text = table.write({("ws-echo-1", "run"): rounds(10), ("ws-echo-1", "ws"): rounds(6)}, {}, "")
    assert row(text, "own runner | ws (Node)")[4:] == ["0.60", "missed by 50%"]
    assert "sockjs-node" not in text


def test_bounds_are_judged_by_the_median() -> None:
    """Memory and lag as they are, growth against the same server with few sessions."""
    measured = {
        ("idle-ws", "run"): rounds(0, kilobytes=6.0),
        ("idle-poll", "run"): rounds(0, kilobytes=14.0),
        ("grow-100", "run"): rounds(10, 20),
        ("grow-10000", "run"): rounds(12, 24),
    }
    text = table.write(measured, {}, "")
    assert row(text, "idle WebSocket", "kept")[2:4] == ["8 kB", "6.0"]
    assert row(text, "parked poll", "over")[2:] == ["7 kB", "14.0", "over by 100%"]
    assert row(text, "10,000 sessions, against 100")[2:] == ["1.3 ×", "1.2 (1.2–1.2)", "kept"]  # noqa: RUF001 - as the table writes it


def test_who_was_the_limit_is_said() -> None:
    """A rate that the generator could not raise says nothing of the server."""
    text = table.write({("ws-echo-1", "run"): rounds(10, busy=0.5, own_busy=0.99)}, {}, "")
    assert row(text, "own runner", "10.0")[-1] == "the generator was the limit (server 50% busy)"


def test_who_was_left_out_is_said() -> None:
    """And why."""
    text = table.write({}, {"ws": "there is no Node here"}, "")
    assert "Left out: ws (Node) (there is no Node here)." in text
