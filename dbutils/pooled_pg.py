"""Pools of hardened connections for classic PyGreSQL.

A thread borrows a steady connection from the pool and gives it back by
closing it, leaving its "with" block, or dropping it.  Requests are served
in the order of their coming.
"""

from __future__ import annotations

from queue import Empty, Full
from typing import Any, Callable

from . import __version__
from ._errors import closed_text, too_many_text
from ._lease import Lease
from ._ledger import make_limits
from ._pg_rules import RESET_ALWAYS_ROLLBACK, RESET_COMPLETELY
from ._pool import Backend, PoolCore, Refused
from ._steady import as_statements, check_reset, line_of, make_terms
from ._transactions import Transactions
from .steady_pg import SteadyPgConnection

__all__ = [
    "RESET_ALWAYS_ROLLBACK",
    "RESET_COMPLETELY",
    "CommitUnknownError",
    "InvalidConnectionError",
    "PooledPg",
    "PooledPgConnection",
    "PooledPgError",
    "TooManyConnectionsError",
]


class PooledPgError(Exception):
    """General PooledPg error."""


class InvalidConnectionError(PooledPgError):
    """Database connection is invalid."""


class TooManyConnectionsError(PooledPgError):
    """Too many database connections were opened."""


# The names of these errors before DBUtils 2.0.
InvalidConnection = InvalidConnectionError
TooManyConnections = TooManyConnectionsError


class CommitUnknownError(PooledPgError):
    """The connection was lost while a transaction was committed."""


class PooledPg(Transactions):
    """A pool of steady classic PyGreSQL connections."""

    version = __version__

    _core: Any = None
    _commit_unknown_error = CommitUnknownError

    def __init__(
            self, mincached: int | None = 0, maxcached: int | None = 0,
            maxconnections: int | None = 0, blocking: Any = False,
            maxusage: int | None = None, setsession: Any = None,
            reset: Any = None, *args: Any,
            maxshared: Any = None,  # noqa: ARG002 - PooledDB has it
            failures: Any = None, ping: Any = 1,
            isfatal: Callable[[Exception], Any] | None = None,
            failover: str = "safe", **kwargs: Any) -> None:
        """Set up the pool.

        reset: how a returned connection is cleaned: 0 or None rolls back
            a transaction begun with begin(), 1 rolls back always, 2 resets
            the connection completely; a callable or "session" as in PooledDB
        maxshared: has no effect, since such connections cannot be shared

        The other sizes and "blocking" are those of pooled_db.PooledDB, all
        other parameters those of steady_pg.SteadyPgConnection.
        """
        make_terms(maxusage, failures, isfatal, ping, True, failover)
        check_reset(reset, "session")
        self._args = args
        self._kwargs = kwargs
        self._blocking = blocking
        self._maxusage = maxusage
        self._setsession = as_statements(setsession)
        self._reset = reset or 0
        self._failures = failures
        self._ping = ping
        self._isfatal = isfatal
        self._failover = failover
        mincached = mincached or 0
        self._core = PoolCore(
            _PgBackend(self._reset),
            make_limits(mincached, maxcached, 0, maxconnections))
        leases = [self.connection() for _ in range(mincached)]
        for lease in reversed(leases):
            lease.close()

    # Inner names of DBUtils 3.x that programs and their tests read.

    @property
    def _cache(self) -> _IdleQueue:
        return _IdleQueue(self._core)

    @property
    def _connections(self) -> _Room | None:
        limited = self._core.limits.maxconnections is not None
        return _Room(self._core) if limited else None

    def steady_connection(self) -> SteadyPgConnection:
        """Return a new steady connection that does not count as pooled."""
        return SteadyPgConnection(
            self._maxusage, self._setsession, True, *self._args,
            failures=self._failures, ping=self._ping, isfatal=self._isfatal,
            failover=self._failover, **self._kwargs)

    def pooled_connection(self) -> SteadyPgConnection:
        """Return a steady connection from the pool as such.

        Somebody has to give it back to the pool with cache().
        """
        try:
            return self._core.acquire(
                self.steady_connection, self._blocking).con
        except Refused as refused:
            text = too_many_text(refused.figures)
            raise TooManyConnectionsError(text) from None

    def connection(self) -> PooledPgConnection:
        """Return a connection from the pool, to be given back by close()."""
        return PooledPgConnection(self, self.pooled_connection())

    def _borrow(self) -> Any:
        return self.connection()

    def cache(self, con: SteadyPgConnection) -> None:
        """Take a connection back, as its close() does."""
        if not self._core.release(con):
            raise InvalidConnectionError(
                "This connection was not taken out of the pool.")

    def close(self) -> None:
        """Close all idle connections; the pool stays usable."""
        self._core.clear()

    def __del__(self) -> None:
        """Close the connections when nobody holds the pool any more."""
        if self._core is not None:
            self.close()


class _PgBackend(Backend):
    """What a pool does with steady PyGreSQL connections."""

    def __init__(self, mode: Any) -> None:
        self._mode = mode

    def check(self, con: Any) -> None:
        line_of(con).check(1)

    def reset(self, con: Any) -> bool:
        return line_of(con).hand_back(self._mode)


class PooledPgConnection(Lease):
    """What a borrower holds; it behaves like the steady connection."""

    def reopen(self) -> None:
        """Reopen the connection, or borrow another one after close()."""
        con = self._con
        if con is None:
            self._hold(self._pool, self._pool.pooled_connection())
        else:
            con.reopen()

    def _closed_error(self, name: str) -> Exception:
        return InvalidConnectionError(closed_text("connection", name))


class _IdleQueue:
    """The idle connections in the guise of a queue."""

    def __init__(self, core: PoolCore) -> None:
        self._core = core

    def qsize(self) -> int:
        """Return how many connections are idle."""
        return self._core.figures().idle

    def get(self, *_how_long: Any, **_to_wait: Any) -> Any:
        """Take out the oldest idle connection; this never waits."""
        con = self._core.expel()
        if con is None:
            raise Empty
        return con

    def get_nowait(self) -> Any:
        """Take out the oldest idle connection."""
        return self.get()

    def put(self, con: Any, *_how_long: Any, **_to_wait: Any) -> None:
        """Add an idle connection; this never waits."""
        limit = self._core.limits.maxcached
        if limit is not None and self.qsize() >= limit:
            raise Full
        self._core.adopt(con)

    def put_nowait(self, con: Any) -> None:
        """Add an idle connection."""
        self.put(con)


class _Room:
    """The connections that may still be taken, in the guise of a semaphore."""

    def __init__(self, core: PoolCore) -> None:
        self._core = core

    @property
    def _value(self) -> int:
        figures = self._core.figures()
        return (figures.limit or 0) - figures.in_use
