"""Connections that lead to one of several servers."""

import gc
import inspect
import pickle
import re
import sqlite3
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from types import SimpleNamespace

import pytest
from hosting import FakeHost, host_of, insert, role_of
from patience import in_threads, join, wait_until

from dbutils._base.links import Links
from dbutils._core import acquiring, leaving
from dbutils._core.lease import core_of
from dbutils._drivers.registry import driver_in
from dbutils._hosts.aims import Wish, check_aim
from dbutils._hosts.cluster import Cluster
from dbutils._hosts.errors import no_server
from dbutils._hosts.host import Seat
from dbutils._hosts.monitor import Watch
from dbutils._hosts.targets import cluster_of
from dbutils._steady.steady import session_of
from dbutils.dynamic_pooled_db import DynamicPooledDB
from dbutils.health_check_pooled_db import HealthCheckPooledDB
from dbutils.hosts import NoServerError, Targets
from dbutils.keyed_pool import SimpleConnectionPool
from dbutils.performance_optimized_pooled_db import (
    PerformanceOptimizedPooledDB,
)
from dbutils.persistent_db import PersistentDB
from dbutils.pooled_db import PooledDB, TooManyConnectionsError
from dbutils.resource_allocation_pooled_db import ResourceAllocationPooledDB
from dbutils.steady_db import connect

pytestmark = pytest.mark.portable


@pytest.fixture(autouse=True)
def _no_monitor(monkeypatch):
    """Leave all to the requests; see test_monitor.py."""
    monkeypatch.setattr(Cluster, "_watch", lambda self: None)


@pytest.fixture
def a():
    with FakeHost("a") as host:
        yield host


@pytest.fixture
def b():
    with FakeHost("b", "standby") as host:
        yield host


@pytest.fixture
def c():
    with FakeHost("c", "standby") as host:
        yield host


def targets_of(*hosts, **options):
    return Targets(hosts, role=role_of, **options)


def swap(old, new):
    """Let another server be the primary."""
    old.role, new.role = "standby", "primary"


# Who is asked.

def test_by_default_the_primary_is_asked(a, b):
    pool = PooledDB(targets_of(b, a))
    with pool.connection() as db:
        assert host_of(db) == "a"
        insert(db, 1)
    assert a.rows == [1]


@pytest.mark.parametrize(("target", "names"), [
    ("primary", {"a"}), ("standby", {"b", "c"}),
    ("prefer-standby", {"b", "c"}), ("prefer-primary", {"a"}),
    ("any", {"a", "b", "c"})])
def test_a_request_names_its_target(a, b, c, target, names):
    pool = PooledDB(targets_of(a, b, c, order="round-robin"))
    leases = [pool.connection(target=target) for _ in range(6)]
    assert {host_of(lease) for lease in leases} == names


@pytest.mark.parametrize("target", ["prefer-standby", "any"])
def test_without_a_standby_the_primary_is_used(a, b, target):
    b.dbapi.stop()
    pool = PooledDB(targets_of(b, a))
    with pool.connection(target=target) as db:
        assert host_of(db) == "a"


def test_a_request_for_a_standby_gets_no_primary(a, b):
    b.dbapi.stop()
    pool = PooledDB(targets_of(a, b))
    with pytest.raises(NoServerError, match="a is a primary; b cannot be"):
        pool.connection(target="standby")


def test_an_outage_names_the_servers_and_ends_with_one_of_them(a, b, caplog):
    pool = PooledDB(targets_of(a, b), poolname="shop")
    a.dbapi.stop()
    with pytest.raises(NoServerError):
        pool.connection()
    pool.connection(target="standby").close()  # which does not end it
    reason = "a fails with OperationalError; b is a"
    text = re.sub(r"since \d+ ms", "since 0 ms", pool.explain())
    assert f"can be used (primary) since 0 ms ({reason} standby)." in text
    a.dbapi.start()
    pool._cluster.hosts[0].rests_until = 0
    pool.connection().close()
    text = pool.explain()
    assert "What is wrong" not in text
    assert "- No server for a request could be used for" in text
    first, second = [
        record.getMessage() for record in caplog.records
        if record.event in {"outage_began", "outage_ended"}]
    assert first == (
        f"shop: No server can be used (primary): {reason} standby [DBU-42]")
    assert second.startswith(
        "shop: A server can be used again (primary), after ")


def test_an_error_about_servers_can_be_pickled():
    error = no_server(check_aim("any", 2), [])
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.aim) == (str(error), error.aim)
    assert str(again.aim) == "any, at most 2 seconds behind"


def test_the_target_of_all_requests_can_be_another_one(a, b):
    pool = PooledDB(targets_of(a, b, target="prefer-standby"))
    assert host_of(pool.connection()) == "b"
    assert host_of(pool.dedicated_connection(target="primary")) == "a"


def test_one_server_is_not_asked_for_its_role(a):
    a.role = "standby"
    pool = PooledDB(Targets([a]))
    assert host_of(pool.connection()) == "a"
    assert not a.asked


def test_what_one_server_is_remains_unknown_until_it_is_asked(a):
    a.role = "standby"
    targets = Targets([a])
    targets.connect().close()
    assert targets.states() == {"a": "unknown"}


@pytest.fixture
def pool_of_a_standby(b):
    """Return a pool of one server that nobody had a wish for."""
    targets = Targets([b])
    targets._cluster._role = role_of  # that alone asks nobody
    with PooledDB(targets, maxconnections=2) as pool:
        pool.connection().close()
        assert not b.asked
        yield pool


def test_one_server_is_asked_once_a_request_wants_a_primary(
        b, pool_of_a_standby):
    with pytest.raises(NoServerError, match="b is a standby"):
        pool_of_a_standby.connection(target="primary")
    assert b.asked
    assert host_of(pool_of_a_standby.connection()) == "b"


def test_one_server_is_asked_once_a_request_wants_a_standby(
        b, pool_of_a_standby):
    with pool_of_a_standby.connection(target="standby") as db:
        assert host_of(db) == "b"
    assert pool_of_a_standby._creator.states() == {"b": "standby"}


