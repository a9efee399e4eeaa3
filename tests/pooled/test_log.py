"""What a pool tells the logger, and the events that it keeps."""

import logging
import re
import subprocess
import sys
from operator import attrgetter

import pytest
from folders import ROOT
from forking import in_child, needs_fork
from kinds import for_every_kind
from patience import PATIENCE
from refusals import Driver, RefusedError

from dbutils._core import explaining
from dbutils._core import story as stories
from dbutils._core.story import KEPT
from dbutils.pooled_db import PooledDB
from dbutils.testing import ScriptedDriver

SECRET = "TopSecret"
MARK = r" \[DBU-\d\d\]"
LOST = "Connection 0 was lost: the server has closed it, or does not answer"


@pytest.fixture
def told(caplog):
    """Return the records of some events that were logged since the last time.

    Each is a tuple of the level, and of the text without the name of the pool
    and without its mark.
    """
    caplog.set_level(logging.DEBUG, "dbutils")

    def told(*events):
        records = [
            record for record in caplog.records
            if record.name == "dbutils" and record.event in events]
        caplog.clear()
        return [
            (record.levelname, re.sub(
                MARK, "", record.getMessage().partition(": ")[2]))
            for record in records]

    told.records = caplog.records
    return told


def stop(pool):
    """Stop the clock of the story of a pool; return how to put it forward."""
    now = [1000.0]
    pool._core.story.clock = lambda: now[0]

    def forward(seconds):
        now[0] += seconds
    return forward


LIFE = ("created", "resized", "cleared", "drained", "shut_down")


@for_every_kind
def test_the_life_of_a_pool_is_told(kind, told):
    pool = kind.make(maxconnections=3, mincached=1)
    pool._maxconnections = 2
    pool._maxconnections = 2  # which changes nothing
    pool.drain()
    pool.close()
    pool.shutdown()
    pool.shutdown()
    limits = "(maxconnections={}, mincached=1, connecting=4)"
    assert told(*LIFE) == [
        ("INFO", f"The pool was created {limits.format(3)}"),
        ("INFO", f"The pool was resized {limits.format(2)}"),
        ("INFO", "The pool is drained: all connections are replaced"),
        ("INFO", "The idle connections were closed"),
        ("INFO", "The pool is shut down")]


@for_every_kind
def test_the_life_of_connections_is_told(kind, told):
    pool = kind.make()
    first, second = pool.connection(), pool.connection()
    for record in told.records:
        if record.event == "opened":
            assert record.seconds >= 0
    assert [text[:24] for _, text in told("opened")] == [
        "Connection 0 was opened ", "Connection 1 was opened "]
    first.close()
    pool.close()
    assert told("closed") == [
        ("DEBUG", "Connection 0 was closed: cleared")]
    pool.drain()
    assert told("retired") == [
        ("DEBUG", "Connection 1 is retired, and closed after use")]
    second.close()
    assert told("closed", "lost") == [
        ("DEBUG", "Connection 1 was closed: cleared")]


def test_it_is_told_why_a_connection_was_replaced(dbapi, told):
    pool = PooledDB(dbapi, maxusage=1)
    db = pool.connection()
    db._con.valid = False
    db.cursor().execute("select 1")
    db.cursor().execute("select 2")
    replaced = "Connection 0 was replaced"
    assert told("reconnected", "lost") == [
        ("DEBUG", f"{replaced}: it was not valid"),
        ("DEBUG", f"{replaced}: it was used 1 times (maxusage=1)")]
    db.close()


def test_losses_are_told_at_once_and_then_now_and_then(dbapi, told):
    pool = PooledDB(dbapi)
    forward = stop(pool)
    db = pool.connection()
    db._con._con.cut()
    db.cursor().execute("select 1")
    db.close()
    assert told("lost") == [("WARNING", LOST)]
    for _ in range(2):
        with pool.connection() as db:
            db._con._con.cut()
    pool.connection().close()
    assert told("lost") == []
    forward(61)
    with pool.connection() as db:
        db._con._con.cut()
        db.cursor().execute("select 1")
    assert told("lost") == [
        ("WARNING", f"{LOST} (2 more since the last such message)")]
    pool.close()


