"""Turns on a connection that several borrowers share.

One after the other executes a statement, and while one of them is in a
transaction, the others have to go elsewhere.
"""

from __future__ import annotations

import threading
from typing import Any, Callable

from .._base.mutex import LongMutex

__all__ = ["Turns"]


class Turns:
    """Who may use a connection that is shared."""

    def __init__(self) -> None:
        # No interrupt may leave it locked, since the others wait for it.
        self._mutex = LongMutex()
        # Whose transaction is open.
        self._owner: Any = None
        # The thread that executes a statement: a signal handler that comes
        # in the middle of that cannot wait for its end.
        self._user: int | None = None

    @property
    def _is_busy_here(self) -> bool:
        return self._user == threading.get_ident()

    def are_free(self, line: Any) -> bool:
        """Tell whether nobody is in a transaction, as far as is known."""
        return not (line.transaction or self._is_busy_here) and (
            not self._owner)

    def check(self, line: Any, seconds: float | None = None) -> None:
        """Check the connection, unless it is being used just now.

        seconds: how long that may take; a dead one is not replaced then,
            which could take longer, but before its next statement
        """
        with self._mutex.take(waits=False) as has_come:
            if not (has_come and self.are_free(line)):
                return
            if seconds is None:
                line.check(1)
            else:
                line.is_alive_within(seconds)

    def take(
            self, line: Any, visit: Any, act: Callable[[], Any]) -> list[Any]:
        """Return the result of this action, nothing if that cannot be now."""
        if self._is_busy_here:
            return []
        with self._mutex.take() as has_come:
            if not (has_come and self._may_use(line, visit)):
                return []
            try:
                self._user = threading.get_ident()
                return [act()]
            finally:
                self._user = None
                self.note(line, visit)

    def _may_use(self, line: Any, visit: Any) -> bool:
        owner = self._owner
        if owner is not None and owner is not visit and not owner:
            self._owner = None
            line.clean(force=True)  # who has gone has left something undone
        return self._owner is None or self._owner is visit

    def note(self, line: Any, visit: Any) -> None:
        """Note whose transaction is open after something was done."""
        has_work = line.transaction or (
            line.profile.is_telling and line.has_work())
        self._owner = visit if has_work else None

    def is_worker(self, visit: Any, is_alone: bool) -> bool:
        """Return whether open work is that of a visit, as far as is known.

        is_alone: whether nobody else shares the connection
        """
        owner = self._owner
        return owner is visit or (is_alone and owner is None)

    def leave(self, line: Any, visit: Any) -> None:
        """End the transaction of one who leaves the others alone."""
        if self._owner is visit and not self._is_busy_here:
            with self._mutex.take() as has_come:
                if has_come:  # or the next user does that
                    line.clean(force=True)
                    self._owner = None