def test_one_server_is_asked_once_a_request_limits_the_lag(
        b, pool_of_a_standby):
    with pytest.raises(NoServerError, match="at most 10 seconds behind"):
        pool_of_a_standby.connection(maxlag=10)


def test_a_lag_that_is_not_known_is_too_much(a, b):
    pool = PooledDB(targets_of(a, b))
    with pool.connection(target="prefer-standby", maxlag=10) as db:
        assert host_of(db) == "a"
    with pytest.raises(NoServerError, match="at most 10 seconds behind"):
        pool.connection(target="standby", maxlag=10)


@pytest.mark.parametrize("answer", [True, False])
def test_a_function_may_only_say_whether_it_is_the_primary(a, answer):
    targets = Targets([a], role=lambda con: answer, target="any")
    targets.connect().close()
    assert targets.states() == {"a": "primary" if answer else "standby"}


def test_an_interrupted_request_leaves_no_aim_behind(a, b):
    """Its aim is forgotten with the function that is interrupted."""
    cluster = targets_of(a, b)._cluster
    wish = Wish(cluster.aim_at("standby", None))
    cluster.listen(wish)
    assert cluster.route().aim is wish.aim
    del wish
    assert cluster.route().aim is cluster.aim


# Idle connections to several servers.

def test_idle_connections_are_told_apart(a, b):
    pool = PooledDB(targets_of(a, b))
    for _ in range(3):
        with pool.connection() as db:
            assert host_of(db) == "a"
            with pool.connection(target="standby") as other:
                assert host_of(other) == "b"
    assert pool.stats().opened == 2


def test_a_place_is_exchanged_when_no_other_is_left(a, b):
    pool = PooledDB(targets_of(a, b), maxconnections=1)
    for target, name in [
            (None, "a"), ("standby", "b"), ("primary", "a"), (None, "a")]:
        with pool.connection(target=target) as db:
            assert host_of(db) == name
    assert pool.stats().opened == 3
    assert pool.stats().closed_surplus == 2


def test_the_limit_holds_for_the_sum(a, b):
    pool = PooledDB(targets_of(a, b), maxconnections=2)
    with pool.connection(), pool.connection(target="standby"):
        for target in None, "primary", "standby", "any":
            with pytest.raises(TooManyConnectionsError):
                pool.connection(target=target)


def test_waiters_get_what_they_want(a, b):
    """A place goes to the first one, whatever connection it has."""
    pool = PooledDB(targets_of(a, b), maxconnections=1, blocking=True)
    order = []

    def work(target):
        with pool.connection(target=target) as db:
            order.append(host_of(db))

    with pool.connection():
        threads = []
        for number, target in enumerate(["standby", None, "standby"], 1):
            thread = threading.Thread(target=work, args=(target,))
            thread.start()
            threads.append(thread)
            wait_until(lambda number=number: pool.stats().waiting == number)
    join(threads)
    assert order == ["b", "a", "b"]
    assert pool.stats().in_use == 0


def test_a_connection_that_others_have_just_closed_is_passed_over(
        a, b, monkeypatch):
    pool = PooledDB(targets_of(a, b))
    with pool.connection(), pool.connection(target="standby"):
        pass
    gone = SimpleNamespace(slot=SimpleNamespace(con=None))
    for module in acquiring, leaving:
        monkeypatch.setattr(
            module, "snapshot", lambda idle: [gone, *idle])
    with pool.connection(target="standby") as db:
        assert host_of(db) == "b"
    pool._member.sweep()
    assert pool.stats().idle == 2


@pytest.mark.usefixtures("_restless")
def test_threads_with_different_targets_get_what_they_want(a, b):
    pool = PooledDB(targets_of(a, b), maxconnections=3, blocking=True)
    wrong = []
    work = iter([None, "standby", "prefer-primary"] * 40)

    def lend():
        for target in work_of(work):
            with pool.connection(target=target) as db:
                if host_of(db) != ("b" if target == "standby" else "a"):
                    wrong.append(target)

    lock = threading.Lock()

    def work_of(items):
        while True:
            with lock:
                item = next(items, "end")
            if item == "end":
                return
            yield item

    join(in_threads(lend, 6))
    assert wrong == []
    assert pool.stats().in_use == 0


def test_limits_hold_for_a_server(a, b, c):
    pool = PooledDB(
        targets_of(a, b, c, limits={"b": 1}), maxconnections=10)
    leases = [pool.connection(target="standby") for _ in range(3)]
    assert [host_of(lease) for lease in leases] == ["b", "c", "c"]
    leases[0].close()
    pool.close()
    assert host_of(pool.connection(target="standby")) == "b"


def test_a_server_at_its_limit_is_no_cause_to_wait_for_nothing(a):
    pool = PooledDB(targets_of(a, limits={"a": 1}))
    with pool.connection(), pytest.raises(
            NoServerError, match="a has 1 connections, which is its limit"):
        pool.connection()


def test_one_of_two_that_come_at_the_same_time_gets_the_last_place(a):
    only, = cluster_of(targets_of(a, limits={"a": 1})).hosts
    later = []

    class Seats(Links):
        def things(self):
            if not later:  # another thread has begun, too
                later.append(Seat())
                self.add(later[0])
            return super().things()

    only._seats = Seats()
    first = only.take_seat()
    assert first is not None
    assert only.take_seat() is None


def test_a_request_waits_for_a_server_at_its_limit(a):
    pool = PooledDB(
        targets_of(a, limits={"a": 1}), maxconnections=5, maxwait=60)
    first = pool.connection()
    got = []

    def wait():
        with pool.connection() as db:
            got.append(host_of(db))

    threads = in_threads(wait, 1)
    wait_until(lambda: pool.stats().waiting == 1)
    first.close()
    join(threads)
    assert got == ["a"]
    assert pool.stats().opened == 1


