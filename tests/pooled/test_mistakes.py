"""Mistakes of programs are told when and where they are made."""

import inspect
import json
import logging
import re
import sqlite3
import subprocess
import sys
from threading import Thread

import pytest
from forking import in_child, needs_fork

from dbutils import simple_pooled_db, simple_pooled_pg
from dbutils._steady import mistakes
from dbutils.dynamic_pooled_db import DynamicPooledDB
from dbutils.persistent_db import PersistentDB
from dbutils.persistent_pg import PersistentPg
from dbutils.pooled_db import InvalidConnectionError, PooledDB
from dbutils.pooled_pg import PooledPg
from dbutils.steady_db import InvalidCursorError, connect
from dbutils.steady_pg import SteadyPgConnection

pytestmark = pytest.mark.portable


def in_thread(function):
    """Return what a function returns or raises in another thread."""
    outcome = []

    def run():
        try:
            outcome.append(function())
        except Exception as error:
            outcome.append(error)

    thread = Thread(target=run)
    thread.start()
    thread.join(60)
    return outcome[0]


def shown(error):
    """Return what a traceback shows of an error and its notes."""
    if sys.version_info < (3, 11):
        return str(error)
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


# The creator.

POOLS = [PooledDB, DynamicPooledDB, PersistentDB, connect]


def open_connection(dbapi):
    return dbapi.connect()


MISTAKES = {
    "a name": lambda dbapi: "psycopg2",
    "a URL": lambda dbapi: "postgresql://me:secret@server/db",
    "a module": lambda dbapi: json,
    "nothing": lambda dbapi: None,
    "options": lambda dbapi: {"host": "server", "password": "secret"},
    "a connection": open_connection,
    "a steady connection": connect,
    "a lease": lambda dbapi: PooledDB(dbapi).connection(),
    "a pool": PooledDB}
TOLD = {
    "a name": "import psycopg2 and pass the module",
    "a module": "'json'.*no function connect",
    "a connection": "open connection",
    "a steady connection": "open connection", "a lease": "open connection"}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("make", POOLS)
def test_what_cannot_open_connections_is_told_at_once(dbapi, make, mistake):
    creator = MISTAKES[mistake](dbapi)
    with pytest.raises(TypeError, match="not a connection provider") as info:
        make(creator)
    assert "secret" not in str(info.value)
    info.match(TOLD.get(mistake, ""))


@pytest.mark.parametrize("mistake", ["a name", "a module", "a connection"])
def test_a_simple_pool_tells_it_as_well(dbapi, mistake):
    with pytest.raises(simple_pooled_db.NotSupportedError) as info:
        simple_pooled_db.PooledDB(MISTAKES[mistake](dbapi), 1)
    info.match("not a connection provider")


def test_an_open_connection_of_a_driver_can_be_called(tmp_path):
    con = sqlite3.connect(str(tmp_path / "test"))
    with pytest.raises(TypeError, match=r"sqlite3\.Connection"):
        PooledDB(con)
    con.close()


def test_a_driver_whose_connections_can_connect_is_known():
    pymysql = pytest.importorskip("pymysql")
    con = pymysql.connections.Connection(defer_connect=True)
    with pytest.raises(TypeError, match="open connection"):
        PooledDB(con)


def test_what_opens_connections_may_be_like_one(dbapi):
    class Database:
        """Opens connections, and has the methods of one."""

        threadsafety = 2
        cursor = commit = rollback = close = None

        def connect(self):
            """Return a new connection."""
            return dbapi.connect()

    Database.dbapi = dbapi
    assert PooledDB(Database()).connection()._con._con.serial == 1


# Options.

def test_the_options_are_known_by_name():
    known = inspect.signature(PooledDB).parameters
    assert set(mistakes.OPTIONS) == {
        name for name, parameter in known.items()
        if name != "creator" and parameter.kind not in {
            parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}}


WRONG = {
    "maxconections": "maxconnections", "max_connections": "maxconnections",
    "MaxConnections": "maxconnections", "pool_size": "maxconnections",
    "maxsize": "maxconnections", "minsize": "mincached",
    "min_cached": "mincached", "maxcache": "maxcached",
    "pool_timeout": "maxwait", "set_session": "setsession",
    "is_fatal": "isfatal", "pool_recycle": "maxlifetime",
    "pool_pre_ping": "ping", "max_usage": "maxusage", "blocked": "blocking"}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_misspelled_option_is_told(dbapi, wrong):
    pool = PooledDB(dbapi, **{wrong: 5})
    with pytest.raises(TypeError) as info:
        pool.connection()
    assert f"did you mean {WRONG[wrong]}?" in shown(info.value)
    assert wrong in shown(info.value)


