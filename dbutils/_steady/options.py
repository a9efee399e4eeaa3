"""The options of a steady connection, and how they are checked."""

from __future__ import annotations

from .._base.checks import shown
from .._base.hints import Any, Callable, NamedTuple
from .liveness import ALL_MOMENTS, AT_CHECKOUT, SqlPinger

__all__ = [
    "Ping", "SteadyOptions", "as_statements", "check_behind", "check_hook",
    "check_options", "check_reset", "parse_ping"]

_PING_TEXT = (
    "'ping' must be an integer from 0 to 7, an SQL statement, a callable,"
    " or a pair of such an integer and one of the latter. [DBU-03]")


class Ping(NamedTuple):
    """A parsed ping parameter: the moments, and the question."""

    when: int
    pinger: Callable[[Any], Any] | None


class SteadyOptions(NamedTuple):
    """The options of a steady connection."""

    maxusage: int
    failures: Any
    isfatal: Callable[[Exception], Any] | None
    ping: int
    pinger: Callable[[Any], Any] | None
    closeable: Any
    failover: str

    def is_fatal(self, error: Exception) -> bool:
        """Return whether the program takes an error as a loss."""
        return self.isfatal is None or bool(self.isfatal(error))


def check_options(
        maxusage: Any, failures: Any, isfatal: Any, ping: Any,
        closeable: Any, failover: str) -> SteadyOptions:
    """Check the parameters of a steady connection."""
    if maxusage is None:
        maxusage = 0
    if not isinstance(maxusage, int):
        raise TypeError("'maxusage' must be an integer value. [DBU-01]")
    kinds = failures if isinstance(failures, tuple) else (failures,)
    if failures is not None and not all(
            isinstance(kind, type) and issubclass(kind, Exception)
            for kind in kinds):
        raise TypeError("'failures' must be a tuple of exceptions. [DBU-01]")
    if isfatal is not None and not callable(isfatal):
        raise TypeError("'isfatal' must be a callable. [DBU-01]")
    if failover not in {"safe", "always", "never"}:
        raise ValueError(
            "'failover' must be 'safe', 'always' or 'never'. [DBU-03]")
    return SteadyOptions(
        maxusage, failures, isfatal, *parse_ping(ping), closeable, failover)


def parse_ping(ping: Any) -> Ping:
    """Split a ping parameter into its moments and its question."""
    if isinstance(ping, tuple):
        try:
            when, question = ping
        except ValueError:
            raise TypeError(_PING_TEXT) from None
    elif isinstance(ping, str) or callable(ping):
        when, question = AT_CHECKOUT, ping
    else:
        when, question = ping, None
    if isinstance(question, str):
        question = SqlPinger(question)
    elif question is not None and not callable(question):
        raise TypeError(_PING_TEXT)
    return Ping(_check_moments(when), question)


def _check_moments(when: Any) -> int:
    if when is None:
        return 0
    if not isinstance(when, int):
        raise TypeError(_PING_TEXT)
    if not 0 <= when <= ALL_MOMENTS:
        raise ValueError(_PING_TEXT)
    return when


def check_reset(reset: Any, *words: Any) -> None:
    """Check the parameter "reset" of a pool.

    words: the strings that it can be
    """
    if isinstance(reset, str) and reset not in words:
        allowed = ", ".join(map(repr, words))
        raise ValueError(
            "'reset' must be a truth value, a number, a callable, or one of"
            f" these: {allowed}. [DBU-03]")


def check_behind(behind: Any) -> bool:
    """Return whether there is a proxy that gives each transaction a session.

    Only a pool finds that out itself.
    """
    if behind is None or behind == "transaction-pooler":
        return behind is not None
    raise ValueError(
        "'behind' must be 'transaction-pooler' or None, not"
        f" {shown(behind)}; only PooledDB finds out what there is. [DBU-03]")


def check_hook(name: str, hook: Any) -> Any:
    """Return a function of the program unchanged, or raise an error."""
    if hook is None or callable(hook):
        return hook
    raise TypeError(
        f"{name!r} must be a callable, not {shown(hook)}. [DBU-01]")


def as_statements(setsession: Any) -> tuple[Any, ...] | None:
    """Return the statements that prepare a session as a tuple."""
    if isinstance(setsession, str):
        raise TypeError(
            "'setsession' must be a sequence of SQL statements,"
            " not a single string. [DBU-01]")
    return None if setsession is None else tuple(setsession)
