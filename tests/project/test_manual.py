"""What the manual shows works, in both languages."""

import importlib
import inspect
import re
import sqlite3
import subprocess
import sys
from functools import partial

import drivers
import pytest
from drivers import ready
from folders import DOCS
from manuals import BLOCK, MANUALS, both

from dbutils import (
    ConnectionConfig,
    ConnectionPool,
    DynamicPooledDB,
    HealthCheckPooledDB,
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
    SteadyPgConnection,
)
from dbutils.keyed_pool import ThreadedConnectionPool
from dbutils.steady_db import connect

pytestmark = [
    pytest.mark.portable, pytest.mark.skipif(
        not DOCS.is_dir(), reason="there is no checkout around these tests")]

@pytest.mark.parametrize("code", both())
def test_the_code_in_the_manual_runs_and_runs_again(
        code, tmp_path, monkeypatch, caplog):
    """It raises no exception, holds no connection, and nothing is logged."""
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # in the same folder, as one does who tries it
        names = {"__name__": "a_manual"}
        exec(compile(code, "manual", "exec"), names)
        if "pool" in names:
            close_pool(names["pool"])
        elif "db" in names:
            names["db"]._close()
        elif "top" in names:
            names["top"].serve().close()
    assert caplog.messages == []


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
            if name not in {"host", "dbname", "database", "user"}}
        assert len(args) <= 1
        return real(**dict(there, **wishes))
    monkeypatch.setattr(module, function, connect)
    return driver


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shop", "code"), both("psycopg2", "pymysql", "pg"), indirect=["shop"])
def test_the_code_for_servers_runs(shop, code):
    for table in "stock", "lager":
        shop.run(f"drop table if exists {table}")
        shop.run(f"create table {table} (item text)")
    names = {}
    exec(compile(code, "manual", "exec"), names)
    pool = names.get("connections", names.get("pool"))
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
@pytest.mark.parametrize(("_", "code"), both("flask"))
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
@pytest.mark.parametrize(("_", "code"), both("fastapi"))
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


def shape(name):
    """Return what both languages must have in common, in order."""
    text = (DOCS / name).read_text(encoding="utf-8")
    underlines = re.findall(r"^([+=-])\1{4,}$", text, re.MULTILINE)
    terms = re.findall(r"^``(\w+).*\n   \S", text, re.MULTILINE)
    signatures = re.findall(r"^ *``\w+\([^`]*``$", text, re.MULTILINE)
    return underlines, terms, signatures, len(BLOCK.findall(text))


def test_both_languages_say_the_same_things():
    english, german = map(shape, MANUALS)
    assert english == german
    assert len(english[0]) > 30
    assert len(english[1]) > 30
    assert len(english[2]) > 5


def test_pictures_are_those_that_are_drawn():
    done = subprocess.run(
        [sys.executable, str(DOCS / "pictures.py"), "--check"], check=False,
        stdout=subprocess.PIPE)
    assert done.stdout.decode() == ""
    assert done.returncode == 0
    drawn = {path.name for path in DOCS.glob("*.png")}
    for name in MANUALS:
        text = (DOCS / name).read_text(encoding="utf-8")
        assert set(re.findall(r"^\.\. image:: (.+)$", text, re.M)) == drawn


def test_all_code_of_the_manual_is_run_but_what_not_to_do():
    for name in MANUALS:
        text = (DOCS / name).read_text(encoding="utf-8")
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
    """Return the tables of all parameters, as lists of rows."""
    text = (DOCS / name).read_text(encoding="utf-8")
    chapter = text.split("\n.. rst-class:: small upright\n")[1]
    found = re.findall(
        r"^(==[= ]+)\n(.+)\n\1\n((?:``.+\n)+)\1$", chapter, re.MULTILINE)
    return [
        [cells(bar, line) for line in [head, *body.splitlines()]]
        for bar, head, body in found[:2]]


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


@pytest.mark.parametrize("name", MANUALS)
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


@pytest.mark.parametrize("name", MANUALS)
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


def test_all_modules_and_parts_are_in_the_table_of_what_is_inside():
    package = DOCS.parent / "dbutils"
    modules = {path.stem for path in package.glob("*.py")} | {
        path.parent.name for path in package.glob("*/__init__.py")}
    for name in MANUALS:
        text = (DOCS / name).read_text(encoding="utf-8")
        told_of = set(re.findall(r"``(\w+)``", text))
        assert modules - told_of - {"__init__", "__main__"} == set()
