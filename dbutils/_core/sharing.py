"""The slots of a pool whose connections several users share."""

from __future__ import annotations

from bisect import insort
from contextlib import suppress
from itertools import chain, count

from .._base.hints import Any, Callable, Iterator
from .slots import Checkout, Permit, Slot, end

__all__ = ["Sharing"]

# How many hints there may be: a number, and another one for each slot.
_MANY = 16
_TOO_MANY = 4


class Sharing:
    """Which connections are shared, and which may be joined."""

    def __init__(self, is_shareable: Callable[[Any], bool]) -> None:
        self.is_shareable = is_shareable
        # The slots, with the permit that the sharers have together; and those
        # that count as shared, also while their connection is being opened or
        # reset.
        self.slots: dict[Slot, Permit] = {}
        self._counted: dict[int, Slot] = {}
        # The same slots by the number of their sharers.  These are only
        # hints: an outdated one is dropped when it is its turn, or with all
        # others when there are too many of them.
        self._hints: dict[int, list[tuple[int, Slot]]] = {}
        self._number_of_hints = 0
        # Counts the shares, to find the slot that got none for longest.
        self._turns = count()

    @property
    def number(self) -> int:
        """How many slots count as shared."""
        return len(self._counted)

    @property
    def is_preparing(self) -> bool:
        """Whether a connection is being prepared for sharing."""
        return len(self._counted) > len(self.slots)

    def may_begin(self, slot: Slot, limit: int) -> bool:
        """Count a slot as shared, and return True, unless there are enough."""
        first = min(len(self._counted), limit)  # most likely it is free
        for number in chain(range(first, limit), range(first)):
            slot.shared_as = number  # before it counts, for stop()
            if self._counted.setdefault(number, slot) is slot:
                return True
        return False

    def stop(self, slot: Slot) -> None:
        """Count a slot as shared no longer."""
        slot.record = None
        if self._counted.get(slot.shared_as) is slot:
            self._counted.pop(slot.shared_as, None)

    def publish(self, permit: Permit, checkout: Checkout) -> Permit:
        """Allow others to join; return the first share."""
        slot = permit.slot
        share = slot.join(checkout)
        slot.turn = next(self._turns)
        self.slots[slot] = permit
        self._hint(slot, 1)
        return share

    def join(self, checkout: Checkout) -> Permit | None:
        """Return a share of the connection with the fewest sharers."""
        share = self._join(checkout)
        if share is None and self.slots:
            self._hint_anew()
            share = self._join(checkout)
        return share

    def _join(self, checkout: Checkout) -> Permit | None:
        busy = []
        share = None
        for number, slot in self._in_order():
            if self.is_shareable(slot.con):
                # a checkout of its own, which ends if another one is faster
                share = slot.join(checkout.copy())
                slot.turn = next(self._turns)
                self._hint(slot, number + 1)
                permit = self.slots.pop(slot, None)
                if permit is not None:
                    self.slots[slot] = permit  # becomes the last in turn
                    break
                end(share.checkout)
                share = None
            else:
                busy.append((number, slot))
        for number, slot in busy:
            self._hint(slot, number)
        return share

    def _in_order(self) -> Iterator[tuple[int, Slot]]:
        """Take out hints, those with the smallest numbers first."""
        for number in sorted(self._hints.copy()):
            for turn, slot in _emptied(self._hints.get(number)):
                if turn == slot.turn and slot in self.slots and (
                        len(slot.shares()) == number):
                    yield number, slot

    def _hint(self, slot: Slot, number: int) -> None:
        """Note how many sharers a connection has now."""
        insort(self._hints.setdefault(number, []), (slot.turn, slot))
        self._number_of_hints += 1
        if self._number_of_hints > _MANY + _TOO_MANY * len(self.slots):
            self._hint_anew()

    def _hint_anew(self) -> None:
        """Drop outdated hints, and replace lost ones."""
        hints: dict[int, list[tuple[int, Slot]]] = {}
        for slot in self.slots.copy():
            insort(
                hints.setdefault(len(slot.shares()), []), (slot.turn, slot))
        self._hints = hints
        self._number_of_hints = len(self.slots)

    def last_out(self, slot: Slot) -> Permit | None:
        """Return the permit of the sharers, if all of them have gone."""
        while not slot.shares():
            permit = self.slots.pop(slot, None)
            if permit is None or not slot.shares():
                return permit
            self.slots[slot] = permit  # a sharer came at the last moment
        if slot in self.slots:
            self._hint(slot, len(slot.shares()))
        return None


def _emptied(hints: Any) -> Iterator[Any]:
    """Take out all hints of a number, one by one."""
    while hints:
        with suppress(IndexError):  # another thread was faster
            yield hints.pop(0)
