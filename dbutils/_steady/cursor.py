"""The common part of hardened cursors: a driver cursor that can be replaced.

The names of its fields and methods begin with "_own", since a driver's cursor
can have any other name.
"""

from __future__ import annotations

from .._base.errors import log_swallowed
from .._base.finalizers import note_lost
from .._base.hints import (
    Any,
    Callable,
    Iterable,
    Iterator,
    NamedTuple,
    attrgetter,
)
from .statements import MARK, UNKNOWN_WORK, Kind, kind_of

__all__ = [
    "FOREVER", "NOTHING", "VALUES", "Call", "DriverAttribute",
    "Extras", "ReplaceableCursor", "call_on", "change", "close_driver_cursor",
    "cursor_text", "driver_cursor_of", "during", "execution", "extra",
    "extras_of", "is_closed", "is_ready", "keep_up", "kinds", "move_to",
    "open_again", "settle", "show_attributes", "through"]


# The checkout of a connection that belongs to no pool; it is a list like those
# in pools, for which testing the truth is quick.
FOREVER = [True]


# The names that drivers give to the parameter with the statement.
_STATEMENTS = (
    "operation", "query", "sql", "statement", "stmt", "sql_script", "command")


class Call(NamedTuple):
    """A call of a cursor method that may have to be made again."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def takes_sizes(self) -> bool:
        """Whether the input and output sizes are for this call."""
        return self.name.startswith("execute")

    @property
    def can_be_repeated(self) -> bool:
        """Whether the parameters can be read again."""
        return not any(
            hasattr(arg, "__next__")
            for arg in (*self.args, *self.kwargs.values()))

    def kind(self) -> Kind:
        """Return what is known about the statement.

        A procedure can do anything.
        """
        if self.name.startswith("call"):
            return MARK
        kind = kind_of(self._statement())
        if self.name != "execute":
            return MARK if kind.marks else UNKNOWN_WORK
        return kind

    def _statement(self) -> Any:
        if self.args:
            return self.args[0]
        names = (name for name in _STATEMENTS if name in self.kwargs)
        return self.kwargs.get(next(names, None) or next(
            iter(self.kwargs), ""))

    def __call__(self, cursor: Any) -> Any:
        """Make the call on a driver cursor."""
        return getattr(cursor, self.name)(*self.args, **self.kwargs)


# The option and attribute of cursors that live longer than a transaction.
_HELD = "withhold"


class _Nothing:
    """Stands for an argument that was not given."""

    def __repr__(self) -> str:
        """Return what help() shows as the default."""
        return "..."


NOTHING: Any = _Nothing()


def execution(operation: Any, parameters: Any, *more: Any) -> Call:
    """Return the call of execute() with what was given to it."""
    args = (operation, parameters, *more)
    return Call("execute", args[:1] if parameters is NOTHING else args, {})


class Extras(NamedTuple):
    """Facts that few cursors have; they are replaced, not changed."""

    # The arguments with which the driver cursor was opened.
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    # Whether it has moved to another cursor than at the beginning.
    moved: bool
    no_failover: int
    # The sizes for the next statement.
    has_sizes: bool
    inputsizes: Any
    outputsizes: dict[Any, Any]
    # The attributes that the program has written, and those that the driver
    # cursor has not accepted.
    attributes: dict[str, Any]
    kept: dict[str, Any]
    # It executes the statements, if the failover policy does not.
    runner: Any
    # The driver connection of the driver cursor, if that is not "ready".
    con: Any

    @property
    def options(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional and the keyword arguments."""
        return self.args, self.kwargs


PLAIN = Extras((), {}, False, 0, False, {}, {}, {}, {}, None, None)


# Facts about a statement, which outlive the lease as its rows do.
VALUES = {"description", "lastrowid", "rowcount", "rownumber"}


