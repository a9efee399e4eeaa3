"""Pools that look after the health of their idle connections."""

import gc
import sqlite3
import weakref
from threading import Event, Thread

import pytest
from drivers import ask
from patience import PATIENCE, wait_until

from dbutils import HealthCheck, HealthCheckPooledDB
from dbutils._base.housekeeper import housekeeper
from dbutils.pooled_db import PooledDB

pytestmark = pytest.mark.portable

SOON = 0.05  # seconds


@pytest.fixture
def make(dbapi):
    """Make a pool that checks on demand only, unless told otherwise."""
    def make(*args, **options):
        options.setdefault("health_check_interval", None)
        return HealthCheckPooledDB(dbapi, *args, **options)
    return make


def let_die(pool, number=1):
    """Let some of the idle connections be dead."""
    for con in pool._idle_cache[:number]:
        con._con.valid = False
        con.valid = False


def test_a_dead_connection_is_replaced(make, server):
    pool = make(3)
    let_die(pool, 2)
    assert pool.health_check() == 2
    assert server.calls["connect"] == 5
    assert len(pool._idle_cache) == 3
    assert pool.health_check() == 0
    report = pool.health_report()
    assert report["checks"] == 2
    assert report["replaced"] == 2
    assert report["last_check"] > 0
    assert report["status"] == "healthy"


def test_a_dead_connection_is_dropped_on_demand(make, server):
    pool = make(3)
    let_die(pool, 2)
    assert pool.auto_cleanup_invalid() == 2
    assert server.calls["connect"] == 3
    assert len(pool._idle_cache) == 1
    assert pool._connections == 0


def test_the_report_repairs_nothing(make, server):
    pool = make(3, maxconnections=5)
    lease = pool.connection()
    let_die(pool)
    for _ in range(2):
        report = pool.health_report()
        assert report["valid_connections"] == 1
        assert report["invalid_connections"] == 1
        assert report["in_use"] == 1
        assert report["total_connections"] == 3
        assert report["status"] == "degraded"
        assert report["checks"] == report["replaced"] == 0
        assert report["last_check"] is None
    assert server.calls["connect"] == 3
    lease.close()
    let_die(pool, 3)
    assert pool.health_report()["status"] == "unhealthy"


def test_a_server_that_is_away_makes_a_pool_unhealthy(make, server):
    pool = make(2)
    server.is_down = True
    let_die(pool, 2)
    for _ in range(2):  # the second time there is nothing to examine
        assert pool.health_check() == 0
        report = pool.health_report()
        assert report["status"] == "unhealthy"
        assert report["consecutive_failures"] == 1
        assert "OperationalError" in report["last_error"]
    assert pool._connections == 0
    server.is_down = False
    pool.connection().close()
    pool.health_check()
    report = pool.health_report()
    assert report["status"] == "healthy"
    assert report["consecutive_failures"] == 0


def test_a_pool_that_fails_again_and_again_is_unhealthy(make, server):
    pool = make(5)
    server.is_down = True
    states = []
    for number in range(1, 4):
        let_die(pool)
        pool.health_check()
        states.append(pool.health_report()["status"])
        assert pool.health_report()["consecutive_failures"] == number
    assert states == ["degraded", "degraded", "unhealthy"]


@pytest.mark.parametrize("is_dead", [False, True])
def test_the_last_connection_of_a_full_pool_is_judged_by_a_look(
        tmp_path, is_dead):
    pool = HealthCheckPooledDB(
        sqlite3, 1, maxconnections=1, health_check_interval=None,
        database=str(tmp_path / "db"), check_same_thread=False)
    con = pool._idle_cache[0]._con
    if is_dead:
        con.close()
    assert pool.health_check() == is_dead
    assert (pool._idle_cache[0]._con is con) is not is_dead


def test_an_error_is_reported_without_its_text(dbapi, server):
    pool = HealthCheckPooledDB(
        dbapi, 1, health_check_interval=None, user="me")
    let_die(pool)

    class SecretError(Exception):
        """Has a password in its text."""

    def refuse(*args, **kwargs):
        raise SecretError("password=geheim")

    pool.steady_connection = refuse
    assert pool.health_check() == 0
    report = pool.health_report()
    assert report["last_error"].endswith(".SecretError")
    assert "geheim" not in str(report)


def test_a_connection_that_dies_after_its_answer_is_replaced_too(
        make, monkeypatch, dbapi):
    monkeypatch.setattr(
        dbapi.Connection, "in_transaction", True, raising=False)
    pool = make(2)

    def fail():
        raise dbapi.OperationalError("killed")

    monkeypatch.setattr(pool._idle_cache[0]._con, "rollback", fail)
    assert pool.health_check() == 1
    assert pool.health_report()["replaced"] == 1


