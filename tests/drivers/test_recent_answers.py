"""A connection on which the server has just answered needs no question.

The time for which that holds is so long here that it never ends.
"""

from time import monotonic

import pytest
from stand_ins import Driver, Server, Shape

from dbutils._pooled import ways
from dbutils._steady import db_session
from dbutils._steady.steady import session_of
from dbutils.pooled_db import PooledDB

MYSQL = Shape(
    "PyMySQL", "somewhere", status="busy", ping=True, fileno="fileno()",
    family="mysql", carrier="args")
SOCKET = MYSQL._replace(
    name="psycopg2", module="psycopg2.extensions",
    status="get_transaction_status()", idle=0, ping=False, closed="closed")


@pytest.fixture(autouse=True)
def always_recent(monkeypatch):
    """Make each answer a recent one, but not one that never came."""
    for module in (ways, db_session):
        monkeypatch.setattr(module, "RECENT", monotonic() - 1)


@pytest.fixture
def server():
    server = Server()
    yield server
    server.shut_down()


@pytest.fixture
def make(server):
    """Make pools with a connection that was in use before."""
    pools = []

    def make(shape, **options):
        driver = Driver(shape, server)
        driver.threadsafety = 2
        # a limit for connecting is given to drivers that are known
        driver.connect = lambda **_limits: Driver.connect(driver)
        pool = PooledDB(driver, 1, **options)
        pools.append(pool)
        use(pool)
        return pool
    yield make
    for pool in pools:
        pool.close()


def use(pool):
    with pool.connection() as con:
        con.cursor().execute("insert a row")


@pytest.mark.parametrize("shape", [MYSQL, SOCKET], ids=str)
def test_a_look_before_the_first_statement_finds_a_dead_connection(
        make, server, shape):
    pool = make(shape)
    server.sessions[-1].kill()
    with pool.connection() as con:
        con.cursor().execute("insert a row")
        con.commit()
    assert len(server.sessions) == 2
    assert sum(server.stored.values()) == 1


@pytest.mark.parametrize("shape", [MYSQL, SOCKET], ids=str)
@pytest.mark.parametrize("options", [
    {}, {"maxwait": 10}, {"blocking": True}, {"track": True}], ids=str)
def test_a_request_never_gets_a_dead_connection(
        make, server, shape, options):
    pool = make(shape, maxconnections=1, **options)
    server.sessions[-1].kill()
    with pool.connection():
        assert len(server.sessions) == 2
        assert server.sessions[-1].is_alive


def test_without_another_look_each_checkout_asks(make, server):
    """A statement is just tried in the way of DBUtils 3.x."""
    pool = make(MYSQL, failover="always")
    use(pool)
    server.sessions[-1].kill()
    with pool.connection():
        assert len(server.sessions) == 2
        assert server.sessions[-1].is_alive


# One look is enough for the first read of a lease.

@pytest.fixture
def looks(monkeypatch):
    """The looks at the socket of a connection of a pool."""
    def looks(pool):
        seen = []
        session = session_of(pool._idle_cache[0])
        real = session.poll

        def poll(seconds):
            seen.append(seconds)
            return real(seconds)

        monkeypatch.setattr(session, "poll", poll)
        return seen
    return looks


@pytest.mark.portable
@pytest.mark.parametrize("options", [{}, {"track": True}], ids=str)
def test_a_read_after_the_look_at_checkout_needs_no_other(
        make, looks, options):
    pool = make(SOCKET, **options)
    seen = looks(pool)
    with pool.connection() as con:
        cursor = con.cursor()
        assert len(seen) == 1
        cursor.execute("select x")
        assert len(seen) == 1
        con.rollback()
        cursor.execute("select x")
        assert len(seen) == 2


def lost_after_checkout(pool, server, read):
    """Read with a connection that is lost after it was handed out."""
    with pool.connection() as con:
        cursor = con.cursor()
        server.sessions[-1].kill()
        read(cursor)
    return len(server.sessions)


def read(cursor):
    cursor.execute("select x")


def read_once(cursor):
    with cursor.no_failover():
        read(cursor)


@pytest.mark.portable
@pytest.mark.parametrize("shape", [MYSQL, SOCKET], ids=str)
@pytest.mark.parametrize(("options", "act"), [
    ({}, read), ({"failover": "never"}, read), ({}, read_once)], ids=[
        "safe", "never", "no_failover"])
def test_a_read_of_a_connection_lost_since_checkout_finds_another(
        make, server, shape, options, act):
    """Where nothing is executed again, there is another look."""
    assert lost_after_checkout(make(shape, **options), server, act) == 2
