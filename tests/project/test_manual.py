"""What the manual shows works, in both languages."""

import ast
import importlib
import inspect
import os
import re
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

import drivers
import pytest
from drivers import ready
from folders import DOCS
from manuals import BLOCK, PAGES, every, german, texts

import dbutils
import dbutils.drivers
from dbutils import (
    ConnectionConfig,
    ConnectionPool,
    DBConnectionPoolManager,
    DynamicPooledDB,
    HealthCheckPooledDB,
    LeaseHolder,
    PerformanceOptimizedPooledDB,
    PersistentDB,
    PersistentPg,
    PoolConfig,
    PooledDB,
    PooledPg,
    ResourceAllocationPooledDB,
    Scaling,
    SimplePooledDB,
    SimplePooledPg,
    SteadyDBConnection,
    SteadyDBCursor,
    SteadyPgConnection,
    simple_pooled_db,
    top,
)
from dbutils._pooled.metering import FACTS, TIMEOUTS, TIMES
from dbutils.drivers import Driver, register
from dbutils.hosts import Targets
from dbutils.keyed_pool import ThreadedConnectionPool
from dbutils.steady_db import connect
from dbutils.testing import Clock, Proxy, ScriptedDriver

pytest.importorskip("opentelemetry")
pytest.importorskip("prometheus_client")

from dbutils import otel, prometheus
from dbutils.otel import instrument_all

pytestmark = [
    pytest.mark.portable, pytest.mark.skipif(
        not DOCS.is_dir(), reason="there is no checkout around these tests")]


def in_both(name):
    return [name, german(name)]


def read(name):
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("code", every())
def test_the_code_in_the_manual_runs_and_runs_again(
        code, tmp_path, monkeypatch, caplog):
    """It raises no exception, holds no connection, and nothing is logged.

    Only losses are, which are what the code is about.
    """
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # in the same folder, as one does who tries it
        names = {"__name__": "a_manual"}
        exec(compile(code, "manual", "exec"), names)
        if "pool" in names:
            close_pool(names["pool"])
        elif hasattr(names.get("db"), "_close"):
            names["db"]._close()
        elif "top" in names:
            names["top"].serve().close()
    assert [
        record for record in caplog.records if record.event != "lost"] == []


def close_pool(pool):
    if isinstance(pool, SimplePooledDB):
        for _ in range(3):
            pool.connection()._con.close()
    else:
        assert pool._connections == 0
        pool.close()


@pytest.fixture
def shop(request, monkeypatch, servers_running):
    """A driver all of whose connections go to the server of the tests."""
    name = request.param
    driver = ready(
        drivers.BY_NAME["pgdb" if name == "pg" else name], servers_running)
    module = importlib.import_module(name)
    function = "DB" if name == "pg" else "connect"
    real = getattr(module, function)
    there = driver.parameters()
    if name == "pg":
        there = {
            "dbname": "postgres", "host": drivers.HOST, "port": driver.port,
            "user": "postgres"}

    def connect(*args, **kwargs):
        """Ignore who wants to go where, but not what else is said."""
        wishes = {
            name: value for name, value in kwargs.items()
            if name not in {
                "host", "port", "dbname", "database", "user", "password"}}
        assert len(args) <= 1
        return real(**dict(there, **wishes))
    monkeypatch.setattr(module, function, connect)
    return driver


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shop", "code"), every(
        "psycopg2", "psycopg", "pymysql", "mysql.connector", "pg"),
    indirect=["shop"])
def test_the_code_for_servers_runs(shop, code):
    shop.run("drop table if exists pages")
    for table in "stock", "lager":
        shop.run(f"drop table if exists {table}")
        shop.run(f"create table {table} (item text)")
    names = {}
    exec(compile(code, "manual", "exec"), names)
    pool = names.get("connections", names.get("pool"))
    if pool is None:
        assert "db" in names  # a single connection, which was closed
        return
    if hasattr(pool, "getconn"):
        with pool.connection() as db:
            assert drivers.ask(db, "select 1") == 1
        pool.closeall()
        return
    with pool.connection() as db:
        if isinstance(pool, PooledPg):
            assert db.query("select 1").getresult() == [(1,)]
        else:
            assert drivers.ask(db, "select 1") == 1
    pool.close()


@pytest.fixture
def pages(tmp_path):
    """A pool with a table of pages, in either language."""
    with PooledDB(
            sqlite3, maxconnections=3, database=str(tmp_path / "pages.db"),
            check_same_thread=False) as pool:
        with pool.transaction() as db:
            cursor = db.cursor()
            for table, column in ("pages", "page"), ("seiten", "seite"):
                cursor.execute(f"create table {table} ({column} text)")
                cursor.execute(f"insert into {table} values ('start')")
        yield pool
        assert pool._connections == 0


