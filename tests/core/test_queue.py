"""The waiters of a pool and their order."""

from functools import partial
from threading import Thread
from weakref import ref

import pytest
from everywhere import Interrupt, interrupt
from patience import in_threads, join
from tokens import Pool

from dbutils._core.allocation import AllocationPolicy
from dbutils._core.quotas import Request
from dbutils._core.refusals import PoolTimeout
from dbutils._core.slots import Slots
from dbutils._core.waiting import Queue, Waiter

AT_ONCE = 0


def test_a_waiter_is_granted_one_place_only():
    waiter = Waiter()
    assert waiter.grant("first")
    assert not waiter.grant("second")
    assert not waiter.grant("first")  # which has come back meanwhile
    assert waiter.wait(AT_ONCE)
    assert waiter.permit == "first"


def test_a_waiter_that_gave_up_takes_nothing():
    waiter = Waiter()
    assert waiter.give_up()
    assert not waiter.grant("place")
    assert waiter.permit is None
    assert waiter.answer


def test_a_waiter_notices_that_it_gave_up_too_late():
    waiter = Waiter()
    waiter.grant("place")
    assert not waiter.give_up()
    assert waiter.permit == "place"


def test_a_waiter_can_be_woken_up_without_an_answer():
    waiter = Waiter()
    waiter.nudge()
    waiter.nudge()
    assert waiter.wait(20)
    assert not waiter.wait(AT_ONCE)
    assert not waiter.answer


def test_many_threads_grant_a_waiter_only_once():
    waiter = Waiter()
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


def test_many_threads_are_served_by_weights_at_the_same_time():
    """Without the GIL, a queue must not be copied while others change it."""
    policy = AllocationPolicy("weighted", {"a": 2})
    served = []

    def serve(tag):
        for _ in range(1000):
            policy.shares.served(Request(tag=tag), 4)
        served.append(tag)

    join([thread for tag in "abcd" for thread in in_threads(
        partial(serve, tag), 1)])
    assert sorted(served) == list("abcd")


def queue_of(number):
    queue = Queue([])
    waiters = [Waiter() for _ in range(number)]
    queue.links.extend(map(ref, waiters))
    return queue, waiters


def test_the_queue_is_in_the_order_of_coming():
    queue, waiters = queue_of(3)
    assert queue.first() is waiters[0]
    queue.drop(ref(waiters[1]))
    queue.drop(ref(waiters[1]))
    assert queue.in_order() == [waiters[0], waiters[2]]
    assert len(queue) == 2


def test_a_waiter_that_was_answered_or_has_gone_is_not_in_the_queue():
    queue, waiters = queue_of(3)
    waiters[0].grant("place")
    del waiters[1]
    assert queue.in_order() == waiters[1:]
    waiters.clear()
    assert queue.in_order() == []
    assert not queue.links


def few_look(number, *looking):
    queue, waiters = queue_of(number)
    for waiter in waiters:
        waiter.looks = False
    for place in looking:
        waiters[place].looks = True
    return queue, waiters


def test_only_few_waiters_of_a_crowd_look_often():
    queue, waiters = few_look(40, 1, 3)
    first, *pauses = [queue.pause(ref(waiter), None) for waiter in waiters]
    often, seldom = queue.next_look, 40 * queue.other_look
    assert first < often < seldom
    assert pauses == [often, seldom, often] + 36 * [seldom]


def test_all_of_a_few_waiters_look_often():
    queue, waiters = few_look(4)
    pauses = [queue.pause(ref(waiter), None) for waiter in waiters]
    assert pauses == [queue.first_look] + 3 * [4 * queue.other_look]
    assert max(pauses) <= queue.next_look


def woken(waiters):
    return [waiter.wait(AT_ONCE) for waiter in waiters]


def test_the_last_waiter_looks_when_one_that_looked_leaves():
    queue, waiters = few_look(6, 0)
    queue.drop(ref(waiters[0]))
    assert woken(waiters) == [False] * 5 + [True]
    assert waiters[5].looks


def test_nobody_is_woken_up_when_one_that_did_not_look_leaves():
    queue, waiters = few_look(6, 4)
    queue.drop(ref(waiters[0]))
    assert not any(woken(waiters))


def test_a_waiter_that_looks_already_is_not_woken_up():
    queue, waiters = few_look(6, 0, 5)
    queue.drop(ref(waiters[0]))
    assert not any(woken(waiters))


def test_another_waiter_looks_although_the_one_that_looked_has_died():
    queue, waiters = few_look(3, 0)
    del waiters[0]
    assert queue.first() is waiters[0]
    assert woken(waiters) == [False, True]


def test_the_last_that_still_waits_looks():
    queue, waiters = few_look(4, 0)
    waiters[3].grant("place")
    waiters[3].wait(AT_ONCE)
    queue.drop(ref(waiters[0]))
    assert woken(waiters) == [False, False, True, False]


def test_a_waiter_whose_answer_was_not_told_is_woken_up():
    queue, waiters = few_look(2, 1)
    waiters[0].answer[0] = "place"  # an interrupt has followed
    assert queue.first() is waiters[1]
    assert woken(waiters) == [True, False]


def test_a_slot_is_added_only_within_the_limit():
    slots = Slots(2)
    permits = [slots.take() for _ in range(3)]
    assert permits[2] is None
    assert permits[0].slot.number != permits[1].slot.number
    slots.give_up(permits[0].slot)
    assert slots.take().slot.number == permits[0].slot.number


def test_a_slot_whose_permit_has_died_gets_another_one_once():
    slots = Slots(1)
    permit = slots.take()
    permit.slot.con = "connection"
    del permit
    fresh = slots.reissue_lost()
    assert fresh.slot.con == "connection"
    assert slots.reissue_lost() is None
    assert len(slots) == 1


def test_the_holder_of_a_void_permit_cannot_give_the_slot_up():
    slots = Slots(1)
    void = slots.take()
    fresh = slots.reissue(void.slot)
    slots.give_up(void.slot)
    assert slots.has(fresh.slot)
    del void
    assert slots.reissue_lost() is None


def test_a_waiter_that_goes_on_after_its_deadline_does_not_look_all_the_time():
    queue = Queue([])
    waiter = Waiter()
    queue.links.append(ref(waiter))
    assert queue.pause(ref(waiter), waiter.since - 1) == queue.first_look


def test_who_looks_wakes_those_up_who_were_not_told_their_answers():
    pool = Pool(maxconnections=1)
    pool.take()
    waiter = Waiter()
    pool.core.waiting.append(ref(waiter))
    waiter.answer[0] = "place"  # an interrupt has followed
    with pytest.raises(PoolTimeout):
        pool.core.acquire(pool.backend.connect, 0.001)
    assert waiter.wait(AT_ONCE)


def test_an_interrupt_of_the_refusal_of_all_leaves_nobody_asleep():
    queue, waiters = queue_of(1)
    waiters[0].give_up = interrupt
    with pytest.raises(Interrupt):
        queue.refuse_all()
    assert waiters[0].wait(AT_ONCE)
