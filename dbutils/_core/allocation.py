"""The order in which requests are served, and the slots of their tags."""

from __future__ import annotations

import threading
from collections import deque
from weakref import ref

from .._base.atomic import pop, snapshot
from .._base.hints import Any, Collection, Mapping, Sequence, Strategy
from .backend import AdmissionPolicy
from .history import size_of
from .limits import Limits
from .quotas import NO_REQUEST, Admission, Quota, Request
from .tuning import observe, set_admission_policy
from .waiting import Waiter

__all__ = ["EFFICIENT", "FAIR", "AllocationPolicy", "level_of"]

FAIR: Strategy = "fair"
EFFICIENT: Strategy = "efficient"
_PRIORITY, _WEIGHTED = "priority", "weighted"
_STRATEGIES = (FAIR, EFFICIENT, _PRIORITY, _WEIGHTED)

_LEVELS = {"low": -1, "normal": 0, "high": 1, "critical": 2}


def _check_strategy(strategy: Any) -> str:
    """Return the name of a strategy, after checking it."""
    if strategy in _STRATEGIES:
        return str(strategy)
    allowed = ", ".join(map(repr, _STRATEGIES))
    raise ValueError(
        f"An allocation strategy is one of {allowed}, not {strategy!r}."
        " [DBU-03]")


def level_of(priority: Any) -> int:
    """Return the level of a priority."""
    if isinstance(priority, str) and priority in _LEVELS:
        return _LEVELS[priority]
    if isinstance(priority, int) and not isinstance(priority, bool):
        return priority
    allowed = ", ".join(map(repr, _LEVELS))
    error = ValueError if isinstance(priority, str) else TypeError
    raise error(
        f"A priority is one of {allowed}, or an integer, not {priority!r}."
        " [DBU-03]")


class AllocationPolicy(AdmissionPolicy):
    """Decides which request is served next, and which has to wait."""

    def __init__(
            self, strategy: str, weights: Mapping[Any, float] | None) -> None:
        self.strategy = _check_strategy(strategy)
        self.shares = _WeightedShares(weights)
        # The priority of requests without one, and its level; "level" of this
        # is that of a thread in a context with another priority.
        self.priority: Any = "normal"
        self.level = 0
        self.here = threading.local()
        self.tags = _TagQuotas()
        # The seconds after which a waiter is more urgent by one level, and
        # for which it may be overtaken; and whether the strategy is chosen
        # from the waits.
        self.ageing: float | None = None
        self.barging: float | None = None
        self.is_dynamic = False
        # The waits since the last look.
        self.waits: deque[float] = deque(maxlen=1000)
        self._core: Any = None

    def shares_for(
            self, strategy: str,
            weights: Mapping[Any, float] | None) -> _WeightedShares:
        """Return the shares for another strategy, after checking it.

        weights: None means that they stay
        """
        _check_strategy(strategy)
        return self.shares if weights is None else _WeightedShares(
            weights, self.shares.now)

    @property
    def is_ranked(self) -> bool:
        """Return whether waiters are not served first come, first served."""
        return self.strategy in {_PRIORITY, _WEIGHTED}

    def join(self, core: Any) -> None:
        """Begin to decide in a pool."""
        set_admission_policy(core, self)
        self._core = ref(core)
        observe(core, self)

    @property
    def has_limits(self) -> bool:  # type: ignore[override]
        """Return whether a request may wait though a connection is idle."""
        return self.tags.are_set()

    def check_limits(self, limits: Limits) -> None:
        """Raise an error if the limits would be below the reservations."""
        self.tags.check_limit(limits.maxconnections)

    def after_fork(self) -> None:
        """Forget the tokens of the parent in a forked child."""
        self.tags.after_fork()

    def request(self, priority: Any, tag: Any) -> Request:
        """Return a request with its level and tag, after checking them."""
        hash(tag)  # raises a TypeError if it cannot be a tag
        level = (
            getattr(self.here, "level", None) if priority is None
            else level_of(priority))
        return Request(
            self.level if level is None else level, tag, self.shares.now)

    def rank(self, waiters: list[Waiter]) -> Sequence[Waiter]:
        """Return the waiters in the order of service."""
        if self.strategy == _WEIGHTED:
            return self.shares.rank(waiters)
        if self.strategy == _PRIORITY:
            return sorted(waiters, key=self._urgency)
        return waiters

    def _urgency(self, waiter: Waiter) -> float:
        """Return the key by which to sort; it is the same at any time."""
        level: float
        level, ageing = waiter.request.level, self.ageing
        if ageing is None:
            return -level
        return waiter.since - level * ageing

    def admit(self, request: Request | None) -> Admission | None:
        """Return the admission of a request, None if it may not be served."""
        admission = Admission()
        tag = (request or NO_REQUEST).tag
        if self.tags.pay(admission, tag, self._core().limits.maxconnections):
            return admission
        admission.free()
        return None

    def served(self, request: Request | None) -> None:
        """Note that a waiter is served."""
        if self.strategy == _WEIGHTED:
            self.shares.served(
                request or NO_REQUEST, size_of(self._core()))

    def not_served(self, request: Request | None) -> None:
        """Take back that note, since the waiter had already given up."""
        if self.strategy == _WEIGHTED:
            self.shares.not_served(request or NO_REQUEST)

    def refusal(self, request: Request | None) -> str | None:
        """Return why the tag of a request keeps it from being served."""
        tag = (request or NO_REQUEST).tag
        limit = self.tags.limited.get(tag)
        if limit is not None and limit.is_empty():
            return (
                f"Requests with the tag {tag!r} may have {limit.number}"
                " connections, which are in use")
        if self.tags.reserved:
            return "All connections that are not reserved are in use"
        return None

    def waited(self, seconds: float, was_served: bool) -> None:
        """Note for how long a request has waited."""
        self.waits.append(seconds)


