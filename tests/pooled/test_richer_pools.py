"""The four richer pools, together in all ways, keep the contract of pools."""

import random
from contextlib import suppress
from itertools import product
from threading import Event, Thread

import pytest
from drivers import ask
from kinds import MIXED, MIXED_PARAMS
from patience import PATIENCE, wait_until

from dbutils import (
    DynamicPooledDB,
    HealthCheckPooledDB,
    PerformanceOptimizedPooledDB,
    ResourceAllocationPooledDB,
    Scaling,
    pooled_db,
)

pytestmark = pytest.mark.portable


def test_there_are_eleven():
    assert len(MIXED) == len({one.__name__ for one in MIXED}) == 11


@pytest.fixture(params=MIXED_PARAMS)
def mixed(request):
    """A class of pools that are several of the four."""
    return request.param


def switch_all_on(pool):
    """Use what a pool can do more than others."""
    if isinstance(pool, DynamicPooledDB):
        pool.dynamic_adjust_config(maxcached=3)
    if isinstance(pool, PerformanceOptimizedPooledDB):
        pool.optimize_connection_acquisition()
        pool.optimize_cache_strategy()
        pool.optimize_concurrency()
        pool.set_performance_tuning_config(release_timeout=PATIENCE)
    if isinstance(pool, ResourceAllocationPooledDB):
        pool.set_allocation_strategy("weighted", weights={"web": 3})
        pool.ensure_fairness()
        pool.optimize_efficiency()
        pool.reserve("web", 1)
        pool.limit("batch", 2)
        pool.dynamic_adjust_strategy()


def check_all(pool, rounds):
    """Check that nothing of that got lost in the end."""
    wait_until(lambda: pool._connections == 0)
    if isinstance(pool, HealthCheckPooledDB):
        assert pool.health_report()["status"] == "healthy"
    if isinstance(pool, PerformanceOptimizedPooledDB):
        report = pool.performance_report()
        assert report["connection_acquisition_time"]["count"] == rounds
        assert report["optimizations"]["concurrency"]["cleaned_apart"] > 0
    if isinstance(pool, DynamicPooledDB):
        assert len(pool._idle_cache) <= pool._maxcached  # by the load
    if isinstance(pool, ResourceAllocationPooledDB):
        with pool.connection(tag="batch"), pool.connection(tag="batch"), (
                pytest.raises(pooled_db.TooManyConnectionsError)):
            pool.connection(tag="batch", maxwait=0)
    assert pool.shutdown(PATIENCE)


def test_all_of_them_work_together(mixed, dbapi):
    pool = mixed(dbapi, 2, maxconnections=4, blocking=True)
    switch_all_on(pool)

    def work(wishes):
        for _ in range(50):
            with pool.connection(**wishes) as db:
                db.cursor().execute("select 1")

    has_tags = isinstance(pool, ResourceAllocationPooledDB)
    threads = [
        Thread(target=work, args=({"tag": tag} if has_tags else {},))
        for tag in ("web", "batch", None) * 4]
    for thread in threads:
        thread.start()
    if isinstance(pool, HealthCheckPooledDB):
        pool.health_check()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    check_all(pool, 600)


def changes(pool, chance):
    """Yield ways to change a pool that has all four at random."""
    strategies = ["fair", "efficient", "priority", "weighted"]
    while True:
        pool.dynamic_adjust_config(maxconnections=chance.randint(2, 6))
        pool.set_allocation_strategy(chance.choice(strategies))
        pool.limit("batch", chance.choice([1, 2, None]))
        pool.reserve("web", chance.choice([0, 1]))
        pool.optimize_efficiency(chance.random() < 0.5)
        pool.ensure_fairness(chance.random() < 0.5)
        yield chance.choice([
            pool.dynamic_expand, pool.dynamic_shrink, pool.auto_cleanup,
            pool.health_check, pool.health_report, pool.performance_report,
            pool.close, pool.drain])


def checkout(pool, done, tag, priority):
    """Borrow connections, and close or drop them."""
    for number in range(100):
        lease = pool.connection(tag=tag, priority=priority)
        lease.cursor().execute("select 1")
        if number % 3:
            lease.close()
        del lease
        done.append(tag)


@pytest.mark.slow
@pytest.mark.usefixtures("_restless")
@pytest.mark.parametrize("seed", range(3))
def test_all_can_be_changed_while_many_threads_are_at_work(
        dbapi, server, seed):
    pool = MIXED[-1](
        dbapi, 1, maxconnections=4, maxwait=PATIENCE,
        scaling=Scaling(interval=0.02, patience=2),
        health_check_interval=0.02)
    switch_all_on(pool)
    done, over = [], Event()

    def change():
        for act in changes(pool, random.Random(seed)):
            act()
            if over.is_set():
                return

    threads = [Thread(target=change, daemon=True)] + [
        Thread(target=checkout, args=(pool, done, tag, priority), daemon=True)
        for tag, priority in product(
            ("web", "batch", None), ("low", "normal", "high", "critical"))]
    for thread in threads:
        thread.start()
    for thread in threads[1:]:
        thread.join(3 * PATIENCE)
    over.set()
    threads[0].join(PATIENCE)
    assert len(done) == 1200
    check_limits(pool, server)


def check_limits(pool, server):
    """Check that as many connections can be in use as before, no more."""
    wait_until(lambda: pool._connections == 0)
    pool.dynamic_adjust_config(maxconnections=3, maxcached=3)
    pool.limit("batch", None)
    pool.reserve("web", 0)
    leases = [pool.connection() for _ in range(3)]
    with pytest.raises(pooled_db.TooManyConnectionsError):
        pool.connection(maxwait=0)
    while leases:
        leases.pop().close()
    assert pool.shutdown(PATIENCE)
    wait_until(lambda: not any(con.valid for con in server.connections))


def kill(driver, sessions):
    """End sessions, some of which may have ended already."""
    for session in sessions:
        with suppress(driver.error):
            driver.kill(session)


@pytest.mark.slow
def test_they_lose_nothing_on_real_servers(driver):
    """What was committed is there, and nothing of what was left open."""
    driver.new_table("richer")
    pool = MIXED[-1](
        driver.load(), 2, maxconnections=4, maxwait=PATIENCE,
        health_check_interval=0.05, **driver.parameters())
    switch_all_on(pool)
    committed, doubtful, sessions = set(), set(), set()

    def work(first):
        for row in range(first, first + 30):
            with suppress(driver.error, OSError), (  # as pg8000 says it
                    pool.connection(tag="web", priority="high")) as db:
                sessions.add(ask(db, driver.who_am_i))
                db.begin()
                doubtful.add(row)
                db.cursor().execute(
                    f"insert into richer values ({row}, {row})")
                if row % 3:
                    db.commit()
                    committed.add(row)
                doubtful.discard(row)

    threads = [
        Thread(target=work, args=(100 * number,), daemon=True)
        for number in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(committed) > 20)
    kill(driver, sessions.copy())
    wait_until(lambda: not any(thread.is_alive() for thread in threads))
    wait_until(lambda: pool._connections == 0)
    rows = {row for row, in driver.run("select id from richer")}
    assert committed <= rows <= committed | doubtful
    assert len(committed) > 100
    assert pool.shutdown(PATIENCE)
