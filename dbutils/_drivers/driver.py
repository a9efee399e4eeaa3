"""The classes that describe a driver.

A description answers questions about connections and errors without asking
the server; None means unknown.  `Driver` has the questions that a program can
answer for a driver of its own, `DriverFacts` adds those that only the library
asks.  The drivers that the library knows are in one module for each family.
"""

from __future__ import annotations

import os
import stat

from .._base.checks import whole
from .._base.errors import quietly
from .._base.hints import (
    Any,
    Callable,
    Dict,
    Iterator,
    Kwargs,
    attrgetter,
    partial,
)
from .creators import is_clear

__all__ = [
    "COMPARED", "LOST", "MARKS", "NO_DRIVER", "SPOILS", "TELLING", "Driver",
    "DriverFacts", "ExactDriver", "ask", "in_transaction_of", "is_socket",
    "is_told", "question"]

# Kinds of methods that change a session: they change settings that can be
# compared with those before, something that only a new session undoes, or
# something that only a new connection undoes.
COMPARED = "compared"
MARKS = "marks"
SPOILS = "spoils"

# Codes that have the same meaning in all the databases that use them.
LOST = frozenset((
    # SQLSTATE, for which a beginning with 08 is enough
    "57P01", "57P02", "57P05", "25P03",
    # MySQL, SQL Server, Oracle
    1927, 2006, 2013, 2055, 4031, 20004, 20006, 20047, 3113, 3114, 3135,
    # and the sockets of Windows
    10053, 10054))
_TRANSIENT = frozenset(("40001", "40P01", "55P03", 1205, 1213, 8177))
_READ_ONLY = frozenset(("25006", 1047, 1290, 1792, 1836, 3906, 16000))

# The characters of an SQLSTATE, and their number.
_LENGTH = 5
_SQLSTATE = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")
# Classes of SQLSTATEs that do not say what has happened.
_VAGUE = ("00", "HY", "HZ", "IM", "S1", "XX")
_CODE_NAMES = ("sqlstate", "pgcode", "errno", "number", "code")
_DEPTH = 4

# The settings of a ConnectionConfig in the order in which a driver is told;
# those for encryption and the options for the driver follow.
_SETTINGS = (
    "host", "port", "database", "user", "charset", "autocommit",
    "connection_timeout", "socket_timeout", "application_name")

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeVar

    from .arguments import ConnectArguments
    from .standing import Standing

    _Function = TypeVar("_Function", bound=Callable[..., Any])
_DEFAULTS: set[Any] = set()


def _default(function: _Function) -> _Function:
    """Note a method that answers nothing unless a class overrides it."""
    _DEFAULTS.add(function)
    return function


def is_told(method: Any) -> bool:
    """Return whether the class of a driver overrides a default answer."""
    return getattr(method, "__func__", method) not in _DEFAULTS


class _Getters(Dict[str, Any]):
    """A function for each path, which returns what is there."""

    __slots__ = ()

    def __missing__(self, path: str) -> Any:
        getter = self[path] = attrgetter(path)
        return getter


_getters = _Getters()


def ask(con: Any, path: str) -> Any:
    """Return the answer of an attribute or method at a path, or None."""
    try:
        answer = _getters[path](con)
        return answer() if callable(answer) else answer
    except Exception:  # noqa: BLE001 - whatever it is, it is no answer
        return None


def question(con: Any, path: str) -> Any:
    """Return a callable that reads an attribute at a path, None if it fails.

    A method that is found there is returned itself.
    """
    try:
        answer = _getters[path](con)
    except Exception:  # noqa: BLE001 - whatever it is, it is no answer
        return None
    if callable(answer):
        return answer
    *parts, name = path.split(".")
    return partial(getattr, _getters[".".join(parts)](con) if parts else con,
                   name)


def in_transaction_of(
        self: Any, con: Any) -> Any:  # noqa: ARG001 - a method
    """Return ask(con, "in_transaction"), but faster, for it is asked often.

    Drivers that tell it in this way have this function as their method.
    """
    try:
        return con.in_transaction
    except Exception:  # noqa: BLE001 - whatever it is, it is no answer
        return None


def is_socket(number: Any) -> bool:
    """Return whether a number is the descriptor of a socket."""
    if type(number) is not int or number < 0:
        return False
    try:
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    except (OSError, ValueError, OverflowError):
        return False


