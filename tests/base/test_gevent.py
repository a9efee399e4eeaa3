"""Programs whose threads gevent replaces after this library was imported."""

import importlib.util
import subprocess
import sys
import threading
from pathlib import Path
from threading import Thread

import drivers
import pytest
from folders import SUPPORT
from patience import PATIENCE, wait_until
from sources import MODULES, parse

from dbutils.pooled_db import PooledDB
from dbutils.simple_pooled_db import PooledDB as SimplePooledDB


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_classes_of_threading_are_looked_up_when_they_are_used(path):
    names = [
        node.module for node in parse(path).body
        if hasattr(node, "module") and not node.level]
    assert "threading" not in names


class Recorder:
    """Stands for something in the module threading, and notes its callers."""

    def __init__(self, monkeypatch, name):
        self.original = getattr(threading, name)
        self.callers = set()
        monkeypatch.setattr(threading, name, self)

    def __call__(self):
        frame = sys._getframe(1)
        self.callers.add(Path(frame.f_code.co_filename).stem)
        return self.original()


def test_what_replaces_them_is_used_from_then_on(monkeypatch, dbapi):
    locks = Recorder(monkeypatch, "Lock")
    idents = Recorder(monkeypatch, "get_ident")
    pool = PooledDB(
        dbapi, maxconnections=1, maxshared=1, blocking=True)
    lease = pool.connection(shareable=False)
    thread = Thread(target=lambda: pool.connection().cursor())
    thread.start()
    wait_until(lambda: pool.stats().waiting)
    lease.close()
    thread.join(PATIENCE)
    pool._core.resize(lambda limits: limits)
    dbapi.threadsafety = 1
    SimplePooledDB(dbapi, 1)
    assert {"waiting", "mutex", "simple"} <= locks.callers
    assert {"slots", "shared_use", "mutex"} <= idents.callers
    idents.callers.clear()
    pool = PooledDB(dbapi, 1, track=True)
    pool.connection()
    assert "pooled_db" in idents.callers


BEGINNING = """
import os, sys, threading, time
import mock_db
from dbutils.persistent_db import PersistentDB
from dbutils.pooled_db import PooledDB
from dbutils.simple_pooled_db import PooledDB as SimplePooledDB
{before}
import gevent.monkey
gevent.monkey.patch_all()
import gevent

def in_greenlets(*functions):
    greenlets = [gevent.spawn(function) for function in functions]
    gevent.joinall(greenlets, timeout=10)
    return [greenlet.value for greenlet in greenlets]
{after}
"""

WAITING = """
pool = PooledDB(mock_db, maxconnections=1, blocking=True)

def hold():
    with pool.connection():
        gevent.sleep(0.1)
    return "done"

print(in_greenlets(hold, hold, hold))
""", "['done', 'done', 'done']"

SHARING = """
pool = PooledDB(mock_db, maxconnections=1, maxshared=1, blocking=True)
execute, users = mock_db.Cursor.execute, []

def slow_execute(cursor, *args):
    users.append(None)
    gevent.sleep(0.1)
    number = len(users)
    users.pop()
    execute(cursor, *args)
    return number

mock_db.Cursor.execute = slow_execute

def use():
    return pool.connection().cursor().execute("select 1")

print(in_greenlets(use, use, use))
""", "[1, 1, 1]"

PERSISTING = """
def use():
    before = persistent.connection()
    gevent.sleep(0.1)
    return persistent.connection() is before

def get():
    return persistent.connection()

print(in_greenlets(use, use), len(set(map(id, in_greenlets(get, get)))))
""", "[True, True] 2"

FILLING = """
connect = mock_db.connect

def slow_connect(*args, **kwargs):
    gevent.sleep(0.1)
    return connect(*args, **kwargs)

mock_db.connect = slow_connect

def use():
    simple.connection().close()
    return "done"

print(in_greenlets(use, use))
""", "['done', 'done']"

# as in a server that loads the program before it forks
FORKING = """
persistent = PersistentDB(mock_db)
persistent.connection()
mock_db.threadsafety = 1
simple = SimplePooledDB(mock_db, 1)
mock_db.threadsafety = 3
if os.fork():
    sys.exit(os.wait()[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("before", "program"), [
    ("", WAITING), ("", SHARING), ("persistent = PersistentDB(mock_db)",
    PERSISTING), (FORKING, PERSISTING), (FORKING, FILLING)])
def test_who_waits_does_not_stop_the_others(before, program):
    if not importlib.util.find_spec("gevent"):
        if drivers.IN_CI:
            pytest.fail("gevent is not installed")
        pytest.skip("gevent is not installed")
    text, expected = program
    process = subprocess.run(
        [sys.executable, "-c", BEGINNING.format(before=before, after=text)],
        capture_output=True, text=True,
        timeout=PATIENCE * 2, cwd=str(SUPPORT), check=False)
    assert process.stdout.strip() == expected, process.stderr


REPLACED = """
import threading, _thread

class Local:
    def __setattr__(self, name, value):
        raise RuntimeError("this greenlet has ended")

_thread._local = Local
import gc
from dbutils._base import finalizers

class Cycle:
    def __del__(self):
        print(finalizers.is_collecting())

cycle = Cycle()
cycle.itself = cycle
del cycle
gc.collect()
print(finalizers.is_collecting())
"""


def test_a_collection_is_noted_though_gevent_has_replaced_all_before():
    process = subprocess.run(
        [sys.executable, "-c", REPLACED], capture_output=True, text=True,
        timeout=PATIENCE * 2, cwd=str(SUPPORT), check=False)
    assert process.stdout.split() == ["True", "False"], process.stderr
    assert not process.stderr
