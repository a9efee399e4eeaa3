"""What one thread does slowly keeps no other thread waiting.

The figures have generous margins here, since the machine may be busy.
"""

from threading import Event, Thread
from time import monotonic

import pytest
from test_outages import Connection, Driver, in_threads, join

from dbutils.pooled_db import PooledDB

SLOW = 1.0  # seconds
PATIENCE = 20


class SlowConnection(Connection):
    """Is slow on demand."""

    slow = None

    def ping(self, *_):
        self.be_slow("ping")

    def rollback(self):
        self.be_slow("rollback")

    def be_slow(self, verb):
        if SlowConnection.slow == verb:
            SlowConnection.slow = None  # once
            Event().wait(SLOW)


class SlowDriver(Driver):
    """Opens such connections."""

    def connect(self):
        con = SlowConnection()
        con.be_slow("connect")
        return con


@pytest.mark.parametrize("verb", ["connect", "ping", "rollback"])
def test_nobody_waits_behind_a_slow_call(verb):
    pool = PooledDB(SlowDriver(), maxconnections=4)
    leases = [pool.connection() for _ in range(3)]
    if verb == "ping":
        leases.pop().close()
    SlowConnection.slow = verb
    slow = Thread(
        target=leases.pop().close if verb == "rollback" else pool.connection)
    slow.start()
    while SlowConnection.slow:
        Event().wait(0.001)
    if verb == "ping":
        leases.append(pool.connection())
    longest = 0.0
    for _ in range(20):
        begin = monotonic()
        leases.pop().close()
        leases.append(pool.connection())
        longest = max(longest, monotonic() - begin)
    assert slow.is_alive()
    assert longest < SLOW / 4
    slow.join(PATIENCE)


def test_sixteen_slow_connects_take_as_long_as_one():
    class Sleeping(Driver):
        def connect(self):
            Event().wait(0.05)
            return Connection()

    pool = PooledDB(Sleeping(), maxconnections=16)
    begin = monotonic()
    join(in_threads(lambda: pool.connection().close(), 16))
    assert monotonic() - begin < 16 * 0.05 / 2
    begin = monotonic()
    PooledDB(Sleeping(), mincached=16)
    assert monotonic() - begin < 16 * 0.05 / 2
