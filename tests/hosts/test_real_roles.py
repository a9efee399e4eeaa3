"""What real servers say about their roles, with all drivers."""

import pytest
from drivers import ask

from dbutils._hosts.targets import cluster_of
from dbutils.hosts import Targets
from dbutils.steady_db import connect


@pytest.fixture
def targets(driver):
    return Targets(
        [driver.parameters()], driver.load(), target="prefer-primary")


def role_of(targets):
    """Return the role that the server says on a new connection."""
    connect(targets).close()
    return list(targets.states().values())


def test_a_server_says_that_it_is_the_primary(targets):
    assert role_of(targets) == ["primary"]
    host, = cluster_of(targets).hosts
    assert host.error is None


def test_postgresql_tells_how_far_it_has_come(targets, driver):
    if driver.family != "postgresql":
        pytest.skip("the server of the tests has no binary log")
    db = connect(targets)
    before = db.position()
    ask(db, "create temporary table t (n integer)")
    db.commit()
    facts = db._own_session.driver
    con = db._own_session.con
    assert facts.has_reached(con, before)
    assert facts.has_reached(con, ask(
        db, "select cast(pg_current_wal_lsn() as text)"))
    assert ask(db, "select cast(%s as pg_lsn) > cast(%s as pg_lsn)",
               db.position(), before)
    assert not facts.has_reached(con, "FFFFFFFF/0")


def test_the_question_leaves_no_transaction(targets, driver):
    con = targets.connect()
    cluster = cluster_of(targets)
    cluster.standing(con)
    facts = connect(targets)._own_session.driver
    assert not facts.in_transaction(con)
    con.close()


def test_a_server_that_is_read_only_says_so(targets, driver):
    is_pg = driver.family == "postgresql"
    with_read_only = (
        "alter system set default_transaction_read_only = on" if is_pg
        else "set global read_only = 1")
    without = (
        "alter system reset default_transaction_read_only" if is_pg
        else "set global read_only = 0")

    def change(sql):
        db = driver.load().connect(**driver.parameters())
        db.autocommit = True if is_pg else db.autocommit
        ask(db, sql)
        if is_pg:
            ask(db, "select pg_reload_conf()")
        db.close()

    change(with_read_only)
    try:
        found = role_of(targets)
    finally:
        change(without)
    assert found == ["read-only" if is_pg else "standby"]
