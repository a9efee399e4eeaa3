"""Starting background threads, and replacing those that were stopped.

`Thread.start()` waits until the new thread runs.  It waits for ever if the
interpreter is ending, or if an exception hits the newborn thread.  Nothing in
this module waits for a thread to start.  A thread that ends too early, for
whatever reason, is replaced.
"""

from __future__ import annotations

import _thread
import atexit
import sys
import threading
from time import monotonic, sleep

from .atomic import pop
from .children import call_in_child
from .errors import log_swallowed
from .hints import Any, AnyRef, Callable, deque, ref

__all__ = [
    "Attendant", "Gate", "Token", "at_end", "can_start", "ends",
    "fill_vacancies",
    "is_ending", "is_useless", "start_thread", "vacancies"]

# In seconds: the time after which a thread that was started and does not run
# is replaced, and the time for which the end of a sub-interpreter, and of the
# main one, waits for all threads.
_AGAIN = 0.05
_FAREWELL = (1.0, 0.5)
_MOMENT = 0.001
# In seconds: the rest of an idle thread that could not be started again.
_LONG = 1.0


class _Ends:
    """The end of the interpreter, and all threads that must end before it.

    A sub-interpreter cannot be destroyed while it has threads.  The main one
    could just stop them, but from Python 3.9 on it may crash if one of them
    wakes up while the memory of the threads is being freed.
    """

    def __init__(self) -> None:
        self.is_over = False
        self.is_main = is_main()
        # Whether threads may be started.  A sub-interpreter of Python 3.8
        # cannot be destroyed after it has had a second thread.
        self.may_start = self.is_main or sys.version_info >= (3, 9)
        # Functions that wake the threads that rest.
        self.wakers: list[Callable[[], object]] = []
        # Each thread has a token, which is the last thing to die with it.
        self._own = threading.local()
        self.after_fork()
        atexit.register(self.begin)

    def after_fork(self) -> None:
        """Forget all threads in a forked child."""
        # Threads that were started and do not run yet, and running ones.
        self.newborn: deque[None] = deque()
        self.running: set[Any] = set()

    def count_me(self) -> None:
        """Record that the current thread runs."""
        self._own.token = token = Token()
        self.running.add(ref(token, self.running.discard))
        pop(self.newborn)

    def begin(self) -> None:
        """Ask all threads to end, and wait a moment for them."""
        self.is_over = True
        deadline = monotonic() + _FAREWELL[self.is_main]
        while self.newborn or self.running:
            for wake in self.wakers:
                wake()
            if monotonic() > deadline:
                return  # the others wait for a server
            sleep(_MOMENT)


class Token:
    """An object whose death shows that its thread has ended its work.

    The thread has to make it itself.  Without the GIL, what another thread
    has made does not die before that one runs again.
    """

    __slots__ = ("__weakref__",)


def is_main() -> bool:
    """Return whether this is the main interpreter of the process."""
    function: Any = getattr(_thread, "_is_main_interpreter", None)
    if function is not None:
        return bool(function())
    try:
        interpreters: Any = __import__("_xxsubinterpreters")
    except ImportError:  # this Python cannot make others
        return True
    return bool(interpreters.get_current() == interpreters.get_main())


ends = _Ends()
at_end = ends.wakers.append
call_in_child(ends.after_fork)


def is_ending() -> bool:
    """Return whether the interpreter has stopped running other threads."""
    return sys.is_finalizing() or (ends.is_over and not ends.is_main)


def can_start() -> bool:
    """Return whether the interpreter allows new threads.

    From Python 3.12 on it refuses them when the main thread has ended, though
    other threads may run on for long.  Threads that exist then have to stay.
    """
    return threading.main_thread().is_alive()


def is_useless() -> bool:
    """Return whether the program has ended as far as our threads matter.

    In a child that was forked by a thread, that thread is the main one.  When
    its function returns, the interpreter does not end.  The process ends with
    its last thread, which must not be one of ours.  Such a main thread is
    recognized by its class, which is not the usual one.
    """
    if ends.is_over or is_ending():
        return True
    main = threading.main_thread()
    usual: Any = vars(threading).get("_MainThread", ())
    return not (main.is_alive() or isinstance(main, usual)) and all(
        thread.daemon for thread in threading.enumerate())


def start_thread(run: Callable[[], object], name: str) -> bool:
    """Start a daemon thread without waiting for it.

    Return whether it was started.  The interpreter refuses this when it is
    ending, and the system when there are too many threads.  The caller tries
    again when it is called the next time.
    """
    if ends.is_over or is_ending() or not ends.may_start:
        return False
    try:
        ends.newborn.append(None)
        # looked up now, since gevent may have replaced it
        _thread.start_new_thread(_run, (run, name))
    except RuntimeError as error:
        pop(ends.newborn)
        log_swallowed(f"starting the thread {name!r}", error)
        return False
    return True


