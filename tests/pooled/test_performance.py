"""Pools that measure themselves, and can do more to be fast."""

import _thread
import gc
import logging
import weakref
from functools import partial
from threading import Event, Thread, current_thread

import pytest
from everywhere import sweep
from forking import in_child, needs_fork
from patience import PATIENCE, wait_until

from dbutils import Performance, PerformanceOptimizedPooledDB
from dbutils._base.atomic import Count
from dbutils._base.crew import Crew
from dbutils._base.housekeeper import housekeeper
from dbutils._core import leaving
from dbutils._steady.session import stay_away
from dbutils._steady.steady import session_of
from dbutils.pooled_db import (
    PooledDB,
    PooledDedicatedDBConnection,
    TooManyConnectionsError,
)

pytestmark = pytest.mark.portable

TRIP = 0.001  # seconds that a question to the server takes


@pytest.fixture
def make(dbapi):
    """Make a pool that measures itself."""
    def make(*args, **options):
        return PerformanceOptimizedPooledDB(dbapi, *args, **options)
    return make


@pytest.fixture
def slow_server(server):
    """Let questions take some time."""
    pause = Event()
    server.has_ping = True
    server.on_call = lambda name, con: (
        pause.wait(TRIP) if name in {"ping", "rollback"} else None)
    return server


def checkout(pool, times=1):
    for _ in range(times):
        pool.connection().close()


# The report.

def test_the_report_counts_all_and_measures_some(make):
    pool = make(1, maxconnections=3)
    checkout(pool, 400)
    report = pool.performance_report()
    acquisition = report["connection_acquisition_time"]
    assert acquisition["count"] == 400
    assert 0 < acquisition["p50"] <= acquisition["p95"] <= acquisition["max"]
    assert acquisition["p95"] <= acquisition["p99"]
    assert 0 < acquisition["mean"] <= acquisition["max"]
    release = report["connection_release_time"]
    assert release["count"] == 400
    assert release["mean"] > 0
    assert report["connection_creation_time"]["count"] == 0  # since then
    assert report["hit_rate"] == 1
    assert report["waits"] == report["timeouts"] == report["reconnects"] == 0
    assert report["throughput"] > 0
    assert len(pool._performance._timer.quick.values) == 4
    assert len(pool._performance._timer.uses.values) == 4


def test_reading_a_count_does_not_change_it():
    count = Count()
    for number in range(10):
        for _ in range(2):
            assert count.read() == number
        count.step()


def test_what_takes_longer_is_always_measured(make, server):
    pause = Event()
    server.on_call = lambda name, con: (
        pause.wait(0.02) if name == "connect" else None)
    pool = make(maxconnections=3)
    leases = [pool.connection(shareable=False) for _ in range(3)]
    with pytest.raises(TooManyConnectionsError):
        pool.connection(maxwait=0.02)
    while leases:
        leases.pop().close()
    checkout(pool, 7)
    assert not pool._performance._timer.quick.values
    report = pool.performance_report()
    assert report["connection_creation_time"]["count"] == 3
    assert report["connection_creation_time"]["p50"] >= 0.01
    assert report["connection_acquisition_time"]["count"] == 11
    assert report["connection_acquisition_time"]["max"] >= 0.01
    assert report["hit_rate"] == pytest.approx(1 - 3 / 11)
    assert report["waits"] == report["timeouts"] == 1


def test_a_connection_that_is_shared_counts_once(make):
    pool = make(maxshared=2)
    checkout(pool, 250)
    report = pool.performance_report()
    assert report["connection_acquisition_time"]["count"] == 250
    assert report["connection_release_time"]["count"] == 250


def test_a_connection_that_has_to_go_counts_once(make):
    pool = make(maxlifetime=1000)
    checkout(pool)
    for permit in pool._core.idle:
        permit.slot.expires = 0
    checkout(pool)
    report = pool.performance_report()
    assert report["connection_acquisition_time"]["count"] == 2


