"""Detection of whether the garbage collector runs in the current thread.

A collection can begin at almost any moment, also while the thread holds locks
of the driver or of the program.  A finalizer that the collector calls must
not talk to the database.  A finalizer that runs because the last reference
was dropped may: it runs where the program drops that reference.

An exception that is thrown into a thread can hit every Python function, also
a callback of the collector.  The thread would then seem to be collecting
until its next collection.  Therefore all callbacks here are written in C,
which no exception can interrupt.
"""

from __future__ import annotations

import _thread
import gc
import os
from functools import partial

from .hints import Any

__all__ = ["collecting", "is_collecting"]

# The collector calls each callback with a phase, "start" or "stop", and with
# a new dict.  The set is true while any thread collects; the hot paths test
# it.  update() adds "o", the letters of the phase and the keys of the dict;
# difference_update() then removes the letters and the keys.  After "start"
# an "o" remains, after "stop", which contains an "o" itself, nothing.
collecting: set[str] = set()
# The dict of the latest collection, and the last dict that this thread saw.
# If both are the same object, this is the thread that collects.
_latest: dict[str, Any] = {}
_here = _thread._local()  # noqa: SLF001 - gevent replaces that of threading

# The order matters: the set becomes true when all other facts are known.
gc.callbacks += [
    partial(setattr, _here), _latest.__setitem__,
    partial(collecting.update, "o"), collecting.difference_update]


def is_collecting() -> bool:
    """Return whether the garbage collector is the caller."""
    return bool(collecting) and (
        _latest.get("start") is getattr(_here, "start", None))


def _forget_others() -> None:
    """Forget a collection by a thread that the forked child does not have."""
    if not is_collecting():
        collecting.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_others)
