"""Drivers that are not known, less usual ones, and what wraps them."""

import logging
import subprocess
import sys
from types import SimpleNamespace

import pytest
import stand_ins
from stand_ins import SHAPES, Driver, Server, Shape, Wrapper, wrapped

from dbutils import drivers
from dbutils._drivers import registered, registry
from dbutils._drivers.registered import Registered
from dbutils._drivers.registry import driver_of, drivers_by_name
from dbutils._drivers.unknown import Wrapped
from dbutils._steady import policies
from dbutils._steady.account import Independent, OwnAccount
from dbutils._steady.classic import ClassicFailover
from dbutils._steady.liveness import ASK_SERVER
from dbutils._steady.safe import SafeFailover
from dbutils._steady.steady import session_of
from dbutils.pooled_db import PooledDB, TooManyConnectionsError
from dbutils.steady_db import connect

BY_NAME = {shape.name: shape for shape in SHAPES}


@pytest.fixture
def make():
    """Make a driver of some shape, with a server of its own."""
    made = []

    def make(shape, **changes):
        if isinstance(shape, str):
            shape = BY_NAME[shape]
        made.append(Driver(shape._replace(**changes), Server()))
        return made[-1]
    yield make
    for driver in made:
        driver.server.shut_down()


def execute(db, sql):
    db.cursor().execute(sql)


def session_in(driver):
    return driver.inner[-1]._session_of_test


# Which rules hold.

@pytest.mark.parametrize(("name", "rules"), [
    ("stranger", OwnAccount), ("adbc", OwnAccount), ("trino", SafeFailover),
    ("silent proxy", OwnAccount), ("bigquery", Independent),
    ("telling stranger", SafeFailover)])
def test_a_driver_follows_rules_that_fit(make, name, rules):
    db = connect(make(name))
    assert type(session_of(db).failover) is rules
    db.close()


def test_what_declares_nothing_behaves_as_in_the_old_days(make):
    db = connect(make("stranger", declares=False))
    assert isinstance(session_of(db).failover, ClassicFailover)
    assert not session_of(db).driver.is_telling
    db.close()


def test_never_is_never_with_any_driver(make):
    for name in ("stranger", "trino", "bigquery"):
        driver = make(name)
        db = connect(driver, failover="never")
        driver.server.fault = "select", 1, stand_ins.killed
        with pytest.raises(driver.Error):
            execute(db, "select 1")
        db.close()


def test_a_driver_is_found_behind_the_functions_of_a_program(make):
    driver = make("stranger", wraps="-")
    db = connect(lambda: driver.connect(), failures=driver.OperationalError)
    assert not session_of(db).driver.is_telling  # nothing says what it is
    sys.modules["a_stand_in"] = driver
    try:
        for name in stand_ins.ERRORS:
            getattr(driver, name).__module__ = "a_stand_in"
        db = connect(
            lambda: driver.connect(), failures=driver.OperationalError)
        assert session_of(db).driver.needs_account
    finally:
        del sys.modules["a_stand_in"]


def test_one_line_of_the_log_says_which_rules_hold(
        make, caplog, monkeypatch):
    monkeypatch.setattr(policies, "_told", set())
    caplog.set_level(logging.INFO, "dbutils")
    for name in ("stranger", "pinotdb", "telling stranger"):
        driver = make(name)
        for _ in range(2):
            connect(driver).close()
    connect(make("adbc", declares=True), failover="never").close()
    connect(make("stranger", module="a.mock", declares=False)).close()
    said = [record.getMessage() for record in caplog.records
            if record.levelno == logging.INFO]
    assert said == [
        ("nobody.knows does not tell whether work is open, so we keep"
         " account: failover='safe'."),
        "pinotdb.db has no transactions: failover='safe'.",
        "nobody.knows.telling tells whether work is open: failover='safe'.",
        ("adbc_driver_manager.dbapi does not tell whether work is open, so we"
         " keep account: failover='never'."),
        "a.mock is no DB-API 2 driver: failover='always'."]


