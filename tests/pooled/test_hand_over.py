"""What a borrower does to a session does not reach the next one."""

import sys
from types import ModuleType, SimpleNamespace

import drivers
import pytest
from drivers import ask

from dbutils._steady.state import LOST
from dbutils.pooled_db import InvalidConnectionError, PooledDB
from dbutils.steady_db import connect


@pytest.fixture
def make_pool(driver):
    """Make a pool that has one connection, and close it again."""
    pools = []

    def make(**options):
        pool = PooledDB(
            driver.load(), maxconnections=1, **options, **driver.parameters())
        pools.append(pool)
        return pool
    yield make
    for pool in pools:
        pool.close()


# What is changed in PostgreSQL with a statement, and how that is seen.
CHANGES = {
    "setting": ("set work_mem = '12MB'", "show work_mem"),
    "role": ("set role pg_monitor", "select current_user"),
    "search path": (
        "select set_config('search_path', 'tenant_a', false)",
        "show search_path"),
    "temporary table": (
        "create temporary table mine (id integer)",
        "select count(*) from pg_class where relname = 'mine'"),
    "advisory lock": (
        "select pg_advisory_lock(42)",
        "select count(*) from pg_locks where locktype = 'advisory'"),
    "listen": (
        "listen to_me", "select count(*) from pg_listening_channels()"),
    "prepared statement": (
        "prepare mine as select 1",
        "select count(*) from pg_prepared_statements where name = 'mine'"),
    "held cursor": (
        "declare mine cursor with hold for select 1",
        "select count(*) from pg_cursors where name = 'mine'"),
}


@pytest.mark.parametrize(
    "driver", drivers.POSTGRESQL, indirect=True, ids=repr)
class TestPostgreSql:
    @pytest.mark.parametrize("change", CHANGES)
    def test_a_changed_session_is_cleaned(self, make_pool, change, driver):
        statement, question = CHANGES[change]
        pool = make_pool(setsession=["set lc_time = 'C'"])
        with pool.connection() as db:
            before = ask(db, question)
            session = ask(db, driver.who_am_i)
            ask(db, statement)
            db.commit()
            assert ask(db, question) != before
        with pool.connection() as db:
            assert ask(db, question) == before
            assert ask(db, driver.who_am_i) == session
            assert ask(db, "show lc_time") == "C"
        assert driver.sessions_in_transaction() == 0

    def test_a_session_can_always_be_cleaned(self, make_pool, driver):
        pool = make_pool(reset="session")
        with pool.connection() as db:
            raw = db.dbapi_connection.cursor()
            raw.execute("set work_mem = '12MB'")
            raw.close()
            db.commit()
        with pool.connection() as db:
            assert ask(db, "show work_mem") != "12MB"

    def test_statements_go_on_to_work_after_a_cleaning(
            self, make_pool, driver):
        pool = make_pool()
        for _ in range(3):
            with pool.connection() as db:
                for number in range(8):  # psycopg prepares what comes often
                    assert ask(db, "select %s::integer + 1", number) \
                        == number + 1
                ask(db, "set work_mem = '12MB'")

    def test_an_unchanged_session_pays_nothing(self, make_pool, driver):
        pool = make_pool()
        with pool.connection() as db:
            ask(db, "prepare stays as select 1")
            db.commit()
            # as if nothing had been seen
            db._con._own_session.is_marked = False
        with pool.connection() as db:
            assert ask(db, CHANGES["prepared statement"][1].replace(
                "mine", "stays")) == 1


# The attributes of connections, with a value that is not the usual one.
ATTRIBUTES = [
    ("psycopg2", "autocommit", True), ("psycopg2", "isolation_level", 3),
    ("psycopg2", "readonly", True), ("psycopg2", "cursor_factory", "dict"),
    ("psycopg", "autocommit", True), ("psycopg", "isolation_level", 3),
    ("psycopg", "read_only", True), ("psycopg", "row_factory", "dict"),
    ("pgdb", "autocommit", True), ("pg8000.dbapi", "autocommit", True),
    ("pymysql", "autocommit", True),
]


def value_of(name, value):
    """Return the real value of a factory."""
    if value != "dict":
        return value
    if name == "psycopg2":
        from psycopg2.extras import DictCursor

        return DictCursor
    from psycopg.rows import dict_row

    return dict_row