def test_the_dead_are_replaced_in_the_background(make, server):
    pool = make(4, health_check_interval=SOON)
    let_die(pool, 4)
    wait_until(lambda: pool.health_report()["replaced"] == 4)
    assert pool.health_report()["valid_connections"] == 4
    for _ in range(4):
        pool.connection()
    assert server.calls["connect"] == 8


def test_without_an_interval_nothing_is_done_in_the_background(make):
    pool = make(1)
    assert pool._health_check._chore not in housekeeper.pools()
    checking = make(1, health_check_interval=1000)
    assert checking._health_check._chore in housekeeper.pools()
    checking.shutdown()
    checking._health_check._chore.tick()
    assert checking._health_check._chore not in housekeeper.pools()


def test_a_pool_that_is_dropped_is_collected_although_it_is_checked(
        make, server):
    pool = make(2, health_check_interval=SOON)
    check = pool._health_check
    wait_until(lambda: check.report()["checks"] > 1)
    link = weakref.ref(pool)
    gc.collect()
    gc.disable()
    try:
        del pool
        wait_until(lambda: link() is None)
    finally:
        gc.enable()
    wait_until(lambda: server.calls["close"] == 2)
    wait_until(lambda: check._chore not in housekeeper.pools())


def test_nobody_waits_for_a_check(dbapi):
    """A connection that hangs in its check is one of those that are idle."""
    hangs, goes_on = Event(), Event()

    def is_alive(con):
        if hangs.is_set():
            goes_on.wait(PATIENCE)

    pool = HealthCheckPooledDB(
        dbapi, 2, maxconnections=2, health_check_interval=None,
        ping=(0, is_alive))
    hangs.set()
    checker = Thread(target=pool.health_check)
    checker.start()
    wait_until(lambda: len(pool._idle_cache) == 1)
    lease = pool.connection(maxwait=0)
    assert lease
    goes_on.set()
    checker.join(PATIENCE)
    assert not checker.is_alive()
    # the last one, which another request could need, is only looked at
    goes_on.clear()
    assert pool.health_check() == 0
    assert len(pool._idle_cache) == 1


def test_many_connections_are_examined_at_the_same_time(dbapi):
    waiting = []
    run_together = Event()

    def is_alive(con):
        waiting.append(con)
        if len(waiting) == 8:
            run_together.set()
        assert run_together.wait(PATIENCE)

    pool = HealthCheckPooledDB(
        dbapi, 20, health_check_interval=None, ping=(0, is_alive))
    assert pool.health_check() == 0
    assert len(waiting) == 20
    assert len(pool._idle_cache) == 20


def test_the_same_can_be_had_as_a_feature(dbapi, server):
    check = HealthCheck(interval=None)
    with pytest.raises(ValueError, match="does not belong to a pool"):
        check.report()
    pool = PooledDB(dbapi, 2, features=[check])
    let_die(pool)
    assert check.report()["invalid_connections"] == 1
    assert check.check() == 1
    assert check.drop_invalid() == 0
    with pytest.raises(ValueError, match="another pool"):
        PooledDB(dbapi, 1, features=[check])
    assert server.calls["connect"] == 3
    assert pool.connection()


@pytest.mark.parametrize(("interval", "error"), [
    (0, ValueError), (-1, ValueError), ("1", TypeError)])
def test_a_bad_interval_is_named(make, server, interval, error):
    with pytest.raises(error, match="health_check_interval"):
        make(1, health_check_interval=interval)
    with pytest.raises(error, match="'interval'"):
        HealthCheck(interval)
    assert not server.calls["connect"]


def test_a_bad_feature_is_refused_before_anything_is_opened(dbapi, server):
    with pytest.raises(TypeError, match="features of pools"):
        PooledDB(dbapi, 1, features=["health"])
    assert not server.calls["connect"]


@pytest.mark.slow
def test_sessions_that_were_killed_are_replaced_before_they_are_borrowed(
        driver):
    pool = HealthCheckPooledDB(
        driver.load(), 3, health_check_interval=SOON, ping=0,
        failover="never", **driver.parameters())
    leases = [pool.connection() for _ in range(3)]
    sessions = [ask(lease, driver.who_am_i) for lease in leases]
    while leases:
        leases.pop().close()
    driver.kill(*sessions)
    wait_until(lambda: pool.health_report()["replaced"] >= 3)
    for _ in range(3):
        leases.append(pool.connection())
        assert ask(leases[-1], driver.who_am_i) not in sessions
    while leases:
        leases.pop().close()
    pool.shutdown()
