"""Pools that decide who gets a connection next."""

import gc
import logging
from contextlib import suppress
from functools import partial
from threading import Event, Thread
from time import monotonic

import pytest
from everywhere import sweep
from forking import in_child, needs_fork
from patience import PATIENCE, number_asleep, wait_until

from dbutils import Allocation, ResourceAllocationPooledDB
from dbutils._core import pool as _pool
from dbutils._core.waiting import Waiter
from dbutils.pooled_db import PooledDB, TooManyConnectionsError

pytestmark = pytest.mark.portable


@pytest.fixture
def make(dbapi):
    """Make a pool that lets requests wait."""
    def make(number, **options):
        options.setdefault("blocking", True)
        return ResourceAllocationPooledDB(
            dbapi, maxconnections=number, **options)
    return make


def without_looks(pool):
    """Let requests not look by themselves for what nobody has told them."""
    queue = pool._core.queue
    queue.first_look = queue.next_look = queue.other_look = 1000
    return pool


class Requests:
    """Requests that wait for the connections of a pool, one after another."""

    def __init__(self, pool, number=1):
        self.pool = pool
        self.served = []
        self._threads = []
        self._held = [pool.connection() for _ in range(number)]

    def add(self, name, **wishes):
        """Let another request wait."""
        def borrow():
            with self.pool.connection(**wishes):
                self.served.append(name)

        waiting = self.pool.stats().waiting
        thread = Thread(target=borrow, daemon=True)
        thread.start()
        self._threads.append(thread)
        wait_until(lambda: self.pool.stats().waiting == waiting + 1)

    def order(self):
        """Return the names in the order in which they are served."""
        while self._held:
            self._held.pop().close()
        for thread in self._threads:
            thread.join(PATIENCE)
        return self.served


# The order of service.

def test_fair_is_first_come_first_served(make):
    requests = Requests(make(1))
    for name, priority in (("a", "low"), ("b", "critical"), ("c", None)):
        requests.add(name, priority=priority)
    assert requests.order() == ["a", "b", "c"]


def test_the_most_urgent_is_served_first_and_among_equals_the_oldest(make):
    requests = Requests(make(1, allocation_strategy="priority"))
    for name, priority in (
            ("low", "low"), ("a", None), ("high", "high"), ("b", "normal"),
            ("five", 5), ("critical", "critical"), ("c", 0)):
        requests.add(name, priority=priority)
    assert requests.order() == [
        "five", "critical", "high", "a", "b", "c", "low"]


def test_the_priority_can_be_that_of_the_pool_or_of_the_thread(make):
    pool = make(1, allocation_strategy="priority")
    assert pool._priority == "normal"
    pool.set_priority("low")
    assert pool._priority == "low"
    requests = Requests(pool)
    requests.add("pool")

    def high():
        with pool.priority("high"):
            with pool.priority("critical"):
                pass
            with pool.connection():
                requests.served.append("thread")

    thread = Thread(target=high)
    thread.start()
    wait_until(lambda: pool.stats().waiting == 2)
    with pool.priority("critical"):  # of another thread
        requests.add("normal", priority="normal")
    assert requests.order() == ["thread", "normal", "pool"]
    thread.join(PATIENCE)


def test_a_thread_keeps_its_priority_in_a_forked_child(make):
    pool = make(1)
    with pool.priority("high"):
        pool._core.after_fork()  # as a child does
        assert pool._core.request(None, None).level == 1
    assert pool._core.request(None, None).level == 0


def test_a_strategy_can_be_chosen_while_some_are_waiting(make):
    pool = make(1)
    requests = Requests(pool)
    requests.add("a", priority="low")
    requests.add("b", priority="high")
    assert pool._allocation_strategy == "fair"
    pool.set_allocation_strategy("priority")
    assert pool._allocation_strategy == "priority"
    assert requests.order() == ["b", "a"]


