"""Connections by URI, in the manner of the database layer of web2py.

Each thread has one current connection and one cursor, until it closes them
at the end of a request.  Connections that were closed are kept, up to a
number, for all that have the same URI.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import lru_cache
from operator import methodcaller
from pathlib import PurePath
from typing import Any, Callable, Iterator
from urllib.parse import quote
from weakref import WeakSet, ref

from ._checks import check_size
from ._connector import Connector, prepare_or_close
from ._drivers import profile_of
from ._errors import quietly
from ._forks import follow
from ._lease import Lease, is_over
from ._pool import core_of
from ._secrets import Secret, masked_url
from .pool_manager import ConnectionConfig
from .pooled_db import PooledDB

__all__ = ["ConnectionPool"]


@lru_cache(maxsize=None)
def _folder() -> Any:
    """Return what keeps the folder of each thread.

    It is made when it is first needed, since gevent may replace its class.
    """
    return threading.local()


_instances: WeakSet[ConnectionPool] = WeakSet()


class _Uri(Secret):
    """A URI whose repr shows no password."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(masked_url(self))


class _Opener:
    """Opens connections for whoever uses them in this thread."""

    def __init__(self) -> None:
        self.begin_anew()
        follow(self)

    def begin_anew(self) -> None:
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
        prepare_or_close(con, [user.prepare])
        return con


class _UriPool(PooledDB):
    """The connections with a URI.

    What the hooks have done with a new connection would be lost with its
    session, therefore a connection is not kept if its session has changed.
    """

    def __init__(self, ping: int) -> None:
        self.opener = _Opener()
        super().__init__(self.opener, ping=ping)
        self._core.backend.renews_sessions = False
        self._core.change_limits(lambda limits: limits._replace(maxcached=0))

    def keep(self, number: int) -> None:
        """Keep at least so many idle connections."""
        if number > self._core.limits.maxcached:
            self._core.change_limits(lambda limits: limits._replace(
                maxcached=max(limits.maxcached or 0, number)))

    def has_room(self, number: int) -> bool:
        """Tell whether one more can be idle of so many."""
        core = self._core
        return bool(core.figures().idle < min(number, core.limits.maxcached))


def _new_held() -> Any:
    """Return what keeps what a thread holds, and where it is from."""
    class Held(threading.local):  # which gevent may have replaced
        # the pool is None if the connection was just set
        pool: Any = None
        connection: Any = None
        cursor: Any = None
    return Held()


