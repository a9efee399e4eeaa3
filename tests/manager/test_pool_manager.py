"""The manager of many pools."""

import gc
import logging
import random
import subprocess
import sys
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Barrier, Thread
from time import monotonic
from weakref import ref

import pytest
from everywhere import sweep
from forking import in_child, needs_fork
from managed import SECRET, Driver, entry_of, settings_for
from patience import PATIENCE, wait_until

from dbutils import pool_manager
from dbutils._base.atomic import Count
from dbutils._base.housekeeper import housekeeper
from dbutils._manager import registry
from dbutils.pool_manager import (
    ConnectionConfig,
    DBConnectionPoolManager,
    PoolConfig,
    PoolEvictedError,
    PoolManagerError,
    TooManyPoolsError,
    UnknownPoolError,
    WrongCredentialsError,
    get_pool_manager,
)
from dbutils.pooled_db import PoolClosedError, TooManyConnectionsError

pytestmark = pytest.mark.portable

@pytest.fixture
def driver(monkeypatch, dbapi):
    """The driver, as if it were a real one."""
    driver = Driver()
    monkeypatch.setitem(sys.modules, "psycopg2", driver)
    yield driver
    driver.hanging.set()


@pytest.fixture
def manager():
    with DBConnectionPoolManager.isolated() as manager:
        yield manager