def test_a_request_without_a_limit_of_time_waits_for_a_server_at_its_limit(
        a):
    pool = PooledDB(
        targets_of(a, limits={"a": 1}), maxconnections=5, blocking=True)
    first = pool.connection()
    got = []

    def wait():
        with pool.connection() as db:
            got.append(host_of(db))

    threads = in_threads(wait, 3)
    wait_until(lambda: pool.stats().waiting == 3)
    assert pool.stats().in_use == 1  # those that wait have no places
    first.close()
    join(threads)
    assert got == ["a"] * 3
    assert pool.stats().opened == 1


def test_a_place_of_a_server_that_another_pool_has_left_is_taken(a):
    targets = targets_of(a, limits={"a": 1})
    one, two = PooledDB(targets), PooledDB(targets, blocking=True)
    lease = one.connection()
    got = []

    def wait():
        with two.connection() as db:
            got.append(host_of(db))

    threads = in_threads(wait, 1)
    wait_until(lambda: two.stats().waiting == 1)
    lease.close()
    one.close()
    join(threads)
    assert got == ["a"]


def test_requests_for_other_servers_do_not_wait_for_one_at_its_limit(a, b):
    pool = PooledDB(
        targets_of(a, b, limits={"b": 1}), maxconnections=3, blocking=True)
    first = pool.connection(target="standby")
    got = []

    def wait():
        with pool.connection(target="standby") as db:
            got.append(host_of(db))

    threads = in_threads(wait, 3)
    wait_until(lambda: pool.stats().waiting == 3)
    for _ in range(2):
        with pool.connection() as db, pool.connection(target="any") as other:
            assert host_of(db) == host_of(other) == "a"
    first.close()
    join(threads)
    assert got == ["b"] * 3
    assert pool.stats().opened == 3


def test_a_request_that_has_waited_for_a_server_at_its_limit_says_so(a):
    pool = PooledDB(targets_of(a, limits={"a": 1}), maxwait=0.02)
    with pool.connection(), pytest.raises(
            TooManyConnectionsError, match="All servers that fit have as many",
            ) as caught:
        pool.connection()
    assert "which is its limit" in str(caught.value.__cause__)
    assert pool.stats().in_use == 0


def test_instead_of_a_server_at_its_limit_another_one_is_used(a, b):
    """The idle connections to the second choice do not pile up."""
    pool = PooledDB(targets_of(a, b, limits={"b": 1}))
    with pool.connection(target="prefer-standby") as db:
        assert host_of(db) == "b"
        for _ in range(5):
            with pool.connection(target="prefer-standby") as other:
                assert host_of(other) == "a"
    with pool.connection(target="prefer-standby") as db:
        assert host_of(db) == "b"
    assert pool.stats().opened == 2


def test_shared_connections_wait_for_a_server_at_its_limit(a):
    a.dbapi.threadsafety = a.threadsafety = 2
    pool = PooledDB(
        targets_of(a, limits={"a": 1}), maxshared=3, maxconnections=3,
        blocking=True)
    one, two = pool.connection(), pool.connection()
    assert host_of(one) == host_of(two) == "a"
    one.begin()
    got = []

    def wait():
        with pool.connection() as db:
            got.append(host_of(db))

    threads = in_threads(wait, 1)
    wait_until(lambda: pool.stats().waiting == 1)
    one.rollback()
    one.close()
    join(threads)
    assert got == ["a"]
    assert pool.stats().opened == 1


def test_a_server_that_is_full_is_not_offline(a, b):
    pool = PooledDB(targets_of(a, b), maxconnections=4, blocking=True)
    first, second = pool.connection(), pool.connection()
    second.close()
    first.close()
    with pool.connection():
        a.dbapi.plan("too many", at="connect", times=1000)
        with pool.connection() as db:
            assert host_of(db) == "a"
            threads = in_threads(
                lambda: pool.connection().close(), 1)
            wait_until(lambda: pool.stats().waiting == 1)
    join(threads)
    assert pool._creator.states()["a"] == "primary"
    assert pool.stats().opened == 2


def test_a_full_server_is_not_asked_by_each_request_that_would_prefer_it(a, b):
    pool = PooledDB(targets_of(a, b), maxconnections=4, blocking=True)
    b.dbapi.plan("too many", at="connect", times=1000)
    for _ in range(5):
        with pool.connection(target="prefer-standby") as db:
            assert host_of(db) == "a"
    assert pool.stats().opened == 1


def test_a_look_that_hangs_tells_nothing_while_others_get_answers(a, b):
    targets = targets_of(a, b)
    with PooledDB(targets).connection() as db:
        cluster = cluster_of(targets)
        watch = Watch(cluster, cluster.hosts[0], 0.1)
        watch._looks, watch._use = 10, cluster.use(watch.host)
        db.cursor().execute("select 1")
        watch._note_silence(cluster)
        assert targets.states()["a"] == "primary"
        watch._looks = 10
        watch._note_silence(cluster)
        assert targets.states()["a"] == "offline"


def test_quotas_and_limits_of_servers_hold_together(a, b):
    pool = ResourceAllocationPooledDB(
        targets_of(a, b, limits={"a": 1}), maxconnections=4, blocking=True)
    pool.limit("x", 2)
    got = []

    def work():
        with pool.connection(tag="x") as db:
            got.append(host_of(db))

    with pool.connection():
        threads = in_threads(work, 2)
        wait_until(lambda: pool.stats().waiting == 2)
        with pool.connection(target="standby") as db:
            assert host_of(db) == "b"
    join(threads)
    assert got == ["a", "a"]
    assert pool.stats().opened == 2


def test_a_request_can_name_a_target_and_a_tag(a, b):
    pool = ResourceAllocationPooledDB(targets_of(a, b), maxconnections=2)
    pool.limit("x", 1)
    with pool.connection(target="standby", tag="x", priority="high") as db:
        assert host_of(db) == "b"
        with pytest.raises(TooManyConnectionsError):
            pool.connection(tag="x")
    with pytest.raises(TypeError, match="knows no priorities and tags"):
        PooledDB(targets_of(a, b)).connection(target="standby", tag="x")