def test_a_loss_is_told_once_also_if_the_server_is_away_for_long(told):
    driver = ScriptedDriver()
    pool = PooledDB(driver)
    db = pool.connection()
    driver.stop()
    for _ in range(2):
        with pytest.raises(driver.OperationalError):
            db.cursor().execute("select 1")
    driver.start()
    db.cursor().execute("select 1")
    names = [event.name for event in pool._core.story.events()]
    assert names.count("lost") == 1
    assert told("reconnected", "lost") == [
        ("WARNING", LOST), ("DEBUG", "Connection 0 was replaced: it was lost")]
    db.close()


@for_every_kind
def test_refusals_are_told_now_and_then_with_the_cause(
        kind, told, monkeypatch):
    pool = kind.make(maxconnections=1, track=True)
    forward = stop(pool)
    kept = pool.connection()
    refused = "A request was refused after 0 s: all connections are in use"
    place = pool.holders()[0]
    cause = (
        ". 1 connection is held by threads that wait for another one of this"
        f" pool, taken at {place.file}:{place.line}, the longest for 0 ms:"
        " they keep what they wait for. Give a connection back before asking"
        " for the next one, or use one for both.")
    monkeypatch.setattr(explaining, "_span", lambda seconds: "0 ms")
    for seconds, more in (
            (0, ""), (59, None), (0, None),
            (2, " (2 more since the last such message)"),
            (61, "")):
        forward(seconds)
        with pytest.raises(kind.module.TooManyConnectionsError):
            pool.connection()
        assert told("refused") == (
            [] if more is None else [("WARNING", refused + more + cause)])
    kept.close()


def test_what_is_no_warning_is_never_left_out(kind, told):
    pool = kind.make()
    stop(pool)
    for _ in range(3):
        pool.drain()
        pool.connection().close()
    assert len(told("drained")) == 3


def test_outages_are_told(told):
    driver = Driver()
    pool = PooledDB(driver)
    driver.is_away = True
    now = [100.0]
    pool._core.throttle.clock = lambda: now[0]
    for _ in range(3):
        with pytest.raises(RefusedError):
            pool.connection()
    now[0] += 7
    driver.is_away = False
    pool.connection().close()
    assert told("failed", "outage_began", "outage_ended") == [
        ("DEBUG", "Connecting has failed: RefusedError, connection refused"),
        ("WARNING",
         "The server cannot be used: RefusedError, connection refused"),
        ("WARNING", "The server can be used again, after 7 s")]


def test_the_end_of_an_outage_tells_how_many_were_lost(told):
    driver = ScriptedDriver()
    pool = PooledDB(driver)
    leases = [pool.connection() for _ in range(3)]
    driver.stop()
    for lease in leases:
        with pytest.raises(driver.OperationalError):
            lease.cursor().execute("select 1")
    driver.start()
    pool.connection(maxwait=PATIENCE).close()
    (_, text), = told("outage_ended")
    assert text.endswith(" s; connections lost: 3")
    for lease in leases:
        lease.close()


def test_an_error_is_told_by_its_type_and_its_code_and_no_secret_is_told(
        told, dbapi):
    class CodedError(dbapi.OperationalError):
        sqlstate = "28P01"

    for error, shown in (
            (CodedError(f"password {SECRET}"), "CodedError 28P01"),
            (dbapi.OperationalError(1045, SECRET), "OperationalError 1045"),
            (dbapi.OperationalError(f"{SECRET}: Connection refused"),
             "OperationalError, connection refused"),
            (dbapi.OperationalError(SECRET), "OperationalError")):
        def refuse(error=error, **_options):
            raise error

        refuse.dbapi = dbapi
        pool = PooledDB(refuse, user=SECRET)
        with pytest.raises(dbapi.OperationalError):
            pool.connection()
        assert SECRET not in pool.explain()
        assert SECRET not in str(list(map(vars, told.records)))
        assert told("failed") == [
            ("DEBUG", f"Connecting has failed: {shown}")]


def test_each_record_has_all_fields(kind, caplog):
    caplog.set_level(logging.DEBUG, "dbutils")
    pool = kind.make(maxconnections=1, poolname="shop", nested="warn")
    db = pool.connection()
    with pytest.raises(kind.module.TooManyConnectionsError):
        pool.connection()
    db.close()
    pool.shutdown()
    fields = attrgetter("pool", "event", "connection", "seconds")
    found = [fields(record) for record in caplog.records
             if record.name == "dbutils"]
    events = {event for _, event, *_ in found}
    assert events >= {
        "created", "opened", "nested", "refused", "shut_down", "closed"}
    assert {pool for pool, event, *_ in found if event in events
            - {"driver", "swallowed"}} == {"shop"}
    assert {number for _, event, number, _ in found
            if event in {"opened", "closed"}} == {0}