def _do(run: Callable[[], object], name: str) -> None:
    """Call the function of a thread, and log an exception that ends it."""
    try:
        ends.count_me()
        _trace()
        run()
    except BaseException as error:  # noqa: BLE001 - there is no caller
        log_swallowed(f"the thread {name!r}", error)


def _run(
        run: Callable[[], object], name: str,
        do: Callable[[Callable[[], object], str], None] = _do) -> None:
    """Run a thread that prints nothing, also while modules are emptied."""
    try:
        do(run, name)
    except BaseException:  # noqa: BLE001 - a name may be None
        raise SystemExit from None  # it is not printed


def _trace() -> None:
    """Install the trace function that debuggers have set for threads.

    Without one, nothing is set: that would stop all other threads, and one
    that forks in this moment would have a child that stands still.
    """
    gettrace = getattr(threading, "gettrace", None)  # since Python 3.10
    trace = None if gettrace is None else gettrace()
    if trace is not None:
        sys.settrace(trace)


class Gate:
    """A signal for which one thread waits.

    An Event would have a lock that a stopped thread could leave locked.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        # looked up now, since gevent may have replaced it
        self._lock: threading.Lock = threading.Lock()
        self._lock.acquire()

    def open(self) -> None:
        """Wake the thread, or make its next rest() return at once."""
        try:  # noqa: SIM105 - suppress() is slower
            self._lock.release()
        except RuntimeError:
            pass  # it is open already

    def rest(self, seconds: float) -> bool:
        """Wait until the gate is opened, or for `seconds`.

        Return whether it was opened.
        """
        return self._lock.acquire(True, max(seconds, 0))


class _Link(AnyRef):
    """A weak reference to the token of a thread, with the gate to wake it."""

    __slots__ = ("gate",)

    gate: Gate


# The attendants without a running thread that need one: it could not be
# started, was started a moment ago, or was stopped.
vacancies: dict[Attendant, None] = {}


class Attendant:
    """A background thread that exists once, and only while it is needed.

    An exception that is thrown into it does not end its work.  If the thread
    is missing, the next call of fill() starts it.
    """

    def __init__(
            self, name: str, work: Callable[[], float | None],
            is_needed: Callable[[], bool], rest: float = _LONG) -> None:
        """Set the attendant up without starting a thread.

        work: does the work that is due, and returns the seconds until the
            next call, or None if the thread may end
        is_needed: returns whether the thread must not end
        rest: the seconds for which the thread rests if it could not be
            started again
        """
        self._name = name
        self._work = work
        self._is_needed = is_needed
        self._rest = rest
        at_end(self.wake)
        self.after_fork()

    def after_fork(self) -> None:
        """Forget the thread in a forked child."""
        self.link: _Link | None = None  # not None if the thread runs
        self._tried_at: float | None = None
        vacancies.pop(self, None)

    def fill(self) -> None:
        """Start the thread, unless it runs or will run in a moment."""
        if self.link is not None or is_useless():
            return
        vacancies[self] = None
        tried_at, now = self._tried_at, monotonic()
        if tried_at is None or now - tried_at > _AGAIN:
            self._tried_at = now
            start_thread(self._run, self._name)

    def wake(self) -> None:
        """Make the thread call its work at once."""
        link = self.link
        if link is not None:
            link.gate.open()

    def _run(self) -> None:
        if self.link is not None:
            return  # another one was faster
        token = Token()
        link = _Link(token, self._left)
        link.gate = Gate()
        self.link = link
        self._tried_at = None
        vacancies.pop(self, None)
        while self.link is link and not is_useless():
            try:
                self._make_round(link)
            except BaseException as error:  # noqa: BLE001 - thrown by others
                log_swallowed(f"a round of the {self._name!r}", error)
                link.gate.rest(_AGAIN)  # in case each round fails

    def _make_round(self, link: _Link) -> None:
        pause = self._work()
        if pause is not None or not can_start():
            link.gate.rest(self._rest if pause is None else pause)
            return
        self.link = None  # first: fill() must see it before we look
        if self._is_needed() and self.link is None:
            self.link = link

    def _left(self, link: Any) -> None:
        """Replace a thread that was stopped."""
        if self.link is link:
            self.link = None
            self.fill()


def fill_vacancies() -> None:
    """Start the missing threads.  Callers test `vacancies` before."""
    for attendant in vacancies.copy():
        attendant.fill()
