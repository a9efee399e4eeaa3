"""The background thread of the process.

There is one for all pools that need it.  It is started when the first of
them asks for it, it holds them weakly, and it ends when there are none left.
"""

from __future__ import annotations

from threading import Event, Lock, Thread
from time import monotonic
from typing import Any
from weakref import WeakSet

from ._errors import quietly
from ._forks import follow

__all__ = ["Housekeeper", "housekeeper"]

# In seconds: how long it sleeps at most, and so how soon it ends.
_LONGEST_SLEEP = 0.5


class Housekeeper:
    """Lets pools do from time to time what cannot wait for a request.

    A pool has a method tick(), and in due_at the time of its next call.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._pools: WeakSet[Any] = WeakSet()
        self._thread: Thread | None = None
        self._wake = Event()
        follow(self)

    def begin_anew(self) -> None:
        """Start another thread in a forked child, if one was needed."""
        self._lock = Lock()
        self._wake = Event()
        pools, self._pools = list(self._pools), WeakSet()
        self._thread = None
        for pool in pools:
            self.enlist(pool)

    @property
    def is_running(self) -> bool:
        """Whether there is a thread."""
        return self._thread is not None

    def enlist(self, pool: Any) -> None:
        """Begin to work for a pool, until that is gone."""
        with self._lock:
            self._pools.add(pool)
            if self._thread is None:
                self._thread = Thread(
                    target=self._run, name="DBUtils housekeeper", daemon=True)
                self._thread.start()
        self._wake.set()

    def dismiss(self, pool: Any) -> None:
        """Work no more for a pool."""
        with self._lock:
            self._pools.discard(pool)

    def _run(self) -> None:
        wake = self._wake
        while not self._may_end():
            wake.wait(self._work())
            wake.clear()

    def _may_end(self) -> bool:
        with self._lock:
            if self._pools:
                return False
            self._thread = None
            return True

    def _work(self) -> float:
        """Do what is due; return for how long nothing is."""
        with self._lock:
            pools = list(self._pools)
        pause = _LONGEST_SLEEP
        while pools:
            pool = pools.pop()
            if pool.due_at <= monotonic():
                with quietly("the work for a pool in the background"):
                    pool.tick()
            pause = min(pause, max(pool.due_at - monotonic(), 0))
            del pool
        return pause


housekeeper = Housekeeper()
