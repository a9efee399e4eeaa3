"""The requests of a pool and their order."""

from threading import Thread

from dbutils._errors import Figures
from dbutils._ledger import Ledger, Limits
from dbutils._waiters import Waiter, WaitQueue

FIGURES = Figures(limit=1, in_use=1, idle=0, waiting=0, maxshared=0)


def make_waiter():
    return Waiter(shareable=False, patient=True)


def test_a_waiter_is_granted_one_slot_only():
    waiter = make_waiter()
    assert waiter.grant("first")
    assert not waiter.grant("second")
    waiter.wait()
    assert waiter.slot == "first"


def test_a_waiter_that_was_granted_a_slot_is_not_refused():
    waiter = make_waiter()
    waiter.grant("slot")
    waiter.refuse(FIGURES)
    assert waiter.refusal is None


def test_a_refused_waiter_learns_the_state_of_the_pool():
    waiter = make_waiter()
    waiter.refuse(FIGURES)
    waiter.wait()
    assert waiter.refusal == FIGURES
    assert waiter.slot is None


def test_a_waiter_that_gave_up_takes_nothing():
    waiter = make_waiter()
    assert waiter.give_up()
    assert not waiter.grant("slot")
    assert waiter.slot is None


def test_a_waiter_notices_that_it_gave_up_too_late():
    waiter = make_waiter()
    waiter.grant("slot")
    assert not waiter.give_up()
    assert waiter.slot == "slot"


def test_many_threads_grant_a_waiter_only_once():
    waiter = make_waiter()
    granted = []

    def grant(slot):
        if waiter.grant(slot):
            granted.append(slot)

    threads = [Thread(target=grant, args=(slot,)) for slot in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert granted == [waiter.slot]


def test_the_queue_is_in_the_order_of_coming():
    queue = WaitQueue()
    waiters = [make_waiter() for _ in range(3)]
    for waiter in waiters:
        queue.add(waiter)
    queue.drop(waiters[1])
    queue.drop(waiters[1])
    assert queue.in_order() == (waiters[0], waiters[2])
    assert len(queue) == 2


def test_a_place_offered_to_one_who_gave_up_goes_to_the_next():
    ledger = Ledger(Limits(maxconnections=1), is_shareable=bool)
    gone, next_one = Waiter(False, True), Waiter(False, True)
    for waiter in (gone, next_one):
        ledger.waiters.add(waiter)
    assert gone.give_up()  # and was interrupted before leaving the queue
    ledger.serve_locked()
    assert gone.slot is None
    assert next_one.slot is not None
    assert ledger.total == 1
