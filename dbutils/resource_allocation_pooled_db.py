"""Pools that decide which request is served next.

Requests are served first come, first served, for the most throughput, by
priority, or by shares for their tags.  Besides, connections can be reserved
for requests with a tag, and their number can be limited.
"""

from __future__ import annotations

from contextlib import contextmanager
from operator import attrgetter
from statistics import median

from ._base.atomic import snapshot
from ._base.checks import check_seconds, check_size
from ._base.errors import logger
from ._base.hints import (
    Any,
    Callable,
    Con,
    Creator,
    Iterator,
    Mapping,
    Priority,
    Strategy,
)
from ._core.allocation import EFFICIENT, FAIR, AllocationPolicy, level_of
from ._core.features import Feature
from ._core.tuning import set_service
from .pooled_db import PooledDB

__all__ = ["Allocation", "ResourceAllocationPooledDB"]

# In seconds: for how long a waiter may be overtaken, after what time it is
# more urgent by one level, and the time between two looks at the waits.
_BARGING = 0.1
_AGEING = 1.0
_INTERVAL = 1.0
# The longest waits, in multiples of _BARGING, from which on "fair" and up to
# which "efficient" is chosen; and the fewest looks between two changes.
_TOO_LONG = 2
_SHORT = 0.25
_CALM = 5


class Allocation(Feature):
    """Decides which request of a pool is served next."""

    def __init__(
            self, strategy: Strategy = FAIR,
            weights: Mapping[Any, float] | None = None) -> None:
        """Set up the strategy.

        strategy: "fair", "efficient", "priority", or "weighted"
        weights: the shares of the tags; others have the weight 1
        """
        super().__init__()
        self._policy = AllocationPolicy(strategy, weights)
        # How many looks there were since the last change of the strategy.
        self._looks = 0

    def __repr__(self) -> str:
        return f"<{self._policy.strategy} allocation>"

    def _join(self, core: Any, connect: Callable[[], Any]) -> None:
        """Begin to work on a pool."""
        self._policy.join(core)
        super()._join(core, connect)
        core.set_order(latest=self._policy.strategy == EFFICIENT)
        self._follow(core)

    # Settings.

    def set_strategy(
            self, strategy: Strategy,
            weights: Mapping[Any, float] | None = None) -> None:
        """Serve requests by another strategy from now on."""
        policy = self._policy
        shares = policy.shares_for(strategy, weights)
        core = self._core
        policy.strategy, policy.shares = strategy, shares
        core.set_order(latest=strategy == EFFICIENT)
        self._follow(core)

    def _follow(self, core: Any) -> None:
        """Set up the pool for the strategy."""
        policy = self._policy
        barging = policy.barging
        if barging is None:
            barging = _BARGING if policy.strategy == EFFICIENT else 0
        set_service(core, barging, policy.is_ranked)

    def set_priority(self, priority: Priority) -> None:
        """Set the priority of requests without one."""
        self._policy.level = level_of(priority)
        self._policy.priority = priority

    @contextmanager
    def with_priority(self, priority: Priority) -> Iterator[None]:
        """Set the priority of the requests of this thread in a context."""
        level, here = level_of(priority), self._policy.here
        before = getattr(here, "level", None)
        here.level = level
        try:
            yield
        finally:
            here.level = before

    def set_ageing(self, seconds: float | None) -> None:
        """Set after what time a request is more urgent by one level."""
        if check_seconds("seconds", seconds) == 0:
            raise ValueError(
                "'seconds' must be greater than 0, or None. [DBU-02]")
        self._policy.ageing = seconds

    def set_barging(self, seconds: float | None) -> None:
        """Set for how long a waiter may be overtaken.

        seconds: None means that it depends on the strategy
        """
        core = self._core
        self._policy.barging = check_seconds("seconds", seconds)
        self._follow(core)

    def choose(self, is_dynamic: bool) -> None:
        """Begin or cease to choose the strategy from the waits."""
        self._core  # noqa: B018 - raises an error if there is no pool
        self._policy.is_dynamic = is_dynamic
        self._policy.waits.clear()
        self._looks = 0
        self._begin_ticking()

    # Reservations and limits.

    def reserve(self, tag: Any, number: int | None) -> None:
        """Reserve `number` slots for requests with a tag."""
        core = self._limitable(tag)
        check_size("number", number)
        with core.changing.take():
            self._policy.tags.reserve(tag, number, core.limits.maxconnections)
        self._follow(core)
        core.reclaim()

    def limit(self, tag: Any, number: int | None) -> None:
        """Limit requests with a tag to `number` slots."""
        core = self._limitable(tag)
        check_size("number", number)
        self._policy.tags.limit(tag, number)
        self._follow(core)
        core.reclaim()

    def _limitable(self, tag: Any) -> Any:
        """Return the core if the slots of a tag can be counted."""
        core = self._core
        if tag is None:
            raise TypeError("A tag must not be None. [DBU-01]")
        hash(tag)  # raises a TypeError if it cannot be a tag
        if core.limits.maxshared:
            raise ValueError(
                "Shared connections can be neither reserved nor limited,"
                " set maxshared to 0. [DBU-10]")
        return core

    # Work in the background.

    def _pause(self) -> float | None:
        """Return the seconds until the next look."""
        return _INTERVAL if self._policy.is_dynamic else None

    def _work(self, core: Any) -> None:  # noqa: ARG002 - the strategy is ours
        """Choose between fair and efficient, and log the reason."""
        strategy, waits = self._policy.strategy, snapshot(self._policy.waits)
        self._policy.waits.clear()
        self._looks += 1
        if not waits or self._looks < _CALM:
            return
        longest, usual = max(waits), median(waits)
        stats = (
            f"{len(waits)} requests have waited for {usual:.3g} seconds"
            f" (median), the longest for {longest:.3g}")
        if strategy == EFFICIENT and longest > _TOO_LONG * _BARGING:
            self._change_to(FAIR, f"{stats}, which is too unequal")
        elif strategy == FAIR and longest < _SHORT * _BARGING:
            self._change_to(EFFICIENT, f"{stats}, so the hand-over counts")

    def _change_to(self, strategy: Strategy, reason: str) -> None:
        self._looks = 0
        logger.info(
            "The allocation is changed from %s to %s: %s.",
            self._policy.strategy, strategy, reason,
            extra=self._core.story.facts("strategy"))
        self.set_strategy(strategy)


