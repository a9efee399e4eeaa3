"""Pools whose server has too many connections, and those that connect."""

from contextlib import ExitStack, suppress
from threading import Event, Lock
from types import ModuleType

import pytest
from everywhere import sweep
from patience import PATIENCE, in_threads, join, wait_until

from dbutils._core import ceiling, slots, yielding
from dbutils._pooled.backends import DbBackend
from dbutils._steady.steady import session_of
from dbutils.pooled_db import PooledDB, TooManyConnectionsError
from dbutils.testing import ScriptedDriver

pytestmark = pytest.mark.portable

SOON = 0.05


@pytest.fixture
def driver():
    return ScriptedDriver()


@pytest.fixture
def clock(monkeypatch):
    """A clock for what is allowed to a pool, which is put on by the test."""
    now = [1000.0]
    monkeypatch.setattr(ceiling, "monotonic", lambda: now[0])
    monkeypatch.setattr(yielding, "monotonic", lambda: now[0])
    monkeypatch.setattr(ceiling, "urandom", bytes)  # nothing varies
    return now


def take(pool, number):
    return [pool.connection(maxwait=PATIENCE) for _ in range(number)]


def close(leases):
    for lease in leases:
        lease.close()


def opened(pool):
    stats = pool.stats()
    return stats.in_use + stats.idle


@pytest.mark.parametrize("options", [
    {"blocking": True}, {"maxwait": PATIENCE}], ids=str)
def test_a_request_waits_for_a_full_server(driver, options):
    driver.max_connections = 1
    other = driver.connect()
    pool = PooledDB(driver, maxconnections=4, **options)
    served = []
    threads = in_threads(lambda: served.append(pool.connection()), 2)
    wait_until(lambda: pool.stats().waiting == 2)
    assert not served
    other.close()
    wait_until(lambda: len(served) == 1)
    served[0].close()
    join(threads)
    assert len(served) == 2


@pytest.mark.parametrize("options", [
    {}, {"maxconnections": 4}, {"maxwait": 0}], ids=str)
def test_a_request_that_may_not_wait_gets_the_error_of_the_driver(
        driver, options):
    driver.max_connections = 2
    pool = PooledDB(driver, **options)
    leases = [pool.connection(), pool.connection()]
    with pytest.raises(driver.OperationalError) as raised:
        pool.connection()
    assert raised.value.sqlstate == "53300"
    close(leases)
    assert opened(pool) == 2


def test_a_request_that_may_not_wait_does_not_wait_where_others_do(driver):
    driver.max_connections = 1
    pool = PooledDB(driver, maxconnections=2, blocking=True)
    lease = pool.connection()
    with pytest.raises(TooManyConnectionsError):
        pool.connection(maxwait=SOON)
    with pytest.raises(driver.OperationalError) as raised:
        pool.connection(maxwait=0)
    assert raised.value.sqlstate == "53300"
    lease.close()


def test_a_request_that_waits_in_vain_is_told_the_error_of_the_server(driver):
    driver.max_connections = 1
    pool = PooledDB(driver, maxconnections=4, maxwait=SOON)
    lease, = take(pool, 1)
    with pytest.raises(TooManyConnectionsError, match=(
            r"^The server has too many connections\. The pool may have 1 of"
            r" them for now, which are in use \(maxconnections: 4, ")) as (
            raised):
        pool.connection()
    assert isinstance(raised.value.__cause__, driver.OperationalError)
    assert raised.value.__cause__.sqlstate == "53300"
    assert (pool.stats().refused, pool.stats().timeouts) == (1, 1)
    lease.close()


def test_a_pool_leaves_half_of_its_connections_to_others(driver):
    driver.max_connections = 5
    pool = PooledDB(driver, maxconnections=8, blocking=True)
    leases = take(pool, 5)
    served = []
    threads = in_threads(lambda: served.append(pool.connection()), 1)
    wait_until(lambda: pool.stats().waiting)
    close(leases)
    join(threads)
    assert opened(pool) == 3
    assert pool.stats().closed_surplus == 2
    close(served)


def test_idle_connections_that_are_too_many_are_closed_at_once(driver):
    """They are idle since the refusal of another one was under way."""
    driver.max_connections = 4
    pool = PooledDB(driver, maxconnections=8, blocking=True)
    close(take(pool, 4))
    ceiling.lower(pool._core, driver.OperationalError(), 0)
    assert (opened(pool), pool.stats().idle) == (2, 2)


