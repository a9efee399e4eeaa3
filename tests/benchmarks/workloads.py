"""What is counted, and the program that counts it under callgrind.

Usage: valgrind --tool=callgrind --instr-atstart=no
    python tests/benchmarks/workloads.py SHIM CALLS WORKLOAD...

SHIM is the library that `instructions.py` builds.  Each workload runs in a
forked process of its own, so that it finds the interpreter as no other one
has left it, and prints its name and the number of that process.  Only public
interfaces are used, so that other releases can be counted, too; what they do
not have is left out.
"""

import gc
import json
import os
import sys
from functools import partial
from importlib import import_module
from threading import Thread
from time import sleep
from types import ModuleType

import nothing
import shaped
import waiting

WARM_UP = 300
LONG = 3600  # seconds
_MODULES = ("dbutils.pooled_db", "dbutils.steady_db")
_PLAIN = {"mincached": 2, "maxconnections": 4}


def calling(once):
    """Return what calls a function a number of times."""
    def run(number):
        for _ in range(number):
            once()
    return run


def nothing_driver(connect=nothing.Connection, threadsafety=2):
    """Return a driver that does nothing, with this way to connect."""
    module = ModuleType("nothing_else")
    module.__dict__.update(
        vars(nothing), connect=connect, threadsafety=threadsafety)
    return module


def pool_of(creator=None, **options):
    """Return a pool of the library."""
    from dbutils.pooled_db import PooledDB
    return PooledDB(creator or nothing_driver(), **{**_PLAIN, **options})


# The pieces of work.


def empty():
    """Do nothing, so that it can be subtracted."""
    def once():
        pass
    return calling(once)


def cycling(connection):
    """Acquire and release."""
    return calling(lambda: connection().close())


def cycle(connection=nothing.Connection, **options):
    """Acquire and release with a pool that has some options."""
    return cycling(pool_of(nothing_driver(connection), **options).connection)


def block():
    """Acquire and release with a "with" statement."""
    pool = pool_of()

    def once():
        with pool.connection():
            pass
    return calling(once)


def reading(connect):
    """Acquire, open a cursor, execute, fetch, close it, release."""
    def once():
        con = connect()
        cursor = con.cursor()
        cursor.execute("select 1")
        cursor.fetchone()
        cursor.close()
        con.close()
    return calling(once)


def request(creator=None, **parameters):
    """Do so with a pool."""
    return reading(pool_of(creator, **parameters).connection)


def cycle_on(creator, **parameters):
    """Acquire and release with a pool of this driver."""
    return cycling(pool_of(creator, **parameters).connection)


def steady():
    """Return a hardened connection."""
    from dbutils.steady_db import connect
    return connect(nothing_driver(nothing.TellingConnection))


def targets(connection=nothing.TellingConnection):
    """Return a creator that leads to one of two servers."""
    from dbutils._hosts.targets import cluster_of
    from dbutils.hosts import Targets
    driver = nothing_driver(connection)
    hosts = Targets([driver.connect, driver.connect], role=bool)
    cluster_of(hosts)._watch = int  # nothing works in the background
    return hosts


def cycle_on_targets(target=None):
    """Acquire and release with a pool of both servers.

    target: of a request before that
    """
    pool = pool_of(targets(nothing.Connection))
    pool.connection(target=target).close()
    return cycling(pool.connection)


def steady_on_targets():
    """Return a hardened connection to one of the servers."""
    from dbutils.steady_db import connect
    return connect(targets())


def kept(con):
    """Execute and fetch with a kept cursor."""
    cursor = con.cursor()

    def once():
        cursor.execute("select 1")
        cursor.fetchone()
    return calling(once)


def anew(con):
    """Execute and fetch with a new cursor."""
    def once():
        cursor = con.cursor()
        cursor.execute("select 1")
        cursor.fetchone()
        cursor.close()
    return calling(once)


