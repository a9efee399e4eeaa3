"""A server that refuses connections, or is started again."""

from contextlib import ExitStack, suppress
from copy import copy
from threading import Event
from time import monotonic

import drivers
import pytest
from drivers import ask, start
from patience import PATIENCE, in_threads, join, wait_until
from refusals import Driver, RefusedError

from dbutils._core.throttle import ConnectThrottle, Elsewhere
from dbutils._drivers.outages import is_full, is_outage
from dbutils.pooled_db import PooledDB

THREADS = 16
def test_who_can_wait_is_served_when_the_server_is_back():
    driver = Driver()
    driver.is_away = True
    pool = PooledDB(driver, maxconnections=THREADS, maxwait=PATIENCE)
    served = []

    def checkout():
        with pool.connection():
            served.append(None)

    begin = monotonic()
    threads = in_threads(checkout, THREADS)
    wait_until(lambda: driver.attempts >= 3 * THREADS)
    attempts, passed = driver.attempts, monotonic() - begin
    assert not served
    driver.is_away = False
    join(threads)
    assert len(served) == THREADS
    # those who came together, and 20 in a second
    assert attempts <= THREADS + 7 + 20 * passed


def test_who_cannot_wait_gets_the_error_without_another_attempt():
    driver = Driver()
    driver.is_away = True
    pool = PooledDB(driver)
    throttle = pool._core.throttle
    throttle.clock = lambda: 100.0  # it stands still
    for _ in range(50):
        with pytest.raises(RefusedError, match="connection refused"):
            pool.connection()
    assert driver.attempts <= 5 + 1
    throttle.clock = monotonic
    driver.is_away = False
    pool.connection(maxwait=PATIENCE).close()
    assert pool.connection()


def test_lost_connections_make_no_more_attempts_than_others():
    driver = Driver()
    pool = PooledDB(driver, mincached=50)
    driver.is_away = True
    driver.attempts = 0
    begin = monotonic()
    for lease in [pool.connection() for _ in range(50)]:
        with pytest.raises(RefusedError):
            lease.cursor()
    assert driver.attempts <= 6 + 20 * (monotonic() - begin)


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
        (RefusedError(
            "the database system is not yet accepting connections"), True),
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
    throttle = ConnectThrottle(is_outage)
    now = [100.0]
    throttle.clock = lambda: now[0]
    attempts = []

    def refuse():
        attempts.append(now[0])
        raise RefusedError("connection refused")

    for step in range(3000):
        now[0] = 100 + step / 1000
        with suppress(RefusedError):
            throttle.connect(refuse, None, lambda: False)
    assert 50 <= len(attempts) <= 5 + 61
    gaps = [after - before for before, after
            in zip(attempts[6:], attempts[7:])]
    assert max(gaps) < 0.06  # of a clock that the test has set
    with pytest.raises(Elsewhere):
        throttle.connect(refuse, 1000, lambda: True)
    now[0] = 200
    assert throttle.connect(lambda: "connection", 1000, lambda: False)
    assert throttle.error is None


class Server:
    """A server that can be killed and started, and a driver for it."""

    def __init__(self, driver, server):
        self.driver = driver
        self.error = driver.error
        self.kill = server.kill
        self.start = server.start
        self.opened = 0
        driver.port = server.port

    def connect(self, **parameters):
        self.opened += 1
        return self.driver.load().connect(**parameters)

    def pool(self, **options):
        """Return a pool for this server."""
        return PooledDB(
            self.connect, mincached=50, maxconnections=50,
            **options, **self.driver.parameters())


@pytest.fixture(params=["psycopg2", "pymysql"])
def server(request):
    """A server of its own, that can be killed and started."""
    driver = copy(drivers.BY_NAME[request.param])
    with ExitStack() as stack:
        yield Server(driver, start(stack, driver.family))


