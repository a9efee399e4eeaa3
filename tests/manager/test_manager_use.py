"""The manager of pools as programs call it that know its interface."""

import importlib
import sqlite3
import sys
from threading import Barrier, Thread
from types import ModuleType, SimpleNamespace

import pytest
from patience import PATIENCE
from servers import HOST, free_port

from dbutils._base.secrets import Secret, hide_secrets, masked_url
from dbutils.performance_optimized_pooled_db import (
    PerformanceOptimizedPooledDB,
)
from dbutils.pool_manager import (
    ConnectionConfig,
    DatabaseType,
    DBConnectionPoolManager,
    PoolConfig,
    UnknownPoolError,
    get_pool_manager,
)
from dbutils.pooled_db import TooManyConnectionsError

pytestmark = pytest.mark.portable

SECRET = "s3cr3t-w0rd"
TERMS = PoolConfig(max_total=3, max_wait_time=0)


@pytest.fixture
def manager():
    with DBConnectionPoolManager.isolated() as manager:
        yield manager


@pytest.fixture
def process_manager():
    """Let a test use the manager of the process, and no other test."""
    before = get_pool_manager()
    before.shutdown()
    yield get_pool_manager
    get_pool_manager().shutdown()


@pytest.fixture
def file(tmp_path):
    return str(tmp_path / "shop.db")


# The performance of a pool.

def test_the_limits_of_a_tuned_pool_can_be_read(dbapi):
    pool = PerformanceOptimizedPooledDB(dbapi)
    assert pool._acquisition_timeout is None
    assert pool._release_timeout is None
    pool.set_performance_tuning_config(
        acquisition_timeout=10, release_timeout=5)
    assert (pool._acquisition_timeout, pool._release_timeout) == (10, 5)
    pool.set_performance_tuning_config(release_timeout=None)
    assert (pool._acquisition_timeout, pool._release_timeout) == (10, None)
    pool.close()


def test_a_pool_that_is_not_tuned_has_no_limits(dbapi):
    pool = PerformanceOptimizedPooledDB(
        dbapi, performance_optimization=False)
    assert pool._acquisition_timeout is None
    assert pool._release_timeout is None
    pool.close()


# One manager.

def test_the_class_stands_for_the_one_manager(process_manager):
    manager = DBConnectionPoolManager()
    assert manager is DBConnectionPoolManager() is process_manager()
    assert isinstance(manager, DBConnectionPoolManager)
    pool = manager.get_pool("sqlite", database=":memory:")
    assert DBConnectionPoolManager().list_pools()[0]["key"] == pool.key
    manager.shutdown()
    assert DBConnectionPoolManager() is not manager
    assert DBConnectionPoolManager() is process_manager()


def test_threads_that_make_the_one_manager_get_the_same(process_manager):
    process_manager().shutdown()
    barrier = Barrier(16)
    managers = []

    def make():
        barrier.wait(PATIENCE)
        managers.append(DBConnectionPoolManager())

    threads = [Thread(target=make) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, managers))) == 1
    assert len(managers) == 16


def test_isolated_managers_are_others(process_manager):
    first, second = (DBConnectionPoolManager.isolated() for _ in range(2))
    assert len({id(first), id(second), id(process_manager())}) == 3
    first.shutdown()
    for manager in (second, process_manager()):
        assert "over" not in repr(manager)
    second.shutdown()


def test_derived_managers_are_others():
    class Manager(DBConnectionPoolManager):
        def __init__(self, name="none"):
            super().__init__()
            self.name = name

    manager = Manager("mine")
    assert type(manager) is Manager
    assert manager.name == "mine"
    assert Manager.isolated().name == "none"
    assert manager is not get_pool_manager()
    manager.shutdown()


def test_the_one_manager_takes_no_parameters():
    with pytest.raises(TypeError):
        DBConnectionPoolManager(5)


# Asking for pools and connections.

def test_a_configuration_can_be_given_in_many_ways(manager, file):
    config = ConnectionConfig("sqlite", database=file)
    pool = manager.get_pool(connection_config=config, pool_config=TERMS)
    assert pool.pool_config is TERMS
    for other in (
            manager.get_pool(config), manager.get_pool(config, TERMS),
            manager.get_pool(config=config, pool_config=TERMS),
            manager.get_pool(config, None),
            manager.get_pool(None, TERMS, db_type="sqlite", database=file),
            manager.get_pool(db_type=DatabaseType.SQLITE, database=file),
            manager.get_pool(DatabaseType.SQLITE, database=file),
            manager.get_pool("sqlite", None, None, file),
            manager.get_pool("SQLite", None, None, file, TERMS),
            manager.get_pool(
                "sqlite", None, None, file, pool_config=TERMS),
            manager.get_pool(f"sqlite:///{file}"),
            manager.get_pool(connection_config=f"sqlite:///{file}"),
            manager.get_pool_by_name("shop", connection_config=config),
            manager.get_pool_by_name("shop", config, TERMS),
            manager.get_pool_by_name("shop", "sqlite", database=file)):
        assert other is pool


