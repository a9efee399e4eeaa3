"""The scenarios; each returns one number for one library.

Times are in nanoseconds for each piece of work, throughputs in pieces of
work for each second, unless the name of the scenario says something else.
"""

import gc
import json
import os
import subprocess
import sys
import tempfile
import tracemalloc
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from operator import methodcaller
from statistics import mean
from threading import Barrier, Event, Thread
from time import perf_counter, perf_counter_ns, process_time_ns

import crowds
import nothing
import shaped

SIZE = 5
_IDLE = 1000
LONG = 0.2  # seconds, from which on a run is not a quick one
_TEXT = (
    "select id, customer_id, total, status, created_at, note from orders"
    " where status = 'new' and customer_id = {} order by id limit 50")


def timed(function, seconds, number=64, clock=perf_counter_ns):
    """Return how many nanoseconds a call takes, by calling for a while."""
    spent = 0
    while spent < seconds * 1e9:
        number *= 2
        begin = clock()
        for _ in range(number):
            function()
        spent = clock() - begin
    return spent / number


def in_threads(functions):
    """Call functions at the same time, and wait for their end."""
    threads = [Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def cycle(library, seconds, size=SIZE, connect=nothing.connect, ping=0):
    """Acquire and release."""
    pool = library(size, connect, ping)
    acquire, release = pool.acquire, pool.release

    def once():
        release(acquire())
    return timed(once, seconds)


def cycle_with_ping(library, seconds):
    """Acquire and release, with a driver that can be pinged."""
    return cycle(library, seconds, connect=nothing.PingingConnection, ping=1)


def block(library, seconds):
    """Acquire and release with a "with" statement."""
    return timed(library(SIZE, nothing.connect).checkout, seconds)


def statement(library, seconds, connect=nothing.connect, ping=0):
    """Acquire, open a cursor, execute, fetch, close it, release."""
    pool = library(SIZE, connect, ping)
    acquire, release = pool.acquire, pool.release

    def once():
        con = acquire()
        read_once(con)
        release(con)
    return timed(once, seconds)


def like_psycopg2(library, seconds):
    """Do so with what looks like psycopg2."""
    return shaped_statement(library, seconds, shaped.Psycopg2Connection)


def like_pymysql(library, seconds):
    """Do so with what looks like PyMySQL."""
    if library.module == "psycopg2.pool":  # asks whether they are closed
        raise NotImplementedError
    return shaped_statement(library, seconds, shaped.PyMySqlConnection)


def shaped_statement(library, seconds, connect):
    """Do so with connections of some shape; only this library checks them."""
    if library.module == "psycopg_pool":  # has connections of its own
        raise NotImplementedError
    is_ours = library.module == "dbutils"
    return statement(library, seconds, connect, 1 if is_ours else 0)


def read_once(con):
    """Read something with a new cursor."""
    cursor = con.cursor()
    cursor.execute("select 1")
    cursor.fetchone()
    cursor.close()


def threads(library, seconds, number):
    """Return the throughput of threads with room enough."""
    pool = library(number, nothing.connect)
    acquire, release = pool.acquire, pool.release
    barrier = Barrier(number + 1)
    counts = []
    end = [0.0]

    def work():
        count = 0
        barrier.wait()
        while perf_counter() < end[0]:
            for _ in range(20):
                release(acquire())
            count += 20
        counts.append(count)

    workers = [Thread(target=work) for _ in range(number)]
    for worker in workers:
        worker.start()
    begin = perf_counter()
    end[0] = begin + max(seconds, 0.2)
    barrier.wait()
    for worker in workers:
        worker.join()
    return sum(counts) / (perf_counter() - begin)


def eight_threads(library, seconds):
    """Throughput of 8 threads."""
    return threads(library, seconds, 8)


def many_threads(library, seconds):
    """Throughput of 64 threads."""
    return threads(library, seconds, 64)


def simple(library, seconds):
    """Acquire and release with the simplest pool of a library."""
    return timed(library.simple(nothing.connect), seconds)


def persistent(library, seconds):
    """Acquire and release where a connection stays with its thread."""
    return timed(library.persistent(nothing.connect), seconds)


def harden(library, seconds):
    """Execute and fetch with a hardened connection; how much this adds."""
    def reader(con):
        cursor = con.cursor()

        def once():
            cursor.execute("select 1")
            cursor.fetchone()
        return once
    con = library.harden(nothing.TellingConnection)
    return timed(reader(con), seconds) - (
        timed(reader(nothing.TellingConnection()), seconds))


def harden_anew(library, seconds):
    """Do so with a new cursor each time."""
    con, raw = library.harden(nothing.TellingConnection), (
        nothing.TellingConnection())
    return timed(lambda: read_once(con), seconds) - (
        timed(lambda: read_once(raw), seconds))


def connects(library, seconds):
    """Open 16 connections at once, each of which takes 50 milliseconds."""
    if library.module in {"queue", "threading"}:  # they open them before
        raise NotImplementedError
    barrier = Barrier(16)

    def begin():
        nothing.SlowConnection.pause.wait(0.05)
        return nothing.Connection()

    start = perf_counter()
    pool = library(16, begin)

    def once():
        barrier.wait()
        con = pool.acquire()
        barrier.wait()
        pool.release(con)
    in_threads([once] * 16)
    return (perf_counter() - start) * 1e3


def beside(library, verb):
    """Return the longest cycle beside a call that takes a second."""
    slow = nothing.SlowConnection
    pool = library(4, slow, 1 if verb == "ping" else 0)
    taken = [pool.acquire() for _ in range(3)]
    spare = taken.pop() if verb == "rollback" else None
    if verb == "ping":
        pool.release(taken.pop())
    slow.slow = verb

    def once():
        con = spare or pool.acquire()
        pool.release(con)
    thread = Thread(target=once)
    thread.start()
    while slow.slow:
        slow.pause.wait(0.001)
    longest = 0.0
    while thread.is_alive():
        begin = perf_counter()
        pool.release(taken.pop())
        taken.append(pool.acquire())
        longest = max(longest, perf_counter() - begin)
        slow.pause.wait(0.005)
    return longest * 1e3


def beside_slow_ones(library, seconds):
    """Acquire and release beside a connect, ping, or rollback of a second."""
    if library.module in {
            "queue", "threading", "psycopg2.pool", "psycopg_pool"}:
        raise NotImplementedError  # they do not do all of these
    verbs = ("connect", "ping", "rollback") if seconds > LONG else ("connect",)
    return max(beside(library, verb) for verb in verbs)


def use(library, seconds):
    """Return for which part of the time the connections were used."""
    pool = crowds.crowded(library)
    works = []

    def acquire():
        con = pool.acquire()
        return con, perf_counter()

    def release(taken):
        con, begin = taken
        works.append(perf_counter() - begin)
        pool.release(con)

    begin = perf_counter()
    crowds.at_work(acquire, release, max(seconds * 5, 0.5))
    spent = perf_counter() - begin
    return len(works) / (spent / mean(works) * crowds.ROOM)


def shared_by_one(library, seconds):
    """Acquire and release where nobody shares, though that is allowed."""
    if not library.shared:
        raise NotImplementedError
    pool = library(SIZE, nothing.connect, maxshared=3)
    return timed(
        lambda: pool.release(pool.acquire()), seconds, clock=process_time_ns)


def shared(library, seconds):
    """Return a cycle with 1000 shared connections, over one with 10."""
    if not library.shared:
        raise NotImplementedError
    times = []
    for number in (10, 1000):
        pool = library(number, nothing.connect, maxshared=number)
        taken = [pool.acquire() for _ in range(number)]
        times.append(timed(
            lambda pool=pool: pool.release(pool.acquire()), seconds))
        del taken
    return times[1] / times[0]


def refusal(library, seconds):
    """Return the microseconds of the processor for one with many in use."""
    if library.module != "dbutils":
        raise NotImplementedError
    number = 10_000 if seconds > LONG else 1000
    pool = library(number, nothing.connect, blocking=False)
    taken = [pool.acquire() for _ in range(number)]

    def once():
        with suppress(Exception):
            taken.append(pool.acquire())
    each = timed(once, seconds, 1, process_time_ns)
    if len(taken) > number:
        raise NotImplementedError
    return each / 1e3


def texts(library, seconds):
    """Return what hardening adds to a statement whose text is new.

    This is time of the processor.  The texts are counted from the 20,000th
    on, when no table is filled any more.
    """
    begun, number = 20_000, 100_000 if seconds > LONG else 30_000
    operations = [_TEXT.format(value) for value in range(number)]
    times = []
    for con in (library.harden(nothing.TellingConnection),
                nothing.TellingConnection()):
        cursor = con.cursor()
        for operation in operations[:begun]:
            cursor.execute(operation)
        begin = process_time_ns()
        for operation in operations[begun:]:
            cursor.execute(operation)
        times.append((process_time_ns() - begin) / (number - begun))
    return times[0] - times[1]


def many_idle(library, seconds):
    """Return a cycle with very many idle connections, over one with 10."""
    if library.module == "psycopg_pool":  # takes minutes to open them
        raise NotImplementedError
    number = 100_000 if seconds > LONG else 10_000
    pool = library(number, nothing.connect)
    taken = [pool.acquire() for _ in range(number)]
    for con in taken:
        pool.release(con)
    del taken, con
    acquire, release = pool.acquire, pool.release

    def once():
        release(acquire())
    return timed(once, seconds) / cycle(library, seconds, size=10)


def importing(library, seconds):
    """Return how many milliseconds an import takes."""
    if find_spec(library.module.partition(".")[0]) is None:
        raise ImportError(library.module)  # it is left out
    code = (
        "import time; begin = time.perf_counter();"
        f" import {library.module}; print(time.perf_counter() - begin)")
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, PYTHONPYCACHEPREFIX=folder)
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(2):  # the first time it is compiled
            done = subprocess.run(
                [sys.executable, "-c", code], stdout=subprocess.PIPE,
                env=environment, check=True)
    return float(done.stdout) * 1e3


