"""The wait for a pool that is ready for requests."""

from __future__ import annotations

import threading
from time import monotonic

from .._base.hints import Any, Callable
from .._base.opening import Elsewhere, Late
from .opener import open_ahead
from .refusals import LATE, PoolClosed, refusal

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from .limits import Limits

__all__ = ["wait_until_ready"]

# In seconds, the time between two looks for what others are opening.
_LOOK = 0.01
# In seconds, the time that stands for no limit; no lock can wait longer.
_FOREVER = threading.TIMEOUT_MAX / 2


def wait_until_ready(
        core: Any, connect: Callable[[], Any], timeout: float | None) -> None:
    """Wait until mincached connections are ready, idle or in use.

    Without mincached, borrow a connection and give it back.  This function
    opens the missing ones itself, since a pool need not have a background.

    The timeout and the errors are those of acquire().
    """
    timeout = _FOREVER if timeout is None else timeout
    start = monotonic()
    try:
        if core.limits.mincached:
            _open_missing(core, connect, start + timeout)
        else:
            _borrow(core, connect, timeout)
        return
    except Late:
        pass  # the time is over, which is said below
    except Exception as error:
        if monotonic() < start + timeout or not core.backend.is_outage(error):
            raise
    core.timeouts.step()
    # no variable keeps an error, since its traceback keeps the variables
    raise refusal(
        core, monotonic() - start, LATE) from core.throttle.last_error()


def _borrow(core: Any, connect: Callable[[], Any], timeout: float) -> None:
    """Take a connection as a request does, and put it back."""
    permit = None
    try:
        permit = core.acquire(
            connect, timeout, False, None, core.request(None, None))
        permit.taken = None  # that was no use
        core.release_dropped(permit)
    finally:
        permit = None  # not to be kept by a traceback


def _open_missing(
        core: Any, connect: Callable[[], Any], deadline: float) -> None:
    """Open connections until there are enough, or others have done that."""
    pause = threading.Event()
    while not _is_ready(core):
        permit = core.slots.take() if len(core.slots) < _wanted(core) else None
        if permit is None:  # others are opening them
            if monotonic() >= deadline:
                raise Late
            pause.wait(_LOOK)
            core.reclaim()
            continue
        try:
            open_ahead(core, permit, connect, deadline)
        except Elsewhere:
            pass  # another connection was idle, or the pool was shut down
        finally:
            permit = None  # not to be kept by a traceback


def _is_ready(core: Any) -> bool:
    """Return whether there are enough connections, or raise an error."""
    if core.is_closed:
        raise PoolClosed
    return len(core.connections()) >= _wanted(core)


def _wanted(core: Any) -> int:
    """Return how many connections make the pool ready, within its limits."""
    limits: Limits = core.limits
    return min([limits.mincached, *filter(None, [
        limits.maxconnections, limits.maxcached])])