def test_an_interrupted_wait_for_a_standby_keeps_no_connection(
        a, b, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Cluster, "catches_up", interrupt)
    pool = PooledDB(targets_of(a, b))
    with pytest.raises(KeyboardInterrupt) as kept:
        pool.connection(target="standby", after="1")
    assert pool.stats().in_use == 0
    assert kept.value.__traceback__ is not None


@pytest.mark.parametrize("make", [
    connect, lambda targets: PooledDB(targets).steady_connection(),
    lambda targets: PersistentDB(targets, closeable=True).connection()])
def test_a_connection_that_is_closed_leaves_its_place_to_others(a, make):
    targets = targets_of(a, limits={"a": 1})
    db = make(targets)
    with pytest.raises(NoServerError, match="which is its limit"):
        connect(targets)
    db.close()
    other = connect(targets)
    other.close()
    db.cursor().execute("select 1")  # it takes another place
    with pytest.raises(NoServerError, match="which is its limit"):
        connect(targets)


def test_a_new_pool_does_not_wait_for_a_server_at_its_limit(a):
    """All places are its own, so nobody would give one back."""
    with pytest.raises(NoServerError, match="which is its limit"):
        PooledDB(
            targets_of(a, limits={"a": 1}), mincached=2, blocking=True)


def test_the_error_of_a_server_keeps_no_place(a):
    targets = targets_of(a, limits={"a": 1})
    a.dbapi.plan("refused", at="connect")
    with pytest.raises(NoServerError) as kept:
        connect(targets)
    assert cluster_of(targets).hosts[0].number == 0
    assert kept.value.__traceback__ is not None


@pytest.mark.parametrize("number", [1, 2])
def test_a_server_that_is_full_keeps_no_place(a, b, number):
    """Otherwise it would seem to be at its limit until the collector runs."""
    b.role = "primary"
    targets = targets_of(*[a, b][:number], limits={"a": 2})
    a.dbapi.plan("too many", at="connect", times=1000)
    gc.disable()
    try:
        for _ in range(3):
            with suppress(a.dbapi.Error):
                connect(targets).close()
        assert cluster_of(targets).hosts[0].number == 0
    finally:
        gc.enable()


def test_a_forked_child_leaves_the_places_of_its_parent(a):
    targets = targets_of(a, limits={"a": 1})
    db = connect(targets)
    session_of(db).after_fork()  # as in a child
    other = connect(targets)
    assert host_of(other) == "a"
    other.close()


def test_a_forked_child_knows_that_there_are_several_servers(a, b):
    pool = PooledDB(targets_of(a, b))
    core = core_of(pool)
    core.after_fork()  # as in a child
    assert core.throttle.is_divided


@pytest.mark.parametrize("place", ["pool", "host"])
def test_the_keys_of_an_option_can_be_anything(place):
    """The converters of MySQL drivers have numbers and types as keys."""
    options = {"conv": {3: int, str: repr}, "password": "hidden"}
    got = []

    def open_one(**given):
        got.append(given)
        raise sqlite3.OperationalError("hidden is wrong")

    dbapi = SimpleNamespace(
        connect=open_one, Error=sqlite3.Error, threadsafety=1)
    at_host, at_pool = (options, {}) if place == "host" else ({}, options)
    targets = Targets([at_host], creator=dbapi, role=role_of)
    with pytest.raises(NoServerError) as caught:
        connect(targets, failures=sqlite3.Error, **at_pool)
    assert got[0] == options
    assert str(caught.value.__cause__) == "*** is wrong"


# The order.

def order_of(count, *hosts, **options):
    targets = targets_of(*hosts, target="any", **options)
    cons = [targets.connect() for _ in range(count)]
    return [con.host.__name__ for con in cons]


def test_in_order_the_first_one_that_fits_is_used(a, b, c):
    assert order_of(3, a, b, c) == ["a"] * 3


def test_in_turn_each_one_is_used(a, b, c):
    assert order_of(6, a, b, c, order="round-robin") == list("abcabc")


def test_in_turn_each_one_is_used_of_those_that_fit(a, b, c):
    pool = PooledDB(targets_of(a, b, c, order="round-robin"))
    leases = [pool.connection(target="standby") for _ in range(6)]
    assert [host_of(lease) for lease in leases] == list("bcbcbc")


def test_at_random_each_one_is_used(a, b, c):
    assert set(order_of(100, a, b, c, order="random")) == set("abc")


def test_the_one_with_the_fewest_connections_is_used(a, b, c):
    pool = PooledDB(targets_of(a, b, c, target="any", order="least"))
    leases = [pool.connection() for _ in range(6)]
    assert sorted(map(host_of, leases)) == list("aabbcc")
    gone = {name: [lease for lease in leases if host_of(lease) == name]
            for name in "abc"}
    for lease in gone["b"]:
        lease.close()
    pool.close()
    assert [host_of(lease) for lease in [
        pool.connection(), pool.connection()]] == ["b", "b"]


def test_the_one_that_answers_fastest_is_used(a, b):
    targets = targets_of(a, b, target="any", order="fastest")
    first, second = targets._cluster.hosts
    first.seconds, second.seconds = 2.0, 1.0
    assert targets.connect().host is b


# Servers that fail.

def test_the_error_names_the_cause_of_each_server(a, b):
    a.dbapi.plan("password", at="connect")
    b.dbapi.stop()
    pool = PooledDB(targets_of(a, b))
    with pytest.raises(NoServerError) as caught:
        pool.connection()
    assert str(caught.value).startswith("No server can be used (primary): a")
    assert list(caught.value.causes) == ["a", "b"]
    assert all(
        isinstance(cause, Exception)
        for cause in caught.value.causes.values())
    assert caught.value.__cause__ is caught.value.causes["b"]


def test_a_mistake_of_the_program_is_raised_as_it_is(a, b):
    a.dbapi.plan(TypeError("no such option"), at="connect")
    with pytest.raises(TypeError, match="no such option"):
        PooledDB(targets_of(a, b)).connection()


