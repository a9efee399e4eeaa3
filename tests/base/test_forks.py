"""A forked child uses and closes nothing that belongs to its parent."""

import subprocess
import sys

import pytest
from drivers import ask
from forking import in_child, needs_fork

from dbutils.persistent_db import PersistentDB
from dbutils.pooled_db import InvalidConnectionError, PooledDB
from dbutils.simple_pooled_db import PooledDB as SimplePooledDB
from dbutils.steady_db import InvalidCursorError, connect

pytestmark = needs_fork

WHO = {"postgresql": "select pg_backend_pid()",
       "mariadb": "select connection_id()"}


@pytest.fixture
def table(driver):
    driver.run("drop table if exists forks")
    driver.run("create table forks (id integer)")
    return "forks"


def test_a_child_begins_with_an_empty_pool(driver, table):
    who = WHO[driver.family]
    pool = PooledDB(
        driver.load(), mincached=3, maxconnections=4, **driver.parameters())
    lease = pool.connection()
    mine = ask(lease, who)
    lease.cursor().execute(f"insert into {table} values (1)")

    def work():
        sizes = pool._connections, len(pool._idle_cache)
        others = [pool.connection() for _ in range(4)]
        sessions = {ask(other, who) for other in others}
        with pytest.raises(InvalidConnectionError):
            lease.cursor()
        lease.close()
        del others
        pool.close()
        return sizes, sessions

    for _ in range(2):
        sizes, sessions = in_child(work)
        assert sizes == (0, 0)
        assert len(sessions) == 4
        assert mine not in sessions
    # the parent has noticed nothing
    assert ask(lease, who) == mine
    lease.commit()
    assert driver.run(f"select id from {table}") in ([(1,)], ((1,),), [[1]])
    lease.close()
    assert (pool._connections, len(pool._idle_cache)) == (0, 3)
    assert len({ask(pool.connection(), who) for _ in range(3)}) <= 3


@pytest.mark.slow
def test_a_cursor_of_the_parent_does_not_work_in_the_child(driver):
    pool = PooledDB(driver.load(), **driver.parameters())
    lease = pool.connection()
    cursor = lease.cursor()
    cursor.execute("select 1")
    cursor.fetchall()

    def work():
        with pytest.raises(InvalidCursorError):
            cursor.execute("select 2")
        return "refused"

    assert in_child(work) == "refused"
    assert ask(lease, "select 3") == 3


@pytest.mark.slow
def test_a_persistent_connection_belongs_to_one_process(driver):
    who = WHO[driver.family]
    persistent = PersistentDB(driver.load(), **driver.parameters())
    mine = ask(persistent.connection(), who)
    assert in_child(lambda: ask(persistent.connection(), who)) != mine
    assert ask(persistent.connection(), who) == mine


@pytest.mark.slow
def test_a_steady_connection_opens_another_one_in_the_child(driver):
    who = WHO[driver.family]
    con = connect(driver.load(), **driver.parameters())
    mine = ask(con, who)
    con.commit()
    assert in_child(lambda: ask(con, who)) != mine
    assert ask(con, who) == mine


@pytest.mark.slow
def test_a_transaction_stays_in_the_parent(driver, table):
    con = connect(driver.load(), **driver.parameters())
    con.begin()
    con.cursor().execute(f"insert into {table} values (1)")

    def work():
        try:
            con.cursor().execute(f"insert into {table} values (2)")
            con.commit()
        except Exception:
            return "an error"
        return "no error"

    assert in_child(work) == "an error"
    con.commit()
    assert driver.run(f"select id from {table}") in ([(1,)], ((1,),), [[1]])


@pytest.mark.slow
@pytest.mark.parametrize("threadsafety", [1, 2])
def test_a_simple_pool_opens_other_connections(driver, threadsafety):
    who = WHO[driver.family]

    class Module:
        connect = staticmethod(driver.load().connect)

    Module.threadsafety = threadsafety
    pool = SimplePooledDB(Module, 2, **driver.parameters())
    lease = pool.connection()
    mine = {ask(lease, who), ask(pool.connection(), who)}

    def work():
        with pytest.raises(AttributeError):
            lease.cursor()
        lease.close()
        return {ask(pool.connection(), who) for _ in range(4)}

    assert not in_child(work) & mine
    assert ask(lease, who) in mine
    for con in pool._connections:
        con.close()  # which such a pool never does


def test_an_unknown_connection_is_neither_used_nor_closed(dbapi, server):
    pool = PooledDB(dbapi, mincached=2)
    lease = pool.connection()
    lease.cursor().execute("select one")
    before = [list(con.session) for con in server.connections]

    def work():
        pool.connection().cursor().execute("select two")
        lease.close()
        pool.close()
        old = server.connections[:2]
        return [list(con.session) for con in old], [
            con.valid for con in old]

    assert in_child(work) == (before, [True, True])


SCRIPT = """
import os, sys
from dbutils.pooled_db import PooledDB
import {module} as module
pool = PooledDB(module, mincached=2, **{parameters})
lease = pool.connection()
cursor = lease.cursor()
cursor.execute("select 1")
cursor.fetchall()
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
    cursor.execute("select 2")
    assert cursor.fetchone()[0] == 2
    with pool.connection() as other:
        other.cursor().execute("select 3")
    print("fine")
else:
    with pool.connection() as other:
        other.cursor().execute("select 4")
"""


@pytest.mark.slow
def test_an_ordinary_exit_of_a_child_leaves_the_parent_alone(driver):
    script = SCRIPT.format(
        module=driver.name, parameters=driver.parameters())
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script],
        capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == ("fine", "")


