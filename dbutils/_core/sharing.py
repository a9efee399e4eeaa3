"""Connections that several users have together, on top of the slots.

Each group of sharers holds one permit of the pool.  A share is to its group
what a permit is to the pool: when its holder is gone, it dies.
"""

from __future__ import annotations

from .._base.atomic import first, pop_last, remove
from .._base.hints import Any, Callable, ref
from .slots import Permit, end

__all__ = ["Group", "Share", "Sharing"]


class Share(Permit):
    """The right to use a connection together with others."""

    __slots__ = ("group", "tether")

    is_share = True

    group: Any
    tether: Any


class _Tether(ref):
    """The weak reference to a share, which leads to its group."""

    __slots__ = ("group",)

    # A reference that is weak, since the group holds this one.
    group: Callable[[], Any]


class Group:
    """One connection, and those who share it."""

    __slots__ = (
        "__weakref__", "_open", "is_detached", "permit", "record",
        "tethers")

    def __init__(self, permit: Permit, record: Any) -> None:
        self.permit = permit
        self.record = record
        self.tethers: dict[int, _Tether] = {}
        # Whether the pool was emptied while the connection was shared.
        self.is_detached = False
        # Popping the only item decides which end of the connection counts.
        self._open = [True]

    def count(self) -> int:
        """Return the number of sharers, and note it in the record."""
        number = self.record.shared = len(self.tethers)
        return number

    def first_share(self) -> Share | None:
        """Return the first share, if it is not about to end."""
        tether = next(iter(list(self.tethers.values())), None)
        return None if tether is None else tether()

    def is_first_to_close(self) -> bool:
        """Return whether the connection was not closed before."""
        return pop_last(self._open) is not None


class Sharing:
    """Which connections are shared, and which may be joined."""

    def __init__(self, is_shareable: Callable[[Any], bool]) -> None:
        self.is_shareable = is_shareable
        self.groups: dict[int, Group] = {}
        # The numbers of the slots that count as shared, also while their
        # connection is being opened or reset.
        self._counted: dict[int, None] = {}
        # Tethers whose shares have died or are about to end.
        self.lost: list[Any] = []

    @property
    def number(self) -> int:
        """How many slots count as shared."""
        return len(self._counted)

    @property
    def is_preparing(self) -> bool:
        """Whether a connection is being prepared for sharing."""
        return len(self._counted) > len(self.groups)

    def may_begin(self, slot: Any, limit: int) -> bool:
        """Count a slot as shared, and return True, unless there are enough."""
        self._counted[slot.number] = None
        if len(self._counted) <= limit:
            return True
        self.stop(slot)
        return False

    def stop(self, slot: Any) -> None:
        """Count a slot as shared no longer."""
        if self._counted:
            self._counted.pop(slot.number, None)

    def publish(self, permit: Permit, record: Any) -> Share:
        """Allow others to join; return the first share."""
        group = Group(permit, record)
        share = self._add(group)
        self.groups[id(group)] = group
        return share

    def _add(self, group: Group) -> Share:
        share = Share()
        share.group = group
        share.slot = group.permit.slot
        # The callback is written in C; see Slots.
        tether = share.tether = _Tether(share, self.lost.append)
        tether.group = ref(group)
        group.tethers[id(tether)] = tether
        group.count()
        return share

    def join(self) -> Share | None:
        """Return a share of the connection with the fewest sharers."""
        groups = list(self.groups.values())
        if len(groups) > 1:
            groups.sort(key=lambda group: len(group.tethers))
        for group in groups:
            if self.is_shareable(group.permit.slot.con):
                share = self._add(group)
                # the group becomes the last in turn, unless it ends just now
                if self.groups.pop(id(group), None) is not None:
                    self.groups[id(group)] = group
                    return share
        return None

    def end(self, share: Share) -> bool:
        """End a share; return whether this call did it.

        Note it first, in case that this is interrupted.
        """
        self.lost.append(share.tether)
        return end(share.checkout)

    def emptied(self) -> Group | None:
        """Return a group that lost a share, and has none left now."""
        while self.lost:
            tether = first(self.lost)
            group = _settled(tether)
            is_over = group is not None and self._is_over(group)
            remove(self.lost, tether)  # not before, if it is interrupted
            if is_over:
                return group
        return None

    def _is_over(self, group: Group) -> bool:
        """Return whether a group has no sharers, to the first who asks."""
        while not group.count():
            if group.is_detached:
                return True
            if self.groups.pop(id(group), None) is None:
                return False
            if not group.tethers:
                return True
            self.groups[id(group)] = group  # a sharer came at the last moment
        return False

    def detach_all(self) -> list[Group]:
        """End the sharing of all connections; return the groups."""
        groups = []
        for key in list(self.groups):
            group = self.groups.pop(key, None)
            if group is not None:
                group.is_detached = True
                self.stop(group.permit.slot)
                groups.append(group)
        return groups


def _settled(tether: Any) -> Group | None:
    """Forget a share that has ended; return its group."""
    link = getattr(tether, "group", None)
    group: Group | None = None if link is None else link()
    share = None if tether is None else tether()
    if group is not None and (share is None or not share.checkout):
        group.tethers.pop(id(tether), None)
    return group
