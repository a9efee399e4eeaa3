"""What a connection is to be like, and how each driver is told."""

import ast
import copy
import importlib
import importlib.util
import inspect
import os
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import get_type_hints

import pytest

from dbutils._base.secrets import secrets_in
from dbutils._drivers.registry import driver_named
from dbutils.pool_manager import (
    ConnectionConfig,
    DatabaseType,
    DBConnectionPoolManager,
    PoolConfig,
)

pytestmark = pytest.mark.portable

SECRET = "s3cr3t-w0rd"


def test_a_kind_of_database_has_several_names():
    assert DatabaseType("MariaDB") is DatabaseType.MYSQL
    assert DatabaseType("postgres") is DatabaseType.POSTGRESQL
    assert DatabaseType("mssql") is DatabaseType("SQLServer")
    assert ConnectionConfig("sqlite3", database="x").db_type == "sqlite"
    with pytest.raises(ValueError, match="'db2' is no kind of database"):
        DatabaseType("db2")


def test_a_configuration_does_not_change():
    options = {"a": 1}
    config = ConnectionConfig("mysql", options=options)
    options["a"] = 2
    assert config.options == {"a": 1}
    with pytest.raises(FrozenInstanceError):
        config.host = "other"
    for change in (
            lambda: config.options.__setitem__("a", 3),
            lambda: config.options.update(a=3), config.options.clear,
            lambda: config.options.pop("a"),
            lambda: config.options.__delitem__("a"), config.options.popitem,
            lambda: config.options.setdefault("b", 3)):
        with pytest.raises(TypeError, match="do not change"):
            change()
    assert asdict(config)["options"] == {"a": 1}
    assert replace(config, host="other").options == {"a": 1}


@pytest.mark.parametrize(("settings", "problem"), [
    ({"port": 0}, "port"), ({"port": 1 << 16}, "port"),
    ({"connection_timeout": 0}, "greater than 0"),
    ({"socket_timeout": -1}, "socket_timeout"),
    ({"ssl": False, "ssl_ca": "ca.pem"}, "it is false"),
    ({"ssl_key": "key.pem"}, "no 'ssl_cert'")])
def test_bad_values_are_refused(settings, problem):
    with pytest.raises(ValueError, match=problem):
        ConnectionConfig("mysql", **settings)


@pytest.mark.parametrize("settings", [
    {"port": "3306"}, {"password": 1}, {"host": 1}, {"ssl": "yes"},
    {"autocommit": 2}, {"connection_timeout": "1"}])
def test_values_of_the_wrong_type_are_refused(settings):
    with pytest.raises(TypeError):
        ConnectionConfig("mysql", **settings)


@pytest.mark.parametrize("settings", [
    {"autocommit": []}, {"hosts": [1, 2]}, {"options": ["charset"]}])
def test_containers_of_the_wrong_type_are_named(settings):
    with pytest.raises(TypeError, match="'{}' must be".format(*settings)):
        ConnectionConfig("mysql", **settings)


def test_files_can_be_paths():
    config = ConnectionConfig("mysql", "h", ssl_ca=Path("ca.pem"))
    assert config.ssl_ca == "ca.pem"
    assert config.ssl is True


# Keys.

def test_the_key_does_not_depend_on_secrets():
    config = ConnectionConfig("mysql", "h", password=SECRET)
    assert config.key == ConnectionConfig("mysql", "h").key
    assert replace(config, options={"ssl_key_password": SECRET}).key == (
        config.key)
    assert len(config.key) == 64
    assert int(config.key, 16)


def test_the_key_depends_on_everything_else():
    configs = [
        ConnectionConfig("mysql", "h"), ConnectionConfig("postgres", "h"),
        ConnectionConfig("mysql", "h", 3306),
        ConnectionConfig("mysql", database="h"),
        ConnectionConfig("mysql", user="h"),
        ConnectionConfig("mysql", "h", autocommit=False),
        ConnectionConfig("mysql", "h", autocommit=True),
        ConnectionConfig("mysql", "h", options={"a": 1}),
        ConnectionConfig("mysql", "h", options={"a": "1"}),
        ConnectionConfig("mysql", "h", options={"a": [1]}),
        ConnectionConfig("mysql", "h", options={"a": dict}),
        ConnectionConfig("mysql", "h", options={"a": list}),
        ConnectionConfig("mysql", "h", options={"a": lambda: 1}),
        ConnectionConfig("mysql", "h", options={"a": lambda: 1})]
    assert len({config.key for config in configs}) == len(configs)
    assert len(set(configs)) == len(configs)


