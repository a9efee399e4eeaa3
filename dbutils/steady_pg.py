"""Hardened connections for classic PyGreSQL.

A steady connection is reset, or reconnects, when it was lost or used more
often than a limit allows, and sends the failed query once more.  Between
begin() and the end of the transaction it raises the error instead.

Use it directly for a single connection that must not break; the modules
pooled_pg and persistent_pg hand out such connections to threads.
"""

from __future__ import annotations

from . import __version__  # noqa: F401 - every public module has it
from ._base.hints import Any, Args, Callable, Failover, Kwargs
from ._drivers.creators import connect_pg
from ._steady.driver_methods import Method, names_of
from ._steady.mistakes import explain_options
from ._steady.options import check_options
from ._steady.pg_failover import (
    WORKING,
    PgClassic,
    PgSafe,
    call_kind,
    is_query,
)
from ._steady.pg_session import PgSession
from ._steady.steady import Steady

__all__ = [
    "InvalidConnectionError", "SteadyPgConnection", "SteadyPgError"]


class SteadyPgError(Exception):
    """General SteadyPg error."""


class InvalidConnectionError(SteadyPgError):
    """Database connection is invalid."""


# The name of this error before DBUtils 2.0.
InvalidConnection = InvalidConnectionError


_POLICIES = {
    "always": PgClassic(), "safe": PgSafe(True), "never": PgSafe(False)}


def _connect(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return a new driver connection."""
    try:
        return connect_pg(*args, **kwargs)
    except Exception as error:
        explain_options(error, kwargs)
        raise


class SteadyPgConnection(Steady):
    """A classic PyGreSQL connection that heals itself."""

    __slots__ = ()

    def __init__(
            self, maxusage: int | None = None, setsession: Any = None,
            closeable: Any = True, *args: Any, failures: Any = None,
            ping: Any = 1,
            isfatal: Callable[[Exception], Any] | None = None,
            failover: Failover = "safe",
            onconnect: Callable[[Any], Any] | None = None,
            **kwargs: Any) -> None:
        """Open a connection with the parameters of pg.DB().

        failures: an exception class, or a tuple of classes, that means a
            lost connection although the driver's status is still good;
            with a bad status every exception means a lost connection
        ping: the moments 1 (when a connection is handed out) and 4 (before
            a query) make sense here; the default check reads the driver's
            status, which needs no round trip

        All other parameters are those of steady_db.connect(), but this
        connection is reset where that one would open another one.
        """
        session = PgSession(
            check_options(
                maxusage, failures, isfatal, ping, closeable, failover),
            setsession, onconnect)
        session.store(_connect(args, kwargs))
        if failover == "safe" and not session.driver.is_telling:
            failover = "always"  # it is no PyGreSQL that we know
        session.failover = _POLICIES[failover]
        self._own_session = session
        session.prepare()

    def __enter__(self) -> SteadyPgConnection:
        """Begin a transaction."""
        self.begin()
        return self

    def reopen(self) -> None:
        """Reopen the connection; an error is logged instead of raised."""
        self._own_session.reopen()

    def reset(self) -> None:
        """Reset the connection, or reopen it if it cannot be reset."""
        self._own_session.reset()

    def begin(self, sql: str | None = None) -> Any:
        """Begin a transaction."""
        return self._own_session.failover.end(self._own_session, "begin", sql)

    def end(self, sql: str | None = None) -> Any:
        """Commit the current transaction."""
        return self._own_session.failover.end(self._own_session, "end", sql)

    def commit(self, sql: str | None = None) -> Any:
        """Commit the current transaction."""
        return self._own_session.failover.end(self._own_session, "commit", sql)

    def rollback(self, sql: str | None = None) -> Any:
        """Roll back the current transaction."""
        return self._own_session.failover.end(
            self._own_session, "rollback", sql)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the pg.DB object; queries are hardened."""
        if name in {"_con", "_own_session"}:  # __init__() did not even begin
            raise AttributeError(name)
        if self._con is None:
            raise InvalidConnectionError("This connection was never opened.")
        attribute = getattr(self._con, name)
        if callable(attribute) and not isinstance(attribute, type):
            return Method(name, self._call, attribute)
        return attribute

    def _call(self, name: str, args: Args, kwargs: Kwargs) -> Any:
        """Call a method of the pg.DB object."""
        session = self._own_session
        if is_query(name):
            return session.failover.run(session, name, args, kwargs)
        if name in _MARKING:
            session.is_marked = True
        if name in WORKING and not call_kind(name, args).is_read:
            session.work = True
        return getattr(session.con, name)(*args, **kwargs)

    def __dir__(self) -> list[str]:
        """Return the attributes of this connection and its pg.DB object."""
        return sorted({*super().__dir__(), *names_of(self._con)})


# Methods that can leave something behind in the session.
_MARKING = {"prepare", "query_formatted", "send_query", "set_parameter"}
