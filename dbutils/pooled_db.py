"""Pools of hardened connections for any DB-API 2 driver.

A thread borrows a steady connection from the pool and gives it back by
closing it, leaving its "with" block, or dropping it.  Connections are
dedicated to one borrower or, if the driver and the program allow that,
shared by several.  Requests are served first come, first served.
"""

from __future__ import annotations

import threading
from time import monotonic

from . import __version__
from ._base.atomic import first, pop
from ._base.checks import check_text
from ._base.hints import (
    Any,
    Args,
    Behind,
    Callable,
    Con,
    Creator,
    Failover,
    Generic,
    Kwargs,
    Nested,
    OnDeadlock,
    Priority,
    Reset,
    Sequence,
    Servers,
    Target,
    Track,
    cast,
    deque,
    methodcaller,
    ref,
)
from ._core.lease import (
    Lease,
    core_of,
    hand_over,
    hold,
    is_released,
    permit_of,
    take_note,
)
from ._core.limits import make_limits
from ._core.slots import note_caller
from ._core.tuning import allow_helpers
from ._core.ways import none_is_idle
from ._drivers.creators import (
    creator_threadsafety,
    module_of_creator,
    split_isfatal,
)
from ._pooled.attributes import Forwarded
from ._pooled.base import (
    UNSAVED,
    Pooled,
    PoolName,
    check_pool_options,
    check_word,
    creator_with,
    demand_no_target,
    limit_name,
)
from ._pooled.ways import (
    SteadyLease,
    declared_by,
    frame_at,
    lend_in_line,
    lend_watched,
)
from ._steady.calls import opens_cursor
from ._steady.cursor import (
    FOREVER,
    NOTHING,
    execution,
    kinds,
    settle,
)
from ._steady.driver_methods import execute_on, lend, names_of
from ._steady.mistakes import check_creator
from ._steady.options import (
    as_statements,
    check_hook,
    check_options,
    check_reset,
)
from ._steady.steady import session_of
from ._steady.unsaved import forgets_work, is_strict, warn_of_work
from .steady_db import (
    SteadyDBConnection,
    SteadyDBCursor,
    UsualCursor,
    bind,
    connect,
    cursor_for,
    kind_for,
)

__all__ = [
    "CommitUnknownError", "InvalidConnectionError", "LeaseHolder",
    "NestedBorrowingError", "NotSupportedError", "PoolClosedError",
    "PoolDeadlockError", "PoolStats", "PooledDB", "PooledDBError",
    "PooledDedicatedDBConnection", "PooledSharedDBConnection",
    "SharedDBConnection", "TooManyConnectionsError"]


TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from ._core.holders import LeaseHolder
    from ._core.stats import PoolStats
    from ._drivers.names import ConnectionNames
else:
    ConnectionNames = Generic

    def __getattr__(name: str) -> Any:
        """Return what this module offers of others, which few programs use."""
        if name == "PoolStats":
            from ._core import stats as module  # noqa: PLC0415 - if needed
        elif name == "LeaseHolder":
            from ._core import holders as module  # noqa: PLC0415 - if needed
        elif name in {"PersistentDB", "local"}:
            from . import persistent_db as module  # noqa: PLC0415 - if needed
        else:
            raise AttributeError(
                f"module {__name__!r} has no attribute {name!r}")
        return getattr(module, name)


class PooledDBError(Exception):
    """General PooledDB error."""


class InvalidConnectionError(PooledDBError):
    """Database connection is invalid."""


class NotSupportedError(PooledDBError):
    """DB-API module not supported by PooledDB."""


class TooManyConnectionsError(PooledDBError):
    """Too many database connections were opened."""


class NestedBorrowingError(TooManyConnectionsError):
    """The thread has a connection already, and asks for another one."""


class PoolDeadlockError(TooManyConnectionsError):
    """All connections are held by threads that wait for another one."""


# The names of these errors before DBUtils 2.0.
InvalidConnection = InvalidConnectionError
TooManyConnections = TooManyConnectionsError


class PoolClosedError(PooledDBError):
    """The pool was shut down."""


