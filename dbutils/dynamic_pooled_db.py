"""Pools whose idle capacity follows the load.

The idle capacity is the number of connections that stay open when they come
back.  It grows while many are in use, so that they need not be opened again
and again, and shrinks after a quiet time, so that the server need not hold
unused connections.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import ceil

from ._base.atomic import snapshot
from ._base.checks import check_seconds, check_size
from ._base.hints import Any, Callable, Con, Creator
from ._core.features import Feature
from ._core.history import LoadHistory, load_of, open_ahead, size_of
from ._core.limits import Limits
from ._core.maintenance import refill
from ._core.tuning import limit_usage
from .pooled_db import PooledDB

__all__ = ["DynamicPooledDB", "DynamicSize", "Scaling"]


@dataclass(frozen=True)
class Scaling:
    """The times and thresholds at which the idle capacity follows the load.

    interval: after how many seconds the load is looked at again
    expand_at: the fraction of the capacity in use above which it is expanded
    shrink_at: the fraction below which it is too large
    patience: for how many intervals it has to be too large before it shrinks
    step: the fraction by which it is expanded
    """

    interval: float = 1
    expand_at: float = 0.75
    shrink_at: float = 0.25
    patience: int = 5
    step: float = 0.5

    def __post_init__(self) -> None:
        """Check the values."""
        if not check_seconds("interval", self.interval):
            raise ValueError("'interval' must be greater than 0. [DBU-02]")
        for name in ("expand_at", "shrink_at", "step"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(
                    f"{name!r} must be a number, not {value!r}. [DBU-01]")
            if not 0 < value <= 1:
                raise ValueError(
                    f"{name!r} must be a fraction above 0 and up to 1,"
                    f" but is {value}. [DBU-02]")
        if self.shrink_at * 2 > self.expand_at:  # it would expand again
            raise ValueError(
                "'shrink_at' must be at most half of 'expand_at'. [DBU-11]")
        if not check_size("patience", self.patience):
            raise ValueError("'patience' must be at least 1. [DBU-02]")


class DynamicSize(Feature):
    """Makes the idle capacity of a pool follow the load."""

    def __init__(self, scaling: Scaling | None = Scaling()) -> None:
        """Set up the scaling.

        scaling: its times and thresholds; None means only on demand
        """
        super().__init__()
        if not (scaling is None or isinstance(scaling, Scaling)):
            raise TypeError(
                f"'scaling' must be a Scaling or None, not {scaling!r}."
                " [DBU-01]")
        self._scaling = scaling
        self._step = Scaling.step if scaling is None else scaling.step
        self._history = LoadHistory(1 if scaling is None else scaling.patience)

    def __repr__(self) -> str:
        return f"<dynamic size with {self._scaling}>"

    def _join(self, core: Any, connect: Callable[[], Any]) -> None:
        """Begin to work on a pool."""
        super()._join(core, connect)
        self._history.join(core)

    def _pause(self) -> float | None:
        """Return the seconds until the next look."""
        return None if self._scaling is None else self._scaling.interval

    # Verbs on demand.

    def expand(self) -> int | None:
        """Raise the idle capacity; return it."""
        core = self._core
        size = core.limits.maxcached
        if size is not None:
            size += max(int(size * self._step), 1)
            _resize(core, size)
        return core.limits.maxcached

    def shrink(self) -> int | None:
        """Lower the idle capacity; return it."""
        core = self._core
        size = core.limits.maxcached
        if size is None:  # all that are open
            size = size_of(core)
        _resize(core, size // 2)
        return core.limits.maxcached

    def cleanup(self) -> int:
        """Close idle connections that are not needed; return their number."""
        core = self._core
        limits, load = core.limits, load_of(core)
        most = max([load, *snapshot(self._history.peaks)]) - load
        if limits.maxcached is not None:
            most = min(most, limits.maxcached - 1)
        return core.trim(max(most, limits.mincached))

    def adjust(self, **options: Any) -> None:
        """Change all of the given options of the pool, or none on an error."""
        core = self._core
        before = core.limits
        given = _check_options(options)
        core.resize(partial(_adjusted, given=given))
        try:
            refill(core, self._connect())
        except BaseException:
            core.resize(lambda _: before)
            raise
        if "maxusage" in given:
            limit_usage(core, given["maxusage"])
        if "maxwait" in given:
            core.timeout = given["maxwait"]

    # Work in the background.

    def _work(self, core: Any) -> None:
        """Look at the load, and follow it."""
        load, scaling = self._history.look(core), self._scaling
        if scaling is None:
            return
        limits = core.limits
        size = limits.maxcached
        wanted = ceil(load / scaling.expand_at)
        if size is not None and wanted > size:
            while size < wanted:
                size += max(int(size * scaling.step), 1)
            _resize(core, size)
        else:
            self._shrink_if_quiet(core, scaling)
        if load_of(core):
            open_ahead(core, self._connect(), wanted)

    def _shrink_if_quiet(self, core: Any, scaling: Scaling) -> None:
        """Shrink if every request was seen and few connections were used."""
        history, limits = self._history, core.limits
        size = limits.maxcached or size_of(core)
        if size <= max(limits.mincached, 1) or (
                history.peaks[-1] >= scaling.shrink_at * size):
            history.rest(core)
        elif not history.is_watching:
            history.watch(core)
        elif history.is_certain and (
                max(history.peaks) < scaling.shrink_at * size):
            history.peaks.clear()
            self.shrink()


def _resize(core: Any, size: int) -> None:
    """Set the idle capacity to `size`, or as near as the limits allow."""
    def adjust(limits: Limits) -> Limits:
        most = limits.maxconnections or size
        return limits._replace(
            maxcached=min(max(size, limits.mincached, 1), max(most, 1)))

    core.resize(adjust)


# The options that can be changed while a pool is at work, with their checks.
_OPTIONS: dict[str, Callable[[str, Any], Any]] = {
    "mincached": check_size, "maxcached": check_size,
    "maxconnections": check_size, "maxusage": check_size,
    "maxwait": check_seconds, "maxwaiting": check_size}


def _check_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options, after checking them."""
    for name, value in options.items():
        check = _OPTIONS.get(name)
        if check is None:
            allowed = ", ".join(map(repr, _OPTIONS))
            raise TypeError(
                f"{name!r} cannot be changed while the pool is at work,"
                f" only these options can be: {allowed}. [DBU-12]")
        check(name, value)
    return options


