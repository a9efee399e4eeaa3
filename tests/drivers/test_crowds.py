"""Real servers are asked whether they are full."""

import drivers
import pytest
from drivers import ready

from dbutils._steady.crowd import is_crowded
from dbutils._steady.steady import session_of
from dbutils.pooled_db import PooledDB
from dbutils.pooled_pg import PooledPg

pytestmark = pytest.mark.portable


def answers(monkeypatch, session):
    """Return what a server says as it is, with few places, and wrongly."""
    questions = session.driver.server_questions
    said = []
    for limit in questions["limit"], "select 1", "select x from nowhere":
        monkeypatch.setattr(
            type(session.driver), "server_questions",
            {**questions, "limit": limit})
        said.append(is_crowded(session))
    return said


def test_a_server_tells_whether_it_is_full(driver, monkeypatch):
    pool = PooledDB(driver.load(), maxconnections=4, **driver.parameters())
    with pool.connection() as lease:
        session = session_of(lease._con)
        if session.driver.in_transaction(session.con) is not False:
            pytest.skip("this driver does not tell that nothing is going on")
        assert pool._core.backend.tells_crowd(lease._con)
        assert answers(monkeypatch, session) == [False, True, None]
    pool.close()


def test_it_is_not_asked_within_a_transaction(driver, monkeypatch):
    pool = PooledDB(driver.load(), **driver.parameters())
    with pool.connection() as lease:
        lease.begin()
        lease.cursor().execute("select 1")
        session = session_of(lease._con)
        monkeypatch.setattr(type(session.driver), "server_questions", {})
        if session.driver.in_transaction(session.con):
            assert is_crowded(session) is False
    pool.close()


def test_it_tells_classic_pygresql(servers_running, monkeypatch):
    driver = ready(drivers.BY_NAME["pgdb"], servers_running)
    pool = PooledPg(
        dbname="postgres", host=drivers.HOST, port=driver.port,
        user="postgres")
    with pool.connection() as lease:
        session = session_of(lease._con)
        assert answers(monkeypatch, session) == [False, True, None]
    pool.close()
