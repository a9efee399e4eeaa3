"""Pools whose idle capacity follows the load."""

import gc
import weakref
from threading import Event, Thread

import pytest
from patience import PATIENCE, wait_until

from dbutils import DynamicPooledDB, DynamicSize, Scaling
from dbutils._base.housekeeper import housekeeper
from dbutils._core.waiting import Waiter
from dbutils.pooled_db import PooledDB, TooManyConnectionsError

pytestmark = pytest.mark.portable

SOON = 0.02  # seconds
FAST = Scaling(interval=SOON, patience=3)


@pytest.fixture
def make(dbapi):
    """Make a pool that follows the load on demand only."""
    def make(*args, **options):
        options.setdefault("scaling", None)
        return DynamicPooledDB(dbapi, *args, **options)
    return make


def checkout(pool, number):
    """Have so many connections in use at once, then none."""
    leases = [pool.connection(shareable=False) for _ in range(number)]
    while leases:
        leases.pop().close()


def look(pool, times=1):
    """Do what is done in the background."""
    for _ in range(times):
        pool._dynamic_size._work(pool._core)


# What is done on demand.

def test_the_capacity_is_expanded_and_shrunk_further(make):
    pool = make(maxcached=20, maxconnections=100)
    assert pool.dynamic_expand() == 30
    assert pool._maxcached == 30
    assert pool.dynamic_shrink() == 15
    assert pool._maxcached == 15


def test_the_capacity_stays_within_the_limits(make):
    pool = make(3, maxcached=8, maxconnections=10)
    assert [pool.dynamic_expand() for _ in range(3)] == [10, 10, 10]
    assert [pool.dynamic_shrink() for _ in range(3)] == [5, 3, 3]
    small = make(maxcached=1)
    assert small.dynamic_shrink() == 1
    assert small.dynamic_expand() == 2


def test_an_unlimited_capacity_can_only_be_shrunk(make):
    pool = make()
    checkout(pool, 8)
    assert pool.dynamic_expand() is None
    assert pool._maxcached == 0
    assert pool.dynamic_shrink() == 4
    assert len(pool._idle_cache) == 4


def test_an_expanded_pool_keeps_more_connections(make, server):
    pool = make(maxcached=4)
    checkout(pool, 6)
    assert len(pool._idle_cache) == 4
    pool.dynamic_expand()
    checkout(pool, 6)
    assert len(pool._idle_cache) == 6
    assert server.calls["connect"] == 8


@pytest.mark.parametrize("maxshared", [0, 2])
def test_a_shrunk_pool_closes_what_is_idle_and_what_comes_back(
        make, server, maxshared):
    pool = make(maxcached=6, maxshared=maxshared)
    leases = [pool.connection(shareable=False) for _ in range(6)]
    for _ in range(4):
        leases.pop().close()
    assert pool.dynamic_shrink() == 3
    assert len(pool._idle_cache) == 3
    assert server.calls["close"] == 1
    while leases:
        leases.pop().close()
    assert len(pool._idle_cache) == 3
    assert server.calls["close"] == 3


def test_what_is_not_needed_is_closed_on_demand(make):
    pool = make(2, maxcached=6)
    checkout(pool, 6)
    assert pool.auto_cleanup() == 4
    assert len(pool._idle_cache) == 2
    assert pool.auto_cleanup() == 0


def test_what_was_needed_lately_is_kept(dbapi):
    pool = DynamicPooledDB(
        dbapi, 1, maxcached=10, scaling=Scaling(interval=1000))
    leases = [pool.connection(shareable=False) for _ in range(4)]
    look(pool)
    while leases:
        leases.pop().close()
    pool.dynamic_adjust_config(mincached=8)
    pool.dynamic_adjust_config(mincached=1)
    assert len(pool._idle_cache) == 8
    assert pool.auto_cleanup() == 4


def test_fewer_than_maxcached_remain(dbapi):
    pool = DynamicPooledDB(dbapi, maxcached=4, scaling=Scaling(interval=1000))
    leases = [pool.connection(shareable=False) for _ in range(4)]
    look(pool)
    pool.dynamic_adjust_config(maxcached=4)
    while leases:
        leases.pop().close()
    assert len(pool._idle_cache) == 4
    pool.auto_cleanup()
    assert len(pool._idle_cache) < 4