@pytest.mark.parametrize("make", [
    lambda dbapi, **options: PersistentDB(dbapi, **options).connection(),
    connect, lambda dbapi, **options: PooledDB(dbapi, 1, **options)])
def test_it_is_told_by_all(dbapi, make):
    with pytest.raises(TypeError) as info:
        make(dbapi, max_usage=5)
    assert "did you mean maxusage?" in shown(info.value)


@pytest.mark.parametrize("make", [
    lambda **options: PooledPg(1, **options), SteadyPgConnection,
    lambda **options: PersistentPg(**options).connection()])
def test_it_is_told_for_classic_pygresql(pg, make):
    with pytest.raises(TypeError) as info:
        make(max_usage=5)
    assert "did you mean maxusage?" in shown(info.value)


@pytest.mark.parametrize("option", ["passwrd", "charset"])
def test_what_is_like_no_option_is_the_drivers(dbapi, option):
    with pytest.raises(TypeError) as info:
        connect(dbapi, **{option: "a"})
    assert "did you mean" not in shown(info.value)


def test_an_option_of_the_driver_is_no_mistake(dbapi):
    def creator(timeout):
        raise dbapi.OperationalError("timeout expired")

    with pytest.raises(dbapi.OperationalError) as info:
        connect(creator, failures=dbapi.Error, timeout=5)
    assert "did you mean" not in shown(info.value)


def test_sqlite_tells_it():
    with pytest.raises(TypeError) as info:
        PooledDB(sqlite3, mincached=1, database=":memory:", maxconection=1)
    assert "did you mean maxconnections?" in shown(info.value)


@pytest.mark.slow
def test_real_drivers_tell_it(driver):
    pool = PooledDB(driver.load(), max_connections=5, **driver.parameters())
    with pytest.raises(Exception) as info:  # noqa: PT011 - of any kind
        pool.connection()
    assert "did you mean maxconnections?" in shown(info.value)


def test_python_without_notes_shows_it_in_the_message(monkeypatch):
    from dbutils._base import errors as _errors
    monkeypatch.setattr(_errors.sys, "version_info", (3, 10))
    error = ValueError(17, "first")
    _errors.explain(error, "second")
    assert error.args == (17, "first\nsecond")
    assert error.__notes__ == ["second"]


# Sizes.

@pytest.mark.parametrize("blocking", [True, False])
def test_the_larger_of_two_sizes_counts(kind, blocking):
    pool = kind.make(mincached=3, maxconnections=2, blocking=blocking)
    assert kind.idle(pool) == 3
    assert pool.stats().maxconnections == 3


# Pings.

def checkouts(pool, number):
    """Make so many visits to a pool; return the errors."""
    errors = []
    for _ in range(number):
        try:
            pool.connection().close()
        except ValueError as error:
            errors.append(error)
    return errors


def test_a_ping_that_always_fails_is_told(dbapi, server):
    pool = PooledDB(dbapi, ping="selct 1")
    errors = checkouts(pool, 10)
    # the first one is new, and three may be lost in a row
    assert len(errors) == 6
    for error in errors:
        assert "'ping' (an SQL statement) fails" in str(error)
        assert isinstance(error.__cause__, dbapi.ProgrammingError)
    assert len(pool._idle_cache) == 0
    assert pool._connections == 0


def test_each_replacement_is_logged(dbapi, caplog):
    caplog.set_level(logging.INFO, "dbutils")
    con = connect(dbapi, ping="selct 1")
    for _ in range(3):
        assert con._ping_check() is True
    told = [
        record for record in caplog.records if record.levelname == "INFO"]
    assert len(told) >= 3
    assert "'ping' (an SQL statement)" in told[0].getMessage()


def test_a_check_that_takes_all_as_dead_is_told(kind):
    pool = kind.make(ping=lambda con: False)
    assert "takes a connection as dead" in str(checkouts(pool, 10)[-1])


def test_a_ping_that_works_again_is_forgiven(dbapi):
    answers = [False] * 6
    pool = PooledDB(dbapi, ping=lambda con: not answers or answers.pop())
    errors = checkouts(pool, 10)
    assert 0 < len(errors) < 4
    assert not checkouts(pool, 5)


def test_a_single_failure_is_not_told(dbapi, server):
    pool = PooledDB(dbapi, ping="select ping")
    for _ in range(5):
        with pool.connection() as db:
            db._con._con.cut()
    assert pool.connection()._con._con.serial == 6


@pytest.fixture
def file(tmp_path):
    return str(tmp_path / "test")


@pytest.mark.parametrize("options", [
    {}, {"maxwait": 10, "maxconnections": 1}])
def test_a_ping_is_told_where_the_driver_is_known(file, options):
    pool = PooledDB(sqlite3, ping="selct 1", database=file, **options)
    errors = checkouts(pool, 5)
    assert len(errors) >= 3
    assert isinstance(errors[0].__cause__, sqlite3.OperationalError)
    assert pool._connections == 0
    pool.close()