class CommitUnknownError(PooledDBError):
    """The connection was lost while a transaction was committed."""


class PooledDB(Pooled["PooledDedicatedDBConnection[Con]"]):
    """A pool of steady DB-API 2 connections."""

    version = __version__

    _too_many_error = TooManyConnectionsError
    _invalid_error = InvalidConnectionError
    _closed_error = PoolClosedError
    _nested_error = NestedBorrowingError
    _deadlock_error = PoolDeadlockError
    _commit_unknown_error = CommitUnknownError

    def __init__(
            self, creator: Creator[Con] | None = None,
            mincached: int | None = 0,
            maxcached: int | None = 0, maxshared: int | None = 0,
            maxconnections: int | None = 0, blocking: Any = False,
            maxusage: int | None = None, setsession: Any = None,
            reset: Reset = True, failures: Any = None, ping: Any = 1,
            *args: Any, isfatal: Callable[[Exception], Any] | None = None,
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
            features: Any = (), behind: Behind | None = "auto",
            targets: Servers | None = None, **kwargs: Any) -> None:
        """Set up the pool.

        mincached: how many connections are opened at the start
        maxcached: how many idle connections are kept at most
            (0 or None means any number); raised to mincached
        maxshared: how many connections may be shared at most, if they are
            requested as shareable and the driver allows that
            (0 or None means that all connections are dedicated)
        maxconnections: how many connections may be in use at most
            (0 or None means any number); raised to mincached, maxcached and
            maxshared
        blocking: how a request beyond that limit is served: if true, it waits
            for its turn, otherwise it gets a TooManyConnectionsError
        reset: how a returned connection is reset: if true, it is always
            rolled back, otherwise only a transaction begun with begin() is;
            a callable is called after that with the driver connection, and
            "session" always gives it a new session, which otherwise it gets
            only if statements like SET have changed the old one
        maxwait: for how many seconds a request waits at most until it gets
            a TooManyConnectionsError; 0 means not at all.  If this is set,
            "blocking" has no effect.
        maxwaiting: how many requests may wait at the same time
        connecting: how many connections are opened at the same time at most
            (0 or None means any number); one that takes longer than half a
            second keeps no request from trying
        maxlifetime: after how many seconds a connection is replaced, up to
            a tenth earlier, so that not all are replaced at the same time
        maxidletime: after how many seconds an idle connection is closed
        keepalive: after how many seconds an idle connection is asked
            whether it is alive, in the background
        refill: if true, mincached idle connections are kept ready in the
            background
        leakafter: after how many seconds a connection that was not given
            back is reported, with the place in the program that took it
        reclaim: if true, it is also taken away then; all later use of it
            raises an error that says so
        idleafter: after how many seconds a connection that is held without
            a statement is reported, once for each place in the program
        track: whether the pool notes who has a connection, for its errors and
            warnings; "auto" means from the moment on at which more than half
            of maxconnections are in use, or a request has to wait
        nested: "warn" logs once for each place when a thread that has a
            connection of the pool asks for another one, and "refuse" raises
            a NestedBorrowingError; "allow" does neither
        ondeadlock: if all connections are held by threads that wait for
            another one, "log" logs their stacks, and "raise" also raises a
            PoolDeadlockError in one of them, unless a time-out ends it
        poolname: the name of the pool in texts; by default the driver, the
            host, the port and the database
        features: additions to the pool, such as a HealthCheck
        behind: that of steady_db.connect(), or "auto", which finds it out with
            the first connection

        All other parameters are those of steady_db.connect().  The check
        that ping=1 asks for is made when a connection is taken out of the
        pool.
        """
        self._creator = creator_with(targets, creator)
        threadsafety = _check_threadsafety(self._creator)
        check_options(maxusage, failures, isfatal, ping, True, failover)
        self._isfatal, self._args = split_isfatal(isfatal, args)
        self._failover: Failover = failover
        self._poolname = check_text("poolname", poolname)
        check_reset(reset, "session")
        self._features = _check_features(features)
        self._kwargs = kwargs
        self._blocking = blocking
        self._setsession = as_statements(setsession)
        self._onconnect = check_hook("onconnect", onconnect)
        self._failures = failures
        self._ping = ping
        limits = make_limits(
            mincached, maxcached, maxshared, maxconnections,
            threadsafety > 1, maxwaiting, connecting)
        # the first pool loads it, and what opens connections
        from ._pooled.backends import DbBackend  # noqa: PLC0415 - it is large

        backend = DbBackend(
            reset, maxusage, self._creator, _PooledDBConnection, _new_record)
        backend.stand_behind(check_word(
            "behind", behind, ("auto", "transaction-pooler", None)))
        self._begin(
            backend, limits, check_pool_options(
                blocking, maxwait, track, nested, ondeadlock, maxlifetime,
                maxidletime, keepalive, leakafter, idleafter, refill,
                reclaim))
        self._add_options()

    def _add_options(self) -> None:
        """Add what few pools have."""
        if self._features:
            from ._core.features import add_features  # noqa: PLC0415 - an option

            add_features(self._features, self._core, self._open)
        if hasattr(type(self._creator), "_new_route"):
            from ._pooled.targeted import add_targets  # noqa: PLC0415 - an option

            add_targets(self, self._core, self._creator)

    def _change_creator(self, creator: Any) -> None:
        check_creator(creator)
        self._backend.come_from(creator)
        allow_helpers(self._core, not self._backend.is_embedded)

    # Inner names of DBUtils 3.x that programs and their tests read.
    _creator = PoolName(None, _change_creator)
    _maxshared = limit_name("maxshared", 0)

    @property
    def _connections(self) -> int:
        return self._core.stats().in_use

    @property
    def _idle_cache(self) -> Sequence[SteadyDBConnection]:
        return self._core.idle_connections()

    @property
    def _shared_cache(self) -> Sequence[SharedDBConnection]:
        if not self._maxshared:
            raise AttributeError("_shared_cache")
        return self._core.shared_records()

    def steady_connection(self) -> SteadyDBConnection[Con]:
        """Return a new steady connection that is not part of the pool."""
        return connect(
            self._creator, self._maxusage, self._setsession, self._failures,
            self._ping, True, self._isfatal, *self._args,
            failover=self._failover, onconnect=self._onconnect,
            **self._kwargs)

    def _lend(
            self, shareable: bool = True, *, maxwait: float | None = None,
            priority: Priority | None = None, tag: Any = None,
            target: Target | None = None, maxlag: float | None = None,
            after: str | None = None) -> PooledDedicatedDBConnection[Con]:
        demand_no_target(target, maxlag, after)
        lease: Any
        share = lease = None
        core = self._core
        timer = core.timer
        start = 0.0 if timer is None else monotonic()
        try:
            if core.observers and (
                    maxwait is None and priority is None and tag is None):
                lease = lend_watched(self, core, PooledDedicatedDBConnection())
            if lease is not None:
                return lease  # type: ignore[no-any-return]  # as below
            if shareable and priority is None and tag is None:
                share = core.share_idle(self)  # which has counted the request
            if share is not None:
                lease = hold(PooledSharedDBConnection(), share)
                if timer is not None:
                    timer.lent_slowly(monotonic() - start)
                return lease  # type: ignore[no-any-return]  # it can as much
        except BaseException:
            self._note_refusal()
            raise
        finally:
            share = lease = None  # not to be kept by a traceback
        if timer is not None and timer.is_due():
            return self._measured(shareable, maxwait, priority, tag)
        return self._lend_slowly(  # type: ignore[no-any-return]
            shareable, maxwait, priority, tag)

    @declared_by(_lend)
    def connection(
            self, shareable: bool = True, **options: Any,
            ) -> PooledDedicatedDBConnection[Con]:
        """Return a connection from the pool, to be given back by close().

        shareable: if true, other threads may get the same connection at
            the same time, unless it is in a transaction
        maxwait: like that of the pool, for this request only
        priority, tag: the urgency and the kind of the request, for a
            ResourceAllocationPooledDB
        target, maxlag, after: the role of the server, by how many seconds it
            may be behind, and the token of position() that it must have
            reached, for a pool with the Targets of the module hosts
        """
        # This is the fast way out; see _pooled/ways.py.  Only the lease holds
        # the permit, see Permit; a traceback must not hold it, either.
        lease: PooledDedicatedDBConnection[Con] | None
        core = self._core
        try:  # noqa: PLR1702 - the fast way is one short function
            if not options or self._may_take(**options):
                permit = core.take()
                if permit is None and not shareable:
                    permit = core.take_dedicated()
                if permit is not None:
                    if core.tracks is not None:
                        frame = frame_at(1)
                        permit.taken = (
                            monotonic(), frame.f_code, frame.f_lasti,
                            threading.get_ident(), None)
                    lease = PooledDedicatedDBConnection()
                    lease._permit = permit  # noqa: SLF001 - inlined hold()
                    permit.checkout = lease._checkout = [self]  # noqa: SLF001 - inlined, too
                    permit.slot.lent += 1
                    return lease
        except IndexError:
            pass  # nothing is idle, or more has to be done
        except BaseException:
            permit = lease = None
            self._note_refusal()
            raise
        if core.is_plain and core.take is none_is_idle and not options:
            return lend_in_line(self, core, PooledDedicatedDBConnection())
        return self._lend(shareable, **options)

    def _may_take(
            self, *, maxwait: float | None = None, priority: Any = None,
            tag: Any = None, target: Target | None = None,
            maxlag: float | None = None, after: str | None = None) -> bool:
        """Return whether a request may take any idle connection at once."""
        return priority is None and tag is None and target is None and (
            maxlag is None and after is None) and (
            maxwait is None or not self._core.is_careful)

    # An error about a parameter names the method of the program.
    _may_take.__qualname__ = "PooledDB.connection"

    def _note_refusal(self) -> None:
        """Note that a request was not served, if that is counted."""
        timer = self._core.timer
        if timer is not None:
            timer.not_lent()

    def _lend_slowly(
            self, shareable: bool, maxwait: float | None, priority: Any,
            tag: Any) -> Any:
        lease: Any
        permit = lease = None
        core = self._core
        timer = core.timer
        start = 0.0 if timer is None else monotonic()
        try:
            permit = self._acquire(
                self._open, shareable, maxwait, self,
                core.request(priority, tag))
            lease = self._new_lease(permit)
            if timer is not None:
                timer.lent_slowly(monotonic() - start)
            return lease
        except BaseException:
            permit = lease = None
            self._note_refusal()
            raise
        finally:
            permit = None  # not to be kept by a traceback
            self._count(lease)
            lease = None

    @staticmethod
    def _new_lease(permit: Any) -> Any:
        kind = (
            PooledSharedDBConnection if permit.is_share
            else PooledDedicatedDBConnection)
        return hold(kind(), permit)

    def _count(self, lease: Any) -> None:
        """Count a request on the long way, and measure its lease if due."""
        core = self._core
        if core.tick is not None and not core.tick() and lease is not None:
            core.timer.measure(lease)

    def _measured(
            self, shareable: bool, maxwait: float | None, priority: Any,
            tag: Any) -> PooledDedicatedDBConnection[Con]:
        lease = None
        timer = self._core.timer
        start = monotonic()
        try:
            lease = PooledDB.connection(
                self, shareable, maxwait=maxwait, priority=priority, tag=tag)
            timer.lent(lease, monotonic() - start)
            note_caller(permit_of(lease))
            return lease
        finally:
            lease = None  # not to be kept by a traceback
            timer.end()

    def dedicated_connection(
            self, *, maxwait: float | None = None,
            priority: Priority | None = None, tag: Any = None,
            target: Target | None = None, maxlag: float | None = None,
            after: str | None = None,
            ) -> PooledDedicatedDBConnection[Con]:
        """Return a connection from the pool that is never shared."""
        lease = None
        given: dict[str, Any] = {
            "maxwait": maxwait, "priority": priority, "tag": tag,
            "target": target, "maxlag": maxlag, "after": after}
        options = {
            name: value for name, value in given.items() if value is not None}
        try:
            # a subclass may have only the parameters of DBUtils 3.x
            lease = self.connection(False, **options)
            if isinstance(lease, Lease):
                take_note(lease)  # of the program that called us
            return lease
        finally:
            lease = None  # not to be kept by a traceback

    def _borrow(self, **aim: Any) -> Any:
        return self.dedicated_connection(**aim)

    def _open(self) -> SteadyDBConnection[Con]:
        if self._setsession and self._backend.behind == "transaction-pooler":
            from ._drivers.poolers import connecting_with  # noqa: PLC0415 - behind one

            # the options first, so that nobody does without both
            rest, self._kwargs = connecting_with(
                self._setsession, self._kwargs, self._creator,
                module_of_creator(self._creator))
            self._setsession = rest
        con = self.steady_connection()
        self._look_at_methods(con)
        if self._backend.is_timing and type(con) is _usual:
            from ._steady.busy import Busy  # noqa: PLC0415 - an option

            con.__class__ = _TimedDBConnection
            session_of(con).busy = Busy()
        if con.threadsafety():
            return con
        con.close()
        raise NotSupportedError("Database module is not thread-safe. [DBU-09]")

    def _look_at_methods(self, con: SteadyDBConnection) -> None:
        """Find out which methods the program has replaced by its own."""
        global _usual  # noqa: PLW0603 - a method of a class is global, too
        self._choose_way_back()
        self._note_check(session_of(con))
        is_usual = SteadyDBConnection.cursor is _CURSOR
        _usual = SteadyDBConnection if is_usual else None

    def unshare(self, con: SharedDBConnection) -> None:
        """Take back one share of a connection, as its close() does."""
        share = _next_to_leave(con)
        if share is None:
            self._core.release_one_share(con.con)
        else:
            self._core.release_share(share)


