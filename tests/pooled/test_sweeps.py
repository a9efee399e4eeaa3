"""An exception at any point of the use of any kind of pool.

Other than in test_interrupts, the pools are whole ones with all that they can
do, and the garbage collector finds leases in the middle of it.
"""

import gc
import sys
from collections import deque
from contextlib import suppress
from functools import partial
from itertools import cycle

import pytest
from everywhere import sweep
from folders import BENCHMARKS
from patience import PATIENCE

from dbutils import (
    DynamicPooledDB,
    HealthCheckPooledDB,
    PerformanceOptimizedPooledDB,
)
from dbutils._core.observing import EVENTS
from dbutils._hosts.targets import cluster_of
from dbutils.hosts import Targets
from dbutils.pooled_db import (
    InvalidConnectionError,
    PooledDB,
    TooManyConnectionsError,
)
from dbutils.pooled_pg import PooledPg
from dbutils.pooled_pg import TooManyConnectionsError as TooManyPgError
from dbutils.resource_allocation_pooled_db import ResourceAllocationPooledDB

LIMIT = 3
TOO_MANY = (TooManyConnectionsError, TooManyPgError)

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore:A connection was not given back:ResourceWarning")


class Use:
    """Takes connections, and returns them in each of the possible ways."""

    wishes = {}  # noqa: RUF012 - never changed
    limit = LIMIT
    patience = 0  # within which all connections can be had afterwards

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

    def take_all(self):
        """Take all connections that can be had."""
        return [
            self.pool.connection(**self.wishes, maxwait=self.patience)
            for _ in range(self.limit)]

    def check(self):
        """Check that all can be had, and not more than that."""
        gc.collect()
        leases = self.take_all()
        with pytest.raises(TOO_MANY):
            self.pool.connection(**self.wishes, maxwait=0)
        for lease in leases:
            lease.close()
        assert self.pool.stats().in_use == 0


class Patient(Use):
    """Connects in helper threads, which may be there a moment longer."""

    patience = PATIENCE


class Maintained(Use):
    """Lets each use take long, and makes a round through the pool."""

    def prepare(self):
        super().prepare()
        times = deque(range(0, 10_000, 300))
        self.maintenance.clock = lambda: times.popleft() if times else 0

    @property
    def maintenance(self):
        return self.pool._core.maintenance

    def work(self):
        super().work()
        self.maintenance._tick()


class Sharing(Use):
    limit = 2 * LIMIT

    def make(self, dbapi, **options):
        return super().make(dbapi, maxshared=2, **options)

    def take_all(self):
        return [self.pool.dedicated_connection() for _ in range(LIMIT)]


class MaintainedSharing(Sharing, Maintained):
    pass


class Overdue(Use):
    """Has its leases taken back, which it closes, uses or drops after it."""

    def make(self, dbapi, **options):
        return super().make(dbapi, leakafter=1000, reclaim=True, **options)

    def prepare(self):
        super().prepare()
        self.pool._core.maintenance._leases._leakafter = 0

    def check(self):
        self.pool._core.maintenance._leases._leakafter = 1000
        super().check()

    def work(self):
        with suppress(*TOO_MANY):
            lease, other = self.borrow(), self.borrow()
            self.use(lease)
            self.pool._core.maintenance._tick()
            with suppress(InvalidConnectionError):
                self.use(lease)
            lease.close()
            del other
            lease = self.borrow()


class OverdueSharing(Overdue, Sharing):
    pass


class Prioritized(Use):
    wishes = {"priority": 1}  # noqa: RUF012 - never changed

    def make(self, dbapi, **options):
        return ResourceAllocationPooledDB(
            dbapi, maxconnections=LIMIT, allocation_strategy="priority",
            **options)


class Weighted(Use):
    wishes = {"tag": "a"}  # noqa: RUF012 - never changed

    def make(self, dbapi, **options):
        return ResourceAllocationPooledDB(
            dbapi, maxconnections=LIMIT, allocation_strategy="weighted",
            weights={"a": 3}, **options)


class Tagged(Use):
    wishes = {"tag": "a"}  # noqa: RUF012 - never changed
    limit = 2

    def make(self, dbapi, **options):
        pool = ResourceAllocationPooledDB(
            dbapi, maxconnections=LIMIT, **options)
        pool.limit("a", 2)
        pool.reserve("b", 1)
        return pool

    def check(self):
        super().check()
        leases = [self.pool.connection(tag=tag) for tag in "aab"]
        for lease in leases:
            lease.close()


class Observed(Use):
    """Has observers of all events, one of which fails."""

    def prepare(self):
        for act in (str, int):
            self.pool.observe(Observer(act))
        super().prepare()


class Observer:
    """Calls a function for each event, whatever that is given."""

    def __init__(self, act):
        for name in EVENTS:
            setattr(self, name, lambda *_details: act("seen"))


class ObservedSharing(Observed, Sharing):
    pass


