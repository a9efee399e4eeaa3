"""Threads that have a connection and ask for another one, and deadlocks."""

import gc
import logging
import threading
from contextlib import contextmanager
from functools import partial
from operator import add
from threading import Event, Thread
from time import monotonic

import pytest
from forking import in_child, needs_fork
from kinds import for_every_kind
from patience import PATIENCE, in_threads, join, wait_until

from dbutils._core.lease import permit_of

pytestmark = for_every_kind


@pytest.fixture
def log(caplog):
    """The warnings of the library that are not about refusals."""
    def messages():
        return [
            record.getMessage() for record in caplog.records
            if record.name == "dbutils" and record.levelno >= logging.WARNING
            and record.event != "refused"]

    return messages


def quickly(pool):
    """Let waiters of a pool look often; return the pool."""
    queue = pool._core.queue
    queue.first_look = queue.next_look = queue.other_look = 0.005
    return pool


# nested

@pytest.mark.parametrize("option", ["nested", "ondeadlock"])
def test_a_bad_word_is_named(kind, option):
    with pytest.raises(ValueError, match=f"{option!r} must be .* or "):
        kind.make(**{option: "sometimes"})


def test_nested_requests_are_allowed(kind, log):
    pool = kind.make(maxconnections=2)
    with pool.connection(), pool.connection():
        assert kind.in_use(pool) == 2
    assert not log()


def test_nested_requests_can_be_refused(kind):
    pool = kind.make(mincached=2, maxconnections=3, nested="refuse")
    for _ in range(2):
        with pool.connection():
            with pytest.raises(
                    kind.module.NestedBorrowingError,
                    match=r"taken at .*test_nested\.py:\d+\. Give"):
                pool.connection()
            assert kind.in_use(pool) == 1
    assert issubclass(
        kind.module.NestedBorrowingError, kind.module.TooManyConnectionsError)
    with pool.transaction(), pytest.raises(kind.module.NestedBorrowingError):
        pool.run(lambda db: None)
    assert kind.in_use(pool) == 0


def test_the_wait_for_a_pool_can_be_a_nested_request(kind):
    pool = kind.make(maxconnections=3, nested="refuse")
    with pool.connection(), pytest.raises(kind.module.NestedBorrowingError):
        pool.wait()
    pool.wait()
    assert kind.in_use(pool) == 0


def test_other_threads_are_not_refused(kind):
    pool = kind.make(maxconnections=3, nested="refuse")
    served = []
    with pool.connection():
        thread = Thread(target=lambda: served.append(pool.connection()))
        thread.start()
        thread.join(PATIENCE)
    assert len(served) == 1
    # also if they have the number of a thread that has ended
    for _ in range(5):
        thread = Thread(target=lambda: pool.connection().close())
        thread.start()
        thread.join(PATIENCE)
    served.append(pool.connection())
    assert len(served) == 2


def test_a_thread_with_the_number_of_one_that_has_ended_is_another_one(kind):
    pool = kind.make(maxconnections=5, nested="refuse")
    served, idents = [], []

    def borrow():
        idents.append(threading.get_ident())
        served.append(pool.connection())

    for _ in range(4):
        thread = Thread(target=borrow)
        thread.start()
        thread.join(PATIENCE)
    assert len(served) == 4


def test_each_pair_of_nested_requests_is_told_once(kind, log):
    pool = kind.make(mincached=1, maxconnections=3, nested="warn")
    for _ in range(3):
        with pool.connection():
            inner = pool.connection()
            inner.close()
    message, = log()
    assert message.count("test_nested.py:") == 2
    with pool.connection():
        pool.connection().close()
    assert len(log()) == 2


def test_who_waits_for_its_turn_is_looked_at_as_well(kind, log):
    pool = kind.make(maxconnections=1, nested="warn", maxwait=0.01)
    with pool.connection(), pytest.raises(
            kind.module.TooManyConnectionsError):
        pool.connection()
    assert any("same pool" in message for message in log())


# deadlocks

def borrow_two(pool, both):
    """Return what two nested requests in each of two threads have raised."""
    errors = []
    barrier = threading.Barrier(2)

    def nest():
        with pool.connection():
            barrier.wait(PATIENCE)
            try:
                pool.connection().close()
                both.append(True)
            except Exception as error:
                errors.append(error)

    return nest, errors