def _check_threadsafety(creator: Any) -> int:
    """Return the level of thread safety of a creator that can be used."""
    check_creator(creator)
    threadsafety = creator_threadsafety(creator)
    if not threadsafety:
        raise NotSupportedError("Database module is not thread-safe. [DBU-09]")
    return threadsafety


_UNSHARE = PooledDB.unshare

# The class of connections whose cursors are opened without calling their
# method; None if a program has replaced that method.
_CURSOR = SteadyDBConnection.cursor
_usual = cast("Any", SteadyDBConnection)


class _TimedDBConnection(SteadyDBConnection):
    """A connection of a pool that measures how long it is busy."""

    __slots__ = ()

    def cursor(self, *args: Any, **kwargs: Any) -> SteadyDBCursor:
        """Return a new hardened cursor."""
        if _usual is None:  # the program has replaced the method since
            return super().cursor(*args, **kwargs)
        cursor: SteadyDBCursor = cursor_for(
            self, True, FOREVER, args, kwargs, _TimedDBCursor)
        return cursor


_execute = SteadyDBCursor.execute


class _TimedDBCursor(UsualCursor):
    """A cursor that notes how long its statements take."""

    __slots__ = ()

    def execute(
            self, operation: Any = NOTHING, parameters: Any = NOTHING,
            *more: Any, **options: Any) -> Any:
        """Execute a statement; this inlines begin() and end() of Busy."""
        checkout = self._own_checkout
        if not checkout or more or options:
            return super().execute(operation, parameters, *more, **options)
        busy = self._own_session.busy
        if busy.checkout is not checkout:
            busy.begin_lease(checkout)
        start = busy.since = monotonic()
        try:
            return _execute(self, operation, parameters)
        finally:
            now = busy.ended = monotonic()
            busy.seconds += now - start
            busy.since = None

    def _run(self, name: str, args: Args, kwargs: Kwargs) -> Any:
        self._driver_cursor()
        busy = self._own_session.busy
        busy.begin(self._own_checkout)
        try:
            return super()._run(name, args, kwargs)
        finally:
            busy.end()


