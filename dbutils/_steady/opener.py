"""Opening driver connections, and preparing their sessions."""

from __future__ import annotations

import os

from .._base.checks import whole
from .._base.errors import log_swallowed, quietly
from .._base.hints import Any
from .._base.opening import time_limit
from .._drivers.creators import (
    connect_of,
    driver_module,
    failures_of,
    is_unsupported,
    module_of_connection,
    module_of_creator,
)
from .._drivers.driver import NO_DRIVER, DriverFacts
from .._drivers.registry import driver_in, driver_of
from .mistakes import check_creator, explain_options
from .options import as_statements, check_hook

__all__ = ["Opener", "end_if_possible", "route_of"]


class Opener:
    """Opens driver connections, and learns from them what the driver is."""

    __slots__ = (
        "args", "creator", "dbapi", "driver", "failures", "found",
        "is_pooled", "kwargs", "maker", "onconnect", "route", "setsession",
        "threadsafety")

    def __init__(
            self, creator: Any, setsession: Any, onconnect: Any, failures: Any,
            args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.setsession = as_statements(setsession)
        self.onconnect = check_hook("onconnect", onconnect)
        check_creator(creator)
        # Where the creator leads to several servers, the way to one of them.
        self.route = route_of(creator)
        creator = creator if self.route is None else self.route
        self.creator = connect_of(creator)
        self.args = args
        self.kwargs = kwargs
        self.dbapi = module_of_creator(creator)
        self.threadsafety = getattr(
            creator, "threadsafety", getattr(self.dbapi, "threadsafety", None))
        self.failures = failures
        self.driver: DriverFacts = NO_DRIVER
        # Whether it is behind a proxy that shares sessions; and the kinds of
        # proxies that were found before several servers, or None.
        self.is_pooled = False
        self.found: Any = None
        # The method of a subclass that opens connections instead.
        self.maker: Any = None

    def stand_behind(self) -> None:
        """Connect to a proxy that gives each transaction another session."""
        from .._drivers.poolers import (  # noqa: PLC0415 - behind one
            connecting_with,
            warn_of_lasting_once,
        )

        self.is_pooled = True
        self.setsession, self.kwargs = connecting_with(
            self.setsession, self.kwargs, self.creator, self.dbapi)
        warn_of_lasting_once(self.setsession)

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        """Return whether another one opens the same."""
        return all(
            getattr(self, name) == getattr(other, name)
            for name in Opener.__slots__)

    def copy(self) -> Opener:
        """Return another one that opens the same."""
        other = Opener.__new__(Opener)
        for name in Opener.__slots__:
            setattr(other, name, getattr(self, name))
        return other

    @property
    def is_behind(self) -> bool:
        """Whether the present server is behind such a proxy."""
        found = self.found
        return self.is_pooled or (
            found is not None and bool(found.get(self.route.host)))

    def open_another(self) -> Any:
        """Return one more driver connection, to the same server."""
        other = self.copy()
        if self.route is not None:
            other.creator = self.route.open_another
            other.route = other.found = None
        return other.open()

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
                self.driver.connected(con)
            if self.is_behind:
                self.join_pooler(con)
            self.prepare(con)
        except BaseException:
            with quietly("closing a connection that could not be prepared"):
                con.close()
            raise
        return con

    def join_pooler(self, con: Any) -> None:
        """Switch off what a proxy cannot do, unless the program wants it."""
        name, route = "prepare_threshold", self.route
        if not (name in self.kwargs or (
                route is not None and route.has_option(name))):
            self.driver.join_pooler(con)

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

        A limit that the program has set anywhere takes precedence.
        """
        limit, module = time_limit(), self.dbapi
        option = driver_in(module).connect_timeout
        if limit is None or option is None or len(self.args) > 1 or (
                self.creator != getattr(module, "connect", None)):
            return {}
        given = (*self.kwargs, *self.args, *self.kwargs.values())
        if any(option in text for text in given if isinstance(text, str)):
            return {}
        return {} if f"PG{option.upper()}" in os.environ else {
            option: whole(limit)}

    def _learn_from(self, con: Any) -> None:
        """Find out what the creator did not tell."""
        if self.dbapi is None:
            self.dbapi = module_of_connection(con)
        self.driver = driver_of(
            con, driver_module(self.dbapi, con, self.failures))
        if self.dbapi is None:
            self.dbapi = module_of_connection(self.driver.inside(con))
        if self.threadsafety is None:
            self.threadsafety = getattr(
                self.dbapi, "threadsafety",
                getattr(con, "threadsafety", None))
        if self.is_behind:
            from .._drivers.poolers import pooled  # noqa: PLC0415 - behind one

            self.driver = pooled(self.driver)
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

        A driver prepares nothing else, nor does a creator that says so.
        """
        return self.is_plain or bool(
            getattr(self.creator, "is_plain", False))

    def first_settings(self, con: Any) -> dict[str, Any]:
        """Return the settings of a new driver connection."""
        settings = self.driver.first(con)
        if self.is_plain and "database" in self.driver.unreadable:
            for name in ("database", "db"):
                if self.kwargs.get(name):
                    settings.setdefault("database", self.kwargs[name])
        return settings

    def prepare(self, con: Any) -> None:
        """Prepare the session of a driver connection.

        A rollback would undo that if it were not committed.
        """
        if self.setsession:
            cursor = con.cursor()
            for sql in self.setsession:
                cursor.execute(sql)
            cursor.close()
        if self.onconnect is not None:
            self.onconnect(con)
        elif not self.setsession:
            return
        driver = self.driver
        if driver.is_telling and driver.in_transaction(con) is not False:
            end_if_possible(con, "commit")

    def is_error_of_driver(self, error: BaseException, con: Any) -> bool:
        """Return whether an error is of the driver, or of what it wraps."""
        if isinstance(error, getattr(self.dbapi, "Error", Exception)):
            return True
        inner = self.driver.inside(con)
        return inner is not con and isinstance(
            error, getattr(module_of_connection(inner), "Error", ()))


def route_of(creator: Any) -> Any:
    """Return a new way to one of several servers, None if there is but one."""
    new_route = getattr(type(creator), "_new_route", None)
    return None if new_route is None else new_route(creator)


def end_if_possible(con: Any, verb: str) -> None:
    """Commit or roll back, unless the driver has no transactions."""
    try:
        getattr(con, verb)()
    except Exception as error:
        if not is_unsupported(error):
            raise
        log_swallowed("ending a transaction", error)
