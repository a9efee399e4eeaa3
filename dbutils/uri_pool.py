"""Connections by URI, with the interface of the database layer of web2py.

Each thread has one current connection and one cursor, until it closes them
at the end of a request.  A limited number of closed connections is kept for
all objects with the same URI.  The names and hooks are those of pyDAL's
connection module, so that subclasses written for pyDAL work.
"""

from __future__ import annotations

import os
import re
import threading
from contextlib import suppress
from functools import lru_cache
from operator import attrgetter, methodcaller
from weakref import WeakValueDictionary, ref

from ._base.atomic import alive
from ._base.checks import check_size
from ._base.errors import quietly
from ._base.fork import register_for_fork
from ._base.hints import Any, Callable, Dict, Iterator
from ._base.secrets import Secret, masked_url
from ._base.uris import absolute_uri, is_memory, memory_file, url_of
from ._core.lease import Lease, core_of, is_released
from ._drivers.registry import driver_of
from ._manager.connector import Connector, prepare_or_close
from ._pooled.base import UNSAVED
from ._steady.steady import Steady, session_of
from ._steady.unsaved import forgets_work, is_strict, warn_of_work
from .pool_manager import ConnectionConfig, DatabaseType
from .pooled_db import PooledDB, PooledDedicatedDBConnection
from .steady_db import SteadyDBCursor

__all__ = ["GLOBAL_LOCKER", "THREAD_LOCAL", "ConnectionPool"]

GLOBAL_LOCKER: Any  # made at its first use

# Weak references to all instances.  The callback that removes one is in C.
_instances: set[Any] = set()
# The holdings of threads, by the identities of their ConnectionPools.
_holdings: WeakValueDictionary[int, Any] = WeakValueDictionary()
_FOLDER = "_pydal_folder_"  # the attribute for the folder of a thread
_NAME = re.compile(r"_pydal_(connection|cursor)_(\d+)_(\d+)")


class _Uri(Secret):
    """A URI whose repr masks the password."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(masked_url(self))


class _Held:
    """The connection and the cursor that a thread holds.

    The lease and its pool are set if the connection comes from a pool.  A
    derived class is a threading.local, so that each thread has its own.
    """

    lease: Any = None
    pool: Any = None
    connection: Any = None
    cursor: Any = None
    # Whether take() has prepared a new connection.
    was_prepared = False

    def change(
            self, connection: Any, lease: Any = None, pool: Any = None,
            cursor: Any = None) -> None:
        """Hold another connection, or None."""
        self.cursor, self.connection = cursor, connection
        self.lease, self.pool = lease, pool

    def drop(self) -> None:
        """Close the cursor, and hold nothing."""
        cursor = self.cursor
        self.change(None)
        _close(cursor)

    def close_cursor(self) -> None:
        """Close the cursor, and hold none."""
        cursor, self.cursor = self.cursor, None
        _close(cursor)

    def take(self, pool: _UriPool, user: ConnectionPool) -> Any:
        """Hold and return a connection, or return None if its test fails."""
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
        self.drop()
        core_of(pool).destroy(lease)
        return None

    def can_be_kept(self, size: Any) -> bool:
        """Return whether the pool has room for the lease, given its size."""
        return self.pool is not None and _has_room(self.pool, int(size or 0))

    def leave_pool(self) -> bool:
        """Detach the connection from its pool.

        Return whether a connection is left.
        """
        lease, pool = self.lease, self.pool
        self.lease = self.pool = None
        if lease is not None and lease is self.connection:
            self.connection = core_of(pool).detach(lease)
        elif lease is not None:  # a subclass has replaced the connection
            core_of(pool).destroy(lease)
        return self.connection is not None


@lru_cache(maxsize=None)
def _held_kind(local: Any) -> Any:
    """Return the class of objects that hold other things in each thread."""
    return type("_HeldByThreads", (_Held, local), {})


@lru_cache(maxsize=None)
def _thread_local() -> Any:
    """Return the storage of threads for all other attributes."""
    return threading.local()


def _close(cursor: Any) -> None:
    if cursor is not None:
        with quietly("closing a cursor"):
            cursor.close()


class _ThreadLocal:
    """The storage of threads, with the names of attributes that pyDAL uses.

    The names of connections and cursors lead to those of a ConnectionPool.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "<the connections and cursors of this thread>"

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
        if _held_as(name)[0] is None:
            delattr(_thread_local(), name)
        else:
            setattr(self, name, None)


