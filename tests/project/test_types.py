"""What type checkers and interactive help show of the library."""

import importlib
import inspect
import json
import os
import pydoc
import re
import shutil
import subprocess
import sys
import types
import typing
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import dbutils
from dbutils._drivers.names import DriverNames, PgNames

USES = Path(__file__).with_name("typical_uses.py")
ROOT = Path(__file__).resolve().parents[2]
PARENT = Path(dbutils.__file__).resolve().parents[1]


def expected():
    """Return what the comments say, by the numbers of the lines."""
    lines = USES.read_text(encoding="utf-8").splitlines()
    return {
        number: line.split("  # ")[1]
        for number, line in enumerate(lines, 1) if "  # " in line}


def run(checker, folder, *options):
    """Return what a type checker prints about the program."""
    pytest.importorskip(checker)
    (folder / USES.name).write_bytes(USES.read_bytes())
    is_found = PARENT.name in {"site-packages", "dist-packages"}
    (folder / "pyrightconfig.json").write_text(json.dumps(
        {"extraPaths": [] if is_found else [str(PARENT)],
         "typeCheckingMode": "standard"}), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", checker, *options, USES.name],
        check=False,  # it finds the mistakes
        stdout=subprocess.PIPE, text=True, timeout=170, cwd=str(folder), env={
            **os.environ, "MYPYPATH": "" if is_found else str(PARENT),
            # it would look for a newer version of itself
            "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}).stdout


def told(text):
    """Return a type without its modules, or that there is a mistake."""
    types = re.findall(r'(?:Revealed type| is) (?:is )?"(.*)"$', text)
    return re.sub(r"(?:\w+\.)+(\w+)", r"\1", types[0]) if types else "mistake"


@pytest.mark.slow
def test_mypy_knows_the_types_and_finds_the_mistakes(tmp_path):
    said = run(
        "mypy", tmp_path, "--strict", "--follow-imports=silent",
        "--config-file=", "--cache-dir=cache")
    found = re.findall(r"\.py:(\d+): (?:note|error): (.*)$", said, re.M)
    assert {
        int(line): told(re.sub(r"  \[[\w-]+\]$", "", text))
        for line, text in found} == expected()


# the one that needs nothing else, if it is installed
PYRIGHT = "basedpyright" if find_spec("basedpyright") else "pyright"


@pytest.mark.slow
def test_pyright_knows_the_types_and_finds_the_mistakes(tmp_path):
    said = json.loads(run(
        PYRIGHT, tmp_path, "--outputjson", "--pythonpath", sys.executable))
    assert {
        one["range"]["start"]["line"] + 1: told(one["message"])
        if one["severity"] == "information" else "mistake"
        for one in said["generalDiagnostics"]} == expected()


BUILD = """
import sys
from setuptools import build_meta
build_meta.build_editable(sys.argv[1])
"""


@pytest.mark.slow
def test_mypy_finds_an_editable_install(tmp_path):
    pytest.importorskip("mypy")
    pytest.importorskip("setuptools", "77")
    source, other = tmp_path / "source", tmp_path / "other"
    other.mkdir()
    shutil.copytree(str(ROOT / "dbutils"), str(source / "dbutils"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(str(ROOT / name), str(source))
    subprocess.run(
        [sys.executable, "-c", BUILD, str(other)],
        check=True, stdout=subprocess.PIPE, timeout=60, cwd=str(source))
    venv.create(str(tmp_path / "env"))
    site, = (tmp_path / "env").rglob("site-packages")
    wheel, = other.glob("*.whl")
    zipfile.ZipFile(str(wheel)).extractall(str(site))
    python = tmp_path / "env" / "bin" / "python"
    (other / "program.py").write_text(
        "from dbutils import PooledDB\nreveal_type(PooledDB)\n",
        encoding="utf-8")
    said = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=",
         f"--python-executable={python}", "program.py"],
        check=False, stdout=subprocess.PIPE, text=True, timeout=170,
        cwd=str(other), env={
            name: value for name, value in os.environ.items()
            if name not in {"PYTHONPATH", "MYPYPATH"}}).stdout
    assert "PooledDB[Con" in said
    assert "Success" in said


@pytest.mark.slow
@pytest.mark.parametrize("path", [
    "sqlite3.Connection", "psycopg2.extensions.connection",
    "psycopg.Connection", "pymysql.connections.Connection"])
def test_type_checkers_know_the_names_of_a_driver(path):
    module, name = path.rsplit(".", 1)
    kind = getattr(pytest.importorskip(module), name)
    known = {*DriverNames.__annotations__, *dir(
        dbutils.PooledDedicatedDBConnection)}
    assert {name for name in dir(kind) if not name.startswith("_")} - known - {
        "async",  # no name of Python from 3.7 on
        "connect",  # which makes another connection
        "write_packet"} == set()  # only the driver calls it


@pytest.mark.slow
def test_type_checkers_know_the_names_of_classic_pygresql():
    pg = pytest.importorskip("pg")
    names = {
        name for kind in (pg.DB, pg.Connection) for name in dir(kind)
        if not name.startswith("_")}
    assert names - {*PgNames.__annotations__} == {"close"}


PUBLIC = [
    (module, name) for module in dbutils._MODULES
    for name in importlib.import_module(f"dbutils.{module}").__all__]


def functions():
    """Return the public functions, classes and methods by their names."""
    found = {}
    for module, name in PUBLIC:
        thing = getattr(importlib.import_module(f"dbutils.{module}"), name)
        if not callable(thing) or name in FOREIGN or (
                isinstance(thing, type) and issubclass(thing, Exception)):
            continue
        found[f"{module}.{name}"] = thing
        for inner, method in inspect.getmembers(thing):
            if isinstance(method, FUNCTIONS) and not inner.startswith("_"):
                found[f"{module}.{name}.{inner}"] = method
    return found


# The classes whose parameters are those of the standard library.
FOREIGN = {"DatabaseType", "local"}
FUNCTIONS = (types.FunctionType, types.MethodType)


@pytest.mark.parametrize("name", functions())
def test_a_signature_shows_all_defaults(name):
    thing = functions()[name]
    shown = str(inspect.signature(thing))
    assert " object" not in shown
    assert " at 0x" not in shown
    # before Python 3.9, the parameters of __new__() are shown
    if isinstance(thing, type) and sys.version_info >= (3, 9):
        assert not shown.startswith("(*args")


@pytest.mark.portable
@pytest.mark.parametrize("module", dbutils._MODULES)
def test_help_shows_what_things_are_and_not_where(module):
    shown = pydoc.plain(pydoc.render_doc(
        importlib.import_module(f"dbutils.{module}")))
    assert " object at 0x" not in shown
    assert " object>" not in shown


@pytest.mark.portable
@pytest.mark.skipif(
    sys.version_info < (3, 10), reason="types are written as in Python 3.10")
@pytest.mark.parametrize("name", functions())
def test_the_types_of_parameters_can_be_evaluated(name):
    thing = functions()[name]
    function = thing.__init__ if isinstance(thing, type) else thing
    if isinstance(function, FUNCTIONS):
        assert typing.get_type_hints(function) is not None


def test_a_class_has_the_signature_of_its_own():
    class Plain(dbutils.DBConnectionPoolManager):
        pass

    class Derived(dbutils.DBConnectionPoolManager):
        def __init__(self, name, size=5):
            super().__init__()

    assert str(inspect.signature(Derived)) == "(name, size=5)"
    assert not inspect.signature(Plain).parameters
    assert not inspect.signature(dbutils.DBConnectionPoolManager).parameters
    assert [*inspect.signature(dbutils.PoolStats).parameters] == [
        *dbutils.PoolStats._fields]


def test_help_shows_the_parameters_of_a_pool_and_a_request():
    made = inspect.signature(dbutils.DynamicPooledDB).parameters
    assert next(iter(made)) == "creator"
    pool = str(inspect.signature(dbutils.PooledDB))
    assert "maxconnections: 'int | None' = 0" in pool
    assert "failover: 'Failover' = 'safe'" in pool
    for lend in (
            dbutils.PooledDB.connection, dbutils.PooledPg.connection,
            dbutils.PooledDB.dedicated_connection,
            dbutils.ManagedPool.get_connection):
        shown = str(inspect.signature(lend))
        assert "maxwait: 'float | None' = None" in shown
        assert "target: 'Target | None' = None" in shown
    execute = inspect.signature(dbutils.SteadyDBCursor.execute)
    assert "operation: 'Any' = ..., parameters: 'Any' = ..." in str(execute)
