"""Whole transactions, committed, rolled back, and repeated."""

import sqlite3
from threading import Barrier, Thread

import drivers
import pytest
from drivers import ask, insert, numbers_in

from dbutils._pooled import transactions
from dbutils.pooled_db import CommitUnknownError, PooledDB


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Do not pause, but tell for how long that would have been."""
    seen = []
    monkeypatch.setattr(transactions.time, "sleep", seen.append)
    return seen


@pytest.fixture
def pool(dbapi):
    pool = PooledDB(dbapi, maxconnections=2)
    yield pool
    pool.close()


def test_a_transaction_is_begun_and_committed(pool, server):
    server.has_begin = True
    with pool.transaction() as db:
        db.cursor().execute("select 1")
    verbs = [entry[0] for entry in server.log]
    assert verbs.index("begin") < verbs.index("commit")
    assert pool._connections == 0


def test_a_transaction_with_an_error_is_rolled_back(pool, server):
    with pytest.raises(ZeroDivisionError), pool.transaction():
        raise ZeroDivisionError
    assert "commit" not in [entry[0] for entry in server.log]
    assert "rollback" in [entry[0] for entry in server.log]


def test_a_transaction_has_a_connection_of_its_own(dbapi):
    pool = PooledDB(dbapi, maxshared=1, maxconnections=2)
    with pool.connection() as shared, pool.transaction() as own:
        assert shared._con is not own._con


def test_a_function_is_run_in_a_transaction(pool, server):
    assert pool.run(lambda db: db._con._transaction) is True
    assert "commit" in [entry[0] for entry in server.log]


def test_a_function_is_run_again_when_the_connection_was_lost(
        pool, server, pauses):
    def work(db):
        server.connections[-1].cut() if len(calls) < 2 else None
        calls.append(db)
        db.cursor().execute("select 1")
        return "done"

    calls = []
    assert pool.run(work) == "done"
    assert len(calls) == 3
    assert len(pauses) == 2
    assert 0 < pauses[0] < pauses[1] * 2


def test_an_error_of_the_program_is_raised_at_once(pool, pauses):
    with pytest.raises(ZeroDivisionError):
        pool.run(lambda db: 1 / 0)
    assert pauses == []


def test_after_so_many_times_the_error_is_raised(pool, server, dbapi, pauses):
    def work(db):
        calls.append(db)
        raise dbapi.OperationalError("lost")

    calls = []
    with pytest.raises(dbapi.OperationalError):
        pool.run(work, retries=5)
    assert len(calls) == 6
    assert len(pauses) == 5


def test_what_may_have_been_committed_is_not_repeated(pool, server, dbapi):
    def work(db):
        calls.append(db)
        server.fail("commit", dbapi.OperationalError)

    calls = []
    with pytest.raises(CommitUnknownError) as info:
        pool.run(work)
    assert len(calls) == 1
    assert isinstance(info.value.__cause__, dbapi.OperationalError)
    assert pool._connections == 0


class CountingCursor(sqlite3.Cursor):
    """A cursor that counts what is executed."""

    executed = 0

    def execute(self, *args):
        CountingCursor.executed += 1
        return super().execute(*args)


class Counting(sqlite3.Connection):
    """A connection with counting cursors."""

    def cursor(self):
        return super().cursor(CountingCursor)


def test_a_locked_sqlite_file_is_not_waited_for_again(tmp_path):
    pool = PooledDB(
        sqlite3, database=str(tmp_path / "locked"), timeout=0,
        factory=Counting)
    with pool.connection() as one, pool.connection() as other:
        ask(one, "create table it (id integer)")
        ask(one, "begin immediate")
        before = CountingCursor.executed
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            ask(other, "insert into it values (1)")
        assert CountingCursor.executed == before + 1
        one.rollback()
        ask(other, "insert into it values (2)")
        other.commit()
        assert ask(one, "select count(*) from it") == 1
    pool.close()


@pytest.fixture
def real_pool(driver):
    """A pool of real connections."""
    pool = PooledDB(
        driver.load(), maxconnections=8, blocking=True, **driver.parameters())
    yield pool
    pool.close()


def test_a_lost_connection_repeats_the_transaction(driver, real_pool):
    def work(db):
        insert(db, table, 1)
        if not calls:
            driver.kill(ask(db, driver.who_am_i))
        calls.append(db)
        insert(db, table, 2)

    table = driver.new_table("repeated")
    calls = []
    real_pool.run(work)
    assert len(calls) == 2
    assert numbers_in(driver, table) == [1, 2]


def test_an_unknown_outcome_of_a_commit_is_reported(driver, real_pool):
    def work(db):
        calls.append(db)
        insert(db, table, 1)
        driver.kill(ask(db, driver.who_am_i))

    table = driver.new_table("perhaps")
    calls = []
    with pytest.raises(CommitUnknownError):
        real_pool.run(work)
    assert len(calls) == 1
    assert numbers_in(driver, table) == []


def run_by_hand(pool, function, error):
    """Repeat a transaction that was not begun with begin()."""
    while True:
        try:
            with pool.connection() as db:
                function(db)
                db.commit()
        except error:
            continue
        return


@pytest.mark.slow
@pytest.mark.parametrize("by_hand", [False, True])
def test_transfers_that_deadlock_make_no_money(driver, real_pool, by_hand):
    """Four threads move money between two accounts in different orders."""
    def move(number):
        source, target = (1, 2) if number % 2 else (2, 1)

        def transfer(db):
            update = f"update {table} set value = value + %s where id = %s"
            ask(db, update, -1, source)
            ask(db, update, 1, target)

        barrier.wait()
        for _ in range(10):
            if by_hand:
                run_by_hand(real_pool, transfer, driver.error)
            else:
                real_pool.run(transfer, retries=1000)

    table = driver.new_table("bank")
    driver.run(f"insert into {table} values (1, 1000), (2, 1000)")
    barrier = Barrier(4)
    threads = [Thread(target=move, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert driver.run(f"select value from {table} order by id") == [
        (1000,), (1000,)]


@pytest.mark.parametrize(
    "driver", drivers.POSTGRESQL, indirect=True, ids=repr)
def test_a_serialization_failure_repeats_the_transaction(driver, real_pool):
    def work(db):
        ask(db, "set transaction isolation level serializable")
        total = ask(db, f"select sum(value) from {table}")
        if not calls:
            real_pool.run(interfere)
        calls.append(total)
        ask(db, f"update {table} set value = %s where id = 1", total + 1)

    def interfere(db):
        ask(db, f"update {table} set value = value + 10 where id = 1")

    table = driver.new_table("serialized")
    driver.run(f"insert into {table} values (1, 1)")
    calls = []
    real_pool.run(work)
    assert calls == [1, 11]
    assert driver.run(f"select value from {table}") == [(12,)]


@pytest.mark.parametrize(
    "driver", drivers.POSTGRESQL, indirect=True, ids=repr)
def test_a_server_that_takes_no_writes_retires_the_connection(
        driver, real_pool):
    table = driver.new_table("demoted")
    with real_pool.connection() as db:
        session = ask(db, driver.who_am_i)
        ask(db, "set transaction read only")
        with pytest.raises(driver.error):
            insert(db, table, 1)
    with real_pool.connection() as db:
        assert ask(db, driver.who_am_i) != session
        insert(db, table, 1)
        db.commit()
    assert numbers_in(driver, table) == [1]
