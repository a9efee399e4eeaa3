"""Turns on a connection that several borrowers share.

One after the other executes a statement, and while one of them is in a
transaction, the others have to go elsewhere.
"""

from __future__ import annotations

import threading
from typing import Any, Callable

from .._base.mutex import LongMutex
from .liveness import ASK_DRIVER, AT_CHECKOUT

__all__ = ["SharedUse"]


class SharedUse:
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

    def are_free(self, session: Any) -> bool:
        """Tell whether nobody is in a transaction, as far as is known."""
        return not (session.transaction or self._is_busy_here) and (
            not self._owner)

    def check(self, session: Any, seconds: float | None = None) -> None:
        """Check the connection, unless it is being used just now.

        seconds: how long that may take; a dead one is not replaced then,
            which could take longer, but before its next statement
        """
        with self._mutex.take(waits=False) as has_come:
            if not (has_come and self.are_free(session)):
                return
            if seconds is None:
                session.check(AT_CHECKOUT)
            else:
                session.is_alive(ASK_DRIVER, seconds)

    def take(
            self, session: Any, checkout: Any, act: Callable[[],
            Any]) -> list[Any]:
        """Return the result of this action, nothing if that cannot be now."""
        if self._is_busy_here:
            return []
        with self._mutex.take() as has_come:
            if not (has_come and self._may_use(session, checkout)):
                return []
            try:
                self._user = threading.get_ident()
                return [act()]
            finally:
                self._user = None
                self.note(session, checkout)

    def _may_use(self, session: Any, checkout: Any) -> bool:
        owner = self._owner
        if owner is not None and owner is not checkout and not owner:
            self._owner = None
            session.clean(force=True)  # who has gone has left something undone
        return self._owner is None or self._owner is checkout

    def note(self, session: Any, checkout: Any) -> None:
        """Note whose transaction is open after something was done."""
        has_work = session.transaction or (
            session.profile.is_telling and session.has_work())
        self._owner = checkout if has_work else None

    def is_worker(self, checkout: Any, is_alone: bool) -> bool:
        """Return whether open work is that of a visit, as far as is known.

        is_alone: whether nobody else shares the connection
        """
        owner = self._owner
        return owner is checkout or (is_alone and owner is None)

    def leave(self, session: Any, checkout: Any) -> None:
        """End the transaction of one who leaves the others alone."""
        if self._owner is checkout and not self._is_busy_here:
            with self._mutex.take() as has_come:
                if has_come:  # or the next user does that
                    session.clean(force=True)
                    self._owner = None
