"""A session: a driver connection that can be replaced, and its state.

The other modules work with the session.  The user holds the outside, which is
in steady.py.
"""

from __future__ import annotations

from .._base.errors import quietly
from .._base.fork import abandon_socket, register_for_fork
from .._base.hints import Any, Callable
from .._base.threads import is_ending
from .deadlines import end_deadline, load_sockets, watchdog
from .liveness import (
    AT_CURSOR,
    AT_STATEMENT,
    is_alive,
)
from .options import SteadyOptions
from .settings import Settings
from .state import GONE, IN_DOUBT, INHERITED, LOST, OPEN, SUSPECT, state_text
from .terms import Terms, shared, term

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from .._drivers.driver import DriverFacts
    from .sockets import MovingSocketProbe, SocketProbe

__all__ = ["Session", "stay_away"]


def stay_away(session: Session) -> bool:  # noqa: ARG001 - as for others
    """Return that a session needs more than a quick reset."""
    return False


class Session:
    """A driver connection that can be replaced, and what is known of it."""

    __slots__ = (
        "__dict__", "__weakref__", "_probe", "ask_number", "ask_ping",
        "ask_status", "call", "closed", "con", "descriptor", "is_closeable",
        "is_doubted", "is_marked", "is_retired", "leave", "limit", "looked",
        "number", "poll", "ready", "settings", "settings_changed", "state",
        "taken_back", "terms", "transaction", "usage", "work")

    # The socket, and its deadline with it during a rollback after a lease (or
    # None for that of the watchdog), which the watchdog reads.
    descriptor: int | None
    call: tuple[float | None, int] | None
    limit: float | None
    _probe: SocketProbe | MovingSocketProbe | None
    # The checkout that the pool has ended, since it had lasted too long, and
    # the text of errors that says so; the session is not used again.
    taken_back: tuple[Any, str] | None

    options: SteadyOptions = term("options")
    driver: DriverFacts = term("driver")
    # The failover policy decides when the connection is replaced.
    failover: Any = term("failover")
    # The knowledge of the pool, if there is one, about the server.
    throttle: Any = term("throttle")
    # Whether nothing has to be checked before a statement.
    is_simple: bool = term("is_simple")

    # Rare facts are no fields of each session, if other threads do not set
    # them.  How often in a row the question of the program has failed.
    unanswered = 0
    # The time in statements, if that is measured.
    busy: Any = None
    # Whether the program has the driver connection itself, so that it is never
    # replaced silently.
    is_exposed = False

    def __init__(self, options: SteadyOptions, checks: Any = None) -> None:
        """Set up a session.

        checks: facts about its checks, which seldom change
        """
        self.terms = Terms(options, checks)
        # The end of a clean checkout in a pool: a function of the session that
        # returns whether that was all, or None for the driver's rollback().
        self.leave: Any = None
        # The driver connection if a look is all that comes before a statement,
        # and its ping() if that is all that comes before a checkout.
        self.ready: Any = None
        self.ask_ping: Any = None
        self.con: Any = None
        self.state, self.closed = OPEN, True
        # Whether the server is no longer the one that is wanted; whether the
        # pool was drained, and does not want it back.
        self.is_doubted = self.is_retired = False
        # Whether close() of the steady connection closes it.
        self.is_closeable = options.closeable
        self.limit_usage(options.maxusage)
        # How often it was used, and how often at the last look at the socket
        # when it was handed out: the next statement needs no other look.
        self.usage, self.looked = 0, -1
        # Whether begin() has begun a transaction, and whether there is work
        # that is not saved; None means that the driver has to be asked.
        self.transaction = False
        self.work: bool | None = False
        # Whether statements have changed the session on the server.
        self.is_marked = False
        self.settings = Settings()
        self.settings_changed = False
        # The socket, if it is known, and the seconds that a question of the
        # library may take, if that is less than usual.
        self.descriptor = self.call = self.limit = None
        self._probe = self.taken_back = None
        self.forget_questions()
        # The number of the connection in its pool.
        self.number = 0
        register_for_fork(self, is_connection=True)

    def join(self, common: dict[str, Any]) -> None:
        """Share what is equal with the other sessions of a pool."""
        self.own_terms().common = common
        self.save_memory(common)

    def save_memory(self, common: dict[str, Any]) -> None:
        """Share what is equal and seldom changed."""
        if self.settings.is_plain:
            self.settings = shared(common, "settings", self.settings)
            self.settings.is_shared = True
        self.terms = shared(common, "terms", self.terms)
        self.terms.is_shared = True

    def own_terms(self) -> Terms:
        """Return the terms as an object that no other session has."""
        if self.terms.is_shared:
            self.terms = self.terms.copy()
        return self.terms

    def agree(self, **options: Any) -> None:
        """Change the options that are given."""
        if "maxusage" in options:
            options["maxusage"] = options["maxusage"] or 0
        self.options = agreed = self.options._replace(**options)
        self.is_simple = not (
            agreed.maxusage or agreed.ping & AT_STATEMENT)
        self.is_closeable = agreed.closeable

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
        abandon_socket(self.con, self.driver.descriptor(self.con))
        if self.route is not None:
            self.route.vacate()
        self.closed = True
        self.enter(INHERITED)
        self.is_marked = False

    def store(self, con: Any) -> None:
        """Go on with a new driver connection.

        It gets the settings that the program had changed on the last one,
        also those that were changed directly.
        """
        if self.settings_changed:
            self.own_settings().note_changes(self.con)
        self.put(con)
        self.descriptor = self.driver.descriptor(con)
        if self.descriptor is not None:
            load_sockets()  # while that is possible
            watchdog.watch(self)
        self.usage, self.looked = 0, -1
        self.transaction = False
        self.closed = self.is_marked = False
        self.cover()
        self.enter(OPEN)
        settings = self.own_settings()
        if settings.start(self.driver, self.first_settings()):
            self.note_changes()
            self.enter(SUSPECT)  # if this fails, the next use tries again
            settings.reapply(con)
            self.enter(OPEN)
        self._share_again()

    def _share_again(self) -> None:
        """Share what was copied for another driver connection, in a pool."""
        common = self.terms.common
        if common is not None:
            self.save_memory(common)

    @property
    def is_inherited(self) -> bool:
        """Whether the driver connection belongs to the parent process."""
        return self.state is INHERITED

    def enter(self, state: int) -> None:
        """Change the state."""
        self.state = state
        self.make_ready()
        if state != OPEN:
            self.leave = stay_away

    def mark(self) -> None:
        """Note that a statement changes the session on the server.

        The way back is set before that, in case of an interrupt, and after
        it, since others may have chosen another one meanwhile.
        """
        self.leave = stay_away
        self.is_marked = True
        self.leave = stay_away

    def note_abortion(self) -> None:
        """Note that a transaction can only be rolled back."""
        self.leave = stay_away

    def note_changes(self) -> None:
        """Note that settings are changed until the end of the lease."""
        self.leave = stay_away
        self.settings_changed = True
        self.leave = stay_away  # as in mark()

    @property
    def is_clean(self) -> bool:
        """Whether it is open, wanted, and as it was in the beginning."""
        return not (
            self.is_marked or self.settings_changed or self.state != OPEN
            or self.is_doubted)

    def follow(self, policy: Any) -> None:
        """Follow a failover policy from now on."""
        self.failover = policy
        self.make_ready()

    def make_ready(self) -> None:
        """Note whether there is nothing to do before a statement."""
        is_ready = (
            self.is_simple and not self.options.ping & AT_CURSOR
            and self.failover is not None and self.failover.is_quick
            and self.state == OPEN and not (self.closed or self.is_doubted))
        self.ready = self.con if is_ready else None
        if self.is_doubted:  # meanwhile, by another thread
            self.ready = None
        self.ask_ping = None

    def put(self, con: Any) -> None:
        """Put another driver connection in the place of this one."""
        self.con = con
        self.forget_questions()
        self.make_ready()

    def forget_questions(self) -> None:
        """Forget what is asked of the driver connection."""
        # Callables in C, or None: poll(0) is true if there is something to
        # read or the socket is gone; ask_number() returns the descriptor for
        # as long as the socket is open (None if there is no poll); and
        # ask_status() returns 0 only if no transaction is open.
        self.poll: Any = None
        self.ask_number: Any = None
        self.ask_status: Any = None

    def look_through(self, probe: SocketProbe | None) -> None:
        """Look at the socket through a probe, None for not at all."""
        self._probe = probe
        self.poll = self.ask_number = None
        if probe is not None and self.driver.moves:
            self._probe = load_sockets().MovingSocketProbe(self)
        elif probe is not None:
            self.ask_number = self.driver.number_of(self.con)
            self.poll = self.ask_number and probe.poll

    def suspect(self) -> None:
        """Replace the driver connection at its next use."""
        if self.state == OPEN:
            self.enter(SUSPECT)

    @property
    def route(self) -> Any:
        """The way to one of several servers, None if there is but one."""
        return None

    def doubt(self) -> None:
        """Replace the driver connection before other work.

        Another thread may call this at any moment, so nothing that the thread
        of the session decides by is changed but this: its next statement goes
        the long way, and so does its way back.
        """
        self.is_doubted = True
        self.ready, self.leave = None, stay_away

    def cut(self) -> None:
        """Shut the socket down, also while another thread is waiting for it.

        Its number may belong to another socket by now; only a connection that
        is still the same after it was copied proves that it does not.
        """
        con, descriptor = self.con, self.descriptor
        if descriptor is None or self.closed:
            return
        sockets = load_sockets()
        copy = sockets.copy_of(descriptor)
        try:
            if self.con is con and not self.closed and (
                    self.driver.descriptor(con) == descriptor):
                sockets.shut_down(copy)
        finally:
            copy.close()

    def first_settings(self) -> dict[str, Any]:
        """Return the settings of a new driver connection."""
        return self.driver.first(self.con)

    def has_failed(self) -> bool:
        """Return whether a transaction is open that can only be rolled back.

        Each error of a statement in one changes "leave"; it is None before.
        """
        return self.driver.is_aborted(self.con)

    def needs_reset(self, mode: Any) -> bool:
        """Return whether the server has to be asked to reset the session.

        mode: how the pool resets sessions
        """
        return bool(
            mode or self.is_marked or self.settings_changed or
            self.transaction or self.state != OPEN)

    def connect(
            self, connect: Callable[[], Any],
            reason: str | None = None) -> Any:
        """Connect again, unless that has just failed for all of a pool.

        reason: why, as long as the session knows that
        """
        self._check_not_taken_back()
        if self.throttle is None:
            return connect()
        if reason is None:
            reason = self.why_replaced()
        con = self.throttle.connect(connect, None, bool)  # no wait, no other
        self._check_not_taken_back()  # meanwhile
        self.throttle.reconnected(self.number, reason)
        return con

    def _check_not_taken_back(self) -> None:
        if self.taken_back is not None:
            raise self.failure(self.taken_back[1])

    def failure(self, text: str) -> Exception:
        """Return an error of the connection."""
        return RuntimeError(text)

    def take_away(self, checkout: Any, text: str) -> None:
        """Refuse all later use; end a statement in progress, if possible.

        The driver connection is closed by the thread that uses it, or with
        the last reference: closing it here could crash a driver that is in
        the middle of a statement.
        """
        self.taken_back = checkout, text
        if self.descriptor is not None:
            with quietly("shutting down a connection that was taken back"):
                load_sockets().cut_off(self.driver, self.con)

    def refusal(self, checkout: Any) -> str | None:
        """Return the text about a checkout that the pool has ended."""
        ended = self.taken_back
        return None if ended is None or ended[0] is not checkout else ended[1]

    def note_loss(self) -> None:
        """Tell the pool, if there is one, that the connection was lost."""
        if self.throttle is not None and self.state < LOST:
            self.throttle.lost(self.number)

    def why_replaced(self) -> str:
        """Return why the driver connection goes, "" if it was found dead."""
        if self.state != OPEN or self.closed:
            return f"it was {state_text(self)}"
        if not self.is_used_up():
            return ""
        return (
            f"it was used {self.usage} times"
            f" (maxusage={self.options.maxusage})")

    def forgets_work(self) -> bool:
        """Return whether a rollback undoes what a program has done."""
        raise NotImplementedError

    def reconnect(self) -> None:
        """Go on with a new driver connection, or raise why that fails."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the driver connection, unless that was already done."""
        self.ready = self.ask_ping = None
        if self.closed:
            return
        # its number may belong to another socket soon
        end_deadline(self)
        self.call = None
        # At the end some drivers would roll back, and wait for that.
        if self.state is IN_DOUBT or (is_ending() and self.needs_reset(True)):
            _shut_down(self)
        with quietly("closing a connection"):
            self.driver.close(self.con)
        if self.route is not None:
            self.route.vacate()
        self.transaction = False
        self.closed = True
        self.leave = stay_away
        self.make_ready()

    def is_unbounded(self) -> bool:
        """Return whether a question could keep the program from ending.

        While the interpreter ends, only the socket could end a question.
        """
        return is_ending() and (
            self.descriptor is None and not self.driver.is_embedded)

    def change(self, name: str, value: Any) -> None:
        """Change an attribute until the end of the lease."""
        self.note_changes()  # also if this is interrupted
        self.own_settings().change(self.con, name, value)

    def own_settings(self) -> Settings:
        """Return the settings as an object that no other session has."""
        if self.settings.is_shared:
            self.settings = self.settings.copy()
        return self.settings

    def restore_settings(self) -> None:
        """Restore the settings, as far as their old values can be written."""
        self.settings.write_back(self.con)
        self.settings_changed = False
        self.cover()

    def cover(self) -> None:
        """Note that the program does not have the driver connection itself."""
        if self.is_exposed:
            self.is_exposed = False

    def check(self, moment: int, reconnect: bool = True) -> bool | None:
        """Return whether the connection is alive, if "ping" says to check it.

        Return None if it is not checked now, or if the answer is unknown.
        """
        raise NotImplementedError

    def socket_state(self) -> str | None:
        """Return the state of the socket, if there is one."""
        return None if self._probe is None else self._probe.look()

    def is_gone(self) -> bool:
        """Return whether the connection is closed, on this or that side."""
        probe = self._probe
        if self.driver.is_closed(self.con) or (
                probe is not None and probe.look() is GONE):
            return True
        if self.ask_number is None:
            return False
        try:  # another socket may have got the number
            return bool(self.ask_number() != self.descriptor)
        except Exception:  # noqa: BLE001 - it was closed
            return True

    def is_alive(self, depth: str, seconds: float | None = None) -> bool:
        """Return whether the connection is alive; see liveness.is_alive()."""
        return is_alive(self, depth, seconds)

    def end_question(self) -> None:
        """End the transaction that a question may have begun."""

    def is_attribute(self, name: str) -> bool:
        """Return whether the driver connection has a value of that name."""
        if name in self.settings.original:
            return True
        if name in self.driver.unreadable:  # asking may not be possible
            return hasattr(type(self.con), name)
        # methods are no attributes, and neither is a missing name
        value = getattr(self.con, name, callable)
        return not callable(value) or isinstance(value, type)

    def is_used_up(self) -> bool:
        """Return whether a new driver connection is due at the next use."""
        maxusage = self.options.maxusage
        return self.state != OPEN or self.is_doubted or bool(
            maxusage and self.usage >= maxusage)

    def used_up_text(self) -> str:
        """Return why a new driver connection is due."""
        if self.state != OPEN:
            return "The connection was marked as not valid. [DBU-46]"
        if self.is_doubted:
            return "The server has another role now. [DBU-46]"
        return (
            f"The connection was used {self.usage} times"
            f" (maxusage={self.options.maxusage}). [DBU-46]")


def _shut_down(session: Session) -> None:
    """Shut the socket down, so that nothing is sent and nothing waited for.

    Some drivers first send what an interrupt has left in their buffers
    when they close a connection, though the server may have got it.
    """
    with quietly("shutting down a connection in doubt"):
        # asked again: if the driver has closed the socket, its number may
        # belong to another one
        descriptor = session.driver.descriptor(session.con)
        if descriptor is not None and descriptor >= 0:
            sockets = load_sockets()
            copy = sockets.copy_of(descriptor)
            try:
                sockets.shut_down(copy)
            finally:
                copy.close()
