"""Measure what several threads do in a Python without the GIL.

Usage: python tests/benchmarks/parallel.py [--rounds N] [--seconds S]

Threads lend connections to nothing and give them back.  What limits them is
shown beside it: reading attributes of an object that all threads share, or of
objects of their own; and queues: one that all threads share, one that each
thread finds as its own, and one of the standard library.  The table shows how
often a second 1, 2 and 4 threads do that together, and how many times as often
as one thread.  The figures are the medians of interleaved rounds.
"""

import argparse
import sys
from collections import deque
from pathlib import Path
from queue import Queue
from statistics import median
from threading import Barrier, Event, Thread, local
from time import perf_counter

sys.path.append(str(Path(__file__).resolve().parents[2]))

import nothing

from dbutils.persistent_db import PersistentDB
from dbutils.pooled_db import PooledDB

THREADS = 1, 2, 4
_AT_ONCE = 100  # calls between two looks whether it is over
_pause = Event()


class Holder:
    """An object with an attribute that is an object, too."""

    def __init__(self):
        self.own = object()


def lending(pool):
    """Return a function that lends a connection and gives it back."""
    def lend():
        pool.connection().close()
    return lend


def reading(holder):
    """Return a function that reads an attribute ten times."""
    def read():
        holder.own, holder.own, holder.own, holder.own, holder.own  # noqa: B018 - read only
        holder.own, holder.own, holder.own, holder.own, holder.own  # noqa: B018 - read only
    return read


def moving(items):
    """Return a function that takes the first item and makes it the last."""
    def move():
        items.append(items.popleft())
    return move


def moving_own(here):
    """Return a function that does so in a queue of the thread."""
    here.items = filled()

    def move():
        here.items.append(here.items.popleft())
    return move


def passing(queue):
    """Return a function that takes an item and puts it back."""
    def take_and_put():
        queue.put(queue.get())
    return take_and_put


def pool():
    """Return a pool with an idle connection for each thread."""
    return PooledDB(
        nothing, mincached=max(THREADS), maxconnections=2 * max(THREADS))


def filled():
    """Return a queue with an item for each thread."""
    return deque(object() for _ in range(max(THREADS)))


def queue():
    """Return a queue of the standard library with the same."""
    made = Queue()
    for item in filled():
        made.put(item)
    return made


# For each row: what makes the object, what makes the work with it, and whether
# all threads have the same object.
ROWS = {
    "one pool": (pool, lending, True),
    "a pool for each thread": (pool, lending, False),
    "persistent connections": (
        lambda: PersistentDB(nothing), lending, True),
    "reading a shared object": (Holder, reading, True),
    "reading own objects": (Holder, reading, False),
    "a shared deque": (filled, moving, True),
    "a deque of the thread": (local, moving_own, True),
    "queue.Queue": (queue, passing, True),
}


def measure(name, number, seconds):
    """Return how often a second so many threads do something together."""
    make, work_with, is_shared = ROWS[name]
    shared = make()
    counts, is_over, begin = [], Event(), Barrier(number + 1)

    def work():
        do, count = work_with(shared if is_shared else make()), 0
        begin.wait()
        while not (count and is_over.is_set()):
            for _ in range(_AT_ONCE):
                do()
            count += _AT_ONCE
        counts.append(count)

    threads = [Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    begin.wait()
    start = perf_counter()
    _pause.wait(seconds)
    is_over.set()
    for thread in threads:
        thread.join()
    return sum(counts) / (perf_counter() - start)


def table(rates):
    """Return the table as text.

    rates: those of all rounds, by the name and the number of threads
    """
    head = "".join(f"{number:>12}" for number in THREADS)
    lines = [f"{'threads':<26}{head}"]
    for name in ROWS:
        medians = [median(rates[name, number]) for number in THREADS]
        figures = "".join(f"{rate:12,.0f}" for rate in medians)
        times = "".join(f"{rate / medians[0]:8.2f}" for rate in medians[1:])
        lines.append(f"{name:<26}{figures}{times}")
    return "\n".join(lines)


def main():
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.4)
    given = parser.parse_args()
    rates = {(name, number): [] for name in ROWS for number in THREADS}
    for _ in range(given.rounds):
        for case, found in rates.items():
            found.append(measure(*case, given.seconds))
    print(table(rates))


if __name__ == "__main__":
    main()