# The options that can be changed.

def test_who_waits_is_served_when_the_limit_is_raised(make):
    pool = make(maxconnections=1, blocking=True)
    lease = pool.connection(shareable=False)
    got = Event()

    def borrow():
        with pool.connection(shareable=False):
            got.set()

    thread = Thread(target=borrow)
    thread.start()
    wait_until(lambda: pool.stats().waiting == 1)
    assert not got.is_set()
    pool.dynamic_adjust_config(maxconnections=2)
    assert got.wait(PATIENCE)
    thread.join()
    lease.close()


@pytest.mark.parametrize("maxcached", [0, 5])
def test_what_is_too_much_is_closed_when_the_limit_is_lowered(
        make, server, maxcached):
    pool = make(maxcached=maxcached, maxconnections=5)
    leases = [pool.connection(shareable=False) for _ in range(5)]
    leases.pop().close()
    pool.dynamic_adjust_config(maxconnections=2)
    assert server.calls["close"] == 1  # what was idle
    assert pool._connections == 4
    for closed in (2, 3):
        leases.pop().close()
        assert server.calls["close"] == closed
    with pytest.raises(TooManyConnectionsError):
        pool.connection(shareable=False)
    while leases:
        leases.pop().close()
    assert len(pool._idle_cache) == 2
    assert pool._maxcached == min(maxcached, 2)
    checkout(pool, 2)
    assert server.calls["connect"] == 5


def test_the_short_ways_are_open_again_after_a_change(make):
    pool = make(2, maxconnections=5)
    core = pool._core
    for options in ({"maxconnections": 1}, {"maxconnections": 7},
                    {"maxcached": 3}):
        pool.dynamic_adjust_config(**options)
        checkout(pool, 1)
        assert (core.take.__self__ is core or core.take.__self__ is core.idle)
        assert core.room == core.limits.maxcached


def test_the_short_ways_are_open_again_when_nothing_is_too_much(make):
    pool = make(maxconnections=3)
    leases = [pool.connection(shareable=False) for _ in range(3)]
    pool.dynamic_adjust_config(maxconnections=1)
    while leases:
        assert (pool._core.room != 0) is (len(leases) == 1)
        leases.pop().close()


def test_no_more_is_closed_than_is_too_much_for_a_lower_limit(make, server):
    pool = make(maxconnections=20)
    checkout(pool, 10)
    pool.dynamic_adjust_config(maxconnections=6)
    assert len(pool._idle_cache) == 6
    assert server.calls["close"] == 4
    pool.dynamic_adjust_config(maxconnections=5, maxcached=2)
    assert len(pool._idle_cache) == 2
    assert server.calls["close"] == 8


def test_shared_connections_follow_the_limit(make):
    pool = make(maxshared=5, maxconnections=5)
    leases = [pool.connection() for _ in range(5)]
    pool.dynamic_adjust_config(maxconnections=2)
    assert pool._maxshared == 2
    while leases:
        leases.pop().close()
    leases = [pool.connection() for _ in range(5)]
    assert len(pool._shared_cache) == 2


def test_the_usage_can_be_limited_later(make, server):
    pool = make(2)
    lease = pool.connection(shareable=False)
    pool.dynamic_adjust_config(maxusage=2)
    assert pool._maxusage == 2
    for _ in range(2):
        cursor = lease.cursor()
        for _ in range(2):
            cursor.execute("select 1")
    assert server.calls["connect"] > 2
    lease.close()
    pool.dynamic_adjust_config(maxusage=0)
    opened = server.calls["connect"]
    with pool.connection(shareable=False) as lease:
        for _ in range(10):
            lease.cursor().execute("select 1")
    assert server.calls["connect"] == opened


def test_a_connection_that_was_just_being_opened_gets_the_new_limit(
        make, server):
    pool = make()

    def on_call(name, con):
        if name == "connect":
            server.on_call = None
            pool.dynamic_adjust_config(maxusage=3)

    server.on_call = on_call
    with pool.connection(shareable=False) as lease:
        assert lease._maxusage == 3


