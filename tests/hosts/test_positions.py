"""Connections that see what was committed before."""

import re
import threading

import pytest
from hosting import FakeHost, host_of, insert, role_of
from patience import PATIENCE, in_threads, join, wait_until

from dbutils._drivers.driver import DriverFacts
from dbutils._hosts.cluster import Cluster
from dbutils._steady.steady import session_of
from dbutils.hosts import NoServerError, Targets
from dbutils.pooled_db import PooledDB
from dbutils.steady_db import SteadyDBError, connect
from dbutils.testing import ScriptedDriver

pytestmark = pytest.mark.portable


@pytest.fixture(autouse=True)
def _positions(monkeypatch):
    """Let scripted servers have positions, and leave all to the requests."""
    monkeypatch.setattr(Cluster, "_watch", lambda self: None)
    monkeypatch.setattr(
        DriverFacts, "position", lambda self, con: str(con.host.position))
    monkeypatch.setattr(
        DriverFacts, "has_reached", lambda self, con, position: (
            None if con.host.position is None
            else con.host.position >= int(position)))


@pytest.fixture
def a():
    with FakeHost("a") as host:
        yield host


@pytest.fixture
def b():
    with FakeHost("b", "standby") as host:
        yield host


def pool_of(*hosts, catchup=0, **options):
    return PooledDB(Targets(hosts, role=role_of, catchup=catchup), **options)


def token_at(pool, server, position):
    server.position = position
    with pool.connection() as db:
        insert(db, position)
        token = db.position()
    assert token == str(position)
    return token


def test_a_standby_that_has_come_as_far_is_used(a, b):
    pool = pool_of(a, b)
    token = token_at(pool, a, 5)
    for position, name in [(5, "b"), (4, "a"), (6, "b"), (None, "a")]:
        b.position = position
        with pool.connection(target="prefer-standby", after=token) as db:
            assert host_of(db) == name
    assert pool.stats().in_use == 0


def test_a_request_waits_until_a_standby_has_caught_up(a, b):
    pool = pool_of(a, b, catchup=60)
    token = token_at(pool, a, 5)
    got = []

    def read():
        with pool.connection(target="prefer-standby", after=token) as db:
            got.append(host_of(db))

    threads = in_threads(read, 1)
    wait_until(lambda: pool.stats().in_use == 1)
    b.position = 5
    join(threads)
    assert got == ["b"]


def test_a_single_standby_is_asked_how_far_it_has_come(b):
    """No other request has had a wish for it."""
    targets = Targets([b], catchup=0)
    targets._cluster._role = role_of  # that alone asks nobody
    pool = PooledDB(targets)
    pool.connection().close()
    b.position = 4
    with pytest.raises(NoServerError, match="b is a standby"):
        pool.connection(after="5")
    b.position = 5
    with pool.connection(after="5") as db:
        assert host_of(db) == "b"


@pytest.mark.parametrize("is_of_pool", [True, False])
def test_a_request_waits_no_longer_than_it_may(a, b, is_of_pool):
    soon, long = {"maxwait": 1}, {"maxwait": 9 * PATIENCE}
    pool = pool_of(
        a, b, catchup=9 * PATIENCE, **(soon if is_of_pool else long))
    token = token_at(pool, a, 5)
    with pool.connection(
            target="prefer-standby", after=token,
            **({} if is_of_pool else soon)) as db:
        assert host_of(db) == "a"
    assert b.asked


def test_a_request_for_a_standby_gets_no_primary_instead(a, b):
    pool = pool_of(a, b)
    token = token_at(pool, a, 5)
    with pytest.raises(NoServerError, match="b has not caught up"):
        pool.connection(target="standby", after=token)
    assert pool.stats().in_use == 0


def test_a_standby_that_dies_when_it_is_asked_is_left(a, b, monkeypatch):
    pool = pool_of(a, b)
    token = token_at(pool, a, 5)

    def reached(self, con, position):
        b.dbapi.stop()
        con.cursor().execute("select 1")

    monkeypatch.setattr(DriverFacts, "has_reached", reached)
    with pool.connection(target="prefer-standby", after=token) as db:
        assert host_of(db) == "a"
    with pytest.raises(NoServerError):
        pool.connection(target="standby", after=token)
    assert pool.stats().in_use == 0


def test_an_interrupted_question_spoils_the_connection(a, b, monkeypatch):
    pool = pool_of(a, b)
    token = token_at(pool, a, 5)
    number = len(b.dbapi._sessions)

    def reached(self, con, position):
        raise KeyboardInterrupt

    monkeypatch.setattr(DriverFacts, "has_reached", reached)
    with pytest.raises(KeyboardInterrupt):
        pool.connection(target="prefer-standby", after=token)
    assert pool.stats().in_use == 0
    assert len(b.dbapi._sessions) == number


