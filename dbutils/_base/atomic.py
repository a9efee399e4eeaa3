"""Steps that nothing can divide, with and without the GIL.

A thread that comes too late gets nothing, which is no error.  The functions
do not use contextlib.suppress(), which takes ten times as long as all the
rest.  They never return from within a handler: an exception thrown into the
thread at that very moment would confuse Python before 3.11.
"""

# These are single steps on a free-threaded Python 3.13 as well, as long as
# comparing and hashing the items runs no Python code:
#   deque: append, pop, remove, clear, rotate, [i], count, "in", len()
#   list: append, pop, remove, del [i], [i], list() of it, sorted()
#   dict: [key], get, pop, popitem, setdefault, update, copy(), list() of it
#     and of its views; the same for the __dict__ of an object
#   set: add, discard, pop, update, copy(), list()
#   del of an attribute in a __dict__; Lock.acquire(), Lock.release();
#   count.__next__; SimpleQueue; ref(), its call and its callback in C
# These are no single steps:
#   [:] and copy() of a list: before Python 3.12 they crash if the collector,
#     which can run in them, lets others remove items
#   copying or iterating a deque; iterating a dict or a set, also by tuple(),
#     max(), sum() and any(); iterating a WeakSet, not even with the GIL
#   del of an attribute in __slots__: several threads succeed
#   next() of any other iterator; of a generator or a cycle it even crashes
# An object that is dropped by another thread than the one that has made it
# dies as soon as that one runs again.  Therefore no thread waits without a
# time limit for the death of what it has made itself.

from __future__ import annotations

import sys
from itertools import count

from .hints import Any, Callable, Iterable, List, deque

__all__ = [
    "Count", "Sum", "Total", "alive", "first", "pop", "pop_last", "remove",
    "snapshot"]


def first(queue: deque[Any] | list[Any]) -> Any:
    """Return the first item without removing it, or None."""
    item = None
    try:  # noqa: SIM105 - contextlib.suppress() is slow
        item = queue[0]
    except IndexError:
        pass  # it is empty
    return item


def pop(queue: deque[Any], last: bool = False) -> Any:
    """Remove and return the first or the last item, or return None."""
    item = None
    try:
        if queue:
            item = queue.pop() if last else queue.popleft()
    except IndexError:
        pass  # another thread was faster
    return item


def pop_last(items: list[Any]) -> Any:
    """Remove and return the last item, or return None."""
    item = None
    try:  # noqa: SIM105 - contextlib.suppress() is slow
        item = items.pop()
    except IndexError:
        pass  # it is empty
    return item


def remove(queue: deque[Any] | list[Any], item: Any) -> bool:
    """Remove an item.  Return whether it was still in the queue."""
    is_there = True
    try:
        queue.remove(item)
    except ValueError:
        is_there = False
    return is_there


class _Items(List[Any]):
    """A list that takes each item with which it is compared."""

    __slots__ = ()
    __hash__ = None
    __eq__ = list.append  # type: ignore[assignment]


def _taken_by_comparing(queue: deque[Any]) -> list[Any]:
    """Return the items of a queue as a list, without the GIL.

    An iterator of a deque fails when another thread changes the deque.  But
    the deque is locked while it compares all items with an object.  The lock
    can only be lost if another thread keeps us waiting within that.
    """
    while True:
        items = _Items()
        try:
            queue.count(items)
            return list(items)
        except RuntimeError:
            pass  # it was changed meanwhile


_has_gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", bool)

# Returns the items of a queue as a list, as they are at one moment.
snapshot: Callable[[deque[Any]], list[Any]] = (
    list if _has_gil is bool or _has_gil() else _taken_by_comparing)


def alive(links: Iterable[Any]) -> list[Any]:
    """Return the objects of weak references, without the dead ones."""
    things = [link() for link in links]
    return [thing for thing in things if thing is not None]


class Count:
    """A number that step() raises; both are single steps, written in C."""

    def __init__(self) -> None:
        self._numbers = count()
        self.step = self._numbers.__next__

    def read(self) -> int:
        """Return the number of calls of step()."""
        return int(repr(self._numbers)[len("count("):-1])


class Total:
    """The number of values, their sum, and the greatest."""

    # The total after the next value; the first thread that sets it has added
    # its value, which is one step, since it is an item of __dict__.
    successor: Any = None

    def __init__(
            self, number: int = 0, total: float = 0.0,
            greatest: float = 0.0) -> None:
        self.number = number
        self.total = total
        self.greatest = greatest


class Sum:
    """The total of values that several threads add; none is lost."""

    def __init__(self) -> None:
        # A recent total, whose successors lead to the last one.
        self._recent = Total()

    def read(self) -> Total:
        """Return the total of all values."""
        last = self._recent
        while last.successor is not None:
            last = last.successor
        return last

    def add(self, value: float) -> None:
        """Add a value."""
        while True:
            last = self.read()
            new = Total(
                last.number + 1, last.total + value,
                max(last.greatest, value))
            if last.__dict__.setdefault("successor", new) is new:
                self._recent = new
                return