def test_a_driver_that_pools_by_itself_is_warned_of(
        make, caplog, monkeypatch):
    monkeypatch.setattr(policies, "_told", set())
    manager = SimpleNamespace(is_enabled=lambda: True)
    monkeypatch.setitem(
        sys.modules, "mssql_python.pooling",
        SimpleNamespace(PoolingManager=manager))
    driver = make("mssql-python")
    connect(driver).close()
    assert "mssql_python.pooling(enabled=False)" in caplog.text
    caplog.clear()
    manager.is_enabled = lambda: False
    monkeypatch.setattr(policies, "_told", set())
    connect(driver).close()
    assert caplog.text == ""


# The account of open work.

def test_reads_are_no_work_and_all_else_is_until_the_end(make):
    db = connect(make("stranger"))
    line = session_of(db)
    execute(db, "select 1")
    assert not line.has_work()
    for end in (db.commit, db.rollback, lambda: execute(db, "commit"),
                lambda: execute(db, " ROLLBACK work; ")):
        execute(db, "insert a row")
        execute(db, "select 1")
        assert line.has_work()
        end()
        assert not line.has_work()
    db.close()


def test_a_write_that_fails_counts_as_work(make):
    driver = make("stranger with codes")
    db = connect(driver)
    driver.server.fault = "insert", 1, stand_ins.late
    with pytest.raises(driver.Error):
        execute(db, "insert a row")
    assert session_of(db).has_work()
    session_in(driver).kill()
    with pytest.raises(driver.Error):
        execute(db, "select 1")
    db.close()


def test_what_is_done_with_the_connection_of_the_driver_is_work(make):
    driver = make("stranger")
    db = connect(driver)
    db.dbapi_connection.cursor().execute("insert a row")
    session_in(driver).kill()
    with pytest.raises(driver.Error):
        execute(db, "select 1")
    with pytest.raises(driver.Error, match="nothing was committed"):
        db.commit()
    db.close()


def test_with_autocommit_nothing_is_open(make):
    driver = make("stranger with numbers")
    db = connect(driver)
    db.autocommit = True
    execute(db, "insert a row")
    assert not session_of(db).has_work()
    session_in(driver).kill()
    execute(db, "select 1")
    assert driver.server.stored == {"a row": 1}
    db.close()


@pytest.mark.parametrize("begin", [
    "begin", "START TRANSACTION", "set autocommit = 0", "savepoint a",
    "select 1; begin", "/* it */ begin", "-- it\nbegin",
    pytest.param("begin" + " " * 5000, id="long")])
def test_a_transaction_that_is_begun_by_sql_is_open(make, begin):
    driver = make("stranger with numbers")
    db = connect(driver)
    db.autocommit = True
    execute(db, begin)
    session_in(driver).autocommit = False
    driver.Connection.autocommit = property(
        lambda con: True, lambda con, value: None)
    execute(db, "insert a row")
    session_in(driver).kill()
    with pytest.raises(driver.Error):
        execute(db, "select 1")
    execute(db, "select 1")
    assert not session_of(db).transaction
    execute(db, begin)
    execute(db, "commit")
    assert not session_of(db).transaction
    db.close()


def test_who_shares_a_connection_takes_no_part_in_the_work_of_others(make):
    driver = make("stranger")
    driver.threadsafety = 2
    pool = PooledDB(driver, maxshared=1, maxconnections=2)
    one, other = pool.connection(), pool.connection()
    execute(one, "insert row 1")
    with pytest.raises(TooManyConnectionsError):  # nothing is left for it
        execute(other, "insert row 2")
    one.rollback()
    execute(other, "insert row 2")
    other.commit()
    assert driver.server.stored == {"row 2": 1}
    one.close()
    other.close()
    pool.close()


class Interrupt(BaseException):
    """As if Ctrl-C had been pressed."""


def interrupted(server, session, sql):
    """The driver closes itself, as it cannot know where the answer ends."""
    session.kill()
    raise Interrupt