def _inner(name: str) -> Any:
    """Return a property that shows a setting of the policy of a pool."""
    return property(attrgetter(f"_allocation._policy.{name}"))


def _is_set(name: str) -> Any:
    """Return a property that shows whether there is such a setting."""
    get = attrgetter(f"_allocation._policy.{name}")
    return property(lambda pool: bool(get(pool)))


class ResourceAllocationPooledDB(PooledDB[Con]):
    """A pool of steady DB-API 2 connections with a strategy of allocation."""

    def __init__(
            self, creator: Creator[Con] | None = None, *args: Any,
            allocation_strategy: Strategy = FAIR,
            weights: Mapping[Any, float] | None = None, features: Any = (),
            **kwargs: Any) -> None:
        """Set up the pool.

        allocation_strategy: the order of service: "fair" serves requests
            first come, first served, and lends first what was idle for
            longest; "efficient" lends first what was in use last, and lets
            threads that are running overtake waiters for a short time;
            "priority" serves the most urgent request first; "weighted" gives
            shares to the tags
        weights: these shares; tags that are not in it have the weight 1

        All other parameters are those of pooled_db.PooledDB.
        """
        self._allocation = Allocation(allocation_strategy, weights)
        super().__init__(
            creator, *args, features=(*features, self._allocation), **kwargs)

    # Inner names that programs and their tests read.
    _allocation_strategy = _inner("strategy")
    _priority = _inner("priority")
    _fairness_enabled = _is_set("ageing")
    _efficiency_enabled = _is_set("barging")
    _dynamic_strategy_enabled = _is_set("is_dynamic")

    def set_allocation_strategy(
            self, strategy: Strategy,
            weights: Mapping[Any, float] | None = None) -> None:
        """Serve requests by another strategy; see __init__()."""
        self._allocation.set_strategy(strategy, weights)

    def set_priority(self, priority: Priority) -> None:
        """Set the priority of requests without one.

        priority: "low", "normal", "high" or "critical", which are -1 to 2, or
            any other integer
        """
        self._allocation.set_priority(priority)

    def priority(self, priority: Priority) -> Any:
        """Return a context with a priority for the requests of this thread."""
        return self._allocation.with_priority(priority)

    def ensure_fairness(
            self, enabled: bool = True, *, ageing: float = _AGEING) -> None:
        """Begin or cease to make requests more urgent while they wait.

        ageing: after how many seconds they are so by one level
        """
        self._allocation.set_ageing(ageing if enabled else None)

    def optimize_efficiency(
            self, enabled: bool = True, *, barging: float = _BARGING) -> None:
        """Begin or cease to let running threads overtake waiters.

        barging: how many seconds a waiter may be overtaken at most
        """
        self._allocation.set_barging(barging if enabled else None)

    def dynamic_adjust_strategy(self, enabled: bool = True) -> None:
        """Begin or cease to choose between "fair" and "efficient".

        If requests wait for about the same short time, "efficient" serves
        more of them; if some have to wait for long, "fair" helps them.  The
        log says when and why the strategy is changed.  The strategies
        "priority" and "weighted" are never changed.
        """
        self._allocation.choose(enabled)

    def reserve(self, tag: Any, number: int | None) -> None:
        """Reserve `number` of maxconnections for requests with a tag.

        This concerns connections lent from now on; 0 means none.
        """
        self._allocation.reserve(tag, number)

    def limit(self, tag: Any, number: int | None) -> None:
        """Limit requests with a tag to `number` connections.

        This concerns connections lent from now on; None means any number.
        """
        self._allocation.limit(tag, number)