@pytest.mark.parametrize(
    ("driver", "attribute", "value"),
    [(drivers.BY_NAME[name], *rest) for name, *rest in ATTRIBUTES],
    indirect=["driver"], ids=str)
class TestAttributes:
    @staticmethod
    def read(driver, db, attribute):
        if driver.name == "pymysql":
            return db.dbapi_connection.get_autocommit()
        return getattr(db, attribute)

    def test_an_attribute_reaches_the_driver_and_is_changed_back(
            self, make_pool, driver, attribute, value):
        value = value_of(driver.name, value)
        pool = make_pool()
        with pool.connection() as db:
            before = self.read(driver, db, attribute)
            assert before != value
            setattr(db, attribute, value)
            assert self.read(driver, db, attribute) == value
            raw = db.dbapi_connection
        with pool.connection() as db:
            assert db.dbapi_connection is raw
            assert self.read(driver, db, attribute) == before

    def test_an_attribute_survives_a_reconnect(
            self, make_pool, driver, attribute, value):
        value = value_of(driver.name, value)
        pool = make_pool()
        with pool.connection() as db:
            before = self.read(driver, db, attribute)
            setattr(db, attribute, value)
            raw = db.dbapi_connection
            db._con._own_session.enter(LOST)
            db._con.valid = False
            cursor = db.cursor()
            assert db.dbapi_connection is not raw
            cursor.close()
            assert self.read(driver, db, attribute) == value
            raw = db.dbapi_connection
        with pool.connection() as db:
            assert db.dbapi_connection is raw
            assert self.read(driver, db, attribute) == before

    def test_an_attribute_set_behind_our_back_is_changed_back_too(
            self, make_pool, driver, attribute, value):
        value = value_of(driver.name, value)
        pool = make_pool()
        with pool.connection() as db:
            before = self.read(driver, db, attribute)
            raw = db.dbapi_connection
            if driver.name == "pymysql":
                raw.autocommit(value)
            else:
                setattr(raw, attribute, value)
        with pool.connection() as db:
            assert db.dbapi_connection is raw
            assert self.read(driver, db, attribute) == before


def test_what_autocommit_stores_is_stored(make_pool, driver):
    if driver.name == "mysql.connector":
        pytest.skip("reading this attribute would ask the server")
    table = driver.new_table("stored")
    with make_pool().connection() as db:
        db.autocommit = True
        ask(db, f"insert into {table} values (1, 1)")
    assert driver.run(f"select id from {table}") == [(1,)]


@pytest.mark.parametrize("driver", drivers.MARIADB, indirect=True, ids=repr)
def test_a_mariadb_session_that_was_changed_is_not_handed_on(
        make_pool, driver):
    pool = make_pool(setsession=["set lc_time_names = 'de_DE'"])
    with pool.connection() as db:
        ask(db, "set @mine = 1, sql_mode = ''")
        ask(db, "create temporary table mine (id integer)")
        db.commit()
    with pool.connection() as db:
        assert ask(db, "select @mine") is None
        assert ask(db, "select @@lc_time_names") == "de_DE"
        with pytest.raises(driver.error):
            ask(db, "select * from mine")


def test_a_callable_cleans_what_it_likes(make_pool, driver):
    seen = []

    def clean(con):
        seen.append(con)
        if len(seen) == 2:
            raise RuntimeError

    pool = make_pool(reset=clean)
    for _ in range(3):
        with pool.connection() as db:
            ask(db, "select 1")
            db.rollback()
    assert len(seen) == 3
    assert seen[0] is seen[1]  # it was not clean afterwards
    assert seen[1] is not seen[2]


def test_a_session_that_was_changed_is_not_replaced_silently(driver):
    db = connect(driver.load(), **driver.parameters())
    session = ask(db, driver.who_am_i)
    db.commit()
    ask(db, {"postgresql": "set role pg_monitor",
             "mariadb": "set sql_mode = ''"}[driver.family])
    db.commit()
    driver.kill(session)
    with pytest.raises(driver.error) as info:
        ask(db, "select 1")
    assert "changed the session" in "".join(info.value.__notes__)
    db.rollback()
    assert ask(db, "select 1") == 1
    db.close()


