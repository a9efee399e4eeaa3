"""Hardened connections for classic PyGreSQL.

A steady connection is reset, or opened again, when it was lost or used
more often than a limit allows, and the query that failed is sent once
more.  Between begin() and the end of the transaction errors are raised
instead.

Use it directly for a single connection that must not break; the modules
pooled_pg and persistent_pg hand out connections of this kind to threads.
"""

from __future__ import annotations

from typing import Any, Callable

from . import __version__  # noqa: F401 - every public module has it
from ._dbapi import connect_pg
from ._errors import quietly
from ._ping import ask
from ._steady import Line, Steady, make_terms

__all__ = [
    "InvalidConnectionError",
    "SteadyPgConnection",
    "SteadyPgError",
]


class SteadyPgError(Exception):
    """General SteadyPg error."""


class InvalidConnectionError(SteadyPgError):
    """Database connection is invalid."""


# The name of this error before DBUtils 2.0.
InvalidConnection = InvalidConnectionError


class _PgLine(Line):
    """The line to PostgreSQL through a pg.DB object.

    Such an object can reset and reopen itself, so it is never exchanged.
    """

    @property
    def has_bad_status(self) -> bool:
        """Whether the driver knows that the connection is lost."""
        db = getattr(self.con, "db", None)
        return not getattr(db, "status", False)

    def prepare(self) -> None:
        """Prepare the session."""
        for sql in self.setsession or ():
            self.con.query(sql)

    def check(self, moment: int) -> bool | None:
        """Tell whether the connection is alive, None if that is unknown.

        A dead one is reset, unless it is in a transaction.
        """
        if not moment & self.terms.ping:
            return None
        if self._is_alive():
            return True
        if self.transaction:
            return False
        self.reset()
        return not self.has_bad_status

    def _is_alive(self) -> bool:
        if not self.valid or self.has_bad_status:
            return False
        pinger = self.terms.pinger
        return pinger is None or ask(pinger, self.con)

    def is_lost(self, error: Exception) -> bool:
        """Tell whether an error means that the connection is lost."""
        failures = self.terms.failures
        lost = self.has_bad_status or (
            failures is not None and isinstance(error, failures))
        return lost and self.terms.is_fatal(error)

    def reset(self) -> None:
        """Reset the connection, or reopen it if that is not possible."""
        done = False
        with quietly("resetting a connection"):
            self.con.reset()
            self._begin_anew()
            done = True
        if not done:
            self._reopen_or_roll_back()

    clean = reset

    def _reopen_or_roll_back(self) -> None:
        done = False
        with quietly("reopening a connection"):
            self.reopen()
            done = True
        if not done:
            with quietly("rolling back"):
                self.query("rollback", None)

    def reopen(self) -> None:
        """Reopen the connection, or roll back if that is not possible."""
        done = False
        with quietly("reopening a connection"):
            self.con.reopen()
            done = True
        if done:
            self._begin_anew()
        elif self.transaction:
            self.transaction = False
            with quietly("rolling back"):
                self.con.query("rollback")

    def _begin_anew(self) -> None:
        """Prepare the session of what is a new connection now."""
        self.transaction = False
        self.closed = False
        self.prepare()
        self.usage = 0
        self.valid = True

    def query(self, verb: str, sql: str | None) -> Any:
        """Begin or end a transaction with the method made for it, if any."""
        self.transaction = verb == "begin"
        method = getattr(self.con, verb, None)
        if method is None:
            return self.con.query(sql or verb)
        return method(sql=sql) if sql else method()

    def run(self, method: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call a method of the connection, again if that was lost."""
        in_transaction = self.transaction
        if not in_transaction:
            self._refresh()
        try:
            result = method(*args, **kwargs)
        except Exception as error:
            if in_transaction:
                self.transaction = False
                raise
            if not self.is_lost(error):
                raise
        else:
            self.usage += 1
            return result
        self.reset()
        result = method(*args, **kwargs)
        self.usage += 1
        return result

    def _refresh(self) -> None:
        """Reset the connection if it is bad, or due for being replaced."""
        alive = self.check(4)
        if self.is_used_up() or (alive is None and self.has_bad_status):
            self.reset()


class SteadyPgConnection(Steady):
    """A classic PyGreSQL connection that heals itself."""

    def __init__(
            self, maxusage: int | None = None, setsession: Any = None,
            closeable: Any = True, *args: Any, failures: Any = None,
            ping: Any = 1,
            isfatal: Callable[[Exception], Any] | None = None,
            **kwargs: Any) -> None:
        """Open a connection with the parameters for pg.DB().

        failures: an exception class, or a tuple of classes, that means a
            lost connection although the driver's status is still good;
            with a bad status any exception means that
        ping: the moments 1 (when a connection is handed out) and 4 (before
            a query) make sense here; the question is the driver's status,
            which needs no round trip, if no other is given

        All other parameters are those of steady_db.connect(), only that
        the connection is reset where another one would be opened there.
        """
        line = _PgLine(
            make_terms(maxusage, failures, isfatal, ping, closeable),
            setsession)
        line.store(connect_pg(*args, **kwargs))
        self._line = line
        line.prepare()

    # Inner names of DBUtils 3.x that programs and their tests read.
    _failures = property(lambda self: self._line.terms.failures)
    _ping = property(lambda self: self._line.terms.ping)
    _pinger = property(lambda self: self._line.terms.pinger)

    def __enter__(self) -> SteadyPgConnection:
        """Begin a transaction."""
        self.begin()
        return self

    def reopen(self) -> None:
        """Reopen the connection; it is no error if that is impossible."""
        self._line.reopen()

    def reset(self) -> None:
        """Reset the connection, or reopen it if that is not possible."""
        self._line.reset()

    def begin(self, sql: str | None = None) -> Any:
        """Begin a transaction."""
        return self._line.query("begin", sql)

    def end(self, sql: str | None = None) -> Any:
        """Commit the current transaction."""
        return self._line.query("end", sql)

    def commit(self, sql: str | None = None) -> Any:
        """Commit the current transaction."""
        return self._line.query("commit", sql)

    def rollback(self, sql: str | None = None) -> Any:
        """Roll back the current transaction."""
        return self._line.query("rollback", sql)

    def __getattr__(self, name: str) -> Any:
        """Return what the pg.DB object has; its queries are hardened."""
        if self._con is None:
            raise InvalidConnectionError("This connection was never opened.")
        attribute = getattr(self._con, name)
        if not _is_query(name):
            return attribute

        def run(*args: Any, **kwargs: Any) -> Any:
            return self._line.run(attribute, args, kwargs)
        return run


def _is_query(name: str) -> bool:
    """Tell whether a method of this name asks the database something."""
    return name.startswith("get_") or name in {
        "query", "get", "insert", "update", "delete"}