@pytest.mark.slow
@pytest.mark.parametrize(("_", "code"), every("flask"))
def test_the_code_for_flask_runs(_, code, pages):
    flask = drivers.load("flask")
    app = flask.Flask("manual")
    names = {"app": app, "g": flask.g, "pool": pages}
    exec(compile(code, "manual", "exec"), names)
    database = names["database"]

    @app.get("/")
    def start():
        assert pages._connections == 0  # nothing is borrowed before
        database().cursor().execute("insert into pages values ('lost')")
        assert pages._connections == 1
        return str(drivers.ask(database(), "select count(*) from pages"))

    @app.get("/broken")
    def broken():
        database()
        raise ZeroDivisionError
    client = app.test_client()
    assert [client.get("/").text for _ in range(3)] == ["2"] * 3
    assert client.get("/broken").status_code == 500
    assert pages._connections == 0


@pytest.mark.slow
@pytest.mark.parametrize(("_", "code"), every("fastapi"))
def test_the_code_for_fastapi_runs(_, code, pages):
    fastapi = drivers.load("fastapi")
    drivers.load("httpx")
    # this one does not mind what is deprecated in there
    testclient = pytest.importorskip("fastapi.testclient")
    app = fastapi.FastAPI()
    exec(compile(code, "manual", "exec"), {
        "app": app, "Depends": fastapi.Depends, "pool": pages})
    path = re.search(r'get\("(.+)"\)', code).group(1)
    client = testclient.TestClient(app)
    for _ in range(5):  # each maybe in three different threads
        assert client.get(path).json() == [["start"]]
    assert pages._connections == 0


