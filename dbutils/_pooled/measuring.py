"""The measurements of a pool, and the checks that recent answers spare.

Both are parts of performance_optimized_pooled_db.Performance.
"""

from __future__ import annotations

import threading
from time import monotonic

from .._base.atomic import Count
from .._base.hints import Any, Mapping
from .._core.stats import Timings, describe
from .._steady.liveness import ASK_DRIVER
from .._steady.state import OPEN

__all__ = ["AliveCache", "PoolTimer", "stats_of"]

# The stages of an acquisition that is measured: it has come to nothing on the
# fast way, and is begun again.
_DUE, _AGAIN = "due", "again"
# For how many seconds a connection that has answered counts as alive.
_ALIVE = 0.5


class PoolTimer:
    """Counts what a pool does, and measures a part of it."""

    def __init__(self, each: int, measured: Mapping[type, type]) -> None:
        """Set up the measurement.

        each: of how many leases one is measured
        measured: classes of leases, with the ones that measure their use
        """
        self._each = each
        self._measured = measured
        # All acquisitions.  Those on the fast way are only counted, but for a
        # few; the other ones are all measured.
        self._requests = Count()
        # The events in a thread since it was asked to measure.
        self._here = threading.local()
        self.quick = Timings()
        self.slow = Timings()
        self.uses = Timings()
        self.releases = Timings()
        self.creations = Timings()
        self.waits = Timings()
        self.misses = Count()
        self.missing = Count()
        self.timeouts = Count()
        # Requests that were not served, for whatever reason.
        self.failures = Count()

    def tick(self) -> int:
        """Count an acquisition; return 0 if it is to be measured."""
        if getattr(self._here, "stage", None) is _AGAIN:
            return 1
        return self._requests.step() % self._each

    def begin(self) -> None:
        """Note that an acquisition is to be begun again, and measured."""
        self._here.stage = _DUE

    def is_due(self) -> bool:
        """Return whether an acquisition is begun again now."""
        here = self._here
        is_due = getattr(here, "stage", None) is _DUE
        if is_due:
            here.stage, here.was_slow = _AGAIN, False
        return is_due

    def end(self) -> None:
        """Note the end of an acquisition that was begun again."""
        self._here.stage = None

    def lent(self, lease: Any, seconds: float) -> None:
        """Note the acquisition that was measured, and measure its lease."""
        self.measure(lease)
        if not self._here.was_slow:
            self.quick.add(seconds)

    def measure(self, lease: Any) -> None:
        """Measure the use of a lease."""
        measured = self._measured.get(type(lease))
        if measured is not None:
            lease.__class__ = measured

    def lent_slowly(self, seconds: float) -> None:
        """Note an acquisition that was not on the fast way."""
        here = self._here
        here.was_slow = True
        self.slow.add(seconds)
        if getattr(here, "was_missed", False):
            here.was_missed = False
            self.misses.step()

    def returned(self, used: float, seconds: float) -> None:
        """Note the use and the return of a lease that was measured."""
        self.uses.add(used)
        self.releases.add(seconds)

    def opened(self, seconds: float) -> None:
        """Note that a connection was opened."""
        self.creations.add(seconds)

    def missed(self) -> None:
        """Note that a request had to have it opened."""
        self.missing.step()
        self._here.was_missed = True

    @property
    def ahead(self) -> int:
        """How many connections were opened before a request missed them."""
        return max(self.creations.number - self.missing.read(), 0)

    def waited(self, seconds: float, was_served: bool) -> None:
        """Note that a request had to wait."""
        self.waits.add(seconds)
        if was_served:
            self._here.was_missed = True
        else:
            self.timeouts.step()

    def not_lent(self) -> None:
        """Note that a request was not served."""
        self.failures.step()
        self._here.was_missed = False

    @property
    def number(self) -> int:
        """Return how many acquisitions there were, also in vain."""
        return self._requests.read()

    @property
    def lent_number(self) -> int:
        """Return how many connections were lent."""
        return max(self.number - self.failures.read(), 0)

    def acquisitions(self) -> dict[str, float]:
        """Return the statistics of the acquisitions."""
        lent, slow = self.lent_number, self.slow.number
        return describe(self.number, [
            (max(lent - slow, 0), self.quick.values),
            (slow, self.slow.values)])


def stats_of(timings: Timings, number: int | None = None) -> dict[str, float]:
    """Return the statistics of the values that stand for `number` events."""
    number = timings.number if number is None else number
    return describe(number, [(number, timings.values)])


class AliveCache:
    """Spares the check of a connection that has just answered."""

    def __init__(self) -> None:
        self.checks = Timings()
        self.spared = Count()

    def is_well(self, session: Any, seconds: float | None) -> bool:
        """Return whether nothing is known to be wrong with a connection.

        seconds: how long the request can wait; if it cannot, a dead
            connection is replaced
        """
        reconnect = not seconds
        start = monotonic()
        if session.state == OPEN and start - session.answered < _ALIVE and (
                reconnect or session.is_quiet()):
            self.spared.step()
            return True
        is_alive: bool = (
            # the other half of the time is left for connecting
            session.is_alive(ASK_DRIVER, seconds / 2) if seconds
            else session.is_well(reconnect=False))
        now = monotonic()
        self.checks.add(now - start)
        if is_alive:
            session.answered = now
        return is_alive or (reconnect and session.is_well(reconnect=True))
