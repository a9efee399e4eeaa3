"""The housekeeper: the background thread of the process.

One housekeeper serves all pools.  Its thread is started for the first pool
that needs it, and ends when none is left.  It holds the pools weakly.  It
knows the time at which each pool needs maintenance, and never waits for a
server: a crew of a few worker threads does the work.
"""

from __future__ import annotations

from functools import partial
from time import monotonic
from weakref import ref

from .atomic import alive
from .crew import Crew, Task
from .errors import quietly
from .fork import register_for_fork
from .hints import Any, Callable
from .threads import Attendant, Token

__all__ = ["Chore", "Housekeeper", "Task", "housekeeper"]

# In seconds: its longest sleep, and so the delay with which it ends.
_LONGEST_SLEEP = 0.5


class _Tick(Task):
    """The maintenance of a pool that is due."""

    def __init__(self, pool: Any, begin: Callable[[Token], None]) -> None:
        """Prepare the maintenance.

        begin: is called with a token that lives until it is over
        """
        self._pool = ref(pool)
        self._begin = begin

    def run(self) -> None:
        """Do the maintenance, unless the pool is gone."""
        token = Token()
        self._begin(token)
        pool = self._pool()
        if pool is not None:
            with quietly("the maintenance of a pool in the background"):
                pool.tick()


class Housekeeper:
    """Calls the maintenance of pools when it is due.

    A pool has a method tick(), and the time of the next call in due_at.
    """

    def __init__(self) -> None:
        # Weak references to the pools, and to what lives while one is busy.
        # All changes are single steps, which need no lock.
        self._links: dict[Any, Any] = {}
        self._crew = Crew()
        # The time at which it looks again.
        self._wakes_at = 0.0
        self._attendant = Attendant(
            "DBUtils housekeeper", self._work, self._is_needed)
        register_for_fork(self)

    def after_fork(self) -> None:
        """Start another thread in a forked child, if it is needed there."""
        self._crew.after_fork()
        self._attendant.after_fork()
        self._links = dict.fromkeys(self._links)
        if self._links:
            self._attendant.fill()

    @property
    def is_running(self) -> bool:
        """Return whether the thread exists."""
        return self._attendant.link is not None

    def pools(self) -> list[Any]:
        """Return the pools that are served."""
        return alive(self._links.copy())

    def enlist(self, pool: Any) -> None:
        """Serve a pool from now on, for as long as it lives."""
        self._links.setdefault(ref(pool), None)
        self._attendant.fill()
        self._attendant.wake()

    def dismiss(self, pool: Any) -> None:
        """Stop serving a pool."""
        self._links.pop(ref(pool), None)

    def do(self, task: Task) -> bool:
        """Hand a task to a worker thread, which does it soon.

        Return whether there is such a thread.  The housekeeper gives the task
        up when its time limit is over.
        """
        is_taken = self._crew.do(task)
        if is_taken:
            self._attendant.fill()
            if task.seconds is not None and (
                    monotonic() + task.seconds < self._wakes_at):
                self._attendant.wake()
        return is_taken

    def wake(self) -> None:
        """Look now at what is due."""
        self._attendant.wake()

    def ensure(self) -> None:
        """Start the threads that are needed."""
        self._crew.ensure()

    def _is_needed(self) -> bool:
        return bool(self._links) or self._crew.is_needed()

    def _work(self) -> float | None:
        """Start what is due, and return the seconds until the next look."""
        # First the time, then the tasks: do() adds a task, then reads it.
        self._wakes_at = monotonic() + _LONGEST_SLEEP
        pauses = [_LONGEST_SLEEP]
        for link, current in self._links.copy().items():
            pool = link()
            if pool is None:
                self._links.pop(link, None)
            elif current is None or current() is None:
                pauses.append(self._begin(link, pool))
            del pool
        soon = self._crew.look()
        if soon is not None:
            pauses.append(soon)
        elif not self._links:
            return None
        pause = max(min(pauses), 0)
        self._wakes_at = monotonic() + pause
        return pause

    def _begin(self, link: Any, pool: Any) -> float:
        """Start the work for a pool if it is due.

        Return the seconds until the next look at that pool.
        """
        pause: float = pool.due_at - monotonic()
        if pause > 0:
            return pause
        tick = _Tick(pool, partial(self._watch, link))
        self._watch(link, tick)
        if not self._crew.do(tick):
            tick.run()
        return _LONGEST_SLEEP

    def _watch(self, link: Any, work: Any) -> None:
        """Take a pool as busy for as long as an object lives.

        That is the task, and as soon as it runs, a token of its thread.
        """
        if link in self._links:  # it may have been dismissed just now
            self._links[link] = ref(work, self._note_end)

    def _note_end(self, _: Any) -> None:
        """Wake the thread when a task is done, to see what is due next."""
        self._attendant.wake()


housekeeper = Housekeeper()


class Chore:
    """Periodic work of an object, which ends with the object.

    The owner holds the chore, and the chore holds the owner weakly.  So the
    public class needs no public method that only the housekeeper calls.
    """

    def __init__(self, owner: Any, method: str) -> None:
        """Set the chore up without starting it.

        method: the name of the owner's method that does the work
        """
        self._owner = ref(owner)
        self._method = method
        self.due_at = 0.0

    def plan(self, pause: float) -> None:
        """Set the time of the next call, `pause` seconds from now."""
        self.due_at = monotonic() + pause

    def begin(self, pause: float) -> None:
        """Start the periodic work, the first time after `pause` seconds."""
        self.plan(pause)
        housekeeper.enlist(self)

    def end(self) -> None:
        """Stop the periodic work."""
        housekeeper.dismiss(self)

    def tick(self) -> None:
        """Do the work, unless the owner is gone."""
        owner = self._owner()
        if owner is not None:
            getattr(owner, self._method)()
