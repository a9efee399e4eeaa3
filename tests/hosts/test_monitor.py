"""The monitor of several servers, which works in the background."""

import sys
from functools import partial

import pytest
from forking import in_child, needs_fork
from hosting import FakeHost, host_of, insert, role_of
from patience import in_threads, join, wait_until

from dbutils._base.housekeeper import Chore, housekeeper
from dbutils._drivers.standing import PRIMARY, STANDBY, Standing
from dbutils._hosts import host, monitor
from dbutils._hosts.targets import cluster_of
from dbutils.hosts import Targets
from dbutils.pooled_db import PooledDB

pytestmark = pytest.mark.portable


class Clock:
    """A clock that stands still."""

    now = 1000.0

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


@pytest.fixture
def a():
    with FakeHost("a") as host:
        yield host


@pytest.fixture
def b():
    with FakeHost("b", "standby") as host:
        yield host


@pytest.fixture
def clock(monkeypatch):
    """A clock, and a monitor that works only when it is told to."""
    monkeypatch.setattr(Chore, "begin", lambda self, pause: None)
    monkeypatch.setattr(housekeeper, "do", lambda task: task.run() or True)
    clock = Clock()
    monkeypatch.setattr(monitor, "monotonic", clock)
    monkeypatch.setattr(host, "monotonic", clock)
    return clock


def monitor_of(pool):
    return cluster_of(pool._creator)._monitor


def number_of(*hosts):
    """Return how many connections servers have."""
    return sum(len(host.dbapi._sessions) for host in hosts)


def pool_of(*hosts, onconnect=None, **options):
    return PooledDB(
        Targets(hosts, role=role_of, **options), onconnect=onconnect)


# What it learns.

def test_it_asks_all_servers_on_one_connection_each(a, b, clock):
    pool = pool_of(a, b)
    db = pool.connection()
    for _ in range(5):
        monitor_of(pool).look()
        clock.advance(1)
    assert pool._creator.states() == {"a": "primary", "b": "standby"}
    assert (number_of(a), number_of(b)) == (2, 1)
    assert host_of(db) == "a"


def test_a_switch_over_costs_no_error_if_it_sees_that_first(a, b, clock):
    pool = pool_of(a, b)
    leases = [pool.connection() for _ in range(3)]
    pool.connection().close()
    monitor_of(pool).look()
    a.role, b.role = "standby", "primary"
    clock.advance(1)
    monitor_of(pool).look()
    assert pool.stats().idle == 0
    for number, lease in enumerate(leases):
        insert(lease, number)
    assert b.rows == [0, 1, 2]


def test_a_server_is_left_whose_role_was_forgotten_meanwhile(a, b, clock):
    pool = pool_of(a, b)
    leases = [pool.connection() for _ in range(3)]
    monitor_of(pool).look()
    a.is_broken = True
    clock.advance(1)
    monitor_of(pool).look()
    a.is_broken, a.role, b.role = False, "standby", "primary"
    clock.advance(1)
    monitor_of(pool).look()
    for number, lease in enumerate(leases):
        insert(lease, number)
    assert b.rows == [0, 1, 2]


def test_a_server_is_left_that_changes_while_a_connection_is_prepared(
        a, b, clock):
    def demote(con):
        a.role, b.role = "standby", "primary"
        clock.advance(1)
        monitor_of(pool).look()

    pool = pool_of(a, b, onconnect=demote)
    insert(pool.connection(), 1)
    assert b.rows == [1]


def test_a_proxy_is_followed_to_another_server(a, b, clock):
    """It leads new connections there, and leaves the others alone."""
    now = [a]

    def proxy(**options):
        return now[0](**options)

    proxy.dbapi, proxy.threadsafety = a.dbapi, 1
    pool = pool_of(proxy, target="primary")
    leases = [pool.connection() for _ in range(2)]
    pool.connection().close()
    monitor_of(pool).look()
    a.role, b.role, now[0] = "standby", "primary", b
    clock.advance(1)
    monitor_of(pool).look()
    for number, lease in enumerate(leases):
        insert(lease, number)
    with pool.connection() as db:
        insert(db, 2)
    assert (a.rows, b.rows) == ([], [0, 1, 2])
    generation = cluster_of(pool._creator).generation
    clock.advance(1)
    monitor_of(pool).look()
    assert pool._creator.states() == {"proxy": "primary"}
    assert cluster_of(pool._creator).generation == generation


