"""Hardened connections for any DB-API 2 driver.

A steady connection opens its driver connection again when that was lost,
closed, or used more often than a limit allows, and executes the statement
that failed once more.  Between begin() and the end of the transaction
errors are raised instead, since nobody else could repeat what is lost.

Use it directly for a single connection that must not break; the modules
pooled_db and persistent_db hand out connections of this kind to threads.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Callable, Iterator, NamedTuple

from . import __version__  # noqa: F401 - every public module has it
from ._dbapi import (
    connect_of,
    failures_of,
    module_of_connection,
    module_of_creator,
    split_isfatal,
)
from ._errors import quietly
from ._failover import Spare, Verdict, judge
from ._ping import ask
from ._steady import Line, Steady, inner, line_of, make_terms

__all__ = [
    "InvalidCursorError",
    "SteadyDBConnection",
    "SteadyDBCursor",
    "SteadyDBError",
    "connect",
]


class SteadyDBError(Exception):
    """General SteadyDB error."""


class InvalidCursorError(SteadyDBError):
    """Database cursor is invalid."""


# The name of this error before DBUtils 2.0.
InvalidCursor = InvalidCursorError


def connect(
        creator: Any, maxusage: int | None = None, setsession: Any = None,
        failures: Any = None, ping: Any = 1, closeable: Any = True,
        *args: Any, isfatal: Callable[[Exception], Any] | None = None,
        **kwargs: Any) -> SteadyDBConnection:
    """Return a hardened connection.

    creator: a DB-API 2 module, or a function or class that returns
        DB-API 2 connections
    maxusage: after so many operations (each execute, executemany and
        callproc is one) the driver connection is replaced by a new one
        before the next operation outside of a transaction;
        0 or None means never
    setsession: SQL statements that are executed on each new driver
        connection to prepare the session, as any sequence of strings
    failures: the exception class, or a tuple of classes, that can mean
        that the connection was lost; by default OperationalError,
        InterfaceError and InternalError of the driver
    ping: when to look whether the connection is alive, as a sum of
        1 (when it is handed out), 2 (when a cursor is made) and
        4 (when a statement is executed), or 0 for never.  The question
        is the driver's ping() method, where there is one.  It can be an
        SQL statement like "select 1" instead, or a callable that gets the
        driver connection and returns whether it is alive (None counts as
        yes, an exception as no).  These stand for (1, question); give such
        a pair with another number to ask at other moments.
    closeable: if false, close() keeps the connection open
    args, kwargs: passed to the creator for each new connection
    isfatal: a callable that gets an exception of the kind in failures and
        returns whether it really means that the connection was lost.  If
        not, it is raised.  Positionally it may follow closeable.
    """
    return SteadyDBConnection(
        creator, maxusage, setsession, failures, ping, closeable,
        *args, isfatal=isfatal, **kwargs)


class _DbLine(Line):
    """The line to a database through a DB-API 2 driver."""

    def __init__(
            self, creator: Any, setsession: Any, terms: Any,
            args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__(terms, setsession)
        self.creator = connect_of(creator)
        self.args = args
        self.kwargs = kwargs
        self.dbapi = module_of_creator(creator)
        self.threadsafety = getattr(
            creator, "threadsafety", getattr(self.dbapi, "threadsafety", None))
        self.failures = terms.failures
        self.ping = terms.ping

    def open(self) -> Any:
        """Return a new driver connection with a prepared session."""
        con = self.creator(*self.args, **self.kwargs)
        try:
            self._learn_from(con)
            self.prepare(con)
        except BaseException:
            with quietly("closing a connection that could not be prepared"):
                con.close()
            raise
        return con

    def _learn_from(self, con: Any) -> None:
        """Find out what the creator did not tell."""
        if self.dbapi is None:
            self.dbapi = module_of_connection(con)
        if self.threadsafety is None:
            self.threadsafety = getattr(
                self.dbapi, "threadsafety",
                getattr(con, "threadsafety", None))
        if self.failures is None:
            self.failures = failures_of(self.dbapi, self.creator, con)

    @property
    def failure(self) -> Any:
        """The exception class that reports a failure of our own."""
        failures = self.failures
        return failures[0] if isinstance(failures, tuple) else failures

    def prepare(self, con: Any) -> None:
        """Prepare the session of a driver connection."""
        if self.setsession:
            cursor = con.cursor()
            for sql in self.setsession:
                cursor.execute(sql)
            cursor.close()

    def replace(self, con: Any) -> None:
        """Close the driver connection and go on with another one."""
        self.close()
        self.store(con)

    def reopen(self) -> bool:
        """Try to replace the driver connection; tell whether that worked."""
        con = None
        with quietly("opening a connection again"):
            con = self.open()
        if con is None:
            return False
        self.replace(con)
        return True

    def check(self, moment: int, reconnect: bool = True) -> bool | None:
        """Tell whether the connection is alive, None if that is unknown.

        A dead one is replaced if that is wanted and possible, and no
        transaction would be torn apart.
        """
        if not moment & self.ping:
            return None
        alive = self._is_alive()
        if alive is None:
            self.ping = 0  # the driver has no ping(): never ask again
        elif not alive and reconnect and not self.transaction:
            return self.reopen()
        return alive

    def _is_alive(self) -> bool | None:
        if not self.valid:
            return False
        if self.terms.pinger is not None:
            return ask(self.terms.pinger, self.con)
        try:
            return _driver_ping(self.con)
        except (AttributeError, IndexError, TypeError, ValueError):
            return None
        except Exception:  # noqa: BLE001 - any other error means not alive
            return False

    def end(self, verb: str) -> None:
        """Commit or roll back; reconnect if that reports a lost connection.

        This is not repeated: the error says that the outcome is unknown.
        """
        self.transaction = False
        try:
            getattr(self.con, verb)()
        except self.failures:
            self.reopen()
            raise

    def clean(self, force: bool = False) -> None:
        """Roll back what is or, if forced, what may be in a transaction."""
        if not self.closed and (force or self.transaction):
            with quietly("rolling back"):
                self.end("rollback")

    def cursor(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return a new driver cursor, of a new connection if need be."""
        in_transaction = self.transaction
        if not in_transaction:
            self.check(2)
            if self.is_used_up():
                return self._cursor_when_due(args, kwargs)
        try:
            return self.con.cursor(*args, **kwargs)
        except self.failures as error:
            verdict = judge(self.terms.is_fatal(error), in_transaction)
            if verdict is Verdict.RAISE:
                raise
            cursor = self._cursor_anew(args, kwargs)
            if cursor is None or verdict is Verdict.REPLACE:
                raise
            return cursor

    def _cursor_when_due(
            self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return a cursor of a new connection, since the old has served."""
        cursor = self._cursor_anew(args, kwargs)
        if cursor is None:
            raise self.failure(self.used_up_text())
        return cursor

    def _cursor_anew(
            self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Replace the connection; return a cursor of it, None if in vain."""
        with Spare(self.open, args, kwargs) as spare:
            if spare.cursor is None:
                self.transaction = False
                return None
            con, cursor = spare.keep()
            self.replace(con)
            return cursor


def _driver_ping(con: Any) -> bool:
    """Ask with the driver's own method, which should not reconnect."""
    try:
        alive = con.ping(False)
    except TypeError:  # it does not know this flag
        alive = con.ping()
    return alive is None or bool(alive)


class SteadyDBConnection(Steady):
    """A DB-API 2 connection that heals itself; see connect()."""

    def __init__(
            self, creator: Any, maxusage: int | None = None,
            setsession: Any = None, failures: Any = None, ping: Any = 1,
            closeable: Any = True, *args: Any,
            isfatal: Callable[[Exception], Any] | None = None,
            **kwargs: Any) -> None:
        isfatal, args = split_isfatal(isfatal, args)
        line = _DbLine(
            creator, setsession,
            make_terms(maxusage, failures, isfatal, ping, closeable),
            args, kwargs)
        line.store(line.open())
        self._line = line

    # Inner names of DBUtils 3.x that programs and their tests read.
    _creator = inner("creator")
    _args = inner("args")
    _kwargs = inner("kwargs")
    _dbapi = inner("dbapi")
    _threadsafety = inner("threadsafety")
    _failures = inner("failures")
    _failure = inner("failure")
    _ping = inner("ping")
    _pinger = property(lambda self: self._line.terms.pinger)

    def _reset(self, force: bool = False) -> None:
        """Roll back an open transaction, or in any case."""
        self._line.clean(force)

    def _ping_check(self, ping: int = 1, reconnect: bool = True) -> Any:
        """Tell whether the connection is alive, if it is to be checked."""
        return self._line.check(ping, reconnect)

    def _cursor(self, *args: Any, **kwargs: Any) -> Any:
        """Return a new driver cursor."""
        return self._line.cursor(args, kwargs)

    def __enter__(self) -> SteadyDBConnection:
        """Begin a context that is a transaction."""
        return self

    def dbapi(self) -> Any:
        """Return the DB-API 2 module of the connection."""
        if self._line.dbapi is None:
            raise AttributeError(
                "Could not determine the DB-API 2 module:"
                " please set creator.dbapi.")
        return self._line.dbapi

    @property
    def dbapi_connection(self) -> Any:
        """The driver's own connection.

        What is executed there is neither repeated nor counted as usage.
        """
        return self._line.con

    def threadsafety(self) -> int:
        """Return the level of thread safety of the connection."""
        if self._line.threadsafety is None:
            if self._line.dbapi is None:
                raise AttributeError(
                    "Could not determine the thread safety:"
                    " please set creator.dbapi or creator.threadsafety.")
            return 0
        return self._line.threadsafety

    def begin(self, *args: Any, **kwargs: Any) -> None:
        """Begin a transaction, in which the connection is not replaced.

        The arguments are for the driver's own begin(), if it has one.
        """
        self._line.transaction = True
        begin = getattr(self._line.con, "begin", None)
        if begin is not None:
            begin(*args, **kwargs)

    def commit(self) -> None:
        """Commit what was done."""
        self._line.end("commit")

    def rollback(self) -> None:
        """Roll back what was done."""
        self._line.end("rollback")

    def cancel(self) -> None:
        """Cancel a long-running transaction, if the driver can do that."""
        self._line.transaction = False
        cancel = getattr(self._line.con, "cancel", None)
        if cancel is not None:
            cancel()

    def ping(self, *args: Any, **kwargs: Any) -> Any:
        """Ping the connection with the driver's own method."""
        return self._line.con.ping(*args, **kwargs)

    def cursor(self, *args: Any, **kwargs: Any) -> SteadyDBCursor:
        """Return a new hardened cursor."""
        return SteadyDBCursor(self, *args, **kwargs)


class _Call(NamedTuple):
    """A call of a cursor method that may have to be made again."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def takes_sizes(self) -> bool:
        """Whether the input and output sizes are for this call."""
        return self.name.startswith("execute")

    def __call__(self, cursor: Any) -> Any:
        """Make the call on a driver cursor."""
        return getattr(cursor, self.name)(*self.args, **self.kwargs)


class _Done(NamedTuple):
    """The end of a rung of the failover ladder that succeeded."""

    result: Any


class SteadyDBCursor:
    """A DB-API 2 cursor that heals itself together with its connection."""

    _cursor: Any = None
    _closed = True
    _inputsizes: Any
    _outputsizes: dict[Any, Any]

    def __init__(
            self, con: SteadyDBConnection, *args: Any, **kwargs: Any) -> None:
        self._con = con
        self._args = args
        self._kwargs = kwargs
        self._no_failover = 0
        self._moved = False  # to another connection than at the beginning
        self._clearsizes()
        try:
            self._line = line_of(con)
        except AttributeError as error:
            raise TypeError(f"{con!r} is not a SteadyDBConnection.") from error
        self._move_to(self._line.cursor(args, kwargs))

    def __enter__(self) -> SteadyDBCursor:
        """Begin a context at whose end the cursor is closed."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the cursor."""
        self.close()

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the rows, also if the driver does not offer that."""
        cursor = self.dbapi_cursor
        try:
            return iter(cursor)
        except TypeError:
            return iter(cursor.fetchone, None)

    @property
    def dbapi_cursor(self) -> Any:
        """The driver's own cursor.

        What is executed there is neither repeated nor counted as usage;
        no_failover() keeps the count.
        """
        if self._cursor is None:
            raise InvalidCursorError("This cursor could not be opened.")
        return self._cursor

    @contextmanager
    def no_failover(self) -> Iterator[SteadyDBCursor]:
        """Raise errors of statements at once in this context.

        This is for statements that are expected to fail in a controlled
        way, like those that run into a time-out of the server on purpose.
        """
        self._no_failover += 1
        try:
            yield self
        finally:
            self._no_failover -= 1

    def setinputsizes(self, sizes: Any) -> None:
        """Keep the input sizes for the next statement."""
        self._inputsizes = sizes

    def setoutputsize(self, size: Any, column: Any = None) -> None:
        """Keep an output size for the next statement."""
        self._outputsizes[column] = size

    def _clearsizes(self) -> None:
        """Forget the sizes."""
        self._inputsizes = []
        self._outputsizes = {}

    def _setsizes(self, cursor: Any) -> None:
        """Tell a driver cursor the sizes."""
        if self._inputsizes:
            cursor.setinputsizes(self._inputsizes)
        for column, size in self._outputsizes.items():
            if column is None:
                cursor.setoutputsize(size)
            else:
                cursor.setoutputsize(size, column)

    def close(self) -> None:
        """Close the cursor; this can be done more than once."""
        if self._closed:
            return
        with quietly("closing a cursor"):
            self._cursor.close()
        self._closed = True

    def __getattr__(self, name: str) -> Any:
        """Return what the driver's cursor has.

        Its methods that execute or call something are hardened.
        """
        cursor = self.dbapi_cursor
        if not name.startswith(("execute", "call")):
            return getattr(cursor, name)

        def run(*args: Any, **kwargs: Any) -> Any:
            return self._run(_Call(name, args, kwargs))
        return run

    def _run(self, call: _Call) -> Any:
        """Make a call, again if the connection was lost."""
        line = self._line
        in_transaction = line.transaction
        if not in_transaction:
            line.check(4)
            if line.is_used_up():
                return self._run_when_due(call)
        try:
            result = self._make(call, self._open_cursor())
        except line.failures as error:
            fatal = not self._no_failover and line.terms.is_fatal(error)
            verdict = judge(fatal, in_transaction)
            if verdict is Verdict.REPLACE:
                self._replace()
            if verdict is not Verdict.REPEAT:
                raise
            done = self._repeat(call, type(error))
            if done is None:
                raise
            return done.result
        line.usage += 1
        return result

    def _run_when_due(self, call: _Call) -> Any:
        """Make a call on a new connection, since the old has served."""
        line = self._line
        text = line.used_up_text()
        done = self._repeat(call, failure=())
        if done is None:
            raise line.failure(text)
        return done.result

    def _open_cursor(self) -> Any:
        """Return the driver cursor.

        As in DBUtils 3.x, a cursor that was moved to a new connection can
        go on to be used after it was closed.
        """
        if self._closed and self._moved:
            self._move_to(self._line.con.cursor(*self._args, **self._kwargs))
        return self.dbapi_cursor

    def _make(self, call: _Call, cursor: Any) -> Any:
        """Make a call on a driver cursor."""
        if not call.takes_sizes:
            return call(cursor)
        self._setsizes(cursor)
        result = call(cursor)
        self._clearsizes()
        return result

    # The ladder: each rung returns None if it has not helped.  The failure
    # is the kind of error that began it, if that came from the driver.

    def _repeat(self, call: _Call, failure: Any) -> _Done | None:
        """Climb the ladder."""
        done = self._repeat_here(call)
        if done is None:
            done = self._repeat_elsewhere(call, failure)
        if done is not None:
            self._moved = True
            self._line.usage += 1
        return done

    def _repeat_here(self, call: _Call) -> _Done | None:
        """Try once more with another cursor of this connection."""
        cursor = done = None
        with quietly(f"repeating {call.name} on the same connection"):
            cursor = self._line.cursor(self._args, self._kwargs)
            done = _Done(self._make(call, cursor))
        if done is not None:
            self._move_to(cursor)
        elif cursor is not None:
            with quietly("closing a cursor"):
                cursor.close()
        return done

    def _repeat_elsewhere(self, call: _Call, failure: Any) -> _Done | None:
        """Try once more with another connection.

        That connection is kept if the same failure does not come again.
        """
        with Spare(self._line.open, self._args, self._kwargs) as spare:
            if spare.cursor is None:
                return None
            try:
                done = _Done(self._make(call, spare.cursor))
            except failure:
                return None
            except Exception:
                self._take(spare)
                self._line.usage += 1
                raise
            self._take(spare)
            return done

    def _replace(self) -> None:
        """Replace the connection at the end of a broken transaction."""
        with Spare(self._line.open, self._args, self._kwargs) as spare:
            if spare.cursor is not None:
                self._take(spare)
        self._line.transaction = False

    def _take(self, spare: Spare) -> None:
        """Go on with another connection and a cursor of it."""
        con, cursor = spare.keep()
        self.close()
        self._line.replace(con)
        self._move_to(cursor)
        self._moved = True

    def _move_to(self, cursor: Any) -> None:
        """Go on with another driver cursor."""
        self.close()
        self._cursor = cursor
        self._closed = False

    def __del__(self) -> None:
        """Close the cursor when nobody holds it any more."""
        self.close()