def test_the_patience_can_be_changed(make):
    pool = make(maxconnections=1)
    pool.dynamic_adjust_config(maxwait=SOON, maxwaiting=4)
    lease = pool.connection(shareable=False)
    with pytest.raises(TooManyConnectionsError, match="None has become free"):
        pool.connection(shareable=False)
    pool.dynamic_adjust_config(maxwaiting=0)
    with pytest.raises(TooManyConnectionsError, match="raise maxwaiting"):
        pool.connection(shareable=False)
    lease.close()


def test_connections_are_opened_when_more_have_to_be_idle(make):
    pool = make(1, maxcached=2, maxconnections=4)
    pool.dynamic_adjust_config(mincached=3)
    assert (pool._mincached, pool._maxcached) == (3, 3)
    assert len(pool._idle_cache) == 3


def test_nothing_is_changed_if_they_cannot_be_opened(
        make, server, dbapi):
    pool = make(1, maxcached=2)
    server.fail("connect", after=1, times=9)
    with pytest.raises(dbapi.OperationalError, match="planned"):
        pool.dynamic_adjust_config(mincached=5, maxusage=7, maxwait=1)
    assert (pool._mincached, pool._maxcached) == (1, 2)
    assert pool._maxusage is None
    assert pool._core.timeout == 0
    assert len(pool._idle_cache) == 2
    assert pool._connections == 0


@pytest.mark.parametrize(("options", "error", "match"), [
    ({"maxcached": -1}, ValueError, "'maxcached' must not be negative"),
    ({"maxconnections": 2.5}, TypeError, "'maxconnections' must be"),
    ({"maxwait": "long"}, TypeError, "'maxwait' must be a number"),
    ({"maxcached": 11}, ValueError, "'maxcached' would be 11"),
    ({"mincached": 5, "maxcached": 4}, ValueError, "'mincached' would be 5"),
    ({"mincached": 20}, ValueError, "'mincached' would be 20"),
    ({"ping": 2, "maxcached": 3}, TypeError, "'mincached', 'maxcached'"),
    ({"maxcached": 3, "maxusage": -1}, ValueError, "'maxusage'")])
def test_bad_options_change_nothing(make, options, error, match):
    pool = make(2, maxcached=6, maxconnections=10, maxusage=5)
    before = pool._core.limits, pool._maxusage, pool._core.timeout
    with pytest.raises(error, match=match):
        pool.dynamic_adjust_config(**options)
    assert (pool._core.limits, pool._maxusage, pool._core.timeout) == before


# What is done in the background.

def sizes_under(pool, load, intervals):
    """Return the capacities after intervals with so many in use."""
    sizes = []
    for _ in range(intervals):
        leases = [pool.connection(shareable=False) for _ in range(load)]
        look(pool)
        while leases:
            leases.pop().close()
        sizes.append(pool._maxcached)
    return sizes


def test_the_capacity_follows_the_load_without_flapping(make, server):
    pool = make(2, maxcached=4, maxconnections=60, scaling=Scaling(1000))
    assert set(sizes_under(pool, 2, 6)) == {4}
    assert sizes_under(pool, 40, 1)[-1] >= 40 / 0.75
    opened = server.calls["connect"]
    assert len(set(sizes_under(pool, 40, 15))) == 1
    assert server.calls["connect"] <= opened + 20  # those opened ahead
    sizes = sizes_under(pool, 2, 60)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] >= 40  # not at once
    assert all(sizes.count(size) >= 5 for size in sizes[5:])
    assert 2 <= sizes[-1] <= 8
    assert len(set(sizes[-20:])) == 1
    assert len(pool._idle_cache) <= sizes[-1]


def test_a_load_between_two_looks_counts(make):
    pool = make(maxcached=4, scaling=Scaling(1000))
    checkout(pool, 30)
    look(pool)
    assert pool._maxcached >= 40


def test_connections_are_opened_before_somebody_waits_for_them(
        make, server):
    pool = make(maxcached=20, maxconnections=20, scaling=Scaling(1000))
    leases = [pool.connection(shareable=False) for _ in range(9)]
    look(pool, 2)
    assert len(pool._idle_cache) == 3
    assert server.calls["connect"] == 12
    while leases:
        leases.pop().close()


def test_who_waits_gets_what_is_opened_ahead(make):
    pool = make(maxconnections=1)
    waiter = Waiter()
    pool._core.queue_up(weakref.ref(waiter))
    assert pool._core.open_ahead(pool._open)
    assert waiter.permit.slot.con is not None