def test_servers_in_use_are_asked_more_often(a, b, clock):
    pool = pool_of(a, b, probe=1.25)
    lease = pool.connection()
    look, asked = monitor_of(pool).look, []
    look()
    for _ in range(2):
        clock.advance(1.25)
        before = b.asked
        for _ in range(20):
            look()
            clock.advance(0.125)
        asked.append(b.asked - before)
        lease.close()
        look()  # which was used since the last look
    assert asked == [20, 2]


def test_a_server_in_doubt_is_asked_very_often(a, b, clock):
    pool = pool_of(a, b, probe=1)
    lease = pool.connection()
    look = monitor_of(pool).look
    look()
    b.is_broken = True
    clock.advance(1)
    look()
    asked = []
    for _ in range(2):
        before = b.asked
        for _ in range(16):
            clock.advance(0.0625)
            look()
        asked.append(b.asked - before)
        clock.advance(40)  # it gets no better
    assert asked[0] == 16
    assert asked[1] <= 8
    assert host_of(lease) == "a"


def test_a_server_rests_as_long_as_it_keeps_the_monitor_waiting(
        a, b, clock, monkeypatch):
    pool = pool_of(a, b, probe=1)
    lease = pool.connection()
    monkeypatch.setattr(housekeeper, "do", lambda task: True)
    look, (host, _) = monitor_of(pool).look, cluster_of(pool._creator).hosts
    host.failures = 9  # so that a rest takes longer than a look
    rests = []
    for _ in range(40):
        look()
        rests.append(host.rests_until > clock.now)
        clock.advance(0.125)
    assert rests == [False] * 10 + [True] * 30
    assert host_of(lease) == "a"


def test_a_silent_server_is_not_tried_again_before_it_answers(
        a, b, clock, monkeypatch):
    """A connect could wait for it as long as a statement."""
    pool = pool_of(a, b, probe=1)
    lease = pool.connection()
    look, cluster = monitor_of(pool).look, cluster_of(pool._creator)
    look()
    a.dbapi.silence()
    monkeypatch.setattr(housekeeper, "do", lambda task: True)
    monkeypatch.setattr(monitor.Watch, "_is_silent", lambda self, con: True)
    for _ in range(5):
        clock.advance(0.1)
        look()
    host = cluster.hosts[0]
    assert host.state == "offline"
    clock.advance(2.5)  # which is longer than the first rest of another one
    assert not host.may_fit(frozenset(["primary"]), None, 0)
    cluster.note_standing(host, Standing(PRIMARY), 0)
    assert host.may_fit(frozenset(["primary"]), None, 0)
    a.dbapi.speak()
    assert host_of(lease) == "a"


def silent_after(pool, clock, looks, after):
    """Return the number of the look at which the first server is left.

    after: the looks after which a statement is answered
    """
    db, cut = pool.connection(), []
    look, cluster = monitor_of(pool).look, cluster_of(pool._creator)
    cluster.note_silence = lambda host, error: cut.append(host.name)
    for number in range(looks):
        if number in after:
            db.cursor().execute("select 2")
        look()
        if "a" in cut:
            return number
        clock.advance(0.1)
    return None


@pytest.mark.parametrize(("after", "at"), [
    ((), 3), ((1,), 4), ((2,), 5), ((3,), 6), ((1, 3), 6)])
def test_the_silence_is_counted_from_the_last_answer_to_anybody(
        a, b, clock, monkeypatch, after, at):
    """A statement can be answered after the question was sent."""
    pool = pool_of(a, b, probe=1)
    lease = pool.connection()
    monitor_of(pool).look()
    clock.advance(1)
    monkeypatch.setattr(housekeeper, "do", lambda task: True)
    monkeypatch.setattr(monitor.Watch, "_is_silent", lambda self, con: True)
    assert silent_after(pool, clock, 20, after) == at
    assert host_of(lease) == "a"


