"""What all steady connections have in common.

A steady connection has two sides.  The *line* holds the driver connection
and all that is known about it, and can replace it; the other modules work
with the line.  The user holds the outside, whose public methods and inner
names are those of DBUtils 3.x.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Callable, NamedTuple

from .. import __version__
from .._base.errors import logger, quietly
from .._base.finalizers import note_lost
from .._base.fork import abandon_socket, register_for_fork
from .._base.threads import is_ending
from .._drivers.driver import MARKS, SPOILS, Profile
from .deadlines import end_deadline, start_deadline
from .ping import PingError, SqlPinger, ask, name_of, parse_ping, prove
from .sockets import shut_down
from .unsaved import Place, forgets_work, place_here, warn_of_work

__all__ = [
    "Session", "Steady", "SteadyOptions", "as_statements", "check_options",
    "check_reset", "doubt_ping", "inner", "inner_term", "prove_ping",
    "session_of", "trust_ping"]


class SteadyOptions(NamedTuple):
    """What was agreed upon for a steady connection; it is only replaced."""

    maxusage: int
    failures: Any
    isfatal: Callable[[Exception], Any] | None
    ping: int
    pinger: Callable[[Any], Any] | None
    closeable: Any
    failover: str

    def is_fatal(self, error: Exception) -> bool:
        """Tell whether the program lets an error count as a loss."""
        return self.isfatal is None or bool(self.isfatal(error))


def check_options(
        maxusage: Any, failures: Any, isfatal: Any, ping: Any,
        closeable: Any, failover: str) -> SteadyOptions:
    """Check the parameters of a steady connection."""
    if maxusage is None:
        maxusage = 0
    if not isinstance(maxusage, int):
        raise TypeError("'maxusage' must be an integer value.")
    kinds = failures if isinstance(failures, tuple) else (failures,)
    if failures is not None and not all(map(_is_exception, kinds)):
        raise TypeError("'failures' must be a tuple of exceptions.")
    if isfatal is not None and not callable(isfatal):
        raise TypeError("'isfatal' must be a callable.")
    if failover not in {"safe", "always", "never"}:
        raise ValueError("'failover' must be 'safe', 'always' or 'never'.")
    return SteadyOptions(
        maxusage, failures, isfatal, *parse_ping(ping), closeable, failover)


def _is_exception(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Exception)


def check_reset(reset: Any, *words: Any) -> None:
    """Check how connections are to be cleaned that come back to a pool."""
    if isinstance(reset, str) and reset not in words:
        allowed = ", ".join(map(repr, words))
        raise ValueError(
            "'reset' must be a truth value, a number, a callable, or one of"
            f" these: {allowed}.")


def as_statements(setsession: Any) -> tuple[Any, ...] | None:
    """Return the statements that prepare a session as a tuple."""
    if isinstance(setsession, str):
        raise TypeError(
            "'setsession' must be a sequence of SQL statements,"
            " not a single string.")
    return None if setsession is None else tuple(setsession)


# What is nearly always empty is there only once, and replaced, not changed.
_NOTHING: dict[str, Any] = {}

_AT_STATEMENTS = 4  # the moment of a ping

# In seconds, the time without which a question is not asked.
_LEAST = 0.25


class Session:
    """A driver connection that can be replaced, and its book-keeping."""

    __slots__ = (
        "__weakref__",
        "changes",
        "closed",
        "con",
        "descriptor",
        "dirty",
        "exposed",
        "handlers",
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
        "spoiled",
        "throttle",
        "transaction",
        "unanswered",
        "usage",
        "valid",
    )

    def __init__(self, options: SteadyOptions, setsession: Any) -> None:
        self.options = options
        # Whether a statement can be executed without more ado.
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
        # connection is known to be lost; the safe rules keep account.
        self.session_dirty = False
        self.lost = False
        # Attributes of the driver connection: whether some may have been
        # changed, how they were at the beginning, and what the program has
        # changed, which is done again with every new connection.
        self.settings_dirty = False
        self.settings = self.changes = _NOTHING
        # The calls of methods whose effect others undo.
        self.handlers: tuple[tuple[str, Any], ...] = ()
        # Whether comparing them is not enough to restore the session, and
        # whether the program has the driver connection itself, so that it is
        # never replaced silently, and whether nothing can restore it.
        self.dirty = self.exposed = self.spoiled = False
        # The socket, if it is known, and how many seconds a question of our
        # own may take, if that is less than usual.
        self.descriptor: int | None = None
        self.limit: float | None = None
        # How often in a row the question of the program has failed.
        self.unanswered = 0
        # The throttle of the pool, which spaces the attempts to connect to a
        # server that is away; None without a pool.
        self.throttle: Any = None
        register_for_fork(self, is_connection=True)

    def agree(self, **options: Any) -> None:
        """Go on with other terms, of which those are given that change."""
        if "maxusage" in options:
            options["maxusage"] = options["maxusage"] or 0
        self.options = agreed = self.options._replace(**options)
        self.is_simple = not (
            agreed.maxusage or agreed.ping & _AT_STATEMENTS)

    def limit_usage(self, maxusage: int) -> None:
        """Have another driver connection after so many uses, if any."""
        self.agree(maxusage=maxusage)

    def after_fork(self) -> None:
        """Leave the driver connection to the process that has opened it.

        The next use opens another one.  A transaction is lost, however, which
        the next use of the old connection tells.
        """
        if self.con is None or self.closed:
            return
        abandon_socket(self.con, self.profile.descriptor(self.con))
        self.closed = self.lost = self.inherited = True
        self.valid = self.session_dirty = False

    def store(self, con: Any) -> None:
        """Go on with a new driver connection.

        If the program had changed settings of the last one, also directly,
        then this one is changed in the same way.
        """
        if self.settings_dirty:
            self.note_changes()
        self.con = con
        self.descriptor = self.profile.descriptor(con)
        self.usage = 0
        self.transaction = False
        self.closed = self.is_in_doubt = self.inherited = False
        self.valid = True
        self.session_dirty = self.lost = False
        self.dirty = self.exposed = self.spoiled = False
        self.settings = self.first_settings() or _NOTHING
        if self.changes or self.handlers:
            self._change_again()

    def first_settings(self) -> dict[str, Any]:
        """Return the settings of a new driver connection."""
        return self.profile.first(self.con)

    def note_changes(self) -> None:
        """Note which settings are not as they were at the beginning.

        This asks nobody, and works with a connection that is lost.
        """
        changes = dict(self.changes)
        known = {**self.settings, **changes}
        for name in self._readable_settings():
            with quietly("reading a setting"):
                now = self.profile.read(self.con, name)
                if now != known[name]:
                    changes[name] = now
        self.changes = changes or _NOTHING

    def _readable_settings(self) -> list[str]:
        return [
            name for name in self.settings
            if name not in self.profile.unreadable]

    def _change_again(self) -> None:
        """Change a new driver connection as the last one was changed."""
        self.settings_dirty = True
        self.valid = False  # if this fails, the next use tries again
        for name, value in self.changes.items():
            self.dirty = self.dirty or self._is_lasting(name)
            self.profile.write(self.con, name, value)
        for name, args in self.handlers:
            getattr(self.con, name)(*args)
        self.valid = True

    def _is_lasting(self, name: str) -> bool:
        """Tell whether writing the old value of a setting is not enough."""
        return self.profile.is_coarse or name in self.profile.unreadable

    def needs_reset(self, mode: Any) -> bool:
        """Tell whether the server has to be asked to clean the connection.

        mode: in which it is cleaned
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
        """Change an attribute until the end of the visit."""
        profile = self.profile
        if name not in self.settings and name not in profile.unreadable:
            before = profile.read(self.con, name)
            self.settings = {**self.settings, name: before}
        self.settings_dirty = True  # also if this is interrupted
        self.dirty = self.dirty or self._is_lasting(name)
        profile.write(self.con, name, value)
        self.changes = {**self.changes, name: value}

    def call_setter(
            self, name: str, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> Any:
        """Call a method of the driver that changes the session.

        This holds until the end of the visit, as with an attribute.
        """
        target = self.profile.setters[name]
        self.settings_dirty = True  # also if this is interrupted
        self.spoiled = self.spoiled or target == SPOILS
        self.session_dirty = self.session_dirty or target in {MARKS, SPOILS}
        self.dirty = self.dirty or self._is_lasting(target)
        result = getattr(self.con, name)(*args, **kwargs)
        if target in self.profile.unreadable:
            value = next(iter((*args, *kwargs.values())))
            self.changes = {**self.changes, target: value}
        self.note_changes()
        return result

    def call_paired(
            self, name: str, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> Any:
        """Call a method of the driver, or the one that undoes its effect."""
        self.settings_dirty = True  # also if this is interrupted
        result = getattr(self.con, name)(*args, **kwargs)
        given = (*args, *kwargs.values())
        if name in self.profile.pairs:
            self.handlers = (*self.handlers, (name, given))
        else:
            _forget_handler(self, name, given)
        return result

    def restore_settings(self) -> None:
        """Change the attributes back to how they were at the beginning."""
        self.changes = _NOTHING
        profile = self.profile
        handlers, self.handlers = self.handlers, ()
        for name, args in handlers:
            getattr(self.con, profile.pairs[name])(*args)
        for name, value in self.settings.items():
            if not self._is_lasting(name) and (
                    profile.read(self.con, name) != value):
                profile.write(self.con, name, value)
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
        if name in self.settings:
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


def _forget_handler(session: Session, name: str, given: Any) -> None:
    """Forget the call whose effect was undone."""
    for number, (other, args) in enumerate(session.handlers):
        if session.profile.pairs[other] == name and args == given:
            session.handlers = (
                *session.handlers[:number], *session.handlers[number + 1:])
            return


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


class _Inner:
    """Shows an attribute of the inner side as one of the outside.

    What a subclass sets before there is an inner side has no effect.
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


def inner(name: str, side: str = "_session") -> Any:
    """Show an attribute of the inner side as one of the outside."""
    def write(inside: Any, value: Any) -> None:
        setattr(inside, name, value)

    return _Inner(side, attrgetter(name), write)


def inner_term(name: str, shown: str | None = None) -> Any:
    """Show what was agreed upon as an attribute of the outside.

    shown: the attribute of the inner side that tells what has become of it
    """
    def write(session: Session, value: Any) -> None:
        session.agree(**{name: value})

    return _Inner("_session", attrgetter(shown or f"options.{name}"), write)


# What becomes of the work of a thread that was not saved, and what to do.
_UNSAVED = "the end of a connection rolls back. Call commit()."


def note_taking(steady: Any) -> None:
    """Note where the program takes the connection of its thread.

    This is only done for the warnings of the development mode.
    """
    steady._taken = place_here()  # noqa: SLF001 - of this module


def session_of(steady: Any) -> Any:
    """Return the inner side of a steady connection."""
    return steady._session  # noqa: SLF001 - the one door from outside to inside


class Steady:
    """The outside of a steady connection."""

    __slots__ = ("__dict__", "__weakref__", "_session")

    version = __version__

    _session: Any
    # Where it was taken for the last time, if it is the one of a thread.
    _taken: Place | None = None

    def __new__(
            cls, *args: Any, **kwargs: Any,  # noqa: ARG004 - for __init__
    ) -> Any:
        """Return what is not opened yet."""
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
        """Whether the underlying connection is taken to be alive.

        When this is set to false, the next use outside of a transaction
        reconnects.
        """
        return self._session.valid and not self._session.closed

    @valid.setter
    def valid(self, value: bool) -> None:
        self._session.valid = bool(value)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, of the driver connection if that has it.

        The driver connection gets its old value back at the end of the
        visit, and if it is replaced before that, the next one gets the new.
        """
        session = self._session
        if (
                name.startswith("_") or session is None or hasattr(type(self),
                name) or not session.is_attribute(name)):
            super().__setattr__(name, value)
        else:
            session.change(name, value)

    def _close(self) -> None:
        """Close the connection, even if it is not closeable."""
        self._session.close()

    def close(self) -> None:
        """Close the connection.

        This can be done more than once.  If the connection was made with
        a false "closeable", then only an open transaction is ended.
        """
        session = self._session
        is_closeable = session.options.closeable
        if not (is_closeable or session.transaction or session.session_dirty
                or session.settings_dirty):
            return
        is_forgotten = self._taken is not None and forgets_work(session)
        if is_closeable:
            session.close()
        else:
            session.end_checkout()
        if is_forgotten:
            warn_of_work(_UNSAVED)

    def _close_dropped(self) -> None:
        """Close the connection that nobody holds any more.

        The end of a thread has nothing to do with an error that may be on its
        way where that is noticed.
        """
        session = self._session
        is_forgotten = self._taken is not None and (
            session.forgets_work() and not is_ending())
        session.close()
        if is_forgotten:
            warn_of_work(
                _UNSAVED, self._taken, "A thread has ended its connection")

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
        try:
            if self._session is not None:
                self._close_dropped()
        except AttributeError:
            pass  # it was not even begun to be made
        except BaseException as error:  # noqa: BLE001 - nobody is above
            # the driver closes its connection when that is dropped
            note_lost("closing a connection that was dropped", error)


_set_session = Steady._session.__set__  # noqa: SLF001 - of this module
