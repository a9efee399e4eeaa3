"""Connections by URI, one for each thread."""

import gc
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from threading import Event, Thread

import drivers
import pytest
from forking import in_child, needs_fork
from patience import PATIENCE, wait_until

from dbutils import InvalidCursorError
from dbutils._base.secrets import masked_url
from dbutils._base.uris import url_of
from dbutils.pool_manager import ConnectionConfig
from dbutils.uri_pool import THREAD_LOCAL, ConnectionPool, _Pools

pytestmark = pytest.mark.portable

SECRET = "s3cr3t-w0rd"


@pytest.fixture(autouse=True)
def _no_pools(monkeypatch):
    """Let each test have pools of its own."""
    monkeypatch.setattr(ConnectionPool, "POOLS", {})
    yield
    ConnectionPool.close_all_instances(None)
    ConnectionPool.set_folder("")
    for pool in ConnectionPool.POOLS.values():
        pool.shutdown(0)


@pytest.fixture
def make(dbapi):
    """Make a pool of the fake driver."""
    def make(pool_size=1, uri="fake://one", kind=ConnectionPool, **options):
        return kind(uri, pool_size, dbapi.connect, **options)
    return make


def in_thread(work):
    """Return what a function returns in another thread."""
    results = []
    thread = Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


def idle(pool):
    return len(ConnectionPool.POOLS[pool.uri]._idle_cache)


def test_a_thread_has_one_connection_and_one_cursor(make, server):
    pool = make()
    con, cursor = pool.connection, pool.cursor
    assert pool.get_connection() is con
    assert pool.connection is con
    assert pool.cursor is cursor
    assert in_thread(lambda: pool.connection is not con)
    assert pool.connection is con
    pool.cursor.execute("select 1")
    assert server.calls["connect"] == 2


def test_closed_connections_are_kept_for_the_next_request(make, server):
    pool, other = make(2), make(2)
    serials = [
        pool.connection.dbapi_connection.serial,
        other.connection.dbapi_connection.serial]
    assert serials == [1, 2]
    pool.close()
    other.close()
    assert idle(pool) == 2
    assert list(ConnectionPool.POOLS) == ["fake://one"]
    assert make(2).connection.dbapi_connection.serial == 2  # the last one
    assert make(2, "fake://two").connection.dbapi_connection.serial == 3


def test_only_so_many_connections_are_kept(make, server):
    pools = [make(2) for _ in range(4)]
    for pool in pools:
        pool.get_connection()
    for pool in pools:
        pool.close()
    assert idle(pools[0]) == 2
    assert server.calls["close"] == 2
    small = make(1)
    small.get_connection()
    small.close()
    assert idle(small) == 1


def test_without_a_size_nothing_is_kept(make, server):
    pool = make(0)
    pool.get_connection()
    pool.close()
    assert server.calls["close"] == 1
    kept = make(1)
    kept.get_connection()
    kept.close()
    pool.get_connection()
    assert server.calls["connect"] == 3
    for size in (-1, "many"):
        with pytest.raises((TypeError, ValueError)):
            make(size)


def test_a_connection_of_its_own_is_not_kept(make, server):
    pool = make(1)
    pool.get_connection()
    pool.close()
    pool.get_connection(use_pool=False)
    assert server.calls["connect"] == 2
    pool.close()
    assert server.calls["close"] == 1
    assert idle(pool) == 1


# Closing.

@pytest.mark.parametrize(("action", "calls"), [
    ("commit", ["commit"]), ("rollback", ["rollback"]), (None, []),
    (lambda pool: pool.connection.commit(), ["commit"])])