def test_tags_are_served_by_their_weights(make):
    requests = Requests(make(
        1, allocation_strategy="weighted", weights={"web": 3}))
    for number in range(6):
        requests.add(f"batch{number}", tag="batch")
    for number in range(9):
        requests.add(f"web{number}", tag="web")
    expected = [
        waiter.request.tag
        for waiter in requests.pool._core.queue.in_order()]
    order = requests.order()
    tags = [name.rstrip("0123456789") for name in order]
    assert tags[:4].count("web") == tags[4:8].count("web") == 3
    assert tags[:12].count("batch") == 3
    assert tags == expected
    for tag in ("web", "batch"):  # among equals by time
        ours = [name for name in order if name.startswith(tag)]
        assert ours == sorted(ours)


def test_who_is_served_is_noted_before_he_can_serve_others(make, monkeypatch):
    times = []
    requests = Requests(make(1, allocation_strategy="weighted"))
    shares = requests.pool._allocation._policy.shares
    real = Waiter.grant

    def grant(waiter, permit):
        times.append(shares._times[waiter.request.tag])
        return real(waiter, permit)

    monkeypatch.setattr(Waiter, "grant", grant)
    for number in range(3):
        requests.add(str(number), tag="a")
    requests.order()
    assert times == [1, 2, 3]


def test_who_did_not_wait_any_more_is_not_counted(make, monkeypatch):
    requests = Requests(make(1, allocation_strategy="weighted"))
    shares = requests.pool._allocation._policy.shares
    real = Waiter.grant
    seen = []

    def grant(waiter, permit):
        if not seen:  # as if the first one had just given up
            seen.append(waiter)
            return False
        return real(waiter, permit)

    monkeypatch.setattr(Waiter, "grant", grant)
    for number in range(3):
        requests.add(str(number), tag="a")
    requests.order()
    assert shares._times == {"a": 3}


def test_who_comes_later_does_not_get_what_others_have_had(make):
    pool = make(1, allocation_strategy="weighted")
    for _ in range(2):
        requests = Requests(pool)
        for number in range(4):
            requests.add(number, tag="old")
        requests.order()
    requests = Requests(pool)
    for _ in range(4):
        requests.add("old", tag="old")
        requests.add("new", tag="new")
    order = requests.order()
    assert order[:4].count("new") <= 3
    assert order[:4].count("old") >= 1


def test_weights_can_be_changed(make):
    pool = make(1)
    requests = Requests(pool)
    for _ in range(4):
        requests.add("a", tag="a")
        requests.add("b", tag="b")
    pool.set_allocation_strategy("weighted", weights={"b": 4})
    assert requests.order()[:5].count("b") == 4


def use(pool, number):
    """Return the connections of so many that are in use at once."""
    leases = [pool.connection() for _ in range(number)]
    cons = [lease._con for lease in leases]
    while leases:
        leases.pop(0).close()
    return cons


def test_the_oldest_or_the_latest_is_lent_first(make):
    pool = make(3)
    cons = use(pool, 3)
    assert [use(pool, 1) for _ in range(3)] == [[con] for con in cons]
    pool.set_allocation_strategy("efficient")
    assert [use(pool, 1) for _ in range(3)] == [[cons[2]]] * 3
    assert list(pool._idle_cache) == cons
    pool.set_allocation_strategy("fair")
    assert use(pool, 1) == [cons[0]]


def test_the_latest_first_keeps_to_the_limits(dbapi, server):
    pool = ResourceAllocationPooledDB(
        dbapi, maxcached=2, allocation_strategy="efficient")
    cons = use(pool, 4)
    assert len(pool._idle_cache) == 2
    assert server.calls["close"] == 2
    assert list(pool._idle_cache) == cons[:2]
    pool.close()
    assert server.calls["close"] == 4


# Fairness.

def test_without_ageing_who_is_not_urgent_waits(make):
    pool = make(1, allocation_strategy="priority")
    assert not pool._fairness_enabled
    requests = Requests(pool)
    requests.add("low", priority="low")
    for waiter in pool._core.queue.in_order():
        waiter.since -= 1000
    requests.add("high", priority="high")
    assert requests.order() == ["high", "low"]


