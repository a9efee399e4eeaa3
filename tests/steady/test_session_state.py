"""What a borrower did to its session reaches nobody else, nor is it lost.

A change of the session is made in one of several ways.  The next borrower
finds the session as it was at the beginning.  If the session is killed during
the visit, the change is done again on the new one, or one error is raised.
"""

import sqlite3

import drivers
import pytest
from drivers import ask, ready

from dbutils.keyed_pool import SimpleConnectionPool
from dbutils.pooled_db import PooledDB
from dbutils.pooled_pg import PooledPg
from dbutils.steady_db import connect

pytestmark = [pytest.mark.portable, pytest.mark.filterwarnings(
    "ignore:DB-API extension", "ignore:'set_charset' is deprecated")]
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

    def __init__(self, name, act, question):
        self.name = name
        self.act = act
        self.question = question

    def __repr__(self):
        return self.name

    @property
    def method(self):
        """The name of the method that is called, if it is one."""
        name = self.name.partition("(")[0]
        return name if name.isidentifier() and name != self.name else None


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


@pytest.fixture
def steady(driver):
    """A steady connection that is closed at the end in any case."""
    db = connect(driver.load(), **driver.parameters())
    yield db
    db._close()


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


def skip_if_missing(change, pool):
    """Skip the test if the version of the driver has no such method."""
    method = change.method
    with pool.connection() as db:
        if method and not hasattr(db.dbapi_connection, method):
            pytest.skip("this version of the driver has no such method")


@all_ways
def test_the_next_borrower_finds_the_session_as_it_was(
        make_pool, driver, change, reach):
    pool = make_pool()
    with pool.connection() as db:
        before = see(driver, db, change)
    skip_if_missing(change, pool)
    with pool.connection() as db:
        change.act(REACHES[reach](db))
        db.rollback()
        assert see(driver, db, change) != before
    with pool.connection() as db:
        assert see(driver, db, change) == before
        assert not stores(driver, db, "seen")


@all_ways
def test_a_change_survives_a_kill_or_one_error_is_raised(
        make_pool, driver, change, reach):
    pool = make_pool()
    with pool.connection() as db:
        before = see(driver, db, change)
    skip_if_missing(change, pool)
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

    pool = make_pool(ping=ping)
    skip_if_missing(change, pool)
    with pool.connection() as db:
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
def test_what_was_changed_before_an_error_holds_after_it(
        steady, driver, reach):
    """A long-lived connection goes on in the mode that was set directly."""
    db = steady
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


def test_a_setting_that_is_known_is_no_reason_not_to_fail_over(
        steady, driver):
    db = steady
    session = ask(db, driver.who_am_i)
    db.rollback()
    set_autocommit(driver, db)
    table = driver.new_table("replaced")
    for number in range(3):
        driver.kill(session)
        try:
            insert(db, table, number)
        except driver.error:
            # this build hides its socket
            assert db._own_session._probe is None
            insert(db, table, number)
        session = ask(db, driver.who_am_i)
    assert numbers_in(driver, table) == [0, 1, 2]


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
            db.set_trace_callback(lambda text: seen.append(text))
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


@pytest.mark.parametrize(("name", "attribute", "make_value"), [
    ("pgdb", "cursor_type", lambda pgdb: type("Own", (pgdb.Cursor,), {})),
    ("pymysql", "use_unicode", lambda _: False),
    ("mysql.connector", "can_consume_results", lambda _: True)])
@pytest.mark.parametrize("reach", ["lease", "dbapi_connection"])
def test_attributes_of_other_drivers_are_changed_back(
        servers_running, name, attribute, make_value, reach):
    driver = ready(drivers.BY_NAME[name], servers_running)
    pool = PooledDB(driver.load(), maxconnections=1, **driver.parameters())
    value = make_value(driver.load())
    with pool.connection() as db:
        raw = db.dbapi_connection
        before = getattr(raw, attribute)
    assert before != value
    with pool.connection() as db:
        setattr(REACHES[reach](db), attribute, value)
    with pool.connection() as db:
        assert db.dbapi_connection is raw
        assert getattr(raw, attribute) == before
    pool.close()


