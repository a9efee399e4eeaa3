"""Classic PyGreSQL on a real server."""

import drivers
import pytest
from drivers import ready
from forking import in_child, needs_fork

from dbutils.persistent_pg import PersistentPg
from dbutils.pooled_pg import (
    CommitUnknownError,
    InvalidConnectionError,
    PooledPg,
)
from dbutils.steady_pg import SteadyPgConnection

SESSION = "select pg_backend_pid()"


@pytest.fixture
def driver(servers_running):
    driver = drivers.BY_NAME["pgdb"]
    ready(driver, servers_running)
    return driver


@pytest.fixture
def make(driver):
    """Make something out of the parameters for a connection."""
    made = []

    def make(kind=SteadyPgConnection, **options):
        thing = kind(
            dbname="postgres", host=drivers.HOST, port=driver.port,
            user="postgres", **options)
        made.append(thing)
        return thing
    yield make
    for thing in made:
        con = thing.connection() if isinstance(thing, PersistentPg) else thing
        getattr(con, "_close", con.close)()


def ask(db, sql):
    return db.query(sql).getresult()[0][0]


def notes_of(info):
    return "\n".join(getattr(info.value, "__notes__", ()))


def test_a_dead_connection_is_replaced_before_a_query_is_sent(make, driver):
    table = driver.new_table("pg_before")
    db = make()
    driver.kill(ask(db, SESSION))
    db.insert(table, id=1, value=1)
    assert ask(db, f"select count(*) from {table}") == 1


def test_a_read_is_repeated_without_looking_at_the_socket(make, driver):
    db = make(ping=0)
    session = ask(db, SESSION)
    driver.kill(session)
    assert ask(db, SESSION) != session


def test_a_write_is_not_repeated(make, driver):
    table = driver.new_table("pg_write")
    db = make(ping=0)
    driver.kill(ask(db, SESSION))
    with pytest.raises(Exception, match=r"(?i)terminat|closed") as info:
        db.insert(table, id=1, value=1)
    assert "executed already" in notes_of(info)
    db.insert(table, id=2, value=1)
    assert ask(db, f"select sum(id) from {table}") == 2


def test_a_transaction_is_not_torn_apart(make, driver):
    table = driver.new_table("pg_torn")
    db = make()
    db.begin()
    db.insert(table, id=1, value=1)
    driver.kill(ask(db, SESSION))
    with pytest.raises(Exception, match=r"(?i)terminat|closed") as info:
        db.insert(table, id=2, value=1)
    assert "begin()" in notes_of(info)
    db.rollback()
    db.insert(table, id=3, value=1)
    assert ask(db, f"select sum(id) from {table}") == 3


def test_a_transaction_begun_with_a_query_is_not_torn_apart(make, driver):
    table = driver.new_table("pg_query")
    db = make()
    db.query("begin")
    db.insert(table, id=1, value=1)
    driver.kill(ask(db, SESSION))
    with pytest.raises(Exception, match=r"(?i)terminat|closed"):
        ask(db, "select 1")
    assert ask(db, f"select count(*) from {table}") == 0


def test_a_transaction_begins_on_a_live_connection(make, driver):
    table = driver.new_table("pg_begin")
    for options in {}, {"ping": 0}:
        db = make(**options)
        driver.kill(ask(db, SESSION))
        with db:
            db.insert(table, id=len(options), value=1)
    assert ask(db, f"select count(*) from {table}") == 2


def test_a_lost_commit_says_that_the_outcome_is_unknown(make, driver):
    db = make()
    db.begin()
    driver.kill(ask(db, SESSION))
    with pytest.raises(Exception, match=r"(?i)terminat|closed") as info:
        db.commit()
    assert "unknown" in notes_of(info)
    assert ask(db, "select 1") == 1


def test_an_error_of_a_statement_is_raised_as_it_is(make):
    db = make()
    session = ask(db, SESSION)
    with pytest.raises(Exception, match=r"(?i)division") as info:
        db.query("select 1/0")
    assert not notes_of(info)
    assert ask(db, SESSION) == session


def test_a_changed_session_is_not_replaced_silently(make, driver):
    db = make()
    db.query("set role pg_monitor")
    driver.kill(ask(db, SESSION))
    with pytest.raises(Exception, match=r"(?i)terminat|closed") as info:
        ask(db, "select 1")
    assert "changed the session" in notes_of(info)
    assert ask(db, "select current_user") == "postgres"


