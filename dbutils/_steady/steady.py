"""The outside of a steady connection, which the user holds.

Its public methods and inner names are those of DBUtils 3.x.  Behind it is the
session, with which the other modules work.
"""

from __future__ import annotations

from .. import __version__
from .._base.finalizers import note_lost
from .._base.hints import Any, Callable, attrgetter
from .._base.threads import is_ending
from .state import OPEN, SUSPECT, state_text
from .unsaved import Place, forgets_work, place_here, warn_of_work

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from typing import TypeVar

    from .session import Session

    AnySteady = TypeVar("AnySteady", bound="Steady")
else:
    AnySteady = Any

__all__ = [
    "AnySteady", "Steady", "inner", "inner_term", "note_taking", "session_of"]


class _Inner:
    """Shows an attribute of a session as one of the outside.

    A value that a subclass sets before there is a session has no effect.
    """

    def __init__(
            self, side: str, read: Callable[[Any], Any],
            write: Callable[[Any, Any], None]) -> None:
        self._side = side
        self._read = read
        self._write = write
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, steady: Any, owner: Any = None) -> Any:
        if steady is None:
            return self
        inside = getattr(steady, self._side)
        if inside is None and self._name in steady.__dict__:
            return steady.__dict__[self._name]
        return self._read(inside)

    def __set__(self, steady: Any, value: Any) -> None:
        inside = getattr(steady, self._side, None)
        if inside is None:
            steady.__dict__[self._name] = value
        else:
            self._write(inside, value)


def inner(name: str, side: str = "_own_session") -> Any:
    """Return a descriptor that shows an attribute of the session.

    name: the attribute, perhaps with the parts that lead to it
    """
    *parts, last = name.split(".")

    def write(inside: Any, value: Any) -> None:
        for part in parts:  # which may be shared
            inside = getattr(inside, f"own_{part}")()
        setattr(inside, last, value)

    return _Inner(side, attrgetter(name), write)


def inner_term(name: str, shown: str | None = None) -> Any:
    """Return a descriptor that shows an option of the session.

    shown: the attribute that is read instead of the option
    """
    def write(session: Session, value: Any) -> None:
        session.agree(**{name: value})

    return _Inner(
        "_own_session", attrgetter(shown or f"options.{name}"), write)


# The consequence for the unsaved work of a thread, and what to do.
_UNSAVED = "the end of a connection rolls back. Call commit()."


def note_taking(steady: Any) -> None:
    """Note where the program takes the connection of its thread.

    This is done for the warnings of the development mode only.
    """
    steady._taken = place_here()  # noqa: SLF001 - of this module


def session_of(steady: Any) -> Any:
    """Return the session of a steady connection."""
    return steady._own_session  # noqa: SLF001 - the only access


class Steady:
    """The outside of a steady connection."""

    __slots__ = ("__dict__", "__weakref__", "_own_session")

    version = __version__

    _own_session: Any
    # Where it was taken last, if it is the connection of a thread.
    _taken: Place | None = None

    if not TYPE_CHECKING:  # to whom the parameters are those of __init__()
        def __new__(
                cls, *args: Any, **kwargs: Any,  # noqa: ARG004 - for __init__
        ) -> Any:
            """Return an object that has no session yet."""
            steady = super().__new__(cls)
            _set_session(steady, None)
            return steady

    # Inner names of DBUtils 3.x that programs and their tests read.
    _con = inner("con")
    _usage = inner("usage")
    _transaction = inner("transaction")
    _closed = inner("closed")
    _setsession_sql = inner("setsession")
    _maxusage = inner_term("maxusage")
    _isfatal = inner_term("isfatal")
    _closeable = inner_term("closeable")
    _failures = inner_term("failures")
    _ping = inner_term("ping")
    _pinger = inner_term("pinger")

    @property
    def valid(self) -> bool:
        """Whether the driver connection counts as alive.

        After this was set to false, the next use outside of a transaction
        reconnects.
        """
        return self._own_session.state == OPEN and not self._own_session.closed

    @valid.setter
    def valid(self, value: bool) -> None:
        if not value:
            self._own_session.suspect()
        elif self._own_session.state is SUSPECT:
            self._own_session.enter(OPEN)

    def __repr__(self) -> str:
        """Return the state, without anything that the driver shows."""
        kind, session = type(self).__name__, self._own_session
        if session is None:
            return f"<{kind} that has not begun>"
        driver = type(session.con).__module__.partition(".")[0]
        parts = [f"{kind} of {driver}", state_text(session)]
        if session.transaction:
            parts.append("in a transaction")
        if session.usage:
            parts.append(f"used {session.usage} times")
        return f"<{', '.join(parts)}>"

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, of the driver connection if that has it.

        At the end of the lease the old value is restored.  A driver
        connection that replaces this one before that gets the new value.
        """
        session = self._own_session
        if (
                name.startswith("_") or session is None or hasattr(type(self),
                name) or not session.is_attribute(name)):
            super().__setattr__(name, value)
        else:
            session.change(name, value)

    def _close(self) -> None:
        """Close the connection, even if it is not closeable."""
        self._own_session.close()

    def close(self) -> None:
        """Close the connection.

        This can be done more than once.  If "closeable" is false, only an
        open transaction is ended.
        """
        session = self._own_session
        is_closeable = session.is_closeable
        if not (is_closeable or session.transaction or session.is_marked
                or session.settings_changed or (
                    session.leave is not None and session.has_failed())):
            return
        is_forgotten = self._taken is not None and forgets_work(session)
        if is_closeable:
            session.close()
            # nothing is left that the next use could lose
            session.is_marked = session.is_exposed = session.work = False
        else:
            session.end_checkout()
        if is_forgotten:
            warn_of_work(_UNSAVED)

    def _close_dropped(self) -> None:
        """Close a connection that was dropped.

        An error that is being handled here has nothing to do with it, since
        the end of a thread is noticed anywhere.
        """
        session = self._own_session
        is_forgotten = self._taken is not None and (
            session.forgets_work() and not is_ending())
        session.close()
        if is_forgotten:
            warn_of_work(
                _UNSAVED, self._taken, "A thread has ended its connection")

    def commit(self) -> Any:
        """Commit the work."""
        raise NotImplementedError

    def rollback(self) -> Any:
        """Roll back the work."""
        raise NotImplementedError

    def __exit__(self, *exc: object) -> None:
        """Commit, or roll back if there was an error; do not close."""
        if exc[0] is None:
            self.commit()
        else:
            self.rollback()

    def __del__(self) -> None:
        """Close the connection when it is dropped."""
        try:
            if self._own_session is not None:
                self._close_dropped()
        except AttributeError:
            pass  # __new__() has not ended
        except BaseException as error:  # noqa: BLE001 - no caller
            # the driver closes its connection when that is dropped
            if note_lost is not None:  # as when modules were emptied
                note_lost("closing a connection that was dropped", error)


_set_session = Steady._own_session.__set__  # noqa: SLF001 - of this module
