"""The background thread of the process, and those that work for it.

There is one for all pools that need it.  It is started when the first of
them asks for it, it holds them weakly, and it ends when there are none left.
It knows what is due, and never waits for a server: what is due is done by a
crew of a few threads.
"""

from __future__ import annotations

from time import monotonic
from typing import Any
from weakref import ref

from .crew import Crew, Task
from .errors import quietly
from .fork import register_for_fork
from .threads import Attendant

__all__ = ["Chore", "Housekeeper", "Task", "housekeeper"]

# In seconds: how long it sleeps at most, and so how soon it ends.
_LONGEST_SLEEP = 0.5


class _Tick(Task):
    """The work for a pool that is due."""

    def __init__(self, pool: Any) -> None:
        self._pool = ref(pool)

    def run(self) -> None:
        """Do it, unless the pool is gone."""
        pool = self._pool()
        if pool is not None:
            with quietly("the work for a pool in the background"):
                pool.tick()


class Housekeeper:
    """Lets pools do from time to time what cannot wait for a request.

    A pool has a method tick(), and in due_at the time of its next call.
    """

    def __init__(self) -> None:
        # References to the pools, and to what is being done for each of them;
        # all changes are single steps, which need no lock.
        self._links: dict[Any, Any] = {}
        self._crew = Crew()
        # When it looks again for what is due.
        self._wakes_at = 0.0
        self._attendant = Attendant(
            "DBUtils housekeeper", self._work, self._is_needed)
        register_for_fork(self)

    def after_fork(self) -> None:
        """Start another thread in a forked child, if one was needed."""
        self._crew.after_fork()
        self._attendant.after_fork()
        self._links = dict.fromkeys(self._links)
        if self._links:
            self._attendant.fill()

    @property
    def is_running(self) -> bool:
        """Whether there is a thread."""
        return self._attendant.link is not None

    def pools(self) -> list[Any]:
        """Return the pools for which it works."""
        pools = (link() for link in self._links.copy())
        return [pool for pool in pools if pool is not None]

    def enlist(self, pool: Any) -> None:
        """Begin to work for a pool, until that is gone."""
        self._links.setdefault(ref(pool), None)
        self._attendant.fill()
        self._attendant.wake()

    def dismiss(self, pool: Any) -> None:
        """Work no more for a pool."""
        self._links.pop(ref(pool), None)

    def do(self, task: Task) -> bool:
        """Let a task be done soon, by another thread, and be given up in time.

        This returns False if there is no other thread.
        """
        is_taken = self._crew.do(task)
        if is_taken:
            self._attendant.fill()
            if task.seconds is not None and (
                    monotonic() + task.seconds < self._wakes_at):
                self._attendant.wake()
        return is_taken

    def ensure(self) -> None:
        """See to it that the threads are there that are needed."""
        self._crew.ensure()

    def _is_needed(self) -> bool:
        return bool(self._links) or self._crew.is_needed()

    def _work(self) -> float | None:
        """Have done what is due; return for how long nothing will be."""
        # First the time, then the tasks: one that comes in between sees it.
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
        """Have done what is due for a pool; return the time until it is."""
        pause: float = pool.due_at - monotonic()
        if pause > 0:
            return pause
        tick = _Tick(pool)
        if link in self._links:  # it may just have been dismissed
            self._links[link] = ref(tick, self._note_end)
        if not self._crew.do(tick):
            tick.run()
        return _LONGEST_SLEEP

    def _note_end(self, _: Any) -> None:
        """Look when the next work is due, after some has been done."""
        self._attendant.wake()


housekeeper = Housekeeper()


class Chore:
    """Work that an object has done for it, for as long as somebody has that.

    The object holds the chore, and not the other way round, so that its own
    face need not show what only the housekeeper calls.
    """

    def __init__(self, owner: Any, method: str) -> None:
        """Set it up, without beginning.

        method: the name of the method of the owner that does the work
        """
        self._owner = ref(owner)
        self._method = method
        self.due_at = 0.0

    def plan(self, pause: float) -> None:
        """Make it due after so many seconds."""
        self.due_at = monotonic() + pause

    def begin(self, pause: float) -> None:
        """Have the work done from now on, for the first time after a pause."""
        self.plan(pause)
        housekeeper.enlist(self)

    def end(self) -> None:
        """Have the work done no more."""
        housekeeper.dismiss(self)

    def tick(self) -> None:
        """Do the work, unless the owner is gone."""
        owner = self._owner()
        if owner is not None:
            getattr(owner, self._method)()
