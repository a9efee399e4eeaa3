"""Whole programs, each run in a process of its own, to see how they end."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

# Each program begins with this; the driver and its parameters are arguments.
PRELUDE = """
import atexit, importlib, json, os, signal, sys, threading, time, warnings
from concurrent.futures import ThreadPoolExecutor
from dbutils.health_check_pooled_db import HealthCheckPooledDB
from dbutils.performance_optimized_pooled_db import (
    PerformanceOptimizedPooledDB)
from dbutils.persistent_db import PersistentDB
from dbutils.pooled_db import PooledDB
from dbutils.steady_db import connect

# Python 3.12 and later say that of every fork of a program with threads
warnings.filterwarnings("ignore", ".*multi-threaded, use of fork")

name, kwargs = json.loads(sys.argv[1])
driver = importlib.import_module(name)

def make(pool_class=PooledDB, **options):
    return pool_class(driver, **options, **kwargs)

def ask(db):
    cursor = db.cursor()
    cursor.execute("select 1")
    assert tuple(cursor.fetchone()) == (1,)
    return cursor
"""

# The programs, and the status with which they end unless that is 0.
PROGRAMS = {
    "a lease in a global": """
pool = make()
db = pool.connection()
ask(db)
""",
    "a lease of a pool with all times": """
pool = make(mincached=2, maxlifetime=9, maxidletime=9, keepalive=0.1,
    leakafter=9, refill=True)
db = pool.connection()
ask(db)
""",
    "a lease in a transaction": """
pool = make(mincached=2)
db = pool.connection()
db.begin()
ask(db)
""",
    "a lease in a generator": """
pool = make()
def rows():
    with pool.connection() as db:
        yield ask(db)
        yield None
generator = rows()
next(generator)
""",
    # Without the GIL, modules are emptied before globals are dropped, if there
    # was a second thread.
    "leases in globals after a thread": """
thread = threading.Thread(target=int)
thread.start()
thread.join()
pool = make(mincached=2, keepalive=9, leakafter=9)
db = pool.connection()
db.begin()
cursor = ask(db)
steady = connect(driver, **kwargs)
steady.begin()
ask(steady)
persistent = PersistentDB(driver, **kwargs)
ask(persistent.connection())
""",
    "a lease in a generator after a thread": """
thread = threading.Thread(target=int)
thread.start()
thread.join()
pool = make()
def rows():
    with pool.connection() as db, db.cursor() as cursor:
        yield ask(db)
        yield None
generator = rows()
next(generator)
""",
    "a lease in a reference cycle": """
pool = make()
class Node:
    pass
node = Node()
node.self = node
node.db = pool.connection()
ask(node.db)
""",
    "leases of threads": """
pool = make()
local = threading.local()
ready = threading.Semaphore(0)
def work():
    local.db = pool.connection()
    ask(local.db)
    ready.release()
    threading.Event().wait()
for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
for _ in range(2):
    ready.acquire()
local.db = pool.connection()
ask(local.db)
""",
    "leases in an executor": """
pool = make(maxconnections=3, blocking=True)
executor = ThreadPoolExecutor(3)
def work(number):
    db = pool.connection()
    ask(db)
    return db
futures = [executor.submit(work, number) for number in range(3)]
for future in futures:
    future.result()
""",
    "a lease in an exit handler": """
pool = make()
def say_goodbye():
    global db
    db = pool.connection()
    ask(db)
atexit.register(say_goodbye)
""",
    "pools made in an exit handler": """
def say_goodbye():
    global pools, db
    pools = [
        make(mincached=2), make(mincached=2, keepalive=0.1),
        make(PerformanceOptimizedPooledDB, mincached=2)]
    pools[2].optimize_concurrency()
    for pool in pools:
        db = pool.connection()
        db.begin()
        ask(db)
        db.close()
    db = pools[0].connection()
    ask(db)
atexit.register(say_goodbye)
""",
    "a lease closed in the __del__ of a global": """
