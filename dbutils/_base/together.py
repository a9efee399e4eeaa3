"""Calling several functions at the same time."""

from __future__ import annotations

import queue
from collections import deque
from weakref import ref

from .atomic import pop, remove, snapshot
from .hints import Any, Callable, Sequence
from .threads import Token, start_thread

__all__ = ["run_together"]


class _Together:
    """Functions that are called at the same time, by any thread."""

    def __init__(self, functions: Sequence[Callable[[], Any]]) -> None:
        self._functions = functions
        # Their results and errors, by their numbers.
        self._outcomes: dict[int, tuple[Any, Exception | None]] = {}
        self._parts = deque(enumerate(functions))
        # The tokens of the helpers, held weakly.  A callback that is written
        # in C puts each that is dead into the queue, so that no thread that
        # was stopped is waited for.
        self._helpers: deque[Any] = deque()
        self._ends: Any = queue.SimpleQueue()

    def help(self) -> None:
        """Call functions in a helper thread."""
        token = Token()
        # First: the caller waits for those that it finds here.
        self._helpers.append(ref(token, self._ends.put))
        self.work()
        del token

    def work(self) -> None:
        """Call the functions that no thread has called yet."""
        part = pop(self._parts)
        while part is not None:
            number, function = part
            self._outcomes[number] = _outcome(function)
            part = pop(self._parts)

    def results(self) -> list[Any]:
        """Wait for all, and return the results, or raise the first error."""
        helpers = deque(snapshot(self._helpers))
        while helpers:
            remove(helpers, self._ends.get())
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
        if not start_thread(calls.help, "DBUtils helper"):
            break
    try:
        calls.work()
        return calls.results()
    finally:
        calls.cancel()