@pytest.mark.parametrize("size", [0, 1])
def test_an_action_comes_before_the_end(make, server, action, calls, size):
    pool = make(size)
    cursor = pool.cursor
    cursor.execute("select 1")
    con = server.connections[0]
    before = len(con.session)
    seen = []
    server.on_call = lambda name, con: seen.append(name)
    pool.close(action)
    server.on_call = None
    assert [name for name in seen if name in {"commit", "rollback"}][
        :len(calls)] == calls
    assert len(con.session) >= before or not con.valid
    assert pool._held.connection is None
    assert server.calls["close"] == 1 - size
    if size and action is None:
        assert con.session[-1] == "rollback"
    pool.close(action)  # nothing to do
    with pytest.raises(InvalidCursorError, match="given back"):
        cursor.execute("select 1")


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("really", [True, False])
def test_after_a_failed_action_nothing_is_kept(make, server, size, really):
    pool = make(size)
    for action, error in (
            ("commit", server_error), ("drop everything", ValueError),
            (lambda pool: 1 / 0, ZeroDivisionError), (5, ValueError)):
        pool.get_connection()
        server.fail("commit", server_error)
        with pytest.raises(error):
            pool.close(action, really)
        server.plans.clear()
        assert pool._held.connection is None
        assert not server.connections[-1].valid
    assert server.calls["connect"] == 4


class server_error(Exception):  # noqa: N801, N818 - an instance is not needed
    """What the fake server raises."""


def test_an_interrupt_of_an_action_is_an_error_as_well(make, server):
    pool = make(1)
    pool.get_connection()

    def stop(pool):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        pool.close(stop)
    assert pool._held.connection is None
    assert not server.connections[0].valid


def test_a_connection_can_be_left_to_who_has_it(make, server):
    pool = make(0)
    con = pool.connection
    pool.close(really=False)
    con.cursor().execute("select 1")
    assert pool.connection is not con
    con.close()


def test_all_connections_of_a_thread_can_be_closed(make, server):
    pools = [make(1), make(1, "fake://two"), make(0)]
    for pool in pools:
        pool.get_connection()
    elsewhere = Event()
    end = Event()

    def work():
        con = pools[0].connection
        elsewhere.set()
        end.wait(PATIENCE)
        con.cursor().execute("select 1")
        return True

    results = []
    thread = Thread(target=lambda: results.append(work()))
    thread.start()
    elsewhere.wait(PATIENCE)
    server.fail("commit", server_error)
    with pytest.raises(server_error):
        ConnectionPool.close_all_instances("commit")
    assert [pool._held.connection for pool in pools] == [None] * 3
    end.set()
    thread.join()
    assert results == [True]
    ConnectionPool.close_all_instances("commit")


def test_a_thread_that_ends_leaves_its_connection_to_others(make, server):
    pool = make(1)
    serial = in_thread(lambda: pool.connection.dbapi_connection.serial)
    gc.collect()
    wait_until(lambda: ConnectionPool.POOLS[pool.uri]._connections == 0)
    assert pool.connection.dbapi_connection.serial == serial
    assert server.connections[0].session[-1] == "rollback"


# The connection of a thread.

def test_a_connection_can_be_set(make, dbapi, server):
    pool = make(1)
    old = pool.connection
    mine = dbapi.connect()
    pool.set_connection(mine)
    assert pool.connection is mine
    assert pool.cursor.connection is mine
    del old
    assert ConnectionPool.POOLS[pool.uri]._connections == 0
    pool.close()
    assert mine.session == []
    assert not mine.valid
    pool.get_connection()
    pool.set_connection(None)
    assert ConnectionPool.POOLS[pool.uri]._connections == 0


def test_a_cursor_can_be_replaced(make, server):
    pool = make(1)
    first = pool.cursor
    before = server.calls["close cursor"]  # that of the hooks
    pool.reset_cursor()
    assert pool.cursor is not first
    assert server.calls["close cursor"] == before + 1
    pool.cursor.execute("select 1")


def test_another_visit_can_be_begun(make, server):
    pool = make(1)
    first = pool.connection
    first.cursor().execute("select 1")
    second = pool.reconnect()
    assert second is not first
    assert pool.connection is second
    assert "select 1" not in server.connections[0].session
    assert server.calls["commit"] == 2  # one is that of the hooks
    server.fail("commit", server_error)
    with pytest.raises(server_error):
        pool.reconnect()
    assert pool.connection is not second
    pool.cursor.execute("select 1")