def test_a_part_of_an_answer_puts_the_silence_off(a, b, clock, monkeypatch):
    pool = pool_of(a, b, probe=1)
    lease = pool.connection()
    monitor_of(pool).look()
    clock.advance(1)
    monkeypatch.setattr(housekeeper, "do", lambda task: True)
    answers = iter([False, False, True, True])
    monkeypatch.setattr(
        monitor.Watch, "_is_silent", lambda self, con: next(answers)
        if self.host.name == "a" else False)
    assert silent_after(pool, clock, 20, ()) == 5
    for _ in range(5):
        monitor_of(pool).look()
    assert next(answers)  # it was noted once
    assert host_of(lease) == "a"


def test_attempts_to_connect_that_take_long_are_counted_together(
        a, b, clock, monkeypatch):
    """Each of them can end just before it would count as silent."""
    pool = pool_of(a, b, probe=1)
    tasks = []
    monkeypatch.setattr(
        housekeeper, "do", lambda task: tasks.append(task) or True)
    lease = pool.connection()
    cluster = cluster_of(pool._creator)
    watch = monitor_of(pool)._watches[0]
    cut = []
    cluster.note_silence = lambda host, error: cut.append(host.name)
    for number in range(50):
        watch.look(cluster, 0.1)
        if number == 28:
            cluster.note_failure(watch.host, TimeoutError("too late"))
            watch._question = None
        if cut:
            break
        clock.advance(0.1)
    assert (cut, number) == (["a"], 31)
    assert host_of(lease) == "a"


def test_the_only_server_is_tried_again_soon(a, clock):
    pool = pool_of(a, target="primary")
    lease = pool.connection()
    cluster = cluster_of(pool._creator)
    host, = cluster.hosts
    cluster.note_silence(host, TimeoutError("silent"))
    clock.advance(0.1)
    assert host.may_fit(frozenset(["primary"]), None, 0)
    lease.close()


def test_after_an_error_it_looks_at_once(a, b, clock):
    pool = pool_of(a, b)
    db = pool.connection()
    monitor_of(pool).look()
    clock.advance(0.01)
    before = a.asked
    monitor_of(pool).look()
    assert a.asked == before
    a.dbapi.plan("lost", matching="select 2")
    db.cursor().execute("select 2")
    before = a.asked
    monitor_of(pool).look()
    assert a.asked == before + 1


def test_a_read_only_transaction_of_the_program_calms_it(a, b, clock):
    pool = pool_of(a, b, probe=1)
    db = pool.connection()

    def refuse():
        a.dbapi.plan("read-only", matching="insert")
        with pytest.raises(a.dbapi.OperationalError):
            insert(db, 1)
        return cluster_of(pool._creator).generation

    insert(db, 0)
    assert refuse() == 1
    monitor_of(pool).look()  # and finds that it is the primary
    clock.advance(5)
    assert refuse() == 1
    clock.advance(6)
    assert refuse() == 2


def test_without_use_it_rests(a, b, clock):
    pool = pool_of(a, b, probe=1)
    pool.connection().close()
    monitor_of(pool).look()
    assert number_of(a, b) == 3
    clock.advance(11)
    asked = a.asked
    for _ in range(3):
        monitor_of(pool).look()
        clock.advance(1)
    assert number_of(a, b) == 1
    assert a.asked == asked
    insert(pool.connection(), 1)
    monitor_of(pool).look()
    assert number_of(a, b) == 3
    assert a.asked == asked + 1


def test_it_ends_with_the_pool(a, b, clock):
    pool = pool_of(a, b)
    pool.connection().close()
    monitor_of(pool).look()
    del pool
    assert number_of(a, b) == 0


def test_its_end_is_silent_when_modules_were_emptied_before(
        a, b, clock, monkeypatch, capsys):
    noted = []
    monkeypatch.setattr(sys, "unraisablehook", noted.append, raising=False)
    pool = pool_of(a, b)
    pool.connection().close()
    monitor_of(pool).look()
    for name in "quietly", "note_lost":
        monkeypatch.setattr(monitor, name, None, raising=False)
    del pool
    assert noted == []
    assert capsys.readouterr().err == ""  # where Python 3.7 says it


