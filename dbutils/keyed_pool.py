"""The pools of psycopg2, for every driver and with steady connections.

Programs that were written for psycopg2.pool only have to import this module
instead.  Connections are taken and put back, optionally by a key.  Dropped
connections return to the pool as well.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from time import monotonic
from weakref import ref

from ._base.checks import check_seconds, check_size, whole_number
from ._base.errors import release_frames
from ._base.fork import register_for_fork
from ._base.hints import (
    Any,
    Callable,
    Con,
    Creator,
    Generic,
    Iterator,
    NamedTuple,
)
from ._base.links import Links
from ._base.mutex import Mutex
from ._base.threads import Token
from ._core.lease import core_of, is_released, permit_of
from ._drivers.creators import module_of_creator
from ._pooled.base import UNSAVED
from ._steady.steady import session_of
from ._steady.unsaved import forgets_work, is_strict, warn_of_work
from .health_check_pooled_db import HealthCheck
from .pooled_db import (
    PoolClosedError,
    PooledDB,
    PooledDedicatedDBConnection,
    TooManyConnectionsError,
)

__all__ = [
    "AbstractConnectionPool", "KeyedConnection", "PoolError",
    "SimpleConnectionPool", "ThreadedConnectionPool"]


# In seconds: the time between two looks whether another thread, which opens
# the connection for the same key, was interrupted.
_LOOK = 0.05


class PoolError(Exception):
    """A pool was misused, or has no connection to lend.

    Errors of a pool are also instances of the Error of its driver.
    """

    def __reduce__(self) -> Any:
        """Return a plain PoolError, which every process can unpickle."""
        return PoolError, self.args


def _error_class(creator: Any) -> type[Exception]:
    """Return the class of the errors that a pool raises."""
    base = getattr(
        creator, "Error", getattr(module_of_creator(creator), "Error", None))
    if not (isinstance(base, type) and issubclass(base, Exception)):
        return PoolError
    return type("PoolError", (PoolError, base), {"__module__": __name__})


class KeyedConnection(PooledDedicatedDBConnection[Con]):
    """A connection of a pool; a "with" block is a transaction."""

    __slots__ = ()

    _key: Any

    @property
    def closed(self) -> Any:
        """Return the value of the driver, or 1 after the release."""
        permit = self._held()
        if permit is None:
            return 1
        return getattr(session_of(permit.slot.con).con, "closed", 0)

    def __exit__(self, *exc: object) -> None:
        """Commit, or roll back after an error, without releasing."""
        if exc[0] is None:
            self.commit()
        else:
            self.rollback()


@lru_cache(maxsize=None)
def _class_for(kind: type) -> type:
    """Return the keyed class for leases of a certain class."""
    if kind is PooledDedicatedDBConnection:
        return KeyedConnection
    return type(  # as for pools that measure
        "KeyedConnection", (KeyedConnection, kind), {
            "__slots__": (), "__module__": __name__})


class _Attempt(NamedTuple):
    """The attempt of a thread to acquire the connection for a key."""

    # Returns the token, which lives for as long as the thread is at work.
    token: Callable[[], Any]
    thread: int
    over: Any

    def is_released(self) -> bool:
        """Return whether the attempt has ended."""
        return self.over.is_set() or self.token() is None


class _Attempts:
    """The running attempts by their keys."""

    def __init__(self) -> None:
        self._mutex = Mutex()
        self._running: dict[Any, _Attempt] = {}

    def begin(self, key: Any, token: Token) -> _Attempt:
        """Return the running attempt for a key, or a new one."""
        with self._mutex.take():
            attempt = self._running.get(key)
            if attempt is None or attempt.is_released():
                attempt = self._running[key] = _Attempt(
                    ref(token), threading.get_ident(), threading.Event())
        return attempt

    def end(self, key: Any, token: Token) -> None:
        """End the attempt for a key, if it was begun with the token."""
        with self._mutex.take():
            attempt = self._running.get(key)
            if attempt is not None and attempt.token() is token:
                del self._running[key]
                attempt.over.set()


class AbstractConnectionPool(Generic[Con]):
    """The common base of the pools; programs can derive others from it."""

    def __init__(
            self, minconn: int, maxconn: int, *args: Any,
            creator: Creator[Con] | None = None,
            maxwait: float | None = None, **kwargs: Any) -> None:
        """Open the first connections.

        minconn: the number of connections to open, and the maximum of idle
            ones
        maxconn: the maximum number of connections in use, at least minconn
        creator: a DB-API 2 module; the default is psycopg2
        maxwait: the seconds for which a request waits when all connections
            are in use

        The other parameters are those of the driver.  Keyword parameters can
        also be those of pooled_db.PooledDB.
        """
        driver: Any = creator
        if driver is None and hasattr(kwargs.get("targets"), "dbapi"):
            driver = kwargs.pop("targets")  # they have a creator of their own
        if driver is None:
            driver = import_module("psycopg2")
        self._error = _error_class(driver)
        self.minconn = check_size(
            "minconn", whole_number("minconn", minconn)) or 0
        self.maxconn = check_size(
            "maxconn", whole_number("maxconn", maxconn)) or 0
        limit = max(self.minconn, self.maxconn)
        if not limit:
            raise self._error(
                "minconn and maxconn must not both be 0. [DBU-11]")
        self.closed = False
        # The steady connections that were put back with autocommit.
        self._autocommit = Links()
        self._health = HealthCheck(None)
        self._pool: PooledDB[Con] = PooledDB(
            driver, self.minconn, self.minconn, 0, limit, False,
            kwargs.pop("maxusage", None), kwargs.pop("setsession", None),
            kwargs.pop("reset", True), kwargs.pop("failures", None),
            kwargs.pop("ping", 1), *args, maxwait=maxwait,
            features=(*kwargs.pop("features", ()), self._health), **kwargs)
        core = core_of(self._pool)
        core.resize(
            lambda limits: limits._replace(maxcached=self.minconn))
        self._after_fork()
        register_for_fork(self, method="_after_fork")

    def _after_fork(self) -> None:
        """Start with nothing lent, also in a forked child."""
        # The leases in use, held weakly, and those that were taken by a key.
        # Only one thread at a time changes the latter.
        self._mutex = Mutex()
        self._out = Links()
        self._keyed: dict[Any, KeyedConnection[Con]] = {}
        self._attempts = _Attempts()

    def _join(self, follower: Any) -> None:
        """Call the method add() of an object with the pool behind this one."""
        follower.add(self._pool)

    def _leave(self, follower: Any) -> None:
        """Call the method drop() of an object with that pool."""
        follower.drop(self._pool)

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"of {self.maxconn} connections"
        return f"<{type(self).__name__} {state}>"

    # Subclasses of the original class build their methods from these.

    def _getconn(
            self, key: Any = None,
            maxwait: float | None = None) -> KeyedConnection[Con]:
        """Return a connection, or the one in use if it has the same key."""
        self._check_open()
        if key is None:
            return self._lend(None, maxwait)
        timeout = check_seconds("maxwait", maxwait)
        if timeout is None:
            timeout = core_of(self._pool).timeout
        deadline = monotonic() + timeout if timeout else None
        lease: KeyedConnection[Con] | None = None
        try:
            lease = self._known(key)
            while lease is None or is_released(lease):
                lease = self._lend_once(key, maxwait, deadline)
            return lease
        finally:
            lease = None  # a traceback must not keep it

    def _known(self, key: Any) -> Any:
        """Return the connection in use with a key, or None."""
        lease = self._keyed.get(key)
        return None if lease is None or is_released(lease) else lease

    def _lend_once(
            self, key: Any, maxwait: float | None,
            deadline: float | None) -> Any:
        """Return the connection for a key, or None to try again.

        Only one thread acquires it.  The others wait for the outcome, and
        need no slots of their own.
        """
        token, lease = Token(), None
        try:
            attempt = self._attempts.begin(key, token)
            if attempt.thread != threading.get_ident():
                self._wait_for(attempt, key, deadline)
            lease = self._known(key)
            if lease is None and attempt.thread == threading.get_ident():
                if deadline is not None:
                    maxwait = max(deadline - monotonic(), 0)
                lease = self._lend(key, maxwait)
            return lease
        finally:
            self._attempts.end(key, token)
            # a traceback must not keep them
            token = lease = None  # type: ignore[assignment]

    def _wait_for(
            self, attempt: _Attempt, key: Any,
            deadline: float | None) -> None:
        """Wait until the attempt of another thread has ended."""
        while not attempt.is_released():
            pause = _LOOK
            if deadline is not None:
                pause = min(pause, deadline - monotonic())
            if pause <= 0:
                raise self._error(
                    "Another thread has not yet got a connection for the key"
                    f" {key!r}. Wait longer (maxwait). [DBU-87]")
            attempt.over.wait(pause)

    def _lend(
            self, key: Any, maxwait: float | None) -> KeyedConnection[Con]:
        lease: Any = None
        try:
            lease = self._pool.dedicated_connection(maxwait=maxwait)
            kind: Any = type(lease)
            lease.__class__ = _class_for(kind)
            lease._key = key  # noqa: SLF001 - of this module
            if self._autocommit and self._autocommit.get(
                    permit_of(lease).slot.con) and not lease.autocommit:
                lease.autocommit = True
            self._out.add(lease, True)
            first = lease if key is None else self._first_of(key, lease)
            if first is not lease:  # another thread was faster
                lease.close()
                lease = first
        except TooManyConnectionsError as error:
            raise self._error(str(error)) from None
        except PoolClosedError:
            raise self._closed_error() from None
        except BaseException as error:
            lease = None
            release_frames(error)
            raise
        return lease  # type: ignore[no-any-return]

    def _first_of(
            self, key: Any,
            lease: KeyedConnection[Con]) -> KeyedConnection[Con]:
        """Return the connection in use with a key, else record this one."""
        with self._mutex.take():
            known = self._keyed.get(key)
            if known is None or is_released(known):
                known = self._keyed[key] = lease
        return known

    def _putconn(
            self, conn: Any = None, key: Any = None,
            close: bool = False) -> None:
        """Release a connection, or destroy it."""
        self._check_open()
        lease: Any = conn
        if conn is None:
            lease = self._keyed.get(key)
        if lease is not None and self._out.get(lease):
            # First: the key would keep the lease alive after an interrupt.
            self._forget(lease)
        if lease is None or not self._out.drop(lease):
            raise self._error(
                "The connection that was put back is not in use, or not of"
                " this pool. [DBU-47]" if conn is not None else
                f"No connection with the key {key!r} is in use. [DBU-47]")
        if close:
            is_forgotten = is_strict and _forgets(lease)
            core_of(self._pool).destroy(lease)
            if is_forgotten:
                warn_of_work(UNSAVED)
        else:
            self._note_mode(lease)
            lease.close()

    def _note_mode(self, lease: KeyedConnection[Con]) -> None:
        """Record autocommit for the next holder, as psycopg2.pool keeps it."""
        permit = permit_of(lease)
        if permit is None or not hasattr(lease, "get_transaction_status"):
            return
        con = permit.slot.con
        if con.autocommit:
            self._autocommit.add(con, True)
        elif self._autocommit:
            self._autocommit.drop(con)

    def _forget(self, lease: KeyedConnection[Con]) -> None:
        key = lease._key  # noqa: SLF001 - of this module
        with self._mutex.take():
            if self._keyed.get(key) is lease:
                del self._keyed[key]

    def _closeall(self) -> None:
        """Close all connections, including those in use."""
        self._check_open()
        self.closed = True
        self._pool.shutdown(0)
        for lease in self._out.things():
            core_of(self._pool).destroy(lease)
        self._keyed.clear()

    def _check_open(self) -> None:
        if self.closed:
            raise self._closed_error()

    def _closed_error(self) -> Exception:
        return self._error("This pool is closed. [DBU-33]")


def _forgets(lease: KeyedConnection[Any]) -> bool:
    """Return whether closing a connection loses work."""
    permit = permit_of(lease)
    return permit is not None and forgets_work(session_of(permit.slot.con))


class ThreadedConnectionPool(AbstractConnectionPool[Con]):
    """A pool of connections for threads."""

    def getconn(
            self, key: Any = None, *,
            maxwait: float | None = None) -> KeyedConnection[Con]:
        """Return a connection, which putconn() releases.

        key: a name for the connection; the same key returns the same
            connection while that is in use

        The other parameter is that of the pool, for this request only.
        """
        return self._getconn(key, maxwait)

    def putconn(
            self, conn: Any = None, key: Any = None,
            close: bool = False) -> None:
        """Release a connection, which can be named by its key only.

        close: whether to close it for good
        """
        self._putconn(conn, key, close)

    def closeall(self) -> None:
        """Close the pool for good with all connections, used and idle."""
        self._closeall()

    @contextmanager
    def connection(
            self, key: Any = None, *,
            maxwait: float | None = None) -> Iterator[KeyedConnection[Con]]:
        """Return a context with a connection, which ends with putconn().

        The context does not commit.
        """
        conn = self.getconn(key, maxwait=maxwait)
        try:
            yield conn
        finally:
            if not self.closed and self._out.get(conn):
                self.putconn(conn)

    def stats(self) -> dict[str, Any]:
        """Return the state of the pool."""
        stats = core_of(self._pool).stats()
        return {
            "minconn": self.minconn, "maxconn": self.maxconn,
            "closed": self.closed, "in_use": stats.in_use,
            "idle": stats.idle, "waiting": stats.waiting}

    def explain(self) -> str:
        """Return in words what the pool does, what is wrong, what helps."""
        return self._pool.explain()

    def health_check(self) -> dict[str, Any]:
        """Replace dead idle connections, and return a report.

        The report is like that of a HealthCheckPooledDB.
        """
        self._check_open()
        self._health.check()
        return self._health.report()


class SimpleConnectionPool(ThreadedConnectionPool[Con]):
    """The same pool; psycopg2 allows one thread to use the one so named."""
