"""Taking things out of a deque that several threads use at the same time.

Whoever was slower than another thread gets nothing, which is no error.
There is no contextlib.suppress() here, which takes ten times as long as all
the rest.  And nothing is returned from within a handler: an exception at that
very moment would confuse Python before 3.11.
"""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import Any

__all__ = ["Count", "first", "pop", "remove"]


def first(queue: deque[Any]) -> Any:
    """Return the first one, which stays there, or None."""
    item = None
    try:  # noqa: SIM105 - see above
        item = queue[0]
    except IndexError:
        pass  # it is empty
    return item


def pop(queue: deque[Any], last: bool = False) -> Any:
    """Take the first or the last one, or return None."""
    item = None
    try:
        if queue:
            item = queue.pop() if last else queue.popleft()
    except IndexError:
        pass  # another thread was faster
    return item


def remove(queue: deque[Any], item: Any) -> bool:
    """Take a certain one; tell whether it was still there."""
    is_there = True
    try:
        queue.remove(item)
    except ValueError:
        is_there = False
    return is_there


class Count:
    """A number that step() raises; both are single steps, written in C."""

    def __init__(self) -> None:
        self._numbers = count()
        self.step = self._numbers.__next__

    def read(self) -> int:
        """Return the number of calls of step()."""
        return int(repr(self._numbers)[len("count("):-1])
