"""The pools of psycopg2, for every driver."""

import gc
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from functools import partial
from threading import Barrier, Event, Thread

import pytest
from drivers import BY_NAME, ask
from folders import EXAMPLES
from patience import PATIENCE, wait_until

from dbutils import keyed_pool
from dbutils.keyed_pool import (
    AbstractConnectionPool,
    PoolError,
    SimpleConnectionPool,
    ThreadedConnectionPool,
)
from dbutils.pooled_db import InvalidConnectionError

pytestmark = pytest.mark.portable


@pytest.fixture(params=[SimpleConnectionPool, ThreadedConnectionPool])
def make(request, dbapi):
    """Make a pool of either kind."""
    return partial(request.param, creator=dbapi)


def test_so_many_connections_are_opened_and_lent(make, server):
    pool = make(2, 3)
    assert (pool.minconn, pool.maxconn, pool.closed) == (2, 3, False)
    assert server.calls["connect"] == 2
    conns = [pool.getconn() for _ in range(3)]
    assert server.calls["connect"] == 3
    with pytest.raises(PoolError, match="All connections of the pool are in"):
        pool.getconn()
    pool.putconn(conns.pop())
    assert pool.getconn()


def test_an_error_is_also_one_of_the_driver(make, dbapi):
    pool = make(1, 1)
    conn = pool.getconn()
    with pytest.raises(dbapi.Error):
        pool.getconn()
    pool.putconn(conn)
    assert not issubclass(PoolError, dbapi.Error)


def test_only_so_many_connections_stay_idle(make, server):
    for minconn in (0, 2):
        before = server.calls["close"]
        pool = make(minconn, 4)
        conns = [pool.getconn() for _ in range(4)]
        while conns:
            pool.putconn(conns.pop())
        assert pool.stats()["idle"] == minconn
        assert server.calls["close"] == before + 4 - minconn


def test_the_same_key_gets_the_same_connection(make):
    pool = make(1, 3)
    one = pool.getconn("one")
    assert pool.getconn("one") is one
    assert pool.getconn("other") is not one
    another = pool.getconn()
    assert another is not one
    assert pool.stats()["in_use"] == 3
    pool.putconn(key="one")
    assert pool.stats()["in_use"] == 2
    assert pool.getconn("one") is not one


def test_a_key_is_kept_also_if_nobody_holds_its_connection(make, server):
    pool = make(0, 2)
    serial = pool.getconn("one").dbapi_connection.serial
    gc.collect()
    assert pool.getconn("one").dbapi_connection.serial == serial
    assert pool.stats()["in_use"] == 1


def test_a_connection_can_be_put_back_with_its_key(make):
    pool = make(1, 1)
    conn = pool.getconn("one")
    pool.putconn(conn, "one")
    pool.putconn(pool.getconn("two"))
    assert pool.stats()["in_use"] == 0
    with pytest.raises(PoolError, match="No connection with the key 'two'"):
        pool.putconn(key="two")


def test_what_is_not_of_the_pool_is_not_put_back(make, dbapi):
    pool, other = make(1, 2), make(1, 2)
    conn = pool.getconn()
    for stranger in (dbapi.connect(), other.getconn(), "conn"):
        with pytest.raises(PoolError, match="not in use, or not of this"):
            pool.putconn(stranger)
    pool.putconn(conn)
    with pytest.raises(PoolError, match="not in use"):
        pool.putconn(conn)
    assert pool.stats()["idle"] == 1


def test_a_connection_can_be_closed_when_it_is_put_back(make, server):
    pool = make(1, 2)
    pool.putconn(pool.getconn(), close=True)
    assert server.calls["close"] == 1
    assert pool.stats()["in_use"] == pool.stats()["idle"] == 0
    pool.getconn("one")
    pool.putconn(key="one", close=True)
    assert server.calls["close"] == 2


def test_a_transaction_is_rolled_back(make, server):
    pool = make(1, 1)
    conn = pool.getconn()
    conn.begin()
    pool.putconn(conn)
    assert server.connections[0].session[-1] == "rollback"