def _held_as(name: str) -> tuple[Any, str]:
    """Return the holding that a name means, and which part of it.

    The former is None if the name means something else.
    """
    found = _NAME.fullmatch(name)
    if found is None or int(found[3]) != os.getpid():
        return None, ""
    return _holdings.get(int(found[2])), found[1]


THREAD_LOCAL = _ThreadLocal()


def __getattr__(name: str) -> Any:
    """Make the lock for programs that use it; this module does not."""
    if name != "GLOBAL_LOCKER":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, threading.RLock())


class _Opener:
    """Opens connections for the present user of the thread."""

    def __init__(self) -> None:
        self.after_fork()
        register_for_fork(self)

    def after_fork(self) -> None:
        """Forget all users in a forked child."""
        self._users = threading.local()

    def work_for(self, user: ConnectionPool) -> None:
        """Set the object for which this thread opens connections."""
        self._users.latest = ref(user)

    def _user(self) -> ConnectionPool:
        user: ConnectionPool | None = self._users.latest()
        if user is None:
            raise ReferenceError(
                "The connection cannot be opened again, since its"
                " ConnectionPool no longer exists. [DBU-88]")
        return user

    def __call__(self) -> Any:
        """Open a connection, and prepare it."""
        user = self._user()
        con = user.connector()
        prepare_or_close(con, [user._prepare])  # noqa: SLF001 - of this module
        return con

    def prepare(self, con: Any) -> None:
        """Prepare a connection that was opened to one of several servers."""
        self._user()._prepare(con)  # noqa: SLF001 - of this module


class _UriPool(PooledDB[Any]):
    """The pool for a URI; its length is the number of idle connections.

    A new session would lack what the hooks did with the first one.  Therefore
    a connection with a changed session is not kept.  The connection that was
    kept last is lent first.
    """

    def __init__(self, ping: int, name: str | None, targets: Any) -> None:
        self._opener = _Opener()
        super().__init__(
            targets or self._opener, ping=ping, poolname=name,
            onconnect=None if targets is None else self._opener.prepare)
        self._backend.renews_sessions = False
        self._core.set_order(latest=True)
        self._core.resize(lambda limits: limits._replace(maxcached=0))

    def __len__(self) -> int:
        return int(self._core.stats().idle)


_opener_of = attrgetter("_opener")  # a pool has no such public name


def _keep(pool: _UriPool, number: int) -> None:
    """Make a pool keep at least `number` idle connections."""
    core = core_of(pool)
    if number > core.limits.maxcached:
        core.resize(lambda limits: limits._replace(
            maxcached=max(limits.maxcached or 0, number)))


def _has_room(pool: _UriPool, number: int) -> bool:
    """Return whether fewer than `number` connections are idle."""
    most: int = core_of(pool).limits.maxcached
    return len(pool) < min(number, most)


def _pool_for(
        user: ConnectionPool, own: dict[str, Any], use_pool: bool) -> _UriPool:
    """Return the pool for connections to keep, or the one for others.

    own: the pools that are not shared: one keeps connections, one does not
    """
    size = int(user.pool_size or 0) if use_pool else 0
    pools: dict[str, _UriPool] = own
    key = str(bool(size))
    if size and user.uri and not is_memory(user.uri):
        pools, key = user.POOLS, _Uri(absolute_uri(user.uri, user.folder))
    pool = pools.get(key)
    if pool is None:
        is_asked = size and user.check_active_connection
        name = masked_url(str(user.uri)) if user.uri else None
        pool = pools.setdefault(key, _UriPool(
            1 if is_asked else 0, name, _targets_of(user)))
    _keep(pool, size)
    return pool


def _targets_of(user: ConnectionPool) -> Any:
    """Return the servers of a user, None if there is but one."""
    connector: Any = vars(user).get("connector")
    if hasattr(type(connector), "_new_route"):
        return connector
    if connector is not None or not user.uri or is_memory(user.uri) or (
            type(user).connector is not ConnectionPool.connector):
        return None
    config = _config_of(user.uri, user.folder)
    if not config.hosts:
        return None
    from .hosts import Targets  # noqa: PLC0415 - an option

    return Targets([config])