# Programs see the usual names.
_TimedDBConnection.__name__ = SteadyDBConnection.__name__
_TimedDBCursor.__name__ = SteadyDBCursor.__name__


class _PooledDBConnection(SteadyLease, ConnectionNames[Con]):
    """A borrowed connection; it behaves like the steady connection."""

    __slots__ = ()

    _stands_for_driver = True

    valid = Forwarded("valid")

    def cursor(self, *args: Any, **kwargs: Any) -> SteadyDBCursor:  # noqa: PLR0915 - the fast way is one short function
        """Return a hardened cursor that can be used until close()."""
        permit, checkout = self._permit, self._checkout
        if not checkout:  # then there is no permit, either
            raise self._closed_error("cursor")
        con = permit.slot.con
        permit = None  # not to be kept by a traceback
        session = con._own_session  # noqa: SLF001 - as session_of()
        ready = session.ready
        if args or kwargs or type(con) is not _usual or (
                session.work is None or ready is None):
            return _open_cursor(self, con, checkout, args, kwargs)
        try:  # this inlines cursor_for()
            driver_cursor = ready.cursor()
        except Exception as error:
            if not session.failover.may_reopen(session, error, session.work):
                raise
            ready = session.con
            driver_cursor = ready.cursor()
        try:
            new = kinds[type(driver_cursor)]()
        except KeyError:  # the first one of its class
            new = kind_for(driver_cursor, session)()
        new._own_session = session  # noqa: SLF001 - as bind()
        new._own_cursor = driver_cursor  # noqa: SLF001 - as bind()
        new._own_ready = ready  # noqa: SLF001 - as bind()
        new._own_steady = con  # noqa: SLF001 - as bind()
        new._own_checkout = checkout  # noqa: SLF001 - as bind()
        new._own_hold = self  # noqa: SLF001 - as bind()
        return new  # type: ignore[no-any-return]  # of a class in kinds

    def __dir__(self) -> list[str]:
        """Return the names of this connection, without those of others."""
        own, kind = super().__dir__(), type(self)
        permit = self._held()
        has = () if permit is None else names_of(permit.slot.con)
        return [name for name in own if name in has or not isinstance(
            getattr(kind, name, None), Forwarded)]

    def _call(self, name: str, args: Args, kwargs: Kwargs) -> Any:
        """Call a method of the connection, which this lease must hold."""
        session = session_of(self._steady(name))
        if opens_cursor(session, name):
            return execute_on(
                self, session.driver.cursor_options, name, args, kwargs)
        return self._ours(self._call_here(name, args, kwargs))

    def _call_here(self, name: str, args: Args, kwargs: Kwargs) -> Any:
        return getattr(self._steady(name), name)(*args, **kwargs)

    def _ours(self, result: Any) -> Any:
        """Return the result of a method, bound to the time of this lease."""
        permit = self._held()
        if permit is not None and result is permit.slot.con:
            return self

        def refusal(name: str) -> Exception | None:
            is_mine = permit is not None and self._held() is permit
            return None if is_mine else self._closed_error(name)
        return lend(result, self, refusal)

    def begin(self, *args: Any, **kwargs: Any) -> None:
        """Begin a transaction."""
        self._steady("begin").begin(*args, **kwargs)

    def commit(self) -> None:
        """Commit the transaction."""
        self._steady("commit").commit()

    def rollback(self) -> None:
        """Roll back the transaction."""
        self._steady("rollback").rollback()

    def position(self) -> str:
        """Return how far the server has come, as a token after a commit."""
        position: str = self._steady("position").position()
        return position

    def _steady(self, name: str) -> Any:
        permit = self._held()
        if permit is None:
            raise self._closed_error(name)
        return permit.slot.con

    def _closed_error(self, name: str) -> Exception:
        return InvalidConnectionError(self._closed_text(name))