class Load:
    """Many threads that use a pool until they are told to end."""

    def __init__(self, pool, error):
        self.pool = pool
        self.error = error
        self.done = Event()
        self.served = []
        self.errors = []  # and when the requests began that failed
        self.threads = in_threads(self.work, THREADS)

    def work(self):
        while not self.done.is_set():
            began = monotonic()
            try:
                with self.pool.connection() as db, db.cursor() as cursor:
                    cursor.execute("select 1")
                self.served.append(None)
            except self.error as error:
                self.errors.append((began, error))
                self.done.wait(0.01)  # as one does who tries again

    def wait(self, number):
        """Wait until so many more were served."""
        number += len(self.served)
        wait_until(lambda: len(self.served) >= number)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.done.set()
        join(self.threads)


@pytest.mark.slow
@pytest.mark.parametrize("maxwait", [PATIENCE, None])
def test_a_killed_server_is_used_again_when_it_is_back(server, maxwait):
    pool = server.pool(maxwait=maxwait)
    with Load(pool, server.error) as load:
        load.wait(200)
        server.kill()
        server.opened, killed = 0, monotonic()
        wait_until(lambda: server.opened >= 2 * THREADS)
        # each attempt is followed by a pause, for all threads together, but
        # for those that were made before one was known to fail
        assert server.opened <= (
            THREADS + 7 + 20 * (monotonic() - killed))
        server.start()
        load.wait(200)
    if maxwait:
        assert all(began < killed for began, _ in load.errors)
    assert ask(pool.connection(), "select 2") == 2
    # a request may have left its connect for one that came back
    wait_until(lambda: pool._connections == 0)
    pool.close()


@pytest.mark.slow
def test_after_a_restart_the_first_request_costs_one_connect(server):
    pool = server.pool()
    server.kill()
    server.start()
    server.opened = 0
    for number in range(1, 4):
        with pool.connection() as db:
            assert ask(db, "select 1") == 1
        assert server.opened <= number
    pool.close()


@pytest.mark.slow
def test_after_a_restart_nobody_sees_an_error(server):
    pool = server.pool()
    server.kill()
    server.start()
    with Load(pool, server.error) as load:
        load.wait(200)
    assert load.errors == []
    pool.close()


class Coded(RefusedError):  # noqa: N818 - its repr is short
    """An error with an SQLSTATE."""

    def __init__(self, sqlstate):
        super().__init__("A text in any language")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("error", "expected"), [
        (RefusedError("FATAL:  sorry, too many clients already"), True),
        (RefusedError(
            "FATAL:  remaining connection slots are reserved for roles with"
            " the SUPERUSER attribute"), True),
        (RefusedError('FATAL:  too many connections for role "shop"'), True),
        (RefusedError("FATAL:  tut mir leid, schon zu viele Verbindungen"),
         True),
        (RefusedError("no more connections allowed (max_client_conn)"), True),
        (RefusedError("ERROR:  no more connections allowed"), True),
        (Coded("53300"), True),
        (RefusedError(1040, "Too many connections"), True),
        (RefusedError(1203, "User shop already has more than"
                      " 'max_user_connections' active connections"), True),
        (RefusedError(1226, "User 'shop' has exceeded the"
                      " 'max_user_connections' resource"), True),
        (RefusedError(1226, "User 'shop' has exceeded the"
                      " 'max_connections_per_hour' resource"), False),
        (RefusedError("ORA-00018: maximum number of sessions exceeded"), True),
        (RefusedError("ORA-00020: maximum number of processes (9) exceeded"),
         True),
        (RefusedError("ORA-12519: TNS:no appropriate service handler found"),
         True),
        (RefusedError(10928, "The request limit for the database is 60"),
         True),
        (RefusedError(17809, "Could not connect because the maximum number"
                      " of '10' user connections has already been reached"),
         True),
        (OSError(24, "Too many open files"), False),
        (RefusedError("connection refused"), False),
        (RefusedError(1045, "Access denied"), False),
        (KeyboardInterrupt("too many connections"), False)], ids=repr)
def test_a_full_server_is_told_from_others(error, expected):
    assert is_full(error) is expected
    assert is_outage(error) or not expected
