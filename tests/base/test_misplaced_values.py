"""Errors about values in the wrong place do not show what could be secret."""

import logging
import sqlite3
import traceback

import pytest

from dbutils import PooledDB
from dbutils.keyed_pool import ThreadedConnectionPool

SECRET = "tell-nobody"
URL = f"postgresql://web:{SECRET}@host/shop"

MISPLACED = {
    "second": lambda: PooledDB(sqlite3, URL),
    "third": lambda: PooledDB(sqlite3, 1, URL),
    "settings": lambda: PooledDB(sqlite3, {"password": SECRET}),
    "time": lambda: PooledDB(sqlite3, maxwait=URL),
    "creator": lambda: PooledDB(URL, 1),
    "creator settings": lambda: PooledDB({"password": SECRET}, 1),
    "minconn": lambda: ThreadedConnectionPool(URL, 1, creator=sqlite3),
    "maxconn": lambda: ThreadedConnectionPool(1, URL, creator=sqlite3)}


@pytest.mark.parametrize("name", MISPLACED)
def test_an_error_tells_the_type_of_a_value_and_not_its_text(name):
    with pytest.raises((TypeError, ValueError)) as caught:
        MISPLACED[name]()
    told = "".join(traceback.format_exception_only(
        caught.type, caught.value))
    assert SECRET not in told
    assert "an object of the type" in told
    assert caught.value.__cause__ is None
    # an error in whose course this one was raised would be shown, too
    assert caught.value.__context__ is None or (
        caught.value.__suppress_context__)


@pytest.mark.parametrize(("value", "told"), [
    (1.5, "'mincached' must be an integer, not 1.5."),
    ("3", "'mincached' must be an integer, not an object of the type 'str'.")])
def test_an_error_shows_a_number(value, told):
    with pytest.raises(TypeError) as caught:
        PooledDB(sqlite3, value)
    assert str(caught.value) == f"{told} [DBU-01]"


@pytest.mark.parametrize("creator", [SECRET, "hunter2"])
def test_a_creator_that_is_no_driver_is_not_shown(creator):
    with pytest.raises(TypeError, match="import the driver") as caught:
        PooledDB(creator, 1)
    assert creator not in str(caught.value)


class Question:
    """A ping whose representation shows the secret."""

    def __repr__(self):
        return SECRET

    def __call__(self, con):
        """Take each connection as dead."""
        return False


@pytest.mark.parametrize("ping", [URL, Question(), lambda con: False])
def test_a_ping_that_fails_is_not_shown(ping, caplog, tmp_path):
    caplog.set_level(logging.INFO, "dbutils")
    pool = PooledDB(sqlite3, ping=ping, database=str(tmp_path / "test"))

    def checkout():
        for _ in range(3):
            pool.connection().close()

    with pytest.raises(ValueError, match="'ping'") as caught:
        checkout()
    assert SECRET not in str(caught.value)
    assert SECRET not in "".join(
        record.getMessage() for record in caplog.records
        if record.levelno >= logging.INFO)
    pool.close()
