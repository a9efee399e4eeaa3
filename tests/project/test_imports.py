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
# logging, re or collections take longer than ten modules of ours.
SMALL = {
    "_collections", "_functools", "_operator", "_signal", "_thread",
    "_weakref", "_weakrefset", "atexit", "bisect", "gc", "itertools", "os",
    "stat", "sys", "threading", "time", "types", "warnings"}
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


# The modules that a pool without options needs neither for its import nor for
# its first connection, by what loads them.
LATE = {
    "_core.features": "a feature", "_core.maintenance": "times",
    "_base.housekeeper": "times", "_base.crew": "times",
    "_core.thread_order": "another order", "_core.resetting": "workers",
    "_core.quotas": "a policy", "_core.stats": "stats()",
    "_pooled.shared_use": "sharing", "_pooled.transactions": "run()",
    "_base.attempt": "maxwait", "_steady.sockets": "a socket",
    "_steady.classic": "failover='always'", "_steady.account": "a driver"}
FIRST = (
    "import sqlite3; from dbutils.pooled_db import PooledDB;"
    "pool = PooledDB(sqlite3, 0, database=':memory:');"
    "pool.connection().close()")


def ours(loaded):
    return {name[8:] for name in loaded if name.startswith("dbutils.")}


def test_a_first_connection_without_options_loads_no_module_for_options():
    assert ours(loaded_by(FIRST)) & LATE.keys() == set()


HEALTHY = (
    "from dbutils.health_check_pooled_db import HealthCheckPooledDB;"
    "HealthCheckPooledDB(sqlite3, database=':memory:')")
LATEST = "pool._core.set_order(latest=True)"
CLASSIC = "PooledDB(sqlite3, 1, failover='always', database=':memory:')"


@pytest.mark.parametrize(("name", "program"), [
    ("_core.features", HEALTHY), ("_core.thread_order", LATEST),
    ("_core.maintenance", "PooledDB(sqlite3, refill=1, database=':memory:')"),
    ("_core.stats", "pool.stats()"), ("_steady.classic", CLASSIC),
    ("_pooled.transactions", "pool.run(lambda db: 1)")])
def test_an_option_loads_its_module(name, program):
    assert name in ours(loaded_by(f"{FIRST}; {program}"))


# What is loaded with the first pool or connection, so that a program that only
# imports the library does not pay for it; by the parts that need it.
POLICIES = {"_steady.policies", "_steady.safe", "_steady.replaced"}
OPENING = {"_steady.db_session", "_steady.opener"}
CORE = {
    "_core.acquiring", "_core.leaving", "_core.opener", "_core.pool",
    "_core.releasing", "_core.serving", "_core.sharing", "_core.story",
    "_core.throttle", "_pooled.backends"}


@pytest.mark.parametrize(("module", "made", "late"), [
    ("steady_db", "connect", POLICIES | OPENING),
    ("pooled_db", "PooledDB", POLICIES | OPENING | CORE),
    ("persistent_db", "PersistentDB", POLICIES | OPENING)])
def test_what_a_request_needs_is_loaded_with_a_pool(module, made, late):
    """A request could be interrupted while it is loaded."""
    loaded = f"import sqlite3; from dbutils import {module}"
    made = f"{loaded}; {module}.{made}(sqlite3, 0, database=':memory:')"
    assert ours(loaded_by(loaded)) & late == set()
    assert late <= ours(loaded_by(made))


def test_a_request_of_a_pool_without_options_loads_nothing():
    before, after = FIRST.rsplit(";", 1)
    assert "connection()" in after
    assert loaded_by(f"{before}; import sqlite3") == loaded_by(FIRST)
