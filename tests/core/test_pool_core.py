"""The core of the pools, with connections that are mere tokens."""

import gc
import sys
from contextlib import contextmanager
from random import Random
from threading import Event, Lock, Thread, current_thread
from weakref import ref

import pytest
from everywhere import sweep
from patience import PATIENCE, wait_until
from sweeps import Lease
from tokens import Pool, Token, wait_for_waiters

from dbutils._core import ways
from dbutils._core.limits import make_limits
from dbutils._core.refusals import PoolTimeout
from dbutils._core.sharing import Share
from dbutils._core.waiting import Waiter


@contextmanager
def background(*targets):
    """Run functions in threads that have to end with the context."""
    threads = [Thread(target=target, daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    yield threads
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


# The way out and the way back.


def test_a_connection_is_opened_when_none_is_idle():
    pool = Pool()
    con = pool.take()
    assert pool.state == (1, 0, 0)
    pool.give(con)
    assert pool.state == (0, 1, 0)
    assert pool.take() is con
    assert pool.backend.done == ["connect", "reset", "check"]


def test_the_oldest_idle_connection_is_taken_first():
    pool = Pool()
    cons = [pool.take() for _ in range(3)]
    for con in cons:
        pool.give(con)
    assert [pool.take() for _ in range(3)] == cons


class Served(list):
    """The queue of waiters, the next of which is served at once."""

    def __init__(self, serve):
        super().__init__()
        self.serve = serve

    def append(self, link):
        super().append(link)
        self.serve()


def test_a_waiter_that_is_served_before_it_waits_blocks_no_way():
    pool = Pool(maxconnections=1)
    con = pool.take()
    pool.core.may_track = False
    pool.core.choose_ways()
    before = pool.core.take, pool.core.room
    pool.core.waiting = pool.core.queue.links = Served(lambda: pool.give(con))
    assert pool.take() is con
    pool.give(con)
    assert (pool.core.take, pool.core.room) == before


def test_a_waiter_that_was_served_is_not_served_again():
    """Its link may still be there, with the permit that comes back."""
    pool = Pool(maxconnections=1)
    core = pool.core
    permit = core.acquire(pool.backend.connect, None)
    waiter = Waiter()
    core.queue_up(ref(waiter))
    core.place(permit)
    assert waiter.permit is permit
    core.waiting.append(ref(waiter))
    core.place(permit)
    assert list(core.idle) == [permit]
    assert not core.waiting


def test_options_that_change_while_ways_are_chosen_count(monkeypatch):
    pool = Pool(maxconnections=1)
    chosen = []

    def change(options):
        if not chosen:  # as another thread does at this moment
            chosen.append(options)
            pool.core.is_closed = True
            pool.core.choose_ways()

    choose = ways._choose
    monkeypatch.setattr(
        ways, "_choose",
        lambda *options: (change(options), choose(*options)))
    pool.core.choose_ways()
    assert pool.core.room == 0
    pool.core.idle.append("permit")
    assert pool.core.take() is None


class Limited:
    """A policy that limits requests."""

    has_limits = True


def test_an_interrupt_while_ways_are_chosen_opens_no_way_past_the_limits():
    def prepare():
        pool = Pool(maxconnections=1)
        pool.core.policy = Limited()
        pool.core.choose_ways()
        put = pool.core.put

        def check():
            assert pool.core.put == put
            pool.core.idle.append("permit")
            assert pool.core.take() is None

        return pool.core.choose_ways, check

    assert sweep(prepare) > 50


@pytest.mark.filterwarnings("error")
def test_a_finalizer_can_use_a_pool_that_dies_with_it():
    class Holder:
        def __init__(self):
            self.pool = Pool()
            self.cycle = self

        def __del__(self):
            taken.append(self.pool.take())

    taken = []
    Holder()
    gc.collect()
    assert [type(con) for con in taken] == [Token]


def test_a_connection_is_returned_only_once():
    pool = Pool()
    con = pool.take()
    assert pool.core.release(con)
    assert not pool.core.release(con)
    assert pool.state == (0, 1, 0)


def test_a_foreign_connection_is_not_taken_back():
    pool = Pool()
    assert not pool.core.release(Token())
    assert pool.state == (0, 0, 0)


def test_a_surplus_connection_is_closed_and_not_reset():
    pool = Pool(maxcached=1)
    first, second = pool.take(), pool.take()
    pool.give(first)
    pool.give(second)
    assert second.closed
    assert not first.closed
    assert pool.state == (0, 1, 0)
    assert pool.backend.done == ["connect", "connect", "reset", "close"]


def test_connections_that_come_back_together_are_not_too_many():
    pool = Pool(maxcached=1)
    first, second = pool.take(), pool.take()

    def return_the_other(con):
        if con is first:
            pool.give(second)  # it finds the place free, too

    pool.backend.also["reset"] = return_the_other
    pool.give(first)
    assert pool.state == (0, 1, 0)
    assert [first.closed, second.closed].count(True) == 1


def test_limits_raise_each_other():
    assert make_limits(4, 3, 2, 1, can_share=True)[:4] == (4, 4, 2, None)
    assert make_limits(0, 0, 5, 3, can_share=False)[:4] == (5, None, 0, None)
    assert make_limits(0, None, None, 0)[:4] == (None, None, 0, None)
    assert make_limits(4, 0, 0, 2)[:4] == (4, None, 0, None)


# Failures.


def fail(con):
    raise ConnectionError("injected")


@pytest.mark.parametrize("verb", ["connect", "share"])
def test_a_failure_while_opening_costs_no_place(verb):
    pool = Pool(maxconnections=1, maxshared=1)
    pool.backend.also[verb] = fail
    for _ in range(3):
        with pytest.raises(ConnectionError):
            pool.take(shareable=True)
    assert pool.state == (0, 0, 0)
    del pool.backend.also[verb]
    assert pool.take(shareable=True)


def test_a_connection_whose_check_is_interrupted_is_closed():
    pool = Pool(maxconnections=1)
    con = pool.take()
    pool.give(con)
    pool.backend.also["check"] = fail
    with pytest.raises(ConnectionError):
        pool.take()
    assert con.closed
    assert pool.state == (0, 0, 0)


def test_a_connection_whose_reset_is_interrupted_is_closed():
    pool = Pool(maxconnections=1)
    con = pool.take()
    pool.backend.also["reset"] = fail
    with pytest.raises(ConnectionError):
        pool.give(con)
    assert con.closed
    assert pool.state == (0, 0, 0)


def test_a_connection_that_cannot_be_closed_is_forgotten():
    pool = Pool(maxcached=1)
    cons = [pool.take(), pool.take()]
    pool.backend.also["close"] = fail
    for con in cons:
        pool.give(con)
    assert pool.state == (0, 1, 0)


def test_the_next_in_turn_gets_the_place_of_a_failed_connect():
    pool = Pool(maxconnections=1)
    may_fail = Event()
    served = []

    def fail_later(con):
        del pool.backend.also["connect"]
        assert may_fail.wait(PATIENCE)
        fail(con)

    def take_in_vain():
        with pytest.raises(ConnectionError):
            pool.take()

    pool.backend.also["connect"] = fail_later
    with background(take_in_vain):
        wait_until(lambda: pool.core.stats().in_use == 1)
        with background(lambda: served.append(pool.take())):
            wait_for_waiters(pool, 1)
            may_fail.set()
    assert len(served) == 1
    assert pool.state == (1, 0, 0)


# Waiting.


def test_an_impatient_request_is_refused_with_the_state_of_the_pool():
    pool = Pool(maxconnections=2, patient=False)
    cons = [pool.take(), pool.take()]
    with pytest.raises(PoolTimeout) as caught:
        pool.take()
    filling = caught.value.filling
    assert filling.maxconnections == filling.in_use == 2
    assert filling.idle == filling.waiting == 0
    assert pool.core.stats().refused == 1
    pool.give(cons[0])
    assert pool.take() is cons[0]


def test_requests_are_served_in_the_order_of_their_coming():
    pool = Pool(maxconnections=1)
    con = pool.take()
    order = []

    def checkout():
        mine = pool.take()
        order.append(current_thread().name)
        pool.give(mine)

    threads = [Thread(target=checkout, name=str(i)) for i in range(8)]
    for number, thread in enumerate(threads, 1):
        thread.start()
        wait_for_waiters(pool, number)
    pool.give(con)
    for thread in threads:
        thread.join(PATIENCE)
    assert order == [thread.name for thread in threads]


def test_who_returns_a_connection_cannot_overtake_those_who_wait():
    pool = Pool(maxconnections=1)
    con = pool.take()
    served = []
    done = Event()

    def checkout():
        served.append(pool.take())
        assert done.wait(PATIENCE)
        pool.give(con)

    with background(checkout):
        wait_for_waiters(pool, 1)
        pool.give(con)
        with pytest.raises(PoolTimeout):
            pool.take(patient=False)  # it already belongs to the other
        done.set()
    assert served == [con]


# Nobody waits for what is slow elsewhere.


@pytest.mark.parametrize("verb", ["connect", "check", "reset", "close"])
def test_a_slow_driver_stops_nobody_else(verb):
    pool = Pool(maxcached=2)
    cons = [pool.take() for _ in range(4)]
    pool.give(cons.pop())
    go_on, slow = Event(), Event()

    def be_slow(con):
        if current_thread().name == "slow":
            slow.set()
            assert go_on.wait(PATIENCE)

    def do_slowly():
        con = pool.take() if verb in {"connect", "check"} else cons.pop()
        pool.give(con)

    pool.backend.also[verb] = be_slow
    if verb == "connect":
        pool.give(pool.take())
        pool.take()  # none is idle now
    if verb == "close":
        pool.give(cons.pop())  # no more may be idle now
    thread = Thread(target=do_slowly, name="slow")
    thread.start()
    assert slow.wait(PATIENCE)
    pool.give(pool.take())  # this does not wait
    assert not go_on.is_set()
    go_on.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_connections_are_opened_at_the_same_time():
    pool = Pool(maxconnections=4)
    run_together = []
    lock, all_there = Lock(), Event()

    def meet(con):
        with lock:
            run_together.append(con)
            if len(run_together) == 4:
                all_there.set()
        assert all_there.wait(PATIENCE)

    pool.backend.also["connect"] = meet
    with background(*[pool.take] * 4):
        assert all_there.wait(PATIENCE)
    assert pool.state == (4, 0, 0)


# Finalizers, which run at any moment.


def test_a_lease_that_is_collected_while_its_thread_asks_serves_it():
    pool = Pool(maxconnections=1)
    con = pool.take()
    queue_up = pool.core.queue_up

    def queue_up_and_collect(link):
        queue_up(link)
        pool.give(con)

    pool.core.queue_up = queue_up_and_collect
    assert pool.take() is con


# Sharing.


def test_sharing_keeps_to_the_limit_of_connections():
    pool = Pool(maxconnections=2, maxshared=2, patient=False)
    dedicated = pool.take()
    shared = [pool.take(shareable=True) for _ in range(3)]
    assert len(set(shared)) == 1
    assert pool.state == (2, 0, 0)
    pool.give(dedicated)
    assert pool.take(shareable=True) is dedicated


def test_the_least_shared_connection_is_shared_next():
    pool = Pool(maxshared=3)
    cons = [pool.take(shareable=True) for _ in range(3)]
    assert [pool.take(shareable=True) for _ in range(3)] == cons
    pool.leave(cons[1])
    assert pool.take(shareable=True) is cons[1]
    assert [record.shared for record in pool.core.shared_records()] == [2] * 3


def test_the_least_shared_connection_is_shared_next_whatever_happens():
    """A model counts the sharers, and knows the turns."""
    number, dice = 6, Random(1)
    pool = Pool(maxshared=number)
    cons = [pool.take(shareable=True) for _ in range(number)]
    held, turns = cons.copy(), cons.copy()
    for _ in range(2000):
        leaving = dice.choice(held)
        if dice.random() < 0.5 and held.count(leaving) > 1:
            pool.leave(leaving)
            held.remove(leaving)
        else:
            busy = dice.choice(cons)
            busy.transaction = True
            expected = min(
                (con for con in turns if con is not busy), key=held.count)
            assert pool.take(shareable=True) is expected
            busy.transaction = False
            held.append(expected)
            turns.remove(expected)
            turns.append(expected)
        records = pool.core.shared_records()
        assert [record.con for record in records] == turns
        assert [record.shared for record in records] == [
            *map(held.count, turns)]


@pytest.mark.parametrize(("connections", "sharers"), [(300, 1), (1, 300)])
def test_many_shared_connections_and_sharers_cost_no_more_than_few(
        connections, sharers):
    def calls_of_cycles(connections, sharers):
        pool = Pool(maxconnections=connections, maxshared=connections)
        for _ in range(connections * sharers):
            pool.take(shareable=True)
        lease = Lease(pool, shareable=True)
        calls = []
        for is_counted in (False, True):
            if is_counted:
                sys.setprofile(lambda *event: calls.append(event[1]))
            try:
                for _ in range(50):
                    lease.take()
                    lease.give()
            finally:
                sys.setprofile(None)
        return len(calls)

    assert calls_of_cycles(connections, sharers) < 1.1 * calls_of_cycles(2, 2)


@pytest.mark.parametrize("verb", ["clear", "drain"])
def test_a_pool_is_emptied_while_a_connection_is_being_joined(verb):
    """Its last sharer closes it, and nobody joins it any longer."""
    pool = Pool(maxshared=1)
    con = pool.take(shareable=True)
    verbs = [verb]

    def is_shareable(con):
        while verbs:
            getattr(pool.core, verbs.pop())()
        return True

    pool.core.sharing.is_shareable = is_shareable
    other = pool.take(shareable=True)
    assert other is not con
    assert pool.state == (1, 0, 0)
    pool.leave(con)
    assert con.closed
    assert not other.closed
    assert pool.core.stats().closed == 1
    pool.leave(other)
    assert pool.state == (0, 1, 0)


def test_a_pool_is_emptied_while_a_sharer_comes_at_the_last_moment():
    """The other one had nearly left; the one that came closes it."""
    pool = Pool(maxshared=1)
    con = pool.take(shareable=True)
    permit = pool.shares[0].permit
    late = []

    class Open(list):
        def pop(self):
            item = super().pop()
            if not late:
                late.append(Share(permit, permit.group.links))
                pool.core.drain()
            return item

    permit.group.open = Open(permit.group.open)
    pool.leave(con)
    assert late[0].permit is permit
    assert not con.closed
    assert pool.take(shareable=True) is not con
    late[0].checkout = [pool]
    pool.core.release_share(late[0])
    assert con.closed
    assert pool.core.stats().closed == 1


def test_the_last_of_the_sharers_frees_the_connection():
    pool = Pool(maxshared=1)
    con = pool.take(shareable=True)
    pool.take(shareable=True)
    pool.leave(con)
    assert pool.state == (1, 0, 0)
    pool.leave(con)
    assert pool.state == (0, 1, 0)
    assert pool.take() is con


def test_a_connection_in_a_transaction_is_not_shared():
    pool = Pool(maxshared=1, patient=False)
    con = pool.take(shareable=True)
    con.transaction = True
    with pytest.raises(PoolTimeout):
        pool.take(shareable=True)
    con.transaction = False
    assert pool.take(shareable=True) is con


def test_the_end_of_a_transaction_serves_who_waits_to_share():
    pool = Pool(maxshared=1)
    con = pool.take(shareable=True)
    con.transaction = True
    served = []
    with background(lambda: served.append(pool.take(shareable=True))):
        wait_for_waiters(pool, 1)
        con.transaction = False
        pool.core.reclaim()
    assert served == [con]


def test_who_waits_to_share_does_not_keep_others_waiting():
    pool = Pool(maxshared=1)
    con = pool.take(shareable=True)
    con.transaction = True
    with background(lambda: pool.take(shareable=True)):
        wait_for_waiters(pool, 1)
        pool.give(pool.take())
        assert pool.state == (1, 1, 1)
        pool.leave(con)


def test_a_connection_that_is_being_opened_for_sharing_is_waited_for():
    pool = Pool(maxconnections=1, maxshared=1, patient=False)
    go_on, opening = Event(), Event()

    def open_slowly(con):
        opening.set()
        assert go_on.wait(PATIENCE)

    pool.backend.also["connect"] = open_slowly
    cons = []

    def take():
        cons.append(pool.take(shareable=True))

    with background(take):
        assert opening.wait(PATIENCE)
        with background(take):
            wait_for_waiters(pool, 1)
            go_on.set()
    assert len(cons) == 2
    assert cons[0] is cons[1]
    assert pool.state == (1, 0, 0)


def test_who_waited_for_a_failing_shared_connection_is_refused():
    pool = Pool(maxconnections=1, maxshared=1)
    go_on, opening = Event(), Event()
    outcomes = []

    def open_in_vain(con):
        opening.set()
        assert go_on.wait(PATIENCE)
        del pool.backend.also["connect"]
        fail(con)

    def take(expected):
        with pytest.raises(expected):
            pool.take(shareable=True, patient=False)

    pool.backend.also["connect"] = open_in_vain
    with background(lambda: take(ConnectionError)):
        assert opening.wait(PATIENCE)
        with background(lambda: outcomes.append(pool.take())):
            wait_for_waiters(pool, 1)
            with background(lambda: take(PoolTimeout)):
                wait_for_waiters(pool, 2)
                go_on.set()
    assert len(outcomes) == 1  # the place went to the first who waited


def test_a_sharer_whose_check_fails_leaves_the_others_alone():
    pool = Pool(maxshared=1)
    con = pool.take(shareable=True)
    pool.backend.also["check"] = fail
    with pytest.raises(ConnectionError):
        pool.take(shareable=True)
    assert not con.closed
    assert [record.shared for record in pool.core.shared_records()] == [1]


# The end.


def test_clearing_closes_idle_and_shared_connections():
    pool = Pool(maxshared=1)
    idle, shared, dedicated = (
        pool.take(), pool.take(shareable=True), pool.take())
    pool.give(idle)
    pool.core.clear()
    assert idle.closed
    assert shared.closed
    assert not dedicated.closed
    assert pool.state == (1, 0, 0)
    pool.give(dedicated)
    assert pool.state == (0, 1, 0)


def test_a_shared_connection_that_was_cleared_away_does_not_come_back():
    pool = Pool(maxshared=1)
    con = pool.take(shareable=True)
    pool.take(shareable=True)
    pool.core.clear()
    con.closed = False  # as if it had been opened again
    pool.leave(con)
    assert not con.closed
    pool.leave(con)
    assert con.closed
    assert pool.state == (0, 0, 0)


def test_what_was_taken_while_the_pool_was_shut_down_does_not_stay(
        monkeypatch):
    pool = Pool()
    find = pool.core.find

    def come_late(*args):
        pool.core.shut_down(0)
        return find(*args)

    monkeypatch.setattr(pool.core, "find", come_late)
    con = pool.take()
    pool.give(con)
    assert con.closed
    assert pool.state == (0, 0, 0)


def test_clearing_makes_room_for_those_who_wait():
    pool = Pool(maxconnections=1, maxshared=1)
    shared = pool.take(shareable=True)
    shared.transaction = True
    served = []
    with background(lambda: served.append(pool.take())):
        wait_for_waiters(pool, 1)
        pool.core.clear()
    assert len(served) == 1
    assert served[0] is not shared
    assert shared.closed


def test_connections_can_be_adopted_and_expelled():
    pool = Pool(maxcached=1)
    con, surplus = Token(), Token()
    pool.core.adopt(con)
    pool.core.adopt(surplus)
    assert surplus.closed
    assert pool.core.idle_connections() == [con]
    assert pool.core.detach_idle() is con
    assert pool.core.detach_idle() is None
    assert pool.state == (0, 0, 0)


def test_a_pool_is_collected_at_once_when_it_is_dropped():
    pool = Pool()
    pool.give(pool.take())
    gc.collect()
    gc.disable()
    try:
        closed = []
        pool.core.idle[0].slot.con.__class__ = type(
            "Told", (Token,), {"__del__": lambda con: closed.append(con)})
        del pool
        assert len(closed) == 1
    finally:
        gc.enable()
