"""Metrics of pools for Prometheus.

REGISTRY.register(Collector()) exports those of all pools.  The names are
those that the metrics of OpenTelemetry get in Prometheus, thus they begin
with "db_client_connection_".

The package prometheus-client is needed: pip install DBUtils[prometheus].
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

from prometheus_client import registry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from ._base.atomic import Count, Sum
from ._base.fork import register_for_fork
from ._base.hints import Any, Iterator, NamedTuple, cast
from ._pooled.base import follow_pools
from ._pooled.metering import (
    BOUNDARIES,
    FACTS,
    POOL_NAME,
    PREFIX,
    TIMEOUTS,
    TIMES,
    Fact,
    Meters,
    Time,
    follow,
    label_of,
)

__all__ = ["Collector"]


class Collector(registry.Collector):
    """A collector of the metrics of pools, for a registry of Prometheus.

    It holds the pools weakly, and shows none that was dropped.
    """

    def __init__(self, *pools: Any, times: bool = True) -> None:
        """Begin to measure pools.

        pools: of steady connections, keyed pools, and managers with all of
            their pools; without any, all pools of the process, also later ones
        times: whether there are wait_time and use_time, which makes requests
            take longer
        """
        self._meters = Meters(lambda _: _AllTimes() if times else _Times())
        for pool in pools:
            follow(pool, self._meters)
        if not pools:
            follow_pools(self._meters)

    def close(self) -> None:
        """Measure the pools no longer, and show none."""
        self._meters.end()

    def describe(self) -> Iterator[Metric]:
        """Yield the metrics without values, for the registry."""
        return _metrics([])

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics with their present values."""
        return _metrics([
            _Shown(pool, label_of(pool), times)
            for pool, times in self._meters.read()])


class _Shown(NamedTuple):
    """A pool, its name, and its times."""

    pool: Any
    name: str
    times: Any


def _metrics(pools: list[_Shown]) -> Iterator[Metric]:
    for fact in FACTS:
        yield _with_numbers(GaugeMetricFamily, fact, pools)
    yield _with_numbers(CounterMetricFamily, TIMEOUTS, pools)
    for time in TIMES:
        yield _with_times(time, pools)


def _with_numbers(
        kind: type[Any], fact: Fact, pools: list[_Shown]) -> Metric:
    """Return a metric with the numbers of all pools."""
    own = [] if fact.attribute is None else [_name(fact.attribute)]
    metric = kind(
        _name(PREFIX + fact.name), fact.text, labels=[_name(POOL_NAME), *own])
    for pool, name, _ in pools:
        for value, number in fact.read(pool).items():
            metric.add_metric([name, value] if own else [name], number)
    return cast("Metric", metric)


def _with_times(time: Time, pools: list[_Shown]) -> Metric:
    """Return a histogram with the times of all pools that measure them."""
    metric = HistogramMetricFamily(
        f"{_name(PREFIX + time.name)}_seconds", time.text,
        labels=[_name(POOL_NAME)])
    for _, name, times in pools:
        histogram = times.by_event.get(time.event)
        if histogram is not None:
            metric.add_metric([name], *histogram.read())
    return metric


def _name(name: str) -> str:
    """Return the name of Prometheus for one of OpenTelemetry."""
    return name.replace(".", "_")


class _Histogram:
    """Counts the values in buckets; no value is lost, and nothing waits."""

    def __init__(self) -> None:
        self._counts = [Count() for _ in range(len(BOUNDARIES) + 1)]
        self._sum = Sum()

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(BOUNDARIES, value)].step()
        self._sum.add(value)

    def read(self) -> tuple[list[tuple[str, float]], float]:
        """Return the values up to each boundary, counted, and their sum."""
        bounds = [*map(str, BOUNDARIES), "+Inf"]
        numbers = accumulate(count.read() for count in self._counts)
        return [*zip(bounds, map(float, numbers))], self._sum.read().total


class _Times:
    """The times of a pool."""

    events: tuple[str, ...] = ("opened",)

    def __init__(self) -> None:
        self._begin()
        register_for_fork(self, method="_begin")

    def _begin(self) -> None:
        """Begin to count, also in a forked child."""
        self.by_event = {event: _Histogram() for event in self.events}

    def opened(self, seconds: float) -> None:
        """Count how long opening a connection has taken."""
        self.by_event["opened"].add(seconds)


class _AllTimes(_Times):
    """The times of a pool that measures each request."""

    events = ("opened", "acquired", "released")

    def acquired(self, waited: float) -> None:
        """Count how long a request has waited for its connection."""
        self.by_event["acquired"].add(waited)

    def released(self, used: float) -> None:
        """Count for how long a connection was in use."""
        self.by_event["released"].add(used)
