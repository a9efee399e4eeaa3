"""What a borrower did to its session reaches nobody else, nor is it lost.

A change of the session is made in one of several ways.  The next borrower
finds the session as it was at the beginning.  If the session is killed during
the visit, the change is done again on the new one, or one error is raised.
"""

import sqlite3

import drivers
import pytest
from drivers import ask

from dbutils.persistent_db import PersistentDB
from dbutils.pooled_db import PooledDB
from dbutils.steady_db import connect

pytestmark = pytest.mark.filterwarnings(
    "ignore:DB-API extension", "ignore:'set_charset' is deprecated")
kept = []


def of_cursor(db, name):
    """Return the connection of a driver's cursor that is kept open."""
    cursor = db.cursor()
    kept[:] = [cursor]
    return getattr(cursor, name).connection


# How programs reach what they change.
REACHES = {
    "lease": lambda db: db,
    "dbapi_connection": lambda db: db.dbapi_connection,
    "_con._con": lambda db: db._con._con,
    "cursor.connection": lambda db: of_cursor(db, "dbapi_cursor"),
    "cursor._cursor": lambda db: of_cursor(db, "_cursor"),
}


class Change:
    """A change of a session, and how it is seen."""

    def __init__(self, name, act, question, on_lease=True):
        self.name = name
        self.act = act
        self.question = question
        self.on_lease = on_lease

    def __repr__(self):
        return self.name

    def see(self, db):
        """Return what is to be seen of the change, if a question tells it."""
        return ask(db, self.question)


def call(name, *args, **kwargs):
    """Return what calls a method."""
    text = ", ".join(
        [*map(repr, args), *(f"{key}={kwargs[key]!r}" for key in kwargs)])
    function = lambda con: getattr(con, name)(*args, **kwargs)  # noqa: E731
    return f"{name}({text})", function


def assign(name, value):
    """Return what changes an attribute."""
    return f"{name}={value!r}", lambda con: setattr(con, name, value)


def execute(sql):
    """Return what executes a statement."""
    return sql, lambda con: con.cursor().execute(sql)


ISOLATION = "show transaction_isolation"
READ_ONLY = "show transaction_read_only"
DEFERRABLE = "show transaction_deferrable"
AUTOCOMMIT = "select @@autocommit"
CHARSET = "select @@character_set_client"
DATABASE = "select database()"
# In PostgreSQL, two statements of one transaction begin at the same time.
STORES = "autocommit"

CHANGES = {
    "psycopg2": [
        (assign("autocommit", True), STORES),
        (call("set_session", autocommit=True), STORES),
        (call("set_isolation_level", 0), STORES),
        (call("set_session", isolation_level="SERIALIZABLE"), ISOLATION),
        (call("set_session", readonly=True), READ_ONLY),
        (call("set_session", "SERIALIZABLE", deferrable=True), DEFERRABLE),
        (call("set_isolation_level", 3), ISOLATION),
        (assign("isolation_level", "REPEATABLE READ"), ISOLATION),
        (call("set_client_encoding", "LATIN1"), "show client_encoding"),
        (execute("set work_mem = '12MB'; commit"), "show work_mem"),
    ],
    "psycopg": [
        (assign("autocommit", True), STORES),
        (call("set_autocommit", True), STORES),
        (call("set_isolation_level", 4), ISOLATION),
        (call("set_read_only", True), READ_ONLY),
        (call("set_deferrable", True), DEFERRABLE),
        (execute("set work_mem = '12MB'; commit"), "show work_mem"),
    ],
    "pgdb": [
        (assign("autocommit", True), STORES),
        (execute("set work_mem = '12MB'; commit"), "show work_mem"),
    ],
    "pg8000.dbapi": [
        (assign("autocommit", True), STORES),
        (execute("set work_mem = '12MB'; commit"), "show work_mem"),
    ],
    "pymysql": [
        (call("autocommit", True), AUTOCOMMIT),
        (call("select_db", "mysql"), DATABASE),
        (call("set_character_set", "latin1"), CHARSET),
        (call("set_character_set", "utf8mb4", "utf8mb4_bin"),
         "select @@collation_connection"),
        (execute("use mysql"), DATABASE),
        (execute("set autocommit = 1"), AUTOCOMMIT),
        (execute("set @mine = 1"), "select @mine"),
    ],
    "mysql.connector": [
        (assign("autocommit", True), AUTOCOMMIT),
        (assign("database", "mysql"), DATABASE),
        (assign("sql_mode", "ANSI"), "select @@sql_mode"),
        (assign("time_zone", "+05:00"), "select @@time_zone"),
        (call("cmd_init_db", "mysql"), DATABASE),
        (call("set_charset_collation", "latin1"), CHARSET),
        (call("cmd_change_user", "root", "", "mysql"), DATABASE),
        (execute("use mysql"), DATABASE),
        (execute("set autocommit = 1"), AUTOCOMMIT),
        (execute("set @mine = 1"), "select @mine"),
    ],
}
CASES = [
    pytest.param(drivers.BY_NAME[name], Change(*act, question), reach,
                 id=f"{name}-{reach}-{act[0]}")
    for name, changes in CHANGES.items()
    for act, question in changes for reach in REACHES
    if not (reach.startswith("cursor") and name == "mysql.connector")]
