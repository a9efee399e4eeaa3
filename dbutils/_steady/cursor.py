"""The state of a steady cursor: a driver cursor that can be replaced."""

from __future__ import annotations

from contextlib import contextmanager

from .._base.errors import log_swallowed
from .._base.hints import Any, Callable, Iterable, Iterator, NamedTuple
from .statements import MARK, UNKNOWN_WORK, Kind, kind_of

__all__ = [
    "FOREVER", "NOTHING", "Call", "CursorState", "during", "execution",
    "state_for", "through"]


# The checkout of a connection that belongs to no pool.
FOREVER = (True,)


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


_NO_SIZES: dict[Any, Any] = {}

# The option and attribute of cursors that live longer than a transaction.
_HELD = "withhold"


class _Nothing:
    """Stands for an argument that was not given."""


NOTHING: Any = _Nothing()


def execution(operation: Any, parameters: Any) -> Call:
    """Return the call of execute() with what was given to it."""
    args = (operation, parameters)
    return Call("execute", args[:1] if parameters is NOTHING else args, {})


class CursorState:
    """A driver cursor, and what is needed to open another one like it.

    state_for() makes it, since making an object of a class without __init__()
    takes half the time.
    """

    __slots__ = (
        "args",
        "attributes",
        "checkout",
        "closed",
        "con",
        "cursor",
        "has_sizes",
        "inputsizes",
        "kwargs",
        "lease",
        "moved",
        "no_failover",
        "outputsizes",
        "owner",
        "runner",
        "session",
    )

    session: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    # It executes statements: the policy, or a connection that is shared.
    runner: Any
    # The driver cursor, and the driver connection that it belongs to.
    cursor: Any
    con: Any
    closed: bool
    # The steady connection.
    owner: Any
    # The lease, if there is one, and its checkout, which is false when the
    # lease has ended.
    lease: Any
    checkout: Any
    # Whether it has moved to another cursor than at the beginning.
    moved: bool
    no_failover: int
    # The sizes for the next statement, which are replaced, not changed.
    has_sizes: bool
    inputsizes: Any
    outputsizes: dict[Any, Any]
    # The attributes that the program has written; also replaced.
    attributes: dict[str, Any]

    def open(self) -> None:
        """Open a cursor of the present driver connection."""
        session = self.session
        self.move_to(session.failover.cursor(
            session, self.args, self.kwargs))

    def move_to(self, cursor: Any) -> None:
        """Go on with another driver cursor."""
        if self.attributes:
            self._furnish(cursor)
        self.close()
        self.cursor = cursor
        self.con = self.session.con
        self.closed = False
        if self.kwargs:
            self.note_options()

    def note_options(self) -> None:
        """Note the options of cursors that outlive a lease on the server.

        Such a cursor is closed at the end of the lease.  A held one also marks
        the session, since it cannot be closed in a transaction that failed.
        """
        is_held = bool(self.kwargs.get(_HELD))
        self.session.is_marked = self.session.is_marked or is_held
        if is_held or self.kwargs.get("prepared"):
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
        self.attributes = {**self.attributes, name: value}
        if name == _HELD and value:
            self.session.is_marked = True
        return True

    def erase(self, name: str) -> None:
        """Delete an attribute that was written."""
        delattr(self.cursor, name)
        self.attributes = {
            key: value for key, value in self.attributes.items()
            if key != name}

    def _furnish(self, cursor: Any) -> None:
        """Write what was written before to another driver cursor."""
        for name, value in self.attributes.items():
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
        try:  # instead of "with quietly", since this is done so often
            self.cursor.close()
        except Exception as error:  # noqa: BLE001 - nothing is changed
            log_swallowed("closing a cursor", error)
        except BaseException as error:  # an answer may be unread
            if self.con is self.session.con:
                self.session.distrust(error)
            raise
        self.closed = True

    def run(self, call: Call) -> Any:
        """Make a call as the policy says."""
        return self.runner.run(self, call)

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
        if self.attributes and cursor is not self.cursor:
            self._furnish(cursor)
        if not (self.has_sizes and call.takes_sizes):
            return call(cursor)
        self._set_sizes(cursor)
        result = call(cursor)
        self.clear_sizes()
        return result

    def clear_sizes(self) -> None:
        """Forget the sizes."""
        self.has_sizes = False
        self.inputsizes = self.outputsizes = _NO_SIZES

    def _set_sizes(self, cursor: Any) -> None:
        """Set the sizes of a driver cursor."""
        if self.inputsizes:
            cursor.setinputsizes(self.inputsizes)
        for column, size in self.outputsizes.items():
            if column is None:
                cursor.setoutputsize(size)
            else:
                cursor.setoutputsize(size, column)


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


@contextmanager
def during(
        context: Any, cursor: Any) -> Iterator[Any]:  # noqa: ARG001 - kept alive
    """Enter a context that keeps the program's cursor alive."""
    with context as value:
        yield value


def state_for(
        session: Any, args: tuple[Any, ...], kwargs: dict[str, Any],
        owner: Any, lease: Any = None, checkout: Any = FOREVER) -> CursorState:
    """Open a driver cursor; return its state."""
    state = CursorState()
    state.session = session
    state.owner = owner
    state.args = args
    state.kwargs = kwargs
    state.runner = failover = session.failover
    state.cursor = failover.cursor(session, args, kwargs)
    state.con = session.con
    state.closed = state.moved = state.has_sizes = False
    state.lease = lease
    state.checkout = checkout
    state.no_failover = 0
    state.inputsizes = state.outputsizes = state.attributes = _NO_SIZES
    if kwargs:
        state.note_options()
    return state
