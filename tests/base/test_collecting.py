"""Whether the garbage collector is at work in this thread."""

import gc
import sys
from contextlib import contextmanager
from threading import Event, Thread

import pytest
from everywhere import Everywhere, interrupt
from forking import in_child, needs_fork

from dbutils._base import callers
from dbutils._base.atomic import Sum
from dbutils._base.finalizers import collecting, is_collecting
from dbutils._core.slots import Slots
from dbutils.pooled_db import PooledDB


class Finalized:
    """Does something when the collector finds it."""

    def __init__(self, act):
        self.act = act
        self.itself = self

    def __del__(self):
        self.act()


def collect(act):
    """Let the collector do something in the middle of its work."""
    Finalized(act)
    gc.collect()


def elsewhere(function):
    """Return what a function returns in another thread."""
    answers = []
    thread = Thread(target=lambda: answers.append(function()))
    thread.start()
    thread.join()
    return answers.pop()


def test_only_the_thread_that_collects_is_collecting():
    answers = []

    def ask():
        answers.append(is_collecting())
        answers.append(elsewhere(is_collecting))

    assert not is_collecting()
    for _ in range(3):
        collect(ask)
        assert not is_collecting()
        assert not collecting
    assert answers == [True, False] * 3


def test_a_collection_in_another_thread_does_not_count_here():
    is_there, may_end = Event(), Event()

    def stay():
        is_there.set()
        assert may_end.wait(20)

    thread = Thread(target=collect, args=(stay,))
    thread.start()
    assert is_there.wait(20)
    try:
        assert collecting
        assert not is_collecting()
    finally:
        may_end.set()
        thread.join()
    assert not collecting


def test_who_drops_the_last_reference_is_not_collecting():
    answers = []
    found = Finalized(lambda: answers.append(is_collecting()))
    found.itself = None
    del found
    assert answers == [False]


def test_nothing_that_could_be_interrupted_is_called_by_the_collector():
    everywhere = Everywhere(interrupt)
    assert not everywhere.run(gc.collect, 1)
    assert everywhere.steps == 0
    assert not collecting


@pytest.mark.portable
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupted_collections_lose_no_place(dbapi):
    """A closed lease goes to the pool, and not to who comes next."""
    pool = PooledDB(dbapi, maxconnections=3)
    leases = [pool.connection() for _ in range(3)]
    gc.collect()
    gc.disable()  # so that no other collection helps
    is_begun = []

    def happen():
        if is_begun:
            interrupt()

    def work():
        is_begun.append(True)
        gc.collect()
        is_begun.clear()
        for lease in leases:
            lease.close()
        leases[:] = [pool.connection(maxwait=0) for _ in range(3)]

    try:
        for at in range(1, 40):
            Everywhere(happen).run(work, at)
            assert pool._connections == len(leases) == 3
    finally:
        gc.enable()


@needs_fork
def test_a_forked_child_does_not_go_on_with_a_collection_of_its_parent():
    is_there, may_end = Event(), Event()

    def stay():
        is_there.set()
        assert may_end.wait(20)

    thread = Thread(target=collect, args=(stay,))
    thread.start()
    assert is_there.wait(20)
    try:
        assert in_child(lambda: (bool(collecting), is_collecting())) == (
            False, False)
    finally:
        may_end.set()
        thread.join()


@needs_fork
def test_a_fork_in_the_middle_of_a_collection_goes_on_with_it():
    answers = []
    collect(lambda: answers.append(in_child(is_collecting)))
    assert answers == [True]
    assert not collecting


def test_nothing_is_collected_while_the_threads_are_looked_at(monkeypatch):
    seen = []

    def look():
        seen.append(gc.isenabled())
        return {}

    monkeypatch.setattr(sys, "_current_frames", look)
    assert gc.isenabled()
    assert callers.frames() == {}
    assert gc.isenabled()
    assert seen == [sys.version_info >= (3, 12)]


# What other threads do while a collection lets them run.

@contextmanager
def _met(happening, at):
    """Let something happen in a collection, as if by another thread."""
    phases, freed = [], []

    def run(phase, info):
        # new dicts are made of freed ones as long as there are some
        freed.extend([{} for _ in range(100)])
        phases.append(phase)
        if len(phases) == at:
            happening()

    before = gc.get_threshold()
    gc.collect()
    gc.callbacks.append(run)
    gc.set_threshold(1)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(run)


def _each_moment(begin):
    """Do something twice, the second time in each collection of the first.

    begin: returns the function that does it
    """
    for at in range(1, 20):
        for odd in (False, True):
            step = begin()
            with _met(step, at):
                held = [[]] if odd else None  # the others begin earlier
                step()
            del held


@pytest.mark.portable
def test_a_lost_slot_gets_one_permit_also_in_a_collection():
    permits = []

    def begin():
        assert sum(permit is not None for permit in permits) <= 1
        permits.clear()
        slots = Slots(1)
        slot = slots.take().slot
        return lambda: permits.append(slots.reissue(slot))

    _each_moment(begin)
    begin()


@pytest.mark.portable
def test_a_value_is_added_once_also_in_a_collection():
    total, steps = Sum(), []

    def add():
        steps.append(1)
        total.add(1)

    _each_moment(lambda: add)
    assert total.read().number == len(steps)
