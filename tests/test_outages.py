"""A server that refuses connections, or is started again."""

from contextlib import ExitStack, suppress
from threading import Event, Lock, Thread
from time import monotonic
from types import ModuleType

import drivers
import pytest
import servers
from conftest import start

from dbutils._outage import Elsewhere, Outage, is_outage
from dbutils.pooled_db import PooledDB

PATIENCE = 60  # seconds after which a test has failed
THREADS = 16


class RefusedError(Exception):
    """What the driver raises."""


class Connection:
    def cursor(self):
        return self

    def execute(self, statement):
        pass

    rollback = commit = close = lambda self: None


class Driver(ModuleType):
    """A driver whose server can be away."""

    threadsafety = 2
    OperationalError = InterfaceError = InternalError = RefusedError

    def __init__(self):
        super().__init__("outage_driver")
        self.is_away = False
        self.attempts = 0
        self.lock = Lock()

    def connect(self):
        with self.lock:
            self.attempts += 1
        if self.is_away:
            raise RefusedError("connection refused")
        return Connection()


def in_threads(function, number=THREADS):
    threads = [Thread(target=function, daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    return threads


def join(threads):
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)


def test_who_can_wait_is_served_when_the_server_is_back():
    driver = Driver()
    driver.is_away = True
    pool = PooledDB(driver, maxconnections=THREADS, maxwait=PATIENCE)
    served = []

    def visit():
        with pool.connection():
            served.append(monotonic())

    threads = in_threads(visit)
    Event().wait(1)
    attempts = driver.attempts
    assert not served
    driver.is_away = False
    back = monotonic()
    join(threads)
    assert len(served) == THREADS
    # those who came together, and 20 in a second
    assert attempts <= THREADS + 5 + 25
    assert min(served) - back < 1


def test_who_cannot_wait_gets_the_error_without_another_attempt():
    driver = Driver()
    driver.is_away = True
    pool = PooledDB(driver)
    end = monotonic() + 0.5
    errors = 0
    while monotonic() < end:
        with pytest.raises(RefusedError, match="connection refused"):
            pool.connection()
        errors += 1
    assert errors > driver.attempts
    assert driver.attempts <= 5 + 20
    driver.is_away = False
    pool.connection(maxwait=PATIENCE).close()
    assert pool.connection()


def test_who_waits_in_vain_gets_the_error_of_the_driver():
    driver = Driver()
    driver.is_away = True
    pool = PooledDB(driver, maxconnections=1)
    begin = monotonic()
    with pytest.raises(RefusedError):
        pool.connection(maxwait=0.2)
    assert monotonic() - begin >= 0.15
    assert pool._connections == 0


def test_a_connection_that_comes_back_ends_the_wait_for_the_server():
    """A server with too many connections is not asked for more."""
    driver = Driver()
    pool = PooledDB(driver, maxconnections=5)
    lease = pool.connection()
    driver.is_away = True
    served = []
    threads = in_threads(
        lambda: served.append(pool.connection(maxwait=PATIENCE)), 1)
    while driver.attempts < 8:
        Event().wait(0.001)
    con = lease._con
    lease.close()
    join(threads)
    assert served[0]._con is con


@pytest.mark.parametrize(
    ("error", "expected"), [
        (RefusedError("connection refused"), True),
        (ConnectionRefusedError(), True),
        (RefusedError(1040, "Too many connections"), True),
        (RefusedError("the database system is starting up"), True),
        (RefusedError("password authentication failed"), False),
        (RefusedError(1045, "Access denied"), False),
        (RefusedError('database "none" does not exist'), False),
        (TypeError("connect() got an unexpected keyword"), False),
        (KeyboardInterrupt(), False)], ids=repr)
def test_only_an_outage_is_waited_for(error, expected):
    assert is_outage(error) is expected


def test_another_error_is_raised_at_once():
    driver = Driver()
    pool = PooledDB(driver, maxwait=PATIENCE, unknown_option=1)
    with pytest.raises(TypeError, match="unknown_option"):
        pool.connection()
    assert pool._connections == 0


def test_attempts_are_spaced_by_the_clock():
    outage = Outage()
    now = [100.0]
    outage.clock = lambda: now[0]
    attempts = []

    def refuse():
        attempts.append(now[0])
        raise RefusedError("connection refused")

    for step in range(3000):
        now[0] = 100 + step / 1000
        with suppress(RefusedError):
            outage.connect(refuse, None, lambda: False)
    assert 50 <= len(attempts) <= 5 + 61
    gaps = [after - before for before, after
            in zip(attempts[6:], attempts[7:])]
    assert max(gaps) < 0.06
    with pytest.raises(Elsewhere):
        outage.connect(refuse, 1000, lambda: True)
    now[0] = 200
    assert outage.connect(lambda: "connection", 1000, lambda: False)
    assert outage.error is None


@pytest.fixture
def restartable():
    """A PostgreSQL server of its own, that can be killed and started."""
    with ExitStack() as stack:
        yield start(stack, servers.restartable_postgresql)


class Load:
    """Many threads that use a pool until they are told to end."""

    def __init__(self, pool, error):
        self.pool = pool
        self.error = error
        self.done = Event()
        self.served = []
        self.errors = []
        self.threads = in_threads(self.work)

    def work(self):
        while not self.done.is_set():
            try:
                with self.pool.connection() as db, db.cursor() as cursor:
                    cursor.execute("select 1")
                self.served.append(monotonic())
            except self.error as error:
                self.errors.append(error)

    def wait(self, number):
        """Wait until so many more were served."""
        number += len(self.served)
        end = monotonic() + PATIENCE
        while len(self.served) < number:
            assert monotonic() < end
            Event().wait(0.001)

    def end(self):
        self.done.set()
        join(self.threads)


@pytest.mark.parametrize("maxwait", [PATIENCE, None])
def test_a_killed_server_is_used_again_when_it_is_back(restartable, maxwait):
    driver = drivers.BY_NAME["psycopg2"]
    driver.port = restartable.port
    pool = PooledDB(
        driver.load(), mincached=50, maxconnections=50, maxwait=maxwait,
        **driver.parameters())
    load = Load(pool, driver.error)
    load.wait(200)
    restartable.kill()
    Event().wait(0.3)
    restartable.start()
    ready = monotonic()
    load.wait(200)
    load.end()
    assert min(end for end in load.served if end > ready) - ready < 1
    with pool.connection() as db, db.cursor() as cursor:
        cursor.execute("select 2")
        assert cursor.fetchone() == (2,)
    assert pool._connections == 0
    pool.close()


def test_after_a_restart_the_first_request_costs_one_connect(restartable):
    driver = drivers.BY_NAME["psycopg2"]
    module = driver.load()
    driver.port = restartable.port
    opened = []

    def creator(**parameters):
        opened.append(1)
        return module.connect(**parameters)

    pool = PooledDB(
        creator, mincached=50, maxconnections=50, **driver.parameters())
    restartable.kill()
    restartable.start()
    opened.clear()
    for number in range(1, 4):
        with pool.connection() as db, db.cursor() as cursor:
            cursor.execute("select 1")
        assert len(opened) <= number
    pool.close()


