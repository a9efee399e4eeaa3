"""The book-keeping of a pool: places, visits, and requests.

Nothing here opens, checks, cleans or closes a connection.  What has to be
done with one after an entry was made is noted as a chore, and is done by
the pool when it has released its lock.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import Any, Callable, NamedTuple

from ._errors import Figures
from ._slots import Slot, State
from ._waiters import Waiter, WaitQueue

__all__ = ["Chore", "Ledger", "Limits", "make_limits"]


class Limits(NamedTuple):
    """How much a pool may hold; the first two may be None for unlimited."""

    maxconnections: int | None = None
    maxcached: int | None = None
    maxshared: int = 0


def make_limits(
        mincached: int, maxcached: int | None, maxshared: int | None,
        maxconnections: int | None, can_share: bool = False) -> Limits:
    """Raise each limit to what the smaller ones demand."""
    if maxcached:
        maxcached = max(maxcached, mincached)
    if maxconnections:
        maxconnections = max(maxconnections, maxcached or 0, maxshared or 0)
    return Limits(
        maxconnections or None, maxcached or None,
        (can_share and maxshared) or 0)


class Chore(enum.Enum):
    """What remains to be done with the connection of a slot."""

    CLEAN = "make it ready for the next user"
    DISCARD = "close it and forget the slot"
    CLOSE = "close it, the slot is already forgotten"


class Ledger:
    """The slots of a pool, and those who wait for one.

    The methods whose names end in "locked" need the lock of the pool.  The
    others rely on single operations on a deque being atomic.
    """

    def __init__(
            self, limits: Limits, is_shareable: Callable[[Any], bool]) -> None:
        self.limits = limits
        self._is_shareable = is_shareable
        # The idle slots, the oldest first, and the chores: not guarded.
        self.idle: deque[Slot] = deque()
        self.chores: deque[tuple[Chore, Slot]] = deque()
        # Guarded by the lock: the shared slots; how many slots there are;
        # how many of them count as shared, with those that are being opened
        # or cleaned; the waiting requests.
        self.shared: list[Slot] = []
        self.total = 0
        self._sharing = 0
        self.waiters = WaitQueue()

    # Entries that need no lock.

    def pop_idle(self) -> Slot | None:
        """Take the oldest idle slot, if there is one."""
        try:
            slot = self.idle.popleft()
        except IndexError:
            return None
        slot.move(State.LEASED)
        return slot

    def push_idle(self, slot: Slot) -> None:
        """Let a slot be idle."""
        slot.move(State.IDLE)
        self.idle.append(slot)

    def trim(self) -> None:
        """Have the slot closed that came back last, if there are too many."""
        maxcached = self.limits.maxcached
        if maxcached is None or len(self.idle) <= maxcached:
            return
        try:
            slot = self.idle.pop()
        except IndexError:  # they were all taken meanwhile
            return
        slot.move(State.LEASED)
        self.chores.append((Chore.DISCARD, slot))

    def is_full(self) -> bool:
        """Tell whether no more slots may be idle."""
        maxcached = self.limits.maxcached
        return maxcached is not None and len(self.idle) >= maxcached

    # Entries that need the lock.

    def figures_locked(self) -> Figures:
        """Return the state of the pool."""
        return Figures(
            self.limits.maxconnections, self.total - len(self.idle),
            len(self.idle), len(self.waiters), self.limits.maxshared)

    def serve_locked(self) -> None:
        """Serve whom it is possible to serve, in the order of service.

        Requests for shared and for dedicated connections want different
        things: where one kind has to wait, the other may go on.
        """
        kinds = {False, True} if self.limits.maxshared else {False}
        for waiter in self.waiters.in_order():
            if not kinds:
                break
            if waiter.shareable in kinds and not self._serve_one_locked(
                    waiter):
                kinds.discard(waiter.shareable)
        self._refuse_locked()

    def _serve_one_locked(self, waiter: Waiter) -> bool:
        """Tell whether there was something to be had for a request."""
        slot = self._slot_for_locked(waiter.shareable)
        if slot is None:
            return False
        self.waiters.drop(waiter)
        if not waiter.grant(slot):
            self._take_back_locked(slot)
        return True

    def _refuse_locked(self) -> None:
        """Turn away who does not want to wait.

        A shared connection that is just being opened or cleaned is waited
        for.
        """
        preparing = self._sharing > len(self.shared)
        for waiter in self.waiters.in_order():
            if not (waiter.patient or (waiter.shareable and preparing)):
                self.waiters.drop(waiter)
                waiter.refuse(self.figures_locked())

    def _slot_for_locked(self, shareable: bool) -> Slot | None:
        """Return a slot to be made ready, or None if none is to be had."""
        if not shareable:
            return self._free_slot_locked()
        if self._sharing < self.limits.maxshared:
            slot = self._free_slot_locked()
            if slot is not None:
                self._sharing += 1
                slot.for_sharing = True
                return slot
        return self._joint_slot_locked()

    def _free_slot_locked(self) -> Slot | None:
        slot = self.pop_idle()
        if slot is not None:
            return slot
        limit = self.limits.maxconnections
        if limit is None or self.total < limit:
            self.total += 1
            return Slot()
        return None

    def _joint_slot_locked(self) -> Slot | None:
        """Return the least shared slot, which becomes the last in turn."""
        self.shared.sort(key=self._rank)
        if not self.shared or not self._is_shareable(self.shared[0].con):
            return None
        slot = self.shared.pop(0)
        self.shared.append(slot)
        slot.shared.share()
        return slot

    def _rank(self, slot: Slot) -> tuple[bool, int]:
        return not self._is_shareable(slot.con), slot.shared.shared

    def publish_locked(self, slot: Slot, record: Any) -> None:
        """Let others share a slot that was made ready for that."""
        slot.share(record)
        self.shared.append(slot)

    def leave_locked(self, waiter: Waiter) -> None:
        """Let a request go whose wait was interrupted."""
        if waiter.give_up():
            self.waiters.drop(waiter)
        elif waiter.slot is not None:
            self._take_back_locked(waiter.slot)

    def _take_back_locked(self, slot: Slot) -> None:
        """Put a slot back that was granted to somebody who had gone."""
        if slot.shared is not None:
            self.depart_locked(slot)
        elif slot.con is None:
            slot.move(State.CLOSED)
            self.forget_locked(slot)
        else:
            self._stop_sharing_locked(slot)
            slot.move(State.IDLE)
            self.idle.appendleft(slot)

    def return_locked(self, slot: Slot) -> None:
        """Let a clean slot be idle, unless enough others are."""
        self._stop_sharing_locked(slot)
        self.push_idle(slot)
        self.trim()

    def stay_locked(self, slot: Slot) -> None:
        """Change nothing; requests are served after each entry."""

    def adopt_locked(self, slot: Slot) -> None:
        """Take in a slot whose connection was opened by somebody else."""
        self.total += 1
        slot.move(State.LEASED)
        self.return_locked(slot)

    def expel_locked(self) -> Any:
        """Return the oldest idle connection, which does not count now."""
        slot = self.pop_idle()
        if slot is None:
            return None
        slot.move(State.CLOSED)
        self.forget_locked(slot)
        return slot.con

    def depart_locked(self, slot: Slot) -> None:
        """Count down who shares a connection; the last one frees it."""
        slot.shared.unshare()
        if slot.shared.shared:
            return
        slot.shared = None
        if slot.state is State.CLOSED:  # the pool was closed meanwhile
            self.chores.append((Chore.CLOSE, slot))
        else:
            self.shared.remove(slot)
            self.chores.append((Chore.CLEAN, slot))

    def clear_locked(self) -> None:
        """Have all idle and shared slots closed."""
        for slot in iter(self.pop_idle, None):
            self.chores.append((Chore.DISCARD, slot))
        while self.shared:
            slot = self.shared.pop(0)
            slot.move(State.CLOSED)  # its leases may still use it
            self.chores.append((Chore.DISCARD, slot))

    def forget_locked(self, slot: Slot) -> None:
        """Count a slot no more whose connection was closed."""
        self._stop_sharing_locked(slot)
        self.total -= 1

    def _stop_sharing_locked(self, slot: Slot) -> None:
        if slot.for_sharing:
            slot.for_sharing = False
            self._sharing -= 1
