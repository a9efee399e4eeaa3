"""A session: a driver connection that can be replaced, and its state.

The other modules work with the session.  The user holds the outside, which is
in steady.py.
"""

from __future__ import annotations

from typing import Any, Callable

from .._base.errors import logger, quietly
from .._base.fork import abandon_socket, register_for_fork
from .._base.threads import is_ending
from .._drivers.driver import Profile
from .deadlines import end_deadline, start_deadline
from .options import (
    AT_STATEMENT,
    SteadyOptions,
    as_statements,
)
from .ping import PingError, SqlPinger, ask, name_of, prove
from .settings import Settings
from .sockets import shut_down

__all__ = ["Session", "doubt_ping", "prove_ping", "trust_ping"]

# In seconds, the time without which a question is not asked.
_LEAST = 0.25


class Session:
    """A driver connection that can be replaced, and what is known of it."""

    __slots__ = (
        "__weakref__",
        "closed",
        "con",
        "descriptor",
        "exposed",
        "inherited",
        "is_in_doubt",
        "is_simple",
        "limit",
        "lost",
        "options",
        "profile",
        "session_dirty",
        "setsession",
        "settings",
        "settings_dirty",
        "throttle",
        "transaction",
        "unanswered",
        "usage",
        "valid",
    )

    def __init__(self, options: SteadyOptions, setsession: Any) -> None:
        self.options = options
        # Whether nothing has to be checked before a statement.
        self.is_simple = False
        self.limit_usage(options.maxusage)
        self.setsession = as_statements(setsession)
        self.con: Any = None
        self.usage = 0
        self.transaction = False
        self.closed = True
        self.valid = True
        # Whether the driver connection belongs to the parent process.
        self.inherited = False
        # Whether an interrupt may have left something unsent or unread.
        self.is_in_doubt = False
        self.profile = Profile()
        # Whether statements have changed the session, and whether the
        # connection is known to be lost.
        self.session_dirty = False
        self.lost = False
        # The settings, and whether some may have been changed.
        self.settings = Settings()
        self.settings_dirty = False
        # Whether the program has the driver connection itself, so that it is
        # never replaced silently.
        self.exposed = False
        # The socket, if it is known, and the seconds that a question of the
        # library may take, if that is less than usual.
        self.descriptor: int | None = None
        self.limit: float | None = None
        # How often in a row the question of the program has failed.
        self.unanswered = 0
        # What the pool knows about the server, if there is a pool.
        self.throttle: Any = None
        register_for_fork(self, is_connection=True)

    def agree(self, **options: Any) -> None:
        """Change the options that are given."""
        if "maxusage" in options:
            options["maxusage"] = options["maxusage"] or 0
        self.options = agreed = self.options._replace(**options)
        self.is_simple = not (
            agreed.maxusage or agreed.ping & AT_STATEMENT)

    def limit_usage(self, maxusage: int) -> None:
        """Change the number of uses after which a session is replaced."""
        self.agree(maxusage=maxusage)

    def after_fork(self) -> None:
        """Leave the driver connection to the process that has opened it.

        The next use opens another one.  A transaction is lost; the next use
        of the old connection raises an error that says so.
        """
        if self.con is None or self.closed:
            return
        abandon_socket(self.con, self.profile.descriptor(self.con))
        self.closed = self.lost = self.inherited = True
        self.valid = self.session_dirty = False

    def store(self, con: Any) -> None:
        """Go on with a new driver connection.

        It gets the settings that the program had changed on the last one,
        also those that were changed directly.
        """
        if self.settings_dirty:
            self.settings.note_changes(self.con)
        self.con = con
        self.descriptor = self.profile.descriptor(con)
        self.usage = 0
        self.transaction = False
        self.closed = self.is_in_doubt = self.inherited = False
        self.valid = True
        self.session_dirty = self.lost = self.exposed = False
        if self.settings.start(self.profile, self.first_settings()):
            self.settings_dirty = True
            self.valid = False  # if this fails, the next use tries again
            self.settings.reapply(con)
            self.valid = True

    def first_settings(self) -> dict[str, Any]:
        """Return the settings of a new driver connection."""
        return self.profile.first(self.con)

    def needs_reset(self, mode: Any) -> bool:
        """Return whether the server has to be asked to reset the session.

        mode: how the pool resets sessions
        """
        return bool(
            mode or self.session_dirty or self.settings_dirty or
            self.transaction or self.lost or not self.valid)

    def connect(self, connect: Callable[[], Any]) -> Any:
        """Connect again, unless that has just failed for all of a pool."""
        if self.throttle is None:
            return connect()
        con = self.throttle.connect(connect, None, bool)  # no wait, no other
        self.throttle.reconnects.step()
        return con

    def forgets_work(self) -> bool:
        """Return whether a rollback undoes what a program has done."""
        raise NotImplementedError

    def reconnect(self) -> None:
        """Go on with a new driver connection; raise why that fails."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the driver connection, unless that was already done."""
        if self.closed:
            return
        end_deadline(self)  # its number may belong to another socket soon
        # At the end some drivers would roll back, and wait for that.
        if self.is_in_doubt or (is_ending() and self.needs_reset(True)):
            _shut_down(self)
        with quietly("closing a connection"):
            self.profile.close(self.con)
        self.transaction = False
        self.closed = True

    def change(self, name: str, value: Any) -> None:
        """Change an attribute until the end of the lease."""
        self.settings_dirty = True  # also if this is interrupted
        self.settings.change(self.con, name, value)

    def restore_settings(self) -> None:
        """Restore the settings, as far as their old values can be written."""
        self.settings.write_back(self.con)
        self.settings_dirty = self.exposed = False

    def check(self, moment: int, reconnect: bool = True) -> bool | None:
        """Tell whether the connection is alive, if that is to be checked."""
        raise NotImplementedError

    def is_gone(self) -> bool:
        """Tell whether the connection is closed, on this or the other side."""
        raise NotImplementedError

    def seems_alive(self) -> bool:
        """Tell whether nothing is known to be wrong, without a question."""
        return self.valid and not (self.lost or self.closed or self.is_gone())

    def is_alive_within(self, seconds: float) -> bool:
        """Tell whether the connection seems to be alive, within that time.

        A question that could not be answered in time is not asked, since
        the end of its time would be the end of the connection.
        """
        if seconds < _LEAST:
            return not self.options.ping & 1 or self.seems_alive()
        self.limit = seconds
        try:
            return self.check(1, reconnect=False) is not False
        finally:
            self.limit = None

    def answers(self, seconds: float | None = None) -> bool:
        """Ask the server whether it is there; leave no transaction open."""
        if self.lost or self.closed or not self.valid:
            return False
        question = self.options.pinger or SqlPinger(self.profile.question)
        is_over = False
        start_deadline(self, self.descriptor, seconds)
        try:
            if not ask(question, self.con):
                doubt_ping(self)
                return False
            with quietly("ending the transaction of a question"):
                self.end_question()
                is_over = True
        finally:
            end_deadline(self)
        return is_over

    def end_question(self) -> None:
        """End the transaction that a question may have begun."""

    def is_attribute(self, name: str) -> bool:
        """Tell whether the driver connection has a value of that name."""
        if name in self.settings.original:
            return True
        if name in self.profile.unreadable:  # asking may not be possible
            return hasattr(type(self.con), name)
        value = getattr(self.con, name, _call_me)
        return not callable(value) or isinstance(value, type)

    def is_used_up(self) -> bool:
        """Tell whether a new driver connection is due before the next use."""
        maxusage = self.options.maxusage
        return not self.valid or bool(maxusage and self.usage >= maxusage)

    def used_up_text(self) -> str:
        """Say why a new driver connection is due."""
        if not self.valid:
            return "The connection was marked as not valid."
        return (
            f"The connection was used {self.usage} times"
            f" (maxusage={self.options.maxusage}).")


