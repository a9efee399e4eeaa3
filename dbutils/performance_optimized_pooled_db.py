"""Pools that measure themselves, and can do more to be fast.

They report how long connections are waited for, used and returned, and what
could be improved.  On demand they lend a connection to the thread that had it
last, ask it less often, keep what is needed ready, and clean up elsewhere.
"""

from __future__ import annotations

import threading
from time import monotonic
from typing import Any, Callable, Iterator

from ._base.atomic import Count
from ._base.checks import check_seconds
from ._core.backend import Observer
from ._core.features import Feature
from ._core.history import LoadHistory, load_of, open_ahead
from ._core.pool import core_of
from ._core.resetting import ResetWorkers
from ._core.slots import holder_of
from ._core.stats import Cycle, Timings, describe
from ._core.tuning import observe, set_order, set_reset_workers
from .pooled_db import PooledDB, PooledDedicatedDBConnection

__all__ = ["Performance", "PerformanceOptimizedPooledDB"]

# In seconds: for how long a connection counts as alive, and the time between
# two looks at the demand, and how many looks count.
_ALIVE = 0.5
_INTERVAL = 1.0
_LOOKS = 60
# Of how many connections that are lent one is measured.
_EACH = 128
# From which part on something is worth a suggestion, and from which time on.
_MANY_WAITS = 0.1
_FEW_HITS = 0.9
_LARGE_PART = 0.1
_LONG = 0.0001


class _MeasuredLease(PooledDedicatedDBConnection):
    """A lease whose use and return are measured."""

    __slots__ = ()

    def close(self) -> None:
        """Give the connection back to the pool; do not close it."""
        holder = holder_of(self._checkout)
        if holder is None:
            return
        start = monotonic()
        super().close()
        timer = core_of(holder.pool).timer
        timer.returned(start - holder.since, monotonic() - start)


class _Timer(Observer):
    """Measures a part of what a pool does, and counts all of it."""

    def __init__(self) -> None:
        self._cycle = Cycle(_EACH)
        self.tick = self._cycle.step
        # What was measured: connections that were lent without more ado, and
        # those for which more had to be done, which is measured always.
        self._nested = Count()
        self.quick = Timings()
        self.slow = Timings()
        self.uses = Timings()
        self.releases = Timings()
        self.creations = Timings()
        self.waits = Timings()
        self.misses = Count()
        self.ahead = Count()
        self.timeouts = Count()
        # Requests that were not served, for whatever reason.
        self.failures = Count()
        # What has happened in a thread since it was asked to measure.
        self._here = threading.local()

    def begin(self) -> float:
        """Begin to measure; return the time."""
        self._cycle.note_round()
        self._nested.step()
        self._here.was_slow = False
        return monotonic()

    def lent(self, lease: Any, seconds: float) -> None:
        """Note that a connection was lent that was to be measured."""
        if type(lease) is PooledDedicatedDBConnection:
            lease.__class__ = _MeasuredLease
        if not self._here.was_slow:
            self.quick.add(seconds)

    def lent_slowly(self, seconds: float) -> None:
        """Note that more had to be done before a connection was lent."""
        here = self._here
        here.was_slow = True
        self.slow.add(seconds)
        if getattr(here, "was_missed", False):
            here.was_missed = False
            self.misses.step()

    def returned(self, used: float, seconds: float) -> None:
        """Note that a connection was returned that was measured."""
        self.uses.add(used)
        self.releases.add(seconds)

    def opened(self, seconds: float, is_ahead: bool) -> None:
        """Note that a connection was opened."""
        self.creations.add(seconds)
        if is_ahead:
            self.ahead.step()
        else:
            self._here.was_missed = True

    def waited(self, seconds: float, was_served: bool) -> None:
        """Note that a request had to wait."""
        self.waits.add(seconds)
        if was_served:
            self._here.was_missed = True
        else:
            self.timeouts.step()

    def refused(self) -> None:
        """Note that a request was not served."""
        self.failures.step()
        self._here.was_missed = False

    @property
    def number(self) -> int:
        """How many connections were lent, or asked for in vain."""
        return self._cycle.read() - self._nested.read()

    @property
    def lent_number(self) -> int:
        """How many connections were lent."""
        return max(self.number - self.failures.read(), 0)

    def acquisitions(self) -> dict[str, float]:
        """Return the figures of the acquisitions."""
        lent, slow = self.lent_number, self.slow.number
        return describe(self.number, [
            (max(lent - slow, 0), self.quick.values),
            (slow, self.slow.values)])


