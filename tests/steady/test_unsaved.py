"""Work that nobody has saved is told in the development mode of Python."""

import re
import subprocess
import sys

import drivers
import pytest
from drivers import ready

pytestmark = pytest.mark.portable

# What the programs begin with: {file} is a database of SQLite, {port} is that
# of a server.
BEGINNING = """
import sqlite3, threading, warnings
from functools import partial
from dbutils import keyed_pool, persistent_db, persistent_pg, pool_manager
from dbutils import pooled_db, pooled_pg, simple_pooled_db, simple_pooled_pg
from dbutils import uri_pool

file, port, mode = {file!r}, {port!r}, {mode!r}

def connect():
    return sqlite3.connect(
        file, check_same_thread=False, isolation_level=mode)

class Module:
    connect = staticmethod(connect)
    Error = sqlite3.Error
    def __init__(self, threadsafety):
        self.threadsafety = threadsafety

def shared():
    return connect()

shared.dbapi, shared.threadsafety = sqlite3, 2

if port is None:
    con = connect()
    con.execute("create table test (a)")
    con.commit()
    con.close()
    def work(db):
        db.cursor().execute("insert into test values (1)")
    def read(db):
        db.cursor().execute("select * from test").fetchall()
else:
    server = dict(dbname="postgres", host={host!r}, port=port, user="postgres")
    def work(db):
        if mode:
            db.begin()
        db.query("insert into unsaved values (1)")
    def read(db):
        db.begin()
        db.query("select * from unsaved")

warnings.simplefilter("always")
"""

# How the pools are made, how a connection is taken, and how it comes back.
KINDS = {
    "dedicated": (
        "pool = pooled_db.PooledDB(shared)",
        "pool.dedicated_connection()", "db.close()"),
    "shared": (
        "pool = pooled_db.PooledDB(shared, maxshared=2)",
        "pool.connection()", "db.close()"),
    "old rules": (
        'pool = pooled_db.PooledDB(shared, failover="always")',
        "pool.connection()", "db.close()"),
    "own unshare": ("""
class Pool(pooled_db.PooledDB):
    def unshare(self, con):
        super().unshare(con)
pool = Pool(shared, maxshared=2)
""", "pool.connection()", "db.close()"),
    "simple": (
        "pool = simple_pooled_db.PooledDB(Module(1), 2)",
        "pool.connection()", "db.close()"),
    "simple in turn": (
        "pool = simple_pooled_db.PooledDB(Module(3), 2)",
        "pool.connection()", "db.close()"),
    "persistent, closed": (
        "pool = persistent_db.PersistentDB(shared, closeable=True)",
        "pool.connection()", "db.close()"),
    "keyed": (
        "pool = keyed_pool.ThreadedConnectionPool(1, 2, creator=shared)",
        'pool.getconn("key")', "pool.putconn(db, 'key')"),
    "keyed, closed": (
        "pool = keyed_pool.ThreadedConnectionPool(1, 2, creator=shared)",
        "pool.getconn()", "pool.putconn(db, close=True)"),
    "URI, kept": (
        'pool = uri_pool.ConnectionPool("sqlite://x", 1, connect)',
        "pool.get_connection()", "pool.close(None)"),
    "URI, not kept": (
        'pool = uri_pool.ConnectionPool("sqlite://x", 0, connect)',
        "pool.get_connection()", "pool.close(None)"),
    "manager": ("""
pool = pool_manager.get_pool_manager().get_pool(
    db_type="sqlite", database=file, options={"isolation_level": mode})
""", "pool.get_connection()", "db.close()"),
}

PG_KINDS = {
    "pooled": (
        "pool = pooled_pg.PooledPg(**server)",
        "pool.connection()", "db.close()"),
    "pooled, old rules": (
        'pool = pooled_pg.PooledPg(failover="always", **server)',
        "pool.connection()", "db.close()"),
    "simple": (
        "pool = simple_pooled_pg.PooledPg(2, **server)",
        "pool.connection()", "db.close()"),
    "persistent": (
        "pool = persistent_pg.PersistentPg(**server)",
        "pool.connection()", "db.close()"),
    "persistent, closed": (
        "pool = persistent_pg.PersistentPg(closeable=True, **server)",
        "pool.connection()", "db.close()"),
}

# What a program does in a function.
FORGOTTEN = """
def use():
    db = {take}
    work(db)
    {give}  # here
use()
"""

FINE = {
    "commit": """
    db = {take}
    work(db)
    db.commit()
    {give}
""",
    "rollback": """
    db = {take}
    work(db)
    db.rollback()
    {give}
""",
    "read": """
    db = {take}
    read(db)
    {give}
""",
    "read after work": """
    db = {take}
    work(db)
    db.commit()
    read(db)
    {give}
""",
    "error": """
    try:
        db = {take}
        try:
            work(db)
            1 / 0
        finally:
            {give}
    except ZeroDivisionError:
        pass
"""}


