"""What a client learns of its network, and when it tries a better transport again (scripted times)."""

from __future__ import annotations

import pytest

from hybridws.core.ladder import Ladder, Rung

ORDER = ("websocket", "stream", "poll")


def test_everything_may_be_tried_at_first() -> None:
    """On an unknown network nothing is ruled out."""
    assert Ladder(ORDER).due(0.0) == list(ORDER)


def test_the_last_resort_is_always_due() -> None:
    """Whatever has failed, there is something left to try."""
    ladder = Ladder(ORDER)
    for name in ORDER:
        ladder.rungs[name].failed(100.0, 0.5)
    assert ladder.due(100.0) == ["poll"]


@pytest.mark.parametrize(("fallen_for", "every"), [(0, 10), (119, 10), (120, 30), (719, 30), (720, 300), (9000, 300)])
def test_a_better_transport_is_tried_again_and_again(fallen_for: float, every: float) -> None:
    """Every 10 s for 2 min after the fall, every 30 s for 10 min, then every 5 min, with a little jitter."""
    rung = Rung()
    rung.failed(1000.0, 0.5)
    rung.failed(1000.0 + fallen_for, 0.0)
    low = rung.due_at() - 1000.0 - fallen_for
    rung.failed(1000.0 + fallen_for, 1.0)
    high = rung.due_at() - 1000.0 - fallen_for
    assert (low, high) == pytest.approx((0.9 * every, 1.1 * every))


def test_a_success_starts_the_count_anew() -> None:
    """The fall is counted from the last time it carried the session."""
    rung = Rung()
    rung.failed(0.0, 0.5)
    rung.proved()
    rung.failed(5000.0, 0.5)
    assert rung.due_at() == pytest.approx(5010.0)


def test_two_early_deaths_are_quarantined() -> None:
    """A WebSocket that dies twice before it is trusted is left alone for a minute, then for two."""
    rung = Rung()
    rung.died(10.0, 1.0, explained=False, chance=0.0)
    assert not rung.quarantined(10.0)
    assert rung.due_at() <= 10.0
    rung.died(12.0, 1.0, explained=False, chance=0.0)
    assert rung.quarantined(71.9)
    assert not rung.quarantined(72.1)
    rung.died(80.0, 1.0, explained=False, chance=0.0)
    rung.died(81.0, 1.0, explained=False, chance=0.0)
    assert rung.due_at() == pytest.approx(81.0 + 120.0)


def test_a_quarantine_has_an_end() -> None:
    """However often it dies, it is tried again after half an hour at the latest."""
    rung, now, wait = Rung(), 0.0, 0.0
    for _ in range(12):
        rung.died(now, 1.0, explained=False, chance=0.0)
        rung.died(now, 1.0, explained=False, chance=0.0)
        wait = rung.due_at() - now
        now = rung.due_at()
    assert wait == pytest.approx(1800.0)


def test_early_deaths_far_apart_are_forgiven() -> None:
    """Two deaths more than a minute apart are chance."""
    rung = Rung()
    rung.died(0.0, 1.0, explained=False, chance=0.0)
    rung.died(61.0, 1.0, explained=False, chance=0.0)
    assert not rung.quarantined(61.0)


def test_three_late_deaths_are_quarantined() -> None:
    """Three deaths within 5 minutes are a pattern, whatever the age."""
    rung = Rung()
    for now in (0.0, 100.0):
        rung.died(now, 90.0, explained=False, chance=0.0)
        assert not rung.quarantined(now)
    rung.died(200.0, 90.0, explained=False, chance=0.0)
    assert rung.quarantined(201.0)


def test_deaths_with_a_reason_teach_nothing() -> None:
    """A rolling deploy never teaches a crowd that WebSocket is bad."""
    rung = Rung()
    for now in range(20):
        rung.died(float(now), 0.5, explained=True, chance=0.0)
        assert rung.due_at() <= now


