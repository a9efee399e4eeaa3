"""Exceptions that hit a finalizer, where nobody can catch them.

An exception that is thrown into a thread, or raised by a signal handler, can
come while a finalizer runs.  Python would print it and go on.  Ours leave the
rest to others instead, and print nothing: a place whose right has died comes
back through the inbox of its pool, and a driver closes what it opened.
"""

from __future__ import annotations

import _thread
import signal
import threading
from typing import Any

from .errors import log_swallowed
from .threads import start_thread

__all__ = ["note_lost"]


def note_lost(step: str, error: BaseException) -> None:
    """Log an exception that has ended a finalizer; repeat Ctrl-C.

    A KeyboardInterrupt of the main thread is raised there again in a moment,
    by another thread, since this one is still in the finalizer.
    """
    log_swallowed(step, error)
    if isinstance(error, KeyboardInterrupt) and (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT)
            is signal.default_int_handler):
        start_thread(_press_ctrl_c, "DBUtils interrupt")


def _press_ctrl_c() -> None:
    """Raise a KeyboardInterrupt in the main thread, also if that waits."""
    main: Any = threading.main_thread().ident
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, signal.SIGINT)
    else:
        _thread.interrupt_main()