def test_a_connection_that_was_closed_otherwise_is_not_used(make, server):
    pool = make(1)
    pool.connection.close()
    pool.cursor.execute("select 1")
    assert pool.connection.dbapi_connection.serial == 1


# Hooks.

class Hooked(ConnectionPool):
    """Notes the calls of its hooks."""

    def __init__(self, *args):
        self.calls = []
        super().__init__(*args, after_connection=lambda pool: (
            pool.note("given")))

    def note(self, what):
        self.calls.append((what, self.connection.serial))
        self.cursor.execute(f"set {what}")

    def _after_first_connection(self):
        self.note("first")

    def after_connection(self):
        self.note("after")


def test_hooks_are_called_in_their_order_for_new_connections(make, server):
    pool = make(1, kind=Hooked)
    pool.get_connection()
    assert pool.calls == [("first", 1), ("given", 1), ("after", 1)]
    assert server.connections[0].session == [
        "first", "given", "after", "commit"]
    pool.close()
    pool.get_connection()
    assert len(pool.calls) == 3
    in_thread(lambda: pool.connection.close())
    assert pool.calls[3:] == [("given", 2), ("after", 2)]
    pool.close()


def test_a_connection_that_is_replaced_is_prepared_as_well(make, server):
    pool = make(1, kind=Hooked)
    pool.connection.valid = False
    pool.cursor.execute("select 1")
    assert pool.calls[3:] == [("given", 2), ("after", 2)]


def test_a_hook_that_fails_keeps_no_connection(make, server):
    pool = make(1, kind=Hooked)
    pool._after_first_connection = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        pool.get_connection()
    assert pool._held.connection is None
    assert not server.connections[0].valid
    del pool._after_first_connection
    pool.get_connection()
    assert pool.calls == [("first", 2), ("given", 2), ("after", 2)]


def test_the_first_connection_comes_only_once(make, server):
    pool = make(0, kind=Hooked)

    def work():
        pool.get_connection()
        pool.close()

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(what for what, _ in pool.calls) == {
        "first": 1, "given": 8, "after": 8}


def test_hooks_can_be_run_on_request(make, dbapi):
    pool = make(1, kind=Hooked)
    mine = dbapi.connect()
    pool.set_connection(mine, run_hooks=True)
    assert mine.session == ["first", "given", "after"]


# What may not happen.

def test_opening_a_connection_keeps_nobody_waiting(dbapi):
    entered, go = Event(), Event()

    def slowly():
        entered.set()
        assert go.wait(PATIENCE)
        return dbapi.connect()

    slow = ConnectionPool("fake://one", 1, slowly)
    thread = Thread(target=slow.get_connection)
    thread.start()
    assert entered.wait(PATIENCE)
    fast = ConnectionPool("fake://one", 1, dbapi.connect)
    fast.cursor.execute("select 1")
    fast.close()
    fast.cursor.execute("select 1")
    go.set()
    thread.join()


def test_connections_that_died_meanwhile_are_not_used(make, server):
    server.has_ping = True
    pool = make(1)
    pool.cursor.execute("select 1")
    pool.close()
    server.connections[0].cut()
    pool.cursor.execute("select 1")
    assert pool.connection.dbapi_connection.serial == 2


def test_the_look_can_be_left_out(make, server):
    class Trusting(ConnectionPool):
        check_active_connection = False

    server.has_ping = True
    pool = make(1, kind=Trusting)
    pool.get_connection()
    pool.close()
    pool.get_connection()
    assert not server.calls["ping"]


@needs_fork
def test_a_child_has_other_names_and_does_not_see_those_of_the_parent(make):
    pool = make(1)
    con = pool.connection
    name = pool._connection_uname_

    def work():
        return (
            getattr(THREAD_LOCAL, name, None),
            getattr(THREAD_LOCAL, pool._connection_uname_),
            pool._connection_uname_)

    found, held, other = in_child(work)
    assert (found, held) == (None, None)
    assert other != name
    assert getattr(THREAD_LOCAL, name) is con


