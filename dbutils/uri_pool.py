"""Connections by URI, in the manner of the database layer of web2py.

Each thread has one current connection and one cursor, until it closes them
at the end of a request.  Connections that were closed are kept, up to a
number, for all that have the same URI.  The names and hooks are those of
pyDAL's connection module, so that subclasses written for that one work.
"""

from __future__ import annotations

import os
import re
import threading
from contextlib import suppress
from functools import lru_cache
from operator import methodcaller
from typing import Any, Callable, Dict, Iterator
from weakref import WeakSet, WeakValueDictionary, ref

from ._base.checks import check_size
from ._base.errors import quietly
from ._base.fork import register_for_fork
from ._base.secrets import Secret, masked_url
from ._base.uris import is_memory, memory_file, place_of, url_of
from ._core.lease import Lease, is_released
from ._core.pool import core_of
from ._core.tuning import set_order
from ._drivers.driver import profile_of
from ._manager.connector import Connector, prepare_or_close
from ._pooled.base import UNSAVED
from ._steady.steady import Steady, session_of
from ._steady.unsaved import forgets_work, is_strict, warn_of_work
from .pool_manager import ConnectionConfig, DatabaseType
from .pooled_db import PooledDB

__all__ = ["GLOBAL_LOCKER", "THREAD_LOCAL", "ConnectionPool"]

GLOBAL_LOCKER: Any  # it is made when it is wanted

_instances: WeakSet[ConnectionPool] = WeakSet()
# What the pools hold in each thread, by the identities of the pools.
_holdings: WeakValueDictionary[int, Any] = WeakValueDictionary()
_FOLDER = "_pydal_folder_"  # the name by which a thread knows its folder
_NAME = re.compile(r"_pydal_(connection|cursor)_(\d+)_(\d+)")


class _Uri(Secret):
    """A URI whose repr shows no password."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(masked_url(self))


class _Held:
    """What a thread holds, and the lease and the pool if that is lent.

    It is one for each thread when it is a threading.local, too.
    """

    lease: Any = None
    pool: Any = None
    connection: Any = None
    cursor: Any = None
    # Whether a connection was prepared since the last look.
    was_prepared = False

    def change(
            self, connection: Any, lease: Any = None, pool: Any = None,
            cursor: Any = None) -> None:
        """Hold another connection, or none."""
        self.cursor, self.connection = cursor, connection
        self.lease, self.pool = lease, pool

    def let_go(self) -> None:
        """Hold nothing, and close the cursor."""
        cursor = self.cursor
        self.change(None)
        _close(cursor)

    def close_cursor(self) -> None:
        """Close the cursor, and have none."""
        cursor, self.cursor = self.cursor, None
        _close(cursor)

    def take(self, pool: _UriPool, user: ConnectionPool) -> Any:
        """Hold a connection of a pool; if it fails the test, return None."""
        _opener_of(pool).work_for(user)
        self.was_prepared = False
        lease = pool.dedicated_connection()
        is_good = self.was_prepared
        if is_good:
            self.change(lease)
            self.cursor = lease.cursor()
        else:
            with quietly("testing a connection that was kept"):
                user.set_connection(lease, run_hooks=False)
                is_good = True
        if is_good:
            self.lease, self.pool = lease, pool
            return lease
        self.let_go()
        core_of(pool).destroy(lease)
        return None

    def can_be_kept(self, size: Any) -> bool:
        """Return whether the pool keeps what was lent, among so many."""
        return self.pool is not None and _has_room(self.pool, int(size or 0))

    def leave_pool(self) -> bool:
        """Hold what was lent as something that is not of a pool.

        Return whether there is anything left.
        """
        lease, pool = self.lease, self.pool
        self.lease = self.pool = None
        if lease is not None and lease is self.connection:
            self.connection = core_of(pool).detach(lease)
        elif lease is not None:  # a subclass has made something else of it
            core_of(pool).destroy(lease)
        return self.connection is not None


@lru_cache(maxsize=None)
def _held_kind(local: Any) -> Any:
    return type("_HeldByThreads", (_Held, local), {})


def _new_held() -> Any:
    """Return what each thread holds.

    Its class is looked up when it is made, since gevent may replace that.
    """
    return _held_kind(threading.local)()


@lru_cache(maxsize=None)
def _thread_local() -> Any:
    """Return what else each thread has; it is made when it is needed."""
    return threading.local()


def _close(cursor: Any) -> None:
    if cursor is not None:
        with quietly("closing a cursor"):
            cursor.close()


class _ThreadLocal:
    """What each thread has, by the names under which pyDAL keeps it.

    The names of connections and cursors lead to what a ConnectionPool holds.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        held, what = _held_as(name)
        if held is None:
            return getattr(_thread_local(), name)
        return getattr(held, what)

    def __setattr__(self, name: str, value: Any) -> None:
        held, what = _held_as(name)
        if held is None:
            setattr(_thread_local(), name, value)
        elif what == "cursor":
            held.cursor = value
        else:
            held.change(value)

    def __delattr__(self, name: str) -> None:
        held, what = _held_as(name)
        if held is None:
            delattr(_thread_local(), name)
        elif what == "cursor":
            held.cursor = None
        else:
            held.change(None)