def test_a_broken_connection_is_discarded(make, server):
    pool = make(1, 1)
    conn = pool.getconn()
    conn.dbapi_connection.valid = False
    conn.valid = False
    pool.putconn(conn)
    conn = pool.getconn()
    assert conn.dbapi_connection.serial == 2
    conn.cursor().execute("select 1")


def test_a_block_with_the_connection_is_a_transaction(make, server):
    pool = make(1, 1)
    conn = pool.getconn()
    with conn:
        conn.cursor().execute("select 1")
    assert server.calls["commit"] == 1
    with pytest.raises(ZeroDivisionError), conn:
        raise ZeroDivisionError
    assert server.calls["rollback"] >= 1
    assert pool.stats()["in_use"] == 1
    assert not conn.closed
    pool.putconn(conn)
    assert conn.closed


def test_a_block_of_the_pool_puts_the_connection_back(make, server):
    pool = make(1, 1)
    with pool.connection() as conn:
        conn.cursor().execute("select 1")
        assert pool.stats()["in_use"] == 1
    assert pool.stats()["in_use"] == 0
    assert server.calls["commit"] == 0
    with pool.connection("key") as conn:
        pool.putconn(conn)
    with pool.connection() as conn:
        pool.closeall()


def test_a_connection_that_was_closed_or_dropped_comes_back(make):
    pool = make(1, 1)
    conn = pool.getconn()
    conn.close()
    assert pool.stats()["in_use"] == 0
    pool.putconn(conn)  # as one has to do with the original
    conn = pool.getconn()
    del conn
    assert pool.stats()["in_use"] == 0
    conn = pool.getconn("key")
    conn.close()
    assert pool.getconn("key") is not conn


def test_a_closed_pool_does_nothing(make, server):
    pool = make(2, 3)
    conn = pool.getconn()
    pool.closeall()
    assert pool.closed
    assert server.calls["close"] == 2
    assert conn.closed
    for call in (pool.getconn, pool.closeall, pool.health_check,
                 partial(pool.putconn, conn)):
        with pytest.raises(PoolError, match="closed"):
            call()
    assert pool.stats()["closed"]
    assert "closed" in repr(pool)


@pytest.mark.parametrize(("sizes", "error"), [
    ((0, 0), PoolError), ((-1, 2), ValueError),
    (("many", 2), ValueError)])
def test_bad_sizes_are_refused(make, server, sizes, error):
    with pytest.raises(error):
        make(*sizes)
    assert not server.calls["connect"]


def test_a_request_can_wait(make):
    pool = make(1, 1, maxwait=PATIENCE)
    conn = pool.getconn()
    got = Event()

    def work():
        with pool.connection():
            got.set()

    thread = Thread(target=work)
    thread.start()
    wait_until(lambda: pool.stats()["waiting"] == 1)
    pool.putconn(conn)
    assert got.wait(PATIENCE)
    thread.join(PATIENCE)
    with pool.connection(), pytest.raises(PoolError):
        pool.getconn(maxwait=0)


def test_what_another_thread_has_put_back_meanwhile_is_not_lent(make, server):
    pool = make(0, 3)
    others = []

    def on_call(name, con):
        if name == "connect" and not others:
            others.append(None)
            others.append(pool.getconn("key"))
        if name == "close" and len(others) > 1:
            pool.putconn(others.pop())

    server.on_call = on_call
    conn = pool.getconn("key")
    assert not conn.closed
    assert pool.getconn("key") is conn
    assert pool.stats()["in_use"] == 1


