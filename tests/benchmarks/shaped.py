"""Drivers that do nothing, but look like psycopg2 and PyMySQL.

The library takes them for the real ones, since their classes name the same
modules, and so it does all that it does with those: it looks at a socket,
which is a real one, and asks for the status.  A function in C is one here,
too: callables in C are no methods, so a class can have them as they are.
"""

import socket
from functools import partial
from itertools import repeat
from types import ModuleType, SimpleNamespace

import nothing

_nothing_done = [].clear  # takes nothing, returns None
_anything_done = {}.get  # takes one or two arguments; of one it makes None
_ERRORS = (
    "Error", "InterfaceError", "DatabaseError", "OperationalError",
    "InternalError", "ProgrammingError")
AUTOCOMMIT = 2  # a flag in the status of MySQL


class _Cursor:
    """A cursor with one row, whose methods are functions in C."""

    __slots__ = ("connection",)

    description = nothing.Cursor.description
    rowcount = arraysize = 1
    name = lastrowid = None
    execute = _anything_done
    executemany = _anything_done
    fetchone = repeat((1,)).__next__
    fetchall = repeat([(1,)]).__next__
    close = _nothing_done

    def __init__(self, con):
        self.connection = con


class _Connection:
    """A connection whose server is silent."""

    commit = rollback = _nothing_done

    def __init__(self):
        self._here, self._there = socket.socketpair()
        self.cursor = partial(self.cursor_class, self)

    def close(self):
        """Close the socket."""
        for end in (self._here, self._there):
            end.close()


class Psycopg2Cursor(_Cursor):
    """A cursor that looks like one of psycopg2."""

    __slots__ = ()
    __module__ = "psycopg2.extensions"


class Psycopg2Connection(_Connection):
    """A connection that looks like one of psycopg2."""

    __module__ = "psycopg2.extensions"

    cursor_class = Psycopg2Cursor
    closed = 0
    autocommit = False
    isolation_level = readonly = deferrable = cursor_factory = None
    encoding = "UTF8"
    get_transaction_status = int  # which returns 0
    info = SimpleNamespace(transaction_status=0)

    def __init__(self):
        super().__init__()
        self.fileno = self._here.fileno

    def close(self):
        """Close the socket."""
        self.closed = 1
        super().close()


class PyMySqlCursor(_Cursor):
    """A cursor that looks like one of PyMySQL."""

    __slots__ = ()
    __module__ = "pymysql.cursors"


class PyMySqlConnection(_Connection):
    """A connection that looks like one of PyMySQL.

    PyMySQL is written in Python, so what the library calls is no function in
    C.
    """

    __module__ = "pymysql.connections"

    cursor_class = PyMySqlCursor
    open = True
    server_status = AUTOCOMMIT
    autocommit_mode = False
    charset, collation = "utf8mb4", None
    cursorclass = PyMySqlCursor
    db = None

    def __init__(self):
        super().__init__()
        self._sock = self._here

    def close(self):
        """Close the socket."""
        self.open = False
        super().close()

    def get_autocommit(self):
        """Return whether each statement is committed at once."""
        return bool(self.server_status & AUTOCOMMIT)

    def ping(self, reconnect=True):
        """Answer."""

    def rollback(self):
        """Roll nothing back."""


def driver(connection):
    """Return a module with this class of connections, a driver."""
    module = ModuleType(connection.__module__.partition(".")[0])
    module.apilevel, module.threadsafety = "2.0", 2
    module.paramstyle = "pyformat"
    for name in _ERRORS:
        setattr(module, name, getattr(nothing, name))
    module.connect = lambda **_parameters: connection()
    return module