def _stats_of(timings: Timings, number: int | None = None) -> dict[str, float]:
    """Return the figures of what was measured of so many events."""
    number = timings.number if number is None else number
    return describe(number, [(number, timings.values)])


class _Trust:
    """Asks no connection again that has proved to be alive just now."""

    def __init__(self) -> None:
        self.checks = Timings()
        self.spared = Count()

    def is_well(self, session: Any, seconds: float | None) -> bool:
        """Tell whether nothing is known to be wrong with a connection.

        seconds: how long the request can wait; if it cannot, a dead
            connection is replaced
        """
        reconnect = not seconds
        start = monotonic()
        if session.valid and start - session.answered < _ALIVE and (
                reconnect or session.is_quiet()):
            self.spared.step()
            return True
        is_alive: bool = (
            session.is_alive_within(seconds / 2) if seconds  # or to connect
            else session.is_well(reconnect=False))
        now = monotonic()
        self.checks.add(now - start)
        if is_alive:
            session.answered = now
        return is_alive or (reconnect and session.is_well(reconnect=True))


class _Switches:
    """What is switched on in a pool, and the limits that are set."""

    def __init__(self) -> None:
        self.is_acquisition_optimized = False
        self.is_cache_optimized = False
        # In seconds, None without a limit.
        self.acquisition_timeout: float | None = None
        self.reset_workers = ResetWorkers()

    @property
    def is_concurrency_optimized(self) -> bool:
        """Whether connections are cleaned off the way of who returns them."""
        return self.reset_workers.is_apart

    @property
    def release_timeout(self) -> float | None:
        """How many seconds it may take to clean a connection."""
        return self.reset_workers.timeout


