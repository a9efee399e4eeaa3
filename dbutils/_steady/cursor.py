"""The state of a steady cursor: a driver cursor that can be replaced."""

from __future__ import annotations

from .._base.errors import log_swallowed
from .._base.hints import Any, Callable, Iterable, Iterator, NamedTuple
from .statements import MARK, UNKNOWN_WORK, Kind, kind_of

__all__ = [
    "FOREVER", "NOTHING", "PLAIN", "Call", "CursorState", "Extras",
    "cursor_text", "during", "execution", "through"]


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


def execution(operation: Any, parameters: Any) -> Call:
    """Return the call of execute() with what was given to it."""
    args = (operation, parameters)
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
    # The attributes that the program has written.
    attributes: dict[str, Any]
    # It executes the statements, if the failover policy does not.
    runner: Any

    @property
    def options(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional and the keyword arguments."""
        return self.args, self.kwargs


PLAIN = Extras((), {}, False, 0, False, {}, {}, {}, None)


class CursorState:
    """A driver cursor, and what is needed to open another one like it.

    cursor_for() makes it, since making an object of a class without __init__()
    takes half the time.
    """

    __slots__ = (
        "checkout",
        "closed",
        "con",
        "cursor",
        "extras",
        "lease",
        "owner",
        "ready",
        "session",
    )

    session: Any
    # The driver cursor, and the driver connection that it belongs to, which
    # is also "ready" unless there is something to do before a statement.
    cursor: Any
    con: Any
    ready: Any
    closed: bool
    # The steady connection.
    owner: Any
    # The lease, if there is one, and its checkout, which is false when the
    # lease has ended.
    lease: Any
    checkout: Any
    extras: Extras

    def change(self, **extras: Any) -> None:
        """Change some of the facts that few cursors have."""
        self.extras = self.extras._replace(**extras)
        self.make_ready()

    def make_ready(self) -> None:
        """Note whether there is nothing to do before a statement."""
        extras = self.extras
        is_ready = extras.runner is None and not extras.has_sizes
        self.ready = self.con if is_ready else False

    def open(self) -> None:
        """Open a cursor of the present driver connection."""
        session = self.session
        self.move_to(session.failover.cursor(
            session, *self.extras.options))

    def move_to(self, cursor: Any) -> None:
        """Go on with another driver cursor."""
        if self.extras.attributes:
            self._furnish(cursor)
        self.close()
        self.cursor = cursor
        self.con = self.session.con
        self.closed = False
        self.make_ready()
        if self.extras.kwargs:
            self.note_options()

    def note_options(self) -> None:
        """Note the options of cursors that outlive a lease on the server.

        Such a cursor is closed at the end of the lease.  A held one also marks
        the session, since it cannot be closed in a transaction that failed.
        """
        is_held = bool(self.extras.kwargs.get(_HELD))
        self.session.is_marked = self.session.is_marked or is_held
        if is_held or self.extras.kwargs.get("prepared"):
            self.add_stream(self.cursor)

    def write(self, cursor: Any, name: str, value: Any) -> bool:
        """Write an attribute; return whether the driver cursor takes it."""
        try:
            setattr(cursor, name, value)
        except AttributeError:
            return False
        except TypeError:
            if hasattr(cursor, name):
                raise  # the cursor refuses the value
            return False
        self.change(attributes={**self.extras.attributes, name: value})
        if name == _HELD and value:
            self.session.is_marked = True
        return True

    def erase(self, name: str) -> None:
        """Delete an attribute that was written."""
        delattr(self.cursor, name)
        self.change(attributes={
            key: value for key, value in self.extras.attributes.items()
            if key != name})

    def _furnish(self, cursor: Any) -> None:
        """Write what was written before to another driver cursor."""
        for name, value in self.extras.attributes.items():
            setattr(cursor, name, value)

    def close(self) -> None:
        """Close the driver cursor, unless that was already done.

        After its lease it is only forgotten: closing it could reach the
        connection, which the next holder uses.
        """
        if self.closed:
            return
        if not (self.checkout or self.session.driver.is_embedded):
            self.closed = True
            return
        try:
            self.cursor.close()
        except BaseException as error:  # noqa: BLE001 - interrupts are raised
            self.note_failed_close(error)
        self.closed = True

    def note_failed_close(self, error: BaseException) -> None:
        """Swallow an error of the driver cursor's close().

        An interrupt is raised, since an answer may be unread.
        """
        if isinstance(error, Exception):
            log_swallowed("closing a cursor", error)
            return
        if self.con is self.session.con:
            self.session.distrust(error)
        raise error

    def run(self, call: Call) -> Any:
        """Make a call as the policy says."""
        runner = self.extras.runner
        if runner is None:
            return self.session.failover.run(self, call)
        return runner.run(self, call)

    def note(self, call: Call) -> None:
        """Note a call that is made without the policy."""
        kind = call.kind()
        self.session.is_marked = self.session.is_marked or kind.marks

    def add_stream(self, stream: Any) -> None:
        """Note an answer that has to be closed at the end of the lease.

        The driver would wait for its end before it does anything else.
        """
        self.session.add_stream(stream)

    def call(self, call: Call, cursor: Any) -> Any:
        """Make a call on a driver cursor."""
        if self.extras.attributes and cursor is not self.cursor:
            self._furnish(cursor)
        if not (self.extras.has_sizes and call.takes_sizes):
            return call(cursor)
        self._set_sizes(cursor)
        result = call(cursor)
        self.clear_sizes()
        return result

    def clear_sizes(self) -> None:
        """Forget the sizes."""
        self.change(has_sizes=False, inputsizes={}, outputsizes={})

    def _set_sizes(self, cursor: Any) -> None:
        """Set the sizes of a driver cursor."""
        if self.extras.inputsizes:
            cursor.setinputsizes(self.extras.inputsizes)
        for column, size in self.extras.outputsizes.items():
            if column is None:
                cursor.setoutputsize(size)
            else:
                cursor.setoutputsize(size, column)


def cursor_text(state: CursorState | None) -> str:
    """Return the state of a cursor in words, for its repr."""
    if state is None or state.cursor is None or state.closed:
        return ", closed"
    if not state.checkout:
        return " of a connection given back"
    return f" of {state.owner!r}"


def through(
        items: Iterable[Any], state: CursorState,
        check: Callable[[], Any]) -> Iterator[Any]:
    """Yield the items of a driver cursor while that can be used.

    check: the method of the program's cursor that raises an error if not;
        it keeps that cursor alive during the iteration
    """
    check()
    for item in items:
        yield item
        if not state.checkout:
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
