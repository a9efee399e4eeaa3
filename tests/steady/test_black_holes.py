"""Servers that vanish without a word."""

from threading import Thread

import drivers
import pytest
from drivers import ready

from dbutils._steady import deadlines
from dbutils.pooled_db import PooledDB
from dbutils.testing import Proxy

pytestmark = pytest.mark.portable

PATIENCE = 60  # seconds after which a test has failed
LIMIT = 0.3
NEVER = 10000  # seconds, after the end of any test

WITH_SOCKETS = [
    driver for driver in drivers.POSTGRESQL + drivers.MARIADB
    if driver.name != "mysql.connector"]


@pytest.fixture(params=WITH_SOCKETS, ids=repr)
def driver(request, servers_running):
    return ready(request.param, servers_running)


@pytest.fixture
def proxy(driver):
    with Proxy(driver.port) as proxy:
        yield proxy


@pytest.fixture
def make(driver, proxy, monkeypatch):
    monkeypatch.setattr(deadlines, "LIMIT", LIMIT)
    monkeypatch.setattr(driver, "port", proxy.port)
    pools = []

    def make(**options):
        pools.append(PooledDB(
            driver.load(), **driver.parameters(), **options))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def ask(db):
    with db.cursor() as cursor:
        cursor.execute("select 1")
        return cursor.fetchone()[0]


@pytest.mark.parametrize("options", [{}, {"maxwait": NEVER}])
def test_a_ping_without_an_answer_ends(make, proxy, options):
    pool = make(mincached=1, ping="select 1", **options)
    proxy.swallow(new=False)
    with pool.connection() as db:
        assert ask(db) == 1


def test_a_rollback_without_an_answer_ends(make, proxy):
    pool = make(maxconnections=2)
    with pool.connection() as lost:
        lost.begin()
        ask(lost)
        proxy.swallow(new=False)
    with pool.connection() as db:
        assert ask(db) == 1


def test_a_rollback_without_an_answer_stops_nobody(make, proxy, monkeypatch):
    monkeypatch.setattr(deadlines, "LIMIT", NEVER)
    pool = make(maxconnections=2)
    lost, other = pool.connection(), pool.connection()
    lost.begin()
    ask(lost)
    ask(other)
    other.commit()
    proxy.swallow(new=False)
    thread = Thread(target=lost.close)
    thread.start()
    with pytest.raises(Exception, match="maxwait"):
        pool.connection(maxwait=0)  # refused at once, and not stopped
    assert thread.is_alive()
    proxy.cut()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    with pool.connection() as db:
        assert ask(db) == 1


def test_a_question_in_the_background_ends(make, proxy):
    pool = make(mincached=1, keepalive=1000)
    maintenance = pool._core.maintenance
    for permit in pool._core.idle:
        permit.slot.used_at -= 2000
    proxy.swallow(new=False)
    maintenance._tick()
    assert len(pool._idle_cache) == 0


class Calls(dict):
    """The calls that are being watched, and how many there were."""

    number = 0

    def __setitem__(self, key, value):
        self.number += 1
        super().__setitem__(key, value)


def test_a_call_that_ends_in_time_is_left_alone(make, monkeypatch):
    monkeypatch.setattr(deadlines, "LIMIT", NEVER)
    calls = Calls()
    monkeypatch.setattr(deadlines.watchdog, "calls", calls)
    pool = make(mincached=1, ping="select 1")
    for number in 1, 2:
        with pool.connection() as db:
            assert ask(db) == 1
        assert calls.number >= number
        assert not calls
