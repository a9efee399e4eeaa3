"""The pools of psycopg2, for every driver and with hardened connections.

Programs that were written for psycopg2.pool only have to import this module
instead.  Connections are got and put back, by themselves or by a key; one
that is dropped instead comes back, too.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from time import monotonic
from typing import Any, Callable, Iterator, NamedTuple
from weakref import WeakKeyDictionary, WeakValueDictionary, ref

from ._base.checks import check_seconds, check_size, whole_number
from ._base.errors import release_frames
from ._base.fork import register_for_fork
from ._base.mutex import Mutex
from ._core.lease import is_released, permit_of
from ._core.pool import core_of
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


# In seconds: how often a thread looks whether the one that opens the
# connection of its key was interrupted.
_LOOK = 0.05


class PoolError(Exception):
    """A pool was not used as it can be.

    What a pool raises is also an Error of its driver.
    """

    def __reduce__(self) -> Any:
        """Be pickled as a PoolError, which every process knows."""
        return PoolError, self.args


def _error_class(creator: Any) -> type[Exception]:
    """Return the class of the errors of a pool."""
    base = getattr(
        creator, "Error", getattr(module_of_creator(creator), "Error", None))
    if not (isinstance(base, type) and issubclass(base, Exception)):
        return PoolError
    return type("PoolError", (PoolError, base), {"__module__": __name__})


class KeyedConnection(PooledDedicatedDBConnection):
    """A connection of a pool; a "with" block is a transaction."""

    __slots__ = ()

    @property
    def closed(self) -> Any:
        """What the driver says, and 1 if the pool has it back."""
        permit = self._held()
        if permit is None:
            return 1
        return getattr(session_of(permit.slot.con).con, "closed", 0)

    def __exit__(self, *exc: object) -> None:
        """Commit, or roll back if there was an error; do not give back."""
        if exc[0] is None:
            self.commit()
        else:
            self.rollback()


@lru_cache(maxsize=None)
def _class_for(kind: type) -> type:
    """Return the class of connections that were lent as another kind."""
    if kind is PooledDedicatedDBConnection:
        return KeyedConnection
    return type(  # as of those whose use is measured
        "KeyedConnection", (KeyedConnection, kind), {
            "__slots__": (), "__module__": __name__})


class _Attempt(NamedTuple):
    """The work of a thread to get a connection for a key."""

    # Returns what is alive for as long as the thread is at work.
    token: Callable[[], Any]
    thread: int
    over: Any

    def is_released(self) -> bool:
        """Return whether others have to look again."""
        return self.over.is_set() or self.token() is None


class _Token:
    """What a thread holds while it is at work."""

    __slots__ = ("__weakref__",)


class _Attempts:
    """Which threads are at work to get a connection for a key."""

    def __init__(self) -> None:
        self._mutex = Mutex()
        self._running: dict[Any, _Attempt] = {}

    def begin(self, key: Any, token: _Token) -> _Attempt:
        """Return the attempt for a key, a new one if there is none."""
        with self._mutex.take():
            attempt = self._running.get(key)
            if attempt is None or attempt.is_released():
                attempt = self._running[key] = _Attempt(
                    ref(token), threading.get_ident(), threading.Event())
        return attempt

    def end(self, key: Any, token: _Token) -> None:
        """End the attempt for a key, if it is that of the token."""
        with self._mutex.take():
            attempt = self._running.get(key)
            if attempt is not None and attempt.token() is token:
                del self._running[key]
                attempt.over.set()


class AbstractConnectionPool:
    """What the pools have in common, for those who make others."""

    def __init__(
            self, minconn: int, maxconn: int, *args: Any,
            creator: Any = None, maxwait: float | None = None,
            **kwargs: Any) -> None:
        """Open so many connections.

        minconn: how many connections are opened, and may be idle
        maxconn: how many connections may be in use, if minconn is not greater
        creator: a DB-API 2 module; if there is none, psycopg2
        maxwait: for how many seconds a request waits for a connection if
            all of them are in use

        All other parameters are those of the driver, or by keyword those of
        pooled_db.PooledDB.
        """
        if creator is None:
            creator = import_module("psycopg2")
        self._error = _error_class(creator)
        self.minconn = check_size(
            "minconn", whole_number("minconn", minconn)) or 0
        self.maxconn = check_size(
            "maxconn", whole_number("maxconn", maxconn)) or 0
        limit = max(self.minconn, self.maxconn)
        if not limit:
            raise self._error("minconn and maxconn must not both be 0.")
        self.closed = False
        # The connections of psycopg2 that were put back with autocommit.
        self._autocommit: Any = WeakKeyDictionary()
        self._health = HealthCheck(None)
        self._pool = PooledDB(
            creator, self.minconn, self.minconn, 0, limit, False,
            kwargs.pop("maxusage", None), kwargs.pop("setsession", None),
            kwargs.pop("reset", True), kwargs.pop("failures", None),
            kwargs.pop("ping", 1), *args, maxwait=maxwait,
            features=(*kwargs.pop("features", ()), self._health), **kwargs)
        core = core_of(self._pool)
        core.resize(
            lambda limits: limits._replace(maxcached=self.minconn))
        self._begin_anew()
        register_for_fork(self, method="_begin_anew")

    def _begin_anew(self) -> None:
        """Have lent nothing, as in a forked child."""
        # The connections that are in use, by their identities, and those
        # that were asked for by a key, changed by one thread at a time.
        self._mutex = Mutex()
        self._out: Any = WeakValueDictionary()
        self._keyed: dict[Any, KeyedConnection] = {}
        self._attempts = _Attempts()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"of {self.maxconn} connections"
        return f"<{type(self).__name__} {state}>"

    # What subclasses of the original make their methods of.

    def _getconn(
            self, key: Any = None, maxwait: float | None = None) -> Any:
        """Return a connection; that of the key, if it is in use."""
        self._check_open()
        if key is None:
            return self._lend(None, maxwait)
        timeout = check_seconds("maxwait", maxwait)
        if timeout is None:
            timeout = core_of(self._pool).timeout
        deadline = monotonic() + timeout if timeout else None
        lease = None
        try:
            lease = self._known(key)
            while lease is None or is_released(lease):
                lease = self._lend_once(key, maxwait, deadline)
            return lease
        finally:
            lease = None  # not to be kept by a traceback

    def _known(self, key: Any) -> Any:
        """Return the connection with a key, None if none is in use."""
        lease = self._keyed.get(key)
        return None if lease is None or is_released(lease) else lease

    def _lend_once(
            self, key: Any, maxwait: float | None,
            deadline: float | None) -> Any:
        """Return a connection for a key, which one thread works for.

        The others need no places of their own: they wait for its outcome.
        This returns None if they have to look again.
        """
        token, lease = _Token(), None
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
            token = lease = None  # type: ignore[assignment]  # as above

    def _wait_for(
            self, attempt: _Attempt, key: Any,
            deadline: float | None) -> None:
        """Wait until another thread has got a connection for a key, or not."""
        while not attempt.is_released():
            pause = _LOOK
            if deadline is not None:
                pause = min(pause, deadline - monotonic())
            if pause <= 0:
                raise self._error(
                    "Another thread has not yet got a connection for the key"
                    f" {key!r}. Wait longer (maxwait).")
            attempt.over.wait(pause)

    def _lend(self, key: Any, maxwait: float | None) -> Any:
        lease = None
        try:
            lease = self._pool.dedicated_connection(maxwait=maxwait)
            kind: Any = type(lease)
            lease.__class__ = _class_for(kind)
            lease._key = key  # noqa: SLF001 - of this module
            if self._autocommit:
                self._restore_mode(lease)
            self._out[id(lease)] = lease
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
        return lease

    def _first_of(self, key: Any, lease: KeyedConnection) -> KeyedConnection:
        """Return the connection with a key, which is this if there is none."""
        with self._mutex.take():
            known = self._keyed.get(key)
            if known is None or is_released(known):
                known = self._keyed[key] = lease
        return known

    def _putconn(
            self, conn: Any = None, key: Any = None,
            close: bool = False) -> None:
        """Take a connection back, or close it."""
        self._check_open()
        lease: Any = conn
        if conn is None:
            lease = self._keyed.get(key)
        if lease is not None and self._out.get(id(lease)) is lease:
            self._forget(lease)  # first: it would keep what is not put back
        if lease is None or self._out.pop(id(lease), None) is not lease:
            raise self._error(
                "A connection was put back that is not in use, or not of this"
                " pool." if conn is not None else
                f"No connection with the key {key!r} is in use.")
        if close:
            is_forgotten = is_strict and _forgets(lease)
            core_of(self._pool).destroy(lease)
            if is_forgotten:
                warn_of_work(UNSAVED)
        else:
            self._note_mode(lease)
            lease.close()

    def _note_mode(self, lease: KeyedConnection) -> None:
        """Keep autocommit for the next one, as psycopg2.pool does."""
        permit = permit_of(lease)
        if permit is None or not hasattr(lease, "get_transaction_status"):
            return
        con = permit.slot.con
        if con.autocommit:
            self._autocommit[con] = True
        elif self._autocommit:
            self._autocommit.pop(con, None)

    def _restore_mode(self, lease: Any) -> None:
        permit = permit_of(lease)
        if self._autocommit.get(permit.slot.con) and not lease.autocommit:
            lease.autocommit = True

    def _forget(self, lease: KeyedConnection) -> None:
        key = lease._key  # noqa: SLF001 - of this module
        with self._mutex.take():
            if self._keyed.get(key) is lease:
                del self._keyed[key]

    def _closeall(self) -> None:
        """Close all connections, also those in use."""
        self._check_open()
        self.closed = True
        self._pool.shutdown(0)
        for lease in list(self._out.values()):
            core_of(self._pool).destroy(lease)
        self._keyed.clear()

    def _check_open(self) -> None:
        if self.closed:
            raise self._closed_error()

    def _closed_error(self) -> Exception:
        return self._error("This pool is closed.")


def _forgets(lease: KeyedConnection) -> bool:
    """Return whether work is lost with a connection."""
    permit = permit_of(lease)
    return permit is not None and forgets_work(session_of(permit.slot.con))


class ThreadedConnectionPool(AbstractConnectionPool):
    """A pool from which threads get connections."""

    def getconn(self, key: Any = None, *, maxwait: float | None = None) -> Any:
        """Return a connection, to be put back with putconn().

        key: if a connection with this key is in use, it is that one

        The other parameter is that of the pool, for this request only.
        """
        return self._getconn(key, maxwait)

    def putconn(
            self, conn: Any = None, key: Any = None,
            close: bool = False) -> None:
        """Put a connection back, given itself or only by its key.

        close: if true, it is closed for good
        """
        self._putconn(conn, key, close)

    def closeall(self) -> None:
        """Close all connections, also those in use, and the pool for good."""
        self._closeall()

    @contextmanager
    def connection(
            self, key: Any = None, *,
            maxwait: float | None = None) -> Iterator[Any]:
        """Get a connection for a context at whose end it is put back.

        This does not commit.
        """
        conn = self.getconn(key, maxwait=maxwait)
        try:
            yield conn
        finally:
            if not self.closed and self._out.get(id(conn)) is conn:
                self.putconn(conn)

    def stats(self) -> dict[str, Any]:
        """Return the state of the pool."""
        stats = core_of(self._pool).stats()
        return {
            "minconn": self.minconn, "maxconn": self.maxconn,
            "closed": self.closed, "in_use": stats.in_use,
            "idle": stats.idle, "waiting": stats.waiting}

    def health_check(self) -> dict[str, Any]:
        """Replace the idle connections that are dead; report how it is.

        The report is that of a HealthCheckPooledDB.
        """
        self._check_open()
        self._health.check()
        return self._health.report()


class SimpleConnectionPool(ThreadedConnectionPool):
    """The same; that of psycopg2 must not be used by several threads."""
