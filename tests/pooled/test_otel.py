"""Metrics and spans of pools, read back with the SDK of OpenTelemetry."""

import gc
import sqlite3
import sys
import threading

import drivers
import pytest
from drivers import ready
from forking import in_child, needs_fork
from kinds import for_every_kind
from meters import FACTS, POOL, TIMES, Telemetry
from patience import join, wait_until

from dbutils import SimplePooledDB
from dbutils.keyed_pool import ThreadedConnectionPool
from dbutils.pool_manager import DBConnectionPoolManager
from dbutils.pooled_db import PooledDB, TooManyConnectionsError
from dbutils.uri_pool import ConnectionPool

# with the newest Python only, where the packages are installed
pytestmark = pytest.mark.slow


@pytest.fixture
def telemetry():
    return Telemetry()


@pytest.fixture
def otel(telemetry):
    """The module, with which nothing is instrumented at the end."""
    from dbutils import otel
    yield otel
    otel.uninstrument_all()


def pool_of(name="shop", **options):
    return PooledDB(
        sqlite3, poolname=name, database=":memory:", check_same_thread=False,
        **{"maxconnections": 3, **options})


def watched(otel, telemetry, *args, **options):
    """Return a pool that is instrumented."""
    pool = pool_of(*args, **options)
    otel.instrument(pool, telemetry.meters, telemetry.tracers)
    return pool


def test_all_nine_metrics_are_those_of_the_conventions(otel, telemetry):
    pool = watched(otel, telemetry, mincached=1, maxcached=2)
    first = pool.connection()
    pool.connection().close()
    found = telemetry.instruments()
    assert set(found) == FACTS | TIMES | {"holders"}
    kinds = {
        name: (type(metric.data).__name__, metric.unit)
        for name, metric in found.items()}
    for name in TIMES:
        assert kinds.pop(name) == ("Histogram", "s")
    assert kinds.pop("pending_requests") == ("Sum", "{request}")
    assert kinds.pop("timeouts") == ("Sum", "{timeout}")
    assert set(kinds.values()) == {("Sum", "{connection}")}
    assert {
        name for name, metric in found.items()
        if getattr(metric.data, "is_monotonic", False)} == {"timeouts"}
    first.close()


def test_the_values_are_those_of_the_pool(otel, telemetry):
    pool = watched(otel, telemetry, mincached=1, maxcached=2)
    first = pool.connection()
    pool.connection().close()
    assert telemetry.states("shop") == (1, 1)
    assert telemetry.value("max") == 3
    assert telemetry.value("idle.max") == 2
    assert telemetry.value("idle.min") == 1
    assert telemetry.value("pending_requests") == 0
    assert telemetry.value("timeouts") == 0
    assert telemetry.times("create_time") == 1
    assert telemetry.times("wait_time") == 2
    assert telemetry.times("use_time") == 1
    first.close()
    assert telemetry.states("shop") == (2, 0)
    assert telemetry.times("use_time") == 2


def test_what_has_no_limit_is_not_exported(otel, telemetry):
    pool = watched(otel, telemetry, maxconnections=0)
    assert telemetry.states() == (0, 0)
    assert telemetry.points("max") == telemetry.points("idle.max") == []
    del pool


def test_the_idle_ones_are_no_more_than_all(otel, telemetry):
    pool = watched(otel, telemetry, maxconnections=3)
    assert telemetry.value("idle.max", "shop") == 3
    del pool


def test_boundaries_are_in_seconds(otel, telemetry):
    pool = watched(otel, telemetry)
    pool.connection().close()
    bounds = telemetry.points("wait_time")[0].explicit_bounds
    if sys.version_info < (3, 8):
        pytest.skip("the last release for it cannot be told of them")
    assert bounds[0] < 0.001
    assert bounds[-1] == 10


def test_requests_that_wait_and_time_out_are_seen(otel, telemetry):
    pool = watched(
        otel, telemetry, maxconnections=1, blocking=True, maxwait=60)
    lease = pool.connection()
    thread = threading.Thread(
        target=lambda: pool.connection().close(), daemon=True)
    thread.start()
    wait_until(lambda: telemetry.value("pending_requests") == 1)
    lease.close()
    join([thread])
    assert telemetry.value("pending_requests") == 0
    lease = pool.connection()
    with pytest.raises(TooManyConnectionsError):
        pool.connection(maxwait=0.01)
    assert telemetry.value("timeouts") == 1
    lease.close()


