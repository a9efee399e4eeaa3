"""Lifetimes, what is done in the background, and reports of leaks."""

import gc
import logging
import subprocess
import sys

import pytest
from patience import wait_until

from dbutils import HealthCheckPooledDB
from dbutils._base import housekeeper as _housekeeper
from dbutils.pooled_db import PooledDB


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def timed(pool):
    """Give a pool a clock, and its idle connections their times by it."""
    maintenance = pool._core.maintenance
    clock = maintenance.clock = Clock()
    for permit in pool._core.idle:
        maintenance.opened(permit.slot)
    return clock, maintenance


def opened(server):
    return server.calls["connect"]


def test_a_connection_is_replaced_at_the_end_of_its_life(kind, server):
    pool = kind.make(mincached=1, maxconnections=1, maxlifetime=10_000)
    clock, _ = timed(pool)
    clock.now += 8_999
    pool.connection().close()
    assert opened(server) == 1
    clock.now += 1_001
    lease = pool.connection()
    assert opened(server) == 2
    assert not kind.is_open(server.connections[0])
    clock.now += 5_000  # it has begun a new life
    lease.close()
    assert kind.idle(pool) == 1


def test_a_connection_whose_life_ends_in_use_is_not_kept(kind, server):
    pool = kind.make(mincached=1, maxlifetime=10_000)
    clock, _ = timed(pool)
    lease = pool.connection()
    lease.begin()
    clock.now += 20_000
    assert kind.is_open(server.connections[0])  # not in a transaction
    lease.commit()
    lease.close()
    assert kind.idle(pool) == 0
    assert not kind.is_open(server.connections[0])


def test_lives_do_not_all_end_at_the_same_time(kind):
    pool = kind.make(mincached=20, maxlifetime=10_000)
    clock, _ = timed(pool)
    ends = {permit.slot.expires for permit in pool._core.idle}
    assert len(ends) > 1
    assert all(9_000 <= end - clock.now <= 10_000 for end in ends)


def test_what_was_idle_for_long_is_closed_on_borrow_and_in_the_background(
        kind, server):
    pool = kind.make(mincached=3, maxidletime=10_000)
    clock, maintenance = timed(pool)
    clock.now += 9_999
    maintenance._tick()
    assert kind.idle(pool) == 3
    pool.connection().close()  # this one was in use now
    clock.now += 2
    maintenance._tick()
    assert kind.idle(pool) == 1
    assert opened(server) == 3
    clock.now += 10_000
    pool.connection().close()
    assert opened(server) == 4


def test_idle_connections_are_asked_in_the_background(kind, server):
    asked = []
    pool = kind.make(mincached=2, keepalive=10_000, ping=asked.append)
    clock, maintenance = timed(pool)
    asked.clear()
    clock.now += 10_001
    maintenance._tick()
    assert len(asked) == 2
    assert kind.idle(pool) == 2
    maintenance._tick()  # it has just heard of them
    assert len(asked) == 2
    clock.now += 10_001
    server.is_down = True
    for permit in pool._core.idle:
        permit.slot.con.valid = False
    maintenance._tick()
    assert kind.idle(pool) == 0


def test_the_first_connections_are_not_taken_as_old(kind, server):
    pool = kind.make(mincached=3, maxidletime=1000, maxlifetime=1000)
    pool._core.maintenance._tick()
    pool.connection().close()
    assert kind.idle(pool) == 3
    assert opened(server) == 3


@pytest.mark.parametrize("verb", ["close", "drain"])
@pytest.mark.parametrize("way", ["keepalive", "health", "refill", "return"])
def test_what_somebody_has_in_hand_does_not_survive_the_end_of_all(
        dbapi, server, way, verb):
    """What comes back later from a question must not become idle again."""
    ends, module = [], dbapi

    def end(con=None):
        if ends:
            getattr(*ends.pop())()
        return True

    class Driver:
        dbapi, threadsafety = module, 1

        @staticmethod
        def connect():
            con = module.connect()
            end()
            return con

    pool = HealthCheckPooledDB(
        dbapi if way != "refill" else Driver, 0 if way == "refill" else 2,
        maxconnections=3, keepalive=10_000, ping=end, reset=end,
        health_check_interval=None)
    clock, maintenance = timed(pool)
    clock.now += 10_001
    lease = pool.connection() if way == "return" else None
    ends.append((pool, verb))
    if way == "keepalive":
        maintenance._tick()
    elif way == "health":
        pool.health_check()
    elif way == "refill":
        pool._core.open_ahead(pool._open)
    else:
        lease.close()
    assert ends == []
    assert len(pool._idle_cache) == 0
    assert pool._connections == 0
    assert not any(con.valid for con in server.connections)