def test_the_key_is_the_same_in_every_process():
    config = ConnectionConfig("mysql", "h", options={"b": 1, "a": dict})
    program = (
        "from dbutils.pool_manager import ConnectionConfig as C;"
        "print(C('mariadb', 'h', options={'a': dict, 'b': 1}).key)")
    key = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, check=True,
        text=True, env={**os.environ, "PYTHONHASHSEED": "7"},
    ).stdout.strip()
    assert key == config.key


# Made by an earlier version of the library.
OLD_CONFIG = (
    b"cfunctools\npartial\np0\n(cdbutils.pool_manager\nConnectionConfig\np1"
    b"\ntp2\nRp3\n(g1\n(t(dp4\nVdb_type\np5\ncdbutils.pool_manager"
    b"\nDatabaseType\np6\n(Vpostgresql\np7\ntp8\nRp9\nsVhost\np10"
    b"\nVdb.example\np11\nsVport\np12\nI5433\nsVdatabase\np13\nVshop\np14"
    b"\nsVoptions\np15\n(dp16\nVsslmode\np17\nVrequire\np18\nssNtp19"
    b"\nb(tRp20\n.")
OLD_POOL_CONFIG = (
    b"ccopy_reg\n_reconstructor\np0\n(cdbutils.pool_manager\nPoolConfig\np1"
    b"\nc__builtin__\nobject\np2\nNtp3\nRp4\n(dp5\nVmin_idle\np6\nI0"
    b"\nsVmax_idle\np7\nNsVmax_total\np8\nI7\nsVmax_wait_time\np9\nI30"
    b"\nsVtest_on_borrow\np10\nI01\nsVmax_lifetime\np11\nNsVmax_idle_time"
    b"\np12\nNsVmax_usage\np13\nNsb.")


@pytest.mark.parametrize(("old", "config"), [
    (OLD_CONFIG, ConnectionConfig(
        "pg", "db.example", 5433, "shop", options={"sslmode": "require"})),
    (OLD_POOL_CONFIG, PoolConfig(max_total=7))])
def test_pickles_load_and_name_the_public_module(old, config):
    assert pickle.loads(old) == config
    new = pickle.dumps(config, 0)
    assert f"cdbutils.pool_manager\n{type(config).__name__}".encode() in new
    assert pickle.loads(new) == config


@pytest.mark.skipif(
    sys.version_info < (3, 10), reason="types cannot be joined with '|'")
@pytest.mark.parametrize("kind", [ConnectionConfig, PoolConfig])
def test_the_types_of_settings_can_be_looked_up(kind):
    hints = get_type_hints(kind)
    assert hints.keys() == {setting.name for setting in fields(kind)}


# Secrets.

def test_secrets_are_not_shown():
    config = ConnectionConfig(
        "mysql", "h", password=SECRET, options={"ssl_key_password": SECRET})
    for text in (
            repr(config), str(config), f"{config}", repr(vars(config)),
            repr(config.options), repr([config]), repr(config.password),
            pickle.dumps(config).decode("latin-1"),
            str(config._without_secrets()), config.key):
        assert SECRET not in text
    assert config.password == SECRET
    assert "password='***'" in repr(config)


def test_secrets_inside_of_options_are_not_shown_either():
    config = ConnectionConfig(
        "mysql", "h", options={"ssl": {"password": SECRET, "ca": "ca.pem"}})
    for text in (
            repr(config), repr(vars(config)), repr(config.options),
            pickle.dumps(config).decode("latin-1"),
            str(config._without_secrets())):
        assert SECRET not in text
    assert config.options["ssl"] == {"password": SECRET, "ca": "ca.pem"}
    assert secrets_in(config.options) == [SECRET]
    assert config.key == ConnectionConfig(
        "mysql", "h", options={"ssl": {"ca": "ca.pem"}}).key


