"""The driver's own methods are called on what the library hands out."""

import gc
import sqlite3
from contextlib import suppress
from functools import partial

import drivers
import pytest
from drivers import ask, ready

from dbutils.keyed_pool import SimpleConnectionPool
from dbutils.persistent_db import PersistentDB
from dbutils.pooled_db import InvalidConnectionError, PooledDB
from dbutils.simple_pooled_db import PooledDB as SimplePooledDB
from dbutils.steady_db import InvalidCursorError, SteadyDBCursor, connect

LEFT = [  # what only the library calls
    "after_fork", "hand_over", "hold", "is_over", "right", "run_shared",
    "take_back", "take_back_dropped", "take_note"]

SQLITE = partial(
    PooledDB, sqlite3, maxconnections=1, check_same_thread=False)


@pytest.fixture
def real(servers_running):
    """Return a driver with its server, by the name of the driver."""
    return lambda name: ready(drivers.BY_NAME[name], servers_running)


@pytest.fixture
def pool_of(real):
    """Return a pool of one connection, by the name of the driver."""
    def make(name, **options):
        driver = real(name)
        options.setdefault("maxconnections", 1)
        return PooledDB(
            driver.load(), **options, **driver.parameters())
    return make


@pytest.fixture(params=["lease", "steady", "persistent", "shared", "keyed"])
def held(request, real):
    """Return what the library hands out, by the name of the driver."""
    def make(name):
        driver = real(name)
        module, options = driver.load(), driver.parameters()
        if request.param == "steady":
            return connect(module, **options)
        if request.param == "persistent":
            return PersistentDB(module, **options).connection()
        if request.param == "keyed":
            return SimpleConnectionPool(
                1, 2, creator=module, **options).getconn()
        pool = PooledDB(
            module, maxconnections=2,
            maxshared=2 if request.param == "shared" else 0, **options)
        return pool.connection()
    return make


def test_psycopg_has_its_methods(held, real):
    db = held("psycopg")
    cursor = db.execute("select %s::int", (3,))
    assert isinstance(cursor, SteadyDBCursor)
    assert cursor.fetchone() == (3,)
    assert db.execute("select 4", binary=True).fetchone() == (4,)
    db.rollback()
    with db.transaction() as transaction:
        assert transaction.connection is db
        db.execute("create temporary table t as select 1 as x")
    with db.pipeline() as pipeline:
        cursors = [db.execute("select x from t") for _ in range(3)]
        pipeline.sync()
        assert [cursor.fetchone() for cursor in cursors] == [(1,)] * 3
    db.rollback()
    db.execute("listen here")
    db.commit()
    notes = db.notifies()
    real("psycopg").run("notify here, 'you'")
    assert next(notes).payload == "you"
    notes.close()
    assert db.xid(1, "a", "b").gtrid == "a"
    assert db.info.status.name == "OK"
    assert isinstance(db.fileno(), int)


def test_psycopg2_has_its_methods(held):
    db = held("psycopg2")
    db.set_session(readonly=False, autocommit=False)
    large = db.lobject(0, "wb")
    assert large.write(b"much data") == 9
    large.close()
    assert db.lobject(large.oid, "r").read() == "much data"
    db.rollback()
    assert db.get_backend_pid() == ask(db, "select pg_backend_pid()")
    assert db.get_transaction_status() == 2
    db.rollback()
    assert db.get_dsn_parameters()["user"] == "postgres"
    assert db.info.user == "postgres"
    assert isinstance(db.OperationalError, type)
    assert db.notifies == []
    assert db.poll() == 0


def test_pymysql_has_its_methods(held):
    db = held("pymysql")
    ask(db, "create temporary table t (id integer auto_increment primary key)")
    ask(db, "insert into t values ()")
    assert db.insert_id() == 1
    assert db.escape("it's") == "'it\\'s'"
    assert db.thread_id() == ask(db, "select connection_id()")
    assert db.query("select 1") == 1
    db.rollback()


