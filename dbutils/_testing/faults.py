"""The faults that can be planned, and the errors that tell of them."""

from __future__ import annotations

import re

from .._base.hints import Any, NamedTuple

__all__ = [
    "CLASSES", "EVENTS", "DatabaseError", "Error", "Fault",
    "IntegrityError", "InterfaceError", "NotSupportedError",
    "OperationalError", "ProgrammingError", "error_of"]


class Warning(Exception):  # noqa: A001, N818 - PEP 249 demands the name
    """A warning of the database."""


class Error(Exception):
    """The base of all errors; sqlstate tells what it is.

    sqlstate: as PostgreSQL would have it, or None
    """

    sqlstate: str | None = None


class InterfaceError(Error):
    """An error of the program that uses the driver."""


class DatabaseError(Error):
    """An error of the database."""


class DataError(DatabaseError):
    """An error of the data."""


class OperationalError(DatabaseError):
    """An error of the server or the network."""


class IntegrityError(DatabaseError):
    """Data that violates a constraint."""


class InternalError(DatabaseError):
    """An error within the database."""


class ProgrammingError(DatabaseError):
    """A statement that is wrong."""


class NotSupportedError(DatabaseError):
    """Something that the database cannot do."""


# The classes that PEP 249 demands in a driver.
CLASSES = (
    Warning, Error, InterfaceError, DatabaseError, DataError, OperationalError,
    IntegrityError, InternalError, ProgrammingError, NotSupportedError)
for _class in CLASSES:
    _class.__module__ = "dbutils.testing"

# The faults that have a word: the SQLSTATE, and the message.
_FAULTS = {
    "lost": ("08006", "The server has closed the connection."),
    "refused": ("08001", "The server does not accept connections."),
    "password": ("28P01", "The password is wrong."),
    "too many": ("53300", "There are too many connections."),
    "read-only": ("25006", "The server cannot change data."),
    "deadlock": ("40P01", "The transaction was in a deadlock."),
    "conflict": ("40001", "The transaction is in conflict with another."),
    "timeout": ("57014", "The statement has taken too long."),
}

# The moments at which something can go wrong: before the server does what it
# was asked for, and when it has done so, but the answer is still to come.
EVENTS = (
    "connect", "connected", "execute", "executed", "commit", "committed",
    "rollback", "rolled back")


def error_of(word: str) -> OperationalError:
    """Return the error for a fault."""
    sqlstate, message = _FAULTS[word]
    error = OperationalError(message)
    error.sqlstate = sqlstate
    return error


class Fault(NamedTuple):
    """A fault that is planned.

    fault: the word for it, or an exception
    at: the event at which it happens
    matching: a regular expression for the statements that it hits, or None
    """

    fault: str | BaseException
    at: str
    matching: Any

    def hits(self, event: str, text: str) -> bool:
        """Return whether it happens now."""
        return event == self.at and (
            self.matching is None
            or re.search(self.matching, text, re.IGNORECASE) is not None)

    def error(self) -> BaseException:
        """Return the error that tells of it."""
        if isinstance(self.fault, str):
            return error_of(self.fault)
        return self.fault


def check_fault(fault: Any, at: str) -> None:
    """Check the fault and the event of a plan."""
    if at not in EVENTS:
        raise ValueError(
            f"Nothing can be planned at {at!r}; the events are"
            f" {', '.join(EVENTS)}. [DBU-92]")
    if fault not in _FAULTS and not isinstance(fault, BaseException):
        raise ValueError(
            f"There is no fault {fault!r}; the words are"
            f" {', '.join(_FAULTS)}, and any exception can be planned."
            " [DBU-92]")
