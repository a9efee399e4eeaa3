"""A session of a database with a DB-API 2 driver.

The failover policy decides when its driver connection is replaced, and what is
tried again then: that of DBUtils 3.x, or the safe one.
"""

from __future__ import annotations

from time import monotonic

from .._base.errors import log_swallowed
from .._base.fork import Orphan
from .._base.hints import Any, Callable, NamedTuple, partial, ref
from .._base.links import Links
from .deadlines import end_deadline, start_deadline
from .liveness import (
    ALL_MOMENTS,
    ASK_AT_CHECKOUT,
    AT_CHECKOUT,
    NO_CHECK,
    RECENT,
    checkout_check_of,
    note_ping,
    probe_of,
)
from .opener import Opener, end_if_possible
from .options import SteadyOptions
from .session import Session
from .settings import end_streams
from .state import IN_DOUBT, LOST, QUIET
from .statements import READ, Kind
from .terms import shared, term

__all__ = ["DbSession"]

class Checks(NamedTuple):
    """Facts about the checks of a session, which seldom change."""

    # The moments that were asked for.
    asked_ping: int
    # Whether a method of the program checks, or the program says how to ask.
    is_outside: bool = False
    has_pinger: bool = False
    # Whether the driver can ping, and whether a look is enough.
    can_ask: bool = False
    can_just_look: bool = False
    # Whether the data would be lost with the connection.
    is_in_memory: bool = False