class _Pools(Dict[str, Any]):
    """The pools by their URIs; those of SQLite may depend on the folder."""

    def __missing__(self, uri: str) -> Any:
        key = absolute_uri(uri, getattr(THREAD_LOCAL, _FOLDER, ""))
        if key == uri:
            raise KeyError(masked_url(uri))
        return self[_Uri(key)]


class ConnectionPool:
    """Gives each thread a connection, and keeps closed ones for reuse."""

    # The pools of all instances, by their URIs.
    POOLS: dict[str, Any] = _Pools()

    # Whether connections are looked at and tested before they are used.
    check_active_connection = True

    def __init__(
            self, uri: str = "", pool_size: int = 0,
            connector: Callable[[], Any] | None = None,
            after_connection: Callable[[Any], Any] | None = None) -> None:
        """Set the object up without opening a connection.

        uri: a URL as for ConnectionConfig, or a URI of pyDAL, such as
            "sqlite://" and the name of a file in the current folder
        pool_size: the number of closed connections kept for reuse
        connector: a function that opens a connection of the driver, instead
            of the URI
        after_connection: a function that is called with this object for each
            new connection
        """
        self.uri = uri
        self.pool_size = check_size("pool_size", pool_size) or 0
        self._find_work_folder()
        self._after_connection = after_connection
        if connector is not None:
            self.connector = connector  # type: ignore[method-assign]
        self._connector: Connector | None = None
        self._own_pools: dict[str, Any] = {}
        # Whether the first connection was prepared, and the turn to do it.
        self._first_connection = False
        self._turn = [True]
        self._after_fork()
        _instances.add(ref(self, _instances.discard))
        register_for_fork(self, method="_after_fork")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} for {self.uri!r}>"

    def explain(self) -> str:
        """Return in words what its pools do, what is wrong, what helps."""
        pools = list(self._own_pools.values())
        if self.uri:
            shared = self.POOLS.get(absolute_uri(self.uri, self.folder))
            pools += [] if shared is None else [shared]
        texts = [pool.explain() for pool in pools]
        return "\n\n".join([repr(self)[1:-1], *texts])

    def _after_fork(self) -> None:
        """Start without connections, also in a forked child."""
        # looked up now, since gevent may have replaced it
        self._held = _holdings[id(self)] = _held_kind(threading.local)()

    @property
    def uri(self) -> Any:
        """Return the URI, whose repr masks the password."""
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
        """Set the folder of this thread for files of SQLite."""
        setattr(THREAD_LOCAL, _FOLDER, folder)

    def _find_work_folder(self) -> None:
        self.folder = getattr(THREAD_LOCAL, _FOLDER, "")

    def connector(self) -> Any:
        """Open a connection of the driver; subclasses may override this."""
        if self._connector is None:
            self._connector = Connector(_config_of(self.uri, self.folder))
        return self._connector()

    @property
    def connection(self) -> PooledDedicatedDBConnection[Any]:
        """Return the connection of this thread, opened if necessary."""
        return self.get_connection()

    @property
    def cursor(self) -> SteadyDBCursor:
        """Return the cursor of this thread."""
        self.get_connection()
        if self._held.cursor is None:
            self.reset_cursor()
        return self._held.cursor  # type: ignore[no-any-return]

    def get_connection(
            self, use_pool: bool = True) -> PooledDedicatedDBConnection[Any]:
        """Return the connection of this thread, opened if necessary.

        use_pool: if false, a new connection is opened, and not kept later
        """
        connection: Any = self._held.connection
        if isinstance(connection, Lease) and is_released(connection):
            self._held.drop()
            connection = None
        while connection is None:
            pool = _pool_for(self, self._own_pools, use_pool)
            connection = self._held.take(pool, self)
        return connection  # type: ignore[no-any-return]

    def set_connection(self, connection: Any, run_hooks: bool = False) -> None:
        """Set the connection of this thread; None means no connection.

        run_hooks: whether to prepare it like a new connection
        """
        held = self._held
        lent = (held.lease, held.pool) if connection is held.lease else ()
        held.drop()
        held.change(connection, *lent)
        if connection is not None:
            held.cursor = connection.cursor()
            if run_hooks:
                self.after_connection_hook()
            if self.check_active_connection:
                self.test_connection()

    def reset_cursor(self) -> None:
        """Replace the cursor by a new one of the same connection."""
        connection = self.get_connection()
        self._held.close_cursor()
        self._held.cursor = connection.cursor()

    def _clean_tlocals(self) -> None:
        """Forget the connection and the cursor of this thread."""
        self._held.drop()

    def reconnect(self) -> PooledDedicatedDBConnection[Any]:
        """Commit, release the connection and take another one."""
        try:
            self.close()
        finally:
            connection = self.get_connection()
        return connection

    def commit(self) -> None:
        """Commit the transaction of this thread."""
        self.get_connection().commit()

    def rollback(self) -> None:
        """Roll the transaction of this thread back."""
        self.get_connection().rollback()

    def close(self, action: Any = "commit", really: bool = True) -> None:
        """Release the connection of this thread, if it has one.

        action: the step before: "commit", "rollback" or another method, a
            function that is called with this object, or None; uncommitted
            work is rolled back after it
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
        """Keep the connection, close it, or leave it to other holders."""
        held = self._held
        held.close_cursor()
        try:
            if has_succeeded and held.can_be_kept(self.pool_size):
                held.lease.close()
            elif (really or not has_succeeded) and held.leave_pool():
                with quietly("closing a connection"):
                    self.close_connection()
        finally:
            held.drop()
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
        """Release all connections of this thread.

        The parameter is that of close().  A function is also called with None
        at the end.  The first error is raised after all have been closed.
        """
        errors = list(_close_all(cls, action))
        try:
            if callable(action):
                action(None)
            if errors:
                raise errors[0]
        finally:
            errors.clear()  # the error would refer to itself

    # Hooks, in the order of their calls.

    def after_connection_hook(self) -> None:
        """Call the hooks for the new connection of this thread."""
        if not self._first_connection:
            self._run_first_hook()
        if callable(self._after_connection):
            self._after_connection(self)
        self.after_connection()

    def _after_first_connection(self) -> None:
        """Prepare the first connection; subclasses may override this."""

    def after_connection(self) -> None:
        """Prepare each new connection; subclasses may override this."""

    def test_connection(self) -> None:
        """Raise an error if the connection is bad; subclasses may do so."""

    def _prepare(self, connection: Any) -> None:
        """Run the hooks with a new connection of the driver.

        Their work is committed, so that the program cannot roll it back.
        """
        held = self._held
        before = held.connection, held.lease, held.pool, held.cursor
        held.change(None)
        try:
            self.set_connection(connection, run_hooks=True)
            if driver_of(connection).in_transaction(connection) is not False:
                connection.commit()
            held.was_prepared = True
        finally:
            held.drop()
            held.change(*before)

    def _run_first_hook(self) -> None:
        """Prepare the first connection, unless another thread does it.

        After a failure, the next connection counts as the first.
        """
        with suppress(IndexError):
            self._turn.pop()
            try:
                if not self._first_connection:
                    self._after_first_connection()
                    self._first_connection = True
            finally:
                self._turn.append(True)


def _close_all(kind: type[ConnectionPool], action: Any) -> Iterator[Exception]:
    for pool in alive(list(_instances)):
        if isinstance(pool, kind):
            try:
                pool.close(action)
            except Exception as error:  # noqa: BLE001 - raised later
                yield error


def _config_of(uri: str, folder: str) -> ConnectionConfig:
    """Return the configuration of the connections with a URI."""
    if is_memory(uri):
        return ConnectionConfig(
            DatabaseType.SQLITE, database=memory_file(), options={"uri": True})
    return ConnectionConfig.from_url(url_of(uri, folder))


def _function_of(pool: ConnectionPool, action: object) -> Callable[[Any], Any]:
    """Return the action before a connection is closed as a function."""
    if callable(action):
        return action
    if not isinstance(action, str) or not (
            callable(getattr(pool, action, None))):
        raise ValueError(
            "'action' must be 'commit', 'rollback' or another method, a"
            f" function or None, not {action!r}. [DBU-03]")
    return methodcaller(action)
