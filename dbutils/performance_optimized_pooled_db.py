"""Pools that measure themselves, and can optimize themselves.

They report for how long connections are waited for, used and returned, and
suggest improvements.  On demand they lend a connection to the thread that had
it last, check it less often, keep enough connections open, and reset them in
another thread.
"""

from __future__ import annotations

from operator import attrgetter
from time import monotonic

from ._base.checks import check_seconds
from ._base.hints import Any, Callable, Con, Creator, Iterator
from ._core.features import Feature
from ._core.history import LoadHistory, load_of, open_ahead
from ._core.lease import core_of, permit_of
from ._core.resetting import ResetWorkers
from ._core.slots import holder_of
from ._core.tuning import observe, set_reset_workers
from ._pooled.measuring import AliveCache, PoolTimer, stats_of
from .pooled_db import PooledDB, PooledDedicatedDBConnection

__all__ = ["Performance", "PerformanceOptimizedPooledDB"]

# The seconds between two looks at the load, and how many looks count.
_INTERVAL = 1.0
_LOOKS = 60
# Of how many leases one is measured.
_EACH = 128
# The fractions and the seconds above which a suggestion is made.
_MANY_WAITS = 0.1
_FEW_HITS = 0.9
_LARGE_PART = 0.1
_LONG = 0.0001


