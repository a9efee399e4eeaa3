"""The waiters of a pool and their order."""

from threading import Thread
from weakref import ref

from dbutils._core.slots import Slots
from dbutils._core.waiting import Queue, Waiter

AT_ONCE = 0


def test_a_waiter_is_granted_one_place_only():
    waiter = Waiter()
    assert waiter.grant("first")
    assert not waiter.grant("second")
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


def test_only_the_first_few_waiters_look_often():
    queue, waiters = queue_of(6)
    pauses = [queue.pause(ref(waiter), None) for waiter in waiters]
    assert pauses[0] < pauses[1]
    assert pauses[1:4] == [queue.next_look] * 3
    assert pauses[4:] == [queue.other_look] * 2


def test_a_waiter_that_moves_up_begins_to_look():
    queue, waiters = queue_of(6)
    queue.drop(ref(waiters[0]))
    assert [waiter.wait(AT_ONCE) for waiter in waiters] == [
        False, False, False, False, True, False]
    assert queue.pause(ref(waiters[4]), None) == queue.next_look


def test_a_waiter_that_moves_up_looks_although_others_have_dropped_the_link():
    queue, waiters = queue_of(6)
    waiters[0].grant("place")
    assert queue.first() is waiters[1]  # drops the link of the first
    queue.drop(ref(waiters[0]))
    assert waiters[4].wait(AT_ONCE)


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