def test_trust_and_time_have_sharp_ends() -> None:
    """Five seconds are a life, a minute and five minutes are too long ago, and a quarantine ends on time."""
    trusted, minute, minutes = Rung(), Rung(), Rung()
    for now in (0.0, 1.0):
        trusted.died(now, 5.0, explained=False, chance=0.0)
    for now in (0.0, 60.0):
        minute.died(now, 4.9, explained=False, chance=0.0)
    for now in (0.0, 10.0, 300.0):
        minutes.died(now, 90.0, explained=False, chance=0.0)
    assert not any(rung.quarantined(now) for rung, now in ((trusted, 1.0), (minute, 60.0), (minutes, 300.0)))
    for now in (400.0, 459.9):
        minute.died(now, 4.9, explained=False, chance=0.0)
    minutes.died(309.9, 90.0, explained=False, chance=0.0)
    for rung, now in ((minute, 459.9), (minutes, 309.9)):
        assert rung.quarantined(now + 59.9)
        assert not rung.quarantined(now + 60.0)


def test_after_a_quarantine_the_count_is_new() -> None:
    """What led to it is forgiven, late deaths as early ones; a crowd comes back spread over a second."""
    early, late = Rung(), Rung()
    for now in (0.0, 1.0):
        early.died(now, 1.0, explained=False, chance=0.25)
    for now in (0.0, 1.0, 2.0):
        late.died(now, 90.0, explained=False, chance=0.25)
    assert (early.due_at(), late.due_at()) == (61.25, 62.25)
    early.died(11.0, 1.0, explained=False, chance=0.25)
    assert early.due_at() == 61.0
    late.died(63.0, 90.0, explained=False, chance=0.25)
    assert late.due_at() == 63.0


def test_a_quarantine_is_a_fall() -> None:
    """How long it has been given up is counted from there, also where it had fallen long before."""
    rung = Rung()
    rung.failed(0.0, 0.5)
    for now in (4000.0, 4001.0):
        rung.died(now, 1.0, explained=False, chance=0.0)
    rung.failed(4131.0, 0.5)
    assert rung.due_at() == pytest.approx(4161.0)


@pytest.mark.parametrize("explained", [False, True])
def test_what_has_worked_may_be_tried_again_at_once(*, explained: bool) -> None:
    """A transport that broke after it was in use does not wait for the next look at one that never worked."""
    rung = Rung()
    rung.failed(0.0, 0.5)
    assert rung.due_at() == pytest.approx(10.0)
    rung.died(5.0, 90.0, explained=explained, chance=0.5)
    assert rung.due_at() == 5.0


def test_another_network_forgets_all() -> None:
    """Deaths young and old, the length of the next quarantine, and when it fell."""
    rung = Rung()
    for now in (0.0, 1.0):
        rung.died(now, 1.0, explained=False, chance=0.0)
    rung.failed(100.0, 0.5)
    rung.died(130.0, 1.0, explained=False, chance=0.0)
    rung.died(131.0, 90.0, explained=False, chance=0.0)
    rung.network_changed(132.0)
    assert rung.due_at() == 132.0
    rung.died(133.0, 1.0, explained=False, chance=0.0)
    assert not rung.quarantined(133.0)
    rung.died(134.0, 1.0, explained=False, chance=0.0)
    assert rung.due_at() == 194.0
    rung.network_changed(200.0)
    rung.failed(5000.0, 0.5)
    assert rung.due_at() == pytest.approx(5010.0)


def test_another_network_is_another_chance() -> None:
    """A change of network clears every quarantine."""
    ladder = Ladder(ORDER)
    for _ in range(2):
        ladder.rungs["websocket"].died(5.0, 0.1, explained=False, chance=0.0)
    assert "websocket" not in ladder.due(6.0)
    ladder.network_changed(6.0)
    assert ladder.due(6.0) == list(ORDER)


def test_it_knows_when_to_look_up() -> None:
    """From a poll the next time for anything better, from a WebSocket none."""
    ladder = Ladder(ORDER)
    ladder.rungs["websocket"].failed(0.0, 0.5)
    ladder.rungs["stream"].failed(20.0, 0.5)
    assert ladder.next_due("poll", 1.0) == pytest.approx(10.0)
    assert ladder.next_due("stream", 1.0) == pytest.approx(10.0)
    assert ladder.next_due("websocket", 1.0) is None
    assert ladder.next_due("poll", 50.0) == pytest.approx(50.0)
    assert ladder.next_due(None, 1.0) == pytest.approx(1.0)
    assert ladder.due(9.9) == ["poll"]
    assert ladder.due(10.0) == ["websocket", "poll"]
