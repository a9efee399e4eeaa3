"""The processes of uWSGI, which forks without telling Python.

Its module stands in: it exists before the program, and each process calls one
function of it, if there is one.
"""

import os
import subprocess
import sys

import pytest
from forking import needs_fork

pytestmark = needs_fork

PROGRAM = """
import ctypes, os, sys, types
sys.modules["uwsgi"] = uwsgi = types.ModuleType("uwsgi")
calls = []
uwsgi.post_fork_hook = lambda: calls.append("before")
import sqlite3
from dbutils.persistent_db import PersistentDB
from dbutils.pooled_db import PooledDB

pool = PooledDB(sqlite3, mincached=2, maxcached=2, database=":memory:")
persistent = PersistentDB(sqlite3, database=":memory:")
lease = pool.connection()

def use():
    persistent.connection().cursor().execute("create temp table mine (id)")
    pool.connection().close()

use()
{more}

def fork():
    child = ctypes.PyDLL(None).fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
        return False
    hook = vars(uwsgi).get("post_fork_hook")  # as uWSGI looks it up
    if hook:
        hook()
    return True

def look():
    found = persistent.connection().cursor().execute(
        "select count(*) from sqlite_temp_master").fetchone()[0]
    print(pool._connections, len(pool._idle_cache), found, *calls, flush=True)

if fork():
    look()
    use()
    if fork():
        look()
    os._exit(0)
look()
"""
MORE = {
    "": ["before"],
    "uwsgi.post_fork_hook = lambda: calls.append('after')": ["after"],
    "uwsgi.post_fork_hook = None": [],
    "old = uwsgi.post_fork_hook\n"
    "uwsgi.post_fork_hook = lambda: (old(), calls.append('after'))":
        ["before", "after"],
    "os.register_at_fork(after_in_child=lambda: calls.append('never'))":
        ["before"],
}


@pytest.mark.skipif(os.name != "posix", reason="uWSGI needs POSIX")
@pytest.mark.parametrize("more", MORE)
def test_a_process_of_uwsgi_opens_connections_of_its_own(more):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(more=more)],
        capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    calls = MORE[more]
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["0", "0", "0", *calls], ["0", "0", "0", *calls, *calls],
        ["1", "1", "1"]]
