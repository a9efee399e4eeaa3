"""What is measured; each scenario returns one number for one library.

Times are in nanoseconds for each piece of work, throughputs in pieces of
work for each second.
"""

from threading import Barrier, Thread
from time import perf_counter, perf_counter_ns

import nothing

SIZE = 5


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
    return timed(library(SIZE, nothing.connect).visit, seconds)


def statement(library, seconds):
    """Acquire, open a cursor, execute, fetch, close it, release."""
    pool = library(SIZE, nothing.connect)
    acquire, release = pool.acquire, pool.release

    def once():
        con = acquire()
        cursor = con.cursor()
        cursor.execute("select 1")
        cursor.fetchone()
        cursor.close()
        release(con)
    return timed(once, seconds)


def threads(library, seconds, number):
    """Return the throughput of so many threads with room enough."""
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


def many_idle(library, seconds):
    """Return a cycle with 20,000 idle connections, over one with 10."""
    if library.__name__ == "PsycopgPool":  # takes minutes to open them
        raise NotImplementedError
    pool = library(20_000, nothing.connect)
    taken = [pool.acquire() for _ in range(20_000)]
    for con in taken:
        pool.release(con)
    del taken, con
    acquire, release = pool.acquire, pool.release

    def once():
        release(acquire())
    return timed(once, seconds) / cycle(library, seconds, size=10)


SCENARIOS = {
    "acquire + release": cycle,
    "the same with a ping": cycle_with_ping,
    "with a block": block,
    "one statement": statement,
    "8 threads, per second": eight_threads,
    "64 threads, per second": many_threads,
    "20,000 idle over 10": many_idle,
}
HIGHER_IS_BETTER = {"8 threads, per second", "64 threads, per second"}
