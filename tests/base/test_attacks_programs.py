"""What strangers do, and what was wrong when they did it."""

import gc
import importlib.util
import os
import sqlite3
import threading
from contextlib import suppress

import drivers
import programs
import pytest
from drivers import ready

from dbutils.pooled_db import PooledDB
from dbutils.testing import Proxy


@pytest.fixture
def collector_off():
    """The garbage collector does not come to help."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def make(**options):
    return PooledDB(
        sqlite3, database=":memory:", check_same_thread=False, **options)


@pytest.mark.parametrize("options", [
    {}, {"failover": "always"}, {"maxusage": 9},
    {"failures": (sqlite3.Error,), "failover": "always"},
], ids=str)
@pytest.mark.parametrize("call", [
    ("execute", "no statement"),
    ("execute", "insert into nothing values (?)", (1,)),
    ("executemany", "no statement", []),
    ("executescript", "no statement"),
], ids=lambda call: " ".join(map(str, call)))
def test_a_statement_that_fails_keeps_no_lease_that_was_dropped(
        collector_off, call, options):
    pool = make(maxconnections=1, **options)
    method, *args = call

    def checkout(begins):
        db = pool.connection()
        if begins:
            db.begin()
        getattr(db.cursor(), method)(*args)

    for begins in (False, True, False):
        with suppress(sqlite3.Error):
            checkout(begins)
        assert pool._connections == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
def test_a_child_that_was_forked_by_a_thread_ends_with_its_function():
    """Threads of ours kept it alive, since nothing ends them there."""
    assert programs.run("""
pool = make(mincached=1, keepalive=9, check_same_thread=False)
def fork():
    global child
    child = os.fork()
    if not child:
        ask(pool.connection())
thread = threading.Thread(target=fork)
thread.start()
thread.join()
assert os.waitpid(child, 0)[1] == 0
""", "sqlite3", {"database": ":memory:"}) == (0, "")


@pytest.mark.skipif(
    not importlib.util.find_spec("psycopg2"), reason="psycopg2 shares")
def test_a_share_of_a_connection_without_an_answer_is_had_in_time(
        servers_running):
    driver = ready(
        next(driver for driver in drivers.POSTGRESQL
             if driver.name == "psycopg2"), servers_running)
    with Proxy(driver.port) as proxy:
        pool = PooledDB(
            driver.load(), mincached=1, maxshared=1, maxconnections=1,
            maxwait=1, ping="select 1", **driver.parameters_for(proxy.port))
        first = pool.connection()
        proxy.swallow()
        answers = []
        thread = threading.Thread(
            target=lambda: answers.append(pool.connection()), daemon=True)
        thread.start()
        # or it would wait for a new connection after that, for ever
        thread.join(30)
        assert [type(db) for db in answers] == [type(first)]


@pytest.mark.parametrize("end", ["drain", "close"])
def test_a_shared_embedded_connection_is_not_closed_in_a_statement(end):
    """The process crashed."""
    assert programs.run("""
pool = make(maxshared=3, maxconnections=6, check_same_thread=False)
is_over = threading.Event()
def work():
    while not is_over.is_set():
        try:
            with pool.connection() as db:
                db.cursor().execute("select 1")
        except driver.Error:
            pass  # it was closed, as in DBUtils 3.x
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for _ in range(200):
    time.sleep(0.002)
    getattr(pool, sys.argv[2])()
is_over.set()
for thread in threads:
    thread.join()
""".replace("sys.argv[2]", repr(end)), "sqlite3", {"database": ":memory:"},
        seconds=60) == (0, "")