@pytest.mark.parametrize("make", [
    lambda path: SQLITE(database=path).connection(),
    lambda path: connect(sqlite3, database=path),
    lambda path: PersistentDB(sqlite3, database=path).connection()])
def test_sqlite_has_its_methods(make, tmp_path):
    db = make(str(tmp_path / "methods.db"))
    db.create_function("twice", 1, lambda x: 2 * x)
    assert db.execute("select twice(?)", (2,)).fetchone() == (4,)
    db.executescript("create table t (x); create table u (x)")
    db.executemany("insert into t values (?)", [(1,), (2,)])
    db.commit()
    assert [row[0] for row in db.execute("select x from t")] == [1, 2]
    assert "CREATE TABLE u (x);" in list(db.iterdump())
    copy = sqlite3.connect(":memory:")
    db.backup(copy)
    assert copy.execute("select count(*) from t").fetchone() == (2,)
    copy.close()
    assert db.total_changes >= 2


def test_sqlite_makes_a_copy_of_what_is_borrowed(tmp_path):
    first = SQLITE(database=str(tmp_path / "first.db")).connection()
    second = SQLITE(database=str(tmp_path / "second.db")).connection()
    first.execute("create table t (x)")
    first.commit()
    first.backup(second)
    assert second.execute("select count(*) from t").fetchone() == (0,)


def test_duckdb_executes_on_its_connection():
    duckdb = drivers.load("duckdb")
    pool = PooledDB(duckdb, maxconnections=1)
    db = pool.connection()
    assert db.execute("create temporary table t (x integer)") is db
    db.begin()
    db.execute("insert into t values (?)", [5])
    assert db.execute("select x from t").fetchall() == [(5,)]
    db.rollback()
    assert db.execute("select count(*) from t").fetchall() == [(0,)]
    relation = db.sql("select 7 as x")
    assert relation.filter("x > 0").fetchall() == [(7,)]
    db.close()
    with pytest.raises(InvalidConnectionError):
        relation.fetchall()


# What is looked up or returned in a visit is over with it.

@pytest.mark.parametrize(("name", "method"), [
    ("psycopg", "execute"), ("psycopg", "transaction"), ("psycopg", "xid"),
    ("psycopg", "fileno"), ("psycopg", "add_notice_handler"),
    ("psycopg2", "set_session"), ("psycopg2", "lobject"),
    ("psycopg2", "get_transaction_status"), ("psycopg2", "cancel"),
    ("psycopg2", "dbapi"), ("psycopg2", "commit"), ("psycopg2", "cursor"),
    ("pymysql", "insert_id"), ("pymysql", "escape"), ("pymysql", "ping")])
def test_a_method_cannot_be_called_after_the_return(pool_of, name, method):
    pool = pool_of(name)
    db = pool.connection()
    act = getattr(db, method)
    db.close()
    other = pool.connection()
    with pytest.raises(InvalidConnectionError, match=method):
        act()
    assert not other._own_session.settings_changed


def test_a_shared_connection_is_over_as_well(real):
    driver = real("psycopg2")
    pool = PooledDB(
        driver.load(), maxconnections=1, maxshared=1, **driver.parameters())
    db, other = pool.connection(), pool.connection()
    act, large = db.get_transaction_status, db.lobject(0, "wb")
    db.close()
    with pytest.raises(InvalidConnectionError):
        act()
    with pytest.raises(InvalidConnectionError):
        large.write(b"too late")
    other.close()


@pytest.mark.parametrize("use", [
    lambda large: large.read, lambda large: large.write("more"),
    lambda large: large.close(), lambda large: large.closed])
def test_a_large_object_is_over_with_the_visit(pool_of, use):
    pool = pool_of("psycopg2")
    db = pool.connection()
    large = db.lobject(0, "rwb")
    raw = large._thing
    db.close()
    with pytest.raises(InvalidConnectionError):
        use(large)
    assert raw.closed
    db = pool.connection()
    del large, raw
    gc.collect()
    assert db.get_transaction_status() == 0