class ReplaceableCursor:
    """A driver cursor, and what is needed to open another one like it.

    cursor_for() makes it.  There is no __setattr__(), which would make that
    and close() take twice the time: see show_attributes().
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_own_checkout",
        "_own_cursor",
        "_own_hold",
        "_own_ready",
        "_own_session",
        "_own_steady",
    )

    _own_session: Any
    # The driver cursor, None if there is none, and the driver connection that
    # it belongs to, or False if there is something to do before a statement.
    _own_cursor: Any
    _own_ready: Any
    # The steady connection.
    _own_steady: Any
    # The checkout, which is false when the lease has ended, and what is kept
    # while the cursor is open: the lease, or True; None if it is closed.
    _own_checkout: Any
    _own_hold: Any
    # Few cursors have others.
    _own_extras: Extras = PLAIN

    def close(self) -> None:
        """Close the cursor; closing it again has no effect.

        After its lease it is only forgotten: closing it could reach the
        connection, which the next holder uses.
        """
        if self._own_hold is not None:
            if self._own_checkout or self._own_session.driver.is_embedded:
                try:
                    self._own_cursor.close()
                except BaseException as error:  # noqa: BLE001 - it is raised
                    self._own_note_failed_close(error)
            self._own_hold = None

    def __del__(self) -> None:
        """Close the cursor after its last reference was dropped."""
        try:
            if self._own_hold is not None:
                ReplaceableCursor.close(self)
        except AttributeError:
            pass  # __init__() did not open it
        except BaseException as error:  # noqa: BLE001 - no caller can catch it
            # the driver closes its cursor when that is dropped
            if note_lost is not None:  # as when modules were emptied
                note_lost("closing a cursor that was dropped", error)

    def _own_note_failed_close(self, error: BaseException) -> None:
        """Swallow an error of the driver cursor's close().

        An interrupt is raised, since an answer may be unread.
        """
        if isinstance(error, Exception):
            log_swallowed("closing a cursor", error)
            return
        if self._own_con() is self._own_session.con:
            self._own_session.distrust(error)
        raise error

    def _own_policy(self) -> Any:
        """Return the policy or runner that executes the statements."""
        runner = self._own_extras.runner
        return self._own_session.terms.failover if runner is None else runner

    def _own_con(self) -> Any:
        """Return the driver connection of the driver cursor."""
        ready = self._own_ready
        return self._own_extras.con if ready is False else ready

    def _own_change(self, **extras: Any) -> None:
        """Change some of the facts that few cursors have."""
        con = self._own_con()
        self._own_extras = self._own_extras._replace(**extras)
        self._own_belong_to(con)

    def _own_belong_to(self, con: Any) -> None:
        """Note the driver connection, and whether a statement needs more."""
        extras = self._own_extras
        if extras.runner is None and not (
                extras.has_sizes or extras.no_failover):
            self._own_ready = con  # first: one of the two always has it
            self._own_extras = extras._replace(con=None)
        else:
            self._own_extras = extras._replace(con=con)
            self._own_ready = False

    def _own_open(self) -> None:
        """Open a cursor of the present driver connection."""
        session = self._own_session
        self._own_move_to(session.failover.cursor(
            session, *self._own_extras.options))

    def _own_move_to(self, cursor: Any, hold: Any = None) -> None:
        """Go on with another driver cursor.

        hold: the lease or True, if the present one was closed for that
        """
        if self._own_extras.attributes:
            self._own_furnish(cursor)
        if hold is None:
            hold = self._own_hold
        ReplaceableCursor.close(self)
        self._own_cursor = cursor
        self._own_hold = True if hold is None else hold
        self._own_belong_to(self._own_session.con)
        if self._own_extras.kwargs:
            self._own_note_options()

    def _own_note_options(self) -> None:
        """Note the options of cursors that outlive a lease on the server.

        Such a cursor is closed at the end of the lease.  A held one also marks
        the session, since it cannot be closed in a transaction that failed.
        """
        session, options = self._own_session, self._own_extras.kwargs
        is_held = bool(options.get(_HELD))
        if is_held:
            session.mark()
        if is_held or options.get("prepared"):
            # the driver would wait for its end before anything else
            session.add_stream(self._own_cursor)

    def _own_write(self, cursor: Any, name: str, value: Any) -> bool:
        """Write an attribute; return whether the driver cursor takes it."""
        try:
            setattr(cursor, name, value)
        except AttributeError:
            return False
        except TypeError:
            if hasattr(cursor, name):
                raise  # the cursor refuses the value
            return False
        self._own_change(
            attributes={**self._own_extras.attributes, name: value})
        if name == _HELD and value:
            self._own_session.mark()
        return True

    def _own_erase(self, name: str) -> None:
        """Delete an attribute that was written."""
        delattr(self._own_cursor, name)
        self._own_change(attributes={
            key: value for key, value in self._own_extras.attributes.items()
            if key != name})

    def _own_furnish(self, cursor: Any) -> None:
        """Write what was written before to another driver cursor."""
        for name, value in self._own_extras.attributes.items():
            setattr(cursor, name, value)

    def _own_call(self, call: Call, other: Any) -> Any:
        """Make a call on the driver cursor, or on another one."""
        extras = self._own_extras
        cursor = self._own_cursor if other is None else other
        if extras.attributes and other is not None:
            self._own_furnish(cursor)
        if not (extras.has_sizes and call.takes_sizes):
            return call(cursor)
        self._own_set_sizes(cursor)
        result = call(cursor)
        self._clearsizes()
        return result

    def _clearsizes(self) -> None:
        """Forget the input and output sizes, as in DBUtils 3.x."""
        self._own_change(has_sizes=False, inputsizes={}, outputsizes={})

    def _own_set_sizes(self, cursor: Any) -> None:
        """Set the sizes of a driver cursor."""
        extras = self._own_extras
        if extras.inputsizes:
            cursor.setinputsizes(extras.inputsizes)
        for column, size in extras.outputsizes.items():
            if column is None:
                cursor.setoutputsize(size)
            else:
                cursor.setoutputsize(size, column)


# These are no methods, which users of cursors would see.

def extras_of(cursor: ReplaceableCursor) -> Extras:
    """Return the facts that few cursors have."""
    return cursor._own_extras  # noqa: SLF001 - of this module


def change(cursor: ReplaceableCursor, **extras: Any) -> None:
    """Change some of these facts."""
    cursor._own_change(**extras)  # noqa: SLF001 - of this module


def driver_cursor_of(cursor: ReplaceableCursor) -> Any:
    """Return the driver cursor."""
    return cursor._own_cursor  # noqa: SLF001 - of this module


def is_ready(cursor: ReplaceableCursor, session: Any) -> bool:
    """Return whether there is nothing to do before a statement."""
    return cursor._own_ready is session.ready  # noqa: SLF001 - of this module


def is_closed(cursor: ReplaceableCursor) -> bool:
    """Return whether a cursor is closed."""
    return cursor._own_hold is None  # noqa: SLF001 - of this module


def call_on(
        cursor: ReplaceableCursor, call: Call, other: Any = None) -> Any:
    """Make a call on the driver cursor, or on another one."""
    return cursor._own_call(call, other)  # noqa: SLF001 - of this module


def keep_up(cursor: ReplaceableCursor, con: Any) -> None:
    """Open another driver cursor if the present one is not of a connection."""
    if cursor._own_con() is not con:  # noqa: SLF001 - of this module
        cursor._own_open()  # noqa: SLF001 - of this module


def settle(cursor: ReplaceableCursor, session: Any) -> None:
    """Go on with another session."""
    if cursor._own_session is not session:  # noqa: SLF001 - of this module
        cursor._own_session = session  # noqa: SLF001 - of this module
        cursor._own_open()  # noqa: SLF001 - of this module


def open_again(cursor: ReplaceableCursor) -> None:
    """Open another driver cursor, of the present driver connection."""
    cursor._own_open()  # noqa: SLF001 - of this module


def move_to(
        cursor: ReplaceableCursor, driver_cursor: Any,
        hold: Any = None) -> None:
    """Go on with another driver cursor.

    hold: the result of close_driver_cursor(), if that was called
    """
    cursor._own_move_to(driver_cursor, hold)  # noqa: SLF001 - of this module


def close_driver_cursor(cursor: ReplaceableCursor) -> Any:
    """Close the driver cursor, so that move_to() can go on with another."""
    hold = cursor._own_hold  # noqa: SLF001 - of this module
    ReplaceableCursor.close(cursor)
    return hold


def extra(name: str) -> Any:
    """Return a property that shows one of the facts that few cursors have."""
    def write(cursor: ReplaceableCursor, value: Any) -> None:
        change(cursor, **{name: value})

    return property(attrgetter(f"_own_extras.{name}"), write)


# Attributes of the driver cursor.

# The classes of cursors by those of their driver cursors, whose attributes are
# shown, up to a limit.
kinds: dict[type, Any] = {}
_LIMIT = 1000


def show_attributes(cursor: Any, kind: Any, made: Any) -> None:
    """Give a class the attributes that a driver cursor has.

    made: the class of which cursors are made for such driver cursors

    A method __setattr__() would make everything else slower.
    """
    driver_kind = type(cursor)
    if driver_kind in kinds:
        return
    if len(kinds) >= _LIMIT:  # they are made all the time
        kinds.clear()
    for name in _names_in(cursor):
        if not (name.startswith("_") or name in VALUES or hasattr(kind, name)
                or callable(_read(driver_kind, name))):
            setattr(kind, name, _shown(name))
    kinds[driver_kind] = made


_usual_dir: Any = object.__dir__


def _names_in(cursor: Any) -> set[str]:
    """Return the names of a driver cursor, perhaps with others.

    Asking an object of a class in Python for its names would make using all
    other objects of that class slower: the names of its own are read from the
    code that sets them.
    """
    kind = type(cursor)
    if kind.__dir__ is not _usual_dir:  # as that of a wrapper
        return {*dir(cursor)}
    names = {*dir(kind)}
    written: set[str] = set()
    for base in kind.__mro__:
        code = getattr(vars(base).get("__init__"), "__code__", None)
        written.update(getattr(code, "co_names", ()))
    return names.union(
        name for name in written - names
        if _read(cursor, name) is not NOTHING)


def _read(thing: Any, name: str) -> Any:
    """Return an attribute, NOTHING if there is none that can be read."""
    try:
        return getattr(thing, name, NOTHING)
    except Exception:  # noqa: BLE001 - code of a driver can raise anything
        return NOTHING


class DriverAttribute(property):
    """An attribute that the driver cursor gets if it accepts it.

    A driver cursor that replaces this one gets it, too.
    """


def _shown(name: str) -> DriverAttribute:
    """Return the attribute of a name."""
    def read(cursor: Any) -> Any:
        kept = extras_of(cursor).kept
        return kept[name] if name in kept else cursor.__getattr__(name)

    def write(cursor: Any, value: Any) -> None:
        extras = extras_of(cursor)
        if name in extras.kept or not hasattr(cursor, "_own_cursor") or not (
                cursor._own_write(cursor._driver_cursor(), name, value)):  # noqa: SLF001 - of this module
            keep(cursor, {**extras.kept, name: value})

    def delete(cursor: Any) -> None:
        extras = extras_of(cursor)
        if name in extras.attributes:
            cursor._own_erase(name)  # noqa: SLF001 - of this module
        elif name in extras.kept:
            keep(cursor, {
                key: value for key, value in extras.kept.items()
                if key != name})
        else:
            raise AttributeError(name)

    def keep(cursor: Any, kept: dict[str, Any]) -> None:
        cursor._own_extras = extras_of(cursor)._replace(kept=kept)  # noqa: SLF001 - of this module

    return DriverAttribute(read, write, delete)


def cursor_text(cursor: Any) -> str:
    """Return the state of a cursor in words, for its repr."""
    if cursor._own_cursor is None or cursor._own_hold is None:  # noqa: SLF001 - of this module
        return ", closed"
    if not cursor._own_checkout:  # noqa: SLF001 - of this module
        return " of a connection given back"
    return f" of {cursor._own_steady!r}"  # noqa: SLF001 - of this module


def through(
        items: Iterable[Any], cursor: ReplaceableCursor,
        check: Callable[[], Any]) -> Iterator[Any]:
    """Yield the items of a driver cursor while that can be used.

    check: the method of the program's cursor that raises an error if not
    """
    check()
    for item in items:
        yield item
        if not cursor._own_checkout:  # noqa: SLF001 - of this module
            check()


class during:  # noqa: N801 - used like a function: with during(...)
    """A context of the driver that keeps the program's cursor alive."""

    def __init__(self, context: Any, cursor: Any) -> None:
        self._context = context
        self._cursor = cursor

    def __enter__(self) -> Any:
        """Enter the context."""
        return self._context.__enter__()

    def __exit__(self, *exc: Any) -> Any:
        """Leave the context."""
        return self._context.__exit__(*exc)
