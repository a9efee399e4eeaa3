"""The use of one connection by several holders.

They execute their statements one after the other.  While one of them is in a
transaction, the others have to use another connection.
"""

from __future__ import annotations

import threading
from weakref import ref

from .._base.hints import Any, Callable
from .._base.mutex import LongMutex
from .._steady.liveness import ASK_DRIVER, AT_CHECKOUT

__all__ = ["SharedUse"]


class SharedUse:
    """Admits one holder at a time to a shared connection."""

    def __init__(self) -> None:
        # Returns the object that stands for the connection in a program, and
        # holds it; those who share it hold that object.
        self.record: Callable[[], Any] = type(None)
        # No interrupt may leave it locked, since other holders wait for it.
        self._mutex = LongMutex()
        # Returns the share whose transaction is open; None if there is none.
        self.owner: Callable[[], Any] | None = None
        # The thread that executes a statement: a signal handler that runs
        # during the statement must not wait for its end.
        self._user: int | None = None

    @property
    def _is_busy_here(self) -> bool:
        return self._user == threading.get_ident()

    def _has_lost_owner(self) -> bool:
        """Return whether the owner has left its work undone."""
        link = self.owner
        owner = None if link is None else link()
        return link is not None and (owner is None or not owner.checkout)

    def stand_for(self, record: Any) -> None:
        """Note the object that stands for the connection in a program."""
        self.record = ref(record)

    def are_free(self, session: Any) -> bool:
        """Return whether no holder is known to be in a transaction."""
        if self.owner is None:
            is_free = not session.transaction
        else:
            is_free = self._has_lost_owner()
        return is_free and not self._is_busy_here

    def check(self, session: Any, seconds: float | None = None) -> None:
        """Check the connection, unless it is being used just now.

        seconds: the limit for the check; reconnecting could take longer, so
            a dead connection is only replaced before its next statement
        """
        with self._mutex.take(waits=False) as is_ours:
            if not (is_ours and self.are_free(session)):
                return
            self._clean_up(session)
            if seconds is None:
                session.check(AT_CHECKOUT)
            else:
                session.is_alive(ASK_DRIVER, seconds)

    def take(
            self, session: Any, share: Any, act: Callable[[],
            Any]) -> list[Any]:
        """Return [result of an action], [] if others are in the way."""
        if self._is_busy_here:
            return []
        with self._mutex.take() as is_ours:
            if not (is_ours and self._may_use(session, share)):
                return []
            try:
                self._user = threading.get_ident()
                return [act()]
            finally:
                self._user = None
                self.note(session, share)

    def _clean_up(self, session: Any) -> None:
        """End the transaction of a holder that is gone."""
        if self._has_lost_owner():
            self.owner = None
            session.clean(force=True)

    def _may_use(self, session: Any, share: Any) -> bool:
        self._clean_up(session)
        owner = self.owner
        return owner is None or owner() is share

    def note(self, session: Any, share: Any) -> None:
        """Record whose transaction is open after an action."""
        has_work = session.transaction or (
            session.driver.is_telling and session.has_work())
        self.owner = ref(share) if has_work else None

    def is_worker(self, share: Any, is_alone: bool) -> bool:
        """Return whether open work is known to belong to a share.

        is_alone: whether no other holder shares the connection
        """
        owner = self.owner
        return is_alone if owner is None else owner() is share

    def leave(self, session: Any, share: Any) -> None:
        """End the transaction of a holder that leaves the connection."""
        owner = self.owner
        if owner is not None and owner() is share and not self._is_busy_here:
            with self._mutex.take() as is_ours:
                if is_ours:  # otherwise the next user cleans
                    session.clean(force=True)
                    self.owner = None