def _open_cursor(
        lease: Any, con: Any, checkout: Any, args: Args,
        kwargs: Kwargs) -> SteadyDBCursor:
    """Return a cursor of a lease in a way that is not the usual one."""
    cursor: SteadyDBCursor
    if type(con) is _usual:  # as nearly always
        cursor = cursor_for(con, lease, checkout, args, kwargs, UsualCursor)
        return cursor
    cursor = con.cursor(*args, **kwargs)
    if isinstance(cursor, SteadyDBCursor):
        bind(cursor, lease, checkout)
    return cursor


class PooledDedicatedDBConnection(_PooledDBConnection[Con]):
    """A borrowed connection that is not shared."""

    __slots__ = ()


class PooledSharedDBConnection(_PooledDBConnection[Con]):
    """A borrowed connection that others may use at the same time.

    While one of the leases that share it is in a transaction, the others move
    to another connection.
    """

    __slots__ = ()

    @property
    def _shared_con(self) -> Any:
        permit = self._held()
        return None if permit is None else permit.record

    def close(self) -> None:
        """Give this share of the connection back to the pool."""
        share, checkout = self._permit, self._checkout
        pool = first(checkout)
        if share is None or pool is None:
            return
        is_forgotten = is_strict and _forgets_share(share)
        if "unshare" in pool.__dict__ or type(pool).unshare is not _UNSHARE:
            record = share.record
            _note_leaving(record, share)
            pool.unshare(record)
        else:
            pool._core.release_share(share)  # noqa: SLF001 - as core_of()
        self._permit = None
        if is_forgotten:
            warn_of_work(UNSAVED)

    def _do(self, act: Callable[[Any], Any], name: str) -> Any:
        """Run an action on a connection that is in no other's transaction."""
        while True:
            if is_released(self):
                raise self._closed_error(name)
            results = self._do_here(act)
            if results:
                return results[0]
            self._move()

    def _do_here(self, act: Callable[[Any], Any]) -> Any:
        """Return the result in a list, [] if this connection is not free."""
        share = self._held()
        if share is None:
            return []
        con = share.slot.con
        session = session_of(con)
        return session.turns.take(session, share, lambda: act(con))

    def _move(self) -> None:
        """Exchange the connection for another one."""
        pool = self._pool
        if pool is not None:
            old = self._permit
            other = _borrow_instead(pool, old)
            self._checkout, self._permit = hand_over(other)
            taken, old.taken = old.taken, None
            if taken is not None:  # the same holder goes on
                self._permit.taken = (*taken[:4], None, *taken[5:])
            core_of(pool).release_share(old, is_moved=True)

    def _run_shared(self, cursor: Any, call: Any) -> Any:
        """Execute a statement of a cursor of this connection."""
        def act(con: Any) -> Any:
            session = session_of(con)
            settle(cursor, session)
            return session.failover.run(session, cursor, call)
        return self._do(act, call.name)

    def cursor(self, *args: Any, **kwargs: Any) -> SteadyDBCursor:
        """Return a hardened cursor that can be used until close()."""
        checkout = _SharedCheckout(self)
        cursor: SteadyDBCursor = self._do(
            lambda con: con.cursor(*args, **kwargs), "cursor")
        if isinstance(cursor, SteadyDBCursor):
            bind(cursor, self, checkout, checkout)
        return cursor

    def _call_here(self, name: str, args: Args, kwargs: Kwargs) -> Any:
        return self._do(
            lambda con: getattr(con, name)(*args, **kwargs), name)

    def begin(self, *args: Any, **kwargs: Any) -> None:
        """Begin a transaction in which no other lease takes part."""
        self._do(lambda con: con.begin(*args, **kwargs), "begin")

    def _end(self, verb: str) -> None:
        """End the transaction, and let others go on that wait for that."""
        if is_released(self):
            raise self._closed_error(verb)
        try:
            # does nothing in a transaction of another lease, which goes on
            self._do_here(methodcaller(verb))
        finally:
            self._look_again()

    def _look_again(self) -> None:
        """Serve the requests that wait for the end of a transaction."""
        pool = self._pool
        if pool is not None:
            core_of(pool).reclaim()

    def commit(self) -> None:
        """Commit the transaction."""
        self._end("commit")

    def rollback(self) -> None:
        """Roll back the transaction."""
        self._end("rollback")

    def cancel(self) -> None:
        """Cancel a long-running transaction, if the driver can do that."""
        share = self._held()
        if share is None:
            raise self._closed_error("cancel")
        con = share.slot.con
        try:
            con.cancel()  # while another thread may be executing
        finally:
            session = session_of(con)
            session.turns.note(session, share)
            self._look_again()