class ConnectionPool:
    """Gives each thread a connection, and keeps those that were closed."""

    # The pools of all instances, by their URIs.
    POOLS: dict[str, PooledDB] = {}  # noqa: RUF012 - it is meant to be shared

    # Whether a connection that was kept is looked at before it is used.
    check_active_connection = True

    def __init__(
            self, uri: str, pool_size: int = 0,
            connector: Callable[[], Any] | None = None,
            after_connection: Callable[[Any], Any] | None = None) -> None:
        """Set it up, without opening a connection.

        uri: a URL as for ConnectionConfig, or "sqlite://" and the name of a
            file in the current folder, or "sqlite:memory"
        pool_size: how many closed connections are kept for the next request
        connector: opens a connection of the driver, if not the URI tells how
        after_connection: is called with this object when a connection was
            opened
        """
        self.uri = _Uri(uri)
        self.pool_size = check_size("pool_size", pool_size) or 0
        self.folder = getattr(_folder(), "path", "")
        self._after_connection = after_connection
        if connector is not None:
            self.connector = connector  # type: ignore[method-assign]
        self._connector: Connector | None = None
        # Where connections are that are not kept.
        self._own_pool: _UriPool | None = None
        # Who takes this out works on the first connection.
        self._is_first = [True]
        self._held = _new_held()
        _instances.add(self)
        follow(self, method="_begin_anew")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} for {self.uri!r}>"

    def _begin_anew(self) -> None:
        """Have no connection in a forked child."""
        self._held = _new_held()

    @staticmethod
    def set_folder(folder: str) -> None:
        """Set the folder of this thread, where it finds files of SQLite."""
        _folder().path = folder

    def connector(self) -> Any:
        """Open a connection of the driver; subclasses may do it otherwise."""
        if self._connector is None:
            place = _place_of(self.uri, self.folder)
            self._connector = Connector(ConnectionConfig.from_url(place))
        return self._connector()

    def _pool(self) -> Any:
        """Return the pool of all who have the same URI."""
        place = _Uri(_place_of(self.uri, self.folder))
        pool: Any = self.POOLS.get(place)
        if pool is None:
            pool = self.POOLS.setdefault(
                place, _UriPool(1 if self.check_active_connection else 0))
        pool.keep(self.pool_size)
        return pool

    def _pool_that_keeps_nothing(self) -> Any:
        if self._own_pool is None:
            self._own_pool = _UriPool(0)
        return self._own_pool

    # The connection of the thread.

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

        use_pool: if false, it is a new one, which is not kept afterwards
        """
        held = self._held
        if held.connection is not None and _is_over(held.connection):
            self._forget()
        if held.connection is None:
            pool = self._pool() if use_pool and self.pool_size else (
                self._pool_that_keeps_nothing())
            pool.opener.work_for(self)
            self.set_connection(pool.dedicated_connection())
            held.pool = pool
        return held.connection

    def set_connection(self, connection: Any, run_hooks: bool = False) -> None:
        """Make a connection that of this thread; None means to have none.

        run_hooks: whether it is prepared like one that was just opened
        """
        self._forget()
        self._held.connection = connection
        if connection is not None and run_hooks:
            self._run_hooks()

    def reset_cursor(self) -> None:
        """Go on with a new cursor of the same connection."""
        connection, held = self.get_connection(), self._held
        old, held.cursor = held.cursor, None
        if old is not None:
            with quietly("closing a cursor"):
                old.close()
        held.cursor = connection.cursor()

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

        action: what is done before: "commit" or "rollback", a function that
            is called with this object, or None; what is not committed then
            is rolled back
        really: if false, a connection that is not kept is not closed

        If the action fails, the connection is closed, and the error raised.
        """
        pool, connection = self._held.pool, self._held.connection
        if connection is None:
            return
        has_succeeded = False
        try:
            if action is not None:
                _function_of(action)(self)
            has_succeeded = True
        finally:
            self._forget()
            self._end(pool, connection, has_succeeded, really)

    def _forget(self) -> None:
        """Have no connection in this thread any more."""
        held = self._held
        cursor = held.cursor
        held.pool = held.connection = held.cursor = None
        if cursor is not None:
            with quietly("closing a cursor"):
                cursor.close()

    def _end(
            self, pool: Any, connection: Any, has_succeeded: bool,
            really: bool) -> None:
        """Keep a connection, close it, or leave it to who has it."""
        if pool is not None and has_succeeded and (
                pool.has_room(self.pool_size)):
            connection.close()
        elif really or not has_succeeded:
            with quietly("closing a connection"):
                if pool is None:
                    connection.close()
                else:
                    core_of(pool).throw_away(connection)

    @classmethod
    def close_all_instances(cls, action: Any = "commit") -> None:
        """End the use of all connections by this thread.

        The parameter is that of close().  The first error is raised when all
        have been closed.
        """
        errors = list(cls._close_all(action))
        try:
            if errors:
                raise errors[0]
        finally:
            errors.clear()  # or the error would refer to itself

    @classmethod
    def _close_all(cls, action: Any) -> Iterator[Exception]:
        for instance in list(_instances):
            if isinstance(instance, cls):
                try:
                    instance.close(action)
                except Exception as error:  # noqa: BLE001 - raised later
                    yield error

    # Hooks, in the order of their calls.

    def _after_first_connection(self) -> None:
        """Do something with the first connection; for subclasses."""

    def after_connection(self) -> None:
        """Do something with each new connection; for subclasses."""

    def prepare(self, connection: Any) -> None:
        """Run the hooks with a new connection of the driver.

        What they did is committed, so that the program cannot undo it.
        """
        held = self._held
        before = held.pool, held.connection, held.cursor
        held.pool, held.connection, held.cursor = None, connection, None
        try:
            self._run_hooks()
            if profile_of(connection).in_transaction(connection) is not False:
                connection.commit()
        finally:
            self._forget()
            held.pool, held.connection, held.cursor = before

    def _run_hooks(self) -> None:
        if self._is_first:
            self._run_first_hook()
        if self._after_connection is not None:
            self._after_connection(self)
        self.after_connection()

    def _run_first_hook(self) -> None:
        """Run it, unless another thread does so; again if that fails."""
        with suppress(IndexError):
            self._is_first.pop()
            is_done = False
            try:
                self._after_first_connection()
                is_done = True
            finally:
                if not is_done:
                    self._is_first.append(True)


def _function_of(action: Any) -> Callable[[ConnectionPool], Any]:
    """Return what is to be done before a connection is closed."""
    if callable(action):
        return action
    if action not in {"commit", "rollback"}:
        raise ValueError(
            "'action' must be 'commit', 'rollback', a function or None, not"
            f" {action!r}.")
    return methodcaller(action)


def _is_over(connection: Any) -> bool:
    return isinstance(connection, Lease) and is_over(connection)


def _place_of(uri: str, folder: str) -> str:
    """Return a URL that means the same file in every folder."""
    if uri == "sqlite:memory":
        return "sqlite:///:memory:"
    start, mark, rest = uri.partition("://")
    file, sign, settings = rest.partition("?")
    if start != "sqlite" or not mark:
        return uri
    if file.startswith("/"):  # which belongs to the mark
        file = file[1:]
    if file in {"", ":memory:"}:
        return uri
    return f"sqlite:///{PurePath(quote(folder), file)}{sign}{settings}"