def test_a_pool_hands_out_live_and_clean_connections(make, driver):
    pool = make(PooledPg, maxconnections=1, setsession=["set lc_time to 'C'"])
    with pool.connection() as db:
        session = ask(db, SESSION)
        db.query("set work_mem to '12MB'")
        db.query("begin")
    with pool.connection() as db:
        assert ask(db, "show work_mem") != "12MB"
        assert ask(db, "show lc_time") == "C"
        assert ask(db, SESSION) == session
    assert driver.sessions_in_transaction() == 0
    driver.kill(session)
    with pool.connection() as db:
        db.begin()
        assert ask(db, SESSION) != session
        db.rollback()


@pytest.mark.parametrize("reset", [0, 1, 2, "session"])
def test_a_pool_cleans_as_it_is_told(make, reset):
    pool = make(PooledPg, maxconnections=1, reset=reset)
    with pool.connection() as db:
        session = ask(db, SESSION)
        db.begin()
    with pool.connection() as db:
        assert (ask(db, SESSION) != session) == (reset == 2)


def test_a_pool_cleans_what_was_done_on_the_connection_below(make):
    """It is the attribute "db" of the class DB, also of the steady one."""
    pool = make(
        PooledPg, maxconnections=1,
        setsession=["set application_name = 'shop'"])
    questions = (
        SESSION, "select current_user", "show search_path",
        "show application_name")
    found = []
    for _ in range(2):
        with pool.connection() as db:
            found.append([ask(db, question) for question in questions])
            db.db.query("set role pg_monitor")
            db.db.query("set search_path = pg_catalog")
            db.db.query("set application_name = 'other'")
    assert found[0] == found[1]


@pytest.mark.parametrize("reset", [None, 1, 2])
def test_a_pool_restores_the_settings_of_the_driver(make, reset):
    pool = make(PooledPg, maxconnections=1, reset=reset)
    with pool.connection() as db:
        assert db.use_regtypes(True) is not False
        db.set_notice_receiver(print)
        assert (db.use_regtypes(), db.get_notice_receiver()) == (True, print)
    with pool.connection() as db:
        assert (db.use_regtypes(), db.get_notice_receiver()) == (False, None)


def test_looking_at_the_status_keeps_reads_repeatable(make, driver):
    db = make(ping=0)
    assert db.db.status
    session = ask(db, SESSION)
    driver.kill(session)
    assert ask(db, SESSION) != session


def test_whole_transactions_can_be_repeated(make, driver):
    def work(db):
        db.insert(table, id=1, value=1)
        if not calls:
            driver.kill(ask(db, SESSION))
        calls.append(db)
        db.insert(table, id=2, value=1)

    table = driver.new_table("pg_run")
    pool = make(PooledPg, maxconnections=1)
    calls = []
    pool.run(work)
    assert len(calls) == 2
    assert driver.run(f"select count(*) from {table}") == [(2,)]
    with pytest.raises(CommitUnknownError):
        pool.run(lambda db: driver.kill(ask(db, SESSION)))


def test_a_persistent_connection_is_looked_at(make, driver):
    persistent = make(PersistentPg)
    session = ask(persistent.connection(), SESSION)
    driver.kill(session)
    db = persistent.connection()
    with db:
        assert ask(db, SESSION) != session


def test_always_means_what_it_meant_in_the_old_days(make, driver):
    table = driver.new_table("pg_always")
    db = make(failover="always")
    driver.kill(ask(db, SESSION))
    db.insert(table, id=1, value=1)
    assert ask(db, f"select count(*) from {table}") == 1


@needs_fork
def test_a_child_opens_connections_of_its_own(make):
    db, pool = make(setsession=["set timezone to 'UTC'"]), make(PooledPg)
    lease = pool.connection()
    mine = {ask(db, SESSION), ask(lease, SESSION)}

    def work():
        with pytest.raises(InvalidConnectionError, match="parent process"):
            lease.query("select 1")
        with pool.connection() as other:
            return {ask(db, SESSION), ask(other, SESSION)}

    theirs = in_child(work)
    assert len(theirs) == 2
    assert not theirs & mine
    assert {ask(db, SESSION), ask(lease, SESSION)} == mine
    lease.close()