def _shut_down(session: Session) -> None:
    """Let nothing more be sent, and nothing waited for.

    Some drivers first send what an interrupt has left in their buffers
    when they close a connection, though the server may have got it.
    """
    with quietly("shutting down a connection in doubt"):
        # asked again: if the driver has closed the socket, its number may
        # belong to another one
        descriptor = session.profile.descriptor(session.con)
        if descriptor is not None and descriptor >= 0:
            shut_down(descriptor)


def doubt_ping(session: Session) -> None:
    """Note that a question has failed, so that the connection has to go.

    If the program has asked, the question itself can be wrong.
    """
    pinger = session.options.pinger
    if pinger is None:
        return
    logger.info(
        "A connection is replaced, since its 'ping' (%s) has failed.",
        name_of(pinger))
    session.unanswered += 1
    if session.throttle is not None:
        session.throttle.failed_pings += 1


def trust_ping(session: Session) -> None:
    """Note that a question of the program was answered."""
    session.unanswered = 0
    if session.throttle is not None:
        session.throttle.failed_pings = 0


def prove_ping(session: Any) -> None:
    """Raise a PingError if the question fails on a new connection.

    The rules say how many failures in a row need no such proof.
    """
    pinger = session.options.pinger
    if pinger is None or session.unanswered <= session.failover.tolerance:
        return
    start_deadline(session, session.descriptor, None)
    try:
        prove(pinger, session.con)
        trust_ping(session)
        with quietly("ending the transaction of a question"):
            session.end_question()
    except PingError as error:
        cause = error.__cause__
        if cause is None or not (session.profile.is_loss(cause) or (
                session.is_gone())):
            raise  # or it is lost, too
    finally:
        end_deadline(session)


def _call_me() -> None:
    """Stand for what is no value."""


