"""Faults that the richer pools once had."""

import gc
import sys
from collections import Counter
from threading import Barrier, Event, Thread
from weakref import ref

import mock_db
import pytest
from everywhere import sweep
from forking import in_child, needs_fork
from managed import SECRET, Driver, entry_of, settings_for
from patience import PATIENCE, wait_until

from dbutils import (
    Allocation,
    DynamicPooledDB,
    DynamicSize,
    Performance,
    PerformanceOptimizedPooledDB,
    ResourceAllocationPooledDB,
    Scaling,
    performance_optimized_pooled_db,
    pooled_db,
)
from dbutils._core import slots
from dbutils._core.limits import Limits
from dbutils._core.waiting import Waiter
from dbutils._manager import registry
from dbutils.keyed_pool import (
    KeyedConnection,
    PoolError,
    ThreadedConnectionPool,
)
from dbutils.pool_manager import (
    DBConnectionPoolManager,
    PoolConfig,
    PoolEvictedError,
    PoolManagerError,
    TooManyPoolsError,
    WrongCredentialsError,
)
from dbutils.pooled_db import PooledDB, TooManyConnectionsError

pytestmark = pytest.mark.portable


def run_together(number, work):
    """Call a function in threads at the same time; return the results."""
    barrier, results = Barrier(number), []

    def run():
        barrier.wait(PATIENCE)
        try:
            results.append(work())
        except Exception as error:
            results.append(error)

    threads = [Thread(target=run, daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(results) == number
    return results


# Connections with a key.

def test_threads_that_want_the_same_new_key_need_one_place(dbapi, server):
    pause = Event()
    server.on_call = lambda name, con: (
        pause.wait(0.05) if name == "connect" else None)
    pool = ThreadedConnectionPool(0, 1, creator=dbapi)
    results = run_together(4, lambda: pool.getconn("key"))
    assert [type(result) for result in results] == [type(results[0])] * 4
    assert len(set(map(id, results))) == 1
    assert server.calls["connect"] == 1
    assert pool.stats()["in_use"] == 1
    assert pool.getconn("key") is results[0]
    with pytest.raises(PoolError):
        pool.getconn("other key")


class OpensSlowly:
    """Lets a thread open the connection of a key, until it may go on."""

    def __init__(self, server, error=None):
        self.may_go_on, self.begun, self.results = Event(), Event(), []
        self._error = error
        server.on_call = self._on_call

    def _on_call(self, name, con):
        if name == "connect" and not self.begun.is_set():
            self.begun.set()
            self.may_go_on.wait(PATIENCE)
            if self._error is not None:
                raise self._error

    def start(self, pool):
        def work():
            try:
                self.results.append(pool.getconn("key"))
            except BaseException as error:
                self.results.append(type(error))

        thread = Thread(target=work, daemon=True)
        thread.start()
        assert self.begun.wait(PATIENCE)
        return thread


def test_who_waits_for_a_key_does_so_for_its_own_time(dbapi, server):
    pool = ThreadedConnectionPool(0, 2, creator=dbapi)
    slow = OpensSlowly(server)
    thread = slow.start(pool)
    with pytest.raises(PoolError, match="Another thread has not yet got"):
        pool.getconn("key", maxwait=0.02)
    slow.may_go_on.set()
    thread.join(PATIENCE)
    assert pool.getconn("key", maxwait=0.02) is slow.results[0]


@pytest.mark.parametrize("error", ["OperationalError", "KeyboardInterrupt"])
def test_a_key_that_one_thread_does_not_get_is_for_the_next(
        dbapi, server, error):
    error = getattr(dbapi, error, KeyboardInterrupt)
    pool = ThreadedConnectionPool(0, 1, creator=dbapi)
    slow = OpensSlowly(server, error("not today"))
    first = slow.start(pool)
    conns = []
    second = Thread(
        target=lambda: conns.append(pool.getconn("key")), daemon=True)
    second.start()
    slow.may_go_on.set()
    for thread in (first, second):
        thread.join(PATIENCE)
    assert slow.results == [error]
    assert pool.getconn("key") is conns[0]
    pool.putconn(conns[0])
    assert pool.stats()["in_use"] == 0
    assert not pool._attempts._running


@needs_fork
def test_a_key_is_free_in_a_child_whose_parent_was_just_opening(dbapi, server):
    pool = ThreadedConnectionPool(0, 1, creator=dbapi)
    slow = OpensSlowly(server)
    thread = slow.start(pool)
    results = in_child(lambda: pool.getconn("key").closed)
    assert results == 0
    slow.may_go_on.set()
    thread.join(PATIENCE)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_key_is_lost_by_an_interrupt_at_any_moment(dbapi):
    def prepare():
        pool = ThreadedConnectionPool(0, 1, creator=dbapi)

        def work():
            pool.putconn(pool.getconn("key"))

        def use():
            conn = pool.getconn("key")
            pool.putconn(conn)
            return conn.closed

        def check():
            assert run_together(3, lambda: pool.getconn("key").closed) == [
                0, 0, 0]
            pool.putconn(key="key")
            assert run_together(1, use) == [1]
            assert pool.stats()["in_use"] == 0

        return work, check

    gc.collect()
    gc.disable()
    try:
        assert sweep(prepare, stride=3) > 500
    finally:
        gc.enable()


# Reservations.

def test_the_limit_is_not_lowered_below_what_is_reserved(dbapi):
    allocation = Allocation()
    pool = DynamicPooledDB(
        dbapi, maxcached=4, maxconnections=10, scaling=None,
        features=[allocation])
    allocation.reserve("web", 6)
    allocation.reserve("batch", 2)
    lowered = Limits(maxconnections=7)
    for change in (
            lambda: pool.dynamic_adjust_config(maxconnections=5),
            lambda: pool.dynamic_adjust_config(
                maxconnections=7, mincached=1, maxwaiting=3),
            lambda: pool._core.resize(lambda _: lowered)):
        with pytest.raises(ValueError, match=r"would be [57], but 8 .*serv"):
            change()
        assert pool._maxconnections == 10
        assert pool._mincached == 0
    with pool.connection():  # of those that are not reserved
        pass
    pool.dynamic_adjust_config(maxconnections=8)
    with pool.connection(tag="web"), pytest.raises(TooManyConnectionsError):
        pool.connection()
    allocation.reserve("web", 0)
    pool.dynamic_adjust_config(maxconnections=5)
    with pool.connection(), pytest.raises(ValueError, match="Of 5 conn"):
        allocation.reserve("web", 4)


def test_what_is_reserved_just_now_counts_for_a_limit(dbapi):
    allocation = Allocation()
    pool = DynamicPooledDB(
        dbapi, maxconnections=10, scaling=None, features=[allocation])
    errors = []

    def reserve():
        try:
            allocation.reserve("web", 8)
        except ValueError as error:
            errors.append(str(error))

    other = Thread(target=reserve, daemon=True)

    def adjust(limits):
        other.start()
        other.join(0.05)  # it has to wait
        return limits._replace(maxconnections=5)

    pool._core.resize(adjust)
    other.join(PATIENCE)
    assert len(errors) == 1
    assert "so 8 cannot be reserved for 'web'" in errors[0]


# Weights.

class Crowd:
    """Requests with tags, each of which asks again when it was served.

    It knows no pool and no threads, so that the order is always the same.
    """

    def __init__(self, weights, places=1):
        self.pool = ResourceAllocationPooledDB(
            mock_db, places, maxconnections=places,
            allocation_strategy="weighted", weights=weights)
        self.allocation = self.pool._allocation._policy
        self.waiting = []
        self.served = Counter()

    def add(self, *tags):
        for tag in tags:
            waiter = Waiter().ask(
                False, self.allocation.request(None, tag), None)
            self.waiting.append(waiter)

    def serve(self):
        """Serve the next one; return its tag."""
        waiter = self.allocation.rank(self.waiting)[0]
        self.allocation.served(waiter.request)
        self.waiting.remove(waiter)
        self.served[waiter.request.tag] += 1
        return waiter.request.tag

    def work(self, times):
        """Serve so many, who come again then."""
        self.served.clear()
        for _ in range(times):
            self.add(self.serve())
        return self.served

    @property
    def remembered(self):
        return len(self.allocation.shares._times)


def test_tags_are_forgotten_that_want_nothing(dbapi):
    crowd = Crowd({"a": 3, "b": 1}, places=4)
    crowd.add(*"aaaabbbb")
    for number in range(6000):
        crowd.add(f"only once {number}")
        crowd.serve()
    assert crowd.remembered < 50
    while crowd.waiting:
        crowd.serve()
    crowd.add(*"aabb")
    crowd.work(20)
    assert crowd.remembered == 2


def test_tags_that_come_only_once_do_not_starve_the_others(dbapi):
    crowd = Crowd({"a": 3})
    crowd.add(*"aaaa")
    crowd.add(*range(8))
    for number in range(8, 3000):
        tag = crowd.serve()
        crowd.add(number if isinstance(tag, int) else tag)
    # of each round of 8, who come once have one each, and "a" has three
    assert crowd.served["a"] >= 3000 * 3 / 11 * 0.9
    assert crowd.served["a"] <= 3000 * 3 / 11 * 1.3


@pytest.mark.parametrize("places", [1, 4])
@pytest.mark.parametrize("number", [2, 8])
def test_weights_hold_although_tags_are_forgotten(dbapi, number, places):
    crowd = Crowd({"a": 3, "b": 1}, places)
    crowd.add(*"a" * number, *"b" * number)
    served = crowd.work(4000)
    assert served["a"] == pytest.approx(3 * served["b"], rel=0.02)


def test_a_tag_that_comes_back_has_neither_a_lead_nor_a_lag(dbapi):
    crowd = Crowd({"a": 3, "b": 1, "c": 2})
    crowd.add(*"aaaabbbbcccc")
    crowd.work(600)
    for _ in range(20):
        for waiter in list(crowd.waiting):  # who wants nothing for a while
            if waiter.request.tag == "c":
                crowd.waiting.remove(waiter)
        crowd.work(100)
        crowd.add(*"cccc")
        served = crowd.work(60)
        assert 29 <= served["a"] <= 31
        assert 19 <= served["c"] <= 21
        assert 9 <= served["b"] <= 11


def test_who_waits_is_not_put_back_by_other_weights(dbapi):
    crowd = Crowd({"a": 3})
    crowd.add(*"aaaabbbb")
    crowd.work(400)
    crowd.pool.set_allocation_strategy("weighted", weights={"a": 1})
    crowd.add(*"cccc")
    served = crowd.work(60)
    # who has waited for longer is a bit ahead
    assert all(17 <= served[tag] <= 23 for tag in "abc"), served


# What is measured.

class Clock:
    """A time that only goes on when it is told to."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        for module in (slots, pooled_db, performance_optimized_pooled_db):
            monkeypatch.setattr(module, "monotonic", lambda: self.now)


def test_the_time_of_use_contains_no_wait(dbapi, server, monkeypatch):
    clock = Clock(monkeypatch)
    monkeypatch.setattr(  # each request is measured
        performance_optimized_pooled_db, "_EACH", 1)

    def on_call(name, con):
        if name == "connect":
            clock.now += 50

    def use():
        with pool.connection():
            clock.now += 3

    server.on_call = on_call
    pool = PerformanceOptimizedPooledDB(dbapi, maxconnections=1, maxwait=60)
    lease = pool.connection()
    clock.now += 2
    thread = Thread(target=use, daemon=True)
    thread.start()
    wait_until(lambda: pool.stats().waiting == 1)
    clock.now += 100
    assert "for 102 seconds" in str(pool._core.holders()[0])
    lease.close()
    thread.join(PATIENCE)
    use()
    assert list(pool._performance._timer.uses.values) == [102, 3, 3]


def test_the_use_of_connections_with_keys_is_measured(dbapi, monkeypatch):
    clock = Clock(monkeypatch)
    performance = Performance()
    pool = ThreadedConnectionPool(
        0, 2, creator=dbapi, features=[performance])
    conn = pool.getconn("key")
    assert isinstance(conn, KeyedConnection)
    clock.now += 7
    pool.putconn(conn)
    assert conn.closed
    assert list(performance._timer.uses.values) == [7]
    for _ in range(300):
        with pool.connection() as conn:
            assert isinstance(conn, KeyedConnection)
    assert len(performance._timer.uses.values) == 3


def test_requests_that_are_refused_are_no_uses(dbapi, server):
    pool = PerformanceOptimizedPooledDB(dbapi, maxconnections=2)
    first, second = pool.connection(), pool.connection()
    for _ in range(7):
        with pytest.raises(TooManyConnectionsError):
            pool.connection()
    first.close()
    report = pool.performance_report()
    assert report["connection_acquisition_time"]["count"] == 9
    assert report["connection_use_time"]["count"] == 1
    assert report["connection_release_time"]["count"] == 1
    second.close()
    for con in pool._idle_cache:
        con._con.cut()
    server.on_call = lambda name, con: (
        fail(dbapi) if name in {"connect", "ping"} else None)
    pool.close()
    with pytest.raises(dbapi.OperationalError):
        pool.connection()
    report = pool.performance_report()
    assert report["connection_use_time"]["count"] == 2


def fail(dbapi):
    raise dbapi.OperationalError("not today")


def test_a_visit_begins_when_the_connection_is_there(kind, monkeypatch):
    clock = Clock(monkeypatch)
    pool = kind.make(maxconnections=1, maxwait=60)
    lease = pool.connection()
    checkouts, may_go_on = [], Event()

    def use():
        with pool.connection():
            checkouts.extend(pool._core.holders())
            may_go_on.wait(PATIENCE)

    thread = Thread(target=use, daemon=True)
    thread.start()
    wait_until(lambda: pool.stats().waiting == 1)
    clock.now += 100
    lease.close()
    may_go_on.set()
    thread.join(PATIENCE)
    assert [checkout.since for checkout in checkouts] == [1100]


# The manager.

AT_ONCE = PoolConfig(max_wait_time=0)


@pytest.fixture
def driver(monkeypatch, dbapi):
    """The driver, as if it were a real one."""
    driver = Driver()
    monkeypatch.setitem(sys.modules, "psycopg2", driver)
    yield driver
    driver.hanging.set()


@pytest.fixture
def manager():
    with DBConnectionPoolManager.isolated() as manager:
        yield manager


@pytest.mark.parametrize("terms", [PoolConfig(), PoolConfig(min_idle=1)])
def test_a_pool_that_only_the_background_works_on_is_unused(
        driver, manager, terms):
    manager.set_max_pools(1)
    dead = manager.get_pool(settings_for("hangs"), terms)
    if terms.min_idle:
        wait_until(lambda: driver.told)
    else:
        assert manager.health_check(0)["status"] == "unhealthy"
        wait_until(lambda: driver.told)
    assert dead.stats().in_use == 1
    assert not entry_of(manager, dead).is_used
    pool = manager.get_pool(settings_for("one"))
    assert manager.list_pools()[0]["key"] == pool.key
    with pytest.raises(PoolEvictedError):
        dead.get_connection()
    driver.hanging.set()
    wait_until(lambda: not dead.stats().in_use)
    assert manager.clear_idle_pools() == 1


def test_a_pool_with_a_request_that_is_going_on_is_used(driver, manager):
    manager.set_max_pools(1)
    pool = manager.get_pool(settings_for("hangs"), AT_ONCE)
    thread = Thread(target=fails_with, args=(
        driver.OperationalError, pool.get_connection), daemon=True)
    thread.start()
    wait_until(lambda: driver.told)
    with pytest.raises(TooManyPoolsError):
        manager.get_pool(settings_for("one"))
    driver.hanging.set()
    thread.join(PATIENCE)
    wait_until(lambda: not entry_of(manager, pool).is_used)
    with manager.get_connection(settings_for("one")), (
            pytest.raises(TooManyPoolsError)):
        manager.get_pool(settings_for("hangs"))


def fails_with(error, function):
    with pytest.raises(error):
        function()


@needs_fork
def test_requests_of_a_parent_are_not_those_of_its_child(driver, manager):
    pool = manager.get_pool(settings_for("hangs"), AT_ONCE)
    thread = Thread(target=fails_with, args=(
        driver.OperationalError, pool.get_connection), daemon=True)
    thread.start()
    entry = entry_of(manager, pool)
    wait_until(lambda: entry.is_used)
    assert in_child(lambda: entry.is_used) is False
    driver.hanging.set()
    thread.join(PATIENCE)


def test_a_password_that_was_changed_wrongly_keeps_nobody_away(
        driver, manager):
    config = settings_for("one")
    pool = manager.get_pool(config)
    with pool.get_connection():  # so the first password was accepted
        manager.update_credentials(pool.key, "typo")
    permit = manager.get_pool(config)
    assert permit is not pool
    permit.get_connection().close()
    assert manager.get_pool(config) is permit
    with pytest.raises(driver.OperationalError):
        pool.get_connection()
    with pytest.raises(WrongCredentialsError):
        manager.get_pool(settings_for("one", password="another"))
    manager.update_credentials(pool.key, SECRET)
    with pool.get_connection(), permit.get_connection():
        pass


def test_a_password_that_was_refused_makes_room_for_another(driver, manager):
    manager.set_max_pools(1)
    pool = manager.get_pool(settings_for("one"))
    pool.get_connection().close()
    manager.update_credentials(pool.key, "typo")
    with pytest.raises(driver.OperationalError):
        pool.get_connection()
    permit = manager.get_pool_by_name("main", settings_for("one"))
    assert permit.key == settings_for("one").key
    assert [info["names"] for info in manager.list_pools()] == [["main"]]
    with pytest.raises(PoolEvictedError, match="never accepted"):
        pool.get_connection()


def test_a_wrong_password_takes_nothing_from_one_that_was_not_tried(
        driver, manager):
    good = manager.get_pool_by_name("main", settings_for("one"))
    bad = manager.get_pool(settings_for("one", password="wrong"))
    assert bad is not good
    assert good.key == settings_for("one").key
    assert bad.key != good.key
    with pytest.raises(driver.OperationalError):
        bad.get_connection()
    good.get_connection().close()
    assert manager.get_pool(settings_for("one")) is good
    assert manager.get_pool(settings_for("one", password="wrong")) is bad
    with pytest.raises(WrongCredentialsError):
        manager.get_pool(settings_for("one", password="third"))
    report = manager.health_check()
    assert report["pools"] == {good.key: "healthy", bad.key: "unhealthy"}
    assert [info["key"] for info in manager.get_statistics()["pools"]] == [
        good.key, bad.key]


def test_the_pool_that_stays_has_the_key_and_its_own_names(driver, manager):
    key = settings_for("one").key
    bad = manager.get_pool_by_name(
        "bad", settings_for("one", password="wrong"))
    good = manager.get_pool_by_name("main", settings_for("one"))
    assert [manager.get_pool_info(pool.key)["names"]
            for pool in (bad, good)] == [["bad"], ["main"]]
    assert manager.remove_pool(key)
    with pytest.raises(PoolEvictedError):
        bad.get_connection()
    assert manager.get_pool_info(key)["names"] == ["main"]
    assert good.key == key
    assert manager.get_pool_by_name("main", settings_for("one")) is good
    good.get_connection().close()
    with pytest.raises(PoolManagerError, match="another"):
        manager.get_pool_by_name("main", settings_for("two"))
    assert manager.remove_pool(key)
    assert manager.list_pools() == []


def test_a_server_that_cannot_be_asked_is_not_called_dead(
        driver, manager, monkeypatch):
    manager.get_pool(settings_for("one"))
    with monkeypatch.context() as context:
        context.setattr(registry, "start_thread", lambda run, name: False)
        with pytest.raises(PoolManagerError, match="no thread"):
            manager.health_check()
    assert manager.health_check()["status"] == "healthy"


def test_a_request_that_fails_long_after_its_pool_was_removed_is_not_served(
        driver, manager):
    pool = manager.get_pool(settings_for("hangs"), AT_ONCE)
    thread = Thread(target=fails_with, args=(
        driver.OperationalError, pool.get_connection), daemon=True)
    thread.start()
    wait_until(lambda: driver.told)
    for port in range(1, 250):
        manager.get_pool(settings_for("one", port=port)).connection().close()
        manager.clear_idle_pools()
        if port == 1:
            manager.remove_pool(pool.key)
    driver.hanging.set()
    thread.join(PATIENCE)
    stats = manager.get_statistics()["manager_stats"]
    assert stats["total_connections_served"] == 249
    assert stats["total_pools_destroyed"] == 250
    assert len(manager._registry._removed) <= 101


# Demand that idle connections serve.

RARELY = Scaling(1000, patience=3)  # or when the test says so


def burst(pool, number):
    """Have so many connections in use at the same time, for a moment."""
    leases = [pool.connection(shareable=False) for _ in range(number)]
    while leases:
        leases.pop().close()


def look(feature, times=1):
    """Do what is done in the background."""
    for _ in range(times):
        feature._work(feature._core)


@pytest.mark.parametrize("pause", [1, 2, 3])
def test_bursts_between_two_looks_keep_what_they_need(dbapi, server, pause):
    pool = DynamicPooledDB(dbapi, maxcached=4, scaling=RARELY)
    feature = pool._dynamic_size
    for _ in range(2):
        burst(pool, 20)
        look(feature, pause)
    opened = server.calls["connect"]
    for _ in range(40):
        burst(pool, 20)
        look(feature, pause)
        assert len(pool._idle_cache) == 20
    assert server.calls["connect"] == opened
    for _ in range(20):  # one after the other they need but one
        for _ in range(20):
            burst(pool, 1)
        look(feature)
    assert len(pool._idle_cache) <= 4


def test_requests_are_only_watched_before_something_is_closed(dbapi):
    pool = DynamicPooledDB(dbapi, maxcached=16, scaling=RARELY)
    feature, core = pool._dynamic_size, pool._core
    burst(pool, 12)
    assert core.tick is None
    look(feature)
    assert core.tick is None  # they were needed
    look(feature)
    assert core.tick is not None
    burst(pool, 12)
    look(feature)
    assert core.tick is None
    look(feature, 40)
    assert pool._maxcached == 1
    look(feature)
    assert core.tick is None  # there is nothing to close


def test_a_cache_that_is_optimized_sees_bursts_too(dbapi, server):
    pool = PerformanceOptimizedPooledDB(dbapi, maxconnections=30)
    pool.optimize_cache_strategy()
    feature = pool._performance
    for _ in range(130):
        burst(pool, 20)
        feature._follow_load(feature._core)
    assert server.calls["connect"] <= 30
    opened = server.calls["connect"]
    for _ in range(10):
        burst(pool, 20)
        feature._follow_load(feature._core)
    assert server.calls["connect"] == opened
    assert pool.performance_report()[
        "connection_acquisition_time"]["count"] == 140 * 20
    pool.shutdown()


@pytest.mark.parametrize("is_first", [True, False])
def test_features_that_watch_do_not_hinder_each_other(dbapi, is_first):
    dynamic, performance = DynamicSize(RARELY), Performance()
    features = [dynamic, performance] if is_first else [performance, dynamic]
    pool = PooledDB(dbapi, 0, 16, maxconnections=30, features=features)
    core = pool._core
    demands = [feature._history for feature in (dynamic, performance)]
    for _ in range(3):
        for first, second in (demands, demands[::-1]):
            first.watch(core)
            second.watch(core)
            burst(pool, 12)
            assert first.look(core) >= 12
            assert second.look(core) >= 12
            first.rest(core)
            burst(pool, 12)
            assert second.look(core) >= 12
            second.rest(core)
            burst(pool, 2)
            assert second.look(core) == 0
            first.rest(core)
    assert performance._timer.number == 3 * 2 * 26


@needs_fork
def test_a_child_watches_its_own_requests(dbapi):
    pool = DynamicPooledDB(dbapi, 2, 8, scaling=RARELY)
    feature = pool._dynamic_size
    burst(pool, 8)
    look(feature, 2)
    assert feature._history.is_watching

    def work():
        burst(pool, 5)
        feature._history.look(feature._core)
        burst(pool, 3)
        return feature._history.look(feature._core)

    assert in_child(work) == 3
    burst(pool, 2)
    assert feature._history.look(feature._core) == 2


def test_a_pool_that_is_watched_ends_with_its_last_reference(dbapi):
    pool = DynamicPooledDB(dbapi, 2, 8, scaling=RARELY)
    look(pool._dynamic_size)
    burst(pool, 2)
    assert pool._core.tick is not None
    core = ref(pool._core)
    del pool
    assert core() is None
