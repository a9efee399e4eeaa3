"""Hardened connections for any DB-API 2 driver.

A steady connection reconnects when its driver connection was lost, closed,
or used more often than a limit allows, and executes the failed statement once
more.  Between begin() and the end of the transaction it raises the error
instead, since only the program can repeat the whole transaction.

Use it directly for a single connection that must not break; the modules
pooled_db and persistent_db hand out such connections to threads.
"""

from __future__ import annotations

import warnings
from types import GeneratorType

from . import __version__  # noqa: F401 - every public module has it
from ._base.errors import log_swallowed, orphan_text
from ._base.fork import is_orphan, load_before_fork
from ._base.hints import (
    Any,
    Args,
    Callable,
    Con,
    ContextManager,
    Creator,
    Failover,
    Generic,
    Iterator,
    Kwargs,
    Pooler,
    Servers,
)
from ._drivers.creators import split_isfatal
from ._steady.calls import call_method, is_method, opens_cursor
from ._steady.cursor import (
    FOREVER,
    NOTHING,
    VALUES,
    Call,
    DriverAttribute,
    ReplaceableCursor,
    change,
    cursor_text,
    driver_cursor_of,
    during,
    execution,
    extra,
    is_closed,
    kinds,
    show_attributes,
    through,
)
from ._steady.driver_methods import Method, execute_on, names_of, tied
from ._steady.liveness import PingError
from ._steady.options import check_behind, check_options
from ._steady.statements import READ, reads, seen
from ._steady.steady import (
    AnySteady,
    Steady,
    inner,
    inner_term,
    session_of,
)

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from ._drivers.names import ConnectionNames, CursorNames
else:
    ConnectionNames = CursorNames = Generic

__all__ = [
    "InvalidCursorError", "SteadyDBConnection", "SteadyDBCursor",
    "SteadyDBError", "connect"]

load_before_fork(
    "_drivers.unknown", "_steady.account", "_steady.classic",
    "_steady.db_session", "_steady.opener", "_steady.policies",
    "_steady.replaced")


class SteadyDBError(Exception):
    """General SteadyDB error."""


class InvalidCursorError(SteadyDBError):
    """Database cursor is invalid."""


# The name of this error before DBUtils 2.0.
InvalidCursor = InvalidCursorError


def connect(
        creator: Creator[Con] | None = None, maxusage: int | None = None,
        setsession: Any = None, failures: Any = None, ping: Any = 1,
        closeable: Any = True, *args: Any,
        isfatal: Callable[[Exception], Any] | None = None,
        failover: Failover = "safe",
        onconnect: Callable[[Any], Any] | None = None,
        targets: Servers | None = None, behind: Pooler | None = None,
        **kwargs: Any) -> SteadyDBConnection[Con]:
    """Return a hardened connection.

    creator: a DB-API 2 module, or a function or class that returns
        DB-API 2 connections
    maxusage: the number of operations (each execute, executemany and
        callproc is one) after which the driver connection is replaced,
        before the next operation outside of a transaction;
        0 or None means never
    setsession: a sequence of SQL statements that prepare the session; they
        are executed on each new driver connection, and committed where the
        driver opens transactions
    failures: the exception class, or a tuple of classes, that can mean
        a lost connection; by default OperationalError, InterfaceError and
        InternalError of the driver
    ping: when to check whether the connection is alive, as a sum of
        1 (when it is handed out), 2 (when a cursor is made) and
        4 (when a statement is executed), or 0 for never.  The check calls
        the driver's ping() method, where there is one, and otherwise looks
        at the socket, with the drivers that we know; unless ping is 0,
        their sockets are also looked at before a statement is executed
        outside of a transaction.  An SQL statement like "select 1" can be
        the check instead, or a callable that gets the driver connection and
        returns whether it is alive (None counts as yes, an exception as
        no).  Both mean (1, check); give such a pair with another number to
        check at other moments.
    closeable: if false, close() keeps the connection open
    args, kwargs: passed to the creator for each new connection
    isfatal: a callable that gets an exception of the kind in failures and
        returns whether the connection was really lost.  If it was not, the
        exception is raised.  Positionally, isfatal may follow closeable.
    failover: "safe" executes a statement again only if the connection was
        really lost and nothing can be lost or done twice; "always" does so
        after every error of the kind in failures, like DBUtils 3.x, and
        replaces "safe" with mocks that do not declare to be drivers;
        "never" only replaces connections
    onconnect: a callable that prepares each new session after setsession; it
        gets the driver connection, for example to register types.  Its error
        is an error of connecting.
    targets: several servers, as the Targets of the module hosts instead of a
        creator, or as a sequence of hosts like theirs
    behind: "transaction-pooler" if there is a proxy before the server that
        gives each transaction another session, such as PgBouncer in
        transaction mode; None means that there is none
    """
    return SteadyDBConnection(
        creator, maxusage, setsession, failures, ping, closeable,
        *args, isfatal=isfatal, failover=failover, onconnect=onconnect,
        targets=targets, behind=behind, **kwargs)


