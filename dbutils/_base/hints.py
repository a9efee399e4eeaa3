"""Names of the standard library, without its modules that take long to load.

They are the names of types for annotations, and types that Python has in C.
The modules typing, collections, functools, operator and weakref together take
longer than everything else that a pool needs, and the NamedTuple of typing
compiles each annotation.  Type checkers see the names of those modules; in
annotations so does Python before 3.9, whose built-in types take no parameters.
"""

from __future__ import annotations

import sys

__all__ = [
    "Any", "AnyRef", "Args", "Behind", "Callable", "Collection", "Con",
    "ContextManager", "Creator", "Deque", "Dict", "Failover", "Generic",
    "Iterable", "Iterator", "Kwargs", "List", "Mapping", "NamedTuple",
    "Nested", "OnDeadlock", "Order", "Planned", "Pooler", "Priority", "Reset",
    "Sequence", "Servers", "Strategy", "Target", "Track", "Tuple", "WeakSet",
    "When", "attrgetter", "cast", "deque", "methodcaller", "partial", "ref"]

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from collections import deque
    from functools import partial
    from operator import attrgetter, methodcaller
    from weakref import WeakSet, ref
else:
    from _collections import deque
    from _functools import partial
    from _operator import attrgetter, methodcaller
    from _weakref import ref
    from _weakrefset import WeakSet