def test_the_primary_is_not_asked_how_far_it_is(a, b):
    pool = pool_of(a, b)
    token = token_at(pool, a, 5)
    a.position = None
    for target in None, "primary", "prefer-primary":
        with pool.connection(target=target, after=token) as db:
            assert host_of(db) == "a"


def test_a_connection_that_is_replaced_sees_as_much(a, b):
    """Another standby may be further behind."""
    c = FakeHost("c", "standby")
    pool = pool_of(b, c, a)
    token = token_at(pool, a, 5)
    b.position, c.position = 5, 4
    db = pool.connection(target="prefer-standby", after=token)
    assert host_of(db) == "b"
    b.dbapi.stop()
    db.cursor().execute("select 2")
    assert host_of(db) == "a"
    db.close()
    with pool.connection(target="prefer-standby") as db:  # which may see less
        assert host_of(db) == "c"


def test_no_read_misses_what_was_written(a, b):
    """A standby replays in its own time, and threads write and read."""
    pool = pool_of(a, b, maxconnections=4, blocking=True)
    lock, stale, end = threading.Lock(), [], threading.Event()

    def replay():
        while not end.is_set():
            b.position = a.position

    def work():
        for _ in range(100):
            with lock:
                a.position += 1
            with pool.connection() as db:
                token = db.position()
            with pool.connection(target="prefer-standby", after=token) as db:
                if session_of(db).con.host.position < int(token):
                    stale.append(token)

    replaying = in_threads(replay, 1)
    join(in_threads(work, 3))
    end.set()
    join(replaying)
    assert stale == []
    assert pool.stats().in_use == 0


def test_the_question_leaves_no_transaction(a):
    db = connect(Targets([a]))
    con = session_of(db).con
    assert db.position() == "0"
    assert not con.in_transaction
    db.cursor().execute("select 1")
    assert con.in_transaction
    assert db.position() == "0"
    assert con.in_transaction


def test_a_server_without_positions_says_so(monkeypatch):
    monkeypatch.undo()
    with pytest.raises(SteadyDBError, match="does not tell how far"):
        connect(ScriptedDriver()).position()


@pytest.mark.parametrize("after", [5, "5' or 1", b"5"])
def test_what_is_no_position_is_named(a, b, after):
    pool = pool_of(a, b)
    with pytest.raises(ValueError, match=re.escape(
            "'after' must be what position() has returned")):
        pool.connection(after=after)


@pytest.mark.parametrize("target", ["primary", "any"])
def test_all_connections_leave_a_node_without_quorum(a, b, target):
    """The first statement that is refused tells that of a driver unknown."""
    b.role = "primary"
    pool = pool_of(a, b)
    one, two = (pool.connection(target=target) for _ in range(2))
    a.dbapi.plan(NodeError(1047), matching="insert")
    a.role = "offline"
    with pytest.raises(NodeError):
        insert(one, 1)
    insert(two, 2)
    assert (host_of(two), b.rows) == ("b", [2])


# Whole transactions.

def test_a_transaction_is_repeated_on_another_server(a, b):
    pool = pool_of(a, b)
    pool.connection().close()
    a.role, b.role = "standby", "primary"

    def work(db):
        db.cursor().execute("insert into t values (7)")
        return host_of(db)

    assert pool.run(work) == "b"
    assert (a.rows, b.rows) == ([], [7])


class NodeError(Exception):
    """An error of a node of a cluster."""

    def __init__(self, number):
        super().__init__(number, "The node does not want that.")
        self.errno = number


def test_a_conflict_at_commit_is_repeated(a, b):
    """So Galera says that a transaction failed its certification."""
    a.dbapi.plan(NodeError(1213), at="commit")
    pool = pool_of(a, b)
    seen = []
    pool.run(lambda db: seen.append(
        db.cursor().execute("insert into t values (7)")))
    assert len(seen) == 2
    assert a.rows == [7]


@pytest.mark.parametrize("target", ["primary", "any"])
def test_a_node_without_quorum_is_left(a, b, target):
    """It answers pings, and refuses all statements."""
    b.role = "primary"
    pool = pool_of(a, b)
    first = pool.connection(target=target)
    pool.connection(target=target).close()
    assert host_of(first) == "a"
    a.dbapi.plan(NodeError(1047), matching="insert")
    a.role = "offline"
    with pytest.raises(NodeError):
        insert(first, 1)
    insert(first, 2)
    with pool.connection(target=target) as db:
        assert host_of(db) == "b"
    assert b.rows == [2]
