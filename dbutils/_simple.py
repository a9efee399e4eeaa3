"""The two ways in which a simple pool keeps its connections.

It holds a fixed set of plain driver connections.  If they are not
thread-safe, they queue up to be handed out to one user at a time.
Otherwise they are handed out in turn, to any number of users.
"""

from __future__ import annotations

from collections import deque
from threading import Lock, get_ident
from typing import Any, Callable

from ._drivers import profile_of
from ._forks import disown, follow
from ._keeper import Backend
from ._lease import Lease
from ._ledger import Limits
from ._pool import PoolCore
from ._slots import Right, Slot, Visit

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
        # One visit for all, which only a fork ends.
        slot = Slot(deque(), _nobody_waits)
        self._right = Right(slot, Visit(get_ident(), ""), is_share=True)
        follow(self)

    def begin_anew(self) -> None:
        """Let the leases be over in a forked child."""
        if self._right.visit is not None:
            self._right.visit.end()

    def add(self, con: Any) -> None:
        """Add another connection."""
        self._connections.append(con)

    def take(self) -> tuple[Any, Any]:
        """Return the connection whose turn it is, which nobody owns."""
        with self._lock:
            con = self._connections[self._next]
            self._next = (self._next + 1) % len(self._connections)
        return con, self._right

    def put_back(self, con: Any) -> None:
        """Do nothing, since the connection was never taken away."""


def _nobody_waits() -> None:
    """Stand for waking up who waits."""


class SimpleLease(Lease):
    """What a user holds; it behaves like the driver's connection."""

    def _give_back(self, con: Any, right: Any) -> None:  # noqa: ARG002 - not this
        self._pool.returnConnection(con)


class SimplePool:
    """What the two simple pools have in common."""

    _lease_class: type[SimpleLease] = SimpleLease

    def __init__(
            self, make_store: Callable[[], Any], connect: Callable[[], Any],
            number: int) -> None:
        self._make_store = make_store
        self._connect = connect
        self._number = number
        self._connections: list[Any] = []
        self._begin()
        self._fill()
        follow(self)

    def _begin(self) -> None:
        self._store = self._make_store()
        self._is_filled = False
        self._filling = Lock()

    def _fill(self) -> None:
        """Open the connections, as many as there have to be."""
        with self._filling:
            if not self._is_filled:
                for _ in range(self._number):
                    self.addConnection(self._connect())
                self._is_filled = True

    def begin_anew(self) -> None:
        """Open other connections in a forked child when they are needed."""
        for con in self._connections:
            disown(con, profile_of(con).descriptor(con))
        self._connections = []
        self._begin()

    def connection(self) -> Any:
        """Return a connection, to be given back by close().

        If there is none and they cannot be shared, this waits for one.
        """
        if not self._is_filled:
            self._fill()
        return self._lease_class(self, *self._store.take())

    def getConnection(self) -> Any:  # noqa: N802 - a name of DBUtils 1.x
        """Return a connection, like connection()."""
        return self.connection()

    def addConnection(self, con: Any) -> None:  # noqa: N802 - likewise
        """Add a driver connection to the pool."""
        self._connections.append(con)
        self._store.add(con)

    def returnConnection(self, con: Any) -> None:  # noqa: N802 - likewise
        """Take a driver connection back, as close() does."""
        self._store.put_back(con)