class Targeted(Use):
    """Asks for connections to two servers in turn."""

    def make(self, dbapi, **options):
        def primary():
            return dbapi.connect()

        def standby():
            con = dbapi.connect()
            con.is_standby = True
            return con

        primary.dbapi = standby.dbapi = dbapi
        targets = Targets(
            [primary, standby], limits={"standby": 1},
            role=lambda con: not hasattr(con, "is_standby"))
        cluster_of(targets)._watch = int  # without a monitor
        self.targets = cycle([None, "prefer-standby", "any"])
        return PooledDB(targets, maxconnections=LIMIT, **options)

    def borrow(self):
        return self.pool.connection(target=next(self.targets))

    def check(self):
        super().check()
        hosts = cluster_of(self.pool._creator).hosts
        idle = self.pool.stats().idle
        assert sum(host.number for host in hosts) == idle


class Pausing(Use):
    """Pauses the pool while a connection is in use."""

    def work(self):
        lease = self.borrow()
        self.pool.pause()
        with suppress(*TOO_MANY):
            self.borrow()
        lease.close()
        self.pool.resume()
        super().work()

    def check(self):
        self.pool.resume()
        super().check()


class Richer(Use):
    """Uses all that the richer pools can do in the thread of the program."""

    def make(self, dbapi, **options):
        pool = RichPool(
            dbapi, maxconnections=LIMIT, health_check_interval=None,
            **options)
        pool.dynamic_adjust_config(maxcached=LIMIT)
        pool.optimize_connection_acquisition()
        pool.optimize_cache_strategy()
        return pool


class RichPool(
        DynamicPooledDB, HealthCheckPooledDB, PerformanceOptimizedPooledDB):
    """Three of the four richer pools; the fourth is used on its own."""


class Looking(Use):
    """Looks at the socket of a driver before each use."""

    def make(self, dbapi, **options):
        import shaped
        dbapi = shaped.driver(shaped.Psycopg2Connection)
        return super().make(dbapi, track=False)


class Classic(Use):
    def make(self, dbapi, **options):
        return PooledPg(maxconnections=LIMIT)

    def use(self, lease):
        lease.query("select 1")


KINDS = {
    "plain": Use,
    "mortal": partial(Maintained, maxlifetime=1000, maxidletime=1000),
    "sharing": Sharing,
    "looking": Looking,
    "tagged": Tagged,
    "classic": Classic,
    "observed": Observed,
    "observed,sharing": ObservedSharing,
    "reset=False": partial(Use, reset=False),
    "reset=session": partial(Use, reset="session"),
    "ping=7,maxusage=1": partial(Use, ping=7, maxusage=1),
}

# these at fewer points, since there are many
OPTIONS = {
    "mincached": partial(Use, mincached=2),
    "maxcached": partial(Use, maxcached=1),
    "blocking": partial(Patient, blocking=True),
    "maxwait": partial(Patient, maxwait=PATIENCE),
    "maxwaiting": partial(Patient, maxwaiting=1, blocking=True),
    "maxlifetime": partial(Maintained, maxlifetime=1000),
    "maxidletime": partial(Maintained, maxidletime=1000),
    "keepalive": partial(Maintained, keepalive=1000),
    "refill": partial(Maintained, refill=True, mincached=2),
    "leakafter": partial(Maintained, leakafter=1000),
    "reclaim": Overdue,
    "reclaim,sharing": OverdueSharing,
    "idleafter": partial(Maintained, idleafter=1000),
    "nested": partial(Use, nested="warn"),
    "maxusage": partial(Use, maxusage=1),
    "setsession": partial(Use, setsession=["set it"]),
    "ping=0": partial(Use, ping=0),
    "ping=sql": partial(Use, ping="select 1"),
    "failover=always": partial(Use, failover="always"),
    "failover=never": partial(Use, failover="never"),
    "isfatal": partial(Use, isfatal=lambda error: False),
    "priority": Prioritized,
    "weighted": Weighted,
    "richer": Richer,
    "pausing": Pausing,
    "targeted": Targeted,
    "sharing,maxlifetime": partial(MaintainedSharing, maxlifetime=1000),
    "sharing,maxusage": partial(Sharing, maxusage=1),
    "sharing,reset=False": partial(Sharing, reset=False),
    "tagged,maxusage": partial(Tagged, maxusage=1),
}


@pytest.mark.usefixtures("_collector", "pg")
@pytest.mark.parametrize(("kind", "stride"), [
    *((kind, 53) for kind in KINDS),
    *((kind, 199) for kind in OPTIONS)])
def test_an_exception_anywhere_in_the_use_loses_no_place(
        monkeypatch, dbapi, kind, stride):
    # what hits a finalizer can only be reported
    monkeypatch.setattr(
        sys, "unraisablehook", deque(maxlen=0).append, raising=False)
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def prepare():
        use = {**KINDS, **OPTIONS}[kind](dbapi)
        return use.work, use.check

    assert sweep(prepare, stride=stride) > 500