def test_attempts_that_were_made_together_count_once(driver, clock):
    pool = PooledDB(driver, maxconnections=16, blocking=True)
    close(take(pool, 8))
    for start in (999, 998, 999):
        ceiling.lower(pool._core, driver.OperationalError(), start)
        assert opened(pool) == 4
    ceiling.lower(pool._core, driver.OperationalError(), 1000)
    assert opened(pool) == 2


def test_the_place_in_the_line_is_kept(driver):
    """A request that came before another one is served before it."""
    driver.max_connections = 1
    pool = PooledDB(driver, maxconnections=2, blocking=True)
    lease = pool.connection()
    order = []

    def request(name):
        with pool.connection():
            order.append(name)

    driver.silence()  # the first one is being refused
    threads = in_threads(lambda: request("first"), 1)
    wait_until(lambda: opened(pool) == 2)
    threads += in_threads(lambda: request("second"), 1)
    wait_until(lambda: pool.stats().waiting == 1)
    driver.speak()
    wait_until(lambda: pool.stats().waiting == 2)
    lease.close()
    join(threads)
    assert order == ["first", "second"]


def test_one_more_is_allowed_every_few_seconds(driver, clock):
    driver.max_connections = 4
    pool = PooledDB(driver, maxconnections=6, maxwait=SOON)
    leases = take(pool, 4)
    with pytest.raises(TooManyConnectionsError):
        pool.connection()
    close(leases)
    assert pool.stats().ceiling == 2
    leases = take(pool, 2)
    driver.max_connections = None
    with pytest.raises(TooManyConnectionsError):
        pool.connection()
    clock[0] += 1
    leases += take(pool, 1)
    assert pool.stats().ceiling == 3
    with pytest.raises(TooManyConnectionsError):
        pool.connection()
    clock[0] += 22
    leases += take(pool, 3)  # as before the refusal
    assert pool.stats().ceiling is None
    with pytest.raises(TooManyConnectionsError, match="Raise maxconnections"):
        pool.connection()
    close(leases)
    assert opened(pool) == 6


def test_a_pool_without_a_limit_has_none_again_after_a_minute(driver, clock):
    driver.max_connections = 2
    pool = PooledDB(driver, maxwait=SOON)
    leases = take(pool, 2)
    with pytest.raises(TooManyConnectionsError):
        pool.connection()
    close(leases)
    driver.max_connections = None
    clock[0] += 60
    leases = take(pool, 40)
    close(leases)
    assert opened(pool) == 40


@pytest.mark.parametrize("wish", [None, 0])
def test_the_place_of_an_expired_connection_is_left_to_others(
        driver, clock, wish):
    """A pool that has all that it wants is told so that the server is full.

    A request that may not wait takes the place back.
    """
    driver.max_connections = 4
    pool = PooledDB(driver, maxconnections=4, blocking=True, maxlifetime=100)
    leases = take(pool, 4)
    maintenance = pool._core.maintenance
    now, maintenance.clock = maintenance.clock, lambda: float("inf")
    leases.pop().close()
    maintenance.clock = now
    assert pool.stats().ceiling is None
    assert opened(pool) == 3
    if wish is not None:
        leases.append(pool.connection(maxwait=wish))
        assert opened(pool) == 4
        close(leases)
        return
    served = []
    threads = in_threads(lambda: served.append(pool.connection()), 1)
    wait_until(lambda: pool.stats().waiting)
    other = driver.connect()
    clock[0] += 1
    wait_until(lambda: pool.stats().ceiling == 2)
    close(leases)
    join(threads)
    assert opened(pool) == 2
    other.close()
    close(served)


class NoChore:
    """Work in the background that only the test does."""

    def __init__(self, owner, method):
        self.look = getattr(owner, method)
        self.pauses = []
        self.is_over = False

    def plan(self, pause):
        self.pauses.append(pause)

    def begin(self, pause):
        self.pauses.append(pause)

    def end(self):
        self.is_over = True


@pytest.fixture
def chores(monkeypatch):
    """The server says that it is full; return the chores of pools."""
    made = []

    def new(owner, method):
        made.append(NoChore(owner, method))
        return made[-1]

    monkeypatch.setattr(yielding, "Chore", new)
    monkeypatch.setattr(DbBackend, "tells_crowd", lambda self, con: True)
    says(monkeypatch, True)
    return made


def says(monkeypatch, answer):
    """Let the server say whether it is full; return who has asked."""
    asked = []
    monkeypatch.setattr(
        DbBackend, "is_crowded",
        lambda self, con: asked.append(con) or answer)
    return asked


