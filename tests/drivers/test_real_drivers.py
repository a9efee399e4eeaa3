"""One contract for all drivers, on real servers."""

import os
import socket
from functools import partial

import drivers
import pytest
from drivers import ask, insert, numbers_in, ready

from dbutils._steady.statements import kind_of
from dbutils.persistent_db import PersistentDB
from dbutils.pooled_db import PooledDB
from dbutils.steady_db import connect

pytestmark = pytest.mark.portable


@pytest.fixture
def make(driver):
    """Make a steady connection, a pool, or a persistent one."""
    made = []

    def make(kind=connect, **options):
        thing = kind(driver.load(), **options, **driver.parameters())
        made.append(thing)
        return thing
    yield make
    for thing in made:
        if isinstance(thing, PooledDB):
            thing.close()
        else:
            con = thing.connection() if hasattr(thing, "thread") else thing
            con._close()


def notes_of(info):
    return "\n".join(getattr(info.value, "__notes__", ()))


def test_a_read_is_repeated_when_the_connection_was_lost(make, driver):
    db = make()
    session = ask(db, driver.who_am_i)
    db.commit()
    driver.kill(session)
    assert ask(db, "select 42") == 42
    assert ask(db, driver.who_am_i) != session


def test_a_read_is_repeated_without_looking_at_the_socket(make, driver):
    db = make(ping=0)
    session = ask(db, driver.who_am_i)
    driver.kill(session)
    assert ask(db, "select 42") == 42


def test_work_that_was_begun_is_not_torn_apart(make, driver):
    table = driver.new_table("torn")
    db = make()
    insert(db, table, 1)
    driver.kill(ask(db, driver.who_am_i))
    with pytest.raises(driver.error) as info:
        insert(db, table, 2)
    assert "not executed again" in notes_of(info)
    db.rollback()
    insert(db, table, 3)
    db.commit()
    assert numbers_in(driver, table) == [3]


def test_a_transaction_that_was_lost_cannot_be_committed(make, driver):
    table = driver.new_table("lost")
    db = make()
    insert(db, table, 1)
    driver.kill(ask(db, driver.who_am_i))
    with pytest.raises(driver.error):
        insert(db, table, 2)
    with pytest.raises(driver.error, match="nothing was committed"):
        db.commit()
    insert(db, table, 3)
    db.commit()
    assert numbers_in(driver, table) == [3]


def test_work_after_begin_is_not_torn_apart(make, driver):
    table = driver.new_table("begun")
    db = make()
    db.begin()
    driver.kill(ask(db, driver.who_am_i))
    with pytest.raises(driver.error) as info:
        ask(db, "select 1")
    assert "begin()" in notes_of(info)
    insert(db, table, 1)
    db.commit()
    assert numbers_in(driver, table) == [1]


def test_a_transaction_begins_on_a_live_connection(make, driver):
    table = driver.new_table("alive")
    db = make()
    if db._own_session._probe is None:
        pytest.skip("this build of the driver does not show its socket")
    session = ask(db, driver.who_am_i)
    db.commit()
    driver.kill(session)
    db.begin()
    insert(db, table, 1)
    db.commit()
    assert numbers_in(driver, table) == [1]


def test_a_dead_connection_is_replaced_before_a_write_is_sent(make, driver):
    table = driver.new_table("sent")
    db = make()
    session = ask(db, driver.who_am_i)
    db.commit()
    driver.kill(session)
    insert(db, table, 1)
    db.commit()
    assert numbers_in(driver, table) == [1]


@pytest.fixture
def quiet():
    """A socket with nothing to read."""
    here, there = socket.socketpair()
    with here, there:
        yield here


@pytest.mark.parametrize("sql", [
    "select 42", "drop table if exists no_such_table"])
def test_the_socket_of_another_is_not_taken_for_its_own(
        make, driver, quiet, sql):
    """When the driver has closed its socket, another one gets the number."""
    db = make()
    session, cursor = db._own_session, db.cursor()
    if session._probe is None:
        pytest.skip("this build of the driver does not show its socket")
    kind_of(sql)  # a statement that was not seen goes no fast way
    lost, number = session.con, session.descriptor
    lost.close()
    os.dup2(quiet.fileno(), number)
    try:
        with cursor.no_failover():
            cursor.execute(sql)
    finally:
        if session.descriptor != number:
            os.close(number)
    assert session.con is not lost


@pytest.mark.parametrize("kind", ["session", "work", "both", "exposed"])
def test_nothing_is_left_to_lose_after_close(make, driver, kind):
    table = driver.new_table("closed")
    db = make()
    for number in range(2):
        if kind == "exposed":
            ask(db.dbapi_connection, "select 1")
        if kind != "work":
            ask(db, "create temporary table mine (id integer)")
        if kind != "session":
            insert(db, table, number)
        db.close()
        assert ask(db, "select 42") == 42
    db.close()
    assert numbers_in(driver, table) == []


