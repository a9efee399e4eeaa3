"""The inlined fast ways have the same effect as the ways that they inline.

Twins do the same with drivers of the same shape, the one by the fast way.
"""

from itertools import product

import pytest
import stand_ins
from stand_ins import SHAPES, Driver, Server

from dbutils._steady.steady import session_of
from dbutils.steady_db import connect

pytestmark = pytest.mark.slow

INSERT, SELECT, SET = "insert a row", "select x", "set a thing"
FAULTS = [
    None, stand_ins.killed, stand_ins.killed_after, stand_ins.late,
    stand_ins.deadlock, stand_ins.read_only, stand_ins.refused]


@pytest.fixture
def twins():
    """Make two drivers of a shape, each with a server of its own."""
    made = []

    def twins(shape):
        made.extend(Driver(shape, Server()) for _ in range(2))
        return made[-2:]
    yield twins
    for driver in made:
        driver.server.shut_down()


def state_of(driver, db):
    """Return what can be seen of a connection and its server."""
    session, server = session_of(db), driver.server
    facts = {
        name: getattr(session, name) for name in (
            "closed", "transaction", "usage", "is_marked",
            "settings_changed", "state")}
    if not session.closed:
        facts["work"] = session.has_work()
    return facts, server.stored, [
        (inner.is_alive, inner.in_transaction, inner.pending)
        for inner in server.sessions]


def attempt(function):
    """Return what a function returns or raises, and the notes of that."""
    try:
        return function()
    except Exception as error:
        return type(error).__name__, str(error), getattr(
            error, "__notes__", ())


def read(driver, db):
    db.cursor().execute(SELECT)


def write(driver, db):
    db.cursor().execute(INSERT)


def begin_and_write(driver, db):
    db.begin()
    write(driver, db)


def write_and_commit(driver, db):
    write(driver, db)
    db.commit()


def change_session(driver, db):
    db.cursor().execute(SET)


USES = [
    lambda driver, db: None, read, write, begin_and_write, write_and_commit,
    change_session]


def plan(driver, verb, fault):
    """Let the next request of that kind have a fault."""
    if fault is not None:
        driver.server.fault = verb, driver.server.seen[verb] + 1, fault


def used(driver, failover, use, fault):
    """Return a connection after its use, before its rollback has a fault."""
    db = connect(driver, failover=failover)
    use(driver, db)
    plan(driver, "rollback", fault)
    return db


@pytest.mark.parametrize("failover", ["safe", "never", "always"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_quick_reset_is_equal_to_the_whole_one(twins, shape, failover):
    """Where it returns that this was all, the whole one does no more."""
    number = 0
    for use, fault in product(USES, FAULTS):
        quick, whole = twins(shape)
        db, other = (used(driver, failover, use, fault)
                     for driver in (quick, whole))
        session = session_of(db)
        if session.failover.quick_reset(session):
            if quick.server.fault:  # no rollback was necessary
                quick.server.fault = whole.server.fault = None
            assert session_of(other).reset_session(True), (use, fault)
            assert state_of(quick, db) == state_of(whole, other)
            number += 1
        db.close()
        other.close()
    # with a known socket, the classic policy always resets the whole
    assert (number > 0) is not (failover == "always" and bool(shape.fileno))


def begin(driver, db):
    db.begin()


def kill(driver, db):
    driver.server.sessions[-1].kill()


BEFORE = [*USES, begin, kill]


def executed(driver, failover, before, sql, fault, is_quick):
    """Return what can be seen after a statement, by execute() or run()."""
    db = connect(driver, failover=failover)
    before(driver, db)
    cursor = db.cursor()
    plan(driver, sql.split()[0], fault)

    def act():
        if is_quick:
            return cursor.execute(sql) is cursor
        return cursor._run("execute", (sql,), {}) is cursor

    seen = attempt(act), state_of(driver, db), driver.server.requests
    db.close()
    return seen


@pytest.mark.parametrize("failover", ["safe", "never", "always"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_execute_is_equal_to_run(twins, shape, failover):
    for before, sql, fault in product(BEFORE, (SELECT, INSERT, SET), FAULTS):
        quick, whole = twins(shape)
        assert executed(quick, failover, before, sql, fault, True) == (
            executed(whole, failover, before, sql, fault, False))