@pytest.mark.usefixtures("_restless")
def test_threads_with_the_same_key_get_the_same_connection(dbapi):
    pool = ThreadedConnectionPool(0, 16, creator=dbapi)
    for _ in range(50):
        barrier, conns = Barrier(8), []

        def work(barrier=barrier, conns=conns):
            barrier.wait(PATIENCE)
            conns.append(pool.getconn("key"))

        threads = [Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert len(set(map(id, conns))) == 1
        conns[0].close()  # so that the key has one that is over
    assert pool.stats()["in_use"] == 0


def test_many_threads_share_a_few_connections(dbapi):
    pool = ThreadedConnectionPool(2, 4, creator=dbapi, maxwait=PATIENCE)
    done = Counter()

    def work(number):
        for _ in range(50):
            conn = pool.getconn(number if number % 2 else None)
            conn.cursor().execute("select 1")
            pool.putconn(conn)
            done[number] += 1

    threads = [Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert set(done.values()) == {50}
    assert pool.stats()["in_use"] == 0
    assert pool.stats()["idle"] <= 2


def test_the_health_can_be_checked(make, server):
    pool = make(2, 2)
    con = pool._pool._idle_cache[0]
    con._con.valid = con.valid = False
    report = pool.health_check()
    assert report["replaced"] == 1
    assert report["status"] == "healthy"
    assert server.calls["connect"] == 3


def test_the_options_of_pools_and_of_the_driver_go_on(dbapi, server):
    pool = ThreadedConnectionPool(
        1, 2, "database", creator=dbapi, maxusage=1, setsession=["set x"],
        user="me")
    assert pool._pool._maxusage == 1
    assert server.connections[0].session[:1] == ["x"]
    assert pool._pool._args == ("database",)
    assert pool._pool._kwargs == {"user": "me"}


def test_others_can_make_their_own(dbapi):
    class ByName(AbstractConnectionPool):
        """A pool with another interface."""

        def lend(self, name):
            return self._getconn(name)

        def take(self, name):
            self._putconn(key=name)

    pool = ByName(1, 2, creator=dbapi)
    conn = pool.lend("a")
    assert pool.lend("a") is conn
    pool.take("a")
    pool._closeall()
    assert pool.closed


def test_the_creator_is_usually_psycopg2(monkeypatch, dbapi):
    monkeypatch.setitem(sys.modules, "psycopg2", dbapi)
    pool = SimpleConnectionPool(1, 1)
    con = pool.getconn()
    assert isinstance(con.dbapi_connection, dbapi.Connection)
    pool.putconn(con)


def test_it_works_with_sqlite(tmp_path):
    pool = keyed_pool.ThreadedConnectionPool(
        1, 2, str(tmp_path / "keyed.db"), creator=sqlite3,
        check_same_thread=False)
    with pool.connection() as conn, conn:
        conn.execute("create table test (id integer)")
        conn.execute("insert into test values (1)")
    conn = pool.getconn()
    conn.execute("insert into test values (2)")
    pool.putconn(conn)
    with pool.connection() as conn:
        assert conn.execute("select id from test").fetchall() == [(1,)]
        assert conn.row_factory is None
        assert not hasattr(conn, "no_such_thing")
    with pytest.raises(InvalidConnectionError):
        conn.execute("select 1")
    with pytest.raises(sqlite3.Error):
        pool.putconn(key=5)
    pool.closeall()


@pytest.mark.slow
def test_a_session_that_was_killed_is_replaced(driver):
    pool = ThreadedConnectionPool(
        1, 2, creator=driver.load(), **driver.parameters())
    conn = pool.getconn("key")
    session = ask(conn, driver.who_am_i)
    conn.rollback()
    driver.kill(session)
    assert ask(conn, driver.who_am_i) != session
    pool.putconn(key="key")
    pool.closeall()


@pytest.mark.slow
@pytest.mark.parametrize("module", ["keyed", "original"])
def test_the_examples_run_with_psycopg2_and_with_us(servers_running, module):
    """What was written for psycopg2.pool runs when the import is changed."""
    driver = BY_NAME["psycopg2"]
    driver.load()
    source = (EXAMPLES / "psycopg2_pool.py").read_text(encoding="utf-8")
    ours = "from dbutils import keyed_pool as pool"
    assert ours in source
    if module == "original":
        source = source.replace(ours, "from psycopg2 import pool")
    text = subprocess.run(
        [sys.executable, "-c", source], check=True, stdout=subprocess.PIPE,
        env=dict(
            os.environ, PGHOST=driver.parameters()["host"],
            PGPORT=str(servers_running(driver.family)), PGUSER="postgres",
            PGDATABASE="postgres", PYTHONPATH=os.pathsep.join(sys.path)),
    ).stdout.decode()
    assert text.splitlines() == [
        "simple: 1", "threads: 20 of 20", "wrapper: [(1, 'one'), (2, 'two')]",
        "monitoring: 2 in use, 3 at most", "retries: 3"]