def test_a_pool_that_was_shut_down_opens_nothing(make, server):
    pool = make(1)
    pool.shutdown()
    assert not pool._core.open_ahead(pool._open)
    pool.dynamic_adjust_config(mincached=3)
    assert server.calls["connect"] == 1


def test_changes_at_the_same_time_do_not_undo_each_other(make):
    pool = make(maxcached=5, maxconnections=10)
    other = Thread(target=pool.dynamic_adjust_config, kwargs={
        "maxconnections": 20})

    def adjust(limits):
        other.start()
        other.join(0.05)  # it has to wait
        return limits._replace(maxcached=3)

    pool._core.resize(adjust)
    other.join(PATIENCE)
    assert (pool._maxcached, pool._maxconnections) == (3, 20)


def test_what_is_opened_ahead_is_no_load(make):
    pool = make(maxcached=20, maxconnections=20, scaling=Scaling(1000))
    with pool.connection(shareable=False):
        look(pool, 20)
        assert len(pool._idle_cache) == 1


def work_with(pool, number, rounds):
    """Let so many threads work."""
    def work():
        for _ in range(rounds):
            lease = pool.connection(shareable=False)
            pause.wait(0.002)
            lease.close()
            pause.wait(0.002)

    pause = Event()
    threads = [Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.slow
def test_fewer_connections_are_opened_than_in_a_fixed_pool(dbapi, server):
    pause = Event()
    server.on_call = lambda name, con: (  # a connection takes a while
        pause.wait(0.02) if name == "connect" else None)
    connects, sizes = [], []
    for scaling in (None, FAST):
        pool = DynamicPooledDB(
            dbapi, maxcached=2, maxconnections=60, scaling=scaling,
            connecting=0)  # a few at a time are fewer in both
        before = server.calls["connect"]
        work_with(pool, 2, 20)
        work_with(pool, 40, 40)
        connects.append(server.calls["connect"] - before)
        sizes.append(pool._maxcached)
    assert sizes[0] == 2
    assert sizes[1] >= 20
    assert connects[1] < connects[0] / 2
    wait_until(lambda: pool._maxcached <= 8)  # it has become quiet
    work_with(pool, 2, 20)
    pool.shutdown()


def test_a_pool_that_was_dropped_is_collected(dbapi):
    pool = DynamicPooledDB(dbapi, 1, scaling=FAST)
    reference = weakref.ref(pool)
    wait_until(lambda: housekeeper.is_running)
    del pool
    assert reference() is None
    gc.collect()
    wait_until(lambda: not housekeeper.is_running)


def test_no_thread_is_needed_on_demand(make):
    wait_until(lambda: not housekeeper.is_running)
    make(1)
    assert not housekeeper.is_running


def test_the_same_can_be_had_as_a_feature(dbapi):
    size = DynamicSize(scaling=None)
    pool = PooledDB(dbapi, maxcached=4, features=[size])
    assert size.expand() == 6
    assert size.shrink() == 3
    size.adjust(maxcached=9)
    assert pool._maxcached == 9
    checkout(pool, 9)
    assert size.cleanup() == 9
    with pytest.raises(ValueError, match="does not belong to a pool"):
        DynamicSize().expand()


@pytest.mark.parametrize(("values", "error", "match"), [
    ({"interval": 0}, ValueError, "'interval' must be greater"),
    ({"interval": -1}, ValueError, "'interval'"),
    ({"interval": "1"}, TypeError, "'interval'"),
    ({"expand_at": 1.5}, ValueError, "'expand_at'"),
    ({"step": 0}, ValueError, "'step'"),
    ({"step": None}, TypeError, "'step'"),
    ({"shrink_at": 0.5}, ValueError, "at most half"),
    ({"patience": 0}, ValueError, "'patience'")])
def test_a_bad_scaling_is_refused(values, error, match):
    with pytest.raises(error, match=match):
        Scaling(**values)


def test_what_is_no_scaling_is_refused(dbapi, server):
    with pytest.raises(TypeError, match="'scaling' must be a Scaling"):
        DynamicPooledDB(dbapi, 1, scaling=5)
    assert not server.calls["connect"]
