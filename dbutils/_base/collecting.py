"""Whether the garbage collector is at work in this thread.

It can begin at almost any moment, also while the thread holds locks of the
driver or of the program.  A finalizer that it calls must not talk to the
database then; one that is called because the last reference was dropped
can, since this happens where the program drops it.

An exception that is thrown into a thread can hit every Python function, also
one that the collector calls at its beginning and at its end.  A thread would
then seem to be collecting until its next collection.  So the collector calls
nothing here but functions written in C, which nothing can interrupt.
"""

from __future__ import annotations

import _thread
import gc
import os
from functools import partial
from typing import Any

__all__ = ["collecting", "is_collecting"]

# Each callback is called with a phase, "start" or "stop", and with a dict that
# is a new one for each call.  The set is true while a collection is going on
# in any thread, which the hot paths look at.  It is filled with "o" and the
# letters of the phase and the keys of the dict; then the latter two are taken
# out.  What remains is "o" after "start", and nothing after "stop", which
# has an "o" itself.
collecting: set[str] = set()
# The dict of the latest collection, and the one that this thread saw last: if
# that is the same, this is the thread that collects.
_latest: dict[str, Any] = {}
_here = _thread._local()  # noqa: SLF001 - threading may offer another one

# In this order: the set is true only when all else is known.
gc.callbacks += [
    partial(setattr, _here), _latest.__setitem__,
    partial(collecting.update, "o"), collecting.difference_update]


def is_collecting() -> bool:
    """Return whether this is called by the garbage collector."""
    return bool(collecting) and (
        _latest.get("start") is getattr(_here, "start", None))


def _forget_others() -> None:
    """Forget the collection of a thread that a forked child does not have."""
    if not is_collecting():
        collecting.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_others)
