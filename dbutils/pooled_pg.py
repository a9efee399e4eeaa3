"""Pools of hardened connections for classic PyGreSQL.

A thread borrows a steady connection from the pool and gives it back by
closing it, leaving its "with" block, or dropping it.  Requests are served
first come, first served.
"""

from __future__ import annotations

from queue import Empty, Full

from . import __version__
from ._base.checks import check_text
from ._base.hints import Any, Callable, Failover
from ._core.lease import hand_over, hold, is_released, take_note
from ._core.limits import make_limits
from ._core.pool import Pool
from ._core.ways import none_is_idle
from ._pooled.backends import PgBackend
from ._pooled.base import Pooled, check_pool_options
from ._pooled.ways import SteadyLease, lend_in_line
from ._steady.options import (
    as_statements,
    check_hook,
    check_options,
    check_reset,
)
from ._steady.pg_failover import RESET_ALWAYS_ROLLBACK, RESET_COMPLETELY
from ._steady.steady import session_of
from .steady_pg import SteadyPgConnection

TYPE_CHECKING = False  # type checkers know the name

__all__ = [
    "RESET_ALWAYS_ROLLBACK", "RESET_COMPLETELY", "CommitUnknownError",
    "InvalidConnectionError", "NestedBorrowingError", "PoolClosedError",
    "PoolDeadlockError", "PooledPg", "PooledPgConnection",
    "PooledPgError", "TooManyConnectionsError"]


class PooledPgError(Exception):
    """General PooledPg error."""


class InvalidConnectionError(PooledPgError):
    """Database connection is invalid."""


class TooManyConnectionsError(PooledPgError):
    """Too many database connections were opened."""


class NestedBorrowingError(TooManyConnectionsError):
    """The thread has a connection already, and asks for another one."""


class PoolDeadlockError(TooManyConnectionsError):
    """All connections are held by threads that wait for another one."""


# The names of these errors before DBUtils 2.0.
InvalidConnection = InvalidConnectionError
TooManyConnections = TooManyConnectionsError


class PoolClosedError(PooledPgError):
    """The pool was shut down."""


class CommitUnknownError(PooledPgError):
    """The connection was lost while a transaction was committed."""


