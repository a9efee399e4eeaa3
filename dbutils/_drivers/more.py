"""What is known about less usual drivers, and about those we do not know.

This is loaded when a connection comes that is none of the most usual ones.  A
driver that nobody knows is asked by the names that drivers use for what they
tell, and wrappers are looked through.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from contextlib import suppress
from typing import Any, Iterator

from .._base.errors import logger, quietly
from .creators import driver_module, is_clear
from .driver import Profile, ask, known_profile, profiles, register_profile

__all__ = [
    "Driver", "Wrapped", "load_entry_points", "profile_of_other", "register"]

# Codes that say the same in all the databases that use them.
_LOST = frozenset((
    # SQLSTATE, for which a beginning with 08 is enough
    "57P01", "57P02", "57P05", "25P03",
    # MySQL, SQL Server, Oracle
    1927, 2006, 2013, 2055, 4031, 20004, 20006, 20047, 3113, 3114, 3135,
    # and the sockets of Windows
    10053, 10054))
_TRANSIENT = frozenset(("40001", "40P01", "55P03", 1205, 1213, 8177))
_READ_ONLY = frozenset(("25006", 1290, 1792, 1836, 3906, 16000))

_SQLSTATE = re.compile(r"[0-9A-Z]{5}\Z")
# Classes of SQLSTATEs that do not say what has happened.
_VAGUE = ("00", "HY", "HZ", "IM", "S1", "XX")
_NAMES = ("sqlstate", "pgcode", "errno", "number", "code")
_DEEP = 4


class Driver(Profile):
    """What is known about a driver, to be derived for another one.

    It answers questions about the driver's connections without asking the
    server; None means unknown.  The answers are found by the names below, or
    given by methods that a class overrides.  A driver of which nothing is
    known is safe, too: then the library keeps account of open work.
    """

    __module__ = "dbutils.drivers"

    is_telling = asks = True

    # Paths of attributes, or of methods without arguments, that tell: whether
    # a transaction is open, whether each statement is committed at once,
    # whether the connection is closed ("!" before a name that tells the
    # opposite), and the number of its socket.
    transaction_name: str | None = None
    autocommit_name: str | None = None
    closed_name: str | None = None
    socket_name: str | None = None
    # What transaction_name tells when no transaction is open.
    idle: tuple[Any, ...] = (False, 0)

    lost_codes = _LOST
    transient_codes = _TRANSIENT
    read_only_codes = _READ_ONLY

    @property
    def needs_account(self) -> bool:  # type: ignore[override]
        """Whether the library keeps account of open work."""
        return self.transaction_name is None and (
            type(self).in_transaction is Driver.in_transaction)

    @property
    def tells_work(self) -> bool:
        """Whether the driver tells that a transaction is open."""
        return not self.needs_account

    @property
    def tells_closed(self) -> bool:
        """Whether the driver tells that a connection is closed."""
        return self.closed_name is not None or (
            type(self).is_closed is not Driver.is_closed)

    def in_transaction(self, con: Any) -> bool | None:
        """Tell whether a transaction is open."""
        if not self.has_transactions:
            return False
        if self.transaction_name is None:
            return False if self.autocommit(con) else None
        answer = ask(con, self.transaction_name)
        return None if answer is None else answer not in self.idle

    def autocommit(self, con: Any) -> bool | None:
        """Tell whether each statement is committed at once."""
        if self.autocommit_name is None:
            return None
        answer = ask(con, self.autocommit_name)
        return bool(answer) if isinstance(answer, int) else None

    def is_closed(self, con: Any) -> bool | None:
        """Tell whether the driver takes the connection as closed."""
        if self.closed_name is None:
            return None
        answer = ask(con, self.closed_name.lstrip("!"))
        if not isinstance(answer, int):
            return None
        return bool(answer) is not self.closed_name.startswith("!")

    def descriptor(self, con: Any) -> int | None:
        """Return the descriptor of the socket."""
        if self.socket_name is None:
            return None
        number = ask(con, self.socket_name)
        return number if _is_socket(number) else None

    def code(self, error: BaseException) -> Any:
        """Return the SQLSTATE or the number of an error."""
        return next(_codes_of(error), None)

    def is_loss(self, error: BaseException) -> bool | None:
        """Tell whether an error says that the connection is lost."""
        if isinstance(error, ConnectionError):
            return True
        code = self.code(error)
        if not isinstance(code, str):
            return self._is_loss_by_number(error, code)
        if code in self.lost_codes or code.startswith("08"):
            return True
        return None if code.startswith(_VAGUE) else False


    def _is_loss_by_number(self, error: BaseException, code: Any) -> Any:
        """Tell the same by a number, which can be one of any database."""
        if code in self.lost_codes:
            return None if code in _LOST and is_clear(error) else True
        if code in self.transient_codes or code in self.read_only_codes:
            return False
        return None


def _codes_of(error: BaseException) -> Iterator[Any]:
    """Yield what may be the SQLSTATE or the number of an error."""
    for _ in range(_DEEP):
        given = [getattr(error, name, None) for name in _NAMES]
        given += _parts_of(error.args)
        for code in given:
            if _is_code(code):
                yield code
        inner = getattr(error, "orig", None) or error.__cause__
        if not isinstance(inner, BaseException):
            return
        error = inner


def _parts_of(args: tuple[Any, ...]) -> list[Any]:
    """Return what may be a code in the first argument of an error."""
    first = args[0] if args else None
    if isinstance(first, dict):
        return [first.get("C")]
    if isinstance(first, tuple):
        return list(first[:1])
    return [first, getattr(first, "code", None)]


def _is_code(code: Any) -> bool:
    if isinstance(code, str):
        return bool(_SQLSTATE.match(code))
    return isinstance(code, int) and not isinstance(code, bool) and code > 0


def _is_socket(number: Any) -> bool:
    if type(number) is not int or number < 0:
        return False
    try:
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    except (OSError, ValueError, OverflowError):
        return False


class _Known(Driver):
    """A driver whose errors, socket or flag say what has happened."""

    is_known = True


class _Postgres(_Known):
    """A relative of the drivers for PostgreSQL."""

    question = "select 1"
    settings = ("autocommit",)


class _Redshift(_Postgres):
    transaction_name = "in_transaction"
    autocommit_name = "autocommit"
    socket_name = "_usock.fileno"

    def is_closed(self, con: Any) -> bool | None:
        number = ask(con, "_usock.fileno")
        return None if number is None else number < 0

    def is_loss(self, error: BaseException) -> bool | None:
        lost = super().is_loss(error)
        return lost if lost is not None else (
            str(error) in {"network error", "connection is closed"} or None)

    def close(self, con: Any) -> None:
        profiles()["pg8000"].close(con)


class _LibPq(_Postgres):
    """A relative of psycopg2."""

    transaction_name = "get_transaction_status"
    autocommit_name = "autocommit"
    closed_name = "closed"
    socket_name = "fileno"

    def clean(self, con: Any, start: Any = None) -> bool:
        return profiles()["psycopg2"].clean(con, start)


class _LibPq3(_LibPq):
    """A relative of psycopg."""

    transaction_name = "info.transaction_status"


class _Vertica(_Known):
    transaction_name = "transaction_status"
    idle = ("no_transaction", 0)
    closed_name = "closed"
    socket_name = "socket.fileno"  # _socket() would connect again

    def is_loss(self, error: BaseException) -> bool | None:
        if type(error).__name__ in {
                "ConnectionError", "ConnectionFailure",
                "LostConnectivityFailure"}:
            return True
        return super().is_loss(error)


class _Trino(Driver):
    def in_transaction(self, con: Any) -> bool | None:
        return getattr(con, "transaction", con) is not None


class _Snowflake(Driver):
    closed_name = "is_closed"
    lost_codes = _LOST | {
        250001, 250002, 250003, 390111, 390112, 390114, 390195}


class _Databricks(Driver):
    closed_name = "!open"  # reading "autocommit" would ask the server


class _Spanner(Driver):
    closed_name = "is_closed"
    autocommit_name = "autocommit"


class _Adbc(Driver):
    closed_name = "_closed"
    autocommit_name = "_autocommit"


class _MsSqlPython(Driver):
    closed_name = "closed"
    autocommit_name = "autocommit"
    settings = ("autocommit", "timeout")
    # The texts that this driver has for the SQLSTATEs that mean a loss.
    _texts = frozenset((
        "Communication link failure", "Connection not open",
        "Connection failure during transaction"))

    def is_loss(self, error: BaseException) -> bool | None:
        if getattr(error, "driver_error", None) in self._texts:
            return True
        return super().is_loss(error)

    def warning(self) -> str | None:
        pooling = sys.modules.get("mssql_python.pooling")
        if not ask(pooling, "PoolingManager.is_enabled"):
            return None
        return (
            "mssql_python pools connections by itself, below this pool. Call"
            " mssql_python.pooling(enabled=False) before it connects.")


class _DmPython(Driver):
    autocommit_name = "autoCommit"


class _PyTds(Driver):
    autocommit_name = "autocommit"

    def is_closed(self, con: Any) -> bool | None:
        return getattr(con, "_tds_socket", con) is None


class _Hdbcli(Driver):
    question = "select 1 from dummy"
    closed_name = "!isconnected"
    autocommit_name = "getautocommit"


class _JayDeBeApi(Driver):
    closed_name = "jconn.isClosed"
    autocommit_name = "jconn.getAutoCommit"


class _Teradata(Driver):
    autocommit_name = "autocommit"


_WORDS = re.compile(
    "connection (?:was )?(?:lost|closed|reset|aborted|refused|broken)"
    "|broken pipe|gone away|closed the connection|remote end closed"
    "|connection error|max retries", re.IGNORECASE)


class _NoTransactions(Driver):
    """A driver for a database without transactions.

    The library neither commits nor rolls back, and keeps no account.
    """

    has_transactions = False
    is_known = True

    def is_loss(self, error: BaseException) -> bool | None:
        lost = super().is_loss(error)
        return bool(_WORDS.search(str(error))) if lost is None else lost

    def is_transient(self, error: BaseException) -> bool:  # noqa: ARG002
        return False  # what was done before it would be done again


class _BigQuery(_NoTransactions):
    closed_name = "_closed"


class _ClickHouse(_NoTransactions):
    closed_name = "is_closed"


def _relatives() -> dict[str, Profile]:
    """Return the profiles of less usual drivers, by names of modules."""
    sqlite = profiles()["sqlite3"]
    plain = _NoTransactions()
    return {
        "adbc_driver_manager": _Adbc(), "clickhouse_connect": plain,
        "clickhouse_driver": _ClickHouse(), "databricks": _Databricks(),
        "dmPython": _DmPython(), "gaussdb": _LibPq3(),
        "google.cloud.bigquery": _BigQuery(),
        "google.cloud.spanner_dbapi": _Spanner(), "hdbcli": _Hdbcli(),
        "jaydebeapi": _JayDeBeApi(), "ksycopg2": _LibPq(),
        "mssql_python": _MsSqlPython(), "pinotdb": plain,
        "psycopg2cffi": _LibPq(), "pyathena": plain, "pysqlite3": sqlite,
        "pytds": _PyTds(), "redshift_connector": _Redshift(),
        "snowflake": _Snowflake(), "sqlcipher3": sqlite,
        "teradatasql": _Teradata(), "trino": _Trino(), "turso": sqlite,
        "vertica_python": _Vertica()}


# Drivers that nobody knows.

class _Found(Driver):
    """A driver that is asked by the names that its connection has."""

    # What drivers call it, where reading it does not ask the server.
    _autocommit_names = (
        "autocommit", "autoCommit", "get_autocommit", "getautocommit")
    _closed_names = (
        "closed", "is_closed", "_closed", "!open", "!is_connected",
        "!connected")
    _socket_names = (
        "fileno", "_usock.fileno", "_sock.fileno", "_socket.fileno",
        "socket.fileno", "sock.fileno")

    # Reads are not worth a look at a flag before each of them.
    tells_closed = False

    def __init__(self, con: Any) -> None:
        self.autocommit_name = _first(con, self._autocommit_names)
        self.closed_name = next(
            (name for name in self._closed_names if _says_open(con, name)),
            None)
        self.socket_name = next(
            (name for name in self._socket_names
             if _is_socket(ask(con, name))), None)


class _FoundTelling(_Found):
    """A driver that tells in the way of sqlite3 whether work is open."""

    def in_transaction(self, con: Any) -> bool | None:
        try:  # as ask() does, but faster, since this is done so often
            return con.in_transaction
        except Exception:  # noqa: BLE001 - whatever it is, it is no answer
            return None


# Methods of these names ask the server or change something in some drivers.
_TO_READ = frozenset((
    "autocommit", "autoCommit", "open", "is_connected", "connected"))


def _value_of(con: Any, name: str) -> Any:
    """Return what an attribute of a connection tells."""
    if name in _TO_READ and callable(getattr(con, name, None)):
        return None
    return ask(con, name)


def _first(con: Any, names: tuple[str, ...]) -> str | None:
    """Return the first of these names that tells whether or not."""
    return next(
        (name for name in names
         if _value_of(con, name) in (True, False)), None)


def _says_open(con: Any, name: str) -> bool:
    """Tell whether a new connection is said to be open by an attribute."""
    answer = None
    with suppress(Exception):
        answer = _value_of(con, name.lstrip("!"))
    return isinstance(answer, int) and bool(answer) is name.startswith("!")


def _found_in(con: Any) -> Driver:
    """Return what can be found out about a connection."""
    relative: Driver
    for relative in (_LibPq(), _LibPq3()):
        status = ask(con, relative.transaction_name or "")
        if isinstance(status, int) and not isinstance(status, bool) and (
                relative.descriptor(con) is not None):
            return relative
    tells = isinstance(getattr(con, "in_transaction", None), bool)
    return _FoundTelling(con) if tells else _Found(con)


# Wrappers.

_INSIDE = (
    "_con", "target_connection", "dbapi_connection", "driver_connection",
    "__wrapped__")


def _path_inside(con: Any) -> list[str]:
    """Return the names by which wrappers show what is in them."""
    path: list[str] = []
    while len(path) < _DEEP and known_profile(con) is None:
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


class Wrapped(Driver):
    """A driver whose connections are wrapped."""

    moves = True

    # Errors of wrappers that go over to another server by themselves.  The
    # connection can be used then, but what was done before is lost; it is
    # replaced by one whose session is prepared.
    _losses = frozenset((
        "FailoverSuccessError", "FailoverFailedError",
        "TransactionResolutionUnknownError"))

    def __init__(self, path: list[str], inner: Profile) -> None:
        self._path = path
        self._inner = inner
        self.is_known = inner.is_known
        self.is_embedded = inner.is_embedded
        self.has_transactions = inner.has_transactions
        self.question = inner.question

    @property
    def needs_account(self) -> bool:  # type: ignore[override]
        return self._inner.needs_account

    @property
    def tells_closed(self) -> bool:
        return self._inner.tells_closed

    def inside(self, con: Any) -> Any:
        for name in self._path:
            try:
                con = getattr(con, name)
            except Exception:  # noqa: BLE001 - then there is nothing
                return None
        return con

    def in_transaction(self, con: Any) -> bool | None:
        inner = self.inside(con)
        return None if inner is None else self._inner.in_transaction(inner)

    def has_written(self, con: Any) -> bool | None:
        inner = self.inside(con)
        return None if inner is None else self._inner.has_written(inner)

    def autocommit(self, con: Any) -> bool | None:
        inner = self.inside(con)
        return None if inner is None else self._inner.autocommit(inner)

    def is_closed(self, con: Any) -> bool | None:
        inner = self.inside(con)
        return None if inner is None else self._inner.is_closed(inner)

    def descriptor(self, con: Any) -> int | None:
        inner = self.inside(con)
        return None if inner is None else self._inner.descriptor(inner)

    def is_private(self, con: Any) -> bool:
        inner = self.inside(con)
        return inner is not None and self._inner.is_private(inner)

    @property
    def can_clean(self) -> bool:
        return self._inner.can_clean

    def clean(
            self, con: Any,
            start: Any = None) -> bool:  # noqa: ARG002 - of the wrapper
        inner = self.inside(con)
        return inner is not None and self._inner.clean(inner)

    def code(self, error: BaseException) -> Any:
        code = self._inner.code(error)
        return super().code(error) if code is None else code

    def is_loss(self, error: BaseException) -> bool | None:
        if type(error).__name__ in self._losses:
            return True
        lost = self._inner.is_loss(error)
        return super().is_loss(error) if lost is None else lost


# Registering and finding them.

def register(module: str, driver: type[Driver] | Driver) -> None:
    """Use a driver of the program's own from now on.

    module: the name of the module, or of a package around it, in which the
        class of the driver's connections is defined
    driver: a class derived from Driver, or an object of such a class

    This holds for connections that are opened from now on, also if the
    library knows a driver of this name already.
    """
    if module == "builtins":  # the module of the base of all classes
        raise ValueError("The classes of all drivers have a base there.")
    profile = driver() if isinstance(driver, type) else driver
    if not isinstance(profile, Profile):
        raise TypeError(
            f"{driver!r} is not derived from dbutils.drivers.Driver.")
    register_profile(module, profile)


def _entry_points() -> list[Any]:
    try:
        from importlib import metadata  # noqa: PLC0415 - not in Python 3.7
    except ImportError:
        return []
    found: Any = metadata.entry_points()
    if hasattr(found, "select"):
        return list(found.select(group="dbutils.drivers"))
    return list(found.get("dbutils.drivers", ()))


def load_entry_points() -> None:
    """Register the drivers that other packages have for us.

    What a program has registered itself comes first.
    """
    if _is_loaded:
        return
    _is_loaded.append(True)
    with quietly("looking for drivers in other packages"):
        for point in _entry_points():
            if point.name not in profiles():
                _load(point)


_is_loaded: list[bool] = []


def _load(point: Any) -> None:
    try:
        register(point.name, point.load())
    except Exception as error:  # noqa: BLE001 - other drivers are not affected
        logger.warning(
            "The driver %s of another package cannot be loaded: %s",
            point.name, type(error).__name__)


def profile_of_other(con: Any, dbapi: Any) -> Profile | None:
    """Return the profile for a less usual connection, None for no driver."""
    load_entry_points()
    profile = known_profile(con)
    if profile is not None:
        return profile
    path = _path_inside(con)
    inner = Wrapped(path, Profile()).inside(con)
    profile = known_profile(inner)
    if profile is None:
        if driver_module(dbapi, inner, None) is None:
            return None
        profile = _found_in(inner)
    return Wrapped(path, profile) if path else profile


for _name, _profile in _relatives().items():
    if _name not in profiles():  # or a program knows it better
        register_profile(_name, _profile)
