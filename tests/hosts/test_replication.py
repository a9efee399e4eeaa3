"""A real primary of PostgreSQL with two standbys."""

import threading
from contextlib import ExitStack, contextmanager
from itertools import count
from threading import Event, Thread

import drivers
import pytest
from drivers import ask, start
from folders import EXAMPLES
from manuals import every
from patience import join, wait_until
from servers import HOST
from serving import run_example

from dbutils._steady.steady import session_of
from dbutils.hosts import NoServerError, Targets
from dbutils.pooled_db import PooledDB
from dbutils.testing import Proxy

pytestmark = [pytest.mark.slow, pytest.mark.portable]

psycopg2 = drivers.BY_NAME["psycopg2"]


@pytest.fixture(scope="module")
def replication():
    psycopg2.load()
    with ExitStack() as stack:
        yield start(stack, "replication")


@pytest.fixture
def pool_of():
    """Make pools, and shut them down at the end."""
    pools = []

    def make(ports, **options):
        names = "probe", "cut"
        targets = Targets(
            [{"host": HOST, "port": port} for port in ports], psycopg2.load(),
            **{name: options.pop(name) for name in names if name in options})
        pool = PooledDB(
            targets, user="postgres", dbname="postgres", **options)
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        pool.shutdown(0)


def ports_of(replication):
    return [server.port for server in replication.servers]


def port_of(db):
    return session_of(db).con.info.port


def run(db, sql, *args):
    result = ask(db, sql, *args)
    db.commit()
    return result


def test_servers_have_roles_and_standbys_a_lag(replication, pool_of):
    primary, *standbys = ports_of(replication)
    pool = pool_of([*standbys, primary], probe=0.2)
    with pool.connection() as db:
        assert port_of(db) == primary
        run(db, "create table ledger (n integer)")
        run(db, "insert into ledger values (-1)")
        hosts = pool._creator._cluster.hosts
        wait_until(lambda: all(
            host.lag is not None and host.lag < 0.2 for host in hosts[:2]))
    with pool.connection(target="standby", maxlag=10) as db:
        assert port_of(db) in standbys
        wait_until(lambda: run(
            db, "select count(*) from pg_class where relname = 'ledger'"))
        wait_until(lambda: run(db, "select count(*) from ledger") == 1)
    assert sorted(pool._creator.states().values()) == [
        "primary", "standby", "standby"]


@pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason="there is no checkout around these tests")
def test_the_example_reads_what_it_has_written(replication, tmp_path):
    urls = [f"postgresql+psycopg2://postgres@{HOST}:{port}/postgres"
            for port in ports_of(replication)]
    read, *states = run_example(
        "replicas", tmp_path, DATABASE_URLS=" ".join(reversed(urls)))
    assert read == "tea was read"
    assert len(states) == 3
    assert sum(state.endswith("is primary") for state in states) == 1


@pytest.mark.parametrize(("_", "code"), every("replicas"))
def test_the_manual_shows_programs_that_run(_, code, replication):
    """They find the servers and the database of the tests instead."""
    primary, *standbys = replication.servers
    for name, server in zip(
            ("db1", "db2", "db3"), [*standbys, primary]):
        code = code.replace(
            f'"host": "{name}"', f'"host": "{HOST}", "port": {server.port}')
    names = {}
    with directly(primary) as db:
        ask(db, "create table if not exists orders (item text)")
    try:
        exec(code.replace('"shop"', '"postgres", user="postgres"'), names)
        assert set(names["targets"].states().values()) >= {
            "primary", "standby"}
    finally:
        names["pool"].shutdown(0)


def test_a_standby_is_read_that_has_replayed_the_last_write(
        replication, pool_of):
    ports = ports_of(replication)
    pool = pool_of(ports)
    seen = []
    for number in range(-1100, -1000):
        with pool.connection() as db:
            run(db, "insert into ledger values (%s)", number)
            token = db.position()
        with pool.connection(target="prefer-standby", after=token) as db:
            seen.append((port_of(db), run(
                db, "select count(*) from ledger where n = %s", number)))
    assert {count for _, count in seen} == {1}
    assert {port for port, _ in seen} & set(ports[1:])


def test_a_network_that_swallows_everything_is_noticed(replication, pool_of):
    primary, standby, _ = ports_of(replication)
    errors = []

    def work(lease):
        try:
            ask(lease, "select 1")
        except Exception as error:
            errors.append(error)

    with Proxy(standby) as proxy:
        pool = pool_of([proxy.port, primary], probe=0.5)
        lease = pool.connection(target="prefer-standby")
        assert port_of(lease) == proxy.port
        watch = pool._creator._cluster._monitor._watches[0]
        wait_until(lambda: watch.host.role == "standby" and watch._con)
        proxy.swallow()
        thread = Thread(target=work, args=(lease,))
        thread.start()
        join([thread])
        assert not errors  # it was read from the primary
        assert port_of(lease) == primary
        lease.close()


class Ledger:
    """Threads that write numbers, and what they know of them."""

    def __init__(self, pool):
        self._pool = pool
        self._numbers = count()
        self._end = Event()
        self._lock = threading.Lock()
        self.committed, self.errors = set(), []
        self.threads = [Thread(target=self._work) for _ in range(4)]
        for thread in self.threads:
            thread.start()

    def _work(self):
        while not self._end.is_set():
            with self._lock:
                number = next(self._numbers)
            try:
                with self._pool.connection() as db:
                    run(db, "insert into ledger values (%s)", number)
                self.committed.add(number)
            except (psycopg2.error, NoServerError) as error:
                self.errors.append(error)

    def goes_on(self):
        """Wait until something more was committed."""
        before = len(self.committed)
        wait_until(lambda: len(self.committed) > before + 20)

    def end(self):
        self._end.set()
        join(self.threads)


def test_the_pool_follows_the_primary(replication, pool_of):
    """First a switch-over, then the new primary dies."""
    first, second, third = replication.servers
    pool = pool_of(
        ports_of(replication), probe=0.5, maxconnections=4, maxwait=60)
    ledger = Ledger(pool)
    ledger.goes_on()

    turn(first)
    second.promote()
    ledger.goes_on()
    before = len(ledger.errors)
    assert before <= 4  # those that were at work just then
    assert states(pool, first, second) == ["read-only", "primary"]

    second.kill()
    third.promote()
    ledger.goes_on()
    ledger.end()
    assert len(ledger.errors) - before <= 8
    assert states(pool, second, third) == ["offline", "primary"]
    for server in first, third:
        assert most_often(pool_of([server.port])) == 1


def states(pool, *servers):
    found = pool._creator.states()
    return [found[f"{HOST}:{server.port}"] for server in servers]


def most_often(pool):
    """Return how often a number was written at most."""
    with pool.connection() as db:
        return run(
            db, "select max(times) from (select count(*) as times from ledger"
            " group by n) as counted")


@contextmanager
def directly(server):
    """Use a connection to a server that commits each statement."""
    con = psycopg2.load().connect(
        host=HOST, port=server.port, user="postgres", dbname="postgres")
    con.autocommit = True
    yield con
    con.close()


def turn(server):
    """Let a primary refuse to write, as one that is switched over does."""
    with directly(server) as con:
        ask(con, "alter system set default_transaction_read_only = on")
        ask(con, "select pg_reload_conf()")