def test_a_long_wait_is_a_span_in_the_trace_of_the_request(otel, telemetry):
    pool = watched(otel, telemetry, maxconnections=1)
    tracer = telemetry.tracers.get_tracer("a test")
    lease = pool.connection()
    with tracer.start_as_current_span("a request") as outer, pytest.raises(
            TooManyConnectionsError):
        pool.connection(maxwait=0.01)
    lease.close()
    span, = [
        span for span in telemetry.waits()
        if span.parent is not None]
    assert span.parent.span_id == outer.get_span_context().span_id
    assert span.end_time - span.start_time > 9_000_000
    assert dict(span.attributes) == {POOL: "shop"}
    assert not span.status.is_ok


def test_only_waits_of_more_than_a_millisecond_are_spans(otel, telemetry):
    pool = watched(otel, telemetry)
    observer, = pool._core.observers
    observer.acquired(0.001)
    observer.refused(0.001)
    assert telemetry.waits() == []
    observer.acquired(0.0011)
    span, = telemetry.waits()
    assert abs(span.end_time - span.start_time - 1_100_000) < 10_000
    assert not span.status.description


@for_every_kind
def test_every_kind_of_pool_is_instrumented(kind, otel, telemetry):
    pool = kind.make(maxconnections=2)
    otel.instrument(pool, telemetry.meters)
    lease = pool.connection()
    assert telemetry.states() == (0, 1)
    lease.close()
    assert telemetry.states() == (1, 0)
    assert telemetry.times("wait_time") == telemetry.times("use_time") == 1


def test_a_keyed_pool_is_instrumented(otel, telemetry):
    pool = ThreadedConnectionPool(
        0, 2, creator=sqlite3, database=":memory:", check_same_thread=False)
    otel.instrument(pool, telemetry.meters)
    con = pool.getconn()
    assert telemetry.states() == (0, 1)
    pool.putconn(con)
    otel.uninstrument(pool)
    assert telemetry.points("count") == []


def test_all_pools_of_a_manager_are_instrumented(otel, telemetry, tmp_path):
    def pool(number):
        return manager.get_pool("sqlite", database=str(tmp_path / number))
    with DBConnectionPoolManager.isolated() as manager:
        pool("1").get_connection().close()
        otel.instrument(manager, telemetry.meters)
        pool("1").get_connection().close()
        pool("2").get_connection().close()
        names = {point.attributes[POOL] for point in telemetry.points("max")}
        assert names == {f"sqlite3 {tmp_path / number}" for number in "12"}
        assert telemetry.times("create_time") == 1
        otel.uninstrument(manager)
        pool("3")
        assert telemetry.points("max") == []


def test_all_pools_are_instrumented_also_later_ones(
        otel, telemetry, tmp_path):
    before = pool_of("before")
    otel.instrument_all(telemetry.meters)
    after = pool_of("after")
    uri = f"sqlite:///{tmp_path}/one.db"
    database = ConnectionPool(uri, pool_size=1)
    database.cursor.execute("select 1")
    with DBConnectionPoolManager.isolated() as manager:
        managed = manager.get_pool("sqlite", database=str(tmp_path / "two"))
        names = {
            point.attributes[POOL] for point in telemetry.points("count")}
    assert {"before", "after", f"sqlite3 {tmp_path / 'two'}"} <= names
    assert any(name.endswith("one.db") for name in names)
    database.close()
    ConnectionPool.POOLS.pop(uri).shutdown()
    otel.uninstrument_all()
    later = pool_of("later")
    assert telemetry.points("count") == []
    del before, after, later, managed


def test_a_dropped_pool_is_no_longer_exported(otel, telemetry):
    pool = watched(otel, telemetry)
    pool.connection().close()
    assert telemetry.states() == (1, 0)
    del pool
    gc.collect()
    assert telemetry.points("count") == []


def test_pools_of_the_same_name_have_numbers(otel, telemetry):
    pools = [watched(otel, telemetry, "twin") for _ in range(3)]
    names = ["twin", "twin #2", "twin #3"]
    assert [point.attributes[POOL] for point in telemetry.points("max")] == (
        names)
    del pools[0]
    gc.collect()
    assert [point.attributes[POOL] for point in telemetry.points("max")] == (
        names[1:])
    pools.append(watched(otel, telemetry, "twin"))
    assert sorted(
        point.attributes[POOL] for point in telemetry.points("max")) == names


def test_a_pool_that_is_instrumented_twice_is_exported_once(otel, telemetry):
    pool = watched(otel, telemetry)
    otel.instrument(pool, telemetry.meters, telemetry.tracers)
    pool.connection().close()
    assert telemetry.states() == (1, 0)
    assert telemetry.times("wait_time") == 1
    other = Telemetry()
    otel.instrument(pool, other.meters)
    pool.connection().close()
    assert telemetry.points("count") == []
    assert other.states() == (1, 0)