@pytest.mark.parametrize(("waits", "order"), [
    (2.5, ["low", "high"]), (1.5, ["high", "low"])])
def test_with_ageing_a_wait_counts(make, waits, order):
    pool = make(1, allocation_strategy="priority")
    pool.ensure_fairness()
    assert pool._fairness_enabled
    requests = Requests(pool)
    requests.add("low", priority="low")
    waiter, = pool._core.queue.in_order()
    waiter.since -= waits  # seconds; they are two levels apart
    requests.add("high", priority="high")
    assert requests.order() == order
    pool.ensure_fairness(False)
    assert not pool._fairness_enabled


@pytest.mark.parametrize("is_fair", [False, True])
def test_ageing_bounds_the_wait_under_a_steady_stream(make, is_fair):
    pool = make(1, allocation_strategy="priority")
    if is_fair:
        pool.ensure_fairness(ageing=0.05)
    requests = Requests(pool)
    requests.add("low", priority="low")
    over, pause = Event(), Event()

    def go_on():
        while not over.is_set():
            with pool.connection(priority="high"):
                pause.wait(0.002)

    stream = [Thread(target=go_on) for _ in range(4)]
    for thread in stream:
        thread.start()
    wait_until(lambda: pool.stats().waiting == 5)
    while requests._held:
        requests._held.pop().close()
    if is_fair:
        wait_until(lambda: requests.served)
    else:
        pause.wait(0.5)
        assert not requests.served
    over.set()
    for thread in stream:
        thread.join(PATIENCE)
    assert requests.order() == ["low"]


# Efficiency.

def test_who_runs_may_overtake_who_waits_for_a_bounded_time(
        make, monkeypatch):
    now = [monotonic()]
    monkeypatch.setattr(_pool, "monotonic", lambda: now[0])
    pool = without_looks(make(1))
    assert not pool._efficiency_enabled
    pool.optimize_efficiency(barging=0.2)
    assert pool._efficiency_enabled
    requests = Requests(pool)
    lease = requests._held.pop()
    requests.add("waiter")
    wait_until(lambda: number_asleep(pool) == 1)
    now[0] = monotonic()
    with monkeypatch.context() as patch:
        # otherwise the waiter could be faster now and then
        patch.setattr(pool._core.queue, "nudge", lambda: None)
        for _ in range(20):  # in a fair pool it is served at once
            lease.close()
            lease = pool.connection(maxwait=0)
    assert not requests.served
    now[0] += 0.3
    lease.close()
    assert requests.order() == ["waiter"]


def test_who_may_be_overtaken_is_told_of_what_comes_back(make):
    pool = without_looks(make(1, allocation_strategy="efficient"))
    pool.connection().close()
    requests = Requests(pool)
    requests.add("waiter")
    assert requests.order() == ["waiter"]


def is_open(core):
    """Return whether a request can get an idle connection the fast way."""
    return core.take.__self__ is core or core.take.__self__ is core.idle


def test_the_short_way_is_closed_when_somebody_has_waited_for_long(make):
    pool = make(1)
    pool.optimize_efficiency(barging=0.2)
    requests = Requests(pool)
    requests.add("waiter")
    core = pool._core
    assert is_open(core)
    wait_until(lambda: not is_open(core))
    assert not core.may_be_taken()
    requests.order()


def test_nobody_is_overtaken_in_a_fair_pool(make):
    pool = make(1)
    requests = Requests(pool)
    lease = requests._held.pop()
    requests.add("waiter")
    lease.close()
    lease = pool.connection()
    assert requests.served == ["waiter"]
    lease.close()


def test_the_short_ways_are_open_again_when_nobody_waits(make):
    pool = make(2, allocation_strategy="efficient")
    for _ in range(3):
        requests = Requests(pool, 2)
        requests.add("a")
        requests.add("b")
        requests.order()
    core = pool._core
    assert is_open(core)
    assert core.room is None