class _WeightedShares:
    """Orders requests so that their tags are served according to weights.

    Each tag has a virtual time, which advances whenever a request with that
    tag is served, by less if its weight is greater.  The pool has one, too,
    which advances at the pace of a fair pool for those tags that have
    requests.  A request counts from the time of its tag, or from that of the
    pool when it came, if that is later; the earliest is next.  A tag whose
    time is behind that of the pool has no lead and no lag, and is forgotten.
    """

    def __init__(
            self, weights: Mapping[Any, float] | None,
            now: float = 0.0) -> None:
        self._weights: dict[Any, float] = dict(weights or {})
        for tag, weight in self._weights.items():
            if isinstance(weight, bool) or not isinstance(
                    weight, (int, float)):
                raise TypeError(
                    f"The weight of {tag!r} must be a number,"
                    f" not {weight!r}. [DBU-01]")
            if not weight > 0:
                raise ValueError(
                    f"The weight of {tag!r} must be greater than 0,"
                    f" but is {weight}. [DBU-02]")
        self.now = now
        self._times: dict[Any, float] = {}
        # The tags of the waiters, and of the requests served lately.
        self._waiting: Collection[Any] = ()
        self._recent: deque[Any] = deque()

    def _weight(self, tag: Any) -> float:
        return self._weights.get(tag, 1)

    def _time_of(self, request: Request) -> float:
        return max(self._times.get(request.tag, 0), request.start)

    def rank(self, waiters: list[Waiter]) -> Sequence[Waiter]:
        """Return the waiters in the order of service."""
        times: dict[Any, float] = {}
        ranked = []
        for number, waiter in enumerate(waiters):
            request = waiter.request
            time = max(times.get(request.tag, 0), self._time_of(request))
            ranked.append((time, number, waiter))
            times[request.tag] = time + 1 / self._weight(request.tag)
        self._waiting = times
        return [waiter for _, _, waiter in sorted(ranked)]

    def served(self, request: Request, slots: int) -> None:
        """Note that a request is served.

        slots: how many there are, of which each may be in use
        """
        tag, waiting, recent = request.tag, self._waiting, self._recent
        recent.append(tag)
        while len(recent) > slots:
            pop(recent)
        for old, time in self._times.copy().items():
            if time <= self.now and old not in waiting:
                self._times.pop(old, None)
        self._times[tag] = self._time_of(request) + 1 / self._weight(tag)
        active = {tag, *waiting, *snapshot(recent)}
        self.now += 1 / sum(map(self._weight, active))

    def not_served(self, request: Request) -> None:
        """Take back that note."""
        tag = request.tag
        self._times[tag] = self._time_of(request) - 1 / self._weight(tag)


class _TagQuotas:
    """The slots that are reserved for tags, and the limits of tags."""

    def __init__(self) -> None:
        self.reserved: dict[Any, Quota] = {}
        self.limited: dict[Any, Quota] = {}
        # The slots that are not reserved, if some are.
        self._common = Quota(None)

    def after_fork(self) -> None:
        """Forget all tokens that are in use."""
        for quotas in (self.reserved, self.limited):
            for tag, quota in quotas.copy().items():
                quotas[tag] = Quota(quota.number)
        self._common = Quota(None)

    def are_set(self) -> bool:
        """Return whether any slots are reserved or limited."""
        return bool(self.reserved or self.limited)

    def number(self) -> int:
        """Return how many slots are reserved."""
        quotas = self.reserved.copy().values()
        return sum(quota.number or 0 for quota in quotas)

    def reserve(self, tag: Any, number: int | None, limit: int | None) -> None:
        """Reserve slots for a tag, instead of those that it had.

        limit: maxconnections of the pool
        """
        if not self.are_set():
            # without limits, connections come back with their tokens
            self._common = Quota(None)
        if number:
            self._check_number(tag, number, limit)
        _set_number(self.reserved, tag, number or None)

    def _check_number(self, tag: Any, number: int, limit: int | None) -> None:
        if limit is None:
            raise ValueError(
                "Only with maxconnections can connections be reserved."
                " [DBU-21]")
        before = self.reserved.get(tag)
        others = self.number() - ((before and before.number) or 0)
        if others + number > limit:
            raise ValueError(
                f"Of {limit} connections {others} are reserved for others,"
                f" so {number} cannot be reserved for {tag!r}. [DBU-21]")

    def limit(self, tag: Any, number: int | None) -> None:
        """Limit the slots of a tag; None removes the limit."""
        _set_number(self.limited, tag, number)

    def check_limit(self, limit: int | None) -> None:
        """Raise an error if `limit` is below the number of reserved slots."""
        reserved = self.number()
        if limit is not None and limit < reserved:
            raise ValueError(
                f"'maxconnections' would be {limit}, but {reserved}"
                " connections are reserved. Reserve fewer of them first."
                " [DBU-21]")

    def pay(self, admission: Admission, tag: Any, limit: int | None) -> bool:
        """Take the tokens that are needed; return whether there were any."""
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
    """Set the quota of a tag, or remove it."""
    if number is None:
        quotas.pop(tag, None)
    elif tag in quotas:
        quotas[tag].resize(number)
    else:
        quotas[tag] = Quota(number)
