"""A lock that no interrupt can leave locked."""

import gc
from threading import Event, Thread

import pytest
from everywhere import Interrupt, sweep
from patience import PATIENCE

from dbutils._mutex import Mutex


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
    assert len(errors) > 30


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