def test_a_pool_that_is_always_full_leaves_a_place_to_others(
        driver, clock, chores):
    """It has no lifetime, so it would never learn that the server is full."""
    driver.max_connections = 4
    pool = PooledDB(driver, maxconnections=4, blocking=True)
    leases = take(pool, 4)
    chores[0].look()
    close(leases)
    assert (opened(pool), pool.stats().closed_surplus) == (3, 1)
    other = driver.connect()
    leases = take(pool, 3)
    served = []
    threads = in_threads(lambda: served.append(pool.connection()), 1)
    wait_until(lambda: pool.stats().waiting)
    assert pool.stats().ceiling is None
    clock[0] += 1
    chores[0].look()
    wait_until(lambda: pool.stats().ceiling == 2)
    close(leases)
    join(threads)
    assert opened(pool) == 2
    other.close()
    close(served)


def test_a_place_that_nobody_takes_is_taken_back(driver, clock, chores):
    """Also if connections come back so soon that requests hardly wait."""
    pool = PooledDB(driver, maxconnections=4, blocking=True)
    leases = take(pool, 4)
    chore, = chores
    assert chore.pauses == [0.5]
    chore.look()
    close(leases)
    assert opened(pool) == 3
    clock[0] += 0.7
    chore.look()
    leases = take(pool, 4)
    assert (opened(pool), pool.stats().ceiling) == (4, None)
    before = pool.stats().closed_surplus
    chore.look()  # not so soon again
    close(leases)
    assert pool.stats().closed_surplus == before == 1
    clock[0] += 1
    leases = take(pool, 4)
    chore.look()
    close(leases)
    assert pool.stats().closed_surplus == 2
    assert len(chores) == 1


def test_a_pool_that_is_not_under_load_leaves_no_place(driver, clock, chores):
    pool = PooledDB(driver, maxconnections=4, blocking=True)
    close(take(pool, 4))
    leases = take(pool, 2)
    chores[0].look()
    close(leases)
    assert (opened(pool), pool.stats().closed_surplus) == (4, 0)
    pool.close()
    chores[0].look()
    assert chores[0].is_over


def test_no_place_is_left_on_a_server_that_has_room(
        driver, clock, chores, monkeypatch):
    """The connection that has asked is as any other then."""
    asked = says(monkeypatch, False)
    pool = PooledDB(driver, maxconnections=4, blocking=True)
    for number in range(1, 3):
        leases = take(pool, 4)
        chores[0].look()
        assert len(asked) == number - 1
        close(leases)
        close(take(pool, 4))
        assert len(asked) == number
        clock[0] += 3
    assert (opened(pool), pool.stats().opened) == (4, 4)
    assert not any(session_of(con).is_retired for con in pool._idle_cache)
    pool.drain()
    assert opened(pool) == 0


def test_a_pool_that_was_drained_keeps_no_connection_that_asks(
        driver, clock, chores, monkeypatch):
    asked = says(monkeypatch, False)
    pool = PooledDB(driver, maxconnections=4, blocking=True)
    leases = take(pool, 4)
    chores[0].look()
    pool.drain()
    close(leases)
    assert (opened(pool), pool.stats().closed_cleared) == (0, 4)
    assert not asked


def test_a_question_that_fails_costs_one_connection_and_is_not_repeated(
        driver, clock, chores, monkeypatch):
    says(monkeypatch, None)
    pool = PooledDB(driver, maxconnections=4, blocking=True)
    for _ in range(2):
        leases = take(pool, 4)
        chores[0].look()
        close(leases)
        assert pool.stats().closed_dead == 1
        clock[0] += 50
    assert (opened(pool), pool.stats().ceiling) == (4, None)


@pytest.mark.parametrize("options", [
    {"maxconnections": 4}, {"maxconnections": 4, "maxwait": 0},
    {"maxconnections": 3, "blocking": True}, {"blocking": True}], ids=str)
def test_some_pools_leave_no_places(driver, chores, options):
    """Neither small ones, nor those where requests may not wait."""
    pool = PooledDB(driver, **options)
    close(take(pool, options.get("maxconnections", 10)))
    assert not chores


def test_a_driver_that_is_not_known_has_no_server_for_others(
        driver, monkeypatch):
    monkeypatch.setattr(yielding, "Chore", None)
    pool = PooledDB(driver, maxconnections=4, blocking=True)
    close(take(pool, 4))
    assert pool._core.yielding is None


