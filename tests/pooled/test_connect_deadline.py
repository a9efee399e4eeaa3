"""Requests that leave in time though a server does not answer."""

import gc
import threading
import time
import traceback
from contextlib import suppress
from contextvars import ContextVar
from threading import Event, Thread, current_thread, get_ident
from types import ModuleType

import drivers
import pytest
from drivers import ask, ready
from everywhere import Interrupt, sweep
from patience import PATIENCE, in_threads, join, wait_until
from sweeps import Lease, assert_sound, make_pool

from dbutils._base import attempt, opening
from dbutils._base import threads as _threads
from dbutils._core.slots import Slots
from dbutils._steady import deadlines
from dbutils.pooled_db import PooledDB, TooManyConnectionsError
from dbutils.pooled_pg import PooledPg
from dbutils.pooled_pg import TooManyConnectionsError as TooManyPgError
from dbutils.testing import Proxy

MAXWAIT = 0.3
LIMIT = 2
THREADS = 4

# Drivers leave sockets open when connecting fails, and what is interrupted
# may just be ending, where nobody can catch anything.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning")

DRIVERS = drivers.POSTGRESQL + drivers.MARIADB


class GoneError(Exception):
    """What the fake driver raises."""


class Connection:
    """A connection of the fake driver."""

    def __init__(self):
        self.closed = False

    def cursor(self):
        return self

    def execute(self, statement):
        pass

    def close(self):
        self.closed = True

    commit = rollback = lambda self: None


class Driver(ModuleType):
    """A driver that knows no time-out, and whose server can hang."""

    threadsafety = 1
    OperationalError = InterfaceError = InternalError = Error = GoneError

    def __init__(self, hangs=True):
        super().__init__("hanging_driver")
        self.hanging = 0
        self.most = 0
        self.opened = []
        self.error = None
        self.released = Event()
        if not hangs:
            self.released.set()

    def connect(self):
        self.hanging += 1
        self.most = max(self.most, self.hanging)
        try:
            assert self.released.wait(PATIENCE * 3)
        finally:
            self.hanging -= 1
        if self.error is not None:
            raise self.error
        self.opened.append(Connection())
        return self.opened[-1]


def ask_in_vain(pool, number=THREADS, error=TooManyConnectionsError):
    """Let threads ask for connections; return the errors that they get."""
    errors = []

    def checkout():
        try:
            pool.connection()
        except error as refused:
            errors.append(refused)

    join(in_threads(checkout, number))
    assert len(errors) == number
    return errors


def in_use(pool):
    return pool.stats().in_use


def take_all(pool, number=LIMIT):
    """Take all connections that there may be, and no more."""
    leases = [pool.connection(maxwait=PATIENCE) for _ in range(number)]
    with pytest.raises(TooManyConnectionsError):
        pool.connection(maxwait=0)
    return leases


# With real drivers.


@pytest.fixture(params=DRIVERS, ids=repr)
def driver(request, servers_running):
    return ready(request.param, servers_running)


def be_pure(driver, monkeypatch):
    """Use no old extension in C.

    It holds the lock of the interpreter, which the threads of a proxy need.
    """
    if driver.name == "mysql.connector":
        monkeypatch.setattr(driver, "kwargs", {"use_pure": True})


@pytest.fixture
def hole(driver, monkeypatch):
    be_pure(driver, monkeypatch)
    with Proxy(driver.port) as hole:
        hole.swallow()
        monkeypatch.setattr(driver, "port", hole.port)
        yield hole


@pytest.fixture
def pool(driver, hole):
    pool = PooledDB(
        driver.load(), maxconnections=LIMIT, blocking=True, maxwait=MAXWAIT,
        **driver.parameters())
    yield pool
    pool.close()


@pytest.mark.portable
def test_all_leave_a_hole_before_it_ends(pool, hole):
    ask_in_vain(pool)
    wait_until(lambda: hole.held == LIMIT)  # they hang, and count
    assert in_use(pool) == LIMIT
    ask_in_vain(pool)
    assert hole.held == LIMIT  # and there are no more of them