def _forgets_share(share: Any) -> bool:
    """Return whether a share is given back with work undecided in it."""
    session = session_of(share.slot.con)
    return session.turns.is_worker(share, share.is_alone) and forgets_work(
        session)


class _SharedCheckout:
    """The checkout of a cursor, on whatever connection its lease has."""

    def __init__(self, lease: PooledSharedDBConnection[Any]) -> None:
        self._lease = ref(lease)

    def __bool__(self) -> bool:
        """Return whether the lease was neither closed nor dropped."""
        lease = self._lease()
        return lease is not None and not is_released(lease)

    @property
    def refusal(self) -> str | None:
        """Why the lease has ended, if the pool has taken it back."""
        permit = getattr(self._lease(), "_permit", None)
        return getattr(getattr(permit, "checkout", None), "text", None)

    def execute(
            self, session: Any, cursor: Any, operation: Any,
            parameters: Any) -> Any:
        """Execute a statement."""
        return self.run(session, cursor, execution(operation, parameters))

    def run(self, session: Any, cursor: Any, call: Any) -> Any:  # noqa: ARG002 - as for a policy
        """Make another call of a cursor."""
        lease: Any = self._lease()
        return lease._run_shared(cursor, call)  # noqa: SLF001 - of this module


class SharedDBConnection:
    """The record of a connection that several leases share.

    Records compare by rank, the connection to be shared next first, and
    are equal if they are of the same rank, as in DBUtils 3.1.  As keys,
    however, different records are different.
    """

    def __init__(self, con: Any) -> None:
        self.con = con
        self.shared = 1
        # The shares that are about to be given back, for a pool whose class
        # has replaced unshare().
        self._leaving: deque[Any] = deque()

    def _rank(self) -> tuple[bool, int]:
        con = self.con
        in_transaction = con._transaction  # noqa: SLF001 - a name of 3.x
        return bool(in_transaction), self.shared

    def __lt__(self, other: Any) -> bool:
        """Return whether this connection is to be shared before the other."""
        if not isinstance(other, SharedDBConnection):
            return NotImplemented
        return self._rank() < other._rank()

    def __eq__(self, other: object) -> bool:
        """Return whether both are of the same rank."""
        if not isinstance(other, SharedDBConnection):
            return NotImplemented
        return self._rank() == other._rank()

    def __le__(self, other: Any) -> bool:
        """Return whether the other connection is not to be shared before."""
        if not isinstance(other, SharedDBConnection):
            return NotImplemented
        return self._rank() <= other._rank()

    # Python swaps the two for "greater", so it needs no method.

    __hash__ = object.__hash__

    def share(self) -> None:
        """Count one more share."""
        self.shared += 1

    def unshare(self) -> None:
        """Count one share less."""
        self.shared -= 1


