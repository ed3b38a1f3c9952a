"""What a client learns of the silence that kills its connections (scripted times)."""

from __future__ import annotations

import pytest

from hybridws.core.idle import ALIKE, LEAST, SPAN, Idle


def live(limit: float, otherwise: float, until: float) -> tuple[list[float], float | None]:
    """Live through `until` seconds behind a box that cuts after `limit` s of silence; return the deaths, and the wish.

    Without a wish the server says something every `otherwise` seconds.
    """
    idle, now, deaths = Idle(), 1000.0, list[float]()
    while now < 1000.0 + until:
        said_every = min(idle.wish or otherwise, otherwise)
        if said_every < limit:
            break
        now += limit
        idle.died(now, limit)
        deaths.append(now)
    return deaths, idle.wish


@pytest.mark.parametrize("limit", [2.1, 3.4, 5.0, 10.0, 19.9])
def test_two_deaths_teach_it(limit: float) -> None:
    """Behind a box that cuts in less time than a heartbeat takes, two connections die, and no third."""
    deaths, wish = live(limit, 20.0, 300.0)
    assert len(deaths) == 2
    assert wish == pytest.approx(max(0.6 * limit, 2.0))


def test_a_box_that_is_patient_is_never_noticed() -> None:
    """Where heartbeats come in time nothing dies, and nothing is wished for."""
    assert live(60.0, 20.0, 300.0) == ([], None)


def test_one_death_teaches_nothing() -> None:
    """A single death may be chance."""
    idle = Idle()
    idle.died(0.0, 10.0)
    assert idle.wish is None


def test_deaths_after_different_silences_are_chance() -> None:
    """A limit is the same each time, to the quarter that clocks which are looked at now and then need."""
    idle = Idle()
    idle.died(0.0, 10.0)
    idle.died(20.0, 10.0 * ALIKE - 0.1)
    assert idle.wish is None
    idle.died(30.0, 10.0)
    assert idle.wish is None
    idle.died(40.0, 9.0)
    assert idle.wish == pytest.approx(5.4)


def test_deaths_that_are_far_apart_are_chance() -> None:
    """Two tunnels on the way to work are no idle limit."""
    idle = Idle()
    idle.died(0.0, 10.0)
    idle.died(SPAN + 1.0, 10.0)
    assert idle.wish is None
    idle.died(SPAN + 20.0, 10.0)
    assert idle.wish == pytest.approx(6.0)


def test_death_in_the_midst_of_talk_is_not_for_silence() -> None:
    """What died within less than the least that can be wished for says nothing, and is not counted between others."""
    idle = Idle()
    idle.died(0.0, 10.0)
    idle.died(5.0, LEAST - 0.1)
    idle.died(6.0, 0.0)
    assert idle.wish is None
    idle.died(20.0, 10.0)
    assert idle.wish == pytest.approx(6.0)


def test_its_measures_have_sharp_ends() -> None:
    """A silence of just the least, two that are just alike, and the last moment of the span: all of them count."""
    idle = Idle()
    idle.died(0.0, LEAST / ALIKE)
    idle.died(SPAN, LEAST)
    assert idle.wish == LEAST


def test_a_limit_is_learned_of_by_two_deaths_and_not_by_the_last_of_them_again() -> None:
    """The third death after the same silence begins a new pair, which may show a smaller limit."""
    idle = Idle()
    for now in (0.0, 10.0):
        idle.died(now, 10.0)
    idle.died(20.0, 8.0)
    assert idle.wish == pytest.approx(6.0)
    idle.died(30.0, 8.0)
    assert idle.wish == pytest.approx(4.8)


def test_the_wish_only_shrinks() -> None:
    """A box with a smaller limit is learned of by two more deaths, and one with a larger does not undo it."""
    idle = Idle()
    for now, silent in ((0.0, 10.0), (10.0, 10.0), (20.0, 5.0), (30.0, 5.0)):
        idle.died(now, silent)
    assert idle.wish == pytest.approx(3.0)
    for now in (40.0, 50.0):
        idle.died(now, 18.0)
    assert idle.wish == pytest.approx(3.0)


def test_another_network_is_another_limit() -> None:
    """A change of network forgets a death before it, and the wish."""
    idle = Idle()
    for now in (0.0, 10.0, 20.0):
        if now == 10.0:
            idle.network_changed()
        idle.died(now, 10.0)
    wishes = [idle.wish]
    idle.network_changed()
    wishes.append(idle.wish)
    assert wishes == [pytest.approx(6.0), None]