def _adjusted(limits: Limits, given: dict[str, Any]) -> Limits:
    """Return the limits with the given options and their consequences.

    Of the limits that are not given, maxcached is raised to mincached, and
    those that have become too large are lowered.
    """
    number = given.get("mincached", limits.mincached) or 0
    cached = given.get("maxcached", limits.maxcached) or None
    most = given.get("maxconnections", limits.maxconnections) or None
    if cached is not None and number > cached:
        if "mincached" not in given:
            number = cached
        elif "maxcached" not in given:
            cached = number
    if most is not None:
        number = number if "mincached" in given else min(number, most)
        cached = cached if cached is None or "maxcached" in given else (
            min(cached, most))
    _check_order("mincached", number, "maxcached", cached)
    _check_order("mincached", number, "maxconnections", most)
    _check_order("maxcached", cached or 0, "maxconnections", most)
    return limits._replace(
        mincached=number, maxcached=cached, maxconnections=most,
        maxshared=limits.maxshared if most is None else (
            min(limits.maxshared, most)),
        maxwaiting=given.get("maxwaiting", limits.maxwaiting))


def _check_order(
        lower: str, number: int, upper: str, limit: int | None) -> None:
    if limit is not None and number > limit:
        raise ValueError(
            f"{lower!r} would be {number}, which is more than {upper!r},"
            f" which is {limit}. [DBU-11]")


class DynamicPooledDB(PooledDB[Con]):
    """A pool of steady DB-API 2 connections that grows and shrinks."""

    def __init__(
            self, creator: Creator[Con] | None = None, *args: Any,
            scaling: Scaling | None = Scaling(),
            features: Any = (), **kwargs: Any) -> None:
        """Set up the pool.

        scaling: when and how fast the idle capacity (maxcached) follows the
            load; None means only on demand

        All other parameters are those of pooled_db.PooledDB.
        """
        self._dynamic_size = DynamicSize(scaling)
        super().__init__(
            creator, *args, features=(*features, self._dynamic_size), **kwargs)

    def dynamic_expand(self) -> int | None:
        """Raise the idle capacity by half; return how many may be idle.

        This is None if the number is not limited, and maxconnections at
        most.
        """
        return self._dynamic_size.expand()

    def dynamic_shrink(self) -> int | None:
        """Halve the idle capacity; return how many connections may be idle.

        Idle connections beyond that are closed at once.
        """
        return self._dynamic_size.shrink()

    def auto_cleanup(self) -> int:
        """Close idle connections that are not needed; return how many.

        Kept are mincached of them or, if that is more, as many as the highest
        load of the last intervals was above the present one.
        """
        return self._dynamic_size.cleanup()

    def dynamic_adjust_config(self, **options: Any) -> None:
        """Change options while the pool is at work, all of them or none.

        These can be changed: mincached, maxcached, maxconnections, maxusage,
        maxwait, maxwaiting.  Of the sizes that are not given, maxcached is
        raised to mincached, and those that have become too large are lowered.
        """
        self._dynamic_size.adjust(**options)
