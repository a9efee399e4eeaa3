"""Sharing loses nothing: 16 threads on 2 connections, with begin()."""

import gc
import random
from collections import Counter
from contextlib import suppress
from threading import Event, Thread
from weakref import ref

import drivers
import pytest
from drivers import ready

from dbutils._core import serving
from dbutils.pooled_db import (
    NestedBorrowingError,
    PooledDB,
    TooManyConnectionsError,
)

PATIENCE = 60  # seconds after which a test has failed
THREADS = 16
UNITS = 40
STEPS = 3

SHARING = [
    driver for driver in drivers.POSTGRESQL + drivers.MARIADB
    if driver.name in {"psycopg2", "psycopg"}]


@pytest.fixture(params=SHARING, ids=repr)
def driver(request, servers_running):
    return ready(request.param, servers_running)


class Units:
    """Units of several rows, of which some are rolled back."""

    def __init__(self, pool, table, seed, uses_begin):
        self.pool = pool
        self.table = table
        self.random = random.Random(seed)
        self.uses_begin = uses_begin
        self.outcomes = {}

    def work(self, first):
        for unit in range(first, first + UNITS):
            with self.pool.connection() as db:
                self.outcomes[unit] = self.store(db, unit)

    def store(self, db, unit):
        if self.uses_begin:
            db.begin()
        cursor = db.cursor()
        for step in range(STEPS):
            cursor.execute(
                f"insert into {self.table} values (%s, %s)", (unit, step))
        if self.random.random() < 0.4:
            db.rollback()
            return False
        db.commit()
        return True