def _held_as(name: str) -> tuple[Any, str]:
    """Return what a pool of this process holds, if a name means that."""
    found = _NAME.fullmatch(name)
    if found is None or int(found[3]) != os.getpid():
        return None, ""
    return _holdings.get(int(found[2])), found[1]


THREAD_LOCAL = _ThreadLocal()


def __getattr__(name: str) -> Any:
    """Make the lock for programs that want it; nothing here needs it."""
    if name != "GLOBAL_LOCKER":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, threading.RLock())


class _Opener:
    """Opens connections for whoever uses them in this thread."""

    def __init__(self) -> None:
        self.after_fork()
        register_for_fork(self)

    def after_fork(self) -> None:
        """Have nobody who uses connections in a forked child."""
        self._users = threading.local()

    def work_for(self, user: ConnectionPool) -> None:
        """Open the next connections of this thread for somebody."""
        self._users.latest = ref(user)

    def __call__(self) -> Any:
        """Open a connection, and let it be prepared."""
        user = self._users.latest()
        if user is None:
            raise ReferenceError(
                "The connection cannot be opened again, since the"
                " ConnectionPool is gone that could do it.")
        con = user.connector()
        prepare_or_close(con, [user._prepare])  # noqa: SLF001 - of this module
        return con


class _UriPool(PooledDB):
    """The connections with a URI; its length is the number of idle ones.

    What the hooks have done with a new connection would be lost with its
    session, therefore a connection is not kept if its session has changed.
    The connection that was kept last is lent first.
    """

    def __init__(self, ping: int) -> None:
        self._opener = _Opener()
        super().__init__(self._opener, ping=ping)
        self._backend.renews_sessions = False
        set_order(self._core, latest=True)
        self._core.resize(lambda limits: limits._replace(maxcached=0))

    def __len__(self) -> int:
        return int(self._core.stats().idle)


def _opener_of(pool: _UriPool) -> _Opener:
    """Return what opens the connections of a pool."""
    return pool._opener  # noqa: SLF001 - of this module


def _keep(pool: _UriPool, number: int) -> None:
    """Keep at least so many idle connections."""
    core = core_of(pool)
    if number > core.limits.maxcached:
        core.resize(lambda limits: limits._replace(
            maxcached=max(limits.maxcached or 0, number)))


def _has_room(pool: _UriPool, number: int) -> bool:
    """Tell whether one more can be idle of so many."""
    return len(pool) < min(number, core_of(pool).limits.maxcached)


class _Sources:
    """The pools from which a ConnectionPool has its connections."""

    def __init__(self) -> None:
        # Those that nobody else has, for connections to keep or not.
        self._own: dict[str, Any] = {}

    def pool_for(self, user: ConnectionPool, use_pool: bool) -> _UriPool:
        """Return the pool for connections that are kept, or for others."""
        size = int(user.pool_size or 0) if use_pool else 0
        pools, place = self._own, str(bool(size))
        if size and user.uri and not is_memory(user.uri):
            pools, place = user.POOLS, _Uri(place_of(user.uri, user.folder))
        pool = pools.get(place)
        if pool is None:
            is_asked = size and user.check_active_connection
            pool = pools.setdefault(place, _UriPool(1 if is_asked else 0))
        _keep(pool, size)
        return pool


class _Pools(Dict[str, Any]):
    """The pools by their URIs, also by those that depend on the folder."""

    def __missing__(self, uri: str) -> Any:
        place = place_of(uri, getattr(THREAD_LOCAL, _FOLDER, ""))
        if place == uri:
            raise KeyError(masked_url(uri))
        return self[_Uri(place)]