@pytest.mark.parametrize("name", ["stranger with numbers", "psycopg2"])
def test_what_is_committed_already_is_not_run_again(make, name):
    def work(db):
        calls.append(db)
        execute(db, "insert row 1")
        execute(db, "insert row 2")

    driver = make(name, autocommit="autocommit")
    pool = PooledDB(driver, maxconnections=1)
    with pool.connection():
        session_in(driver).autocommit = True
    driver.server.fault = "insert", 2, stand_ins.killed
    calls = []
    with pytest.raises(driver.Error):
        pool.run(work)
    assert len(calls) == 1
    assert driver.server.stored == {"row 1": 1}
    pool.close()


@pytest.mark.parametrize("name", [
    "stranger", "stranger with a flag", "mysqlclient", "psycopg2"])
def test_an_interrupt_does_not_make_forget_what_was_done(make, name):
    shape = BY_NAME.get(name) or Shape(
        name, "MySQLdb.connections", closed="!open", family="my",
        carrier="args", loss="InterfaceError")
    driver = make(shape)
    db = connect(driver)
    execute(db, "insert row 1")
    driver.server.fault = "insert", 2, interrupted
    with pytest.raises(Interrupt):
        execute(db, "insert row 2")
    driver.inner[-1]._is_closed_here = True
    with pytest.raises(driver.Error):
        execute(db, "insert row 3")
    with pytest.raises(driver.Error):
        db.commit()
    assert driver.server.stored == {}
    db.close()


@pytest.mark.parametrize("name", [
    name for name, shape in BY_NAME.items()
    if shape.module.partition(".")[0] not in {
        "pysqlite3", "sqlcipher3", "turso"}])
def test_an_idle_session_that_was_killed_costs_no_read_an_error(make, name):
    driver = make(name)
    pool = PooledDB(driver, maxconnections=1)
    for _ in range(3):
        with pool.connection() as db:
            execute(db, "select 1")
        session_in(driver).kill()
    with pool.connection() as db:
        execute(db, "select 1")
        if driver.shape.transactional:
            db.rollback()
        session_in(driver).kill()
        session = session_in(driver)
        execute(db, "select 1")
        assert session_in(driver) is not session
    pool.close()


# What errors mean.

def test_what_an_error_means_that_says_nothing_is_asked(make):
    driver = make("stranger")
    db = connect(driver)
    driver.server.fault = "select", 1, stand_ins.late
    with pytest.raises(driver.OperationalError) as info:
        execute(db, "select x")
    assert driver.server.requests == ["select x", "select 1"]
    assert len(driver.inner) == 1  # it is alive, so nothing was repeated
    assert not getattr(info.value, "__notes__", ())
    db.close()


def test_the_work_of_a_connection_that_answers_is_kept(make):
    driver = make("stranger")
    db = connect(driver)
    execute(db, "insert row 1")
    driver.server.fault = "insert", 2, stand_ins.late
    with pytest.raises(driver.OperationalError):
        execute(db, "insert row 2")
    execute(db, "insert row 3")
    db.commit()
    assert driver.server.stored == {"row 1": 1, "row 3": 1}
    db.close()


def test_errors_of_the_program_are_not_asked_about(make):
    driver = make("stranger")
    db = connect(driver)
    for name in ("ProgrammingError", "NotSupportedError"):
        def action(server, session, sql, name=name):
            raise getattr(driver, name)("what is that?")
        driver.server.fault = "select", len(driver.server.requests) + 1, action
        with pytest.raises(getattr(driver, name)):
            execute(db, "select x")
    assert driver.server.requests == ["select x", "select x"]
    db.close()


def test_a_time_out_of_an_unknown_driver_ends_the_use_of_it(make):
    def late(server, session, sql):
        raise driver.OperationalError("Read timed out")

    driver = make("stranger")
    pool = PooledDB(driver, maxconnections=1)
    with pool.connection() as db:
        driver.server.fault = "select", 1, late
        with pytest.raises(driver.OperationalError):
            execute(db, "select x")
    with pool.connection() as db:  # the answer may still come on the old one
        execute(db, "select x")
    assert len(driver.inner) == 2
    pool.close()