def test_a_copy_has_the_secrets_and_a_pickle_has_not():
    config = ConnectionConfig(
        "mysql", "h", password=SECRET, options={"pwd": SECRET, "a": 1})
    assert copy.copy(config).password == SECRET
    assert copy.deepcopy([config])[0].options["pwd"] == SECRET
    assert replace(config, host="other").password == SECRET
    other = pickle.loads(pickle.dumps(config))
    assert other.password is None
    assert other.options == {"a": 1}
    assert other.key == config.key


# URLs and variables.

def test_a_url_says_everything():
    config = ConnectionConfig.from_url(
        "mysql+pymysql://ann:p%40ss%2F@db.example:3307/shop%20one"
        "?charset=utf8mb4&ssl=true&ssl_ca=%2Fca.pem&socket_timeout=2.5"
        "&autocommit=no&init_command=set+x")
    assert config == ConnectionConfig(
        "mysql", "db.example", 3307, "shop one", "ann", "p@ss/", "utf8mb4",
        False, True, "/ca.pem", socket_timeout=2.5, driver="pymysql",
        options={"init_command": "set x"})


@pytest.mark.parametrize(("url", "settings"), [
    ("sqlite:///app.db", {"database": "app.db"}),
    ("sqlite:////var/app.db", {"database": "/var/app.db"}),
    ("sqlite:///:memory:", {"database": ":memory:"}),
    ("postgresql://", {}),
    ("postgres://%2Fvar%2FRun/db", {"host": "/var/Run", "database": "db"}),
    ("postgresql://[::1]:5433/db", {
        "host": "::1", "port": 5433, "database": "db"}),
    ("pg://me@h", {"host": "h", "user": "me"}),
    ("pg://h?user=me&password=p", {
        "host": "h", "user": "me", "password": "p"})])
def test_urls_are_read(url, settings):
    kind = "sqlite" if url.startswith("sqlite") else "postgresql"
    assert ConnectionConfig.from_url(url) == ConnectionConfig(kind, **settings)


@pytest.mark.parametrize("url", [
    f"me:{SECRET}@host/db", f"pg://me:{SECRET}/@host/db",
    f"me:{SECRET}@host/db?see=http://here", f"pg://me:{SECRET}\u2100@host/db",
    f"pg://me:{SECRET}@[host/db", f"pg://me:{SECRET}@host:port/db",
    f"db2://me:{SECRET}@host/db", f"pg://me:{SECRET}@host/db?ssl=perhaps",
    f"pg://me:{SECRET}@host/db?socket_timeout=long"])
def test_a_bad_url_is_refused_without_showing_it(url):
    with pytest.raises(ValueError, match=r"\w") as caught:
        ConnectionConfig.from_url(url)
    error = caught.value
    while error is not None:
        assert SECRET not in str(error)
        error = error.__cause__ or error.__context__


def test_variables_say_everything():
    variables = {
        "APP_TYPE": "mysql", "APP_HOST": "h", "APP_PORT": "3307",
        "APP_DATABASE": "d", "APP_USER": "u", "APP_PASSWORD": SECRET,
        "APP_SSL": "on", "APP_CONNECTION_TIMEOUT": "3",
        "APP_OPTIONS": "init_command=x&b=y", "OTHER_HOST": "no",
        "APP_CHARSET": ""}
    assert ConnectionConfig.from_env("APP_", variables) == ConnectionConfig(
        "mysql", "h", 3307, "d", "u", SECRET, ssl=True, connection_timeout=3,
        options={"init_command": "x", "b": "y"})


def test_variables_can_complete_a_url(monkeypatch):
    monkeypatch.setenv("DB_URL", "pg://me@h/db?ssl=true&a=b")
    monkeypatch.setenv("DB_PASSWORD", SECRET)
    monkeypatch.setenv("DB_HOST", "other")
    assert ConnectionConfig.from_env() == ConnectionConfig(
        "postgresql", "other", None, "db", "me", SECRET, ssl=True,
        options={"a": "b"})


