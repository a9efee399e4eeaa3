"""The one place that starts threads, and keeps one where one is needed.

`Thread.start()` waits until the new thread runs.  It waits for ever if the
interpreter is ending, or if an exception hits the newborn thread.  Nothing
here waits, and whatever ends a thread, the next one takes its place.
"""

from __future__ import annotations

import _thread
import atexit
import os
import sys
import threading
from collections import deque
from importlib import import_module
from time import monotonic, sleep
from typing import Any, Callable
from weakref import ref

from .atomic import pop
from .errors import log_swallowed

__all__ = [
    "Attendant", "Gate", "at_end", "can_start", "fill_vacancies", "is_ending",
    "is_useless", "start_thread", "vacancies"]

# In seconds: for how long a thread that was started may need to run, until
# another one is started, and how long a sub-interpreter that ends waits for
# all of them, and the main one.
_AGAIN = 0.05
_FAREWELL = (1.0, 0.5)
_MOMENT = 0.001
# How long a thread rests that has nothing to do, and cannot be started again.
_LONG = 1.0


class _Ends:
    """The end of the interpreter, and all threads to be ended before it.

    A sub-interpreter cannot be destroyed otherwise.  The main one could just
    stop its threads, but from Python 3.9 on it may crash when one of them
    wakes up while the memory of the threads is being freed.
    """

    def __init__(self) -> None:
        self.is_over = False
        self.is_main = is_main()
        # Whether there may be threads.  A sub-interpreter of Python 3.8
        # cannot be destroyed while it has more than one.
        self.may_start = self.is_main or sys.version_info >= (3, 9)
        # What wakes up the threads that are resting.
        self.wakers: list[Callable[[], object]] = []
        # Each thread has a token, which dies with it, as the very last.
        self._own = threading.local()
        self.after_fork()
        atexit.register(self.begin)

    def after_fork(self) -> None:
        """Have no threads in a forked child."""
        # Those that were started and do not run yet, and those that run.
        self.newborn: deque[None] = deque()
        self.running: dict[Any, None] = {}

    def count_me(self) -> None:
        """Note that the current thread runs."""
        self._own.token = token = _Token()
        self.running[ref(token, self.running.pop)] = None
        pop(self.newborn)

    def begin(self) -> None:
        """Let all threads end, and wait until they have, but not for long."""
        self.is_over = True
        start, patience = monotonic(), _FAREWELL[self.is_main]
        while self.newborn or self.running:
            for wake in self.wakers:
                wake()
            if monotonic() - start > patience:
                return  # some wait for a server, and will not wake up
            sleep(_MOMENT)


class _Token:
    """Lives as long as a thread runs, however that ends."""

    __slots__ = ("__weakref__",)


def is_main() -> bool:
    """Return whether this is the main interpreter of the process."""
    is_it: Any = getattr(_thread, "_is_main_interpreter", None)
    if is_it is not None:
        return bool(is_it())
    try:
        interpreters = import_module("_xxsubinterpreters")
    except ImportError:  # this Python cannot make others
        return True
    return bool(interpreters.get_current() == interpreters.get_main())


_ends = _Ends()
at_end = _ends.wakers.append
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ends.after_fork)


def is_ending() -> bool:
    """Return whether the interpreter runs no other threads any longer."""
    return sys.is_finalizing() or (_ends.is_over and not _ends.is_main)


def can_start() -> bool:
    """Return whether threads can be started, as far as is known.

    From Python 3.12 on the interpreter refuses that when the main thread has
    ended, though others may go on for long; those that run then have to stay.
    """
    return threading.main_thread().is_alive()


def is_useless() -> bool:
    """Return whether threads of ours have nobody left to work for.

    In a child that was forked by a thread, that thread is the main one.  When
    its function returns, the interpreter does not end; the process does so
    with its last thread, which must not be one of ours.  Such a main thread
    is not of the usual class, and nothing else tells it from others.
    """
    if _ends.is_over or is_ending():
        return True
    main = threading.main_thread()
    usual: Any = vars(threading).get("_MainThread", ())
    return not (main.is_alive() or isinstance(main, usual)) and all(
        thread.daemon for thread in threading.enumerate())


def start_thread(run: Callable[[], object], name: str) -> bool:
    """Start a daemon thread without waiting for it; return whether it starts.

    The interpreter refuses when it is ending, and the system when it has no
    room for another thread; the caller tries again at its next call.
    """
    if _ends.is_over or is_ending() or not _ends.may_start:
        return False
    try:
        _ends.newborn.append(None)
        # looked up now, since gevent may have replaced it
        _thread.start_new_thread(_run, (run, name))
    except RuntimeError as error:
        pop(_ends.newborn)
        log_swallowed(f"starting the thread {name!r}", error)
        return False
    return True