def test_a_pool_finds_nothing_of_one_that_had_its_place(make):
    """The identity of a pool that is gone can be that of another one."""
    pools = [make(1) for _ in range(50)]
    for pool in pools:
        pool.get_connection()
    names = {pool._connection_uname_ for pool in pools}
    del pool
    pools.clear()
    gc.collect()
    assert not [name for name in names if hasattr(THREAD_LOCAL, name)]
    others = [make(1) for _ in range(50)]
    assert all(
        getattr(THREAD_LOCAL, other._connection_uname_) is None
        for other in others)


@needs_fork
def test_a_child_does_not_take_what_the_parent_has(make, server):
    pool, kept = make(1), make(1)
    kept.get_connection()
    kept.close()
    con = pool.connection

    def work():
        serials = [pool.connection.dbapi_connection.serial,
                   kept.connection.dbapi_connection.serial]
        ConnectionPool.close_all_instances("commit")
        return serials, [con.valid for con in server.connections[:1]]

    serials, valid = in_child(work)
    assert sorted(serials) == [2, 3]
    assert valid == [True]
    con.cursor().execute("select 1")


def test_secrets_are_not_shown(make):
    uri = f"postgres://me:{SECRET}@h/db?password={SECRET}&a=b"
    pool = make(1, uri)
    pool.get_connection()
    texts = [repr(pool), str(pool), repr(ConnectionPool.POOLS),
             repr(pool.uri), repr(vars(pool))]
    for text in texts:
        assert SECRET not in text
    assert pool.uri == uri
    bad = ConnectionPool(f"postgres://me:{SECRET}@h:port/db")
    with pytest.raises(ValueError, match="URL cannot be read") as caught:
        bad.get_connection()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("url", "masked"), [
    ("pg://h/db", "pg://h/db"), ("pg://me@h/db", "pg://me@h/db"),
    ("pg://me:a:b@c@h/db", "pg://me:***@h/db"),
    ("pg://:x@h", "pg://:***@h"), ("x", "x"),
    ("pg://h?sslpassword=a&b=c&pwd=", "pg://h?sslpassword=***&b=c&pwd=***")])
def test_passwords_are_masked(url, masked):
    assert masked_url(url) == masked


# Real databases.

def test_files_of_sqlite_are_found_in_the_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    pools = []
    for folder in ("a", "b"):
        ConnectionPool.set_folder(str(tmp_path / folder))
        pool = ConnectionPool("sqlite://storage.db", 1)
        pool.cursor.execute("create table t (name)")
        pool.cursor.execute("insert into t values (?)", (folder,))
        pool.close()
        pools.append(pool)
    for folder, pool in zip("ab", pools):
        assert pool.folder == str(tmp_path / folder)
        pool.cursor.execute("select name from t")
        assert pool.cursor.fetchall() == [(folder,)]
        pool.close("rollback")
    assert len(ConnectionPool.POOLS) == 2
    path = tmp_path / "a" / "storage.db"
    other = ConnectionPool(f"sqlite:///{path}", 1)
    other.cursor.execute("select name from t")
    assert other.cursor.fetchall() == [("a",)]
    other.close()


@pytest.mark.parametrize(("uri", "folder", "place"), [
    ("sqlite:///a.db", "", "sqlite:///a.db"),
    ("sqlite:///a.db", "/b c", "sqlite:////b%20c/a.db"),
    ("sqlite://a.db?x=y", "/b", "sqlite:////b/a.db?x=y"),
    ("sqlite:////a.db?x=y", "/b", "sqlite:////a.db?x=y"),
    ("sqlite:///:memory:", "/b", "sqlite:///:memory:"),
    ("pg://h/a", "/b", "pg://h/a")])
def test_a_uri_means_one_file(uri, folder, place):
    assert url_of(uri, folder) == place


