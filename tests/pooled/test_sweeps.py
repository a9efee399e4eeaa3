"""An exception at any point of a visit to any kind of pool.

Other than in test_interrupts, the pools are whole ones with all that they can
do, and the garbage collector finds leases in the middle of it.
"""

import gc
import sys
from collections import deque
from contextlib import suppress

import pytest
from everywhere import sweep

from dbutils.pooled_db import PooledDB, TooManyConnectionsError
from dbutils.pooled_pg import PooledPg
from dbutils.pooled_pg import TooManyConnectionsError as TooManyPgError
from dbutils.resource_allocation_pooled_db import ResourceAllocationPooledDB

LIMIT = 3
TOO_MANY = (TooManyConnectionsError, TooManyPgError)

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning")


class Visits:
    """Visits to a pool in each of the ways in which they can end."""

    wishes = {}  # noqa: RUF012 - never changed
    limit = LIMIT

    def __init__(self, dbapi, **options):
        self.pool = self.make(dbapi, **options)
        self.prepare()

    def make(self, dbapi, **options):
        return PooledDB(dbapi, maxconnections=LIMIT, **options)

    def prepare(self):
        """Have one connection that is idle."""
        self.borrow().close()

    def borrow(self):
        return self.pool.connection(**self.wishes)

    def use(self, lease):
        lease.cursor().execute("select 1")

    def work(self):
        with suppress(*TOO_MANY):
            lease = self.borrow()
            other = self.borrow()
            self.use(other)
            # the next one is dropped, and the others are found later
            lease = self.borrow()
            lease.cycle = lease
            other.cycle = other
            del lease, other
            lease = self.borrow()
            self.use(lease)
            lease.begin()
            lease.close()

    def check(self):
        """Check that all can be had, and not more than that."""
        gc.collect()
        leases = [self.borrow() for _ in range(self.limit)]
        with pytest.raises(TOO_MANY):
            self.borrow()
        for lease in leases:
            lease.close()
        assert self.pool._core.stats().in_use == 0


class Mortal(Visits):
    def make(self, dbapi, **options):
        return super().make(dbapi, maxlifetime=1000, maxidletime=1000)

    def prepare(self):
        super().prepare()
        maintenance = self.pool._core.keeper.maintenance
        times = deque(range(0, 10_000, 300))
        maintenance.clock = times.popleft  # so that each visit is a long one
        maintenance.clock = lambda: times.popleft() if times else 0


class Sharing(Visits):
    limit = 2 * LIMIT

    def make(self, dbapi, **options):
        return super().make(dbapi, maxshared=2)

    def check(self):
        gc.collect()
        leases = [self.pool.dedicated_connection() for _ in range(LIMIT)]
        with pytest.raises(TOO_MANY):
            self.borrow()
        for lease in leases:
            lease.close()
        assert self.pool._core.stats().in_use == 0


class Tagged(Visits):
    wishes = {"tag": "a"}  # noqa: RUF012 - never changed
    limit = 2

    def make(self, dbapi, **options):
        pool = ResourceAllocationPooledDB(dbapi, maxconnections=LIMIT)
        pool.limit("a", 2)
        pool.reserve("b", 1)
        return pool

    def check(self):
        super().check()
        leases = [self.pool.connection(tag=tag) for tag in "aab"]
        for lease in leases:
            lease.close()


class ClassicFailover(Visits):
    def make(self, dbapi, **options):
        return PooledPg(maxconnections=LIMIT)

    def use(self, lease):
        lease.query("select 1")


KINDS = {
    "plain": Visits,
    "mortal": Mortal,
    "sharing": Sharing,
    "tagged": Tagged,
    "classic": ClassicFailover,
    "unreset": lambda dbapi: Visits(dbapi, reset=False),
    "renewed": lambda dbapi: Visits(dbapi, reset="session"),
    "asked": lambda dbapi: Visits(dbapi, ping=7, maxusage=1),
}


@pytest.fixture(params=[False, True], ids=["", "collecting"])
def _collector(request):
    """Let the collector do nothing at all, or be at work all the time."""
    gc.collect()
    gc.freeze()  # what there is already, so that it has little to do
    threshold = gc.get_threshold()
    if request.param:
        gc.set_threshold(5, 2, 2)
    else:
        gc.disable()
    yield
    gc.enable()
    gc.set_threshold(*threshold)
    gc.unfreeze()


@pytest.mark.usefixtures("_collector", "pg")
@pytest.mark.parametrize(
    "stride", [41, pytest.param(11, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_anywhere_in_a_visit_loses_no_place(
        monkeypatch, dbapi, kind, stride):
    # what hits a finalizer can only be reported
    monkeypatch.setattr(
        sys, "unraisablehook", deque(maxlen=0).append, raising=False)

    def prepare():
        checkouts = KINDS[kind](dbapi)
        return checkouts.work, checkouts.check

    assert sweep(prepare, stride=stride) > 500