class Driver:
    """The description of a driver; a program derives a class for its own.

    It answers questions about the driver's connections without asking the
    server; None means unknown.  The answers are found by the names below, or
    given by methods that a class overrides.  A driver of which nothing is
    known is safe, too: then the library keeps account of open work.
    """

    __module__ = "dbutils.drivers"

    # Paths of attributes, or of methods without arguments, that tell: whether
    # a transaction is open, whether each statement is committed at once,
    # whether the connection is closed ("!" before a name that tells the
    # opposite), and the number of its socket.
    transaction_name: str | None = None
    autocommit_name: str | None = None
    closed_name: str | None = None
    socket_name: str | None = None
    # The values that transaction_name tells when no transaction is open, and
    # when it can only be rolled back.
    idle: tuple[Any, ...] = (False, 0)
    aborted: tuple[Any, ...] = ()

    # Whether there are transactions at all, and whether the database is in
    # the same process.
    has_transactions = True
    is_embedded = False
    # The statement that asks the server whether it is there.
    question = "select 1"
    # The attributes of a connection that belong to its session.
    settings: tuple[str, ...] = ()

    # SQLSTATEs and error numbers, by what they mean.
    lost_codes: frozenset[Any] = LOST
    transient_codes: frozenset[Any] = _TRANSIENT
    read_only_codes: frozenset[Any] = _READ_ONLY

    @_default
    def in_transaction(self, con: Any) -> bool | None:
        """Return whether a transaction is open."""
        if not self.has_transactions:
            return False
        if self.transaction_name is None:
            return False if self.autocommit(con) else None
        answer = ask(con, self.transaction_name)
        return None if answer is None else answer not in self.idle

    def is_aborted(self, con: Any) -> bool:
        """Return whether a transaction is open that can only be rolled back.

        Most servers roll back only the statement that has failed.
        """
        return bool(self.aborted and self.transaction_name) and (
            ask(con, self.transaction_name or "") in self.aborted)

    def autocommit(self, con: Any) -> bool | None:
        """Return whether each statement is committed at once."""
        if self.autocommit_name is None:
            return None
        answer = ask(con, self.autocommit_name)
        return bool(answer) if isinstance(answer, int) else None

    @_default
    def is_closed(self, con: Any) -> bool | None:
        """Return whether the driver takes the connection as closed."""
        if self.closed_name is None:
            return None
        answer = ask(con, self.closed_name.lstrip("!"))
        if not isinstance(answer, int):
            return None
        return bool(answer) is not self.closed_name.startswith("!")

    @_default
    def descriptor(self, con: Any) -> int | None:
        """Return the descriptor of the socket."""
        if self.socket_name is None:
            return None
        number = ask(con, self.socket_name)
        return number if is_socket(number) else None

    def code(self, error: BaseException) -> Any:
        """Return the SQLSTATE or the number of an error."""
        return next(_codes_of(error), None)

    def is_loss(self, error: BaseException) -> bool | None:
        """Return whether an error says that the connection is lost."""
        if isinstance(error, ConnectionError):
            return True
        code = self.code(error)
        if not isinstance(code, str):
            return self._is_loss_by_number(error, code)
        if code in self.lost_codes or code.startswith("08"):
            return True
        return None if code.startswith(_VAGUE) else False

    def _is_loss_by_number(
            self, error: BaseException, code: Any) -> bool | None:
        """Return the same for a number, whose database is not known."""
        if code in self.lost_codes:
            return None if code in LOST and is_clear(error) else True
        if code in self.transient_codes or code in self.read_only_codes:
            return False
        return None

    def is_transient(self, error: BaseException) -> bool:
        """Return whether the transaction may succeed when it is repeated."""
        return self.code(error) in self.transient_codes

    def is_read_only(self, error: BaseException) -> bool:
        """Return whether an error says that the server takes no writes."""
        return self.code(error) in self.read_only_codes

    def is_private(self, con: Any) -> bool:
        """Return whether the data live and die with the connection."""
        return False

    @_default
    def clean(self, con: Any, start: Any = None) -> bool:
        """Give the connection a new session; return whether there is a way.

        start: the settings that it had at the beginning, if they are known
        """
        return False

    def close(self, con: Any) -> None:
        """Close the connection."""
        con.close()


def _codes_of(error: BaseException) -> Iterator[Any]:
    """Yield what may be the SQLSTATE or the number of an error."""
    for _ in range(_DEPTH):
        given = [getattr(error, name, None) for name in _CODE_NAMES]
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
        return len(code) == _LENGTH and _SQLSTATE.issuperset(code)
    return isinstance(code, int) and not isinstance(code, bool) and code > 0