def test_a_server_that_has_failed_rests_longer_each_time(a):
    targets = targets_of(a, target="any")
    host, = targets._cluster.hosts
    now = [100.0]
    host.clock = lambda: now[0]
    a.dbapi.stop()
    rests = []
    for _ in range(12):
        with pytest.raises(NoServerError):
            targets.connect()
        rests.append(host.rests_until - now[0])
        with pytest.raises(NoServerError):
            targets.connect()  # it is not tried
        assert host.failures == len(rests)
        now[0] = host.rests_until
    for number, rest in enumerate(rests):
        longest = min(0.05 * 2 ** number, 2)
        assert longest / 2.001 <= rest <= longest
    a.dbapi.start()
    targets.connect().close()
    assert host.failures == 0
    assert targets.states() == {"a": "primary"}


def test_requests_wait_for_a_server_that_comes_back(a, b):
    a.dbapi.stop()
    pool = PooledDB(targets_of(a, b), maxwait=60)
    got = []

    def work():
        with pool.connection() as db:
            got.append(host_of(db))

    threads = in_threads(work, 3)
    wait_until(lambda: pool._core.throttle.error is not None)
    a.dbapi.start()
    join(threads)
    assert got == ["a"] * 3


def test_a_connection_that_does_not_fit_is_closed(a, b):
    seen = len(b.dbapi._sessions)
    PooledDB(targets_of(b, a)).connection()
    assert len(b.dbapi._sessions) == seen


def test_a_server_that_says_nothing_cannot_be_used(a, b):
    a.is_broken = True
    pool = PooledDB(targets_of(a, b))
    with pytest.raises(NoServerError, match=r"a cannot be .*It says nothing"):
        pool.connection()
    assert len(a.dbapi._sessions) == 0


def test_an_answer_on_a_connection_that_is_lost_counts_for_nothing(a, b):
    """It may have been cut since the server has fallen silent."""
    def fail():
        raise a.dbapi.OperationalError("The connection is lost.")

    def role(con):
        if con.host is a:
            con.cursor().execute("insert into t values (1)")
            con.rollback = fail
        return role_of(con)

    targets = Targets([a, b], role=role)
    b.role = "primary"
    assert host_of(connect(targets)) == "b"
    assert targets.states() == {"a": "offline", "b": "primary"}


@pytest.mark.parametrize(("down", "target", "name"), [
    ("a", "standby", "b"), ("b", "primary", "a")])
@pytest.mark.parametrize("options", [{}, {"maxwait": 60}])
def test_one_server_that_fails_is_no_obstacle_to_the_others(
        a, b, down, target, name, options):
    pool = PooledDB(targets_of(a, b))
    (a if down == "a" else b).dbapi.stop()
    for _ in range(12):
        with pytest.raises(NoServerError):
            pool.connection(target="primary" if down == "a" else "standby")
    assert host_of(pool.connection(target=target, **options)) == name


def test_requests_that_wait_for_one_server_do_not_keep_others_waiting(a, b):
    pool = PooledDB(targets_of(a, b), maxwait=60)
    a.dbapi.stop()
    got = []

    def work():
        with pool.connection() as db:
            got.append(host_of(db))

    threads = in_threads(work, 3)
    wait_until(lambda: pool.stats().errors >= 12)
    for _ in range(3):
        assert host_of(pool.connection(target="standby")) == "b"
    assert got == []
    a.dbapi.start()
    join(threads)
    assert got == ["a"] * 3


def test_attempts_that_fail_together_are_one_failure(a):
    host, = targets_of(a)._cluster.hosts
    host.clock = lambda: 100.0
    for _ in range(5):
        host.fail(OSError())
    assert host.failures == 1


def test_a_server_that_does_not_know_what_it_is_is_asked_once(a, b):
    """So that connections to others are not left for it."""
    b.role = None
    pool = PooledDB(targets_of(a, b))
    for _ in range(3):
        with pool.connection(target="prefer-standby") as db:
            assert host_of(db) == "a"
    assert pool.stats().opened == 1


@pytest.mark.parametrize("where", ["of the host", "of the pool"])
def test_a_password_is_in_no_error_and_in_no_traceback(a, where):
    def refuse(host, password):
        raise errors.pop()(f"password={password} is no good")

    given = {"password": "s3cret-word"}
    errors = [TypeError, a.dbapi.OperationalError]
    while errors:
        targets = Targets([
            {"host": "a", **(given if where == "of the host" else {})}],
            refuse)
        with pytest.raises((NoServerError, TypeError)) as caught:
            connect(targets, **(given if where == "of the pool" else {}))
        shown = [str(caught.value), repr(caught.value.__cause__)]
        for entry in caught.traceback:
            if "_hosts" in str(entry.path):
                shown += map(repr, entry.frame.f_locals.values())
        assert not [text for text in shown if "s3cret" in text]


def test_two_pools_with_the_same_targets_have_their_own_options(a, b):
    seen = []

    def first(name):
        if name == "one":
            two.connection()  # while the other one connects
        raise a.dbapi.OperationalError

    def second(name):
        seen.append(name)
        return b()

    b.role = "primary"
    first.dbapi = second.dbapi = a.dbapi
    targets = targets_of(first, second)
    one, two = PooledDB(targets, name="one"), PooledDB(targets, name="two")
    one.connection()
    assert seen == ["two", "one"]


# Whole transactions.

AIMS = [
    ({"target": "standby"}, "b"), ({"target": "prefer-standby"}, "b"),
    ({"target": "prefer-standby", "maxlag": 5}, "a"), ({"maxlag": 5}, "a"),
    ({"target": "any"}, "a"), ({}, "a")]


@pytest.mark.parametrize(("aim", "name"), AIMS)
def test_a_transaction_names_its_target(a, b, aim, name):
    pool = PooledDB(targets_of(a, b))
    with pool.transaction(**aim) as db:
        assert host_of(db) == name
    assert pool.run(host_of, **aim) == name
    assert pool.stats().in_use == 0