def test_a_pool_with_a_ceiling_can_be_resized(driver, clock):
    pool = PooledDB(driver, maxconnections=9, maxwait=SOON)
    close(take(pool, 8))
    ceiling.lower(pool._core, driver.OperationalError(), clock[0])
    pool._maxconnections = 3
    assert opened(pool) == 3
    pool._maxconnections = 20
    leases = take(pool, 4)
    with pytest.raises(TooManyConnectionsError):
        pool.connection()
    close(leases)


def test_no_deadlock_is_reported_while_the_server_is_full(
        driver, caplog, monkeypatch):
    """It ends when the pool may have more connections again."""
    monkeypatch.setattr(ceiling, "_STEP", SOON)
    driver.max_connections = 1
    pool = PooledDB(
        driver, maxconnections=4, blocking=True, ondeadlock="raise")
    leases = []

    def hold_two():
        leases.append(pool.connection())
        leases.append(pool.connection())

    threads = in_threads(hold_two, 1)
    wait_until(lambda: pool.stats().waiting)
    driver.max_connections = None
    join(threads)
    assert len(leases) == 2
    assert "held by threads" not in caplog.text


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_of_a_refused_request_loses_no_place():
    driver = Refusing()

    def prepare():
        driver.is_full = False
        pool = PooledDB(driver, maxconnections=2, blocking=True)
        pool._core.has_helpers = False
        lease = pool.connection()
        driver.is_full = True

        def request():
            with suppress(TooManyConnectionsError):
                pool.connection(maxwait=0.001)

        def check():
            lease.close()
            driver.is_full = False
            pool._core.ceiling = None
            pool._core.resize(lambda limits: limits)
            with ExitStack() as stack:
                for _ in range(2):
                    stack.enter_context(pool.connection(maxwait=PATIENCE))
                assert pool.stats().in_use == 2
            assert pool.stats().in_use == 0

        return request, check

    assert sweep(prepare, stride=23) > 1000


# The number of connects at the same time.


class Refusing(ModuleType):
    """A driver whose connects can wait, or find a full server."""

    threadsafety = 1

    class Error(Exception):
        """What the driver raises."""

    OperationalError = InterfaceError = InternalError = Error

    def __init__(self):
        super().__init__("refusing_driver")
        self.is_full = False
        self.lock = Lock()
        self.now = self.most = 0
        self.gate = Event()
        self.gate.set()

    def connect(self):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            self.gate.wait(PATIENCE)
        finally:
            with self.lock:
                self.now -= 1
        if self.is_full:
            raise self.Error("FATAL:  sorry, too many clients already")
        return Connection()


class Connection:
    """A connection of that driver."""

    def cursor(self):
        return self

    def execute(self, statement):
        pass

    rollback = commit = close = lambda self: None


@pytest.fixture
def slow():
    """A driver whose connects wait until the gate is open, and no longer."""
    driver = Refusing()
    driver.gate.clear()
    yield driver
    driver.gate.set()


@pytest.fixture
def never_late(monkeypatch):
    """No connect takes so long that it does not count."""
    monkeypatch.setattr("dbutils._core.slots.HANGS_AFTER", PATIENCE)


OPTIONS = [{}, {"blocking": True}, {"maxwait": PATIENCE}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("connecting", "most"), [
    ({}, 4), ({"connecting": 1}, 1), ({"connecting": None}, 12)], ids=str)
@pytest.mark.usefixtures("never_late")
def test_only_some_connect_at_once(slow, connecting, most, options):
    pool = PooledDB(slow, **connecting, **options)
    leases = []
    threads = in_threads(lambda: leases.append(pool.connection()), 12)
    wait_until(lambda: slow.now == most)
    wait_until(lambda: pool.stats().waiting == 12 - most)
    slow.gate.set()
    join(threads)
    assert (slow.most, len(leases)) == (most, 12)
    assert pool.stats().refused == 0
    close(leases)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.usefixtures("never_late")
def test_the_first_connections_are_opened_in_turn(slow, options):
    pools, later = [], slow.connect

    def first():
        slow.connect = later
        return Connection()

    slow.connect = first
    threads = in_threads(
        lambda: pools.append(PooledDB(slow, mincached=12, **options)), 1)
    wait_until(lambda: slow.now == 4)
    slow.gate.set()
    join(threads)
    assert opened(pools[0]) == 12
    assert slow.most == 4


