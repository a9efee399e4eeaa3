"""Exceptions thrown into threads that work on real drivers lose nothing.

Five threads store units of several rows on three connections, while others
throw exceptions into them, as time limits and cancelled tasks do.  Afterwards
every unit is counted.
"""

import ctypes
import gc
import os
import random
import socket
import sys
import threading
from collections import Counter, deque
from contextlib import contextmanager
from itertools import count
from threading import Event, Thread

import drivers
import pytest
from drivers import ask, autocommitting, ready
from failing import failing_cursor

from dbutils._drivers.registry import driver_of
from dbutils.pooled_db import PooledDB

WORKERS = 5
LIMIT = 3
STEPS = 3
THROWS = 500
PATIENCE = 30  # seconds after which a thread that does not end is stuck

THE_DRIVERS = drivers.POSTGRESQL + drivers.MARIADB

pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning",  # of drivers that were hit while opening one
    "ignore:DB-API extension")  # of pg8000


@pytest.fixture(params=THE_DRIVERS, ids=repr)
def driver(request, servers_running):
    return ready(request.param, servers_running)


class Thrown(BaseException):
    """What is thrown into a thread."""


class Worker(Thread):
    """Stores units, and notes before each step what an end there means."""

    def __init__(self, ledger, first):
        super().__init__(daemon=True)
        self.ledger = ledger
        self.units = count(first * 1_000_000)
        self.is_open = False  # whether an exception may be thrown
        self.is_closed = False
        self.hits = 0
        self.stored = self.stored_before = 0

    def run(self):
        while not self.is_closed:
            try:
                self.is_open = True
                while not self.is_closed:
                    self.store(next(self.units))
            except Thrown:
                self.hits += 1

    def store(self, unit):
        ledger = self.ledger
        ledger.said[unit] = "failed"
        try:
            with ledger.pool.connection() as db:
                if ledger.mode == "begin":
                    db.begin()
                self.insert(db.cursor(), unit)
                if ledger.mode != "autocommit":
                    ledger.said[unit] = "unknown"
                    db.commit()
                ledger.said[unit] = "stored"
                self.stored += 1
        except Exception as error:
            ledger.errors.append(error)

    def insert(self, cursor, unit):
        ledger = self.ledger
        for step in range(1 if ledger.mode == "autocommit" else STEPS):
            cursor.execute("select %s + 0, %s + 0", (unit, step))
            answer = tuple(map(int, cursor.fetchone()))
            if answer != (unit, step):
                ledger.wrong.append((unit, step, answer))
            if ledger.mode == "autocommit":
                ledger.said[unit] = "unknown"
            cursor.execute(
                f"insert into {ledger.table} values (%s, %s)", (unit, step))

    def may_be_hit(self, chance):
        """Tell whether it is its turn: mostly, if it has stored something."""
        has_stored = self.stored > self.stored_before
        return self.is_open and chance < (.3 if has_stored else .02)

    def throw(self):
        self.stored_before = self.stored
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(self.ident), ctypes.py_object(Thrown))


class Ledger:
    """The units that were stored, and what was said about each."""

    def __init__(self, driver, table, pool, mode):
        self.error = driver.load().Error
        self.table = table
        self.pool = pool
        self.mode = mode
        self.said = {}
        self.errors = []
        self.wrong = []
        self.workers = []

    def size(self):
        return 1 if self.mode == "autocommit" else STEPS

    def faults(self, rows):
        """Return how often what has gone wrong."""
        found = Counter(unit for unit, _ in rows)
        return {
            "doubled": len(rows) - len(set(rows)),
            "partial": sum(
                number < self.size() for number in found.values()),
            "lost": sum(
                said == "stored" and unit not in found
                for unit, said in self.said.items()),
            "torn": sum(
                self.said.get(unit, "failed") == "failed" for unit in found),
            "wrong": len(self.wrong)}

    def work(self):
        """Let all work until enough exceptions were raised in them."""
        self.workers = [Worker(self, number) for number in range(WORKERS)]
        numbers = count(WORKERS)
        for worker in self.workers:
            worker.start()
        rng, pause = random.Random(1), Event()
        while self.hits() < THROWS:
            for worker in self.workers[-WORKERS:]:
                if not worker.is_alive():  # it was hit outside of its loop
                    self.workers.remove(worker)
                    self.workers.insert(0, worker)
                    self.workers.append(Worker(self, next(numbers)))
                    self.workers[-1].start()
                elif worker.may_be_hit(rng.random()):
                    worker.throw()
            pause.wait(rng.random() / 200)
        return self.end()

    def hits(self):
        """Return how many exceptions were raised."""
        return sum(worker.hits for worker in self.workers)

    def end(self):
        """End the work; return how many do not come to an end."""
        for worker in self.workers:
            worker.is_closed = True
        for worker in self.workers:
            worker.join(PATIENCE)
        return sum(worker.is_alive() for worker in self.workers)

    def places_lost(self):
        """Return how many places cannot be taken any more."""
        gc.collect()
        leases = []
        for _ in range(LIMIT):
            try:
                leases.append(self.pool.dedicated_connection(maxwait=1))
            except self.pool._too_many_error:
                break
        number = LIMIT - len(leases)
        for lease in leases:
            lease.close()
        return number