@pytest.fixture
def run(tmp_path):
    """Run a program; return the lines of its warnings, and of the marks."""
    def run(body, *options, port=None, mode="DEFERRED"):
        script = tmp_path / "program.py"
        text = BEGINNING.format(
            file=str(tmp_path / "test"), port=port, mode=mode,
            host=drivers.HOST) + body
        script.write_text(text)
        done = subprocess.run(
            [sys.executable, *options, str(script)], check=False,
            stderr=subprocess.PIPE, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        told = [line for line in done.stderr.splitlines()
                if "ResourceWarning" in line and "neither" in line]
        lines = [re.search(r"program\.py:(\d+)", line)[1] for line in told]
        marks = [number for number, line in enumerate(text.splitlines(), 1)
                 if "# here" in line]
        return [int(line) for line in lines], marks
    return run


@pytest.fixture
def port(servers_running):
    driver = ready(drivers.BY_NAME["pgdb"], servers_running)
    drivers.load("pg")
    driver.run("drop table if exists unsaved")
    driver.run("create table unsaved (a integer)")
    return driver.port


def program(kind, body):
    make, take, give = kind
    return f"{make}\n" + body.format(take=take, give=give)


def fine_ones(kind):
    return program(kind, "".join(
        f"def use{number}():{body}use{number}()\n"
        for number, body in enumerate(FINE.values())))


@pytest.mark.parametrize("name", KINDS)
def test_the_place_is_told(run, name):
    told, marks = run(program(KINDS[name], FORGOTTEN), "-X", "dev")
    assert told == marks
    assert len(told) == 1


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_told_where_nothing_was_forgotten(run, name):
    assert run(fine_ones(KINDS[name]), "-X", "dev") == ([], [])


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_told_with_autocommit(run, name):
    assert run(
        program(KINDS[name], FORGOTTEN), "-X", "dev", mode=None)[0] == []


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_told_without_the_development_mode(run, name):
    assert run(program(KINDS[name], FORGOTTEN))[0] == []


@pytest.mark.parametrize("name", PG_KINDS)
def test_the_place_is_told_with_classic_pygresql(run, port, name):
    told, marks = run(
        program(PG_KINDS[name], FORGOTTEN), "-X", "dev", port=port)
    assert told == marks
    assert len(told) == 1


@pytest.mark.parametrize("name", PG_KINDS)
def test_nothing_is_told_with_classic_pygresql(run, port, name):
    assert run(fine_ones(PG_KINDS[name]), "-X", "dev", port=port)[0] == []
    assert run(
        program(PG_KINDS[name], FORGOTTEN), "-X", "dev", port=port,
        mode="")[0] == []  # outside of transactions
    assert run(program(PG_KINDS[name], FORGOTTEN), port=port)[0] == []


def test_work_by_other_methods_of_classic_pygresql_counts(run, port):
    told, marks = run("""
for pool in (
        pooled_pg.PooledPg(**server), simple_pooled_pg.PooledPg(1, **server)):
    db = pool.connection()
    db.begin()
    db.inserttable("unsaved", [(1,)])
    db.close()  # here
    db = pool.connection()
    db.rollback()
    db.begin()
    db.query_formatted("select %s", (1,))
    db.close()
""", "-X", "dev", port=port)
    assert told == 2 * marks


def test_a_transaction_that_ends_by_itself_is_fine(run, port):
    assert run("""
pool = pooled_db.PooledDB(shared)
with pool.transaction() as db:
    work(db)
pool.run(work)
""", "-X", "dev")[0] == []
    assert run("""
pool = pooled_pg.PooledPg(**server)
mode = ""
with pool.transaction() as db:
    work(db)
""", "-X", "dev", port=port)[0] == []


def test_a_read_that_has_begun_a_transaction_is_fine(run, port):
    """With psycopg2 each statement begins one, unless there is autocommit."""
    drivers.load("psycopg2")
    assert run("""
import psycopg2
def use(pool, sql, close):
    db = pool.connection()
    db.cursor().execute(sql)
    close(db)
def commit(db):
    db.commit()
    db.close()
def close(db):
    db.close()
def set_autocommit(db):
    db.rollback()
    db.autocommit = True
    db.cursor().execute("insert into unsaved values (1)")
    db.close()
for pool in (
        pooled_db.PooledDB(psycopg2, **server),
        pooled_db.PooledDB(psycopg2, maxshared=1, **server),
        persistent_db.PersistentDB(psycopg2, closeable=True, **server),
        simple_pooled_db.PooledDB(psycopg2, 1, **server)):
    use(pool, "select * from unsaved", close)
    use(pool, "insert into unsaved values (1)", commit)
    use(pool, "select * from unsaved", set_autocommit)
""", "-X", "dev", port=port)[0] == []
    told, marks = run("""
import psycopg2
for pool in (
        pooled_db.PooledDB(psycopg2, **server),
        pooled_db.PooledDB(psycopg2, maxshared=1, **server),
        persistent_db.PersistentDB(psycopg2, closeable=True, **server)):
    db = pool.connection()
    db.cursor().execute("insert into unsaved values (1)")
    db.close()  # here
""", "-X", "dev", port=port)
    assert told == 3 * marks


# Connections that several borrowers share.

def test_one_who_leaves_others_is_told(run):
    told, marks = run("""
pool = pooled_db.PooledDB(shared, maxshared=1)
one, two = pool.connection(), pool.connection()
assert one._con is two._con
work(one)
one.close()  # here
two.close()
""", "-X", "dev")
    assert told == marks


def test_the_others_are_not_blamed(run):
    """The one who works is in a transaction, and stays longer."""
    told, marks = run("""
pool = pooled_db.PooledDB(shared, maxshared=1)
one, two = pool.connection(), pool.connection()
work(one)
two.close()
one.close()  # here
""", "-X", "dev")
    assert told == marks


def test_the_last_one_in_turn_is_told(run):
    told, marks = run("""
pool = simple_pooled_db.PooledDB(Module(3), 1)
one, two = pool.connection(), pool.connection()
work(one)
one.close()
two.close()  # here
three = pool.connection()
three.close()  # it has only found that work
""", "-X", "dev")
    assert told == marks


def test_one_in_turn_who_was_dropped_is_not_waited_for(run):
    told, marks = run("""
pool = simple_pooled_db.PooledDB(Module(3), 1)
one, two = pool.connection(), pool.connection()
work(one)
del one
two.close()  # here
""", "-X", "dev")
    assert told == marks


def test_the_next_borrower_of_a_simple_pool_is_not_blamed(run):
    told, marks = run("""
pool = simple_pooled_db.PooledDB(Module(1), 1)
db = pool.connection()
work(db)
db.close()  # here
db = pool.connection()
read(db)
db.close()
db = pool.connection()
db.rollback()
db.close()
db = pool.connection()
work(db)
db.close()  # here
""", "-X", "dev")
    assert told == marks


def test_a_dropped_connection_of_a_simple_pool_is_told(run):
    told, marks = run("""
pool = simple_pooled_db.PooledDB(Module(1), 1)
db = pool.connection()
work(db)
del db  # here
""", "-X", "dev")
    assert told == marks


def test_what_a_simple_pool_cannot_know_is_not_told(run):
    """Without autocommit a transaction is open also after reading."""
    if sys.version_info < (3, 12):
        pytest.skip("this sqlite3 has no such attribute")
    assert run("""
def connect_strictly():
    return sqlite3.connect(file, autocommit=False)
Module.connect = staticmethod(connect_strictly)
pool = simple_pooled_db.PooledDB(Module(1), 1)
db = pool.connection()
read(db)
db.close()
""", "-X", "dev")[0] == []


# Connections of threads.

@pytest.mark.parametrize("threadlocal", ["None", "threading.local"])
def test_the_end_of_a_thread_tells_where_it_took_its_connection(
        run, threadlocal):
    told, marks = run(f"""
closed = threading.Semaphore(0)
class Connection(sqlite3.Connection):
    def close(self):
        super().close()
        closed.release()
def shared():
    return sqlite3.connect(file, check_same_thread=False, factory=Connection)
shared.dbapi, shared.threadsafety = sqlite3, 2
pool = persistent_db.PersistentDB(shared, threadlocal={threadlocal})
def use():
    read(pool.connection())
    work(pool.connection())  # here
def use_well():
    work(pool.connection())
    pool.connection().commit()
for target in use, use_well:
    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    del thread
    pool.connection()  # the data of the last thread are kept until now
    assert closed.acquire(timeout=60)
""", "-X", "dev")
    assert told == marks


def test_a_close_that_does_not_roll_back_tells_nothing(run):
    """Such a connection keeps its work, and the thread can go on."""
    assert run("""
pool = persistent_db.PersistentDB(shared)
db = pool.connection()
work(db)
db.close()
db.commit()
""", "-X", "dev")[0] == []


def test_a_close_that_rolls_back_is_told(run):
    told, marks = run("""
pool = persistent_db.PersistentDB(shared)
db = pool.connection()
db.begin()
work(db)
db.close()  # here
""", "-X", "dev")
    assert told == marks


def test_a_warning_that_is_an_error_loses_no_place(run):
    told, marks = run("""
warnings.filterwarnings("error", "A connection was given back")
pool = pooled_db.PooledDB(shared, maxshared=1, maxconnections=1)
simple = simple_pooled_db.PooledDB(Module(1), 1)
for pool in pool, simple:
    db = pool.connection()
    work(db)
    try:
        db.close()
    except ResourceWarning:
        db = pool.connection()
        db.rollback()
        db.close()
    else:
        raise AssertionError
""", "-X", "dev")
    assert told == marks == []