def _check_features(features: Any) -> tuple[Any, ...]:
    """Return the features of a pool that is about to be made."""
    if features == ():  # as nearly always
        return ()
    from ._core.features import check_features  # noqa: PLC0415 - an option

    return check_features(features)


# Functions and not methods: programs that read records need no such names.

def _new_record(con: Any) -> SharedDBConnection:
    """Return the record of a connection that is shared from now on."""
    if not con.threadsafety() > 1:
        raise NotSupportedError(
            "Database connection is not thread-safe. [DBU-09]")
    return SharedDBConnection(con)


def _borrow_instead(pool: Any, share: Any) -> Any:
    """Return a lease that takes the place of a share, so it is not nested."""
    taken, share.taken = share.taken, None
    try:
        return pool.connection()
    finally:
        share.taken = taken


def _note_leaving(record: SharedDBConnection, share: Any) -> None:
    """Note a share that is about to be given back."""
    record._leaving.append(ref(share))  # noqa: SLF001 - of this module


def _next_to_leave(record: SharedDBConnection) -> Any:
    """Return the share that is given back now, None if unknown."""
    link = pop(record._leaving)  # noqa: SLF001 - of this module
    while link is not None:
        share = link()
        if share is not None and share.checkout:
            return share
        link = pop(record._leaving)  # noqa: SLF001 - of this module
    return None
