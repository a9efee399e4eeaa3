"""Many threads on few connections, with everything that can go wrong."""

import gc
import random
import sys
from contextlib import contextmanager, suppress
from itertools import count
from threading import Barrier, Event, Lock, Thread
from types import ModuleType

import pytest

from dbutils._base.atomic import snapshot
from dbutils.pooled_db import PooledDB

PATIENCE = 120  # seconds after which a test has failed
THREADS = 12
LIMIT = 4


@pytest.fixture(autouse=True)
def _restless():
    """Let threads interrupt each other much more often than usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


class TroubleError(Exception):
    """What the driver raises."""


class Connection:
    """A connection that knows who holds it, and tells of misuse."""

    def __init__(self, driver):
        self.driver = driver
        self.holders = []
        self.dead = False
        driver.note_open(1)

    def close(self):
        if not self.dead:
            self.dead = True
            self.driver.note_open(-1)

    def rollback(self):
        self.driver.fail_now_and_then()
        if self.dead:
            raise TroubleError("dead")

    commit = rollback

    def ping(self):
        self.rollback()

    def cursor(self):
        if self.dead:
            raise TroubleError("dead")
        return Cursor()


class Cursor:
    def execute(self, statement):
        pass

    def close(self):
        pass


class Driver(ModuleType):
    """A DB-API 2 module whose calls fail now and then."""

    threadsafety = 2
    OperationalError = InterfaceError = InternalError = TroubleError

    def __init__(self, seed=0, failures=0.0):
        super().__init__("stress_driver")
        self.random = random.Random(seed)
        self.failures = failures
        self.misuse = []
        self.open = self.most_open = 0
        self.lock = Lock()

    def connect(self):
        self.fail_now_and_then()
        return Connection(self)

    def note_open(self, change):
        with self.lock:
            self.open += change
            self.most_open = max(self.open, self.most_open)

    def fail_now_and_then(self):
        if self.random.random() < self.failures:
            raise TroubleError("now and then")


@contextmanager
def eager_gc():
    """Let the garbage collector run all the time, and in another thread.

    Without the latter, nobody would collect the leases abandoned in cycles
    when all other threads wait for one.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()  # so that it does not look at all that the tests have made
    # Without the GIL, a collection stops all threads, and waits until each of
    # them has noticed that: on a busy machine nothing else would be done.
    if snapshot is list:
        gc.set_threshold(7, 2, 2)
    end = Event()

    def collect():
        while not end.wait(0.001):
            gc.collect()

    collector = Thread(target=collect, daemon=True)
    collector.start()
    try:
        yield
    finally:
        end.set()
        collector.join()
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        gc.collect()


class Holder:
    """A thread that borrows connections until it has had enough."""

    def __init__(self, pool, checkouts, seed):
        self.pool = pool
        self.checkouts = checkouts
        self.random = random.Random(seed)
        self.problems = []
        self.served = 0

    def __call__(self):
        for _ in range(self.checkouts):
            with suppress(TroubleError):  # which the driver makes
                self.checkout()

    def checkout(self):
        db = self.pool.dedicated_connection()
        self.served += 1
        con = db.dbapi_connection
        con.holders.append(self)
        if con.holders != [self]:
            self.problems.append(list(con.holders))
        self.work(db)
        con.holders.remove(self)
        self.leave(db)

    def work(self, db):
        if self.random.random() < 0.2:
            db.begin()
        if self.random.random() < 0.1:
            db.dbapi_connection.close()

    def leave(self, db):
        """Close, drop, or abandon the lease in a cycle."""
        way = self.random.randrange(4)
        if way == 0:
            cycle = [db]
            cycle.append(cycle)
        elif way == 1:
            with db:
                pass
        elif way == 2:
            db.close()
            db.close()


def run_all(targets):
    """Run functions in threads that begin together."""
    barrier = Barrier(len(targets))

    def run(target):
        barrier.wait()
        target()

    threads = [
        Thread(target=run, args=(target,), daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads), "stuck"


def assert_complete(pool):
    """Check that every place of a pool can be taken once, and no more."""
    gc.collect()
    assert pool._connections == 0
    leases = [pool.dedicated_connection() for _ in range(LIMIT)]
    assert len({id(lease.dbapi_connection) for lease in leases}) == LIMIT
    assert pool._connections == LIMIT
    del leases
    assert pool._connections == 0
    assert len(pool._idle_cache) <= LIMIT


@pytest.mark.parametrize("maxcached", [0, 2])
@pytest.mark.parametrize("failures", [0.0, 0.2])
def test_no_connection_has_two_users_and_no_place_is_lost(
        failures, maxcached):
    driver = Driver(seed=1, failures=failures)
    pool = PooledDB(
        driver, maxcached=maxcached, maxconnections=LIMIT, blocking=True)
    holders = [Holder(pool, 150, seed) for seed in range(THREADS)]
    with eager_gc():
        run_all(holders)
    assert [holder.problems for holder in holders] == [[]] * THREADS
    assert sum(holder.served for holder in holders) > THREADS
    # while a lost connection is replaced, the new one is opened first
    assert driver.most_open <= 2 * LIMIT
    driver.failures = 0
    assert_complete(pool)
    pool.close()
    assert driver.open == 0


def test_without_failures_no_more_connections_are_opened_than_allowed():
    driver = Driver()
    pool = PooledDB(driver, maxcached=1, maxconnections=LIMIT, blocking=True)
    holders = [Holder(pool, 200, seed) for seed in range(THREADS)]
    for holder in holders:
        holder.work = lambda db: None
    with eager_gc():
        run_all(holders)
    assert driver.most_open <= LIMIT
    assert_complete(pool)


def test_shared_and_dedicated_connections_together_keep_to_the_limit():
    driver = Driver()
    pool = PooledDB(
        driver, maxshared=2, maxconnections=LIMIT, blocking=True)
    most = []

    def checkout(seed):
        rng = random.Random(seed)
        for _ in range(150):
            with pool.connection(rng.random() < 0.7) as db:
                if rng.random() < 0.3 and hasattr(db, "_shared_con"):
                    db.begin()
                    db.commit()
                most.append(pool._connections)
            assert len(pool._shared_cache) <= 2

    run_all([lambda seed=seed: checkout(seed) for seed in range(THREADS)])
    assert len(most) == THREADS * 150
    assert max(most) <= LIMIT
    assert driver.most_open <= LIMIT
    assert pool._shared_cache == []
    assert_complete(pool)


def test_a_lease_closed_by_many_threads_is_returned_once():
    pool = PooledDB(Driver(), maxconnections=LIMIT)
    for _ in range(100):
        lease = pool.dedicated_connection()
        run_all([lease.close] * 4)
        assert pool._connections == 0
        assert len(pool._idle_cache) == 1


def test_ten_thousand_abandoned_leases_come_back():
    """The garbage collector runs at any moment of any thread."""
    pool = PooledDB(Driver(), maxconnections=LIMIT, blocking=True)
    numbers = count()
    twice = []

    def abandon():
        for _ in range(2500):
            lease = pool.dedicated_connection()
            holders = lease.dbapi_connection.holders
            holders.append(lease._checkout)
            if len(holders) > 1:
                twice.append(holders)
            cycle = [lease, next(numbers)]
            cycle.append(cycle)
            holders.remove(lease._checkout)
            del lease, cycle

    with eager_gc():
        run_all([abandon] * 4)
    assert next(numbers) == 10_000
    assert twice == []
    assert_complete(pool)
