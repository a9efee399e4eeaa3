"""The one place that starts threads.

`Thread.start()` waits until the new thread runs.  It waits for ever if the
interpreter is ending, or if an exception hits the newborn thread.  Nothing
here waits.
"""

from __future__ import annotations

import _thread
import sys
from typing import Callable

from ._errors import note_swallowed

__all__ = ["start_thread"]


def start_thread(run: Callable[[], object], name: str) -> bool:
    """Start a daemon thread without waiting for it; return whether it starts.

    The interpreter refuses when it is ending, and the system when it has no
    room for another thread; the caller tries again at its next call.
    """
    if sys.is_finalizing():
        return False
    try:
        # looked up now, since gevent may have replaced it
        _thread.start_new_thread(_run, (run, name))
    except RuntimeError as error:
        note_swallowed(f"starting the thread {name!r}", error)
        return False
    return True


def _run(run: Callable[[], object], name: str) -> None:
    try:
        run()
    except BaseException as error:  # noqa: BLE001 - nobody is above
        note_swallowed(f"the thread {name!r}", error)