READ = """
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
pool.connection().close()
data = reader.get_metrics_data().resource_metrics[0].scope_metrics[0]
print(*sorted(metric.name for metric in data.metrics))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("_", "code"), every("opentelemetry"))
def test_the_code_for_opentelemetry_runs(_, code, tmp_path):
    """A provider that is set after the example gets the metrics."""
    drivers.load("opentelemetry.sdk")
    done = subprocess.run(
        [sys.executable, "-c", code + READ], check=True, text=True,
        stdout=subprocess.PIPE, cwd=str(tmp_path), env={
            **os.environ, "PYTHONPATH": str(
                Path(dbutils.__file__).resolve().parents[1])})
    assert done.stdout.split()[-1] == "db.client.connection.wait_time"


@pytest.mark.slow
@pytest.mark.parametrize(("_", "code"), every("prometheus_client"))
def test_the_code_for_prometheus_runs(_, code, pages, monkeypatch):
    client = drivers.load("prometheus_client")
    registry, ports = client.CollectorRegistry(), []
    monkeypatch.setattr(client, "REGISTRY", registry)
    monkeypatch.setattr(client, "start_http_server", ports.append)
    names = {}
    exec(compile(code, "manual", "exec"), names)
    assert ports == [9100]
    text = client.generate_latest(registry).decode()
    assert "pages.db" in text
    assert "db_client_connection_max" in text


METRIC = re.compile(r"^``db\.client\.connection\.(\S+)``  ", re.M)


@pytest.mark.parametrize("name", in_both("reference/metrics.rst"))
def test_all_metrics_are_in_a_table(name):
    assert sorted(METRIC.findall(read(name))) == sorted(
        thing.name for thing in (*FACTS, *TIMES, TIMEOUTS))


def shape(name):
    """Return what both languages must have in common, in order."""
    text = read(name)
    terms = re.findall(r"^``(\w+).*\n   \S", text, re.MULTILINE)
    signatures = re.findall(r"^ *``\w+\([^`]*``$", text, re.MULTILINE)
    return terms, [" ".join(signature.split()) for signature in signatures]


def test_both_languages_explain_the_same_things():
    terms, signatures = [], []
    for name in PAGES:
        assert shape(name) == shape(german(name)), name
        terms += shape(name)[0]
        signatures += shape(name)[1]
    assert len(terms) > 100
    assert len(signatures) > 15


def test_pictures_are_those_that_are_drawn():
    done = subprocess.run(
        [sys.executable, str(DOCS / "pictures.py"), "--check"], check=False,
        stdout=subprocess.PIPE)
    assert done.stdout.decode() == ""
    assert done.returncode == 0
    drawn = {path.name for path in DOCS.glob("*.png")}
    for text in texts():
        assert set(re.findall(
            r"^\.\. image:: \.\./(.+)$", text, re.M)) == drawn


def test_all_code_of_the_manual_is_run_but_what_not_to_do():
    for text in texts():
        found = list(BLOCK.finditer(text))
        assert len(found) == text.count(".. code:: python")
        assert sum(1 for block in found if block["reason"]) == 1


# the modules in the table of all parameters, and the classes in the other one
MODULES = {
    "steady_db": connect, "steady_pg": SteadyPgConnection,
    "persistent_db": PersistentDB, "persistent_pg": PersistentPg,
    "pooled_db": PooledDB, "pooled_pg": PooledPg,
    "simple_pooled_db": SimplePooledDB, "simple_pooled_pg": SimplePooledPg,
    "keyed_pool": ThreadedConnectionPool}
CLASSES = [
    DynamicPooledDB, Scaling, HealthCheckPooledDB, ResourceAllocationPooledDB,
    PerformanceOptimizedPooledDB, PoolConfig, ConnectionConfig,
    ConnectionPool]


def tables(name):
    """Return the tables of a page that begin with code, as lists of rows."""
    found = re.findall(
        r"^(==[= ]+)\n(.+)\n\1\n((?:``.+\n)+)\1$", read(name), re.MULTILINE)
    return [
        [cells(bar, line) for line in [head, *body.splitlines()]]
        for bar, head, body in found]


def cells(bar, line):
    """Return the cells of a line of a table."""
    columns = [(bars.start(), bars.end()) for bars in re.finditer("=+", bar)]
    return [
        line[start:end if end < len(bar) else None].strip().strip("`")
        for start, end in columns]


def parameters_of(thing):
    """Return the parameters of a function or class."""
    if inspect.isclass(thing):
        thing = partial(thing.__init__, None)  # without "self"
    return inspect.signature(thing).parameters


def told(parameter):
    """Return what the tables tell about a parameter."""
    default = parameter.default
    if default is parameter.empty:
        return "needed"
    text = {"Scaling(": "Scaling()", "<factory": "{}"}.get(
        repr(default)[:8], repr(default).replace("'", '"'))
    is_by_name = parameter.kind is parameter.KEYWORD_ONLY
    return f"{text}`` k" if is_by_name else text


@pytest.mark.parametrize("name", in_both("reference/parameters.rst"))
def test_all_parameters_of_all_modules_are_in_one_table(name):
    rows = tables(name)[0]
    names = [row[0] for row in rows[1:]]
    assert len(names) == len(set(names))
    for column, (module, function) in enumerate(MODULES.items(), 2):
        assert rows[0][column] == module
        parameters = dict(parameters_of(function))
        assert parameters.pop("args").kind == inspect.Parameter.VAR_POSITIONAL
        assert parameters.pop("kwargs").kind == inspect.Parameter.VAR_KEYWORD
        assert {
            row[0]: row[column].replace("nötig", "needed")
            for row in rows[1:] if row[column]} == {
                name: told(parameters[name]) for name in parameters}
        assert set(parameters) <= set(names)
    assert all(row[1] for row in rows)


@pytest.mark.parametrize("name", in_both("reference/parameters.rst"))
def test_what_other_modules_have_in_addition_is_there_as_well(name):
    rows = tables(name)[1]
    expected = [
        [parameter.name, told(parameter).replace("`` k", ""), cls.__name__]
        for cls in CLASSES
        for parameter in parameters_of(cls).values()
        if parameter.name not in {"args", "creator", "kwargs", "features"}]
    assert [[row[0], row[2].replace("nötig", "needed"), row[3]]
            for row in rows[1:]] == expected
    assert all(row[1] for row in rows)


# the pages of modules, with what their tables of parameters are about
REFERENCE = {
    "steady-db": [connect], "persistent-db": [PersistentDB],
    "pooled-db": [PooledDB],
    "classic-pygresql": [SteadyPgConnection, PersistentPg, PooledPg],
    "simple-pools": [simple_pooled_db.PooledDB],
    "keyed-pool": [ThreadedConnectionPool],
    "dynamic-pooled-db": [DynamicPooledDB, Scaling],
    "health-check-pooled-db": [HealthCheckPooledDB],
    "resource-allocation-pooled-db": [ResourceAllocationPooledDB],
    "performance-optimized-pooled-db": [PerformanceOptimizedPooledDB],
    "pool-manager": [PoolConfig], "connection-config": [ConnectionConfig],
    "uri-pool": [ConnectionPool], "hosts": [Targets], "drivers": [register],
    "metrics": [instrument_all], "testing": [ScriptedDriver]}
RICHER = (
    DynamicPooledDB, HealthCheckPooledDB, ResourceAllocationPooledDB,
    PerformanceOptimizedPooledDB)
PAGE = pytest.mark.parametrize("page", [
    name for page in REFERENCE for name in in_both(f"reference/{page}.rst")])


def explained_on(page):
    """Return the functions and classes that a page of the reference has."""
    return REFERENCE[re.search(r"/([\w-]+)\.", page)[1]]


def defaults_of(thing):
    """Return the parameters and defaults, as a table tells them."""
    left_out = {"args", "kwargs", "self"}
    if thing in RICHER:  # these are told with the others of "PooledDB"
        left_out |= {"creator", "features"}
    return {
        name: told(parameter)
        for name, parameter in parameters_of(thing).items()
        if name not in left_out}


@PAGE
def test_a_page_begins_with_a_table_of_the_parameters(page):
    found, columns = [], []
    for head, *rows in tables(page):
        if head[0] != "Parameter":
            continue
        assert all(row[-1] for row in rows)
        last = len(head) - 1 if len(head) > 4 else 2
        columns += head[1:last]
        found += [
            {row[0]: row[column].replace("nötig", "needed")
             for row in rows if row[column]} for column in range(1, last)]
    assert len(columns) == len(found)
    assert found == [defaults_of(thing) for thing in explained_on(page)]
    first = re.search(r"^==.*\n(.+)", read(page), re.MULTILINE)[1]
    assert first.startswith("Parameter")


def written(thing):
    """Return the parameters of a function as the manual writes them."""
    parameters = [
        parameter.replace(annotation=parameter.empty)
        for parameter in parameters_of(thing).values()
        if parameter.name != "self"]
    text = str(inspect.Signature(parameters)).replace("'", '"')
    return text.replace("<factory>", "{}")


@PAGE
def test_signatures_are_those_of_the_code(page):
    for thing in explained_on(page):
        if thing in {*RICHER, Scaling}:
            continue
        name = {connect: "connect", register: "register"}.get(
            thing, thing.__name__)
        found = re.search(
            rf"``(?:\w+\.)?{name}(\([^`]+\))``\n\n", read(page))
        assert " ".join(found[1].split()) == written(thing)


# the pages that explain methods, with where these are found
METHODS = {
    "pool-methods": [PooledDB], "pool-state": [PooledDB, LeaseHolder],
    "steady-db": [SteadyDBConnection, SteadyDBCursor],
    "dynamic-pooled-db": [DynamicPooledDB],
    "health-check-pooled-db": [HealthCheckPooledDB],
    "resource-allocation-pooled-db": [ResourceAllocationPooledDB],
    "performance-optimized-pooled-db": [PerformanceOptimizedPooledDB],
    "keyed-pool": [ThreadedConnectionPool],
    "pool-manager": [DBConnectionPoolManager],
    "connection-config": [ConnectionConfig], "uri-pool": [ConnectionPool],
    "drivers": [dbutils.drivers, Driver],
    "metrics": [otel, prometheus], "command-line": [top],
    "testing": [ScriptedDriver, Clock, Proxy]}


def terms_of(text):
    """Yield the names and parameters of the functions that are explained."""
    for line in re.findall(r"^(``\w+\(.+)\n   \S", text, re.MULTILINE):
        yield from re.findall(r"``(\w+)\((.*?)\)``", line)


def parameters_in(text):
    """Yield the parameters that a text tells, with their defaults."""
    arguments = ast.parse(f"def function({text}): pass").body[0].args
    names = [argument.arg for argument in arguments.args]
    missing = [None] * (len(names) - len(arguments.defaults))
    yield from zip(names, missing + arguments.defaults)
    yield from zip(
        [argument.arg for argument in arguments.kwonlyargs],
        arguments.kw_defaults)


def check_parameter(name, default, parameters):
    """Check what is told about a parameter of a function."""
    value = default and ast.literal_eval(default)
    if default is None:
        assert parameters[name].default is inspect.Parameter.empty
    elif value is not ...:
        assert parameters[name].default == value
    else:  # "name=..." is one of several
        assert name in parameters or any(
            other.kind is other.VAR_KEYWORD for other in parameters.values())


@pytest.mark.parametrize(("page", "name"), [
    (page, name) for page in METHODS
    for name in in_both(f"reference/{page}.rst")])
def test_methods_have_the_parameters_that_are_told(page, name):
    terms = list(terms_of(read(name)))
    assert terms
    for function, text in terms:
        thing = next(
            getattr(place, function) for place in METHODS[page]
            if hasattr(place, function))
        for parameter, default in parameters_in(text):
            check_parameter(parameter, default, parameters_of(thing))


def test_all_modules_and_parts_are_in_the_table_of_what_is_inside():
    package = DOCS.parent / "dbutils"
    modules = {path.stem for path in package.glob("*.py")} | {
        path.parent.name for path in package.glob("*/__init__.py")}
    for text in texts("contributing/house"):
        told_of = set(re.findall(r"``(\w+)``", text))
        assert modules - told_of - {"__init__", "__main__"} == set()
