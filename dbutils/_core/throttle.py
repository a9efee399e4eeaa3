"""Attempts to connect while the server refuses connections.

A server that comes back must not be overrun, and waiting requests are to be
served at once.  So each short span of time has at most one attempt, made by
the first thread that claims it.  All other requests wait for its outcome if
they can wait, and otherwise get the error of the last attempt.
"""

from __future__ import annotations

import threading
from os import urandom
from time import monotonic

from .._base.atomic import Count
from .._base.hints import Any, Callable, NamedTuple
from .._base.opening import HANGS_AFTER, Attempts, Elsewhere, Full, Late
from .story import Story

__all__ = ["ConnectThrottle", "Elsewhere", "again"]

# In seconds, the time between two attempts, and by how much it varies.
_SPAN = 0.05
_JITTER = 0.005
# The number of attempts that may fail before they are spaced.
_FREE = 5
# The number of connects without a waiting request that may hang.
_HANGING = 20
# In seconds, how long before an outage its first losses may be.
_BEFORE = 1.0
# How most losses are noticed.
_FOUND_DEAD = "the server has closed it, or does not answer"
# The length of the codes of errors that are texts.
_STATE = 5


class _Outage(NamedTuple):
    """Since when a server cannot be used, and the first error."""

    began: float
    error: Exception


class ConnectThrottle:
    """The state of the server, as far as a pool knows it."""

    def __init__(
            self, is_outage: Callable[[BaseException], bool],
            story: Story | None = None) -> None:
        """Set up the throttle.

        is_outage: tells whether another attempt can help after an error
        story: is told of errors, outages and new sessions
        """
        self.story = Story() if story is None else story
        self.clock = monotonic
        self._is_outage = is_outage
        # How often a session was replaced while its connection was in use.
        self.reconnects = Count()
        # How often the server was asked whether a connection is alive, and
        # how often connecting has failed.
        self.pings, self.errors = Count(), Count()
        # Why the last attempt failed; None if it did not.
        self.error: Exception | None = None
        self._failures = 0
        self._start = 0.0
        # The outage that was announced.  The thread that sets or pops the only
        # item announces it.
        self._outage: dict[int, _Outage] = {}
        # The spans by number, with the object that has claimed each.
        self._claims: dict[int, object] = {}
        self._over = threading.Event()
        # How many pings have failed in a row; after too many, new connections
        # are asked as well.
        self.failed_pings = 0
        # Tells whether no server fits for which there was an error, if
        # attempts can lead to several ones.
        self.lacks: Callable[[Exception], bool] | None = None
        # The work of helpers for requests that have a deadline.
        self.attempts = Attempts()
        self.most_hanging = _HANGING

    @property
    def is_divided(self) -> bool:
        """Whether attempts can lead to several servers.

        They rest by themselves, and one that fails says nothing about others.
        """
        return self.lacks is not None

    def connect(
            self, connect: Callable[[], Any], deadline: float | None,
            is_elsewhere: Callable[[], Any]) -> Any:
        """Return a new connection, as soon as the server is there again.

        deadline: when the wait for the server ends; None means no wait, but
            an attempt may be made
        is_elsewhere: tells whether another connection is available meanwhile,
            which ends the wait
        """
        has_failed = False
        while True:
            if has_failed or not self._may_try(deadline):
                has_failed = False
                self._wait_or_raise(deadline)
                if is_elsewhere():
                    raise Elsewhere
                continue
            try:
                con = self._try(connect)
            except Exception as error:
                if not self.note_failure(error) or deadline is None or (
                        self.clock() >= deadline):
                    raise
                has_failed = self.is_divided
            else:
                self.note_success()
                return con

    def _try(self, connect: Callable[[], Any]) -> Any:
        """Make an attempt.

        If it has just begun when the deadline comes, then the last error says
        more about the server.
        """
        start = self.clock()
        try:
            return connect()
        except Late:
            last = self.error
            if last is None or self.clock() - start >= HANGS_AFTER:
                raise
        raise again(last)

    def last_error(self) -> Exception | None:
        """Return an error like that of the last attempt, if it failed."""
        error = self.error
        return None if error is None else again(error)

    def _may_try(self, deadline: float | None) -> bool:
        """Return whether an attempt may be made just now."""
        if deadline is not None and self.attempts.left() >= (
                self.most_hanging):
            return False
        if self.error is None or self.is_divided or self._failures < _FREE:
            return True
        span = int((self.clock() - self._start) / _SPAN)
        me = object()
        if self._claims.setdefault(span, me) is not me:
            return False
        for old in self._claims.copy():
            if old < span:
                self._claims.pop(old, None)
        return True

    def _wait_or_raise(self, deadline: float | None) -> None:
        """Wait for the next span, or raise the error if that is too late."""
        left = 0.0 if deadline is None else deadline - self.clock()
        error = self.error
        if left <= 0 and error is not None:
            raise again(error)
        if left <= 0 and deadline is not None:
            raise Late
        self._over.wait(min(left, _SPAN / 2))

    def note_failure(self, error: Exception) -> bool:
        """Note an error; return whether the server cannot be used."""
        if not isinstance(error, (Elsewhere, Full, Late)):
            self.errors.step()
            self.tell(error)
        if not self._is_outage(error):
            return False
        if self.error is None:
            self._start = self.clock() - _JITTER * urandom(1)[0] / 256
            self._over.clear()
        self.error = again(error)
        self._failures += 1
        outage = _Outage(self.clock(), self.error)
        if self._outage.setdefault(0, outage) is outage:
            self.story.tell("outage_began", reason=_begin_of(error))
        return True

    def tell(self, error: Exception) -> None:
        """Announce an error; only the first one of an outage is kept."""
        story = self.story
        if not self._outage:
            details = (again(error),) if story.observers else ()
            story.tell("failed", *details, reason=_in_short(error))
        elif story.observers:
            story.observers.notify("failed", again(error))

    def note_success(self) -> None:
        """Note that the server has accepted a connection."""
        if self.error is not None:
            self.error = None
            self._failures = 0
            self._over.set()
        outage = self._outage.get(0)
        if outage is not None and not (
                self.lacks is not None and self.lacks(outage.error)):
            self._end_outage()

    def _end_outage(self) -> None:
        outage = self._outage.pop(0, None)
        if outage is not None:
            seconds = self.clock() - outage.began
            # the first loss is noticed before it turns out to be an outage
            lost = self.story.number_of("lost", seconds + _BEFORE)
            self.story.tell(
                "outage_ended", seconds, seconds=seconds,
                reason=f"{_end_of(outage.error)}, after {seconds:.3g} s"
                f"{f'; connections lost: {lost}' if lost else ''}")

    @property
    def outage(self) -> float | None:
        """For how many seconds a server cannot be used, if that is so."""
        outage = self._outage.get(0)
        return None if outage is None else self.clock() - outage.began

    def reconnected(self, connection: int, reason: str) -> None:
        """Note that a session was replaced.

        connection: the number of its connection
        reason: why in words, "" if it was found dead
        """
        self.reconnects.step()
        if not reason:
            self.lost(connection)
        self.story.tell(
            "reconnected", connection=connection,
            reason=reason or _FOUND_DEAD)

    def lost(self, connection: int, reason: str = _FOUND_DEAD) -> None:
        """Note that the server has ended a session."""
        self.story.tell("lost", connection=connection, reason=reason)