@pytest.mark.filterwarnings("ignore:.*Query Attributes")  # of MariaDB
@pytest.mark.parametrize("reach", ["lease", "dbapi_connection"])
def test_attributes_of_queries_are_removed(servers_running, reach):
    """The server gets them with each statement."""
    driver = ready(drivers.BY_NAME["mysql.connector"], servers_running)
    pool = PooledDB(driver.load(), maxconnections=1, **driver.parameters())
    with pool.connection() as db:
        raw = db.dbapi_connection
        REACHES[reach](db).query_attrs_append(("user", "anna"))
        assert raw.query_attrs == [("user", "anna")]
    with pool.connection() as db:
        assert db.dbapi_connection is raw
        assert raw.query_attrs == []
    pool.close()


def test_what_only_mysql_connector_knows_is_restored(servers_running):
    driver = ready(drivers.BY_NAME["mysql.connector"], servers_running)
    pool = PooledDB(driver.load(), maxconnections=1, **driver.parameters())
    with pool.connection() as db:
        raw = db.dbapi_connection
        changes = {name: value for name, value in (
            ("can_consume_results", True), ("raise_on_warnings", True),
            ("use_unicode", False), ("read_timeout", 77),
            ("write_timeout", 78)) if hasattr(raw, name)}
        before = raw.get_warnings, [getattr(raw, name) for name in changes]
    for reach in ("lease", "dbapi_connection"):
        if reach != "lease":  # nothing tells that this one was changed
            del changes["can_consume_results"], before[1][0]
        with pool.connection() as db:
            for name, value in changes.items():
                setattr(REACHES[reach](db), name, value)
            assert raw.get_warnings
        with pool.connection() as db:
            assert db.dbapi_connection is raw
            after = [getattr(raw, name) for name in changes]
            assert (raw.get_warnings, after) == before
    pool.close()


def test_a_connection_of_another_user_is_not_kept(servers_running):
    driver = ready(drivers.BY_NAME["mysql.connector"], servers_running)
    driver.run("create user if not exists guest@'127.0.0.1'")
    driver.run("grant all on test.* to guest@'127.0.0.1'")
    question = "select substring_index(user(), '@', 1)"
    for reach in ("lease", "dbapi_connection"):
        pool = PooledDB(
            driver.load(), maxconnections=1, **driver.parameters())
        with pool.connection() as db:
            REACHES[reach](db).cmd_change_user("guest", "", "test")
            assert ask(db, question) == "guest"
        with pool.connection() as db:
            assert ask(db, question) == "root"
        pool.close()


def test_who_closes_the_driver_connection_gets_another_one(steady, driver):
    if driver.name == "mysql.connector":
        pytest.skip("this driver does not tell that it is closed")
    for reach in ("dbapi_connection", "_con"):
        getattr(steady, reach).close()
        assert ask(steady, "select 1") == 1
        steady.rollback()


def test_looking_with_the_pool_of_psycopg2_is_not_changing(servers_running):
    driver = ready(drivers.BY_NAME["psycopg2"], servers_running)
    pool = SimpleConnectionPool(1, 1, **driver.parameters())
    con = pool.getconn()
    assert not con.closed
    session = con.get_backend_pid()
    ask(con, "prepare stays as select 1")
    con.commit()
    con._con._own_session.is_marked = False  # as if nothing had been seen
    pool.putconn(con)
    con = pool.getconn()
    assert con.get_backend_pid() == session
    assert ask(con, "select count(*) from pg_prepared_statements") == 1
    con.rollback()
    con.set_session(readonly=True)
    pool.putconn(con)
    con = pool.getconn()
    assert not con.readonly
    con.set_session(autocommit=True)
    pool.putconn(con)
    assert pool.getconn().autocommit  # which stays, as with psycopg2.pool
    pool.closeall()


