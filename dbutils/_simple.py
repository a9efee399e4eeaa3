"""The two ways in which a simple pool keeps its connections.

It holds a fixed set of plain driver connections.  If they are not
thread-safe, they queue up to be handed out to one user at a time.
Otherwise they are handed out in turn, to any number of users.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

from ._keeper import Backend
from ._lease import Lease
from ._ledger import Limits
from ._pool import PoolCore

__all__ = ["Queued", "SimpleLease", "SimplePool", "TakenInTurn"]


class Queued:
    """Connections of which each has one user at a time."""

    def __init__(self) -> None:
        self._core = PoolCore(Backend(), Limits(maxconnections=0))

    def add(self, con: Any) -> None:
        """Add another connection."""
        self._core.adopt(con)

    def take(self) -> tuple[Any, Any]:
        """Return a connection and the right to it, waiting if need be."""
        right = self._core.acquire(_never, None)
        return right.slot.con, right

    def put_back(self, con: Any) -> None:
        """Take a connection back, or in if it comes from elsewhere."""
        if not self._core.release(con) and not self._is_idle(con):
            self._core.adopt(con)

    def _is_idle(self, con: Any) -> bool:
        return any(idle is con for idle in self._core.idle_connections())


def _never() -> Any:  # pragma: no cover - the limit is what was added
    raise AssertionError("A simple pool opens no connection on demand.")


class TakenInTurn:
    """Connections that any number of users may have at the same time."""

    def __init__(self) -> None:
        self._connections: list[Any] = []
        self._lock = Lock()
        self._next = 0

    def add(self, con: Any) -> None:
        """Add another connection."""
        self._connections.append(con)

    def take(self) -> tuple[Any, Any]:
        """Return the connection whose turn it is, which nobody owns."""
        with self._lock:
            con = self._connections[self._next]
            self._next = (self._next + 1) % len(self._connections)
        return con, None

    def put_back(self, con: Any) -> None:
        """Do nothing, since the connection was never taken away."""


class SimpleLease(Lease):
    """What a user holds; it behaves like the driver's connection."""

    def _give_back(self, con: Any, right: Any) -> None:  # noqa: ARG002 - not this
        self._pool.returnConnection(con)


class SimplePool:
    """What the two simple pools have in common."""

    _lease_class: type[SimpleLease] = SimpleLease

    def __init__(self, store: Any) -> None:
        self._store = store

    def connection(self) -> Any:
        """Return a connection, to be given back by close().

        If there is none and they cannot be shared, this waits for one.
        """
        con, right = self._store.take()
        return self._lease_class(self, con, right)

    def getConnection(self) -> Any:  # noqa: N802 - a name of DBUtils 1.x
        """Return a connection, like connection()."""
        return self.connection()

    def addConnection(self, con: Any) -> None:  # noqa: N802 - likewise
        """Add a driver connection to the pool."""
        self._store.add(con)

    def returnConnection(self, con: Any) -> None:  # noqa: N802 - likewise
        """Take a driver connection back, as close() does."""
        self._store.put_back(con)
