"""The requests of a pool and their order."""

from threading import Thread

from dbutils._core.ledger import Ledger, Limits
from dbutils._core.waiters import Waiter, WaitQueue

AT_ONCE = 0


def make_waiter():
    return Waiter(checkout=None, shareable=False)


def test_a_waiter_is_granted_one_place_only():
    waiter = make_waiter()
    assert waiter.grant("first")
    assert not waiter.grant("second")
    assert waiter.wait(AT_ONCE)
    assert waiter.permit == "first"


def test_a_waiter_that_gave_up_takes_nothing():
    waiter = make_waiter()
    assert waiter.give_up()
    assert not waiter.grant("place")
    assert waiter.permit is None
    assert not waiter.is_waiting


def test_a_waiter_notices_that_it_gave_up_too_late():
    waiter = make_waiter()
    waiter.grant("place")
    assert not waiter.give_up()
    assert waiter.permit == "place"


def test_a_waiter_can_be_woken_up_without_an_answer():
    waiter = make_waiter()
    waiter.nudge()
    waiter.nudge()
    assert not waiter.wait(20)
    assert waiter.is_waiting


def test_many_threads_grant_a_waiter_only_once():
    waiter = make_waiter()
    granted = []

    def grant(permit):
        if waiter.grant(permit):
            granted.append(permit)

    threads = [Thread(target=grant, args=(permit,)) for permit in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert granted == [waiter.permit]


def test_the_queue_is_in_the_order_of_coming():
    queue = WaitQueue()
    waiters = [make_waiter() for _ in range(3)]
    for waiter in waiters:
        queue.join(waiter)
    assert queue.first() is waiters[0]
    queue.drop(waiters[1])
    queue.drop(waiters[1])
    assert queue.in_order() == [waiters[0], waiters[2]]
    assert len(queue) == 2


def test_who_was_answered_or_has_gone_is_not_in_the_queue():
    queue = WaitQueue()
    waiters = [make_waiter() for _ in range(3)]
    for waiter in waiters:
        queue.join(waiter)
    waiters[0].grant("place")
    del waiters[1], waiter
    assert queue.in_order() == waiters[1:]
    waiters.clear()
    assert queue.in_order() == []
    assert not queue


def test_a_place_is_created_only_within_the_limit():
    ledger = Ledger(Limits(maxconnections=2), is_shareable=bool)
    permits = [ledger.take() for _ in range(3)]
    assert permits[2] is None
    assert permits[0].slot is not permits[1].slot
    ledger.retire(permits[0])
    assert ledger.take().slot is permits[0].slot