class DriverFacts(Driver):
    """A driver with all that the library asks.

    The first part is about connections, the second about opening them: a
    setting that needs more than another name has a method of its own, by the
    name of add_ and the setting.
    """

    def __init__(self, **facts: Any) -> None:
        """Describe a driver of which nothing but facts is to be said."""
        vars(self).update(facts)

    # Whether everything is known that the failover policies ask, and whether
    # enough is known for the safe one: the status of the transaction, or that
    # this is a driver, so that the library can keep account.
    is_known = False
    is_telling = True
    # Whether the server is asked about an error that does not say what it
    # means, and whether a connection may get another socket.
    asks = True
    moves = False
    # The attributes or methods that tell settings without the server, and the
    # methods that change settings, where they have other names.
    readers: Mapping[str, str] = {}
    writers: Mapping[str, str] = {}
    # The settings that cannot be read without asking the server.
    unreadable: frozenset[str] = frozenset()
    # Whether the settings with readers cannot be restored one by one, since
    # the driver only knows the values that it was told itself.
    is_coarse = False
    # The methods that change the session: COMPARED, MARKS, SPOILS, or the
    # setting that cannot be read and gets the first argument as its value.
    setters: Mapping[str, str] = {}
    # The methods that change nothing, and those values through which a
    # program can do all that it can do with the connection.
    questions: frozenset[str] = frozenset()
    doors: frozenset[str] = frozenset()
    # Whether statements are executed by the connection itself, and which
    # parameters its execute() has that are those of its cursor().
    is_own_cursor = False
    cursor_options: frozenset[str] = frozenset()
    # Whether functions of the driver take nothing but its own connection.
    checks_types = False
    # The class in C whose cursors need no close() when they are dropped.
    freed_cursor: str | None = None
    # Whether SET TRANSACTION reaches transactions that begin later.
    sets_ahead = False
    # Whether each connection has a session of its own, see "poolers".
    has_own_session = True

    @property
    def needs_account(self) -> bool:
        """Return whether the library keeps account of open work."""
        return self.transaction_name is None and not is_told(
            self.in_transaction)

    @property
    def tells_work(self) -> bool:
        """Return whether the driver tells that a transaction is open."""
        return not self.needs_account

    @property
    def tells_closed(self) -> bool:
        """Return whether the driver tells that a connection is closed."""
        return self.closed_name is not None or is_told(self.is_closed)

    @property
    def can_clean(self) -> bool:
        """Return whether there is a way to give a connection a new session."""
        return is_told(self.clean)

    def has_written(self, con: Any) -> bool | None:
        """Return whether an open transaction did more than reading.

        Where a read begins a transaction, too, the driver cannot tell.
        """
        return None

    def inside(self, con: Any) -> Any:
        """Return the driver connection inside a wrapper."""
        return con

    def number_of(self, con: Any) -> Any:
        """Return a callable that tells descriptor(), or None.

        It is faster, and raises an error or returns another number once the
        socket is closed.
        """
        return None

    def status_of(self, con: Any) -> Any:
        """Return a callable that tells in_transaction(), or None.

        It is faster: it returns 0 only if no transaction is open.
        """
        return None

    def warning(self) -> str | None:
        """Return a warning for programs that use this driver."""
        return None

    def keeps_rows(self, cursor: Any) -> bool:
        """Return whether the rows of a driver cursor are in the client."""
        return False

    def frees(self, kind: type) -> bool:
        """Return whether cursors of a class need no close() when dropped.

        A class in Python can have another close() than that in C.
        """
        owner = getattr(getattr(kind, "close", None), "__objclass__", None)
        return owner is not None and self.freed_cursor == (
            f"{owner.__module__}.{owner.__name__}")

    def keeps_values(self, cursor: Any) -> bool:
        """Return whether the facts about its statement are in the client."""
        return self.is_known and getattr(cursor, "description", ()) is None

    def first(self, con: Any) -> dict[str, Any]:
        """Return the settings of a new connection, as far as known."""
        found = {}
        for name in self.settings:
            with quietly(f"reading {name!r}"):  # older drivers have not all
                found[name] = self.read(con, name)
        return found

    def read(self, con: Any, name: str) -> Any:
        """Return the value of a setting."""
        value = getattr(con, self.readers.get(name, name))
        return value() if name in self.readers and callable(value) else value

    def write(self, con: Any, name: str, value: Any) -> None:
        """Change a setting."""
        if name in self.writers:
            getattr(con, self.writers[name])(value)
        else:
            setattr(con, name, value)

    def restore(self, con: Any, start: Any) -> bool:
        """Undo what cannot be compared; return whether there is a way."""
        return not self.unreadable

    # The name of the driver, if a ConnectionConfig can name it: the module as
    # it is imported.
    module = ""
    # The option with the seconds after which connecting is given up.
    connect_timeout: str | None = None
    # The parameters of the driver for settings that only have another name,
    # the attributes of new connections for settings without a parameter, and
    # the options that could overrule the settings for encryption.
    parameter_names: Mapping[str, str] = {}
    attribute_names: Mapping[str, str] = {}
    overruling: frozenset[str] = frozenset()
    # The statements with which the doctor asks for facts about a server.  The
    # last column of the first row is the answer; what a server does not
    # understand stays unknown.
    server_questions: Mapping[str, str] = {}

    def may_be_pooled(self, con: Any) -> bool | None:
        """Return whether something indicates a proxy that shares sessions.

        The server is not asked.  It is None if nothing could indicate that.
        """
        return None

    def join_pooler(self, con: Any) -> None:
        """Switch off what needs a session of its own."""

    @_default
    def standing(self, con: Any) -> Standing | None:
        """Ask the server for its role; None if it has none."""
        return None

    @_default
    def position(self, con: Any) -> str | None:
        """Ask the server how far it has come; None if it does not tell."""
        return None

    @_default
    def has_reached(self, con: Any, position: str) -> bool | None:
        """Ask the server whether it has come as far; None if unknown."""
        return None

    def connected(self, con: Any) -> None:
        """Lift a limit that was meant for connecting only."""

    def arguments_for(self, config: Any, dbapi: Any) -> ConnectArguments:
        """Return the arguments for a ConnectionConfig.

        A setting that the driver does not understand is an error, since a
        program that asks for encryption, say, must not go without it.

        dbapi: the module of the driver
        """
        from .arguments import ConnectArguments  # noqa: PLC0415 - rarely needed

        arguments = ConnectArguments(dbapi)
        for setting in _SETTINGS:
            value = getattr(config, setting)
            if value is not None:
                self._add_setting(arguments, setting, value)
        if config.ssl is not None:
            self.add_ssl(arguments, config)
        self._add_options(arguments, config)
        return arguments

    def _add_setting(
            self, arguments: ConnectArguments, setting: str,
            value: Any) -> None:
        add = getattr(self, f"add_{setting}", None)
        if setting in self.parameter_names:
            arguments.add(**{self.parameter_names[setting]: value})
        elif setting in self.attribute_names:
            arguments.after_connect(self.attribute_names[setting], value)
        elif add is not None:
            add(arguments, value)
        else:
            self.refuse(setting)

    def _add_options(self, arguments: ConnectArguments, config: Any) -> None:
        given = {name.lower() for name in arguments.parameters}
        given |= {"password", "passwd", "pwd"}
        if config.ssl:
            given |= self.overruling
        for name, value in config.options.items():
            if name.lower() in given:
                raise ValueError(
                    f"The option {name!r} of {self.module} is the matter of"
                    " a setting. [DBU-15]")
            arguments.parameters[name] = value

    def refuse(self, setting: str, hint: str = "") -> None:
        """Raise the error for a setting that the driver does not know."""
        raise ValueError(
            f"{self.module} cannot honour {setting!r}{hint}. [DBU-15]")

    def add_connection_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        """Limit the time for connecting, in whole seconds."""
        if self.connect_timeout is None:
            self.refuse("connection_timeout")
        else:
            arguments.add(**{self.connect_timeout: whole(value)})

    def add_ssl(self, arguments: ConnectArguments, config: Any) -> None:
        """Demand that the connection is encrypted, or that it is not."""
        self.refuse("ssl")

    def connect(self, dbapi: Any, parameters: Kwargs, password: Any) -> Any:
        """Open a connection."""
        if password is None:
            return dbapi.connect(**parameters)
        return dbapi.connect(**parameters, password=password)