@pytest.mark.portable
def test_what_a_hole_lets_go_late_becomes_idle(pool, hole):
    ask_in_vain(pool)
    hole.resume()
    wait_until(lambda: len(pool._idle_cache) == LIMIT)
    assert in_use(pool) == 0
    late = {id(con) for con in pool._idle_cache}
    leases = take_all(pool)
    assert {id(lease._con) for lease in leases} == late
    assert [ask(lease, "select 1") for lease in leases] == [1] * LIMIT
    for lease in leases:
        lease.close()
    assert len(pool._idle_cache) == LIMIT


@pytest.mark.portable
def test_the_places_are_empty_when_a_hole_drops_what_it_held(pool, hole):
    ask_in_vain(pool)
    hole.cut()
    hole.resume()
    wait_until(lambda: in_use(pool) == 0)
    leases = take_all(pool)
    assert [ask(lease, "select 1") for lease in leases] == [1] * LIMIT


@pytest.mark.portable
def test_a_late_connection_goes_to_whoever_waits(pool, hole):
    ask_in_vain(pool)
    served = []
    threads = in_threads(
        lambda: served.append(pool.connection(maxwait=PATIENCE)), LIMIT)
    wait_until(lambda: pool.stats().waiting == LIMIT)
    hole.resume()
    join(threads)
    assert len({id(lease._con) for lease in served}) == LIMIT


@pytest.mark.slow
@pytest.mark.portable
def test_the_driver_gives_up_what_hangs_for_long(pool, hole, monkeypatch):
    monkeypatch.setattr(attempt.Attempt, "least_limit", 2)
    ask_in_vain(pool)
    wait_until(lambda: in_use(pool) == 0)
    assert hole.held == LIMIT  # they were not dropped there


def test_a_limit_for_connecting_does_not_stay(driver):
    """A statement may take longer than connecting."""
    pool = PooledDB(driver.load(), maxwait=PATIENCE, **driver.parameters())
    with pool.connection() as lease:
        assert ask(lease, "select 1") == 1
        con = lease.dbapi_connection
        for name in ("_usock", "_sock"):
            sock = getattr(con, name, None)
            if hasattr(sock, "gettimeout"):
                assert sock.gettimeout() is None
    pool.close()


@pytest.mark.parametrize(
    "driver", [drivers.BY_NAME["psycopg2"]], indirect=True, ids=repr)
@pytest.mark.parametrize("way", ["option", "string", "environment"])
def test_a_limit_of_the_program_stays(driver, monkeypatch, way):
    monkeypatch.setattr(attempt.Attempt, "least_limit", 3)
    options, expected = driver.parameters(), "2"
    args = ()
    if way == "option":
        options["connect_timeout"] = 2
    elif way == "string":
        args = ("connect_timeout=2",)
    else:
        monkeypatch.setenv("PGCONNECT_TIMEOUT", "2")
        expected = None
    for maxwait, limit in ((PATIENCE, expected), (None, expected)):
        pool = PooledDB(
            driver.load(), 0, 0, 0, 0, False, None, None, True, None, 1,
            *args, maxwait=maxwait, **options)
        with pool.connection() as lease:
            told = lease.dbapi_connection.info.dsn_parameters
            assert told.get("connect_timeout") in {limit, expected, "2"}
        pool.close()


def test_a_pool_of_classic_pygresql_keeps_its_word(servers_running):
    drivers.load("pg")
    with Proxy(servers_running("postgresql")) as hole:
        hole.swallow()
        pool = PooledPg(
            0, 0, LIMIT, True, maxwait=MAXWAIT, dbname="postgres",
            host=drivers.HOST, port=hole.port, user="postgres")
        ask_in_vain(pool, error=TooManyPgError)
        assert hole.held == in_use(pool) == LIMIT
        hole.resume()
        wait_until(lambda: pool._cache.qsize() == LIMIT)
        leases = [pool.connection(maxwait=PATIENCE) for _ in range(LIMIT)]
        assert [lease.query("select 1").getresult()[0][0]
                for lease in leases] == [1] * LIMIT
        with pytest.raises(TooManyPgError):
            pool.connection(maxwait=0)
        pool.shutdown(0)