class SteadyDBConnection(Steady, ConnectionNames[Con]):
    """A DB-API 2 connection that heals itself; see connect()."""

    __slots__ = ()

    _stands_for_driver = True

    def __init__(
            self, creator: Creator[Con] | None = None,
            maxusage: int | None = None,
            setsession: Any = None, failures: Any = None, ping: Any = 1,
            closeable: Any = True, *args: Any,
            isfatal: Callable[[Exception], Any] | None = None,
            failover: Failover = "safe",
            onconnect: Callable[[Any], Any] | None = None,
            targets: Servers | None = None, behind: Pooler | None = None,
            **kwargs: Any) -> None:
        if targets is not None:
            from ._hosts.targets import targets_of  # noqa: PLC0415 - an option

            creator = targets_of(targets, creator)
        isfatal, args = split_isfatal(isfatal, args)
        options = check_options(
            maxusage, failures, isfatal, ping, closeable, failover)
        # the first connection loads them
        from ._steady.db_session import DbSession  # noqa: PLC0415 - large
        from ._steady.opener import Opener  # noqa: PLC0415 - large

        opener = Opener(
            creator, setsession, onconnect, failures, args, kwargs)
        if check_behind(behind):
            opener.stand_behind()
        session = DbSession(opener, options)
        self._own_session = session
        session.store(self._create())
        from ._steady.policies import policy_for  # noqa: PLC0415 - large
        from ._steady.replaced import (  # noqa: PLC0415 - first needed now
            Replaced,
            replaced_in,
        )

        session.follow(policy_for(session))
        names = replaced_in(self, _ORIGINALS)
        if names:
            session.follow(Replaced(self, session.failover, names))
            from weakref import WeakMethod  # noqa: PLC0415 - rarely needed

            session.opener.maker = WeakMethod(self._create)
            if "_ping_check" in names:
                session.check_outside()

    # Inner names of DBUtils 3.x that programs and their tests read.

    @property
    def _con(self) -> Any:
        return self._own_session.hand_out()

    @_con.setter
    def _con(self, con: Any) -> None:
        self._own_session.put(con)

    _creator = inner("opener.creator")
    _args = inner("opener.args")
    _kwargs = inner("opener.kwargs")
    _dbapi = inner("opener.dbapi")
    _threadsafety = inner("opener.threadsafety")
    _failure = inner("opener.failure")
    _failures = inner_term("failures", "opener.failures")
    _setsession_sql = inner("opener.setsession")
    _ping = inner_term("ping", "checks.asked_ping")

    def _reset(self, force: bool = False) -> None:
        """Roll back if a transaction is open, or in any case with force."""
        self._own_session.clean(force)

    def _create(self) -> Any:
        """Return another driver connection with a prepared session."""
        return self._own_session.opener.make()

    def _ping_check(self, ping: int = 1, reconnect: bool = True) -> Any:
        """Return whether the connection is alive, None if it is not checked.

        As in DBUtils 3.x, a check that always fails is no error here.
        """
        session = self._own_session
        if not ping & session.checks.asked_ping:
            return None
        if session.unanswered:
            session.unanswered = 0
        try:
            return session.failover.usual.check(session, reconnect)
        except PingError as error:
            log_swallowed("proving a ping", error)
            return True

    def _cursor(self, *args: Any, **kwargs: Any) -> Any:
        """Return a new driver cursor."""
        session = self._own_session
        session.hand_out()
        return session.failover.usual.cursor(session, args, kwargs)

    if not TYPE_CHECKING:  # see the module "_drivers.names"
        def __getattr__(self, name: str) -> Any:
            """Return an attribute of the driver connection.

            Methods that execute statements are hardened.
            """
            if name == "_own_session":  # __init__() did not even begin
                raise AttributeError(name)
            session = self._own_session
            if session is not None and not name.startswith("_"):
                if is_method(session, name):
                    return Method(name, self._call, getattr(session.con, name))
                if session.is_attribute(name):
                    is_door = name in session.driver.doors
                    con = session.hand_out() if is_door else session.con
                    return getattr(con, name)
            raise self._unknown(name)

    def _unknown(self, name: str) -> AttributeError:
        """Return the error for an unknown attribute."""
        text = f"{type(self).__name__!r} object has no attribute {name!r}"
        session = self._own_session
        if session is not None and not name.startswith("__") and (
                hasattr(type(session.con), name)):
            text += (
                ", which is private to the driver. Pass dbapi_connection to"
                " what needs the driver's own connection. [DBU-29]")
        return AttributeError(text)

    def __dir__(self) -> list[str]:
        """Return the attributes of this and of the driver connection."""
        names = {*super().__dir__()}
        if self._own_session is not None:
            names.update(names_of(self._own_session.con))
        return sorted(names)

    def _call(self, name: str, args: Args, kwargs: Kwargs) -> Any:
        """Call a method of the driver connection."""
        session = self._own_session
        if opens_cursor(session, name):
            return execute_on(
                self, session.driver.cursor_options, name, args, kwargs)
        return tied(call_method(session, name, args, kwargs), session, self)

    def __enter__(self: AnySteady) -> AnySteady:
        """Begin a context that is a transaction."""
        return self

    def dbapi(self) -> Any:
        """Return the DB-API 2 module of the connection."""
        if self._own_session.opener.dbapi is None:
            raise AttributeError(
                "Could not determine the DB-API 2 module:"
                " please set creator.dbapi. [DBU-06]")
        return self._own_session.opener.dbapi

    @property
    def dbapi_connection(self) -> Con:
        """The driver's own connection.

        Statements executed there are neither repeated nor counted as usage.
        """
        con: Con = self._own_session.hand_out()
        return con

    def threadsafety(self) -> int:
        """Return the thread safety level of the connection."""
        opener = self._own_session.opener
        threadsafety: int | None = opener.threadsafety
        if threadsafety is None:
            if opener.dbapi is None:
                raise AttributeError(
                    "Could not determine the thread safety:"
                    " please set creator.dbapi or creator.threadsafety."
                    " [DBU-06]")
            return 0
        return threadsafety

    def begin(self, *args: Any, **kwargs: Any) -> None:
        """Begin a transaction, in which the connection is not replaced.

        The arguments go to the driver's own begin(), if it has one.
        """
        self._own_session.failover.begin(self._own_session, args, kwargs)

    def commit(self) -> None:
        """Commit the current transaction."""
        self._own_session.end("commit")

    def rollback(self) -> None:
        """Roll back the current transaction."""
        self._own_session.end("rollback")

    def position(self) -> str:
        """Return how far the server has come, as a token after a commit.

        A request for a connection with after=token sees what was committed.
        """
        position: str | None = self._own_session.position()
        if position is None:
            raise SteadyDBError(
                "The server does not tell how far it is. [DBU-71]")
        return position

    def cancel(self) -> None:
        """Cancel a long-running transaction, if the driver can do that."""
        self._own_session.transaction = False
        cancel = getattr(self._own_session.con, "cancel", None)
        if cancel is not None:
            cancel()

    def ping(self, *args: Any, **kwargs: Any) -> Any:
        """Ping the connection with the driver's own method."""
        return self._own_session.con.ping(*args, **kwargs)

    def cursor(self, *args: Any, **kwargs: Any) -> SteadyDBCursor:
        """Return a new hardened cursor."""
        cursor: SteadyDBCursor = cursor_for(
            self, True, FOREVER, args, kwargs, UsualCursor)
        return cursor


