"""The order in which idle connections are handed out, if it is changed.

A plain deque does the same as OldestFirst, and is a bit faster.  In all of
them the connection that came last is the last one.
"""

from __future__ import annotations

import threading
from collections import deque
from functools import lru_cache
from weakref import ref

from .._base.hints import Any, Deque
from .slots import Permit

__all__ = ["ORDERS", "OldestFirst"]


class OldestFirst(Deque[Permit]):
    """The connection that was idle for longest is handed out next."""

    __slots__ = ()


class LatestFirst(Deque[Permit]):
    """The connection that was in use last is handed out next."""

    __slots__ = ()

    popleft = deque.pop
    pop = deque.popleft
    appendleft = deque.append


_MANY = 100


@lru_cache(maxsize=None)
def _here() -> Any:
    """Return what keeps, in each thread, the slots that it had last.

    It is made when it is first needed, since gevent may replace its class.
    """
    return threading.local()


def _slots() -> dict[int, Any]:
    """Return the slots that this thread had last, by where they are idle."""
    here = _here()
    slots: dict[int, Any] = getattr(here, "slots", {})
    if len(slots) > _MANY:  # of which most are of pools that have gone
        slots = {}
    here.slots = slots
    return slots


def _take_own(idle: Any, slots: dict[int, Any]) -> Any:
    """Take out what this thread had last, if that is idle."""
    link = slots.get(id(idle))
    slot = None if link is None else link()
    permit = None if slot is None else slot.permit
    try:
        idle.remove(permit)
    except ValueError:
        permit = None
    return permit


def _own_first(order: Any) -> Any:
    """Return an order in which each thread first gets what it had last."""
    take_next = order.popleft  # the order can be changed meanwhile

    class OwnFirst(order):
        __slots__ = ()

        def popleft(self) -> Any:
            slots = _slots()
            permit = _take_own(self, slots)
            if permit is None:
                permit = take_next(self)
            slots[id(self)] = ref(permit.slot)
            return permit
    return OwnFirst


# By whether each thread first gets its own, and then the latest or oldest.
ORDERS: dict[tuple[bool, bool], type[deque[Permit]]] = {
    (False, False): OldestFirst, (False, True): LatestFirst,
    (True, False): _own_first(OldestFirst),
    (True, True): _own_first(LatestFirst)}