class Performance(Feature):
    """Measures a pool, and makes it faster on demand."""

    def __init__(self) -> None:
        super().__init__()
        self._timer = _Timer()
        self._trust = _Trust()
        self._history = LoadHistory(_LOOKS)
        self._switches = _Switches()
        self._looked_at = 0.0
        # When and after how many acquisitions there was the last report.
        self._reported = monotonic(), 0

    def __repr__(self) -> str:
        return "<performance of a pool>"

    def _join(self, core: Any, connect: Callable[[], Any]) -> None:
        """Begin to work on a pool."""
        if core.timer is not None:
            raise ValueError("The performance of a pool is measured once.")
        super()._join(core, connect)
        core.timer = self._timer
        core.tick = self._timer.tick
        observe(core, self._timer)
        self._history.join(core)
        set_order(core)

    # What can be switched on.

    def optimize_acquisition(self) -> None:
        """Lend to threads what they had last, and ask it less often."""
        core = self._core
        self._switches.is_acquisition_optimized = True
        core.trust = self._trust
        set_order(core, own=True)

    def optimize_cache(self) -> None:
        """Keep ready what is needed, and no more, the latest first."""
        core = self._core
        self._switches.is_cache_optimized = True
        set_order(core, latest=True)
        self._history.watch(core)
        self._begin_ticking()

    def optimize_concurrency(self) -> None:
        """Clean connections off the way of who returns them."""
        core = self._core
        self._switches.reset_workers.is_apart = True
        self._set_reset_workers(core)

    def _set_reset_workers(self, core: Any) -> None:
        reset_workers = self._switches.reset_workers
        is_needed = reset_workers.is_apart or reset_workers.timeout is not None
        set_reset_workers(core, reset_workers if is_needed else None)

    def tune(self, **options: Any) -> None:
        """Limit the time that requests wait, and that cleaning takes."""
        core = self._core
        for name, value in options.items():
            if name not in {"acquisition_timeout", "release_timeout"}:
                raise TypeError(
                    f"{name!r} cannot be tuned, only 'acquisition_timeout'"
                    " and 'release_timeout' can be.")
            check_seconds(name, value)
        if "acquisition_timeout" in options:
            self._switches.acquisition_timeout = options["acquisition_timeout"]
            core.timeout = self._switches.acquisition_timeout
        if "release_timeout" in options:
            self._switches.reset_workers.timeout = options["release_timeout"]
            self._set_reset_workers(core)

    # What is done in the background.

    def _pause(self) -> float | None:
        """Return the seconds until the next look."""
        return _INTERVAL if self._switches.is_cache_optimized else None

    def _work(self, core: Any) -> None:
        """Follow the demand."""
        if self._switches.is_cache_optimized and (
                monotonic() - self._looked_at >= _INTERVAL):
            self._looked_at = monotonic()
            self._follow_demand(core)

    def _follow_demand(self, core: Any) -> None:
        """Close what was not needed for a while, and open what soon will be.

        If the load rises, it is expected to go on as it did lately.
        """
        peaks = self._history.peaks
        before = peaks[-1] if peaks else 0
        load = self._history.look(core)
        if len(peaks) == _LOOKS:
            spare = max(peaks) - load_of(core)
            core.trim(max(spare, core.limits.mincached))
        if load > before:
            open_ahead(core, self._connect(), 2 * load - before)

    # What is reported.

    def report(self) -> dict[str, Any]:
        """Return how the pool has worked, and what could be improved."""
        core, timer = self._core, self._timer
        acquisitions = timer.acquisitions()
        number = int(acquisitions["count"])
        returned = max(timer.lent_number - core.stats().in_use, 0)
        misses = timer.misses.read()
        report = {
            "connection_acquisition_time": acquisitions,
            "connection_release_time": _stats_of(timer.releases, returned),
            "connection_creation_time": _stats_of(timer.creations),
            "connection_use_time": _stats_of(timer.uses, returned),
            "hit_rate": 1 - misses / number if number else 1.0,
            "waits": timer.waits.number,
            "timeouts": timer.timeouts.read(),
            "reconnects": core.stats().reconnects,
            "throughput": self._throughput(number),
            "optimizations": self._optimizations(),
        }
        report["suggestions"] = list(self._suggestions(core, report))
        return report

    def _throughput(self, number: int) -> float:
        """Return the acquisitions in a second, since the last report."""
        then, before = self._reported
        now = monotonic()
        self._reported = now, number
        return (number - before) / max(now - then, 1e-9)

    def _optimizations(self) -> dict[str, dict[str, Any]]:
        """Return what is switched on, and what that has saved."""
        timer, trust, switches = self._timer, self._trust, self._switches
        reset_workers = switches.reset_workers
        spared, ahead = trust.spared.read(), timer.ahead.read()
        return {
            "acquisition": {"enabled": switches.is_acquisition_optimized,
            "spared_checks": spared, "saved_seconds": spared *
            trust.checks.mean}, "cache_strategy": {"enabled":
            switches.is_cache_optimized, "opened_ahead": ahead,
            "saved_seconds": ahead * timer.creations.mean}, "concurrency":
            {"enabled": switches.is_concurrency_optimized, "cleaned_apart":
            reset_workers.times.number, "saved_seconds":
            reset_workers.times.number * reset_workers.times.mean} }

    def _suggestions(
            self, core: Any, report: dict[str, Any]) -> Iterator[str]:
        number = report["connection_acquisition_time"]["count"]
        limits = core.limits
        waits = report["waits"] / max(number, 1)
        if waits > _MANY_WAITS and limits.maxconnections is not None:
            wanted = min(
                max(self._history.highest, limits.maxconnections + 1),
                2 * limits.maxconnections)
            yield (
                f"waits are {waits:.0%} of acquisitions: raise maxconnections"
                f" from {limits.maxconnections} to {wanted}")
        misses = 1 - report["hit_rate"] - waits
        if number > _LOOKS and misses > 1 - _FEW_HITS:
            size = (
                "" if limits.maxcached is None
                else f": raise maxcached from {limits.maxcached}")
            yield (
                f"{misses:.0%} of acquisitions had to open a connection{size}"
                ", or call optimize_cache_strategy()")
        yield from self._suggest_optimizations(report)

    def _suggest_optimizations(
            self, report: dict[str, Any]) -> Iterator[str]:
        used = report["connection_use_time"]["mean"]
        release = report["connection_release_time"]["mean"]
        long = max(_LARGE_PART * used, _LONG)
        if release > long and not self._switches.is_concurrency_optimized:
            yield (
                f"a return takes {release:.2g} seconds, while a connection"
                f" is used for {used:.2g}: call optimize_concurrency()")
        lent = self._timer.quick.mean
        if lent > long and not self._switches.is_acquisition_optimized:
            yield (
                f"to get an idle connection takes {lent:.2g} seconds, while"
                f" it is used for {used:.2g}:"
                " call optimize_connection_acquisition()")


