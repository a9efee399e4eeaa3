"""The clock for tests: does what is timed go by it?"""

import time

import pytest
from patience import wait_until

from dbutils.pooled_db import PooledDB
from dbutils.testing import Clock, ScriptedDriver


@pytest.fixture
def clock():
    with Clock() as clock:
        yield clock


@pytest.fixture
def driver():
    return ScriptedDriver()


def connects(driver):
    return sum(event == "connected" for event, _ in driver.seen)


def test_it_is_ahead_of_the_real_time(clock):
    assert abs(clock.monotonic() - time.monotonic()) < 3600
    clock.advance(7200)
    assert clock.monotonic() - time.monotonic() > 3600
    assert clock.time() - time.time() > 3600


def test_it_cannot_go_back(clock):
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1)


@pytest.mark.parametrize("option", ["maxlifetime", "maxidletime"])
def test_connections_live_by_it(clock, driver, option):
    pool = PooledDB(driver, mincached=0, maxcached=1, **{option: 3600})
    for _ in range(3):
        pool.connection().close()
    assert connects(driver) == 1
    clock.advance(3601)
    pool.connection().close()
    assert connects(driver) == 2
    pool.close()


def test_the_housekeeper_works_by_it(clock, driver):
    pool = PooledDB(driver, maxcached=5, maxidletime=3600)
    pool.connection().close()
    assert pool.stats().idle == 1
    clock.advance(7200)
    wait_until(lambda: pool.stats().idle == 0)
    pool.close()


def test_a_server_that_refused_is_asked_again_by_it(clock, driver):
    pool = PooledDB(driver)
    driver.stop()
    for _ in range(30):
        with pytest.raises(driver.OperationalError):
            pool.connection()
        clock.advance(60)
    driver.start()
    pool.connection().close()
    pool.close()


def test_leases_are_as_old_as_it_says(clock, driver):
    pool = PooledDB(driver, maxconnections=1, track=True)
    db = pool.connection()
    clock.advance(5000)
    with pytest.raises(Exception, match=r"for 5e\+03 seconds"):
        pool.connection()
    db.close()
    pool.close()


def test_afterwards_the_real_time_is_used():
    from dbutils._core import slots
    with Clock():
        assert slots.monotonic is not time.monotonic
    assert slots.monotonic is time.monotonic
