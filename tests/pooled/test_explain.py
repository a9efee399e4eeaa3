"""What a pool says in words: five incidents, each told from the others."""

import sys
import threading
from threading import Barrier, Event, Thread
from time import monotonic
from types import SimpleNamespace

import pytest
from forking import in_child, needs_fork
from kinds import for_every_kind
from patience import PATIENCE, in_threads, join, number_asleep, wait_until
from refusals import Driver, RefusedError

from dbutils import PooledDB, SimpleConnectionPool
from dbutils._core import explaining, serving, slots
from dbutils._core.story import KEPT
from dbutils.pool_manager import DBConnectionPoolManager
from dbutils.uri_pool import ConnectionPool

ADVICE = {
    "leak": "leakafter=seconds warns",
    "elsewhere": "Give the connection back before that",
    "busy": "Look at them in the database",
    "outage": "Look whether it runs",
    "losses": "After a restart of the server nothing is to be done",
    "overload": "More is asked for than the connections can do",
    "nested": "Give a connection back before asking for the next one",
    "uses": "Look at what is done there while it has a connection",
}


@pytest.fixture
def later(monkeypatch):
    """Let the clocks of a pool be ahead."""
    def later(pool, seconds):
        def clock():
            return monotonic() + seconds
        monkeypatch.setattr(slots, "monotonic", clock)
        pool._core.story.clock = clock
    return later


def findings(pool):
    """Return what a pool says is wrong, in the order of the text."""
    text = pool.explain()
    return sorted(
        (name for name, advice in ADVICE.items() if advice in text),
        key=lambda name: text.index(ADVICE[name]))


def refuse(kind, pool):
    """Make a request that is refused; return the text of the error."""
    with pytest.raises(kind.module.TooManyConnectionsError) as refused:
        pool.connection(maxwait=0)
    return str(refused.value)


def test_nothing_is_wrong_with_a_pool_that_works(kind):
    pool = kind.make(maxconnections=2, poolname="shop", track=True)
    with pool.connection():
        text = pool.explain()
    first, second, *others = text.splitlines()
    assert first == repr(pool)[1:-1].replace(
        "0 of 2 in use, 1 idle", "1 of 2 in use, 0 idle")
    assert second == "Nothing seems to be wrong."
    assert others[0] == "Who has the connections:"
    assert f", taken at {__file__}:" in others[1]
    assert others[2] == "What has happened lately:"
    assert "Connection 0 was opened in" in others[-1]


# The five incidents.