def test_an_error_in_commit_is_not_asked_about(make):
    driver = make("stranger")
    db = connect(driver)
    execute(db, "insert a row")
    driver.server.fault = "commit", 1, stand_ins.late
    with pytest.raises(driver.OperationalError) as info:
        db.commit()
    assert "unknown whether" in info.value.__notes__[0]
    assert driver.server.requests == ["insert a row", "commit"]
    db.close()


def test_a_ping_for_something_else_is_not_used(make):
    driver = make("stranger")
    driver.Connection.ping = lambda con, host, count: None
    pool = PooledDB(driver, maxconnections=1)
    for _ in range(3):
        with pool.connection() as db:
            execute(db, "select 1")
    assert len(driver.inner) == 1
    pool.close()


@pytest.mark.parametrize(("error", "code", "lost"), [
    (SimpleNamespace(sqlstate="08S01"), "08S01", True),
    (SimpleNamespace(sqlstate="57P01"), "57P01", True),
    (SimpleNamespace(pgcode="42601"), "42601", False),
    (SimpleNamespace(sqlstate="HY000"), "HY000", None),
    (SimpleNamespace(errno=2013), 2013, True),
    (SimpleNamespace(errno=1213), 1213, False),
    (SimpleNamespace(errno=999999), 999999, None),
    (SimpleNamespace(args=(2006, "gone")), 2006, True),
    (SimpleNamespace(args=((20047, b"dead"), )), 20047, True),
    (SimpleNamespace(args=({"C": "57P01"},)), "57P01", True),
    (SimpleNamespace(args=(SimpleNamespace(code=3113),)), 3113, True),
    (SimpleNamespace(args=("some text",)), None, None),
    (SimpleNamespace(args=(True,)), None, None),
    (SimpleNamespace(orig="57P01"), None, None)])
def test_codes_are_found_where_drivers_have_them(error, code, lost):
    problem = RuntimeError(*getattr(error, "args", ()))
    problem.__dict__.update(
        {name: value for name, value in vars(error).items()
         if name != "args"})
    driver = drivers.Driver()
    assert driver.code(problem) == code
    assert driver.is_loss(problem) is lost


def test_a_number_is_no_loss_in_an_error_of_the_program(make):
    """Another database may have another error of this number."""
    wrong = type("ProgrammingError", (Exception,), {})
    assert drivers.Driver().is_loss(wrong(3114)) is None
    assert drivers.Driver().is_loss(RuntimeError(3114))
    con = make("snowflake").connect()
    wrong.errno = 390114  # the token has expired
    assert driver_of(con).is_loss(wrong())


def test_codes_are_found_in_the_causes_of_errors():
    inner, middle, outer = RuntimeError(), RuntimeError(), RuntimeError()
    inner.sqlstate = "57P01"
    middle.orig = inner
    outer.__cause__ = middle
    assert drivers.Driver().is_loss(outer)
    assert drivers.Driver().is_loss(ConnectionResetError())


# What the shapes tell.

@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_what_a_shape_tells_is_understood(make, shape):
    driver = make(shape)
    con = driver.connect()
    session = session_in(driver)
    known = driver_of(con, driver)
    assert known.is_telling
    hides = shape.wraps == "-"
    tells = bool(shape.status) and not hides
    busy = known.in_transaction(con)
    assert busy is (False if tells or not shape.transactional else None)
    session.in_transaction = True
    assert known.in_transaction(con) is (
        True if tells else None if shape.transactional else False)
    if shape.closed and not hides:
        assert known.is_closed(con) is False
        driver.inner[-1]._is_closed_here = True
        assert known.is_closed(con) is True
    else:
        assert not known.is_closed(con)
    if shape.fileno and not hides:
        assert known.descriptor(con) == session.here.fileno()
    if shape.autocommit and shape.transactional and not hides and (
            known.needs_account):
        session.autocommit = True
        assert known.in_transaction(con) is False


def test_databricks_is_not_asked_for_its_autocommit(make):
    driver = make("databricks")
    driver.Connection.autocommit = property(
        lambda con: pytest.fail("that asks the server"))
    db = connect(driver)
    execute(db, "insert a row")
    db.commit()
    db.close()


