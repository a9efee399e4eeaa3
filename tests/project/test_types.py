"""What type checkers and interactive help show of the library."""

import inspect
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import dbutils
from dbutils._drivers.names import ConnectionNames

USES = Path(__file__).with_name("typical_uses.py")
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
        {"extraPaths": [] if is_found else [str(PARENT)]}), encoding="utf-8")
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


@pytest.mark.slow
def test_pyright_knows_the_types_and_finds_the_mistakes(tmp_path):
    said = json.loads(run(
        "pyright", tmp_path, "--outputjson", "--pythonpath", sys.executable))
    assert {
        one["range"]["start"]["line"] + 1: told(one["message"])
        if one["severity"] == "information" else "mistake"
        for one in said["generalDiagnostics"]} == expected()


@pytest.mark.slow
@pytest.mark.parametrize("path", [
    "sqlite3.Connection", "psycopg2.extensions.connection",
    "psycopg.Connection", "pymysql.connections.Connection"])
def test_type_checkers_know_the_names_of_a_driver(path):
    module, name = path.rsplit(".", 1)
    kind = getattr(pytest.importorskip(module), name)
    known = {*ConnectionNames.__annotations__, *dir(
        dbutils.PooledDedicatedDBConnection)}
    assert {name for name in dir(kind) if not name.startswith("_")} - known - {
        "async",  # no name of Python from 3.7 on
        "connect",  # which makes another connection
        "write_packet"} == set()  # only the driver calls it


def signatures():
    """Return the signatures of the public classes and of their methods."""
    things = [getattr(dbutils, name) for name in dbutils.__all__]
    found = []
    for thing in things:
        if not isinstance(thing, type) or issubclass(thing, Exception):
            continue
        found.append((thing.__name__, inspect.signature(thing)))
        found += [
            (f"{thing.__name__}.{name}", inspect.signature(method))
            for name, method in inspect.getmembers(thing)
            if not name.startswith("_")
            and isinstance(method, (types.FunctionType, types.MethodType))]
    return found


@pytest.mark.parametrize(
    ("name", "signature"), [pytest.param(*one, id=one[0])
                            for one in signatures()])
def test_a_signature_shows_all_defaults(name, signature):
    assert " object" not in str(signature)
    assert " at 0x" not in str(signature)


def test_help_shows_the_parameters_of_a_pool_and_a_request():
    made = inspect.signature(dbutils.DynamicPooledDB).parameters
    assert next(iter(made)) == "creator"
    pool = str(inspect.signature(dbutils.PooledDB))
    assert "maxconnections: 'int | None' = 0" in pool
    assert "failover: 'Failover' = 'safe'" in pool
    assert "maxwait: 'float | None' = None" in str(
        inspect.signature(dbutils.PooledDB.connection))
    execute = inspect.signature(dbutils.SteadyDBCursor.execute)
    assert "operation: 'Any' = ..., parameters: 'Any' = ..." in str(execute)
