"""The pools of keyed_pool do what those of psycopg2.pool do."""

import pickle
from types import SimpleNamespace

import pytest
from drivers import BY_NAME, load

from dbutils import keyed_pool

pytestmark = [pytest.mark.slow, pytest.mark.portable]


@pytest.fixture(params=["original", "keyed"])
def pools(request, servers_running):
    """Either module, and how its pools connect."""
    driver = BY_NAME["psycopg2"]
    driver.load()
    driver.port = servers_running(driver.family)
    module = keyed_pool if request.param == "keyed" else load("psycopg2.pool")
    return SimpleNamespace(module=module, where=driver.parameters())


@pytest.fixture(params=["SimpleConnectionPool", "ThreadedConnectionPool"])
def make(request, pools):
    """Make a pool of either kind, which is closed at the end."""
    made = []

    def make(minconn, maxconn):
        kind = getattr(pools.module, request.param)
        made.append(kind(minconn, maxconn, **pools.where))
        return made[-1]
    yield make
    for pool in made:
        if not pool.closed:
            pool.closeall()


def test_an_error_is_one_of_psycopg2(make, pools):
    psycopg2 = load("psycopg2")
    pool = make(1, 1)
    conn = pool.getconn()
    for call in (pool.getconn, lambda: pool.putconn(object())):
        with pytest.raises(pools.module.PoolError) as caught:
            call()
        assert isinstance(caught.value, psycopg2.Error)
        assert caught.value.pgcode is None
        copy = pickle.loads(pickle.dumps(caught.value))
        assert isinstance(copy, pools.module.PoolError)
        assert str(copy) == str(caught.value)
    pool.putconn(conn)
    pool.closeall()
    for call in (pool.getconn, pool.closeall, lambda: pool.putconn(conn)):
        with pytest.raises(psycopg2.Error, match="closed"):
            call()


def test_minconn_may_be_more_than_maxconn(make, pools):
    pool = make(3, 2)
    assert (pool.minconn, pool.maxconn) == (3, 2)
    conns = [pool.getconn() for _ in range(3)]
    assert len({conn.info.backend_pid for conn in conns}) == 3
    if pools.module is keyed_pool:  # or there is no limit from then on
        with pytest.raises(keyed_pool.PoolError):
            pool.getconn()
    for conn in conns:
        pool.putconn(conn)


def test_sizes_may_be_texts(make):
    pool = make("1", "2")
    assert (pool.minconn, pool.maxconn) == (1, 2)


@pytest.mark.parametrize("key", [None, "key"])
def test_autocommit_stays_with_its_connection(make, key):
    pool = make(1, 2)
    conn = pool.getconn(key)
    session = conn.info.backend_pid
    assert conn.autocommit is False
    conn.autocommit = True
    conn.cursor().execute("select 1")
    pool.putconn(conn)
    for value in True, False:
        conn = pool.getconn()
        assert conn.info.backend_pid == session
        assert conn.autocommit is value
        conn.cursor().execute("select 1")
        conn.rollback()
        other = pool.getconn()
        assert other.autocommit is False
        pool.putconn(other, close=True)
        conn.autocommit = False
        pool.putconn(conn)
    conn = pool.getconn()
    conn.autocommit = True
    pool.putconn(conn, close=True)
    assert pool.getconn().autocommit is False


def test_a_transaction_is_rolled_back_and_autocommit_stays(make):
    pool = make(1, 1)
    conn = pool.getconn()
    conn.cursor().execute("create temporary table t (x integer)")
    pool.putconn(conn)
    conn = pool.getconn()
    with conn.cursor() as cursor:
        cursor.execute("select to_regclass('pg_temp.t')")
        assert cursor.fetchone() == (None,)
    pool.putconn(conn)


def test_what_needs_a_connection_of_psycopg2_gets_it(make):
    """What the manual says about proxies is true."""
    extras, sql = load("psycopg2.extras"), load("psycopg2.sql")
    extensions = load("psycopg2.extensions")
    pool = make(1, 1)
    conn = pool.getconn()
    own = getattr(conn, "dbapi_connection", conn)
    assert isinstance(own, extensions.connection)
    extras.register_uuid(conn_or_curs=own)
    composed = sql.SQL("select {}").format(sql.Identifier("a"))
    assert composed.as_string(own) == 'select "a"'
    assert extensions.quote_ident("a", own) == '"a"'
    if own is not conn:
        for call in (lambda: extras.register_uuid(conn_or_curs=conn),
                     lambda: composed.as_string(conn)):
            with pytest.raises(TypeError):
                call()
    with conn.cursor() as cursor:
        cursor.execute(sql.SQL("select {}").format(sql.Literal(1)))
        assert cursor.fetchone() == (1,)
        extras.execute_values(
            cursor, "select * from (values %s) as t(a)", [(1,), (2,)])
        assert cursor.fetchall() == [(1,), (2,)]
    pool.putconn(conn)
