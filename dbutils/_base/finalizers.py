"""Whether a finalizer may ask a server, and what ends it.

A collection can begin at almost any moment, also while the thread holds locks
of the driver or of the program.  A finalizer that the collector calls must
not talk to the database.  A finalizer that runs because the last reference
was dropped may: it runs where the program drops that reference.  Without the
GIL, this is not so: what another thread has dropped is finalized at any moment
of the thread that has made it.

An exception that is thrown into a thread can hit every Python function, also
a callback of the collector.  The thread would then seem to be collecting
until its next collection.  Therefore all callbacks here are written in C,
which no exception can interrupt.

An exception can also arrive while a finalizer runs, where nobody can catch it.
Python would print it and continue.  The finalizers of this library print
nothing and leave the rest to others: the pool reissues the permit of a lost
slot, and the driver closes what it opened.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # enums make signal large
import _thread
import gc
import sys
import threading

from .children import call_in_child
from .errors import log_swallowed
from .hints import Any, partial
from .threads import start_thread

__all__ = ["anywhere", "collecting", "is_collecting", "note_lost"]

# Whether each finalizer can run at any moment, as those that are called by
# the collector.
anywhere = "free-threading" in sys.version

# The collector calls each callback with a phase, "start" or "stop", and with
# a new dict.  The set is true while any thread collects; the hot paths test
# it.  update() adds "o", the letters of the phase and the keys of the dict;
# difference_update() then removes the letters and the keys.  After "start"
# an "o" remains, after "stop", which contains an "o" itself, nothing.
collecting: set[str] = set()
# The dict of the latest collection, and the last dict that this thread saw.
# If both are the same object, this is the thread that collects.
_latest: dict[str, Any] = {"start": {}}
_local: Any = _thread._local  # noqa: SLF001 - gevent replaces that of threading
if _local.__module__ != "_thread":  # and this one, too, if it comes first
    _local = next(
        kind for kind in object.__subclasses__()
        if (kind.__module__, kind.__name__) == ("_thread", "_local"))
_here = _local()

# The order matters: the set becomes true when all other facts are known.
gc.callbacks += [
    partial(setattr, _here), _latest.__setitem__,
    partial(collecting.update, "o"), collecting.difference_update]


def is_collecting() -> bool:
    """Return whether the garbage collector is the caller."""
    # get() would lock the dict without the GIL
    return bool(collecting) and (
        _latest["start"] is getattr(_here, "start", None))


def _forget_others() -> None:
    """Forget a collection by a thread that the forked child does not have."""
    if not is_collecting():
        collecting.clear()


call_in_child(_forget_others)


def note_lost(step: str, error: BaseException) -> None:
    """Log an exception that has ended a finalizer.

    A KeyboardInterrupt of the main thread is raised there again in a moment.
    Another thread does this, since this one is still inside the finalizer.
    """
    log_swallowed(step, error)
    if isinstance(error, KeyboardInterrupt) and (
            threading.current_thread() is threading.main_thread()
            and _signal.getsignal(_signal.SIGINT)
            is _signal.default_int_handler):
        start_thread(_press_ctrl_c, "DBUtils interrupt")


def _press_ctrl_c() -> None:
    """Raise a KeyboardInterrupt in the main thread, even if it is waiting."""
    main: Any = threading.main_thread().ident
    if hasattr(_signal, "pthread_kill"):
        _signal.pthread_kill(main, _signal.SIGINT)
    else:
        _thread.interrupt_main()
