"""Every program ends: at once, with its own status, and in silence.

The programs are run with the Python that runs the tests, with every driver;
all of them on every version of Python, since what goes on at the end of a
program differs between them.
"""

import os
import sys

import drivers
import programs
import pytest
from drivers import ready
from patience import wait_until

from dbutils._drivers.registry import driver_of
from dbutils.testing import Proxy

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="some of the programs fork")

# As long as a few programs take on a machine that is busy with others.
TIMEOUT = 600


@pytest.fixture(params=drivers.POSTGRESQL + drivers.MARIADB, ids=repr)
def users(request, servers_running):
    """A driver, whose server has a user for each program."""
    driver = ready(request.param, servers_running)
    names = [f"user{number}" for number in range(len(programs.PROGRAMS))]
    for name in names:
        driver.new_user(name)
    yield driver
    for name in names:
        driver.run(f"drop user {name}")


@pytest.mark.timeout(TIMEOUT)
def test_programs_end_and_leave_nothing_behind(users):
    def sessions_left(user):
        try:
            wait_until(lambda: not users.sessions_of(user))
        except pytest.fail.Exception:
            return users.sessions_of(user)
        return 0

    assert programs.run_all(
        users.name, lambda user: {**users.parameters(), "user": user},
        sessions_left) == []


def shows_its_socket(driver):
    """Return whether the socket of a driver's connection is known."""
    con = driver.connect()
    try:
        return driver_of(con).descriptor(con) is not None
    finally:
        con.close()


@pytest.mark.parametrize("title", programs.UNANSWERED)
def test_a_server_that_does_not_answer_keeps_no_program_from_ending(
        driver, title):
    if title in programs.ASKING and not shows_its_socket(driver):
        pytest.skip("in this release questions keep all threads waiting")
    with Proxy(driver.port) as proxy:
        assert programs.run(
            programs.UNANSWERED[title], driver.name,
            driver.parameters_for(proxy.port),
            prompt=proxy.swallow) == (0, "")


def predictable():
    """Return the programs whose end does not depend on the interpreter.

    Without the GIL, the pool of an object may have ended before the object.
    """
    is_free = not getattr(sys, "_is_gil_enabled", lambda: True)()
    return {
        title: text for title, text in programs.PROGRAMS.items()
        if not is_free or title != "a lease used in the __del__ of a global"}


@pytest.mark.timeout(TIMEOUT)
def test_programs_with_an_embedded_database_end(tmp_path):
    assert programs.run_all(
        "sqlite3",
        lambda user: {
            "database": str(tmp_path / user), "check_same_thread": False},
        lambda user: 0, predictable()) == []
