"""The use of one connection by several holders.

They execute their statements one after the other.  While one of them is in a
transaction, the others have to use another connection.
"""

from __future__ import annotations

import threading

from .._base.hints import Any, Callable
from .._base.mutex import LongMutex
from .._steady.liveness import ASK_DRIVER, AT_CHECKOUT

__all__ = ["SharedUse"]


class SharedUse:
    """Admits one holder at a time to a shared connection."""

    def __init__(self) -> None:
        # No interrupt may leave it locked, since other holders wait for it.
        self._mutex = LongMutex()
        # The checkout whose transaction is open.
        self._owner: Any = None
        # The thread that executes a statement: a signal handler that runs
        # during the statement must not wait for its end.
        self._user: int | None = None

    @property
    def _is_busy_here(self) -> bool:
        return self._user == threading.get_ident()

    def are_free(self, session: Any) -> bool:
        """Return whether no holder is known to be in a transaction."""
        return not (session.transaction or self._is_busy_here) and (
            not self._owner)

    def check(self, session: Any, seconds: float | None = None) -> None:
        """Check the connection, unless it is being used just now.

        seconds: the limit for the check; reconnecting could take longer, so
            a dead connection is only replaced before its next statement
        """
        with self._mutex.take(waits=False) as is_ours:
            if not (is_ours and self.are_free(session)):
                return
            if seconds is None:
                session.check(AT_CHECKOUT)
            else:
                session.is_alive(ASK_DRIVER, seconds)

    def take(
            self, session: Any, checkout: Any, act: Callable[[],
            Any]) -> list[Any]:
        """Return [result of an action], [] if others are in the way."""
        if self._is_busy_here:
            return []
        with self._mutex.take() as is_ours:
            if not (is_ours and self._may_use(session, checkout)):
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
            session.clean(force=True)  # the owner left its work undone
        return self._owner is None or self._owner is checkout

    def note(self, session: Any, checkout: Any) -> None:
        """Record whose transaction is open after an action."""
        has_work = session.transaction or (
            session.driver.is_telling and session.has_work())
        self._owner = checkout if has_work else None

    def is_worker(self, checkout: Any, is_alone: bool) -> bool:
        """Return whether open work is known to belong to a checkout.

        is_alone: whether no other holder shares the connection
        """
        owner = self._owner
        return owner is checkout or (is_alone and owner is None)

    def leave(self, session: Any, checkout: Any) -> None:
        """End the transaction of a holder that leaves the connection."""
        if self._owner is checkout and not self._is_busy_here:
            with self._mutex.take() as is_ours:
                if is_ours:  # otherwise the next user cleans
                    session.clean(force=True)
                    self._owner = None
