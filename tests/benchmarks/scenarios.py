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
from functools import partial
from operator import methodcaller
from statistics import mean
from threading import Barrier, Event, Thread
from time import perf_counter, perf_counter_ns, sleep

import nothing

SIZE = 5
LONG = 0.2  # seconds, from which on a run is not a quick one


def timed(function, seconds):
    """Return how many nanoseconds a call takes, by calling for a while."""
    number, spent = 64, 0
    while spent < seconds * 1e9:
        number *= 2
        begin = perf_counter_ns()
        for _ in range(number):
            function()
        spent = perf_counter_ns() - begin
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


def statement(library, seconds):
    """Acquire, open a cursor, execute, fetch, close it, release."""
    pool = library(SIZE, nothing.connect)
    acquire, release = pool.acquire, pool.release

    def once():
        con = acquire()
        read_once(con)
        release(con)
    return timed(once, seconds)


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
    if library.module == "queue":  # it opens them before
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
    if library.module in {"queue", "psycopg2.pool", "psycopg_pool"}:
        raise NotImplementedError  # they do not do all of these
    verbs = ("connect", "ping", "rollback") if seconds > LONG else ("connect",)
    return max(beside(library, verb) for verb in verbs)


def crowd(library, seconds):
    """Return the waits and the throughput of 32 threads for 4 connections."""
    if not library.waits:
        raise NotImplementedError
    pool = library(4, nothing.connect)
    acquire, release = pool.acquire, pool.release
    waits, works, pause, over = [], [], Event(), Event()

    def checkout():
        while not over.is_set():
            begin = perf_counter()
            con = acquire()
            got = perf_counter()
            sleep(0.0002)  # the work
            end = perf_counter()
            release(con)
            waits.append(got - begin)
            works.append(end - got)

    begin = perf_counter()
    holders = [Thread(target=checkout) for _ in range(32)]
    for holder in holders:
        holder.start()
    pause.wait(max(seconds * 5, 0.5))
    over.set()
    for holder in holders:
        holder.join()
    spent = perf_counter() - begin
    return max(waits) / mean(waits), len(works) / (spent / mean(works) * 4)


def fairness(library, seconds):
    """Return the longest wait over the mean one."""
    return crowd(library, seconds)[0]


def use(library, seconds):
    """Return for which part of the time the connections were used."""
    return crowd(library, seconds)[1]


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
    """Return the bytes of an idle connection without those of the driver."""
    if not library.idle_bytes:
        raise NotImplementedError
    number = 1000
    kept = [nothing.Connection() for _ in range(number)]
    pool = library(number, kept.pop)
    pool.release(pool.acquire())  # what is there only once
    gc.collect()
    tracemalloc.start()
    taken = [pool.acquire() for _ in range(number)]
    for con in taken:
        pool.release(con)
    del taken, con
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return size / number


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
    "8 threads, per second": eight_threads,
    "64 threads, per second": many_threads,
    "simple pool": simple,
    "persistent": persistent,
    "hardening adds": harden,
    "with a new cursor": harden_anew,
    "on psycopg2, times raw": over_socket,
    "with a new cursor, times": over_socket_anew,
    "16 connects of 50 ms, ms": connects,
    "beside a slow one, ms": beside_slow_ones,
    "crowd: longest/mean wait": fairness,
    "crowd: use of connections": use,
    "1000 shared over 10": shared,
    "very many idle over 10": many_idle,
    "import, ms": importing,
    "bytes of an idle one": memory,
    "PostgreSQL, per second": on_postgresql,
    "MariaDB, per second": on_mariadb,
}
HIGHER_IS_BETTER = {
    "8 threads, per second", "64 threads, per second",
    "crowd: use of connections", "PostgreSQL, per second",
    "MariaDB, per second"}
LONG_ONES = {
    "16 connects of 50 ms, ms", "beside a slow one, ms",
    "crowd: longest/mean wait", "crowd: use of connections",
    "1000 shared over 10", "very many idle over 10", "import, ms",
    "bytes of an idle one", "on psycopg2, times raw",
    "with a new cursor, times", "PostgreSQL, per second",
    "MariaDB, per second"}
