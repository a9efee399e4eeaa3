"""A session of the server that a scripted driver has."""

from __future__ import annotations

import socket
import sqlite3
import threading
from contextlib import suppress

from .._base.hints import Any, Callable
from . import faults
from .faults import error_of

__all__ = ["Session"]

# SQLSTATEs for the classes of errors of SQLite, and for some messages.
_STATES = {
    "IntegrityError": "23000", "DataError": "22000",
    "ProgrammingError": "42000", "OperationalError": "42000",
    "InterfaceError": "42000", "NotSupportedError": "0A000"}
_MESSAGES = {"readonly": "25006", "locked": "55P03"}
_WAKE = b"."


class Session:
    """A session of the server: a connection of SQLite, and a socket.

    The socket hangs up when the server has ended the session.  While the
    server is silent, a request waits for a byte from it, or for that.
    """

    def __init__(self, driver: Any, path: str) -> None:
        self._driver = driver
        self._lock = threading.Lock()
        self.raw = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False)
        self.raw.execute("pragma synchronous=off")
        self.socket, self._server = socket.socketpair()
        # Whether the server has ended it, and whether the client knows that.
        self.is_over = False
        self.is_lost = False
        self.autocommit = False

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, as far as the client knows."""
        return not self.is_over and self.raw.in_transaction

    def wake(self) -> None:
        """Answer a request that waits because the server was silent."""
        with suppress(OSError):
            self._server.send(_WAKE)

    def end(self) -> None:
        """End the session, and with it its transaction; nobody is told."""
        self.is_over = True
        self._server.close()
        with self._lock:
            self.raw.close()
        self._driver.forget(self)

    def close(self) -> None:
        """End the session for the client."""
        self.is_lost = True
        self.end()
        self.socket.close()

    def meet(self, event: str, text: str = "") -> None:
        """Fail at an event if that is planned."""
        if self.is_lost:
            raise self._error(faults.InterfaceError(
                "The connection is closed."), "08003")
        if self._driver.is_silent_for(self) and not self._waited():
            raise self._lost()
        if self.is_over:
            raise self._lost()
        fault = self._driver.meet(event, text)
        if fault is None:
            return
        if fault.fault == "lost":
            raise self._lost()
        if event != "connect" and self.raw.in_transaction:
            self._do("rollback")
        raise fault.error()

    def begin(self) -> None:
        """Begin a transaction, unless there is one or none is wanted."""
        if not self.autocommit and not self.raw.in_transaction:
            self._do("begin")

    def end_transaction(self, verb: str, done: str) -> None:
        """Commit the transaction or roll it back, if there is one."""
        if self.in_transaction:
            self.meet(verb)
            self._do(verb)
            self.meet(done)
        elif self.is_over or self.is_lost:
            self.meet(verb)

    def run(self, call: Callable[..., Any], *args: Any) -> Any:
        """Call a method of SQLite, with errors as the driver has them."""
        try:
            with self._lock:
                return call(*args)
        except sqlite3.Error as error:
            if self.is_over:
                raise self._lost() from None
            raise self._translated(error) from None

    def _do(self, statement: str) -> None:
        self.run(self.raw.execute, statement)

    def _waited(self) -> bool:
        """Wait while the server is silent; return whether it answers."""
        with suppress(OSError):
            return self.socket.recv(1) == _WAKE
        return False

    def _lost(self) -> BaseException:
        """Note that the client knows that it is lost; return the error."""
        if not self.is_over:
            self.end()
        self.is_lost = True
        return error_of("lost")

    def _translated(self, error: sqlite3.Error) -> BaseException:
        name = type(error).__name__
        state = next(
            (state for word, state in _MESSAGES.items()
             if word in str(error)), _STATES.get(name, "XX000"))
        kind = getattr(faults, name, faults.DatabaseError)
        return self._error(kind(str(error)), state)

    @staticmethod
    def _error(error: Any, sqlstate: str) -> BaseException:
        error.sqlstate = sqlstate
        known: BaseException = error
        return known