class Performance(Feature):
    """Measures a pool, and optimizes it on demand."""

    def __init__(self) -> None:
        super().__init__()
        self._timer = PoolTimer(
            _EACH, {PooledDedicatedDBConnection: _MeasuredLease})
        self._alive_cache = AliveCache()
        self._history = LoadHistory(_LOOKS)
        self._is_acquisition_optimized = self._is_cache_optimized = False
        # In seconds, None without a limit.
        self._acquisition_timeout: float | None = None
        self._reset_workers = ResetWorkers()
        self._looked_at = 0.0
        # The time and the number of acquisitions of the last report.
        self._reported = monotonic(), 0

    def __repr__(self) -> str:
        return "<performance of a pool>"

    def _join(self, core: Any, connect: Callable[[], Any]) -> None:
        """Begin to work on a pool."""
        if core.timer is not None:
            raise ValueError(
                "The performance of a pool is measured once. [DBU-13]")
        super()._join(core, connect)
        core.timer = self._timer
        core.tick = self._timer.tick
        core.choose_ways()
        observe(core, self._timer)
        self._history.join(core)
        core.set_order()

    # Switches.

    def optimize_acquisition(self) -> None:
        """Lend to a thread what it had last, and check that less often."""
        core = self._core
        self._is_acquisition_optimized = True
        core.trust = self._alive_cache
        core.is_careful = True
        core.set_order(own=True)

    def optimize_cache(self) -> None:
        """Keep as many idle as are needed, and lend the latest first."""
        core = self._core
        self._is_cache_optimized = True
        core.set_order(latest=True)
        self._history.watch(core)
        self._begin_ticking()

    def optimize_concurrency(self) -> None:
        """Reset returned connections in another thread."""
        core = self._core
        self._reset_workers.is_apart = True
        self._set_reset_workers(core)

    def _set_reset_workers(self, core: Any) -> None:
        reset_workers = self._reset_workers
        is_needed = reset_workers.is_apart or reset_workers.timeout is not None
        set_reset_workers(core, reset_workers if is_needed else None)

    def tune(self, **options: Any) -> None:
        """Limit the seconds that requests wait and resets take."""
        core = self._core
        for name, value in options.items():
            if name not in {"acquisition_timeout", "release_timeout"}:
                raise TypeError(
                    f"{name!r} cannot be tuned, only 'acquisition_timeout'"
                    " and 'release_timeout' can be. [DBU-12]")
            check_seconds(name, value)
        if "acquisition_timeout" in options:
            self._acquisition_timeout = options["acquisition_timeout"]
            core.timeout = self._acquisition_timeout
        if "release_timeout" in options:
            self._reset_workers.timeout = options["release_timeout"]
            self._set_reset_workers(core)

    # Work in the background.

    def _pause(self) -> float | None:
        """Return the seconds until the next look."""
        return _INTERVAL if self._is_cache_optimized else None

    def _work(self, core: Any) -> None:
        """Follow the load."""
        if self._is_cache_optimized and (
                monotonic() - self._looked_at >= _INTERVAL):
            self._looked_at = monotonic()
            self._follow_load(core)

    def _follow_load(self, core: Any) -> None:
        """Close connections that were not needed, and open some ahead.

        A rising load is expected to rise once more by as much.
        """
        peaks = self._history.peaks
        before = peaks[-1] if peaks else 0
        load = self._history.look(core)
        if len(peaks) == _LOOKS:
            spare = max(peaks) - load_of(core)
            core.trim(max(spare, core.limits.mincached))
        if load > before:
            open_ahead(core, self._connect(), 2 * load - before)

    # Reports.

    def report(self) -> dict[str, Any]:
        """Return measurements of the pool, and suggestions."""
        core, timer = self._core, self._timer
        acquisitions = timer.acquisitions()
        number = int(acquisitions["count"])
        returned = max(timer.lent_number - core.stats().in_use, 0)
        misses = timer.misses.read()
        report = {
            "connection_acquisition_time": acquisitions,
            "connection_release_time": stats_of(timer.releases, returned),
            "connection_creation_time": stats_of(timer.creations),
            "connection_use_time": stats_of(timer.uses, returned),
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
        """Return the acquisitions per second since the last report."""
        then, before = self._reported
        now = monotonic()
        self._reported = now, number
        return (number - before) / max(now - then, 1e-9)

    def _optimizations(self) -> dict[str, dict[str, Any]]:
        """Return which optimizations are on, and what each has saved."""
        timer, cache = self._timer, self._alive_cache
        resets = self._reset_workers.times
        spared, ahead = cache.spared.read(), timer.ahead
        return {
            "acquisition": {
                "enabled": self._is_acquisition_optimized,
                "spared_checks": spared,
                "saved_seconds": spared * cache.checks.mean},
            "cache_strategy": {
                "enabled": self._is_cache_optimized,
                "opened_ahead": ahead,
                "saved_seconds": ahead * timer.creations.mean},
            "concurrency": {
                "enabled": self._reset_workers.is_apart,
                "cleaned_apart": resets.number,
                "saved_seconds": resets.number * resets.mean},
        }

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
        if release > long and not self._reset_workers.is_apart:
            yield (
                f"a return takes {release:.2g} seconds, while a connection"
                f" is used for {used:.2g}: call optimize_concurrency()")
        lent = self._timer.quick.mean
        if lent > long and not self._is_acquisition_optimized:
            yield (
                f"to get an idle connection takes {lent:.2g} seconds, while"
                f" it is used for {used:.2g}:"
                " call optimize_connection_acquisition()")


class _MeasuredLease(PooledDedicatedDBConnection[Any]):
    """A lease whose use and return are measured."""

    __slots__ = ()

    def close(self) -> None:
        """Give the connection back to the pool; do not close it."""
        pool, holder = self._pool, holder_of(permit_of(self))
        start = monotonic()
        super().close()
        if pool is None or holder is None:
            return
        timer = core_of(pool).timer
        timer.returned(start - holder.since, monotonic() - start)


def _inner(name: str) -> Any:
    """Return a property that shows what is switched on in a pool."""
    return property(attrgetter(f"_performance._{name}"))


class PerformanceOptimizedPooledDB(PooledDB[Con]):
    """A pool of steady DB-API 2 connections that measures itself."""

    def __init__(
            self, creator: Creator[Con] | None = None, *args: Any,
            performance_optimization: bool = True,
            features: Any = (), **kwargs: Any) -> None:
        """Set up the pool.

        performance_optimization: if false, this is a plain pool, which can
            neither report nor optimize anything

        All other parameters are those of pooled_db.PooledDB.
        """
        self._performance = Performance()
        if performance_optimization:
            features = (*features, self._performance)
        super().__init__(creator, *args, features=features, **kwargs)

    # Inner names that programs and their tests read.
    _acquisition_optimized = _inner("is_acquisition_optimized")
    _cache_strategy_optimized = _inner("is_cache_optimized")
    _concurrency_optimized = _inner("reset_workers.is_apart")
    _acquisition_timeout = _inner("acquisition_timeout")
    _release_timeout = _inner("reset_workers.timeout")

    def performance_report(self) -> dict[str, Any]:
        """Return measurements of the pool, and suggestions.

        Of the connections that are lent the fast way, every 128th is
        measured, and of the others every one; the times are those of the
        last 2000 that were measured, in seconds.
        """
        return self._performance.report()

    def optimize_connection_acquisition(self) -> None:
        """Lend to a thread what it had last, and check that less often.

        A connection that has answered within the last half second is not
        checked again before it is lent.
        """
        self._performance.optimize_acquisition()

    def optimize_cache_strategy(self) -> None:
        """Lend what was in use last, and keep as many idle as are needed.

        Connections that were not needed in the last minute are closed, and
        if the load rises, others are opened ahead, both in the background.
        """
        self._performance.optimize_cache()

    def optimize_concurrency(self) -> None:
        """Return connections without waiting for their rollback.

        Another thread does it, if the driver says that it is needed.
        """
        self._performance.optimize_concurrency()

    def set_performance_tuning_config(self, **options: Any) -> None:
        """Set all of the given limits, or none on an error.

        acquisition_timeout: how many seconds a request waits at most until
            it gets a TooManyConnectionsError
        release_timeout: how many seconds the reset of a returned connection
            may take; after that the connection is replaced

        None means that there is no limit.
        """
        self._performance.tune(**options)