def _begin_of(error: Exception) -> str:
    """Return what cannot be used, and why.

    An error that concerns several servers names them.
    """
    causes = getattr(error, "causes", None)
    if causes is None:
        return f"The server cannot be used: {_in_short(error)}"
    reasons = "; ".join(
        f"{name} {cause}" if isinstance(cause, str)
        else f"{name} fails with {_in_short(cause)}"
        for name, cause in causes.items())
    return f"No server can be used{_aim_of(error)}: {reasons}"


def _end_of(error: Exception) -> str:
    """Return what can be used again after an error."""
    server = "The server" if getattr(error, "causes", None) is None else (
        "A server")
    return f"{server} can be used again{_aim_of(error)}"


def _aim_of(error: Exception) -> str:
    aim = getattr(error, "aim", None)
    return "" if aim is None else f" ({aim})"


def _in_short(error: Exception) -> str:
    """Return the type of an error and its code, without its text.

    The texts of drivers may contain passwords.
    """
    codes = [
        getattr(error, "sqlstate", None), getattr(error, "pgcode", None),
        *error.args[:1]]
    known = " ".join([
        type(error).__name__, *list(map(str, filter(_is_code, codes)))[:1]])
    return f"{known}, connection refused" if _is_refused(error) else known


def _is_refused(error: BaseException) -> bool:
    """Return whether no server listens, as the error or its cause tells."""
    # no generators, which keep an interrupt within them
    causes = [error, error.__cause__, error.__context__]
    texts = [
        text.lower() for cause in causes if cause is not None
        for text in cause.args if isinstance(text, str)]
    return "connection refused" in "\n".join(texts) or any(
        map(_is_refusal, causes))


def _is_refusal(error: BaseException | None) -> bool:
    return isinstance(error, ConnectionRefusedError)


def _is_code(value: Any) -> bool:
    is_number = isinstance(value, int)
    return is_number or (
        isinstance(value, str) and len(value) == _STATE and value.isalnum()
        and value.isupper())


def again(error: Exception) -> Exception:
    """Return an error like another one, without the frames it refers to."""
    try:
        from copy import copy  # noqa: PLC0415 - rarely needed

        return copy(error)
    except Exception:  # noqa: BLE001 - not all can be copied, or at the end
        return error