all_ways = pytest.mark.parametrize(
    ("driver", "change", "reach"), CASES, indirect=["driver"])


@pytest.fixture
def make_pool(driver):
    """Make a pool that has one connection, and close it again."""
    pools = []

    def make(creator=None, **options):
        pool = PooledDB(
            creator or driver.load(), maxconnections=1, **options,
            **driver.parameters())
        pools.append(pool)
        return pool
    yield make
    for pool in pools:
        pool.close()


def insert(db, table, number):
    ask(db, f"insert into {table} values (%s, 1)", number)


def numbers_in(driver, table):
    return [row[0] for row in driver.run(f"select id from {table} order by 1")]


def set_autocommit(driver, con, value=True):
    """Change the mode in the way of the driver."""
    if driver.name == "pymysql":
        con.autocommit(value)
    else:
        con.autocommit = value


def stores(driver, db, name):
    """Tell whether a row is stored without being committed."""
    table = driver.new_table(name)
    insert(db, table, 1)
    stored = bool(numbers_in(driver, table))
    db.rollback()
    return stored


def see(driver, db, change):
    """Return what is to be seen of a change."""
    if change.question == STORES:
        return stores(driver, db, "seen")
    seen = ask(db, change.question)
    db.rollback()
    return seen


@all_ways
def test_the_next_borrower_finds_the_session_as_it_was(
        make_pool, driver, change, reach):
    pool = make_pool()
    with pool.connection() as db:
        before = see(driver, db, change)
    with pool.connection() as db:
        change.act(REACHES[reach](db))
        db.rollback()
        assert see(driver, db, change) != before
    with pool.connection() as db:
        assert see(driver, db, change) == before


@all_ways
def test_a_change_survives_a_kill_or_one_error_is_raised(
        make_pool, driver, change, reach):
    pool = make_pool()
    with pool.connection() as db:
        before = see(driver, db, change)
    with pool.connection() as db:
        session = ask(db, driver.who_am_i)
        db.rollback()
        change.act(REACHES[reach](db))
        db.rollback()
        driver.kill(session)
        errors = []
        for _ in range(2):
            try:
                seen = see(driver, db, change)
                break
            except driver.error as error:
                errors.append(error)
        assert errors or seen != before
        assert len(errors) <= 1
    with pool.connection() as db:
        assert see(driver, db, change) == before


AUTOCOMMITS = [case for case in CASES if "autocommit" in case.id or (
    "set_isolation_level(0)" in case.id)]


@pytest.mark.parametrize(
    ("driver", "change", "reach"), AUTOCOMMITS, indirect=["driver"])
@pytest.mark.parametrize("ping", [1, 0])
def test_no_row_that_was_told_to_be_stored_is_lost(
        make_pool, driver, change, reach, ping):
    table = driver.new_table("told")
    told = []

    def tell(number):
        insert(db, table, number)
        told.append(number)

    with make_pool(ping=ping).connection() as db:
        session = ask(db, driver.who_am_i)
        db.rollback()
        change.act(REACHES[reach](db))
        tell(0)
        driver.kill(session)
        try:
            tell(1)
        except driver.error:
            if "set autocommit" in repr(change):  # a program can know that
                change.act(db)
        tell(2)
        tell(3)
    assert numbers_in(driver, table) == told


@pytest.mark.parametrize("reach", ["dbapi_connection", "_con._con"])
def test_what_was_changed_before_an_error_holds_after_it(driver, reach):
    """A long-lived connection goes on in the mode that was set directly."""
    db = connect(driver.load(), **driver.parameters())
    table = driver.new_table("goes_on")
    session = ask(db, driver.who_am_i)
    db.rollback()
    raw = db.dbapi_connection if reach == "dbapi_connection" else db._con
    set_autocommit(driver, raw)
    errors = 0
    for number in range(3):
        driver.kill(session)
        try:
            insert(db, table, number)
        except driver.error:
            errors += 1
        session = ask(db, driver.who_am_i)
    assert numbers_in(driver, table) == [0, 1, 2][errors:]
    assert errors <= 1
    db._close()


def test_a_setting_that_was_handed_out_is_found_after_being_replaced(driver):
    """A connection of which only settings are handed out fails over."""
    persistent = PersistentDB(
        driver.load(), closeable=True, **driver.parameters())
    db = persistent.connection()
    session = ask(db, driver.who_am_i)
    db.rollback()
    set_autocommit(driver, db)
    table = driver.new_table("replaced")
    for number in range(3):
        driver.kill(session)
        try:
            insert(db, table, number)
        except driver.error:
            assert db._line._watch is None  # this build hides its socket
            insert(db, table, number)
        session = ask(db, driver.who_am_i)
    assert numbers_in(driver, table) == [0, 1, 2]
    db.close()