def test_a_deadlock_of_two_threads_raises_an_error_in_one_of_them(kind, log):
    pool = quickly(kind.make(
        maxconnections=2, blocking=True, ondeadlock="raise"))
    served = []
    nest, errors = borrow_two(pool, served)
    join(in_threads(nest, 2))
    error, = errors
    assert type(error) is kind.module.PoolDeadlockError
    assert isinstance(error, kind.module.TooManyConnectionsError)
    assert str(error).count("\n- ") == 2
    assert served == [True]  # the other thread has gone on
    message, = log()
    assert message.count("\nThe stack of ") == 2
    assert message.count("in nest\n") == 2
    headline = message.partition("\n")[0]
    line = nest.__code__.co_firstlineno
    assert f"{__file__}:{line + 1}, the other one is asked for at" in headline
    assert f"asked for at {__file__}:{line + 4}." in headline
    assert "_bootstrap" not in message
    assert "serving.py" not in message
    assert kind.in_use(pool) == 0


def test_a_deadlock_of_two_threads_is_logged_once(kind, log, caplog):
    pool = quickly(kind.make(maxconnections=2, blocking=True, track=True))
    served = []
    nest, errors = borrow_two(pool, served)
    threads = in_threads(nest, 2)
    wait_until(log)
    looked = count_looks(pool)
    wait_until(lambda: len(looked) > 9)
    message, = log()
    assert "All 2 connections of the pool are held by threads" in message
    assert "None of them can go on." in message
    assert caplog.records[-1].levelno == logging.ERROR
    pool._core.queue.refuse_all()
    join(threads)
    assert len(errors) == 2
    assert not served


def count_looks(pool):
    """Return a list that grows with each look of a waiter."""
    looks = []
    queue = pool._core.queue
    first = queue.first

    def counted():
        looks.append(True)
        return first()

    queue.first = counted
    return looks


def test_a_thread_alone_can_be_in_a_deadlock(kind, log):
    pool = quickly(kind.make(
        maxconnections=1, blocking=True, ondeadlock="raise"))
    with pool.connection(), pytest.raises(
            kind.module.PoolDeadlockError, match="The only connection"):
        pool.connection()
    story = pool._core.story
    assert len(log()) == 1
    for seconds in 0, 0, 61:
        story.clock = partial(add, monotonic(), seconds)
        with pool.connection(), pytest.raises(kind.module.PoolDeadlockError):
            pool.connection()
    first, second = log()
    assert "more since" not in first
    assert "(2 more since the last such message) [DBU-35]\n" in second
    assert "There were 4 deadlocks" in pool.explain()
    assert kind.in_use(pool) == 0


def get(pool, kept):
    """Take a connection and keep it."""
    kept.append(pool.connection())  # it is got here


def leak(pool, errors, seconds=60):
    """Start a thread that leaks the only connection and asks for another."""
    kept = []

    def work():
        get(pool, kept)
        permit = permit_of(kept[0])
        permit.taken = (permit.taken[0] - seconds, *permit.taken[1:])
        del permit
        try:
            pool.connection()
        except Exception as error:
            errors.append(error)

    return in_threads(work, 1), kept


def test_an_error_of_a_deadlock_that_was_logged_keeps_no_connection(
        kind, log):
    pool = quickly(kind.make(
        maxconnections=1, blocking=True, ondeadlock="raise"))

    def nest():
        lease = pool.connection()  # noqa: F841 - which is dropped
        pool.connection()

    gc.disable()  # the collector would find it
    try:
        with pytest.raises(kind.module.PoolDeadlockError) as raised:
            nest()
        assert len(log()) == 1
        del raised
        assert kind.in_use(pool) == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("reclaim", [False, True])
def test_a_leak_of_those_who_wait_is_no_deadlock(kind, log, reclaim):
    pool = quickly(kind.make(
        maxconnections=1, blocking=True, ondeadlock="raise",
        leakafter=1000, reclaim=reclaim, poolname="shop"))
    errors = []
    threads, kept = leak(pool, errors)
    wait_until(log)
    text = pool.explain()
    if reclaim:  # which would end the wait
        pool._core.queue.refuse_all()
    join(threads)
    error, = errors
    assert (type(error) is kind.module.PoolDeadlockError) is not reclaim
    message, = log()
    line = get.__code__.co_firstlineno + 2
    told = (
        f"A leak: 1 connection was probably never given back, taken at"
        f" {__file__}:{line}.")
    assert message.startswith(f"shop: {told}")
    assert (told in str(error)) is not reclaim
    if reclaim:
        assert "reclaim takes each back after 1000 s." in text
    assert "adlock" not in text + message
    assert len(kept) == 1