pool = make()
class Holder:
    def __init__(self):
        self.db = pool.connection()
        self.db.begin()
        ask(self.db)
    def __del__(self):
        self.db.close()
holder = Holder()
""",
    "a lease used in the __del__ of a global": """
class Holder:
    def __init__(self):
        self.pool = make(mincached=1)
        ask(self.pool.connection())  # now drivers import what they need
    def __del__(self):
        # not for a statement: psycopg2 can make no cursor then
        self.db = self.pool.connection()
        self.db.rollback()
holder = Holder()
""",
    "a request in the __del__ of a global that nobody can serve": """
class Holder:
    def __init__(self):
        self.pool = make(maxconnections=1, blocking=True)
        self.db = self.pool.connection()
        ask(self.db)
    def __del__(self):
        try:
            self.pool.connection()
        except Exception:
            pass
holder = Holder()
""",
    "only a cursor": """
pool = make()
cursor = ask(pool.connection())
""",
    "a pool dropped before its lease": """
pool = make(mincached=2)
db = pool.connection()
ask(db)
del pool
""",
    "a waiter in a daemon thread": """
pool = make(maxconnections=1, blocking=True)
db = pool.connection()
ask(db)
begun = threading.Event()
def wait():
    begun.set()
    pool.connection()
thread = threading.Thread(target=wait, daemon=True)
thread.start()
begun.wait()
""",
    "a waiter with a time in a daemon thread": """
pool = make(maxconnections=1, maxwait=60)
db = pool.connection()
ask(db)
thread = threading.Thread(target=pool.connection, daemon=True)
thread.start()
time.sleep(0.1)
""",
    "a lease returned before": """
pool = make()
db = pool.connection()
db.begin()
ask(db)
db.close()
""",
    "a lease returned long before": """
pool = make(keepalive=9)
db = pool.connection()
db.begin()
ask(db)
db.close()
time.sleep(0.3)
""",
    "a forked child with a lease of its own": """
pool = make(mincached=1, keepalive=9)
ask(pool.connection())
child = os.fork()
db = pool.connection()
ask(db)
if child:
    status = os.waitpid(child, 0)[1]
    sys.exit(3 if status == 5 << 8 else 4)
sys.exit(5)
""",
    "a forked child with the lease of its parent": """
pool = make(mincached=1, keepalive=9)
db = pool.connection()
db.begin()
ask(db)
child = os.fork()
if child:
    status = os.waitpid(child, 0)[1]
    ask(db)
    sys.exit(3 if status == 5 << 8 else 4)
sys.exit(5)
""",
    "a signal": """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
pool = make(mincached=2, keepalive=9)
db = pool.connection()
db.begin()
ask(db)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(60)
""",
    "a status of its own": """
pool = make()
db = pool.connection()
db.begin()
ask(db)
sys.exit(3)
""",
    "a pool that asks": """
pool = make(mincached=2, keepalive=0.02)
db = pool.connection()
ask(db)
time.sleep(0.1)
""",
    "a pool that keeps connections ready": """
pool = make(mincached=2, refill=True)
pool.close()
db = pool.connection()
ask(db)
""",
    "a pool that cleans elsewhere": """
pool = make(PerformanceOptimizedPooledDB, mincached=2)
pool.optimize_concurrency()
dbs = [pool.connection() for _ in range(6)]
for db in dbs:
    db.begin()
    ask(db)
while len(dbs) > 1:
    dbs.pop().close()
""",
    "a pool that cleans elsewhere and is dropped last": """
class Owner:
    def __init__(self):
        self.pool = make(PerformanceOptimizedPooledDB, mincached=2)
        self.pool.optimize_concurrency()
        self.dbs = [self.pool.connection() for _ in range(4)]
        for db in self.dbs:
            db.begin()
            ask(db)
    def __del__(self):
        for db in self.dbs:
            db.close()
owner = Owner()
""",
    "a pool that cleans in time": """
