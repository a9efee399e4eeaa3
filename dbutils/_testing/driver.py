"""A database driver in this process whose connections fail as planned.

Its server is a database of SQLite in a folder of its own.  To programs and to
the library it looks like a driver with a network: its connections have
sockets, which hang up when the server ends a session, and its errors have
SQLSTATEs as those of PostgreSQL.
"""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from weakref import finalize

from .._base.hints import Any, Iterator, Planned, When
from . import faults
from .faults import Fault, check_fault, error_of
from .session import Session

__all__ = ["ScriptedDriver"]

# How many requests are remembered.
_MANY = 10000


class ScriptedDriver:
    """A DB-API 2 driver for tests, with faults that are planned.

    It is used in place of a driver's module.  The statements are those of
    SQLite, with question marks for parameters:

        driver = ScriptedDriver("create table users (name text)")
        pool = PooledDB(driver, maxconnections=2)
        driver.plan("lost", at="executed")

    These attributes can be changed at any time:

    password: the only password with which one can connect, None for any
    max_connections: how many connections there can be, None for any number
    connect_seconds: how long connecting takes
    read_only: whether statements that change data are refused
    answers: the rows with which the server answers statements that SQLite does
        not know, by their text

    And this one tells what has reached the server:

    seen: the last events, each with the text of the statement or ""
    """

    __module__ = "dbutils.testing"

    apilevel = "2.0"
    paramstyle = "qmark"

    # One by one, so that type checkers know them.
    Warning = faults.Warning
    Error = faults.Error
    InterfaceError = faults.InterfaceError
    DatabaseError = faults.DatabaseError
    DataError = faults.DataError
    OperationalError = faults.OperationalError
    IntegrityError = faults.IntegrityError
    InternalError = faults.InternalError
    ProgrammingError = faults.ProgrammingError
    NotSupportedError = faults.NotSupportedError

    def __init__(self, script: str = "", threadsafety: int = 1) -> None:
        """Set up a driver and its server.

        script: statements for the server to begin with
        threadsafety: the level that the driver declares
        """
        self.threadsafety = threadsafety
        self.password: str | None = None
        self.max_connections: int | None = None
        self.connect_seconds = 0.0
        self.read_only = False
        self.answers: dict[str, list[Any]] = {}
        self.seen: Any = deque(maxlen=_MANY)
        self._lock = threading.Lock()
        self._plans: list[Fault] = []
        self._sessions: list[Session] = []
        self._silent: list[Session] | None = None
        self._is_running = True
        folder = mkdtemp(prefix="dbutils-")
        finalize(self, rmtree, folder, ignore_errors=True)
        self._path = str(Path(folder, "database"))
        session = Session(self, self._path)
        session.raw.execute("pragma journal_mode=wal")
        session.raw.executescript(script)
        session.close()

    def __repr__(self) -> str:
        """Show how many connections are open."""
        return f"<ScriptedDriver with {len(self._sessions)} connections>"

    # Planning.

    def plan(
            self, fault: Planned, at: When = "execute",
            times: int = 1, matching: str | None = None) -> None:
        """Plan that something goes wrong.

        fault: "lost" (the connection, and what it has not committed),
            "refused", "password", "too many", "read-only", "deadlock",
            "conflict", "timeout", or an exception to be raised
        at: the event at which it happens; before the server does something:
            "connect", "execute", "commit", "rollback"; or when it was done and
            the answer is awaited: "connected", "executed", "committed",
            "rolled back"
        times: how often it happens
        matching: a regular expression for the statements that it hits

        Any fault but "lost" rolls an open transaction back.
        """
        check_fault(fault, at)
        with self._lock:
            self._plans += [Fault(fault, at, matching)] * times

    def kill_connections(self) -> None:
        """End all connections, as a server does that is started again."""
        for session in list(self._sessions):
            session.end()

    def stop(self) -> None:
        """End all connections, and refuse new ones."""
        self._is_running = False
        self.kill_connections()

    def start(self) -> None:
        """Accept connections again."""
        self._is_running = True

    def silence(self) -> None:
        """Give no more answers; all requests wait."""
        with self._lock:
            if self._silent is None:
                self._silent = []

    def speak(self) -> None:
        """Answer again, at first the requests that have waited."""
        with self._lock:
            silent, self._silent = self._silent or [], None
        for session in silent:
            session.wake()

    # Connecting.

    def connect(
            self, *args: Any,  # noqa: ARG002 - drivers take what they like
            **kwargs: Any) -> ScriptedConnection:
        """Connect to the server; all parameters are accepted.

        password: is compared with that of the server, if it has one
        """
        session = Session(self, self._path)
        try:
            self._check(session, kwargs.get("password"))
            session.meet("connected")
        except BaseException:
            session.close()
            raise
        return ScriptedConnection(self, session)

    def _check(self, session: Session, password: Any) -> None:
        """Raise an error if there can be no connection, or add it."""
        if self.connect_seconds:
            threading.Event().wait(self.connect_seconds)
        if not self._is_running:
            raise error_of("refused")
        session.meet("connect")
        if self.password is not None and password != self.password:
            raise error_of("password")
        with self._lock:
            if self.max_connections is not None and (
                    len(self._sessions) >= self.max_connections):
                raise error_of("too many")
            self._sessions.append(session)

    # Questions of the sessions.

    def forget(self, session: Session) -> None:
        """Note that a session has ended."""
        with self._lock:
            if session in self._sessions:
                self._sessions.remove(session)

    def is_silent_for(self, session: Session) -> bool:
        """Return whether a session has to wait for an answer."""
        with self._lock:
            if self._silent is not None:
                self._silent.append(session)
            return self._silent is not None

    def meet(self, event: str, text: str) -> Fault | None:
        """Note an event, and return the fault that happens."""
        self.seen.append((event, text))
        with self._lock:
            for number, fault in enumerate(self._plans):
                if fault.hits(event, text):
                    return self._plans.pop(number)
        return None