# The methods that the library calls only where a program has replaced them.
_ORIGINALS = {
    name: getattr(SteadyDBConnection, name)
    for name in ("_create", "_cursor", "_ping_check", "_reset")}


# Attributes and methods of driver cursors that write nothing.
_HARMLESS = {
    "arraysize", "itersize", "messages", "nextset", "query", "row_factory",
    "rowfactory", "scroll", "statusmessage"}

_UNOPENED = "This cursor could not be opened. [DBU-45]"
_USED_LATE = (
    "The connection of this cursor was given back to its pool."
    " Fetch its rows before close(). [DBU-44]")
_READ_LATE = _USED_LATE.replace("this cursor", "the cursor that is read")

# Methods that get statements, too, but are not repeated.
_SENDING = {"copy", "copy_expert", "prepare", "query", "sql", "stream"}


class SteadyDBCursor(ReplaceableCursor, CursorNames):
    """A DB-API 2 cursor that heals itself together with its connection."""

    __slots__ = ()

    def __init__(
            self, con: SteadyDBConnection[Any],
            *args: Any, **kwargs: Any) -> None:
        self._own_cursor = self._own_checkout = self._own_hold = None
        try:
            session_of(con)
        except AttributeError as error:
            raise TypeError(
                f"{con!r} is not a SteadyDBConnection. [DBU-01]") from error
        cursor_for(con, True, FOREVER, args, kwargs, lambda: self)

    def __repr__(self) -> str:
        """Return the state."""
        return f"<{type(self).__name__}{cursor_text(self)}>"

    def _own_open_first(self, args: Args, kwargs: Kwargs) -> None:
        """Open the first driver cursor as the failover policy says."""
        session = self._own_session
        self._own_cursor = session.terms.failover.cursor(session, args, kwargs)
        kind_for(self._own_cursor, session)  # shows its attributes
        if args or kwargs:
            self._own_extras = self._own_extras._replace(
                args=args, kwargs=kwargs)
            self._own_note_options()

    # Inner names of DBUtils 3.x that programs and their tests read.

    @property
    def _cursor(self) -> Any:
        if self._own_cursor is not None:
            self._own_session.hand_out()
        return self._own_cursor

    @_cursor.setter
    def _cursor(self, cursor: Any) -> None:
        """Replace the driver cursor; None makes the cursor invalid."""
        self._own_cursor = cursor
        if (cursor is None) != isinstance(self, _Invalid):
            self._own_checkout, self._checkout = self.__dict__.get(
                "_checkout"), self._own_checkout
            kind: Any = type(self)
            self.__class__ = _other_kind(kind)

    @property
    def _con(self) -> Any:
        return self._own_steady

    @_con.setter
    def _con(self, con: Any) -> None:
        self._own_steady = con

    @property
    def _closed(self) -> bool:
        return self._own_hold is None

    @_closed.setter
    def _closed(self, closed: bool) -> None:
        self._own_hold = None if closed else True

    _args = extra("args")
    _kwargs = extra("kwargs")
    _no_failover = extra("no_failover")
    _inputsizes = extra("inputsizes")
    _outputsizes = extra("outputsizes")

    def __dir__(self) -> list[str]:
        """Return the names, without those of the cursors of drivers."""
        kind = type(self)
        return [name for name in super().__dir__() if not isinstance(
            getattr(kind, name, None), DriverAttribute)]

    def __enter__(self) -> SteadyDBCursor:
        """Begin a context that closes the cursor at its end."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the cursor."""
        self.close()

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the rows, also if the driver does not offer that."""
        cursor = self._cursor_to_read()
        try:
            rows = iter(cursor)
        except TypeError:
            rows = iter(cursor.fetchone, None)
        return through(rows, self, self._cursor_to_read)

    def __next__(self) -> Any:
        """Return the next row, if the driver offers that."""
        return next(self._cursor_to_read())

    def _ours(self, result: Any, cursor: Any) -> Any:
        """Return a result of the driver, but self for the driver cursor."""
        if result is cursor:
            return self
        if type(result) is GeneratorType:
            items = through(result, self, self._driver_cursor)
            return (self if item is cursor else item for item in items)
        return result

    def _driver_cursor(self) -> Any:
        if self._own_cursor is None:
            raise InvalidCursorError(_UNOPENED)
        if not self._own_checkout:
            raise InvalidCursorError(self._own_refusal())
        return self._own_cursor

    def _own_refusal(self) -> str:
        """Return why the cursor cannot be used after its checkout."""
        if is_orphan(self._own_steady):
            return orphan_text()
        checkout = self._own_checkout
        text: str | None = getattr(checkout, "refusal", None) or (
            self._own_session.refusal(checkout))
        return text or _USED_LATE

    def _cursor_to_read(self, is_value: bool = False) -> Any:
        """Return the driver cursor to read a result, also a kept one.

        is_value: whether a fact about the statement is read, and no row
        """
        if self._own_checkout or self._own_hold is None or (
                self._own_cursor is None):
            return self._driver_cursor()
        driver, cursor = self._own_session.driver, self._own_cursor
        if not (driver.keeps_rows(cursor)
                or (is_value and driver.keeps_values(cursor))):
            return self._driver_cursor()
        warnings.warn(_READ_LATE, PendingDeprecationWarning, stacklevel=3)
        return cursor

    @property
    def connection(self) -> Any:
        """The connection: the lease, or the steady connection."""
        self._driver_cursor()
        if self._own_checkout is FOREVER:
            return self._con
        lease = self._own_hold
        if lease is None or lease is True:  # True since it was opened again
            raise InvalidCursorError("This cursor was closed. [DBU-40]")
        return lease

    @property
    def dbapi_cursor(self) -> Any:
        """The driver's own cursor.

        Statements executed there are neither repeated nor counted as usage;
        no_failover() keeps the count.
        """
        cursor = self._driver_cursor()
        self._own_session.hand_out()
        return cursor

    def no_failover(self) -> ContextManager[SteadyDBCursor]:
        """Raise errors of statements at once in this context.

        Use it for statements that fail on purpose, like those that time out.
        """
        return _NoFailover(self)

    def setinputsizes(self, sizes: Any) -> None:
        """Keep the input sizes for the next statement."""
        self._own_change(has_sizes=True, inputsizes=sizes)

    def setoutputsize(self, size: Any, column: Any = None) -> None:
        """Keep an output size for the next statement."""
        self._own_change(has_sizes=True, outputsizes={
            **self._outputsizes, column: size})

    def execute(  # noqa: C901, PLR0912 - the fast way is one short function
            self, operation: Any = NOTHING, parameters: Any = NOTHING,
            *more: Any, **options: Any) -> Any:
        """Execute a statement; this inlines the safe policy for reads.

        more, options: further arguments for the driver's cursor
        """
        if not self._own_checkout:
            self._driver_cursor()  # raises the error
        session, cursor = self._own_session, self._own_cursor
        try:
            if not ((operation in reads or seen[operation] is READ) and (
                    self._own_ready is session.ready) and (
                    not options) and session.work is not None and (
                    (session.poll is None and not session.can_be_gone)
                    or session.usage == session.looked
                    or session.work or session.transaction or not (
                        session.is_gone() if session.poll is None
                        else session.poll(0)
                        or session.ask_number() != session.descriptor))):
                cursor = None
        except Exception:  # noqa: BLE001 - not seen yet, or no answer
            cursor = None
        if cursor is None:
            return _execute_with_care(
                self, operation, parameters, more, options)
        try:
            if parameters is NOTHING:
                result = cursor.execute(operation)
            elif more:
                result = cursor.execute(operation, parameters, *more)
            else:
                result = cursor.execute(operation, parameters)
        except BaseException as error:
            call = execution(operation, parameters, *more)
            failover = session.failover
            if not failover.may_repeat(
                    error, session, self, call, READ, session.work):
                raise
            result = failover.make_again(session, self, call, READ)
        session.usage += 1
        if result is None:  # as nearly always
            return None
        return self if result is self._own_cursor else result

    def executemany(self, *args: Any, **kwargs: Any) -> Any:
        """Execute a statement with several sets of parameters."""
        return self._run("executemany", args, kwargs)

    def _run(self, name: str, args: Args, kwargs: Kwargs) -> Any:
        """Make a call as the failover policy allows."""
        self._driver_cursor()
        session = self._own_session
        result = self._own_policy().run(
            session, self, Call(name, args, kwargs))
        return self._ours(result, self._own_cursor)

    def _call(self, name: str, args: Args, kwargs: Kwargs) -> Any:
        """Call another method of the driver cursor."""
        cursor = self._driver_cursor()
        session = self._own_session
        if name in _SENDING and Call(name, args, kwargs).kind().marks:
            session.mark()
        if name not in _HARMLESS:  # again: the program can keep a method
            session.note_direct_use()
        result = getattr(cursor, name)(*args, **kwargs)
        if name == "copy" and hasattr(result, "__exit__"):
            return during(result, self)
        if name == "stream" and isinstance(result, GeneratorType):
            session.add_stream(result)
        return self._ours(result, cursor)

    def fetchone(self) -> Any:
        """Return the next row."""
        if self._own_checkout:
            return self._own_cursor.fetchone()
        return self._cursor_to_read().fetchone()

    def fetchmany(self, *args: Any, **kwargs: Any) -> Any:
        """Return the next few rows."""
        return self._cursor_to_read().fetchmany(*args, **kwargs)

    def fetchall(self, *args: Any, **kwargs: Any) -> Any:
        """Return all remaining rows."""
        if self._own_checkout:
            return self._own_cursor.fetchall(*args, **kwargs)
        return self._cursor_to_read().fetchall(*args, **kwargs)

    if not TYPE_CHECKING:  # see the module "_drivers.names"
        def __getattr__(self, name: str) -> Any:
            """Return an attribute of the driver cursor.

            Methods that execute or call something are hardened.
            """
            if name in VALUES:
                if self._own_checkout:  # as nearly always
                    return getattr(self._own_cursor, name)
                return getattr(self._cursor_to_read(is_value=True), name)
            if name.startswith("_own"):  # __init__() did not even begin
                raise AttributeError(name)
            cursor = self._driver_cursor()
            if name.startswith(("execute", "call")):
                return Method(name, self._run)
            if name not in _HARMLESS and (
                    name not in self._own_extras.attributes):
                self._own_session.note_direct_use()
            value = getattr(cursor, name)
            if getattr(value, "__self__", None) is cursor:  # it is a method
                return Method(name, self._call, value)
            return value


def _execute_with_care(
        cursor: SteadyDBCursor, operation: Any, parameters: Any,
        more: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Execute a statement as the failover policy allows."""
    if more or options or operation is NOTHING:
        given = (operation, parameters, *more)
        return cursor._run("execute", tuple(  # noqa: SLF001 - of this module
            arg for arg in given if arg is not NOTHING), options)
    result = cursor._own_policy().execute(  # noqa: SLF001 - of this module
        session_of(cursor), cursor, operation, parameters)
    return cursor if result is driver_cursor_of(cursor) else result