@pytest.mark.parametrize(("variables", "problem"), [
    ({}, "Neither DB_URL nor DB_TYPE"),
    ({"DB_TYPE": "mysql", "DB_PORT": "many"}, "'port' must be a number"),
    ({"DB_TYPE": "mysql", "DB_SSL": "maybe"}, "'ssl' must be 'true' or")])
def test_bad_variables_are_refused(variables, problem):
    with pytest.raises(ValueError, match=problem):
        ConnectionConfig.from_env(environ=variables)


# The terms of a pool.

@pytest.mark.parametrize("settings", [
    {"min_idle": 2, "max_idle": 1}, {"max_idle": 11}, {"max_total": 0},
    {"min_idle": 11}, {"max_wait_time": -1}, {"max_usage": -1}])
def test_bad_terms_are_refused(settings):
    with pytest.raises(ValueError, match="must"):
        PoolConfig(**settings)


def test_terms_may_be_unlimited():
    assert PoolConfig(max_total=None, max_idle=500).min_idle == 0


# Drivers.

def arguments_of(kind, driver, module, **settings):
    known, _ = known_driver(kind, driver, module)
    config = ConnectionConfig(kind, driver=driver, **settings)
    return known.arguments_for(config, module)


def known_driver(kind, driver, module):
    """Return a driver, which need not be installed."""
    before = sys.modules.get(driver)
    sys.modules[driver] = module
    try:
        return driver_named(kind, driver)
    finally:
        if before is None:
            del sys.modules[driver]
        else:
            sys.modules[driver] = before


STANDARD = SimpleNamespace(
    OperationalError=ZeroDivisionError, constants=SimpleNamespace())
UNKNOWN = [
    ("sqlite", "sqlite3", {"database": "x", **setting}) for setting in (
        {"host": "h"}, {"port": 1}, {"user": "u"}, {"password": "p"},
        {"ssl": True}, {"socket_timeout": 1}, {"charset": "latin1"},
        {"application_name": "a"})] + [
    ("postgresql", "pg8000.dbapi", {"charset": "latin1"}),
    ("mysql", "mysql.connector", {"socket_timeout": 1}),
    ("mysql", "MySQLdb", {"application_name": "a"}),
    ("mysql", "mariadb", {"application_name": "a"}),
    ("mysql", "mariadb", {"charset": "latin1"}),
    ("oracle", "oracledb", {"charset": "latin1"}),
    ("sqlserver", "pyodbc", {"charset": "latin1"}),
    ("sqlserver", "pymssql", {"ssl_ca": "ca.pem", "host": "h"}),
    ("sqlserver", "pyodbc", {"ssl_ca": "ca.pem", "host": "h"}),
    ("oracle", "oracledb", {"ssl_cert": "c.pem", "host": "h"})]


@pytest.mark.parametrize(("kind", "driver", "settings"), UNKNOWN)
def test_what_a_driver_does_not_know_is_an_error_that_names_both(
        kind, driver, settings):
    setting = list(settings)[1 if kind == "sqlite" else 0]
    with pytest.raises(ValueError, match=f"{driver} .* '{setting}'"):
        arguments_of(kind, driver, STANDARD, **settings)


@pytest.mark.parametrize(("kind", "driver"), [
    ("postgresql", "psycopg2"), ("postgresql", "psycopg"),
    ("postgresql", "pgdb"), ("postgresql", "pg8000.dbapi"),
    ("oracle", "oracledb")])
@pytest.mark.parametrize("host", [None, "/var/run", "h,/var/run", "@name"])
def test_what_does_not_go_over_the_net_cannot_be_encrypted(
        kind, driver, host):
    if kind == "oracle" and host is not None:
        return
    with pytest.raises(ValueError, match="'ssl' needs the name of a 'host'"):
        arguments_of(kind, driver, STANDARD, host=host, ssl=True)