# With a driver that knows no time-out.


def test_all_leave_a_driver_without_a_time_out():
    driver = Driver()
    pool = PooledDB(driver, maxconnections=LIMIT, maxwait=MAXWAIT)
    for _ in range(3):
        ask_in_vain(pool)
        assert driver.hanging == LIMIT
    driver.released.set()
    wait_until(lambda: len(pool._idle_cache) == LIMIT)
    take_all(pool)
    assert driver.most == len(driver.opened) == LIMIT


def test_a_hole_that_ends_with_an_error_leaves_the_places_empty():
    driver = Driver()
    pool = PooledDB(driver, maxconnections=LIMIT, maxwait=MAXWAIT)
    ask_in_vain(pool)
    driver.error = GoneError("it was no use")
    driver.released.set()
    wait_until(lambda: in_use(pool) == 0)
    driver.error = None
    take_all(pool)
    assert driver.most == LIMIT


def test_the_error_says_for_how_long_connecting_has_taken():
    pool = PooledDB(Driver(), maxconnections=LIMIT, maxwait=MAXWAIT)
    [first] = ask_in_vain(pool, 1)
    assert str(first).startswith("No connection could be opened in 0.")
    assert "A connection is still being opened for 0." in str(first)
    assert "maxconnections: 2" in str(first)
    assert "maxwait" in str(first)
    assert first.__cause__ is None
    ask_in_vain(pool, 1)
    [waited] = ask_in_vain(pool, 1)
    assert str(waited).startswith("All connections of the pool are in use")
    assert "2 connections are still being opened, the first one for" in (
        str(waited))


def test_the_error_has_that_of_the_last_attempt_as_its_cause():
    driver = Driver(hangs=False)
    driver.error = GoneError("connection refused")
    pool = PooledDB(driver, maxconnections=1, maxwait=MAXWAIT * 3)
    with pytest.raises(GoneError):
        pool.connection(maxwait=0)
    driver.error = None
    driver.released.clear()
    [error] = ask_in_vain(pool, 1)
    assert isinstance(error.__cause__, GoneError)
    assert "connection refused" in "".join(traceback.format_exception(
        type(error), error, error.__traceback__))


def test_an_error_of_the_driver_is_raised_as_it_is():
    driver = Driver(hangs=False)
    driver.error = GoneError("password authentication failed")
    pool = PooledDB(driver, maxconnections=1, maxwait=PATIENCE)
    with pytest.raises(GoneError) as caught:
        pool.connection()
    assert caught.value is driver.error
    assert in_use(pool) == 0


def test_an_unlimited_pool_has_no_crowd_of_hanging_connects():
    driver = Driver()
    pool = PooledDB(driver, maxwait=0.2)
    pool._core.throttle.most_hanging = 3
    for _ in range(5):
        ask_in_vain(pool, 1)
    assert driver.hanging == 3
    assert in_use(pool) == 3
    served = []
    threads = in_threads(
        lambda: served.append(pool.connection(maxwait=PATIENCE)), 1)
    driver.released.set()
    join(threads)
    assert len(served) == 1


def test_a_connect_that_hangs_is_left_for_one_that_comes_back():
    driver = Driver(hangs=False)
    pool = PooledDB(driver, maxconnections=LIMIT)
    lease = pool.connection()
    driver.released.clear()
    served = []
    threads = in_threads(
        lambda: served.append(pool.connection(maxwait=PATIENCE)), 1)
    wait_until(lambda: driver.hanging)
    con = lease._con
    lease.close()
    join(threads)
    assert served[0]._con is con
    assert driver.hanging == 1
    driver.released.set()
    wait_until(lambda: len(pool._idle_cache) == 1)