def test_a_blob_is_closed_with_the_visit(tmp_path):
    if not hasattr(sqlite3.Connection, "blobopen"):
        pytest.skip("this version has no blobs")
    pool = SQLITE(database=str(tmp_path / "blobs.db"))
    db = pool.connection()
    db.execute("create table t (x)")
    db.execute("insert into t values (zeroblob(4))")
    db.commit()
    with db.blobopen("t", "x", 1) as blob:
        blob[0:2] = b"ab"
        assert len(blob) == 4
        assert blob.read() == b"ab\0\0"
    blob = db.blobopen("t", "x", 1)
    db.close()
    with pytest.raises(InvalidConnectionError):
        blob.read()
    with pytest.raises(InvalidConnectionError):
        blob[0]


@pytest.mark.parametrize("method", ["transaction", "pipeline"])
def test_a_context_that_did_not_end_reaches_nobody(pool_of, method):
    pool = pool_of("psycopg")
    db = pool.connection()
    context = getattr(db, method)()
    context.__enter__()
    pid = db.info.backend_pid
    db.close()
    other = pool.connection()
    assert other.info.backend_pid != pid
    assert other.info.pipeline_status.name == "OFF"
    with pytest.raises(InvalidConnectionError):
        context.__exit__(None, None, None)
    assert context.__exit__(ValueError, ValueError(), None) is False
    assert ask(other, "select 1") == 1


@pytest.mark.parametrize("method", ["transaction", "pipeline"])
def test_a_context_that_did_end_leaves_the_connection_as_it_was(
        pool_of, method):
    pool = pool_of("psycopg")
    db = pool.connection()
    with getattr(db, method)():
        pid = db.info.backend_pid
    db.close()
    assert ask(pool.connection(), "select pg_backend_pid()") == pid


def test_a_transaction_is_rolled_back_by_an_error(pool_of, real):
    table = real("psycopg").new_table("in_a_context")
    db = pool_of("psycopg").connection()
    with suppress(ZeroDivisionError), db.transaction():
        db.execute(f"insert into {table} values (1, 1)")
        raise ZeroDivisionError
    assert real("psycopg").run(f"select * from {table}") == []
    with db.transaction():
        db.execute(f"insert into {table} values (2, 2)")
    db.close()
    assert real("psycopg").run(f"select * from {table}") == [(2, 2)]


def test_a_result_keeps_what_was_borrowed(pool_of):
    pool = pool_of("psycopg")
    cursor = pool.connection().execute("select 1")
    assert pool._connections == 1
    assert cursor.fetchone() == (1,)
    del cursor
    assert pool._connections == 0


def test_a_result_is_over_with_the_visit(pool_of):
    db = pool_of("psycopg").connection()
    cursor = db.execute("select 1")
    db.close()
    with pytest.raises(InvalidCursorError):
        cursor.execute("select 2")


# A call counts as work, and as a mark.

def test_a_read_on_the_connection_is_healed(real):
    driver = real("psycopg")
    db = connect(driver.load(), **driver.parameters())
    pid = db.execute(driver.who_am_i).fetchone()[0]
    db.rollback()
    driver.kill(pid)
    assert db.execute(driver.who_am_i).fetchone()[0] != pid


def test_what_a_statement_on_the_connection_marks_is_undone(pool_of):
    pool = pool_of("psycopg")
    db = pool.connection()
    db.execute("set application_name = 'marked'")
    db.commit()
    db.close()
    assert ask(pool.connection(), "show application_name") == ""


def test_a_read_on_the_connection_is_no_mark(pool_of):
    db = pool_of("psycopg").connection()
    db.execute("select 1")
    db.rollback()
    db.xid(1, "a", "b")
    assert not db._own_session.settings_changed
    assert not db._own_session.is_marked


def test_a_call_is_a_mark(pool_of):
    pool = pool_of("psycopg2")
    db = pool.connection()
    ask(db, "select set_config('application_name', 'marked', false)")
    db.commit()
    session = db._own_session
    session.is_marked = session.settings_changed = False
    session.settings.needs_server = False
    db.set_client_encoding("LATIN1")
    large = db.lobject()
    large.close()
    db.rollback()
    assert db._own_session.is_exposed
    db.close()
    assert ask(pool.connection(), "show application_name") == ""


