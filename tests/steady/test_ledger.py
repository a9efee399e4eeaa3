"""Nothing is lost, nothing is doubled, nothing is stored in part.

Eight workers store units of several rows while a killer ends their sessions
on the server at random.  Afterwards every unit is counted.
"""

import random
from collections import Counter
from threading import Event, Thread

import drivers
import pytest
from drivers import autocommitting, ready

from dbutils.pooled_db import PooledDB

WORKERS = 8
KILLS = 300 if drivers.IN_CI else 60
STEPS = 3

THE_DRIVERS = [
    driver for driver in drivers.POSTGRESQL + drivers.MARIADB
    if driver.name in {"psycopg2", "psycopg", "pymysql"}]


@pytest.fixture(params=THE_DRIVERS, ids=repr)
def driver(request, servers_running):
    return ready(request.param, servers_running)


class Killer:
    """End random sessions of other connections on the server."""

    def __init__(self, driver):
        self.family = driver.family
        self.con = driver.connect()
        self.cursor = self.con.cursor()
        self.kills = 0

    def run(self, workers, is_enough):
        """Do so until enough were ended, or nobody works any more."""
        pause = Event()
        while any(map(Thread.is_alive, workers)):
            self.kill_one()
            pause.wait(random.random() / 100)
            if self.kills >= KILLS and is_enough():
                break
        self.con.close()

    def kill_one(self):
        if self.family == "postgresql":
            self.cursor.execute(
                "select pid, pg_terminate_backend(pid) from (select pid from"
                " pg_stat_activity where backend_type = 'client backend' and"
                " pid <> pg_backend_pid() order by random() limit 1) as one")
            self.kills += len(self.cursor.fetchall())
            self.con.commit()
            return
        self.cursor.execute(
            "select id from information_schema.processlist"
            " where id <> connection_id() and user = 'root'"
            " order by rand() limit 1")
        for session, in self.cursor.fetchall():
            try:
                self.cursor.execute(f"kill {session}")
            except self.con.Error:  # it has just ended by itself
                continue
            self.kills += 1


class Ledger:
    """The units that were stored, and what was said about each."""

    def __init__(self, driver, table, pool, mode):
        self.error = driver.load().Error
        self.table = table
        self.pool = pool
        self.mode = mode
        self.said = {}
        self.errors = []

    def work(self, first, done):
        """Store units until told to stop."""
        unit = first
        try:
            while not done.is_set():
                self.said[unit] = self.store(unit)
                unit += WORKERS
        except BaseException as error:
            self.errors.append(error)
            raise

    def store(self, unit):
        """Store a unit; return what is known about it then."""
        is_last = False
        try:
            with self.pool.connection() as db:
                if self.mode == "begin":
                    db.begin()
                cursor = db.cursor()
                for step in range(1 if self.mode == "autocommit" else STEPS):
                    cursor.execute(f"select count(*) from {self.table}_read")
                    cursor.fetchall()
                    is_last = self.mode == "autocommit"
                    cursor.execute(
                        f"insert into {self.table} values (%s, %s)",
                        (unit, step))
                is_last = True
                if self.mode != "autocommit":
                    db.commit()
        except Exception as error:
            notes = "".join(getattr(error, "__notes__", ()))
            # psycopg can stumble over the loss itself, with a ValueError
            if not isinstance(error, self.error) and "DBUtils:" not in notes:
                raise
            if self.mode == "autocommit":
                return "unknown" if is_last else "failed"
            return "unknown" if "unknown whether" in notes else "failed"
        return "stored"

    def is_telling(self):
        """Check that enough was stored, and enough work was hit."""
        outcomes = Counter(list(self.said.values()))
        return (outcomes["stored"] > KILLS
                and outcomes["failed"] + outcomes["unknown"] > KILLS / 15)

    def check(self, rows):
        """Compare what was said with what is there."""
        found = Counter(unit for unit, _ in rows)
        size = 1 if self.mode == "autocommit" else STEPS
        assert len(set(rows)) == len(rows), "something is stored twice"
        assert set(found.values()) <= {size}, "something is stored in part"
        assert set(found) <= set(self.said)
        for unit, outcome in self.said.items():
            if outcome != "unknown":
                assert (unit in found) == (outcome == "stored"), unit


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["begin", "implicit", "autocommit"])
def test_nothing_is_lost_or_doubled_under_kills(driver, mode):
    table = f"ledger_{mode}"
    for name in (table, f"{table}_read"):
        driver.run(f"drop table if exists {name}")
        driver.run(f"create table {name} (unit integer, step integer)")
    creator = driver.load().connect
    if mode == "autocommit":
        creator = autocommitting(creator)
    pool = PooledDB(
        creator, maxconnections=WORKERS, blocking=True, maxusage=50,
        **driver.parameters())
    ledger = Ledger(driver, table, pool, mode)
    killer = Killer(driver)
    work_under_kills(ledger, killer)
    assert ledger.errors == []
    pool.close()
    ledger.check(driver.run(f"select unit, step from {table}"))
    assert killer.kills >= KILLS
    assert ledger.is_telling()


def work_under_kills(ledger, killer):
    """Let all work until enough sessions were killed."""
    done = Event()
    workers = [Thread(target=ledger.work, args=(first, done))
               for first in range(WORKERS)]
    for worker in workers:
        worker.start()
    try:
        killer.run(workers, ledger.is_telling)
    finally:
        done.set()
        for worker in workers:
            worker.join()


@pytest.mark.slow
def test_who_only_reads_does_not_notice_that_idle_connections_are_killed(
        driver):
    table = driver.new_table("only_read")
    pool = PooledDB(
        driver.load().connect, maxconnections=4, mincached=4,
        **driver.parameters())
    for _ in range(25):
        with pool.connection() as db, db.cursor() as cursor:
            cursor.execute(driver.who_am_i)
            session = cursor.fetchone()[0]
        driver.kill(session)
        for _ in range(4):
            with pool.connection() as db, db.cursor() as cursor:
                cursor.execute(f"select count(*) from {table}")
                assert cursor.fetchone()[0] == 0
    pool.close()