@pytest.mark.usefixtures("never_late")
def test_a_connection_that_comes_back_serves_who_waits_for_a_turn(slow):
    slow.gate.set()
    pool = PooledDB(slow, connecting=1)
    lease = pool.connection()
    slow.gate.clear()
    served = []
    threads = in_threads(pool.connection, 1)
    wait_until(lambda: slow.now == 1)
    more = in_threads(lambda: served.append(pool.connection()), 1)
    wait_until(lambda: pool.stats().waiting == 1)
    con = lease._con
    lease.close()
    join(more)
    assert served[0]._con is con
    slow.gate.set()
    join(threads)


def test_connects_that_hang_keep_nobody_from_trying(slow):
    pool = PooledDB(slow)
    leases = []
    threads = in_threads(lambda: leases.append(pool.connection()), 6)
    wait_until(lambda: slow.now == 6)
    slow.gate.set()
    join(threads)
    assert len(leases) == 6
    close(leases)


def test_a_thread_does_not_wait_for_the_turn_that_it_has(slow, monkeypatch):
    monkeypatch.setattr(slots, "HANGS_AFTER", SOON)
    pool = PooledDB(slow, connecting=1)
    leases = []

    class Observer:
        """Uses the pool itself when a request has waited for its turn."""

        def waited(self, seconds, was_served):
            pool.unobserve(self)
            leases.append(pool.connection())

    first = in_threads(lambda: leases.append(pool.connection()), 1)
    wait_until(lambda: slow.now == 1)
    pool.observe(Observer())
    second = in_threads(lambda: leases.append(pool.connection()), 1)
    wait_until(lambda: pool.stats().waiting == 1)
    slow.gate.set()
    join([*first, *second])
    assert len(leases) == 3
    close(leases)


@pytest.mark.usefixtures("never_late")
def test_a_request_waits_for_its_turn_within_its_time(slow):
    pool = PooledDB(slow, connecting=1)
    threads = in_threads(pool.connection, 1)
    wait_until(lambda: slow.now == 1)
    with pytest.raises(
            TooManyConnectionsError, match="No connection could be opened in"):
        pool.connection(maxwait=SOON)
    slow.gate.set()
    join(threads)


@pytest.mark.usefixtures("never_late")
def test_the_limit_holds_for_those_who_wait_for_their_turn(slow):
    pool = PooledDB(slow, maxconnections=2, connecting=1)
    leases, errors = [], []

    def request():
        try:
            leases.append(pool.connection())
        except TooManyConnectionsError as error:
            errors.append(error)

    threads = in_threads(request, 5)
    wait_until(lambda: slow.now == 1)
    wait_until(lambda: pool.stats().waiting == 4)
    slow.gate.set()
    join(threads)
    assert (len(leases), len(errors)) == (2, 3)
    close(leases)


@pytest.mark.usefixtures("never_late")
def test_a_failed_connect_makes_way_for_the_next_one(slow):
    pool = PooledDB(slow, connecting=1)
    slow.is_full = True
    errors = []

    def request():
        try:
            pool.connection()
        except slow.Error as error:
            errors.append(error)

    threads = in_threads(request, 5)
    wait_until(lambda: slow.now == 1)
    slow.gate.set()
    join(threads)
    assert len(errors) == 5
    assert pool.stats().in_use == 0


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("options", [{}, {"blocking": True}], ids=str)
@pytest.mark.usefixtures("never_late")
def test_an_interrupt_while_connecting_leaves_nobody_without_a_turn(options):
    driver = Refusing()

    def prepare():
        pool = PooledDB(driver, maxconnections=2, connecting=1, **options)
        threads, served = [], []

        def first():
            driver.connect = later
            threads.extend(in_threads(
                lambda: served.append(pool.connection()), 1))
            wait_until(lambda: pool._core.waiting or served)
            return Connection()

        def check():
            driver.connect = later
            join(threads)
            assert len(served) == len(threads)
            close(served)
            with pool.connection(maxwait=PATIENCE) as db, (
                    pool.connection(maxwait=PATIENCE)) as other:
                assert db is not other
            assert pool.stats().in_use == 0

        later, driver.connect = Refusing.connect.__get__(driver), first
        return lambda: pool.connection().close(), check

    assert sweep(prepare, stride=23) > 500


@pytest.mark.parametrize("value", [-1, 1.5, "4"])
def test_the_number_is_checked(driver, value):
    with pytest.raises((TypeError, ValueError), match="'connecting'"):
        PooledDB(driver, connecting=value)