def test_only_looking_keeps_the_connection(make_pool, driver):
    pool = make_pool(setsession=[{
        "postgresql": "set work_mem = '7MB'",
        "mariadb": "set @mine = 7"}[driver.family]])
    question = {"postgresql": "show work_mem", "mariadb": "select @mine"}[
        driver.family]
    with pool.connection() as db:
        session = ask(db, driver.who_am_i)
        raw = db.dbapi_connection
        prepared = ask(db, question)
    with pool.connection() as db:
        assert ask(db, driver.who_am_i) == session
        assert ask(db, question) == prepared
        assert db._con._con is raw


def test_what_the_creator_has_prepared_stays(make_pool, driver):
    """A session that only its creator can prepare is not reset."""
    statement, question = {
        "postgresql": ("set work_mem = '7MB'", "show work_mem"),
        "mariadb": ("set @mine = 7", "select @mine")}[driver.family]

    def creator(**parameters):
        con = driver.load().connect(**parameters)
        cursor = con.cursor()
        cursor.execute(statement)
        cursor.close()
        con.commit()
        return con

    creator.dbapi = driver.load()
    pool = make_pool(creator)
    for _ in range(3):
        with pool.connection() as db:
            assert str(ask(db, question)).startswith("7")
            assert db._con._con is db.dbapi_connection
    with pool.connection() as db:
        session = ask(db, driver.who_am_i)
        db.rollback()
        set_autocommit(driver, db.dbapi_connection)
    with pool.connection() as db:
        assert not stores(driver, db, "by_creator")
        assert str(ask(db, question)).startswith("7")
    if driver.name != "mysql.connector":
        with pool.connection() as db:
            assert ask(db, driver.who_am_i) == session


@pytest.mark.parametrize("driver", drivers.MARIADB, indirect=True, ids=repr)
@pytest.mark.parametrize("statements", [
    ["use mysql"], ["set autocommit = 1"], ["use mysql", "set autocommit=1"]])
def test_the_session_begins_as_setsession_says(make_pool, driver, statements):
    driver.run("create database if not exists other")
    pool = make_pool(setsession=["use other", "set autocommit = 1"])
    for _ in range(2):
        with pool.connection() as db:
            assert ask(db, DATABASE) == "other"
            assert ask(db, AUTOCOMMIT) == 1
            for statement in statements:
                ask(db, statement)
            ask(db, "set autocommit = 0")
    with pool.connection() as db:
        set_autocommit(driver, db, False)
    with pool.connection() as db:
        assert ask(db, DATABASE) == "other"
        assert ask(db, AUTOCOMMIT) == 1


@pytest.mark.parametrize("driver", drivers.MARIADB, indirect=True, ids=repr)
def test_a_session_without_a_database_gets_none(driver):
    parameters = driver.parameters()
    del parameters["database"]
    pool = PooledDB(driver.load(), maxconnections=1, **parameters)
    for _ in range(2):
        with pool.connection() as db:
            assert ask(db, DATABASE) is None
            ask(db, "use mysql")
    with pool.connection() as db:
        assert ask(db, DATABASE) is None
        session = ask(db, driver.who_am_i)
        ask(db, "set @mine = 1")
    with pool.connection() as db:
        assert ask(db, "select @mine") is None
        assert ask(db, driver.who_am_i) == session
    pool.close()


def test_a_change_that_fails_is_an_error_and_changes_nothing(
        make_pool, driver):
    name, value = {
        "psycopg2": ("set_client_encoding", "nonsense"),
        "psycopg": ("set_isolation_level", 99),
        "pymysql": ("select_db", "nonsense"),
        "mysql.connector": ("cmd_init_db", "nonsense")}.get(
            driver.name, (None, None))
    if name is None:
        pytest.skip("this driver has no such method")
    with make_pool().connection() as db:
        with pytest.raises((driver.error, ValueError, LookupError)):
            getattr(db, name)(value)
        db.rollback()
        assert ask(db, "select 1") == 1


def test_methods_that_change_nothing_are_still_none_of_the_lease(
        make_pool, driver):
    with make_pool().connection() as db, pytest.raises(AttributeError):
        db.set_no_such_thing  # noqa: B018 - only reading it


class TestSqlite:
    @pytest.fixture
    def pool(self, tmp_path):
        pool = PooledDB(
            sqlite3, maxconnections=1, database=str(tmp_path / "db"))
        yield pool
        pool.close()

    def test_what_cannot_be_undone_does_not_reach_the_next(self, pool):
        seen = []
        with pool.connection() as db:
            db.set_trace_callback(seen.append)
            ask(db, "select 1")
        assert seen
        del seen[:]
        with pool.connection() as db:
            ask(db, "select 2")
        assert seen == []

    @pytest.mark.parametrize("reach", ["lease", "dbapi_connection"])
    def test_attributes_are_changed_back(self, pool, reach):
        with pool.connection() as db:
            raw = db.dbapi_connection
        with pool.connection() as db:
            REACHES[reach](db).row_factory = sqlite3.Row
            REACHES[reach](db).isolation_level = None
        with pool.connection() as db:
            assert db.dbapi_connection is raw
            assert raw.row_factory is None
            assert raw.isolation_level == ""