class _NoFailover:
    """A context in which errors of a cursor are raised at once."""

    def __init__(self, cursor: SteadyDBCursor) -> None:
        self._cursor = cursor

    def __enter__(self) -> SteadyDBCursor:
        """Begin to raise errors."""
        self._cursor._no_failover += 1  # noqa: SLF001 - of this module
        return self._cursor

    def __exit__(self, *exc: object) -> None:
        """Go on as before."""
        self._cursor._no_failover -= 1  # noqa: SLF001 - of this module


class _Invalid(ReplaceableCursor):
    """A cursor without a driver cursor, which can only be closed."""

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        """Raise the error of DBUtils 3.x, except for close() and sizes."""
        if name.startswith("_") or name in {
                "close", "setinputsizes", "setoutputsize"}:
            return super().__getattribute__(name)
        raise InvalidCursorError(_UNOPENED)


# The invalid variants of cursor classes.
_invalid_kinds: dict[Any, Any] = {}


def _other_kind(kind: Any) -> Any:
    """Return the invalid variant of a cursor class, or the valid one."""
    if issubclass(kind, _Invalid):
        return kind.__mro__[2]
    if kind in _invalid_kinds:
        return _invalid_kinds[kind]
    return _invalid_kinds.setdefault(kind, type(
        kind.__name__, (_Invalid, kind), {"__slots__": ()}))


