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
#     and of its views; the same for the __dict__ of an object that has one
#   set: add, discard, pop, update, copy(), list()
#   del of an attribute in a __dict__; Lock.acquire(), Lock.release();
#   count.__next__; SimpleQueue; ref(), its call and its callback in C
# These are no single steps:
#   [:] and copy() of a list: before Python 3.12 they crash if the collector,
#     which can run in them, lets others remove items
#   copying or iterating a deque; iterating a dict or a set, also by tuple(),
#     max(), sum() and any(); iterating a WeakSet, not even with the GIL
#   del of an attribute in __slots__: several threads succeed
#   the first use of the __dict__ of an object: before Python 3.12 a collection
#     can begin in it, and another thread then makes a dict of its own
#   next() of any other iterator; of a generator or a cycle it even crashes
# An object that is dropped by another thread than the one that has made it
# dies as soon as that one runs again.  Therefore no thread waits without a
# time limit for the death of what it has made itself.

from __future__ import annotations

import sys
from itertools import count

from .hints import Any, Callable, Iterable, List, deque

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from typing import TypeVar

    _Own = TypeVar("_Own", bound="Count")
    _IntCount = count[int]
else:
    _IntCount = count  # which takes no parameter in Python 3.8

__all__ = [
    "Count", "Link", "Sum", "Total", "alive", "first", "loaded", "pop",
    "pop_last", "remove", "snapshot"]


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


def loaded(name: str) -> Any:
    """Return a module, None if it was not loaded.

    Before Python 3.14, get() locks a dict without the GIL.  A child that was
    forked while another thread did that would wait for the lock for ever.
    """
    modules, module = sys.modules, None
    try:
        if name in modules:  # an error would take longer
            module = modules[name]
    except KeyError:
        pass  # another thread has just removed it
    return module


class Count(_IntCount):
    """A number that step() and next() raise, which are single steps in C."""

    __slots__ = ()

    step = _IntCount.__next__

    if TYPE_CHECKING:
        def __new__(cls: type[_Own]) -> _Own:  # otherwise it is a count[int]
            raise NotImplementedError

    def read(self) -> int:
        """Return how often it was raised."""
        return int(repr(self).partition("(")[2][:-1])


class Link:
    """Something that has one successor, which the fastest thread sets."""

    __slots__ = ()

    # All that were to be the successor.  The first one is it, so that setting
    # it is one step.
    heirs: list[Any]

    @property
    def successor(self) -> Any:
        """The successor, None as long as there is none."""
        return self.heirs[0] if self.heirs else None

    def precede(self, other: Any) -> bool:
        """Return whether another one becomes the successor."""
        self.heirs.append(other)
        return self.heirs[0] is other


class Total(Link):
    """The number of values, their sum, and the greatest.

    Its successor is the total after the next value.
    """

    def __init__(
            self, number: int = 0, total: float = 0.0,
            greatest: float = 0.0) -> None:
        self.heirs = []
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
            if last.precede(new):
                self._recent = new
                return