def test_an_error_of_a_statement_is_raised_as_it_is(make, driver):
    table = driver.new_table("wrong")
    db = make()
    insert(db, table, 1)
    with pytest.raises(driver.error) as info:
        insert(db, table, 1)
    assert not notes_of(info)
    if driver.family == "postgresql":
        with pytest.raises(driver.error, match="aborted"):
            insert(db, table, 2)
    db.rollback()
    assert numbers_in(driver, table) == []


def test_a_failed_transaction_in_which_nothing_was_done_is_begun_anew(
        make, driver):
    table = driver.new_table("anew")
    db = make()
    insert(db, table, 1)
    db.commit()
    for number in (2, 3):
        ask(db, "select 1")
        for _ in range(2):
            with pytest.raises(driver.error):
                insert(db, table, 1)
        insert(db, table, number)
        db.commit()
    assert numbers_in(driver, table) == [1, 2, 3]


@pytest.mark.parametrize("before", ["begin", "isolation", "no failover"])
def test_a_failed_transaction_is_not_always_begun_anew(make, driver, before):
    if driver.family != "postgresql":
        pytest.skip("other servers roll back only the statement")
    strict = (
        "set session characteristics as transaction isolation level"
        " repeatable read")
    db = make(
        setsession=[strict] if before == "isolation" else None,
        failover="never" if before == "no failover" else "safe")
    if before == "begin":
        db.begin()
    for sql in ("select nonsense", "select 1"):
        with pytest.raises(driver.error):
            ask(db, sql)
    db.rollback()
    assert ask(db, "select 1") == 1


def test_close_ends_a_failed_transaction(driver):
    table = driver.new_table("ended")
    persistent = PersistentDB(driver.load(), **driver.parameters())
    db = persistent.connection()
    insert(db, table, 1)
    with pytest.raises(driver.error):
        insert(db, table, 1)
    db.close()
    assert ask(db, "select 1") == 1
    db.rollback()


def test_a_statement_that_takes_too_long_is_not_executed_again(make, driver):
    sequence = "takes_too_long"
    driver.run(f"drop sequence if exists {sequence}")
    driver.run(f"create sequence {sequence}")
    prepare, slow = {
        "postgresql": (
            "set statement_timeout = 50",
            "select pg_sleep(5) from nextval('{}')"),
        "mariadb": (
            "set max_statement_time = 0.05",
            "select nextval({}), sleep(5)"),
    }[driver.family]
    db = make(setsession=[prepare])
    with pytest.raises(driver.error) as info:
        ask(db, slow.format(sequence))
    assert not notes_of(info)
    db.rollback()
    used = {"postgresql": f"select last_value from {sequence}",
            "mariadb": f"select nextval({sequence}) - 1"}[driver.family]
    assert driver.run(used)[0][0] == 1


def test_the_old_connection_is_closed_before_another_is_opened(driver):
    events = []

    def creator(**parameters):
        assert all(con_is_closed(con) for con in events)
        con = driver.load().connect(**parameters)
        events.append(con)
        return con

    def con_is_closed(con):
        try:
            con.cursor().execute("select 1")
        except (driver.error, AttributeError):
            return True
        return False

    creator.dbapi = driver.load()
    db = connect(creator, maxusage=2, **driver.parameters())
    session = ask(db, driver.who_am_i)
    db.commit()
    driver.kill(session)
    for _ in range(5):
        assert ask(db, "select 1") == 1
        db.rollback()
    assert len(events) > 2
    db.close()


@pytest.mark.parametrize(
    "driver", [drivers.BY_NAME["psycopg"]], indirect=True, ids=repr)
def test_the_driver_is_known_whatever_the_creator_is(driver):
    psycopg = driver.load()
    for creator in (
            psycopg, psycopg.connect, psycopg.Connection,
            psycopg.Connection.connect, partial(psycopg.connect),
            lambda **parameters: psycopg.connect(**parameters)):
        db = connect(creator, **driver.parameters())
        assert type(db._own_session.driver).__name__ == "_Psycopg"
        driver.kill(ask(db, driver.who_am_i))
        assert ask(db, "select 1") == 1
        db.close()


def test_the_preparation_of_the_session_survives_a_rollback(make, driver):
    statement, question, expected = {
        "postgresql": ("set search_path to tenant_a", "show search_path",
                       "tenant_a"),
        "mariadb": ("set lc_time_names = 'de_DE'",
                    "select @@lc_time_names", "de_DE"),
    }[driver.family]
    pool = make(PooledDB, setsession=[statement], maxconnections=1)
    for _ in range(3):
        with pool.connection() as db:
            assert ask(db, question) == expected
    assert driver.sessions_in_transaction() == 0


def test_the_next_borrower_does_not_have_the_role_of_the_last(make, driver):
    if not driver.run(
            "select 1 from {} where {} = 'clean_role'".format(*{
                "postgresql": ("pg_roles", "rolname"),
                "mariadb": ("mysql.user", "user")}[driver.family])):
        driver.run("create role clean_role")
    question = {
        "postgresql": "select current_user",
        "mariadb": "select current_role()"}[driver.family]
    pool = make(PooledDB, maxconnections=1)
    with pool.connection() as db:
        before = ask(db, question)
        ask(db, "set role clean_role")
        assert ask(db, question) == "clean_role"
    with pool.connection() as db:
        assert ask(db, question) == before


