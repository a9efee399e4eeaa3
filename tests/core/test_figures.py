"""What one thread does slowly keeps no other thread waiting.

What is slow here does not end before the others were served.
"""

from threading import Barrier, Event, Thread

import pytest
from patience import PATIENCE, in_threads, join
from refusals import Connection, Driver

from dbutils.pooled_db import PooledDB


class SlowConnection(Connection):
    """Waits in one call on demand, until it may go on."""

    slow = None
    entered = go_on = None

    def ping(self, *_):
        self.be_slow("ping")

    def rollback(self):
        self.be_slow("rollback")

    def be_slow(self, verb):
        cls = SlowConnection
        if cls.slow == verb:
            cls.slow = None  # once
            cls.entered.set()
            assert cls.go_on.wait(PATIENCE)


class SlowDriver(Driver):
    """Opens such connections."""

    def connect(self):
        con = SlowConnection()
        con.be_slow("connect")
        return con


@pytest.fixture
def slow_calls():
    """Slow calls, which end with the test at the latest."""
    SlowConnection.entered, SlowConnection.go_on = Event(), Event()
    yield SlowConnection
    SlowConnection.go_on.set()


@pytest.mark.parametrize("verb", ["connect", "ping", "rollback"])
def test_nobody_waits_behind_a_slow_call(verb, slow_calls):
    pool = PooledDB(SlowDriver(), maxconnections=4)
    leases = [pool.connection() for _ in range(3)]
    if verb == "ping":
        leases.pop().close()
    slow_calls.slow = verb
    slow = Thread(
        target=leases.pop().close if verb == "rollback" else pool.connection)
    slow.start()
    assert slow_calls.entered.wait(PATIENCE)
    if verb == "ping":
        leases.append(pool.connection())
    for _ in range(20):
        leases.pop().close()
        leases.append(pool.connection())
    assert not slow_calls.go_on.is_set()
    assert slow.is_alive()
    slow_calls.go_on.set()
    slow.join(PATIENCE)
    assert not slow.is_alive()


class Meeting(Driver):
    """Opens no connection before so many are being opened."""

    def __init__(self, number):
        super().__init__()
        self.barrier = Barrier(number)

    def connect(self):
        self.barrier.wait(PATIENCE)
        return Connection()


def test_sixteen_slow_connects_go_on_at_the_same_time():
    pool = PooledDB(Meeting(16), maxconnections=16)
    join(in_threads(lambda: pool.connection().close(), 16))
    assert len(pool._idle_cache) == 16


def test_the_first_connections_are_opened_at_the_same_time():
    class MeetingLater(Meeting):
        """Opens the first one alone, by which more is known."""

        def connect(self):
            self.attempts += 1
            return Connection() if self.attempts == 1 else super().connect()

    pool = PooledDB(MeetingLater(15), mincached=16)
    assert len(pool._idle_cache) == 16