def _switches_of(performance: Performance) -> _Switches:
    """Return what is switched on in the pool of a feature."""
    return performance._switches  # noqa: SLF001 - of this module


class PerformanceOptimizedPooledDB(PooledDB):
    """A pool of steady DB-API 2 connections that measures itself."""

    def __init__(
            self, *args: Any, performance_optimization: bool = True,
            features: Any = (), **kwargs: Any) -> None:
        """Set up the pool.

        performance_optimization: if false, this is a plain pool, which can
            neither report nor optimize anything

        All other parameters are those of pooled_db.PooledDB.
        """
        self._performance = Performance()
        if performance_optimization:
            features = (*features, self._performance)
        super().__init__(*args, features=features, **kwargs)

    @property
    def _acquisition_optimized(self) -> bool:
        return _switches_of(self._performance).is_acquisition_optimized

    @property
    def _cache_strategy_optimized(self) -> bool:
        return _switches_of(self._performance).is_cache_optimized

    @property
    def _concurrency_optimized(self) -> bool:
        return _switches_of(self._performance).is_concurrency_optimized

    @property
    def _acquisition_timeout(self) -> float | None:
        return _switches_of(self._performance).acquisition_timeout

    @property
    def _release_timeout(self) -> float | None:
        return _switches_of(self._performance).release_timeout

    def performance_report(self) -> dict[str, Any]:
        """Return how the pool has worked, and what could be improved.

        Of the connections that are lent without more ado, each 128th is
        measured, all others always; the times are those of the last 2000
        that were measured, in seconds.
        """
        return self._performance.report()

    def optimize_connection_acquisition(self) -> None:
        """Lend to a thread what it had last, and ask that less often.

        A connection that has proved to be alive half a second ago is not
        asked again before it is lent.
        """
        self._performance.optimize_acquisition()

    def optimize_cache_strategy(self) -> None:
        """Lend what was in use last, and have as many as are needed.

        What was not needed in the last minute is closed, and if the load
        rises, connections are opened ahead, both in the background.
        """
        self._performance.optimize_cache()

    def optimize_concurrency(self) -> None:
        """Let nobody wait for the rollback of what is returned.

        It is done by another thread, if the driver says that it is needed.
        """
        self._performance.optimize_concurrency()

    def set_performance_tuning_config(self, **options: Any) -> None:
        """Set limits, all of those that are given or none.

        acquisition_timeout: how many seconds a request waits at most until
            it gets a TooManyConnectionsError
        release_timeout: how many seconds it may take to clean a connection
            that is returned; then it is replaced

        None means that there is no limit.
        """
        self._performance.tune(**options)
