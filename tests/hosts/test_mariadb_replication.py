"""A primary of MariaDB and its replica, which follows it by GTIDs."""

from contextlib import ExitStack, closing

import clusters  # noqa: F401 - start() knows its kinds then
import pytest
from drivers import BY_NAME, ask, start
from patience import wait_until
from servers import HOST

from dbutils._hosts.targets import cluster_of
from dbutils.hosts import NoServerError, Targets
from dbutils.pooled_db import PooledDB

pytestmark = [pytest.mark.slow, pytest.mark.portable]

pymysql = BY_NAME["pymysql"]
PORT = "select @@port"
COUNT = "select count(*) from ledger where n = %s"


@pytest.fixture(scope="module")
def servers():
    """The primary and the replica.

    The user "app" may not write where the server is read-only.
    """
    pymysql.load()
    with ExitStack() as stack:
        replication = start(stack, "mariadb replication")
        tell(replication.primary,
             "delete from mysql.global_priv where user = ''",  # anonymous ones
             "flush privileges",
             "create user app", "grant all on shop.* to app",
             "create user follower",
             "grant replication slave on *.* to follower",
             "create database shop", "create table shop.ledger (n integer)")
        tell(replication.replica,
             f"change master to master_host = '{HOST}',"
             f" master_port = {replication.primary.port},"
             " master_user = 'follower', master_use_gtid = slave_pos",
             "start slave")
        wait_until(lambda: ask_as_root(
            replication.replica, "select count(*) from"
            " information_schema.tables where table_name = 'ledger'"))
        yield replication.primary, replication.replica


@pytest.fixture
def pool(servers):
    targets = Targets(
        [{"host": HOST, "port": server.port} for server in reversed(servers)],
        pymysql.load(), probe=0.5)
    pool = PooledDB(
        targets, maxconnections=4, maxwait=60, user="app", password="",
        database="shop")
    yield pool
    pool.shutdown(0)


def connect(server):
    return closing(pymysql.load().connect(
        host=HOST, port=server.port, autocommit=True, user="root",
        password=""))


def tell(server, *statements):
    with connect(server) as con:
        for statement in statements:
            ask(con, statement)


def ask_as_root(server, statement):
    with connect(server) as con:
        return ask(con, statement)


def run(db, statement, *args):
    result = ask(db, statement, *args)
    db.commit()
    return result


def test_servers_have_roles(servers, pool):
    primary, replica = servers
    with pool.connection() as db:
        assert ask(db, PORT) == primary.port
    with pool.connection(target="standby") as db:
        assert ask(db, PORT) == replica.port
    assert list(pool._creator.states().values()) == ["standby", "primary"]


def test_a_replica_is_read_that_has_replayed_the_last_write(servers, pool):
    seen = []
    for number in range(200):
        with pool.connection() as db:
            run(db, "insert into ledger values (%s)", number)
            token = db.position()
        with pool.connection(target="prefer-standby", after=token) as db:
            seen.append((ask(db, PORT), ask(db, COUNT, number)))
    assert {count for _, count in seen} == {1}
    assert servers[1].port in {port for port, _ in seen}


def test_a_replica_that_does_not_follow_is_not_read(servers, pool):
    primary, replica = servers
    tell(replica, "stop slave sql_thread")
    try:
        with pool.connection() as db:
            run(db, "insert into ledger values (-1)")
            token = db.position()
        with pool.connection(target="prefer-standby", after=token) as db:
            assert ask(db, PORT) == primary.port
            assert ask(db, COUNT, -1) == 1
    finally:
        tell(replica, "start slave sql_thread")


def test_a_replica_that_may_not_be_asked_counts_as_too_far_behind(
        servers, pool):
    def refusal():
        with pytest.raises(NoServerError) as caught:
            pool.connection(target="standby", maxlag=3600, maxwait=0)
        return str(caught.value)

    # at first it may be too busy to answer the monitor
    wait_until(lambda: "is a standby" in refusal())


def test_a_replica_tells_how_far_it_is_behind(servers, pool):
    primary, replica = servers
    tell(primary, "grant slave monitor on *.* to app")
    wait_until(lambda: ask_as_root(
        replica, "select count(*) from information_schema.user_privileges"
        " where grantee like '%%app%%' and privilege_type like '%%MONITOR'"))
    with pool.connection(target="standby", maxlag=3600, maxwait=60) as db:
        assert ask(db, PORT) == replica.port

        def say_lag():
            return cluster_of(pool._creator).hosts[0].lag

        wait_until(lambda: say_lag() is not None)
        tell(replica, "stop slave sql_thread")
        try:
            wait_until(lambda: say_lag() is None)
            with pool.connection(target="prefer-standby", maxlag=3600) as own:
                assert ask(own, PORT) == primary.port
        finally:
            tell(replica, "start slave sql_thread")
        wait_until(lambda: say_lag() is not None)


def test_the_pool_follows_the_primary(servers, pool):
    primary, replica = servers
    leases = [pool.connection() for _ in range(3)]
    assert {run(lease, PORT) for lease in leases} == {primary.port}
    tell(primary, "set global read_only = 1")
    position = ask_as_root(primary, "select @@gtid_current_pos")
    wait_until(lambda: ask_as_root(
        replica, f"select master_gtid_wait('{position}', 1)") == 0)
    tell(replica, "stop slave", "reset slave all", "set global read_only = 0")

    errors = []
    for number, lease in enumerate(leases, 1000):
        try:
            run(lease, "insert into ledger values (%s)", number)
        except pymysql.error as error:
            errors.append(error.args[0])
            lease.rollback()  # which may go to another server only then
    assert errors in ([], [1290])
    assert {run(lease, PORT) for lease in leases} == {replica.port}
    assert ask_as_root(
        replica, "select count(*) from shop.ledger where n >= 1000",
        ) == 3 - len(errors)