def memory(library, seconds):
    """Return the bytes of an idle connection without those of the driver.

    All of them were in use at the same time before.
    """
    if not library.idle_bytes:
        raise NotImplementedError
    kept = [nothing.Connection() for _ in range(_IDLE)]
    pool = library(_IDLE, kept.pop)
    pool.release(pool.acquire())  # what is there only once

    def work():
        taken = [pool.acquire() for _ in range(_IDLE)]
        for con in taken:
            pool.release(con)
        return pool
    return allocated_by(work) / _IDLE


def unused_memory(library, seconds):
    """Do so for connections that were opened in advance, and never used."""
    if library.module != "dbutils":
        raise NotImplementedError
    kept = [nothing.Connection() for _ in range(_IDLE + 1)]
    library(1, kept.pop, mincached=1)  # what is there only once
    return allocated_by(
        lambda: library(_IDLE, kept.pop, mincached=_IDLE)) / _IDLE


def allocated_by(work):
    """Return the bytes that a function leaves behind with its result."""
    gc.collect()
    tracemalloc.start()
    result = work()
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del result
    return size


# On servers; how they are reached is in the environment, if they are there.


def on_server(name):
    """Return the module and the parameters of a driver for a server."""
    module, parameters = json.loads(os.environ.get(name, "[null, null]"))
    if module is None:
        raise NotImplementedError
    __import__(module)
    return sys.modules[module], parameters


