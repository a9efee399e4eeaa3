"""Connections that several users have together, on top of the slots.

Each share refers to the permit of its connection, which is alive as long as
one of them is: what was said about permits holds for shares, too.  The shares
are counted by weak references, whose callback is written in C.
"""

from __future__ import annotations

from bisect import insort
from itertools import count

from .._base.atomic import Count, alive, remove
from .._base.hints import Any, Callable, Tuple, ref
from .slots import Permit, Slot
from .uses import SharedUses

__all__ = ["Group", "Share", "Sharing"]

# How many entries of the order are out of date at most, for each connection
# and besides.
_OLD_EACH, _OLD = 4, 64

# Where a connection stands: the number of its sharers, its turn, its slot.
_Place = Tuple[int, int, int]


class Share(Permit):
    """The right to use a connection together with others."""

    __slots__ = ("link", "permit")

    is_share = True

    # That of the connection; None when the share has ended.
    permit: Any
    # The reference by which it is counted.
    link: Any

    def __init__(self, permit: Any, links: set[Any]) -> None:
        self.checkout = self.taken = None
        self.permit = permit
        self.slot = permit.slot
        link = self.link = ref(self, links.discard)
        links.add(link)

    @property
    def is_alone(self) -> bool:
        """Whether there are no other sharers."""
        permit = self.permit
        return permit is None or len(permit.group.links) == 1

    @property
    def record(self) -> Any:
        """The record of those who share the connection."""
        permit = self.permit
        if permit is not None:
            permit.group.count()
        return None if permit is None else permit.group.record


class Group:
    """Those who share a connection; it stays with the permit."""

    __slots__ = ("attached", "links", "open", "record", "turn")

    def __init__(self) -> None:
        # Weak references to the shares.
        self.links: set[Any] = set()
        # Popping the only item decides which end of a share is the last one,
        # and whether its connection comes back or has left the pool.
        self.open: list[bool] = []
        self.attached: list[bool] = []
        self.record: Any = None
        # When it was shared for the last time, compared with others.
        self.turn = 0

    @property
    def may_be_joined(self) -> bool:
        """Whether the connection is shared, and belongs to the pool."""
        return bool(self.open and self.attached)

    def shares(self) -> list[Share]:
        """Return the shares that have not ended."""
        return alive(list(self.links))

    def count(self) -> int:
        """Return the number of sharers, and note it in the record."""
        number = self.record.shared = len(self.links)
        return number


class Sharing:
    """Which connections are shared, and which may be joined."""

    def __init__(self, is_shareable: Callable[[Any], bool]) -> None:
        self.is_shareable = is_shareable
        # The slots that count as shared by number, also while their
        # connection is being opened or reset.
        self.slots: dict[int, Slot] = {}
        self._turns = count(1)
        # How many shares there were, and how many of them have ended.
        self.lent, self.ended = SharedUses(), Count()
        # The places of the connections, sorted.  Some of them are out of date.
        # It is empty until it is needed.
        self._order: list[_Place] = []

    def permits(self) -> list[Permit]:
        """Return the permits of what is shared, the next in turn first."""
        permits = [
            permit for permit in alive(list(self.slots.values()))
            if permit.group is not None and permit.group.attached]
        permits.sort(key=_turn)
        return permits

    def shares(self) -> list[Share]:
        """Return all shares."""
        return [share for permit in self.permits()
                for share in permit.group.shares()]

    @property
    def is_preparing(self) -> bool:
        """Whether a connection is being prepared for sharing."""
        return len(self.slots) > len(self.permits())

    def may_begin(self, slot: Any, limit: int) -> bool:
        """Count a slot as shared, and return True, unless there are enough."""
        self.slots[slot.number] = slot
        if len(self.slots) <= limit:
            return True
        self.stop(slot)
        return False

    def stop(self, slot: Any) -> None:
        """Count a slot as shared no longer."""
        if self.slots:
            self.slots.pop(slot.number, None)

    def publish(self, permit: Permit, record: Any) -> Share:
        """Allow others to join; return the first share."""
        group = permit.group
        if group is None:
            group = permit.group = Group()
        share = Share(permit, group.links)
        share.uses = self.lent
        group.record = record
        group.turn = next(self._turns)
        group.attached.append(True)
        group.open.append(True)
        if self._order:
            self._note(permit, group)
        else:
            record.shared = 1
        return share

    def _note(self, permit: Permit, group: Group) -> None:
        """Note that the number of the sharers of a connection has changed."""
        number = group.record.shared = len(group.links)
        order = self._order
        if not order:
            return
        try:
            insort(order, (number, group.turn, permit.slot.number))
        except IndexError:  # another thread has shortened it, without the GIL
            self._order = []
        if len(order) > _OLD_EACH * len(self.slots) + _OLD:
            self._order = []

    def join(self) -> Share | None:
        """Return a share of the connection with the fewest sharers.

        It is valid if the connection may be joined after that.
        """
        share = self._join_first(self._order)
        if share is None:  # now with those that were missed
            order = self._order = sorted(map(_place, self.permits()))
            share = self._join_first(order)
        return share

    def _join_first(self, order: list[_Place]) -> Share | None:
        at = 0
        share = None
        while share is None and at < len(order):
            for place in order[at:at + 1]:
                permit: Permit = self._permit_at(place)  # or None
                con = None if permit is None else permit.slot.con
                if con is None:
                    remove(order, place)
                elif self.is_shareable(con):
                    share = Share(permit, permit.group.links)
                    share.uses = self.lent
                    permit.group.turn = next(self._turns)
                    self._note(permit, permit.group)
                else:
                    at += 1
        return share

    def _permit_at(self, place: _Place) -> Any:
        """Return the permit of a connection, None if it stands elsewhere."""
        slot = self.slots.get(place[2])
        permit = None if slot is None else slot()
        if permit is None or permit.group is None:
            return None
        is_there = permit.group.may_be_joined and _place(permit) == place
        return permit if is_there else None

    def leave(self, share: Share) -> Permit | None:
        """End a share; return the permit if it was the last one."""
        permit: Permit | None
        permit, share.permit = share.permit, None
        if permit is None:  # it has ended already
            return None
        group = permit.group
        group.links.discard(share.link)
        if not group.links and _is_over(group):
            group.record.shared = 0
            return permit
        self._note(permit, group)
        return None


def _is_over(group: Group) -> bool:
    """Return whether a group has no sharers, to the first who asks."""
    is_over = False
    try:
        while not (group.links or is_over):
            group.open.pop()
            is_over = not group.links
            if not is_over:  # another one came at the last moment
                group.open.append(True)
    except IndexError:
        pass  # another thread was faster
    return is_over


def _turn(permit: Permit) -> int:
    turn: int = permit.group.turn
    return turn


def _place(permit: Permit) -> _Place:
    group = permit.group
    return len(group.links), group.turn, permit.slot.number