@pytest.mark.parametrize(("kind", "driver", "option"), [
    ("postgresql", "psycopg2", "sslmode"), ("postgresql", "pgdb", "host"),
    ("postgresql", "pg8000.dbapi", "ssl_context"),
    ("mysql", "mysql.connector", "ssl_disabled"), ("mysql", "pymysql", "ssl"),
    ("oracle", "oracledb", "dsn"), ("sqlserver", "pyodbc", "encrypt"),
    ("sqlserver", "pymssql", "encryption"), ("mysql", "mariadb", "password")])
def test_options_do_not_overrule_settings(kind, driver, option):
    module = SimpleNamespace(**vars(STANDARD), drivers=list)
    with pytest.raises(ValueError, match=f"The option '{option}' of {driver}"):
        arguments_of(
            kind, driver, module, host="h", ssl=True, options={option: "x"})


def test_an_option_can_be_none():
    words = arguments_of(
        "postgresql", "psycopg", STANDARD,
        options={"prepare_threshold": None})
    assert words.parameters == {"prepare_threshold": None}


def test_drivers_have_several_names():
    assert driver_named("sqlite", "SQLite3")[0].module == "sqlite3"
    mysql = known_driver("mysql", "MySQLdb", STANDARD)[0]
    assert mysql.module == "MySQLdb"
    with pytest.raises(ValueError, match="'mxodbc' is no driver for oracle"):
        driver_named("oracle", "mxodbc")
    with pytest.raises(ValueError, match="'pymysql' is no driver for"):
        driver_named("postgresql", "pymysql")


def test_the_first_driver_is_taken_that_is_installed(monkeypatch):
    for name in ("psycopg2", "psycopg"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "pg8000.dbapi", STANDARD)
    known, module = driver_named("postgresql", None)
    assert (known.module, module) == ("pg8000.dbapi", STANDARD)
    monkeypatch.setitem(sys.modules, "pg8000.dbapi", None)
    monkeypatch.setitem(sys.modules, "pgdb", None)
    with pytest.raises(ImportError, match="No driver for postgresql is inst"):
        driver_named("postgresql", None)
    with pytest.raises(ImportError, match="pgdb is not installed") as caught:
        driver_named("postgresql", "pgdb")
    assert isinstance(caught.value.__cause__, ImportError)


ALL = {
    "host": "h", "port": 1234, "database": "d", "user": "u", "ssl": True,
    "autocommit": True, "connection_timeout": 2.5, "charset": "utf-8"}


def test_mysqlclient_is_told():
    words = arguments_of(
        "mysql", "MySQLdb", STANDARD, **ALL, ssl_ca="ca.pem",
        socket_timeout=0.5)
    assert words.parameters == {
        "host": "h", "port": 1234, "database": "d", "user": "u",
        "charset": "utf8mb4", "autocommit": True, "connect_timeout": 3,
        "read_timeout": 1, "write_timeout": 1, "ssl": {"ca": "ca.pem"},
        "ssl_mode": "VERIFY_IDENTITY"}
    words = arguments_of("mysql", "MySQLdb", STANDARD, host="/sock", ssl=False)
    assert words.parameters == {"unix_socket": "/sock", "ssl_mode": "DISABLED"}


def test_mariadb_is_told():
    words = arguments_of("mysql", "mariadb", STANDARD, **ALL, ssl_ca="ca.pem")
    assert words.parameters == {
        "host": "h", "port": 1234, "database": "d", "user": "u",
        "autocommit": True, "connect_timeout": 3, "ssl": True,
        "ssl_verify_cert": True, "ssl_ca": "ca.pem"}
    words = arguments_of("mysql", "mariadb", STANDARD, ssl=False)
    assert words.parameters == {"ssl": False}


def module_of(name):
    """Return a driver, if it can be had for this Python."""
    return pytest.importorskip(name) if "CI" not in os.environ or (
        sys.version_info < (3, 9)) else importlib.import_module(name)


@pytest.mark.slow
def test_oracledb_understands_all_words():
    oracledb = module_of("oracledb")
    words = arguments_of(
        "oracle", "oracledb", oracledb, **ALL, socket_timeout=0.5,
        application_name="a")
    known = inspect.signature(oracledb.connect).parameters
    assert set(words.parameters) | {
        "dsn", "ssl_context", "ssl_server_dn_match", "password"} <= set(known)
    assert words.parameters["service_name"] == "d"
    assert words.parameters["protocol"] == "tcps"
    con = SimpleNamespace()
    for step in words.steps:
        step(con)
    assert vars(con) == {
        "autocommit": True, "call_timeout": 500, "module": "a"}
    for name in vars(con):
        assert hasattr(oracledb.Connection, name)
    words = arguments_of("oracle", "oracledb", oracledb, database="name")
    assert words.parameters == {"dsn": "name"}


