"""Breaks of a pool, and drains that take their time."""

import threading

import pytest
from patience import in_threads, join, wait_until

from dbutils._base.housekeeper import Chore
from dbutils._core import draining
from dbutils.pooled_db import PooledDB

pytestmark = pytest.mark.portable


@pytest.fixture(params=[{}, {"maxshared": 2}, {"maxlifetime": 100}], ids=repr)
def options(request):
    return request.param


def test_a_paused_pool_lends_nothing(kind, options):
    pool = kind.make(2, maxconnections=4, **options)
    lease = pool.connection()
    pool.pause()
    with pytest.raises(kind.pool_class._too_many_error, match=(
            r"The pool is paused \(.*Call resume\(\), or wait longer")):
        pool.connection()
    lease.close()
    with pytest.raises(kind.pool_class._too_many_error, match="is paused"):
        pool.connection()
    pool.resume()
    pool.connection().close()
    assert pool.stats().in_use == 0


def test_requests_wait_for_the_end_of_a_break(kind, options):
    pool = kind.make(1, maxconnections=2, blocking=True, **options)
    held = pool.connection()
    pool.pause()
    order = []

    def work(number):
        lease = pool.connection()
        order.append(number)
        lease.close()

    threads = []
    for number in range(4):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        wait_until(lambda: pool.stats().waiting == len(threads))
    held.close()
    assert not order
    assert pool.stats().idle == 1
    pool.resume()
    join(threads)
    assert sorted(order) == [0, 1, 2, 3]
    assert pool.stats().waiting == 0


def test_a_request_waits_within_its_time(kind):
    pool = kind.make(maxconnections=2, maxwait=60)
    pool.pause()
    with pytest.raises(kind.pool_class._too_many_error, match="is paused"):
        pool.connection(maxwait=0.01)


def test_a_request_that_has_waited_before_the_break_goes_on_waiting(kind):
    pool = kind.make(maxconnections=1, blocking=True)
    held = pool.connection()
    got = []
    threads = in_threads(lambda: got.append(pool.connection()), 1)
    wait_until(lambda: pool.stats().waiting == 1)
    pool.pause()
    held.close()
    assert pool.stats().waiting == 1
    pool.resume()
    join(threads)
    assert len(got) == 1


def test_a_pool_can_be_paused_twice_and_closed_in_a_break(kind):
    pool = kind.make(maxconnections=1, blocking=True)
    errors = []

    def ask():
        try:
            pool.connection()
        except kind.pool_class._closed_error as error:
            errors.append(error)

    pool.pause()
    pool.pause()
    threads = in_threads(ask, 2)
    wait_until(lambda: pool.stats().waiting == 2)
    pool.shutdown()
    join(threads)
    assert len(errors) == 2


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(draining, "monotonic", clock)
    monkeypatch.setattr(Chore, "begin", lambda self, pause: None)
    return clock


def test_a_drain_can_take_its_time(kind, clock):
    pool = kind.make(4)
    lease = pool.connection()
    pool.drain(spread=8)
    drain = pool._core.slow_drain
    assert pool.stats().idle == 3
    for _ in range(4):
        clock.now = drain._start
        drain.work()
    assert drain._start == 8
    assert pool.stats().idle == 0
    lease.close()
    assert pool.stats().idle == 0
    pool.connection().close()
    drain.work()
    assert pool.stats().idle == 1
    assert pool.stats().closed_cleared == 4


def test_each_connection_is_closed_in_a_span_of_its_own(kind, clock):
    pool = kind.make(4)
    pool.drain(spread=8)
    drain = pool._core.slow_drain
    for number in range(4):
        for _ in range(20):
            assert 0 <= drain._pause() <= 2
        drain.work()
        assert pool.stats().idle == 3 - number
        clock.now += 2


def test_a_drain_in_the_background_ends(dbapi):
    pool = PooledDB(dbapi, 5)
    pool.drain(spread=0.01)
    wait_until(lambda: pool.stats().closed_cleared == 5)
    assert pool.stats().idle == 0


@pytest.mark.usefixtures("clock")
def test_a_drain_can_come_to_a_connection_that_is_being_reset(dbapi):
    def reset(con):
        pool._core.slow_drain.work()

    pool = PooledDB(dbapi, reset=reset)
    lease = pool.connection()
    pool.drain(spread=8)
    lease.close()
    stats = pool.stats()
    assert (stats.idle, stats.in_use, stats.closed_cleared) == (0, 0, 1)


@pytest.mark.parametrize("spread", [0, None])
def test_without_a_spread_all_are_closed_at_once(kind, spread):
    pool = kind.make(3)
    pool.drain(spread=spread)
    assert pool.stats().idle == 0


def test_a_wrong_spread_is_named(kind):
    with pytest.raises(TypeError, match="'spread' must be"):
        kind.make().drain(spread="long")
