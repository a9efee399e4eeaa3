"""A lock that no interrupt can leave locked."""

import gc
from threading import Event, Thread

import pytest
from everywhere import Interrupt, sweep
from patience import PATIENCE, wait_until

from dbutils._base.mutex import LongMutex, Mutex


@pytest.mark.usefixtures("_restless")
def test_only_one_thread_at_a_time_has_its_turn():
    mutex = Mutex()
    inside, seen = [], []

    def work(me):
        for _ in range(300):
            with mutex.take():
                inside.append(me)
                seen.append(len(inside))
                inside.remove(me)

    threads = [Thread(target=work, args=(me,)) for me in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 1800


def test_a_thread_can_take_it_again():
    mutex = Mutex()
    entered = Event()
    with mutex.take():
        with mutex.take():
            pass
        thread = Thread(target=lambda: enter(mutex, entered))
        thread.start()
        assert not entered.wait(0.05)
    thread.join(PATIENCE)
    assert entered.is_set()


def enter(mutex, entered):
    with mutex.take():
        entered.set()


def test_a_turn_that_was_never_begun_is_over():
    mutex = Mutex()
    mutex.take()
    entered = Event()
    thread = Thread(target=lambda: enter(mutex, entered))
    thread.start()
    thread.join(PATIENCE)
    assert entered.is_set()


# an interrupt of a finalizer is only told
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_interrupt_leaves_it_locked():
    errors = []

    def prepare():
        mutex = Mutex()

        def work():
            try:
                with mutex.take():
                    pass
            except Interrupt as error:
                errors.append(error)  # and with it its traceback
                raise

        def check():
            entered = Event()
            thread = Thread(target=lambda: enter(mutex, entered))
            thread.start()
            assert entered.wait(PATIENCE)
            thread.join()

        return work, check
    assert sweep(prepare, stride=1) > 30
    assert len(errors) > 10


def test_old_turns_are_forgotten():
    mutex = Mutex()

    def use():
        for _ in range(100):
            with mutex.take():
                pass
        gc.collect()
        return len(gc.get_objects())

    use()
    before = use()
    assert use() - before < 20


def test_long_turns_come_in_the_order_of_the_requests():
    mutex = LongMutex()
    order, threads = [], []

    def take(number):
        with mutex.take() as has_come:
            assert has_come
            order.append(number)

    with mutex.take() as has_come:
        assert has_come
        for number in range(5):
            last = mutex._recent
            threads.append(Thread(target=take, args=(number,)))
            threads[-1].start()
            wait_until(lambda last=last: mutex._recent is not last)
    for thread in threads:
        thread.join(20)
    assert order == list(range(5))


def test_a_long_turn_is_not_had_twice_by_a_thread_nor_waited_for_in_vain():
    mutex = LongMutex()
    answers = []
    with mutex.take() as has_come, mutex.take() as again:
        answers += [has_come, again]
        thread = Thread(target=lambda: answers.append(
            mutex.take(waits=False).__enter__()))
        thread.start()
        thread.join(20)
    assert answers == [True, None, None]
    with mutex.take(waits=False) as has_come:
        assert has_come


def test_an_interrupt_anywhere_in_a_long_turn_does_not_stop_the_others():
    def prepare():
        mutex = LongMutex()

        def work():
            with mutex.take():
                pass

        def check():
            thread = Thread(target=work, daemon=True)
            thread.start()
            thread.join(20)
            assert not thread.is_alive()
        return work, check

    assert sweep(prepare) > 50