def test_a_lost_call_is_not_made_again(real):
    driver = real("pymysql")
    table = driver.new_table("not_again")
    db = connect(driver.load(), **driver.parameters())
    pid = db.thread_id()
    db.query(f"insert into {table} values (1, 1)")
    driver.kill(pid)
    with pytest.raises(driver.error) as info:
        db.query(f"insert into {table} values (2, 2)")
    assert "not executed again" in str(info.value.__notes__)
    db.rollback()
    assert driver.run(f"select * from {table}") == []


def test_work_of_a_method_is_not_torn_apart(real):
    driver = real("psycopg2")
    db = connect(driver.load(), **driver.parameters())
    large = db.lobject()
    driver.kill(db.get_backend_pid())
    with pytest.raises(driver.error):
        ask(db, "select 1")
    with pytest.raises(driver.error):
        large.write("lost")
    db.rollback()
    assert ask(db, "select 1") == 1


def test_two_phases_are_committed(pool_of, real):
    driver = real("psycopg2")
    table = driver.new_table("in_two_phases")
    pool = pool_of("psycopg2")
    db = pool.connection()
    xid = db.xid(1, "two", "phases")
    db.tpc_begin(xid)
    ask(db, f"insert into {table} values (1, 1)")
    try:
        db.tpc_prepare()
    except driver.load().ProgrammingError:  # the server does not offer it
        db.rollback()
        db.tpc_begin(xid)
    except driver.error:
        db.tpc_rollback()
        db.tpc_begin(xid)
        ask(db, f"insert into {table} values (1, 1)")
    db.tpc_commit()
    db.close()
    assert driver.run(f"select * from {table}") == [(1, 1)]


def test_a_handler_is_removed_at_the_end_of_the_visit(pool_of):
    pool = pool_of("psycopg")
    said = []

    def hear(note):
        said.append(note.message_primary)
    db = pool.connection()
    line = db._own_session
    db.add_notice_handler(hear)
    ask(db, "do $$ begin raise notice 'first'; end $$")
    db.rollback()
    line.is_marked = False
    line.reconnect()  # as after a loss
    ask(db, "do $$ begin raise notice 'second'; end $$")
    db.close()
    ask(pool.connection(), "do $$ begin raise notice 'third'; end $$")
    assert said == ["first", "second"]


def test_a_handler_can_be_removed(pool_of):
    heard = []
    pool = pool_of("psycopg")
    with pool.connection() as db:
        db.add_notice_handler(heard.append)
        db.remove_notice_handler(heard.append)
        ask(db, "do $$ begin raise notice 'first'; end $$")
    assert heard == []


def test_a_handler_of_onconnect_is_there_once(pool_of):
    """The function is called again when the session was reset."""
    said = []
    pool = pool_of("psycopg", onconnect=lambda con: con.add_notice_handler(
        lambda note: said.append(note.message_primary)))
    for _ in range(3):
        with pool.connection() as db:
            ask(db, "set work_mem = '5MB'")
            db.commit()
    ask(pool.connection(), "do $$ begin raise notice 'once'; end $$")
    assert said == ["once"]


@pytest.mark.parametrize("kind", ["notice", "notify"])
def test_a_handler_of_the_driver_connection_is_removed(pool_of, kind):
    """Handlers that were there at the beginning stay."""
    def stay(_):
        pass

    def install(con):
        getattr(con, f"add_{kind}_handler")(stay)
    pool = pool_of("psycopg", onconnect=install)
    with pool.connection() as db:
        raw = db.dbapi_connection
        getattr(raw, f"add_{kind}_handler")(print)
        getattr(db, f"add_{kind}_handler")(repr)
        getattr(raw, f"remove_{kind}_handler")(stay)
    with pool.connection() as db:
        assert db.dbapi_connection is raw
        assert getattr(raw, f"_{kind}_handlers") == [stay]


# What is to be seen.