def test_persistent_connections_tell_it(file):
    persist = PersistentDB(sqlite3, ping="selct 1", database=file)
    for _ in range(3):
        with pytest.raises(ValueError, match=r"'ping'.*SQL statement"):
            persist.connection()
    persist.thread.connection._close()


@pytest.mark.slow
@pytest.mark.parametrize("options", [
    {}, {"maxwait": 60, "maxconnections": 1}])
def test_a_ping_is_told_with_a_real_server(driver, options):
    pool = PooledDB(
        driver.load(), ping="selct 1", **options, **driver.parameters())
    assert len(checkouts(pool, 5)) >= 3
    pool.close()


@pytest.mark.slow
def test_a_good_ping_is_not_told_when_the_server_ends_connections(driver):
    pool = PooledDB(
        driver.load(), ping="select 1", **driver.parameters())
    for _ in range(3):
        with pool.connection() as db:
            cursor = db.cursor()
            cursor.execute(driver.who_am_i)
            session = cursor.fetchone()[0]
            cursor.close()
        driver.kill(session)
    with pool.connection() as db:
        cursor = db.cursor()
        cursor.execute("select 1")
        assert cursor.fetchone()[0] == 1
        cursor.close()
    pool.close()


# Names of other pools.

@pytest.mark.parametrize("name", [
    "connect", "getconn", "get_connection", "acquire"])
def test_the_names_of_other_pools_name_ours(kind, dbapi, name):
    things = [
        kind.make(), PersistentDB(dbapi), PersistentPg(),
        simple_pooled_pg.PooledPg(1)]
    for thing in things:
        assert not hasattr(thing, name)
        with pytest.raises(AttributeError, match=r"connection\(\)") as info:
            getattr(thing, name)
        info.match(repr(name))


@pytest.mark.parametrize(("name", "told"), [
    ("putconn", r"close\(\)"), ("release", r"close\(\)"),
    ("closeall", r"shutdown\(\)"), ("dispose", r"shutdown\(\)")])
def test_the_other_names_of_other_pools_name_ours(kind, name, told):
    with pytest.raises(AttributeError, match=told):
        getattr(kind.make(), name)


def test_any_other_name_is_only_unknown(kind):
    with pytest.raises(AttributeError) as info:
        _ = kind.make().no_such_thing
    assert str(info.value) == (
        f"{kind.pool_class.__name__!r} object has no attribute"
        " 'no_such_thing'")


def test_a_pool_that_does_not_share_says_so(dbapi):
    with pytest.raises(AttributeError, match="does not share connections"):
        _ = PooledDB(dbapi)._shared_cache


# Threads of sqlite3.

@pytest.mark.parametrize("use", [
    lambda db, cursor: db.cursor(), lambda db, cursor: db.commit(),
    lambda db, cursor: cursor.execute("select 1")],
    ids=["cursor", "commit", "execute"])
@pytest.mark.parametrize("is_pooled", [True, False])
def test_sqlite_in_another_thread_tells_the_cure(file, is_pooled, use):
    con = connect(sqlite3, database=file)
    db = con
    if is_pooled:
        pool = PooledDB(sqlite3, database=file)
        db = pool.connection()
    cursor = db.cursor()
    error = in_thread(lambda: use(db, cursor))
    assert isinstance(error, sqlite3.ProgrammingError)
    assert "check_same_thread=False" in shown(error)
    db.close()
    con.close()
    if is_pooled:
        pool.close()


def test_other_errors_of_sqlite_have_no_note(file):
    con = connect(sqlite3, database=file)
    with pytest.raises(sqlite3.OperationalError) as info:
        con.cursor().execute("selct 1")
    assert "check_same_thread" not in shown(info.value)
    con.close()


# Forks.

@needs_fork
def test_a_lease_of_the_parent_says_so(kind, server):
    lease = kind.make(setsession=["set a"]).connection()
    name = "cursor" if hasattr(lease, "cursor") else "query"

    def use():
        before = len(server.log)
        try:
            getattr(lease, name)("select one")
        except Exception as error:
            return type(error).__name__, str(error), server.log[before:]

    error, text, log = in_child(use)
    assert error == "InvalidConnectionError"
    assert "belongs to the parent process" in text
    assert log == []


@needs_fork
def test_nothing_is_done_to_a_connection_of_the_parent(kind, server):
    pool = kind.make(setsession=["set a"])
    lease = pool.connection()
    before = len(server.log)
    log = in_child(lambda: server.log[before:])
    assert log == []
    lease.close()


@needs_fork
def test_a_cursor_of_the_parent_says_so(dbapi):
    lease = PooledDB(dbapi).connection()
    cursor = lease.cursor()

    def use():
        try:
            cursor.execute("select one")
        except InvalidCursorError as error:
            return str(error)

    assert "belongs to the parent process" in in_child(use)
    cursor.execute("select one")


