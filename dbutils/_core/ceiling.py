"""The ceiling of a pool whose server has too many connections.

The pool halves the number of its connections, and allows itself one more
every few seconds.  All processes that do so come to equal shares of the
server, and soon use what one of them has left.  Those of their requests that
may wait do so meanwhile, in their turn.
"""

from __future__ import annotations

from os import urandom
from time import monotonic

from .._base.hints import Any, NamedTuple
from .throttle import again

__all__ = [
    "Ceiling", "is_making_way", "limit_of", "lower", "make_way",
    "number_of", "rise", "vary"]

# In seconds: the time until a pool allows itself one connection more, for the
# fourth power of the number that it would have then, so that those with few of
# them catch up; the longest such time; and the time until a pool without any
# makes another attempt.  Each varies from that to twice that, so that not all
# processes act at the same time.
_STEP = 0.01
_LONGEST_STEP = 10.0
_RETRY = 0.1
# In seconds, the same for a place that is left to others, if they need it.
_WAY = 0.3
# In seconds, the time without a refusal after which all is as before.
_OVER = 60.0


class Ceiling(NamedTuple):
    """How many connections a pool may have for now.

    lowered_at, rises_at: when that became less, and when it becomes more
    error: the last one by which the server has refused a connection; None if
        it has not
    """

    number: int
    lowered_at: float
    rises_at: float
    error: Exception | None

    @property
    def text(self) -> str:
        """Why requests get no connection."""
        return (
            "The server has too many connections. The pool may have"
            f" {self.number} of them for now, which are in use")


def limit_of(core: Any) -> int | None:
    """Return how many connections a pool may have at this moment."""
    limit: int | None = core.limits.maxconnections
    if core.ceiling is None:
        return limit
    number: int = core.ceiling.number
    return min(number, limit or number)


def number_of(ceiling: Ceiling | None) -> int | None:
    """Return how many connections a full server leaves, None if it is not."""
    is_full = ceiling is not None and ceiling.error is not None
    return ceiling.number if is_full else None  # type: ignore[union-attr]


def lower(core: Any, error: Exception, start: float) -> None:
    """Halve the number of connections after the server has refused one.

    start: when the attempt was begun; those that were made together count
        once, since only the first could have been avoided
    """
    now = monotonic()
    with core.changing.take():
        before = core.ceiling
        if before is not None and start < before.lowered_at:
            return
        number = (_opened(core) + 1) // 2
        core.ceiling = Ceiling(
            number, now, now + _pause(number), again(error))
        core.slots.limit = limit_of(core)
    core.choose_ways()
    core.after_release()


def make_way(core: Any, is_loaded: bool) -> None:
    """Leave the place of an expired connection to others for a moment.

    is_loaded: whether it is known that the pool is under load

    A pool that has all connections that it may have is not told that the
    server is full.  If others take the place, opening another one tells it.
    This is only done under load, and where requests wait.
    """
    now, limit = monotonic(), core.limits.maxconnections
    if not limit or core.timeout == 0 or (core.idle and not is_loaded):
        return
    with core.changing.take():
        number = _opened(core)
        if core.ceiling is None and 0 < number == limit - 1:
            core.ceiling = Ceiling(number, now, now + vary(_WAY), None)
            core.slots.limit = number


def is_making_way(core: Any, may_wait: bool) -> bool:
    """Return whether a place is left to others.

    A request that may not wait takes it back.
    """
    ceiling = core.ceiling
    if ceiling is None or ceiling.error is not None or may_wait:
        return ceiling is not None and ceiling.error is None
    with core.changing.take():
        if core.ceiling is ceiling:
            core.ceiling = None
            core.slots.limit = limit_of(core)
    core.choose_ways()
    return False


def rise(core: Any) -> None:
    """Allow one connection more for each step of time that has passed."""
    now, ceiling = monotonic(), core.ceiling
    if ceiling is None or now < ceiling.rises_at:
        return
    with core.changing.take():
        if core.ceiling is not ceiling:
            return  # another thread did it
        core.ceiling = _risen(ceiling, now, core.limits.maxconnections)
        core.slots.limit = limit_of(core)
    core.choose_ways()


def _risen(
        ceiling: Ceiling, now: float, limit: int | None) -> Ceiling | None:
    """Return the ceiling as it is now, None if it is over."""
    number, rises_at = ceiling.number, ceiling.rises_at
    while now >= rises_at:
        number += 1
        rises_at += _pause(number)
        if now - ceiling.lowered_at >= _OVER or (
                limit is not None and number >= limit):
            return None
    return ceiling._replace(number=number, rises_at=rises_at)


def _opened(core: Any) -> int:
    """Return how many of the allowed connections there are."""
    number: int = len(core.connections())
    return number if core.ceiling is None else min(
        number, core.ceiling.number)


def _pause(number: int) -> float:
    """Return the time until a pool with some connections gets one more."""
    return vary(
        min(_STEP * (number + 1) ** 4, _LONGEST_STEP) if number else _RETRY)


def vary(seconds: float) -> float:
    """Return a time that varies from this one to twice it."""
    return seconds * (1 + urandom(1)[0] / 256)
