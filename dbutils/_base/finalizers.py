"""Handling of exceptions that hit a finalizer, where nobody can catch them.

An exception that is thrown into a thread, or raised by a signal handler, can
arrive while a finalizer runs.  Python would print it and continue.  The
finalizers of this library print nothing and leave the rest to others: the
pool reissues the permit of a lost slot, and the driver closes what it opened.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # enums make signal large
import _thread
import threading

from .errors import log_swallowed
from .hints import Any
from .threads import start_thread

__all__ = ["note_lost"]


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