class ConnectionPool:
    """Gives each thread a connection, and keeps those that were closed."""

    # The pools of all instances, by their URIs.
    POOLS: dict[str, Any] = _Pools()

    # Whether connections are looked at and tested before they are used.
    check_active_connection = True

    def __init__(
            self, uri: str = "", pool_size: int = 0,
            connector: Callable[[], Any] | None = None,
            after_connection: Callable[[Any], Any] | None = None) -> None:
        """Set it up, without opening a connection.

        uri: a URL as for ConnectionConfig, or a URI of pyDAL, such as
            "sqlite://" and the name of a file in the current folder
        pool_size: how many closed connections are kept for the next request
        connector: opens a connection of the driver, if not the URI tells how
        after_connection: is called with this object when a connection was
            opened
        """
        self.uri = uri
        self.pool_size = check_size("pool_size", pool_size) or 0
        self._find_work_folder()
        self._after_connection = after_connection
        if connector is not None:
            self.connector = connector  # type: ignore[method-assign]
        self._connector: Connector | None = None
        self._sources = _Sources()
        # Whether the first connection was prepared; and the turn to do that.
        self._first_connection = False
        self._turn = [True]
        self._begin_anew()
        _instances.add(self)
        register_for_fork(self, method="_begin_anew")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} for {self.uri!r}>"

    def _begin_anew(self) -> None:
        """Have no connection in a forked child."""
        self._held = _holdings[id(self)] = _new_held()

    @property
    def uri(self) -> Any:
        """Where to connect to; its repr shows no password."""
        return self._uri

    @uri.setter
    def uri(self, uri: Any) -> None:
        self._uri = _Uri(uri) if isinstance(uri, str) else uri

    @property
    def _connection_uname_(self) -> str:
        return f"_pydal_connection_{id(self)}_{os.getpid()}"

    @property
    def _cursors_uname_(self) -> str:
        return f"_pydal_cursor_{id(self)}_{os.getpid()}"

    @staticmethod
    def set_folder(folder: str) -> None:
        """Set the folder of this thread, where it finds files of SQLite."""
        setattr(THREAD_LOCAL, _FOLDER, folder)

    def _find_work_folder(self) -> None:
        self.folder = getattr(THREAD_LOCAL, _FOLDER, "")

    def connector(self) -> Any:
        """Open a connection of the driver; subclasses may do it otherwise."""
        if self._connector is None:
            self._connector = Connector(_config_of(self.uri, self.folder))
        return self._connector()

    @property
    def connection(self) -> Any:
        """The connection of this thread, opened if there is none."""
        return self.get_connection()

    @property
    def cursor(self) -> Any:
        """The cursor of this thread."""
        self.get_connection()
        if self._held.cursor is None:
            self.reset_cursor()
        return self._held.cursor

    def get_connection(self, use_pool: bool = True) -> Any:
        """Return the connection of this thread, opened if there is none.

        use_pool: if false, a new one is opened, and not kept afterwards
        """
        if _is_over(self._held.connection):
            self._held.let_go()
        connection = self._held.connection
        while connection is None:
            pool = self._sources.pool_for(self, use_pool)
            connection = self._held.take(pool, self)
        return connection

    def set_connection(self, connection: Any, run_hooks: bool = False) -> None:
        """Make a connection that of this thread; None means to have none.

        run_hooks: whether it is prepared like one that was just opened
        """
        held = self._held
        lent = (held.lease, held.pool) if connection is held.lease else ()
        held.let_go()
        held.change(connection, *lent)
        if connection is not None:
            held.cursor = connection.cursor()
            if run_hooks:
                self.after_connection_hook()
            if self.check_active_connection:
                self.test_connection()

    def reset_cursor(self) -> None:
        """Go on with a new cursor of the same connection."""
        connection = self.get_connection()
        self._held.close_cursor()
        self._held.cursor = connection.cursor()

    def _clean_tlocals(self) -> None:
        """Forget the connection and the cursor of this thread."""
        self._held.let_go()

    def reconnect(self) -> Any:
        """Commit, and go on with another visit to a connection."""
        try:
            self.close()
        finally:
            connection = self.get_connection()
        return connection

    def commit(self) -> None:
        """Commit what was done on the connection of this thread."""
        self.get_connection().commit()

    def rollback(self) -> None:
        """Roll back what was done on the connection of this thread."""
        self.get_connection().rollback()

    def close(self, action: Any = "commit", really: bool = True) -> None:
        """End the use of the connection by this thread, if it has one.

        action: what is done before: "commit", "rollback" or another method,
            a function that is called with this object, or None; what is not
            committed then is rolled back
        really: if false, a connection that is not kept is not closed

        If the action fails, the connection is closed, and the error raised.
        """
        if self._held.connection is None:
            return
        has_succeeded = False
        try:
            if action:
                _function_of(self, action)(self)
            has_succeeded = True
        finally:
            self._end(has_succeeded, really)

    def _end(self, has_succeeded: bool, really: bool) -> None:
        """Keep the connection, close it, or leave it to who has it."""
        held = self._held
        held.close_cursor()
        try:
            if has_succeeded and held.can_be_kept(self.pool_size):
                held.lease.close()
            elif (really or not has_succeeded) and held.leave_pool():
                with quietly("closing a connection"):
                    self.close_connection()
        finally:
            held.let_go()
            self.set_connection(None)

    def close_connection(self) -> None:
        """Close the connection of this thread for good, if it has one."""
        if self._held.leave_pool():
            con = self._held.connection
            is_forgotten = is_strict and (
                isinstance(con, Steady) and forgets_work(session_of(con)))
            con.close()
            self.set_connection(None)
            if is_forgotten:
                warn_of_work(UNSAVED)

    @classmethod
    def close_all_instances(cls, action: Any = "commit") -> None:
        """End the use of all connections by this thread.

        The parameter is that of close(); a function is called with None at
        the end.  The first error is raised when all have been closed.
        """
        errors = list(_close_all(cls, action))
        try:
            if callable(action):
                action(None)
            if errors:
                raise errors[0]
        finally:
            errors.clear()  # or the error would refer to itself

    # Hooks, in the order of their calls.

    def after_connection_hook(self) -> None:
        """Call the hooks for a new connection that is that of this thread."""
        if not self._first_connection:
            self._run_first_hook()
        if callable(self._after_connection):
            self._after_connection(self)
        self.after_connection()

    def _after_first_connection(self) -> None:
        """Do something with the first connection; for subclasses."""

    def after_connection(self) -> None:
        """Do something with each new connection; for subclasses."""

    def test_connection(self) -> None:
        """Raise an error if the connection is bad; for subclasses."""

    def _prepare(self, connection: Any) -> None:
        """Run the hooks with a new connection of the driver.

        What they did is committed, so that the program cannot undo it.
        """
        held = self._held
        before = held.connection, held.lease, held.pool, held.cursor
        held.change(None)
        try:
            self.set_connection(connection, run_hooks=True)
            if profile_of(connection).in_transaction(connection) is not False:
                connection.commit()
            held.was_prepared = True
        finally:
            held.let_go()
            held.change(*before)

    def _run_first_hook(self) -> None:
        """Run it, unless another thread does so; again if that fails."""
        with suppress(IndexError):
            self._turn.pop()
            try:
                if not self._first_connection:
                    self._after_first_connection()
                    self._first_connection = True
            finally:
                self._turn.append(True)


def _close_all(kind: type, action: Any) -> Iterator[Exception]:
    for pool in list(_instances):
        if isinstance(pool, kind):
            try:
                pool.close(action)
            except Exception as error:  # noqa: BLE001 - raised later
                yield error


def _config_of(uri: str, folder: str) -> ConnectionConfig:
    """Return the settings of the connections with a URI."""
    if is_memory(uri):
        return ConnectionConfig(
            DatabaseType.SQLITE, database=memory_file(), options={"uri": True})
    return ConnectionConfig.from_url(url_of(uri, folder))


def _function_of(pool: ConnectionPool, action: Any) -> Callable[[Any], Any]:
    """Return what is to be done before a connection is closed."""
    if callable(action):
        return action
    if not isinstance(action, str) or not (
            callable(getattr(pool, action, None))):
        raise ValueError(
            "'action' must be 'commit', 'rollback' or another method, a"
            f" function or None, not {action!r}.")
    return methodcaller(action)


def _is_over(connection: Any) -> bool:
    return isinstance(connection, Lease) and is_released(connection)