def test_only_what_the_connection_has_is_listed(pool_of, tmp_path):
    sqlite = SQLITE(database=str(tmp_path / "listed.db")).connection()
    mysql = pool_of("pymysql").connection()
    postgres = pool_of("psycopg").connection()
    assert {"create_function", "row_factory", "cursor"} <= {*dir(sqlite)}
    assert {"insert_id", "dbapi", "valid"} <= {*dir(mysql)}
    assert {"pipeline", "autocommit", "commit"} <= {*dir(postgres)}
    assert not {"insert_id", "pipeline"} & {*dir(sqlite)}
    assert not {"create_function", "pipeline"} & {*dir(mysql)}
    assert not {"create_function", "insert_id"} & {*dir(postgres)}
    for db in (sqlite, mysql, postgres):
        for name in dir(db):
            if not name.startswith("_"):
                hasattr(db, name)  # or it is a property that cannot be read
        db.close()
        assert not {"insert_id", "pipeline", "row_factory"} & {*dir(db)}


def test_a_steady_connection_lists_what_it_has():
    con = connect(sqlite3, database=":memory:")
    assert {"create_function", "dbapi_connection"} <= {*dir(con)}
    assert "pipeline" not in dir(con)


def test_a_method_tells_what_it_is():
    con = connect(sqlite3, database=":memory:")
    assert con.create_function.__name__ == "create_function"
    assert con.create_function.__doc__ == (
        con.dbapi_connection.create_function.__doc__)
    assert "create_function" in repr(con.create_function)


def test_unknown_names_are_unknown_at_once(pool_of):
    db = pool_of("psycopg").connection()
    for name in ("insert_id", "nonsense", "__wrapped__"):
        with pytest.raises(AttributeError, match=name):
            getattr(db, name)
    with pytest.raises(AttributeError, match="Pass dbapi_connection"):
        db._start_query()


@pytest.mark.parametrize("make", [
    lambda: SQLITE(database=":memory:"),
    lambda: SimplePooledDB(sqlite3, 1, ":memory:", check_same_thread=False),
    lambda: PersistentDB(sqlite3, database=":memory:")])
def test_names_of_the_library_are_not_public(make, monkeypatch):
    monkeypatch.setattr(sqlite3, "threadsafety", 1)
    pool = make()
    db = pool.connection()
    for thing in (pool, db):
        assert not {*LEFT} & {*dir(thing)}
    if isinstance(pool, SimplePooledDB):
        db._con.close()


def test_names_of_the_other_pools_are_not_public(pool_of, pg, real):
    from dbutils.pooled_pg import PooledPg
    from dbutils.uri_pool import ConnectionPool
    pool = PooledPg()
    shared = pool_of("psycopg2", maxshared=1)
    keyed = SimpleConnectionPool(
        1, 1, creator=real("psycopg2").load(),
        **real("psycopg2").parameters())
    things = (
        pool, pool.connection(), shared.connection(), keyed, keyed.getconn(),
        ConnectionPool("sqlite:memory"))
    for thing in things:
        assert not {*LEFT} & {*dir(thing)}


# The other pools.

def test_a_simple_lease_binds_what_is_looked_up(monkeypatch):
    monkeypatch.setattr(sqlite3, "threadsafety", 1)
    pool = SimplePooledDB(sqlite3, 1, ":memory:", check_same_thread=False)
    db = pool.connection()
    act, inner = db.execute, db._con
    assert act("select 1").fetchone() == (1,)
    assert "execute" in dir(db)
    db.close()
    inner.close()
    with pytest.raises(AttributeError):
        act("select 1")
    assert "execute" not in dir(db)


def test_a_lease_of_classic_pygresql_binds_what_is_looked_up(pg):
    from dbutils import pooled_pg
    db = pooled_pg.PooledPg(maxconnections=1).connection()
    query, get_tables = db.query, db.get_tables
    assert get_tables() == ["test"]
    db.close()
    for act in (query, get_tables):
        with pytest.raises(pooled_pg.InvalidConnectionError):
            act("select test")
