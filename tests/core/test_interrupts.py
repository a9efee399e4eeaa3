"""An exception, or a signal handler, at any point of the library."""

import ctypes
import gc
import random
import sys
import threading
from collections import deque
from contextlib import suppress
from threading import Event, Thread

import pytest
from drivers import BY_NAME, ask
from everywhere import STRIDE, Interrupt, sweep
from failing import failing_cursor
from folders import BENCHMARKS
from sweeps import LIMIT, Lease, assert_sound, make_pool
from tokens import wait_for_waiters

from dbutils._core.refusals import PoolTimeout
from dbutils._steady import statements
from dbutils._steady.cursor import ReplaceableCursor
from dbutils.pooled_db import PooledDB

# what is interrupted may just be ending, where nobody can catch anything
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _collected(monkeypatch):
    """Let no garbage be collected while steps are counted.

    An interrupt of a finalizer can only be reported, and a report that is
    kept would keep the variables of all functions that were running.
    """
    monkeypatch.setattr(
        sys, "unraisablehook", deque(maxlen=0).append, raising=False)
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_collector")
@pytest.mark.parametrize("limits", [
    {}, {"maxshared": 1}, {"maxcached": 1}, {"maxwaiting": 0}],
    ids=lambda limits: "".join(limits))
@pytest.mark.parametrize("idle", [False, True])
@pytest.mark.parametrize("does", ["take", "give", "both"])
def test_an_interrupt_anywhere_loses_nothing(does, idle, limits):
    def prepare():
        pool = make_pool(**limits)
        lease = Lease(pool, "maxshared" in limits)
        if idle or does == "give":
            lease.take()
        if idle and does != "give":
            lease.give()

        def work():
            if does != "give":
                lease.take()
            if does != "take":
                lease.give()

        def check():
            lease.permit = None
            assert_sound(pool)
        return work, check

    # every step is enough once: without the collector, alone and shared
    is_variant = gc.isenabled() or not {"maxshared"}.issuperset(limits)
    assert sweep(prepare, stride=5 if is_variant else STRIDE) > 100


def test_an_interrupt_while_another_one_is_served_loses_nothing():
    def prepare():
        pool = make_pool()
        pool.core.queue.first_look = 0.001
        leases = [Lease(pool) for _ in range(LIMIT)]
        for lease in leases:
            lease.take()
        served = []
        thread = Thread(target=lambda: served.append(
            pool.core.acquire(pool.backend.connect, None)))
        thread.start()
        wait_for_waiters(pool, 1)

        def check():
            leases[0].permit = None
            thread.join()
            assert len(served) == 1
            served.clear()
            for lease in leases:
                lease.permit = None
            assert_sound(pool)
        return leases[0].give, check

    assert sweep(prepare) > 100


def test_an_interrupt_in_the_wait_leaves_nothing_behind():
    def prepare():
        pool = make_pool()
        leases = [Lease(pool) for _ in range(LIMIT)]
        for lease in leases:
            lease.take()

        def work():
            with suppress(PoolTimeout):
                pool.core.acquire(pool.backend.connect, 0.001)

        def check():
            for lease in leases:
                lease.permit = None
            assert_sound(pool)
        return work, check

    assert sweep(prepare) > 100


@pytest.mark.skipif(
    not hasattr(sys, "monitoring"), reason="tracing keeps variables alive")
def test_an_interrupt_in_an_error_that_is_kept_loses_nothing():
    """A traceback keeps the variables of all functions alive."""
    def prepare():
        pool = make_pool()
        lease = Lease(pool)
        kept = []

        def work():
            try:
                lease.take()
            except Interrupt as error:
                kept.append(error)

        def check():
            lease.permit = None
            assert_sound(pool)
        return work, check

    assert sweep(prepare) > 100


@pytest.mark.parametrize("shareable", [False, True])
def test_a_signal_handler_can_use_the_pool_anywhere(shareable):
    pools = []

    def handler():
        pool = pools[-1]
        permit = pool.core.acquire(pool.backend.connect, 0)
        pool.core.release(permit.slot.con)

    def prepare():
        pool = make_pool(maxshared=int(shareable))
        pools.append(pool)
        lease = Lease(pool, shareable)

        def work():
            lease.take()
            lease.give()
        return work, lambda: assert_sound(pool)

    assert sweep(prepare, handler) > 100


class Victim(Thread):
    """Borrows connections while it is interrupted all the time."""

    def __init__(self, pool):
        super().__init__(daemon=True)
        self.pool = pool
        self.checkouts = 0
        self.hits = 0
        self.is_closed = False

    def run(self):
        while not self.is_closed:
            try:
                while not self.is_closed:
                    self.checkout()
            except Interrupt:
                self.hits += 1

    def checkout(self):
        with self.pool.dedicated_connection() as db:
            db.cursor().execute("select one")
            self.checkouts += 1

    def interrupt(self):
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(self.ident), ctypes.py_object(Interrupt))

    def end(self):
        """Let it end, although the last interrupt may hit anything."""
        self.is_closed = True
        self.join(20)
        assert not self.is_alive()


