"""The modules of the standard library that the import of a pool loads."""

import subprocess
import sys

import pytest
from folders import ROOT
from sources import PACKAGE

pytestmark = [
    pytest.mark.skipif(
        not PACKAGE.is_dir(),
        reason="there is no checkout around these tests"),
    pytest.mark.skipif(
        sys.version_info < (3, 10),
        reason="this Python needs further modules, see hints and callers")]

# What may be imported at the top.  Anything else is imported where it is used:
# logging, traceback, socket, random or pathlib take longer than all of this.
SMALL = {
    "_signal", "_socket", "_thread", "atexit", "bisect", "collections",
    "contextlib", "contextvars", "functools", "gc", "itertools", "operator",
    "os", "re", "select", "stat", "sys", "threading", "time", "types",
    "typing", "warnings", "weakref"}
# It tells Python before 3.13 which interpreter is the main one.
BUILT_IN = {"_xxsubinterpreters"}
# What only some of the public modules need.
MORE = {
    "persistent_db": {"_threading_local"},
    "persistent_pg": {"_threading_local"},
    "pooled_pg": {"queue"}}


def loaded_by(statement):
    """Return the modules that a statement loads in a new interpreter."""
    program = (
        f"import os, sys; sys.path.insert(0, {str(ROOT)!r}); {statement};"
        "print(*sys.modules)")
    return set(subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], check=True, timeout=60,
        text=True, stdout=subprocess.PIPE).stdout.split())


@pytest.mark.parametrize("name", [
    "steady_db", "steady_pg", "persistent_db", "persistent_pg",
    "simple_pooled_db", "simple_pooled_pg", "pooled_db", "pooled_pg"])
def test_an_import_loads_only_small_modules(name):
    allowed = sorted({"__future__"} | SMALL | MORE.get(name, set()))
    loaded = loaded_by(f"import dbutils.{name}")
    assert f"dbutils.{name}" in loaded
    assert {
        module for module in loaded if not module.startswith("dbutils")
    } - BUILT_IN - loaded_by(f"import {', '.join(allowed)}") == set()


def test_what_decides_after_errors_is_loaded_with_the_first_connection():
    loaded = loaded_by("import dbutils.pooled_db")
    opened = loaded_by(
        "import sqlite3; from dbutils.pooled_db import PooledDB;"
        "PooledDB(sqlite3, 1, database=':memory:')")
    for name in ("policies", "safe", "classic"):
        assert f"dbutils._steady.{name}" in opened - loaded