class Worker:
    """Threads that work with a pool until they are told to end."""

    def __init__(self):
        self.done = Event()
        self.kept = []
        self.threads = []

    def start(self, work, *args):
        thread = Thread(target=work, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def wait(self):
        self.done.wait(PATIENCE)

    @property
    def ready(self):
        """Those that have come to their wait."""
        return self.done._cond._waiters

    def end(self):
        self.done.set()
        join(self.threads)


@pytest.fixture
def worker():
    worker = Worker()
    yield worker
    worker.end()


def take(pool, worker):
    """Take a connection and forget to give it back."""
    worker.kept.append(pool.connection())  # it is taken here


@for_every_kind
def test_a_leak_of_threads_that_have_ended(kind, worker, later):
    pool = kind.make(maxconnections=2, track=True)
    for _ in range(2):
        worker.start(take, pool, worker)
    join(worker.threads)
    later(pool, 90)
    refuse(kind, pool)
    told = refuse(kind, pool)
    assert findings(pool) == ["leak"]
    text = pool.explain()
    assert "A leak: 2 connections are probably never given back" in text
    line = take.__code__.co_firstlineno + 2
    assert f"taken at {__file__}:{line}, the longest for 90" in text
    assert text.count("this thread has ended") == 2
    first = told.partition("\n")[0]
    assert ". A leak: 2 connections are probably never given back" in first
    assert "close the connection in a finally clause." in first
    assert " 2 requests have been refused in the last" in first
    assert "Raise maxconnections" not in told


@pytest.mark.parametrize("seconds", [2, 90])
def test_a_leak_of_a_function_that_has_ended(kind, worker, later, seconds):
    def work():
        take(pool, worker)
        worker.wait()

    pool = kind.make(maxconnections=1, track=True)
    worker.start(work)
    wait_until(lambda: worker.ready)
    refuse(kind, pool)
    later(pool, seconds)
    # a short use may have been begun by a helper, and goes on
    assert findings(pool)[0] == ("leak" if seconds > 5 else "elsewhere")
    assert "the function that has taken it has ended" in pool.explain()


def test_a_leak_of_one_thread_that_takes_more_and_more(kind, later):
    pool = kind.make(maxconnections=3, track=True)
    kept = [pool.connection() for _ in range(3)]
    later(pool, 2)
    assert findings(pool)[0] == "leak"
    assert len(kept) == 3


@pytest.mark.parametrize("number", [1, 2])
def test_a_leak_is_no_deadlock_of_those_who_wait(kind, worker, number):
    def work():
        for _ in range(number):
            take(pool, worker)
        with pytest.raises(kind.module.PoolClosedError):
            take(pool, worker)

    pool = kind.make(maxconnections=number, track=True, blocking=True)
    worker.start(work)
    wait_until(lambda: pool._core.queue.first() is not None and (
        pool._core.queue.first().thread is not None))
    found, text = findings(pool), pool.explain()
    pool.shutdown(0)
    assert found == ["leak"]
    assert "asks for another one at the same place" in text
    assert "deadlock" not in text


def fetch(worker):
    worker.wait()  # as for the answer of a web service


@for_every_kind
def test_connections_that_are_held_through_something_else(
        kind, worker, later):
    def work():
        with pool.connection():  # the place
            fetch(worker)

    pool = kind.make(maxconnections=2, track=True)
    for _ in range(2):
        worker.start(work)
    wait_until(lambda: len(worker.ready) == 2)
    later(pool, 12)
    refuse(kind, pool)
    told = refuse(kind, pool)
    assert findings(pool)[0] == "elsewhere"
    assert "leak" not in findings(pool)
    for text in (told, pool.explain()):
        assert (
            "2 connections are held by threads that do something else than"
            " use the database") in text
        assert "self.done.wait(PATIENCE) (inside " in text
        assert f"taken at {__file__}:{work.__code__.co_firstlineno + 1}" in (
            text)


def test_connections_that_are_busy_with_statements(dbapi, worker, later):
    class Cursor(dbapi.Cursor):
        def execute(self, *args):
            worker.wait()

    class Connection(dbapi.Connection):
        def cursor(self, *args):
            return Cursor(self)

    def work():
        with pool.connection() as db:
            db.cursor().execute("select 1")

    Connection.dbapi = dbapi
    pool = PooledDB(Connection, maxconnections=1, track=True)
    worker.start(work)
    wait_until(lambda: worker.ready)
    later(pool, 12)
    assert findings(pool) == ["busy"]


def test_a_server_that_was_restarted(dbapi, server, later):
    pool = PooledDB(dbapi)
    leases = [pool.connection(), pool.connection()]
    for lease in leases:
        lease._con._con.cut()
    server.fail("connect", ConnectionRefusedError)
    with pytest.raises(ConnectionRefusedError):
        pool.connection()
    assert findings(pool)[0] == "outage"
    assert "(ConnectionRefusedError, connection refused)." in pool.explain()
    assert "What was wrong" not in pool.explain()
    for lease in leases:
        lease.cursor().execute("select 1")
        lease.close()
    later(pool, 30)
    assert findings(pool) == ["losses"]
    text = pool.explain()
    assert "What is wrong" not in text
    assert "What was wrong lately:\n- The server has ended 2 conn" in text
    assert "It was restarted or not reachable" in text
    assert "2 connections were replaced in use." in text
    later(pool, 3600)
    assert findings(pool) == []


def test_connections_that_could_not_be_replaced_are_losses(later):
    driver = Driver()
    pool = PooledDB(driver, maxconnections=1)
    with pool.connection() as db:
        driver.is_away = True
        with pytest.raises(RefusedError):
            db.cursor()
    assert findings(pool) == ["outage"]
    driver.is_away = False
    pool.close()
    pool.connection().close()
    assert findings(pool) == ["losses"]


def test_an_overload(kind, monkeypatch):
    monkeypatch.setattr(explaining, "_LONG", PATIENCE)
    monkeypatch.setattr(serving, "LONG_WAIT", -1)
    pool = kind.make(maxconnections=1, track=True)

    def work():
        pool.connection(maxwait=PATIENCE).close()

    with pool.connection():
        threads = in_threads(work, 3)
        wait_until(lambda: number_asleep(pool) == 3)
        refuse(kind, pool)
        assert "What is wrong:\n- An overload: 1 request had" in pool.explain()
    join(threads)
    assert "What was wrong lately:\n- An overload" in pool.explain()
    assert findings(pool) == ["overload"]
    text = pool.explain()
    assert "An overload: 4 requests had to wait in the last" in text
    assert "and 1 of them in vain, though no connection was held for" in text


def test_an_overload_counts_requests_that_wait_as_the_pool_says(
        kind, monkeypatch):
    """Those that wait while others do take a shorter way to the queue."""
    monkeypatch.setattr(serving, "LONG_WAIT", -1)
    pool = kind.make(maxconnections=1, maxwait=PATIENCE, track=True)

    with pool.connection():
        threads = in_threads(lambda: pool.connection().close(), 3)
        wait_until(lambda: number_asleep(pool) == 3)
    join(threads)
    text = pool.explain()
    assert "An overload: 3 requests had to wait" in text
    assert "and none of them in vain" in text


def test_an_overload_tells_how_many_connections_would_be_enough(
        kind, later, monkeypatch):
    monkeypatch.setattr(explaining, "_LONG", PATIENCE)
    pool = kind.make(maxconnections=1, track=True)
    with pool.connection():
        for _ in range(KEPT + 9):
            refuse(kind, pool)
    monkeypatch.setattr(explaining, "_LONG", 1)
    later(pool, 50)
    stats = pool.stats()._replace(timed=10, use_seconds=2)
    pool._core.state = lambda *_: stats
    text = pool.explain()
    assert f"At least {KEPT} requests had to wait" in text
    assert "held for 200 ms on average: 3 connections would be" in text


def test_a_wait_for_one_that_was_held_for_long(kind, monkeypatch):
    monkeypatch.setattr(explaining, "_LONG", 0)
    monkeypatch.setattr(serving, "LONG_WAIT", -1)
    pool = kind.make(maxconnections=1, track=True)
    db = pool.connection()  # it is held
    place = f"{__file__}:{pool.holders()[0].line}"
    threads = in_threads(lambda: pool.connection(maxwait=PATIENCE).close(), 1)
    wait_until(lambda: number_asleep(pool) == 1)
    db.close()
    join(threads)
    assert findings(pool) == ["uses"]
    assert f"the longest use meanwhile began at {place} and took" in (
        pool.explain())


@for_every_kind
def test_a_deadlock_of_those_who_came_during_the_look_is_not_told(
        kind, monkeypatch):
    """All holders that were seen before had given back meanwhile."""
    pool = kind.make(maxconnections=1, track=True)
    monkeypatch.setattr(
        explaining, "certain", lambda core: SimpleNamespace(holders=[1]))
    assert "deadlock" not in pool.explain()


def test_a_deadlock_of_nested_borrowers(kind, later):
    pool = kind.make(maxconnections=2, track=True)
    both = Barrier(2)

    def work():
        with pool.connection():
            both.wait(PATIENCE)
            with pytest.raises(kind.module.PoolClosedError):
                pool.connection(maxwait=PATIENCE)

    threads = in_threads(work, 2)
    wait_until(lambda: number_asleep(pool) == 2)
    later(pool, 3)
    found, text = findings(pool), pool.explain()
    pool.shutdown(0)
    join(threads)
    assert found[0] == "nested"
    assert "leak" not in found
    assert (
        "A deadlock: all 2 connections are held by threads that wait for"
        " another one of this pool") in text
    assert text.count("waits for another connection of this pool") == 2


def test_nested_requests_in_vain_are_remembered(kind):
    pool = kind.make(maxconnections=1, track=True)
    pool._core.queue.first_look = 0.005
    with pool.connection(), pytest.raises(
            kind.module.TooManyConnectionsError):
        pool.connection(maxwait=0.1)
    assert findings(pool)[0] == "nested"
    assert "have asked for another one in vain" in pool.explain()


# The end of an error that is repeated.

def test_the_first_refusal_tells_no_story(kind, later):
    pool = kind.make(maxconnections=1)
    with pool.connection():
        told = refuse(kind, pool)
        assert "explain()" not in told
        assert "Raise maxconnections" in told
        assert "2 requests have been refused" in refuse(kind, pool)
        assert "3 requests have been refused" in refuse(kind, pool)
        later(pool, 61)
        assert "explain()" not in refuse(kind, pool)


def test_a_thread_that_is_refused_may_have_what_it_wants(kind):
    def ask():
        return pool.connection()

    pool = kind.make(maxconnections=1, track=True)
    kept = ask()
    for text in ("", "A leak: 1 connection is probably never given back"):
        with pytest.raises(kind.module.TooManyConnectionsError) as refused:
            ask()
        assert text in str(refused.value)
    kept.close()
    pool._core.story.short = None  # what was said a moment ago
    with pool.connection():
        assert "1 connection is held by threads that wait for another" in (
            refuse(kind, pool))


def test_a_story_that_cannot_be_told_changes_nothing(kind, monkeypatch):
    monkeypatch.delattr(explaining, "in_short")
    pool = kind.make(maxconnections=1)
    with pool.connection():
        refuse(kind, pool)
        assert "explain()" not in refuse(kind, pool)


# Other pools.

def test_an_explanation_of_a_pool_of_many_holders_is_short(kind):
    pool = kind.make(maxconnections=30, track=True)
    kept = [pool.connection() for _ in range(30)]
    text = pool.explain()
    assert text.count("taken at") == 10
    assert "- and 20 more" in text
    assert len(kept) == 30


def test_an_error_of_a_pool_with_very_many_holders_looks_at_the_oldest(
        kind, later):
    pool = kind.make(maxconnections=101, track=True)
    kept = [pool.connection() for _ in range(101)]
    later(pool, 90)
    refuse(kind, pool)
    assert ". A leak: 5 of the 5 oldest leases are probably never" in (
        refuse(kind, pool))
    assert "A leak: 101 connections are probably never" in pool.explain()
    assert len(kept) == 101


def test_refusals_cost_no_more_with_many_holders_than_with_few(kind, later):
    def calls_of_refusals(number):
        pool = kind.make(maxconnections=number, track=True)
        kept = [pool.connection() for _ in range(number)]
        calls = []
        for is_counted in (False, True):
            refuse(kind, pool)
            later(pool, 2)  # the reason is looked for again
            if is_counted:
                sys.setprofile(lambda *event: calls.append(event[1]))
            try:
                for _ in range(10):
                    refuse(kind, pool)
            finally:
                sys.setprofile(None)
        assert len(kept) == number
        return len(calls)

    assert calls_of_refusals(1000) < 1.1 * calls_of_refusals(120)


def test_threads_of_the_same_name_are_told_by_their_numbers(kind, worker):
    def work():
        with pool.connection():
            worker.wait()

    pool = kind.make(maxconnections=2, track=True)
    for _ in range(2):
        worker.start(work)
    wait_until(lambda: len(worker.ready) == 2)
    assert f"({worker.threads[0].ident})" not in pool.explain()
    for thread in worker.threads:
        thread.name = "twin"
    text = pool.explain()
    for thread in worker.threads:
        assert f"\n- twin ({thread.ident}), for " in text


def test_what_was_not_noted_is_told(kind):
    pool = kind.make(maxconnections=2, track=False)
    with pool.connection():
        assert "- 1 of which nothing was noted; track=True" in pool.explain()


def test_pools_of_pools_explain_each(dbapi, tmp_path):
    keyed = SimpleConnectionPool(1, 2, creator=dbapi)
    assert keyed.explain().startswith("PooledDB 'mock_db' 0 of 2 in use")
    keyed.closeall()
    manager = DBConnectionPoolManager.isolated()
    for name in ("one", "two"):
        manager.get_pool(db_type="sqlite", database=str(tmp_path / name))
    text = manager.explain()
    assert text.startswith("DBConnectionPoolManager of 2 pools\n\npool for")
    assert text.count("Nothing seems to be wrong.") == 2
    manager.shutdown()


def test_a_uri_pool_explains_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    user = ConnectionPool("sqlite://file", pool_size=1)
    assert user.explain().startswith("ConnectionPool for 'sqlite://")
    assert "in use" not in user.explain()
    user.reconnect()
    assert "1 in use" in user.explain()
    user.close(really=True)


def test_threads_that_cannot_be_seen_are_accused_of_nothing(
        kind, later, monkeypatch):
    pool = kind.make(maxconnections=1, track=True)
    with pool.connection():
        later(pool, 90)
        monkeypatch.setattr(
            "dbutils._core.whereabouts.frames", dict)
        assert threading.get_ident() in threading._active
        assert findings(pool) == []


@needs_fork
def test_a_child_explains_its_own_pool(kind):
    pool = kind.make(1, maxconnections=1)
    text = in_child(pool.explain)
    assert "0 idle" in text
    assert "lately" not in text
