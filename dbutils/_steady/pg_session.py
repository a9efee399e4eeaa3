"""A session of PostgreSQL through a pg.DB object of classic PyGreSQL.

Such an object can reset and reopen itself, so it is only exchanged where
there are several servers.  The failover policy decides when this is done, and
what is tried again then: that of DBUtils 3.x, or the safe one.
"""

from __future__ import annotations

from .._base.errors import quietly
from .._base.hints import Any, Callable, ref
from .._drivers.registry import driver_of
from .deadlines import end_deadline, start_deadline
from .liveness import (
    AT_CHECKOUT,
    CHECK_AT_LENGTH,
    LOOK_AT_CHECKOUT,
    NO_CHECK,
    ask_program,
    probe_of,
    prove_ping,
)
from .opener import route_of
from .options import SteadyOptions, as_statements, check_hook
from .session import Session
from .state import GONE, LOST, OPEN

__all__ = ["PgSession", "PgTargets"]


class PgTargets:
    """Opens pg.DB objects that lead to one of several servers."""

    __slots__ = ("_args", "_kwargs", "route")

    def __init__(
            self, targets: Any, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> None:
        """Set up the way to one of the servers.

        args, kwargs: the parameters of pg.DB()
        """
        self.route = route_of(targets)
        self._args = args
        self._kwargs = kwargs

    def open(self) -> Any:
        """Return a new pg.DB object."""
        return self.route(*self._args, **self._kwargs)


class PgSession(Session):
    """A pg.DB object, and what is known of it."""

    __slots__ = ("is_pooled", "onconnect", "opener", "setsession")

    def __init__(
            self, options: SteadyOptions, setsession: Any,
            onconnect: Any, opener: PgTargets | None = None,
            is_pooled: bool = False) -> None:
        """Set up a session.

        is_pooled: whether it is behind a proxy that shares sessions
        """
        super().__init__(options)
        self.is_pooled = is_pooled
        # Opens other pg.DB objects, if this one cannot just be opened again.
        self.opener = opener
        if opener is not None:
            opener.route.session = ref(self)
        self.setsession = as_statements(setsession)
        self.onconnect = check_hook("onconnect", onconnect)
        # The attribute "work" says whether more than reading was done since a
        # transaction began or ended; most of that is committed at once.

    @property
    def route(self) -> Any:
        """The way to one of several servers, None if there is but one."""
        return None if self.opener is None else self.opener.route

    @property
    def ping(self) -> int:
        """The moments at which the connection is checked."""
        when: int = self.options.ping
        return when

    @property
    def checkout_check(self) -> int:
        """How the connection is checked when it is handed out."""
        if not self.options.ping & AT_CHECKOUT:
            return NO_CHECK
        return (
            LOOK_AT_CHECKOUT if self.options.pinger is None
            else CHECK_AT_LENGTH)

    def is_quiet(self) -> bool:
        """Return whether a look shows nothing wrong."""
        return not self.is_gone()

    def store(self, con: Any) -> None:
        """Begin with a pg.DB object."""
        self.driver = driver_of(con)
        if self.is_pooled:
            from .._drivers.poolers import pooled  # noqa: PLC0415 - behind one

            self.driver = pooled(self.driver)
        super().store(con)
        self._look_anew()

    def _look_anew(self) -> None:
        self.descriptor = self.driver.descriptor(self.con)
        self._probe = probe_of(self.descriptor) if self.options.ping else None

    @property
    def has_bad_status(self) -> bool:
        """Whether the driver knows that the connection is lost."""
        db = getattr(self.con, "db", None)
        return not getattr(db, "status", False)

    def is_gone(self) -> bool:
        """Return whether the connection is closed, on this or that side."""
        return self.has_bad_status or (
            self._probe is not None and self._probe.look() is GONE)

    def has_work(self) -> bool:
        """Return whether a transaction is open."""
        return self.state < LOST and bool(
            self.driver.in_transaction(self.con))

    def forgets_work(self) -> bool:
        """Return whether a rollback undoes what a program has done."""
        if not self.work or self.closed or self.state >= LOST:
            return False
        answer = self.driver.in_transaction(self.con)
        return self.transaction if answer is None else answer

    def prepare(self) -> None:
        """Prepare the session."""
        for sql in self.setsession or ():
            self.con.query(sql)
        if self.onconnect is not None:
            self.onconnect(self.con)

    def check(self, moment: int, reconnect: bool = True) -> bool | None:
        """Return whether the connection is alive, None if not checked now.

        With reconnect, a dead one is reset, unless it is in a transaction.
        """
        if not moment & self.options.ping:
            return None
        if self._is_alive():
            return True
        if self.transaction or self.is_marked or not reconnect:
            return False
        self.reset()
        is_alive = not self.has_bad_status
        if is_alive:
            prove_ping(self)
        return is_alive

    def is_well(self, reconnect: bool, may_ask: bool = True) -> bool:
        """Return whether nothing is known to be wrong with the connection.

        With reconnect, a dead connection is reset; if that is impossible, the
        next use tries again.  If the server has to be asked, but may not be
        asked, the answer is no.
        """
        if not may_ask and self.options.pinger is not None:
            return False
        return self.check(AT_CHECKOUT, reconnect) is not False or reconnect

    def _is_alive(self) -> bool:
        if self.state != OPEN or self.is_gone():
            return False
        if self.options.pinger is None:
            return True
        start_deadline(self, self.descriptor, self.limit)
        try:
            return ask_program(self)
        finally:
            end_deadline(self)

    def reset(self) -> None:
        """Reset the connection, or reopen it if that is impossible."""
        if not (_works("resetting a connection", self._reset)
                or _works("reopening a connection", self.reopen)):
            with quietly("rolling back"):
                self.query("rollback", None)

    def _reset(self) -> None:
        self.failover.reset(self)

    def clean(self) -> None:
        """End the open transaction."""
        self.reset()

    def reopen(self) -> None:
        """Reopen the connection, or roll back if that is impossible."""
        if _works("reopening a connection", self._open_again):
            self.begin_session()
        elif self.transaction:
            self.transaction = False
            with quietly("rolling back"):
                self.con.query("rollback")

    def reconnect(self, reason: str | None = None) -> None:
        """Reopen the connection; if that is impossible, raise the error.

        The reason is that of connect().
        """
        self.connect(self._open_again, reason)
        self.begin_session()

    def _open_again(self) -> None:
        """Open the connection again, perhaps to another server."""
        if self.opener is None:
            self.con.reopen()
            return
        old, con = self.con, self.opener.open()
        self.store(con)
        with quietly("closing a connection to another server"):
            old.close()

    def note_loss(self) -> None:
        """Tell those who look after it that the connection was lost."""
        super().note_loss()
        if self.route is not None:
            self.route.note_loss()

    def note_error(self, error: Exception) -> None:
        """Note an error after which the connection stays."""
        if self.driver.is_read_only(error):
            self.suspect()
            if self.route is not None:
                self.route.note_refusal()

    def position(self) -> str | None:
        """Ask the server how far it has come; None if it does not tell."""
        position: str | None = self.driver.position(self.con)
        return position

    def begin_session(self) -> None:
        """Prepare the session of a connection that was opened again."""
        self.transaction = self.closed = False
        # It is no longer inherited.  With several servers it can be used when
        # it is prepared; otherwise it goes on as in DBUtils 3.x.
        self.state = LOST if self.route else min(self.state, LOST)
        self.prepare()
        self.usage = 0
        self.state = OPEN
        self.is_marked = self.work = False
        self._look_anew()

    def query(self, verb: str, sql: str | None) -> Any:
        """Begin or end a transaction, if possible with a method of its own."""
        self.transaction = verb == "begin"
        self.work = False
        method = getattr(self.con, verb, None)
        if method is None:
            return self.con.query(sql or verb)
        return method(sql=sql) if sql else method()

    def end_checkout(self) -> None:
        """Reset the session for a program that goes on to hold it."""
        if self.transaction:
            self.clean()
        elif self.is_marked or self.settings_changed:
            self.reset_session(reset=0)

    def reset_session(self, reset: Any) -> Any:
        """Reset the session after a lease; return whether it can stay."""
        start_deadline(self, self.descriptor, None)
        try:
            return self.failover.reset_session(self, reset)
        finally:
            end_deadline(self)


def _works(step: str, act: Callable[[], Any]) -> bool:
    """Try a step; return whether it succeeds."""
    with quietly(step):
        act()
        return True
    return False
