"""Measure what the richer pools cost, and what they bring.

Usage: python tests/benchmarks/richer.py [--rounds N]

All is measured in one process, in rounds that are interleaved, and the
medians are shown: nanoseconds of an empty cycle, then milliseconds, pings and
rollbacks of a cycle with a driver whose server is a millisecond away, then
how many visits 32 threads make with 4 connections in a second.
"""

import argparse
import sys
from pathlib import Path
from statistics import median
from threading import Event, Thread
from time import perf_counter, sleep

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]

import nothing

from dbutils import (
    PerformanceOptimizedPooledDB,
    PooledDB,
    ResourceAllocationPooledDB,
)

TRIP = 0.001  # seconds
CYCLES = 20_000
VISITS = 200


class FarConnection(nothing.PingingConnection):
    """A connection to a server that is far away."""

    pings = rollbacks = 0

    def ping(self, *_args):
        """Ask the server."""
        type(self).pings += 1
        sleep(TRIP)

    def rollback(self):
        """Ask the server for a rollback."""
        type(self).rollbacks += 1
        sleep(TRIP)


class Far:
    """A driver with such connections."""

    Error = nothing.Error
    threadsafety = 2
    connect = FarConnection


def empty_cycle(pool):
    """Return the nanoseconds of taking and giving back."""
    begin = perf_counter()
    for _ in range(CYCLES):
        pool.connection().close()
    return (perf_counter() - begin) / CYCLES * 1e9


def far_cycle(pool):
    """Return milliseconds in all and for the return, pings, rollbacks."""
    FarConnection.pings = FarConnection.rollbacks = 0
    releases = 0.0
    begin = perf_counter()
    for _ in range(VISITS):
        lease = pool.connection()
        middle = perf_counter()
        lease.close()
        releases += perf_counter() - middle
    spent = perf_counter() - begin
    return (
        spent / VISITS * 1000, releases / VISITS * 1000,
        FarConnection.pings / VISITS, FarConnection.rollbacks / VISITS)


def crowd(pool):
    """Return the visits in a second, and the longest wait in milliseconds."""
    waits, over, pause = [], Event(), Event()

    def checkout():
        while not over.is_set():
            begin = perf_counter()
            with pool.connection():
                waits.append(perf_counter() - begin)
                sleep(0.0002)

    threads = [Thread(target=checkout) for _ in range(32)]
    begin = perf_counter()
    for thread in threads:
        thread.start()
    pause.wait(1)
    over.set()
    for thread in threads:
        thread.join()
    return len(waits) / (perf_counter() - begin), max(waits) * 1000


def far_pool(*names):
    """Return a pool of far connections with some optimizations."""
    pool = PerformanceOptimizedPooledDB(
        Far, mincached=8, maxconnections=8, failures=nothing.Error)
    for name in names:
        getattr(pool, name)()
    return pool


def subjects():
    """Return what is measured, by name, each with how."""
    acquire, clean = "optimize_connection_acquisition", "optimize_concurrency"
    with_nothing = {"mincached": 1, "maxconnections": 5, "ping": 0}
    crowded = {"maxconnections": 4, "blocking": True}
    return {
        "empty cycle, plain, ns": (
            empty_cycle, PooledDB(nothing, **with_nothing)),
        "empty cycle, measured, ns": (
            empty_cycle,
            PerformanceOptimizedPooledDB(nothing, **with_nothing)),
        "far, plain": (far_cycle, far_pool()),
        "far, acquisition optimized": (far_cycle, far_pool(acquire)),
        "far, concurrency optimized": (far_cycle, far_pool(clean)),
        "far, both": (far_cycle, far_pool(acquire, clean)),
        "crowd, fair": (
            crowd, ResourceAllocationPooledDB(nothing, **crowded)),
        "crowd, efficient": (
            crowd, ResourceAllocationPooledDB(
                nothing, allocation_strategy="efficient", **crowded))}


def measure(rounds):
    """Return the figures of all rounds, by name."""
    everything = subjects()
    figures = {name: [] for name in everything}
    for _ in range(rounds):
        for name, (how, pool) in everything.items():
            found = how(pool)
            figures[name].append(
                found if isinstance(found, tuple) else (found,))
    return figures


def main():
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    figures = measure(parser.parse_args().rounds)
    for name, rounds in figures.items():
        medians = [median(values) for values in zip(*rounds)]
        print(name.ljust(30), *(f"{value:10,.3f}" for value in medians))
    plain, measured = (
        figures[f"empty cycle, {name}, ns"] for name in ("plain", "measured"))
    ratio = median(
        mine[0] / theirs[0] for mine, theirs in zip(measured, plain))
    print(f"measuring takes {ratio - 1:.0%} of a cycle")


if __name__ == "__main__":
    main()