def test_what_psycopg2_was_told_does_not_reach_the_next_borrower(
        servers_running):
    driver = ready(drivers.BY_NAME["psycopg2"], servers_running)
    dbapi = driver.load()
    extensions = dbapi.extensions
    shouting = extensions.new_type((25,), "SHOUT", lambda text, _: text + "!")
    pool = PooledDB(dbapi, maxconnections=1, **driver.parameters())
    with pool.connection() as db:
        extensions.register_type(shouting, db.dbapi_connection)
        assert ask(db, "select 'hi'::text") == "hi!"
        ask(db, "listen news")
        db.commit()
        ask(db, "notify news")
        db.commit()
        ask(db, "select 1")  # before, older releases do not look for it
        assert db.notifies
    with pool.connection() as db:
        assert ask(db, "select 'hi'::text") == "hi"
        assert not db.notifies
    pool.close()


def test_a_type_of_a_creator_of_psycopg2_stays(servers_running):
    driver = ready(drivers.BY_NAME["psycopg2"], servers_running)
    dbapi = driver.load()
    extensions = dbapi.extensions

    def connect(**parameters):
        con = dbapi.connect(**parameters)
        extensions.register_type(
            extensions.new_type((25,), "ASK", lambda text, _: text + "?"),
            con)
        return con

    pool = PooledDB(connect, maxconnections=1, **driver.parameters())
    with pool.connection() as db:
        extensions.register_type(
            extensions.new_type((25,), "SHOUT", lambda text, _: text + "!"),
            db.dbapi_connection)
        assert ask(db, "select 'hi'::text") == "hi!"
    with pool.connection() as db:
        assert ask(db, "select 'hi'::text") == "hi?"
    pool.close()


def test_a_ping_leaves_no_transaction_open(make, driver):
    pool = make(PooledDB, ping="select 1", maxconnections=1)
    pool.connection().close()
    with pool.connection():
        assert driver.sessions_in_transaction() == 0


def test_an_idle_connection_that_was_killed_is_not_handed_out(make, driver):
    pool = make(PooledDB, maxconnections=1)
    with pool.connection() as db:
        session = ask(db, driver.who_am_i)
    driver.kill(session)
    with pool.connection() as db, db.cursor() as cursor:
        with cursor.no_failover():
            cursor.execute(driver.who_am_i)
        assert cursor.fetchone()[0] != session


def test_rotation_waits_for_the_end_of_a_transaction(make, driver):
    table = driver.new_table("rotated")
    db = make(maxusage=2)
    for number in range(5):
        insert(db, table, number)
    db.rollback()
    assert numbers_in(driver, table) == []
    for number in range(5):
        insert(db, table, number)
    db.commit()
    assert numbers_in(driver, table) == [0, 1, 2, 3, 4]


def test_parameters_that_can_be_read_once_are_not_read_again(make, driver):
    if driver.name == "mysql.connector":
        pytest.skip("this driver wants a list in some of its builds")
    table = driver.new_table("given_once")
    db = make(ping=0)
    cursor = db.cursor()
    driver.kill(ask(db, driver.who_am_i))
    rows = ((number,) for number in range(3))
    with pytest.raises(driver.error) as info:
        cursor.executemany(f"insert into {table} values (%s, 1)", rows)
    assert "not executed again" in notes_of(info)
    assert numbers_in(driver, table) == []


def test_never_means_that_nothing_is_repeated(make, driver):
    db = make(failover="never", ping=0)
    driver.kill(ask(db, driver.who_am_i))
    with pytest.raises(driver.error) as info:
        ask(db, "select 42")
    assert "never" in notes_of(info)
    assert ask(db, "select 42") == 42


def test_always_means_what_it_meant_in_the_old_days(make, driver):
    table = driver.new_table("always")
    db = make(failover="always")
    insert(db, table, 1)
    driver.kill(ask(db, driver.who_am_i))
    try:
        insert(db, table, 2)
    except db.dbapi().Error:  # not all drivers take that as a failure
        return
    db.commit()
    assert numbers_in(driver, table) == [2]


def test_a_fresh_read_is_not_of_an_old_snapshot(make, driver):
    table = driver.new_table("fresh")
    level = {"postgresql": "set session characteristics as transaction"
             " isolation level repeatable read"}.get(driver.family)
    options = {"setsession": [level]} if level else {}
    persistent = make(PersistentDB, fresh=True, **options)
    count = f"select count(*) from {table}"
    assert ask(persistent.connection(), count) == 0
    driver.run(f"insert into {table} values (1, 1)")
    assert ask(persistent.connection(), count) == 1
    insert(persistent.connection(), table, 2)
    assert ask(persistent.connection(), count) == 2
    persistent.connection().rollback()
    assert ask(persistent.connection(), count) == 1


def test_a_question_of_the_program_is_asked_at_each_handing_out(driver):
    """Also if the server has just answered on the connection."""
    asked = []
    pool = PooledDB(
        driver.load(), ping=asked.append, **driver.parameters())
    for number in range(3):
        with pool.connection() as db:
            ask(db, "select 1")
        assert len(asked) == number
    pool.close()