def test_who_was_served_too_late_does_not_give_an_old_connection_back(
        dbapi, server):
    pool = PooledDB(dbapi, 1, maxconnections=2)
    core = pool._core
    permit = core.take_any()
    pool.drain()
    core.put_back_unused(permit)
    assert len(pool._idle_cache) == 0
    assert not server.connections[0].valid


def test_connections_are_kept_ready(kind, server):
    pool = kind.make(mincached=2, refill=True, maxconnections=3)
    _, maintenance = timed(pool)
    leases = [pool.connection() for _ in range(2)]
    maintenance._tick()
    assert kind.idle(pool) == 1  # the limit allows no more
    leases.pop().close()
    pool.close()
    maintenance._tick()
    assert kind.idle(pool) == 2
    assert leases


def test_the_background_thread_does_it_by_itself(kind):
    pool = kind.make(mincached=2, maxidletime=0.05)
    wait_until(lambda: kind.idle(pool) == 0)


def test_the_background_thread_ends_with_the_last_pool(kind):
    wait_until(lambda: gc.collect() is None or (
        not _housekeeper.housekeeper.is_running))
    pools = [kind.make(maxidletime=1000) for _ in range(2)]
    wait_until(lambda: _housekeeper.housekeeper.is_running)
    pools.clear()
    wait_until(lambda: not _housekeeper.housekeeper.is_running)


def test_a_pool_that_needs_no_upkeep_has_no_thread(kind):
    pool = kind.make(mincached=2, maxlifetime=0, maxidletime=None)
    assert pool._core.maintenance is None


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_connection_that_is_held_for_long_is_reported_once(kind, caplog):
    pool = kind.make(leakafter=0.01)
    with caplog.at_level(logging.WARNING, "dbutils"):
        lease = pool.connection()
        maintenance = pool._core.maintenance
        wait_until(lambda: caplog.messages)
        for _ in range(3):
            maintenance._tick()
    assert len(caplog.messages) == 1
    assert f"taken at {__file__}:" in caplog.messages[0]
    assert lease


def test_such_a_report_is_a_warning_too(kind):
    pool = kind.make(leakafter=1000)
    lease = pool.connection()
    taken = lease._permit.taken
    lease._permit.taken = (taken[0] - 1000, *taken[1:])  # in use since then
    with pytest.warns(ResourceWarning, match="not given back"):
        pool._core.maintenance._tick()
    assert lease


@pytest.mark.parametrize(
    "name", ["maxlifetime", "maxidletime", "keepalive", "leakafter"])
def test_bad_times_are_named(kind, server, name):
    for value, error in ((-1, ValueError), ("1", TypeError)):
        with pytest.raises(error, match=f"'{name}'"):
            kind.make(mincached=1, **{name: value})
    assert opened(server) == 0


SCRIPT = """
import sqlite3
from dbutils.pooled_db import PooledDB
pool = PooledDB(sqlite3, database=":memory:")
def leak():
    pool.connection().cursor().execute("select 1")
leak()
with pool.connection():
    pass
pool.close()
"""


def test_a_dropped_lease_is_reported_in_the_development_mode():
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", SCRIPT], capture_output=True,
        text=True, timeout=60, check=True)
    reports = [line for line in done.stderr.splitlines()
               if "ResourceWarning: A connection was dropped" in line]
    assert len(reports) == 1
    assert "taken at <string>:6" in reports[0]
    quiet = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True,
        timeout=60, check=True)
    assert quiet.stderr == ""