@pytest.mark.slow
def test_pymssql_understands_all_words():
    pymssql = module_of("pymssql")
    words = arguments_of(
        "sqlserver", "pymssql", pymssql, **ALL, socket_timeout=3,
        application_name="a")
    known = inspect.signature(pymssql.connect).parameters
    assert {*words.parameters, "password"} <= set(known)
    assert words.parameters == {
        "server": "h", "port": "1234", "database": "d", "user": "u",
        "charset": "utf-8", "autocommit": True, "login_timeout": 3,
        "timeout": 3, "appname": "a", "encryption": "require"}


class FakeOdbc:
    """What pyodbc would be told, since it needs a library of the system."""

    OperationalError = ZeroDivisionError

    def __init__(self, *drivers):
        self.known = drivers

    def drivers(self):
        return list(self.known)

    def connect(self, *args, **kwargs):
        return args, kwargs


def test_pyodbc_gets_a_text_in_which_everything_is_quoted():
    pyodbc = FakeOdbc(
        "SQLite3", "ODBC Driver 9 for SQL Server",
        "ODBC Driver 18 for SQL Server", "SQL Server")
    known, _ = known_driver("sqlserver", "pyodbc", pyodbc)
    words = arguments_of(
        "sqlserver", "pyodbc", pyodbc, **ALL, socket_timeout=3,
        application_name="a;b")
    (text,), others = known.connect(
        pyodbc, words.parameters, "p};Encrypt=no")
    assert text == (
        "PWD={p}};Encrypt=no};SERVER={h,1234};DATABASE={d};UID={u};"
        "APP={a;b};Encrypt={yes};DRIVER={ODBC Driver 18 for SQL Server}")
    assert others == {"autocommit": True, "timeout": 3}
    assert repr(text) == "'***'"
    con = SimpleNamespace()
    for step in words.steps:
        step(con)
    assert vars(con) == {"timeout": 3}


def test_pyodbc_needs_a_driver_of_its_own():
    with pytest.raises(ValueError, match="no ODBC driver for SQL Server"):
        arguments_of("sqlserver", "pyodbc", FakeOdbc("SQLite3"))
    words = arguments_of(
        "sqlserver", "pyodbc", FakeOdbc(), port=5,
        options={"DRIVER": "FreeTDS"})
    assert words.parameters == {"SERVER": "localhost,5", "DRIVER": "FreeTDS"}


@pytest.mark.slow
def test_pyodbc_understands_all_words():
    spec = importlib.util.find_spec("pyodbc")
    if spec is None and "CI" in os.environ and sys.version_info >= (3, 9):
        pytest.fail("pyodbc is not installed")
    stub = spec and Path(spec.origin).with_name("pyodbc.pyi")
    if not (stub and stub.exists()):
        pytest.skip("pyodbc does not say what it understands")
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    connect = next(
        node for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == "connect")
    understood = {arg.arg for arg in connect.args.kwonlyargs}
    known, _ = known_driver("sqlserver", "pyodbc", FakeOdbc())
    assert understood - {"driver_completion"} <= known.own
    assert {"autocommit", "timeout"} <= understood
    connection = next(
        node for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "Connection")
    assert "timeout" in {
        getattr(node, "name", None) for node in connection.body}


def test_sqlite_is_told(tmp_path):
    with DBConnectionPoolManager.isolated() as manager:
        pool = manager.get_pool(
            db_type="sqlite", database=str(tmp_path / "db"), autocommit=True,
            connection_timeout=3, charset="utf8", ssl=False)
        with pool.connection() as con:
            assert con.isolation_level is None
        with pytest.raises(ValueError, match="needs the name of a file"):
            manager.get_pool(db_type="sqlite")