class UsualCursor(SteadyDBCursor):
    """A cursor as cursor_for() makes it, which takes less without __init__().

    Programs see the usual name.
    """

    __slots__ = ()

    __init__: Any = object.__init__


class _FreedCursor(UsualCursor):
    """A cursor whose driver cursor needs no close() when it is dropped.

    The finalizer is written in C and does nothing, which takes less than half
    the time.
    """

    __slots__ = ()

    __del__: Any = [].clear


UsualCursor.__name__ = _FreedCursor.__name__ = SteadyDBCursor.__name__


def kind_for(cursor: Any, session: Any) -> Any:
    """Return the class of which cursors are made for such driver cursors."""
    kind = kinds.get(type(cursor))
    if kind is None:
        is_freed = session.driver.frees(type(cursor))
        kind = _FreedCursor if is_freed else UsualCursor
        show_attributes(cursor, SteadyDBCursor, kind)
    return kind


def cursor_for(
        con: SteadyDBConnection, hold: Any, checkout: Any, args: Args,
        kwargs: Kwargs, make: Callable[..., Any]) -> Any:
    """Return a new cursor that can be used until a checkout ends.

    hold: the lease, which it keeps while it is open, or True for none
    make: returns the object to become this cursor

    The other parameters are those of bind(), and of the driver's cursor().
    This inlines the safe policy's cursor() for the usual case.
    """
    session = con._own_session  # noqa: SLF001 - as session_of()
    new = make()
    new._own_session = session  # noqa: SLF001 - as bind()
    if args or kwargs or session.work is None or session.ready is None:
        new._own_open_first(args, kwargs)  # noqa: SLF001 - as bind()
    else:
        try:
            driver_cursor = new._own_cursor = session.con.cursor()  # noqa: SLF001 - as bind()
        except Exception as error:
            if not session.failover.may_reopen(session, error, session.work):
                raise
            driver_cursor = new._own_cursor = session.con.cursor()  # noqa: SLF001 - as bind()
        if type(driver_cursor) not in kinds:
            kind_for(driver_cursor, session)  # shows its attributes
    new._own_ready = session.con  # noqa: SLF001 - as bind()
    new._own_steady = con  # noqa: SLF001 - as bind()
    new._own_checkout = checkout  # noqa: SLF001 - as bind()
    new._own_hold = hold  # noqa: SLF001 - as bind()
    return new


def bind(
        cursor: SteadyDBCursor, lease: Any, checkout: Any,
        runner: Any = None) -> SteadyDBCursor:
    """Tie a cursor to the checkout of its connection.

    checkout: is false after its end, when the cursor refuses statements
    runner: executes the statements, by default the failover policy

    The cursor keeps the lease alive until one of the two is closed.
    """
    if not is_closed(cursor):
        cursor._own_hold = lease  # noqa: SLF001 - of this module
    cursor._own_checkout = checkout  # noqa: SLF001 - of this module
    if runner is not None:
        change(cursor, runner=runner)
    return cursor