def run_together(number, work):
    """Let threads do something at the same moment; return the results."""
    barrier = Barrier(number)
    results = []

    def run():
        barrier.wait(PATIENCE)
        try:
            results.append(work())
        except Exception as error:
            results.append(error)

    threads = [Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# Getting pools.

def test_the_same_configuration_has_the_same_pool(driver, manager):
    pool = manager.get_pool(settings_for("one"))
    assert manager.get_pool(settings_for("one")) is pool
    assert manager.get_pool(
        db_type="postgres", host="one", password=SECRET,
        driver="psycopg2") is pool
    assert manager.get_pool(f"postgresql+psycopg2://:{SECRET}@one") is pool
    assert manager.get_pool(settings_for("two"), host="one") is pool
    assert manager.get_pool(settings_for("two")) is not pool
    assert pool.key == settings_for("one").key
    assert not driver.told


@pytest.mark.usefixtures("_restless")
def test_threads_that_ask_at_once_get_one_pool(driver, manager):
    for number in range(20):
        config = settings_for(f"host {number}")
        pools = run_together(
            32, lambda config=config: manager.get_pool(config))
        assert len(set(map(id, pools))) == 1, pools
        with pools[0].connection():
            pass
    stats = manager.get_statistics()["manager_stats"]
    assert stats["total_pools"] == stats["total_pools_created"] == 20


@pytest.mark.parametrize("config", [
    None, 1, {"host": "h"}, ("mysql", "h")])
def test_what_is_no_configuration_is_refused(manager, config):
    with pytest.raises(TypeError):
        manager.get_pool(config)
    with pytest.raises(TypeError):
        manager.get_pool(db_type="sqlite", file="x")


def test_a_connection_is_a_context(driver, manager):
    config = settings_for("one")
    with manager.get_connection(config) as con:
        con.cursor().execute("select 1")
        info = manager.get_pool_info(config.key)
        assert info["active_connections"] == 1
        holder = str(manager.get_pool(config)._core.holders()[0])
        assert Path(__file__).name in holder
    info = manager.get_pool_info(config.key)
    assert (info["active_connections"], info["idle_connections"]) == (0, 1)


def test_a_pool_has_the_terms_that_were_asked_for(driver, manager):
    terms = PoolConfig(
        min_idle=1, max_idle=2, max_total=3, max_wait_time=0, max_usage=2)
    pool = manager.get_pool(settings_for("one"), terms)
    wait_until(lambda: len(pool._idle_cache) == 1)
    cons = [pool.get_connection() for _ in range(3)]
    with pytest.raises(TooManyConnectionsError):
        pool.get_connection()
    assert cons[0]._con._maxusage == 2
    while cons:
        cons.pop().close()
    assert len(pool._idle_cache) == 2


def test_a_pool_can_keep_nothing(driver, manager):
    pool = manager.get_pool(settings_for("one"), PoolConfig(max_idle=0))
    pool.get_connection().close()
    assert len(pool._idle_cache) == 0
    assert not driver.cons[0].valid


def test_connections_are_looked_at_unless_that_is_not_wanted(
        driver, manager, server):
    server.has_ping = True
    for is_tested in (True, False):
        pool = manager.get_pool(
            settings_for(f"{is_tested}"),
            PoolConfig(test_on_borrow=is_tested, max_wait_time=0))
        pool.get_connection().close()
        pings = server.calls["ping"]
        pool.get_connection().close()
        assert (server.calls["ping"] > pings) is is_tested


def test_other_terms_for_the_same_pool_are_an_error(driver, manager):
    config = settings_for("one")
    manager.set_default_pool_config(PoolConfig(max_total=7))
    pool = manager.get_pool(config)
    assert pool.pool_config.max_total == 7
    assert manager.get_pool(config, PoolConfig(max_total=7)) is pool
    manager.set_default_pool_config(PoolConfig(max_total=8))
    assert manager.get_pool(config) is pool
    with pytest.raises(PoolManagerError, match=r"PoolConfig.*max_total=7"):
        manager.get_pool(config, PoolConfig(max_total=8))
    with pytest.raises(TypeError):
        manager.set_default_pool_config({"max_total": 1})


def test_a_pool_can_have_names(driver, manager):
    pool = manager.get_pool_by_name("main", settings_for("one"))
    assert manager.get_pool_by_name("main", settings_for("one")) is pool
    assert manager.get_pool_by_name("also", settings_for("one")) is pool
    assert manager.get_pool(settings_for("one")) is pool
    assert manager.get_pool_info(pool.key)["names"] == ["main", "also"]
    with pytest.raises(PoolManagerError, match="'main' belongs to a pool"):
        manager.get_pool_by_name("main", settings_for("two"))
    assert len(manager.list_pools()) == 1
    manager.remove_pool(pool.key)
    assert manager.get_pool_by_name("main", settings_for("two")) is not pool


def test_a_name_is_given_although_the_pool_is_evicted_meanwhile(
        driver, manager):
    real = manager.get_pool

    def get_pool(*args):
        pool = real(*args)
        if not evicted:
            evicted.append(manager.remove_pool(pool.key))
        return pool

    evicted = []
    manager.get_pool = get_pool
    pool = manager.get_pool_by_name("main", settings_for("one"))
    assert evicted == [True]
    pool.connection().close()
    assert manager.get_pool_info(pool.key)["names"] == ["main"]


def test_a_check_that_cannot_begin_is_made_later(
        driver, manager, monkeypatch):
    manager.get_pool(settings_for("one"))

    def fail(*args):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as context:
        context.setattr(registry.Probe, "start", fail)
        with pytest.raises(RuntimeError):
            manager.health_check()
    assert manager.health_check()["status"] == "healthy"


def test_a_name_belongs_to_one_of_those_who_want_it_at_once(driver, manager):
    hosts = iter([f"host {number}" for number in range(16)])
    results = run_together(16, lambda: manager.get_pool_by_name(
        "main", settings_for(next(hosts))))
    errors = [
        result for result in results if isinstance(result, PoolManagerError)]
    assert len(errors) == 15
    pool, = set(results) - set(errors)
    assert manager.get_pool_info(pool.key)["names"] == ["main"]


# Passwords.

def test_who_has_another_password_does_not_get_the_pool(driver, manager):
    pool = manager.get_pool_by_name("main", settings_for("one"))
    pool.connection().close()
    for password in ("wrong", "", None, SECRET + " ", lambda: SECRET):
        wrong = settings_for("one", password=password)
        assert wrong.key == pool.key
        for ask in (
                partial(manager.get_pool, wrong),
                partial(manager.get_pool_by_name, "main", wrong),
                partial(manager.get_pool_by_name, "other", wrong),
                partial(manager.get_connection, wrong)):
            with pytest.raises(WrongCredentialsError, match="another pass"):
                ask()
    assert set(driver.told) == {SECRET}


def test_secret_options_are_a_part_of_the_password(driver, manager):
    config = settings_for("one", options={"sslpassword": "a"})
    manager.get_connection(config).close()
    manager.get_connection(config).close()
    for options in ({"sslpassword": "b"}, {}):
        with pytest.raises(WrongCredentialsError):
            manager.get_pool(settings_for("one", options=options))


def test_a_password_that_was_never_accepted_keeps_nobody_away(
        driver, manager):
    wrong = manager.get_pool_by_name(
        "main", settings_for("one", password="wrong"))
    with pytest.raises(driver.OperationalError):
        wrong.connection()
    permit = manager.get_pool(settings_for("one"))
    assert permit is not wrong
    permit.connection().close()
    with pytest.raises(PoolEvictedError, match="never accepted"):
        wrong.connection()
    assert len(manager.list_pools()) == 1


def test_a_password_can_be_changed(driver, manager):
    pool = manager.get_pool(settings_for("one"))
    used, idle = pool.connection(), pool.connection()
    idle.close()
    driver.password = "new"
    manager.update_credentials(pool.key, "new")
    used.cursor().execute("select 1")
    used.close()
    assert not any(con.valid for con in driver.cons)
    with pool.connection() as con:
        assert con.dbapi_connection.password == "new"
    assert manager.get_pool(settings_for("one", password="new")) is pool
    with pytest.raises(WrongCredentialsError):
        manager.get_pool(settings_for("one"))
    with pytest.raises(UnknownPoolError):
        manager.update_credentials("no such key", "new")
    with pytest.raises(TypeError):
        manager.update_credentials(pool.key, b"new")


def test_a_password_can_be_asked_for(driver, manager):
    told = [SECRET, "old", SECRET, "old", "old", "older", "oldest"]
    config = settings_for("one", password=lambda: told.pop(0))
    pool = manager.get_pool(config)
    assert manager.get_pool(config) is pool
    assert len(told) == 7
    cons = [pool.get_connection(), pool.get_connection()]
    assert driver.told == [SECRET, "old", SECRET]
    with pytest.raises(driver.OperationalError):
        pool.get_connection()
    assert len(driver.told) == 4  # not tried again if it is the same
    with pytest.raises(driver.OperationalError):
        pool.get_connection()
    assert driver.told[4:] == ["older", "oldest"]
    assert not told
    del cons


def test_who_tells_a_password_is_not_asked_again_without_a_refusal(
        driver, manager):
    told = []

    def tell():
        told.append(1)
        return SECRET

    pool = manager.get_pool(
        settings_for("down", password=tell), PoolConfig(max_wait_time=0))
    with pytest.raises(driver.OperationalError):
        pool.get_connection()
    assert len(told) == 1


def test_what_tells_a_password_must_tell_a_text(driver, manager):
    config = settings_for("one", password=lambda: SECRET.encode())
    pool = manager.get_pool(config)
    with pytest.raises(TypeError, match="must return a text") as caught:
        pool.get_connection()
    assert SECRET not in str(caught.value)


def all_of(error):
    """Return an error and all that it is due to, as texts."""
    texts = []
    while error is not None:
        texts += [str(error), repr(error), repr(error.args)]
        texts += traceback.format_exception(
            type(error), error, error.__traceback__)
        texts += all_of(error.__cause__)
        error = error.__context__
    return texts


def test_no_secret_is_shown_anywhere(driver, manager, caplog):
    caplog.set_level(logging.DEBUG)
    options = {"sslpassword": SECRET + "2"}
    config = settings_for("one", options=options)
    pool = manager.get_pool_by_name("main", config)
    texts = []
    driver.password = "right"
    for make in (
            lambda: pool.connection(),
            lambda: manager.get_connection(config),
            lambda: manager.get_pool(settings_for("down", options=options),
                                     PoolConfig(max_wait_time=0)).connection(),
            lambda: manager.get_pool_info("none"),
            lambda: manager.get_pool(config, PoolConfig(max_total=1))):
        with pytest.raises(Exception, match=r"\w") as caught:
            make()
        texts += all_of(caught.value)
    driver.password = SECRET
    with pool.connection() as con:
        texts += [repr(con), str(con), str(pool._core.holders())]
        wrong = settings_for("one", password="wrong")
        with pytest.raises(WrongCredentialsError) as caught:
            manager.get_pool(wrong)
        texts += all_of(caught.value)
    texts += map(repr, (
        manager, pool, config, manager.get_statistics(), pool._connector,
        manager.list_pools(), manager.health_check(), vars(config),
        vars(pool._connector), vars(pool._connector._credentials),
        vars(pool._connector._arguments), pool._kwargs, pool._args))
    manager.shutdown()
    texts += [record.getMessage() for record in caplog.records]
    texts += map(str, caplog.records)
    assert len(texts) > 50
    for text in texts:
        # the source of this test is shown by tracebacks, the secret is not
        assert SECRET not in text


# Removing pools.

def test_the_pool_is_evicted_that_was_not_used_for_longest(driver, manager):
    manager.set_max_pools(3)
    pools = [manager.get_pool(settings_for(host)) for host in "abc"]
    pools[0].connection().close()
    manager.get_pool(settings_for("b"))
    fourth = manager.get_pool(settings_for("d"))
    assert [info["host"] for info in manager.list_pools()] == ["a", "b", "d"]
    with pytest.raises(PoolEvictedError, match="evicted: there were too man"):
        pools[2].connection()
    with pytest.raises(PoolClosedError):
        pools[2].get_connection()
    assert "evicted" in repr(pools[2])
    with fourth.connection(), pools[0].connection():
        manager.get_pool(settings_for("e"))
        assert [info["host"] for info in manager.list_pools()] == [
            "a", "d", "e"]


def test_an_evicted_pool_closes_its_connections(driver, manager):
    manager.set_max_pools(1)
    manager.get_connection(settings_for("a")).close()
    manager.get_connection(settings_for("b")).close()
    assert [con.valid for con in driver.cons] == [False, True]
    assert manager.get_statistics()["manager_stats"] == {
        "total_pools": 1, "total_pools_created": 2,
        "total_pools_destroyed": 1, "total_connections_served": 2}


def test_pools_in_use_are_not_evicted(driver, manager):
    manager.set_max_pools(2)
    leases = [manager.get_connection(settings_for(host)) for host in "ab"]
    with pytest.raises(TooManyPoolsError, match="All 2 pools are in use"):
        manager.get_pool(settings_for("c"))
    leases.pop().close()
    manager.get_pool(settings_for("c"))
    assert [info["host"] for info in manager.list_pools()] == ["a", "c"]
    leases[0].cursor().execute("select 1")


def test_a_dropped_connection_does_not_keep_a_pool(driver, manager):
    manager.set_max_pools(1)
    lease = manager.get_connection(settings_for("a"))
    cycle = [lease]
    cycle.append(cycle)
    del lease, cycle
    gc.collect()
    manager.get_pool(settings_for("b"))
    assert [info["host"] for info in manager.list_pools()] == ["b"]


def test_the_number_of_pools_can_be_lowered(driver, manager):
    pools = [manager.get_pool(settings_for(host)) for host in "abcd"]
    with pools[0].connection(), pools[1].connection():
        manager.set_max_pools(1)
        assert [info["host"] for info in manager.list_pools()] == ["a", "b"]
    manager.set_max_pools(None)
    manager.get_pool(settings_for("c"))
    assert len(manager.list_pools()) == 3
    with pytest.raises(ValueError, match="at least 1"):
        manager.set_max_pools(0)


def test_pools_that_nobody_uses_are_removed(driver, manager, monkeypatch):
    now = [1000.0]
    for module in (registry, pool_manager):
        monkeypatch.setattr(module, "monotonic", lambda: now[0])
    old, used, lent = (
        manager.get_pool(settings_for(host)) for host in "abc")
    with lent.connection():
        now[0] += 60
        used.connection().close()
        assert manager.clear_idle_pools(61) == 0
        assert manager.clear_idle_pools(60) == 1
        assert [info["host"] for info in manager.list_pools()] == ["b", "c"]
        with pytest.raises(PoolEvictedError, match="nobody has used it"):
            old.connection()
        assert manager.clear_idle_pools() == 1
    assert manager.clear_idle_pools(1) == 0  # it was in use just now
    assert manager.clear_idle_pools(0) == 1
    with pytest.raises(ValueError, match="seconds"):
        manager.clear_idle_pools(-1)


def test_pools_are_removed_in_the_background(driver, manager):
    manager.get_pool(settings_for("a"))
    begin = monotonic()
    manager.set_pool_idle_timeout(0)
    assert begin <= manager._chore.due_at - 300 <= monotonic()
    wait_until(lambda: housekeeper.is_running)
    manager._chore.due_at = 0
    wait_until(lambda: not manager.list_pools())
    wait_until(lambda: manager._chore.due_at > 0)
    assert begin <= manager._chore.due_at - 300 <= monotonic()
    manager.set_pool_idle_timeout(None)
    pool = manager.get_pool(settings_for("a"))
    manager._chore.due_at = 0
    manager._chore.tick()
    pool.connection().close()


def test_a_pool_can_be_removed(driver, manager):
    pool = manager.get_pool(settings_for("a"))
    lease = pool.connection()
    assert manager.remove_pool(pool.key)
    assert not manager.remove_pool(pool.key)
    lease.cursor().execute("select 1")
    with pytest.raises(PoolEvictedError, match="was removed"):
        pool.connection()
    other = manager.get_pool(settings_for("a"))
    assert other is not pool
    lease.close()
    assert [con.valid for con in driver.cons] == [False]
    with pytest.raises(UnknownPoolError, match="no such"):
        manager.get_pool_info("no such")
    with pytest.raises(LookupError):
        manager.get_pool_info("no such")


def test_a_connection_is_had_although_pools_are_evicted_all_the_time(
        driver, manager):
    manager.set_max_pools(1)
    real = manager.get_pool

    def get_pool(*args):
        pool = real(*args)
        if len(evicted) < 3:
            evicted.append(pool.key)
            manager.remove_pool(pool.key)
        return pool

    evicted = []
    manager.get_pool = get_pool
    with manager.get_connection(settings_for("a")) as con:
        con.cursor().execute("select 1")
    assert len(evicted) == 3


class Crowd:
    """Threads that use many databases, more than there may be pools."""

    def __init__(self, manager, folder):
        self.manager = manager
        self.folder = folder
        self.served = Count()

    def is_done(self):
        return self.served.read() >= 2000

    def use(self, seed):
        rng = random.Random(seed)
        while not self.is_done():
            file = str(self.folder / f"{rng.randrange(8)}.db")
            with suppress(TooManyPoolsError):
                self.ask(ConnectionConfig("sqlite", database=file), seed)
                self.served.step()

    def ask(self, config, seed):
        with self.manager.get_connection(config) as con:
            for _ in range(seed % 3 + 1):
                cursor = con.cursor()
                cursor.execute("select ?", (seed,))
                assert cursor.fetchone() == (seed,)

    def clean(self):
        while not self.is_done():
            self.manager.clear_idle_pools(0)
            for info in self.manager.list_pools()[:1]:
                self.manager.remove_pool(info["key"])


@pytest.mark.slow
@pytest.mark.usefixtures("_restless")
def test_no_connection_is_ever_closed_under_its_user(tmp_path, manager):
    manager.set_max_pools(4)
    crowd = Crowd(manager, tmp_path)
    works = iter([
        *(partial(crowd.use, seed) for seed in range(8)), crowd.clean])
    assert run_together(9, lambda: next(works)()) == [None] * 9
    stats = manager.get_statistics()
    assert stats["manager_stats"]["total_pools"] <= 4
    assert stats["manager_stats"]["total_connections_served"] == (
        crowd.served.read())
    assert stats["aggregate_pool_stats"]["total_active_connections"] == 0


# Figures and health.

def test_the_figures_of_all_pools_are_told(driver, manager):
    leases = [manager.get_connection(settings_for(host)) for host in "aab"]
    leases.pop(0).close()
    stats = manager.get_statistics()
    assert stats["manager_stats"] == {
        "total_pools": 2, "total_pools_created": 2,
        "total_pools_destroyed": 0, "total_connections_served": 3}
    assert stats["aggregate_pool_stats"] == {
        "total_idle_connections": 1, "total_active_connections": 2,
        "total_connections": 3}
    assert [info["key"] for info in stats["pools"]] == [
        settings_for("a").key, settings_for("b").key]
    first = manager.list_pools()[0]
    del leases
    info = stats["pools"][0]
    assert info["connections_served"] == 2
    assert info["driver"] == "psycopg2"
    assert info["db_type"] == "postgresql"
    assert 0 <= info["unused_for"] < PATIENCE
    assert info == {**first, "unused_for": info["unused_for"]}


def test_requests_that_fail_are_not_served(driver, manager):
    pool = manager.get_pool(
        settings_for("a"), PoolConfig(max_total=1, max_wait_time=0))
    with pool.connection():
        for _ in range(3):
            with pytest.raises(TooManyConnectionsError):
                pool.connection()
    pool.run(lambda con: None)
    assert manager.get_pool_info(pool.key)["connections_served"] == 2


def test_the_health_of_all_pools_is_told(driver, manager):
    assert manager.health_check() == {
        "status": "healthy", "healthy_pools": 0, "unhealthy_pools": [],
        "total_pools": 0, "pools": {}}
    manager.get_pool(settings_for("a"))
    assert manager.health_check()["status"] == "healthy"
    down = manager.get_pool(settings_for("down"))
    report = manager.health_check()
    assert report == {
        "status": "degraded", "healthy_pools": 1,
        "unhealthy_pools": [down.key], "total_pools": 2, "pools": {
            settings_for("a").key: "healthy", down.key: "unhealthy"}}
    manager.remove_pool(settings_for("a").key)
    assert manager.health_check()["status"] == "unhealthy"


def test_a_check_is_no_use_and_leaves_nothing_in_use(driver, manager):
    pool = manager.get_pool(settings_for("a"))
    entry = entry_of(manager, pool)
    before = entry.used_at
    assert manager.health_check()["status"] == "healthy"
    info = manager.get_pool_info(pool.key)
    assert (info["connections_served"], info["active_connections"],
            info["idle_connections"]) == (0, 0, 1)
    assert entry.used_at == before


def test_dead_connections_are_not_the_death_of_the_server(driver, manager):
    pool = manager.get_pool(settings_for("a"), PoolConfig(max_total=2))
    with pool.connection(), pool.connection():
        pass
    for con in driver.cons:
        con.cut()
    assert manager.health_check()["status"] == "healthy"
    with pool.connection() as con:
        assert con.dbapi_connection.valid
    driver.cons[-1].cut()
    driver.password = "new"
    assert manager.health_check()["status"] == "unhealthy"


def test_a_pool_whose_connections_are_all_in_use_is_healthy(driver, manager):
    pool = manager.get_pool(settings_for("a"), PoolConfig(max_total=1))
    with pool.connection():
        assert manager.health_check()["status"] == "healthy"


def test_a_server_that_hangs_holds_up_nobody(driver, manager):
    hanging = [
        manager.get_pool(settings_for("hangs", port=port))
        for port in range(1, 20)]
    well = [
        manager.get_pool(settings_for("a", port=port))
        for port in range(1, 20)]
    for _ in range(2):
        report = manager.health_check(2)  # which the others do not need
        assert report["healthy_pools"] == len(well)
        assert report["unhealthy_pools"] == [pool.key for pool in hanging]
    assert len(driver.told) == 38  # the second time waited for the first
    driver.hanging.set()
    probes = [entry_of(manager, pool)._probe for pool in hanging]
    wait_until(lambda: all(probe.is_closed for probe in probes))


# The end.

def test_pools_are_shut_down_the_latest_first(driver, manager, caplog):
    order = []
    for host in "abc":
        manager.get_connection(settings_for(host)).close()
    for con in driver.cons:
        real = con.close
        con.close = lambda con=con, real=real: (
            order.append(con.host), real())
    second = manager.get_pool(settings_for("b"))
    third = manager.get_pool(settings_for("c"))

    def fail(timeout):
        raise RuntimeError(SECRET)
    second.shutdown = fail
    assert not manager.shutdown()
    assert order == ["c", "a"]
    assert "could not be shut down: RuntimeError" in caplog.text
    assert SECRET not in caplog.text
    del second.shutdown
    assert manager.shutdown()
    with pytest.raises(PoolManagerError, match="shut down"):
        manager.get_pool(settings_for("a"))
    with pytest.raises(PoolManagerError, match="shut down"):
        manager.get_connection(settings_for("a"))
    with pytest.raises(PoolEvictedError, match="its manager was shut down"):
        third.connection()
    assert "over" in repr(manager)
    second.shutdown(0)


def test_a_shutdown_waits_only_for_so_long(driver, manager):
    leases = [manager.get_connection(settings_for(host)) for host in "ab"]
    thread = Thread(target=lambda: [lease.close() for lease in leases])
    other = DBConnectionPoolManager.isolated()
    kept = other.get_connection(settings_for("c"))
    assert not other.shutdown(0.01)
    kept.cursor().execute("select 1")
    kept.close()
    assert not driver.cons[-1].valid
    thread.start()
    assert manager.shutdown(PATIENCE)
    thread.join()
    assert not any(con.valid for con in driver.cons)
    assert other.shutdown(None)


def test_a_manager_that_is_dropped_closes_its_pools(driver):
    manager = DBConnectionPoolManager.isolated()
    pool = ref(manager.get_pool(settings_for("a")))
    manager.get_connection(settings_for("a")).close()
    manager.health_check()
    probe = entry_of(manager, pool())._probe
    wait_until(lambda: probe.is_closed)
    gone = ref(manager)
    gc.disable()
    try:
        del manager
        wait_until(lambda: gone() is None and pool() is None)
    finally:
        gc.enable()
    assert not driver.cons[0].valid


def test_there_is_one_manager_in_a_process():
    managers = run_together(16, get_pool_manager)
    assert len(set(managers)) == 1
    assert get_pool_manager() is managers[0]
    managers[0].shutdown()
    assert get_pool_manager() is not managers[0]
    get_pool_manager().shutdown()


AT_EXIT = """
import sqlite3, sys
from dbutils.pool_manager import get_pool_manager

class Connection(sqlite3.Connection):
    def close(self):
        print("closed", flush=True)
        super().close()

for name in ("one", "two"):
    con = get_pool_manager().get_connection(
        db_type="sqlite", database=f"{sys.argv[1]}/{name}",
        options={"factory": Connection})
    con.close()
kept = get_pool_manager().get_connection(
    db_type="sqlite", database=f"{sys.argv[1]}/two",
    options={"factory": Connection})
get_pool_manager().shutdown_was = get_pool_manager().shutdown
def shutdown(timeout):
    print("timeout", timeout, flush=True)
    get_pool_manager().shutdown_was(timeout)
get_pool_manager().shutdown = shutdown
"""


def test_all_is_closed_at_the_exit(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT, str(tmp_path)], check=True,
        capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("timeout 0\nclosed\n")
    assert done.stderr == ""


@needs_fork
def test_a_child_has_a_manager_of_its_own(driver):
    manager = get_pool_manager()
    pool = manager.get_pool(settings_for("a"))
    with pool.connection() as con:
        def work():
            mine = get_pool_manager()
            with mine.get_connection(settings_for("a")) as other:
                other.cursor().execute("select 1")
            with pool.connection() as another:
                is_new = another.dbapi_connection is not driver.cons[0]
            with manager._registry.mutex.take():
                pass
            return (mine is not manager, is_new, len(mine.list_pools()),
                    manager.health_check()["status"])
        assert in_child(work) == (True, True, 1, "healthy")
        con.cursor().execute("select 1")
    manager.shutdown()


@needs_fork
def test_a_child_is_not_stuck_by_what_the_parent_was_doing(driver, manager):
    pool = manager.get_pool(settings_for("hangs"))
    assert manager.health_check(0)["status"] == "unhealthy"
    entry = entry_of(manager, pool)

    def work():
        driver.hanging.set()
        return manager.health_check()["status"], entry._probe.is_closed

    with manager._registry.mutex.take():
        started = run_together(1, lambda: in_child(work))
    assert started == [("unhealthy", True)]
    driver.hanging.set()


# an interrupt of a finalizer is only told
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_leaves_the_manager_usable(driver):
    def prepare():
        manager = DBConnectionPoolManager.isolated()
        manager.set_max_pools(1)
        manager.get_connection(settings_for("a")).close()
        del driver.cons[:-1]

        def work():
            manager.get_connection(settings_for("b")).close()

        def check():
            assert run_together(1, lambda: manager.get_connection(
                settings_for("b")).close()) == [None]
            figures = manager.get_statistics()["aggregate_pool_stats"]
            assert figures["total_active_connections"] == 0
            assert manager.shutdown(1)

        return work, check
    sweep(prepare, stride=13)


def test_a_check_of_the_server_resets_no_lost_connection(
        driver, manager, monkeypatch):
    """That could hang, although another connection is idle and answers."""
    pool = manager.get_pool(settings_for("one"))
    lost, idle = pool.get_connection(), pool.get_connection()
    idle.close()
    entry = entry_of(manager, pool)
    resets = []
    monkeypatch.setattr(pool._core.backend, "reset", resets.append)
    cycle = [lost]
    cycle.append(cycle)
    del lost, cycle
    gc.collect()
    assert entry._answers()
    assert resets == []
    assert not entry.is_used
