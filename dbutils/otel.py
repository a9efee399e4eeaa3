"""Metrics and spans of pools for OpenTelemetry.

Pools are instrumented one by one with instrument(), or all of the process,
also later ones, with instrument_all().  Their metrics are those of the
semantic conventions for clients of databases, "db.client.connection.*".  A
request that waits longer than a millisecond gets a span "pool.acquire".

The package opentelemetry-api is needed: pip install DBUtils[otel].
"""

from __future__ import annotations

from time import time_ns
from weakref import WeakValueDictionary

from opentelemetry import metrics, trace

from . import __version__
from ._base.atomic import alive
from ._base.hints import Any, Callable, Iterator, partial
from ._pooled.base import follow_pools, unfollow_pools
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
    unfollow,
)

__all__ = [
    "instrument", "instrument_all", "uninstrument", "uninstrument_all"]

# Waits of fewer seconds get no span.
_LONG = 0.001
_BILLION = 1_000_000_000


def instrument(
        pool: Any, meter_provider: Any = None, tracer_provider: Any = None,
        *, times: bool = True) -> None:
    """Export the metrics of a pool from now on, and spans of long waits.

    pool: a PooledDB, PooledPg or another pool of steady connections, a keyed
        pool, or a manager, of which later pools are instrumented, too
    meter_provider, tracer_provider: by default the global ones
    times: whether each request is measured, which makes all of them take
        longer; without it there are no wait_time, use_time and spans

    The pool is held weakly.  A second call changes the providers.
    """
    uninstrument(pool)
    follow(pool, _pools_for(meter_provider, tracer_provider, times))


def uninstrument(pool: Any) -> None:
    """Export the metrics of a pool no longer, if they are exported."""
    for pools in _all_pools():
        unfollow(pool, pools)


def instrument_all(
        meter_provider: Any = None, tracer_provider: Any = None,
        *, times: bool = True) -> None:
    """Do the same for all pools of the process, also for later ones."""
    uninstrument_all()
    pools = _pools_for(meter_provider, tracer_provider, times)
    _kept.append(pools)
    follow_pools(pools)


def uninstrument_all() -> None:
    """Export the metrics of no pools, also of no later ones."""
    for pools in _all_pools():
        unfollow_pools(pools)
    _kept.clear()


class _Observer:
    """Records what happens in a pool."""

    def __init__(self, pools: _Pools, link: Callable[[], Any]) -> None:
        self._pools = pools
        self._link = link
        # They are found when the first event comes.
        self._attributes: dict[str, str] = {}

    def opened(self, seconds: float) -> None:
        """Record how long opening a connection has taken."""
        self._record("create_time", seconds)

    def _record(self, name: str, seconds: float) -> None:
        attributes = self._attributes or self._find_attributes()
        self._pools.instruments.times[name].record(seconds, attributes)

    def _find_attributes(self) -> dict[str, str]:
        pool = self._link()
        if pool is not None:
            self._attributes = _attributes_of(pool)
        return self._attributes


class _TimingObserver(_Observer):
    """Records each request, too."""

    def acquired(self, waited: float) -> None:
        """Record how long a request has waited for its connection."""
        self._record("wait_time", waited)
        if waited > _LONG:
            self._pools.show_wait(waited, self._attributes)

    def refused(self, waited: float) -> None:
        """Show a request that has waited in vain."""
        if waited > _LONG:
            self._pools.show_wait(
                waited, self._find_attributes(), is_refused=True)

    def released(self, used: float) -> None:
        """Record for how long a connection was in use."""
        self._record("use_time", used)


class _Instruments:
    """The instruments of a provider.

    Their callbacks keep it alive as long as the provider.
    """

    def __init__(self, meter_provider: Any) -> None:
        # so that no other provider gets its identity
        self._provider = meter_provider
        # By the identities of their tracer providers, and whether they measure
        # requests.
        self.pools: dict[tuple[int, bool], _Pools] = {}
        meter = metrics.get_meter("dbutils", __version__, meter_provider)
        for fact in FACTS:
            meter.create_observable_up_down_counter(
                PREFIX + fact.name, [partial(self._read, fact)], fact.unit,
                fact.text)
        meter.create_observable_counter(
            PREFIX + TIMEOUTS.name, [partial(self._read, TIMEOUTS)],
            TIMEOUTS.unit, TIMEOUTS.text)
        self.times = {time.name: _histogram(meter, time) for time in TIMES}

    def _read(self, fact: Fact, _: Any) -> Iterator[metrics.Observation]:
        """Yield the numbers of all pools."""
        for pools in list(self.pools.values()):
            for pool, _observer in pools.read():
                attributes = _attributes_of(pool)
                for value, number in fact.read(pool).items():
                    own = {} if fact.attribute is None else {
                        fact.attribute: value}
                    yield metrics.Observation(number, {**attributes, **own})


class _Pools(Meters):
    """The pools that use the same instruments and make the same spans."""

    def __init__(
            self, instruments: _Instruments, tracer_provider: Any,
            times: bool) -> None:
        super().__init__(
            lambda link: _TimingObserver(self, link) if times
            else _Observer(self, link))
        self.instruments = instruments
        self._provider = tracer_provider
        self._tracer = trace.get_tracer(
            "dbutils", __version__, tracer_provider)

    def show_wait(
            self, waited: float, attributes: dict[str, str],
            is_refused: bool = False) -> None:
        """Make a span of a wait that ends now."""
        end = time_ns()
        span = self._tracer.start_span(
            "pool.acquire", attributes=attributes,
            start_time=end - int(waited * _BILLION))
        if is_refused:
            span.set_status(trace.Status(trace.StatusCode.ERROR))
        span.end(end)


# The instruments by the identities of their providers.
_instruments: WeakValueDictionary[int, _Instruments] = WeakValueDictionary()
# Those that get all pools, also if their provider drops their instruments.
_kept: list[_Pools] = []


def _pools_for(
        meter_provider: Any, tracer_provider: Any, times: bool) -> _Pools:
    """Return what exports by two providers; it is made if necessary."""
    instruments = _instruments.get(id(meter_provider))
    if instruments is None:
        instruments = _instruments.setdefault(
            id(meter_provider), _Instruments(meter_provider))
    key = id(tracer_provider), times
    pools = instruments.pools.get(key)
    if pools is None:
        pools = instruments.pools.setdefault(
            key, _Pools(instruments, tracer_provider, times))
    return pools


def _all_pools() -> list[_Pools]:
    return [
        pools for instruments in alive(_instruments.valuerefs())
        for pools in list(instruments.pools.values())]


def _attributes_of(pool: Any) -> dict[str, str]:
    return {POOL_NAME: label_of(pool)}


def _histogram(meter: metrics.Meter, time: Time) -> metrics.Histogram:
    """Return a histogram, if possible with boundaries for seconds."""
    histogram: Callable[..., metrics.Histogram] = partial(
        meter.create_histogram, PREFIX + time.name, "s", time.text)
    try:
        return histogram(explicit_bucket_boundaries_advisory=BOUNDARIES)
    except TypeError:
        return histogram()  # of an older API
