"""The pools of steady connections: both kinds keep one contract."""

import gc
from threading import Event, Thread
from weakref import ref

import pytest
from kinds import for_every_kind

from dbutils._core.lease import is_released
from dbutils._core.waiting import Waiter

PATIENCE = 20  # seconds after which a test has failed

pytestmark = for_every_kind


def test_connections_are_opened_at_the_start(kind, server):
    pool = kind.make(mincached=3)
    assert server.calls["connect"] == 3
    assert kind.idle(pool) == 3


def test_a_failure_at_the_start_leaves_no_connection_open(kind, server):
    server.fail("connect", after=2)
    with pytest.raises(Exception, match="planned"):
        kind.make(mincached=3)
    gc.collect()
    assert len(server.connections) == 2
    assert not any(kind.is_open(con) for con in server.connections)


def test_a_connection_that_was_given_back_is_lent_again(kind, server):
    pool = kind.make()
    lease = pool.connection()
    con = lease._con
    assert kind.idle(pool) == 0
    lease.close()
    assert kind.idle(pool) == 1
    assert pool.connection()._con is con
    assert server.calls["connect"] == 1


def test_the_oldest_idle_connection_is_lent_first(kind):
    pool = kind.make()
    leases = [pool.connection() for _ in range(3)]
    cons = [lease._con for lease in leases]
    for lease in leases:
        lease.close()
    again = [pool.connection() for _ in range(3)]
    assert [lease._con for lease in again] == cons


def test_a_lease_can_be_closed_dropped_or_left(kind):
    pool = kind.make()
    lease = pool.connection()
    lease.close()
    lease.close()
    lease = pool.connection()
    del lease
    with pool.connection() as lease:
        assert kind.idle(pool) == 0
    assert kind.idle(pool) == 1
    assert lease._con is None


def test_a_lease_in_a_cycle_comes_back_when_it_is_collected(kind, server):
    pool = kind.make(maxconnections=1)
    lease = pool.connection()
    lease.begin()
    cycle = [lease]
    cycle.append(cycle)
    del lease, cycle
    gc.collect()
    # the garbage collector does not talk to the database, the next one does
    assert server.connections[0].session[-1:] != ["rollback"]
    assert kind.idle(pool) == 1
    assert server.connections[0].session[-1:] == ["rollback"]
    assert pool.connection()


def test_a_lease_that_is_collected_serves_who_waits_for_it(kind):
    pool = kind.make(maxconnections=1, blocking=True)
    cycle = [pool.connection()]
    cycle.append(cycle)
    served = []
    thread = Thread(
        target=lambda: served.append(pool.connection()), daemon=True)
    thread.start()
    tick = Event()
    while not pool.stats().waiting:
        tick.wait(0.001)
    del cycle
    gc.collect()
    thread.join(PATIENCE)
    assert len(served) == 1


def test_a_closed_lease_says_what_was_used(kind):
    pool = kind.make()
    lease = pool.connection()
    lease.close()
    with pytest.raises(
            kind.module.InvalidConnectionError, match=r"'begin'.*closed"):
        lease.begin()


def test_as_many_connections_are_idle_as_may_be(kind, server):
    pool = kind.make(maxcached=2)
    leases = [pool.connection() for _ in range(4)]
    for lease in leases:
        lease.close()
    assert kind.idle(pool) == 2
    states = [kind.is_open(con) for con in server.connections]
    assert states == [True, True, False, False]


def test_no_more_connections_are_in_use_than_may_be(kind, server):
    pool = kind.make(maxconnections=2)
    leases = [pool.connection() for _ in range(2)]
    with pytest.raises(kind.module.TooManyConnectionsError) as caught:
        pool.connection()
    assert "maxconnections: 2" in str(caught.value)
    assert "in use: 2, idle: 0, waiting: 0" in str(caught.value)
    assert "Raise maxconnections" in str(caught.value)
    leases.pop()
    assert pool.connection()
    assert server.calls["connect"] == 2


def test_the_limits_raise_each_other(kind):
    pool = kind.make(mincached=4, maxcached=3, maxconnections=1)
    leases = [pool.connection() for _ in range(4)]
    with pytest.raises(kind.module.TooManyConnectionsError):
        pool.connection()
    assert leases


def test_there_may_be_no_limits(kind):
    pool = kind.make(mincached=None, maxcached=None, maxconnections=None)
    leases = [pool.connection() for _ in range(20)]
    while leases:
        leases.pop().close()
    assert kind.idle(pool) == 20


def test_a_request_waits_if_it_is_to_block(kind):
    pool = kind.make(maxconnections=1, blocking=True)
    lease = pool.connection()
    con = lease._con
    served = []
    thread = Thread(
        target=lambda: served.append(pool.connection()), daemon=True)
    thread.start()
    tick = Event()
    while not pool.stats().waiting:
        tick.wait(0.001)
    lease.close()
    thread.join(PATIENCE)
    assert served[0]._con is con


def test_a_failing_connect_costs_no_place(kind, server):
    pool = kind.make(maxconnections=1)
    server.is_down = True
    for _ in range(3):
        with pytest.raises(Exception, match="cannot connect"):
            pool.connection()
    server.is_down = False
    assert pool.connection()


def test_a_transaction_that_was_begun_is_rolled_back(kind):
    pool = kind.make(reset=0)
    lease = pool.connection()
    session = kind.driver_con(lease).session
    lease.begin()
    lease.close()
    assert session[-1] == "rollback"
    before = len(session)
    pool.connection().close()
    assert len(session) == before


def test_a_rollback_can_be_asked_for_always(kind):
    pool = kind.make(reset=1)
    lease = pool.connection()
    session = kind.driver_con(lease).session
    lease.close()
    assert session == ["rollback"]


