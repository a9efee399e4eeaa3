"""The kinds of pools of steady connections, which keep one contract."""

from itertools import combinations

import pytest

from dbutils import (
    DynamicPooledDB,
    HealthCheckPooledDB,
    PerformanceOptimizedPooledDB,
    ResourceAllocationPooledDB,
)
from dbutils.pooled_pg import PooledPg

RICHER = (
    DynamicPooledDB, HealthCheckPooledDB, PerformanceOptimizedPooledDB,
    ResourceAllocationPooledDB)
MIXED = [
    type("And".join(one.__name__[:-8] for one in some), some, {})
    for number in (2, 3, 4) for some in combinations(RICHER, number)]

# all four together take the place of the other combinations in short runs
MIXED_PARAMS = [
    *(pytest.param(one, marks=pytest.mark.slow, id=one.__name__)
      for one in MIXED[:-1]),
    pytest.param(MIXED[-1], id=MIXED[-1].__name__)]

# for tests whose contract the richer pools keep, too, in all combinations
for_every_kind = pytest.mark.parametrize("kind", [
    "db", "pg",
    *(pytest.param(*one.values, id=one.id, marks=[
        pytest.mark.portable, *one.marks]) for one in MIXED_PARAMS)],
    indirect=True)


class Kind:
    """A kind of pool of steady connections, its module, and its class."""

    def __init__(self, module, pool_class, *first):
        self.module = module
        self.pool_class = pool_class
        self._first = first

    def make(self, *args, pool_class=None, **options):
        """Return a pool of this kind."""
        return (pool_class or self.pool_class)(*self._first, *args, **options)

    @staticmethod
    def driver_con(lease):
        """Return the driver's connection behind a lease."""
        return getattr(lease._con._con, "db", lease._con._con)

    @staticmethod
    def idle(pool):
        """Return how many connections are idle."""
        if isinstance(pool, PooledPg):
            return pool._cache.qsize()
        return len(pool._idle_cache)

    @staticmethod
    def in_use(pool):
        """Return how many connections are in use."""
        return pool.stats().in_use

    @staticmethod
    def is_open(con):
        """Return whether a driver's connection is open."""
        return bool(getattr(con, "valid", getattr(con, "status", None)))