def test_a_file_is_relative_and_its_settings_count(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pool = ConnectionPool("sqlite:///own.db?autocommit=true", 1)
    assert pool.connection.isolation_level is None
    pool.cursor.execute("create table t (x)")
    pool.close()
    assert (tmp_path / "own.db").exists()


@pytest.mark.parametrize(("uri", "url"), [
    ("postgres:psycopg2://me:x@h/db", "postgres+psycopg2://me:x@h/db"),
    ("postgres:pg8000://me@h:77/db?ssl", "postgres+pg8000://me@h:77/db?ssl=true"),
    ("postgres2:psycopg2://h/db?sslmode=require",
     "postgres+psycopg2://h/db?sslmode=require"),
    ("postgres3://me:x@h/db?unix_socket=/run/pg/.s.PGSQL.5432",
     "postgres://me:x@h/db?host=/run/pg"),
    ("mysql://me:x@h/db?set_encoding=utf8mb4", "mysql://me:x@h/db?charset=utf8mb4"),
    ("mysql:pymysql://me:a/b#c?d[e]@h:1/db?unix_socket=/run/my.sock&x=y",
     "mysql+pymysql://me:a%2Fb%23c%3Fd%5Be%5D@h:1/db?host=/run/my.sock&x=y"),
    ("mysql://me:a%40b@h/db", "mysql://me:a%40b@h/db"),
    ("mysql://h:1/db?mail=a@b", "mysql://h:1/db?mail=a@b"), ("h", "h")])
def test_the_uris_of_pydal_are_understood(uri, url):
    assert url_of(uri, "/folder") == url


@pytest.mark.parametrize(("uri", "settings"), [
    ("postgres:psycopg2://me:a/b#c@h:7/db", {
        "driver": "psycopg2", "host": "h", "port": 7, "database": "db",
        "user": "me", "password": "a/b#c"}),
    ("mysql:mysqlconnector://me@h/db?set_encoding=utf8", {
        "driver": "mysqlconnector", "charset": "utf8", "user": "me"}),
    ("postgres://me:x@/db?unix_socket=/run/pg/.s.PGSQL.5432", {
        "host": "/run/pg", "driver": None})])
def test_the_uris_of_pydal_say_all_settings(uri, settings):
    config = ConnectionConfig.from_url(url_of(uri, ""))
    assert {name: getattr(config, name) for name in settings} == settings


def test_the_pools_of_files_are_found_by_their_uris(tmp_path):
    pools = _Pools()
    ConnectionPool.set_folder(str(tmp_path))
    place = f"sqlite:///{tmp_path}/storage.db"
    pools[place] = "pool"
    assert pools["sqlite://storage.db"] == "pool"
    for uri in (f"mysql://me:{SECRET}@h/db", "sqlite://other.db"):
        with pytest.raises(KeyError) as caught:
            pools[uri]
        assert SECRET not in str(caught.value)


def test_the_threads_of_a_pool_share_a_database_in_memory():
    """As in pyDAL, as long as one of them has a connection."""
    pool, other = ConnectionPool("sqlite:memory"), ConnectionPool(
        "sqlite:memory:", 1)

    def tables():
        pool.cursor.execute("select name from sqlite_master")
        return pool.cursor.fetchall()

    pool.cursor.execute("create table t (x)")
    other.cursor.execute("create table u (x)")
    assert in_thread(tables) == tables() == [("t",)]
    pool.close()
    assert tables() == []
    other.close()
    other.cursor.execute("select * from u")  # for it was kept
    assert ConnectionPool.POOLS == {}


def test_what_threads_have_is_made_when_it_is_needed(make, monkeypatch):
    """For gevent may replace the class after our import."""
    class Local(threading.local):
        """Stands for that of gevent."""

    monkeypatch.setattr(threading, "local", Local)
    pool = make(1)
    assert isinstance(pool._held, Local)
    con = pool.connection
    assert in_thread(lambda: pool.connection is not con)
    code = (
        "import threading\n"
        "import dbutils.uri_pool\n"
        "class Local(threading.local): number = 0\n"
        "Local.__setattr__ = lambda self, name, value: print('set')\n"
        "threading.local = Local\n"
        "threading.RLock = dict\n"
        "from dbutils.uri_pool import THREAD_LOCAL, GLOBAL_LOCKER\n"
        "THREAD_LOCAL.x = 5\n"
        "print(GLOBAL_LOCKER)\n")
    assert subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE,
        text=True).stdout.split() == ["set", "{}"]