def test_a_rollback_that_fails_is_swallowed(kind, server):
    pool = kind.make(reset=1)
    lease = pool.connection()
    server.fail("rollback")
    server.fail("query")
    lease.close()
    assert kind.idle(pool) == 1


def test_a_lost_connection_is_replaced_when_it_is_lent(kind, server):
    server.has_ping = True
    pool = kind.make(reset=0)
    lease = pool.connection()
    con = lease._con
    kind.driver_con(lease).cut()
    lease.close()
    lease = pool.connection()
    assert lease._con is con
    assert kind.is_open(kind.driver_con(lease))


def test_it_is_not_looked_at_if_not_wanted(kind, server):
    server.has_ping = True
    pool = kind.make(ping=0, reset=0)
    pool.connection().close()
    before = len(server.log)
    pool.connection()
    assert len(server.log) == before


def test_an_sql_statement_can_look_at_it(kind, server):
    pool = kind.make(ping="select ping", reset=0)
    pool.connection().close()
    assert not [entry for entry in server.log if "select ping" in entry]
    pool.connection()
    assert [entry for entry in server.log if "select ping" in entry]


def test_the_options_reach_the_steady_connections(kind):
    pool = kind.make(
        maxusage=3, setsession=["set a"], failures=KeyError, isfatal=bool,
        ping=(4, len), user="me", maxshared=0)
    con = pool.connection()._con
    assert con._maxusage == 3
    assert con._setsession_sql == pool._setsession == ("set a",)
    assert con._failures is pool._failures is KeyError
    assert con._isfatal is pool._isfatal is bool
    assert (con._ping, con._pinger) == (4, len)
    assert pool._kwargs == {"user": "me"}


def test_changed_keywords_are_used_by_the_next_connect(kind):
    pool = kind.make(user="me")
    first = pool.connection()
    pool._kwargs["user"] = "you"
    second = pool.connection()
    assert kind.driver_con(first).user == "me"
    assert kind.driver_con(second).user == "you"


def test_a_steady_connection_does_not_count(kind, server):
    pool = kind.make(maxconnections=1)
    con = pool.steady_connection()
    assert con.valid
    assert pool.connection()
    assert server.calls["connect"] == 2


def test_the_steady_connections_can_be_of_another_making(kind):
    class Mine(kind.pool_class):
        """A pool that marks its connections."""

        def steady_connection(self):
            con = super().steady_connection()
            con.mine = True
            return con

    assert kind.make(pool_class=Mine).connection().mine


def test_closing_the_pool_closes_what_is_idle(kind, server):
    pool = kind.make(mincached=2)
    lease = pool.connection()
    pool.close()
    assert kind.idle(pool) == 0
    assert [kind.is_open(con) for con in server.connections].count(True) == 1
    lease.close()
    assert kind.idle(pool) == 1
    assert pool.connection()


def test_an_error_of_closing_is_swallowed(kind, server):
    pool = kind.make(mincached=2)
    server.fail("close", times=2)
    pool.close()
    assert kind.idle(pool) == 0
    assert server.calls["close"] == 2


def test_a_dropped_pool_closes_what_is_idle_at_once(kind, server):
    pool = kind.make(mincached=2)
    gc.collect()
    gc.disable()
    try:
        del pool
        assert not any(kind.is_open(con) for con in server.connections)
    finally:
        gc.enable()


def test_a_pool_that_cannot_be_made_can_be_dropped(kind):
    with pytest.raises(TypeError, match="'setsession'"):
        kind.make(setsession="set a")
    gc.collect()


def test_what_was_not_lent_is_not_taken_back(kind):
    pool = kind.make(maxconnections=1)
    con = pool.connection()._con
    for foreign in (con, pool.steady_connection()):
        with pytest.raises(
                kind.module.InvalidConnectionError, match="not taken out"):
            pool.cache(foreign)
    assert kind.idle(pool) == 1


def test_a_subclass_can_have_its_own_way_to_take_connections_back(kind):
    seen = []

    class Watching(kind.pool_class):
        def cache(self, con):
            seen.append(con)
            super().cache(con)

    pool = kind.make(pool_class=Watching)
    lease = pool.connection()
    con = lease._con
    lease.close()
    assert seen == [con]
    assert kind.idle(pool) == 1


def test_a_lease_whose_connection_was_taken_back_holds_no_place(kind):
    pool = kind.make(maxconnections=1)
    stale = pool.connection()
    pool.cache(stale._con)
    cycle = [pool.connection()]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert pool.connection(maxwait=0)
    assert is_released(stale)


def test_an_error_that_connecting_has_kept_holds_no_place(kind):
    """Its traceback leads to the functions that were at work then."""
    kept = []

    class Trying(kind.pool_class):
        def _open(self):
            try:
                raise ConnectionError("the first attempt")
            except ConnectionError as error:
                kept.append(error)
            return super()._open()

    pool = kind.make(pool_class=Trying, maxconnections=1)
    lease = pool.connection()
    assert kept
    del lease
    assert kind.in_use(pool) == 0
    assert pool.connection(maxwait=0)


def test_what_a_subclass_keeps_is_offered_to_it_only_once(kind):
    seen = []

    class Keeping(kind.pool_class):
        def cache(self, con):
            seen.append(con)

    pool = kind.make(pool_class=Keeping)
    pool.connection().close()
    assert len(seen) == 1


def test_who_comes_later_does_not_take_what_is_idle_the_short_way(kind):
    pool = kind.make(mincached=1, maxconnections=1)
    core = pool._core
    waiter = Waiter()
    core.queue_up(ref(waiter))
    with pytest.raises(kind.module.TooManyConnectionsError):
        pool.connection(maxwait=0)
    assert waiter.permit.slot.con
