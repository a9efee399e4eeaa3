"""What is special to the pool of classic PyGreSQL connections."""

from queue import Empty, Full

import pytest

from dbutils.pooled_pg import (
    RESET_ALWAYS_ROLLBACK,
    RESET_COMPLETELY,
    InvalidConnectionError,
    PooledPg,
    TooManyConnectionsError,
)
from dbutils.steady_pg import SteadyPgConnection


def test_positional_arguments_reach_the_driver(pg):
    pool = PooledPg(0, 0, 0, False, None, None, None, None, "me")
    assert pool.connection().user == "me"
    assert pool._args == (None, "me")


def test_sharing_is_asked_for_in_vain(pg):
    pool = PooledPg(maxshared=5, maxconnections=1)
    lease = pool.connection()
    with pytest.raises(TooManyConnectionsError):
        pool.connection()
    assert lease


def test_the_constants_for_reset_have_the_values_of_dbutils_3():
    assert (RESET_ALWAYS_ROLLBACK, RESET_COMPLETELY) == (1, 2)


def test_a_connection_can_be_reset_completely(pg, server):
    pool = PooledPg(reset=RESET_COMPLETELY, setsession=["set a"])
    lease = pool.connection()
    session = lease.session
    lease.query("set b")
    lease.close()
    assert server.calls["reset"] == 1
    assert session == ["a", "b"]
    assert pool.connection().session == ["a"]


def test_an_open_lease_can_be_reopened(pg, server):
    lease = PooledPg().connection()
    con = lease._con
    lease.reopen()
    assert lease._con is con
    assert server.calls["reopen"] == 1


def test_a_closed_lease_is_reopened_with_another_connection(pg):
    pool = PooledPg(maxconnections=2)
    lease = pool.connection()
    lease.close()
    other = pool.connection()
    lease.reopen()
    assert isinstance(lease._con, SteadyPgConnection)
    assert lease._con is not other._con
    assert pool._connections._value == 0
    lease.close()
    lease.close()
    assert pool._connections._value == 1
    with pytest.raises(InvalidConnectionError):
        lease.query("select one")


def test_a_lease_cannot_be_reopened_beyond_the_limit(pg):
    pool = PooledPg(maxconnections=1)
    lease = pool.connection()
    lease.close()
    other = pool.connection()
    with pytest.raises(TooManyConnectionsError):
        lease.reopen()
    other.close()


def test_a_pooled_connection_is_given_back_by_hand(pg):
    pool = PooledPg(maxconnections=1)
    con = pool.pooled_connection()
    assert isinstance(con, SteadyPgConnection)
    assert pool._connections._value == 0
    pool.cache(con)
    assert pool._connections._value == 1
    assert pool._cache.qsize() == 1


def test_inner_names_of_dbutils_3_can_be_read(pg):
    pool = PooledPg(1, 2, 3)
    assert pool._connections._value == 3
    assert PooledPg()._connections is None
    cache = pool._cache
    con = cache.get(0)
    assert isinstance(con, SteadyPgConnection)
    assert cache.qsize() == 0
    with pytest.raises(Empty):
        cache.get_nowait()
    assert pool._connections._value == 3
    cache.put(con, 0)
    cache.put_nowait(pool.steady_connection())
    assert cache.qsize() == 2
    with pytest.raises(Full):
        cache.put(pool.steady_connection(), 0)
    assert pool.connection()._con is con
