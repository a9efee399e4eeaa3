"""Calling several functions at the same time."""

from __future__ import annotations

import queue
from collections import deque
from weakref import ref

from .atomic import pop
from .hints import Any, Callable, Sequence
from .threads import start_thread

__all__ = ["run_together"]


class _Part:
    """One of several functions; it is dropped when the call is over."""

    __slots__ = ("__weakref__", "function", "number")

    def __init__(self, number: int, function: Callable[[], Any]) -> None:
        self.number = number
        self.function = function


class _Together:
    """Functions that are called at the same time, by any thread."""

    def __init__(self, functions: Sequence[Callable[[], Any]]) -> None:
        self._functions = functions
        # Their results and errors, by their numbers.
        self._outcomes: dict[int, tuple[Any, Exception | None]] = {}
        self._parts = deque(map(_Part, range(len(functions)), functions))
        # A callback that is written in C puts the link of each part that is
        # over here, so that no thread that was stopped is waited for.
        self._ends: Any = queue.SimpleQueue()
        self._links = [ref(part, self._ends.put) for part in self._parts]

    def work(self) -> None:
        """Call the functions that no thread has called yet."""
        part = pop(self._parts)
        while part is not None:
            self._outcomes[part.number] = _outcome(part.function)
            part = pop(self._parts)

    def results(self) -> list[Any]:
        """Wait for all, and return the results, or raise the first error."""
        for _ in self._links:
            self._ends.get()
        outcomes = [
            self._outcomes[number] if number in self._outcomes
            else _outcome(function)
            for number, function in enumerate(self._functions)]
        self._outcomes.clear()
        errors = [error for _, error in outcomes if error is not None]
        if errors:
            outcomes.clear()
            try:
                raise errors[0]
            finally:
                errors.clear()  # or the error would refer to itself
        return [result for result, _ in outcomes]

    def cancel(self) -> None:
        """Drop the functions, since threads can begin late."""
        self._parts.clear()
        self._functions = ()


def _outcome(
        function: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """Call a function, and return its result or its error."""
    try:
        return function(), None
    except Exception as error:  # noqa: BLE001 - raised later
        return None, error


def run_together(functions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call functions at the same time, and return their results.

    Where no other threads can be started, this thread calls them all; it also
    calls those again whose thread was stopped.
    """
    calls = _Together(functions)
    for _ in functions[1:]:
        if not start_thread(calls.work, "DBUtils helper"):
            break
    try:
        calls.work()
        return calls.results()
    finally:
        calls.cancel()