def test_connections_can_be_asked_for_in_many_ways(manager, file):
    config = ConnectionConfig("sqlite", database=file)
    for args, settings in (
            ((), {"connection_config": config, "pool_config": TERMS}),
            ((config, TERMS), {}), (("sqlite", None, None, file), {}),
            ((), {"db_type": "sqlite", "database": file})):
        with manager.get_connection(*args, **settings) as con:
            con.cursor().execute("select 1")
    assert [info["connections_served"] for info in manager.list_pools()] == [
        4]


def test_what_is_given_twice_is_refused(manager, file):
    config = ConnectionConfig("sqlite", database=file)
    for ask in (manager.get_pool, manager.get_connection):
        with pytest.raises(TypeError, match="twice"):
            ask(config, connection_config=config)
        with pytest.raises(TypeError, match="twice"):
            ask(config, TERMS, pool_config=TERMS)
        with pytest.raises(TypeError):
            ask("sqlite", None, None, file, database=file)
        with pytest.raises(TypeError, match="begin with the kind"):
            ask(config, "host")
        with pytest.raises(TypeError, match="must be a PoolConfig, not an"):
            ask(config, pool_config={"max_total": 5})
    with pytest.raises(ValueError, match="no kind of database"):
        manager.get_pool("db2", "host")


def test_settings_of_the_pool_are_told_from_those_of_connections(
        manager, file):
    for ask in (manager.get_pool, manager.get_connection):
        with pytest.raises(TypeError, match=r"PoolConfig\(max_total=...\)"):
            ask(db_type="sqlite", database=file, max_total=5)


def test_a_name_is_told_from_a_key(manager, file):
    pool = manager.get_pool_by_name("shop", "sqlite", database=file)
    with pytest.raises(UnknownPoolError, match=f"its key is '{pool.key}'"):
        manager.get_pool_info("shop")
    with pytest.raises(UnknownPoolError, match=r"with the key 'x'\. \["):
        manager.get_pool_info("x")


def test_a_database_has_to_be_named(manager):
    for ask in (
            manager.get_pool, manager.get_connection,
            lambda: manager.get_pool_by_name("main")):
        with pytest.raises(TypeError, match="No database was given"):
            ask()


@pytest.mark.parametrize(("wait", "advice"), [
    (0, "or wait for one with max_wait_time"),
    (0.01, "or wait longer .max_wait_time")])
def test_an_exhausted_pool_speaks_of_its_own_settings(
        manager, file, wait, advice):
    pool = manager.get_pool(
        "sqlite", database=file,
        pool_config=PoolConfig(max_total=1, max_wait_time=wait))
    with pool.get_connection(), pytest.raises(
            TooManyConnectionsError, match=advice) as caught:
        pool.get_connection()
    assert "max_total: 1" in str(caught.value)
    assert "Raise max_total" in str(caught.value)
    assert "maxconnections" not in str(caught.value)


def test_a_url_without_a_kind_is_not_shown(manager):
    with pytest.raises(ValueError, match="begins with its kind") as caught:
        manager.get_pool(f"me:{SECRET}@host/db")
    assert SECRET not in str(caught.value)


# What is told about the pools.

def test_the_pools_are_told_as_a_list(manager, file, tmp_path):
    pools = [
        manager.get_pool("sqlite", database=file),
        manager.get_pool("sqlite", database=str(tmp_path / "no" / "x.db"))]
    told = manager.get_statistics()["pools"]
    assert isinstance(told, list)
    assert [info["key"] for info in told] == [pool.key for pool in pools]
    health = manager.health_check()
    assert health["healthy_pools"] == 1
    assert health["unhealthy_pools"] == [pools[1].key]


# Drivers.

def test_the_driver_can_be_the_module(manager, file):
    config = ConnectionConfig("sqlite", database=file, driver=sqlite3)
    assert config == ConnectionConfig(
        "sqlite", database=file, driver="sqlite3")
    assert config.key == ConnectionConfig(
        "sqlite", database=file, driver="sqlite3").key
    with manager.get_connection(config) as con:
        assert isinstance(con.dbapi_connection, sqlite3.Connection)
    other = manager.get_pool(
        "sqlite", database=file + "2", driver=sqlite3.dbapi2)
    other.get_connection().close()


def test_a_module_that_is_no_driver_is_refused(manager, file):
    with pytest.raises(ValueError, match="'json' is no driver for sqlite"):
        manager.get_pool(
            "sqlite", database=file, driver=importlib.import_module("json"))
    for wrong in (sqlite3.connect, 1):
        with pytest.raises(TypeError, match="a module or its name"):
            ConnectionConfig("sqlite", database=file, driver=wrong)
    with pytest.raises(ValueError, match="not what is imported as 'sqlite3'"):
        ConnectionConfig(
            "sqlite", database=file, driver=ModuleType("sqlite3"))


def test_oracle_is_told_plain_texts(monkeypatch, manager):
    told = {}

    class Error(Exception):
        pass

    def connect(**kwargs):
        told.update(kwargs)
        raise Error("no server")

    monkeypatch.setitem(sys.modules, "oracledb", SimpleNamespace(
        connect=connect, Error=Error))
    pool = manager.get_pool(ConnectionConfig(
        "oracle", "h", 1521, "shop", "me", SECRET,
        options={"wallet_password": SECRET + "2"}), TERMS)
    with pytest.raises(Error):
        pool.get_connection()
    assert told["password"] == SECRET
    assert told["wallet_password"] == SECRET + "2"
    assert {
        type(value) for value in told.values() if isinstance(value, str)
    } == {str}


