"""The four richer pools, together in all ways, keep the contract of pools."""

from contextlib import suppress
from itertools import combinations
from threading import Thread

import pytest
import test_pools
import test_waiting
from conftest import Kind
from drivers import ask
from patience import PATIENCE, wait_until

from dbutils import (
    DynamicPooledDB,
    HealthCheckPooledDB,
    PerformanceOptimizedPooledDB,
    ResourceAllocationPooledDB,
    pooled_db,
)

POOLS = (
    DynamicPooledDB, HealthCheckPooledDB, PerformanceOptimizedPooledDB,
    ResourceAllocationPooledDB)
MIXED = [
    type("And".join(one.__name__[:-8] for one in some), some, {})
    for number in (2, 3, 4) for some in combinations(POOLS, number)]

# what holds for the pools of both kinds holds for these, too
for _module in (test_pools, test_waiting):
    globals().update(
        (name, value) for name, value in vars(_module).items()
        if name.startswith("test_"))


def test_there_are_eleven():
    assert len(MIXED) == len({one.__name__ for one in MIXED}) == 11


@pytest.fixture(params=[
    *(pytest.param(one, marks=pytest.mark.slow) for one in MIXED[:-1]),
    MIXED[-1]], ids=lambda one: one.__name__)
def mixed(request):
    """A class of pools that are several of the four."""
    return request.param


@pytest.fixture
def kind(mixed, dbapi):
    """Such pools in the place of those that keep the contract."""
    return Kind(pooled_db, mixed, dbapi)


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
        assert len(pool._idle_cache) <= 3
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
            with suppress(driver.error), (
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
        Thread(target=work, args=(100 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(committed) > 20)
    driver.kill(*sessions)
    wait_until(lambda: not any(thread.is_alive() for thread in threads))
    wait_until(lambda: pool._connections == 0)
    rows = {row for row, in driver.run("select id from richer")}
    assert committed <= rows <= committed | doubtful
    assert len(committed) > 100
    assert pool.shutdown(PATIENCE)
