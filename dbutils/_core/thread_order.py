"""The orders in which idle connections are handed out.

In all of them the connection that came last is the last one.
"""

from __future__ import annotations

import threading
from collections import deque
from functools import lru_cache
from weakref import ref

from .._base.hints import Any, Deque
from .slots import OldestFirst, Permit

__all__ = ["order_of"]


class LatestFirst(Deque[Permit]):
    """The connection that was in use last is handed out next."""

    __slots__ = ()

    popleft = deque.pop
    pop = deque.popleft
    appendleft = deque.append


_MANY = 100


@lru_cache(maxsize=None)
def _here() -> Any:
    """Return what keeps, in each thread, the permits that it had last.

    It is made when it is first needed, since gevent may replace its class.
    """
    return threading.local()


def _permits() -> dict[int, Any]:
    """Return the permits that this thread had last, by where they are idle."""
    here = _here()
    permits: dict[int, Any] = getattr(here, "permits", {})
    if len(permits) > _MANY:  # of which most are of pools that have gone
        permits = {}
    here.permits = permits
    return permits


def _take_own(idle: Any, permits: dict[int, Any]) -> Any:
    """Take out what this thread had last, if that is idle."""
    link = permits.get(id(idle))
    permit = None if link is None else link()
    try:
        idle.remove(permit)
    except ValueError:
        permit = None
    return permit


def _own_first(order: Any) -> Any:
    """Return an order in which each thread first gets what it had last."""
    take_next = order.popleft  # the order can be changed meanwhile

    class OwnFirst(order):  # type: ignore[misc]  # a class that is a value
        __slots__ = ()

        def popleft(self) -> Any:
            permits = _permits()
            permit = _take_own(self, permits)
            if permit is None:
                permit = take_next(self)
            permits[id(self)] = ref(permit)
            return permit
    return OwnFirst


# By whether each thread first gets its own, and then the latest or oldest.
_ORDERS: dict[tuple[bool, bool], type[deque[Permit]]] = {
    (False, False): OldestFirst, (False, True): LatestFirst,
    (True, False): _own_first(OldestFirst),
    (True, True): _own_first(LatestFirst)}
_WISHES = {order: wishes for wishes, order in _ORDERS.items()}


def order_of(
        order: type[deque[Permit]], own: bool | None,
        latest: bool | None) -> type[deque[Permit]]:
    """Return an order like another one, with other wishes.

    own: whether a thread first gets the connection that it had last
    latest: whether the latest one comes first, instead of the oldest

    None means as before.
    """
    before_own, before_latest = _WISHES[order]
    return _ORDERS[
        before_own if own is None else own,
        before_latest if latest is None else latest]
