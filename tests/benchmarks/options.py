"""Measure what each option of a pool adds to its idle cycle.

Usage: python tests/benchmarks/options.py [--rounds N] [--cycles N]

An idle cycle takes a connection out of a pool that nobody else uses, and
returns it.  All is measured in one process, by the time of the processor that
it uses, so that other programs disturb it little.  In each round, each pool
is measured right after one without options; the table shows the medians of
the times and of the ratios, and the lowest and the highest ratio.
"""

import argparse
import gc
import sys
from pathlib import Path
from statistics import median
from time import process_time

sys.path.append(str(Path(__file__).resolve().parents[2]))

import nothing

from dbutils import (
    DynamicPooledDB,
    HealthCheckPooledDB,
    PerformanceOptimizedPooledDB,
    PooledDB,
    ResourceAllocationPooledDB,
)

LONG = 3600  # seconds
PLAIN = "no options"


class Driver(nothing.PingingConnection):
    """A driver, and its connections, which can be asked for a sign of life."""

    threadsafety = 2
    Error = OperationalError = InterfaceError = InternalError = nothing.Error


OPTIONS = {
    name: {"maxconnections": 5, **options} for name, options in {
        PLAIN: {},
        "mincached": {"mincached": 2},
        "maxcached": {"maxcached": 2},
        "maxusage": {"maxusage": 10**9},
        "setsession": {"setsession": ["set it"]},
        "reset=False": {"reset": False},
        "reset='session'": {"reset": "session"},
        "ping=0": {"ping": 0},
        "ping=2": {"ping": 2},
        "ping=4": {"ping": 4},
        "ping=7": {"ping": 7},
        "ping='select 1'": {"ping": "select 1"},
        "isfatal": {"isfatal": lambda error: True},
        "failover='always'": {"failover": "always"},
        "failover='never'": {"failover": "never"},
        "blocking": {"blocking": True},
        "maxwait": {"maxwait": LONG},
        "maxwaiting": {"maxwaiting": 5, "blocking": True},
        "connecting": {"connecting": 1},
        "maxlifetime": {"maxlifetime": LONG},
        "maxidletime": {"maxidletime": LONG},
        "keepalive": {"keepalive": LONG},
        "refill": {"refill": True, "mincached": 1},
        "leakafter": {"leakafter": LONG},
        "reclaim": {"leakafter": LONG, "reclaim": True},
        "idleafter": {"idleafter": LONG},
        "track": {"track": True},
        "nested": {"nested": "warn"},
        "ondeadlock": {"ondeadlock": "raise"},
        "poolname": {"poolname": "shop"},
        "onconnect": {"onconnect": id},
        "behind": {"behind": "transaction-pooler"},
        "targets": {"targets": [{}]},
        "all times": {
            "maxwait": LONG, "maxlifetime": LONG, "maxidletime": LONG,
            "keepalive": LONG, "leakafter": LONG},
        "maxshared": {"maxshared": 2},
        "maxconnections=0": {"maxconnections": 0},
    }.items()}


def pools():
    """Return the pools by name, with what their requests ask for."""
    subjects = {
        name: (PooledDB(Driver, failures=nothing.Error, **options), {})
        for name, options in OPTIONS.items()}
    shared, _ = subjects["maxshared"]
    subjects["maxshared, dedicated"] = (shared, {"shareable": False})
    for name, pool_class, options, wishes in (
            ("dynamic", DynamicPooledDB, {}, {}),
            ("health check", HealthCheckPooledDB, {}, {}),
            ("measured", PerformanceOptimizedPooledDB, {}, {}),
            ("allocation", ResourceAllocationPooledDB, {}, {}),
            ("allocation, priority", ResourceAllocationPooledDB,
             {"allocation_strategy": "priority"}, {"priority": 1}),
            ("allocation, weighted", ResourceAllocationPooledDB,
             {"allocation_strategy": "weighted", "weights": {"web": 3}},
             {"tag": "web"})):
        subjects[name] = (pool_class(
            Driver, maxconnections=5, failures=nothing.Error, **options),
            wishes)
    limited = ResourceAllocationPooledDB(
        Driver, maxconnections=5, failures=nothing.Error)
    limited.limit("web", 3)
    subjects["allocation, limited tag"] = (limited, {"tag": "web"})
    acquiring = PerformanceOptimizedPooledDB(
        Driver, maxconnections=5, failures=nothing.Error)
    acquiring.optimize_connection_acquisition()
    subjects["acquisition optimized"] = (acquiring, {})
    return subjects


def idle_cycle(pool, wishes, cycles):
    """Return the nanoseconds that it takes."""
    begin = process_time()
    for _ in range(cycles):
        pool.connection(**wishes).close()
    return (process_time() - begin) / cycles * 1e9


def measure(rounds, cycles=500):
    """Return the times of each pool and of that without options beside it."""
    subjects = pools()
    plain = subjects[PLAIN]
    times = {name: [] for name in subjects}
    gc.collect()
    for _ in range(rounds):
        for name, subject in subjects.items():
            before = idle_cycle(*plain, cycles)
            times[name].append((idle_cycle(*subject, cycles), before))
    for pool, _ in subjects.values():
        pool.close()
    return times


def table(times):
    """Return the table as text."""
    heads = "".join(f"{head:>8}" for head in ("ns", "ratio", "from", "to"))
    lines = [f"{'idle cycle with':<24}{heads}"]
    for name, pairs in times.items():
        ratios = [mine / plain for mine, plain in pairs]
        cells = "".join(
            f"{ratio:8.2f}"
            for ratio in (median(ratios), min(ratios), max(ratios)))
        nanoseconds = median(mine for mine, _ in pairs)
        lines.append(f"{name:<24}{nanoseconds:8,.0f}{cells}")
    return "\n".join(lines)


def main():
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--cycles", type=int, default=500)
    given = parser.parse_args()
    print(table(measure(given.rounds, given.cycles)))


if __name__ == "__main__":
    main()
