"""Metrics of pools for Prometheus, read back by a real scrape."""

import gc
import sqlite3
from threading import Thread

import drivers
import pytest
from forking import in_child, needs_fork
from kinds import for_every_kind
from meters import parsed, served
from patience import in_threads, join, wait_until

from dbutils.pool_manager import DBConnectionPoolManager
from dbutils.pooled_db import PooledDB, TooManyConnectionsError

# with the newest Python only, where the package is installed
pytestmark = pytest.mark.slow

START = "db_client_connection_"
NAMES = {
    "count", "idle_max", "idle_min", "max", "pending_requests", "holders",
    "timeouts_total"}
TIMES = {"create_time_seconds", "wait_time_seconds", "use_time_seconds"}


@pytest.fixture
def registry():
    return drivers.load("prometheus_client").CollectorRegistry()


@pytest.fixture
def collect(registry):
    """Register a collector, and return what reads its values."""
    from dbutils.prometheus import Collector
    collectors = []

    def begin(*pools, **options):
        collectors.append(Collector(*pools, **options))
        registry.register(collectors[-1])

        def value(name, pool="shop", **labels):
            samples = parsed(latest(registry).decode())
            labels.setdefault(f"{START}pool_name", pool)
            return samples.get((START + name, *sorted(labels.items())))
        return value
    latest = drivers.load("prometheus_client").generate_latest
    yield begin
    for collector in collectors:
        collector.close()


def pool_of(name="shop", **options):
    return PooledDB(
        sqlite3, poolname=name, database=":memory:", check_same_thread=False,
        **{"maxconnections": 3, **options})


def states(value, pool="shop"):
    """Return how many connections are idle, and in use."""
    return tuple(
        value("count", pool, **{f"{START}state": state})
        for state in ("idle", "used"))


def test_a_scrape_has_all_metrics(registry, collect):
    pool = pool_of(mincached=1, track=True)
    collect(pool)
    lease = pool.connection()
    with served(registry) as scrape:
        samples = scrape()
    names = {name for name, *_ in samples}
    assert names == {START + name for name in NAMES} | {
        f"{START}{name}_{part}" for name in TIMES
        for part in ("bucket", "count", "sum")}
    labels = {
        label for _, *pairs in samples for label, _ in pairs}
    assert labels == {f"{START}pool_name", f"{START}state", "place", "le"}
    lease.close()


def test_the_values_are_those_of_the_pool(collect):
    pool = pool_of(mincached=1, maxcached=2, track=True)
    value = collect(pool)
    first = pool.connection()
    pool.connection().close()
    assert states(value) == (1, 1)
    assert [value(name) for name in (
        "max", "idle_max", "idle_min", "pending_requests",
        "timeouts_total")] == [3, 2, 1, 0, 0]
    assert value("create_time_seconds_count") == 1
    assert value("wait_time_seconds_count") == 2
    assert value("use_time_seconds_count") == 1
    first.close()
    assert states(value) == (2, 0)
    assert value("use_time_seconds_count") == 2


def test_requests_that_wait_and_time_out_are_seen(collect):
    pool = pool_of(maxconnections=1, blocking=True, maxwait=60)
    value = collect(pool)
    lease = pool.connection()
    thread = Thread(target=lambda: pool.connection().close(), daemon=True)
    thread.start()
    wait_until(lambda: value("pending_requests") == 1)
    lease.close()
    join([thread])
    with pool.connection(), pytest.raises(TooManyConnectionsError):
        pool.connection(maxwait=0.01)
    assert value("timeouts_total") == 1


def test_buckets_count_all_values_up_to_their_boundaries(collect):
    pool = pool_of()
    value = collect(pool)
    observer, = pool._core.observers
    for seconds in 0.0001, 0.003, 0.005, 7, 100:
        observer.released(seconds)
    assert [
        value("use_time_seconds_bucket", le=boundary)
        for boundary in ("0.0001", "0.001", "0.005", "5.0", "10.0", "+Inf")
    ] == [1, 1, 3, 3, 4, 5]
    assert value("use_time_seconds_count") == 5
    assert value("use_time_seconds_sum") == pytest.approx(107.0081)


