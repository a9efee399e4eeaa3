"""Hardened connections for classic PyGreSQL.

A steady connection is reset, or reconnects, when it was lost or used more
often than a limit allows, and sends the failed query once more.  Between
begin() and the end of the transaction it raises the error instead.

Use it directly for a single connection that must not break; the modules
pooled_pg and persistent_pg hand out such connections to threads.
"""

from __future__ import annotations

from . import __version__  # noqa: F401 - every public module has it
from ._base.hints import (
    Any,
    Args,
    Callable,
    Failover,
    Kwargs,
    Pooler,
    Servers,
)
from ._drivers.creators import connect_pg
from ._steady.driver_methods import Method, names_of
from ._steady.mistakes import explain_options
from ._steady.options import check_behind, check_options
from ._steady.pg_failover import (
    WORKING,
    PgClassic,
    PgSafe,
    call_kind,
    is_query,
)
from ._steady.pg_session import PgSession, PgTargets
from ._steady.steady import Steady

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from typing import TypeVar

    from ._drivers.names import PgNames

    AnyPg = TypeVar("AnyPg", bound="SteadyPgConnection")
else:
    AnyPg, PgNames = Any, object

__all__ = [
    "InvalidConnectionError", "SteadyPgConnection", "SteadyPgError"]


class SteadyPgError(Exception):
    """General SteadyPg error."""


class InvalidConnectionError(SteadyPgError):
    """Database connection is invalid."""


# The name of this error before DBUtils 2.0.
InvalidConnection = InvalidConnectionError


_POLICIES = {
    "always": PgClassic(), "safe": PgSafe(True), "never": PgSafe(False)}


def _opener_for(
        targets: Any, args: tuple[Any, ...],
        kwargs: dict[str, Any]) -> PgTargets | None:
    """Return what opens connections to one of several servers, if any."""
    if targets is None:
        return None
    from ._hosts.targets import targets_of  # noqa: PLC0415 - an option

    return PgTargets(targets_of(targets, None, connect_pg), args, kwargs)


def _connect(
        opener: PgTargets | None, args: tuple[Any, ...],
        kwargs: dict[str, Any]) -> Any:
    """Return a new driver connection."""
    try:
        if opener is not None:
            return opener.open()
        return connect_pg(*args, **kwargs)
    except Exception as error:
        explain_options(error, kwargs)
        raise


class SteadyPgConnection(Steady, PgNames):
    """A classic PyGreSQL connection that heals itself."""

    __slots__ = ()

    def __init__(
            self, maxusage: int | None = None, setsession: Any = None,
            closeable: Any = True, *args: Any, failures: Any = None,
            ping: Any = 1,
            isfatal: Callable[[Exception], Any] | None = None,
            failover: Failover = "safe",
            onconnect: Callable[[Any], Any] | None = None,
            targets: Servers | None = None, behind: Pooler | None = None,
            **kwargs: Any) -> None:
        """Open a connection with the parameters of pg.DB().

        failures: an exception class, or a tuple of classes, that means a
            lost connection although the driver's status is still good;
            with a bad status every exception means a lost connection
        ping: the moments 1 (when a connection is handed out) and 4 (before
            a query) make sense here; the default check reads the driver's
            status, which needs no round trip
        targets: the Targets of the module hosts if there are several servers,
            or a sequence of hosts like theirs; then this connection is another
            object of the driver when it was opened again

        All other parameters are those of steady_db.connect(), but this
        connection is reset where that one would open another one.
        """
        opener = _opener_for(targets, args, kwargs)
        session = PgSession(
            check_options(
                maxusage, failures, isfatal, ping, closeable, failover),
            setsession, onconnect, opener, check_behind(behind))
        if session.is_pooled:
            from ._drivers.poolers import (  # noqa: PLC0415 - behind one
                warn_of_lasting_once,
            )

            warn_of_lasting_once(session.setsession)
        session.store(_connect(opener, args, kwargs))
        if failover == "safe" and not session.driver.is_telling:
            failover = "always"  # it is no PyGreSQL that we know
        session.failover = _POLICIES[failover]
        self._own_session = session
        session.prepare()

    def __enter__(self: AnyPg) -> AnyPg:
        """Begin a transaction."""
        self.begin()
        return self

    def reopen(self) -> None:
        """Reopen the connection; an error is logged instead of raised."""
        self._own_session.reopen()

    def reset(self) -> None:
        """Reset the connection, or reopen it if it cannot be reset."""
        self._own_session.reset()

    def begin(self, sql: str | None = None) -> Any:
        """Begin a transaction."""
        return self._own_session.failover.end(self._own_session, "begin", sql)

    def end(self, sql: str | None = None) -> Any:
        """Commit the current transaction."""
        return self._own_session.failover.end(self._own_session, "end", sql)

    def commit(self, sql: str | None = None) -> Any:
        """Commit the current transaction."""
        return self._own_session.failover.end(self._own_session, "commit", sql)

    def rollback(self, sql: str | None = None) -> Any:
        """Roll back the current transaction."""
        return self._own_session.failover.end(
            self._own_session, "rollback", sql)

    def position(self) -> str:
        """Return how far the server has come, as a token after a commit.

        A request for a connection with after=token sees what was committed.
        """
        position = self._own_session.position()
        if position is None:
            raise SteadyPgError(
                "The server does not tell how far it is. [DBU-71]")
        return str(position)

    if not TYPE_CHECKING:  # see the module "_drivers.names"
        def __getattr__(self, name: str) -> Any:
            """Return an attribute of the pg.DB object; harden queries."""
            if name in {"_con", "_own_session"}:  # __init__() did not begin
                raise AttributeError(name)
            if self._con is None:
                raise InvalidConnectionError(
                    "This connection was never opened. [DBU-45]")
            attribute = getattr(self._con, name)
            if callable(attribute) and not isinstance(attribute, type):
                return Method(name, self._call, attribute)
            if name in self._own_session.driver.doors:
                self._own_session.note_changes()
            return attribute

    def _call(self, name: str, args: Args, kwargs: Kwargs) -> Any:
        """Call a method of the pg.DB object."""
        session = self._own_session
        if is_query(name):
            return session.failover.run(session, name, args, kwargs)
        if name in _MARKING:
            session.mark()
        if name in session.driver.setters and (args or kwargs):
            session.note_changes()  # also if this is interrupted
            return session.own_settings().call_setter(
                session.con, name, args, kwargs)
        if name in WORKING and not call_kind(name, args).is_read:
            session.work = True
        return getattr(session.con, name)(*args, **kwargs)

    def __dir__(self) -> list[str]:
        """Return the attributes of this connection and its pg.DB object."""
        return sorted({*super().__dir__(), *names_of(self._con)})


# Methods that can leave something behind in the session.
_MARKING = {"prepare", "query_formatted", "send_query", "set_parameter"}
