"""The line to a database through a DB-API 2 driver.

It holds the driver connection with all that is known about it, and can
replace it.  When it does so, and what is tried again then, is the business
of its rules: those of DBUtils 3.x, or the safe ones.
"""

from __future__ import annotations

import os
from functools import partial
from math import ceil
from time import monotonic
from typing import Any, Callable
from weakref import WeakSet

from .._base.errors import log_swallowed, quietly
from .._base.fork import Orphan
from .._base.opening import time_limit
from .._base.threads import is_ending
from .._drivers.creators import (
    connect_of,
    driver_module,
    failures_of,
    is_unsupported,
    module_of_connection,
    module_of_creator,
)
from .._drivers.driver import MARKS, SPOILS, profile_in, profile_of
from .cursor import Call
from .deadlines import end_deadline, start_deadline
from .driver_methods import EXECUTING, plain
from .mistakes import check_creator, explain_options
from .session import Session
from .sockets import (
    GONE,
    QUIET,
    MovingSocketProbe,
    SocketProbe,
    SocketState,
    probe_of,
)
from .statements import READ, UNKNOWN_WORK, Kind
from .turns import SharedUse

__all__ = ["DbSession"]


_ALWAYS = 7  # all moments of a ping

# Methods of connections that send statements.
_SENDING = EXECUTING | {"from_query", "query", "sql"}

# In seconds, how long it is enough to look at the socket of a connection on
# which the server has answered, instead of asking again.
_RECENT = 0.5


