"""A driver that does nothing, as fast as Python can do that.

What is measured with it is what a pool adds.  It looks enough like psycopg
and psycopg2 that their pools can use it, too.
"""

from sqlite3 import (  # noqa: F401 - a driver has to have them
    DatabaseError,
    Error,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from threading import Event
from types import SimpleNamespace

apilevel = "2.0"
threadsafety = 2
paramstyle = "pyformat"

IDLE = 0


class Cursor:
    """A cursor with one row."""

    description = (("answer", None, None, None, None, None, None),)
    rowcount = 1
    arraysize = 1

    def execute(self, operation, parameters=None):
        """Execute nothing."""

    def fetchone(self):
        """Return the row."""
        return (1,)

    def fetchall(self):
        """Return the row, in a list."""
        return [(1,)]

    def close(self):
        """Close nothing."""

    def setinputsizes(self, sizes):
        """Set nothing."""

    def setoutputsize(self, size, column=None):
        """Set nothing."""


class Connection:
    """A connection to nothing."""

    closed = False
    autocommit = False
    info = SimpleNamespace(transaction_status=IDLE)
    pgconn = SimpleNamespace(transaction_status=IDLE)
    _pool = None
    _created_at = 0.0
    _expire_at = 1e18

    @classmethod
    def connect(cls, *_args, **_kwargs):
        """Return a connection."""
        return cls()

    def cursor(self):
        """Return a cursor."""
        return Cursor()

    def commit(self):
        """Commit nothing."""

    def rollback(self):
        """Roll nothing back."""

    def close(self):
        """Close nothing."""


class PingingConnection(Connection):
    """A connection that can be asked whether it is alive."""

    def ping(self, reconnect=False):
        """Answer."""


class TellingConnection(Connection):
    """A connection that tells whether it is in a transaction."""

    in_transaction = False


def connect():
    """Return a connection."""
    return Connection()


class SlowConnection(Connection):
    """A connection whose calls can be made to last."""

    slow = None  # the next such call lasts a second
    pause = Event()

    def __init__(self):
        """Open the connection."""
        self._last("connect")

    @classmethod
    def _last(cls, verb):
        if cls.slow == verb:
            cls.slow = None
            cls.pause.wait(1)

    def ping(self, reconnect=False):
        """Tell that it is alive."""
        self._last("ping")

    def rollback(self):
        """Roll nothing back."""
        self._last("rollback")


def connect_slowly():
    """Return a connection after a twentieth of a second."""
    SlowConnection.pause.wait(0.05)
    return Connection()
