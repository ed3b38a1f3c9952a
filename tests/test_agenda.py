"""What is done at the end of a turn of the loop: all of it, in order, and not so much at once that others wait."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridws.agenda import AT_ONCE, Agenda
from hybridws.broadcast import publish
from hybridws.core.link import Link
from hybridws.core.sockjs import SOCKJS
from hybridws.exchange import Nobody
from hybridws.options import Options
from hybridws.session import Session
from hybridws.testing.clock import scripted_loop
from hybridws.transports.websocket import KINDS, Carrier
from tests.memory import Clock, asked

if TYPE_CHECKING:
    from collections.abc import Callable

    from hybridws.exchange import Listener


class Asked:
    """Calls that note when they are made: at the end of which turn, and in which order."""

    def __init__(self) -> None:
        """Start with nothing asked."""
        self.agenda = Agenda()
        self.done: list[list[int]] = []
        """What was called, by turn."""
        self._calls: dict[int, Callable[[], None]] = {}

    def ask(self, *numbers: int) -> None:
        """Ask for calls with these numbers; one number is always the same call."""
        for number in numbers:
            self.agenda.soon(self._calls.setdefault(number, partial(self._note, number)))

    def _note(self, number: int) -> None:
        self.done[-1].append(number)

    async def turn(self) -> None:
        """Let one turn of the loop end."""
        self.done.append([])
        await asyncio.sleep(0)


async def test_all_that_a_turn_asked_for_is_done_when_it_ends() -> None:
    """In the order in which it was asked for."""
    asked = Asked()
    asked.ask(*range(AT_ONCE))
    await asked.turn()
    assert asked.done == [list(range(AT_ONCE))]


async def test_of_very_much_a_part_is_done_each_turn() -> None:
    """The order stays, nothing is done twice, and whatever else is ready has its turn in between."""
    asked = Asked()
    asked.ask(*range(3 * AT_ONCE + 1))
    for _ in range(5):
        await asked.turn()
    assert [len(some) for some in asked.done] == [AT_ONCE, AT_ONCE, AT_ONCE, 1, 0]
    assert list(chain.from_iterable(asked.done)) == list(range(3 * AT_ONCE + 1))


async def test_what_a_turn_asks_for_does_not_wait_for_what_is_left_of_others() -> None:
    """Also not if it is left itself: then it is done now, and once more in its place, where it finds nothing to do."""
    asked = Asked()
    asked.ask(*range(4 * AT_ONCE))
    await asked.turn()
    last = 4 * AT_ONCE - 1
    asked.ask(-1, last)
    await asked.turn()
    assert asked.done[-1] == [-1, last, *range(AT_ONCE, 2 * AT_ONCE)]


async def test_what_is_left_is_not_held_up_by_what_is_new() -> None:
    """However much each turn asks for."""
    asked = Asked()
    asked.ask(*range(3 * AT_ONCE))
    for turn in range(3):
        await asked.turn()
        asked.ask(*range(-(turn + 1) * 2 * AT_ONCE, -turn * 2 * AT_ONCE))
    assert set(range(3 * AT_ONCE)) <= set(chain.from_iterable(asked.done))


@pytest.mark.logs_errors
async def test_one_that_fails_hurts_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """They belong to different sessions; the log says which it was."""

    def fail() -> None:
        raise LookupError("nothing is here")

    asked = Asked()
    asked.agenda.soon(fail)
    asked.ask(1)
    await asked.turn()
    assert asked.done == [[1]]
    (record,) = caplog.records
    assert "fail" in record.getMessage()


@given(st.lists(st.integers(0, 3 * AT_ONCE), max_size=6))
def test_whatever_is_asked_for_is_done(sizes: list[int]) -> None:
    """Every call that a turn asks for is made after that, the first of them at once, and no turn makes too many."""

    async def live() -> None:
        asked = Asked()
        for size in sizes:
            asked.ask(*range(size))
            await asked.turn()
            assert set(range(min(size, AT_ONCE))) <= set(asked.done[-1])
        begun = len(asked.done)
        asked.ask(*range(3 * AT_ONCE))
        for _ in range(8):
            await asked.turn()
        assert set(chain.from_iterable(asked.done[begun:])) == set(range(3 * AT_ONCE))
        assert max(map(len, asked.done)) <= 2 * AT_ONCE
        assert asked.done[-1] == []

    with asyncio.Runner(loop_factory=scripted_loop) as runner:
        runner.run(live())


def test_timers_that_are_far_off_are_shared() -> None:
    """What is due in ten minutes, and is taken back soon, leaves a bounded number of timers behind."""
    due: list[float] = []

    def never() -> None:
        due.append(0.0)

    async def live() -> None:
        agenda, loop = Agenda(), asyncio.get_running_loop()
        begun = loop.time()
        slots = set()
        for _ in range(20_000):
            slot = agenda.later(600.0, never)
            agenda.drop(slot, never)
            slots.add(slot)
            await asyncio.sleep(0.01)
        assert len(slots) <= 1000 * 200 / 600 + 1
        agenda.later(600.0, lambda: due.append(loop.time() - begun))
        begun = loop.time()
        await asyncio.sleep(610.0)

    with asyncio.Runner(loop_factory=scripted_loop) as runner:
        runner.run(live())
    assert len(due) == 1
    assert 600.0 <= due[0] <= 600.7


class Notes:
    """A WebSocket in memory, which notes what leaves in one piece."""

    def __init__(self) -> None:
        """Start with nothing said."""
        self.listener: Listener = Nobody()
        self.subprotocol: str | None = None
        self.full = False
        self.left: list[list[bytes]] = []
        self._out: list[bytes] = []

    def send(self, opcode: int, payload: bytes) -> None:  # noqa: ARG002 - texts are all there is
        """Keep it until `flush`."""
        self._out.append(payload)

    def flush(self) -> None:
        """Let it leave."""
        if self._out:
            self.left.append(self._out)
            self._out = []

    def close(self, code: int, reason: str, patience: float) -> None:
        """Do nothing."""

    def abort(self) -> None:
        """Do nothing."""

    def pause(self) -> None:
        """Do nothing."""

    def resume(self) -> None:
        """Do nothing."""


async def test_an_answer_overtakes_a_broadcast_to_others() -> None:
    """It leaves when its turn ends, behind the broadcast's words to the same client, and each is told all once."""
    agenda = Agenda()
    sockets, sessions = [], []
    for number in range(3 * AT_ONCE):
        link = Link(SOCKJS, Options())
        session = Session(str(number), link, asked(), Clock(), agenda=agenda)
        socket = Notes()
        Carrier(socket, session, KINDS["sockjs"], trial=False).begin()
        sockets.append(socket)
        sessions.append(session)
    for _ in range(3):
        await asyncio.sleep(0)
    publish(sessions, "news")
    await asyncio.sleep(0)
    assert [len(socket.left) for socket in sockets] == [1] * AT_ONCE + [0] * 2 * AT_ONCE
    sessions[-1].send_nowait("answer")
    await asyncio.sleep(0)
    assert [len(socket.left) for socket in sockets] == [1] * 2 * AT_ONCE + [0] * (AT_ONCE - 1) + [1]
    for _ in range(3):
        await asyncio.sleep(0)
    assert [socket.left for socket in sockets[:-1]] == [[[b'a["news"]']]] * (3 * AT_ONCE - 1)
    assert sockets[-1].left == [[b'a["news","answer"]']]
