"""The package as a whole."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dbutils

MODULES = [
    "steady_db", "steady_pg", "persistent_db", "persistent_pg", "pooled_db",
    "pooled_pg", "simple_pooled_db", "simple_pooled_pg"]


def run_python(code):
    """Run code in a new interpreter and return what it prints."""
    return subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE,
        text=True, timeout=60).stdout.split()


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_the_version(name):
    module = getattr(dbutils, name)
    assert module.__version__ == dbutils.__version__
    for public in module.__all__:
        version = getattr(getattr(module, public), "version", None)
        assert version in {None, dbutils.__version__}


@pytest.mark.parametrize("name", [
    "SteadyDBConnection", "SteadyPgConnection", "PersistentDB",
    "PersistentPg", "PooledDB", "PooledPg", "SimplePooledDB",
    "SimplePooledPg"])
def test_the_main_classes_have_a_version(name):
    assert getattr(dbutils, name).version == dbutils.__version__


def test_importing_the_package_imports_none_of_its_modules():
    assert run_python(
        "import sys; before = set(sys.modules); import dbutils;"
        "print(*(name for name in sys.modules if name not in before))",
    ) == ["dbutils"]


def test_everything_can_be_imported_without_pygresql():
    names = run_python(
        "import sys; sys.modules['pg'] = None; from dbutils import *;"
        "print(*dir())")
    assert set(dbutils.__all__) <= set(names)


PUBLIC = [
    (module, name) for module in MODULES
    for name in getattr(dbutils, module).__all__]


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_the_package_offers_all_public_names(module, name):
    simple = module.startswith("simple") and name.startswith("Pooled")
    if simple and not name.endswith("Error"):
        thing = getattr(getattr(dbutils, module), name)
        assert getattr(dbutils, "Simple" + name) is thing
    assert name in dbutils.__all__ or simple
    assert name in dir(dbutils) or simple


def test_all_names_what_there_is():
    assert len(set(dbutils.__all__)) == len(dbutils.__all__)
    for name in dbutils.__all__:
        assert getattr(dbutils, name) is not None
        assert name in dir(dbutils)


@pytest.mark.parametrize("name", [
    "InvalidConnectionError", "NotSupportedError", "PooledDBError",
    "TooManyConnectionsError"])
def test_an_exception_of_several_modules_is_that_of_pooled_db(name):
    assert getattr(dbutils, name) is getattr(dbutils.pooled_db, name)


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_classes_live_in_their_public_modules(module, name):
    thing = getattr(getattr(dbutils, module), name)
    if isinstance(thing, type) and name != "local":
        assert thing.__module__ == "dbutils." + module


def test_old_names_of_errors_still_work():
    assert dbutils.steady_db.InvalidCursor is dbutils.InvalidCursorError
    for name in ("InvalidConnection", "TooManyConnections"):
        for module in (dbutils.pooled_db, dbutils.pooled_pg):
            assert getattr(module, name) is getattr(module, name + "Error")
    steady_pg = dbutils.steady_pg
    assert steady_pg.InvalidConnection is steady_pg.InvalidConnectionError


def test_pooled_db_offers_the_persistent_connections_as_well():
    assert dbutils.pooled_db.PersistentDB is dbutils.PersistentDB
    assert dbutils.pooled_db.local is dbutils.local


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_thing"):
        dbutils.no_such_thing()


def run_mypy(folder, lines):
    """Return what mypy says about a program, line by line."""
    pytest.importorskip("mypy")
    (folder / "program.py").write_text("\n".join(lines), encoding="utf-8")
    parent = Path(dbutils.__file__).resolve().parents[1]
    is_found = parent.name in {"site-packages", "dist-packages"}
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent",
         "--config-file=", "--cache-dir=cache", "program.py"],
        check=False,  # it finds what is wrong in the program
        stdout=subprocess.PIPE, text=True, timeout=170, cwd=str(folder),
        env={**os.environ, "MYPYPATH": "" if is_found else str(parent)})
    return dict(re.findall(
        r"^program\.py:(\d+): \w+: (.*)$", done.stdout, re.MULTILINE))


@pytest.mark.slow
def test_type_checkers_know_the_names_of_the_package(tmp_path):
    names = [name for name in dbutils.__all__ if name != "__version__"]
    said = run_mypy(tmp_path, [
        f"from dbutils import {', '.join(names)}",
        *(f"reveal_type({name})" for name in names),
        "from dbutils import PooledDb", "import dbutils",
        "dbutils.nonsense", "reveal_type(dbutils.uri_pool.ConnectionPool)",
        "PooledDB(5)"])
    types = [said.pop(str(number)) for number in range(2, len(names) + 2)]
    for name, told in zip(names, types):
        assert told.startswith('Revealed type is "'), name
        assert told != 'Revealed type is "Any"', name
        thing = getattr(dbutils, name)
        if isinstance(thing, type) and name != "local":
            assert re.search(
                rf"(?:-> |=)dbutils\..*\b{thing.__name__}\b", told)
    unknown, member, public, wrong = said.values()
    assert 'has no attribute "PooledDb"' in unknown
    assert 'has no attribute "nonsense"' in member
    assert "-> dbutils.uri_pool.ConnectionPool" in public
    assert wrong.startswith('Argument 1 to "PooledDB" has incompatible type')