def test_vertica_is_not_made_to_connect_again(make):
    driver = make("vertica")
    driver.Connection._socket = lambda con: pytest.fail("that connects")
    driver.Connection.socket = None
    con = driver.connect()
    assert driver_of(con, driver).descriptor(con) is None


def test_mysql_and_oracle_tell_more_than_before(make):
    def fake(module, **attributes):
        return type("Connection", (), dict(attributes, __module__=module))()

    for status, expected in ((0, None), (1, True), (2, False), (3, True)):
        con = fake("mariadb.connections", server_status=status)
        assert driver_of(con).in_transaction(con) is expected
    con = fake("mariadb.connections", open=False, socket=7)
    assert driver_of(con).is_closed(con)
    assert driver_of(con).descriptor(con) == 7
    con = fake("oracledb.connection", is_healthy=lambda self: False)
    assert driver_of(con).is_closed(con)
    con = fake("pymssql._pymssql", autocommit_state=True,
               _conn=SimpleNamespace(connected=False))
    assert driver_of(con).in_transaction(con) is False
    assert driver_of(con).is_closed(con)
    assert driver_of(con).code(RuntimeError((20047, b"dead"))) == 20047


def test_an_embedded_database_in_memory_is_not_replaced(make):
    driver = make("turso")
    driver.server._pragma = lambda session, rest: [(0, "main", "")]
    db = connect(driver)
    assert session_of(db).is_in_memory
    db.close()


@pytest.mark.parametrize(("name", "lost"), [
    ("FailoverSuccessError", True), ("FailoverFailedError", True),
    ("TransactionResolutionUnknownError", True), ("QueryTimeoutError", None)])
def test_a_wrapper_that_fails_over_says_that_work_is_lost(make, name, lost):
    driver = make("aws wrapper")
    error = type(name, (driver.OperationalError,), {})
    assert driver_of(driver.connect(), driver).is_loss(error()) is lost


def test_work_is_told_to_be_lost_when_a_wrapper_has_failed_over(make):
    def fail_over(server, session, sql):
        session.kill()
        raise type("FailoverSuccessError", (driver.OperationalError,), {})

    driver = make("aws wrapper")
    db = connect(driver)
    execute(db, "insert row 1")
    driver.server.fault = "insert", 2, fail_over
    with pytest.raises(driver.OperationalError) as info:
        execute(db, "insert row 2")
    assert "is lost" in info.value.__notes__[0]
    with pytest.raises(driver.OperationalError, match="nothing was comm"):
        db.commit()
    execute(db, "insert row 3")
    db.commit()
    assert driver.server.stored == {"row 3": 1}
    db.close()


# Wrappers.

def test_wrappers_are_looked_through_four_deep(make):
    driver = make("psycopg2")
    names = "_con target_connection dbapi_connection __wrapped__"
    for path, tells in ((names, True), (names + " driver_connection", False)):
        con = wrapped(driver.connect(), path)
        known = driver_of(con, driver)
        assert known.tells_work is tells
        assert isinstance(known, Wrapped)


def test_a_property_that_raises_ends_the_look(make):
    class Broken(Wrapper):
        @property
        def target_connection(self):
            raise ValueError("not now")

        @property
        def dbapi_connection(self):
            return self._hidden

    driver = make("psycopg2")
    con = Broken(driver.connect())
    known = driver_of(con, driver)
    assert known.is_telling
    assert known.needs_account


def test_a_wrapper_that_is_empty_tells_nothing(make):
    driver = make("target proxy")
    con = driver.connect()
    known = driver_of(con, driver)
    assert known.in_transaction(con) is False
    con.target_connection = None
    assert known.in_transaction(con) is None
    assert known.is_closed(con) is None
    assert known.autocommit(con) is None
    assert known.descriptor(con) is None
    assert not known.clean(con)
    assert not known.is_private(con)
    del con.target_connection
    assert known.in_transaction(con) is None