def test_no_value_of_many_threads_is_lost(collect):
    pool = pool_of()
    value = collect(pool)
    observer, = pool._core.observers
    join(in_threads(
        lambda: [observer.released(0.25) for _ in range(250)], 4))
    assert value("use_time_seconds_bucket", le="0.5") == 1000
    assert value("use_time_seconds_sum") == 250


@for_every_kind
def test_every_kind_of_pool_is_collected(kind, collect):
    pool = kind.make(maxconnections=2)
    value = collect(pool)
    name = pool._label = "one"
    lease = pool.connection()
    assert states(value, name) == (0, 1)
    lease.close()
    assert states(value, name) == (1, 0)
    assert value("use_time_seconds_count", name) == 1


def test_all_pools_are_collected_also_later_ones(collect, tmp_path):
    before = pool_of("before")
    value = collect()
    after = pool_of("after")
    with DBConnectionPoolManager.isolated() as manager:
        managed = manager.get_pool("sqlite", database=str(tmp_path / "one"))
        name = f"sqlite3 {tmp_path / 'one'}"
        assert [value("max", pool) for pool in ("before", "after", name)] == [
            3, 3, managed.pool_config.max_total]
    del before, after
    gc.collect()
    assert value("max", "before") is value("max", "after") is None


def test_all_pools_of_a_manager_are_collected(collect, tmp_path):
    with DBConnectionPoolManager.isolated() as manager:
        value = collect(manager)
        pool = manager.get_pool("sqlite", database=str(tmp_path / "one"))
        pool.get_connection().close()
        assert value(
            "wait_time_seconds_count", f"sqlite3 {tmp_path / 'one'}") == 1
        other = pool_of("other")
        assert value("max", "other") is None
        del other


def test_a_collector_without_pools_can_be_registered_once(registry, collect):
    collect()
    with pytest.raises(ValueError, match="Duplicated"):
        collect()


def test_after_its_end_a_collector_shows_no_pool(collect, registry):
    from dbutils.prometheus import Collector
    pool = pool_of()
    ways = pool._core.take_dedicated, pool._core.put
    collector = Collector()
    registry.register(collector)
    assert pool._core.take_dedicated != ways[0]
    collector.close()
    later = pool_of("later")
    assert (pool._core.take_dedicated, pool._core.put) == ways
    assert not any(metric.samples for metric in registry.collect())
    del later


def test_without_times_requests_are_as_fast_as_before(collect):
    pool = pool_of()
    ways = pool._core.take_dedicated, pool._core.put
    value = collect(pool, times=False)
    assert (pool._core.take_dedicated, pool._core.put) == ways
    pool.connection().close()
    assert states(value) == (1, 0)
    assert value("create_time_seconds_count") == 1
    assert value("use_time_seconds_count") is None


@needs_fork
def test_a_child_counts_what_it_does_itself(collect):
    pool = pool_of()
    value = collect(pool)
    lease = pool.connection()

    def work():
        before = states(value), value("wait_time_seconds_count")
        with pool.connection():
            return before, states(value), value("wait_time_seconds_count")
    assert in_child(work) == (((0, 0), 0), (0, 1), 1)
    assert states(value) == (0, 1)
    lease.close()


def test_holders_are_counted_by_their_places(registry, collect):
    pool = pool_of(track=True)
    collect(pool)
    leases = [pool.connection() for _ in range(2)]
    metric = next(
        metric for metric in registry.collect()
        if metric.name == f"{START}holders")
    sample, = metric.samples
    assert sample.labels["place"].rsplit(":", 1)[0] == __file__
    assert sample.value == 2
    leases.clear()