class _Opener(Session):
    """Knows how driver connections are opened."""

    __slots__ = (
        "args", "creator", "dbapi", "failures", "kwargs", "maker",
        "threadsafety")

    def __init__(
            self, creator: Any, setsession: Any, options: Any,
            args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__(options, setsession)
        check_creator(creator)
        self.creator = connect_of(creator)
        self.args = args
        self.kwargs = kwargs
        self.dbapi = module_of_creator(creator)
        self.threadsafety = getattr(
            creator, "threadsafety", getattr(self.dbapi, "threadsafety", None))
        self.failures = options.failures
        # What opens connections instead, if a subclass does that.
        self.maker: Any = None

    def save_memory(self, common: dict[str, Any]) -> None:
        """Have in common with others what is equal and never changed.

        common: what they have; empty if this is the first one
        """
        for name in ("args", "failures", "kwargs", "options"):
            value = getattr(self, name)
            known = common.setdefault(name, value)
            if known == value:
                setattr(self, name, known)

    def open(self) -> Any:
        """Return a new driver connection, as a subclass makes it."""
        maker = None if self.maker is None else self.maker()
        return self.make() if maker is None else maker()

    def make(self) -> Any:
        """Return a new driver connection with a prepared session."""
        limits = self._limits()
        con = self._connect(limits)
        try:
            self._learn_from(con)
            if limits:
                self.profile.connected(con)
            self.prepare(con)
        except BaseException:
            with quietly("closing a connection that could not be prepared"):
                con.close()
            raise
        return con

    def _connect(self, limits: dict[str, Any]) -> Any:
        """Return a new driver connection.

        limits: further options for the driver
        """
        try:
            return self.creator(*self.args, **self.kwargs, **limits)
        except Exception as error:
            explain_options(error, self.kwargs)
            raise

    def _limits(self) -> dict[str, Any]:
        """Return the options that limit the time for connecting, if any.

        A limit of the program stays, wherever it may have put it.
        """
        limit, module = time_limit(), self.dbapi
        option = profile_in(module).connect_timeout
        if limit is None or option is None or len(self.args) > 1 or (
                self.creator != getattr(module, "connect", None)):
            return {}
        given = (*self.kwargs, *self.args, *self.kwargs.values())
        if any(option in text for text in given if isinstance(text, str)):
            return {}
        return {} if f"PG{option.upper()}" in os.environ else {
            option: ceil(limit)}

    def open_again(self) -> Any:
        """Return another driver connection."""
        return self.connect(self.open)

    def _learn_from(self, con: Any) -> None:
        """Find out what the creator did not tell."""
        if self.dbapi is None:
            self.dbapi = module_of_connection(con)
        self.profile = profile_of(
            con, driver_module(self.dbapi, con, self.failures))
        if self.dbapi is None:
            self.dbapi = module_of_connection(self.profile.inside(con))
        if self.threadsafety is None:
            self.threadsafety = getattr(
                self.dbapi, "threadsafety",
                getattr(con, "threadsafety", None))
        if self.failures is None:
            self.failures = failures_of(self.dbapi, self.creator, con)

    @property
    def failure(self) -> Any:
        """The exception class that reports a failure of our own."""
        failures = self.failures
        return failures[0] if isinstance(failures, tuple) else failures

    @property
    def is_plain(self) -> bool:
        """Whether a new session is as the driver and setsession make it.

        A function of the program can prepare it in ways of its own.
        """
        return bool(self.creator == getattr(self.dbapi, "connect", None))

    @property
    def can_prepare_alone(self) -> bool:
        """Whether setsession is all that a new session needs.

        Nothing else is prepared by a driver, or by a creator that says so.
        """
        return self.is_plain or bool(
            getattr(self.creator, "is_plain", False))

    def first_settings(self) -> dict[str, Any]:
        """Return the settings of a new driver connection."""
        settings = super().first_settings()
        if self.is_plain and "database" in self.profile.unreadable:
            for name in ("database", "db"):
                if self.kwargs.get(name):
                    settings.setdefault("database", self.kwargs[name])
        return settings

    def prepare(self, con: Any) -> None:
        """Prepare the session of a driver connection.

        A rollback would undo that if it were not committed.
        """
        if not self.setsession:
            return
        cursor = con.cursor()
        for sql in self.setsession:
            cursor.execute(sql)
        cursor.close()
        profile = self.profile
        if profile.is_telling and profile.in_transaction(con) is not False:
            _end_if_possible(con, "commit")


def _end_if_possible(con: Any, verb: str) -> None:
    """Commit or roll back, unless the driver has no transactions."""
    try:
        getattr(con, verb)()
    except Exception as error:
        if not is_unsupported(error):
            raise
        log_swallowed("ending a transaction", error)


class _Session(_Opener):
    """Knows what the program has done to a session, and undoes it."""

    __slots__ = ("failover", "is_in_memory", "work")

    def __init__(
            self, creator: Any, setsession: Any, options: Any,
            args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__(creator, setsession, options, args, kwargs)
        self.failover: Any = None
        # Whether work has been done that is not committed; None means that
        # the driver has to be asked.
        self.work: bool | None = False
        # Whether the data would be lost with the connection.
        self.is_in_memory = False

    def has_work(self) -> bool:
        """Tell whether work may have been done that is not committed."""
        if self.work is None:
            self.work = self._ask_for_work()
        return self.work

    def _ask_for_work(self) -> bool:
        """Ask the driver; who has closed it behind our back knew of none."""
        answer = self.profile.in_transaction(self.con)
        if answer is None:
            return not self.profile.is_closed(self.con)
        return answer

    def forgets_work(self) -> bool:
        """Return whether a rollback undoes what a program has done."""
        if self.closed or self.lost or (
                self.work is False or not self.has_work()):
            return False
        answer = self.profile.in_transaction(self.con)
        if answer is None:
            answer = self.transaction or not self.profile.autocommit(self.con)
        return answer

    def note_direct_use(self) -> None:
        """Note that the program can use the driver connection directly."""
        if self.work is False:
            self.work = None
        self.settings_dirty = self.settings_dirty or bool(
            self.settings.original)

    def hand_out(self) -> Any:
        """Return the driver connection, as the program can do all with it."""
        self.note_direct_use()
        if self.profile.is_known and not self.profile.is_embedded:
            self.settings_dirty = self.exposed = True
            self.settings.needs_server = True
        return self.con

    def is_bound(self) -> bool:
        """Tell whether the session is never to be replaced silently.

        A program that has the driver connection itself knows that it is
        closed if the driver does: it has closed it, or got the error.
        """
        if self.exposed and self.profile.is_closed(self.con):
            self.exposed = False
        return self.session_dirty or self.exposed

    def alter(self, act: Callable[[], Any], kind: Kind = READ) -> Any:
        """Change a setting, of a new connection if need be.

        kind: what else this may do
        """
        try:
            return self.failover.alter(self, act, kind)
        finally:
            if self.work:  # it may have been committed
                self.work = None

    def change(self, name: str, value: Any) -> None:
        """Change an attribute until the end of the visit."""
        self.alter(partial(super().change, name, value))

    def is_method(self, name: str) -> bool:
        """Return whether the driver connection has a method of that name.

        Some settings can be called, too, and so can exception classes.
        """
        profile = self.profile
        if name not in profile.setters and (
                name in self.settings.original or name in profile.unreadable):
            return False
        value = getattr(self.con, name, None)
        return callable(value) and not isinstance(value, type)

    def opens_cursor(self, name: str) -> bool:
        """Return whether a method executes a statement with a new cursor."""
        return name in EXECUTING and not self.profile.is_own_cursor

    def call(
            self, name: str, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> Any:
        """Call a method of the driver connection.

        It is not called again on another one, since nobody knows what it may
        have done already, unless it changes a setting or only asks.
        """
        profile = self.profile
        args = tuple(map(plain, args))
        if name in profile.questions:
            return getattr(self.con, name)(*args, **kwargs)
        if name in profile.setters:
            return self.alter(partial(self._call_setter, name, args, kwargs))
        if name in profile.pairs or name in profile.pairs.values():
            return self.alter(partial(self._call_paired, name, args, kwargs))
        return self.alter(
            partial(self._call_freely, name, args, kwargs), UNKNOWN_WORK)

    def _call_setter(
            self, name: str, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> Any:
        """Call a method that changes the session until the lease ends."""
        self.settings_dirty = True  # also if this is interrupted
        self.session_dirty = self.session_dirty or (
            self.profile.setters[name] in {MARKS, SPOILS})
        return self.settings.call_setter(self.con, name, args, kwargs)

    def _call_paired(
            self, name: str, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> Any:
        """Call a method whose effect another one undoes, or that one."""
        self.settings_dirty = True  # also if this is interrupted
        return self.settings.call_paired(self.con, name, args, kwargs)

    def _call_freely(
            self, name: str, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> Any:
        """Call a method with which the program can do all."""
        if name in _SENDING and Call(name, args, kwargs).kind().marks:
            self.session_dirty = self.settings_dirty = True
        return getattr(self.hand_out(), name)(*args, **kwargs)

    def restore(self, reconnect: bool) -> bool:
        """Undo all changes of the session; tell whether that is possible.

        renew: whether there has to be a new session

        What only the creator can prepare is kept as far as possible.
        """
        settings, profile = self.settings, self.profile
        if settings.is_spoiled or (
                self.session_dirty and not self.can_prepare_alone):
            return False
        if self.settings_dirty:
            self.restore_settings()
        if reconnect or (
                settings.needs_server and self.is_plain
                and profile.can_clean):
            is_clean = self.is_in_memory or profile.clean(
                self.con, settings.original)
        elif settings.needs_server:
            is_clean = profile.restore(self.con, settings.original)
        else:
            return True
        if is_clean and not self.is_in_memory:
            self.prepare(self.con)
            self.session_dirty = settings.needs_server = False
        return is_clean


class DbSession(_Session):
    """A driver connection that can be replaced, and its book-keeping."""

    __slots__ = (
        "_is_checked_outside", "_probe", "answered", "asked_ping", "can_ask",
        "can_be_gone", "can_just_look", "has_pinger", "moment", "ping",
        "streams", "turns")

    def __init__(
            self, creator: Any, setsession: Any, options: Any,
            args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # Whether the program has replaced the method that looks.
        self._is_checked_outside = False
        super().__init__(creator, setsession, options, args, kwargs)
        # The moments at which we look, and those at which it was asked for;
        # and the moment that it is now, for a method that was replaced.
        self.ping = self.asked_ping = options.ping
        self.moment = 1
        # Whether the program says how to ask, or has its own checks.
        self.has_pinger = options.pinger is not None
        self._probe: SocketProbe | MovingSocketProbe | None = None
        # Whether a look can tell that the connection is gone.
        self.can_be_gone = False
        # When the server has answered at the end of the last visit.
        self.answered = 0.0
        # Whether the driver can ping, and whether nobody has to be asked.
        self.can_ask = self.can_just_look = False
        # In which order it is used if several share it.
        self.turns: SharedUse | None = None
        # Answers that the program reads while they are sent.
        self.streams: WeakSet[Any] | None = None

    def agree(self, **options: Any) -> None:
        """Go on with other terms, of which those are given that change."""
        super().agree(**options)
        self.is_simple = self.is_simple and not self._is_checked_outside
        if {"ping", "pinger"} & options.keys() and self.con is not None:
            self.ask_at(self.options.ping)
            self._look_anew()
        if "failures" in options:
            self.failures = self.options.failures

    def ask_at(self, moments: int) -> None:
        """Look at these moments; a method that was replaced knows itself."""
        self.asked_ping = moments
        self.ping = _ALWAYS if self._is_checked_outside else moments

    def check_outside(self) -> None:
        """Let a method of the program look, and decide when."""
        self._is_checked_outside = True
        self.is_simple = False
        self.ask_at(self.asked_ping)
        self._look_anew()

    def after_fork(self) -> None:
        """Leave the driver connection to the process that has opened it."""
        if self.con is not None and not self.closed:
            super().after_fork()
            self.con = Orphan(self.failure)
            self._probe = None

    def store(self, con: Any) -> None:
        """Go on with a new driver connection."""
        super().store(con)
        self.work = False
        self.is_in_memory = self.profile.is_private(con)
        self.answered = 0.0
        self.can_ask = hasattr(con, "ping")
        self._look_anew()

    def _look_anew(self) -> None:
        """Find out how to look at the driver connection."""
        self.has_pinger = (
            self._is_checked_outside or self.options.pinger is not None)
        looks = bool(self.asked_ping)
        self._probe = probe_of(self.descriptor) if looks else None
        if self._probe is not None and self.profile.moves:
            self._probe = MovingSocketProbe(self)
        self.can_be_gone = bool(self._probe) or (
            looks and self.profile.tells_closed)
        self.can_just_look = not (self.can_ask or self.has_pinger) and (
            self.profile.is_telling and self.options.failover != "always")

    def replace(self, con: Any) -> None:
        """Close the driver connection and go on with another one."""
        self.close()
        self.store(con)

    def reopen(self) -> bool:
        """Try to replace the driver connection; tell whether that worked."""
        con = None
        with quietly("opening a connection again"):
            con = self.open_again()
        if con is None:
            return False
        self.replace(con)
        return True

    def reconnect(self) -> None:
        """Close the driver connection, then go on with a new one.

        If no other can be opened, the error is raised, and the next use of
        the line tries again.
        """
        self.close()
        self.lost = True
        self.valid = False
        self.store(self.open_again())

    def distrust(self, error: BaseException) -> None:
        """Do not keep the connection if an error is none of the driver.

        An interrupt may have left an answer unread, which the next statement
        would take for its own.
        """
        if not (self._is_of_driver(error) or self.profile.is_embedded):
            self.valid = False
            self.is_in_doubt = True

    def _is_of_driver(self, error: BaseException) -> bool:
        """Tell whether an error is one of the driver, or of what it wraps."""
        if isinstance(error, getattr(self.dbapi, "Error", Exception)):
            return True
        inner = self.profile.inside(self.con)
        return inner is not self.con and isinstance(
            error, getattr(module_of_connection(inner), "Error", ()))

    def invalidate(self) -> None:
        """Close a driver connection that is lost; the next use opens one."""
        self.close()
        self.lost = True
        self.valid = self.session_dirty = self.work = False

    # Looking at the connection without asking the server.

    def socket_state(self) -> SocketState | None:
        """Return what is to be seen on the socket, if there is one."""
        return None if self._probe is None else self._probe.look()

    def is_gone(self) -> bool:
        """Tell whether the connection is closed, on this or the other side."""
        if self.profile.is_closed(self.con):
            return True
        return self._probe is not None and self._probe.look() is GONE

    def end_question(self) -> None:
        """End the transaction that a question may have begun."""
        if self.profile.in_transaction(self.con) is not False:
            _end_if_possible(self.con, "rollback")

    def end_reading(self) -> None:
        """End a transaction in which nothing was written."""
        if self.transaction or self.lost or self.has_work():
            return
        if self.profile.in_transaction(self.con) is not False:
            with quietly("ending a transaction that only reads"):
                self.end("rollback")

    def add_stream(self, stream: Any) -> None:
        """Note what has to be ended at the end of the visit."""
        if self.streams is None:
            self.streams = WeakSet()
        self.streams.add(stream)
        self.settings_dirty = True

    # What the rules decide.

    def check(self, moment: int, reconnect: bool = True) -> bool | None:
        """Tell whether the connection is alive, None if that is unknown.

        A dead one is replaced if that is wanted and possible, and nothing
        would be torn apart.
        """
        if not moment & self.ping:
            return None
        self.moment = moment
        return self.failover.check(self, reconnect)

    def is_well(self, reconnect: bool, may_ask: bool = True) -> bool:
        """Tell whether nothing is known to be wrong with the connection.

        A dead one is replaced if that is wanted; if that is impossible, the
        next use tries again.  If the server may not be asked, although it
        has to be, the answer is no.
        """
        if not self.valid:
            return self._is_well_now(reconnect)
        if self.answered and monotonic() - self.answered < _RECENT and not (
                self.has_pinger) and (reconnect or self.is_quiet()):
            return True  # there is another look before the first statement
        if self.can_just_look:
            return self.is_quiet() or (
                may_ask and self._is_well_now(reconnect))
        if not self.can_ask or self.has_pinger or not may_ask or (
                self.descriptor is not None):
            is_known = may_ask or not (self.can_ask or self.has_pinger)
            return is_known and self._is_well_now(reconnect)
        try:  # as driver_ping() does, in the usual case
            alive = self.con.ping(False)
        except (AttributeError, IndexError, TypeError, ValueError):
            return self._is_well_now(reconnect)
        except Exception:  # noqa: BLE001 - any error means not alive
            alive = False
        return alive is None or bool(alive) or (
            self._is_well_now(reconnect, is_dead=True))

    def _is_well_now(self, reconnect: bool, is_dead: bool = False) -> bool:
        alive = self.failover.check(self, reconnect, is_dead)
        return alive is not False or reconnect

    def is_quiet(self) -> bool:
        """Tell whether nothing is to be seen, without asking the server."""
        return not self.can_be_gone or (
            self.socket_state() in {None, QUIET}
            and not self.profile.is_closed(self.con))

    def cursor(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return a new driver cursor, of a new connection if need be."""
        return self.failover.cursor(self, args, kwargs)

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Begin a transaction."""
        self.failover.begin(self, args, kwargs)

    def call_begin(
            self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Call the method of the driver that begins one, if it has it."""
        begin = getattr(self.con, "begin", None)
        if begin is not None:
            begin(*args, **kwargs)

    def end(self, verb: str) -> None:
        """Commit or roll back.

        This is not repeated: an error says that the outcome is unknown.
        """
        self.transaction = False
        self.failover.end(self, verb)

    def clean(self, force: bool = False) -> None:
        """Roll back what is or, if forced, what may be in a transaction."""
        if not self.closed and (force or self.transaction) and (
                self.profile.has_transactions):
            try:  # instead of "with quietly", since this is done so often
                self.end("rollback")
            except Exception as error:  # noqa: BLE001 - nothing is changed
                log_swallowed("rolling back", error)

    def end_checkout(self) -> None:
        """Clean the connection of a program that goes on to hold it."""
        is_dirty = (
            self.transaction or self.session_dirty or self.settings_dirty)
        if is_dirty and not self._hand_back(reset=False):
            self.invalidate()

    def needs_reset(self, mode: Any) -> bool:
        """Tell whether the server has to be asked to clean the connection."""
        if self.profile.is_embedded:  # there is none
            return False
        if mode is not True or self.options.failover == "always":
            return super().needs_reset(mode)
        return super().needs_reset(False) or (
            self.profile.in_transaction(self.con) is not False)

    def reset_session(self, reset: Any) -> bool:
        """Clean the connection after a visit; tell whether it can stay."""
        if self.descriptor is None:
            if self.is_unbounded() and self.needs_reset(reset):
                return False
            return self._hand_back(reset)
        start_deadline(self, self.descriptor, None)
        try:
            return self._hand_back(reset)
        finally:
            end_deadline(self)

    def is_unbounded(self) -> bool:
        """Return whether a question could keep the program from ending.

        While the interpreter ends, only the socket could end a question.
        """
        return is_ending() and (
            self.descriptor is None and not self.profile.is_embedded)

    def _hand_back(self, reset: Any) -> bool:
        if self.streams:
            _end_streams(self)
        return self.failover.reset_session(self, reset)


def _end_streams(session: DbSession) -> None:
    """End the answers that were not read to their ends."""
    streams, session.streams = session.streams, None
    for stream in list(streams or ()):
        with quietly("ending a stream"):
            plain(stream).close()