def test_an_endless_wrapper_is_no_driver():
    class Endless:
        """As a mock that has everything."""

        def __getattr__(self, name):
            return Endless()

    con = Endless()
    assert not driver_of(con, SimpleNamespace(apilevel=con)).is_telling


# Databases without transactions.

NO_TRANSACTIONS = [
    shape.name for shape in SHAPES if not shape.transactional]


@pytest.mark.parametrize("name", NO_TRANSACTIONS)
def test_nothing_is_rolled_back_where_there_are_no_transactions(make, name):
    driver = make(name)
    pool = PooledDB(driver, maxconnections=1, setsession=["prepare it"])
    for _ in range(2):
        with pool.connection() as db:
            execute(db, "insert a row")
            execute(db, "select 1")
        with pool.transaction() as db:
            execute(db, "insert a row")
    assert "rollback" not in driver.server.requests
    assert driver.server.stored == {"a row": 4}
    pool.close()


@pytest.mark.parametrize("name", NO_TRANSACTIONS)
def test_reads_are_repeated_where_there_are_no_transactions(make, name):
    driver = make(name, family="my", carrier="args")
    db = connect(driver)
    db.begin()
    execute(db, "insert a row")
    driver.server.fault = "select", 1, stand_ins.killed
    execute(db, "select 1")
    driver.server.fault = "insert", 2, stand_ins.killed_after
    with pytest.raises(driver.Error):
        execute(db, "insert another row")
    db.commit()
    assert driver.server.stored == {"a row": 1, "another row": 1}
    db.close()


@pytest.mark.parametrize("action", [stand_ins.killed, stand_ins.deadlock])
def test_what_cannot_be_rolled_back_is_not_run_again(make, action):
    def work(db):
        execute(db, "insert row 1")
        execute(db, "insert row 2")

    driver = make("pinotdb", family="my", carrier="args")
    pool = PooledDB(driver, maxconnections=1)
    driver.server.fault = "insert", 2, action
    with pytest.raises(driver.Error):
        pool.run(work)
    assert driver.server.stored == {"row 1": 1}
    pool.close()


def test_no_connection_is_replaced_for_an_error_without_a_loss(make):
    driver = make("athena")
    db = connect(driver)
    driver.server.fault = "select", 1, stand_ins.late
    with pytest.raises(driver.Error):
        execute(db, "select x")
    assert driver.server.requests == ["select x"]
    assert len(driver.inner) == 1
    db.close()


@pytest.mark.parametrize("rollback", ["absent", "refused"])
@pytest.mark.parametrize("fileno", ["", "fileno()"])
def test_a_connection_is_kept_if_it_has_no_rollback(make, rollback, fileno):
    driver = make(
        "stranger", transactional=False, rollback=rollback, fileno=fileno)
    pool = PooledDB(driver, maxconnections=1, setsession=["prepare it"])
    for _ in range(3):
        with pool.connection() as db:
            execute(db, "insert a row")
            line = session_of(db)
            assert line.has_work()
        assert not line.work
        assert line.is_alive(ASK_SERVER)
    assert len(driver.inner) == 1
    pool.close()


def test_a_method_is_not_called_to_know_whether_autocommit_is_on(make):
    driver = make("stranger")
    driver.Connection.autocommit = lambda con: pytest.fail("switched on")
    db = connect(driver)
    execute(db, "insert a row")
    assert session_of(db).has_work()
    db.close()


def test_the_socket_is_that_of_the_connection_inside(make):
    driver = make("target proxy")
    db = connect(driver)
    line = session_of(db)
    first = line.descriptor
    assert not line.is_gone()
    before = session_in(driver)
    line.con.target_connection = make("psycopg2").connect()
    before.kill()
    assert not line.is_gone()
    assert line.descriptor not in {first, None}
    line.con.target_connection = None
    assert not line.is_gone()
    assert line.descriptor is None
    db.close()


# Registering drivers.

@pytest.fixture
def _as_before(monkeypatch):
    """Forget the drivers that a test registers."""
    monkeypatch.setattr(registry, "_drivers", drivers_by_name())
    monkeypatch.setattr(registered, "_is_loaded", [])