def raw():
    """Return a connection of the driver."""
    return nothing.TellingConnection()


def simple():
    """Acquire and release with the simplest pool."""
    from dbutils.simple_pooled_db import PooledDB
    return cycling(PooledDB(nothing_driver(threadsafety=1), 5).connection)


def simple_pool_of_two():
    """Do so with a driver whose connections threads may share."""
    from dbutils.simple_pooled_db import PooledDB
    return cycling(PooledDB(nothing_driver(), 5).connection)


def persistent(**options):
    """Acquire and release where a connection stays with its thread."""
    from dbutils.persistent_db import PersistentDB
    return cycling(PersistentDB(nothing_driver(), **options).connection)


def richer(module, name, **options):
    """Acquire and release with one of the richer pools."""
    pool_class = getattr(import_module(f"dbutils.{module}"), name)
    pool = pool_class(nothing_driver(), **{**_PLAIN, **options})
    return cycling(pool.connection)


def managed(**sizes):
    """Acquire and release with a pool of the manager."""
    from dbutils import pool_manager as manager
    sys.modules["MySQLdb"] = nothing_driver(nothing.Connection.connect)
    pool = manager.DBConnectionPoolManager().get_pool(
        manager.ConnectionConfig(
            "mysql", host="nowhere", user="nobody", driver="MySQLdb"),
        pool_config=manager.PoolConfig(**sizes))
    while pool.stats().idle < sizes.get("min_idle", 0):
        sleep(0.01)  # they are opened in the background
    return cycling(pool.connection)


# Handing over to a thread that waits.


