"""The scenarios of crowds: many threads and few connections.

Each returns one number for one library, as those of `scenarios.py`.
"""

from contextlib import contextmanager
from statistics import mean, median
from threading import Event, Thread, stack_size
from time import perf_counter, process_time, sleep

import nothing
import waiting

THREADS, ROOM = 32, 4
WORK = 0.0002  # seconds
_ROUNDS = 7
_SMALL = 131_072  # bytes of a stack
_pause = Event()


def at_work(acquire, release, seconds):
    """Let a crowd work; return the waits and the counts of its threads."""
    waits, counts, over = [], [], Event()

    def work():
        count = 0
        while not over.is_set():
            begin = perf_counter()
            con = acquire()
            waits.append(perf_counter() - begin)
            sleep(WORK)
            release(con)
            count += 1
        counts.append(count)

    threads = [Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    _pause.wait(seconds)
    over.set()
    for thread in threads:
        thread.join()
    return waits, counts


def rate(acquire, release, seconds):
    """Return how much a crowd does in a second."""
    begin = perf_counter()
    _, counts = at_work(acquire, release, seconds)
    return sum(counts) / (perf_counter() - begin)


def queue_of(library, size=1):
    """Return a pool for whose connections threads can wait."""
    if not library.waits:
        raise NotImplementedError
    return library(size, nothing.connect)


def crowded(library):
    """Return a pool for a crowd."""
    return queue_of(library, ROOM)


def against_smallest(library, seconds):
    """Return the throughput over that of the smallest hand-over.

    Both work in turn, so that what else the machine does hits both.
    """
    pool = crowded(library)
    least = waiting.SmallestHandOver(
        [nothing.Connection() for _ in range(ROOM)])
    return median(
        rate(pool.acquire, pool.release, seconds)
        / rate(least.acquire, least.release, seconds)
        for _ in range(_ROUNDS))


def jain(library, seconds):
    """Return Jain's index of the counts: 1 if all threads did the same."""
    pool = crowded(library)
    _, counts = at_work(pool.acquire, pool.release, max(seconds * 5, 0.5))
    return sum(counts) ** 2 / len(counts) / sum(
        count * count for count in counts)


def longest_wait(library, seconds):
    """Return the longest wait over the mean one."""
    pool = crowded(library)
    waits, _ = at_work(pool.acquire, pool.release, max(seconds * 5, 0.5))
    return max(waits) / mean(waits)


def two_threads(library, seconds):
    """Return the nanoseconds of a cycle of two threads with one connection.

    Where nobody is overtaken, each cycle is a hand-over.
    """
    pool = queue_of(library)
    counts, over = [], Event()

    def work():
        count = 0
        while not over.is_set():
            pool.release(pool.acquire())
            count += 1
        counts.append(count)

    threads = [Thread(target=work) for _ in range(2)]
    begin = perf_counter()
    for thread in threads:
        thread.start()
    _pause.wait(max(seconds, 0.2))
    over.set()
    for thread in threads:
        thread.join()
    return (perf_counter() - begin) / sum(counts) * 1e9


# Threads that do nothing but wait.


@contextmanager
def queueing(pool, number):
    """Let threads wait for the only connection, which is given to the block.

    The block has to give it back in the end.
    """
    begun = []

    def wait():
        begun.append(True)
        pool.release(pool.acquire())

    before = stack_size(_SMALL)
    threads = [Thread(target=wait) for _ in range(number)]
    con = pool.acquire()
    for thread in threads:
        thread.start()
    while len(begun) < number:
        _pause.wait(0.01)
    _pause.wait(0.5)  # the last ones come to wait
    stack_size(before)
    yield con
    for thread in threads:
        thread.join()


def merely_waiting(library, seconds, number):
    """Return the milliseconds of the processor that waiting takes a second."""
    pool = queue_of(library)
    with queueing(pool, number) as con:
        begin, used = perf_counter(), process_time()
        _pause.wait(max(seconds * 5, 0.5))
        used = process_time() - used
        spent = perf_counter() - begin
        pool.release(con)
    return used / spent * 1e3


def served(library, number):
    """Return the microseconds in which one of them is served."""
    pool = queue_of(library)
    with queueing(pool, number) as con:
        begin = perf_counter()
        pool.release(con)
    return (perf_counter() - begin) / number * 1e6


def thousand_waiting(library, seconds):
    """1,000 threads that wait."""
    return merely_waiting(library, seconds, 1000)


def thousands_waiting(library, seconds):
    """3,000 threads that wait, or fewer in a quick run."""
    return merely_waiting(library, seconds, many(seconds))


def many(seconds):
    """Return how many threads are very many."""
    return 3000 if seconds > 0.1 else 1500


def service(library, seconds):
    """Return how long each of very many takes to be served, over 100."""
    return median(served(library, many(seconds)) for _ in range(3)) / median(
        served(library, 100) for _ in range(9))


CROWDS = {
    "crowd: of the smallest": against_smallest,
    "crowd: Jain's index": jain,
    "two threads, one, ns": two_threads,
    "1,000 waiting, ms a s": thousand_waiting,
    "3,000 waiting, ms a s": thousands_waiting,
    "served: 3,000 over 100": service,
}