def test_what_happens_under_the_collector_is_told_later(
        kind, told, monkeypatch):
    pool = kind.make()
    told(*LIFE)
    with monkeypatch.context() as patch:
        patch.setattr(stories, "is_collecting", lambda: True)
        pool.close()
        assert told(*LIFE) == []
    pool.drain()
    assert [text for _, text in told(*LIFE)] == [
        "The idle connections were closed",
        "The pool is drained: all connections are replaced"]


class Handler(logging.Handler):
    """A handler that calls a function with each record."""

    def __init__(self, function):
        super().__init__()
        self.emit = function


@pytest.fixture
def handle():
    """Return what lets a function handle the records from now on."""
    logger = logging.getLogger("dbutils")
    level, handlers = logger.level, []

    def handle(function):
        handlers.append(Handler(function))
        logger.addHandler(handlers[-1])
        logger.setLevel(logging.DEBUG)
    yield handle
    for handler in handlers:
        logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_handler_that_fails_disturbs_nothing(kind, handle, capsys):
    pool = kind.make(maxconnections=1, leakafter=1000, reclaim=True)

    def fail(record):
        raise RuntimeError("cannot write")

    handle(fail)
    lease = pool.connection()
    permit = lease._permit
    permit.taken = (permit.taken[0] - 2000, *permit.taken[1:])
    pool._core.maintenance._tick()
    with pytest.raises(kind.module.InvalidConnectionError, match="back"):
        lease.commit()
    assert pool.stats().in_use == 0
    pool.connection(maxwait=0).close()
    pool.drain()
    assert pool.stats().idle == pool.stats().in_use == 0
    assert "RuntimeError: cannot write" in capsys.readouterr().err


def test_a_handler_can_use_the_pool(kind, handle):
    pool = kind.make()
    told, leases = [], []

    def use(record):
        told.append(record.event)
        with pool.connection() as db:
            leases.append(db)

    handle(use)
    pool.connection().close()
    pool.drain()
    assert "opened" in told
    assert len(leases) == len(told)
    assert pool.stats().in_use == 0


def test_nothing_is_told_while_the_interpreter_ends(kind, told, monkeypatch):
    pool = kind.make()
    told(*LIFE)
    monkeypatch.setattr(stories, "is_ending", lambda: True)
    pool.close()
    assert told(*LIFE) == []


def test_a_pool_that_tells_of_its_life_does_not_load_the_module_logging():
    program = (
        "import sqlite3, sys; from dbutils.pooled_db import PooledDB;"
        "pool = PooledDB(sqlite3, 1, maxconnections=1, database=':memory:');"
        "kept = pool.connection()\n"
        "for _ in range(2):\n"
        "    try: pool.connection()\n"
        "    except Exception as error: text = str(error)\n"
        "assert 'explain()' in text; pool.shutdown(0);"
        "print('logging' in sys.modules)")
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, timeout=PATIENCE,
        stdout=subprocess.PIPE, cwd=str(ROOT), text=True)
    assert done.stdout == "False\n"


# What is kept.

def test_the_last_events_of_each_kind_are_kept(kind):
    pool = kind.make(maxconnections=1)
    pool.drain()
    with pool.connection():
        for _ in range(KEPT + 1):
            with pytest.raises(kind.module.TooManyConnectionsError):
                pool.connection()
    names = [event.name for event in pool._core.story.events()]
    assert names[:3] == ["created", "drained", "opened"]
    assert names.count("refused") == KEPT


def test_what_is_kept_closes_no_fast_way(kind):
    pool = kind.make(1, maxconnections=2, track=False)
    core = pool._core
    ways = core.take, core.take_dedicated, core.put, core.is_plain
    kept = pool.connection(), pool.connection()
    with pytest.raises(kind.module.TooManyConnectionsError):
        pool.connection()
    for lease in kept:
        lease.close()
    pool.drain()
    assert core.is_plain
    assert ways == (core.take, core.take_dedicated, core.put, core.is_plain)


@needs_fork
def test_a_child_begins_a_story_of_its_own(kind):
    pool = kind.make(1)
    assert in_child(lambda: pool._core.story.events()) == []
    assert pool._core.story.events()
