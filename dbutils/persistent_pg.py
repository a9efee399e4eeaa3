"""Connections that belong to one thread each, for classic PyGreSQL.

A thread gets the same steady connection whenever it asks for one, and the
connection is closed when the thread ends.  Use this in programs with a fixed
number of threads that use the database all the time; otherwise use pooled_pg.
"""

from __future__ import annotations

from . import __version__
from ._base.hints import Any, Callable, Failover, Pooler, Servers
from ._drivers.creators import connect_pg
from ._pooled.thread_local import ThreadConnections, local
from ._steady.options import check_behind, check_hook, check_options
from ._steady.steady import session_of
from .steady_pg import SteadyPgConnection

__all__ = ["PersistentPg", "local"]


class PersistentPg(ThreadConnections["SteadyPgConnection"]):
    """A generator of steady connections that stay with their thread."""

    version = __version__

    def __init__(
            self, maxusage: int | None = None, setsession: Any = None,
            closeable: Any = False, threadlocal: Any = None, *args: Any,
            failures: Any = None, ping: Any = 1,
            isfatal: Callable[[Exception], Any] | None = None,
            failover: Failover = "safe",
            onconnect: Callable[[Any], Any] | None = None,
            targets: Servers | None = None, behind: Pooler | None = None,
            **kwargs: Any) -> None:
        """Set up the generator.

        threadlocal is the parameter of persistent_db.PersistentDB, all
        others are those of steady_pg.SteadyPgConnection, except that
        close() keeps the connections open by default.
        """
        check_options(maxusage, failures, isfatal, ping, True, failover)
        self._maxusage = maxusage
        self._setsession = setsession
        self._onconnect = check_hook("onconnect", onconnect)
        self._failures = failures
        self._ping = ping
        self._isfatal = isfatal
        self._failover: Failover = failover
        self._targets = targets
        if targets is not None:
            from ._hosts.targets import targets_of  # noqa: PLC0415 - an option

            self._targets = targets_of(targets, None, connect_pg)
        check_behind(behind)
        self._behind: Pooler | None = behind
        self._args = args
        self._closeable = closeable
        self._kwargs = kwargs
        super().__init__(threadlocal)

    def steady_connection(self) -> SteadyPgConnection:
        """Return a new steady connection that belongs to no thread."""
        return SteadyPgConnection(
            self._maxusage, self._setsession, self._closeable, *self._args,
            failures=self._failures, ping=self._ping, isfatal=self._isfatal,
            failover=self._failover, onconnect=self._onconnect,
            targets=self._targets, behind=self._behind, **self._kwargs)

    def _first_connection(self) -> SteadyPgConnection:
        """Return a new connection for this thread."""
        return self.steady_connection()

    def connection(self) -> SteadyPgConnection:
        """Return the connection of this thread."""
        con = self._own_connection()
        session_of(con).check(1)
        return con