def test_nobody_is_forgotten_while_others_overtake(make):
    pool = make(2, allocation_strategy="efficient")
    counts = dict.fromkeys(range(16), 0)

    def work(number):
        for _ in range(100):
            with pool.connection():
                counts[number] += 1

    threads = [Thread(target=work, args=(number,)) for number in counts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert set(counts.values()) == {100}
    figures = pool.stats()
    assert (figures.in_use, figures.waiting) == (0, 0)


# The choice of the strategy.

def look(pool, waits=(), times=1):
    """Do what is done in the background, after requests have waited."""
    for _ in range(times):
        for seconds in waits:
            pool._allocation._policy.waited(seconds, was_served=True)
        pool._allocation._work(pool._core)


def test_the_strategy_is_chosen_from_what_is_observed(make, caplog):
    caplog.set_level(logging.INFO)
    pool = make(1)
    caplog.clear()
    assert not pool._dynamic_strategy_enabled
    pool.dynamic_adjust_strategy()
    assert pool._dynamic_strategy_enabled
    look(pool, times=9)
    assert pool._allocation_strategy == "fair"
    assert not caplog.text
    look(pool, [0.001, 0.002, 0.002])
    assert pool._allocation_strategy == "efficient"
    assert "from fair to efficient: 3 requests have waited" in caplog.text
    look(pool, [0.001, 0.001, 9.0], times=4)
    assert pool._allocation_strategy == "efficient"  # not too often
    look(pool, [0.001, 0.001, 9.0])
    assert pool._allocation_strategy == "fair"
    assert "longest for 9, which is too unequal" in caplog.text


def test_other_strategies_are_not_changed(make):
    pool = make(1, allocation_strategy="priority")
    pool.dynamic_adjust_strategy()
    look(pool, [0.001], times=10)
    assert pool._allocation_strategy == "priority"


def test_it_is_done_in_the_background(make):
    pool = make(1)
    pool.dynamic_adjust_strategy()
    requests = Requests(pool)
    requests.add("a")
    requests.order()
    assert list(pool._allocation._policy.waits)  # real waits are observed
    pool._allocation._policy.waits.clear()
    pool._allocation._looks = 100
    pool._allocation._policy.waits.append(0.001)
    pool._allocation._chore.due_at = 0
    wait_until(lambda: pool._allocation_strategy == "efficient")
    pool.dynamic_adjust_strategy(False)
    assert not pool._dynamic_strategy_enabled
    assert pool._allocation._pause() is None
    pool.shutdown()


# Reservations and limits.

def borrow_all(pool, **wishes):
    """Return all connections that are to be had."""
    leases = []
    with suppress(TooManyConnectionsError):
        while True:
            leases.append(pool.connection(maxwait=0, **wishes))
    return leases


def give_back(leases):
    while leases:
        leases.pop().close()


def test_a_tag_has_so_many_connections_at_most(make):
    pool = make(5)
    pool.limit("batch", 2)
    batch = borrow_all(pool, tag="batch")
    assert len(batch) == 2
    with pytest.raises(TooManyConnectionsError, match=(
            "tag 'batch' may have 2 connections, which are in use")):
        pool.connection(maxwait=0, tag="batch")
    others = borrow_all(pool)
    assert len(others) == 3
    give_back(batch)
    batch = borrow_all(pool, tag="batch")
    assert len(batch) == 2
    give_back(batch)
    give_back(others)
    pool.limit("batch", None)
    batch = borrow_all(pool, tag="batch")
    assert len(batch) == 5
    give_back(batch)
    # the short ways are open again
    assert pool._core.room is None


@pytest.mark.parametrize("mincached", [0, 5])
def test_places_are_kept_for_a_tag(make, mincached):
    pool = make(5, mincached=mincached)
    pool.reserve("web", 2)
    others = borrow_all(pool, tag="batch") + borrow_all(pool)
    assert len(others) == 3
    with pytest.raises(TooManyConnectionsError, match="not reserved"):
        pool.connection(maxwait=0)
    web = borrow_all(pool, tag="web")
    assert len(web) == 2
    give_back(others)
    web += borrow_all(pool, tag="web")
    assert len(web) == 5
    give_back(web)
    pool.reserve("web", 0)
    others = borrow_all(pool)
    assert len(others) == 5
    give_back(others)


def test_places_can_be_both_reserved_and_limited(make):
    pool = make(6)
    pool.reserve("web", 2)
    pool.limit("web", 3)
    pool.reserve("report", 1)
    others = borrow_all(pool)
    assert len(others) == 3
    give_back(others)
    web = borrow_all(pool, tag="web")
    assert len(web) == 3
    report = borrow_all(pool, tag="report")
    assert len(report) == 3
    give_back(web)
    give_back(report)


def test_who_is_blocked_by_a_tag_blocks_nobody_else(make):
    pool = without_looks(make(3))
    pool.limit("batch", 1)
    batch = borrow_all(pool, tag="batch")
    done = Event()

    def wait():
        with pool.connection(tag="batch"):
            done.set()

    thread = Thread(target=wait)
    thread.start()
    wait_until(lambda: pool.stats().waiting == 1)
    with pool.connection(maxwait=PATIENCE):
        assert not done.is_set()
    give_back(batch)
    assert done.wait(PATIENCE)
    thread.join(PATIENCE)


def test_a_place_that_is_reserved_is_given_to_who_waits_for_it(make):
    pool = without_looks(make(2))
    pool.reserve("web", 1)
    web = borrow_all(pool, tag="web")
    requests = Requests(pool, 0)
    requests.add("other")
    requests.add("web", tag="web")
    web.pop().close()
    assert sorted(requests.order()) == ["other", "web"]
    give_back(web)


def test_who_waits_is_served_when_a_limit_is_raised(make):
    pool = without_looks(make(3))
    pool.limit("batch", 1)
    requests = Requests(pool, 0)
    lease = pool.connection(tag="batch")
    requests.add("batch", tag="batch")
    pool.limit("batch", 2)
    assert requests.order() == ["batch"]
    lease.close()


def test_who_waits_is_served_when_another_one_fails(make, server, dbapi):
    pool = without_looks(make(3))
    pool.limit("batch", 1)
    requests = Requests(pool, 0)

    def on_call(name, con):
        if name == "connect":
            server.on_call = None
            requests.add("batch", tag="batch")

    server.on_call = on_call
    server.fail("connect")
    with pytest.raises(dbapi.OperationalError):
        pool.connection(tag="batch")
    assert requests.order() == ["batch"]


@pytest.mark.parametrize("way", ["drop", "cycle", "fail"])
def test_no_token_is_lost(make, server, dbapi, way):
    pool = make(2)
    pool.reserve("web", 1)
    pool.limit("web", 1)
    for _ in range(5):
        if way == "fail":
            server.fail("connect")
            with pytest.raises(dbapi.OperationalError):
                pool.connection(tag="web")
            continue
        lease = pool.connection(tag="web")
        if way == "cycle":
            cycle = [lease]
            cycle.append(cycle)
            del cycle
        del lease
        gc.collect()
    leases = borrow_all(pool, tag="web") + borrow_all(pool)
    assert len(leases) == 2
    give_back(leases)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_token_is_lost_by_an_interrupt_at_any_moment(make):
    gc.collect()
    gc.disable()
    try:
        assert sweep(partial(visit_with_tokens, make), stride=3) > 500
    finally:
        gc.enable()


class FirstFound:
    """Does something when the collector finds it, before what is younger."""

    def __init__(self, act):
        self.act = act
        self.found_with = [self]

    def __del__(self):
        self.act()


def test_a_token_is_not_given_back_that_others_have_found(make):
    """Others find the token of a lease before the lease is finalized."""
    pool = make(10)
    pool.limit("a", 2)
    pool.reserve("a", 2)
    held = []

    def borrow():
        held.append(pool.connection(tag="a", maxwait=0))

    def intrude():
        thread = Thread(target=borrow)
        thread.start()
        thread.join()

    for _ in range(3):
        first = FirstFound(intrude)
        first.found_with += [pool.connection(tag="a") for _ in range(2)]
        del first
        gc.collect()
        assert len(held) == 1
        held.clear()
    for _ in range(2):
        borrow()
    with pytest.raises(TooManyConnectionsError):
        borrow()


def visit_with_tokens(make):
    """Return a visit with a tag, and a check that all tokens are there."""
    pool = make(2)
    pool.reserve("web", 1)
    pool.limit("web", 1)
    leases = []

    def checkout():
        leases.append(pool.connection(tag="web", maxwait=0))
        leases.pop().close()

    def check():
        leases.clear()
        leases.extend(borrow_all(pool, tag="web") + borrow_all(pool))
        assert len(leases) == 2
        give_back(leases)

    return checkout, check


@needs_fork
def test_a_child_has_all_its_tokens(make):
    pool = make(2)
    pool.reserve("web", 1)
    pool.limit("web", 1)
    lease = pool.connection(tag="web")
    assert in_child(lambda: len(borrow_all(pool, tag="web"))) == 1
    lease.close()


def test_limits_and_reservations_hold_under_many_threads(make):
    pool = make(6)
    pool.limit("batch", 2)
    pool.reserve("web", 3)
    in_use = {"batch": [], "web": [], None: []}
    most = dict.fromkeys(in_use, 0)
    too_many = []

    def work(tag):
        for _ in range(40):
            with pool.connection(tag=tag):
                in_use[tag].append(1)
                most[tag] = max(most[tag], len(in_use[tag]))
                if len(in_use["batch"]) > 2 or (
                        len(in_use["batch"]) + len(in_use[None]) > 3):
                    too_many.append(tag)
                pause.wait(0.0005)
                in_use[tag].pop()

    pause = Event()
    tags = ["batch"] * 12 + ["web"] * 10 + [None] * 10
    threads = [Thread(target=work, args=(tag,)) for tag in tags]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not too_many
    assert most["batch"] == 2
    assert most["web"] >= 3
    assert pool._connections == 0
    assert len(borrow_all(pool, tag="web")) == 6


@pytest.mark.usefixtures("_restless")
@pytest.mark.parametrize("strategy", [
    "fair", "efficient", "priority", "weighted"])
def test_limits_hold_when_many_threads_serve_each_other(make, strategy):
    """Who waits is served by one thread while another looks at it."""
    pool = make(4, allocation_strategy=strategy)
    pool.reserve("web", 1)
    pool.limit("batch", 2)
    batch, too_many, done = [], [], []

    def work(tag, priority):
        for _ in range(60):
            with pool.connection(tag=tag, priority=priority):
                if tag == "batch":
                    batch.append(1)
                    too_many.extend(batch[2:])
                    batch.pop()
            done.append(tag)

    threads = [
        Thread(target=work, args=(tag, priority), daemon=True)
        for tag in ("web", "batch", None) for priority in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(done) == 60 * len(threads)
    assert not too_many
    assert pool._connections == 0


def test_the_pool_of_a_lease_is_the_pool(make):
    pool = make(2)
    pool.limit("a", 1)
    with pool.connection(tag="a") as lease:
        assert lease._pool is pool


# Bad input.

@pytest.mark.parametrize(("method", "args", "error", "match"), [
    ("set_allocation_strategy", ["best"], ValueError, "'weighted', not 'b"),
    ("set_allocation_strategy", [None], ValueError, "'fair', 'efficient'"),
    ("set_allocation_strategy", ["weighted", {"a": 0}], ValueError, "'a'"),
    ("set_allocation_strategy", ["weighted", {"a": "1"}], TypeError, "'a'"),
    ("set_priority", ["urgent"], ValueError, "'low', 'normal', 'high'"),
    ("set_priority", [1.5], TypeError, "or an integer"),
    ("set_priority", [True], TypeError, "or an integer"),
    ("reserve", ["web", -1], ValueError, "must not be negative"),
    ("reserve", ["web", 4], ValueError, "Of 3 connections 0 are reserved"),
    ("reserve", [None, 1], TypeError, "must not be None"),
    ("reserve", [[], 1], TypeError, "unhashable"),
    ("limit", ["web", "two"], TypeError, "must be an integer"),
    ("connection", [True], None, None)])
def test_bad_input_changes_nothing(make, method, args, error, match):
    pool = make(3)

    def state():
        return (
            pool._allocation_strategy, pool._priority,
            pool._allocation._policy.has_limits)

    before = state()
    if error is None:
        for priority in ("urgent", 1.5):
            with pytest.raises((ValueError, TypeError), match="A priority"):
                pool.connection(priority=priority)
        with pytest.raises(ValueError, match="A priority"), (
                pool.priority("urgent")):
            pass
    else:
        with pytest.raises(error, match=match):
            getattr(pool, method)(*args)
    assert state() == before
    assert pool._connections == 0


@pytest.mark.parametrize("seconds", [-1, 0])
def test_times_must_be_positive(make, seconds):
    pool = make(1)
    with pytest.raises(ValueError, match="'seconds'"):
        pool.ensure_fairness(ageing=seconds)
    assert not pool._fairness_enabled
    if seconds:
        with pytest.raises(ValueError, match="'seconds'"):
            pool.optimize_efficiency(barging=seconds)
    assert not pool._efficiency_enabled


def test_only_what_is_limited_can_be_reserved(dbapi):
    with pytest.raises(ValueError, match="Only with maxconnections"):
        ResourceAllocationPooledDB(dbapi).reserve("web", 1)
    pool = ResourceAllocationPooledDB(dbapi, maxshared=2, maxconnections=3)
    for method in (pool.reserve, pool.limit):
        with pytest.raises(ValueError, match="set maxshared to 0"):
            method("web", 1)


def test_a_bad_strategy_is_refused_before_anything_is_opened(dbapi, server):
    with pytest.raises(ValueError, match="allocation strategy"):
        ResourceAllocationPooledDB(dbapi, 1, allocation_strategy="best")
    assert not server.calls["connect"]


def test_other_pools_know_no_priorities(dbapi):
    pool = PooledDB(dbapi, 1)
    for wishes in ({"priority": "high"}, {"tag": "web"}):
        with pytest.raises(TypeError, match="a ResourceAllocationPooledDB"):
            pool.connection(**wishes)


def test_the_same_can_be_had_as_a_feature(dbapi):
    allocation = Allocation("priority")
    pool = PooledDB(
        dbapi, maxconnections=1, blocking=True, features=[allocation])
    requests = Requests(pool)
    requests.add("low", priority="low")
    requests.add("high", priority="high")
    assert requests.order() == ["high", "low"]
    allocation.limit("web", 0)
    with pytest.raises(TooManyConnectionsError):
        pool.connection(tag="web", maxwait=0)
    with pytest.raises(ValueError, match="only one who decides"):
        PooledDB(dbapi, features=[Allocation(), Allocation()])


def test_what_comes_back_while_nothing_is_reserved_holds_no_token(make):
    pool = make(2, blocking=False)
    pool.reserve("web", 1)
    lease = pool.connection()
    pool.reserve("web", 0)
    lease.close()
    pool.reserve("web", 1)
    assert pool.connection()


def test_the_tags_of_those_who_have_connections_are_told(make):
    pool = make(3, track=True)
    first = pool.connection(tag="web")
    second = pool.dedicated_connection(tag="batch")
    third = pool.connection()
    assert [holder.tag for holder in pool.holders()] == ["web", "batch", None]
    first.close()
    second.close()
    # a connection that is lent again has the tag of its present holder
    again = pool.connection(), pool.connection(tag="mail")
    tags = [holder.tag for holder in pool.holders()]
    assert tags == [None, None, "mail"]
    assert third
    assert again