def test_helpers_that_borrow_can_be_in_a_deadlock(kind, log):
    pool = quickly(kind.make(
        maxconnections=1, blocking=True, ondeadlock="raise"))
    errors = []
    threads, kept = leak(pool, errors, 0)
    join(threads)
    message, = log()
    assert "A deadlock: The only connection of the pool is held" in message
    assert type(errors[0]) is kind.module.PoolDeadlockError
    assert len(kept) == 1


def test_contexts_and_recursions_can_be_in_a_deadlock(kind, log):
    def walk(depth):
        with pool.connection():
            depth += 1
            walk(depth)

    @contextmanager
    def borrow():
        with pool.connection() as db:
            yield db

    def enter(depth):
        with borrow():
            enter(depth)

    for work in walk, enter:
        pool = quickly(kind.make(
            maxconnections=2, blocking=True, ondeadlock="raise"))
        with pytest.raises(kind.module.PoolDeadlockError):
            work(0)
        assert "A deadlock: All 2 connections" in log()[-1]
        assert kind.in_use(pool) == 0


def wait_for_oneself(pool, errors):
    """Start a thread that waits for itself, and notes the error of that."""
    def nest():
        with pool.connection():
            try:
                pool.connection()
            except Exception as error:
                errors.append(type(error))

    return in_threads(nest, 1)


def test_a_deadlock_that_ends_is_only_logged(kind, log, caplog):
    pool = quickly(kind.make(
        maxconnections=1, maxwait=PATIENCE, ondeadlock="raise"))
    errors = []
    threads = wait_for_oneself(pool, errors)
    wait_until(log)
    pool._core.queue.refuse_all()
    join(threads)
    assert errors == [kind.module.TooManyConnectionsError]
    message, = log()
    assert "until the time of one of them is over" in message
    assert caplog.records[-1].levelno == logging.WARNING


def test_nothing_is_said_of_a_deadlock_that_ends_in_a_moment(kind, log):
    pool = quickly(kind.make(1, maxconnections=1, maxwait=0.1))
    errors = []
    join(wait_for_oneself(pool, errors))
    assert errors == [kind.module.TooManyConnectionsError]
    assert log() == []


def test_nothing_is_said_while_a_holder_works(kind, log):
    pool = quickly(kind.make(
        maxconnections=2, blocking=True, ondeadlock="raise"))
    held, done = Event(), Event()

    def work():
        with pool.connection():
            held.set()
            done.wait(PATIENCE)

    served = []

    def nest():
        with pool.connection():
            served.append(pool.connection())
            served.pop().close()
            served.append(True)

    worker, = in_threads(work, 1)
    held.wait(PATIENCE)
    nester, = in_threads(nest, 1)
    looked = count_looks(pool)
    wait_until(lambda: len(looked) > 9)
    assert not log()
    done.set()
    join([worker, nester])
    assert served == [True]
    assert not log()


def test_nothing_is_said_if_a_holder_is_unknown(kind, log):
    pool = quickly(kind.make(maxconnections=1, blocking=True, track=False))
    looked, errors = count_looks(pool), []
    threads = wait_for_oneself(pool, errors)
    wait_until(lambda: len(looked) > 9)
    pool._core.queue.refuse_all()
    join(threads)
    assert errors == [kind.module.TooManyConnectionsError]
    assert not log()


def test_requests_of_others_do_not_hide_a_deadlock(kind, log):
    pool = quickly(kind.make(
        maxconnections=1, blocking=True, ondeadlock="raise"))
    errors, served = [], []
    held, go = Event(), Event()

    def nest():
        with pool.connection():
            held.set()
            go.wait(PATIENCE)
            try:
                pool.connection()
            except kind.module.PoolDeadlockError as error:
                errors.append(error)

    def borrow():
        with pool.connection():
            served.append(True)

    nester = in_threads(nest, 1)
    held.wait(PATIENCE)
    others = in_threads(borrow, 6)
    wait_until(lambda: pool.stats().waiting == 6)
    go.set()
    join(nester + others)
    assert len(errors) == 1
    assert len(served) == 6


@needs_fork
def test_a_forked_child_has_its_own_deadlocks(kind):
    pool = quickly(kind.make(
        maxconnections=1, blocking=True, ondeadlock="raise"))

    def nest():
        quickly(pool)
        with pool.connection():
            try:
                pool.connection()
            except kind.module.PoolDeadlockError:
                return "deadlock"
            return None

    with pool.connection():
        assert in_child(nest) == "deadlock"
    assert nest() == "deadlock"
