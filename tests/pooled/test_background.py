"""Work in the background, while some servers do not answer at all."""

from collections import defaultdict
from contextlib import ExitStack
from threading import Event, Thread
from time import monotonic

import drivers
import pytest
from drivers import ready
from patience import wait_until

from dbutils import HealthCheckPooledDB, PerformanceOptimizedPooledDB
from dbutils._core.maintenance import Maintenance
from dbutils.health_check_pooled_db import HealthCheck
from dbutils.pooled_db import PooledDB
from dbutils.testing import Proxy

pytestmark = pytest.mark.portable

HEALTHY = 20
ROUNDS = 12
# By how many seconds work may be late, besides what the machine is late.
LATE = 1


class Pulse:
    """Measures by how much the machine is late with threads that wait."""

    def __init__(self):
        self.worst = 0.0
        self._end = Event()
        self._thread = Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._end.set()
        self._thread.join()

    def _run(self):
        before = monotonic()
        while not self._end.wait(0.05):
            now = monotonic()
            self.worst = max(self.worst, now - before - 0.05)
            before = now


@pytest.fixture(params=["psycopg2", "pymysql"])
def driver(request, servers_running):
    return ready(drivers.BY_NAME[request.param], servers_running)


@pytest.fixture
def proxy(driver):
    with Proxy(driver.port) as proxy:
        yield proxy


@pytest.fixture
def make(driver):
    with ExitStack() as stack:
        def make(pool_class=PooledDB, proxy=None, **options):
            kwargs = driver.parameters()
            if proxy is not None:
                kwargs["port"] = proxy.port
            pool = pool_class(driver.load(), **options, **kwargs)
            stack.callback(pool.shutdown, 0)
            return pool

        yield make


@pytest.fixture
def ticks(monkeypatch):
    """When there was work for each of those that have some."""
    times = defaultdict(list)

    def note(kind, name):
        work = getattr(kind, name)

        def noted(self, *args):
            times[self].append(monotonic())
            work(self, *args)

        monkeypatch.setattr(kind, name, noted)

    note(Maintenance, "_tick")
    note(HealthCheck, "_work")
    return times


def let_time_pass(ticks, those):
    """Wait until each of those had some work; return the longest pauses."""
    with Pulse() as pulse:
        ticks.clear()
        wait_until(lambda: all(len(ticks[one]) >= ROUNDS for one in those))
        times = {one: list(ticks[one]) for one in those}
    return {
        one: max(b - a for a, b in zip(times[one], times[one][1:]))
        - pulse.worst for one in those}


def ask(db):
    cursor = db.cursor()
    cursor.execute("select 1")
    cursor.fetchone()
    cursor.close()


def make_healthy(make):
    """Return what has to be done on time, with the longest pause."""
    work = {}
    for number in range(HEALTHY):
        if number % 2:
            pool = make(
                HealthCheckPooledDB, mincached=1, health_check_interval=0.3)
            work[pool._health_check] = 0.3
        else:
            pool = make(mincached=1, maxidletime=100, keepalive=1)
            work[pool._core.maintenance] = 0.25
    return work


def test_one_hole_does_not_stop_the_work_for_others(make, proxy, ticks):
    work = make_healthy(make)
    hole = make(
        proxy=proxy, mincached=3, keepalive=0.1, maxidletime=100, refill=True)
    checked = make(
        HealthCheckPooledDB, proxy=proxy, mincached=3,
        health_check_interval=0.1)
    proxy.swallow()
    pauses = let_time_pass(ticks, work)
    for one, pause in work.items():
        assert pauses[one] < pause + LATE
    assert hole
    assert checked


def test_many_holes_do_not_use_up_the_threads(make, proxy, ticks):
    work = make_healthy(make)
    holes = [
        make(proxy=proxy, mincached=1, maxconnections=2, refill=True)
        for _ in range(12)]
    proxy.swallow()
    for hole in holes:
        hole.close()
        hole._core.maintenance.hurry()
    pauses = let_time_pass(ticks, work)
    for one, pause in work.items():
        assert pauses[one] < pause + LATE


def test_what_is_idle_is_closed_on_time(make, proxy):
    pool = make(mincached=5, maxidletime=1)
    hole = make(proxy=proxy, mincached=3, keepalive=0.1)
    proxy.swallow()
    with Pulse() as pulse:
        start = monotonic()
        wait_until(lambda: not pool._idle_cache)
        assert monotonic() - start - pulse.worst < 1 + LATE
    assert hole


def test_a_time_limit_for_cleaning_is_kept(make, proxy):
    pool = make(
        PerformanceOptimizedPooledDB, mincached=2, maxconnections=2,
        proxy=proxy, ping=0)
    pool.optimize_concurrency()
    pool.set_performance_tuning_config(release_timeout=0.5)
    holes = [make(proxy=proxy, mincached=3, keepalive=0.1) for _ in range(3)]
    dbs = [pool.connection() for _ in range(2)]
    for db in dbs:
        db.begin()
        ask(db)
    proxy.swallow()
    with Pulse() as pulse:
        start = monotonic()
        while dbs:
            dbs.pop().close()
        db = None
        wait_until(lambda: not pool._connections)
        assert monotonic() - start - pulse.worst < 0.5 + LATE
    assert holes
    assert db is None