@pytest.mark.parametrize("failover", ["safe", "always"])
def test_a_parameter_of_classic_pygresql_does_not_reach_the_next(
        servers_running, failover):
    driver = ready(drivers.BY_NAME["pgdb"], servers_running)
    pool = PooledPg(
        1, 1, 1, dbname="postgres", host=drivers.HOST, port=driver.port,
        user="postgres", failover=failover,
        reset="session" if failover == "always" else None)
    with pool.connection() as db:
        before = db.get_parameter("work_mem")
        db.set_parameter("work_mem", 12345)
        assert db.get_parameter("work_mem") == "12345kB"
    with pool.connection() as db:
        assert db.get_parameter("work_mem") == before
    pool.close()


class Server:
    """Stands for the drivers that need another server, or a compiler."""

    apilevel, threadsafety, paramstyle = "2.0", 1, "format"
    Error = OperationalError = InterfaceError = InternalError = RuntimeError

    def __init__(self, module, **attributes):
        self.made = []
        self.kind = type("Connection", (FakeConnection,), dict(
            attributes, __module__=module, server=self))
        self.connect = self._connect

    def _connect(self, **options):
        con = self.kind()
        con.log, con.options = [], options
        self.made.append(con)
        return con


class FakeConnection:
    """A connection that notes what is done to it."""

    open = True

    def note(self, *call):
        self.log.append(call)

    def cursor(self):
        return FakeCursor()

    def rollback(self):
        pass

    def close(self):
        self.open = False


class FakeCursor:
    description = None

    def execute(self, *args):
        pass

    close = execute

    def fetchall(self):
        return [(None, None)]


def noting(name):
    """Return a method that is noted."""
    return lambda con, *args: con.note(name, *args)


class MySqlClientLike:
    """What the connections of mysqlclient have."""

    mode = False
    charset = "utf8mb4"

    def autocommit(self, value):
        self.mode = value

    def get_autocommit(self):
        return self.mode

    def character_set_name(self):
        return self.charset

    def set_character_set(self, charset, collation=""):
        self.charset = charset

    select_db = noting("select_db")
    set_sql_mode = noting("set_sql_mode")


def attributes_of(kind):
    return {
        name: value for name, value in vars(kind).items()
        if not name.startswith("__")}


@pytest.fixture
def mysqlclient():
    return Server("MySQLdb.connections", **attributes_of(MySqlClientLike))


@pytest.mark.parametrize("reach", ["lease", "dbapi_connection", "_con._con"])
class TestMySqlClient:
    def test_what_can_be_compared_is_changed_back(self, mysqlclient, reach):
        pool = PooledDB(mysqlclient, 1, database="mine")
        with pool.connection() as db:
            con = REACHES[reach](db)
            con.autocommit(True)
            con.set_character_set("latin1")
            raw = mysqlclient.made[0]
            assert (raw.mode, raw.charset) == (True, "latin1")
        with pool.connection() as db:
            assert (raw.mode, raw.charset) == (False, "utf8mb4")
        assert mysqlclient.made == [raw]

    def test_a_known_database_is_used_again(self, mysqlclient, reach):
        pool = PooledDB(mysqlclient, 1, db="mine")
        with pool.connection() as db:
            REACHES[reach](db).select_db("other")
        raw, = mysqlclient.made
        assert raw.open
        assert raw.log == [("select_db", "other"), ("select_db", "mine")]

    def test_without_a_known_database_the_connection_is_closed(
            self, mysqlclient, reach):
        pool = PooledDB(mysqlclient, 1)
        with pool.connection() as db:
            REACHES[reach](db).select_db("other")
        assert not mysqlclient.made[0].open