if sys.version_info >= (3, 9) and not TYPE_CHECKING:
    from _collections import _tuplegetter
    from _collections_abc import (
        Callable,
        Collection,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    Any = object
    Deque, Dict, List, Tuple = deque, dict, list, tuple
    Args, Kwargs = tuple, dict

    def cast(kind, value):  # noqa: ARG001 - for type checkers
        """Return a value unchanged."""
        return value

    # How many named tuples of each class were made in Python, and how many are
    # at most.
    _made = {}
    _FEW = 12

    class _Signature:
        """The signature of a named tuple, made when something asks for it."""

        def __get__(self, made, kind):
            """Return the signature of a class."""
            from inspect import Parameter, Signature  # noqa: PLC0415 - large

            return Signature([
                Parameter(
                    field, Parameter.POSITIONAL_OR_KEYWORD,
                    default=kind._field_defaults.get(field, Parameter.empty),
                    annotation=kind.__annotations__.get(
                        field, Parameter.empty))
                for field in kind._fields])

    class _Record(tuple):
        """The methods of all named tuples."""

        __slots__ = ()

        __signature__ = _Signature()

        def __new__(cls, *args, **kwargs):
            """Make a tuple in Python, or the function for many of them."""
            kind = next(
                kind for kind in cls.__mro__ if "_fields" in vars(kind))
            fields = kind._fields
            values = {
                **kind._field_defaults, **dict(zip(fields, args)), **kwargs}
            made = _made[kind] = _made.get(kind, 0) + 1
            if made <= _FEW and values.keys() == {*fields} and not (
                    args[len(fields):] or kwargs.keys() & fields[:len(args)]):
                return tuple.__new__(cls, map(values.get, fields))
            kind.__new__ = _maker_of(kind)
            return kind.__new__(cls, *args, **kwargs)

        @classmethod
        def _make(cls, values):
            """Return a tuple with the given values."""
            return cls(*values)

        def _replace(self, **changes):
            """Return a tuple in which some fields have other values."""
            return type(self)(**{**self._asdict(), **changes})

        def _asdict(self):
            """Return the values by the names of their fields."""
            return dict(zip(self._fields, self))

        def __repr__(self):
            values = map("{}={!r}".format, self._fields, self)
            return f"{type(self).__name__}({', '.join(values)})"

        def __getnewargs__(self):
            """Return the values for copies and pickles."""
            return tuple(self)

    def _maker_of(kind):
        """Return the method __new__() of a named tuple.

        It is the one of collections.namedtuple().  Compiling it takes as long
        as making a dozen tuples without it, so that is done first.
        """
        names = ", ".join(kind._fields)
        make = eval(  # noqa: S307 - the names are those of a class of ours
            f"lambda _cls, {names}: _new(_cls, ({names},))",
            {"_new": tuple.__new__})
        make.__name__ = "__new__"
        make.__defaults__ = tuple(
            kind._field_defaults.values())
        return make

    class _Maker(type):
        """Makes named tuples of classes, like that of typing."""

        def __new__(cls, name, bases, body):  # noqa: ARG004 - not the bases
            """Return a class with a property for each annotation."""
            fields = tuple(body["__annotations__"])
            getters = {
                field: _tuplegetter(number, f"Field number {number}")
                for number, field in enumerate(fields)}
            defaults = {
                field: body[field] for field in fields if field in body}
            return type(name, (_Record,), {
                **body, **getters, "__slots__": (), "__match_args__": fields,
                "_fields": fields, "_field_defaults": defaults})

    _base = type.__new__(_Maker, "NamedTuple", (), {})

    def NamedTuple():  # noqa: N802 - used like the class of typing
        """Stand for the base of a class that becomes a named tuple."""

    NamedTuple.__mro_entries__ = lambda _: (_base,)
else:
    from typing import (
        Any,
        Callable,
        Collection,
        ContextManager,
        Deque,
        Dict,
        Iterable,
        Iterator,
        List,
        Mapping,
        NamedTuple,
        Sequence,
        Tuple,
        cast,
    )

    # The arguments of a call that is passed on.
    Args = Tuple[Any, ...]
    Kwargs = Dict[str, Any]

# The base of weak references with further attributes.
if TYPE_CHECKING:
    AnyRef = ref[Any]
else:
    AnyRef = ref

# The connection of a driver, as a parameter of classes, what opens it, and the
# words that options take.
if TYPE_CHECKING:
    from typing import Generic, Literal, Protocol, Union

    from typing_extensions import TypeVar  # type checkers bring it along

    Con = TypeVar("Con", default=Any)  # a class without parameter is of Any
    Pooler = Literal["transaction-pooler"]
    Behind = Literal["auto", "transaction-pooler"]
    Failover = Literal["safe", "always", "never"]
    Nested = Literal["allow", "warn", "refuse"]
    OnDeadlock = Literal["log", "raise"]
    Target = Literal[
        "primary", "standby", "prefer-standby", "prefer-primary", "any"]
    Order = Literal["in-order", "round-robin", "random", "least", "fastest"]
    Strategy = Literal["fair", "efficient", "priority", "weighted"]
    Priority = Union[int, Literal["low", "normal", "high", "critical"]]
    Track = Union[bool, Literal["auto"]]
    Reset = Union[int, Literal["session"], Callable[[Any], Any], None]
    # The faults that a ScriptedDriver plans, and the events that show them.
    Planned = Union[BaseException, Literal[
        "lost", "refused", "password", "too many", "read-only", "deadlock",
        "conflict", "timeout"]]
    When = Literal[
        "connect", "connected", "execute", "executed", "commit", "committed",
        "rollback", "rolled back"]

    _Con_co = TypeVar("_Con_co", covariant=True)

    class _Connects(Protocol[_Con_co]):
        """A module, or another object that connects."""

        @property
        def connect(self) -> Callable[..., _Con_co]: ...

    # A module of a driver, or a function.  The connections of psycopg2 remain
    # unknown, since its function can return those of another class.
    Creator = Union[_Connects[Con], Callable[..., Con]]

    class _States(Protocol):
        """The Targets of the module hosts."""

        def states(self) -> dict[str, str]: ...

    # Several servers: Targets, or their hosts.
    Servers = Union[_States, Iterable[Any]]
else:
    Con = None
    Behind = Failover = Nested = OnDeadlock = Servers = Strategy = str
    Order = Pooler = Target = When = str
    Planned = Priority = Reset = Track = Any

    class Generic:
        """The base of classes with parameters, which only type checkers need.

        That of typing would make the import of a pool take twice as long.
        """

        __slots__ = ()

        def __class_getitem__(cls, parameters):
            """Return the class itself."""
            return cls

    # They only have to take parameters.
    ContextManager = Creator = Generic