def over_socket(library, seconds):
    """Execute and fetch on psycopg2; how many times what the driver takes."""
    return compare_reading(library, seconds, lambda con: con.cursor())


def over_socket_anew(library, seconds):
    """Do so with a new cursor each time."""
    return compare_reading(library, seconds, None)


def compare_reading(library, seconds, open_cursor):
    """Return a read of a hardened connection over one of the driver."""
    module, parameters = on_server("POSTGRESQL")
    if library.module != "dbutils":
        raise NotImplementedError
    from dbutils.steady_db import connect
    functions = []
    for make in (lambda: connect(module, **parameters),
                 lambda: module.connect(**parameters)):
        con = make()
        cursor = open_cursor(con) if open_cursor else None

        def read(con=con, cursor=cursor):
            if cursor is None:
                read_once(con)
            else:
                cursor.execute("select 1")
                cursor.fetchone()
        functions.append(read)
    pairs = [[timed(read, seconds / 20) for read in functions]
             for _ in range(20)]
    return sorted(ours / raw for ours, raw in pairs)[10]


def work_on(library, name, seconds):
    """Return the throughput of 16 threads with 16 connections."""
    module, parameters = on_server(name)
    connect = partial(module.connect, **parameters)
    if library.module == "queue" and name == "POSTGRESQL":
        return dedicated(connect, seconds)
    if library.module in {"psycopg_pool"} or (
            library.module == "psycopg2.pool" and name != "POSTGRESQL"):
        raise NotImplementedError
    if library.module == "dbutils":
        from dbutils.pooled_db import PooledDB
        pool = PooledDB(
            module, maxconnections=16, blocking=True, **parameters)
        acquire, release = pool.connection, methodcaller("close")
    else:
        pool = library(16, connect)
        acquire, release = pool.acquire, pool.release
        if library.module == "psycopg2.pool":
            release = rolled_back(release)

    def checkout():
        con = acquire()
        read_once(con)
        release(con)
    taken = [acquire() for _ in range(16)]  # now all are open
    while taken:
        release(taken.pop())
    return throughput([checkout] * 16, seconds)