def _do(run: Callable[[], object], name: str) -> None:
    """Call what a thread was started for, and log why it ends."""
    try:
        _ends.count_me()
        _trace()
        run()
    except BaseException as error:  # noqa: BLE001 - nobody is above
        log_swallowed(f"the thread {name!r}", error)


def _run(
        run: Callable[[], object], name: str,
        do: Callable[[Callable[[], object], str], None] = _do) -> None:
    """Be a thread that ends in silence, also when modules are emptied."""
    try:
        do(run, name)
    except BaseException:  # noqa: BLE001 - such as that a name is None
        raise SystemExit from None  # of which nothing is printed


def _trace() -> None:
    """Let debuggers see what is done here, as in all other threads."""
    gettrace = getattr(threading, "gettrace", None)  # from Python 3.10 on
    trace = None if gettrace is None else gettrace()
    if trace is not None:
        sys.settrace(trace)


class Gate:
    """Lets one thread rest until another one wakes it up.

    An Event has a lock inside, which a thread that was stopped could hold.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        # looked up now, since gevent may have replaced it
        self._lock = threading.Lock()
        self._lock.acquire()

    def open(self) -> None:
        """Wake the thread up, or let it not rest at all."""
        try:  # noqa: SIM105 - this is quicker
            self._lock.release()
        except RuntimeError:
            pass  # it is being woken up already

    def rest(self, seconds: float) -> bool:
        """Wait until woken up, or so long; return whether it was the first."""
        return self._lock.acquire(True, max(seconds, 0))


class _Link(ref):
    """A reference to what only the thread holds, and the way to wake it."""

    __slots__ = ("gate",)

    gate: Gate


# The attendants that are needed and not there: because they could not be
# started, because they have only just been, or because they were stopped.
vacancies: dict[Attendant, None] = {}


class Attendant:
    """A thread that is there while it is needed, and only once.

    An exception that is thrown into it does not end its work.  If it is not
    there, it is started at the next call of fill().
    """

    def __init__(
            self, name: str, work: Callable[[], float | None],
            is_needed: Callable[[], bool], rest: float = _LONG) -> None:
        """Set up what is to be done.

        work: does what is due, and returns the seconds until something is,
            or None if the thread may end
        is_needed: tells whether the thread may not end
        rest: the seconds for which it rests if it cannot be started again
        """
        self._name = name
        self._work = work
        self._is_needed = is_needed
        self._rest = rest
        at_end(self.wake)
        self.after_fork()

    def after_fork(self) -> None:
        """Have no thread in a forked child."""
        self.link: _Link | None = None  # if there is a thread
        self._tried_at: float | None = None
        vacancies.pop(self, None)

    def fill(self) -> None:
        """See to it that there is a thread, or will be in a moment."""
        if self.link is not None or is_useless():
            return
        vacancies[self] = None
        tried_at, now = self._tried_at, monotonic()
        if tried_at is None or now - tried_at > _AGAIN:
            self._tried_at = now
            start_thread(self._run, self._name)

    def wake(self) -> None:
        """Let the thread look at once for what is due."""
        link = self.link
        if link is not None:
            link.gate.open()

    def _run(self) -> None:
        if self.link is not None:
            return  # another one was faster
        token = _Token()
        link = _Link(token, self._left)
        link.gate = Gate()
        self.link = link
        self._tried_at = None
        vacancies.pop(self, None)
        while self.link is link and not is_useless():
            try:
                self._make_round(link)
            except BaseException as error:  # noqa: BLE001 - thrown into it
                log_swallowed(f"a round of the {self._name!r}", error)
                link.gate.rest(_AGAIN)  # in case that each round fails

    def _make_round(self, link: _Link) -> None:
        pause = self._work()
        if pause is not None or not can_start():
            link.gate.rest(self._rest if pause is None else pause)
            return
        self.link = None  # first, since fill() has to see it before we look
        if self._is_needed() and self.link is None:
            self.link = link

    def _left(self, link: Any) -> None:
        """Replace a thread that was stopped."""
        if self.link is link:
            self.link = None
            self.fill()


def fill_vacancies() -> None:
    """Start what is missing; to be called where `vacancies` has something."""
    for attendant in vacancies.copy():
        attendant.fill()