@needs_fork
def test_the_transaction_of_a_parent_says_so(dbapi):
    con = connect(dbapi)
    con.begin()

    def use():
        try:
            con.commit()
        except dbapi.Error as error:
            return str(error)

    assert "belongs to the parent process" in in_child(use)


@needs_fork
@pytest.mark.parametrize("threadsafety", [1, 2])
def test_a_lease_of_a_simple_pool_says_so(dbapi, threadsafety):
    dbapi.threadsafety = threadsafety
    pool = simple_pooled_db.PooledDB(dbapi, 2)
    lease = pool.connection()

    def use():
        try:
            lease.cursor()
        except Exception as error:
            return type(error).__name__, str(error)

    name, text = in_child(use)
    assert name == "AttributeError"
    assert "belongs to the parent process" in text
    lease.cursor()
    pool.connection().close()


def test_a_lease_that_was_closed_is_just_closed(kind):
    lease = kind.make().connection()
    lease.close()
    with pytest.raises(Exception, match="has already been closed"):
        lease.begin()
    assert issubclass(InvalidConnectionError, Exception)


# Work that nobody has committed.

WORK = """
import sqlite3, warnings
from dbutils.pooled_db import PooledDB
pool = PooledDB(sqlite3, 1, database={file!r})
with pool.connection() as db:
    db.cursor().execute("create table test (a)")
    db.commit()
warnings.simplefilter("always")
"""

FORGOTTEN = {
    "with": """
with pool.connection() as db:  # here
    db.cursor().execute("insert into test values (1)")
""",
    "close": """
db = pool.connection()
cursor = db.cursor()
cursor.execute("insert into test values (1)")
db.close()  # here
""",
    "begin": """
with pool.connection() as db:  # here
    db.begin()
    db.cursor().execute("insert into test values (1)")
"""}

FINE = {
    "commit": """
with pool.connection() as db:
    db.cursor().execute("insert into test values (1)")
    db.commit()
""",
    "rollback": """
with pool.connection() as db:
    db.cursor().execute("insert into test values (1)")
    db.rollback()
""",
    "read": """
with pool.connection() as db:
    db.cursor().execute("select * from test")
""",
    "transaction": """
with pool.transaction() as db:
    db.cursor().execute("insert into test values (1)")
""",
    "error": """
try:
    with pool.connection() as db:
        db.cursor().execute("insert into test values (1)")
        1 / 0
except ZeroDivisionError:
    pass
""",
    "autocommit": """
pool._kwargs["isolation_level"] = None
pool.close()
with pool.connection() as db:
    db.cursor().execute("insert into test values (1)")
"""}


def warned(tmp_path, body, *options):
    """Return what a program prints as a warning, and the program."""
    script = tmp_path / "program.py"
    text = WORK.format(file=str(tmp_path / "test")) + body
    script.write_text(text + "\npool.close()\n")
    done = subprocess.run(
        [sys.executable, *options, str(script)], check=True,
        stderr=subprocess.PIPE, text=True, timeout=120)
    return [line for line in done.stderr.splitlines()
            if "ResourceWarning" in line and "neither" in line], text


@pytest.mark.parametrize("name", FORGOTTEN)
def test_work_that_is_not_committed_is_told_with_the_place(tmp_path, name):
    told, text = warned(tmp_path, FORGOTTEN[name], "-X", "dev")
    lines = text.splitlines()
    first = 1 + next(
        index for index, line in enumerate(lines) if "# here" in line)
    # before Python 3.10 a block ends at its last line
    last = len(lines) if sys.version_info < (3, 10) else first
    assert len(told) == 1
    assert first <= int(re.findall(r"program\.py:(\d+)", told[0])[0]) <= last


@pytest.mark.parametrize("name", FINE)
def test_work_that_is_ended_is_fine(tmp_path, name):
    assert warned(tmp_path, FINE[name], "-X", "dev")[0] == []


def test_work_is_only_told_in_the_development_mode(tmp_path):
    assert warned(tmp_path, FORGOTTEN["with"])[0] == []


def test_a_place_is_not_lost_if_the_warning_is_an_error(file, monkeypatch):
    from dbutils._pooled import base
    monkeypatch.setattr(base, "is_strict", True)
    pool = PooledDB(
        sqlite3, maxconnections=1, database=file)
    db = pool.connection()
    db.cursor().execute("create table test (a)")
    db.cursor().execute("insert into test values (1)")
    with pytest.raises(ResourceWarning, match="neither committed nor"):
        db.close()  # warnings are errors in these tests
    assert len(pool._idle_cache) == 1
    assert pool._connections == 0
    pool.close()
