"""Drivers that are not known, and wrappers around connections.

This is loaded when a connection comes that is of none of the families.
Wrappers are looked through.  An unknown driver is asked by the names that
other drivers use for what they tell.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache

from .._base.hints import Any
from .creators import driver_module
from .driver import DriverFacts, ask, in_transaction_of, is_socket
from .postgresql import DRIVERS as _POSTGRESQL
from .registered import load_entry_points
from .registry import find_driver

__all__ = ["Wrapped", "driver_behind"]

# The names under which wrappers show the connection inside, and how many of
# them are looked through.
_INSIDE = (
    "_con", "target_connection", "dbapi_connection", "driver_connection",
    "__wrapped__")
_DEPTH = 4

# Methods of these names ask the server or change something in some drivers.
_TO_READ = frozenset((
    "autocommit", "autoCommit", "open", "is_connected", "connected"))


def driver_behind(con: Any, dbapi: Any) -> DriverFacts | None:
    """Return the driver of a less usual connection, None for no driver."""
    load_entry_points()
    driver = find_driver(con)
    if driver is not None:
        return driver
    path = _path_inside(con)
    inner = _inside(con, path)
    driver = find_driver(inner)
    if driver is None:
        if driver_module(dbapi, inner, None) is None:
            return None
        driver = _found_in(inner)
    return Wrapped(path, driver) if path else driver


# Drivers that nobody knows.

class _Found(DriverFacts):
    """A driver that is asked by the names that its connection has."""

    # Names that drivers use, where reading them does not ask the server.
    _autocommit_names = (
        "autocommit", "autoCommit", "get_autocommit", "getautocommit")
    _closed_names = (
        "closed", "is_closed", "_closed", "!open", "!is_connected",
        "!connected")
    _socket_names = (
        "fileno", "_usock.fileno", "_sock.fileno", "_socket.fileno",
        "socket.fileno", "sock.fileno")

    def __init__(self, *names: str | None) -> None:
        """Set the names that names_in() has found."""
        self.autocommit_name, self.closed_name, self.socket_name = names

    # Reads are not worth a look at a flag before each of them.
    @property
    def tells_closed(self) -> bool:
        return False

    @classmethod
    def names_in(cls, con: Any) -> tuple[str | None, ...]:
        """Return the names that a connection has for what is asked."""
        return (
            next((name for name in cls._autocommit_names
                  if _value_of(con, name) in (True, False)), None),
            next((name for name in cls._closed_names
                  if _says_open(con, name)), None),
            next((name for name in cls._socket_names
                  if is_socket(ask(con, name))), None))


class _FoundTelling(_Found):
    """A driver that tells in the way of sqlite3 whether work is open."""

    in_transaction = in_transaction_of


def _value_of(con: Any, name: str) -> Any:
    """Return the answer of an attribute, if reading it does no harm."""
    if name in _TO_READ and callable(getattr(con, name, None)):
        return None
    return ask(con, name)


def _says_open(con: Any, name: str) -> bool:
    """Return whether an attribute says that a new connection is open."""
    answer = None
    with suppress(Exception):
        answer = _value_of(con, name.lstrip("!"))
    return isinstance(answer, int) and bool(answer) is name.startswith("!")


def _found_in(con: Any) -> DriverFacts:
    """Return what can be found out about a connection."""
    for name in ("psycopg2cffi", "gaussdb"):  # like psycopg2, like psycopg
        relative = _POSTGRESQL[name]
        status = ask(con, relative.transaction_name or "")
        if isinstance(status, int) and not isinstance(status, bool) and (
                relative.descriptor(con) is not None):
            return relative
    tells = isinstance(getattr(con, "in_transaction", None), bool)
    return _found(tells, *_Found.names_in(con))


@lru_cache(maxsize=None)
def _found(tells: bool, *names: str | None) -> _Found:
    """Return the same facts for all connections that have the same names."""
    return _FoundTelling(*names) if tells else _Found(*names)


# Wrappers.

def _path_inside(con: Any) -> list[str]:
    """Return the names by which wrappers show the connection inside."""
    path: list[str] = []
    while len(path) < _DEPTH and find_driver(con) is None:
        name, inner = _next_inside(con)
        if inner is None:
            break
        path.append(name)
        con = inner
    return path


def _next_inside(con: Any) -> tuple[str, Any]:
    for name in _INSIDE:
        try:
            inner = getattr(con, name, None)
        except Exception:  # noqa: BLE001 - that ends the look
            break
        if callable(getattr(inner, "cursor", None)) and inner is not con:
            return name, inner
    return "", None


def _inside(con: Any, path: list[str]) -> Any:
    """Return the connection at a path in a wrapper, None if it is empty."""
    for name in path:
        try:
            con = getattr(con, name)
        except Exception:  # noqa: BLE001 - then there is nothing
            return None
    return con


def _answer_inside(name: str, default: Any = None) -> Any:
    """Return a method that asks the driver inside, if there is one now."""
    def method(driver: Wrapped, con: Any, *_: Any) -> Any:
        inner = driver.inside(con)
        return default if inner is None else getattr(
            driver.driver, name)(inner)
    return method


class Wrapped(DriverFacts):
    """A driver whose connections are wrapped."""

    moves = True

    # Errors of wrappers that go over to another server by themselves.  The
    # connection can be used then, but the work before is lost; it is replaced
    # by one whose session is prepared.
    _losses = frozenset((
        "FailoverSuccessError", "FailoverFailedError",
        "TransactionResolutionUnknownError"))

    def __init__(self, path: list[str], inner: DriverFacts) -> None:
        self._path = path
        self.driver = inner
        self.is_known = inner.is_known
        self.is_embedded = inner.is_embedded
        self.has_transactions = inner.has_transactions
        self.question = inner.question

    @property
    def needs_account(self) -> bool:
        return self.driver.needs_account

    @property
    def tells_closed(self) -> bool:
        return self.driver.tells_closed

    @property
    def can_clean(self) -> bool:
        return self.driver.can_clean

    def inside(self, con: Any) -> Any:
        return _inside(con, self._path)

    in_transaction = _answer_inside("in_transaction")
    has_written = _answer_inside("has_written")
    autocommit = _answer_inside("autocommit")
    is_closed = _answer_inside("is_closed")
    descriptor = _answer_inside("descriptor")
    is_private = _answer_inside("is_private", False)
    clean = _answer_inside("clean", False)

    def code(self, error: BaseException) -> Any:
        code = self.driver.code(error)
        return super().code(error) if code is None else code

    def is_loss(self, error: BaseException) -> bool | None:
        if type(error).__name__ in self._losses:
            return True
        lost = self.driver.is_loss(error)
        return super().is_loss(error) if lost is None else lost