def test_a_late_connection_of_an_emptied_pool_is_closed():
    driver = Driver()
    pool = PooledDB(driver, maxconnections=LIMIT, maxwait=MAXWAIT)
    ask_in_vain(pool, 1)
    pool.drain()
    driver.released.set()
    wait_until(lambda: in_use(pool) == 0)
    assert len(pool._idle_cache) == 0
    assert [con.closed for con in driver.opened] == [True]


def test_the_limit_holds_while_connections_come_late(monkeypatch):
    monkeypatch.setattr(attempt.Attempt, "least_time", 0)
    driver = Driver()
    pool = PooledDB(driver, maxconnections=LIMIT, maxwait=0.001)
    done, taken, most = Event(), [], []

    def checkout():
        while not done.is_set():
            with suppress(TooManyConnectionsError):
                lease = pool.connection()
                taken.append(lease._con)
                most.append(len(taken))
                taken.remove(lease._con)
                pool._core.destroy(lease)

    threads = in_threads(checkout, 8)
    while len(driver.opened) < 200:
        driver.released.set()
        driver.released.clear()
    done.set()
    driver.released.set()
    join(threads)
    wait_until(lambda: in_use(pool) == 0)
    assert max(most) <= LIMIT
    assert driver.most <= LIMIT
    take_all(pool)
    assert sum(not con.closed for con in driver.opened) == LIMIT


# Where there is no helper.


def threads_of_connects(driver, **options):
    """Return in which threads a pool connects for two requests."""
    threads = []

    def connect():
        threads.append(get_ident())
        return driver.connect()

    connect.dbapi = driver
    pool = PooledDB(connect, **options)
    leases = [pool.connection() for _ in range(2)]
    assert len(leases) == 2
    return threads


@pytest.mark.parametrize("options", [
    {}, {"blocking": True}, {"maxwait": 0}, {"mincached": 2, "maxwait": 9}])
def test_who_need_not_hurry_connects_itself(options):
    driver = Driver(hangs=False)
    driver.threadsafety = 1
    here = get_ident()
    # other threads only help with what is opened ahead
    expected = {1, 2} if options.get("mincached") else {2}
    assert threads_of_connects(driver, **options).count(here) in expected


def test_who_has_a_deadline_is_helped():
    threads = threads_of_connects(Driver(hangs=False), maxwait=PATIENCE)
    assert get_ident() not in threads


def test_opening_the_first_connections_may_take_longer():
    driver = Driver()
    pools = []
    threads = in_threads(lambda: pools.append(PooledDB(
        driver, mincached=1, maxconnections=LIMIT, maxwait=0.01)), 1)
    wait_until(lambda: driver.hanging)
    Event().wait(0.2)
    driver.released.set()
    join(threads)
    assert len(pools[0]._idle_cache) == 1


@pytest.mark.parametrize("is_module", [True, False])
def test_an_embedded_database_is_opened_where_it_is_used(tmp_path, is_module):
    sqlite3 = pytest.importorskip("sqlite3")
    threads = []

    def connect(name):
        threads.append(get_ident())
        return sqlite3.connect(name)  # can only be used by this thread

    connect.dbapi = sqlite3
    pool = PooledDB(
        sqlite3 if is_module else connect, 0, 0, 0, 0, False, None, None,
        True, None, 1, str(tmp_path / "test.db"), maxwait=PATIENCE)
    with pool.connection() as first, pool.connection() as second:
        assert ask(first, "select 1") == ask(second, "select 1") == 1
    assert threads == [] if is_module else threads[-2:] == [get_ident()] * 2
    pool.close()


def test_a_system_without_room_for_threads_connects_itself(monkeypatch):
    monkeypatch.setattr(attempt, "start_thread", lambda run, name: False)
    threads = threads_of_connects(Driver(hangs=False), maxwait=PATIENCE)
    assert threads == [get_ident()] * 2


