"""The pools of keyed_pool do what those of psycopg2.pool do."""

import pickle
from contextlib import suppress
from io import StringIO
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


# What one does with the connections, as the documents of psycopg2 show it.

def set_isolation(conn):
    conn.isolation_level = "SERIALIZABLE"
    with conn.cursor() as cursor:
        cursor.execute("show transaction_isolation")
        return cursor.fetchone()


def write_read_only(conn):
    conn.readonly = True
    conn.cursor().execute("create table t (a integer)")


def choose_cursors(conn):
    conn.cursor_factory = load("psycopg2.extras").RealDictCursor
    with conn.cursor() as cursor:
        cursor.execute("select 1 as a")
        return dict(cursor.fetchone())


def change_encoding(conn):
    conn.set_client_encoding("LATIN1")
    return conn.encoding


def be_notified(conn):
    conn.autocommit = True
    cursor = conn.cursor()
    cursor.execute("listen there")
    cursor.execute("notify there, 'news'")
    conn.poll()
    return [(note.channel, note.payload) for note in conn.notifies]


def be_noticed(conn):
    conn.cursor().execute("do $$ begin raise notice 'news'; end $$")
    return [notice.strip() for notice in conn.notices]


def write_and_read(conn):
    with conn, conn.cursor() as cursor:
        cursor.execute("create temporary table t (a integer)")
        cursor.execute("insert into t values (1)")
    with conn.cursor() as cursor:
        cursor.execute("select * from t")
        return cursor.fetchall(), cursor.rowcount, cursor.statusmessage


def fail_in_a_block(conn):
    with suppress(ZeroDivisionError), conn, conn.cursor() as cursor:
        cursor.execute("create table t (a integer)")
        raise ZeroDivisionError
    with conn.cursor() as cursor:
        cursor.execute("select to_regclass('t')")
        return cursor.fetchone(), conn.closed


def iterate(conn):
    cursor = conn.cursor()
    cursor.execute("select generate_series(1, 3)")
    return list(cursor), cursor.query, cursor.rownumber


def iterate_on_the_server(conn):
    extras = load("psycopg2.extras")
    with conn.cursor("name", cursor_factory=extras.DictCursor) as cursor:
        cursor.itersize = 2
        cursor.execute("select generate_series(1, 5) as a")
        return [row["a"] for row in cursor]


def copy(conn):
    with conn.cursor() as cursor:
        cursor.execute("create temporary table t (a integer)")
        cursor.copy_from(StringIO("1\n2\n"), "t")
        file = StringIO()
        cursor.copy_to(file, "t")
        return file.getvalue()


def adapt(conn):
    with conn.cursor() as cursor:
        cursor.execute(
            "select %s::json", (load("psycopg2.extras").Json({"a": 1}),))
        return cursor.fetchone(), cursor.mogrify("select %s", ("a'",))


def insert_many(conn):
    extras = load("psycopg2.extras")
    with conn.cursor() as cursor:
        cursor.execute("create temporary table t (a integer)")
        extras.execute_batch(cursor, "insert into t values (%s)", [(1,), (2,)])
        return extras.execute_values(
            cursor, "insert into t values %s returning a", [(3,), (4,)],
            fetch=True)


def go_on_after_an_error(conn):
    with pytest.raises(load("psycopg2").errors.SyntaxError):
        conn.cursor().execute("nonsense")
    before = conn.get_transaction_status(), conn.status
    conn.rollback()
    return before, conn.get_transaction_status()


def use_two_phases(conn):
    conn.tpc_begin(conn.xid(1, "a", "b"))
    conn.tpc_rollback()
    return conn.status


def ask_for_facts(conn):
    return (
        conn.server_version, conn.protocol_version, conn.info.dbname,
        conn.get_parameter_status("server_encoding"), conn.isexecuting(),
        conn.Error, conn.get_backend_pid() == conn.info.backend_pid,
        conn.fileno() > 0, conn.lobject(0, "w").oid > 0, conn.cancel(),
        conn.reset())


PROGRAMS = [
    set_isolation, write_read_only, choose_cursors, change_encoding,
    be_notified, be_noticed, write_and_read, fail_in_a_block, iterate,
    iterate_on_the_server, copy, adapt, insert_many, go_on_after_an_error,
    use_two_phases, ask_for_facts]


def result_of(program, module, where):
    """Return what a program does with a pool, and with what it left."""
    pool = module.ThreadedConnectionPool(1, 2, **where)
    conn = pool.getconn()
    try:
        result = program(conn)
    except Exception as error:
        result = type(error), str(error)
    conn.rollback()
    pool.putconn(conn, close=True)
    conn = pool.getconn()
    with conn.cursor() as cursor:
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,)
    pool.putconn(conn)
    pool.closeall()
    return result


@pytest.mark.parametrize(
    "program", PROGRAMS, ids=lambda program: program.__name__)
def test_what_the_documents_show_has_the_same_results(
        program, servers_running):
    driver = BY_NAME["psycopg2"]
    original = load("psycopg2.pool")
    driver.port = servers_running(driver.family)
    results = [
        result_of(program, module, driver.parameters())
        for module in (original, keyed_pool)]
    assert results[1] == results[0]


def test_pools_are_derived_as_those_of_psycopg2_are(pools):
    kind = pools.module.AbstractConnectionPool

    class Own(kind):
        """Has the methods of the abstract class, as the simple pool."""

        getconn = kind._getconn
        putconn = kind._putconn
        closeall = kind._closeall

    pool = Own(1, 2, **pools.where)
    conn = pool.getconn("key")
    assert pool.getconn("key") is conn
    pool.putconn(conn, "key")
    assert pool.getconn("other") is not None
    pool.closeall()
    assert pool.closed


def test_a_connection_that_the_program_has_closed_can_be_put_back(make):
    pool = make(1, 2)
    conn = pool.getconn()
    conn.close()
    assert conn.closed
    pool.putconn(conn)
    assert not pool.getconn().closed