# Each driver with its kind of database.
DRIVERS = [
    ("postgresql", "psycopg2"), ("postgresql", "psycopg"),
    ("postgresql", "pg8000.dbapi"), ("postgresql", "pgdb"),
    ("mysql", "pymysql"), ("mysql", "MySQLdb"), ("mysql", "mysql.connector"),
    ("mysql", "mariadb"), ("oracle", "oracledb"), ("sqlserver", "pyodbc"),
    ("sqlserver", "pymssql")]


@pytest.mark.parametrize("password", [SECRET, "p", lambda: SECRET])
@pytest.mark.parametrize(("kind", "driver"), DRIVERS)
def test_each_driver_comes_as_far_as_the_port(
        kind, driver, password, manager):
    """It takes all that it is told; only the server is missing."""
    try:
        module = importlib.import_module(driver)
    except ImportError as error:
        pytest.skip(f"{driver} cannot be imported: {error}")
    options = {}
    if driver == "pyodbc" and not any(
            name.endswith("for SQL Server") for name in module.drivers()):
        options["DRIVER"] = "/nowhere/libodbc.so"
    limits = {} if driver == "mysql.connector" else {"socket_timeout": 30}
    config = ConnectionConfig(
        kind, HOST, free_port(), "shop", "me", password, autocommit=True,
        connection_timeout=5, driver=module, options=options, **limits)
    pool = manager.get_pool(config, TERMS)
    with pytest.raises((module.Error, OSError)) as caught:
        pool.get_connection()
    assert SECRET not in str(caught.value)


# Masks.

def masked(text, *secrets):
    error = Exception(text)
    hide_secrets(error, map(Secret, secrets))
    return error.args[0]


@pytest.mark.parametrize("secret", ["p", "str", "cte", "Ex"])
@pytest.mark.parametrize("text", [
    "Ecteted str, not p", "a str p cte Ex", "(p) 'str' cte: Ex"])
def test_a_short_secret_does_not_spoil_texts(text, secret):
    assert masked(text, secret) == text


@pytest.mark.parametrize(("text", "shown"), [
    ("host=h password=p user=pp", "host=h password=*** user=pp"),
    ("host=h password='p' p", "host=h password='***' p"),
    ("host=h PWD={p};UID=p", "host=h PWD={***};UID=p"),
    ("sslpassword = p", "sslpassword = ***"),
    ("password=pp", "password=pp"),
    ("postgresql://me:p@p/p", "postgresql://me:***@p/p"),
    ("see postgresql://:p@h", "see postgresql://:***@h")])
def test_a_short_secret_is_masked_where_it_is_known_to_be(text, shown):
    assert masked(text, "p") == shown


def test_a_short_secret_is_masked_in_other_things_than_texts():
    assert masked({"password": "p", "host": "p"}, "p") == (
        "{'password': '***', 'host': 'p'}")
    given = {"host": "p"}
    assert masked(given, "p") is given


@pytest.mark.parametrize(("text", "shown"), [
    ("cannot connect with word", "cannot connect with ***"),
    ("'word' is wrong: word", "'***' is wrong: ***"),
    ("password=word,password=words", "password=***,password=words"),
    ("x\nword\n", "x\n***\n"),
    ("words, a sword, a keyword", "words, a sword, a keyword")])
def test_a_secret_is_masked_where_it_stands_alone(text, shown):
    assert masked(text, "word") == shown


def test_a_secret_is_masked_in_all_its_forms():
    secret = "a b}{%;='\"\\/"
    for text in (
            f"x {secret}y", repr([secret]),
            "pg://me:a%20b%7D%7B%25%3B%3D%27%22%5C%2F@h"):
        shown = masked(text, secret)
        assert "***" in shown
        assert "a b" not in shown
        assert "a%20b" not in shown
    assert masked([f"x\n{SECRET}"], SECRET) == "['x\\n***']"
    assert masked(f"at {SECRET} and {SECRET}2", SECRET, SECRET + "2") == (
        "at *** and ***")


def test_a_short_password_in_a_url_is_masked():
    assert masked_url("pg://me:p@host/p?password=p&x=p") == (
        "pg://me:***@host/p?password=***&x=p")


def test_errors_of_a_driver_stay_readable(manager, monkeypatch):
    class Driver(ModuleType):
        class Error(Exception):
            pass

        threadsafety = 1
        OperationalError = InterfaceError = InternalError = Error

        def connect(self, **kwargs):
            raise TypeError("Expected str, got password='p'")

    monkeypatch.setitem(sys.modules, "psycopg2", Driver("psycopg2"))
    pool = manager.get_pool(
        "postgresql", "h", password="p", driver="psycopg2")
    with pytest.raises(TypeError) as caught:
        pool.get_connection()
    assert str(caught.value) == "Expected str, got password='***'"
