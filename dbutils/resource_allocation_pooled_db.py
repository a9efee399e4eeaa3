"""Pools that decide who gets a connection next.

Requests are served in the order of their coming, for the most throughput, by
priority, or by shares for their tags; and connections can be reserved for
requests with a tag, or limited to so many.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from statistics import median
from typing import Any, Callable, Collection, Iterator, Mapping, Sequence
from weakref import ref

from ._base.atomic import pop
from ._base.checks import check_seconds, check_size
from ._base.errors import logger
from ._core.backend import AdmissionPolicy, Observer
from ._core.features import Feature
from ._core.history import size_of
from ._core.ledger import Limits
from ._core.quotas import NO_REQUEST, Admission, Quota, Request
from ._core.tuning import (
    observe,
    set_admission_policy,
    set_order,
    set_service,
)
from ._core.waiters import Waiter
from .pooled_db import PooledDB

__all__ = ["Allocation", "ResourceAllocationPooledDB"]

FAIR, EFFICIENT, PRIORITY, WEIGHTED = (
    STRATEGIES) = ("fair", "efficient", "priority", "weighted")

LEVELS = {"low": -1, "normal": 0, "high": 1, "critical": 2}

# In seconds: for how long who waits may be overtaken, how long it takes to
# become as urgent as the next level, and the time between two looks.
_BARGING = 0.1
_AGEING = 1.0
_INTERVAL = 1.0
# When the strategy is changed: if the longest wait is so many times as long
# as others may be overtaken; if it is below that part of that time; and after
# so many intervals at the earliest.
_TOO_LONG = 2
_SHORT = 0.25
_CALM = 5


def level_of(priority: Any) -> int:
    """Return the level of a priority."""
    if isinstance(priority, str) and priority in LEVELS:
        return LEVELS[priority]
    if isinstance(priority, int) and not isinstance(priority, bool):
        return priority
    allowed = ", ".join(map(repr, LEVELS))
    error = ValueError if isinstance(priority, str) else TypeError
    raise error(
        f"A priority is one of {allowed}, or an integer, not {priority!r}.")


class _Shares:
    """Whose turn it is if tags are to be served according to weights.

    Each tag has a time of its own, which goes on the slower the greater its
    weight is, whenever somebody with that tag is served.  So has the pool,
    where it goes on at the pace at which a fair pool would serve those tags
    that want something.  A request counts from the time of its tag, or from
    that of the pool at which it came, if that is later; the earliest is next.
    A tag whose time has passed has no lead and no lag, and is forgotten.
    """

    def __init__(
            self, weights: Mapping[Any, float] | None,
            now: float = 0.0) -> None:
        self._weights = dict(weights or {})
        for tag, weight in self._weights.items():
            if isinstance(weight, bool) or not isinstance(
                    weight, (int, float)):
                raise TypeError(
                    f"The weight of {tag!r} must be a number,"
                    f" not {weight!r}.")
            if not weight > 0:
                raise ValueError(
                    f"The weight of {tag!r} must be greater than 0,"
                    f" but is {weight}.")
        self.now = now
        self._times: dict[Any, float] = {}
        # The tags of those who wait, and of those who were served lately.
        self._waiting: Collection[Any] = ()
        self._recent: deque[Any] = deque()

    def _weight(self, tag: Any) -> float:
        return self._weights.get(tag, 1)

    def _time_of(self, request: Request) -> float:
        return max(self._times.get(request.tag, 0), request.start)

    def rank(self, waiters: list[Waiter]) -> Sequence[Waiter]:
        """Return them in the order in which they would be served."""
        times: dict[Any, float] = {}
        ranked = []
        for number, waiter in enumerate(waiters):
            request = waiter.request
            time = max(times.get(request.tag, 0), self._time_of(request))
            ranked.append((time, number, waiter))
            times[request.tag] = time + 1 / self._weight(request.tag)
        self._waiting = times
        return [waiter for _, _, waiter in sorted(ranked)]

    def served(self, request: Request, places: int) -> None:
        """Note that somebody is served; as many as places may be at work."""
        tag, waiting, recent = request.tag, self._waiting, self._recent
        recent.append(tag)
        while len(recent) > places:
            pop(recent)
        for old, time in self._times.copy().items():
            if time <= self.now and old not in waiting:
                self._times.pop(old, None)
        self._times[tag] = self._time_of(request) + 1 / self._weight(tag)
        active = {tag, *waiting, *recent.copy()}
        self.now += 1 / sum(map(self._weight, active))

    def not_served(self, request: Request) -> None:
        """Take that back."""
        tag = request.tag
        self._times[tag] = self._time_of(request) - 1 / self._weight(tag)


class _Limits:
    """How many places those with a tag may have, and have for themselves."""

    def __init__(self) -> None:
        self.reserved: dict[Any, Quota] = {}
        self.limited: dict[Any, Quota] = {}
        # What is not reserved, if anything is.
        self._common = Quota(None)

    def after_fork(self) -> None:
        """Have all tokens back."""
        for quotas in (self.reserved, self.limited):
            for tag, quota in quotas.copy().items():
                quotas[tag] = Quota(quota.number)
        self._common = Quota(None)

    def are_set(self) -> bool:
        """Tell whether anything is limited."""
        return bool(self.reserved or self.limited)

    def number(self) -> int:
        """How many places are reserved."""
        quotas = self.reserved.copy().values()
        return sum(quota.number or 0 for quota in quotas)

    def check_number(self, limit: int | None, tag: Any, number: int) -> None:
        """Raise an error if so many places cannot be reserved for a tag."""
        if limit is None:
            raise ValueError(
                "Only with maxconnections can places be reserved.")
        before = self.reserved.get(tag)
        others = self.number() - ((before and before.number) or 0)
        if others + number > limit:
            raise ValueError(
                f"Of {limit} connections {others} are reserved for others,"
                f" so {number} cannot be reserved for {tag!r}.")

    def check_limit(self, limit: int | None) -> None:
        """Raise an error if a limit is lower than what is reserved."""
        reserved = self.number()
        if limit is not None and limit < reserved:
            raise ValueError(
                f"'maxconnections' would be {limit}, but {reserved}"
                " connections are reserved. Reserve fewer of them before.")

    def pay(self, admission: Admission, tag: Any, limit: int | None) -> bool:
        """Take the tokens that are needed; tell whether they are to be had."""
        limited = self.limited.get(tag)
        if limited is not None and not admission.take(limited):
            return False
        if not self.reserved or admission.take(self.reserved.get(tag)):
            return True
        if limit is not None:
            limit = max(limit - self.number(), 0)
        self._common.resize(limit)
        return admission.take(self._common)


def _set_number(quotas: dict[Any, Quota], tag: Any, number: Any) -> None:
    """Have a purse with so many tokens, or none."""
    if number is None:
        quotas.pop(tag, None)
    elif tag in quotas:
        quotas[tag].resize(number)
    else:
        quotas[tag] = Quota(number)


class _Policy(AdmissionPolicy, Observer):
    """Decides whose turn it is, and who may not be served yet."""

    def __init__(
            self, strategy: str, weights: Mapping[Any, float] | None) -> None:
        self.strategy = _check_strategy(strategy)
        self.shares = _Shares(weights)
        # The priority of requests that say nothing else, and of what threads
        # request in a context.
        self.priority: Any = "normal"
        self.level = 0
        self.here = threading.local()
        self.tags = _Limits()
        # Whether and how fast those who wait become more urgent, for how long
        # others may overtake them, and whether the strategy is chosen.
        self.ageing: float | None = None
        self.barging: float | None = None
        self.is_dynamic = False
        # The waits since the last look.
        self.waits: deque[float] = deque(maxlen=1000)
        self._core: Any = None

    def join(self, core: Any) -> None:
        """Begin to decide in a pool."""
        set_admission_policy(core, self)
        self._core = ref(core)
        observe(core, self)

    @property
    def has_limits(self) -> bool:  # type: ignore[override]
        """Whether a request may have to wait though a connection is idle."""
        return self.tags.are_set()

    def check_limits(self, limits: Limits) -> None:
        """Raise an error if fewer places than are reserved would be left."""
        self.tags.check_limit(limits.maxconnections)

    def after_fork(self) -> None:
        """Forget what is in use in the parent of a forked child."""
        self.tags.after_fork()

    def request(self, priority: Any, tag: Any) -> Request:
        """Return what a request wants, after checking it."""
        hash(tag)  # raises a TypeError if it cannot be a tag
        level = (
            getattr(self.here, "level", None) if priority is None
            else level_of(priority))
        return Request(
            self.level if level is None else level, tag, self.shares.now)

    def rank(self, waiters: list[Waiter]) -> Sequence[Waiter]:
        """Return those who wait, the one to be served next first."""
        if self.strategy == WEIGHTED:
            return self.shares.rank(waiters)
        if self.strategy == PRIORITY:
            return sorted(waiters, key=self._urgency)
        return waiters

    def _urgency(self, waiter: Waiter) -> float:
        """Return by what to sort; this does not depend on the time."""
        level, ageing = waiter.request.level, self.ageing
        if ageing is None:
            return -level
        since: float = (waiter.checkout[1:2] or [0])[0]
        return since - level * ageing

    def admit(self, request: Request | None) -> Admission | None:
        """Return the admission for a request if it may be served."""
        admission = Admission()
        tag = (request or NO_REQUEST).tag
        if self.tags.pay(admission, tag, self._core().limits.maxconnections):
            return admission
        admission.free()
        return None

    def served(self, request: Request | None) -> None:
        """Note that somebody who waited is served."""
        if self.strategy == WEIGHTED:
            self.shares.served(
                request or NO_REQUEST, size_of(self._core()))

    def not_served(self, request: Request | None) -> None:
        """Note that somebody did not wait any more after all."""
        if self.strategy == WEIGHTED:
            self.shares.not_served(request or NO_REQUEST)

    def refusal(self, request: Request | None) -> str | None:
        """Say why a request may not be served, if that is the reason."""
        tag = (request or NO_REQUEST).tag
        limit = self.tags.limited.get(tag)
        if limit is not None and limit.is_empty():
            return (
                f"Requests with the tag {tag!r} may have {limit.number}"
                " connections, which are in use")
        if self.tags.reserved:
            return "All connections are in use that are not reserved"
        return None

    def waited(self, seconds: float, was_served: bool) -> None:  # noqa: ARG002
        """Note for how long somebody has waited."""
        self.waits.append(seconds)


class Allocation(Feature):
    """Decides in a pool who gets a connection next."""

    def __init__(
            self, strategy: str = FAIR,
            weights: Mapping[Any, float] | None = None) -> None:
        """Set up the strategy.

        strategy: "fair", "efficient", "priority", or "weighted"
        weights: the shares of the tags; others have the weight 1
        """
        super().__init__()
        self._policy = _Policy(strategy, weights)
        # How many looks there were since the strategy was changed.
        self._looks = 0

    def __repr__(self) -> str:
        return f"<{self._policy.strategy} allocation>"

    def _join(self, core: Any, connect: Callable[[], Any]) -> None:
        """Begin to work on a pool."""
        self._policy.join(core)
        super()._join(core, connect)
        set_order(core, latest=self._policy.strategy == EFFICIENT)
        self._follow(core)

    # What can be changed.

    def set_strategy(
            self, strategy: str,
            weights: Mapping[Any, float] | None = None) -> None:
        """Decide in another way from now on."""
        _check_strategy(strategy)
        policy = self._policy
        shares = policy.shares
        if weights is not None:
            shares = _Shares(weights, shares.now)
        core = self._core
        policy.strategy, policy.shares = strategy, shares
        set_order(core, latest=strategy == EFFICIENT)
        self._follow(core)

    def _follow(self, core: Any) -> None:
        """Let the pool work as it was chosen."""
        policy = self._policy
        barging = policy.barging
        if barging is None:
            barging = _BARGING if policy.strategy == EFFICIENT else 0
        set_service(core, barging, policy.strategy in {PRIORITY, WEIGHTED})

    def set_priority(self, priority: Any) -> None:
        """Set the priority of requests that say nothing else."""
        self._policy.level = level_of(priority)
        self._policy.priority = priority

    @contextmanager
    def with_priority(self, priority: Any) -> Iterator[None]:
        """Set the priority of what this thread requests in a context."""
        level, here = level_of(priority), self._policy.here
        before = getattr(here, "level", None)
        here.level = level
        try:
            yield
        finally:
            here.level = before

    def set_ageing(self, seconds: float | None) -> None:
        """Let a request be more urgent by one level after so many seconds."""
        if check_seconds("seconds", seconds) == 0:
            raise ValueError("'seconds' must be greater than 0, or None.")
        self._policy.ageing = seconds

    def set_barging(self, seconds: float | None) -> None:
        """Let who waits be overtaken for so long; None is as usual."""
        core = self._core
        self._policy.barging = check_seconds("seconds", seconds)
        self._follow(core)

    def choose(self, is_dynamic: bool) -> None:
        """Choose the strategy from what is observed, or not any more."""
        self._core  # noqa: B018 - raises an error if there is no pool
        self._policy.is_dynamic = is_dynamic
        self._policy.waits.clear()
        self._looks = 0
        self._begin_ticking()

    # Reservations and limits.

    def reserve(self, tag: Any, number: int | None) -> None:
        """Keep so many places for requests with a tag; 0 means none."""
        core, tags = self._limitable(tag), self._policy.tags
        check_size("number", number)
        with core.changing.take():
            if number:
                tags.check_number(core.limits.maxconnections, tag, number)
            _set_number(tags.reserved, tag, number or None)
        self._follow(core)

    def limit(self, tag: Any, number: int | None) -> None:
        """Let requests with a tag have so many places at most.

        None means any number.
        """
        core = self._limitable(tag)
        check_size("number", number)
        _set_number(self._policy.tags.limited, tag, number)
        self._follow(core)

    def _limitable(self, tag: Any) -> Any:
        """Return the core if the places of a tag can be counted."""
        core = self._core
        if tag is None:
            raise TypeError("A tag must not be None.")
        hash(tag)  # raises a TypeError if it cannot be a tag
        if core.limits.maxshared:
            raise ValueError(
                "Shared connections can be neither reserved nor limited,"
                " set maxshared to 0.")
        return core

    # What is done in the background.

    def _pause(self) -> float | None:
        """Return the seconds until the next look."""
        return _INTERVAL if self._policy.is_dynamic else None

    def _work(self, core: Any) -> None:  # noqa: ARG002 - the strategy is ours
        """Choose between fair and efficient, and say why."""
        strategy, waits = self._policy.strategy, list(self._policy.waits)
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

    def _change_to(self, strategy: str, reason: str) -> None:
        self._looks = 0
        logger.info(
            "The allocation is changed from %s to %s: %s.",
            self._policy.strategy, strategy, reason)
        self.set_strategy(strategy)


def _policy_of(allocation: Allocation) -> _Policy:
    """Return what decides in the pool of a feature."""
    return allocation._policy  # noqa: SLF001 - of this module


def _check_strategy(strategy: Any) -> str:
    if strategy in STRATEGIES:
        return str(strategy)
    allowed = ", ".join(map(repr, STRATEGIES))
    raise ValueError(
        f"An allocation strategy is one of {allowed}, not {strategy!r}.")


class ResourceAllocationPooledDB(PooledDB):
    """A pool of steady DB-API 2 connections that decides who is next."""

    def __init__(
            self, *args: Any, allocation_strategy: str = FAIR,
            weights: Mapping[Any, float] | None = None, features: Any = (),
            **kwargs: Any) -> None:
        """Set up the pool.

        allocation_strategy: who is next: "fair" serves requests in the order
            of their coming, and lends first what was idle for longest;
            "efficient" lends first what was in use last, and lets who is
            running overtake who waits, though not for long; "priority"
            serves the most urgent first; "weighted" gives shares to the tags
        weights: these shares; tags that are not in it have the weight 1

        All other parameters are those of pooled_db.PooledDB.
        """
        self._allocation = Allocation(allocation_strategy, weights)
        super().__init__(
            *args, features=(*features, self._allocation), **kwargs)

    @property
    def _allocation_strategy(self) -> str:
        return _policy_of(self._allocation).strategy

    @property
    def _priority(self) -> Any:
        return _policy_of(self._allocation).priority

    @property
    def _fairness_enabled(self) -> bool:
        return _policy_of(self._allocation).ageing is not None

    @property
    def _efficiency_enabled(self) -> bool:
        return bool(_policy_of(self._allocation).barging)

    @property
    def _dynamic_strategy_enabled(self) -> bool:
        return _policy_of(self._allocation).is_dynamic

    def set_allocation_strategy(
            self, strategy: str,
            weights: Mapping[Any, float] | None = None) -> None:
        """Decide in another way who is next; see __init__()."""
        self._allocation.set_strategy(strategy, weights)

    def set_priority(self, priority: Any) -> None:
        """Set the priority of requests that say nothing else.

        priority: "low", "normal", "high" or "critical", which are -1 to 2, or
            any other integer
        """
        self._allocation.set_priority(priority)

    def priority(self, priority: Any) -> Any:
        """Return a context in which this thread requests with a priority."""
        return self._allocation.with_priority(priority)

    def ensure_fairness(
            self, enabled: bool = True, *, ageing: float = _AGEING) -> None:
        """Let requests become more urgent while they wait, or not any more.

        ageing: after how many seconds by one level
        """
        self._allocation.set_ageing(ageing if enabled else None)

    def optimize_efficiency(
            self, enabled: bool = True, *, barging: float = _BARGING) -> None:
        """Let who is running overtake who waits, or not any more.

        barging: for how many seconds somebody may be overtaken
        """
        self._allocation.set_barging(barging if enabled else None)

    def dynamic_adjust_strategy(self, enabled: bool = True) -> None:
        """Choose between fair and efficient from what is observed, or not.

        If requests wait for about the same short time, "efficient" serves
        more of them; if some have to wait for long, "fair" helps them.  The
        log says when and why it is changed.  Other strategies stay.
        """
        self._allocation.choose(enabled)

    def reserve(self, tag: Any, number: int | None) -> None:
        """Keep so many of maxconnections for requests with a tag.

        This concerns what is lent from now on; 0 means none.
        """
        self._allocation.reserve(tag, number)

    def limit(self, tag: Any, number: int | None) -> None:
        """Let requests with a tag have so many connections at most.

        This concerns what is lent from now on; None means any number.
        """
        self._allocation.limit(tag, number)
