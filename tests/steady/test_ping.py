"""The forms of the ping parameter."""

import sqlite3

import pytest
from folders import BENCHMARKS

from dbutils._steady.liveness import RECENT, ask
from dbutils._steady.options import parse_ping
from dbutils._steady.steady import session_of
from dbutils.pooled_db import PooledDB

LONG = 3600  # seconds, more than any test takes


@pytest.mark.parametrize(("ping", "when"), [
    (None, 0), (0, 0), (1, 1), (7, 7), (True, True), ("select 1", 1),
    (len, 1), ((4, "select 1"), 4), ((2, len), 2), ((0, None), 0),
    ((None, "select 1"), 0),
])
def test_the_moments_of_a_ping(ping, when):
    assert parse_ping(ping).when == when


@pytest.mark.parametrize("ping", [
    (), (1,), (1, 2), (1, "select 1", 3), (1, ["select 1"]), 2.5, [1],
    ("1", "select 1")])
def test_a_senseless_ping_is_rejected_with_what_is_allowed(ping):
    with pytest.raises(TypeError, match="an SQL statement, a callable"):
        parse_ping(ping)


@pytest.mark.parametrize("ping", [8, -1, (9, "select 1")])
def test_a_senseless_sum_of_moments_is_rejected(ping):
    with pytest.raises(ValueError, match="from 0 to 7"):
        parse_ping(ping)


def test_without_a_question_the_driver_is_asked():
    assert parse_ping(3).pinger is None
    assert parse_ping((3, None)).pinger is None


def test_an_sql_statement_is_executed():
    con = sqlite3.connect(":memory:")
    pinger = parse_ping("select 1").pinger
    assert ask(pinger, con)
    assert "select 1" in repr(pinger)
    con.close()
    assert not ask(pinger, con)


class Cursor:
    """A cursor that cannot be closed."""

    def execute(self, sql):
        """Do nothing."""

    def close(self):
        """Fail."""
        raise OSError

    cursor = __call__ = lambda self: self


def test_a_cursor_that_cannot_be_closed_is_no_sign_of_death():
    assert ask(parse_ping("select 1").pinger, Cursor())


@pytest.mark.parametrize(("answer", "alive"), [
    (True, True), (None, True), (1, True), (False, False), (0, False)])
def test_what_a_callable_answers(answer, alive):
    assert ask(lambda con: answer, object()) is alive


def test_an_exception_is_a_no():
    assert ask(parse_ping(lambda con: 1 / 0).pinger, object()) is False


@pytest.fixture
def asked(monkeypatch):
    """A driver with sockets, and the answers to its ping()."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import shaped
    answers = []
    monkeypatch.setattr(
        shaped.PyMySqlConnection, "ping",
        lambda con, reconnect=True: answers.append(con))
    return shaped.driver(shaped.PyMySqlConnection), answers


def test_a_server_that_has_just_answered_a_ping_is_not_asked_again(asked):
    module, answers = asked
    pool = PooledDB(module, 1)
    session = session_of(pool._idle_cache[0])
    assert not session.answered
    pool.connection().close()
    assert len(answers) == 1
    session.answered += LONG
    pool.connection().close()
    assert len(answers) == 1
    session.answered -= LONG + RECENT
    pool.connection().close()
    assert len(answers) == 2
    pool.close()


def test_a_question_of_the_program_is_asked_each_time(asked):
    module, answers = asked
    pool = PooledDB(module, 1, ping=lambda con: con.ping(False))
    for _ in range(3):
        pool.connection().close()
    assert len(answers) == 3
    pool.close()
