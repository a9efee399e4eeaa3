"""Connections that only garbage holds while all threads wait."""

import gc

import pytest
from patience import PATIENCE, in_threads, join, wait_until

from dbutils import PooledDB
from dbutils._core import garbage, serving
from dbutils.pooled_db import TooManyConnectionsError
from dbutils.testing import ScriptedDriver


@pytest.fixture(autouse=True)
def collections(monkeypatch):
    """Count the calls of the collector, which does not come by itself."""
    thresholds, calls = gc.get_threshold(), []
    monkeypatch.setattr(garbage, "_search", garbage._Search())
    monkeypatch.setattr(serving, "_STANDSTILL", 0.1)

    def begin(search):
        calls.append(is_due(search))
        return calls[-1]

    is_due = garbage._Search.begin
    monkeypatch.setattr(garbage._Search, "begin", begin)
    gc.collect()
    gc.set_threshold(10 ** 8)
    yield calls
    gc.set_threshold(*thresholds)


def abandon(pool):
    """Leave a connection in a cycle."""
    cycle = [pool.connection()]
    cycle.append(cycle)


@pytest.mark.parametrize("options", [
    {"blocking": True}, {"maxwait": PATIENCE},
    {"blocking": True, "track": False}, {"maxwait": PATIENCE, "maxshared": 1}],
    ids=str)
def test_a_request_finds_what_only_garbage_holds(collections, options):
    pool = PooledDB(ScriptedDriver(), maxconnections=2, **options)
    for _ in range(2):
        for _ in range(2):
            abandon(pool)
        pool.connection().close()
        assert collections.pop()
        assert pool.stats().in_use == 0


def test_threads_that_all_wait_find_it():
    pool = PooledDB(ScriptedDriver(), maxconnections=2, blocking=True)

    def work():
        abandon(pool)
        abandon(pool)

    join(in_threads(work, 3))
    gc.collect()
    pool.connection().close()
    assert pool.stats().in_use == 0


def test_what_others_hold_is_not_found(collections):
    pool = PooledDB(ScriptedDriver(), maxconnections=1, maxwait=1)
    lease = pool.connection()
    with pytest.raises(TooManyConnectionsError):
        pool.connection()
    assert collections.count(True) == 1
    lease.close()


def test_only_who_is_the_next_looks(collections):
    """A queue that is served shows that connections come back."""
    pool = PooledDB(ScriptedDriver(), maxconnections=1, blocking=True)
    lease, served = pool.connection(), []
    threads = in_threads(lambda: served.append(pool.connection()), 2)
    for number in range(2):
        wait_until(lambda: collections)
        lease.close()
        wait_until(lambda number=number: len(served) > number)
        lease = served[number]
        del collections[:]
    lease.close()
    join(threads)


def test_a_program_that_has_switched_the_collector_off_calls_it_itself(
        collections):
    pool = PooledDB(ScriptedDriver(), maxconnections=1, maxwait=1)
    abandon(pool)
    gc.disable()
    try:
        with pytest.raises(TooManyConnectionsError):
            pool.connection()
    finally:
        gc.enable()
    assert True not in collections
    assert collections
    gc.collect()
    pool.connection().close()


def test_calls_in_vain_become_rare(monkeypatch):
    now, search, calls = [0.0], garbage._Search(), []
    monkeypatch.setattr(garbage, "monotonic", lambda: now[0])
    for _ in range(4000):
        if search.begin():
            calls.append(now[0])
        now[0] += 1
    assert calls[:7] == [0, 10, 30, 70, 150, 310, 630]
    assert calls[7:] == list(range(1230, 4000, 600))
    search.succeed()
    assert search.begin()
    assert not search.begin()
    now[0] += garbage._FIRST
    assert search.begin()


def test_what_garbage_holds_is_no_deadlock(caplog):
    pool = PooledDB(
        ScriptedDriver(), maxconnections=1, blocking=True, track=True,
        ondeadlock="raise")
    abandon(pool)
    pool.connection().close()
    assert caplog.records == []
