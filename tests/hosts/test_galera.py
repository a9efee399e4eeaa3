"""Two nodes of Galera, and an arbiter."""

from contextlib import ExitStack, closing

import clusters  # noqa: F401 - start() knows its kinds then
import pytest
from drivers import BY_NAME, ask, start
from patience import wait_until
from servers import HOST

from dbutils.hosts import Targets
from dbutils.pooled_db import PooledDB

pytestmark = [pytest.mark.slow, pytest.mark.portable]

pymysql = BY_NAME["pymysql"]
WORDS = {"user": "root", "password": ""}
PORT = "select @@port"
ISOLATED = "set global wsrep_provider_options = 'gmcast.isolate={}'"


@pytest.fixture(scope="module")
def galera():
    pymysql.load()
    with ExitStack() as stack:
        cluster = start(stack, "galera")
        for node in cluster.servers:
            wait_until(lambda node=node: status(node) == ["3", "4", "ON"])
        tell(cluster.servers[0], "create database if not exists test",
             "create table test.t (n integer primary key, times integer)")
        yield cluster


@pytest.fixture
def pool(galera):
    first, second = galera.servers
    targets = Targets(
        [{"host": HOST, "port": node.port} for node in (second, first)],
        pymysql.load(), probe=0.5)
    pool = PooledDB(targets, maxwait=60, database="test", **WORDS)
    yield pool
    pool.shutdown(0)


def connect(node, **options):
    return closing(pymysql.load().connect(
        host=HOST, port=node.port, autocommit=True, **options, **WORDS))


def tell(node, *statements):
    with connect(node) as con:
        for statement in statements:
            ask(con, statement)


def status(node):
    with connect(node) as con, con.cursor() as cursor:
        cursor.execute(
            "show global status where variable_name in ('wsrep_cluster_size',"
            " 'wsrep_ready', 'wsrep_local_state')")
        return [value for _, value in sorted(
            (name.lower(), value) for name, value in cursor.fetchall())]


def test_a_failed_certification_is_repeated(galera, pool):
    first, second = galera.servers
    tell(first, "insert into test.t values (1, 0)")
    calls = []

    def add(db):
        calls.append(ask(db, PORT))
        with db.cursor() as cursor:
            cursor.execute("update t set times = times + 1 where n = 1")
        if len(calls) == 1:
            tell(first, "update test.t set times = times + 10 where n = 1")

    pool.run(add)
    assert calls == [second.port] * 2
    wait_until(lambda: ledger(first) == ledger(second) == [11])


def ledger(node):
    with connect(node, database="test") as con, con.cursor() as cursor:
        cursor.execute("select times from t order by n")
        return [times for times, in cursor.fetchall()]


@pytest.fixture
def without_quorum(galera):
    """The second node, which the others have lost."""
    first, second = galera.servers
    tell(second, ISOLATED.format(1))
    wait_until(lambda: status(second)[2] == "OFF")
    wait_until(lambda: status(first) == ["2", "4", "ON"])
    yield second
    tell(second, ISOLATED.format(0))
    wait_until(lambda: status(second) == ["3", "4", "ON"])
    wait_until(lambda: ledger(second) == ledger(first))


@pytest.fixture
def leases(galera, pool):
    """Leases of the second node, from the time at which it had a quorum."""
    leases = [pool.connection() for _ in range(3)]
    for lease in leases:
        assert ask(lease, PORT) == galera.servers[1].port
        lease.rollback()
    return leases


def test_a_node_without_a_quorum_is_left(
        galera, pool, leases, without_quorum):
    """It answers pings, and refuses statements."""
    with connect(without_quorum) as con, pytest.raises(
            pymysql.error, match=r"^\(1047, "):
        ask(con, "select 1 from test.t")
    errors = []
    for number, lease in enumerate(leases, 10):
        try:
            ask(lease, f"insert into t values ({number}, {number})")
            lease.commit()
        except pymysql.error as error:
            errors.append(error.args[0])
            lease.close()  # the transaction of this one has failed
            leases[number - 10] = pool.connection()
    assert errors in ([], [1047])
    first = galera.servers[0]
    assert {ask(lease, PORT) for lease in leases} == {first.port}
    with pool.connection() as db:
        assert ask(db, PORT) == first.port
    wait_until(lambda: list(
        pool._creator.states().values()) == ["offline", "primary"])
    assert len(ledger(first)) == 4 - len(errors)