@pytest.mark.parametrize("statement", ["use other", "set autocommit = 1"])
def test_mysqlclient_has_no_reset_and_is_closed(mysqlclient, statement):
    pool = PooledDB(mysqlclient, 1, db="mine")
    with pool.connection() as db:
        ask(db, statement)
    assert not mysqlclient.made[0].open


def test_a_mode_without_a_way_back_closes_the_connection(mysqlclient):
    pool = PooledDB(mysqlclient, 1, db="mine")
    with pool.connection() as db:
        db.set_sql_mode("ansi")
    assert not mysqlclient.made[0].open


def test_what_was_called_is_called_again_on_a_new_connection(mysqlclient):
    pool = PooledDB(mysqlclient, 1, db="mine")
    with pool.connection() as db:
        db.autocommit(True)
        db.select_db("other")
        mysqlclient.made[0].open = False  # as if the server had gone
        ask(db, "insert")
        _, new = mysqlclient.made
        assert new.mode is True
        assert new.log == [("select_db", "other")]
    assert new.mode is False
    assert new.log[1:] == [("select_db", "mine")]


def stale(**attributes):
    """Return attributes for connections that do not know of their reset."""
    def reset(self):
        self.note("reset")
        self.server_autocommit = True

    def write(self, value):
        if value != self.mode:
            self.mode = self.server_autocommit = value

    return dict(
        attributes, mode=False, server_autocommit=False, reset=reset,
        autocommit=property(lambda self: self.mode, write),
        select_db=noting("select_db"))


@pytest.mark.parametrize("act", [
    lambda db: setattr(db.dbapi_connection, "autocommit", True),
    lambda db: (setattr(db, "autocommit", True), db.select_db("other")),
    lambda db: db.dbapi_connection.select_db("other"),
    lambda db: ask(db, "use other"), lambda db: ask(db, "set autocommit=1")])
def test_mariadb_is_reset_and_uses_its_database_again(act):
    server = Server("mariadb.connections", **stale())
    pool = PooledDB(server, 1, database="mine")
    with pool.connection() as db:
        act(db)
    raw, = server.made
    assert raw.open
    assert raw.server_autocommit is False
    assert raw.log[-2:] == [("reset",), ("select_db", "mine")]


def test_mariadb_is_closed_if_its_database_is_not_known():
    server = Server("mariadb.connections", **stale(database="other"))
    pool = PooledDB(server, 1)
    with pool.connection() as db:
        ask(db, "use other")
    assert not server.made[0].open


def test_pymssql_gets_its_mode_again():
    def autocommit(self, value):
        self.autocommit_state = value

    server = Server(
        "pymssql._pymssql", autocommit=autocommit, autocommit_state=False)
    pool = PooledDB(server, 1)
    for act in (lambda db: db.autocommit(True),
                lambda db: setattr(db, "autocommit", True),
                lambda db: db.dbapi_connection.autocommit(True)):
        with pool.connection() as db:
            act(db)
            assert server.made[0].autocommit_state is True
        assert server.made[0].autocommit_state is False
    assert len(server.made) == 1


def test_oracledb_is_closed_if_what_was_changed_cannot_be_read():
    def refuse(self):
        raise AttributeError

    server = Server(
        "oracledb.connection", autocommit=False, call_timeout=0,
        client_identifier=property(refuse, noting("client_identifier")))
    pool = PooledDB(server, 1)
    with pool.connection() as db:
        db.call_timeout = 5
    raw, = server.made
    assert raw.open
    assert raw.call_timeout == 0
    with pool.connection() as db:
        db.client_identifier = "me"
        assert raw.log == [("client_identifier", "me")]
    assert not raw.open


def test_pyodbc_is_closed_after_its_encoding_was_changed():
    server = Server(
        "pyodbc", autocommit=False, timeout=0, closed=False,
        setencoding=noting("setencoding"))
    pool = PooledDB(server, 1)
    with pool.connection() as db:
        db.setencoding("utf-8")
    raw, = server.made
    assert raw.log == [("setencoding", "utf-8")]
    assert not raw.open
