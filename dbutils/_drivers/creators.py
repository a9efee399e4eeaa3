"""Look-ups behind a connection creator.

A creator is a DB-API 2 module, a class, or any function that returns
DB-API 2 connections.  These functions find the driver's module, its
exceptions and its thread safety.
"""

from __future__ import annotations

from itertools import chain
from types import FunctionType

from .._base.atomic import loaded
from .._base.hints import Any, Args, Callable, Iterator

__all__ = [
    "connect_of", "connect_pg", "creator_threadsafety", "driver_module",
    "failures_of", "has_base", "has_nothing_open", "is_clear", "is_driver",
    "is_unsupported", "module_of_connection", "module_of_creator",
    "split_isfatal"]

# The exceptions that stand for a lost connection unless 'failures' is given.
_FAILURES = ("OperationalError", "InterfaceError", "InternalError")


def connect_of(creator: Any) -> Callable[..., Any]:
    """Return the function of a creator that opens connections.

    The class itself does so if its function is a method of its connections.
    """
    connect: Callable[..., Any] = getattr(creator, "connect", creator)
    if isinstance(creator, type) and isinstance(connect, FunctionType) and (
            not any(isinstance(vars(base).get("connect"), staticmethod)
                    for base in creator.__mro__)):
        return creator  # those of PyMySQL, for one, open themselves when made
    return connect


def module_of_creator(creator: Any) -> Any:
    """Return the DB-API 2 module of a creator, or None if it is not clear.

    A creator can have the module as its ``dbapi``.
    """
    declared = getattr(creator, "dbapi", None)
    if hasattr(creator, "connect"):
        if hasattr(declared, "connect"):
            return declared
        if isinstance(creator, type):
            return _module_named(creator.__module__) or creator
        return creator
    if declared is not None:
        return declared
    module = loaded(getattr(creator, "__module__", None) or "")
    return module if getattr(module, "connect", None) == creator else None


def module_of_connection(con: Any) -> Any:
    """Return the DB-API 2 module that a connection comes from, or None.

    A module that declares that it is a driver is better than one that only
    has a function connect().
    """
    found = None
    for thing in _with_error(con):
        module = _module_named(getattr(thing, "__module__", None))
        if is_driver(module):
            return module
        found = found or module
    return found


def _with_error(con: Any) -> Iterator[Any]:
    """Yield a connection, and then, if that is needed, its OperationalError.

    Reading this attribute leads to a warning with some drivers.
    """
    yield con
    yield getattr(con, "OperationalError", None)


def is_driver(module: Any) -> bool:
    """Return whether a module declares that it is a DB-API 2 driver.

    PEP 249 demands both names, and a mock does not need them.
    """
    return all(
        isinstance(getattr(module, name, None), str)
        for name in ("apilevel", "paramstyle"))


# Exceptions of PEP 249 that are no loss if they do not say so.
_CLEAR = (
    "DataError", "IntegrityError", "NotSupportedError", "ProgrammingError")


def has_base(thing: Any, *names: str) -> bool:
    """Return whether the class of a thing has a base of one of the names."""
    return any(base.__name__ in names for base in type(thing).__mro__)


def is_clear(error: BaseException) -> bool:
    """Return whether an error is of a kind that is usually no loss."""
    return has_base(error, *_CLEAR)


def is_unsupported(error: BaseException) -> bool:
    """Return whether an error says that there is no commit() or rollback().

    PEP 249 allows that where there are no transactions.
    """
    return isinstance(error, AttributeError) or has_base(
        error, "NotSupportedError") or has_nothing_open(error)


def has_nothing_open(error: BaseException) -> bool:
    """Return whether an error says that no transaction was open.

    DuckDB refuses to roll back then, and so does SQLite a statement.
    """
    return any(
        isinstance(text, str) and "no transaction is active" in text
        for text in error.args)


def driver_module(dbapi: Any, con: Any, failures: Any) -> Any:
    """Return the module of the driver behind a connection, or None.

    dbapi: the module that was found for the creator; this can be the
        program's own if that has a function connect()
    failures: exceptions of the driver, if the program has given any
    """
    if is_driver(dbapi):
        return dbapi
    kinds = failures if isinstance(failures, tuple) else (failures,)
    for thing in chain(kinds, _with_error(con)):
        module = _module_named(getattr(thing, "__module__", None))
        if is_driver(module):
            return module
    return None


def _module_named(name: Any) -> Any:
    """Return the innermost package with a connect function, or None."""
    while name:
        module = loaded(name)
        if callable(getattr(module, "connect", None)):
            return module
        name = name.rpartition(".")[0]
    return None


def failures_of(*sources: Any) -> tuple[type[Exception], ...]:
    """Return the failure exceptions of the first source that has them.

    A source with all of them is better than one with only some.
    """
    best: tuple[type[Exception], ...] = ()
    for source in sources:
        failures = tuple(
            getattr(source, name) for name in _FAILURES
            if hasattr(source, name))
        if len(failures) > len(best):
            best = failures
        if len(best) == len(_FAILURES):
            break
    if best:
        return best
    raise AttributeError(
        "Could not determine the failure exceptions of the driver:"
        " please pass them with the keyword 'failures',"
        " or set creator.dbapi to the DB-API 2 module. [DBU-06]")


def creator_threadsafety(creator: Any) -> int:
    """Return the level of thread safety that a creator promises.

    A function without a level counts as level 1.
    """
    sources = [creator, getattr(creator, "dbapi", None)]
    if isinstance(creator, type):
        sources.append(module_of_creator(creator))
    for source in sources:
        if hasattr(source, "threadsafety"):
            return source.threadsafety or 0
    return 0 if callable(getattr(creator, "connect", None)) else 1


def split_isfatal(isfatal: Any, args: Args) -> tuple[Any, tuple[Any, ...]]:
    """Separate 'isfatal' from the positional arguments for the driver.

    DBUtils 3.2 had it as the first of them.  A first argument that is None
    or callable is 'isfatal', since no driver takes such an argument first.
    """
    if isfatal is None and args and (args[0] is None or callable(args[0])):
        return args[0], args[1:]
    if isfatal is not None and not callable(isfatal):
        raise TypeError("'isfatal' must be a callable. [DBU-01]")
    return isfatal, args


def connect_pg(*args: Any, **kwargs: Any) -> Any:
    """Open a connection with the module that is called pg at this time."""
    try:
        from pg import DB  # noqa: PLC0415 - PyGreSQL is not required
    except ImportError as error:
        raise ImportError(
            "The classic PyGreSQL module 'pg' cannot be imported."
            " Please install it with: pip install DBUtils[pg]"
            " [DBU-07]") from error
    return DB(*args, **kwargs)