def test_an_attribute_of_the_program_stays_with_its_lease(make_pool, driver):
    pool = make_pool()
    with pool.connection() as db:
        db.my_own = 1
        assert db.my_own == 1
    with pool.connection() as db:
        assert not hasattr(db, "my_own")


class WithAttributes:
    """A driver whose connections have a value, a method, and a secret."""

    threadsafety = 1
    Error = OperationalError = InterfaceError = InternalError = Exception

    class Connection:
        def __init__(self):
            self.colour = "red"
            self._hidden = 1

        def paint(self):
            """A method is none of the values."""

        def rollback(self):
            pass

        close = rollback

    def connect(self):
        return self.Connection()


def test_a_value_of_an_unknown_driver_can_be_read_and_changed():
    pool = PooledDB(WithAttributes())
    with pool.connection() as db:
        assert db.colour == "red"
        db.colour = "blue"
        assert db.dbapi_connection.colour == "blue"
        raw = db.dbapi_connection
        assert db.paint() is None  # a method of the driver
        db.paint = "of one's own"
        assert db.paint == "of one's own"
        assert raw.paint() is None
    with pool.connection() as db:
        assert db.dbapi_connection is raw
        assert db.colour == "red"
        assert db.paint() is None


def test_a_borrowed_connection_can_be_marked_as_not_valid():
    pool = PooledDB(WithAttributes())
    with pool.connection() as db:
        raw = db.dbapi_connection
        assert db.valid
        db.valid = False
        assert not db._con.valid
    with pool.connection() as db:
        assert db.dbapi_connection is not raw


@pytest.fixture
def declared(monkeypatch):
    """A driver that nobody knows, but that declares to be one."""
    module = ModuleType("declared")
    connection = type("Connection", (WithAttributes.Connection,), {
        "__module__": module.__name__, "commit": lambda con: None,
        "cursor": lambda con: SimpleNamespace(
            execute=lambda sql: None, close=lambda: None)})
    made = []

    def connect():
        made.append(connection())
        return made[-1]

    module.__dict__.update(
        {name: value for name, value in vars(WithAttributes).items()
         if not name.startswith("__")},
        apilevel="2.0", paramstyle="qmark", connect=connect, made=made)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


@pytest.mark.parametrize("reset", [False, True])
def test_a_value_of_a_declared_driver_does_not_reach_the_next(declared, reset):
    pool = PooledDB(declared, reset=reset)
    with pool.connection() as db:
        db.colour = "blue"
        assert db.colour == "blue"
    with pool.connection() as db:
        assert db.colour == "red"
    assert len(declared.made) == 1


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(("sql", "sessions"), [
    ("select 1", 1), ("set search_path to mine", 2)])
def test_a_session_of_a_declared_driver_that_was_changed_does_not_stay(
        declared, reset, sql, sessions):
    pool = PooledDB(declared, reset=reset)
    with pool.connection() as db:
        db.cursor().execute(sql)
    pool.connection().close()
    assert len(declared.made) == sessions


def test_a_connection_that_is_drained_in_a_vain_rollback_does_not_stay(
        declared):
    """A driver without transactions may refuse the rollback."""
    class NotSupportedError(Exception):
        pass

    def rollback():
        pool.drain()
        raise NotSupportedError

    pool = PooledDB(declared)
    db = pool.connection()
    declared.made[0].rollback = rollback
    db.close()
    assert (pool.stats().idle, pool.stats().in_use) == (0, 0)
    pool.connection().close()
    assert len(declared.made) == 2
    assert pool.stats().idle == 1


def test_what_no_driver_knows_is_kept_by_the_lease():
    pool = PooledDB(WithAttributes())
    lease = pool.connection()
    lease.note = "mine"
    assert lease.note == "mine"
    lease.colour = "green"
    raw = lease.dbapi_connection
    lease.close()
    lease.colour = "black"
    assert lease.note == "mine"
    assert raw.colour == "red"
    assert type(lease).colour.__get__(None) is type(lease).colour


def test_a_closed_lease_shows_nothing_of_its_connection():
    pool = PooledDB(WithAttributes())
    lease = pool.connection()
    lease.close()
    with pytest.raises(InvalidConnectionError, match="'colour'"):
        lease.colour  # noqa: B018 - only reading it
