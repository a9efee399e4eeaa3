"""HAProxy before a primary and a standby of PostgreSQL.

It leads to another server without a word: connections stay where they are.
"""

from contextlib import ExitStack, closing

import clusters  # noqa: F401 - start() knows its kinds then
import pytest
from drivers import BY_NAME, ask, start
from patience import wait_until
from servers import HOST

from dbutils._hosts.targets import cluster_of
from dbutils.hosts import Targets
from dbutils.pooled_db import PooledDB

pytestmark = [pytest.mark.slow, pytest.mark.portable]

psycopg2 = BY_NAME["psycopg2"]


@pytest.fixture(scope="module")
def haproxy():
    psycopg2.load()
    with ExitStack() as stack:
        yield start(stack, "haproxy")


@pytest.fixture
def pool_of():
    """Make pools, and shut them down at the end."""
    with ExitStack() as stack:
        def make(creator, **options):
            pool = PooledDB(
                creator, user="postgres", dbname="postgres", **options)
            stack.callback(pool.shutdown, 0)
            return pool

        yield make


def connect(port):
    return closing(psycopg2.load().connect(
        host=HOST, port=port, user="postgres", dbname="postgres"))


def port_of(db):
    """Return the port of the server, which is not that of the proxy."""
    port = ask(db, "select inet_server_port()")
    db.rollback()
    return port


def ports_of(pool, number):
    leases = [pool.connection() for _ in range(number)]
    ports = {port_of(lease) for lease in leases}
    for lease in leases:
        lease.close()
    return ports


def leads_to(haproxy, server):
    with connect(haproxy.port) as con:
        return port_of(con) == server.port


def tell(server, *statements):
    with connect(server.port) as con:
        con.autocommit = True
        for statement in statements:
            ask(con, statement)


def test_a_lifetime_brings_all_connections_to_the_new_server(
        haproxy, pool_of):
    pool = pool_of(
        psycopg2.load(), host=HOST, port=haproxy.port, maxlifetime=0.5)
    primary, standby = haproxy.primary.port, haproxy.standby.port
    assert ports_of(pool, 3) == {primary}
    haproxy.switch("maint")
    try:
        wait_until(lambda: ports_of(pool, 3) == {standby})
    finally:
        haproxy.switch("ready")
    wait_until(lambda: ports_of(pool, 3) == {primary})


def switch_over(haproxy):
    """Make the standby the primary, without a word to who is connected."""
    haproxy.switch("maint")
    with connect(haproxy.standby.port) as con:
        con.autocommit = True
        wait_until(lambda: ask(con, "select to_regclass('ledger')"))
    haproxy.standby.promote()
    tell(haproxy.primary,
         "alter system set default_transaction_read_only = on",
         "select pg_reload_conf()")
    wait_until(lambda: refuses_to_write(haproxy.primary))


def refuses_to_write(server):
    with connect(server.port) as con:
        return ask(con, "show transaction_read_only") == "on"


def insert(pool, numbers):
    """Insert numbers, and return the errors."""
    errors = []
    for number in numbers:
        try:
            with pool.transaction() as db:
                ask(db, "insert into ledger values (%s)", number)
        except psycopg2.error as error:
            errors.append(error)
    return errors


def test_the_first_refusal_brings_all_connections_to_the_new_primary(
        haproxy, pool_of):
    """So it does with the monitor, which then finds everything in order."""
    primary, standby = haproxy.primary, haproxy.standby
    wait_until(lambda: leads_to(haproxy, primary))
    tell(primary, "create table ledger (n integer)")
    targets = Targets(
        [{"host": HOST, "port": haproxy.port}], psycopg2.load(),
        target="primary")
    pool = pool_of(targets, maxconnections=5, maxwait=60)
    assert ports_of(pool, 5) == {primary.port}
    switch_over(haproxy)
    errors = insert(pool, range(100))
    assert len(errors) <= 1
    assert ports_of(pool, 5) == {standby.port}

    cluster = cluster_of(targets)
    watch = cluster._monitor._watches[0]
    wait_until(lambda: watch._con and port_of(watch._con) == standby.port)
    generation, known_at = cluster.generation, cluster.hosts[0].known_at
    wait_until(lambda: cluster.hosts[0].known_at > known_at)
    assert cluster.generation == generation
    with connect(standby.port) as con:
        assert ask(con, "select count(*) from ledger") == 100 - len(errors)
