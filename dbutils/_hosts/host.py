"""One of several servers: how to reach it, and what is known of it."""

from __future__ import annotations

import os
from copy import copy
from os import urandom
from time import monotonic

from .._base.checks import whole
from .._base.hints import Any, Callable, Iterable
from .._base.links import Links
from .._base.opening import time_limit
from .._base.secrets import hide_secrets, secrets_in, wrap_secrets
from .._drivers.registry import driver_in, driver_of
from .._drivers.standing import OFFLINE, READ_ONLY, STANDBY, UNKNOWN, Standing

__all__ = ["Host", "Seat"]

# In seconds: the first and the longest rest of a host that has failed, and
# the time that connecting may take if the program has set no limit.
_FIRST_REST = 0.05
_LONGEST_REST = 2.0
_CONNECT = 3.0

# For how many seconds a host counts as full that has said so.
_CROWDED = 2.0
# A time before all others.
_NEVER = float("-inf")
# By how much each answer changes the time that a host usually takes.
_WEIGHT = 0.2


class Seat:
    """A connection to a host counts for as long as its seat lives."""


class Host:
    """One of several servers."""

    def __init__(
            self, name: str, connect: Callable[..., Any],
            parameters: dict[str, Any], dbapi: Any, limit: int | None) -> None:
        """Set up a host of which nothing is known.

        parameters: take precedence over those of the pool
        dbapi: the module of the driver, if that is known
        limit: how many connections there may be at most
        """
        self.name = name
        self.dbapi = dbapi
        self._connect_to = connect
        self._parameters = wrap_secrets(parameters)
        self._limit = limit
        self._seats = Links()
        self.clock = monotonic
        # Its role, when that was learnt, and what else it has said.
        self.role = UNKNOWN
        self.known_at = _NEVER
        self.standing = Standing(UNKNOWN)
        self.lag: float | None = None
        # How long it usually takes to answer, and when it was tried last, as
        # the number of the attempt.
        self.seconds = 0.0
        self.turn = 0
        # Why it cannot be used, how often in a row, and how long it rests.
        self.error: BaseException | None = None
        self.failures = 0
        self.rests_until = _NEVER
        # Until when it probably has too many connections.
        self.crowded_until = _NEVER
        # Until when its errors are not taken as signs of another role, and
        # whether one was.
        self.calm_until = _NEVER
        self.is_accused = False

    def __repr__(self) -> str:
        return f"<host {self.name}: {self.state}>"

    @property
    def state(self) -> str:
        """The present state, as far as known."""
        return self.role if self.error is None else OFFLINE

    # Connecting.

    def take_seat(self) -> Seat | None:
        """Return a seat, None if there are as many as there may be."""
        seat = Seat()
        # first, so that of two that come at the same time none is overlooked,
        # and the first of them gets the last place
        self._seats.add(seat)
        if self._limit is not None and (
                seat not in self._seats.things()[:self._limit]):
            return None
        return seat

    @property
    def is_full(self) -> bool:
        """Whether there are as many connections as there may be."""
        return self._limit is not None and self.number >= self._limit

    @property
    def is_crowded(self) -> bool:
        """Whether the server has said lately that it is full."""
        return self.clock() < self.crowded_until

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return self._limit is not None

    @property
    def number(self) -> int:
        """How many connections there are, or are being opened."""
        return len(self._seats)

    def open(
            self, args: tuple[Any, ...], kwargs: dict[str, Any],
            is_limited: bool = True) -> Any:
        """Return a new connection of the driver.

        args, kwargs: the parameters of the pool
        is_limited: whether the time is limited if the program does not do it
        """
        parameters = {**kwargs, **self._parameters}
        limits = self._limits(args, parameters) if is_limited else {}
        try:
            con = self._connect_to(*args, **parameters, **limits)
        except Exception as error:
            hide_secrets(error, secrets_in(parameters))
            raise
        if limits:
            driver_of(con, self.dbapi).connected(con)
        return con

    def hands_on(self, options: Iterable[str]) -> bool:
        """Return whether the driver gets these options, as they are."""
        connect = getattr(self.dbapi, "connect", None)
        return self._connect_to == connect and not any(map(
            self.has_option, options))

    def has_option(self, name: str) -> bool:
        """Return whether the program gives an option to this host only."""
        return name in self._parameters

    def _limits(
            self, args: tuple[Any, ...],
            parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the options that limit the time for connecting, if any."""
        option = driver_in(self.dbapi).connect_timeout
        if option is None or len(args) > 1 or (
                self._connect_to != getattr(self.dbapi, "connect", None)):
            return {}
        given = (*parameters, *args, *parameters.values())
        if f"PG{option.upper()}" in os.environ or any(
                option in text for text in given if isinstance(text, str)):
            return {}
        return {option: whole(time_limit() or _CONNECT)}

    def give_up(self, seat: Seat) -> None:
        """Free a seat at once, also if another thread has made it."""
        self._seats.drop(seat)

    # Learning.

    def crowd(self) -> None:
        """Note that the server has too many connections."""
        self.crowded_until = self.clock() + _CROWDED

    def learn(self, standing: Standing, seconds: float) -> str:
        """Note what the server has said; return the role that it said before.

        That holds for connections to it, also if it was forgotten meanwhile.

        seconds: how long the answer has taken
        """
        before, self.role = self.standing.role, standing.role
        self.standing, self.lag = standing, standing.lag
        self.known_at = self.clock()
        self.seconds += _WEIGHT * (seconds - self.seconds) if (
            self.seconds) else seconds
        self.error = None
        self.failures = 0
        self.rests_until = _NEVER
        return before

    def fail(self, error: BaseException) -> None:
        """Note why the server cannot be used; it rests for a while.

        Attempts that fail at the same time are one failure.
        """
        self.error = _without_frames(error)
        self.forget()
        if self.clock() < self.rests_until:
            return
        pause = min(_FIRST_REST * 2 ** min(self.failures, 10), _LONGEST_REST)
        self.failures += 1
        self.rests_until = self.clock() + pause * (
            1 + urandom(1)[0] / 256) / 2

    def rest(self, seconds: float = _CONNECT) -> None:
        """Rest for as long as connecting could take, unless it answers.

        The monitor goes on to ask, and keeps no request waiting meanwhile.
        """
        self.rests_until = max(self.rests_until, self.clock() + seconds)

    def forget(self) -> None:
        """Forget the role, which may have changed."""
        self.role, self.known_at = UNKNOWN, _NEVER
        self.lag = None

    # Choosing.

    def may_fit(
            self, roles: frozenset[str], maxlag: float | None,
            trust: float) -> bool:
        """Return whether it is worth an attempt.

        trust: for how many seconds a role stays known that does not fit
        """
        now = self.clock()
        if now < self.rests_until:
            return False
        is_known = now - self.known_at <= trust
        return not is_known or self.fits(roles, maxlag)

    def fits(self, roles: frozenset[str], maxlag: float | None) -> bool:
        """Return whether it fits, as far as known."""
        if self.error is not None or self.role not in roles:
            return False
        return maxlag is None or self.role not in {STANDBY, READ_ONLY} or (
            self.lag is not None and self.lag <= maxlag)

    @property
    def is_new(self) -> bool:
        """Whether nothing is known that speaks for or against it."""
        return self.known_at == _NEVER and self.error is None

    def reason(self) -> Any:
        """Return why it was not used: its error, or a text."""
        if self.error is not None:
            return self.error
        if self.is_full:
            return f"has {self.number} connections, which is its limit"
        if self.role == STANDBY and self.lag is not None:
            return f"is a standby, {self.lag:.3g} seconds behind"
        if self.role in {OFFLINE, READ_ONLY}:
            return f"is {self.role}"
        return "does not say what it is" if self.role == UNKNOWN else (
            f"is a {self.role}")


def _without_frames(error: BaseException) -> BaseException:
    """Return an error like another one that refers to no variables."""
    try:
        return copy(error)
    except Exception:  # noqa: BLE001 - not all can be copied
        return error.with_traceback(None)