class DbSession(Session):
    """A driver connection that can be replaced, and what is known of it."""

    __slots__ = (
        "answered", "can_be_gone", "checkout_check", "opener")

    checks: Checks = term("checks")
    # The moments of the checks; the present one is only noted for a method of
    # the program.
    ping: int = term("ping")
    moment = AT_CHECKOUT

    # In which order it is used if several share it, and the answers that the
    # program reads while they are sent.
    turns: Any = None
    streams: Links | None = None

    def __init__(self, opener: Opener, options: SteadyOptions) -> None:
        self.opener = opener
        self.checkout_check = NO_CHECK  # when it is handed out
        # Whether a look can tell that it is gone.
        self.can_be_gone = False
        # When the server was asked last that has answered, if it could.
        self.answered = 0.0
        super().__init__(options, Checks(
            options.ping, has_pinger=options.pinger is not None))
        if opener.route is not None:
            opener.route.session = ref(self)

    def save_memory(self, common: dict[str, Any]) -> None:
        """Share what is equal and seldom changed."""
        if self.opener.route is None:  # otherwise it has its own place
            self.opener = shared(common, "opener", self.opener)
        super().save_memory(common)

    def own_opener(self) -> Opener:
        """Return the opener as one that no other session has."""
        self.opener = self.opener.copy()
        return self.opener

    def agree(self, **options: Any) -> None:
        """Change the options that are given."""
        super().agree(**options)
        self.is_simple = self.is_simple and not self.checks.is_outside
        self.make_ready()
        if {"ping", "pinger"} & options.keys() and self.con is not None:
            self.ask_at(self.options.ping)
            self._prepare_checks()
        if "failures" in options:
            self.own_opener().failures = self.options.failures

    def make_ready(self) -> None:
        """Note whether there is nothing to do before a statement."""
        super().make_ready()
        self.checkout_check = checkout_check_of(self)
        is_asked = self.checkout_check is ASK_AT_CHECKOUT
        self.ask_ping = getattr(self.con, "ping", None) if is_asked else None

    def ask_at(self, moments: int) -> None:
        """Check at these moments; a replaced method knows its own."""
        self.note_facts(asked_ping=moments)
        self.ping = ALL_MOMENTS if self.checks.is_outside else moments
        self.make_ready()

    def note_facts(self, **facts: Any) -> None:
        """Note what is known of the checks now."""
        checks = self.checks._replace(**facts)
        if checks != self.checks:  # which others may share
            self.checks = checks

    @property
    def route(self) -> Any:
        """The way to one of several servers, None if there is but one."""
        return self.opener.route

    @property
    def is_in_memory(self) -> bool:
        """Whether the data would be lost with the connection."""
        return self.checks.is_in_memory

    def check_outside(self) -> None:
        """Leave the checks and their moments to a method of the program."""
        self.note_facts(is_outside=True)
        self.agree(ping=self.options.ping)

    def after_fork(self) -> None:
        """Leave the driver connection to the process that has opened it."""
        if self.con is not None and not self.closed:
            super().after_fork()
            self.put(Orphan(self.opener.failure))
            self._probe = None

    # Opening and closing.

    def store(self, con: Any) -> None:
        """Go on with a new driver connection."""
        self.driver = self.opener.driver
        super().store(con)
        self.work = False
        self.note_facts(
            is_in_memory=self.driver.is_private(con),
            can_ask=hasattr(con, "ping"))
        self.ask_status = self.driver.status_of(con)
        self.answered = 0.0
        self._prepare_checks()

    def first_settings(self) -> dict[str, Any]:
        """Return the settings of a new driver connection."""
        return self.opener.first_settings(self.con)

    def _prepare_checks(self) -> None:
        """Find out how to check the driver connection."""
        known = self.checks
        has_pinger = known.is_outside or self.options.pinger is not None
        looks = bool(known.asked_ping)
        self.look_through(probe_of(self.descriptor) if looks else None)
        self.can_be_gone = bool(self._probe) or (
            looks and self.driver.tells_closed)
        can_just_look = not (known.can_ask or has_pinger) and (
            self.driver.is_telling and self.options.failover != "always")
        self.note_facts(has_pinger=has_pinger, can_just_look=can_just_look)
        self.make_ready()

    def position(self) -> str | None:
        """Ask the server how far it has come; None if it does not tell.

        No transaction begins with that.
        """
        def ask() -> str | None:
            driver, con = self.driver, self.con
            was_open = driver.in_transaction(con)
            position: str | None = driver.position(con)
            if was_open is False and driver.in_transaction(con):
                con.rollback()
            return position

        position: str | None = self.failover.alter(self, ask)
        return position

    def open_again(self, reason: str | None = None) -> Any:
        """Return another driver connection; see connect()."""
        return self.connect(self.own_opener().open, reason)

    def failure(self, text: str) -> Exception:
        error: Exception = self.own_opener().failure(text)
        return error

    def reconnect(self) -> None:
        """Close the driver connection, then go on with a new one.

        If none can be opened, the error is raised; the next use tries again.
        """
        reason = self.why_replaced()
        if not reason:
            self.note_loss()
        self.close()
        self.enter(LOST)
        self.store(self.open_again(reason or self.why_replaced()))

    def invalidate(self) -> None:
        """Close a driver connection that is lost; the next use opens one."""
        self.note_loss()
        self.close()
        self.enter(LOST)
        self.is_marked = self.work = False
        if self.route is not None:
            self.route.note_loss()

    def distrust(self, error: BaseException) -> None:
        """Doubt the connection if an error is none of the driver.

        An interrupt may have left an answer unread, which the next statement
        would take for its own.
        """
        if self.state < LOST and not (
                self.driver.is_embedded
                or self.opener.is_error_of_driver(error, self.con)):
            self.enter(IN_DOUBT)

    # Facts that would be lost with the driver connection.

    def has_work(self) -> bool:
        """Return whether there may be work that is not committed."""
        if self.work is None:
            self.work = self.driver.in_transaction(self.con)
            if self.work is None:  # if the program has closed it, it knew
                self.work = not self.driver.is_closed(self.con)
        return self.work

    def forgets_work(self) -> bool:
        """Return whether a rollback undoes what a program has done."""
        if self.closed or self.state >= LOST or (
                self.work is False or not self.has_work()):
            return False
        answer = self.driver.in_transaction(self.con)
        if answer is None:
            return self.transaction or not self.driver.autocommit(self.con)
        return answer

    def note_direct_use(self) -> None:
        """Note that the program can use the driver connection directly."""
        if self.work is False:
            self.work = None
        if self.settings.original:
            self.note_changes()

    def hand_out(self) -> Any:
        """Return the driver connection; the program can do anything to it."""
        self.note_direct_use()
        if self.driver.is_known and not self.driver.is_embedded:
            self.note_changes()
            self.is_exposed = True
            self.own_settings().needs_server = True
        return self.con

    def is_bound(self) -> bool:
        """Return whether the session is never to be replaced silently.

        A program with the driver connection itself knows if that is closed.
        """
        if self.is_exposed and self.driver.is_closed(self.con):
            self.cover()
        return self.is_marked or self.is_exposed

    def alter(self, act: Callable[[], Any], kind: Kind = READ) -> Any:
        """Change a setting, of a new connection if necessary.

        kind: the kind of a statement with the same further effects
        """
        try:
            return self.failover.alter(self, act, kind)
        finally:
            if self.work:  # it may have been committed
                self.work = None

    def change(self, name: str, value: Any) -> None:
        """Change an attribute until the end of the lease."""
        self.alter(partial(super().change, name, value))

    # Whether the driver connection is alive; see liveness.

    def is_quiet(self) -> bool:
        """Return whether a look shows nothing that only asking explains."""
        return not self.can_be_gone or (
            self.socket_state() in {None, QUIET}
            and not self.driver.is_closed(self.con))

    def check(self, moment: int, reconnect: bool = True) -> Any:
        """Return whether the connection is alive, if "ping" says to check it.

        Return None if it is not checked now, or if the answer is unknown.
        With reconnect, a dead connection is replaced if that is possible and
        loses nothing.
        """
        if not moment & self.ping:
            return None
        if self.checks.is_outside:
            self.moment = moment
        return self.failover.check(self, reconnect)

    def is_well(self, reconnect: bool, may_ask: bool = True) -> bool:
        """Return whether nothing is known to be wrong with the connection.

        With reconnect, a dead connection is replaced; if that is impossible,
        the next use tries again.  If the server has to be asked, but may not
        be asked, the answer is no.  This inlines check(AT_CHECKOUT).
        """
        if self.state:  # it is not OPEN
            return self._check_now(reconnect)
        if self.answered and monotonic() - self.answered < RECENT and not (
                self.checks.has_pinger) and (reconnect or self.is_quiet()):
            return True  # there is another look before the first statement
        checks = self.checks
        if checks.can_just_look:
            return self.is_quiet() or (
                may_ask and self._check_now(reconnect))
        if not checks.can_ask or checks.has_pinger or not may_ask or (
                self.descriptor is not None):
            is_known = may_ask or not (checks.can_ask or checks.has_pinger)
            return is_known and self._check_now(reconnect)
        try:  # as ask_driver() does, in the usual case
            alive = self.con.ping(False)
            note_ping(self)
        except (AttributeError, IndexError, TypeError, ValueError):
            return self._check_now(reconnect)
        except Exception:  # noqa: BLE001 - any error means not alive
            alive = False
        return alive is None or bool(alive) or (
            self._check_now(reconnect, is_dead=True))

    def _check_now(self, reconnect: bool, is_dead: bool = False) -> bool:
        is_alive = self.failover.check(self, reconnect, is_dead)
        return is_alive is not False or reconnect

    # Transactions, and the end of a lease.

    def end(self, verb: str) -> None:
        """Commit or roll back.

        This is not repeated: an error says that the outcome is unknown.
        """
        self.transaction = False
        self.failover.end(self, verb)

    def end_question(self) -> None:
        """End the transaction that a question may have begun."""
        if self.driver.in_transaction(self.con) is not False:
            end_if_possible(self.con, "rollback")

    def clean(self, force: object = False) -> None:
        """Roll back what is or, if forced, what may be in a transaction."""
        if self.closed or not (force or self.transaction):
            return
        self.transaction = False
        if self.driver.has_transactions:
            try:  # instead of "with quietly", since this is done so often
                self.end("rollback")
            except Exception as error:  # noqa: BLE001 - nothing is changed
                log_swallowed("rolling back", error)

    def add_stream(self, stream: Any) -> None:
        """Note what has to be closed at the end of the lease."""
        if self.streams is None:
            self.streams = Links()
        self.streams.add(stream)
        self.note_changes()

    def end_checkout(self) -> None:
        """Reset the session for a program that goes on to hold it."""
        is_dirty = (
            self.transaction or self.is_marked or self.settings_changed
            or (self.leave is not None and self.has_failed()))
        if is_dirty and not self._reset(reset=False):
            self.invalidate()

    def needs_reset(self, mode: Any) -> bool:
        """Return whether the server has to be asked to reset the session."""
        if self.driver.is_embedded:  # there is none
            return False
        if mode is not True or self.options.failover == "always":
            return super().needs_reset(mode)
        return super().needs_reset(False) or (
            self.driver.in_transaction(self.con) is not False)

    def reset_session(self, reset: Any) -> bool:
        """Reset the session after a lease; return whether it can stay."""
        if self.is_unbounded() and self.needs_reset(reset):
            return False
        start_deadline(self, self.descriptor, None)
        try:
            return self._reset(reset)
        finally:
            end_deadline(self)

    def _reset(self, reset: Any) -> bool:
        if self.streams:
            end_streams(self)
        return bool(self.failover.reset_session(self, reset))
