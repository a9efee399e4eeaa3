"""Statements that get no answer, with drivers that do not limit that."""

import socket
from threading import Thread
from uuid import uuid4

import drivers
import pytest
from drivers import ready
from patience import PATIENCE
from servers import HOST

from dbutils._steady import deadlines
from dbutils._steady.safe import SafeFailover
from dbutils._steady.steady import session_of
from dbutils.pool_manager import (
    ConnectionConfig,
    DBConnectionPoolManager,
    PoolConfig,
)
from dbutils.testing import Proxy

pytestmark = pytest.mark.portable

LIMIT = 0.3
NOTE = "silent for 0.3 seconds"
LIBPQ = [drivers.BY_NAME[name] for name in ("psycopg2", "psycopg", "pgdb")]


@pytest.fixture(params=LIBPQ, ids=repr)
def driver(request, servers_running):
    return ready(request.param, servers_running)


@pytest.fixture
def manager():
    with DBConnectionPoolManager.isolated() as manager:
        yield manager


@pytest.fixture
def config(driver):
    return ConnectionConfig(
        "postgresql", HOST, driver.port, "postgres", "postgres",
        driver=driver.name, socket_timeout=LIMIT)


@pytest.fixture
def slow(driver):
    """A statement that takes long and ends with the test."""
    mark = f"slow {uuid4()}"
    yield f"select pg_sleep(60) /* {mark} */"
    driver.run(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        f" where position('{mark}' in query) > 0 and pid <> pg_backend_pid()")


def ask(con, sql):
    with con.cursor() as cursor:
        cursor.execute(sql)
        row = cursor.fetchone()
        return row and row[0]


def limit(con, seconds=PATIENCE):
    """Change the limit for a connection and its pool."""
    session_of(con._con).failover._seconds = seconds


def notes_of(error):
    return " ".join(getattr(error, "__notes__", ())) + str(error)