def test_a_creator_finds_the_context_of_the_request():
    driver, here = Driver(hangs=False), ContextVar("here", default=None)
    seen = []

    def connect():
        seen.append((here.get(), current_thread() is threading.main_thread()))
        return driver.connect()

    connect.dbapi = driver
    pool = PooledDB(connect, maxwait=PATIENCE)
    here.set("the request")
    pool.connection()
    assert seen == [("the request", False)]
    assert opening.time_limit() is None


@pytest.fixture
def _uncollected(_frozen):
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_uncollected")
def test_a_dropped_lease_is_back_at_once():
    """The helper holds nothing any more when the request goes on.

    What other tests have left would be collected in the middle of it, and the
    warnings of sockets that were not closed would keep its frames.
    """
    driver = Driver(hangs=False)
    for _ in range(200):
        pool = PooledDB(driver, maxconnections=1, maxwait=PATIENCE)
        lease = pool.connection()
        del lease
        assert in_use(pool) == 0
        con = driver.opened.pop()
        del pool
        assert con.closed


class SlowOutcomes(dict):
    """Keeps a helper at the step at which it has told its outcome."""

    def __init__(self):
        super().__init__()
        self.told, self.may_go_on = Event(), Event()

    def setdefault(self, key, value):
        known = super().setdefault(key, value)
        self.told.set()
        assert self.may_go_on.wait(PATIENCE)
        return known


def test_a_request_waits_until_its_helper_has_dropped_everything():
    """Also if it finds the outcome before it has begun to wait."""
    slots = Slots(1)
    permit = slots.take()
    helped = attempt.Attempt(object, permit, None)
    outcomes = helped._outcomes = SlowOutcomes()
    gate = helped._gate

    class Gate:
        release = gate.release

        @staticmethod
        def acquire(*args):
            outcomes.may_go_on.set()
            return gate.acquire(*args)

    helped._gate = Gate()
    try:
        assert helped.begin(PATIENCE)
        assert outcomes.told.wait(PATIENCE)
        assert helped.wait(time.monotonic() + PATIENCE, bool) is not None
        assert helped._connect is None
    finally:
        outcomes.may_go_on.set()


# Interrupts.


@pytest.mark.usefixtures("_uncollected")
def test_an_error_that_refers_to_itself_holds_no_place():
    """Until it is collected it keeps the functions that it came through."""
    driver, attempts = Driver(hangs=False), []

    def connect():
        attempts.append(1)
        if len(attempts) == 1:
            error = GoneError("connection refused")
            raise error
        return driver.connect()

    connect.dbapi = driver
    pool = PooledDB(connect, maxconnections=1, maxwait=PATIENCE)
    lease = pool.connection()
    assert len(attempts) == 2
    del lease
    assert in_use(pool) == 0


def helped_pool():
    pool = make_pool()
    pool.core.has_helpers = True
    return pool


class PatientLease(Lease):
    def take(self):
        self.permit = self.pool.core.acquire(
            self.pool.backend.connect, PATIENCE, self.shareable)


def settled(pool):
    """Wait until helpers that were left are ready."""
    wait_until(lambda: pool.core.stats().in_use == 0)
    gc.collect()  # the error of an attempt that was interrupted
    assert_sound(pool)


@pytest.mark.usefixtures("_uncollected")
@pytest.mark.parametrize("fails", [False, True])
def test_an_interrupt_anywhere_in_a_helped_request_loses_nothing(fails):
    def prepare():
        pool = helped_pool()
        lease = PatientLease(pool)

        def fail_once(con):
            pool.backend.also.clear()
            raise ConnectionError("connection refused")

        if fails:
            pool.backend.also["connect"] = fail_once

        def check():
            lease.permit = None
            pool.backend.also.clear()
            settled(pool)
        return lease.take, check

    assert sweep(prepare) > 100


