"""Connections that belong to one thread each, for any DB-API 2 driver.

A thread gets the same steady connection whenever it asks for one, and the
connection is closed when the thread ends.  Use this in programs with a fixed
number of threads that use the database all the time; otherwise use pooled_db.
"""

from __future__ import annotations

from . import __version__
from ._base.hints import (
    Any,
    Callable,
    Con,
    Creator,
    Failover,
    Pooler,
    Servers,
)
from ._drivers.creators import creator_threadsafety, split_isfatal
from ._pooled.thread_local import ThreadConnections, local
from ._steady.mistakes import check_creator
from ._steady.options import check_behind, check_hook, check_options
from ._steady.settings import end_reading
from ._steady.steady import session_of
from .steady_db import SteadyDBConnection, connect

__all__ = ["NotSupportedError", "PersistentDB", "PersistentDBError", "local"]


class PersistentDBError(Exception):
    """General PersistentDB error."""


class NotSupportedError(PersistentDBError):
    """DB-API module not supported by PersistentDB."""


class PersistentDB(ThreadConnections["SteadyDBConnection[Con]"]):
    """A generator of steady connections that stay with their thread."""

    version = __version__

    def __init__(
            self, creator: Creator[Con] | None = None,
            maxusage: int | None = None,
            setsession: Any = None, failures: Any = None, ping: Any = 1,
            closeable: Any = False, threadlocal: Any = None, *args: Any,
            isfatal: Callable[[Exception], Any] | None = None,
            failover: Failover = "safe", fresh: Any = False,
            onconnect: Callable[[Any], Any] | None = None,
            targets: Servers | None = None, behind: Pooler | None = None,
            **kwargs: Any) -> None:
        """Set up the generator.

        threadlocal: a class for thread-local data instead of the default
            in pure Python; under mod_wsgi threading.local loses its
            contents between requests
        fresh: if true, a connection that is handed out again first ends a
            transaction in which nothing was written, so that it reads what
            others have committed meanwhile

        All other parameters are those of steady_db.connect(), except that
        close() keeps the connections open by default.
        """
        # now, since an interrupt of an import can block all that follow
        from ._steady import policies, replaced  # noqa: F401, PLC0415 - large

        if targets is not None:
            from ._hosts.targets import targets_of  # noqa: PLC0415 - an option

            creator = targets_of(targets, creator)
        check_creator(creator)
        if not creator_threadsafety(creator):
            raise NotSupportedError(
                "Database module is not thread-safe. [DBU-09]")
        check_options(maxusage, failures, isfatal, ping, True, failover)
        self._isfatal, self._args = split_isfatal(isfatal, args)
        self._failover: Failover = failover
        self._fresh = fresh
        self._creator = creator
        self._maxusage = maxusage
        self._setsession = setsession
        self._onconnect = check_hook("onconnect", onconnect)
        check_behind(behind)
        self._behind: Pooler | None = behind
        self._failures = failures
        self._ping = ping
        self._closeable = closeable
        self._kwargs = kwargs
        super().__init__(threadlocal)

    def steady_connection(self) -> SteadyDBConnection[Con]:
        """Return a new steady connection that belongs to no thread."""
        return connect(
            self._creator, self._maxusage, self._setsession, self._failures,
            self._ping, self._closeable, self._isfatal, *self._args,
            failover=self._failover, onconnect=self._onconnect,
            behind=self._behind, **self._kwargs)

    def connection(
            self,
            shareable: bool = False,  # noqa: ARG002 - PooledDB has it
    ) -> SteadyDBConnection[Con]:
        """Return the connection of this thread.

        shareable has no effect, since persistent connections are never
        shared.
        """
        try:
            con: SteadyDBConnection[Con] = self._fast_way.con()
            session = con._own_session  # noqa: SLF001 - session_of(), without a call
        except AttributeError:  # this thread has none, or has dropped it
            con = self._own_connection()
            session = session_of(con)
        if self._fresh:
            end_reading(session)
        if session.checkout_check:  # some drivers show nothing while open
            session.check(1)
        return con

    def _first_connection(self) -> SteadyDBConnection[Con]:
        """Return a new connection for this thread."""
        con = self.steady_connection()
        if con.threadsafety():
            return con
        session_of(con).close()
        raise NotSupportedError("Database module is not thread-safe. [DBU-09]")

    def dedicated_connection(self) -> SteadyDBConnection[Con]:
        """Return the connection of this thread, like connection()."""
        return self.connection()
