"""Modules that are loaded late, at the worst moments of whole programs."""

import os
import subprocess
import sys

import pytest
from folders import ROOT
from patience import PATIENCE

BEGIN = """
import atexit, gc, os, signal, sqlite3, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from dbutils.pooled_db import PooledDB
pool = PooledDB(sqlite3, 0, 1, database=":memory:", check_same_thread=False)
LATE = ["_core.stats", "_pooled.transactions"]

def loaded():
    return ["dbutils." + name in sys.modules for name in LATE]

def use():
    assert pool.run(lambda db: db.cursor().execute(
        "select 1").fetchone()) == (1,)
    assert pool.stats().in_use == 0

assert not any(loaded())
"""

PROGRAMS = {
    "with many threads": """
barrier = threading.Barrier(8)
done = []
pool = PooledDB(
    sqlite3, 0, 8, database=":memory:", check_same_thread=False)

def work():
    barrier.wait()
    with pool.connection() as db:
        db.cursor().execute("select 1")
    pool.run(lambda db: None)
    pool.stats()
    done.append(1)

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(done) == 8
use()
""",
    "in an exit handler": """
atexit.register(use)
""",
    "in a finalizer": """
class Last:
    def __del__(self):
        use()

last = Last()
del last  # the collector would only let it note what is to be done
assert all(loaded())
""",
    "while leases are collected": """
class Cycle:
    pass

for _ in range(20):
    thing = Cycle()
    thing.me, thing.db = thing, pool.connection()
del thing
gc.set_threshold(1)
pool.run(lambda db: None)
gc.collect()
use()
""",
    "with a lease that lives until the end": """
db = pool.connection()

class Last:
    def __del__(self):
        try:
            pool.stats()
        except (ImportError, TypeError):
            pass  # Python has ended

last = Last()
""",
    "after interrupts at any line": """
# an interrupt of a generator that ends can only be reported
if sys.version_info < (3, 8):
    sys.stderr = None
sys.unraisablehook = lambda report: None

def interrupt(number):
    left = [number]

    def trace(frame, event, arg):
        if "dbutils" not in frame.f_code.co_filename:
            return None
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return trace
    return trace

number, was_hit = 0, True
while was_hit:
    number, was_hit = number + 1, False
    for name in LATE:
        sys.modules.pop("dbutils." + name, None)
    sys.settrace(interrupt(number))
    try:
        pool.stats()
    except KeyboardInterrupt:
        was_hit = True
    finally:
        sys.settrace(None)
    use()
assert number > 20
""",
    "in the children of forks while a thread loads the core": """
del sys.modules["dbutils._core.pool"]
del sys.modules["dbutils._core"].pool
has_begun, goes_on = threading.Event(), threading.Event()

class Slow:
    @staticmethod
    def find_spec(name, path, target=None):
        if name == "dbutils._core.pool":
            has_begun.set()
            goes_on.wait()

def make():
    return PooledDB(
        sqlite3, 0, 1, database=":memory:", check_same_thread=False)

sys.meta_path.insert(0, Slow)
thread = threading.Thread(target=make)
thread.start()
has_begun.wait()
threading.Timer(0.2, goes_on.set).start()
ends = []

def fork():
    child = os.fork()
    if not child:
        signal.alarm(20)
        sys.meta_path.remove(Slow)
        with make().connection() as db:
            db.cursor().execute("select 1")
        os._exit(7)
    ends.append(os.waitpid(child, 0)[1] >> 8)

other = threading.Thread(target=fork)
other.start()
fork()
other.join()
assert ends == [7, 7], ends
thread.join()
""",
    "in the child of a fork while a thread loads what few need": """
from importlib.machinery import PathFinder
from types import ModuleType
has_begun, goes_on = threading.Event(), threading.Event()

class Slow:
    @staticmethod
    def find_spec(name, path, target=None):
        if name != "dbutils._drivers.unknown":
            return None
        spec = PathFinder.find_spec(name, path, target)
        run = spec.loader.exec_module

        def exec_module(module):
            has_begun.set()
            goes_on.wait()
            run(module)

        spec.loader.exec_module = exec_module
        return spec

class Connection:
    def cursor(self):
        raise LookupError

    rollback = close = object

driver = ModuleType("driver")
driver.threadsafety = 2
driver.connect = Connection

def make():
    with PooledDB(driver, 0, 1, failures=LookupError).connection() as db:
        db.dbapi_connection.close()

sys.meta_path.insert(0, Slow)
thread = threading.Thread(target=make)
thread.start()
has_begun.wait()
threading.Timer(0.2, goes_on.set).start()
child = os.fork()
if not child:
    signal.alarm(20)
    make()
    os._exit(7)
assert os.waitpid(child, 0)[1] >> 8 == 7
thread.join()
""",
    "in a forked child": """
ends = []
for _ in range(3):
    child = os.fork()
    if not child:
        use()
        os._exit(7)
    ends.append(os.waitpid(child, 0)[1] >> 8)
assert ends == [7, 7, 7]
use()
"""}


@pytest.mark.parametrize("title", PROGRAMS)
def test_what_is_loaded_late_is_loaded_safely(title):
    if "fork" in title and not hasattr(os, "fork"):
        pytest.skip("there is no fork here")
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + PROGRAMS[title]], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        timeout=PATIENCE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stdout) == (0, "")