class Statements:
    """Executes something in a thread, which may never end."""

    def __init__(self, work):
        self.error = None
        self._work = work
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self._work()
        except Exception as error:
            self.error = error

    def wait(self):
        """Wait for the end; return the error."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.error


def test_a_statement_without_an_answer_is_cut(driver, config, manager, slow):
    con = manager.get_connection(config)
    error = Statements(lambda: ask(con, slow)).wait()
    assert isinstance(error, driver.error)
    assert NOTE in notes_of(error)
    assert "still be busy" in notes_of(error)
    limit(con)
    assert ask(con, "select 1") == 1  # on another connection
    con.close()
    busy = driver.run(
        "select count(*) from pg_stat_activity where state = 'active'"
        f" and query = '{slow}'")
    assert busy == [(1,)]  # it was not executed again


def test_what_is_cut_in_a_transaction_is_lost_with_it(
        driver, config, manager, slow):
    con = manager.get_connection(config)
    limit(con)
    con.begin()
    ask(con, "select 1")
    limit(con, LIMIT)
    error = Statements(lambda: ask(con, slow)).wait()
    assert isinstance(error, driver.error)
    assert NOTE in notes_of(error)
    with pytest.raises(driver.error):
        con.commit()
    con.close()


def test_one_of_many_statements_is_cut(driver, config, manager, slow):
    con = manager.get_connection(config)
    with con.cursor() as cursor:
        error = Statements(lambda: cursor.executemany(
            slow.replace("(60)", "(%s)"), [(0,), (60,)])).wait()
    assert isinstance(error, driver.error)
    assert NOTE in notes_of(error)
    con.close()


def test_a_commit_without_an_answer_is_cut(driver, config, manager):
    table = driver.new_table("slow_commits")
    driver.run(
        "create or replace function be_slow() returns trigger"
        " language plpgsql as $$ begin perform pg_sleep(60);"
        " return null; end $$")
    driver.run(
        f"create constraint trigger slow after insert on {table}"
        " deferrable initially deferred for each row"
        " execute function be_slow()")
    con = manager.get_connection(config)
    limit(con)
    con.cursor().execute(f"insert into {table} values (1)")
    limit(con, LIMIT)
    error = Statements(con.commit).wait()
    assert isinstance(error, driver.error)
    assert NOTE in notes_of(error)
    assert "unknown whether the transaction was committed" in notes_of(error)
    con.close()
    driver.run(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where lower(query) = 'commit' and state = 'active'")
    driver.run(f"drop table {table}")


@pytest.mark.skipif(
    not hasattr(socket, "TCP_INFO"),
    reason="the system does not tell when data were received")
def test_a_long_statement_with_answers_is_not_cut(config, manager):
    """Its rows take longer than the limit, but each one much less."""
    con = manager.get_connection(config)
    limit(con, 1)
    watched = []

    def goes_on(limit, sock):
        watched.append(real(limit, sock))
        return watched[-1]

    real = deadlines.Limit.goes_on
    deadlines.Limit.goes_on = goes_on
    try:
        with con.cursor() as cursor:
            cursor.execute(
                "select pg_sleep(0.01), repeat('x', 20000)"
                " from generate_series(1, 120)")
            assert len(cursor.fetchall()) == 120
    finally:
        deadlines.Limit.goes_on = real
    assert watched
    assert all(watched)


def test_a_server_that_has_vanished_is_noticed(driver, config, manager):
    with Proxy(driver.port) as proxy:
        con = manager.get_connection(config, port=proxy.port)
        limit(con)
        assert ask(con, "select 1") == 1
        con.commit()
        proxy.swallow(new=False)
        limit(con, LIMIT)
        error = Statements(lambda: ask(con, "select 1")).wait()
        assert NOTE in notes_of(error)
        limit(con)
        assert ask(con, "select 1") == 1
        con.close()


def test_a_limit_is_not_left_behind(config, manager):
    with manager.get_connection(config) as con:
        limit(con)
        assert ask(con, "select 1") == 1
        with pytest.raises(Exception, match="division"):
            ask(con, "select 1 / 0")
        assert session_of(con._con) not in deadlines.watchdog.calls
        con.commit()
        assert session_of(con._con) not in deadlines.watchdog.calls


def test_the_system_looks_for_a_server_that_is_gone(
        driver, config, manager):
    parameters = manager.get_pool(config)._connector._arguments.parameters
    assert parameters == {
        "host": HOST, "port": driver.port, "dbname": "postgres",
        "user": "postgres", "keepalives": 1, "keepalives_idle": 1,
        "keepalives_interval": 1, "keepalives_count": 3,
        "tcp_user_timeout": 300}
    options = {"keepalives_idle": 7, "tcp_user_timeout": 9000}
    with DBConnectionPoolManager.isolated() as other:
        pool = other.get_pool(config, socket_timeout=30, options=options)
        parameters = pool._connector._arguments.parameters
        with pool.get_connection() as con:
            assert ask(con, "show tcp_user_timeout") is not None
    assert parameters["keepalives_idle"] == 7
    assert parameters["keepalives_interval"] == 5
    assert parameters["tcp_user_timeout"] == 9000


def test_an_old_libpq_is_told_what_it_knows(monkeypatch, servers_running):
    driver = ready(drivers.BY_NAME["psycopg2"], servers_running)
    monkeypatch.setattr(driver.load(), "__libpq_version__", 110000)
    with DBConnectionPoolManager.isolated() as manager:
        pool = manager.get_pool(
            "postgresql", "h", driver="psycopg2", socket_timeout=30)
        parameters = pool._connector._arguments.parameters
    assert "tcp_user_timeout" not in parameters
    assert parameters["keepalives_idle"] == 15


def test_without_a_limit_nothing_is_different(driver, config, manager):
    pool = manager.get_pool(
        config, PoolConfig(max_total=1), socket_timeout=None)
    assert "keepalives" not in pool._connector._arguments.parameters
    con = pool.get_connection()
    line = session_of(con._con)
    assert type(line.failover) is SafeFailover
    con.close()
    with manager.get_connection(config) as con:
        assert type(session_of(con._con).failover) is not SafeFailover


def test_a_server_that_hangs_does_not_keep_own_questions_waiting(
        driver, config, manager):
    """A rollback at the return is not watched longer than others are."""
    con = manager.get_connection(config, socket_timeout=60)
    ask(con, "select 1")
    line = session_of(con._con)
    seen = []
    real = line.con

    class Spy:
        def __getattr__(self, name):
            if name == "rollback":
                seen.append(type(deadlines.watchdog.calls.get(line)))
            return getattr(real, name)

    line.con = Spy()
    line.reset_session(True)
    line.con = real
    con.close()
    assert seen
    assert deadlines.Limit not in seen