def test_a_transaction_sees_what_was_committed_before(a, b, monkeypatch):
    asked = []
    monkeypatch.setattr(
        Cluster, "has_reached",
        lambda self, host, con, position: asked.append(
            (host.name, position)) or host.name == "a" or position is None)
    pool = PooledDB(targets_of(a, b, catchup=0))
    aim = {"target": "prefer-standby", "after": "5"}
    with pool.transaction(**aim) as db:
        assert host_of(db) == "a"
    assert pool.run(host_of, **aim) == "a"
    assert asked.count(("b", "5")) == 2


@pytest.mark.parametrize("target", ["standby", "prefer-standby", "any"])
def test_a_transaction_that_only_reads_is_not_repeated_for_writing(
        a, b, target, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    hosts = []

    def work(db):
        hosts.append(host_of(db))
        db.cursor().execute("insert into t values (1)")

    pool = PooledDB(targets_of(b, a))
    with pytest.raises(b.dbapi.OperationalError, match="readonly"):
        pool.run(work, target=target)
    assert hosts == ["b"]


def test_a_transaction_is_repeated_on_the_same_kind_of_server(
        a, b, c, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    hosts = []

    def work(db):
        hosts.append(host_of(db))
        if len(hosts) < 2:
            b.dbapi.stop()
        db.cursor().execute("select 1")
        return len(hosts)

    pool = PooledDB(targets_of(a, b, c))
    assert pool.run(work, target="standby", retries=5) == 2
    assert hosts == ["b", "c"]


def test_a_transaction_follows_the_primary(a, b, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    pool = PooledDB(targets_of(a, b))
    pool.run(partial(insert, number=1), target="primary")
    swap(a, b)
    pool.run(
        lambda db: db.cursor().execute("insert into t values (2)"),
        target="primary")
    assert (a.rows, b.rows) == ([1], [2])


@pytest.mark.parametrize("aim", [
    {"target": "primary"}, {"maxlag": 5}, {"after": "5"}])
def test_a_transaction_of_a_pool_without_targets_has_none(a, aim):
    pool = PooledDB(a)
    with pytest.raises(TypeError, match="no targets"), pool.transaction(
            **aim):
        pass
    with pytest.raises(TypeError, match="no targets"):
        pool.run(host_of, **aim)


@pytest.mark.parametrize(("aim", "error", "text"), [
    ({"target": "master"}, ValueError, "'target' must be .*DBU-03"),
    ({"maxlag": -1}, ValueError, "'maxlag' must .*DBU-02"),
    ({"after": 5}, ValueError, "'after' must be what .*DBU-01")])
def test_a_wrong_aim_of_a_transaction_is_named(a, b, aim, error, text):
    pool = PooledDB(targets_of(a, b))
    with pytest.raises(error, match=text), pool.transaction(**aim):
        pass
    with pytest.raises(error, match=text):
        pool.run(host_of, **aim)


# A server that is no primary any longer.

def test_the_first_refusal_to_write_turns_all_connections(a, b):
    pool = PooledDB(targets_of(a, b))
    leases = [pool.connection() for _ in range(4)]
    pool.connection().close()
    swap(a, b)
    with pytest.raises(a.dbapi.OperationalError):
        insert(leases[0], 0)
    assert pool.stats().idle == 0
    for number, lease in enumerate(leases, 1):
        insert(lease, number)
        assert host_of(lease) == "b"
    insert(pool.connection(), 5)
    assert b.rows == [1, 2, 3, 4, 5]


def errors_on_its_way(a, b, act, prepare=lambda db: None):
    """Let a statement be on its way when its server is left.

    act, prepare: execute it on a connection, and what comes before it
    Return the errors of the statement.
    """
    pool = PooledDB(targets_of(a, b, probe=1000))
    first, second, errors = pool.connection(), pool.connection(), []
    prepare(second)

    def work():
        try:
            act(second)
        except a.dbapi.Error as error:
            errors.append(error)

    a.dbapi.silence()
    threads = in_threads(work, 1)
    wait_until(lambda: a.dbapi._silent)
    (waiting,), a.dbapi._silent = a.dbapi._silent, None
    swap(a, b)
    with pytest.raises(a.dbapi.OperationalError):
        insert(first, 0)
    waiting.wake()
    join(threads)
    return errors


def test_a_statement_on_its_way_is_executed_by_the_new_primary(a, b):
    """So a pool gets one error, and not one for each thread."""
    assert not errors_on_its_way(a, b, lambda db: insert(db, 1))
    assert (a.rows, b.rows) == ([], [1])


@pytest.mark.parametrize("statement", [
    "replace into t values (1)", "insert into t values (1) -- ; select 1"])
def test_a_statement_that_may_be_more_than_one_gets_its_error(
        a, b, statement):
    error, = errors_on_its_way(
        a, b, lambda db: db.cursor().execute(statement))
    assert "readonly" in str(error)
    assert b.rows == []


def test_statements_of_which_some_may_be_done_get_their_error(a, b):
    error, = errors_on_its_way(a, b, lambda db: db.cursor().executemany(
        "insert into t values (?)", [(1,), (2,)]))
    assert "readonly" in str(error)
    assert b.rows == []


@pytest.mark.parametrize("prepare", [
    lambda db: db.begin(),
    lambda db: db.cursor().execute("create temporary table u (n integer)"),
    lambda db: db.cursor().execute("insert into t values (2)")],
    ids=["begun", "marked", "with work"])
def test_what_was_done_before_goes_to_no_other_server(a, b, prepare):
    error, = errors_on_its_way(a, b, lambda db: db.cursor().execute(
        "insert into t values (1)"), prepare)
    assert "readonly" in str(error)
    assert b.rows == []


def test_a_transaction_is_not_turned_in_the_middle(a, b):
    pool = PooledDB(targets_of(a, b))
    one, two = pool.connection(), pool.connection()
    one.begin()
    one.cursor().execute("insert into t values (1)")
    swap(a, b)
    with pytest.raises(a.dbapi.OperationalError):
        insert(two, 0)
    assert host_of(one) == "a"
    one.commit()
    insert(one, 2)
    assert (a.rows, b.rows) == ([1], [2])


def test_a_connection_that_comes_back_doubted_is_closed(a, b):
    pool = PooledDB(targets_of(a, b))
    one, two = pool.connection(), pool.connection()
    swap(a, b)
    with pytest.raises(a.dbapi.OperationalError):
        insert(two, 0)
    two.close()
    one.close()
    assert pool.stats().idle == 0
    assert len(a.dbapi._sessions) == 0


def test_a_program_that_wants_to_read_only_turns_them_once(a, b):
    """The error does not say whose fault it is."""
    pool = PooledDB(targets_of(a, b, probe=1000))
    db = pool.connection()
    for _ in range(5):
        a.dbapi.plan("read-only", matching="insert")
        with pytest.raises(a.dbapi.OperationalError):
            insert(db, 1)
    assert pool._creator._cluster.generation == 1


def test_other_connections_stay(a, b, c):
    pool = PooledDB(targets_of(a, b, c))
    db, reader = pool.connection(), pool.connection(target="standby")
    con = session_of(reader).con
    swap(a, c)
    with pytest.raises(a.dbapi.OperationalError):
        insert(db, 0)
    reader.cursor().execute("select 1")
    assert session_of(reader).con is con


def test_a_steady_connection_that_repeats_all_repeats_that_elsewhere(a, b):
    db = connect(targets_of(a, b), failover="always")
    insert(db, 1)
    swap(a, b)
    insert(db, 2)
    assert (a.rows, b.rows) == ([1], [2])


@pytest.mark.parametrize("failover", ["safe", "never"])
def test_a_steady_connection_goes_to_the_primary(a, b, failover):
    db = connect(targets_of(a, b), failover=failover)
    insert(db, 1)
    swap(a, b)
    with pytest.raises(a.dbapi.OperationalError):
        insert(db, 0)
    insert(db, 2)
    assert (a.rows, b.rows) == ([1], [2])


def test_connections_of_threads_go_to_the_primary(a, b):
    persistent = PersistentDB(targets_of(b, a))
    assert host_of(persistent.connection()) == "a"
    swap(a, b)
    with pytest.raises(a.dbapi.OperationalError):
        insert(persistent.connection(), 0)
    insert(persistent.connection(), 1)
    assert b.rows == [1]


def test_a_lost_connection_is_replaced_by_one_to_another_server(a, b):
    pool = PooledDB(targets_of(a, b))
    db = pool.connection()
    db.cursor().execute("select 1")
    db.commit()
    a.dbapi.stop()
    b.role = "primary"
    db.cursor().execute("select 1")
    assert host_of(db) == "b"


# What may be a host.

def test_dictionaries_take_precedence_over_the_options_of_the_pool():
    seen = []

    class Driver:
        threadsafety = 1
        OperationalError = InterfaceError = InternalError = sqlite3.Error
        __name__ = "driver"

        @staticmethod
        def connect(*args, **kwargs):
            seen.append((args, kwargs))
            return sqlite3.connect(":memory:", check_same_thread=False)

    targets = Targets(
        [{"host": "one", "port": 1}, {"host": "two", "user": "me"}],
        Driver(), order="round-robin", target="any")
    pool = PooledDB(targets, user="you", database="base")
    pool.connection(), pool.connection()
    common = {"user": "you", "database": "base"}
    assert [kwargs for _, kwargs in seen] == [
        {**common, "host": "one", "port": 1},
        {**common, "host": "two", "user": "me"}]
    assert list(targets.states()) == ["one:1", "two"]


MAKERS = [
    PooledDB, DynamicPooledDB, HealthCheckPooledDB,
    PerformanceOptimizedPooledDB, ResourceAllocationPooledDB, PersistentDB,
    connect]


def connection_of(made):
    return made.connection() if hasattr(type(made), "connection") else made


@pytest.mark.parametrize("make", MAKERS)
def test_targets_are_given_as_a_parameter(a, b, make):
    made = make(targets=targets_of(b, a))
    db = connection_of(made)
    assert host_of(db) == "a"
    swap(a, b)
    with pytest.raises(a.dbapi.OperationalError):
        insert(db, 0)
    insert(db, 1)
    assert b.rows == [1]


@pytest.mark.parametrize("make", MAKERS)
def test_targets_are_a_sequence_of_hosts_with_the_driver_as_creator(
        make, tmp_path):
    names = [str(tmp_path / name) for name in ("one", "two")]
    made = make(sqlite3, targets=[{"database": name} for name in names])
    db = connection_of(made)
    cursor = db.cursor()
    cursor.execute("pragma database_list")
    assert cursor.fetchone()[2] == names[0]


@pytest.mark.parametrize("is_list", [False, True])
def test_keyed_pools_have_targets(a, b, is_list):
    pool = SimpleConnectionPool(1, 2, **(
        {"creator": a.dbapi, "targets": [a]} if is_list
        else {"targets": targets_of(b, a)}))
    db = pool.getconn()
    assert host_of(db) == "a"
    pool.putconn(db)
    pool.closeall()


def test_the_parameters_of_3_x_keep_their_places(tmp_path):
    pool = PooledDB(
        sqlite3, 1, 2, 0, 3, True, 4, ["select 1"], True, None, 0,
        str(tmp_path / "base"), targets=[{"timeout": 7}])
    assert (pool._mincached, pool._maxcached, pool._maxconnections) == (
        1, 2, 3)
    assert pool._args == (str(tmp_path / "base"),)


def test_a_request_of_a_pool_with_a_sequence_of_hosts_names_its_target(a):
    pool = PooledDB(targets=[a])  # which is asked like any other server
    assert host_of(pool.connection(target="any")) == "a"
    with pytest.raises(NoServerError):
        pool.connection(target="standby")


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(("creator", "is_list"), [
    (sqlite3, False), ("targets", False), ("targets", True)])
def test_targets_and_a_creator_are_too_much(a, make, creator, is_list):
    targets = targets_of(a)
    with pytest.raises(TypeError, match=r"a creator of their own.*DBU-11"):
        make(targets if creator == "targets" else creator,
             targets=[a] if is_list else targets)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("targets", [sqlite3, "db1", {"host": "db1"}, 5])
def test_what_is_no_targets_is_named(make, targets):
    with pytest.raises(TypeError, match=r"'targets' must be the .*DBU-01"):
        make(sqlite3, targets=targets)


@pytest.mark.parametrize("make", MAKERS)
def test_without_creator_and_targets_there_is_nothing_to_connect_with(make):
    with pytest.raises(TypeError, match="DBU-05"):
        make(maxusage=5)


def test_urls_and_configurations_are_hosts(tmp_path):
    path = tmp_path / "data.db"
    targets = Targets([f"sqlite:///{path}"])
    with PooledDB(targets).connection() as db:
        db.cursor().execute("create table t (n)")
    assert targets.dbapi is sqlite3
    assert driver_in(targets.dbapi).is_embedded


def test_a_partial_function_has_the_name_of_its_host():
    hosts = [
        partial(sqlite3.connect, host="db1"),
        partial(sqlite3.connect, host="db2", port=5433)]
    assert list(Targets(hosts).states()) == ["db1", "db2:5433"]


def test_hosts_of_the_same_name_are_told_apart(a):
    assert list(targets_of(a, a, a).states()) == ["a", "a (2)", "a (3)"]


@pytest.mark.parametrize(("hosts", "options", "error", "text"), [
    ([], {}, ValueError, "at least one host"),
    ([{}], {}, TypeError, "need a 'creator'"),
    ([3], {}, TypeError, "a URL, a ConnectionConfig or a function"),
    (None, {"order": "best"}, ValueError, "'order' must be 'in-order',"),
    (None, {"target": "main"}, ValueError, "'target' must be 'primary',"),
    (None, {"probe": 0}, ValueError, "'probe' must be more than 0"),
    (None, {"role": "primary"}, TypeError, "'role' must be a callable"),
    (None, {"limits": {"x": 1}}, ValueError, "the hosts are 'a'"),
    (None, {"limits": {"a": "1"}}, TypeError, "must be an integer")])
def test_mistakes_are_named(a, hosts, options, error, text):
    with pytest.raises(error, match=text):
        Targets([a] if hosts is None else hosts, **options)


def test_a_target_that_is_none_is_named(a, b):
    pool = PooledDB(targets_of(a, b))
    with pytest.raises(ValueError, match="'target' must be"):
        pool.connection(target="master")


def test_a_wrong_role_is_named(a):
    with pytest.raises(ValueError, match="'role' must return one of"):
        Targets([a], role=lambda con: "master").connect()


@pytest.mark.parametrize("aim", [
    {"target": "primary"}, {"maxlag": 5}, {"after": "5"}])
@pytest.mark.parametrize("name", ["connection", "dedicated_connection"])
def test_a_pool_without_targets_says_that_it_has_none(a, name, aim):
    pool = PooledDB(a)
    pool.connection().close()
    with pytest.raises(TypeError, match="This pool has no targets"):
        getattr(pool, name)(**aim)
    assert pool.stats().in_use == 0


@pytest.mark.parametrize("kind", [
    DynamicPooledDB, HealthCheckPooledDB, PerformanceOptimizedPooledDB,
    ResourceAllocationPooledDB])
def test_richer_pools_have_targets(a, b, kind):
    pool = kind(targets_of(a, b), maxconnections=2)
    for _ in range(2):
        assert host_of(pool.connection()) == "a"
        assert host_of(pool.connection(target="standby")) == "b"
    assert pool.stats().opened == 2


def test_requests_with_targets_and_tags_wait_in_one_line(a, b):
    pool = ResourceAllocationPooledDB(
        targets_of(a, b), maxconnections=1, blocking=True,
        allocation_strategy="priority")
    got = []

    def work(options):
        with pool.connection(**options) as db:
            got.append(host_of(db))

    with pool.connection(priority=1):
        threads = []
        for number, options in enumerate(
                [{"target": "standby"}, {"tag": "x"}, {"priority": 9}], 1):
            threads += in_threads(partial(work, options), 1)
            wait_until(lambda number=number: pool.stats().waiting == number)
    join(threads)
    assert sorted(got) == ["a", "a", "b"]


def test_a_request_shows_its_parameters(a, b):
    for creator in targets_of(a, b), a:
        shown = [*inspect.signature(PooledDB(creator).connection).parameters]
        assert shown == [
            "shareable", "maxwait", "priority", "tag", "target", "maxlag",
            "after"]


def test_a_wrong_parameter_of_a_request_is_named(a, b):
    # before Python 3.10 such an error does not read the name of a function
    name = "connection" if sys.version_info >= (3, 10) else ""
    for creator in (a, targets_of(a, b)):
        with pytest.raises(TypeError, match=rf"{name}\(\) .*'weight'"):
            PooledDB(creator).connection(weight=1)


def test_a_request_without_a_wish_is_a_usual_one(a, b):
    pool = PooledDB(targets_of(a, b), 1)
    idle = pool._core.idle[0]
    wishes = {"target": None, "maxlag": None, "after": None, "maxwait": None}
    assert pool.connection(**wishes)._permit is idle


def test_a_pool_of_a_program_hands_on_what_its_requests_want(a, b):
    class Counting(PooledDB):
        requests = 0

        def connection(self, *args, **options):
            self.requests += 1
            return super().connection(*args, **options)

    pool = Counting(targets_of(a, b))
    pool.connection(target="standby").close()
    pool.connection().close()
    assert pool.requests == 2


def test_a_pool_with_targets_is_a_pool(a, b):
    class Own(PooledDB):
        """A pool of a program."""

    pool = Own(targets_of(a, b))
    assert isinstance(pool, Own)
    assert (type(pool).__name__, type(pool).__module__) == (
        "Own", Own.__module__)
    assert type(pool) is type(Own(targets_of(a, b)))


def test_nothing_keeps_the_pool_alive(a, b):
    pool = PooledDB(targets_of(a, b))
    pool.connection().close()
    del pool
    assert len(a.dbapi._sessions) == 0