@pytest.mark.slow
@pytest.mark.parametrize("uses_begin", [True, False])
def test_no_unit_is_lost_or_stored_in_part(driver, uses_begin):
    table = "shared_units"
    driver.run(f"drop table if exists {table}")
    driver.run(f"create table {table} (unit integer, step integer)")
    pool = PooledDB(
        driver.load(), maxshared=2, maxconnections=2, blocking=True,
        **driver.parameters())
    units = [Units(pool, table, seed, uses_begin) for seed in range(THREADS)]
    threads = [
        Thread(target=one.work, args=(number * UNITS,), daemon=True)
        for number, one in enumerate(units)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    assert pool._connections == 0
    pool.close()
    found = Counter(
        unit for unit, _ in driver.run(f"select unit, step from {table}"))
    outcomes = {
        unit: stored for one in units for unit, stored in one.outcomes.items()}
    assert len(outcomes) == THREADS * UNITS
    stored = {unit for unit, was_stored in outcomes.items() if was_stored}
    assert set(found) == stored
    assert set(found.values()) == {STEPS}


def test_a_transaction_of_one_is_not_seen_by_the_other(driver):
    pool = PooledDB(
        driver.load(), maxshared=1, maxconnections=2, **driver.parameters())
    table = driver.new_table("shared_apart")
    first, second = pool.connection(), pool.connection()
    assert first._con is second._con
    first.begin()
    first.cursor().execute(f"insert into {table} values (1, 1)")
    with pytest.raises(TooManyConnectionsError):
        second.cursor()  # the only shared connection is in a transaction
    second.rollback()  # that is not its own
    first.commit()
    cursor = second.cursor()
    cursor.execute(f"select count(*) from {table}")
    assert cursor.fetchone() == (1,)


def test_who_shares_goes_on_with_another_connection(dbapi, server):
    pool = PooledDB(dbapi, maxshared=2, maxconnections=2)
    first, other, second = (pool.connection() for _ in range(3))
    assert first._con is second._con
    cursor = second.cursor()
    first.begin()
    first.cursor().execute("select mine")
    cursor.execute("select yours")
    assert second._con is other._con
    assert second._shared_con is other._shared_con
    assert "yours" not in str(server.connections[0].session)
    second.begin()
    with pytest.raises(TooManyConnectionsError):
        other.begin()
    first.rollback()
    other.begin()
    assert other._con is first._con
    for lease in (first, other, second):
        lease.close()
    assert pool._connections == 0
    assert len(pool._idle_cache) == 2


def test_who_leaves_in_a_transaction_leaves_nothing_to_the_others(
        dbapi, server):
    pool = PooledDB(dbapi, maxshared=1)
    first, second = pool.connection(), pool.connection()
    first.begin()
    first.cursor().execute("set one")
    first.close()
    assert server.connections[0].session[-1:] == ["rollback"]
    second.begin()
    second.cursor().execute("set two")
    cycle = [second]
    del second
    cycle.clear()
    with pool.connection() as third:
        third.begin()
        third.commit()
    assert "commit" in server.connections[0].session


@pytest.mark.parametrize("others", [1, 2])
def test_who_is_collected_in_a_transaction_blocks_no_other(
        dbapi, server, others):
    pool = PooledDB(dbapi, maxshared=1)
    first, *leases = [pool.connection() for _ in range(others)]
    lost = [pool.connection()]
    lost[0].begin()
    lost[0].cursor().execute("set lost")
    lost.append(lost)
    del lost
    gc.collect()
    leases.append(pool.connection())
    assert leases[-1]._con is first._con
    first.begin()
    assert server.connections[0].session[-1] == "rollback"
    first.commit()
    for lease in (first, *leases):
        lease.close()
    assert len(pool._idle_cache) == 1


def test_who_waits_to_begin_is_woken_up_by_a_commit(dbapi):
    pool = PooledDB(dbapi, maxshared=1, maxconnections=1, blocking=True)
    first, second = pool.connection(), pool.connection()
    first.begin()
    begun = Event()
    thread = Thread(target=lambda: (second.begin(), begun.set()))
    thread.start()
    tick = Event()
    while not pool.stats().waiting:
        tick.wait(0.001)
    assert not begun.is_set()
    first.commit()
    assert begun.wait(PATIENCE)
    thread.join()
    with suppress(TooManyConnectionsError):
        second.commit()


def test_a_slow_check_of_one_keeps_no_other_one_waiting(dbapi):
    """Who finds the connection in use takes it as alive."""
    go_on, checking = Event(), Event()

    def be_slow(con):
        if not checking.is_set():
            checking.set()
            assert go_on.wait(PATIENCE)

    pool = PooledDB(dbapi, maxshared=1, ping=be_slow)
    first = pool.connection()
    thread = Thread(target=pool.connection)
    thread.start()
    assert checking.wait(PATIENCE)
    assert pool.connection()._con is first._con
    assert not go_on.is_set()
    go_on.set()
    thread.join(PATIENCE)


@pytest.mark.parametrize("maxshared", [1, 2])
def test_a_signal_handler_cannot_disturb_a_statement(
        dbapi, monkeypatch, maxshared):
    """It runs in the middle of a statement of the same thread."""
    pool = PooledDB(dbapi, maxshared=maxshared)
    leases = [pool.connection() for _ in range(maxshared + 1)]
    other = leases[-1]
    assert other._con is leases[0]._con
    outcomes = []
    execute = dbapi.Cursor.execute

    def handler():
        other.commit()
        try:
            other.cursor().execute("select handler")
        except TooManyConnectionsError:
            outcomes.append("refused")
        else:
            outcomes.append("elsewhere")

    def interrupted(cursor, statement):
        if statement == "select interrupted":
            handler()
        return execute(cursor, statement)

    monkeypatch.setattr(dbapi.Cursor, "execute", interrupted)
    leases[0].cursor().execute("select interrupted")
    assert outcomes == ["refused" if maxshared == 1 else "elsewhere"]
    leases[0].cursor().execute("select afterwards")


@pytest.fixture
def shared(dbapi):
    """Make a pool of connections that are shared."""
    def make(**options):
        return PooledDB(dbapi, maxshared=2, maxconnections=2, **options)
    return make


def test_each_who_shares_a_connection_is_one_of_its_holders(shared):
    pool = shared(track=True)
    leases = [pool.connection() for _ in range(3)]
    assert pool.stats().in_use == 2
    holders = pool.holders()
    assert len(holders) == 3
    assert {holder.file for holder in holders} == {__file__}
    leases.pop().close()
    assert len(pool.holders()) == 2


def test_a_thread_that_shares_a_connection_can_be_refused_another_one(shared):
    pool = shared(nested="refuse")
    for _ in range(2):
        with pool.connection(), pytest.raises(NestedBorrowingError):
            pool.connection()
    assert pool.stats().in_use == 0


def test_moving_to_another_connection_is_no_nested_request(shared):
    pool = shared(nested="refuse")
    mine = pool.connection()
    others = []
    for _ in range(2):
        thread = Thread(target=lambda: others.append(pool.connection()))
        thread.start()
        thread.join(PATIENCE)
    before = mine._con
    sharer, = (lease for lease in others if lease._con is before)
    sharer.begin()
    mine.cursor().execute("select 1")
    assert mine._con is not before
    with pytest.raises(NestedBorrowingError):  # it holds the other one now
        pool.connection()


def test_a_limited_wait_for_what_is_prepared_for_sharing_ends(dbapi):
    begins, goes_on = Event(), Event()

    def connect():
        begins.set()
        assert goes_on.wait(PATIENCE)
        return dbapi.connect()

    connect.dbapi = dbapi
    pool = PooledDB(connect, maxshared=1, maxconnections=1, blocking=True)
    thread = Thread(target=lambda: pool.connection().close())
    thread.start()
    try:
        assert begins.wait(PATIENCE)
        with pytest.raises(TooManyConnectionsError):
            pool.connection(maxwait=0.01)
    finally:
        goes_on.set()
        thread.join(PATIENCE)
    pool.connection().close()
    assert pool.stats().opened == 1


def test_a_thread_does_not_wait_for_what_it_prepares_itself(
        dbapi, monkeypatch):
    monkeypatch.setattr(serving, "_SOON", 0.05)
    refused = []

    def connect():  # a signal handler could do the same
        with pytest.raises(TooManyConnectionsError) as caught:
            pool.connection()
        refused.append(caught.value)
        return dbapi.connect()

    connect.dbapi = dbapi
    pool = PooledDB(connect, maxshared=1, maxconnections=1)
    thread = Thread(target=lambda: pool.connection().close(), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert len(refused) == 1
    assert pool.stats().opened == 1


def test_a_connection_that_was_shared_dies_without_the_collector(dbapi):
    pool = PooledDB(dbapi, maxshared=1, maxconnections=1)
    for _ in range(2):  # also if it was shared more than once
        lease = pool.connection()
        con, record = ref(lease._con), lease._shared_con
        lease.close()
    assert pool.connection()._shared_con is record
    gc.collect()
    gc.disable()
    try:
        lease = pool.connection()
        pool.close()
        del lease, record
        pool.stats()
        assert con() is None
    finally:
        gc.enable()


def test_what_is_shared_is_in_no_certain_deadlock(shared, caplog):
    pool = shared(ondeadlock="raise", maxwait=0.1)
    queue = pool._core.queue
    queue.first_look = queue.next_look = queue.other_look = 0.005
    with pool.connection() as one, pool.connection() as two:
        one.begin()
        two.begin()
        with pytest.raises(TooManyConnectionsError) as caught:
            pool.connection()
    assert type(caught.value) is TooManyConnectionsError
    assert [record.event for record in caplog.records] == ["refused"]