def test_waits_are_counted(make):
    pool = make(maxconnections=1, blocking=True)
    lease = pool.connection()
    thread = Thread(target=checkout, args=(pool,))
    thread.start()
    wait_until(lambda: pool.stats().waiting == 1)
    lease.close()
    thread.join(PATIENCE)
    report = pool.performance_report()
    assert (report["waits"], report["timeouts"]) == (1, 0)
    assert report["hit_rate"] == 0
    suggestion = report["suggestions"][0]
    assert "waits are 50% of acquisitions" in suggestion
    assert "raise maxconnections from 1 to 2" in suggestion


def test_reconnects_are_counted(make):
    pool = make(1, maxusage=2)
    with pool.connection() as lease:
        cursor = lease.cursor()
        for _ in range(6):
            cursor.execute("select 1")
    assert pool.performance_report()["reconnects"] == 2


def test_the_throughput_is_that_since_the_last_report(make, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(
        "dbutils.performance_optimized_pooled_db.monotonic", lambda: now[0])
    pool = make(1)
    checkout(pool, 50)
    now[0] += 10
    assert pool.performance_report()["throughput"] == pytest.approx(5)
    checkout(pool, 20)
    now[0] += 2
    assert pool.performance_report()["throughput"] == pytest.approx(10)


def test_a_measured_lease_is_like_any_other(make, server):
    pool = make(1)
    lease = pool.connection(shareable=False)  # the first one is measured
    assert isinstance(lease, PooledDedicatedDBConnection)
    assert type(lease) is not PooledDedicatedDBConnection
    assert lease._pool is pool
    holder, = pool._core.holders()
    assert __file__ in str(holder)
    cursor = lease.cursor()
    cursor.execute("select 1")
    lease.close()
    lease.close()
    assert len(pool._idle_cache) == 1
    with pytest.raises(pool._invalid_error, match="already been closed"):
        lease.cursor()
    del lease
    assert pool.performance_report()["connection_use_time"]["count"] == 1


def test_a_measured_lease_that_is_dropped_comes_back(make):
    pool = make(1)
    lease = pool.connection(shareable=False)
    del lease
    assert pool._connections == 0
    assert len(pool._idle_cache) == 1


def test_shared_connections_are_counted_too(make):
    pool = make(maxshared=2)
    leases = [pool.connection() for _ in range(5)]
    assert pool.performance_report()[
        "connection_acquisition_time"]["count"] == 5
    while leases:
        leases.pop().close()


def test_who_observes_a_pool_cannot_disturb_it(make, caplog):
    class Disturber:
        def opened(self, *details):
            raise RuntimeError("disturbing")

        waited = opened

    pool = make(maxconnections=1)
    caplog.set_level(logging.DEBUG)
    pool.observe(Disturber())
    with pool.connection(shareable=False), (
            pytest.raises(TooManyConnectionsError)):
        pool.connection(shareable=False)
    assert len(pool._idle_cache) == 1
    assert caplog.text.count("an observer of a pool, a Disturber, failed") == 2
    report = pool.performance_report()
    assert report["connection_creation_time"]["count"] == 1


def test_many_threads_are_counted(make):
    pool = make(4)
    threads = [Thread(target=checkout, args=(pool, 500)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    report = pool.performance_report()
    assert report["connection_acquisition_time"]["count"] == 4000


def test_suggestions_come_from_what_was_measured(make, slow_server):
    pool = make(1, failures=OSError)
    assert pool.performance_report()["suggestions"] == []
    checkout(pool, 260)
    text = "\n".join(pool.performance_report()["suggestions"])
    assert "call optimize_concurrency()" in text
    assert "call optimize_connection_acquisition()" in text
    pool.optimize_concurrency()
    pool.optimize_connection_acquisition()
    assert pool.performance_report()["suggestions"] == []


def test_a_small_cache_is_noticed(make):
    pool = make(maxcached=1, maxconnections=10)
    for _ in range(40):
        leases = [pool.connection(shareable=False) for _ in range(2)]
        while leases:
            leases.pop().close()
    suggestion = pool.performance_report()["suggestions"][0]
    assert "had to open a connection: raise maxcached from 1" in suggestion


# Getting a connection.

def test_what_has_proved_to_be_alive_is_not_asked_again(make, slow_server):
    pool = make(1)
    checkout(pool, 5)
    assert slow_server.calls["ping"] == 5
    assert not pool._acquisition_optimized
    pool.optimize_connection_acquisition()
    assert pool._acquisition_optimized
    checkout(pool, 100)
    assert slow_server.calls["ping"] <= 7
    report = pool.performance_report()["optimizations"]["acquisition"]
    assert report["enabled"]
    assert report["spared_checks"] >= 98
    assert report["saved_seconds"] >= 90 * TRIP


def test_it_is_asked_again_after_a_while(make, slow_server):
    pool = make(1)
    pool.optimize_connection_acquisition()
    checkout(pool, 3)
    assert slow_server.calls["ping"] == 1
    pool._idle_cache[0]._own_session.answered -= 1
    checkout(pool, 3)
    assert slow_server.calls["ping"] == 2


def test_what_did_not_answer_is_asked_again_at_once(make, slow_server):
    pool = make(1)
    pool.optimize_connection_acquisition()
    slow_server.fail("ping", times=9)
    slow_server.fail("connect", times=9)  # so that it cannot be replaced
    checkout(pool)
    asked = slow_server.calls["ping"]
    checkout(pool)
    assert slow_server.calls["ping"] > asked
    slow_server.plans.clear()
    checkout(pool, 5)
    assert pool._idle_cache[0]._con.valid


def test_what_is_not_valid_is_replaced_nevertheless(make, slow_server):
    pool = make(1)
    pool.optimize_connection_acquisition()
    checkout(pool, 2)
    pool._idle_cache[0].valid = False
    checkout(pool)
    assert slow_server.calls["connect"] == 2


@pytest.mark.parametrize("is_latest", [False, True])
def test_a_thread_gets_what_it_had_last(make, is_latest):
    pool = make(4)
    pool.optimize_connection_acquisition()
    if is_latest:
        pool.optimize_cache_strategy()
    cons = {}
    go_on, done = Event(), Event()
    strangers = []

    def work():
        me = current_thread()
        with pool.connection() as lease:
            cons[me] = lease._con
            if len(cons) == 4:
                done.set()
            go_on.wait(PATIENCE)
        for _ in range(50):
            with pool.connection() as lease:
                if lease._con is not cons[me]:
                    strangers.append(me)

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert done.wait(PATIENCE)
    go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(set(map(id, cons.values()))) == 4
    assert not strangers


def test_a_thread_gets_another_one_if_its_own_is_in_use(make):
    pool = make(2)
    pool.optimize_connection_acquisition()
    checkout(pool)
    one, other = (pool.connection(shareable=False) for _ in range(2))
    assert one._con is not other._con
    one.close()
    other.close()
    pool.close()
    checkout(pool)
    assert len(pool._idle_cache) == 1


# The idle connections.

def test_what_was_in_use_last_is_lent_first(make):
    pool = make(3)
    latest = pool._idle_cache[-1]
    assert not pool._cache_strategy_optimized
    pool.optimize_cache_strategy()
    assert pool._cache_strategy_optimized
    for _ in range(3):
        with pool.connection() as lease:
            assert lease._con is latest


def look(pool, times=1):
    """Do what is done in the background."""
    for _ in range(times):
        pool._performance._follow_load(pool._core)


def test_what_was_not_needed_for_a_while_is_closed(make):
    pool = make(2)
    leases = [pool.connection(shareable=False) for _ in range(8)]
    look(pool)
    while leases:
        leases.pop().close()
    look(pool, 59)
    assert len(pool._idle_cache) == 8
    look(pool)  # that is a minute later
    assert len(pool._idle_cache) == 2


def test_what_is_soon_needed_is_opened_ahead(make, server):
    pool = make(maxconnections=12)
    leases = [pool.connection(shareable=False) for _ in range(3)]
    look(pool)
    assert len(pool._idle_cache) == 3
    leases += [pool.connection(shareable=False) for _ in range(3)]
    assert server.calls["connect"] == 6  # nobody had to wait for one
    look(pool)
    assert len(pool._idle_cache) == 3
    report = pool.performance_report()
    assert report["optimizations"]["cache_strategy"]["opened_ahead"] == 6
    assert report["hit_rate"] == 0.5
    while leases:
        leases.pop().close()


def test_that_is_done_in_the_background(make):
    pool = make()
    leases = [pool.connection(shareable=False) for _ in range(4)]
    while leases:
        leases.pop().close()
    pool.optimize_cache_strategy()
    pool._performance._history.look(pool._core)  # what has been until now
    pool._performance._history.peaks.extend([1] * 60)
    pool._performance._chore.due_at = 0
    wait_until(lambda: len(pool._idle_cache) == 1)
    pool.shutdown()


# Cleaning what is returned.

def test_nobody_waits_for_a_rollback(make, server):
    pool = make(1)
    assert not pool._concurrency_optimized
    pool.optimize_concurrency()
    assert pool._concurrency_optimized
    go_on, threads = Event(), []

    def on_call(name, con):
        if name == "rollback":
            threads.append(current_thread())
            go_on.wait(PATIENCE)

    server.on_call = on_call
    pool.connection().close()  # does not hang
    wait_until(lambda: threads)
    assert current_thread() not in threads
    assert pool._connections == 1  # it is not idle yet
    go_on.set()
    wait_until(lambda: len(pool._idle_cache) == 1)
    wait_until(lambda: pool.performance_report()[
        "optimizations"]["concurrency"]["cleaned_apart"] == 1)


def test_who_waits_gets_what_was_cleaned(make, server):
    pool = make(maxconnections=1, blocking=True)
    pool.optimize_concurrency()
    for _ in range(50):
        checkout(pool)
    assert server.calls["rollback"] >= 49
    assert server.calls["connect"] == 1


def test_a_driver_that_needs_no_rollback_gets_none(tmp_path):
    import sqlite3
    pool = PerformanceOptimizedPooledDB(
        sqlite3, 1, database=str(tmp_path / "plain.db"),
        check_same_thread=False)
    pool.optimize_concurrency()
    checkout(pool, 10)
    with pool.connection() as lease:
        lease.cursor().execute("create table test (id int)")
        lease.cursor().execute("insert into test values (1)")
    # what is embedded is not cleaned by another thread, either
    assert len(pool._idle_cache) == 1
    report = pool.performance_report()["optimizations"]["concurrency"]
    assert report["cleaned_apart"] == 0
    with pool.connection() as lease:
        cursor = lease.cursor()
        cursor.execute("select count(*) from test")
        assert cursor.fetchone() == (0,)
    pool.shutdown()


def test_what_cannot_be_cleaned_is_closed(make, server):
    pool = make(2, maxconnections=2)
    pool.optimize_concurrency()
    with pool.connection() as lease:
        lease.begin()
        pool.drain()
    wait_until(lambda: pool._connections == 0)
    assert server.calls["close"] == 2
    assert len(pool._idle_cache) == 0


def test_too_much_to_clean_is_done_at_once(make, server):
    pool = make(40)
    pool.optimize_concurrency()
    go_on, here = Event(), []

    def on_call(name, con):
        if name == "rollback":
            if current_thread() is main:
                here.append(con)
            else:
                go_on.wait(PATIENCE)

    main = current_thread()
    server.on_call = on_call
    leases = [pool.connection(shareable=False) for _ in range(40)]
    while leases:
        leases.pop().close()
    assert 16 <= len(here) <= 24
    go_on.set()
    wait_until(lambda: len(pool._idle_cache) == 40)


def test_who_does_not_wait_gets_what_is_being_cleaned(make, server):
    pause = Event()
    server.on_call = lambda name, con: (
        pause.wait(0.005) if name == "rollback" else None)
    pool = make(maxconnections=2)
    pool.optimize_concurrency()
    checkout(pool, 20)
    with pool.connection(shareable=False), pool.connection(shareable=False), (
            pytest.raises(TooManyConnectionsError)):
        pool.connection(shareable=False)
    wait_until(lambda: len(pool._idle_cache) == 2)
    assert not pool._performance._reset_workers.is_busy()


@pytest.mark.parametrize("is_apart", [False, True])
def test_a_rollback_that_takes_too_long_is_given_up(make, server, is_apart):
    pool = make(maxconnections=1)
    if is_apart:
        pool.optimize_concurrency()
    pool.set_performance_tuning_config(release_timeout=0.05)
    go_on = Event()

    def on_call(name, con):
        if name == "rollback" and con.serial == 1:
            go_on.wait(PATIENCE)

    server.on_call = on_call
    pool.connection().close()
    with pool.connection(maxwait=PATIENCE) as lease:
        assert lease._con._con.serial == 2
        assert pool._connections == 1
    assert server.calls["close"] == 0  # the driver has not let go of it
    go_on.set()
    wait_until(lambda: server.calls["close"] == 1)
    wait_until(lambda: len(pool._idle_cache) == 1)
    stats = pool.stats()
    assert stats.in_use + stats.idle == 1
    pool.shutdown()


def test_a_rollback_can_end_while_it_is_given_up(make, server):
    pool = make(maxconnections=1)
    pool.set_performance_tuning_config(release_timeout=0.02)
    core, go_on = pool._core, Event()

    def on_call(name, con):
        if name == "rollback" and con.serial == 1:
            go_on.wait(PATIENCE)

    def abandon(slot):
        go_on.set()
        wait_until(lambda: slot.con is None)
        leaving.abandon(core, slot)

    server.on_call, core.abandon = on_call, abandon
    pool.connection().close()
    with pool.connection(maxwait=PATIENCE) as lease:
        assert lease._con._con.serial == 2
    assert pool.stats().closed == 1


def test_threads_that_hang_do_not_keep_others_from_cleaning(make, server):
    pool = make(maxconnections=10)
    pool.set_performance_tuning_config(release_timeout=0.02)
    go_on = Event()

    def on_call(name, con):
        if name == "rollback" and con.serial <= 6:
            go_on.wait(PATIENCE)

    server.on_call = on_call
    leases = [pool.connection(shareable=False) for _ in range(7)]
    for lease in leases:
        lease.close()
    leases.clear()
    del lease
    assert len(pool._idle_cache) == 1
    assert pool._idle_cache[0]._con.serial == 7
    go_on.set()
    wait_until(lambda: server.calls["close"] == 6)
    pool.shutdown()


def test_without_another_thread_it_is_done_at_once(make, monkeypatch, server):
    def start(run, arguments):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(housekeeper, "_crew", Crew())
    pool = make(1)
    pool.optimize_concurrency()
    monkeypatch.setattr(_thread, "start_new_thread", start)
    before = server.calls["rollback"]
    checkout(pool, 2)
    assert server.calls["rollback"] == before + 2
    assert len(pool._idle_cache) == 1


def test_a_worker_ends_when_there_is_nothing_to_do(make, monkeypatch):
    monkeypatch.setattr(housekeeper, "_crew", Crew(rest=0.01))
    pool = make(1)
    pool.optimize_concurrency()
    for _ in range(3):
        checkout(pool)
        wait_until(lambda: len(pool._idle_cache) == 1)
        wait_until(lambda: not housekeeper._crew._links)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("timeout", [None, PATIENCE])
def test_no_place_is_lost_by_an_interrupt_at_any_moment(
        make, monkeypatch, timeout):
    monkeypatch.setattr(housekeeper, "_crew", Crew(rest=0.01))
    gc.collect()
    gc.disable()
    try:
        assert sweep(
            partial(visit_and_clean, make, timeout), stride=3) > 500
    finally:
        gc.enable()


def visit_and_clean(make, timeout):
    """Return a visit that another thread cleans up, and a check."""
    pool = make(2, maxconnections=2)
    pool.optimize_connection_acquisition()
    pool.set_performance_tuning_config(release_timeout=timeout)
    if timeout is None:
        pool.optimize_concurrency()
    leases = []

    def checkout():
        leases.append(pool.connection(shareable=False))
        leases.pop().close()

    def check():
        leases.clear()
        leases.extend(
            pool.connection(False, maxwait=PATIENCE) for _ in range(2))
        assert pool._connections == 2
        while leases:
            leases.pop().close()

    return checkout, check


@needs_fork
def test_a_child_cleans_with_threads_of_its_own(make, server):
    pool = make(1)
    pool.optimize_concurrency()
    checkout(pool)
    wait_until(lambda: len(pool._idle_cache) == 1)

    def clean():
        checkout(pool)
        wait_until(lambda: len(pool._idle_cache) == 1)

    assert in_child(clean) is None


# Tuning, and what else there is.

def test_a_borrower_waits_for_so_long_at_most(make):
    pool = make(maxconnections=1, blocking=True)
    pool.set_performance_tuning_config(acquisition_timeout=0.02)
    with pool.connection(), pytest.raises(
            TooManyConnectionsError, match="None has become free"):
        pool.connection(shareable=False)


@pytest.mark.parametrize(("options", "error", "match"), [
    ({"acquisition_timeout": -1}, ValueError, "'acquisition_timeout'"),
    ({"acquisition_timeout": 5, "release_timeout": "1"}, TypeError,
     "'release_timeout'"),
    ({"acquisition_timeout": 5, "timeout": 1}, TypeError,
     "only 'acquisition_timeout' and 'release_timeout'")])
def test_bad_limits_change_nothing(make, options, error, match):
    pool = make()
    before = pool._core.timeout
    with pytest.raises(error, match=match):
        pool.set_performance_tuning_config(**options)
    assert pool._core.timeout == before
    assert pool._performance._reset_workers.timeout is None


def comes_back_quickly(pool):
    """Return whether a clean connection comes back the fast way."""
    return session_of(pool._idle_cache[0]).leave is not stay_away


def test_without_limits_all_comes_back_the_short_way(make):
    pool = make(1)
    assert comes_back_quickly(pool)
    pool.set_performance_tuning_config(release_timeout=1)
    assert not comes_back_quickly(pool)
    pool.set_performance_tuning_config(release_timeout=None)
    assert comes_back_quickly(pool)
    pool.optimize_concurrency()
    pool.set_performance_tuning_config(release_timeout=None)
    assert not comes_back_quickly(pool)


def test_it_can_be_left_out(make):
    pool = make(1, performance_optimization=False)
    checkout(pool, 3)
    assert pool._core.timer is None
    for method in (
            pool.performance_report, pool.optimize_concurrency,
            pool.optimize_cache_strategy,
            pool.optimize_connection_acquisition,
            pool.set_performance_tuning_config):
        with pytest.raises(ValueError, match="does not belong to a pool"):
            method()
    assert not pool._concurrency_optimized
    assert not pool._cache_strategy_optimized
    assert not pool._acquisition_optimized


def test_a_pool_that_was_dropped_is_collected(make):
    pool = make(1)
    pool.optimize_cache_strategy()
    pool.optimize_connection_acquisition()
    checkout(pool, 40)
    reference = weakref.ref(pool)
    del pool
    assert reference() is None
    wait_until(lambda: not housekeeper.is_running)


def test_the_same_can_be_had_as_a_feature(dbapi):
    performance = Performance()
    pool = PooledDB(dbapi, 1, features=[performance])
    checkout(pool, 40)
    report = performance.report()
    assert report["connection_acquisition_time"]["count"] == 40
    with pytest.raises(ValueError, match="measured once"):
        PooledDB(dbapi, features=[Performance(), Performance()])
