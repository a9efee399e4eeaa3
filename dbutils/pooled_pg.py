"""Pools of hardened connections for classic PyGreSQL.

A thread borrows a steady connection from the pool and gives it back by
closing it, leaving its "with" block, or dropping it.  Requests are served
first come, first served.
"""

from __future__ import annotations

import threading
from queue import Empty, Full
from time import monotonic

from . import __version__
from ._base.checks import check_text
from ._base.hints import (
    Any,
    Args,
    Callable,
    Failover,
    Kwargs,
    Nested,
    OnDeadlock,
    Pooler,
    Reset,
    Servers,
    Target,
    Track,
)
from ._core.lease import hand_over, hold, is_released, take_note
from ._core.limits import make_limits
from ._core.ways import none_is_idle
from ._drivers.creators import connect_pg
from ._pooled.backends import PgBackend
from ._pooled.base import (
    Pooled,
    check_pool_options,
    creator_with,
    demand_no_target,
)
from ._pooled.ways import (
    SteadyLease,
    declared_by,
    frame_at,
    lend_in_line,
    lend_watched,
)
from ._steady.options import (
    as_statements,
    check_behind,
    check_hook,
    check_options,
    check_reset,
)
from ._steady.pg_failover import RESET_ALWAYS_ROLLBACK, RESET_COMPLETELY
from ._steady.steady import session_of
from .steady_pg import SteadyPgConnection

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from ._core.pool import Pool
    from ._drivers.names import PgNames
else:
    PgNames = object

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
            reset: Reset = None, *args: Any,
            maxshared: Any = None,  # noqa: ARG002 - PooledDB has it
            failures: Any = None, ping: Any = 1,
            isfatal: Callable[[Exception], Any] | None = None,
            failover: Failover = "safe", maxwait: float | None = None,
            maxwaiting: int | None = None, connecting: int | None = 4,
            maxlifetime: float | None = None,
            maxidletime: float | None = None,
            keepalive: float | None = None, refill: Any = False,
            leakafter: float | None = None, reclaim: Any = False,
            idleafter: float | None = None, track: Track = "auto",
            nested: Nested = "allow", ondeadlock: OnDeadlock = "log",
            poolname: str | None = None,
            onconnect: Callable[[Any], Any] | None = None,
            targets: Servers | None = None, behind: Pooler | None = None,
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
        self._targets = creator_with(targets, None, connect_pg)
        check_behind(behind)
        self._behind: Pooler | None = behind
        self._args = args
        self._kwargs = kwargs
        self._blocking = blocking
        self._setsession = as_statements(setsession)
        self._onconnect = check_hook("onconnect", onconnect)
        self._failures = failures
        self._ping = ping
        self._isfatal = isfatal
        self._failover: Failover = failover
        self._begin(
            PgBackend(reset or 0, maxusage), make_limits(
                mincached, maxcached, 0, maxconnections,
                maxwaiting=maxwaiting, connecting=connecting),
            check_pool_options(
                blocking, maxwait, track, nested, ondeadlock, maxlifetime,
                maxidletime, keepalive, leakafter, idleafter, refill,
                reclaim))
        if self._targets is not None:
            from ._pooled.targeted import add_targets  # noqa: PLC0415 - an option

            add_targets(self, self._core, self._targets)

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
            targets=self._targets, behind=self._behind, **self._kwargs)

    def pooled_connection(
            self, *, maxwait: float | None = None) -> SteadyPgConnection:
        """Return a steady connection from the pool without a lease.

        The program has to give it back with cache().
        """
        permit = self._acquire(self._open, maxwait=maxwait)
        self._core.hold_permit(permit)
        con: SteadyPgConnection = permit.slot.con
        return con

    def _lend(
            self, *, maxwait: float | None = None,
            target: Target | None = None, maxlag: float | None = None,
            after: str | None = None) -> PooledPgConnection:
        demand_no_target(target, maxlag, after)
        permit = lease = None
        core = self._core
        try:
            if core.observers and maxwait is None:
                lease = PooledPgConnection()
                lease._lender = self  # noqa: SLF001 - of this module
                if lend_watched(self, core, lease) is not None:
                    return lease
            permit = self._acquire(self._open, False, maxwait, self)
            return self._new_lease(permit)
        finally:
            permit = lease = None  # not to be kept by a traceback

    def _new_lease(self, permit: Any) -> PooledPgConnection:
        lease = hold(PooledPgConnection(), permit)
        lease._lender = self  # noqa: SLF001 - of this module
        return lease

    @declared_by(_lend)
    def connection(self, **options: Any) -> PooledPgConnection:
        """Return a connection from the pool, to be given back by close().

        The parameters are those of PooledDB.connection().
        """
        # This is the fast way out; see _pooled/ways.py.
        core = self._core
        try:  # noqa: PLR1702 - the fast way is one short function
            if not options or self._may_take(**options):
                permit = core.take()
                if permit is not None:
                    if core.tracks is not None:
                        frame = frame_at(1)
                        permit.taken = (
                            monotonic(), frame.f_code, frame.f_lasti,
                            threading.get_ident(), None)
                    lease = PooledPgConnection()
                    lease._lender = self  # noqa: SLF001 - of this module
                    lease._permit = permit  # noqa: SLF001 - inlined hold()
                    permit.checkout = lease._checkout = [self]  # noqa: SLF001 - inlined, too
                    permit.slot.lent += 1
                    return lease
        except IndexError:
            pass  # nothing is idle, or more has to be done
        except BaseException:
            permit = lease = None
            raise
        if core.is_plain and core.take is none_is_idle and not options:
            lease = PooledPgConnection()
            lease._lender = self  # noqa: SLF001 - of this module
            return lend_in_line(self, core, lease)
        return self._lend(**options)

    def _may_take(
            self, *, maxwait: float | None = None,
            target: Target | None = None, maxlag: float | None = None,
            after: str | None = None) -> bool:
        """Return whether a request may take any idle connection at once."""
        return target is None and maxlag is None and after is None and (
            maxwait is None or not self._core.is_careful)

    # An error about a parameter names the method of the program.
    _may_take.__qualname__ = "PooledPg.connection"

    def _borrow(self, **aim: Any) -> Any:
        lease = None
        try:
            lease = self.connection(**aim)
            take_note(lease)  # of the program that called us
            return lease
        finally:
            lease = None  # not to be kept by a traceback

    def _open(self) -> SteadyPgConnection:
        con = self.steady_connection()
        if self._backend.is_timing:
            from ._steady.busy import Busy  # noqa: PLC0415 - an option

            session_of(con).busy = Busy()
        self._note_check(session_of(con))
        return con


class PooledPgConnection(SteadyLease, PgNames):
    """A borrowed connection; it behaves like the steady connection."""

    __slots__ = ("_lender",)

    # The pool, also after close().
    _lender: Any

    if TYPE_CHECKING:  # it has all that the connection has
        def position(self) -> str:
            """Return how far the server has come, as a token."""
            raise NotImplementedError

    def reopen(self) -> None:
        """Reopen the connection, or borrow another one after close()."""
        if is_released(self):
            other = self._lender.connection()
            self._checkout, self._permit = hand_over(other)
        else:
            self._con.reopen()

    def _call(self, name: str, args: Args, kwargs: Kwargs) -> Any:
        """Call a method, and note how long that takes if that is wanted."""
        con = self._con
        busy = None if con is None else session_of(con).busy
        if busy is None:
            return super()._call(name, args, kwargs)
        busy.begin(self._checkout)
        try:
            return super()._call(name, args, kwargs)
        finally:
            busy.end()

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
