"""The methods of a driver connection, as the program calls them.

The program calls them on a steady connection or on its lease.  They work until
the lease ends, and so do the methods of returned objects that reach the
connection.
"""

from __future__ import annotations

from .._base.hints import Any, Callable

__all__ = [
    "EXECUTING", "Method", "Tied", "execute_on", "is_method_of", "lend",
    "names_of", "plain", "tied"]

# Methods of a connection that open a cursor for a statement.
EXECUTING = frozenset(("execute", "executemany", "executescript"))


class Method:
    """A method that is called by its name.

    act: is called with the name and the arguments
    """

    __slots__ = ("_act", "_name", "_of")

    def __init__(
            self, name: str, act: Callable[..., Any], of: Any = None) -> None:
        self._name = name
        self._act = act
        self._of = of

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method."""
        return self._act(self._name, args, kwargs)

    @property
    def __name__(self) -> str:
        """The name of the method."""
        return self._name

    @property
    def __doc__(self) -> Any:  # type: ignore[override]
        """The docstring of the driver's method."""
        return getattr(self._of, "__doc__", None)

    def __repr__(self) -> str:
        return f"<method {self._name}()>"


def is_method_of(thing: Any, value: Any) -> bool:
    """Return whether a value is a method of a thing."""
    return isinstance(value, Method) or (
        getattr(value, "__self__", None) is thing)


def names_of(con: Any) -> list[str]:
    """Return the public attributes of a connection."""
    return [name for name in dir(con) if not name.startswith("_")]


def execute_on(
        owner: Any, options: frozenset[str], name: str,
        args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Execute a statement with a new hardened cursor.

    options: the parameters that belong to the driver's cursor()
    """
    cursor = owner.cursor(
        **{option: kwargs.pop(option) for option in options & kwargs.keys()})
    result = getattr(cursor, name)(*args, **kwargs)
    return cursor if result is None else result


def plain(value: Any) -> Any:
    """Return the driver's object for an object of ours, else the value."""
    if type(value) is Tied:  # isinstance() sees the class of the driver
        return value._thing  # noqa: SLF001 - of this module
    if getattr(type(value), "_stands_for_driver", False) is True:
        return value.dbapi_connection
    return value


def tied(result: Any, session: Any, owner: Any) -> Any:
    """Return a result of the driver connection as the program gets it.

    owner: the steady connection or lease, returned for the driver connection

    An object that reaches the connection is wrapped in a Tied object.
    """
    if result is session.con:
        return owner
    if any(hasattr(type(result), name)
           for name in ("__enter__", "__next__", "close")):
        return Tied(result, session, owner)
    return result


def lend(thing: Any, owner: Any, refusal: Callable[[str], Any]) -> Any:
    """Tie a returned object to a lease, if it reaches the connection.

    refusal: returns the error if the lease has ended, otherwise None
    """
    if type(thing) is Tied:  # isinstance() sees the class of the driver
        set_own(thing, "_owner", owner)
        set_own(thing, "_refusal", refusal)
    return thing


def _never(name: str) -> None:
    """Return no error: the object can be used at any time."""


set_own = object.__setattr__


class Tied:
    """An object of the driver that can be used until the lease ends.

    The end of the lease closes it.  If it cannot be closed, and is a context
    that was not left, the connection is closed instead.
    """

    __slots__ = (
        "__weakref__",
        "_before",
        "_can_close",
        "_own_session",
        "_owner",
        "_refusal",
        "_thing",
    )

    def __init__(self, thing: Any, session: Any, owner: Any) -> None:
        set_own(self, "_thing", thing)
        set_own(self, "_own_session", session)
        set_own(self, "_owner", owner)
        set_own(self, "_refusal", _never)
        set_own(self, "_before", None)
        set_own(self, "_can_close", hasattr(type(thing), "close"))
        if self._can_close:
            session.add_stream(self)

    def _use(self, name: str) -> Any:
        error = self._refusal(name)
        if error is not None:
            raise error
        self._own_session.work = None  # unknown until the driver is asked
        return self._thing

    def _ours(self, result: Any) -> Any:
        if result is self._thing:
            return self
        result = tied(result, self._own_session, self._owner)
        return lend(result, self._owner, self._refusal)

    def _act(
            self, name: str, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> Any:
        method = getattr(self._use(name), name)
        try:
            return self._ours(method(*map(plain, args), **kwargs))
        finally:
            self._own_session.work = None

    # Attributes are those of the driver's object.

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # pyright: ignore - nobody sets it
        """The class of the object, for isinstance()."""
        return type(self._thing)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._use(name), name)
        if is_method_of(self._thing, value):
            return Method(name, self._act, value)
        return self._ours(value)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._use(name), name, value)

    def __dir__(self) -> list[str]:
        return dir(self._thing)

    def __repr__(self) -> str:
        return repr(self._thing)

    # Special methods are only found if the class has them.

    def __enter__(self) -> Any:
        thing, session = self._use("__enter__"), self._own_session
        value = thing.__enter__()
        if not self._can_close:
            set_own(self, "_before", (
                session.con, session.settings.is_spoiled))
            session.note_changes()
            session.own_settings().is_spoiled = True
        return self._ours(value)

    def __exit__(self, *exc: Any) -> Any:
        if exc[0] is not None and self._refusal("__exit__") is not None:
            return False  # the error being raised says more
        thing, session = self._use("__exit__"), self._own_session
        try:
            result = thing.__exit__(*exc)
        finally:
            session.work = None
        if self._before is not None and self._before[0] is session.con:
            session.own_settings().is_spoiled = self._before[1]
        return result

    def __iter__(self) -> Any:
        return self._ours(iter(self._use("__iter__")))

    def __next__(self) -> Any:
        return self._ours(next(self._use("__next__")))

    def __bool__(self) -> bool:
        return bool(self._thing)

    def __len__(self) -> int:
        return len(self._use("__len__"))

    def __getitem__(self, key: Any) -> Any:
        return self._use("__getitem__")[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._use("__setitem__")[key] = value