@pytest.fixture
def reports(monkeypatch):
    """What Python could only report, since nobody could catch it.

    What reports must not be hit itself, so it is a function written in C.
    """
    reports = deque()
    monkeypatch.setattr(
        threading, "excepthook", deque(maxlen=0).append, raising=False)
    monkeypatch.setattr(
        sys, "unraisablehook", reports.append, raising=False)
    # what measures the coverage would not release its lock if it were hit
    monkeypatch.setattr(threading, "_trace_hook", None)
    yield reports
    reports.clear()


def of_ours(reports):
    """Return what was reported of finalizers and callbacks of ours.

    Since Python 3.11 an exception can be raised at the entry of a function,
    before its first statement.  No finalizer can do anything about that.
    """
    return [
        repr(report.object) for report in reports
        if getattr(report.object, "__module__", "").startswith("dbutils")
        and report.exc_traceback is not None
        and report.exc_traceback.tb_next is not None]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["begin", "implicit", "autocommit"])
def test_nothing_is_lost_or_doubled_by_what_is_thrown(
        driver, mode, reports, request):
    table = f"thrown_{mode}"
    driver.run(f"drop table if exists {table}")
    driver.run(f"create table {table} (unit bigint, step integer)")
    creator = driver.load()
    if mode == "autocommit":
        creator = autocommitting(creator.connect)
    pool = PooledDB(
        creator, maxconnections=LIMIT, blocking=True, **driver.parameters())
    ledger = Ledger(driver, table, pool, mode)
    stuck = ledger.work()
    figures = {"stuck": stuck, "places": 0 if stuck else ledger.places_lost()}
    pool.close()
    figures.update(ledger.faults(
        driver.run(f"select unit, step from {table}")))
    figures["reported"] = len(of_ours(reports))
    said = Counter(ledger.said.values())
    # what --junitxml writes
    request.node.user_properties.append(
        ("figures", {**figures, **said, "hits": ledger.hits()}))
    assert set(figures.values()) == {0}, (figures, of_ours(reports)[:5])
    assert ledger.hits() >= THROWS
    assert said["stored"] > THROWS / 10


def descriptor_of(con):
    """Return the descriptor of the socket of a driver connection."""
    number = driver_of(con).descriptor(con)
    if number is None:
        pytest.skip("this release of the driver does not show its socket")
    return number


@contextmanager
def witness(con):
    """Have another descriptor of the socket of a driver connection."""
    number = os.dup(descriptor_of(con))
    with socket.socket(fileno=number) as copy:
        yield copy


def test_a_connection_in_doubt_sends_nothing_when_it_is_closed(driver):
    """What the driver has in its buffer may be with the server already."""
    pool = PooledDB(driver.load(), **driver.parameters())
    db = pool.connection()
    ask(db, "select 1")
    with witness(db.dbapi_connection) as copy:
        with pytest.raises(Thrown):
            failing_cursor(db, Thrown).execute("select 1")
        db.close()
        with pytest.raises(BrokenPipeError):
            copy.send(b"x")
    assert len(pool._idle_cache) == 0
    pool.close()


def test_a_connection_that_is_not_in_doubt_says_good_bye(driver):
    pool = PooledDB(driver.load(), **driver.parameters())
    db = pool.connection()
    con = db.dbapi_connection
    with witness(con) as copy:
        db.close()
        pool.close()
        assert copy.send(b"x") == 1


def test_the_socket_of_somebody_else_is_not_shut_down(driver):
    """The driver may have closed its socket when it was interrupted."""
    pool = PooledDB(driver.load(), **driver.parameters())
    db = pool.connection()
    con = db.dbapi_connection
    number = descriptor_of(con)
    cursor = failing_cursor(db, Thrown, con.close)
    with pytest.raises(Thrown):
        cursor.execute("select 1")
    here, there = socket.socketpair()
    with here, there:
        # what is opened next has its number
        is_free = number not in {here.fileno(), there.fileno()}
        if is_free:
            os.dup2(here.fileno(), number)
        db.close()
        assert here.send(b"x") == there.send(b"x") == 1
        if is_free:
            os.close(number)
    pool.close()