class PooledPg(Pooled["PooledPgConnection"]):
    """A pool of steady classic PyGreSQL connections."""

    version = __version__

    _too_many_error = TooManyConnectionsError
    _invalid_error = InvalidConnectionError
    _closed_error = PoolClosedError
    _nested_error = NestedBorrowingError
    _deadlock_error = PoolDeadlockError
    _commit_unknown_error = CommitUnknownError

    def __init__(
            self, mincached: int | None = 0, maxcached: int | None = 0,
            maxconnections: int | None = 0, blocking: Any = False,
            maxusage: int | None = None, setsession: Any = None,
            reset: Any = None, *args: Any,
            maxshared: Any = None,  # noqa: ARG002 - PooledDB has it
            failures: Any = None, ping: Any = 1,
            isfatal: Callable[[Exception], Any] | None = None,
            failover: Failover = "safe", maxwait: float | None = None,
            maxwaiting: int | None = None,
            maxlifetime: float | None = None,
            maxidletime: float | None = None,
            keepalive: float | None = None, refill: Any = False,
            leakafter: float | None = None, track: Any = "auto",
            nested: str = "allow", ondeadlock: str = "log",
            poolname: str | None = None,
            onconnect: Callable[[Any], Any] | None = None,
            **kwargs: Any) -> None:
        """Set up the pool.

        reset: how a returned connection is reset: 0 or None rolls back
            a transaction begun with begin(), 1 rolls back always, 2 resets
            the connection completely; a callable or "session" as in PooledDB
        maxshared: has no effect, since such connections cannot be shared

        The other sizes, "blocking", "track", "nested", "ondeadlock",
        "poolname" and the options with times are those of pooled_db.PooledDB,
        all other parameters those of steady_pg.SteadyPgConnection.
        """
        check_options(maxusage, failures, isfatal, ping, True, failover)
        check_reset(reset, "session")
        self._poolname = check_text("poolname", poolname)
        self._args = args
        self._kwargs = kwargs
        self._blocking = blocking
        self._setsession = as_statements(setsession)
        self._onconnect = check_hook("onconnect", onconnect)
        self._failures = failures
        self._ping = ping
        self._isfatal = isfatal
        self._failover = failover
        self._begin(
            PgBackend(reset or 0, maxusage), make_limits(
                mincached, maxcached, 0, maxconnections,
                maxwaiting=maxwaiting),
            check_pool_options(
                blocking, maxwait, track, nested, ondeadlock, maxlifetime,
                maxidletime, keepalive, leakafter, refill))

    # Inner names of DBUtils 3.x that programs and their tests read.

    @property
    def _cache(self) -> _IdleQueue:
        return _IdleQueue(self._core)

    @property
    def _connections(self) -> _FreeSlots | None:
        limited = self._core.limits.maxconnections is not None
        return _FreeSlots(self._core) if limited else None

    def steady_connection(self) -> SteadyPgConnection:
        """Return a new steady connection that is not part of the pool."""
        return SteadyPgConnection(
            self._maxusage, self._setsession, True, *self._args,
            failures=self._failures, ping=self._ping, isfatal=self._isfatal,
            failover=self._failover, onconnect=self._onconnect,
            **self._kwargs)

    def pooled_connection(
            self, *, maxwait: float | None = None) -> SteadyPgConnection:
        """Return a steady connection from the pool without a lease.

        The program has to give it back with cache().
        """
        permit = self._acquire(self._open, maxwait=maxwait)
        self._core.hold_permit(permit)
        con: SteadyPgConnection = permit.slot.con
        return con

    def connection(
            self, *, maxwait: float | None = None) -> PooledPgConnection:
        """Return a connection from the pool, to be given back by close().

        The parameter is that of PooledDB.connection().
        """
        # This is the fast way out; see _pooled/ways.py.
        try:
            core = self._core
            if maxwait is None or not core.is_careful:
                permit = core.take()
                lease = PooledPgConnection()
                lease._lender = self  # noqa: SLF001 - of this module
                lease._permit = permit  # noqa: SLF001 - inlined hold()
                permit.checkout = lease._checkout = [self]  # noqa: SLF001 - inlined, too
                return lease
        except IndexError:
            pass  # nothing is idle, or more has to be done
        except BaseException:
            permit = lease = None
            raise
        if core.is_plain and core.take is none_is_idle and maxwait is None:
            lease = PooledPgConnection()
            lease._lender = self  # noqa: SLF001 - of this module
            return lend_in_line(self, core, lease)
        return self._lend(maxwait)

    def _lend(self, maxwait: float | None) -> PooledPgConnection:
        permit = lease = None
        try:
            permit = self._acquire(self._open, False, maxwait, self)
            lease = hold(PooledPgConnection(), permit)
            lease._lender = self  # noqa: SLF001 - of this module
            return lease
        finally:
            permit = lease = None  # not to be kept by a traceback

    def _borrow(self) -> Any:
        lease = None
        try:
            lease = self.connection()
            take_note(lease)  # of the program that called us
            return lease
        finally:
            lease = None  # not to be kept by a traceback

    def _open(self) -> SteadyPgConnection:
        con = self.steady_connection()
        self._note_check(session_of(con))
        return con


class PooledPgConnection(SteadyLease):
    """A borrowed connection; it behaves like the steady connection."""

    __slots__ = ("_lender",)

    # The pool, also after close().
    _lender: Any

    if TYPE_CHECKING:
        def __getattr__(self, name: str) -> Any:
            """Return an attribute of the connection."""

    def reopen(self) -> None:
        """Reopen the connection, or borrow another one after close()."""
        if is_released(self):
            other = self._lender.connection()
            self._checkout, self._permit = hand_over(other)
        else:
            self._con.reopen()

    def _closed_error(self, name: str) -> Exception:
        return InvalidConnectionError(self._closed_text(name))


class _IdleQueue:
    """The idle connections, as the queue of DBUtils 3.x."""

    def __init__(self, core: Pool) -> None:
        self._core = core

    def qsize(self) -> int:
        """Return how many connections are idle."""
        return self._core.stats().idle

    def get(self, *_how_long: Any, **_to_wait: Any) -> Any:
        """Take out the oldest idle connection; this never waits."""
        con = self._core.detach_idle()
        if con is None:
            raise Empty
        return con

    get_nowait = get

    def put(self, con: Any, *_how_long: Any, **_to_wait: Any) -> None:
        """Add an idle connection; this never waits."""
        limit = self._core.limits.maxcached
        if limit is not None and self.qsize() >= limit:
            raise Full
        self._core.adopt(con)

    put_nowait = put


class _FreeSlots:
    """The slots that are not in use, as the semaphore of DBUtils 3.x."""

    def __init__(self, core: Pool) -> None:
        self._core = core

    @property
    def _value(self) -> int:
        stats = self._core.stats()
        return (stats.maxconnections or 0) - stats.in_use