@pytest.mark.usefixtures("_uncollected")
def test_an_interrupt_anywhere_in_the_wait_for_a_helper_loses_nothing(
        monkeypatch):
    monkeypatch.setattr(attempt.Attempt, "least_time", 0)

    def prepare():
        pool = helped_pool()
        release = Event()
        pool.backend.also["connect"] = lambda con: release.wait(PATIENCE)

        def work():
            with suppress(Exception):
                pool.core.acquire(pool.backend.connect, 0.001)

        def check():
            release.set()
            pool.backend.also.clear()
            settled(pool)
        return work, check

    assert sweep(prepare) > 100


@pytest.mark.usefixtures("_uncollected")
def test_an_interrupt_anywhere_in_a_helper_loses_nothing(monkeypatch):
    """Its place comes back, and the request leaves in time."""
    def prepare():
        pool = helped_pool()
        helpers = []
        monkeypatch.setattr(
            attempt, "start_thread",
            lambda run, name: helpers.append(run) or True)
        errors = []

        def request():
            try:
                permit = pool.core.acquire(pool.backend.connect, 0.1)
                pool.core.release(permit.slot.con)
            except (Interrupt, Exception) as error:
                errors.append(type(error))

        thread = Thread(target=request, daemon=True)
        thread.start()
        wait_until(lambda: helpers)

        def work():
            helpers.pop()()

        def check():
            helpers.clear()
            thread.join(PATIENCE)
            assert not thread.is_alive()
            monkeypatch.setattr(
                attempt, "start_thread", _threads.start_thread)
            settled(pool)
        return work, check

    assert sweep(prepare, stride=7) > 50


# Questions.


@pytest.fixture
def slow(driver, monkeypatch):
    """A server that is healthy, but that can be slow to answer."""
    be_pure(driver, monkeypatch)
    with Proxy(driver.port) as proxy:
        monkeypatch.setattr(driver, "port", proxy.port)
        yield proxy


@pytest.mark.portable
@pytest.mark.parametrize("maxwait", [0.02, 0.3])
def test_a_request_that_is_late_leaves_a_healthy_session_alone(
        driver, slow, monkeypatch, maxwait):
    ended = []
    monkeypatch.setattr(
        deadlines._Watchdog, "_end",
        lambda self, key, descriptor: ended.append(descriptor))
    pool = PooledDB(
        driver.load(), maxconnections=1, mincached=1, ping="select 1",
        **driver.parameters())
    with pool.connection(maxwait=PATIENCE) as lease:
        session = ask(lease, driver.who_am_i)
    slow.swallow()
    for _ in range(5):
        lease = pool.connection(maxwait=maxwait)
        slow.resume()
        assert ask(lease, driver.who_am_i) == session
        lease.close()
        slow.swallow()
    slow.resume()
    assert ended == []
    pool.close()


@pytest.mark.portable
def test_a_request_that_is_late_gets_no_session_that_was_killed(
        driver, servers_running):
    pool = PooledDB(
        driver.load(), maxconnections=1, mincached=1, ping="select 1",
        **driver.parameters())
    with pool.connection() as lease:
        session = ask(lease, driver.who_am_i)
        lease.rollback()
    driver.kill(session)
    lease = pool.connection(maxwait=0.3)
    assert ask(lease, driver.who_am_i) != session
    pool.close()


@pytest.mark.portable
@pytest.mark.parametrize(
    "driver", [driver for driver in DRIVERS
               if driver.name != "mysql.connector"], indirect=True, ids=repr)
def test_a_question_that_gets_no_answer_leaves_time_to_connect(
        driver, monkeypatch):
    with Proxy(driver.port) as proxy:
        monkeypatch.setattr(driver, "port", proxy.port)
        monkeypatch.setattr(deadlines, "LIMIT", PATIENCE * 10)
        pool = PooledDB(
            driver.load(), maxconnections=1, mincached=1, ping="select 1",
            **driver.parameters())
        proxy.swallow(new=False)
        with pool.connection(maxwait=4) as lease:
            assert ask(lease, "select 1") == 1
        pool.close()
