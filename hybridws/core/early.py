"""Packets that came before their turn, held until the gap before them is filled."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from hybridws.core.outbox import OVERHEAD

if TYPE_CHECKING:
    from hybridws.core.packets import Packet


class Early:
    """What has overtaken something, by number: POSTs of one client may (protocol §4)."""

    __slots__ = ("_order", "_packets", "_size")

    def __init__(self) -> None:
        """Start with nothing."""
        self._packets: dict[int, tuple[Packet, int]] = {}
        self._order: list[int] = []  # their numbers, a heap
        self._size = 0  # bytes, each packet counted with its overhead

    @property
    def empty(self) -> bool:
        """Whether nothing is held; not by `__len__`, since the compiler takes every object for true."""
        return not self._order

    def keep(self, number: int, packet: Packet, size: int, room: int) -> None:
        """Hold a packet; what finds no place in `room` bytes is sent again, since it is not acked."""
        if number not in self._packets and self._size + size + OVERHEAD <= room:
            self._packets[number] = (packet, size)
            heappush(self._order, number)
            self._size += size + OVERHEAD

    def has(self, number: int) -> bool:
        """Tell whether a packet of this number or a lower one is held."""
        return bool(self._order) and self._order[0] <= number

    def pop(self) -> tuple[int, Packet, int]:
        """Give the packet of the lowest number, and hold it no more."""
        number = heappop(self._order)
        packet, size = self._packets.pop(number)
        self._size -= size + OVERHEAD
        return number, packet, size
