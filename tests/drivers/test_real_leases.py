"""Leases that are taken back in the middle of a statement, on real servers."""

import sys
from threading import Thread

import drivers
import pytest
from drivers import ask, ready
from patience import PATIENCE, wait_until

from dbutils._core.lease import permit_of
from dbutils._steady.steady import session_of
from dbutils.pooled_db import PooledDB
from dbutils.pooled_pg import PooledPg

pytestmark = [
    pytest.mark.portable,
    pytest.mark.filterwarnings("ignore::ResourceWarning")]

LONG = 1000  # seconds that no test takes


def age(permit):
    """Let a lease have lasted for longer."""
    permit.taken = (permit.taken[0] - 2 * LONG, *permit.taken[1:])


def take_back_in_statement(pool, execute):
    """Let a thread wait for the server, and take its connection back."""
    leases, errors = [], []

    def work():
        lease = pool.connection()
        leases.append(lease)
        try:
            execute(lease)
        except Exception as error:
            errors.append(error)
        finally:
            lease.close()

    thread = Thread(target=work, daemon=True)
    thread.start()
    wait_until(lambda: leases and pool._backend.busy_of(
        leases[0]._con, leases[0]._checkout).since)
    age(permit_of(leases[0]))
    pool._core.maintenance._tick()
    assert pool.stats().in_use == 0
    with pool.connection(maxwait=PATIENCE) as other:
        assert other._con is not None
        thread.join(PATIENCE)
    assert len(errors) == 1
    assert (pool.stats().opened, pool.stats().leaked) == (2, 1)
    pool.close()
    return errors[0]


def test_a_statement_in_progress_ends_with_an_error(driver):
    pool = PooledDB(
        driver.load(), maxconnections=1, leakafter=LONG, reclaim=True,
        idleafter=LONG, **driver.parameters())
    with pool.connection() as lease:
        if session_of(lease._con).descriptor is None:
            pytest.skip("this driver does not tell its socket")
    sleep = {"postgresql": "pg_sleep", "mariadb": "sleep"}[driver.family]
    error = take_back_in_statement(
        pool, lambda lease: ask(lease, f"select {sleep}(120)"))
    if sys.version_info >= (3, 11):
        # in the error itself if the statement was not sent yet
        told = [str(error), *getattr(error, "__notes__", ())]
        assert any(
            "was taken back by its pool after 33 min 20 s" in text
            for text in told)


def test_so_does_one_of_classic_pygresql(servers_running):
    driver = ready(drivers.BY_NAME["pgdb"], servers_running)
    pool = PooledPg(
        maxconnections=1, leakafter=LONG, reclaim=True, idleafter=LONG,
        dbname="postgres", host=drivers.HOST, port=driver.port,
        user="postgres")
    take_back_in_statement(
        pool, lambda lease: lease.query("select pg_sleep(120)"))


@pytest.mark.parametrize("maxshared", [0, 1])
def test_an_aborted_transaction_does_not_reach_the_next_lease(
        driver, maxshared):
    pool = PooledDB(
        driver.load(), maxconnections=1, maxshared=maxshared, reset=False,
        **driver.parameters())
    for _ in range(2):
        with pool.connection() as db:
            ask(db, "select 1")
            with pytest.raises(driver.error):
                ask(db, "select nonsense from nowhere")
        with pool.connection() as db:
            assert ask(db, "select 42") == 42
    stats = pool.stats()
    assert (stats.opened, stats.reconnects) == (1, 0)
    pool.close()