pool = make(PerformanceOptimizedPooledDB, mincached=2)
pool.set_performance_tuning_config(release_timeout=5)
dbs = [pool.connection() for _ in range(2)]
for db in dbs:
    db.begin()
    ask(db)
dbs.pop().close()
""",
    "a pool that checks": """
pool = make(HealthCheckPooledDB, mincached=3, health_check_interval=0.02)
db = pool.connection()
ask(db)
time.sleep(0.1)
""",
    "other connections": """
persist = make(PersistentDB)
db = persist.connection()
db.begin()
ask(db)
steady = connect(driver, **kwargs)
steady.begin()
cursor = ask(steady)
""",
}
STATUS = {
    "a forked child with a lease of its own": 3,
    "a forked child with the lease of its parent": 3,
    "a signal": 3,
    "a status of its own": 3,
}


# The same for a server that answers nothing from a certain moment on.
UNANSWERED = {
    "leases": """
pool = make(mincached=3, ping=0)
dbs = [pool.connection() for _ in range(3)]
for db in dbs:
    db.begin()
    ask(db)
print("ready", flush=True)
input()
""",
    "a pool that is dropped last": """
class Owner:
    def __init__(self):
        self.pool = make(mincached=3, keepalive=0.05, refill=True)
        self.db = self.pool.connection()
        self.db.begin()
        ask(self.db)
owner = Owner()
print("ready", flush=True)
input()
time.sleep(0.2)
""",
    "a lease closed in the __del__ of a global": """
class Owner:
    def __init__(self):
        self.pool = make(ping=0)
        self.db = self.pool.connection()
        self.db.begin()
        ask(self.db)
    def __del__(self):
        self.db.close()
owner = Owner()
print("ready", flush=True)
input()
""",
    "a pool that cleans elsewhere": """
pool = make(PerformanceOptimizedPooledDB, mincached=2, ping=0)
pool.optimize_concurrency()
dbs = [pool.connection() for _ in range(6)]
for db in dbs:
    db.begin()
    ask(db)
print("ready", flush=True)
input()
for db in dbs:
    db.close()
""",
    "other connections": """
persist = make(PersistentDB)
db = persist.connection()
db.begin()
ask(db)
steady = connect(driver, **kwargs)
steady.begin()
cursor = ask(steady)
print("ready", flush=True)
input()
""",
}

SECONDS = 60  # after which a program hangs


# Those of them in which a thread asks the server.  Older releases of MySQL
# Connector in C show no socket, and their ping() stops all other threads.
ASKING = {"a pool that is dropped last"}


def run(text, name, kwargs, seconds=SECONDS, prompt=None):
    """Run a program; return how it ended, and what it printed.

    prompt: what is done when the program is ready, and waits for a line
    """
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + text, json.dumps((name, kwargs))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        if prompt is not None:
            ready = process.stdout.readline()
            if ready != "ready\n":
                return None, ready + process.communicate(timeout=seconds)[0]
            prompt()
        printed = process.communicate("\n", timeout=seconds)[0]
        return process.returncode, printed
    except subprocess.TimeoutExpired:
        return "it hangs", ""
    finally:
        with suppress(ProcessLookupError):  # a child that was left behind
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def run_all(name, kwargs_of, sessions_of, programs=None, seconds=SECONDS):
    """Run programs, two at a time; yield what was wrong with any of them.

    kwargs_of: returns the parameters for the driver, for a user
    sessions_of: waits until a user has no session, and returns how many
        there are
    """
    programs = programs or PROGRAMS

    def check(number, title):
        user = f"user{number}"
        ended = run(programs[title], name, kwargs_of(user), seconds)
        sessions = sessions_of(user)
        if ended != (STATUS.get(title, 0), "") or sessions:
            return title, ended, sessions
        return None

    with ThreadPoolExecutor(2) as executor:
        found = list(executor.map(check, range(len(programs)), programs))
    return [problem for problem in found if problem is not None]
