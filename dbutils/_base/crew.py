"""A few worker threads for tasks that may take long, shared by all pools.

A worker that is busy for longer than a moment, for instance because a server
does not answer, counts as stuck.  Another worker is started in its place, so
that the other tasks are done on time.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from weakref import ref

from .atomic import alive, pop, remove, snapshot
from .errors import log_swallowed, quietly
from .hints import Any
from .threads import (
    Gate,
    at_end,
    can_start,
    is_ending,
    is_useless,
    start_thread,
)

__all__ = ["Crew", "Task"]

# The maximum number of workers that are not stuck, and of all workers.
_THREADS = 4
_MOST = 100
# In seconds: when a worker counts as stuck, how long an idle worker waits for
# another task, how long a new worker may need to begin, and how soon to look
# again when tasks are waiting.
_MOMENT = 0.1
_REST = 1.0
_AGAIN = 0.05
_SOON = 0.05


class Task:
    """A piece of work to be done in the background.

    A task runs for as long as the object lives.  A task whose thread was
    stopped is therefore never taken for a running one.
    """

    # The time limit; None means that the task is never given up.
    seconds: float | None = None
    # The time of its beginning, and whether it was given up.
    start: float | None = None
    is_given_up = False

    def run(self) -> None:
        """Do the work."""
        raise NotImplementedError

    def give_up(self) -> None:
        """Continue without the result of the task; must not block."""
        self.is_given_up = True

    def left(self) -> float | None:
        """Return the seconds until the task is given up, or None."""
        if self.seconds is None or self.start is None or self.is_given_up:
            return None
        return self.start + self.seconds - monotonic()


class _Worker:
    """The state of one worker thread."""

    __slots__ = ("__weakref__", "gate", "is_idle", "is_leaving", "task")

    def __init__(self) -> None:
        self.gate = Gate()
        self.is_idle = self.is_leaving = False
        self.task: Task | None = None

    def is_useful(self, now: float) -> bool:
        """Return whether the worker can take another task in a moment."""
        task = self.task
        if task is None:
            return not self.is_leaving
        return not task.is_given_up and now - (task.start or now) < _MOMENT


class Crew:
    """Runs tasks in threads, which it starts when there are tasks."""

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
        """Drop all tasks and threads in a forked child."""
        self._tasks: deque[Task] = deque()
        # Weak references to the workers, which only their threads hold.  The
        # callback that removes one is written in C: nothing can interrupt it.
        self._links: set[Any] = set()
        # The times at which threads were started that do not run yet.
        self._attempts: deque[float] = deque(maxlen=_THREADS)

    def do(self, task: Task) -> bool:
        """Queue a task.  Return whether a thread will do it."""
        self._tasks.append(task)
        return self.ensure() or not remove(self._tasks, task)

    def ensure(self) -> bool:
        """Start a thread for the waiting tasks, if one is needed.

        Return whether a thread will do them.  Calling it often does no harm.
        """
        if not self._tasks:
            return True
        now = monotonic()
        # first: a thread that begins now counts as a worker, at least
        number = sum(
            now - tried_at < _AGAIN for tried_at in snapshot(self._attempts))
        workers = self._workers()
        for worker in workers:
            if worker.is_idle:
                worker.is_idle = False
                worker.gate.open()
                return True
        number += sum(worker.is_useful(now) for worker in workers)
        if len(workers) >= self._most:
            return not is_ending()
        if number < _THREADS:
            self._attempts.append(now)
            if start_thread(self._run, "DBUtils worker"):
                return True
            pop(self._attempts, last=True)
        return number > 0 and not is_ending()

    def look(self) -> float | None:
        """Give up tasks that take too long.

        Return the seconds until the next look, or None.
        """
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
        """Return whether look() has to be called again."""
        return bool(self._tasks) or any(
            worker.task is not None and worker.task.left() is not None
            for worker in self._workers())

    def _workers(self) -> list[_Worker]:
        return alive(list(self._links))

    def _wake_all(self) -> None:
        for worker in self._workers():
            worker.gate.open()

    def _run(self) -> None:
        links, tasks = self._links, self._tasks
        worker = _Worker()
        links.add(ref(worker, links.discard))
        pop(self._attempts)
        while self._do_next(worker, tasks) and not is_useless():
            pass

    def _do_next(self, worker: _Worker, tasks: deque[Task]) -> bool:
        """Do the next task, or wait for one.

        Return whether the worker is to go on.
        """
        worker.is_leaving = False
        worker.is_idle = True  # first: a task that comes now wakes us
        was_woken = bool(tasks) or worker.gate.rest(self._rest)
        worker.is_idle = False
        task = pop(tasks)
        if task is not None:
            self._do(worker, task)
            return True
        # first: no task that comes now counts on us
        worker.is_leaving = not was_woken
        return was_woken or bool(tasks) or not can_start()

    def _do(self, worker: _Worker, task: Task) -> None:
        task.start = monotonic()
        worker.task = task
        try:
            task.run()
        except BaseException as error:  # noqa: BLE001 - there is no caller
            log_swallowed("a task in the background", error)
        finally:
            worker.task = None