class ScriptedConnection:
    """A connection of a scripted driver."""

    __module__ = "dbutils.testing"

    def __init__(self, driver: ScriptedDriver, session: Session) -> None:
        self._driver = driver
        self._session = session

    @property
    def closed(self) -> bool:
        """Whether it was closed, or is known to be lost."""
        return self._session.is_lost

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._session.in_transaction

    @property
    def autocommit(self) -> bool:
        """Whether each statement is committed at once."""
        return self._session.autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        self._session.autocommit = bool(value)

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return self._session.socket.fileno()

    def cursor(self) -> ScriptedCursor:
        """Return a new cursor."""
        if self._session.is_lost:
            self._session.meet("execute")
        return ScriptedCursor(self, self._driver, self._session)

    def commit(self) -> None:
        """Commit the transaction."""
        self._session.end_transaction("commit", "committed")

    def rollback(self) -> None:
        """Roll the transaction back."""
        self._session.end_transaction("rollback", "rolled back")

    def close(self) -> None:
        """Close the connection, and roll its transaction back."""
        self._session.close()

    def __del__(self) -> None:
        """Close the connection if the program has not done so."""
        self._session.close()


class ScriptedCursor:
    """A cursor of a scripted driver; it has all rows of a result at once."""

    __module__ = "dbutils.testing"

    arraysize = 1

    def __init__(
            self, connection: ScriptedConnection, driver: ScriptedDriver,
            session: Session) -> None:
        self.connection = connection
        self._driver, self._session = driver, session
        self._rows: Iterator[Any] | None = None
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: Any = None
        self.closed = False

    def execute(self, operation: str, parameters: Any = ()) -> ScriptedCursor:
        """Execute a statement."""
        return self._run("execute", operation, parameters)

    def executemany(
            self, operation: str, parameters: Any) -> ScriptedCursor:
        """Execute a statement for each set of parameters."""
        return self._run("executemany", operation, parameters)

    def _run(
            self, method: str, operation: str,
            parameters: Any) -> ScriptedCursor:
        self._check()
        self._rows, self.description, self.rowcount = None, None, -1
        session = self._session
        session.meet("execute", operation)
        session.begin()
        answer = self._driver.answers.get(operation)
        if answer is None:
            session.run(self._do, method, operation, parameters)
        else:
            self._rows, self.rowcount = iter(list(answer)), len(answer)
            self.description = [
                (f"column {number}", None, None, None, None, None, None)
                for number, _ in enumerate(answer[0] if answer else (), 1)]
        session.meet("executed", operation)
        return self

    def _do(self, method: str, operation: str, parameters: Any) -> None:
        raw = self._session.raw
        raw.execute(f"pragma query_only={int(self._driver.read_only)}")
        cursor = getattr(raw, method)(operation, parameters)
        self.description = cursor.description
        self.rowcount, self.lastrowid = cursor.rowcount, cursor.lastrowid
        if cursor.description is not None:
            rows = cursor.fetchall()
            self._rows, self.rowcount = iter(rows), len(rows)

    def _check(self) -> None:
        if self.closed:
            raise faults.InterfaceError("The cursor is closed.")

    def _result(self) -> Iterator[Any]:
        self._check()
        if self._rows is None:
            raise faults.ProgrammingError("There is no result.")
        return self._rows

    def fetchone(self) -> Any:
        """Return the next row, or None."""
        return next(self._result(), None)

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """Return the next rows."""
        result = self._result()
        return [row for _, row in zip(
            range(self.arraysize if size is None else size), result)]

    def fetchall(self) -> list[Any]:
        """Return all other rows."""
        return list(self._result())

    def __iter__(self) -> Iterator[Any]:
        """Iterate over all other rows."""
        return self._result()

    def setinputsizes(self, sizes: Any) -> None:
        """Do nothing, as PEP 249 allows."""

    def setoutputsize(self, size: int, column: Any = None) -> None:
        """Do nothing, as PEP 249 allows."""

    def close(self) -> None:
        """Close the cursor."""
        self.closed, self._rows = True, None

    def __enter__(self) -> ScriptedCursor:
        """Return the cursor."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the cursor."""
        self.close()