def rolled_back(release):
    """Return what gives back a connection without its transaction."""
    def done(con):
        con.rollback()
        release(con)
    return done


def dedicated(connect, seconds):
    """Return the throughput of 16 threads with a connection each."""
    def worker():
        con = connect()

        def checkout():
            read_once(con)
            con.rollback()
        return checkout
    return throughput([worker() for _ in range(16)], seconds)


def throughput(checkouts, seconds):
    """Return how often these are called each second, each in a thread."""
    over, counts = Event(), []

    def work(checkout):
        count = 0
        while not over.is_set():
            checkout()
            count += 1
        counts.append(count)

    workers = [Thread(target=work, args=(checkout,)) for checkout in checkouts]
    begin = perf_counter()
    for worker in workers:
        worker.start()
    over.wait(max(seconds * 3, 0.3))
    over.set()
    for worker in workers:
        worker.join()
    return sum(counts) / (perf_counter() - begin)


def on_postgresql(library, seconds):
    """16 threads that read on PostgreSQL; by hand: each has its own."""
    return work_on(library, "POSTGRESQL", seconds)


def on_mariadb(library, seconds):
    """16 threads that read on MariaDB with PyMySQL."""
    return work_on(library, "MARIADB", seconds)


SCENARIOS = {
    "acquire + release": cycle,
    "the same with a ping": cycle_with_ping,
    "with a block": block,
    "one statement": statement,
    "like psycopg2": like_psycopg2,
    "like PyMySQL": like_pymysql,
    "8 threads, per second": eight_threads,
    "64 threads, per second": many_threads,
    "simple pool": simple,
    "persistent": persistent,
    "hardening adds": harden,
    "with a new cursor": harden_anew,
    "on psycopg2, times raw": over_socket,
    "with a new cursor, times": over_socket_anew,
    "each text is a new one": texts,
    "16 connects of 50 ms, ms": connects,
    "beside a slow one, ms": beside_slow_ones,
    "crowd: longest/mean wait": crowds.longest_wait,
    "crowd: use of connections": use,
    **crowds.CROWDS,
    "refusal, many used, us": refusal,
    "one shared by one, ns": shared_by_one,
    "1000 shared over 10": shared,
    "very many idle over 10": many_idle,
    "import, ms": importing,
    "bytes of an idle one": memory,
    "bytes of one never used": unused_memory,
    "PostgreSQL, per second": on_postgresql,
    "MariaDB, per second": on_mariadb,
}
HIGHER_IS_BETTER = {
    "8 threads, per second", "64 threads, per second",
    "crowd: use of connections", "crowd: of the smallest",
    "crowd: Jain's index", "PostgreSQL, per second",
    "MariaDB, per second"}
LONG_ONES = {
    "16 connects of 50 ms, ms", "beside a slow one, ms",
    "crowd: longest/mean wait", "crowd: use of connections",
    *crowds.CROWDS, "refusal, many used, us", "each text is a new one",
    "1000 shared over 10", "very many idle over 10", "import, ms",
    "bytes of an idle one", "bytes of one never used",
    "on psycopg2, times raw", "with a new cursor, times",
    "PostgreSQL, per second", "MariaDB, per second"}