class Better(drivers.Driver):
    """What a program knows."""

    closed_name = "closed"

    def in_transaction(self, con):
        return con._session_of_test.in_transaction


def answers_for(driver):
    """Return what a program has registered for the connections of a driver."""
    return driver_of(driver.connect(), driver).answers


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize("better", [Better, Better()])
def test_a_program_can_tell_what_it_knows(make, better):
    driver = make("stranger with a flag")
    drivers.register("nobody.knows.flag", better)
    con = driver.connect()
    known = driver_of(con)
    assert known.tells_work
    assert known.tells_closed
    assert not known.needs_account
    assert known.in_transaction(con) is False
    other = make("stranger").connect()
    assert not isinstance(driver_of(other, driver), Registered)


@pytest.mark.usefixtures("_as_before")
def test_a_program_knows_better_than_the_library(make):
    drivers.register("psycopg2.extensions", Better)
    drivers.register("trino", Better)
    assert isinstance(answers_for(make("psycopg2")), Better)
    assert isinstance(answers_for(make("trino")), Better)


@pytest.mark.usefixtures("_as_before")
def test_a_program_may_have_other_names_that_the_library_uses_inside(make):
    class Own(Better):
        """Knows the driver, and has a log of its own."""

        settings = ("autocommit",)

        def read(self):
            pytest.fail("that is for the program")

        warning = moves = needs_account = read

    driver = make("stranger with a flag")
    drivers.register("nobody.knows.flag", Own)
    pool = PooledDB(driver, maxconnections=1)
    with pool.connection() as db:
        execute(db, "insert a row")
        db.commit()
    assert driver.server.stored == {"a row": 1}
    pool.close()


def test_nothing_is_registered_for_all_classes():
    with pytest.raises(ValueError, match="classes of all drivers"):
        drivers.register("builtins", Better)


@pytest.mark.parametrize("wrong", [object, "trino", int, None])
def test_only_drivers_can_be_registered(wrong):
    with pytest.raises(TypeError, match=r"dbutils\.drivers\.Driver"):
        drivers.register("nobody", wrong)


class Point:
    """An entry point of another package."""

    def __init__(self, name, thing):
        self.name = name
        self.thing = thing

    def load(self):
        if self.thing is None:
            raise ImportError("it is broken")
        return self.thing


@pytest.mark.usefixtures("_as_before")
def test_other_packages_can_bring_drivers(make, monkeypatch, caplog):
    class Other(Better):
        """Known by another package."""

    drivers.register("nobody.knows.codes", Better)
    monkeypatch.setattr(registered, "_entry_points", lambda: [
        Point("nobody.knows", Other), Point("nobody.knows.codes", Other),
        Point("broken", None)])
    driver = make("stranger")
    assert isinstance(answers_for(driver), Other)
    assert type(answers_for(make("stranger with codes"))) is Better
    assert "broken" in caplog.text


def test_entry_points_are_read(monkeypatch):
    metadata = pytest.importorskip("importlib.metadata")
    point = Point("somebody", Better)
    group = {"dbutils.drivers": [point]}
    monkeypatch.setattr(metadata, "entry_points", lambda: group)
    assert registered._entry_points() == [point]
    monkeypatch.setattr(metadata, "entry_points", lambda: SimpleNamespace(
        select=lambda group: [point] if group == "dbutils.drivers" else []))
    assert registered._entry_points() == [point]


def test_what_is_seldom_needed_is_loaded_late():
    code = (
        "import sys, sqlite3; from dbutils.pooled_db import PooledDB;"
        "PooledDB(sqlite3, database=':memory:', mincached=1).close();"
        "print(*(name.rpartition('.')[2] for name in sys.modules"
        "       if name.startswith('dbutils._drivers.')))")
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE,
        text=True, timeout=60)
    loaded = {*done.stdout.split()}
    assert {"driver", "registry", "embedded"} <= loaded
    assert not loaded & {
        "postgresql", "mysql", "others", "registered", "unknown"}