def test_a_pool_that_is_no_longer_instrumented_is_as_fast_as_before(
        otel, telemetry):
    pool = pool_of()
    ways = pool._core.take_dedicated, pool._core.put
    otel.instrument(pool, telemetry.meters)
    assert pool._core.take_dedicated != ways[0]
    otel.uninstrument(pool)
    otel.uninstrument(pool)
    assert (pool._core.take_dedicated, pool._core.put) == ways
    assert telemetry.points("count") == []


def test_without_times_requests_are_as_fast_as_before(otel, telemetry):
    pool = pool_of()
    ways = pool._core.take_dedicated, pool._core.put
    otel.instrument(pool, telemetry.meters, times=False)
    assert (pool._core.take_dedicated, pool._core.put) == ways
    pool.connection().close()
    assert telemetry.states() == (1, 0)
    assert telemetry.times("create_time") == 1
    assert telemetry.points("wait_time") == telemetry.points("use_time") == []


def test_one_provider_has_one_set_of_instruments(
        otel, telemetry, caplog):
    pools = [pool_of(name) for name in "abc"]
    otel.instrument(pools[0], telemetry.meters)
    otel.instrument(pools[1], telemetry.meters, times=False)
    otel.instrument(pools[2], telemetry.meters, telemetry.tracers)
    assert caplog.messages == []  # as if there were two of the same name
    assert sorted(
        point.attributes[POOL] for point in telemetry.points("max")) == [
            *"abc"]


def test_without_the_sdk_nothing_happens(otel):
    metrics = drivers.load("opentelemetry.metrics")
    pool = pool_of()
    otel.instrument(pool, metrics.NoOpMeterProvider())
    pool.connection().close()
    otel.uninstrument(pool)
    assert not pool._core.observers


def test_what_has_no_such_pool_is_refused(otel):
    simple = SimplePooledDB(sqlite3, 1, database=":memory:")
    for thing in simple, sqlite3:
        with pytest.raises(TypeError, match="have metrics, not"):
            otel.instrument(thing)
    simple.connection()._con.close()


@needs_fork
def test_a_child_exports_what_it_does_itself(otel, telemetry):
    pool = watched(otel, telemetry)
    lease = pool.connection()

    def work():
        before = telemetry.states("shop")
        with pool.connection():
            return before, telemetry.states("shop")
    assert in_child(work) == ((0, 0), (0, 1))
    assert telemetry.states("shop") == (0, 1)
    lease.close()


def test_holders_are_counted_by_their_places(otel, telemetry):
    pool = watched(otel, telemetry, track=True)
    leases = [pool.connection() for _ in range(2)]
    point, = telemetry.points("holders")
    file, line = point.attributes["place"].rsplit(":", 1)
    assert (file, point.value) == (__file__, 2)
    assert int(line) > 100
    leases.clear()
    assert telemetry.points("holders") == []


# The instrumentors of OpenTelemetry trace statements.

@pytest.fixture(params=["psycopg2", "psycopg", "pymysql", "sqlite3"])
def traced(request, telemetry, servers_running):
    """A driver whose statements are traced, and how it is connected."""
    name = request.param
    module = drivers.load(f"opentelemetry.instrumentation.{name}")
    kind = {
        "psycopg2": "Psycopg2Instrumentor", "psycopg": "PsycopgInstrumentor",
        "pymysql": "PyMySQLInstrumentor", "sqlite3": "SQLite3Instrumentor"}
    if name == "sqlite3":
        driver, parameters = sqlite3, {"database": ":memory:"}
    else:
        server = ready(drivers.BY_NAME[name], servers_running)
        driver, parameters = server.load(), server.parameters()
    instrumentor = getattr(module, kind[name])()
    instrumentor.instrument(
        tracer_provider=telemetry.tracers, skip_dep_check=True)
    yield driver, parameters
    instrumentor.uninstrument()


def test_statements_and_pools_are_shown_together(otel, telemetry, traced):
    driver, parameters = traced
    pool = PooledDB(driver, maxconnections=2, poolname="both", **parameters)
    otel.instrument(pool, telemetry.meters, telemetry.tracers)
    with pool.connection() as db, db.cursor() as cursor:
        cursor.execute("select 1")
        assert tuple(cursor.fetchone()) == (1,)
        assert telemetry.states("both") == (0, 1)
        session = db._con._own_session
    assert telemetry.states("both") == (1, 0)
    assert telemetry.times("use_time", "both") == 1
    names = [span.name for span in telemetry.spans.get_finished_spans()]
    assert any(name.lower().startswith("select") for name in names)
    # the pool knows the driver, although its connect() is wrapped
    untraced = PooledDB(driver, **parameters)
    with untraced.connection() as db:
        assert type(session.driver) is type(db._con._own_session.driver)
        assert type(session.driver).__module__ != "dbutils._drivers.unknown"
    pool.close()
    untraced.close()