def test_pools_without_a_uri_share_nothing(dbapi):
    pools = [ConnectionPool("", 1, dbapi.connect) for _ in range(2)]
    for pool in pools:
        pool.get_connection()
        pool.close()
    assert [pool.connection.dbapi_connection.serial for pool in pools] == [
        1, 2]
    assert ConnectionPool.POOLS == {}


def test_sqlite_can_be_in_memory():
    pool = ConnectionPool("sqlite:memory")
    assert isinstance(pool.connection.dbapi_connection, sqlite3.Connection)
    pool.cursor.execute("create table t (x)")
    pool.close()


@pytest.mark.parametrize("uri", [
    "postgres://postgres@{}/postgres",
    "postgres:psycopg2://postgres@{}/postgres",
    "postgres:pg8000://postgres@{}/postgres",
    "postgres2:psycopg2://postgres@{}/postgres?sslmode=disable",
    "mysql://root@{}/test?set_encoding=utf8mb4", "mysql:pymysql://root@{}/test",
    "mysql:mysqlconnector://root@{}/test?set_encoding=utf8mb4"])
def test_real_servers_are_found_by_the_uris_of_pydal(uri, servers_running):
    is_pg = uri.startswith("postgres")
    port = servers_running("postgresql" if is_pg else "mariadb")
    place = uri.format(f"127.0.0.1:{port}")
    pool = ConnectionPool(place, 2)
    assert drivers.ask(pool.connection, "select 1") == 1
    encoding = drivers.ask(
        pool.connection, "show client_encoding" if is_pg
        else "select @@character_set_client")
    assert encoding in {"UTF8", "utf8mb4"}
    pool.close()
    assert len(ConnectionPool.POOLS[place]) == 1
    in_thread(lambda: drivers.ask(pool.connection, "select 1"))
    pool.close()


@pytest.mark.parametrize(
    "driver", [drivers.BY_NAME["psycopg2"], drivers.BY_NAME["pymysql"]],
    ids=repr)
def test_real_servers_are_found_by_uris(driver, servers_running):
    driver.load()
    driver.port = servers_running(driver.family)
    kind, user, name = (
        ("postgresql", "postgres", "postgres")
        if driver.family == "postgresql" else ("mysql", "root", "test"))
    uri = f"{kind}+{driver.name}://{user}@127.0.0.1:{driver.port}/{name}"
    setting = (
        "set statement_timeout = 7777" if kind == "postgresql"
        else "set lock_wait_timeout = 7")
    shown = (
        "select setting from pg_settings where name = 'statement_timeout'"
        if kind == "postgresql" else "select @@lock_wait_timeout")
    pool = ConnectionPool(
        uri, 1, after_connection=lambda pool: pool.cursor.execute(setting))
    session = drivers.ask(pool.connection, driver.who_am_i)
    expected = drivers.ask(pool.connection, shown)
    assert str(expected) in {"7777", "7"}
    pool.close("rollback")
    assert drivers.ask(pool.connection, driver.who_am_i) == session
    pool.close()
    assert idle(pool) == 1
    pool.cursor.execute(setting.replace("7", "8"))
    pool.close()
    assert idle(pool) == 0
    assert drivers.ask(pool.connection, shown) == expected
    session = drivers.ask(pool.connection, driver.who_am_i)
    pool.close()
    driver.kill(session)
    assert drivers.ask(pool.connection, shown) == expected
    assert drivers.ask(pool.connection, driver.who_am_i) != session
    pool.close()
