"""The hot paths do not become longer by the way.

Calls are counted, since their number does not depend on the mood of the
machine.  Whoever makes a path shorter lowers the budget.
"""

import sys
from pathlib import Path

import pytest

from dbutils.pooled_db import PooledDB

BENCHMARKS = Path(__file__).resolve().parent / "benchmarks"


def calls_of(function):
    """Return how many functions a call leads to, those in C, too."""
    calls = []

    def note(frame, event, arg):
        if event in {"call", "c_call"}:
            calls.append(getattr(arg, "__name__", frame.f_code.co_name))

    function()
    function()  # now everything is there that is made only once
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls[1:-1]  # without the function, and the end of counting


@pytest.fixture
def pool(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import nothing
    return PooledDB(nothing, mincached=1, maxconnections=5, ping=0)


def visit(pool):
    pool.connection().close()


def block(pool):
    with pool.connection():
        pass


def statement(pool):
    con = pool.connection()
    cursor = con.cursor()
    cursor.execute("select one")
    cursor.fetchone()
    cursor.close()
    con.close()


@pytest.mark.parametrize(("work", "budget"), [
    (visit, 45), (block, 47), (statement, 88)])
def test_the_hot_paths_keep_to_their_budgets(pool, work, budget):
    calls = calls_of(lambda: work(pool))
    assert len(calls) <= budget, calls
    assert len(calls) > budget - 5, "the budget can be lowered"
