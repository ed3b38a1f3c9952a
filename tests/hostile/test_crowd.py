"""The trials of tools/endurance.py in small: nothing is lost, and nothing is left behind."""

from __future__ import annotations

import random

import pytest

from tools.endurance import TRIALS, Size, staged

SIZE = Size(clients=20, seconds=3.0)


@pytest.mark.parametrize("trial", TRIALS)
async def test_a_small_crowd(trial: str) -> None:
    """Clients that are cut, moved and stalled lose nothing, and the server gives back what they took."""
    async with staged() as stage:
        result = await TRIALS[trial](stage, SIZE, random.Random(7))
    assert result.whole, result.told