class ExactDriver(DriverFacts):
    """A driver that the library knows by heart.

    Each answer is a method or a fact of its class, and nothing is looked for.
    """

    is_known = True
    asks = False
    lost_codes = transient_codes = read_only_codes = frozenset()

    @property
    def needs_account(self) -> bool:
        return False

    @property
    def tells_work(self) -> bool:
        return self.transaction_name is not None or is_told(
            self.in_transaction)

    @_default
    def in_transaction(self, con: Any) -> bool | None:
        name = self.transaction_name
        return None if name is None else super().in_transaction(con)

    def status_of(self, con: Any) -> Any:
        name = self.transaction_name
        return None if name is None else question(con, name)

    @_default
    def descriptor(self, con: Any) -> int | None:
        return None if self.socket_name is None else ask(con, self.socket_name)

    def number_of(self, con: Any) -> Any:
        name = self.socket_name
        return None if name is None else question(con, name)

    @_default
    def code(self, error: BaseException) -> Any:
        return None

    def is_loss(self, error: BaseException) -> bool | None:
        code = self.code(error)
        return None if code is None else code in self.lost_codes


class _NoDriver(ExactDriver):
    """A connection of no driver, as far as the library knows."""

    is_known = is_telling = False


class _Telling(_NoDriver):
    """A connection of no driver that tells whether a transaction is open."""

    is_telling = True
    in_transaction = in_transaction_of


NO_DRIVER = _NoDriver()
TELLING = _Telling()
