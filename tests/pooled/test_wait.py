"""The wait for a pool that is ready."""

import gc
from threading import Thread
from weakref import ref

import pytest
from kinds import for_every_kind
from patience import PATIENCE, join, wait_until

from dbutils.pooled_db import PooledDB, TooManyConnectionsError

SOON = 0.05  # seconds that are over soon
# What a server that is away lets the attempts to connect fail with.
AWAY = ConnectionRefusedError


def outcome_of(function):
    """Call a function in a thread; return that and the list of its outcome."""
    outcome = []

    def call():
        try:
            outcome.append(function())
        except Exception as error:
            outcome.append(error)

    thread = Thread(target=call, daemon=True)
    thread.start()
    return thread, outcome


@for_every_kind
def test_a_pool_with_its_connections_is_ready_at_once(kind):
    pool = kind.make(2)
    with pool.connection():
        pool.wait(0)
        assert pool.wait() is None
    assert pool.stats().opened == 2


@for_every_kind
def test_what_is_missing_is_opened(kind):
    pool = kind.make(3)
    lease = pool.connection()
    pool.close()
    pool.wait(PATIENCE)
    stats = pool.stats()
    assert (stats.in_use, stats.idle, stats.opened) == (1, 2, 5)
    lease.close()


@for_every_kind
def test_without_mincached_a_connection_is_opened_and_put_back(kind):
    pool = kind.make(maxconnections=1)
    pool.wait(PATIENCE)
    stats = pool.stats()
    assert (stats.in_use, stats.idle, stats.opened) == (0, 1, 1)


@pytest.mark.parametrize("mincached", [0, 2])
@pytest.mark.parametrize("timeout", [None, PATIENCE])
def test_a_server_that_was_away_is_waited_for(
        kind, server, mincached, timeout):
    pool = kind.make(mincached)
    pool.close()
    server.fail("connect", AWAY, times=7)
    pool.wait(timeout)
    assert pool.stats().idle == max(mincached, 1)


@pytest.mark.parametrize("mincached", [0, 2])
@pytest.mark.parametrize("timeout", [0, SOON])
def test_a_server_that_stays_away_is_not_waited_for_longer(
        kind, server, mincached, timeout):
    pool = kind.make(mincached)
    pool.close()
    server.fail("connect", AWAY, times=10_000)
    causes = []

    def is_refused_with_a_cause():
        """Wait in vain; on a busy machine no attempt may end in the time."""
        with pytest.raises(
                kind.module.TooManyConnectionsError,
                match=r"No connection could be opened in .* second") as raised:
            pool.wait(timeout)
        causes.append(raised.value.__cause__)
        return causes[-1] is not None

    wait_until(is_refused_with_a_cause)
    assert isinstance(causes[-1], AWAY)
    assert pool.stats().in_use == 0


def test_what_others_are_opening_is_waited_for(kind):
    pool = kind.make(1)
    pool.close()
    permit = pool._core.slots.take()
    with pytest.raises(kind.module.TooManyConnectionsError):
        pool.wait(SOON)
    thread, outcome = outcome_of(pool.wait)
    permit.slot.con = pool.steady_connection()
    join([thread])
    assert outcome == [None]
    assert len(pool._core.slots) == 1


def test_a_slot_that_was_lost_is_not_waited_for(kind):
    pool = kind.make(1)
    pool.close()
    pool._core.slots.take()  # without a connection, as after an interrupt
    pool.wait()
    assert pool.stats().idle == 1


def test_an_error_that_does_not_pass_is_raised_as_it_is(kind, server):
    pool = kind.make(1)
    pool.close()
    server.fail("connect", KeyError)
    with pytest.raises(KeyError):
        pool.wait()
    assert pool.stats().in_use == 0


@for_every_kind
def test_a_pool_that_was_shut_down_is_never_ready(kind):
    for mincached in (0, 1):
        pool = kind.make(mincached)
        pool.shutdown()
        with pytest.raises(kind.module.PoolClosedError):
            pool.wait()


@pytest.mark.parametrize("mincached", [0, 1])
@pytest.mark.parametrize("wait", [
    lambda pool: pool.wait(), lambda pool: pool.connection(maxwait=PATIENCE)])
def test_a_shutdown_ends_the_wait_for_a_server(kind, server, mincached, wait):
    pool = kind.make(mincached)
    pool.close()
    server.fail("connect", AWAY, times=1_000_000)
    thread, outcome = outcome_of(lambda: wait(pool))
    wait_until(lambda: server.calls["connect"] > mincached + 5)
    assert pool.shutdown(PATIENCE)
    join([thread])
    assert [type(error) for error in outcome] == [kind.module.PoolClosedError]


def test_a_shutdown_ends_the_wait_for_what_others_open(kind):
    pool = kind.make(1)
    pool.close()
    permit = pool._core.slots.take()
    thread, outcome = outcome_of(pool.wait)
    pool.shutdown(0)
    join([thread])
    assert [type(error) for error in outcome] == [kind.module.PoolClosedError]
    assert permit.slot.con is None


def test_the_background_can_make_a_pool_ready(dbapi):
    pool = PooledDB(dbapi, 2, refill=True)
    pool.close()
    pool._core.maintenance.hurry()
    pool.wait()
    wait_until(lambda: pool.stats().idle >= 2)
    pool.shutdown()


def test_lower_limits_make_fewer_connections_enough(dbapi):
    pool = PooledDB(dbapi, 3)
    pool._maxconnections = 2
    pool.close()
    pool.wait()
    assert pool.stats().idle == 2


def test_a_wait_is_not_negative(kind):
    with pytest.raises(ValueError, match="'timeout'"):
        kind.make().wait(-1)


def test_an_error_keeps_no_pool(dbapi, server):
    """No variable of a traceback refers to the error itself."""
    gc.disable()
    try:
        pool = PooledDB(dbapi, 1, maxconnections=1)
        link = ref(pool)
        with pytest.raises(TooManyConnectionsError), pool.connection():
            pool.connection()
        pool.close()
        server.fail("connect", AWAY, times=10_000)
        with pytest.raises(TooManyConnectionsError):
            pool.wait(0)
        del pool
        assert link() is None
    finally:
        gc.enable()
