"""What all steady connections have in common.

A steady connection has two sides.  The *line* holds the driver connection
and all that is known about it, and can replace it; the other modules work
with the line.  The user holds the outside, whose public methods and inner
names are those of DBUtils 3.x.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

from . import __version__
from ._errors import quietly
from ._ping import parse_ping

__all__ = [
    "Line", "Steady", "Terms", "as_statements", "inner", "line_of",
    "make_terms",
]


class Terms(NamedTuple):
    """What was agreed upon for a steady connection; it never changes."""

    maxusage: int
    failures: Any
    isfatal: Callable[[Exception], Any] | None
    ping: int
    pinger: Callable[[Any], Any] | None
    closeable: Any

    def is_fatal(self, error: Exception) -> bool:
        """Tell whether the program lets an error count as a loss."""
        return self.isfatal is None or bool(self.isfatal(error))


def make_terms(
        maxusage: Any, failures: Any, isfatal: Any, ping: Any,
        closeable: Any) -> Terms:
    """Check the parameters of a steady connection."""
    if maxusage is None:
        maxusage = 0
    if not isinstance(maxusage, int):
        raise TypeError("'maxusage' must be an integer value.")
    if not (failures is None or isinstance(failures, tuple)
            or (isinstance(failures, type)
                and issubclass(failures, Exception))):
        raise TypeError("'failures' must be a tuple of exceptions.")
    if isfatal is not None and not callable(isfatal):
        raise TypeError("'isfatal' must be a callable.")
    return Terms(maxusage, failures, isfatal, *parse_ping(ping), closeable)


def as_statements(setsession: Any) -> tuple[Any, ...] | None:
    """Return the statements that prepare a session as a tuple."""
    if isinstance(setsession, str):
        raise TypeError(
            "'setsession' must be a sequence of SQL statements,"
            " not a single string.")
    return None if setsession is None else tuple(setsession)


class Line:
    """A driver connection that can be replaced, and its book-keeping."""

    def __init__(self, terms: Terms, setsession: Any) -> None:
        self.terms = terms
        self.setsession = as_statements(setsession)
        self.con: Any = None
        self.usage = 0
        self.transaction = False
        self.closed = True
        self.valid = True

    def store(self, con: Any) -> None:
        """Go on with a new driver connection."""
        self.con = con
        self.usage = 0
        self.transaction = False
        self.closed = False
        self.valid = True

    def close(self) -> None:
        """Close the driver connection, unless that was already done."""
        if self.closed:
            return
        with quietly("closing a connection"):
            self.con.close()
        self.transaction = False
        self.closed = True

    def is_used_up(self) -> bool:
        """Tell whether a new driver connection is due before the next use."""
        maxusage = self.terms.maxusage
        return not self.valid or bool(maxusage and self.usage >= maxusage)

    def used_up_text(self) -> str:
        """Say why a new driver connection is due."""
        if not self.valid:
            return "The connection was marked as not valid."
        return (
            f"The connection was used {self.usage} times"
            f" (maxusage={self.terms.maxusage}).")


def inner(name: str) -> Any:
    """Show an attribute of the line as one of the steady connection."""
    def read(steady: Any) -> Any:
        return getattr(line_of(steady), name)

    def write(steady: Any, value: Any) -> None:
        setattr(line_of(steady), name, value)

    return property(read, write)


def line_of(steady: Any) -> Any:
    """Return the inner side of a steady connection."""
    return steady._line  # noqa: SLF001 - the one door from outside to inside


class Steady:
    """The outside of a steady connection."""

    version = __version__

    _line: Any = None

    # Inner names of DBUtils 3.x that programs and their tests read.
    _con = inner("con")
    _usage = inner("usage")
    _transaction = inner("transaction")
    _closed = inner("closed")
    _setsession_sql = inner("setsession")
    _maxusage = property(lambda self: self._line.terms.maxusage)
    _isfatal = property(lambda self: self._line.terms.isfatal)
    _closeable = property(lambda self: self._line.terms.closeable)

    @property
    def valid(self) -> bool:
        """Whether the underlying connection is taken to be alive.

        When this is set to false, the next use outside of a transaction
        reconnects.
        """
        return self._line.valid and not self._line.closed

    @valid.setter
    def valid(self, value: bool) -> None:
        self._line.valid = bool(value)

    def _close(self) -> None:
        """Close the connection, even if it is not closeable."""
        self._line.close()

    def close(self) -> None:
        """Close the connection.

        This can be done more than once.  If the connection was made with
        a false "closeable", then only an open transaction is ended.
        """
        if self._line.terms.closeable:
            self._line.close()
        elif self._line.transaction:
            self._line.clean()

    def commit(self) -> Any:
        """Commit what was done."""
        raise NotImplementedError

    def rollback(self) -> Any:
        """Roll back what was done."""
        raise NotImplementedError

    def __exit__(self, *exc: object) -> None:
        """Commit, or roll back if there was an error; do not close."""
        if exc[0] is None:
            self.commit()
        else:
            self.rollback()

    def __del__(self) -> None:
        """Close the connection when nobody holds it any more."""
        if self._line is not None:
            self._line.close()