def handing_over(acquire, release):
    """Hand a connection over between two threads, forth and back."""
    sys.setswitchinterval(LONG)  # only who waits leaves the interpreter
    turns = [0]

    def answer():
        while True:
            release(acquire())
            turns[0] += 1

    con = [acquire()]
    thread = Thread(target=answer, daemon=True)
    thread.start()

    def run(number):
        before = turns[0]
        for _ in range(number // 2):
            release(con.pop())
            con.append(acquire())
        if turns[0] - before < number // 2 - 1:  # it took back its own
            raise NotImplementedError
    return run


def handing_over_by_pool(**options):
    """Hand over with a pool."""
    pool = pool_of(mincached=1, maxconnections=1, blocking=True, **options)
    return handing_over(pool.connection, lambda con: con.close())


def handing_over_smallest():
    """Hand over with the least that there can be."""
    least = waiting.SmallestHandOver([nothing.Connection()])
    return handing_over(least.acquire, least.release)


def handing_over_by_queue():
    """Hand over with two queues, since one lets threads overtake."""
    there, back = (waiting.QueueByHand([]) for _ in range(2))
    sys.setswitchinterval(LONG)

    def answer():
        while True:
            back.release(there.acquire())

    Thread(target=answer, daemon=True).start()

    def run(number):
        con = nothing.Connection()
        for _ in range(number // 2):
            there.release(con)
            con = back.acquire()
    return run


# On servers; how they are reached is in the environment, if they are there.


def on_server(name, work):
    """Return a workload for a driver and its parameters."""
    def make():
        given = json.loads(os.environ.get(name, "null"))
        if given is None:
            raise NotImplementedError
        module, parameters = given
        return work(import_module(module), **parameters)
    return make


def dedicated(module, **parameters):
    """Do the work of a request with a connection that is kept."""
    con = module.connect(**parameters)

    def once():
        cursor = con.cursor()
        cursor.execute("select 1")
        cursor.fetchone()
        cursor.close()
        con.rollback()
    return calling(once)


def pool_of_psycopg2(module, **parameters):
    """Do a request with the pool of psycopg2."""
    from psycopg2.pool import ThreadedConnectionPool
    pool = ThreadedConnectionPool(2, 4, **parameters)

    def once():
        con = pool.getconn()
        cursor = con.cursor()
        cursor.execute("select 1")
        cursor.fetchone()
        cursor.close()
        pool.putconn(con)
    return calling(once)


WORKLOADS = {
    "empty": empty,
    "cycle": cycle,
    "cycle, ping=0": partial(cycle, ping=0),
    "cycle, ping by the driver": partial(cycle, nothing.PingingConnection),
    "block": block,
    "cycle, maxlifetime": partial(cycle, maxlifetime=LONG),
    "cycle, maxidletime": partial(cycle, maxidletime=LONG),
    "cycle, keepalive": partial(cycle, keepalive=LONG),
    "cycle, refill": partial(cycle, refill=True),
    "cycle, leakafter": partial(cycle, leakafter=LONG),
    "cycle, reset=False": partial(cycle, reset=False),
    "cycle, maxshared=3": partial(cycle, maxshared=3),
    "manager": managed,
    "manager, min_idle": partial(managed, min_idle=2),
    "dynamic": partial(
        richer, "dynamic_pooled_db", "DynamicPooledDB"),
    "health check": partial(
        richer, "health_check_pooled_db", "HealthCheckPooledDB"),
    "allocation": partial(
        richer, "resource_allocation_pooled_db", "ResourceAllocationPooledDB"),
    "performance": partial(
        richer, "performance_optimized_pooled_db",
        "PerformanceOptimizedPooledDB"),
    "simple": simple,
    "simple, threadsafety 2": simple_pool_of_two,
    "persistent": persistent,
    "persistent, ping=0": partial(persistent, ping=0),
    "request": request,
    "raw, kept cursor": lambda: kept(raw()),
    "raw, new cursor": lambda: anew(raw()),
    "steady, kept cursor": lambda: kept(steady()),
    "steady, new cursor": lambda: anew(steady()),
    "cycle, targets": cycle_on_targets,
    "cycle, several targets": partial(cycle_on_targets, "any"),
    "steady, kept cursor, targets": lambda: kept(steady_on_targets()),
    "steady, new cursor, targets": lambda: anew(steady_on_targets()),
    "hand-over": handing_over_by_pool,
    "hand-over, ping=0": partial(handing_over_by_pool, ping=0),
    "hand-over, smallest": handing_over_smallest,
    "hand-over, queue": handing_over_by_queue,
    "like psycopg2, cycle": lambda: cycle_on(
        shaped.driver(shaped.Psycopg2Connection)),
    "like psycopg2, request": lambda: request(
        shaped.driver(shaped.Psycopg2Connection)),
    "like PyMySQL, cycle": lambda: cycle_on(
        shaped.driver(shaped.PyMySqlConnection)),
    "like PyMySQL, request": lambda: request(
        shaped.driver(shaped.PyMySqlConnection)),
    "psycopg2, dedicated": on_server("POSTGRESQL", dedicated),
    "psycopg2, its pool": on_server("POSTGRESQL", pool_of_psycopg2),
    "psycopg2, request": on_server("POSTGRESQL", request),
    "PyMySQL, dedicated": on_server("MARIADB", dedicated),
    "PyMySQL, request": on_server("MARIADB", request),
}


def count(name, number, shim):
    """Run a workload; tell what it is, and count it."""
    try:
        run = WORKLOADS[name]()
        run(WARM_UP)
    except (ImportError, NotImplementedError, TypeError):
        return
    gc.collect()
    gc.disable()
    print(json.dumps([name, os.getpid()]), flush=True)
    shim.start()
    run(number)
    shim.stop()


def main():
    """Count the workloads one after the other."""
    import ctypes  # which not every Python has
    shim = ctypes.CDLL(sys.argv[1])
    number = int(sys.argv[2])
    for name in _MODULES:  # so that each has them already
        import_module(name)
    for name in sys.argv[3:]:
        process = os.fork()
        if not process:
            try:
                count(name, number, shim)
            finally:
                os._exit(0)
        os.waitpid(process, 0)


if __name__ == "__main__":
    main()
