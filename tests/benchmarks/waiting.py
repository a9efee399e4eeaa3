"""The queues of connections that programs write by hand."""

import queue
from collections import deque
from threading import Lock


class QueueByHand:
    """A queue of the standard library, as many programs have one."""

    def __init__(self, connections):
        self._queue = queue.Queue()
        for con in connections:
            self._queue.put(con)
        self.acquire, self.release = self._queue.get, self._queue.put


class SmallestHandOver:
    """The least that hands over connections, first come, first served.

    A thread that gives one back gives it to the first that waits, so nobody
    is overtaken.
    """

    def __init__(self, connections):
        self._idle = deque(connections)
        self._waiters = deque()
        self._lock = Lock()

    def acquire(self):
        """Return a connection, when there is one."""
        with self._lock:
            if self._idle:  # so nobody waits
                return self._idle.pop()
            lock = Lock()
            lock.acquire()
            waiter = [lock]
            self._waiters.append(waiter)
        lock.acquire()
        return waiter[1]

    def release(self, con):
        """Give a connection back."""
        with self._lock:
            if not self._waiters:
                self._idle.append(con)
                return
            waiter = self._waiters.popleft()
        waiter.append(con)
        waiter[0].release()