def test_twenty_thousand_interrupts_lose_nothing(monkeypatch, dbapi):
    # What hits a finalizer, or a thread outside of its loop, can only be
    # reported by Python, and the one who reports it must not be hit, so it is
    # a function written in C.
    for module, hook in ((sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(
            module, hook, deque(maxlen=0).append, raising=False)
    # For the same reason the threads are not traced: what measures the
    # coverage has a lock that it would not release if it were hit.
    monkeypatch.setattr(threading, "_trace_hook", None)
    pool = PooledDB(dbapi, maxconnections=LIMIT, blocking=True)
    # Nothing may be imported for the first time below: an interrupt there can
    # leave Python's own lock of imports locked for ever.
    with pool.dedicated_connection() as db:
        db.cursor().execute("select one")
    victims = [Victim(pool) for _ in range(4)]
    for victim in victims:
        victim.start()
    rng = random.Random(1)
    pause = Event()
    while sum(victim.hits for victim in victims) < 20_000:
        for victim in victims[-4:]:
            if not victim.is_alive():  # it was hit outside of its loop
                victims.remove(victim)
                victims.insert(0, victim)
                victims.append(Victim(pool))
                victims[-1].start()
        for victim in victims[-4:]:
            victim.interrupt()
        pause.wait(rng.random() / 10_000)
    for victim in victims:
        victim.end()
    gc.collect()
    assert sum(victim.checkouts for victim in victims) > 100
    assert pool._connections == 0
    leases = [pool.dedicated_connection(maxwait=0) for _ in range(LIMIT)]
    assert len({id(lease._con) for lease in leases}) == LIMIT


class TimeLimitError(Exception):
    """What a signal handler may raise, as that of Celery does."""


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("interrupt", [Interrupt, TimeLimitError])
def test_a_connection_whose_statement_was_interrupted_does_not_stay(
        driver, interrupt, is_known):
    """An answer may be unread, which is not for the next borrower."""
    pool = PooledDB(driver.load(), **driver.parameters())
    with pool.connection() as db:
        session = ask(db, driver.who_am_i)
        db.commit()
        statements.seen.clear()
        if is_known:
            assert ask(db, "select 1") == 1
        with pytest.raises(interrupt):
            failing_cursor(db, interrupt).execute("select 1")
    assert len(pool._idle_cache) == 0
    with pool.connection() as db:
        assert ask(db, driver.who_am_i) != session
    pool.close()


@pytest.mark.parametrize("verb", ["commit", "rollback"])
def test_a_connection_whose_end_was_interrupted_does_not_stay(
        monkeypatch, dbapi, verb):
    # what tells whether it is in a transaction gets the safe rules
    monkeypatch.setattr(
        dbapi.Connection, "in_transaction", False, raising=False)
    pool = PooledDB(dbapi)
    with pool.connection() as db:
        con = db.dbapi_connection

        def interrupted_end():
            raise Interrupt

        monkeypatch.setattr(con, verb, interrupted_end)
        with pytest.raises(Interrupt):
            getattr(db, verb)()
        monkeypatch.undo()
    assert len(pool._idle_cache) == 0


@pytest.mark.parametrize("is_telling", [False, True])
def test_a_connection_whose_return_was_interrupted_does_not_stay(
        monkeypatch, dbapi, is_telling):
    if is_telling:
        monkeypatch.setattr(
            dbapi.Connection, "in_transaction", True, raising=False)
    pool = PooledDB(dbapi, maxconnections=1)
    lease = pool.connection()
    con = lease.dbapi_connection

    def interrupted_end():
        raise Interrupt

    monkeypatch.setattr(con, "rollback", interrupted_end)
    with pytest.raises(Interrupt):
        lease.close()
    monkeypatch.undo()
    assert len(pool._idle_cache) == 0
    assert pool.connection(maxwait=0).dbapi_connection is not con


def test_a_connection_whose_quick_return_was_interrupted_does_not_stay(
        monkeypatch):
    """A rollback is all that the driver needs, and nothing was shown."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import nothing
    pool = PooledDB(nothing, maxconnections=1)
    pool.connection().close()
    session = pool._idle_cache[0]._own_session
    con, lease = session.con, pool.connection()
    assert session.leave is None

    def interrupted_end():
        raise Interrupt

    monkeypatch.setattr(con, "rollback", interrupted_end)
    with pytest.raises(Interrupt):
        lease.close()
    monkeypatch.delattr(con, "rollback")
    assert pool.connection(maxwait=0).dbapi_connection is not con


def test_a_connection_whose_beginning_was_interrupted_does_not_stay(
        monkeypatch, dbapi):
    monkeypatch.setattr(
        dbapi.Connection, "in_transaction", False, raising=False)
    pool = PooledDB(dbapi)
    with pool.connection() as db:
        def interrupted_begin():
            raise Interrupt

        monkeypatch.setattr(
            db.dbapi_connection, "begin", interrupted_begin, raising=False)
        with pytest.raises(Interrupt):
            db.begin()
        monkeypatch.undo()
    assert len(pool._idle_cache) == 0


@pytest.mark.parametrize(
    "driver", [BY_NAME["psycopg2"]], indirect=True, ids=repr)
def test_a_connection_whose_repeated_statement_was_interrupted_does_not_stay(
        monkeypatch, driver):
    pool = PooledDB(driver.load(), **driver.parameters())

    def interrupted_call(hand, call, cursor):
        raise Interrupt

    with pool.connection() as db:
        assert ask(db, "select 1") == 1
        db.rollback()
        cursor = failing_cursor(
            db, driver.load().OperationalError, db.dbapi_connection.close)
        monkeypatch.setattr(ReplaceableCursor, "_own_call", interrupted_call)
        with pytest.raises(Interrupt):
            cursor.execute("select 1")
        monkeypatch.undo()
    assert len(pool._idle_cache) == 0
    pool.close()
