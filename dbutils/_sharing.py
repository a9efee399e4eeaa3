"""The places of a pool whose connections several users have together."""

from __future__ import annotations

from typing import Any, Callable

from ._slots import Right, Slot, Visit

__all__ = ["Sharing"]


class Sharing:
    """Which connections are shared, and who may join."""

    def __init__(self, is_shareable: Callable[[Any], bool]) -> None:
        self._is_shareable = is_shareable
        # The places, with the right that their users have together; and
        # those that count as shared, also while their connection is being
        # opened or cleaned.
        self.slots: dict[Slot, Right] = {}
        self._counted: dict[int, Slot] = {}

    @property
    def number(self) -> int:
        """How many places count as shared."""
        return len(self._counted)

    @property
    def is_preparing(self) -> bool:
        """Whether a connection is being made ready to be shared."""
        return len(self._counted) > len(self.slots)

    def may_begin(self, slot: Slot, limit: int) -> bool:
        """Count a place as shared, if there are not enough of them."""
        return any(
            self._counted.setdefault(number, slot) is slot
            for number in range(limit))

    def stop(self, slot: Slot) -> None:
        """Do not count a place as shared any more."""
        if not self._counted:
            return
        slot.record = None
        for number, other in self._counted.copy().items():
            if other is slot:
                self._counted.pop(number, None)

    def publish(self, right: Right, visit: Visit) -> Right:
        """Let others join; return the first share."""
        share = right.slot.join(visit)
        self.slots[right.slot] = right
        return share

    def join(self, visit: Visit) -> Right | None:
        """Return a share of the connection that the fewest share."""
        slots = [slot for slot in self.slots.copy()
                 if self._is_shareable(slot.con)]
        for slot in sorted(slots, key=lambda slot: len(slot.shares())):
            # a visit of its own, which ends if somebody else is faster
            share = slot.join(visit.copy())
            right = self.slots.pop(slot, None)
            if right is not None:
                self.slots[slot] = right  # becomes the last in turn
                return share
        return None

    def last_out(self, slot: Slot) -> Right | None:
        """Return the right that the sharers had, if all of them have gone."""
        while not slot.shares():
            right = self.slots.pop(slot, None)
            if right is None or not slot.shares():
                return right
            self.slots[slot] = right  # somebody came at the last moment
        return None