@needs_fork
def test_a_forked_child_leaves_its_connections_to_the_parent(a, b, clock):
    pool = pool_of(a, b)
    lease = pool.connection()
    monitor_of(pool).look()
    assert in_child(lambda: monitor_of(pool)._watches[0]._con) is None
    clock.advance(1)
    monitor_of(pool).look()
    assert pool._creator.states() == {"a": "primary", "b": "standby"}
    assert host_of(lease) == "a"


# The lag.

def test_the_lag_is_the_time_since_the_primary_was_there(a, b, clock):
    pool = pool_of(a, b, probe=1)
    lease = pool.connection()
    lags = []
    for written, replayed in [
            (100, 90), (200, 100), (300, 100), (300, 250), (300, 300)]:
        a._role = Standing(PRIMARY, written)
        b._role = Standing(STANDBY, replayed)
        monitor_of(pool).look()
        lags.append(cluster_of(pool._creator).hosts[1].lag)
        clock.advance(1)
    assert lags == [None, 1, 2, 2, 0]
    assert host_of(lease) == "a"


@pytest.mark.parametrize(("lag", "name"), [(None, "a"), (3, "a"), (1, "b")])
def test_a_standby_that_is_too_far_behind_is_not_used(a, b, clock, lag, name):
    pool = pool_of(a, b, probe=1)
    b._role = Standing(STANDBY, None, lag)
    with pool.connection(target="prefer-standby", maxlag=2) as db:
        assert host_of(db) == name


def test_idle_connections_to_a_standby_too_far_behind_are_not_used(
        a, b, clock):
    pool = pool_of(a, b, probe=1)
    for lag, name in [(1, "b"), (3, "a"), (1, "b")]:
        b._role = Standing(STANDBY, None, lag)
        if monitor_of(pool) is not None:
            clock.advance(1)
            monitor_of(pool).look()
        with pool.connection(target="prefer-standby", maxlag=2) as db:
            assert host_of(db) == name
    assert pool.stats().opened == 2


# In the background.

def test_requests_wait_until_a_standby_is_promoted(a, b):
    pool = PooledDB(Targets([a, b], role=role_of), maxwait=60)
    pool.connection().close()
    a.dbapi.stop()
    got = []

    def work():
        with pool.connection() as db:
            got.append(host_of(db))

    threads = in_threads(work, 3)
    wait_until(lambda: pool._core.throttle.error is not None)
    b.role = "primary"
    join(threads)
    assert got == ["b"] * 3


def run_on_silent(pool, silent):
    """Return what a statement raises that gets no answer."""
    errors = []

    def work(lease):
        try:
            lease.cursor().execute("select 1 union select 2")
        except Exception as error:
            errors.append(error)

    lease = pool.connection()
    silent.dbapi.silence()
    threads = in_threads(partial(work, lease), 1)
    return errors, threads, lease


def test_a_server_that_falls_silent_is_left(a, b):
    """A statement waits for its answer, and does not wait for ever."""
    pool = PooledDB(Targets([a, b], role=role_of, probe=0.2))
    pool.connection().close()
    wait_until(lambda: a.asked >= 2)  # once by the monitor
    errors, threads, lease = run_on_silent(pool, a)
    b.role = "primary"
    join(threads)
    assert not errors  # it is a read, and was repeated on the other server
    assert host_of(lease) == "b"
    assert pool._creator.states()["a"] == "offline"
    a.dbapi.speak()
    a.role = "standby"
    wait_until(lambda: pool._creator.states()["a"] == "standby")


def test_a_server_that_falls_silent_can_be_left_alone(a, b):
    pool = PooledDB(Targets([a, b], role=role_of, probe=0.2, cut=False))
    pool.connection().close()
    wait_until(lambda: a.asked >= 2)  # once by the monitor
    errors, threads, lease = run_on_silent(pool, a)
    wait_until(lambda: pool._creator.states()["a"] == "offline")
    assert threads[0].is_alive()
    a.dbapi.speak()
    join(threads)
    assert not errors
    assert host_of(lease) == "a"
