"""Take items out of a deque that several threads use at the same time.

A thread that comes too late gets nothing, which is no error.  The functions
do not use contextlib.suppress(), which takes ten times as long as all the
rest.  They never return from within a handler: an exception thrown into the
thread at that very moment would confuse Python before 3.11.
"""

from __future__ import annotations

from collections import deque
from itertools import count

from .hints import Any

__all__ = ["Count", "first", "pop", "pop_last", "remove", "snapshot"]


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


def snapshot(queue: deque[Any]) -> list[Any]:
    """Return the items of a deque, while others change it."""
    return list(queue.copy())


class Count:
    """A number that step() raises; both are single steps, written in C."""

    def __init__(self) -> None:
        self._numbers = count()
        self.step = self._numbers.__next__

    def read(self) -> int:
        """Return the number of calls of step()."""
        return int(repr(self._numbers)[len("count("):-1])
