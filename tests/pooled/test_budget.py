"""The hot paths do not become longer by the way.

Calls are counted, since their number does not depend on the mood of the
machine.  Whoever makes a path shorter lowers the budget.
"""

import sys
from threading import Thread

import pytest
from folders import BENCHMARKS
from patience import wait_until

from dbutils.persistent_db import PersistentDB
from dbutils.pooled_db import PooledDB
from dbutils.pooled_pg import PooledPg
from dbutils.simple_pooled_db import PooledDB as SimplePooledDB
from dbutils.steady_db import connect


def counted(function):
    """Return which functions a call leads to, those in C, too."""
    calls = []

    def note(frame, event, arg):
        if event in {"call", "c_call"}:
            calls.append(getattr(arg, "__name__", frame.f_code.co_name))

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls[1:-1]  # without the function, and the end of counting


def calls_of(function):
    """Return those of a call for which everything is there already."""
    function()
    function()
    return counted(function)


@pytest.fixture
def nothing(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import nothing
    return nothing


def make_pool(nothing, **options):
    return PooledDB(nothing, mincached=1, maxconnections=5, **options)


def checkout(nothing):
    pool = make_pool(nothing, ping=0)
    return lambda: pool.connection().close()


def visit_with_ping(nothing):
    pool = make_pool(nothing.PingingConnection, failures=nothing.Error)
    return lambda: pool.connection().close()


def visit_pg(nothing):
    pool = PooledPg(1, 5, 5)
    return lambda: pool.connection().close()


def block(nothing):
    pool = make_pool(nothing, ping=0)

    def work():
        with pool.connection():
            pass
    return work


def statement(nothing):
    pool = make_pool(nothing, ping=0)

    def work():
        with pool.connection() as con:
            read(con.cursor())
    return work


def read(cursor):
    cursor.execute("select one")
    cursor.fetchone()
    cursor.close()


def hardened(nothing):
    nothing.connect = nothing.TellingConnection
    con = connect(nothing)
    return lambda: read(con.cursor())


def simple(nothing):
    nothing.threadsafety = 1
    pool = SimplePooledDB(nothing, 5)
    return lambda: pool.connection().close()


def persistent(nothing):
    persist = PersistentDB(nothing, ping=0)
    return lambda: persist.connection().close()


@pytest.mark.parametrize(("make", "budget"), [
    (checkout, 10), (visit_pg, 20), (visit_with_ping, 13), (block, 12),
    (statement, 24), (hardened, 12), (simple, 5), (persistent, 2)])
def test_the_hot_paths_keep_to_their_budgets(
        nothing, pg, monkeypatch, make, budget):
    for name in ("connect", "threadsafety"):
        monkeypatch.setattr(nothing, name, getattr(nothing, name))
    monkeypatch.setattr(
        nothing.PingingConnection, "threadsafety", 2, raising=False)
    calls = calls_of(make(nothing))
    assert len(calls) <= budget, calls
    assert len(calls) > budget - 3, "the budget can be lowered"


def hand_over(pool):
    """Return the calls of one who waits, and of one who gives back."""
    taken, calls = [], []
    con = pool.connection()

    def wait():
        calls.append(counted(lambda: taken.append(pool.connection())))
    thread = Thread(target=wait)
    thread.start()
    wait_until(lambda: pool.stats().waiting)
    calls.append(counted(lambda: con.close()))
    thread.join()
    taken.pop().close()
    return sorted(map(len, calls))


def test_handing_over_a_connection_keeps_to_its_budget(nothing):
    # the fewest of some, since who waits long looks around now and then
    pool = PooledDB(nothing, maxconnections=1, blocking=True, ping=0)
    giving, waiting = map(min, zip(*[hand_over(pool) for _ in range(5)]))
    # with the calls by which the use begins when the wait is over
    assert 59 < waiting <= 62
    assert 24 < giving <= 28
