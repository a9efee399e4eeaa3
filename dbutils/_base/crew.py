"""A few threads for what may take long, for all pools of the process.

A thread that is busy for longer than a moment, as when a server does not
answer, does not count; another one takes its place, so that what else is due
is done on time.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import Any
from weakref import ref

from .atomic import pop, remove
from .errors import log_swallowed, quietly
from .threads import (
    Gate,
    at_end,
    can_start,
    is_ending,
    is_useless,
    start_thread,
)

__all__ = ["Crew", "Task"]

# How many threads there are that are not stuck, and how many in all.
_THREADS = 4
_MOST = 100
# In seconds: when a thread counts as stuck, for how long one waits for more
# to do, how long a new one may need to begin, and how soon it is time to look
# for threads again if there is something to do.
_MOMENT = 0.1
_REST = 1.0
_AGAIN = 0.05
_SOON = 0.05


class Task:
    """Something to be done in the background.

    It is under way for as long as it lives; so it is never taken for that
    when its thread was stopped.
    """

    # After how many seconds it is given up, if at all.
    seconds: float | None = None
    # When it was begun, and whether it was given up.
    start: float | None = None
    is_given_up = False

    def run(self) -> None:
        """Do it."""
        raise NotImplementedError

    def give_up(self) -> None:
        """Go on without it; nothing is waited for in here."""
        self.is_given_up = True

    def left(self) -> float | None:
        """Return after how many seconds it is given up, if at all."""
        if self.seconds is None or self.start is None or self.is_given_up:
            return None
        return self.start + self.seconds - monotonic()


class _Worker:
    """What one thread is doing."""

    __slots__ = ("__weakref__", "gate", "is_idle", "is_leaving", "task")

    def __init__(self) -> None:
        self.gate = Gate()
        self.is_idle = self.is_leaving = False
        self.task: Task | None = None

    def is_useful(self, now: float) -> bool:
        """Return whether it will do something else in a moment."""
        task = self.task
        if task is None:
            return not self.is_leaving
        return not task.is_given_up and now - (task.start or now) < _MOMENT


class Crew:
    """Does tasks in threads that are started when there is something to do."""

    def __init__(self, most: int = _MOST, rest: float = _REST) -> None:
        """Set up a crew without threads.

        most: the highest number of threads
        rest: the seconds after which a thread ends that has nothing to do
        """
        self._most = most
        self._rest = rest
        at_end(self._wake_all)
        self.after_fork()

    def after_fork(self) -> None:
        """Have nothing to do in a forked child."""
        self._tasks: deque[Task] = deque()
        # References to what only the threads hold; the callback that takes
        # one out is written in C, so that a thread cannot be missed.
        self._links: dict[Any, None] = {}
        # When threads were started that do not run yet.
        self._attempts: deque[float] = deque(maxlen=_THREADS)

    def do(self, task: Task) -> bool:
        """Take a task over; return whether a thread will do it."""
        self._tasks.append(task)
        return self.ensure() or not remove(self._tasks, task)

    def ensure(self) -> bool:
        """Return whether there is a thread for what waits; start one for it.

        It can be called as often as wanted.
        """
        if not self._tasks:
            return True
        workers, now = self._workers(), monotonic()
        for worker in workers:
            if worker.is_idle:
                worker.is_idle = False
                worker.gate.open()
                return True
        number = sum(worker.is_useful(now) for worker in workers) + sum(
            now - tried_at < _AGAIN for tried_at in self._attempts.copy())
        if len(workers) >= self._most:
            return not is_ending()
        if number < _THREADS:
            self._attempts.append(now)
            if start_thread(self._run, "DBUtils worker"):
                return True
            pop(self._attempts, last=True)
        return number > 0 and not is_ending()

    def look(self) -> float | None:
        """Give up what takes too long; return when to look again, if ever."""
        self.ensure()
        pauses = [_SOON] if self._tasks else []
        for worker in self._workers():
            task = worker.task
            left = None if task is None else task.left()
            if task is not None and left is not None and left <= 0:
                with quietly("giving a task up"):
                    task.give_up()
            elif left is not None:
                pauses.append(left)
        return min(pauses) if pauses else None

    def is_needed(self) -> bool:
        """Return whether somebody has to look again."""
        return bool(self._tasks) or any(
            worker.task is not None and worker.task.left() is not None
            for worker in self._workers())

    def _workers(self) -> list[_Worker]:
        workers = (link() for link in self._links.copy())
        return [worker for worker in workers if worker is not None]

    def _wake_all(self) -> None:
        for worker in self._workers():
            worker.gate.open()

    def _run(self) -> None:
        links, tasks = self._links, self._tasks
        worker = _Worker()
        links[ref(worker, links.pop)] = None
        pop(self._attempts)
        while self._do_next(worker, tasks) and not is_useless():
            pass

    def _do_next(self, worker: _Worker, tasks: deque[Task]) -> bool:
        """Do what waits, or wait for it; return whether there can be more."""
        worker.is_leaving = False
        worker.is_idle = True  # first, so that what comes now wakes us up
        was_woken = bool(tasks) or worker.gate.rest(self._rest)
        worker.is_idle = False
        task = pop(tasks)
        if task is not None:
            self._do(worker, task)
            return True
        worker.is_leaving = True  # first: what comes now does not rely on us
        return was_woken or bool(tasks) or not can_start()

    def _do(self, worker: _Worker, task: Task) -> None:
        task.start = monotonic()
        worker.task = task
        try:
            task.run()
        except BaseException as error:  # noqa: BLE001 - nobody is above
            log_swallowed("a task in the background", error)
        finally:
            worker.task = None
